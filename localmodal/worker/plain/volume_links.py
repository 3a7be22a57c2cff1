"""Volumes where nothing can be mounted: a link at each mount path, shared by all who use it, gone with the last.

A note of each link lies in a folder of ours, so that a later daemon removes what a killed one left.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from localmodal.worker.container import ContainerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localmodal.worker.container import Bind


class VolumeLinks:
    """The links of one home."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._users: Counter[Path] = Counter()

    def take(self, binds: Sequence[Bind]) -> None:
        """Makes the links that are not there yet; ContainerError, and none is taken, if one cannot be made."""
        for number, bind in enumerate(binds):
            try:
                self._take(bind)
            except ContainerError:
                self.leave(binds[:number])
                raise

    def leave(self, binds: Sequence[Bind]) -> None:
        """Removes those that nobody uses any more."""
        for bind in binds:
            link = Path(bind.destination)
            self._users[link] -= 1
            if not self._users[link]:
                self._remove(link)

    def sweep(self) -> None:
        """Removes every link that an earlier daemon made."""
        for note in self._notes.iterdir() if self._notes.is_dir() else ():
            self._remove(Path(unquote(note.name)))

    def _take(self, bind: Bind) -> None:
        link = Path(bind.destination)
        if not self._users[link]:
            self._make(link, bind.source)
        elif link.readlink() != bind.source:
            raise ContainerError(f"another volume is at {link} already, and there is one such place on this machine")
        self._users[link] += 1

    def _make(self, link: Path, volume: Path) -> None:
        self._notes.mkdir(parents=True, exist_ok=True)
        note = self._notes / quote(str(link), safe="")
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            note.unlink(missing_ok=True)
            link.symlink_to(volume)
            note.symlink_to(volume)
        except OSError as error:
            raise ContainerError(
                f"a volume cannot be at {link}: {error.strerror}. This machine runs containers as plain processes "
                f"(see doctor), so the path must be free and in a folder that you may write to"
            ) from error

    def _remove(self, link: Path) -> None:
        note = self._notes / quote(str(link), safe="")
        with contextlib.suppress(OSError):
            if link.is_symlink() and link.readlink() == note.readlink():
                link.unlink()
        note.unlink(missing_ok=True)
