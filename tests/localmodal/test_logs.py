"""What a container writes is kept, up to a limit, and never takes the daemon down."""

import pytest
from full_disk import nearly_full

from localmodal.tasks import logs as module
from localmodal.tasks.logs import Logs


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path / "logs")


def kept(logs) -> list[str]:
    return [entry.text for _, entry in logs.read("ta-1")]


def test_beyond_the_limit_output_is_not_kept_and_a_line_says_so(logs, monkeypatch):
    monkeypatch.setattr(module, "MOST_KEPT", 1 << 20)
    log = logs.open("ta-1")
    for _ in range(100):
        log.output(1, b"x" * (1 << 15))
    log.output(1, b"the last words")
    log.system("Container ta-1 is ended.")
    *_, last, limit, ended = kept(logs)
    assert set(last) == {"x"}
    assert limit == "The container has written 1 MiB: what it writes from here on is not kept.\n"
    assert ended == "Container ta-1 is ended.\n"
    assert logs._path("ta-1").stat().st_size < 2 << 20
    assert "the last words" in log.tail(5), "for the message when it dies"


def test_a_full_disk_costs_the_lines_that_do_not_fit_and_no_other(logs):
    log = logs.open("ta-1")
    with nearly_full():
        log.output(1, b"before")
        log.output(1, b"x" * 4096)
        log.output(1, b"after")
    assert kept(logs) == ["before", "after"]
