"""Layers of an overlay over this machine's root; each command of a build runs in a container on top of those below."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localmodal.ids import new_id
from localmodal.images import installers
from localmodal.images.config import ImageConfig
from localmodal.images.environment import write_environment
from localmodal.images.files import make_folder, size_of
from localmodal.images.layer_folder import LayerFolder
from localmodal.images.layers import Command
from localmodal.images.running import run_to_its_end
from localmodal.worker.container import Bind, Launch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localmodal.images.layers import Placement
    from localmodal.images.pythons import Python
    from localmodal.worker.container import Output, Runtime

_OWN_BELOW_USR_LOCAL = ("bin", "etc", "games", "include", "lib", "man", "sbin", "share", "src")
"""Hidden where the machine has them. The rest stays: CUDA lies in /usr/local/cuda."""
_POLICY = "#!/bin/sh\nexit 101\n"
"""Keeps packages from starting services when they are installed (Debian's policy-rc.d)."""
_APT = (
    'APT::Keep-Downloaded-Packages "false";\nAcquire::Languages "none";\nDir::Cache::pkgcache "";\n'
    'Dir::Cache::srcpkgcache "";\nDPkg::Options { "--force-unsafe-io"; };\n'
)
"""Neither packages nor their translations stay in a layer; a layer that is lost half-way is made again, so no fsync."""
_FORMAT = "1"
"""Goes up when the content of the layers made here changes."""
_PLACE = """set -e
destination=$1 mode=$2 owner=$3; shift 3
case $destination in */) mkdir -p "$destination";; *) mkdir -p "$(dirname "$destination")";; esac
for source in "$@"; do
  if [ -d "$source" ]; then
    mkdir -p "$destination"
    tar -C "$source" ${mode:+--mode="$mode"} --owner="${owner%%:*}" --group="${owner#*:}" -cf - . |
      tar -C "$destination" --keep-directory-symlink --no-overwrite-dir --same-owner -xf -
  else
    target=$destination
    [ ! -d "$target" ] || target=${target%/}/${source##*/}
    cp --preserve=mode,timestamps "$source" "$target"
    chown "$owner" "$target"
    [ -z "$mode" ] || chmod "$mode" "$target"
  fi
done
"""
_AS_USER = """user=$1 group=$2; shift 2
exec setpriv --reuid="$user" --regid="${group:-$(id -g "$user" 2>/dev/null || echo 0)}" --clear-groups -- "$@"
"""
_PLACED_BELOW = "/run/coldsnap/files"


class ContainerLayers(LayerFolder):
    """See the protocol `Layers`. A layer that is being made has another name until it is whole."""

    kind = "container"

    async def machine(self) -> tuple[str, ...]:
        """This machine's root, less its /usr/local, plus what keeps package managers quiet."""
        return (await self._made("machine", [_POLICY, _APT], _write_machine),)

    async def python(self, python: Python, *, plain_name: bool) -> str:
        """The Python's own layer."""
        copied = not python.in_every_container

        def write(layer: Path) -> None:
            prefix = Path("/usr/local")
            write_environment(layer / "usr/local", python, prefix, copied=copied, plain_name=plain_name)

        return await self._made(f"python-{python.version}", [str(python.prefix), copied, plain_name], write)

    async def _made(self, name: str, depends_on: list[object], write: Callable[[Path], None]) -> str:
        digest = hashlib.sha256(json.dumps([_FORMAT, *depends_on]).encode()).hexdigest()
        return await self._made_once(f"{name}-{digest[:12]}", partial(_make_whole, write))

    async def draft(self, name: str, below: Sequence[str], output: Output) -> ContainerDraft:
        """Begins a layer."""
        shared = installers.for_containers(self._cache)
        return ContainerDraft(self._runtime, self._folder / name, self.stack(below), shared, output)

    def stack(self, names: Sequence[str]) -> tuple[Path, ...]:
        """Every layer on its own."""
        return tuple(self._folder / name for name in names)

    def seen(self, config: ImageConfig, names: Sequence[str]) -> ImageConfig:
        """As it is written: a container has a root of its own."""
        folders = config.env.get("PATH", "").split(":")
        places = [(f"{folder}/python", layer) for folder in folders for layer in self.stack(names)]
        found = (path for path, layer in places if os.path.lexists(layer / path.lstrip("/")))
        return replace(config, python=next(found, ""))


class ContainerDraft:
    """See the protocol `Draft`: the upper folder that one container after the other writes to."""

    def __init__(
        self, runtime: Runtime, layer: Path, below: tuple[Path, ...], shared: installers.Installers, output: Output
    ) -> None:
        self._runtime = runtime
        self._layer = layer
        self._part = _begin(layer)
        self._below = below
        self._shared = shared
        self._output = output

    async def run(self, command: Command) -> None:
        """Runs it in a container."""
        config, args = command.config, command.args
        if config.user not in {"", "root", "0"}:
            user, _, group = config.user.partition(":")
            args = ("/bin/sh", "-c", _AS_USER, "sh", user, group, *args)
        launch = Launch(
            id=new_id("bu"),
            args=args,
            env={"HOME": "/root", **self._shared.env, **config.env, **command.env},
            cwd=config.workdir or "/",
            layers=self._below,
            output=self._output,
            binds=(*self._shared.binds, *command.binds),
            purpose="build",
            keep_upper=self._part,
        )
        await run_to_its_end(self._runtime, launch)

    async def place(self, placement: Placement) -> None:
        """Copies in a container too: a path may lead over symbolic links of the layers below (/bin, /lib)."""
        names = [f"{_PLACED_BELOW}/{number}/{source.name}" for number, source in enumerate(placement.sources)]
        binds = [Bind(source, name, read_only=True) for source, name in zip(placement.sources, names, strict=True)]
        destination = f"{placement.destination.rstrip('/')}/" if placement.into_folder else placement.destination
        args = ("/bin/sh", "-c", _PLACE, "sh", destination, placement.mode, placement.owner or "0:0", *names)
        await self.run(Command(args, ImageConfig(), {}, tuple(binds), in_base=False))

    async def finish(self) -> int | None:
        """Renames it in one step."""
        await asyncio.to_thread(_remove_mount_points, self._part)
        size = await asyncio.to_thread(size_of, self._part)
        if not any(self._part.iterdir()):
            self._part.rmdir()
            return None
        self._part.rename(self._layer)
        return size

    async def discard(self) -> None:
        """Removes the upper folder."""
        await asyncio.to_thread(shutil.rmtree, self._part, ignore_errors=True)


def _begin(layer: Path) -> Path:
    """An empty folder beside the layer. Its mode becomes that of / in containers."""
    part = layer.with_name(f"{layer.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    part.chmod(0o755)
    return part


def _make_whole(write: Callable[[Path], None], layer: Path) -> None:
    part = _begin(layer)
    write(part)
    part.rename(layer)


def _write_machine(layer: Path) -> None:
    for name in _OWN_BELOW_USR_LOCAL:
        make_folder(layer / "usr/local" / name)
        os.setxattr(layer / "usr/local" / name, "trusted.overlay.opaque", b"y")
    for path, text, mode in (("usr/sbin/policy-rc.d", _POLICY, 0o755), ("etc/apt/apt.conf.d/90coldsnap", _APT, 0o644)):
        make_folder((layer / path).parent)
        (layer / path).write_text(text, encoding="utf-8")
        (layer / path).chmod(mode)


def _remove_mount_points(layer: Path) -> None:
    """What runc made to mount on, and nothing else: folders that are empty."""
    shutil.rmtree(layer / "run/coldsnap", ignore_errors=True)
    if (layer / "run").is_dir() and not any((layer / "run").iterdir()):
        (layer / "run").rmdir()
