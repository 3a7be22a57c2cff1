"""Options of the engine `sglang`: the server of SGLang as a tree of child processes."""

from typing import ClassVar, Literal

from spec.engine import EngineSpec
from spec.frozen import Frozen
from spec.requirements import HTTP_API


class SglangOptions(Frozen):
    """What can be set."""


class SglangEngine(EngineSpec):
    """See above."""

    RUNS_AS: ClassVar[str] = "engines.sglang.Sglang"
    REQUIREMENTS: ClassVar[tuple[str, ...]] = HTTP_API

    kind: Literal["sglang"] = "sglang"
    options: SglangOptions = SglangOptions()
