"""What becomes of requests when a client, an app or a container fails in the middle of one."""

import asyncio
import os
import subprocess
import sys

import httpx
import pytest
from web_visitor import BOTH, PLAIN, connection, eventually, was_seen
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

pytestmark = pytest.mark.usefixtures("site")


# -- clients that hang up


async def test_an_app_hears_that_its_client_hung_up(visit):
    client = visit("site-asgi")
    async with client.stream("GET", "/generate") as response:
        assert await anext(response.aiter_raw()) == b"token"
    await eventually(lambda: was_seen(client, "http.disconnect"))


async def test_an_app_that_does_not_listen_is_cancelled(visit):
    client = visit("site-asgi")
    async with client.stream("GET", "/deaf") as response:
        assert await anext(response.aiter_raw()) == b"token"
    await eventually(lambda: was_seen(client, "cancelled"))


@BOTH
async def test_an_app_hears_that_an_upload_broke_off(daemon, visit, label):
    _, writer = await connection(daemon)
    writer.write(b"POST /upload HTTP/1.1\r\nhost: %b.localhost\r\ncontent-length: 10\r\n\r\nhalf" % label.encode())
    await eventually(lambda: was_seen(visit(label), "upload: half"))
    writer.close()
    await eventually(lambda: was_seen(visit(label), "upload: broke off"))


@BOTH
async def test_a_client_that_hangs_up_is_no_failure_of_the_app(daemon, visit, label):
    client = visit(label)
    async with client.stream("GET", "/generate") as response:
        assert (await anext(response.aiter_raw())).startswith(b"token")
    await eventually(lambda: was_seen(client, "http.disconnect" if label == "site-asgi" else "hung up"))
    assert "/generate: the response broke off" not in daemon.log


@PLAIN
async def test_a_server_hears_that_its_client_hung_up(visit, label):
    client = visit(label)
    async with client.stream("GET", "/generate") as response:
        assert (await anext(response.aiter_raw())).startswith(b"token")
    await eventually(lambda: was_seen(client, "hung up"))


# -- failures


async def test_an_exception_is_the_answer(visit):
    answer = await visit("site-asgi").get("/raise")
    assert answer.status_code == 500
    assert answer.text == "modal-http: internal error: status Failure: ValueError('no such luck')\n"


@pytest.mark.parametrize(
    ("label", "path"), [("site-asgi", "/break"), ("mortal-site", "/die"), ("site-mortalserver", "/die")]
)
async def test_a_response_that_breaks_off_is_no_whole_response(visit, label, path):
    async with visit(label).stream("GET", path) as response:
        parts = response.aiter_raw()
        assert await anext(parts) == b"half"
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(parts)


async def test_a_container_that_dies_before_it_answers_is_an_error_with_its_reason(visit):
    answer = await visit("mortal-site").get("/die-at-once")
    assert answer.status_code == 500
    assert answer.text.startswith("modal-http: internal error: status ")
    assert "code 9" in answer.text


async def test_another_container_serves_after_one_has_died(visit):
    client = visit("mortal-site")
    await client.get("/die-at-once")
    assert (await client.get("/")).status_code == 200


async def test_a_request_that_a_container_has_begun_fails_when_the_container_is_ended_by_hand(visit, daemon):
    async with visit("mortal-site").stream("GET", "/deaf") as response:
        parts = response.aiter_raw()
        assert await anext(parts) == b"token"
        container = (await visit("mortal-site").get("/")).json()["container"]
        stop = [sys.executable, "-m", "modal", "container", "stop", "--yes", container]
        await asyncio.to_thread(subprocess.run, stop, env={**os.environ, **daemon.env}, check=True, capture_output=True)
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(parts)


# -- servers that break HTTP


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/silent", "it closed the connection"),
        ("/garbage", "what it sent is no response in HTTP/1.1: "),
        ("/switched", "it changed to another protocol"),
        ("/large-head", "the headers of its response are larger than 65536 bytes"),
    ],
)
async def test_a_server_that_does_not_answer_in_http_is_a_bad_gateway_with_its_reason(visit, path, reason):
    answer = await visit("site-rawserver").get(path)
    assert answer.status_code == 502
    assert answer.text.startswith(f"modal-http: the server's container did not answer: {reason}")


@pytest.mark.parametrize("path", ["/short", "/bad-chunk"])
async def test_a_body_that_is_not_what_its_head_said_breaks_off(visit, path):
    async with visit("site-rawserver").stream("GET", path) as response:
        parts = response.aiter_raw()
        assert await anext(parts) == b"half"
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(parts)


async def test_a_body_without_a_length_ends_with_the_connection(visit):
    assert (await visit("site-rawserver").get("/until-closed")).text == "whole"


async def test_a_response_that_nobody_asked_for_is_nobodys_answer(visit):
    client = visit("site-rawserver")
    assert [(await client.get("/unasked")).text for _ in range(3)] == ["asked", "asked", "asked"]


async def test_an_answer_before_the_whole_request_is_passed_on(visit):
    answer = await visit("site-rawserver").post("/unread", content=bytes(8 << 20))
    assert (answer.status_code, answer.text) == (413, "too large")


async def test_a_request_is_sent_again_when_its_connection_was_stale(visit):
    """The server closes a connection that was used before as soon as it is used once more."""
    client = visit("site-rawserver")
    assert [(await client.get("/stale")).text for _ in range(3)] == ["fresh", "fresh", "fresh"]


@pytest.mark.parametrize(("method", "body"), [("POST", b""), ("GET", b"body")])
async def test_a_request_that_the_server_may_have_begun_is_not_sent_again(visit, method, body):
    client, answer = visit("site-rawserver"), httpx.Response(200)
    while answer.status_code == 200:  # on a busy machine the connection may have grown too old to be used again
        assert (await client.get("/stale")).text == "fresh"
        answer = await client.request(method, "/stale", content=body)
    assert answer.status_code == 502
    assert answer.text == "modal-http: the server's container did not answer: it closed the connection\n"


async def test_a_websocket_that_is_sent_elsewhere_is_told_where_to(dial):
    with pytest.raises(InvalidStatus) as refused:
        await _Unredirected(dial("site-rawserver", "elsewhere").uri, proxy=None)
    assert refused.value.response.status_code == 302
    assert refused.value.response.headers["location"] == "/_apps/site-rawserver/there"


class _Unredirected(connect):
    def process_redirect(self, exc: Exception) -> Exception:
        return exc


async def test_a_server_that_takes_no_websocket_is_a_bad_gateway(dial):
    with pytest.raises(InvalidStatus) as refused:
        await dial("site-rawserver", "garbage")
    assert refused.value.response.status_code == 502


# -- clients that break HTTP


async def test_headers_without_an_end_are_refused(daemon, site):
    reader, writer = await connection(daemon)
    writer.write(b"GET / HTTP/1.1\r\nhost: site-asgi.localhost\r\nx-endless: " + b"x" * (64 << 10))
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"modal-http: the headers are larger than 65536 bytes\n")
    writer.close()


async def test_what_is_no_http_is_refused(daemon, site):
    reader, writer = await connection(daemon)
    writer.write(b"no HTTP at all\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
