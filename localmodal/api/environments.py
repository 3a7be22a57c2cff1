"""Environments, and the settings of the workspace that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.api.group import Group

if TYPE_CHECKING:
    from localmodal.objects.environments import Environment


class Environments(Group):
    """Create, list, update and delete environments."""

    async def EnvironmentGetOrCreate(
        self, request: api_pb2.EnvironmentGetOrCreateRequest
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        """Looks an environment up by name, or makes it."""
        environments, name = self.plane.environments, request.deployment_name
        if request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
            environment = environments.find(name) or environments.create(name)
        else:
            environment = environments.get(name)
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id=environment.id,
            metadata=api_pb2.EnvironmentMetadata(name=environment.name, settings=self._settings(environment)),
        )

    def _settings(self, environment: Environment) -> api_pb2.EnvironmentSettings:
        return api_pb2.EnvironmentSettings(
            image_builder_version=self.plane.environments.builder(environment.name),
            webhook_suffix=environment.web_suffix,
        )

    async def EnvironmentList(self, _: Empty) -> api_pb2.EnvironmentListResponse:
        """Lists all environments."""
        return api_pb2.EnvironmentListResponse(items=[self._item(one) for one in self.plane.environments.all()])

    def _item(self, environment: Environment) -> api_pb2.EnvironmentListItem:
        return api_pb2.EnvironmentListItem(
            name=environment.name,
            environment_id=environment.id,
            webhook_suffix=environment.web_suffix,
            created_at=environment.created_at,
            default=environment.name == self.plane.environments.default,
            image_builder_version=environment.builder,
        )

    async def EnvironmentCreate(self, request: api_pb2.EnvironmentCreateRequest) -> Empty:
        """Makes an environment; restricted ones need users, which there are none of here."""
        if request.is_managed:
            raise GRPCError(Status.UNIMPLEMENTED, "The local control plane has one user: no restricted environments.")
        self.plane.environments.create(request.name)
        return Empty()

    async def EnvironmentUpdate(self, request: api_pb2.EnvironmentUpdateRequest) -> api_pb2.EnvironmentListItem:
        """Changes an environment's name, web suffix or image builder version."""
        new_name, web_suffix = _given(request, "name"), _given(request, "web_suffix")
        self.plane.environments.update(
            request.current_name,
            new_name=new_name.value if new_name else None,
            web_suffix=web_suffix.value if web_suffix else None,
            builder=_given(request, "image_builder_version"),
        )
        return self._item(self.plane.environments.get(new_name.value if new_name else request.current_name))

    async def EnvironmentDelete(self, request: api_pb2.EnvironmentDeleteRequest) -> Empty:
        """Stops an environment's apps and deletes it with all that is in it."""
        environment = self.plane.environments.get_deletable(request.name)
        for app in self.plane.apps.all(environment.name):
            await self.plane.deployments.stop(app.id, f"Environment '{environment.name}' was deleted.")
        self.plane.environments.delete(environment)
        await self.plane.volumes.delete_unknown()
        return Empty()

    async def WorkspaceSettings(self, _: Empty) -> api_pb2.WorkspaceSettingsResponse:
        """Says which environment and which image builder version are the defaults."""
        return api_pb2.WorkspaceSettingsResponse(
            default_environment_name=self.plane.environments.default,
            image_builder_version=self.plane.environments.default_builder,
        )

    async def WorkspaceSetDefaultEnvironment(self, request: api_pb2.WorkspaceSetDefaultEnvironmentRequest) -> Empty:
        """Chooses the environment that calls without one mean."""
        self.plane.environments.default = request.environment_name
        return Empty()

    async def WorkspaceSetImageBuilderVersion(
        self, request: api_pb2.WorkspaceSetImageBuilderVersionRequest
    ) -> api_pb2.WorkspaceSetImageBuilderVersionResponse:
        """Chooses the image builder version of environments that have none of their own."""
        self.plane.environments.default_builder = request.new_image_builder_version
        return api_pb2.WorkspaceSetImageBuilderVersionResponse(
            image_builder_version=self.plane.environments.default_builder
        )


def _given(request: Any, field: str) -> Any:
    return getattr(request, field) if request.HasField(field) else None
