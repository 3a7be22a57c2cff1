"""A process of which the daemon is the parent, or became it (see `linux.adopt_orphans`): its end as an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal


class Child:
    """Refers to the process itself, not to a number that another process may have later."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._handle, self._reap)

    async def wait(self) -> int:
        """Its exit code; 128 + N for signal N."""
        return await asyncio.shield(self._ended)

    def signal(self, number: signal.Signals) -> None:
        """Nothing happens if it has ended."""
        if not self._ended.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        ended = os.waitid(os.P_PIDFD, self._handle, os.WEXITED)
        os.close(self._handle)
        assert ended, "waitid without WNOHANG returns when there is something to say"
        self._ended.set_result(ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status)
