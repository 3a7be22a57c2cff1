"""Waking those who wait: no lock, no polling, any number of waiters."""

from __future__ import annotations

import asyncio


class Pulse:
    """Every `beat` wakes all who wait at that moment; who waits looks again at what it waits for."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def beat(self) -> None:
        """Wakes everyone who waits now."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def wait(self, timeout: float | None = None) -> bool:
        """Waits for the next beat; False when `timeout` seconds pass first (none: however long it takes)."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait_for(waiter, timeout)
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True
