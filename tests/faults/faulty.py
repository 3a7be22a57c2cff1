"""A service to do harm to, and what is seen of it from the outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
from pulumi_project import CHAT, Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Daemon

Update = subprocess.Popen[str]

NAME = "steady"
SMALL = {"restores_in_a_row": 1, "max_starts": 5, "prompt_tokens": [4]}
"""Two starts do: the one that makes the snapshot, and one that comes from it. But what an interrupted update or a
question has started may still be there, and takes the place of one."""
PATIENCE = 60
_numbers = count(1)


@dataclass
class Steady(Project):
    """The project of one service, on a daemon that may be stopped, killed and replaced."""

    daemon: Daemon = field(kw_only=True)

    def declare_service(self, **changed: Any) -> None:
        """Writes the stack file."""
        self.declare(CHAT | {"name": NAME, "scaling": {"scaledown_window": 2}, "warmup": SMALL} | changed)

    def declare_another_version(self, **changed: Any) -> None:
        """Something to deploy and to prove; the image stays as it is."""
        self.declare_service(engine={"kind": "llama_cpp", "options": {"n_ctx": 256 + next(_numbers)}}, **changed)

    def declare_another_image(self) -> None:
        """Something to build, which takes a moment."""
        self.declare_service(image={"run": [f"sleep 2; echo {next(_numbers)}"]})

    def up_until(self, step: str, fault: Callable[[Update], object]) -> str:
        """What an update says that meets a fault within the step that this line tells of, and fails.

        The control plane stands still meanwhile, so that the step is not over before.
        """
        said = []
        control_plane = self.control_plane()
        with self.start("up", "--yes", "--skip-preview") as update:
            assert update.stdout is not None
            for line in update.stdout:
                said.append(line)
                if step in line:
                    break
            else:
                raise AssertionError(f"no line tells of {step!r}:\n{''.join(said)}")
            with standstill(control_plane):
                until(self._operation_is_connected)
                fault(update)
            said.append(update.communicate()[0])
        assert update.returncode, "".join(said)
        return "".join(said)

    def control_plane(self) -> psutil.Process:
        """The daemon's process."""
        return psutil.Process(self.daemon.status["pid"])

    def _operation_is_connected(self) -> bool:
        """It waits for an answer, and does not go on trying to connect."""
        port = self.daemon.status["grpc_port"]
        found = psutil.net_connections("tcp")
        return any(one.raddr and one.raddr.port == port and one.pid in self.operations() for one in found)

    def kill_the_control_plane(self, _: Update) -> None:
        """As the kernel does when memory runs out."""
        process = self.control_plane()
        process.kill()
        process.wait()

    def up_again(self) -> set[str]:
        """The kinds of resources that the next update changes."""
        return set(re.findall(rf":(\w+) {NAME} updating", self.up()))

    def output(self, service: str = NAME) -> dict[str, Any]:
        """A service's outputs, read from the state itself: `pulumi stack output` takes a second for the same."""
        home = self.env["PULUMI_BACKEND_URL"].removeprefix("file://")
        state = json.loads(Path(home, ".pulumi/stacks/coldsnap", f"{self.stack}.json").read_text())
        return dict(state["checkpoint"]["latest"]["resources"][0]["outputs"][service])

    def ask(self) -> str:
        """The service's answer to a question, from whatever container there is or will be."""
        url = f"{self.output()['url']}/v1/completions"
        answer = httpx.post(url, json={"prompt": "One, two,", "max_tokens": 4}, timeout=PATIENCE)
        return str(answer.raise_for_status().json()["choices"][0]["text"])

    def log(self) -> str:
        """The log of all of the service's containers. Without a word of how much, one gets the last 100 entries."""
        return self.client("app", "logs", NAME, "--tail", "10000")

    def wait_until_nothing_runs(self) -> None:
        """Until no operation and no container is left."""
        until(lambda: not self.operations() and not self.daemon.status["containers"])

    def operations(self) -> list[int]:
        """The processes of operations on services of this home that are under way."""
        return [process.pid for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            at_work = any(word.startswith("service.") for word in process.cmdline())
            return at_work and process.environ().get("COLDSNAP_HOME") == str(self.daemon.home)
        return False


@contextmanager
def standstill(process: psutil.Process) -> Iterator[None]:
    """A process that does nothing meanwhile: of the control plane's, no step of an update comes to its end."""
    process.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def until(fulfilled: Callable[[], object]) -> None:
    """Waits for something to come true."""
    deadline = time.monotonic() + PATIENCE
    while not fulfilled():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ctrl_c(update: Update) -> None:
    """As a terminal does it: a signal to every process in the foreground."""
    os.killpg(update.pid, signal.SIGINT)
    assert update.stdout is not None
    assert any("^C received" in line for line in update.stdout)


def ctrl_c_twice(update: Update) -> None:
    """Somebody who does not want to wait for the step to end."""
    ctrl_c(update)
    os.killpg(update.pid, signal.SIGINT)
