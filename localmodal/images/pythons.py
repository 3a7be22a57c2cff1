"""The Pythons of this machine, from which an image gets the one it asks for."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from localmodal.images.config import ImageError

RELATIVE_RUN_PATH = b"$ORIGIN/../lib"
_NAME = re.compile(r"python3(\.\d+t?)?$")
_SIGHT = """
import json, os, sys, sysconfig
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "prefix": sys.base_prefix,
    "version": sys.version.split()[0] + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""),
}))
"""


@dataclass(frozen=True)
class Python:
    """A Python installation, not a virtual environment."""

    executable: Path
    prefix: Path
    version: str
    """Such as 3.11.7, or 3.14.2t for a free-threaded one."""

    @property
    def series(self) -> str:
        """Such as 3.11 or 3.14t: what its library folder is called after."""
        major, minor, *_ = self.version.split(".")
        return f"{major}.{minor}{'t' if self.version.endswith('t') else ''}"

    @property
    def in_every_container(self) -> bool:
        """It lies where no container's view of this machine's root has a mask or a layer of ours."""
        return self.prefix == Path("/usr")

    @property
    def run_path(self) -> bytes:
        """Where its executable was told, when it was linked, to look for its shared library."""
        return str(self.prefix / "lib").encode()

    @property
    def movable(self) -> bool:
        """A copy of it finds its own shared library: `RELATIVE_RUN_PATH` is in its executable, or fits in there."""
        return len(self.run_path) >= len(RELATIVE_RUN_PATH) or RELATIVE_RUN_PATH in self.executable.read_bytes()

    @property
    def rank(self) -> tuple[int, ...]:
        """The higher, the newer."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version))


async def python_of_series(series: str) -> Python:
    """The newest Python of a series such as 3.11; ImageError names what this machine has if there is none."""
    found = await pythons()
    usable = [python for python in found if python.in_every_container or python.movable]
    if fitting := [python for python in usable if python.series == series]:
        return max(fitting, key=lambda python: python.rank)
    have = ", ".join(sorted({python.series for python in usable}, key=lambda name: int(name.strip("t").split(".")[1])))
    raise ImageError(
        f"this machine has no Python {series} for the image; it has {have}. Ask for one of these, or install it"
        f" (a package python{series}, pyenv, or uv)."
    )


async def pythons() -> list[Python]:
    """Every Python 3 that can be found: the daemon's own, on the PATH, of pyenv and uv, and in the usual folders."""
    sights = [await _look(path) for path in _candidates()]
    return list({python.prefix: python for python in sights if python}.values())


def _candidates() -> list[Path]:
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or home / ".local/share/uv/python")
    folders = [Path(folder) for folder in os.get_exec_path() if Path(folder).name != "shims"]
    folders += [
        version / "bin" for versions in (pyenv / "versions", uv, Path("/opt")) for version in _entries(versions)
    ]
    folders += [Path("/usr/bin"), Path("/usr/local/bin")]
    found = [path for folder in folders for path in _entries(folder) if _NAME.match(path.name) and _runs(path)]
    return list({os.path.realpath(path): path for path in (Path(sys.executable), *found)}.values())


def _entries(folder: Path) -> list[Path]:
    """Nothing of a folder that is not there or that we may not look into."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _runs(path: Path) -> bool:
    return os.access(path, os.X_OK)


async def _look(path: Path) -> Python | None:
    try:
        process = await asyncio.create_subprocess_exec(
            str(path), "-I", "-c", _SIGHT,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return None
    output, _ = await process.communicate()
    if process.returncode:
        return None
    sight = json.loads(output)
    return Python(Path(sight["executable"]), Path(sight["prefix"]), sight["version"])
