"""Pure: what a fleet of containers does with the requests of a trace, event by event and without rounding.

1. A request goes to the first container, in the order of their starts, that has room; else it waits its turn.
2. A container is started for each `concurrency` requests that wait and for which none is starting, up to
   `max_containers`. Whichever container has room first takes the request that has waited longest.
3. A container ends once it has been idle for `scaledown_window`. `min_containers` of them are there before the first
   request, and that many are kept until the last answer; then they end like the others.

A request takes as long in a busy container as in an idle one, and a start as long as every other.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spec import Scaling


class Pace(NamedTuple):
    """Seconds of what happens."""

    start_s: float
    """Until a container that is started takes its first request."""
    request_s: float
    """From when a container takes a request to its whole answer."""


class Request(NamedTuple):
    """One request of the trace, and what became of it."""

    came_at: float
    taken_at: float
    answered_at: float
    container: int
    met_start: bool
    """Whether its container was not ready yet when it came."""


@dataclass(slots=True)
class Container:
    """One container's life."""

    number: int
    started_at: float
    ready_at: float
    idle_since: float
    """Since when it answers nothing; while it does, the last time."""
    busy: int = 0
    """Requests that it works on."""
    ended_at: float = inf


class Outcome(NamedTuple):
    """What became of every request and every container."""

    requests: list[Request]
    """In the order in which they were taken."""
    containers: list[Container]
    """In the order of their starts."""

    @property
    def container_seconds(self) -> float:
        """Of all containers, from start to end: what is paid for."""
        return sum(container.ended_at - container.started_at for container in self.containers)

    @property
    def share_meeting_a_start(self) -> float:
        """Of the requests, from 0 to 1."""
        return sum(request.met_start for request in self.requests) / len(self.requests)

    def seconds_of(self, share: float) -> float:
        """From a request to its whole answer: this share of the requests takes no longer."""
        took = sorted(request.answered_at - request.came_at for request in self.requests)
        return took[ceil(share * len(took)) - 1]


def replay(trace: Sequence[float], pace: Pace, scaling: Scaling) -> Outcome:
    """The outcome of requests that come at the moments of the trace, of which there is at least one, in order."""
    return _Fleet(trace, pace, scaling).replayed()


class _Fleet:
    """The containers, the requests that wait for them, and those that have not come yet."""

    def __init__(self, trace: Sequence[float], pace: Pace, scaling: Scaling) -> None:
        self._pace = pace
        self._scaling = scaling
        self._coming = deque(trace)
        self._waiting: deque[float] = deque()
        self._unanswered = len(trace)
        self._due: list[tuple[float, int, bool]] = []
        """A heap of what is certain: when, with which container, and whether it answers then or gets ready."""
        self._alive: list[Container] = []
        self._outcome = Outcome([], [])
        for _ in range(scaling.min_containers):
            self._start(trace[0] - pace.start_s)

    def replayed(self) -> Outcome:
        """Goes from each moment at which anything happens to the next; what happens at one moment happens at once."""
        while (now := self._next()) < inf:
            while self._due and self._due[0][0] <= now:
                self._settle(*heapq.heappop(self._due))
            while self._coming and self._coming[0] <= now:
                self._waiting.append(self._coming.popleft())
            self._hand_out(now)
            self._start_missing(now)
            self._end_idle(now)
        return self._outcome

    def _next(self) -> float:
        """The earliest of: a request, an answer, a container that gets ready, one that has idled long enough."""
        coming = self._coming[0] if self._coming else inf
        due = self._due[0][0] if self._due else inf
        return min(coming, due, self._next_end())

    def _next_end(self) -> float:
        if len(self._alive) <= self._kept:
            return inf
        return min((self._end_of(one) for one in self._alive if not one.busy), default=inf)

    def _settle(self, now: float, number: int, answers: bool) -> None:  # noqa: FBT001 - as it comes from the heap
        if answers:
            container = self._outcome.containers[number]
            container.busy -= 1
            container.idle_since = now
            self._unanswered -= 1

    def _hand_out(self, now: float) -> None:
        """The request that has waited longest goes first."""
        while self._waiting and (container := self._with_room(now)):
            came_at, answered_at = self._waiting.popleft(), now + self._pace.request_s
            container.busy += 1
            heapq.heappush(self._due, (answered_at, container.number, True))
            met_start = container.ready_at > came_at
            self._outcome.requests.append(Request(came_at, now, answered_at, container.number, met_start))

    def _with_room(self, now: float) -> Container | None:
        room = self._scaling.concurrency
        return next((one for one in self._alive if one.ready_at <= now and one.busy < room), None)

    def _start_missing(self, now: float) -> None:
        if not self._waiting:
            return
        starting = sum(one.ready_at > now for one in self._alive)
        missing = ceil(len(self._waiting) / self._scaling.concurrency) - starting
        for _ in range(min(missing, self._scaling.max_containers - len(self._alive))):
            self._start(now)

    def _start(self, now: float) -> None:
        ready_at = now + self._pace.start_s
        container = Container(len(self._outcome.containers), now, ready_at, idle_since=ready_at)
        self._alive.append(container)
        self._outcome.containers.append(container)
        heapq.heappush(self._due, (ready_at, container.number, False))

    def _end_idle(self, now: float) -> None:
        """The youngest first: of those that are kept the oldest stay."""
        too_many = len(self._alive) - self._kept
        if too_many > 0:
            idle = [one for one in reversed(self._alive) if not one.busy and self._end_of(one) <= now]
            for container in idle[:too_many]:
                container.ended_at = now
                self._alive.remove(container)

    def _end_of(self, idle: Container) -> float:
        return idle.idle_since + self._scaling.scaledown_window

    @property
    def _kept(self) -> int:
        """How many containers stay however long they are idle: none once all is answered."""
        return self._scaling.min_containers if self._unanswered else 0
