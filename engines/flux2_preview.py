"""What a FLUX.2 pipeline is going to show, seen while it works."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from spec.diffusers import MULTIPLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffusers import Flux2KleinPipeline
    from PIL.Image import Image
    from torch import Tensor


class Preview:
    """Where an image is heading: its latents without the noise that is still to be taken off, decoded."""

    def __init__(self, pipeline: Flux2KleinPipeline, sides: tuple[int, int]) -> None:
        self._pipeline = pipeline
        self._columns, self._rows = sides[0] // MULTIPLE, sides[1] // MULTIPLE
        self._velocity: Tensor

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notes what the transformer says while the pipeline is at work."""
        with self._pipeline.transformer.register_forward_hook(self._note):
            yield

    def _note(self, _: torch.nn.Module, __: Any, output: tuple[Tensor, ...]) -> None:
        self._velocity = output[0]

    def image(self, latents: Tensor, step: int) -> Image:
        """The image as it looks from behind the step with this index.

        The transformer's answer points from the image to the noise, of which a share of sigma is left.
        """
        sigma = self._pipeline.scheduler.sigmas[step + 1].item()
        clean = latents - sigma * self._velocity
        return self._decoded(clean.permute(0, 2, 1).reshape(1, -1, self._rows, self._columns))

    def _decoded(self, grid: Tensor) -> Image:
        """As the pipeline does with its last latents."""
        vae = self._pipeline.vae
        mean = vae.bn.running_mean.view(1, -1, 1, 1).to(grid)
        deviation = torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).to(grid)
        latents = self._pipeline._unpatchify_latents(grid * deviation + mean)  # noqa: SLF001 - nobody else offers it
        pixels = vae.decode(latents, return_dict=False)[0]
        image: Image = self._pipeline.image_processor.postprocess(pixels, output_type="pil")[0]
        return image
