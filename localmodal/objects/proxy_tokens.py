"""Proxy tokens: what a web client shows (`Modal-Key`, `Modal-Secret`) where an app asks for it."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmodal.errors import not_found
from localmodal.ids import new_id

if TYPE_CHECKING:
    import sqlite3

    from localmodal.store import Store


@dataclass(frozen=True)
class ProxyToken:
    """One token, less its secret."""

    id: str
    name: str
    scoped: bool
    """It is good in the environments that it was allowed in; otherwise in all."""
    created_at: float

    @classmethod
    def of(cls, row: sqlite3.Row) -> ProxyToken:
        """Reads a row of the table."""
        return cls(row["id"], row["name"], bool(row["scoped"]), row["created_at"])


class ProxyTokens:
    """All proxy tokens of the workspace. Of a secret only a digest is kept."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, name: str, *, scoped: bool) -> tuple[str, str]:
        """A new token; returns its id and its secret, which is not kept."""
        token_id, secret = new_id("wk"), new_id("ws")
        self._store.write(
            "INSERT INTO proxy_tokens (id, secret_digest, name, scoped, created_at) VALUES (?, ?, ?, ?, ?)",
            *(token_id, _digest(secret), name, scoped, time.time()),
        )
        return token_id, secret

    def rename(self, token_id: str, name: str) -> None:
        """Gives a token another name."""
        self.get(token_id)
        self._store.write("UPDATE proxy_tokens SET name = ? WHERE id = ?", name, token_id)

    def delete(self, token_id: str) -> None:
        """Whoever shows the token is refused from now on."""
        self.get(token_id)
        self._store.write("DELETE FROM proxy_tokens WHERE id = ?", token_id)

    def get(self, token_id: str) -> ProxyToken:
        """The token of that id; NOT_FOUND if there is none."""
        if (row := self._store.row("SELECT * FROM proxy_tokens WHERE id = ?", token_id)) is None:
            raise not_found("Proxy token", token_id)
        return ProxyToken.of(row)

    def all(self, environment_id: str = "") -> list[ProxyToken]:
        """Every token, or every one that is good in an environment; the oldest first."""
        tokens = [ProxyToken.of(row) for row in self._store.rows("SELECT * FROM proxy_tokens ORDER BY created_at")]
        return [one for one in tokens if not environment_id or self._good_in(one, environment_id)]

    def _good_in(self, token: ProxyToken, environment_id: str) -> bool:
        return not token.scoped or environment_id in self.environments(token.id)

    def environments(self, token_id: str) -> list[str]:
        """The environments that a token was allowed in."""
        rows = self._store.rows("SELECT environment_id FROM proxy_token_environments WHERE token_id = ?", token_id)
        return [row["environment_id"] for row in rows]

    def allow_in(self, token_id: str, environment_id: str) -> None:
        """Makes a token good in one more environment, and, if it was good in all, in that one only."""
        self.get(token_id)
        with self._store.transaction() as db:
            db.execute("UPDATE proxy_tokens SET scoped = 1 WHERE id = ?", (token_id,))
            db.execute("INSERT OR IGNORE INTO proxy_token_environments VALUES (?, ?)", (token_id, environment_id))

    def revoke_in(self, token_id: str, environment_id: str) -> None:
        """Takes an environment away from a token."""
        self.get(token_id)
        sql = "DELETE FROM proxy_token_environments WHERE token_id = ? AND environment_id = ?"
        self._store.write(sql, token_id, environment_id)

    def admits(self, token_id: str, secret: str, environment_id: str) -> bool:
        """Whether the token is genuine and good in the environment."""
        row = self._store.row("SELECT * FROM proxy_tokens WHERE id = ?", token_id)
        if row is None or not hmac.compare_digest(row["secret_digest"], _digest(secret)):
            return False
        return self._good_in(ProxyToken.of(row), environment_id)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
