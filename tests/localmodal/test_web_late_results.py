"""A response that takes longer than a request may: its client is sent on to where it will be, and asks there.

The service redirects after 150 seconds, and so does the daemon; here the same code redirects at once. The container
alone is played by the test, which says when it answers.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import httpx
import pytest
import uvicorn
from modal_proto import api_pb2
from uvicorn.server import ServerState

from localmodal.objects.blobs import Blobs
from localmodal.objects.contents import Contents
from localmodal.store import Store
from localmodal.tasks.calls import Calls, Input
from localmodal.web.functions import WebFunction, WebFunctions
from localmodal.web.protocol import FrontProtocol

WITHIN = 0.2


class Container:
    """Takes a request whole, and answers it when it is told to."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._working: set[asyncio.Task[None]] = set()
        self.bodies: list[bytes] = []
        self.answers = asyncio.Event()
        self.withdrawn: list[str] = []

    def enqueue(self, inputs: Sequence[Input]) -> None:
        self._working.update(asyncio.create_task(self._work(one)) for one in inputs)

    def withdraw(self, inputs: Iterable[Input], *, terminate_containers: bool) -> None:
        assert not terminate_containers
        self.withdrawn += [one.id for one in inputs]

    async def _work(self, one: Input) -> None:
        self.bodies.append(await self._body(one))
        await self.answers.wait()
        await self._send(one, http_response_start=api_pb2.Asgi.HttpResponseStart(status=201, headers=[b"x-late", b"1"]))
        await self._send(one, http_response_body=api_pb2.Asgi.HttpResponseBody(body=b"result"))
        result = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)
        self._calls.finish(one, api_pb2.FunctionGetOutputsItem(result=result))

    async def _body(self, one: Input) -> bytes:
        body = b""
        async for chunk in one.call.data_in.read():
            part = api_pb2.Asgi.FromString(chunk.data).http_request
            body += part.body
            if not part.more_body:
                break
        return body

    async def _send(self, one: Input, **message: Any) -> None:
        data = api_pb2.Asgi(**message).SerializeToString()
        await one.call.data_out.append(api_pb2.DataChunk(data_format=api_pb2.DATA_FORMAT_ASGI, data=data))


@pytest.fixture
def calls(tmp_path) -> Calls:
    return Calls(Store(tmp_path / "state.db"))


@pytest.fixture
async def container(calls) -> Container:
    calls.runner = Container(calls)
    return calls.runner


@pytest.fixture
async def client(tmp_path, calls, container) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a web function whose responses are waited for only briefly."""
    functions = WebFunctions(calls, Blobs(Store(tmp_path / "state.db"), Contents(tmp_path / "blobs")), WITHIN)

    async def app(scope, receive, send) -> None:
        await functions.http(WebFunction("fu-1", "", scope["path"]), scope, receive, send)

    config = uvicorn.Config(app, http=FrontProtocol, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    listening = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(lambda: FrontProtocol(config, state, {}), sock=listening)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as client:
        yield client
    server.close()


async def test_a_client_that_follows_redirects_gets_the_result_of_its_request(client, container):
    seen = []

    async def answer_the_third_time(response: httpx.Response) -> None:
        seen.append((response.request.method, response.status_code))
        if len(seen) == 2:
            container.answers.set()

    client.event_hooks["response"].append(answer_the_third_time)
    answer = await client.post("/run?a=b", content=b"body", follow_redirects=True)
    assert (answer.status_code, answer.text, answer.headers["x-late"]) == (201, "result", "1")
    assert seen == [("POST", 303), ("GET", 303), ("GET", 201)]
    assert container.bodies == [b"body"]


async def test_whoever_asks_too_early_is_sent_to_the_same_address_again(client):
    first = await client.post("/run?a=b", content=b"body")
    assert (first.status_code, first.text) == (303, "")
    address = httpx.URL(first.headers["location"])
    assert (address.path, address.params["a"]) == ("/run", "b")
    assert address.params["__modal_function_call_id"].startswith("fc-")
    again = await client.get(address)
    assert (again.status_code, again.headers["location"]) == (303, str(address))


async def test_a_result_is_given_once(client, container):
    address = (await client.get("/")).headers["location"]
    container.answers.set()
    assert (await client.get(address)).text == "result"
    again = await client.get(address)
    assert (again.status_code, again.text) == (404, "modal-http: missing or expired function call\n")


async def test_of_two_who_ask_for_a_result_at_once_one_gets_it(client, container):
    address = (await client.get("/")).headers["location"]
    asking = [asyncio.create_task(client.get(address)) for _ in range(2)]
    await asyncio.sleep(WITHIN / 4)
    container.answers.set()
    assert sorted([(await one).status_code for one in asking]) == [201, 404]


async def test_a_client_that_hangs_up_while_it_waits_may_ask_again(client, container):
    address = (await client.get("/")).headers["location"]
    with pytest.raises(httpx.ReadTimeout):
        await client.get(address, timeout=WITHIN / 4)
    await asyncio.sleep(WITHIN / 4)
    container.answers.set()
    assert (await client.get(address)).text == "result"
    assert container.withdrawn == []


async def test_a_result_is_asked_for_by_get(client):
    address = (await client.post("/")).headers["location"]
    answer = await client.post(address)
    assert (answer.status_code, answer.text) == (400, "modal-http: bad redirect method\n")


async def test_a_request_that_is_still_being_sent_is_not_sent_on(client, container):
    """The rest of it would be lost."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"begin"
        await asyncio.sleep(WITHIN * 2)
        container.answers.set()
        yield b"end"

    answer = await client.post("/", content=parts(), follow_redirects=True)
    assert (answer.status_code, answer.text) == (201, "result")
    assert container.bodies == [b"beginend"]
