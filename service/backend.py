"""Where a stack's services run: Modal itself, or the local control plane that speaks its protocol.

Nothing else knows the difference: a backend is the environment of a `modal` client, and what its machine can do.
"""

from __future__ import annotations

import json
import sys
from subprocess import run
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from service.failure import Failure

if TYPE_CHECKING:
    from service.progress import Progress


def environment_of(backend: str, environment: str, progress: Progress) -> dict[str, str]:
    """The variables that make a `modal` client reach the backend; starts the local control plane if it is not up."""
    chosen = {"MODAL_ENVIRONMENT": environment} if environment else {}
    if backend == "modal":
        return chosen
    progress.status("looking for the local control plane")
    answer = local_control_plane("start", progress=progress)
    return {name: value for name, value in answer.items() if name.startswith("MODAL_")} | chosen


def is_billed(backend: str) -> bool:
    """Whether its containers cost money: this machine's own are free."""
    return backend == "modal"


def reachable(url: str) -> str:
    """An address that every HTTP client reaches: plain glibc, and so Python, does not know `chat.localhost`.

    The local control plane answers by path too; in sync with localmodal/web/urls.py.
    """
    parts = urlsplit(url)
    label, _, domain = (parts.hostname or "").rpartition(".")
    return f"{parts.scheme}://127.0.0.1:{parts.port}/_apps/{label}" if domain == "localhost" and label else url


def missing_for_snapshots(backend: str) -> list[str]:
    """What the backend's machine lacks for memory snapshots and how to get it; empty where it takes them."""
    if backend == "modal":
        return []
    capabilities = local_control_plane("capabilities")
    if capabilities["snapshots"]:
        return []
    return [f"{lack['what']} ({lack['needed_for']}): {lack['remedy']}" for lack in capabilities["missing"]]


def ended_meanwhile(backend: str) -> str:
    """What to know of an operation that failed because the backend is gone; empty if it is there."""
    if backend == "modal" or local_control_plane("status")["running"]:
        return ""
    return (
        "The local control plane has ended while this step was at work: was it stopped, or killed? "
        "`coldsnap local logs` shows its last words. `pulumi up` starts it again and goes on from here."
    )


def forgive_snapshots(backend: str, app_name: str) -> None:
    """Lets snapshots that were given up be taken once more: who asks for a proof asks for that."""
    if backend != "modal":
        local_control_plane("forgive", app_name)


def local_control_plane(verb: str, *arguments: str, progress: Progress | None = None) -> dict[str, Any]:
    """What the local control plane's own command answers to a verb; Failure with its words if it does not.

    What it says besides its answer goes to `progress`: that it took the place of an older daemon, say.
    """
    done = run([sys.executable, "-m", "localmodal", verb, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"The local control plane refuses (python -m localmodal {verb}):\n{done.stderr.strip()}")
    if progress is not None and (said := done.stderr.strip()):
        progress.warn(said)
    return dict(json.loads(done.stdout))
