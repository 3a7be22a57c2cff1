"""Calls about what containers wrote."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from localmodal.api.group import Group
from localmodal.tasks.logs import SYSTEM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from localmodal.plane import Plane
    from localmodal.tasks.logs import Entry
    from localmodal.tasks.tasks import TaskRecord

_DEFAULT_STREAM = 60.0
"""Seconds that a stream lasts when the client does not say; it comes back with the last entry that it has."""


@dataclass(frozen=True)
class Question:
    """Whose output is wanted, and what of it."""

    app_id: str = ""
    task_id: str = ""
    function_id: str = ""
    call_id: str = ""
    input_id: str = ""
    fd: int = 0
    text: str = ""

    @classmethod
    def of(
        cls, request: api_pb2.AppGetLogsRequest | api_pb2.AppFetchLogsRequest | api_pb2.AppCountLogsRequest
    ) -> Question:
        """Reads the fields that the three requests have in common."""
        return cls(
            app_id=request.app_id,
            task_id=request.task_id,
            function_id=request.parametrized_function_id or request.function_id,
            call_id=request.function_call_id,
            input_id=getattr(request, "input_id", ""),
            fd=request.file_descriptor if isinstance(request, api_pb2.AppGetLogsRequest) else request.source,
            text=request.search_text,
        )

    def wants(self, entry: Entry) -> bool:
        """Whether an entry of one of the containers is asked for."""
        return (
            self.fd in (0, entry.fd)
            and self.call_id in ("", entry.call_id)
            and self.input_id in ("", entry.input_id)
            and self.text in entry.text
        )

    def records(self, plane: Plane) -> list[TaskRecord]:
        """The containers that are asked for."""
        if self.task_id:
            return [plane.images.records.build_task(self.task_id) or plane.records.get(self.task_id)]
        ids = plane.functions.with_variants(self.function_id) if self.function_id else set()
        return [one for one in plane.records.of_app(self.app_id) if not ids or one.function_id in ids]

    def entries(self, plane: Plane, since: float, until: float) -> list[tuple[TaskRecord, Entry]]:
        """All that is asked for of a time range, in order."""
        found = [
            (record, entry)
            for record in self.records(plane)
            if record.enqueued_at <= until and (record.finished_at or until) >= since
            for _, entry in plane.logs.read(record.id)
            if since <= entry.at <= until and self.wants(entry)
        ]
        return sorted(found, key=lambda pair: pair[1].at)


@dataclass
class Follower:
    """Where somebody who follows is in each container's output."""

    plane: Plane
    question: Question
    since: float
    _offsets: dict[str, int] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)

    def more(self) -> list[tuple[TaskRecord, Entry]]:
        """What has come since the last time, in order."""
        fresh = [
            (record, entry)
            for record in self.question.records(self.plane)
            if record.id not in self._ended
            for entry in self._read(record)
            if entry.at > self.since and self.question.wants(entry)
        ]
        return sorted(fresh, key=lambda pair: pair[1].at)

    def _read(self, record: TaskRecord) -> list[Entry]:
        if record.finished_at:
            self._ended.add(record.id)
        entries = []
        for offset, entry in self.plane.logs.read(record.id, self._offsets.get(record.id, 0)):
            self._offsets[record.id] = offset
            entries.append(entry)
        return entries

    @property
    def over(self) -> bool:
        """Nothing more can come: the one container has ended, or the app has and with it all of its containers."""
        records = self.question.records(self.plane)
        if any(record.id not in self._ended for record in records):
            return False
        return bool(self.question.task_id) or not self.plane.apps.get(self.question.app_id).alive


class LogCalls(Group):
    """Output of containers: followed, and looked up."""

    async def AppGetLogs(self, request: api_pb2.AppGetLogsRequest) -> AsyncIterator[api_pb2.TaskLogsBatch]:
        """Follows the output of an app or of one container."""
        question = Question.of(request)
        follower = Follower(self.plane, question, self._start(question, request.last_entry_id))
        deadline = time.monotonic() + (request.timeout or _DEFAULT_STREAM)
        while True:
            for record, entry in follower.more():
                yield _batch(record, [entry])
            if follower.over:
                yield api_pb2.TaskLogsBatch(app_done=True, task_id=question.task_id)
                return
            left = deadline - time.monotonic()
            if left <= 0 or not await self.plane.logs.written.wait(left):
                return

    def _start(self, question: Question, last_entry_id: str) -> float:
        """Unix seconds from which on output is shown: of a deployed app, which may be old, only what is new."""
        if last_entry_id:
            return float(last_entry_id)
        if question.task_id or question.call_id:
            return 0.0
        app = self.plane.apps.get(question.app_id)
        return time.time() if app.state == api_pb2.APP_STATE_DEPLOYED else 0.0

    async def AppFetchLogs(self, request: api_pb2.AppFetchLogsRequest) -> api_pb2.AppFetchLogsResponse:
        """The last entries of a time range."""
        entries = self._range(request)
        wanted = entries[-request.limit :] if request.limit else entries
        return api_pb2.AppFetchLogsResponse(batches=[_batch(record, [entry]) for record, entry in wanted])

    async def AppCountLogs(self, request: api_pb2.AppCountLogsRequest) -> api_pb2.AppCountLogsResponse:
        """How many entries there are, by spans of time."""
        width = request.bucket_secs or 1
        buckets: defaultdict[int, Counter[int]] = defaultdict(Counter)
        for _, entry in self._range(request):
            buckets[int(entry.at // width) * width][entry.fd] += 1
        response = api_pb2.AppCountLogsResponse(app_id=request.app_id)
        for start, count in sorted(buckets.items()):
            bucket = response.buckets.add(stdout_logs=count[1], stderr_logs=count[2], system_logs=count[SYSTEM])
            bucket.bucket_start_at.FromSeconds(start)
        return response

    def _range(
        self, request: api_pb2.AppFetchLogsRequest | api_pb2.AppCountLogsRequest
    ) -> list[tuple[TaskRecord, Entry]]:
        since = request.since.ToNanoseconds() / 1e9
        until = request.until.ToNanoseconds() / 1e9 if request.HasField("until") else time.time()
        return Question.of(request).entries(self.plane, since, until)


def _batch(record: TaskRecord, entries: list[Entry]) -> api_pb2.TaskLogsBatch:
    return api_pb2.TaskLogsBatch(
        task_id=record.id,
        function_id=record.function_id,
        entry_id=repr(entries[-1].at),
        items=[
            api_pb2.TaskLogs(
                data=entry.text,
                timestamp=entry.at,
                timestamp_ns=int(entry.at * 1e9),
                file_descriptor=entry.fd,
                function_call_id=entry.call_id,
                input_id=entry.input_id,
                container_id=record.id,
            )
            for entry in entries
        ],
    )
