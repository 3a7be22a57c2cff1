"""Operation: stops a service and removes what belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import modal

from engines.boots import dict_name
from service import live
from service.process import serve
from spec.deployment import caches_volume

if TYPE_CHECKING:
    from service.progress import Progress

_PATIENCE_S = 60.0


def destroy(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Nothing of the service is left afterwards; whatever was gone before, or is somebody else's now, is no error."""
    app_name = request["app_name"]
    found = live.find(app_name)
    if found is not None and found.owner != request["owner"]:
        return {}
    if found is not None:
        progress.status("stopping the app")
        modal.App.lookup(app_name).stop()
        # A container's last act is its boot record, which would make the Dict anew.
        live.wait_until_nothing_runs(found.app_id, patience_s=_PATIENCE_S)
    modal.Dict.objects.delete(dict_name(app_name), allow_missing=True)
    modal.Volume.objects.delete(caches_volume(app_name), allow_missing=True)
    return {}


if __name__ == "__main__":
    serve(destroy)
