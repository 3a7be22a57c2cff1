"""Turns a CRIU image that is read at a restore into one that is mapped: the same speed for 15 MB and for 8 GB.

CRIU fills a restored process's anonymous memory by reading the image, one copy for each restore. Here the memory of
glibc's malloc becomes private mappings of the file that already holds its pages: they are read when they are touched,
shared between copies through the page cache, and copied when a copy writes to them.

What is safe to map. A private file mapping differs from anonymous memory in one way that a program can see: after
madvise(MADV_DONTNEED) it reads the file's bytes again, not zeros (and MADV_FREE fails). Allocators that rely on zeros
(jemalloc, mimalloc, Go, V8) map their memory themselves. glibc's malloc does not rely on them: blocks that have a
mapping of their own it only unmaps and mremaps; in heaps it uses MADV_DONTNEED (malloc_trim, a shrinking arena), and
calloc clears what lies below the highest address that the heap ever had (`csz` in __libc_calloc). So malloc's memory
is taken, and only what malloc's own bookkeeping in the image proves to be its (see `malloc.py`): a block with a mapping
of its own by the header at its page's start; a heap by its chunks, each of which must lead to the next up to the
heap's last byte. What remains is a program that itself calls MADV_DONTNEED inside malloc's memory and expects zeros,
and one that keeps a header as malloc would write it at the start of a page of its own mapping.

The image that CRIU wrote is not touched: the mapped one is a folder beside it that shares its files by hard links.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localmodal.worker.snapshots.criu_images import (
    FILES,
    MM,
    PAGEMAP,
    FileEntry,
    FownEntry,
    RegFileEntry,
    VmaEntry,
    read_image,
    write_image,
)
from localmodal.worker.snapshots.malloc import malloc_memory
from localmodal.worker.snapshots.pages import Run, merged_runs, pagemap_entry, runs_from, runs_without

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from localmodal.worker.snapshots.pages import Span

_LEAST_RUN = 1 << 20
"""Bytes. Shorter runs are read faster than they are mapped and faulted in."""
_TAIL = 64 << 30
"""Bytes of hole after a memory file: a block that mremap grows past the end would else end in SIGBUS."""
# Bits of vma_entry.status, vma_entry.flags and vma_entry.madv, as in CRIU's image.h and mman.h.
_REGULAR, _FILE_PRIVATE = 1 << 0, 1 << 6
_PRIVATE = 0x02
_MADV_HUGEPAGE = 1 << 14
_REG = 1
"""Type of a regular file in files.img."""


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
    chosen = parts_to_map(malloc_memory(mm, runs, pages), runs)
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


def parts_to_map(blocks: Iterable[Span], runs: Sequence[Run]) -> list[Run]:
    """The parts of the blocks that are populated for long enough, in order of their addresses."""
    parts = []
    for block in blocks:
        for run in runs_from(runs, block.start):
            if run.start >= block.end:
                break
            start, end = max(block.start, run.start), min(block.end, run.end)
            if end - start >= _LEAST_RUN:
                parts.append(Run(start, end, run.offset + start - run.start))
    return sorted(parts)


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
