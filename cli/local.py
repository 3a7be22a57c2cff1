"""`coldsnap local`: the control plane on this machine."""

import json
import shlex
from typing import Annotated

import typer
from rich.console import Console

from service.backend import LocalControlPlane

app = typer.Typer(no_args_is_help=True, help="The Modal-compatible control plane on this machine.")
console = Console()


@app.command()
def start() -> None:
    """Start it, unless it runs already."""
    console.print(f"Running at {LocalControlPlane().start()['MODAL_SERVER_URL']}")


@app.command()
def stop() -> None:
    """Stop it and every container; apps, images, volumes and snapshots stay."""
    LocalControlPlane().run("stop")


@app.command()
def status(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False
) -> None:
    """Say what runs."""
    state = LocalControlPlane().status()
    if as_json:
        typer.echo(json.dumps(state, indent=2))
        return
    for key, value in state.items():
        console.print(f"[bold]{key}[/bold]: {value}")


@app.command()
def logs(*, follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False) -> None:
    """Print what the control plane itself says."""
    LocalControlPlane().run("logs", *(["-f"] if follow else []))


@app.command()
def env() -> None:
    """Print the exports that make any `modal` command use it: eval "$(coldsnap local env)"."""
    for name, value in LocalControlPlane().environment().items():
        typer.echo(f"export {name}={shlex.quote(value)}")
