"""A control plane that records, as a test drives it, and the stacks that are sent to it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import modal
from arrivals import Arrivals
from pulumi_project import Project
from real_daemon import Daemon

from localmodal.home import Home

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

TOKEN = "hf_thisOneMustBeSeenNowhere"


class Recorder(Daemon):
    """A daemon that records, in a home of its own."""

    def verb(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return super().verb(*arguments, COLDSNAP_RECORD="1", **variables)

    @property
    def paths(self) -> Home:
        return Home(self.home / "recorded", records=True)

    @property
    def arrivals(self) -> Arrivals:
        """What it was sent."""
        answer = self.verb("recorded")
        assert answer.returncode == 0, answer.stderr
        return Arrivals(json.loads(answer.stdout))


@dataclass(frozen=True)
class Sent:
    """The stacks after their updates."""

    projects: dict[str, Project]
    first: dict[str, str]
    """What the update of each stack said that ended at its weights."""
    second: dict[str, str]
    """And the one after it, whose weights were there."""
    state: Path
    """Where Pulumi keeps its state."""
    arrivals: Arrivals


def project_of(stack: str, text: str, folder: Path, env: dict[str, str]) -> Project:
    """A project with that one stack, of which nothing is deployed yet."""
    project = Project(folder / "project", env, stack=stack)
    (project.folder / f"stacks/Pulumi.{stack}.yaml").write_text(text)
    project.pulumi("stack", "init")
    return project


def all_at_once(projects: dict[str, Project], *command: str) -> dict[str, str]:
    """What each says; they wait for their processes more than for this machine."""
    running = {stack: project.start(*command) for stack, project in projects.items()}
    return {stack: process.communicate()[0] for stack, process in running.items()}


def put_weights(recorder: Recorder, client: modal.Client, service: str) -> None:
    """What the function that was refused would have left on the Volume, but for the size of it."""
    task: dict[str, Any] = recorder.arrivals.task(service)
    content, listing = b"weights", [{"name": "weights", "size": 7, "sha256": ""}]
    volume = modal.Volume.from_name(task["volume"], client=client)
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(content), f"{task['folder']}/weights")
        batch.put_file(io.BytesIO(json.dumps(listing).encode()), f"{task['folder']}.json")
