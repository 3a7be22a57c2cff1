"""Operation: stops a service and removes what belongs to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import modal

from engines.boots import dict_name
from service import live, protocol
from service.process import serve

if TYPE_CHECKING:
    from service.progress import Progress


_POLL_S = 0.2
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
        _wait_for_the_end_of(found.app_id)
    modal.Dict.objects.delete(dict_name(app_name), allow_missing=True)
    return {}


def _wait_for_the_end_of(app_id: str) -> None:
    """A container's last act is its boot record, which makes the Dict anew where that was removed before."""
    deadline = time.monotonic() + _PATIENCE_S
    while protocol.running(app_id) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


if __name__ == "__main__":
    serve(destroy)
