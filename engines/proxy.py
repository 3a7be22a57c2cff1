"""Passes requests on to a server of this container, and its answers back: streamed, with the manners of every API.

Each request has a connection of its own. On the loopback that costs a tenth of a millisecond, and there is none that a
snapshot could hold, or that its server has closed in the moment in which it is used again.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import aiohttp
from pydantic_core import from_json
from starlette.responses import Response

from engines.errors import ApiError, broken
from engines.http import EventStream
from engines.media import check_media
from engines.metrics import METRICS, Metrics, meter_of
from engines.middleware import HEALTH
from engines.parsing import json_of
from engines.prompts import FIRST_ANSWER_TOKENS, FIRST_REQUEST
from engines.usage import TAIL, usage_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from engines.metrics import Meter
    from engines.one_model import OneModel
    from engines.places import Places

_ERROR = 400
"""From this HTTP status on an answer is a refusal."""

_NO_LIMIT = aiohttp.ClientTimeout(total=None)
"""An answer takes as long as it takes: whoever waits for it hangs up when that is too long."""


class _Exchange:
    """One request to the server, and its answer."""

    status: int
    content_type: str

    def __init__(self, method: str, url: str, key: str, body: bytes) -> None:
        self._asked = (method, url)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._body = body

    @property
    def streams(self) -> bool:
        """Whether the answer comes in events."""
        return self.content_type.startswith(EventStream.media_type)

    async def run(self) -> AsyncIterator[bytes]:
        """The answer's content, after an empty piece as soon as its status is known."""
        async with (
            aiohttp.ClientSession(timeout=_NO_LIMIT, headers=self._headers) as session,
            session.request(*self._asked, data=self._body or None) as answer,
        ):
            self.status, self.content_type = answer.status, answer.headers.get("Content-Type", "")
            yield b""
            async for chunk in answer.content.iter_any():
                yield chunk


class Proxy:
    """A server that listens on the loopback, as the service's users see it."""

    def __init__(self, url: str, key: str, model: OneModel, places: Places, *, takes_media: bool = True) -> None:
        self.metrics = Metrics(lambda: places.waiting, self._its_metrics)
        self._url = url
        self._key = key
        self._model = model
        self._places = places
        self._takes_media = takes_media

    async def _its_metrics(self) -> bytes:
        """What the server tells Prometheus itself; nothing if it cannot."""
        try:
            return bytes((await self.ask("GET", METRICS)).body)
        except (ApiError, aiohttp.ClientError):
            return b""

    async def ask(self, method: str, path: str, body: bytes = b"") -> Response:
        """The whole answer to a request of ours, which waits for nobody."""
        exchange = _Exchange(method, self._url + path, self._key, body)
        return await _whole(exchange, exchange.run())

    async def is_healthy(self) -> bool:
        """Whether the server says that it can answer."""
        try:
            await self.ask("GET", HEALTH)
        except (ApiError, aiohttp.ClientError):
            return False
        return True

    async def first_answer(self) -> str:
        """A short answer of a server of text, the likeliest one, by the way that every request goes."""
        asked = {"model": self._model.name, "prompt": FIRST_REQUEST, "max_tokens": FIRST_ANSWER_TOKENS}
        answer = await self.ask(
            "POST", "/v1/completions", json.dumps({**asked, "temperature": 0, "stop": ["\n"]}).encode()
        )
        return str(json.loads(bytes(answer.body))["choices"][0]["text"]).strip()

    async def look(self, request: Request) -> Response:
        """Pass on what asks for the server's state."""
        return await self.ask("GET", request.url.path)

    async def answer(self, request: Request) -> Response:
        """Pass on what asks the model, once there is a place for it."""
        body = await request.body()
        self._check(body)
        exchange = _Exchange("POST", self._url + request.url.path, self._key, body)
        pieces = self._in_place(exchange, meter_of(request))
        await anext(pieces)  # before the response begins: a refusal must still be a status
        if exchange.streams:
            return EventStream(_events(pieces))
        return await _whole(exchange, pieces)

    def _check(self, body: bytes) -> None:
        """Refuse what the server is not to see; it reads the rest, and says what is wrong with it."""
        if isinstance(asked := json_of(body), dict):
            name = asked.get("model")
            self._model.check(name if isinstance(name, str) else None)
            check_media(asked, taken=self._takes_media)

    async def _in_place(self, exchange: _Exchange, meter: Meter) -> AsyncIterator[bytes]:
        taken_at = await self._places.take()
        end = b""
        try:
            async with aclosing(exchange.run()) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    if piece and exchange.streams:
                        meter.began()
                    end = (end + piece)[-TAIL:] if exchange.streams else end + piece
                    yield piece
        finally:
            self._places.leave(taken_at)
            meter.count(*usage_in(end))


async def _whole(exchange: _Exchange, pieces: AsyncIterator[bytes]) -> Response:
    async with aclosing(pieces):  # type: ignore[type-var]
        content = b"".join([piece async for piece in pieces])
    if exchange.status >= _ERROR:
        raise _refusal(exchange.status, content)
    return Response(content, exchange.status, {"Content-Type": exchange.content_type})


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(pieces):  # type: ignore[type-var]
        try:
            async for piece in pieces:
                yield piece
        except aiohttp.ClientError as error:  # the status is sent; an event is all that is left to say it with
            yield f"data: {json.dumps(broken(error).body)}\n\n".encode()


def _refusal(status: int, content: bytes) -> ApiError:
    """The server's refusal in OpenAI's envelope, which servers take liberties with."""
    said = _error(content)
    message = said.get("message") or content.decode("utf-8", "replace")[:500] or f"The server answers {status}."
    kind = str(said.get("type") or "server_error")
    if kind == "exceed_context_size_error":  # llama.cpp's
        return ApiError(status, message, code="context_length_exceeded")
    code = said.get("code")
    return ApiError(status, message, type=kind, param=said.get("param"), code=code if isinstance(code, str) else None)


def _error(content: bytes) -> dict[str, Any]:
    try:
        answer = from_json(content)
    except ValueError:
        return {}
    answer = answer if isinstance(answer, dict) else {}
    inside = answer.get("error", answer)
    return inside if isinstance(inside, dict) else {"message": str(inside)}
