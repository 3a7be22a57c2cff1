"""GPU types that a service may ask for, as Modal names them."""

from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator

from spec.gpu_types import TYPES, GpuType

GPU_TYPES = tuple(TYPES)

NO_GPU = "none"


def asks_for_gpu(choice: str | tuple[str, ...]) -> bool:
    """Whether a service with this choice runs on a GPU."""
    return choice != NO_GPU


def alternatives(choice: str | tuple[str, ...]) -> tuple[str, ...]:
    """What may be given for a choice, in the order in which it is tried; nothing if no GPU is asked for."""
    if isinstance(choice, tuple):
        return choice
    return (choice,) if asks_for_gpu(choice) else ()


def type_of(gpu: str) -> GpuType:
    """What is known of `TYPE` or `TYPE:COUNT`."""
    return TYPES[gpu.partition(":")[0]]


def count_of(gpu: str) -> int:
    """How many `TYPE` or `TYPE:COUNT` asks for."""
    return int(gpu.partition(":")[2] or 1)


def _as_modal_spells_it(choice: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if isinstance(choice, str):
        return choice if choice == NO_GPU else _known(choice)
    if not choice:
        message = f"the list is empty. Write {NO_GPU}, or the types in the order in which they are to be tried."
        raise ValueError(message)
    return tuple(_known(gpu) for gpu in choice)


def _known(gpu: str) -> str:
    """`TYPE` or `TYPE:COUNT`, in Modal's letters; ValueError with the nearest type if there is none."""
    kind, _, count = gpu.partition(":")
    name = {known.upper(): known for known in GPU_TYPES}.get(kind.upper())
    if name is None:
        nearest = get_close_matches(kind.upper(), GPU_TYPES, n=1)
        hint = f'Did you mean "{nearest[0]}"?' if nearest else f"There are: {', '.join(GPU_TYPES)}."
        message = f'"{gpu}" is not a Modal GPU type. {hint}'
        raise ValueError(message)
    if count and not (count.isdecimal() and int(count)):
        message = f'"{gpu}" does not say how many. Write a number, such as "{name}:2".'
        raise ValueError(message)
    return f"{name}:{count}" if count else name


Gpu = Annotated[str | tuple[str, ...], AfterValidator(_as_modal_spells_it)]
"""One GPU type, or several in the order in which they are tried."""
