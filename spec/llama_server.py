"""Options of the engine `llama_server`: llama.cpp's own server as a child process."""

from typing import ClassVar, Literal

from pydantic import Field

from spec.llama import LlamaOptions, LlamaSpec
from spec.requirements import HTTP_API, PROXY


class LlamaServerOptions(LlamaOptions):
    """Flags of `llama-server`, with the defaults that a snapshot needs where its own differ."""

    server: str | None = Field(
        default=None,
        description="Path of the program in the image; none: llama-server on the PATH, or in /app.",
    )
    model: str | None = Field(
        default=None, description="Which of several weights' files is the model; none: the only one that is a .gguf."
    )
    mmproj: str | None = Field(
        default=None,
        description="Which of the weights' files reads images; none: the only one called mmproj, if there is one.",
    )
    n_ctx: int = Field(default=4096, ge=8, description="Tokens of context, prompt and answer together, of a request.")
    slots: int = Field(default=1, ge=1, description="Requests that are answered at once; the others wait their turn.")
    n_batch: int = Field(default=2048, ge=1, description="Tokens evaluated in one call while a prompt is read.")
    n_ubatch: int = Field(default=512, ge=1, description="Of those, the ones evaluated in one step.")
    flash_attn: Literal["auto", "on", "off"] = "auto"
    cache_ram: int = Field(
        default=0, ge=0, description="MiB of memory that keep what was read of earlier prompts; 0: the slots alone do."
    )
    arguments: tuple[str, ...] = Field(
        default=(), description="Further arguments of the program, each a word: [--reasoning-budget, '0']."
    )


class LlamaServerEngine(LlamaSpec):
    """llama.cpp's server behind a proxy: it batches requests, and reads images where the model does."""

    RUNS_AS: ClassVar[str] = "engines.llama_server.LlamaServer"
    REQUIREMENTS: ClassVar[tuple[str, ...]] = (*HTTP_API, *PROXY)
    """The server itself comes with the image: CUDA_BASE has it, elsewhere image.files puts a build there."""
    CUDA_BASE: ClassVar[str] = "ghcr.io/ggml-org/llama.cpp:server-cuda12-b9603"
    """llama.cpp's own image: CUDA's runtime, and the server built for every GPU in it."""
    COLD_START_S: ClassVar[float] = 90.0

    kind: Literal["llama_server"] = "llama_server"
    options: LlamaServerOptions = LlamaServerOptions()

    @property
    def context(self) -> int:
        """As `n_ctx` has it."""
        return self.options.n_ctx

    @property
    def cache_tokens(self) -> int:
        """Each slot has a context of its own."""
        return self.options.n_ctx * self.options.slots

    @property
    def largest_batch(self) -> int:
        """As `n_ubatch` has it."""
        return self.options.n_ubatch
