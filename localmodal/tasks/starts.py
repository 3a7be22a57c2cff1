"""How the starts of one function's containers go: after a failed one comes a pause, a longer one every time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_PAUSE = 0.5
"""Seconds between two starts of a function whose containers keep dying."""
_DOUBLINGS = 7
"""Up to about a minute."""


class Starts:
    """Counts failed starts in a row; calls `again` when a pause is over."""

    def __init__(self, again: Callable[[], None]) -> None:
        self._again = again
        self._pause: asyncio.TimerHandle | None = None
        self.failed = 0
        """Starts that failed since the last one that did not."""

    @property
    def paused(self) -> bool:
        """No container is to be started now."""
        return self._pause is not None

    def fail(self) -> None:
        """One more has failed."""
        self.failed += 1
        self.end_pause()
        seconds = _FIRST_PAUSE * 2 ** min(self.failed - 1, _DOUBLINGS)
        self._pause = asyncio.get_running_loop().call_later(seconds, self._over)

    def succeed(self) -> None:
        """A container is ready."""
        self.failed = 0

    def forget(self) -> None:
        """What failed was another version."""
        self.failed = 0
        self.end_pause()

    def end_pause(self) -> None:
        """Calls nobody any more."""
        if self._pause:
            self._pause.cancel()
        self._pause = None

    def _over(self) -> None:
        self._pause = None
        self._again()
