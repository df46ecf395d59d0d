"""The checks of chapter 12: conditioning. It spoils the exercises to read this first."""

import functools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...config import ControlNetConfig, UNetConfig
from ...controlnet import ControlNet
from ...unet import UNet
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 12.1

STEPS, SHARE, COST = 40, 0.3, 0.4  # of a painting, and of a ControlNet's work in the U-Net's


@functools.cache
def counted():
    levels = {"block_out_channels": [8, 16, 32], "layers_per_block": 3, "norm_num_groups": 4}
    blocks = {"down_block_types": ["DownBlock2D"] * 3, "conditioning_embedding_out_channels": [4, 4]}
    with torch.device("meta"):
        three = ControlNet({**levels, **blocks})
        wide, narrow = (nn.Conv2d(channels, 320, 3) for channels in (4 + 11, 4))
        tiny = ControlNet(
            {
                "block_out_channels": [56, 112],
                "layers_per_block": 1,
                "norm_num_groups": 8,
                "down_block_types": ["DownBlock2D", "DownBlock2D"],
                "conditioning_embedding_out_channels": [4, 4, 4, 4],
            }
        )
        residuals, middle = tiny(torch.empty(1, 4, 16, 16), 1, None, torch.empty(1, 3, 128, 128))
    steered = round(SHARE * STEPS)
    return {
        "calls": 2 * steered,
        "work": 1 + COST * steered / STEPS,
        "tensors": len(three.controlnet_down_blocks) + 1,
        "parameters": sum(p.numel() for p in wide.parameters()) - sum(p.numel() for p in narrow.parameters()),
        "numbers": sum(r.numel() for r in (*residuals, middle)),
    }


# 12.2


def zero_parameters(w, l):  # noqa: E741
    """Weights and biases of the 1x1 convolutions for the widths w, 2w, 4w, 4w with l layers a level."""
    sizes = [w, *[w] * (l + 1), *[2 * w] * (l + 1), *[4 * w] * (l + 1), *[4 * w] * l, 4 * w]
    return sum(size * size + size for size in sizes)


def zeros_of(conv_in=1, down=1, lowest=0, middle=1, bias=1, kernel=1):
    """The count of a reader who forgets or adds something."""

    def count(w, l):  # noqa: E741
        def one(width):
            return kernel * width * width + bias * width

        levels = (l + down) * (one(w) + one(2 * w) + one(4 * w)) + (l + lowest) * one(4 * w)
        return conv_in * one(w) + levels + middle * one(4 * w)

    return count


def zero_polynomial(w, l):  # noqa: E741
    return zeros_of()(w, l)


# 12.3


def iou(a, d, e):
    """Of two squares of side a, one moved by d and e."""
    both = (a - d) * (a - e)
    return both / (2 * a * a - both)


# 12.4


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


# 12.5

NEVER = 0
WIDTHS = (4, 4)


@functools.cache
def small_unet():
    torch.manual_seed(0)
    return UNet(
        UNetConfig.from_dict(
            {
                "sample_size": 8,
                "block_out_channels": [8, 16],
                "layers_per_block": 1,
                "norm_num_groups": 4,
                "down_block_types": ["DownBlock2D", "DownBlock2D"],
                "up_block_types": ["UpBlock2D", "UpBlock2D"],
                "cross_attention_dim": 8,
                "attention_head_dim": 2,
            }
        )
    ).requires_grad_(False)


def first_moves(change=lambda net: None, steps=4):
    """The step, from 1 on, at which each parameter of a new ControlNet first has a gradient."""
    torch.manual_seed(1)
    unet = small_unet()
    net = ControlNet.from_unet(unet, WIDTHS).requires_grad_(True)
    with torch.no_grad():
        change(net)
    z, context, picture = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 8), torch.rand(2, 3, 16, 16)
    aim, moved = torch.randn(2, 4, 8, 8), {}
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = (unet(z, 300, context, *net(z, 300, context, picture)) - aim).square().mean()
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


@functools.cache
def moves():
    encoder = "controlnet_cond_embedding"
    first, last = f"{encoder}.conv_in.weight", f"{encoder}.conv_out.weight"
    with torch.enable_grad():
        new, open_last, open_behind = first_moves(), first_moves(gaussian_last), first_moves(gaussian_behind)
        pair = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SiLU(), nn.Conv2d(4, 2, 1))
        for p in pair.parameters():
            nn.init.zeros_(p)
        optimizer, seen = torch.optim.SGD(pair.parameters(), 0.1), {}
        for step in range(1, 6):
            optimizer.zero_grad()
            (pair(torch.ones(1, 3, 2, 2)) - 1).square().mean().backward()
            for name, p in pair.named_parameters():
                if p.grad is not None and p.grad.any():
                    seen.setdefault(name, step)
            optimizer.step()
    return {
        "middle": new["controlnet_mid_block.weight"],
        "copy": new["conv_in.weight"],
        "last": new[last],
        "first": new[first],
        "first, last one Gaussian": open_last[first],
        "first, those behind Gaussian": open_behind[first],
        "pair, weight": seen.get("2.weight", NEVER),
        "pair, bias": seen.get("2.bias", NEVER),
    }


# 12.6


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
        labels = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2).roll((1, 2), (1, 2))
        z0 = torch.randn(batch, 4, high, wide, generator=rng)
        return z0, labels, some_noise, torch.tensor(dropped), kinds

    return [case(3, 5, 4, 4, [False, True, False]), case(2, 11, 2, 3, [False, False]), case(1, 3, 3, 2, [True])]


# 12.7


def pencil(sketch, size):
    blocks = sketch.reshape(size, sketch.shape[0] // size, size, sketch.shape[1] // size)
    lines = (blocks.amin(dim=(1, 3)) < 128).float()
    return lines.expand(1, 3, size, size).clone()


def drawn(shrink=lambda blocks: blocks.amin(dim=(1, 3)), line=lambda small: small < 128, out=lambda x: x):
    def answer(sketch, size):
        blocks = sketch.float().reshape(size, sketch.shape[0] // size, size, sketch.shape[1] // size)
        return out(line(shrink(blocks)).float().expand(1, 3, size, size).clone())

    return answer


def averaged(blocks):
    return blocks.mean(dim=(1, 3))


def brightest(blocks):
    return blocks.amax(dim=(1, 3))


def a_corner(blocks):
    return blocks[:, 0, :, 0]


def paper(small):
    return small >= 128


def signed(x):
    return 2 * x - 1


given_pencil = drawn(averaged, paper, signed)


def sketches(rng):
    def case(size, k):
        paper = torch.randint(200, 256, (size * k, size * k), generator=rng)
        for _ in range(3):
            row, column = torch.randint(size * k, (2,), generator=rng).tolist()
            paper[row, size // 2 :] = 40
            paper[: size * k // 2, column] = 60
        return paper.to(torch.uint8), size

    return [case(16, 4), case(12, 3), case(8, 8), case(10, 1)]


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


EXERCISES: list = []
