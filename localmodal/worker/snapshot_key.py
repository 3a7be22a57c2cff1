"""What a task's memory snapshot depends on, as far as the control plane decides it: the same key, the same start."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from modal_proto import api_pb2

if TYPE_CHECKING:
    from localmodal.worker.worker import TaskLaunch

_SCALING: tuple[Any, ...] = (
    "autoscaler_settings", "concurrency_limit", "task_idle_timeout_secs", "warm_pool_size", "retry_policy", "schedule",
    "_experimental_buffer_containers", "timeout_secs", "startup_timeout_secs",
)  # fmt: skip
"""Parts of a function's definition that a container does not read: changing them leaves its snapshot good."""


def snapshot_key(launch: TaskLaunch) -> str:
    """The function's id, and a digest of all that a container is started from, but for what is new in each start.

    Secrets are in it, as part of the environment: they are in the snapshot too, so a rotated one needs a new snapshot.
    """
    arguments = api_pb2.ContainerArguments()
    arguments.CopyFrom(launch.arguments)
    arguments.ClearField("task_id")
    arguments.ClearField("checkpoint_id")
    for field in _SCALING:
        arguments.function_def.ClearField(field)
    binds = [(str(bind.source), bind.destination, bind.read_only) for bind in launch.binds]
    rest = [list(map(str, launch.layers)), launch.python, sorted(launch.env.items()), launch.workdir, binds]
    digest = hashlib.sha256(arguments.SerializeToString(deterministic=True))
    digest.update(json.dumps(rest).encode())
    return f"{launch.arguments.function_id}/{digest.hexdigest()}"
