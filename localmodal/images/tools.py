"""Images of ours that builds and containers need: the client's packages, and tools that others take from a registry.

Each is an image like any other: built once, by lines of a Dockerfile, and reused.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import metadata
from importlib.resources import files

from modal_proto import api_pb2

from localmodal.images.config import ImageError

CLIENT_DEPENDENCIES = "/__modal/deps"
"""In sync with REMOTE_PACKAGES_PATH of modal/mount.py."""
_SITE_CUSTOMIZE = b"""import os, sys
sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "__modal", "deps"))
"""
"""As the service does it: the client's dependencies come last, so that whatever the user installed comes first."""
_UV = re.compile(r"ghcr\.io/astral-sh/uv(?::(?P<version>[\d.]+|latest))?$")
_CERTIFI = re.compile(r"^certifi==\S+", re.MULTILINE)
"""A list of authorities, newer than some mirrors of PyPI are: the newest that there is serves as well."""
_PIP_INTO = "RUN python -m pip install --no-deps --target"


@cache  # every start of a container asks for it
def client_image(python_series: str, builder_version: str) -> api_pb2.Image:
    """The client of this process's version with what it needs, for one series of Python: in /pkg and /__modal/deps."""
    if not python_series:
        raise ImageError("the image has no Python, which functions need: give from_registry an `add_python=`")
    requirements = files("modal").joinpath(f"builder/{builder_version}.txt").read_text(encoding="ascii")
    requirements = _CERTIFI.sub("certifi", requirements)
    packages = " ".join(f"{name}=={metadata.version(name)}" for name in ("modal", "synchronicity"))
    return api_pb2.Image(
        dockerfile_commands=[
            f"FROM python:{python_series}",
            f"{_PIP_INTO} /pkg {packages}",
            "COPY /requirements.txt /__modal/requirements.txt",
            f"{_PIP_INTO} {CLIENT_DEPENDENCIES} -r /__modal/requirements.txt",
            "COPY /sitecustomize.py /pkg/sitecustomize.py",
        ],
        context_files=[
            api_pb2.ImageContextFile(filename="/requirements.txt", data=requirements.encode()),
            api_pb2.ImageContextFile(filename="/sitecustomize.py", data=_SITE_CUSTOMIZE),
        ],
    )


def tool_image(reference: str) -> tuple[api_pb2.Image, str]:
    """The image that stands for one of a registry in `COPY --from`, and the folder in it that stands for its root."""
    if (uv := _UV.match(reference)) is None:
        raise ImageError(f"--from={reference}: images are not pulled here, and only ghcr.io/astral-sh/uv can be made")
    version = "" if uv["version"] in {None, "latest"} else f"=={uv['version']}"
    series = f"{sys.version_info.major}.{sys.version_info.minor}"
    lines = [f"FROM python:{series}", f"{_PIP_INTO} /usr/local/tool uv{version}"]
    return api_pb2.Image(dockerfile_commands=lines), "usr/local/tool/bin"
