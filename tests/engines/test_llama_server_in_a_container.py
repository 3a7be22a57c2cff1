"""The stack `local-server`: llama.cpp's server deployed, snapshotted with its whole process tree, and restored."""

import time

import httpx
import pytest

NAME = "chat-server"
STORY = {"prompt": "Once upon a time", "max_tokens": 24, "temperature": 1}


@pytest.fixture(scope="module")
def deployed(llama_server, put_up):
    return put_up("local-server")


@pytest.fixture(scope="module")
def server(stage, deployed):
    """The service, whose next containers are restored."""
    assert deployed.output(NAME)["snapshot"] == "verified"
    return stage


def test_its_snapshot_is_verified_and_both_kinds_of_start_are_measured(server, deployed):
    outputs = deployed.output(NAME)
    cold, restored = outputs["cold"]["first_answer_s"], outputs["restored"]["first_answer_s"]
    assert outputs["speedup"] == pytest.approx(cold / restored, abs=0.01)


def test_no_diff_if_nothing_changed(deployed):
    deployed.pulumi("preview", "--refresh", "--expect-no-changes")


def test_restored_servers_answer_the_same_and_were_not_started_again(server):
    once, again = server.start(NAME), server.start(NAME)
    assert once["boot"]["id"] != again["boot"]["id"]
    assert once["answer"] == again["answer"] == "Paris"
    for start in (once, again):
        assert start["boot"]["kind"] == "restored"
        assert list(start["boot"]["phases"]) == ["restore", "resume", "serve", "first_answer"]


def test_a_restored_server_streams_over_http(server):
    with (
        server.http(NAME) as client,
        client.stream("POST", "/v1/completions", json={**STORY, "stream": True}) as answer,
    ):
        lines = [line for line in answer.iter_lines() if line]
    assert len(lines) > 10
    assert lines[-1] == "data: [DONE]"


def test_two_restored_servers_asked_without_a_seed_differ(server):
    texts = []
    for _ in range(2):
        with server.http(NAME) as client:
            texts.append(client.post("/v1/completions", json=STORY).json()["choices"][0]["text"])
        assert server.start(NAME)["boot"]["kind"] == "restored"
    assert texts[0] != texts[1]


def test_a_client_that_hangs_up_ends_its_answer(server):
    body = {"prompt": "1, 2, 3,", "stream": True, "max_tokens": 480, "ignore_eos": True}
    with server.http(NAME) as client:
        with client.stream("POST", "/v1/completions", json=body) as response:
            next(response.iter_lines())
        deadline = time.monotonic() + 30
        while any(slot["is_processing"] for slot in client.get("/slots").json()):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_its_health_and_metrics_are_surfaced(server):
    with server.http(NAME) as client:
        assert client.get("/health").json() == {"status": "ok"}
        metrics = client.get("/metrics").text
    assert "coldsnap_requests_in_flight 0.0" in metrics
    assert "llamacpp:requests_processing 0" in metrics


def test_the_twin_starts_a_server_of_its_own(server):
    start = server.start(NAME, "Twin")["boot"]
    assert start["kind"] == "cold"
    assert list(start["phases"]) == ["imports", "load", "serve", "first_answer"]


def test_the_log_holds_no_prompt(server):
    with server.http(NAME) as client:
        client.post("/v1/completions", json={"prompt": "xyzzy", "max_tokens": 1})
    with pytest.raises(httpx.HTTPStatusError), server.http(NAME) as client:
        client.post("/v1/completions", json={"prompt": "xyzzy " * 1000}).raise_for_status()
    assert '"path": "/v1/completions", "status": 200' in server.logs(NAME)
    assert "xyzzy" not in server.logs(NAME)
