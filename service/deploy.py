"""Operation: deploys the version that COLDSNAP_SPEC describes, or adopts it if it is live already.

A deploy that was cut off before its answer has left an app behind that Pulumi knows nothing of: the next one finds it
by its owner and its version, and goes on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines.app import app
from service import live
from service.autoscale import override
from service.process import serve
from spec.deployment import Deployment

if TYPE_CHECKING:
    from service.progress import Progress


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
        app.deploy(tag=definition.digest, strategy=request["rollout"])
        found = live.find(definition.app_name)
    assert found is not None
    return {**found.outputs(), "url": live.url(definition.app_name)}


if __name__ == "__main__":
    serve(deploy)
