"""The proxy in front of a server of the loopback: a small real one, whose every answer is scripted by its path."""

import asyncio

import httpx
import pytest
from serving import serving
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from engines.http import api
from engines.one_model import OneModel
from engines.places import Places
from engines.proxy import Proxy

KEY = "between-us"


class Server:
    """What stands behind the proxy."""

    def __init__(self):
        self.seen = []
        self.let_go = asyncio.Event()
        self.hung_up = 0
        paths = {"/echo": self.echo, "/slow": self.slow, "/refuse": self.refuse, "/odd": self.odd, "/long": self.long}
        routes = [Route(path, answer, methods=["GET", "POST"]) for path, answer in paths.items()]
        self.app = Starlette(routes=routes)

    async def echo(self, request):
        body = await request.body()
        self.seen.append((request.method, request.headers.get("authorization"), body))
        return JSONResponse({"said": body.decode()})

    async def events(self):
        try:
            for number in range(3):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0)
            while not self.let_go.is_set():
                yield "data: more\n\n"
                await asyncio.sleep(0.02)
            yield "data: [DONE]\n\n"
        finally:
            self.hung_up += not self.let_go.is_set()

    async def slow(self, _):
        return StreamingResponse(self.events(), media_type="text/event-stream")

    async def refuse(self, _):
        error = {"code": 400, "message": "the request exceeds the context", "type": "exceed_context_size_error"}
        return JSONResponse({"error": error}, 400)

    async def odd(self, _):
        return PlainTextResponse("no words of mine", 418)

    async def long(self, _):
        async def cut():
            yield "data: 1\n\n"
            raise RuntimeError("gone")

        return StreamingResponse(cut(), media_type="text/event-stream")


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def places():
    return Places(1, waiting=0, wait_seconds=0.2)


@pytest.fixture
async def client(server, places):
    with serving(server.app) as behind:
        proxy = Proxy(behind, KEY, OneModel("chat", 0), places)
        answered = [
            Route(path, proxy.answer, methods=["POST"]) for path in ("/echo", "/slow", "/refuse", "/odd", "/long")
        ]
        app = api([*answered, Route("/echo", proxy.look)], "outside")
        with serving(app) as url:
            headers = {"Authorization": "Bearer outside"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
                yield client


async def test_a_request_is_passed_on_with_the_key_between_them_and_not_the_users(server, client):
    answer = await client.post("/echo", json={"model": "chat", "n": 1})
    assert answer.json() == {"said": '{"model":"chat","n":1}'}
    assert server.seen == [("POST", f"Bearer {KEY}", b'{"model":"chat","n":1}')]


async def test_a_look_at_the_server_has_no_body(server, client):
    assert (await client.get("/echo")).status_code == 200
    assert server.seen == [("GET", f"Bearer {KEY}", b"")]


async def test_who_has_no_key_is_not_passed_on(server, client):
    assert (await client.post("/echo", json={}, headers={"Authorization": "Bearer other"})).status_code == 401
    assert server.seen == []


async def test_a_stream_comes_piece_by_piece(server, client):
    async with client.stream("POST", "/slow", json={}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert await anext(lines) == "data: 0"  # long before the last one
        server.let_go.set()
        assert [line async for line in lines if line][-1] == "data: [DONE]"


async def test_who_hangs_up_ends_the_answer_behind(server, client, places):
    async with client.stream("POST", "/slow", json={}) as answer:
        await anext(answer.aiter_lines())
    async with asyncio.timeout(10):
        while not server.hung_up:
            await asyncio.sleep(0.02)
        while places._free.locked():
            await asyncio.sleep(0.02)


async def test_a_refusal_comes_in_openais_envelope(client):
    answer = await client.post("/refuse", json={})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "message": "the request exceeds the context",
            "type": "invalid_request_error",
            "param": None,
            "code": "context_length_exceeded",
        }
    }


async def test_a_refusal_that_is_no_json_keeps_its_words(client):
    answer = await client.post("/odd", json={})
    assert (answer.status_code, answer.json()["error"]["message"]) == (418, "no words of mine")


async def test_a_body_that_is_no_json_is_refused_before_the_server_sees_it(server, client):
    answer = await client.post("/echo", content=b"{")
    assert (answer.status_code, server.seen) == (400, [])


async def test_another_model_is_refused(server, client):
    answer = await client.post("/echo", json={"model": "other"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert server.seen == []


async def test_who_finds_no_place_is_told_when_to_come_back(server, client):
    async with client.stream("POST", "/slow", json={}) as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        busy = await client.post("/echo", json={})
        assert busy.status_code == 429
        assert int(busy.headers["retry-after"]) >= 1
        server.let_go.set()
        assert [line async for line in lines][-2:] == ["data: [DONE]", ""]
    assert (await client.post("/echo", json={})).status_code == 200


async def test_a_look_waits_for_nobody(server, client):
    async with client.stream("POST", "/slow", json={}) as answer:
        await anext(answer.aiter_lines())
        assert (await client.get("/echo")).status_code == 200
        server.let_go.set()


async def test_an_answer_that_is_cut_off_says_so_in_the_stream(client):
    answer = await client.post("/long", json={})
    events = [line for line in answer.text.splitlines() if line]
    assert events[0] == "data: 1"
    assert "server_error" in events[-1]


async def test_a_server_that_is_gone_is_a_fault_of_ours():
    proxy = Proxy("http://127.0.0.1:9", KEY, OneModel("chat", 0), Places(1))
    app = api([Route("/echo", proxy.answer, methods=["POST"])], None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat") as client:
        answer = await client.post("/echo", json={})
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
