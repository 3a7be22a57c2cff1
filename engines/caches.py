"""What libraries compile at run time, kept on a Volume: the first start of a version then finds it compiled.

What is compiled fits one kind of GPU, one driver and one version of each library: a folder of its own for each
combination. Libraries are given their folders by the variables that they read. A version that reads none, or a child
process that was started without them, writes into the default folder, which is a link to the same place. A restored
process may have files of these folders mapped (Triton's libraries), so they are committed before the snapshot and
never removed while the service lives.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engines.driver import first_gpu

VOLUME = Path("/caches")
"""Where a container sees its Volume of caches, if it has one; `engines.app` mounts it."""


@dataclass(frozen=True)
class Cache:
    """What one library compiles, and how it is told where to put it."""

    name: str
    """The folder's name on the Volume."""
    library: str | None
    """The Python package that fills it, which is part of the key; none: the driver."""
    variables: tuple[str, ...]
    """Each is set to the folder, except where the user has set it."""
    default: str | None = None
    """Where it writes below the home folder if it knows no variable; none: elsewhere."""
    below: str = "."
    """Where it writes below the folder that a variable names."""


CACHES = (
    Cache("cuda", None, ("CUDA_CACHE_PATH",), ".nv/ComputeCache"),
    Cache("inductor", "torch", ("TORCHINDUCTOR_CACHE_DIR",)),
    Cache("torch_extensions", "torch", ("TORCH_EXTENSIONS_DIR",)),
    Cache("triton", "triton", ("TRITON_CACHE_DIR",), ".triton/cache"),
    Cache("flashinfer", "flashinfer-python", ("FLASHINFER_WORKSPACE_BASE",), ".cache/flashinfer", ".cache/flashinfer"),
    Cache("deep_gemm", "sgl-deep-gemm", ("DG_JIT_CACHE_DIR", "SGLANG_DG_CACHE_DIR"), ".cache/deep_gemm"),
    Cache("tvm_ffi", "apache-tvm-ffi", ("TVM_FFI_CACHE_DIR",), ".cache/tvm-ffi"),
    Cache("tilelang", "tilelang", ("TILELANG_CACHE_DIR",), ".tilelang/cache"),
    Cache("sglang", "sglang", ("SGLANG_CACHE_DIR",), ".cache/sglang"),
    Cache("vllm", "vllm", ("VLLM_CACHE_ROOT",), ".cache/vllm"),
    Cache("huggingface", "huggingface_hub", ("HF_HOME",), ".cache/huggingface"),
)
"""Every cache. A new one is a line here."""


def use(root: Path, *, links: bool) -> Path:
    """Makes this process and its children keep their caches below `root`; the folder of this combination.

    With `links` the default folders in the home folder are links: in a container, whose home is nobody else's.
    """
    folder = root / key()
    for cache in CACHES:
        if cache.library is None or _version(cache.library):
            _use(cache, folder / cache.name, links=links)
    return folder


def _use(cache: Cache, folder: Path, *, links: bool) -> None:
    target = folder / cache.below
    target.mkdir(parents=True, exist_ok=True)
    for variable in cache.variables:
        os.environ.setdefault(variable, str(folder))
    if links and cache.default:
        _link(Path.home() / cache.default, target)


def _link(default: Path, target: Path) -> None:
    """A folder that the image has filled already stays as it is: what is in it is there in every container."""
    if default.is_symlink() or not default.exists():
        default.parent.mkdir(parents=True, exist_ok=True)
        default.unlink(missing_ok=True)
        default.symlink_to(target)


def key() -> str:
    """The combination that compiled code fits, such as `NVIDIA-L40S-580.95.05-12.4.1-3f2a9c0d1b7e`."""
    hardware = first_gpu("name", "driver_version") or ("cpu", _processor())
    parts = (*hardware, os.environ.get("CUDA_VERSION", ""), _digest_of_versions())
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(filter(None, parts)))


def _processor() -> str:
    """What code for the CPU is compiled for: some libraries compile for the very one that they run on."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def _digest_of_versions() -> str:
    """Of the libraries that compile; torch's own version names the CUDA that it is built for."""
    versions = [f"{cache.library}=={_version(cache.library)}" for cache in CACHES if cache.library]
    return sha256(" ".join(versions).encode()).hexdigest()[:12]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
