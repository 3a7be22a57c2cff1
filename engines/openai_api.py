"""An OpenAI-compatible HTTP API over a text model: models, chat completions, completions, streamed or not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.routing import Route

from engines import openai_answers
from engines.errors import ApiError
from engines.http import api
from engines.metrics import Metrics, meter_of
from engines.one_model import OneModel
from engines.openai_answers import Call
from engines.openai_requests import ChatRequest, CompletionRequest
from engines.openai_shapes import ChatShape, CompletionShape
from engines.parsing import parse
from engines.speech import CallReader, SpeechReader
from engines.tool_calls import types_of

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from engines.speech import Reader
    from engines.text_model import Prompt, Sampling, TextModel
    from engines.turns import Turns


class OpenAiApi:
    """The routes, over one model."""

    def __init__(self, model: TextModel, turns: Turns, created: float) -> None:
        self._model = model
        self._turns = turns
        self._one = OneModel(model.name, created)

    def app(self, key: str | None) -> Starlette:
        """The API as an ASGI application."""
        routes = [
            *self._one.routes,
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.completion, methods=["POST"]),
        ]
        return api(routes, key, metrics=Metrics(lambda: self._turns.waiting))

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        asked = parse(ChatRequest, await request.body())
        self._one.check(asked.model)
        asked.check()
        prompt = await asyncio.to_thread(self._chat_prompt, asked)
        sampling = self._sampling(asked, prompt, "messages")
        reader = self._reader(asked, prompt)
        call = Call(self._model, self._turns, prompt, sampling, ChatShape(), meter_of(request), reader)
        return await _answer(call, asked)

    async def completion(self, request: Request) -> Response:
        """POST /v1/completions."""
        asked = parse(CompletionRequest, await request.body())
        self._one.check(asked.model)
        asked.check()
        prompt = await asyncio.to_thread(self._text_prompt, asked)
        sampling = self._sampling(asked, prompt, "prompt")
        call = Call(self._model, self._turns, prompt, sampling, CompletionShape(), meter_of(request))
        return await _answer(call, asked)

    def _reader(self, asked: ChatRequest, prompt: Prompt) -> Reader:
        if asked.demanded:
            return CallReader()
        return SpeechReader(self._model.style, types_of(asked.offered), prompt.text)

    def _chat_prompt(self, asked: ChatRequest) -> Prompt:
        if asked.offered and not self._model.knows_tools:
            message = "Unsupported parameter: 'tools': this model's chat template has no place for them. Leave it out."
            raise ApiError(400, message, param="tools", code="unsupported_parameter")
        messages = [message.for_template() for message in asked.messages]
        call = self._model.style.call
        # An answer that is to be a call begins as the model itself would begin one.
        begin = call[0] if asked.demanded and call else ""
        try:
            return self._model.chat_prompt(messages, asked.offered, begin=begin, **asked.template_settings())
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

    def _sampling(self, asked: ChatRequest | CompletionRequest, prompt: Prompt, param: str) -> Sampling:
        """How the answer is drawn; a refusal where the context has no room for it."""
        if not prompt.tokens:
            raise ApiError(400, f"Invalid value for '{param}': it is empty.", param=param, code="invalid_value")
        length, context = len(prompt.tokens), self._model.n_ctx
        if length >= context:
            raise self._too_long(f"your {param} resulted in {length} tokens", param)
        sampling = asked.sampling(context - length)
        if (whole := length + sampling.max_tokens) > context:
            what = f"you requested {whole} tokens ({length} in the {param}, {sampling.max_tokens} in the completion)"
            raise self._too_long(what, param)
        return sampling

    def _too_long(self, what: str, param: str) -> ApiError:
        message = f"This model's maximum context length is {self._model.n_ctx} tokens. However, {what}."
        return ApiError(400, f"{message} Please reduce the length.", param=param, code="context_length_exceeded")


async def _answer(call: Call, asked: ChatRequest | CompletionRequest) -> Response:
    if not asked.stream:
        return await openai_answers.whole(call)
    options = asked.stream_options
    return await openai_answers.streamed(call, include_usage=bool(options and options.include_usage))
