"""Chapter 10: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math
import runpy
from pathlib import Path

import sympy
import torch
import torch.nn.functional as F

BLIND = runpy.run_path(str(Path(__file__).parent.parent / "blind" / "bank_10.py"))

# 10.1

RIGHT = BLIND["ALL"]

# 10.2

N, L = sympy.symbols("N L", positive=True)

# 10.3


def by_powers(t, width, flip_sin_to_cos, freq_shift):
    half = width // 2
    speeds = torch.tensor([10000 ** (-i / (half - freq_shift)) for i in range(half)])
    angles = t.float().view(-1, 1) * speeds
    first, second = torch.sin(angles), torch.cos(angles)
    return torch.hstack([second, first] if flip_sin_to_cos else [first, second])


def one_by_one(t, width, flip_sin_to_cos, freq_shift):
    out = torch.empty(len(t), width)
    half = width // 2
    for i in range(half):
        angle = t.float() * math.exp(-math.log(10000) * i / (half - freq_shift))
        out[:, i], out[:, half + i] = angle.sin(), angle.cos()
    return out.roll(half, dims=1) if flip_sin_to_cos else out


def turned_round(t, width, flip_sin_to_cos, freq_shift):
    return by_powers(t, width, not flip_sin_to_cos, freq_shift)


def no_shift(t, width, flip_sin_to_cos, freq_shift):
    return by_powers(t, width, flip_sin_to_cos, 0)


def shift_of_entries(t, width, flip_sin_to_cos, freq_shift):
    return by_powers(t, width, flip_sin_to_cos, 2 * freq_shift)


def interleaved(t, width, flip_sin_to_cos, freq_shift):
    made = by_powers(t, width, flip_sin_to_cos, freq_shift)
    return torch.stack(made.chunk(2, dim=1), dim=2).flatten(1)


def never_turned(t, width, flip_sin_to_cos, freq_shift):
    return by_powers(t, width, True, freq_shift)


# 10.4


def by_hand(x, groups, gain, shift, kappa):
    out = torch.empty_like(x)
    each = x.shape[1] // groups
    for n in range(len(x)):
        for g in range(groups):
            part = x[n, g * each : (g + 1) * each]
            out[n, g * each : (g + 1) * each] = (part - part.mean()) / (part.var(correction=0) + kappa) ** 0.5
    return gain[:, None, None] * out + shift[:, None, None]


def flat(x, groups, gain, shift, kappa):
    parts = x.reshape(len(x) * groups, -1)
    normed = F.layer_norm(parts, parts.shape[1:], eps=kappa).view(x.shape)
    return torch.addcmul(shift.view(-1, 1, 1), gain.view(-1, 1, 1), normed)


def over(x, groups, gain, shift, kappa, axes, dealt):
    batch, channels, height, width = x.shape
    sizes = (channels // groups, groups) if dealt else (groups, channels // groups)
    parts = x.reshape(batch, *sizes, height, width)
    mean, variance = parts.mean(dim=axes, keepdim=True), parts.var(dim=axes, keepdim=True, correction=0)
    normed = ((parts - mean) / (variance + kappa).sqrt()).reshape(x.shape)
    return gain.view(1, -1, 1, 1) * normed + shift.view(1, -1, 1, 1)


def batch_mended(*given):
    return over(*given, axes=(1, 3, 4), dealt=True)


def groups_mended(*given):
    return over(*given, axes=(0, 2, 3, 4), dealt=False)


def no_shift_at_the_end(x, groups, gain, shift, kappa):
    return by_hand(x, groups, gain, torch.zeros_like(shift), kappa)


def each_channel(x, groups, gain, shift, kappa):
    return F.instance_norm(x, eps=kappa) * gain.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


# 10.5

HEARD = {
    "one group": "hears",
    "a group for each channel": "deaf",
    "a group for each channel, time after the norm": "hears",
    "a group for each channel, time multiplied": "deaf",
    "pairs of channels, told the same in pairs": "deaf",
}

# 10.7


def step_by_step(block_out_channels, height, width):
    numbers, before = [], None
    for channels in block_out_channels:
        if before is not None:
            height, width = math.ceil(height / 2), math.ceil(width / 2)
            numbers.append(before * height * width)
        numbers.append(channels * height * width)
        before = channels
    return min(numbers)


def of_the_level_below(block_out_channels, height, width):
    """A halving makes the channels of the level to which it leads."""
    numbers = []
    for channels in block_out_channels:
        numbers.append(channels * height * width)
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    return min(numbers)


def at_the_bottom(block_out_channels, height, width):
    down = 2 ** (len(block_out_channels) - 1)
    return block_out_channels[-1] * math.ceil(height / down) * math.ceil(width / down)


def rounded_down(block_out_channels, height, width):
    numbers = []
    for i, channels in enumerate(block_out_channels):
        numbers.append(channels * height * width)
        if i < len(block_out_channels) - 1:
            height, width = height // 2, width // 2
            numbers.append(channels * height * width)
    return min(numbers)


def latents_too(block_out_channels, height, width):
    return min(step_by_step(block_out_channels, height, width), 4 * height * width)


def one_halving_too_many(block_out_channels, height, width):
    return step_by_step([*block_out_channels, block_out_channels[-1]], height, width)


def not_halved(block_out_channels, height, width):
    return min(block_out_channels) * height * width


def most(block_out_channels, height, width):
    return max(block_out_channels) * height * width


# 10.8

a, b, D = sympy.symbols("a b D", positive=True)

# 10.9

SLIPS = BLIND["SLIPS"]  # each answered rightly

# 10.10

PAIRS = BLIND["BANK"]["10.10"]["wrong"]

BANK = {
    "10.1": {
        "wrong": [
            (RIGHT | {"numbers": 18}, "dividing by that root"),
            (RIGHT | {"numbers": 81}, "its own detail"),
            (RIGHT | {"numbers": 99}, "before you divide"),
            (RIGHT | {"numbers": 100}, "plain average"),
            (RIGHT | {"numbers": 36}, "asks for variances"),
            (RIGHT | {"numbers": 60}, "solve (10.1)"),
            (RIGHT | {"in a row": 30}, "did the one before not see"),
            (RIGHT | {"in a row": 90}, "to the left and to the right"),
            (RIGHT | {"in a row": 44}, "see 89"),
            (RIGHT | {"in a row": 47}, "adds the same"),
            (RIGHT | {"with halvings": 30}, "twice as much"),
            (RIGHT | {"with halvings": 11}, "convolution too"),
            (RIGHT | {"with halvings": 8}, "those after it profit"),
            (RIGHT | {"with halvings": 5}, "stride 1 alone"),
            (RIGHT | {"with halvings": 10}, "One fewer"),
            (RIGHT | {"with halvings": 7}, "3, 5, 9"),
            (RIGHT | {"layers": 6}, "on the way up"),
            (RIGHT | {"layers": 7}, "three halvings"),
            (RIGHT | {"layers": 8}, "one level more"),
            (RIGHT | {"layers": 3}, "nothing else"),
            (RIGHT | {"slow clocks": 39}, "not once round"),
            (RIGHT | {"slow clocks": 89}, "once or more"),
            (RIGHT | {"slow clocks": 142}, "one clock"),
            (RIGHT | {"slow clocks": 120}, "two pi"),
        ],
        "right": [RIGHT, RIGHT | {"slow clocks": 70}],
    },
    "10.2": {
        "wrong": [
            (1 + 2 * N * (2**L - 1), "see further themselves"),
            (1 + 2 * N * (2**L - 1) + 2 * (2**L - 1), "as many halvings"),
            (1 + 2 * N * L + 2 * (L - 1), "same amount on each level"),
            (1 + 2 * N * (2**L - 1) + 4 * (2 ** (L - 1) - 1), "reads the level that it leaves"),
        ],
        "right": [
            1 + 2 * N * (2**L - 1) + 2 * (2 ** (L - 1) - 1),
            2**L * (2 * N + 1) - 2 * N - 1,
        ],
    },
    "10.3": {
        "wrong": [
            (turned_round, "wrong way round"),
            (no_shift, "makes no difference"),
            (shift_of_entries, "number of pairs"),
            (interleaved, ""),
            (never_turned, ""),
        ],
        "right": [by_powers, one_by_one],
    },
    "10.4": {
        "wrong": [
            (batch_mended, "which channels share"),
            (groups_mended, "alone in its batch"),
            (no_shift_at_the_end, ""),
            (each_channel, ""),
        ],
        "right": [by_hand, flat],
    },
    "10.5": {
        "wrong": [
            (HEARD | {"a group for each channel, time multiplied": "hears"}, "more than the mean"),
            (HEARD | {"pairs of channels, told the same in pairs": "hears"}, "all its channels"),
            (HEARD | {"a group for each channel, time after the norm": "deaf"}, "after the last norm"),
            (HEARD | {"one group": "deaf"}, "one group"),
        ],
        "right": [HEARD, dict(reversed(HEARD.items()))],
    },
    "10.6": {
        "wrong": [
            ([(3, 1)] * 4 + [(3, 2)] * 4 + [(3, 1)] * 4, "after the halvings"),
            ([(3, 2)] * 4 + [(3, 1)] * 4, ""),
            ([(3, 2)] * 5 + [(3, 1)], "at least 8"),
            ([(3, 2)] * 4, "at least 128"),
            ([(9, 2)] * 4, "kernels are"),
        ],
        "right": [
            [(3, 2), (3, 2), (3, 2), (5, 2), (7, 1)],
            ((3, 2), (3, 2), (3, 2), (3, 2), (7, 1), (3, 1)),
        ],
    },
    "10.7": {
        "wrong": [
            (of_the_level_below, "level that it leaves"),
            (at_the_bottom, "need not be the narrowest"),
            (rounded_down, "7 places of 13"),
            (latents_too, "not a box"),
            (one_halving_too_many, "does not halve"),
            (not_halved, "halved on the way down"),
            (most, ""),
        ],
        "right": [step_by_step, BLIND["BANK"]["10.7"]["right"][3]],
    },
    "10.8": {
        "wrong": [
            (9 * a * b + 2 * a - (a + b) * b - b, "as if it were new"),
            (9 * a * b, "reads the stack"),
            (9 * a * b + a, "two numbers for each channel"),
            (9 * a * b + 2 * a - b**2 - b, "added as it is"),
            (9 * a * b + 2 * a + (a + b) * b + b, "parameters of its own"),
            (9 * a * b + 2 * a + D * a, "the time added"),
            (-a * (9 * b + 2), "wrong way round"),
            (10 * a * b + 2 * a, ""),
        ],
        "right": [a * (9 * b + 2), lambda a, b, D: 9 * a * b + 2 * a],
    },
    "10.9": {
        "wrong": [
            (SLIPS | {"skip before features": "crashes"}, "as many as b + a"),
            (SLIPS | {"added": "silent"}, "how many channels"),
            (SLIPS | {"without the transformer block": "crashes"}, "change the shape"),
            (SLIPS | {"conv_in not stored": "silent"}, "skips that are left"),
        ],
        "right": [SLIPS, list(SLIPS.values())],
    },
    "10.10": {
        "wrong": [
            (PAIRS[0], "multiplied by something"),
            (PAIRS[1], "One factor for all"),
            (PAIRS[2], "the best eight to keep"),
            (PAIRS[3], "if the averages held no noise"),
            (PAIRS[4], "with a noisy average"),
            (PAIRS[6], "applied twice"),
            (PAIRS[7], "the root of what"),
            (PAIRS[8], "the noise's is 2"),
            (PAIRS[9], "squared the noise's variance"),
            (PAIRS[10], "varies least"),
            (PAIRS[11], "never read"),
            (PAIRS[13], "Nothing passes"),
            (PAIRS[14], "worse than a guess of 0"),
            (PAIRS[16], "A should have the shape (8, 64)"),
            (PAIRS[19], "a pair (A, B)"),
        ],
        "right": BLIND["BANK"]["10.10"]["right"][:3],
    },
}

# From the blind bank one wrong answer for each message that none above hears.
UNHEARD = {
    "10.2": (5, 6, 7, 8, 9),
    "10.3": (5, 10, 13),
    "10.4": (4, 6, 7, 10, 11),
    "10.8": (3, 4, 5, 7, 9, 10, 12, 14, 15),
    "10.9": (0, 1, 4),
}
for number, places in UNHEARD.items():
    BANK[number]["wrong"] += [(BLIND["BANK"][number]["wrong"][place], "") for place in places]
