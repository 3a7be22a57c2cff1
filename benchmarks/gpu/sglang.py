"""The engine `sglang` through its phases, with Qwen3.5-35B-A3B in FP8 at full size and dummy weights. No network.

    PYTHONPATH=.:benchmarks python benchmarks/gpu/sglang.py --out benchmarks/results/sglang.json --runs 3

Needs a GPU of 80 GB or more, and the packages that `spec.sglang.SglangEngine.REQUIREMENTS` names.

- first: a start with empty caches, DeepGEMM's kernels compiled ahead, everything warmed up.
- cold: starts with the caches that this left, not warmed up, to the first answer: what a snapshot spares.
- released: one start, warmed up; then the GPU's memory released and taken back on that server, in turn, to the same
  first answer.

Dummy weights take no disk: a load of real ones adds what it takes to read 37 GB. It is no snapshot either; the figures
of `release` and `resume` are the parts of one that are the engine's own.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import qwen3_5_moe
import starts
import typer

from engines import caches, deep_gemm
from engines.clock import Phases
from engines.driver import first_gpu
from engines.sglang import Sglang
from spec import ServiceSpec
from spec.deployment import Deployment
from spread import Spread

OPTIONS = {
    "context_length": 32_768,
    "mem_fraction_static": 0.8,
    "reasoning_parser": "qwen3",
    "tool_call_parser": "qwen3_coder",
    "arguments": ["--load-format", "dummy"],
}
SERVICE = {
    "name": "qwen3-5-35b-a3b",
    "engine": {"kind": "sglang", "options": OPTIONS},
    "weights": {"huggingface": "Qwen/Qwen3.5-35B-A3B-FP8", "revision": "0b2752837483aa34b3db6e83e151b150c0e00e49"},
    "gpu": "H100",
    "scaling": {"concurrency": 16},
    "warmup": {"prompt_tokens": [4, 64, 512, 4096]},
}
"""As in stacks/Pulumi.qwen3.5-35b-a3b.yaml, but for the weights."""


class Part(StrEnum):
    """What can be measured by itself: all of it takes long where there are no caches yet."""

    FIRST = "first"
    COLD = "cold"
    RELEASED = "released"


def main(
    out: Annotated[Path, typer.Option(help="Where the figures are written, as JSON.")],
    runs: Annotated[int, typer.Option(min=1)] = 3,
    part: Annotated[
        list[Part] | None,
        typer.Option(help="One of the parts, or several, in the order in which they are named; none: all."),
    ] = None,
    kept: Annotated[Path | None, typer.Option(help="A folder of caches to go on with; none: a new one.")] = None,
    argument: Annotated[list[str] | None, typer.Option(help="A further argument of the server, a word each.")] = None,
    *,
    ahead: Annotated[
        bool, typer.Option(help="Compile DeepGEMM's kernels ahead, or where the server needs them.")
    ] = True,
) -> None:
    """Measure, and write one file."""
    OPTIONS["arguments"] += argument or []
    service = ServiceSpec.model_validate(SERVICE)
    definition = Deployment.of(service, app_name=service.name, image_id="none", code_digest="none").definition
    os.environ.update(definition.engine.ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="coldsnap-benchmark-") as work:
        weights = qwen3_5_moe.write(Path(work, "model"))
        folder = kept or Path(work, "caches")
        caches.use(folder, links=False)
        if not ahead:
            os.environ.pop(deep_gemm.CACHE, None)
            os.environ["HOME"] = str(folder)  # where the server then keeps DeepGEMM's kernels, below .cache
        known = provenance(runs)
        print(json.dumps(known), flush=True)  # what breaks off has said on what it ran
        result = {}
        for each in part or list(Part):
            result[each.value] = measured(each, lambda: Sglang(definition, weights), runs)
            written(out, known | figures(result) | {"runs": result})
    print(out.read_text())


def measured(part: Part, engine: Callable[[], Sglang], runs: int) -> Any:
    """What the runs of one part saw."""
    match part:
        case Part.FIRST:
            return first(engine())
        case Part.COLD:
            return [cold(engine()) for _ in range(runs)]
        case Part.RELEASED:
            return released(engine(), runs)


def written(out: Path, found: dict[str, Any]) -> None:
    """After each part: the next may take longer than there is time."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n")


def first(engine: Sglang) -> dict[str, Any]:
    """A start that finds no caches."""
    phases = Phases()
    try:
        with phases("load"):
            engine.load()
        with phases("warm_up"):
            engine.warm_up()
        print(phases.seconds, flush=True)
        return {"phases": phases.seconds, "gpu_mib": gpu_mib()}
    finally:
        engine.stop()


def cold(engine: Sglang) -> dict[str, Any]:
    """A start that finds them, as the twin makes it."""
    phases = Phases()
    try:
        with phases("load"):
            engine.load()
        with phases("serve"):
            engine.serve()
        said = answer(engine, phases)
        print(phases.seconds, flush=True)
        return {"answer": said, "phases": phases.seconds}
    finally:
        engine.stop()


def released(engine: Sglang, runs: int) -> dict[str, Any]:
    """Rounds of release and resume on one server; whether the weights came back shows in the answer."""
    rounds = []
    start = Phases()
    try:
        for phase in ("load", "warm_up", "serve"):
            with start(phase):
                getattr(engine, phase)()
            print(start.seconds, flush=True)
        before = {"answer": answer(engine, start), "phases": start.seconds, "gpu_mib": gpu_mib()}
        for _ in range(runs):
            phases = Phases()
            with phases("release"):
                engine.release()
            left = gpu_mib()
            with phases("resume"):
                engine.resume()
            said = answer(engine, phases)
            same = said == before["answer"]
            rounds.append({"phases": phases.seconds, "gpu_mib": left, "answer": said, "same_answer": same})
            print(rounds[-1], flush=True)
        return {"before": before, "rounds": rounds}
    finally:
        engine.stop()


def answer(engine: Sglang, phases: Phases) -> str:
    """The first answer, timed."""
    began = time.time()
    said = asyncio.run(engine.first_answer())
    phases.since("first_answer", began)
    return said


def gpu_mib() -> int:
    """What the driver says is in use."""
    found = first_gpu("memory.used")
    return int(found[0].partition(" ")[0]) if found else 0


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """Median and spread of what is quoted."""
    cold_starts = [run["phases"] for run in result.get("cold", [])]
    rounds = [run["phases"] for run in result.get("released", {}).get("rounds", [])]
    quoted = {
        "cold, to the first answer": [sum(phases.values()) for phases in cold_starts],
        "release": [phases["release"] for phases in rounds],
        "resume": [phases["resume"] for phases in rounds],
        "resume, to the first answer": [phases["resume"] + phases["first_answer"] for phases in rounds],
    }
    return {"seconds": {name: {"median": Spread(runs).median, "runs": runs} for name, runs in quoted.items() if runs}}


def provenance(runs: int) -> dict[str, Any]:
    """What was measured, on what, and how."""
    packages = ("sglang", "torch", "transformers", "sglang-kernel", "sgl-deep-gemm", "torch-memory-saver")
    title = "Qwen3.5-35B-A3B FP8, dummy weights, in the engine sglang; seconds"
    return starts.provenance(title, packages) | {"service": SERVICE, "repeated": runs}


if __name__ == "__main__":
    typer.run(main)
