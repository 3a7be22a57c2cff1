"""Calls about apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.api.group import Group, current_caller
from localmodal.apps.apps import ALIVE, OWNER
from localmodal.apps.layout import app_layout

if TYPE_CHECKING:
    from localmodal.apps.apps import App, Version

_SHOWN_FOR = 3600.0
"""Seconds for which a stopped app is still listed, as on the service."""


class AppCalls(Group):
    """Apps: their life, their versions, their tags."""

    # -- create and find

    async def AppCreate(self, request: api_pb2.AppCreateRequest) -> api_pb2.AppCreateResponse:
        """Adds an app; its functions follow, and `AppPublish` at the end."""
        app = self.plane.apps.create(request, self.plane.environments.get(request.environment_name).name)
        self.plane.deployments.heartbeat(app.id)
        url = self._url(app.id)
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=url, app_logs_url=url)

    def _url(self, app_id: str) -> str:
        return f"http://127.0.0.1:{self.plane.web_names.urls.port}/apps/{app_id}"

    async def AppGetByDeploymentName(
        self, request: api_pb2.AppGetByDeploymentNameRequest
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        """The app deployed under a name, or the last one that was."""
        environment = self.plane.environments.get(request.environment_name).name
        response = api_pb2.AppGetByDeploymentNameResponse(environment_name=environment)
        if app := self.plane.apps.deployed(request.name, environment):
            response.app_id = app.id
            response.lifecycle.CopyFrom(app.lifecycle)
        elif app := self.plane.apps.stopped(request.name, environment):
            response.previous_app_id = app.id
            response.lifecycle.CopyFrom(app.lifecycle)
        return response

    async def AppGetOrCreate(self, request: api_pb2.AppGetOrCreateRequest) -> api_pb2.AppGetOrCreateResponse:
        """`App.lookup`: the deployed app of that name; with `create_if_missing` an empty one."""
        environment = self.plane.environments.get(request.environment_name).name
        app = self.plane.apps.deployed(request.app_name, environment)
        if app is None and request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
            app = self._empty_app(request.app_name, environment)
        app = app or self.plane.apps.named(request.app_name, environment)
        return api_pb2.AppGetOrCreateResponse(app_id=app.id, handle_metadata=self._handle(app))

    def _empty_app(self, name: str, environment: str) -> App:
        deployed = api_pb2.APP_STATE_DEPLOYED
        app = self.plane.apps.create(api_pb2.AppCreateRequest(description=name, app_state=deployed), environment)
        self.plane.apps.add_version(app.id, api_pb2.AppPublishRequest(app_id=app.id, name=name, app_state=deployed))
        return self.plane.apps.get(app.id)

    def _handle(self, app: App) -> api_pb2.AppHandleMetadata:
        handle = api_pb2.AppHandleMetadata(
            description=app.description, app_id=app.id, environment_name=app.environment, lifecycle=app.lifecycle
        )
        if version := self.plane.apps.production(app):
            for tag, function_id in version.published.function_ids.items():
                is_server = self.plane.functions.get(function_id).definition.is_server
                (handle.servers if is_server else handle.functions)[tag] = function_id
        return handle

    async def AppGetInfo(self, request: api_pb2.AppGetInfoRequest) -> api_pb2.AppGetInfoResponse:
        """An app, and the hardware and web address of its functions."""
        info = self._handle(self.plane.apps.get(request.app_id))
        response = api_pb2.AppGetInfoResponse(info=info)
        for function_id in [*info.functions.values(), *info.servers.values()]:
            definition = self.plane.functions.get(function_id).definition
            summary = response.function_info_summaries[function_id]
            summary.web_function = bool(definition.webhook_config.type)
            if definition.resources.gpu_config.count:
                summary.gpu_config.append(definition.resources.gpu_config)
        return response

    async def AppList(self, request: api_pb2.AppListRequest) -> api_pb2.AppListResponse:
        """The apps of an environment that run, are deployed, or were stopped lately."""
        environment = self.plane.environments.get(request.environment_name).name
        return api_pb2.AppListResponse(
            apps=[self._item(app) for app in self.plane.apps.all(environment, stopped_within=_SHOWN_FOR)]
        )

    def _item(self, app: App) -> api_pb2.AppListResponse.AppListItem:
        return api_pb2.AppListResponse.AppListItem(
            app_id=app.id,
            description=app.description,
            name=app.name,
            state=app.state,
            created_at=app.created_at,
            stopped_at=app.stopped_at,
            n_running_tasks=sum(task.function.app_id == app.id for task in self.plane.scheduler.tasks),
        )

    async def AppGetLayout(self, request: api_pb2.AppGetLayoutRequest) -> api_pb2.AppGetLayoutResponse:
        """The functions and classes of the version in production: a redeployment gives them the same ids."""
        return api_pb2.AppGetLayoutResponse(app_layout=app_layout(self.plane, self.plane.apps.get(request.app_id)))

    async def AppGetLifecycle(self, request: api_pb2.AppGetLifecycleRequest) -> api_pb2.AppGetLifecycleResponse:
        """An app's state and version."""
        return api_pb2.AppGetLifecycleResponse(lifecycle=self.plane.apps.get(request.app_id).lifecycle)

    async def AppSetTags(self, request: api_pb2.AppSetTagsRequest) -> Empty:
        """Replaces an app's tags."""
        self.plane.apps.set_tags(self.plane.apps.get(request.app_id).id, request.tags)
        return Empty()

    async def AppGetTags(self, request: api_pb2.AppGetTagsRequest) -> api_pb2.AppGetTagsResponse:
        """An app's tags."""
        return api_pb2.AppGetTagsResponse(tags=self.plane.apps.get(request.app_id).tags)

    # -- versions

    async def AppPublish(self, request: api_pb2.AppPublishRequest) -> api_pb2.AppPublishResponse:
        """Puts what was created in production, or stages it."""
        _require_name(request)
        request.client_version = current_caller.get().metadata.get("x-modal-client-version", "")
        version = await self.plane.deployments.publish(request)
        return api_pb2.AppPublishResponse(
            url=self._url(request.app_id), deployed_at=version.deployed_at if version else 0.0
        )

    async def AppDeploymentHistory(
        self, request: api_pb2.AppDeploymentHistoryRequest
    ) -> api_pb2.AppDeploymentHistoryResponse:
        """Every version of an app, the youngest first."""
        app = self.plane.apps.get(request.app_id)
        return api_pb2.AppDeploymentHistoryResponse(
            production_app_version=app.version,
            app_deployment_histories=[_history(app.id, version) for version in self.plane.apps.versions(app.id)],
        )

    async def AppRollback(self, request: api_pb2.AppRollbackRequest) -> api_pb2.AppRollbackResponse:
        """Puts an earlier version in production."""
        version = await self.plane.deployments.rollback(request.app_id, request.version)
        return api_pb2.AppRollbackResponse(url=self._url(request.app_id), deployed_at=version.deployed_at)

    async def AppRollover(self, request: api_pb2.AppRolloverRequest) -> api_pb2.AppRolloverResponse:
        """Replaces the containers of the version in production."""
        version = await self.plane.deployments.rollover(request.app_id)
        return api_pb2.AppRolloverResponse(url=self._url(request.app_id), deployed_at=version.deployed_at)

    async def AppPromote(self, request: api_pb2.AppPromoteRequest) -> api_pb2.AppPromoteResponse:
        """Puts a staged version in production."""
        version = await self.plane.deployments.promote(request.app_id, request.version)
        return api_pb2.AppPromoteResponse(url=self._url(request.app_id), deployed_at=version.deployed_at)

    # -- the end

    async def AppHeartbeat(self, request: api_pb2.AppHeartbeatRequest) -> Empty:
        """The client that runs an app is there."""
        self.plane.deployments.heartbeat(request.app_id)
        return Empty()

    async def AppClientDisconnect(self, request: api_pb2.AppClientDisconnectRequest) -> Empty:
        """The client that ran an app, or failed to deploy it, has gone."""
        await self.plane.deployments.disconnected(request.app_id, "The app's client has ended.")
        return Empty()

    async def AppStop(self, request: api_pb2.AppStopRequest) -> Empty:
        """Ends an app."""
        await self.plane.deployments.stop(self.plane.apps.get(request.app_id).id, "The app was stopped.")
        return Empty()


def _require_name(request: api_pb2.AppPublishRequest) -> None:
    if request.app_state == api_pb2.APP_STATE_DEPLOYED and not request.name:
        raise GRPCError(Status.INVALID_ARGUMENT, "An app that is deployed needs a name.")


def _history(app_id: str, version: Version) -> api_pb2.AppDeploymentHistory:
    published = version.published
    return api_pb2.AppDeploymentHistory(
        app_id=app_id,
        version=version.number,
        client_version=published.client_version,
        deployed_at=version.deployed_at,
        deployed_by=OWNER,
        tag=published.deployment_tag,
        rollback_version=version.rollback_version,
        rollback_allowed=not version.staged and published.app_state in ALIVE,
        commit_info=published.commit_info if published.HasField("commit_info") else None,
    )
