"""The way out of a container: what can be reached through it and what cannot. "The world" is a network made here."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2.iproute.linux import IPRoute

from localmodal.worker import linux

SERVER = "203.0.113.2"
US = "203.0.113.1"
CREDENTIALS = "169.254.169.254"
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1) as connection:
        print(connection.recv(99).decode())
except OSError as error:
    print(type(error).__name__)
"""


def _serve(listener: socket.socket, answer) -> None:
    def run() -> None:
        while True:
            try:
                connection, (address, _) = listener.accept()
            except OSError:
                return
            connection.sendall(answer(address).encode())
            connection.close()

    threading.Thread(target=run, daemon=True).start()


@pytest.fixture
def world(needs_containers) -> Iterator[None]:
    """Beyond an interface of this machine: a server that says who asked, and a cloud's source of credentials."""

    def make() -> list[socket.socket]:
        with IPRoute() as outside:
            linux.leave_network()
            namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            outside.link("add", ifname="world-test", kind="veth", peer={"ifname": "eth0", "net_ns_fd": namespace})
            ours = outside.link_lookup(ifname="world-test")[0]
            outside.addr("add", index=ours, address=US, prefixlen=24)
            outside.addr("add", index=ours, address="169.254.169.1", prefixlen=24)
            outside.link("set", index=ours, state="up")
        with IPRoute() as inside:
            index = inside.link_lookup(ifname="eth0")[0]
            inside.addr("add", index=index, address=SERVER, prefixlen=24)
            inside.addr("add", index=index, address=CREDENTIALS, prefixlen=24)
            inside.link("set", index=index, state="up")
        os.close(namespace)
        return [socket.create_server((SERVER, 80)), socket.create_server((CREDENTIALS, 80))]

    listeners = linux.in_own_thread(make)
    _serve(listeners[0], lambda address: f"you are {address}")
    _serve(listeners[1], lambda _: "AKIA-SECRET")
    yield
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    linux.in_own_thread(_remove)


def _remove() -> None:
    with IPRoute() as route:
        for index in route.link_lookup(ifname="world-test"):
            route.link("del", index=index)


async def _asked(runc, address: str, port: int, **more) -> str:
    ended = await runc.run("/usr/bin/python3", "-c", ASK, address, str(port), **more)
    return ended.out.strip()


async def test_a_container_reaches_the_world_under_this_machines_address(runc, world):
    assert await _asked(runc, SERVER, 80) == f"you are {US}"


async def test_a_function_with_its_network_blocked_reaches_nobody(runc, world):
    assert await _asked(runc, SERVER, 80, internet=False) == "OSError"


async def test_a_clouds_source_of_credentials_is_out_of_reach(runc, world):
    with socket.create_connection((CREDENTIALS, 80), timeout=1) as connection:
        assert connection.recv(99) == b"AKIA-SECRET", "this machine itself may ask"
    assert await _asked(runc, CREDENTIALS, 80) == "TimeoutError"


async def test_services_of_this_machine_are_out_of_reach(runc, world):
    with socket.create_server(("0.0.0.0", 0)) as listener:
        _serve(listener, lambda _: "for this machine only")
        port = listener.getsockname()[1]
        gateway = (await runc.shell("ip route show default")).out.split()[2]
        for address in (US, gateway):
            with socket.create_connection((address, port), timeout=1) as connection:
                assert connection.recv(99) == b"for this machine only"
            assert await _asked(runc, address, port) == "TimeoutError"
        assert await _asked(runc, "127.0.0.1", port) == "ConnectionRefusedError"
        listener.shutdown(socket.SHUT_RDWR)


async def test_other_containers_are_out_of_reach(runc, world):
    wrote = []
    serve = (
        "import socket; s = socket.create_server(('0.0.0.0', 80)); print('up', flush=True); s.accept()[0].send(b'hi')"
    )
    other = await runc.start("/usr/bin/python3", "-c", serve, output=lambda _, chunk: wrote.append(chunk))
    while not wrote:
        await asyncio.sleep(0.01)
    hidden = _way_out_of(other.pid)
    assert await _asked(runc, hidden, 80) in {"TimeoutError", "OSError"}
    await other.kill()


def _way_out_of(pid: int) -> str:
    def look() -> str:
        linux.enter_namespace(Path(f"/proc/{pid}/ns/net"))
        with IPRoute() as route:
            index = route.link_lookup(ifname="wan0")[0]
            return route.get_addr(index=index, family=socket.AF_INET)[0].get_attr("IFA_ADDRESS")

    return linux.in_own_thread(look)


async def test_forwarding_is_as_it_was_when_the_last_home_is_closed(runc, home, runc_again):
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    assert forwarding.read_text() == "1\n"
    ours = (home.root / "forwarding-is-ours").exists()
    await runc.runtime.close()
    others = list(Path("/sys/class/net").glob("csbr*"))
    assert forwarding.read_text() == ("0\n" if ours and not others else "1\n")


async def test_a_machine_that_does_not_let_us_has_containers_without_internet(runc, caplog, monkeypatch, runc_again):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "no nftables here")

    await runc.runtime.close()
    monkeypatch.setattr("localmodal.worker.networks.firewall.let_out", refuse)
    await runc_again()
    assert "containers have no internet: [Errno 1] no nftables here" in caplog.text
