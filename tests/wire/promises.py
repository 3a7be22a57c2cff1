"""What a stack promises, read from its file as YAML: none of our own code that reads or deploys it is asked.

What an engine's image is made of stands here once more, so that nothing of it changes unseen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import yaml
from pulumi_project import SOURCE

STACKS = ("flux2-klein-9b", "glm-4.7-flash", "gemma-4-26b", "qwen3.5-35b-a3b")

API = ("prometheus-client==0.26.0", "pydantic==2.14.3", "starlette==1.10.0")
PROXY = ("aiohttp==3.14.5",)


@dataclass(frozen=True)
class EngineImage:
    """What an engine's containers are made of on a GPU."""

    base: str
    apt: str
    pip: tuple[str, ...]
    index: str = ""
    env: dict[str, str] = field(default_factory=dict)


ENGINES = {
    "diffusers": EngineImage(
        base="python:3.11.12-slim-bookworm",
        apt="g++",
        pip=(
            *("torch==2.15.0", "diffusers==0.42.1", "transformers==5.23.0", "accelerate==1.15.0"),
            *("safetensors==0.8.0", "tokenizers==0.23.3", "numpy==2.4.6", "pillow==13.0.0", *API),
        ),
        env={"GOMP_SPINCOUNT": "1000", "TORCHINDUCTOR_COMPILE_THREADS": "1"},
    ),
    "llama_cpp": EngineImage(
        base="nvidia/cuda:12.4.1-runtime-ubuntu22.04",
        apt="libgomp1",
        pip=("llama-cpp-python==0.3.36", "numpy==2.4.6", "jinja2==3.1.6", *API),
        index="https://abetlen.github.io/llama-cpp-python/whl/cu124",
        env={"GOMP_SPINCOUNT": "1000"},
    ),
    "llama_server": EngineImage(
        base="ghcr.io/ggml-org/llama.cpp:server-cuda12-b9603",
        apt="libgomp1",
        pip=(*API, *PROXY),
        env={"GOMP_SPINCOUNT": "1000"},
    ),
    "sglang": EngineImage(
        base="nvidia/cuda:13.0.1-devel-ubuntu22.04",
        apt="libnuma1",
        pip=(
            *("sglang==0.5.17", "torch==2.11.0", "transformers==5.12.1", "torch-memory-saver==0.0.10"),
            *("uvloop==0.22.1", *API, *PROXY),
        ),
        env={
            "GLOO_SOCKET_IFNAME": "lo",
            "HF_HUB_OFFLINE": "1",
            "NCCL_CUMEM_ENABLE": "0",
            "NCCL_CUMEM_HOST_ENABLE": "0",
            "NCCL_SOCKET_IFNAME": "lo",
            "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",
            "SGLANG_HOST_IP": "127.0.0.1",
            "SGLANG_JIT_DEEPGEMM_FAST_WARMUP": "1",
            "SGLANG_USE_CUDA_IPC_TRANSPORT": "0",
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "UV_USE_IO_URING": "0",
        },
    ),
}


def stack_file(stack: str) -> str:
    """The text of a stack file."""
    return (SOURCE / f"stacks/Pulumi.{stack}.yaml").read_text()


def service_of(text: str) -> dict[str, Any]:
    """The one service that a stack file declares."""
    (service,) = yaml.safe_load(text)["config"]["coldsnap:services"]
    return dict(service)


def promised(service: dict[str, Any], stack: str) -> dict[str, Any]:
    """All that has to arrive of a service on a GPU, in the form of `Arrivals.arrived`.

    Its weights are on a Volume, as those of every stack are for their size, or in the image, if the file says so.
    """
    volumes = {"/caches": (f"{service['name']}-caches", "rw")}
    if not _baked(service):
        volumes["/weights"] = (f"{service['name']}-weights", "ro")
    machine = {
        "gpus": [_gpu(one) for one in _listed(service["gpu"])],
        "milli_cpu": service["cpu"] * 1000,
        "memory_mb": service["memory"],
        "region": None,
        "volumes": volumes,
        "secrets": _listed(service.get("api_key_secret", [])),
        "timeout": 3600,
        "startup_timeout": 1200,
        "image": _image(service),
        "env": ENGINES[service["engine"]["kind"]].env,
        "code": ["engines", "spec"],
    }
    return {
        "owner": f"coldsnap.{stack}",
        "service": {**machine, **_told(service), **_scaling(service), **_snapshot(service), **_web(service)},
        "twin": {**machine, **_told(service), **_scaling_of_the_twin(), **_NO_SNAPSHOT, "web": {}},
        "fetch": None if _baked(service) else _fetch(service),
    }


def _baked(service: dict[str, Any]) -> bool:
    return service["weights"].get("place") == "image"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _gpu(text: str) -> tuple[str, int]:
    kind, _, count = text.partition(":")
    return kind, int(count or 1)


def _image(service: dict[str, Any]) -> dict[str, Any]:
    """The base, the Python, and every line that is not the client's own."""
    engine, image = ENGINES[service["engine"]["kind"]], service.get("image", {})
    env = [f"ENV {name}={value}" for name, value in image.get("env", {}).items()]
    index = f" --extra-index-url {engine.index}" if engine.index else ""
    return {
        "base": engine.base,
        "python": "3.11",
        "lines": [
            *env,
            f"RUN apt-get install -y {' '.join([engine.apt, *image.get('apt', [])])}",
            f"RUN python -m pip install {' '.join(sorted(engine.pip))}{index}",
            *(f"RUN {line}" for line in image.get("run", [])),
            *(_fetching_lines(service["weights"]) if _baked(service) else []),
        ],
        "secrets": _listed(service["weights"].get("token_secret", [])) if _baked(service) else [],
    }


def _fetching_lines(weights: dict[str, Any]) -> list[str]:
    """The weights' own script, copied and run; what it needs beside Python is gone afterwards."""
    source = json.dumps({**_source(weights), "file": _weights_file(weights)})
    script = f"python /usr/local/share/coldsnap/weights.py '{source}' /usr/local/share/weights"
    install = 'python -m pip install --target "$tools" huggingface_hub==2.4.0'
    run = f'RUN tools=$(mktemp -d) && {install} && PYTHONPATH="$tools" {script} && rm -rf "$tools"'
    return ["COPY . /", run]


def _source(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: weights[name] for name in ("huggingface", "revision", "files") if name in weights}


def _told(service: dict[str, Any]) -> dict[str, Any]:
    """What the container reads of its own definition."""
    return {
        "engine": service["engine"]["kind"],
        "options": service["engine"]["options"],
        "prompt_tokens": service.get("warmup", {}).get("prompt_tokens", [4, 64, 512]),
        "weights_file": _weights_file(service["weights"]),
    }


def _weights_file(weights: dict[str, Any]) -> str:
    files, repository = weights.get("files", []), weights["huggingface"].partition("/")[2]
    return f"{repository}/{files[0]}" if len(files) == 1 else repository


def _scaling(service: dict[str, Any]) -> dict[str, Any]:
    scaling = service["scaling"]
    return {
        "min_containers": scaling.get("min_containers", 0),
        "max_containers": scaling["max_containers"],
        "buffer_containers": scaling.get("buffer_containers", 0),
        "scaledown_window": scaling["scaledown_window"],
        "concurrency": scaling["concurrency"],
    }


def _scaling_of_the_twin() -> dict[str, Any]:
    return {
        "min_containers": 0,
        "max_containers": 1,
        "buffer_containers": 0,
        "scaledown_window": 2,
        "concurrency": None,
    }


_NO_SNAPSHOT = {"memory_snapshot": False, "gpu_snapshot": None}


def _snapshot(service: dict[str, Any]) -> dict[str, Any]:
    snapshot = service.get("snapshot", {})
    if not snapshot.get("enabled", True):
        return _NO_SNAPSHOT
    return {"memory_snapshot": True, "gpu_snapshot": "True" if snapshot.get("gpu", True) else None}


def _web(service: dict[str, Any]) -> dict[str, Any]:
    """Of the API key our own server asks, not Modal's front."""
    return {"web": {"web": {"kind": "WEBHOOK_TYPE_ASGI_APP", "label": service["name"], "proxy_auth": False}}}


def _fetch(service: dict[str, Any]) -> dict[str, Any]:
    """The function that puts the weights on their Volume: it needs no GPU, and all the time that there is."""
    weights = service["weights"]
    return {
        "gpus": [],
        "region": None,
        "volumes": {"/volume": (f"{service['name']}-weights", "rw")},
        "secrets": _listed(weights.get("token_secret", [])),
        "timeout": 24 * 3600,
        "max_containers": 1,
        "source": _source(weights),
        "image": {
            "base": "python:3.11.12-slim-bookworm",
            "python": "3.11",
            "lines": ["RUN python -m pip install huggingface_hub==2.4.0"],
            "secrets": [],
        },
        "code": ["engines"],
    }
