"""FLUX.2 [klein] in miniature where users meet it: built, deployed, snapshotted and restored by the local Modal."""

import shutil
from base64 import b64encode
from pathlib import Path

import pytest
from painting import SIZES, decoded

from service.code import code_digest
from spec import ServiceSpec
from spec.deployment import Deployment

pytest.importorskip("torch", reason="needs torch and diffusers, which are 6 GB: see spec/diffusers.py")

WRITER = Path(__file__).parent / "tiny_flux2.py"
TINY = "tiny-flux2"
ROOM = 16
"""GB that the image takes while it is built, torch's packages twice."""


def service():
    """Its image is the engine's own, with torch; the weights are made in it, since no package carries them."""
    script = b64encode(WRITER.read_bytes()).decode()
    write = f"echo {script} | base64 -d > /tmp/write.py && python /tmp/write.py /usr/local/share/weights/{TINY}"
    return ServiceSpec.model_validate(
        {
            "name": "images",
            "engine": {"kind": "diffusers", "options": {"sizes": SIZES}},
            "weights": {"path": str(WRITER)},  # a service has some, and these are small
            "image": {"run": [write]},
            "cpu": 2,
        }
    )


@pytest.fixture(scope="module")
def images(daemon, stage):
    """The service `images`, whose next containers are restored."""
    if (free := shutil.disk_usage(daemon.home).free / 1e9) < ROOM:
        pytest.skip(f"needs {ROOM} GB for an image with torch, and there are {free:.0f}")
    spec = service()
    deployment = Deployment.of(spec, app_name=spec.name, image_id=stage.image(spec), code_digest=code_digest())
    definition = deployment.definition.model_copy(update={"weights_file": TINY})
    stage.deploy(deployment.model_copy(update={"definition": definition}))
    assert stage.start("images")["boot"]["kind"] == "cold"
    return stage


def painted(stage, **rest):
    """An image by a container that is then ended, so that the next one is by another."""
    with stage.http("images") as client:
        answer = client.post("/v1/images/generations", json={"prompt": "A cat", **rest}).json()["data"][0]
    ended = stage.start("images")["boot"]
    assert ended["kind"] == "restored"
    assert decoded(answer["b64_json"]).size == (32, 32)
    return ended["id"], answer["b64_json"]


def test_a_restored_copy_answers_as_a_cold_one_does(images):
    cold, restored = images.start("images", "Twin"), images.start("images")
    assert [cold["boot"]["kind"], restored["boot"]["kind"]] == ["cold", "restored"]
    assert list(cold["boot"]["phases"]) == ["imports", "load", "serve", "first_answer"]
    assert list(restored["boot"]["phases"]) == ["restore", "resume", "serve", "first_answer"]
    assert cold["answer"] == restored["answer"]


def test_two_restored_copies_asked_without_a_seed_differ(images):
    (one, first), (other, second) = painted(images), painted(images)
    assert one != other
    assert first != second


def test_two_restored_copies_asked_with_the_same_seed_do_not(images):
    (one, first), (other, second) = painted(images, seed=3), painted(images, seed=3)
    assert one != other
    assert first == second


def test_a_boot_record_names_the_libraries(images):
    versions = images.start("images")["boot"]["versions"]
    pins = dict(pin.split("==") for pin in service().engine.REQUIREMENTS)
    assert {name: versions[name] for name in ("diffusers", "torch", "transformers")} == {
        name: pins[name] for name in ("diffusers", "torch", "transformers")
    }
