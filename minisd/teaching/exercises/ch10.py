"""The checks of chapter 10: the U-Net. It spoils the exercises to read this first."""

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from ...blocks import timestep_embedding
from ...sd15 import SD15
from ...unet import UNet
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 10.1


@functools.cache
def measured():
    big = torch.device("meta")
    with big:
        unet, z = UNet(SD15["unet"]), torch.empty(1, 4, 64, 64)
        _, skips = unet.down(unet.conv_in(z), unet.embed_time(0, z), torch.empty(1, 77, 768))
    code = timestep_embedding(torch.tensor([500]), 320)[0]
    conv = nn.Conv2d(320, 640, 3, device=big)
    y = torch.randn(100_000, 8, generator=torch.Generator().manual_seed(0))
    brightness, seen = y[:, :1], y[:, :1] + 2**0.5 * y[:, 1:]
    guess = seen @ torch.linalg.lstsq(seen, brightness).solution
    return {
        "dot product with itself": float(code @ code),
        "skips": 1 + 3 * 2 + 2,
        "parameters": sum(p.numel() for p in conv.parameters()),
        "growth by the skip": (640 + 320) / 640,
        "numbers in the skips": sum(skip.numel() for skip in skips),
        "error of the brightness": float((guess - brightness).square().mean()),
    }


def some_skips(guess):
    """Whether a number of numbers comes from other parts than the twelve skips, each once."""
    parts = [64**2 * 320] * 3 + [32**2 * 320] + [32**2 * 640] * 2 + [16**2 * 640] + [16**2 * 1280] * 2
    right = sum(parts) + 3 * 8**2 * 1280
    return abs(guess - right) > 0.02 * right


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


def embedding_with(t, width, flip_sin_to_cos, exponent):
    """With the speeds 10000 to the power of minus exponent(i)."""
    angles = t[:, None].float() * 10000.0 ** -exponent(torch.arange(width // 2, dtype=torch.float32))
    parts = [angles.cos(), angles.sin()] if flip_sin_to_cos else [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1)


def other_speeds(answer, cases):
    """Whether the fastest clock is right in every case, and the second is not in any."""
    ours, theirs = ([f(*case) for case in cases] for f in (answer, general_embedding))

    def agree(i):
        return [torch.allclose(a[:, i], b[:, i], atol=1e-3) for a, b in zip(ours, theirs)]

    return all(agree(0)) and not any(agree(1))


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


def varied_norm(
    x, groups, gain, shift, kappa, over=(2, 3, 4), correction=0, power=0.5, centred=True, shift_first=False
):
    """The right norm, but for one thing."""
    parts = x.reshape(len(x), groups, -1, *x.shape[2:])
    mean = parts.mean(dim=over, keepdim=True) * centred
    variance = parts.var(dim=over, keepdim=True, correction=correction)
    normed = ((parts - mean) / (variance + kappa) ** power).reshape(x.shape)
    gain, shift = gain.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)
    return (normed + shift) * gain if shift_first else normed * gain + shift


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


# 10.9


def three_levels():
    """A U-Net as in 10.9, fresh, and what its way up is called with."""
    blocks = {
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "block_out_channels": [32, 64, 64],
        "attention_head_dim": 4,
        "cross_attention_dim": 8,
    }
    unet = UNet(SD15["unet"] | blocks).requires_grad_(False)
    z, context = torch.randn(1, 4, 16, 16), torch.zeros(1, 1, 8)
    emb = unet.embed_time(500, z)
    h, skips = unet.down(unet.conv_in(z), emb, context)
    return unet, h, emb, context, skips


@functools.cache
def slips():
    """Which slips stop the forward pass of a U-Net of three levels, by trying them."""
    unet, h, emb, context, skips = three_levels()

    def outcome(together=lambda h, skip: torch.cat([h, skip], dim=1), left=skips):
        x, left = h, list(left)
        try:
            for level in unet.up_blocks:
                for i in range(len(level.resnets)):
                    x = level.layer(i, together(x, left.pop()), emb, context)
                x = x if level.upsamplers is None else level.upsamplers[0](x, size=left[-1].shape[2:])
        except (RuntimeError, IndexError):
            return "crashes"
        return "silent"

    return {
        "taken from the beginning": outcome(left=skips[::-1]),
        "two layers exchanged": outcome(left=[skips[0], skips[2], skips[1], *skips[3:]]),
        "skip before features": outcome(lambda h, skip: torch.cat([skip, h], dim=1)),
        "added": outcome(torch.add),
        "a halving's input": outcome(left=[*skips[:3], skips[2], *skips[4:]]),
        "without the transformer block": outcome(left=[torch.randn_like(skip) for skip in skips]),
        "conv_in not stored": outcome(left=skips[1:]),
    }


# 10.10


def narrow(C, H):
    return 1 - C / 4 ** (H + 1)


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
                lambda: {"growth by the skip": 2},
                "The skip has half as many channels as come from below. How many are read in all?",
            ),
            Mistake(
                lambda: {"growth by the skip": 0.5},
                "That is what the skip adds. How many times the old work is the new?",
            ),
            Mistake(
                lambda: {"growth by the skip": 9 * 1.5},
                "The kernel is the same before and after, and so drops out of the factor.",
            ),
            Mistake(
                lambda: {"growth by the skip": 2.25},
                "Only the channels that are read grow; those that are made do not.",
            ),
            Mistake(
                lambda: {"numbers in the skips": 64**2 * (4 * 320 + 3 * 640 + 5 * 1280)},
                "The skips are not all of one size: what is stored below has fewer places.",
            ),
            Mistake(
                lambda: {"numbers in the skips": 4 * 320 + 3 * 640 + 5 * 1280},
                "Those are the channels. Each channel holds a number for every place.",
            ),
            Mistake(
                None,
                "Some skips are left out, or counted twice: the list holds what conv_in makes, "
                "each layer and each halving, all in the size in which they are made.",
                seen=lambda guesses, cases: some_skips(guesses["numbers in the skips"]),
            ),
            Mistake(
                lambda: {"parameters": 320 * 640 + 640},
                "A kernel of 3 × 3 has nine weights for every pair of channels.",
            ),
            Mistake(
                lambda: {"parameters": 3 * 320 * 640 + 640},
                "A kernel of 3 × 3 has nine weights for every pair of channels.",
            ),
            Mistake(
                lambda: {"parameters": 9 * 640 * 640 + 640},
                "One side of each kernel is the channels that are read, the other those that are made.",
            ),
            Mistake(
                lambda: {"parameters": 9 * 320 * 320 + 320},
                "One side of each kernel is the channels that are read, the other those that are made.",
            ),
            Mistake(
                lambda: {"dot product with itself": 1}, "It is the sum of (10.4), not divided by anything."
            ),
            Mistake(
                lambda: {"dot product with itself": math.sqrt(160)},
                "That is the length; the dot product is its square.",
            ),
            Mistake(
                lambda: {"dot product with itself": 0},
                "No angle lies between a vector and itself: every cosine is 1.",
            ),
            Mistake(lambda: {"skips": 12}, "That is a network of four levels."),
            Mistake(lambda: {"skips": 10}, "The lowest level has no halving, and the middle stores nothing."),
            Mistake(
                None,
                "Count what is stored: the first convolution's output, each layer's, each halving's.",
                seen=lambda guesses, cases: abs(guesses["skips"] - 9) > 0.18,
            ),
            Mistake(
                lambda: {"error of the brightness": 1 / 8},
                "What hides the brightness has variance 2 here, not 1.",
            ),
            Mistake(
                lambda: {"error of the brightness": 2 / 7},
                "That is the error of the plain average. The best multiple of it does better.",
            ),
            Mistake(
                lambda: {"error of the brightness": 7 / 9},
                "That is the best multiple of the average, or what is known; the error is the rest.",
            ),
            Mistake(
                None,
                "Look at (10.1) again: what is n here, and what the variance of what hides the brightness?",
                seen=lambda guesses, cases: abs(guesses["error of the brightness"] - 2 / 9) > 0.005,
            ),
            Mistake(
                lambda: {"dot product with itself": 320}, "A cosine and a sine of one angle make 1 together."
            ),
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
            Mistake(
                lambda N, L: 1 + N * (2**L - 1) + (2 ** (L - 1) - 1),
                "A kernel of three looks one place to each side.",
            ),
            Mistake(
                lambda N, L: 1 + 3 * N * (2**L - 1) + 3 * (2 ** (L - 1) - 1),
                "A convolution adds k - 1, not k: the number in the middle was seen already.",
            ),
            Mistake(
                lambda N, L: 1 + 2 * N * 2**L + 2 * 2 ** (L - 1),
                "1 + 2 + 4 + ... is one less than the next power of 2.",
            ),
            Mistake(
                lambda N, L: 1 + 2 * N * (2 ** (L - 1) - 1) + 2 * (2 ** (L - 1) - 1),
                "The lowest level has its N convolutions, too.",
            ),
            Mistake(
                lambda N, L: 1 + 2 * N * 2 ** (L - 1),
                "That is the lowest level alone; those above it have their part.",
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
            Mistake(
                lambda t, width, flip, shift: embedding_with(t, width, flip, lambda i: i / (width - shift)),
                "i runs over the pairs; what it is divided by counts pairs too, not entries.",
            ),
            Mistake(
                lambda t, width, flip, shift: embedding_with(
                    t, width, flip, lambda i: (i + 1) / (width // 2 - shift)
                ),
                "The first clock has i = 0, and speed 1.",
            ),
            Mistake(
                None,
                "The first clock is right, the others turn at the wrong speeds. Is the base 10000?",
                seen=lambda answer, cases: other_speeds(answer, cases),
            ),
            Mistake(
                None,
                "Both halves are the same: one should hold the cosines, the other the sines.",
                seen=lambda answer, cases: all(torch.equal(*answer(*case).chunk(2, dim=1)) for case in cases),
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
            Mistake(
                functools.partial(varied_norm, correction=1),
                "The variance is the mean of the squares: divide by how many there are, not by one less.",
            ),
            Mistake(
                functools.partial(varied_norm, power=1),
                "You divide by the variance; it should be the root of it.",
            ),
            Mistake(
                functools.partial(varied_norm, over=(2,)),
                "Mean and variance are taken over the whole picture as well, not place by place.",
            ),
            Mistake(
                functools.partial(varied_norm, centred=False),
                "The mean is not taken away.",
            ),
            Mistake(
                functools.partial(varied_norm, shift_first=True),
                "The shift comes after the factor (10.6), so it is not multiplied by it.",
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
            Mistake(
                lambda network, height, width: (height, width),
                "That is the whole input: the sum of all outputs sees everything. Take one of them.",
            ),
            Mistake(
                lambda network, height, width: tuple(one // 2 for one in field_of(network, height, width)),
                "That is how far it sees to one side. From the first pixel to the last it is more.",
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
            Mistake(
                lambda a, b, D: block_parameters(a, b, D) - 2 * a - 2 * b,
                "Each norm has a gain and a shift for every channel that it reads.",
            ),
            Mistake(
                lambda a, b, D: block_parameters(a, b, D) - a - b,
                "A norm learns two numbers for each channel, a factor and a shift.",
            ),
            Mistake(
                lambda a, b, D: block_parameters(a, b, D) - b,
                "One bias a channel is missing: three convolutions and the time's map have some.",
            ),
            Mistake(
                lambda a, b, D: block_parameters(a, b, D) + 8 * a * b,
                "What carries the input over looks at one place only: its kernel is 1 × 1.",
            ),
            Mistake(
                lambda a, b, D: block_parameters(a, b, D) - 9 * b**2 + 9 * a * b,
                "The second convolution reads what the first one made. How many channels is that?",
            ),
            Mistake(
                lambda a, b, D: block_parameters(a, b, D) - 2 * b + 2 * a,
                "The second norm comes after the first convolution. How many channels does it read?",
            ),
            Mistake(
                lambda a, b, D: block_parameters(a, b, D) - 8 * a * b - 8 * b**2,
                "A kernel of 3 × 3 has nine weights for every pair of channels.",
            ),
            Mistake(
                lambda a, b, D: block_parameters(a, b, D) - 6 * (a * b + b**2),
                "A kernel of 3 × 3 has nine weights for every pair of channels.",
            ),
            Mistake(
                lambda a, b, D: block_parameters(a, b, D) - D * b + D * a,
                "Where is the time added, before the first convolution or after it?",
            ),
            Mistake(
                lambda a, b, D: block_parameters(a, b, D) - 9 * b**2 - b,
                "There are two convolutions of 3 × 3 in the block.",
            ),
        ),
    ),
    Predict(
        number="10.9",
        name="slips",
        section="10.4",
        minutes=15,
        measure=slips,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"skip before features": "crashes"},
                "a + b channels are as many as b + a. What else could the convolution notice?",
            ),
            Mistake(
                lambda: {"added": "silent"},
                "The shapes may be equal, but how many channels does the convolution after it expect?",
            ),
            Mistake(
                lambda: {"two layers exchanged": "crashes"},
                "Write down the shapes of the two layers of one level: do they differ?",
            ),
            Mistake(
                lambda: {"taken from the beginning": "silent"},
                "The first layer of the way up works at the smallest size. Which skip does it get?",
            ),
            Mistake(
                lambda: {"a halving's input": "silent"},
                "What is the size of a halving's input, and that of the features it is stacked with?",
            ),
            Mistake(
                lambda: {"without the transformer block": "crashes"},
                "Does a transformer block change the shape of a picture?",
            ),
            Mistake(
                lambda: {"conv_in not stored": "silent"},
                "Count the layers of the way up, and the skips that are left for them.",
            ),
        ),
    ),
    Derive(
        number="10.10",
        name="lost",
        section="10.1",
        minutes=10,
        right=narrow,
        ranges={"C": (1, 9), "H": (1, 4)},
        mistakes=(
            Mistake(
                lambda C, H: 1 - C / (4 * 2**H),
                "A halving halves the height and the width. How many places are left?",
            ),
            Mistake(lambda C, H: C / 4 ** (H + 1), "That is what can be kept. What is lost is the rest."),
            Mistake(lambda C, H: 1 - C / 4**H, "The latents have more than one channel."),
            Mistake(
                lambda C, H: 1 - C / 4,
                "Those are the channels alone. The lowest level has fewer places than the latents, too.",
            ),
            Mistake(lambda C, H: 1 - 4 ** (H + 1) / C, "m and n are exchanged: m is the narrow place."),
            Mistake(lambda C, H: 1 - 4 * C / 4**H, "The latents' channels belong to n, which divides."),
            Mistake(
                lambda C, H: 1 - C / (4 * 4 ** (H + 1)),
                "H counts the halvings; one too many is in your formula.",
            ),
            Mistake(
                lambda C, H: 1 - C / (4 * H),
                "A quarter of the places is left at each halving, again and again.",
            ),
            Mistake(
                lambda C, H: 1 - C / (4 * 4 * H),
                "A quarter of the places is left at each halving, again and again.",
            ),
        ),
    ),
]
