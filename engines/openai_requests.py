"""The requests of OpenAI's text API: what is understood, what is taken without effect, what is refused and how."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from engines.http import ApiError
from engines.text_model import Sampling

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Request = TypeVar("Request", bound=BaseModel)

DEFAULT_COMPLETION_TOKENS = 16
"""OpenAI's default of `max_tokens` in /v1/completions; a chat's answer may fill the context."""


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

    def as_schema(self) -> str | None:
        """The schema that the answer is held to; any JSON object where none is named."""
        if self.type == "text":
            return None
        return json.dumps(self.json_schema.schema_ if self.json_schema else {"type": "object"})


class ChatRequest(_Common):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """What the model's chat template itself can be told, such as `enable_thinking`."""

    # Taken without effect: they steer OpenAI's own service.
    metadata: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None

    def template_settings(self) -> dict[str, Any]:
        """What the chat template is told: not to think where the first word is held to a schema already."""
        thinks = (
            {} if self.response_format is None or self.response_format.type == "text" else {"enable_thinking": False}
        )
        reserved = {"messages", "tools", "functions", "function_call", "tool_choice"}
        asked = self.chat_template_kwargs or {}
        return {**thinks, **{name: value for name, value in asked.items() if name not in reserved}}

    def sampling(self, room: int) -> Sampling:
        """How the answer is drawn, where the context has this much room for it."""
        wanted = self.max_completion_tokens or self.max_tokens or room
        schema = self.response_format.as_schema() if self.response_format else None
        logprobs = (self.top_logprobs or 0) if self.logprobs else None
        return Sampling(max_tokens=wanted, logprobs=logprobs, json_schema=schema, **self.drawn())


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


def parse(kind: type[Request], body: bytes) -> Request:
    """The request that a body holds; else what OpenAI would say is wrong with it."""
    try:
        data = from_json(body)  # as pydantic reads it: strictly, so that no text holds half a character
    except ValueError:
        raise ApiError(400, "We could not parse the JSON body of your request.") from None
    try:
        request = kind.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False), data) from None
    if isinstance(request, _Common):
        _refuse_what_is_not_served(request)
    return request


def _refuse_what_is_not_served(request: _Common) -> None:
    only = {"n": (None, 1), "best_of": (None, 1), "logit_bias": (None, {}), "echo": (None, False), "suffix": (None, "")}
    for name, served in only.items():
        if (got := getattr(request, name, None)) not in served:
            message = f"Unsupported value: '{name}' does not support {json.dumps(got)} with this model."
            raise ApiError(400, f"{message} Leave it out.", param=name, code="unsupported_value")


def _refusal(errors: list[ErrorDetails], data: Any) -> ApiError:
    # Of a value that may be of several types pydantic reports each attempt: the one that got furthest was meant.
    error = max(errors, key=lambda error: len(_path(error["loc"], data)))
    param, kind, got = _path(error["loc"], data), error["type"], error["input"]
    if kind == "missing":
        return ApiError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    if kind == "extra_forbidden":
        return ApiError(400, f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
    if kind.endswith("_type") and kind != "none_required":
        what = f"Invalid type for '{param}': got {_json_type(got)} instead. {error['msg']}."
        return ApiError(400, what, param=param, code="invalid_type")
    return ApiError(400, f"Invalid value for '{param}': {error['msg']}.", param=param, code="invalid_value")


def _path(loc: tuple[str | int, ...], data: Any) -> str:
    """The place in the request, as in `messages[0].content`; without the steps that are pydantic's own (unions)."""
    path, here = "", data
    for index, step in enumerate(loc):
        if isinstance(step, int):
            path += f"[{step}]"
        elif index == 0 or (isinstance(here, dict) and (step in here or index == len(loc) - 1)):
            path += f".{step}" if path else step
        else:
            continue
        here = _at(here, step)
    return path


def _at(data: Any, step: str | int) -> Any:
    try:
        return data[step]
    except (KeyError, IndexError, TypeError):
        return None


def _json_type(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), "null" if value is None else "an object")
