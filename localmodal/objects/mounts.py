"""Mounts: a client's files, uploaded once each, that functions and image builds see as a layer.

A mount is named by what is in it, so the same files are the same mount, and a function whose sources did not change
keeps its definition.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status

from localmodal.errors import not_found
from localmodal.ids import id_from_digest, new_id

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path

    from modal_proto import api_pb2

    from localmodal.objects.contents import Contents
    from localmodal.store import Store

OF_THE_SERVICE = re.compile(r"modal-client-mount-.*|python-build-standalone\..*")
"""Names of mounts that the service keeps for everybody: the client's own packages, and Pythons for `add_python`.

They hold no files here: the client is a layer that the images make, and an image has a Python of the asked version.
"""
_DEFAULT_MODE = 0o644
_UNFINISHED = "new"
_UNUSED_FOR = 24 * 3600.0
"""Seconds after which a mount that nothing refers to is removed."""


class Mounts:
    """All mounts, and the layers made of them."""

    def __init__(self, store: Store, contents: Contents, layers: Path) -> None:
        self._store = store
        self._contents = contents
        self._layers = layers
        for unfinished in layers.glob(f"{_UNFINISHED}-*"):  # an earlier daemon died over it
            shutil.rmtree(unfinished)

    def create(self, files: Iterable[api_pb2.MountFile]) -> tuple[str, str]:
        """The mount of these files: its id and its digest. FAILED_PRECONDITION if one was not uploaded."""
        rows = sorted((_inside(f.filename), f.sha256_hex, f.mode or _DEFAULT_MODE) for f in files)
        self._require_uploaded(rows)
        digest = hashlib.sha256(repr(rows).encode())
        mount_id = id_from_digest("mo", digest.digest())
        self._insert(mount_id, digest.hexdigest(), rows)
        return mount_id, digest.hexdigest()

    def of_the_service(self, name: str) -> tuple[str, str]:
        """The mount that the service would keep under that name; NOT_FOUND if it would not."""
        if not OF_THE_SERVICE.fullmatch(name):
            raise not_found("Mount", name)
        digest = hashlib.sha256(name.encode())
        mount_id = id_from_digest("mo", digest.digest())
        self._insert(mount_id, digest.hexdigest(), [], name)
        return mount_id, digest.hexdigest()

    def _insert(self, mount_id: str, digest: str, rows: list[tuple[str, str, int]], name: str = "") -> None:
        with self._store.transaction() as db:
            db.execute("INSERT OR REPLACE INTO mounts VALUES (?, ?, ?, ?)", (mount_id, digest, name, time.time()))
            db.executemany(
                "INSERT INTO mount_files (mount_id, path, sha256, mode) VALUES (?, ?, ?, ?)",
                [(mount_id, *row) for row in rows],
            )

    def _require_uploaded(self, rows: list[tuple[str, str, int]]) -> None:
        missing = [path for path, sha256, _ in rows if not self._contents.has(sha256)]
        if missing:
            raise GRPCError(
                Status.FAILED_PRECONDITION, f"Files of the mount were not uploaded: {', '.join(missing[:5])}"
            )

    def name(self, mount_id: str) -> str:
        """The name of one of the service's own mounts; empty for any other."""
        if (row := self._store.row("SELECT name FROM mounts WHERE id = ?", mount_id)) is None:
            raise not_found("Mount", mount_id)
        return str(row["name"])

    async def layer(self, mount_id: str) -> Path:
        """A folder with the mount's files below their paths, read-only by agreement; made at the first call."""
        if not self._store.write("UPDATE mounts SET used_at = ? WHERE id = ?", time.time(), mount_id):
            raise not_found("Mount", mount_id)
        layer = self._layers / mount_id
        if not layer.exists():
            rows = self._store.rows("SELECT path, sha256, mode FROM mount_files WHERE mount_id = ?", mount_id)
            await asyncio.to_thread(self._make_layer, layer, [tuple(row) for row in rows])
        return layer

    def _make_layer(self, layer: Path, rows: list[tuple[str, str, int]]) -> None:
        unfinished = self._layers / new_id(_UNFINISHED)
        unfinished.mkdir(parents=True)
        try:
            self._fill(unfinished, rows)
            unfinished.rename(layer)
        except OSError:
            shutil.rmtree(unfinished)
            if not layer.exists():  # nobody else was faster
                raise

    def _fill(self, folder: Path, rows: list[tuple[str, str, int]]) -> None:
        for path, sha256, mode in rows:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._contents.path(sha256), target)
            target.chmod(mode)

    def delete_unused(self, in_use: Container[str]) -> None:
        """Removes mounts that no function or image refers to and that nobody asked for lately, with their layers."""
        for row in self._store.rows("SELECT id FROM mounts WHERE used_at < ?", time.time() - _UNUSED_FOR):
            if row["id"] not in in_use:
                shutil.rmtree(self._layers / row["id"], ignore_errors=True)
                self._store.write("DELETE FROM mounts WHERE id = ?", row["id"])

    def referenced(self) -> set[str]:
        """The digests of all files of all mounts."""
        return {row["sha256"] for row in self._store.rows("SELECT DISTINCT sha256 FROM mount_files")}


def _inside(filename: str) -> str:
    """The path below the layer's root; INVALID_ARGUMENT if it leads out of it."""
    path = PurePosixPath("/", filename).relative_to("/")
    if ".." in path.parts or not path.parts:
        raise GRPCError(Status.INVALID_ARGUMENT, f"'{filename}' is no path below the mount's root")
    return path.as_posix()
