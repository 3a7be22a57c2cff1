"""What a snapshot's folder held when it was written, and whether it still does, to the byte.

Hashing gigabytes at each restore would cost the speed that a mapped snapshot is for. So a file is hashed when it is
written and once in each life of the daemon; after that it is known by its inode, size and times. The kernel changes the
last of them, ctime, with every write, and nobody can set it back.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FILE = "manifest"
_CHUNK = 1 << 22
_ZEROS = bytes(_CHUNK)


class _Identity(NamedTuple):
    """A file's content cannot change while this stays."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class Verifier:
    """Writes manifests and compares folders with theirs; remembers which files it has hashed."""

    def __init__(self) -> None:
        self._hashed: dict[Path, dict[_Identity, str]] = {}

    def seal(self, folder: Path, depends_on: Sequence[str], final: Path) -> None:
        """Writes the manifest of a folder that will be moved to `final`."""
        body = json.dumps({"depends_on": list(depends_on), "entries": self._look_at(folder, final)}, indent=0)
        (folder / _FILE).write_text(f"{_digest(body)}\n{body}", encoding="utf-8")

    def damage(self, folder: Path) -> str | None:
        """None if the folder is as it was sealed; else what is wrong, for a person."""
        try:
            expected = _read(folder)["entries"]
        except (OSError, ValueError, KeyError) as error:
            return f"its manifest is damaged ({error})"
        found = self._look_at(folder, folder)
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                return f"{name} {_what_happened(expected.get(name), found.get(name))}"
        return None

    def forget(self, folder: Path) -> None:
        """The folder is gone."""
        self._hashed.pop(folder, None)

    def _look_at(self, folder: Path, known_as: Path) -> dict[str, str]:
        known = self._hashed.get(known_as, {})
        seen: dict[_Identity, str] = {}
        entries = {name: _describe(path, known, seen) for name, path in _everything_in(str(folder))}
        self._hashed[known_as] = seen
        return entries


def depends_on(folder: Path) -> tuple[str, ...]:
    """What a sealed snapshot depends on; nothing if that cannot be read."""
    try:
        return tuple(_read(folder)["depends_on"])
    except (OSError, ValueError, KeyError):
        return ()


def _read(folder: Path) -> Any:
    digest, _, body = (folder / _FILE).read_text(encoding="utf-8").partition("\n")
    if digest != _digest(body):
        raise ValueError("its digest does not match")
    return json.loads(body)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _everything_in(folder: str, below: str = "") -> Iterator[tuple[str, str]]:
    """Each name below the folder, and its path. As text: this stands before every restore, and `Path` takes longer."""
    with os.scandir(f"{folder}/{below}") as entries:
        for entry in entries:
            name = below + entry.name
            if name != _FILE:
                yield name, entry.path
            if entry.is_dir(follow_symlinks=False):
                yield from _everything_in(folder, f"{name}/")


def _describe(path: str, known: dict[_Identity, str], seen: dict[_Identity, str]) -> str:
    """Kind, permissions, owner and content of one thing in the folder."""
    status = os.lstat(path)
    about = f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{about} {Path(path).readlink()}"
    if not stat.S_ISREG(status.st_mode):
        return f"{about} {status.st_rdev}"
    identity = _Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    seen[identity] = seen.get(identity) or known.get(identity) or _hash(path)
    return f"{about} {status.st_size} {seen[identity]}"


def _hash(path: str) -> str:
    """Of what is not zero, and of where that is: most of a memory file is a hole, up to 64 GiB of it."""
    digest = hashlib.sha256()
    with Path(path).open("rb", buffering=0) as file:
        at = 0
        while (data := _next_data(file.fileno(), at)) is not None:
            start = data - data % _CHUNK  # the same chunks, wherever the disk begins to store what is not zero
            chunk = os.pread(file.fileno(), _CHUNK, start)
            if chunk != _ZEROS[: len(chunk)]:
                digest.update(start.to_bytes(8))
                digest.update(chunk)
            at = start + _CHUNK
    return digest.hexdigest()


def _next_data(handle: int, at: int) -> int | None:
    """The first byte from `at` on that is not part of a hole; None if there is none."""
    try:
        return os.lseek(handle, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def _what_happened(expected: str | None, found: str | None) -> str:
    if expected and found:
        return "is not as it was written"
    return "is missing" if expected else "was not there when it was written"
