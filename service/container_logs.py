"""What a service's containers have written, and what the service says of them, container by container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import modal

if TYPE_CHECKING:
    from datetime import datetime

_ENTRIES = 500
"""As many of the newest are looked at: what ends a container stands at the end."""


@dataclass
class ContainerLog:
    """What one container has written, in order."""

    container: str
    """Its task id; empty for what is said of none."""
    began: datetime
    text: str = ""

    @property
    def lines(self) -> list[str]:
        """Whole lines: an entry may end within one."""
        return self.text.splitlines()


def since(app_name: str, moment: datetime) -> list[ContainerLog]:
    """The logs of the containers that have said something since then, the one that began first in front."""
    logs: dict[str, ContainerLog] = {}
    for entry in modal.App.lookup(app_name).logs.tail(_ENTRIES):
        if entry.timestamp >= moment:
            container = next((name for name in entry.context_ids if name.startswith("ta-")), "")
            log = logs.setdefault(container, ContainerLog(container, entry.timestamp))
            log.text += f"{entry.message.rstrip()}\n" if entry.source == "system" else entry.message
    return list(logs.values())
