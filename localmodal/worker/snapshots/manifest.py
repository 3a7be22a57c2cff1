"""What a snapshot's folder held when it was written, and whether it still does, to the byte.

Hashing gigabytes at each restore would cost the speed that a mapped snapshot is for. So a file is hashed when it is
written and once in each life of the daemon; after that it is known by its inode, size and times. The kernel changes the
last of them, ctime, with every write, and nobody can set it back.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_FILE = "manifest"
_CHUNK = 1 << 22


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
        entries = {str(path.relative_to(folder)): _describe(path, known, seen) for path in _everything_in(folder)}
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


def _everything_in(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = folder / where / name
            if path != folder / _FILE:
                yield path


def _describe(path: Path, known: dict[_Identity, str], seen: dict[_Identity, str]) -> str:
    """Kind, permissions, owner and content of one thing in the folder."""
    status = path.lstat()
    about = f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{about} {path.readlink()}"
    if not stat.S_ISREG(status.st_mode):
        return f"{about} {status.st_rdev}"
    identity = _Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    seen[identity] = seen.get(identity) or known.get(identity) or _hash(path)
    return f"{about} {status.st_size} {seen[identity]}"


def _hash(path: Path) -> str:
    """Of the bytes up to the hole at the file's end (a memory file has one of 64 GiB), and of where that begins."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = end = _end_of_data(file.fileno())
        file.seek(0)
        while left:
            chunk = file.read(min(left, _CHUNK))
            digest.update(chunk)
            left -= len(chunk)
    digest.update(str(end).encode())
    return digest.hexdigest()


def _end_of_data(handle: int) -> int:
    """Where the last byte that is not part of a hole lies, plus one."""
    end = 0
    while True:
        try:
            start = os.lseek(handle, end, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole from here on
            return end
        end = os.lseek(handle, start, os.SEEK_HOLE)


def _what_happened(expected: str | None, found: str | None) -> str:
    if expected and found:
        return "is not as it was written"
    return "is missing" if expected else "was not there when it was written"
