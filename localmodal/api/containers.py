"""Calls that a container makes about its own work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from localmodal.api.calls import stream
from localmodal.api.group import Group

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from localmodal.tasks.calls import Input
    from localmodal.tasks.pool import Pool
    from localmodal.tasks.tasks import Task

_HEARTBEAT_HELD = 14.0
"""Seconds that a heartbeat waits for something to tell; the client sends one every 15 and gives up after 15.1."""


class ContainerCalls(Group):
    """Inputs, outputs, heartbeats, snapshots."""

    @property
    def _own(self) -> tuple[Pool, Task]:
        return self.plane.scheduler.running(self.task_id)

    async def ContainerHello(self, _: Empty) -> Empty:
        """The first word of a container."""
        self.plane.scheduler.running(self.task_id)
        return Empty()

    async def ContainerHeartbeat(
        self,
        request: api_pb2.ContainerHeartbeatRequest,  # noqa: ARG002 (its flags are the same in every client served)
    ) -> api_pb2.ContainerHeartbeatResponse:
        """Held until there is an input to cancel, or the next heartbeat is due."""
        _, task = self._own
        if not task.cancelled:
            await task.to_tell.wait(_HEARTBEAT_HELD)
        if not task.cancelled:
            return api_pb2.ContainerHeartbeatResponse()
        cancelled, task.cancelled = task.cancelled, []
        event = api_pb2.CancelInputEvent(input_ids=cancelled)
        return api_pb2.ContainerHeartbeatResponse(cancel_input_event=event)

    async def FunctionGetInputs(self, request: api_pb2.FunctionGetInputsRequest) -> api_pb2.FunctionGetInputsResponse:
        """The next inputs; the kill switch asks the container to end by itself."""
        pool, task = self._own
        inputs = await pool.next_inputs(task, request)
        if inputs is None:
            return api_pb2.FunctionGetInputsResponse(inputs=[api_pb2.FunctionGetInputsItem(kill_switch=True)])
        return api_pb2.FunctionGetInputsResponse(inputs=[_item(one) for one in inputs])

    async def FunctionPutOutputs(self, request: api_pb2.FunctionPutOutputsRequest) -> Empty:
        """What became of inputs."""
        pool, task = self._own
        for item in request.outputs:
            pool.put_output(task, item)
        return Empty()

    async def FunctionGetDynamicConcurrency(
        self, request: api_pb2.FunctionGetDynamicConcurrencyRequest
    ) -> api_pb2.FunctionGetDynamicConcurrencyResponse:
        """How many inputs the container should work on at once, between its target and its maximum."""
        pool, _ = self._own
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=pool.concurrency(request))

    def FunctionCallGetDataIn(self, request: api_pb2.FunctionCallGetDataRequest) -> AsyncIterator[api_pb2.DataChunk]:
        """The body of a web request, the messages of a websocket."""
        return stream(self.plane.calls.get(request.function_call_id).data_in, request.last_index)

    async def FunctionCallPutDataOut(self, request: api_pb2.FunctionCallPutDataRequest) -> Empty:
        """What a generator yields, or a web function answers."""
        call = self.plane.calls.get(request.function_call_id)
        for chunk in request.data_chunks:
            await call.data_out.append(chunk)
        return Empty()

    async def ContainerCheckpoint(self, _: api_pb2.ContainerCheckpointRequest) -> Empty:
        """The container is ready for its memory snapshot: it closes its connections and waits."""
        pool, task = self._own
        task.log.system("Creating memory snapshot for Function.")
        pool.spawn(self.plane.worker.checkpoint(task.id))
        return Empty()

    async def ContainerServerLifecycleReady(self, _: api_pb2.ContainerServerLifecycleReadyRequest) -> Empty:
        """An `@app.server` answers on its port."""
        pool, task = self._own
        pool.server_is_ready(task)
        return Empty()

    async def TaskResult(self, request: api_pb2.TaskResultRequest) -> Empty:
        """Why the container ends, in its own words."""
        _, task = self._own
        task.result = request.result
        return Empty()


def _item(one: Input) -> api_pb2.FunctionGetInputsItem:
    return api_pb2.FunctionGetInputsItem(
        input_id=one.id,
        input=one.message,
        function_call_id=one.call.id,
        function_call_invocation_type=one.call.invocation,
        retry_count=one.retry_count,
    )
