"""Containers by runc: a bundle, a root, a network and a control group each, and nothing of it left afterwards."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from localmodal.worker import linux
from localmodal.worker.child import Child
from localmodal.worker.container import Capabilities, ContainerError, Exit, Launch
from localmodal.worker.oci.bundle import write_bundle
from localmodal.worker.oci.cgroup import Cgroup, cgroups_named
from localmodal.worker.oci.disk import Disk
from localmodal.worker.oci.masks import Masks
from localmodal.worker.oci.rootfs import Rootfs
from localmodal.worker.pipes import OutputPipes
from localmodal.worker.processes import kill_tree, processes_with_argument

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from localmodal.home import Home
    from localmodal.worker.networks.network import Network, NetworkPool

log = logging.getLogger(__name__)

CRIU_OPTIONS = (
    "manage-cgroups=ignore",
    "network-lock skip",
    "tcp-established",
    "ext-unix-sk",
    "file-locks",
    "skip-file-rwx-check",
    "ghost-limit 1G",
    *(f"irmap-scan-path /{folder}" for folder in ("tmp", "root", "srv", "opt", "home", "usr/local", "var/tmp")),
)
"""Read by CRIU through an annotation of the bundle.
manage-cgroups: runc puts CRIU, and so the copy, into the copy's group. Under cgroup v2 CRIU would move it on into the
original's, and the copies would end with the original. (Its value is optional, so it needs the equals sign.)
network-lock: without it CRIU looks for iptables, and the dump fails.
ghost-limit: the largest file that may be open without a name. irmap: where it looks for folders watched by inotify,
which overlayfs cannot find by their handles. Not link-remap: that leaves a file in the upper layer for the dump alone,
so what we keep of the layer lacks it; a file whose name is gone but has another one is refused at the dump instead.
"""


@dataclass(frozen=True)
class Bundle:
    """All that a container needs, ready for `runc run` or `runc restore`."""

    launch: Launch
    folder: Path
    rootfs: Rootfs
    cgroup: Cgroup
    network: Network | None

    async def remove(self) -> None:
        """Takes everything down; the container has ended, or was never started."""
        await asyncio.to_thread(self.cgroup.kill)
        self.cgroup.remove()
        if self.network:
            await self.network.close()
        await asyncio.to_thread(self.rootfs.remove)


class RuncContainer:
    """A container that runs; see the protocol `Container`."""

    def __init__(self, runtime: RuncRuntime, bundle: Bundle, pipes: OutputPipes, pid: int) -> None:
        self.id = bundle.launch.id
        self.bundle = bundle
        self._runtime = runtime
        self._pipes = pipes
        self._init = Child(pid)
        self._end = asyncio.create_task(self._clean_up_at_the_end())

    @property
    def pid(self) -> int:
        """The first process, as this machine numbers it."""
        return self._init.pid

    async def wait(self) -> Exit:
        """Returns when the container has ended and nothing of it is left."""
        return await asyncio.shield(self._end)

    async def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the first process. Without a handler there, all but SIGKILL and SIGSTOP are ignored."""
        self._init.signal(number)

    async def kill(self) -> None:
        """Ends every process: the kernel ends a PID namespace with its first process."""
        self._init.signal(signal.SIGKILL)
        await self.wait()

    async def connect(self, port: int) -> socket.socket:
        """A connection to 127.0.0.1:port inside the container."""
        if self.bundle.network is None:
            raise ConnectionRefusedError(f"container {self.id} has no network of its own")
        return await self.bundle.network.connect(port)

    async def _clean_up_at_the_end(self) -> Exit:
        code = await self._init.wait()
        out_of_memory = code != 0 and self.bundle.cgroup.ran_out_of_memory()
        await self._pipes.drained()
        await self._runtime.forget(self.bundle)
        return Exit(code, out_of_memory)


class RuncRuntime:
    """See the protocol `Runtime`. `path`: where runc finds CRIU, as a value for PATH."""

    def __init__(self, home: Home, networks: NetworkPool, capabilities: Capabilities, path: str) -> None:
        self.capabilities = capabilities
        self.disk = Disk(home)
        self._home = home
        self._running: WeakSet[RuncContainer] = WeakSet()
        self._networks = networks
        self._path = path
        self._state = home.root / "runc"
        self._containers = self.disk.folder / "containers"
        self._masks = Masks(self.disk.folder / "masks", ours=(home.root.parent,))
        self._prefix = f"coldsnap-{home.tag}-"

    async def open(self) -> None:
        """Mounts the disk and gets the first networks ready."""
        linux.adopt_orphans()
        await self.disk.mount()
        await self.sweep()
        self._masks.clear()
        self._containers.mkdir(exist_ok=True)
        self._no_memory.mkdir(exist_ok=True)
        self._criu_options.write_text("".join(f"{line}\n" for line in CRIU_OPTIONS), encoding="utf-8")
        await self._networks.open()

    async def close(self) -> None:
        """Ends what still runs and unmounts the disk."""
        try:
            await asyncio.gather(*(container.kill() for container in self._running))
            await self._networks.close()
        finally:
            await self.sweep()
            self.disk.unmount()

    async def run(self, launch: Launch) -> RuncContainer:
        """Starts a container."""
        return await self.start(await self.prepare(launch), "run")

    async def prepare(self, launch: Launch, memory: Path | None = None) -> Bundle:
        """Gets everything ready. `memory`: the folder of the snapshot that the container will be restored from."""
        network = await self._networks.take() if launch.purpose == "function" else None
        folder = self._containers / launch.id
        folder.mkdir(mode=0o700)
        rootfs = Rootfs(folder, launch.keep_upper or folder / "upper")
        bundle = Bundle(launch, folder, rootfs, Cgroup(self._prefix + launch.id), network)
        try:
            if network and not launch.internet:
                network.cut_off()
            rootfs.mount(launch.layers, self._masks.current())
            self._write_configuration(bundle, memory or self._no_memory)
        except BaseException:
            await bundle.remove()
            raise
        return bundle

    def _write_configuration(self, bundle: Bundle, memory: Path) -> None:
        network = bundle.network.path if bundle.network else None
        root, cgroup = bundle.rootfs.path, bundle.cgroup.path
        write_bundle(bundle.folder, bundle.launch, root, network, cgroup, memory, self._criu_options)

    async def start(
        self, bundle: Bundle, command: str, *options: str, enter: Callable[[], None] | None = None
    ) -> RuncContainer:
        """Runs `runc run` or `runc restore` on a bundle; ContainerError if that fails, and nothing is left then."""
        pipes = OutputPipes(bundle.launch.output)
        pid_file = bundle.folder / "pid"
        arguments = (command, *options, "--detach", "--bundle", bundle.folder, "--pid-file", pid_file, bundle.launch.id)
        try:
            await self.runc(*map(str, arguments), stdout=pipes.stdout, stderr=pipes.stderr, enter=enter)
            pid = int(pid_file.read_text())
        except BaseException:
            pipes.close_ours()
            await self.forget(bundle)
            raise
        pipes.close_ours()
        container = RuncContainer(self, bundle, pipes, pid)
        self._running.add(container)
        return container

    async def runc(
        self,
        *arguments: str,
        stdout: int | None = None,
        stderr: int | None = None,
        enter: Callable[[], None] | None = None,
    ) -> None:
        """Runs runc; ContainerError with the last of its own log if it fails.

        `enter`: called in the thread that starts runc, to move it to other namespaces before.
        """
        log_file = self._state / f"{os.urandom(8).hex()}.log"
        command = ("runc", "--root", str(self._state), "--log", str(log_file), "--log-format", "json", *arguments)
        process = Child(await asyncio.to_thread(self._spawn, command, stdout, stderr, enter))
        try:
            if await process.wait():
                raise ContainerError(f"runc {arguments[0]} failed: {_last_words(log_file)}")
        finally:
            process.signal(signal.SIGKILL)  # if this was cancelled
            log_file.unlink(missing_ok=True)

    def _spawn(
        self, command: tuple[str, ...], stdout: int | None, stderr: int | None, enter: Callable[[], None] | None
    ) -> int:
        """Not asyncio's way: a process is born in the namespaces of the thread that starts it."""
        program = shutil.which(command[0], path=self._path) or command[0]
        with Path(os.devnull).open("r+b") as nothing:
            streams = [nothing.fileno() if stream is None else stream for stream in (None, stdout, stderr)]
            actions = [(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)]

            def spawn() -> int:
                if enter:
                    enter()
                return os.posix_spawn(program, [*command], {"PATH": self._path}, file_actions=actions)

            return linux.in_own_thread(spawn)

    async def forget(self, bundle: Bundle) -> None:
        """Has runc forget a container that has ended or never came to be, and takes its bundle down."""
        try:
            await self.runc("delete", "--force", bundle.launch.id)
        except ContainerError as error:
            log.warning("%s: %s", bundle.launch.id, error)
        await bundle.remove()

    async def sweep(self) -> None:
        """Ends and removes everything that an earlier daemon left behind, at whatever moment it was killed."""
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        for pid in processes_with_argument(str(self._state)):
            kill_tree(pid)
        for cgroup in cgroups_named(self._prefix):
            cgroup.kill()
            cgroup.remove()
        for point in linux.mount_points(self._containers):
            linux.unmount(point)
        shutil.rmtree(self._containers, ignore_errors=True)
        shutil.rmtree(self._state)
        self._state.mkdir(mode=0o700)
        self._home.clear()

    @property
    def _no_memory(self) -> Path:
        return self.disk.folder / "no-memory"

    @property
    def _criu_options(self) -> Path:
        return self._state / "criu.conf"


def _last_words(log_file: Path) -> str:
    """What runc said last, without the trappings of its log."""
    try:
        lines = log_file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return "it left no log"
    return " / ".join(json.loads(line)["msg"] for line in lines[-3:]) or "it left no log"
