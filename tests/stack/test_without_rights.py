"""The main loop as somebody who may do nothing: another user, in a user namespace, without a single capability."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from pulumi_project import CHAT, SOURCE, Project, environment
from real_daemon import NOBODY, Daemon, make_home, needs_nobody

if TYPE_CHECKING:
    from collections.abc import Iterator


def as_nobody(project: Project, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of ours, with its output as one stream."""
    return subprocess.run(
        [*NOBODY, *command],
        cwd=project.folder,
        env={**project.env, "COLUMNS": "400", "PYTHONPATH": str(SOURCE)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def coldsnap(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line."""
    return as_nobody(project, sys.executable, "-c", "from cli.main import main; main()", *arguments)


@pytest.fixture(scope="module")
def powerless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project of somebody without rights, with a home of its own; nothing is deployed yet."""
    needs_nobody()
    home = Daemon(make_home(tmp_path_factory.mktemp("powerless")))
    env = environment(home, tmp_path_factory.mktemp("pulumi"))
    project = Project(tmp_path_factory.mktemp("project") / "project", env, "local", NOBODY)
    project.declare(CHAT)
    project.pulumi("stack", "init")
    yield project
    as_nobody(project, sys.executable, "-m", "localmodal", "destroy")
    assert not home.paths.root.exists()


@pytest.fixture(scope="module")
def said(powerless: Project) -> str:
    """What the first update says."""
    return powerless.up()


def test_the_update_warns_and_names_what_is_missing_and_how_to_get_it(said: str) -> None:
    assert "warning: chat: no memory snapshot here, every start is cold." in said
    assert "root (containers with layers, limits and isolation): run as root" in said
    assert "the right to mount (CAP_SYS_ADMIN)" in said


@pytest.mark.usefixtures("said")
def test_the_model_answers_in_a_stream(powerless: Project) -> None:
    question = {"messages": [{"role": "user", "content": "What is water made of?"}], "max_tokens": 16, "stream": True}
    url = f"{powerless.output()['url']}/v1/chat/completions"
    with httpx.stream("POST", url, json=question, timeout=120) as response:
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    pieces = [choice["delta"].get("content") or "" for event in events for choice in json.loads(event)["choices"]]
    assert len(pieces) > 1
    assert "".join(pieces).strip()


@pytest.mark.usefixtures("said")
def test_the_outputs_claim_no_snapshot(powerless: Project) -> None:
    chat = powerless.output()
    assert chat["snapshot"] == "none"
    assert chat["cold"]["runs"] == 1
    assert chat["restored"] is chat["speedup"] is None


@pytest.mark.usefixtures("said")
def test_a_second_update_changes_nothing(powerless: Project) -> None:
    powerless.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")


def test_the_doctor_says_the_same_and_that_it_will_do(powerless: Project) -> None:
    report = coldsnap(powerless, "doctor")
    assert report.returncode == 0, report.stdout
    assert "plain processes" in report.stdout
    assert "none: every start is cold" in report.stdout
    assert "Needed for containers with layers, limits and isolation. run as root" in report.stdout


@pytest.mark.usefixtures("said")
def test_the_demo_ends_with_an_answer(powerless: Project) -> None:
    shown = coldsnap(powerless, "demo")
    assert shown.returncode == 0, shown.stdout
    assert "What is water made of?" in shown.stdout
    assert "answered by a" in shown.stdout
    assert "cold (1 run)" in shown.stdout
    assert "faster to the first answer" not in shown.stdout
