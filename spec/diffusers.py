"""Options of the engine `diffusers`: FLUX.2 [klein] by the library diffusers, inside the container's own process."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from spec.engine import EngineSpec
from spec.frozen import Frozen
from spec.requirements import HTTP_API

MULTIPLE = 16
"""Pixels that one token of the model stands for, in each direction."""


def _size(text: str) -> str:
    width, _, height = text.partition("x")
    sides = [int(side) if side.isdecimal() else 0 for side in (width, height)]
    if not all(side and side % MULTIPLE == 0 for side in sides):
        message = f'"{text}" is no size: width and height in multiples of {MULTIPLE}, such as "1024x1024".'
        raise ValueError(message)
    return f"{sides[0]}x{sides[1]}"


Size = Annotated[str, AfterValidator(_size)]


class DiffusersOptions(Frozen):
    """What is served, with the defaults of the distilled model."""

    # At most 8: of each block torch keeps no more variants, and each number of pixels is one.
    sizes: tuple[Size, ...] = Field(
        default=("1024x1024",),
        min_length=1,
        max_length=8,
        description="Resolutions that are served, the default first; each is warmed up.",
    )
    steps: int = Field(default=4, ge=1, le=100, description="Steps of an image.")
    guidance_scale: float = Field(default=1.0, ge=1, description="Above 1: for models that are not distilled.")
    compile: bool | None = Field(
        default=None, description="Compile the transformer's blocks; none: where there is a GPU."
    )


class DiffusersEngine(EngineSpec):
    """diffusers in-process, served as OpenAI's images API."""

    RUNS_AS: ClassVar[str] = "engines.diffusers.Diffusers"
    REQUIREMENTS: ClassVar[tuple[str, ...]] = (
        "torch==2.15.0",
        "diffusers==0.42.1",
        "transformers==5.23.0",
        "accelerate==1.15.0",
        "safetensors==0.8.0",
        "tokenizers==0.23.3",
        "numpy==2.4.6",
        "pillow==13.0.0",
        *HTTP_API,
    )
    CUDA_BASE: ClassVar[str] = "debian-slim"
    """torch's wheels bring CUDA with them: the 2 GB of an image that has it would be a second copy."""
    APT: ClassVar[tuple[str, ...]] = ("g++",)
    """Triton builds its launcher with it, TorchInductor what is left to the CPU."""
    ENVIRONMENT: ClassVar[dict[str, str]] = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "GOMP_SPINCOUNT": "1000"}
    """Compile workers would be processes of their own, whose memory and GPU handles no snapshot can hold. torch's
    threads on a CPU are OpenMP's: see `spec.llama_cpp`."""

    COLD_START_S: ClassVar[float] = 48.0

    kind: Literal["diffusers"] = "diffusers"
    options: DiffusersOptions = DiffusersOptions()

    def maps_weights(self, *, on_gpu: bool) -> bool:
        """On a CPU safetensors maps its files, on a GPU it copies them."""
        return not on_gpu
