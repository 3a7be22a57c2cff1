"""The requests of OpenAI's text API: what is understood, what is taken without effect, what is refused and how."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from engines.demanded_calls import schema_of
from engines.errors import ApiError
from engines.text_model import Sampling, Schema

DEFAULT_COMPLETION_TOKENS = 16
"""OpenAI's default of `max_tokens` in /v1/completions; a chat's answer may fill the context."""


_ONLY = {"n": (None, 1), "best_of": (None, 1), "logit_bias": (None, {}), "echo": (None, False), "suffix": (None, "")}
"""Parameters of which some values alone are served."""


class _Strict(BaseModel):
    """No conversions: a string is no number. `null` is the same as leaving it out."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class StreamOptions(_Strict):
    """What a stream holds beside the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _Common(_Strict):
    """What both calls share."""

    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[str, StringConstraints(min_length=1)] | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None

    # llama.cpp's own
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Field(gt=0)] | None = None

    def check(self) -> None:
        """Refuse what is understood, and not served."""
        for name, served in _ONLY.items():
            if (got := getattr(self, name, None)) not in served:
                message = f"Unsupported value: '{name}' does not support {json.dumps(got)} with this model."
                raise ApiError(400, f"{message} Leave it out.", param=name, code="unsupported_value")

    def stop_sequences(self) -> tuple[str, ...]:
        """The stop sequences, of which none is empty."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(sequence for sequence in stop if sequence)

    def drawn(self) -> dict[str, Any]:
        """The arguments of `Sampling` that both calls name alike, those only that were given."""
        names = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "top_k", "min_p", "repeat_penalty")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        seed = None if self.seed is None else self.seed % 2**32
        return {**given, "seed": seed, "stop": self.stop_sequences()}


class ContentPart(BaseModel):
    """A part of a message; parts that are no text are refused by their type."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message; fields that only a client cares for (`refusal`, `annotations` ...) are passed over."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    def for_template(self) -> dict[str, Any]:
        """The message as chat templates expect it: text in one piece, arguments read, `developer` as it was called."""
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        role = "system" if self.role == "developer" else self.role
        rest = self.model_dump(exclude={"role", "content", "tool_calls"}, exclude_none=True)
        calls = {"tool_calls": [_with_arguments(call) for call in self.tool_calls]} if self.tool_calls else {}
        return {"role": role, "content": text, **rest, **calls}


def _with_arguments(call: dict[str, Any]) -> dict[str, Any]:
    """A tool call whose arguments are an object: templates walk through them, and OpenAI has them as text."""
    function = call.get("function")
    if not (isinstance(function, dict) and isinstance(function.get("arguments"), str)):
        return call
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError:
        return call
    return {**call, "function": {**function, "arguments": arguments}}


class JsonSchema(BaseModel):
    """The `json_schema` of a response format."""

    model_config = ConfigDict(strict=True)

    name: str | None = None
    schema_: dict[str, Any] = Field(default={}, alias="schema")


class ResponseFormat(BaseModel):
    """What the answer is held to."""

    model_config = ConfigDict(strict=True, extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def as_schema(self) -> Schema | None:
        """The schema that the answer is held to; any JSON object where none is named."""
        if self.type == "text":
            return None
        schema = self.json_schema.schema_ if self.json_schema else {"type": "object"}
        return Schema(json.dumps(schema), "response_format")


class NamedFunction(BaseModel):
    """A function, by its name."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: str


class NamedTool(BaseModel):
    """The one tool that is to be called."""

    model_config = ConfigDict(strict=True, extra="forbid")

    type: Literal["function"]
    function: NamedFunction


class ChatRequest(_Common):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """What the model's chat template itself can be told, such as `enable_thinking`."""

    # Taken without effect: they steer OpenAI's own service.
    metadata: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None

    def check(self) -> None:
        """As of every request; a call cannot be demanded of nothing."""
        super().check()
        demands = self.tool_choice == "required" or isinstance(self.tool_choice, NamedTool)
        if demands and not self.demanded:
            message = "Invalid value for 'tool_choice': it demands a call, and no tool of 'tools' is meant by it."
            raise ApiError(400, message, param="tool_choice", code="invalid_value")

    @property
    def offered(self) -> list[dict[str, Any]] | None:
        """The tools that the model is told of."""
        return None if self.tool_choice == "none" else self.tools

    @property
    def demanded(self) -> list[dict[str, Any]]:
        """The tools of which one must be called; none: the model may do as it likes."""
        if self.tool_choice == "required":
            return self.tools or []
        if isinstance(self.tool_choice, NamedTool):
            wanted = self.tool_choice.function.name
            return [tool for tool in self.tools or () if (tool.get("function") or {}).get("name") == wanted]
        return []

    @property
    def held_to(self) -> Schema | None:
        """The schema of the answer: a demanded call's, or that of `response_format`."""
        if self.demanded:
            return self._schema_of_a_call()
        return self.response_format.as_schema() if self.response_format else None

    def _schema_of_a_call(self) -> Schema:
        try:
            return Schema(schema_of(self.demanded), "tools")
        except ValueError as error:
            message = f"Invalid schema for 'tools': {error}."
            raise ApiError(400, message, param="tools", code="invalid_value") from error

    def template_settings(self) -> dict[str, Any]:
        """What the chat template is told: not to think where the first word is held to a schema already."""
        thinks = {"enable_thinking": False} if self.held_to else {}
        reserved = {"messages", "tools", "functions", "function_call", "tool_choice", "begin"}
        asked = self.chat_template_kwargs or {}
        return {**thinks, **{name: value for name, value in asked.items() if name not in reserved}}

    def sampling(self, room: int) -> Sampling:
        """How the answer is drawn, where the context has this much room for it."""
        wanted = self.max_completion_tokens or self.max_tokens or room
        logprobs = (self.top_logprobs or 0) if self.logprobs else None
        return Sampling(max_tokens=wanted, logprobs=logprobs, held_to=self.held_to, **self.drawn())


class CompletionRequest(_Common):
    """POST /v1/completions."""

    prompt: str | list[str] | list[int]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = None
    best_of: int | None = None
    suffix: str | None = None

    def sampling(self, room: int) -> Sampling:
        """How the answer is drawn, where the context has this much room for it."""
        wanted = self.max_tokens or min(DEFAULT_COMPLETION_TOKENS, room)
        return Sampling(max_tokens=wanted, logprobs=self.logprobs, **self.drawn())
