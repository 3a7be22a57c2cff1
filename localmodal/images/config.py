"""What an image says about the containers that run it, beside its files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from localmodal.worker.container import ContainerError

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImageError(ContainerError):
    """An image cannot be built, or no container can run it: what, where, and what to do, in words for a person."""


@dataclass(frozen=True)
class ImageConfig:
    """The state that a Dockerfile's lines leave behind."""

    env: Mapping[str, str] = field(default_factory=lambda: {"PATH": PATH, "LANG": "C.UTF-8"})
    args: Mapping[str, str] = field(default_factory=dict)
    """Build arguments (ARG): seen by the lines of this image only."""
    workdir: str = ""
    """Empty: / while building, /root in a function's container."""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    python: str = ""
    """The interpreter that `python` means, as an absolute path inside a container; empty: the image has none."""
    python_version: str = ""
    """Such as 3.11.7; empty: the image has none."""

    @property
    def python_series(self) -> str:
        """Such as 3.11."""
        return ".".join(self.python_version.split(".")[:2])

    def with_env(self, **values: str) -> ImageConfig:
        """A copy with more environment variables."""
        return replace(self, env={**self.env, **values})

    def dump(self) -> str:
        """As JSON, for the database."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """From `dump`."""
        return cls(**json.loads(text, object_hook=_with_tuples))


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
