"""An OCI bundle: the configuration by which runc starts or restores one container."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localmodal.worker.container import Bind
from localmodal.worker.oci.seccomp import seccomp_profile

if TYPE_CHECKING:
    from localmodal.worker.container import Launch

MEMORY = "/.memory"
"""Where a restored container finds its snapshot's memory file. An empty folder until then: CRIU wants the mount."""
_BUILD_CAPABILITIES = (
    "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip
"""What package managers need: Docker's set without raw sockets. A function's container has none at all."""
_PROCESSES = 16384
_CPU_PERIOD_US = 100_000
# A restore starts tar and gzip for every tmpfs, 5 ms each, and runc masks a folder by a tmpfs. So it masks files alone:
# folders are covered with an empty one (those of /sys; runc allows that in no other place) or cannot be written to.
_MASKED = (
    "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list",
    "/proc/timer_stats",
)  # fmt: skip
_COVERED = ("/sys/devices/virtual/powercap", "/sys/firmware")
_READ_ONLY = (
    "/proc/acpi", "/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/scsi", "/proc/sys",
    "/proc/sysrq-trigger",
)  # fmt: skip


def write_bundle(
    folder: Path, launch: Launch, root: Path, network: Path | None, cgroup: str, memory: Path, criu_options: Path
) -> None:
    """Writes `config.json`, readable by us alone: its environment holds secrets."""
    config = {
        "ociVersion": "1.0.2",
        "process": _process(launch),
        "root": {"path": str(root), "readonly": False},
        "hostname": "localhost",  # a name that resolves without an entry of its own in /etc/hosts
        "mounts": [*_system_mounts(launch), *map(_bind, [*_covers(folder), *launch.binds, _memory(memory)])],
        "annotations": {"org.criu.config": str(criu_options)},
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": _namespaces(network),
            "resources": _resources(launch),
            "seccomp": seccomp_profile(),
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READ_ONLY),
        },
    }
    handle = os.open(folder / "config.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(config, file)


def _process(launch: Launch) -> dict[str, Any]:
    capabilities = list(_BUILD_CAPABILITIES) if launch.purpose == "build" else []
    return {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": list(launch.args),
        "env": [f"{name}={value}" for name, value in launch.env.items()],
        "cwd": launch.cwd,
        "noNewPrivileges": True,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
    }


def _namespaces(network: Path | None) -> list[dict[str, str]]:
    own = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    return own if network is None else [*own, {"type": "network", "path": str(network)}]


def _resources(launch: Launch) -> dict[str, Any]:
    resources: dict[str, Any] = {"pids": {"limit": _PROCESSES}, "devices": [{"allow": False, "access": "rwm"}]}
    cpu: dict[str, int] = {}
    if launch.cpu:
        cpu["shares"] = max(2, int(launch.cpu * 1024))
    if launch.cpu_limit:
        cpu |= {"period": _CPU_PERIOD_US, "quota": max(1000, int(launch.cpu_limit * _CPU_PERIOD_US))}
    memory: dict[str, int] = {}
    if launch.memory_mib:
        memory["reservation"] = launch.memory_mib << 20
    if launch.memory_limit_mib:
        memory["limit"] = launch.memory_limit_mib << 20
    return resources | ({"cpu": cpu} if cpu else {}) | ({"memory": memory} if memory else {})


def _system_mounts(launch: Launch) -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]
    # A build's layer is to be without device files; a function's own writes may hold them.
    dev = _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"])
    return [
        _mount("/proc", "proc", safe),
        *([dev] if launch.purpose == "build" else []),
        _mount("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _mount("/dev/shm", "tmpfs", ["nosuid", "nodev", "mode=1777"]),  # noqa: S108  # the container's, not ours
        _mount("/dev/mqueue", "mqueue", safe),
        _mount("/sys", "sysfs", [*safe, "ro"]),
    ]


def _mount(destination: str, kind: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": options}


def _bind(bind: Bind) -> dict[str, Any]:
    access = "ro" if bind.read_only else "rw"
    options = ["rbind", access, "nosuid", "nodev"]
    return {"destination": bind.destination, "type": "bind", "source": str(bind.source), "options": options}


def _covers(folder: Path) -> list[Bind]:
    empty = folder / "empty"
    empty.mkdir()
    return [Bind(empty, covered, read_only=True) for covered in _COVERED if Path(covered).is_dir()]


def _memory(folder: Path) -> Bind:
    return Bind(folder, MEMORY, read_only=True)
