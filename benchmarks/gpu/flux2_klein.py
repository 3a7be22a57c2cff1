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
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests/engines")]

import starts  # noqa: E402 - what it needs is found below the root
from starts import Start  # noqa: E402

from engines import caches  # noqa: E402
from engines.clock import Phases, process_started_at  # noqa: E402
from spec import ServiceSpec  # noqa: E402
from spec.deployment import Definition, Deployment  # noqa: E402

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
    arguments = starts.arguments_of("write").parse_args()
    if arguments.role == "write":
        _write(arguments.weights)
    elif arguments.role:
        _start(arguments.weights, arguments.role)
    else:
        _measure(arguments)


@dataclass(frozen=True)
class _Starter:
    """Starts the engine with these weights."""

    weights: Path

    def start(self, role: str, cache: Path) -> Start:
        """What one start saw, with these JIT caches."""
        environment = {**_definition().engine.ENVIRONMENT, "JIT_CACHES": str(cache)}
        return starts.start([str(self.weights), os.devnull, "--role", role], environment)


def _measure(arguments: argparse.Namespace) -> None:
    starter = _Starter(arguments.weights)
    with TemporaryDirectory() as folder:
        cache = Path(folder, "kept")
        if not (arguments.weights / "model_index.json").is_file():
            starter.start("write", cache)
        starter.start("cold", cache)  # fills the page cache and the JIT caches
        seen = {
            "cold, JIT caches empty": [starter.start("cold", Path(folder, str(run))) for run in range(arguments.runs)],
            "cold, JIT caches warm": [starter.start("cold", cache) for _ in range(arguments.runs)],
            "service, JIT caches warm": [starter.start("service", cache) for _ in range(arguments.runs)],
        }
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    arguments.result.write_text(json.dumps(_result(seen), indent=2) + "\n")


def _result(seen: dict[str, list[Start]]) -> dict:
    title = "FLUX.2 [klein] 9B, random weights, bf16, 1024x1024, 4 steps; seconds, page cache warm"
    said = {start["answer"] for runs in seen.values() for start in runs}
    return {
        **starts.provenance(title, ("torch", "diffusers", "transformers", "triton")),
        "same_answer": len(said) == 1,
        "figures": starts.figures(seen),
        "runs": seen,
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
    starts.go_through(engine, phases, role)
    seen = asyncio.run(starts.answers(engine, phases))
    size = sum(file.stat().st_size for file in weights.rglob("*.safetensors"))
    print(json.dumps({**seen, **starts.rate(size, phases), **_gpu()}))


def _gpu() -> dict[str, float]:
    """GiB of GPU memory in use, and what the link to it can do."""
    import torch  # noqa: PLC0415

    return {"gpu_gib": round(torch.cuda.memory_allocated() / 2**30, 2), "link_gb_per_s": starts.link_gb_per_s()}


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
