"""When cold starts in production mean that a proved snapshot is lost."""

from typing import Any

from engines.boots import BootRecord
from service.snapshot_drift import cold_in_a_row, given_up


def boot(started_at: float, kind: str = "cold", *, snapshot: bool = True, **rest: Any) -> BootRecord:
    """A start that took a second; a cold one took a snapshot, if the service still wants one."""
    phases = {"load": 0.5, **({"snapshot": 0.2} if snapshot else {})} if kind == "cold" else {"restore": 0.1}
    values = {
        "id": f"ta-{started_at}",
        "service": "chat",
        "definition": "d1",
        "role": "service",
        "kind": kind,
        "started_at": started_at,
        "ready_at": started_at + 1,
        "phases": phases,
        "gpu": None,
        "versions": {},
    }
    return BootRecord.model_validate(values | rest)


def lost(*boots: BootRecord) -> bool:
    return given_up(cold_in_a_row(boots))


def test_a_service_that_never_started_has_lost_nothing() -> None:
    assert not lost()


def test_one_cold_start_makes_the_snapshot_anew() -> None:
    assert not lost(boot(0, "restored"), boot(10))


def test_one_cold_start_without_a_snapshot_comes_after_each_restore_that_failed() -> None:
    assert not lost(boot(0, "restored"), boot(10, snapshot=False))


def test_a_snapshot_that_was_taken_again_in_vain_and_then_no_more_is_lost() -> None:
    assert lost(boot(0, "restored"), boot(10), boot(20, snapshot=False))


def test_a_snapshot_that_is_taken_each_time_and_restored_never_is_lost() -> None:
    assert not lost(boot(0, "restored"), boot(10), boot(20))
    assert lost(boot(0, "restored"), boot(10), boot(20), boot(30))


def test_a_restored_start_since_then_says_that_it_serves_again() -> None:
    assert not lost(boot(10), boot(20, snapshot=False), boot(30, "restored"))


def test_containers_that_started_at_once_count_as_one() -> None:
    assert not lost(boot(10), boot(10.1), boot(10.2), boot(10.3))


def test_the_order_of_the_records_does_not_matter() -> None:
    assert lost(boot(30, snapshot=False), boot(0, "restored"), boot(20))


def test_the_twin_says_nothing_of_the_snapshot() -> None:
    assert not lost(*(boot(at, role="twin", snapshot=False) for at in (10, 20, 30)))


def test_containers_that_failed_say_nothing_of_the_snapshot() -> None:
    assert not lost(*(boot(at, error="MemoryError: ", ready_at=None) for at in (10, 20, 30)))
