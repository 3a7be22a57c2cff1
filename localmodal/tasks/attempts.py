"""What becomes of one input after another in containers: answered, retried, timed out, or lost with its container."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from localmodal.tasks.tasks import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localmodal.tasks.calls import Calls, Input
    from localmodal.tasks.tasks import Task

Result = api_pb2.GenericResult

MOST_LOSSES = 3
"""Containers that an input may lose before it is failed."""
LINES_SHOWN = 20
"""Last lines of a dead container's output that go into the message."""
_FINAL = frozenset({Result.GENERIC_STATUS_SUCCESS, Result.GENERIC_STATUS_TERMINATED})


class Attempts:
    """The inputs of one function that containers work on, or that wait for their next attempt."""

    def __init__(self, calls: Calls, again: Callable[[Input], None], kill: Callable[[Task, str], None]) -> None:
        self._calls = calls
        self._again = again
        self._kill = kill
        self._delayed: dict[Input, asyncio.TimerHandle] = {}

    def begin(self, task: Task, one: Input) -> None:
        """A container gets an input."""
        task.set_timer(None)
        limit = task.function.definition.timeout_secs
        timer = asyncio.get_running_loop().call_later(limit, self._timed_out, task, one) if limit else None
        task.running[one.id] = Running(one, timer)

    def end(self, task: Task, input_id: str) -> Input | None:
        """A container is done with an input; None if it was taken away from it before."""
        if (running := task.running.pop(input_id, None)) is None:
            return None
        if running.deadline:
            running.deadline.cancel()
        return running.input

    def end_all(self, task: Task) -> list[Input]:
        """A container is done with everything."""
        return [one for input_id in list(task.running) if (one := self.end(task, input_id))]

    def answer(self, task: Task, one: Input, output: api_pb2.FunctionGetOutputsItem) -> None:
        """Takes what came of an attempt: the answer, or the reason for the next attempt."""
        output.task_id = task.id
        policy = task.function.definition.retry_policy
        if output.result.status in _FINAL or one.retry_count >= policy.retries or one.output is not None:
            self._calls.finish(one, output)
            return
        delay = policy.initial_delay_ms * (policy.backoff_coefficient or 1.0) ** one.retry_count
        one.retry_count += 1
        self._calls.note_attempt(one)
        delay = min(delay, policy.max_delay_ms or delay) / 1000
        self._delayed[one] = asyncio.get_running_loop().call_later(delay, self._retry, one)

    def _retry(self, one: Input) -> None:
        del self._delayed[one]
        if one.output is None:
            self._again(one)

    def _timed_out(self, task: Task, one: Input) -> None:
        reason = f"Task's current input hit its timeout of {task.function.definition.timeout_secs}s"
        task.log.system(f"{reason}: {one.id}.")
        result = Result(status=Result.GENERIC_STATUS_TIMEOUT, exception=reason)
        if task.function.max_inputs > 1:
            task.cancel(one.id)  # it stays in `running` until the container has let go of it
        else:
            self.end(task, one.id)
            self._kill(task, "its input timed out")
        self.answer(task, one, api_pb2.FunctionGetOutputsItem(result=result))

    def interrupted(self, inputs: Sequence[Input], task: Task, reason: str) -> None:
        """A container is ended with these. Another one cannot go on with a web request that this one has begun."""
        for one in inputs:
            if not one.call.durable and (one.call.data_in.used or one.call.data_out.begun):
                message = f"{task.function.tag}: {task.id} was ended while it worked on this request: {reason}."
                self._calls.fail(one, Result.GENERIC_STATUS_INTERNAL_FAILURE, message)

    def lost(self, inputs: Sequence[Input], task: Task, reason: str) -> None:
        """A container has died with these; those that have now lost too many are failed."""
        for one in inputs:
            one.losses += 1
            self._calls.note_attempt(one)
            # What a web request has sent is used up by the first container that takes it.
            if one.losses >= MOST_LOSSES or not one.call.durable:
                message = (
                    f"{task.function.tag}: {one.losses} containers died while they worked on this input. The last one, "
                    f"{task.id}: {reason}. Its last lines:\n{task.log.tail(LINES_SHOWN)}"
                )
                self._calls.fail(one, Result.GENERIC_STATUS_INTERNAL_FAILURE, message)

    def give_up(self) -> list[Input]:
        """There will be no next attempt; returns the inputs that waited for theirs."""
        waiting = list(self._delayed)
        for timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()
        return waiting
