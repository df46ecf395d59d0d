"""What is trained on: scenes of the little world, their pictures, their captions."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..files import whole
from ..scenes import Scene, render_many, sample

CHUNK = 1000  # pictures that are rendered between two moves of the progress bar


def training_scenes(number: int, seed: int) -> list[Scene]:
    """Complete scenes of the training split; scene i depends on (seed, i) alone."""
    return [sample(np.random.default_rng((seed, i)), "train", full=True) for i in range(number)]


def training_pictures(scenes: list[Scene], seed: int, path: Path) -> np.ndarray:
    """The scenes' pictures, uint8 (number, 128, 128, 3), rendered once and then mapped from `path`."""
    if not path.exists():
        with whole(path) as part:
            shape = (len(scenes), 128, 128, 3)
            pictures = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            for i in tqdm(range(0, len(scenes), CHUNK), desc="rendering", unit="k pictures"):
                some = scenes[i : i + CHUNK]
                pictures[i : i + CHUNK] = render_many(some, range(seed + i, seed + i + len(some)))
            pictures.flush()
    pictures = np.load(path, mmap_mode="r")
    if len(pictures) != len(scenes):
        raise ValueError(
            f"{path} holds {len(pictures)} pictures, and {len(scenes)} are asked for; "
            "give the old number or another --out folder"
        )
    return pictures


def to_tensor(pictures: np.ndarray) -> Tensor:
    """uint8 (batch, height, width, 3) -> float (batch, 3, height, width) in [-1, 1]."""
    return torch.from_numpy(np.array(pictures, order="C")).permute(0, 3, 1, 2).float() / 127.5 - 1
