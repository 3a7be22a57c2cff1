"""Operation: whether a proved snapshot still serves, told from what production's containers were. Starts none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import modal

from engines.boots import BootRecord
from service import live
from service.boots import records_of
from service.process import serve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.progress import Progress

_IN_VAIN = 3
"""Cold starts, one after the other, that tell of snapshots which are taken and never restored.

Two may come with other kinds of workers, each of which takes a snapshot of its own: Modal has up to three of a GPU.
"""
_GIVEN_UP = 2
"""Cold starts, the last of which took no snapshot any more. A single such one comes after each restore that failed."""


def look(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Why the snapshot of a version no longer serves; none while it does."""
    progress.status("looking at the last starts")
    app_name, definition = request["app_name"], request["definition"]
    return {"failure": _not_live(live.find(app_name), definition) or _never_restored(app_name, definition)}


def _not_live(found: live.LiveApp | None, definition: str) -> str | None:
    if found is not None and found.definition == definition:
        return None
    instead = "it is stopped or gone" if found is None else f"another one is (version {found.version})"
    return f"the version that was proved is not live: {instead}. `pulumi up --refresh` deploys it again."


def _never_restored(app_name: str, definition: str) -> str | None:
    boots = map(BootRecord.model_validate, records_of(app_name))
    row = cold_in_a_row(boot for boot in boots if boot.definition == definition)
    return _in_words(row, _last_word(app_name, row)) if given_up(row) else None


def cold_in_a_row(boots: Iterable[BootRecord]) -> list[BootRecord]:
    """A version's cold starts since its last restored one, the newest first.

    Of containers that started at once only one is in it: none of them could have used another's snapshot.
    """
    row: list[BootRecord] = []
    for boot in sorted(filter(_tells, boots), key=lambda boot: boot.started_at, reverse=True):
        if boot.kind == "restored":
            break
        if not row or (boot.ready_at or boot.started_at) <= row[-1].started_at:
            row.append(boot)
    return row


def given_up(row: list[BootRecord]) -> bool:
    """Whether so many cold starts mean that the snapshot is lost."""
    return len(row) >= _IN_VAIN or (len(row) >= _GIVEN_UP and "snapshot" not in row[0].phases)


def _tells(boot: BootRecord) -> bool:
    """The twin never has a snapshot, and a container that failed says nothing of the snapshot's worth."""
    return boot.role == "service" and boot.error is None


def _in_words(row: list[BootRecord], last_word: str) -> str:
    at = datetime.fromtimestamp(row[0].started_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    took_none = "" if "snapshot" in row[0].phases else ", and that one took no snapshot any more"
    words = f"the last {len(row)} starts were cold, the latest of them at {at} UTC{took_none}."
    return f"{words} The log: {last_word}" if last_word else words


def _last_word(app_name: str, row: list[BootRecord]) -> str:
    """The last that the log of these starts has on snapshots; empty if it has nothing."""
    since = datetime.fromtimestamp(row[-1].started_at, UTC)
    said = [entry.message for entry in modal.App.lookup(app_name).logs.fetch(since=since, search_text="snapshot")]
    return said[-1].strip() if said else ""


if __name__ == "__main__":
    serve(look)
