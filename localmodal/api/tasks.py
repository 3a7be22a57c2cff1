"""Calls about containers, from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_proto import api_pb2

from localmodal.api.group import Group

if TYPE_CHECKING:
    from localmodal.tasks.tasks import Task


class TaskCalls(Group):
    """Containers: list, look at, stop."""

    async def TaskList(self, request: api_pb2.TaskListRequest) -> api_pb2.TaskListResponse:
        """The containers of an app, or of an environment, that are there now."""
        environment = self.plane.environments.get(request.environment_name).name
        return api_pb2.TaskListResponse(
            tasks=[
                self._stats(task)
                for task in self.plane.scheduler.tasks
                if self._wanted(task, request.app_id, environment)
            ]
        )

    def _wanted(self, task: Task, app_id: str, environment: str) -> bool:
        of_app = task.function.app_id
        return of_app == app_id if app_id else self.plane.apps.get(of_app).environment == environment

    def _stats(self, task: Task) -> api_pb2.TaskStats:
        app = self.plane.apps.get(task.function.app_id)
        return api_pb2.TaskStats(
            task_id=task.id,
            app_id=app.id,
            app_description=app.description,
            enqueued_at=task.enqueued_at,
            started_at=task.started_at,
        )

    async def TaskGetInfo(self, request: api_pb2.TaskGetInfoRequest) -> api_pb2.TaskGetInfoResponse:
        """One container, running or ended; whether it was restored from a memory snapshot."""
        if found := self.plane.scheduler.find(request.task_id):
            await found[1].launched.wait()
        record = self.plane.records.get(request.task_id)
        info = api_pb2.TaskInfo(
            id=record.id,
            enqueued_at=record.enqueued_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            snapshot_behavior=record.snapshot_behavior,
        )
        if record.finished_at:
            info.result.CopyFrom(record.result)
        return api_pb2.TaskGetInfoResponse(app_id=record.app_id, info=info)

    async def ContainerStop(self, request: api_pb2.ContainerStopRequest) -> api_pb2.ContainerStopResponse:
        """Ends a container: `graceful` after what it works on, else its inputs are run by another one."""
        self.plane.records.get(request.task_id)
        if found := self.plane.scheduler.find(request.task_id):
            pool, task = found
            if request.graceful:
                pool.drain(task)
            else:
                pool.end(task, "it was stopped")
        return api_pb2.ContainerStopResponse()
