"""`coldsnap boots`: every container start of a service, by phase."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cli.phases import Phased, draw
from cli.quiet import Quiet
from cli.screen import console, seconds
from cli.status import JsonOption, StackOption
from service import operations
from service.boots import Boot
from service.failure import Failure
from service.status import ServiceStatus, services


def boots(
    *,
    service: Annotated[str | None, typer.Option("--service", help="Only this one; none: every service.")] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
    chart: Annotated[Path | None, typer.Option("--chart", help="Draw before and after into this file.")] = None,
) -> None:
    """Show every container start by phase, the newest first."""
    chosen = [entry for entry in services(stack) if service in (None, entry.service)]
    if not chosen:
        raise Failure(f"No service {service or ''} is deployed in this stack. `coldsnap status` lists what is.")
    records = [record for entry in chosen for record in records_of(entry)]
    if as_json:
        typer.echo(json.dumps([record.model_dump() for record in records], indent=2))
    else:
        console.print(_table(records))
    if chart:
        _draw(chosen, chart)


def _draw(entries: Sequence[ServiceStatus], chart: Path) -> None:
    """Only where there are several services must each bar say whose it is."""
    starts = {entry.service: before_and_after(entry) for entry in entries}
    named = [
        replace(start, label=f"{service}: {start.label}") if len(starts) > 1 else start
        for service, measured in starts.items()
        for start in measured
    ]
    if not named:
        raise Failure(f"{', '.join(starts)}: nothing is measured yet. `pulumi up` measures both starts.")
    title = "Cold and restored start" if len(starts) > 1 else f"{next(iter(starts))}: cold and restored start"
    draw(named, title, chart)


def before_and_after(entry: ServiceStatus) -> list[Phased]:
    """What the warm-up measured: the start without a snapshot, and the restored one."""
    pairs = (("cold", entry.cold), ("restored", entry.restored))
    return [Phased(label, figures.first_answer_s, figures.phases, figures.runs) for label, figures in pairs if figures]


def records_of(entry: ServiceStatus) -> list[Boot]:
    """The boot records of a service, the newest first."""
    request: dict[str, Any] = {"app_name": entry.app_name}
    answer = operations.run("boots", request, backend=entry.backend, environment=entry.environment, progress=Quiet())
    return [Boot.model_validate(record) for record in answer["records"]]


def _table(records: Iterable[Boot]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("started", "service", "version", "start", "phases", "container", "error"):
        table.add_column(heading, overflow="fold")
    for record in records:
        table.add_row(*_cells(record))
    return table


def _cells(record: Boot) -> list[str]:
    started = datetime.fromtimestamp(record.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    kind = record.kind if record.role == "service" else f"{record.kind} ({record.role})"
    phases = "  ".join(f"{name} {seconds(took)}" for name, took in record.phases.items())
    version = str(record.version or "-")
    return [started, record.service, version, kind, phases, record.id, escape(record.error or "")]
