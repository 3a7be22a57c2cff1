"""The engine where users meet it: deployed, snapshotted and restored by the local Modal."""

import json
import subprocess
import sys
import time

import pytest
from serving import service
from stage import ROOT, WEIGHTS

from service.code import code_digest
from spec.deployment import Deployment

STORY = {"prompt": "Once upon a time", "max_tokens": 24, "temperature": 1}


def describe(image_id, **rest):
    spec = service(weights=WEIGHTS, options={"n_ctx": 512}, cpu=2, **rest)
    return Deployment.of(spec, app_name=spec.name, image_id=image_id, code_digest=code_digest())


@pytest.fixture(scope="module")
def image_id(stage):
    return stage.image(service(weights=WEIGHTS))


@pytest.fixture(scope="module")
def chat(stage, image_id):
    """The service `chat`, whose next containers are restored."""
    stage.deploy(describe(image_id))
    assert stage.start()["boot"]["kind"] == "cold"
    return stage


def test_a_second_start_is_restored_and_answers_the_same(chat):
    once, again = chat.start(), chat.start()
    assert [once["boot"]["kind"], again["boot"]["kind"]] == ["restored", "restored"]
    assert once["boot"]["id"] != again["boot"]["id"]
    assert once["answer"] == again["answer"] == "Paris"
    assert once["first"]
    assert again["first"]


def test_the_twin_is_never_restored(chat):
    starts = [chat.start(role="Twin")["boot"] for _ in range(2)]
    assert [start["kind"] for start in starts] == ["cold", "cold"]
    assert list(starts[0]["phases"]) == ["imports", "load", "serve", "first_answer"]


def requests(stage):
    """The lines of the service's log that tell of requests."""
    return [json.loads(line) for line in stage.logs().splitlines() if line.startswith('{"time":')]


def tell(stage, **rest):
    """A story told by a container that is then ended, so that the next one is told by another."""
    with stage.http() as client:
        text = client.post("/v1/completions", json={**STORY, **rest}).json()["choices"][0]["text"]
    ended = stage.start()
    assert not ended["first"]
    assert ended["boot"]["kind"] == "restored"
    return ended["boot"]["id"], text


def test_two_restored_containers_asked_without_a_seed_differ(chat):
    (one, first), (other, second) = tell(chat), tell(chat)
    assert one != other
    assert first != second


def test_two_restored_containers_asked_with_the_same_seed_do_not(chat):
    (one, first), (other, second) = tell(chat, seed=3), tell(chat, seed=3)
    assert one != other
    assert first == second


def test_every_start_has_its_boot_record(chat):
    restored, twin = chat.start()["boot"], chat.start(role="Twin")["boot"]
    boots = chat.boots()
    assert boots[restored["id"]] == restored
    assert boots[twin["id"]] == twin
    assert {boot["definition"] for boot in boots.values()} == {restored["definition"]}


def test_a_client_that_hangs_up_ends_its_answer(chat):
    body = {"prompt": "1, 2, 3,", "stream": True, "max_tokens": 480, "logprobs": 1}
    with chat.http() as client:
        with client.stream("POST", "/v1/completions", json=body) as response:
            next(response.iter_lines())
        assert client.post("/v1/completions", json={"prompt": "1, 2,", "max_tokens": 1}).status_code == 200
    deadline = time.monotonic() + 30
    while not any(line.get("hung_up") for line in requests(chat)):
        assert time.monotonic() < deadline, chat.logs()
        time.sleep(0.2)


def test_the_log_of_requests_is_what_advise_reads_and_holds_no_prompt(chat, tmp_path):
    with chat.http() as client:
        client.post("/v1/completions", json={"prompt": "xyzzy", "max_tokens": 1})
    logs, trace = chat.logs(), tmp_path / "requests.jsonl"
    assert "xyzzy" not in logs
    trace.write_text("".join(f"{line}\n" for line in logs.splitlines() if line.startswith('{"time":')))
    coldsnap = [sys.executable, "-c", "from cli.main import main; main()"]
    told = [*coldsnap, "advise", str(trace), "--restored", "0.3", "--request-seconds", "0.2", "--json"]
    said = subprocess.run(told, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert json.loads(said)["requests"] == len(requests(chat)) >= 1


def test_a_start_that_fails_leaves_a_record_with_its_error(stage, image_id):
    broken = describe(image_id, name="broken")
    definition = broken.definition.model_copy(update={"weights_file": "gone.gguf"})
    stage.deploy(broken.model_copy(update={"definition": definition}))
    program = (
        "import json, modal\n"
        "try: modal.Cls.from_name('broken', 'Service')().start.remote(last=True)\n"
        "except Exception as error: print(json.dumps(str(error)))"
    )
    assert "gone.gguf" in stage.python(program)
    errors = [boot["error"] for boot in stage.boots("broken").values()]
    assert errors
    assert all("WeightsError" in error and "gone.gguf" in error for error in errors)


def test_a_service_with_a_secret_asks_for_its_key(stage, image_id):
    secret = [sys.executable, "-m", "modal", "secret", "create", "keys", "API_KEY=s3cret"]
    subprocess.run(secret, env=stage.env, capture_output=True, check=True)
    stage.deploy(describe(image_id, name="locked", api_key_secret="keys"))
    with stage.http("locked") as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_only_the_newest_boot_records_are_kept(stage):
    program = """
import json, modal, engines.boots as boots
boots.KEPT = 3
log = boots.BootLog("kept")
for number in range(5):
    record = boots.BootRecord(id=f"ta-{number}", service="kept", definition="d", role="service", kind="cold",
                              started_at=number, ready_at=None, phases={}, gpu=None, versions={})
    log.write(lambda: record)
    log.flush()
print(json.dumps(sorted(modal.Dict.from_name(boots.dict_name("kept")).keys())))
"""
    assert stage.python(program) == ["ta-2", "ta-3", "ta-4"]
