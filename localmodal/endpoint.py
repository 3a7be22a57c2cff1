"""What a running daemon says of itself, and how to know that it runs."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
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
        """The daemon that runs now, if one does."""
        if not is_locked(home) or not home.endpoint.exists():
            return None
        return cls(**json.loads(home.endpoint.read_text(encoding="ascii")))


class Lock:
    """A file that is locked for as long as its holder lives, however it ends."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file: IO[str] = path.open("a")

    def take(self, *, wait: bool) -> bool:
        """Takes the lock; False if somebody else has it and we do not wait."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Gives the lock back."""
        self._file.close()


def is_locked(home: Home) -> bool:
    """Whether a daemon of this home lives."""
    if not home.daemon_lock.exists():
        return False
    lock = Lock(home.daemon_lock)
    free = lock.take(wait=False)
    lock.release()
    return not free
