"""One deployed version of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi.dynamic import Resource

from components.provider import ServiceProvider, Values, run
from service.backend import is_billed
from service.changes import DEPLOYMENT, Effect
from service.economics import Hardware, idle_in_words

if TYPE_CHECKING:
    import pulumi


class GpuDeploymentProvider(ServiceProvider):
    """Deploys, scales, looks after and stops the service's app."""

    table = DEPLOYMENT
    results = ("app_id", "version", "url", "deployed_at")

    def price(self, old: Values, new: Values) -> str:
        """Of a container that waits for requests."""
        del old
        hardware = Hardware.of(new) if is_billed(new["backend"]) else None
        return idle_in_words(hardware) if hardware else ""

    def apply(self, effect: Effect, inputs: Values) -> Values | None:
        """Deploys, or changes the scaling of what is deployed."""
        if effect is Effect.RECORD:
            return None
        if effect is Effect.AUTOSCALE:
            run("autoscale", inputs, {"app_name": inputs["app_name"], "scaling": inputs["scaling"]})
            return None
        return run("deploy", inputs, {"rollout": inputs["rollout"]}, _told(inputs))

    def look(self, outputs: Values) -> Values | None:
        """What runs now, in place of what was deployed."""
        live = run("drift", outputs, {"app_name": outputs["app_name"], "owner": outputs["owner"]})
        return {**outputs, **live} if live else None

    def remove(self, outputs: Values) -> None:
        """Stops the app and removes its boot records."""
        run("destroy", outputs, {"app_name": outputs["app_name"], "owner": outputs["owner"]})


def _told(inputs: Values) -> dict[str, str]:
    """The variables of the process that deploys."""
    from spec.deployment import Definition, Deployment  # noqa: PLC0415 - a preview's provider needs no models

    definition = {name: inputs.get(name) for name in Definition.model_fields}
    values = {"definition": definition, "scaling": inputs["scaling"], "owner": inputs["owner"]}
    return Deployment.model_validate(values).environment()


class GpuDeployment(Resource, module="coldsnap", name="GpuDeployment"):
    """A live version of the service's app."""

    app_id: pulumi.Output[str]
    version: pulumi.Output[int]
    url: pulumi.Output[str]
    deployed_at: pulumi.Output[str]

    def __init__(self, name: str, inputs: Values, opts: pulumi.ResourceOptions) -> None:
        unknown = dict.fromkeys(GpuDeploymentProvider.results)
        super().__init__(GpuDeploymentProvider(), name, {**inputs, **unknown}, opts)
