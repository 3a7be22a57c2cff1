"""The command `coldsnap` and its sub-commands."""

import typer

from cli import boots, demo, doctor, local, status

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_show_locals=False)
app.command()(doctor.doctor)
app.add_typer(local.app, name="local")
app.command()(status.status)
app.command()(boots.boots)
app.command()(demo.demo)
