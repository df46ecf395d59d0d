"""Chapter 10: the U-Net."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from minisd.blocks import ResnetBlock, timestep_embedding

from . import equation


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


@equation("10.1", "window")
def test_window():
    def claim(n, nu):
        return nu / (n + nu)

    for n, nu in ((3, 2.0), (10, 0.5)):
        g = drawn(100_000, 1)
        y = g + nu**0.5 * drawn(100_000, n, seed=1)
        weights = torch.linalg.lstsq(y, g).solution
        assert abs((y @ weights - g).square().mean() - claim(n, nu)) < 0.02 * claim(n, nu)


@equation("10.2", "bottleneck")
def test_bottleneck():
    def claim(n, m):
        return 1 - m / n

    n = 12
    for k in (1, 5, 12):
        for seed in range(20):  # E|e - Me|^2 is the sum of the squares of I - M
            matrix = drawn(n, k, seed=seed) @ drawn(k, n, seed=seed + 100) / n
            assert (torch.eye(n) - matrix).square().sum() / n >= claim(n, k) - 1e-12
        basis = torch.linalg.qr(drawn(n, n)).Q[:, :k]  # the best one reaches it
        assert abs((torch.eye(n) - basis @ basis.T).square().sum() / n - claim(n, k)) < 1e-12


@equation("10.3", "embedding")
def test_embedding():
    def claim(t, width):
        speeds = [10000 ** (-2 * i / width) for i in range(width // 2)]
        return [*(math.cos(w * t) for w in speeds), *(math.sin(w * t) for w in speeds)]

    for width in (8, 320):
        known = timestep_embedding(torch.tensor([0, 7, 500, 999]), width).double()
        assert (known - torch.tensor([claim(t, width) for t in (0, 7, 500, 999)])).abs().max() < 2e-4


@equation("10.4", "similarity")
def test_similarity():
    def claim(t_1, t_2, width):
        return sum(math.cos(10000 ** (-2 * i / width) * (t_1 - t_2)) for i in range(width // 2))

    codes = timestep_embedding(torch.arange(1000), 64).double()
    for t_1, t_2 in ((0, 0), (3, 90), (999, 17)):
        assert abs(codes[t_1] @ codes[t_2] - claim(t_1, t_2, 64)) < 1e-3


@equation("10.5", "rotation")
def test_rotation():
    def claim(angle, hand):
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return turn @ hand

    codes = timestep_embedding(torch.arange(200), 16)
    for i in (0, 3, 7):
        speed = 10000 ** (-2 * i / 16)
        now, later = (codes[t][[i, 8 + i]] for t in (40, 57))
        assert (later - claim(17 * speed, now)).abs().max() < 1e-4


@equation("10.6", "group-norm")
def test_group_norm():
    def claim(x, mean, std, gain, shift, kappa):
        return gain * (x - mean) / math.sqrt(std**2 + kappa) + shift

    x, gain, shift = drawn(2, 6, 4, 3), drawn(6, seed=1), drawn(6, seed=2)
    known = F.group_norm(x, 2, gain, shift, eps=1e-5)
    for picture in range(2):
        for c in range(6):
            group = x[picture, c // 3 * 3 : c // 3 * 3 + 3]
            std = float(group.std(correction=0))
            ours = claim(x[picture, c], group.mean(), std, gain[c], shift[c], 1e-5)
            assert (ours - known[picture, c]).abs().max() < 1e-12


@equation("10.7", "block")
def test_block():
    def claim(h, e, conv_1, norm_1, w, b, conv_2, norm_2):
        silu = nn.functional.silu
        u = conv_1(silu(norm_1(h))) + (w @ silu(e) + b)[None, :, None, None]
        return h + conv_2(silu(norm_2(u)))

    torch.manual_seed(0)
    block = ResnetBlock(8, 8, 4, 1e-5, time_dim=6).double().requires_grad_(False)
    h, e = drawn(1, 8, 5, 5), drawn(6, seed=1)
    time = block.time_emb_proj
    ours = claim(h, e, block.conv1, block.norm1, time.weight, time.bias, block.conv2, block.norm2)
    assert (ours - block(h, e[None])).abs().max() < 1e-12


@equation("10.8", "stack-slope")
def test_stack_slope():
    def claim(jacobians):
        product = torch.eye(len(jacobians[0]), dtype=torch.float64)
        for jacobian in jacobians:
            product = (torch.eye(len(jacobian)) + jacobian) @ product
        return product

    matrices = 0.5 * drawn(3, 4, 4)
    h, jacobians = drawn(4, seed=1), []

    def stack(h):
        for matrix in matrices:
            h = h + torch.tanh(matrix @ h)
        return h

    known = torch.autograd.functional.jacobian(stack, h)
    for matrix in matrices:
        jacobians.append(torch.autograd.functional.jacobian(lambda x, m=matrix: torch.tanh(m @ x), h))
        h = h + torch.tanh(matrix @ h)
    assert (claim(jacobians) - known).abs().max() < 1e-12


@equation("10.9", "concatenate")
def test_concatenate():
    def claim(h, v, kernel):
        return F.conv2d(h, kernel[:, : h.shape[1]]) + F.conv2d(v, kernel[:, h.shape[1] :])

    h, v, kernel = drawn(1, 3, 6, 6), drawn(1, 2, 6, 6, seed=1), drawn(4, 5, 3, 3, seed=2)
    assert (claim(h, v, kernel) - F.conv2d(torch.cat([h, v], dim=1), kernel)).abs().max() < 1e-12


@equation("10.10", "receptive-field")
def test_receptive_field():
    def claim(kernels, strides):
        return 1 + sum((k - 1) * math.prod(strides[:i]) for i, k in enumerate(kernels))

    for kernels, strides in (((3, 3), (1, 1)), ((3, 3, 5), (2, 1, 1)), ((5, 3, 3, 3), (1, 2, 2, 1))):
        x = torch.zeros(1, 1, 99, requires_grad=True)
        h = x
        for kernel, stride in zip(kernels, strides):
            h = F.conv1d(h, torch.ones(1, 1, kernel), stride=stride)
        (slope,) = torch.autograd.grad(h[0, 0, h.shape[-1] // 2], x)
        assert int((slope != 0).sum()) == claim(kernels, strides)


@equation("10.11", "reach")
def test_reach():
    def claim(shares):
        return sum(d * g for d, g in enumerate(shares) if d > 0) / sum(shares[1:])

    # The mean distance of 100,000 draws of a place, each as likely as its share, the own place left out.
    shares = [5.0, 1.0, 2.0, 0.5]
    draws = np.random.default_rng(0).choice(4, 100_000, p=np.array(shares) / sum(shares))
    assert abs(claim(shares) - draws[draws > 0].mean()) < 0.01


@equation("10.12", "costs")
def test_costs():
    def claim(k, n_in, n_out, places):
        return k**2 * n_in * n_out + n_out, places * k**2 * n_in * n_out

    for k, n_in, n_out, height, width in ((3, 4, 8, 6, 5), (1, 5, 3, 4, 4)):
        conv = nn.Conv2d(n_in, n_out, k, padding=k // 2)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            conv(torch.zeros(1, n_in, height, width))
        parameters, work = claim(k, n_in, n_out, height * width)
        assert sum(p.numel() for p in conv.parameters()) == parameters
        assert counter.get_total_flops() == 2 * work
