"""Commands against a real control plane, and what they say where there is nothing to tell."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from pulumi_state import coldsnap, deployment

from cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_state import Stack
    from real_daemon import Daemon


def test_boots_of_an_unknown_service_are_refused(stack: Stack) -> None:
    stack.holds(deployment())
    assert str(coldsnap("boots", "--service", "talk").exception).startswith(
        "No service talk is deployed in this stack."
    )


def test_a_service_without_records_has_none(stack: Stack, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLDSNAP_HOME", str(daemon.home))
    stack.holds(deployment("never-started"))
    answer = coldsnap("boots", "--json")
    assert answer.exit_code == 0, answer.exception
    assert json.loads(answer.stdout) == []


def test_nothing_is_drawn_where_nothing_is_measured(
    stack: Stack, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLDSNAP_HOME", str(daemon.home))
    stack.holds(deployment("never-started"))
    refused = coldsnap("boots", "--chart", str(tmp_path / "starts.png"))
    assert "never-started: nothing is measured yet." in str(refused.exception)
    assert not (tmp_path / "starts.png").exists()


def test_the_exports_of_the_local_environment_reach_the_daemon(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLDSNAP_HOME", str(daemon.home))
    exports = coldsnap("local", "env").stdout
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_")}

    listed = subprocess.run(
        ["sh", "-ec", f"{exports}\nmodal app list --json"], env=plain, text=True, capture_output=True, check=False
    )

    assert listed.returncode == 0, listed.stderr
    assert isinstance(json.loads(listed.stdout), list)


def test_doctor_names_what_is_there() -> None:
    said = coldsnap("doctor").output
    for what in ("Python", "modal client", "pulumi", "containers", "memory snapshots"):
        assert what in said


def test_doctor_fails_without_pulumi_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    answer = coldsnap("doctor")
    assert answer.exit_code == 1
    assert "Not on the PATH. Run `make setup`" in answer.output


def test_a_failure_is_printed_with_its_brackets(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path such as services[0], or pip's [notice], is no markup."""
    stack.holds(deployment())
    monkeypatch.setattr("sys.argv", ["coldsnap", "boots", "--service", "[/red]"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "No service [/red] is deployed" in capsys.readouterr().err
