"""The internet, as far as weights come from it: a network of its own that this process and every container reach.

One web server in it: plain files, whose connection can be cut off in the middle, and the calls of the Hugging Face Hub
that its client makes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from pyroute2.iproute.linux import IPRoute

from localmodal.worker import linux

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE, THERE = "198.51.100.1", "198.51.100.2"
LINK = "weights-test"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_" + "x" * 34


@dataclass
class World:
    """What the server has, and what it was asked."""

    address: str = f"http://{THERE}"
    files: dict[str, bytes] = field(default_factory=dict)
    """Under `/`, by name."""
    repository: dict[str, bytes] = field(default_factory=dict)
    """The files of the repository `somebody/model` at `COMMIT`."""
    large: tuple[str, ...] = ("model.safetensors",)
    """Those of them that are stored as large files (LFS)."""
    gated: bool = False
    spoilt: dict[str, bytes] = field(default_factory=dict)
    """What is sent in place of a file of the repository."""
    cut_after: list[int] = field(default_factory=list)
    """The next answers end after so many bytes."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """The path and the `Range` of each request for a file."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: World

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/") or "/resolve/" in path:
            self._hub(path)
        elif (content := self.world.files.get(path[1:])) is not None:
            self.world.asked.append((path, self.headers.get("Range", "")))
            self._send(content)
        else:
            self._refuse(404)

    do_HEAD = do_GET  # noqa: N815 - the server looks for this name

    def _hub(self, path: str) -> None:
        if self.world.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "GatedRepo")
        elif found := re.fullmatch(rf"/somebody/model/resolve/{COMMIT}/(.+)", path):
            self._file(found[1])
        elif re.fullmatch(rf"/api/models/somebody/model/revision/{COMMIT}", path):
            siblings = [self._sibling(name, content) for name, content in self.world.repository.items()]
            self._json({"id": "somebody/model", "sha": COMMIT, "siblings": siblings})
        elif re.match(rf"/api/models/somebody/model/tree/{COMMIT}", path):
            entries = [self._sibling(name, content) for name, content in self.world.repository.items()]
            self._json([{"type": "file", "path": one["rfilename"], "oid": one["blobId"], **one} for one in entries])
        else:
            self._refuse(404, "RepoNotFound")

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        one: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
        if name in self.world.large:
            sha256 = hashlib.sha256(content).hexdigest()  # `oid` in a tree, `sha256` among the files of a model
            one["lfs"] = {"sha256": sha256, "oid": sha256, "size": len(content), "pointerSize": 134}
        return one

    def _file(self, name: str) -> None:
        if name not in self.world.repository:
            self._refuse(404, "EntryNotFound")
            return
        if self.command == "GET":
            self.world.asked.append((name, self.headers.get("Range", "")))
        sibling = self._sibling(name, self.world.repository[name])
        etag = sibling["lfs"]["sha256"] if "lfs" in sibling else sibling["blobId"]
        content = self.world.spoilt.get(name, self.world.repository[name])
        self._send(content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, content: bytes, headers: dict[str, str] | None = None) -> None:
        begin = int(found[1]) if (found := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))) else 0
        if begin and begin >= len(content):
            self._refuse(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if self.command == "HEAD":
            return
        end = None
        if self.world.cut_after and len(content) > 1000:
            end = begin + self.world.cut_after.pop(0)
            self.close_connection = True
        self.wfile.write(content[begin:end])

    def _refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing: what was asked is in `asked`."""


@contextmanager
def open_world() -> Iterator[World]:
    """The server answers while this is open."""
    world = World()
    server = _server(type("Handler", (_Handler,), {"world": world}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        linux.in_own_thread(_remove)


def _server(handler: type[_Handler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer((THERE, 80), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = linux.in_own_thread(_listener)
    return server


def _listener() -> socket.socket:
    with IPRoute() as outside:
        linux.leave_network()
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        outside.link("add", ifname=LINK, kind="veth", peer={"ifname": "eth0", "net_ns_fd": namespace})
        ours = outside.link_lookup(ifname=LINK)[0]
        outside.addr("add", index=ours, address=HERE, prefixlen=24)
        outside.link("set", index=ours, state="up")
    with IPRoute() as inside:
        index = inside.link_lookup(ifname="eth0")[0]
        inside.addr("add", index=index, address=THERE, prefixlen=24)
        inside.link("set", index=index, state="up")
    os.close(namespace)
    return socket.create_server((THERE, 80))


def _remove() -> None:
    with IPRoute() as route:
        for index in route.link_lookup(ifname=LINK):
            route.link("del", index=index)


class Said:
    """What an operation says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def status(self, text: str) -> None:
        self.lines.append(text)

    warn = status
