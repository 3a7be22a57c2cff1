"""Real containers and a real CRIU; skipped, with the reason, where the machine has no snapshots."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from localmodal.home import Home
from localmodal.worker.capabilities import Tools, capabilities_of_this_machine, find_tools
from localmodal.worker.container import Bind, Launch
from localmodal.worker.networks.network import NetworkPool
from localmodal.worker.oci.runc import RuncContainer, RuncRuntime
from localmodal.worker.snapshots.criu import CriuSnapshotter
from localmodal.worker.snapshots.protocol import Snapshot

HTTP_PORT = 18182
PROGRAMS = Path(__file__).parent


async def serve_http(listener) -> Callable[[], Awaitable[None]]:
    """Stands where the daemon's own HTTP server does, inside a container's network: accepts, and says nothing."""
    connections = []
    server = await asyncio.start_server(lambda *streams: connections.append(streams), sock=listener)

    async def stop() -> None:
        server.close()

    return stop


@dataclass
class Running:
    """A container, its folder at /run/coldsnap, and what it wrote."""

    container: RuncContainer
    folder: Path
    output: bytearray = field(default_factory=bytearray)

    async def ready(self) -> None:
        while not (self.folder / "ready").exists():
            if self.container._init._ended.done():
                pytest.fail(f"ended before it was ready: {self.output.decode()}")
            await asyncio.sleep(0.005)

    async def goes_on(self) -> str:
        """Lets it go on; what it wrote until its end."""
        (self.folder / "go").touch()
        async with asyncio.timeout(60):
            end = await self.container.wait()
        return self.output.decode() if end.code == 0 else f"exit code {end.code}: {self.output.decode()}"


class Bench:
    """A runtime with a snapshotter, and short ways to use them."""

    def __init__(self, home: Home, runtime: RuncRuntime, snapshotter: CriuSnapshotter) -> None:
        self.home = home
        self.runtime = runtime
        self.snapshotter = snapshotter
        self.count = 0
        self.listening: list[socket.socket] = []
        self.layer = home.disk / "programs"
        shutil.copytree(PROGRAMS, self.layer / "srv/tests", ignore=shutil.ignore_patterns("__pycache__"))

    def next_launch(self, *args: str) -> tuple[Launch, Path, bytearray]:
        self.count += 1
        folder = self.home.run / f"ta-{self.count}"
        folder.mkdir()
        output = bytearray()
        launch = Launch(
            id=folder.name,
            args=args,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "/srv/tests"},
            cwd="/",
            layers=(self.layer,),
            output=lambda _, chunk: output.extend(chunk),
            binds=(Bind(folder, "/run/coldsnap"),),
        )
        return launch, folder, output

    async def start(self, *args: str) -> Running:
        launch, folder, output = self.next_launch(*args)
        api = socket.socket(socket.AF_UNIX)
        api.bind(str(folder / "api"))
        api.listen()
        self.listening.append(api)
        running = Running(await self.runtime.run(launch), folder, output)
        await running.ready()
        return running

    async def feature(self, name: str) -> Running:
        return await self.start("/usr/bin/python3", "-B", "-m", "features", name, str(HTTP_PORT))

    async def snapshot(self, running: Running) -> Snapshot:
        folder = self.home.disk / "snapshots" / running.container.id
        folder.mkdir(parents=True)
        await self.snapshotter.checkpoint(running.container, folder)
        return Snapshot(folder.name, folder)

    async def restore(self, snapshot: Snapshot, snapshotter: CriuSnapshotter | None = None) -> Running:
        launch, folder, output = self.next_launch("-")
        container = await (snapshotter or self.snapshotter).restore(launch, snapshot)
        return Running(container, folder, output)


@pytest.fixture(scope="session")
def tools() -> Tools:
    """As a daemon of this user finds them."""
    return asyncio.run(find_tools(Home.default()))


@pytest.fixture(scope="session")
def needs_snapshots(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("trial"))
    capabilities = asyncio.run(capabilities_of_this_machine(home, tools))
    if not capabilities.snapshots:
        pytest.skip("this machine takes no snapshots: " + ", ".join(missing.what for missing in capabilities.missing))
    return tools.criu


@pytest.fixture
async def bench(needs_snapshots: Path, tools: Tools, tmp_path: Path) -> AsyncIterator[Bench]:
    home = Home(tmp_path / "coldsnap/local")
    home.run.mkdir(parents=True)
    capabilities = await capabilities_of_this_machine(home, tools)
    runtime = RuncRuntime(home, NetworkPool(HTTP_PORT, serve_http), capabilities, tools.path)
    await runtime.open()
    try:
        yield Bench(home, runtime, await CriuSnapshotter.open(home, runtime, needs_snapshots))
    finally:
        await runtime.close()
