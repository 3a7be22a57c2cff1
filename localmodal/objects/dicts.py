"""Dicts: serialized keys and values. Unlike on the service, entries do not expire after a week without use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localmodal.store import Store


class Dicts:
    """The entries of all dicts. Whether a dict exists is its caller's to check."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, dict_id: str, key: bytes) -> bytes | None:
        """The value under a key."""
        row = self._store.row("SELECT value FROM dict_entries WHERE dict_id = ? AND key = ?", dict_id, key)
        return row["value"] if row else None

    def contains(self, dict_id: str, key: bytes) -> bool:
        """Whether the key is there."""
        sql = "SELECT EXISTS (SELECT 1 FROM dict_entries WHERE dict_id = ? AND key = ?)"
        return bool(self._store.value(sql, dict_id, key))

    def update(self, dict_id: str, entries: Iterable[tuple[bytes, bytes]], *, replace: bool = True) -> int:
        """Sets entries, all or none; without `replace` those that are there stay. Returns how many were set."""
        verb = "REPLACE" if replace else "IGNORE"
        with self._store.transaction() as db:
            return db.executemany(
                f"INSERT OR {verb} INTO dict_entries (dict_id, key, value) VALUES (?, ?, ?)",  # noqa: S608
                [(dict_id, key, value) for key, value in entries],
            ).rowcount

    def pop(self, dict_id: str, key: bytes) -> bytes | None:
        """Removes a key; returns what was under it."""
        with self._store.transaction() as db:
            value = self.get(dict_id, key)
            db.execute("DELETE FROM dict_entries WHERE dict_id = ? AND key = ?", (dict_id, key))
        return value

    def clear(self, dict_id: str) -> None:
        """Removes all entries."""
        self._store.write("DELETE FROM dict_entries WHERE dict_id = ?", dict_id)

    def count(self, dict_id: str) -> int:
        """How many entries there are."""
        return int(self._store.value("SELECT COUNT(*) FROM dict_entries WHERE dict_id = ?", dict_id))

    def entries(self, dict_id: str) -> Iterator[tuple[bytes, bytes]]:
        """The entries that are there now, in the order of insertion; one value in memory at a time."""
        for row in self._store.rows("SELECT key FROM dict_entries WHERE dict_id = ? ORDER BY rowid", dict_id):
            if (value := self.get(dict_id, row["key"])) is not None:
                yield row["key"], value
