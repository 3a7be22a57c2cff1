"""Requests through the HTTP front, against the same container asked directly; and through an ASGI function.

    . setup/activate && python benchmarks/http_front.py --rounds 10

Starts a daemon in a home of its own and deploys a server (`@app.server`) and an ASGI function that answer with a few
bytes. In a round each side is asked 1,000 times (the function 100), one request after the other on one connection;
the round's figure is the median. The sides take turns. Asking a container directly takes root, to enter its network.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated
from urllib.parse import urlsplit

import modal
import typer

from localmodal.home import coldsnap_home
from localmodal.worker.linux import enter_namespace, in_own_thread
from spread import Spread, print_json, print_table

PORT = 8000
PROGRAM = f"""
import asyncio, os
answer = os.environ["MODAL_TASK_ID"].encode()
response = b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n%b" % (len(answer), answer)

class Answering(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(response)

async def main():
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", {PORT})
    await server.serve_forever()

asyncio.run(main())
"""
app = modal.App(
    "http-front",
    image=modal.Image.from_registry(f"python:{sys.version_info.major}.{sys.version_info.minor}-slim-bookworm"),
)


@app.server(port=PORT, unauthenticated=True, serialized=True, min_containers=1, max_containers=1)
class Server:
    """Answers with its task's id."""

    @modal.enter()
    def start(self) -> None:
        """Starts the program and waits until it answers."""
        subprocess.Popen([sys.executable, "-c", PROGRAM])
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", PORT)):
                return


@app.function(serialized=True, min_containers=1, max_containers=1)
@modal.concurrent(max_inputs=10)
@modal.asgi_app()
def function() -> Callable:
    """Answers with a few bytes."""

    async def application(scope, receive, send) -> None:  # noqa: ANN001
        if scope["type"] == "http":
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    return application


@contextlib.contextmanager
def daemon() -> Iterator[dict[str, str]]:
    """A daemon in a temporary home that shares the machine's tools and caches; yields a client's environment."""
    with tempfile.TemporaryDirectory(prefix="coldsnap-benchmark-") as home:
        for shared in ("tools", "cache"):
            if (coldsnap_home() / shared).exists():
                (Path(home) / shared).symlink_to(coldsnap_home() / shared)
        env = {**os.environ, "COLDSNAP_HOME": home}
        command = [sys.executable, "-m", "localmodal"]
        try:
            started = subprocess.run([*command, "start"], env=env, check=True, stdout=subprocess.PIPE)
            yield json.loads(started.stdout)
        finally:
            subprocess.run([*command, "destroy"], env=env, check=True, stdout=subprocess.DEVNULL)


class Side:
    """One connection, and what it asks."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._request = f"GET / HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\n\r\n".encode()

    def ask(self) -> bytes:
        """One request; returns the answer's body."""
        self._connection.sendall(self._request)
        answer = b""
        while True:
            answer += self._connection.recv(65536)
            head, end, body = answer.partition(b"\r\n\r\n")
            if end and len(body) == int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
                assert head.startswith(b"HTTP/1.1 200"), answer
                return body

    def round(self, requests: int) -> float:
        """The median of so many requests, in milliseconds."""
        seconds = []
        for _ in range(requests):
            began = perf_counter()
            self.ask()
            seconds.append(perf_counter() - began)
        return median(seconds) * 1000


def connect_directly(task_id: str) -> socket.socket:
    """A connection to the server's port inside its container."""

    def connect() -> socket.socket:
        enter_namespace(process_of(task_id) / "ns/net")
        return socket.create_connection(("127.0.0.1", PORT))

    return in_own_thread(connect)


def process_of(task_id: str) -> Path:
    """A process of the container, as its folder in /proc."""
    mark = f"MODAL_TASK_ID={task_id}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if mark in environ.read_bytes().split(b"\0"):
                return environ.parent
    raise SystemExit(f"no process of container {task_id} is to be seen: are you root?")


def measure(rounds: int, requests: int) -> dict[str, Spread]:
    """All figures, in milliseconds."""
    with daemon() as env:
        os.environ.update(env)
        app.deploy()
        address = urlsplit(env["COLDSNAP_HTTP_URL"])
        front = (address.hostname or "", address.port or 0)
        through = Side(socket.create_connection(front), "http-front-server.localhost")
        sides = {
            "directly": Side(connect_directly(through.ask().decode()), "localhost"),
            "through the front": through,
            "an ASGI function": Side(socket.create_connection(front), "http-front-function.localhost"),
        }
        sizes = dict.fromkeys(sides, requests) | {"an ASGI function": requests // 10}
        for side in sides.values():
            side.round(requests // 10)
        runs = [{name: side.round(sizes[name]) for name, side in sides.items()} for _ in range(rounds)]
        app.stop()
    figures = {name: Spread([run[name] for run in runs]) for name in sides}
    return figures | {"the front adds": Spread([run["through the front"] - run["directly"] for run in runs])}


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 10,
    requests: Annotated[int, typer.Option(min=10, help="a round and side")] = 1000,
    *,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Measure the HTTP front."""
    figures = measure(rounds, requests)
    (print_json if as_json else print_table)("Keep-alive requests: median of a round, milliseconds", figures)


if __name__ == "__main__":
    typer.run(main)
