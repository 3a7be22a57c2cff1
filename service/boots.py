"""Operation: the boot records of a service, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import modal
from modal.exception import NotFoundError

from engines.boots import BootRecord, dict_name
from service import live, protocol
from service.failures import explained
from service.process import serve

if TYPE_CHECKING:
    from service.progress import Progress


class Boot(BootRecord):
    """A boot record, and which version of the app it was: a container cannot know."""

    version: int | None
    """None: the app is gone, or its history no longer has the definition."""


def boots(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Every record that the service keeps, as `Boot`."""
    progress.status("reading the boot records")
    app_name = request["app_name"]
    found = live.find(app_name)
    versions: dict[str, int] = protocol.versions(found.app_id) if found else {}
    records = [
        {**record, "version": versions.get(record["definition"]), "error": _in_words(record.get("error"))}
        for record in records_of(app_name)
    ]
    return {"records": sorted(records, key=lambda record: record["started_at"], reverse=True)}


def _in_words(error: str | None) -> str | None:
    return explained(error) if error else None


def add(app_name: str, record: BootRecord) -> None:
    """Writes the record of a container that could not write its own; the container's own word stays."""
    records = modal.Dict.from_name(dict_name(app_name), create_if_missing=True)
    records.put(record.id, record.model_dump(mode="json"), skip_if_exists=True)


def records_of(app_name: str) -> list[dict[str, Any]]:
    """Every record that the service keeps, in no order; empty if it never started a container."""
    try:
        return list(modal.Dict.from_name(dict_name(app_name)).values())
    except NotFoundError:
        return []


if __name__ == "__main__":
    serve(boots)
