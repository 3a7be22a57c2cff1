"""Operation: changes a live service's scaling numbers, with no new version and no new snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import modal

from engines.names import SERVICE
from service.process import serve
from spec import Scaling

if TYPE_CHECKING:
    from service.progress import Progress


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


if __name__ == "__main__":
    serve(autoscale)
