"""A server as a child process: a small one of Python's own, in a container's process that may end."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

import pytest

from engines.child import Child, ChildError, free_port, open_connections

ROOT = Path(__file__).parents[2]
SERVER = "import http.server, sys; print('reading weights', flush=True); "
SERVER += "http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"


def child(program, **rest):
    port = free_port()
    return Child("toy", [sys.executable, "-uc", textwrap.dedent(program), str(port)], os.environ | rest, port)


def answers(server):
    try:
        with urllib.request.urlopen(server.url, timeout=5):
            return True
    except OSError:
        return False


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def gone(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


@pytest.fixture
def server():
    server = child(SERVER)
    server.start()
    server.wait_until(lambda: answers(server), 20)
    yield server
    server.stop()


def test_it_is_waited_for_until_it_answers(server):
    assert answers(server)
    assert server.alive


def test_it_listens_where_nobody_outside_reaches_it(server):
    assert server.url == f"http://127.0.0.1:{server.port}"


def test_a_death_before_it_is_ready_tells_its_last_words():
    dying = child("import sys; print('no such file: model.gguf'); sys.exit(3)")
    dying.start()
    with pytest.raises(ChildError, match=r"toy ended with exit code 3\. Its last lines:\n  no such file: model.gguf"):
        dying.wait_until(lambda: False, 20)


def test_a_death_by_signal_is_told_by_its_name():
    dying = child("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    dying.start()
    with pytest.raises(ChildError, match="ended with SIGSEGV"):
        dying.wait_until(lambda: False, 20)


def test_one_that_is_never_ready_is_not_waited_for_for_ever():
    slow = child("import time; print('still reading', flush=True); time.sleep(60)")
    slow.start()
    with pytest.raises(ChildError, match=r"not ready after 0\.5 s"):
        slow.wait_until(lambda: False, 0.5)
    slow.stop()
    assert not slow.alive


def test_stopping_it_ends_what_it_started_too(tmp_path, monkeypatch):
    monkeypatch.setattr("engines.child.STOP_SECONDS", 0.2)
    note = tmp_path / "pid"
    parent = child(
        """
        import os, signal, subprocess, sys, time
        ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
        other = subprocess.Popen([sys.executable, "-c", ignore], process_group=0, stdout=subprocess.PIPE)
        other.stdout.readline()
        open(os.environ["NOTE"], "w").write(str(other.pid))
        time.sleep(60)
        """,
        NOTE=str(note),
    )
    parent.start()
    parent.wait_until(lambda: note.exists() and note.read_text().isdecimal(), 20)
    grandchild = int(note.read_text())
    assert alive(grandchild)
    parent.stop()
    assert not parent.alive
    assert gone(grandchild)


def test_what_it_left_behind_when_it_died_is_ended_too(tmp_path):
    note = tmp_path / "pid"
    parent = child(
        """
        import os, subprocess, sys, time
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open(os.environ["NOTE"], "w").write(str(other.pid))
        """,
        NOTE=str(note),
    )
    parent.start()
    with pytest.raises(ChildError):
        parent.wait_until(lambda: False, 20)
    parent.stop()
    assert gone(int(note.read_text()))


CONTAINER = """
import logging, os, signal, sys, time
from engines.child import Child, free_port
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
port = free_port()
child = Child("toy", [sys.executable, "-uc", sys.argv[1], str(port)], os.environ, port)
child.start()
time.sleep(0.5)
{act}
time.sleep(30)
print("still here")
"""


def container(program, act):
    command = [sys.executable, "-uc", CONTAINER.format(act=act), program]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=60, check=False)


def test_its_death_ends_the_container_with_its_last_lines():
    done = container(
        "import time; time.sleep(2); print('CUDA error: out of memory'); raise SystemExit(7)", "child.guard()"
    )
    assert done.returncode == 1
    assert "toy ended with exit code 7. Its last lines:\n  CUDA error: out of memory" in done.stdout
    assert "This container ends with it." in done.stdout
    assert "still here" not in done.stdout


def test_a_stop_is_no_death():
    done = container("import time; time.sleep(60)", "child.guard(); child.stop(); print('stopped'); sys.exit(5)")
    assert "stopped" in done.stdout
    assert done.returncode == 5


def test_one_that_is_dead_already_cannot_be_relied_on():
    dead = child("print('never mind')")
    dead.start()
    with pytest.raises(ChildError):
        dead.wait_until(lambda: False, 20)
    with pytest.raises(ChildError, match="never mind"):
        dead.guard()


def test_what_it_says_is_in_the_containers_log():
    done = container("print('slot 0 is idle', flush=True); import time; time.sleep(60)", "child.stop(); sys.exit()")
    assert "toy: slot 0 is idle" in done.stdout


def test_it_is_seen_that_connections_are_open_and_that_they_are_closed(server):
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.connect()
    assert open_connections(server.port)
    connection.close()
    server.hang_up()
    assert not open_connections(server.port)


def test_a_connection_that_stays_open_is_an_error_before_a_snapshot(server, monkeypatch):
    monkeypatch.setattr("engines.child.HANG_UP_SECONDS", 0.2)
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.connect()
    with pytest.raises(ChildError, match=f"port {server.port} are open"):
        server.hang_up()
    connection.close()


def test_a_kill_is_a_death_like_any_other(server):
    os.kill(server._process.pid, signal.SIGKILL)
    with pytest.raises(ChildError, match="SIGKILL"):
        server.wait_until(lambda: False, 20)
