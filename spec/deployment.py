"""What one deploy is told, and what of it the container is told."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar

from spec.engines import Engine
from spec.frozen import Frozen
from spec.service import Name, Scaling, Snapshot

if TYPE_CHECKING:
    from spec.service import ServiceSpec

DIGEST_LENGTH = 32
"""Hex digits of a definition's digest: it is the deploy's tag, for which Modal allows 50 characters."""


def weights_volume(app_name: str) -> str:
    """The service's Volume of weights: a folder for each revision that a version needs."""
    return f"{app_name}-weights"


def caches_volume(app_name: str) -> str:
    """The service's Volume of caches; it goes with the service."""
    return f"{app_name}-caches"


WEIGHTS_TAG = "coldsnap-weights"
"""The app's tag that says which folder of its Volume the live version reads: nobody may remove that one."""

OWNER_TAG = "coldsnap-owner"
"""The app's tag that says which stack it belongs to: set when the app is made, so an interrupted deploy is no stray."""


class Definition(Frozen):
    """One version of a service: all that its containers depend on and are told, and nothing else.

    A change of any field here is a new version with a new snapshot. What changes no version (scaling numbers, how the
    snapshot is verified, the recipe behind the image's id) has no place here.
    """

    service: Name
    app_name: str
    image_id: str
    code_digest: str
    engine: Engine
    weights_file: str
    """Name of the weights' file (or folder) under the folder of weights: the image's, or one on the Volume."""
    weights_folder: str | None = None
    """The folder on the service's Volume of weights; none: the image holds them."""
    keeps_caches: bool = False
    """Whether what libraries compile at run time is kept on a Volume of the service's own."""
    prompt_tokens: tuple[int, ...]
    concurrency: int
    gpu: str | tuple[str, ...]
    cpu: float | None
    memory: int | None
    api_key_secret: str | None
    snapshot: Snapshot

    @property
    def weights_volume(self) -> str | None:
        """The Volume that holds the weights; none: the image holds them."""
        return weights_volume(self.app_name) if self.weights_folder else None

    @property
    def caches_volume(self) -> str | None:
        """The Volume that keeps what libraries compile; none: nothing is kept."""
        return caches_volume(self.app_name) if self.keeps_caches else None

    @property
    def digest(self) -> str:
        """The version's name: the deploy's tag, and `definition` in every boot record."""
        return sha256(self.model_dump_json().encode()).hexdigest()[:DIGEST_LENGTH]


class Deployment(Frozen):
    """What COLDSNAP_SPEC carries: the definition, and the scaling numbers that only the deploy itself uses."""

    VARIABLE: ClassVar[str] = "COLDSNAP_SPEC"

    definition: Definition
    scaling: Scaling = Scaling()
    owner: str = ""
    """The stack that the app belongs to; the container has no need of it."""

    @property
    def tags(self) -> dict[str, str]:
        """The tags that the app is made with."""
        named = {OWNER_TAG: self.owner, WEIGHTS_TAG: self.definition.weights_folder}
        return {name: value for name, value in named.items() if value}

    @classmethod
    def of(
        cls, service: ServiceSpec, *, app_name: str, image_id: str, code_digest: str, weights_folder: str | None = None
    ) -> Deployment:
        """The deployment of a service whose image is built, and whose weights are on their Volume if not in it."""
        definition = Definition(
            service=service.name,
            app_name=app_name,
            image_id=image_id,
            code_digest=code_digest,
            engine=service.engine,
            weights_file=service.weights.file,
            weights_folder=weights_folder,
            keeps_caches=service.keeps_caches,
            prompt_tokens=service.warmup.prompt_tokens,
            concurrency=service.scaling.concurrency,
            gpu=service.gpu,
            cpu=service.cpu,
            memory=service.memory,
            api_key_secret=service.api_key_secret,
            snapshot=service.snapshot,
        )
        return cls(definition=definition, scaling=service.scaling)

    @classmethod
    def from_environment(cls) -> Deployment:
        """The deployment that this process is told, on the deploying side and in the container alike."""
        text = os.environ.get(cls.VARIABLE)
        if text is None:
            message = f"{cls.VARIABLE} is not set: engines.app describes the service which that variable names"
            raise RuntimeError(message)
        return cls.model_validate_json(text)

    def environment(self) -> dict[str, str]:
        """The variables of the process that deploys."""
        return {self.VARIABLE: self.model_dump_json()}

    def container_environment(self) -> dict[str, str]:
        """The variables of the container: the definition alone, so that a new scaling number is no new container."""
        return self.definition.engine.ENVIRONMENT | Deployment(definition=self.definition).environment()
