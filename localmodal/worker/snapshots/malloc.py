"""Which memory of a process is glibc's malloc's, proven by malloc's own bookkeeping in a CRIU image.

The layouts are those of malloc/malloc.c and malloc/arena.c of glibc 2.27 to 2.42 on 64-bit machines. With another
allocator, or another layout, no proof closes and nothing is found.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

from localmodal.worker.snapshots.criu_images import PAGE
from localmodal.worker.snapshots.pages import Memory, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from localmodal.worker.snapshots.pages import Run

# Bits of vma_entry.status, vma_entry.prot, vma_entry.flags and vma_entry.madv, as in CRIU's image.h and mman.h.
_REGULAR, _HEAP, _ANON_PRIVATE = 1 << 0, 1 << 5, 1 << 9
_READ, _EXEC = 1, 4
_PRIVATE, _ANONYMOUS, _NORESERVE = 0x02, 0x20, 0x4000
_MADV_DONTFORK, _MADV_HUGEPAGE, _MADV_DONTDUMP = 1 << 10, 1 << 14, 1 << 16
_HARMLESS_ADVICE = _MADV_DONTFORK | _MADV_HUGEPAGE | _MADV_DONTDUMP
"""Other advice means something that a file mapping cannot do (WIPEONFORK) or marks a thread's stack (NOHUGEPAGE)."""

_IS_MMAPPED = 2
_FLAGS = 7
_ALIGNMENT = 16
_ARENA_HEAP = 64 << 20
"""HEAP_MAX_SIZE: the heaps of an arena lie at multiples of it."""
_ARENA = 2200
"""sizeof(struct malloc_state): what stands before the first chunk of an arena's first heap, after the heap's header."""
_LARGEST_HEADER = 64
"""Bytes. sizeof(heap_info) is 32, from 2.35 on 48."""


def malloc_memory(mm: Any, runs: Sequence[Run], pages: Path) -> list[Span]:
    """The blocks that have a mapping of their own, the main heap and the heaps of arenas, by their addresses.

    `mm`: the process's mm_entry. `pages`: its pages file, in which `runs` tell where each address lies.
    """
    if not runs:
        return []
    with pages.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        memory = Memory(runs, content)
        return sorted([*_own_mappings(mm, memory), *_main_heap(mm, memory), *_arena_heaps(mm, memory)])


def _own_mappings(mm: Any, memory: Memory) -> Iterator[Span]:
    for span in spans(mm.vmas, _REGULAR | _ANON_PRIVATE, _PRIVATE | _ANONYMOUS):
        yield from _blocks_in(span, memory)


def _main_heap(mm: Any, memory: Memory) -> Iterator[Span]:
    """What brk() gave: chunk follows chunk from its first byte to its last."""
    heap = Span(mm.mm_start_brk, mm.mm_brk)
    if heap in spans(mm.vmas, _REGULAR | _ANON_PRIVATE | _HEAP, _PRIVATE | _ANONYMOUS) and _are_chunks(heap, memory):
        yield heap


def _arena_heaps(mm: Any, memory: Memory) -> Iterator[Span]:
    for span in spans(mm.vmas, _REGULAR | _ANON_PRIVATE, _PRIVATE | _ANONYMOUS | _NORESERVE):
        for start in range(_round_up(span.start, _ARENA_HEAP), span.end, _ARENA_HEAP):
            heap = _arena_heap(start, memory)
            if heap and heap.end <= span.end:
                yield heap


def _arena_heap(start: int, memory: Memory) -> Span | None:
    """The heap whose header (heap_info) is at that address: its arena, the heap before, its size."""
    arena, previous, size = memory.words(start, 3) or (0, 0, 0)
    header = arena % _ARENA_HEAP  # an arena stands behind the header of its first heap
    if not 0 < header <= _LARGEST_HEADER or (arena - header == start) != (previous == 0):
        return None
    first = start + header if previous else arena + _ARENA
    chunks = Span(_round_up(first, _ALIGNMENT), start + size)
    return Span(start, start + size) if _are_chunks(chunks, memory) else None


def spans(vmas: Iterable[Any], status: int, flags: int) -> list[Span]:
    """Memory of one kind, joined: blocks that are neighbours share a VMA, and advice splits one."""
    found: list[Span] = []
    for vma in vmas:
        if (vma.status, vma.flags) != (status, flags) or not _is_plain(vma):
            continue
        if found and found[-1].end == vma.start:
            found[-1] = found[-1]._replace(end=vma.end)
        else:
            found.append(Span(vma.start, vma.end))
    return found


def _is_plain(vma: Any) -> bool:
    return vma.prot & (_READ | _EXEC) == _READ and not vma.madv & ~_HARMLESS_ADVICE


def _blocks_in(span: Span, memory: Memory) -> Iterator[Span]:
    """A block begins on a page that was written to, at least by malloc; so only pages of the image are looked at."""
    at = span.start
    for run in memory.runs_from(span.start):
        if run.start >= span.end:
            return
        at = max(at, run.start)
        while at < min(run.end, span.end):
            size = _block_size(memory.word_in(run, at), memory.word_in(run, at + 8))
            if size and at + size <= span.end:
                yield Span(at, at + size)
            at += size if size and at + size <= span.end else PAGE


def _block_size(previous: int, size: int) -> int:
    """The size by the two words of a header at a page's start; 0 if it is none."""
    return size & ~_FLAGS if previous == 0 and size & (PAGE - 1) == _IS_MMAPPED else 0


def _are_chunks(span: Span, memory: Memory) -> bool:
    """Whether chunk follows chunk, each by the size in its header, and the last one ends where the span does.

    The last may be a fencepost: a header with the size 0.
    """
    at, run = span.start, None
    while at < span.end:
        if run is None or at >= run.end:
            run = memory.run_at(at)
        if run is None:
            return False
        word = memory.word_in(run, at + 8)
        size = word & ~_FLAGS
        if size == 0:
            return at + _ALIGNMENT == span.end
        if word & _IS_MMAPPED or size % _ALIGNMENT:
            return False
        at += size
    return at == span.end > span.start


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
