"""`modal.Volume`, both of its file systems, by the real client."""

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor

import modal
import pytest

LARGE = os.urandom(9_000_000) + bytes(9_000_000) + b"end"
"""More than two blocks, the second one all zeros."""


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def volume(client, request):
    with modal.Volume.ephemeral(client=client, version=request.param) as volume:
        yield volume


@pytest.fixture
def files(daemon, volume):
    """The volume as containers see it."""
    return daemon.paths.volumes / volume.object_id


def put(volume, contents: dict[str, bytes], *, force: bool = False) -> None:
    with volume.batch_upload(force=force) as batch:
        for path, content in contents.items():
            batch.put_file(io.BytesIO(content), path)


def read(volume, path: str) -> bytes:
    return b"".join(volume.read_file(path))


def paths(volume, path: str = "/", *, recursive: bool = True) -> list[str]:
    return [entry.path for entry in volume.listdir(path, recursive=recursive)]


def test_a_file_comes_back_as_it_was_put(volume):
    put(volume, {"folder/file.txt": b"content", "empty": b""})
    assert read(volume, "folder/file.txt") == b"content"
    assert read(volume, "/empty") == b""


def test_a_large_file_comes_back_as_it_was_put(volume, files, tmp_path):
    source = tmp_path / "large"
    source.write_bytes(LARGE)
    source.chmod(0o750)
    with volume.batch_upload() as batch:
        batch.put_file(source, "large")
    assert hashlib.sha256(read(volume, "large")).digest() == hashlib.sha256(LARGE).digest()
    assert (files / "large").stat().st_mode & 0o777 == 0o750
    target = io.BytesIO()
    assert volume.read_file_into_fileobj("large", target) == len(LARGE)
    assert target.getvalue() == LARGE


def test_a_folder_is_uploaded_with_all_that_is_in_it(volume, tmp_path):
    for path in ("a.txt", "sub/b.txt", "sub/deeper/b.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("the same content")
    with volume.batch_upload() as batch:
        batch.put_directory(tmp_path, "/here")
    assert paths(volume) == [
        *("here", "here/a.txt", "here/sub", "here/sub/b.txt", "here/sub/deeper", "here/sub/deeper/b.txt"),
    ]


def test_the_list_of_a_folder_is_what_is_in_it(volume):
    put(volume, {"a/b": b"12345", "a/c/d": b""})
    entries = volume.listdir("/a")
    assert [(entry.path, entry.type.name) for entry in entries] == [("a/b", "FILE"), ("a/c", "DIRECTORY")]
    assert entries[0].size == 5
    assert paths(volume, "/", recursive=False) == ["a"]
    assert paths(volume, "a/b") == ["a/b"]


def test_what_a_container_writes_is_seen_at_once(volume, files):
    (files / "from-inside").write_text("hello")
    assert read(volume, "from-inside") == b"hello"
    volume.reload()
    volume.commit()


def test_a_file_is_not_overwritten_unless_forced(volume):
    put(volume, {"file": b"first"})
    with pytest.raises(FileExistsError, match="file: already exists"):
        put(volume, {"other": b"new", "file": b"second"})
    assert paths(volume) == ["file"]
    put(volume, {"file": b"second"}, force=True)
    assert read(volume, "file") == b"second"


def test_copies_are_like_those_of_cp(volume):
    put(volume, {"a": b"1", "b": b"2", "folder/c": b"3"})
    volume.copy_files(["a"], "copy")
    volume.copy_files(["a", "b"], "folder")
    assert read(volume, "copy") == b"1"
    assert paths(volume, "folder") == ["folder/a", "folder/b", "folder/c"]
    with pytest.raises(modal.exception.InvalidError, match="'folder' is a folder"):
        volume.copy_files(["folder"], "elsewhere")


def test_folders_are_copied_with_links_as_links(client):
    with modal.Volume.ephemeral(client=client, version=2) as volume:
        put(volume, {"folder/sub/file": b"1"})
        volume.copy_files(["folder"], "copy", recursive=True)
        volume.copy_files(["folder"], "copy", recursive=True)
        assert read(volume, "copy/sub/file") == b"1"
        assert read(volume, "copy/folder/sub/file") == b"1"


def test_removing_a_folder_takes_the_recursive_option(volume):
    put(volume, {"folder/file": b"", "file": b""})
    volume.remove_file("file")
    with pytest.raises(modal.exception.InvalidError, match="recursive"):
        volume.remove_file("folder")
    volume.remove_file("folder", recursive=True)
    assert paths(volume) == []


def test_what_is_not_there_is_not_found(volume):
    for ask in (lambda: read(volume, "nothing"), lambda: volume.remove_file("no/thing")):
        with pytest.raises(FileNotFoundError, match="not found"):
            ask()
    with pytest.raises(modal.exception.NotFoundError, match="'nothing' not found"):
        volume.listdir("nothing")


@pytest.mark.parametrize("link", ["../../../secret", "/etc/passwd", "folder/../../../../secret"])
def test_a_link_never_leads_out_of_the_volume(daemon, volume, files, link):
    (daemon.home / "secret").write_text("of the host")
    (files / "folder").mkdir()
    (files / "link").symlink_to(link)
    with pytest.raises(modal.exception.InvalidError, match="leads out of the volume"):
        read(volume, "link")
    with pytest.raises(modal.exception.InvalidError, match="leads out of the volume"):
        put(volume, {"link/planted": b""})
    volume.remove_file("link")
    assert paths(volume) == ["folder"]


def test_a_path_never_leads_out_of_the_volume(daemon, volume):
    (daemon.home / "secret").write_text("of the host")
    for path in ("../../../secret", "/../../../secret"):
        with pytest.raises(modal.exception.InvalidError, match="leads out of the volume"):
            read(volume, path)
        with pytest.raises(modal.exception.InvalidError, match="leads out of the volume"):
            put(volume, {f"{path}/file": b""})


def test_a_link_inside_the_volume_is_followed(volume, files):
    put(volume, {"blobs/model": b"weights"})
    (files / "snapshot").mkdir()
    (files / "snapshot/model").symlink_to("../blobs/model")
    assert read(volume, "snapshot/model") == b"weights"
    assert [entry.type.name for entry in volume.listdir("snapshot")] == ["SYMLINK"]
    assert [(entry.path, entry.type.name) for entry in volume.listdir("snapshot/model")] == [("snapshot/model", "FILE")]
    (files / "latest").symlink_to("snapshot")
    assert read(volume, "latest/model") == b"weights"
    assert paths(volume, "latest") == ["latest/model"]


def test_a_renamed_volume_keeps_its_files(client, environment):
    volume = modal.Volume.from_name("old", environment_name=environment, create_if_missing=True, client=client)
    put(volume, {"file": b"content"})
    modal.Volume.rename("old", "new", environment_name=environment, client=client)
    renamed = modal.Volume.from_name("new", environment_name=environment, client=client)
    assert read(renamed, "file") == b"content"
    modal.Volume.objects.create("taken", environment_name=environment, client=client)
    with pytest.raises(modal.exception.AlreadyExistsError, match="Volume 'taken' already exists"):
        modal.Volume.rename("new", "taken", environment_name=environment, client=client)


def test_a_deleted_volume_is_gone_with_its_files(daemon, client, environment):
    volume = modal.Volume.from_name("gone", environment_name=environment, create_if_missing=True, client=client)
    put(volume, {"file": b"content"})
    modal.Volume.objects.delete("gone", environment_name=environment, client=client)
    assert not (daemon.paths.volumes / volume.object_id).exists()
    with pytest.raises(FileNotFoundError):
        read(volume, "file")


def test_a_volume_of_another_version_than_asked_for_is_an_error(client, environment):
    modal.Volume.objects.create("two", version=2, environment_name=environment, client=client)
    with pytest.raises(modal.exception.InvalidError, match="has version v2, not v1"):
        modal.Volume.from_name("two", version=1, environment_name=environment, client=client).hydrate()


def test_files_survive_the_daemon_being_killed(daemon, client, environment):
    volume = modal.Volume.from_name("kept", environment_name=environment, create_if_missing=True, client=client)
    put(volume, {"file": b"content"})
    unfinished = daemon.paths.volumes / "aside/up-half"
    unfinished.write_bytes(b"half of a fi")
    daemon.kill()
    daemon.start()
    assert read(volume, "file") == b"content"
    assert not unfinished.exists()


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_command_line_moves_files_in_and_out(cli, tmp_path, version):
    local, back, folder = tmp_path / "file.txt", tmp_path / "back.txt", tmp_path / "all"
    local.write_text("content")
    folder.mkdir()
    assert cli("volume", "create", "box", "--version", version).returncode == 0
    assert cli("volume", "put", "box", str(local), "/folder/").returncode == 0
    assert "already exists" in cli("volume", "put", "box", str(local), "/folder/").stderr
    assert cli("volume", "ls", "box", "folder").stdout.split() == ["folder/file.txt"]
    assert cli("volume", "get", "box", "folder/file.txt", str(back)).returncode == 0
    assert back.read_text() == "content"
    assert cli("volume", "get", "box", "folder", str(folder)).returncode == 0
    assert (folder / "folder/file.txt").read_text() == "content"


def test_the_command_line_manages_volumes_and_what_is_in_them(cli, client, environment):
    assert cli("volume", "create", "box").returncode == 0
    volume = modal.Volume.from_name("box", environment_name=environment, client=client)
    put(volume, {"folder/file.txt": b"content"})
    assert cli("volume", "cp", "box", "folder/file.txt", "copy.txt").returncode == 0
    assert cli("volume", "rm", "box", "copy.txt").returncode == 0
    assert "recursive" in cli("volume", "rm", "box", "folder").stderr
    assert cli("volume", "rm", "-r", "box", "folder").returncode == 0
    assert cli("volume", "rename", "--yes", "box", "crate").returncode == 0
    assert "crate" in cli("volume", "list", "--json").stdout
    assert cli("volume", "delete", "--yes", "crate").returncode == 0
    assert cli("volume", "list", "--json").stdout.strip() == "[]"


def test_a_file_is_whole_or_not_there_when_the_daemon_dies_during_its_upload(daemon, client, environment):
    volume = modal.Volume.from_name("box", environment_name=environment, create_if_missing=True, client=client)
    volume.hydrate()
    content = os.urandom(1_000_000) * 200
    uploads = daemon.paths.blobs / "incoming"
    with ThreadPoolExecutor() as threads:
        upload = threads.submit(put, volume, {"large": content})
        while not any(uploads.iterdir()):
            assert not upload.done()
        daemon.kill()
        daemon.start()
        failure = upload.exception()
    left = paths(volume)
    assert left == ([] if failure else ["large"])
    assert not left or read(volume, "large") == content
    assert not any(uploads.iterdir())
