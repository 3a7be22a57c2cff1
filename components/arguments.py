"""Arguments of a service in a Pulumi program: the stack file's shape, where any value may be another resource's output.

In sync with the models of `spec/`, whose defaults stand for what is left out; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

from pulumi import Input, Inputs, Output


@dataclass(frozen=True)
class EngineArgs:
    """The engine and its options."""

    kind: Input[str]
    options: Input[Inputs] | None = None


@dataclass(frozen=True)
class WeightsArgs:
    """Where the model's weights come from, exactly one source, and where they are put."""

    huggingface: Input[str] | None = None
    revision: Input[str] | None = None
    files: Input[list[Input[str]]] | None = None
    ignore: Input[list[Input[str]]] | None = None
    pypi: Input[str] | None = None
    url: Input[str] | None = None
    sha256: Input[str] | None = None
    path: Input[str] | None = None
    token_secret: Input[str] | None = None
    place: Literal["auto", "image", "volume"] | None = None
    size_gb: float | None = None


@dataclass(frozen=True)
class ImageArgs:
    """The container image's recipe."""

    base: Input[str] | None = None
    python: Input[str] | None = None
    apt: Input[list[Input[str]]] | None = None
    pip: Input[list[Input[str]]] | None = None
    extra_index: Input[str] | None = None
    env: Input[dict[str, Input[str]]] | None = None
    files: Input[dict[str, Input[str]]] | None = None
    run: Input[list[Input[str]]] | None = None


@dataclass(frozen=True)
class ScalingArgs:
    """How many containers there are, and for how long."""

    scaledown_window: Input[int] | None = None
    min_containers: Input[int] | None = None
    max_containers: Input[int] | None = None
    buffer_containers: Input[int] | None = None
    concurrency: Input[int] | None = None


@dataclass(frozen=True)
class SnapshotArgs:
    """Whether and how the warm process is snapshotted."""

    enabled: Input[bool] | None = None
    gpu: Input[Literal["auto"] | bool] | None = None
    weights: Input[Literal["inside", "outside", "auto"]] | None = None


@dataclass(frozen=True)
class WarmupArgs:
    """What a start warms up, and how the snapshot is proved."""

    prompt_tokens: Input[list[Input[int]]] | None = None
    restores_in_a_row: Input[int] | None = None
    max_starts: Input[int] | None = None
    timeout: Input[float] | None = None


@dataclass(frozen=True)
class ServiceArgs:
    """One GPU model service. Its name is the resource's."""

    engine: Input[EngineArgs]
    weights: Input[WeightsArgs]
    image: Input[ImageArgs] | None = None
    gpu: Input[str | list[Input[str]]] | None = None
    cpu: Input[float] | None = None
    memory: Input[int] | None = None
    api_key_secret: Input[str] | None = None
    scaling: Input[ScalingArgs] | None = None
    snapshot: Input[SnapshotArgs] | None = None
    caches: Input[Literal["auto"] | bool] | None = None
    warmup: Input[WarmupArgs] | None = None
    rollout: Input[Literal["rolling", "recreate"]] | None = None
    silence: Input[dict[str, Input[str]]] | None = None


def values_of(arguments: Any) -> Any:
    """Arguments as nested values without what was left out; outputs stay outputs."""
    if is_dataclass(arguments):
        named = ((field.name, getattr(arguments, field.name)) for field in fields(arguments))
        return {name: values_of(value) for name, value in named if value is not None}
    return arguments.apply(values_of) if isinstance(arguments, Output) else arguments
