"""Which containers there are: a pool for every function, and what happens to apps as a whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status

from localmodal.tasks.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localmodal.apps.apps import Apps
    from localmodal.apps.functions import Functions
    from localmodal.tasks.calls import Calls, Input
    from localmodal.tasks.pool import Launcher
    from localmodal.tasks.tasks import Task, TaskRecords


class Scheduler:
    """Runs the inputs of all calls (it is their `Runner`)."""

    def __init__(
        self, apps: Apps, functions: Functions, calls: Calls, records: TaskRecords, launcher: Launcher
    ) -> None:
        self._apps = apps
        self._functions = functions
        self._calls = calls
        self._records = records
        self._launcher = launcher
        self._pools: dict[str, Pool] = {}

    def pool(self, function_id: str) -> Pool:
        """The pool of a function; FAILED_PRECONDITION if its app does not run."""
        if (pool := self._pools.get(function_id)) is None:
            function = self._functions.get(function_id)
            self._require_alive(function.app_id)
            pool = Pool(function_id, self._functions, self._calls, self._records, self._launcher)
            self._pools[function_id] = pool
        return pool

    def _require_alive(self, app_id: str) -> None:
        app = self._apps.get(app_id)
        if not app.alive:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App '{app.name or app.description}' ({app.id}) is stopped.")

    # -- Runner

    def enqueue(self, inputs: Sequence[Input]) -> None:
        """Takes inputs of one call to run."""
        if inputs:
            self.pool(inputs[0].call.function_id).enqueue(inputs)

    def withdraw(self, inputs: Iterable[Input], *, terminate_containers: bool) -> None:
        """Ends inputs that are answered already."""
        by_function: dict[str, list[Input]] = {}
        for one in inputs:
            by_function.setdefault(one.call.function_id, []).append(one)
        for function_id in by_function.keys() & self._pools.keys():
            self._pools[function_id].withdraw(by_function[function_id], terminate_containers=terminate_containers)

    # -- containers

    @property
    def tasks(self) -> list[Task]:
        """Every container that starts, works or ends now."""
        return [task for pool in self._pools.values() for task in pool.tasks.values()]

    def find(self, task_id: str) -> tuple[Pool, Task] | None:
        """A container that is there now, and its pool."""
        for pool in self._pools.values():
            if task := pool.tasks.get(task_id):
                return pool, task
        return None

    def running(self, task_id: str) -> tuple[Pool, Task]:
        """The same, for a caller that must be there; FAILED_PRECONDITION once it has ended."""
        if (found := self.find(task_id)) is None:
            raise GRPCError(Status.FAILED_PRECONDITION, f"Container {task_id} has ended.")
        return found

    async def server_task(self, function_id: str) -> Task:
        """A ready container of an `@app.server`; give it back with `end_request`. NOT_FOUND once its app is stopped."""
        return await self.pool(function_id).server()

    def end_request(self, task: Task) -> None:
        """A request that `server_task` gave a container for is over."""
        if pool := self._pools.get(task.function.id):
            pool.end_request(task)

    # -- apps

    def start(self) -> None:
        """At a start of the daemon: containers that functions want even while nobody calls."""
        for app in self._apps.all():
            if app.alive:
                self.version_changed(app.id, restart=False)

    def version_changed(self, app_id: str, *, restart: bool) -> None:
        """Another version of an app is in production; `restart`: its containers are all replaced."""
        for function in self._functions.of_app(app_id):
            if function.id in self._pools or function.settings.min_containers:
                self.pool(function.id).version_changed(restart=restart)

    def settings_changed(self, app_id: str) -> None:
        """How functions of an app scale was changed."""
        for function in self._functions.of_app(app_id):
            if function.id in self._pools or function.settings.min_containers:
                self.pool(function.id).settings_changed()

    def rescale(self, function_id: str) -> None:
        """How one function scales was changed; FAILED_PRECONDITION if its app does not run."""
        self.pool(function_id).settings_changed()

    async def retire(self, function_id: str, reason: str) -> None:
        """A function is in no version that runs: its calls end with the reason."""
        if pool := self._pools.pop(function_id, None):
            await pool.stop(reason)

    async def stop_app(self, app_id: str, reason: str) -> None:
        """Ends all containers of an app, and its calls with the reason."""
        function_ids = [function.id for function in self._functions.of_app(app_id)]
        await asyncio.gather(*(self.retire(function_id, reason) for function_id in function_ids))

    async def close(self) -> None:
        """The daemon stops: containers end, accepted calls stay to be run after the next start."""
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
