"""An app with one of every kind of thing that answers on the web; `test_web.py` deploys it."""
# ruff: noqa: ARG002 (every path of an ASGI app takes what ASGI gives)

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import time

import modal
import plain_server
import raw_server

image = modal.Image.from_registry(f"python:{sys.version_info.major}.{sys.version_info.minor}-slim-bookworm")
app = modal.App("site", image=image.add_local_python_source("plain_server", "raw_server"))


class Site:
    """An ASGI app without a framework: every promise of the protocol has a path that shows it."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.seen: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:
            name = scope["path"].strip("/").replace("-", "_").replace("/", "_")
            await getattr(self, f"serve_{name or 'root'}")(scope, receive, send)

    async def lifespan(self, receive, send) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    async def answer(self, send, body: bytes, status: int = 200, **options) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"x-kind", b"site")], **options})
        await send({"type": "http.response.body", "body": body})

    async def serve_root(self, scope, receive, send) -> None:
        shown = {key: scope[key] for key in ("method", "path", "root_path", "scheme")}
        shown["container"] = os.environ["MODAL_TASK_ID"]
        shown["query"] = scope["query_string"].decode()
        shown["headers"] = {name.decode(): value.decode() for name, value in scope["headers"]}
        await self.answer(send, json.dumps(shown).encode())

    async def serve_redirect(self, scope, receive, send) -> None:
        headers = [(b"location", scope["query_string"])]
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def serve_sum(self, scope, receive, send) -> None:
        digest, more = hashlib.sha256(), True
        while more:
            message = await receive()
            digest.update(message["body"])
            more = message["more_body"]
        await self.answer(send, digest.hexdigest().encode())

    async def serve_upload(self, scope, receive, send) -> None:
        while (message := await receive())["type"] == "http.request":
            self.seen.append(f"upload: {message['body'].decode()}")
        self.seen.append("upload: broke off")

    async def serve_echo(self, scope, receive, send) -> None:
        """Sends every part of the request back as soon as it comes."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def serve_large(self, scope, receive, send) -> None:
        await self.answer(send, bytes(range(256)) * 4096 * int(scope["query_string"]))

    async def serve_events(self, scope, receive, send) -> None:
        """The second event comes only once somebody who has seen the first asks for it."""
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        await self.released.wait()
        await send({"type": "http.response.body", "body": b"data: second\n\n"})

    async def serve_release(self, scope, receive, send) -> None:
        self.released.set()
        await self.answer(send, b"")

    async def serve_generate(self, scope, receive, send) -> None:
        """Would go on for ever, but listens."""
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"token", "more_body": True})
        self.seen.append((await receive())["type"])

    async def serve_deaf(self, scope, receive, send) -> None:
        """Would go on for ever, and never listens."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"token", "more_body": True})
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise

    async def serve_seen(self, scope, receive, send) -> None:
        await self.answer(send, json.dumps(self.seen).encode())

    async def serve_trailers(self, scope, receive, send) -> None:
        trailing = "http.response.trailers" in scope["extensions"]
        await self.answer(send, b"body", trailers=trailing)
        if trailing:
            await send({"type": "http.response.trailers", "headers": [(b"x-checksum", b"42")]})

    async def serve_raise(self, scope, receive, send) -> None:
        raise ValueError("no such luck")

    async def serve_break(self, scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.sleep(0.1)
        raise ValueError("in the middle")

    async def serve_die(self, scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.sleep(0.2)
        os._exit(9)

    async def serve_die_at_once(self, scope, receive, send) -> None:
        os._exit(9)

    async def serve_ws(self, scope, receive, send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") == "close":
                await send({"type": "websocket.close", "code": 4321, "reason": "as asked"})
                return
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
        self.seen.append(message["type"])

    async def serve_ws_refuse(self, scope, receive, send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 1000})

    async def serve_ws_raise(self, scope, receive, send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise ValueError("in the middle")


@app.function(max_containers=1, min_containers=1)
@modal.concurrent(max_inputs=50)
@modal.asgi_app()
def asgi() -> Site:
    return Site()


@app.function()
@modal.concurrent(max_inputs=50)
@modal.asgi_app(label="mortal-site")
def mortal() -> Site:
    return Site()


@app.function()
@modal.asgi_app(requires_proxy_auth=True)
def private() -> Site:
    return Site()


@app.function()
@modal.asgi_app()
def one_whose_name_and_that_of_its_app_are_together_too_long_for_a_label() -> Site:
    return Site()


@app.cls()
class Methods:
    @modal.asgi_app()
    def web(self) -> Site:
        return Site()


@app.function()
@modal.wsgi_app()
def wsgi():
    def application(environ, start_response):
        start_response("201 Created", [("Content-Type", "text/plain")])
        return [environ["REQUEST_METHOD"].encode(), b" ", environ["wsgi.input"].read()]

    return application


def start(program) -> None:
    """A server that knows nothing of Modal, on port 8000."""
    subprocess.Popen([sys.executable, program.__file__, "8000"])


@app.function()
@modal.concurrent(max_inputs=50)
@modal.web_server(8000, startup_timeout=30)
def web_server() -> None:
    start(plain_server)


@app.server(port=8000, unauthenticated=True, max_containers=1)
class Server:
    program = plain_server

    @modal.enter()
    def start(self) -> None:
        start(self.program)
        while True:
            try:
                socket.create_connection(("127.0.0.1", 8000)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return


@app.server(port=8000)
class PrivateServer(Server._get_user_cls()):
    pass


@app.server(port=8000, unauthenticated=True)
class MortalServer(Server._get_user_cls()):
    pass


@app.server(port=8000, unauthenticated=True)
class RawServer(Server._get_user_cls()):
    program = raw_server
