"""Runs one command of a build to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from localmodal.images.layers import CommandError

if TYPE_CHECKING:
    from localmodal.worker.container import Launch, Runtime


async def run_to_its_end(runtime: Runtime, launch: Launch) -> None:
    """CommandError if it fails; if the build is cancelled, nothing of it goes on."""
    container = await runtime.run(launch)
    try:
        end = await container.wait()
    except asyncio.CancelledError:
        await container.kill()
        raise
    if end.code:
        memory = ": it ran out of memory" if end.out_of_memory else ""
        raise CommandError(f"exit code {end.code}{memory}")
