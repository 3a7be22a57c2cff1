"""Snapshots are whole or not there; one in doubt is never used; a bad one is taken once more, then no more."""

import os
import shutil
import stat

import pytest

from localmodal.worker.snapshots.library import SnapshotLibrary, all_failures
from localmodal.worker.snapshots.manifest import Verifier
from localmodal.worker.snapshots.protocol import SnapshotError


class Writes:
    """A snapshotter that writes a few files: what the library does with them is what is tested here."""

    version = "1"

    def __init__(self):
        self.taken = 0
        self.error = None

    async def discard(self, snapshot):
        shutil.rmtree(snapshot.folder)

    async def checkpoint(self, _container, into):
        self.taken += 1
        (into / "image").mkdir()
        (into / "image/core").write_bytes(b"core")
        (into / "upper").mkdir()
        (into / "upper/link").symlink_to("core")
        if self.error:
            raise self.error
        with (into / "memory").open("wb") as memory:
            memory.write(os.urandom(1 << 20))
            memory.truncate(64 << 30)


@pytest.fixture
def snapshotter():
    return Writes()


@pytest.fixture
def library(tmp_path, snapshotter):
    made = SnapshotLibrary(tmp_path / "snapshots", snapshotter)
    made.sweep()
    return made


@pytest.fixture
def again(tmp_path, snapshotter):
    """The library of a daemon that was started again."""

    def open_again():
        made = SnapshotLibrary(tmp_path / "snapshots", snapshotter)
        made.sweep()
        return made

    return open_again


async def test_a_snapshot_that_was_added_is_found_by_its_key_alone(library):
    added = await library.add("key", None)
    assert await library.find("key") == added
    assert await library.find("another") is None


async def test_a_snapshot_outlives_the_daemon(library, again):
    added = await library.add("key", None)
    assert await again().find("key") == added


async def test_one_is_wanted_until_it_is_there(library):
    assert library.wanted("key")
    await library.add("key", None)
    assert not library.wanted("key")


@pytest.mark.parametrize("error", [SnapshotError("no"), OSError(28, "No space left on device"), KeyboardInterrupt()])
async def test_nothing_is_left_of_one_that_could_not_be_taken(library, snapshotter, tmp_path, error):
    snapshotter.error = error
    with pytest.raises((SnapshotError, KeyboardInterrupt)):
        await library.add("key", None)
    assert list((tmp_path / "snapshots").iterdir()) == []
    assert library.wanted("key")


async def test_what_was_half_written_when_the_daemon_died_is_swept(library, again, tmp_path):
    for name in ("a.part", "b.gone", "c"):
        (tmp_path / "snapshots" / name / "image").mkdir(parents=True)
    (tmp_path / "snapshots/d.failures.part").touch()
    added = await library.add("key", None)
    again()
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == [added.name]


async def test_of_one_function_the_newest_three_are_kept(library):
    others = await library.add("fu-2/only", None)
    versions = [f"fu-1/{number}" for number in range(5)]
    for version in versions:
        await library.add(version, None)
    assert [bool(await library.find(version)) for version in versions] == [False, False, True, True, True]
    assert await library.find("fu-2/only") == others


async def test_one_of_another_kernel_processor_or_criu_is_never_found_and_is_swept(
    library, again, snapshotter, tmp_path
):
    await library.add("key", None)
    snapshotter.version = "2"
    assert await again().find("key") is None
    assert list((tmp_path / "snapshots").iterdir()) == []


async def test_a_bad_one_is_taken_once_more_and_then_never_again(library, again, caplog):
    first = await library.add("key", None)
    library.mark_bad(first.name, "the copy died")
    assert await library.find("key") is None
    assert library.wanted("key")
    assert "the copy died. Starts are cold; the next cold start takes it once more" in caplog.text
    second = await again().add("key", None)
    later = again()
    later.mark_bad(second.name, "the copy died again")
    assert not again().wanted("key")
    assert "it is not taken again" in caplog.text
    (known,) = all_failures(later._folder)
    assert (known.name, known.count, known.reason, known.given_up) == (first.name, 2, "the copy died again", True)


def damage_each(folder):
    """Flips one byte of each file in turn; its size and modification time stay."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        status = path.stat()
        size = min(status.st_size, status.st_blocks * 512)
        for at in sorted({0, size // 2, size - 1}) if size else ():
            flip(path, at)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            yield path
            flip(path, at)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip(path, at):
    path.chmod(path.stat().st_mode | stat.S_IWUSR)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


async def test_one_flipped_byte_of_any_file_is_noticed_at_once_and_after_a_restart(bench):
    """A real snapshot, with size and modification time as they were."""
    folder = (await bench.snapshot(await bench.feature("what_was_written_changed_and_removed"))).folder
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IWUSR)  # not to take the change of mode for the damage
    verifier = Verifier()
    verifier.seal(folder, ["1"], folder)
    assert verifier.damage(folder) is None
    damaged = 0
    for path in damage_each(folder):
        what = str(path.relative_to(folder)) if path.name != "manifest" else "manifest is damaged"
        for noticing in (verifier, Verifier()):
            assert noticing.damage(folder)
        assert path.name == "manifest" or "is not as it was written" in Verifier().damage(folder), what
        damaged += 1
    assert damaged > 60
    assert verifier.damage(folder) is None


async def test_a_damaged_one_is_not_used_and_the_reason_is_kept(library, caplog):
    added = await library.add("key", None)
    flip(added.folder / "image/core", 2)
    assert await library.find("key") is None
    assert not added.folder.exists()
    assert "image/core is not as it was written" in caplog.text
    assert library.failures(added.name).reason == "image/core is not as it was written"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda folder: (folder / "image/core").unlink(), "image/core is missing"),
        (lambda folder: (folder / "image/more").touch(), "image/more was not there when it was written"),
        (lambda folder: (folder / "image/core").chmod(0o777), "image/core is not as it was written"),
        (lambda folder: (folder / "memory").open("r+b").write(b"0123"), "memory is not as it was written"),
        (lambda folder: write_at(folder / "memory", 60 << 30), "memory is not as it was written"),
        (lambda folder: (folder / "manifest").unlink(), "its manifest is damaged"),
        (lambda folder: (folder / "manifest").write_text(""), "its manifest is damaged"),
    ],
)
async def test_whatever_changed_is_named(library, change, complaint):
    added = await library.add("key", None)
    change(added.folder)
    assert await library.find("key") is None
    assert complaint in library.failures(added.name).reason


def write_at(path, offset):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"x")


async def test_a_file_is_hashed_once_in_the_life_of_a_daemon(library, again, monkeypatch):
    await library.add("key", None)
    later = again()
    assert await later.find("key")
    monkeypatch.setattr("localmodal.worker.snapshots.manifest._hash", lambda path: pytest.fail(f"{path} hashed again"))
    assert await later.find("key")
    assert await library.find("key"), "hashed when it was written"


async def test_a_second_name_for_a_file_does_not_make_it_bad(library, tmp_path):
    """As a snapshot of a copy gives to the memory files of the first: that changes their ctime."""
    added = await library.add("key", None)
    (tmp_path / "second").hardlink_to(added.folder / "memory")
    assert await library.find("key") == added


async def test_files_of_a_removed_snapshot_stay_for_those_who_have_them_open(library):
    added = await library.add("key", None)
    with (added.folder / "memory").open("rb") as memory:
        library.mark_bad(added.name, "no reason")
        assert len(memory.read(1 << 20)) == 1 << 20


async def test_snapshots_of_a_function_that_is_gone_are_discarded(library):
    kept, gone = await library.add("fu-1/key", None), await library.add("fu-2/key", None)
    failed = await library.add("fu-3/key", None)
    library.mark_bad(failed.name, "no reason")
    library.discard_all_but({"fu-1"})
    assert await library.find("fu-1/key") == kept
    assert await library.find("fu-2/key") is None
    assert not gone.folder.exists()
    assert not library.failures(failed.name).count
