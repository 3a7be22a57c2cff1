"""Files named by their SHA-256: what mounts, volumes and large payloads are made from.

A file is written under a temporary name and moved to its own in one rename, so what is there is whole. Nothing here is
ever changed, and nothing is ever linked to: whoever needs a file where it may be written to copies it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Self

from grpclib import GRPCError, Status

from localmodal.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

GRACE = 3600.0
"""Seconds for which a file stays that nothing refers to: between its upload and the call that makes use of it."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Contents:
    """All files below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)  # an earlier daemon died over it
        self._incoming.mkdir(parents=True)

    def path(self, sha256: str) -> Path:
        """Where the file of that digest lies, or would."""
        if not _SHA256.fullmatch(sha256):
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{sha256}' is no SHA-256 in hexadecimal digits")
        return self._root / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Whether the file is there. Who asks means to use it: its time of grace begins anew."""
        try:
            os.utime(self.path(sha256))
        except FileNotFoundError:
            return False
        return True

    def receive(self) -> Incoming:
        """A new file, to be filled and kept."""
        return Incoming(self, self._incoming / new_id("in"))

    def put(self, data: bytes, sha256: str) -> None:
        """Keeps `data`; INVALID_ARGUMENT if that is not its digest."""
        with self.receive() as incoming:
            incoming.write(data)
            incoming.keep(sha256)

    def sweep(self, referenced: Container[str]) -> None:
        """Removes what is not referred to and older than its time of grace."""
        oldest = time.time() - GRACE
        for path in self._root.glob("[0-9a-f][0-9a-f]/*"):
            if path.stat().st_mtime < oldest and path.name not in referenced:
                path.unlink()


class Incoming:
    """One file on its way in. Leaving the context without `keep` leaves nothing behind."""

    def __init__(self, contents: Contents, path: Path) -> None:
        self._contents = contents
        self._path = path
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def __enter__(self) -> Self:
        self._file = self._path.open("xb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Appends to the file."""
        if self._file.write(chunk) < len(chunk):  # all that fitted
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._sha256.update(chunk)
        self._md5.update(chunk)
        self.size += len(chunk)

    @property
    def md5(self) -> str:
        """The MD5 of what was written so far: the ETag that the client compares."""
        return self._md5.hexdigest()

    def keep(self, sha256: str) -> None:
        """Gives the file its name; INVALID_ARGUMENT if its content is not what was announced."""
        target = self._contents.path(sha256)
        if (got := self._sha256.hexdigest()) != sha256:
            raise GRPCError(
                Status.INVALID_ARGUMENT,
                f"Received {self.size} bytes with SHA-256 {got}, expected {sha256}: it changed while it was read.",
            )
        target.parent.mkdir(exist_ok=True)
        self._path.rename(target)
