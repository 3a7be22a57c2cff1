"""What is wrong with a snapshot costs a cold start and a word of it, never an answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faulty import NAME, SMALL, Steady

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Daemon


RESTORED = "Restoring Function from memory snapshot."


@pytest.fixture(autouse=True)
def _snapshots(daemon: Daemon) -> None:
    if not daemon.capabilities["snapshots"]:
        pytest.skip("no snapshots on this machine")


@pytest.fixture
def full_disk(daemon: Daemon) -> Iterator[Path]:
    """A file that leaves too little room for a snapshot. Its blocks are reserved, not written."""
    filler = daemon.paths.disk / "filler"
    room = shutil.disk_usage(daemon.paths.disk).free - (60 << 20)
    subprocess.run(["fallocate", "--length", str(room), filler], check=True)
    yield filler
    filler.unlink(missing_ok=True)


def test_without_room_for_a_snapshot_the_service_answers_and_the_warm_up_says_what_is_missing(
    steady: Steady, full_disk: Path
) -> None:
    steady.declare_another_version(warmup=SMALL | {"max_starts": 2})
    said = steady.up(fails=True)
    assert f"{NAME}: the snapshot is not proved: not enough restores within 2 starts" in said
    assert "No memory snapshot: no disk space for a snapshot: it takes about" in said
    assert "Free some space; the next cold start tries again." in said
    assert steady.ask()
    full_disk.unlink()
    steady.wait_until_nothing_runs()
    assert steady.up_again() == {"SnapshotWarmup"}


def damage_the_snapshot(steady: Steady) -> Path:
    """Turns one bit of the newest one, while nothing is made of it."""
    steady.wait_until_nothing_runs()
    folders = [folder for folder in (steady.daemon.paths.disk / "snapshots").iterdir() if folder.is_dir()]
    snapshot = max(folders, key=lambda folder: folder.stat().st_mtime)
    with (snapshot / "image/pages-1.img").open("r+b") as content:
        content.seek(4096)
        (byte,) = content.read(1)
        content.seek(4096)
        content.write(bytes([byte ^ 1]))
    return snapshot


def test_a_damaged_snapshot_costs_no_answer_and_is_taken_again_once(steady: Steady) -> None:
    steady.declare_another_version()
    steady.up()
    reason = "image/pages-1.img is not as it was written"

    snapshot = damage_the_snapshot(steady)
    assert steady.ask()
    assert f"The memory snapshot was bad: {reason}. This start is cold and takes another one." in steady.log()
    known = {"name": snapshot.name, "count": 1, "reason": reason, "given_up": False}
    assert known in steady.daemon.status["bad_snapshots"]

    assert damage_the_snapshot(steady) == snapshot
    assert steady.ask()
    assert "No other one is taken, and starts stay cold. `pulumi up --refresh` asks for one more" in steady.log()

    assert json.loads(steady.daemon.verb("forgive", NAME).stdout) == {"forgiven": [snapshot.name]}
    assert known["name"] not in [one["name"] for one in steady.daemon.status["bad_snapshots"]]
    steady.wait_until_nothing_runs()
    assert steady.ask()
    steady.wait_until_nothing_runs()
    restored = steady.log().count(RESTORED)
    assert steady.ask()
    assert steady.log().count(RESTORED) == restored + 1


def snapshots(steady: Steady) -> bool:
    """Whether this machine can take any, as far as the updates here can see."""
    found = steady.daemon.verb("capabilities", PATH=steady.env["PATH"])
    return bool(json.loads(found.stdout)["snapshots"])


@contextmanager
def without_criu(steady: Steady) -> Iterator[None]:
    """CRIU is found nowhere but in the system's own folders, by a daemon that is started anew."""
    tools, path = steady.daemon.home / "tools", steady.env["PATH"]
    away = tools.rename(tools.with_name("tools-away")) if tools.exists() else None
    hidden = [folder for folder in path.split(os.pathsep) if Path(folder, "criu").exists() and "sbin" not in folder]
    steady.env["PATH"] = os.pathsep.join(folder for folder in path.split(os.pathsep) if folder not in hidden)
    steady.daemon.verb("stop")
    try:
        yield
    finally:
        steady.env["PATH"] = path
        if away:
            away.rename(tools)
        steady.daemon.verb("stop")


def test_without_criu_every_start_is_cold_and_the_warm_up_says_how_to_get_it(steady: Steady) -> None:
    """Once it is there, the next update proves the snapshot."""
    with without_criu(steady):
        if snapshots(steady):
            pytest.skip("another CRIU is found where system programs lie")
        steady.declare_another_version()
        said = steady.up()
        assert f"warning: {NAME}: no memory snapshot here, every start is cold. Missing: CRIU" in said
        assert "run `make setup`, which installs it beside the system" in said
        assert steady.output()["snapshot"] == "none"
        assert steady.ask()
    assert steady.up_again() == {"SnapshotWarmup"}
