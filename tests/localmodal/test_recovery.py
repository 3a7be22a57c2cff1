"""The daemon itself: started once, for its owner only, on loopback; killed, replaced, taken down."""

import contextlib
import json
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import modal
import psutil
import pytest
from modal_proto import api_pb2

from localmodal.endpoint import Endpoint, holder


def client_of(daemon) -> modal.Client:
    credentials = daemon.env["MODAL_TOKEN_ID"], daemon.env["MODAL_TOKEN_SECRET"]
    return modal.Client(daemon.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, credentials)


def test_two_who_start_it_at_once_get_the_same_daemon(empty_home):
    answers = []
    starters = [threading.Thread(target=lambda: answers.append(empty_home.verb("start"))) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert len({answer.stdout for answer in answers}) == 1, answers
    assert all(answer.returncode == 0 for answer in answers), answers
    daemons = [p for p in psutil.process_iter(["cmdline", "environ"]) if _serves(p, empty_home)]
    assert len(daemons) == 1


def _serves(process: psutil.Process, daemon) -> bool:
    words, environment = process.info["cmdline"] or [], process.info["environ"] or {}
    return "serve" in words and environment.get("COLDSNAP_HOME") == str(daemon.home)


def test_a_second_daemon_of_the_same_home_refuses_to_run(daemon):
    second = daemon.verb("serve")
    assert second.returncode == 1
    assert "A daemon runs already" in second.stderr


def test_whoever_looks_whether_it_runs_keeps_no_other_from_starting_it(empty_home):
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.0001):
            Endpoint.read(empty_home.paths)

    empty_home.verb("status")
    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(3):
            empty_home.start()
            empty_home.kill()
    finally:
        over.set()
        for looker in lookers:
            looker.join()


STARTING = """
import sys
from pathlib import Path
from localmodal.endpoint import Lock
lock = Lock(Path(sys.argv[1]))
print(lock.take(wait=False), flush=True)
input()
"""


def test_a_daemon_that_is_still_starting_is_not_taken_for_the_one_that_was_killed(empty_home):
    empty_home.start()
    empty_home.kill()
    command = [sys.executable, "-c", STARTING, empty_home.paths.daemon_lock]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout.readline() == "True\n"
        assert holder(empty_home.paths.daemon_lock) == other.pid
        assert empty_home.status["running"] is False
        assert json.loads(empty_home.verb("stop").stdout) == {"stopped": False}


def test_its_ports_are_none_that_the_kernel_gives_to_others_while_it_is_down(daemon):
    first_of_others = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if first_of_others < 20_000:
        pytest.skip("the kernel gives nearly all ports away here")
    assert max(daemon.status["grpc_port"], daemon.status["http_port"]) < first_of_others


def test_starting_it_again_gives_the_same_environment(empty_home):
    empty_home.start()
    before = empty_home.env
    assert empty_home.verb("stop").returncode == 0
    assert empty_home.status["running"] is False
    empty_home.start()
    assert empty_home.env == before  # ports and token: addresses that were handed out stay good


def test_the_environment_is_not_given_out_while_nothing_runs(empty_home):
    answer = empty_home.verb("env")
    assert answer.returncode == 1
    assert "does not run" in answer.stderr


def test_only_its_owner_can_read_the_token(daemon):
    assert stat.S_IMODE(daemon.paths.token.stat().st_mode) == 0o600
    assert daemon.env["MODAL_TOKEN_SECRET"] not in daemon.log


def test_a_wrong_token_is_refused(daemon):
    wrong = modal.Client(daemon.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, ("ak-wrong", "as-wrong"))
    with wrong, pytest.raises(modal.exception.AuthError, match="token is not this control plane's"):
        wrong.hello()


def test_it_listens_on_loopback_only(daemon):
    listening = [one for one in psutil.Process(daemon.status["pid"]).net_connections("inet") if one.status == "LISTEN"]
    assert listening
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


def test_a_port_that_is_taken_is_named(empty_home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = empty_home.verb("start", COLDSNAP_HTTP_PORT=port)
    assert answer.returncode == 1
    assert f"COLDSNAP_HTTP_PORT={port}: Address already in use" in answer.stderr


def test_a_daemon_of_another_version_is_replaced_with_a_word_of_it(empty_home):
    empty_home.start()
    old = empty_home.status["pid"]
    endpoint = json.loads(empty_home.paths.endpoint.read_text())
    empty_home.paths.endpoint.write_text(json.dumps({**endpoint, "version": "0.1-old"}))
    answer = empty_home.verb("start")
    assert answer.returncode == 0, answer.stderr
    assert "Replacing the daemon of version 0.1-old" in answer.stderr
    assert empty_home.status["pid"] != old
    assert not psutil.pid_exists(old) or psutil.Process(old).status() == psutil.STATUS_ZOMBIE


def test_after_a_crash_apps_answer_results_are_kept_and_what_was_pending_is_run(app, deploy, daemon, client):
    with modal.Dict.ephemeral(client=client) as starts:

        @app.function(serialized=True, name="wait", max_containers=1)
        def wait(seconds: float) -> float:
            import time

            starts.put(f"start {time.time()}", value=True)
            time.sleep(seconds)
            return seconds

        deploy(app)
        done = wait.spawn(0)
        assert done.get(timeout=60) == 0
        running, waiting = wait.spawn(5), wait.spawn(1)
        while starts.len() < 2:
            time.sleep(0.05)
        containers = [one["id"] for one in daemon.status["containers"]]
        daemon.kill()
        daemon.start()
        with client_of(daemon) as again:
            assert modal.FunctionCall.from_id(done.object_id, client=again).get(timeout=10) == 0
            assert modal.FunctionCall.from_id(running.object_id, client=again).get(timeout=60) == 5
            assert modal.FunctionCall.from_id(waiting.object_id, client=again).get(timeout=60) == 1
            assert modal.Function.from_name(app.name, "wait", client=again).remote(0) == 0
        assert not set(containers) & {one["id"] for one in daemon.status["containers"]}
        assert not [words for words in _command_lines() if any(one in words for one in containers)]


def _command_lines() -> list[str]:
    lines = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()))
    return lines


def test_a_graceful_stop_leaves_pending_calls_to_the_next_daemon(app, deploy, daemon, client):
    @app.function(serialized=True)
    def wait(seconds: float) -> float:
        import time

        time.sleep(seconds)
        return seconds

    deploy(app)
    pending = wait.spawn(3)
    assert daemon.verb("stop").returncode == 0
    daemon.start()
    with client_of(daemon) as again:
        assert modal.FunctionCall.from_id(pending.object_id, client=again).get(timeout=60) == 3


def test_nothing_is_left_after_destroy_even_of_a_daemon_that_was_killed(empty_home):
    empty_home.start()
    empty_home.kill()
    destroyed = empty_home.verb("destroy")
    assert destroyed.returncode == 0, destroyed.stderr
    assert not empty_home.paths.root.exists()
    assert str(empty_home.home) not in Path("/proc/self/mountinfo").read_text()


def test_an_idle_daemon_is_small_and_does_nothing(empty_home):
    empty_home.start()
    process = psutil.Process(empty_home.status["pid"])
    threading.Event().wait(2)  # the start is over
    woken = process.num_ctx_switches().voluntary
    threading.Event().wait(5)
    assert process.num_ctx_switches().voluntary - woken < 5
    assert process.memory_info().rss < 120 * 2**20
