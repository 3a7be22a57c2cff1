"""Turns a CRIU image that is read at a restore into one that is mapped: the same speed for 15 MB and for 8 GB.

CRIU fills a restored process's anonymous memory by reading the image, one copy for each restore. Here the large blocks
of malloc become private mappings of the file that already holds their pages: they are read when they are touched,
shared between copies through the page cache, and copied when a copy writes to them.

What is safe to map. A private file mapping differs from anonymous memory in one way that a program can see: after
madvise(MADV_DONTNEED) it reads the file's bytes again, not zeros (and MADV_FREE fails). Allocators that rely on zeros
(jemalloc, mimalloc, Go, V8) map their memory themselves. glibc never does that to a block that has a mapping of its
own: it only unmaps and mremaps those. So exactly these blocks are taken, each proven by its header in the image: at the
start of a page, the word `prev_size` is 0 and `size` is a multiple of the page with the flag IS_MMAPPED alone, within
plain anonymous memory. What remains is a program that itself calls MADV_DONTNEED inside malloc's memory and expects
zeros, and one that keeps such a header at the start of a page of its own mapping.

The image that CRIU wrote is not touched: the mapped one is a folder beside it that shares its files by hard links.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from localmodal.worker.snapshots.criu_images import (
    FILES,
    MM,
    PAGE,
    PAGEMAP,
    FileEntry,
    FownEntry,
    ImageError,
    PagemapEntry,
    RegFileEntry,
    VmaEntry,
    read_image,
    write_image,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_LEAST_RUN = 1 << 20
"""Bytes. Shorter runs are read faster than they are mapped and faulted in."""
_TAIL = 64 << 30
"""Bytes of hole after a memory file: a block that mremap grows past the end would else end in SIGBUS."""
# Bits of vma_entry.status, vma_entry.prot, vma_entry.flags and pagemap_entry.flags, as in CRIU's image.h and mman.h.
_REGULAR, _FILE_PRIVATE, _ANON_PRIVATE = 1 << 0, 1 << 6, 1 << 9
_READ, _EXEC = 1, 4
_PRIVATE, _ANONYMOUS = 0x02, 0x20
_PARENT, _PRESENT = 1, 4
_REG = 1
"""Type of a regular file in files.img."""
_MADV_DONTFORK, _MADV_HUGEPAGE, _MADV_DONTDUMP = 1 << 10, 1 << 14, 1 << 16
_HARMLESS_ADVICE = _MADV_DONTFORK | _MADV_HUGEPAGE | _MADV_DONTDUMP
"""Other advice means something that a file mapping cannot do (WIPEONFORK) or marks a thread's stack (NOHUGEPAGE)."""
_IS_MMAPPED = 2
_FLAGS = 7
_HEADER = struct.Struct("<QQ")


class Span(NamedTuple):
    """Addresses from `start` up to, but not including, `end`."""

    start: int
    end: int


class Run(NamedTuple):
    """Pages of a process that lie one after the other in its pages file, from `offset` on."""

    start: int
    end: int
    offset: int


@dataclass(frozen=True)
class Mapped:
    """What became of an image."""

    bytes_mapped: int
    bytes_read: int
    """What a restore still reads."""


def map_image(image: Path, mapped: Path, memory: Path, seen_as: str) -> Mapped:
    """Makes the folder `mapped` for the image, and links the memory files it needs into the folder `memory`.

    `seen_as`: where a restored container finds the folder `memory`.
    """
    mapped.mkdir()
    for file in image.iterdir():
        (mapped / file.name).hardlink_to(file)
    files = read_image(image / "files.img", FILES)
    done = [_map_process(image, mapped, memory, seen_as, mm, files) for mm in sorted(image.glob("mm-*.img"))]
    _replace(mapped / "files.img", FILES, files)
    return Mapped(sum(each.bytes_mapped for each in done), sum(each.bytes_read for each in done))


def _map_process(image: Path, mapped: Path, memory: Path, seen_as: str, mm_path: Path, files: list[Any]) -> Mapped:
    """One process of the image; adds its memory file to `files`."""
    pagemap_name = mm_path.name.replace("mm-", "pagemap-", 1)
    mm = read_image(mm_path, MM)[0]
    head, *entries = read_image(image / pagemap_name, PAGEMAP)
    pages = image / f"pages-{head.pages_id}.img"
    runs = merged_runs(entries)
    chosen = parts_to_map(malloc_blocks(mm.vmas, runs, pages), runs)
    kept = runs_without(runs, chosen)
    if chosen:
        name = f"{secrets.token_hex(8)}.mem"
        _share_pages(pages, memory / name)
        files.append(file_entry(max(entry.id for entry in files) + 1, f"{seen_as}/{name}"))
        vmas = mapped_vmas(mm.vmas, chosen, files[-1].id)
        del mm.vmas[:]
        mm.vmas.extend(vmas)
        _replace(mapped / mm_path.name, MM, [mm])
        _replace(mapped / pagemap_name, PAGEMAP, [head, *map(pagemap_entry, kept)])
        _copy_runs(pages, mapped / pages.name, kept)
    return Mapped(_size(chosen), _size(kept))


def merged_runs(entries: Iterable[Any]) -> list[Run]:
    """The runs of a pagemap. CRIU cuts them at every megabyte; offsets are implied by the order."""
    runs: list[Run] = []
    offset = 0
    for entry in entries:
        if entry.in_parent or entry.flags & (_PARENT | _PRESENT) != _PRESENT:
            raise ImageError(f"pages at {entry.vaddr:#x} are not in the image itself (flags {entry.flags})")
        end = entry.vaddr + (entry.nr_pages or entry.compat_nr_pages) * PAGE
        if runs and runs[-1].end == entry.vaddr:
            runs[-1] = runs[-1]._replace(end=end)
        else:
            runs.append(Run(entry.vaddr, end, offset))
        offset += end - entry.vaddr
    return runs


def malloc_blocks(vmas: Sequence[Any], runs: Sequence[Run], pages: Path) -> list[Span]:
    """The blocks of glibc's malloc that have a mapping of their own, by their headers in the pages file."""
    if not runs:
        return []
    with pages.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [block for span in plain_spans(vmas) for block in _blocks_in(span, runs, content)]


def plain_spans(vmas: Iterable[Any]) -> list[Span]:
    """Plain anonymous memory, joined: blocks that are neighbours share a VMA, and advice splits one."""
    spans: list[Span] = []
    for vma in filter(_is_plain, vmas):
        if spans and spans[-1].end == vma.start:
            spans[-1] = spans[-1]._replace(end=vma.end)
        else:
            spans.append(Span(vma.start, vma.end))
    return spans


def _is_plain(vma: Any) -> bool:
    return (
        vma.status == _REGULAR | _ANON_PRIVATE
        and vma.flags == _PRIVATE | _ANONYMOUS
        and vma.prot & (_READ | _EXEC) == _READ
        and not vma.madv & ~_HARMLESS_ADVICE
    )


def _blocks_in(span: Span, runs: Sequence[Run], content: mmap.mmap) -> Iterator[Span]:
    """A block begins on a page that was written to, at least by malloc; so only pages of the image are looked at."""
    at = span.start
    for run in runs[max(0, bisect_right(runs, span.start, key=lambda run: run.start) - 1) :]:
        if run.start >= span.end:
            return
        at = max(at, run.start)
        while at < min(run.end, span.end):
            size = block_size(content, run.offset + at - run.start)
            if size and at + size <= span.end:
                yield Span(at, at + size)
            at += size if size and at + size <= span.end else PAGE


def block_size(content: bytes | mmap.mmap, offset: int) -> int:
    """The size by the malloc header at a page's start; 0 if there is none."""
    previous, size = _HEADER.unpack_from(content, offset)
    return size & ~_FLAGS if previous == 0 and size & _FLAGS == _IS_MMAPPED and size & (PAGE - 1) & ~_FLAGS == 0 else 0


def parts_to_map(blocks: Iterable[Span], runs: Sequence[Run]) -> list[Run]:
    """The parts of the blocks that are populated for long enough, in order of their addresses."""
    parts = []
    for block in blocks:
        for run in runs[max(0, bisect_right(runs, block.start, key=lambda run: run.start) - 1) :]:
            if run.start >= block.end:
                break
            start, end = max(block.start, run.start), min(block.end, run.end)
            if end - start >= _LEAST_RUN:
                parts.append(Run(start, end, run.offset + start - run.start))
    return sorted(parts)


def runs_without(runs: Iterable[Run], taken: Sequence[Run]) -> list[Run]:
    """What is left of the runs. Each taken run lies within one of them; both are in order of their addresses."""
    left = []
    for run in runs:
        at = run.start
        for part in (part for part in taken if run.start <= part.start < run.end):
            if part.start > at:
                left.append(Run(at, part.start, run.offset + at - run.start))
            at = part.end
        if at < run.end:
            left.append(Run(at, run.end, run.offset + at - run.start))
    return left


def mapped_vmas(vmas: Iterable[Any], parts: Sequence[Run], file_id: int) -> list[Any]:
    """The VMAs with those parts cut out of them as mappings of the file; in order, as CRIU wants them."""
    return [piece for vma in vmas for piece in _cut(vma, parts, file_id)]


def _cut(vma: Any, parts: Sequence[Run], file_id: int) -> Iterator[Any]:
    at = vma.start
    for part in parts:
        start, end = max(part.start, vma.start), min(part.end, vma.end)
        if start >= end:
            continue
        if start > at:
            yield _like(vma, at, start)
        yield _file_vma(vma, start, end, part.offset + start - part.start, file_id)
        at = end
    if at < vma.end:
        yield _like(vma, at, vma.end)


def _like(vma: Any, start: int, end: int) -> Any:
    piece = VmaEntry()
    piece.CopyFrom(vma)
    piece.start, piece.end = start, end
    return piece


def _file_vma(vma: Any, start: int, end: int, offset: int, file_id: int) -> Any:
    piece = _like(vma, start, end)
    piece.status, piece.flags = _REGULAR | _FILE_PRIVATE, _PRIVATE
    piece.pgoff, piece.shmid, piece.fdflags = offset, file_id, os.O_RDONLY
    piece.madv &= ~_MADV_HUGEPAGE  # refused for a file
    return piece


def pagemap_entry(run: Run) -> Any:
    """As CRIU 4 writes them: the old field of 32 bits is there, and 0."""
    return PagemapEntry(vaddr=run.start, compat_nr_pages=0, flags=_PRESENT, nr_pages=(run.end - run.start) // PAGE)


def file_entry(file_id: int, name: str) -> Any:
    """A file for files.img. Without its size and mode CRIU does not compare them."""
    owner = FownEntry(uid=0, euid=0, signum=0, pid_type=0, pid=0)
    file = RegFileEntry(id=file_id, flags=os.O_RDONLY, pos=0, fown=owner, name=name)
    return FileEntry(type=_REG, id=file_id, reg=file)


def _share_pages(pages: Path, memory_file: Path) -> None:
    """The image's own pages file under a second name, not to be written to any more, with a hole at its end."""
    os.truncate(pages, pages.stat().st_size + _TAIL)
    pages.chmod(0o400)
    memory_file.hardlink_to(pages)


def _copy_runs(source: Path, target: Path, runs: Iterable[Run]) -> None:
    target.unlink()
    with source.open("rb") as old, target.open("xb") as new:
        for run in runs:
            offset, left = run.offset, run.end - run.start
            while left:
                copied = os.copy_file_range(old.fileno(), new.fileno(), left, offset)
                offset, left = offset + copied, left - copied


def _replace(path: Path, kind: Any, records: Sequence[Any]) -> None:
    """Never through the hard link: the file of that name in the untouched image stays as it is."""
    path.unlink()
    write_image(path, kind, records)


def _size(runs: Iterable[Run]) -> int:
    return sum(run.end - run.start for run in runs)
