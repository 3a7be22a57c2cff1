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
    """Every record that the service keeps."""
    progress.status("reading the boot records")
    newest_first = sorted(records_of(request["app_name"]), key=lambda record: record["started_at"], reverse=True)
    return {"records": newest_first}


def records_of(app_name: str) -> list[dict[str, Any]]:
    """Every record that the service keeps, in no order; empty if it never started a container."""
    try:
        return list(modal.Dict.from_name(dict_name(app_name)).values())
    except NotFoundError:
        return []


if __name__ == "__main__":
    serve(boots)
