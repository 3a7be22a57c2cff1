"""What libraries compile at run time, kept on a Volume: the first start of a version then finds it compiled.

What is compiled fits one kind of GPU, one driver and one version of each library: a folder of its own for each
combination. A library that reads a variable is given its folder by that; the default folder of one that reads none
becomes a link into the Volume. A restored process may have files of these folders mapped (Triton's libraries), so they
are committed before the snapshot and never removed while the service lives.
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
    library: str
    """The Python package that fills it; its version is part of the key."""
    variables: tuple[str, ...] = ()
    """Each is set to the folder, except where the user has set it."""
    default: str | None = None
    """The folder below the home folder that becomes a link, for a library that reads no variable."""


CACHES = (
    Cache("inductor", "torch", ("TORCHINDUCTOR_CACHE_DIR",)),
    Cache("triton", "triton", ("TRITON_CACHE_DIR",)),
    Cache("cuda", "torch", ("CUDA_CACHE_PATH",)),
    Cache("flashinfer", "flashinfer-python", ("FLASHINFER_WORKSPACE_BASE",)),
    Cache("deep_gemm", "sgl-deep-gemm", ("DG_JIT_CACHE_DIR", "SGLANG_DG_CACHE_DIR")),
    Cache("tilelang", "tilelang", ("TILELANG_CACHE_DIR",)),
    Cache("sglang", "sglang", ("SGLANG_CACHE_DIR",)),
    Cache("vllm", "vllm", ("VLLM_CACHE_ROOT",)),
    Cache("huggingface", "huggingface_hub", ("HF_HOME",)),
)
"""Every cache. A new one is a line here."""


def use(root: Path) -> Path:
    """Makes this process and its children keep their caches below `root`; the folder of this combination."""
    folder = root / key()
    for cache in CACHES:
        _use(cache, folder / cache.name)
    return folder


def _use(cache: Cache, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for variable in cache.variables:
        os.environ.setdefault(variable, str(folder))
    if cache.default is not None:
        _link(Path.home() / cache.default, folder)


def _link(default: Path, folder: Path) -> None:
    """A folder that the image has filled already stays as it is: what is in it is there in every container."""
    if default.is_symlink() or not default.exists():
        default.parent.mkdir(parents=True, exist_ok=True)
        default.unlink(missing_ok=True)
        default.symlink_to(folder)


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
    versions = [f"{cache.library}=={_version(cache.library)}" for cache in CACHES]
    return sha256(" ".join(versions).encode()).hexdigest()[:12]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
