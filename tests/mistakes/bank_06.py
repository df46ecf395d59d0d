"""Chapter 6: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import numpy as np
import sympy
import torch

# 6.3 and 6.4

rho, q, p = sympy.symbols("rho q p", positive=True)
ab, v = sympy.symbols("ab v", positive=True)


# 6.6


def no_scale(encode, pictures, bar, noise, scale):
    return bar**0.5 * encode(pictures) + (1 - bar) ** 0.5 * noise


def latents_divided(encode, pictures, bar, noise, scale):
    return bar**0.5 * encode(pictures) / scale + (1 - bar) ** 0.5 * noise


def pictures_scaled(encode, pictures, bar, noise, scale):
    return bar**0.5 * encode(pictures * scale) + (1 - bar) ** 0.5 * noise


def noise_scaled(encode, pictures, bar, noise, scale):
    return bar**0.5 * encode(pictures) + (1 - bar) ** 0.5 * noise * scale


def right_noised(encode, pictures, bar, noise, scale):
    z = encode(pictures) * scale
    return bar**0.5 * z + (1 - bar) ** 0.5 * noise


def right_by_parts(encode, pictures, bar, noise, scale):
    return scale * (bar**0.5 * encode(pictures) + (1 - bar) ** 0.5 * (noise / scale))


# 6.7


def kernel(a, b):
    return (a @ b.T / a.shape[1] + 1) ** 3


def pairs(a):
    k = kernel(a, a)
    return (k.sum() - k.diagonal().sum()) / (len(a) * (len(a) - 1))


def kid(painted, real):
    return pairs(painted) + pairs(real) - 2 * kernel(painted, real).mean()


def kid_by_loops(painted, real):
    def k(x, y):
        return float((x @ y / len(x) + 1) ** 3)

    def among(a):
        return np.mean([k(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j])

    mixed = np.mean([k(x, y) for x in painted for y in real])
    return torch.tensor(among(painted) + among(real) - 2 * mixed)


def biased(painted, real):
    return kernel(painted, painted).mean() + kernel(real, real).mean() - 2 * kernel(painted, real).mean()


def wrong_count(painted, real):
    def among(a):
        k = kernel(a, a)
        return (k.sum() - k.diagonal().sum()) / len(a) ** 2

    return among(painted) + among(real) - 2 * kernel(painted, real).mean()


def with_power(power, divide=True):
    def k(a, b):
        return (a @ b.T / (a.shape[1] if divide else 1) + 1) ** power

    def distance(painted, real):
        def among(a):
            both = k(a, a)
            return (both.sum() - both.diagonal().sum()) / (len(a) * (len(a) - 1))

        return among(painted) + among(real) - 2 * k(painted, real).mean()

    return distance


def mixed_once(painted, real):
    return pairs(painted) + pairs(real) - kernel(painted, real).mean()


def cut_off(painted, real):
    return kid(painted, real).clamp(min=0)


# 6.8


def all_numbers(batches):
    return torch.cat([batch.double().flatten() for batch in batches])


def right_scale(batches):
    return 1 / float(all_numbers(batches).std(unbiased=False))


def sums(batches):
    numbers = [batch.double().flatten() for batch in batches]
    count, total, squares = (sum(map(f, numbers)) for f in (len, torch.sum, lambda x: x @ x))
    return float(squares / count - (total / count) ** 2) ** -0.5


def running(batches):
    count = sum(batch.numel() for batch in batches)
    mean = sum(float(batch.double().sum()) for batch in batches) / count
    squares = sum(float((batch.double() - mean).square().sum()) for batch in batches)
    return (count / squares) ** 0.5


def mean_of_scales(batches):
    return sum(1 / float(batch.double().std(unbiased=False)) for batch in batches) / len(batches)


def inside_only(batches):
    count = sum(batch.numel() for batch in batches)
    inside = sum(batch.numel() * float(batch.double().var(unbiased=False)) for batch in batches)
    return (count / inside) ** 0.5


def mean_square(batches):
    return 1 / float(all_numbers(batches).square().mean()) ** 0.5


SIZES = {"numbers": 65_536, "times fewer": 12, "self-attention": 16, "cross-attention": 4, "steps": 250}
RATIOS = {"first layer": 14.4, "whole look": 5.9}
KINDS = {"A": "posterior collapse", "B": "discriminator won", "C": "denoiser", "D": "balance"}
HELP = {"at 0.01": 99.0, "at 0.8": 0.25, "best answer": 1 / 3, "JS over ln 2": 0.656}
MARKS = {
    "copier, found": 16,
    "snob, named": 12,
    "careless, good": 0.15,
    "careless, found": 0,
    "step": 3.7,
}
SHARED = {"most clean": 0.5, "fewest clean": 0.25, "best returned": 0.75}

BANK = {
    "6.1": {
        "wrong": [
            (SIZES | {"numbers": 16_384}, "latents of the picture of 512"),
            (SIZES | {"numbers": 32_768}, "You doubled the number"),
            (SIZES | {"times fewer": 48}, "with four channels"),
            (SIZES | {"times fewer": 64}, "are the places"),
            (SIZES | {"cross-attention": 2}, "Both sides double"),
            (SIZES | {"cross-attention": 16}, "do these grow"),
            (SIZES | {"self-attention": 4}, "contains n squared"),
            (SIZES | {"steps": 500}, "along both sides"),
        ],
        "right": [SIZES, SIZES | {"numbers": 65_000}],
    },
    "6.2": {
        "wrong": [
            (RATIOS | {"first layer": 4.0}, "Which part is the larger here"),
            (RATIOS | {"first layer": 16.5}, "most of the layer, but not all"),
            (RATIOS | {"whole look": 4.0}, "everything grow like the places"),
            (RATIOS | {"whole look": 16.0}, "convolutions and linear layers"),
            (RATIOS | {"whole look": 10.0}, "mean of the two growths"),
        ],
        "right": [RATIOS, {"first layer": 14.0, "whole look": 5.7}],
    },
    "6.3": {
        "wrong": [
            (q / (q + p), "Where is rho"),
            (rho * q / (q + p), "At rho = 1"),
            (rho * q / (rho * q + p), "share of the painted"),
            ((1 - rho) * p / (rho * q + (1 - rho) * p), "probability that the picture is painted"),
            ((1 - rho) * q / ((1 - rho) * q + rho * p), "share rho to the painted"),
        ],
        "right": [rho * q / (rho * q + (1 - rho) * p), 1 / (1 + (1 - rho) * p / (rho * q))],
    },
    "6.4": {
        "wrong": [
            (v * ab / (1 - ab), "signal-to-noise ratio"),
            (v * ab, "picture's variance in the sum"),
            (sympy.sqrt(v) * ab / (sympy.sqrt(v) * ab + 1 - ab), "a variance already"),
            (v**2 * ab / (v**2 * ab + 1 - ab), "the variance as it is"),
            (ab / (ab + v * (1 - ab)), "made the noise louder"),
        ],
        "right": [v * ab / (v * ab + 1 - ab), 1 / (1 + (1 - ab) / (v * ab))],
    },
    "6.5": {
        "wrong": [
            (KINDS | {"A": "denoiser", "C": "posterior collapse"}, "never learns anything"),
            (KINDS | {"B": "balance", "D": "discriminator won"}, "Whose loss goes to 0"),
            (KINDS | {"A": "balance", "D": "posterior collapse"}, "How many curves does A have"),
            (KINDS | {"A": "discriminator won", "B": "posterior collapse"}, "one of two players"),
        ],
        "right": [KINDS, dict(reversed(KINDS.items()))],
    },
    "6.6": {
        "wrong": [
            (no_scale, "left the scale out"),
            (latents_divided, "divided by the scale"),
            (pictures_scaled, "scaled the pictures"),
            (noise_scaled, "the noise is scaled"),
        ],
        "right": [right_noised, right_by_parts],
    },
    "6.7": {
        "wrong": [
            (biased, "likeness to itself among"),
            (wrong_count, "not out of your count"),
            (with_power(3, divide=False), "divided by how many numbers"),
            (with_power(1), "third power"),
            (mixed_once, "mixed pairs count twice"),
            (cut_off, "cut it off at 0"),
        ],
        "right": [kid, kid_by_loops],
    },
    "6.8": {
        "wrong": [
            (right_scale, "you put batches together"),
            (mean_of_scales, "mean of the batches' scales"),
            (inside_only, "inside the batches"),
            (mean_square, "mean square"),
            (lambda batches: 1 / right_scale(batches), "standard deviation"),
            (lambda batches: right_scale(batches) ** 2, "one over the variance"),
            (lambda batches: right_scale(batches[:1]), "first batch only"),
        ],
        "right": [sums, running],
    },
    "6.9": {
        "wrong": [
            (HELP | {"at 0.01": 0.0101}, "The other way round"),
            (HELP | {"at 0.8": 4.0}, "which of the two pulls less"),
            (HELP | {"best answer": 0.5}, "more often than they occur"),
            (HELP | {"best answer": 0.667}, "probability of painted"),
            (HELP | {"best answer": 0.2}, "without the mud. How much"),
            (HELP | {"JS over ln 2": 0.75}, "not a share of types"),
            (HELP | {"JS over ln 2": 1.0}, "share nothing"),
            (HELP | {"JS over ln 2": 0.55}, "without the mud. What is q"),
        ],
        "right": [HELP, HELP | {"at 0.01": 100.0}],
    },
    "6.10": {
        "wrong": [
            (MARKS | {"copier, found": 0}, "at the distance 0"),
            (MARKS | {"snob, named": 16}, "in per cent"),
            (MARKS | {"snob, named": 4}, "too rare"),
            (MARKS | {"careless, good": 0.85}, "too much grain"),
            (MARKS | {"careless, found": 16}, "a fifth of its fair share"),
            (MARKS | {"step": 4}, "the blocks in between"),
            (MARKS | {"step": 2}, "Both sides of the picture"),
        ],
        "right": [MARKS, MARKS | {"step": 3.75}],
    },
    "6.11": {
        "wrong": [
            (SHARED | {"most clean": 0.75}, "returns the most clean stickers"),
            (SHARED | {"most clean": 0.25}, "leaves the most for the denoiser"),
            (SHARED | {"fewest clean": 0.75}, "And one whose autoencoder is"),
            (SHARED | {"best returned": 0.5}, "need not be best for the autoencoder"),
            (SHARED | {"best returned": 0.25}, "the shortest training"),
        ],
        "right": [SHARED, dict(reversed(SHARED.items()))],
    },
}
