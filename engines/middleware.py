"""What happens to every request around its route: followed, limited, ended on hang-up, asked for its key."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from typing import TYPE_CHECKING

from engines.errors import ApiError, broken
from engines.metrics import METER, METRICS, Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEALTH = "/health"
"""The one path that is open without a key."""

OTHER = "other"
"""The path of every request that fits no route: an unbounded number of names would be one of series, too."""

_WATCHED = frozenset({HEALTH, METRICS})
"""Paths that are asked for every few seconds, and are no requests of the model."""

REQUEST_LOG = "coldsnap.requests"
"""The logger of requests: each of its lines is a JSON object, and nothing else."""

_requests = logging.getLogger(REQUEST_LOG)


MAX_BODY = 16 * 2**20
"""Bytes of a request's body; a prompt is far smaller than its context allows."""


class LimitBody:
    """Refuses a request's body where it becomes too large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; whoever reads more of its body than the limit gets `ApiError`."""
        read = 0

        async def receive_some() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY:
                raise ApiError(413, f"The request is larger than {MAX_BODY} bytes.", code="request_too_large")
            return message

        await self._app(scope, receive_some, send)


class FollowRequests:
    """Follows each request to its end: as figures, and as a line of the log that tells nothing of what was said."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; its answer is measured with the meter that the scope holds."""
        if scope["type"] != "http" or scope["path"] in _WATCHED:
            await self._app(scope, receive, send)
            return
        meter = scope[METER] = self._metrics.meter()

        async def send_and_note(message: Message) -> None:
            meter.note(message)
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            meter.end(scope["path"] if scope["path"] in self._paths else OTHER)
            _requests.info(json.dumps(meter.described(scope["method"], scope["path"])))


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
