"""Images that are only written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmodal.images.build import Built
from localmodal.images.config import ImageConfig, ImageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from modal_proto import api_pb2

    from localmodal.images.build import Log
    from localmodal.images.builder import Tool

KIND = "recorded"


class RecordedImages:
    """See the protocols `Builder` and `Files`: of a recorded image there are none."""

    kind = KIND

    async def build(self, name: str, image: api_pb2.Image, base: Built | None, tool: Tool, log: Log) -> Built:  # noqa: ARG002 (nothing is made of it)
        """Says in the build's log what was not done."""
        log.system("Recorded, not built:")
        for line in image.dockerfile_commands:
            log.system(f"=> {line}")
        return Built(layers=(), config=ImageConfig(), size_bytes=0)

    def complete(self, names: Sequence[str]) -> bool:  # noqa: ARG002 (there are none)
        """Nothing can be missing."""
        return True

    def sweep(self, keep: Collection[str]) -> None:
        """There is nothing to remove."""

    def stack(self, names: Sequence[str]) -> tuple[Path, ...]:  # noqa: ARG002 (there are none)
        """ImageError: there are no folders."""
        raise ImageError("the image was recorded and not built: it has no files here")

    def seen(self, config: ImageConfig, names: Sequence[str]) -> ImageConfig:  # noqa: ARG002 (there are none)
        """As it is."""
        return config
