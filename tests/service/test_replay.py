"""The replay of a trace: properties that hold for any, and agreement with another simulation of the same rules."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from service.replay import Outcome, Pace, replay
from spec import Scaling

if TYPE_CHECKING:
    from collections.abc import Sequence

SEEDS = range(60)


def scaling(window: int = 10, **changed: int) -> Scaling:
    return Scaling(**{"scaledown_window": window, "concurrency": 1, "max_containers": 50} | changed)


def any_case(seed: int) -> tuple[list[int], Pace, Scaling]:
    """Whole seconds, so that many things happen at one moment and nothing is rounded."""
    chance = random.Random(seed)
    gap = chance.choice((1, 4, 30))
    moments = [chance.randrange(gap * 40) for _ in range(chance.randint(1, 40))]
    limits = scaling(
        chance.randint(2, 40),
        concurrency=chance.randint(1, 3),
        max_containers=(most := chance.randint(1, 5)),
        min_containers=chance.randint(0, min(most, 3)),
    )
    return sorted(moments), Pace(chance.randint(1, 15), chance.randint(1, 12)), limits


@pytest.mark.parametrize("seed", SEEDS)
def test_a_simulation_second_by_second_agrees(seed: int) -> None:
    trace, pace, limits = any_case(seed)
    assert summed_up(replay(trace, pace, limits)) == second_by_second(trace, pace, limits)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_request_is_answered_once_and_in_time(seed: int) -> None:
    trace, pace, limits = any_case(seed)
    requests = replay(trace, pace, limits).requests
    assert sorted(request.came_at for request in requests) == trace
    assert [request.came_at for request in requests] == trace, "whoever waits longest is next"
    assert all(request.came_at <= request.taken_at for request in requests)
    assert all(request.answered_at - request.taken_at == pace.request_s for request in requests)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_container_is_never_idle_longer_than_the_window_and_ends_then(seed: int) -> None:
    trace, pace, limits = any_case(seed)
    outcome = replay(trace, pace, limits.model_copy(update={"min_containers": 0}))
    for number in range(len(outcome.containers)):
        *between, last = idle_stretches(outcome, number)
        assert all(stretch <= limits.scaledown_window for stretch in between)
        assert last == limits.scaledown_window


@pytest.mark.parametrize("seed", SEEDS)
def test_limits_are_kept_at_every_moment(seed: int) -> None:
    trace, pace, limits = any_case(seed)
    outcome = replay(trace, pace, limits)
    last = max(request.answered_at for request in outcome.requests)
    for moment in range(trace[0], int(last)):
        alive = [one for one in outcome.containers if one.started_at <= moment < one.ended_at]
        assert limits.min_containers <= len(alive) <= limits.max_containers
        for one in alive:
            busy = [r for r in outcome.requests if r.container == one.number and r.taken_at <= moment < r.answered_at]
            assert len(busy) <= limits.concurrency


@pytest.mark.parametrize("window", [2, 60, 1200])
def test_one_request_costs_its_start_itself_and_the_window(window: int) -> None:
    outcome = replay([1790000000.25], Pace(2.5, 3.25), scaling(window))
    assert outcome.container_seconds == 2.5 + 3.25 + window
    assert outcome.share_meeting_a_start == 1
    assert outcome.seconds_of(0.95) == 2.5 + 3.25


def test_a_request_within_the_window_meets_no_start_and_one_after_it_does() -> None:
    pace = Pace(2, 3)
    assert [one.met_start for one in replay([0, 15], pace, scaling(10)).requests] == [True, False]
    assert [one.met_start for one in replay([0, 15.5], pace, scaling(10)).requests] == [True, True]


def test_a_request_that_waits_for_a_busy_container_meets_no_start() -> None:
    """The second container is still starting when the first one has room."""
    outcome = replay([0, 10, 11], Pace(5, 3), scaling(60))
    assert [(one.taken_at, one.container, one.met_start) for one in outcome.requests] == [
        (5, 0, True),
        (10, 0, False),
        (13, 0, False),
    ]
    assert len(outcome.containers) == 2


def test_requests_wait_their_turn_where_there_may_be_no_more_containers() -> None:
    outcome = replay([0, 0, 0], Pace(1, 10), scaling(max_containers=1))
    assert [one.answered_at for one in outcome.requests] == [11, 21, 31]


def test_one_start_serves_as_many_as_a_container_works_on_at_once() -> None:
    outcome = replay([0, 1, 2, 3, 3], Pace(10, 1), scaling(concurrency=4))
    assert [container.started_at for container in outcome.containers] == [0, 3]


def test_nobody_meets_a_start_if_enough_are_kept_warm() -> None:
    outcome = replay([0, 0, 500], Pace(60, 1), scaling(min_containers=2))
    assert outcome.share_meeting_a_start == 0
    assert [container.ended_at - container.started_at for container in outcome.containers] == [571, 561]


def test_of_those_that_have_idled_long_enough_the_oldest_is_kept() -> None:
    outcome = replay([0, 1, 1, 500], Pace(0, 10), scaling(10, concurrency=2, min_containers=1))
    assert [one.container for one in outcome.requests] == [0, 0, 1, 0]
    assert [container.ended_at for container in outcome.containers] == [520, 21]


@pytest.mark.parametrize("seed", SEEDS)
def test_more_containers_kept_warm_cost_more_if_none_spares_another(seed: int) -> None:
    """One after the other in one half of the cases, all in one container in the other."""
    trace, pace, limits = any_case(seed)
    if seed % 2:
        trace = [moment + index * (pace.start_s + pace.request_s) for index, moment in enumerate(trace)]
    limits = limits.model_copy(update={"concurrency": 1 if seed % 2 else len(trace), "max_containers": 5})
    costs = [
        replay(trace, pace, limits.model_copy(update={"min_containers": kept})).container_seconds for kept in range(4)
    ]
    assert costs == sorted(costs)


def test_a_container_kept_warm_may_spare_more_than_it_costs() -> None:
    """Ten that come while the first would start, each of which would start another."""
    trace, pace = [float(5 * index) for index in range(10)], Pace(60, 1)
    none, one = (replay(trace, pace, scaling(2, min_containers=kept)).container_seconds for kept in (0, 1))
    assert one < none


@pytest.mark.parametrize("seed", SEEDS)
def test_a_longer_window_lets_no_more_requests_meet_a_start_if_they_come_one_after_the_other(seed: int) -> None:
    trace, pace, limits = any_case(seed)
    trace = [moment + index * (pace.start_s + pace.request_s) for index, moment in enumerate(trace)]
    shares = [
        replay(trace, pace, limits.model_copy(update={"scaledown_window": window})).share_meeting_a_start
        for window in range(2, 60, 7)
    ]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(("share", "seconds"), [(0.5, 5), (0.95, 10), (1.0, 10), (0.1, 1)])
def test_a_share_of_the_requests_takes_no_longer(share: float, seconds: float) -> None:
    outcome = replay([0] * 10, Pace(0, 1), scaling(max_containers=1))
    assert outcome.seconds_of(share) == seconds


def idle_stretches(outcome: Outcome, number: int) -> list[float]:
    """Seconds for which a container had nothing to do, in order."""
    container = outcome.containers[number]
    stretches, free_at = [], container.ready_at
    for request in (one for one in outcome.requests if one.container == number):
        stretches.append(request.taken_at - free_at)
        free_at = max(free_at, request.answered_at)
    return [*stretches, container.ended_at - free_at]


def summed_up(outcome: Outcome) -> tuple[float, int, list[Any]]:
    requests = [(one.taken_at, one.answered_at, one.met_start) for one in outcome.requests]
    return outcome.container_seconds, len(outcome.containers), requests


@dataclass
class Box:
    """A container of the other simulation, which counts seconds instead of looking ahead."""

    still_starting: int
    ready_at: int
    works: list[int] = field(default_factory=list)
    """Seconds that are left of each of its requests."""
    idle: int = 0

    def a_second_passes(self) -> int:
        """How many requests are answered."""
        if self.still_starting:
            self.still_starting -= 1
            return 0
        if not self.works:
            self.idle += 1
            return 0
        before, self.works, self.idle = len(self.works), [left - 1 for left in self.works if left > 1], 0
        return before - len(self.works)


def second_by_second(trace: Sequence[int], pace: Pace, limits: Scaling) -> tuple[float, int, list[Any]]:
    """The same rules: what is paid, how many containers there were, and what became of the requests."""
    start_s, request_s, now = int(pace.start_s), int(pace.request_s), trace[0]
    boxes = [Box(0, now) for _ in range(limits.min_containers)]
    paid, started, unanswered = start_s * len(boxes), len(boxes), len(trace)
    waiting: list[int] = []
    taken: list[Any] = []
    while unanswered or boxes:
        waiting += [moment for moment in trace if moment == now]
        for came_at in waiting.copy():
            ready = [box for box in boxes if not box.still_starting and len(box.works) < limits.concurrency]
            if ready:
                ready[0].works.append(request_s)
                taken.append((now, now + request_s, ready[0].ready_at > came_at))
                waiting.remove(came_at)
        while len(boxes) < limits.max_containers and len(waiting) > limits.concurrency * sum(
            box.still_starting > 0 for box in boxes
        ):
            boxes.append(Box(start_s, now + start_s))
            started += 1
        for box in reversed(boxes.copy()):
            spare = len(boxes) > (limits.min_containers if unanswered else 0)
            if spare and not box.still_starting and not box.works and box.idle >= limits.scaledown_window:
                boxes.remove(box)
        paid, now = paid + len(boxes), now + 1
        unanswered -= sum(box.a_second_passes() for box in boxes)
    return paid, started, taken
