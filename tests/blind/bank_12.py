"""Answers to chapter 12's exercises, all written before any of them was judged."""

from fractions import Fraction

import numpy as np
import sympy
import torch
import torch.nn.functional as F
from einops import rearrange, reduce

from minisd.teaching.exercises.ch12 import kind_vectors

BANK = {}


# ---- 12.1

ALL = {"calls": 24, "work": 1.12, "tensors": 13, "matrix": 57_671_680, "numbers": 46_592}


def but(**changes):
    return ALL | changes


BANK["12.1"] = {
    "wrong": [
        but(calls=12),  # without guidance
        but(calls=80),  # all steps
        but(calls=40),  # all steps, without guidance
        but(calls=56),  # the steps without a plan, twice
        but(calls=28),
        but(work=1.4),  # all steps
        but(work=0.12),  # the surplus
        but(work=1.24),  # counted twice for guidance
        but(work=0.7),
        but(work=1.3),
        but(tensors=12),  # without the middle
        but(tensors=11),
        but(tensors=14),  # the lowest halves, too
        but(tensors=10),  # layers, and the middle
        but(tensors=9),
        but(matrix=11 * 64 * 64 * 320),  # to the first convolution's channels
        but(matrix=64 * 64 * 1280),  # one plane
        but(matrix=11 * 1280),  # one place
        but(matrix=11 * 64 * 64),  # what goes in
        but(matrix=31_680),  # by concatenation
        but(matrix=11 * 64 * 1280),  # one row
        but(numbers=39_424),  # without the middle
        but(numbers=43_008),
        but(numbers=32_256),  # without conv_in's
        but(numbers=5_120),  # places of channels, wrong
        but(calls=12, work=1.4),
        but(tensors=12, numbers=39_424),  # the middle forgotten twice
    ],
    "right": [
        ALL,
        but(calls=24.0, tensors=13.0),
        but(work=Fraction(28, 25)),
        but(matrix=np.int64(57_671_680), work=np.float64(1.12)),
        but(numbers=56 * 16 * 16 * 2 + 56 * 8 * 8 + 2 * 112 * 8 * 8),
        but(work=1 + 0.4 * 12 / 40),
    ],
}


# ---- 12.2

a, d, e = sympy.symbols("a d e", positive=True)
AND = (a - d) * (a - e)

BANK["12.2"] = {
    "wrong": [
        AND / a**2,
        AND / (2 * a**2),
        AND / (2 * a**2 + AND),
        (a - d - e) / (a + d + e),
        (a - d) * (a - e) / ((a + d) * (a + e)),  # over the box around both
        1 - d * e / a**2,
        (a**2 - d * e) / (a**2 + d * e),
        (a - sympy.sqrt(d**2 + e**2)) / (a + sympy.sqrt(d**2 + e**2)),
        2 * AND / (2 * a**2 - AND),
        1 - AND / (2 * a**2 - AND),
        (2 * a**2 - AND) / AND,
        (a - d) ** 2 / (2 * a**2 - (a - d) ** 2),
        AND / (a**2 - AND),
        AND,
    ],
    "right": [
        AND / (2 * a**2 - AND),
        AND / (a**2 + a * d + a * e - d * e),
        sympy.simplify(AND / (2 * a**2 - AND)),
        1 / (2 * a**2 / AND - 1),
        (1 - d / a) * (1 - e / a) / (2 - (1 - d / a) * (1 - e / a)),
    ],
}


# ---- 12.3


share, k, w = sympy.symbols("a k w", positive=True)
MANY = k * share / (1 + (k - 1) * share)
PLUS = sympy.log(w) - sympy.log(1 - w) + sympy.log(1 - share) - sympy.log(share)
RATIO = share / (1 - share)

BANK["12.3"] = {
    "wrong": [
        (k * share, PLUS, RATIO),
        (share, PLUS, RATIO),
        (share + k, PLUS, RATIO),
        (share**k, PLUS, RATIO),
        (k * share / (1 + k * share), PLUS, RATIO),
        (share / (share + k * (1 - share)), PLUS, RATIO),  # the words k times
        (k * share / (k * share + 1 - k * share), PLUS, RATIO),
        ((k + 1) * share / (1 + k * share), PLUS, RATIO),  # one more than k
        (1 - MANY, PLUS, RATIO),
        (MANY, w - share, RATIO),
        (MANY, w / share, RATIO),
        (MANY, sympy.log(w / share), RATIO),
        (MANY, -PLUS, RATIO),
        (MANY, sympy.exp(PLUS), RATIO),
        (MANY, sympy.log(w / (1 - w)), RATIO),  # as if both were equally loud
        (MANY, PLUS / k, RATIO),
        (MANY, sympy.log(k), RATIO),
        (MANY, PLUS, share),
        (MANY, PLUS, 1 - share),
        (MANY, PLUS, (1 - share) / share),
        (MANY, PLUS, sympy.Integer(1)),
        (MANY, PLUS, share * (1 - share)),
        (MANY, PLUS, k * RATIO),  # with the copies
        (MANY, PLUS),
        MANY,
    ],
    "right": [
        (MANY, PLUS, RATIO),
        [MANY, PLUS, RATIO],
        (
            1 / (1 + (1 - share) / (k * share)),
            sympy.log(w * (1 - share) / (share * (1 - w))),
            1 / (1 / share - 1),
        ),
        lambda a, k, w: (k * a / (k * a + 1 - a), np.log(w / (1 - w)) - np.log(a / (1 - a)), a / (1 - a)),
    ],
}


# ---- 12.4

ab, s = sympy.symbols("ab s", positive=True)
q = ab / (1 - ab)  # signal to noise
PLAIN, HINTED = ab, ab * s**2 / (s**2 + 1 - ab)
TOP = 1 + s**2 - s * sympy.sqrt(1 + s**2)

BANK["12.4"] = {
    "wrong": [
        (1 - ab, s**2 * (1 - ab) / (s**2 + 1 - ab), 1 - s),  # of x_0
        (1 - ab, HINTED, TOP),
        (sympy.Integer(1), HINTED, TOP),
        (sympy.sqrt(ab), HINTED, TOP),
        (PLAIN, q / (q + 1 / s**2), TOP),  # without the prior
        (PLAIN, q / (1 + q + 1 / s), TOP),
        (PLAIN, q / (1 + q + s**2), TOP),
        (PLAIN, q / (1 + 2 * q), TOP),
        (PLAIN, s**2 * (1 - ab) / (s**2 + 1 - ab), TOP),
        (PLAIN, PLAIN - HINTED, TOP),  # the worth itself
        (PLAIN, PLAIN * s**2 / (1 + s**2), TOP),
        (PLAIN, sympy.Integer(0), TOP),  # as if c were clean
        (PLAIN, HINTED, 1 - TOP),
        (PLAIN, HINTED, 1 + s**2 + s * sympy.sqrt(1 + s**2)),
        (PLAIN, HINTED, sympy.Rational(1, 2)),
        (PLAIN, HINTED, sympy.Integer(0)),
        (PLAIN, HINTED, sympy.Integer(1)),
        (PLAIN, HINTED, (1 + s**2) / 2),
        (PLAIN, HINTED),
        (HINTED, PLAIN, TOP),
        HINTED,
    ],
    "right": [
        (PLAIN, HINTED, TOP),
        [PLAIN, HINTED, TOP],
        (q / (1 + q), sympy.simplify(q / (1 + q + 1 / s**2)), sympy.expand(TOP)),
        (ab, ab / (1 + (1 - ab) / s**2), 1 - s * (sympy.sqrt(1 + s**2) - s)),
    ],
}


# ---- 12.5


def of(more, order="behind"):
    def answer(kernel, W):
        new = more(kernel, W)
        return torch.cat([new, kernel] if order == "before" else [kernel, new], dim=1)

    return answer


def centre(kernel, W):
    k = kernel.shape[-1]
    new = kernel.new_zeros(W.shape[0], W.shape[1], k, k)
    new[..., k // 2, k // 2] = W
    return new


def spread(kernel, W):
    k = kernel.shape[-1]
    return W[:, :, None, None].repeat(1, 1, k, k) / (k * k)


def full(kernel, W):
    k = kernel.shape[-1]
    return W[:, :, None, None].repeat(1, 1, k, k)


def by_einsum(kernel, W):
    k = kernel.shape[-1]
    delta = torch.zeros(k, k)
    delta[k // 2, k // 2] = 1
    return torch.cat([kernel, torch.einsum("od,hw->odhw", W, delta)], dim=1)


def padded(kernel, W):
    pad = (kernel.shape[-1] - 1) // 2
    return torch.cat([kernel, F.pad(rearrange(W, "o d -> o d 1 1"), (pad, pad, pad, pad))], dim=1)


def in_place(kernel, W):
    out, inputs, k, _ = kernel.shape
    new = torch.empty(out, inputs + W.shape[1], k, k)
    new[:, :inputs] = kernel
    new[:, inputs:] = 0
    new[:, inputs:, k // 2, k // 2] += W
    return new


BANK["12.5"] = {
    "wrong": [
        of(spread),
        of(full),
        of(centre, "before"),
        of(spread, "before"),
        of(lambda kernel, W: 0 * full(kernel, W)),
        of(lambda kernel, W: centre(kernel, W) * kernel.shape[-1] ** 2),
        of(lambda kernel, W: centre(kernel, W) / kernel.shape[-1] ** 2),
        of(lambda kernel, W: centre(kernel, W).roll(1, -1)),
        of(lambda kernel, W: centre(kernel, W).roll((-1, -1), (-2, -1))),
        of(lambda kernel, W: -centre(kernel, W)),
        of(lambda kernel, W: centre(kernel, W).flip(1)),
        lambda kernel, W: kernel,
        lambda kernel, W: centre(kernel, W),
        lambda kernel, W: torch.cat([kernel, W[:, :, None, None]], dim=1),
        lambda kernel, W: torch.cat([kernel, centre(kernel, W)], dim=0),
        of(lambda kernel, W: centre(kernel, W) / W.shape[1]),
        of(lambda kernel, W: full(kernel, W) * kernel.mean(dim=1, keepdim=True)),
    ],
    "right": [of(centre), by_einsum, padded, in_place],
}


# ---- 12.6

STEPS = {
    "first": 3,
    "first, blank latents": 3,
    "first, entrance Gaussian": 2,
    "first, exits Gaussian": 2,
    "copy, exits Gaussian": 1,
    "entrance, both Gaussian": 1,
    "pair, weight": 0,
    "pair, bias": 1,
}


def step(name, value):
    return STEPS | {name: value}


BANK["12.6"] = {
    "wrong": [
        step("first, blank latents", 0),
        step("first, blank latents", 2),
        step("first, blank latents", 4),
        step("copy, exits Gaussian", 0),
        step("copy, exits Gaussian", 2),
        step("entrance, both Gaussian", 0),
        step("entrance, both Gaussian", 2),
        step("first", 1),
        step("first", 2),
        step("first", 4),
        step("first", 0),
        step("first, entrance Gaussian", 1),
        step("first, entrance Gaussian", 3),
        step("first, exits Gaussian", 1),
        step("first, exits Gaussian", 3),
        step("pair, weight", 1),
        step("pair, weight", 2),
        step("pair, weight", 3),
        step("pair, bias", 0),
        step("pair, bias", 2),
        STEPS | {"first": 2, "first, blank latents": 2},  # one step too early
        STEPS | {"first": 2, "first, entrance Gaussian": 1, "first, exits Gaussian": 1},
    ],
    "right": [STEPS, {name: float(value) for name, value in STEPS.items()}, list(STEPS.values())],
}


# ---- 12.7


def planes_of(labels, kinds):
    return rearrange(F.one_hot(labels, kinds), "b h w k -> b k h w").float()


def area(labels, kinds, size):
    return F.adaptive_avg_pool2d(planes_of(labels, kinds), size)


def pooled(labels, kinds, size):
    return F.avg_pool2d(planes_of(labels, kinds), 8)


def reduced(labels, kinds, size):
    return reduce(planes_of(labels, kinds), "b k (h i) (w j) -> b k h w", "mean", i=8, j=8)


def numbers(labels, kinds, size, mode="bilinear"):
    small = F.interpolate(labels[:, None].float(), size, mode=mode)[:, 0].round().long()
    return planes_of(small, kinds)


def resized(mode):
    return lambda labels, kinds, size: F.interpolate(planes_of(labels, kinds), size, mode=mode)


def biggest(labels, kinds, size):
    return planes_of(area(labels, kinds, size).argmax(dim=1), kinds)


def summed(labels, kinds, size):
    return 64 * area(labels, kinds, size)


def signed(labels, kinds, size):
    return 2 * area(labels, kinds, size) - 1


def each_own(planes, dropped):
    planes = planes.clone()
    planes[dropped] = 0
    return planes


def by_product(planes, dropped):
    return planes * (~dropped).float()[:, None, None, None]


def all_of_them(planes, dropped):
    return torch.zeros_like(planes) if dropped.any() else planes


def kept_only(planes, dropped):
    return by_product(planes, ~dropped)


def nobody(planes, dropped):
    return planes


def made(shrink=area, drop=each_own, noise="latents", first="latents"):
    def answer(z0, labels, add_noise, dropped, kinds):
        planes = drop(shrink(labels, kinds, z0.shape[2:]), dropped)
        if noise == "both":
            return add_noise(torch.cat([z0, planes], dim=1))
        if noise == "each":
            return torch.cat([add_noise(z0), add_noise(planes)], dim=1)
        if noise == "none":
            return torch.cat([z0, planes], dim=1)
        if noise == "plan":
            return torch.cat([z0, add_noise(planes)], dim=1)
        parts = [add_noise(z0), planes]
        return torch.cat(parts if first == "latents" else parts[::-1], dim=1)

    return answer


def latents_dropped(z0, labels, add_noise, dropped, kinds):
    seen = torch.cat([add_noise(z0), area(labels, kinds, z0.shape[2:])], dim=1)
    return each_own(seen, dropped)


def dropped_before_averaging(z0, labels, add_noise, dropped, kinds):
    planes = planes_of(labels, kinds)
    planes[dropped] = 0.0
    return torch.cat([add_noise(z0), F.interpolate(planes, z0.shape[2:], mode="area")], dim=1)


def labels_dropped(z0, labels, add_noise, dropped, kinds):
    labels = labels * ~dropped[:, None, None]  # all becomes part 0
    return torch.cat([add_noise(z0), area(labels, kinds, z0.shape[2:])], dim=1)


def antialiased(labels, kinds, size):
    return F.interpolate(planes_of(labels, kinds), size, mode="bilinear", antialias=True)


def picture_by_picture(z0, labels, add_noise, dropped, kinds):
    planes = []
    for one, drop in zip(labels, dropped):
        plane = torch.stack([(one == k).float() for k in range(kinds)])
        plane = plane.reshape(kinds, z0.shape[2], 8, z0.shape[3], 8).mean(dim=(2, 4))
        planes.append(torch.zeros_like(plane) if drop else plane)
    return torch.cat([add_noise(z0), torch.stack(planes)], dim=1)


BANK["12.7"] = {
    "wrong": [
        made(noise="both"),
        made(drop=all_of_them),
        made(numbers),
        made(numbers, all_of_them),
        made(numbers, noise="both"),
        made(drop=all_of_them, noise="both"),
        made(resized("nearest")),
        made(resized("bilinear")),
        made(resized("bicubic")),
        made(lambda labels, kinds, size: numbers(labels, kinds, size, "nearest")),
        made(lambda labels, kinds, size: numbers(labels, kinds, size, "area")),
        made(biggest),
        made(summed),
        made(signed),
        made(antialiased),
        made(drop=kept_only),
        made(drop=nobody),
        made(noise="each"),
        made(noise="none"),
        made(noise="plan"),
        made(first="planes"),
        latents_dropped,
        labels_dropped,
        made(resized("nearest"), noise="both"),
        made(resized("nearest"), all_of_them),
    ],
    "right": [made(), made(pooled), made(reduced, by_product), dropped_before_averaging, picture_by_picture],
}


# ---- 12.8


def to_size(mask, size):
    return F.interpolate(mask, size, mode="area")


def mixed(mask_of=to_size, mix=lambda m, one, two: m * one + (1 - m) * two, middle=None):
    def answer(first, second, mask):
        def put(one, two):
            return mix(mask_of(mask, one.shape[2:]), one, two)

        return [put(one, two) for one, two in zip(first[0], second[0])], (middle or put)(first[1], second[1])

    return answer


def rounded(mask, size):
    return to_size(mask, size).round()


def maximum(mask, size):
    return F.adaptive_max_pool2d(mask, size)


def bilinear(mask, size):
    return F.interpolate(mask, size, mode="bilinear")


def mean_of_all(mask, size):
    return mask.mean()


def kept_as_it_is(mask, size):
    return mask


def together(first, second, mask):
    everything = [[*residuals, middle] for residuals, middle in (first, second)]
    out = []
    for one, two in zip(*everything):
        k = mask.shape[-1] // one.shape[-1]
        m = F.avg_pool2d(mask, k) if k > 1 else mask
        out.append(torch.lerp(two, one, m.expand_as(one)))
    return out[:-1], out[-1]


def step_by_step(first, second, mask):
    residuals = []
    for i in range(len(first[0])):
        m = to_size(mask, first[0][i].shape[-2:])
        residuals.append(second[0][i] + m * (first[0][i] - second[0][i]))
    m = to_size(mask, first[1].shape[-2:])
    return residuals, second[1] + m * (first[1] - second[1])


def as_one_list(first, second, mask):
    residuals, middle = mixed()(first, second, mask)
    return [*residuals, middle]


def exchanged_middle(first, second, mask):
    residuals, _ = mixed()(first, second, mask)
    return residuals, mixed()(second, first, mask)[1]


def last_forgotten(first, second, mask):
    residuals, middle = mixed()(first, second, mask)
    return residuals[:-1], middle


BANK["12.8"] = {
    "wrong": [
        mixed(mix=lambda m, one, two: (1 - m) * one + m * two),
        mixed(mix=lambda m, one, two: one + two),
        mixed(mix=lambda m, one, two: (one + two) / 2),
        mixed(mix=lambda m, one, two: m * one),
        mixed(mix=lambda m, one, two: one),
        mixed(mix=lambda m, one, two: two),
        mixed(mix=lambda m, one, two: m * one + two),
        mixed(mix=lambda m, one, two: m * (one + two)),
        mixed(mix=lambda m, one, two: m * one - (1 - m) * two),
        mixed(lambda mask, size: F.interpolate(mask, size, mode="nearest")),
        mixed(rounded),
        mixed(maximum),
        mixed(bilinear),
        mixed(mean_of_all),
        mixed(kept_as_it_is),
        mixed(lambda mask, size: mask[..., : size[0], : size[1]]),
        mixed(middle=lambda one, two: one),
        mixed(middle=lambda one, two: two),
        mixed(middle=lambda one, two: one + two),
        mixed(middle=lambda one, two: (one + two) / 2),
        as_one_list,
        exchanged_middle,
        last_forgotten,
    ],
    "right": [mixed(), together, step_by_step, mixed(lambda mask, size: F.adaptive_avg_pool2d(mask, size))],
}


# ---- 12.9


def blank():
    return np.zeros((128, 128), int)


def lines(across=0, down=0, step=1):
    """Walls, floor and roof of a house whose middle should be at row 74, column 50."""
    drawn = blank()
    drawn[70 + down : 100 + down : step, 31 + across] = 1
    drawn[70 + down : 100 + down : step, 69 + across] = 1
    drawn[99 + down, 31 + across : 70 + across : step] = 1
    for i in range(0, 28, step):
        drawn[46 + down + i, 50 + across - i] = drawn[46 + down + i, 50 + across + i] = 1
    return drawn


def with_door():
    drawn = lines()
    drawn[85:99, [47, 53]] = 1
    return drawn


def filled():
    drawn = blank()
    drawn[46:100, 31:70] = 1
    return drawn


BANK["12.9"] = {
    "wrong": [
        blank(),
        blank,
        lines(across=38),
        lambda: lines(across=30),
        lines().T,  # rows and columns exchanged
        filled(),  # a solid shape
        1 - lines(),  # black lines on white
        lines()[:, :100],
        np.repeat(lines()[..., None], 3, axis=-1),
        255 * lines(),
        0.5 * lines(),
        lines().astype(float) - 1,
        np.pad(lines(), 1),
        "a house",
    ],
    "right": [
        lines(),
        lines,
        lambda: lines().astype(bool),
        lines().tolist(),
        with_door,
        lines().astype(float),
    ],
}


# ---- 12.10


def four():
    """The vectors of the four kinds, as the exercise's first cell makes them."""
    return kind_vectors().numpy()


def pairs_of(vectors):
    return np.stack([vectors[i] - vectors[j] for i in range(4) for j in range(i + 1, 4)])


def after_the_norm(vectors, order):
    grouped = vectors[:, order].reshape(len(vectors), 8, 4)
    return (grouped - grouped.mean(-1, keepdims=True)).reshape(len(vectors), 32)


def lengths(vectors):
    return np.linalg.norm(vectors, axis=1)


def searched(score, tries=1500, seed=0):
    """The best order of a search that exchanges two channels at a time."""
    rng, order = np.random.default_rng(seed), list(range(32))
    best = score(order)
    for _ in range(tries):
        i, j = rng.choice(32, size=2, replace=False)
        order[i], order[j] = order[j], order[i]
        found = score(order)
        if found >= best:
            best = found
        else:
            order[i], order[j] = order[j], order[i]
    return order


def least_share(order):
    pairs = pairs_of(four())
    return (lengths(after_the_norm(pairs, order)) / lengths(pairs)).min()


def mean_share(order):
    pairs = pairs_of(four())
    return (lengths(after_the_norm(pairs, order)) / lengths(pairs)).mean()


def least_length(order):
    return (lengths(after_the_norm(four(), order)) / lengths(four())).min()


def of_their_mean(order):
    mean = four().mean(0, keepdims=True)
    return lengths(after_the_norm(mean, order))[0]


def of_one_pair(i, j):
    vectors = four()
    pair = vectors[i : i + 1] - vectors[j : j + 1]
    return lambda order: lengths(after_the_norm(pair, order))[0]


def in_turns(values):
    """Ranked, then dealt to the groups to and fro, as teams are chosen."""
    ranked = np.argsort(values).reshape(4, 8)
    ranked[1::2] = ranked[1::2, ::-1]
    return ranked.T.ravel()


def of_many_drawn(tries=200):
    rng = np.random.default_rng(5)
    return max((rng.permutation(32).tolist() for _ in range(tries)), key=least_share)


FOUND = searched(least_share)
BY_MEAN = searched(mean_share)

BANK["12.10"] = {
    "wrong": [
        list(range(32)),
        list(range(31, -1, -1)),
        np.arange(32).reshape(4, 8).T.ravel().tolist(),  # every eighth
        np.arange(32).reshape(8, 4).T.ravel().tolist(),  # every fourth
        np.argsort(four()[0]).tolist(),
        np.argsort(four()[0] - four()[1]).tolist(),
        np.argsort(-(four() ** 2).sum(0)).tolist(),
        in_turns(four().sum(0)).tolist(),
        in_turns(four()[0] - four()[1]).tolist(),
        searched(least_length),
        searched(of_their_mean),
        searched(of_one_pair(0, 1)),
        searched(of_one_pair(2, 3)),
        searched(least_share, 50),
        of_many_drawn(),
        np.random.default_rng(3).permutation(32).tolist(),
        np.argsort(FOUND).tolist(),  # where each channel goes
        [i + 1 for i in FOUND],
        FOUND[:31],
        [FOUND[0], *FOUND[:31]],
        np.reshape(FOUND, (8, 4)).tolist(),
        np.eye(32)[FOUND].tolist(),  # as a matrix
        [float(i) / 32 for i in FOUND],
        "as it is",
    ],
    "right": [
        FOUND,
        BY_MEAN,
        np.array(FOUND),
        lambda: FOUND,
        [float(i) for i in FOUND],
        np.reshape(FOUND, (8, 4))[::-1].ravel().tolist(),  # the groups in another order
        np.reshape(FOUND, (8, 4))[:, ::-1].ravel().tolist(),  # the channels of each group, too
    ],
}
