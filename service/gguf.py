"""What a GGUF file says of itself: one that is cut off, or is none at all, is told before it is copied into an image.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import os
from struct import Struct
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"GGUF"

_U32, _U64, _HEADER, _ARRAY = Struct("<I"), Struct("<Q"), Struct("<4sIQQ"), Struct("<IQ")
_STRING, _ARRAY_TYPE = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value, by the number of its type."""
_WHOLE = {4: _U32, 5: Struct("<i"), 10: _U64, 11: Struct("<q")}
"""Those of whole numbers that have four or eight bytes."""


class NotWholeError(Exception):
    """The file ends where it must not, or holds something else."""


def check_whole(file: Path) -> None:
    """NotWholeError if the file is no GGUF, or if it ends before the last of its tensors begins.

    Where that one ends depends on how it is quantised, for which llama.cpp has a new way every few months.
    """
    with file.open("rb") as content:
        size = os.fstat(content.fileno()).st_size
        needed = _Header(content, size).end()
    if size <= needed:
        raise NotWholeError(f"ends after {size:,} bytes, and its last tensor begins at {needed:,}: a part is missing")


def numbers(file: Path) -> dict[str, int]:
    """The whole numbers among what the file says of itself, by key; NotWholeError if it is no GGUF."""
    with file.open("rb") as content:
        return _Header(content, os.fstat(content.fileno()).st_size).numbers()


class _Header:
    """A reader of what stands before the tensors' data."""

    def __init__(self, content: BinaryIO, size: int) -> None:
        self._content = content
        self._size = size

    def end(self) -> int:
        """The place in the file at which the last tensor begins, or less: the data begins at a rounded place."""
        tensors, pairs = self._counts()
        for _ in range(pairs):
            self._skip_string()
            self._skip_values(self._number(_U32), 1)
        last = max((self._tensor_offset() for _ in range(tensors)), default=0)
        return self._content.tell() + last

    def numbers(self) -> dict[str, int]:
        """The pairs whose value is one whole number."""
        _, pairs = self._counts()
        found = {}
        for _ in range(pairs):
            key, kind = self._string(), self._number(_U32)
            if kind in _WHOLE:
                found[key] = self._number(_WHOLE[kind])
            else:
                self._skip_values(kind, 1)
        return found

    def _counts(self) -> tuple[int, int]:
        """How many tensors and how many pairs there are."""
        magic, _, tensors, pairs = self._read(_HEADER)
        if magic != MAGIC:
            raise NotWholeError(f"is no GGUF file: it begins with {magic!r} instead of {MAGIC!r}")
        return tensors, pairs

    def _string(self) -> str:
        length = self._number(_U64)
        start = self._content.tell()
        self._skip(length)
        self._content.seek(start)
        return self._content.read(length).decode(errors="replace")

    def _tensor_offset(self) -> int:
        self._skip_string()
        dimensions = self._number(_U32)
        self._skip(dimensions * _U64.size + _U32.size)
        return self._number(_U64)

    def _skip_values(self, kind: int, count: int) -> None:
        if kind in _SIZES:
            self._skip(count * _SIZES[kind])
        elif kind == _STRING:
            for _ in range(count):
                self._skip_string()
        elif kind == _ARRAY_TYPE:
            for _ in range(count):
                self._skip_values(*self._read(_ARRAY))
        else:
            raise NotWholeError(f"has a value of a type that does not exist: {kind}")

    def _skip_string(self) -> None:
        self._skip(self._number(_U64))

    def _skip(self, length: int) -> None:
        if self._content.tell() + length > self._size:
            raise self._cut_off()
        self._content.seek(length, os.SEEK_CUR)

    def _number(self, kind: Struct) -> int:
        return int(self._read(kind)[0])

    def _read(self, kind: Struct) -> tuple[Any, ...]:
        data = self._content.read(kind.size)
        if len(data) < kind.size:
            raise self._cut_off()
        return kind.unpack(data)

    def _cut_off(self) -> NotWholeError:
        return NotWholeError(f"ends after {self._size:,} bytes, within its header: a part is missing")
