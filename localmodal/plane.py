"""The control plane's parts, wired by the daemon and handed to every group of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localmodal.apps import Apps
    from localmodal.blobs import Blobs
    from localmodal.calls import Calls
    from localmodal.contents import Contents
    from localmodal.deployments import Deployments
    from localmodal.dicts import Dicts
    from localmodal.environments import Environments
    from localmodal.functions import Functions
    from localmodal.home import Home
    from localmodal.images.library import Images
    from localmodal.links import Links
    from localmodal.logs import Logs
    from localmodal.mounts import Mounts
    from localmodal.objects import Objects
    from localmodal.proxy_tokens import ProxyTokens
    from localmodal.queues import Queues
    from localmodal.scheduler import Scheduler
    from localmodal.secrets import Secrets
    from localmodal.settings import Settings, Signer
    from localmodal.store import Store
    from localmodal.tasks import TaskRecords
    from localmodal.volumes import Volumes
    from localmodal.web.access import ServerTokens
    from localmodal.web_names import WebNames
    from localmodal.worker.worker import Worker


@dataclass
class Plane:
    """One daemon's parts."""

    home: Home
    store: Store
    settings: Settings
    signer: Signer
    environments: Environments
    objects: Objects
    dicts: Dicts
    queues: Queues
    contents: Contents
    links: Links
    blobs: Blobs
    mounts: Mounts
    secrets: Secrets
    volumes: Volumes
    images: Images
    proxy_tokens: ProxyTokens
    server_tokens: ServerTokens
    apps: Apps
    functions: Functions
    calls: Calls
    logs: Logs
    records: TaskRecords
    web_names: WebNames
    worker: Worker
    scheduler: Scheduler
    deployments: Deployments
