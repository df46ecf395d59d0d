"""The checks of chapter 4: samplers. It spoils the exercises to read this first."""

import math

import torch

from ..kinds import Build, Mistake

# 4.1


def sigma_of(alpha_bar):
    return ((1 - alpha_bar) / alpha_bar).sqrt()


def bars(rng):
    return [(0.005 + 0.99 * torch.rand(*shape, generator=rng),) for shape in ((7,), (1000,), (3, 1))]


# 4.2


def score_of(noise, alpha_bar):
    return -noise / (1 - alpha_bar) ** 0.5


def noises(rng):
    return [
        (torch.randn(*shape, generator=rng), alpha_bar)
        for shape, alpha_bar in (((5,), 0.9), ((2, 4, 3, 3), 0.3), ((1, 4, 8, 8), 0.0047))
    ]


# 4.3


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


# 4.4


def down_and_up(sigma, sigma_next):
    return sigma_next**2 / sigma, sigma_next * (1 - (sigma_next / sigma) ** 2) ** 0.5


def levels(rng):
    return [(14.6, 10.2), (3.0, 2.9), (1.0, 0.2), (0.5, 0.03)]


# 4.5


def two_weights(sigma_before, sigma, sigma_next):
    h, last = sigma_next - sigma, sigma - sigma_before
    return h + h**2 / (2 * last), -(h**2) / (2 * last)


def threes(rng):
    return [(4.0, 2.0, 1.0), (14.6, 10.2, 7.1), (1.0, 0.9, 0.3), (0.0, 1.0, 3.0)]


# 4.6


def order_of(steps, errors):
    x, y = [math.log(n) for n in steps], [math.log(e) for e in errors]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y)) / sum((a - middle_x) ** 2 for a in x)
    return -slope


def upside_down(steps, errors):
    return order_of(errors, steps)


def by_doubling(steps, errors):
    ratios = [math.log2(a / b) for a, b in zip(errors, errors[1:])]
    return sum(ratios) / len(ratios)


def by_the_ends(steps, errors):
    return math.log(errors[0] / errors[-1]) / math.log(steps[-1] / steps[0])


def without_logarithms(steps, errors):
    return order_of([math.exp(n / 100) for n in steps], [math.exp(e) for e in errors]) / 100


def runs(rng):
    found = []
    for steps, p in (([10, 30, 90], 1), ([8, 16, 32, 64], 2), ([10, 20, 50, 100, 300], 3.5), ([5, 50], 2)):
        bent = (1 + 0.3 * torch.rand(len(steps), generator=rng, dtype=torch.float64)).tolist()
        found.append((steps, [0.7 * factor / n**p for n, factor in zip(steps, bent)]))
    return found


# 4.7


def back_from_v(x_t, v, alpha_bar):
    cos, sin = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    return cos * x_t - sin * v, sin * x_t + cos * v


def without_roots(x_t, v, alpha_bar):
    return alpha_bar * x_t - (1 - alpha_bar) * v, (1 - alpha_bar) * x_t + alpha_bar * v


def as_if_noise(x_t, v, alpha_bar):
    return (x_t - (1 - alpha_bar) ** 0.5 * v) / alpha_bar**0.5, v


def asked(rng):
    return [
        (*torch.randn(2, *shape, generator=rng), alpha_bar)
        for shape, alpha_bar in (((5,), 0.9), ((2, 4, 3, 3), 0.3), ((1, 4, 8, 8), 0.0047))
    ]


EXERCISES = [
    Build(
        number="4.1",
        name="sigma_of",
        minutes=5,
        right=sigma_of,
        cases=bars,
        section="4.3",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                lambda ab: (1 - ab).sqrt(),
                "This is how wide the noise is in x_t. In x everything has been divided by the root of "
                "alpha bar, "
                "the noise too.",
            ),
            Mistake(
                lambda ab: (ab / (1 - ab)).sqrt(),
                "Upside down: this is picture over noise, and sigma is noise over picture. It should grow "
                "when "
                "alpha bar falls.",
            ),
            Mistake(lambda ab: (1 - ab) / ab, "This is sigma squared: a variance, and sigma is a width."),
            Mistake(
                lambda ab: (1 - ab).sqrt() / ab,
                "x_t is divided by the root of alpha bar, you divided by alpha bar itself.",
            ),
            Mistake(
                lambda ab: (1 / ab).sqrt(),
                "This is the root of 1 + sigma^2, the size of x when the picture's is 1. Where alpha bar is "
                "1, "
                "sigma should be 0.",
            ),
        ),
    ),
    Build(
        number="4.2",
        name="score_of",
        minutes=5,
        right=score_of,
        cases=noises,
        section="4.2",
        mistakes=(
            Mistake(
                lambda noise, ab: noise / (1 - ab) ** 0.5,
                (
                    "This points downhill. The noise leads away from the pictures; the score leads to where "
                    "they are."
                ),
            ),
            Mistake(
                lambda noise, ab: -noise / (1 - ab),
                "Divided by the variance. That belongs with x_t minus its mean, in the middle of (4.2); one "
                "root "
                "of it is in the noise already.",
            ),
            Mistake(
                lambda noise, ab: -noise * (1 - ab) ** 0.5,
                "You multiply where (4.3) divides: with little noise the hills are narrow, and steep.",
            ),
            Mistake(
                lambda noise, ab: -noise, "The direction is right and the length is not: a factor is missing."
            ),
            Mistake(
                lambda noise, ab: -noise * (ab / (1 - ab)) ** 0.5,
                "This is the slope by x, in exploding units (4.6). The question is the slope by x_t.",
            ),
        ),
    ),
    Build(
        number="4.3",
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
    Build(
        number="4.4",
        name="down_and_up",
        minutes=10,
        right=down_and_up,
        cases=levels,
        section="4.9",
        mistakes=(
            Mistake(
                lambda s, n: down_and_up(s, n)[::-1],
                "The two have changed places. Their squares still sum to the right level, so no single step "
                "shows "
                "it: which should be small when the step is short?",
            ),
            Mistake(
                lambda s, n: (down_and_up(s, n)[0], down_and_up(s, n)[1] ** 2),
                "Your up is a variance. It multiplies noise, so it must be a width.",
            ),
            Mistake(
                lambda s, n: (n, (s**2 - n**2) ** 0.5),
                "You go down to sigma_next itself and add what was between the two levels: that is too much "
                "noise, "
                "you would be back at sigma.",
            ),
            Mistake(
                lambda s, n: (n - down_and_up(s, n)[1], down_and_up(s, n)[1]),
                "Widths do not add, variances do: the squares of down and up should sum to the square of "
                "sigma_next.",
            ),
            Mistake(
                lambda s, n: (down_and_up(s, n)[0], s * (1 - (n / s) ** 2) ** 0.5),
                "Your up has sigma in front of the root. It must fit under sigma_next: up^2 + down^2 = "
                "sigma_next^2.",
            ),
            Mistake(
                lambda s, n: (float(n), 0.0),
                "No dice at all: this is Euler's step. Which fresh noise does DDPM add?",
            ),
        ),
    ),
    Build(
        number="4.5",
        name="two_weights",
        minutes=15,
        right=two_weights,
        cases=threes,
        section="4.6",
        mistakes=(
            Mistake(
                lambda b, s, n: (1.5 * (n - s), -0.5 * (n - s)),
                "These are the weights for equal steps. Here the step before may have another length.",
            ),
            Mistake(
                lambda b, s, n: two_weights(b, s, n)[::-1],
                "The two weights have changed places: the first belongs to the newest value.",
            ),
            Mistake(
                lambda b, s, n: (two_weights(b, s, n)[0], -two_weights(b, s, n)[1]),
                "The second weight has the wrong sign: the two together should be the step, so that a "
                "constant "
                "slope is followed exactly.",
            ),
            Mistake(
                lambda b, s, n: (n - s - (n - s) ** 2 / (2 * (s - b)), (n - s) ** 2 / (2 * (s - b))),
                "You interpolate backwards: if the slope has been growing, yours shrinks. Mind the sign of "
                "the "
                "step before.",
            ),
            Mistake(
                lambda b, s, n: tuple(w / (n - s) for w in two_weights(b, s, n)),
                "Your weights sum to 1: they make a mean slope. The integral is that times the step.",
            ),
            Mistake(
                lambda b, s, n: (n - s + (n - s) ** 2 / (s - b), -((n - s) ** 2) / (s - b)),
                "You go on with the slope as it will be at the end of the step; the line's integral has its "
                "value "
                "in the middle: a factor 1/2.",
            ),
            Mistake(lambda b, s, n: (float(n - s), 0.0), "This is Euler: the value before is not used."),
        ),
    ),
    Build(
        number="4.6",
        name="order_of",
        minutes=10,
        right=order_of,
        cases=runs,
        section="4.5",
        mistakes=(
            Mistake(
                lambda steps, errors: -order_of(steps, errors),
                (
                    "The sign: the error falls, so the slope is negative, and the order is the slope turned "
                    "positive."
                ),
            ),
            Mistake(
                upside_down, "You fitted the steps against the errors: which of the two depends on the other?"
            ),
            Mistake(
                by_doubling,
                "Right if the steps double every time. These do not: divide by the logarithm of the ratio "
                "of the "
                "steps.",
            ),
            Mistake(
                by_the_ends, "You used the first and the last point alone. Least squares uses all of them."
            ),
            Mistake(
                without_logarithms,
                "A straight line through the numbers themselves: the order is a slope between logarithms.",
            ),
        ),
    ),
    Build(
        number="4.7",
        name="back_from_v",
        minutes=10,
        right=back_from_v,
        cases=asked,
        section="4.11",
        mistakes=(
            Mistake(
                lambda x, v, ab: (ab**0.5 * x + (1 - ab) ** 0.5 * v, (1 - ab) ** 0.5 * x + ab**0.5 * v),
                "The picture has the wrong sign before v: at pure noise v is minus the picture.",
            ),
            Mistake(
                lambda x, v, ab: (ab**0.5 * x - (1 - ab) ** 0.5 * v, (1 - ab) ** 0.5 * x - ab**0.5 * v),
                "The noise has the wrong sign before v: near the clean picture v is the noise.",
            ),
            Mistake(
                lambda x, v, ab: back_from_v(x, v, ab)[::-1],
                "Picture and noise have changed places: the picture comes first.",
            ),
            Mistake(without_roots, "The roots are missing: the cosine is the root of alpha bar."),
            Mistake(
                lambda x, v, ab: back_from_v(x, v, 1 - ab),
                "Cosine and sine have changed places: the root of alpha bar goes with the picture.",
            ),
            Mistake(as_if_noise, "You took v for the noise. It is the noise only at the clean end."),
        ),
    ),
]
