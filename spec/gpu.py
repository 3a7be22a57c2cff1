"""GPU types that a service may ask for, as Modal names them."""

from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator

GPU_TYPES = (
    "T4",
    "L4",
    "A10",
    "L40S",
    "A100-40GB",
    "A100-80GB",
    "RTX-PRO-6000",
    "H100",
    "H100!",
    "H200",
    "B200",
    "B200+",
)
"""`H100!` is never upgraded to an H200; `B200+` may be any Blackwell or newer."""

NO_GPU = "none"


def asks_for_gpu(choice: str | tuple[str, ...]) -> bool:
    """Whether a service with this choice runs on a GPU."""
    return choice != NO_GPU


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
