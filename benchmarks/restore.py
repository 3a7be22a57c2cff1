"""Restores of processes of several sizes: their memory mapped (ours), against the same image read as CRIU does it.

    . setup/activate && python benchmarks/restore.py --runs 10

Both sides restore the same snapshot under runc, in turn. A run begins with the worker's call and ends with the copy's
first answer, for which it reads 16 places all over its memory. Needs root, and memory for what the reading side fills.
"""

import asyncio
import contextlib
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from localmodal.home import Home
from localmodal.worker.capabilities import Tools, capabilities_of_this_machine, find_tools
from localmodal.worker.container import Bind, Launch
from localmodal.worker.networks.network import NetworkPool
from localmodal.worker.oci.runc import RuncContainer, RuncRuntime
from localmodal.worker.snapshots.criu import CriuSnapshotter
from localmodal.worker.snapshots.kernel_data import KernelData
from localmodal.worker.snapshots.protocol import Snapshot
from spread import Spread, print_json, print_table

HTTP_PORT = 18183
BARE_MIB = 15
"""What the program takes without a block of memory."""
SPARE_MIB = 3000
PROGRAM = """
import ctypes, os, socket, sys, time
size = int(sys.argv[1]) << 20
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
block = libc.malloc(ctypes.c_size_t(size + 1))
for start in range(0, size, 1 << 20):
    ctypes.memset(block + start, start >> 20 & 127, 1 << 20)
open("/run/coldsnap/ready", "w").close()
while not os.path.exists("/run/coldsnap/go"):
    time.sleep(0.001)
places = [size // 16 * index for index in range(16)] if size else []
right = all(ctypes.c_char.from_address(block + place).value == bytes([place >> 20 & 127]) for place in places)
asker = socket.socket(socket.AF_UNIX)
asker.connect("/run/coldsnap/asker")
asker.sendall(b"right" if right else b"wrong")
asker.recv(1)
for start in range(0, size, 1 << 20):
    assert ctypes.string_at(block + start, 1 << 20) == bytes([start >> 20 & 127]) * (1 << 20)
asker.sendall(b"right")
time.sleep(3600)
"""


@dataclass
class Copy:
    """A restored process that has answered."""

    container: RuncContainer
    connection: socket.socket
    seconds: float

    async def read_all(self) -> None:
        """Has it look at all of its memory."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.connection, b"?")
        _expect_right(await loop.sock_recv(self.connection, 16))

    def pss_of_rss(self) -> float:
        """Its share of the memory that it has, shared memory divided by those who share it."""
        rollup = Path(f"/proc/{self.container.pid}/smaps_rollup").read_text(encoding="ascii")
        kib = dict(re.findall(r"^(Pss|Rss): +(\d+)", rollup, re.MULTILINE))
        return int(kib["Pss"]) / int(kib["Rss"])

    async def end(self) -> None:
        """Ends it."""
        self.connection.close()
        await self.container.kill()


@dataclass
class Bench:
    """A worker's runtime in a home of its own, and both snapshotters."""

    home: Home
    runtime: RuncRuntime
    sides: dict[str, CriuSnapshotter]
    count: int = 0
    figures: dict[str, Spread] = field(default_factory=dict)

    def launch(self, *args: str) -> tuple[Launch, Path]:
        """The next container, with an empty folder at /run/coldsnap."""
        self.count += 1
        folder = self.home.run / f"ta-{self.count}"
        folder.mkdir()
        binds = (Bind(folder, "/run/coldsnap"),)
        launch = Launch(id=folder.name, args=args, env={}, cwd="/", layers=(), output=lambda *_: None, binds=binds)
        return launch, folder

    async def snapshot(self, mib: int) -> Snapshot:
        """Of a process with a block of that size."""
        launch, folder = self.launch("/usr/bin/python3", "-c", PROGRAM, str(mib if mib > BARE_MIB else 0))
        container = await self.runtime.run(launch)
        while not (folder / "ready").exists():  # noqa: ASYNC110  # nothing here hears of it otherwise
            await asyncio.sleep(0.01)
        snapshot = Snapshot(f"{mib}", self.home.disk / f"snapshot-{mib}")
        snapshot.folder.mkdir()
        await self.sides["mapped"].checkpoint(container, snapshot.folder)
        await container.kill()
        return snapshot

    async def restore(self, snapshotter: CriuSnapshotter, snapshot: Snapshot) -> Copy:
        """One copy, up to its first answer."""
        launch, folder = self.launch("-")
        (folder / "go").touch()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "asker"))
            listener.listen()
            listener.settimeout(0)
            begin = perf_counter()
            container, (connection, end) = await asyncio.gather(
                snapshotter.restore(launch, snapshot), _answer(listener)
            )
        return Copy(container, connection, end - begin)


async def _answer(listener: socket.socket) -> tuple[socket.socket, float]:
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(listener)
    _expect_right(await loop.sock_recv(connection, 16))
    return connection, perf_counter()


def _expect_right(answer: bytes) -> None:
    if answer != b"right":
        raise SystemExit(f"a copy's memory is not what the original's was: it said {answer!r}")


async def _one_by_one(bench: Bench, mib: int, runs: int) -> None:
    snapshot = await bench.snapshot(mib)
    seconds: dict[str, list[float]] = {"mapped": [], "read": []}
    for _ in range(runs):
        for name, snapshotter in bench.sides.items():
            copy = await bench.restore(snapshotter, snapshot)
            seconds[name].append(copy.seconds)
            await copy.end()
    _add(bench, f"{mib} MB", seconds)
    await bench.sides["mapped"].discard(snapshot)


async def _at_once(bench: Bench, mib: int, copies: int, runs: int) -> None:
    snapshot = await bench.snapshot(mib)
    seconds: dict[str, list[float]] = {"mapped": [], "read": []}
    shares: list[float] = []
    for _ in range(runs):
        for name, snapshotter in bench.sides.items():
            restored = await asyncio.gather(*(bench.restore(snapshotter, snapshot) for _ in range(copies)))
            seconds[name].append(max(copy.seconds for copy in restored))
            if name == "mapped":
                shares.append(await _share(restored))
            await asyncio.gather(*(copy.end() for copy in restored))
    _add(bench, f"{copies} of {mib} MB at once, the last", seconds)
    bench.figures[f"{copies} of {mib} MB at once, Pss / Rss of a copy that read all"] = Spread(shares)
    await bench.sides["mapped"].discard(snapshot)


async def _share(copies: list[Copy]) -> float:
    """Pss / Rss of one of them when all have read all of their memory."""
    for copy in copies:
        await copy.read_all()
    return copies[0].pss_of_rss()


def _add(bench: Bench, name: str, seconds: dict[str, list[float]]) -> None:
    bench.figures |= {f"{name}, {side}": Spread(runs) for side, runs in seconds.items()}
    ratios = [read / mapped for mapped, read in zip(seconds["mapped"], seconds["read"], strict=True)]
    bench.figures[f"{name}, ratio pair by pair"] = Spread(ratios)


@contextlib.asynccontextmanager
async def _open(folder: Path) -> AsyncIterator[Bench]:
    tools = await find_tools(Home.default())
    home = Home(folder / "local")
    home.run.mkdir(parents=True)
    capabilities = await capabilities_of_this_machine(home, tools)
    if not (capabilities.snapshots and tools.criu):
        raise SystemExit("no snapshots here: " + "; ".join(missing.what for missing in capabilities.missing))
    runtime = RuncRuntime(home, NetworkPool(HTTP_PORT, _serve_nothing), capabilities, tools.path)
    await runtime.open()
    try:
        yield Bench(home, runtime, await _sides(home, runtime, tools))
    finally:
        await runtime.close()


async def _sides(home: Home, runtime: RuncRuntime, tools: Tools) -> dict[str, CriuSnapshotter]:
    kernel_data = KernelData(home.root / "kernel-data", tools.criu or Path())
    await kernel_data.make()
    ways = {"mapped": True, "read": False}
    return {name: CriuSnapshotter(home, runtime, kernel_data, "", mapped=mapped) for name, mapped in ways.items()}


async def _serve_nothing(listener: socket.socket) -> Callable[[], Awaitable[None]]:
    async def stop() -> None:
        listener.close()

    return stop


def _refuse_without_memory(mib: int) -> None:
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    found = re.search(r"MemAvailable: +(\d+)", text)
    assert found
    if int(found[1]) >> 10 < mib + SPARE_MIB:
        raise SystemExit(f"{mib} MiB are to be filled, {int(found[1]) >> 10} MiB are available: ask for less")


async def _measure(sizes: list[int], copies: int, size: int, runs: int) -> dict[str, Spread]:
    with tempfile.TemporaryDirectory(prefix="coldsnap-benchmark-") as folder:
        async with _open(Path(folder)) as bench:
            for mib in sizes:
                await _one_by_one(bench, mib, runs)
            if copies:
                await _at_once(bench, size, copies, runs)
    return bench.figures


def main(
    sizes: Annotated[str, typer.Option(help="MB, by commas")] = "15,300,2048,8192",
    runs: Annotated[int, typer.Option(min=1)] = 10,
    at_once: Annotated[int, typer.Option(help="copies at once; 0: leave that out")] = 8,
    at_once_size: Annotated[int, typer.Option(help="MB of each of them")] = 2048,
    *,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Measure restores."""
    wanted = [int(size) for size in sizes.split(",") if size]
    # A process and its snapshot in the page cache, or the copies beside the snapshot that they are read from.
    _refuse_without_memory(max([2 * size for size in wanted] + [(at_once + 1) * at_once_size if at_once else 0]))
    figures = asyncio.run(_measure(wanted, at_once, at_once_size, runs))
    (print_json if as_json else print_table)("Restore to the first answer: seconds, page cache warm", figures)


if __name__ == "__main__":
    typer.run(main)
