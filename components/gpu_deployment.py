"""One deployed version of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi.dynamic import Resource

from components.provider import ServiceProvider, Values, run
from service.changes import DEPLOYMENT, Effect
from spec import Scaling
from spec.deployment import Definition, Deployment

if TYPE_CHECKING:
    import pulumi


class GpuDeploymentProvider(ServiceProvider):
    """Deploys, scales, looks after and stops the service's app."""

    table = DEPLOYMENT
    results = ("app_id", "version", "url", "deployed_at")

    def apply(self, effect: Effect, inputs: Values) -> Values | None:
        """Deploys, or changes the scaling of what is deployed."""
        if effect is Effect.RECORD:
            return None
        if effect is Effect.AUTOSCALE:
            run("autoscale", inputs, {"app_name": inputs["app_name"], "scaling": inputs["scaling"]})
            return None
        definition = Definition.model_validate({name: inputs.get(name) for name in Definition.model_fields})
        scaling = Scaling.model_validate(inputs["scaling"])
        deployment = Deployment(definition=definition, scaling=scaling, owner=inputs["owner"])
        return run("deploy", inputs, {"rollout": inputs["rollout"]}, deployment.environment())

    def look(self, outputs: Values) -> Values | None:
        """What runs now, in place of what was deployed."""
        live = run("drift", outputs, {"app_name": outputs["app_name"], "owner": outputs["owner"]})
        return {**outputs, **live} if live else None

    def remove(self, outputs: Values) -> None:
        """Stops the app and removes its boot records."""
        run("destroy", outputs, {"app_name": outputs["app_name"], "owner": outputs["owner"]})


class GpuDeployment(Resource, module="coldsnap", name="GpuDeployment"):
    """A live version of the service's app."""

    app_id: pulumi.Output[str]
    version: pulumi.Output[int]
    url: pulumi.Output[str]
    deployed_at: pulumi.Output[str]

    def __init__(self, name: str, inputs: Values, opts: pulumi.ResourceOptions) -> None:
        unknown = dict.fromkeys(GpuDeploymentProvider.results)
        super().__init__(GpuDeploymentProvider(), name, {**inputs, **unknown}, opts)
