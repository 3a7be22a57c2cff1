"""The way out to the internet for functions' containers: a bridge, and this machine's address in front of theirs.

Each container's network gets an interface `wan0` on the bridge, with an address of its own that nobody in the container
sees: what it sends has eth0's address, the same in every container, and is translated twice (in its own network to
wan0's, by this machine to the machine's). So a copy that is restored in another network goes on with the same address.

From inside, neither this machine's own services can be reached nor the other containers, nor link-local addresses,
where clouds hand out credentials. If the kernel or the machine's firewall does not allow it, there is no internet.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import itertools
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from localmodal.worker.linux import in_own_thread
from localmodal.worker.networks import firewall
from localmodal.worker.networks.network import WAY_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

_POOL = ipaddress.IPv4Network("10.78.0.0/16")
"""Each home takes a /24 of it."""
_BRIDGE = "csbr"
_PORT = "cs"
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class Uplink:
    """The bridge of one home. `tag`: eight hexadecimal digits that tell it from another's."""

    def __init__(self, tag: str, marker: Path) -> None:
        self._tag = tag
        self._marker = marker
        """A file that is there while this machine forwards packets only because of us."""
        self._subnet: ipaddress.IPv4Network | None = None
        self._numbers: Iterator[int] = itertools.cycle(range(2, 255))

    @property
    def is_open(self) -> bool:
        """Whether there is a way out."""
        return self._subnet is not None

    def open(self) -> None:
        """Sets it up, or says in the log why there is none."""
        self.close()
        try:
            self._subnet = in_own_thread(self._open)
        except (OSError, NetlinkError) as error:
            log.warning("containers have no internet: %s", error)
            self.close()

    def close(self) -> None:
        """Takes it down, also what an earlier daemon left."""
        self._subnet = None
        in_own_thread(self._close)

    def join(self, outside: Any, address: str) -> None:
        """Connects this thread's network, whose programs send from `address`. `outside`: netlink of the machine's."""
        assert self._subnet, "asked only where there is a way out"
        number = self._add_port(outside)
        firewall.translate_what_leaves_by(WAY_OUT, self._table)
        with IPRoute() as inside:
            index = inside.link_lookup(ifname=WAY_OUT)[0]
            inside.addr("add", index=index, address=str(self._subnet[number]), prefixlen=self._subnet.prefixlen)
            inside.link("set", index=index, state="up")
            inside.route("add", dst="default", gateway=str(self._subnet[1]), oif=index, prefsrc=address)

    def _add_port(self, outside: Any) -> int:
        """The kernel keeps the list of numbers in use: a port is gone when its container's network is."""
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            number = next(number for number in self._numbers if self._try_port(outside, number, namespace))
        finally:
            os.close(namespace)
        index = outside.link_lookup(ifname=self._port(number))[0]
        outside.link("set", index=index, master=outside.link_lookup(ifname=self._bridge)[0], state="up")
        outside.brport("set", index=index, isolated=1)
        return number

    def _try_port(self, outside: Any, number: int, namespace: int) -> bool:
        # The same hardware address for the same number, so that no neighbour remembers a wrong one.
        peer = {"ifname": WAY_OUT, "net_ns_fd": namespace, "address": f"02:00:0a:4e:00:{number:02x}"}
        try:
            outside.link("add", ifname=self._port(number), kind="veth", peer=peer)
        except NetlinkError as error:
            if error.code == errno.EEXIST:
                return False
            raise
        return True

    def _open(self) -> ipaddress.IPv4Network:
        with IPRoute() as route:
            subnet = self._free_subnet(route)
            route.link("add", ifname=self._bridge, kind="bridge")
            index = route.link_lookup(ifname=self._bridge)[0]
            _interface_setting("ipv6", self._bridge, "disable_ipv6")
            route.addr("add", index=index, address=str(subnet[1]), prefixlen=subnet.prefixlen)
            route.link("set", index=index, state="up")
        firewall.let_out(self._bridge, str(subnet), self._table)
        if _FORWARDING.read_text(encoding="ascii").strip() == "0":
            self._marker.touch()
            _FORWARDING.write_text("1", encoding="ascii")
        return subnet

    def _close(self) -> None:
        with contextlib.suppress(OSError, NetlinkError):
            firewall.remove(self._table)
        with IPRoute() as route:
            for link in route.get_links():
                if (name := link.get_attr("IFLA_IFNAME")) == self._bridge or name.startswith(self._port("")):
                    _delete(route, link["index"])
        if self._marker.exists() and not list(Path("/sys/class/net").glob(f"{_BRIDGE}*")):
            _FORWARDING.write_text("0", encoding="ascii")
            self._marker.unlink()

    def _free_subnet(self, route: Any) -> ipaddress.IPv4Network:
        """One that no route of this machine leads into."""
        taken = [_destination(each) for each in route.get_routes(family=2) if each["dst_len"]]
        subnets = list(_POOL.subnets(new_prefix=24))
        first = int(self._tag, 16) % len(subnets)
        for subnet in (*subnets[first:], *subnets[:first]):
            if not any(subnet.overlaps(each) for each in taken):
                return subnet
        raise OSError(errno.EADDRINUSE, f"every subnet of {_POOL} is in use on this machine")

    @property
    def _bridge(self) -> str:
        return f"{_BRIDGE}{self._tag}"

    @property
    def _table(self) -> str:
        return f"coldsnap-{self._tag}"

    def _port(self, number: int | str) -> str:
        """Interface names have at most 15 letters."""
        return f"{_PORT}{self._tag}-{number}"


def _delete(route: Any, index: int) -> None:
    """A port goes by itself, too, when the kernel is done with its container's network."""
    try:
        route.link("del", index=index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


def _destination(route: Any) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network((route.get_attr("RTA_DST"), route["dst_len"]))


def _interface_setting(family: str, interface: str, name: str) -> None:
    setting = Path("/proc/sys/net", family, "conf", interface, name)
    if setting.exists():
        setting.write_text("1", encoding="ascii")
