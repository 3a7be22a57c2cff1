"""Trailers after a response's body, for clients that ask with `TE: trailers`: uvicorn's HTTP/1.1 sends none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from localmodal.web.asgi import header
from localmodal.web.upstream import send_at_once

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from localmodal.web.asgi import App, Headers, Message, Receive, Scope, Send


class FrontProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 connection, with trailers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Of asyncio: a client has come."""
        send_at_once(transport)
        super().connection_made(transport)

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
