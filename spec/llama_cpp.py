"""Options of the engine `llama_cpp`: llama.cpp inside the container's own Python process."""

from typing import ClassVar, Literal

from pydantic import Field

from spec.llama import LlamaOptions, LlamaSpec
from spec.requirements import HTTP_API


class LlamaCppOptions(LlamaOptions):
    """Arguments of `llama_cpp.Llama`, with the defaults that a snapshot needs where llama.cpp's own differ."""

    n_ctx: int = Field(default=4096, ge=8, description="Tokens of context shared by prompt and answer.")
    n_batch: int = Field(default=512, ge=1, description="Tokens evaluated in one call while a prompt is read.")
    flash_attn: bool | None = Field(default=None, description="Flash attention; none: where there is a GPU.")
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="Starts the random state of every container alike; none: each container has its own.",
    )


class LlamaCppEngine(LlamaSpec):
    """llama-cpp-python in-process, served as an OpenAI-compatible API."""

    RUNS_AS: ClassVar[str] = "engines.llama_cpp.LlamaCpp"
    REQUIREMENTS: ClassVar[tuple[str, ...]] = ("llama-cpp-python==0.3.36", "numpy==2.4.6", "jinja2==3.1.6", *HTTP_API)
    CUDA_INDEX: ClassVar[str | None] = "https://abetlen.github.io/llama-cpp-python/whl/cu124"
    """llama-cpp-python's own wheels, built for the CUDA of CUDA_BASE: PyPI has its source alone."""
    COLD_START_S: ClassVar[float] = 140.0

    kind: Literal["llama_cpp"] = "llama_cpp"
    options: LlamaCppOptions = LlamaCppOptions()

    @property
    def context(self) -> int:
        """As `n_ctx` has it."""
        return self.options.n_ctx

    @property
    def largest_batch(self) -> int:
        """A longer prompt is read in batches of this size."""
        return min(self.options.n_batch, self.options.n_ctx)
