"""When the requests of a log came: JSON lines (an access log of any OpenAI-style server) or CSV.

Times are ISO 8601 or unix time; without a zone they are UTC.
"""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING, Any, TextIO

from service.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAMES = (
    "timestamp",
    "time",
    "ts",
    "@timestamp",
    "start_time",
    "starttime",
    "started_at",
    "request_time",
    "requested_at",
    "received_at",
    "created",
    "created_at",
    "datetime",
    "date",
)
"""Usual names of the field that says when a request came, in any letters; the first of them that is there is taken."""

_DELIMITERS = ",;\t"
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""From which number on unix time is in nano-, micro- and milliseconds: in seconds that would be after the year 5000."""


def read(file: Path) -> list[float]:
    """Unix seconds of every request, in order; Failure with the line that is not understood."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            times = sorted(_times(file, stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Failure(f"{file}: {error}. Give a file of JSON lines or CSV.") from None
    if not times:
        raise Failure(f"{file}: there is no request in it.")
    return times


def moment(stamp: object) -> float:
    """The unix seconds of a time as logs have it; ValueError in words if it is none."""
    if isinstance(stamp, str):
        return _of_text(stamp.strip())
    if isinstance(stamp, bool) or not isinstance(stamp, int | float):
        raise ValueError(f"{json.dumps(stamp)} is no time.")  # noqa: TRY004 - of the file's content, as all the others
    return _of_number(float(stamp))


def _times(file: Path, stream: TextIO) -> Iterator[float]:
    first = next((line for line in stream if line.strip()), "")
    stream.seek(0)
    return _of_json(file, stream) if first.lstrip().startswith("{") else _of_csv(file, stream, first)


def _of_json(file: Path, stream: TextIO) -> Iterator[float]:
    for number, line in enumerate(stream, 1):
        if line.strip():
            with _named(file, number):
                time = moment(_stamp(json.loads(line)))
            yield time


def _stamp(record: Any) -> object:
    """The value of the time field, which some logs have a level or two down: the uppermost one."""
    level = [record] if isinstance(record, dict) else []
    while level:
        for name in NAMES:
            for value in (_lowered(mapping).get(name) for mapping in level):
                if value is not None:
                    return value
        level = [value for mapping in level for value in mapping.values() if isinstance(value, dict)]
    raise ValueError(_missing("field", record if isinstance(record, dict) else ()))


def _lowered(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in mapping.items()}


def _of_csv(file: Path, stream: TextIO, first: str) -> Iterator[float]:
    reader = csv.reader(stream, delimiter=max(_DELIMITERS, key=first.count))
    rows = filter(any, reader)
    if (head := next(rows, None)) is None:
        return
    with _named(file, reader.line_num):
        column = _column(head)
    for row in chain([head] if _is_time(head[column]) else [], rows):
        with _named(file, reader.line_num):
            time = moment(_cell(row, column))
        yield time


def _column(row: list[str]) -> int:
    """By the heading; where there is none, the first column. ValueError if that has no times."""
    heading = [cell.strip().lower() for cell in row]
    if known := [heading.index(name) for name in NAMES if name in heading]:
        return known[0]
    if _is_time(row[0]):
        return 0
    raise ValueError(_missing("column", row))


def _is_time(text: str) -> bool:
    try:
        moment(text)
    except ValueError:
        return False
    return True


def _cell(row: list[str], column: int) -> str:
    if column < len(row):
        return row[column]
    raise ValueError(f"there is no column {column + 1}, where the times are.")


def _of_text(text: str) -> float:
    try:
        return _of_number(float(text))
    except ValueError:
        pass
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'"{text}" is neither a time in ISO 8601 nor unix time.') from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _of_number(number: float) -> float:
    if not isfinite(number):
        raise ValueError(f"{number} is no time.")
    return next((number / unit for least, unit in _UNITS if number >= least), number)


def _missing(what: str, there: Any) -> str:
    names = ", ".join(there) or "none"
    return f"no {what} has the name of a time. There is: {names}. Known are: {', '.join(NAMES)}."


@contextmanager
def _named(file: Path, line: int) -> Iterator[None]:
    """What is not understood is told with its line."""
    try:
        yield
    except ValueError as error:
        raise Failure(f"{file}:{line}: {error}") from None
