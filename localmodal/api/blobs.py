"""Blobs: payloads that are too large for a message."""

from __future__ import annotations

import base64

from modal_proto import api_pb2

from localmodal.api.group import Group


class Blobs(Group):
    """Addresses to put them to and get them from."""

    async def BlobCreate(self, request: api_pb2.BlobCreateRequest) -> api_pb2.BlobCreateResponse:
        """Gives an address to upload a payload to."""
        sha256 = base64.b64decode(request.content_sha256_base64).hex()
        blob_id = self.plane.blobs.announce(sha256, request.content_length)
        url = self.plane.links.upload(f"blobs/{blob_id}")
        return api_pb2.BlobCreateResponse(
            blob_id=blob_id, upload_url=url, blob_ids=[blob_id], upload_urls=api_pb2.UploadUrlList(items=[url])
        )

    async def BlobGet(self, request: api_pb2.BlobGetRequest) -> api_pb2.BlobGetResponse:
        """Gives an address to download a payload from."""
        self.plane.blobs.path(request.blob_id)
        return api_pb2.BlobGetResponse(download_url=self.plane.links.download(f"blobs/{request.blob_id}"))
