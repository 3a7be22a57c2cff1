"""Pure: what the starts so far prove, and the figures that come out of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from engines.boots import BootRecord


@dataclass(frozen=True)
class Start:
    """One container that was started on request: its own boot record, the service's word, and the caller's clock."""

    boot: BootRecord
    said: str | None
    """What the service says that the start was, `cold` or `restored`; none: it does not say."""
    requested_at: float
    taken_at: float
    answered_at: float
    first: bool
    """Whether the request was the container's first."""

    @property
    def restored(self) -> bool:
        """Only if both say so: a boot record alone cannot know what happened around the container."""
        return self.boot.kind == "restored" == self.said

    @property
    def disputed(self) -> bool:
        """The boot record and the service's own word differ."""
        return self.said is not None and self.said != self.boot.kind

    @property
    def felt(self) -> bool:
        """Whether the caller waited for the start: a container that was ready before says nothing about waiting."""
        return self.first and (self.boot.ready_at is None or self.boot.ready_at >= self.requested_at)

    @property
    def ready_s(self) -> float:
        """From the request to the moment when the container took it."""
        return self.taken_at - self.requested_at

    @property
    def first_answer_s(self) -> float:
        """From the request to its whole answer."""
        return self.answered_at - self.requested_at


@dataclass
class Proof:
    """Collects the starts of one version until enough of them in a row were restored."""

    definition: str
    wanted: int
    starts: list[Start] = field(default_factory=list)

    def add(self, start: Start) -> None:
        """Counts a start, in order."""
        self.starts.append(start)

    def counts(self, start: Start) -> bool:
        """Another version's container, or one that had answered before, proves nothing."""
        return start.first and start.boot.definition == self.definition

    @property
    def in_a_row(self) -> int:
        """How many of the last starts were restored, one after the other."""
        row = 0
        for start in filter(self.counts, self.starts):
            row = row + 1 if start.restored else 0
        return row

    @property
    def restored(self) -> list[Start]:
        """The starts that were restored."""
        return [start for start in self.starts if self.counts(start) and start.restored]

    def so_far(self) -> str:
        """The starts in words."""
        counted = [start for start in self.starts if self.counts(start)]
        restored = len(self.restored)
        words = f"{len(counted) - restored} cold, {restored} restored, {self.in_a_row} of {self.wanted} in a row"
        disputed = sum(start.disputed for start in counted)
        return f"{words}, {disputed} of which the service says something else" if disputed else words


def figures(starts: Iterable[Start]) -> dict[str, Any] | None:
    """Medians over the starts that a caller waited for; none if there was none."""
    felt = [start for start in starts if start.felt]
    if not felt:
        return None
    return {
        "ready_s": _median([start.ready_s for start in felt]),
        "first_answer_s": _median([start.first_answer_s for start in felt]),
        "phases": _phases([start.boot.phases for start in felt]),
        "runs": len(felt),
    }


def speedup(cold: dict[str, Any] | None, restored: dict[str, Any] | None) -> float | None:
    """How many times faster the first answer comes from a restored container."""
    if cold is None or restored is None:
        return None
    return round(float(cold["first_answer_s"]) / float(restored["first_answer_s"]), 2)


def _phases(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each phase's median over the runs that had it, in the order in which they passed."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: _median([run[name] for run in runs if name in run]) for name in names}


def _median(seconds: Sequence[float]) -> float:
    return round(median(seconds), 3)
