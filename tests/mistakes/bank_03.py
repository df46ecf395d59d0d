"""Chapter 3: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

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


def kept_by_floats(eta, ab_t, ab_s):
    sigma2 = eta**2 * (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)
    return math.sqrt(1 - ab_s - sigma2) / math.sqrt(1 - ab_s)


# 3.5


def evenly():
    return [876, 751, 626, 501, 376, 251, 126, 1]


def by_hand():
    return [999, 720, 560, 430, 310, 210, 120, 40]


def angles_of_the_crowd():
    return [999, 737, 582, 456, 342, 235, 134, 47]


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


# 3.8


def move(predict_noise, x, told, here, there):
    noise = predict_noise(x, told)
    return there.sqrt() * (x - (1 - here).sqrt() * noise) / here.sqrt() + (1 - there).sqrt() * noise


def by_index(predict_noise, x, times, table):
    for i, t in enumerate(times):
        following = times[i + 1] if i + 1 < len(times) else 0
        x = move(predict_noise, x, t, table[t], table[following])
    return x


def by_slope(predict_noise, x, times, table):
    ratio = ((1 - table) / table).sqrt()
    for t, s in zip(times, [*times[1:], 0]):
        x = table[s].sqrt() * (x / table[t].sqrt() + (ratio[s] - ratio[t]) * predict_noise(x, t))
    return x


def counts_from_the_end(predict_noise, x, times, table):
    stride = times[0] - times[1]
    for t in times:
        x = move(predict_noise, x, t, table[t], table[t - stride])
    return x


def told_the_next(predict_noise, x, times, table):
    for t, s in zip(times, [*times[1:], 0]):
        x = move(predict_noise, x, s, table[t], table[s])
    return x


def for_even_lists(predict_noise, x, times, table):
    stride = times[0] - times[1]
    for t in times:
        x = move(predict_noise, x, t, table[t], table[max(0, t - stride)])
    return x


def ends_at_one(predict_noise, x, times, table):
    there = [*(table[t] for t in times[1:]), torch.tensor(1.0)]
    for t, ab in zip(times, there):
        x = move(predict_noise, x, t, table[t], ab)
    return x


def one_step_short(predict_noise, x, times, table):
    for t, s in zip(times, times[1:]):
        x = move(predict_noise, x, t, table[t], table[s])
    return x


GUESSES = {
    "width of a quarter of each": 0.5,
    "percent lost by 80": 1.24,
    "percent lost by the round trip": 2.45,
    "renewed at eta 0.5": 0.25,
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
            (1 - eta**2 * beta / (1 - ab_t), "goes with widths"),
            (sympy.sqrt(1 - ab_s - eta**2 * tilde) * sympy.sqrt(1 - ab_t), "divided by both widths"),
            (sympy.sqrt(1 - beta / (1 - ab_t)), "Where is eta"),
            (eta * sympy.sqrt(beta / (1 - ab_t)), "share that is renewed"),
            (sympy.sqrt(1 - eta * beta / (1 - ab_t)), "power in the variance"),
        ],
        "right": [sympy.sqrt(1 - eta**2 * tilde / (1 - ab_s)), kept_by_floats],
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
            (lambda: [999, 365, 178, 94, 51, 27, 12, 4], "long strides at the top"),
            (lambda: [999, 890, 780, 670, 560, 450, 340, 230], "You stop early"),
        ],
        "right": [by_hand, angles_of_the_crowd],
    },
    "3.6": {
        "wrong": [
            (once, "rounds are missing"),
            (always_told_s, "tell the network s"),
            (further_and_further, "start again from x_s"),
            (lambda p, x, s, t, table, rounds: recursive(p, x, s, t, table, rounds + 1), "one round more"),
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
            (counts_from_the_end, "Print the last t_prev"),
            (told_the_next, "whose timestep"),
            (for_even_lists, "evenly spaced lists"),
            (ends_at_one, "ends at alpha bar 1"),
            (one_step_short, "last step is missing"),
        ],
        "right": [by_index, by_slope],
    },
}
