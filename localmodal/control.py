"""Starting, stopping and asking after the daemon, from another process."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localmodal.endpoint import Endpoint, Lock, own_version
from localmodal.home import RECORD
from localmodal.store import Store
from localmodal.token import Token

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from localmodal.home import Home

READY = b"ready"
"""What a daemon says to who has started it, once clients can come."""
_START_WITHIN = 120.0
"""Seconds; the first start makes a disk and finds out what this machine can do."""
_STOP_WITHIN = 60.0
_LINES_SHOWN = 15


class ControlError(Exception):
    """What was asked for cannot be done: why, and what to do."""


def start(home: Home) -> dict[str, str]:
    """Starts the daemon unless it runs; one of another version is replaced. Returns the environment of a client."""
    lock = Lock(home.start_lock)
    lock.take(wait=True)
    try:
        running = Endpoint.read(home)
        if running and running.version != own_version():
            sys.stderr.write(f"Replacing the daemon of version {running.version}: this one is {own_version()}.\n")
            stop(home)
            running = None
        return client_environment(home, running or _spawn(home))
    finally:
        lock.release()


def _spawn(home: Home) -> Endpoint:
    """Runs `python -m localmodal serve` in the background and waits for its word that it is up, or why it cannot be."""
    hears, says = os.pipe()
    with home.daemon_log.open("ab") as log:
        begin = log.tell()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "localmodal", "serve", "--ready-fd", str(says)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[says],
            start_new_session=True,
            cwd="/",
            env={**os.environ, "COLDSNAP_HOME": str(home.root.parent), "PYTHONPATH": _import_path()},
        )
    os.close(says)
    with os.fdopen(hears, "rb") as pipe:
        heard, _, _ = select.select([pipe], [], [], _START_WITHIN)
        word = pipe.read() if heard else b""
    if word != READY:
        daemon.kill()
        reason = word.decode() or f"Its last words in {home.daemon_log}:\n{_said(home, begin)}"
        raise ControlError(f"The local control plane did not start. {reason}")
    endpoint = Endpoint.read(home)
    assert endpoint, "it wrote its endpoint down before it said so"
    return endpoint


def _import_path() -> str:
    """Ours, in absolute folders: the daemon works elsewhere."""
    return os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)


def _said(home: Home, begin: int) -> str:
    """The last lines of what was written from the byte `begin` on: what an earlier daemon said is of no help."""
    return "\n".join(home.daemon_log.read_bytes()[begin:].decode(errors="replace").splitlines()[-_LINES_SHOWN:])


def stop(home: Home) -> bool:
    """Ends the daemon and everything that it runs; False if none ran."""
    if (running := Endpoint.read(home)) is None:
        return False
    process = os.pidfd_open(running.pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], _STOP_WITHIN)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [])
    finally:
        os.close(process)
    return True


def client_environment(home: Home, endpoint: Endpoint) -> dict[str, str]:
    """What makes any `modal` client use this control plane."""
    token = Token.load(home.token)
    return {
        "MODAL_SERVER_URL": endpoint.server_url,
        "MODAL_TOKEN_ID": token.id,
        "MODAL_TOKEN_SECRET": token.secret,
        "MODAL_ENVIRONMENT": "main",
        "COLDSNAP_HTTP_URL": f"http://127.0.0.1:{endpoint.http_port}",
    }


def environment(home: Home) -> dict[str, str]:
    """The same, of a daemon that runs already."""
    if (running := Endpoint.read(home)) is None:
        raise ControlError("The local control plane does not run. `coldsnap local start` starts it.")
    return client_environment(home, running)


def status(home: Home) -> dict[str, Any]:
    """What runs: the daemon, the apps, their containers, the snapshots."""
    running = Endpoint.read(home)
    report: dict[str, Any] = {"running": running is not None, "home": str(home.root), "records": home.records}
    if running:
        report |= {**asdict(running), "stale": running.version != own_version()}
        report |= {"server_url": running.server_url, "http_url": f"http://127.0.0.1:{running.http_port}"}
    if home.database.exists():
        report |= _contents(home, alive=running is not None)
    return report


_APPS = (
    "SELECT id, name, environment, version, deployed_at FROM apps WHERE version > 0 AND stopped_at = 0 ORDER BY name"
)
_CONTAINERS = (
    "SELECT id, app_id, function_id, enqueued_at, started_at, snapshot_behavior FROM tasks WHERE finished_at = 0"
    " ORDER BY enqueued_at"
)
_FUNCTIONS = "SELECT functions.id FROM functions JOIN apps ON apps.id = app_id WHERE name = ?"


def _contents(home: Home, *, alive: bool) -> dict[str, Any]:
    store = Store(home.database)
    try:
        containers = [dict(row) for row in store.rows(_CONTAINERS)] if alive else []
        apps = [dict(row) for row in store.rows(_APPS)]
        return {"apps": apps, "containers": containers, "bad_snapshots": _bad_snapshots(home)}
    finally:
        store.close()


def _bad_snapshots(home: Home) -> list[dict[str, Any]]:
    from localmodal.worker.snapshots.library import all_failures  # noqa: PLC0415 (the other verbs answer faster without)

    return [{**asdict(one), "given_up": one.given_up} for one in all_failures(home.disk / "snapshots")]


def recorded(home: Home) -> dict[str, Any]:
    """What a control plane that records was sent, whether it runs or not."""
    from localmodal.recording.report import report  # noqa: PLC0415 (the other verbs answer faster without)

    if not home.records:
        raise ControlError(f"This control plane builds and runs what it is sent. With {RECORD}=1 another one records.")
    if not home.database.exists():
        raise ControlError("Nothing was recorded yet. `coldsnap local start` starts the control plane that does.")
    store = Store(home.database)
    try:
        return report(store)
    finally:
        store.close()


def forgive(home: Home, app: str) -> dict[str, list[str]]:
    """Forgets what is known against the snapshots of an app: whoever asks for another one has a reason. Their names."""
    from localmodal.worker.snapshots.library import forgive  # noqa: PLC0415 (the other verbs answer faster without)

    if not home.database.exists():
        return {"forgiven": []}
    store = Store(home.database)
    try:
        functions = {row["id"] for row in store.rows(_FUNCTIONS, app)}
    finally:
        store.close()
    return {"forgiven": forgive(home.disk / "snapshots", functions)}


def destroy(home: Home) -> None:
    """Ends the daemon and removes everything that it has made."""
    stop(home)
    if home.disk_image.exists():
        asyncio.run(_sweep(home))
    if home.root.exists():
        shutil.rmtree(home.root)


async def _sweep(home: Home) -> None:
    """Ends and unmounts what a daemon that was killed has left behind."""
    from localmodal.worker.worker import Worker  # noqa: PLC0415 (the other verbs answer faster without)

    worker = await Worker.open(home, 1, _serve_nothing)
    await worker.close()


async def _serve_nothing(_: socket.socket) -> Callable[[], Awaitable[None]]:
    async def stop() -> None:
        """There is nothing to stop."""

    return stop
