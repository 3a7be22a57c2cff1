"""Options of the engine `sglang`: the server of SGLang as a tree of child processes."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from spec.engine import EngineSpec
from spec.frozen import Frozen
from spec.requirements import HTTP_API, PROXY

FLAGS = {
    "context_length": "--context-length",
    "mem_fraction_static": "--mem-fraction-static",
    "cuda_graph_max_bs": "--cuda-graph-max-bs-decode",
    "tp": "--tp-size",
    "quantization": "--quantization",
    "reasoning_parser": "--reasoning-parser",
    "tool_call_parser": "--tool-call-parser",
}
"""What the server calls each option that has a value. Older releases had one `--cuda-graph-max-bs` for all graphs."""

SWITCHES = {
    "enable_memory_saver": "--enable-memory-saver",
    "enable_weights_cpu_backup": "--enable-weights-cpu-backup",
}
"""What it calls each option that is on or off."""

OURS = (
    *("--model-path", "--served-model-name", "--tensor-parallel-size"),
    *("--host", "--port", "--grpc-port", "--dist-init-addr", "--nccl-init-addr", "--nccl-port"),
    *("--config", "--api-key", "--admin-api-key"),
    *("--weight-cache-mode", "--skip-server-warmup", "--enable-metrics", "--max-running-requests"),
    *("--tokenizer-worker-num",),  # with more than one the server asks for no key
    *("--log-level", "--log-requests"),
)
"""Flags, beside those of the options, that the engine sets itself or keeps as they are."""


class SglangOptions(Frozen):
    """Arguments of SGLang's server; what is left out is as the server has it."""

    context_length: int | None = Field(
        default=None, ge=8, description="Tokens of prompt and answer together; none: as the model has it."
    )
    mem_fraction_static: float | None = Field(
        default=None, gt=0, lt=1, description="Share of the GPU's memory for weights and KV cache together."
    )
    cuda_graph_max_bs: int | None = Field(
        default=None,
        ge=1,
        description="Requests for which CUDA graphs are captured; none: as many as a container has at once.",
    )
    tp: int = Field(default=1, ge=1, description="GPUs that share the model (tensor parallelism).")
    quantization: str | None = Field(
        default=None, description="How weights are quantized at load; none: as their own config.json says."
    )
    reasoning_parser: str | None = Field(
        default=None, description="What tells thoughts from the answer, such as qwen3; none: they stay together."
    )
    tool_call_parser: str | None = Field(
        default=None, description="What finds calls of tools in the answer, such as qwen3_coder; none: nothing does."
    )
    enable_memory_saver: bool = Field(
        default=True, description="Release all GPU memory before a snapshot, and take it back after it."
    )
    enable_weights_cpu_backup: bool = Field(
        default=True, description="Keep a copy of released weights in the host's memory: else they come back as noise."
    )
    arguments: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Further arguments of the server, each a word: [--chunked-prefill-size, '4096']."
    )

    @model_validator(mode="after")
    def _leaves_to_the_engine_what_it_sets(self) -> Self:
        option_of = {flag: name for name, flag in (FLAGS | SWITCHES).items()}
        for argument in self.arguments:
            # Python's argparse takes the beginning of a flag for the flag, and of two the last.
            given = argument.partition("=")[0]
            meant = [flag for flag in (*option_of, *OURS) if given.startswith("--") and flag.startswith(given)]
            if meant and (name := option_of.get(meant[0])):
                raise ValueError(f'arguments: "{given}" is the option {name}. Set that one instead.')
            if meant:
                raise ValueError(f'arguments: "{given}" is set by the engine itself ({meant[0]}). Remove it.')
        return self


class SglangEngine(EngineSpec):
    """SGLang's server, whose port only its own container reaches, behind an OpenAI-compatible API."""

    RUNS_AS: ClassVar[str] = "engines.sglang.Sglang"
    REQUIREMENTS: ClassVar[tuple[str, ...]] = (
        "sglang==0.5.17",  # the newest for torch 2.11; 0.5.18 asks for 2.13
        "torch==2.11.0",
        "transformers==5.12.1",
        "torch-memory-saver==0.0.10",
        "uvloop==0.22.1",  # the newest that can do without io_uring, which no snapshot holds; see ENVIRONMENT
        *HTTP_API,
        *PROXY,
    )
    """SGLang pins its kernels itself: sglang-kernel, flashinfer-python, sgl-deep-gemm, xgrammar."""
    APT: ClassVar[tuple[str, ...]] = ("libnuma1",)
    """Its kernels are linked against it."""
    ENVIRONMENT: ClassVar[dict[str, str]] = {
        # A snapshot cannot hold GPU memory that processes share, nor workers that inherited handles of the GPU.
        "NCCL_CUMEM_ENABLE": "0",
        "NCCL_CUMEM_HOST_ENABLE": "0",
        "SGLANG_USE_CUDA_IPC_TRANSPORT": "0",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "UV_USE_IO_URING": "0",
        # A restored container has another address: what its processes say to each other goes over the loopback.
        "SGLANG_HOST_IP": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        # Its /health would else generate a token, for which memory that is released must not be touched.
        "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",
        # 3,000 typical shapes of DeepGEMM's kernels instead of 16,000: minutes of a first start, not half an hour.
        "SGLANG_JIT_DEEPGEMM_FAST_WARMUP": "1",
        # The weights are here, with all that belongs to them: the Hub is not asked at every start.
        "HF_HUB_OFFLINE": "1",
    }
    CUDA_BASE: ClassVar[str] = "nvidia/cuda:13.0.1-devel-ubuntu22.04"
    """PyPI's torch 2.11 is built for CUDA 13.0; `devel`, because DeepGEMM and FlashInfer call nvcc while they run."""
    NEEDS_GPU: ClassVar[bool] = True
    COMPILES_CUDA: ClassVar[bool] = True
    COLD_START_S: ClassVar[float] = 113.0

    kind: Literal["sglang"] = "sglang"
    options: SglangOptions = SglangOptions()

    @property
    def context(self) -> int | None:
        """As `context_length` has it."""
        return self.options.context_length

    @property
    def gpus(self) -> int:
        """As `tp` has it."""
        return self.options.tp

    @property
    def gpu_share(self) -> float:
        """As `mem_fraction_static` has it; without one the server leaves itself room."""
        return self.options.mem_fraction_static or super().gpu_share

    @property
    def fp8(self) -> bool:
        """Whether `quantization` says so; weights that are FP8 already say it in their own files."""
        return "fp8" in (self.options.quantization or "")

    @property
    def gives_gpu_memory_back(self) -> bool:
        """Only its memory saver can."""
        return self.options.enable_memory_saver

    @property
    def keeps_released_weights(self) -> bool:
        """Only its backup does; without the memory saver none are released."""
        return self.options.enable_weights_cpu_backup or not self.options.enable_memory_saver
