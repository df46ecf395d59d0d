"""The checks of chapter 5: the autoencoder. It spoils the exercises to read this first."""

import functools
import math
import statistics

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import dctn, idctn  # type: ignore[import-untyped]

from minisd.scenes import render, sample

from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 5.1

SHIFT = "pixels of shift, padding wrong at the last two of four halvings"


def sizes():
    """What the cell after 5.1 measures."""
    shape = (4, 768 // 8, 512 // 8)
    mean, std = 3.0, 1.0
    variance = 9.0
    return {
        "latents of a 768 x 512 picture": math.prod(shape),
        "nats of a latent with mean 3 and standard deviation 1": 0.5
        * (mean**2 + std**2 - 1 - math.log(std**2)),
        "squared error at 20 dB": 4 / 10 ** (20 / 10),
        "alpha-bar where latents of variance 9 are even": 1 / (1 + variance),
        SHIFT: 2**2 + 2**3,
    }


# 5.2


def pays(m, v, w):
    """Mean KL of codes with means N(m, v) and variance w, less that of all codes together."""
    return 0.5 * math.log((v + w) / w)


def whole_kl(m, v, w):
    return 0.5 * (m**2 + v + w - 1 - math.log(w))


def of_the_heap(m, v, w):
    return 0.5 * (m**2 + v + w - 1 - math.log(v + w))


# 5.3


def coin_edge():
    """A pixel that is -1 with probability 0.7, +1 with probability 0.3; and two widths."""
    values = [-1.0] * 7 + [1.0] * 3
    mean, median = statistics.fmean(values), statistics.median(values)
    fair = statistics.fmean((x - y) ** 2 for x in values for y in values)
    least = statistics.fmean((x - mean) ** 2 for x in values)
    return {
        "squared error of the mean": least,
        "squared error of the median": statistics.fmean((x - median) ** 2 for x in values),
        "squared error of a fair draw": fair,
        "decibels from the mean to the draw": 10 * math.log10(fair / least),
    }


# 5.4


def smooth_pictures(seed):
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.randn(8, 3, 4, 4, generator=rng)
    return 0.9 * torch.tanh(F.interpolate(coarse, size=(40, 40), mode="bicubic", align_corners=False))


def pair(factor, shift, width, lift):
    """An encoder that moves its pictures and multiplies its latents, and a decoder that knows of neither."""

    def encode(pictures):
        moved = F.pad(pictures, (shift, 0, shift, 0))[..., : pictures.shape[2], : pictures.shape[3]]
        return factor * (width * torch.atanh(0.95 * F.avg_pool2d(moved, 2)) + lift)

    def decode(latents):
        small = torch.tanh((latents - lift) / width) / 0.95
        return F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)

    return encode, decode


FAULTS = ((0.2, 7, 3.0, 0.5), (6.0, 3, 0.7, -0.3), (1.7, 12, 1.5, 0.2))  # factor, shift, width, lift


def mended(inspect):
    """The PSNR of other pictures with both faults taken back, in the worst of the pairs."""
    worst = math.inf
    for number, fault in enumerate(FAULTS):
        encode, decode = pair(*fault)
        try:
            factor, shift = inspect(encode, decode, smooth_pictures(number))
            factor, pixels = float(factor), int(shift)
        except (TypeError, ValueError) as error:
            raise RuleBroken("inspect should return two numbers, the factor and the shift") from error
        if pixels != float(shift) or not 0 <= pixels <= 15:
            raise RuleBroken("the shift should be a whole number of pixels from 0 to 15")
        if not 0 < factor < math.inf:
            raise RuleBroken("the factor should be a number above 0")
        x = smooth_pictures(100 + number)
        y = decode(encode(x) / factor).clamp(-1, 1)
        off = y[..., pixels:, pixels:] - x[..., : 40 - pixels, : 40 - pixels]
        worst = min(worst, 10 * math.log10(4 / float(off[..., 2:-2, 2:-2].square().mean())))
    return worst


def both_faults(encode, decode, pictures):
    latents, side = encode(pictures), pictures.shape[-1]

    def error(factor, shift):
        y = decode(latents / factor)
        off = y[..., shift:, shift:] - pictures[..., : side - shift, : side - shift]
        return float(off[..., 2:-2, 2:-2].square().mean())

    def best(factors, shifts):
        return min((error(factor, shift), factor, shift) for factor in factors for shift in shifts)[1:]

    factor, shift = best(np.geomspace(0.05, 20, 40), range(16))
    factor, _ = best(factor * np.geomspace(0.85, 1.18, 60), [shift])
    return factor, shift


def finds(inspect, factor=None, shift=None):
    """Whether in the first two pairs the answer is this, as told from the truth and the latents."""

    def near(a, b):
        return math.isclose(float(a), float(b), rel_tol=0.06)

    for number, fault in enumerate(FAULTS[:2]):
        encode, decode = pair(*fault)
        x = smooth_pictures(number)
        found = inspect(encode, decode, x)
        if factor is not None and not near(found[0], factor(fault[0], encode(x))):
            return False
        if shift is not None and found[1] != shift(fault[1]):
            return False
    return True


# 5.5


def best_noise(g, delta, n):
    """The deviation of a code whose decoder is x = g z, into n numbers of its own, errors of delta."""
    return delta / math.sqrt(n * g**2 + delta**2)


# 5.6


def tighter_bound(log_joint, log_q):
    """The logarithm of the mean of p(x, z) / q(z | x) over the draws, then the mean over the batch."""
    draws = log_joint.shape[0]
    return (torch.logsumexp(log_joint - log_q, dim=0) - math.log(draws)).mean()


def draws_of(rng):
    def two(draws, batch, far=0.0):
        return tuple(
            far + 3 * torch.randn(draws, batch, generator=rng, dtype=torch.float64) for _ in range(2)
        )

    certain = torch.randn(1, 5, generator=rng, dtype=torch.float64)
    deep, uneven = two(7, 4), two(6, 3)
    apart = torch.tensor([0.0, -2000.0, -4000.0], dtype=torch.float64)  # no scale does for all pictures
    return [
        two(10, 4),
        two(3, 1),
        (certain, certain - 2),
        (deep[0] - 5000.0, deep[1]),
        two(50, 2),
        (uneven[0] + apart, uneven[1]),
    ]


def elbo(log_joint, log_q):
    return (log_joint - log_q).mean()


def summed(log_joint, log_q):
    return torch.logsumexp(log_joint - log_q, dim=0).mean()


def over_the_batch(log_joint, log_q):
    return torch.logsumexp(log_joint - log_q, dim=0).mean() - math.log(log_joint.shape[1])


def one_mean_for_all(log_joint, log_q):
    return torch.logsumexp((log_joint - log_q).flatten(), 0) - math.log(log_joint.numel())


def underflowing(log_joint, log_q):
    return (log_joint - log_q).exp().mean(dim=0).log().mean()


def shift_lost(log_joint, log_q):
    ratio = log_joint - log_q
    return (ratio - ratio.amax(dim=0)).exp().mean(dim=0).log().mean()


def batch_summed(log_joint, log_q):
    return tighter_bound(log_joint, log_q) * log_joint.shape[1]


def always_ten(log_joint, log_q):
    return torch.logsumexp(log_joint - log_q, dim=0).mean() - math.log(10)


def clamped(log_joint, log_q):
    return (log_joint - log_q).clamp(-80, 80).exp().mean(dim=0).log().mean()


# 5.7


def vae_loss(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1)
    return (error + 2 * delta**2 * kl).mean()


def as_given(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar - 1 - logvar).flatten(1)
    return (error + delta**2 * kl.mean(1)).mean()


def exp_repaired(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + delta**2 * kl.mean(1)).mean()


def sum_repaired(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar - 1 - logvar).flatten(1)
    return (error + delta**2 * kl.sum(1)).mean()


def weight_left(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + delta**2 * kl.sum(1)).mean()


def mean_left(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + 2 * delta**2 * kl.mean(1)).mean()


def exp_left(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar - 1 - logvar).flatten(1)
    return (error + 2 * delta**2 * kl.sum(1)).mean()


def both_averaged(x, painted, mean, logvar, delta):
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
    return (painted - x).square().mean() + 2 * delta**2 * kl.mean()


def parts(x, painted, mean, logvar):
    """Squared error and KL of each picture."""
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
    return (painted - x).square().flatten(1).sum(1), kl.flatten(1).sum(1)


def twice_the_kl(x, painted, mean, logvar, delta):
    error, kl = parts(x, painted, mean, logvar)
    return (error + 4 * delta**2 * kl).mean()


def deviation_for_variance(x, painted, mean, logvar, delta):
    error, kl = parts(x, painted, mean, logvar)
    return (error + delta**2 * (2 * kl + ((logvar / 2).exp() - logvar.exp()).flatten(1).sum(1))).mean()


def logvar_squared(x, painted, mean, logvar, delta):
    error, _ = parts(x, painted, mean, logvar)
    kl = 0.5 * (mean.square() + logvar.square() - 1 - logvar.square().log())
    return (error + 2 * delta**2 * kl.flatten(1).sum(1)).mean()


def logarithm_added(x, painted, mean, logvar, delta):
    error, kl = parts(x, painted, mean, logvar)
    return (error + 2 * delta**2 * (kl + logvar.flatten(1).sum(1))).mean()


def delta_not_squared(x, painted, mean, logvar, delta):
    error, kl = parts(x, painted, mean, logvar)
    return (error + 2 * delta * kl).mean()


def error_averaged(x, painted, mean, logvar, delta):
    error, kl = parts(x, painted, mean, logvar)
    return (error / x[0].numel() + 2 * delta**2 * kl).mean()


def places_averaged(x, painted, mean, logvar, delta):
    error, kl = parts(x, painted, mean, logvar)
    return (error / x[0, 0].numel() + 2 * delta**2 * kl / mean[0, 0].numel()).mean()


def kl_rewarded(x, painted, mean, logvar, delta):
    error, kl = parts(x, painted, mean, logvar)
    return (error - 2 * delta**2 * kl).mean()


def absolute(x, painted, mean, logvar, delta):
    _, kl = parts(x, painted, mean, logvar)
    return ((painted - x).abs().flatten(1).sum(1) + 2 * delta**2 * kl).mean()


def means_divided(x, painted, mean, logvar, delta):
    return vae_loss(x, painted, mean / mean.std(), logvar, delta)


def losses_of(rng):
    def case(batch, picture, code, delta):
        x, painted = (torch.randn(batch, *picture, generator=rng) for _ in range(2))
        mean, logvar = (torch.randn(batch, *code, generator=rng) for _ in range(2))
        return x, painted, 2 * mean, logvar, delta

    return [
        case(3, (3, 8, 8), (4, 2, 2), 0.2),
        case(1, (3, 16, 8), (4, 4, 2), 0.5),
        case(5, (1, 4, 4), (2, 1, 1), 1.0),
    ]


# 5.8


def within_budget(variances, nats):
    """(the distortion of every direction that is used, how many are used): (5.10) at a total rate of nats."""
    return in_given_order(variances.sort(descending=True).values, nats)


def budgets(rng):
    def some(n, nats):
        v = torch.exp(2 * torch.randn(n, generator=rng, dtype=torch.float64))
        return v, nats

    even = torch.tensor([2.0, 2.0, 2.0], dtype=torch.float64)
    steep = torch.tensor([0.01, 50.0, 3.0, 0.5], dtype=torch.float64)
    return [(steep, 2.0), some(20, 5.0), some(8, 40.0), (even, 3.0), some(30, 0.5)]


def all_used(variances, nats):
    n = len(variances)
    return float(torch.exp((variances.log().sum() - 2 * nats) / n)), n


def same_rate_for_all(variances, nats):
    n = len(variances)
    return float((variances * math.exp(-2 * nats / n)).mean()), n


def without_the_half(variances, nats):
    return within_budget(variances, nats / 2)


def as_weight(variances, nats):
    level, used = within_budget(variances, nats)
    return 2 * level, used


def as_deviation(variances, nats):
    level, used = within_budget(variances, nats)
    return math.sqrt(level), used


def in_given_order(variances, nats):
    """The directions one by one, until the next one is not worth a code."""
    used = 1
    level = variances[0] * math.exp(-2 * nats)
    while used < len(variances) and level < variances[used]:
        used += 1
        level = torch.exp((variances[:used].log().sum() - 2 * nats) / used)
    return float(level), used


def in_bits(variances, nats):
    return within_budget(variances, nats * math.log(2))


def counted_afterwards(variances, nats):
    level, _ = all_used(variances, nats)
    return level, int((variances > level).sum())


def dropped_once(variances, nats):
    level, _ = all_used(variances, nats)
    level, _ = all_used(variances[variances > level], nats)
    return level, int((variances > level).sum())


def from_the_small_end(variances, nats):
    """The smallest first, until the next one is above the level."""
    v = variances.sort().values
    for used in range(1, len(v) + 1):
        level = float(torch.exp((v[:used].log().sum() - 2 * nats) / used))
        if used == len(v) or level <= v[used]:
            break
    return level, used


def one_left_out(variances, nats):
    """As within_budget, but the smallest of all is never used."""
    v = variances.sort(descending=True).values
    for used in range(1, len(v)):
        level = float(torch.exp((v[:used].log().sum() - 2 * nats) / used))
        if level >= v[used]:
            break
    return level, used


def least_of_all(variances, nats):
    v = variances.sort(descending=True).values
    levels = torch.exp((v.log().cumsum(0) - 2 * nats) / torch.arange(1, len(v) + 1))
    return float(levels.min()), int(levels.argmin()) + 1


def close_by(within, cases):
    """Whether the counts are right and the levels nearly."""
    found = [(within(*case), within_budget(*case)) for case in cases]
    return all(b[1] == d[1] and abs(float(b[0]) / d[0] - 1) < 0.1 for b, d in found)


# 5.9

NUMBERS = 1000


@functools.cache
def some_scenes():
    rng = np.random.default_rng(50)
    return np.stack([render(sample(rng, full=True), 500 + i) for i in range(24)]).astype(np.float64) / 255


def allowed(plan):
    """(the matrix, the three sizes). Raises RuleBroken."""
    try:
        matrix, kept = plan()
        matrix, kept = np.asarray(matrix, dtype=float), [int(k) for k in kept]
    except (TypeError, ValueError) as error:
        raise RuleBroken("plan() should return a 3 x 3 matrix and three whole numbers") from error
    if matrix.shape != (3, 3) or len(kept) != 3:
        raise RuleBroken("plan() should return a 3 x 3 matrix and three whole numbers")
    if min(kept) < 1 or max(kept) > 128:
        raise RuleBroken("keep between 1 and 128 waves each way of every channel")
    if sum(k * k for k in kept) > NUMBERS:
        raise RuleBroken(f"you keep {sum(k * k for k in kept):,} numbers a picture; {NUMBERS:,} are allowed")
    if abs(np.linalg.det(matrix)) < 1e-6:
        raise RuleBroken("the matrix has no inverse, so the colours cannot be recovered")
    return matrix, kept


def quality(plan):
    """The PSNR of the scenes when so many slow waves of each of three mixed channels are kept."""
    matrix, kept = allowed(plan)
    mixed = some_scenes() @ matrix.T
    waves = dctn(mixed, axes=(1, 2), norm="ortho")
    for channel, k in enumerate(kept):
        waves[:, k:, :, channel] = 0
        waves[:, :, k:, channel] = 0
    back = (idctn(waves, axes=(1, 2), norm="ortho") @ np.linalg.inv(matrix).T).clip(0, 1)
    return float(-10 * np.log10(((back - some_scenes()) ** 2).mean()))


COLOURS = [[0.69, 0.60, 0.42], [0.56, -0.08, -0.82], [0.46, -0.80, 0.39]]  # principal components


def as_colours():
    return np.eye(3), (18, 18, 18)


def components_first():
    return COLOURS, (25, 15, 12)


EXERCISES = [
    Predict(
        number="5.1",
        name="guesses",
        section="5.7",
        minutes=5,
        measure=sizes,
        within=0.05,
        mistakes=(
            Mistake(
                lambda: {"latents of a 768 x 512 picture": 768 * 512 / 48},
                "How many numbers has the picture? A pixel is three of them.",
            ),
            Mistake(
                lambda: {"latents of a 768 x 512 picture": 96 * 64},
                "That counts the places. How many latents has each?",
            ),
            Mistake(
                lambda: {"nats of a latent with mean 3 and standard deviation 1": 9.0},
                "Each term of (5.3) is there; is the factor before the sum?",
            ),
            Mistake(
                lambda: {"squared error at 20 dB": 0.01},
                "That is for pixels between 0 and 1. Which range has a pixel here?",
            ),
            Mistake(
                lambda: {"alpha-bar where latents of variance 9 are even": 0.5},
                "That is for a variance of 1. Where in (5.14) is the variance?",
            ),
            Mistake(
                lambda: {"alpha-bar where latents of variance 9 are even": 1 / 9},
                "Nearly. Set the two variances equal before you solve: what is left of the noise's share?",
            ),
            Mistake(
                lambda: {"alpha-bar where latents of variance 9 are even": 9 / 10},
                "Wider latents need more noise to be even with it, not less.",
            ),
            Mistake(
                lambda: {SHIFT: 15},
                "That is for four wrong halvings. Which of them are right here?",
            ),
            Mistake(
                lambda: {SHIFT: 3},
                "That is for the first two. How many of the picture's pixels is a pixel after two halvings?",
            ),
            Mistake(
                lambda: {SHIFT: 24},
                "Twice too much. The padding is added before a halving: how large is a pixel there?",
            ),
            Mistake(
                lambda: {SHIFT: 2},
                "One pixel at each of the two. But how large is a pixel there, in pixels of the picture?",
            ),
        ),
    ),
    Derive(
        number="5.2",
        name="information",
        section="5.7",
        minutes=20,
        right=pays,
        ranges={"m": (-1.5, 1.5), "v": (0.2, 2.0), "w": (0.05, 0.9)},
        mistakes=(
            Mistake(
                whole_kl,
                "That is the mean KL itself. What is left when the KL of all codes together is taken off?",
            ),
            Mistake(of_the_heap, "That is the KL of all codes together, the part to be taken off."),
            Mistake(
                lambda m, v, w: 0.5 * math.log(v / w),
                "All codes together are wider than their means: every code scatters around its own.",
            ),
            Mistake(
                lambda m, v, w: 0.5 * math.log(w / (v + w)),
                "A code cannot tell less than nothing: which of the two widths is the larger?",
            ),
            Mistake(
                lambda m, v, w: math.log((v + w) / w),
                "v and w are variances; where does (5.3) have the half of a logarithm?",
            ),
            Mistake(
                lambda m, v, w: 0.5 * math.log(v + w),
                "At v = 0 the encoder ignores x, and your difference should be 0 whatever w is.",
            ),
            Mistake(
                lambda m, v, w: 0.5 * math.log((v + w) / w) - 0.5 * v,
                "The mean of mu^2 over the data is not m^2 alone: the means scatter.",
            ),
            Mistake(
                lambda m, v, w: 0.5 * math.log((v**2 + w**2) / w**2),
                "v and w are variances already: no squares are needed.",
            ),
            Mistake(
                lambda m, v, w: math.log((math.sqrt(v) + math.sqrt(w)) / math.sqrt(w)),
                "Deviations do not add up; what does?",
            ),
            Mistake(
                lambda m, v, w: v / (2 * w),
                "That is right for a small v alone. Is a logarithm missing?",
            ),
        ),
    ),
    Predict(
        number="5.3",
        name="coin",
        section="5.6",
        minutes=10,
        measure=coin_edge,
        within=0.05,
        mistakes=(
            Mistake(
                lambda: {"squared error of the mean": 0.21},
                "0.3 times 0.7 is for a coin that shows 0 or 1. How far apart are the two values here?",
            ),
            Mistake(
                lambda: {"squared error of the median": 0.3},
                "In three pictures of ten it is wrong. How much does one wrong pixel cost?",
            ),
            Mistake(
                lambda: {"squared error of the median": 0.84},
                "No other answer is as cheap as the mean. Which value is the median?",
            ),
            Mistake(
                lambda: {"squared error of a fair draw": 0.84},
                "A draw scatters as much as the pixel does. Does that come on top, or not at all?",
            ),
            Mistake(
                lambda: {"decibels from the mean to the draw": 6.0},
                "A factor of two in the amplitude is 6 decibels. Is a mean squared error an amplitude?",
            ),
        ),
    ),
    ReachTheMark(
        number="5.4",
        name="inspect",
        section="5.14",
        minutes=20,
        score=mended,
        what="PSNR in decibels",
        mark=34.0,
        higher=True,
        right=both_faults,
        seconds=60.0,
        mistakes=(
            Mistake(
                None,
                "Latents were multiplied by your factor's inverse. Asked for is what to divide by.",
                seen=lambda inspect, cases: finds(inspect, factor=lambda true, latents: 1 / true),
            ),
            Mistake(
                None,
                "Your factor is the latents' standard deviation. That is a good scale for a U-Net; does "
                "this decoder ask for a width of 1?",
                seen=lambda inspect, cases: finds(inspect, factor=lambda true, latents: latents.std()),
            ),
            Mistake(
                None,
                "You always find the factor 1. Does the decoder get what it expects?",
                seen=lambda inspect, cases: finds(inspect, factor=lambda true, latents: 1.0),
            ),
            Mistake(
                None,
                "You always find the shift 0. Compare decoded pictures with moved ones.",
                seen=lambda inspect, cases: finds(inspect, shift=lambda true: 0),
            ),
            Mistake(
                None,
                "The shifts are right. How finely did you search for the factor?",
                seen=lambda inspect, cases: finds(inspect, shift=lambda true: true),
            ),
        ),
    ),
    Derive(
        number="5.5",
        name="noise",
        section="5.7",
        minutes=15,
        right=best_noise,
        ranges={"g": (0.2, 3.0), "delta": (0.05, 0.9), "n": (2.0, 30.0)},
        mistakes=(
            Mistake(
                lambda g, delta, n: delta**2 / (n * g**2 + delta**2),
                "That is a variance; a deviation was asked for.",
            ),
            Mistake(
                lambda g, delta, n: delta / (math.sqrt(n) * g),
                "That is what the error alone would allow. What does the KL say about a code that is "
                "sure of nothing?",
            ),
            Mistake(
                lambda g, delta, n: math.sqrt(2 * delta**2 / (n * g**2 + 2 * delta**2)),
                "(5.5) has lambda = 2 delta^2 before the KL, and the KL has a half of its own.",
            ),
            Mistake(
                lambda g, delta, n: delta / math.sqrt(g**2 + delta**2),
                "That would be right for one pixel. Here the noise of one latent is seen in n of them.",
            ),
            Mistake(
                lambda g, delta, n: delta / math.sqrt(n**2 * g**2 + delta**2),
                "The latent is not n times as strong in a pixel: there are n pixels, and what adds up are "
                "their squared errors.",
            ),
            Mistake(
                lambda g, delta, n: math.sqrt(n) * g / math.sqrt(n * g**2 + delta**2),
                "The larger the accepted error, the noisier the code may be. Yours goes the other way.",
            ),
            Mistake(
                lambda g, delta, n: delta / (math.sqrt(n) * g + delta),
                "Try your own formula in the derivative of the loss by the variance: which powers does the "
                "squared error bring?",
            ),
            Mistake(
                lambda g, delta, n: delta / math.sqrt(2 * n * g**2 + delta**2),
                "That would be right for lambda = delta^2. What is it in (5.5)?",
            ),
            Mistake(
                lambda g, delta, n: math.hypot(g, delta),
                "That is how wide the model's pixels are. Asked for is the width of a code's noise.",
            ),
        ),
    ),
    Build(
        number="5.6",
        name="tighter_bound",
        section="5.3",
        minutes=15,
        right=tighter_bound,
        cases=draws_of,
        tolerance=1e-6,
        mistakes=(
            Mistake(
                elbo,
                "The mean of the logarithms is the ELBO again: average the ratios, then take the logarithm.",
            ),
            Mistake(
                summed, "You sum the ratios over the draws. Is a bound that grows with every draw a bound?"
            ),
            Mistake(over_the_batch, "You divide by the size of the batch: which axis holds the draws?"),
            Mistake(
                one_mean_for_all,
                "You average the ratios of different pictures. Each picture has its own p(x).",
            ),
            Mistake(
                underflowing,
                "Right where the numbers are moderate. A picture's ln p(x, z) is in the thousands "
                "below zero: "
                "what is its exponential on a computer?",
            ),
            Mistake(
                clamped,
                "You cut the logarithms off where the exponential would not hold them. A picture's are "
                "in the thousands: what is left of them?",
            ),
            Mistake(
                shift_lost,
                "You take the largest ratio out of every picture before the exponential. Where do you "
                "put it back?",
            ),
            Mistake(batch_summed, "You add the pictures up. Asked for is their mean."),
            Mistake(always_ten, "You count on ten draws. The number of rows says how many there are."),
        ),
    ),
    FindTheBug(
        number="5.7",
        name="pictures_loss",
        section="5.14",
        minutes=15,
        right=vae_loss,
        cases=losses_of,
        given=as_given,
        mistakes=(
            Mistake(
                exp_repaired,
                "The KL is (5.3) now, for one latent. For how many is it counted, and how heavy is it?",
            ),
            Mistake(sum_repaired, "All latents are counted now. Is it (5.3), and how heavy is it?"),
            Mistake(weight_left, "One thing is left: what is lambda in terms of delta?"),
            Mistake(
                mean_left,
                "One thing is left: for how many latents is the KL counted, and for how many numbers "
                "the error?",
            ),
            Mistake(exp_left, "One thing is left: what is the variance, and what its logarithm?"),
            Mistake(
                both_averaged, "Averaging both changes their ratio: there are fewer latents than pixels."
            ),
            Mistake(
                twice_the_kl,
                "Your KL is twice too heavy: either the half of (5.3) is gone, or lambda is too large.",
            ),
            Mistake(
                deviation_for_variance,
                "exp(logvar / 2) is a deviation. Which of the two does (5.3) ask for?",
            ),
            Mistake(logvar_squared, "logvar is a logarithm, no deviation: how does one undo a logarithm?"),
            Mistake(logarithm_added, "Look at the sign of the logarithm in (5.3)."),
            Mistake(delta_not_squared, "lambda is made of delta, but not of delta itself: see (5.5)."),
            Mistake(
                error_averaged,
                "The error is now a mean over the numbers of x and the KL a sum. Which does (5.5) ask for?",
            ),
            Mistake(
                places_averaged,
                "You sum over the channels and average over the places. How many numbers has a picture?",
            ),
            Mistake(kl_rewarded, "Your loss falls as the KL grows. Look at its sign in (5.5)."),
            Mistake(absolute, "That is the absolute error. (5.5) comes from a Gaussian."),
            Mistake(
                means_divided,
                "The means are divided before they are priced. The KL should price what the decoder gets.",
            ),
        ),
    ),
    Build(
        number="5.8",
        name="within_budget",
        section="5.7",
        minutes=20,
        right=within_budget,
        cases=budgets,
        tolerance=1e-4,
        mistakes=(
            Mistake(
                all_used,
                "Every direction gets a code, and some get a negative rate. Which are switched off?",
            ),
            Mistake(
                same_rate_for_all,
                "You give every direction the same number of nats. What do the used ones have in common?",
            ),
            Mistake(without_the_half, "Is the half before the logarithm of (5.10) in your rate?"),
            Mistake(as_weight, "That is lambda. Asked for is the distortion of a direction."),
            Mistake(as_deviation, "That is delta, an error; a distortion is a squared error."),
            Mistake(in_given_order, "Your answer depends on the order in which the variances come."),
            Mistake(in_bits, "The budget is in nats already."),
            Mistake(
                counted_afterwards,
                "Your level is the one for all directions; those below it are switched off only in the "
                "count. What becomes of the nats when they are off?",
            ),
            Mistake(
                dropped_once,
                "You drop directions once. The new level is lower or higher: are the rest all above it?",
            ),
            Mistake(
                from_the_small_end, "You begin with the smallest. Which direction is worth a code first?"
            ),
            Mistake(one_left_out, "Nearly: a budget may be large enough for every direction."),
            Mistake(
                least_of_all,
                "You take the lowest of the levels. Does it spend the budget, with no negative rate?",
            ),
            Mistake(
                None,
                "The counts are right, the levels only nearly: search on, or solve for the level.",
                seen=close_by,
            ),
        ),
    ),
    ReachTheMark(
        number="5.9",
        name="plan",
        section="5.1",
        minutes=25,
        score=quality,
        what="PSNR in decibels",
        mark=26.3,
        higher=True,
        right=components_first,
        seconds=60.0,
        mistakes=(
            Mistake(
                as_colours,
                "All three channels keep as much as each other. That is as good for brightness and "
                "two differences "
                "as for red, green and blue: what is gained by mixing them?",
            ),
            Mistake(
                None,
                "You leave more than a tenth of the numbers unused.",
                seen=lambda plan, cases: sum(k * k for k in plan()[1]) < 0.9 * NUMBERS,
            ),
            Mistake(
                None,
                "Red, green and blue say nearly the same thing three times. Which mixture of them "
                "says it once?",
                seen=lambda plan, cases: (
                    not np.count_nonzero(np.asarray(plan()[0]) - np.diag(np.diagonal(plan()[0])))
                ),
            ),
        ),
    ),
]
