"""Functions: what they are defined as in each version of their app, their variants, and how they scale.

A function's id stays the same from one version to the next; its definition, named by its content, changes. A variant
(parameters of a class, options, a pinned version) has an id of its own, made from what it is a variant of.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from grpclib import GRPCError
from modal_proto import api_pb2

from localmodal.apps.definitions import DEFAULT_MAX_CONTAINERS, apply_options, canonical, default_settings
from localmodal.errors import not_found
from localmodal.ids import id_from_digest, new_id

if TYPE_CHECKING:
    import sqlite3

    from localmodal.apps.apps import Version
    from localmodal.store import Store

_OF_LIVE_APPS = f"FROM {{}} JOIN apps ON apps.id = app_id WHERE apps.state != {api_pb2.APP_STATE_STOPPED}"
_NO_PARAMETERS = frozenset({b"", pickle.dumps(((), {}), protocol=4)})
"""What the client binds for an instance of a class that has no parameters."""


@dataclass(frozen=True)
class Function:
    """One function or variant, in the version that calls of it run."""

    id: str
    app_id: str
    definition_id: str
    data: api_pb2.FunctionData
    """The definition with the variant's options in it; at least one ranked function."""
    override: api_pb2.AutoscalerSettings
    """What `autoscaler.update` asked for since the last deployment."""
    base_id: str = ""
    params: bytes = b""
    pinned_version: int = 0

    @property
    def definition(self) -> api_pb2.Function:
        """What the container is told: of several GPU types the first, since a machine has but one kind."""
        return self.data.ranked_functions[0].function

    @property
    def tag(self) -> str:
        """Its name in the app; `Class.*` for a class."""
        return self.definition.function_name

    @property
    def settings(self) -> api_pb2.AutoscalerSettings:
        """How it scales now."""
        settings = default_settings(self.definition)
        if self.base_id and not self.override.HasField("min_containers"):
            settings.min_containers = 0  # only an instance that was asked for itself is kept warm
        settings.MergeFrom(self.override)
        return settings

    @property
    def max_containers(self) -> int:
        """At most so many containers at once."""
        return self.settings.max_containers or DEFAULT_MAX_CONTAINERS

    @property
    def target_inputs(self) -> int:
        """Inputs that a container should work on at once."""
        return self.definition.target_concurrent_inputs or self.max_inputs

    def containers_for(self, load: int) -> int:
        """Containers that so many inputs or requests, waiting or running, ask for."""
        target = self.definition.http_config.target_concurrency if self.definition.is_server else 0
        needed = ceil(load / max(1, target or self.target_inputs))
        buffer = self.settings.buffer_containers if load else 0
        return min(max(needed + buffer, self.settings.min_containers), self.max_containers)

    @property
    def max_inputs(self) -> int:
        """Inputs that a container may work on at once."""
        return max(1, self.definition.max_concurrent_inputs, self.definition.batch_max_size)


@dataclass
class Functions:
    """All functions of this control plane."""

    store: Store
    _known: dict[str, Function] = field(default_factory=dict)

    def new_id(self, app_id: str, existing_id: str = "") -> str:
        """An id for a function that is being deployed: the one that it has already, else a new one."""
        function_id = existing_id or new_id("fu")
        self.store.write("INSERT OR IGNORE INTO functions (id, app_id) VALUES (?, ?)", function_id, app_id)
        return function_id

    def define(self, app_id: str, data: api_pb2.FunctionData) -> str:
        """Writes a definition down; returns its id, which its content decides."""
        digest = hashlib.sha256(app_id.encode() + canonical(data)).digest()
        definition_id = id_from_digest("de", digest)
        self.store.write(
            "INSERT OR IGNORE INTO definitions (id, data) VALUES (?, ?)", definition_id, data.SerializeToString()
        )
        return definition_id

    def put_in_production(self, version: Version) -> None:
        """From now on calls run the definitions of this version; what `autoscaler.update` asked for is forgotten."""
        with self.store.transaction() as db:
            self.forget_overrides(version.published.app_id)
            db.executemany(
                "UPDATE functions SET definition_id = ? WHERE id = ?",
                [(definition, function) for function, definition in version.published.definition_ids.items()],
            )
        self._known.clear()

    def forget_overrides(self, app_id: str) -> None:
        """An app's functions scale by their definitions again."""
        self.store.write("UPDATE functions SET override = x'' WHERE app_id = ?", app_id)
        self._known.clear()

    def get(self, function_id: str) -> Function:
        """The function of that id; NOT_FOUND if there is none or it was never published."""
        if (known := self._known.get(function_id)) is None:
            row = self.store.row("SELECT * FROM functions WHERE id = ?", function_id)
            if row is None or (definition_id := self._definition_id(row)) is None:
                raise not_found("Function", function_id)
            known = self._known[function_id] = self._resolve(row, definition_id)
        return known

    def exists(self, function_id: str) -> bool:
        """Whether calls of that function can run."""
        try:
            return bool(self.get(function_id))
        except GRPCError:
            return False

    def _definition_id(self, row: sqlite3.Row) -> str | None:
        base_id = row["base_id"] or row["id"]
        if row["pinned_version"]:
            published = self.store.row(
                "SELECT published FROM app_versions WHERE app_id = ? AND version = ?",
                row["app_id"],
                row["pinned_version"],
            )
            assert published, "a variant is pinned to a version that exists"
            return api_pb2.AppPublishRequest.FromString(published[0]).definition_ids.get(base_id)
        live = self.store.row("SELECT definition_id FROM functions WHERE id = ?", base_id)
        return live["definition_id"] if live else None

    def _resolve(self, row: sqlite3.Row, definition_id: str) -> Function:
        data = self.definition(definition_id)
        options = api_pb2.FunctionOptions.FromString(row["options"])
        for ranked in data.ranked_functions:
            apply_options(options, ranked.function)
        override = api_pb2.AutoscalerSettings.FromString(row["override"])
        return Function(
            *(row["id"], row["app_id"], definition_id, data, override),
            *(row["base_id"] or "", row["params"], row["pinned_version"]),
        )

    def definition(self, definition_id: str) -> api_pb2.FunctionData:
        """A definition by its id."""
        row = self.store.row("SELECT data FROM definitions WHERE id = ?", definition_id)
        if row is None:
            raise not_found("Definition", definition_id)
        return api_pb2.FunctionData.FromString(row["data"])

    def bind(self, function_id: str, params: bytes, options: api_pb2.FunctionOptions | None) -> str:
        """The id of a variant: of a class with these parameters, of a function with these options."""
        options = options or api_pb2.FunctionOptions()
        options_bytes = options.SerializeToString(deterministic=True)
        if params in _NO_PARAMETERS and not options_bytes:
            return function_id
        parent = self.get(function_id)
        version = options.pinned_app_version or parent.pinned_version
        return self._add_variant(parent.app_id, parent.base_id or function_id, params, options_bytes, version)

    def pin(self, function_id: str, version: Version) -> str:
        """The id of the variant that stays at a version, whatever is deployed later."""
        return self._add_variant(version.published.app_id, function_id, b"", b"", version.number)

    def _add_variant(self, app_id: str, base_id: str, params: bytes, options: bytes, version: int) -> str:
        key = json.dumps([base_id, params.hex(), options.hex(), version]).encode()
        variant_id = id_from_digest("fu", hashlib.sha256(key).digest())
        self.store.write(
            "INSERT OR IGNORE INTO functions (id, app_id, base_id, params, options, pinned_version)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(variant_id, app_id, base_id, params, options, version),
        )
        return variant_id

    def dependencies(self) -> set[str]:
        """The ids of the images, mounts and secrets that functions of apps which were not stopped refer to."""
        used: set[str] = set()
        for row in self.store.rows(f"SELECT published {_OF_LIVE_APPS.format('app_versions')}"):
            for definition_id in api_pb2.AppPublishRequest.FromString(row["published"]).definition_ids.values():
                for ranked in self.definition(definition_id).ranked_functions:
                    function = ranked.function
                    used.update([function.image_id], function.mount_ids, function.secret_ids)
        for row in self.store.rows(f"SELECT options {_OF_LIVE_APPS.format('functions')}"):
            used.update(api_pb2.FunctionOptions.FromString(row["options"]).secret_ids)
        return used

    def live(self) -> set[str]:
        """The ids of the functions of apps which were not stopped, their variants too."""
        return {row["id"] for row in self.store.rows(f"SELECT functions.id {_OF_LIVE_APPS.format('functions')}")}

    def with_variants(self, function_id: str) -> set[str]:
        """The ids of a function and of all its variants."""
        rows = self.store.rows("SELECT id FROM functions WHERE ? IN (id, base_id)", function_id)
        return {row["id"] for row in rows}

    def override(self, function_id: str, settings: api_pb2.AutoscalerSettings) -> Function:
        """Changes how a function scales, until its next deployment."""
        override = api_pb2.AutoscalerSettings()
        override.CopyFrom(self.get(function_id).override)
        override.MergeFrom(settings)
        self.store.write("UPDATE functions SET override = ? WHERE id = ?", override.SerializeToString(), function_id)
        del self._known[function_id]
        return self.get(function_id)

    def of_app(self, app_id: str) -> list[Function]:
        """Every published function of an app, its variants too."""
        rows = self.store.rows("SELECT id FROM functions WHERE app_id = ?", app_id)
        return [self.get(row["id"]) for row in rows if self.exists(row["id"])]
