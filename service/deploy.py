"""Operation: deploys the version that COLDSNAP_SPEC describes, or adopts it if it is live already.

A deploy that was cut off before its answer has left an app behind that Pulumi knows nothing of: the next one finds it
by its owner and its version, and goes on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal.exception import NotFoundError

from engines.app import app
from service import live
from service.autoscale import override
from service.failure import Failure
from service.process import serve
from spec.deployment import Deployment

if TYPE_CHECKING:
    from service.progress import Progress
    from spec.deployment import Definition


def deploy(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The live version: app id, version, url, when it was deployed."""
    deployment = Deployment.from_environment()
    definition = deployment.definition
    found = live.find(definition.app_name)
    live.refuse_strangers(found, definition.app_name, deployment.owner)
    if found is not None and found.definition == definition.digest:
        progress.status(f"version {found.version} is this one already")
        override(definition.app_name, deployment.scaling)
    else:
        progress.status("deploying")
        _deploy(definition, request["rollout"])
        found = live.find(definition.app_name)
    assert found is not None
    return {**found.outputs(), "url": live.url(definition.app_name)}


def _deploy(definition: Definition, rollout: str) -> None:
    try:
        app.deploy(tag=definition.digest, strategy=rollout)
    except NotFoundError as error:
        secret = definition.api_key_secret
        if secret is None or secret not in str(error):
            raise
        raise Failure(
            f"{definition.service}: api_key_secret: {error} Make it, or correct the name: "
            f"modal secret create {secret} API_KEY=..."
        ) from None


if __name__ == "__main__":
    serve(deploy)
