"""Reads the body of a request; what is wrong with it is said as OpenAI says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from engines.errors import ApiError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Request = TypeVar("Request", bound=BaseModel)


def json_of(body: bytes) -> Any:
    """The JSON of a body, as pydantic reads it: strictly, so that no text holds half a character."""
    try:
        return from_json(body)
    except ValueError:
        raise ApiError(400, "We could not parse the JSON body of your request.") from None


def parse(kind: type[Request], body: bytes) -> Request:
    """The request that a body holds; else what OpenAI would say is wrong with it."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False), json_of(body)) from None


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
