"""The disk below every container: a sparse ext4 image on a loop device, holding layers, upper layers and snapshots.

A disk of its own, because overlayfs refuses a layer that lies on the file system whose root is its lowest layer, and an
overlay on an overlay cannot be checkpointed.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from localmodal.worker import linux
from localmodal.worker.container import ContainerError

if TYPE_CHECKING:
    from localmodal.home import Home

_SHARE = 0.9
"""Of the space free at the time: the image is sparse, and full before the disk below it is (else: EIO, not ENOSPC)."""
_FORMAT = ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0")
_LEAST_FREE = 1 << 30


class DiskError(ContainerError):
    """The disk cannot be made or mounted: what is missing and what to do."""


class Disk:
    """`home.disk_image`, mounted at `home.disk`."""

    def __init__(self, home: Home) -> None:
        self._image = home.disk_image
        self.folder = home.disk

    async def mount(self) -> None:
        """Makes the image if there is none, and mounts it; nothing happens if it is mounted."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.folder.is_mount():
            return
        if not self._image.exists():
            await self._make()
        await _run("mount", "-o", "loop,discard", str(self._image), str(self.folder), remedy=_NO_LOOP)
        self.folder.chmod(0o700)

    def unmount(self) -> None:
        """Takes down every mount on the disk and the disk itself; the image file stays."""
        for point in linux.mount_points(self.folder):
            linux.unmount(point)

    async def _make(self) -> None:
        free = shutil.disk_usage(self._image.parent).free
        if free < _LEAST_FREE:
            raise DiskError(f"{self._image.parent} has {free >> 20} MiB free, containers need 1024: free space")
        part = self._image.with_suffix(".part")
        with part.open("wb") as file:
            file.truncate(int(free * _SHARE))
        await _run(*_FORMAT, str(part), remedy="install e2fsprogs")
        part.rename(self._image)


_NO_LOOP = "Containers need a loop device and the right to mount it."


async def _run(*command: str, remedy: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except FileNotFoundError as error:
        raise DiskError(f"{command[0]} is not installed: {remedy}") from error
    output, _ = await process.communicate()
    if process.returncode:
        words = " ".join(output.decode(errors="replace").split())
        raise DiskError(f"{' '.join(command)} failed ({process.returncode}): {words} {remedy}")
