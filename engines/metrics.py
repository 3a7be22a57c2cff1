"""What a container tells Prometheus of its requests, in its text format: GET /metrics.

Counted from the moment in which the container could take requests, so a restored one begins at nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

METRICS = "/metrics"

OTHER = "other"
"""The path of every request that fits no route: an unbounded number of names would be one of series, too."""

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The numbers of one API; `others` are those that a server behind it has of its own."""

    def __init__(
        self, waiting: Callable[[], float] = lambda: 0, others: Callable[[], Awaitable[bytes]] | None = None
    ) -> None:
        self._registry = CollectorRegistry()
        self._others = others
        self.requests = Counter(
            "coldsnap_requests", "Requests that have ended.", ["path", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "coldsnap_request_seconds", "From a request to the end of its answer.", ["path"],
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self.in_flight = Gauge("coldsnap_requests_in_flight", "Requests that have not ended.", registry=self._registry)
        self._waiting = Gauge("coldsnap_requests_waiting", "Of those, the ones in the queue.", registry=self._registry)
        self._waiting.set_function(waiting)
        self._tokens = Counter("coldsnap_tokens", "Tokens read and written.", ["kind"], registry=self._registry)
        self._first_token = Histogram(
            "coldsnap_first_token_seconds", "From a request to its answer's first token.",
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip

    def meter(self) -> Meter:
        """What one answer is measured with."""
        return Meter(self._tokens, self._first_token)

    async def answer(self, _: Request) -> Response:
        """GET /metrics."""
        ours = generate_latest(self._registry)
        theirs = await self._others() if self._others else b""
        return Response(ours + theirs, media_type=CONTENT_TYPE_LATEST)


class Meter:
    """One answer, from its request on."""

    def __init__(self, tokens: Counter, first_token: Histogram) -> None:
        self._asked_at = time.monotonic()
        self._tokens = tokens
        self._first_token = first_token
        self._begun = False

    def began(self) -> None:
        """Note that there is a first token, if this is it."""
        if not self._begun:
            self._begun = True
            self._first_token.observe(time.monotonic() - self._asked_at)

    def count(self, read: int, wrote: int) -> None:
        """Count tokens of the prompt and of the answer, once it has ended, in whatever way."""
        self._tokens.labels("prompt").inc(read)
        self._tokens.labels("answer").inc(wrote)


class CountRequests:
    """Counts what comes and how it ends."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str], uncounted: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths
        self._uncounted = uncounted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, and count it when it ends."""
        if scope["type"] != "http" or scope["path"] in self._uncounted:
            await self._app(scope, receive, send)
            return
        path, status = scope["path"] if scope["path"] in self._paths else OTHER, "hung up"

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        with self._metrics.in_flight.track_inprogress(), self._metrics.seconds.labels(path).time():
            try:
                await self._app(scope, receive, send_and_note)
            finally:
                self._metrics.requests.labels(path, status).inc()
