"""What cannot work ends with one clear message, and the next update goes on from there."""

import json
import os
import signal
import time
from pathlib import Path

import httpx
import pytest
from pulumi_project import CHAT, Project


def test_a_failing_image_command_is_told_with_its_last_lines(project: Project) -> None:
    project.declare(CHAT | {"image": {"run": ["echo the disk of this build is on fire && exit 3"]}})
    said = project.up(fails=True)
    assert "The image could not be built." in said
    assert said.partition("Diagnostics:")[2].count("=> RUN echo the disk of this build is on fire && exit 3") == 1
    assert "Traceback" not in said


def test_a_secret_that_does_not_exist_is_told_with_its_property_and_what_makes_it(project: Project) -> None:
    project.declare(CHAT | {"api_key_secret": "nowhere"})
    said = project.up(fails=True)
    assert "chat: api_key_secret: Secret 'nowhere' not found in environment 'main'." in said
    assert "modal secret create nowhere API_KEY=..." in said
    assert "Traceback" not in said
    apps = json.loads(project.client("app", "list", "--json"))
    assert {app["state"] for app in apps if app["description"] == "chat"} == {"stopped"}


@pytest.fixture
def broken(project: Project, tmp_path: Path) -> Project:
    """A service whose weights end after their first bytes."""
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and no more")
    silence = {"CS006": "what is wrong with it is for the container to find out"}
    project.declare(CHAT | {"weights": {"path": str(tmp_path / "broken.gguf")}, "silence": silence})
    return project


def test_a_container_that_dies_at_load_fails_the_warm_up_alone(broken: Project) -> None:
    said = broken.up(fails=True)
    assert "chat: the snapshot is not proved: a container failed" in said
    assert "`pulumi up` tries the warm-up again, and nothing else." in said
    assert broken.steps() == {"SnapshotWarmup": "create"}


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (signal.SIGINT, "start 1 of at most 10"),
        (signal.SIGKILL, "building the image"),
        (signal.SIGKILL, "deploying"),
        (signal.SIGKILL, "start 1 of at most 10"),
        (signal.SIGKILL, "start 2 of at most 10"),
    ],
)
def test_an_update_killed_at_any_step_converges_with_the_next(project: Project, number: int, step: str) -> None:
    with project.start("up", "--yes", "--skip-preview") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if step in line:
                break
        os.kill(process.pid, number)
        time.sleep(1)
        process.kill()
    project.pulumi("cancel", "--yes")
    project.up()
    assert httpx.get(f"{project.output()['url']}/health", timeout=60).status_code == 200
    project.pulumi("up", "--yes", "--skip-preview", "--refresh", "--expect-no-changes")
    apps = json.loads(project.client("app", "list", "--json"))
    assert [app["state"] for app in apps if app["description"] == CHAT["name"]].count("deployed") == 1
