"""The `modal.App` of one service, as COLDSNAP_SPEC describes it: imported to deploy it, and in its containers.

`Service` is what users call. `Twin` is the same engine in a class without snapshots: only the warm-up calls it, to
measure what a start cost before.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import modal
import modal.experimental

from engines import caches
from engines.container import Container
from engines.engine import START_SECONDS, WEIGHTS_VOLUME
from engines.middleware import REQUEST_LOG
from spec.deployment import Deployment
from spec.gpu import asks_for_gpu

if TYPE_CHECKING:
    from starlette.types import ASGIApp

REQUEST_SECONDS = 3600
"""The longest that one answer may take."""

DEPLOYMENT = Deployment.from_environment()
DEFINITION = DEPLOYMENT.definition
SNAPSHOTS = DEFINITION.snapshot.enabled


def _gpu() -> str | list[str] | None:
    if isinstance(DEFINITION.gpu, tuple):
        return list(DEFINITION.gpu)
    return DEFINITION.gpu if asks_for_gpu(DEFINITION.gpu) else None


app = modal.App(DEFINITION.app_name, tags=DEPLOYMENT.tags)

_image = modal.Image.from_id(DEFINITION.image_id).add_local_python_source("engines", "spec")
_weights = modal.Volume.from_name(DEFINITION.weights_volume).read_only() if DEFINITION.weights_volume else None
_caches = modal.Volume.from_name(DEFINITION.caches_volume, create_if_missing=True) if DEFINITION.caches_volume else None
_volumes = {WEIGHTS_VOLUME.as_posix(): _weights, caches.VOLUME.as_posix(): _caches}
_secrets = [modal.Secret.from_name(DEFINITION.api_key_secret)] if DEFINITION.api_key_secret else []
_resources: dict[str, Any] = {
    "image": _image,
    "env": DEPLOYMENT.container_environment(),
    "secrets": _secrets,
    "volumes": {path: volume for path, volume in _volumes.items() if volume},
    "gpu": _gpu(),
    "cpu": DEFINITION.cpu,
    "memory": DEFINITION.memory,
    "timeout": REQUEST_SECONDS,
    "startup_timeout": START_SECONDS,
    "include_source": False,
}
_with_gpu = SNAPSHOTS and asks_for_gpu(DEFINITION.gpu) and DEFINITION.snapshot.gpu is not False
_snapshots: dict[str, Any] = {
    "enable_memory_snapshot": SNAPSHOTS,
    "experimental_options": {"enable_gpu_snapshot": True} if _with_gpu else {},
}
_scaling: dict[str, Any] = {
    "scaledown_window": DEPLOYMENT.scaling.scaledown_window,
    "min_containers": DEPLOYMENT.scaling.min_containers,
    "max_containers": DEPLOYMENT.scaling.max_containers,
    "buffer_containers": DEPLOYMENT.scaling.buffer_containers,
}


def _log_to_the_container() -> None:
    """Our own lines go to the container's log, those of requests bare; those of the libraries stay as they are."""
    _show("coldsnap", "%(name)s: %(message)s")
    _show(REQUEST_LOG, "%(message)s").propagate = False


def _show(name: str, pattern: str) -> logging.Logger:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(pattern))
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return logger


class _Started:
    """What both classes have: a life in phases, and a first answer."""

    container: Container

    def _prepare(self, role: Literal["service", "twin"]) -> None:
        _log_to_the_container()
        if _caches:
            caches.use(caches.VOLUME, links=caches.VOLUME.is_mount())
        self.container = Container(DEFINITION, role)
        self.container.prepare()
        if _caches:
            _caches.commit()  # before the snapshot: a restored process may have files of it mapped

    @modal.exit()
    def stop(self) -> None:
        """Phase 6."""
        self.container.stop()

    @modal.method()
    async def start(self, *, last: bool) -> dict[str, Any]:
        """A `StartReport` as JSON; with `last` this container ends, so that the next call meets a cold one."""
        if last:
            await modal.experimental.stop_fetching_inputs.aio()
        return (await self.container.start()).model_dump(mode="json")


@app.cls(**_resources, **_snapshots, **_scaling)
@modal.concurrent(max_inputs=DEFINITION.concurrency)
class Service(_Started):
    """What users call."""

    @modal.enter(snap=SNAPSHOTS)
    def prepare(self) -> None:
        """Phases 1 to 3."""
        self._prepare("service")

    @modal.enter()
    def begin(self) -> None:
        """Phases 4 and 5."""
        self.container.begin()

    @modal.asgi_app(label=DEFINITION.app_name)
    def web(self) -> ASGIApp:
        """The engine's HTTP API, which is in the snapshot with all that it imports."""
        return self.container


@app.cls(min_containers=0, max_containers=1, scaledown_window=2, **_resources)
class Twin(_Started):
    """The same without a snapshot."""

    @modal.enter()
    def begin(self) -> None:
        """Phases 1 and 5."""
        self._prepare("twin")
        self.container.begin()
