import httpx
import pytest
from serving import deployment, serving

from engines.http import api_key
from engines.llama_cpp import LlamaCpp
from engines.openai_api import OpenAiApi

QUESTION = [{"role": "user", "content": "Hi"}]


def refusal(url, body, path="/v1/chat/completions"):
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    response = httpx.post(url + path, **content)
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["param"], error["code"], error["message"]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"nonsense": 1}, "nonsense", "unknown_parameter"),
        ({"stream_options": {"nonsense": 1}}, "stream_options.nonsense", "unknown_parameter"),
        ({"temperature": "warm"}, "temperature", "invalid_type"),
        ({"temperature": "0.5"}, "temperature", "invalid_type"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"top_p": -1}, "top_p", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stop": 1}, "stop", "invalid_type"),
        ({"stop": [1]}, "stop[0]", "invalid_type"),
        ({"n": 2}, "n", "unsupported_value"),
        ({"logit_bias": {"1": 5}}, "logit_bias", "unsupported_value"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "king", "content": "Hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
         "messages[0].content[0].type", "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_place(url, change, param, code):
    status, got_param, got_code, message = refusal(url, {"model": "chat", "messages": QUESTION, **change})
    assert (status, got_param, got_code) == (400, param, code)
    assert len(message) > 10


def test_a_missing_parameter_is_named(url):
    assert refusal(url, {"model": "chat"})[:3] == (400, "messages", "missing_required_parameter")
    assert refusal(url, {}, "/v1/completions")[:3] == (400, "prompt", "missing_required_parameter")


@pytest.mark.parametrize("stream", [True, False])
def test_a_schema_that_cannot_be_followed_is_refused(url, stream):
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"$ref": "#/definitions/gone"}}}
    body = {"messages": QUESTION, "response_format": schema, "stream": stream}
    assert refusal(url, body)[:3] == (400, "response_format", "invalid_value")


def test_an_empty_prompt_begins_from_nothing(url):
    response = httpx.post(f"{url}/v1/completions", json={"prompt": "", "max_tokens": 2}, timeout=60)
    assert response.json()["usage"]["prompt_tokens"] == 1


def test_two_prompts_in_one_request_are_refused(url):
    assert refusal(url, {"prompt": ["a", "b"]}, "/v1/completions")[:3] == (400, "prompt", "unsupported_value")


@pytest.mark.parametrize("body", [b"{", b"", b'{"messages": [{"role": "user", "content": "\\ud800"}]}', b"\xff"])
def test_a_body_that_is_no_json_is_refused(url, body):
    status, _, _, message = refusal(url, body)
    assert status == 400
    assert "JSON" in message


def test_a_body_that_is_no_object_is_refused(url):
    assert refusal(url, b"[]")[0] == 400


def test_a_body_beyond_the_limit_is_refused(url):
    assert refusal(url, b" " * (16 * 2**20 + 1))[0] == 413


def test_another_model_is_not_found(url):
    status, param, code, message = refusal(url, {"model": "gpt-9", "messages": QUESTION})
    assert (status, param, code) == (404, "model", "model_not_found")
    assert "'chat'" in message


def test_an_unknown_url_and_a_wrong_method_are_refused_in_the_same_envelope(url):
    unknown, wrong = httpx.get(f"{url}/v1/nothing"), httpx.get(f"{url}/v1/chat/completions")
    assert (unknown.status_code, wrong.status_code) == (404, 405)
    assert "Invalid URL (GET /v1/nothing)" in unknown.json()["error"]["message"]
    assert "Not allowed to GET" in wrong.json()["error"]["message"]


def test_health_is_open(url):
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}


@pytest.fixture(scope="module")
def locked_url(engine):
    with serving(OpenAiApi(engine, engine._turns, 0).app("s3cret")) as url:
        yield url


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", "s3cret", "Basic s3cret", "Bearer s3cret2"])
def test_without_the_key_nothing_is_answered(locked_url, header):
    headers = {"Authorization": header} if header else {}
    response = httpx.get(f"{locked_url}/v1/models", headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")


def test_with_the_key_all_is_answered(locked_url):
    headers = {"Authorization": "Bearer s3cret"}
    assert httpx.get(f"{locked_url}/v1/models", headers=headers).status_code == 200


def test_health_needs_no_key(locked_url):
    assert httpx.get(f"{locked_url}/health").status_code == 200


def test_a_service_whose_secret_holds_no_key_does_not_start(monkeypatch):
    monkeypatch.delenv("API_KEY", raising=False)
    with pytest.raises(RuntimeError, match="'keys' holds no API_KEY"):
        api_key(deployment(api_key_secret="keys").definition)


def test_a_service_without_a_secret_asks_for_no_key(monkeypatch):
    monkeypatch.setenv("API_KEY", "somebody else's")
    assert api_key(deployment().definition) is None


def test_weights_that_are_missing_are_named(tmp_path):
    engine = LlamaCpp(deployment().definition, tmp_path / "gone.gguf")
    with pytest.raises(Exception, match=r"gone\.gguf: there is no such file"):
        engine.load()
    engine.stop()


def test_weights_that_are_cut_off_are_named_with_llama_cpps_own_reason(tmp_path, weights):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(weights.read_bytes()[: 2**24])
    engine = LlamaCpp(deployment().definition, cut)
    with pytest.raises(Exception, match=r"cut\.gguf \(16,777,216 bytes\): .*corrupted or incomplete"):
        engine.load()
    engine.stop()


def test_a_file_that_holds_no_weights_is_named(tmp_path):
    text = tmp_path / "readme.gguf"
    text.write_text("hello")
    engine = LlamaCpp(deployment().definition, text)
    with pytest.raises(Exception, match=r"readme\.gguf \(5 bytes\): "):
        engine.load()
    engine.stop()
