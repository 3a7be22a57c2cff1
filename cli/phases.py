"""A cold and a restored start side by side: a table and bars for the terminal, a picture for a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.screen import seconds

_COLOURS = ("blue", "cyan", "green", "yellow", "magenta", "red", "bright_blue", "bright_cyan", "bright_green")
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
    colours = _colours(starts)
    for start in starts:
        console.print(_bar(start, longest, colours))
    console.print(Text.assemble(*((f"  {name} ", f"{colour}") for name, colour in colours.items())))


def draw(starts: Sequence[Phased], title: str, file: Path) -> None:
    """Writes the same as a picture; the file's ending says in which format."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second, and only pictures need it

    figure = Figure(figsize=(9, 1.2 + 0.7 * len(starts)), layout="constrained")
    axes = figure.add_subplot()
    names = list(_colours(starts))
    shades = {name: f"C{index}" for index, name in enumerate(names)}
    for row, start in enumerate(reversed(starts)):
        left = 0.0
        for name, took in _parts(start):
            axes.barh(row, took, left=left, color=shades.get(name, "lightgrey"), height=0.6)
            left += took
        axes.text(left, row, f" {seconds(start.total_s)}", va="center")
    axes.set_yticks(range(len(starts)), [f"{start.label} ({start.runs} runs)" for start in reversed(starts)])
    axes.set_xlabel("seconds from the request to its whole answer")
    axes.set_xmargin(0.12)
    axes.set_title(title)
    axes.legend([*(axes.barh(0, 0, color=shade) for shade in shades.values())], names, ncols=5, fontsize="small")
    figure.savefig(file, dpi=150)


def _table(starts: Sequence[Phased]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("phase")
    for start in starts:
        table.add_column(f"{start.label} ({start.runs} run{'s'[: start.runs != 1]})", justify="right")
    for name in _colours(starts):
        table.add_row(
            name, *(seconds(dict(_parts(start))[name]) if name in dict(_parts(start)) else "" for start in starts)
        )
    table.add_row("[bold]first answer[/bold]", *(f"[bold]{seconds(start.total_s)}[/bold]" for start in starts))
    return table


def _bar(start: Phased, longest: float, colours: Mapping[str, str]) -> Text:
    bar = Text(f"{start.label:>10} ")
    for name, took in _parts(start):
        bar.append("█" * round(_WIDTH * took / longest), colours[name])
    return bar.append(f" {seconds(start.total_s)}")


def _parts(start: Phased) -> list[tuple[str, float]]:
    """The phases, and what lies outside of them: scheduling, the way there and back."""
    rest = start.total_s - sum(start.phases.values())
    return [*start.phases.items(), *([("scheduling", rest)] if rest > 0 else [])]


def _colours(starts: Sequence[Phased]) -> dict[str, str]:
    names = dict.fromkeys(name for start in starts for name, _ in _parts(start))
    return {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}
