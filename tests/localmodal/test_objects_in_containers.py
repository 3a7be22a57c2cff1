"""What a function's container sees of secrets, volumes, dicts, queues and mounts, and does to them."""

import io

import modal
import pytest


@pytest.fixture
def named(client):
    """Makes named objects in the main environment, where the app is; deletes them after the test."""
    made = []

    def make(kind, name, *arguments, **options):
        kind.objects.create(name, *arguments, client=client, **options)
        made.append((kind, name))
        return kind.from_name(name, client=client).hydrate()

    yield make
    for kind, name in made:
        kind.objects.delete(name, client=client, allow_missing=True)


def variable(app, secrets, **options):
    """A function that says what an environment variable is."""

    @app.function(serialized=True, name="variable", secrets=secrets, **options)
    def variable(name: str) -> str | None:
        import os

        return os.environ.get(name)

    return variable


def test_later_secrets_win_over_earlier_ones(app, deploy, named):
    secret = named(modal.Secret, "credentials", {"A": "named", "B": "named"})
    function = variable(app, [secret, modal.Secret.from_dict({"B": "given"})])
    deploy(app)
    assert (function.remote("A"), function.remote("B"), function.remote("C")) == ("named", "given", None)


def test_a_container_that_starts_after_an_update_gets_the_new_value(app, deploy, named):
    secret = named(modal.Secret, "rotated", {"KEY": "old"})
    function = variable(app, [secret], single_use_containers=True)
    deploy(app)
    assert function.remote("KEY") == "old"
    secret.update({"KEY": "new"})
    assert function.remote("KEY") == "new"
    assert secret.info(refresh=True).last_used is not None


def test_a_call_that_needs_a_deleted_secret_fails_with_the_reason(app, deploy, named, client):
    secret = named(modal.Secret, "deleted", {"KEY": "value"})
    function = variable(app, [secret])
    deploy(app)
    modal.Secret.objects.delete("deleted", client=client)
    with pytest.raises(modal.exception.Error, match=f"Secret '{secret.object_id}' not found"):
        function.remote("KEY")


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_and_a_client_share_a_volumes_files(app, deploy, named, version):
    volume = named(modal.Volume, f"shared-{version}", version=version)

    @app.function(serialized=True, volumes={"/shared": volume})
    def exchange() -> str:
        from pathlib import Path

        Path("/shared/from-container").write_text("hello")
        volume.commit()
        with volume.batch_upload() as batch:
            batch.put_file("/shared/from-container", "uploaded")
        return b"".join(volume.read_file("from-client")).decode()

    deploy(app)
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"good morning"), "from-client")
    assert exchange.remote() == "good morning"
    assert b"".join(volume.read_file("from-container")) == b"hello"
    assert b"".join(volume.read_file("uploaded")) == b"hello"


def test_a_part_of_a_volume_is_mounted_read_only_if_asked(app, deploy, named):
    volume = named(modal.Volume, "parts")
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"yes"), "inner/file")
        batch.put_file(io.BytesIO(b"no"), "outer")

    @app.function(serialized=True, volumes={"/part": volume.with_mount_options(sub_path="inner", read_only=True)})
    def look() -> tuple[list[str], str]:
        from pathlib import Path

        try:
            Path("/part/new").touch()
        except OSError as error:
            outcome = error.strerror
        return [path.name for path in Path("/part").iterdir()], outcome

    deploy(app)
    assert look.remote() == (["file"], "Read-only file system")


def test_a_link_in_a_volume_does_not_let_the_host_in_as_a_sub_path(app, deploy, named, daemon):
    volume = named(modal.Volume, "linked")
    (daemon.paths.volumes / volume.object_id / "inner").symlink_to("/")

    @app.function(serialized=True, volumes={"/part": volume.with_mount_options(sub_path="inner")})
    def look() -> str:
        return "started"

    deploy(app)
    with pytest.raises(modal.exception.Error, match="'inner' leads out of the volume"):
        look.remote()


def test_containers_use_dicts_and_queues_by_the_handles_of_the_deployment(app, deploy, named):
    store, queue = named(modal.Dict, "notes"), named(modal.Queue, "line")

    @app.function(serialized=True)
    def echo() -> None:
        store["seen"] = queue.get(timeout=30)
        queue.put(store["seen"] * 2, partition="answers")

    deploy(app)
    call = echo.spawn()
    queue.put(21)
    assert queue.get(timeout=30, partition="answers") == 42
    call.get(timeout=30)
    assert store["seen"] == 21


def test_payloads_over_two_mebibytes_travel_both_ways(app, deploy):
    @app.function(serialized=True)
    def double(data: bytes) -> bytes:
        return data + data

    deploy(app)
    assert double.remote(b"x" * 3_000_000) == b"x" * 6_000_000
