"""A user's input, validated and checked against the rules while a preview still costs nothing."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pulumi

from service.preflight import Finding, Machine, Severity, findings
from spec import ServiceSpec
from spec.problems import InputError, explained
from spec.stack import NAMESPACE, Stack, parse_stack


def declared_stack() -> Stack:
    """What the stack file declares below `coldsnap:`; RunError with every problem."""
    prefix = f"{NAMESPACE}:"
    values = {key.removeprefix(prefix): value for key, value in _config().items() if key.startswith(prefix)}
    if "services" in values:
        values["services"] = _parsed(values["services"])
    try:
        stack = parse_stack(values)
    except InputError as error:
        raise pulumi.RunError(str(error)) from None
    machine = Machine.of(stack.backend)
    services = enumerate(stack.services)
    _judge([one for index, service in services for one in findings(service, machine, f"{prefix}services[{index}]")])
    return stack


def declared_service(values: Any, name: str, backend: str) -> ServiceSpec:
    """The service of a program's arguments, once they are known; RunError with every problem."""
    try:
        service = explained(ServiceSpec, {"name": name, **values}, name)
    except InputError as error:
        raise pulumi.RunError(str(error)) from None
    _judge(findings(service, Machine.of(backend), name))
    return service


def _config() -> dict[str, str]:
    return dict(pulumi.runtime.get_config_env())


def _parsed(value: str) -> Any:
    """Pulumi hands lists and mappings over as JSON, and text as it is."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _judge(found: list[Finding]) -> None:
    """Shows what warns and what is silenced; RunError with all that refuses."""
    told: dict[Severity | None, list[str]] = defaultdict(list)
    for finding in found:
        told[finding.severity].append(str(finding))
    for line in told[None]:
        pulumi.log.info(line)
    for line in told[Severity.WARNING]:
        pulumi.log.warn(line)
    if told[Severity.ERROR]:
        raise pulumi.RunError("\n".join(told[Severity.ERROR]))
