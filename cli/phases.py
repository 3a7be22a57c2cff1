"""A cold and a restored start side by side: a table and bars for the terminal, a picture for a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from cli.picture import save
from cli.screen import seconds
from engines.clock import PHASES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from rich.console import Console

_OUTSIDE = "scheduling"
_NAMES = (*PHASES, _OUTSIDE)
_TERMINAL = dict(
    zip(
        _NAMES,
        ("bright_blue", "blue", "cyan", "green", "yellow", "bright_cyan", "magenta", "bright_green", "red", "white"),
        strict=True,
    )
)
_PICTURE = dict(
    zip(
        _NAMES,
        ["#88ccee", "#332288", "#44aa99", "#117733", "#999933", "#ddcc77", "#aa4499", "#882255", "#cc6677", "#bbbbbb"],
        strict=True,
    )
)
"""Paul Tol's muted colours, told apart by colour-blind eyes too; a phase has the same one in every picture."""
_WIDTH = 60


@dataclass(frozen=True)
class Phased:
    """One kind of start: how long it took in all, and in each phase."""

    label: str
    total_s: float
    phases: Mapping[str, float]
    """Seconds of each phase, in order. They may cover less than the whole; never more."""
    runs: int


def show(starts: Sequence[Phased], console: Console) -> None:
    """Prints the table, and below it a bar for each start, all to the same scale."""
    console.print(_table(starts))
    console.print()
    longest = max(start.total_s for start in starts)
    for start in starts:
        console.print(_bar(start, longest))
    console.print(Text.assemble(*((f"  {name} ", _TERMINAL[name]) for name in _names(starts))))


def draw(starts: Sequence[Phased], title: str, file: Path) -> None:
    """Writes the same as a picture, whose format is the file's ending; Failure if it cannot be written."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second, and only pictures need it

    figure = Figure(figsize=(9, 1.8 + 0.6 * len(starts)), layout="constrained")
    axes = figure.add_subplot()
    for row, start in enumerate(starts):
        _draw_bar(axes, row, start)
    axes.set_yticks(range(len(starts)), [f"{start.label} ({_runs(start)})" for start in starts])
    axes.invert_yaxis()
    axes.set_xlabel("seconds from the request to its whole answer, median of the runs")
    axes.set_xmargin(0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title)
    shades = [axes.barh(0, 0, color=_PICTURE[name], label=name) for name in _names(starts)]
    figure.legend(handles=shades, loc="outside lower center", ncols=5, fontsize="small", frameon=False)
    save(figure, file)


def _draw_bar(axes: Axes, row: int, start: Phased) -> None:
    left = 0.0
    for name, took in _parts(start).items():
        axes.barh(row, took, left=left, color=_PICTURE[name], height=0.6)
        left += took
    axes.text(left, row, f" {seconds(start.total_s)}", va="center")


def _table(starts: Sequence[Phased]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("phase")
    for start in starts:
        table.add_column(f"{start.label} ({_runs(start)})", justify="right")
    columns = [_parts(start) for start in starts]
    for name in _names(starts):
        table.add_row(name, *(seconds(parts[name]) if name in parts else "" for parts in columns))
    table.add_row("[bold]in all[/bold]", *(f"[bold]{seconds(start.total_s)}[/bold]" for start in starts))
    return table


def _bar(start: Phased, longest: float) -> Text:
    bar = Text(f"{start.label:>10} ")
    for name, took in _parts(start).items():
        bar.append("█" * round(_WIDTH * took / longest), _TERMINAL[name])
    return bar.append(f" {seconds(start.total_s)}")


def _runs(start: Phased) -> str:
    return f"{start.runs} run{'s'[: start.runs != 1]}"


def _parts(start: Phased) -> dict[str, float]:
    """The phases, and what lies outside of them: scheduling, the way there and back."""
    rest = start.total_s - sum(start.phases.values())
    return {**start.phases, **({_OUTSIDE: rest} if rest > 0 else {})}


def _names(starts: Sequence[Phased]) -> list[str]:
    """The phases that any of the starts has, in the order in which they pass."""
    had = {name for start in starts for name in _parts(start)}
    return [name for name in _NAMES if name in had]
