"""Every group of calls that is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmodal.api.access import Access
from localmodal.api.apps import AppCalls
from localmodal.api.blobs import Blobs
from localmodal.api.calls import CallCalls
from localmodal.api.containers import ContainerCalls
from localmodal.api.dicts import Dicts
from localmodal.api.environments import Environments
from localmodal.api.functions import FunctionCalls
from localmodal.api.images import Images
from localmodal.api.logs import LogCalls
from localmodal.api.mounts import Mounts
from localmodal.api.proxy_tokens import ProxyTokens
from localmodal.api.queues import Queues
from localmodal.api.secrets import Secrets
from localmodal.api.tasks import TaskCalls
from localmodal.api.volumes import Volumes
from localmodal.api.workspaces import Workspaces

if TYPE_CHECKING:
    from localmodal.api.group import Group
    from localmodal.plane import Plane

GROUPS: tuple[type[Group], ...] = (
    Access, AppCalls, Blobs, CallCalls, ContainerCalls, Dicts, Environments, FunctionCalls, Images, LogCalls, Mounts,
    ProxyTokens, Queues, Secrets, TaskCalls, Volumes, Workspaces,
)  # fmt: skip


def make_groups(plane: Plane) -> list[Group]:
    """One of each, over one control plane."""
    return [group(plane) for group in GROUPS]
