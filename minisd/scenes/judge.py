"""A small network that looks at a picture and says which scene it shows.

The judge scores pictures that the book's models paint. It learns from renders alone, is never used
to train or to condition those models, and its own accuracy on renders is told beside its scores.
Train it again with `python -m minisd.scenes.judge --out judge.safetensors`.
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

from .render import FRAME, render_many
from .splits import sample
from .world import COLOURS, GROUNDS, HOURS, KINDS, SIZES, Scene, Thing

SHIPPED = Path(__file__).with_name("judge.safetensors")
SLOT = {"kind": KINDS, "colour": COLOURS, "size": SIZES}
QUESTIONS: dict[str, tuple] = {  # what the judge answers, and the answers it chooses from
    "number": (1, 2),
    **{f"left {name}": answers for name, answers in SLOT.items()},  # one thing alone counts as left
    **{f"right {name}": answers for name, answers in SLOT.items()},
    "ground": GROUNDS,
    "hour": HOURS,
}
LAYERS = ((3, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 1), (64, 96, 2), (96, 96, 1))  # in, out, stride
SHIFT = 5  # pixels by which training pictures are moved at most
NOT_ASKED = -100  # the label that cross entropy leaves out


class Judge(nn.Module):
    """Convolutions down to 8 columns, the strongest feature of each column, and one answer layer."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in LAYERS:
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(96 * 8, 128)
        self.answers = nn.Linear(128, sum(map(len, QUESTIONS.values())))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Pictures (batch, 3, 128, 128) in [-1, 1] to logits (batch, answers) for each question."""
        features = self.features(pictures)  # (batch, 96, 8, 8)
        columns = features.amax(dim=2).flatten(1)
        logits = self.answers(F.silu(self.hidden(columns)))
        return dict(zip(QUESTIONS, logits.split([len(answers) for answers in QUESTIONS.values()], dim=1)))

    @classmethod
    def load(cls, path: Path | str = SHIPPED) -> Judge:
        """The judge that ships with the package, or one that `train_judge` made."""
        judge = cls()
        judge.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
        return judge.eval().requires_grad_(False)

    def save(self, path: Path | str) -> None:
        """Write the weights as float16 safetensors."""
        weights = {name: weight.detach().half().contiguous() for name, weight in self.state_dict().items()}
        save_file(weights, path)

    @torch.no_grad()
    def read(self, images: np.ndarray | Tensor | Sequence[Image.Image], batch_size: int = 128) -> list[Scene]:
        """The scene that each picture shows: everything stated, and ordered.

        `images` are uint8 (number, 128, 128, 3), float (number, 128, 128, 3) in [0, 1], a tensor
        (number, 3, 128, 128) in [-1, 1], or PIL images of 128 x 128.
        """
        device = self.answers.weight.device
        scenes: list[Scene] = []
        for pictures in as_pictures(images).split(batch_size):
            logits = {question: found.cpu() for question, found in self(pictures.to(device)).items()}
            scenes += [
                _scene({question: found[i] for question, found in logits.items()})
                for i in range(len(pictures))
            ]
        return scenes


def as_pictures(images: np.ndarray | Tensor | Sequence[Image.Image]) -> Tensor:
    """Pictures in any of the forms that `Judge.read` takes, as (number, 3, 128, 128) in [-1, 1]."""
    if isinstance(images, Tensor):
        pictures = images.float()
    else:
        if not isinstance(images, np.ndarray):
            images = np.stack([np.asarray(image.convert("RGB")) for image in images])
        if images.ndim != 4:
            raise ValueError(f"the judge reads (number, 128, 128, 3), not {images.shape}: add a batch axis")
        top = 255 if images.dtype == np.uint8 else 1
        pictures = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / top * 2 - 1
    if pictures.shape[1:] != (3, FRAME, FRAME):
        shape = tuple(pictures.shape[1:])
        raise ValueError(f"the judge reads pictures of 3 x {FRAME} x {FRAME}, not {shape}: resize them")
    return pictures


def _scene(logits: dict[str, Tensor]) -> Scene:
    """The likeliest scene, given one picture's logits; of two things the kinds must differ."""
    best = {question: QUESTIONS[question][int(found.argmax())] for question, found in logits.items()}
    if best["number"] == 2:
        pairs = logits["left kind"][:, None] + logits["right kind"][None, :]
        left, right = divmod(int(pairs.fill_diagonal_(-torch.inf).argmax()), len(KINDS))
        best |= {"left kind": KINDS[left], "right kind": KINDS[right]}
    sides = ("left", "right")[: best["number"]]
    things = tuple(Thing(**{name: best[f"{side} {name}"] for name in SLOT}) for side in sides)
    return Scene(things, best["ground"], best["hour"])


def labels(scene: Scene) -> list[int]:
    """The right answer to each question about a scene; `NOT_ASKED` where it is open or there is no such
    thing.
    """
    truth = {"number": len(scene.things), "ground": scene.ground, "hour": scene.hour}
    if scene.ordered:
        for side, thing in zip(("left", "right"), scene.things):
            truth |= {f"{side} {name}": getattr(thing, name) for name in SLOT}
    return [
        NOT_ASKED if truth.get(question) is None else answers.index(truth[question])
        for question, answers in QUESTIONS.items()
    ]


def examples(number: int, seed: int) -> tuple[np.ndarray, list[Scene]]:
    """Renders uint8 (number, 128, 128, 3) of complete scenes, a quarter of them held-out ones."""
    rng = np.random.default_rng(seed)
    scenes = [sample(rng, "held_out" if rng.random() < 0.25 else "train", full=True) for _ in range(number)]
    return render_many(scenes, rng.integers(2**31, size=number).tolist()), scenes


def spoil(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Make pictures a little shifted, soft, noisy, blotchy and brighter or darker, as painted ones are."""
    down, across = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
    pictures = F.pad(pictures, (SHIFT,) * 4, mode="replicate")
    return softened(pictures[..., down : down + FRAME, across : across + FRAME], generator)


def softened(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """All that `spoil` does to pictures but for moving them."""

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    batch = len(pictures)
    offsets = torch.arange(-3, 4)
    kernel = torch.exp(-0.5 * (offsets / draw(0.3, 1.6)) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 7)
    pictures = F.conv2d(pictures, kernel, padding=(0, 3), groups=3)
    pictures = F.conv2d(pictures, kernel.transpose(2, 3), padding=(3, 0), groups=3)
    noise = torch.randn(pictures.shape, generator=generator)
    blotches = F.interpolate(torch.randn(batch, 3, 16, 16, generator=generator), FRAME, mode="bilinear")
    gain = 1 + 0.08 * torch.randn(batch, 1, 1, 1, generator=generator)
    shift = 0.05 * torch.randn(batch, 3, 1, 1, generator=generator)
    return gain * pictures + shift + draw(0, 0.08) * noise + draw(0, 0.08) * blotches


def train_judge(
    steps: int = 1300, seed: int = 0, pool: int = 12_000, batch_size: int = 64, learning_rate: float = 2e-3
) -> Judge:
    """Train a judge on a pool of renders: AdamW, a short warm-up, then a cosine to zero."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, scenes = examples(pool, seed)
    answers = torch.tensor([labels(scene) for scene in scenes])
    judge = Judge()
    # The faster layout on processors.
    judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    optimizer = torch.optim.AdamW(judge.parameters(), learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    bar = trange(steps, desc="judge")
    for _ in bar:
        chosen = torch.randint(pool, (batch_size,), generator=generator)
        pictures = spoil(as_pictures(images[chosen.numpy()]), generator)
        logits = judge(pictures.contiguous(memory_format=torch.channels_last))
        losses = [
            F.cross_entropy(found, answers[chosen, column], ignore_index=NOT_ASKED)
            for column, found in enumerate(logits.values())
        ]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    return judge.eval().requires_grad_(False)


def accuracy(judge: Judge, n: int = 2000, seed: int = 1) -> dict[str, float]:
    """The share of `n` fresh renders that the judge reads right, attribute by attribute.

    Kind, colour and size are counted over things (all wrong if the number is), `place` over
    pictures of two things (left and right kind both right), `whole` over whole pictures.
    """
    images, scenes = examples(n, seed)
    hits: dict[str, list[bool]] = {name: [] for name in ("number", *SLOT, "place", "ground", "hour", "whole")}
    for scene, seen in zip(scenes, judge.read(images)):
        counted = len(scene.things) == len(seen.things)
        hits["number"].append(counted)
        for name in SLOT:
            pairs = zip(scene.things, seen.things)
            right = [counted and getattr(thing, name) == getattr(read, name) for thing, read in pairs]
            hits[name] += right + [False] * (len(scene.things) - len(right))
        if len(scene.things) == 2:
            hits["place"].append([t.kind for t in scene.things] == [t.kind for t in seen.things])
        hits["ground"].append(scene.ground == seen.ground)
        hits["hour"].append(scene.hour == seen.hour)
        hits["whole"].append(scene == seen)
    return {name: float(np.mean(right)) for name, right in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the judge of the little world on renders.")
    parser.add_argument("--out", type=Path, required=True, help="where to write judge.safetensors")
    parser.add_argument("--steps", type=int, default=1300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train_judge(args.steps, args.seed).save(args.out)
    for name, share in accuracy(Judge.load(args.out)).items():
        print(f"{name:>8} {100 * share:6.2f} %")


if __name__ == "__main__":
    main()
