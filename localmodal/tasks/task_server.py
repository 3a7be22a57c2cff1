"""The unix socket of one container: its only way to the control plane, and its identity."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from grpclib.server import Server

from localmodal.pulse import Pulse

if TYPE_CHECKING:
    from pathlib import Path

    from grpclib.protocol import H2Protocol

    from localmodal.api.server import Service

_PATIENCE = 1.0
"""Seconds for a container to close its connections before a snapshot; then a forked child has inherited them."""


class TaskServer(Server):
    """A gRPC server on a unix socket that knows which connections are open."""

    def __init__(self, service: Service) -> None:
        super().__init__([service])
        self._open: dict[H2Protocol, asyncio.Transport] = {}
        self._changed = Pulse()

    async def listen(self, path: Path) -> None:
        """Starts to serve."""
        await self.start(path=str(path))

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        made, lost = protocol.connection_made, protocol.connection_lost

        def connection_made(transport: asyncio.Transport) -> None:
            self._open[protocol] = transport
            made(transport)

        def connection_lost(error: BaseException | None) -> None:
            self._open.pop(protocol, None)
            self._changed.beat()
            lost(error)

        protocol.connection_made = connection_made  # type: ignore[method-assign,assignment]
        protocol.connection_lost = connection_lost  # type: ignore[method-assign,assignment]
        return protocol

    async def closed_by_peer(self) -> None:
        """Returns when the container holds no connection; cuts what is still open after a second."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while self._open:
                    await self._changed.wait()
        except TimeoutError:
            self.cut()

    def cut(self) -> None:
        """Ends every connection now."""
        for transport in list(self._open.values()):
            transport.abort()

    def shut(self) -> None:
        """Stops serving and ends every connection."""
        self.close()
        self.cut()
