"""What a rule is, and what it finds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from spec import ServiceSpec


@dataclass(frozen=True)
class Machine:
    """What there is where the service will run."""

    has_gpu: bool
    local: bool
    """Whether it is the user's own, where nobody else's safety is at stake."""

    @property
    def place(self) -> str:
        """In words."""
        return "this machine" if self.local else "Modal"

    @classmethod
    def of(cls, backend: str) -> Machine:
        """Modal has every GPU that it names; this machine has what its driver lists."""
        if backend == "modal":
            return cls(has_gpu=True, local=False)
        gpus = Path("/proc/driver/nvidia/gpus")
        return cls(has_gpu=gpus.is_dir() and any(gpus.iterdir()), local=True)


class Severity(StrEnum):
    """What a broken rule does."""

    ERROR = "error"
    """Nothing is deployed."""
    WARNING = "warning"
    """It is shown, and all goes on."""


@dataclass(frozen=True)
class Violation:
    """Where a service breaks a rule; what it leaves empty is as the rule has it."""

    problem: str
    """What was got, and why that does not work."""
    remedy: str = ""
    where: str = ""


Check = Callable[[ServiceSpec, Machine], Iterator[Violation]]


@dataclass(frozen=True)
class Rule:
    """One thing to look at before a deploy."""

    number: str
    """Ends every message, and is what silences the rule; never given to another rule."""
    severity: Severity
    where: str
    """The path within the service of the property that breaks the rule, such as `warmup.max_starts`."""
    demand: str
    """What is asked for, in a few words."""
    check: Check
    """Its docstring says why."""
    remedy: str
    """What to do where the rule is broken."""

    @property
    def why(self) -> str:
        """In one paragraph."""
        return " ".join((inspect.getdoc(self.check) or "").split())


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
        path = f"{self.path}.{found.where or self.rule.where}"
        words = f"{path}: {found.problem} {found.remedy or self.rule.remedy} [{self.rule.number}]"
        return words if self.silenced is None else f"{words} Silenced: {self.silenced}"
