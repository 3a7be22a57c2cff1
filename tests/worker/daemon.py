"""A process that a test kills: it opens a runtime of the home given and starts containers until it is killed."""

import asyncio
import sys
from pathlib import Path

from localmodal.home import Home
from localmodal.worker.capabilities import find_tools
from localmodal.worker.container import Capabilities, Launch
from localmodal.worker.network import NetworkPool
from localmodal.worker.process import ProcessRuntime
from localmodal.worker.runc import RuncRuntime
from localmodal.worker.uplink import Uplink


async def _serve(listener):
    async def stop():
        listener.close()

    return stop


async def main(kind: str, root: str) -> None:
    home = Home(Path(root))
    runtime = ProcessRuntime(home, Capabilities(containers=False, snapshots=False))
    if kind == "runc":
        tools = await find_tools(home)
        runtime = RuncRuntime(
            home,
            NetworkPool(18182, _serve, Uplink(home.tag, home.root / "forwarding-is-ours")),
            Capabilities(containers=True, snapshots=False),
            tools.path,
        )
    await runtime.open()
    for number in range(1000):
        args = ("/bin/sh", "-c", "setsid sleep 76543 & exec sleep 76543")
        env = {"PATH": "/usr/bin:/bin"}
        await runtime.run(Launch(f"ta-{number}", args, env, "/", (), lambda *_: None))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


asyncio.run(main(*sys.argv[1:]))
