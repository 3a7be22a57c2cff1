"""What both kinds of layers have in common: each is a folder of one folder, by its name."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from localmodal.images.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from localmodal.worker.container import Runtime


class LayerFolder:
    """The folder of one kind's layers; see the protocol `Layers`. `cache`: of package installers."""

    def __init__(self, folder: Path, runtime: Runtime, cache: Path) -> None:
        self._folder = folder
        self._runtime = runtime
        self._cache = cache
        self._making = asyncio.Lock()

    def complete(self, names: Sequence[str]) -> bool:
        """Every one of these is there."""
        return all((self._folder / name).is_dir() for name in names)

    def sweep(self, keep: Collection[str]) -> None:
        """Removes every other one, half-made ones too."""
        make_folder(self._folder)
        for layer in self._folder.iterdir():
            if layer.name not in keep:
                shutil.rmtree(layer)

    async def _made_once(self, name: str, make: Callable[[Path], None]) -> str:
        """One that many images share. `make` leaves it whole, or not at all."""
        async with self._making:
            if not (self._folder / name).exists():
                await asyncio.to_thread(make, self._folder / name)
        return name
