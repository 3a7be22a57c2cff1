"""Memory snapshots by CRIU, through `runc checkpoint` and `runc restore`.

A snapshot's folder:
    image/   as CRIU wrote it
    mapped/  the same image with large memory mapped instead of read (see `mapped.py`)
    memory/  the memory files that `mapped/` names, which the container sees at /.memory
    upper/   what the container had written: the top layers of every copy, the lowest first. One of an original,
             one more of a copy that was snapshotted again
The memory files are those of `image/` under a second name: a snapshot takes its memory's size once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from localmodal.worker.container import ContainerError, Launch
from localmodal.worker.oci.bundle import MEMORY
from localmodal.worker.oci.runc import RuncContainer, RuncRuntime
from localmodal.worker.snapshots.connections import connections_to_outside
from localmodal.worker.snapshots.criu_images import ImageError
from localmodal.worker.snapshots.kernel_data import KernelData
from localmodal.worker.snapshots.mapped import map_image
from localmodal.worker.snapshots.protocol import Snapshot, SnapshotError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from localmodal.home import Home
    from localmodal.worker.container import Container

log = logging.getLogger(__name__)

_FORMAT = 3
"""Of a snapshot's folder. A change makes every older snapshot another one, which nobody asks for."""
_IMAGE, _MAPPED, _MEMORY, _UPPER = "image", "mapped", "memory", "upper"
_OWN_MEMORY = re.compile(r"^(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB", re.MULTILINE)
_SPARE = 64 << 20
"""Bytes that stay free beside a snapshot: CRIU's small files, and what the container writes meanwhile."""


@dataclass(frozen=True)
class _Copy:
    """A container that is being restored, or was and runs."""

    of: Snapshot
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class CriuSnapshotter:
    """See the protocol `Snapshotter`. `mapped`: False restores every snapshot as CRIU wrote it, by reading it."""

    def __init__(
        self, home: Home, runtime: RuncRuntime, kernel_data: KernelData, version: str, *, mapped: bool = True
    ) -> None:
        self.version = version
        self._home = home
        self._runtime = runtime
        self._kernel_data = kernel_data
        self._use_mapped = mapped
        self._copies: dict[str, _Copy] = {}

    @classmethod
    async def open(cls, home: Home, runtime: RuncRuntime, criu: Path) -> CriuSnapshotter:
        """Gets CRIU ready. COLDSNAP_MAPPED_SNAPSHOTS=0 in the daemon's environment turns mapping off."""
        kernel_data = KernelData(home.root / "criu-kernel-data", criu)
        await kernel_data.make()
        mapped = os.environ.get("COLDSNAP_MAPPED_SNAPSHOTS") != "0"
        version = f"{_FORMAT} {await _said(str(criu), '--version')} {await _said('runc', '--version')}"
        return cls(home, runtime, kernel_data, version, mapped=mapped)

    async def checkpoint(self, container: Container, into: Path) -> None:
        """Writes a snapshot into the folder `into`, which is there and empty; the container runs on."""
        assert isinstance(container, RuncContainer), "a snapshotter works with the runtime that it was made for"
        processes = container.bundle.cgroup.processes()
        self._refuse_without_space(container, processes, into)
        if connections := connections_to_outside(processes):
            raise SnapshotError(
                f"connected over TCP to what is not in the container ({', '.join(connections)}), and a copy would wait "
                f"for an answer for ever: close the connection before the snapshot"
            )
        async with self._paused(container):
            await self._dump(container, into / _IMAGE)
            await self._keep_files(container, into)
        if self._use_mapped:
            await asyncio.to_thread(self._map, into)

    async def restore(self, launch: Launch, snapshot: Snapshot) -> RuncContainer:
        """Starts a copy. If the mapped image cannot be restored, the one that CRIU wrote is tried before giving up."""
        self._copies[launch.id] = _Copy(snapshot)
        try:
            container = await self._restore_either(launch, snapshot)
        except BaseException:
            self._ended(launch.id)
            raise
        end = asyncio.create_task(container.wait())
        end.add_done_callback(lambda _: self._ended(launch.id))
        return container

    async def discard(self, snapshot: Snapshot) -> None:
        """Removes the files once the last copy has ended: a copy goes on reading what the original had written."""
        copies = [copy for copy in self._copies.values() if copy.of.name == snapshot.name]
        await asyncio.gather(*(copy.ended.wait() for copy in copies))
        await asyncio.to_thread(shutil.rmtree, snapshot.folder, ignore_errors=True)

    async def _restore_either(self, launch: Launch, snapshot: Snapshot) -> RuncContainer:
        if self._use_mapped and (snapshot.folder / _MAPPED).is_dir():
            try:
                return await self._restore(launch, snapshot, _MAPPED)
            except SnapshotError as error:
                log.warning("%s: %s. Trying the image as CRIU wrote it.", launch.id, error)
        return await self._restore(launch, snapshot, _IMAGE)

    async def _restore(self, launch: Launch, snapshot: Snapshot, image: str) -> RuncContainer:
        layers = (*launch.layers, *sorted((snapshot.folder / _UPPER).iterdir()))
        bundle = await self._runtime.prepare(replace(launch, layers=layers), snapshot.folder / _MEMORY)
        with self._work_folder() as work:
            options = ("--image-path", str(snapshot.folder / image), "--work-path", work)
            try:
                return await self._runtime.start(bundle, "restore", *options, enter=self._kernel_data.enter)
            except ContainerError as error:
                raise SnapshotError(f"restore failed: {_reason(Path(work, 'restore.log'), error)}") from error

    def _ended(self, container_id: str) -> None:
        self._copies.pop(container_id).ended.set()

    async def _keep_files(self, container: RuncContainer, into: Path) -> None:
        """A copy still uses its snapshot's memory files and layers: a snapshot of it needs them, and then its own."""
        names = (_MEMORY, _UPPER)
        if copy := self._copies.get(container.id):
            await asyncio.gather(*(_copy_tree(copy.of.folder / name, into / name, "--link") for name in names))
        for name in names:
            (into / name).mkdir(exist_ok=True)
        count = len(list((into / _UPPER).iterdir()))
        await _copy_tree(container.bundle.rootfs.upper, into / _UPPER / f"{count:03}")

    async def _dump(self, container: RuncContainer, image: Path) -> None:
        with self._work_folder() as work:
            options = ("--leave-running", "--image-path", str(image), "--work-path", work)
            try:
                await self._runtime.runc("checkpoint", *options, container.id, enter=self._kernel_data.enter)
            except ContainerError as error:
                raise SnapshotError(f"CRIU cannot dump it: {_reason(Path(work, 'dump.log'), error)}") from error

    def _map(self, folder: Path) -> None:
        try:
            done = map_image(folder / _IMAGE, folder / _MAPPED, folder / _MEMORY, MEMORY)
            log.info("snapshot: %d MiB are mapped, %d MiB are read", done.bytes_mapped >> 20, done.bytes_read >> 20)
        except ImageError as error:
            log.warning("snapshot: it stays as CRIU wrote it, to be read at each restore: %s", error)
            shutil.rmtree(folder / _MAPPED, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def _paused(self, container: RuncContainer) -> AsyncIterator[None]:
        """What it has written must be of the same moment as its memory: CRIU refuses a file of another size."""
        await self._runtime.runc("pause", container.id)
        try:
            yield
        finally:
            await self._runtime.runc("resume", container.id)

    def _refuse_without_space(self, container: RuncContainer, processes: Iterable[int], into: Path) -> None:
        needed = sum(map(_own_memory, processes)) + _tree_size(container.bundle.rootfs.upper) + _SPARE
        free = min(shutil.disk_usage(place).free for place in (into, self._home.root))
        if free < needed:
            raise SnapshotError(
                f"no disk space for a snapshot: it takes about {needed >> 20} MiB, {self._home.root} has "
                f"{free >> 20} MiB free. Free some space; the next cold start tries again"
            )

    def _work_folder(self) -> tempfile.TemporaryDirectory[str]:
        """Where CRIU leaves its log."""
        return tempfile.TemporaryDirectory(dir=self._home.temporary, prefix="criu-")


def _own_memory(process: int) -> int:
    """Bytes that CRIU would write for a process: what is in no file."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace")
        return sum(int(kib) << 10 for kib in _OWN_MEMORY.findall(status))
    return 0


def _tree_size(folder: Path) -> int:
    return sum(Path(where, name).lstat().st_blocks * 512 for where, _, names in os.walk(folder) for name in names)


async def _copy_tree(source: Path, target: Path, *options: str) -> None:
    """With everything that overlayfs keeps in extended attributes and device files."""
    process = await asyncio.create_subprocess_exec(
        "cp", "--archive", *options, str(source), str(target), stdin=DEVNULL, stderr=PIPE
    )
    _, complaint = await process.communicate()
    if process.returncode:
        raise SnapshotError(f"what the container wrote cannot be copied: {complaint.decode(errors='replace').strip()}")


async def _said(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE)
    output, _ = await process.communicate()
    return " ".join(output.decode(errors="replace").split())


def _reason(log_file: Path, error: Exception) -> str:
    """The first complaints in CRIU's log; those after them are consequences, and RLIMIT_NOFILE is always there."""
    try:
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return str(error)
    complaints = [line.partition("): ")[2] for line in lines if "Error (" in line and "RLIMIT_NOFILE" not in line]
    return " / ".join(complaints[:3]) or str(error)
