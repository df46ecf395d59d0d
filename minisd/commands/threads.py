"""How many threads a painting is worth."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..pipeline import StableDiffusion

# U-Net parameters times pictures times their area in the model's own. Up to here one thread is as fast as two
# on an idle machine and much faster on a busy one, where each of a layer's parts waits for the slowest.
LITTLE = 16_000_000


def limit_threads(pipe: "StableDiffusion", shape: tuple[int, int, int, int]) -> None:
    """Let latents of a shape, (batch, 4, height / 8, width / 8), be painted in one thread if they are few.

    A number that the user has chosen stays. benchmarks/busy.py shows what it brings. As sums are then taken
    in another order, pixels may differ in their last bit.
    """
    import torch

    pictures, _, height, width = shape
    parameters = sum(parameter.numel() for parameter in pipe.unet.parameters())
    work = parameters * pictures * height * width / pipe.unet.config.sample_size**2
    if work <= LITTLE and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
