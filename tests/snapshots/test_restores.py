"""Every copy goes on exactly where the original was, whatever the program held; and so does the original."""

import asyncio
import hashlib
import re
from pathlib import Path

import pytest
from features import FEATURES, REFUSED

from localmodal.worker.processes import descendants
from localmodal.worker.snapshots import criu
from localmodal.worker.snapshots.protocol import SnapshotError

AS_IT_WAS = "as it was\n"


@pytest.mark.parametrize("feature", FEATURES)
async def test_copies_and_original_go_on_as_if_nothing_had_been(bench, feature):
    original = await bench.feature(feature)
    snapshot = await bench.snapshot(original)
    copies = await asyncio.gather(*(bench.restore(snapshot) for _ in range(3)))
    words = await asyncio.gather(original.goes_on(), *(copy.goes_on() for copy in copies))
    assert words == [AS_IT_WAS] * 4


@pytest.mark.parametrize("held", REFUSED)
async def test_what_cannot_be_restored_is_refused_and_the_container_goes_on(bench, held):
    original = await bench.feature(held)
    with pytest.raises(SnapshotError, match=r"connected over TCP|CRIU cannot dump it"):
        await bench.snapshot(original)
    assert await original.goes_on() == AS_IT_WAS


async def test_the_far_end_of_a_connection_is_named(bench):
    original = await bench.feature("a connection over TCP to the outside")
    with pytest.raises(SnapshotError, match=r"connected over TCP .*127\.0\.0\.1:\d+.*close the connection"):
        await bench.snapshot(original)


async def test_without_disk_space_there_is_no_snapshot_and_the_container_goes_on(bench, monkeypatch):
    original = await bench.feature("a_large_block")
    monkeypatch.setattr(criu, "_SPARE", 1 << 60)
    with pytest.raises(
        SnapshotError, match=r"no disk space for a snapshot: it takes about \d+ MiB, .* has \d+ MiB free"
    ):
        await bench.snapshot(original)
    assert await original.goes_on() == AS_IT_WAS


async def test_large_memory_is_mapped_and_shared_and_what_a_copy_writes_is_its_own(bench):
    snapshot = await bench.snapshot(await bench.feature("writes_in_place"))
    (memory,) = (snapshot.folder / "memory").iterdir()
    before = fingerprint(memory)
    first, second = await asyncio.gather(bench.restore(snapshot), bench.restore(snapshot))
    assert mapped_kib(first, memory.name) > 23 << 10
    assert mapped_kib(second, memory.name) > 23 << 10
    assert await first.goes_on() == AS_IT_WAS
    assert await second.goes_on() == AS_IT_WAS
    assert fingerprint(memory) == before


@pytest.mark.parametrize(
    ("feature", "heaps"), [("small_blocks_in_the_main_heap", 1), ("small_blocks_in_the_heaps_of_threads", 3)]
)
async def test_heaps_are_mapped(bench, feature, heaps):
    snapshot = await bench.snapshot(await bench.feature(feature))
    (memory,) = (snapshot.folder / "memory").iterdir()
    copy = await bench.restore(snapshot)
    assert len(mappings(copy, memory.name)) >= heaps
    assert mapped_kib(copy, memory.name) > heaps * 4 << 10
    assert await copy.goes_on() == AS_IT_WAS


async def test_eight_copies_at_once(bench):
    snapshot = await bench.snapshot(await bench.feature("a_fork_that_writes"))
    copies = await asyncio.gather(*(bench.restore(snapshot) for _ in range(8)))
    assert await asyncio.gather(*(copy.goes_on() for copy in copies)) == [AS_IT_WAS] * 8


async def test_copies_are_in_control_groups_of_their_own_and_outlive_the_original(bench):
    """Under cgroup v2, CRIU by itself puts them into the original's."""
    original = await bench.feature("worker_processes")
    snapshot = await bench.snapshot(original)
    copies = [await bench.restore(snapshot) for _ in range(2)]
    for container in (running.container for running in (original, *copies)):
        assert container.bundle.cgroup.processes() == {container.pid, *descendants(container.pid)}
    await original.container.kill()
    assert [await copy.goes_on() for copy in copies] == [AS_IT_WAS] * 2


async def test_a_copy_can_be_snapshotted_again_even_after_the_first_snapshot_is_gone(bench):
    first = await bench.snapshot(await bench.feature("writes_in_place"))
    copy = await bench.restore(first)
    second = await bench.snapshot(copy)
    await copy.container.kill()
    await bench.snapshotter.discard(first)
    third = await bench.snapshot(await bench.restore(second))
    assert (third.folder / "image/pages-1.img").stat().st_blocks * 512 < 16 << 20, "mapped memory is not dumped again"
    copies = [await bench.restore(snapshot) for snapshot in (second, third)]
    assert [await copy.goes_on() for copy in copies] == [AS_IT_WAS] * 2


async def test_a_discarded_snapshot_stays_until_its_last_copy_has_ended(bench):
    snapshot = await bench.snapshot(await bench.feature("what_was_written_changed_and_removed"))
    copy = await bench.restore(snapshot)
    discarding = asyncio.create_task(bench.snapshotter.discard(snapshot))
    await asyncio.sleep(0.2)
    assert await copy.goes_on() == AS_IT_WAS
    await discarding
    assert not snapshot.folder.exists()


async def test_what_two_generations_wrote_is_in_the_third(bench):
    first = await bench.snapshot(await bench.feature("what_was_written_changed_and_removed"))
    second = await bench.snapshot(await bench.restore(first))
    assert [path.name for path in sorted((second.folder / "upper").iterdir())] == ["000", "001"]
    assert await (await bench.restore(second)).goes_on() == AS_IT_WAS


async def test_a_switch_goes_back_to_the_image_as_criu_wrote_it(bench, monkeypatch, needs_snapshots):
    monkeypatch.setenv("COLDSNAP_MAPPED_SNAPSHOTS", "0")
    reading = await criu.CriuSnapshotter.open(bench.home, bench.runtime, needs_snapshots)
    snapshot = await bench.snapshot(await bench.feature("a_large_block"))
    (memory,) = (snapshot.folder / "memory").iterdir()
    copy = await bench.restore(snapshot, reading)
    assert mapped_kib(copy, memory.name) == 0
    assert await copy.goes_on() == AS_IT_WAS


async def test_with_the_switch_off_a_snapshot_is_not_mapped_at_all(bench, monkeypatch, needs_snapshots):
    monkeypatch.setenv("COLDSNAP_MAPPED_SNAPSHOTS", "0")
    bench.snapshotter = await criu.CriuSnapshotter.open(bench.home, bench.runtime, needs_snapshots)
    snapshot = await bench.snapshot(await bench.feature("a_large_block"))
    assert sorted(path.name for path in snapshot.folder.iterdir()) == ["image", "memory", "upper"]
    assert await (await bench.restore(snapshot)).goes_on() == AS_IT_WAS


async def test_if_the_mapped_image_fails_the_one_that_criu_wrote_serves(bench, caplog):
    snapshot = await bench.snapshot(await bench.feature("a_large_block"))
    (snapshot.folder / "mapped/mm-1.img").unlink()
    copy = await bench.restore(snapshot)
    assert "Trying the image as CRIU wrote it" in caplog.text
    assert (await copy.goes_on()).endswith(AS_IT_WAS)


async def test_a_restore_that_fails_says_why_and_leaves_nothing(bench):
    snapshot = await bench.snapshot(await bench.feature("a_large_block"))
    for image in ("image", "mapped"):
        (snapshot.folder / image / "core-1.img").unlink()
    with pytest.raises(SnapshotError, match="restore failed: Unexpected EOF"):
        await bench.restore(snapshot)
    assert not (bench.home.disk / "containers" / f"ta-{bench.count}").exists()


def mapped_kib(running, name):
    """How much of a memory file a container's first process maps."""
    return sum(mappings(running, name))


def mappings(running, name):
    """The KiB of each mapping of a memory file in a container's first process."""
    maps = Path(f"/proc/{running.container.pid}/smaps").read_text()
    return [int(kib) for kib in re.findall(rf"/{name}\nSize: +(\d+) kB", maps)]


def fingerprint(memory):
    """Its first part, with all that is in it; the rest is a hole."""
    with memory.open("rb") as file:
        return hashlib.sha256(file.read(64 << 20)).digest(), memory.stat().st_mtime_ns, memory.stat().st_blocks
