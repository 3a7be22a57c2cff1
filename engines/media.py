"""Images and sounds in a request for a server behind a proxy: whether the model takes them, and that they are inside.

Servers fetch what a request gives the address of, on this network, and SGLang opens files too: what a client is not to
reach itself, it is not to reach through them. What is sent with the request is all that they get.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CALLS = ("messages", "input")
"""Where the calls of OpenAI and Anthropic have what a model reads."""

_NESTED = ("content", "output")
"""Where a message, or what a tool has answered, has its parts."""

_MEDIA = ("image", "image_url", "input_image", "input_audio", "audio_url", "input_video", "video_url")
"""Types of parts that are no text, which are also the names under which such a part holds its content."""


def check_media(asked: Mapping[str, Any], *, taken: bool) -> None:
    """Refuse what is no text where none is taken, and everywhere what is not in the request itself."""
    for place in _CALLS:
        for path, part in _parts(asked.get(place), place):
            if not _is_medium(part):
                continue
            if not taken:
                message = f"Unsupported value: '{path}': this model reads text alone, no images and no sounds."
                raise ApiError(400, message, param=path, code="unsupported_value")
            if any(not address.startswith("data:") for address in _addresses(part)):
                message = (
                    f"Invalid value for '{path}': nothing is fetched here. Send the content as data:...;base64,..."
                )
                raise ApiError(400, message, param=path, code="invalid_value")


def _parts(value: object, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping that may be a part, with its place in the request."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _parts(one, f"{path}[{index}]")
    elif isinstance(value, dict):
        yield path, value
        for name in _NESTED:
            yield from _parts(value.get(name), f"{path}.{name}")


def _is_medium(part: Mapping[str, Any]) -> bool:
    return part.get("type") in _MEDIA or any(part.get(name) is not None for name in _MEDIA)


def _addresses(part: Mapping[str, Any]) -> Iterator[str]:
    """What may be an address: a text, or a mapping's `url`; what is called `data` is content."""
    for name in (*_MEDIA, "source"):
        held = part.get(name)
        address = held.get("url") if isinstance(held, dict) else held
        if isinstance(address, str):
            yield address
