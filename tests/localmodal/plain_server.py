"""A plain HTTP server (aiohttp), as a user would start it in a container."""

import asyncio
import hashlib
import os
import sys

from aiohttp import WSMsgType, web

routes = web.RouteTableDef()
released = asyncio.Event()
seen: list[str] = []
connections: set[int] = set()


@routes.route("*", "/")
async def show(request: web.Request) -> web.Response:
    connections.add(id(request.transport))
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "connections": len(connections),
        }
    )


@routes.get("/redirect")
async def redirect(request: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": request.query_string})


@routes.post("/sum")
async def digest(request: web.Request) -> web.Response:
    sha256 = hashlib.sha256()
    async for chunk in request.content.iter_any():
        sha256.update(chunk)
    return web.Response(text=sha256.hexdigest())


@routes.post("/upload")
async def upload(request: web.Request) -> web.Response:
    try:
        while chunk := await request.content.readany():
            seen.append(f"upload: {chunk.decode()}")
    except (ConnectionError, web.RequestPayloadError):
        seen.append("upload: broke off")
        raise
    return web.Response()


@routes.get("/large")
async def large(_: web.Request) -> web.Response:
    return web.Response(body=bytes(range(256)) * 4096 * 20)


@routes.get("/events")
async def events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b"data: first\n\n")
    await released.wait()
    await response.write(b"data: second\n\n")
    return response


@routes.post("/release")
async def release(_: web.Request) -> web.Response:
    released.set()
    return web.Response()


@routes.get("/generate")
async def generate(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b"token")
            await asyncio.sleep(0.05)
    except (ConnectionResetError, asyncio.CancelledError):
        seen.append("hung up")
        raise


@routes.get("/seen")
async def show_seen(_: web.Request) -> web.Response:
    return web.json_response(seen)


@routes.get("/unchanged")
async def unchanged(_: web.Request) -> web.Response:
    return web.Response(status=304, headers={"ETag": '"1"'})


@routes.get("/die")
async def die(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    await asyncio.sleep(0.1)
    os._exit(9)


@routes.get("/ws")
async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=["talk"])
    await socket.prepare(request)
    async for message in socket:
        if message.data == "close":
            await socket.close(code=4321, message=b"as asked")
        elif message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    return socket


@routes.get("/ws-refuse")
async def refuse(_: web.Request) -> web.Response:
    return web.Response(status=403, text="not you")


app = web.Application(client_max_size=1 << 30)
app.add_routes(routes)

if __name__ == "__main__":
    web.run_app(app, host="0.0.0.0", port=int(sys.argv[1]), print=None)
