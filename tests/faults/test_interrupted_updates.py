"""An update that is interrupted, or whose control plane dies, says so; the next one goes on from there.

Each update of a test is stopped one step later than the one before, so that it has gone on from where that one stood.
"""

from __future__ import annotations

from faulty import NAME, Steady, ctrl_c, ctrl_c_twice

IMAGE, DEPLOY, WARM_UP = "=> RUN sleep", "redeploy, new snapshot", "start 1 of at most"


def test_an_update_that_is_interrupted_at_any_step_goes_on_with_the_next_one(steady: Steady) -> None:
    """Once, it lets the step end and begins no other; twice, it waits for nothing."""
    steady.declare_another_image()
    interrupted_twice(steady, IMAGE)
    interrupted_twice(steady, DEPLOY)
    said = steady.up_until(DEPLOY, ctrl_c)
    assert "update canceled" in said
    assert f"SnapshotWarmup {NAME} updating" not in said
    interrupted_twice(steady, WARM_UP)
    assert steady.up_again() == {"SnapshotWarmup"}
    assert steady.steps() == {}


def interrupted_twice(steady: Steady, step: str) -> None:
    said = steady.up_until(step, ctrl_c_twice)
    assert "update cancelled" in said
    assert "Traceback" not in said
    assert not steady.operations()
    assert steady.ask()


def test_an_update_whose_control_plane_is_killed_at_any_step_says_so_and_goes_on_with_the_next_one(
    steady: Steady,
) -> None:
    steady.declare_another_image()
    for step in (IMAGE, DEPLOY, WARM_UP):
        steady.daemon.start()
        said = steady.up_until(step, steady.kill_the_control_plane)
        assert "The local control plane has ended while this step was at work" in said
        assert "`pulumi up` starts it again and goes on from here." in said
        assert "Traceback" not in said
        assert not steady.operations()
    steady.up()
    assert steady.steps() == {}
