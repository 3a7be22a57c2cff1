"""Pure: what a service's image is made of. Its digest is the image's identity in the stack."""

from __future__ import annotations

import re
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path

from service.placement import placement
from spec import ServiceSpec, Weights
from spec.frozen import Frozen
from spec.gpu import asks_for_gpu
from spec.service import DEBIAN_SLIM

__all__ = ["DEBIAN_SLIM", "Recipe", "package"]


class Recipe(Frozen):
    """An image, layer by layer, in the order in which they are built."""

    base: str
    python: str
    env: dict[str, str]
    apt: tuple[str, ...]
    pip: tuple[str, ...]
    extra_index: str | None = None
    run: tuple[str, ...]
    weights: Weights | None = None
    """What the image holds of them; none: they are on a Volume."""
    weights_sha256: str | None = None
    """Of a file of this machine: every other source names its content."""

    @classmethod
    def of(cls, service: ServiceSpec) -> Recipe:
        """The recipe of a service: what it declares, and what its engine needs."""
        engine, image = service.engine, service.image
        baked = service.weights if placement(service).place == "image" else None
        return cls(
            base=service.base,
            python=image.python,
            env=image.env,
            apt=tuple(dict.fromkeys((*engine.APT, *image.apt))),
            pip=_merged(engine.REQUIREMENTS, image.pip),
            extra_index=image.extra_index or (engine.CUDA_INDEX if asks_for_gpu(service.gpu) else None),
            run=image.run,
            weights=baked.as_source() if baked else None,
            weights_sha256=sha256_of(baked) if baked else None,
        )

    @cached_property
    def digest(self) -> str:
        """The recipe's name."""
        return sha256(self.model_dump_json().encode()).hexdigest()[:16]


def _merged(engine: tuple[str, ...], service: tuple[str, ...]) -> tuple[str, ...]:
    """The service's own word on a package comes before the engine's."""
    chosen = {package(requirement): requirement for requirement in (*engine, *service)}
    return tuple(chosen.values())


def package(requirement: str) -> str:
    """A requirement's package in PyPI's normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;@]", requirement, maxsplit=1)[0]).lower()


def sha256_of(weights: Weights) -> str | None:
    """The hash of a file of this machine; none where the weights come from elsewhere."""
    if weights.path is None:
        return None
    with Path(weights.path).open("rb") as content:
        return file_digest(content, "sha256").hexdigest()
