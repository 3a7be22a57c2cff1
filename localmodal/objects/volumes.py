"""Volumes: folders that containers see as they are, so what one writes all others see at once.

The service shows writes to others after a commit and a reload; here a commit sees to it that they are on the disk,
and is counted, and a reload has nothing to do.
"""

from __future__ import annotations

import asyncio
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.ids import new_id
from localmodal.objects.named import Kind
from localmodal.objects.trees import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localmodal.objects.named import Object, Objects, Wish
    from localmodal.objects.trees import Node
    from localmodal.store import Store

BLOCK = 8 * 1024 * 1024
"""Bytes of a block; must stay in sync with `BLOCK_SIZE` of the client's `_utils/blob_utils.py`."""
_DEFAULT_MODE = 0o644


@dataclass(frozen=True)
class Upload:
    """A file to be written into a volume, from uploaded pieces."""

    path: str
    pieces: Sequence[Path]
    """Each starts at a multiple of `BLOCK`; zeros at its end were left out."""
    size: int | None = None
    """Bytes of the whole file; none: what the pieces add up to."""
    mode: int = 0
    """Permission bits; 0: the default."""


class Volumes:
    """All volumes."""

    def __init__(self, store: Store, objects: Objects, root: Path) -> None:
        self._store = store
        self._objects = objects
        self._root = root
        self._aside = root / "aside"
        """Files on their way in and volumes on their way out: on the same file system, so that one rename does it."""
        shutil.rmtree(self._aside, ignore_errors=True)  # an earlier daemon died over it
        self._aside.mkdir(parents=True)

    def get_or_create(self, wish: Wish, file_system: api_pb2.VolumeFsVersion.ValueType) -> Object:
        """The volume that the client wishes for; the version of its file system matters to the client alone."""
        with self._store.transaction():
            volume, created = self._objects.get_or_create(Kind.VOLUME, wish)
            if created:
                version = file_system or api_pb2.VOLUME_FS_VERSION_V1
                self._store.write("INSERT INTO volumes (id, file_system) VALUES (?, ?)", volume.id, version)
                (self._root / volume.id).mkdir()
        return volume

    def metadata(self, volume_id: str) -> api_pb2.VolumeMetadata:
        """What the client's handle knows; by the version it chooses one of two ways of listing and uploading."""
        volume = self._objects.get(Kind.VOLUME, volume_id)
        version = self._store.value("SELECT file_system FROM volumes WHERE id = ?", volume_id)
        return api_pb2.VolumeMetadata(version=version, name=volume.name, creation_info=volume.creation_info)

    def path(self, volume_id: str, sub_path: str = "") -> Path:
        """The folder that a container sees: the volume's, or one in it, which is made if need be."""
        return self.tree(volume_id).make_folder(sub_path)

    def tree(self, volume_id: str) -> VolumeTree:
        """The volume's files, for a client to reach; NOT_FOUND if there is no such volume."""
        self._objects.get(Kind.VOLUME, volume_id)
        return VolumeTree(self._root / volume_id, self._aside)

    async def commit(self, volume_id: str) -> int:
        """Returns when all that was written is on the disk; the number of commits so far."""
        process = await asyncio.create_subprocess_exec("sync", "--file-system", self.path(volume_id))
        await process.wait()
        with self._store.transaction():
            self._store.write("UPDATE volumes SET commits = commits + 1 WHERE id = ?", volume_id)
            return int(self._store.value("SELECT commits FROM volumes WHERE id = ?", volume_id))

    async def delete(self, volume_id: str) -> None:
        """Removes a volume and its files."""
        self._objects.delete(Kind.VOLUME, volume_id)
        await self.delete_unknown()

    async def delete_unknown(self) -> None:
        """Removes the folders of volumes that are no more."""
        known = {row["id"] for row in self._store.rows("SELECT id FROM volumes")}
        for path in self._root.glob(f"{Kind.VOLUME.value}-*"):
            if path.name not in known and path.exists():  # another round may have been faster
                gone = path.rename(self._aside / path.name)
                await asyncio.to_thread(shutil.rmtree, gone)


class VolumeTree(Tree):
    """What a client does to a volume's files. Everything here may take long: call it in a thread."""

    def __init__(self, root: Path, aside: Path) -> None:
        super().__init__(root)
        self._aside = aside

    def put(self, uploads: Iterable[Upload], *, overwrite: bool) -> None:
        """Writes files, each in one piece; ALREADY_EXISTS, with nothing written, if one may not be overwritten."""
        uploads = list(uploads)
        if taken := [upload.path for upload in uploads if not overwrite and self.exists(upload.path)]:
            raise GRPCError(Status.ALREADY_EXISTS, f"{taken[0]}: already exists")
        for upload in uploads:
            self._put(upload)

    def _put(self, upload: Upload) -> None:
        unfinished = self._aside / new_id("up")
        try:
            with unfinished.open("xb") as file:
                for index, piece in enumerate(upload.pieces):
                    file.seek(index * BLOCK)
                    with piece.open("rb") as source:
                        shutil.copyfileobj(source, file)
                file.truncate(upload.size)
            unfinished.chmod(upload.mode or _DEFAULT_MODE)
            self.place(unfinished, upload.path)
        finally:
            unfinished.unlink(missing_ok=True)

    def copy(self, sources: Sequence[str], target: str, *, recursive: bool) -> None:
        """Copies as UNIX `cp` does: into `target` if that is a folder, else to that path."""
        into = self.is_folder(target) or target.endswith("/")
        if len(sources) > 1 and not into:
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{target}' is not a folder: it can take one file only")
        for source in sources:
            node = self.node(source)
            if node.is_folder and not recursive:
                raise GRPCError(Status.INVALID_ARGUMENT, f"'{source}' is a folder: it takes the recursive option (-r)")
            self._copy(node, f"{target}/{PurePosixPath(source).name}" if into else target)

    def _copy(self, node: Node, target: str) -> None:
        if not node.is_folder:
            self._copy_node(node, target)
            return
        self.make_folder(target)
        for below in list(self.nodes(node.path, recursive=True)):
            path = f"{target}/{PurePosixPath(below.path).relative_to(node.path)}"
            self.make_folder(path) if below.is_folder else self._copy_node(below, path)

    def _copy_node(self, node: Node, target: str) -> None:
        if stat.S_ISLNK(node.status.st_mode):
            self.link(str((self.root / node.path).readlink()), target)
        elif stat.S_ISREG(node.status.st_mode):
            with self.open(node.path) as source:
                opened = Path(f"/proc/self/fd/{source.fileno()}")
                self._put(Upload(target, [opened], node.status.st_size, stat.S_IMODE(node.status.st_mode)))
