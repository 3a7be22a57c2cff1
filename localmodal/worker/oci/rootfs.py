"""A container's root: one overlay of its own writes, the image's layers, the mask and this machine's root."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localmodal.worker import linux
from localmodal.worker.container import ContainerError
from localmodal.worker.linux import in_own_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTIONS_LIMIT = 4095
"""mount(2) takes one page of options."""


@dataclass(frozen=True)
class Rootfs:
    """The root of one container, in the container's folder on the disk."""

    folder: Path
    upper: Path
    """The container's own writes: the layer that a build step leaves, and a part of every snapshot."""

    @property
    def path(self) -> Path:
        """Where it is mounted."""
        return self.folder / "root"

    def mount(self, layers: Sequence[Path], mask: Path) -> None:
        """Mounts it. `layers`: the lowest first; below them lie the mask and this machine's root."""
        work = self.folder / "work"
        for path in (self.upper, self.path, work):
            path.mkdir(parents=True, exist_ok=True)
        lower = ":".join(_escaped(path, self.folder) for path in (*reversed(layers), mask, Path("/")))
        upper = _escaped(self.upper, self.folder)
        options = f"lowerdir={lower},upperdir={upper},workdir={_escaped(work, self.folder)}"
        _refuse_what_the_kernel_would(layers, options)
        in_own_thread(lambda: _mount_overlay(self, options))

    def remove(self) -> None:
        """Unmounts it and removes the container's folder; an upper folder that lies elsewhere stays."""
        linux.unmount(self.path)
        shutil.rmtree(self.folder, ignore_errors=True)


def _mount_overlay(rootfs: Rootfs, options: str) -> None:
    linux.change_folder(rootfs.folder)  # paths relative to it keep the options short
    linux.mount("overlay", rootfs.path, "overlay", options=options)


def _refuse_what_the_kernel_would(layers: Sequence[Path], options: str) -> None:
    """In words, where mount(2) would say ELOOP, ENOENT or EINVAL."""
    root_device = Path("/").stat().st_dev
    for layer in layers:
        if not layer.is_dir():
            raise ContainerError(f"layer {layer} is not there: make its image or mount again")
        if layer.stat().st_dev == root_device:
            raise ContainerError(f"layer {layer} lies on the root's file system; layers must lie on the mounted disk")
    if len(options) > _OPTIONS_LIMIT:
        raise ContainerError(f"{len(layers)} layers are too many: their paths take {len(options)} bytes of one page")


def _escaped(path: Path, start: Path) -> str:
    """Overlayfs separates by colons and commas."""
    short = "/" if path == Path("/") else os.path.relpath(path, start)
    return short.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
