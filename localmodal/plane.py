"""The control plane's parts, put together by `assembly.py` and handed to every group of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmodal.settings import Signer

if TYPE_CHECKING:
    from localmodal.apps.apps import Apps
    from localmodal.apps.deployments import Deployments
    from localmodal.apps.functions import Functions
    from localmodal.apps.web_names import WebNames
    from localmodal.home import Home
    from localmodal.images.library import Images
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
    from localmodal.objects.volumes import Volumes
    from localmodal.settings import Settings
    from localmodal.store import Store
    from localmodal.tasks.calls import Calls
    from localmodal.tasks.logs import Logs
    from localmodal.tasks.pool import Launcher
    from localmodal.tasks.scheduler import Scheduler
    from localmodal.tasks.tasks import TaskRecords
    from localmodal.web.access import ServerTokens
    from localmodal.worker.worker import Worker


class Plane:
    """One daemon's parts. Each is added once, after those that it needs, before the first client comes."""

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
    """Only where containers run."""
    launcher: Launcher
    scheduler: Scheduler
    deployments: Deployments

    def __init__(self, home: Home, store: Store, settings: Settings) -> None:
        self.home = home
        self.store = store
        self.settings = settings
        self.signer = Signer(settings)
