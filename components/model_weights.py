"""Weights of a service on its Volume, verified: only where the image does not hold them.

A program's arguments may tell only late that it does; then there is no folder, and nothing to do.

Another revision is another folder, and another resource in place of this one: Pulumi makes it first, then moves the
deployment over, and at last removes the old folder, which no version needs any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi.dynamic import Resource

from components.progress import StatusColumn
from components.provider import ServiceProvider, Values, run
from service.changes import WEIGHTS, Effect

if TYPE_CHECKING:
    import pulumi

_ANNOUNCED = (
    "the old weights are removed once the new version runs: who goes back by hand to a version before it "
    "finds none (`pulumi up` with the old revision fetches them again)"
)


class ModelWeightsProvider(ServiceProvider):
    """Puts the weights on the Volume, looks after them, and removes them."""

    table = WEIGHTS
    results = ("volume", "bytes", "files", "damage")

    def price(self, old: Values, new: Values) -> str:
        """What is lost with the old folder, before it is."""
        return _ANNOUNCED if old and old.get("folder") != new.get("folder") else ""

    def apply(self, effect: Effect, inputs: Values) -> Values | None:
        """Fetches what is missing, and verifies it."""
        if effect is Effect.RECORD:
            return None
        if not inputs.get("folder"):
            return {}
        return {**run("weights", inputs, _about(inputs, "put") | {"weights": inputs["weights"]}), "damage": None}

    def look(self, outputs: Values) -> Values | None:
        """Whether all is still there: restored containers read it."""
        if not outputs.get("folder"):
            return outputs
        damage = run("weights", outputs, _about(outputs, "look"))["damage"]
        if damage:
            StatusColumn(outputs["urn"]).warn(
                f"{outputs['app_name']}: weights on the Volume {outputs['volume']}: {damage}. Containers cannot start "
                "or be restored without them; `pulumi up` puts them back."
            )
        return {**outputs, "damage": damage}

    def remove(self, outputs: Values) -> None:
        """Refuses while a live version reads them."""
        if outputs.get("folder"):
            run("weights", outputs, _about(outputs, "remove"))


def _about(values: Values, verb: str) -> Values:
    return {"verb": verb, **{name: values[name] for name in ("app_name", "owner", "folder")}}


class ModelWeights(Resource, module="coldsnap", name="ModelWeights"):
    """A folder of verified weights on a Volume."""

    folder: pulumi.Output[str | None]
    volume: pulumi.Output[str]
    bytes: pulumi.Output[int]
    files: pulumi.Output[int]
    damage: pulumi.Output[str | None]

    def __init__(self, name: str, inputs: Values, opts: pulumi.ResourceOptions) -> None:
        unknown = dict.fromkeys(ModelWeightsProvider.results)
        super().__init__(ModelWeightsProvider(), name, {**inputs, **unknown}, opts)
