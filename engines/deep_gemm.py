"""Compiles DeepGEMM's kernels before the server that needs them starts.

SGLang multiplies FP8 matrices with DeepGEMM, which compiles a kernel for every shape: minutes, in the middle of the
first answers. `sglang.compile_deep_gemm` does it ahead, with a server of its own that it ends. What it compiles is
kept where the Volume of caches is, and so is a mark for the arguments that it was compiled for.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from engines.child import Child, ChildError, free_port
from engines.driver import first_gpu

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CACHE = "SGLANG_DG_CACHE_DIR"
"""The variable that names DeepGEMM's cache; `engines.caches` sets it where there is a Volume to keep it."""

COMPILE_SECONDS = 600
"""How long it may take, so that a start has time left for the load: what is compiled by then is kept, if not marked."""

_GENERATIONS = {"9", "10"}
"""Major compute capabilities that DeepGEMM has kernels for: Hopper, and Blackwell of the data centre (not 12)."""

log = logging.getLogger("coldsnap.deep_gemm")


def is_asked_for(weights: Path) -> bool:
    """Whether this GPU multiplies these weights with DeepGEMM, and there is a place to keep what it compiles."""
    return CACHE in os.environ and _in_fp8_blocks(weights) and _has_kernels_for(first_gpu("compute_cap"))


def _in_fp8_blocks(weights: Path) -> bool:
    config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
    quantization = config.get("quantization_config") or {}
    return quantization.get("quant_method") == "fp8" and bool(quantization.get("weight_block_size"))


def _has_kernels_for(capability: tuple[str, ...] | None) -> bool:
    return capability is not None and capability[0].partition(".")[0] in _GENERATIONS


def compile_ahead(weights: Path, arguments: Sequence[str], env: Mapping[str, str]) -> None:
    """Compile for a server of such a model with these arguments, unless that was done.

    A failure costs time later, and no start.
    """
    mark = Path(os.environ[CACHE], f"compiled-{_digest(weights, arguments)}")
    if mark.exists():
        return
    compiler = _compiler(["--model-path", str(weights), *arguments], env)
    compiler.start()
    try:
        compiler.wait_until(lambda: not compiler.alive, COMPILE_SECONDS)
        if compiler.exit_code:
            log.warning("DeepGEMM's kernels are compiled when they are needed. %s", compiler.fault())
        else:
            mark.touch()
    except ChildError as error:
        log.warning("DeepGEMM's kernels are not all compiled yet, the next start goes on. %s", error)
    finally:
        compiler.stop()


def _digest(weights: Path, arguments: Sequence[str]) -> str:
    """Of what decides which kernels there are: the model's shapes, not where its files are or what is in them."""
    config = (weights / "config.json").read_text(encoding="utf-8")
    return sha256(json.dumps([config, *arguments]).encode()).hexdigest()[:16]


def _compiler(arguments: Sequence[str], env: Mapping[str, str]) -> Child:
    """Its server has no key, and nobody to hide from: it ends before there are requests, and listens to us alone."""
    port = free_port()
    ours = ("--host", "127.0.0.1", "--port", str(port), "--timeout", str(COMPILE_SECONDS))
    command = [sys.executable, "-m", "sglang.compile_deep_gemm", *arguments, *ours]
    return Child("compile_deep_gemm", command, env, port)
