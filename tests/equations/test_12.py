"""Chapter 12: conditioning in general."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from minisd import NoiseSchedule
from minisd.attention import attend

from . import equation

# Numbers x_0 with a label c: four kinds of pictures, each a number of its own.
VALUES = torch.tensor([-1.2, -0.3, 0.5, 1.4], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 1, 1])
BARS = (0.9, 0.5, 0.1)
EPS = torch.linspace(-9, 9, 3001, dtype=torch.float64)  # a grid of noise, for integrals
STEP = float(EPS[1] - EPS[0])


def bell(x):
    return (-(x**2) / 2).exp() / (2 * math.pi) ** 0.5


def guess(x_t, bar, which):
    """The mean noise in numbers x_t, if they come from some of the values."""
    eps = (x_t[..., None] - bar**0.5 * VALUES[which]) / (1 - bar) ** 0.5
    weight = bell(eps)
    return (weight * eps).sum(-1) / weight.sum(-1)


def mean_square(bar, difference):
    """The mean over values and noise of difference(x_t, noise, label)^2."""
    total = 0.0
    for value, label in zip(VALUES, LABELS):
        x_t = bar**0.5 * value + (1 - bar) ** 0.5 * EPS
        total = total + (difference(x_t, EPS, label) ** 2 * bell(EPS)).sum() * STEP / len(VALUES)
    return total


def told(x_t, bar, label):
    return guess(x_t, bar, label == LABELS)


def untold(x_t, bar):
    return guess(x_t, bar, LABELS >= 0)


@equation("12.1", "conditional-guess")
def test_conditional_guess():
    def claim(unknowable, missed):
        return unknowable + missed

    for bar in BARS:

        def some_guess(x_t, label):
            return 0.7 * x_t - 0.2 * label + 0.1

        unknowable = mean_square(bar, lambda x, eps, c, bar=bar: eps - told(x, bar, c))
        missed = mean_square(bar, lambda x, eps, c, bar=bar: told(x, bar, c) - some_guess(x, c))
        known = mean_square(bar, lambda x, eps, c: eps - some_guess(x, c))
        assert abs(claim(unknowable, missed) - known) < 1e-6


@equation("12.2", "worth")
def test_worth():
    def claim(without, with_c):
        return without - with_c

    for bar in BARS:
        without = mean_square(bar, lambda x, eps, c, bar=bar: eps - untold(x, bar))
        with_c = mean_square(bar, lambda x, eps, c, bar=bar: eps - told(x, bar, c))
        known = mean_square(bar, lambda x, eps, c, bar=bar: told(x, bar, c) - untold(x, bar))
        assert abs(claim(without, with_c) - known) < 1e-6 and known > 1e-3


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@equation("12.3", "concatenation-is-addition")
def test_concatenation_is_addition():
    def claim(of_z, of_c):
        return of_z + of_c

    z, c, kernel = drawn(2, 4, 6, 5), drawn(2, 3, 6, 5, seed=1), drawn(8, 7, 3, 3, seed=2)
    known = F.conv2d(torch.cat([z, c], dim=1), kernel, padding=1)
    parts = F.conv2d(z, kernel[:, :4], padding=1), F.conv2d(c, kernel[:, 4:], padding=1)
    assert (claim(*parts) - known).abs().max() < 1e-12


@equation("12.4", "constant-planes")
def test_constant_planes():
    def claim(kernel, g):
        return [sum(sum(sum(row) for row in kernel[k][j]) * g[j] for j in range(3)) for k in range(4)]

    kernel, g = drawn(4, 3, 3, 3), drawn(3, seed=1)
    known = F.conv2d(g.view(1, 3, 1, 1).expand(-1, -1, 6, 5), kernel, padding=1)[0, :, 2, 2]
    assert (torch.tensor(claim(kernel.tolist(), g.tolist()), dtype=torch.float64) - known).abs().max() < 1e-12


@equation("12.5", "norm-of-a-sum")
def test_norm_of_a_sum():
    def claim(gamma, h, mean, v, mean_v, variance, kappa, beta):
        return gamma * (h - mean + (v - mean_v)) / (variance + kappa) ** 0.5 + beta

    for groups in (1, 2, 4, 8):
        norm = nn.GroupNorm(groups, 8, eps=1e-3).double()
        norm.weight.data, norm.bias.data = drawn(8, seed=5), drawn(8, seed=6)
        h, v = 0.5 + drawn(1, 8, 4, 3), drawn(8, seed=1).view(1, 8, 1, 1)

        def of_group(x, what, groups=groups):
            each = getattr(x.reshape(groups, -1), what)
            return each.repeat_interleave(8 // groups).view(1, 8, 1, 1)

        def mean(x, groups=groups):
            return x.reshape(groups, -1).mean(1).repeat_interleave(8 // groups).view(1, 8, 1, 1)

        variance = mean((h + v - mean(h + v)) ** 2)
        shown = claim(
            norm.weight.view(1, 8, 1, 1), h, mean(h), v, mean(v), variance, 1e-3, norm.bias.view(1, 8, 1, 1)
        )
        assert (shown - norm(h + v)).abs().max() < 1e-10
    instance = nn.GroupNorm(8, 8).double()
    assert (instance(h + v) - instance(h)).abs().max() < 1e-10


@equation("12.6", "film")
def test_film():
    def claim(a, normed, b):
        return (1 + a) * normed + b

    h, v, linear = drawn(2, 8, 4, 3), drawn(2, 5, seed=1), nn.Linear(5, 16).double()
    normed = F.group_norm(h, 2)
    a, b = linear(v).chunk(2, dim=1)
    scale = torch.diag_embed(torch.ones(2, 8).double() + a)  # a factor for every channel, as a matrix
    known = torch.einsum("nkj,njhw->nkhw", scale, normed) + b[:, :, None, None]
    assert (claim(a[:, :, None, None], normed, b[:, :, None, None]) - known).abs().max() < 1e-12


@equation("12.7", "two-looks")
def test_two_looks():
    def claim(snr):
        return 1 / (1 + snr), 1 / (1 + 2 * snr)

    schedule = NoiseSchedule.scaled_linear()
    for t in (100, 400, 800):
        bar = float(schedule.alphas_cumprod[t])
        x0, one, two = np.random.default_rng(t).standard_normal((3, 400_000))
        looks = np.stack([bar**0.5 * x0 + (1 - bar) ** 0.5 * eps for eps in (one, two)])
        for seen, error in zip((looks[:1], looks), claim(bar / (1 - bar)), strict=True):
            weights = np.linalg.lstsq(seen.T, x0, rcond=None)[0]
            assert abs(np.mean((x0 - weights @ seen) ** 2) - error) < 0.01


@equation("12.8", "shares")
def test_shares():
    def claim(labels, k):
        return sum(label == k for label in labels) / 64

    labels = torch.randint(4, (8, 8), generator=torch.Generator().manual_seed(0))
    planes = F.one_hot(labels, 4).permute(2, 0, 1).double()
    known = F.avg_pool2d(planes, 8)[:, 0, 0]
    found = [claim(labels.flatten().tolist(), k) for k in range(4)]
    assert np.allclose(found, known) and abs(sum(found) - 1) < 1e-12


@equation("12.9", "appended")
def test_appended():
    def claim(a, words, picture):
        return (1 - a) * words + a * picture

    q, k, v = drawn(1, 6, 8), drawn(1, 9, 8, seed=1), drawn(1, 9, 8, seed=2)
    scores = q @ k.transpose(1, 2) / 8**0.5
    a = scores[:, :, 5:].exp().sum(-1, keepdim=True) / scores.exp().sum(-1, keepdim=True)
    words, picture = attend(q, k[:, :5], v[:, :5], 1), attend(q, k[:, 5:], v[:, 5:], 1)
    assert (claim(a, words, picture) - attend(q, k, v, 1)).abs().max() < 1e-12


@equation("12.10", "decoupled")
def test_decoupled():
    def claim(of_words, scale, of_picture):
        return of_words + scale * of_picture

    # Two attentions with the same queries are one with the keys side by side where the weights add up apart.
    q, k, v = drawn(1, 6, 8), drawn(1, 9, 8, seed=1), drawn(1, 9, 8, seed=2)
    apart = [(q @ part.transpose(1, 2) / 8**0.5).softmax(-1) for part in (k[:, :5], k[:, 5:])]
    for scale in (0.0, 0.5, 1.0):
        known = torch.cat([apart[0], scale * apart[1]], dim=-1) @ v
        found = claim(attend(q, k[:, :5], v[:, :5], 1), scale, attend(q, k[:, 5:], v[:, 5:], 1))
        assert (found - known).abs().max() < 1e-12


@equation("12.11", "zero-conv")
def test_zero_conv():
    def claim(weights, h, bias):
        return weights @ h + bias

    conv, h = nn.Conv2d(5, 3, 1).double(), drawn(1, 5, 4, 4)
    weights, bias = conv.weight[:, :, 0, 0], conv.bias[:, None]
    assert (claim(weights, h.flatten(2), bias) - conv(h).flatten(2)).abs().max() < 1e-12
    assert not claim(0 * weights, h.flatten(2), 0 * bias).any()


@equation("12.12", "zero-gradient")
def test_zero_gradient():
    def claim(delta, h, weight):
        return delta * h, weight * delta

    for begin in (0.0, 1.0):
        weights = (begin * drawn(3, 5)).requires_grad_(True)
        h, wanted = drawn(7, 5, seed=1).requires_grad_(True), drawn(7, 3, seed=2)
        y = h @ weights.T
        of_weights, of_h = torch.autograd.grad(((y - wanted) ** 2).sum(), (weights, h))
        delta = (2 * (y - wanted)).detach()
        terms, back = claim(delta[:, :, None], h.detach()[:, None, :], weights.detach())  # (places, out, in)
        assert (terms.sum(0) - of_weights).abs().max() < 1e-10 and (back.sum(1) - of_h).abs().max() < 1e-10
        assert of_weights.abs().max() > 0.1 and (begin or not of_h.any())


@equation("12.13", "two-zeros")
def test_two_zeros():
    def claim(z1, z2, delta, h):
        return z2 * delta * h, z1 * delta * h

    for first, second in ((0.0, 0.0), (0.3, 0.0), (0.3, -0.7)):
        z1, z2 = (torch.tensor(value, requires_grad=True) for value in (first, second))
        y = z2 * z1 * 1.7
        known = torch.autograd.grad((y - 0.5) ** 2, (z1, z2))
        delta = 2 * (y.item() - 0.5)
        assert np.allclose(claim(first, second, delta, 1.7), [slope.item() for slope in known])
    assert claim(0, 0, 5, 7) == (0, 0)


@equation("12.14", "controlnet")
def test_controlnet():
    def claim(block, x, exit_conv, copied, entrance, c):
        return block(x) + exit_conv(copied(x + entrance(c)))

    # The block, its copy and both convolutions as one network with the copy's channels beside the block's.
    torch.manual_seed(0)
    block = nn.Conv2d(4, 4, 3, padding=1).double()
    copied, entrance, leave = copy.deepcopy(block), nn.Conv2d(2, 4, 1).double(), nn.Conv2d(4, 4, 1).double()
    x, c = drawn(1, 4, 5, 5), drawn(1, 2, 5, 5, seed=1)
    eye = torch.eye(4, dtype=torch.float64)[:, :, None, None]
    inside = F.conv2d(torch.cat([x, c], 1), torch.cat([eye, entrance.weight], 1), entrance.bias)
    both = torch.cat([F.conv2d(x, block.weight, block.bias, padding=1), copied(inside)], dim=1)
    known = F.conv2d(both, torch.cat([eye, leave.weight], dim=1), leave.bias)
    assert (claim(block, x, leave, copied, entrance, c) - known).abs().max() < 1e-12
    nn.init.zeros_(leave.weight)
    nn.init.zeros_(leave.bias)
    assert torch.equal(claim(block, x, leave, copied, entrance, c), block(x))


@equation("12.15", "scale")
def test_scale():
    def claim(h, w, r):
        return h + w * r

    from minisd import UNet
    from minisd.controlnet import ControlNet

    torch.manual_seed(0)
    config = {
        "block_out_channels": [8, 8],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "cross_attention_dim": 8,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    net = ControlNet.from_unet(UNet(config), (8, 8))
    nn.init.normal_(net.controlnet_mid_block.weight)
    z, context, plan = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 8), torch.rand(1, 3, 16, 16)
    _, once = net(z, 5, context, plan)
    _, scaled = net(z, 5, context, plan, 0.4)
    h = torch.randn_like(once)
    assert torch.allclose(claim(h, 0.4, once), h + scaled, atol=1e-6) and once.any()


@equation("12.16", "dropout")
def test_dropout():
    def claim(share, with_c, without):
        return (1 - share) * with_c + share * without

    # The label is left out with probability 0.3: count over all four values, told and untold.
    bar, share = 0.5, 0.3

    def a_guess(x_t, label):
        return 0.6 * x_t + (0.4 if label is None else 0.1 * label)

    with_c = mean_square(bar, lambda x, eps, c: eps - a_guess(x, c))
    without = mean_square(bar, lambda x, eps, c: eps - a_guess(x, None))
    rng = np.random.default_rng(0)
    which, eps = rng.integers(4, size=400_000), rng.standard_normal(400_000)
    x_t = bar**0.5 * VALUES.numpy()[which] + (1 - bar) ** 0.5 * eps
    dropped = rng.random(400_000) < share
    made = 0.6 * x_t + np.where(dropped, 0.4, 0.1 * LABELS.numpy()[which])
    assert abs(np.mean((eps - made) ** 2) - float(claim(share, with_c, without))) < 0.01
