"""Input that cannot be used is refused by a preview, in one sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pulumi_project import CHAT

if TYPE_CHECKING:
    from faulty import Steady

GPUS = Path("/proc/driver/nvidia/gpus")


def refusal(project: Steady, *services: Any, **stack: Any) -> list[str]:
    """What a preview complains of."""
    project.declare(*services, **stack)
    said = project.pulumi("preview", fails=True)
    project.declare_service()
    assert "Traceback" not in said
    lines = [line.strip().removeprefix("error: ") for line in said.partition("Diagnostics:")[2].splitlines()]
    return [line for line in lines if line.startswith("coldsnap:") and "(" not in line.partition(" ")[0]]


@pytest.mark.skipif(GPUS.is_dir() and any(GPUS.iterdir()), reason="there is a GPU")
def test_a_gpu_that_this_machine_does_not_have_is_refused(deployed_once: Steady) -> None:
    assert refusal(deployed_once, CHAT | {"gpu": "L40S"}) == [
        'coldsnap:services[0].gpu: "L40S" is asked for, and this machine has no GPU. '
        "Set gpu: none, or coldsnap:backend: modal. [CS001]"
    ]


def test_everything_that_is_wrong_is_told_at_once(deployed_once: Steady) -> None:
    wrong = {"engine": {"kind": "llama"}, "scalling": {}, "weights": {}, "warmup": {"timeout": "long"}}
    told = refusal(deployed_once, CHAT | wrong)
    paths = [line.removeprefix("coldsnap:services[0].").partition(": ")[0] for line in told]
    assert sorted(paths) == ["engine.kind", "scalling", "warmup.timeout", "weights"]


def test_services_that_are_no_list_are_refused(deployed_once: Steady) -> None:
    assert refusal(deployed_once, services="chat") == ['coldsnap:services: should be a list, got "chat".']


def test_a_key_of_the_stack_that_is_not_known_is_refused_with_the_nearest_one(deployed_once: Steady) -> None:
    assert refusal(deployed_once, CHAT, bakend="local") == ['coldsnap:bakend: unknown key. Did you mean "backend"?']
