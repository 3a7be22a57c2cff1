"""Calls that a request demands (`tool_choice`): the JSON schema that the answer is then held to.

Whatever a model's own way of writing calls is, it is held to JSON: `{"name": ..., "arguments": {...}}`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEFINITIONS = ("$defs", "definitions")
"""Where a schema keeps what it refers to."""


def schema_of(tools: Sequence[Mapping[str, Any]]) -> str:
    """The schema of a call of one of these tools; `ValueError` where a tool's own schema cannot be a part of it."""
    shared: dict[str, Any] = {}
    calls = [_call(tool.get("function") or {}, f"tool{number}", shared) for number, tool in enumerate(tools)]
    return json.dumps({"anyOf": calls, "$defs": shared})


def _call(function: Mapping[str, Any], prefix: str, shared: dict[str, Any]) -> dict[str, Any]:
    parameters = dict(function.get("parameters") or {"type": "object", "properties": {}})
    for place in _DEFINITIONS:
        for name, schema in (parameters.pop(place, None) or {}).items():
            shared[f"{prefix}-{name}"] = _moved(schema, prefix)
    properties = {"name": {"const": function.get("name")}, "arguments": _moved(parameters, prefix)}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _moved(schema: Any, prefix: str) -> Any:
    """A part of a schema, in a schema of several: what it refers to has another name there."""
    if isinstance(schema, list):
        return [_moved(one, prefix) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(reference := schema.get("$ref"), str):
        return {"$ref": f"#/$defs/{prefix}-{_name_of(reference)}"}
    return {key: _moved(value, prefix) for key, value in schema.items()}


def _name_of(reference: str) -> str:
    root, _, name = reference.rpartition("/")
    if root not in {f"#/{place}" for place in _DEFINITIONS}:
        raise ValueError(f'"$ref": "{reference}" is not understood: write "#/$defs/NAME"')
    return name
