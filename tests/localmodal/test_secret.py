"""`modal.Secret`, by the real client: values go in, and never come out again but into containers."""

import modal
import pytest

PLANTED = "correct-horse-battery-staple"


def names(client, environment):
    return [one.name for one in modal.Secret.objects.list(environment_name=environment, client=client)]


def test_a_secret_is_found_by_name_with_its_keys(client, environment):
    values = {"KEY": PLANTED, "OTHER": ""}
    modal.Secret.objects.create("named", values, environment_name=environment, client=client)
    found = modal.Secret.from_name("named", environment_name=environment, required_keys=["KEY"], client=client)
    found.hydrate()
    assert set(found._get_metadata().keys) == {"KEY", "OTHER"}
    assert found.info().environment_name == environment
    assert found.info().last_used is None
    assert names(client, environment) == ["named"]


def test_a_missing_key_is_named(client, environment):
    modal.Secret.objects.create("named", {"KEY": "1"}, environment_name=environment, client=client)
    secret = modal.Secret.from_name("named", environment_name=environment, required_keys=["A", "B"], client=client)
    with pytest.raises(modal.exception.ConflictError, match="lacks the keys: A, B"):
        secret.hydrate()


def test_an_update_adds_keys_and_keeps_the_others(client, environment):
    modal.Secret.objects.create("named", {"KEY": "1"}, environment_name=environment, client=client)
    secret = modal.Secret.from_name("named", environment_name=environment, client=client).hydrate()
    secret.update({"NEW": "2"})
    secret.info(refresh=True)
    assert set(secret._get_metadata().keys) == {"KEY", "NEW"}


def test_creating_one_twice_keeps_the_first(client, environment):
    def create(values, **options):
        modal.Secret.objects.create("twice", values, environment_name=environment, client=client, **options)

    create({"FIRST": "1"})
    with pytest.raises(modal.exception.AlreadyExistsError):
        create({"SECOND": "2"})
    create({"SECOND": "2"}, allow_existing=True)
    secret = modal.Secret.from_name("twice", environment_name=environment, client=client).hydrate()
    assert set(secret._get_metadata().keys) == {"FIRST"}


def test_a_deleted_secret_is_not_found(client, environment):
    modal.Secret.objects.create("gone", {"KEY": "1"}, environment_name=environment, client=client)
    modal.Secret.objects.delete("gone", environment_name=environment, client=client)
    with pytest.raises(modal.exception.NotFoundError, match="Secret 'gone' not found in environment"):
        modal.Secret.from_name("gone", environment_name=environment, client=client).hydrate()


async def test_the_same_values_of_the_same_app_are_the_same_secret(call):
    """Else each deployment would be a new definition, and lose its snapshot."""
    anonymous = {"object_creation_type": "OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP", "app_id": "ap-1"}
    first = await call("SecretGetOrCreate", env_dict={"A": "1", "B": "2"}, **anonymous)
    again = await call("SecretGetOrCreate", env_dict={"B": "2", "A": "1"}, **anonymous)
    other = await call("SecretGetOrCreate", env_dict={"A": "1", "B": "3"}, **anonymous)
    assert first.secret_id == again.secret_id
    assert first.secret_id != other.secret_id


def test_the_command_line_manages_secrets_and_shows_no_value(cli, tmp_path):
    created = cli("secret", "create", "vault", f"KEY={PLANTED}")
    assert created.returncode == 0
    listed = cli("secret", "list", "--json")
    assert "vault" in listed.stdout
    assert cli("secret", "create", "vault", "KEY=other").returncode != 0
    assert cli("secret", "create", "--force", "vault", f"KEY={PLANTED}2").returncode == 0
    dotenv = tmp_path / "values.json"
    dotenv.write_text('{"FROM_FILE": "1"}')
    assert cli("secret", "create", "from-file", "--from-json", str(dotenv)).returncode == 0
    assert cli("secret", "delete", "--yes", "vault").returncode == 0
    for answer in (created, listed):
        assert PLANTED not in answer.stdout + answer.stderr


def test_a_value_is_in_the_database_alone_and_nobody_else_may_read_that(daemon, client, environment):
    modal.Secret.objects.create("planted", {"KEY": PLANTED}, environment_name=environment, client=client)
    # The image of the disk is looked at from inside, where it is mounted; snapshots are other tests' containers.
    seen = [path for path in daemon.home.rglob("*") if not path.is_relative_to(daemon.paths.disk / "snapshots")]
    files = [path for path in seen if path.is_file() and path != daemon.paths.disk_image]
    holders = [path for path in files if PLANTED.encode() in path.read_bytes()]
    assert holders
    for path in holders:
        assert path.name.startswith("state.db"), path
        assert path.stat().st_mode & 0o077 == 0, path
