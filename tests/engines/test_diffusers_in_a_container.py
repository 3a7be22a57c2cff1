"""The stack `local-images`: FLUX.2 [klein] in miniature, deployed, snapshotted and restored by the local Modal."""

import subprocess
import sys

import pytest
from painting import decoded
from stage import ROOT

from spec.diffusers import DiffusersEngine


@pytest.fixture(scope="module")
def deployed(room, stage, put_up):
    made = [sys.executable, "-m", "setup.tiny_flux2"]
    subprocess.run(made, cwd=ROOT, env=stage.env, check=True)
    return put_up("local-images")


@pytest.fixture(scope="module")
def images(stage, deployed):
    """The service `images`, whose next containers are restored."""
    assert deployed.output("images")["snapshot"] == "verified"
    return stage


def test_no_diff_if_nothing_changed(deployed):
    deployed.pulumi("preview", "--refresh", "--expect-no-changes")


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
    pins = dict(pin.split("==") for pin in DiffusersEngine.REQUIREMENTS)
    assert {name: versions[name] for name in ("diffusers", "torch", "transformers")} == {
        name: pins[name] for name in ("diffusers", "torch", "transformers")
    }
