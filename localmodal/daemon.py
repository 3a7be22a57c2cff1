"""The daemon: serves the control plane on loopback, and takes it down again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from grpclib.server import Server

from localmodal.api.groups import make_groups
from localmodal.api.server import Service
from localmodal.assembly import assemble
from localmodal.endpoint import Endpoint, Lock, own_version
from localmodal.errors import DaemonError
from localmodal.objects.housekeeping import keep_house
from localmodal.plane import Plane
from localmodal.ports import listen
from localmodal.settings import Settings
from localmodal.store import Store
from localmodal.token import Token

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from localmodal.home import Home

log = logging.getLogger(__name__)


class Daemon:
    """One control plane, running."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = Lock(home.daemon_lock)
        self._closing = AsyncExitStack()
        self._house: asyncio.Task[None]

    async def run(self, ready: Callable[[Endpoint], None]) -> None:
        """Serves until SIGTERM or SIGINT; calls `ready` once clients can come."""
        if not self._lock.take(wait=False):
            raise DaemonError(f"A daemon runs already for {self._home.root}. `python -m localmodal stop` ends it.")
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with self._closing:
            endpoint = await self._open()
            endpoint.write(self._home.endpoint)
            self._closing.callback(self._home.endpoint.unlink)
            ready(endpoint)
            await stop.wait()
            log.info("Stopping")

    async def _open(self) -> Endpoint:
        store = Store(self._home.database)
        self._closing.callback(store.close)
        settings = Settings(store)
        grpc = listen(settings, "grpc_port", "COLDSNAP_GRPC_PORT")
        http = listen(settings, "http_port", "COLDSNAP_HTTP_PORT")
        plane = Plane(self._home, store, settings)
        await assemble(plane, http, self._closing)
        await self._take_up(plane)
        await self._serve_clients(plane, grpc)
        return Endpoint(os.getpid(), grpc.getsockname()[1], http.getsockname()[1], own_version(), time.time())

    async def _take_up(self, plane: Plane) -> None:
        """Goes on where an earlier daemon stopped, or died: the worker has ended what it left running."""
        plane.records.sweep()
        plane.images.open()
        plane.calls.resume(plane.deployments.runs)
        plane.deployments.start()
        self._house = asyncio.create_task(keep_house(plane))
        self._closing.callback(self._house.cancel)

    async def _serve_clients(self, plane: Plane, grpc: socket.socket) -> None:
        token = Token.load(self._home.token)
        server = Server([Service(make_groups(plane), token.authorize)])
        await server.start(sock=grpc)
        self._closing.callback(server.close)
