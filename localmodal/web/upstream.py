"""Keep-alive HTTP connections to the server inside a container.

One response at a time on one connection, its head parsed, its body handed on as it comes. aiohttp's client on top of a
server costs more than the millisecond that the front may add to a request, so this talks to `httptools` directly.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from localmodal.web.asgi import Headers

IDLE_LIMIT = 2.0
"""Seconds after which an idle connection is not used again: servers close theirs (uvicorn after 5 s), and a request
that meets the closing is lost."""
_HIGH_WATER = 256 * 1024
"""Bytes of a response that may wait for a slow client before the server is no longer read."""


def send_at_once(transport: asyncio.BaseTransport) -> None:
    """Keeps the kernel from holding a response's body back for 40 ms, until its head is acknowledged (Nagle).

    asyncio does so only for sockets that were made with IPPROTO_TCP, which those made from a listening one need not be.
    """
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


LARGEST_HEAD = 64 * 1024
"""Bytes after which the head of a request or a response is given up that has not ended."""


class UpstreamLostError(ConnectionError):
    """The connection ended before the response was complete; the message says why."""


@dataclass
class Response:
    """What has been read of one response."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    trailers: Headers = field(default_factory=list)
    chunks: deque[bytes] = field(default_factory=deque)
    waiting: int = 0
    """Bytes in `chunks`."""
    headed: bool = False
    complete: bool = False


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.lost = False
        self.reusable = True
        self.used = False
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._response = Response()
        self._head_size = 0
        self._failure = "it closed the connection"
        self._bodyless = False
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio: the connection stands."""
        assert isinstance(transport, asyncio.Transport)
        send_at_once(transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Of asyncio: a part of a response."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._give_up(f"what it sent is no response in HTTP/1.1: {error}")
        except httptools.HttpParserUpgrade:
            self._give_up("it changed to another protocol")
        self._limit_head(len(data))
        self._wake()

    def _limit_head(self, received: int) -> None:
        self._head_size += 0 if self._response.headed else received
        if self._head_size > LARGEST_HEAD:
            self._give_up(f"the headers of its response are larger than {LARGEST_HEAD} bytes")

    def _give_up(self, reason: str) -> None:
        self._failure = reason
        self.transport.abort()

    def eof_received(self) -> None:
        """Of asyncio: the server has closed, which ends a response that has no length."""
        response = self._response
        if response.headed and not self._framed(response):
            response.complete = True

    def connection_lost(self, _: Exception | None) -> None:
        """Of asyncio: the connection is gone."""
        self.lost = True
        self.reusable = False
        self.resume_writing()
        self._wake()

    def pause_writing(self) -> None:
        """Of asyncio: the server does not read."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Of asyncio: the server reads again."""
        if self._drained and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def on_message_begin(self) -> None:
        """Of httptools: a response. One that nobody asked for makes it give the connection up."""
        if self._response.complete:
            raise UpstreamLostError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of httptools: a header, or after the body a trailer."""
        (self._response.trailers if self._response.headed else self._response.headers).append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Of httptools: the whole head."""
        self._response.status = self._parser.get_status_code()
        self._response.headed = self._response.status >= HTTPStatus.OK
        self.reusable = self.reusable and self._parser.should_keep_alive()
        if self._response.headed and self._bodyless:
            self._response.complete = True

    def on_body(self, body: bytes) -> None:
        """Of httptools: a part of the body, unchunked."""
        self._response.chunks.append(body)
        self._response.waiting += len(body)
        if self._response.waiting > _HIGH_WATER:
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """Of httptools: the whole response."""
        if self._response.headed:
            self._response.complete = True
        else:  # 100 Continue, 103 Early Hints: the response proper is still to come
            self._response = Response()

    def begin(self, head: bytes, *, bodyless: bool) -> None:
        """Sends a request's head. `bodyless`: the response has none whatever its headers say (HEAD)."""
        if self._bodyless:  # the parser still waits for the body that the last response announced
            self._parser = httptools.HttpResponseParser(self)
        self._response, self._head_size, self._bodyless = Response(), 0, bodyless
        self.transport.write(head)

    async def write(self, data: bytes) -> None:
        """Sends a part of the request's body; waits while the server does not read."""
        if not self.lost:
            self.transport.write(data)
        if self._drained:
            await self._drained

    async def head(self) -> Response:
        """Waits for the response's status and headers."""
        while not self._response.headed:
            await self._more()
        self.used = True
        return self._response

    async def body(self) -> AsyncIterator[tuple[bytes, bool]]:
        """The body's parts as they come, each with whether more follow; UpstreamLostError if it breaks off."""
        response = self._response
        while True:
            while not (response.chunks or response.complete):
                await self._more()
            data = b"".join(response.chunks)
            response.chunks.clear()
            response.waiting = 0
            self.transport.resume_reading()
            more = not response.complete  # not asked again later: what comes while this part is sent is the next part
            yield data, more
            if not more:
                return

    @property
    def idle(self) -> bool:
        """The last response has been read whole."""
        return self._response.complete

    async def _more(self) -> None:
        if self.lost:
            raise UpstreamLostError(self._failure)
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    @staticmethod
    def _framed(response: Response) -> bool:
        return any(name in {b"content-length", b"transfer-encoding"} for name, _ in response.headers)


class Pool:
    """The idle connections to one container's port."""

    def __init__(self, connect: Callable[[], Awaitable[socket.socket]]) -> None:
        self._connect = connect
        self._idle: deque[Upstream] = deque()
        self._loop = asyncio.get_running_loop()

    async def take(self, *, fresh: bool = False) -> Upstream:
        """A connection that nobody uses; `fresh`: one that nobody has used."""
        while self._idle and not fresh:
            upstream = self._idle.pop()
            if not upstream.lost and self._loop.time() - upstream.idle_since < IDLE_LIMIT:
                return upstream
            upstream.transport.abort()
        _, upstream = await self._loop.create_connection(Upstream, sock=await self._connect())
        return upstream

    def put_back(self, upstream: Upstream, *, whole: bool) -> None:
        """Keeps a connection for the next request, if the last was sent `whole` and answered, and the server agrees."""
        if not (whole and upstream.idle and upstream.reusable):
            upstream.transport.abort()
            return
        upstream.idle_since = self._loop.time()
        self._idle.append(upstream)
        self._close_old()

    def _close_old(self) -> None:
        while self._idle and (self._idle[0].lost or self._loop.time() - self._idle[0].idle_since > IDLE_LIMIT):
            self._idle.popleft().transport.abort()
