"""Chapter 3: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math
from statistics import NormalDist

import numpy as np
import sympy
import torch

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


# 3.3 and 3.4

eta, ab_t, ab_s, w = sympy.symbols("eta ab_t ab_s w", positive=True)
beta = 1 - ab_t / ab_s
tilde = (1 - ab_s) / (1 - ab_t) * beta
unsure = w**2 * (1 - ab_t) / (ab_t * w**2 + 1 - ab_t)
left_in_bracket = sympy.sqrt(ab_s) - sympy.sqrt(1 - ab_s - tilde) * sympy.sqrt(ab_t / (1 - ab_t))


ab_r = sympy.Symbol("ab_r", positive=True)
renewed_first = eta**2 * beta / (1 - ab_t)
renewed_second = eta**2 * (1 - ab_s / ab_r) / (1 - ab_s)
one_step, other_step = sympy.sqrt(1 - renewed_first), sympy.sqrt(1 - renewed_second)


def kept_by_floats(eta, ab_t, ab_s, ab_r):
    """The covariance of two steps over both widths."""
    first = eta**2 * (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)
    second = eta**2 * (1 - ab_r) / (1 - ab_s) * (1 - ab_s / ab_r)
    covariance = math.sqrt(1 - ab_s - first) / math.sqrt(1 - ab_s) * math.sqrt(1 - ab_r - second)
    return covariance / math.sqrt(1 - ab_r)


# 3.5


def evenly():
    return [876, 751, 626, 501, 376, 251, 126, 1]


def by_hand():
    return [900, 620, 450, 320, 210, 130, 65, 20]


def angles_in_between():
    return [999, 669, 492, 359, 250, 159, 83, 27]


# 3.6


def up(noise, x_s, s, t, table):
    low, high = float(table[s]), float(table[t])
    return math.sqrt(high / low) * (x_s - math.sqrt(1 - low) * noise) + math.sqrt(1 - high) * noise


def recursive(predict_noise, x_s, s, t, table, rounds):
    if rounds == 0:
        return up(predict_noise(x_s, s), x_s, s, t, table)
    before = recursive(predict_noise, x_s, s, t, table, rounds - 1)
    return up(predict_noise(before, t), x_s, s, t, table)


def loop_over_calls(predict_noise, x_s, s, t, table, rounds):
    x, told = x_s, s
    for _ in range(rounds + 1):
        x = up(predict_noise(x, told), x_s, s, t, table)
        told = t
    return x


def once(predict_noise, x_s, s, t, table, rounds):
    return up(predict_noise(x_s, s), x_s, s, t, table)


def always_told_s(predict_noise, x_s, s, t, table, rounds):
    x = x_s
    for _ in range(rounds + 1):
        x = up(predict_noise(x, s), x_s, s, t, table)
    return x


def further_and_further(predict_noise, x_s, s, t, table, rounds):
    x, told = x_s, s
    for _ in range(rounds + 1):
        x = up(predict_noise(x, told), x, s, t, table)
        told = t
    return x


def asks_twice(predict_noise, x_s, s, t, table, rounds):
    """The right result with a call too many in each round."""
    x = up(predict_noise(x_s, s), x_s, s, t, table)
    for _ in range(rounds):
        x = up((predict_noise(x, t) + predict_noise(x, t)) / 2, x_s, s, t, table)
    return x


# 3.8

PICTURE, NOISE = torch.tensor([2.5, -1.7, 0.3]), torch.tensor([0.4, -1.1, 0.8])
LIST = [999, 640, 333, 70, 25]


def tried(paint, table, x0=PICTURE, times=LIST, network=None, noise=NOISE):
    """(what a loop paints, what it should paint); the network knows the picture unless another is given."""

    def knows(x, t):
        return (x - table[t].sqrt() * x0) / (1 - table[t]).sqrt()

    start = table[times[0]].sqrt() * x0 + (1 - table[times[0]]).sqrt() * noise
    painted = paint(network or knows, start, list(times), table)
    return painted, table[0].sqrt() * x0 + (1 - table[0]).sqrt() * noise


def by_oracle(paint, alphas_cumprod):
    return torch.allclose(*tried(paint, alphas_cumprod), atol=1e-4)


def by_reference(paint, alphas_cumprod):
    """No oracle: any network that depends on both, and the chapter's loop."""

    def network(x, t):
        return torch.tanh(x) + t / 500

    x = expected = torch.tensor([3.0, -2.0, 0.1, 1.0])
    times = [950, 500, 300, 299, 11]
    for t, s in zip(times, [*times[1:], 0]):
        ab_t, ab_s, noise = alphas_cumprod[t], alphas_cumprod[s], network(expected, t)
        x0 = (expected - (1 - ab_t).sqrt() * noise) / ab_t.sqrt()
        expected = ab_s.sqrt() * x0 + (1 - ab_s).sqrt() * noise
    return float((paint(network, x, times, alphas_cumprod) - expected).abs().max()) < 1e-3


def by_two_pictures(paint, alphas_cumprod):
    """Two short lists, one of them with a large picture."""
    trials = (tried(paint, alphas_cumprod, 3 * PICTURE, [500, 8]), tried(paint, alphas_cumprod))
    return all(float((painted - wanted).norm()) < 3e-3 for painted, wanted in trials)


def constant_network(paint, table):
    return torch.allclose(*tried(paint, table, network=lambda x, t: NOISE), atol=1e-4)


def even_list(paint, table):
    return torch.allclose(*tried(paint, table, times=[981, 741, 501, 261, 21]), atol=1e-4)


def list_to_zero(paint, table):
    """Whose list has no step left to leave out."""
    return torch.allclose(*tried(paint, table, times=[940, 720, 430, 90, 0]), atol=1e-4)


def small_picture(paint, table):
    return torch.allclose(*tried(paint, table, x0=PICTURE / 4), atol=1e-4)


def silent(paint, table):
    return torch.allclose(*tried(paint, table, noise=torch.zeros_like(NOISE)), atol=1e-4)


def signed(paint, table):
    painted, wanted = tried(paint, table)
    return float((painted - wanted).sum()) < 1e-4


def loose(paint, table):
    painted, wanted = tried(paint, table)
    return float((painted - wanted).abs().max()) < 0.05


def to_the_last_bit(paint, table):
    """As strict as can be: only the same arithmetic passes."""

    def like_the_chapter(network, x, times, bars):
        for t, s in zip(times, [*times[1:], 0]):
            noise = network(x, t)
            x0 = (x - (1 - bars[t]).sqrt() * noise) / bars[t].sqrt()
            x = bars[s].sqrt() * x0 + (1 - bars[s]).sqrt() * noise
        return x

    return torch.equal(tried(paint, table)[0], tried(like_the_chapter, table)[0])


def the_clean_picture(paint, table):
    return float((tried(paint, table)[0] - PICTURE).abs().max()) < 1e-3


GUESSES = {
    "width of a quarter of each": 0.5,
    "percent lost by 80": 1.24,
    "percent lost by the round trip": 2.45,
    "renewed at eta 0.5": 0.25,
}

PLACES = {
    "between 0 and 2": NormalDist().inv_cdf(3 / 4),
    "between 0 and 1": NormalDist().inv_cdf(3 / 4),
    "between -2 and 0": NormalDist().inv_cdf(1 / 6),
}

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
            (GUESSES | {"width of a quarter of each": 0.25}, "That is a variance"),
            (GUESSES | {"width of a quarter of each": 1.0}, "quieter than one"),
            (GUESSES | {"percent lost by 80": 0.148}, "square of 8"),
            (GUESSES | {"percent lost by the round trip": 0.0}, "does not undo"),
            (GUESSES | {"renewed at eta 0.5": 0.5}, "about its variance"),
        ],
        "right": [GUESSES, GUESSES | {"percent lost by 80": 1.2, "percent lost by the round trip": 2.4}],
    },
    "3.3": {
        "wrong": [
            ((1 - renewed_first) * (1 - renewed_second), "goes with widths"),
            (one_step, "what the first step keeps"),
            (other_step, "what the second step keeps"),
            (sympy.sqrt(1 - eta**2 * (1 - ab_t / ab_r) / (1 - ab_t)), "one long step"),
            ((one_step * other_step).subs(eta, 1), "Where is eta"),
            ((one_step * other_step).subs(eta, sympy.sqrt(eta)), "power in the variance"),
            (one_step * other_step * sympy.sqrt(1 - ab_t) * sympy.sqrt(1 - ab_r), "divided by both widths"),
        ],
        "right": [
            one_step * other_step,
            kept_by_floats,
        ],
    },
    "3.4": {
        "wrong": [
            (tilde, "second term"),
            (beta, "right for w = 1 alone"),
            (tilde + left_in_bracket**2 * w**2, "less uncertain"),
            (tilde + left_in_bracket * unsure, "enters a variance squared"),
            (
                (sympy.sqrt(ab_s) - sympy.sqrt(1 - ab_s) * sympy.sqrt(ab_t / (1 - ab_t))) ** 2 * unsure,
                "leaves room",
            ),
        ],
        "right": [
            tilde + left_in_bracket**2 * unsure,
            tilde + beta**2 * ab_s * w**2 / ((1 - ab_t) * (ab_t * w**2 + 1 - ab_t)),
        ],
    },
    "3.5": {
        "wrong": [
            (evenly, "evenly spaced in t"),
            (lambda: evenly()[::-1], "should descend"),
            (lambda: evenly()[:7], "eight steps are allowed"),
            (lambda: [1000, *evenly()[1:]], "whole number from 0 to 999"),
            (lambda: [999, 365, 178, 94, 51, 27, 12, 4], "your small timesteps"),
            (lambda: [999, 470, 268, 157, 91, 49, 23, 7], "The whole ring is too small"),
            (lambda: [999, 760, 610, 490, 370, 260, 150, 55], "wrong width"),
            (lambda: [999, 890, 780, 670, 560, 450, 340, 230], "You stop early"),
        ],
        "right": [by_hand, angles_in_between],
    },
    "3.6": {
        "wrong": [
            (once, "rounds are missing"),
            (always_told_s, "tell the network s"),
            (further_and_further, "start again from x_s"),
            (lambda p, x, s, t, table, rounds: recursive(p, x, s, t, table, rounds + 1), "one round more"),
            (asks_twice, "once a round"),
        ],
        "right": [recursive, loop_over_calls],
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
    "3.8": {
        "wrong": [
            (constant_network, "the timestep where it is going"),
            (even_list, "the first stride for every stride"),
            (small_picture, "clips the guessed picture"),
            (silent, "forgets the root over the noise's"),
            (signed, "errors below zero"),
            (loose, "off by a hundredth"),
            (to_the_last_bit, "written as (3.18)"),
            (the_clean_picture, "You refuse a right loop"),
            (list_to_zero, "ends elsewhere"),
        ],
        "right": [by_oracle, by_reference, by_two_pictures],
    },
    "3.9": {
        "wrong": [
            (PLACES | {"between 0 and 2": 1.0, "between 0 and 1": 0.5}, "Half-way between two numbers"),
            (PLACES | {"between 0 and 2": 0.75, "between 0 and 1": 0.75}, "an area under the bell"),
            (PLACES | {"between 0 and 1": 0.337}, "have come closer together"),
            (PLACES | {"between -2 and 0": -0.431}, "a third of the starts"),
            (PLACES | {"between -2 and 0": 0.967}, "lie on the left"),
        ],
        "right": [PLACES, {"between 0 and 2": 0.7, "between 0 and 1": 2 / 3, "between -2 and 0": -1}],
    },
}
