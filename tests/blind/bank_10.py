"""Answers to chapter 10's exercises: what readers may write, right and wrong."""

import math

import numpy as np
import sympy
import torch
import torch.nn.functional as F

BANK = {}


# ---- 10.1

ALL = {"numbers": 90, "in a row": 45, "with halvings": 9, "layers": 5, "slow clocks": 71}
NAMES = dict(zip(("numbers", "row", "halved", "layers", "slow"), ALL, strict=True))


def but(**changes):
    """The right guesses, but for some."""
    return ALL | {NAMES[name]: value for name, value in changes.items()}


BANK["10.1"] = {
    "wrong": [
        but(numbers=18),  # not divided by the root of alpha-bar
        but(numbers=17.1),  # the same, not rounded up
        but(numbers=81),  # the details forgotten
        but(numbers=99),  # noise of variance 1, divided
        but(numbers=100),  # the plain average
        but(numbers=36),  # the root of the noise's variance
        but(numbers=10),  # the variance itself
        but(numbers=900),  # an error of 0.01
        but(numbers=9),  # nine times the noise of the picture
        but(row=30),  # three each
        but(row=90),  # one each
        but(row=44),  # 89 numbers
        but(row=46),
        but(row=22),  # half
        but(halved=45),  # no difference
        but(halved=23),  # half of it
        but(halved=11),  # halvings see nothing
        but(halved=8),  # a halving at the new distance
        but(halved=5),  # stride 1 alone
        but(halved=10),  # pairs
        but(halved=4),  # the halvings alone
        but(halved=7),  # log2 of 90
        but(layers=6),  # the way up
        but(layers=7),  # three levels
        but(layers=8),  # three levels, the way up
        but(layers=24),  # the skips
        but(layers=4),
        but(slow=39),  # the angle 1
        but(slow=89),  # those that turn
        but(slow=88),
        but(slow=142),  # sines and cosines
        but(slow=160),  # all
        but(slow=1),  # the last
        but(numbers=18, row=9, halved=5),  # right from the first slip on
    ],
    "right": [
        ALL,
        but(slow=72),  # within 2 %
        but(slow=70),
        list(ALL.values()),
        but(numbers=90.0, layers=5.0),
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


def boxes_of(block_out_channels, height, width):
    """All the boxes of the way down: (kind, channels, height, width)."""
    made = [("level", block_out_channels[0], height, width)]
    for above, channels in zip(block_out_channels, block_out_channels[1:]):
        height, width = (height + 1) // 2, (width + 1) // 2
        made += [("halving", above, height, width), ("level", channels, height, width)]
    return made


def by_boxes(block_out_channels, height, width):
    return min(c * h * w for _, c, h, w in boxes_of(block_out_channels, height, width))


def by_both_ways(channels, height, width):
    down = boxes_of(channels, height, width)
    up = [(c, h, w) for (_, c, _, _), (kind, _, h, w) in zip(down[2::2], down[0::2])]
    return min([c * h * w for _, c, h, w in down] + [c * h * w for c, h, w in up])


def by_arrays(block_out_channels, height, width):
    channels = np.array(block_out_channels)
    i = np.arange(len(channels))
    places = np.ceil(height / 2**i) * np.ceil(width / 2**i)
    return int(np.concatenate([channels * places, channels[:-1] * places[1:]]).min())


def by_convolutions(block_out_channels, height, width):
    """By letting a tensor go down."""
    x, made = torch.zeros(1, 1, height, width), []
    for i, channels in enumerate(block_out_channels):
        made.append(channels * x[0].numel())
        if i < len(block_out_channels) - 1:
            x = F.conv2d(x, torch.ones(1, 1, 3, 3), stride=2, padding=1)
            made.append(channels * x[0].numel())
    return min(made)


def levels_alone(*given):
    return min(c * h * w for kind, c, h, w in boxes_of(*given) if kind == "level")


def last_level(*given):
    _, c, h, w = boxes_of(*given)[-1]
    return c * h * w


def last_halving(*given):
    _, c, h, w = boxes_of(*given)[-2:][0]
    return c * h * w


def rounded_down(block_out_channels, height, width):
    made = []
    for i, c in enumerate(block_out_channels):
        made.append(c * (height >> i) * (width >> i))
        if i < len(block_out_channels) - 1:
            made.append(c * (height >> i + 1) * (width >> i + 1))
    return min(made)


def with_the_latents(block_out_channels, height, width):
    return min(by_boxes(block_out_channels, height, width), 4 * height * width)


def lowest_halved_too(block_out_channels, height, width):
    return by_boxes([*block_out_channels, block_out_channels[-1]], height, width)


def one_side_halved(block_out_channels, height, width):
    made = []
    for c in block_out_channels:
        made += [c * height * width]
        width = (width + 1) // 2
    return min(made)


def halved_by_area(block_out_channels, height, width):
    return min(c * height * width // 2**i for i, c in enumerate(block_out_channels))


def fewest_channels(block_out_channels, height, width):
    return min(block_out_channels)


def never_halved(block_out_channels, height, width):
    return min(block_out_channels) * height * width


def the_most(*given):
    return max(c * h * w for _, c, h, w in boxes_of(*given))


def per_latent(block_out_channels, height, width):
    return by_boxes(block_out_channels, height, width) / (4 * height * width)


BANK["10.7"] = {
    "wrong": [
        levels_alone,
        last_level,
        last_halving,
        rounded_down,
        with_the_latents,
        lowest_halved_too,
        one_side_halved,
        halved_by_area,
        fewest_channels,
        never_halved,
        the_most,
        per_latent,
    ],
    "right": [by_boxes, by_both_ways, by_arrays, by_convolutions],
}

# ---- 10.8

a, b, D = sympy.symbols("a b D", positive=True)
LESS = 9 * a * b + 2 * a


def weighs(reads, makes, changed=True):
    """A ResNet block's parameters."""
    convolutions = 9 * reads * makes + makes + 9 * makes**2 + makes
    return 2 * reads + 2 * makes + convolutions + D * makes + makes + int(changed) * (reads * makes + makes)


MIXING = (a + b) * b + b
BANK["10.8"] = {
    "wrong": [
        LESS - MIXING,  # the 1 x 1 as something new
        9 * a * b,  # the norm forgotten
        9 * a * b + a,  # norms without shifts
        a * b + 2 * a,  # kernels of one
        3 * a * b + 2 * a,  # kernels of three
        LESS + b**2,  # the mixing reads the skip alone
        weighs(a + b, b) - MIXING - weighs(b, b),  # the new block with a 1 x 1 of its own
        LESS + b,  # the mixing without biases
        LESS + MIXING,  # the mixing forgotten
        weighs(a + b, b) - MIXING - weighs(b, b, changed=False) + 9 * a * b,  # the second convolution, too
        LESS + 2 * a,  # the second norm, too
        LESS + D * a,  # the time of a channels more
        LESS + a,  # biases of what is read
        weighs(a, b) - MIXING - weighs(b, b, changed=False) + b**2,  # the old block reads a
        (a - b) * (9 * b + 2),
        (a + b) * (9 * b + 2),  # all of norm_1 and conv_1
        -LESS,  # the new less the old
        weighs(a + b, b),  # the old one
        2 * LESS,
        9 * a * b + 2 * b,  # the norm of what is made
    ],
    "right": [
        LESS,
        a * (9 * b + 2),
        weighs(a + b, b) - MIXING - weighs(b, b, changed=False),
        lambda a, b, D: 9 * a * b + 2 * a,
        lambda a, b, D: a * (2 + 9 * b),
        sympy.factor(LESS),
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

places = np.arange(64)
around = np.abs(places[:, None] - places)
around = np.minimum(around, 64 - around)
ALIKE = 0.9**around  # the covariance of the row


def back_from(keep, noise=2.0):
    """The best B for an A."""
    return ALIKE @ keep.T @ np.linalg.inv(keep @ (ALIKE + noise * np.eye(64)) @ keep.T)


def in_tensors(keep, back):
    return torch.tensor(keep), torch.tensor(back)


POOL = (places // 8 == np.arange(8)[:, None]) / 8
REPEAT = 8 * POOL.T
EVERY_EIGHTH = np.eye(64)[4::8]
VARIANCES, VECTORS = np.linalg.eigh(ALIKE)
WIDE, FACTORS = VECTORS[:, -8:], VARIANCES[-8:] / (VARIANCES[-8:] + 2)
WIENER = ALIKE @ np.linalg.inv(ALIKE + 2 * np.eye(64))  # without a narrow place
left, sizes, right = np.linalg.svd(WIENER)
middles = 8 * np.arange(8) + 3.5
bells = np.abs(places - middles[:, None])
bells = np.exp(-0.5 * (np.minimum(bells, 64 - bells) / 4.5) ** 2)
waves = [np.ones(64)]
for turns in (1, 2, 3):
    waves += [np.cos(2 * np.pi * turns * places / 64), np.sin(2 * np.pi * turns * places / 64)]
waves.append(np.cos(2 * np.pi * 4 * places / 64))
WAVES = np.array(waves) / np.linalg.norm(waves, axis=1, keepdims=True)

BANK["10.10"] = {
    "wrong": [
        in_tensors(POOL, REPEAT),  # averages, repeated
        in_tensors(POOL, 0.76 * REPEAT),  # and drawn to 0
        in_tensors(POOL, back_from(POOL)),  # and rebuilt as well as can be
        in_tensors(POOL, back_from(POOL, noise=0.0)),  # as if without noise
        in_tensors(WIDE.T, WIDE),  # the projection
        in_tensors(WIDE.T, 0.77 * WIDE),  # times one number
        in_tensors((WIDE * FACTORS).T, WIDE * FACTORS),  # the factors twice
        in_tensors((WIDE * FACTORS**0.5).T, WIDE),  # their roots
        in_tensors(WIDE.T, WIDE * (VARIANCES[-8:] / (VARIANCES[-8:] + 2**0.5))),
        in_tensors(WIDE.T, WIDE * (VARIANCES[-8:] / (VARIANCES[-8:] + 4))),
        in_tensors(VECTORS[:, :8].T, VECTORS[:, :8]),  # the wrong end
        in_tensors(EVERY_EIGHTH, REPEAT),  # one of eight
        in_tensors(EVERY_EIGHTH, back_from(EVERY_EIGHTH)),
        in_tensors(0 * POOL, 0 * REPEAT),
        in_tensors(VECTORS[:8], VECTORS[:8].T),  # rows for columns
        in_tensors(VECTORS[-8:], VECTORS[-8:].T),
        in_tensors(WIENER, np.eye(64)),  # no narrow place
        in_tensors(REPEAT, POOL),  # exchanged
        in_tensors(WIENER[:8], REPEAT),
        torch.tensor(POOL),  # A alone
        "averages",
        ("A", "B"),
    ],
    "right": [
        in_tensors(WIDE.T, WIDE * FACTORS),
        ((WIDE * FACTORS).T, WIDE),  # numpy's, the factors in A
        [torch.tensor(WIDE.T.copy()).float(), torch.tensor(WIDE * FACTORS).float()],
        in_tensors((WIDE * FACTORS**0.5).T, WIDE * FACTORS**0.5),  # a half of them in each
        in_tensors(right[:8], left[:, :8] * sizes[:8]),
        in_tensors(WAVES, back_from(WAVES)),
        in_tensors(bells, back_from(bells)),
        in_tensors(8 * WIDE.T, WIDE * FACTORS / 8),
    ],
}
