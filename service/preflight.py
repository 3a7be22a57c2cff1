"""Rules that refuse or warn before anything is deployed, while it still costs nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from service.gguf import NotWholeError, check_whole
from spec import ServiceSpec
from spec.gpu import asks_for_gpu
from spec.problems import hint

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


class Severity(StrEnum):
    """What a broken rule does."""

    ERROR = "error"
    """Nothing is deployed."""
    WARNING = "warning"
    """It is shown, and all goes on."""


@dataclass(frozen=True)
class Violation:
    """Where a service breaks a rule."""

    property: str
    """Its path within the service, such as `warmup.max_starts`."""
    problem: str
    """What was got, and why that does not work."""
    remedy: str


Check = Callable[[ServiceSpec, Machine], Iterator[Violation]]


@dataclass(frozen=True)
class Rule:
    """One thing to look at before a deploy."""

    number: str
    """Ends every message, and is what silences the rule; never given to another rule."""
    severity: Severity
    demand: str
    """What is asked for, in a few words."""
    check: Check


@dataclass(frozen=True)
class Finding:
    """A rule that a service breaks."""

    rule: Rule
    path: str
    violation: Violation
    silenced: str | None
    """The reason that the service gives for breaking it; none: it gives none."""

    @property
    def severity(self) -> Severity | None:
        """What it does; nothing if it is silenced."""
        return self.rule.severity if self.silenced is None else None

    def __str__(self) -> str:
        found = self.violation
        words = f"{self.path}.{found.property}: {found.problem} {found.remedy} [{self.rule.number}]"
        return words if self.silenced is None else f"{words} Silenced: {self.silenced}"


def findings(service: ServiceSpec, machine: Machine, path: str) -> list[Finding]:
    """Every rule that the service breaks; `path` is the service's own, such as `coldsnap:services[0]`."""
    return [
        Finding(rule, path, violation, service.silence.get(rule.number))
        for rule in RULES
        for violation in rule.check(service, machine)
    ]


def _gpu_is_there(service: ServiceSpec, machine: Machine) -> Iterator[Violation]:
    if asks_for_gpu(service.gpu) and not machine.has_gpu:
        gpu = service.gpu if isinstance(service.gpu, str) else ", ".join(service.gpu)
        problem = f'"{gpu}" is asked for, and {machine.place} has no GPU.'
        yield Violation("gpu", problem, "Set gpu: none, or coldsnap:backend: modal.")


def _weights_are_there(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    path = service.weights.path
    if path is None or _readable(path):
        return
    why = "may not be read by this user" if Path(path).is_file() else f"is no file in {Path.cwd()}"
    yield Violation("weights.path", f'"{path}" {why}.', "Give the path of the weights' file.")


def _weights_are_whole(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    path = service.weights.path
    if path is None or not _readable(path):
        return
    try:
        check_whole(Path(path))
    except NotWholeError as error:
        yield Violation("weights.path", f'"{path}" {error}.', "Download it again, and compare its size.")


def _readable(path: str) -> bool:
    return Path(path).is_file() and os.access(path, os.R_OK)


def _prompts_fit(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    longest, context = max(service.warmup.prompt_tokens, default=0), service.engine.context
    if context and longest + _ANSWER_TOKENS > context:
        problem = f"a prompt of {longest} tokens and its answer do not fit into n_ctx {context}."
        yield Violation("warmup.prompt_tokens", problem, "Raise engine.options.n_ctx or warm up with shorter prompts.")


def _proof_is_possible(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    wanted, allowed = service.warmup.restores_in_a_row, service.warmup.max_starts
    if service.snapshot.enabled and allowed <= wanted:
        problem = f"{allowed} starts cannot prove {wanted} restores in a row, since the first one makes the snapshot."
        yield Violation("warmup.max_starts", problem, f"Set {wanted + 1} or more.")


def _nobody_is_always_warm(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    if always := service.scaling.min_containers:
        problem = f"{always} kept warm, but none while a version's starts are measured: requests may meet a start then."
        remedy = "Silence this rule if that is fine, or set 0 and leave it to the snapshot."
        yield Violation("scaling.min_containers", problem, remedy)


def _silenced_rules_exist(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    known = tuple(rule.number for rule in RULES)
    for number in service.silence:
        if number not in known:
            yield Violation(f"silence.{number}", "there is no rule of that number.", hint(number, known))


RULES = (
    Rule("CS001", Severity.ERROR, "a GPU where the service runs on one", _gpu_is_there),
    Rule("CS002", Severity.ERROR, "weights that are there", _weights_are_there),
    Rule("CS003", Severity.ERROR, "warm-up prompts that fit into the context", _prompts_fit),
    Rule("CS004", Severity.ERROR, "as many starts as the proof takes", _proof_is_possible),
    Rule("CS005", Severity.ERROR, "only rules that exist are silenced", _silenced_rules_exist),
    Rule("CS006", Severity.ERROR, "a file of weights that is whole", _weights_are_whole),
    Rule("CS007", Severity.WARNING, "containers that start when they are needed", _nobody_is_always_warm),
)
"""Every rule. A new one is a function above and a line here."""
