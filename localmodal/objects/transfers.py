"""The data side of the HTTP front: uploads and downloads under the addresses that `links.py` signed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from localmodal.objects.links import PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import BinaryIO

    from starlette.requests import Request

    from localmodal.objects.blobs import Blobs
    from localmodal.objects.contents import Contents
    from localmodal.objects.links import Links
    from localmodal.objects.volumes import Volumes

    Endpoint = Callable[[Request], Awaitable[Response]]

_PIECE = 128 * 1024
log = logging.getLogger(__name__)

_HTTP_STATUS = {Status.NOT_FOUND: 404, Status.INVALID_ARGUMENT: 400}


class Transfers:
    """Serves blobs, blocks of uploads and blocks of volumes' files."""

    def __init__(self, links: Links, contents: Contents, blobs: Blobs, volumes: Volumes) -> None:
        self._links = links
        self._contents = contents
        self._blobs = blobs
        self._volumes = volumes

    def app(self) -> Starlette:
        """The ASGI app for everything below `links.PREFIX`."""
        routes = [
            self._route("PUT", "/blobs/{blob}", self._put_blob),
            self._route("GET", "/blobs/{blob}", self._get_blob),
            self._route("PUT", "/blocks/{sha256}", self._put_block),
            self._route("GET", "/volumes/{volume}", self._get_block),
        ]
        return Starlette(routes=[Mount(PREFIX.rstrip("/"), routes=routes)])

    def _route(self, method: str, path: str, endpoint: Endpoint) -> Route:
        async def checked(request: Request) -> Response:
            if not self._links.allows(request.method, request.url.path.removeprefix(PREFIX), request.query_params):
                return PlainTextResponse("This address was not given out by the local control plane.", 403)
            try:
                return await endpoint(request)
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it; what had come is gone
            except GRPCError as error:
                return PlainTextResponse(error.message or "", _HTTP_STATUS.get(error.status, 500))
            except OSError as error:  # no space left, for one
                log.exception("%s %s failed", request.method, request.url.path)
                return PlainTextResponse(f"The local control plane could not do it: {error.strerror}", 507)

        return Route(path, checked, methods=[method])

    async def _put_blob(self, request: Request) -> Response:
        md5 = await self._receive(request, self._blobs.sha256(request.path_params["blob"]))
        return Response(headers={"ETag": f'"{md5}"'})

    async def _put_block(self, request: Request) -> Response:
        # The client hands the answer back when it names the block once more; its name says all there is to say.
        sha256 = request.path_params["sha256"]
        await self._receive(request, sha256)
        return Response(bytes.fromhex(sha256))

    async def _receive(self, request: Request, sha256: str) -> str:
        with self._contents.receive() as incoming:
            async for chunk in request.stream():
                incoming.write(chunk)
            incoming.keep(sha256)
            return incoming.md5

    async def _get_blob(self, request: Request) -> Response:
        return FileResponse(self._blobs.path(request.path_params["blob"]))

    async def _get_block(self, request: Request) -> Response:
        query = request.query_params
        file = self._volumes.tree(request.path_params["volume"]).open(query["path"])
        return StreamingResponse(_part(file, int(query["start"]), int(query["length"])))


async def _part(file: BinaryIO, start: int, length: int) -> AsyncIterator[bytes]:
    """A part of a file, in pieces: whole blocks in memory would stay with the daemon. Closes the file."""
    with file:
        file.seek(start)
        while length and (piece := await asyncio.to_thread(file.read, min(length, _PIECE))):
            yield piece
            length -= len(piece)
