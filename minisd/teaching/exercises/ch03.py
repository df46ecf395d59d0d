"""The checks of chapter 3: fewer steps, DDIM. It spoils the exercises to read this first."""

import torch

from ..kinds import Build, Mistake

# 3.1


def timesteps(number, total, offset):
    stride = total // number
    offset = min(offset, total - 1 - (number - 1) * stride)
    return [i * stride + offset for i in range(number)][::-1]


def spread_to_the_end(number, total, offset):
    return [round(i * (total - 1) / max(number - 1, 1)) for i in range(number)][::-1]


def counts(rng):
    return [(50, 1000, 1), (10, 1000, 0), (7, 1000, 1), (30, 500, 2), (8, 8, 1)]


# 3.2


def predict_original(noise, x_t, alpha_bar):
    return (x_t - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5


def guesses(rng):
    return [
        (*torch.randn(2, *shape, generator=rng), alpha_bar)
        for shape, alpha_bar in (((5,), 0.9), ((2, 4, 3, 3), 0.3), ((1, 4, 8, 8), 0.0047))
    ]


# 3.3


def sigma_of(eta, ab_t, ab_prev):
    return eta * ((1 - ab_prev) / (1 - ab_t)) ** 0.5 * (1 - ab_t / ab_prev) ** 0.5


def slides(rng):
    return [(1.0, 0.3, 0.4), (0.5, 0.0047, 0.0056), (0.2, 0.9, 0.99), (0.0, 0.2, 0.7)]


# 3.4


def ddim_step(x0, noise, ab_t, ab_prev, eta, fresh):
    sigma = sigma_of(eta, ab_t, ab_prev)
    return ab_prev**0.5 * x0 + (1 - ab_prev - sigma**2) ** 0.5 * noise + sigma * fresh


def steps(rng):
    return [
        (*torch.randn(2, *shape, generator=rng), ab_t, ab_prev, eta, torch.randn(*shape, generator=rng))
        for shape, ab_t, ab_prev, eta in (
            ((6,), 0.3, 0.35, 1.0),
            ((2, 4, 3, 3), 0.05, 0.2, 0.5),
            ((1, 4, 8, 8), 0.8, 0.85, 0.3),
            ((4,), 0.1, 0.6, 0.0),
        )
    ]


def new_dice(x0, noise, ab_t, ab_prev, eta, fresh):
    return ddim_step(x0, noise, ab_t, ab_prev, eta, torch.randn_like(x0))


# 3.5


def slerp(a, b, u):
    phi = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return torch.sin((1 - u) * phi) / torch.sin(phi) * a + torch.sin(u * phi) / torch.sin(phi) * b


def lacks_lengths(answer, cases):
    """The scalar product of two long arrows is no cosine, and its angle is NaN."""
    return bool(answer(*cases[0]).isnan().all())


def by_rows(a, b, u):
    phi = torch.acos(
        (a * b).sum(-1, keepdim=True) / (a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True))
    )
    return torch.sin((1 - u) * phi) / torch.sin(phi) * a + torch.sin(u * phi) / torch.sin(phi) * b


def right_angle(a, b, u):
    turn = torch.tensor(u * torch.pi / 2)
    return torch.cos(turn) * a + torch.sin(turn) * b


def pairs(rng):
    return [
        (*torch.randn(2, *shape, generator=rng), u)
        for shape, u in (((4, 6, 6), 0.5), ((2, 5), 0.2), ((4, 8, 8), 0.9))
    ]


# 3.6


def invert_one(predict_noise, x_s, s, t, alphas_cumprod):
    ab_s, ab_t = float(alphas_cumprod[s]), float(alphas_cumprod[t])
    noise = predict_noise(x_s, s)
    x0 = (x_s - (1 - ab_s) ** 0.5 * noise) / ab_s**0.5
    return ab_t**0.5 * x0 + (1 - ab_t) ** 0.5 * noise


def asked_at_t(predict_noise, x_s, s, t, alphas_cumprod):
    return invert_one(lambda x, _: predict_noise(x, t), x_s, s, t, alphas_cumprod)


def guess_returned(predict_noise, x_s, s, t, alphas_cumprod):
    ab_s = float(alphas_cumprod[s])
    return (x_s - (1 - ab_s) ** 0.5 * predict_noise(x_s, s)) / ab_s**0.5


def not_denoised(predict_noise, x_s, s, t, alphas_cumprod):
    ab_t = float(alphas_cumprod[t])
    return ab_t**0.5 * x_s + (1 - ab_t) ** 0.5 * predict_noise(x_s, s)


def with_dice(predict_noise, x_s, s, t, alphas_cumprod):
    ratio = float(alphas_cumprod[t] / alphas_cumprod[s])
    return ratio**0.5 * x_s + (1 - ratio) ** 0.5 * predict_noise(x_s, s)


def a_network(scale):
    def predict_noise(x, t):
        return torch.tanh(scale * x) + 0.01 * t

    return predict_noise


def ups(rng):
    table = torch.cumprod(1 - 0.001 - 0.02 * torch.rand(60, generator=rng), dim=0)
    return [
        (a_network(scale), torch.randn(*shape, generator=rng), s, t, table)
        for shape, scale, s, t in (
            ((4,), 0.5, 0, 3),
            ((2, 4, 3, 3), 1.5, 10, 59),
            ((1, 4, 6, 6), 1.0, 30, 40),
        )
    ]


# 3.7


def marginal(a, b, c, ab_t):
    return a + b * ab_t**0.5, b**2 * (1 - ab_t) + c**2


def factors(rng):
    draws = torch.rand(4, 4, generator=rng).tolist()
    return [
        (0.7, 0.0, 0.3, 0.5),
        (0.2, 0.9, 0.1, 0.3),
        *[(a, b - 1.2, c, 0.05 + 0.9 * ab) for a, b, c, ab in draws],
    ]


EXERCISES = [
    Build(
        number="3.1",
        name="timesteps",
        minutes=10,
        right=timesteps,
        cases=counts,
        section="3.10",
        mistakes=(
            Mistake(
                lambda n, total, offset: timesteps(n, total, 0),
                "The offset is missing: with 50 of 1000 the list should end at 1, not at 0. The last step of "
                "yours would do nothing.",
            ),
            Mistake(
                lambda n, total, offset: timesteps(n, total, offset)[::-1],
                "The right timesteps in the wrong order: painting begins where the noise is loudest.",
            ),
            Mistake(
                lambda n, total, offset: [i * (total // n) + offset for i in range(n)][::-1],
                "Right as long as there is room. With as many steps as timesteps the offset would leave the "
                "table.",
            ),
            Mistake(
                spread_to_the_end,
                "You spread the timesteps from 0 to the last one. Here they stand total // number apart and "
                "begin "
                "at the offset.",
            ),
            Mistake(
                lambda n, total, offset: list(range(0, total, total // n))[::-1],
                "You take every so-many-th to the end of the table: at some numbers that is one step more "
                "than "
                "was asked.",
            ),
            Mistake(
                lambda n, total, offset: [
                    min(t, total - 1) for t in range(offset, total + offset, total // n)
                ][::-1],
                "You take every so-many-th up to the end: where the number does not divide the total, there "
                "are "
                "more steps than asked.",
            ),
        ),
    ),
    Build(
        number="3.2",
        name="predict_original",
        minutes=5,
        right=predict_original,
        cases=guesses,
        section="3.4",
        mistakes=(
            Mistake(
                lambda noise, x, ab: (x - (1 - ab) * noise) / ab,
                (
                    "The roots are missing: alpha bar and 1 - alpha bar are variances, and roots of them "
                    "multiply."
                ),
            ),
            Mistake(
                lambda noise, x, ab: x - (1 - ab) ** 0.5 * noise,
                "You took the noise away and stopped: the picture that is left is still shrunk.",
            ),
            Mistake(
                lambda noise, x, ab: x / ab**0.5 - (1 - ab) ** 0.5 * noise,
                "You divide only x_t: take the noise away first, then divide all that is left by the root of "
                "alpha bar.",
            ),
            Mistake(
                lambda noise, x, ab: x - noise,
                "You took away the noise at full strength. How much of it is in x_t?",
            ),
            Mistake(
                lambda noise, x, ab: (x - ab**0.5 * noise) / (1 - ab) ** 0.5,
                (
                    "The two factors have changed places: this would be the noise, if you had been given "
                    "the picture."
                ),
            ),
            Mistake(
                lambda noise, x, ab: ((x - (1 - ab) ** 0.5 * noise) / ab**0.5).clamp(-1, 1),
                "You clipped the guess. Pixel models do; latents go beyond one.",
            ),
        ),
    ),
    Build(
        number="3.3",
        name="sigma_of",
        minutes=5,
        right=sigma_of,
        cases=slides,
        section="3.3",
        mistakes=(
            Mistake(
                lambda eta, t, s: eta * ((1 - t) / (1 - s)) ** 0.5 * (1 - t / s) ** 0.5,
                "The first fraction stands upside down: near the picture sigma must become small.",
            ),
            Mistake(
                lambda eta, t, s: eta * (1 - s) / (1 - t) * (1 - t / s),
                "This is a variance times eta; sigma is a width.",
            ),
            Mistake(
                lambda eta, t, s: eta**0.5 * sigma_of(1.0, t, s),
                "You put eta under the root. It multiplies the width, not the variance: right at 0 and 1, "
                "wrong "
                "between.",
            ),
            Mistake(
                lambda eta, t, s: eta * (1 - t / s) ** 0.5,
                "This is DDPM's other variance, the doses between the two places. It lacks the first "
                "fraction of "
                "(3.10).",
            ),
            Mistake(
                lambda eta, t, s: eta * ((1 - s) / (1 - t)) ** 0.5 * (1 - t) ** 0.5,
                "The second root should hold the doses between the two places alone: one minus the ratio of "
                "the "
                "alpha bars.",
            ),
            Mistake(lambda eta, t, s: float(eta), "sigma is not eta: eta only scales what (3.9) says."),
        ),
    ),
    Build(
        number="3.4",
        name="ddim_step",
        minutes=10,
        right=ddim_step,
        cases=steps,
        section="3.4",
        mistakes=(
            Mistake(
                lambda x0, n, t, s, eta, f: s**0.5 * x0 + (1 - s) ** 0.5 * n + sigma_of(eta, t, s) * f,
                "Right without dice; with them there is too much noise. The old noise must make room for the "
                "fresh.",
            ),
            Mistake(
                lambda x0, n, t, s, eta, f: (
                    s**0.5 * x0 + (1 - s - sigma_of(eta, t, s)) ** 0.5 * n + sigma_of(eta, t, s) * f
                ),
                "Under the root stand variances; you took off sigma, a width.",
            ),
            Mistake(
                lambda x0, n, t, s, eta, f: s**0.5 * x0 + (1 - s - sigma_of(eta, t, s) ** 2) ** 0.5 * n,
                "Right without dice; with them the fresh noise is missing, and the result is too quiet.",
            ),
            Mistake(
                lambda x0, n, t, s, eta, f: ddim_step(x0, n, t, t * 1.0, 0.0, f),
                "You noised the guess back to where you came from: ab_prev is the place to go to.",
            ),
            Mistake(
                lambda x0, n, t, s, eta, f: (
                    t**0.5 * x0 + (1 - s - sigma_of(eta, t, s) ** 2) ** 0.5 * n + sigma_of(eta, t, s) * f
                ),
                (
                    "The guess is shrunk as at t. At the new place the share of the picture is the root of "
                    "ab_prev."
                ),
            ),
            Mistake(
                lambda x0, n, t, s, eta, f: (
                    s**0.5 * x0 + (1 - s - (g := sigma_of(eta, t, s)) ** 2) ** 0.5 * n + g**2 * f
                ),
                "The fresh noise is too weak: sigma^2 is its variance, sigma multiplies it.",
            ),
            Mistake(
                new_dice,
                "Called twice with the same inputs you gave two results: use the fresh noise that you "
                "are given.",
            ),
        ),
    ),
    Build(
        number="3.5",
        name="slerp",
        minutes=10,
        right=slerp,
        cases=pairs,
        section="3.8",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                lambda a, b, u: (1 - u) * a + u * b,
                "This is the straight line: in the middle a part of the width is missing (3.17).",
            ),
            Mistake(
                lambda a, b, u: slerp(b, a, u),
                "The two have changed places: u is the share of b, and at u = 0 the result is a.",
            ),
            Mistake(
                None,
                "The scalar product is the cosine only for arrows of length one: divide by both lengths.",
                seen=lacks_lengths,
            ),
            Mistake(
                by_rows, "Each row got an angle of its own. All numbers of a noise together are one arrow."
            ),
            Mistake(
                right_angle,
                "You took the angle for 90 degrees. Two noises are nearly at right angles, not exactly, and "
                "the "
                "ends must be a and b.",
            ),
            Mistake(
                lambda a, b, u: ((x := (1 - u) * a + u * b) / x.norm()) * a.norm(),
                "The straight line, stretched to the length of a: on the sphere, and not at the asked share "
                "of "
                "the angle.",
            ),
        ),
    ),
    Build(
        number="3.6",
        name="invert_one",
        minutes=10,
        right=invert_one,
        cases=ups,
        section="3.9",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                asked_at_t,
                "You asked the network about x_s and told it t. It must be told the noise level that its "
                "input "
                "has.",
            ),
            Mistake(guess_returned, "This is the predicted picture. Noise it again, up to t."),
            Mistake(
                not_denoised,
                "You noised x_s as if it were the clean picture: some of the noise is in it already. Guess "
                "the "
                "picture first.",
            ),
            Mistake(
                with_dice,
                "This is the jump (1.15) with the guessed noise in the place of fresh noise. But that noise "
                "is in "
                "x_s already, so they add up differently.",
            ),
            Mistake(
                lambda predict, x, s, t, table: invert_one(predict, x, s, s, table),
                "You noised the guess back to s: this step goes nowhere.",
            ),
            Mistake(
                lambda predict, x, s, t, table: invert_one(predict, x, s, t - 1, table),
                "One dose too few: code counts timesteps from 0, so alphas_cumprod[t] is the one you want.",
            ),
        ),
    ),
    Build(
        number="3.7",
        name="marginal",
        minutes=15,
        right=marginal,
        cases=factors,
        section="3.2",
        mistakes=(
            Mistake(
                lambda a, b, c, ab: (a + b, b**2 * (1 - ab) + c**2),
                "x_t is not the picture: its mean is the picture times the root of alpha bar.",
            ),
            Mistake(
                lambda a, b, c, ab: (a + b * ab, b**2 * (1 - ab) + c**2),
                "The mean of x_t is the root of alpha bar times the picture; you left out the root.",
            ),
            Mistake(
                lambda a, b, c, ab: (a + b * ab**0.5, b * (1 - ab) + c),
                "What multiplies a noise enters its variance squared (1.3).",
            ),
            Mistake(
                lambda a, b, c, ab: (a + b * ab**0.5, (abs(b) * (1 - ab) ** 0.5 + c) ** 2),
                (
                    "You added the widths. The noise in x_t and the fresh noise are independent: variances "
                    "add (1.4)."
                ),
            ),
            Mistake(
                lambda a, b, c, ab: (a + b * ab**0.5, b**2 + c**2),
                "You took the variance of x_t for 1. Given the picture it is 1 - alpha bar.",
            ),
            Mistake(
                lambda a, b, c, ab: (a + b * ab**0.5, (b**2 * (1 - ab) + c**2) ** 0.5),
                "This is the width; the question is the variance.",
            ),
        ),
    ),
]
