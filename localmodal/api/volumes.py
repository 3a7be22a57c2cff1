"""Volumes. The client uploads and lists those of file system 1 and 2 by different calls; here they are the same."""

from __future__ import annotations

import asyncio
import stat
from itertools import islice
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.api.group import Group
from localmodal.objects.named import Kind, Wish
from localmodal.objects.volumes import BLOCK, Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from localmodal.objects.trees import Node

_BATCH = 500
_TYPES = {
    stat.S_IFREG: api_pb2.FileEntry.FILE,
    stat.S_IFDIR: api_pb2.FileEntry.DIRECTORY,
    stat.S_IFLNK: api_pb2.FileEntry.SYMLINK,
    stat.S_IFIFO: api_pb2.FileEntry.FIFO,
    stat.S_IFSOCK: api_pb2.FileEntry.SOCKET,
}


class Volumes(Group):
    """All of `modal.Volume`."""

    async def VolumeGetOrCreate(self, request: api_pb2.VolumeGetOrCreateRequest) -> api_pb2.VolumeGetOrCreateResponse:
        """Looks a volume up by name, or makes it."""
        volume = self.plane.volumes.get_or_create(Wish.of(request), request.version)
        metadata = self.plane.volumes.metadata(volume.id)
        return api_pb2.VolumeGetOrCreateResponse(volume_id=volume.id, version=metadata.version, metadata=metadata)

    async def VolumeGetById(self, request: api_pb2.VolumeGetByIdRequest) -> api_pb2.VolumeGetByIdResponse:
        """Looks a volume up by its id."""
        metadata = self.plane.volumes.metadata(request.volume_id)
        return api_pb2.VolumeGetByIdResponse(volume_id=request.volume_id, metadata=metadata)

    async def VolumeHeartbeat(self, request: api_pb2.VolumeHeartbeatRequest) -> Empty:
        """Keeps an ephemeral volume alive."""
        self.plane.objects.keep_alive(Kind.VOLUME, request.volume_id)
        return Empty()

    async def VolumeList(self, request: api_pb2.VolumeListRequest) -> api_pb2.VolumeListResponse:
        """Lists the volumes of an environment."""
        page = self.plane.objects.page(Kind.VOLUME, request.environment_name, request.pagination)
        return api_pb2.VolumeListResponse(
            items=[
                api_pb2.VolumeListItem(
                    label=volume.name,
                    volume_id=volume.id,
                    created_at=volume.created_at,
                    metadata=self.plane.volumes.metadata(volume.id),
                )
                for volume in page
            ],
            environment_name=self.plane.environments.get(request.environment_name).name,
        )

    async def VolumeRename(self, request: api_pb2.VolumeRenameRequest) -> Empty:
        """Gives a volume another name."""
        self.plane.objects.rename(Kind.VOLUME, request.volume_id, request.name)
        return Empty()

    async def VolumeDelete(self, request: api_pb2.VolumeDeleteRequest) -> Empty:
        """Deletes a volume and its files."""
        await self.plane.volumes.delete(request.volume_id)
        return Empty()

    async def VolumeCommit(self, request: api_pb2.VolumeCommitRequest) -> api_pb2.VolumeCommitResponse:
        """Answers when all that was written is on the disk."""
        await self.plane.volumes.commit(request.volume_id)
        return api_pb2.VolumeCommitResponse(skip_reload=True)

    async def VolumeReload(self, request: api_pb2.VolumeReloadRequest) -> Empty:
        """Answers at once: containers see each other's writes as they happen."""
        self.plane.objects.get(Kind.VOLUME, request.volume_id)
        return Empty()

    async def VolumePutFiles(self, request: api_pb2.VolumePutFilesRequest) -> Empty:
        """Writes files that were uploaded like those of mounts."""
        uploads = [
            Upload(file.filename, [self.plane.contents.path(file.sha256_hex)], mode=file.mode) for file in request.files
        ]
        if missing := [file.filename for file in request.files if not self.plane.contents.has(file.sha256_hex)]:
            raise GRPCError(Status.FAILED_PRECONDITION, f"Files were not uploaded: {', '.join(missing[:5])}")
        await self._put(request, uploads)
        return Empty()

    async def VolumePutFiles2(self, request: api_pb2.VolumePutFiles2Request) -> api_pb2.VolumePutFiles2Response:
        """Writes files from blocks, or answers which blocks are still to be uploaded, and where to."""
        if missing := self._missing_blocks(request.files):
            return api_pb2.VolumePutFiles2Response(missing_blocks=missing)
        uploads = [
            Upload(
                file.path,
                [self.plane.contents.path(b.contents_sha256.hex()) for b in file.blocks],
                file.size,
                file.mode,
            )
            for file in request.files
        ]
        await self._put(request, uploads)
        return api_pb2.VolumePutFiles2Response()

    def _missing_blocks(
        self, files: Iterable[api_pb2.VolumePutFiles2Request.File]
    ) -> list[api_pb2.VolumePutFiles2Response.MissingBlock]:
        missing = {}
        for file_index, file in enumerate(files):
            for block_index, block in enumerate(file.blocks):
                sha256 = block.contents_sha256.hex()
                if sha256 not in missing and not self.plane.contents.has(sha256):
                    url = self.plane.links.upload(f"blocks/{sha256}")
                    missing[sha256] = api_pb2.VolumePutFiles2Response.MissingBlock(
                        file_index=file_index, block_index=block_index, put_url=url
                    )
        return list(missing.values())

    async def _put(self, request: Any, uploads: list[Upload]) -> None:
        tree, overwrite = self.plane.volumes.tree(request.volume_id), not request.disallow_overwrite_existing_files
        await asyncio.to_thread(tree.put, uploads, overwrite=overwrite)

    async def VolumeGetFile2(self, request: api_pb2.VolumeGetFile2Request) -> api_pb2.VolumeGetFile2Response:
        """Gives addresses to download a file from, one a block."""
        node = self.plane.volumes.tree(request.volume_id).node(request.path)
        if node.is_folder:
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{request.path}' is a folder")
        size, start = node.status.st_size, request.start
        end = min(size, start + request.len) if request.len else size
        return api_pb2.VolumeGetFile2Response(
            get_urls=self._blocks(request, start, end), size=size, start=start, len=max(0, end - start)
        )

    def _blocks(self, request: api_pb2.VolumeGetFile2Request, start: int, end: int) -> list[str]:
        """The addresses of the blocks that the bytes from `start` to `end` lie in, clipped to these."""
        urls = []
        while start < end:
            length = min(end, (start // BLOCK + 1) * BLOCK) - start
            query = {"path": request.path, "start": str(start), "length": str(length)}
            urls.append(self.plane.links.download(f"volumes/{request.volume_id}", query))
            start += length
        return urls

    async def VolumeListFiles(
        self, request: api_pb2.VolumeListFilesRequest
    ) -> AsyncIterator[api_pb2.VolumeListFilesResponse]:
        """Streams what is in a folder, or below it."""
        async for entries in self._entries(request):
            yield api_pb2.VolumeListFilesResponse(entries=entries)

    async def VolumeListFiles2(
        self, request: api_pb2.VolumeListFiles2Request
    ) -> AsyncIterator[api_pb2.VolumeListFiles2Response]:
        """Streams what is in a folder, or below it."""
        async for entries in self._entries(request):
            yield api_pb2.VolumeListFiles2Response(entries=entries)

    async def _entries(self, request: Any) -> AsyncIterator[list[api_pb2.FileEntry]]:
        nodes = self.plane.volumes.tree(request.volume_id).nodes(request.path, recursive=request.recursive)
        nodes = islice(nodes, request.max_entries or None)
        while batch := await asyncio.to_thread(lambda: [_entry(node) for node in islice(nodes, _BATCH)]):
            yield batch

    async def VolumeRemoveFile(self, request: api_pb2.VolumeRemoveFileRequest) -> Empty:
        """Removes a file, or a folder with all that is in it."""
        await self._remove(request)
        return Empty()

    async def VolumeRemoveFile2(self, request: api_pb2.VolumeRemoveFile2Request) -> Empty:
        """Removes a file, or a folder with all that is in it."""
        await self._remove(request)
        return Empty()

    async def _remove(self, request: Any) -> None:
        tree = self.plane.volumes.tree(request.volume_id)
        await asyncio.to_thread(tree.remove, request.path, recursive=request.recursive)

    async def VolumeCopyFiles(self, request: api_pb2.VolumeCopyFilesRequest) -> Empty:
        """Copies files within a volume, as UNIX `cp` does."""
        await self._copy(request)
        return Empty()

    async def VolumeCopyFiles2(self, request: api_pb2.VolumeCopyFiles2Request) -> Empty:
        """Copies files and folders within a volume, as UNIX `cp` does."""
        await self._copy(request)
        return Empty()

    async def _copy(self, request: Any) -> None:
        tree = self.plane.volumes.tree(request.volume_id)
        await asyncio.to_thread(tree.copy, list(request.src_paths), request.dst_path, recursive=request.recursive)


def _entry(node: Node) -> api_pb2.FileEntry:
    return api_pb2.FileEntry(
        path=node.path,
        type=_TYPES.get(stat.S_IFMT(node.status.st_mode), api_pb2.FileEntry.UNSPECIFIED),
        mtime=int(node.status.st_mtime),
        size=node.status.st_size,
    )
