"""The local control plane as a test drives it: from the outside, in a home of its own."""

import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from localmodal.home import Home, coldsnap_home

# Its files are still those of whoever runs the tests: the project may lie in a home folder that nobody else can enter.
NOBODY = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--", "setpriv", "--no-new-privs")
"""Before a command: another user, in a user namespace, without a single capability."""


@dataclass
class Daemon:
    """The local control plane of one home, reached as users reach it: by `python -m localmodal` and the client."""

    home: Path
    """$COLDSNAP_HOME."""
    env: dict[str, str] = field(default_factory=dict)
    """What a client needs; filled at the start."""
    somebody: tuple[str, ...] = ()
    """Before every verb's command: who runs it, if that is not who runs the tests."""

    def verb(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a verb."""
        return subprocess.run(
            [*self.somebody, sys.executable, "-m", "localmodal", *arguments],
            env={**os.environ, "COLDSNAP_HOME": str(self.home), **environment},
            text=True,
            capture_output=True,
            check=False,
        )

    def start(self, **environment: str) -> None:
        """Starts the daemon, if it does not run."""
        started = self.verb("start", **environment)
        assert started.returncode == 0, started.stderr
        self.env = json.loads(started.stdout)

    @property
    def paths(self) -> Home:
        """Where it keeps what."""
        return Home(self.home / "local")

    @property
    def status(self) -> dict:
        """What `status` prints."""
        return json.loads(self.verb("status").stdout)

    @property
    def capabilities(self) -> dict:
        """What `capabilities` prints."""
        return json.loads(self.verb("capabilities").stdout)

    @property
    def log(self) -> str:
        """What the daemon wrote."""
        return self.paths.daemon_log.read_text()

    def kill(self) -> None:
        """Ends the daemon as a crash would: at once, with everything left as it is."""
        pid = self.status["pid"]
        process = os.pidfd_open(pid)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [])
        os.close(process)


def make_home(folder: Path) -> Path:
    """A home that shares only the tools and package caches of the machine's own."""
    for shared in ("tools", "cache"):
        if (coldsnap_home() / shared).exists():
            (folder / shared).symlink_to(coldsnap_home() / shared)
    return folder


def needs_nobody() -> None:
    """Skips the test where the machine lets one be nobody else."""
    if subprocess.run([*NOBODY, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody have a user namespace")
