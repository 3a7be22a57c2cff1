"""What every engine says of itself, beside its options: one class of this kind an engine, listed in `spec.engines`."""

from typing import ClassVar

from spec.frozen import Frozen


class EngineSpec(Frozen):
    """An engine as a stack file chooses it. A subclass has the fields `kind`, its name there, and `options`."""

    RUNS_AS: ClassVar[str]
    """The class that runs in the container, by its dotted path: imported there alone, where its libraries are."""
    REQUIREMENTS: ClassVar[tuple[str, ...]]
    """Python packages of the engine's image, pinned."""
    APT: ClassVar[tuple[str, ...]] = ()
    """Debian packages of the engine's image."""
    ENVIRONMENT: ClassVar[dict[str, str]] = {}
    """Variables of the engine's containers."""
    CUDA_BASE: ClassVar[str] = "nvidia/cuda:12.4.1-runtime-ubuntu22.04"
    """The image of a service on a GPU, where it names none."""
    CUDA_INDEX: ClassVar[str | None] = None
    """An index of wheels that are built for that CUDA."""

    # What follows is what rules look at before a deploy (docs/rules.md). The defaults break none of them.
    NEEDS_GPU: ClassVar[bool] = False
    """Whether it cannot run on a CPU."""
    CUDA_FROM_IMAGE: ClassVar[bool] = False
    """Whether its libraries look for the CUDA runtime and cuBLAS in the image; torch's wheels bring their own."""
    COMPILES_CUDA: ClassVar[bool] = False
    """Whether its containers call nvcc, which only a `devel` image has."""
    COLD_START_S: ClassVar[float] = 15.0
    """About how long a start without a snapshot takes with a model of full size."""

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together; none where an engine reads no prompts, or has no limit of its own."""
        return None

    @property
    def cache_tokens(self) -> int | None:
        """Tokens that the KV cache holds, of all requests together."""
        return self.context

    @property
    def largest_batch(self) -> int | None:
        """Tokens of a prompt above which no new kernel is built; none where prompts build none."""
        return None

    @property
    def uses_gpu(self) -> bool:
        """Whether the weights go to the GPU where there is one."""
        return True

    @property
    def gpus(self) -> int:
        """How many GPUs share the model."""
        return 1

    @property
    def gpu_share(self) -> float:
        """The part of the GPU's memory that the engine takes for weights and KV cache together."""
        return 1.0

    @property
    def fp8(self) -> bool:
        """Whether the options ask for calculations in FP8."""
        return False

    @property
    def gives_gpu_memory_back(self) -> bool:
        """Whether what a snapshot cannot hold is released before it."""
        return True

    @property
    def keeps_released_weights(self) -> bool:
        """Whether weights that were released come back as they were."""
        return True

    @property
    def guards_administration(self) -> bool:
        """Whether its administrative calls ask for a key, or cannot be reached from outside."""
        return True

    def maps_weights(self, *, on_gpu: bool) -> bool:
        """Whether the weights' file stays mapped into the process."""
        del on_gpu
        return False
