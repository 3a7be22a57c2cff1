"""The control plane's parts, wired by the daemon and handed to every group of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localmodal.home import Home
    from localmodal.store import Store


@dataclass
class Plane:
    """One daemon's parts."""

    home: Home
    store: Store
