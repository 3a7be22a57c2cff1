"""A process that a test kills: it opens a runtime of the home given and starts containers until it is killed."""

import asyncio
import sys
from pathlib import Path

from desk import Desk, write_program

from localmodal.home import Home
from localmodal.worker.capabilities import find_tools
from localmodal.worker.container import Capabilities, Launch
from localmodal.worker.networks.network import NetworkPool
from localmodal.worker.networks.uplink import Uplink
from localmodal.worker.oci.runc import RuncRuntime
from localmodal.worker.plain.process import ProcessRuntime
from localmodal.worker.worker import Worker


async def _serve(listener):
    async def stop():
        listener.close()

    return stop


async def start_containers(home: Home, runtime) -> None:
    await runtime.open()
    for number in range(1000):
        args = ("/bin/sh", "-c", "setsid sleep 76543 & exec sleep 76543")
        await runtime.run(Launch(f"ta-{number}", args, {"PATH": "/usr/bin:/bin"}, "/", (), lambda *_: None))
        say(number)


async def take_snapshots(home: Home) -> None:
    """A snapshot, three copies, another snapshot (of other code), and so on."""
    worker = await Worker.open(home, 18182, _serve)
    desk = Desk(worker, home, write_program(home))
    for number in range(1000):
        await desk.snapshotted(f"ta-{number}", env={"PATH": "/usr/bin:/bin", "NUMBER": str(number)})
        say(number)
        for copy in range(3):
            launch = desk.launch(f"ta-{number}-{copy}", env={"PATH": "/usr/bin:/bin", "NUMBER": str(number)})
            assert (await worker.start(launch)).restored
            say(copy)


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


async def main(kind: str, root: str) -> None:
    home = Home(Path(root))
    tools = await find_tools(Home.default())
    capabilities = Capabilities(containers=kind == "runc", snapshots=False)
    if kind == "snapshots":
        await take_snapshots(home)
    elif kind == "runc":
        uplink = Uplink(home.tag, home.root / "forwarding-is-ours")
        await start_containers(home, RuncRuntime(home, NetworkPool(18182, _serve, uplink), capabilities, tools.path))
    else:
        await start_containers(home, ProcessRuntime(home, capabilities))


asyncio.run(main(*sys.argv[1:]))
