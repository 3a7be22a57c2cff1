"""Web functions (`asgi_app`, `wsgi_app`, `fastapi_endpoint`, `web_server`): a request is a call of the function."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from uvicorn.protocols.utils import ClientDisconnected

from localmodal.web import replies
from localmodal.web.asgi import HOP_BY_HOP, function_input, header
from localmodal.web.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from localmodal.objects.blobs import Blobs
    from localmodal.tasks.calls import Calls
    from localmodal.web.asgi import Message, Receive, Scope, Send

log = logging.getLogger(__name__)

ANSWER_WITHIN = 150.0
"""Seconds after which a request without a response is redirected to where its result will be, as on the service."""
RESULT_KEPT_FOR = 3600.0
"""Seconds for which such a result can be asked for."""
RESULT_PARAMETER = "__modal_function_call_id"


@dataclass(frozen=True)
class WebFunction:
    """Whom a request is for, and the path that it asks of it."""

    function_id: str
    method: str
    path: str


class WebFunctions:
    """Serves requests and websockets through function calls."""

    def __init__(self, calls: Calls, blobs: Blobs, answer_within: float = ANSWER_WITHIN) -> None:
        self._calls = calls
        self._blobs = blobs
        self._answer_within = answer_within
        self._pending: dict[str, Exchange] = {}

    async def http(self, function: WebFunction, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request, or hands out the result of an earlier one."""
        if call_id := _result_asked_for(scope):
            await self._serve_result(call_id, scope, receive, send)
        else:
            async with self._exchange(function, scope, receive) as exchange:
                await self._answer(exchange, scope, send)

    async def websocket(self, function: WebFunction, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a websocket for as long as it lasts."""
        async with self._exchange(function, scope, receive) as exchange:
            await _converse(exchange, scope, send)

    @asynccontextmanager
    async def _exchange(self, function: WebFunction, scope: Scope, receive: Receive) -> AsyncIterator[Exchange]:
        message = function_input(scope, function.path, function.method)
        exchange = Exchange(self._calls, self._blobs, function.function_id, message)
        feeding = asyncio.create_task(exchange.feed(receive))
        try:
            yield exchange
        except BaseException:
            exchange.cancel()
            raise
        finally:
            feeding.cancel()

    async def _answer(self, exchange: Exchange, scope: Scope, send: Send) -> None:
        while True:
            try:
                await _deliver(exchange, scope, send, self._answer_within)
            except TimeoutError:
                if exchange.fed:  # else the rest of the request would be lost
                    await self._redirect(exchange, scope, send)
                    return
            else:
                return

    async def _redirect(self, exchange: Exchange, scope: Scope, send: Send) -> None:
        if exchange.id not in self._pending:
            self._pending[exchange.id] = exchange
            asyncio.get_running_loop().call_later(RESULT_KEPT_FOR, self._drop, exchange)
        await replies.see_result(_result_url(exchange.id, scope))(scope, send)

    def _drop(self, exchange: Exchange) -> None:
        self._pending.pop(exchange.id, None)
        exchange.cancel()

    async def _serve_result(self, call_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await replies.BAD_REDIRECT_METHOD(scope, send)
        elif (exchange := self._pending.get(call_id)) is None:
            await replies.EXPIRED(scope, send)
        else:
            await _unless_gone(receive, self._hand_out(exchange, scope, send))
            if exchange.begun:
                self._drop(exchange)

    async def _hand_out(self, exchange: Exchange, scope: Scope, send: Send) -> None:
        async with exchange.taking:
            if exchange.begun:
                await replies.EXPIRED(scope, send)
            else:
                await self._answer(exchange, scope, send)


async def _deliver(exchange: Exchange, scope: Scope, send: Send, begin_within: float) -> None:
    """Sends the app's response; TimeoutError if none began in time. One that breaks off is left incomplete."""
    started, last = False, "http.response.body"
    async with asyncio.timeout(begin_within) as limit, aclosing(exchange.messages()) as messages:
        async for message in messages:
            if message["type"] == "http.response.start":
                limit.reschedule(None)
                started, last = True, _last_type(message, scope)
                message["headers"] = [pair for pair in message["headers"] if pair[0].lower() not in HOP_BY_HOP]
            more = message.get("more_body") or message.get("more_trailers")
            exchange.answered = message["type"] == last and not more
            await send(message)
            if exchange.answered:
                return
    await _explain(exchange, scope, send, begun=started)


def _last_type(start: Message, scope: Scope) -> str:
    trailers = start["trailers"] and "http.response.trailers" in scope.get("extensions", {})
    return "http.response.trailers" if trailers else "http.response.body"


async def _explain(exchange: Exchange, scope: Scope, send: Send, *, begun: bool) -> None:
    """After a call that ended without a complete response: says why, or leaves what began visibly incomplete."""
    reply = replies.failure(await exchange.result())
    exchange.answered = True
    if begun and not exchange.abandoned:
        log.warning("%s %s: the response broke off: %s", scope.get("method", "WS"), scope["path"], reply.text)
    elif not begun:
        await reply(scope, send)


async def _converse(exchange: Exchange, scope: Scope, send: Send) -> None:
    accepted = False
    async with aclosing(exchange.messages()) as messages:
        async for message in messages:
            with suppress(ClientDisconnected):  # the app hears of it, and is listened to until it ends
                await send(message)
            accepted = accepted or message["type"] == "websocket.accept"
            exchange.answered = message["type"] == "websocket.close"
            if exchange.answered:
                return
    with suppress(ClientDisconnected):
        await _explain(exchange, scope, send, begun=accepted)
        if accepted:
            await send({"type": "websocket.close", "code": 1011, "reason": "The function ended"})


async def _unless_gone(receive: Receive, answer: Coroutine[None, None, None]) -> None:
    """Answers, or stops answering when the client hangs up: what it asked for can be asked for again."""
    answering, hung_up = asyncio.create_task(answer), asyncio.create_task(_hung_up(receive))
    try:
        await asyncio.wait({answering, hung_up}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hung_up.cancel()
        answering.cancel()
    with suppress(asyncio.CancelledError):
        await answering


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _result_asked_for(scope: Scope) -> str:
    if RESULT_PARAMETER.encode() not in scope["query_string"]:
        return ""
    query: str = scope["query_string"].decode("latin-1")
    return parse_qs(query).get(RESULT_PARAMETER, [""])[0]


def _result_url(call_id: str, scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    if not _result_asked_for(scope):
        query = "&".join(filter(None, (query, f"{RESULT_PARAMETER}={call_id}")))
    return f"{scope['scheme']}://{header(scope, b'host')}{scope['raw_path'].decode('latin-1')}?{query}"
