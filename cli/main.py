"""The command `coldsnap` and its sub-commands."""

import sys

import typer
from rich.console import Console
from rich.markup import escape

from cli import advise, boots, demo, doctor, local, status
from service.failure import Failure

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Cold starts of GPU model services, made fast.")
app.command()(doctor.doctor)
app.add_typer(local.app, name="local")
app.command()(status.status)
app.command()(boots.boots)
app.command()(advise.advise)
app.command()(demo.demo)


def main() -> None:
    """Run the command line; what could not be done is said in words, with exit code 1."""
    try:
        app()
    except Failure as failure:
        Console(stderr=True).print(f"[bold red]error:[/bold red] {escape(str(failure))}", highlight=False)
        sys.exit(1)
