"""The boot record: what a container's start was, and how long each of its phases took."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

KEPT = 500
"""Boot records that a service keeps; the oldest go first."""


class BootRecord(BaseModel):
    """One start of one container.

    Keys that this version does not know are ignored: the records of older and newer versions lie in the same Dict.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    """The container's task id."""
    service: str
    definition: str
    """Digest of the version's definition: the tag of its deploy."""
    role: Literal["service", "twin"]
    """The twin is the class without a snapshot: the "before" of a measurement."""
    kind: Literal["cold", "restored"]
    started_at: float
    """When the container's process began, in unix seconds."""
    ready_at: float | None
    """When it could take its first request, in unix seconds; none: it never could, see `error`."""
    phases: dict[str, float]
    """Seconds of each phase, in the order in which they passed.

    cold: imports, load, warm_up, (release, snapshot, resume,) serve; restored: restore, resume, serve; and first_answer
    once there was one.
    """
    gpu: str | None
    versions: dict[str, str]
    error: str | None = None


class StartReport(BaseModel):
    """What `start()` answers: the boot of the container that took the call, and its answer to the first request."""

    model_config = ConfigDict(frozen=True)

    boot: BootRecord
    first: bool
    """Whether this call is the container's first request: otherwise it tells nothing about a start."""
    taken_at: float
    """When the container took this call, in unix seconds."""
    answered_at: float
    """When its answer was complete, in unix seconds."""
    answer: str
    """What the model said, or a description of what it made."""
