"""What happens to an app as a whole: published, staged, promoted, rolled back, rolled over, stopped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status
from modal_proto import api_pb2

if TYPE_CHECKING:
    from localmodal.apps.apps import App, Apps, Version
    from localmodal.apps.functions import Functions
    from localmodal.apps.web_names import WebNames
    from localmodal.tasks.scheduler import Scheduler

_LOST_AFTER = 90.0
"""Seconds without a heartbeat after which the client of an ephemeral app is taken for dead; it sends one every 15."""
_EPHEMERAL = frozenset({api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_INITIALIZING})


@dataclass
class Deployments:
    """Moves apps from one state to the next."""

    apps: Apps
    functions: Functions
    scheduler: Scheduler
    web_names: WebNames
    _heartbeats: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    _stopping: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        """At a start of the daemon: apps run again; the clients of ephemeral ones get time to come back."""
        for app in self.apps.all():
            if app.state in _EPHEMERAL:
                self.heartbeat(app.id)
        self.scheduler.start()

    def runs(self, function_id: str) -> bool:
        """Whether calls of that function can be run."""
        return self.functions.exists(function_id) and self.apps.get(self.functions.get(function_id).app_id).alive

    async def publish(self, request: api_pb2.AppPublishRequest) -> Version | None:
        """Publishes what was created; None if it is what is in production already."""
        app = self._alive(request.app_id)
        self._require_free(request.name, app)
        current = self.apps.production(app)
        if current and _same(current.published, request) and app.state == request.app_state:
            self._reset_scaling(app)
            return None
        return await self._add(request)

    def _require_free(self, name: str, app: App) -> None:
        """Two clients that deploy the same new app at once have each created one."""
        other = self.apps.deployed(name, app.environment) if name else None
        if other and other.id != app.id:
            raise GRPCError(
                Status.ALREADY_EXISTS,
                f"An app '{name}' ({other.id}) is deployed in environment '{app.environment}' already. Deploy again to "
                "make this a new version of it.",
            )

    def _reset_scaling(self, app: App) -> None:
        """A redeployment wipes what `autoscaler.update` asked for, even one that changes nothing else."""
        self.functions.forget_overrides(app.id)
        self.scheduler.settings_changed(app.id)

    async def _add(self, published: api_pb2.AppPublishRequest, *, repeats: int = 0, restart: bool = False) -> Version:
        """Adds a version, whole or not at all; unless it is staged, containers follow it."""
        with self.functions.store.transaction():
            version = self.apps.add_version(published.app_id, published, repeats)
            if not version.staged:
                self.functions.put_in_production(version)
                self._claim_web_names(version)
        if not version.staged:
            await self._follow(version, restart=restart)
        return version

    def _claim_web_names(self, version: Version) -> None:
        app = self.apps.get(version.published.app_id)
        for function_id, definition_id in version.published.definition_ids.items():
            data = self.functions.definition(definition_id)
            self.web_names.claim(app, function_id, data.ranked_functions[0].function)

    async def _follow(self, version: Version, *, restart: bool) -> None:
        published = version.published
        for function in self.functions.of_app(published.app_id):
            gone = (function.base_id or function.id) not in published.function_ids.values()
            if gone and not function.pinned_version:
                await self.scheduler.retire(function.id, "The function is not in the app's new version.")
        self.scheduler.version_changed(published.app_id, restart=restart)

    async def rollback(self, app_id: str, number: int) -> Version:
        """Puts an earlier version in production again; a negative number counts back from the present one."""
        app = self._deployed(app_id)
        earlier = [v for v in self.apps.versions(app_id) if v.number < app.version and not v.staged]
        if number > 0:
            return await self._repeat(self.apps.version(app_id, number))
        if len(earlier) < -number:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App '{app.name}' has no version that far back.")
        return await self._repeat(earlier[-number - 1])

    async def rollover(self, app_id: str) -> Version:
        """Puts the same version in production again, with new containers."""
        app = self._deployed(app_id)
        return await self._repeat(self.apps.version(app_id, app.version), restart=True)

    async def promote(self, app_id: str, number: int) -> Version:
        """Puts a staged version in production."""
        self._alive(app_id)
        version = self.apps.version(app_id, number)
        if not version.staged:
            hint = "Use `modal app rollback` for it."
            raise GRPCError(Status.FAILED_PRECONDITION, f"Version {number} is not staged. {hint}")
        return await self._repeat(version)

    async def _repeat(self, old: Version, *, restart: bool = False) -> Version:
        published = api_pb2.AppPublishRequest()
        published.CopyFrom(old.published)
        published.staged = False
        return await self._add(published, repeats=old.number, restart=restart)

    async def stop(self, app_id: str, reason: str) -> None:
        """Ends an app for good: its containers at once, its calls with the reason. Its name is free again."""
        self._forget_heartbeat(app_id)
        self.apps.set_state(app_id, api_pb2.APP_STATE_STOPPED)
        self.web_names.labels.release(app_id)
        await self.scheduler.stop_app(app_id, reason)

    async def disconnected(self, app_id: str, reason: str) -> None:
        """The client of an app that it did not deploy has gone."""
        if self.apps.get(app_id).state in _EPHEMERAL:
            await self.stop(app_id, reason)

    def heartbeat(self, app_id: str) -> None:
        """The client of an ephemeral app is there."""
        self._forget_heartbeat(app_id)
        if self.apps.get(app_id).state in _EPHEMERAL:
            self._heartbeats[app_id] = asyncio.get_running_loop().call_later(_LOST_AFTER, self._lost, app_id)

    def _forget_heartbeat(self, app_id: str) -> None:
        if timer := self._heartbeats.pop(app_id, None):
            timer.cancel()

    def _lost(self, app_id: str) -> None:
        stopping = asyncio.ensure_future(self.disconnected(app_id, "The app's client sent no heartbeat for a while."))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    def _alive(self, app_id: str) -> App:
        app = self.apps.get(app_id)
        if not app.alive:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {app_id} is stopped.")
        return app

    def _deployed(self, app_id: str) -> App:
        app = self._alive(app_id)
        if not app.version:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App '{app.name}' has no version in production.")
        return app


def _same(one: api_pb2.AppPublishRequest, other: api_pb2.AppPublishRequest) -> bool:
    """Whether two publications differ in nothing that anybody could notice."""
    if other.staged:
        return False
    fields = ("name", "deployment_tag", "function_ids", "class_ids", "definition_ids", "tags")
    return all(getattr(one, name) == getattr(other, name) for name in fields)
