"""Files of this machine that go into an image or onto a Volume: which they are, how large, and their hash."""

from __future__ import annotations

import os
from hashlib import file_digest, sha256
from pathlib import Path


class UnfitError(OSError):
    """A path that names nothing, or a folder whose files would not be the same elsewhere."""


def carried(path: Path) -> dict[str, Path]:
    """What is carried over: the file itself, or every file of a folder by its name below it, in the order of names."""
    if not path.exists():
        raise UnfitError(f'"{path}" is no file in {Path.cwd()}')
    if not path.is_dir():
        _check_readable(path)
        return {"": path}
    found = sorted(_below(path))
    if not found:
        raise UnfitError(f'"{path}" is a folder without a file')
    for file in found:
        _check_link(file, path)
        _check_readable(file)
    return {file.relative_to(path).as_posix(): file for file in found}


def _below(folder: Path) -> list[Path]:
    """Every entry but the folders; links to folders count, since the client does not go into them."""
    entries = (Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files))
    return [entry for entry in entries if entry.is_symlink() or not entry.is_dir()]


def _check_link(file: Path, folder: Path) -> None:
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UnfitError(f'"{file}" is a link that leads out of the folder. Copy what it stands for: cp -rL')
    if file.is_dir():
        raise UnfitError(f'"{file}" is a link to a folder, and those are not followed. Copy what it stands for: cp -rL')


def _check_readable(file: Path) -> None:
    if not file.is_file():
        raise UnfitError(f'"{file}" is no regular file')
    if not os.access(file, os.R_OK):
        raise UnfitError(f'"{file}" may not be read by this user')


def size_of(path: Path) -> int:
    """In bytes, all files together."""
    return sum(file.stat().st_size for file in carried(path).values())


def digest_of(path: Path) -> str:
    """The hash of a file; of a folder that of the list of its files, as sha256sum would print it."""
    files = carried(path)
    if not path.is_dir():
        return _digest(path)
    return sha256("".join(f"{_digest(file)}  {name}\n" for name, file in files.items()).encode()).hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()
