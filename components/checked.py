"""A user's input, validated and checked against the rules while a preview still costs nothing."""

from __future__ import annotations

import json
from typing import Any

import pulumi

from service.preflight import Machine, problems
from spec import ServiceSpec
from spec.problems import InputError, explained
from spec.stack import NAMESPACE, Stack, parse_stack


def declared_stack() -> Stack:
    """What the stack file declares below `coldsnap:`; RunError with every problem."""
    prefix = f"{NAMESPACE}:"
    values = {key.removeprefix(prefix): value for key, value in _config().items() if key.startswith(prefix)}
    if "services" in values:
        values["services"] = _parsed(values["services"])
    try:
        stack = parse_stack(values)
    except InputError as error:
        raise pulumi.RunError(str(error)) from None
    _refuse(
        problem
        for index, service in enumerate(stack.services)
        for problem in problems(service, Machine.of(stack.backend), f"{prefix}services[{index}]")
    )
    return stack


def declared_service(values: Any, name: str, backend: str) -> ServiceSpec:
    """The service of a program's arguments, once they are known; RunError with every problem."""
    try:
        service = explained(ServiceSpec, {"name": name, **values}, name)
    except InputError as error:
        raise pulumi.RunError(str(error)) from None
    _refuse(problems(service, Machine.of(backend), name))
    return service


def _config() -> dict[str, str]:
    return dict(pulumi.runtime.get_config_env())


def _parsed(value: str) -> Any:
    """Pulumi hands lists and mappings over as JSON, and text as it is."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _refuse(found: Any) -> None:
    if text := "\n".join(found):
        raise pulumi.RunError(text)
