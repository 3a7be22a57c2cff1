"""Containers as the control plane sees them: what they work on, and what is told of them afterwards."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from localmodal.errors import not_found
from localmodal.ids import new_id
from localmodal.pulse import Pulse

if TYPE_CHECKING:
    import sqlite3

    from localmodal.apps.functions import Function
    from localmodal.store import Store
    from localmodal.tasks.calls import Input
    from localmodal.tasks.logs import Logs, TaskLog
    from localmodal.worker.container import Exit
    from localmodal.worker.worker import RunningTask

RECORDS_KEPT_FOR = 7 * 24 * 3600.0
"""Seconds for which an ended container's record and output are kept."""
_SIGNALLED = 128
"""Exit codes above this one are signals, as a shell counts them; above those they are the program's own again."""


class Phase(Enum):
    """Where in its life a container is."""

    STARTING = 1
    READY = 2
    """It has asked for its first input, or its server says that it serves."""
    DRAINING = 3
    """It finishes what it works on and takes nothing new."""
    ENDED = 4


@dataclass(eq=False)
class Running:
    """One input that a container works on."""

    input: Input
    deadline: asyncio.TimerHandle | None = None


@dataclass(eq=False)
class Task:
    """One container of one function."""

    id: str
    function: Function
    log: TaskLog
    enqueued_at: float
    started_at: float = 0.0
    phase: Phase = Phase.STARTING
    container: RunningTask | None = None
    launched: asyncio.Event = field(default_factory=asyncio.Event)
    """Its record says what it was started from, or it never will: a restored one may work before we know it is."""
    running: dict[str, Running] = field(default_factory=dict)
    leases: int = 0
    """Requests of its server that are open."""
    cancelled: list[str] = field(default_factory=list)
    """Inputs whose cancellation the container has not been told yet."""
    to_tell: Pulse = field(default_factory=Pulse)
    """Beats when there is something to tell with the next heartbeat."""
    timer: asyncio.TimerHandle | None = None
    """STARTING: its start-up takes too long; READY and idle: its scaledown window is over; DRAINING: it is killed."""
    result: api_pb2.GenericResult | None = None
    """Why it ended, if it said so itself."""
    end_reason: str = ""
    """Why we ended it, if we did."""

    def __post_init__(self) -> None:
        self.log.works_on = self.works_on

    @property
    def idle(self) -> bool:
        """It is ready and works on nothing."""
        return self.phase is Phase.READY and not self.running and not self.leases

    @property
    def live(self) -> bool:
        """It takes inputs, or will."""
        return self.phase in (Phase.STARTING, Phase.READY)

    def set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        """Replaces its one timer."""
        if self.timer:
            self.timer.cancel()
        self.timer = timer

    def cancel(self, input_id: str) -> None:
        """Tells the container with its next heartbeat to drop an input."""
        self.cancelled.append(input_id)
        self.to_tell.beat()

    def works_on(self) -> tuple[str, str]:
        """The call and the input that its output belongs to, if that is certain."""
        if len(self.running) != 1:
            return "", ""
        (only,) = self.running.values()
        return only.input.call.id, only.input.id

    @property
    def snapshot_behavior(self) -> api_pb2.TaskSnapshotBehavior.ValueType:
        """Whether it takes a memory snapshot, comes from one, or neither."""
        if self.container is None or not (self.container.restored or self.container.snapshotting):
            return api_pb2.TASK_SNAPSHOT_BEHAVIOR_NONE
        if self.container.restored:
            return api_pb2.TASK_SNAPSHOT_BEHAVIOR_RESTORE
        return api_pb2.TASK_SNAPSHOT_BEHAVIOR_SNAPSHOT


@dataclass(frozen=True)
class TaskRecord:
    """What is known of a container, running or not."""

    id: str
    app_id: str
    function_id: str
    enqueued_at: float
    started_at: float
    finished_at: float
    snapshot_behavior: api_pb2.TaskSnapshotBehavior.ValueType
    result: api_pb2.GenericResult

    @classmethod
    def of(cls, row: sqlite3.Row) -> TaskRecord:
        """Reads a row of the table."""
        return cls(**{**dict(row), "result": api_pb2.GenericResult.FromString(row["result"])})


class TaskRecords:
    """The records of all containers."""

    def __init__(self, store: Store, logs: Logs) -> None:
        self._store = store
        self._logs = logs

    def new(self, function: Function) -> Task:
        """A task for a container that is about to start."""
        task_id, now = new_id("ta"), time.time()
        self._store.note(
            "INSERT INTO tasks (id, app_id, function_id, enqueued_at) VALUES (?, ?, ?, ?)",
            *(task_id, function.app_id, function.id, now),
        )
        return Task(task_id, function, self._logs.open(task_id), now)

    def started(self, task: Task) -> None:
        """Notes that the container runs, and from what."""
        task.started_at = time.time()
        self._store.note(
            "UPDATE tasks SET started_at = ?, snapshot_behavior = ? WHERE id = ?",
            *(task.started_at, task.snapshot_behavior, task.id),
        )
        task.launched.set()

    def finished(self, task: Task, result: api_pb2.GenericResult) -> None:
        """Notes that the container has ended, and why."""
        task.log.close()
        task.launched.set()
        self._store.note(
            "UPDATE tasks SET finished_at = ?, result = ? WHERE id = ?",
            *(time.time(), result.SerializeToString(), task.id),
        )
        self._logs.written.beat()

    def get(self, task_id: str) -> TaskRecord:
        """The record of one container; NOT_FOUND if there is none."""
        if (row := self._store.row("SELECT * FROM tasks WHERE id = ?", task_id)) is None:
            raise not_found("Container", task_id)
        return TaskRecord.of(row)

    def of_app(self, app_id: str) -> list[TaskRecord]:
        """Every container of an app, the oldest first."""
        rows = self._store.rows("SELECT * FROM tasks WHERE app_id = ? ORDER BY enqueued_at", app_id)
        return [TaskRecord.of(row) for row in rows]

    def sweep(self) -> None:
        """At a start: those that ran are gone."""
        reason = "The local control plane was restarted; the container was ended."
        gone = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_TERMINATED, exception=reason)
        self._store.write(
            "UPDATE tasks SET finished_at = ?, result = ? WHERE finished_at = 0", time.time(), gone.SerializeToString()
        )

    def delete_old(self) -> None:
        """Forgets the containers, and what they wrote, that ended long ago."""
        long_ago = time.time() - RECORDS_KEPT_FOR
        for row in self._store.rows("SELECT id FROM tasks WHERE finished_at BETWEEN 1 AND ?", long_ago):
            self._logs.remove(row["id"])
            self._store.write("DELETE FROM tasks WHERE id = ?", row["id"])


def in_words(exit_: Exit) -> str:
    """How a container ended, for a person."""
    if exit_.out_of_memory:
        return "it ran out of memory (raise memory= of the function)"
    if _SIGNALLED < exit_.code < _SIGNALLED + signal.NSIG:
        return f"it was killed by signal {exit_.code - _SIGNALLED}"
    return f"it exited with code {exit_.code}"


def result_of(exit_: Exit, reason: str, *, failed: bool) -> api_pb2.GenericResult:
    """The same for the client. `failed`: it did not do what it was started for, whatever its exit code says."""
    if exit_.code == 0 and not failed:
        return api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)
    return api_pb2.GenericResult(
        status=api_pb2.GenericResult.GENERIC_STATUS_FAILURE, exitcode=exit_.code, exception=reason
    )
