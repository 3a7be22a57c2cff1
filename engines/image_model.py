"""What the images API needs of a model that paints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from PIL.Image import Image


@dataclass(frozen=True)
class Drawing:
    """What is to be painted."""

    prompt: str
    size: str
    """`WIDTHxHEIGHT`, one of those that the model serves."""
    seed: int
    previews: frozenset[int] = frozenset()
    """The steps after which to show what the image is going to be."""

    @property
    def sides(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, _, height = self.size.partition("x")
        return int(width), int(height)


@dataclass(frozen=True)
class Step:
    """A step that is done, the first one being 1."""

    number: int
    preview: Image | None = None


@dataclass(frozen=True)
class Painting:
    """A finished image."""

    image: Image
    seed: int
    prompt_tokens: int
    image_tokens: int


class ImageModel(Protocol):
    """A loaded model."""

    name: str
    sizes: tuple[str, ...]
    """The resolutions served; the first one is the default."""
    steps: int

    def paint(self, drawing: Drawing, put: Callable[[Step | Painting], None], hung_up: Event) -> None:
        """Put every step and then the painting, in the model's thread; ends within a step when nobody waits for it."""
