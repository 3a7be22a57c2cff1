"""Containers without containers, for a machine that lets us make none: a tree of plain processes each.

What differs: no isolation, no limits, no snapshots; but a build cannot write to the machine's own files, where the
kernel can see to that. The image is a virtual environment. Of the layers (the client, the function's mounts) a program
sees what PYTHONPATH names, and in its working folder what they have there. A volume is a link at its path.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from localmodal.worker.container import Capabilities, ContainerError, Exit, Launch
from localmodal.worker.pipes import OutputPipes
from localmodal.worker.plain import landlock, supervisor
from localmodal.worker.plain.volume_links import VolumeLinks
from localmodal.worker.processes import kill_tree, processes_with_environment

if TYPE_CHECKING:
    import signal
    from collections.abc import Awaitable, Callable, Sequence

    from localmodal.home import Home

_PYTHON = (sys.executable, "-I", "-S")
"""For programs of ours that need the standard library alone."""
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"))
"""What programs write to as a matter of course; of the others some are disks."""
_MARK = "COLDSNAP_WORKER"
"""Environment variable by which a later daemon knows what belonged to an earlier one."""


class ProcessContainer:
    """A tree of processes below a supervisor; see the protocol `Container`."""

    def __init__(
        self,
        id_: str,
        supervising: asyncio.subprocess.Process,
        pipes: OutputPipes,
        tidy_up: Callable[[], Awaitable[None]],
    ) -> None:
        self.id = id_
        self._supervising = supervising
        self._pipes = pipes
        self._tidy_up = tidy_up
        self._end = asyncio.create_task(self._clean_up_at_the_end())

    async def wait(self) -> Exit:
        """Returns when all processes have ended."""
        return await asyncio.shield(self._end)

    async def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the program."""
        assert self._supervising.stdin, "it was started with a pipe"
        if not self._supervising.stdin.is_closing():
            self._supervising.stdin.write(bytes([number]))

    async def kill(self) -> None:
        """Ends every process."""
        assert self._supervising.stdin, "it was started with a pipe"
        self._supervising.stdin.close()
        await self.wait()

    async def connect(self, port: int) -> socket.socket:
        """A connection to 127.0.0.1:port of the machine, since the container has no network of its own."""
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        except BaseException:
            connection.close()
            raise
        return connection

    async def _clean_up_at_the_end(self) -> Exit:
        code = await self._supervising.wait()
        await self._pipes.drained()
        await self._tidy_up()
        return Exit(code if code >= 0 else 128 - code)


class ProcessRuntime:
    """See the protocol `Runtime`."""

    def __init__(self, home: Home, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        self._home = home
        self._running: WeakSet[ProcessContainer] = WeakSet()
        self._volumes = VolumeLinks(home.root / "volume-links")

    async def open(self) -> None:
        """Gets ready."""
        await self.sweep()

    async def close(self) -> None:
        """Ends what still runs."""
        await asyncio.gather(*(container.kill() for container in self._running))
        await self.sweep()

    async def run(self, launch: Launch) -> ProcessContainer:
        """Starts the program under a supervisor, in a folder of its own."""
        _refuse_what_cannot_be(launch)
        self._volumes.take(launch.binds)
        # A short name: programs make unix sockets in their folder for temporary files, and those have 107 bytes.
        folder = Path(tempfile.mkdtemp(dir=self._home.temporary, prefix=""))
        try:
            supervising, pipes = await self._supervise(launch, folder)
        except OSError as error:
            await self._tidy_up(folder, launch)
            raise ContainerError(f"{launch.args[0]} cannot be started: {error}") from error
        container = ProcessContainer(launch.id, supervising, pipes, lambda: self._tidy_up(folder, launch))
        self._running.add(container)
        return container

    async def _supervise(self, launch: Launch, folder: Path) -> tuple[asyncio.subprocess.Process, OutputPipes]:
        working, temporary = folder / "work", folder / "tmp"
        working.mkdir()
        temporary.mkdir()
        _link(working, launch.cwd, launch.layers)
        pipes = OutputPipes(launch.output)
        try:
            process = await asyncio.create_subprocess_exec(
                *(*_PYTHON, supervisor.__file__, *_confined(launch, folder)),
                stdin=asyncio.subprocess.PIPE,
                stdout=pipes.stdout,
                stderr=pipes.stderr,
                env=self._environment(launch, temporary),
                cwd=working,
                start_new_session=True,
            )
        finally:
            pipes.close_ours()
        return process, pipes

    def _environment(self, launch: Launch, temporary: Path) -> dict[str, str]:
        own = {"TMPDIR": str(temporary)}
        if launch.purpose == "function":
            own["PYTHONDONTWRITEBYTECODE"] = "1"  # it would be written into the layers, which are shared
        return {**own, **launch.env, "PYTHONPATH": _python_path(launch), _MARK: str(self._home.root)}

    async def _tidy_up(self, folder: Path, launch: Launch) -> None:
        self._volumes.leave(launch.binds)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def sweep(self) -> None:
        """Ends what an earlier daemon left behind: supervisors end with their daemon, unless they were killed too."""
        for pid in processes_with_environment(_MARK, str(self._home.root)):
            kill_tree(pid)
        self._volumes.sweep()
        self._home.clear()


def _refuse_what_cannot_be(launch: Launch) -> None:
    if shutil.which(launch.args[0], path=launch.env.get("PATH", os.defpath)) is None:
        raise ContainerError(f"there is no program {launch.args[0]} on this machine")


def _confined(launch: Launch, folder: Path) -> tuple[str, ...]:
    """The command; that of a build can write to its own files alone. `folder`: the one that it works in."""
    if launch.purpose != "build":
        return launch.args
    volumes = (bind.source for bind in launch.binds if not bind.read_only)
    writable = map(str, (folder, *launch.layers, *launch.shared, *volumes, *_DEVICES))
    return (*_PYTHON, landlock.__file__, *writable, "--", *launch.args)


def _link(folder: Path, cwd: str, layers: Sequence[Path]) -> None:
    """Fills the working folder with links to what the layers have at `cwd`: writes must not end up there."""
    for layer in layers:
        source = _in_layer(cwd, layer, layers)
        for entry in source.iterdir() if source.is_dir() else ():
            (folder / entry.name).unlink(missing_ok=True)
            (folder / entry.name).symlink_to(entry)


def _python_path(launch: Launch) -> str:
    """Each entry of PYTHONPATH wherever a layer has it, the uppermost first."""
    entries = filter(None, launch.env.get("PYTHONPATH", "").split(os.pathsep))
    found = [_in_layer(entry, layer, launch.layers) for entry in entries for layer in reversed(launch.layers)]
    return os.pathsep.join(dict.fromkeys(str(path) for path in found if path.is_dir()))


def _in_layer(path: str, layer: Path, layers: Sequence[Path]) -> Path:
    """Where a layer has a path of the container; images say their own paths in full, with their layer's before them."""
    inside = next((path.removeprefix(str(each)) for each in layers if path.startswith(f"{each}/")), path)
    return layer / inside.lstrip("/")
