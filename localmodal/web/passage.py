"""One HTTP request on its way to a server in a container, and the response on its way back."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from localmodal.web import replies
from localmodal.web.asgi import HOP_BY_HOP, NOT_PASSED_ON
from localmodal.web.upstream import UpstreamLostError

if TYPE_CHECKING:
    from localmodal.web.asgi import Headers, Receive, Scope, Send
    from localmodal.web.upstream import Pool, Upstream

log = logging.getLogger(__name__)

_RESPONSE_FRAMING = HOP_BY_HOP | {b"transfer-encoding"}
"""uvicorn frames the response anew; a length stays what it was."""
_WITHOUT_BODY = frozenset({204, 304})
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Requests that may be sent again when a connection was closed just as they were sent."""


class Passage:
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
        """Passes it on, once more if need be; without an answer the client is told why."""
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
    lines += [b"%b: %b" % pair for pair in scope["headers"] if pair[0] not in NOT_PASSED_ON]
    if scope["client"]:
        lines.append(b"x-forwarded-for: %b" % scope["client"][0].encode())
    return b"\r\n".join([*lines, b"", b""])
