"""Answers a call of OpenAI's text API: the model's pieces, measured, understood, and sent whole or as events."""

from __future__ import annotations

import json
import time
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from engines.errors import broken
from engines.http import EventStream
from engines.openai_shapes import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from engines.metrics import Meter
    from engines.openai_shapes import Shape
    from engines.speech import Reader
    from engines.text_model import Finish, Piece, Prompt, Sampling, TextModel, TokenLogprob
    from engines.turns import Turns


@dataclass(frozen=True)
class Call:
    """One call: its prompt, how its answer is drawn, and how it is laid out."""

    model: TextModel
    turns: Turns
    prompt: Prompt
    sampling: Sampling
    shape: Shape
    meter: Meter
    reader: Reader | None = None
    """Tells thoughts and tool calls from text; none: all that the model writes is text."""
    id: str = field(default_factory=lambda: uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def pieces(self) -> AsyncIterator[Piece]:
        """The answer, when it is this call's turn."""
        stream = self.turns.stream(lambda hung_up: self.model.generate(self.prompt, self.sampling, hung_up))
        pieces = _measured(stream, self.meter, len(self.prompt.tokens))
        return _understood(pieces, self.reader) if self.reader else pieces

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The object around the choices."""
        name = f"{self.shape.prefix}-{self.id}"
        return {"id": name, "object": kind, "created": self.created, "model": self.model.name, "choices": choices}

    def logprobs(self, tokens: Sequence[TokenLogprob]) -> Sequence[TokenLogprob] | None:
        """The log-probabilities, if they were asked for."""
        return None if self.sampling.logprobs is None else tokens


async def _measured(pieces: AsyncIterator[Piece], meter: Meter, prompt_tokens: int) -> AsyncIterator[Piece]:
    tokens = 0
    async with aclosing(pieces):  # type: ignore[type-var]
        try:
            async for piece in pieces:
                meter.began()
                tokens += piece.counts
                yield piece
        finally:
            if tokens:
                meter.count(prompt_tokens, tokens)


async def _understood(pieces: AsyncIterator[Piece], reader: Reader) -> AsyncIterator[Piece]:
    """The same pieces, thoughts and tool calls apart from the text."""
    called = False
    async with aclosing(pieces):  # type: ignore[type-var]
        async for piece in pieces:
            said = reader.feed(piece.text) + (reader.rest() if piece.finish else [])
            calls = tuple(one.call for one in said if one.call)
            called = called or bool(calls)
            text, thought = "".join(one.text for one in said), "".join(one.thought for one in said)
            finish: Finish | None = "tool_calls" if called and piece.finish == "stop" else piece.finish
            yield replace(piece, text=text, thought=thought, calls=calls, finish=finish)


async def whole(call: Call) -> Response:
    """The answer in one piece."""
    answer = Answer(len(call.prompt.tokens))
    async with aclosing(call.pieces()) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            answer.add(piece)
    choice = call.shape.choice(answer.whole(), call.logprobs(answer.logprobs))
    return JSONResponse({**call.envelope(call.shape.whole, [choice]), "usage": answer.usage()})


async def streamed(call: Call, *, include_usage: bool) -> Response:
    """The answer as server-sent events, from its first piece on."""
    pieces = call.pieces()
    first = await anext(pieces)  # before the response begins: a refusal must still be a status
    return EventStream(_events(call, first, pieces, include_usage=include_usage))


async def _events(call: Call, first: Piece, pieces: AsyncIterator[Piece], *, include_usage: bool) -> AsyncIterator[str]:
    answer = Answer(len(call.prompt.tokens))
    usage: dict[str, Any] = {"usage": None} if include_usage else {}
    async with aclosing(pieces):  # type: ignore[type-var]
        try:
            if opening := call.shape.opening():
                yield _event({**call.envelope(call.shape.part, [opening]), **usage})
            async for piece in _after(first, pieces):
                answer.add(piece)
                if choice := _visible(call, piece):
                    yield _event({**call.envelope(call.shape.part, [choice]), **usage})
        except Exception as error:  # noqa: BLE001 - the status is sent; an event is all that is left to say it with
            yield _event(broken(error).body)
            return
    if include_usage:
        yield _event({**call.envelope(call.shape.part, []), "usage": answer.usage()})
    yield "data: [DONE]\n\n"


async def _after(first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    yield first
    async for piece in rest:
        yield piece


def _visible(call: Call, piece: Piece) -> dict[str, Any] | None:
    logprobs = call.logprobs([piece.logprob] if piece.logprob else [])
    if not (piece.text or piece.thought or piece.calls or logprobs or piece.finish):
        return None
    return call.shape.delta(piece, logprobs)


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"
