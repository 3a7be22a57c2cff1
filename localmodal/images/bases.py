"""What stands for an image of a registry: this machine's root, and a Python where the image is known to have one."""

from __future__ import annotations

import re

from localmodal.images.config import ImageError

_PREFIXES = ("docker.io/", "index.docker.io/", "library/")
_SYSTEMS = frozenset({"debian", "ubuntu", "buildpack-deps", "nvidia/cuda", "nvcr.io/nvidia/cuda"})
"""Images of an operating system (and CUDA, which the machine has or has not), without a Python of their own."""
_PYTHON_TAG = re.compile(r"(\d+\.\d+)(?:\.\d+)?(?:rc\d+)?(t?)(?:-|$)")
_STANDALONE_MOUNT = re.compile(r"python-build-standalone\.(?P<release>\d+)\.(?P<series>\d+\.\d+)\.\d+(?P<threads>t?)-")
"""The mount from which `add_python` copies: its name says the release and the version."""
_FIRST_WITH_PLAIN_NAME = "20241008"
"""Older standalone releases have no `bin/python`, and the client adds it (in sync with `_registry_setup_commands`)."""


def series_of(reference: str) -> str | None:
    """The Python that a registry's image has, such as 3.11; None if it has none. ImageError for an unknown image."""
    name, tag = _name_and_tag(reference)
    if name in _SYSTEMS:
        return None
    if name != "python":
        raise ImageError(
            f"FROM {reference}: images are not pulled here. This machine's root can stand for"
            f" {', '.join(sorted(_SYSTEMS))} and python:<version>; start from one of these and install what you need."
        )
    if (version := _PYTHON_TAG.match(tag)) is None:
        raise ImageError(f"FROM {reference}: say which Python, for example python:3.11-slim")
    return version[1] + version[2]


def series_of_mount(name: str) -> tuple[str, bool] | None:
    """The Python that a standalone mount holds, and whether with a plain `python`; None for any other mount."""
    if (found := _STANDALONE_MOUNT.match(name)) is None:
        return None
    return found["series"] + found["threads"], found["release"] >= _FIRST_WITH_PLAIN_NAME


def _name_and_tag(reference: str) -> tuple[str, str]:
    name, _, tag = reference.partition("@")[0].partition(":")
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name, tag
