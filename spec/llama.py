"""What both engines of llama.cpp have: in the container's own process, and as its own server."""

from typing import ClassVar

from pydantic import Field

from spec.engine import EngineSpec
from spec.frozen import Frozen


class LlamaOptions(Frozen):
    """Options that mean the same in both."""

    n_threads: int | None = Field(
        default=None, ge=1, description="Threads that generate; none: every core the container has."
    )
    n_gpu_layers: int | None = Field(
        default=None, ge=-1, description="Layers on the GPU; -1: all of them; none: all where there is a GPU."
    )
    use_mmap: bool | None = Field(
        default=None, description="Map the weights' file; none: on a CPU yes (the file is in the image), on a GPU no."
    )
    chat_template: str | None = Field(
        default=None, description="Chat template in Jinja; none: the one in the weights' file."
    )

    def gpu_layers(self, *, on_gpu: bool) -> int:
        """Layers that go to the GPU; -1: all of them."""
        if self.n_gpu_layers is None:
            return -1 if on_gpu else 0
        return self.n_gpu_layers


class LlamaSpec(EngineSpec):
    """One of the two."""

    APT: ClassVar[tuple[str, ...]] = ("libgomp1",)
    """llama.cpp's threads are OpenMP's."""
    ENVIRONMENT: ClassVar[dict[str, str]] = {"GOMP_SPINCOUNT": "1000"}
    """Threads that wait for each other spin shortly and then sleep: OpenMP's own default of some
    milliseconds is no faster on idle cores, and up to ten times slower where something else wants one of them."""
    CUDA_FROM_IMAGE: ClassVar[bool] = True

    kind: str
    options: LlamaOptions

    @property
    def uses_gpu(self) -> bool:
        """Not where the options keep all layers off it."""
        return self.options.n_gpu_layers != 0

    def maps_weights(self, *, on_gpu: bool) -> bool:
        """As `use_mmap` has it; a machine's containers share mapped pages, and a GPU has no use for them."""
        wanted = self.options.use_mmap
        return self.options.gpu_layers(on_gpu=on_gpu) == 0 if wanted is None else wanted
