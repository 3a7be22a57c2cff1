"""What starts prove, and the figures from them."""

from typing import Any

from engines.boots import BootRecord
from service.proof import Proof, Start, figures, speedup


def start(kind: str = "restored", said: str | None = None, *, took: float = 0.5, **rest: Any) -> Start:
    ready_at = rest.pop("ready_at", 100.0 + took / 2)
    boot = BootRecord(
        id="ta-1",
        service="chat",
        definition=rest.pop("definition", "d1"),
        role="service",
        kind=kind,
        started_at=100.0,
        ready_at=ready_at,
        phases=rest.pop("phases", {"load": took}),
        gpu=None,
        versions={},
    )
    first = rest.pop("first", True)
    return Start(boot, said or kind, requested_at=100.0, taken_at=ready_at, answered_at=100.0 + took, first=first)


def proof_of(*starts: Start, wanted: int = 3) -> Proof:
    proof = Proof("d1", wanted)
    for one in starts:
        proof.add(one)
    return proof


def test_restores_in_a_row_prove_the_snapshot() -> None:
    assert proof_of(start("cold"), start(), start()).in_a_row == 2
    assert proof_of(start("cold"), start(), start(), start()).in_a_row == 3


def test_a_cold_start_in_between_begins_the_row_again() -> None:
    proof = proof_of(start(), start(), start("cold"), start())
    assert proof.in_a_row == 1
    assert len(proof.restored) == 3


def test_a_restore_that_the_service_knows_nothing_of_is_none() -> None:
    proof = proof_of(start("restored", said="cold"))
    assert proof.in_a_row == 0
    assert proof.so_far() == "1 cold, 0 restored, 0 of 3 in a row, 1 of which the service says something else"


def test_a_container_that_had_answered_before_proves_nothing() -> None:
    assert proof_of(start(first=False)).in_a_row == 0


def test_a_container_of_another_version_proves_nothing() -> None:
    assert proof_of(start(), start(definition="d0", kind="cold"), start()).in_a_row == 2


def test_figures_are_medians_over_starts_that_a_caller_waited_for() -> None:
    waiting = start(took=0.01, ready_at=99.0)
    found = figures([start(took=0.2), start(took=0.4), start(took=0.9), waiting])
    assert found == {"ready_s": 0.2, "first_answer_s": 0.4, "phases": {"load": 0.4}, "runs": 3}


def test_a_phase_that_only_some_starts_had_keeps_its_place() -> None:
    runs = [start(phases={"restore": 0.1, "serve": 0.3}), start(phases={"restore": 0.1, "resume": 0.2, "serve": 0.5})]
    found = figures(runs)
    assert found is not None
    assert found["phases"] == {"restore": 0.1, "serve": 0.4, "resume": 0.2}


def test_no_figures_without_a_start_and_no_speedup_without_both() -> None:
    assert figures([]) is None
    assert speedup(figures([start("cold", took=3.0)]), None) is None
    assert speedup(figures([start("cold", took=3.0)]), figures([start(took=0.5)])) == 6.0
