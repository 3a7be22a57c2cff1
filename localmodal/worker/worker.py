"""Starts tasks in containers: cold, or from a memory snapshot where one is at hand; takes the snapshots.

A task with snapshots, in order:
1. no snapshot of its key: a cold start, with MODAL_ENABLE_SNAP_RESTORE
2. the client's entrypoint loads, calls ContainerCheckpoint and closes its connections
3. the worker dumps the container, which runs on, and adds the dump to the library
4. it writes restore-state.json, for which the entrypoint has been waiting, and the task goes on
5. the next start of that key: restore-state.json first, then a copy from the dump, which goes on at 4
"""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmodal.worker.capabilities import capabilities_of_this_machine, find_tools
from localmodal.worker.entrypoint import container_launch, write_arguments, write_restore_state
from localmodal.worker.networks.network import NetworkPool
from localmodal.worker.networks.uplink import Uplink
from localmodal.worker.oci.runc import RuncRuntime
from localmodal.worker.plain.process import ProcessRuntime
from localmodal.worker.snapshot_key import snapshot_key
from localmodal.worker.snapshots.criu import CriuSnapshotter
from localmodal.worker.snapshots.library import SnapshotLibrary
from localmodal.worker.snapshots.protocol import SnapshotError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from pathlib import Path
    from typing import Any

    from modal_proto import api_pb2

    from localmodal.home import Home
    from localmodal.worker.capabilities import Tools
    from localmodal.worker.container import Bind, Capabilities, Container, Exit, Launch, Output
    from localmodal.worker.networks.network import ServeHttp
    from localmodal.worker.snapshots.protocol import Snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskLaunch:
    """All that a task is started from. The control plane has made `home.run / task_id` with `api.sock` in it before."""

    task_id: str
    arguments: api_pb2.ContainerArguments
    """Complete, `checkpoint_id` too where the function wants a snapshot. Its resources become the limits."""
    layers: tuple[Path, ...]
    """The lowest first: the image's, the client's, the function's mounts."""
    python: str
    """The image's interpreter, as an absolute path inside the container."""
    env: Mapping[str, str]
    """The image's environment and the secrets; the worker adds what the client's entrypoint needs."""
    workdir: str
    output: Output
    api_closed: Callable[[], Awaitable[None]]
    """Returns when the container holds no connection to its `api.sock`; the control plane cuts them after a second."""
    binds: tuple[Bind, ...] = ()
    """Volumes."""
    snapshots: bool = True
    """False: start cold and take no snapshot (the function wants none, or the control plane lost faith in them)."""


class RunningTask:
    """A task's container, from its start to its end."""

    def __init__(self, launch: TaskLaunch, container: Container, snapshot: Snapshot | None, key: str | None) -> None:
        self.task_id = launch.task_id
        self.launch = launch
        self.container = container
        self.restored = snapshot is not None
        """True: the container is a copy of `snapshot`; False: a cold start."""
        self.snapshot = snapshot.name if snapshot else None
        """The name of the snapshot that it was restored from."""
        self.key = key
        """Of the snapshot that is to be taken of it; None: none is."""

    @property
    def snapshotting(self) -> bool:
        """A cold start that will ask for a checkpoint."""
        return self.key is not None

    async def wait(self) -> Exit:
        """Returns when the container has ended and nothing of it is left; may be called by many."""
        return await self.container.wait()

    async def stop(self, grace: float) -> Exit:
        """Asks the container to end (SIGTERM for a server, else SIGINT, as the entrypoint expects), later kills it."""
        is_server = self.launch.arguments.function_def.is_server
        await self.container.signal(signal.SIGTERM if is_server else signal.SIGINT)
        try:
            async with asyncio.timeout(grace):
                return await self.container.wait()
        except TimeoutError:
            await self.container.kill()
            return await self.container.wait()

    async def kill(self) -> None:
        """Ends every process of the container and waits until nothing of it is left."""
        await self.container.kill()

    async def connect(self, port: int) -> socket.socket:
        """A connection to 127.0.0.1:port inside the container; ConnectionRefusedError if nothing listens."""
        return await self.container.connect(port)


@dataclass(frozen=True)
class Snapshots:
    """Memory snapshots on this machine."""

    library: SnapshotLibrary
    snapshotter: CriuSnapshotter


class Worker:
    """Runs tasks on this machine."""

    def __init__(self, home: Home, runtime: RuncRuntime | ProcessRuntime, snapshots: Snapshots | None = None) -> None:
        self.runtime = runtime
        self.snapshots = snapshots
        """None where this machine can take none."""
        self._home = home
        self._tasks: dict[str, RunningTask] = {}
        self._being_taken: set[str] = set()
        self._at_work: set[asyncio.Task[None]] = set()

    @property
    def capabilities(self) -> Capabilities:
        """What this machine can do, and what is missing for more."""
        return self.runtime.capabilities

    @classmethod
    async def open(cls, home: Home, http_port: int, serve_http: ServeHttp) -> Worker:
        """Looks at what this machine can do, sweeps what an earlier daemon left, and gets ready to start tasks."""
        tools = await find_tools(home)
        capabilities = await capabilities_of_this_machine(home, tools)
        if not capabilities.containers:
            processes = ProcessRuntime(home, capabilities)
            await processes.open()
            return cls(home, processes)
        networks = NetworkPool(http_port, serve_http, Uplink(home.tag, home.root / "forwarding-is-ours"))
        runtime = RuncRuntime(home, networks, capabilities, tools.path)
        await runtime.open()
        return cls(home, runtime, await _open_snapshots(home, runtime, tools))

    async def start(self, launch: TaskLaunch) -> RunningTask:
        """Starts a task from its snapshot if there is a good one, else cold. ContainerError if neither can start."""
        key = snapshot_key(launch) if self.snapshots and launch.snapshots else None
        task = await self._restore(launch, key) if key else None
        task = task or await self._start_cold(launch, key)
        self._tasks[launch.task_id] = task
        self._background(self._forget_at_the_end(task))
        return task

    async def checkpoint(self, task_id: str) -> None:
        """Serves ContainerCheckpoint, in the background: waits for `api_closed`, takes the snapshot, lets it go on.

        Never raises: without a snapshot the task goes on all the same, and the reason is in its log and the daemon's.
        """
        task = self._tasks[task_id]
        try:
            await task.launch.api_closed()
            await self._take_snapshot(task)
        except SnapshotError as error:
            log.warning("%s: no memory snapshot: %s. It goes on without.", task.task_id, error)
            _tell(task.launch, f"No memory snapshot: {error}.")
        except Exception:
            log.exception("%s: no memory snapshot. It goes on without.", task.task_id)
        finally:
            write_restore_state(task.launch, self._folder(task.launch))

    def mark_bad(self, snapshot: str, reason: str) -> None:
        """A copy of that snapshot ended before it asked for work: no other is made of it."""
        assert self.snapshots, "a task was restored, so there are snapshots"
        self.snapshots.library.mark_bad(snapshot, reason)

    def discard_snapshots_of_all_but(self, function_ids: set[str]) -> None:
        """Discards the snapshots of functions that are gone."""
        if self.snapshots:
            self.snapshots.library.discard_all_but(function_ids)

    async def close(self) -> None:
        """Ends every task and takes down what was set up ahead of time; mounts of the disk too."""
        await asyncio.gather(*(task.kill() for task in list(self._tasks.values())))
        await self.runtime.close()

    async def _start_cold(self, launch: TaskLaunch, key: str | None) -> RunningTask:
        wanted = key if key and self.snapshots and self.snapshots.library.wanted(key) else None
        if key and self.snapshots and (doubt := self.snapshots.library.doubt(key)):
            _tell(launch, doubt)
        write_arguments(launch, self._folder(launch))
        container = await self.runtime.run(self._container_launch(launch, snapshots=wanted is not None))
        return RunningTask(launch, container, None, wanted)

    async def _restore(self, launch: TaskLaunch, key: str) -> RunningTask | None:
        """None if there is no snapshot, or if it turned out bad."""
        assert self.snapshots, "there is a key only where there are snapshots"
        if (snapshot := await self.snapshots.library.find(key)) is None:
            return None
        write_restore_state(launch, self._folder(launch))
        try:
            copy = await self.snapshots.snapshotter.restore(self._container_launch(launch, snapshots=True), snapshot)
        except SnapshotError as error:
            self.mark_bad(snapshot.name, str(error))
            return None
        return RunningTask(launch, copy, snapshot, None)

    async def _take_snapshot(self, task: RunningTask) -> None:
        assert self.snapshots, "a task is told to ask for a snapshot only where there are some"
        key = task.key
        if key is None or key in self._being_taken or not self.snapshots.library.wanted(key):
            return  # another container was faster
        self._being_taken.add(key)
        try:
            await self.snapshots.library.add(key, task.container)
        finally:
            self._being_taken.discard(key)

    def _container_launch(self, launch: TaskLaunch, *, snapshots: bool) -> Launch:
        isolated = self.capabilities.containers
        return container_launch(launch, self._folder(launch), isolated=isolated, snapshots=snapshots)

    def _folder(self, launch: TaskLaunch) -> Path:
        return self._home.run / launch.task_id

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        """Keeps a reference: the event loop itself does not."""
        task = asyncio.create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _forget_at_the_end(self, task: RunningTask) -> None:
        await task.wait()
        del self._tasks[task.task_id]


def _tell(launch: TaskLaunch, text: str) -> None:
    """A line in the container's log, for those who wonder why it starts as it does."""
    launch.output(2, f"{text}\n".encode())


async def _open_snapshots(home: Home, runtime: RuncRuntime, tools: Tools) -> Snapshots | None:
    if not runtime.capabilities.snapshots or tools.criu is None:
        return None
    snapshotter = await CriuSnapshotter.open(home, runtime, tools.criu)
    library = SnapshotLibrary(home.disk / "snapshots", snapshotter)
    library.sweep()
    return Snapshots(library, snapshotter)
