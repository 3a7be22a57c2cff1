"""Weights on a Volume: fetched by a function in a real container from a server that is out on a network."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import modal
import pytest
from modal_proto import api_pb2
from world import World, open_world

from service import operations
from spec import Weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Daemon

CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OWNER = "p.dev"


class Said:
    """What an operation says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def status(self, text: str) -> None:
        self.lines.append(text)

    warn = status


class Keeper:
    """Runs the operation on one service's weights."""

    def __init__(self, name: str, client: modal.Client) -> None:
        self.name = name
        self.client = client
        self.said = Said()

    def __call__(self, verb: str, weights: Weights, owner: str = OWNER) -> dict[str, Any]:
        request = {"verb": verb, "app_name": self.name, "owner": owner, "folder": weights.folder(None)}
        request["weights"] = weights.model_dump(mode="json")
        return operations.run("weights", request, backend="local", environment="", progress=self.said)

    @property
    def volume(self) -> modal.Volume:
        return modal.Volume.from_name(f"{self.name}-weights", client=self.client)

    def paths(self) -> list[str]:
        return sorted(entry.path.strip("/") for entry in self.volume.listdir("/", recursive=True))

    def read(self, path: str) -> bytes:
        return b"".join(self.volume.read_file(path))


@pytest.fixture
def world() -> Iterator[World]:
    with open_world() as world:
        yield world


@pytest.fixture(scope="session")
def client(daemon: Daemon) -> Iterator[modal.Client]:
    credentials = daemon.env["MODAL_TOKEN_ID"], daemon.env["MODAL_TOKEN_SECRET"]
    with modal.Client(daemon.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, credentials) as client:
        yield client


@pytest.fixture
def keeper(
    daemon: Daemon, client: modal.Client, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Keeper]:
    if not daemon.capabilities["containers"]:
        pytest.skip("this machine runs no containers")
    monkeypatch.setenv("COLDSNAP_HOME", str(daemon.home))
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    keeper = Keeper(f"w{name}", client)
    yield keeper
    modal.Volume.objects.delete(f"{keeper.name}-weights", allow_missing=True, client=client)


def from_url(world: World, **more: Any) -> Weights:
    world.files["model.gguf"] = CONTENT
    return Weights(url=f"{world.address}/model.gguf", **{"sha256": SHA256, **more})


def test_a_file_goes_from_its_address_to_the_volume(keeper: Keeper, world: World) -> None:
    weights = from_url(world)
    assert keeper("put", weights) == {"volume": f"{keeper.name}-weights", "bytes": len(CONTENT), "files": 1}
    assert keeper.read(f"{weights.folder(None)}/model.gguf") == CONTENT
    assert keeper("look", weights) == {"damage": None}
