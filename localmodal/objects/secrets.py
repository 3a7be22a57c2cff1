"""Secrets: environment variables by name.

Their values are in the database, whose mode is 0600, and go into containers: no message and no log shows them.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.ids import id_from_digest
from localmodal.objects.named import Kind

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from localmodal.objects.named import Object, Objects, Wish
    from localmodal.settings import Signer
    from localmodal.store import Store

_UNUSED_FOR = 24 * 3600.0
"""Seconds after which a nameless secret that no function refers to is removed."""


class Secrets:
    """All secrets."""

    def __init__(self, store: Store, objects: Objects, signer: Signer) -> None:
        self._store = store
        self._objects = objects
        self._signer = signer

    def get_or_create(self, wish: Wish, values: Mapping[str, str]) -> Object:
        """The secret that the client wishes for; `values` are for a new one, or one to overwrite."""
        with self._store.transaction():
            if wish.name:
                secret, created = self._objects.get_or_create(Kind.SECRET, wish)
            else:
                secret, created = self._nameless(wish, values)
            if wish.creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
                self._store.write("DELETE FROM secret_values WHERE secret_id = ?", secret.id)
                created = True
            if created:
                self.update(secret.id, values)
        return secret

    def _nameless(self, wish: Wish, values: Mapping[str, str]) -> tuple[Object, bool]:
        """The same values in the same app are the same secret: a function deployed again keeps its definition.

        The id is made with the signing key, so nobody can try values until one fits an id that they saw in a log.
        """
        content = json.dumps([wish.environment, wish.app_id, sorted(values.items())])
        secret_id = id_from_digest(Kind.SECRET.value, self._signer.digest(content.encode()))
        if self._store.write("UPDATE objects SET created_at = ? WHERE id = ?", time.time(), secret_id):
            return self._objects.get(Kind.SECRET, secret_id), False  # as new: who asks is about to refer to it
        return self._objects.get_or_create(Kind.SECRET, wish, secret_id)

    def identity(self, secret_id: str) -> str:
        """What an image built with the secret is known by: of a nameless one its values, whoever made it."""
        if self._objects.get(Kind.SECRET, secret_id).name:
            return secret_id
        return self._signer.digest(json.dumps(sorted(self.environment([secret_id]).items())).encode()).hex()

    def update(self, secret_id: str, changes: Mapping[str, str | None]) -> None:
        """Sets keys, or removes those whose value is None."""
        self._objects.get(Kind.SECRET, secret_id)
        with self._store.transaction() as db:
            for key, value in changes.items():
                if value is None:
                    db.execute("DELETE FROM secret_values WHERE secret_id = ? AND key = ?", (secret_id, key))
                else:
                    db.execute("INSERT OR REPLACE INTO secret_values VALUES (?, ?, ?)", (secret_id, key, value))

    def keys(self, secret_id: str) -> list[str]:
        """The names of a secret's variables."""
        rows = self._store.rows("SELECT key FROM secret_values WHERE secret_id = ? ORDER BY key", secret_id)
        return [row["key"] for row in rows]

    def require_keys(self, secret: Object, required: Iterable[str]) -> None:
        """FAILED_PRECONDITION if the secret lacks one of these keys."""
        if missing := sorted(set(required) - set(self.keys(secret.id))):
            raise GRPCError(
                Status.FAILED_PRECONDITION,
                f"Secret '{secret.name}' in environment '{secret.environment}' lacks the keys: {', '.join(missing)}.",
            )

    def environment(self, secret_ids: Sequence[str]) -> dict[str, str]:
        """The variables of these secrets, later ones over earlier ones, for a container that starts now."""
        variables: dict[str, str] = {}
        for secret_id in secret_ids:
            self._objects.get(Kind.SECRET, secret_id)
            rows = self._store.rows("SELECT key, value FROM secret_values WHERE secret_id = ?", secret_id)
            variables.update((row["key"], row["value"]) for row in rows)
            self._store.note("INSERT OR REPLACE INTO secret_uses VALUES (?, ?)", secret_id, time.time())
        return variables

    def used_at(self, secret_id: str) -> float:
        """When a container last got the secret, in unix seconds; 0: never."""
        row = self._store.row("SELECT used_at FROM secret_uses WHERE secret_id = ?", secret_id)
        return row["used_at"] if row else 0.0

    def delete_unused(self, in_use: Container[str]) -> None:
        """Removes nameless secrets that no function refers to any more."""
        self._objects.delete_anonymous(Kind.SECRET, in_use, time.time() - _UNUSED_FOR)
