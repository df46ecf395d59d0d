"""The checks of chapter 4: samplers. It spoils the exercises to read this first."""

import math

import numpy as np
import torch

from minisd.samplers import dpmpp_2m, pndm

from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 4.1

MOST = math.atan(14.6)  # the angle of the noisiest level, for a bell of width 1


def widths():
    """What Euler leaves of the right width of one bell of width 1, on even steps of the angle."""
    found = {}
    for steps, name in ((1, "1 step"), (2, "2 steps"), (8, "8 steps")):
        levels = np.tan(np.linspace(MOST, 0, steps + 1))
        width = math.hypot(1, 14.6)
        for sigma, sigma_next in zip(levels, levels[1:]):
            width *= 1 + (sigma_next - sigma) * sigma / (1 + sigma**2)
        found[name] = float(width)
    return found


# 4.2


def sigma_at(t, alphas_cumprod):
    return float((1 - alphas_cumprod[t]) / alphas_cumprod[t]) ** 0.5


def euler_for_x_t(predict_noise, x, t, t_next, alphas_cumprod):
    sigma, sigma_next = (sigma_at(s, alphas_cumprod) for s in (t, t_next))
    noise = predict_noise(x / (1 + sigma**2) ** 0.5, t)
    return x + (sigma_next - sigma) * noise


def not_scaled(predict_noise, x, t, t_next, alphas_cumprod):
    return x + (sigma_at(t_next, alphas_cumprod) - sigma_at(t, alphas_cumprod)) * predict_noise(x, t)


def scaled_up(predict_noise, x, t, t_next, alphas_cumprod):
    grown = x * (1 + sigma_at(t, alphas_cumprod) ** 2) ** 0.5
    return x + (sigma_at(t_next, alphas_cumprod) - sigma_at(t, alphas_cumprod)) * predict_noise(grown, t)


def scaled_by_sigma(predict_noise, x, t, t_next, alphas_cumprod):
    sigma = sigma_at(t, alphas_cumprod)
    return x + (sigma_at(t_next, alphas_cumprod) - sigma) * predict_noise(x / sigma, t)


def up_the_curve(predict_noise, x, t, t_next, alphas_cumprod):
    return 2 * x - euler_for_x_t(predict_noise, x, t, t_next, alphas_cumprod)


def told_t_next(predict_noise, x, t, t_next, alphas_cumprod):
    return euler_for_x_t(lambda x_t, _: predict_noise(x_t, t_next), x, t, t_next, alphas_cumprod)


def in_preserving_units(predict_noise, x, t, t_next, alphas_cumprod):
    return euler_for_x_t(predict_noise, x, t, t_next, alphas_cumprod) * float(alphas_cumprod[t_next]) ** 0.5


def noise_on_top(predict_noise, x, t, t_next, alphas_cumprod):
    noise = predict_noise(x / (1 + sigma_at(t, alphas_cumprod) ** 2) ** 0.5, t)
    return x + sigma_at(t_next, alphas_cumprod) * noise


def a_network(scale):
    def predict_noise(x, t):
        return torch.tanh(scale * x) + 0.01 * t

    return predict_noise


def downs(rng):
    table = torch.cumprod(1 - 0.001 - 0.04 * torch.rand(60, generator=rng), dim=0)
    chosen = ((4,), 0.5, 59, 40), ((2, 4, 3, 3), 1.5, 30, 0), ((1, 4, 6, 6), 1.0, 45, 44)
    return [
        (a_network(scale), 2 * torch.randn(*shape, generator=rng), t, t_next, table)
        for shape, scale, t, t_next in chosen
    ]


# 4.3


def kept(sigma, sigma_next, w):
    return (w**2 + sigma * sigma_next) / math.sqrt((w**2 + sigma**2) * (w**2 + sigma_next**2))


# 4.4


def down_and_up(sigma, sigma_next, eta):
    up = eta * sigma_next * (1 - (sigma_next / sigma) ** 2) ** 0.5
    return (sigma_next**2 - up**2) ** 0.5, up


def levels(rng):
    return [(14.6, 10.2, 1.0), (3.0, 2.9, 0.5), (1.0, 0.2, 0.0), (0.5, 0.03, 0.8), (0.3, 0.0, 1.0)]


# 4.5


def second_order(noise_of, x, sigmas):
    return list(dpmpp_2m(noise_of, x, sigmas))[-1]


def with_memory(noise_of, x, sigmas, aim, remember):
    """2M with another aim, or another memory: functions of (guess, before, r) and (guess, target, x)."""
    before = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        guess = target = x - sigma * noise_of(x, sigma)
        if before is not None:
            target = aim(guess, before, math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next))
        x, before = sigma_next / sigma * x + (1 - sigma_next / sigma) * target, remember(guess, target, x)
    return x


def to_the_middle(guess, before, r):
    return guess + (guess - before) / (2 * r)


def remembers_its_target(noise_of, x, sigmas):
    return with_memory(noise_of, x, sigmas, to_the_middle, lambda guess, target, x: target)


def variant(aim):
    return lambda noise_of, x, sigmas: with_memory(noise_of, x, sigmas, aim, lambda guess, target, x: guess)


def remembers_x(noise_of, x, sigmas):
    return with_memory(noise_of, x, sigmas, to_the_middle, lambda guess, target, x: x)


def two_bells(x, sigma):
    """The noise that a perfect denoiser sees in x, for bells of width 0.3 around -1 and 1."""
    variance = 0.09 + sigma**2
    return sigma / variance * (x - torch.tanh(x / variance))


def walks(rng):
    return [
        (two_bells, sigmas[0] * torch.randn(5, generator=rng), sigmas)
        for sigmas in ([8.0, 4.0, 2.0, 1.0, 0.5], [5.0, 3.0, 2.0, 1.2, 0.7, 0.2], [3.0, 2.5, 0.4, 0.1])
    ]


# 4.6


def corrector(h, b):
    return h / 2 - h**2 / (6 * (b + h)), h / 2 + h**2 / (6 * b), -(h**3) / (6 * b * (b + h))


def without_the_end(h, b):
    return 0 * h, h + h**2 / (2 * b), -(h**2) / (2 * b)


# 4.7


def last_picture(guess, before, sigma, sigma_before):
    return guess + sigma**2 / (sigma_before**2 - sigma**2) * (guess - before)


def guesses(rng):
    return [
        (*torch.randn(2, *shape, generator=rng), sigma, sigma_before)
        for shape, sigma, sigma_before in (
            ((5,), 0.5, 1.3),
            ((2, 4, 3, 3), 0.1, 0.2),
            ((1, 4, 6, 5), 2.0, 2.5),
        )
    ]


# 4.8


def bears(b):
    return 1 + (1 + b) / (2 * (1 - b))


# 4.9


def velocity(x_tau, tau, noise):
    return (noise - x_tau) / (1 - tau)


# 4.10

CLOUD = 0.2
ANGLES = torch.arange(7, dtype=torch.float64) * 2 * math.pi / 7
CENTRES = 1.3 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
SHARES = torch.tensor([4.0, 3, 2, 1, 1, 2, 3], dtype=torch.float64) / 16


def clouds_noise(x, sigma):
    """The average noise in x (n, 2), for the chapter's seven clouds."""
    variance = CLOUD**2 + sigma**2
    gap = x[:, None] - CENTRES
    belongs = torch.softmax(SHARES.log() - gap.square().sum(-1) / (2 * variance), dim=1)
    return (x - (belongs[:, :, None] * (CENTRES + CLOUD**2 / variance * gap)).sum(1)) / sigma


def starts(rng):
    clouds = torch.multinomial(SHARES, 200, replacement=True, generator=rng)
    spread = torch.randn(2, 200, 2, generator=rng, dtype=torch.float64)
    return CENTRES[clouds] + CLOUD * spread[0] + 14.6 * spread[1]


def true_ends(x):
    """The curve from 14.6 to nearly 0: the midpoint rule in ln sigma, 800 steps."""
    fine = np.geomspace(14.6, 1e-3, 801).tolist()
    for sigma, sigma_next in zip(fine, fine[1:]):
        middle = math.sqrt(sigma * sigma_next)
        half = x + (middle - sigma) * clouds_noise(x, sigma)
        x = x + (sigma_next - sigma) * clouds_noise(half, middle)
    return x


def error_of(answer):
    """The median distance of the ends from the curve's; at most eight calls."""
    x, calls = starts(torch.Generator().manual_seed(8)), 0

    def noise_of(x, sigma):
        nonlocal calls
        calls += 1
        if calls > 8:
            raise RuleBroken(
                "the denoiser was called more than 8 times: Heun calls it twice a step, PNDM once more"
            )
        return clouds_noise(x, sigma)

    found = answer(noise_of, x.clone())
    if not isinstance(found, torch.Tensor) or found.shape != x.shape:
        raise RuleBroken("return the points where the walk ends, a tensor of the shape of x")
    return float((found - true_ends(x)).norm(dim=1).median())


def eight_calls(noise_of, x):
    taus = np.linspace(14.6 / 15.6, 0.08 / 1.08, 7)
    return list(pndm(noise_of, x, [*(taus / (1 - taus)).tolist(), 0.0]))[-1]  # 7 steps, the first twice


def euler_on(levels):
    def walk(noise_of, x):
        for sigma, sigma_next in zip(levels, levels[1:]):
            x = x + (sigma_next - sigma) * noise_of(x, sigma)
        return x

    return walk


KARRAS = (np.linspace(14.6 ** (1 / 7), 0.03 ** (1 / 7), 8) ** 7).tolist()


EXERCISES = [
    Predict(
        number="4.1",
        name="left",
        section="4.5",
        minutes=10,
        measure=widths,
        within=0.1,
        mistakes=(
            Mistake(
                lambda: {"1 step": 1 - MOST**2 / 2, "2 steps": 1 - MOST**2 / 4},
                "You used the approximation for many steps. With one or two, the angle of a step is not "
                "small: keep "
                "the cosine.",
            ),
            Mistake(
                lambda: {"2 steps": math.cos(MOST / 2), "8 steps": math.cos(MOST / 8)},
                "That is the loss of a single step. Every step has one, and they multiply.",
            ),
            Mistake(
                lambda: {"2 steps": math.cos(MOST / 2) ** 4, "8 steps": math.cos(MOST / 8) ** 16},
                "These are shares of the variance; the question is the width.",
            ),
            Mistake(
                lambda: {"1 step": math.cos(MOST), "2 steps": math.cos(MOST)},
                "The first step is right. With two steps each turns by half the angle.",
            ),
        ),
    ),
    Build(
        number="4.2",
        name="euler_for_x_t",
        minutes=15,
        right=euler_for_x_t,
        cases=downs,
        section="4.4",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                not_scaled,
                "You asked with x as it is. This network has only ever seen x_t: scale before asking.",
            ),
            Mistake(scaled_up, "You scaled the wrong way: x is larger than x_t, so divide."),
            Mistake(
                scaled_by_sigma,
                "You divided by sigma. x_t is x over the root of 1 + sigma^2, (4.5): near the picture sigma "
                "is "
                "nearly 0.",
            ),
            Mistake(
                up_the_curve,
                "You walk up the curve, to more noise: the step is sigma_next - sigma, and that is negative.",
            ),
            Mistake(told_t_next, "You told the network t_next. What you show it has the noise of t."),
            Mistake(
                in_preserving_units,
                "Your result is x_t at t_next. The question is x in exploding units: no factor at the end.",
            ),
            Mistake(
                noise_on_top,
                "You added the noise of the new level and left the old noise in: from (4.7) the picture D is "
                "missing, or the minus sigma.",
            ),
        ),
    ),
    Derive(
        number="4.3",
        name="kept",
        section="4.9",
        minutes=15,
        right=kept,
        ranges={"sigma": (1.0, 3.0), "sigma_next": (0.1, 0.9), "w": (0.1, 2.0)},
        mistakes=(
            Mistake(
                lambda sigma, sigma_next, w: (w**2 + sigma * sigma_next) / (w**2 + sigma**2),
                "This is what the step does to x, and so to the width. Compare it with what the right step "
                "would do.",
            ),
            Mistake(
                lambda sigma, sigma_next, w: math.sqrt((w**2 + sigma_next**2) / (w**2 + sigma**2)),
                "This is what the right step does to the width. What does Euler's do?",
            ),
            Mistake(
                lambda sigma, sigma_next, w: sigma_next / sigma,
                "You held the guess D at 0. The best guess for a bell moves with x.",
            ),
            Mistake(
                lambda sigma, sigma_next, w: (
                    (w**2 + sigma * sigma_next) / math.sqrt((w**2 + sigma**2) / (w**2 + sigma_next**2))
                ),
                "Divide by what the right step does to the width, and mind which of the two widths is on "
                "top there.",
            ),
            Mistake(
                lambda sigma, sigma_next, w: (
                    sigma_next * math.sqrt(w**2 + sigma**2) / (sigma * math.sqrt(w**2 + sigma_next**2))
                ),
                "You took x / sigma for the guessed noise: as if the picture were always 0.",
            ),
        ),
    ),
    Build(
        number="4.4",
        name="down_and_up",
        minutes=10,
        right=down_and_up,
        cases=levels,
        section="4.9",
        mistakes=(
            Mistake(
                lambda s, n, eta: down_and_up(s, n, eta)[::-1],
                "The two have changed places. Their squares still sum to the right level, so no single "
                "step shows it: "
                "which should be small when the step is short?",
            ),
            Mistake(
                lambda s, n, eta: (down_and_up(s, n, eta)[0], down_and_up(s, n, eta)[1] ** 2),
                "Your up is a variance. It multiplies noise, so it must be a width.",
            ),
            Mistake(
                lambda s, n, eta: (n**2 / s, down_and_up(s, n, eta)[1]),
                "Down is right where eta is 1. With less fresh noise Euler must not go so far down: what "
                "do the two "
                "squares sum to?",
            ),
            Mistake(
                lambda s, n, eta: (n - down_and_up(s, n, eta)[1], down_and_up(s, n, eta)[1]),
                "Widths do not add, variances do: the squares of down and up should sum to the square of "
                "sigma_next.",
            ),
            Mistake(
                lambda s, n, eta: (n, down_and_up(s, n, eta)[1]),
                "You go down to sigma_next itself and then add noise: that is too much, you end above "
                "sigma_next.",
            ),
            Mistake(
                lambda s, n, eta: (
                    (n**2 - eta * down_and_up(s, n, 1.0)[1] ** 2) ** 0.5,
                    eta**0.5 * down_and_up(s, n, 1.0)[1],
                ),
                "You let eta scale the variance. In DDIM it scales the width.",
            ),
            Mistake(
                lambda s, n, eta: down_and_up(s, n, 1.0),
                "Right at eta = 1. Your result does not change with eta.",
            ),
        ),
    ),
    FindTheBug(
        number="4.5",
        name="two_m",
        section="4.7",
        minutes=20,
        right=second_order,
        cases=walks,
        given=remembers_its_target,
        mistakes=(
            Mistake(
                variant(lambda guess, before, r: guess),
                "You removed the memory: an honest Euler step, still of order 1. The memory is needed; "
                "what should it "
                "hold?",
            ),
            Mistake(
                variant(lambda guess, before, r: guess + (guess - before) / r),
                "Now you aim at the picture as it will be at the end of the step. The average over a step "
                "is in its "
                "middle.",
            ),
            Mistake(
                variant(lambda guess, before, r: guess + r * (guess - before) / 2),
                "The ratio of the steps is upside down now: after a long step the same difference means a "
                "slower change.",
            ),
            Mistake(
                variant(lambda guess, before, r: guess - (guess - before) / (2 * r)),
                "The sign: you now aim at a picture that lies behind the last guess.",
            ),
            Mistake(remembers_x, "You remember the point x. (4.27) needs two guesses of the picture."),
        ),
    ),
    Derive(
        number="4.6",
        name="corrector",
        section="4.6",
        minutes=25,
        right=corrector,
        ranges={"h": (0.2, 2.0), "b": (0.2, 2.0)},
        mistakes=(
            Mistake(
                lambda h, b: (5 * h / 12, 8 * h / 12, -h / 12),
                "Right for equal steps. Here the step before has its own length b.",
            ),
            Mistake(
                lambda h, b: corrector(h, b)[::-1],
                "The order is reversed: first the weight at the end of the step, last that of the step "
                "before.",
            ),
            Mistake(
                lambda h, b: (h / 2, h / 2, 0 * b),
                "This is the mean of the two ends, Heun's rule: exact for straight lines. Three values can "
                "do parabolas.",
            ),
            Mistake(
                lambda h, b: corrector(h, -b),
                "Mind the sign of the place before: counted from the step's beginning it is -b.",
            ),
            Mistake(
                lambda h, b: tuple(w / h for w in corrector(h, b)),
                "Your weights sum to 1: they make a mean slope. The integral is that times the step.",
            ),
            Mistake(
                without_the_end,
                "These use only what lies behind, as (4.20) does. This time the value at the end is known "
                "too.",
            ),
        ),
    ),
    Build(
        number="4.7",
        name="last_picture",
        section="4.13",
        minutes=20,
        right=last_picture,
        cases=guesses,
        mistakes=(
            Mistake(
                lambda d, before, s, s_before: d,
                "This is the first-order jump that minisd makes. Two guesses make a curve: where does it "
                "lead?",
            ),
            Mistake(
                lambda d, before, s, s_before: d + s / (s_before - s) * (d - before),
                "This is a straight line in the noise level. The guess changes with its square.",
            ),
            Mistake(
                lambda d, before, s, s_before: d + s**2 / (s_before**2 - s**2) * (d - before) / 2,
                "This is the picture half-way, as in (4.27). In this step something else counts: which "
                "part of the "
                "integral is left when the end goes to 0?",
            ),
            Mistake(
                lambda d, before, s, s_before: d - s**2 / (s_before**2 - s**2) * (d - before),
                "You go back along the curve, towards the older guess.",
            ),
            Mistake(
                lambda d, before, s, s_before: d + (s_before**2 - s**2) / s**2 * (d - before),
                "The ratio is upside down: what is left is sigma squared, what lies behind is the "
                "difference of the "
                "squares.",
            ),
            Mistake(
                lambda d, before, s, s_before: d + s**2 / s_before**2 * (d - before),
                "What lies behind went from sigma_before to sigma, not from sigma_before to 0.",
            ),
        ),
    ),
    Derive(
        number="4.8",
        name="bears",
        section="4.14",
        minutes=25,
        right=bears,
        ranges={"b": (0.1, 0.9)},
        mistakes=(
            Mistake(
                lambda b: 2 / (1 - b),
                "This is what Euler bears. In a zigzag the guess before has the other sign, and (4.27) "
                "makes the "
                "difference larger.",
            ),
            Mistake(
                lambda b: (1 + b) / (2 * (1 - b)),
                "Nearly: D is not minus kappa times x. What is D where kappa is 1?",
            ),
            Mistake(
                lambda b: 1 + (1 + b) / (3 * (1 - b)),
                "You aimed at the end of the step: with equal ratios r is 1, and (4.27) adds half the "
                "difference.",
            ),
            Mistake(
                lambda b: 1 - (1 + b) / (2 * (1 - b)),
                "Mind the sign: a steep slope has kappa above 1, where D moves against x.",
            ),
            Mistake(
                lambda b: 1 + (1 - b) / (2 * (1 - b)),
                "You asked for a miss that keeps its sign. At the border it is a zigzag.",
            ),
        ),
    ),
    Derive(
        number="4.9",
        name="velocity",
        section="4.12",
        minutes=10,
        right=velocity,
        ranges={"x_tau": (-2.0, 2.0), "tau": (0.1, 0.9), "noise": (-2.0, 2.0)},
        mistakes=(
            Mistake(
                lambda x_tau, tau, noise: (x_tau - noise) / (1 - tau),
                "This velocity leads from the noise to the picture: the time of the paper. The chapter's "
                "runs the "
                "other way.",
            ),
            Mistake(
                lambda x_tau, tau, noise: noise - x_tau,
                "You took x_tau for the picture. It is a mixture; take the noise out first.",
            ),
            Mistake(
                lambda x_tau, tau, noise: noise - (x_tau - tau * noise),
                "You took the noise out, but what is left is the picture times a factor.",
            ),
            Mistake(
                lambda x_tau, tau, noise: (x_tau - tau * noise) / (1 - tau),
                "This is the guessed picture. The velocity is the noise less that.",
            ),
            Mistake(
                lambda x_tau, tau, noise: noise - (x_tau - tau / (1 - tau) * noise),
                "x_tau is not x: (4.7) holds in exploding units.",
            ),
        ),
    ),
    ReachTheMark(
        number="4.10",
        name="eight_calls",
        section="4.13",
        minutes=30,
        score=error_of,
        what="median distance from the true ends",
        mark=0.03,
        right=eight_calls,
        seconds=60.0,
        mistakes=(
            Mistake(
                euler_on([*KARRAS, 0.0]),
                "This is Euler on Karras levels. Two choices can be better, the levels and the solver.",
            ),
            Mistake(
                euler_on(np.linspace(14.6, 0, 9).tolist()),
                "Even steps of sigma: most of your calls are far out, where nothing is decided.",
            ),
            Mistake(
                euler_on(KARRAS),
                "You stop at sigma = 0.03 and return what is still noised. The goal is the clean point.",
            ),
        ),
    ),
]
