"""What a change does: the table, as sentences."""

import pytest
from pulumi.output import Unknown

from service.changes import DEPLOYMENT, IMAGE, WARMUP, WEIGHTS, Effect, change
from spec.deployment import Definition

DEPLOYED = {
    "app_name": "chat",
    "environment": "",
    "definition": "d1",
    "engine": {"kind": "llama_cpp", "options": {"n_ctx": 4096}},
    "code_digest": "c1",
    "scaling": {"scaledown_window": 60},
    "rollout": "rolling",
    "url": "http://chat.localhost",
}
PROVED = {"app_name": "chat", "definition": "d1", "version": 1, "restores_in_a_row": 3, "max_starts": 10}


def test_no_diff_if_nothing_changes() -> None:
    assert change(DEPLOYMENT, DEPLOYED, dict(DEPLOYED)).effect is Effect.NOTHING


def test_no_diff_if_only_a_result_differs() -> None:
    assert change(DEPLOYMENT, DEPLOYED, DEPLOYED | {"url": "elsewhere"}).effect is Effect.NOTHING


def test_no_diff_if_the_owner_is_named_otherwise() -> None:
    assert change(DEPLOYMENT, DEPLOYED, DEPLOYED | {"owner": "p.renamed", "urn": "urn:other"}).effect is Effect.NOTHING


def test_autoscaler_update_only_if_scaledown_window_changes() -> None:
    happening = change(DEPLOYMENT, DEPLOYED, DEPLOYED | {"scaling": {"scaledown_window": 120}})
    assert (happening.effect, happening.because) == (Effect.AUTOSCALE, ("scaling",))


def test_redeploys_once_if_code_and_options_change_together() -> None:
    new = DEPLOYED | {"engine": {"kind": "llama_cpp", "options": {"n_ctx": 8192}}, "code_digest": "c2"}
    assert str(change(DEPLOYMENT, DEPLOYED, new)) == "redeploy, new snapshot (code_digest, engine)"


def test_the_digest_of_all_is_not_named_beside_what_has_changed() -> None:
    new = DEPLOYED | {"engine": {"kind": "llama_cpp", "options": {"n_ctx": 8192}}, "definition": "d2"}
    assert str(change(DEPLOYMENT, DEPLOYED, new)) == "redeploy, new snapshot (engine)"
    assert str(change(WARMUP, PROVED, PROVED | {"definition": "d2"})) == "snapshot proved again (another version)"


def test_the_strongest_of_several_changes_is_what_happens() -> None:
    happening = change(DEPLOYMENT, DEPLOYED, DEPLOYED | {"scaling": {}, "rollout": "recreate", "engine": {}})
    assert (happening.effect, happening.because) == (Effect.REDEPLOY, ("engine",))


@pytest.mark.parametrize("name", ["app_name", "environment"])
def test_replaces_if_the_name_or_the_environment_changes(name: str) -> None:
    happening = change(DEPLOYMENT, DEPLOYED, DEPLOYED | {name: "other"})
    assert (happening.effect, happening.replaces) == (Effect.REPLACE, [name])


def test_no_redeploy_if_the_rollout_changes() -> None:
    assert change(DEPLOYMENT, DEPLOYED, DEPLOYED | {"rollout": "recreate"}).effect is Effect.RECORD


def test_redeploys_if_the_live_app_runs_another_definition() -> None:
    live = DEPLOYED | {"definition": "", "version": 7}
    assert change(DEPLOYMENT, live, DEPLOYED).effect is Effect.REDEPLOY


def test_builds_again_if_a_package_changes() -> None:
    assert change(IMAGE, {"pip": ["a==1"]}, {"pip": ["a==2"]}).effect is Effect.BUILD


def test_other_weights_are_put_beside_the_old_ones() -> None:
    happening = change(WEIGHTS, {"folder": "huggingface-1"}, {"folder": "huggingface-2"})
    assert (happening.effect, happening.replaces) == (Effect.REPLACE, ["folder"])


def test_weights_are_put_again_if_a_refresh_has_found_them_damaged() -> None:
    assert change(WEIGHTS, {"damage": "gone: model.gguf"}, {}).effect is Effect.FETCH


def test_nothing_is_fetched_if_only_the_declared_size_or_the_secret_changes() -> None:
    old = {"folder": "url-1", "weights": {"size_gb": 4}}
    assert change(WEIGHTS, old, old | {"weights": {"size_gb": 5, "place": "volume"}}).effect is Effect.NOTHING


def test_verifies_again_if_restores_in_a_row_rises() -> None:
    assert change(WARMUP, PROVED, PROVED | {"restores_in_a_row": 5}).effect is Effect.VERIFY


def test_verifies_again_if_a_refresh_has_found_the_snapshot_lost() -> None:
    happening = change(WARMUP, PROVED | {"failure": "the last 3 starts were cold."}, PROVED)
    assert (happening.effect, happening.because) == (Effect.VERIFY, ("failure",))


def test_no_new_proof_if_restores_in_a_row_falls() -> None:
    assert change(WARMUP, PROVED, PROVED | {"restores_in_a_row": 1, "max_starts": 20}).effect is Effect.RECORD


def test_verifies_again_if_the_version_moved() -> None:
    assert change(WARMUP, PROVED, PROVED | {"version": 2}).effect is Effect.VERIFY


def test_verifies_again_if_the_app_is_another_one() -> None:
    assert change(WARMUP, PROVED | {"app_id": "ap-1"}, PROVED | {"app_id": "ap-2"}).effect is Effect.VERIFY


def test_no_diff_in_a_preview_if_only_the_scaling_of_the_deployment_changes() -> None:
    """The preview does not know the version of an app that it updates, but the definition stays."""
    assert change(WARMUP, PROVED, PROVED | {"version": Unknown()}).effect is Effect.NOTHING


def test_every_part_of_a_definition_is_a_new_version() -> None:
    for name in set(Definition.model_fields) - {"service", "app_name"}:
        assert DEPLOYMENT[name] is Effect.REDEPLOY, name
