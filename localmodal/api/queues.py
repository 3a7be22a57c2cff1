"""Queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.api.group import Group
from localmodal.errors import DiskFullError
from localmodal.objects.named import Kind, Wish

if TYPE_CHECKING:
    from localmodal.objects.named import Object

_LONGEST_WAIT = 55.0
"""Seconds for which one call may wait; the client asks again."""


class Queues(Group):
    """All of `modal.Queue`."""

    async def QueueGetOrCreate(self, request: api_pb2.QueueGetOrCreateRequest) -> api_pb2.QueueGetOrCreateResponse:
        """Looks a queue up by name, or makes it."""
        queue, _ = self.plane.objects.get_or_create(Kind.QUEUE, Wish.of(request))
        return api_pb2.QueueGetOrCreateResponse(queue_id=queue.id, metadata=queue.metadata(api_pb2.QueueMetadata))

    async def QueueGetById(self, request: api_pb2.QueueGetByIdRequest) -> api_pb2.QueueGetByIdResponse:
        """Looks a queue up by its id."""
        queue = self.plane.objects.get(Kind.QUEUE, request.queue_id)
        return api_pb2.QueueGetByIdResponse(queue_id=queue.id, metadata=queue.metadata(api_pb2.QueueMetadata))

    async def QueueHeartbeat(self, request: api_pb2.QueueHeartbeatRequest) -> Empty:
        """Keeps an ephemeral queue alive."""
        self.plane.objects.keep_alive(Kind.QUEUE, request.queue_id)
        return Empty()

    async def QueueList(self, request: api_pb2.QueueListRequest) -> api_pb2.QueueListResponse:
        """Lists the queues of an environment with their sizes."""
        page = self.plane.objects.page(Kind.QUEUE, request.environment_name, request.pagination)
        return api_pb2.QueueListResponse(
            queues=[self._info(queue, request.total_size_limit) for queue in page],
            environment_name=self.plane.environments.get(request.environment_name).name,
        )

    def _info(self, queue: Object, limit: int) -> api_pb2.QueueListResponse.QueueInfo:
        size = self.plane.queues.length(queue.id, None)
        return api_pb2.QueueListResponse.QueueInfo(
            name=queue.name,
            created_at=queue.created_at,
            num_partitions=self.plane.queues.partitions(queue.id),
            total_size=min(size, limit) if limit else size,
            queue_id=queue.id,
            metadata=queue.metadata(api_pb2.QueueMetadata),
        )

    async def QueueDelete(self, request: api_pb2.QueueDeleteRequest) -> Empty:
        """Deletes a queue."""
        self.plane.objects.delete(Kind.QUEUE, request.queue_id)
        return Empty()

    async def QueuePut(self, request: api_pb2.QueuePutRequest) -> Empty:
        """Appends items to a partition; RESOURCE_EXHAUSTED when it is full, and the client tries again."""
        queue_id = self._known(request.queue_id)
        try:
            self.plane.queues.put(queue_id, request.partition_key, request.values, request.partition_ttl_seconds)
        except DiskFullError as error:  # by its own status the client would take it for a full queue, and wait
            raise GRPCError(Status.FAILED_PRECONDITION, error.message) from error
        return Empty()

    async def QueueGet(self, request: api_pb2.QueueGetRequest) -> api_pb2.QueueGetResponse:
        """Takes items from a partition, waiting for the first."""
        timeout = min(request.timeout, _LONGEST_WAIT)
        queue_id = self._known(request.queue_id)
        values = await self.plane.queues.get(queue_id, request.partition_key, request.n_values, timeout)
        return api_pb2.QueueGetResponse(values=values)

    async def QueueNextItems(self, request: api_pb2.QueueNextItemsRequest) -> api_pb2.QueueNextItemsResponse:
        """Gives the items behind a position without taking them, waiting for the first."""
        items = await self.plane.queues.items_after(
            self._known(request.queue_id),
            request.partition_key,
            int(request.last_entry_id or 0),
            min(request.item_poll_timeout, _LONGEST_WAIT),
        )
        return api_pb2.QueueNextItemsResponse(
            items=[api_pb2.QueueItem(value=value, entry_id=str(position)) for position, value in items]
        )

    async def QueueLen(self, request: api_pb2.QueueLenRequest) -> api_pb2.QueueLenResponse:
        """Says how many items a partition has, or all of them."""
        partition = None if request.total else request.partition_key
        return api_pb2.QueueLenResponse(len=self.plane.queues.length(self._known(request.queue_id), partition))

    async def QueueClear(self, request: api_pb2.QueueClearRequest) -> Empty:
        """Empties a partition, or all of them."""
        partition = None if request.all_partitions else request.partition_key
        self.plane.queues.clear(self._known(request.queue_id), partition)
        return Empty()

    def _known(self, queue_id: str) -> str:
        return self.plane.objects.get(Kind.QUEUE, queue_id).id
