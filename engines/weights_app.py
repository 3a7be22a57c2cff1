"""The `modal.App` that fills a service's Volume of weights, as COLDSNAP_WEIGHTS describes it.

Run for as long as it takes, by `service.weights`: what it fetches goes from the source to the Volume on Modal.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import modal

from engines.weights import File, fetch, requirements

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "COLDSNAP_WEIGHTS"
"""A JSON mapping: `volume`, `folder`, `source` (see `engines.weights.source_of`) and `secret`, which may be null."""

_MOUNT = Path("/volume")
_LONGEST_S = 24 * 3600

TASK = json.loads(os.environ[VARIABLE])

app = modal.App(f"{TASK['volume']}-fetch")
volume = modal.Volume.from_name(TASK["volume"])

_packages = requirements(TASK["source"])
_plain = modal.Image.debian_slim(python_version="3.11")
_image = (_plain.pip_install(*_packages) if _packages else _plain).add_local_python_source("engines")


@app.function(
    image=_image,
    volumes={_MOUNT.as_posix(): volume},
    secrets=[modal.Secret.from_name(TASK["secret"])] if TASK["secret"] else [],
    env={VARIABLE: json.dumps(TASK)},
    timeout=_LONGEST_S,
    max_containers=1,
    include_source=False,
)
def fill() -> Iterator[dict[str, Any]]:
    """Says how far it has come, as `status`; at the end, when all is committed, the verified `files`."""
    said: SimpleQueue[str | list[File] | Exception] = SimpleQueue()
    Thread(target=_work, args=(said,), daemon=True).start()
    while isinstance(one := said.get(), str):
        yield {"status": one}
    # Also what was cut off is kept: the next try goes on from there.
    volume.commit()
    if isinstance(one, Exception):
        raise one
    yield {"files": [asdict(file) for file in one]}


def _work(said: SimpleQueue[str | list[File] | Exception]) -> None:
    try:
        said.put(fetch(TASK["source"], _MOUNT / TASK["folder"], said.put))
    except Exception as error:  # noqa: BLE001 - it is raised again where it is awaited
        said.put(error)
