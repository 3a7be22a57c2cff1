"""One direction of a call's stream of chunks: what a generator yields, the body of a web request."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from localmodal.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modal_proto import api_pb2

_WINDOW = 16 * 1024 * 1024
"""Bytes that may wait in a channel before its writer waits: one full message of the container's client."""


class Channel:
    """One writer, one reader who may come back."""

    def __init__(self) -> None:
        self._chunks: deque[api_pb2.DataChunk] = deque()
        self._waiting = 0
        self._written = self._delivered = 0
        self._closed = False
        self._changed = Pulse()

    async def append(self, chunk: api_pb2.DataChunk) -> None:
        """Adds a chunk; waits while the reader is far behind. A chunk without an index gets the next one.

        A chunk of an index that was already there (a writer that repeats itself) is dropped, as is all after `close`.
        """
        while self._waiting >= _WINDOW and not self._closed:
            await self._changed.wait()
        chunk.index = chunk.index or self._written + 1
        if self._closed or chunk.index <= self._written:
            return
        self._written = chunk.index
        self._chunks.append(chunk)
        self._waiting += chunk.ByteSize()
        self._changed.beat()

    async def read(self, after: int = 0) -> AsyncIterator[api_pb2.DataChunk]:
        """Every chunk of an index above `after`, as they come; ends when the channel is closed and empty.

        The last chunk delivered is kept: what was sent may not have arrived, and a reader may come back for it.
        """
        while True:
            if (chunk := next((c for c in self._chunks if c.index > after), None)) is not None:
                self._deliver(chunk)
                yield chunk
                after = chunk.index
            elif self._closed:
                return
            else:
                await self._changed.wait()

    def _deliver(self, chunk: api_pb2.DataChunk) -> None:
        if chunk.index <= self._delivered:
            return
        self._delivered = chunk.index
        self._waiting -= chunk.ByteSize()
        while self._chunks[0].index < chunk.index:
            self._chunks.popleft()
        self._changed.beat()

    @property
    def used(self) -> bool:
        """Somebody has read of it."""
        return self._delivered > 0

    @property
    def begun(self) -> bool:
        """Something was written to it."""
        return self._written > 0

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._changed.beat()
