"""What a service tells Prometheus, read with Prometheus' own parser."""

import asyncio
import json
import logging
import time
from datetime import UTC, datetime

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import serving
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from engines.http import api
from engines.metrics import Metrics
from engines.middleware import REQUEST_LOG
from engines.one_model import OneModel
from engines.openai_api import OpenAiApi
from engines.places import Places
from engines.proxy import Proxy
from engines.turns import Turns
from engines.usage import usage_in


def read(text):
    """Every sample by its name and labels."""
    families = text_string_to_metric_families(text)
    return {(one.name, *sorted(one.labels.items())): one.value for family in families for one in family.samples}


def told(url):
    return read(httpx.get(f"{url}/metrics").text)


def requests(samples, path, status):
    return samples.get(("coldsnap_requests_total", ("path", path), ("status", status)), 0)


def tokens(samples, kind):
    return samples.get(("coldsnap_tokens_total", ("kind", kind)), 0)


@pytest.fixture
def address(engine):
    turns = Turns()
    with serving(OpenAiApi(engine, turns, 0).app(None)) as url:
        yield url
    turns.close()


@pytest.mark.parametrize("stream", [True, False])
def test_requests_and_their_tokens_are_counted(address, stream):
    body = {"prompt": "One two three", "max_tokens": 5, "temperature": 0, "stream": stream}
    assert httpx.post(f"{address}/v1/completions", json=body, timeout=60).status_code == 200
    samples = told(address)
    assert requests(samples, "/v1/completions", "200") == 1
    assert (tokens(samples, "prompt"), tokens(samples, "answer")) == (4, 5)
    assert samples[("coldsnap_first_token_seconds_count",)] == 1
    assert samples[("coldsnap_request_seconds_count", ("path", "/v1/completions"))] == 1
    assert samples[("coldsnap_requests_in_flight",)] == 0


@pytest.fixture
def log(caplog):
    """So many lines of the log of requests, read as JSON: a line comes after the end of its answer."""
    caplog.set_level(logging.INFO, REQUEST_LOG)

    def lines(count):
        deadline = time.monotonic() + 30
        while len(found := [one.message for one in caplog.records if one.name == REQUEST_LOG]) < count:
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        return [json.loads(message) for message in found]

    return lines


def test_every_request_is_a_line_of_json_with_its_tokens_and_without_its_words(address, log):
    came = datetime.now(UTC)
    httpx.post(f"{address}/v1/completions?why=xyzzy", json={"prompt": "xyzzy", "max_tokens": 5, "temperature": 0})
    httpx.get(f"{address}/health")
    (line,) = log(1)
    assert datetime.fromisoformat(line.pop("time")) >= came.replace(microsecond=0)
    assert line.pop("seconds") > 0
    assert line.pop("prompt_tokens") > 1
    assert line == {"method": "POST", "path": "/v1/completions", "status": 200, "answer_tokens": 5}


def test_who_hangs_up_is_told_in_the_log(address, log):
    body = {"prompt": "1, 2,", "max_tokens": 200, "stream": True, "logprobs": 1}
    with httpx.stream("POST", f"{address}/v1/completions", json=body, timeout=60) as response:
        next(response.iter_lines())
    assert httpx.post(f"{address}/v1/completions", json={"prompt": "1", "max_tokens": 1}, timeout=60).is_success
    first, second = log(2)
    assert (first["status"], first["hung_up"]) == (200, True)
    assert "hung_up" not in second


def test_refusals_are_counted_by_their_status(address):
    httpx.post(f"{address}/v1/completions", json={"prompt": "a", "max_tokens": 0})
    samples = told(address)
    assert requests(samples, "/v1/completions", "400") == 1
    assert tokens(samples, "answer") == 0


def test_addresses_that_fit_no_route_are_one(address):
    for name in "ab":
        httpx.get(f"{address}/{name}")
    samples = told(address)
    assert requests(samples, "other", "404") == 2
    assert not any("/a" in str(name) for name in samples)


def test_looks_at_health_and_metrics_are_no_requests(address):
    httpx.get(f"{address}/health")
    told(address)
    assert not any(name[0] == "coldsnap_requests_total" for name in told(address))


def test_metrics_are_for_those_who_have_the_key():
    with serving(api([], "s3cret")) as url:
        assert httpx.get(f"{url}/metrics").status_code == 401
        opened = httpx.get(f"{url}/metrics", headers={"Authorization": "Bearer s3cret"})
    assert "coldsnap_requests_in_flight 0.0" in opened.text


async def test_who_is_answered_and_who_waits_is_told():
    let_go, places = asyncio.Event(), Places(1)

    async def slow(_):
        taken_at = await places.take()
        await let_go.wait()
        places.leave(taken_at)
        return PlainTextResponse("done")

    app = api([Route("/slow", slow)], None, metrics=Metrics(lambda: places.waiting))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat") as client:
        asking = [asyncio.create_task(client.get("/slow")) for _ in range(3)]
        while places.waiting < 2:
            await asyncio.sleep(0.01)
        samples = read((await client.get("/metrics")).text)
        assert samples[("coldsnap_requests_in_flight",)] == 3
        assert samples[("coldsnap_requests_waiting",)] == 2
        let_go.set()
        await asyncio.gather(*asking)
        assert read((await client.get("/metrics")).text)[("coldsnap_requests_waiting",)] == 0


class Behind:
    """A server that a proxy stands in front of."""

    def __init__(self):
        paths = {"/whole": self.whole, "/streamed": self.streamed, "/metrics": self.metrics}
        self.app = Starlette(routes=[Route(path, answer, methods=["GET", "POST"]) for path, answer in paths.items()])

    async def whole(self, _):
        return JSONResponse({"usage": {"prompt_tokens": 7, "completion_tokens": 3}})

    async def streamed(self, _):
        async def events():
            yield 'data: {"choices": [{"text": "a"}]}\n\n'
            yield 'data: {"choices": [], "timings": {"prompt_n": 2, "cache_n": 4, "predicted_n": 5}}\n\n'
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def metrics(self, _):
        return PlainTextResponse("# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing 2\n")


@pytest.fixture
def proxied():
    with serving(Behind().app) as behind:
        proxy = Proxy(behind, "key", OneModel("chat", 0), Places(1))
        routes = [Route(path, proxy.answer, methods=["POST"]) for path in ("/whole", "/streamed")]
        with serving(api(routes, None, proxy.is_healthy, proxy.metrics)) as url:
            yield url


def test_the_tokens_of_a_server_behind_are_counted_as_it_says(proxied):
    httpx.post(f"{proxied}/whole", json={})
    samples = told(proxied)
    assert (tokens(samples, "prompt"), tokens(samples, "answer")) == (7, 3)
    assert samples[("coldsnap_first_token_seconds_count",)] == 0  # nobody can tell
    httpx.post(f"{proxied}/streamed", json={})
    samples = told(proxied)
    assert (tokens(samples, "prompt"), tokens(samples, "answer")) == (13, 8)
    assert samples[("coldsnap_first_token_seconds_count",)] == 1


def test_the_metrics_of_a_server_behind_stand_beside_ours(proxied):
    samples = told(proxied)
    assert samples[("llamacpp:requests_processing",)] == 2
    assert samples[("coldsnap_requests_in_flight",)] == 0


def test_a_server_behind_that_is_gone_leaves_ours():
    proxy = Proxy("http://127.0.0.1:9", "key", OneModel("chat", 0), Places(1))
    with serving(api([], None, proxy.is_healthy, proxy.metrics)) as url:
        assert told(url)[("coldsnap_requests_in_flight",)] == 0
        assert httpx.get(f"{url}/health").status_code == 503


@pytest.mark.parametrize(
    ("tail", "counts"),
    [
        (b'{"usage": {"prompt_tokens": 1, "completion_tokens": 2}}', (1, 2)),
        (b'data: {"response": {"usage": {"input_tokens": 3, "output_tokens": 4}}}\n\n', (3, 4)),
        (b'pt": 1}\n\ndata: {"usage": {"prompt_tokens": 5, "completion_tokens": 6}}\n\ndata: [DONE]\n\n', (5, 6)),
        (b'data: {"choices": [], "usage": null, "timings": {"prompt_n": 1, "predicted_n": 2}}', (1, 2)),
        (b"data: 17\n\n", (0, 0)),
        (b"", (0, 0)),
    ],
)
def test_counts_stand_at_an_answers_end(tail, counts):
    assert usage_in(tail) == counts
