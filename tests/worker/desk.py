"""Tasks whose program keeps to the protocol of the client's entrypoint, without a control plane."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from modal_proto import api_pb2

from localmodal.home import Home
from localmodal.worker.worker import TaskLaunch, Worker

ENTRYPOINT = """
import json, os, pathlib, signal, sys, time
from modal_proto_reader import task_id_of
say = lambda *words: print(*words, flush=True)
signal.signal(signal.SIGINT, lambda *_: (say("interrupted"), sys.exit(5)))
say("started", task_id_of(os.environ["MODAL_CONTAINER_ARGUMENTS_PATH"]), os.environ["MODAL_SERVER_URL"])
if os.environ.get("MODAL_ENABLE_SNAP_RESTORE") == "1":
    say("ready for a snapshot")
    state = pathlib.Path(os.environ["MODAL_RESTORE_STATE_PATH"])
    while not state.exists():
        time.sleep(0.01)
    now = json.loads(state.read_text())
    assert now["snapshot_debug"] == "0"
    say("goes on as", now["task_id"], now["function_id"], now["server_url"])
else:
    say("takes no snapshot")
while True:
    time.sleep(0.05)
"""
READER = """
def task_id_of(path):
    data = open(path, "rb").read()
    return data[2:2 + data[1]].decode()  # field 1, a string
"""


@dataclass
class Desk:
    """A worker, and tasks of one function."""

    worker: Worker
    home: Home
    layers: tuple[Path, ...]
    output: dict[str, bytes] = field(default_factory=dict)

    def launch(self, task_id: str, **more) -> TaskLaunch:
        (self.home.run / task_id).mkdir(parents=True)
        self.output[task_id] = b""
        values = {
            "arguments": api_pb2.ContainerArguments(task_id=task_id, function_id="fu-1", checkpoint_id=f"ch-{task_id}"),
            "layers": self.layers,
            "python": "/usr/bin/python3",
            "env": {"PATH": "/usr/bin:/bin", "TOKEN": "hush"},
            "workdir": "/root",
            "output": lambda _, chunk: self.output.update({task_id: self.output[task_id] + chunk}),
            "api_closed": self._closed,
            **more,
        }
        return TaskLaunch(task_id=task_id, **values)

    def said(self, task_id: str) -> list[str]:
        return self.output[task_id].decode().rpartition("\n")[0].splitlines()

    async def until(self, task_id: str, words: str) -> str:
        async with asyncio.timeout(20):
            while not (found := [line for line in self.said(task_id) if line.startswith(words)]):
                await asyncio.sleep(0.01)
        return found[0]

    async def snapshotted(self, task_id: str, **more):
        task = await self.worker.start(self.launch(task_id, **more))
        await self.until(task_id, "ready for a snapshot")
        await self.worker.checkpoint(task_id)
        await self.until(task_id, "goes on as")
        return task

    @staticmethod
    async def _closed() -> None:
        return


def write_program(home: Home) -> tuple[Path, ...]:
    """As the layers of every task."""
    package = home.disk / "layers/client/pkg"
    (package / "modal").mkdir(parents=True, exist_ok=True)
    (package / "modal/_container_entrypoint.py").write_text(ENTRYPOINT)
    (package / "modal_proto_reader.py").write_text(READER)
    return (home.disk / "layers/client",)
