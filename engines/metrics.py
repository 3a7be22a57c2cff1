"""What a container tells Prometheus of its requests, in its text format: GET /metrics.

Counted from the moment in which the container could take requests, so a restored one begins at nothing.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import Message

METRICS = "/metrics"

METER = "coldsnap.meter"
"""Where the scope of a request holds its meter."""

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
        self.tokens = Counter("coldsnap_tokens", "Tokens read and written.", ["kind"], registry=self._registry)
        self.first_token = Histogram(
            "coldsnap_first_token_seconds", "From a request to its answer's first token.",
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip

    def meter(self) -> Meter:
        """What one request is measured with."""
        return Meter(self)

    async def answer(self, _: Request) -> Response:
        """GET /metrics."""
        ours = generate_latest(self._registry)
        theirs = await self._others() if self._others else b""
        return Response(ours + theirs, media_type=CONTENT_TYPE_LATEST)


class Meter:
    """One request, from its beginning to its end."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._came_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._seconds: float
        self._status: int | None = None
        self._whole = False
        self._first_token_seen = False
        self._tokens = {"prompt": 0, "answer": 0}
        metrics.in_flight.inc()

    def note(self, message: Message) -> None:
        """Note how far the answer has come, by an ASGI message of it."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif message["type"] == "http.response.body":
            self._whole = not message.get("more_body", False)

    def began(self) -> None:
        """Note that there is a first token, if this is it."""
        if not self._first_token_seen:
            self._first_token_seen = True
            self._metrics.first_token.observe(time.monotonic() - self._began)

    def count(self, read: int, wrote: int) -> None:
        """Count tokens of the prompt and of the answer, once it has ended, in whatever way."""
        for kind, number in (("prompt", read), ("answer", wrote)):
            self._tokens[kind] += number
            self._metrics.tokens.labels(kind).inc(number)

    def end(self, path: str) -> None:
        """Count the request among those of its path, now that nothing more comes."""
        self._seconds = time.monotonic() - self._began
        self._metrics.in_flight.dec()
        self._metrics.requests.labels(path, str(self._status or "hung up")).inc()
        self._metrics.seconds.labels(path).observe(self._seconds)

    def described(self, method: str, path: str) -> dict[str, Any]:
        """The request's line in the log: when it came, what was asked for and how it went."""
        return {
            "time": self._came_at.isoformat(timespec="milliseconds"),
            "method": method,
            "path": path,
            "status": self._status,
            "seconds": round(self._seconds, 3),
            **{f"{kind}_tokens": number for kind, number in self._tokens.items() if number},
            **({} if self._whole else {"hung_up": True}),
        }


def meter_of(request: Request) -> Meter:
    """What the answer to a request is measured with."""
    meter: Meter = request.scope[METER]
    return meter
