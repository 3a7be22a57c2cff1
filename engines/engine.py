"""The engine protocol: what a model runtime does in each phase of a container's life.

1. load      read the weights into the process
2. warm up   answer prompts of several lengths, so that all that is built at first use is built
3. release   let go of what must not, or need not, be in the snapshot: KV cache, random state
   -- snapshot: taken here, and here every restored container begins --
4. resume    take back what was released; a random state of this container's own
5. serve     answer requests
6. stop      free it all

Where no snapshot is being taken, 3 and 4 are skipped. The twin, which is the "before" of a measurement, skips 2 as
well: a first user would not have waited for it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from spec.deployment import Definition

WEIGHTS = Path(sys.prefix, "share", "weights")
"""Where an image holds its weights; `service.images` puts them there."""

WEIGHTS_VOLUME = Path("/weights")
"""Where a container sees its Volume of weights, if it has one; `engines.app` mounts it, read-only."""


START_SECONDS = 1200
"""The longest that a start may take, weights of tens of gigabytes and a snapshot included."""

LOAD_SECONDS = START_SECONDS - 100
"""Of those, how long a server may take until it is ready: the rest is left for what follows, or to tell why not."""


class WeightsError(Exception):
    """Weights that cannot be loaded, and what was said of them."""


class Engine(Protocol):
    """One model runtime. The phases 1 to 6 are called once each, in order, 3 to 6 perhaps in a restored copy.

    The phases run in one thread, the HTTP API and first answers in one event loop.
    """

    packages: tuple[str, ...]
    """The libraries whose versions a boot record names."""

    def __init__(self, definition: Definition, weights: Path) -> None:
        """An engine that has done nothing yet."""

    def load(self) -> None:
        """Phase 1."""

    def warm_up(self) -> None:
        """Phase 2."""

    def release(self) -> None:
        """Phase 3."""

    def resume(self) -> None:
        """Phase 4."""

    def serve(self) -> ASGIApp:
        """Phase 5: the HTTP API, ready to answer."""

    def stop(self) -> None:
        """Phase 6."""

    async def first_answer(self) -> str:
        """The answer to the first request, always the same one: where a measured start ends."""


def engine_of(definition: Definition) -> Engine:
    """The engine that a definition asks for, its libraries imported."""
    module, _, name = definition.engine.RUNS_AS.rpartition(".")
    engine: Engine = getattr(import_module(module), name)(definition, weights_path(definition))
    return engine


def weights_path(definition: Definition) -> Path:
    """The weights' file, or folder, in this container."""
    root = WEIGHTS_VOLUME / definition.weights_folder if definition.weights_folder else WEIGHTS
    return root / definition.weights_file
