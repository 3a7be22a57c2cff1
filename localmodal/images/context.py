"""Where the files come from that COPY puts into an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmodal.images.config import ImageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from localmodal.images.dockerfile import Copy

_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True)
class Context:
    """What a build may copy from."""

    folders: tuple[Path, ...] = ()
    """The files sent along with the image, then its context mount."""
    image: Callable[[str], Awaitable[Path]] | None = None
    """The folder of another image that may be copied from (`--from`); ImageError if it is not known here."""
    python: tuple[str, bool] | None = None
    """The context is a standalone Python: of which series, and whether with a plain `python`."""

    async def find(self, copy: Copy) -> tuple[Path, ...]:
        """The files and folders that a COPY names, in order; ImageError names the one that is not there."""
        folders = self.folders
        if copy.image:
            assert self.image, "known where there are lines"
            folders = (await self.image(copy.image),)
        return tuple(path for source in copy.sources for path in _matches(source, folders))


def _matches(source: str, folders: tuple[Path, ...]) -> list[Path]:
    """As in Docker, a leading slash means the context's root, and no path leads out of it."""
    if (relative := source.strip("/")) in {"", "."}:
        return list(folders)
    for folder in folders:
        found = sorted(folder.glob(relative)) if _WILDCARDS & set(relative) else [folder / relative]
        if inside := [path for path in found if path.exists() and path.resolve().is_relative_to(folder.resolve())]:
            return inside
    raise ImageError(f"{source} is not in the build's context")
