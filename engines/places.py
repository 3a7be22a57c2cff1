"""The queue in front of a model: how many requests it works on at once, how many wait, and when to say no."""

from __future__ import annotations

import asyncio
import math
import time

from engines.errors import ApiError

WAIT_SECONDS = 60.0
"""How long a request waits for its place before it is told to come back."""

WAITING = 64
"""How many requests wait at most; the next one is told to come back at once."""


class BusyError(ApiError):
    """No place to be had: 429, and when to ask again."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(
            429,
            f"{waiting} requests are waiting for this model. Please retry in {retry_after} s.",
            type="rate_limit_error",
            code="rate_limit_exceeded",
            headers={"Retry-After": str(retry_after)},
        )


class Places:
    """So many requests at once; the others wait in the order in which they came."""

    def __init__(self, at_once: int, *, waiting: int = WAITING, wait_seconds: float = WAIT_SECONDS) -> None:
        self.waiting = 0
        self._at_once = at_once
        self._free = asyncio.Semaphore(at_once)
        self._places = waiting
        self._wait_seconds = wait_seconds
        self._last_seconds = 1.0

    async def take(self) -> float:
        """Wait for a place, and take it; else `BusyError`. Give what this returns to `leave`."""
        if self._free.locked() and self.waiting >= self._places:
            raise self._busy()
        self.waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self.waiting -= 1
        return time.monotonic()

    def leave(self, taken_at: float) -> None:
        """Give the place back, in the event loop."""
        self._last_seconds = time.monotonic() - taken_at
        self._free.release()

    def _busy(self) -> BusyError:
        seconds = self._last_seconds * (self.waiting + 1) / self._at_once
        return BusyError(self.waiting, max(1, math.ceil(seconds)))
