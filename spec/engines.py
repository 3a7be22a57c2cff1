"""Every engine there is; docs/adding-an-engine.md says how one is added."""

from typing import Annotated

from pydantic import Field

from spec.diffusers import DiffusersEngine
from spec.llama_cpp import LlamaCppEngine
from spec.llama_server import LlamaServerEngine
from spec.sglang import SglangEngine

Engine = Annotated[
    LlamaCppEngine | LlamaServerEngine | DiffusersEngine | SglangEngine,
    Field(discriminator="kind", description="What serves the model: {kind: llama_cpp}."),
]
