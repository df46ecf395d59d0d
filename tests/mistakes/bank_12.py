"""Chapter 12: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import functools

import numpy as np
import sympy
import torch
import torch.nn.functional as F

from minisd.teaching.exercises import ch12

# 12.1

COSTS = {"calls": 24, "work": 1.12, "tensors": 13, "matrix": 57_671_680, "numbers": 46_592}

# 12.2

a, d, e = sympy.symbols("a d e", positive=True)
common = (a - d) * (a - e)

# 12.3


share, copies, aim = sympy.symbols("a k w", positive=True)
COPIED = copies * share / (1 - share + copies * share)
ADDED = sympy.log(aim * (1 - share) / (share * (1 - aim)))
SCALE = share / (1 - share)

# 12.4

ab, s = sympy.symbols("ab s", positive=True)
snr = ab / (1 - ab)
UNTOLD, TOLD = ab, ab * s**2 / (s**2 + 1 - ab)
BEST = 1 + s**2 - s * sympy.sqrt(1 + s**2)

# 12.5


def by_padding(kernel, W):
    k = kernel.shape[-1]
    return torch.cat([kernel, F.pad(W[:, :, None, None], [k // 2] * 4)], 1)


def by_loops(kernel, W):
    out, channels, k, _ = kernel.shape
    wide = torch.zeros(out, channels + W.shape[1], k, k)
    wide[:, :channels] = kernel
    for i in range(out):
        for j in range(W.shape[1]):
            wide[i, channels + j, k // 2, k // 2] = W[i, j]
    return wide


def evenly(kernel, W):
    k = kernel.shape[-1]
    return torch.cat([kernel, (W / k**2)[..., None, None].expand(-1, -1, k, k)], 1)


def on_all_taps(kernel, W):
    k = kernel.shape[-1]
    return torch.cat([kernel, W[..., None, None].expand(-1, -1, k, k)], 1)


def planes_before(kernel, W):
    more = by_padding(kernel, W)[:, kernel.shape[1] :]
    return torch.cat([more, kernel], 1)


def first_tap(kernel, W):
    more = torch.zeros(*W.shape, *kernel.shape[-2:])
    more[..., 0, 0] += W
    return torch.cat([kernel, more], 1)


def last_tap(kernel, W):
    more = torch.zeros(*W.shape, *kernel.shape[-2:])
    more[..., -1, -1] += W
    return torch.cat([kernel, more], 1)


def as_zeros(kernel, W):
    return torch.cat([kernel, torch.zeros(*W.shape, *kernel.shape[-2:])], 1)


def centre_too_weak(kernel, W):
    return by_padding(kernel, torch.cat([W / kernel.shape[-1] ** 2], 1))


# 12.6

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

# 12.7


def prepared(shrink, drop="each", noise="latents"):
    def answer(z0, labels, add_noise, dropped, kinds):
        high, wide = z0.shape[2:]
        planes = shrink(labels, high, wide, kinds)
        if drop == "each":
            planes = torch.where(dropped.view(-1, 1, 1, 1), torch.zeros(()), planes)
        elif drop == "all" and bool(dropped.any()):
            planes = planes * 0
        elif drop == "others":
            planes = planes * dropped.view(-1, 1, 1, 1)
        if noise == "both":
            return add_noise(torch.cat((z0, planes), 1))
        if noise == "none":
            return torch.cat((z0, planes), 1)
        return torch.cat((add_noise(z0), planes), 1)

    return answer


def hot(labels, kinds):
    return (labels[:, None] == torch.arange(kinds)[None, :, None, None]).float()


def shares(labels, high, wide, kinds):
    return F.adaptive_avg_pool2d(hot(labels, kinds), (high, wide))


def blocks(labels, high, wide, kinds):
    return hot(labels, kinds).unflatten(3, (wide, -1)).unflatten(2, (high, -1)).mean(dim=(3, 5))


def averaged_numbers(labels, high, wide, kinds):
    small = F.interpolate(labels[:, None].float(), (high, wide), mode="bilinear").round().long()[:, 0]
    return hot(small, kinds)


def one_of_each_block(labels, high, wide, kinds):
    return hot(labels[:, ::8, ::8], kinds)


def between_four(labels, high, wide, kinds):
    return F.interpolate(hot(labels, kinds), (high, wide), mode="bilinear")


def winner(labels, high, wide, kinds):
    return hot(shares(labels, high, wide, kinds).argmax(1), kinds)


# 12.8


def shared(mask_of=None, mix=None, middle=None):
    mask_of = mask_of or (
        lambda mask, high, wide: mask.unflatten(3, (wide, -1)).unflatten(2, (high, -1)).mean((3, 5))
    )
    mix = mix or (lambda m, one, other: other + m * (one - other))

    def answer(first, second, mask):
        def put(one, other):
            return mix(mask_of(mask, *one.shape[2:]), one, other)

        put_middle = middle or put
        return [put(*pair) for pair in zip(first[0], second[0])], put_middle(first[1], second[1])

    return answer


def by_area(first, second, mask):
    out = []
    for one, other in zip((*first[0], first[1]), (*second[0], second[1])):
        m = F.interpolate(mask, size=one.shape[-2:], mode="area")
        out.append(m * one + (1 - m) * other)
    return out[:-1], out[-1]


# 12.9


def house(across=0, thick=1):
    """The outline of a house, its middle at row 74, column 50."""
    drawn = np.zeros((128, 128), int)
    for i in range(thick):
        drawn[70:100, [31 + across - i, 69 + across + i]] = 1
        drawn[99 + i, 31 + across : 70 + across] = 1
        for j in range(28):
            drawn[46 + j - i, [50 + across - j, 50 + across + j]] = 1
    return drawn


def as_a_function():
    return house().astype(bool)


# 12.10


VECTORS = ch12.kind_vectors().numpy()
DIFFERENCES = np.stack([VECTORS[i] - VECTORS[j] for i in range(4) for j in range(i)])


def lost(vectors, order):
    """The share of each vector that the norm takes away: the means of groups of four."""
    means = vectors[:, order].reshape(len(vectors), 8, 4).mean(2)
    return (4 * (means**2).sum(1) / (vectors**2).sum(1)) ** 0.5


@functools.cache
def exchanging(what="differences", steps=2000, seed=1):
    """An order from many exchanges of two channels, each kept if the worst of `what` loses no more."""
    vectors = {"differences": DIFFERENCES, "vectors": VECTORS, "one": DIFFERENCES[:1]}[what]
    rng, order = np.random.default_rng(seed), np.arange(32)
    least = lost(vectors, order).max()
    for _ in range(steps):
        tried = order.copy()
        i, j = rng.integers(32, size=2)
        tried[[i, j]] = tried[[j, i]]
        worst = lost(vectors, tried).max()
        if worst <= least:
            order, least = tried, worst
    return order.tolist()


def the_other_way_round():
    return np.argsort(exchanging()).tolist()


def alike_together():
    return np.argsort(VECTORS.sum(0)).tolist()


BANK = {
    "12.1": {
        "wrong": [
            (COSTS | {"calls": 12}, "Under guidance every step asks twice"),
            (COSTS | {"calls": 80}, "if the plan were read in every step"),
            (COSTS | {"work": 1.4}, "the work if the plan is read in every step"),
            (COSTS | {"work": 0.12}, "The U-Net's own work goes on"),
            (COSTS | {"tensors": 12}, "between down and up"),
            (COSTS | {"tensors": 11}, "leave a skip, too"),
            (COSTS | {"tensors": 14}, "it does not halve"),
            (COSTS | {"matrix": 31_680}, "what a wider convolution needs"),
            (COSTS | {"matrix": 5_242_880}, "there are eleven of them"),
            (COSTS | {"matrix": 14_080}, "How many places are there"),
            (COSTS | {"matrix": 45_056}, "So many numbers go in"),
            (COSTS | {"matrix": 3_690_987_520}, "to the latents' size first"),
            (COSTS | {"numbers": 39_424}, "The middle's features are added to"),
            (COSTS | {"numbers": 43_008}, "halved already"),
        ],
        "right": [
            COSTS,
            {
                "calls": 24.0,
                "work": 1 + 12 * 0.4 / 40,
                "tensors": 13,
                "matrix": 57_672_960,
                "numbers": 46_600,
            },
        ],
    },
    "12.2": {
        "wrong": [
            (common / a**2, "larger than one square"),
            (common / (2 * a**2), "count their common part twice"),
            ((a**2 - d * e) / (a**2 + d * e), "more than a corner"),
            ((a - d - e) / (a + d + e), "one of the two moves is zero"),
            ((a - d) / (a + d) * (a - e) / (a + e), "do not multiply"),
            (1 - common / (2 * a**2 - common), "that have not moved"),
            (1 - d * e / a**2, "Moved by its whole side"),
        ],
        "right": [common / (2 * a**2 - common), 1 / (2 * a**2 / common - 1)],
    },
    "12.3": {
        "wrong": [
            ((copies * share, ADDED, SCALE), "can be more than 1"),
            ((share, ADDED, SCALE), "Each copy brings its score"),
            ((copies * share / (1 + copies * share), ADDED, SCALE), "the words count 1 - a"),
            ((1 / (1 + (1 - share) / share * sympy.exp(-copies)), ADDED, SCALE), "That is k added"),
            ((COPIED, aim - share, SCALE), "go through an exponential"),
            ((COPIED, sympy.log(aim) - sympy.log(share), SCALE), "would have to shrink as well"),
            ((COPIED, sympy.exp(ADDED), SCALE), "That is the factor"),
            ((COPIED, -ADDED, SCALE), "with the wrong sign"),
            ((COPIED, ADDED, share), "compare the ratios"),
            ((COPIED, ADDED, 1 / SCALE), "turn it over"),
            ((COPIED, ADDED, sympy.Integer(1)), "With 1 both count the same"),
            ((COPIED / copies, ADDED, SCALE), "with k terms"),
            ((COPIED, 2 * ADDED, SCALE), "call the number b"),
            ((COPIED, ADDED, share / (1 + share)), "The first two are right"),
        ],
        "right": [
            (COPIED, ADDED, SCALE),
            (1 / (1 + (1 - share) / (copies * share)), sympy.log(aim / (1 - aim)) - sympy.log(SCALE), SCALE),
        ],
    },
    "12.4": {
        "wrong": [
            ((1 - ab, s**2 * (1 - ab) / (s**2 + 1 - ab), sympy.Integer(0)), "the least error of x_0"),
            ((sympy.Integer(1), TOLD, BEST), "not even looked at x_t"),
            ((UNTOLD, snr / (snr + 1 / s**2), BEST), "The third is missing"),
            ((UNTOLD, snr / (1 + snr + 1 / s), BEST), "s is a deviation"),
            ((UNTOLD, snr / (1 + 2 * snr), BEST), "the noised condition of (12.7)"),
            ((UNTOLD, 1 / (1 + snr + 1 / s**2), BEST), "compare like with"),
            ((UNTOLD, TOLD, 1 - BEST), "1 - ab instead of ab"),
            ((UNTOLD, TOLD, 2 * (1 + s**2) - BEST), "larger than 1"),
            ((UNTOLD, TOLD, sympy.Rational(1, 2)), "a very poor hint"),
            ((UNTOLD, TOLD, sympy.Integer(0)), "asked is that in loss"),
            ((UNTOLD, TOLD, s / (1 + s)), "Is the slope of their difference zero"),
            ((UNTOLD, TOLD / 2, BEST), "add up the precisions"),
            ((snr, TOLD, BEST), "Begin with the loss without c"),
        ],
        "right": [
            (UNTOLD, TOLD, BEST),
            (snr / (1 + snr), snr / (1 + snr + 1 / s**2), 1 - s * (sympy.sqrt(1 + s**2) - s)),
        ],
    },
    "12.5": {
        "wrong": [
            (evenly, "Right in the middle of a picture"),
            (on_all_taps, "once more"),
            (planes_before, "come before the latents"),
            (first_tap, "the wrong one"),
            (as_zeros, "how a door begins"),
            (centre_too_weak, "too weak"),
            (last_tap, "only there"),
        ],
        "right": [by_padding, by_loops],
    },
    "12.6": {
        "wrong": [
            (STEPS | {"first": 2}, "there are two zeros"),
            (STEPS | {"first": 4}, "each opens after one step"),
            (
                STEPS | {"first, entrance Gaussian": 1},
                "still stands before the exits",
            ),
            (STEPS | {"first, entrance Gaussian": 3}, "waits a step less"),
            (STEPS | {"first, exits Gaussian": 1}, "the entrance is still zero"),
            (STEPS | {"first, exits Gaussian": 3}, "one step of waiting"),
            (STEPS | {"first, blank latents": 0}, "it has biases"),
            (STEPS | {"first, blank latents": 4}, "on its way back"),
            (STEPS | {"copy, exits Gaussian": 2}, "these are open"),
            (STEPS | {"entrance, both Gaussian": 2}, "With both open"),
            (STEPS | {"pair, weight": 1}, "What does the first send"),
            (STEPS | {"pair, weight": 2}, "ever send it anything"),
            (STEPS | {"pair, bias": 0}, "A bias needs no input"),
            (STEPS | {"pair, bias": 2}, "Nothing stands between"),
        ],
        "right": [STEPS, dict(reversed(STEPS.items()))],
    },
    "12.7": {
        "wrong": [
            (prepared(shares, "all", "both"), "hold shares now"),
            (prepared(averaged_numbers, "each", "both"), "drops its own plan now"),
            (prepared(averaged_numbers, "all"), "stays clean now"),
            (prepared(shares, "each", "both"), "at painting the plan will be clean"),
            (prepared(shares, "all"), "of which one picture drops its plan"),
            (prepared(averaged_numbers), "lies part 6"),
            (prepared(one_of_each_block), "decides alone"),
            (prepared(between_four), "four pixels of a block"),
            (prepared(winner), "takes all of it"),
            (prepared(shares, "others"), "the others go"),
            (prepared(shares, "none"), "No plan is dropped"),
            (prepared(lambda *given: 64 * shares(*given)), "between 0 and 1"),
            (prepared(shares, noise="none"), "not the noised ones"),
        ],
        "right": [prepared(shares), prepared(blocks)],
    },
    "12.8": {
        "wrong": [
            (shared(lambda mask, high, wide: F.interpolate(mask, (high, wide))), "by its share"),
            (shared(lambda mask, high, wide: mask[:, :, :high, :wide]), "cut the mask"),
            (shared(mix=lambda m, one, other: one + m * (other - one)), "regions are exchanged"),
            (shared(mix=lambda m, one, other: one + other), "You add both everywhere"),
            (shared(mix=lambda m, one, other: 0.5 * (one + other)), "The mean of both, everywhere"),
            (shared(mix=lambda m, one, other: m * one), "has no say"),
            (shared(mix=lambda m, one, other: m * one + other), "should be silent there"),
            (shared(mix=lambda m, one, other: 1 * one), "The first decides everywhere"),
            (shared(mix=lambda m, one, other: 1 * other), "The second decides everywhere"),
            (
                shared(lambda mask, high, wide: F.adaptive_max_pool2d(mask, (high, wide))),
                "is all the first's:",
            ),
            (
                shared(lambda mask, high, wide: F.interpolate(mask, (high, wide), mode="bilinear")),
                "four places",
            ),
            (shared(lambda mask, high, wide: mask.mean()), "the whole mask"),
            (shared(middle=lambda one, other: one), "The middle is all the first's"),
            (shared(middle=lambda one, other: one + other), "In the middle both are added"),
            (shared(middle=lambda one, other: 0.5 * (one + other)), "a mask of its own"),
        ],
        "right": [shared(), by_area],
    },
    "12.9": {
        "wrong": [
            (np.zeros((128, 128), int).tolist(), "with 0 white pixels"),
            (house(across=38).tolist(), "houses stand in their place, with 1"),
            (house(thick=2).tolist(), "not thrifty yet"),
            (house()[:64, :64].tolist(), "should have the shape (128, 128), yours has (64, 64)"),
            ((255 * house()).tolist(), "0 (black) or 1 (white)"),
            (np.ones((128, 128), int).tolist(), "no drawing any more"),
        ],
        "right": [house().tolist(), as_a_function],
    },
    "12.10": {
        "wrong": [
            (list(range(32)), "arrive as the same vector"),
            (the_other_way_round, "Read the other way round"),
            (alike_together, "numbers are alike"),
            (lambda: exchanging("vectors"), "can be long and the same"),
            (lambda: exchanging("one"), "there are six of them"),
            (lambda: exchanging(steps=60), "Nearly"),
            (np.arange(32).reshape(8, 4).T.ravel().tolist(), "which of them share a group"),
            (np.random.default_rng(0).permutation(32).tolist(), "drawn at random"),
            (list(range(1, 33)), "yours begin at 1"),
            ([*range(31), 0], "channel 0 stands at 2 places, and channel 31 at none"),
            (np.arange(32).reshape(8, 4).tolist(), "has the shape (8, 4)"),
            ([0.5 * i for i in range(32)], "the whole numbers from 0 to 31"),
        ],
        "right": [
            exchanging,
            lambda: exchanging(seed=2),
            torch.tensor(ch12.GOOD),
        ],
    },
}
