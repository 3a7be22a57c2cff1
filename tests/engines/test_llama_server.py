"""llama.cpp's server as a service has it: the real one, with a real model."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import psutil
import pytest
from serving import deployment, serving

from engines.child import ChildError, open_connections
from engines.engine import WeightsError
from engines.llama_flags import Flags
from engines.llama_server import LlamaServer, ServerError, program_in_image

ROOT = Path(__file__).parents[2]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def described(**rest):
    options = {"n_ctx": 256, "n_batch": 64, "n_ubatch": 32, "slots": 2, **rest.pop("options", {})}
    return deployment(kind="llama_server", options=options, **rest).definition


@pytest.fixture(scope="module", autouse=True)
def on_the_path(llama_server):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(llama_server.parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def server(weights):
    server = LlamaServer(described(cpu=2), weights)
    server.load()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def left_open(server):
    """How many connections it has when a snapshot would be taken."""
    server.warm_up()
    server.release()
    return open_connections(server._child.port)


@pytest.fixture(scope="module")
def address(server, left_open):
    server.resume()
    with serving(server.serve()) as url:
        yield url


@pytest.fixture(scope="module")
def api(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0, timeout=120) as api:
        yield api


def processing(address):
    return [slot["is_processing"] for slot in httpx.get(f"{address}/slots").json()]


def test_the_build_in_the_image_says_which_flags_it_has():
    flags = Flags.of(program_in_image(None))
    assert {"--model", "--load-mode", "--fit", "--slot-save-path", "--metrics", "--no-kv-unified"} <= set(
        flags._takes_value
    )
    assert flags.takes_value("--flash-attn")
    assert flags.takes_value("--load-mode")
    assert not flags.takes_value("--metrics")


def test_its_key_is_on_no_command_line(server):
    assert server._key not in " ".join(psutil.Process(server._child._process.pid).cmdline())
    assert "--api-key" not in psutil.Process(server._child._process.pid).cmdline()


def test_nobody_without_its_key_is_answered(server):
    answer = httpx.post(f"{server._child.url}/v1/completions", json={"prompt": "a", "max_tokens": 1})
    assert answer.status_code == 401


def test_it_listens_on_the_loopback_alone(server):
    listening = [one for one in psutil.Process(server._child._process.pid).net_connections() if one.status == "LISTEN"]
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


def test_a_warmed_up_server_has_forgotten_its_warm_up_and_has_no_connection_open(left_open, address):
    assert left_open == 0
    assert len(httpx.get(f"{address}/slots").json()) == 2


def test_its_first_answer_is_the_likeliest_one(server, address):
    assert asyncio.run(server.first_answer()).startswith("Paris")


def test_the_one_model_is_listed(api):
    assert [model.id for model in api.models.list()] == ["chat"]


def test_a_chat_is_answered(api):
    answer = api.chat.completions.create(model="chat", messages=QUESTION, temperature=0, max_tokens=24)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens > 0
    assert answer.model == "chat"


def test_a_stream_says_the_same_as_a_whole_answer(api):
    asked = {"model": "chat", "prompt": "1, 2, 3,", "temperature": 0, "max_tokens": 12}
    chunks = list(api.completions.create(**asked, stream=True))
    assert len(chunks) > 5
    assert "".join(chunk.choices[0].text for chunk in chunks) == api.completions.create(**asked).choices[0].text


def test_two_requests_are_answered_at_once(address):
    async def both():
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            body = {"prompt": "1, 2,", "max_tokens": 200, "stream": True, "ignore_eos": True}
            async with client.stream("POST", "/v1/completions", json=body) as one:
                lines = one.aiter_lines()
                await anext(lines)
                other = await client.post("/v1/completions", json={"prompt": "a", "max_tokens": 1})
                rest = [line async for line in lines]
            return other, rest

    other, rest = asyncio.run(both())
    assert other.status_code == 200
    assert rest[-2:] == ["data: [DONE]", ""]


def test_who_hangs_up_ends_the_answer(address):
    async def begin():
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            body = {"prompt": "1, 2,", "max_tokens": 230, "stream": True, "ignore_eos": True}
            async with client.stream("POST", "/v1/completions", json=body) as answer:
                await anext(answer.aiter_lines())
            async with asyncio.timeout(20):
                while any(slot["is_processing"] for slot in (await client.get("/slots")).json()):
                    await asyncio.sleep(0.02)

    asyncio.run(begin())
    assert not any(processing(address))


def test_a_prompt_that_is_too_long_is_refused_in_openais_words(api):
    with pytest.raises(openai.BadRequestError) as refused:
        api.completions.create(model="chat", prompt="word " * 400)
    assert refused.value.code == "context_length_exceeded"


def test_another_model_is_refused(api):
    with pytest.raises(openai.NotFoundError, match="This service has one model: 'chat'"):
        api.completions.create(model="gpt-5", prompt="a")


def test_an_image_is_refused_by_a_model_that_reads_none(api):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(openai.BadRequestError, match="this model reads text alone") as refused:
        api.chat.completions.create(model="chat", messages=[{"role": "user", "content": [image]}])
    assert refused.value.param == "messages[0].content[0]"


def test_what_would_change_it_is_not_served(address):
    for path in ("/slots/0?action=save", "/props", "/lora-adapters", "/models/load", "/cors-proxy", "/tools"):
        assert httpx.post(f"{address}{path}", json={}).status_code in {404, 405}


def test_its_slots_and_health_are_surfaced_and_tell_no_prompt(api, address):
    api.completions.create(model="chat", prompt="xyzzy", max_tokens=1)
    assert "xyzzy" not in httpx.get(f"{address}/slots").text
    assert httpx.get(f"{address}/health").json() == {"status": "ok"}


def test_without_a_seed_two_answers_differ(api):
    asked = {"model": "chat", "prompt": "Once upon a time", "temperature": 1.5, "max_tokens": 16}
    assert len({api.completions.create(**asked).choices[0].text for _ in range(3)}) > 1


def test_a_service_with_a_key_asks_for_it(server, monkeypatch):
    monkeypatch.setenv("API_KEY", "s3cret")
    monkeypatch.setattr(server, "_definition", described(api_key_secret="keys"))
    with serving(server.serve()) as url:
        assert httpx.get(f"{url}/slots").status_code == 401
        assert httpx.get(f"{url}/slots", headers={"Authorization": "Bearer s3cret"}).status_code == 200
        assert httpx.get(f"{url}/health").status_code == 200


def test_the_service_s_own_key_is_none_of_its_business(server):
    assert "API_KEY" not in psutil.Process(server._child._process.pid).environ()


CONTAINER = """
import json, logging, os, signal, sys, time
from pathlib import Path
from engines.llama_server import LlamaServer
from spec.deployment import Deployment
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
server = LlamaServer(Deployment.from_environment().definition, Path(sys.argv[1]))
server.load()
server.serve()
os.kill(server._child._process.pid, signal.SIGSEGV)
time.sleep(30)
print("still here")
"""


def test_its_death_ends_the_container_with_its_last_lines(weights):
    env = os.environ | deployment(kind="llama_server", options={"n_ctx": 64}).environment()
    command = [sys.executable, "-c", CONTAINER, str(weights)]
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "llama-server ended with SIGSEGV. Its last lines:\n" in done.stdout
    assert "still here" not in done.stdout


def test_weights_that_are_none_are_told_in_the_servers_words(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"GGUF, or so it says")
    server = LlamaServer(described(), tmp_path / "bad.gguf")
    with pytest.raises(ChildError, match=r"llama-server ended with exit code 1(.|\n)*bad\.gguf"):
        server.load()
    server.stop()


def test_stopping_it_leaves_no_process(weights):
    server = LlamaServer(described(options={"n_ctx": 64}), weights)
    server.load()
    pid = server._child._process.pid
    server.stop()
    assert not psutil.pid_exists(pid)


def test_weights_that_are_not_there_are_missed_by_name(tmp_path):
    with pytest.raises(WeightsError, match=r"gone\.gguf: there is no such file"):
        LlamaServer(described(), tmp_path / "gone.gguf").load()


def test_a_program_that_is_not_there_is_missed_by_name(weights):
    with pytest.raises(ServerError, match=r"/opt/llama-server: there is no such program .*options\.server"):
        LlamaServer(described(options={"server": "/opt/llama-server"}), weights).load()


def test_further_arguments_come_last(tmp_path):
    server = LlamaServer(described(options={"arguments": ["--reasoning-budget", "0"]}), tmp_path)
    server._model, server._mmproj = tmp_path / "gemma.gguf", None
    assert server._arguments(Flags(""), 1)[-2:] == ["--reasoning-budget", "0"]
