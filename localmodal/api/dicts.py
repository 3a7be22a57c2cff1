"""Dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from localmodal.api.group import Group
from localmodal.objects.named import Kind, Wish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from localmodal.objects.named import Object


class Dicts(Group):
    """All of `modal.Dict`."""

    async def DictGetOrCreate(self, request: api_pb2.DictGetOrCreateRequest) -> api_pb2.DictGetOrCreateResponse:
        """Looks a dict up by name, or makes it."""
        one, created = self.plane.objects.get_or_create(Kind.DICT, Wish.of(request))
        if created:
            self.plane.dicts.update(one.id, [(entry.key, entry.value) for entry in request.data])
        return api_pb2.DictGetOrCreateResponse(dict_id=one.id, metadata=one.metadata(api_pb2.DictMetadata))

    async def DictGetById(self, request: api_pb2.DictGetByIdRequest) -> api_pb2.DictGetByIdResponse:
        """Looks a dict up by its id."""
        one = self.plane.objects.get(Kind.DICT, request.dict_id)
        return api_pb2.DictGetByIdResponse(dict_id=one.id, metadata=one.metadata(api_pb2.DictMetadata))

    async def DictHeartbeat(self, request: api_pb2.DictHeartbeatRequest) -> Empty:
        """Keeps an ephemeral dict alive."""
        self.plane.objects.keep_alive(Kind.DICT, request.dict_id)
        return Empty()

    async def DictList(self, request: api_pb2.DictListRequest) -> api_pb2.DictListResponse:
        """Lists the dicts of an environment."""
        page = self.plane.objects.page(Kind.DICT, request.environment_name, request.pagination)
        return api_pb2.DictListResponse(
            dicts=[_info(one) for one in page],
            environment_name=self.plane.environments.get(request.environment_name).name,
        )

    async def DictDelete(self, request: api_pb2.DictDeleteRequest) -> Empty:
        """Deletes a dict."""
        self.plane.objects.delete(Kind.DICT, request.dict_id)
        return Empty()

    async def DictGet(self, request: api_pb2.DictGetRequest) -> api_pb2.DictGetResponse:
        """Gives the value under a key."""
        value = self.plane.dicts.get(self._known(request.dict_id), request.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    async def DictContains(self, request: api_pb2.DictContainsRequest) -> api_pb2.DictContainsResponse:
        """Says whether a key is there."""
        found = self.plane.dicts.contains(self._known(request.dict_id), request.key)
        return api_pb2.DictContainsResponse(found=found)

    async def DictUpdate(self, request: api_pb2.DictUpdateRequest) -> api_pb2.DictUpdateResponse:
        """Sets entries, or only those whose keys are not there."""
        entries = [(entry.key, entry.value) for entry in request.updates]
        dict_id = self._known(request.dict_id)
        written = self.plane.dicts.update(dict_id, entries, replace=not request.if_not_exists)
        return api_pb2.DictUpdateResponse(created=written > 0)

    async def DictPop(self, request: api_pb2.DictPopRequest) -> api_pb2.DictPopResponse:
        """Removes a key and gives what was under it."""
        value = self.plane.dicts.pop(self._known(request.dict_id), request.key)
        return api_pb2.DictPopResponse(found=value is not None, value=value)

    async def DictLen(self, request: api_pb2.DictLenRequest) -> api_pb2.DictLenResponse:
        """Says how many entries there are."""
        return api_pb2.DictLenResponse(len=self.plane.dicts.count(self._known(request.dict_id)))

    async def DictClear(self, request: api_pb2.DictClearRequest) -> Empty:
        """Removes all entries."""
        self.plane.dicts.clear(self._known(request.dict_id))
        return Empty()

    async def DictContents(self, request: api_pb2.DictContentsRequest) -> AsyncIterator[api_pb2.DictEntry]:
        """Streams keys, values or both."""
        for key, value in self.plane.dicts.entries(self._known(request.dict_id)):
            yield api_pb2.DictEntry(key=key if request.keys else b"", value=value if request.values else b"")

    def _known(self, dict_id: str) -> str:
        return self.plane.objects.get(Kind.DICT, dict_id).id


def _info(one: Object) -> api_pb2.DictListResponse.DictInfo:
    return api_pb2.DictListResponse.DictInfo(
        name=one.name, created_at=one.created_at, dict_id=one.id, metadata=one.metadata(api_pb2.DictMetadata)
    )
