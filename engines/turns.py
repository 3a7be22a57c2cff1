"""One model, one thread: requests take turns.

A llama.cpp context answers one prompt at a time, so requests queue in the order in which they came, and a streamed
answer is streamed from its first token to its last before the next begins. Nothing interleaves: two answers at half
the speed would both end later than the first of two in a row.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

from engines.http import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

T = TypeVar("T")

WAIT_SECONDS = 60.0
"""How long a request waits for its turn before it is told to come back."""

WAITING = 64
"""How many requests wait at most; the next one is told to come back at once."""


class BusyError(ApiError):
    """No turn to be had: 429, and when to ask again."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(
            429,
            f"{waiting} requests are waiting for this model. Please retry in {retry_after} s.",
            type="rate_limit_error",
            code="rate_limit_exceeded",
            headers={"Retry-After": str(retry_after)},
        )


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
        self._turn = asyncio.Lock()
        self._places = waiting
        self._wait_seconds = wait_seconds
        self._waiting = 0
        self._last_seconds = 1.0

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
        await self._take_turn()
        stream: _Stream[T] = _Stream(asyncio.get_running_loop())
        self._thread.submit(stream.fill, work, self._end_turn(time.monotonic()))
        try:
            async for item in stream.read():
                yield item
        finally:
            stream.hung_up.set()

    async def _take_turn(self) -> None:
        if self._turn.locked() and self._waiting >= self._places:
            raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._turn.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1

    def _end_turn(self, began: float) -> Callable[[], None]:
        def end() -> None:
            self._last_seconds = time.monotonic() - began
            self._turn.release()

        return end

    def _busy(self) -> BusyError:
        return BusyError(self._waiting, max(1, math.ceil(self._last_seconds * (self._waiting + 1))))

    def close(self) -> None:
        """End the thread, once it has done what it was given."""
        self._thread.shutdown(wait=True)
