"""Containers that really fail: the update tells the cause and what to do, and tries again only where that helps."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import pytest
from faulty import NAME, SMALL, Steady

if TYPE_CHECKING:
    from conftest import Daemon

CRASHES = """
import ctypes, os, threading, time

def crash_where_another_task_has_begun():
    task = os.environ.get("MODAL_TASK_ID")
    while task == os.environ.get("MODAL_TASK_ID"):
        time.sleep(0.001)
    ctypes.string_at(0)

threading.Thread(target=crash_where_another_task_has_begun, daemon=True).start()
"""
"""A restored container is told its own task: it crashes at this moment, as one whose handles of CUDA do not fit.

By a real fault: the first process of a container is deaf to signals of its own.
"""


FAILS_AT_FIRST = """
import modal
failed = modal.Dict.from_name("steady-fails-at-first", create_if_missing=True)
if any(failed.put(number, True, skip_if_exists=True) for number in range(3)):
    raise OSError("[Errno -3] Temporary failure in name resolution")
"""
"""As many containers as the control plane lets one request lose cannot reach what every later one reaches."""


def with_the_engine(code: str) -> str:
    """A command of an image, after which this runs wherever the engine's library has been imported."""
    encoded = b64encode(code.encode()).decode()
    line = f"\\nimport base64; exec(base64.b64decode('{encoded}'))\\n"
    return f"python -c \"import importlib.util as u; open(u.find_spec('llama_cpp').origin, 'a').write(\\\"{line}\\\")\""


@pytest.fixture
def mended(steady: Steady) -> Any:
    """The service, which works again once the test is over."""
    yield steady
    steady.wait_until_nothing_runs()
    steady.declare_service()
    steady.up()


def boots(steady: Steady, **wanted: str) -> list[dict[str, Any]]:
    """What `coldsnap boots` reads, the newest first."""
    env = steady.env | {name: value for name, value in steady.daemon.env.items() if name.startswith("MODAL_")}
    with subprocess.Popen(
        [sys.executable, "-m", "service.boots"], env=env, text=True, stdin=PIPE, stdout=PIPE
    ) as boots:
        assert boots.stdin is not None
        assert boots.stdout is not None
        boots.stdin.write(json.dumps({"app_name": NAME}) + "\n")
        boots.stdin.flush()  # and stays open: its end tells that nobody waits any more
        (answer,) = [line["result"] for line in map(json.loads, boots.stdout) if "result" in line]
    return [one for one in answer["records"] if wanted.items() <= one.items()]


@pytest.mark.parametrize(
    ("code", "cause", "error"),
    [
        ("import ctypes; ctypes.string_at(0)", "crashed in native code", "killed by signal 11"),
        ("raise OSError('libgomp.so.1: cannot open shared object file')", "lacks OpenMP", "libgomp.so.1"),
    ],
)
def test_a_container_that_dies_at_load_is_told_with_its_cause_and_not_started_again(
    mended: Steady, code: str, cause: str, error: str
) -> None:
    mended.declare_service(image={"run": [with_the_engine(code)]})
    said = mended.up(fails=True)
    assert f"{NAME}: the snapshot is not proved: a container failed" in said
    assert cause in said
    assert "Another start would end alike." in said
    (boot, *_) = boots(mended, kind="cold")
    assert error in boot["error"]
    assert cause in boot["error"]


def test_a_container_that_meets_what_may_pass_is_started_again(mended: Steady) -> None:
    mended.declare_service(image={"run": [with_the_engine(FAILS_AT_FIRST)]})
    said = mended.up()
    assert f"warning: {NAME}: a container failed:" in said
    assert "A download broke off, or its server could not be reached." in said
    assert any("Temporary failure in name resolution" in (boot["error"] or "") for boot in boots(mended))
    mended.client("dict", "delete", "steady-fails-at-first", "--yes")


def test_a_snapshot_that_crashes_at_each_restore_is_taken_again_once_and_then_given_up(
    mended: Steady, daemon: Daemon
) -> None:
    if not daemon.capabilities["snapshots"]:
        pytest.skip("no snapshots on this machine")
    mended.declare_service(image={"run": [with_the_engine(CRASHES)]}, warmup=SMALL | {"max_starts": 6})
    said = mended.up(fails=True)
    assert "warning" in said
    assert f"{NAME}: the snapshot is not proved: the snapshot failed:" in said
    assert "handles of CUDA did not fit the place" in said
    assert "Another snapshot was no better." in said
    crashed = boots(mended, kind="restored")[:2]
    assert all("killed by signal 11" in boot["error"] for boot in crashed)
