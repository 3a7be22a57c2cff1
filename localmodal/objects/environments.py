"""Environments: the namespaces of apps and named objects."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status

from localmodal.errors import not_found
from localmodal.ids import new_id

if TYPE_CHECKING:
    import sqlite3

    from localmodal.settings import Settings
    from localmodal.store import Store

FIRST = "main"
"""The environment that is there from the start, and the default until another is chosen."""
BUILDERS = ("2025.06", "2026.10")
"""The image builder versions whose images can be built here; the first holds until another is chosen."""
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-_.]{0,63}")


@dataclass(frozen=True)
class Environment:
    """One environment."""

    id: str
    name: str
    web_suffix: str
    """What the web labels of its apps begin with; empty: nothing."""
    builder: str | None
    """Its own image builder version; none: the workspace's."""
    created_at: float

    @classmethod
    def of(cls, row: sqlite3.Row) -> Environment:
        """Reads a row of the table."""
        return cls(row["id"], row["name"], row["web_suffix"], row["builder"], row["created_at"])


class Environments:
    """All environments. The first is always there, and an empty name means the default one."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        if not self.all():
            self._insert(FIRST, web_suffix="")

    @property
    def default(self) -> str:
        """The name of the environment that calls without one mean."""
        return self._settings.get("default_environment", FIRST)

    @default.setter
    def default(self, name: str) -> None:
        self._settings.set("default_environment", self.get(name).name)

    @property
    def default_builder(self) -> str:
        """The image builder version of environments that have none of their own."""
        return self._settings.get("image_builder_version", BUILDERS[0])

    @default_builder.setter
    def default_builder(self, version: str) -> None:
        self._settings.set("image_builder_version", _known_builder(version))

    def find(self, name: str) -> Environment | None:
        """The environment of that name (empty: the default one)."""
        row = self._store.row("SELECT * FROM environments WHERE name = ?", name or self.default)
        return Environment.of(row) if row else None

    def get(self, name: str) -> Environment:
        """The environment of that name (empty: the default one); NOT_FOUND if there is none."""
        if (environment := self.find(name)) is None:
            raise not_found("Environment", name, f"Create it with `modal environment create {name}`.")
        return environment

    def builder(self, name: str) -> str:
        """The image builder version that holds in an environment."""
        return self.get(name).builder or self.default_builder

    def all(self) -> list[Environment]:
        """Every environment, the oldest first."""
        return [Environment.of(row) for row in self._store.rows("SELECT * FROM environments ORDER BY created_at")]

    def create(self, name: str) -> Environment:
        """Adds an environment; its web suffix is its name."""
        _require_name(name)
        if self.find(name):
            raise GRPCError(Status.ALREADY_EXISTS, f"Environment '{name}' already exists.")
        self._insert(name, web_suffix=name)
        return self.get(name)

    def _insert(self, name: str, web_suffix: str) -> None:
        self._store.write(
            "INSERT INTO environments (id, name, web_suffix, created_at) VALUES (?, ?, ?, ?)",
            *(new_id("en"), name, web_suffix, time.time()),
        )

    def update(self, name: str, *, new_name: str | None, web_suffix: str | None, builder: str | None) -> None:
        """Changes what is given; an empty `builder` means the workspace's again."""
        environment = self.get(name)
        with self._store.transaction():
            if web_suffix is not None:
                self._change(environment, "web_suffix", web_suffix)
            if builder is not None:
                self._change(environment, "builder", _known_builder(builder) if builder else None)
            if new_name is not None and new_name != environment.name:
                self._rename(environment, new_name)

    def _change(self, environment: Environment, column: str, value: str | None) -> None:
        self._store.write(f"UPDATE environments SET {column} = ? WHERE id = ?", value, environment.id)  # noqa: S608

    def _rename(self, environment: Environment, new_name: str) -> None:
        _require_name(new_name)
        if self.find(new_name):
            raise GRPCError(Status.ALREADY_EXISTS, f"Environment '{new_name}' already exists.")
        was_default = environment.name == self.default
        self._change(environment, "name", new_name)
        if was_default:
            self.default = new_name

    def get_deletable(self, name: str) -> Environment:
        """The environment of that name; FAILED_PRECONDITION if it is the default one, which stays."""
        environment = self.get(name)
        if environment.name == self.default:
            hint = "Make another one the default first: `modal workspace settings set default-environment NAME`."
            raise GRPCError(Status.FAILED_PRECONDITION, f"'{environment.name}' is the default environment. {hint}")
        return environment

    def delete(self, environment: Environment) -> None:
        """Removes an environment and, with it, all objects in it."""
        self._store.write("DELETE FROM environments WHERE id = ?", environment.id)


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        rule = "letters, digits, dashes, dots and underscores, at most 64 of them"
        raise GRPCError(Status.INVALID_ARGUMENT, f"'{name}' is no name for an environment: it takes {rule}.")


def _known_builder(version: str) -> str:
    if version not in BUILDERS:
        known = " and ".join(BUILDERS)
        raise GRPCError(Status.INVALID_ARGUMENT, f"Images of builder version '{version}' cannot be built: {known} can.")
    return version
