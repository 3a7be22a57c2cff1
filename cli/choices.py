"""The choices of scaling numbers side by side: a table for the terminal, a picture for a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from cli.picture import save
from cli.screen import duration, seconds
from service.economics import dollars

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from service.advice import Advice, Result

_COLOURS = ("#332288", "#44aa99", "#cc6677")
"""Paul Tol's muted ones, told apart by colour-blind eyes too; one for each number of containers that are kept warm."""
_HOUR_S = 3600


def table(advice: Advice, best: Result | None) -> Table:
    """A line for each window, with columns for each number of containers that are kept warm; the best stands out."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("scaledown_\nwindow", justify="right")
    for kept in _kept(advice):
        for heading in (f"{_warm(kept)}\n{_cost_heading(advice)}", "\nmeet a start", "\np95"):
            shown.add_column(heading, justify="right")
    for window in _windows(advice):
        line = [one for one in advice.tried if one.scaledown_window == window]
        cells = [cell for one in line for cell in _cells(one, stands_out=one == best)]
        shown.add_row(duration(window), *cells)
    return shown


def in_words(result: Result) -> str:
    """One choice and what comes of it."""
    choice = f"scaledown_window {duration(result.scaledown_window)}, {_warm(result.min_containers)}"
    met = f"{result.share_meeting_a_start:.1%} of the requests meet a start"
    return f"{_cost(result)} ({choice}); {met}, 95% are answered within {seconds(result.p95_s)}"


def draw(advice: Advice, best: Result | None, file: Path) -> None:
    """Writes the same as a picture, whose format is the file's ending; Failure if it cannot be written."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second, and only pictures need it
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415 - as above

    figure = Figure(figsize=(9, 6), layout="constrained")
    cost, share = figure.subplots(2, 1, sharex=True)
    _draw_lines(cost, advice, _drawn_cost, best)
    _draw_lines(share, advice, lambda one: 100 * one.share_meeting_a_start, best)
    cost.set_yscale("log")
    cost.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    cost.yaxis.set_major_formatter("{x:g}")
    cost.yaxis.set_minor_formatter(NullFormatter())
    share.set_ylim(bottom=0)
    cost.set_ylabel("container hours" if advice.now.usd is None else "US dollars")
    share.set_ylabel("% of requests that meet a start")
    share.set_xscale("log")
    windows = _windows(advice)
    share.set_xticks(windows, [duration(window) for window in windows])
    share.minorticks_off()
    share.set_xlabel("scaledown_window")
    cost.set_title("What each scaledown_window costs, and how many requests meet a start")
    figure.legend(*cost.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    save(figure, file)


def _draw_lines(axes: Axes, advice: Advice, height: Callable[[Result], float], best: Result | None) -> None:
    for kept, colour in zip(_kept(advice), _COLOURS, strict=False):
        line = [one for one in advice.tried if one.min_containers == kept]
        windows = [one.scaledown_window for one in line]
        axes.plot(windows, [height(one) for one in line], color=colour, marker=".", label=_warm(kept))
    for label, one, marker in (("now", advice.now, "o"), ("cheapest", best, "*")):
        if one:
            place = ([one.scaledown_window], [height(one)])
            axes.plot(*place, marker=marker, color="black", fillstyle="none", markersize=12, linestyle="", label=label)
    axes.spines[["top", "right"]].set_visible(False)


def _cells(one: Result, *, stands_out: bool) -> list[str]:
    cells = [_cost(one), f"{one.share_meeting_a_start:.1%}", seconds(one.p95_s)]
    return [f"[bold green]{cell}[/]" for cell in cells] if stands_out else cells


def _cost(result: Result) -> str:
    return f"{result.container_seconds / _HOUR_S:.2f} h" if result.usd is None else dollars(result.usd)


def _drawn_cost(result: Result) -> float:
    return result.container_seconds / _HOUR_S if result.usd is None else result.usd


def _cost_heading(advice: Advice) -> str:
    return "containers" if advice.now.usd is None else "cost"


def _warm(kept: int) -> str:
    return f"{kept} kept warm"


def _kept(advice: Advice) -> Sequence[int]:
    return sorted({one.min_containers for one in advice.tried})


def _windows(advice: Advice) -> Sequence[int]:
    return sorted({one.scaledown_window for one in advice.tried})
