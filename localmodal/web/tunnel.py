"""One websocket between a client and a server in a container."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from localmodal.web import replies
from localmodal.web.asgi import NOT_PASSED_ON

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable

    from websockets.asyncio.client import ClientConnection

    from localmodal.web.asgi import Receive, Scope, Send


async def tunnel(connection: Awaitable[socket.socket], path: bytes, scope: Scope, receive: Receive, send: Send) -> None:
    """Passes a websocket's messages on, both ways, until one side closes it; `path` is raw."""
    await receive()  # websocket.connect
    try:
        async with _connect(await connection, path, scope) as upstream:
            await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
            await _both_ways(upstream, receive, send)
    except InvalidStatus as refused:
        await _refuse(refused, send)
    except (OSError, InvalidHandshake) as error:
        await replies.bad_gateway(f"the server's container took no websocket: {error}")(scope, send)


class _Connect(connect):
    """A websocket's client that leaves redirects to the one who asked."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


def _connect(sock: socket.socket, path: bytes, scope: Scope) -> _Connect:
    query = scope["query_string"].decode("latin-1")
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if _belongs(name)}
    return _Connect(
        f"ws://{headers.pop('host', 'localhost')}{path.decode('latin-1')}{'?' + query if query else ''}",
        sock=sock,
        origin=headers.pop("origin", None),
        user_agent_header=headers.pop("user-agent", None),
        subprotocols=scope["subprotocols"] or None,
        additional_headers=headers,
        compression=None,
        max_size=None,
        ping_interval=None,
        proxy=None,
    )


def _belongs(name: bytes) -> bool:
    return name not in NOT_PASSED_ON and not name.startswith(b"sec-websocket-")


async def _both_ways(upstream: ClientConnection, receive: Receive, send: Send) -> None:
    outward = asyncio.create_task(_to_server(upstream, receive))
    try:
        async for data in upstream:
            await send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
    except ClientDisconnected:
        return
    except ConnectionClosed:
        pass
    finally:
        outward.cancel()
    with suppress(ClientDisconnected):
        await send(
            {"type": "websocket.close", "code": upstream.close_code or 1011, "reason": upstream.close_reason or ""}
        )


async def _to_server(upstream: ClientConnection, receive: Receive) -> None:
    with suppress(ConnectionClosed):
        while (message := await receive())["type"] == "websocket.receive":
            data: Any = message.get("bytes")
            await upstream.send(message["text"] if data is None else data)
        await upstream.close(_sendable(message.get("code", 1000)))


def _sendable(code: int) -> int:
    """The code to close with: those for a connection that broke are not sent on the wire."""
    return 1000 if code in {1005, 1006, 1015} else code


async def _refuse(refused: InvalidStatus, send: Send) -> None:
    response = refused.response
    headers = [(name.encode(), value.encode("latin-1")) for name, value in response.headers.raw_items()]
    await send({"type": "websocket.http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": bytes(response.body or b"")})
