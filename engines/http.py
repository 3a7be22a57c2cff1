"""What the HTTP API of every engine shares: its key, health and metrics, how it refuses and how it streams."""

from __future__ import annotations

import os
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from engines.errors import ApiError
from engines.metrics import METRICS, Metrics
from engines.middleware import HEALTH, AnswerFaults, EndOnHangUp, FollowRequests, LimitBody, RequireKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.types import Send

    from spec.deployment import Definition


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


class EventStream(StreamingResponse):
    """Server-sent events, whose source is closed at once when the client hangs up."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """Send all events; however that ends, end the source too."""
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)


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
    middleware = [
        Middleware(FollowRequests, metrics=metrics, paths=paths),
        Middleware(AnswerFaults),
        Middleware(EndOnHangUp),
        Middleware(LimitBody),
        *([Middleware(RequireKey, key=key)] if key else []),
    ]
    handlers: dict[Any, Any] = {
        ApiError: _refused,
        HTTPException: _no_such_url,
        ClientDisconnect: _gone,
    }
    return Starlette(
        routes=[*routes, Route(HEALTH, _Health(healthy).answer), Route(METRICS, metrics.answer)],
        middleware=middleware,
        exception_handlers=handlers,
    )
