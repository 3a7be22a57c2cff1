"""Every rule, and what a service breaks of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.preflight import gpus, images, snapshots, starts, weights
from service.preflight.rule import Finding, Machine, Rule, Severity, Violation
from spec.problems import hint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spec import ServiceSpec


def silenced_rules_exist(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """A number that is mistyped silences nothing, and says so nowhere else."""
    known = tuple(rule.number for rule in RULES)
    for number in service.silence:
        if number not in known:
            yield Violation("there is no rule of that number.", hint(number, known), f"silence.{number}")


_OWN = Rule(
    "CS005",
    Severity.ERROR,
    "silence",
    "only rules that exist are silenced",
    silenced_rules_exist,
    "Correct the number.",
)

RULES = tuple(
    sorted(
        (_OWN, *gpus.RULES, *images.RULES, *snapshots.RULES, *starts.RULES, *weights.RULES),
        key=lambda rule: rule.number,
    )
)
"""Every rule, by number. A new one is a function and a line in its theme's file."""


def findings(service: ServiceSpec, machine: Machine, path: str) -> list[Finding]:
    """Every rule that the service breaks; `path` is the service's own, such as `coldsnap:services[0]`."""
    return [
        Finding(rule, path, violation, service.silence.get(rule.number))
        for rule in RULES
        for violation in rule.check(service, machine)
    ]
