"""What containers write: one file per container, and everyone who follows it.

A line of a file is one JSON list `[seconds, file descriptor, text, function call id, input id]`: what it takes to
answer every question that the client asks about logs, with no second index to keep.
"""

from __future__ import annotations

import codecs
import json
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from modal_proto import api_pb2

from localmodal.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path

log = logging.getLogger(__name__)

MOST_KEPT = 64 << 20
"""Bytes of one container's output that are kept; no disk is filled by a container that never stops writing."""
SYSTEM: api_pb2.FileDescriptor.ValueType = api_pb2.FILE_DESCRIPTOR_INFO
_REMEMBERED = 50
"""Last lines of a container that are kept in memory, for the message when it dies."""


class Entry(NamedTuple):
    """One piece of output."""

    at: float
    fd: api_pb2.FileDescriptor.ValueType
    text: str
    call_id: str = ""
    input_id: str = ""


@dataclass
class TaskLog:
    """The output of one container, while it runs."""

    path: Path
    written: Pulse
    works_on: Callable[[], tuple[str, str]] = lambda: ("", "")
    """The call and the input that the container works on now, if that is certain."""
    recent: deque[Entry] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def __post_init__(self) -> None:
        self._file: FileIO | None = None
        """Opened by the first line: on a disk that is full even that may fail."""
        self._size = 0
        """Bytes of whole lines in the file."""
        self._full = False
        self._failing = False
        self._decoders = {fd: codecs.getincrementaldecoder("utf-8")("replace") for fd in (1, 2)}

    def output(self, fd: int, data: bytes) -> None:
        """Takes what the container wrote to its stdout (1) or stderr (2)."""
        if text := self._decoders[fd].decode(data):
            source = api_pb2.FILE_DESCRIPTOR_STDOUT if fd == 1 else api_pb2.FILE_DESCRIPTOR_STDERR
            self._add(Entry(time.time(), source, text, *self.works_on()))

    def system(self, text: str) -> None:
        """Adds a line of our own."""
        self._add(Entry(time.time(), SYSTEM, f"{text}\n"))

    def _add(self, entry: Entry) -> None:
        self.recent.append(entry)
        if not self._full or entry.fd == SYSTEM:
            self._write(json.dumps(entry).encode() + b"\n")
        self.written.beat()
        if self._size > MOST_KEPT and not self._full:
            self._full = True
            self.system(f"The container has written {MOST_KEPT >> 20} MiB: what it writes from here on is not kept.")

    def _write(self, line: bytes) -> None:
        """A whole line or none: a disk that is full takes half of one, or nothing."""
        try:
            self._file = self._file or self.path.open("ab", buffering=0)
            whole = self._file.write(line) == len(line)
        except OSError as error:
            whole = False
            if not self._failing:
                log.warning("%s: what the container writes is lost: %s", self.path, error)
        self._failing = not whole
        if whole:
            self._size += len(line)
        elif self._file:
            self._file.truncate(self._size)

    def tail(self, lines: int) -> str:
        """The last lines, as the user would have seen them."""
        return "\n".join("".join(entry.text for entry in self.recent).splitlines()[-lines:])

    def close(self) -> None:
        """Nothing more will be written."""
        if self._file:
            self._file.close()


class Logs:
    """The output of every container, also of those that ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written = Pulse()
        """Beats whenever any container writes, or a container or an app ends."""
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, task_id: str) -> TaskLog:
        """The log of a container that starts now."""
        return TaskLog(self._path(task_id), self.written)

    def _path(self, task_id: str) -> Path:
        return self._folder / f"{task_id}.jsonl"

    def read(self, task_id: str, offset: int = 0) -> Iterator[tuple[int, Entry]]:
        """What a container wrote from a byte offset on: each entry with the offset behind it."""
        try:
            file = self._path(task_id).open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written: the next reader gets it whole
                offset += len(line)
                yield offset, Entry(*json.loads(line))

    def remove(self, task_id: str) -> None:
        """Forgets what a container wrote."""
        self._path(task_id).unlink(missing_ok=True)
