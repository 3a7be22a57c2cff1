"""`coldsnap demo`: the stack `local`, a question to its model, and the before and after."""

import json
import subprocess
import time
from collections.abc import Iterator

import httpx
import typer

from cli.boots import before_and_after, records_of
from cli.phases import show
from cli.screen import console
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
    known = _containers(entry)
    console.print(f"\n[bold]{entry.service}[/bold] at {entry.url}/v1")
    console.print(f"[dim]> {QUESTION}[/dim]")
    for word in _answer(entry):
        console.print(word, end="", highlight=False, markup=False)
    console.print(f"[dim]answered by {_who_answered(entry, known)}[/dim]\n")


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
