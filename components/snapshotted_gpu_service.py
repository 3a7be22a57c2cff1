"""One GPU model service: its image, its deployed version, and the proved snapshot of that version."""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import cache, partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.resource import create_urn

from components.arguments import ServiceArgs, values_of
from components.backend import ensure_up
from components.checked import declared_service
from components.cuda_runtime_image import CudaRuntimeImage
from components.gpu_deployment import GpuDeployment
from components.model_weights import ModelWeights
from components.snapshot_warmup import SnapshotWarmup
from service.backend import is_billed
from service.code import code_digest
from service.economics import Hardware, Measured, measured_price, standing_price
from service.placement import Placement, placement
from service.recipe import Recipe, sha256_of
from service.sizes import weights_bytes
from spec import ServiceSpec
from spec.deployment import Definition, Deployment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LONGEST_TAG = 63
"""Characters that Modal allows in an app's tag."""
_STANDING = ("idle_minute", "hardware", "source", "seen_on")
_MEASURED = ("cold_start", "restored_start", "snapshot")
"""Parts of a service's price, which outputs show one by one; in sync with service/economics.py."""


class SnapshottedGpuService(pulumi.ComponentResource):
    """A service that scales to zero and starts from a memory snapshot which is proved to restore."""

    url: pulumi.Output[str]
    outputs: dict[str, Any]
    """What `coldsnap status` reads from the stack's exports."""

    def __init__(
        self,
        name: str,
        service: ServiceSpec | ServiceArgs,
        *,
        backend: str | None = None,
        environment: str = "",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("coldsnap:index:SnapshottedGpuService", name, None, opts)
        self._name = name
        self._backend = backend or pulumi.Config("coldsnap").get("backend") or "local"
        self._environment = environment
        ensure_up(self._backend)
        spec = self._spec(service)
        image = self._image(spec)
        folder = spec.apply(_folder)
        weights = self._weights(spec, folder) if self._may_need_a_volume(service) else None
        definition = pulumi.Output.all(spec, folder, image.image_id).apply(lambda known: _definition(*known).digest)
        deployment = self._deployment(spec, folder, image, definition, weights)
        warmup = self._warmup(spec, deployment, definition)
        self.url = deployment.url
        self.outputs = _outputs(name, image, deployment, warmup)
        self.outputs["weights"] = _weights_output(spec, image, weights)
        if is_billed(self._backend):
            self.outputs["price"] = _price(spec, warmup)
        self.register_outputs(self.outputs)

    def _spec(self, service: ServiceSpec | ServiceArgs) -> pulumi.Output[ServiceSpec]:
        """Arguments with another resource's output in them are validated when that is known."""
        if isinstance(service, ServiceSpec):
            return pulumi.Output.from_input(service)
        values = pulumi.Output.from_input(values_of(service))
        return values.apply(lambda known: declared_service(known, self._name, self._backend))

    def _image(self, spec: pulumi.Output[ServiceSpec]) -> CudaRuntimeImage:
        recipe = _layers(spec.apply(_recipe), Recipe.model_fields)
        inputs = {**self._common(CudaRuntimeImage, self._name), **recipe}
        return CudaRuntimeImage(self._name, inputs, self._child())

    def _weights(self, spec: pulumi.Output[ServiceSpec], folder: pulumi.Output[str | None]) -> ModelWeights:
        inputs = {
            **self._common(ModelWeights, self._name),
            "app_name": spec.apply(lambda known: known.name),
            "owner": _owner(),
            "weights": spec.apply(lambda known: _dumped(known.weights)),
            "folder": folder,
        }
        return ModelWeights(self._name, inputs, self._child())

    @staticmethod
    def _may_need_a_volume(service: ServiceSpec | ServiceArgs) -> bool:
        """A resource is declared or not: where the service is not known by now, it is, and may have nothing to do."""
        return not isinstance(service, ServiceSpec) or placement(service).place == "volume"

    def _deployment(
        self,
        spec: pulumi.Output[ServiceSpec],
        folder: pulumi.Output[str | None],
        image: CudaRuntimeImage,
        definition: pulumi.Output[str],
        weights: ModelWeights | None,
    ) -> GpuDeployment:
        described = pulumi.Output.all(spec, folder).apply(lambda known: _dumped(_definition(known[0], known[1], "")))
        inputs = {
            **self._common(GpuDeployment, self._name),
            **_layers(described, Definition.model_fields),
            **_layers(spec.apply(_live_settings), ("scaling", "rollout")),
            "image_id": image.image_id,
            "definition": definition,
            "owner": _owner(),
        }
        return GpuDeployment(self._name, inputs, self._child(depends_on=weights))

    def _warmup(
        self, spec: pulumi.Output[ServiceSpec], deployment: GpuDeployment, definition: pulumi.Output[str]
    ) -> SnapshotWarmup:
        settings = ("restores_in_a_row", "max_starts", "timeout")
        inputs = {
            **self._common(SnapshotWarmup, self._name),
            **_layers(spec.apply(lambda known: _dumped(known.warmup)), settings),
            **_layers(spec.apply(_live_settings), ("scaling",)),
            **_layers(spec.apply(_dumped), ("gpu", "cpu", "memory")),
            "app_name": spec.apply(lambda known: known.name),
            "snapshot": spec.apply(lambda known: known.snapshot.enabled),
            "definition": definition,
            "app_id": deployment.app_id,
            "version": deployment.version,
        }
        return SnapshotWarmup(self._name, inputs, self._child())

    def _common(self, kind: type[pulumi.dynamic.Resource], name: str) -> dict[str, Any]:
        """What every resource is told: where it is, and its own URN, which Pulumi does not tell a provider."""
        type_ = f"pulumi-python:{kind._resource_type_name}"  # noqa: SLF001 - the SDK makes it, and shows it nowhere else
        return {
            "backend": self._backend,
            "environment": self._environment,
            "urn": _without_dependencies(create_urn(name, type_, parent=self)),
        }

    def _child(self, depends_on: pulumi.Resource | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=depends_on)


def _owner() -> str:
    return owner(pulumi.get_project(), pulumi.get_stack())


def owner(project: str, stack: str) -> str:
    """The mark of a stack's apps, in the characters that a tag may have."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", f"{project}.{stack}")
    if len(name) <= _LONGEST_TAG:
        return name
    digest = sha256(name.encode()).hexdigest()[:12]
    return f"{name[: _LONGEST_TAG - len(digest) - 1]}-{digest}"


def _recipe(spec: ServiceSpec) -> dict[str, Any]:
    """The image's recipe; RunError if there are no weights to take the hash of, which a silenced rule has let pass."""
    with _unreadable_weights(spec):
        return _dumped(Recipe.of(spec))


def _folder(spec: ServiceSpec) -> str | None:
    """The folder of the weights on their Volume; none: they are in the image."""
    if placement(spec).place == "image":
        return None
    with _unreadable_weights(spec):
        return spec.weights.folder(sha256_of(spec.weights))


@contextmanager
def _unreadable_weights(spec: ServiceSpec) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise pulumi.RunError(f"{spec.name}: weights.path: the file cannot be read: {error}") from None


def _definition(spec: ServiceSpec, folder: str | None, image_id: str) -> Definition:
    return Deployment.of(
        spec, app_name=spec.name, image_id=image_id, code_digest=_code(), weights_folder=folder
    ).definition


def _live_settings(spec: ServiceSpec) -> dict[str, Any]:
    """What can be changed without a new version."""
    scaling = spec.scaling.model_dump(mode="json", exclude={"concurrency"})
    return {"scaling": scaling, "rollout": spec.rollout}


@cache
def _code() -> str:
    return code_digest()


def _dumped(model: Any) -> dict[str, Any]:
    return dict(model.model_dump(mode="json", exclude_none=True))


def _without_dependencies(urn: pulumi.Output[str]) -> pulumi.Output[str]:
    """A child's URN depends on its parent, which would wait for its children: the text alone depends on nothing."""
    return pulumi.Output(set(), urn.future(), urn.is_known())  # type: ignore[arg-type]  # None only while unknown


def _layers(values: pulumi.Output[dict[str, Any]], names: Iterable[str]) -> Mapping[str, pulumi.Output[Any]]:
    """One each: Pulumi's own diff then names what has changed, and a preview shows what it knows."""
    return {name: values.apply(partial(_value, name)) for name in names}


def _value(name: str, values: dict[str, Any]) -> Any:
    return values.get(name)


def _outputs(name: str, image: CudaRuntimeImage, deployment: GpuDeployment, warmup: SnapshotWarmup) -> dict[str, Any]:
    return {
        "service": pulumi.Output.from_input(name),
        "url": deployment.url,
        "app_id": deployment.app_id,
        "version": deployment.version,
        "image_id": image.image_id,
        "recipe": image.recipe,
        "code_digest": pulumi.Output.from_input(_code()),
        "snapshot": warmup.state,
        "cold": warmup.cold,
        "restored": warmup.restored,
        "speedup": warmup.speedup,
        "restores_in_a_row": warmup.restores,
        "containers_started": warmup.containers_started,
    }


def _hardware(spec: ServiceSpec) -> Hardware:
    hardware = Hardware.of(spec.model_dump())
    assert hardware, "a service that is validated knows what it asks for"
    return hardware


def _price(spec: pulumi.Output[ServiceSpec], warmup: SnapshotWarmup) -> dict[str, pulumi.Output[Any]]:
    """A value each, so that a preview shows those that it knows."""
    hardware = spec.apply(_hardware)
    figures = {"cold": warmup.cold, "restored": warmup.restored, "container_seconds": warmup.container_seconds}
    measured = pulumi.Output.all(hardware, figures).apply(lambda both: measured_price(both[0], Measured.of(both[1])))
    return {**_layers(hardware.apply(standing_price), _STANDING), **_layers(measured, _MEASURED)}


def _weights_output(
    spec: pulumi.Output[ServiceSpec], image: CudaRuntimeImage, weights: ModelWeights | None
) -> dict[str, pulumi.Output[Any]]:
    """Where the weights are and why, and their size: as they were fetched, else as it was known before."""
    placed = _layers(spec.apply(lambda known: placement(known)._asdict()), Placement._fields)
    if weights is None:
        sizes = pulumi.Output.all(image.weights_bytes, spec.apply(weights_bytes))
        return {**placed, "bytes": sizes.apply(lambda both: both[0] or both[1])}
    told = {"volume": weights.volume, "folder": weights.folder, "bytes": weights.bytes, "files": weights.files}
    return {**placed, **told}
