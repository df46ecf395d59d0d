"""The checks of chapter 10: the U-Net. It spoils the exercises to read this first."""

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from ...blocks import timestep_embedding
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 10.1


@functools.cache
def measured():
    big = torch.device("meta")
    code = timestep_embedding(torch.tensor([500]), 320)[0]
    conv = nn.Conv2d(320, 640, 3, device=big)
    y = torch.randn(100_000, 8, generator=torch.Generator().manual_seed(0))
    level, seen = y[:, :1], y[:, :1] + 2**0.5 * y[:, 1:]
    guess = seen @ torch.linalg.lstsq(seen, level).solution
    return {
        "likeness to itself": float(code @ code),
        "skips": 1 + 3 * 2 + 2,
        "parameters": sum(p.numel() for p in conv.parameters()),
        "growth of the work": 16 * 16 * 2 * 2 / (32 * 32),
        "channels read": 640 + 320,
        "error of the level": float((guess - level).square().mean()),
    }


# 10.2


def field(N, L):
    return 1 + 2 * N * (2**L - 1) + 2 * (2 ** (L - 1) - 1)


# 10.3


def general_embedding(t, width, flip_sin_to_cos, freq_shift):
    half = width // 2
    exponent = torch.arange(half, dtype=torch.float32) / (half - freq_shift)
    angles = t[:, None].float() * torch.exp(-math.log(10000.0) * exponent)[None, :]
    parts = [angles.cos(), angles.sin()] if flip_sin_to_cos else [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1)


def embeddings(rng):
    return [
        (torch.randint(1000, (n,), generator=rng), width, flip, shift)
        for n, width, flip, shift in ((4, 8, True, 0), (3, 320, False, 1), (1, 6, False, 0), (5, 64, True, 1))
    ]


# 10.4


def group_norm(x, groups, gain, shift, kappa):
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, groups, channels // groups, height, width)
    mean = parts.mean(dim=(2, 3, 4), keepdim=True)
    variance = parts.var(dim=(2, 3, 4), keepdim=True, correction=0)
    normed = ((parts - mean) / (variance + kappa).sqrt()).reshape(x.shape)
    return normed * gain.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def broken_norm(x, groups, gain, shift, kappa, dealt=True, whole_batch=True):
    """Deals the channels out to the groups one by one, and takes mean and variance over the whole batch."""
    batch, channels, height, width = x.shape
    sizes = (channels // groups, groups) if dealt else (groups, channels // groups)
    parts = x.reshape(batch, *sizes, height, width)
    over = tuple(i for i in (0, 1, 2, 3, 4) if i != (2 if dealt else 1) and (whole_batch or i > 0))
    mean = parts.mean(dim=over, keepdim=True)
    variance = parts.var(dim=over, keepdim=True, correction=0)
    normed = ((parts - mean) / (variance + kappa).sqrt()).reshape(x.shape)
    return normed * gain.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def pictures(rng):
    def some(batch, channels, height, width, groups, kappa):
        gain, shift = torch.randn(2, channels, generator=rng)
        scale = torch.arange(1.0, batch + 1).view(-1, 1, 1, 1) + torch.arange(channels).view(1, -1, 1, 1)
        x = scale * torch.randn(batch, channels, height, width, generator=rng) + scale
        return x, groups, gain, shift, kappa

    return [some(3, 8, 4, 6, 2, 1e-5), some(2, 12, 5, 3, 4, 1e-5), some(1, 6, 4, 4, 3, 1e-5)]


# 10.5


@functools.cache
def hearing():
    """Whether another time changes what each of the five blocks makes, by more than a thousandth."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, 8, 6, 6, generator=rng)
    emb = torch.randn(2, 5, generator=rng)
    torch.manual_seed(0)
    weight = torch.randn(8, 5, generator=rng)
    conv_1, conv_2 = (nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False) for _ in range(2))

    def hears(block):
        return "hears" if float((block(emb[0]) - block(emb[1])).abs().max()) > 1e-3 else "deaf"

    def two(groups, told):
        return lambda e: x + conv_2(F.silu(F.group_norm(told(conv_1(F.silu(x)), weight @ e), groups)))

    def added(h, time):
        return h + time.view(1, -1, 1, 1)

    def pairs(h, time):
        return h + time[::2].repeat_interleave(2).view(1, -1, 1, 1)

    def multiplied(h, time):
        return h * (1 + time.tanh() / 2).view(1, -1, 1, 1)

    def late(e):
        return x + conv_2(F.silu(added(F.group_norm(conv_1(F.silu(x)), 8), weight @ e)))

    return {
        "one group": hears(two(1, added)),
        "a group for each channel": hears(two(8, added)),
        "a group for each channel, time after the norm": hears(late),
        "a group for each channel, time multiplied": hears(two(8, multiplied)),
        "pairs of channels, told the same in pairs": hears(two(4, pairs)),
    }


# 10.6

LENGTH, WIDEST, LEAST = 128, 128, 8  # of the row; of the field that is asked for; of the last layer


def cost(layers):
    """Multiply-adds of layers (kernel, stride) on a row of 128; RuleBroken where they are not allowed."""
    if not isinstance(layers, (list, tuple)) or not layers:
        raise RuleBroken("the answer is a list of pairs (kernel, stride)")
    length, field, apart, work = LENGTH, 1, 1, 0
    for layer in layers:
        if not isinstance(layer, (list, tuple)) or len(layer) != 2:
            raise RuleBroken(f"each layer is a pair (kernel, stride), one of yours is {layer!r}")
        kernel, stride = layer
        if kernel not in (3, 5, 7) or stride not in (1, 2):
            raise RuleBroken(f"kernels are 3, 5 or 7 and strides 1 or 2; you have a layer {kernel, stride}")
        length = -(-length // stride)
        field, apart, work = field + (kernel - 1) * apart, apart * stride, work + kernel * length
    if length < LEAST:
        raise RuleBroken(f"the last layer has {length} places; at least {LEAST} are asked for")
    if field < WIDEST:
        raise RuleBroken(f"the receptive field is {field}; at least {WIDEST} is asked for")
    return work


CHEAP = [(3, 2), (3, 2), (3, 2), (5, 2), (7, 1)]
ALL_AT_THE_END = [(3, 1)] * 4 + [(3, 2)] * 4 + [(3, 1)] * 4

# 10.7


def field_of(network, height, width):
    x = torch.zeros(1, 1, height, width, requires_grad=True)
    out = network(x)
    (slope,) = torch.autograd.grad(out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum(), x)
    rows = slope[0, 0].abs().sum(dim=1).nonzero()
    columns = slope[0, 0].abs().sum(dim=0).nonzero()
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


def corner_field(network, height, width):
    x = torch.zeros(1, 1, height, width, requires_grad=True)
    (slope,) = torch.autograd.grad(network(x)[0, :, 0, 0].sum(), x)
    rows, columns = slope[0, 0].abs().sum(dim=1).nonzero(), slope[0, 0].abs().sum(dim=0).nonzero()
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


def counted_field(network, height, width):
    """How many inputs have a slope, in the middle row and column: holes of a dilated kernel do not count."""
    x = torch.zeros(1, 1, height, width, requires_grad=True)
    out = network(x)
    (slope,) = torch.autograd.grad(out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum(), x)
    used = slope[0, 0] != 0
    return int(used.any(dim=1).sum()), int(used.any(dim=0).sum())


def stacks(rng):
    def conv(kernel, stride=1, dilation=1, inputs=3):
        padding = tuple(d * (k // 2) for k, d in zip(kernel, (dilation, dilation)))
        layer = nn.Conv2d(inputs, 3, kernel, stride, padding, dilation).requires_grad_(False)
        layer.weight.copy_(torch.rand(layer.weight.shape, generator=rng) + 0.1)
        return layer

    def network(*layers):
        return nn.Sequential(conv((1, 1), inputs=1), *layers)

    return [
        (network(conv((3, 3))), 21, 21),
        (network(conv((3, 5)), conv((3, 5))), 33, 41),
        (network(conv((3, 3), 2), conv((3, 3)), conv((3, 3), 2), conv((3, 3))), 64, 80),
        (network(conv((3, 3), dilation=4)), 40, 40),
    ]


# 10.8


def block_parameters(a, b, D):
    return 9 * a * b + 9 * b**2 + a * b + D * b + 2 * a + 6 * b


EXERCISES = [
    Predict(
        number="10.1",
        name="guesses",
        section="10.4",
        minutes=10,
        measure=measured,
        within=0.02,
        mistakes=(
            Mistake(lambda: {"skips": 6}, "Layers are not all that is stored."),
            Mistake(lambda: {"skips": 7}, "One kind of part that stores its output is still missing."),
            Mistake(lambda: {"skips": 8}, "Something is stored before the first level begins."),
            Mistake(
                lambda: {"growth of the work": 4},
                "That is the parameters. How many places are left to visit?",
            ),
            Mistake(lambda: {"likeness to itself": 320}, "A cosine and a sine of one angle make 1 together."),
        ),
    ),
    Derive(
        number="10.2",
        name="field",
        section="10.6",
        minutes=15,
        right=field,
        ranges={"N": (1, 5), "L": (1, 5)},
        mistakes=(
            Mistake(
                lambda N, L: 1 + 2 * N * (2**L - 1),
                "The halvings are convolutions too, and see further themselves.",
            ),
            Mistake(
                lambda N, L: 1 + 2 * N * (2**L - 1) + 2 * (2**L - 1),
                "There are only as many halvings as there are steps between levels.",
            ),
            Mistake(
                lambda N, L: 1 + 2 * N * L + 2 * (L - 1),
                "This grows by the same amount on each level: how far apart are neighbours after a halving?",
            ),
            Mistake(
                lambda N, L: 1 + 2 * N * (2**L - 1) + 4 * (2 ** (L - 1) - 1),
                "A halving reads the level that it leaves, not the one to which it leads.",
            ),
        ),
    ),
    Build(
        number="10.3",
        name="embedding",
        section="10.2",
        minutes=15,
        right=general_embedding,
        cases=embeddings,
        tolerance=1e-3,  # angles near 1000 in single precision
        mistakes=(
            Mistake(
                lambda t, width, flip, shift: general_embedding(t, width, not flip, shift),
                "Which half comes first is the wrong way round.",
            ),
            Mistake(
                lambda t, width, flip, shift: general_embedding(t, width, flip, 0),
                "freq_shift makes no difference in your answer.",
            ),
            Mistake(
                lambda t, width, flip, shift: general_embedding(t, width, flip, 2 * shift),
                "The shift is taken from a number of pairs, not from a number of entries.",
            ),
        ),
    ),
    FindTheBug(
        number="10.4",
        name="group_norm",
        section="10.3",
        minutes=15,
        right=group_norm,
        cases=pictures,
        given=broken_norm,
        mistakes=(
            Mistake(
                functools.partial(broken_norm, dealt=True, whole_batch=False),
                "Each picture is normed by itself now. But which channels share a group?",
            ),
            Mistake(
                functools.partial(broken_norm, dealt=False, whole_batch=True),
                "The groups are right. Would a picture come out the same if it were alone in its batch?",
            ),
        ),
    ),
    Predict(
        number="10.5",
        name="answers",
        section="10.3",
        minutes=15,
        measure=hearing,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"a group for each channel, time multiplied": "hears"},
                "A norm takes away more than the mean.",
            ),
            Mistake(
                lambda: {"pairs of channels, told the same in pairs": "hears"},
                "What has a group in common, if all its channels are told the same?",
            ),
            Mistake(
                lambda: {"a group for each channel, time after the norm": "deaf"},
                "What comes after the last norm is not taken away by it.",
            ),
        ),
    ),
    ReachTheMark(
        number="10.6",
        name="layers",
        section="10.6",
        minutes=15,
        score=cost,
        what="multiply-adds",
        mark=440,
        higher=False,
        right=CHEAP,
        mistakes=(
            Mistake(
                ALL_AT_THE_END,
                "Your first layers work on the whole row. What if they came after the halvings?",
            ),
        ),
    ),
    Build(
        number="10.7",
        name="field_of",
        section="10.6",
        minutes=20,
        right=field_of,
        cases=stacks,
        mistakes=(
            Mistake(corner_field, "At the edge part of the field is cut off. Take an output in the middle."),
            Mistake(
                counted_field,
                "You count the inputs that have a slope; with holes in between, the stretch is longer.",
            ),
        ),
    ),
    Derive(
        number="10.8",
        name="parameters",
        section="10.8",
        minutes=15,
        right=block_parameters,
        ranges={"a": (1, 9), "b": (1, 9), "D": (1, 9)},
        mistakes=(
            Mistake(
                lambda a, b, D: 9 * a * b + 9 * b**2 + D * b + 2 * a + 5 * b,
                "The input has to change its number of channels as well, before it can be added.",
            ),
            Mistake(
                lambda a, b, D: 9 * a * b + 9 * b**2 + a * b + D * b + 6 * b,
                "Each norm has a gain and a shift for every channel that it reads.",
            ),
            Mistake(
                lambda a, b, D: 9 * a * b + 9 * b**2 + a * b + D * b + 2 * a + 2 * b,
                "A convolution and a linear layer have a bias for every channel that they make.",
            ),
        ),
    ),
]
