"""Operation: changes a live service's scaling numbers, with no new version and no new snapshot."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import modal

from engines.names import SERVICE
from service import live
from service.process import serve
from spec import Scaling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.progress import Progress

_PATIENCE_S = 30.0
"""For containers that are kept warm: those that do not end by then are at work for users, or still starting."""


def autoscale(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Makes the numbers true at once."""
    progress.status("changing the scaling numbers")
    override(request["app_name"], Scaling.model_validate(request["scaling"]))
    return {}


def override(app_name: str, scaling: Scaling) -> None:
    """Overrides the numbers that the live version was deployed with; the next deploy wipes the override."""
    modal.Cls.from_name(app_name, SERVICE)().start.autoscaler.update(
        min_containers=scaling.min_containers,
        max_containers=scaling.max_containers,
        buffer_containers=scaling.buffer_containers,
        scaledown_window=scaling.scaledown_window,
    )


@contextmanager
def scaled_to_zero(app_name: str, scaling: Scaling, progress: Progress) -> Iterator[None]:
    """Keeps no container warm meanwhile; afterwards the numbers are as before.

    Whoever is killed in between leaves none warm, until the next update of the service does the same to its end.
    """
    if not scaling.min_containers and not scaling.buffer_containers:
        yield
        return
    progress.status("ending the containers that are kept warm")
    override(app_name, scaling.model_copy(update={"min_containers": 0, "buffer_containers": 0, "scaledown_window": 2}))
    if found := live.find(app_name):
        live.wait_until_nothing_runs(found.app_id, patience_s=_PATIENCE_S)
    try:
        yield
    finally:
        override(app_name, scaling)


if __name__ == "__main__":
    serve(autoscale)
