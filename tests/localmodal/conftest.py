"""The real client and the real command line, against the daemon of `tests/conftest.py`."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit

import modal
import pytest
from grpclib.client import Channel
from modal.environments import create_environment
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientStub

Cli = Callable[..., subprocess.CompletedProcess[str]]


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

    async def __call__(self, name: str, **fields):
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


@pytest.fixture
def cli(daemon, environment, tmp_path) -> Cli:
    """Runs a `modal` command in the test's environment."""

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **daemon.env, "MODAL_ENVIRONMENT": environment, "COLUMNS": "200", "TERM": "dumb"}
        env["MODAL_CONFIG_PATH"] = str(tmp_path / "modal.toml")
        return subprocess.run(
            [sys.executable, "-m", "modal", *arguments],
            env=env,
            text=True,
            capture_output=True,
            input=stdin,
            check=False,
        )

    return run
