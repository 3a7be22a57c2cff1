"""Apps and their versions: what is deployed under which name, what was before, what only waits to be promoted."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.errors import not_found
from localmodal.ids import new_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from localmodal.store import Store

ALIVE = frozenset({api_pb2.APP_STATE_INITIALIZING, api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_DETACHED,
                   api_pb2.APP_STATE_DETACHED_DISCONNECTED, api_pb2.APP_STATE_DEPLOYED})  # fmt: skip
"""States in which an app's functions can be called."""


@dataclass(frozen=True)
class App:
    """One app."""

    id: str
    environment: str
    name: str
    """Its deployment name; empty until it is deployed."""
    description: str
    state: api_pb2.AppState.ValueType
    created_at: float
    deployed_at: float
    stopped_at: float
    version: int
    """The version in production; 0 before the first deployment."""
    tags: Mapping[str, str]

    @property
    def alive(self) -> bool:
        """Its functions can be called."""
        return self.state in ALIVE

    @property
    def lifecycle(self) -> api_pb2.AppLifecycle:
        """What the client shows of it."""
        return api_pb2.AppLifecycle(
            app_state=self.state,
            created_at=self.created_at,
            created_by=OWNER,
            deployed_at=self.deployed_at,
            deployed_by=OWNER if self.deployed_at else "",
            version=self.version,
            stopped_at=self.stopped_at,
            stopped_by=OWNER if self.stopped_at else "",
        )


OWNER = "local"
"""Whoever has the token: there are no users here."""


@dataclass(frozen=True)
class Version:
    """One version of an app, as it was published."""

    number: int
    deployed_at: float
    published: api_pb2.AppPublishRequest
    rollback_version: int
    """The version that this one repeats (rollback, rollover, promotion); 0: it is new."""

    @property
    def staged(self) -> bool:
        """It was never in production: it can be called by its number, and promoted."""
        return self.published.staged


class Apps:
    """All apps of this control plane."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, request: api_pb2.AppCreateRequest, environment: str) -> App:
        """Adds an app without functions."""
        app_id = new_id("ap")
        self._store.write(
            "INSERT INTO apps (id, environment, name, description, state, created_at, tags) VALUES (?,?,?,?,?,?,?)",
            *(app_id, environment, "", request.description, request.app_state, time.time()),
            json.dumps(dict(request.tags)),
        )
        return self.get(app_id)

    def get(self, app_id: str) -> App:
        """The app of that id; NOT_FOUND if there is none."""
        if (row := self._store.row("SELECT * FROM apps WHERE id = ?", app_id)) is None:
            raise not_found("App", app_id)
        return _app(row)

    def deployed(self, name: str, environment: str) -> App | None:
        """The app deployed under a name."""
        return self._latest(name, environment, [api_pb2.APP_STATE_DEPLOYED])

    def stopped(self, name: str, environment: str) -> App | None:
        """The app that was last deployed under a name and stopped since."""
        return self._latest(name, environment, [api_pb2.APP_STATE_STOPPED])

    def _latest(self, name: str, environment: str, states: list[api_pb2.AppState.ValueType]) -> App | None:
        row = self._store.row(
            "SELECT * FROM apps WHERE name = ? AND environment = ? AND state IN (SELECT value FROM json_each(?))"
            " ORDER BY created_at DESC LIMIT 1",
            *(name, environment, json.dumps(states)),
        )
        return _app(row) if row else None

    def named(self, name: str, environment: str) -> App:
        """The app deployed under a name; NOT_FOUND if there is none."""
        if (app := self.deployed(name, environment)) is None:
            raise not_found("App", name, f"Nothing of that name is deployed in environment '{environment}'.")
        return app

    def all(self, environment: str = "", *, stopped_within: float = 0.0) -> list[App]:
        """The apps of an environment (empty: of all), the youngest first; stopped ones only for so many seconds."""
        rows = self._store.rows(
            "SELECT * FROM apps WHERE ? IN ('', environment) AND (stopped_at = 0 OR stopped_at > ?)"
            " ORDER BY created_at DESC",
            *(environment, time.time() - stopped_within),
        )
        return [_app(row) for row in rows]

    def set_state(self, app_id: str, state: api_pb2.AppState.ValueType) -> None:
        """Moves an app to another state; a stopped one stays stopped."""
        stopped_at = time.time() if state == api_pb2.APP_STATE_STOPPED else 0
        self._store.write(
            "UPDATE apps SET state = ?, stopped_at = ? WHERE id = ? AND state != ?",
            *(state, stopped_at, app_id, api_pb2.APP_STATE_STOPPED),
        )

    def set_tags(self, app_id: str, tags: Mapping[str, str]) -> None:
        """Replaces an app's tags."""
        self._store.write("UPDATE apps SET tags = ? WHERE id = ?", json.dumps(dict(tags)), app_id)

    def add_version(self, app_id: str, published: api_pb2.AppPublishRequest, rollback_version: int = 0) -> Version:
        """Adds the next version; unless it is staged it is in production from then on."""
        with self._store.transaction() as db:
            number = 1 + (self._store.row(_LAST_VERSION, app_id) or [0])[0]
            version = Version(number, time.time(), published, rollback_version)
            db.execute(
                "INSERT INTO app_versions (app_id, version, deployed_at, published, rollback_version)"
                " VALUES (?, ?, ?, ?, ?)",
                (app_id, number, version.deployed_at, published.SerializeToString(), rollback_version),
            )
            db.execute(
                "UPDATE apps SET name = ?, state = ? WHERE id = ?", (published.name, published.app_state, app_id)
            )
            if not version.staged:
                self._put_in_production(app_id, version)
        return version

    def _put_in_production(self, app_id: str, version: Version) -> None:
        self._store.write(
            "UPDATE apps SET version = ?, deployed_at = ?, tags = ? WHERE id = ?",
            *(version.number, version.deployed_at, json.dumps(dict(version.published.tags)), app_id),
        )

    def versions(self, app_id: str) -> list[Version]:
        """Every version, the youngest first."""
        rows = self._store.rows("SELECT * FROM app_versions WHERE app_id = ? ORDER BY version DESC", app_id)
        return [_version(row) for row in rows]

    def version(self, app_id: str, number: int) -> Version:
        """One version; NOT_FOUND if there is none of that number."""
        row = self._store.row("SELECT * FROM app_versions WHERE app_id = ? AND version = ?", app_id, number)
        if row is None:
            raise GRPCError(Status.NOT_FOUND, f"App {app_id} has no version {number}.")
        return _version(row)

    def production(self, app: App) -> Version | None:
        """The version in production, if the app was ever published."""
        return self.version(app.id, app.version) if app.version else None


_LAST_VERSION = "SELECT max(version) FROM app_versions WHERE app_id = ? HAVING max(version) IS NOT NULL"


def _app(row: sqlite3.Row) -> App:
    return App(**{**dict(row), "tags": json.loads(row["tags"])})


def _version(row: sqlite3.Row) -> Version:
    published = api_pb2.AppPublishRequest.FromString(row["published"])
    return Version(row["version"], row["deployed_at"], published, row["rollback_version"])
