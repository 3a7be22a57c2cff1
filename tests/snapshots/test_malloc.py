"""Which memory is proven to be malloc's: on made-up memory maps, without CRIU."""

import struct

import pytest

from localmodal.worker.snapshots.criu_images import PAGE, MmEntry, VmaEntry
from localmodal.worker.snapshots.malloc import malloc_memory, spans
from localmodal.worker.snapshots.pages import Run, Span

MIB = 1 << 20
BASE = 0x7F00_0000_0000
PLAIN = {"status": 0x201, "flags": 0x22, "prot": 3, "pgoff": 0, "shmid": 0}
HEAP = {"status": 0x221}
ARENA_HEAP = {"flags": 0x4022}
IN_USE = 1


def vma(start, end, **more):
    return VmaEntry(start=start, end=end, **(PLAIN | more))


def own_mapping(size, previous=0, flags=2):
    """The header of a block that has a mapping of its own."""
    return struct.pack("<QQ", previous, size | flags)


def chunk(size, flags=IN_USE):
    return struct.pack("<QQ", 0, size | flags)


@pytest.fixture
def found(tmp_path):
    """What is malloc's in memory of that kind at BASE: zeros, but for the words given by their offset."""

    def look(size, words, **kind):
        content = bytearray(size)
        for offset, word in words.items():
            content[offset : offset + len(word)] = word
        pages = tmp_path / "pages"
        pages.write_bytes(content)
        end = BASE + kind.pop("vma_size", size)
        mm = MmEntry(mm_start_brk=BASE, mm_brk=end, vmas=[vma(BASE, end, **kind)])
        runs = [Run(BASE, BASE + size, 0)]
        return [(span.start - BASE, span.end - BASE) for span in malloc_memory(mm, runs, pages)]

    return look


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
def test_only_plain_memory_of_one_kind_is_looked_at(more):
    assert spans([vma(BASE, BASE + MIB, **more)], 0x201, 0x22) == []


def test_neighbours_are_one_span_whatever_advice_they_carry():
    vmas = [vma(BASE, BASE + MIB), vma(BASE + MIB, BASE + 2 * MIB, madv=1 << 14), vma(BASE + 3 * MIB, BASE + 4 * MIB)]
    assert spans(vmas, 0x201, 0x22) == [Span(BASE, BASE + 2 * MIB), Span(BASE + 3 * MIB, BASE + 4 * MIB)]


@pytest.mark.parametrize(
    ("head", "is_one"),
    [
        (own_mapping(MIB), True),
        (own_mapping(MIB, flags=3), False),  # in use by the arena: no mapping of its own
        (own_mapping(MIB, flags=6), False),  # of another arena
        (own_mapping(MIB, previous=16), False),
        (own_mapping(MIB + 16), False),  # not a multiple of the page
        (own_mapping(4 * MIB), False),  # ends outside
        (own_mapping(0), False),
    ],
)
def test_a_block_with_a_mapping_of_its_own_is_known_by_its_header(found, head, is_one):
    assert found(2 * MIB, {PAGE: head}) == ([(PAGE, PAGE + MIB)] if is_one else [])


def test_such_blocks_are_found_one_after_the_other_and_between_other_memory(found):
    starts_and_sizes = {PAGE: 2 * MIB, PAGE + 2 * MIB: MIB, 6 * MIB: MIB}
    words = {start: own_mapping(size) for start, size in starts_and_sizes.items()}
    assert found(8 * MIB, words) == [(start, start + size) for start, size in starts_and_sizes.items()]


def test_a_header_inside_a_block_is_data(found):
    assert found(4 * MIB, {0: own_mapping(4 * MIB), MIB: own_mapping(MIB)}) == [(0, 4 * MIB)]


CHUNKS = {0: chunk(656), 656: chunk(MIB, flags=0), 656 + MIB: chunk(MIB - 656)}


def test_a_main_heap_is_known_by_chunks_that_lead_to_its_end(found):
    assert found(2 * MIB, CHUNKS, **HEAP) == [(0, 2 * MIB)]


@pytest.mark.parametrize(
    "wrong",
    [
        {656: chunk(MIB + 16)},  # leads between two chunks
        {656: chunk(2 * MIB)},  # and over the end
        {656: chunk(MIB, flags=2)},  # no such flag in a heap
        {656: chunk(MIB + 8, flags=0)},
        {656: chunk(0)},  # a fencepost in the middle
    ],
)
def test_one_chunk_that_leads_elsewhere_is_no_proof(found, wrong):
    assert found(2 * MIB, CHUNKS | wrong, **HEAP) == []


def test_a_page_that_is_not_in_the_image_is_no_proof(found):
    assert found(MIB, CHUNKS, vma_size=2 * MIB, **HEAP) == []


def arena(words, size, previous=0, at=0, header=48):
    """A heap of an arena: its header (heap_info), and the arena itself if it is its first heap."""
    head = struct.pack("<QQQQ", BASE + header, previous and BASE, size, size)
    start = at + (header if previous else -(-(header + 2200) // 16) * 16)
    return {at: head} | {start + offset: word for offset, word in words.items()}


@pytest.mark.parametrize("header", [32, 48])
def test_an_arena_is_known_by_its_header_and_its_chunks(found, header):
    room = MIB - -(-(header + 2200) // 16) * 16
    words = {0: chunk(4096), 4096: chunk(room - 4096)}
    assert found(2 * MIB, arena(words, MIB, header=header), **ARENA_HEAP) == [(0, MIB)]
    assert found(2 * MIB, arena(words | {0: chunk(4112)}, MIB, header=header), **ARENA_HEAP) == []


def test_an_arenas_second_heap_is_found_beside_the_first_that_ends_with_a_fencepost(found):
    full = 64 * MIB
    first = arena({0: chunk(full - 2256 - 32), full - 2256 - 32: chunk(16), full - 2256 - 16: chunk(0)}, full)
    second = arena({0: chunk(MIB - 48)}, MIB, previous=1, at=full)
    assert found(full + MIB, first | second, **ARENA_HEAP) == [(0, full), (full, full + MIB)]


def test_a_heap_that_claims_another_arena_than_the_first_heaps_is_none(found):
    assert found(MIB, arena({0: chunk(MIB - 48)}, MIB, header=4096), **ARENA_HEAP) == []
