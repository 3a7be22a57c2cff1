"""How an image says that memory is mapped: on made-up memory maps, without CRIU."""

import pytest

from localmodal.worker.snapshots.criu_images import PAGE, ImageError, PagemapEntry, VmaEntry
from localmodal.worker.snapshots.mapped import mapped_vmas, parts_to_map
from localmodal.worker.snapshots.pages import Run, Span, merged_runs, pagemap_entry, runs_without

MIB = 1 << 20
BASE = 0x7F00_0000_0000
PLAIN = {"status": 0x201, "flags": 0x22, "prot": 3, "pgoff": 0, "shmid": 0}


def vma(start, end, **more):
    return VmaEntry(start=start, end=end, **(PLAIN | more))


def test_neighbouring_pagemap_entries_are_one_run_and_offsets_follow_the_order():
    entries = [
        PagemapEntry(vaddr=BASE, compat_nr_pages=0, nr_pages=256, flags=4),
        PagemapEntry(vaddr=BASE + MIB, compat_nr_pages=0, nr_pages=2, flags=6),
        PagemapEntry(vaddr=BASE + 4 * MIB, compat_nr_pages=3, flags=4),
    ]
    gap = MIB + 2 * PAGE
    assert merged_runs(entries) == [Run(BASE, BASE + gap, 0), Run(BASE + 4 * MIB, BASE + 4 * MIB + 3 * PAGE, gap)]


@pytest.mark.parametrize("more", [{"flags": 4, "in_parent": True}, {"flags": 5}, {"flags": 2}])
def test_pages_that_are_elsewhere_are_refused(more):
    with pytest.raises(ImageError, match="not in the image itself"):
        merged_runs([PagemapEntry(vaddr=BASE, compat_nr_pages=0, nr_pages=1, **more)])


def test_the_long_runs_of_a_block_with_holes_are_mapped():
    runs = [
        Run(BASE, BASE + 2 * MIB, 0),
        Run(BASE + 3 * MIB, BASE + 3 * MIB + PAGE, 2 * MIB),
        Run(BASE + 6 * MIB, BASE + 9 * MIB, 3 * MIB),
    ]
    parts = parts_to_map([Span(BASE, BASE + 8 * MIB)], runs)
    assert parts == [runs[0], Run(BASE + 6 * MIB, BASE + 8 * MIB, 3 * MIB)]


def test_what_is_not_mapped_stays_in_its_order():
    runs = [Run(0, 10, 0), Run(20, 60, 10)]
    assert runs_without(runs, [Run(20, 30, 10), Run(40, 50, 30)]) == [Run(0, 10, 0), Run(30, 40, 20), Run(50, 60, 40)]


def test_a_vma_is_cut_where_memory_is_mapped_and_the_rest_stays_as_it_was():
    whole = vma(BASE, BASE + 8 * MIB, madv=1 << 14)
    whole.MergeFromString(b"\x40\x01")  # the field `fd`, of which criu_images.py knows nothing
    before, mapped, after = mapped_vmas([whole], [Run(BASE + MIB, BASE + 3 * MIB, 5 * MIB)], 77)
    assert (before.start, before.end, before.madv, before.flags) == (BASE, BASE + MIB, 1 << 14, 0x22)
    assert (after.start, after.end, after.status) == (BASE + 3 * MIB, BASE + 8 * MIB, 0x201)
    assert (mapped.start, mapped.end, mapped.status, mapped.flags) == (BASE + MIB, BASE + 3 * MIB, 0x41, 2)
    assert (mapped.pgoff, mapped.shmid, mapped.fdflags, mapped.madv) == (5 * MIB, 77, 0, 0)
    assert all(piece.SerializeToString().endswith(b"\x40\x01") for piece in (before, mapped, after))


def test_a_block_over_two_vmas_is_mapped_in_both():
    vmas = [vma(BASE, BASE + MIB), vma(BASE + MIB, BASE + 2 * MIB)]
    first, second = mapped_vmas(vmas, [Run(BASE, BASE + 2 * MIB, 0)], 5)
    assert (first.end, first.pgoff, second.start, second.pgoff) == (BASE + MIB, 0, BASE + MIB, MIB)


def test_a_pagemap_entry_is_written_as_criu_4_does():
    assert (
        pagemap_entry(Run(BASE, BASE + 3 * PAGE, 7)).SerializeToString()
        == PagemapEntry(vaddr=BASE, compat_nr_pages=0, flags=4, nr_pages=3).SerializeToString()
    )
