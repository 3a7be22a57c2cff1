"""Runs an operation on a service in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Literal

from service.backend import environment_of
from service.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.progress import Progress

Operation = Literal["images", "deploy", "autoscale", "warmup", "drift", "destroy"]

_SOURCE = Path(__file__).resolve().parents[1]
_LINES_OF_NOISE = 15


def run(
    operation: Operation, request: Mapping[str, Any], *, backend: str, environment: str, progress: Progress
) -> dict[str, Any]:
    """The operation's result; Failure if there is none. Ends the process if this one is interrupted."""
    variables = os.environ | environment_of(backend, environment, progress) | {"PYTHONPATH": _python_path()}
    command = [sys.executable, "-m", f"service.{operation}"]
    with TemporaryFile() as noise, Popen(command, stdin=PIPE, stdout=PIPE, stderr=noise, env=variables) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()  # and stays open: its end tells the operation that nobody waits any more
            return _result(process.stdout, progress) or _died(operation, process.wait(), noise)
        finally:
            process.kill()


def _result(lines: IO[bytes], progress: Progress) -> dict[str, Any] | None:
    for line in lines:
        match json.loads(line):
            case {"status": text}:
                progress.status(text)
            case {"warning": text}:
                progress.warn(text)
            case {"error": {"message": message}}:
                raise Failure(message)
            case {"result": result}:
                return dict(result)
    return None


def _died(operation: str, code: int, noise: IO[bytes]) -> dict[str, Any]:
    noise.seek(0)
    last = noise.read().decode(errors="replace").splitlines()[-_LINES_OF_NOISE:]
    raise Failure("\n".join([f"python -m service.{operation} ended with exit code {code} before its result.", *last]))


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(_SOURCE), os.environ.get("PYTHONPATH"))))
