"""When the requests of a log came, whatever its form, and what is said of a line that is not understood."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from service.failure import Failure
from service.traces import NAMES, moment, read

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trace"


def reads(file: Path, text: str) -> list[float]:
    file.write_text(text)
    return read(file)


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-11-24T12:00:00Z",
        "2026-11-24T13:00:00+01:00",
        "2026-11-24 12:00:00",
        "2026-11-24 12:00:00,000",
        "2026-11-24T12:00:00.0000000",
        NOON,
        str(NOON),
        int(NOON * 1e3),
        str(int(NOON * 1e6)),
        int(NOON * 1e9),
    ],
)
def test_a_time_is_iso_or_unix_time_in_any_unit(stamp: object) -> None:
    assert moment(stamp) == NOON


def test_small_numbers_are_seconds_of_a_clock_that_began_at_nought() -> None:
    assert [moment("0"), moment(2.5)] == [0, 2.5]


@pytest.mark.parametrize("stamp", ["", "soon", "nan", "1e999", float("inf"), None, True, [1], {"a": 1}])
def test_what_is_no_time_is_refused(stamp: object) -> None:
    with pytest.raises(ValueError, match="time"):
        moment(stamp)


@pytest.mark.parametrize("name", NAMES)
def test_every_usual_name_is_found_in_any_letters(file: Path, name: str) -> None:
    assert reads(file, json.dumps({"model": "m", name.title(): NOON})) == [NOON]
    assert reads(file, f"status,{name.upper()}\n200,{NOON}\n") == [NOON]


def test_an_access_log_is_read_line_by_line_and_in_order(file: Path) -> None:
    lines = [
        '{"ts": "2026-11-24T12:00:09Z", "path": "/v1/chat/completions", "status": 200}',
        "",
        '{"ts": "2026-11-24T12:00:01Z", "path": "/v1/chat/completions", "status": 429}',
    ]
    assert reads(file, "\n".join(lines)) == [NOON + 1, NOON + 9]


def test_the_time_of_an_answer_is_found_a_level_down(file: Path) -> None:
    answer = {"id": "batch_1", "response": {"status_code": 200, "body": {"object": "chat.completion", "created": NOON}}}
    assert reads(file, json.dumps(answer)) == [NOON]


def test_the_uppermost_time_is_the_requests(file: Path) -> None:
    assert reads(file, json.dumps({"response": {"created": NOON + 5}, "time": NOON})) == [NOON]


def test_a_field_that_is_empty_is_passed_over(file: Path) -> None:
    assert reads(file, json.dumps({"timestamp": None, "created": NOON})) == [NOON]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_column_is_found_by_its_heading(file: Path, delimiter: str) -> None:
    rows = [["model", "Created_At", "tokens"], ["m", "2026-11-24T12:00:00Z", "5"], [], ["m", str(NOON + 2), "7"]]
    assert reads(file, "\n".join(delimiter.join(row) for row in rows)) == [NOON, NOON + 2]


def test_a_column_without_a_heading_is_the_first(file: Path) -> None:
    assert reads(file, "2026-11-24T12:00:00Z,200\n2026-11-24T12:00:03Z,200\n") == [NOON, NOON + 3]


def test_a_file_of_nothing_but_numbers_is_read(file: Path) -> None:
    assert reads(file, "3.5\n0\n12\n") == [0, 3.5, 12]


def test_a_mark_of_the_byte_order_and_windows_line_ends_do_not_matter(file: Path) -> None:
    file.write_bytes(f"\ufefftime,status\r\n{NOON},200\r\n".encode())
    assert read(file) == [NOON]


def test_a_text_over_several_lines_is_one_field(file: Path) -> None:
    assert reads(file, f'prompt,time\n"two\nlines",{NOON}\n') == [NOON]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"time": 1}\n{"time": 2\n', ":2: Expecting"),
        (
            '{"time": 1}\n\n{"path": "/v1"}\n',
            ":3: no field has the name of a time. There is: path. Known are: timestamp",
        ),
        ('{"time": 1}\n[2]\n', ":2: no field has the name of a time. There is: none."),
        ('{"time": "soon"}\n', ':1: "soon" is neither a time in ISO 8601 nor unix time.'),
        ('{"time": true}\n', ":1: true is no time."),
        ("time,status\n1,200\nlater,200\n", ':3: "later" is neither a time'),
        ("status,time\n200,1\n200\n", ":3: there is no column 2, where the times are."),
        (
            "path,status\n/v1,200\n",
            ":1: no column has the name of a time. There is: path, status. Known are: timestamp",
        ),
        ("", ": there is no request in it."),
        ("time,status\n", ": there is no request in it."),
    ],
)
def test_what_is_not_understood_is_told_with_its_line(file: Path, text: str, said: str) -> None:
    with pytest.raises(Failure, match=re.escape(f"{file}{said}")):
        reads(file, text)


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\x1f\x8b\x08\xff")
    with pytest.raises(Failure, match=r"Give a file of JSON lines or CSV\."):
        read(file)


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(Failure, match="No such file"):
        read(file)
