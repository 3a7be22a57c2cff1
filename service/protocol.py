"""Calls of Modal's protocol for which the client has no public face; its own command line makes the same ones."""

from __future__ import annotations

from dataclasses import dataclass

from modal._utils.async_utils import synchronizer
from modal.client import _Client
from modal_proto import api_pb2

_BEHAVIORS = {
    api_pb2.TASK_SNAPSHOT_BEHAVIOR_RESTORE: "restored",
    api_pb2.TASK_SNAPSHOT_BEHAVIOR_SNAPSHOT: "cold",
    api_pb2.TASK_SNAPSHOT_BEHAVIOR_NONE: "cold",
}


@dataclass(frozen=True)
class Container:
    """What the service itself says of one container."""

    kind: str | None
    """`cold` or `restored`; none: it does not say."""
    ended: bool


@synchronizer.create_blocking
async def container(task_id: str) -> Container:
    """The service's word on a container, also after its end."""
    client = await _Client.from_env()
    info = (await client.stub.TaskGetInfo(api_pb2.TaskGetInfoRequest(task_id=task_id))).info
    return Container(kind=_BEHAVIORS.get(info.snapshot_behavior), ended=info.finished_at > 0)


@synchronizer.create_blocking
async def running(app_id: str) -> int:
    """How many containers an app has."""
    client = await _Client.from_env()
    return len((await client.stub.TaskList(api_pb2.TaskListRequest(app_id=app_id))).tasks)


@synchronizer.create_blocking
async def production_tag(app_id: str) -> str:
    """The tag of the version in production; of the version that it goes back to, if it is a rollback."""
    history = await _history(app_id)
    versions = {entry.version: entry for entry in history.app_deployment_histories}
    entry = versions.get(history.production_app_version or max(versions, default=0))
    while entry and not entry.tag and entry.rollback_version:
        entry = versions.get(entry.rollback_version)
    return entry.tag if entry else ""


@synchronizer.create_blocking
async def versions(app_id: str) -> dict[str, int]:
    """The version that each tag was deployed as, last of all."""
    history = await _history(app_id)
    return {entry.tag: entry.version for entry in sorted(history.app_deployment_histories, key=lambda one: one.version)}


async def _history(app_id: str) -> api_pb2.AppDeploymentHistoryResponse:
    client = await _Client.from_env()
    return await client.stub.AppDeploymentHistory(api_pb2.AppDeploymentHistoryRequest(app_id=app_id))
