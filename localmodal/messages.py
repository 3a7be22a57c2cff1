"""Copying between messages of the protocol that say the same things by the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from google.protobuf.message import Message

    Target = TypeVar("Target", bound=Message)


def copy_shared(source: Message, target: Target) -> Target:
    """Copies into `target` every field that is set in `source` and has the same name there; returns it."""
    for descriptor, value in source.ListFields():
        if descriptor.name not in target.DESCRIPTOR.fields_by_name:
            continue
        if hasattr(field := getattr(target, descriptor.name), "MergeFrom"):
            field.MergeFrom(value)
        else:
            setattr(target, descriptor.name, value)
    return target
