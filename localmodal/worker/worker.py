"""Starts tasks in containers: cold, or from a memory snapshot where one is at hand; takes the snapshots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localmodal.worker.container import Bind, Exit, Output

if TYPE_CHECKING:
    import signal
    import socket

    from modal_proto import api_pb2

    from localmodal.home import Home
    from localmodal.worker.container import Capabilities
    from localmodal.worker.network import ServeHttp


@dataclass(frozen=True)
class TaskLaunch:
    """All that a task is started from. The control plane has made `home.run / task_id` with `api.sock` in it before."""

    task_id: str
    arguments: api_pb2.ContainerArguments
    """Complete, `checkpoint_id` too where the function wants a snapshot. Its resources become the container's limits."""
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

    task_id: str
    restored: bool
    """True: the container is a copy of `snapshot`; False: a cold start."""
    snapshot: str | None
    """The name of the snapshot that it was restored from."""
    snapshotting: bool
    """A cold start that will ask for a checkpoint."""

    async def wait(self) -> Exit:
        """Returns when the container has ended and nothing of it is left; may be called by many."""
        raise NotImplementedError

    async def stop(self, grace: float) -> Exit:
        """Asks the container to end (SIGTERM for a server, else SIGINT, which the client's entrypoint expects), then kills it."""
        raise NotImplementedError

    async def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the container's first process."""
        raise NotImplementedError

    async def kill(self) -> None:
        """Ends every process of the container and waits until nothing of it is left."""
        raise NotImplementedError

    async def connect(self, port: int) -> socket.socket:
        """A connection to 127.0.0.1:port inside the container; ConnectionRefusedError if nothing listens."""
        raise NotImplementedError


class Worker:
    """Runs tasks on this machine."""

    capabilities: Capabilities

    @classmethod
    async def open(cls, home: Home, http_port: int, serve_http: ServeHttp) -> Worker:
        """Looks at what this machine can do, sweeps what an earlier daemon left, and gets ready to start tasks."""
        raise NotImplementedError

    async def start(self, launch: TaskLaunch) -> RunningTask:
        """Starts a task from its snapshot if there is a good one, else cold. ContainerError if neither can be started."""
        raise NotImplementedError

    async def checkpoint(self, task_id: str) -> None:
        """Serves ContainerCheckpoint, in the background: waits for `api_closed`, takes the snapshot, lets the task go on.

        Never raises: without a snapshot the task goes on all the same, and the reason is in the daemon's log.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Ends every task and takes down what was set up ahead of time; mounts of the disk too."""
        raise NotImplementedError
