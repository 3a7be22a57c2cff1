"""A task as a container: the client's own entrypoint, its arguments in a file, its environment, its limits."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from localmodal.worker.container import Bind, Launch

if TYPE_CHECKING:
    from pathlib import Path

    from localmodal.worker.worker import TaskLaunch

_BLOCKED = api_pb2.NetworkAccess.NetworkAccessType.BLOCKED
_SEEN_AT = "/run/coldsnap"
"""Where a container sees its folder below `home.run`: the same in all, since a restored copy goes on using the name."""
_PYTHON_PATH = ("/root", "/pkg")
"""Where the service mounts a function's sources and its client."""
_ARGUMENTS = "arguments.pb"
_RESTORE_STATE = "restore-state.json"


def write_arguments(launch: TaskLaunch, folder: Path) -> None:
    """Writes what the entrypoint reads first."""
    (folder / _ARGUMENTS).write_bytes(launch.arguments.SerializeToString())


def write_restore_state(launch: TaskLaunch, folder: Path) -> None:
    """Writes the sign to go on after a snapshot, for the original and for each copy: who it is now.

    The entrypoint sets each entry as an environment variable MODAL_*, and starts a debugger unless told not to.
    """
    state = {
        "task_id": launch.task_id,
        "function_id": launch.arguments.function_id,
        "server_url": _server_url(_SEEN_AT),
        "snapshot_debug": "0",
    }
    part = folder / f"{_RESTORE_STATE}.part"
    part.write_text(json.dumps(state), encoding="utf-8")
    part.rename(folder / _RESTORE_STATE)


def container_launch(launch: TaskLaunch, folder: Path, *, isolated: bool, snapshots: bool) -> Launch:
    """What a runtime starts. `isolated`: the container has a root of its own, so its folder is bound into it."""
    seen_at = _SEEN_AT if isolated else str(folder)
    definition = launch.arguments.function_def
    limits = definition.resources
    blocked = definition.block_network or definition.network_access.network_access_type == _BLOCKED
    return Launch(
        id=launch.task_id,
        args=(launch.python, "-m", "modal._container_entrypoint"),
        env=_environment(launch, seen_at, snapshots=snapshots),
        cwd=launch.workdir,
        layers=launch.layers,
        output=launch.output,
        binds=(*launch.binds, Bind(folder, _SEEN_AT)) if isolated else launch.binds,
        cpu=limits.milli_cpu / 1000 or None,
        cpu_limit=limits.milli_cpu_max / 1000 or None,
        memory_mib=limits.memory_mb or None,
        memory_limit_mib=limits.memory_mb_max or None,
        internet=not blocked,
    )


def _environment(launch: TaskLaunch, seen_at: str, *, snapshots: bool) -> dict[str, str]:
    paths = [*_PYTHON_PATH, *filter(None, launch.env.get("PYTHONPATH", "").split(os.pathsep))]
    ours = {
        "MODAL_SERVER_URL": _server_url(seen_at),
        "MODAL_IS_REMOTE": "1",
        "MODAL_TASK_ID": launch.task_id,
        "MODAL_ENVIRONMENT": launch.arguments.environment_name,
        "MODAL_CONTAINER_ARGUMENTS_PATH": f"{seen_at}/{_ARGUMENTS}",
        "MODAL_RESTORE_STATE_PATH": f"{seen_at}/{_RESTORE_STATE}",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
    }
    if snapshots:
        ours["MODAL_ENABLE_SNAP_RESTORE"] = "1"
    return {**launch.env, **ours}


def _server_url(seen_at: str) -> str:
    return f"unix://{seen_at}/api.sock"
