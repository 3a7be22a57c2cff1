"""The seam between a build and where its files go: layers of an overlay, or environments of plain processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from localmodal.images.config import ImageConfig
    from localmodal.images.pythons import Python
    from localmodal.worker.container import Bind, Output


@dataclass(frozen=True)
class Command:
    """One command of a build, as the image's own paths and environment see it."""

    args: tuple[str, ...]
    config: ImageConfig
    env: Mapping[str, str]
    """Beside the image's: build arguments, secrets."""
    binds: tuple[Bind, ...]
    """Volumes."""
    in_base: bool
    """It belongs to an image of a registry, whose packages nobody asked for one by one."""


@dataclass(frozen=True)
class Placement:
    """Files and folders of this machine that go into an image."""

    sources: tuple[Path, ...]
    destination: str
    """Absolute. A folder, if it ends with a slash, if there are several sources, or if the source is a folder."""
    mode: str
    owner: str

    @property
    def into_folder(self) -> bool:
        """The destination is a folder, not a file's new name."""
        return self.destination.endswith("/") or len(self.sources) > 1 or self.sources[0].is_dir()


class CommandError(Exception):
    """A command of a build failed: with which code, and anything else that is known."""


class Draft(Protocol):
    """A layer that is being made. Nobody sees it before `finish`; whatever happens before leaves nothing."""

    async def run(self, command: Command) -> None:
        """Runs a command on top of what is there; CommandError if it fails."""

    async def place(self, placement: Placement) -> None:
        """Copies files in; CommandError if they cannot lie there."""

    async def finish(self) -> int | None:
        """Gives the layer its name; its size in bytes, or None if there is nothing in it and so no layer."""

    async def discard(self) -> None:
        """Removes what was made; nothing happens after `finish`."""


class Files(Protocol):
    """What images consist of, by the names of their layers."""

    kind: str
    """A layer of one kind is none of the other: each has its own files of an image."""

    def stack(self, names: Sequence[str]) -> tuple[Path, ...]:
        """The folders of an image, the lowest first; what a container is started from."""

    def seen(self, config: ImageConfig, names: Sequence[str]) -> ImageConfig:
        """The configuration as a container of the image sees it."""

    def complete(self, names: Sequence[str]) -> bool:
        """Every one of these layers is there."""

    def sweep(self, keep: Collection[str]) -> None:
        """Removes every other layer and what an earlier daemon left half-made."""


class Layers(Files, Protocol):
    """All layers of this machine, and how new ones come to be."""

    async def machine(self) -> tuple[str, ...]:
        """What lies below every image."""

    async def python(self, python: Python, *, plain_name: bool) -> str:
        """The layer with that Python in /usr/local, made at the first call."""

    async def draft(self, name: str, below: Sequence[str], output: Output) -> Draft:
        """Begins a layer on top of others. `output` takes what its commands write."""
