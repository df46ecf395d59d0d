"""The checks of chapter 1: Gaussian noise. It spoils the exercises to read this first."""

import math

import torch

from ..kinds import Build, Mistake


def random_table(rng: torch.Generator, steps: int) -> torch.Tensor:
    """alphas_cumprod (steps,) of a random schedule."""
    betas = 0.001 + 0.02 * torch.rand(steps, generator=rng)
    return torch.cumprod(1 - betas, dim=0)


# 1.1


def width_of_sum(factors):
    return math.sqrt(sum(factor**2 for factor in factors))


def sums(rng):
    lists = [[0.8, 0.6], [1.0], [0.5, -2.0, 1.5]]
    return [(factors,) for factors in [*lists, torch.randn(6, generator=rng).tolist()]]


# 1.2


def one_dose(x, beta, noise):
    return (1 - beta) ** 0.5 * x + beta**0.5 * noise


def doses(rng):
    shapes = [(4,), (3, 5, 5), (2, 3, 4, 4)]
    return [
        (torch.randn(*shape, generator=rng), beta, torch.randn(*shape, generator=rng))
        for shape, beta in zip(shapes, (0.01, 0.3, 0.9))
    ]


# 1.3


def add_noise(x0, noise, t, alphas_cumprod):
    alpha_bar = alphas_cumprod[t].view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def along_the_width(x0, noise, t, alphas_cumprod):
    alpha_bar = alphas_cumprod[t].view(-1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def batches(rng):
    cases = []
    for batch, channels, size in ((5, 3, 5), (1, 4, 6), (8, 2, 8)):
        x0, noise = torch.randn(2, batch, channels, size, size, generator=rng)
        cases.append((x0, noise, torch.randint(2, 60, (batch,), generator=rng), random_table(rng, 60)))
    return cases


# 1.4


def scaled_linear(beta_start, beta_end, steps):
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps) ** 2
    return torch.cumprod(1 - betas, dim=0)


def settings(rng):
    return [(0.00085, 0.012, 1000), (0.001, 0.02, 50), (0.01, 0.3, 7)]


# 1.5


def jump_from(x_s, noise, s, t, alphas_cumprod):
    ratio = alphas_cumprod[t] / alphas_cumprod[s]
    return ratio.sqrt() * x_s + (1 - ratio).sqrt() * noise


def jumps(rng):
    return [
        (*torch.randn(2, *shape, generator=rng), s, t, random_table(rng, 60))
        for shape, s, t in (((4,), 3, 40), ((2, 3, 4, 4), 0, 59), ((1, 2, 6, 6), 30, 31))
    ]


# 1.6


def first_below(decibels, alphas_cumprod):
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return int((10 * torch.log10(snr) >= decibels).sum())


def levels(rng):
    return [
        (0.0, scaled_linear(0.00085, 0.012, 1000)),
        (-6.0, random_table(rng, 400)),
        (7.5, random_table(rng, 300)),
    ]


def tables(rng):
    return [
        (scaled_linear(0.00085, 0.012, 1000),),
        (random_table(rng, 40),),
        (random_table(rng, 7).double(),),
    ]


# 1.7


def end_in_noise(alphas_cumprod):
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2


def without_roots(alphas_cumprod):
    first, last = alphas_cumprod[0], alphas_cumprod[-1]
    return (alphas_cumprod - last) * first / (first - last)


def last_one_only(alphas_cumprod):
    new = alphas_cumprod.clone()
    new[-1] = 0
    return new


EXERCISES = [
    Build(
        number="1.1",
        name="width_of_sum",
        minutes=5,
        right=width_of_sum,
        cases=sums,
        section="1.3",
        mistakes=(
            Mistake(
                lambda factors: sum(factors),
                (
                    "You added the factors as they are. Two noises often pull in opposite directions: "
                    "variances add."
                ),
            ),
            Mistake(
                lambda factors: sum(abs(f) for f in factors),
                "You added the widths. Two noises of width 1 make one of width 1.41, not 2.",
            ),
            Mistake(
                lambda factors: sum(f**2 for f in factors),
                "This is the variance of the sum. The question is the standard deviation, which one sees as "
                "a "
                "width.",
            ),
            Mistake(
                lambda factors: math.sqrt(sum(f**2 for f in factors) / len(factors)),
                "You took the average of the squares. Variances add; nothing divides by their number.",
            ),
            Mistake(
                lambda factors: math.sqrt(abs(sum(factors))),
                (
                    "What multiplies a noise enters its variance squared (1.3); you added the factors "
                    "themselves."
                ),
            ),
        ),
    ),
    Build(
        number="1.2",
        name="one_dose",
        minutes=5,
        right=one_dose,
        cases=doses,
        section="1.4",
        mistakes=(
            Mistake(
                lambda x, beta, noise: (1 - beta) * x + beta * noise,
                (
                    "The squares of your two factors do not sum to one. A variance is the square of what "
                    "multiplies."
                ),
            ),
            Mistake(
                lambda x, beta, noise: x + beta**0.5 * noise,
                "Nothing shrinks here: dose after dose the variance would grow for ever, as in (1.7).",
            ),
            Mistake(
                lambda x, beta, noise: (1 - beta) ** 0.5 * x + beta * noise,
                "The noise is too weak: beta is its variance, not its width.",
            ),
            Mistake(
                lambda x, beta, noise: beta**0.5 * x + (1 - beta) ** 0.5 * noise,
                (
                    "The two factors have changed places: with a small beta nearly all of the picture "
                    "should remain."
                ),
            ),
            Mistake(
                lambda x, beta, noise: (1 - beta) * x + beta**0.5 * noise,
                "The picture shrinks too fast: its variance should become 1 - beta times what it was.",
            ),
        ),
    ),
    Build(
        number="1.3",
        name="add_noise",
        minutes=10,
        right=add_noise,
        cases=batches,
        section="1.6",
        mistakes=(
            Mistake(
                lambda x0, noise, t, ab: (c := ab[t].view(-1, 1, 1, 1)) * x0 + (1 - c) * noise,
                "Neither factor is a root: a variance is the square of what multiplies, see (1.13).",
            ),
            Mistake(
                lambda x0, noise, t, ab: (c := ab[t].view(-1, 1, 1, 1)).sqrt() * x0 + (1 - c) * noise,
                "The noise is too weak: 1 - alpha bar is its variance, and what multiplies it is the root of "
                "that.",
            ),
            Mistake(
                lambda x0, noise, t, ab: add_noise(x0, noise, t, torch.cat([ab[:1], ab[1:] / ab[:-1]])),
                "Right at t = 0, and late in the table the picture is still there: is that one dose's "
                "alpha, or "
                "all of them multiplied, (1.12)?",
            ),
            Mistake(
                along_the_width,
                "Your factors run along the width of the pictures instead of along the batch: which axis do "
                "they "
                "multiply?",
            ),
            Mistake(
                lambda x0, noise, t, ab: add_noise(x0, noise, t[:1], ab),
                "Every picture is noised to the first picture's timestep: t holds one for each.",
            ),
            Mistake(
                lambda x0, noise, t, ab: add_noise(x0, noise, t - 1, ab),
                "One dose too few: from which number does code count?",
            ),
            Mistake(
                lambda x0, noise, t, ab: (c := ab[t].view(-1, 1, 1, 1).sqrt()) * x0 + (1 - c) * noise,
                "The two factors sum to one; it is their squares that should.",
            ),
            Mistake(
                lambda x0, noise, t, ab: (c := ab[t].view(-1, 1, 1, 1)) * x0 + (1 - c).sqrt() * noise,
                "The noise is right, the picture fades too fast: its factor is a root as well.",
            ),
            Mistake(
                lambda x0, noise, t, ab: (1 - (c := ab[t].view(-1, 1, 1, 1))).sqrt() * x0 + c.sqrt() * noise,
                "The two factors have changed places: at t = 0 nearly all of the picture should be there.",
            ),
            Mistake(
                lambda x0, noise, t, ab: ab[t].view(-1, 1, 1, 1).sqrt() * x0 + noise,
                "The noise comes at full strength at every timestep; its factor is missing.",
            ),
        ),
    ),
    Build(
        number="1.4",
        name="scaled_linear",
        minutes=10,
        right=scaled_linear,
        cases=settings,
        section="1.7",
        mistakes=(
            Mistake(
                lambda start, end, steps: torch.cumprod(1 - torch.linspace(start, end, steps), 0),
                "These are DDPM's evenly spaced betas (1.16). Here the roots of the betas are evenly spaced.",
            ),
            Mistake(
                lambda start, end, steps: torch.cumprod(1 - torch.linspace(start**0.5, end**0.5, steps), 0),
                "You never squared: what linspace made are the roots of the betas, and the picture drowns at "
                "once.",
            ),
            Mistake(
                lambda start, end, steps: torch.cumprod(
                    1 - torch.linspace(start**0.5, end**0.5, steps) ** 4, 0
                ),
                "You squared twice: at the end nearly all of the picture is left.",
            ),
            Mistake(
                lambda start, end, steps: torch.cumprod(1 - torch.linspace(start, end, steps) ** 2, 0),
                "You squared betas that were evenly spaced. Evenly spaced are their roots, and squaring them "
                "brings the betas back.",
            ),
            Mistake(
                lambda start, end, steps: 1 - torch.linspace(start**0.5, end**0.5, steps) ** 2,
                "These are the alphas of the single doses; alpha bar is their running product (1.12).",
            ),
            Mistake(
                lambda start, end, steps: torch.linspace(start**0.5, end**0.5, steps) ** 2,
                "These are the betas. Two more steps lead to the table: (1.12).",
            ),
            Mistake(
                lambda start, end, steps: torch.cumprod(torch.linspace(start**0.5, end**0.5, steps) ** 2, 0),
                "You multiplied the betas. What is left after a dose is 1 - beta.",
            ),
            Mistake(
                lambda start, end, steps: torch.cat([torch.ones(1), scaled_linear(start, end, steps)[:-1]]),
                "Your table begins at 1, before any dose. Code counts from 0: the first entry stands after "
                "the "
                "first dose.",
            ),
        ),
    ),
    Build(
        number="1.5",
        name="jump_from",
        minutes=10,
        right=jump_from,
        cases=jumps,
        section="1.5",
        mistakes=(
            Mistake(
                lambda x, noise, s, t, ab: ab[t].sqrt() * x + (1 - ab[t]).sqrt() * noise,
                "This is the jump from the clean picture. Some of the noise is there already: start from s.",
            ),
            Mistake(
                lambda x, noise, s, t, ab: (ab[t] / ab[s]) * x + (1 - ab[t] / ab[s]) * noise,
                "The right ratio, and its roots are missing: a variance is the square of what multiplies.",
            ),
            Mistake(
                lambda x, noise, s, t, ab: (ab[t] / ab[s]).sqrt() * x + (ab[s] - ab[t]).sqrt() * noise,
                "The noise is too weak: if x_s has variance 1, which variance must x_t have, (1.9)?",
            ),
            Mistake(
                lambda x, noise, s, t, ab: (r := (ab[t] / ab[t - 1])).sqrt() * x + (1 - r).sqrt() * noise,
                "This is the last dose alone. Multiply all those between s and t.",
            ),
            Mistake(
                lambda x, noise, s, t, ab: ab[t - s].sqrt() * x + (1 - ab[t - s]).sqrt() * noise,
                "You gave the first t - s doses once more. The doses between s and t are others, and "
                "stronger or "
                "weaker.",
            ),
            Mistake(
                None,
                "Your ratio is upside down: more picture would be left after the doses than before.",
                seen=lambda answer, cases: (
                    all(  # it gives NaN, a root of 1 - ratio; right with s and t exchanged
                        torch.allclose(answer(x, noise, t, s, ab), jump_from(x, noise, s, t, ab), atol=1e-5)
                        for x, noise, s, t, ab in cases
                    )
                ),
            ),
            Mistake(
                lambda x, noise, s, t, ab: (ab[t] / ab[s]).sqrt() * x + (1 - ab[t]).sqrt() * noise,
                "The picture's factor is right, the noise is that of a jump from the clean picture: too "
                "much of "
                "it.",
            ),
        ),
    ),
    Build(
        number="1.6",
        name="first_below",
        minutes=10,
        right=first_below,
        cases=levels,
        section="1.7",
        mistakes=(
            Mistake(
                lambda db, ab: first_below(db, ab) - 1,
                "One too early: at this timestep the ratio is not yet below.",
            ),
            Mistake(
                lambda db, ab: first_below(db / 2, ab),
                (
                    "You took 20 log10. That is for ratios of widths; the signal-to-noise ratio is one of "
                    "variances."
                ),
            ),
            Mistake(
                lambda db, ab: int((ab < 0.5).int().argmax()),
                "You found where the noise becomes louder. That is 0 decibels; the level asked for is given.",
            ),
            Mistake(
                lambda db, ab: int((10 * torch.log10(ab) >= db).sum()),
                "You took the picture's loudness alone. The ratio divides it by the noise's, 1 - alpha bar.",
            ),
            Mistake(
                lambda db, ab: int((10 * torch.log(ab / (1 - ab)) >= db).sum()),
                "A decibel goes by the logarithm to base 10, torch.log10.",
            ),
            Mistake(
                lambda db, ab: int((ab / (1 - ab) >= db).sum()),
                "You compared the ratio itself with decibels: a decibel is a logarithm.",
            ),
            Mistake(
                lambda db, ab: int((10 * torch.log10((ab / (1 - ab)).sqrt()) >= db).sum()),
                "You took the ratio of the two factors, the roots. Loudness is variance: (1.20).",
            ),
            Mistake(
                lambda db, ab: first_below(db, ab) + 1,
                "One too late: the ratio is below already one timestep before. Count from 0.",
            ),
        ),
    ),
    Build(
        number="1.7",
        name="end_in_noise",
        minutes=20,
        right=end_in_noise,
        cases=tables,
        section="1.9",
        mistakes=(
            Mistake(
                without_roots,
                "You shifted and stretched alpha bar itself. Lin et al. do it to its root, the share of the "
                "picture.",
            ),
            Mistake(
                last_one_only,
                "Only the last entry changed: the step before it would have to remove all that is left at "
                "once. "
                "Move the whole curve.",
            ),
            Mistake(
                lambda ab: (ab.sqrt() - ab[-1].sqrt()) ** 2,
                "Shifted and not stretched: your first value is no longer what it was.",
            ),
            Mistake(
                lambda ab: (r := ab.sqrt(), (r - r[-1]) * r[0] / (r[0] - r[-1]))[1],
                "These are the roots; the table holds their squares.",
            ),
            Mistake(
                lambda ab: (r := ab.sqrt(), (r - r[-1]) / (r[0] - r[-1]))[1] ** 2,
                "Your first value is 1, as if the first dose had added nothing. It should keep its value.",
            ),
        ),
    ),
]
