"""Puts together what a container is started from, and gives it its socket."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.api.groups import make_groups
from localmodal.api.server import Service
from localmodal.apps.definitions import refuse_what_is_not_served
from localmodal.apps.layout import app_layout
from localmodal.ids import new_id
from localmodal.images.config import ImageError
from localmodal.tasks.task_server import TaskServer
from localmodal.worker.container import Bind
from localmodal.worker.worker import TaskLaunch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from localmodal.plane import Plane
    from localmodal.tasks.tasks import Task
    from localmodal.worker.worker import RunningTask

log = logging.getLogger(__name__)

_HOME = "/root"
"""Where code is mounted, and a container's working directory unless its image has another."""


class TaskLauncher:
    """Starts the containers of this control plane (a pool's `Launcher`)."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._service = Service(make_groups(plane), lambda *_: None)  # who reaches its socket is that container
        self._servers: dict[str, TaskServer] = {}

    async def prepare(self, definition: api_pb2.Function) -> None:
        """The client's layer is made once for every Python."""
        refuse_what_is_not_served(definition)
        try:
            image = await self._plane.images.config(definition.image_id)
            await self._plane.images.client_layer(image.python_series)
        except ImageError as error:
            raise GRPCError(Status.FAILED_PRECONDITION, str(error)) from error

    async def launch(self, task: Task) -> RunningTask:
        """Starts a task's container."""
        server = await self._serve(task.id)
        definition = task.function.definition
        image = await self._plane.images.config(definition.image_id)
        launch = TaskLaunch(
            task_id=task.id,
            arguments=self._arguments(task),
            layers=await self._layers(definition, image.python_series),
            python=image.python,
            env=self._environment(image.env, definition.secret_ids),
            workdir=image.workdir or _HOME,
            output=task.log.output,
            api_closed=server.closed_by_peer,
            binds=self._volumes(definition),
            snapshots=definition.checkpointing_enabled,
        )
        return await self._plane.worker.start(launch)

    async def _serve(self, task_id: str) -> TaskServer:
        folder = self._folder(task_id)
        folder.mkdir(parents=True)
        server = self._servers[task_id] = TaskServer(self._service.of_task(task_id))
        await server.listen(folder / "api.sock")
        return server

    def _folder(self, task_id: str) -> Path:
        return self._plane.home.run / task_id

    def _arguments(self, task: Task) -> api_pb2.ContainerArguments:
        function, app = task.function, self._plane.apps.get(task.function.app_id)
        definition = api_pb2.Function()
        definition.CopyFrom(function.definition)
        # These two are the service's to set; without them the client's entrypoint takes no snapshot.
        definition.is_checkpointing_function = definition.checkpointing_enabled
        definition._experimental_enable_gpu_snapshot = (  # noqa: SLF001 (the field's name on the wire)
            definition.experimental_options.get("enable_gpu_snapshot") == "True"
        )
        arguments = api_pb2.ContainerArguments(
            task_id=task.id,
            function_id=function.id,
            app_id=app.id,
            function_def=definition,
            environment_name=app.environment,
            serialized_params=function.params,
            app_layout=app_layout(self._plane, app),
        )
        if definition.checkpointing_enabled:
            arguments.checkpoint_id = new_id("ch")
        return arguments

    async def _layers(self, definition: api_pb2.Function, python_series: str) -> tuple[Path, ...]:
        plane = self._plane
        return (
            *await plane.images.layers(definition.image_id),
            await plane.images.client_layer(python_series),
            *[await plane.mounts.layer(mount_id) for mount_id in sorted(definition.mount_ids)],
        )

    def _environment(self, of_image: Mapping[str, str], secret_ids: Sequence[str]) -> dict[str, str]:
        return {**of_image, **self._plane.secrets.environment(secret_ids)}

    def _volumes(self, definition: api_pb2.Function) -> tuple[Bind, ...]:
        return tuple(
            Bind(self._plane.volumes.path(mount.volume_id, mount.sub_path), mount.mount_path, mount.read_only)
            for mount in definition.volume_mounts
        )

    def discard(self, task: Task) -> None:
        """Takes down what `launch` set up, after the container has ended."""
        if server := self._servers.pop(task.id, None):
            server.shut()
        shutil.rmtree(self._folder(task.id), ignore_errors=True)

    def lost_faith(self, task: Task, reason: str) -> None:
        """A container that came from a snapshot did not get as far as asking for work: the snapshot is bad."""
        assert task.container
        assert task.container.snapshot
        text = (
            f"Transient snapshot error: failed to restore container from snapshot: {reason}. "
            "Will retry with no snapshots."
        )
        task.log.system(text)
        log.warning("%s (%s): %s", task.function.tag, task.id, text)
        self._plane.worker.mark_bad(task.container.snapshot, reason)

    def keep_snapshots(self, function_ids: Collection[str]) -> None:
        """Those of functions that no app has any more are of no use."""
        self._plane.worker.discard_snapshots_of_all_but(set(function_ids))
