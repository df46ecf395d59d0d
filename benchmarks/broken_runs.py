"""Six broken trainings and the sound one: the curves and the pictures of exercise 14.2.

    python benchmarks/broken_runs.py        train, paint, write minisd/teaching/broken_runs.json (a minute)

The world is the smallest that has every part: the 1,797 digits of scikit-learn, a linear autoencoder with
sixteen numbers a digit for latents, a network of three layers that guesses noise from them, a timestep and a
label. Each run differs from the sound one in the one thing that its `Fault` says. All start from the same
weights, and see the same digits in the same order.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import Tensor, nn

from minisd.checkpoint import write_json
from minisd.pipeline import guide
from minisd.samplers import ddim
from minisd.schedule import NoiseSchedule
from minisd.teaching.run_drawings import STORED

STEPS, BATCH, PEAK, WARMUP = 1200, 32, 8e-3, 50
HELD_OUT, EVERY, MEANS = 397, 30, 10  # digits; steps between two looks at them; steps in a point of the curve
GUIDANCE, PAINTED = 2.0, 20
LATENTS, CLASSES, WIDE, EMPTY = 16, 10, 128, 10


@dataclass(frozen=True)
class Fault:
    """What a training does otherwise; the sound one as it stands."""

    drop: float = 0.1  # the share of the labels that are replaced by the empty one
    scaled: bool = True  # are the latents multiplied by the scale?
    decay: float = 0.99  # of the average of the weights
    schedule_steps: int = 1  # of the learning rate's schedule for each step of the optimizer
    one_timestep: bool = False  # for the whole batch
    other_noise: bool = False  # as the target: drawn anew, not the noise that was added


SOUND = Fault()
FAULTS = {
    "labels always dropped": replace(SOUND, drop=1.0),
    "latents not scaled": replace(SOUND, scaled=False),
    "average never arrives": replace(SOUND, decay=0.99995),
    "schedule stepped twice": replace(SOUND, schedule_steps=2),
    "one timestep a batch": replace(SOUND, one_timestep=True),
    "noise drawn anew": replace(SOUND, other_noise=True),
}
LETTERS = {
    "A": "schedule stepped twice",
    "B": "noise drawn anew",
    "C": "labels always dropped",
    "D": "one timestep a batch",
    "E": "average never arrives",
    "F": "latents not scaled",
}
BARS = NoiseSchedule.scaled_linear().alphas_cumprod.float()


class Autoencoder:
    """The best linear one: digits (n, 64), from 0 to 16, <-> latents (n, 16), about eight wide."""

    def __init__(self, pixels: Tensor) -> None:
        self.centre = pixels.mean(0)
        self.axes = torch.linalg.svd(pixels - self.centre, full_matrices=False).Vh[:LATENTS]
        self.scale = 1 / float(self.encode(pixels).std())

    def encode(self, pixels: Tensor) -> Tensor:
        return (pixels - self.centre) @ self.axes.T

    def decode(self, latents: Tensor) -> Tensor:
        return (latents @ self.axes + self.centre).clamp(0, 16)


class Denoiser(nn.Module):
    """x_t (n, 16), timesteps (n), labels (n) -> noise (n, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.label = nn.Embedding(CLASSES + 1, 16)
        sizes = [LATENTS + 8 + 16, WIDE, WIDE, WIDE]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes, sizes[1:]))
        self.out = nn.Linear(WIDE, LATENTS)
        nn.init.normal_(self.label.weight, std=0.05)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        turns = math.pi * t[:, None] / 1000 * torch.tensor([0.5, 1, 2, 4])
        x = torch.cat([x, turns.sin(), turns.cos(), self.label(labels)], 1)
        for layer in self.layers:
            x = F.silu(layer(x))
        return self.out(x)


def rate_at(k: int) -> float:
    """Up in a straight line, then down along half a cosine, (14.11); beyond the end the cosine goes on."""
    if k < WARMUP:
        return PEAK * (k + 1) / WARMUP
    return PEAK * (1 + math.cos(math.pi * (k - WARMUP) / (STEPS - WARMUP))) / 2


def noised(z: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    bar = BARS[t][:, None]
    return bar.sqrt() * z + (1 - bar).sqrt() * noise


def digits() -> tuple[Tensor, Tensor]:
    """Pixels (1797, 64), from 0 to 16, and names, shuffled; the last 397 are held out."""
    pixels, names = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    return torch.tensor(pixels[order]).float(), torch.tensor(names[order])


def one_loss(net: Denoiser, z: Tensor, labels: Tensor, fault: Fault, rng: torch.Generator) -> Tensor:
    """The loss of a batch; what is random is drawn whether a fault needs it or not."""
    t = torch.randint(1000, (len(z),), generator=rng)
    noise, other = torch.randn(2, *z.shape, generator=rng).unbind()
    coins = torch.rand(len(z), generator=rng)
    t = t[:1].expand_as(t) if fault.one_timestep else t
    labels = torch.where(coins < fault.drop, EMPTY, labels)
    return F.mse_loss(net(noised(z, t, noise), t, labels), other if fault.other_noise else noise)


@torch.no_grad()
def held_out_loss(net: Denoiser, z: Tensor, labels: Tensor) -> float:
    """On digits that were never seen, with labels, the right target, and timesteps spread evenly."""
    rng = torch.Generator().manual_seed(1)
    t = torch.linspace(0, 999, len(z)).long()
    noise = torch.randn(z.shape, generator=rng)
    return float(F.mse_loss(net(noised(z, t, noise), t, labels), noise))


@torch.no_grad()
def paint(net: Denoiser, autoencoder: Autoencoder) -> Tensor:
    """The ten digits, twice, (20, 64), by 50 steps of DDIM; the decoder divides by the scale."""
    labels, chain = torch.arange(PAINTED) % CLASSES, torch.linspace(999, 0, 51).round().long()
    when = {float(BARS[t]): int(t) for t in chain}

    def noise_of(x: Tensor, bar: float) -> Tensor:
        t = torch.full((PAINTED,), when[bar])
        return guide(net(x, t, torch.full_like(labels, EMPTY)), net(x, t, labels), GUIDANCE)

    start = torch.randn(PAINTED, LATENTS, generator=torch.Generator().manual_seed(2))
    *_, z = ddim(noise_of, start, list(when))
    return autoencoder.decode(z / autoencoder.scale)


def train(fault: Fault) -> dict:
    """One run: its curve, its curve on held-out digits, and what its averaged weights paint."""
    torch.manual_seed(0)
    pixels, names = digits()
    seen, rng = len(pixels) - HELD_OUT, torch.Generator().manual_seed(0)
    autoencoder = Autoencoder(pixels[:seen])
    z = autoencoder.encode(pixels) * (autoencoder.scale if fault.scaled else 1)
    net, average = Denoiser(), Denoiser()
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), PEAK)
    losses, held_out = [], [held_out_loss(net, z[seen:], names[seen:])]
    for k in range(STEPS):
        chosen = torch.randint(seen, (BATCH,), generator=rng)
        optimizer.param_groups[0]["lr"] = rate_at(k * fault.schedule_steps)
        loss = one_loss(net, z[chosen], names[chosen], fault, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        for kept, new in zip(average.parameters(), net.parameters()):
            kept.data.lerp_(new.data, 1 - fault.decay)
        if (k + 1) % EVERY == 0:
            held_out.append(held_out_loss(net, z[seen:], names[seen:]))
    curve = np.reshape(losses, (-1, MEANS)).mean(1)
    painted = paint(average, autoencoder).round().to(torch.uint8)
    return {
        "loss": [round(float(x), 4) for x in curve],
        "held_out": [round(x, 4) for x in held_out],
        "pictures": [bytes(picture.tolist()).hex() for picture in painted],
    }


def main() -> None:
    runs = {"sound": train(SOUND)} | {letter: train(FAULTS[name]) for letter, name in LETTERS.items()}
    about = {"steps": STEPS, "points": MEANS, "looks": EVERY, "side": 8}
    write_json(about | {"runs": runs}, STORED)


if __name__ == "__main__":
    main()
