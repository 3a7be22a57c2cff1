"""A folder that others write to as well, entered without ever leaving it.

Containers put whatever they like into a volume, links to the host's files among it, and the daemon may be root. So a
path is resolved first, has to stay inside, and is then walked folder by folder without following links: what a
container changes in between makes the walk fail, not escape.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status

from localmodal.errors import not_found

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Node:
    """One file, folder or link of a tree."""

    path: str
    """As it was asked for, links and all; below the tree's root, without a leading slash."""
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, and no link to one."""
        return stat.S_ISDIR(self.status.st_mode)


class Tree:
    """The files below one folder. Paths are relative to it, with or without a leading slash."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def nodes(self, path: str, *, recursive: bool) -> Iterator[Node]:
        """A folder's nodes, or all below it; a file itself; NOT_FOUND if there is nothing."""
        node = self.node(path)
        if not node.is_folder:
            yield node
            return
        with self._folder(self._inside(path)) as top:
            for folder, folders, files, descriptor in os.fwalk(".", dir_fd=top):
                folders.sort()
                for name in sorted(folders + files):
                    with suppress(FileNotFoundError):  # removed while we look
                        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                        yield Node(PurePosixPath(node.path, folder, name).as_posix(), status)
                if not recursive:
                    return

    def node(self, path: str) -> Node:
        """What is at a path, links followed; NOT_FOUND if there is nothing."""
        try:
            return Node(_relative(path).as_posix(), (self.root / self._inside(path)).lstat())
        except (FileNotFoundError, NotADirectoryError):
            raise not_found("File", path) from None

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder at a path."""
        return (self.root / self._inside(path)).is_dir()

    def exists(self, path: str) -> bool:
        """Whether there is anything at a path."""
        return (self.root / self._inside(path)).exists()

    def open(self, path: str) -> BinaryIO:
        """A file to read from; links are followed as long as they stay inside."""
        if not stat.S_ISREG(self.node(path).status.st_mode):
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{path}' is not a file")
        with self._parent(self._inside(path)) as (folder, name):
            return os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb")

    def place(self, source: Path, path: str) -> None:
        """Moves a file of the same file system to a path, over whatever file is there; folders are made as needed."""
        with self._parent(path, create=True) as (folder, name):
            try:
                os.replace(source, name, dst_dir_fd=folder)
            except IsADirectoryError:
                raise GRPCError(Status.INVALID_ARGUMENT, f"'{path}' is a folder: it cannot become a file") from None

    def link(self, target: str, path: str) -> None:
        """Makes a symbolic link, over whatever file is there."""
        with self._parent(path, create=True) as (folder, name):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            os.symlink(target, name, dir_fd=folder)

    def make_folder(self, path: str) -> Path:
        """A folder, made with those above it as far as they are not there; its path holds no links."""
        inside = self._inside(path)
        with self._folder(inside, create=True):
            return self.root.resolve() / inside

    def remove(self, path: str, *, recursive: bool) -> None:
        """Removes a file or a link, or with `recursive` a folder with all that is in it."""
        with self._parent(path) as (folder, name):
            try:
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                raise not_found("File", path) from None
            except IsADirectoryError:
                if not recursive:
                    hint = "removing it takes the recursive option (-r)"
                    raise GRPCError(Status.INVALID_ARGUMENT, f"'{path}' is a folder: {hint}") from None
                shutil.rmtree(name, dir_fd=folder)

    @contextmanager
    def _parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """The folder that holds what is at a path, as a descriptor, and the last name. A link there is not followed."""
        pure = PurePosixPath("/", path)
        if pure.name in {"", ".."}:
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{path}' names the whole volume")
        with self._folder(self._inside(pure.parent.as_posix()), create=create) as folder:
            yield folder, pure.name

    @contextmanager
    def _folder(self, inside: str, *, create: bool = False) -> Iterator[int]:
        """A folder by its resolved path, as a descriptor."""
        descriptor = os.open(self.root, _FOLDER)
        try:
            for part in PurePosixPath(inside).parts:
                if create and not _has_folder(descriptor, part):
                    os.mkdir(part, dir_fd=descriptor)
                descriptor = _step(descriptor, part)
            yield descriptor
        except FileNotFoundError:
            raise not_found("Folder", inside) from None
        except NotADirectoryError:
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{inside}' is not a folder") from None
        finally:
            os.close(descriptor)

    def _inside(self, path: str) -> str:
        """A path with its links resolved, below the root; INVALID_ARGUMENT if it leads out."""
        root = self.root.resolve()
        try:
            resolved = (root / _relative(path)).resolve()
        except RuntimeError:
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{path}' is a link that leads to itself") from None
        if not resolved.is_relative_to(root):
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{path}' leads out of the volume")
        return resolved.relative_to(root).as_posix()


def _relative(path: str) -> PurePosixPath:
    return PurePosixPath("/", path).relative_to("/")


def _has_folder(descriptor: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _step(descriptor: int, name: str) -> int:
    below = os.open(name, _FOLDER, dir_fd=descriptor)
    os.close(descriptor)
    return below
