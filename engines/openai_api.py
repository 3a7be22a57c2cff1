"""An OpenAI-compatible HTTP API over a text model: models, chat completions, completions, streamed or not."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engines.http import ApiError, EventStream, api, body_of, broken
from engines.metrics import Metrics
from engines.one_model import OneModel
from engines.openai_requests import ChatRequest, CompletionRequest, parse
from engines.speech import SpeechReader
from engines.text_model import Piece
from engines.tool_calls import ToolCall, types_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request

    from engines.metrics import Meter
    from engines.text_model import Finish, Prompt, Sampling, TextModel, TokenLogprob
    from engines.turns import Turns


@dataclass
class _Answer:
    """An answer while it grows."""

    prompt_tokens: int
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    tokens: int = 0
    finish: Finish = "stop"

    def add(self, piece: Piece) -> None:
        self.texts.append(piece.text)
        self.thoughts.append(piece.thought)
        self.calls.extend(piece.calls)
        self.tokens += piece.counts
        self.finish = piece.finish or self.finish
        if piece.logprob:
            self.logprobs.append(piece.logprob)

    def whole(self) -> Piece:
        """All of it as one piece."""
        text, thought = "".join(self.texts), "".join(self.thoughts)
        return Piece(text, finish=self.finish, thought=thought, calls=tuple(self.calls))

    def usage(self) -> dict[str, int]:
        total = self.prompt_tokens + self.tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.tokens, "total_tokens": total}


class _Shape(Protocol):
    """How one call's answers are laid out."""

    prefix: str
    whole: str
    part: str

    def opening(self) -> dict[str, Any] | None:
        """The first choice of a stream, before there is any text."""

    def choice(self, answer: Piece, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """The whole answer's choice."""

    def delta(self, piece: Piece, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """A piece's choice."""


class _ChatShape:
    prefix, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self) -> None:
        self._calls = 0

    def opening(self) -> dict[str, Any]:
        return {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}

    def choice(self, answer: Piece, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        text = answer.text if answer.text.strip() or not answer.calls else None
        message = {"role": "assistant", "content": text, "refusal": None, **self._beside(answer)}
        return {"index": 0, "message": message, "logprobs": self._logprobs(logprobs), "finish_reason": answer.finish}

    def delta(self, piece: Piece, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        delta = {**({"content": piece.text} if piece.text else {}), **self._beside(piece)}
        for call in delta.get("tool_calls", ()):
            call["index"], self._calls = self._calls, self._calls + 1
        return {"index": 0, "delta": delta, "logprobs": self._logprobs(logprobs), "finish_reason": piece.finish}

    def _beside(self, piece: Piece) -> dict[str, Any]:
        """What is no text; OpenAI has no field for thoughts, and this name is what others call it."""
        thought = {"reasoning_content": piece.thought} if piece.thought else {}
        return {**thought, "tool_calls": [self._call(call) for call in piece.calls]} if piece.calls else thought

    def _call(self, call: ToolCall) -> dict[str, Any]:
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}

    def _logprobs(self, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
        return None if logprobs is None else {"content": [self._token(one) for one in logprobs], "refusal": None}

    def _token(self, one: TokenLogprob) -> dict[str, Any]:
        return {**self._bare(one), "top_logprobs": [self._bare(other) for other in one.top]}

    def _bare(self, one: TokenLogprob) -> dict[str, Any]:
        return {"token": _text(one.token), "logprob": one.logprob, "bytes": list(one.token)}


class _CompletionShape:
    prefix, whole, part = "cmpl", "text_completion", "text_completion"

    def __init__(self) -> None:
        self._offset = 0

    def opening(self) -> None:
        return None

    def choice(self, answer: Piece, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        return {"text": answer.text, "index": 0, "logprobs": self._logprobs(logprobs), "finish_reason": answer.finish}

    delta = choice

    def _logprobs(self, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
        if logprobs is None:
            return None
        return {
            "tokens": [_text(one.token) for one in logprobs],
            "token_logprobs": [one.logprob for one in logprobs],
            "top_logprobs": [{_text(other.token): other.logprob for other in one.top} for one in logprobs],
            "text_offset": [self._next_offset(_text(one.token)) for one in logprobs],
        }

    def _next_offset(self, text: str) -> int:
        offset, self._offset = self._offset, self._offset + len(text)
        return offset


def _text(token: bytes) -> str:
    return token.decode("utf-8", "replace")


@dataclass(frozen=True)
class _Call:
    """One call: its prompt, how its answer is drawn, and how it is laid out."""

    model: TextModel
    turns: Turns
    prompt: Prompt
    sampling: Sampling
    shape: _Shape
    meter: Meter
    reader: SpeechReader | None = None
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


async def _understood(pieces: AsyncIterator[Piece], reader: SpeechReader) -> AsyncIterator[Piece]:
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


async def _whole(call: _Call) -> Response:
    answer = _Answer(len(call.prompt.tokens))
    async with aclosing(call.pieces()) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            answer.add(piece)
    choice = call.shape.choice(answer.whole(), call.logprobs(answer.logprobs))
    return JSONResponse({**call.envelope(call.shape.whole, [choice]), "usage": answer.usage()})


async def _streamed(call: _Call, *, include_usage: bool) -> Response:
    pieces = call.pieces()
    first = await anext(pieces)  # before the response begins: a refusal must still be a status
    return EventStream(_events(call, first, pieces, include_usage=include_usage))


async def _events(
    call: _Call, first: Piece, pieces: AsyncIterator[Piece], *, include_usage: bool
) -> AsyncIterator[str]:
    answer = _Answer(len(call.prompt.tokens))
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


def _visible(call: _Call, piece: Piece) -> dict[str, Any] | None:
    logprobs = call.logprobs([piece.logprob] if piece.logprob else [])
    if not (piece.text or piece.thought or piece.calls or logprobs or piece.finish):
        return None
    return call.shape.delta(piece, logprobs)


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


class OpenAiApi:
    """The routes, over one model."""

    def __init__(self, model: TextModel, turns: Turns, created: float) -> None:
        self._model = model
        self._turns = turns
        self._one = OneModel(model.name, created)
        self._metrics = Metrics(lambda: turns.waiting)

    def app(self, key: str | None) -> Starlette:
        """The API as an ASGI application."""
        routes = [
            *self._one.routes,
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.completion, methods=["POST"]),
        ]
        return api(routes, key, metrics=self._metrics)

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        asked = parse(ChatRequest, await body_of(request))
        self._one.check(asked.model)
        prompt = await asyncio.to_thread(self._chat_prompt, asked)
        reader = SpeechReader(self._model.style, types_of(asked.tools), prompt.text)
        return await self._answer(asked, prompt, _ChatShape(), "messages", reader)

    async def completion(self, request: Request) -> Response:
        """POST /v1/completions."""
        asked = parse(CompletionRequest, await body_of(request))
        self._one.check(asked.model)
        prompt = await asyncio.to_thread(self._text_prompt, asked)
        return await self._answer(asked, prompt, _CompletionShape(), "prompt")

    async def _answer(
        self,
        asked: ChatRequest | CompletionRequest,
        prompt: Prompt,
        shape: _Shape,
        param: str,
        reader: SpeechReader | None = None,
    ) -> Response:
        sampling = asked.sampling(self._room(prompt, param))
        self._check_length(len(prompt.tokens), sampling.max_tokens, param)
        call = _Call(self._model, self._turns, prompt, sampling, shape, self._metrics.meter(), reader)
        if not asked.stream:
            return await _whole(call)
        options = asked.stream_options
        return await _streamed(call, include_usage=bool(options and options.include_usage))

    def _chat_prompt(self, asked: ChatRequest) -> Prompt:
        tools = None if asked.tool_choice == "none" else asked.tools
        if tools and not self._model.knows_tools:
            message = "Unsupported parameter: 'tools': this model's chat template has no place for them. Leave it out."
            raise ApiError(400, message, param="tools", code="unsupported_parameter")
        try:
            messages = [message.for_template() for message in asked.messages]
            return self._model.chat_prompt(messages, tools, **asked.template_settings())
        except ValueError as error:
            raise ApiError(400, str(error), param="messages", code="invalid_value") from error

    def _text_prompt(self, asked: CompletionRequest) -> Prompt:
        prompt = asked.prompt
        if isinstance(prompt, str):
            return self._model.text_prompt(prompt)
        if len(prompt) == 1 and isinstance(prompt[0], str):
            return self._model.text_prompt(prompt[0])
        message = "Unsupported value: 'prompt' must be one text. Send one request a prompt."
        raise ApiError(400, message, param="prompt", code="unsupported_value")

    def _room(self, prompt: Prompt, param: str) -> int:
        room = self._model.n_ctx - len(prompt.tokens)
        if not prompt.tokens:
            raise ApiError(400, f"Invalid value for '{param}': it is empty.", param=param, code="invalid_value")
        if room < 1:
            raise self._too_long(f"your {param} resulted in {len(prompt.tokens)} tokens", param)
        return room

    def _check_length(self, length: int, wanted: int, param: str) -> None:
        if length + wanted > self._model.n_ctx:
            asked = f"you requested {length + wanted} tokens ({length} in the {param}, {wanted} in the completion)"
            raise self._too_long(asked, param)

    def _too_long(self, what: str, param: str) -> ApiError:
        message = f"This model's maximum context length is {self._model.n_ctx} tokens. However, {what}."
        return ApiError(400, f"{message} Please reduce the length.", param=param, code="context_length_exceeded")
