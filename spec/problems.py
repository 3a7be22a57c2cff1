"""What is wrong with a user's input, in words: the property's path, what was got, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)

_WANTED = {
    "model": "a mapping",
    "model_attributes": "a mapping",
    "dict": "a mapping",
    "tuple": "a list",
    "string": "text",
    "int": "a whole number",
    "int_from_float": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
"""What pydantic's kinds of type errors ask for."""


class InputError(ValueError):
    """Input that cannot be used; every problem starts with its property's path."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def explained(model: type[Model], value: object, root: str) -> Model:
    """The model made of `value`; InputError with every problem below the path `root`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InputError(tuple(_problems(model, error, root))) from None


def hint(wrong: str, known: tuple[str, ...]) -> str:
    """What to write instead of an unknown word."""
    nearest = get_close_matches(wrong, known, n=1)
    return f'Did you mean "{nearest[0]}"?' if nearest else f"Known: {', '.join(sorted(known))}."


def _problems(model: type[BaseModel], error: ValidationError, root: str) -> Iterator[str]:
    """One problem a property: a union reports its members' complaints one by one, of which the first is enough."""
    told = set()
    for detail in error.errors(include_url=False):
        path, owner = _path(model, detail["loc"], root)
        path += _discriminator(detail)
        if path not in told:
            told.add(path)
            key = re.split(r"[.:]", path)[-1].partition("[")[0]
            yield f"{path}: {_words(detail, owner, key)}"


def _discriminator(detail: ErrorDetails) -> str:
    """The key by which the members of a union are told apart, where that is what is wrong."""
    context = detail.get("ctx", {})
    return f".{context['discriminator'].strip(chr(39))}" if detail["type"].startswith("union_tag") else ""


def _path(model: type[BaseModel], loc: tuple[int | str, ...], root: str) -> tuple[str, type[BaseModel]]:
    """The property's path as the user wrote it, and the model that the last key belongs to.

    pydantic's location also names the members of unions, which no user wrote: they are left out.
    """
    path, owner, inside, in_dict = root, model, _models(model), False
    for depth, part in enumerate(loc):
        field = next((m.model_fields[part] for m in inside if part in m.model_fields), None)
        if isinstance(part, int):
            path += f"[{part}]"
        elif field is not None or in_dict or (depth == len(loc) - 1 and inside):
            path += f"{'' if path.endswith(':') else '.'}{part}"
        owner = inside[0] if inside else owner
        inside = _models(field.annotation) if field is not None else inside
        in_dict = field is not None and get_origin(field.annotation) is dict
    return path, owner


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _words(detail: ErrorDetails, owner: type[BaseModel], key: str) -> str:
    got, context = _quoted(detail["input"]), detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            words = f"unknown key. {hint(key, tuple(owner.model_fields))}"
        case "missing":
            words = f"is needed. {_description(owner, key)}"
        case "literal_error":
            words = f"{got} is not known. {hint(str(detail['input']), _choices(owner, key, context['expected']))}"
        case "union_tag_not_found":
            words = "is needed: it says which of them is meant."
        case "union_tag_invalid":
            known = tuple(context["expected_tags"].replace("'", "").split(", "))
            words = f'"{context["tag"]}" is not known. {hint(context["tag"], known)}'
        case "value_error":
            words = str(context["error"])
        case "string_pattern_mismatch":
            words = f"{got} does not fit. {_description(owner, key)}"
        case "string_type" if isinstance(detail["input"], int | float):
            words = f"should be text, got {got}. Put it in quotes."
        case kind:
            wanted = _WANTED.get(kind.removesuffix("_type").removesuffix("_parsing"))
            asked = f"should be {wanted}" if wanted else re.sub(r"^\w+ should ", "should ", detail["msg"])
            words = f"{asked}, got {got}."
    return words.rstrip()


def _choices(owner: type[BaseModel], key: str, expected: str) -> tuple[str, ...]:
    """The words of pydantic's `'a', 'b' or 'c'`, and those of a field that may be true or false instead."""
    words = tuple(word.strip("'") for word in expected.replace(" or ", ", ").split(", "))
    field = owner.model_fields.get(key)
    return (*words, "true", "false") if field and bool in get_args(field.annotation) else words


def _description(owner: type[BaseModel], key: str) -> str:
    field = owner.model_fields.get(key)
    return (field.description or "") if field else ""


def _quoted(got: object) -> str:
    match got:
        case str():
            return f'"{got}"'
        case bool():
            return str(got).lower()
        case int() | float():
            return f"{got} (a number)"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return "nothing"
