"""Calls about function calls, from the caller's side."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from localmodal.api.group import Group

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from localmodal.tasks.calls import Call
    from localmodal.tasks.channel import Channel

_MOST_OUTSTANDING = 1000
"""Inputs of one `map` that may wait or run at once; the client holds the others back."""
_Result = api_pb2.GenericResult


class CallCalls(Group):
    """Function calls."""

    async def FunctionMap(self, request: api_pb2.FunctionMapRequest) -> api_pb2.FunctionMapResponse:
        """Opens a call; its inputs are in the message, or follow."""
        self.plane.scheduler.pool(request.function_id)
        call = self.plane.calls.open(
            request.function_id,
            kind=request.function_call_type,
            invocation=request.function_call_invocation_type,
            parent_input_id=request.parent_input_id,
        )
        return api_pb2.FunctionMapResponse(
            function_call_id=call.id,
            function_call_jwt=call.id,
            pipelined_inputs=self._submit(call, request.pipelined_inputs),
            # Retries are ours, for every kind of call: the client need not live as long as they take.
            sync_client_retries_enabled=False,
            max_inputs_outstanding=_MOST_OUTSTANDING,
        )

    def _submit(
        self, call: Call, items: Iterable[api_pb2.FunctionPutInputsItem]
    ) -> list[api_pb2.FunctionPutInputsResponseItem]:
        items = list(items)
        ids = self.plane.calls.submit(call, items)
        return [
            api_pb2.FunctionPutInputsResponseItem(idx=item.idx, input_id=input_id, input_jwt=input_id)
            for item, input_id in zip(items, ids, strict=True)
        ]

    async def FunctionPutInputs(self, request: api_pb2.FunctionPutInputsRequest) -> api_pb2.FunctionPutInputsResponse:
        """Adds inputs to a call."""
        call = self.plane.calls.get(request.function_call_id)
        return api_pb2.FunctionPutInputsResponse(inputs=self._submit(call, request.inputs))

    async def FunctionFinishInputs(self, request: api_pb2.FunctionFinishInputsRequest) -> Empty:
        """No further inputs will come; a call needs no word of it here, but it must exist."""
        self.plane.calls.get(request.function_call_id)
        return Empty()

    async def FunctionGetOutputs(
        self, request: api_pb2.FunctionGetOutputsRequest
    ) -> api_pb2.FunctionGetOutputsResponse:
        """Waits for outputs. Of a call that is not known any more none will come: the client says "expired"."""
        if (call := self.plane.calls.find(request.function_call_id)) is None:
            return api_pb2.FunctionGetOutputsResponse(last_entry_id=request.last_entry_id)
        after = int(request.last_entry_id.partition("-")[0] or 0)
        wanted = range(request.start_idx, request.end_idx + 1) if request.HasField("start_idx") else None
        answers = await self.plane.calls.answers(call, after, wanted, request.timeout)
        if request.clear_on_success and (answers.outputs or request.timeout == 0):
            self.plane.calls.release(call)
        return api_pb2.FunctionGetOutputsResponse(
            outputs=answers.outputs,
            idxs=[output.idx for output in answers.outputs],
            last_entry_id=f"{answers.position}-0",
            num_unfinished_inputs=len(call.unfinished),
        )

    def FunctionCallGetDataOut(self, request: api_pb2.FunctionCallGetDataRequest) -> AsyncIterator[api_pb2.DataChunk]:
        """What a generator yields, as it comes."""
        return stream(self.plane.calls.get(request.function_call_id).data_out, request.last_index)

    async def FunctionCallCancel(self, request: api_pb2.FunctionCallCancelRequest) -> Empty:
        """Ends a call's inputs, the running ones too."""
        call = self.plane.calls.get(request.function_call_id)
        self.plane.calls.cancel(call, terminate_containers=request.terminate_containers)
        return Empty()

    async def FunctionCallFromId(
        self, request: api_pb2.FunctionCallFromIdRequest
    ) -> api_pb2.FunctionCallFromIdResponse:
        """What a handle of a call, made from its id, needs to know."""
        call = self.plane.calls.get(request.function_call_id)
        app_id = self.plane.functions.get(call.function_id).app_id
        return api_pb2.FunctionCallFromIdResponse(
            function_call_id=call.id,
            num_inputs=len(call.inputs),
            metadata=api_pb2.FunctionCallHandleMetadata(app_id=app_id, function_id=call.function_id),
        )

    async def FunctionCallList(self, request: api_pb2.FunctionCallListRequest) -> api_pb2.FunctionCallListResponse:
        """The calls of a function that are still known."""
        calls = self.plane.calls.of_function(request.function_id)
        return api_pb2.FunctionCallListResponse(function_calls=[_info(call) for call in calls])

    async def FunctionCallGetInfo(
        self, request: api_pb2.FunctionCallGetInfoRequest
    ) -> api_pb2.FunctionCallGetInfoResponse:
        """How far a call has come."""
        return api_pb2.FunctionCallGetInfoResponse(info=_info(self.plane.calls.get(request.function_call_id)))

    async def FunctionGetCallGraph(
        self, request: api_pb2.FunctionGetCallGraphRequest
    ) -> api_pb2.FunctionGetCallGraphResponse:
        """A call, the calls that its inputs made, and so on."""
        response = api_pb2.FunctionGetCallGraphResponse()
        pending = [self.plane.calls.get(request.function_call_id)]
        while pending:
            call = pending.pop()
            self._add_to_graph(response, call)
            pending.extend(self.plane.calls.made_by(call))
        return response

    def _add_to_graph(self, response: api_pb2.FunctionGetCallGraphResponse, call: Call) -> None:
        definition = self.plane.functions.get(call.function_id).definition
        response.function_calls.add(
            function_call_id=call.id,
            parent_input_id=call.parent_input_id,
            function_name=definition.function_name,
            module_name=definition.module_name,
        )
        for one in call.inputs.values():
            output = one.output or api_pb2.FunctionGetOutputsItem()
            response.inputs.add(
                input_id=one.id, status=output.result.status, function_call_id=call.id, task_id=output.task_id
            )


async def stream(channel: Channel, after: int) -> AsyncIterator[api_pb2.DataChunk]:
    """A channel's chunks; open behind the last one until the client hangs up: it would ask again at once."""
    async for chunk in channel.read(after):
        yield chunk
    await asyncio.get_running_loop().create_future()


_CATEGORIES = {
    _Result.GENERIC_STATUS_UNSPECIFIED: "pending_inputs",
    _Result.GENERIC_STATUS_SUCCESS: "succeeded_inputs",
    _Result.GENERIC_STATUS_TIMEOUT: "timeout_inputs",
    _Result.GENERIC_STATUS_TERMINATED: "cancelled_inputs",
}


def _info(call: Call) -> api_pb2.FunctionCallInfo:
    info = api_pb2.FunctionCallInfo(
        function_call_id=call.id,
        created_at=call.created_at,
        scheduled_at=call.created_at,
        total_inputs=len(call.inputs),
    )
    waiting = _Result.GENERIC_STATUS_UNSPECIFIED
    statuses = Counter(one.output.result.status if one.output else waiting for one in call.inputs.values())
    for status, count in statuses.items():
        getattr(info, _CATEGORIES.get(status, "failed_inputs")).total += count
    return info
