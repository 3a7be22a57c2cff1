"""Before and after as a picture and as bars."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from cli.phases import Phased, draw, show
from service.failure import Failure

if TYPE_CHECKING:
    from pathlib import Path

COLD = Phased("cold", 4.0, {"imports": 2.0, "load": 1.0, "first_answer": 0.5}, runs=1)
RESTORED = Phased("restored", 1.0, {"restore": 0.2, "first_answer": 0.8}, runs=3)


def test_a_picture_states_each_phase_once_and_in_order_and_the_runs(tmp_path: Path) -> None:
    """matplotlib leaves each text as a comment in an SVG."""
    file = tmp_path / "starts.svg"

    draw([COLD, RESTORED], "chat", file)

    comments = [line.strip()[5:-4] for line in file.read_text().splitlines() if line.strip().startswith("<!-- ")]
    phases = ["restore", "imports", "load", "first_answer", "scheduling"]
    assert sorted(filter(phases.__contains__, comments)) == sorted(phases)
    assert [text for text in comments if text in phases] == phases
    assert {"cold (1 run)", "restored (3 runs)", "4.0 s", "1.0 s"} <= set(map(str.strip, comments))


@pytest.mark.parametrize("name", ["starts.nonsense", "nowhere/starts.png"])
def test_a_picture_that_cannot_be_written_is_refused_in_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(Failure, match=r"--chart .*Give a file that can be written"):
        draw([COLD], "chat", tmp_path / name)


def test_bars_have_one_scale_and_the_table_every_phase() -> None:
    shown = StringIO()
    show([COLD, RESTORED], Console(file=shown, width=120))
    bars = [line.count("█") for line in shown.getvalue().splitlines() if "█" in line]
    assert bars[0] == pytest.approx(4 * bars[1], abs=4)
    rows = [line.split()[0] for line in shown.getvalue().splitlines()[1:6]]
    assert rows == ["restore", "imports", "load", "first_answer", "scheduling"]
