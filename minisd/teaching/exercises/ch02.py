"""The checks of chapter 2: denoising. It spoils the exercises to read this first."""

import math

import numpy as np
import torch

from ...schedule import NoiseSchedule
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken
from .ch01 import random_table

# 2.1


def between(ab_r, ab_s, ab_t):
    """Two factors of the mean and the variance of x_s, given the states x_r before and x_t after it."""
    first, second = ab_s / ab_r, ab_t / ab_s
    rest = 1 - ab_t / ab_r
    cleaner = math.sqrt(first) * (1 - second) / rest
    noisier = math.sqrt(second) * (1 - first) / rest
    return cleaner, noisier, (1 - first) * (1 - second) / rest


def between_without_roots(ab_r, ab_s, ab_t):
    first, second = ab_s / ab_r, ab_t / ab_s
    rest = 1 - ab_t / ab_r
    return first * (1 - second) / rest, second * (1 - first) / rest, between(ab_r, ab_s, ab_t)[2]


def between_picture_and_state(ab_r, ab_s, ab_t):
    """As if x_r were the clean picture."""
    return between(1.0, ab_s, ab_t)


def between_exchanged(ab_r, ab_s, ab_t):
    cleaner, noisier, variance = between(ab_r, ab_s, ab_t)
    return noisier, cleaner, variance


def between_forwards(ab_r, ab_s, ab_t):
    return *between(ab_r, ab_s, ab_t)[:2], 1 - ab_s / ab_r


def between_deviation(ab_r, ab_s, ab_t):
    return *between(ab_r, ab_s, ab_t)[:2], math.sqrt(between(ab_r, ab_s, ab_t)[2])


# 2.2


def floors():
    """The least possible mean loss, measured: dim white noise as data, and a hundred pictures of it."""
    rng, bars = torch.Generator().manual_seed(0), NoiseSchedule.linear().alphas_cumprod
    data, noise = torch.randn(2, 400_000, generator=rng)
    measured = {}
    for t in (0, 250, 500):
        x_t = bars[t].sqrt() * 0.5 * data + (1 - bars[t]).sqrt() * noise
        slope = (x_t * noise).mean() / x_t.square().mean()  # of the best straight line, the best guess here
        measured[f"dim noise, t = {t}"] = float((noise - slope * x_t).square().mean())
    pictures, ab = 0.5 * torch.randn(100, 768, generator=rng), bars[250]
    noise = torch.randn(100, 768, generator=rng)
    x_t = ab.sqrt() * pictures + (1 - ab).sqrt() * noise
    weights = torch.softmax(-torch.cdist(x_t, ab.sqrt() * pictures).square() / (2 * (1 - ab)), dim=1)
    answer = (x_t - ab.sqrt() * weights @ pictures) / (1 - ab).sqrt()
    return measured | {"a hundred pictures, t = 250": round(float((noise - answer).square().mean()), 4)}


# 2.3


def guess_of_wall(x_t, mean, variance, alpha_bar):
    return wall(x_t, mean, variance, 1 - alpha_bar, alpha_bar)


def wall(x_t, mean, variance, noise_variance, alpha_bar, count=None):
    """The guess of the one grey, from (2.14); count: how many pixels are taken to be evidence."""
    d = x_t.shape[1]
    count = d if count is None else count
    a = 1 / variance + count * alpha_bar / noise_variance
    b = mean / variance + count * alpha_bar**0.5 * x_t.mean(1, keepdim=True) / noise_variance
    return (b / a).expand(-1, d)


def each_pixel_alone(x_t, mean, variance, alpha_bar):
    a = 1 / variance + alpha_bar / (1 - alpha_bar)
    return (mean / variance + alpha_bar**0.5 * x_t / (1 - alpha_bar)) / a


def average_pixel(x_t, mean, variance, alpha_bar):
    return (x_t.mean(1, keepdim=True) / alpha_bar**0.5).expand(-1, x_t.shape[1])


def mean_left_out(x_t, mean, variance, alpha_bar):
    return wall(x_t, 0.0, variance, 1 - alpha_bar, alpha_bar)


def one_pixel_counted(x_t, mean, variance, alpha_bar):
    return wall(x_t, mean, variance, 1 - alpha_bar, alpha_bar, count=1)


def width_of_the_noise(x_t, mean, variance, alpha_bar):
    return wall(x_t, mean, variance, (1 - alpha_bar) ** 0.5, alpha_bar)


def width_of_the_greys(x_t, mean, variance, alpha_bar):
    return wall(x_t, mean, variance**0.5, 1 - alpha_bar, alpha_bar)


def walls(rng):
    cases = []
    for n, d, mean, variance, alpha_bar in (
        (4, 12, 0.3, 0.25, 0.3),
        (3, 1, -0.4, 0.09, 0.6),
        (1, 64, 0.2, 0.04, 0.01),
        (6, 5, 0.0, 0.5, 0.9),
        (2, 768, 0.5, 0.16, 0.0001),
    ):
        grey = mean + variance**0.5 * torch.randn(n, 1, generator=rng)
        noise = torch.randn(n, d, generator=rng)
        cases.append((alpha_bar**0.5 * grey + (1 - alpha_bar) ** 0.5 * noise, mean, variance, alpha_bar))
    return cases


# 2.4


def factor(ab_prev, ab_t):
    """Of the picture's covariance in (2.21)."""
    return ab_prev * (1 - ab_t / ab_prev) ** 2 / (1 - ab_t) ** 2


def own(ab_prev, ab_t):
    """Beta tilde (2.15)."""
    return (1 - ab_t / ab_prev) * (1 - ab_prev) / (1 - ab_t)


def correlation(covariance, ab_prev, ab_t):
    """Of two pixels that share this covariance, and have beta tilde each for itself."""
    return covariance / (own(ab_prev, ab_t) + covariance)


def shared(r, ab_prev, ab_t):
    return correlation(factor(ab_prev, ab_t) * 4 * r * (1 - r), ab_prev, ab_t)


# 2.5


def last_widths():
    """Two points at -1 and 1, 1,000 exact steps: the width about +-root alpha-bar before the last step, as a
    share of the right one; and how far from the points the walks end.
    """
    bars = NoiseSchedule.linear().alphas_cumprod.double()
    measured = {}
    for name in ("beta tilde", "beta"):
        dice = torch.Generator().manual_seed(0)
        x = torch.randn(20_000, generator=dice, dtype=torch.float64)
        for t in reversed(range(1000)):
            ab, prev = float(bars[t]), float(bars[t - 1]) if t else 1.0
            if t == 0:
                off = (x.abs() - ab**0.5).square().mean().sqrt()
                measured[f"{name}: width before the last step"] = float(off) / (1 - ab) ** 0.5
            beta = 1 - ab / prev
            guess = torch.tanh(ab**0.5 * x / (1 - ab))
            tilde = beta * (1 - prev) / (1 - ab)
            width = (tilde if name == "beta tilde" else beta * (t > 0)) ** 0.5
            mean = (prev**0.5 * beta * guess + (1 - beta) ** 0.5 * (1 - prev) * x) / (1 - ab)
            x = mean + width * torch.randn(len(x), generator=dice, dtype=torch.float64)
        measured[f"{name}: distance at the end"] = round(float((x.abs() - 1).abs().mean()), 6)
    return measured


# 2.6


def paint_over(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    return over(x0, start, noise, predict_noise, step, generator, alphas_cumprod)


def over(x0, start, noise, predict_noise, step, generator, table, begin=None, times=None, told=lambda t: t):
    """paint_over with another beginning, other timesteps, or another timestep told to the network."""
    ab = float(table[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise if begin is None else begin(x0, ab, noise, start, table)
    for t in range(start, -1, -1) if times is None else times(start, len(table)):
        x = step(x, predict_noise(x, told(t)), t, torch.randn(x.shape, generator=generator))
    return x


def over_with(**changed):
    return lambda x0, start, noise, predict_noise, step, generator, alphas_cumprod: over(
        x0, start, noise, predict_noise, step, generator, alphas_cumprod, **changed
    )


def from_the_top(x0, ab, noise, start, table):
    last = float(table[-1])
    return last**0.5 * x0 + (1 - last) ** 0.5 * noise


def a_guess(x_t, t):
    return 0.3 * x_t + 0.02 * t


def a_step(x_t, noise, t, fresh):
    return 0.95 * x_t - 0.1 * noise + 0.01 * (t + 1) ** 0.5 * fresh * (t > 0)


def overs(rng):
    cases = []
    for shape, start in (((4,), 7), ((2, 3, 4, 6), 20), ((3, 2), 0), ((1, 1, 2, 2), 29)):
        x0, noise = torch.randn(2, *shape, generator=rng)
        dice = torch.Generator().manual_seed(start)
        cases.append((x0, start, noise, a_guess, a_step, dice, random_table(rng, 30)))
    return cases


# 2.7


def jump_back(x_t, noise, t, s, fresh, betas):
    return jumped_back(x_t, noise, t, s, fresh, betas)


def jumped_back(x_t, noise, t, s, fresh, betas, early=False, short=False, big=False):
    """jump_back with some of the bugs that the exercise comes with."""
    alphas = 1 - betas
    alpha = float(alphas[s:t].prod() if early else alphas[s + 1 : t + 1].prod())
    ab_t = float(alphas[:t].prod() if short else alphas[: t + 1].prod())
    ab_s = float(alphas[: s + 1].prod())
    mean = (x_t - (1 - alpha) / (1 - ab_t) ** 0.5 * noise) / alpha**0.5
    variance = (1 - alpha) * (1 if big else (1 - ab_s) / (1 - ab_t))
    return mean + variance**0.5 * fresh


def bugs_left(**bugs):
    return lambda x_t, noise, t, s, fresh, betas: jumped_back(x_t, noise, t, s, fresh, betas, **bugs)


given_jump = bugs_left(early=True, short=True, big=True)


def jumps(rng):
    cases = []
    for shape, t, s in (
        ((4,), 50, 30),
        ((2, 3, 4, 4), 19, -1),
        ((1, 2, 6, 6), 59, 40),
        ((3, 5), 12, 11),
        ((6,), 1, 0),
    ):
        x_t, noise, fresh = torch.randn(3, *shape, generator=rng)
        betas = 0.01 + 0.05 * torch.rand(60, generator=rng)
        cases.append((x_t, noise, t, s, fresh, betas))
    return cases


# 2.8

INPUT, OTHER, PICTURE, DIFFERENCE, ROOTLESS, EARLY = range(1, 7)


def loss_of_run(slip, t, alpha_bar):
    """What the factor that is best for a training loop with a slip pays for the noise in brighter noise.

    Numbers are written as their parts of three independent ones of variance 1: the mean of a product is the
    dot product of the parts. Slip 0 is none.
    """
    x0, noise, other = np.array([0.8, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, 1.0])
    x_t = alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * noise
    seen = alpha_bar * x0 + (1 - alpha_bar) * noise if slip == ROOTLESS else x_t
    label = {INPUT: x_t, OTHER: other, PICTURE: x0, DIFFERENCE: x_t - x0}.get(slip, noise)
    weight = 0.0 if slip == EARLY and t > 499 else seen @ label / (seen @ seen)
    return float(((weight * x_t - noise) ** 2).sum())


def slips():
    """Which slip is behind each run of the exercise's table."""
    return {"run A": DIFFERENCE, "run B": INPUT, "run C": EARLY, "run D": PICTURE, "run E": ROOTLESS}


# 2.9

STD, AXIS = 0.25, np.linspace(-6, 6, 2001)
AT = math.sqrt(1 - STD**2)  # the bells' centres are at +-AT, and their variance is 1
CELL = AXIS[1] - AXIS[0]
LAST = 5e-5  # the most that may be left of the picture at the end


def bell(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def unexplained(ab):
    """The mean of (x_0 - E[x_0 | x_t])^2 for the chapter's two bells."""
    gamma = ab * STD**2 + 1 - ab
    bells = [0.5 * bell(AXIS, ab**0.5 * point, gamma) for point in (-AT, AT)]
    inside = [point + ab**0.5 * STD**2 / gamma * (AXIS - ab**0.5 * point) for point in (-AT, AT)]
    guess = sum(b * one for b, one in zip(bells, inside)) / (sum(bells) + 1e-300)
    return 1 - float((sum(bells) * guess**2).sum() * CELL)


def gap(levels):
    """By how many nats the bound with these alpha-bars, least noise first, lies above the best possible."""
    try:
        bars = [float(level) for level in levels]
    except (TypeError, ValueError):
        raise RuleBroken("levels should be a list of ten numbers") from None
    if len(bars) != 10:
        raise RuleBroken(f"you gave {len(bars)} levels; there should be 10")
    if not all(1 > a > b > 0 for a, b in zip(bars, bars[1:])):
        raise RuleBroken("the levels should fall from below 1 to above 0, least noise first")
    if bars[-1] > LAST:
        raise RuleBroken(
            f"the last level is {bars[-1]:.4g}: hardly anything of the picture may be left, 5e-5"
        )
    total = -0.5 * math.log(1 - bars[-1])
    for ab, before in zip(bars[1:], bars):
        beta = 1 - ab / before
        tilde = beta * (1 - before) / (1 - ab)
        missed = before * beta**2 / (1 - ab) ** 2 * unexplained(ab)
        total += 0.5 * math.log(beta / tilde) + (tilde + missed) / (2 * beta) - 0.5
    first = 1 - bars[0]
    total += 0.5 * math.log(2 * math.pi * first) + unexplained(bars[0]) / (2 * first)
    density = sum(0.5 * bell(AXIS, point, STD**2) for point in (-AT, AT))
    return total + float((density * np.log(density + 1e-300)).sum() * CELL)


EVEN = tuple(NoiseSchedule.linear().alphas_cumprod[99::100].tolist())
FOUND = (0.9833, 0.9633, 0.9396, 0.9115, 0.878, 0.8367, 0.7836, 0.7101, 0.5927, 4e-5)

# 2.10

ANGLES = torch.arange(7) * 2 * math.pi / 7
CENTRES = 1.3 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
SHARES = torch.tensor([4.0, 3, 2, 1, 1, 2, 3]) / 16


def ring_walk(starts, fresh_of, last=0):
    """The exact walk with the chapter's seven clouds, from timestep 999 to `last`; fresh_of(x, t): noise."""
    bars, x = NoiseSchedule.linear().alphas_cumprod.tolist(), starts
    for t in range(999, last - 1, -1):
        ab, prev = bars[t], bars[t - 1] if t else 1.0
        variance, beta = ab * 0.04 + 1 - ab, 1 - ab / prev
        off = x[:, None] - ab**0.5 * CENTRES
        origin = torch.softmax(SHARES.log() - off.square().sum(-1) / (2 * variance), dim=1)  # (2.1)
        guess = (origin[:, :, None] * (CENTRES + ab**0.5 * 0.04 / variance * off)).sum(1)  # (2.2), (2.3)
        mean = (prev**0.5 * beta * guess + (1 - beta) ** 0.5 * (1 - prev) * x) / (1 - ab)
        x = mean + (beta * (1 - prev) / (1 - ab)) ** 0.5 * fresh_of(x, t)
    return x


def what_is_seen():
    """For four slips: does the judge of single points see it, and do the shares show it?"""
    dice = torch.Generator().manual_seed(0)
    starts = torch.randn(400, 2, generator=dice)

    def noise(x, t):
        return torch.randn(x.shape, generator=dice)

    ends = {
        "no fresh noise in the first 500 steps": ring_walk(starts, lambda x, t: noise(x, t) * (t < 500)),
        "no fresh noise in the last 500 steps": ring_walk(starts, lambda x, t: noise(x, t) * (t >= 500)),
        "stopped at timestep 100": ring_walk(starts, noise, last=100),
        "one fresh noise for all": ring_walk(starts, lambda x, t: noise(x[:1], t)),
    }
    seen = {}
    for slip, x in ends.items():
        distance, cloud = torch.cdist(x, CENTRES).min(dim=1)
        found = torch.bincount(cloud, minlength=7) / len(x)
        seen[f"{slip}: single points"] = bool((distance > 0.6).float().mean() > 0.05)
        seen[f"{slip}: shares"] = bool((found - SHARES).abs().max() > 0.1)
    return seen


# 2.11


def two_pictures():
    """The guesses by (2.1) and (2.3) for pictures 0 (three times as common) and 4, and the squared error."""
    pictures, common = np.array([0.0, 4.0]), np.array([0.75, 0.25])

    def guess(x_t, ab):
        fits = common * np.exp(-((x_t - ab**0.5 * pictures) ** 2) / (2 * (1 - ab)))
        return float(fits @ pictures / fits.sum())

    hidden = guess(0.0, 0.0)
    return {
        "x_t tells nothing": hidden,
        "half way": guess(1.6, 0.64),
        "little noise": guess(3.7, 0.99),
        "squared error": float(common @ (pictures - hidden) ** 2),
    }


EXERCISES = [
    Derive(
        number="2.1",
        name="between",
        section="2.5",
        minutes=15,
        right=between,
        ranges={"ab_r": (0.75, 0.95), "ab_s": (0.4, 0.7), "ab_t": (0.05, 0.35)},
        mistakes=(
            Mistake(
                between_without_roots,
                "The variance is right. In the mean, what multiplies a state is the root of what multiplies "
                "its variance.",
            ),
            Mistake(
                between_picture_and_state,
                "That is the posterior with the clean picture known. Here the cleaner state, x_r, is noised "
                "already: how much noise comes between it and x_s?",
            ),
            Mistake(
                between_exchanged,
                "The first two have changed places: the first belongs to x_r, the second to x_t.",
            ),
            Mistake(
                between_forwards,
                "The mean is right. Your variance is that of noising from r to s; what does knowing x_t add "
                "to A in (2.13)?",
            ),
            Mistake(
                between_deviation,
                "The mean is right. Asked for is the variance, and you gave its root, the width.",
            ),
        ),
    ),
    Predict(
        number="2.2",
        name="floor",
        section="2.3",
        minutes=15,
        measure=floors,
        within=0.05,
        mistakes=(
            Mistake(
                lambda: {"dim noise, t = 250": 0.479, "dim noise, t = 500": 0.922},
                "That is how much noise is in x_t. But where there is much noise it is easy to see: which "
                "part of x_t can the network *not* tell from the data?",
            ),
            Mistake(
                lambda: {"dim noise, t = 0": 0.0, "dim noise, t = 250": 0.0},
                "No network can bring it to 0: the data are numbers like the noise, and x_t is only their "
                "sum.",
            ),
            Mistake(
                lambda: {"dim noise, t = 250": 0.521, "dim noise, t = 500": 0.0779},
                "That would be right for data of variance 1. What is the variance of numbers that are half "
                "as large?",
            ),
            Mistake(
                lambda: {"dim noise, t = 250": 0.344, "dim noise, t = 500": 0.127},
                "You compared widths. A loss is a mean of squares, so compare variances.",
            ),
            Mistake(
                lambda: {"dim noise, t = 250": 0.272},
                "That is the signal-to-noise ratio: the data's part against the noise's, not against all "
                "of x_t.",
            ),
            Mistake(
                lambda: {"a hundred pictures, t = 250": 0.214},
                "A perfect network knows its hundred pictures. How many of them can lie under one x_t of "
                "768 numbers at this timestep?",
            ),
        ),
    ),
    Build(
        number="2.3",
        name="guess_of_wall",
        section="2.5",
        minutes=20,
        right=guess_of_wall,
        cases=walls,
        mistakes=(
            Mistake(
                each_pixel_alone,
                "You asked each pixel by itself, and the wall comes out speckled. All pixels of a row are "
                "noised copies of *one* grey.",
            ),
            Mistake(
                average_pixel,
                "That is the grey that fits the pixels best. With much noise it lands far outside the greys "
                "that walls have: what was known before any pixel was seen is missing.",
            ),
            Mistake(
                mean_left_out,
                "Right only for walls whose greys average 0: what pulls on the guess when the noise hides "
                "everything?",
            ),
            Mistake(
                one_pixel_counted,
                "You took the average pixel for a single pixel. How much less noise is there in an average "
                "of d?",
            ),
            Mistake(
                width_of_the_noise,
                "What divides the squares in the exponent is the noise's variance, and you took its width.",
            ),
            Mistake(
                width_of_the_greys,
                "The parameter `variance` already is a variance, and you took its root.",
            ),
        ),
    ),
    Derive(
        number="2.4",
        name="correlation",
        section="2.7",
        minutes=15,
        right=shared,
        ranges={"r": (0.1, 0.45), "ab_prev": (0.5, 0.9), "ab_t": (0.05, 0.45)},
        mistakes=(
            Mistake(
                lambda r, ab_prev, ab_t: factor(ab_prev, ab_t) * 4 * r * (1 - r),
                "That is the covariance. A correlation is that divided by the variance of a pixel, (2.19).",
            ),
            Mistake(
                lambda r, ab_prev, ab_t: factor(ab_prev, ab_t) * 4 * r * (1 - r) / own(ab_prev, ab_t),
                "You divided by beta tilde alone. A pixel of x_{t-1} also varies because the picture is "
                "in doubt.",
            ),
            Mistake(
                lambda r, ab_prev, ab_t: correlation(factor(ab_prev, ab_t) * r * (1 - r), ab_prev, ab_t),
                "r (1 - r) is right for a coin that says 0 or 1. These pixels are -1 or 1.",
            ),
            Mistake(
                lambda r, ab_prev, ab_t: 1.0 + 0 * r,
                "The pixels of x_0 are always equal. Those of x_{t-1} are not: each has noise of its own.",
            ),
            Mistake(
                lambda r, ab_prev, ab_t: correlation(
                    factor(ab_prev, ab_t) ** 0.5 * 4 * r * (1 - r), ab_prev, ab_t
                ),
                "Both pixels carry the factor of the picture: in a mean of products it appears twice.",
            ),
            Mistake(
                lambda r, ab_prev, ab_t: correlation(factor(ab_prev, ab_t) * (2 - 2 * r), ab_prev, ab_t),
                "The mean of the product is 1; what you take away from it should be the product of the two "
                "means.",
            ),
        ),
    ),
    Predict(
        number="2.5",
        name="widths",
        section="2.7",
        minutes=10,
        measure=last_widths,
        within=0.12,
        mistakes=(
            Mistake(
                lambda: {"beta: width before the last step": 1.0},
                "With beta too much noise is added at every step, and most so at the last ones. The guess "
                "pulls some of it back, not all.",
            ),
            Mistake(
                lambda: {"beta: distance at the end": 0.01},
                "The last step adds no noise, and what is its mean when the guess is certain? See (2.16) "
                "at t = 1.",
            ),
            Mistake(
                lambda: {"beta tilde: width before the last step": 0.674},
                "With beta tilde every step draws from the true posterior when the picture is certain: "
                "nothing is lost.",
            ),
            Mistake(
                lambda: {"beta: width before the last step": 2.2},
                "You divided beta by beta tilde, two variances of one step's fresh noise. Asked for is a "
                "width, and of the whole cloud.",
            ),
        ),
    ),
    Build(
        number="2.6",
        name="paint_over",
        section="2.6",
        minutes=15,
        right=paint_over,
        cases=overs,
        mistakes=(
            Mistake(
                over_with(begin=lambda x0, ab, noise, start, table: noise),
                "You began with pure noise: nothing of the given picture is left. Noise it to `start` only.",
            ),
            Mistake(
                over_with(begin=lambda x0, ab, noise, start, table: x0),
                "You began with the clean picture: at `start` the network expects a noised one.",
            ),
            Mistake(
                over_with(begin=from_the_top),
                "The picture was noised all the way to the last timestep, and then walked from `start`.",
            ),
            Mistake(
                over_with(times=lambda start, steps: range(start - 1, -1, -1)),
                "The walk begins one step late: x_start itself must be stepped back, too.",
            ),
            Mistake(
                over_with(times=lambda start, steps: range(start, 0, -1)),
                "The walk stops one step early: timestep 0 is missing, and a grain of noise remains.",
            ),
            Mistake(
                over_with(times=lambda start, steps: range(start + 1)),
                "You walked from 0 upwards. The walk begins with the most noise, at `start`.",
            ),
            Mistake(
                over_with(told=lambda t: t + 1),
                "The steps are right, but the network is told one timestep too high.",
            ),
            Mistake(
                over_with(begin=lambda x0, ab, noise, start, table: ab * x0 + (1 - ab) * noise),
                "The walk is right, the beginning is not: neither factor of the jump (1.13) has its root.",
            ),
        ),
    ),
    FindTheBug(
        number="2.7",
        name="jump_back",
        section="2.6",
        minutes=15,
        right=jump_back,
        cases=jumps,
        given=given_jump,
        mistakes=(
            Mistake(
                bugs_left(early=True),
                "The noise level at t and the variance are right. Which noising steps lie between x_s and "
                "x_t? Count them for s = -1.",
            ),
            Mistake(
                bugs_left(short=True),
                "Only the noise level at t is still wrong: how many noising steps has x_t gone through?",
            ),
            Mistake(
                bugs_left(big=True),
                "The mean is right. The fresh noise is too wide, and at s = -1 some is added to the "
                "finished picture.",
            ),
            Mistake(
                bugs_left(early=True, short=True),
                "One down, two to go: the fresh noise has the right formula. Check both products by hand "
                "for three betas.",
            ),
            Mistake(
                bugs_left(early=True, big=True),
                "One down, two to go: the noise level at t is right. Look at the jump's own alpha, and at "
                "the width of the fresh noise.",
            ),
            Mistake(
                bugs_left(short=True, big=True),
                "One down, two to go: the jump's own alpha is right. Look at the noise level at t, and at "
                "the width of the fresh noise.",
            ),
        ),
    ),
    Predict(
        number="2.8",
        name="slip_of",
        section="2.3",
        minutes=20,
        measure=slips,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"run A": ROOTLESS, "run E": DIFFERENCE},
                "Runs A and E have changed places. Work out both factors at t = 250, and what each pays.",
            ),
            Mistake(
                lambda: {"run B": PICTURE, "run D": INPUT},
                "Runs B and D have changed places. At t = 999 the input is all noise: which of the two "
                "labels leads to the right answer there?",
            ),
            Mistake(
                lambda: {"run C": OTHER},
                "A label that is unrelated to the input makes every factor 0, also at t = 250. Run C does "
                "as well as possible there.",
            ),
            Mistake(
                lambda: {"run D": OTHER},
                "With an unrelated label nothing is learned, and the loss is 1 at every timestep. Run D "
                "pays *more* than 1 somewhere.",
            ),
            Mistake(
                lambda: {"run B": EARLY},
                "Run B is nearly as good as can be at late timesteps, which it would never have seen.",
            ),
            Mistake(
                lambda: {"run A": OTHER},
                "Run A learns something: at t = 500 it is close to the best. What does an unrelated label "
                "teach?",
            ),
        ),
    ),
    ReachTheMark(
        number="2.9",
        name="levels",
        section="2.8",
        minutes=25,
        score=gap,
        what="the bound's gap in nats",
        mark=0.25,
        right=FOUND,
        mistakes=(
            Mistake(
                None,
                "These are evenly spaced timesteps of DDPM's schedule. At which of your ten steps is the "
                "gap made? Print its parts.",
                seen=lambda answer, cases: all(abs(float(a) - b) < 1e-6 for a, b in zip(answer, EVEN)),
            ),
            Mistake(
                None,
                "More than half of your levels have an alpha bar below one half. Where do the two "
                "bells part?",
                seen=lambda answer, cases: sum(float(level) < 0.5 for level in answer) > 5,
            ),
            Mistake(
                None,
                "Your first level is very close to 1. A first step far smaller than the bells' width buys "
                "nothing, and the others must be longer for it.",
                seen=lambda answer, cases: float(answer[0]) > 0.995,
            ),
        ),
    ),
    Predict(
        number="2.10",
        name="seen",
        section="2.11",
        minutes=15,
        measure=what_is_seen,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"no fresh noise in the last 500 steps: single points": True},
                "Less noise can hardly throw a point out of a cloud. Where did the chapter's walks without "
                "fresh noise end?",
            ),
            Mistake(
                lambda: {"no fresh noise in the last 500 steps: shares": False},
                "When do walks choose their clouds? Section 2.2 counted how many had done so half way.",
            ),
            Mistake(
                lambda: {"no fresh noise in the first 500 steps: shares": True},
                "These walks arrive too close together half way. How long does a walk remember where it was?",
            ),
            Mistake(
                lambda: {"stopped at timestep 100: single points": False},
                "How wide is the noise that is left at timestep 100, beside clouds that are 0.2 wide?",
            ),
            Mistake(
                lambda: {"stopped at timestep 100: shares": True},
                "The shares need no sharp points, only the nearest cloud. How many walks still change it at "
                "the end in section 2.2?",
            ),
            Mistake(
                lambda: {"one fresh noise for all: single points": True},
                "Each walk by itself has throws as good as any. A judge of single points sees nothing else.",
            ),
            Mistake(
                lambda: {"one fresh noise for all: shares": False},
                "If the start decides next to nothing, what can make two walks end in different clouds?",
            ),
        ),
    ),
    Predict(
        number="2.11",
        name="guesses",
        section="2.1",
        minutes=5,
        measure=two_pictures,
        within=0.04,
        mistakes=(
            Mistake(
                lambda: {"x_t tells nothing": 0.0},
                "That is the likelier picture. The guess is the average of both.",
            ),
            Mistake(
                lambda: {"x_t tells nothing": 2.0},
                "You let both pictures count alike. How often does each of them come?",
            ),
            Mistake(
                lambda: {"half way": 2.0},
                "Half way between them both pictures fit equally well. Was one of them likelier beforehand?",
            ),
            Mistake(
                lambda: {"little noise": 3.7},
                "That is x_t itself. The guess is an average of pictures, and there are only two.",
            ),
            Mistake(
                lambda: {"squared error": 1.732},
                "That is the root of it, a distance.",
            ),
        ),
    ),
]
