"""`coldsnap demo`: the stack `local`, a question to its model, and the before and after."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from subprocess import DEVNULL

import httpx
import typer

from cli.boots import before_and_after, records_of
from cli.phases import show
from cli.quiet import Quiet
from cli.screen import console
from service.backend import environment_of
from service.failure import Failure
from service.status import ServiceStatus, services

STACK = "local"
QUESTION = "What is water made of?"
_ANSWER_WITHIN_S = 120
_RECORD_WITHIN_S = 8


def demo() -> None:
    """Deploy the stack `local`, ask its model a question, and show how much faster it starts from its snapshot."""
    _pulumi("stack", "select", "--create", STACK)
    _pulumi("up", "--yes", "--stack", STACK)
    for entry in services(STACK):
        _ask(entry)
        _compare(entry)


def _pulumi(*arguments: str) -> None:
    if code := subprocess.run(["pulumi", *arguments], check=False).returncode:
        raise typer.Exit(code)


def _ask(entry: ServiceStatus) -> None:
    _end_warm_containers(entry)
    known = _containers(entry)
    console.print(f"\n[bold]{entry.service}[/bold] at {entry.url}/v1")
    console.print(f"[dim]> {QUESTION}[/dim]")
    for word in _answer(entry):
        console.print(word, end="", highlight=False, markup=False)
    console.print(f"[dim]answered by {_who_answered(entry, known)}[/dim]\n")


def _end_warm_containers(entry: ServiceStatus) -> None:
    """So that the question meets a start of a container, also if one is warm from a question of a moment ago."""
    backend = {**os.environ, **environment_of(entry.backend, entry.environment, Quiet())}
    modal = [sys.executable, "-m", "modal", "container"]
    listed = subprocess.run([*modal, "list", "--json"], env=backend, capture_output=True, check=True).stdout
    for container in json.loads(listed):
        if container["app_name"] == entry.app_name:
            subprocess.run(
                [*modal, "stop", "--yes", container["container_id"]], env=backend, check=False, stdout=DEVNULL
            )


def _answer(entry: ServiceStatus) -> Iterator[str]:
    """The answer's words as they come, over the service's OpenAI-compatible API."""
    request = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 80, "temperature": 0, "stream": True}
    url = f"{entry.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=request, timeout=_ANSWER_WITHIN_S) as response:
        if response.is_error:
            raise Failure(f"{url} answered {response.status_code}: {response.read().decode(errors='replace')}")
        for line in response.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line.removeprefix("data: "))["choices"]
                yield from (choice["delta"].get("content") or "" for choice in choices)


def _who_answered(entry: ServiceStatus, known: dict[str, str]) -> str:
    """The container that the request has started; its boot record comes after the answer, off the request's path."""
    patience = time.monotonic() + _RECORD_WITHIN_S
    while time.monotonic() < patience:
        if new := _containers(entry).items() - known.items():
            task_id, kind = next(iter(new))
            return f"a {kind} container, {task_id}"
        time.sleep(0.5)
    return "a container that was warm already"


def _containers(entry: ServiceStatus) -> dict[str, str]:
    """Every container that the service has started, and whether it was cold or restored."""
    return {record.id: record.kind for record in records_of(entry) if record.role == "service"}


def _compare(entry: ServiceStatus) -> None:
    starts = before_and_after(entry)
    show(starts, console)
    if entry.speedup:
        console.print(
            f"\n[bold green]{entry.speedup:.1f} x[/bold green] faster to the first answer; "
            f"{entry.restores_in_a_row} restores in a row proved it."
        )
