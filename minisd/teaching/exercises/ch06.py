"""Chapter 6: diffusion in latent space. Right answers, cases and known mistakes of its exercises."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...attention import Attention
from ...sd15 import SD15
from ...unet import UNet
from ..differences import parameters
from ..kinds import SEED, Build, Derive, FindTheBug, Mistake, Predict, Verdict, adapted
from ..progress import RIGHT
from ..running import quiet

SIDE, LARGE = 64, 128  # of the latents of a picture of 512, and of 1024 pixels

# 6.1


def sizes():
    return {
        "numbers": 4 * LARGE**2,
        "times fewer": 3 * 1024**2 / (16 * LARGE**2),
        "self-attention": (LARGE / SIDE) ** 4,
        "cross-attention": (LARGE / SIDE) ** 2,
        "steps": 1000 / (LARGE / SIDE) ** 2,
    }


# 6.2


def layer(side: int, width: int = 320) -> int:
    """(6.2) for a self-attention layer."""
    places = side**2
    return 4 * places * width**2 + 2 * places**2 * width


def look(side: int) -> int:
    """Multiply-adds of Stable Diffusion's U-Net, counted on the meta device."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, torch.nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, torch.nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, Attention):
            total += 2 * inputs[0].shape[1] * inputs[-1].shape[1] * module.to_q.out_features

    with torch.device("meta"), torch.inference_mode():
        unet = UNet(SD15["unet"])
        for module in unet.modules():
            module.register_forward_hook(count)
        unet(torch.zeros(1, 4, side, side), torch.zeros(1), torch.zeros(1, 77, 768))
    return total


def grown():
    return {"first layer": layer(LARGE) / layer(SIDE), "whole look": look(LARGE) / look(SIDE)}


# 6.3


def best_answer(rho, q, p):
    return rho * q / (rho * q + (1 - rho) * p)


# 6.4


def acts_like(ab, v):
    return v * ab / (v * ab + 1 - ab)


# 6.5: the means over twenty stretches of real trainings on the stickers of 16 by 16 pixels

CURVES = {
    "A": {
        "loss": [
            0.383,
            0.133,
            0.11,
            0.106,
            0.103,
            0.099,
            0.101,
            0.1,
            0.1,
            0.101,
            0.097,
            0.1,
            0.098,
            0.096,
            0.097,
            0.096,
            0.096,
            0.102,
            0.101,
            0.101,
        ],
    },
    "B": {
        "discriminator": [
            0.273,
            0.055,
            0.034,
            0.023,
            0.016,
            0.012,
            0.009,
            0.007,
            0.006,
            0.005,
            0.004,
            0.003,
            0.003,
            0.002,
            0.002,
            0.002,
            0.001,
            0.001,
            0.001,
            0.001,
        ],
        "generator": [
            2.636,
            3.724,
            4.218,
            4.613,
            4.96,
            5.269,
            5.544,
            5.783,
            5.998,
            6.201,
            6.389,
            6.571,
            6.74,
            6.905,
            7.06,
            7.207,
            7.352,
            7.49,
            7.624,
            7.753,
        ],
    },
    "C": {
        "loss": [
            0.204,
            0.1,
            0.094,
            0.088,
            0.081,
            0.075,
            0.072,
            0.067,
            0.069,
            0.071,
            0.067,
            0.063,
            0.064,
            0.064,
            0.06,
            0.064,
            0.064,
            0.062,
            0.061,
            0.061,
        ],
    },
    "D": {
        "discriminator": [
            1.226,
            1.012,
            1.015,
            1.095,
            1.239,
            1.148,
            1.084,
            1.042,
            1.029,
            0.999,
            0.898,
            0.978,
            0.899,
            0.894,
            0.948,
            0.877,
            0.798,
            0.756,
            0.716,
            0.82,
        ],
        "generator": [
            1.16,
            1.316,
            1.46,
            1.332,
            1.173,
            1.308,
            1.478,
            1.426,
            1.529,
            1.582,
            1.835,
            1.664,
            1.61,
            1.76,
            1.574,
            1.645,
            1.697,
            1.854,
            1.885,
            1.921,
        ],
    },
}


def which_training():
    return {"A": "posterior collapse", "B": "discriminator won", "C": "denoiser", "D": "balance"}


# 6.6


def noised(encode, pictures, bar, noise, scale):
    return bar**0.5 * scale * encode(pictures) + (1 - bar) ** 0.5 * noise


def noised_as_given(encode, pictures, bar, noise, scale):
    return scale * (bar**0.5 * encode(pictures) + (1 - bar) ** 0.5 * noise)


def training_steps(rng: torch.Generator):
    """Encoders, pictures, timesteps, noise and scales; one encoder is not linear."""

    def flat(x):
        return 5.0 * x + 0.3

    def curved(x):
        return torch.tanh(x) + 0.1 * x

    shape = (2, 4, 3, 5)
    return [
        (flat, torch.randn(shape, generator=rng), 0.3, torch.randn(shape, generator=rng), 0.18215),
        (curved, torch.randn(shape, generator=rng), 0.9, torch.randn(shape, generator=rng), 0.708),
        (curved, torch.randn(shape, generator=rng), 0.005, torch.randn(shape, generator=rng), 3.0),
    ]


# 6.7


def alike(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def among(a: Tensor, kernel=alike) -> Tensor:
    k = kernel(a, a)
    return (k.sum() - k.diagonal().sum()) / (len(a) * (len(a) - 1))


def kernel_distance(painted, real):
    return among(painted) + among(real) - 2 * alike(painted, real).mean()


def with_itself(painted, real):
    return alike(painted, painted).mean() + alike(real, real).mean() - 2 * alike(painted, real).mean()


def by_the_square(painted, real):
    """The diagonal left out of the sum, but not of the count."""

    def inside(a):
        k = alike(a, a)
        return (k.sum() - k.diagonal().sum()) / len(a) ** 2

    return inside(painted) + inside(real) - 2 * alike(painted, real).mean()


def with_kernel(kernel):
    def distance(painted, real):
        return among(painted, kernel) + among(real, kernel) - 2 * kernel(painted, real).mean()

    return distance


def clouds(rng: torch.Generator):
    def cloud(number, width, shift=0.0):
        return torch.randn(number, width, generator=rng, dtype=torch.float64) + shift

    same = cloud(12, 6)  # against itself the distance is below 0: only the mixed pairs have a vector twice
    return [
        (cloud(40, 8), cloud(30, 8, 0.5)),
        (cloud(2, 3), cloud(5, 3)),
        (cloud(25, 32), cloud(25, 32)),
        (same, same.clone()),
    ]


# 6.8


def latent_scale(batches):
    count = sum(batch.numel() for batch in batches)
    mean = sum(float(batch.double().sum()) for batch in batches) / count
    squares = sum(float((batch.double() - mean).square().sum()) for batch in batches)
    return (count / squares) ** 0.5


def mean_of(of_batch):
    return lambda batches: sum(of_batch(batch.double()) for batch in batches) / len(batches)


def batch_scale(batch):
    return 1 / float(batch.std(unbiased=False))


def without_mean(batches):
    numbers = torch.cat([batch.double().flatten() for batch in batches])
    return 1 / float(numbers.square().mean()) ** 0.5


def within_batches(batches):
    """The batches' variances weighted by their sizes: the spread between their means is left out."""
    count = sum(batch.numel() for batch in batches)
    return (
        count / sum(batch.numel() * float(batch.double().var(unbiased=False)) for batch in batches)
    ) ** 0.5


class Largest(TorchFunctionMode):
    """Remembers how many numbers the largest tensor holds that a function of torch has returned."""

    numbers = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


class BatchByBatch(Build):
    """A function of a list of batches that may not put them together."""

    def verdict(self, answer: Any) -> Verdict:
        verdict = super().verdict(answer)
        if verdict.result != RIGHT:
            return verdict
        (batches,) = self.cases(torch.Generator().manual_seed(SEED))[0]
        with quiet(), Largest() as largest:
            adapted(answer, parameters(self.right))(batches)
        if largest.numbers > max(batch.numel() for batch in batches):
            return self.wrong(
                "The scale is right, but you put batches together: one of your tensors holds more numbers "
                "than the largest batch."
            )
        return verdict


def latents(rng: torch.Generator):
    def batch(*shape, width=1.0, middle=0.0):
        return width * torch.randn(*shape, generator=rng) + middle

    return [
        ([batch(8, 4, 3, 5, width=5.5, middle=1.0), batch(2, 4, 3, 5, width=3.0, middle=-4.0)],),
        ([batch(3, 4, 2, 2), batch(1, 4, 2, 2, middle=2.0), batch(7, 4, 2, 2, width=0.2)],),
        ([batch(1, 2, 4, 4, width=0.5, middle=3.0)],),
    ]


# 6.9


def helped():
    real, painted, mud = 1 / 16, 1 / 8, 1 / 2
    mixed = (real + painted) / 2
    of_real = 4 * real * math.log(real / mixed) + 12 * real * math.log(2)
    of_painted = 4 * painted * math.log(painted / mixed) + mud * math.log(2)
    return {
        "at 0.01": 0.99 / 0.01,
        "at 0.8": 0.2 / 0.8,
        "best answer": real / (real + painted),
        "JS over ln 2": (of_real + of_painted) / 2 / math.log(2),
    }


# 6.10


def bill(numbers: int, width: int = 128, times: int = 64) -> int:
    """Multiply-adds of a training step for one picture: a stack that reads and writes so many numbers."""
    cost = 2 * numbers * width + times * width + 4 * width**2
    return 3 * cost - numbers * width - times * width


def three_painters():
    fair, enough = 1 / 16, 1 / 16 / 5
    snob = [0.01] * 4 + [0.08] * 12
    return {
        "copier, found": sum(fair >= enough for _ in range(16)),
        "snob, named": sum(share >= enough for share in snob),
        "careless, good": 0.15,
        "careless, found": sum(0.15 * fair >= enough for _ in range(16)),
        "step": bill(3 * 64**2) / bill(3 * 32**2),
    }


# 6.11: shares of clean stickers, {budget: {autoencoder's part: rounds}}, measured by benchmarks/purse.py. At
# 20 billion the rounds of different parts do not overlap; at 10 billion they do, so no order is asked there.

SPLITS = {
    20e9: {0.25: (0.029, 0.078, 0.031), 0.5: (0.381, 0.395, 0.373), 0.75: (0.281, 0.283, 0.295)},
    10e9: {0.5: (0.047, 0.094, 0.088), 0.65: (0.109, 0.109, 0.059), 0.8: (0.105, 0.090, 0.109)},
}
RETURNED = {
    0.25: (0.117, 0.078, 0.072),
    0.5: (0.867, 0.824, 0.844),
    0.75: (0.936, 0.904, 0.926),
}  # by the autoencoder, with 20 billion
PIXELS = (0.119, 0.113, 0.131)  # of the pixel painters, with 10 billion


def purse_shared():
    clean = {part: sum(rounds) for part, rounds in SPLITS[20e9].items()}
    return {
        "most clean": max(clean, key=clean.__getitem__),
        "fewest clean": min(clean, key=clean.__getitem__),
        "best returned": max(RETURNED, key=lambda part: sum(RETURNED[part])),
    }


EXERCISES = [
    Predict(
        number="6.1",
        name="guesses",
        section="6.2",
        minutes=5,
        measure=sizes,
        within=0.02,
        mistakes=(
            Mistake(
                lambda: {"numbers": 16_384},
                "These are the latents of the picture of 512. The side of the latents doubles too.",
            ),
            Mistake(
                lambda: {"numbers": 32_768},
                "You doubled the number. Both sides are twice as long.",
            ),
            Mistake(
                lambda: {"times fewer": 48},
                "This is with four channels. How many are there in these latents?",
            ),
            Mistake(
                lambda: {"times fewer": 64},
                "So many times fewer are the places. Each has how many numbers, in pixels and in latents?",
            ),
            Mistake(
                lambda: {"cross-attention": 16},
                "Four times the places look at something else. At how many words, and do these grow?",
            ),
            Mistake(
                lambda: {"cross-attention": 2},
                "Both sides double. How many times as many places look at the words?",
            ),
            Mistake(
                lambda: {"self-attention": 4},
                "This is how n grows. Comparing contains n squared.",
            ),
            Mistake(
                lambda: {"steps": 500},
                "A step at 1024 visits places along both sides: how many times as many?",
            ),
        ),
    ),
    Predict(
        number="6.2",
        name="ratios",
        section="6.2",
        minutes=15,
        measure=grown,
        within=0.1,
        mistakes=(
            Mistake(
                lambda: {"first layer": 4.0},
                "Only the first part of (6.2) grows like the places. Which part is the larger here?",
            ),
            Mistake(
                lambda: {"first layer": 16.0},
                "The second part grows like this, and it is most of the layer, but not all.",
            ),
            Mistake(
                lambda: {"whole look": 4.0},
                "You let everything grow like the places. What about the part with n squared?",
            ),
            Mistake(
                lambda: {"whole look": 16.0},
                "Most of the network is convolutions and linear layers: how do those grow?",
            ),
            Mistake(
                lambda: {"whole look": 10.0},
                "You took the mean of the two growths. Each has to be weighted by what it is a share of.",
            ),
        ),
    ),
    Derive(
        number="6.3",
        name="best",
        section="6.6",
        minutes=10,
        right=best_answer,
        mistakes=(
            Mistake(
                lambda rho, q, p: q / (q + p),
                "This is the answer where both are shown equally often. Where is rho?",
            ),
            Mistake(
                lambda rho, q, p: rho * q / (q + p),
                "At rho = 1 nothing painted is ever shown. What should a discriminator say then, and what "
                "does yours say?",
            ),
            Mistake(
                lambda rho, q, p: rho * q / (rho * q + p),
                "The share of the painted ones is missing.",
            ),
            Mistake(
                lambda rho, q, p: (1 - rho) * p / (rho * q + (1 - rho) * p),
                "This is the probability that the picture is painted.",
            ),
            Mistake(
                lambda rho, q, p: (1 - rho) * q / ((1 - rho) * q + rho * p),
                "You gave the share rho to the painted pictures.",
            ),
        ),
    ),
    Derive(
        number="6.4",
        name="acts_like",
        section="6.5",
        minutes=15,
        right=acts_like,
        ranges={"ab": (0.05, 0.95), "v": (0.1, 4.0)},
        mistakes=(
            Mistake(
                lambda ab, v: v * ab / (1 - ab),
                "This is the signal-to-noise ratio. Which alpha bar has it, for data of variance 1?",
            ),
            Mistake(
                lambda ab, v: v * ab,
                "This is the picture's variance in the sum. For v = 30 it may be above 1, and an alpha bar "
                "cannot.",
            ),
            Mistake(
                lambda ab, v: v**0.5 * ab / (v**0.5 * ab + 1 - ab),
                "v is a variance already. Does it enter (6.8) by its root?",
            ),
            Mistake(
                lambda ab, v: v**2 * ab / (v**2 * ab + 1 - ab),
                "The scale enters (6.8) squared, the variance as it is.",
            ),
            Mistake(
                lambda ab, v: ab / (ab + v * (1 - ab)),
                "You made the noise louder by v. It is the latents that are.",
            ),
        ),
    ),
    Predict(
        number="6.5",
        name="verdicts",
        section="6.8",
        minutes=15,
        measure=which_training,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"A": "denoiser", "C": "posterior collapse"},
                "One of the two lone curves is at its end from the beginning and never learns anything: "
                "which?",
            ),
            Mistake(
                lambda: {"B": "balance", "D": "discriminator won"},
                "Whose loss goes to 0 in B, and what does that say about the other player?",
            ),
            Mistake(
                lambda: {"A": "balance"},
                "A game has two players and two losses. How many curves does A have?",
            ),
            Mistake(
                lambda: {"A": "discriminator won"},
                "A discriminator is one of two players. How many curves does A have?",
            ),
        ),
    ),
    FindTheBug(
        number="6.6",
        name="noised",
        section="6.5",
        minutes=15,
        right=noised,
        cases=training_steps,
        given=noised_as_given,
        tolerance=1e-5,
        mistakes=(
            Mistake(
                lambda encode, pictures, bar, noise, scale: noised(encode, pictures, bar, noise, 1.0),
                "You left the scale out. The latents are noised with the spread that the encoder gave them.",
            ),
            Mistake(
                lambda encode, pictures, bar, noise, scale: noised(encode, pictures, bar, noise, 1 / scale),
                "You divided by the scale. That belongs before the decoder.",
            ),
            Mistake(
                lambda encode, pictures, bar, noise, scale: noised(encode, scale * pictures, bar, noise, 1.0),
                "You scaled the pictures, not the latents. An encoder is not a straight line.",
            ),
            Mistake(
                lambda encode, pictures, bar, noise, scale: noised(encode, pictures, bar, scale * noise, 1.0),
                "Now the noise is scaled, and the latents are not.",
            ),
        ),
    ),
    Build(
        number="6.7",
        name="kernel_distance",
        section="6.3",
        minutes=20,
        right=kernel_distance,
        cases=clouds,
        tolerance=1e-4,
        mistakes=(
            Mistake(
                with_itself,
                "You count each vector's likeness to itself among the pairs of different ones.",
            ),
            Mistake(
                by_the_square,
                "The likeness to itself is out of your sum, but not out of your count of pairs.",
            ),
            Mistake(
                with_kernel(lambda a, b: (a @ b.T + 1) ** 3),
                "The product of two vectors is to be divided by how many numbers they have.",
            ),
            Mistake(
                with_kernel(lambda a, b: a @ b.T / a.shape[1] + 1),
                "Where is the third power? Without it you compare the means alone.",
            ),
            Mistake(
                lambda painted, real: among(painted) + among(real) - alike(painted, real).mean(),
                "The mixed pairs count twice: once for each order.",
            ),
            Mistake(
                lambda painted, real: kernel_distance(painted, real).clamp(min=0),
                "You cut it off at 0. Left as it is, it is right on average.",
            ),
        ),
    ),
    BatchByBatch(
        number="6.8",
        name="latent_scale",
        section="6.5",
        minutes=15,
        right=latent_scale,
        cases=latents,
        tolerance=1e-4,
        mistakes=(
            Mistake(
                mean_of(batch_scale),
                "You took the mean of the batches' scales. Is a mean of reciprocals of roots what is asked?",
            ),
            Mistake(
                within_batches,
                "You added up the variances inside the batches. Their means differ from one another, too.",
            ),
            Mistake(
                without_mean,
                "You took the mean square for the variance. These latents don't have the mean 0.",
            ),
            Mistake(
                lambda batches: 1 / latent_scale(batches),
                "This is the standard deviation. What should the latents be multiplied by?",
            ),
            Mistake(
                lambda batches: latent_scale(batches) ** 2,
                "This is one over the variance.",
            ),
            Mistake(
                lambda batches: latent_scale(batches[:1]),
                "You looked at the first batch only.",
            ),
        ),
    ),
    Predict(
        number="6.9",
        name="slopes",
        section="6.6",
        minutes=10,
        measure=helped,
        within=0.05,
        mistakes=(
            Mistake(
                lambda: {"at 0.01": 1 / 99},
                "The other way round: which of the two still pulls when the discriminator is sure?",
            ),
            Mistake(
                lambda: {"at 0.8": 4.0},
                "Where the discriminator is fooled, which of the two pulls less?",
            ),
            Mistake(
                lambda: {"best answer": 0.5},
                "One half is right where both densities are equal. The generator paints these types more "
                "often than they occur.",
            ),
            Mistake(
                lambda: {"best answer": 2 / 3},
                "This is the probability of painted.",
            ),
            Mistake(
                lambda: {"best answer": 0.2},
                "So it would be without the mud. How much of what is painted is left for the four types?",
            ),
            Mistake(
                lambda: {"JS over ln 2": 0.75},
                "Twelve of the sixteen types are missing, but JS is not a share of types: what do the four "
                "add, and what the mud?",
            ),
            Mistake(
                lambda: {"JS over ln 2": 0.549},
                "So it would be without the mud. What is q there, and what does the logarithm give?",
            ),
            Mistake(
                lambda: {"JS over ln 2": 1.0},
                "ln 2 is for distributions that share nothing.",
            ),
        ),
    ),
    Predict(
        number="6.10",
        name="marks",
        section="6.3",
        minutes=15,
        measure=three_painters,
        within=0.03,
        mistakes=(
            Mistake(
                lambda: {"copier, found": 0},
                "A copy of a real sticker is at the distance 0 from it. Is it good?",
            ),
            Mistake(
                lambda: {"snob, named": 16},
                "Every type occurs, but to be named it needs a fifth of its fair share. What is that in per "
                "cent?",
            ),
            Mistake(
                lambda: {"snob, named": 4},
                "These are the types that are too rare.",
            ),
            Mistake(
                lambda: {"careless, good": 0.85},
                "This is the share that has too much grain.",
            ),
            Mistake(
                lambda: {"careless, found": 16},
                "Every type has some good stickers. Are they a fifth of its fair share?",
            ),
            Mistake(
                lambda: {"step": 4.0},
                "The first and the last layer grow by 4. What about the blocks in between?",
            ),
            Mistake(
                lambda: {"step": 2.0},
                "Both sides of the picture double. How many numbers does the first layer read then?",
            ),
        ),
    ),
    Predict(
        number="6.11",
        name="measured",
        section="6.4",
        minutes=25,
        measure=purse_shared,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"most clean": 0.75},
                "This autoencoder returns the most clean stickers. Does the denoiser that is paid from "
                "the rest paint the most, over several seeds?",
            ),
            Mistake(
                lambda: {"most clean": 0.25},
                "This leaves the most for the denoiser. Look at what the autoencoder makes of fresh "
                "stickers.",
            ),
            Mistake(
                lambda: {"fewest clean": 0.75},
                "A denoiser that is short of steps paints fewer clean stickers. And one whose "
                "autoencoder is?",
            ),
            Mistake(
                lambda: {"best returned": 0.5},
                "Best for the painter need not be best for the autoencoder alone. What does more "
                "training do to it?",
            ),
            Mistake(
                lambda: {"best returned": 0.25},
                "The autoencoder with the shortest training: count its clean stickers once more.",
            ),
        ),
    ),
]
