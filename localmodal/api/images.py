"""Images: one call per layer, and everything that `modal image` asks for."""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from localmodal.api.group import Group
from localmodal.apps.apps import OWNER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from localmodal.images.records import ImageRecord
    from localmodal.tasks.logs import Entry

_PAGE = 100


class Images(Group):
    """All of `modal.Image`."""

    async def ImageGetOrCreate(self, request: api_pb2.ImageGetOrCreateRequest) -> api_pb2.ImageGetOrCreateResponse:
        """The image of that definition; its build has begun if there is no result yet."""
        record = self.plane.images.get_or_create(request)
        response = api_pb2.ImageGetOrCreateResponse(image_id=record.id)
        if record.built:
            response.result.CopyFrom(_result(record))
            response.metadata.CopyFrom(_metadata(record))
        return response

    async def ImageJoinStreaming(
        self, request: api_pb2.ImageJoinStreamingRequest
    ) -> AsyncIterator[api_pb2.ImageJoinStreamingResponse]:
        """Streams what the build writes, and its result; without one if the time is up first."""
        images = self.plane.images
        pieces = images.follow(request.image_id, int(request.last_entry_id or 0))
        try:
            async with asyncio.timeout(request.timeout or None):
                async for offset, entry in pieces:
                    yield api_pb2.ImageJoinStreamingResponse(entry_id=str(offset), task_logs=[_task_log(entry)])
        except TimeoutError:
            return
        record = images.records.get(request.image_id)
        metadata = _metadata(record) if record.built else None
        yield api_pb2.ImageJoinStreamingResponse(result=_result(record), metadata=metadata, eof=True)

    async def ImageFromId(self, request: api_pb2.ImageFromIdRequest) -> api_pb2.ImageFromIdResponse:
        """Looks an image up by its id."""
        record = self.plane.images.records.get(request.image_id)
        return api_pb2.ImageFromIdResponse(image_id=record.id, metadata=_metadata(record))

    async def ImageDelete(self, request: api_pb2.ImageDeleteRequest) -> Empty:
        """Deletes an image; what it was built upon stays."""
        self.plane.images.records.delete(request.image_id)
        return Empty()

    async def ImageBuildChainGet(
        self, request: api_pb2.ImageBuildChainGetRequest
    ) -> api_pb2.ImageBuildChainGetResponse:
        """Where the output of each layer's build is found: `modal image logs`."""
        chain = self.plane.images.records.chain(request.image_id)
        return api_pb2.ImageBuildChainGetResponse(build_steps=[_build_step(record) for record in chain])

    async def ImagePublish(self, request: api_pb2.ImagePublishRequest) -> api_pb2.ImagePublishResponse:
        """Gives an image a name."""
        environment, tag = self._name(request.tag, request.environment_name)
        revision = self.plane.images.records.publish(environment, tag, request.image_id)
        return api_pb2.ImagePublishResponse(image_id=request.image_id, revision_id=revision)

    async def ImageGetByTag(self, request: api_pb2.ImageGetByTagRequest) -> api_pb2.ImageGetByTagResponse:
        """Looks an image up by the name under which it was published."""
        environment, tag = self._name(request.tag, request.environment_name)
        return api_pb2.ImageGetByTagResponse(image_id=self.plane.images.records.tagged(environment, tag))

    async def ImageListTags(self, request: api_pb2.ImageListTagsRequest) -> api_pb2.ImageListTagsResponse:
        """Lists names and what each stands for now."""
        environment = self.plane.environments.get(request.environment_name).name
        tags = self.plane.images.records.tags(environment, request.tag_prefix, request.image_id)
        start, size = int(request.page_token or 0), request.max_objects or _PAGE
        return api_pb2.ImageListTagsResponse(
            items=[
                api_pb2.ImageListTagsItem(
                    tag=tag.tag,
                    image_id=tag.image_id,
                    revision_id=tag.revision_id,
                    created_at=tag.first_published_at,
                    updated_at=tag.published_at,
                    last_published_by=OWNER,
                )
                for tag in tags[start : start + size]
            ],
            next_page_token=str(start + size) if len(tags) > start + size else "",
            environment_name=environment,
        )

    async def ImageTagRevisions(self, request: api_pb2.ImageTagRevisionsRequest) -> api_pb2.ImageTagRevisionsResponse:
        """Lists the images that a name stood for, the youngest first."""
        environment, tag = self._name(request.tag, request.environment_name)
        revisions = self.plane.images.records.revisions(environment, tag)
        start, size = int(request.page_token or 0), request.max_objects or _PAGE
        return api_pb2.ImageTagRevisionsResponse(
            items=[
                api_pb2.ImageTagRevisionsItem(
                    image_id=one.image_id, revision_id=one.revision_id, created_at=one.published_at, published_by=OWNER
                )
                for one in revisions[start : start + size]
            ],
            next_page_token=str(start + size) if len(revisions) > start + size else "",
            tag=tag,
            environment_name=environment,
        )

    async def ImageNameDelete(self, request: api_pb2.ImageNameDeleteRequest) -> Empty:
        """Forgets a name; the image stays."""
        self.plane.images.records.unpublish(*self._name(request.tag, ""))
        return Empty()

    def _name(self, reference: str, environment: str) -> tuple[str, str]:
        """The environment and the `name:tag` that `[[workspace/]environment/]name[:tag]` means."""
        *before, name = reference.split("/")
        environment = self.plane.environments.get(before[-1] if before else environment).name
        return environment, name if ":" in name else f"{name}:latest"


def _task_log(entry: Entry) -> api_pb2.TaskLogs:
    return api_pb2.TaskLogs(
        data=entry.text, file_descriptor=api_pb2.FileDescriptor.ValueType(entry.fd), timestamp=entry.at
    )


def _result(record: ImageRecord) -> api_pb2.GenericResult:
    if record.built:
        return api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)
    reason = record.error or "there was no room to write down why; the log of the local control plane may tell"
    return api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_FAILURE, exception=reason)


def _metadata(record: ImageRecord) -> api_pb2.ImageMetadata:
    metadata = api_pb2.ImageMetadata(
        image_builder_version=record.builder_version, libc_version_info=" ".join(platform.libc_ver())
    )
    if record.built and record.built.config.python_version:
        metadata.python_version_info = f"Python {record.built.config.python_version}"
    if record.built and record.built.config.workdir:
        metadata.workdir = record.built.config.workdir
    return metadata


def _build_step(record: ImageRecord) -> api_pb2.ImageBuildStep:
    step = api_pb2.ImageBuildStep(image_id=record.id, builder_app_id=record.app_id, builder_task_id=record.task_id)
    step.started_at.FromNanoseconds(int(record.started_at * 1e9))
    step.finished_at.FromNanoseconds(int((record.finished_at or record.started_at) * 1e9))
    return step
