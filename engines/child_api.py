"""Our own calls to a child's HTTP API, in the phases in which it has no users yet."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.child import Child

CALL_SECONDS = 600
"""How long one call may take: the prompt of a warm-up, or tens of gigabytes between the GPU and the host's memory."""

_OK = 200


class RefusedError(Exception):
    """A child that refuses what a phase needs of it."""


class ChildApi:
    """A child's API under one of its keys; each call has a connection of its own, closed when the call returns."""

    def __init__(self, child: Child, key: str) -> None:
        self._child = child
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Connection": "close"}

    def is_ok(self, path: str) -> bool:
        """Whether it answers a look with 200: not while it does not listen yet, nor while it says that it loads."""
        try:
            return self._call("GET", path, None)[0] == _OK
        except (OSError, HTTPException):
            return False

    def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The answer to a call that must succeed; `ChildError` where nobody answers."""
        try:
            status, content = self._call("POST", path, json.dumps(body))
        except (OSError, HTTPException) as error:
            raise self._child.fault() from error
        if status != _OK:
            said = content.decode("utf-8", "replace")[:500]
            raise RefusedError(f"{self._child.name}: POST {path} answers {status}: {said}")
        return content

    def _call(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        with closing(HTTPConnection("127.0.0.1", self._child.port, timeout=CALL_SECONDS)) as connection:
            connection.request(method, path, body, self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
