"""What pip, uv and apt of a build share with this machine: caches, registries, certificates, proxies.

A build reaches the same registries as the machine does, and a wheel built once is built once.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localmodal.worker.container import Bind

if TYPE_CHECKING:
    from collections.abc import Mapping

_PASSED_ON = re.compile(
    r"(PIP|UV|SSL)_\w+|\w+_proxy|(REQUESTS|CURL|AWS|GIT)_CA_\w+|GIT_SSL_\w+|NODE_EXTRA_CA_CERTS|CARGO_HTTP_CAINFO",
    re.IGNORECASE,
)
_ABOUT_THIS_MACHINE = re.compile(
    r"PIP_(TARGET|PREFIX|ROOT|USER|PYTHON|REQUIRE_VIRTUALENV|CACHE_DIR|NO_CACHE_DIR|LOG|SRC)"
    r"|UV_(PYTHON\w*|SYSTEM_PYTHON|PROJECT\w*|TOOL\w*|CACHE_DIR|NO_CACHE|INSTALL\w*)"
)
"""Where to install and where to log is the image's own affair."""
_CONFIGURATIONS = (
    ("PIP_CONFIG_FILE", (".config/pip/pip.conf", ".pip/pip.conf")),
    ("UV_CONFIG_FILE", (".config/uv/uv.toml",)),
)
"""Files in the home folder, which a container does not see."""
_SEEN_BELOW = "/run/coldsnap"


@dataclass(frozen=True)
class Installers:
    """Environment and files for the commands of a build."""

    env: Mapping[str, str]
    binds: tuple[Bind, ...] = ()
    """In a container: where it sees the folders and files."""
    folders: tuple[Path, ...] = ()
    """As a plain process: the folders that it may write to."""


def for_processes(cache: Path) -> Installers:
    """For builds that run as plain processes of this machine."""
    return Installers(_configuration() | _caches(cache), folders=_folders(cache))


def for_containers(cache: Path) -> Installers:
    """For builds in containers: the caches, and files named by variables that lie in a home folder, are bound in."""
    env = _configuration()
    hidden = {name: Path(value) for name, value in env.items() if _in_a_home(value)}
    seen = {name: f"{_SEEN_BELOW}/{name}" for name in hidden}
    binds = [Bind(path, seen[name], read_only=True) for name, path in hidden.items()]
    binds += [Bind(folder, f"{_SEEN_BELOW}/{folder.name}") for folder in _folders(cache)]
    return Installers(env | seen | _caches(Path(_SEEN_BELOW)), tuple(binds))


def _folders(cache: Path) -> tuple[Path, ...]:
    folders = cache / "pip", cache / "uv"
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def _caches(seen_as: Path) -> dict[str, str]:
    return {
        "PIP_CACHE_DIR": str(seen_as / "pip"),
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_CACHE_DIR": str(seen_as / "uv"),
        "UV_LINK_MODE": "copy",  # the cache lies on another disk than the layers
        "UV_PYTHON_DOWNLOADS": "never",
    }


def _configuration() -> dict[str, str]:
    env = {
        name: value
        for name, value in os.environ.items()
        if _PASSED_ON.fullmatch(name) and not _ABOUT_THIS_MACHINE.fullmatch(name)
    }
    for name, places in _CONFIGURATIONS:
        for path in (Path.home() / place for place in places):
            if name not in env and path.is_file():
                env[name] = str(path)
    return env


def _in_a_home(value: str) -> bool:
    path = Path(value)
    homes = (Path.home(), Path("/home"), Path("/root"))
    return path.is_absolute() and path.exists() and any(path.is_relative_to(home) for home in homes)
