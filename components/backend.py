"""The backend is up once a program has run, also where the program changes nothing: what is deployed is to answer."""

from __future__ import annotations

from functools import cache

import pulumi

from service.backend import environment_of
from service.failure import Failure
from service.progress import Progress


@cache
def ensure_up(backend: str) -> None:
    """Starts the backend if that is ours to do; RunError with the reason if it cannot run. A preview starts nothing."""
    if pulumi.runtime.is_dry_run():
        return
    try:
        environment_of(backend, "", _Diagnostics())
    except Failure as error:
        raise pulumi.RunError(str(error)) from None


class _Diagnostics(Progress):
    """A program has no status column of its own."""

    def status(self, text: str) -> None:
        """Nothing: it is over before anybody has read it."""

    def warn(self, text: str) -> None:
        """In the update's diagnostics."""
        pulumi.log.warn(text)
