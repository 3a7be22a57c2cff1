"""How many cores this container may use: fewer than the machine has, as a rule."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
CGROUP_V1 = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))


def usable_cores() -> int:
    """Cores of the affinity mask, or of the cgroup's quota where that is less."""
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), _quota())))


def _quota() -> float:
    try:
        limit, period = CGROUP_V2.read_text().split() if CGROUP_V2.exists() else [p.read_text() for p in CGROUP_V1]
    except OSError:
        return math.inf
    return math.inf if limit.strip() in {"max", "-1"} else int(limit) / int(period)
