"""Queues: partitions of items in the order in which they came. Who waits for an item is woken by the put."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from grpclib import GRPCError, Status

from localmodal.pulse import Pulse

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from localmodal.store import Store

MOST_ITEMS = 5_000
"""In a partition, as on the service."""
LARGEST_ITEM = 1024 * 1024
LARGEST_PARTITION = 64 * 1024 * 1024
"""Bytes, as on the service."""
_PAGE = 100

T = TypeVar("T")


class Queues:
    """The items of all queues. Whether a queue exists is its caller's to check."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: WeakValueDictionary[tuple[str, bytes], Pulse] = WeakValueDictionary()
        """One for each partition whose items somebody waits for, as long as somebody does."""

    def put(self, queue_id: str, partition: bytes, values: Sequence[bytes], lifetime: float) -> None:
        """Appends values, all or none. The partition is cleared `lifetime` seconds after its last put."""
        with self._store.transaction() as db:
            self._drop_expired(queue_id)
            self._require_room(queue_id, partition, values)
            db.execute(
                "INSERT INTO queue_partitions VALUES (?, ?, ?)"
                " ON CONFLICT (queue_id, partition) DO UPDATE SET expires_at = excluded.expires_at",
                (queue_id, partition, time.time() + lifetime),
            )
            db.executemany(
                "INSERT INTO queue_items (queue_id, partition, value) VALUES (?, ?, ?)",
                [(queue_id, partition, value) for value in values],
            )
        if waiting := self._waiting.get((queue_id, partition)):
            waiting.beat()

    def _require_room(self, queue_id: str, partition: bytes, values: Sequence[bytes]) -> None:
        if (largest := max(map(len, values), default=0)) > LARGEST_ITEM:
            raise GRPCError(
                Status.INVALID_ARGUMENT, f"An item of {largest} bytes is too large for a queue: {LARGEST_ITEM} at most."
            )
        sql = "SELECT COUNT(*), TOTAL(LENGTH(value)) FROM queue_items WHERE queue_id = ? AND partition = ?"
        ((items, size),) = self._store.rows(sql, queue_id, partition)
        if items + len(values) > MOST_ITEMS or size + sum(map(len, values)) > LARGEST_PARTITION:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED, f"The queue's partition is full: {items} items of {size:.0f} bytes in all."
            )

    async def get(self, queue_id: str, partition: bytes, most: int, timeout: float) -> list[bytes]:
        """Takes up to `most` items; waits up to `timeout` seconds for the first."""
        return await self._first(queue_id, partition, timeout, lambda: self._take(queue_id, partition, most))

    async def items_after(
        self, queue_id: str, partition: bytes, position: int, timeout: float
    ) -> list[tuple[int, bytes]]:
        """Some of the items behind a position, which stay; waits up to `timeout` seconds for the first."""
        return await self._first(queue_id, partition, timeout, lambda: self._peek(queue_id, partition, position))

    async def _first(self, queue_id: str, partition: bytes, timeout: float, look: Callable[[], list[T]]) -> list[T]:
        """What `look` sees, as soon as that is anything."""
        deadline = time.monotonic() + timeout
        put = self._waiting.setdefault((queue_id, partition), Pulse())
        while True:
            self._drop_expired(queue_id)
            left = deadline - time.monotonic()
            if (seen := look()) or left <= 0:
                return seen
            await put.wait(left)

    def _take(self, queue_id: str, partition: bytes, most: int) -> list[bytes]:
        with self._store.transaction() as db:
            rows = self._rows(queue_id, partition, after=0, most=most)
            db.executemany("DELETE FROM queue_items WHERE position = ?", [(row["position"],) for row in rows])
        return [row["value"] for row in rows]

    def _peek(self, queue_id: str, partition: bytes, after: int) -> list[tuple[int, bytes]]:
        return [(row["position"], row["value"]) for row in self._rows(queue_id, partition, after, _PAGE)]

    def _rows(self, queue_id: str, partition: bytes, after: int, most: int) -> list[sqlite3.Row]:
        return self._store.rows(
            "SELECT position, value FROM queue_items WHERE queue_id = ? AND partition = ? AND position > ?"
            " ORDER BY position LIMIT ?",
            *(queue_id, partition, after, most),
        )

    def length(self, queue_id: str, partition: bytes | None) -> int:
        """How many items a partition has; with None, all of them together."""
        self._drop_expired(queue_id)
        sql = "SELECT COUNT(*) FROM queue_items WHERE queue_id = ? AND partition = IFNULL(?, partition)"
        return int(self._store.value(sql, queue_id, partition))

    def partitions(self, queue_id: str) -> int:
        """How many partitions there are."""
        self._drop_expired(queue_id)
        return int(self._store.value("SELECT COUNT(*) FROM queue_partitions WHERE queue_id = ?", queue_id))

    def clear(self, queue_id: str, partition: bytes | None) -> None:
        """Empties a partition; with None, all of them."""
        self._store.write(
            "DELETE FROM queue_partitions WHERE queue_id = ? AND partition = IFNULL(?, partition)", queue_id, partition
        )

    def _drop_expired(self, queue_id: str) -> None:
        self._store.write("DELETE FROM queue_partitions WHERE queue_id = ? AND expires_at < ?", queue_id, time.time())
