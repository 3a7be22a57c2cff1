"""Function calls: their inputs, their outputs, and the two streams of data that accompany them.

A call and its inputs are in the database before the caller hears of them, and an output before it is shown to
anyone: after `kill -9` what was accepted is run, and what was answered is still answered. Calls that only live as
long as their caller's connection (web requests) are not written down.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from modal_proto import api_pb2

from localmodal.errors import not_found
from localmodal.ids import new_id
from localmodal.pulse import Pulse
from localmodal.tasks.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from localmodal.store import Store

RESULTS_KEPT_FOR = 7 * 24 * 3600.0
"""Seconds after which the results of a call are forgotten, as on the service."""
_FORGOTTEN_AFTER = 60.0
"""Seconds for which a call that was answered can still be asked for: a stream may reconnect once more."""

Status = api_pb2.GenericResult


@dataclass(eq=False)
class Input:
    """One input of a call."""

    id: str
    call: Call
    index: int
    message: api_pb2.FunctionInput
    retry_count: int = 0
    """How many attempts ended in a failure of the user's code; the container is told."""
    losses: int = 0
    """How many attempts were lost with their container."""
    output: api_pb2.FunctionGetOutputsItem | None = None
    queued_at: float = field(default_factory=time.time)


@dataclass(eq=False)
class Call:
    """One function call: a single input, or the inputs of a `map` as they come."""

    id: str
    function_id: str
    kind: api_pb2.FunctionCallType.ValueType
    invocation: api_pb2.FunctionCallInvocationType.ValueType
    durable: bool
    parent_input_id: str = ""
    created_at: float = field(default_factory=time.time)
    inputs: dict[str, Input] = field(default_factory=dict)
    finished: list[Input] = field(default_factory=list)
    """Inputs that have their output, in the order in which those came."""
    cancelled: bool = False
    data_in: Channel = field(default_factory=Channel)
    data_out: Channel = field(default_factory=Channel)
    changed: Pulse = field(default_factory=Pulse)

    @property
    def unfinished(self) -> list[Input]:
        """The inputs that wait or run."""
        return [one for one in self.inputs.values() if one.output is None]

    async def output(self, input_id: str | None = None) -> api_pb2.FunctionGetOutputsItem:
        """Waits for the output of one input: the only one, when none is named."""
        one = self.inputs[input_id] if input_id else next(iter(self.inputs.values()))
        while one.output is None:
            await self.changed.wait()
        return one.output


class Answers(NamedTuple):
    """Outputs of a call, and where to go on."""

    outputs: list[api_pb2.FunctionGetOutputsItem]
    position: int


class Runner(Protocol):
    """Who runs inputs (the scheduler)."""

    def enqueue(self, inputs: Sequence[Input]) -> None:
        """Takes inputs to run; each is answered through `Calls.finish`, once."""

    def withdraw(self, inputs: Iterable[Input], *, terminate_containers: bool) -> None:
        """Ends the given inputs, waiting or running; they are answered already."""


class Calls:
    """All calls of this control plane."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._calls: dict[str, Call] = {}
        self.runner: Runner
        """Set once by who wires the two, before the first call: calls and their runner know each other."""

    def open(
        self,
        function_id: str,
        *,
        kind: api_pb2.FunctionCallType.ValueType = api_pb2.FUNCTION_CALL_TYPE_UNARY,
        invocation: api_pb2.FunctionCallInvocationType.ValueType = api_pb2.FUNCTION_CALL_INVOCATION_TYPE_SYNC,
        parent_input_id: str = "",
        durable: bool = True,
    ) -> Call:
        """Opens a call. `durable=False`: it ends with its caller's connection, and is never written down."""
        call = Call(new_id("fc"), function_id, kind, invocation, durable, parent_input_id)
        if durable:
            self._store.write(
                "INSERT INTO calls (id, function_id, kind, invocation, parent_input_id, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                *(call.id, function_id, kind, invocation, parent_input_id, call.created_at),
            )
        self._calls[call.id] = call
        return call

    def submit(self, call: Call, items: Iterable[api_pb2.FunctionPutInputsItem]) -> list[str]:
        """Adds inputs to a call and starts to run them; returns their ids in the same order."""
        inputs = [Input(new_id("in"), call, item.idx, item.input) for item in items]
        if call.durable:
            self._write_inputs(inputs)
        call.inputs.update((one.id, one) for one in inputs)
        self.runner.enqueue(inputs)
        return [one.id for one in inputs]

    def _write_inputs(self, inputs: list[Input]) -> None:
        with self._store.transaction() as db:
            db.executemany(
                "INSERT INTO inputs (id, call_id, position, message) VALUES (?, ?, ?, ?)",
                [(one.id, one.call.id, one.index, one.message.SerializeToString()) for one in inputs],
            )

    def get(self, call_id: str) -> Call:
        """The call of that id; NOT_FOUND if there is none or its results are no longer kept."""
        if (call := self.find(call_id)) is None:
            raise not_found("Function call", call_id, "Its results may have expired.")
        return call

    def find(self, call_id: str) -> Call | None:
        """The call of that id, if it is still known."""
        return self._calls.get(call_id)

    def of_function(self, function_id: str) -> list[Call]:
        """The calls of a function that are still known, the oldest first."""
        return [call for call in self._calls.values() if call.function_id == function_id]

    def made_by(self, call: Call) -> list[Call]:
        """The calls that the inputs of a call have made."""
        return [one for one in self._calls.values() if one.parent_input_id in call.inputs]

    async def answers(self, call: Call, after: int, wanted: range | None, timeout: float) -> Answers:
        """The outputs that came after position `after` and are `wanted` (by input index; none: all of them).

        Waits up to `timeout` seconds for the first.
        """
        deadline = time.monotonic() + timeout
        while True:
            fresh = [one for one in call.finished[after:] if wanted is None or one.index in wanted]
            left = deadline - time.monotonic()
            if fresh or left <= 0 or not await call.changed.wait(left):
                return Answers([one.output for one in fresh if one.output], len(call.finished))

    def finish(self, one: Input, output: api_pb2.FunctionGetOutputsItem, *, ours: bool = False) -> None:
        """Gives an input its output; a second one, or one for a call that was cancelled, is ignored.

        `ours`: no container has sent it, who would send it again, so it holds even where it cannot be written down.
        """
        if one.output is not None:
            return
        output.input_id, output.idx = one.id, one.index
        if one.call.durable:
            write = self._store.note if ours else self._store.write
            write(
                "UPDATE inputs SET output = ?, finished_at = ? WHERE id = ?",
                *(output.SerializeToString(), time.time(), one.id),
            )
        one.output = output
        one.call.finished.append(one)
        one.call.changed.beat()
        if one.call.kind == api_pb2.FUNCTION_CALL_TYPE_UNARY:
            one.call.data_in.close()
            one.call.data_out.close()
        if not one.call.durable:
            self._forget_soon(one.call)

    def fail(self, one: Input, status: Status.GenericStatus.ValueType, reason: str) -> None:
        """Ends an input with a reason in words."""
        result = api_pb2.GenericResult(status=status, exception=reason)
        self.finish(one, api_pb2.FunctionGetOutputsItem(result=result, output_created_at=time.time()), ours=True)

    def note_attempt(self, one: Input) -> None:
        """Writes down how often an input was tried, before it is tried again."""
        if one.call.durable:
            self._store.note(
                "UPDATE inputs SET retry_count = ?, losses = ? WHERE id = ?", one.retry_count, one.losses, one.id
            )

    def cancel(self, call: Call, *, terminate_containers: bool = False, reason: str = "Input was cancelled") -> None:
        """Ends a call's inputs, the running ones as well; their output says that they were cancelled."""
        call.cancelled = True
        unfinished = call.unfinished
        for one in unfinished:
            self.fail(one, Status.GENERIC_STATUS_TERMINATED, reason)
        self.runner.withdraw(unfinished, terminate_containers=terminate_containers)

    def release(self, call: Call) -> None:
        """The caller has all that it wants of a call: its results are forgotten."""
        if call.unfinished:
            self.cancel(call, reason="The caller went away")
        self._store.note("DELETE FROM calls WHERE id = ?", call.id)
        self._forget_soon(call)

    def delete_old(self) -> None:
        """Forgets the results of calls whose time has passed."""
        oldest = time.time() - RESULTS_KEPT_FOR
        for call in [one for one in self._calls.values() if one.created_at < oldest and not one.unfinished]:
            self._store.write("DELETE FROM calls WHERE id = ?", call.id)
            del self._calls[call.id]

    def _forget_soon(self, call: Call) -> None:
        asyncio.get_running_loop().call_later(_FORGOTTEN_AFTER, self._calls.pop, call.id, None)

    def resume(self, runs: Callable[[str], bool]) -> None:
        """After a start: takes up what an earlier daemon had accepted; fails the calls of functions that are gone."""
        for row in self._store.rows("SELECT * FROM calls ORDER BY created_at"):
            call = Call(row["id"], row["function_id"], row["kind"], row["invocation"], durable=True)
            call.parent_input_id, call.created_at = row["parent_input_id"], row["created_at"]
            self._calls[call.id] = call
            self._load_inputs(call)
            self._resume_call(call, can_run=runs(call.function_id))

    def _load_inputs(self, call: Call) -> None:
        for row in self._store.rows("SELECT * FROM inputs WHERE call_id = ? ORDER BY finished_at, rowid", call.id):
            message = api_pb2.FunctionInput.FromString(row["message"])
            one = Input(row["id"], call, row["position"], message, row["retry_count"], row["losses"])
            call.inputs[one.id] = one
            if row["output"] is not None:
                one.output = api_pb2.FunctionGetOutputsItem.FromString(row["output"])
                call.finished.append(one)

    def _resume_call(self, call: Call, *, can_run: bool) -> None:
        if can_run:
            self.runner.enqueue(call.unfinished)
            return
        for one in call.unfinished:
            reason = "The local control plane was restarted, and the app of this call is no longer there."
            self.fail(one, Status.GENERIC_STATUS_TERMINATED, reason)
