"""Images without containers: each is a folder with a virtual environment at `usr/local`, grown out of its base's.

A path of an image that is one of `_INSIDE`, or lies in it, means that path below the image's folder, in every line of a
recipe; `/` alone means the folder. All other paths are this machine's own and are not written to: Linux sees to that
where it has Landlock (see `worker.plain.landlock`). Home is the image's `/root`, for its lines and for its programs.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from localmodal.ids import new_id
from localmodal.images import installers
from localmodal.images.environment import write_environment
from localmodal.images.files import copy_file, make_folder, replace_text, size_of
from localmodal.images.layer_folder import LayerFolder
from localmodal.images.layers import CommandError
from localmodal.images.running import run_to_its_end
from localmodal.images.system_lines import without_system_commands
from localmodal.worker.container import Launch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localmodal.images.config import ImageConfig
    from localmodal.images.layers import Command, Placement
    from localmodal.images.pythons import Python
    from localmodal.worker.container import Output, Runtime

_INSIDE = re.compile(r"(?<![\w./$}-])/(?:usr/local(?!/cuda)|\.uv|\.requirements\.txt|__modal|pkg|root|tmp)(?=[/\W]|$)")
_SHARED_FROM = 1 << 20
"""Bytes from which a file is linked, not copied, into an image that grows out of another: libraries and weights, which
are replaced as a whole. Smaller ones may be edited in place by any command, which must not change the base."""
_DENIED = re.compile(rb"permission denied(?! \(publickey)", re.IGNORECASE)
"""What programs say when they may not write to a file; ssh says something like it of another's machine."""
_WRITABLE = "without containers only /usr/local, /root and /tmp can be written to"
_OWN_FOLDERS = ("root", "tmp")
_USUAL_FOLDERS = ("etc", "include", "sbin", "share", "src")
"""What every /usr/local has, beside what an environment brings."""
_TEXT_WITH_OWN_PATH = ("**/bin/*", "**/pyvenv.cfg", "**/site-packages/*.pth")


class ProcessLayers(LayerFolder):
    """See the protocol `Layers`.

    An environment holds its own path, so each is made in its place; the database says which are whole, and `sweep`
    removes the others.
    """

    kind = "process"

    async def machine(self) -> tuple[str, ...]:
        """This machine as it is."""
        return ()

    async def python(self, python: Python, *, plain_name: bool) -> str:
        """An environment without packages."""
        name = f"python-{python.version}-{'plain' if plain_name else 'three'}"
        return await self._made_once(name, partial(_write_python, python, plain_name))

    async def draft(self, name: str, below: Sequence[str], output: Output) -> ProcessDraft:
        """Begins an environment as a copy of its base's."""
        layer = self._folder / name
        shutil.rmtree(layer, ignore_errors=True)
        await asyncio.to_thread(_grow, layer, self.stack(below))
        return ProcessDraft(self._runtime, layer, self.stack(below), installers.for_processes(self._cache), output)

    def stack(self, names: Sequence[str]) -> tuple[Path, ...]:
        """The uppermost alone: it has all that was below."""
        return tuple(self._folder / name for name in names[-1:])

    def seen(self, config: ImageConfig, names: Sequence[str]) -> ImageConfig:
        """With the paths that the image's programs really have."""
        return _with_python(_seen(config, *self.stack(names)))


class ProcessDraft:
    """See the protocol `Draft`: an environment, changed in its place."""

    def __init__(
        self, runtime: Runtime, layer: Path, base: tuple[Path, ...], shared: installers.Installers, output: Output
    ) -> None:
        self._runtime = runtime
        self._layer = layer
        self._base = base
        self._shared = shared
        self._output = output

    async def run(self, command: Command) -> None:
        """Runs it as a process, but for what would change the system."""
        if (args := await without_system_commands(command, self._output)) is None:
            return
        denied = False

        def output(descriptor: int, data: bytes) -> None:
            nonlocal denied
            denied = denied or bool(_DENIED.search(data))
            self._output(descriptor, data)

        try:
            await run_to_its_end(self._runtime, self._launch(args, command, output))
        except CommandError as error:
            raise CommandError(f"{error}: {_WRITABLE}" if denied else f"{error}") from error

    def _launch(self, args: tuple[str, ...], command: Command, output: Output) -> Launch:
        config = _seen(command.config, self._layer)
        folder = config.workdir if config.workdir != "/" else ""
        in_place = ("/bin/sh", "-c", 'cd "$0" && exec "$@"', folder or str(self._layer))
        return Launch(
            id=new_id("bu"),
            args=(*in_place, *(_inside(word, self._layer) for word in args)),
            env={**self._shared.env, **self._python, **config.env, **command.env},
            cwd="/",
            layers=(self._layer,),
            output=output,
            binds=command.binds,
            shared=self._shared.folders,
            purpose="build",
        )

    @property
    def _python(self) -> dict[str, str]:
        """Uv passes by virtual environments when it looks for a Python, and would take one of the machine."""
        python = self._layer / "usr/local/bin/python3"
        return {"UV_PYTHON": str(python)} if python.exists() else {}

    async def place(self, placement: Placement) -> None:
        """Copies files below the image's folder; CommandError for a path that lies outside."""
        for source in placement.sources:
            into = f"{placement.destination.rstrip('/')}/{source.name}"
            target = into if placement.into_folder and source.is_file() else placement.destination
            await asyncio.to_thread(self._place, source, target.rstrip("/"), placement.mode)

    def _place(self, source: Path, target: str, mode: str) -> None:
        if source.is_dir():
            make_folder(self._layer / target.lstrip("/"))
            for entry in source.iterdir():
                self._place(entry, f"{target}/{entry.name}", mode)
            return
        if not _INSIDE.match(target):
            raise CommandError(f"{target} cannot be written to: {_WRITABLE}")
        copy_file(source, self._layer / target.lstrip("/"))
        if mode:
            (self._layer / target.lstrip("/")).chmod(int(mode, 8))

    async def finish(self) -> int | None:
        """It is in its place."""
        own, *base = [await asyncio.to_thread(size_of, folder) for folder in (self._layer, *self._base)]
        return max(0, own - sum(base))

    async def discard(self) -> None:
        """Removes the environment."""
        await asyncio.to_thread(shutil.rmtree, self._layer, ignore_errors=True)


def _write_python(python: Python, plain_name: bool, layer: Path) -> None:  # noqa: FBT001
    prefix = layer / "usr/local"
    try:
        for name in _USUAL_FOLDERS:
            make_folder(prefix / name)
        write_environment(prefix, python, prefix, copied=False, plain_name=plain_name)
    except BaseException:
        shutil.rmtree(layer, ignore_errors=True)
        raise


def _grow(layer: Path, base: tuple[Path, ...]) -> None:
    for name in _OWN_FOLDERS:
        make_folder(layer / name)
    for folder in base:
        shutil.copytree(folder, layer, symlinks=True, copy_function=_copy_or_link, dirs_exist_ok=True)
        _move_own_paths(layer, str(folder), str(layer))


def _copy_or_link(source: str, target: str) -> None:
    if os.lstat(source).st_size >= _SHARED_FROM:
        os.link(source, target, follow_symlinks=False)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def _move_own_paths(layer: Path, old: str, new: str) -> None:
    for path in (path for pattern in _TEXT_WITH_OWN_PATH for path in layer.glob(pattern)):
        if path.is_symlink():
            if (target := str(path.readlink())).startswith(old):
                path.unlink()
                path.symlink_to(new + target.removeprefix(old))
        elif path.is_file() and path.stat().st_size < _SHARED_FROM:
            replace_text(path, old, new)


def _inside(text: str, layer: Path) -> str:
    return _INSIDE.sub(lambda found: f"{layer}{found[0]}", text)


def _seen(config: ImageConfig, layer: Path) -> ImageConfig:
    home = {"HOME": "/root"} if (layer / "root").is_dir() else {}  # the layer of a Python alone is nobody's home
    return replace(
        config,
        env={name: _inside(value, layer) for name, value in {**home, **config.env}.items()},
        workdir=_inside(config.workdir, layer),
        entrypoint=tuple(_inside(word, layer) for word in config.entrypoint),
    )


def _with_python(config: ImageConfig) -> ImageConfig:
    found = shutil.which("python", path=config.env.get("PATH", ""))
    return replace(config, python=found or "")
