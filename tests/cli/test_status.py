"""`coldsnap status` tells what Pulumi's state holds, and what the backend knows better.

Most services here are on Modal and there is no token, so the backend does not answer and the state stands.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pulumi_state
import pytest
from pulumi_state import COLD, RESTORED, coldsnap, warmup

if TYPE_CHECKING:
    from pulumi_state import Stack
    from real_daemon import Daemon


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_CONFIG_PATH", os.devnull)
    for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
        monkeypatch.delenv(name, raising=False)


def deployment(service: str = "chat", **changed: Any) -> dict[str, Any]:
    return pulumi_state.deployment(service, **{"backend": "modal"} | changed)


def told(*arguments: str) -> list[dict[str, Any]]:
    answer = coldsnap("status", "--json", *arguments)
    assert answer.exit_code == 0, answer.output
    return list(json.loads(answer.stdout))


def test_a_proved_service_is_told_with_its_figures(stack: Stack) -> None:
    stack.holds(deployment(), warmup())

    (entry,) = told()

    assert entry["service"] == "chat"
    assert (entry["version"], entry["url"]) == (2, "http://chat.localhost:1")
    assert (entry["snapshot"], entry["restores_in_a_row"]) == ("verified", 3)
    assert entry["cold"]["first_answer_s"] == COLD["first_answer_s"]
    assert entry["restored"]["first_answer_s"] == RESTORED["first_answer_s"]
    assert entry["restored"]["ready_s"] == RESTORED["ready_s"]
    assert entry["speedup"] == 4.0


def test_phases_come_in_the_order_in_which_they_pass(stack: Stack) -> None:
    """Pulumi's state keeps keys in the order of the alphabet."""
    stack.holds(deployment(), warmup())
    assert list(told()[0]["cold"]["phases"]) == ["imports", "load", "first_answer"]


def test_services_are_told_by_name(stack: Stack) -> None:
    stack.holds(deployment("talk"), deployment("chat"))
    assert [entry["service"] for entry in told()] == ["chat", "talk"]


def test_a_snapshot_is_failed_if_its_warm_up_left_nothing(stack: Stack) -> None:
    stack.holds(deployment())
    (entry,) = told()
    assert (entry["snapshot"], entry["failure"]) == (
        "failed",
        "no warm-up of this version has ended well; `pulumi up` tries it again.",
    )


def test_a_snapshot_is_failed_if_its_version_is_not_live(
    stack: Stack, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLDSNAP_HOME", str(daemon.home))
    stack.holds(deployment("never-deployed", backend="local"), warmup("never-deployed"))
    (entry,) = told()
    assert (entry["snapshot"], entry["restores_in_a_row"]) == ("failed", 0)
    assert entry["failure"].startswith("the version that was proved is not live: it is stopped or gone.")
    assert entry["failure"] in " ".join(coldsnap("status").output.split())


def test_the_state_stands_and_a_warning_says_so_if_the_backend_does_not_answer(stack: Stack) -> None:
    stack.holds(deployment(), warmup())
    answer = coldsnap("status", "--json")
    assert json.loads(answer.stdout)[0]["snapshot"] == "verified"
    assert "warning: chat: its last starts cannot be read" in " ".join(answer.stderr.split())


def test_a_failure_that_a_refresh_has_found_is_told(stack: Stack) -> None:
    stack.holds(deployment(), warmup(state="failed", failure="the last 3 starts were cold."))
    (entry,) = told()
    assert (entry["snapshot"], entry["failure"]) == ("failed", "the last 3 starts were cold.")


def test_the_proof_of_another_version_proves_nothing(stack: Stack) -> None:
    stack.holds(deployment(definition="d2"), warmup())
    (entry,) = told()
    assert (entry["snapshot"], entry["restored"], entry["restores_in_a_row"]) == ("failed", None, 0)


def test_a_snapshot_is_building_while_its_warm_up_is_at_work(stack: Stack) -> None:
    stack.holds(deployment())
    stack.is_making(warmup())
    (entry,) = told()
    assert entry["snapshot"] == "building"
    assert "or was killed while it did" in entry["failure"]


def test_a_service_that_takes_no_snapshot_has_none(stack: Stack) -> None:
    stack.holds(deployment(), warmup(state="none", restored=None, speedup=None, restores=0))
    (entry,) = told()
    assert (entry["snapshot"], entry["restored"], entry["speedup"]) == ("none", None, None)


def test_an_empty_stack_has_no_services(stack: Stack) -> None:
    stack.holds()
    assert told("--stack", "dev") == []


def test_the_table_shows_the_same(stack: Stack) -> None:
    stack.holds(deployment(), warmup())
    said = coldsnap("status").output
    for word in ("chat", "verified", "4.0 s", "1.0 s", "0.20 s", "4.0 x", "http://chat.localhost:1"):
        assert word in said


def test_an_unknown_stack_is_refused_in_pulumis_words(stack: Stack) -> None:
    del stack
    answer = coldsnap("status", "--stack", "nowhere")
    assert "Pulumi does not know the stack" in str(answer.exception)
    assert "nowhere" in str(answer.exception)
