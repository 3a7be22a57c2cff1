"""Operation: the boot records of a service, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import modal
from modal.exception import NotFoundError

from engines.boots import dict_name
from service.process import serve

if TYPE_CHECKING:
    from service.progress import Progress


def boots(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Every record that the service keeps; empty if it never started a container."""
    progress.status("reading the boot records")
    try:
        records = list(modal.Dict.from_name(dict_name(request["app_name"])).values())
    except NotFoundError:
        records = []
    return {"records": sorted(records, key=lambda record: record["started_at"], reverse=True)}


if __name__ == "__main__":
    serve(boots)
