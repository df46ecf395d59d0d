"""What is trained on: scenes of the little world, and their pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from ..files import new_array, whole
from ..scenes import Scene, render_many, sample

CHUNK = 1000  # pictures that are rendered between two moves of the progress bar


def training_scenes(number: int, seed: int) -> list[Scene]:
    """Complete scenes of the training split; scene i depends on (seed, i) alone."""
    return [sample(np.random.default_rng((seed, i)), "train", full=True) for i in range(number)]


def render_pictures(scenes: Sequence[Scene], seed: int, size: int, path: Path) -> None:
    """Write the scenes' pictures to `path`, a .npy file of uint8 (number, size, size, 3)."""
    with whole(path) as part:
        pictures = new_array(part, (len(scenes), size, size, 3), np.uint8)
        for i in tqdm(range(0, len(scenes), CHUNK), desc="rendering", unit="k pictures"):
            chunk = scenes[i : i + CHUNK]
            pictures[i : i + CHUNK] = render_many(chunk, range(seed + i, seed + i + len(chunk)), size)
        pictures.flush()


def map_pictures(path: Path, number: int, size: int) -> np.ndarray:
    """The pictures of a file that `render_pictures` wrote, mapped: nothing is read before it is used.

    Raises ValueError, in one line, if the file is cut or holds something else.
    """
    try:
        pictures = np.load(path, mmap_mode="r")
    except (ValueError, EOFError):  # what numpy says of a file that is cut, or none of its own
        pictures = np.empty(0)
    if pictures.shape != (number, size, size, 3) or pictures.dtype != np.uint8:
        raise ValueError(f"{path} is damaged; delete it to render the pictures again")
    return pictures


def to_tensor(pictures: np.ndarray) -> Tensor:
    """uint8 (batch, height, width, 3) -> float (batch, 3, height, width) in [-1, 1]."""
    return torch.from_numpy(np.array(pictures, order="C")).permute(0, 3, 1, 2).float() / 127.5 - 1


def shrunk(pictures: Tensor, side: int) -> Tensor:
    """Pictures (batch, 3, height, width) averaged down to `side` pixels, as CLIP sees them."""
    return F.interpolate(pictures, size=(side, side), mode="area")
