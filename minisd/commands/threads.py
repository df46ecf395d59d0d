"""How many threads a painting is worth."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..pipeline import StableDiffusion

# U-Net parameters times pictures times their area in the model's own. Up to here one thread is as fast as two
# on an idle machine and much faster on a busy one, where each of a layer's parts waits for the slowest.
LITTLE = 16_000_000


@contextmanager
def threads_for(pipe: "StableDiffusion", shape: tuple[int, int, int, int]) -> Iterator[None]:
    """Paint latents of a shape, (batch, 4, height / 8, width / 8), in one thread where that is little work.

    A number that the user has chosen stays. benchmarks/busy.py shows what it brings.
    """
    import torch

    pictures, _, height, width = shape
    parameters = sum(parameter.numel() for parameter in pipe.unet.parameters())
    work = parameters * pictures * height * width / pipe.unet.config.sample_size**2
    before = torch.get_num_threads()
    if work <= LITTLE and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
