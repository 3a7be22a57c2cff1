"""Calls about functions and classes: how they are created, found, varied and scaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.api.group import Group
from localmodal.apps.definitions import DEFAULT_MAX_CONTAINERS, default_settings
from localmodal.apps.layout import class_handle, function_handle, handle_of
from localmodal.errors import not_found
from localmodal.ids import new_id
from localmodal.messages import copy_shared

if TYPE_CHECKING:
    from localmodal.apps.apps import App, Version
    from localmodal.apps.functions import Function


class FunctionCalls(Group):
    """Functions and classes."""

    # -- create

    async def FunctionPrecreate(self, request: api_pb2.FunctionPrecreateRequest) -> api_pb2.FunctionPrecreateResponse:
        """Gives a function its id and its web address, so that other functions can refer to it."""
        app = self._app(request.app_id)
        function = copy_shared(request, api_pb2.Function())
        self.plane.web_names.fill_in(app, function)
        return api_pb2.FunctionPrecreateResponse(
            function_id=self.plane.functions.new_id(app.id, request.existing_function_id),
            handle_metadata=function_handle(function, app.id),
        )

    async def FunctionCreate(self, request: api_pb2.FunctionCreateRequest) -> api_pb2.FunctionCreateResponse:
        """Writes a function's definition down. It runs once `AppPublish` names it."""
        app, data = self._app(request.app_id), _data(request)
        for ranked in data.ranked_functions:
            await self.plane.launcher.prepare(ranked.function)
        function_id = self.plane.functions.new_id(app.id, request.existing_function_id)
        definition_id = self.plane.functions.define(app.id, data)
        function = api_pb2.Function()
        function.CopyFrom(data.ranked_functions[0].function)
        self.plane.web_names.fill_in(app, function)
        return api_pb2.FunctionCreateResponse(
            function_id=function_id,
            function=function,
            handle_metadata=function_handle(function, app.id, definition_id),
            function_data=_with_shared_fields(data, function),
        )

    def _app(self, app_id: str) -> App:
        app = self.plane.apps.get(app_id)
        if not app.alive:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {app_id} is stopped.")
        return app

    async def ClassCreate(self, request: api_pb2.ClassCreateRequest) -> api_pb2.ClassCreateResponse:
        """Gives a class its id; what it does is in the function `Class.*`."""
        class_id = request.existing_class_id or new_id("cs")
        self.plane.store.write("INSERT OR IGNORE INTO classes (id, app_id) VALUES (?, ?)", class_id, request.app_id)
        return api_pb2.ClassCreateResponse(class_id=class_id, handle_metadata=api_pb2.ClassHandleMetadata())

    # -- find

    async def FunctionGet(self, request: api_pb2.FunctionGetRequest) -> api_pb2.FunctionGetResponse:
        """A function by its name: of the version in production, or pinned to the version that is asked for."""
        app, version = self._version(request.app_name, request.environment_name, request.app_version)
        if (function_id := version.published.function_ids.get(request.object_tag)) is None:
            raise not_found("Function", request.object_tag, f"App '{app.name}' has no such function.")
        if request.app_version:
            function_id = self.plane.functions.pin(function_id, version)
        function = self.plane.functions.get(function_id)
        return api_pb2.FunctionGetResponse(
            function_id=function_id,
            handle_metadata=handle_of(self.plane, function),
            function=self._function_data(function),
        )

    def _version(self, app_name: str, environment_name: str, number: int) -> tuple[App, Version]:
        app = self.plane.apps.named(app_name, self.plane.environments.get(environment_name).name)
        if number:
            return app, self.plane.apps.version(app.id, number)
        if (version := self.plane.apps.production(app)) is None:
            raise not_found("App", app_name, "It has only staged versions: promote one, or ask for its number.")
        return app, version

    def _function_data(self, function: Function) -> api_pb2.FunctionData:
        data = api_pb2.FunctionData()
        data.CopyFrom(function.data)
        return _with_shared_fields(data, self.plane.web_names.named(function))

    async def FunctionGetById(self, request: api_pb2.FunctionGetByIdRequest) -> api_pb2.FunctionGetByIdResponse:
        """A function by its id."""
        function = self.plane.functions.get(request.function_id)
        return api_pb2.FunctionGetByIdResponse(
            function=self._function_data(function), handle_metadata=handle_of(self.plane, function)
        )

    async def ClassGet(self, request: api_pb2.ClassGetRequest) -> api_pb2.ClassGetResponse:
        """A class by its name."""
        app, version = self._version(request.app_name, request.environment_name, request.app_version)
        if (class_id := version.published.class_ids.get(request.object_tag)) is None:
            raise not_found("Class", request.object_tag, f"App '{app.name}' has no such class.")
        handle = class_handle(self.plane, version, request.object_tag)
        return api_pb2.ClassGetResponse(class_id=class_id, handle_metadata=handle)

    # -- vary

    async def FunctionBindParams(
        self, request: api_pb2.FunctionBindParamsRequest
    ) -> api_pb2.FunctionBindParamsResponse:
        """The variant of a class with parameters, or of a function with other options."""
        options = request.function_options if request.HasField("function_options") else None
        bound_id = self.plane.functions.bind(request.function_id, request.serialized_params, options)
        handle = handle_of(self.plane, self.plane.functions.get(bound_id))
        return api_pb2.FunctionBindParamsResponse(bound_function_id=bound_id, handle_metadata=handle)

    # -- scale

    async def FunctionUpdateSchedulingParams(
        self, request: api_pb2.FunctionUpdateSchedulingParamsRequest
    ) -> api_pb2.FunctionUpdateSchedulingParamsResponse:
        """Changes how a function scales, until its next deployment."""
        function = self.plane.functions.override(request.function_id, request.settings)
        self.plane.scheduler.rescale(function.id)
        return api_pb2.FunctionUpdateSchedulingParamsResponse(current_settings=function.settings)

    async def FunctionGetSchedulingParams(
        self, request: api_pb2.FunctionGetSchedulingParamsRequest
    ) -> api_pb2.FunctionGetSchedulingParamsResponse:
        """How a function scales: now, by its definition, and what was changed since."""
        function = self.plane.functions.get(request.function_id)
        static = default_settings(function.definition)
        return api_pb2.FunctionGetSchedulingParamsResponse(
            autoscaler_configuration=api_pb2.AutoscalerConfiguration(
                settings=function.settings,
                static_settings=static,
                default_settings=api_pb2.AutoscalerSettings(max_containers=DEFAULT_MAX_CONTAINERS),
                override_settings=function.override,
            )
        )

    async def FunctionGetCurrentStats(self, request: api_pb2.FunctionGetCurrentStatsRequest) -> api_pb2.FunctionStats:
        """What waits, what runs, and in how many containers."""
        pool = self.plane.scheduler.pool(request.function_id)
        running = sum(len(task.running) for task in pool.tasks.values())
        slots = sum(pool.function.target_inputs for task in pool.tasks.values() if task.live)
        return api_pb2.FunctionStats(
            backlog=len(pool.queue),
            num_total_tasks=len(pool.tasks),
            num_running_inputs=running,
            input_headroom=max(0, slots - running),
        )


def _data(request: api_pb2.FunctionCreateRequest) -> api_pb2.FunctionData:
    """The definition in one shape: the client sends a bare function, or a list of them when several GPUs would do."""
    data = api_pb2.FunctionData()
    if request.HasField("function"):
        data.ranked_functions.add(rank=0, function=request.function)
    else:
        data.CopyFrom(request.function_data)
    return data


def _with_shared_fields(data: api_pb2.FunctionData, function: api_pb2.Function) -> api_pb2.FunctionData:
    """The definition with what the client reads of it outside its functions, web addresses among it."""
    shared = copy_shared(function, api_pb2.FunctionData())
    shared.ranked_functions.extend(data.ranked_functions)
    return shared
