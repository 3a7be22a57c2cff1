"""Options of the engine `diffusers`: an image pipeline of the library diffusers, in-process."""

from typing import ClassVar, Literal

from spec.engine import EngineSpec
from spec.frozen import Frozen
from spec.requirements import HTTP_API


class DiffusersOptions(Frozen):
    """What can be set."""


class DiffusersEngine(EngineSpec):
    """See above."""

    RUNS_AS: ClassVar[str] = "engines.diffusers.Diffusers"
    REQUIREMENTS: ClassVar[tuple[str, ...]] = HTTP_API

    kind: Literal["diffusers"] = "diffusers"
    options: DiffusersOptions = DiffusersOptions()
