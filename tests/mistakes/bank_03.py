"""Chapter 3: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import numpy as np
import torch


def width(eta, t, s):
    return eta * math.sqrt((1 - s) / (1 - t) * (1 - t / s))


# 3.1


def by_numpy(number, total, offset):
    grid = np.arange(number) * (total // number)
    grid = grid + min(offset, total - 1 - grid[-1])
    return [int(t) for t in grid[::-1]]


def from_the_top(number, total, offset):
    stride, found = total // number, []
    t = min((number - 1) * stride + offset, total - 1)
    for _ in range(number):
        found.append(t)
        t -= stride
    return found


def upwards(number, total, offset):
    return from_the_top(number, total, offset)[::-1]


def without_room(number, total, offset):
    return [i * (total // number) + offset for i in range(number)][::-1]


def compvis(number, total, offset):
    return [min(t + offset, total - 1) for t in range(0, total, total // number)][::-1]


def linspace(number, total, offset):
    return [int(t) for t in np.linspace(0, total - 1, number).round()[::-1]]


# 3.4


def step_in_two(x0, noise, ab_t, ab_prev, eta, fresh):
    sigma = width(eta, ab_t, ab_prev)
    direction = math.sqrt(1 - ab_prev - sigma**2) * noise
    return direction + math.sqrt(ab_prev) * x0 + sigma * fresh


def step_by_tensors(x0, noise, ab_t, ab_prev, eta, fresh):
    ab_t, ab_prev = torch.tensor(ab_t), torch.tensor(ab_prev)
    variance = eta**2 * (1 - ab_prev) / (1 - ab_t) * (1 - ab_t / ab_prev)
    return ab_prev.sqrt() * x0 + (1 - ab_prev - variance).sqrt() * noise + variance.sqrt() * fresh


def own_dice(x0, noise, ab_t, ab_prev, eta, fresh):
    return step_in_two(x0, noise, ab_t, ab_prev, eta, torch.randn(x0.shape))


# 3.5


def by_double(a, b, u):
    x, y = a.double().flatten(), b.double().flatten()
    phi = math.acos(float(x @ y) / (float(x.norm()) * float(y.norm())))
    return ((math.sin((1 - u) * phi) * a.double() + math.sin(u * phi) * b.double()) / math.sin(phi)).float()


def in_unit_arrows(a, b, u):
    phi = torch.arccos(((a / a.norm()) * (b / b.norm())).sum())
    return a * torch.sin(phi - u * phi) / torch.sin(phi) + b * torch.sin(u * phi) / torch.sin(phi)


def along_the_last_axis(a, b, u):
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1)[..., None]
    phi = cosine.acos()
    return ((1 - u) * phi).sin() / phi.sin() * a + (u * phi).sin() / phi.sin() * b


def quarter_turn(a, b, u):
    return math.cos(u * math.pi / 2) * a + math.sin(u * math.pi / 2) * b


def no_lengths(a, b, u):
    phi = torch.acos(torch.sum(a * b))
    return (torch.sin((1 - u) * phi) * a + torch.sin(u * phi) * b) / torch.sin(phi)


def stretched(a, b, u):
    mixed = torch.lerp(a, b, u)
    return mixed / mixed.norm() * a.norm()


# 3.6


def through_the_slope(predict, x, s, t, table):
    """(3.16): in x over the root of alpha bar the step is a difference times the noise."""
    noise = predict(x, s)
    ratio = ((1 - table) / table).sqrt()
    return table[t].sqrt() * (x / table[s].sqrt() + (ratio[t] - ratio[s]) * noise)


def by_floats(predict, x, s, t, table):
    low, high = table[s].item(), table[t].item()
    noise = predict(x, s)
    x0 = (x - math.sqrt(1 - low) * noise) / math.sqrt(low)
    return math.sqrt(high) * x0 + math.sqrt(1 - high) * noise


def told_t(predict, x, s, t, table):
    noise = predict(x, t)
    x0 = (x - (1 - table[s]).sqrt() * noise) / table[s].sqrt()
    return table[t].sqrt() * x0 + (1 - table[t]).sqrt() * noise


def from_the_clean(predict, x, s, t, table):
    return table[t].sqrt() * x + (1 - table[t]).sqrt() * predict(x, s)


def middle_jump(predict, x, s, t, table):
    ratio = table[t] / table[s]
    return ratio.sqrt() * x + (1 - ratio).sqrt() * predict(x, s)


def only_the_guess(predict, x, s, t, table):
    return (x - (1 - table[s]).sqrt() * predict(x, s)) / table[s].sqrt()


BANK = {
    "3.1": {
        "wrong": [
            (lambda n, total, offset: [i * (total // n) for i in range(n)][::-1], "The offset is missing"),
            (upwards, "wrong order"),
            (without_room, "leave the table"),
            (linspace, "from 0 to the last one"),
            (
                lambda n, total, offset: list(range(0, total, total // n))[::-1],
                "one step more than was asked",
            ),
            (compvis, "more steps than asked"),
        ],
        "right": [by_numpy, from_the_top],
    },
    "3.2": {
        "wrong": [
            (lambda noise, x, ab: (x - (1 - ab) * noise) / ab, "The roots are missing"),
            (lambda noise, x, ab: x - math.sqrt(1 - ab) * noise, "still shrunk"),
            (lambda noise, x, ab: x / math.sqrt(ab) - math.sqrt(1 - ab) * noise, "divide only x_t"),
            (lambda noise, x, ab: x - noise, "full strength"),
            (lambda noise, x, ab: (x - math.sqrt(ab) * noise) / math.sqrt(1 - ab), "changed places"),
            (lambda noise, x, ab: torch.clamp((x - (1 - ab) ** 0.5 * noise) / ab**0.5, -1, 1), "clipped"),
        ],
        "right": [
            lambda noise, x, ab: x / math.sqrt(ab) - math.sqrt((1 - ab) / ab) * noise,
            lambda noise, x, ab: torch.sub(x, noise, alpha=(1 - ab) ** 0.5).div(ab**0.5),
        ],
    },
    "3.3": {
        "wrong": [
            (lambda eta, t, s: eta * math.sqrt((1 - t) / (1 - s)) * math.sqrt(1 - t / s), "upside down"),
            (lambda eta, t, s: eta * ((1 - s) / (1 - t)) * (1 - t / s), "a variance times eta"),
            (lambda eta, t, s: math.sqrt(eta * (1 - s) / (1 - t) * (1 - t / s)), "eta under the root"),
            (lambda eta, t, s: eta * math.sqrt(1 - t / s), "other variance"),
            (
                lambda eta, t, s: eta * math.sqrt((1 - s) / (1 - t)) * math.sqrt(1 - t),
                "doses between the two places alone",
            ),
            (lambda eta, t, s: eta, "not eta"),
        ],
        "right": [width, lambda eta, t, s: eta * ((1 - s) * (s - t) / ((1 - t) * s)) ** 0.5],
    },
    "3.4": {
        "wrong": [
            (
                lambda x0, n, t, s, eta, f: s**0.5 * x0 + math.sqrt(1 - s) * n + width(eta, t, s) * f,
                "make room",
            ),
            (
                lambda x0, n, t, s, eta, f: (
                    s**0.5 * x0 + (1 - s - (g := width(eta, t, s))) ** 0.5 * n + g * f
                ),
                "took off sigma",
            ),
            (
                lambda x0, n, t, s, eta, f: step_in_two(x0, n, t, s, eta, torch.zeros_like(f)),
                "fresh noise is missing",
            ),
            (lambda x0, n, t, s, eta, f: t**0.5 * x0 + (1 - t) ** 0.5 * n, "where you came from"),
            (
                lambda x0, n, t, s, eta, f: step_in_two(x0, n, t, s, eta, f) + (t**0.5 - s**0.5) * x0,
                "shrunk as at t",
            ),
            (
                lambda x0, n, t, s, eta, f: step_in_two(x0, n, t, s, eta, width(eta, t, s) * f),
                "fresh noise is too weak",
            ),
            (own_dice, "two results"),
        ],
        "right": [step_in_two, step_by_tensors],
    },
    "3.5": {
        "wrong": [
            (lambda a, b, u: torch.lerp(a, b, u), "straight line: in the middle"),
            (lambda a, b, u: by_double(a, b, 1 - u), "changed places"),
            (no_lengths, "divide by both lengths"),
            (along_the_last_axis, "Each row"),
            (quarter_turn, "90 degrees"),
            (stretched, "stretched to the length"),
        ],
        "right": [by_double, in_unit_arrows],
    },
    "3.6": {
        "wrong": [
            (told_t, "told it t"),
            (only_the_guess, "Noise it again"),
            (from_the_clean, "as if it were the clean picture"),
            (middle_jump, "in the place of fresh noise"),
            (lambda predict, x, s, t, table: x.clone(), "goes nowhere"),
            (lambda predict, x, s, t, table: by_floats(predict, x, s, t - 1, table), "One dose too few"),
        ],
        "right": [through_the_slope, by_floats],
    },
    "3.7": {
        "wrong": [
            (lambda a, b, c, ab: (a + b, b * b * (1 - ab) + c * c), "not the picture"),
            (lambda a, b, c, ab: (a + b * ab, b * b * (1 - ab) + c * c), "left out the root"),
            (lambda a, b, c, ab: (a + b * math.sqrt(ab), b * (1 - ab) + c), "enters its variance squared"),
            (
                lambda a, b, c, ab: (a + b * math.sqrt(ab), (abs(b) * math.sqrt(1 - ab) + c) ** 2),
                "added the widths",
            ),
            (lambda a, b, c, ab: (a + b * math.sqrt(ab), b * b + c * c), "for 1"),
            (
                lambda a, b, c, ab: (a + b * math.sqrt(ab), math.hypot(b * math.sqrt(1 - ab), c)),
                "This is the width",
            ),
        ],
        "right": [
            lambda a, b, c, ab: (a + b * math.sqrt(ab), b * b - b * b * ab + c * c),
            lambda a, b, c, ab: (
                math.fsum((a, b * math.sqrt(ab))),
                math.hypot(b * math.sqrt(1 - ab), c) ** 2,
            ),
        ],
    },
}
