"""A client's connection to the front: uvicorn's HTTP/1.1, and what that lacks.

Trailers after a response's body, for clients that ask with `TE: trailers`; and a limit to the size of a request's head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from localmodal.web.asgi import header
from localmodal.web.upstream import LARGEST_HEAD, send_at_once

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from localmodal.web.asgi import App, Headers, Message, Receive, Scope, Send


class FrontProtocol(HttpToolsProtocol):
    """One connection."""

    _head_size: int | None = None
    """Bytes that have been read of a head that is not whole yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Of asyncio: a client has come."""
        send_at_once(transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Of asyncio: a part of a request, or of several."""
        super().data_received(data)
        if self._head_size is not None:
            self._head_size += len(data)
            if self._head_size > LARGEST_HEAD:
                self.send_400_response(f"modal-http: the headers are larger than {LARGEST_HEAD} bytes\n")

    def on_message_begin(self) -> None:
        """Of httptools: a request."""
        self._head_size = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Of httptools: the whole head."""
        self._head_size = None
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        scope: Any = cycle.scope
        asked = "trailers" in header(scope, b"te").lower()
        super()._start_asgi_task(cycle, _Trailing(cycle, app) if asked else app)  # type: ignore[arg-type]


class _Trailing:
    """Holds the end of a response that announces trailers back until they have come."""

    def __init__(self, cycle: RequestResponseCycle, app: App) -> None:
        self._cycle = cycle
        self._app = app
        self._expected = False
        self._lines: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})["http.response.trailers"] = {}
        self._send = send
        await self._app(scope, receive, self.send)

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start" if message.get("trailers"):
                self._expected = True
                message = {**message, "headers": _unsized(message["headers"])}
            case "http.response.body" if self._expected:
                message = {**message, "more_body": True}
            case "http.response.trailers":
                await self._finish(message)
                return
        await self._send(message)

    async def _finish(self, message: Message) -> None:
        self._lines += [b"%b: %b\r\n" % pair for pair in message["headers"]]
        if message.get("more_trailers"):
            return
        self._cycle.transport.write(b"0\r\n%b\r\n" % b"".join(self._lines))
        self._cycle.chunked_encoding = False  # the last chunk has been written: uvicorn is not to write another
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _unsized(headers: Headers) -> Headers:
    """Trailers only follow a chunked body."""
    return [(name, value) for name, value in headers if name.lower() != b"content-length"]
