"""What a function's definition says: how it scales, what it becomes with options, what of it is not served here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_SCALEDOWN_WINDOW = 60
"""Seconds that an idle container is kept when the function does not say, as on the service."""
DEFAULT_MAX_CONTAINERS = max(8, 2 * (os.cpu_count() or 1))
"""Containers of one function that does not say: the service's limit is the workspace's, ours is this machine."""


def default_settings(definition: api_pb2.Function) -> api_pb2.AutoscalerSettings:
    """How a function scales by its definition."""
    settings = api_pb2.AutoscalerSettings(
        min_containers=definition.warm_pool_size,
        max_containers=definition.concurrency_limit,
        buffer_containers=definition._experimental_buffer_containers,  # noqa: SLF001 (the field's name on the wire)
        scaledown_window=definition.task_idle_timeout_secs or DEFAULT_SCALEDOWN_WINDOW,
    )
    settings.MergeFrom(definition.autoscaler_settings)
    return settings


def canonical(data: api_pb2.FunctionData) -> bytes:
    """What is the same for the same function: the client lists mounts and dependencies in no particular order."""
    copy = api_pb2.FunctionData()
    copy.CopyFrom(data)
    for ranked in copy.ranked_functions:
        _sort(ranked.function.mount_ids)
        dependencies = sorted(one.object_id for one in ranked.function.object_dependencies)
        del ranked.function.object_dependencies[:]
        ranked.function.object_dependencies.extend(api_pb2.ObjectDependency(object_id=one) for one in dependencies)
    return copy.SerializeToString(deterministic=True)


def _sort(ids: Iterable[str]) -> None:
    ordered = sorted(ids)
    del ids[:]  # type: ignore[attr-defined]  # a repeated field: no list, but it deletes and extends like one
    ids.extend(ordered)  # type: ignore[attr-defined]


_SAME_NAME = (
    "retry_policy", "concurrency_limit", "timeout_secs", "task_idle_timeout_secs", "warm_pool_size",
    "target_concurrent_inputs", "max_concurrent_inputs", "batch_max_size", "batch_linger_ms",
)  # fmt: skip
_SCALING = {
    "concurrency_limit": "max_containers",
    "task_idle_timeout_secs": "scaledown_window",
    "warm_pool_size": "min_containers",
    "buffer_containers": "buffer_containers",
}
"""Options of a variant that are settings of the autoscaler, and their names there."""


def apply_options(options: api_pb2.FunctionOptions, definition: api_pb2.Function) -> None:
    """Puts a variant's options into a definition (`with_options`, `with_concurrency`, `with_batching`)."""
    if options.HasField("resources"):
        definition.resources.MergeFrom(options.resources)
    for name, value in ((descriptor.name, value) for descriptor, value in options.ListFields()):
        if name in _SAME_NAME:
            _set(definition, name, value)
        if name in _SCALING:
            setattr(definition.autoscaler_settings, _SCALING[name], value)
    if options.replace_secret_ids:
        del definition.secret_ids[:]
    definition.secret_ids.extend(options.secret_ids)
    if options.replace_volume_mounts:
        del definition.volume_mounts[:]
    definition.volume_mounts.extend(options.volume_mounts)


def _set(target: Message, name: str, value: object) -> None:
    if isinstance(value, Message):
        getattr(target, name).CopyFrom(value)
    else:
        setattr(target, name, value)


_REFUSED = {
    "schedule": "schedule= (cron or period)",
    "proxy_id": "proxy=",
    "cloud_bucket_mounts": "a CloudBucketMount",
    "shared_volume_mounts": "a NetworkFileSystem",
    "_experimental_group_size": "modal.experimental.clustered",
    "i6pn_enabled": "i6pn",
    "is_sessioned": "a sessioned server",
}
"""What a definition may ask for and this machine does not do: the field, and what the user wrote."""


def refuse_what_is_not_served(definition: api_pb2.Function) -> None:
    """FAILED_PRECONDITION, by name, for what a definition asks for and never would get here."""
    name = definition.function_name
    asked = {descriptor.name for descriptor, value in definition.ListFields() if value}
    for refused in _REFUSED.keys() & asked:
        raise GRPCError(
            Status.FAILED_PRECONDITION,
            f"{name}: {_REFUSED[refused]} is not served by the local control plane. Remove it, or deploy to Modal.",
        )
    gpu = definition.resources.gpu_config
    if gpu.count and not Path("/dev/nvidiactl").exists():
        raise GRPCError(
            Status.FAILED_PRECONDITION,
            f"{name}: gpu={gpu.gpu_type!r} was asked for, and this machine has no NVIDIA GPU "
            "(/dev/nvidiactl is not there). Remove gpu= for the local backend, or deploy to Modal.",
        )
