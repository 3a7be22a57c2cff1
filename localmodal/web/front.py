"""The HTTP front: one port of this machine, every web function and server of every deployed app, and the blobs."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn
from grpclib import GRPCError
from uvicorn.server import ServerState

from localmodal.objects.links import PREFIX
from localmodal.web import replies
from localmodal.web.asgi import header
from localmodal.web.functions import WebFunction, WebFunctions
from localmodal.web.protocol import FrontProtocol
from localmodal.web.servers import Server, Servers
from localmodal.web.urls import addressed, below

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from modal_proto import api_pb2

    from localmodal.apps.apps import Apps
    from localmodal.apps.functions import Functions
    from localmodal.objects.blobs import Blobs
    from localmodal.objects.environments import Environments
    from localmodal.tasks.calls import Calls
    from localmodal.web.access import Doorkeeper
    from localmodal.web.asgi import App, Message, Receive, Scope, Send
    from localmodal.web.labels import Labels, Target
    from localmodal.web.servers import ServerTasks

log = logging.getLogger(__name__)

CLOSE_WITHIN = 2.0
"""Seconds that requests have to end when the front stops."""
_KEEP_ALIVE = 75
"""Seconds for which an idle connection of a client is kept."""
_LARGEST_FRAME = 64 * 1024 * 1024
"""Bytes of a websocket message; the service's limit is 2 MiB."""


@dataclass(frozen=True)
class Behind:
    """What the front needs of the control plane."""

    labels: Labels
    apps: Apps
    environments: Environments
    functions: Functions
    calls: Calls
    blobs: Blobs
    scheduler: ServerTasks
    doorkeeper: Doorkeeper
    transfers: App
    """Serves uploads and downloads below `links.PREFIX`."""


class Front:
    """Serves HTTP on any number of listening sockets: the daemon's own, and one inside each container's network."""

    def __init__(self, behind: Behind) -> None:
        self._behind = behind
        self._functions = WebFunctions(behind.calls, behind.blobs)
        self._servers = Servers(behind.scheduler)
        self._state = ServerState()
        self._config = uvicorn.Config(
            self,
            http=FrontProtocol,
            ws="websockets-sansio",
            ws_max_size=_LARGEST_FRAME,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        self._config.load()
        # What it calls errors of the app is logged here, with the reason.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

    async def serve(self, listening: socket.socket) -> Callable[[], Awaitable[None]]:
        """Serves on a listening socket; returns how to stop that."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: FrontProtocol(self._config, self._state, {}), sock=listening)

        async def stop() -> None:
            server.close()

        return stop

    async def close(self) -> None:
        """Lets the requests of all sockets end, for a moment, then ends them."""
        for connection in list(self._state.connections):
            connection.shutdown()
        if tasks := set(self._state.tasks):
            _, late = await asyncio.wait(tasks, timeout=CLOSE_WITHIN)
            for task in late:
                task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request or websocket (the ASGI app that uvicorn runs)."""
        try:
            await self._serve(scope, receive, send)
        except Exception:
            log.exception("%s failed", scope["path"])
            raise

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = addressed(header(scope, b"host"), scope["raw_path"].decode("latin-1"))
        if named is None and scope["path"].startswith(PREFIX):
            await self._behind.transfers(scope, receive, send)
        elif named is None or (target := self._behind.labels.find(named.label)) is None:
            await replies.UNKNOWN_LABEL(scope, send)
        elif (definition := self._definition(target)) is None:
            await replies.STOPPED(scope, send)
        elif refusal := self._refusal(scope, target, definition):
            await refusal(scope, send)
        else:
            await self._pass_on(target, definition, named.prefix, scope, receive, send)

    async def _pass_on(
        self, target: Target, definition: api_pb2.Function, prefix: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if prefix:
            scope["headers"].append((b"x-forwarded-prefix", prefix.encode()))
            send = _redirecting_below(prefix, header(scope, b"host"), send)
        if definition.is_server:
            raw_path = scope["raw_path"].removeprefix(prefix.encode()) or b"/"
            server = Server(target.function_id, definition.http_config.port, raw_path)
            serve = self._servers.http if scope["type"] == "http" else self._servers.websocket
            await serve(server, scope, receive, send)
        else:
            path = scope["path"].removeprefix(prefix) or "/"
            function = WebFunction(target.function_id, target.method, path)
            answer = self._functions.http if scope["type"] == "http" else self._functions.websocket
            await answer(function, scope, receive, send)

    def _definition(self, target: Target) -> api_pb2.Function | None:
        try:
            return self._behind.functions.get(target.function_id).definition if target.live else None
        except GRPCError:
            return None

    def _refusal(self, scope: Scope, target: Target, definition: api_pb2.Function) -> replies.Reply | None:
        if not _protected(definition, target.method):
            return None
        environment = self._behind.environments.get(self._behind.apps.get(target.app_id).environment)
        server_id = target.function_id if definition.is_server else ""
        return self._behind.doorkeeper.refuse(scope, environment.id, server_id)


def _protected(definition: api_pb2.Function, method: str) -> bool:
    if definition.is_server:
        return not definition.http_config.unauthenticated
    config = definition.method_definitions[method].webhook_config if method else definition.webhook_config
    return bool(config.requires_proxy_auth)


def _redirecting_below(prefix: str, host: str, send: Send) -> Send:
    """Sends on, with the app's redirects to itself changed to lead there again."""

    async def send_on(message: Message) -> None:
        if message["type"].endswith("http.response.start"):
            message["headers"] = [
                (name, below(prefix, host, value.decode("latin-1")).encode("latin-1"))
                if name.lower() == b"location"
                else (name, value)
                for name, value in message["headers"]
            ]
        await send(message)

    return send_on
