"""Web labels: which part of an app answers under which name, `<label>.localhost`.

The rules are the service's, less the workspace: `<app>-<function>` or `<app>-<class>-<method>` in letters, digits and
dashes, at most 63 characters (one label of a DNS name), `-dev` at the end while an app is only being served, a custom
`label=` instead of the first part.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status

if TYPE_CHECKING:
    from localmodal.store import Store

LONGEST = 63
_HASH_LENGTH = 7


@dataclass(frozen=True)
class Label:
    """A name under `.localhost`."""

    text: str
    truncated: bool = False
    """A hash stands for what had to be cut off."""


@dataclass(frozen=True)
class Target:
    """What answers under a label: a function, or one web method of a class."""

    app_id: str
    function_id: str
    method: str = ""
    live: bool = True
    """False: its app has stopped."""


def label_for(
    app: str, function: str, method: str = "", *, custom: str = "", environment: str = "", suffix: str = ""
) -> Label:
    """The label of a web function.

    `function` is its tag (`Class.*` for a class), `custom` what `label=` asks for, `environment` the environment's web
    suffix (empty for the main one), `suffix` what an app that is only being served ends with (`dev`).
    """
    name = _dashed(custom) or "-".join(filter(None, map(_dashed, (app, function.removesuffix(".*"), method))))
    ending = f"-{_dashed(suffix)}" if suffix else ""
    full = f"{_dashed(environment)}--{name}{ending}" if environment else name + ending
    return Label(full) if len(full) <= LONGEST else Label(_shortened(full, ending), truncated=True)


def _dashed(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _shortened(full: str, ending: str) -> str:
    digest = hashlib.sha256(full.encode()).hexdigest()[:_HASH_LENGTH]
    kept = full.removesuffix(ending)[: LONGEST - len(ending) - _HASH_LENGTH - 1].rstrip("-")
    return f"{kept}-{digest}{ending}"


class Labels:
    """Who holds which label. A label belongs to one target for as long as its app runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(self, label: Label, target: Target) -> None:
        """Gives the label to the target, which gives up any other; ALREADY_EXISTS if another running app holds it."""
        with self._store.transaction() as db:
            if (holder := self.find(label.text)) and holder.live and holder != target:
                raise _taken(label, holder)
            db.execute(
                "DELETE FROM web_labels WHERE function_id = ? AND method = ?", (target.function_id, target.method)
            )
            db.execute(
                "INSERT OR REPLACE INTO web_labels (label, app_id, function_id, method, live) VALUES (?, ?, ?, ?, 1)",
                (label.text, target.app_id, target.function_id, target.method),
            )

    def find(self, label: str) -> Target | None:
        """What answers, or answered last, under a label."""
        row = self._store.row("SELECT app_id, function_id, method, live FROM web_labels WHERE label = ?", label)
        return Target(row["app_id"], row["function_id"], row["method"], bool(row["live"])) if row else None

    def of(self, function_id: str, method: str = "") -> str | None:
        """The label that a function, or one method of a class, answers under."""
        row = self._store.row("SELECT label FROM web_labels WHERE function_id = ? AND method = ?", function_id, method)
        return str(row["label"]) if row else None

    def release(self, app_id: str) -> None:
        """Frees every label of an app that has stopped."""
        self._store.write("UPDATE web_labels SET live = 0 WHERE app_id = ?", app_id)


def _taken(label: Label, holder: Target) -> GRPCError:
    return GRPCError(
        Status.ALREADY_EXISTS,
        f"The web label '{label.text}' is already used by function {holder.function_id} of app {holder.app_id}. "
        "Stop that app, or give this function another label with `label=`.",
    )
