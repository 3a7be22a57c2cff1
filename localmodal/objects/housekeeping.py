"""Removes what nothing refers to any more: at the start of the daemon, and every ten minutes after it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localmodal.plane import Plane

log = logging.getLogger(__name__)

_PERIOD = 600.0
"""Seconds."""


async def keep_house(plane: Plane) -> None:
    """Runs for as long as the daemon does."""
    while True:
        try:
            await clean_up(plane)
        except Exception:
            log.exception("Cleaning up failed; the next try is in %.0f seconds", _PERIOD)
        await asyncio.sleep(_PERIOD)


async def clean_up(plane: Plane) -> None:
    """One round. The order matters: first who refers to files, then the files that nobody refers to."""
    in_use = plane.functions.dependencies()
    plane.objects.delete_lost()
    plane.secrets.delete_unused(in_use)
    plane.mounts.delete_unused(in_use)
    plane.calls.delete_old()
    plane.records.delete_old()
    plane.launcher.keep_snapshots(plane.functions.live())
    plane.blobs.delete_old()
    await plane.volumes.delete_unknown()
    referenced = plane.blobs.referenced() | plane.mounts.referenced()
    await asyncio.to_thread(plane.contents.sweep, referenced)
