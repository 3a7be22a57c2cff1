"""One function's inputs and containers: who gets which input, when a container is started, and when one is ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from modal_proto import api_pb2

from localmodal.errors import not_found
from localmodal.pulse import Pulse
from localmodal.tasks.attempts import LINES_SHOWN, Attempts
from localmodal.tasks.starts import Starts
from localmodal.tasks.tasks import Phase, Task, in_words, result_of
from localmodal.worker.container import ContainerError, Exit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Sequence

    from localmodal.apps.functions import Function, Functions
    from localmodal.tasks.calls import Calls, Input
    from localmodal.tasks.tasks import TaskRecords
    from localmodal.worker.worker import RunningTask

log = logging.getLogger(__name__)

Result = api_pb2.GenericResult

MOST_FAILED_STARTS = 3
"""Starts in a row that may fail before the waiting inputs are failed."""
_LONG_POLL = 55.0
"""Seconds that a container's question for inputs may wait; it asks again."""
_DRAIN_GRACE = 30.0
"""Seconds that a container has for its exit hooks once it is told to end."""


class Launcher(Protocol):
    """Starts containers."""

    async def prepare(self, definition: api_pb2.Function) -> None:
        """Makes what a first start would wait for, while somebody watches a deployment.

        FAILED_PRECONDITION, by name, for what a definition asks for and never would get here.
        """

    async def launch(self, task: Task) -> RunningTask:
        """Starts a task's container, restored or cold. ContainerError if it cannot."""

    def discard(self, task: Task) -> None:
        """Takes down what `launch` set up, after the container has ended."""

    def lost_faith(self, task: Task, reason: str) -> None:
        """A restored container ended before it asked for work: its snapshot is not to be used again."""

    def keep_snapshots(self, function_ids: Collection[str]) -> None:
        """Removes the snapshots of all other functions."""


class Pool:
    """One function, or one variant of it."""

    def __init__(
        self,
        function_id: str,
        functions: Functions,
        calls: Calls,
        records: TaskRecords,
        launcher: Launcher,
    ) -> None:
        self._id = function_id
        self._functions = functions
        self._calls = calls
        self._records = records
        self._launcher = launcher
        self._attempts = Attempts(calls, lambda one: self.enqueue([one]), self.kill)
        self.queue: deque[Input] = deque()
        self.tasks: dict[str, Task] = {}
        self.waiting_for_server = 0
        """Requests that wait for a container of an `@app.server`."""
        self.changed = Pulse()
        self._starts = Starts(self.scale)
        self._given_up: ContainerError | None = None
        """Why the requests that waited for a server were last sent away."""
        self._background: set[asyncio.Task[None]] = set()
        self.stopped = False

    @property
    def function(self) -> Function:
        """What calls run now: it changes with every deployment."""
        return self._functions.get(self._id)

    # -- inputs

    def enqueue(self, inputs: Iterable[Input]) -> None:
        """Takes inputs to run."""
        self.queue.extend(inputs)
        self.changed.beat()
        self.scale()

    def _requeue(self, inputs: Sequence[Input]) -> None:
        self.queue.extendleft(reversed([one for one in inputs if one.output is None]))
        self.changed.beat()

    def withdraw(self, inputs: Iterable[Input], *, terminate_containers: bool) -> None:
        """Drops inputs that are answered already: waiting ones at once, running ones through their container."""
        gone = {one.id for one in inputs}
        self.queue = deque(one for one in self.queue if one.id not in gone)
        for task in list(self.tasks.values()):
            for input_id in gone & task.running.keys():
                if terminate_containers:
                    self.end(task, "an input was cancelled with terminate_containers=True")
                else:
                    task.cancel(input_id)
        if terminate_containers:
            self._end_needless_starts()

    def _end_needless_starts(self) -> None:
        """One that hangs would else be there until its start-up timeout, and the next input would wait for it."""
        too_many = max(0, len(self._live()) - self._wanted())
        newest_first = reversed([task for task in self._live() if task.phase is Phase.STARTING])
        for task in islice(newest_first, too_many):
            self.end(task, "what it was started for was cancelled with terminate_containers=True")

    async def next_inputs(self, task: Task, request: api_pb2.FunctionGetInputsRequest) -> list[Input] | None:
        """The next inputs for a container: up to a batch, none after a while, None when it is to end."""
        self._became_ready(task)
        deadline = time.monotonic() + _LONG_POLL
        while task.phase is Phase.READY:
            if self.queue:
                return await self._take(task, request)
            left = deadline - time.monotonic()
            if left <= 0 or not await self.changed.wait(left):
                return []
        task.set_timer(asyncio.get_running_loop().call_later(_DRAIN_GRACE, self.end, task, "its exit took too long"))
        return None

    async def _take(self, task: Task, request: api_pb2.FunctionGetInputsRequest) -> list[Input]:
        batch = max(1, request.batch_max_size)
        linger = time.monotonic() + request.batch_linger_ms / 1000
        while len(self.queue) < batch and (left := linger - time.monotonic()) > 0:
            await self.changed.wait(left)
        taken = [self.queue.popleft() for _ in range(min(batch, len(self.queue)))]
        for one in taken:
            self._attempts.begin(task, one)
        return taken

    def concurrency(self, request: api_pb2.FunctionGetDynamicConcurrencyRequest) -> int:
        """Inputs that a container may work on: more than the target only when no further container may be started."""
        full = len(self._live()) >= self.function.max_containers
        return request.max_concurrency if self.queue and full else request.target_concurrency

    def put_output(self, task: Task, item: api_pb2.FunctionPutOutputsItem) -> None:
        """Takes the output of an input that a container worked on."""
        if (running := task.running.get(item.input_id)) is None:
            return
        output = api_pb2.FunctionGetOutputsItem(
            result=item.result,
            data_format=item.data_format,
            input_started_at=item.input_started_at,
            output_created_at=item.output_created_at,
        )
        self._attempts.answer(task, running.input, output)  # first: what cannot be written down is sent again
        self._attempts.end(task, item.input_id)
        self._rest(task)

    # -- servers

    async def server(self) -> Task:
        """A ready container of an `@app.server`, the one with the fewest open requests; starts one if there is none."""
        self.waiting_for_server += 1
        given_up = self._given_up
        try:
            while not self.stopped:
                if self._given_up and self._given_up is not given_up:
                    raise self._given_up
                if ready := [task for task in self.tasks.values() if task.phase is Phase.READY]:
                    task = min(ready, key=lambda one: one.leases)
                    task.leases += 1
                    task.set_timer(None)
                    return task
                self.scale()
                await self.changed.wait()
        finally:
            self.waiting_for_server -= 1
        raise not_found("Function", self._id, "Its app was stopped.")

    def end_request(self, task: Task) -> None:
        """A request of a server's container is over."""
        task.leases -= 1
        self._rest(task)

    def server_is_ready(self, task: Task) -> None:
        """The server in a container says that it serves."""
        self._became_ready(task)
        self._rest(task)

    # -- containers

    def _live(self) -> list[Task]:
        return [task for task in self.tasks.values() if task.live]

    def scale(self) -> None:
        """Starts the containers that are missing. Called whenever something changes that it depends on."""
        if self.stopped or self._starts.paused:
            return
        for _ in range(self._wanted() - len(self._live())):
            task = self._records.new(self.function)
            self.tasks[task.id] = task
            self.spawn(self._live_and_die(task))

    def _wanted(self) -> int:
        busy = sum(len(task.running) + task.leases for task in self._live())
        return self.function.containers_for(len(self.queue) + busy + self.waiting_for_server)

    def spawn(self, work: Awaitable[None]) -> None:
        """Does something in the background; the pool ends only after it."""
        background = asyncio.ensure_future(work)
        self._background.add(background)
        background.add_done_callback(self._background.discard)

    async def _live_and_die(self, task: Task) -> None:
        """One container's life."""
        reason = ""
        try:
            task.container = await self._launcher.launch(task)
            self._started(task)
            exit_ = await task.container.wait()
        except ContainerError as error:
            exit_, reason = Exit(1), str(error)
        except Exception as error:
            log.exception("%s could not be started", task.id)
            exit_, reason = Exit(1), f"{type(error).__name__}: {error}"
        self._launcher.discard(task)
        self._ended(task, exit_, reason)

    def _started(self, task: Task) -> None:
        assert task.container
        if task.container.restored:
            task.log.system("Restoring Function from memory snapshot.")
        self._records.started(task)
        if task.end_reason or self.stopped:  # it was ended before there was anything to end
            self.spawn(task.container.kill())
        elif task.phase is Phase.STARTING:
            limit = task.function.definition.startup_timeout_secs or task.function.definition.timeout_secs
            task.set_timer(asyncio.get_running_loop().call_later(limit or 300, self._hangs, task, limit))

    def _hangs(self, task: Task, limit: float) -> None:
        self.kill(task, f"it was not ready within its start-up timeout of {limit}s")

    def _became_ready(self, task: Task) -> None:
        if task.phase is Phase.STARTING:
            task.phase = Phase.READY
            task.set_timer(None)
            self._starts.succeed()
            self._rest(task)
            self.changed.beat()

    def _rest(self, task: Task) -> None:
        """A container that has nothing to do ends when its scaledown window is over."""
        if task.idle:
            window = self.function.settings.scaledown_window
            task.set_timer(asyncio.get_running_loop().call_later(window, self._idled, task))

    def _idled(self, task: Task) -> None:
        if task.idle and len(self._live()) > self._wanted():
            self.drain(task)

    def settings_changed(self) -> None:
        """How the function scales was changed."""
        self.scale()
        for task in self._live():
            self._rest(task)

    def version_changed(self, *, restart: bool) -> None:
        """A version went into production: containers of another one (`restart`: all) finish their work and end."""
        for task in self._live():
            if restart or task.function.definition_id != self.function.definition_id:
                self.drain(task)
        self._starts.forget()
        self.settings_changed()

    def drain(self, task: Task) -> None:
        """Lets a container finish what it works on, and end."""
        if not task.live:
            return
        starting = task.phase is Phase.STARTING
        task.phase = Phase.DRAINING
        task.set_timer(None)
        if starting or task.function.definition.is_server:
            self.end(task, "it is no longer needed")
        self.changed.beat()
        self.scale()

    def end(self, task: Task, reason: str) -> None:
        """Ends a container; what it works on is run by another one, but for web requests that it has begun."""
        if task.phase is Phase.ENDED:
            return
        task.phase = Phase.DRAINING
        task.end_reason = task.end_reason or reason
        task.set_timer(None)
        interrupted = self._attempts.end_all(task)
        self._attempts.interrupted(interrupted, task, task.end_reason)
        self._requeue(interrupted)
        grace = task.function.definition.http_config.exit_grace_period or _DRAIN_GRACE
        if task.container:
            self.spawn(_stopped(task.container, grace))
        self.changed.beat()
        self.scale()

    def kill(self, task: Task, reason: str) -> None:
        """Ends a container at once; it takes nothing new meanwhile."""
        if task.phase is Phase.READY:
            task.phase = Phase.DRAINING
        task.end_reason = task.end_reason or reason
        task.log.system(f"Container {task.id} is ended: {reason}.")
        if task.container:
            self.spawn(task.container.kill())

    def _ended(self, task: Task, exit_: Exit, reason: str) -> None:
        failed_start = task.phase is Phase.STARTING
        reason = reason or task.end_reason or in_words(exit_)
        task.phase = Phase.ENDED
        task.set_timer(None)
        lost = self._attempts.end_all(task)
        self.tasks.pop(task.id, None)
        result = task.result or result_of(exit_, reason, failed=failed_start or bool(lost))
        if result.status != Result.GENERIC_STATUS_SUCCESS:
            log.info("Container %s of %s has ended: %s", task.id, task.function.tag, reason)
        if failed_start:
            self._start_failed(task, result, reason)
        self._attempts.lost(lost, task, reason)
        self._requeue(lost)
        self._records.finished(task, result)
        self.changed.beat()
        self.scale()

    def _start_failed(self, task: Task, result: Result, reason: str) -> None:
        if task.container and task.container.restored and task.result is None:
            self._launcher.lost_faith(task, reason)
            return
        self._starts.fail()
        task.log.system(f"The container did not start: {reason}.")
        if self._starts.failed >= MOST_FAILED_STARTS:
            self._fail_waiting(task, result, reason)

    def _fail_waiting(self, task: Task, result: Result, reason: str) -> None:
        """The waiting inputs get what the container said itself, or our account of how it ended."""
        if task.result is None:
            result = Result(
                status=Result.GENERIC_STATUS_INTERNAL_FAILURE,
                exception=f"{task.function.tag}: {self._starts.failed} containers in a row did not start. "
                f"The last one, {task.id}: {reason}. Its last lines:\n{task.log.tail(LINES_SHOWN)}",
            )
        self._given_up = ContainerError(result.exception or reason)
        waiting, self.queue = self.queue, deque()
        for one in waiting:
            self._calls.finish(one, api_pb2.FunctionGetOutputsItem(result=result, task_id=task.id), ours=True)

    # -- the end

    async def stop(self, reason: str) -> None:
        """Ends everything: the waiting and running inputs with a reason, the containers at once."""
        self.stopped = True
        self._starts.end_pause()
        running = [one for task in self.tasks.values() for one in self._attempts.end_all(task)]
        for one in [*self.queue, *running, *self._attempts.give_up()]:
            self._calls.fail(one, Result.GENERIC_STATUS_TERMINATED, reason)
        self.queue.clear()
        self.changed.beat()
        for task in list(self.tasks.values()):
            self._kill_for_good(task, reason)
        await self._all_gone()

    async def close(self) -> None:
        """Ends the containers at once; what waits or runs stays accepted, for the next daemon."""
        self.stopped = True
        self._starts.end_pause()
        self.queue.clear()
        self._attempts.give_up()
        for task in list(self.tasks.values()):
            self._attempts.end_all(task)
            self._kill_for_good(task, "the local control plane stops")
        await self._all_gone()

    def _kill_for_good(self, task: Task, reason: str) -> None:
        task.phase, task.end_reason = Phase.DRAINING, task.end_reason or reason
        if task.container:
            self.spawn(task.container.kill())

    async def _all_gone(self) -> None:
        while self._background:
            await asyncio.wait(self._background)


async def _stopped(container: RunningTask, grace: float) -> None:
    await container.stop(grace)
