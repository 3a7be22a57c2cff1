"""Runs an operation on a service in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Literal

from service.backend import ended_meanwhile, environment_of
from service.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.progress import Progress

Operation = Literal["images", "weights", "deploy", "autoscale", "warmup", "drift", "snapshot_drift", "destroy", "boots"]

_SOURCE = Path(__file__).resolve().parents[1]
_LINES_OF_NOISE = 15


def run(
    operation: Operation,
    request: Mapping[str, Any],
    *,
    backend: str,
    environment: str,
    progress: Progress,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """The operation's result; Failure if there is none. `variables` come on top of the backend's own."""
    reach = environment_of(backend, environment, progress)
    told = {**os.environ, **reach, **variables, "PYTHONPATH": _python_path()}
    command = [sys.executable, "-m", f"service.{operation}"]
    with TemporaryFile() as noise, Popen(command, stdin=PIPE, stdout=PIPE, stderr=noise, env=told) as process:
        try:
            _ask(process, request)
            assert process.stdout is not None
            if (result := _result(process.stdout, progress)) is not None:
                return result
            raise _died(operation, process.wait(), noise)
        except Failure as error:
            raise Failure("\n".join(filter(None, (ended_meanwhile(backend), str(error))))) from None
        finally:
            process.kill()


def _ask(process: Popen[bytes], request: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died at its start, of which its last words tell more
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()  # and stays open: its end tells the operation that nobody waits any more


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


def _died(operation: str, code: int, noise: IO[bytes]) -> Failure:
    noise.seek(0)
    last = noise.read().decode(errors="replace").splitlines()[-_LINES_OF_NOISE:]
    return Failure("\n".join([f"python -m service.{operation} ended with exit code {code} before its result.", *last]))


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(_SOURCE), os.environ.get("PYTHONPATH"))))
