"""The pages of a process in a CRIU image: which addresses there are, and where each lies in the pages file."""

from __future__ import annotations

import itertools
import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from localmodal.worker.snapshots.criu_images import PAGE, ImageError, PagemapEntry

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable, Iterator, Sequence

_PARENT, _PRESENT = 1, 4
"""Bits of pagemap_entry.flags, as in CRIU's image.h."""
_WORD = struct.Struct("<Q")


class Span(NamedTuple):
    """Addresses from `start` up to, but not including, `end`."""

    start: int
    end: int


class Run(NamedTuple):
    """Pages of a process that lie one after the other in its pages file, from `offset` on."""

    start: int
    end: int
    offset: int


class Memory:
    """What a process had in its memory: words by their addresses."""

    def __init__(self, runs: Sequence[Run], content: bytes | mmap.mmap) -> None:
        self._runs = runs
        self._content = content

    def runs_from(self, address: int) -> Iterator[Run]:
        """See the function of that name."""
        return runs_from(self._runs, address)

    def run_at(self, address: int) -> Run | None:
        """The one that holds an address."""
        run = next(self.runs_from(address), None)
        return run if run and run.start <= address else None

    def words(self, address: int, count: int) -> tuple[int, ...] | None:
        """So many words of 8 bytes; None where the image has no page."""
        run = self.run_at(address)
        if run is None or address + 8 * count > run.end:
            return None
        return struct.unpack_from(f"<{count}Q", self._content, address - run.start + run.offset)

    def word_in(self, run: Run, address: int) -> int:
        """One word of a run: what is asked hundreds of thousands of times."""
        word: int = _WORD.unpack_from(self._content, address - run.start + run.offset)[0]
        return word


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


def runs_from(runs: Sequence[Run], address: int) -> Iterator[Run]:
    """Those that end after an address, in order."""
    yield from itertools.islice(runs, bisect_right(runs, address, key=lambda run: run.end), None)


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


def pagemap_entry(run: Run) -> Any:
    """As CRIU 4 writes them: the old field of 32 bits is there, and 0."""
    return PagemapEntry(vaddr=run.start, compat_nr_pages=0, flags=_PRESENT, nr_pages=(run.end - run.start) // PAGE)
