"""Chapter 4: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import numpy as np
import torch


def root(x):
    return torch.sqrt(x)


# 4.3


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


# 4.4


def by_posterior(sigma, sigma_next):
    variance = sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2
    return math.sqrt(sigma_next**2 - variance), math.sqrt(variance)


def by_angle(sigma, sigma_next):
    angle = math.acos(sigma_next / sigma)
    return sigma_next * math.cos(angle), sigma_next * math.sin(angle)


# 4.5


def by_solving(before, now, following):
    matrix = np.array([[1.0, 1.0], [now, before]])
    right = np.array([following - now, (following**2 - now**2) / 2])
    return tuple(np.linalg.solve(matrix, right).tolist())


def by_middle(before, now, following):
    middle = (now + following) / 2
    newest = (middle - before) / (now - before)
    return (following - now) * newest, (following - now) * (1 - newest)


# 4.6


def by_polyfit(steps, errors):
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


def by_lstsq(steps, errors):
    matrix = np.stack([np.log10(steps), np.ones(len(steps))], axis=1)
    return -float(np.linalg.lstsq(matrix, np.log10(errors), rcond=None)[0][0])


# 4.7


def by_turning(x_t, v, alpha_bar):
    angle = math.acos(math.sqrt(alpha_bar))
    return math.cos(angle) * x_t - math.sin(angle) * v, math.sin(angle) * x_t + math.cos(angle) * v


def noise_from_picture(x_t, v, alpha_bar):
    x0 = math.sqrt(alpha_bar) * x_t - math.sqrt(1 - alpha_bar) * v
    return x0, (x_t - math.sqrt(alpha_bar) * x0) / math.sqrt(1 - alpha_bar)


def up(sigma, following):
    return following * math.sqrt(1 - following**2 / sigma**2)


BANK = {
    "4.1": {
        "wrong": [
            (lambda ab: torch.sqrt(1 - ab), "how wide the noise is in x_t"),
            (lambda ab: root(ab) / root(1 - ab), "Upside down"),
            (lambda ab: 1 / ab - 1, "sigma squared"),
            (lambda ab: root(1 - ab) / ab, "alpha bar itself"),
            (lambda ab: ab**-0.5, "the root of 1 + sigma^2"),
        ],
        "right": [lambda ab: torch.sqrt(1 / ab - 1), lambda ab: root(1 - ab) / root(ab)],
    },
    "4.2": {
        "wrong": [
            (lambda noise, ab: noise / math.sqrt(1 - ab), "points downhill"),
            (lambda noise, ab: noise / (ab - 1), "Divided by the variance"),
            (lambda noise, ab: -math.sqrt(1 - ab) * noise, "multiply where (4.3) divides"),
            (lambda noise, ab: -1 * noise, "a factor is missing"),
            (lambda noise, ab: -noise / math.sqrt((1 - ab) / ab), "the slope by x, in exploding units"),
        ],
        "right": [
            lambda noise, ab: noise / -math.sqrt(1 - ab),
            lambda noise, ab: -noise.div((1 - ab) ** 0.5),
        ],
    },
    "4.3": {
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
    "4.4": {
        "wrong": [
            (lambda s, n: (up(s, n), n * n / s), "changed places"),
            (lambda s, n: (n * n / s, n * n * (1 - n * n / s / s)), "Your up is a variance"),
            (lambda s, n: (n, math.sqrt(s * s - n * n)), "back at sigma"),
            (lambda s, n: (n - up(s, n), up(s, n)), "Widths do not add"),
            (lambda s, n: (n * n / s, math.sqrt(s * s - n * n)), "sigma in front of the root"),
            (lambda s, n: (n, 0.0), "No dice"),
        ],
        "right": [by_posterior, by_angle],
    },
    "4.5": {
        "wrong": [
            (lambda b, s, n: (3 * (n - s) / 2, (s - n) / 2), "for equal steps"),
            (lambda b, s, n: by_middle(b, s, n)[::-1], "changed places"),
            (lambda b, s, n: (by_middle(b, s, n)[0], (n - s) ** 2 / (2 * (s - b))), "wrong sign"),
            (
                lambda b, s, n: (n - s + (n - s) ** 2 / (2 * (b - s)), (n - s) ** 2 / (2 * (s - b))),
                "backwards",
            ),
            (lambda b, s, n: (1 + (n - s) / (2 * (s - b)), (n - s) / (2 * (b - s))), "sum to 1"),
            (
                lambda b, s, n: ((n - s) * (n - b) / (s - b), (n - s) * (s - n) / (s - b)),
                "at the end of the step",
            ),
            (lambda b, s, n: (n - s, 0.0), "This is Euler"),
        ],
        "right": [by_solving, by_middle],
    },
    "4.6": {
        "wrong": [
            (lambda n, e: float(np.polyfit(np.log(n), np.log(e), 1)[0]), "slope turned positive"),
            (lambda n, e: float(-np.polyfit(np.log(e), np.log(n), 1)[0]), "steps against the errors"),
            (lambda n, e: math.log2(e[0] / e[-1]) / (len(e) - 1), "double every time"),
            (lambda n, e: math.log(e[0] / e[-1], n[-1] / n[0]), "first and the last point"),
            (lambda n, e: float(-np.polyfit(n, e, 1)[0]), "between logarithms"),
        ],
        "right": [by_polyfit, by_lstsq],
    },
    "4.7": {
        "wrong": [
            (
                lambda x, v, ab: (ab**0.5 * x + (1 - ab) ** 0.5 * v, by_turning(x, v, ab)[1]),
                "at pure noise v is minus",
            ),
            (
                lambda x, v, ab: (by_turning(x, v, ab)[0], (1 - ab) ** 0.5 * x - ab**0.5 * v),
                "The noise has the wrong sign",
            ),
            (lambda x, v, ab: by_turning(x, v, ab)[::-1], "the picture comes first"),
            (lambda x, v, ab: (ab * x - (1 - ab) * v, (1 - ab) * x + ab * v), "The roots are missing"),
            (lambda x, v, ab: by_turning(x, v, 1 - ab), "Cosine and sine"),
            (lambda x, v, ab: ((x - (1 - ab) ** 0.5 * v) / ab**0.5, v), "took v for the noise"),
        ],
        "right": [by_turning, noise_from_picture],
    },
}
