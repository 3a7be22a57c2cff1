"""What a client on the web sees of a deployed app: the real client, the real entrypoint, real containers."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator

import httpx
import modal
import pytest
import web_site
from web_visitor import BOTH, PLAIN, connection, eventually, was_seen
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

MIB = 1 << 20


pytestmark = pytest.mark.usefixtures("site")

# -- addresses


def test_a_web_function_knows_its_address(daemon, site):
    port = daemon.env["COLDSNAP_HTTP_URL"].rsplit(":", 1)[1]
    assert web_site.asgi.get_web_url() == f"http://site-asgi.localhost:{port}"
    assert web_site.mortal.get_web_url() == f"http://mortal-site.localhost:{port}"
    assert web_site.Server.get_url() == f"http://site-server.localhost:{port}"
    assert web_site.Methods().web.get_web_url() == f"http://site-methods-web.localhost:{port}"


async def test_a_name_too_long_for_a_label_is_cut_and_told_from_others_by_a_hash(visit):
    function = web_site.one_whose_name_and_that_of_its_app_are_together_too_long_for_a_label
    label = httpx.URL(await function.get_web_url.aio()).host.removesuffix(".localhost")
    assert len(label) == 63
    assert re.fullmatch(r"site-one-whose-name-and-that-of-its-app-are-together-to-[0-9a-f]{7}", label)
    assert (await visit(label).get("/")).json()["method"] == "GET"


async def test_an_app_sees_the_request_as_it_was_sent(visit):
    seen = (await visit("site-asgi").get("/?a=1&b=%20", headers={"X-Mine": "yes"})).json()
    assert (seen["method"], seen["path"], seen["root_path"], seen["query"]) == ("GET", "/", "", "a=1&b=%20")
    assert seen["headers"]["x-mine"] == "yes"
    assert seen["headers"]["host"] == "site-asgi.localhost"


async def test_a_client_that_resolves_no_names_asks_by_path(daemon, site):
    async with httpx.AsyncClient(base_url=daemon.env["COLDSNAP_HTTP_URL"], timeout=60) as client:
        seen = (await client.get("/_apps/site-asgi/?a=1")).json()
        assert (seen["path"], seen["query"]) == ("/", "a=1")
        assert seen["headers"]["x-forwarded-prefix"] == "/_apps/site-asgi"
        assert (await client.get("/_apps/site-server/")).json()["path"] == "/"


@BOTH
@pytest.mark.parametrize(
    ("location", "arrives"),
    [
        ("/seen?a=b", "{prefix}/seen?a=b"),
        ("http://{host}/seen?a=b", "{prefix}/seen?a=b"),
        ("http://{host}", "{prefix}"),
        ("//{host}/", "{prefix}/"),
        ("{prefix}/seen", "{prefix}/seen"),
        ("http://{host}{prefix}?a=b", "http://{host}{prefix}?a=b"),
        ("{prefix}-too", "{prefix}{prefix}-too"),
        ("seen", "seen"),
        ("?a=/b", "?a=/b"),
        ("//example.com/seen", "//example.com/seen"),
        ("http://{host}0/seen", "http://{host}0/seen"),
        ("https://example.com/seen", "https://example.com/seen"),
    ],
)
async def test_a_redirect_stays_with_the_app_for_a_client_that_asks_by_path(daemon, site, label, location, arrives):
    base = httpx.URL(daemon.env["COLDSNAP_HTTP_URL"])
    places = {"host": base.netloc.decode(), "prefix": f"/_apps/{label}"}
    async with httpx.AsyncClient(base_url=base, timeout=60) as client:
        answer = await client.get(f"/_apps/{label}/redirect?{location.format(**places)}")
    assert answer.headers["location"] == arrives.format(**places)


async def test_a_redirect_is_followed_by_path_to_where_it_leads(daemon, site):
    async with httpx.AsyncClient(base_url=daemon.env["COLDSNAP_HTTP_URL"], timeout=60) as client:
        answer = await client.get("/_apps/site-asgi/redirect?/?followed", follow_redirects=True)
    assert answer.json()["query"] == "followed"


async def test_a_redirect_is_left_alone_for_a_client_that_asks_by_name(visit):
    assert (await visit("site-asgi").get("/redirect?/seen")).headers["location"] == "/seen"


async def test_a_label_that_nothing_has_is_not_found(visit):
    answer = await visit("nobody").get("/")
    assert (answer.status_code, answer.text) == (404, "modal-http: invalid function call\n")


async def test_a_stopped_app_says_that_it_is_stopped(visit, owner, app):
    @app.function(serialized=True)
    @modal.asgi_app(label="short-lived")
    def short_lived():
        return None

    await app.deploy.aio(client=owner)
    await app.stop.aio(client=owner)
    answer = await visit("short-lived").get("/")
    assert (answer.status_code, answer.text) == (404, "modal-http: app for invoked web endpoint is stopped\n")


def test_a_label_that_another_app_holds_is_refused(site, deploy, app):
    @app.function(serialized=True)
    @modal.asgi_app(label="mortal-site")
    def thief():
        return None

    with pytest.raises(modal.exception.Error, match="web label 'mortal-site' is already used"):
        deploy(app)


# -- requests and responses


async def test_a_web_method_of_a_class_answers(visit):
    assert (await visit("site-methods-web").get("/")).json()["method"] == "GET"


async def test_a_wsgi_app_answers(visit):
    answer = await visit("site-wsgi").post("/", content=b"body")
    assert (answer.status_code, answer.text) == (201, "POST body")


@BOTH
@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "PATCH", "DELETE"])
async def test_every_method_reaches_the_app(visit, label, method):
    assert (await visit(label).request(method, "/")).json()["method"] == method


@BOTH
async def test_head_has_headers_and_no_body(visit, label):
    client = visit(label)
    answer = await client.head("/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await client.get("/")).status_code == 200  # the connection is still good


@BOTH
async def test_a_large_body_arrives_whole(visit, label):
    body = bytes(range(256)) * 4096 * 20
    answer = await visit(label).post("/sum", content=body)
    assert answer.text == hashlib.sha256(body).hexdigest()


@BOTH
async def test_a_body_of_unknown_length_arrives_whole(visit, label):
    async def parts() -> AsyncIterator[bytes]:
        for number in range(100):
            yield bytes([number]) * 1000

    answer = await visit(label).post("/sum", content=parts())
    assert answer.text == hashlib.sha256(b"".join(bytes([number]) * 1000 for number in range(100))).hexdigest()


@BOTH
async def test_a_large_response_arrives_whole(visit, label):
    answer = await visit(label).get("/large?20")
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(bytes(range(256)) * 4096 * 20).digest()


async def test_a_response_too_large_for_messages_arrives_whole(visit):
    """Above forty MiB the container's client sends parts by way of blobs."""
    answer = await visit("site-asgi").get("/large?45")
    assert len(answer.content) == 45 * MIB
    assert answer.content == bytes(range(256)) * 4096 * 45


@BOTH
async def test_events_are_not_held_back(visit, label):
    client = visit(label)
    async with client.stream("GET", "/events") as response:
        lines = response.aiter_lines()
        assert await anext(lines) == "data: first"
        await client.post("/release")
        assert [line async for line in lines if line] == ["data: second"]


async def test_a_request_and_its_response_flow_at_once(daemon, site):
    """Each part of the body is only sent once the one before has come back."""
    reader, writer = await connection(daemon)
    writer.write(b"POST /echo HTTP/1.1\r\nhost: site-asgi.localhost\r\ntransfer-encoding: chunked\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    for part in (b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"):
        writer.write(part)
        assert await asyncio.wait_for(reader.readexactly(len(part)), 60) == part
    writer.close()


async def test_trailers_come_for_who_asks(daemon, site):
    asked = await _raw(daemon, b"GET /trailers HTTP/1.1\r\nhost: site-asgi.localhost\r\nte: trailers\r\n")
    assert asked.endswith(b"4\r\nbody\r\n0\r\nx-checksum: 42\r\n\r\n")
    unasked = await _raw(daemon, b"GET /trailers HTTP/1.1\r\nhost: site-asgi.localhost\r\n")
    assert b"x-checksum" not in unasked


async def _raw(daemon, head: bytes) -> bytes:
    reader, writer = await connection(daemon)
    writer.write(head + b"connection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


# -- credentials


async def test_a_private_function_wants_a_proxy_token(visit, owner):
    client = visit("site-private")
    without = await client.get("/")
    assert (without.status_code, without.text) == (401, "modal-http: missing credentials for proxy authorization\n")
    wrong = await client.get("/", headers={"Modal-Key": "wk-no", "Modal-Secret": "ws-no"})
    assert (wrong.status_code, wrong.text) == (401, "modal-http: invalid credentials for proxy authorization\n")
    token = await modal.Workspace.from_context(client=owner).proxy_tokens.create.aio("test")
    seen = await client.get("/", headers={"Modal-Key": token.token_id, "Modal-Secret": token.token_secret})
    assert seen.status_code == 200
    assert "modal-secret" not in seen.json()["headers"]  # the app has no business with it


async def test_a_private_server_takes_the_clients_own_token(visit, owner):
    client = visit("site-privateserver")
    assert (await client.get("/")).status_code == 401
    service = web_site.PrivateServer._get_service_function()
    bearer = await service._get_flash_auth_token.aio()
    assert (await client.get("/", headers={"Modal-Authorization": f"Bearer {bearer}"})).status_code == 200
    assert (await client.get("/", headers={"Modal-Authorization": f"Bearer {bearer}x"})).status_code == 401


# -- servers


async def test_a_server_keeps_its_connections(visit):
    client = visit("site-server")
    before = (await client.get("/")).json()["connections"]
    for _ in range(20):
        last = (await client.get("/")).json()
    assert last["connections"] - before <= 1
    assert last["headers"]["x-forwarded-for"] == "127.0.0.1"


@PLAIN
async def test_a_response_without_a_body_ends(visit, label):
    client = visit(label)
    answer = await client.get("/unchanged")
    assert (answer.status_code, answer.headers["etag"], answer.content) == (304, '"1"', b"")
    assert (await client.get("/")).status_code == 200


# -- websockets


@BOTH
async def test_a_websocket_talks_both_ways(dial, label):
    async with dial(label, "ws", subprotocols=["talk"]) as socket:
        assert socket.subprotocol == "talk"
        assert await _says(socket, "text") == "text"
        assert await _says(socket, b"bytes") == b"bytes"
        assert await _says(socket, "x" * MIB) == "x" * MIB


@pytest.mark.parametrize("label", ["site-asgi", "site-server"])
async def test_a_websocket_closes_with_the_apps_reason(dial, label):
    async with dial(label, "ws") as socket:
        with pytest.raises(ConnectionClosed):
            await _says(socket, "close")
        assert (socket.close_code, socket.close_reason) == (4321, "as asked")


async def _says(socket: ClientConnection, what: str | bytes) -> str | bytes:
    await socket.send(what)
    return await socket.recv()


@pytest.mark.parametrize("label", ["site-asgi", "site-server"])
async def test_a_websocket_can_be_refused(dial, label):
    with pytest.raises(InvalidStatus) as refused:
        await dial(label, "ws-refuse")
    assert refused.value.response.status_code == 403


async def test_a_websocket_hears_that_its_client_left(dial, visit):
    async with dial("site-asgi", "ws"):
        pass
    await eventually(lambda: was_seen(visit("site-asgi"), "websocket.disconnect"))


async def test_a_websocket_whose_function_ends_is_closed_with_an_error(dial):
    async with dial("site-asgi", "ws-raise") as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1011


async def test_many_requests_at_once_each_get_their_own_answer(visit):
    client = visit("site-asgi")
    queries = [f"n={number}" for number in range(40)]
    answers = await asyncio.gather(*(client.get(f"/?{query}") for query in queries))
    assert [answer.json()["query"] for answer in answers] == queries
