"""When this process began, and how long each phase of its start took."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_TICKS = 19
"""Index of `starttime` in /proc/self/stat, counted from behind the command's name (which may hold spaces)."""


def process_started_at() -> float:
    """When this process began, in unix seconds, to a hundredth; for a restored one, when it was restored."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    after_boot = int(fields[_START_TICKS]) / os.sysconf("SC_CLK_TCK")
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - after_boot)


PHASES = ("restore", "imports", "load", "warm_up", "release", "snapshot", "resume", "serve", "first_answer")
"""Every phase of a start, in the order in which they pass; a start has some of them."""


class Phases:
    """Seconds of each phase, in the order in which they passed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def since(self, name: str, began_at: float) -> None:
        """Add a phase that began at a moment in unix seconds and ends now."""
        self.seconds[name] = round(max(0.0, time.time() - began_at), 4)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the phase that the block is; also where the block fails."""
        began_at = time.time()
        try:
            yield
        finally:
            self.since(name, began_at)
