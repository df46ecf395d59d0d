"""The checks of chapter 10: the U-Net. It spoils the exercises to read this first."""

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from ...sd15 import SD15
from ...unet import UNet
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 10.1


BAR, VARIANCE, LEAST_ERROR = 0.1, 1.0, 0.1  # alpha-bar, the details' variance, the error that is asked for


def best_error(n):
    """The mean squared error of the best linear guess of the brightness from n numbers of x_t."""
    covariance = BAR * (1 + VARIANCE * torch.eye(n, dtype=torch.float64))
    covariance += (1 - BAR) * torch.eye(n, dtype=torch.float64)
    with_brightness = torch.full((n,), BAR**0.5, dtype=torch.float64)
    return 1 - float(with_brightness @ torch.linalg.solve(covariance, with_brightness))


def seen_by(strides):
    """How many numbers of a row a place in the middle sees, through convolutions with a kernel of three."""
    x = torch.zeros(1, 1, 401, requires_grad=True)
    h = x
    for stride in strides:
        h = F.conv1d(h, torch.full((1, 1, 3), 1 / 3), stride=stride, padding=1)
    (slope,) = torch.autograd.grad(h[0, 0, h.shape[-1] // 2], x)
    return int((slope != 0).sum())


def first(found):
    """The first whole number from 1 on of which this is true."""
    return next(n for n in range(1, 1000) if found(n))


def skips_of(layers):
    """How many skips a U-Net of four levels stores."""
    blocks = {"down_block_types": ["DownBlock2D"] * 4, "up_block_types": ["UpBlock2D"] * 4}
    sizes = {"block_out_channels": [32] * 4, "layers_per_block": layers, "cross_attention_dim": 8}
    with torch.device("meta"):
        unet, z = UNet(SD15["unet"] | blocks | sizes), torch.empty(1, 4, 16, 16)
        return len(unet.down(unet.conv_in(z), unet.embed_time(0, z), torch.empty(1, 1, 8))[1])


@functools.cache
def measured():
    numbers = first(lambda n: best_error(n) <= LEAST_ERROR + 1e-9)
    return {
        "numbers": numbers,
        "in a row": first(lambda n: seen_by([1] * n) >= numbers),
        "with halvings": first(lambda n: seen_by(([1, 2] * n)[:n]) >= numbers),
        "layers": first(lambda n: skips_of(n) == 24),
        "slow clocks": sum(1000 * 10000 ** (-i / 160) < 2 * math.pi for i in range(160)),
    }


def outside(question, low, high):
    """Whether a guess lies outside of a range."""
    return lambda guesses, cases: not low <= guesses[question] <= high


def between(question, low, high):
    return lambda guesses, cases: low <= guesses[question] <= high


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


def narrowest(block_out_channels, height, width, halved=lambda side: -(-side // 2), halvings=True):
    """The fewest numbers that a box of the way down makes; the way up makes no fewer."""
    made, last = [], len(block_out_channels) - 1
    for i, channels in enumerate(block_out_channels):
        made.append(channels * height * width)
        if i < last:
            height, width = halved(height), halved(width)
            if halvings:
                made.append(channels * height * width)
    return min(made)


def fewest(block_out_channels, height, width):
    return narrowest(block_out_channels, height, width)


def lowest(block_out_channels, height, width):
    for _ in block_out_channels[1:]:
        height, width = -(-height // 2), -(-width // 2)
    return block_out_channels[-1] * height * width


def shapes(rng):
    return [
        ([16, 32, 128], 16, 16),
        ([16, 32, 64, 64], 16, 16),
        ([64, 16, 128], 16, 24),
        ([24, 48, 48], 13, 10),
        ([320, 640, 1280, 1280], 64, 64),
        ([4, 64], 8, 8),
        ([32], 9, 7),
        ([8, 64, 512, 64], 40, 24),
    ]


# 10.8


def block_parameters(a, b, D):
    """Of the block of (10.7) from a to b channels, a and b being different."""
    return 9 * a * b + 9 * b**2 + a * b + D * b + 2 * a + 6 * b


def saved(a, b, D):
    """A block that reads b channels and the skip's a, against mixing them to b first."""
    mixing, plain = (a + b) * b + b, block_parameters(b, b, D) - b**2 - b
    return block_parameters(a + b, b, D) - mixing - plain


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


ROW, KEPT, NOISE = 64, 8, 2.0  # numbers of the row; of the narrow place; the variance of the noise


def ring():
    """The covariance of the row: 0.9 to the power of the distance, on a ring."""
    apart = (torch.arange(ROW)[:, None] - torch.arange(ROW)).abs()
    return 0.9 ** torch.minimum(apart, ROW - apart).double()


def matrix(given, shape, name):
    """A matrix of this shape in double precision; RuleBroken for anything else."""
    try:
        made = torch.as_tensor(given).detach().double()
    except (TypeError, ValueError, RuntimeError):
        raise RuleBroken(f"{name} should be a tensor, yours is a {type(given).__name__}") from None
    if made.shape != shape:
        raise RuleBroken(f"{name} should have the shape {shape}, yours has {tuple(made.shape)}")
    if not made.isfinite().all():
        raise RuleBroken(f"{name} holds numbers that are not finite")
    return made


def whole(pair):
    """BA of a pair (A, B)."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise RuleBroken("the answer is a pair (A, B)")
    keep, back = matrix(pair[0], (KEPT, ROW), "A"), matrix(pair[1], (ROW, KEPT), "B")
    return back @ keep


def rebuilt_error(pair):
    """The mean squared error of the clean numbers, rebuilt from noisy ones through eight."""
    made, covariance = whole(pair), ring()
    wrong = torch.eye(ROW, dtype=torch.float64) - made
    return float((wrong @ covariance @ wrong.T).trace() + NOISE * (made @ made.T).trace()) / ROW


def directions(which=slice(-KEPT, None)):
    """Eight of the covariance's eigenvectors, as columns, and their variances."""
    variances, vectors = torch.linalg.eigh(ring())
    return vectors[:, which], variances[which]


def averages():
    """A and B that average eight neighbours and repeat the average."""
    groups = (torch.arange(ROW)[None] // 8 == torch.arange(KEPT)[:, None]).double()
    return groups / 8, groups.T


def best_back(keep, noise=NOISE):
    """The best B for an A."""
    covariance = ring()
    seen = keep @ (covariance + noise * torch.eye(ROW, dtype=torch.float64)) @ keep.T
    return covariance @ keep.T @ torch.linalg.inv(seen)


def best_pair(noise=NOISE, power=1.0, both=False):
    vectors, variances = directions()
    factor = (variances / (variances + noise)) ** power
    return (vectors * factor if both else vectors).T, vectors * factor


def one_factor(pair, cases):
    """Whether BA is a projection times one number, which is not 1."""
    made = whole(pair)
    factor = float(made.trace()) / KEPT
    same = (made @ made - factor * made).abs().max() < 1e-4 * made.abs().max()
    return bool(same) and abs(factor - 1) > 1e-3 and rebuilt_error(pair) < rebuilt_error(best_pair(power=0))


def few_read(pair, cases):
    """Whether A looks at eight numbers only."""
    return int((matrix(pair[0], (KEPT, ROW), "A") != 0).any(dim=0).sum()) == KEPT


EXERCISES = [
    Predict(
        number="10.1",
        name="guesses",
        section="10.6",
        minutes=20,
        measure=measured,
        within=0.02,
        mistakes=(
            Mistake(
                None,
                "In x_t the brightness is multiplied by the root of alpha-bar. What does dividing by that "
                "root do to the noise?",
                seen=between("numbers", 17, 18),
            ),
            Mistake(
                lambda: {"numbers": 81},
                "The noise is not all that hides the brightness: each number has its own detail, too.",
            ),
            Mistake(
                None,
                "The noise in x_t has variance 1 - alpha-bar, not 1, before you divide.",
                seen=between("numbers", 98.5, 99.5),
            ),
            Mistake(
                None,
                "The plain average needs so many. The best multiple of it, (10.1), needs fewer.",
                seen=between("numbers", 99.6, 100.4),
            ),
            Mistake(
                lambda: {"numbers": 36},
                "What you divide the noise by divides its standard deviation; (10.1) asks for variances.",
            ),
            Mistake(
                None,
                "Write x_t divided by the root of alpha-bar as the brightness plus the rest. Which "
                "variance has the rest? Then solve (10.1) for n.",
                seen=outside("numbers", 88.2, 91.8),
            ),
            Mistake(
                lambda: {"in a row": 30},
                "Each convolution reads three numbers, but how many of them did the one before not see?",
            ),
            Mistake(
                lambda: {"in a row": 90},
                "A kernel of three looks to the left and to the right.",
            ),
            Mistake(lambda: {"in a row": 44}, "Forty-four in a row see 89 numbers."),
            Mistake(
                None,
                "Without a halving every convolution adds the same to the field, which begins at 1.",
                seen=outside("in a row", 44.5, 45.5),
            ),
            Mistake(
                None,
                "After each halving a convolution adds twice as much to the field as before it.",
                seen=lambda guesses, cases: guesses["with halvings"] >= 20,
            ),
            Mistake(
                lambda: {"with halvings": 11},
                "A halving is a convolution too, and adds to the field itself.",
            ),
            Mistake(
                lambda: {"with halvings": 8},
                "A halving reads numbers that are as far apart as before it; only those after it profit.",
            ),
            Mistake(
                lambda: {"with halvings": 5},
                "You have counted those of stride 1 alone; the halvings are convolutions as well.",
            ),
            Mistake(
                lambda: {"with halvings": 10},
                "One fewer is enough: the list need not end with a halving.",
            ),
            Mistake(
                None,
                "Go through the list with (10.10), convolution by convolution: 3, 5, 9, ...",
                seen=outside("with halvings", 8.9, 9.1),
            ),
            Mistake(
                lambda: {"layers": 6},
                "So many layers has each level on the way up. The way down has one fewer.",
            ),
            Mistake(
                lambda: {"layers": 7},
                "From 16 to 2 are three halvings. How many levels lie along them?",
            ),
            Mistake(
                lambda: {"layers": 8},
                "There is one level more than halvings, and a level has one layer more on the way up.",
            ),
            Mistake(
                None,
                "The list holds what conv_in makes, each layer and each halving, and nothing else.",
                seen=outside("layers", 4.9, 5.1),
            ),
            Mistake(
                lambda: {"slow clocks": 39},
                "At speed 1/1000 a hand has turned by an angle of 1 after 1,000 timesteps: not once round.",
            ),
            Mistake(
                None,
                "Those are the clocks that do turn once or more.",
                seen=between("slow clocks", 88, 90),
            ),
            Mistake(lambda: {"slow clocks": 142}, "A cosine and a sine are one clock."),
            Mistake(
                None,
                "A hand turns by its speed times 1,000; a full turn is an angle of two pi. The speeds fall "
                "from 1 to nearly 1/10,000, by the same factor each.",
                seen=outside("slow clocks", 69.6, 72.4),
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
        name="fewest",
        section="10.7",
        minutes=15,
        right=fewest,
        cases=shapes,
        mistakes=(
            Mistake(
                functools.partial(narrowest, halvings=False),
                "A halving is a box too, and makes as many channels as the level that it leaves.",
            ),
            Mistake(lowest, "The lowest level need not be the narrowest box."),
            Mistake(
                functools.partial(narrowest, halved=lambda side: side // 2),
                "With one pixel of padding, stride 2 makes 7 places of 13.",
            ),
            Mistake(
                lambda channels, height, width: min(fewest(channels, height, width), 4 * height * width),
                "The latents are not a box.",
            ),
            Mistake(
                lambda channels, height, width: fewest([*channels, channels[-1]], height, width),
                "The lowest level does not halve.",
            ),
            Mistake(
                lambda channels, height, width: min(channels) * height * width,
                "Height and width are halved on the way down.",
            ),
        ),
    ),
    Derive(
        number="10.8",
        name="saving",
        section="10.3",
        minutes=20,
        right=saved,
        ranges={"a": (1, 9), "b": (1, 9), "D": (1, 9)},
        mistakes=(
            Mistake(
                lambda a, b, D: saved(a, b, D) - (a + b) * b - b,
                "You count the 1 × 1 convolution as if it were new. Look at the dashed box of figure 10.6.",
            ),
            Mistake(
                lambda a, b, D: 9 * a * b,
                "One more part of the block reads the stack, and learns something for every channel of it.",
            ),
            Mistake(
                lambda a, b, D: 9 * a * b + a,
                "A norm learns two numbers for each channel, a factor and a shift.",
            ),
            Mistake(
                lambda a, b, D: saved(a, b, D) - 8 * a * b,
                "A kernel of 3 × 3 has nine weights for every pair of channels.",
            ),
            Mistake(
                lambda a, b, D: saved(a, b, D) - 6 * a * b,
                "A kernel of 3 × 3 has 3 times 3 weights for every pair of channels, not 3.",
            ),
            Mistake(
                lambda a, b, D: saved(a, b, D) + b**2,
                "The 1 × 1 convolution mixes all the a + b channels, those from below as well.",
            ),
            Mistake(
                lambda a, b, D: saved(a, b, D) - b**2 - b,
                "Where the number of channels does not change, the input is added as it is (10.7).",
            ),
            Mistake(
                lambda a, b, D: saved(a, b, D) + b,
                "The mixing has a bias for every channel that it makes, as the dashed box in figure 10.6.",
            ),
            Mistake(
                lambda a, b, D: saved(a, b, D) + a * b + b**2 + b,
                "The mixing has parameters of its own, as many as the dashed box in figure 10.6.",
            ),
            Mistake(
                lambda a, b, D: saved(a, b, D) + 9 * a * b,
                "The second convolution reads b channels and makes b in either form.",
            ),
            Mistake(
                lambda a, b, D: saved(a, b, D) + 2 * a,
                "The second norm comes after the first convolution. How many channels does it read?",
            ),
            Mistake(
                lambda a, b, D: saved(a, b, D) + D * a,
                "Where is the time added, before the first convolution or after it? So how many channels "
                "does it shift?",
            ),
            Mistake(
                lambda a, b, D: saved(a, b, D) + a,
                "A convolution has a bias for every channel that it makes, not for those that it reads.",
            ),
            Mistake(
                lambda a, b, D: (a - b) * (9 * b + 2),
                "The old block reads a + b channels, the skip's and those from below, not a alone.",
            ),
            Mistake(
                lambda a, b, D: (a + b) * (9 * b + 2),
                "The new block does not read nothing: its first norm and convolution still read b channels.",
            ),
            Mistake(
                lambda a, b, D: -saved(a, b, D),
                "The sign is the wrong way round: what is saved is the old count less the new one.",
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
    ReachTheMark(
        number="10.10",
        name="pair",
        section="10.1",
        minutes=25,
        score=rebuilt_error,
        what="mean squared error",
        mark=0.336,
        right=best_pair(),
        mistakes=(
            Mistake(
                averages(),
                "By (10.1) the average of a few noisy numbers should be multiplied by something. And is a "
                "row that changes slowly best rebuilt in steps?",
            ),
            Mistake(
                (averages()[0], best_back(averages()[0])),
                "Your B is the best one for these eight averages. But are they the best eight to keep?",
            ),
            Mistake(
                (averages()[0], best_back(averages()[0], 0.0)),
                "Your B would be the best one if the averages held no noise.",
            ),
            Mistake(
                best_pair(power=0),
                "Eight well chosen directions. But what is read along them is noisy: what did the proof of "
                "(10.1) do with a noisy average?",
            ),
            Mistake(
                best_pair(both=True),
                "Your factors are in A and in B, so that each is applied twice.",
            ),
            Mistake(
                best_pair(power=0.5),
                "Each factor is the root of what it should be: look at (10.1)'s lambda again.",
            ),
            Mistake(
                best_pair(noise=NOISE**0.5),
                "Nearly: the factors are made of variances; the noise's is 2.",
            ),
            Mistake(
                best_pair(noise=NOISE**2),
                "Nearly: you have squared the noise's variance.",
            ),
            Mistake(
                (directions(slice(KEPT))[0].T, directions(slice(KEPT))[0]),
                "You keep the eight directions in which the row varies least: torch.linalg.eigh begins "
                "with the smallest.",
            ),
            Mistake(
                (torch.zeros(KEPT, ROW), torch.zeros(ROW, KEPT)),
                "Nothing passes: so far you guess 0 everywhere.",
            ),
            Mistake(
                None,
                "One factor for all eight numbers? Some hold much more of the row than others, and all of "
                "them as much noise.",
                seen=one_factor,
            ),
            Mistake(
                None,
                "Seven of every eight numbers are never read, though they tell of their neighbours.",
                seen=few_read,
            ),
            Mistake(
                None,
                "That is worse than a guess of 0 everywhere, whose error is 1. Does BA come near to the "
                "matrix that changes nothing? (The eigenvectors of torch.linalg.eigh are columns.)",
                seen=lambda pair, cases: rebuilt_error(pair) > 1,
            ),
        ),
    ),
]
