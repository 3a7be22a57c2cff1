"""Which memory is mapped, and how an image says so: on made-up memory maps, without CRIU."""

import struct

import pytest

from localmodal.worker.snapshots.criu_images import PAGE, ImageError, PagemapEntry, VmaEntry
from localmodal.worker.snapshots.mapped import (
    Run,
    Span,
    block_size,
    malloc_blocks,
    mapped_vmas,
    merged_runs,
    pagemap_entry,
    parts_to_map,
    plain_spans,
    runs_without,
)

MIB = 1 << 20
BASE = 0x7F00_0000_0000
PLAIN = {"status": 0x201, "flags": 0x22, "prot": 3, "pgoff": 0, "shmid": 0}


def vma(start, end, **more):
    return VmaEntry(start=start, end=end, **(PLAIN | more))


def header(size, previous=0, flags=2):
    return struct.pack("<QQ", previous, size | flags)


@pytest.fixture
def pages(tmp_path):
    """A pages file: zeros but for the words given by offset."""

    def write(size, words):
        content = bytearray(size)
        for offset, word in words.items():
            content[offset : offset + len(word)] = word
        (tmp_path / "pages").write_bytes(content)
        return tmp_path / "pages"

    return write


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


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (header(2 * MIB), 2 * MIB),
        (header(2 * MIB, flags=3), 0),  # in use by the arena: no mapping of its own
        (header(2 * MIB, flags=6), 0),  # of another arena
        (header(2 * MIB, previous=16), 0),
        (header(2 * MIB + 16), 0),  # not a multiple of the page
        (header(0, flags=0), 0),
    ],
)
def test_a_block_is_known_by_its_header_alone(head, size):
    assert block_size(head, 0) == size


@pytest.mark.parametrize(
    "more",
    [
        {"status": 0x221},  # [heap]
        {"status": 0x41, "flags": 2},  # a file
        {"flags": 0x21},  # shared
        {"flags": 0x2022},  # locked
        {"prot": 0},
        {"prot": 7},
        {"madv": 1 << 15},  # a thread's stack
        {"madv": 1 << 18},  # WIPEONFORK
    ],
)
def test_only_plain_anonymous_memory_is_looked_at(more):
    assert plain_spans([vma(BASE, BASE + MIB, **more)]) == []


def test_neighbours_are_one_span_whatever_advice_they_carry():
    vmas = [vma(BASE, BASE + MIB), vma(BASE + MIB, BASE + 2 * MIB, madv=1 << 14), vma(BASE + 3 * MIB, BASE + 4 * MIB)]
    assert plain_spans(vmas) == [Span(BASE, BASE + 2 * MIB), Span(BASE + 3 * MIB, BASE + 4 * MIB)]


def test_blocks_are_found_one_after_the_other_and_between_other_memory(pages):
    file = pages(8 * MIB, {PAGE: header(2 * MIB), PAGE + 2 * MIB: header(MIB), 6 * MIB: header(MIB)})
    found = malloc_blocks([vma(BASE, BASE + 8 * MIB)], [Run(BASE, BASE + 8 * MIB, 0)], file)
    starts = [PAGE, PAGE + 2 * MIB, 6 * MIB]
    assert found == [Span(BASE + at, BASE + at + size) for at, size in zip(starts, (2 * MIB, MIB, MIB), strict=True)]


def test_a_block_that_ends_outside_its_memory_is_none(pages):
    file = pages(MIB, {0: header(4 * MIB)})
    assert malloc_blocks([vma(BASE, BASE + MIB)], [Run(BASE, BASE + MIB, 0)], file) == []


def test_a_header_inside_a_block_is_data(pages):
    file = pages(4 * MIB, {0: header(4 * MIB), MIB: header(MIB)})
    assert malloc_blocks([vma(BASE, BASE + 4 * MIB)], [Run(BASE, BASE + 4 * MIB, 0)], file) == [
        Span(BASE, BASE + 4 * MIB)
    ]


def test_a_block_with_holes_is_found_and_its_long_runs_are_mapped(pages):
    runs = [
        Run(BASE, BASE + 2 * MIB, 0),
        Run(BASE + 3 * MIB, BASE + 3 * MIB + PAGE, 2 * MIB),
        Run(BASE + 6 * MIB, BASE + 9 * MIB, 3 * MIB),
    ]
    file = pages(6 * MIB, {0: header(8 * MIB)})
    blocks = malloc_blocks([vma(BASE, BASE + 10 * MIB)], runs, file)
    assert blocks == [Span(BASE, BASE + 8 * MIB)]
    assert parts_to_map(blocks, runs) == [runs[0], Run(BASE + 6 * MIB, BASE + 8 * MIB, 3 * MIB)]


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
