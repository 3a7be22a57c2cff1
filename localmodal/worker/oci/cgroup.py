"""A container's control group, wherever the kernel keeps it: v1, v2 or both. runc makes it; this cleans up."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = frozenset({"cpu", "memory", "pids"})


@dataclass(frozen=True)
class Cgroup:
    """One group by its name at the top of every hierarchy."""

    name: str

    @property
    def path(self) -> str:
        """As `cgroupsPath` of an OCI configuration."""
        return f"/{self.name}"

    def folders(self) -> list[Path]:
        """One for v2; one for each controller of v1."""
        return [path for path in (_ROOT / self.name, *_ROOT.glob(f"*/{self.name}")) if path.is_dir()]

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed one of its processes for the memory limit."""
        counters = [folder / name for folder in self.folders() for name in ("memory.events", "memory.oom_control")]
        return any(_counter(path, "oom_kill") > 0 for path in counters)

    def kill(self) -> None:
        """Ends every process in it, frozen ones too, and waits until they are gone."""
        while processes := self.processes():
            self._thaw()
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.005)

    def remove(self) -> None:
        """Removes the empty group."""
        for folder in self.folders():
            with contextlib.suppress(OSError):
                folder.rmdir()

    def processes(self) -> set[int]:
        """Those in it, as this machine numbers them."""
        found = {int(line) for folder in self.folders() for line in _read(folder / "cgroup.procs").split()}
        return found - {os.getpid()}

    def _thaw(self) -> None:
        """A checkpoint that was cut off leaves its processes frozen: they would never see the signal."""
        for folder in self.folders():
            for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                if (folder / name).exists():
                    with contextlib.suppress(OSError):
                        (folder / name).write_text(value)


def may_limit() -> bool:
    """Whether groups at the top of the hierarchy can have limits; asked of who may write there.

    Under cgroup v2 the group above must hand its controllers down, which it may not while processes are in it, unless
    it is the machine's own top: in a container that was given a hierarchy of its own, it is the container's processes.
    """
    handed_down = _ROOT / "cgroup.subtree_control"
    if not handed_down.exists():
        return True  # v1
    with contextlib.suppress(OSError):
        handed_down.write_text(" ".join(f"+{name}" for name in _CONTROLLERS), encoding="ascii")
    return _CONTROLLERS.issubset(_read(handed_down).split())


def cgroups_named(prefix: str) -> list[Cgroup]:
    """Every group at the top of a hierarchy whose name begins so."""
    found = {path.name for pattern in (f"{prefix}*", f"*/{prefix}*") for path in _ROOT.glob(pattern) if path.is_dir()}
    return [Cgroup(name) for name in sorted(found)]


def _counter(path: Path, name: str) -> int:
    fields = dict(line.split() for line in _read(path).splitlines())
    return int(fields.get(name, 0))


def _read(path: Path) -> str:
    """Empty if it is not there, or its group has been removed since it was opened."""
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
