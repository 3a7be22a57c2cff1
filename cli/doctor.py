"""`coldsnap doctor`: what is there, what is missing, what to do."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import typer
from rich.markup import escape
from rich.table import Table

from cli.screen import console
from service.backend import local_control_plane


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    what: str
    found: bool
    detail: str


def doctor() -> None:
    """Say what is there, what is missing and what to do. Exit code 1 if the stack `local` cannot run at all."""
    findings = list(_findings())
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("what")
    table.add_column("detail", overflow="fold")
    for finding in findings:
        table.add_row("[green]ok[/green]" if finding.found else "[red]--[/red]", finding.what, escape(finding.detail))
    console.print(table)
    if not _pulumi().found:
        raise typer.Exit(1)


def _findings() -> Iterator[Finding]:
    yield Finding("Python", found=True, detail=f"{sys.version.split()[0]} ({sys.executable})")
    yield Finding("modal client", found=True, detail=version("modal"))
    yield _pulumi()
    yield from _containers()


def _pulumi() -> Finding:
    path = shutil.which("pulumi")
    if path is None:
        return Finding("pulumi", found=False, detail="Not on the PATH. Run `make setup`, then `. setup/activate`.")
    answer = subprocess.run([path, "version"], capture_output=True, text=True, check=False)
    return Finding(
        "pulumi", found=answer.returncode == 0, detail=f"{(answer.stdout or answer.stderr).strip()} ({path})"
    )


def _containers() -> Iterator[Finding]:
    machine = local_control_plane("capabilities")
    containers, snapshots = machine["containers"], machine["snapshots"]
    yield Finding(
        "containers", containers, "runc, with an overlay of this machine's root" if containers else "plain processes"
    )
    yield Finding("memory snapshots", snapshots, "CRIU, mapped" if snapshots else "none: every start is cold")
    for lack in machine["missing"]:
        yield Finding(lack["what"], found=False, detail=f"Needed for {lack['needed_for']}. {lack['remedy']}")
