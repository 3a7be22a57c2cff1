"""What a Pulumi program declares: `SnapshottedGpuService`, and the resources that it is made of.

Both names are imported when they are first asked for: a provider's process unpickles one class of this package, and
would else spend a third of its start on models that it does not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.arguments import ServiceArgs
    from components.snapshotted_gpu_service import SnapshottedGpuService

__all__ = ["ServiceArgs", "SnapshottedGpuService"]

_MODULES = {"ServiceArgs": "components.arguments", "SnapshottedGpuService": "components.snapshotted_gpu_service"}


def __getattr__(name: str) -> object:
    """Imports what `__all__` names (PEP 562)."""
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_MODULES[name]), name)
