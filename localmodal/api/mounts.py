"""Mounts, and the upload of the files that mounts and volumes are made from."""

from __future__ import annotations

import asyncio

from google.protobuf.timestamp_pb2 import Timestamp
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.api.group import Group


class Mounts(Group):
    """Which files are here already, the rest of them, and what they make up."""

    async def MountBatchedCheckExistence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        """Says which of these files are still to be uploaded."""
        missing = [sha256 for sha256 in request.sha256_hex_hashes if not self.plane.contents.has(sha256)]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing, checked_at=_now())

    async def MountPutFile(self, request: api_pb2.MountPutFileRequest) -> api_pb2.MountPutFileResponse:
        """Takes a file, itself or as a blob that was uploaded; without either, says whether it is here."""
        sent = request.WhichOneof("data_oneof")
        if sent == "data":
            await asyncio.to_thread(self.plane.contents.put, request.data, request.sha256_hex)
        elif sent == "data_blob_id" and self.plane.blobs.sha256(request.data_blob_id) != request.sha256_hex:
            message = f"Blob {request.data_blob_id} does not hold the file {request.sha256_hex}"
            raise GRPCError(Status.INVALID_ARGUMENT, message)
        return api_pb2.MountPutFileResponse(exists=self.plane.contents.has(request.sha256_hex), checked_at=_now())

    async def MountGetOrCreate(self, request: api_pb2.MountGetOrCreateRequest) -> api_pb2.MountGetOrCreateResponse:
        """Makes a mount of files that were uploaded, or looks one of the service's own up by name."""
        if request.deployment_name and not request.files:
            mount_id, digest = self.plane.mounts.of_the_service(request.deployment_name)
        else:
            mount_id, digest = self.plane.mounts.create(request.files)
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex=digest)
        return api_pb2.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=metadata)


def _now() -> Timestamp:
    now = Timestamp()
    now.GetCurrentTime()
    return now
