"""What of ours is on this machine: looked at from the outside, not through the code that cleans up."""

import subprocess
from pathlib import Path

from localmodal.home import Home

CGROUPS = Path("/sys/fs/cgroup")


def left_behind(home: Home, *, closed: bool = False) -> dict[str, list[str]]:
    """Mounts, control groups, processes and folders that belong to a home's containers; the disk itself aside.

    `closed`: the runtime is, so that its bridge and what hangs on it must be gone too.
    """
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout.splitlines()
    found = {
        "mounts": [path for path in mounts if str(home.root) in path and path != str(home.disk)],
        "loop devices": [line for line in loops if str(home.root) in line and not home.disk.is_mount()],
        "cgroups": [
            str(path) for where in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{where}coldsnap-{home.tag}-*")
        ],
        "interfaces": [path.name for path in Path("/sys/class/net").glob(f"cs*{home.tag}*")] if closed else [],
        "processes": _processes(str(home.root)),
        "folders": [str(path) for path in (home.disk / "containers").glob("*")],
        "states": [str(path) for path in (home.root / "runc").glob("*") if path.is_dir()],
    }
    return {what: things for what, things in found.items() if things}


def networks_held_open() -> set[str]:
    """By this process, other than the one that it lives in."""
    return {name for path in Path("/proc/self/fd").iterdir() if (name := _link(path)).startswith("net:[")}


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _processes(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if word in words and "pytest" not in words:
            found.append(words.replace("\0", " "))
    return found
