"""What named objects share: an id, a name in an environment, a creation date, an owner or a heartbeat.

Dicts, queues, secrets and volumes each keep their contents in tables of their own, which go with the object's row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.errors import not_found
from localmodal.ids import new_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container

    from localmodal.objects.environments import Environments
    from localmodal.store import Store

HEARTBEAT_GRACE = 15 * 60.0
"""Seconds without a heartbeat after which an ephemeral object is gone; the client sends one every five minutes."""
USER = "local"
"""Who made everything here, as `created_by` says."""

M = TypeVar("M", api_pb2.DictMetadata, api_pb2.QueueMetadata)

_CREATES = {
    api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS,
}


class Kind(Enum):
    """The kinds of objects: what their ids begin with."""

    DICT = "di"
    QUEUE = "qu"
    SECRET = "st"  # noqa: S105 (a prefix)
    VOLUME = "vo"

    @property
    def noun(self) -> str:
        """What messages call it."""
        return self.name.capitalize()


@dataclass(frozen=True)
class Wish:
    """What every `...GetOrCreate` request says about the object that it wants."""

    name: str
    environment: str
    creation: api_pb2.ObjectCreationType.ValueType
    app_id: str = ""

    @classmethod
    def of(cls, request: Any) -> Wish:
        """Reads the fields that these requests have in common."""
        return cls(
            request.deployment_name,
            request.environment_name,
            request.object_creation_type,
            getattr(request, "app_id", ""),
        )


@dataclass(frozen=True)
class Object:
    """One object."""

    id: str
    kind: Kind
    environment: str
    name: str
    """Empty: anonymous."""
    created_at: float

    @classmethod
    def of(cls, row: sqlite3.Row) -> Object:
        """Reads a row of the table."""
        return cls(row["id"], Kind(row["kind"]), row["environment"], row["name"] or "", row["created_at"])

    def metadata(self, form: type[M]) -> M:
        """What the client's handle of it knows, in the form that its kind has on the wire."""
        return form(name=self.name, creation_info=self.creation_info)

    @property
    def creation_info(self) -> api_pb2.CreationInfo:
        """When and by whom, as the client wants it."""
        return api_pb2.CreationInfo(created_at=self.created_at, created_by=USER)


class Objects:
    """Every object of every kind."""

    def __init__(self, store: Store, environments: Environments) -> None:
        self._store = store
        self._environments = environments

    def get(self, kind: Kind, object_id: str) -> Object:
        """The object of that id; NOT_FOUND if there is none."""
        row = self._store.row("SELECT * FROM objects WHERE id = ? AND kind = ?", object_id, kind.value)
        if row is None:
            raise not_found(kind.noun, object_id)
        return Object.of(row)

    def find(self, kind: Kind, environment: str, name: str) -> Object | None:
        """The object of that name, if there is one."""
        row = self._store.row(
            "SELECT * FROM objects WHERE kind = ? AND environment = ? AND name = ?", kind.value, environment, name
        )
        return Object.of(row) if row else None

    def get_or_create(self, kind: Kind, wish: Wish, object_id: str = "") -> tuple[Object, bool]:
        """The object that the client wishes for, and whether it was made just now (under `object_id`, if given)."""
        if wish.creation == api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL:
            return self._insert(kind, wish, object_id, heartbeat_at=time.time()), True
        if wish.creation == api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP:
            return self._insert(kind, wish, object_id), True
        return self._by_name(kind, wish)

    def _by_name(self, kind: Kind, wish: Wish) -> tuple[Object, bool]:
        environment = self._environments.get(wish.environment).name
        found = self.find(kind, environment, wish.name)
        if found is None and wish.creation not in _CREATES:
            raise GRPCError(Status.NOT_FOUND, f"{kind.noun} '{wish.name}' not found in environment '{environment}'.")
        if found and wish.creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise _taken(kind, wish.name, environment)
        return (found, False) if found else (self._insert(kind, wish), True)

    def _insert(self, kind: Kind, wish: Wish, object_id: str = "", heartbeat_at: float | None = None) -> Object:
        object_id = object_id or new_id(kind.value)
        environment = self._environments.get(wish.environment).name
        self._store.write(
            "INSERT INTO objects (id, kind, environment, name, app_id, created_at, heartbeat_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(object_id, kind.value, environment, wish.name or None, wish.app_id or None, time.time(), heartbeat_at),
        )
        return self.get(kind, object_id)

    def page(self, kind: Kind, environment: str, pagination: api_pb2.ListPagination) -> list[Object]:
        """The named objects of an environment, the newest first."""
        limit = pagination.max_objects if pagination.max_objects > 0 else -1
        rows = self._store.rows(
            "SELECT * FROM objects WHERE kind = ? AND environment = ? AND name IS NOT NULL AND created_at < ?"
            " ORDER BY created_at DESC LIMIT ?",
            *(kind.value, self._environments.get(environment).name, pagination.created_before or time.time(), limit),
        )
        return [Object.of(row) for row in rows]

    def rename(self, kind: Kind, object_id: str, name: str) -> None:
        """Gives an object another name; ALREADY_EXISTS if one in its environment has it."""
        renamed = self.get(kind, object_id)
        if self.find(kind, renamed.environment, name):
            raise _taken(kind, name, renamed.environment)
        self._store.write("UPDATE objects SET name = ? WHERE id = ?", name, object_id)

    def delete(self, kind: Kind, object_id: str) -> None:
        """Removes an object and, with it, its contents."""
        self.get(kind, object_id)
        self._store.write("DELETE FROM objects WHERE id = ?", object_id)

    def keep_alive(self, kind: Kind, object_id: str) -> None:
        """Notes a heartbeat of an ephemeral object."""
        self.get(kind, object_id)
        self._store.write("UPDATE objects SET heartbeat_at = ? WHERE id = ?", time.time(), object_id)

    def delete_lost(self) -> None:
        """Removes ephemeral objects whose heartbeat has stopped. Secrets have none: see `Secrets.delete_unused`."""
        self._store.write(
            "DELETE FROM objects WHERE heartbeat_at < ? AND kind != ?",
            *(time.time() - HEARTBEAT_GRACE, Kind.SECRET.value),
        )

    def delete_anonymous(self, kind: Kind, in_use: Container[str], older_than: float) -> None:
        """Removes nameless objects that were made before `older_than` (unix seconds) and that nothing refers to."""
        rows = self._store.rows(
            "SELECT id FROM objects WHERE kind = ? AND name IS NULL AND created_at < ?", kind.value, older_than
        )
        for row in rows:
            if row["id"] not in in_use:
                self._store.write("DELETE FROM objects WHERE id = ?", row["id"])


def _taken(kind: Kind, name: str, environment: str) -> GRPCError:
    return GRPCError(Status.ALREADY_EXISTS, f"{kind.noun} '{name}' already exists in environment '{environment}'.")
