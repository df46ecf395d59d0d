"""Answers to chapter 10's exercises: what readers may write, right and wrong."""

import math
from fractions import Fraction

import numpy as np
import sympy
import torch
import torch.nn.functional as F

BANK = {}


# ---- 10.1

ALL = {
    "dot product with itself": 160,
    "skips": 9,
    "parameters": 1_843_840,
    "growth by the skip": 1.5,
    "numbers in the skips": 6_635_520,
    "error of the brightness": 2 / 9,
}
NAMES = dict(zip(("like", "skips", "params", "growth", "numbers", "error"), ALL, strict=True))


def but(**changes):
    """The right guesses, but for some."""
    return ALL | {NAMES[name]: value for name, value in changes.items()}


BANK["10.1"] = {
    "wrong": [
        but(like=320),  # one for each entry
        but(like=1),  # as if divided
        but(like=math.sqrt(160)),  # the length
        but(like=0),  # confused with the distance
        but(skips=6),  # the layers alone
        but(skips=7),  # no halvings
        but(skips=8),  # no conv_in
        but(skips=10),  # a halving at the lowest level
        but(skips=12),  # Stable Diffusion's
        but(params=320 * 640 + 640),  # 1 x 1
        but(params=3 * 320 * 640 + 640),  # a row of three
        but(params=9 * 640 * 640 + 640),  # both sides 640
        but(growth=2),  # as many from the skip as from below
        but(growth=0.5),  # what is added
        but(growth=2.25),  # squared
        but(growth=1),  # the multiply-adds do not change
        but(numbers=12 * 320 * 64 * 64),  # all skips of the first one's shape
        but(numbers=4 * 320 + 3 * 640 + 5 * 1280),  # channels only
        but(numbers=6_635_520 - 320 * 64 * 64),  # conv_in forgotten
        but(numbers=3 * 320 * 4096 + 2 * 640 * 1024 + 2 * 1280 * 256 + 2 * 1280 * 64),  # no halvings
        but(numbers=12),  # how many skips
        but(numbers=64 * 64 * 4),  # the latents
        but(error=1 / 8),  # variance 1
        but(error=2 / 7),  # the plain average
        but(error=7 / 9),  # what is known
        but(error=2 / 3),  # one number
        but(error=math.sqrt(2 / 9)),  # the root
    ],
    "right": [
        ALL,
        but(error=0.22),
        but(error=Fraction(2, 9) * 1.0),
        but(params=1.84e6),
        but(params=9 * 320 * 640),  # within 2 %
        but(numbers=6.6e6),
        list(ALL.values()),
        but(like=160.0, growth=3 / 2),
        dict(reversed(ALL.items())),
    ],
}

# ---- 10.2

N, L = sympy.symbols("N L", positive=True)
BANK["10.2"] = {
    "wrong": [
        1 + 2 * N * (2**L - 1),  # the halvings forgotten
        1 + 2 * N * (2**L - 1) + 2 * (2**L - 1),  # a halving too many
        1 + 2 * N * L + 2 * (L - 1),  # no doubling of the growth
        1 + 2 * N * (2**L - 1) + 4 * (2 ** (L - 1) - 1),  # counted after the halving
        2 * N * (2**L - 1) + 2 * (2 ** (L - 1) - 1),  # the 1 forgotten
        1 + N * (2**L - 1) + (2 ** (L - 1) - 1),  # one side only
        1 + 3 * N * (2**L - 1) + 3 * (2 ** (L - 1) - 1),  # k for k - 1
        1 + 2 * N * 2**L + 2 * 2 ** (L - 1),  # the series summed without its -1
        1 + 2 * N * (2 ** (L - 1) - 1) + 2 * (2 ** (L - 1) - 1),  # the lowest level forgotten
        1 + 2 * N * 2 ** (L - 1),  # only the lowest level
        1 + 2 * N * (2 ** (L + 1) - 1) + 2 * (2**L - 1),  # levels counted from 0
        2**L * (1 + 2 * N),
    ],
    "right": [
        1 + 2 * N * (2**L - 1) + 2 * (2 ** (L - 1) - 1),
        2 * N * 2**L - 2 * N + 2**L - 1,
        (2 * N + 1) * (2**L - 1),
        sympy.expand((2 * N + 1) * (2**L - 1)),
        lambda N, L: (2 * N + 1) * (2**L - 1),
    ],
}

# ---- 10.3


def embedded(t, width, flip, shift, base=10000.0, pairs=None):
    half = width // 2
    i = np.arange(half)
    angles = t.numpy().astype(np.float64)[:, None] * base ** (-i / ((pairs or half) - shift))
    both = [np.cos(angles), np.sin(angles)]
    return torch.tensor(np.concatenate(both if flip else both[::-1], axis=1), dtype=torch.float32)


def in_numpy(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t, width, flip_sin_to_cos, freq_shift)


def with_outer(t, width, flip_sin_to_cos, freq_shift):
    half = width // 2
    speeds = 10000.0 ** -(torch.arange(half) / (half - freq_shift))
    angles = torch.outer(t.float(), speeds)
    made = torch.cat((angles.sin(), angles.cos()), dim=-1)
    return torch.cat((made[:, half:], made[:, :half]), dim=-1) if flip_sin_to_cos else made


def with_phase(t, width, flip_sin_to_cos, freq_shift):
    half = width // 2
    speeds = torch.exp(torch.arange(half) * (-math.log(10000) / (half - freq_shift)))
    angles = torch.einsum("b,w->bw", t.double(), speeds.double())
    sines = (angles + math.pi / 2).sin()
    return (
        torch.cat([sines, angles.sin()], 1) if flip_sin_to_cos else torch.cat([angles.sin(), sines], 1)
    ).float()


def complex_numbers(t, width, flip_sin_to_cos, freq_shift):
    half = width // 2
    turned = torch.exp(
        1j * t.double()[:, None] * 10000.0 ** (-torch.arange(half).double() / (half - freq_shift))
    )
    parts = (turned.real, turned.imag)
    return torch.cat(parts if flip_sin_to_cos else parts[::-1], dim=1).float()


def exchanged(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t, width, not flip_sin_to_cos, freq_shift)


def cosines_always_first(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t, width, True, freq_shift)


def sines_always_first(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t, width, False, freq_shift)


def shift_ignored(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t, width, flip_sin_to_cos, 0)


def shift_added(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t, width, flip_sin_to_cos, -freq_shift)


def shift_of_the_width(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t, width, flip_sin_to_cos, freq_shift, pairs=width)


def always_shifted(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t, width, flip_sin_to_cos, 1)


def base_1000(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t, width, flip_sin_to_cos, freq_shift, base=1000.0)


def speeds_upside_down(t, width, flip_sin_to_cos, freq_shift):
    half = width // 2
    made = embedded(t, width, flip_sin_to_cos, freq_shift)
    return torch.cat([made[:, :half].flip(1), made[:, half:].flip(1)], dim=1)


def paired(t, width, flip_sin_to_cos, freq_shift):
    made = embedded(t, width, flip_sin_to_cos, freq_shift)
    return torch.stack(made.chunk(2, dim=1), dim=2).flatten(1)


def from_one(t, width, flip_sin_to_cos, freq_shift):
    half = width // 2
    angles = t[:, None].float() * 10000 ** (-torch.arange(1, half + 1) / (half - freq_shift))
    return torch.cat([angles.cos(), angles.sin()] if flip_sin_to_cos else [angles.sin(), angles.cos()], dim=1)


def turned(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t, width, flip_sin_to_cos, freq_shift).T


def of_the_first_alone(t, width, flip_sin_to_cos, freq_shift):
    return embedded(t[:1], width, flip_sin_to_cos, freq_shift)


def only_cosines(t, width, flip_sin_to_cos, freq_shift):
    made = embedded(t, width, True, freq_shift)[:, : width // 2]
    return torch.cat([made, made], dim=1)


BANK["10.3"] = {
    "wrong": [
        exchanged,
        cosines_always_first,
        sines_always_first,
        shift_ignored,
        shift_added,
        shift_of_the_width,
        always_shifted,
        base_1000,
        speeds_upside_down,
        paired,
        from_one,
        turned,
        of_the_first_alone,
        only_cosines,
    ],
    "right": [in_numpy, with_outer, with_phase, complex_numbers],
}

# ---- 10.4


def over(x, groups, gain, shift, kappa, axes=(2, 3, 4), dealt=False, correction=0, root=True, inside=True):
    batch, channels, height, width = x.shape
    sizes = (channels // groups, groups) if dealt else (groups, channels // groups)
    parts = x.reshape(batch, *sizes, height, width)
    mean = parts.mean(dim=axes, keepdim=True)
    variance = parts.var(dim=axes, keepdim=True, correction=correction)
    below = ((variance + kappa).sqrt() if inside else variance.sqrt() + kappa) if root else variance + kappa
    return ((parts - mean) / below).reshape(x.shape) * gain[:, None, None] + shift[:, None, None]


def picture_by_picture(x, groups, gain, shift, kappa):
    return torch.cat([over(one[None], groups, gain, shift, kappa) for one in x])


def by_layer_norm(x, groups, gain, shift, kappa):
    parts = x.reshape(len(x), groups, -1)
    return gain.view(-1, 1, 1) * F.layer_norm(parts, parts.shape[2:], eps=kappa).view(x.shape) + shift.view(
        -1, 1, 1
    )


def by_chunks(x, groups, gain, shift, kappa):
    made = []
    for part in x.chunk(groups, dim=1):
        centred = part - part.mean(dim=(1, 2, 3), keepdim=True)
        made.append(centred / (centred.square().mean(dim=(1, 2, 3), keepdim=True) + kappa).sqrt())
    return torch.cat(made, dim=1) * gain.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


def of_squares(x, groups, gain, shift, kappa):
    parts = x.double().reshape(len(x), groups, -1)
    mean = parts.mean(-1, keepdim=True)
    variance = (parts**2).mean(-1, keepdim=True) - mean**2
    normed = ((parts - mean) * (variance + kappa).rsqrt()).float().reshape(x.shape)
    return torch.addcmul(shift.view(-1, 1, 1), normed, gain.view(-1, 1, 1))


def only_the_batch(*given):
    return over(*given, axes=(1, 3, 4), dealt=True)


def only_the_groups(*given):
    return over(*given, axes=(0, 2, 3, 4))


def each_channel_alone(*given):
    return over(*given, axes=(3, 4))


def one_group(x, groups, gain, shift, kappa):
    return over(x, 1, gain, shift, kappa)


def each_place(*given):
    return over(*given, axes=(2,))


def over_the_groups(*given):
    return over(*given, axes=(1, 2, 3, 4))


def unbiased(*given):
    return over(*given, correction=1)


def no_root(*given):
    return over(*given, root=False)


def no_shift(x, groups, gain, shift, kappa):
    return over(x, groups, gain, 0 * shift, kappa)


def no_gain(x, groups, gain, shift, kappa):
    return over(x, groups, 1 + 0 * gain, shift, kappa)


def shift_inside(x, groups, gain, shift, kappa):
    return gain[:, None, None] * (over(x, groups, 1 + 0 * gain, 0 * shift, kappa) + shift[:, None, None])


def mean_not_taken(x, groups, gain, shift, kappa):
    parts = x.reshape(len(x), groups, -1)
    normed = parts / (parts.var(-1, keepdim=True, correction=0) + kappa).sqrt()
    return normed.reshape(x.shape) * gain[:, None, None] + shift[:, None, None]


BANK["10.4"] = {
    "wrong": [
        only_the_batch,
        only_the_groups,
        each_channel_alone,
        one_group,
        each_place,
        over_the_groups,
        unbiased,
        no_root,
        no_shift,
        no_gain,
        shift_inside,
        mean_not_taken,
    ],
    "right": [over, picture_by_picture, by_layer_norm, by_chunks, of_squares],
}

# ---- 10.5

HEARD = {
    "one group": "hears",
    "a group for each channel": "deaf",
    "a group for each channel, time after the norm": "hears",
    "a group for each channel, time multiplied": "deaf",
    "pairs of channels, told the same in pairs": "deaf",
}
QUESTIONS = list(HEARD)
OTHER = {"hears": "deaf", "deaf": "hears"}
BANK["10.5"] = {
    "wrong": [
        *(HEARD | {question: OTHER[HEARD[question]]} for question in QUESTIONS),  # one each
        HEARD | {QUESTIONS[3]: "hears", QUESTIONS[4]: "hears"},  # only the shift of a channel alone is lost
        dict.fromkeys(QUESTIONS, "hears"),
        dict.fromkeys(QUESTIONS, "deaf"),
        {question: OTHER[answer] for question, answer in HEARD.items()},
        HEARD | {QUESTIONS[0]: "deaf", QUESTIONS[1]: "hears"},  # the groups the wrong way round
    ],
    "right": [HEARD, list(HEARD.values()), tuple(HEARD.values()), dict(sorted(HEARD.items()))],
}

# ---- 10.6

BANK["10.6"] = {
    "wrong": [
        [(3, 1)] * 4 + [(3, 2)] * 4 + [(3, 1)] * 4,  # the plain one
        [(3, 2)] * 4 + [(3, 1)] * 4,  # 640 and more
        [(3, 2)] * 4 + [(7, 1)],  # one short of the field
        [(7, 2)] * 4,  # field 91
        [(3, 2)] * 5 + [(3, 1)],  # 4 places
        [(7, 1)] * 22,  # no halving
        [(5, 2)] * 4 + [(5, 1)],  # too dear
        [(7, 2), (5, 2), (3, 2), (3, 2), (7, 1)],  # large kernels first
        [(2, 2)] * 4 + [(7, 1)],  # a kernel of 2
        [(3, 3), (3, 3), (7, 1)],  # a stride of 3
        [(9, 1), (3, 2)],
        [(3, 2)] * 4,
        [(3, 2)] * 3 + [(7, 2), (5, 1)],  # one short of the field
        [],
    ],
    "right": [
        [(3, 2), (3, 2), (3, 2), (5, 2), (7, 1)],
        ((3, 2), (3, 2), (3, 2), (5, 2), (7, 1)),
        [[3, 2], [3, 2], [3, 2], [5, 2], [7, 1]],
        [(3, 2)] * 4 + [(7, 1), (3, 1)],
        [(3, 2)] * 4 + [(5, 1), (5, 1)],
    ],
}

# ---- 10.7


def slopes(network, height, width, place=None, channels=slice(None)):
    x = torch.zeros(1, 1, height, width, requires_grad=True)
    out = network(x)
    row, column = place or (out.shape[2] // 2, out.shape[3] // 2)
    out[0, channels, row, column].sum().backward()
    return x.grad[0, 0]


def stretch(used):
    places = np.flatnonzero(used)
    return int(places[-1] - places[0] + 1)


def by_flatnonzero(network, height, width):
    seen = slopes(network, height, width).numpy() != 0
    return stretch(seen.any(axis=1)), stretch(seen.any(axis=0))


def by_bounding_box(network, height, width):
    corners = slopes(network, height, width).nonzero()
    low, high = corners.min(dim=0).values, corners.max(dim=0).values
    return tuple((high - low + 1).tolist())


def with_ones(network, height, width):
    x = torch.ones(1, 1, height, width).requires_grad_()
    out = network(x)
    (g,) = torch.autograd.grad(out[0, :, out.shape[2] // 2, out.shape[3] // 2].mean(), x)
    rows, columns = torch.where(g[0, 0] > 0)
    return int(rows.max()) - int(rows.min()) + 1, int(columns.max()) - int(columns.min()) + 1


def exchanged_sides(network, height, width):
    return by_flatnonzero(network, height, width)[::-1]


def one_short(network, height, width):
    rows, columns = by_flatnonzero(network, height, width)
    return rows - 1, columns - 1


def at_the_edge(network, height, width):
    seen = slopes(network, height, width, place=(0, 0)).numpy() != 0
    return stretch(seen.any(axis=1)), stretch(seen.any(axis=0))


def counted(network, height, width):
    seen = slopes(network, height, width).numpy() != 0
    return int(seen.any(axis=1).sum()), int(seen.any(axis=0).sum())


def all_pixels(network, height, width):
    return int((slopes(network, height, width) != 0).sum())


def every_output(network, height, width):
    x = torch.zeros(1, 1, height, width, requires_grad=True)
    network(x).sum().backward()
    seen = x.grad[0, 0].numpy() != 0
    return stretch(seen.any(axis=1)), stretch(seen.any(axis=0))


def square(network, height, width):
    rows, columns = by_flatnonzero(network, height, width)
    return max(rows, columns), max(rows, columns)


def half_of_it(network, height, width):
    rows, columns = by_flatnonzero(network, height, width)
    return rows // 2, columns // 2


def in_the_outputs_pixels(network, height, width):
    rows, columns = by_flatnonzero(network, height, width)
    out = network(torch.zeros(1, 1, height, width))
    return rows * out.shape[2] // height, columns * out.shape[3] // width


BANK["10.7"] = {
    "wrong": [
        exchanged_sides,
        one_short,
        at_the_edge,
        counted,
        all_pixels,
        every_output,
        square,
        half_of_it,
        in_the_outputs_pixels,
    ],
    "right": [by_flatnonzero, by_bounding_box, with_ones],
}

# ---- 10.8

a, b, D = sympy.symbols("a b D", positive=True)
WEIGHS = 10 * a * b + 9 * b**2 + D * b + 2 * a + 6 * b
BANK["10.8"] = {
    "wrong": [
        WEIGHS - a * b - b,  # no shortcut
        WEIGHS - 2 * a - 2 * b,  # no norms
        WEIGHS - a - b,  # norms without shifts
        WEIGHS - 4 * b,  # no biases
        WEIGHS - D * b - b,  # no time
        WEIGHS - b,  # one bias forgotten
        WEIGHS + 8 * a * b,  # the shortcut 3 x 3
        WEIGHS - 9 * b**2 + 9 * a * b,  # the second convolution reads a
        WEIGHS - 2 * b + 2 * a,  # the second norm reads a
        WEIGHS - 8 * a * b - 8 * b**2,  # 1 x 1 all over
        WEIGHS - D * b + D * a,  # the time to a channels
        WEIGHS - 6 * (a * b + b**2),  # kernels of three
        WEIGHS - 9 * b**2 - b,  # one convolution only
    ],
    "right": [
        WEIGHS,
        sympy.factor(WEIGHS),
        2 * (a + b) + 9 * b * (a + b) + a * b + b * (D + 4),
        lambda a, b, D: (9 * a + 1) * b + (9 * b + 1) * b + (D + 1) * b + (a + 1) * b + 2 * (a + b),
        sympy.expand(b * (10 * a + 9 * b + D + 6) + 2 * a),
    ],
}

# ---- 10.9

SLIPS = {
    "taken from the beginning": "crashes",
    "two layers exchanged": "silent",
    "skip before features": "silent",
    "added": "crashes",
    "a halving's input": "crashes",
    "without the transformer block": "silent",
    "conv_in not stored": "crashes",
}
CHANGED = {"crashes": "silent", "silent": "crashes"}
KINDS = list(SLIPS)
BANK["10.9"] = {
    "wrong": [
        *(SLIPS | {slip: CHANGED[SLIPS[slip]]} for slip in KINDS),  # one each
        dict.fromkeys(KINDS, "crashes"),
        dict.fromkeys(KINDS, "silent"),
        {slip: CHANGED[answer] for slip, answer in SLIPS.items()},
        SLIPS | {"added": "silent", "skip before features": "crashes"},
        SLIPS | {"conv_in not stored": "silent", "a halving's input": "silent"},
    ],
    "right": [SLIPS, list(SLIPS.values()), tuple(SLIPS.values()), dict(sorted(SLIPS.items()))],
}

# ---- 10.10

C, H = sympy.symbols("C H", positive=True)
BANK["10.10"] = {
    "wrong": [
        1 - C / (4 * 2**H),  # one side halved
        C / 4 ** (H + 1),  # what is kept
        1 - C / 4**H,  # one channel in the latents
        1 - C / 4,  # channels alone
        1 - 4 ** (H + 1) / C,  # upside down
        1 - 4 * C / 4**H,  # the 4 above
        1 - C / 4 ** (H + 2),  # levels from 1
        1 - C * 4**H / 4,  # places grow
        1 - C / (16 * H),  # not a power
        1 - sympy.sqrt(C / 4 ** (H + 1)),  # a root
        4 ** (H + 1) - C,  # numbers, not a share
    ],
    "right": [
        1 - C / 4 ** (H + 1),
        1 - C / (4 * 2**H * 2**H),
        (4 * 4**H - C) / (4 * 4**H),
        1 - 2 ** (-2 * H - 2) * C,
        lambda C, H: 1 - C / (4 * 4**H),
        1 - (C / 4) * sympy.Rational(1, 4) ** H,
    ],
}
