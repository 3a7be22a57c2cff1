"""`coldsnap advise`: what other scaling numbers would have cost and spared under the requests of a log."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.case import case_of, deployed, known
from cli.choices import draw, in_words, table
from cli.screen import console, duration, seconds
from cli.status import JsonOption, StackOption
from service.advice import Advice, Case, Result, Target
from service.advice import advise as advice_on
from service.economics import dollars, prices
from service.traces import read

_HOUR_S = 3600


def advise(
    trace: Annotated[Path, typer.Argument(help="When requests came: CSV, or an access log of JSON lines.")],
    *,
    service: Annotated[str | None, typer.Option("--service", help="Whose starts; none: the stack's only one.")] = None,
    stack: StackOption = None,
    restored: Annotated[float | None, typer.Option(min=0, help="Seconds of a restored start.")] = None,
    cold: Annotated[float | None, typer.Option(min=0, help="Seconds of a start without a snapshot.")] = None,
    request_seconds: Annotated[float | None, typer.Option(min=0, help="Seconds that a request takes.")] = None,
    gpu: Annotated[str | None, typer.Option(help="The GPU to price, such as L40S or H100:2; or none.")] = None,
    cpu: Annotated[float | None, typer.Option(min=0, help="Cores that a container asks for.")] = None,
    memory: Annotated[int | None, typer.Option(min=1, help="MiB that a container asks for.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Requests that a container works on at once.")] = None,
    max_containers: Annotated[int | None, typer.Option(min=1, help="Containers that there are at most.")] = None,
    target: Annotated[float | None, typer.Option(min=0, max=1, help="Share of requests that may meet a start.")] = None,
    p95: Annotated[float | None, typer.Option(min=0, help="Seconds within which 95 % are answered.")] = None,
    as_json: JsonOption = False,
    chart: Annotated[Path | None, typer.Option("--chart", help="Draw every choice into this file.")] = None,
) -> None:
    """Replay the requests of TRACE with other scaling numbers: what each costs, and how many requests meet a start.

    Starts, hardware and scaling are the deployed service's, except for what options say. With --restored or --cold, and
    --request-seconds, no stack is needed.
    """
    options = known(
        restored=restored,
        cold=cold,
        request_seconds=request_seconds,
        gpu=gpu,
        cpu=cpu,
        memory=memory,
        concurrency=concurrency,
        max_containers=max_containers,
    )
    times = read(trace)
    asks_the_stack = bool(service or stack) or (restored is None and cold is None)
    case = case_of(options, deployed(stack, service) if asks_the_stack else None)
    with Console(stderr=True).status(f"replaying {len(times)} requests"):
        advice = advice_on(times, case)
    wanted = Target(share=target, p95_s=p95)
    best = advice.cheapest(wanted)
    if as_json:
        typer.echo(json.dumps(_values(times, case, advice, wanted, best), indent=2))
    else:
        _say(times, case, advice, wanted, best)
    if chart:
        draw(advice, best, chart)


def _values(times: Sequence[float], case: Case, advice: Advice, wanted: Target, best: Result | None) -> dict[str, Any]:
    return {
        "requests": len(times),
        "first": _moment(times[0]),
        "last": _moment(times[-1]),
        **_assumed(case),
        **asdict(advice),
        "target": asdict(wanted),
        "cheapest": best and asdict(best),
    }


def _assumed(case: Case) -> dict[str, Any]:
    hardware = case.hardware
    return {
        "start_s": case.pace.start_s,
        "request_s": case.pace.request_s,
        "scaling": case.scaling.model_dump(),
        "hardware": hardware and str(hardware),
        "usd_per_hour": hardware and hardware.usd(_HOUR_S),
        "prices": hardware and {"source": prices().source, "seen_on": prices().seen_on.isoformat()},
    }


def _say(times: Sequence[float], case: Case, advice: Advice, wanted: Target, best: Result | None) -> None:
    """What is replayed, every choice, and what follows."""
    span = f"{_moment(times[0])} to {_moment(times[-1])}"
    console.print(f"{len(times)} requests in {duration(times[-1] - times[0])} ({span})", highlight=False)
    console.print(_in_words(case), highlight=False)
    console.print()
    console.print(table(advice, best))
    console.print()
    for name, words in _conclusions(advice, best, wanted):
        console.print(f"[bold]{name:<16}[/bold] {words}", highlight=False)


def _conclusions(advice: Advice, best: Result | None, wanted: Target) -> Iterator[tuple[str, str]]:
    yield "now", in_words(advice.now)
    if advice.without_snapshot:
        yield "without snapshot", in_words(advice.without_snapshot)
    if wanted == Target():
        yield "cheapest", "say what is good enough: --target 0.05, or --p95 SECONDS"
    else:
        yield "cheapest", f"{in_words(best) if best else 'none of these'} (asked for: {wanted})"


def _in_words(case: Case) -> str:
    kind = "measured" if case.without_snapshot is None else "restored"
    scaling = case.scaling
    fleet = f"{scaling.concurrency} at once in a container, at most {scaling.max_containers} containers"
    words = f"a {kind} start takes {seconds(case.pace.start_s)}, a request {seconds(case.pace.request_s)}, {fleet}"
    if case.hardware is None:
        return f"{words}; no price (--gpu tells the GPU)"
    hour = dollars(case.hardware.usd(_HOUR_S))
    return f"{words}, {case.hardware} = {hour} an hour ({prices().source}, {prices().seen_on})"


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
