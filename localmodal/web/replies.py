"""Answers of the front itself, in the words of the service's front: clients and their users look for those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_proto import api_pb2

if TYPE_CHECKING:
    from localmodal.web.asgi import Headers, Scope, Send

_Status = api_pb2.GenericResult


@dataclass(frozen=True)
class Reply:
    """A whole answer in plain text."""

    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def __call__(self, scope: Scope, send: Send) -> None:
        """Sends it: as the response, or as the refusal of a websocket."""
        prefix = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        body = f"modal-http: {self.text}\n".encode() if self.text else b""
        headers: Headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            *self.headers,
        ]
        await send({"type": f"{prefix}.start", "status": self.status, "headers": headers})
        await send({"type": f"{prefix}.body", "body": body})


UNKNOWN_LABEL = Reply(404, "invalid function call")
STOPPED = Reply(404, "app for invoked web endpoint is stopped")
NO_CREDENTIALS = Reply(401, "missing credentials for proxy authorization")
BAD_CREDENTIALS = Reply(401, "invalid credentials for proxy authorization")
BAD_REDIRECT_METHOD = Reply(400, "bad redirect method")
EXPIRED = Reply(404, "missing or expired function call")


def see_result(url: str) -> Reply:
    """Tells the client to ask again, by GET, for what is not ready yet."""
    return Reply(303, "", ((b"location", url.encode()),))


def unavailable(reason: str) -> Reply:
    """No container can take the request now."""
    return Reply(503, reason, ((b"retry-after", b"1"),))


def bad_gateway(reason: str) -> Reply:
    """The container took the request and did not answer it."""
    return Reply(502, reason)


def failure(result: api_pb2.GenericResult) -> Reply:
    """Why a function did not answer."""
    return Reply(500, f"internal error: {_reason(result)}")


def _reason(result: api_pb2.GenericResult) -> str:
    if result.status == _Status.GENERIC_STATUS_TIMEOUT:
        return "function execution timed out"
    if result.status == _Status.GENERIC_STATUS_SUCCESS:
        return "the app ended without a complete response"
    name = _Status.GenericStatus.Name(result.status).removeprefix("GENERIC_STATUS_").replace("_", " ").title()
    return f"status {name}: {result.exception or 'no reason was given'}"
