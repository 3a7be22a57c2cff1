"""What the HTTP API of every in-process engine shares: errors, the key, hang-ups, health, the log of requests."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from engines.metrics import METRICS, CountRequests, Metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from spec.deployment import Definition

HEALTH = "/health"
"""The one path that is open without a key."""

_WATCHED = frozenset({HEALTH, METRICS})
"""Paths that are asked for every few seconds, and are no requests of the model."""

MAX_BODY = 16 * 2**20
"""Bytes of a request's body; a prompt is far smaller than its context allows."""

_SERVER_ERROR = 500

log = logging.getLogger("coldsnap.http")


class ApiError(Exception):
    """A refusal in OpenAI's envelope."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - the envelope's own word
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = {"error": {"message": message, "type": type, "param": param, "code": code}}

    def response(self) -> Response:
        """The refusal as it goes out."""
        return JSONResponse(self.body, self.status, self.headers)


def broken(error: Exception) -> ApiError:
    """What a client hears of a fault of ours: nothing of its inside."""
    log.error("request failed", exc_info=error)
    return ApiError(500, "The server had an error while processing your request.", type="server_error")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _no_such_url(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:  # noqa: PLR2004 - the one that OpenAI words on its own
        return ApiError(405, f"Not allowed to {request.method} on {request.url.path}.").response()
    return ApiError(error.status_code, f"Invalid URL ({request.method} {request.url.path})").response()


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the log's line says what happened


class _Health:
    """Whether requests can be answered."""

    def __init__(self, healthy: Callable[[], Awaitable[bool]] | None) -> None:
        self._healthy = healthy

    async def answer(self, _: Request) -> Response:
        """GET /health: 503 while they cannot."""
        ok = self._healthy is None or await self._healthy()
        return JSONResponse({"status": "ok"}) if ok else JSONResponse({"status": "unavailable"}, 503)


async def body_of(request: Request) -> bytes:
    """The request's whole body, up to the limit."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ApiError(413, f"The request is larger than {MAX_BODY} bytes.", code="request_too_large")
    return bytes(body)


class EventStream(StreamingResponse):
    """Server-sent events, whose source is closed at once when the client hangs up."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """Send all events; however that ends, end the source too."""
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)


class AnswerFaults:
    """Turns a fault of ours into an answer; Starlette's own handler raises it once more, which fails the whole call."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; a fault before the response has begun becomes one."""
        began = False

        async def send_and_note(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            if began or scope["type"] != "http":
                raise
            await broken(error).response()(scope, receive, send)


class EndOnHangUp:
    """Cancels whatever works on a request whose client has gone.

    Servers say so in two ways: by the message `http.disconnect`, which this class waits for, or by cancelling the call.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on until its client hangs up."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body_read = asyncio.Event()

        async def receive_body() -> Message:
            if body_read.is_set():
                await asyncio.Future()  # the watch below is the one who reads what comes after the body
            message = await receive()
            if not message.get("more_body", False):
                body_read.set()
            return message

        answer = asyncio.ensure_future(self._app(scope, receive_body, send))
        watch = asyncio.ensure_future(_hang_up(receive, body_read))
        try:
            await asyncio.wait([answer, watch], return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
        finally:
            answer.cancel()
            watch.cancel()
            await asyncio.gather(answer, watch, return_exceptions=True)


async def _hang_up(receive: Receive, body_read: asyncio.Event) -> None:
    await body_read.wait()
    while (await receive())["type"] != "http.disconnect":
        pass


class RequireKey:
    """Lets only requests through that carry the service's key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on if its key fits."""
        if scope["type"] != "http" or scope["path"] == HEALTH or self._opens(_header(scope, b"authorization")):
            await self._app(scope, receive, send)
            return
        refusal = ApiError(401, "Incorrect API key provided.", code="invalid_api_key")
        await refusal.response()(scope, receive, send)

    def _opens(self, authorization: bytes) -> bool:
        scheme, _, key = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key)


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


class LogRequests:
    """One line a request: what was asked for and how it went, nothing of what was said."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, and log how it went."""
        if scope["type"] != "http" or scope["path"] in _WATCHED:
            await self._app(scope, receive, send)
            return
        began, outcome = time.monotonic(), "hung up"

        async def send_and_note(message: Message) -> None:
            nonlocal outcome
            if message["type"] == "http.response.start":
                status = message["status"]
                outcome = f"{status}, hung up"
            elif not message.get("more_body", False):
                outcome = outcome.removesuffix(", hung up")
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            log.info("%s %s: %s in %.3f s", scope["method"], scope["path"], outcome, time.monotonic() - began)


def api_key(definition: Definition) -> str | None:
    """The key that the service asks for; none where it names no secret."""
    if definition.api_key_secret is None:
        return None
    key = os.environ.get("API_KEY")
    if not key:
        raise RuntimeError(
            f"{definition.service}: the secret {definition.api_key_secret!r} holds no API_KEY, so the service would be "
            f"open to everyone. Add it: modal secret create {definition.api_key_secret} API_KEY=... --force"
        )
    return key


def api(
    routes: Sequence[Route],
    key: str | None,
    healthy: Callable[[], Awaitable[bool]] | None = None,
    metrics: Metrics | None = None,
) -> Starlette:
    """An engine's HTTP API: its own routes, and what every API has; `healthy` where it is not a matter of course."""
    metrics = metrics or Metrics()
    paths = frozenset(route.path for route in routes)
    shared = [
        Middleware(LogRequests),
        Middleware(CountRequests, metrics=metrics, paths=paths, uncounted=_WATCHED),
        Middleware(AnswerFaults),
        Middleware(EndOnHangUp),
    ]
    handlers: dict[Any, Any] = {
        ApiError: _refused,
        HTTPException: _no_such_url,
        ClientDisconnect: _gone,
    }
    return Starlette(
        routes=[*routes, Route(HEALTH, _Health(healthy).answer), Route(METRICS, metrics.answer)],
        middleware=[*shared, Middleware(RequireKey, key=key)] if key else shared,
        exception_handlers=handlers,
    )
