"""The requests of OpenAI's images API: what is understood, what is taken without effect, what is refused and how."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from engines.errors import ApiError
from engines.image_model import Drawing

SEEDS = 2**32
"""Seeds that there are, from 0."""

Format = Literal["png", "jpeg", "webp"]


class ImageRequest(BaseModel):
    """POST /v1/images/generations."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    prompt: Annotated[str, StringConstraints(min_length=1)]
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: str | None = None
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] | None = None
    """Not OpenAI's: the same seed gives the same image. Of several images each has a seed one higher."""
    output_format: Format | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None

    # Taken without effect: they steer OpenAI's own models.
    moderation: str | None = None
    quality: str | None = None
    style: str | None = None
    safety_identifier: str | None = None
    user: str | None = None

    def check(self) -> None:
        """Refuse what OpenAI's models do, or did, and this one does not."""
        if self.response_format == "url":
            raise _unsupported("response_format", "url", "Images are kept nowhere: leave it out to get b64_json.")
        if self.background == "transparent":
            raise _unsupported("background", "transparent", "Leave it out.")
        if self.output_compression is not None and self.format == "png":
            raise _unsupported("output_compression", self.output_compression, "A png loses nothing: leave it out.")
        if self.stream and self.n not in {None, 1}:
            raise _unsupported("n", self.n, "A stream holds one image: send one request an image.")

    @property
    def format(self) -> Format:
        """In which format the images are wanted."""
        return self.output_format or "png"

    def drawings(self, size: str, steps: int) -> list[Drawing]:
        """What is to be painted, in this size and in so many steps.

        A seed that nobody names is the kernel's: a state of this process would be the same in every restored copy.
        """
        first = secrets.randbelow(SEEDS) if self.seed is None else self.seed
        shown = self._shown(steps) if self.stream else frozenset()
        return [Drawing(self.prompt, size, (first + number) % SEEDS, shown) for number in range(self.n or 1)]

    def _shown(self, steps: int) -> frozenset[int]:
        """The steps of which previews are wanted: evenly spread, without the last, which is the image itself."""
        wanted = self.partial_images or 0
        spread = {round(steps * number / (wanted + 1)) for number in range(1, wanted + 1)}
        return frozenset(spread - {0, steps})


def _unsupported(name: str, got: object, hint: str) -> ApiError:
    message = f"Unsupported value: '{name}' does not support {json.dumps(got)} with this model. {hint}"
    return ApiError(400, message, param=name, code="unsupported_value")
