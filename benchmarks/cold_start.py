"""Cold against restored starts of a deployed service, in turn, through the unmodified client.

    . setup/activate && python benchmarks/cold_start.py --runs 10

Both sides begin with a request to a service that has no container, and end with the whole answer to the same first
request. `cold` is the twin class without a snapshot, `restored` the service itself. Needs `make demo` before.
"""

import os
from typing import Annotated

import typer

from cli.quiet import Quiet
from service.backend import environment_of
from service.status import services
from spread import Spread, print_json, print_table

STACK = "local"


def main(
    runs: Annotated[int, typer.Option(min=1)] = 10, *, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Measure every service of the stack `local`."""
    for entry in services(STACK):
        os.environ.update(environment_of(entry.backend, entry.environment, Quiet()))
        figures = _measure(entry.app_name, runs)
        (print_json if as_json else print_table)(f"{entry.service}: seconds, page cache warm", figures)


def _measure(app_name: str, runs: int) -> dict[str, Spread]:
    from engines.names import SERVICE, TWIN  # noqa: PLC0415 - the client reads its environment when it is imported
    from service.warmup import Starter  # noqa: PLC0415
    from spec import Warmup  # noqa: PLC0415

    starter = Starter(app_name, Warmup(), definition="", progress=Quiet())
    starter.start(SERVICE)  # met by a container that is warm from before, if there is one: it ends with its answer
    pairs = [(starter.start(TWIN), starter.start(SERVICE)) for _ in range(runs)]
    not_restored = sum(not restored.restored for _, restored in pairs)
    if not_restored:
        raise SystemExit(f"{not_restored} of {runs} starts were not restored: nothing to compare")
    return {
        "cold, to the first answer": Spread([cold.first_answer_s for cold, _ in pairs]),
        "restored, to the first answer": Spread([restored.first_answer_s for _, restored in pairs]),
        "ratio, pair by pair": Spread([cold.first_answer_s / restored.first_answer_s for cold, restored in pairs]),
        "cold, to ready": Spread([cold.ready_s for cold, _ in pairs]),
        "restored, to ready": Spread([restored.ready_s for _, restored in pairs]),
    }


if __name__ == "__main__":
    typer.run(main)
