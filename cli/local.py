"""`coldsnap local`: the control plane on this machine."""

import json
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from cli.screen import console
from service.backend import local_control_plane

app = typer.Typer(no_args_is_help=True, help="The Modal-compatible control plane on this machine.")


@app.command()
def start() -> None:
    """Start it, unless it runs already."""
    console.print(f"Running at {local_control_plane('start')['MODAL_SERVER_URL']}")


@app.command()
def stop() -> None:
    """Stop it and every container; apps, images, volumes and snapshots stay."""
    _hand_over("stop")


@app.command()
def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False) -> None:
    """Say what runs."""
    state = local_control_plane("status")
    if as_json:
        typer.echo(json.dumps(state, indent=2))
    else:
        _print_tree(state)


@app.command()
def logs(*, follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False) -> None:
    """Print what the control plane itself says."""
    _hand_over("logs", *(["-f"] if follow else []))


@app.command()
def env() -> None:
    """Print the exports that make any `modal` command use it: eval "$(coldsnap local env)"."""
    for name, value in local_control_plane("env").items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def recorded() -> None:
    """Print as JSON what a control plane that records was sent (COLDSNAP_RECORD=1)."""
    typer.echo(json.dumps(local_control_plane("recorded"), indent=2))


def _hand_over(*verb: str) -> None:
    done = subprocess.run([sys.executable, "-m", "localmodal", *verb], check=False)
    raise typer.Exit(done.returncode)


def _print_tree(state: object, indent: str = "") -> None:
    entries = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    for key, value in entries:
        if isinstance(value, dict | list) and value:
            console.print(f"{indent}[bold]{key}[/bold]")
            _print_tree(value, indent + "  ")
        else:
            console.print(f"{indent}[bold]{key}[/bold]  {escape(_in_words(key, value))}", soft_wrap=True)


def _in_words(key: str | int, value: object) -> str:
    """Moments are unix seconds in the JSON."""
    if str(key).endswith("_at") and isinstance(value, float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return str(value)
