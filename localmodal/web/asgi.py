"""ASGI's vocabulary, and how its messages travel: one `Asgi` message of the client's protocol in each data chunk.

In sync with `modal._serialization._serialize_asgi` and `_deserialize_asgi`, which are what the container uses. Not
imported from there: the client's package would more than double the daemon's memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from modal_proto import api_pb2

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_PASSED_ON = ("type", "http_version", "method", "scheme", "query_string", "client", "server", "subprotocols")

PRIVATE_HEADERS = frozenset({b"modal-key", b"modal-secret", b"modal-authorization", b"x-forwarded-for"})
"""Request headers that end at the front: credentials for it, and what only it can vouch for."""
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"expect", b"proxy-authorization"}
)
"""Headers about one connection, of which there are two: the client's to the front, and the one into the container."""
NOT_PASSED_ON = PRIVATE_HEADERS | HOP_BY_HOP
"""Request headers that a server in a container does not see."""
_FRAMING = frozenset({b"transfer-encoding", b"te"})
"""How the body came is over; the container's `web_server` proxy cannot stand to be told."""


def header(scope: Scope, name: bytes) -> str:
    """A request header's value; empty if it is not there."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def function_input(scope: Scope, path: str, method_name: str) -> api_pb2.FunctionInput:
    """The input that makes a web function serve a request whose path, as the function sees it, is `path`."""
    seen = {key: scope[key] for key in _PASSED_ON if key in scope} | {
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "path": path,
        "root_path": "",
        "headers": [(key, value) for key, value in scope["headers"] if key not in PRIVATE_HEADERS | _FRAMING],
        "extensions": {key: {} for key in ("http.response.trailers",) if key in scope.get("extensions", {})},
    }
    args = pickle.dumps(((seen,), {}), protocol=4)
    return api_pb2.FunctionInput(
        args=args, data_format=api_pb2.DATA_FORMAT_PICKLE, method_name=method_name, final_input=False
    )


def to_chunk(message: Message) -> api_pb2.DataChunk:
    """A message that the server side receives, as the container takes it."""
    return api_pb2.DataChunk(data_format=api_pb2.DATA_FORMAT_ASGI, data=_encode(message).SerializeToString())


def _encode(message: Message) -> api_pb2.Asgi:
    match message["type"]:
        case "http.request":
            part = api_pb2.Asgi.HttpRequest(body=message["body"], more_body=message["more_body"])
            return api_pb2.Asgi(http_request=part)
        case "http.disconnect":
            return api_pb2.Asgi(http_disconnect=api_pb2.Asgi.HttpDisconnect())
        case "websocket.connect":
            return api_pb2.Asgi(websocket_connect=api_pb2.Asgi.WebsocketConnect())
        case "websocket.receive":
            frame = api_pb2.Asgi.WebsocketReceive(**{key: message[key] for key in ("bytes", "text") if key in message})
            return api_pb2.Asgi(websocket_receive=frame)
        case "websocket.disconnect":
            return api_pb2.Asgi(websocket_disconnect=api_pb2.Asgi.WebsocketDisconnect(code=message.get("code", 1005)))
        case unknown:
            raise ValueError(f"no ASGI server sends {unknown!r}")


def from_bytes(data: bytes) -> Message | None:  # noqa: PLR0911 (a table)
    """A message that the app sent; None for one that the container's client does not know either."""
    asgi = api_pb2.Asgi.FromString(data)
    match asgi.WhichOneof("type"):
        case "http_response_start":
            start = asgi.http_response_start
            return {
                "type": "http.response.start",
                "status": start.status,
                "headers": _pairs(start.headers),
                "trailers": start.trailers,
            }
        case "http_response_body":
            body = asgi.http_response_body
            return {"type": "http.response.body", "body": body.body, "more_body": body.more_body}
        case "http_response_trailers":
            trailers = asgi.http_response_trailers
            return {
                "type": "http.response.trailers",
                "headers": _pairs(trailers.headers),
                "more_trailers": trailers.more_trailers,
            }
        case "websocket_accept":
            accept = asgi.websocket_accept
            return {
                "type": "websocket.accept",
                "subprotocol": accept.subprotocol or None,
                "headers": _pairs(accept.headers),
            }
        case "websocket_send":
            frame = asgi.websocket_send
            content = {"bytes": frame.bytes} if frame.HasField("bytes") else {"text": frame.text}
            return {"type": "websocket.send", **content}
        case "websocket_close":
            close = asgi.websocket_close
            return {"type": "websocket.close", "code": close.code or 1000, "reason": close.reason}
        case _:
            return None


def _pairs(flat: Any) -> Headers:
    return list(zip(flat[::2], flat[1::2], strict=True))
