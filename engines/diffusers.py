"""The engine `diffusers`: FLUX.2 [klein] in this process, through the library diffusers."""

from __future__ import annotations

import ctypes
import gc
import math
from contextlib import nullcontext, suppress
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers import Flux2KleinPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from engines.cores import usable_cores
from engines.engine import WeightsError
from engines.errors import ApiError
from engines.flux2_preview import Preview
from engines.http import api_key
from engines.image_model import Drawing, Painting, Step
from engines.images_api import ImagesApi
from engines.turns import Turns
from spec.diffusers import MULTIPLE, DiffusersEngine
from spec.gpu import asks_for_gpu

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from threading import Event

    from PIL.Image import Image
    from starlette.types import ASGIApp
    from torch import Tensor

    from spec.deployment import Definition

PROMPT_TOKENS = 512
"""The longest prompt that the pipeline reads; it would cut off the rest in silence."""

FIRST_PROMPT = "A lighthouse at dusk"


class _HungUpError(Exception):
    """Nobody waits for this image any more."""


class Diffusers:
    """One pipeline, all of whose work is done in one thread."""

    packages: ClassVar[tuple[str, ...]] = ("diffusers", "torch", "transformers")

    def __init__(self, definition: Definition, weights: Path) -> None:
        assert isinstance(definition.engine, DiffusersEngine)
        options = definition.engine.options
        self._definition = definition
        self._weights = weights
        self._turns = Turns()
        self._device = "cuda" if asks_for_gpu(definition.gpu) else "cpu"
        self._compiles = self._on_gpu if options.compile is None else options.compile
        self._guidance_scale = options.guidance_scale
        self.name = definition.service
        self.sizes = options.sizes
        self.steps = options.steps

    @property
    def _on_gpu(self) -> bool:
        return self._device == "cuda"

    def load(self) -> None:
        """Read the weights, each straight to where it is used."""
        self._pipeline = self._turns.run(self._open)
        self._pipeline.set_progress_bar_config(disable=True)
        if self._compiles:
            # Every number of pixels its own kernels: those for any shape at once are slower.
            self._pipeline.transformer.compile_repeated_blocks(fullgraph=True, dynamic=False)

    def _open(self) -> Flux2KleinPipeline:
        index = self._weights / "model_index.json"
        if not index.is_file():
            raise WeightsError(
                f"{index}: there is no such file; {self._weights.name} must be a pipeline's whole folder"
            )
        torch.set_num_threads(usable_cores())
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        try:
            return Flux2KleinPipeline.from_pretrained(
                self._weights, dtype=torch.bfloat16, device_map=self._device, local_files_only=True
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise WeightsError(f"{self._weights}: {error}") from error

    def warm_up(self) -> None:
        """Paint an image of every size that is served: each has its own kernels."""
        for size in self.sizes:
            self._turns.run(partial(self._run, Drawing(FIRST_PROMPT, size, seed=0)))

    def release(self) -> None:
        """Give back what the libraries keep for later; the weights stay."""
        self._turns.run(self._give_back)

    def _give_back(self) -> None:
        gc.collect()
        if self._compiles:
            # Imported here: where nothing is compiled, the compiler is not even loaded.
            from torch._inductor.async_compile import shutdown_compile_workers  # noqa: PLC0415

            shutdown_compile_workers()
        if self._on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch._C._host_emptyCache()  # noqa: SLF001 - page-locked memory: older versions offer no other way
        ctypes.CDLL(None).malloc_trim(0)

    def resume(self) -> None:
        """Seed torch anew: two copies of one snapshot must not draw the same."""
        self._turns.run(torch.seed)

    def serve(self) -> ASGIApp:
        """OpenAI's images API."""
        created = (self._weights / "model_index.json").stat().st_mtime
        return ImagesApi(self, self._turns, created).app(api_key(self._definition))

    def stop(self) -> None:
        """Free the model, and end its thread."""
        if hasattr(self, "_pipeline"):
            del self._pipeline
            self._turns.run(self._give_back)
        self._turns.close()

    async def first_answer(self) -> str:
        """An image by the way that every request goes, always the same one: its size and a hash of its pixels."""
        drawing = Drawing(FIRST_PROMPT, self.sizes[0], seed=0)
        items = self._turns.pushed(partial(self.paint, drawing))
        (painting,) = [item async for item in items if isinstance(item, Painting)]
        return f"{drawing.size}, pixels {sha256(painting.image.tobytes()).hexdigest()[:16]}"

    def paint(self, drawing: Drawing, put: Callable[[Step | Painting], None], hung_up: Event) -> None:
        """Put every step and then the painting; in the model's thread."""
        tokens = self._prompt_tokens(drawing.prompt)
        preview = Preview(self._pipeline, drawing.sides)

        def after_step(_: Any, index: int, __: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            self._finish_step()
            if hung_up.is_set():
                raise _HungUpError
            shown = index + 1 in drawing.previews
            put(Step(index + 1, preview.image(tensors["latents"], index) if shown else None))
            return tensors

        with suppress(_HungUpError), preview.watching() if drawing.previews else nullcontext():
            image = self._run(drawing, callback_on_step_end=after_step)
            put(Painting(image, drawing.seed, tokens, image_tokens=math.prod(drawing.sides) // MULTIPLE**2))

    def _finish_step(self) -> None:
        """Kernels are queued long before they run: without waiting, a step that is told of is still to come."""
        if self._on_gpu:
            torch.cuda.synchronize()

    def _prompt_tokens(self, prompt: str) -> int:
        """Tokens of a prompt, as the pipeline reads it."""
        messages = [{"role": "user", "content": prompt}]
        tokenizer = self._pipeline.tokenizer
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        tokens = len(tokenizer(text)["input_ids"])
        if tokens > PROMPT_TOKENS:
            message = f"This model reads prompts of {PROMPT_TOKENS} tokens. Yours has {tokens}. Please shorten it."
            raise ApiError(400, message, param="prompt", code="context_length_exceeded")
        return tokens

    def _run(self, drawing: Drawing, **rest: Any) -> Image:
        width, height = drawing.sides
        image: Image = self._pipeline(
            prompt=drawing.prompt,
            width=width,
            height=height,
            num_inference_steps=self.steps,
            guidance_scale=self._guidance_scale,
            # Drawn on the CPU, where the same seed means the same noise whatever the GPU is.
            generator=torch.Generator().manual_seed(drawing.seed),
            **rest,
        ).images[0]
        return image
