"""Figures with their spread, as text or as JSON: what every benchmark prints."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Spread:
    """Runs of one thing."""

    runs: Sequence[float]

    @property
    def median(self) -> float:
        """The figure to quote."""
        return median(self.runs)

    def __str__(self) -> str:
        return f"{self.median:8.3f}  [{min(self.runs):.3f} .. {max(self.runs):.3f}]  {len(self.runs)} runs"


def print_table(title: str, figures: Mapping[str, Spread]) -> None:
    """A line a figure: median [min .. max] and the number of runs, below the machine that it was seen on."""
    print(f"{title}; {machine()}")
    width = max(map(len, figures))
    for name, spread in figures.items():
        print(f"  {name:<{width}} {spread}")


def print_json(title: str, figures: Mapping[str, Spread]) -> None:
    """The same for a program."""
    seen = {name: {"median": spread.median, "runs": list(spread.runs)} for name, spread in figures.items()}
    print(json.dumps({"title": title, "machine": machine(), "figures": seen}, indent=2))


def machine() -> str:
    """The machine in words."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, kernel {platform.release()}"
