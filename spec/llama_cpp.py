"""Options of the engine `llama_cpp`: llama.cpp inside the container's own Python process."""

from typing import ClassVar, Literal

from pydantic import Field

from spec.engine import EngineSpec
from spec.frozen import Frozen
from spec.requirements import HTTP_API


class LlamaCppOptions(Frozen):
    """Arguments of `llama_cpp.Llama`, with the defaults that a snapshot needs where llama.cpp's own differ."""

    n_ctx: int = Field(default=4096, ge=8, description="Tokens of context shared by prompt and answer.")
    n_batch: int = Field(default=512, ge=1, description="Tokens evaluated in one call while a prompt is read.")
    n_threads: int | None = Field(
        default=None, ge=1, description="Threads that generate; none: every core the container has."
    )
    n_gpu_layers: int | None = Field(
        default=None, ge=-1, description="Layers on the GPU; -1: all of them; none: all where there is a GPU."
    )
    flash_attn: bool | None = Field(default=None, description="Flash attention; none: where there is a GPU.")
    use_mmap: bool | None = Field(
        default=None, description="Map the weights' file; none: on a CPU yes (the file is in the image), on a GPU no."
    )
    chat_template: str | None = Field(
        default=None, description="Chat template in Jinja; none: the one in the weights' file."
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="Starts the random state of every container alike; none: each container has its own.",
    )

    def gpu_layers(self, *, on_gpu: bool) -> int:
        """Layers that go to the GPU; -1: all of them."""
        if self.n_gpu_layers is None:
            return -1 if on_gpu else 0
        return self.n_gpu_layers


class LlamaCppEngine(EngineSpec):
    """llama-cpp-python in-process, served as an OpenAI-compatible API."""

    RUNS_AS: ClassVar[str] = "engines.llama_cpp.LlamaCpp"
    REQUIREMENTS: ClassVar[tuple[str, ...]] = ("llama-cpp-python==0.3.36", "numpy==2.4.6", "jinja2==3.1.6", *HTTP_API)
    APT: ClassVar[tuple[str, ...]] = ("libgomp1",)
    """llama.cpp's threads are OpenMP's."""
    ENVIRONMENT: ClassVar[dict[str, str]] = {"GOMP_SPINCOUNT": "1000"}
    """Threads that wait for each other spin shortly and then sleep: OpenMP's own default of some
    milliseconds is no faster on idle cores, and up to ten times slower where something else wants one of them."""

    CUDA_INDEX: ClassVar[str | None] = "https://abetlen.github.io/llama-cpp-python/whl/cu124"
    """llama-cpp-python's own wheels, built for the CUDA of CUDA_BASE: PyPI has its source alone."""
    CUDA_FROM_IMAGE: ClassVar[bool] = True
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

    @property
    def uses_gpu(self) -> bool:
        """Without a layer there it calculates on the CPU."""
        return self.options.n_gpu_layers != 0

    def maps_weights(self, *, on_gpu: bool) -> bool:
        """As `use_mmap` has it."""
        wanted = self.options.use_mmap
        return self.options.gpu_layers(on_gpu=on_gpu) == 0 if wanted is None else wanted
