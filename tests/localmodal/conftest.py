"""The real client and the real command line, against the daemon of `tests/conftest.py`."""

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import modal
import pytest
import web_site
from grpclib.client import Channel
from modal.environments import create_environment
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientStub
from websockets.asyncio.client import connect

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Functions are sent pickled, so a container's Python must be the test's own."""
Deploy = Callable[..., modal.App]
Visit = Callable[..., httpx.AsyncClient]


@pytest.fixture
def client(daemon) -> Iterator[modal.Client]:
    credentials = daemon.env["MODAL_TOKEN_ID"], daemon.env["MODAL_TOKEN_SECRET"]
    with modal.Client(daemon.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, credentials) as client:
        yield client


class Calls:
    """Single calls of the protocol, for what no public part of the client asks in this way."""

    def __init__(self, daemon) -> None:
        url = urlsplit(daemon.env["MODAL_SERVER_URL"])
        self.channel = Channel(url.hostname, url.port)
        self._stub = ModalClientStub(self.channel)
        self._metadata = {
            "x-modal-token-id": daemon.env["MODAL_TOKEN_ID"],
            "x-modal-token-secret": daemon.env["MODAL_TOKEN_SECRET"],
            "x-modal-client-version": modal.__version__,
            "x-modal-client-type": str(api_pb2.CLIENT_TYPE_CLIENT),
        }

    async def __call__(self, name: str, /, **fields):
        method = getattr(self._stub, name)
        return await method(method.request_type(**fields), metadata=self._metadata)


@pytest.fixture
async def call(daemon) -> AsyncIterator[Calls]:
    calls = Calls(daemon)
    yield calls
    calls.channel.close()


@pytest.fixture
def environment(client, request) -> str:
    """An environment of the test's own, so that names need not be."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[-60:].strip("-")
    create_environment(name, client=client)
    return name


class Cli:
    """Programs of a user, in an environment of the test's own."""

    def __init__(self, daemon, environment: str, config: Path) -> None:
        self._env = {**os.environ, **daemon.env, "MODAL_ENVIRONMENT": environment, "MODAL_CONFIG_PATH": str(config)}
        self._env |= {"COLUMNS": "200", "TERM": "dumb"}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a `modal` command."""
        return self._run("-m", "modal", *arguments)

    def python(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a program that uses the client."""
        return self._run("-c", program, *arguments)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], env=self._env, text=True, capture_output=True, check=False)


@pytest.fixture
def cli(daemon, environment, tmp_path) -> Cli:
    """The `modal` command line."""
    return Cli(daemon, environment, tmp_path / "modal.toml")


@pytest.fixture(scope="session")
def image() -> modal.Image:
    """The least image that has a Python: built once for all tests."""
    return modal.Image.from_registry(f"python:{PYTHON}-slim-bookworm")


@pytest.fixture
def app(request, image) -> modal.App:
    """An app of the test's own, whose functions are sent pickled: `@app.function(serialized=True)`."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[-50:].strip("-")
    return modal.App(name, image=image)


@pytest.fixture
def deploy(client) -> Iterator[Deploy]:
    """Deploys apps, and stops them after the test."""
    deployed = {}

    def deploy(app: modal.App, **options) -> modal.App:
        app.deploy(client=client, **options)
        deployed[app.app_id] = app
        return app

    yield deploy
    for app in deployed.values():
        with contextlib.suppress(modal.exception.Error):
            app.stop(client=client)


@pytest.fixture(scope="module")
def owner(daemon) -> Iterator[modal.Client]:
    credentials = daemon.env["MODAL_TOKEN_ID"], daemon.env["MODAL_TOKEN_SECRET"]
    with modal.Client(daemon.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, credentials) as client:
        yield client


@pytest.fixture(scope="module")
def site(owner) -> Iterator[modal.App]:
    web_site.app.deploy(client=owner)
    yield web_site.app
    web_site.app.stop(client=owner)


@pytest.fixture
async def visit(daemon) -> AsyncIterator[Visit]:
    """Makes clients that ask one label, by its name in the Host header: not every machine resolves `*.localhost`."""
    clients: list[httpx.AsyncClient] = []

    def visit(label: str) -> httpx.AsyncClient:
        headers = {"Host": f"{label}.localhost"}
        clients.append(httpx.AsyncClient(base_url=daemon.env["COLDSNAP_HTTP_URL"], headers=headers, timeout=60))
        return clients[-1]

    yield visit
    for client in clients:
        await client.aclose()


@pytest.fixture
def dial(daemon) -> Callable[..., connect]:
    """Opens a websocket of one label, by path."""
    base = daemon.env["COLDSNAP_HTTP_URL"].replace("http://", "ws://")

    def dial(label: str, path: str, **options) -> connect:
        return connect(f"{base}/_apps/{label}/{path}", proxy=None, **options)

    return dial
