"""Tool calls as models write them: what stands between a model's own marks, read into a name and arguments."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Types = dict[str, dict[str, Any]]
"""By function, its parameters by name, each with its JSON schema."""

_GLM_ARGUMENT = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_QWEN_FUNCTION = re.compile(r"<function=([^>]+)>(.*?)</function>", re.DOTALL)
_QWEN_PARAMETER = re.compile(r"<parameter=([^>]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_GEMMA_CALL = re.compile(r"call:([\w.-]+)(\{.*\})", re.DOTALL)
_GEMMA_TOKEN = re.compile(r'<\|"\|>(?P<text>.*?)<\|"\|>|(?P<mark>[{}\[\]:,])|(?P<bare>[^{}\[\]:,\s]+)|\s+', re.DOTALL)


@dataclass(frozen=True)
class ToolCall:
    """A function that the model wants called."""

    name: str
    arguments: str
    """A JSON object."""
    id: str = field(default_factory=lambda: f"call_{uuid4().hex[:24]}", compare=False)


def types_of(tools: Sequence[Mapping[str, Any]] | None) -> Types:
    """The parameters of each tool's function."""
    functions = [tool.get("function") or {} for tool in tools or ()]
    return {str(one.get("name")): (one.get("parameters") or {}).get("properties") or {} for one in functions}


def read_call(text: str, types: Types) -> ToolCall:
    """The call that a text says, in any of the known ways; `ValueError` where it says none."""
    text = text.strip()
    if text.startswith("{"):
        return _from_json(text)
    if found := _QWEN_FUNCTION.search(text):
        return _from_pairs(found[1], _QWEN_PARAMETER.findall(found[2]), types)
    if found := _GEMMA_CALL.fullmatch(text):
        return ToolCall(found[1], _json(_GemmaValue(found[2]).read()))
    name = text.partition("<arg_key>")[0].strip()
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"no call: {text}")
    return _from_pairs(name, _GLM_ARGUMENT.findall(text), types)


def _from_json(text: str) -> ToolCall:
    """As Hermes and Qwen 2 and 3 write it."""
    call = json.loads(text)
    name, arguments = call.get("name"), call.get("arguments", call.get("parameters", {}))
    if not name:
        raise ValueError(f"no name: {text}")
    return ToolCall(str(name), arguments if isinstance(arguments, str) else _json(arguments))


def _from_pairs(name: str, pairs: list[tuple[str, str]], types: Types) -> ToolCall:
    """As Qwen 3.5 and GLM write it: values without quotes, so the tool itself says which of them are text."""
    schemas = types.get(name.strip(), {})
    arguments = {key.strip(): _value(value, schemas.get(key.strip(), {})) for key, value in pairs}
    return ToolCall(name.strip(), _json(arguments))


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class _GemmaValue:
    """A value as Gemma 4 writes it: like JSON, but keys are bare and text stands between marks of its own."""

    def __init__(self, text: str) -> None:
        self._tokens = [found for found in _GEMMA_TOKEN.finditer(text) if found.lastgroup]
        self._next = 0

    def read(self) -> Any:
        """The value; `ValueError` where it breaks off."""
        token = self._take()
        if token.lastgroup == "text":
            return token["text"]
        if token["mark"] == "{":
            return dict(self._items("}", self._pair))
        if token["mark"] == "[":
            return list(self._items("]", self.read))
        return _value(token[0], {})

    def _pair(self) -> tuple[str, Any]:
        key = self._take()
        self._take()  # the colon
        return key["text"] or key[0], self.read()

    def _items(self, end: str, one: Any) -> list[Any]:
        items = []
        while self._peek() != end:
            if self._peek() == ",":
                self._take()
                continue
            items.append(one())
        self._take()
        return items

    def _peek(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else self._broken_off()

    def _take(self) -> re.Match[str]:
        self._peek()
        self._next += 1
        return self._tokens[self._next - 1]

    def _broken_off(self) -> str:
        raise ValueError("the call breaks off")
