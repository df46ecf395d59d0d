"""Chapter 5: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import numpy as np
import sympy
import torch

SHIFT = "pixels of shift, padding wrong at the last two of four halvings"
SIZES = {
    "latents of a 768 x 512 picture": 24576,
    "nats of a latent with mean 3 and standard deviation 1": 4.5,
    "squared error at 20 dB": 0.04,
    "alpha-bar where latents of variance 9 are even": 0.1,
    SHIFT: 12,
}

# 5.2

m, v, w = sympy.symbols("m v w", positive=True)


def information_by_floats(m, v, w):
    mean_kl = 0.5 * (m**2 + v + w - 1 - math.log(w))
    return mean_kl - 0.5 * (m**2 + v + w - 1 - math.log(v + w))


# 5.3

COIN = {
    "squared error of the mean": 0.84,
    "squared error of the median": 1.2,
    "squared error of a fair draw": 1.68,
    "decibels from the mean to the draw": 3.01,
}

# 5.5

n = sympy.Symbol("n", positive=True)
g, delta = sympy.symbols("g delta", positive=True)


# 5.4

FACTORS = np.geomspace(0.08, 12, 250)


def by_search(encode, decode, pictures, factors=FACTORS, shifts=range(16)):
    latents, side, tried = encode(pictures), pictures.shape[-1], {}
    for factor in factors:
        y = decode(latents / factor)
        for s in shifts:
            off = (y[..., s:, s:] - pictures[..., : side - s, : side - s])[..., 2:-2, 2:-2]
            tried[float(factor), s] = float(off.square().mean())
    return min(tried, key=tried.get)


def one_after_the_other(encode, decode, pictures):
    _, shift = by_search(encode, decode, pictures, np.geomspace(0.1, 10, 12))
    coarse, _ = by_search(encode, decode, pictures, np.geomspace(0.1, 10, 40), [shift])
    return by_search(encode, decode, pictures, coarse * np.linspace(0.87, 1.15, 57), [shift])


def upside_down(encode, decode, pictures):
    factor, shift = by_search(encode, decode, pictures)
    return 1 / factor, shift


def by_width(encode, decode, pictures):
    return encode(pictures).std(), by_search(encode, decode, pictures)[1]


def shift_alone(encode, decode, pictures):
    return 1.0, by_search(encode, decode, pictures, [1.0])[1]


def factor_alone(encode, decode, pictures):
    return by_search(encode, decode, pictures, shifts=[0])


def too_coarse(encode, decode, pictures):
    return by_search(encode, decode, pictures, [0.1, 0.15, 0.3, 0.7, 1, 2, 4, 8])


def the_other_way(encode, decode, pictures):
    factor, shift = by_search(encode, decode, pictures)
    return factor, -shift


# 5.6


def by_stack(log_joint, log_q):
    ratio = log_joint - log_q
    largest = ratio.max(dim=0).values
    return (largest + (ratio - largest).exp().mean(dim=0).log()).mean()


def by_loop(log_joint, log_q):
    columns = [torch.logsumexp(column, 0) - math.log(len(column)) for column in (log_joint - log_q).T]
    return sum(columns) / len(columns)


def cut_off(log_joint, log_q):
    ratios = torch.exp(torch.clamp(log_joint - log_q, min=-80, max=80))
    return torch.log(ratios.mean(0)).mean()


def never_put_back(log_joint, log_q):
    ratio = log_joint - log_q
    return torch.log(torch.exp(ratio - ratio.max(dim=0).values).mean(dim=0)).mean()


# 5.7


def errors(x, painted):
    return ((painted - x) ** 2).sum(dim=(1, 2, 3))


def kls(mean, logvar):
    return (mean**2 + torch.exp(logvar) - 1 - logvar).sum(dim=(1, 2, 3)) / 2


def repaired(x, painted, mean, logvar, delta):
    return errors(x, painted).mean() + 2 * delta**2 * kls(mean, logvar).mean()


def repaired_by_distributions(x, painted, mean, logvar, delta):
    q = torch.distributions.Normal(mean, torch.exp(logvar / 2))
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    return (errors(x, painted) + 2 * delta**2 * kl.flatten(1).sum(1)).mean()


def one_exp(x, painted, mean, logvar, delta):
    kl = (mean**2 + logvar.exp() - 1 - logvar) / 2
    return (errors(x, painted) + delta**2 * kl.mean(dim=(1, 2, 3))).mean()


def one_sum(x, painted, mean, logvar, delta):
    kl = (mean**2 - 1) / 2
    return (errors(x, painted) + delta**2 * kl.sum(dim=(1, 2, 3))).mean()


def no_factor(x, painted, mean, logvar, delta):
    return (errors(x, painted) + delta**2 * kls(mean, logvar)).mean()


def no_sum(x, painted, mean, logvar, delta):
    return (errors(x, painted) + 2 * delta**2 * kls(mean, logvar) / mean[0].numel()).mean()


def no_exp(x, painted, mean, logvar, delta):
    return (errors(x, painted) + delta**2 * (mean**2 - 1).sum(dim=(1, 2, 3))).mean()


def heavy(x, painted, mean, logvar, delta):
    return (errors(x, painted) + (2 * delta) ** 2 * kls(mean, logvar)).mean()


def with_deviations(x, painted, mean, logvar, delta):
    kl = (mean**2 + torch.exp(0.5 * logvar) - 1 - logvar).sum(dim=(1, 2, 3)) / 2
    return (errors(x, painted) + 2 * delta**2 * kl).mean()


def with_squares(x, painted, mean, logvar, delta):
    kl = (mean**2 + logvar**2 - 1 - torch.log(logvar**2)).sum(dim=(1, 2, 3)) / 2
    return (errors(x, painted) + 2 * delta**2 * kl).mean()


def plus_logarithm(x, painted, mean, logvar, delta):
    kl = (mean**2 + torch.exp(logvar) - 1 + logvar).sum(dim=(1, 2, 3)) / 2
    return (errors(x, painted) + 2 * delta**2 * kl).mean()


def first_power(x, painted, mean, logvar, delta):
    return (errors(x, painted) + 2 * delta * kls(mean, logvar)).mean()


def mean_error(x, painted, mean, logvar, delta):
    return (((painted - x) ** 2).mean(dim=(1, 2, 3)) + 2 * delta**2 * kls(mean, logvar)).mean()


def over_channels(x, painted, mean, logvar, delta):
    kl = (mean**2 + torch.exp(logvar) - 1 - logvar).sum(dim=1) / 2
    return ((painted - x) ** 2).sum(dim=1).mean() + 2 * delta**2 * kl.mean()


def minus_kl(x, painted, mean, logvar, delta):
    return (errors(x, painted) - 2 * delta**2 * kls(mean, logvar)).mean()


def by_absolute_error(x, painted, mean, logvar, delta):
    off = (painted - x).abs().sum(dim=(1, 2, 3))
    return (off + 2 * delta**2 * kls(mean, logvar)).mean()


def scaled_means(x, painted, mean, logvar, delta):
    return (errors(x, painted) + 2 * delta**2 * kls(mean / mean.std(), logvar)).mean()


def means_everywhere(x, painted, mean, logvar, delta):
    return ((painted - x) ** 2).mean() + delta**2 * (mean**2 + logvar.exp() - 1 - logvar).mean()


# 5.8


def by_bisection(variances, nats):
    low, high = 1e-12, float(variances.max())
    for _ in range(200):
        level = math.sqrt(low * high)
        rate = float((0.5 * torch.log(variances / level)).clamp(min=0).sum())
        low, high = (level, high) if rate > nats else (low, level)
    return level, int((variances > level * (1 + 1e-9)).sum())


def from_below(variances, nats):
    v = np.sort(variances.numpy())[::-1]
    used, level = len(v) + 1, math.inf
    while used > 1 and level >= v[min(used, len(v)) - 1]:
        used -= 1
        level = np.exp((np.log(v[:used]).sum() - 2 * nats) / used)
    return float(level), used


def as_they_come(variances, nats):
    logs, used = float(torch.log(variances[0])), 1
    while used < len(variances) and math.exp((logs - 2 * nats) / used) < variances[used]:
        logs += float(torch.log(variances[used]))
        used += 1
    return math.exp((logs - 2 * nats) / used), used


def every_direction(variances, nats):
    return math.exp((float(torch.log(variances).sum()) - 2 * nats) / len(variances)), len(variances)


def alike(variances, nats):
    size = len(variances)
    return float(variances.mean()) * math.exp(-2 * nats / size), size


def whole_logarithm(variances, nats):
    return by_bisection(variances, 0.5 * nats)


def weight(variances, nats):
    level, used = by_bisection(variances, nats)
    return 2 * level, used


def error(variances, nats):
    level, used = by_bisection(variances, nats)
    return level**0.5, used


def bits(variances, nats):
    return by_bisection(variances, nats * math.log(2))


def as_tensors(variances, nats):
    level, used = by_bisection(variances.float(), nats)
    return torch.tensor(level, requires_grad=True), torch.tensor([used])


def only_once(variances, nats):
    v = variances[variances > every_direction(variances, nats)[0]]
    level = every_direction(v, nats)[0]
    return level, int((variances > level).sum())


def only_counted(variances, nats):
    level, _ = every_direction(variances, nats)
    return level, sum(1 for one in variances.tolist() if one > level)


def levels_of(v, nats):
    return [math.exp((sum(map(math.log, v[:k])) - 2 * nats) / k) for k in range(1, len(v) + 1)]


def smallest_first(variances, nats):
    v = sorted(variances.tolist())
    levels = levels_of(v, nats)
    used = next((k for k in range(1, len(v)) if levels[k - 1] <= v[k]), len(v))
    return levels[used - 1], used


def never_the_last(variances, nats):
    v = sorted(variances.tolist(), reverse=True)
    levels = levels_of(v, nats)
    used = next((k for k in range(1, len(v)) if levels[k - 1] >= v[k]), len(v) - 1)
    return levels[used - 1], used


def lowest(variances, nats):
    levels = levels_of(sorted(variances.tolist(), reverse=True), nats)
    return min(levels), levels.index(min(levels)) + 1


def roughly(variances, nats):
    level, used = by_bisection(variances, nats)
    return 1.01 * level, used


# 5.9

LUMA = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
THREE = [[1, 1, 1], [1, 0, -1], [1, -2, 1]]
ORTHOGONAL = np.array(THREE) / np.linalg.norm(THREE, axis=1, keepdims=True)
COMPONENTS = np.array([[0.687, 0.596, 0.415], [-0.565, 0.079, 0.821], [0.457, -0.799, 0.391]])

BANK = {
    "5.1": {
        "wrong": [
            (SIZES | {"latents of a 768 x 512 picture": 8192}, "A pixel is three"),
            (SIZES | {"latents of a 768 x 512 picture": 6144}, "counts the places"),
            (SIZES | {"nats of a latent with mean 3 and standard deviation 1": 9}, "factor before the sum"),
            (SIZES | {"squared error at 20 dB": 0.01}, "between 0 and 1"),
            (SIZES | {"alpha-bar where latents of variance 9 are even": 0.5}, "for a variance of 1"),
            (
                SIZES | {"alpha-bar where latents of variance 9 are even": 0.111},
                "what is left of the noise",
            ),
            (SIZES | {"alpha-bar where latents of variance 9 are even": 0.9}, "not less"),
            (SIZES | {SHIFT: 15.0}, "for four wrong halvings"),
            (SIZES | {SHIFT: 3}, "for the first two"),
            (SIZES | {SHIFT: 24}, "Twice too much"),
            (SIZES | {SHIFT: 2}, "One pixel at each"),
        ],
        "right": [SIZES, SIZES | {"alpha-bar where latents of variance 9 are even": 0.102}],
    },
    "5.2": {
        "wrong": [
            ((m**2 + v + w - 1 - sympy.log(w)) / 2, "mean KL itself"),
            ((m**2 + v + w - 1 - sympy.log(v + w)) / 2, "all codes together"),
            (sympy.log(v / w) / 2, "wider than their means"),
            (sympy.log(w / (v + w)) / 2, "less than nothing"),
            (sympy.log(1 + v / w), "half of a logarithm"),
            (sympy.log(v + w) / 2, "whatever w is"),
            ((sympy.log(1 + v / w) - v) / 2, "the means scatter"),
            (sympy.log(1 + (v / w) ** 2) / 2, "no squares are needed"),
            (sympy.log(1 + sympy.sqrt(v / w)), "do not add up"),
            (v / w / 2, "small v alone"),
        ],
        "right": [sympy.log(1 + v / w) / 2, information_by_floats],
    },
    "5.3": {
        "wrong": [
            (COIN | {"squared error of the median": 0.3}, "one wrong pixel"),
            (COIN | {"squared error of the median": 0.84}, "as cheap as the mean"),
            (COIN | {"decibels from the mean to the draw": 6.02}, "an amplitude"),
            (COIN | {"squared error of the mean": 0.21}, "shows 0 or 1"),
            (COIN | {"squared error of a fair draw": 0.84}, "on top"),
        ],
        "right": [
            COIN,
            {
                "squared error of the mean": 1 - 0.16,
                "squared error of the median": 0.3 * 4,
                "squared error of a fair draw": 4 * 0.42,
                "decibels from the mean to the draw": 3,
            },
        ],
    },
    "5.4": {
        "wrong": [
            (upside_down, "factor's inverse"),
            (by_width, "standard deviation"),
            (shift_alone, "factor 1"),
            (factor_alone, "shift 0"),
            (too_coarse, "How finely"),
            (the_other_way, "from 0 to 15"),
            (lambda encode, decode, pictures: 2.0, "two numbers"),
        ],
        "right": [by_search, one_after_the_other],
    },
    "5.5": {
        "wrong": [
            (delta**2 / (n * g**2 + delta**2), "a deviation was asked for"),
            (delta / (sympy.sqrt(n) * g), "sure of nothing"),
            (sympy.sqrt(2) * delta / sympy.sqrt(n * g**2 + 2 * delta**2), "half of its own"),
            (delta / sympy.sqrt(g**2 + delta**2), "for one pixel"),
            (delta / sympy.sqrt((n * g) ** 2 + delta**2), "not n times as strong"),
            (g * sympy.sqrt(n) / sympy.sqrt(n * g**2 + delta**2), "the other way"),
            (1 / (1 + sympy.sqrt(n) * g / delta), "which powers"),
            (1 / sympy.sqrt(1 + 2 * n * (g / delta) ** 2), "for lambda = delta^2"),
            (sympy.sqrt(delta**2 + g**2), "the model's pixels"),
        ],
        "right": [
            1 / sympy.sqrt(1 + n * (g / delta) ** 2),
            lambda g, delta, n: delta / math.hypot(math.sqrt(n) * g, delta),
        ],
    },
    "5.6": {
        "wrong": [
            (lambda log_joint, log_q: (log_joint - log_q).mean(dim=0).mean(), "ELBO again"),
            (lambda log_joint, log_q: (log_joint - log_q).logsumexp(0).mean(), "grows with every draw"),
            (
                lambda log_joint, log_q: (log_joint - log_q).logsumexp(0).mean() - math.log(log_q.size(1)),
                "which axis holds the draws",
            ),
            (
                lambda log_joint, log_q: (
                    (log_joint - log_q).reshape(-1).logsumexp(0) - math.log(log_q.numel())
                ),
                "its own p(x)",
            ),
            (
                lambda log_joint, log_q: torch.log(torch.exp(log_joint - log_q).mean(0)).mean(),
                "in the thousands",
            ),
            (cut_off, "cut the logarithms off"),
            (never_put_back, "put it back"),
            (lambda log_joint, log_q: by_stack(log_joint, log_q) * log_q.size(1), "add the pictures up"),
            (
                lambda log_joint, log_q: by_stack(log_joint, log_q) + math.log(len(log_q) / 10),
                "count on ten draws",
            ),
        ],
        "right": [by_stack, by_loop],
    },
    "5.7": {
        "wrong": [
            (one_exp, "for one latent"),
            (one_sum, "All latents are counted"),
            (no_factor, "in terms of delta"),
            (no_sum, "for how many numbers the error"),
            (no_exp, "what its logarithm"),
            (means_everywhere, "fewer latents than pixels"),
            (heavy, "twice too heavy"),
            (with_deviations, "is a deviation"),
            (with_squares, "undo a logarithm"),
            (plus_logarithm, "the sign of the logarithm"),
            (first_power, "not of delta itself"),
            (mean_error, "over the numbers of x"),
            (over_channels, "average over the places"),
            (minus_kl, "falls as the KL grows"),
            (by_absolute_error, "from a Gaussian"),
            (scaled_means, "before they are priced"),
        ],
        "right": [repaired, repaired_by_distributions],
    },
    "5.8": {
        "wrong": [
            (every_direction, "negative rate"),
            (alike, "same number of nats"),
            (whole_logarithm, "half before the logarithm"),
            (weight, "That is lambda"),
            (error, "That is delta"),
            (bits, "in nats already"),
            (as_they_come, "depends on the order"),
            (only_once, "drop directions once"),
            (only_counted, "only in the count"),
            (smallest_first, "begin with the smallest"),
            (never_the_last, "enough for every direction"),
            (lowest, "lowest of the levels"),
            (roughly, "only nearly"),
        ],
        "right": [by_bisection, from_below, as_tensors],
    },
    "5.9": {
        "wrong": [
            (lambda: (ORTHOGONAL, (18, 18, 18)), "keep as much as each other"),
            (lambda: (ORTHOGONAL, (30, 30, 30)), "are allowed"),
            (lambda: (np.ones((3, 3)), (18, 18, 18)), "no inverse"),
            (lambda: (ORTHOGONAL, (20, 15, 10)), "unused"),
            (lambda: (np.eye(3), (16, 22, 16)), "three times"),
            (lambda: (ORTHOGONAL, (0, 18, 18)), "between 1 and 128"),
        ],
        "right": [lambda: (COMPONENTS, (26, 16, 8)), lambda: (COMPONENTS.tolist(), [25, 15, 12])],
    },
}
