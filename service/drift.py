"""Operation: what of a service is live, for `refresh`. Starts no container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service import live
from service.process import serve

if TYPE_CHECKING:
    from service.progress import Progress


def look(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The live version, as the deployment's outputs name it; empty if the app is gone, stopped, or no longer ours."""
    progress.status("looking at the live app")
    found = live.find(request["app_name"])
    if found is None or found.owner != request["owner"]:
        return {}
    return {**found.outputs(), "url": live.url(request["app_name"])}


if __name__ == "__main__":
    serve(look)
