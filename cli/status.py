"""`coldsnap status`: every service of a stack, its snapshot, and how much faster it starts."""

import json
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.quiet import Quiet
from cli.screen import console, seconds
from service.status import Figures, ServiceStatus, as_it_is_now, services

StackOption = Annotated[str | None, typer.Option("--stack", "-s", help="The stack; none: the selected one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_COLOURS = {"verified": "green", "building": "yellow", "failed": "red", "none": "dim"}


def status(*, stack: StackOption = None, as_json: JsonOption = False) -> None:
    """Show every service of a stack: version, snapshot, cold and restored start, speed-up."""
    found = [as_it_is_now(entry, Quiet()) for entry in services(stack)]
    if as_json:
        typer.echo(json.dumps([entry.model_dump() for entry in found], indent=2))
    else:
        console.print(_table(found))
        for entry in found:
            if entry.failure:
                console.print(f"\n[{_COLOURS[entry.snapshot]}]{entry.service}[/]: {escape(entry.failure)}")


def _table(entries: Iterable[ServiceStatus]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("service", "version", "snapshot", "in a row", "cold", "restored", "ready", "speed-up", "url"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(*_cells(entry))
    return table


def _cells(entry: ServiceStatus) -> list[str]:
    return [
        entry.service,
        str(entry.version or "-"),
        f"[{_COLOURS[entry.snapshot]}]{entry.snapshot}[/]",
        str(entry.restores_in_a_row),
        _first_answer(entry.cold),
        _first_answer(entry.restored),
        seconds(entry.restored.ready_s) if entry.restored else "-",
        f"{entry.speedup:.1f} x" if entry.speedup else "-",
        entry.url or "-",
    ]


def _first_answer(figures: Figures | None) -> str:
    return seconds(figures.first_answer_s) if figures else "-"
