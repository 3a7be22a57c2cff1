"""Pure: what other scaling numbers would have done with a trace, and the cheapest of them that are good enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.replay import replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from service.economics import Hardware
    from service.replay import Pace
    from spec import Scaling

WINDOWS = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1200)
"""Values of `scaledown_window` that are tried: from the shortest to the longest that Modal allows."""

KEPT_WARM = (0, 1, 2)
"""Values of `min_containers` that are tried."""

_P95 = 0.95


@dataclass(frozen=True)
class Case:
    """A service as it is now."""

    pace: Pace
    without_snapshot: Pace | None
    """What its starts would be without the snapshot; none: there is no snapshot, or that start is not known."""
    scaling: Scaling
    hardware: Hardware | None
    """None: its containers are free, or nobody has said what they are."""


@dataclass(frozen=True)
class Result:
    """What one choice of scaling numbers does with the trace."""

    scaledown_window: int
    min_containers: int
    container_seconds: float
    """Of all containers, from start to end."""
    usd: float | None
    """What these seconds cost; none where they are free."""
    share_meeting_a_start: float
    """Of the requests, from 0 to 1."""
    p95_s: float
    """From a request to its whole answer: 95 % of the requests take no longer."""
    starts: int


@dataclass(frozen=True)
class Target:
    """What is good enough: each limit that is given is kept."""

    share: float | None = None
    """Of the requests, how many may meet a start at most."""
    p95_s: float | None = None
    """How long 95 % of the requests may take at most."""

    def met_by(self, result: Result) -> bool:
        """Whether the result is good enough."""
        within_share = self.share is None or result.share_meeting_a_start <= self.share
        return within_share and (self.p95_s is None or result.p95_s <= self.p95_s)

    def __str__(self) -> str:
        share = None if self.share is None else f"at most {100 * self.share:g}% of the requests meeting a start"
        p95 = None if self.p95_s is None else f"95% of them answered within {self.p95_s:g} s"
        return " and ".join(filter(None, (share, p95)))


@dataclass(frozen=True)
class Advice:
    """What a trace costs now, and what it would cost."""

    now: Result
    without_snapshot: Result | None
    """With the scaling as it is now."""
    tried: tuple[Result, ...]
    """Every other choice, the shortest window first."""

    def cheapest(self, target: Target) -> Result | None:
        """Of those that meet the target, if one is set; of equally cheap ones the one with the fewest starts met."""
        met = filter(target.met_by, self.tried) if target != Target() else ()
        return min(met, key=lambda one: (one.container_seconds, one.share_meeting_a_start), default=None)


def advise(trace: Sequence[float], case: Case) -> Advice:
    """What the requests of the trace do to the service as it is, and with every other choice of scaling numbers."""
    slower = case.without_snapshot
    return Advice(
        now=_result(trace, case, case.pace, case.scaling),
        without_snapshot=_result(trace, case, slower, case.scaling) if slower else None,
        tried=tuple(_result(trace, case, case.pace, choice) for choice in _choices(case.scaling)),
    )


def _choices(scaling: Scaling) -> Iterator[Scaling]:
    for window in WINDOWS:
        for kept in KEPT_WARM:
            if kept <= scaling.max_containers:
                yield scaling.model_copy(update={"scaledown_window": window, "min_containers": kept})


def _result(trace: Sequence[float], case: Case, pace: Pace, scaling: Scaling) -> Result:
    outcome = replay(trace, pace, scaling)
    seconds = outcome.container_seconds
    return Result(
        scaledown_window=scaling.scaledown_window,
        min_containers=scaling.min_containers,
        container_seconds=seconds,
        usd=case.hardware.usd(seconds) if case.hardware else None,
        share_meeting_a_start=outcome.share_meeting_a_start,
        p95_s=outcome.seconds_of(_P95),
        starts=len(outcome.containers),
    )
