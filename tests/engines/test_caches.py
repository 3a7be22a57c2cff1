"""The caches of what is compiled at run time: each library is started for real, and its files land on the Volume."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engines import caches
from engines.caches import CACHES, Cache

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).resolve().parents[2]
HAS_GPU = shutil.which("nvidia-smi") is not None

BEGIN = """
import sys
from pathlib import Path
from engines import caches
caches.use(Path(sys.argv[1]), links=True)
"""

PROGRAMS = {
    "cuda": """
        import ctypes
        cuda, handle = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
        assert cuda.cuInit(0) == cuda.cuDevicePrimaryCtxRetain(ctypes.byref(handle), 0) == 0
        assert cuda.cuCtxSetCurrent(handle) == 0
        body = "".join(f"add.s32 r0, r0, {number};" for number in range(2000))
        ptx = ".version 7.0 .target sm_70 .address_size 64 .visible .entry k() { .reg .s32 r0; mov.s32 r0, 1; %s ret; }"
        assert cuda.cuModuleLoadData(ctypes.byref(ctypes.c_void_p()), (ptx % body).encode()) == 0
    """,
    "inductor": """
        import torch
        print(torch.compile(lambda x: torch.sin(x) * 2 + 1)(torch.ones(64)))
    """,
    "torch_extensions": """
        from torch.utils.cpp_extension import load_inline
        load_inline("doubled", "int doubled(int x) { return 2 * x; }", functions=["doubled"])
    """,
    "triton": """
        import triton
        import triton.language as tl
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        @triton.jit
        def doubled(x, y):
            tl.store(y, tl.load(x) * 2)

        source = ASTSource(fn=doubled, signature={"x": "*fp32", "y": "*fp32"}, constexprs={})
        triton.compile(source, target=GPUTarget("cuda", 90, 32))
    """,
    "flashinfer": """
        import os
        os.environ["FLASHINFER_CUDA_ARCH_LIST"] = "9.0a"
        from flashinfer.jit.activation import gen_act_and_mul_module
        gen_act_and_mul_module("silu")
    """,
    "deep_gemm": """
        import deep_gemm, torch
        a, b = (torch.randn(128, 128, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        deep_gemm.bf16_gemm_nt(a, b, torch.empty(128, 128, device="cuda", dtype=torch.bfloat16))
    """,
    "tvm_ffi": """
        import tvm_ffi.cpp
        tvm_ffi.cpp.load_inline("doubled", cpp_sources="int doubled(int x) { return 2 * x; }", functions=["doubled"])
    """,
    "tilelang": """
        import tilelang
        import tilelang.language as T

        @tilelang.jit(target="c", execution_backend="cython")
        def doubled(n):
            @T.prim_func
            def main(a: T.Tensor((n,), "float32"), b: T.Tensor((n,), "float32")):
                with T.Kernel(1):
                    for i in T.serial(n):
                        b[i] = a[i] * 2
            return main

        doubled(64)
    """,
    "sglang": """
        from sglang.srt.environ import envs
        from sglang.srt.distributed.device_communicators.custom_all_reduce_utils import gpu_p2p_access_check
        gpu_p2p_access_check(0, 0)
    """,
    "vllm": """
        from vllm.model_executor.models.registry import ModelRegistry
        ModelRegistry.models["LlamaForCausalLM"].inspect_model_cls()
    """,
    "huggingface": """
        from huggingface_hub import hf_hub_download
        hf_hub_download("somebody/model", "config.json", revision="0" * 40)
    """,
}
NEED_A_GPU = {"cuda", "deep_gemm", "sglang"}


class Hub(BaseHTTPRequestHandler):
    """Has one file."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("ETag", '"' + "1" * 40 + '"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"{}")

    do_HEAD = do_GET  # noqa: N815 - the server looks for this name

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def installed(library: str | None) -> bool:
    try:
        return library is None or bool(version(library))
    except PackageNotFoundError:
        return False


@pytest.mark.parametrize("cache", CACHES, ids=lambda cache: cache.name)
def test_what_a_library_compiles_lands_on_the_volume(cache: Cache, tmp_path: Path, hub: str) -> None:
    if not installed(cache.library):
        pytest.skip(f"{cache.library} is not installed")
    if cache.name in NEED_A_GPU and not HAS_GPU:
        pytest.skip(f"{cache.name} compiles for the GPU that it finds, and this machine has none")
    assert landed(cache, PROGRAMS[cache.name], tmp_path, hub)


def test_a_version_that_reads_no_variable_fills_the_volume_too(tmp_path: Path, hub: str) -> None:
    """As far as Triton can be one."""
    if not installed("triton"):
        pytest.skip("triton is not installed")
    (triton,) = (cache for cache in CACHES if cache.name == "triton")
    program = f"import os\ndel os.environ['TRITON_CACHE_DIR']\n{textwrap.dedent(PROGRAMS['triton'])}"
    assert landed(triton, program, tmp_path, hub)


def landed(cache: Cache, text: str, folder: Path, hub: str) -> list[Path]:
    """The files of the cache on the Volume, after a program that keeps its caches there."""
    home, volume, program = folder / "home", folder / "volume", folder / "program.py"
    home.mkdir()
    program.write_text(BEGIN + textwrap.dedent(text))
    set_already = {variable for one in CACHES for variable in one.variables}
    env = {name: value for name, value in os.environ.items() if name not in set_already}
    env |= {"HOME": str(home), "PYTHONPATH": str(SOURCE), "HF_ENDPOINT": hub}
    done = subprocess.run([sys.executable, program, volume], env=env, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (combination,) = volume.iterdir()
    return [file for file in (combination / cache.name).rglob("*") if file.is_file()]


def test_every_cache_is_tried() -> None:
    assert set(PROGRAMS) == {cache.name for cache in CACHES}
    assert len({cache.name for cache in CACHES}) == len(CACHES)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, and no variable set yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for cache in CACHES:
        for variable in cache.variables:
            monkeypatch.setenv(variable, "")
            monkeypatch.delenv(variable)
    monkeypatch.setattr(caches, "_version", lambda _: "1.0")
    return tmp_path


def test_a_variable_that_the_user_has_set_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/elsewhere")
    folder = caches.use(home / "volume", links=False)
    assert os.environ["HF_HOME"] == "/elsewhere"
    assert os.environ["TRITON_CACHE_DIR"] == str(folder / "triton")


def test_a_default_folder_leads_to_where_the_variable_does(home: Path) -> None:
    caches.use(home / "old", links=True)
    folder = caches.use(home / "volume", links=True)
    (home / ".cache/flashinfer/compiled").write_text("x")
    assert (folder / "flashinfer/.cache/flashinfer/compiled").read_text() == "x"


def test_a_default_folder_that_the_image_has_filled_stays(home: Path) -> None:
    (home / ".cache/sglang").mkdir(parents=True)
    caches.use(home / "volume", links=True)
    assert not (home / ".cache/sglang").is_symlink()


def test_a_home_that_is_not_the_containers_own_is_left_alone(home: Path) -> None:
    caches.use(home / "volume", links=False)
    assert [entry.name for entry in home.iterdir()] == ["volume"]


def test_another_driver_or_library_is_another_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_gpu(*values: str) -> str:
        monkeypatch.setattr(caches, "first_gpu", lambda *_: values)
        return caches.key()

    keys = [
        with_gpu("NVIDIA L40S", "580.95.05"),
        with_gpu("NVIDIA L40S", "595.1"),
        with_gpu("NVIDIA H100", "580.95.05"),
    ]
    monkeypatch.setenv("CUDA_VERSION", "12.4.1")
    keys.append(caches.key())
    monkeypatch.setattr(caches, "_version", lambda _: "2.0")
    keys.append(caches.key())
    assert len(set(keys)) == len(keys)
    assert keys[0].startswith("NVIDIA-L40S-580.95.05-")
