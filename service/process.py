"""The inside of an operation's process: one JSON request on stdin, JSON lines on stdout, the result last."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any

from modal.exception import Error as ModalError

from service.failure import Failure
from service.progress import Progress

Work = Callable[[Any, Progress], Mapping[str, Any]]
"""An operation: request and progress to result."""


def serve(work: Work) -> None:
    """Does the work that the parent process asks for, and answers it."""
    channel = _Channel()
    request = json.loads(sys.stdin.readline())
    Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        channel.send("result", work(request, channel))
    except (Failure, ModalError) as error:
        channel.send("error", {"message": str(error)})
    except Exception:  # noqa: BLE001 - a bug of ours must reach the user whole
        channel.send("error", {"message": traceback.format_exc()})


class _Channel(Progress):
    """The process's first stdout. What libraries print goes to stderr from here on, which the parent keeps."""

    def __init__(self) -> None:
        self._lines = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
        os.dup2(2, 1)

    def send(self, kind: str, content: object) -> None:
        self._lines.write(json.dumps({kind: content}) + "\n")

    def status(self, text: str) -> None:
        self.send("status", text)

    def warn(self, text: str) -> None:
        self.send("warning", text)


def _end_with_the_parent() -> None:
    """The parent holds stdin open for as long as it lives: nobody waits for an answer after its end."""
    sys.stdin.read()
    os._exit(1)
