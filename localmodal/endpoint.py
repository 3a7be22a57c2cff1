"""What a running daemon says of itself, and how to know that it runs."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import struct
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from localmodal.home import Home


@cache
def own_version() -> str:
    """The client's version and a digest of this package's files: any change of them wants another daemon."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted(path for path in package.rglob("*") if path.suffix in {".py", ".sql", ".c"}):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return f"{importlib.metadata.version('modal')}-{digest.hexdigest()[:12]}"


@dataclass(frozen=True)
class Endpoint:
    """Process, addresses and version of a daemon."""

    pid: int
    grpc_port: int
    http_port: int
    version: str
    started_at: float

    @property
    def server_url(self) -> str:
        """Where the `modal` client finds it."""
        return f"http://127.0.0.1:{self.grpc_port}"

    def write(self, path: Path) -> None:
        """Shows it to whoever looks, whole or not at all."""
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(self)), encoding="ascii")
        unfinished.rename(path)

    @classmethod
    def read(cls, home: Home) -> Endpoint | None:
        """The daemon that runs now, if one does.

        One that is still starting has not written its own endpoint yet: the file may be that of one that was killed.
        """
        try:
            endpoint = cls(**json.loads(home.endpoint.read_text(encoding="ascii")))
        except FileNotFoundError:
            return None
        return endpoint if endpoint.pid == holder(home.daemon_lock) else None


class Lock:
    """A file that is locked for as long as its holder lives, however it ends.

    A POSIX lock: no child inherits it, and who looks whether it is held (`holder`) takes nothing, so that two who look
    at the same time see neither each other nor stop a daemon that is starting. A process must not open the file again
    while it holds the lock: closing it would give the lock back.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file: IO[str] = path.open("a")

    def take(self, *, wait: bool) -> bool:
        """Takes the lock; False if somebody else has it and we do not wait."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        return True

    def release(self) -> None:
        """Gives the lock back."""
        self._file.close()


_STRUCT_FLOCK = struct.Struct("hhqqi0q")
"""Type, whence, start, length and process of fcntl's `struct flock` on a 64-bit Linux."""


def holder(lock: Path) -> int | None:
    """The process that holds a lock now; None if nobody does."""
    if not lock.exists():
        return None
    whole_file = _STRUCT_FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with lock.open() as file:
        kind, _, _, _, pid = _STRUCT_FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, whole_file))
    return None if kind == fcntl.F_UNLCK else pid
