"""Servers (`@app.server`): plain HTTP and websockets, passed through to a port of a running container."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ReferenceType, WeakKeyDictionary, ref

from grpclib import GRPCError
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from localmodal.web import replies
from localmodal.web.asgi import PRIVATE_HEADERS
from localmodal.web.upstream import Pool, UpstreamLostError

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable

    from websockets.asyncio.client import ClientConnection

    from localmodal.tasks.tasks import Task
    from localmodal.web.asgi import Headers, Receive, Scope, Send
    from localmodal.web.upstream import Upstream

log = logging.getLogger(__name__)

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"expect", b"proxy-authorization"}
)
_REQUEST_ONLY = _HOP_BY_HOP | PRIVATE_HEADERS
_RESPONSE_FRAMING = _HOP_BY_HOP | {b"transfer-encoding"}
"""uvicorn frames the response anew; a length stays what it was."""
_WITHOUT_BODY = frozenset({204, 304})
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Requests that may be sent again when a connection was closed just as they were sent."""


class ServerTasks(Protocol):
    """The scheduler, as far as servers need it."""

    async def server_task(self, function_id: str) -> Task:
        """A container that takes requests, one of which it is now busy with; waits for one to start."""

    def end_request(self, task: Task) -> None:
        """That request is over."""


@dataclass(frozen=True)
class Server:
    """Whom a request is for, and the raw path that it asks of it."""

    function_id: str
    port: int
    path: bytes


class Servers:
    """Passes requests and websockets on."""

    def __init__(self, tasks: ServerTasks) -> None:
        self._tasks = tasks
        self._pools: WeakKeyDictionary[Task, Pool] = WeakKeyDictionary()

    async def http(self, server: Server, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on, its body and the response's as they come."""
        async with self._task(server, scope, send) as task:
            if task:
                await _Passage(self._pool(task, server.port), server.path, scope, receive, send).run()

    @asynccontextmanager
    async def _task(self, server: Server, scope: Scope, send: Send) -> AsyncIterator[Task | None]:
        """A container, counted busy; without one, the client is told and there is none."""
        try:
            task = await self._tasks.server_task(server.function_id)
        except Exception as error:  # noqa: BLE001 (whatever kept the container from starting is the client's answer)
            await replies.unavailable(f"no container of this server is ready: {_in_words(error)}")(scope, send)
            yield None
            return
        try:
            yield task
        finally:
            self._tasks.end_request(task)

    def _pool(self, task: Task, port: int) -> Pool:
        if (pool := self._pools.get(task)) is None:
            pool = self._pools[task] = Pool(partial(_connection, ref(task), port))
        return pool

    async def websocket(self, server: Server, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a websocket's messages on, both ways."""
        async with self._task(server, scope, send) as task:
            if task:
                await _tunnel(_connection(ref(task), server.port), server, scope, receive, send)


async def _connection(task: ReferenceType[Task], port: int) -> socket.socket:
    """A connection into a container. The pool that asks does not keep a task that has ended."""
    if (running := task()) is None or running.container is None:
        raise ConnectionRefusedError("it has ended")
    return await running.container.connect(port)


def _in_words(error: Exception) -> str:
    return (error.message if isinstance(error, GRPCError) else str(error)) or type(error).__name__


class _Passage:
    """One request on its way to a container and back."""

    def __init__(self, pool: Pool, path: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        self._pool = pool
        self._scope = scope
        self._receive = receive
        self._send = send
        self._chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
        self._trailers_asked = "http.response.trailers" in scope.get("extensions", {})
        self._head = _request_head(path, scope)
        self._taken = False
        """Something of the request's body has been passed on: it cannot be sent again."""
        self._sent = False
        self._started = False
        self._gone = False

    async def run(self) -> None:
        try:
            if not await self._attempt(fresh=False):
                await self._attempt(fresh=True)
        except OSError as error:
            if not self._started:
                await replies.bad_gateway(f"the server's container did not answer: {error}")(self._scope, self._send)
            elif not self._gone:
                log.warning("%s %s: the response broke off: %s", self._scope["method"], self._scope["path"], error)

    async def _attempt(self, *, fresh: bool) -> bool:
        """False: an old connection turned out to be closed, and the request may be repeated."""
        upstream = await self._pool.take(fresh=fresh)
        was_used = upstream.used
        upstream.begin(self._head, bodyless=self._scope["method"] == "HEAD")
        feeding = asyncio.create_task(self._feed(upstream))
        try:
            await self._answer(upstream)
        except UpstreamLostError:
            if not (was_used and self._repeatable):
                raise
            return False
        finally:
            feeding.cancel()
            self._pool.put_back(upstream, whole=self._sent)
        return True

    @property
    def _repeatable(self) -> bool:
        return not (self._started or self._taken or self._gone) and self._scope["method"] in _REPEATABLE

    async def _feed(self, upstream: Upstream) -> None:
        """Passes the request's body on, then waits for the client to hang up: so does the request then."""
        while (message := await self._receive())["type"] == "http.request":
            if body := message["body"]:
                self._taken = True
                await upstream.write(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)
            self._sent = not message["more_body"]
            if self._chunked and self._sent:
                await upstream.write(b"0\r\n\r\n")
        self._gone = True
        upstream.transport.abort()

    async def _answer(self, upstream: Upstream) -> None:
        response = await upstream.head()
        headers: Headers = [pair for pair in response.headers if pair[0] not in _RESPONSE_FRAMING]
        if response.status in _WITHOUT_BODY:
            headers = [pair for pair in headers if pair[0] != b"content-length"]
        trailing = self._trailers_asked and any(name == b"trailer" for name, _ in headers)
        start = {"type": "http.response.start", "status": response.status, "headers": headers, "trailers": trailing}
        self._started = True
        await self._send(start)
        async for body, more in upstream.body():
            await self._send({"type": "http.response.body", "body": body, "more_body": more})
        if trailing:
            await self._send({"type": "http.response.trailers", "headers": response.trailers})


def _request_head(path: bytes, scope: Scope) -> bytes:
    query = scope["query_string"]
    lines = [b"%b %b%b HTTP/1.1" % (scope["method"].encode(), path, b"?" + query if query else b"")]
    lines += [b"%b: %b" % pair for pair in scope["headers"] if pair[0] not in _REQUEST_ONLY]
    if scope["client"]:
        lines.append(b"x-forwarded-for: %b" % scope["client"][0].encode())
    return b"\r\n".join([*lines, b"", b""])


async def _tunnel(
    connection: Awaitable[socket.socket], server: Server, scope: Scope, receive: Receive, send: Send
) -> None:
    await receive()  # websocket.connect
    try:
        async with _connect(await connection, server, scope) as upstream:
            await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
            await _both_ways(upstream, receive, send)
    except InvalidStatus as refused:
        await _refuse(refused, send)
    except (OSError, InvalidHandshake) as error:
        await replies.bad_gateway(f"the server's container took no websocket: {error}")(scope, send)


class _Connect(connect):
    """A websocket's client that leaves redirects to the one who asked."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


def _connect(sock: socket.socket, server: Server, scope: Scope) -> _Connect:
    query = scope["query_string"].decode("latin-1")
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if _belongs(name)}
    return _Connect(
        f"ws://{headers.pop('host', 'localhost')}{server.path.decode('latin-1')}{'?' + query if query else ''}",
        sock=sock,
        origin=headers.pop("origin", None),
        user_agent_header=headers.pop("user-agent", None),
        subprotocols=scope["subprotocols"] or None,
        additional_headers=headers,
        compression=None,
        max_size=None,
        ping_interval=None,
        proxy=None,
    )


def _belongs(name: bytes) -> bool:
    return name not in _REQUEST_ONLY and not name.startswith(b"sec-websocket-")


async def _both_ways(upstream: ClientConnection, receive: Receive, send: Send) -> None:
    outward = asyncio.create_task(_to_server(upstream, receive))
    try:
        async for data in upstream:
            await send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
    except ClientDisconnected:
        return
    except ConnectionClosed:
        pass
    finally:
        outward.cancel()
    with suppress(ClientDisconnected):
        await send(
            {"type": "websocket.close", "code": upstream.close_code or 1011, "reason": upstream.close_reason or ""}
        )


async def _to_server(upstream: ClientConnection, receive: Receive) -> None:
    with suppress(ConnectionClosed):
        while (message := await receive())["type"] == "websocket.receive":
            data: Any = message.get("bytes")
            await upstream.send(message["text"] if data is None else data)
        await upstream.close(_sendable(message.get("code", 1000)))


def _sendable(code: int) -> int:
    """The code to close with: those for a connection that broke are not sent on the wire."""
    return 1000 if code in {1005, 1006, 1015} else code


async def _refuse(refused: InvalidStatus, send: Send) -> None:
    response = refused.response
    headers = [(name.encode(), value.encode("latin-1")) for name, value in response.headers.raw_items()]
    await send({"type": "websocket.http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": bytes(response.body or b"")})
