"""Options of the engine `llama_server`: llama.cpp's own server as a child process."""

from typing import ClassVar, Literal

from spec.engine import EngineSpec
from spec.frozen import Frozen
from spec.requirements import HTTP_API


class LlamaServerOptions(Frozen):
    """What can be set."""


class LlamaServerEngine(EngineSpec):
    """See above."""

    RUNS_AS: ClassVar[str] = "engines.llama_server.LlamaServer"
    REQUIREMENTS: ClassVar[tuple[str, ...]] = HTTP_API

    kind: Literal["llama_server"] = "llama_server"
    options: LlamaServerOptions = LlamaServerOptions()
