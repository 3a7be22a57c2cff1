"""A snapshot that was proved, and that the service gives up later on, is drift: seen, told and mended."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pulumi_project import CHAT, Project
from typer.testing import CliRunner

from cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

    from real_daemon import Daemon

SMALL = {"restores_in_a_row": 1, "max_starts": 2, "prompt_tokens": [4]}


@pytest.fixture
def status(project: Project, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `coldsnap status` says of the project's service."""
    for name, value in project.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.folder)

    def ask() -> dict[str, Any]:
        answer = CliRunner().invoke(app, ["status", "--json", "--stack", project.stack])
        assert answer.exit_code == 0, answer.exception
        (entry,) = json.loads(answer.stdout)
        return dict(entry)

    return ask


def spoil_the_next_start(project: Project, daemon: Daemon) -> None:
    """Damages the snapshot, once nothing is made of it, and lets a request meet a start."""
    wait_until_nothing_runs(daemon)
    snapshots = [folder for folder in (daemon.paths.disk / "snapshots").iterdir() if folder.is_dir()]
    flip_a_bit(max(snapshots, key=lambda folder: folder.stat().st_mtime) / "image/pages-1.img")
    answer = httpx.post(f"{project.output()['url']}/v1/completions", json={"prompt": "A", "max_tokens": 1}, timeout=60)
    assert answer.status_code == 200
    wait_until_nothing_runs(daemon)


def flip_a_bit(file: Path) -> None:
    """In place: the file is as large as what it is the memory of, and has holes."""
    with file.open("r+b") as content:
        content.seek(4096)
        (byte,) = content.read(1)
        content.seek(4096)
        content.write(bytes([byte ^ 1]))


def wait_until_nothing_runs(daemon: Daemon) -> None:
    deadline = time.monotonic() + 60
    while daemon.status["containers"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_snapshot_that_was_given_up_is_failed_and_the_next_update_proves_it_again(
    project: Project, daemon: Daemon, status: Any
) -> None:
    if not daemon.capabilities["snapshots"]:
        pytest.skip("no snapshots on this machine")
    project.declare(CHAT | {"scaling": {"scaledown_window": 2}, "warmup": SMALL})
    project.up()
    assert (status()["snapshot"], status()["failure"]) == ("verified", None)

    spoil_the_next_start(project, daemon)
    assert status()["snapshot"] == "verified"
    spoil_the_next_start(project, daemon)
    assert status()["snapshot"] == "failed"
    assert status()["failure"].startswith("the last 2 starts were cold, the latest of them at")
    assert "image/pages-1.img is not as it was written" in status()["failure"]

    assert project.steps() == {}
    project.pulumi("refresh", "--yes", "--skip-preview")
    assert project.steps() == {"SnapshotWarmup": "update"}
    project.up()
    assert status()["snapshot"] == "verified"
    project.pulumi("up", "--yes", "--skip-preview", "--refresh", "--expect-no-changes")


def test_a_service_whose_app_was_stopped_by_hand_has_no_snapshot(project: Project, daemon: Daemon, status: Any) -> None:
    project.declare(CHAT | {"warmup": SMALL})
    project.up()
    project.client("app", "stop", "chat", "--yes")
    if daemon.capabilities["snapshots"]:
        assert status()["failure"].startswith("the version that was proved is not live: it is stopped or gone.")
    project.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert status()["failure"] is None
