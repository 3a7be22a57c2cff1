"""The boot record: what a container's start was, and how long each of its phases took."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Literal

import modal
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = 500
"""Boot records that a service keeps; the oldest go first."""

FLUSH_SECONDS = 10.0
"""How long a container that ends waits for its record to be written."""

log = logging.getLogger("coldsnap.boots")


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


def dict_name(app_name: str) -> str:
    """The name of the Dict that holds a service's boot records."""
    return f"{app_name}-boots"


class BootLog:
    """Writes the boot records of a service's containers: in a thread, and without ever failing a request."""

    def __init__(self, app_name: str) -> None:
        self._name = dict_name(app_name)
        self._writing: threading.Thread | None = None

    def write(self, make_record: Callable[[], BootRecord], *, wait: Callable[[], object] | None = None) -> None:
        """Write the record; made, if there is something to wait for, once that has returned."""

        def work() -> None:
            if wait:
                wait()
            try:
                self._put(make_record())
            except Exception as error:  # noqa: BLE001 - a lost record costs nobody an answer
                log.warning("this start's boot record is not written: %s", error)

        self._writing = threading.Thread(target=work, name="boot-record", daemon=True)
        self._writing.start()

    def flush(self) -> None:
        """Wait until the record is written, for so long as that is reasonable."""
        if self._writing:
            self._writing.join(FLUSH_SECONDS)

    def _put(self, record: BootRecord) -> None:
        # Looked up now and not kept: a connection made before a snapshot is dead after it.
        records = modal.Dict.from_name(self._name, create_if_missing=True)
        records.put(record.id, record.model_dump(mode="json"))
        if records.len() > KEPT:
            _forget_oldest(records)


def _forget_oldest(records: modal.Dict) -> None:
    by_age = sorted(records.items(), key=lambda item: item[1]["started_at"])
    for name, _ in by_age[:-KEPT]:
        records.pop(name, None)
