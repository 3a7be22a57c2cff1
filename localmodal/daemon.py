"""The daemon: puts the control plane together, serves it on loopback, and takes it down again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from grpclib.server import Server

from localmodal.api.groups import make_groups
from localmodal.api.server import Service
from localmodal.apps.apps import Apps
from localmodal.apps.deployments import Deployments
from localmodal.apps.functions import Functions
from localmodal.apps.web_names import WebNames
from localmodal.endpoint import Endpoint, Lock, own_version
from localmodal.images.container_layers import ContainerLayers
from localmodal.images.library import Images
from localmodal.images.process_layers import ProcessLayers
from localmodal.objects.blobs import Blobs
from localmodal.objects.contents import Contents
from localmodal.objects.dicts import Dicts
from localmodal.objects.environments import Environments
from localmodal.objects.housekeeping import keep_house
from localmodal.objects.links import Links
from localmodal.objects.mounts import Mounts
from localmodal.objects.named import Objects
from localmodal.objects.proxy_tokens import ProxyTokens
from localmodal.objects.queues import Queues
from localmodal.objects.secrets import Secrets
from localmodal.objects.transfers import Transfers
from localmodal.objects.volumes import Volumes
from localmodal.plane import Plane
from localmodal.settings import Settings, Signer
from localmodal.store import Store
from localmodal.tasks.calls import Calls
from localmodal.tasks.launcher import TaskLauncher
from localmodal.tasks.logs import Logs
from localmodal.tasks.scheduler import Scheduler
from localmodal.tasks.tasks import TaskRecords
from localmodal.token import Token
from localmodal.web.access import Doorkeeper, ServerTokens
from localmodal.web.front import Behind, Front
from localmodal.web.labels import Labels
from localmodal.web.urls import Urls
from localmodal.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from localmodal.home import Home

log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"


class DaemonError(Exception):
    """The daemon cannot run: why, and what to do."""


def listen(settings: Settings, name: str, variable: str) -> socket.socket:
    """A listening socket on loopback: on the port that the environment asks for, else on the last time's, else on any.

    Addresses that were given out hold the port. Another one instead would leave them to whoever has taken it.
    """
    port = os.environ.get(variable) or settings.get(name, "0")
    try:
        found = _bind(int(port))
    except (OSError, OverflowError, ValueError) as error:
        last_time = "" if os.environ.get(variable) else " (the port of the last time)"
        reason = getattr(error, "strerror", None) or error
        raise DaemonError(
            f"{variable}={port}{last_time}: {reason}. Free the port, or set {variable} to another one (0: any that is "
            "free); `pulumi up --refresh` then tells a stack its new addresses."
        ) from error
    settings.set(name, str(found.getsockname()[1]))
    return found


def _bind(port: int) -> socket.socket:
    # Named, TCP makes asyncio send small messages at once instead of waiting for an acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # What it accepts inherits this. Asyncio sets it only for sockets that name their protocol, as few do, and without
    # it small answers wait for the other side's delayed acknowledgement: 40 ms each.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_LOOPBACK, port))
    except OSError:
        listening.close()
        raise
    listening.listen(128)
    return listening


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
        plane = await self._assemble(store, settings, http)
        await self._take_up(plane)
        await self._serve_clients(plane, grpc)
        return Endpoint(os.getpid(), grpc.getsockname()[1], http.getsockname()[1], own_version(), time.time())

    async def _assemble(self, store: Store, settings: Settings, http: socket.socket) -> Plane:
        """Makes every part and gives it what it needs. What is opened here is closed in the opposite order."""
        home, port = self._home, http.getsockname()[1]
        signer = Signer(settings)
        environments = Environments(store, settings)
        objects = Objects(store, environments)
        contents = Contents(home.blobs)
        blobs, links = Blobs(store, contents), Links(signer, port)
        secrets, volumes = Secrets(store, objects, signer), Volumes(store, objects, home.volumes)
        apps, functions, calls = Apps(store), Functions(store), Calls(store)
        logs = Logs(home.logs)
        records = TaskRecords(store, logs)
        web_names = WebNames(Labels(store), Urls(port), environments)
        launcher = TaskLauncher()
        scheduler = calls.runner = Scheduler(apps, functions, calls, records, launcher)
        proxy_tokens, server_tokens = ProxyTokens(store), ServerTokens(signer)
        front = Front(
            Behind(
                labels=web_names.labels,
                apps=apps,
                environments=environments,
                functions=functions,
                calls=calls,
                blobs=blobs,
                scheduler=scheduler,
                doorkeeper=Doorkeeper(proxy_tokens, server_tokens),
                transfers=Transfers(links, contents, blobs, volumes).app(),
            )
        )
        self._closing.push_async_callback(front.close)
        worker = await Worker.open(home, port, front.serve)
        self._closing.push_async_callback(worker.close)
        layers_folder = home.disk if worker.capabilities.containers else home.root / "layers"
        mounts = Mounts(store, contents, layers_folder / "mounts")
        layers = (ContainerLayers if worker.capabilities.containers else ProcessLayers)(
            layers_folder / "images", worker.runtime, home.cache
        )
        images = Images(store, layers, logs, mounts, secrets, volumes)
        self._closing.push_async_callback(images.close)
        self._closing.push_async_callback(scheduler.close)
        plane = Plane(
            home=home,
            store=store,
            settings=settings,
            signer=signer,
            environments=environments,
            objects=objects,
            dicts=Dicts(store),
            queues=Queues(store),
            contents=contents,
            links=links,
            blobs=blobs,
            mounts=mounts,
            secrets=secrets,
            volumes=volumes,
            images=images,
            proxy_tokens=proxy_tokens,
            server_tokens=server_tokens,
            apps=apps,
            functions=functions,
            calls=calls,
            logs=logs,
            records=records,
            web_names=web_names,
            worker=worker,
            scheduler=scheduler,
            deployments=Deployments(apps, functions, scheduler, web_names),
        )
        launcher.connect(plane, make_groups(plane))
        self._closing.push_async_callback(await front.serve(http))
        return plane

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
