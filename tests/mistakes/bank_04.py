"""Chapter 4: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import numpy as np
import sympy

from minisd.samplers import dpmpp_2m, lms, pndm

# 4.1

TURN = math.atan(14.6)


def cosines(*powers):
    """cos^(what is asked) for 1, 2 and 8 steps, rounded as one would write it down."""
    return {
        name: round(math.cos(TURN / n) ** p, 3)
        for name, n, p in zip(("1 step", "2 steps", "8 steps"), (1, 2, 8), powers)
    }


# 4.2


def by_the_picture(predict, x, t, s, table):
    """D + sigma' noise, with (4.5) by alpha bar."""
    noise = predict(x * table[t].sqrt(), t)
    sigma, there = ((1 / table[k] - 1).sqrt() for k in (t, s))
    return x - sigma * noise + there * noise


def by_ddim(predict, x, t, s, table):
    x_t = table[t] ** 0.5 * x
    noise = predict(x_t, t)
    x0 = (x_t - (1 - table[t]) ** 0.5 * noise) / table[t] ** 0.5
    return (table[s] ** 0.5 * x0 + (1 - table[s]) ** 0.5 * noise) / table[s] ** 0.5


def step(predict, x, t, s, table, scale, told=None, sign=1, after=1.0):
    now, then = (math.sqrt((1 - float(table[k])) / float(table[k])) for k in (t, s))
    noise = predict(scale(x, now), t if told is None else told)
    return (x + sign * (then - now) * noise) * after


def no_scale(predict, x, t, s, table):
    return step(predict, x, t, s, table, lambda x, sigma: x)


def times_scale(predict, x, t, s, table):
    return step(predict, x, t, s, table, lambda x, sigma: x * math.hypot(1, sigma))


def over_sigma(predict, x, t, s, table):
    return step(predict, x, t, s, table, lambda x, sigma: x / sigma)


def positive_step(predict, x, t, s, table):
    return step(predict, x, t, s, table, lambda x, sigma: x / math.hypot(1, sigma), sign=-1)


def future(predict, x, t, s, table):
    return step(predict, x, t, s, table, lambda x, sigma: x / math.hypot(1, sigma), told=s)


def as_x_t(predict, x, t, s, table):
    return step(
        predict, x, t, s, table, lambda x, sigma: x / math.hypot(1, sigma), after=float(table[s]) ** 0.5
    )


def two_noises(predict, x, t, s, table):
    noise = predict(x * table[t].sqrt(), t)
    return x + ((1 - table[s]) / table[s]).sqrt() * noise


# 4.3

S, N, W = sympy.symbols("sigma sigma_next w", positive=True)
EULER = (W**2 + S * N) / (W**2 + S**2)
STRETCH = sympy.sqrt((W**2 + N**2) / (W**2 + S**2))


# 4.4


def up(sigma, following, eta):
    return eta * following * math.sqrt(1 - following**2 / sigma**2)


def by_ddim_eta(sigma, following, eta):
    """DDIM's own formula for the fresh noise, in alpha bar, then back to exploding units."""
    now, then = 1 / (1 + sigma**2), 1 / (1 + following**2)
    fresh = eta * math.sqrt((1 - then) / (1 - now)) * math.sqrt(1 - now / then)
    return math.sqrt(1 - then - fresh**2) / math.sqrt(then), fresh / math.sqrt(then)


def by_variance(sigma, following, eta):
    more = eta**2 * following**2 * (sigma**2 - following**2) / sigma**2
    return math.sqrt(following**2 - more), math.sqrt(more)


# 4.5


def repaired(noise_of, x, sigmas, factor=0.5, memory=True, power=-1):
    guesses = []
    for i in range(len(sigmas) - 1):
        now, then = sigmas[i], sigmas[i + 1]
        guesses.append(x - now * noise_of(x, now))
        aim = guesses[-1]
        if i and memory:
            r = (math.log(sigmas[i - 1]) - math.log(now)) / (math.log(now) - math.log(then))
            aim = aim + factor * r**power * (guesses[-1] - guesses[-2])
        x = aim + then / now * (x - aim)
    return x


def by_minisd(noise_of, x, sigmas):
    return list(dpmpp_2m(noise_of, x, sigmas))[-1]


def x_remembered(noise_of, x, sigmas):
    before = None
    for i in range(len(sigmas) - 1):
        now, then = sigmas[i], sigmas[i + 1]
        guess = aim = x - now * noise_of(x, now)
        if before is not None:
            aim = guess + (guess - before) * math.log(now / then) / math.log(sigmas[i - 1] / now) / 2
        x, before = aim + then / now * (x - aim), x
    return x


# 4.6

H, B = sympy.symbols("h b", positive=True)
W_LAST = -(H**3) / (6 * B * (B + H))
W_END = H / 2 - H**2 / (6 * (B + H))


def solved():
    """By the moments, with sympy."""
    a, b, c = sympy.symbols("a b c")
    found = sympy.solve([a + b + c - H, a * H - c * B - H**2 / 2, a * H**2 + c * B**2 - H**3 / 3], [a, b, c])
    return found[a], found[b], found[c]


# 4.8 and 4.9

RATIO = sympy.symbols("b", positive=True)
X, TAU, NOISE = sympy.symbols("x_tau tau noise")


# 4.10


def on(loop, levels):
    return lambda noise_of, x: list(loop(noise_of, x, levels))[-1]


def by_rho(count, low, rho=7):
    return (np.linspace(14.6 ** (1 / rho), low ** (1 / rho), count) ** rho).tolist()


def by_tau(count, low):
    tau = np.linspace(14.6 / 15.6, low / (1 + low), count)
    return (tau / (1 - tau)).tolist()


def plain_euler(noise_of, x, sigmas):
    for now, then in zip(sigmas, sigmas[1:]):
        x = x + (then - now) * noise_of(x, now)
        yield x


BANK = {
    "4.1": {
        "wrong": [
            ({"1 step": -0.13, "2 steps": 0.44, "8 steps": 0.86}, "the approximation for many steps"),
            (cosines(1, 1, 1), "a single step"),
            (cosines(2, 4, 16), "shares of the variance"),
            ({"1 step": 0.068, "2 steps": 0.068, "8 steps": 0.068}, "each turns by half the angle"),
            ({"1 step": 0.5, "2 steps": 0.25, "8 steps": 0.1}, "4.1"),
        ],
        "right": [cosines(1, 2, 8), {"1 step": 0.07, "2 steps": 0.55, "8 steps": 0.85}],
    },
    "4.2": {
        "wrong": [
            (no_scale, "x as it is"),
            (times_scale, "scaled the wrong way"),
            (over_sigma, "divided by sigma"),
            (positive_step, "up the curve"),
            (future, "You told the network t_next"),
            (as_x_t, "no factor at the end"),
            (two_noises, "left the old noise in"),
        ],
        "right": [by_the_picture, by_ddim],
    },
    "4.3": {
        "wrong": [
            (EULER, "what the step does to x"),
            (STRETCH, "what the right step does"),
            (N / S, "held the guess D at 0"),
            (
                EULER * (W**2 + S**2) / sympy.sqrt((W**2 + S**2) / (W**2 + N**2)),
                "which of the two widths is on top",
            ),
            (N / S / STRETCH, "as if the picture were always 0"),
        ],
        "right": [EULER / STRETCH, sympy.cos(sympy.atan(S / W) - sympy.atan(N / W))],
    },
    "4.4": {
        "wrong": [
            (lambda s, n, e: by_variance(s, n, e)[::-1], "changed places"),
            (lambda s, n, e: (by_variance(s, n, e)[0], up(s, n, e) ** 2), "variance"),
            (lambda s, n, e: (n * n / s, up(s, n, e)), "Down is right where eta is 1"),
            (lambda s, n, e: (n - up(s, n, e), up(s, n, e)), "Widths do not add"),
            (lambda s, n, e: (n, up(s, n, e)), "too much"),
            (
                lambda s, n, e: (math.sqrt(n**2 - e * up(s, n, 1) ** 2), math.sqrt(e) * up(s, n, 1)),
                "scale the variance",
            ),
            (lambda s, n, e: (n**2 / s, up(s, n, 1)), "does not change with eta"),
        ],
        "right": [
            by_ddim_eta,
            by_variance,
            lambda s, n, e: (math.sqrt(n**2 - up(s, n, e) ** 2), up(s, n, e)),
        ],
    },
    "4.5": {
        "wrong": [
            (lambda f, x, s: repaired(f, x, s, memory=False), "removed the memory"),
            (lambda f, x, s: repaired(f, x, s, factor=1), "at the end of the step"),
            (lambda f, x, s: repaired(f, x, s, power=1), "upside down"),
            (lambda f, x, s: repaired(f, x, s, factor=-0.5), "lies behind the last guess"),
            (x_remembered, "You remember the point x"),
        ],
        "right": [repaired, by_minisd],
    },
    "4.6": {
        "wrong": [
            ((5 * H / 12, 2 * H / 3, -H / 12), "Right for equal steps"),
            ((W_LAST, H - W_LAST - W_END, W_END), "order is reversed"),
            ((H / 2, H / 2, sympy.Integer(0)), "Heun's rule"),
            (tuple(w.subs(B, -B) for w in (W_END, H - W_LAST - W_END, W_LAST)), "sign of the place before"),
            ((W_END / H, 1 - (W_LAST + W_END) / H, W_LAST / H), "sum to 1"),
            ((sympy.Integer(0), H + H**2 / (2 * B), -(H**2) / (2 * B)), "only what lies behind"),
        ],
        "right": [(W_END, H - W_END - W_LAST, W_LAST), solved()],
    },
    "4.7": {
        "wrong": [
            (lambda d, old, s, t: d.clone(), "first-order jump"),
            (lambda d, old, s, t: (t * d - s * old) / (t - s), "straight line in the noise level"),
            (lambda d, old, s, t: d + 0.5 * s * s * (d - old) / (t * t - s * s), "half-way"),
            (lambda d, old, s, t: d + s * s * (d - old) / (s * s - t * t), "towards the older guess"),
            (lambda d, old, s, t: d + (t * t - s * s) * (d - old) / s**2, "upside down"),
            (lambda d, old, s, t: d + (d - old) * (s / t) ** 2, "not from sigma_before to 0"),
        ],
        "right": [
            lambda d, old, s, t: (t * t * d - s * s * old) / (t * t - s * s),
            lambda guess, before, sigma, sigma_before: (
                before + (guess - before) / (1 - (sigma / sigma_before) ** 2)
            ),
        ],
    },
    "4.8": {
        "wrong": [
            (2 / (1 - RATIO), "what Euler bears"),
            ((1 + RATIO) / (2 - 2 * RATIO), "What is D where kappa is 1"),
            (1 + (1 + RATIO) / (3 - 3 * RATIO), "aimed at the end"),
            (1 - (1 + RATIO) / (2 - 2 * RATIO), "Mind the sign"),
            (sympy.Rational(3, 2) + 0 * RATIO, "zigzag"),
        ],
        "right": [(3 - RATIO) / (2 * (1 - RATIO)), lambda b: 1 + (1 + b) / (2 - 2 * b)],
    },
    "4.9": {
        "wrong": [
            ((X - NOISE) / (1 - TAU), "from the noise to the picture"),
            (NOISE - X, "took x_tau for the picture"),
            (NOISE - X + TAU * NOISE, "the picture times a factor"),
            ((X - TAU * NOISE) / (1 - TAU), "the guessed picture"),
            (NOISE - X + TAU / (1 - TAU) * NOISE, "holds in exploding units"),
        ],
        "right": [(NOISE - X) / (1 - TAU), NOISE - (X - TAU * NOISE) / (1 - TAU)],
    },
    "4.10": {
        "wrong": [
            (on(plain_euler, [*by_rho(8, 0.03), 0.0]), "Euler on Karras levels"),
            (on(plain_euler, np.linspace(14.6, 0, 9).tolist()), "nothing is decided"),
            (on(plain_euler, by_rho(8, 0.03)), "still noised"),
            (on(pndm, [*by_tau(8, 0.08), 0.0]), "more than 8 times"),
            (lambda noise_of, x: x.mean(), "tensor of the shape of x"),
        ],
        "right": [
            on(pndm, [*by_tau(7, 0.08), 0.0]),
            on(pndm, [*by_rho(7, 0.05), 0.0]),
            on(lms, [*by_tau(8, 0.12), 0.0]),
        ],
    },
}
