"""The container image of a service, built ahead of its deployment.

Services of the same recipe share one image: layers are named by what they are made of, and the second build finds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi.dynamic import Resource

from components.provider import ServiceProvider, Values, run
from service.changes import IMAGE, Effect

if TYPE_CHECKING:
    import pulumi


class CudaRuntimeImageProvider(ServiceProvider):
    """Builds the recipe."""

    table = IMAGE
    results = ("image_id", "recipe", "weights_bytes")

    def apply(self, effect: Effect, inputs: Values) -> Values | None:
        """Builds, or finds built."""
        if effect is Effect.RECORD:
            return None
        from service.recipe import Recipe  # noqa: PLC0415 - a preview's provider needs no models

        recipe = {name: inputs[name] for name in Recipe.model_fields if name in inputs}
        return run("images", inputs, {"recipe": recipe})


class CudaRuntimeImage(Resource, module="coldsnap", name="CudaRuntimeImage"):
    """A built image."""

    image_id: pulumi.Output[str]
    recipe: pulumi.Output[str]
    weights_bytes: pulumi.Output[int | None]

    def __init__(self, name: str, inputs: Values, opts: pulumi.ResourceOptions) -> None:
        unknown = dict.fromkeys(CudaRuntimeImageProvider.results)
        super().__init__(CudaRuntimeImageProvider(), name, {**inputs, **unknown}, opts)
