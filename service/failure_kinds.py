"""What there is to know of a kind of failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re


class Moment(StrEnum):
    """What a container was at."""

    LOAD = "load"
    SNAPSHOT = "snapshot"
    RESTORE = "restore"


class Retry(StrEnum):
    """Whether another start helps."""

    AGAIN = "retry"
    """It may pass by itself."""
    REBUILD = "rebuild once"
    """Another snapshot may be good: the next cold start takes one."""
    NEVER = "give up"
    """Every start ends alike, until something is changed."""


@dataclass(frozen=True)
class Kind:
    """One kind of failure."""

    name: str
    retry: Retry
    cause: str
    remedy: str
    words: re.Pattern[str] | None = None
    """Found in a line that tells of it."""
    codes: frozenset[int] = field(default_factory=frozenset)
    """Exit codes that tell of it."""
    moments: frozenset[Moment] = field(default_factory=frozenset)
    """When alone it is this one; empty: whenever."""
