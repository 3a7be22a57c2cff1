"""What a stack holds, put there through the real CLI, and the command line run in this process."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

URN = "urn:pulumi:dev::coldsnap::coldsnap:index:SnapshottedGpuService$pulumi-python:dynamic/coldsnap:{}::{}"
COLD = {"ready_s": 3.0, "first_answer_s": 4.0, "phases": {"load": 1.0, "imports": 2.0, "first_answer": 1.0}, "runs": 1}
RESTORED = {"ready_s": 0.2, "first_answer_s": 1.0, "phases": {"restore": 0.2, "first_answer": 0.7}, "runs": 3}


def deployment(service: str = "chat", **changed: Any) -> dict[str, Any]:
    """A deployed version, as its provider leaves it in the state."""
    outputs = {
        "app_name": service,
        "backend": "local",
        "definition": "d1",
        "version": 2,
        "url": "http://chat.localhost:1",
        "gpu": "none",
        "scaling": {"scaledown_window": 60, "min_containers": 0, "max_containers": 4, "buffer_containers": 0},
        "concurrency": 4,
    }
    return resource("GpuDeployment", service, outputs | changed)


def warmup(service: str = "chat", **changed: Any) -> dict[str, Any]:
    """A proved snapshot, as its provider leaves it in the state."""
    outputs = {
        "definition": "d1",
        "state": "verified",
        "cold": COLD,
        "restored": RESTORED,
        "speedup": 4.0,
        "restores": 3,
    }
    return resource("SnapshotWarmup", service, outputs | changed)


def resource(kind: str, name: str, outputs: dict[str, Any]) -> dict[str, Any]:
    """One resource of a state."""
    type_ = f"pulumi-python:dynamic/coldsnap:{kind}"
    return {"urn": URN.format(kind, name), "custom": True, "id": name, "type": type_, "outputs": outputs}


@dataclass
class Stack:
    """The selected stack of the folder that this process is in."""

    folder: Path

    def holds(self, *resources: dict[str, Any]) -> None:
        """Puts a state into Pulumi, which checks it."""
        file = self.folder / "state.json"
        file.write_text(json.dumps({"version": 3, "deployment": {"manifest": {}, "resources": resources}}))
        pulumi("stack", "import", "--file", str(file), "--force")

    def is_making(self, resource: dict[str, Any]) -> None:
        """Leaves the mark of an operation under way in the backend's own file, since an import drops such marks."""
        file = self.folder / ".pulumi/stacks/coldsnap/dev.json"
        state = json.loads(file.read_text())
        state["checkpoint"]["latest"]["pending_operations"] = [{"resource": resource, "type": "creating"}]
        file.write_text(json.dumps(state))


def pulumi(*arguments: str) -> None:
    """A command of the real CLI; it succeeds."""
    done = subprocess.run(["pulumi", *arguments, "--non-interactive"], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def coldsnap(*arguments: str) -> Result:
    """What the command line answers."""
    return CliRunner().invoke(app, arguments)
