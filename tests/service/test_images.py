"""Images with weights in them, built in real containers from a server that is out on a network."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import modal
import pytest
from world import COMMIT, TOKEN, Said, World

from service import operations
from service.failure import Failure
from service.images import WEIGHTS
from service.recipe import Recipe
from spec import Weights

if TYPE_CHECKING:
    from real_daemon import Daemon

CONTENT = b"weights" * 100_000


@pytest.fixture
def builds(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations reach the daemon of the tests."""
    if not daemon.capabilities["containers"]:
        pytest.skip("this machine runs no containers")
    monkeypatch.setenv("COLDSNAP_HOME", str(daemon.home))


def build(weights: Weights | None = None, run: tuple[str, ...] = (), said: Said | None = None) -> dict[str, Any]:
    recipe = Recipe(base="debian-slim", python="3.11", env={}, apt=(), pip=(), run=run, weights=weights)
    request = {"recipe": recipe.model_dump(mode="json")}
    return operations.run("images", request, backend="local", environment="", progress=said or Said())


def held(image_id: str, client: modal.Client) -> dict[str, str]:
    """The files of weights in an image, with the hash of each."""
    app = modal.App("look-inside", image=modal.Image.from_id(image_id, client=client))

    @app.function(serialized=True)
    def look(root: str) -> dict[str, str]:
        import hashlib  # noqa: PLC0415 - it is sent pickled
        from pathlib import Path  # noqa: PLC0415

        files = [file for file in Path(root).rglob("*") if file.is_file()]
        return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    with app.run(client=client):
        return dict(look.remote(WEIGHTS))


def test_a_file_is_baked_from_its_address(builds: None, world: World, client: modal.Client) -> None:
    world.files["model.gguf"], sha256 = CONTENT, hashlib.sha256(CONTENT).hexdigest()
    said = Said()
    built = build(Weights(url=f"{world.address}/model.gguf", sha256=sha256), said=said)
    assert held(built["image_id"], client) == {"model.gguf": sha256}
    assert built["weights_bytes"] == len(CONTENT)
    assert any(json.dumps({"name": "model.gguf", "size": len(CONTENT)})[:-1] in line for line in said.lines)


def test_a_file_with_another_hash_is_no_image(builds: None, world: World) -> None:
    world.files["model.gguf"] = CONTENT
    with pytest.raises(Failure, match=r"(?s)The image could not be built.*weights.sha256: .* got 700,000 bytes"):
        build(Weights(url=f"{world.address}/model.gguf", sha256="1" * 64))


def test_a_gated_repository_is_baked_with_the_token_of_a_secret(
    builds: None, world: World, client: modal.Client
) -> None:
    world.repository, world.gated = {"model.safetensors": CONTENT, "config.json": b"{}"}, True
    modal.Secret.objects.delete("hub-token", allow_missing=True, client=client)
    modal.Secret.objects.create("hub-token", {"HF_ENDPOINT": world.address, "HF_TOKEN": TOKEN}, client=client)
    said = Said()
    weights = Weights(huggingface="somebody/model", revision=COMMIT, ignore=("*.json",), token_secret="hub-token")
    built = build(weights, said=said)
    assert list(held(built["image_id"], client)) == ["model/model.safetensors"]
    assert TOKEN not in "".join(said.lines)


def test_two_services_of_one_recipe_share_one_build(builds: None) -> None:
    recipe, said = ("date +%N > /built",), (Said(), Said())
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda one: build(run=recipe, said=one), said)
    assert first == second
    assert build(run=("date +%N > /built-otherwise",))["recipe"] != first["recipe"]
