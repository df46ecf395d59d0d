"""The checks of chapter 2: denoising. It spoils the exercises to read this first."""

import math

import numpy as np
import torch

from ...schedule import NoiseSchedule
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken
from .ch01 import random_table

# 2.1


def jump(ab_s, ab_t):
    alpha = ab_t / ab_s
    picture = math.sqrt(ab_s) * (1 - alpha) / (1 - ab_t)
    state = math.sqrt(alpha) * (1 - ab_s) / (1 - ab_t)
    return picture, state, (1 - alpha) * (1 - ab_s) / (1 - ab_t)


def jump_without_roots(ab_s, ab_t):
    alpha = ab_t / ab_s
    return ab_s * (1 - alpha) / (1 - ab_t), alpha * (1 - ab_s) / (1 - ab_t), jump(ab_s, ab_t)[2]


def jump_from_the_start(ab_s, ab_t):
    """As if the jump from s to t were the whole jump from the picture to t."""
    return math.sqrt(ab_s), math.sqrt(ab_t) * (1 - ab_s) / (1 - ab_t), 1 - ab_s


def jump_exchanged(ab_s, ab_t):
    picture, state, variance = jump(ab_s, ab_t)
    return state, picture, variance


def jump_forwards(ab_s, ab_t):
    return *jump(ab_s, ab_t)[:2], 1 - ab_t / ab_s


def jump_deviation(ab_s, ab_t):
    return *jump(ab_s, ab_t)[:2], math.sqrt(jump(ab_s, ab_t)[2])


# 2.2


def floors():
    """The least possible mean loss, from 400,000 numbers: white noise as data, and one picture alone."""
    rng, bars = torch.Generator().manual_seed(0), NoiseSchedule.linear().alphas_cumprod
    data, noise = torch.randn(2, 400_000, generator=rng)
    measured = {}
    for t in (0, 250, 500):
        x_t = bars[t].sqrt() * data + (1 - bars[t]).sqrt() * noise
        slope = (
            x_t * noise
        ).mean() / x_t.square().mean()  # of the best straight line, which is the best guess
        measured[f"white noise, t = {t}"] = float((noise - slope * x_t).square().mean())
    return measured | {"one picture, t = 0": 0.0}


# 2.3


def guess_of_two(x_t, a, b, share, alpha_bar):
    return mixed(x_t, a, b, alpha_bar, math.log(share / (1 - share)), 2 * (1 - alpha_bar))


def mixed(x_t, a, b, alpha_bar, start, divisor):
    to_a, to_b = ((x_t - alpha_bar**0.5 * point).square().sum(1) for point in (a, b))
    r = torch.sigmoid(start + (to_b - to_a) / divisor)[:, None]
    return r * a + (1 - r) * b


def nearer_of_two(x_t, a, b, share, alpha_bar):
    to_a, to_b = ((x_t - alpha_bar**0.5 * point).square().sum(1) for point in (a, b))
    start = math.log(share / (1 - share))
    return torch.where((start + (to_b - to_a) / (2 * (1 - alpha_bar)) > 0)[:, None], a, b)


def number_by_number(x_t, a, b, share, alpha_bar):
    to_a, to_b = ((x_t - alpha_bar**0.5 * point).square() for point in (a, b))
    r = torch.sigmoid(math.log(share / (1 - share)) + (to_b - to_a) / (2 * (1 - alpha_bar)))
    return r * a + (1 - r) * b


def unshrunk(x_t, a, b, share, alpha_bar):
    to_a, to_b = ((x_t - point).square().sum(1) for point in (a, b))
    r = torch.sigmoid(math.log(share / (1 - share)) + (to_b - to_a) / (2 * (1 - alpha_bar)))[:, None]
    return r * a + (1 - r) * b


def points(rng):
    cases = []
    for n, d, share, alpha_bar in ((6, 2, 0.5, 0.5), (4, 1, 0.2, 0.3), (5, 7, 0.8, 0.15), (1, 3, 0.6, 0.9)):
        a, b = torch.randn(2, d, generator=rng)
        from_a = torch.rand(n, 1, generator=rng) < share
        noise = torch.randn(n, d, generator=rng)
        x_t = alpha_bar**0.5 * torch.where(from_a, a, b) + (1 - alpha_bar) ** 0.5 * noise
        cases.append((x_t, a, b, share, alpha_bar))
    return cases


# 2.4


def shared(r, ab_prev, ab_t):
    beta = 1 - ab_t / ab_prev
    return ab_prev * beta**2 / (1 - ab_t) ** 2 * 4 * r * (1 - r)


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


def jump_back(x_t, noise, t, s, fresh, alphas_cumprod):
    return jumped_back(x_t, noise, t, s, fresh, alphas_cumprod)


def jumped_back(x_t, noise, t, s, fresh, table, one_step=False, wraps=False, big=False):
    """jump_back with some of the bugs that the exercise comes with."""
    ab_t = float(table[t])
    ab_s = float(table[s]) if s >= 0 or wraps else 1.0
    before = (float(table[t - 1]) if t > 0 or wraps else 1.0) if one_step else ab_s
    alpha = ab_t / before
    beta = 1 - alpha
    x0 = (x_t - (1 - ab_t) ** 0.5 * noise) / ab_t**0.5
    mean = (ab_s**0.5 * beta * x0 + alpha**0.5 * (1 - ab_s) * x_t) / (1 - ab_t)
    variance = beta if big else beta * (1 - ab_s) / (1 - ab_t)
    return mean + abs(variance) ** 0.5 * fresh


def bugs_left(**bugs):
    return lambda x_t, noise, t, s, fresh, alphas_cumprod: jumped_back(
        x_t, noise, t, s, fresh, alphas_cumprod, **bugs
    )


given_jump = bugs_left(one_step=True, wraps=True, big=True)


def jumps(rng):
    return [
        (x_t, noise, t, s, fresh, random_table(rng, 60))
        for shape, t, s in (((4,), 50, 30), ((2, 3, 4, 4), 19, -1), ((1, 2, 6, 6), 59, 40), ((3, 5), 12, 11))
        for x_t, noise, fresh in [torch.randn(3, *shape, generator=rng)]
    ]


# 2.8


def fit_weights(pictures, alphas_cumprod, steps, generator):
    return trained(pictures, alphas_cumprod, steps, generator)


def trained(pictures, alphas_cumprod, steps, generator, low=0, keeps=False, copies=False):
    """fit_weights with some of the bugs that the exercise comes with."""
    weights = torch.zeros(len(alphas_cumprod), requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.5)
    for _ in range(steps):
        x0 = pictures[torch.randint(len(pictures), (16,), generator=generator)]
        t = torch.randint(low, len(alphas_cumprod), (16,), generator=generator)
        noise = torch.randn(x0.shape, generator=generator)
        alpha_bar = alphas_cumprod[t].view(-1, 1, 1, 1)
        x_t = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise
        guess = weights[t].view(-1, 1, 1, 1) * x_t
        loss = (guess - (x_t if copies else noise)).square().mean()
        if not keeps:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weights.detach()


def still(**bugs):
    return lambda pictures, alphas_cumprod, steps, generator: trained(
        pictures, alphas_cumprod, steps, generator, **bugs
    )


given_training = still(low=1, keeps=True, copies=True)


def trainings(rng):
    return [
        (torch.randn(n, 1, 3, 4, generator=rng), random_table(rng, length), steps, dice)
        for n, length, steps in ((20, 6, 40), (5, 3, 25), (1, 10, 30))
        for dice in [torch.Generator().manual_seed(n)]
    ]


# 2.9

STD, AXIS = 0.25, np.linspace(-6, 6, 2001)
CELL = AXIS[1] - AXIS[0]
LAST = 5e-5  # the most that may be left of the picture at the end


def bell(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def unexplained(ab):
    """The mean of (x_0 - E[x_0 | x_t])^2 for the chapter's two bells."""
    gamma = ab * STD**2 + 1 - ab
    bells = [0.5 * bell(AXIS, ab**0.5 * point, gamma) for point in (-1, 1)]
    inside = [point + ab**0.5 * STD**2 / gamma * (AXIS - ab**0.5 * point) for point in (-1, 1)]
    guess = sum(b * one for b, one in zip(bells, inside)) / (sum(bells) + 1e-300)
    return 1 + STD**2 - float((sum(bells) * guess**2).sum() * CELL)


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
    total = 0.5 * (bars[-1] * (1 + STD**2) - bars[-1] - math.log(1 - bars[-1]))
    for ab, before in zip(bars[1:], bars):
        beta = 1 - ab / before
        tilde = beta * (1 - before) / (1 - ab)
        missed = before * beta**2 / (1 - ab) ** 2 * unexplained(ab)
        total += 0.5 * math.log(beta / tilde) + (tilde + missed) / (2 * beta) - 0.5
    first = 1 - bars[0]
    total += 0.5 * math.log(2 * math.pi * first) + unexplained(bars[0]) / (2 * first)
    density = sum(0.5 * bell(AXIS, point, STD**2) for point in (-1, 1))
    return total + float((density * np.log(density + 1e-300)).sum() * CELL)


EVEN = tuple(NoiseSchedule.linear().alphas_cumprod[99::100].tolist())
FOUND = (0.9827, 0.9619, 0.9371, 0.9075, 0.8722, 0.8292, 0.7743, 0.6982, 0.5779, 4e-5)


EXERCISES = [
    Derive(
        number="2.1",
        name="jump",
        section="2.5",
        minutes=15,
        right=jump,
        ranges={"ab_s": (0.5, 0.9), "ab_t": (0.05, 0.45)},
        mistakes=(
            Mistake(
                jump_without_roots,
                "The variance is right. In the mean, what multiplies a picture or a state is the root "
                "of what "
                "multiplies its variance.",
            ),
            Mistake(
                jump_from_the_start,
                "You took the jump from the picture to t for the one from s to t. How much variance does "
                "(1.15) leave between s and t?",
            ),
            Mistake(
                jump_exchanged,
                "The first two have changed places: the first belongs to the picture, the second to x_t.",
            ),
            Mistake(
                jump_forwards,
                "The mean is right. Your variance is that of the jump forwards; what does knowing the "
                "picture add to A in (2.13)?",
            ),
            Mistake(
                jump_deviation,
                "The mean is right. Asked for is the variance, and you gave its root, the width.",
            ),
        ),
    ),
    Predict(
        number="2.2",
        name="floor",
        section="2.3",
        minutes=10,
        measure=floors,
        within=0.05,
        mistakes=(
            Mistake(
                lambda: {"white noise, t = 250": 0.476, "white noise, t = 500": 0.922},
                "That is how much noise is in x_t. But where there is much noise it is easy to see: which "
                "share of x_t can the network *not* tell apart from the data?",
            ),
            Mistake(
                lambda: {"white noise, t = 0": 0.0, "white noise, t = 250": 0.0},
                "No network can bring it to 0: the data are numbers like the noise, and x_t is only their "
                "sum.",
            ),
            Mistake(
                lambda: {"one picture, t = 0": 1.0},
                "If there is one picture alone, x_0 is known. What does (2.5) then say about the "
                "noise, even "
                "a faint one?",
            ),
            Mistake(
                lambda: {"white noise, t = 250": 0.724, "white noise, t = 500": 0.279},
                "You took the root of the share: a loss is a mean of squares.",
            ),
        ),
    ),
    Build(
        number="2.3",
        name="guess_of_two",
        section="2.1",
        minutes=20,
        right=guess_of_two,
        cases=points,
        mistakes=(
            Mistake(
                nearer_of_two,
                "You chose the likelier picture. The best guess is the average of both, each with its "
                "probability.",
            ),
            Mistake(
                lambda x_t, a, b, share, ab: mixed(x_t, a, b, ab, 0.0, 2 * (1 - ab)),
                "Right for a fair coin only: the probability of a before anything was seen is missing.",
            ),
            Mistake(
                lambda x_t, a, b, share, ab: mixed(x_t, a, b, ab, math.log(share / (1 - share)), 1 - ab),
                "Too sure of itself: the exponent of (1.1) divides by twice the variance.",
            ),
            Mistake(
                unshrunk,
                "You measured the distance to the clean pictures. In x_t they are shrunk by the root "
                "of alpha "
                "bar.",
            ),
            Mistake(
                number_by_number,
                "You decided each number by itself. All numbers of a picture are evidence for the "
                "same coin: "
                "add their squares first.",
            ),
            Mistake(
                lambda x_t, a, b, share, ab: mixed(
                    x_t, a, b, ab, math.log(share / (1 - share)), 2 * (1 - ab) ** 0.5
                ),
                "The exponent divides by the variance of the noise, 1 - alpha bar, and you took its root.",
            ),
        ),
    ),
    Derive(
        number="2.4",
        name="shared",
        section="2.7",
        minutes=15,
        right=shared,
        ranges={"r": (0.1, 0.45), "ab_prev": (0.5, 0.9), "ab_t": (0.05, 0.45)},
        mistakes=(
            Mistake(
                lambda r, ab_prev, ab_t: shared(r, ab_prev, ab_t) / 4,
                "r (1 - r) is right for a coin that says 0 or 1. These pixels are -1 or 1.",
            ),
            Mistake(
                lambda r, ab_prev, ab_t: 4 * r * (1 - r),
                "That is what the pixels of x_0 share. In x_{t-1} the picture has a factor, (2.16).",
            ),
            Mistake(
                lambda r, ab_prev, ab_t: (
                    math.sqrt(ab_prev) * (1 - ab_t / ab_prev) / (1 - ab_t) * 4 * r * (1 - r)
                ),
                "Both pixels carry the factor of the picture: in a mean of products it appears twice.",
            ),
            Mistake(
                lambda r, ab_prev, ab_t: (
                    shared(r, ab_prev, ab_t) + (1 - ab_t / ab_prev) * (1 - ab_prev) / (1 - ab_t)
                ),
                "You added beta tilde. That is each pixel's own noise, and two pixels' own noises "
                "have nothing "
                "in common.",
            ),
            Mistake(
                lambda r, ab_prev, ab_t: (
                    ab_prev * (1 - ab_t / ab_prev) ** 2 / (1 - ab_t) ** 2 * (1 - (2 * r - 1))
                ),
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
                "With beta too much noise is added at every step, and most so at the last ones. The "
                "guess pulls "
                "some of it back, not all.",
            ),
            Mistake(
                lambda: {"beta: distance at the end": 0.01},
                "The last step adds no noise, and what is its mean when the guess is certain? See "
                "(2.16) at "
                "t = 1.",
            ),
            Mistake(
                lambda: {"beta tilde: width before the last step": 0.674},
                "With beta tilde every step draws from the true posterior when the picture is "
                "certain: nothing "
                "is lost.",
            ),
            Mistake(
                lambda: {"beta: width before the last step": 2.2},
                "You divided beta by beta tilde, two variances of one step's fresh noise. Asked for "
                "is a width, and "
                "of the whole cloud.",
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
        section="2.5",
        minutes=15,
        right=jump_back,
        cases=jumps,
        given=given_jump,
        mistakes=(
            Mistake(
                bugs_left(one_step=True),
                "The variance and the end are right. Over a long jump the picture is still pulled too "
                "little: "
                "between which two timesteps does alpha belong?",
            ),
            Mistake(
                bugs_left(wraps=True),
                "Right between two timesteps. The jump to the clean picture, s = -1, still reads the "
                "last entry "
                "of the table.",
            ),
            Mistake(
                bugs_left(big=True),
                "The mean is right. The noise is still too wide, and at s = -1 some is added to the "
                "finished "
                "picture.",
            ),
            Mistake(
                bugs_left(one_step=True, wraps=True),
                "One down, two to go: the noise is right where s is t - 1. Look at a longer jump, and "
                "at s = -1.",
            ),
            Mistake(
                bugs_left(one_step=True, big=True),
                "One down, two to go: s = -1 is told apart. Look at alpha over a longer jump, and at "
                "the width "
                "of the noise.",
            ),
            Mistake(
                bugs_left(wraps=True, big=True),
                "One down, two to go: the mean is right between two timesteps. Look at s = -1, and at "
                "the width "
                "of the noise.",
            ),
        ),
    ),
    FindTheBug(
        number="2.8",
        name="fit_weights",
        section="2.3",
        minutes=20,
        right=fit_weights,
        cases=trainings,
        given=given_training,
        mistakes=(
            Mistake(
                still(low=1), "It learns, but one timestep is never trained: its weight is still 0. Which?"
            ),
            Mistake(
                still(keeps=True),
                "It learns the right thing on every timestep, and overshoots, swinging to and fro: each "
                "gradient is added to all those before it.",
            ),
            Mistake(
                still(copies=True),
                "The loss falls to 0 and every weight to 1: it learns to copy its input. What is the label?",
            ),
            Mistake(
                still(low=1, keeps=True),
                "The label is right now. Two are left: a timestep that is never trained, and weights "
                "that swing.",
            ),
            Mistake(
                still(low=1, copies=True),
                "The swinging is gone. Two are left: a timestep that is never trained, and weights "
                "that go to "
                "1.",
            ),
            Mistake(
                still(keeps=True, copies=True),
                "Every timestep is trained now. Two are left: weights that swing, and a label that is "
                "known to "
                "the network.",
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
                "These are evenly spaced timesteps of DDPM's schedule. At which of your ten steps is "
                "the gap "
                "made? Print its parts.",
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
]
