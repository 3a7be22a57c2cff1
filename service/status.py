"""What a stack's services are: as Pulumi's state tells it, and whether that is still so. No container is started."""

from __future__ import annotations

import json
import shutil
from subprocess import run
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, field_validator

from engines.clock import PHASES
from service import operations
from service.failure import Failure
from spec import Scaling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.progress import Progress

SnapshotState = Literal["verified", "building", "failed", "none"]


class Figures(BaseModel):
    """One kind of start, as the warm-up measured it: medians in seconds."""

    ready_s: float
    first_answer_s: float
    phases: dict[str, float]
    runs: int

    @field_validator("phases")
    @classmethod
    def _as_they_pass(cls, phases: dict[str, float]) -> dict[str, float]:
        """Pulumi's state keeps keys in the order of the alphabet."""
        return {name: phases[name] for name in sorted(phases, key=PHASES.index)}


class ServiceStatus(BaseModel):
    """One service of a stack."""

    service: str
    app_name: str
    backend: str
    environment: str
    definition: str
    version: int | None
    url: str | None
    gpu: str | tuple[str, ...]
    cpu: float | None
    memory: int | None
    scaling: Scaling
    snapshot: SnapshotState
    failure: str | None
    """Why the snapshot is `failed`, or what to know of one that is `building`."""
    restores_in_a_row: int
    cold: Figures | None
    restored: Figures | None
    speedup: float | None


class _Key(NamedTuple):
    type: str
    name: str


_UNPROVED = {"state": "failed", "failure": "no warm-up of this version has ended well; `pulumi up` tries it again."}


_BUILDING = (
    "an update is proving it, or was killed while it did, which Pulumi's state does not tell; "
    "`pulumi up` goes on from there."
)


def services(stack: str | None) -> list[ServiceStatus]:
    """Every deployed service of a stack (none: the selected one), by name, as the state tells it.

    Failure if Pulumi has no such stack.
    """
    deployment = _exported(stack).get("deployment") or {}
    resources = {_key(resource["urn"]): resource.get("outputs", {}) for resource in deployment.get("resources", ())}
    pending = {_key(entry["resource"]["urn"]) for entry in deployment.get("pending_operations", ())}
    return sorted(_statuses(resources, pending), key=lambda status: status.service)


def _statuses(resources: dict[_Key, dict[str, Any]], pending: set[_Key]) -> Iterator[ServiceStatus]:
    for key, deployed in resources.items():
        if key.type == "GpuDeployment":
            warmup = _Key("SnapshotWarmup", key.name)
            yield _status(key.name, deployed, resources.get(warmup, {}), under_way=warmup in pending)


def _status(name: str, deployed: dict[str, Any], warmup: dict[str, Any], *, under_way: bool) -> ServiceStatus:
    """A warm-up of another version says nothing of this one."""
    proved = warmup if warmup.get("definition") == deployed["definition"] else _UNPROVED
    return ServiceStatus(
        service=name,
        app_name=deployed["app_name"],
        backend=deployed["backend"],
        environment=deployed.get("environment") or "",
        definition=deployed["definition"],
        version=deployed.get("version"),
        url=deployed.get("url"),
        gpu=deployed["gpu"],
        cpu=deployed.get("cpu"),
        memory=deployed.get("memory"),
        scaling=Scaling.model_validate({**deployed["scaling"], "concurrency": deployed["concurrency"]}),
        snapshot="building" if under_way else proved["state"],
        failure=_BUILDING if under_way else proved.get("failure"),
        restores_in_a_row=int(proved.get("restores") or 0),
        cold=proved.get("cold"),
        restored=proved.get("restored"),
        speedup=proved.get("speedup"),
    )


def as_it_is_now(status: ServiceStatus, progress: Progress) -> ServiceStatus:
    """The same, where production's last starts say otherwise; as the state has it, if the backend does not answer."""
    if status.snapshot == "building" or not status.restores_in_a_row:
        return status
    request = {"app_name": status.app_name, "definition": status.definition}
    try:
        failure = operations.run(
            "snapshot_drift", request, backend=status.backend, environment=status.environment, progress=progress
        )["failure"]
    except Failure as error:
        progress.warn(f"{status.service}: its last starts cannot be read, so this is what Pulumi knows. {error}")
        return status
    if failure is None:
        return status.model_copy(update={"snapshot": "verified", "failure": None})
    return status.model_copy(update={"snapshot": "failed", "failure": failure, "restores_in_a_row": 0})


def _key(urn: str) -> _Key:
    """The last part of a resource's type, and its name: `urn:pulumi:STACK::PROJECT::PARENT$MODULE:Type::NAME`."""
    *_, type_, name = urn.split("::")
    return _Key(type_.rpartition(":")[2], name)


def _exported(stack: str | None) -> dict[str, Any]:
    if (pulumi := shutil.which("pulumi")) is None:
        raise Failure("pulumi is not on the PATH. Run `make setup`, then `. setup/activate`.")
    done = run(
        [pulumi, "stack", "export", *(["--stack", stack] if stack else [])], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failure(f"Pulumi does not know the stack:\n{done.stderr.strip()}")
    return dict(json.loads(done.stdout))
