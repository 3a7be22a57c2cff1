"""Builds an image on this machine: finds what its message refers to, then runs its lines."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from localmodal.images.bases import series_of_mount
from localmodal.images.build import Build, Inputs
from localmodal.images.config import ImageError
from localmodal.images.context import Context
from localmodal.worker.container import Bind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from modal_proto import api_pb2

    from localmodal.images.build import Built, Log
    from localmodal.images.layers import Layers
    from localmodal.objects.mounts import Mounts
    from localmodal.objects.secrets import Secrets
    from localmodal.objects.volumes import Volumes

    Tool = Callable[[str], Awaitable[Path]]
    """The folder of another image that may be copied from (`--from`); ImageError if it is not known here."""


class Builder(Protocol):
    """Who makes of an image's message what the control plane keeps of it."""

    async def build(self, name: str, image: api_pb2.Image, base: Built | None, tool: Tool, log: Log) -> Built:
        """The image, whole. `base`: what `FROM base` means. ContainerError, or OSError, if there is none of it."""


@dataclass(frozen=True)
class LocalBuilder:
    """See the protocol `Builder`."""

    layers: Layers
    mounts: Mounts
    secrets: Secrets
    volumes: Volumes
    temporary: Path

    async def build(self, name: str, image: api_pb2.Image, base: Built | None, tool: Tool, log: Log) -> Built:
        """Runs all lines."""
        _refuse_unserved(image)
        with tempfile.TemporaryDirectory(dir=self.temporary, prefix="context-") as folder:
            inputs = self._inputs(image, base, await self._context(image, tool, Path(folder)))
            return await Build(name, inputs, self.layers, log).run(image)

    def _inputs(self, image: api_pb2.Image, base: Built | None, context: Context) -> Inputs:
        return Inputs(
            base=base,
            context=context,
            secrets=self.secrets.environment(image.secret_ids),
            volumes=tuple(
                Bind(self.volumes.path(mount.volume_id, mount.sub_path), mount.mount_path, mount.read_only)
                for mount in image.volume_mounts
            ),
            build_args=dict(image.build_args),
        )

    async def _context(self, image: api_pb2.Image, tool: Tool, folder: Path) -> Context:
        for file in image.context_files:
            path = folder / file.filename.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
        folders, python = [folder], None
        if mount_id := image.context_mount_id:
            python = series_of_mount(self.mounts.name(mount_id))
            folders.append(await self.mounts.layer(mount_id))
        return Context(tuple(folders), tool, python)


def _refuse_unserved(image: api_pb2.Image) -> None:
    if image.HasField("build_function"):
        raise ImageError("Image.run_function is not served by the local builder: use run_commands instead")
    if image.gpu_config.gpu_type:
        raise ImageError(
            f"the layer asks for a {image.gpu_config.gpu_type} while it is built: the local builder gives no GPU to a"
            " build. Leave out `gpu=` of this layer; functions keep theirs."
        )
