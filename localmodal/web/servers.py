"""Servers (`@app.server`): plain HTTP and websockets, passed through to a port of a running container."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol
from weakref import ReferenceType, WeakKeyDictionary, ref

from grpclib import GRPCError

from localmodal.web import replies
from localmodal.web.passage import Passage
from localmodal.web.tunnel import tunnel
from localmodal.web.upstream import Pool

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from localmodal.tasks.tasks import Task
    from localmodal.web.asgi import Receive, Scope, Send


class ServerTasks(Protocol):
    """The scheduler, as far as servers need it."""

    async def server_task(self, function_id: str) -> Task:
        """A container that takes requests, one of which it is now busy with; waits for one to start."""

    def end_request(self, task: Task) -> None:
        """That request is over."""


@dataclass(frozen=True)
class Server:
    """Whom a request is for, and the raw path that it asks of it."""

    function_id: str
    port: int
    path: bytes


class Servers:
    """Passes requests and websockets on."""

    def __init__(self, tasks: ServerTasks) -> None:
        self._tasks = tasks
        self._pools: WeakKeyDictionary[Task, Pool] = WeakKeyDictionary()

    async def http(self, server: Server, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on, its body and the response's as they come."""
        async with self._task(server, scope, send) as task:
            if task:
                await Passage(self._pool(task, server.port), server.path, scope, receive, send).run()

    @asynccontextmanager
    async def _task(self, server: Server, scope: Scope, send: Send) -> AsyncIterator[Task | None]:
        """A container, counted busy; without one, the client is told and there is none."""
        try:
            task = await self._tasks.server_task(server.function_id)
        except Exception as error:  # noqa: BLE001 (whatever kept the container from starting is the client's answer)
            await replies.unavailable(f"no container of this server is ready: {_in_words(error)}")(scope, send)
            yield None
            return
        try:
            yield task
        finally:
            self._tasks.end_request(task)

    def _pool(self, task: Task, port: int) -> Pool:
        if (pool := self._pools.get(task)) is None:
            pool = self._pools[task] = Pool(partial(_connection, ref(task), port))
        return pool

    async def websocket(self, server: Server, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a websocket's messages on, both ways."""
        async with self._task(server, scope, send) as task:
            if task:
                await tunnel(_connection(ref(task), server.port), server.path, scope, receive, send)


async def _connection(task: ReferenceType[Task], port: int) -> socket.socket:
    """A connection into a container. The pool that asks does not keep a task that has ended."""
    if (running := task()) is None or running.container is None:
        raise ConnectionRefusedError("it has ended")
    return await running.container.connect(port)


def _in_words(error: Exception) -> str:
    return (error.message if isinstance(error, GRPCError) else str(error)) or type(error).__name__
