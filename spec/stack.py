"""The stack file: which backend, and the services."""

from typing import Literal

from pydantic import Field

from spec.frozen import Frozen
from spec.problems import InputError, explained
from spec.service import ServiceSpec

Backend = Literal["local", "modal"]

NAMESPACE = "coldsnap"
"""The prefix of the stack file's keys: `coldsnap:services`."""


class Stack(Frozen):
    """Everything below `coldsnap:` in a stack file."""

    backend: Backend = "local"
    environment: str = Field(default="", description="The Modal environment; empty: the client's own default.")
    services: tuple[ServiceSpec, ...] = Field(default=(), description="A list of services, each with a name.")


def parse_stack(config: object) -> Stack:
    """The stack of a stack file's values, by key; InputError with every problem's path."""
    stack = explained(Stack, config, f"{NAMESPACE}:")
    if not stack.services:
        raise InputError((f"{NAMESPACE}:services: nothing is declared. List one service at least.",))
    _one_name_each(stack.services)
    return stack


def _one_name_each(services: tuple[ServiceSpec, ...]) -> None:
    names = [service.name for service in services]
    for index, name in enumerate(names):
        if (first := names.index(name)) < index:
            path = f"{NAMESPACE}:services[{index}].name"
            raise InputError((f'{path}: "{name}" is taken by services[{first}]. Give each service its own name.',))
