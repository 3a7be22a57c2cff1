"""FLUX.2 [klein] 9B's exact architecture with random weights, by this project's engine, phase by phase.

    python benchmarks/gpu/flux2_klein.py WEIGHTS RESULT.json --runs 3

For a machine with an NVIDIA GPU of 48 GB or more, torch and diffusers; it needs no network. The weights (35 GB) are
written to the folder WEIGHTS if they are not there. Every start is a process of its own, the page cache warm:
`cold` goes from imports to the first image as the twin of a service does, and `service` through all the phases, as
the process that is snapshotted does.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests/engines")]

from engines import caches  # noqa: E402 - found below the root
from engines.clock import Phases, process_started_at  # noqa: E402
from engines.driver import first_gpu  # noqa: E402
from engines.engine import Engine  # noqa: E402
from spec import ServiceSpec  # noqa: E402
from spec.deployment import Definition, Deployment  # noqa: E402
from spread import Spread, machine  # noqa: E402

TRANSFORMER = {
    "num_layers": 8,
    "num_single_layers": 24,
    "num_attention_heads": 32,
    "joint_attention_dim": 12288,
    "guidance_embeds": False,
}
"""As the model's own configuration has it; the rest is the class's default."""

TEXT_ENCODER = {
    "hidden_size": 4096,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
}
"""Qwen3 8B."""


def main() -> None:
    """Write the weights, start the engine again and again, and write down what was seen."""
    arguments = _arguments()
    if arguments.role == "write":
        _write(arguments.weights)
    elif arguments.role:
        _start(arguments.weights, arguments.role)
    else:
        _measure(arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--role", choices=("write", "cold", "service"), help=argparse.SUPPRESS)
    return parser.parse_args()


@dataclass(frozen=True)
class _Starter:
    """Starts processes of their own, whose result is the last line that they print."""

    weights: Path

    def start(self, role: str, cache: Path) -> dict:
        """What one start saw, with these JIT caches."""
        definition = _definition()
        environment = {**os.environ, **definition.engine.ENVIRONMENT, "JIT_CACHES": str(cache)}
        command = [sys.executable, __file__, str(self.weights), os.devnull, "--role", role]
        began = time.time()
        output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        print(f"{role}: {time.time() - began:.1f} s: {output.splitlines()[-1]}", flush=True)
        return json.loads(output.splitlines()[-1])


def _measure(arguments: argparse.Namespace) -> None:
    starter = _Starter(arguments.weights)
    with TemporaryDirectory() as folder:
        cache = Path(folder, "kept")
        if not (arguments.weights / "model_index.json").is_file():
            starter.start("write", cache)
        starter.start("cold", cache)  # fills the page cache and the JIT caches
        starts = {
            "cold, JIT caches empty": [starter.start("cold", Path(folder, str(run))) for run in range(arguments.runs)],
            "cold, JIT caches warm": [starter.start("cold", cache) for _ in range(arguments.runs)],
            "service, JIT caches warm": [starter.start("service", cache) for _ in range(arguments.runs)],
        }
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    arguments.result.write_text(json.dumps(_result(starts), indent=2) + "\n")


def _result(starts: dict[str, list[dict]]) -> dict:
    seen = [start for runs in starts.values() for start in runs]
    return {
        "title": "FLUX.2 [klein] 9B, random weights, bf16, 1024x1024, 4 steps; seconds, page cache warm",
        "command": " ".join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": {"machine": machine(), "gpu": first_gpu("name", "driver_version", "memory.total")},
        "versions": {
            "python": python_version(),
            **{name: version(name) for name in ("torch", "diffusers", "transformers", "triton")},
        },
        "same_answer": len({start["answer"] for start in seen}) == 1,
        "figures": {name: _spread(runs) for name, runs in starts.items()},
        "runs": starts,
    }


def _spread(runs: list[dict]) -> dict[str, dict]:
    figures = {name: Spread([run["seconds"][name] for run in runs]) for name in runs[0]["seconds"]}
    return {
        name: {"median": round(each.median, 3), "min": min(each.runs), "max": max(each.runs), "runs": len(each.runs)}
        for name, each in figures.items()
    }


def _definition() -> Definition:
    engine = {"kind": "diffusers"}
    spec = ServiceSpec.model_validate({"name": "images", "engine": engine, "weights": {"path": "flux2"}, "gpu": "H100"})
    return Deployment.of(spec, app_name="images", image_id="", code_digest="").definition


def _start(weights: Path, role: str) -> None:
    """One start, through the phases of `engines/engine.py`."""
    phases = Phases()
    caches.use(Path(os.environ["JIT_CACHES"]), links=False)
    from engines.diffusers import Diffusers  # noqa: PLC0415 - torch reads its environment when it is imported

    engine = Diffusers(_definition(), weights)
    phases.since("imports", process_started_at())
    for phase in ("load", "serve") if role == "cold" else ("load", "warm_up", "release", "resume", "serve"):
        with phases(phase):
            getattr(engine, phase)()
    seen = asyncio.run(_answers(engine, phases))
    size = sum(file.stat().st_size for file in weights.rglob("*.safetensors")) / 1e9
    rate = {"weights_gb": round(size, 2), "load_gb_per_s": round(size / phases.seconds["load"], 2)}
    print(json.dumps({**seen, **rate, **_gpu()}))


async def _answers(engine: Engine, phases: Phases) -> dict:
    with phases("first_answer"):
        answer = await engine.first_answer()
    phases.since("to_first_answer", process_started_at())
    with phases("second_answer"):
        again = await engine.first_answer()
    return {"seconds": phases.seconds, "answer": answer, "again_the_same": again == answer}


def _gpu() -> dict[str, float]:
    """GiB of GPU memory in use, and the rate of a page-locked copy: no load is faster."""
    import torch  # noqa: PLC0415

    used = torch.cuda.memory_allocated() / 2**30
    pinned = torch.empty(2**31, dtype=torch.uint8, pin_memory=True)
    pinned.to("cuda")
    torch.cuda.synchronize()
    began = time.perf_counter()
    pinned.to("cuda", non_blocking=True)
    torch.cuda.synchronize()
    return {"gpu_gib": round(used, 2), "link_gb_per_s": round(2**31 / 1e9 / (time.perf_counter() - began), 1)}


def _write(weights: Path) -> None:
    """The pipeline as its repository has it; made on the GPU, where 17 billion random numbers take seconds."""
    import torch  # noqa: PLC0415
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel  # noqa: PLC0415
    from tiny_flux2 import pipeline  # noqa: PLC0415
    from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: PLC0415

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        transformer = Flux2Transformer2DModel(**TRANSFORMER)
        text_encoder = Qwen3ForCausalLM(Qwen3Config(**TEXT_ENCODER))
        vae = AutoencoderKLFlux2()
    pipeline(transformer, text_encoder, vae).save_pretrained(weights)
    print(json.dumps({"written": str(weights)}))


if __name__ == "__main__":
    main()
