"""What `coldsnap advise` replays: a deployed service, what the options say of one, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.quiet import Quiet
from service.advice import Case
from service.backend import is_billed
from service.economics import Hardware
from service.failure import Failure
from service.replay import Pace
from service.status import services
from spec import Scaling
from spec.frozen import Frozen
from spec.gpu import Gpu
from spec.problems import InputError, explained

if TYPE_CHECKING:
    from service.status import ServiceStatus


_WITHOUT_A_STACK = "With --restored or --cold, and --request-seconds, no stack is needed."


class Known(Frozen):
    """What is known of a service; none: not known."""

    restored: float | None = None
    """Seconds of a restored start, until the container takes its first request."""
    cold: float | None = None
    """Seconds of a start without a snapshot."""
    request_seconds: float | None = None
    gpu: Gpu | None = None
    cpu: float | None = None
    memory: int | None = None
    concurrency: int | None = None
    max_containers: int | None = None


def known(**options: Any) -> Known:
    """What the options say; Failure with each that is wrong."""
    try:
        return explained(Known, options, "--")
    except InputError as error:
        raise Failure(str(error)) from None


def deployed(stack: str | None, service: str | None) -> ServiceStatus:
    """The service of a stack; Failure if it is not there, or if nobody has said which."""
    try:
        there = services(stack)
    except Failure as error:
        raise Failure(f"{error}\n{_WITHOUT_A_STACK}") from None
    found = [entry for entry in there if service in (None, entry.service)]
    if not found:
        raise Failure(
            f"No service {service or ''} is deployed in this stack. `coldsnap status` lists what is. {_WITHOUT_A_STACK}"
        )
    if len(found) > 1:
        raise Failure(f"Which service? Give --service: {', '.join(entry.service for entry in found)}.")
    return found[0]


def case_of(options: Known, entry: ServiceStatus | None) -> Case:
    """The case of a deployed service (none: of the options alone), where options go before what the state says."""
    state = _of_state(entry) if entry else {}
    said = Known.model_validate({**state, **options.model_dump(exclude_none=True)})
    start_s, request_s = said.cold if said.restored is None else said.restored, said.request_seconds
    if start_s is None:
        raise Failure("No start is measured yet: `pulumi up` does that. Or give --restored or --cold.")
    if request_s is None:
        raise Failure("How long does a request take? Give --request-seconds.")
    compared = said.restored is not None and said.cold is not None
    return Case(
        pace=Pace(start_s, request_s),
        without_snapshot=Pace(said.cold, request_s) if compared and said.cold is not None else None,
        scaling=_scaling(entry.scaling if entry else Scaling(), said),
        hardware=None if said.gpu is None else Hardware.of(said.model_dump()),
    )


def _of_state(entry: ServiceStatus) -> dict[str, Any]:
    """A snapshot that failed restores nothing; what runs on this machine has no price."""
    restored = entry.restored if entry.snapshot == "verified" else None
    first = restored or entry.cold
    return {
        "restored": restored and restored.ready_s,
        "cold": entry.cold and entry.cold.ready_s,
        "request_seconds": first and max(0.0, first.first_answer_s - first.ready_s),
        **({"gpu": entry.gpu, "cpu": entry.cpu, "memory": entry.memory} if is_billed(entry.backend) else {}),
    }


def _scaling(now: Scaling, said: Known) -> Scaling:
    """Failure if the limits of the options contradict the rest."""
    if now.buffer_containers:
        Quiet().warn(f"buffer_containers: {now.buffer_containers} is left out: no spare container is replayed.")
    limits = {"concurrency": said.concurrency, "max_containers": said.max_containers}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    try:
        return explained(Scaling, now.model_dump() | given, "--max-containers")
    except InputError as error:
        raise Failure(str(error)) from None
