"""A server that runs as a child process of the container's own: its port, its tree, and how its death is told.

1. start        in a session of its own, so that its whole tree is found again
2. wait until   it is ready; a death before that is an error that names its last lines
3. guard        from here on its death ends the container, with the same lines in the log
4. stop         the whole tree, also what its first process has left behind

A snapshot may be taken between any of these: the tree is in it. Connections to the server are not: see `hang_up`.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LAST_LINES = 20
"""How much of what it said is told when it dies."""

STOP_SECONDS = 10.0
"""How long the tree may take to end by itself."""

HANG_UP_SECONDS = 10.0
"""How long connections may take to close."""

_LAST_WORDS_SECONDS = 2.0
"""How long its end may take: whoever is hung up on by a server that ends hears of it before that."""

_POLL_SECONDS = 0.05
_SESSION = 3
"""Index of the session in /proc/<pid>/stat, counted from behind the command's name (which may hold spaces)."""

_LISTEN, _TIME_WAIT = "0A", "06"
"""States in /proc/net/tcp, as Linux numbers them: neither is a connection that anyone holds."""

_SECRETS = {"API_KEY", "HF_TOKEN", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"}

log = logging.getLogger("coldsnap.child")


class ChildError(Exception):
    """A server that did not start, or that is no more; the message has its last lines."""


def own_environment() -> dict[str, str]:
    """Ours, without the secrets that are none of a child's business."""
    return {name: value for name, value in os.environ.items() if name not in _SECRETS}


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Child:
    """One server process, with all that it starts."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], port: int) -> None:
        self.name = name
        self.port = port
        self._command = command
        self._env = env
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._guarded = False
        self._stopped = False
        self._process: subprocess.Popen[str]
        self._watch: threading.Thread

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether its first process runs."""
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """How its first process ended, a signal's number negated; none: it runs."""
        return self._process.poll()

    def start(self) -> None:
        """Start it; what it says goes to the container's log."""
        self._process = subprocess.Popen(
            self._command,
            env=dict(self._env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, name=f"{self.name}-log", daemon=True)
        self._watch = threading.Thread(target=self._wait, args=(reader,), name=f"{self.name}-watch", daemon=True)
        reader.start()
        self._watch.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.append(line.rstrip())
            log.info("%s: %s", self.name, line.rstrip())

    def _wait(self, reader: threading.Thread) -> None:
        self._process.wait()
        reader.join(1.0)  # its last words; what it has left behind may hold the pipe open for longer
        if self._guarded and not self._stopped:
            self._end_the_container()

    def _end_the_container(self) -> None:
        """Nothing can be answered any more, and whoever waits for an answer is better off with another container."""
        log.critical("%s\nThis container ends with it.", self.fault())
        self._signal(signal.SIGKILL)
        os._exit(1)

    def fault(self) -> ChildError:
        """What is wrong with it, and what it said last."""
        if threading.current_thread() is not self._watch:
            self._watch.join(_LAST_WORDS_SECONDS)
        code = self._process.poll()
        how = "does not answer" if code is None else f"ended with {_meaning(code)}"
        said = "\n".join(f"  {line}" for line in self._lines) or "  (nothing)"
        return ChildError(f"{self.name} {how}. Its last lines:\n{said}")

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return once it is ready; `ChildError` if it dies before, or takes too long."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive:
                self._watch.join()
                raise self.fault()
            if time.monotonic() > deadline:
                raise ChildError(f"{self.name} was not ready after {seconds:g} s. {self.fault()}")
            time.sleep(_POLL_SECONDS)

    def guard(self) -> None:
        """From now on its death ends this container; `ChildError` if it is dead already."""
        self._guarded = True
        if not self.alive:
            raise self.fault()

    def hang_up(self) -> None:
        """Wait until no connection to it is open, from either end: a snapshot holds none."""
        deadline = time.monotonic() + HANG_UP_SECONDS
        while open_connections(self.port):
            if time.monotonic() > deadline:
                raise ChildError(f"{self.name}: connections to port {self.port} are open, and a snapshot holds none")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End the whole tree, kindly at first."""
        self._stopped = True
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._tree() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        self._signal(signal.SIGKILL)
        self._watch.join()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._tree():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _tree(self) -> list[int]:
        """Every process of its session that still runs."""
        return [pid for pid, fields in _processes() if int(fields[_SESSION]) == self._process.pid and fields[0] != "Z"]


def _processes() -> list[tuple[int, list[str]]]:
    """Every process that is seen from here, and the fields of its stat file behind the command's name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            found.append((int(path.parent.name), path.read_text(errors="replace").rpartition(")")[2].split()))
    return found


def _meaning(code: int) -> str:
    """An exit code in words: Python gives a signal's number as a negative one."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def open_connections(port: int) -> int:
    """How many connections to a port of the loopback are open, counted at its own end."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] not in {_LISTEN, _TIME_WAIT} for row in rows)
