"""What every snapshotter does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from localmodal.worker.container import Container, Launch


@dataclass(frozen=True)
class Snapshot:
    """A memory snapshot that is whole: it was written, hashed and moved to its name in one step."""

    name: str
    """Digest of all it depends on: definition, image, kernel, processor features, snapshotter's version."""
    folder: Path


class Snapshotter(Protocol):
    """Takes and restores memory snapshots of containers."""

    version: str

    async def checkpoint(self, container: Container, into: Path) -> None:
        """Writes the container's memory and own files below `into`; it runs on. SnapshotError if it cannot."""

    async def restore(self, launch: Launch, snapshot: Snapshot) -> Container:
        """Starts a copy under a new id. SnapshotError if it cannot; nothing is left then."""

    async def discard(self, snapshot: Snapshot) -> None:
        """Removes the snapshot's files; running copies keep what they have mapped."""


class SnapshotError(Exception):
    """A snapshot could not be taken or restored: the reason in words, and the last lines of the tool's log."""
