"""Pure: what a service's image is made of. Its digest is the image's identity in the stack."""

from __future__ import annotations

import re
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path

from spec import ServiceSpec, Weights
from spec.frozen import Frozen

DEBIAN_SLIM = "debian-slim"
"""The base that Modal makes itself, with the Python that is asked for."""


class Recipe(Frozen):
    """An image, layer by layer, in the order in which they are built."""

    base: str
    python: str
    env: dict[str, str]
    apt: tuple[str, ...]
    pip: tuple[str, ...]
    run: tuple[str, ...]
    weights: Weights
    weights_sha256: str | None = None
    """Of a file of this machine; a pinned package needs none."""

    @classmethod
    def of(cls, service: ServiceSpec) -> Recipe:
        """The recipe of a service: what it declares, and what its engine needs."""
        engine, image, weights = service.engine, service.image, service.weights
        return cls(
            base=image.base,
            python=image.python,
            env=image.env,
            apt=tuple(dict.fromkeys((*engine.APT, *image.apt))),
            pip=_merged(engine.REQUIREMENTS, image.pip),
            run=image.run,
            weights=weights,
            weights_sha256=_sha256(Path(weights.path)) if weights.path else None,
        )

    @cached_property
    def digest(self) -> str:
        """The recipe's name."""
        return sha256(self.model_dump_json().encode()).hexdigest()[:16]


def _merged(engine: tuple[str, ...], service: tuple[str, ...]) -> tuple[str, ...]:
    """The service's own word on a package comes before the engine's."""
    chosen = {_package(requirement): requirement for requirement in (*engine, *service)}
    return tuple(chosen.values())


def _package(requirement: str) -> str:
    """A requirement's package in PyPI's normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;@]", requirement, maxsplit=1)[0]).lower()


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()
