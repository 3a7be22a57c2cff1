"""Processes of this machine, by what they were started with and by descent."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def processes_with_argument(argument: str) -> list[int]:
    """Those that have exactly this among their arguments."""
    return [pid for pid in _all() if argument.encode() in _read(Path(f"/proc/{pid}/cmdline")).split(b"\0")]


def processes_with_environment(name: str, value: str) -> list[int]:
    """Those that were started with an environment variable of that value, as far as we may look."""
    return [pid for pid in _all() if f"{name}={value}".encode() in _read(Path(f"/proc/{pid}/environ")).split(b"\0")]


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on; the parents first."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, _read(children).split()):
            found += [child, *descendants(child)]
    return found


def kill_tree(pid: int) -> None:
    """Ends a process and all its descendants; stopped first, so that it cannot make more of them."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def _all() -> list[int]:
    names = [path.name for path in Path("/proc").iterdir()]
    return [int(name) for name in names if name.isdigit() and int(name) != os.getpid()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
