"""What this machine lets us do, found out by trying it: whether containers run, and whether CRIU can snapshot them.

The trial takes a second, so what it showed is kept until the next boot, or until another user or program is at it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localmodal.home import Home
from localmodal.worker.container import Capabilities, ContainerError, Launch, Missing
from localmodal.worker.networks.network import NetworkPool
from localmodal.worker.oci.cgroup import may_limit
from localmodal.worker.oci.runc import RuncRuntime

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

OLDEST_CRIU = (4, 2)
"""Older ones cannot dump internet sockets on today's kernels."""
_CAP_SYS_ADMIN = 21
_CONTAINERS = "containers with layers, limits and isolation"
_SNAPSHOTS = "memory snapshots"
_ASSUMED = Capabilities(containers=True, snapshots=False)
_CROWDED = (
    "cgroup v2 forbids it while processes are in the group above: in a container, first move them down, "
    "mkdir /sys/fs/cgroup/init; for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo $p > "
    "/sys/fs/cgroup/init/cgroup.procs; done"
)
_PRIVILEGE = "run as root on the machine itself, or in a container that was started with --privileged"


@dataclass(frozen=True)
class Tools:
    """Programs beside the system or in it; None: there is none that serves."""

    runc: Path | None
    criu: Path | None

    @property
    def path(self) -> str:
        """As a value for PATH: runc looks for a program called `criu` there, and must not find an old one first."""
        folders = [str(tool.parent) for tool in (self.criu, self.runc) if tool]
        return os.pathsep.join([*folders, *_search_path()])


async def find_tools(home: Home) -> Tools:
    """Looks on the PATH and in our own folder of tools."""
    folders = [*_search_path(), str(home.tools / "criu")]
    runc = shutil.which("runc", path=os.pathsep.join(folders))
    found = [shutil.which("criu", path=folder) for folder in dict.fromkeys(folders)]
    criu = [path for path in found if path and await _criu_version(path) >= OLDEST_CRIU]
    return Tools(Path(runc) if runc else None, Path(criu[0]) if criu else None)


async def capabilities_of_this_machine(home: Home, tools: Tools) -> Capabilities:
    """What was found out since the last boot, else what a trial shows now."""
    note = home.root / "capabilities.json"
    circumstances = _circumstances(tools)
    if (known := _remembered(note, circumstances)) is not None:
        return known
    found = await _find_out(home, tools)
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    note.write_text(json.dumps({"circumstances": circumstances, "found": asdict(found)}), encoding="utf-8")
    return found


async def _find_out(home: Home, tools: Tools) -> Capabilities:
    for_containers = _missing_for_containers(tools) or await _missing_in_a_trial(home, tools)
    missing = (*for_containers, *_missing_for_snapshots(tools))
    return Capabilities(containers=not for_containers, snapshots=not missing, missing=missing)


def _missing_for_containers(tools: Tools) -> list[Missing]:
    found: list[tuple[bool, str, str]] = [
        (os.geteuid() == 0, "root", "run as root"),
        (_may_mount(), "the right to mount (CAP_SYS_ADMIN)", _PRIVILEGE),
        (tools.runc is not None, "runc", "install it: apt-get install runc, or your system's package of that name"),
        (_on_path("mkfs.ext4"), "mkfs.ext4", "install it: apt-get install e2fsprogs"),
        (Path("/dev/loop-control").exists(), "loop devices (/dev/loop-control)", f"modprobe loop; {_PRIVILEGE}"),
        ("overlay" in Path("/proc/filesystems").read_text(encoding="ascii").split(), "overlayfs", "modprobe overlay"),
        (not _may_mount() or may_limit(), "control groups that can limit CPU, memory and processes", _CROWDED),
    ]
    return [Missing(what, _CONTAINERS, remedy) for there, what, remedy in found if not there]


async def _missing_in_a_trial(home: Home, tools: Tools) -> list[Missing]:
    """Runs a real container in a home of its own."""
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in _trials_cut_off(home):
        await _end_trial(left, _trial_runtime(left, tools))
    folder = home.root / f"trial-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    runtime = _trial_runtime(folder, tools)
    try:
        await runtime.open()
        await _run_true(runtime)
    except (ContainerError, OSError) as error:
        return [Missing(f"a container that runs ({error})", _CONTAINERS, _PRIVILEGE)]
    finally:
        await _end_trial(folder, runtime)
    return []


def _trials_cut_off(home: Home) -> list[Path]:
    """Those of processes that are gone."""
    return [path for path in home.root.glob("trial-*") if not Path("/proc", path.name.split("-")[1]).exists()]


def _trial_runtime(folder: Path, tools: Tools) -> RuncRuntime:
    return RuncRuntime(Home(folder), NetworkPool(1, _serve_nothing), _ASSUMED, tools.path)


async def _end_trial(folder: Path, runtime: RuncRuntime) -> None:
    await runtime.close()
    shutil.rmtree(folder, ignore_errors=True)


async def _run_true(runtime: RuncRuntime) -> None:
    output: list[bytes] = []
    launch = Launch(
        id="trial",
        args=("/bin/sh", "-c", "exec true"),
        env={"PATH": "/usr/bin:/bin"},
        cwd="/",
        layers=(),
        output=lambda _, chunk: output.append(chunk),
    )
    end = await (await runtime.run(launch)).wait()
    if end.code:
        raise ContainerError(f"exit code {end.code}: {b''.join(output).decode(errors='replace').strip()}")


def _missing_for_snapshots(tools: Tools) -> list[Missing]:
    oldest = ".".join(map(str, OLDEST_CRIU))
    if tools.criu is None:
        remedy = "run `make setup`, which installs it beside the system, or install your system's package"
        return [Missing(f"CRIU {oldest} or newer", _SNAPSHOTS, remedy)]
    return []


def _may_mount() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = re.search(r"CapEff:\s*([0-9a-f]+)", status)
    return bool(effective and int(effective[1], 16) >> _CAP_SYS_ADMIN & 1)


def _on_path(program: str) -> bool:
    return shutil.which(program, path=os.pathsep.join(_search_path())) is not None


def _search_path() -> list[str]:
    """A daemon's PATH may lack the folders where system programs lie."""
    return [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/sbin", "/sbin", "/usr/local/sbin"]


async def _criu_version(program: str) -> tuple[int, ...]:
    try:
        process = await asyncio.create_subprocess_exec(program, "--version", stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
    except OSError:
        return ()
    output, _ = await process.communicate()
    found = re.search(rb"Version: (\d+)\.(\d+)", output)
    return tuple(map(int, found.groups())) if found else ()


def _circumstances(tools: Tools) -> list[str]:
    boot = Path("/proc/sys/kernel/random/boot_id")
    programs = [f"{tool}:{tool.stat().st_mtime_ns}" for tool in (tools.runc, tools.criu) if tool]
    return [boot.read_text(encoding="ascii").strip() if boot.exists() else "", str(os.geteuid()), *programs]


def _remembered(note: Path, circumstances: list[str]) -> Capabilities | None:
    """Only what works is believed: whoever was told what to do wants to see that it helped."""
    try:
        written = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = written["found"]
    if written["circumstances"] != circumstances or found["missing"]:
        return None
    return Capabilities(found["containers"], found["snapshots"])


async def _serve_nothing(listener: socket.socket) -> Callable[[], Awaitable[None]]:
    async def stop() -> None:
        listener.close()

    return stop
