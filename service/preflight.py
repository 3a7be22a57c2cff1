"""Pure: rules that refuse what would fail later, while it still costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spec import ServiceSpec
from spec.gpu import asks_for_gpu

_ANSWER_TOKENS = 16
"""Room that an answer needs beside the longest warm-up prompt."""


@dataclass(frozen=True)
class Machine:
    """What there is where the service will run."""

    has_gpu: bool
    place: str
    """In words: `this machine`, `Modal`."""

    @classmethod
    def of(cls, backend: str) -> Machine:
        """Modal has every GPU that it names; this machine has what its driver lists."""
        if backend == "modal":
            return cls(has_gpu=True, place="Modal")
        gpus = Path("/proc/driver/nvidia/gpus")
        return cls(has_gpu=gpus.is_dir() and any(gpus.iterdir()), place="this machine")


Rule = Callable[[ServiceSpec, Machine], Iterator[str]]
"""Yields `property: what is wrong and what to do`, once for each violation."""


def problems(service: ServiceSpec, machine: Machine, path: str) -> list[str]:
    """Every rule that the service breaks, with its number and the property's path."""
    return [f"{path}.{problem} [{number}]" for number, rule in RULES.items() for problem in rule(service, machine)]


def _gpu_is_there(service: ServiceSpec, machine: Machine) -> Iterator[str]:
    if asks_for_gpu(service.gpu) and not machine.has_gpu:
        gpu = service.gpu if isinstance(service.gpu, str) else ", ".join(service.gpu)
        yield f'gpu: "{gpu}" is asked for, and {machine.place} has no GPU. Set gpu: none, or coldsnap:backend: modal.'


def _weights_are_there(service: ServiceSpec, _: Machine) -> Iterator[str]:
    path = service.weights.path
    if path is not None and not Path(path).is_file():
        yield f'weights.path: "{path}" is no file in {Path.cwd()}. Give the path of the weights\' file.'


def _prompts_fit(service: ServiceSpec, _: Machine) -> Iterator[str]:
    longest, context = max(service.warmup.prompt_tokens, default=0), service.engine.options.n_ctx
    if longest + _ANSWER_TOKENS > context:
        yield (
            f"warmup.prompt_tokens: a prompt of {longest} tokens and its answer do not fit into n_ctx {context}. "
            "Raise engine.options.n_ctx or warm up with shorter prompts."
        )


def _proof_is_possible(service: ServiceSpec, _: Machine) -> Iterator[str]:
    needed, allowed = service.warmup.restores_in_a_row + 1, service.warmup.max_starts
    if service.snapshot.enabled and allowed < needed:
        yield (
            f"warmup.max_starts: {allowed} starts cannot prove {service.warmup.restores_in_a_row} restores in a row, "
            f"since the first one makes the snapshot. Set {needed} or more."
        )


RULES: dict[str, Rule] = {
    "CS001": _gpu_is_there,
    "CS002": _weights_are_there,
    "CS003": _prompts_fit,
    "CS004": _proof_is_possible,
}
"""Every rule by the number that its message ends with; a number is never given to another rule."""
