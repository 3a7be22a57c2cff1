"""Real containers in a home of their own; nothing is mocked.

Tests of `runc` are skipped, with the reason, where the machine runs no containers.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from localmodal.home import Home
from localmodal.worker.capabilities import Tools, capabilities_of_this_machine, find_tools
from localmodal.worker.container import Capabilities, Container, Exit, Launch
from localmodal.worker.networks.network import NetworkPool
from localmodal.worker.networks.uplink import Uplink
from localmodal.worker.oci.runc import RuncRuntime
from localmodal.worker.plain.process import ProcessRuntime

HTTP_PORT = 18181


class Listeners:
    """Stands where the daemon's HTTP server does: takes the listening sockets made inside containers' networks."""

    async def serve(self, listener) -> Callable[[], Awaitable[None]]:
        server = await asyncio.start_server(self._answer, sock=listener)

        async def stop() -> None:
            server.close()

        return stop

    @staticmethod
    async def _answer(reader, writer) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nblob")
        writer.close()


@dataclass
class Ended:
    """A container that has run to its end."""

    exit: Exit
    out: str
    err: str


@dataclass
class Bench:
    """A runtime and a short way to run something in it."""

    runtime: RuncRuntime | ProcessRuntime
    home: Home
    count: int = 0

    def launch(self, *args: str, **more) -> Launch:
        self.count += 1
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **more.pop("env", {})}
        values = {"cwd": "/", "layers": (), "output": lambda *_: None, **more}
        return Launch(id=f"ta-{self.count}", args=args, env=env, **values)

    async def start(self, *args: str, **more) -> Container:
        return await self.runtime.run(self.launch(*args, **more))

    async def run(self, *args: str, **more) -> Ended:
        wrote = {1: b"", 2: b""}

        def output(descriptor: int, chunk: bytes) -> None:
            wrote[descriptor] += chunk

        end = await (await self.start(*args, output=output, **more)).wait()
        return Ended(end, wrote[1].decode(), wrote[2].decode())

    async def shell(self, script: str, **more) -> Ended:
        return await self.run("/bin/sh", "-c", script, **more)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "coldsnap/local")
    home.run.mkdir(parents=True)
    return home


@pytest.fixture(scope="session")
def tools() -> Tools:
    """As a daemon of this user finds them."""
    return asyncio.run(find_tools(Home.default()))


@pytest.fixture(scope="session")
def capabilities(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Capabilities:
    """Found out once: the trial takes a while."""
    return asyncio.run(capabilities_of_this_machine(Home(tmp_path_factory.mktemp("trial")), tools))


@pytest.fixture
def needs_containers(capabilities: Capabilities) -> None:
    if not capabilities.containers:
        pytest.skip("this machine runs no containers: " + ", ".join(missing.what for missing in capabilities.missing))


@pytest.fixture
def needs_snapshots(capabilities: Capabilities) -> None:
    if not capabilities.snapshots:
        pytest.skip("no snapshots here: " + ", ".join(missing.what for missing in capabilities.missing))


def _networks(home: Home) -> NetworkPool:
    return NetworkPool(HTTP_PORT, Listeners().serve, Uplink(home.tag, home.root / "forwarding-is-ours"))


@pytest.fixture
async def runc(home: Home, tools: Tools, capabilities: Capabilities, needs_containers) -> AsyncIterator[Bench]:
    runtime = RuncRuntime(home, _networks(home), capabilities, tools.path)
    await runtime.open()
    yield Bench(runtime, home)
    await runtime.close()


@pytest.fixture
async def process(home: Home) -> AsyncIterator[Bench]:
    runtime = ProcessRuntime(home, Capabilities(containers=False, snapshots=False))
    await runtime.open()
    yield Bench(runtime, home)
    await runtime.close()


@pytest.fixture(params=["runc", "process"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Either runtime: what holds for both."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def layer_of(home: Home) -> Callable[[str], Path]:
    """Makes empty layers where layers lie."""

    def make(name: str) -> Path:
        folder = home.disk / "layers" / name
        folder.mkdir(parents=True)
        return folder

    return make


@pytest.fixture
def layer(bench: Bench, layer_of: Callable[[str], Path]) -> Callable[[str], Path]:
    """The same, once the disk is mounted."""
    return layer_of


@pytest.fixture
async def runc_again(home: Home, tools: Tools) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Opens a runtime of the same home, as a daemon does that is started again."""
    runtime = RuncRuntime(home, _networks(home), Capabilities(containers=True, snapshots=False), tools.path)
    yield runtime.open
    await runtime.close()
