"""The seam between the control plane and what runs containers: `runc` where the machine can, else plain processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import signal
    import socket
    from pathlib import Path

Output = Callable[[int, bytes], None]
"""Takes what a container wrote: the file descriptor (1 or 2) and the bytes, in order, as they come."""


@dataclass(frozen=True)
class Bind:
    """A file or folder of this machine seen inside the container."""

    source: Path
    destination: str
    read_only: bool = False


@dataclass(frozen=True)
class Launch:
    """All that a container is started from."""

    id: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    layers: tuple[Path, ...]
    """Folders stacked over the machine's root, the lowest first: image layers, then the function's mounts."""
    output: Output
    binds: tuple[Bind, ...] = ()
    shared: tuple[Path, ...] = ()
    """Folders of this machine that a build without containers may write to, beside its layers and its volumes."""
    cpu: float | None = None
    """Cores that are promised: its share when several containers want more than there is."""
    cpu_limit: float | None = None
    memory_mib: int | None = None
    """Memory that is promised: the kernel takes it back last."""
    memory_limit_mib: int | None = None
    purpose: Literal["function", "build"] = "function"
    """`build` has the host's network and the capabilities that package managers need; `function` has neither.
    As a plain process it may write to its layers, its volumes and what is `shared`, and to no other file."""
    internet: bool = True
    """False: a function's container reaches nobody but the control plane."""
    keep_upper: Path | None = None
    """Where the container's own writes stay after its end (a build step's layer); none: a folder that is removed."""


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int
    """The process's exit code; 128 + N for signal N."""
    out_of_memory: bool = False


@dataclass(frozen=True)
class Capabilities:
    """What this machine lets us do, and what is missing for more."""

    containers: bool
    snapshots: bool
    missing: tuple[Missing, ...] = field(default=())


@dataclass(frozen=True)
class Missing:
    """One thing that is not there: what it is needed for and how to get it."""

    what: str
    needed_for: str
    remedy: str


class Container(Protocol):
    """A running container."""

    id: str

    async def wait(self) -> Exit:
        """Returns when the container has ended and nothing of it is left; may be called by many."""

    async def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the container's first process; nothing happens if it has ended."""

    async def kill(self) -> None:
        """Ends every process of the container and waits until nothing of it is left."""

    async def connect(self, port: int) -> socket.socket:
        """A connection to 127.0.0.1:port inside the container; ConnectionRefusedError if nothing listens."""


class Runtime(Protocol):
    """Runs containers on this machine."""

    capabilities: Capabilities

    async def run(self, launch: Launch) -> Container:
        """Starts a container; raises ContainerError if it cannot be started."""

    async def sweep(self) -> None:
        """Ends and removes everything that an earlier daemon left behind: containers, mounts, namespaces, cgroups."""


class ContainerError(Exception):
    """A container could not be started; the message says what, and the last lines of the runtime's own log."""
