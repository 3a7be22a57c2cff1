"""One model, one thread: requests take turns.

A llama.cpp context answers one prompt at a time, so requests queue in the order in which they came, and a streamed
answer is streamed from its first token to its last before the next begins. Nothing interleaves: two answers at half
the speed would both end later than the first of two in a row.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

from engines.places import WAIT_SECONDS, WAITING, Places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

T = TypeVar("T")


class _Stream(Generic[T]):
    """Items made in the model's thread, read in the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.hung_up = threading.Event()
        self._loop = loop
        self._items: asyncio.Queue[tuple[T | None, BaseException | None]] = asyncio.Queue()

    def fill(self, work: Callable[[Callable[[T], None], threading.Event], None], done: Callable[[], None]) -> None:
        """Run in the model's thread: one entry an item, and one without an item at the end."""
        failure: BaseException | None = None
        try:
            work(self._put, self.hung_up)
        except BaseException as error:  # noqa: BLE001 - whoever reads the stream gets it
            failure = error
        self._loop.call_soon_threadsafe(self._items.put_nowait, (None, failure))
        self._loop.call_soon_threadsafe(done)

    def _put(self, item: T) -> None:
        self._loop.call_soon_threadsafe(self._items.put_nowait, (item, None))

    async def read(self) -> AsyncIterator[T]:
        while True:
            item, failure = await self._items.get()
            if failure is not None:
                raise failure
            if item is None:
                return
            yield item


class Turns:
    """The model's thread, and the queue in front of it."""

    def __init__(self, *, waiting: int = WAITING, wait_seconds: float = WAIT_SECONDS) -> None:
        # One thread from load to stop: OpenMP keeps its pool of workers by the thread that asks for it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._places = Places(1, waiting=waiting, wait_seconds=wait_seconds)

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._places.waiting

    def run(self, work: Callable[[], T]) -> T:
        """Do something in the model's thread, before there are requests or after."""
        return self._thread.submit(work).result()

    def stream(self, work: Callable[[threading.Event], Iterator[T]]) -> AsyncIterator[T]:
        """The items that `work` makes in the model's thread; see `pushed`."""

        def push(put: Callable[[T], None], hung_up: threading.Event) -> None:
            for item in work(hung_up):
                put(item)

        return self.pushed(push)

    async def pushed(self, work: Callable[[Callable[[T], None], threading.Event], None]) -> AsyncIterator[T]:
        """The items that `work` puts in the model's thread, once it is this request's turn; else `BusyError`.

        Whoever stops reading sets the event that `work` is given; the turn ends when `work` does, not before.
        """
        taken_at = await self._places.take()
        stream: _Stream[T] = _Stream(asyncio.get_running_loop())
        self._thread.submit(stream.fill, work, lambda: self._places.leave(taken_at))
        try:
            async for item in stream.read():
                yield item
        finally:
            stream.hung_up.set()

    def close(self) -> None:
        """End the thread, once it has done what it was given."""
        self._thread.shutdown(wait=True)
