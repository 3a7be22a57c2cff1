"""A Pulumi program's arguments have the stack file's shape."""

from dataclasses import fields

import pytest
from pulumi import Output

from components import arguments
from components.arguments import EngineArgs, ServiceArgs, WeightsArgs, values_of
from components.snapshotted_gpu_service import owner
from spec import Image, Scaling, ServiceSpec, Snapshot, Warmup, Weights
from spec.llama_cpp import LlamaCppEngine


@pytest.mark.parametrize(
    ("args", "model"),
    [
        ("EngineArgs", LlamaCppEngine),
        ("WeightsArgs", Weights),
        ("ImageArgs", Image),
        ("ScalingArgs", Scaling),
        ("SnapshotArgs", Snapshot),
        ("WarmupArgs", Warmup),
    ],
)
def test_arguments_have_the_keys_of_the_stack_file(args: str, model: type) -> None:
    assert [field.name for field in fields(getattr(arguments, args))] == list(model.model_fields)


def test_a_services_arguments_are_its_keys_but_the_name_which_is_the_resources() -> None:
    assert ["name", *(field.name for field in fields(ServiceArgs))] == list(ServiceSpec.model_fields)


def test_what_is_left_out_is_left_to_the_stack_files_defaults() -> None:
    args = ServiceArgs(EngineArgs("llama_cpp"), WeightsArgs(pypi="a==1"))
    assert values_of(args) == {"engine": {"kind": "llama_cpp"}, "weights": {"pypi": "a==1"}}


async def test_arguments_within_an_output_are_resolved() -> None:
    args = ServiceArgs(Output.from_input("x").apply(lambda _: EngineArgs("llama_cpp")), WeightsArgs(pypi="a==1"))
    assert await Output.from_input(values_of(args)).future() == {
        "engine": {"kind": "llama_cpp"},
        "weights": {"pypi": "a==1"},
    }


def test_an_owner_is_a_tag_of_modals() -> None:
    assert owner("coldsnap", "local") == "coldsnap.local"
    long = owner("coldsnap", "team/" + "x" * 80)
    assert len(long) == 63
    assert long.startswith("coldsnap.team-xxx")
    assert long != owner("coldsnap", "team/" + "x" * 81)
