"""What the benchmarks of this folder share: starts in processes of their own, and their figures with provenance."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from engines.clock import Phases, process_started_at
from engines.driver import first_gpu
from engines.engine import Engine
from spread import Spread, machine

Start = dict[str, Any]
"""What one start saw: `seconds` of its phases, its `answer`, and more."""

PHASES = {"cold": ("load", "serve"), "service": ("load", "warm_up", "release", "resume", "serve")}
"""Of a start as the twin of a service makes it, and of one as the process that is snapshotted does."""

_COPIED = 2**31
"""Bytes; so many that starting the copy does not count."""


def arguments_of(*roles: str) -> argparse.ArgumentParser:
    """What every script of this folder is told; the role, one of these or of a start, is for its own processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--role", choices=(*roles, *PHASES), help=argparse.SUPPRESS)
    return parser


def start(arguments: Sequence[str], environment: Mapping[str, str]) -> Start:
    """Run this benchmark's script with these arguments; what it saw is the last line that it prints."""
    began = time.time()
    command = [sys.executable, sys.argv[0], *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=True)
    seen = done.stdout.splitlines()[-1]
    print(f"{' '.join(arguments)}: {time.time() - began:.1f} s: {seen}", flush=True)
    return json.loads(seen)


def go_through(engine: Engine, phases: Phases, role: str) -> None:
    """The engine's phases of such a start, timed, in the order of `engines/engine.py`."""
    for phase in PHASES[role]:
        with phases(phase):
            getattr(engine, phase)()


async def answers(engine: Engine, phases: Phases) -> Start:
    """The first answer of this process and the same once more, timed."""
    with phases("first_answer"):
        answer = await engine.first_answer()
    phases.since("to_first_answer", process_started_at())
    with phases("second_answer"):
        again = await engine.first_answer()
    return {"seconds": phases.seconds, "answer": answer, "again_the_same": again == answer}


def rate(size: int, phases: Phases) -> dict[str, float]:
    """How fast weights of so many bytes were loaded."""
    gigabytes = size / 1e9
    return {"weights_gb": round(gigabytes, 2), "load_gb_per_s": round(gigabytes / phases.seconds["load"], 2)}


def link_gb_per_s() -> float:
    """The rate of a page-locked copy to the GPU: no load is faster."""
    import torch  # noqa: PLC0415 - seconds, and not there on every machine

    pinned = torch.empty(_COPIED, dtype=torch.uint8, pin_memory=True)
    pinned.to("cuda")
    torch.cuda.synchronize()
    began = time.perf_counter()
    pinned.to("cuda", non_blocking=True)
    torch.cuda.synchronize()
    return round(_COPIED / 1e9 / (time.perf_counter() - began), 1)


def provenance(title: str, packages: Sequence[str]) -> dict[str, Any]:
    """What was measured, how and on what."""
    return {
        "title": title,
        "command": " ".join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": {"machine": machine(), "gpu": first_gpu("name", "driver_version", "memory.total")},
        "versions": {"python": python_version(), **{name: version(name) for name in packages}},
    }


def figures(starts: Mapping[str, Sequence[Start]]) -> dict[str, dict[str, dict[str, float]]]:
    """Median and spread of each phase of each kind of start."""
    return {name: _spread(runs) for name, runs in starts.items()}


def _spread(runs: Sequence[Start]) -> dict[str, dict[str, float]]:
    of_phases = {name: Spread([run["seconds"][name] for run in runs]) for name in runs[0]["seconds"]}
    return {
        name: {"median": round(each.median, 3), "min": min(each.runs), "max": max(each.runs), "runs": len(each.runs)}
        for name, each in of_phases.items()
    }
