"""The engine `sglang` against a stand-in for its server, which has no GPU to run on here.

The stand-in (sglang_stand_in/) is a real process with a child of its own and real HTTP, and refuses and ends as the
real one does by its source, which it cites. What it cannot show: that memory is released, and that a model answers.
"""

import asyncio
import json
import os
import re
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from serving import serving
from sglang_service import engine

from engines.child import ChildError, open_connections
from engines.child_api import RefusedError
from engines.sglang import STIRS, WeightsError
from spec.sglang import SglangEngine

STAND_IN = Path(__file__).parent / "sglang_stand_in"


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """The file in which the stand-in notes its calls; from here on the command `sglang.launch_server` is its own."""
    for name, value in SglangEngine.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("STAND_IN_JOURNAL", str(tmp_path / "journal"))
    return tmp_path / "journal"


def noted(journal):
    return [json.loads(line) for line in journal.read_text().splitlines()]


def calls(journal):
    return [entry["call"] for entry in noted(journal)]


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return tmp_path / "model"


@pytest.fixture
def loaded(weights, journal):
    loaded = engine(weights)
    loaded.load()
    yield loaded
    loaded.stop()


def healthy(engine):
    return asyncio.run(engine.is_healthy())


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_it_is_loaded_once_the_server_has_started(loaded, journal):
    assert calls(journal).count("/health") == 3  # the first two met a server that was starting
    loaded.serve()
    assert healthy(loaded)


def test_all_memory_is_released_before_a_snapshot_and_taken_back_after_it(loaded, journal):
    loaded.warm_up()
    before = len(noted(journal))
    loaded.release()
    loaded.resume()
    caches, released, resumed, drawn = noted(journal)[before:]
    assert caches["call"] == "/flush_cache"
    assert released == {"call": "/release_memory_occupation", "body": "{}"}  # no tags: all of them
    assert resumed == {"call": "/resume_memory_occupation", "body": "{}"}
    assert drawn["call"] == "/generate"
    loaded.serve()
    assert asyncio.run(loaded.first_answer()) == "Paris."


def test_a_server_whose_memory_is_released_is_not_healthy_and_is_not_asked(loaded, journal):
    loaded.serve()
    loaded.release()
    before = calls(journal)
    assert not healthy(loaded)
    assert calls(journal) == before
    loaded.resume()
    assert healthy(loaded)


def test_a_busy_server_is_waited_for_since_it_would_end_if_its_memory_were_released(loaded):
    asked = {"model": "chat", "prompt": "Think.", "max_tokens": 50}
    loaded.serve()
    asking = threading.Thread(target=lambda: asyncio.run(loaded._proxy.ask("POST", "/v1/completions", as_json(asked))))
    asking.start()
    while not loaded_is_busy(loaded):
        time.sleep(0.01)
    loaded.release()
    asking.join()
    assert loaded._child.alive


def as_json(asked):
    return json.dumps(asked).encode()


def loaded_is_busy(loaded):
    return open_connections(loaded._child.port) > 0


def test_no_connection_is_open_when_a_snapshot_is_taken(loaded):
    idle = HTTPConnection("127.0.0.1", loaded._child.port)
    idle.request("GET", "/metrics")
    threading.Timer(0.5, idle.close).start()
    loaded.release()
    assert open_connections(loaded._child.port) == 0


def test_two_copies_of_a_snapshot_draw_different_numbers_of_tokens_before_they_answer(loaded, journal):
    for _ in range(12):
        loaded.release()
        loaded.resume()
    drawn = [entry["sampling_params"] for entry in noted(journal) if entry["call"] == "/generate"]
    assert {sampling["temperature"] for sampling in drawn} == {1}
    counts = {sampling["max_new_tokens"] for sampling in drawn}
    assert len(counts) > 1
    assert max(counts) <= STIRS


def test_nothing_is_released_without_the_memory_saver(weights, journal):
    loaded = engine(weights, options={"enable_memory_saver": False})
    loaded.load()
    try:
        loaded.release()
        loaded.resume()
        assert not {"/release_memory_occupation", "/resume_memory_occupation"} & set(calls(journal))
    finally:
        loaded.stop()


def test_each_length_is_warmed_up_as_far_as_the_context_reaches_and_forgotten_again(loaded, journal):
    before = len(noted(journal))
    loaded.warm_up()
    warmed = noted(journal)[before:]
    lengths = [len(entry["input_ids"]) for entry in warmed if entry["call"] == "/generate"]
    assert lengths == [4, 62]  # 64 is the server's context, and 2 tokens are for the answer
    assert [entry["call"] for entry in warmed][1::2] == ["/flush_cache"] * 3


def test_weights_without_a_chat_template_are_warmed_up_too(weights, journal, monkeypatch):
    monkeypatch.setenv("STAND_IN_HAS_NO_TEMPLATE", "1")
    loaded = engine(weights)
    loaded.load()
    try:
        loaded.warm_up()
        assert calls(journal)[-2:] == ["/v1/chat/completions", "/flush_cache"]
    finally:
        loaded.stop()


def test_the_keys_are_in_no_command_line_and_in_no_file_that_stays(loaded, journal):
    for key in (loaded._key, loaded._admin_key):
        for command_line in Path("/proc").glob("[0-9]*/cmdline"):
            assert key not in command_line.read_text(errors="replace")
    command_line = Path(f"/proc/{loaded._child._process.pid}/cmdline").read_text().split("\0")
    assert not Path(command_line[command_line.index("--config") + 1]).exists()
    assert {"call": "keys", "mode": "0o600"} in noted(journal)


def test_whoever_has_not_the_servers_own_keys_is_refused_by_it(loaded):
    asked = httpx.post(f"{loaded._child.url}/release_memory_occupation", json={})
    assert (asked.status_code, asked.json()) == (401, {"error": "Unauthorized"})
    with_users_key = {"Authorization": f"Bearer {loaded._key}"}
    asked = httpx.post(f"{loaded._child.url}/release_memory_occupation", json={}, headers=with_users_key)
    assert asked.status_code == 401


@pytest.mark.parametrize(
    "path", ["/release_memory_occupation", "/resume_memory_occupation", "/flush_cache", "/server_info", "/generate"]
)
def test_users_reach_nothing_that_changes_the_server_or_shows_its_settings(loaded, path):
    with serving(loaded.serve()) as url:
        assert httpx.post(url + path, json={}).status_code == 404
        assert httpx.get(url + path).status_code == 404


def test_users_are_answered_streamed_or_whole_and_see_the_figures(loaded):
    asked = {"model": "chat", "messages": [{"role": "user", "content": "Capital of France?"}], "max_tokens": 2}
    with serving(loaded.serve()) as url:
        whole = httpx.post(f"{url}/v1/chat/completions", json=asked)
        streamed = httpx.post(f"{url}/v1/chat/completions", json={**asked, "stream": True})
        figures = httpx.get(f"{url}/metrics")
    assert whole.json()["choices"][0]["message"]["content"] == "Paris."
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert re.findall(r'"content": "(.*?)"', streamed.text) == ["Pa", "ris."]
    assert "\nsglang:num_running_reqs" in figures.text


def test_a_refusal_of_the_server_comes_in_openais_envelope(loaded):
    with serving(loaded.serve()) as url:
        refused = httpx.post(f"{url}/v1/completions", json={"model": "chat", "prompt": "x", "max_tokens": 1000})
    assert refused.status_code == 400
    error = {"message": "too long", "type": "BadRequestError", "param": None, "code": None}
    assert refused.json() == {"error": error}


def test_the_whole_tree_ends_with_it(weights, journal):
    loaded = engine(weights)
    loaded.load()
    scheduler = next(entry["scheduler"] for entry in noted(journal) if entry["call"] == "started")
    assert alive(scheduler)
    loaded.stop()
    assert not alive(scheduler)
    assert not loaded._child.alive


def test_a_server_that_ends_in_a_phase_is_told_with_its_last_lines(loaded):
    loaded.release()
    with pytest.raises(ChildError, match=r"SIGKILL(.|\n)*the scheduler hit an exception"):
        loaded.release()


def test_a_server_that_refuses_a_phase_is_told_with_its_words(loaded):
    with pytest.raises(RefusedError, match=r"POST /generate answers 401: .*Unauthorized"):
        loaded._administration.post("/generate", {})


def test_an_argument_that_the_server_does_not_know_fails_the_load_in_the_parsers_words(weights, journal):
    unknown = engine(weights, options={"arguments": ["--no-such-flag"]})
    with pytest.raises(ChildError, match=r"exit code 2(.|\n)*unrecognized arguments: --no-such-flag"):
        unknown.load()


def test_a_folder_without_a_model_is_told_before_anything_starts(tmp_path):
    with pytest.raises(WeightsError, match=r"no config\.json in it; were the weights put there\?"):
        engine(tmp_path).load()


def test_the_server_is_told_none_of_the_services_own_secrets(weights, journal, monkeypatch):
    monkeypatch.setenv("API_KEY", "of-the-service")
    loaded = engine(weights)
    loaded.load()
    try:
        environment = Path(f"/proc/{loaded._child._process.pid}/environ").read_text()
        assert "of-the-service" not in environment
        assert "SGLANG_HOST_IP=127.0.0.1" in environment
    finally:
        loaded.stop()


def test_the_memory_saver_costs_nothing_where_no_snapshot_is_taken(weights):
    without = engine(weights, snapshot={"enabled": False}).arguments(1, Path("keys.yaml"))
    assert not {"--enable-memory-saver", "--enable-weights-cpu-backup"} & set(without)
    assert os.environ.get("SGLANG_MEMORY_SAVER_CUDA_GRAPH") is None
