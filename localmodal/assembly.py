"""Puts the control plane together: every part, after those that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmodal.apps.apps import Apps
from localmodal.apps.deployments import Deployments
from localmodal.apps.functions import Functions
from localmodal.apps.web_names import WebNames
from localmodal.images.builder import LocalBuilder
from localmodal.images.container_layers import ContainerLayers
from localmodal.images.library import Images
from localmodal.images.process_layers import ProcessLayers
from localmodal.objects.blobs import Blobs
from localmodal.objects.contents import Contents
from localmodal.objects.dicts import Dicts
from localmodal.objects.environments import Environments
from localmodal.objects.links import Links
from localmodal.objects.mounts import Mounts
from localmodal.objects.named import Objects
from localmodal.objects.proxy_tokens import ProxyTokens
from localmodal.objects.queues import Queues
from localmodal.objects.secrets import Secrets
from localmodal.objects.transfers import Transfers
from localmodal.objects.volumes import Volumes
from localmodal.recording.containers import NoContainers, RecordingScheduler
from localmodal.recording.images import RecordedImages
from localmodal.tasks.calls import Calls
from localmodal.tasks.launcher import TaskLauncher
from localmodal.tasks.logs import Logs
from localmodal.tasks.scheduler import Scheduler
from localmodal.tasks.tasks import TaskRecords
from localmodal.web.access import Doorkeeper, ServerTokens
from localmodal.web.front import Behind, Front
from localmodal.web.labels import Labels
from localmodal.web.urls import Urls
from localmodal.worker.worker import Worker

if TYPE_CHECKING:
    import socket
    from contextlib import AsyncExitStack

    from localmodal.plane import Plane


async def assemble(plane: Plane, http: socket.socket, closing: AsyncExitStack) -> None:
    """Adds every part. What is opened here is closed in the opposite order."""
    port = http.getsockname()[1]
    _add_objects(plane, port)
    _add_apps(plane, port)
    front = _front(plane)
    closing.push_async_callback(front.close)
    if plane.home.records:
        _record_images(plane)
    else:
        plane.worker = await Worker.open(plane.home, port, front.serve)
        closing.push_async_callback(plane.worker.close)
        _build_images(plane)
    closing.push_async_callback(plane.images.close)
    closing.push_async_callback(plane.scheduler.close)
    closing.push_async_callback(await front.serve(http))


def _add_objects(plane: Plane, port: int) -> None:
    """What users name and keep."""
    home, store = plane.home, plane.store
    plane.environments = Environments(store, plane.settings)
    plane.objects = Objects(store, plane.environments)
    plane.contents = Contents(home.blobs)
    plane.blobs = Blobs(store, plane.contents)
    plane.links = Links(plane.signer, port)
    plane.secrets = Secrets(store, plane.objects, plane.signer)
    plane.volumes = Volumes(store, plane.objects, home.volumes)
    plane.dicts, plane.queues = Dicts(store), Queues(store)
    plane.proxy_tokens, plane.server_tokens = ProxyTokens(store), ServerTokens(plane.signer)


def _add_apps(plane: Plane, port: int) -> None:
    """What users deploy, and what runs of it."""
    store = plane.store
    plane.apps, plane.functions, plane.calls = Apps(store), Functions(store), Calls(store)
    plane.web_names = WebNames(Labels(store), Urls(port), plane.environments)
    plane.logs = Logs(plane.home.logs)
    plane.records = TaskRecords(store, plane.logs)
    kind: type[Scheduler]
    kind, plane.launcher = (
        (RecordingScheduler, NoContainers()) if plane.home.records else (Scheduler, TaskLauncher(plane))
    )
    plane.scheduler = kind(plane.apps, plane.functions, plane.calls, plane.records, plane.launcher)
    plane.calls.runner = plane.scheduler
    plane.deployments = Deployments(plane.apps, plane.functions, plane.scheduler, plane.web_names)


def _front(plane: Plane) -> Front:
    """The door for HTTP."""
    return Front(
        Behind(
            labels=plane.web_names.labels,
            apps=plane.apps,
            environments=plane.environments,
            functions=plane.functions,
            calls=plane.calls,
            blobs=plane.blobs,
            scheduler=plane.scheduler,
            doorkeeper=Doorkeeper(plane.proxy_tokens, plane.server_tokens),
            transfers=Transfers(plane.links, plane.contents, plane.blobs, plane.volumes).app(),
        )
    )


def _record_images(plane: Plane) -> None:
    """What containers would be made of."""
    recorded = RecordedImages()
    plane.mounts = Mounts(plane.store, plane.contents, plane.home.root / "layers/mounts")
    plane.images = Images(plane.store, recorded, recorded, plane.logs, plane.secrets)


def _build_images(plane: Plane) -> None:
    """What containers are made of: in overlays where this machine can mount some, else in plain folders."""
    mountable = plane.worker.capabilities.containers
    folder = plane.home.disk if mountable else plane.home.root / "layers"
    plane.mounts = Mounts(plane.store, plane.contents, folder / "mounts")
    kind = ContainerLayers if mountable else ProcessLayers
    layers = kind(folder / "images", plane.worker.runtime, plane.home.cache)
    builder = LocalBuilder(layers, plane.mounts, plane.secrets, plane.volumes, plane.home.temporary)
    plane.images = Images(plane.store, layers, builder, plane.logs, plane.secrets)
