"""Pure: what a service's image is made of. Its digest is the image's identity in the stack."""

from __future__ import annotations

import re
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from pydantic import Field

from service.local_files import digest_of
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
    """Of files of this machine: every other source names its content."""
    files: dict[str, str] = Field(default_factory=dict)
    """Files of this machine, by their place in the image."""
    files_sha256: dict[str, str] = Field(default_factory=dict)

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
            files=image.files,
            files_sha256={place: digest_of(Path(file)) for place, file in image.files.items()},
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
    """The hash of a file or folder of this machine; none where the weights come from elsewhere."""
    return digest_of(Path(weights.path)) if weights.path else None
