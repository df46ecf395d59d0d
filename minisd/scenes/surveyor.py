"""A small network that looks at a picture and says, pixel by pixel, which part of the scene it sees.

With it one can ask whether a painting keeps to a map: where is the house, and how much of it lies where it
was asked for? Like the judge it learns from renders alone, is never used to train or to condition a model
that paints, and what it makes of true renders is told beside what it makes of paintings.
Train it again with `python -m minisd.scenes.surveyor --out surveyor.safetensors`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import trange

from .judge import SHIFT, as_pictures, softened
from .plans import overlap
from .render import FRAME, PARTS, render_with_parts
from .splits import sample
from .world import Scene

SHIPPED = Path(__file__).with_name("surveyor.safetensors")
POOL = 3000  # renders to learn from
LANDSCAPE = 3  # the first of PARTS are sky, hills and ground; the others are things


def layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution, a norm, and what bends it."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    return nn.Sequential(conv, nn.GroupNorm(8, outputs), nn.SiLU())


class Surveyor(nn.Module):
    """A U-Net in small: three halvings down, two doublings up with skips, and a last one by rearranging."""

    def __init__(self) -> None:
        super().__init__()
        self.halved, self.quartered = layer(3, 16, 2), layer(16, 32, 2)
        self.lowest = nn.Sequential(layer(32, 64, 2), layer(64, 64), layer(64, 64))
        self.to_quarter, self.to_half = layer(64 + 32, 32), layer(32 + 16, 24)
        self.answer = nn.Conv2d(24, 4 * len(PARTS), 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (batch, 3, 128, 128) in [-1, 1] to logits (batch, parts, 128, 128)."""
        half = self.halved(pictures)
        quarter = self.quartered(half)
        h = F.interpolate(self.lowest(quarter), scale_factor=2)
        h = F.interpolate(self.to_quarter(torch.cat([h, quarter], dim=1)), scale_factor=2)
        return F.pixel_shuffle(self.answer(self.to_half(torch.cat([h, half], dim=1))), 2)

    @classmethod
    def load(cls, path: Path | str = SHIPPED) -> Surveyor:
        """The surveyor that ships with the package, or one that `train_surveyor` made."""
        surveyor = cls()
        surveyor.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
        return surveyor.eval().requires_grad_(False)

    def save(self, path: Path | str) -> None:
        """Write the weights as float16 safetensors."""
        weights = {name: weight.detach().half().contiguous() for name, weight in self.state_dict().items()}
        save_file(weights, path)

    @torch.no_grad()
    def read(self, images: np.ndarray | Tensor | Sequence[Image.Image], batch_size: int = 32) -> np.ndarray:
        """Numbers of PARTS, uint8 (number, 128, 128); `images` in any form that `Judge.read` takes."""
        found = [self(batch).argmax(dim=1).byte() for batch in as_pictures(images).split(batch_size)]
        return torch.cat(found).numpy()


def middle(mask: np.ndarray) -> tuple[float, float] | None:
    """The mean row and column of a mask; None for one that is empty."""
    rows, columns = np.nonzero(mask)
    return (float(rows.mean()), float(columns.mean())) if len(rows) else None


def astray(asked: np.ndarray, painted: np.ndarray) -> float:
    """By how many pixels the middle of one mask lies beside that of the other; infinite if one is empty."""
    a, b = middle(asked), middle(painted)
    return float("inf") if a is None or b is None else float(np.hypot(a[0] - b[0], a[1] - b[1]))


def things_in(parts: np.ndarray) -> list[int]:
    """The numbers of the things that a map holds."""
    return [int(number) for number in np.unique(parts) if number >= LANDSCAPE]


def examples(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Renders of complete scenes, a quarter of them held-out ones, and their parts: uint8."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(number):
        scene: Scene = sample(rng, "held_out" if rng.random() < 0.25 else "train", full=True)
        drawn.append(render_with_parts(scene, int(rng.integers(2**31))))
    pictures, parts = zip(*drawn)
    return np.stack(pictures), np.stack(parts)


def shifted(pictures: Tensor, parts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Both moved by the same few pixels."""
    down, across = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
    both = torch.cat([pictures, parts[:, None].float()], dim=1)
    both = F.pad(both, (SHIFT,) * 4, mode="replicate")[..., down : down + FRAME, across : across + FRAME]
    return both[:, :3], both[:, 3].long()


def train_surveyor(
    steps: int = 600, seed: int = 0, pool: int = POOL, batch_size: int = 16, learning_rate: float = 4e-3
) -> Surveyor:
    """Train a surveyor on a pool of renders, spoilt as the judge's are; their parts move with them."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, parts = examples(pool, seed)
    surveyor = Surveyor()
    surveyor.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    optimizer = torch.optim.AdamW(surveyor.parameters(), learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    bar = trange(steps, desc="surveyor")
    for _ in bar:
        chosen = torch.randint(pool, (batch_size,), generator=generator).numpy()
        pictures, wanted = shifted(as_pictures(images[chosen]), torch.from_numpy(parts[chosen]), generator)
        pictures = softened(pictures, generator).contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(surveyor(pictures), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.4f}")
    return surveyor.eval().requires_grad_(False)


def accuracy(surveyor: Surveyor, n: int = 300, seed: int = 1) -> dict[str, float]:
    """On fresh renders: the share of the pixels read right, the mean overlap of the things, and the share of
    the things whose middle is found within one pixel.
    """
    images, parts = examples(n, seed)
    read = surveyor.read(images)
    pairs = [(true == kind, seen == kind) for true, seen in zip(parts, read) for kind in things_in(true)]
    return {
        "pixels": float((read == parts).mean()),
        "overlap": float(np.mean([overlap(true, seen) for true, seen in pairs])),
        "place": float(np.mean([astray(true, seen) <= 1 for true, seen in pairs])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the surveyor of the little world on renders.")
    parser.add_argument("--out", type=Path, required=True, help="where to write surveyor.safetensors")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train_surveyor(args.steps, args.seed).save(args.out)
    for name, share in accuracy(Surveyor.load(args.out)).items():
        print(f"{name:>8} {100 * share:6.2f} %")


if __name__ == "__main__":
    main()
