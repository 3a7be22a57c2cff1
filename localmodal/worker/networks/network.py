"""A network of its own for each container: loopback, an eth0 with the same address in all of them, and a way out.

The same address, so that a listening socket that was restored into another container's network is still valid. A
namespace lives by an open file of the daemon: when the daemon and the container are gone, so is the network, with
nothing to take down. Making one takes the kernel some 15 ms, so a few are kept ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from localmodal.worker import linux
from localmodal.worker.container import ContainerError

if TYPE_CHECKING:
    from localmodal.worker.networks.uplink import Uplink

log = logging.getLogger(__name__)

ServeHttp = Callable[[socket.socket], Awaitable[Callable[[], Awaitable[None]]]]
"""Serves the daemon's HTTP (blobs) on a listening socket inside a container's network; returns how to stop."""

ADDRESS = "10.77.0.2"
"""Of eth0 in every container: what the client's `web_server` looks for."""
WAY_OUT = "wan0"
_HARDWARE_ADDRESS = "02:00:0a:4d:00:02"
_READY = 8
"""As many as start at once without waiting for one."""
_PAUSE = 0.25
"""Seconds before the next are made, so that this does not slow down the very starts that took the last ones."""


@dataclass(frozen=True)
class Network:
    """One network namespace, held open."""

    handle: int
    stop_http: Callable[[], Awaitable[None]]

    @property
    def path(self) -> Path:
        """By which another process of this machine may enter it, as long as the daemon lives."""
        return Path(f"/proc/{os.getpid()}/fd/{self.handle}")

    async def connect(self, port: int) -> socket.socket:
        """A connection to 127.0.0.1:port inside; ConnectionRefusedError if nothing listens."""
        connection = linux.in_own_thread(lambda: _socket_in(self.path))
        try:
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        except BaseException:
            connection.close()
            raise
        return connection

    def cut_off(self) -> None:
        """Takes the way out to the internet away."""
        linux.in_own_thread(lambda: _cut_off(self.path))

    async def close(self) -> None:
        """Lets the namespace go, with the container's last process."""
        await self.stop_http()
        os.close(self.handle)


class NetworkPool:
    """Networks made ahead of time, each with the daemon's HTTP at 127.0.0.1 on the port that it has outside."""

    def __init__(self, http_port: int, serve_http: ServeHttp, uplink: Uplink | None = None) -> None:
        self._uplink = uplink
        self._http_port = http_port
        self._serve_http = serve_http
        self._ready: deque[Network] = deque()
        self._filling: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def open(self) -> None:
        """Sets the way out up and begins to make the first networks."""
        if self._uplink:
            await asyncio.to_thread(self._uplink.open)
        self._fill_up()

    async def take(self) -> Network:
        """One that nobody else has."""
        network = self._ready.popleft() if self._ready else await self._make()
        self._fill_up()
        return network

    async def close(self) -> None:
        """Lets go of those that nobody took."""
        self._closing.set()
        if self._filling:
            await self._filling  # not cancelled: it may hold a network that nobody knows yet
        while self._ready:
            await self._ready.popleft().close()
        if self._uplink:
            await asyncio.to_thread(self._uplink.close)

    def _fill_up(self) -> None:
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), _PAUSE)
        try:
            while len(self._ready) < _READY and not self._closing.is_set():
                self._ready.append(await self._make())
        except ContainerError as error:
            log.warning("%s", error)

    async def _make(self) -> Network:
        make = partial(_make_namespace, self._http_port, self._uplink)
        try:
            handle, listener = await asyncio.to_thread(linux.in_own_thread, make)
        except (OSError, NetlinkError) as error:
            raise ContainerError(f"the kernel does not make a network for a container: {error}") from error
        return Network(handle, await self._serve_http(listener))


def _make_namespace(http_port: int, uplink: Uplink | None) -> tuple[int, socket.socket]:
    with IPRoute() as outside:  # a socket stays in the network in which it was opened
        linux.leave_network()
        _make_interfaces()
        if uplink and uplink.is_open:
            uplink.join(outside, ADDRESS)
    # Instead of a capability: whoever has this network may listen on every port of it.
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0", encoding="ascii")
    listener = socket.create_server(("127.0.0.1", http_port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits this
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC), listener


def _make_interfaces() -> None:
    with IPRoute() as route:
        # A veth pair with both ends inside serves as an interface that needs no `dummy` module.
        route.link("add", ifname="eth0", kind="veth", address=_HARDWARE_ADDRESS, peer={"ifname": "eth0-peer"})
        for name in ("lo", "eth0", "eth0-peer"):
            route.link("set", index=route.link_lookup(ifname=name)[0], state="up")
        route.addr("add", index=route.link_lookup(ifname="eth0")[0], address=ADDRESS, prefixlen=24)


def _cut_off(namespace: Path) -> None:
    linux.enter_namespace(namespace)
    with IPRoute() as route:
        for index in route.link_lookup(ifname=WAY_OUT):
            route.link("del", index=index)


def _socket_in(namespace: Path) -> socket.socket:
    linux.enter_namespace(namespace)
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(0)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
