"""The checks of chapter 12: conditioning. It spoils the exercises to read this first."""

import functools
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ...controlnet import ControlNet
from ...pipeline import StableDiffusion
from ...scenes import PARTS
from ...scenes.render import FRAME
from ...scenes.surveyor import Surveyor, astray
from ...unet import UNet
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 12.1

STEPS, SHARE, COST = 40, 0.3, 0.4  # of a painting, and of a ControlNet's work in the U-Net's
TINY = {
    "block_out_channels": [56, 112],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "cross_attention_dim": 128,
    "attention_head_dim": 4,
    "conditioning_embedding_out_channels": [4, 4, 4, 4],
}


@functools.cache
def counted():
    levels = {"block_out_channels": [8, 16, 32], "layers_per_block": 3, "norm_num_groups": 4}
    blocks = {"down_block_types": ["DownBlock2D"] * 3, "conditioning_embedding_out_channels": [4, 4]}
    with torch.device("meta"):
        three = ControlNet({**levels, **blocks})
        matrix = nn.Linear(11 * 64 * 64, 1280, bias=False)
        tiny = ControlNet(TINY)
        z, picture = torch.empty(1, 4, 16, 16), torch.empty(1, 3, 128, 128)
        residuals, middle = tiny(z, 1, torch.empty(1, 77, 128), picture)
    steered = round(SHARE * STEPS)
    return {
        "calls": 2 * steered,
        "work": 1 + COST * steered / STEPS,
        "tensors": len(three.controlnet_down_blocks) + 1,
        "matrix": matrix.weight.numel(),
        "numbers": sum(r.numel() for r in (*residuals, middle)),
    }


# 12.2


def iou(a, d, e):
    """Of two squares of side a, one moved by d and e."""
    both = (a - d) * (a - e)
    return both / (2 * a * a - both)


# 12.3


def loudness(a, k, w):
    """What k copies of the picture's vectors get; what is added to its scores for a weight w; and lambda."""
    return k * a / (1 - a + k * a), math.log(w / (1 - w) * (1 - a) / a), a / (1 - a)


def louder(copies=None, added=None, scale=None):
    """The answer of one who has one or several of the three wrong."""

    def answer(a, k, w):
        slips = (copies, added, scale)
        right = loudness(a, k, w)
        return tuple(
            value if slip is None else slip(a, k, w) for slip, value in zip(slips, right, strict=True)
        )

    return answer


def not_loud(place):
    """An answer whose value at this place is off, and none of those before it."""

    def seen(answer, cases):
        def off(i):
            return any(abs(answer(*case)[i] - loudness(*case)[i]) > 1e-7 for case in cases)

        return off(place) and not any(off(i) for i in range(place))

    return seen


# 12.4


def noisy_hint(ab, s):
    """The least losses without a noisy hint at x_0 and with it, and the level where it is worth most."""
    return ab, ab * s**2 / (s**2 + 1 - ab), 1 + s**2 - s * (1 + s**2) ** 0.5


def hint_but(without=None, with_c=None, best=None):
    """The answer of one who has one or several of the three wrong."""

    def answer(ab, s):
        slips = (without, with_c, best)
        right = noisy_hint(ab, s)
        return tuple(value if slip is None else slip(ab, s) for slip, value in zip(slips, right, strict=True))

    return answer


def by_precisions(own=1.0, hint=lambda ab, s: 1 / s**2, scale=lambda ab: ab / (1 - ab)):
    """The loss with the hint: the error of x_0 from added precisions, times `scale`."""
    return lambda ab, s: scale(ab) / (own + ab / (1 - ab) + hint(ab, s))


def has_wrong(place):
    """An answer whose value at this place is off, and none of those before it."""

    def seen(answer, cases):
        def off(i):
            return any(abs(answer(*case)[i] - noisy_hint(*case)[i]) > 1e-7 for case in cases)

        return off(place) and not any(off(i) for i in range(place))

    return seen


def of_pictures(answer, cases):
    """The first value is the error of x_0 instead of the noise's."""
    return all(abs(answer(ab, s)[0] - (1 - ab)) < 1e-7 for ab, s in cases)


# 12.5


def one_kernel(kernel, W):
    more = torch.zeros(*W.shape, *kernel.shape[2:])
    more[:, :, kernel.shape[2] // 2, kernel.shape[3] // 2] = W
    return torch.cat([kernel, more], dim=1)


def with_more(fill, first=False):
    def answer(kernel, W):
        more = fill(kernel, W)
        return torch.cat([more, kernel] if first else [kernel, more], dim=1)

    return answer


def everywhere(kernel, W):
    return W[:, :, None, None].repeat(1, 1, *kernel.shape[2:])


def centred(kernel, W):
    return one_kernel(kernel, W)[:, kernel.shape[1] :]


def in_the_corner(kernel, W):
    more = torch.zeros(*W.shape, *kernel.shape[2:])
    more[:, :, 0, 0] = W
    return more


def kernels(rng):
    def case(outputs, inputs, d, size):
        return torch.randn(outputs, inputs, size, size, generator=rng), torch.randn(outputs, d, generator=rng)

    return [case(5, 4, 3, 3), case(6, 2, 7, 5), case(3, 3, 3, 3), case(2, 4, 1, 1)]


# 12.6

NEVER = 0
WIDTHS = (4, 4)


@functools.cache
def small_unet():
    torch.manual_seed(0)
    levels = {"block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4}
    blocks = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
    return UNet({**levels, **blocks, "sample_size": 8, "cross_attention_dim": 8}).requires_grad_(False)


def first_moves(change=lambda net: None, steps=4, latents=1.0):
    """The step, from 1 on, at which each parameter of a new ControlNet first has a gradient."""
    torch.manual_seed(1)
    unet = small_unet()
    net = ControlNet.from_unet(unet, WIDTHS).requires_grad_(True)
    with torch.no_grad():
        change(net)
    z, context, picture = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 8), torch.rand(2, 3, 16, 16)
    aim = torch.randn(2, 4, 8, 8)
    moved: dict[str, int] = {}
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = (unet(z, 300, context, *net(latents * z, 300, context, picture)) - aim).square().mean()
        loss.backward()
        for name, p in net.named_parameters():
            if p.grad is not None and p.grad.any():
                moved.setdefault(name, step)
        optimizer.step()
    return moved


def gaussian_last(net):
    nn.init.normal_(net.controlnet_cond_embedding.conv_out.weight, std=0.1)


def gaussian_behind(net):
    for conv in (*net.controlnet_down_blocks, net.controlnet_mid_block):
        nn.init.normal_(conv.weight, std=0.1)


def both_gaussian(net):
    gaussian_last(net)
    gaussian_behind(net)


@functools.cache
def moves():
    encoder = "controlnet_cond_embedding"
    first, last = f"{encoder}.conv_in.weight", f"{encoder}.conv_out.weight"
    with torch.enable_grad():
        new, open_last, open_behind = first_moves(), first_moves(gaussian_last), first_moves(gaussian_behind)
        both, blind = first_moves(both_gaussian), first_moves(latents=0.0)
        pair = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SiLU(), nn.Conv2d(4, 2, 1))
        for p in pair.parameters():
            nn.init.zeros_(p)
        optimizer = torch.optim.SGD(pair.parameters(), 0.1)
        seen: dict[str, int] = {}
        for step in range(1, 6):
            optimizer.zero_grad()
            (pair(torch.ones(1, 3, 2, 2)) - 1).square().mean().backward()
            for name, p in pair.named_parameters():
                if p.grad is not None and p.grad.any():
                    seen.setdefault(name, step)
            optimizer.step()
    return {
        "first": new[first],
        "first, blank latents": blind[first],
        "first, entrance Gaussian": open_last[first],
        "first, exits Gaussian": open_behind[first],
        "copy, exits Gaussian": open_behind["mid_block.resnets.0.conv1.weight"],
        "entrance, both Gaussian": both[last],
        "pair, weight": seen.get("2.weight", NEVER),
        "pair, bias": seen.get("2.bias", NEVER),
    }


# 12.7


def lesson(z0, labels, add_noise, dropped, kinds):
    planes = F.one_hot(labels, kinds).permute(0, 3, 1, 2).float()
    planes = F.interpolate(planes, z0.shape[2:], mode="area")
    planes = planes.masked_fill(dropped[:, None, None, None], 0.0)
    return torch.cat([add_noise(z0), planes], dim=1)


def by_numbers(labels, size, kinds):
    small = F.interpolate(labels[:, None].float(), size, mode="bilinear")[:, 0].round().long()
    return F.one_hot(small, kinds).permute(0, 3, 1, 2).float()


def by_shares(labels, size, kinds, mode="area"):
    planes = F.one_hot(labels, kinds).permute(0, 3, 1, 2).float()
    return F.interpolate(planes, size, mode=mode)


def by_nearest(labels, size, kinds):
    return by_shares(labels, size, kinds, "nearest")


def by_four(labels, size, kinds):
    return by_shares(labels, size, kinds, "bilinear")


def by_winner(labels, size, kinds):
    return F.one_hot(by_shares(labels, size, kinds).argmax(1), kinds).permute(0, 3, 1, 2).float()


def each(planes, dropped):
    return planes.masked_fill(dropped[:, None, None, None], 0.0)


def whole_batch(planes, dropped):
    return torch.zeros_like(planes) if dropped.any() else planes


def the_others(planes, dropped):
    return each(planes, ~dropped)


def none(planes, dropped):
    return planes


def lesson_of(planes_of=by_shares, drop=each, noised=False, plan_too=None):
    """A lesson made of these parts; `noised`: the plan as well."""

    def answer(z0, labels, add_noise, dropped, kinds):
        planes = drop(planes_of(labels, z0.shape[2:], kinds), dropped)
        if noised:
            return add_noise(torch.cat([z0, planes], dim=1))
        return torch.cat([add_noise(z0), planes], dim=1)

    return answer


given_lesson = lesson_of(by_numbers, whole_batch, noised=True)


def some_noise(x):
    """Half noise, the same at every call: from the tensor's shape alone."""
    generator = torch.Generator().manual_seed(sum(x.shape))
    return 0.6 * x + 0.8 * torch.randn(x.shape, generator=generator)


def lessons(rng):
    def case(batch, kinds, high, wide, dropped):
        coarse = torch.randint(kinds, (batch, 2 * high, 2 * wide), generator=rng)
        labels = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2).roll(1, 1)
        z0 = torch.randn(batch, 4, high, wide, generator=rng)
        return z0, labels, some_noise, torch.tensor(dropped), kinds

    return [
        case(3, 5, 4, 4, [False, True, False]),
        case(2, 11, 2, 3, [False, False]),
        case(1, 3, 3, 2, [True]),
    ]


# 12.8


def two_plans(first, second, mask):
    def blend(a, b):
        m = F.adaptive_avg_pool2d(mask, a.shape[2:])
        return m * a + (1 - m) * b

    residuals = [blend(a, b) for a, b in zip(first[0], second[0], strict=True)]
    return residuals, blend(first[1], second[1])


def blended(shrink=F.adaptive_avg_pool2d, mix=lambda m, a, b: m * a + (1 - m) * b, middle=None):
    def answer(first, second, mask):
        def blend(a, b):
            return mix(shrink(mask, a.shape[2:]), a, b)

        residuals = [blend(a, b) for a, b in zip(first[0], second[0], strict=True)]
        return residuals, (middle or blend)(first[1], second[1])

    return answer


def nearest_mask(mask, size):
    return F.interpolate(mask, size, mode="nearest")


def corner_mask(mask, size):
    return mask[..., : size[0], : size[1]]


def pairs_of_plans(rng):
    def case(batch, high, wide, widths):
        def returned():
            sizes = [(width, high >> level, wide >> level) for width, level in widths]
            residuals = [torch.randn(batch, *size, generator=rng) for size in sizes]
            return residuals, torch.randn(batch, *sizes[-1], generator=rng)

        mask = (torch.rand(1, 1, high, wide, generator=rng) < 0.5).float()
        return returned(), returned(), mask

    return [
        case(2, 8, 8, [(3, 0), (3, 0), (3, 1), (6, 1)]),
        case(1, 4, 8, [(2, 0), (2, 1), (5, 2)]),
        case(3, 8, 4, [(4, 0), (4, 1)]),
    ]


# 12.9

WORDS = "a big red house on the grass by day"
PLACE, NEAR = (74, 50), 6  # the row and the column of the house's middle, in pixels
PICTURES, STEPS_EACH = 6, 10
MARK, MOST = 200, 1500  # white pixels: the goal (it belongs to the weights), and what is no drawing any more


@functools.cache
def painter():
    return StableDiffusion.from_pretrained("tiny", "cpu", controlnet="tiny-plans"), Surveyor.load()


def lines_of(sketch):
    """A sketch as bool (128, 128); RuleBroken for anything else."""
    lines = np.asarray(sketch() if callable(sketch) else sketch)
    if lines.shape != (FRAME, FRAME):
        raise RuleBroken(f"the sketch should have the shape ({FRAME}, {FRAME}), yours has {lines.shape}")
    if not np.isin(lines, (0, 1)).all():
        raise RuleBroken("every pixel of the sketch should be 0 (black) or 1 (white)")
    return lines.astype(bool)


@functools.lru_cache(maxsize=64)
def in_place(packed):
    """How many of the painted houses stand where they should, for lines packed as bytes."""
    pipe, surveyor = painter()
    lines = np.frombuffer(packed, bool).reshape(FRAME, FRAME)
    plan = np.repeat(255 * lines[..., None].astype(np.uint8), 3, axis=-1)
    images = pipe([WORDS] * PICTURES, control_image=Image.fromarray(plan), num_inference_steps=STEPS_EACH)
    houses = surveyor.read(images) == PARTS.index("house")
    target = np.zeros((FRAME, FRAME), bool)
    target[PLACE] = True
    return sum(astray(target, house) <= NEAR for house in houses)


def white(sketch):
    """The number of white pixels of a sketch that works."""
    lines = lines_of(sketch)
    drawn = int(lines.sum())
    if drawn > MOST:
        raise RuleBroken(f"{drawn} white pixels are no drawing any more; stay below {MOST}")
    found = in_place(lines.tobytes())
    if found < PICTURES:
        raise RuleBroken(f"{found} of {PICTURES} houses stand in their place, with {drawn} white pixels")
    return drawn


def outline(step=1, across=0):
    """A house's walls, floor and roof, of every pixel or every second one ..., moved across."""
    lines = np.zeros((FRAME, FRAME), int)
    lines[70:100:step, [31 + across, 69 + across]] = 1
    lines[99, 31 + across : 70 + across : step] = 1
    for i in range(0, 28, step):
        lines[46 + i, [50 + across - i, 50 + across + i]] = 1
    return lines


def thrifty():
    """Every fifth pixel of the outline: enough for these six noises."""
    return outline(5)


# 12.10

NAMES, CHANNELS, GROUPS = ("house", "tree", "tent", "car"), 32, 8
MARK_OF_ORDER = 0.98  # of the shortest of six differences
ALMOST = 0.93
PAIRS = list(itertools.combinations(range(len(NAMES)), 2))
GOOD = [28, 2, 29, 21, 6, 5, 1, 10, 13, 24, 7, 0, 8, 26, 9, 15]
GOOD += [4, 25, 12, 18, 22, 19, 11, 20, 16, 31, 23, 27, 14, 17, 30, 3]


def kind_vectors():
    """A vector of 32 numbers for each of four kinds: (4, 32). A large part of it is the same in all."""
    vectors = np.random.default_rng(12).standard_normal((len(NAMES), CHANNELS)).round(1)
    vectors[1] = vectors[0] + np.repeat([1.5, -1, 0.5, -1.5, 1, -0.5, 1.5, -1], 4)  # alike in each group
    vectors[3] = vectors[2] + np.tile([1.5, -1.5, 1, -1, 0.5, -1, 1.5, -0.5], 4)  # ... of every eighth
    shared = np.tile([3.0, -2, 1, -2], 8) * np.repeat([1, 1, -1, 1, -1, -1, 1, 1], 4)
    return torch.from_numpy(vectors + shared)


def order_of(answer):
    """An order of the channels as an array; RuleBroken for anything else."""
    order = np.asarray(answer() if callable(answer) else answer)
    if order.shape != (CHANNELS,):
        raise RuleBroken(f"an order is a list of {CHANNELS} channels, yours has the shape {order.shape}")
    if not np.isin(order, range(CHANNELS + 1)).all():
        raise RuleBroken(f"the channels are the whole numbers from 0 to {CHANNELS - 1}")
    counts = np.bincount(order.astype(int), minlength=CHANNELS + 1)
    if counts[CHANNELS]:
        raise RuleBroken(f"the channels are numbered from 0 to {CHANNELS - 1}; yours begin at 1")
    if counts.max() > 1:
        twice, never = int(counts.argmax()), int(counts[:CHANNELS].argmin())
        raise RuleBroken(f"channel {twice} stands at {counts.max()} places, and channel {never} at none")
    return order.astype(int)


def kept_of(vectors, order):
    """What share of each vector's length a group norm leaves, with the channels in this order; by (12.5)."""
    groups = vectors[:, order].reshape(len(vectors), GROUPS, -1)
    left = (groups - groups.mean(dim=2, keepdim=True)).reshape(len(vectors), -1)
    return left.norm(dim=1) / vectors.norm(dim=1)


def differences_kept(order):
    vectors = kind_vectors()
    return kept_of(torch.stack([vectors[i] - vectors[j] for i, j in PAIRS]), order)


def closest(answer):
    """Of the six pairs of kinds, the share of the difference that arrives where least arrives."""
    return float(differences_kept(order_of(answer)).min())


EXERCISES = [
    Predict(
        number="12.1",
        name="guesses",
        section="12.9",
        minutes=10,
        measure=counted,
        within=0.01,
        mistakes=(
            Mistake(
                lambda: {"calls": 12}, "Under guidance every step asks twice: with the words and without."
            ),
            Mistake(lambda: {"calls": 80}, "That many, if the plan were read in every step."),
            Mistake(lambda: {"work": 1.4}, "That is the work if the plan is read in every step."),
            Mistake(lambda: {"work": 0.12}, "That is what is added. The U-Net's own work goes on."),
            Mistake(lambda: {"tensors": 12}, "The skips are right. What else is added, between down and up?"),
            Mistake(lambda: {"tensors": 11}, "Convolutions that halve the picture leave a skip, too."),
            Mistake(lambda: {"tensors": 14}, "The lowest level has nothing below it: it does not halve."),
            Mistake(
                lambda: {"matrix": 31_680},
                "That is what a wider convolution needs: it uses the same few weights at all places.",
            ),
            Mistake(lambda: {"matrix": 64 * 64 * 1280}, "One plane, and there are eleven of them."),
            Mistake(
                lambda: {"matrix": 11 * 1280}, "Eleven numbers are one place's. How many places are there?"
            ),
            Mistake(
                lambda: {"matrix": 11 * 64 * 64},
                "So many numbers go in. With how many weights does each of them reach 1,280 others?",
            ),
            Mistake(
                lambda: {"matrix": 11 * 512 * 512 * 1280},
                "The map was brought to the latents' size first: 64 × 64 places.",
            ),
            Mistake(
                lambda: {"numbers": 39_424},
                "The skips are all there. The middle's features are added to, too.",
            ),
            Mistake(
                lambda: {"numbers": 43_008},
                "Between the levels there is a skip that is halved already, of the upper level's width.",
            ),
        ),
    ),
    Derive(
        number="12.2",
        name="overlap",
        section="12.10",
        minutes=10,
        right=iou,
        ranges={"a": (20.0, 60.0), "d": (0.0, 10.0), "e": (0.0, 10.0)},
        mistakes=(
            Mistake(
                lambda a, d, e: (a - d) * (a - e) / a**2,
                "That is the covered part of one square (and the F score). The union is larger than one "
                "square.",
            ),
            Mistake(
                lambda a, d, e: (a - d) * (a - e) / (2 * a**2),
                "The areas of both squares together count their common part twice.",
            ),
            Mistake(
                lambda a, d, e: (a**2 - d * e) / (a**2 + d * e),
                "A square that moves down and to the right leaves more than a corner of d times e.",
            ),
            Mistake(
                lambda a, d, e: (a - d - e) / (a + d + e),
                "Right as long as one of the two moves is zero. The common part is a rectangle: which sides?",
            ),
            Mistake(
                lambda a, d, e: (a - d) / (a + d) * (a - e) / (a + e),
                "Right along one axis. The overlaps of two axes do not multiply; the common lengths do.",
            ),
            Mistake(
                None,
                "Two squares that have not moved have the overlap 1.",
                seen=lambda answer, cases: any(abs(answer(a, 1e-9, 1e-9) - 1) > 1e-6 for a, _, _ in cases),
            ),
            Mistake(
                None,
                "Moved by its whole side, the square lies beside where it was, and the overlap is 0.",
                seen=lambda answer, cases: any(abs(answer(a, a, e)) > 1e-9 for a, _, e in cases),
            ),
        ),
    ),
    Derive(
        number="12.3",
        name="louder",
        section="12.7",
        minutes=15,
        right=loudness,
        ranges={"a": (0.1, 0.9), "k": (2.0, 6.0), "w": (0.1, 0.9)},
        mistakes=(
            Mistake(
                louder(copies=lambda a, k, w: k * a),
                "k times a can be more than 1. The copies stand in the sum below the fraction line, too.",
            ),
            Mistake(
                louder(copies=lambda a, k, w: a),
                "Each copy brings its score into the sum. What do k of them have together?",
            ),
            Mistake(
                louder(copies=lambda a, k, w: k * a / (1 + k * a)),
                "Nearly: below the fraction line the words count 1 - a, not 1.",
            ),
            Mistake(
                louder(copies=lambda a, k, w: a * math.exp(k) / (1 - a + a * math.exp(k))),
                "That is k added to the scores. Copies multiply the sum of the exponentials by k.",
            ),
            Mistake(
                louder(added=lambda a, k, w: w - a),
                "Scores go through an exponential: adding b to them multiplies their part of the sum.",
            ),
            Mistake(
                louder(added=lambda a, k, w: math.log(w / a)),
                "With that number the words' part of the sum would have to shrink as well, and it does not.",
            ),
            Mistake(
                louder(added=lambda a, k, w: w / (1 - w) * (1 - a) / a),
                "That is the factor. By which number in the exponent is it made?",
            ),
            Mistake(
                louder(added=lambda a, k, w: -math.log(w / (1 - w) * (1 - a) / a)),
                "The right size with the wrong sign: for w larger than a the picture has to become louder.",
            ),
            Mistake(
                louder(scale=lambda a, k, w: a),
                "In (12.9) the words have the weight 1 - a, in (12.10) they keep 1: compare the ratios.",
            ),
            Mistake(louder(scale=lambda a, k, w: (1 - a) / a), "The words over the picture: turn it over."),
            Mistake(
                louder(scale=lambda a, k, w: 1.0),
                "With 1 both count the same, whatever the scores. In (12.9) they count 1 - a and a.",
            ),
            Mistake(
                None,
                "The first is not right: write (12.9)'s fraction with k terms for each of the picture's.",
                seen=not_loud(0),
            ),
            Mistake(
                None,
                "The first is right. For the second, call the number b: by which factor does it multiply the "
                "picture's part of the sum?",
                seen=not_loud(1),
            ),
            Mistake(
                None,
                "The first two are right. For the third, compare how words and picture are weighed in (12.9) "
                "and in (12.10).",
                seen=not_loud(2),
            ),
        ),
    ),
    Derive(
        number="12.4",
        name="answers",
        section="12.3",
        minutes=20,
        right=noisy_hint,
        ranges={"ab": (0.05, 0.95), "s": (0.2, 3.0)},
        mistakes=(
            Mistake(
                None,
                "Your first is the least error of x_0. The loss is that of the noise: (2.4) turns one into "
                "the other, by a factor.",
                seen=of_pictures,
            ),
            Mistake(
                hint_but(without=lambda ab, s: 1.0),
                "1 is the error of one who has not even looked at x_t. It tells something of its noise.",
            ),
            Mistake(
                hint_but(with_c=by_precisions(own=0.0)),
                "Three things tell of x_0: x_t, c, and what one knew before. The third is missing with c.",
            ),
            Mistake(
                hint_but(with_c=by_precisions(hint=lambda ab, s: 1 / s)),
                "A precision is one over a variance, and s is a deviation.",
            ),
            Mistake(
                hint_but(with_c=by_precisions(hint=lambda ab, s: ab / (1 - ab))),
                "That is the noised condition of (12.7). This one has a noise of its own, of deviation s.",
            ),
            Mistake(
                hint_but(with_c=by_precisions(scale=lambda ab: 1.0)),
                "The second is the error of x_0 with c, the first is that of the noise: compare like with "
                "like.",
            ),
            Mistake(
                hint_but(best=lambda ab, s: s * (1 + s**2) ** 0.5 - s**2),
                "Both losses are right. Where c is worth most you give 1 - ab instead of ab.",
            ),
            Mistake(
                hint_but(best=lambda ab, s: 1 + s**2 + s * (1 + s**2) ** 0.5),
                "Both losses are right. Of the two roots you took the one that is larger than 1.",
            ),
            Mistake(
                hint_but(best=lambda ab, s: 0.5),
                "Both losses are right. One half is where a very poor hint is worth most; a good one is "
                "elsewhere.",
            ),
            Mistake(
                hint_but(best=lambda ab, s: 0.0),
                "Both losses are right. At ab = 0 the worth in pictures is largest; asked is that in loss.",
            ),
            Mistake(
                None,
                "Both losses are right. Is the slope of their difference zero at your third, seen as a "
                "function of ab?",
                seen=has_wrong(2),
            ),
            Mistake(
                None,
                "The loss without c is right. With c: add up the precisions, invert, and go from x_0 to the "
                "noise.",
                seen=has_wrong(1),
            ),
            Mistake(
                None,
                "Begin with the loss without c: (12.7) has the error of x_0 for one look. What is SNR in ab?",
                seen=has_wrong(0),
            ),
        ),
    ),
    Build(
        number="12.5",
        name="one_kernel",
        section="12.5",
        minutes=15,
        right=one_kernel,
        cases=kernels,
        mistakes=(
            Mistake(
                with_more(lambda kernel, W: everywhere(kernel, W) / kernel[0, 0].numel()),
                "Right in the middle of a picture. At its edge some taps read the zeros of the padding, and "
                "yours add less of the vector there.",
            ),
            Mistake(
                with_more(everywhere),
                "Every tap that sees a plane adds W v once more. How often may it be added?",
            ),
            Mistake(
                with_more(centred, first=True), "The right weights, for planes that come before the latents."
            ),
            Mistake(
                with_more(in_the_corner),
                "One tap, and the wrong one: along two edges of the picture it reads the padding.",
            ),
            Mistake(
                with_more(lambda kernel, W: 0 * everywhere(kernel, W)),
                "With these weights the vector changes nothing: this is how a door begins, not what is "
                "asked.",
            ),
            Mistake(
                with_more(lambda kernel, W: centred(kernel, W) / kernel[0, 0].numel()),
                "The right tap, too weak: it is the only one that reads the plane.",
            ),
            Mistake(
                None,
                "Together your taps add the right amount where none of them reads the padding, and only "
                "there.",
                seen=lambda answer, cases: all(
                    torch.allclose(answer(kernel, W)[:, kernel.shape[1] :].sum((2, 3)), W, atol=1e-4)
                    for kernel, W in cases
                ),
            ),
        ),
    ),
    Predict(
        number="12.6",
        name="steps",
        section="12.8",
        minutes=15,
        measure=moves,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"first": 2},
                "Between the encoder's first convolution and the loss there are two zeros, one after the "
                "other.",
            ),
            Mistake(
                lambda: {"first": 4},
                "Two zeros stand before it on the error's way: each opens after one step.",
            ),
            Mistake(
                lambda: {"first, entrance Gaussian": 1},
                "With the entrance open, the encoder still stands before the exits, which are zero.",
            ),
            Mistake(
                lambda: {"first, entrance Gaussian": 3},
                "One of the two zeros is gone in this case, so it waits a step less.",
            ),
            Mistake(
                lambda: {"first, exits Gaussian": 1},
                "The exits are open now; the entrance is still zero.",
            ),
            Mistake(
                lambda: {"first, exits Gaussian": 3},
                "Only the entrance is zero now: that is one step of waiting.",
            ),
            Mistake(
                lambda: {"first, blank latents": NEVER},
                "Blank latents are not a blank copy: it has biases, and is told the time.",
            ),
            Mistake(
                lambda: {"first, blank latents": 4},
                "What the copy reads does not change how many zeros the error meets on its way back.",
            ),
            Mistake(
                lambda: {"copy, exits Gaussian": 2},
                "The error comes to the copy through the exits, and these are open.",
            ),
            Mistake(
                lambda: {"entrance, both Gaussian": 2},
                "With both open, nothing that is zero stands between the entrance and the loss.",
            ),
            Mistake(
                lambda: {"pair, weight": 1},
                "The weight of the pair's second: its gradient is made of its input. What does the first "
                "send?",
            ),
            Mistake(
                lambda: {"pair, weight": 2},
                "The weight of the pair's second: will the first of the two ever send it anything?",
            ),
            Mistake(
                lambda: {"pair, bias": NEVER},
                "A bias needs no input: its gradient is the error itself.",
            ),
            Mistake(
                lambda: {"pair, bias": 2},
                "Nothing stands between the pair's second bias and the loss.",
            ),
        ),
    ),
    FindTheBug(
        number="12.7",
        name="lesson",
        section="12.6",
        minutes=20,
        right=lesson,
        cases=lessons,
        given=given_lesson,
        mistakes=(
            Mistake(
                lesson_of(by_shares, whole_batch, noised=True),
                "The planes hold shares now. Two faults are left: what is noised, and for whom is it "
                "dropped?",
            ),
            Mistake(
                lesson_of(by_numbers, each, noised=True),
                "Each picture drops its own plan now. Two faults are left: what is noised, and what is "
                "averaged?",
            ),
            Mistake(
                lesson_of(by_numbers, whole_batch, noised=False),
                "The plan stays clean now. Two faults are left: what is averaged, and for whom is it "
                "dropped?",
            ),
            Mistake(
                lesson_of(by_shares, each, noised=True),
                "One fault is left: at painting the plan will be clean. Is it in this lesson?",
            ),
            Mistake(
                lesson_of(by_shares, whole_batch, noised=False),
                "One fault is left: look at a batch of which one picture drops its plan.",
            ),
            Mistake(
                lesson_of(by_numbers, each, noised=False),
                "One fault is left: half-way between part 3 and part 9 lies part 6, which may be nowhere "
                "near.",
            ),
            Mistake(
                lesson_of(by_nearest, each),
                "Parts that exist, but one pixel of every block decides alone; the planes should hold "
                "shares.",
            ),
            Mistake(
                lesson_of(by_four, each),
                "One plane for each part, but `bilinear` looks at four pixels of a block, however large it "
                "is.",
            ),
            Mistake(
                lesson_of(by_winner, each),
                "The largest part of each block takes all of it; the planes should hold every part's share.",
            ),
            Mistake(
                lesson_of(by_shares, the_others), "The plans that should be dropped stay, and the others go."
            ),
            Mistake(lesson_of(by_shares, none), "No plan is dropped any more."),
            Mistake(
                None,
                "A share lies between 0 and 1, and yours don't all: what has been done to the planes?",
                seen=lambda answer, cases: any(
                    not 0 <= answer(*case)[:, 4:].min() <= answer(*case)[:, 4:].max() <= 1 for case in cases
                ),
            ),
            Mistake(
                None,
                "The planes are right. The latents before them are not the noised ones.",
                seen=lambda answer, cases: all(
                    torch.allclose(answer(*case)[:, 4:], lesson(*case)[:, 4:], atol=1e-5) for case in cases
                ),
            ),
        ),
    ),
    Build(
        number="12.8",
        name="two_plans",
        section="12.9",
        minutes=25,
        right=two_plans,
        cases=pairs_of_plans,
        mistakes=(
            Mistake(
                blended(nearest_mask),
                "A place of a lower level covers several of the mask's: it belongs to each plan by its "
                "share.",
            ),
            Mistake(
                blended(corner_mask), "You cut the mask to size. It should be shrunk, so that it covers all."
            ),
            Mistake(
                blended(mix=lambda m, a, b: (1 - m) * a + m * b),
                "The regions are exchanged: where the mask is 1, the first decides.",
            ),
            Mistake(blended(mix=lambda m, a, b: a + b), "You add both everywhere. Where is the mask?"),
            Mistake(
                blended(mix=lambda m, a, b: (a + b) / 2), "The mean of both, everywhere. Where is the mask?"
            ),
            Mistake(
                blended(mix=lambda m, a, b: m * a),
                "The second plan has no say in its own region: there nothing is added.",
            ),
            Mistake(
                blended(mix=lambda m, a, b: m * a + b),
                "In the first plan's region both are added; the second should be silent there.",
            ),
            Mistake(blended(mix=lambda m, a, b: a), "The first decides everywhere. Where is the mask?"),
            Mistake(blended(mix=lambda m, a, b: b), "The second decides everywhere. Where is the mask?"),
            Mistake(
                blended(F.adaptive_max_pool2d),
                "A lower place that the first owns in part is all the first's: shrink by the mean.",
            ),
            Mistake(
                blended(lambda mask, size: F.interpolate(mask, size, mode="bilinear")),
                "`bilinear` looks at four places of the mask, however many lie in one place below.",
            ),
            Mistake(
                blended(lambda mask, size: mask.mean()),
                "You take the mean of the whole mask: then no place belongs to one plan more than another.",
            ),
            Mistake(blended(middle=lambda a, b: a), "The skips are right. The middle is all the first's."),
            Mistake(blended(middle=lambda a, b: a + b), "The skips are right. In the middle both are added."),
            Mistake(
                blended(middle=lambda a, b: (a + b) / 2),
                "The skips are right. The middle has rows and columns, too, and so has a mask of its own.",
            ),
        ),
    ),
    ReachTheMark(
        number="12.9",
        name="sketch",
        section="12.10",
        minutes=30,
        score=white,
        what="white pixels:",
        mark=MARK,
        higher=False,
        right=thrifty,
        mistakes=(
            Mistake(
                None,
                "It works, and is not thrifty yet: take lines away until a house leaves its place.",
                seen=lambda answer, cases: True,
            ),
        ),
    ),
    ReachTheMark(
        number="12.10",
        name="order",
        section="12.5",
        minutes=25,
        score=closest,
        what="of the pair that the norm brings closest together, this share of the difference arrives:",
        mark=MARK_OF_ORDER,
        higher=True,
        right=GOOD,
        mistakes=(
            Mistake(
                None,
                "Two of the kinds arrive as the same vector. In what do they differ, and in which channels "
                "is that difference alike?",
                seen=lambda answer, cases: closest(answer) < 0.02,
            ),
            Mistake(
                None,
                "Read the other way round your list reaches the mark: at place i of the list stands the "
                "channel that comes to place i, not the place to which channel i goes.",
                seen=lambda answer, cases: closest(np.argsort(order_of(answer))) >= MARK_OF_ORDER,
            ),
            Mistake(
                None,
                "Your groups gather channels whose numbers are alike, and what is alike in a group is lost.",
                seen=lambda answer, cases: kept_of(kind_vectors(), order_of(answer)).mean() < 0.5,
            ),
            Mistake(
                None,
                "Each of the four vectors keeps nearly all of its length. But two vectors can be long and "
                "the same: of what should a group's mean be small?",
                seen=lambda answer, cases: kept_of(kind_vectors(), order_of(answer)).min() > 0.98,
            ),
            Mistake(
                None,
                "One difference arrives as well as it can, and another does not: there are six of them, and "
                "the worst one counts.",
                seen=lambda answer, cases: differences_kept(order_of(answer)).max() > 0.99,
            ),
            Mistake(
                None,
                "One pair loses more than it would in an order drawn at random: which channels make up its "
                "difference, and which of them share a group?",
                seen=lambda answer, cases: closest(answer) < 0.7,
            ),
            Mistake(
                None,
                "Nearly. Exchange two channels, keep the exchange if the worst pair gains by it, and go on.",
                seen=lambda answer, cases: closest(answer) > ALMOST,
            ),
            Mistake(
                None,
                "An order drawn at random does about as well. What does (12.5) take away from a difference?",
                seen=lambda answer, cases: True,
            ),
        ),
    ),
]
