"""An update that is interrupted, or whose control plane dies, says so; the next one goes on from there."""

from __future__ import annotations

import pytest
from faulty import NAME, Steady, ctrl_c, ctrl_c_twice

STEPS = {"image": "=> RUN sleep", "deploy": "redeploy, new snapshot", "warm-up": "start 1 of at most 2"}


def declare_something_to_do(steady: Steady, step: str) -> None:
    if step == "image":
        steady.declare_another_image()
    else:
        steady.declare_another_version()


@pytest.mark.parametrize("step", STEPS)
def test_an_update_that_is_interrupted_goes_on_with_the_next_one(steady: Steady, step: str) -> None:
    declare_something_to_do(steady, step)
    said = steady.up_until(STEPS[step], ctrl_c_twice)
    assert "update cancelled" in said
    assert "Traceback" not in said
    assert not steady.operations()
    assert steady.ask()
    steady.up()


@pytest.mark.parametrize("step", STEPS)
def test_an_update_whose_control_plane_is_killed_says_so_and_goes_on_with_the_next_one(
    steady: Steady, step: str
) -> None:
    declare_something_to_do(steady, step)
    said = steady.up_until(STEPS[step], steady.kill_the_control_plane)
    assert "The local control plane has ended while this step was at work" in said
    assert "`pulumi up` starts it again and goes on from here." in said
    assert "Traceback" not in said
    assert not steady.operations()
    steady.up()


def test_one_ctrl_c_lets_the_step_end_and_begins_no_other(steady: Steady) -> None:
    steady.declare_another_version()
    said = steady.up_until(STEPS["deploy"], ctrl_c)
    assert "update canceled" in said
    assert steady.steps() == {"SnapshotWarmup": "update"}
    assert f"SnapshotWarmup {NAME} updating" not in said
    steady.up()
