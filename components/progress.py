"""A resource's status column in Pulumi's display.

`pulumi.log` in a provider reaches the provider's stderr only; the engine itself takes the line, at the address that it
gave this process as its first argument.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from functools import cache
from threading import Thread
from typing import Any

import grpc  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from service.progress import Progress

_ASK_EVERY_S = 1.0
_GONE_AFTER_S = 5.0


class StatusColumn(Progress):
    """Status and warnings of one resource."""

    def __init__(self, urn: str) -> None:
        self._urn = urn

    def status(self, text: str) -> None:
        """Shown until the next one."""
        self._log(engine_pb2.INFO, text, ephemeral=True)

    def warn(self, text: str) -> None:
        """Stays in the update's diagnostics."""
        self._log(engine_pb2.WARNING, text, ephemeral=False)

    def _log(self, severity: Any, text: str, *, ephemeral: bool) -> None:
        line = engine_pb2.LogRequest(severity=severity, message=text, urn=self._urn, ephemeral=ephemeral)
        engine_pb2_grpc.EngineStub(_channel()).Log(line)


def end_with_the_engine() -> None:
    """Ends this process once the engine is gone: Pulumi leaves the providers of a killed engine running.

    The operation under way ends with it, and the next update goes on from what there is.
    """
    Thread(target=_watch_the_engine, daemon=True).start()


def _watch_the_engine() -> None:
    """Asks time and again: a connection's own events may come together, so that a loss shows as nothing at all."""
    with suppress(grpc.FutureTimeoutError):
        while True:
            grpc.channel_ready_future(_channel()).result(timeout=_GONE_AFTER_S)
            time.sleep(_ASK_EVERY_S)
    os._exit(1)


@cache
def _channel() -> grpc.Channel:
    return grpc.insecure_channel(sys.argv[1])
