"""The engines `llama_cpp` and `llama_server`, phase by phase, with 17.7 GB of random weights in GLM-4.7-Flash's shapes.

    python benchmarks/gpu/llama.py WEIGHTS.gguf RESULT.json --runs 3

For a machine with an NVIDIA GPU of 24 GB or more; it needs no network. llama-cpp-python and a `llama-server` on the
PATH are built for CUDA; one build of llama.cpp with `-DGGML_CUDA=ON -DBUILD_SHARED_LIBS=ON` serves both, its folder
`bin` on the PATH and in LLAMA_CPP_LIB_PATH. torch measures the link, and `gguf` writes the weights if they are not
there. Every start is a process of its own. There is no JIT cache: the kernels of llama.cpp are compiled when it is
built. `cold` goes from imports to the first answer as the twin of a service does, with the weights' file in the page
cache or dropped from it; `service` through all the phases, as the process that is snapshotted does.

`--tiny` tries the script without a GPU, with some megabytes.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import starts  # noqa: E402 - what it needs is found below the root
from starts import Start  # noqa: E402

from engines.clock import Phases, process_started_at  # noqa: E402
from engines.driver import first_gpu  # noqa: E402
from spec import ServiceSpec  # noqa: E402
from spec.deployment import Definition, Deployment  # noqa: E402

ENGINES = {
    "llama_cpp": {"n_ctx": 16_384, "n_batch": 512},
    "llama_server": {"n_ctx": 8192, "slots": 4, "flash_attn": "on"},
}
"""Each with the options of its stack in stacks/."""


def main() -> None:
    """Write the weights, start each engine again and again, and write down what was seen."""
    arguments = _arguments()
    if arguments.role == "write":
        _write(arguments)
    elif arguments.role == "link":
        print(json.dumps([starts.link_gb_per_s() for _ in range(arguments.runs)]))
    elif arguments.role:
        print(json.dumps(_start(arguments)))
    else:
        _measure(arguments)


def _arguments() -> argparse.Namespace:
    parser = starts.arguments_of("write", "link")
    parser.add_argument("--engine", choices=(*ENGINES,), action="append", help="One of the two; none: both.")
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


@dataclass(frozen=True)
class _Starter:
    """Starts one engine with these weights."""

    arguments: argparse.Namespace

    def start(self, role: str, engine: str = "llama_cpp", *, dropped: bool = False) -> Start:
        """What one start saw, its weights dropped from the page cache or left there."""
        if dropped:
            _drop(self.arguments.weights)
        environment = _definition(engine, tiny=self.arguments.tiny).engine.ENVIRONMENT
        asked = ("--engine", engine, "--role", role, "--runs", str(self.arguments.runs))
        tiny = ("--tiny",) if self.arguments.tiny else ()
        return starts.start([str(self.arguments.weights), os.devnull, *asked, *tiny], environment)

    def group(self, role: str, engine: str, *, dropped: bool = False) -> list[Start]:
        """The same several times."""
        return [self.start(role, engine, dropped=dropped) for _ in range(self.arguments.runs)]


def _measure(arguments: argparse.Namespace) -> None:
    starter = _Starter(arguments)
    if not arguments.weights.is_file():
        starter.start("write")
    link = None if arguments.tiny else starter.start("link")
    seen: dict[str, list[Start]] = {}
    for engine in arguments.engine or ENGINES:
        starter.start("cold", engine)  # brings its libraries into the page cache
        seen[f"{engine}: cold, page cache warm"] = starter.group("cold", engine)
        seen[f"{engine}: service, page cache warm"] = starter.group("service", engine)
        seen[f"{engine}: cold, weights not in the page cache"] = starter.group("cold", engine, dropped=True)
        _write_down(arguments.result, seen, link)


def _write_down(result: Path, seen: dict[str, list[Start]], link: object) -> None:
    """All that was seen so far: what breaks off keeps what it has."""
    title = "GLM-4.7-Flash's architecture, random weights, 4 bits, in llama.cpp's two engines; seconds"
    known = starts.provenance(title, ("llama-cpp-python",))
    known["versions"]["llama-server"] = _version_of_the_server()
    known |= {"link_gb_per_s": link, "same_answer": _same_answers(seen), "figures": starts.figures(seen), "runs": seen}
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(known, indent=2) + "\n")


def _version_of_the_server() -> str:
    done = subprocess.run(["llama-server", "--version"], capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("version", "built"))]
    return ", ".join(lines)


def _same_answers(seen: dict[str, list[Start]]) -> dict[str, bool]:
    """Whether an engine said the same in every process."""
    said: dict[str, set[str]] = {}
    for name, runs in seen.items():
        said.setdefault(name.partition(":")[0], set()).update(run["answer"] for run in runs)
    return {engine: len(different) == 1 for engine, different in said.items()}


def _drop(weights: Path) -> None:
    """Have the kernel forget what it holds of the file, which is on the disk by then."""
    with weights.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _write(arguments: argparse.Namespace) -> None:
    import glm_4_7_flash  # noqa: PLC0415 - needs `gguf`, which no start needs

    shape = glm_4_7_flash.TINY if arguments.tiny else glm_4_7_flash.FULL
    print(json.dumps({"written": str(glm_4_7_flash.write(arguments.weights, shape))}))


def _definition(engine: str, *, tiny: bool) -> Definition:
    options = ENGINES[engine] | ({"n_ctx": 256} if tiny else {})
    described = {
        "name": "glm-4-7-flash",
        "engine": {"kind": engine, "options": options},
        "weights": {"path": "glm.gguf"},
        "gpu": "none" if tiny else "H100",
        "cpu": 8,
        "warmup": {"prompt_tokens": [4, 64, 128 if tiny else 512]},
    }
    spec = ServiceSpec.model_validate(described)
    return Deployment.of(spec, app_name=spec.name, image_id="", code_digest="").definition


def _start(arguments: argparse.Namespace) -> Start:
    """One start, through the phases of `engines/engine.py`."""
    phases = Phases()
    definition = _definition(arguments.engine[0], tiny=arguments.tiny)
    module, _, name = definition.engine.RUNS_AS.rpartition(".")
    engine = getattr(import_module(module), name)(definition, arguments.weights)
    phases.since("imports", process_started_at())
    try:
        starts.go_through(engine, phases, arguments.role)
        seen = asyncio.run(starts.answers(engine, phases))
        rate = starts.rate(arguments.weights.stat().st_size, phases)
        return {**seen, **rate, "gpu_memory": first_gpu("memory.used")}
    finally:
        engine.stop()


if __name__ == "__main__":
    main()
