"""A container's standard output and error: pipes that the daemon reads (CRIU can hand a pipe to a restored copy)."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localmodal.worker.container import Output

_CHUNK = 1 << 16


class OutputPipes:
    """Two pipes; what comes out of them goes to a callback, in order, as it comes."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._open = 0
        self._drained = asyncio.Event()
        self.stdout = self._pipe(1)
        self.stderr = self._pipe(2)

    def close_ours(self) -> None:
        """Lets go of the ends that the container writes to, once it has them."""
        os.close(self.stdout)
        os.close(self.stderr)

    async def drained(self) -> None:
        """Returns when both are at their end: nobody holds them any more and all has been handed on."""
        await self._drained.wait()

    def _pipe(self, descriptor: int) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        self._open += 1
        asyncio.get_running_loop().add_reader(reader, self._read, reader, descriptor)
        return writer

    def _read(self, reader: int, descriptor: int) -> None:
        if chunk := os.read(reader, _CHUNK):
            self._output(descriptor, chunk)
            return
        asyncio.get_running_loop().remove_reader(reader)
        os.close(reader)
        self._open -= 1
        if not self._open:
            self._drained.set()
