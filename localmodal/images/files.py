"""Files and folders of layers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def make_folder(path: Path) -> None:
    """With all above it, readable by all, whatever the daemon's umask is."""
    for missing in reversed([parent for parent in (path, *path.parents) if not parent.exists()]):
        missing.mkdir()
        missing.chmod(0o755)


def copy_file(source: Path, target: Path) -> None:
    """With its mode and its times; a symbolic link as such."""
    make_folder(target.parent)
    shutil.copy2(source, target, follow_symlinks=False)


def replace_text(path: Path, old: str, new: str) -> None:
    """In a file that may hold any bytes."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    if old in text:
        path.write_text(text.replace(old, new), encoding="utf-8", errors="surrogateescape")


def size_of(folder: Path) -> int:
    """Bytes of all files below, each counted once however many names it has."""
    sizes: dict[int, int] = {}
    for where, _, files in os.walk(folder):
        for name in files:
            seen = os.lstat(Path(where, name))
            sizes[seen.st_ino] = seen.st_size
    return sum(sizes.values())
