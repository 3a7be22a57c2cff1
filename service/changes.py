"""Pure: what a change of a stack file does to what is deployed. One table, which the providers, docs and tests read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Effect(IntEnum):
    """What happens, the mildest first: of several changes the strongest effect is what happens."""

    NOTHING = 0
    """Nothing at all: not even a difference."""
    RECORD = 1
    """The stack's state takes the new value; nothing that runs is touched."""
    AUTOSCALE = 2
    """Live autoscaler update: no new version, the snapshot is kept."""
    VERIFY = 3
    """The snapshot is proved again."""
    BUILD = 4
    """The image is built."""
    FETCH = 5
    """The weights are put on their Volume."""
    REDEPLOY = 6
    """A new version, and a new snapshot."""
    REPLACE = 7
    """Another app altogether."""


Rule = Effect | Callable[[Any, Any], Effect]
"""A changed input's effect, or what tells it from the old and the new value."""

Table = Mapping[str, Rule]


def _if_it_rises(old: object, new: object) -> Effect:
    """A proof of five restores in a row is one of three, not the other way round."""
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    return Effect.RECORD if numbers and new < old else Effect.VERIFY  # type: ignore[operator]


def _if_it_is_known(_: object, new: object) -> Effect:
    """A preview does not know the version that an update will make; `definition` tells whether it makes one."""
    return Effect.VERIFY if isinstance(new, int | float | str) else Effect.NOTHING


IMAGE: Table = {
    "base": Effect.BUILD,
    "python": Effect.BUILD,
    "env": Effect.BUILD,
    "apt": Effect.BUILD,
    "pip": Effect.BUILD,
    "extra_index": Effect.BUILD,
    "run": Effect.BUILD,
    "weights": Effect.BUILD,
    "weights_sha256": Effect.BUILD,
    "files": Effect.BUILD,
    "files_sha256": Effect.BUILD,
    "backend": Effect.REPLACE,
    "environment": Effect.REPLACE,
}
"""The built image's inputs."""

WEIGHTS: Table = {
    "app_name": Effect.REPLACE,
    "folder": Effect.REPLACE,
    "backend": Effect.REPLACE,
    "environment": Effect.REPLACE,
    "damage": Effect.FETCH,
}
"""The inputs of weights on a Volume, and the `damage` that a refresh has found: nobody asks for it, so it is a change.

Replaced means: put beside the old ones, which are removed once the new version runs. Nothing that a live version reads
is changed in its place.
"""

DEPLOYMENT: Table = {
    "service": Effect.REPLACE,
    "app_name": Effect.REPLACE,
    "backend": Effect.REPLACE,
    "environment": Effect.REPLACE,
    "definition": Effect.REDEPLOY,
    "image_id": Effect.REDEPLOY,
    "code_digest": Effect.REDEPLOY,
    "engine": Effect.REDEPLOY,
    "weights_file": Effect.REDEPLOY,
    "weights_folder": Effect.REDEPLOY,
    "keeps_caches": Effect.REDEPLOY,
    "prompt_tokens": Effect.REDEPLOY,
    "concurrency": Effect.REDEPLOY,
    "gpu": Effect.REDEPLOY,
    "cpu": Effect.REDEPLOY,
    "memory": Effect.REDEPLOY,
    "api_key_secret": Effect.REDEPLOY,
    "snapshot": Effect.REDEPLOY,
    "scaling": Effect.AUTOSCALE,
    "rollout": Effect.RECORD,
}
"""The deployed version's inputs. `definition` is the digest of them all, and what the live app says it runs."""

WARMUP: Table = {
    "app_name": Effect.REPLACE,
    "backend": Effect.REPLACE,
    "environment": Effect.REPLACE,
    "definition": Effect.VERIFY,
    "snapshot": Effect.VERIFY,
    "app_id": _if_it_is_known,
    "version": _if_it_is_known,
    "restores_in_a_row": _if_it_rises,
    "max_starts": Effect.RECORD,
    "timeout": Effect.RECORD,
    "failure": Effect.VERIFY,
}
"""The proved snapshot's inputs, and the `failure` that a refresh has found: nobody asks for one, so it is a change."""


@dataclass(frozen=True)
class Change:
    """What becomes of a resource, and the inputs that make it so."""

    effect: Effect
    because: tuple[str, ...]

    @property
    def replaces(self) -> list[str]:
        """The inputs that ask for another resource in place of this one."""
        return list(self.because) if self.effect is Effect.REPLACE else []

    def __str__(self) -> str:
        """`definition` is the digest of all that a version is: said where nothing else is known to differ."""
        named = [name for name in self.because if name != "definition"]
        return f"{_WORDS[self.effect]} ({', '.join(named) or 'another version'})"


_WORDS = {
    Effect.NOTHING: "no change",
    Effect.RECORD: "recorded, nothing that runs is touched",
    Effect.AUTOSCALE: "live autoscaler update, no new version, snapshot kept",
    Effect.VERIFY: "snapshot proved again",
    Effect.BUILD: "image built",
    Effect.FETCH: "weights put on their Volume again",
    Effect.REDEPLOY: "redeploy, new snapshot",
    Effect.REPLACE: "replaced",
}


def change(table: Table, old: Mapping[str, Any], new: Mapping[str, Any]) -> Change:
    """What the differences between two bags of inputs do; keys that the table does not know do nothing.

    `old` may be what is live instead of what was once asked for: that is how drift becomes a change.
    """
    differing = {name: rule for name, rule in table.items() if old.get(name) != new.get(name)}
    effects = {name: _effect(rule, old.get(name), new.get(name)) for name, rule in differing.items()}
    strongest = max(effects.values(), default=Effect.NOTHING)
    return Change(strongest, tuple(name for name, effect in effects.items() if effect is strongest))


def _effect(rule: Rule, old: object, new: object) -> Effect:
    return rule if isinstance(rule, Effect) else rule(old, new)
