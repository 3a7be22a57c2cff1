"""One container's life: takes its engine through the phases, and keeps the boot record."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import TYPE_CHECKING, Literal

from engines.boots import BootLog, BootRecord, StartReport
from engines.clock import Phases, process_started_at
from engines.driver import first_gpu
from engines.engine import engine_of
from engines.middleware import HEALTH
from spec.gpu import asks_for_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from engines.engine import Engine
    from spec.deployment import Definition

SETTLE_SECONDS = 5.0
"""How long a boot record waits for the first answer, so that writing it does not slow that answer down."""

log = logging.getLogger("coldsnap.container")


class Container:
    """The engine of this container, and what is known of its start.

    An instance may be snapshotted between `prepare` and `begin`, and then goes on in any number of copies.
    """

    def __init__(self, definition: Definition, role: Literal["service", "twin"]) -> None:
        self._definition = definition
        self._role = role
        self._boots = BootLog(definition.app_name)
        self._phases = Phases()
        self._task = _task()
        self._kind: Literal["cold", "restored"] = "cold"
        self._started_at = process_started_at()
        self._ready_at: float | None = None
        self._prepared_at = 0.0
        self._answered = threading.Event()
        self._asked = False
        self._engine: Engine
        self._app: ASGIApp

    @property
    def _snapshots(self) -> bool:
        """Whether a snapshot is taken of this container, or was: the worker says so to those that it concerns."""
        wanted = self._role == "service" and self._definition.snapshot.enabled
        return wanted and os.environ.get("MODAL_ENABLE_SNAP_RESTORE") == "1"

    def prepare(self) -> None:
        """Phases 1 to 3: everything that a snapshot is to hold."""
        with self._errors_recorded():
            self._engine = engine_of(self._definition)
            _import_early()
            self._phases.since("imports", self._started_at)
            with self._phases("load"):
                self._engine.load()
            if self._role == "service":
                with self._phases("warm_up"):
                    self._engine.warm_up()
            if self._snapshots:
                with self._phases("release"):
                    self._release()
        self._prepared_at = time.time()

    def _release(self) -> None:
        self._engine.release()
        # What lives now lives for good: the collector looks at it no more, so its pages stay shared after a restore.
        gc.collect()
        gc.freeze()

    def begin(self) -> None:
        """Phases 4 and 5, in this container or in one that was restored from its snapshot."""
        if restored := _task() != self._task:
            self._wake()
        with self._errors_recorded():
            if self._snapshots:
                if not restored:
                    self._phases.since("snapshot", self._prepared_at)
                with self._phases("resume"):
                    self._engine.resume()
            with self._phases("serve"):
                self._app = self._engine.serve()
        self._ready_at = time.time()
        self._boots.write(self.record, wait=lambda: self._answered.wait(SETTLE_SECONDS))

    def _wake(self) -> None:
        """Begin a new life: another task, another clock."""
        self._kind, self._task, self._phases = "restored", _task(), Phases()
        began = process_started_at()
        # A sandbox may keep the age of the process that was snapshotted; then this moment is the earliest one known.
        self._started_at = began if began > self._prepared_at else time.time()
        self._phases.since("restore", self._started_at)

    @contextmanager
    def _errors_recorded(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            record = self.record().model_copy(update={"error": f"{type(error).__name__}: {error}"})
            self._boots.write(lambda: record)
            with suppress(Exception):  # the first error is the one to hear of
                self.stop()
            raise

    def record(self) -> BootRecord:
        """The boot record, as far as is known by now."""
        return BootRecord(
            id=self._task,
            service=self._definition.service,
            definition=self._definition.digest,
            role=self._role,
            kind=self._kind,
            started_at=self._started_at,
            ready_at=self._ready_at,
            phases=dict(self._phases.seconds),
            gpu=self._gpu,
            versions=self._versions,
        )

    @cached_property
    def _gpu(self) -> str | None:
        return gpu_name() if asks_for_gpu(self._definition.gpu) else None

    @cached_property
    def _versions(self) -> dict[str, str]:
        packages = self._engine.packages if hasattr(self, "_engine") else ()
        return {"python": python_version(), **{name: _version(name) for name in ("modal", *packages)}}

    async def start(self) -> StartReport:
        """What a measured start answers with."""
        taken_at, first = time.time(), not self._asked
        self._asked = True
        answer = await self._engine.first_answer()
        answered_at = time.time()
        self._note_answer(taken_at)
        return StartReport(boot=self.record(), first=first, taken_at=taken_at, answered_at=answered_at, answer=answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The engine's API; the first answer is noted."""
        if scope["type"] != "http" or scope["path"] == HEALTH or self._answered.is_set():
            await self._app(scope, receive, send)
            return
        taken_at = time.time()
        self._asked = True

        async def send_and_note(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._note_answer(taken_at)

        await self._app(scope, receive, send_and_note)

    def _note_answer(self, taken_at: float) -> None:
        if not self._answered.is_set():
            self._phases.since("first_answer", taken_at)
            self._answered.set()

    def stop(self) -> None:
        """Phase 6."""
        self._answered.set()
        self._boots.flush()
        if hasattr(self, "_engine"):
            self._engine.stop()


def _import_early() -> None:
    """Bring into the snapshot what the client would import at its first request: aiohttp alone takes 0.1 s."""
    with suppress(ImportError):  # it is the client's own affair, and may move
        import_module("modal._runtime.asgi")


def _task() -> str:
    """The id of the container's task: another one after a restore."""
    return os.environ.get("MODAL_TASK_ID", "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # the client is mounted into the container, and not always with its metadata
        return "unknown"


def gpu_name() -> str | None:
    """What the driver calls the first GPU; none where it cannot be asked."""
    found = first_gpu("name")
    return found[0] if found else None
