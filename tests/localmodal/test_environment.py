"""Environments and the workspace's settings, by the real client and its command line."""

import json

import modal
import pytest
from modal.environments import create_environment, delete_environment, list_environments, update_environment


def named(client, name):
    return next((one for one in list_environments(client=client) if one.name == name), None)


def test_the_first_environment_is_main_and_the_default(client):
    assert named(client, "main").default
    assert modal.Environment.from_context(client=client).hydrate().name == "main"


def test_an_environment_is_made_renamed_and_deleted_with_what_is_in_it(client):
    create_environment("staging", client=client)
    assert named(client, "staging").webhook_suffix == "staging"
    modal.Dict.objects.create("store", environment_name="staging", client=client)
    update_environment("staging", new_name="stage", new_web_suffix="s", client=client)
    assert named(client, "stage").webhook_suffix == "s"
    modal.Dict.from_name("store", environment_name="stage", client=client).hydrate()
    delete_environment("stage", client=client)
    create_environment("stage", client=client)
    with pytest.raises(modal.exception.NotFoundError):
        modal.Dict.from_name("store", environment_name="stage", client=client).hydrate()
    delete_environment("stage", client=client)


def test_deleting_an_environment_ends_the_apps_in_it(client, environment, app, daemon):
    @app.function(serialized=True, min_containers=1)
    def idle() -> None:
        pass

    app.deploy(client=client, environment_name=environment)
    idle.remote()
    assert app.app_id in [one["app_id"] for one in daemon.status["containers"]]
    delete_environment(environment, client=client)
    status = daemon.status
    assert app.app_id not in [one["id"] for one in status["apps"]]
    assert app.app_id not in [one["app_id"] for one in status["containers"]]


def test_the_same_name_in_two_environments_is_two_objects(client, environment):
    for name in ("main", environment):
        store = modal.Dict.from_name("shared-name", environment_name=name, create_if_missing=True, client=client)
        store["environment"] = name
    assert modal.Dict.from_name("shared-name", environment_name="main", client=client)["environment"] == "main"
    modal.Dict.objects.delete("shared-name", environment_name="main", client=client)


def test_an_environment_that_does_not_exist_is_not_found(client):
    with pytest.raises(modal.exception.NotFoundError, match="Environment 'nowhere' not found"):
        modal.Dict.objects.list(environment_name="nowhere", client=client)


def test_the_default_environment_cannot_be_deleted(client):
    with pytest.raises(modal.exception.ConflictError, match="'main' is the default environment"):
        delete_environment("main", client=client)


def test_an_environment_has_its_own_image_builder_version(client, environment):
    def set_version(version):
        update_environment(environment, new_image_builder_version=version, client=client)

    set_version("2026.10")
    assert named(client, environment).image_builder_version == "2026.10"
    with pytest.raises(modal.exception.InvalidError, match=r"version '1999\.01' cannot be built"):
        set_version("1999.01")
    set_version("")
    assert not named(client, environment).HasField("image_builder_version")


def test_names_that_are_none_are_refused(client):
    with pytest.raises(modal.exception.InvalidError, match="is no name for an environment"):
        create_environment("a/b", client=client)
    with pytest.raises(modal.exception.AlreadyExistsError, match="'main' already exists"):
        create_environment("main", client=client)


def test_the_command_line_knows_environments_the_workspace_and_the_token(cli, daemon, environment):
    listed = json.loads(cli("environment", "list", "--json").stdout)
    assert {"main", environment} <= {one["name"] for one in listed}
    assert cli("environment", "create", "by-hand").returncode == 0
    assert cli("environment", "update", "by-hand", "--set-name", "by-hand-2").returncode == 0
    assert cli("environment", "delete", "--yes", "by-hand-2").returncode == 0
    [member] = json.loads(cli("workspace", "members", "list", "--json").stdout)
    assert (member["name"], member["role"]) == ("local", "owner")
    info = cli("token", "info")
    assert daemon.env["MODAL_TOKEN_ID"] in info.stdout
    assert daemon.env["MODAL_TOKEN_SECRET"] not in info.stdout + info.stderr
    assert (
        cli(
            "token",
            "set",
            "--token-id",
            daemon.env["MODAL_TOKEN_ID"],
            "--token-secret",
            daemon.env["MODAL_TOKEN_SECRET"],
            "--profile",
            "local",
        ).returncode
        == 0
    )
    assert "local" in cli("profile", "list").stdout
