"""Pure: what a failure of a container is, told from its exit code and its log, and whether another start helps."""

from __future__ import annotations

import re
import signal
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.failure_kinds import Moment, Retry
from service.known_failures import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from service.failure_kinds import Kind

_BEGINS = {
    Moment.SNAPSHOT: re.compile(r"Creating (GPU )?memory snapshot"),
    Moment.RESTORE: re.compile(r"Restoring Function from memory snapshot|failed to restore container from snapshot"),
}
"""The service's own lines, with which a moment of a container begins; before the first of them it loads."""
_CODE = re.compile(r"\b(?:exit(?:ed)?|return(?:ed)?)[ -](?:with )?(?:code|status)[:=]? ?(?P<code>-?\d+)")
_SIGNAL = re.compile(r"\b(?:killed by signal (?P<number>\d+)|ended with (?P<name>SIG[A-Z]+))\b")
_SIGNALLED = 128
"""A process that signal N ended has this exit code and N, as a shell counts; Python's own count is minus N."""
_MOST_OF = {Retry.NEVER: 0, Retry.REBUILD: 1, Retry.AGAIN: 3}
"""How often a failure is put up with."""


@dataclass(frozen=True)
class Known:
    """A failure that was recognised."""

    kind: Kind
    line: str
    """What gave it away."""
    moment: Moment

    def __str__(self) -> str:
        return f"{self.kind.cause} {self.kind.remedy}"


def recognise(log: Iterable[str], exit_code: int | None = None) -> Known | None:
    """The failure that a container's lines tell of, in order, or else its exit code; none if it is not known.

    What names a cause comes before what only names an effect: the catalogue is in that order.
    """
    told = list(_told(log))
    if exit_code is not None:
        told.append((f"exit code {exit_code}", told[-1][1] if told else Moment.LOAD))
    return next((Known(kind, *one) for kind in CATALOGUE for one in told if _fits(kind, *one)), None)


def explained(error: str) -> str:
    """An error, and what is known of it."""
    known = recognise(error.splitlines())
    return f"{error} {known}" if known else error


def _told(log: Iterable[str]) -> Iterator[tuple[str, Moment]]:
    moment = Moment.LOAD
    for line in log:
        moment = next((begun for begun, words in _BEGINS.items() if words.search(line)), moment)
        yield line.strip(), moment


def _fits(kind: Kind, line: str, moment: Moment) -> bool:
    if kind.moments and moment not in kind.moments:
        return False
    return bool(kind.words and kind.words.search(line)) or _exit_code(line) in kind.codes


def _exit_code(line: str) -> int | None:
    if found := _SIGNAL.search(line):
        return _SIGNALLED + int(found["number"] or getattr(signal, found["name"], 0))
    if found := _CODE.search(line):
        code = int(found["code"])
        return _SIGNALLED - code if code < 0 else code
    return None


class Patience:
    """How much of which failure is still put up with, over several starts."""

    def __init__(self) -> None:
        self._met: Counter[str] = Counter()

    def bears(self, known: Known) -> bool:
        """Counts it; whether another start may help."""
        self._met[known.kind.name] += 1
        return self._met[known.kind.name] <= _MOST_OF[known.kind.retry]
