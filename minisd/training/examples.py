"""What each stage is shown: functions that draw the batch of one step from a random generator.

Each of them returns `batch(rng, n)`, which gives the tensors of n examples that its objective takes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config import VAEConfig
from ..scenes import HELD_OUT, Scene, caption, loosened, render, semantic_map
from ..tokenizer import BPE
from .data import shrunk, to_tensor
from .loop import Batch

Plans = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # of the pictures with these numbers


@dataclass(frozen=True)
class Latents:
    """Mean and deviation of every picture's latents, and their scale.

    mean, std: float16 (pictures, 4, height, width); the U-Net's latents are scale * (mean + std * noise).
    """

    mean: np.ndarray
    std: np.ndarray
    scale: float


def short_ids(tokenizer: BPE, said: Sequence[Scene], rng: np.random.Generator) -> Tensor:
    """Captions of scenes as ids, cut after the longest: what follows the last end token changes nothing."""
    ids = tokenizer([caption(scene, rng) for scene in said])
    return ids[:, : int(ids.argmax(dim=1).max()) + 1]


def pairs_to_match(
    scenes: Sequence[Scene], pictures: np.ndarray, tokenizer: BPE, side: int, twins: bool
) -> Batch:
    """Pictures and captions: ids (2n, tokens), images (n, 3, side, side), also_true (n, 2n).

    The first n captions belong to the pictures, the others each have one thing wrong; `also_true` marks
    those that happen to be true of another picture of the batch. twins: pictures come with their nearest
    relatives (`family`), else each by itself.
    """

    def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
        shown: list[tuple[Scene, np.ndarray]] = []
        while len(shown) < n:
            i = int(rng.integers(len(scenes)))
            shown += family(scenes[i], pictures[i], rng) if twins else [(scenes[i], pictures[i])]
        shown = shown[:n]
        said = [loosened(scene, rng) for scene, _ in shown]
        said += [scene.altered(rng) for scene in said]
        also_true = torch.tensor([[text.admits(scene) for text in said] for scene, _ in shown])
        also_true.fill_diagonal_(False)
        images = to_tensor(np.stack([picture for _, picture in shown]))
        return short_ids(tokenizer, said, rng), shrunk(images, side), also_true

    return batch


def family(scene: Scene, picture: np.ndarray, rng: np.random.Generator) -> list[tuple[Scene, np.ndarray]]:
    """A scene and its nearest relatives, with their pictures: the hard negatives of one batch.

    Two things come with their mirror image and with their colours swapped, so that the same words in
    another order belong to another picture of the batch; a bag of words can't tell the four apart.
    No colour-kind pair that is held out is ever drawn.
    """
    if len(scene.things) == 1:
        return [(scene, picture)]
    both = [(scene, picture)]
    swapped = scene.colours_swapped()
    if swapped != scene and not any((t.colour, t.kind) in HELD_OUT for t in swapped.things):
        both.append((swapped, render(swapped, int(rng.integers(2**31)), len(picture))))
    return [relative for s, p in both for relative in ((s, p), (s.flipped(), p[:, ::-1]))]


def crops_to_paint(pictures: np.ndarray, crop: int, vae: VAEConfig) -> Batch:
    """Squares cut from the pictures (n, 3, crop, crop), and the noise that their latents are drawn with."""
    side = crop // vae.downsampling

    def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
        top, left = rng.integers(0, pictures.shape[1] - crop + 1, (2, n))
        corners = [
            pictures[i, y : y + crop, x : x + crop]
            for i, y, x in zip(rng.integers(len(pictures), size=n), top, left, strict=True)
        ]
        noise = rng.standard_normal((n, vae.latent_channels, side, side), dtype=np.float32)
        return to_tensor(np.stack(corners)), torch.from_numpy(noise)

    return batch


def latents_to_paint(pictures: np.ndarray, latents: Latents) -> Batch:
    """Whole pictures (n, 3, size, size), and latents drawn for them (n, 4, height, width)."""

    def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
        chosen = rng.integers(len(pictures), size=n)
        noise = rng.standard_normal((n, *latents.mean.shape[1:]), dtype=np.float32)
        return to_tensor(pictures[chosen]), torch.from_numpy(
            latents.mean[chosen] + latents.std[chosen] * noise
        )

    return batch


def latents_to_denoise(
    scenes: Sequence[Scene],
    latents: Latents,
    tokenizer: BPE,
    caption_dropout: float,
    timesteps: int,
    plans: "np.ndarray | Plans | None" = None,
) -> Batch:
    """What the U-Net is trained on, as `UNetObjective` takes it; a share of the captions is left empty.

    plans: uint8 (pictures, height, width, 3), what a ControlNet is to read beside each picture's latents, for
    `ControlNetObjective`; or a function that draws them for the chosen pictures.
    """

    def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
        chosen = rng.integers(len(scenes), size=n)
        said = [caption(loosened(scenes[i], rng), rng) for i in chosen]
        dropped = rng.random(n) < caption_dropout
        ids = tokenizer(["" if drop else text for drop, text in zip(dropped, said, strict=True)])
        shape = (n, *latents.mean.shape[1:])
        latent_noise, noise = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
        t = torch.from_numpy(rng.integers(timesteps, size=n))
        mean, std = (torch.from_numpy(x[chosen]).float() for x in (latents.mean, latents.std))
        drawn = ids, mean, std, torch.from_numpy(latent_noise), torch.from_numpy(noise), t
        if plans is None:
            return drawn
        shown = plans(chosen, rng) if callable(plans) else plans[chosen]
        return *drawn, to_tensor(shown) / 2 + 0.5

    return batch


def maps_and_outlines(parts: np.ndarray, lines: np.ndarray, dropout: float) -> Plans:
    """Plans of two kinds: of every batch one half are maps, the other half outlines.

    parts: numbers of PARTS, uint8 (pictures, height, width); lines: bool of the same shape. A share of the
    plans is left black, so that black comes to mean that nothing is said.
    """

    def plans(chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        half = len(chosen) // 2
        drawn = np.repeat(255 * lines[chosen[half:], ..., None].astype(np.uint8), 3, axis=-1)
        shown = np.concatenate([semantic_map(parts[chosen[:half]]), drawn])
        shown[rng.random(len(chosen)) < dropout] = 0
        return shown

    return plans
