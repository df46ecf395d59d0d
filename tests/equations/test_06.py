"""Chapter 6: diffusion in latent space."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from minisd import NoiseSchedule
from minisd.attention import Attention

from . import equation

N = 400_000
CLOSE = 5 / N**0.5
TABLE = NoiseSchedule.scaled_linear().alphas_cumprod.double().numpy()


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def multiply_adds_of_torch(call):
    """PyTorch's own counter; it counts a multiplication and an addition as two."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        call()
    return counter.get_total_flops() / 2


def layer_of_attention(side, width):
    return multiply_adds_of_torch(lambda: Attention(width, heads=2)(torch.zeros(1, side * side, width)))


def layer_of_convolution(h, w, k, c, c_out):
    layer = torch.nn.Conv2d(c, c_out, k, padding=k // 2)
    return multiply_adds_of_torch(lambda: layer(torch.zeros(1, c, h, w)))


def bells(g, x):
    return (np.exp(-((x - at) ** 2) / 2) / math.sqrt(2 * math.pi) for at in (0.0, g))


@equation("6.1", "cost-of-convolution")
def test_cost_of_convolution():
    def claim(h, w, k, c, c_out):
        return h * w * c_out * k**2 * c

    for sizes in ((8, 6, 3, 4, 5), (5, 7, 1, 2, 3)):
        assert claim(*sizes) == layer_of_convolution(*sizes)


@equation("6.2", "cost-of-attention")
def test_cost_of_attention():
    def claim(n, d):
        return 4 * n * d**2 + 2 * n**2 * d

    for side, d in ((4, 8), (6, 4)):
        assert claim(side * side, d) == layer_of_attention(side, d)


@equation("6.3", "what-f-saves")
def test_what_f_saves():
    def claim(f, n, d):
        return 1 / f**2, 1 / f**2 * (2 * d + n / f**2) / (2 * d + n)

    costs = [layer_of_convolution(side, side, 3, 2, 2) for side in (16, 4)]
    convolution, attention = claim(4, 256, 8)
    assert convolution == costs[1] / costs[0]
    assert abs(attention - layer_of_attention(4, 8) / layer_of_attention(16, 8)) < 1e-12


@equation("6.4", "time-model")
def test_time_model():
    def claim(m, r, c):
        return m / r + c

    # A machine that first spends its ticks on the call and then multiplies, 25 products a tick.
    for products, price in ((50, 3), (1000, 3), (0, 7)):
        ticks = sum(1 for _ in range(price)) + sum(1 for _ in range(0, products, 25))
        assert claim(products, 25, price) == ticks


@equation("6.5", "fewer-numbers")
def test_fewer_numbers():
    def claim(f, c):
        return 3 * f**2 / c

    for h, w, f, c in ((512, 512, 8, 4), (128, 96, 4, 3)):
        assert claim(f, c) == torch.zeros(3, h, w).numel() / torch.zeros(c, h // f, w // f).numel()
    assert claim(8, 4) == 48


@equation("6.6", "frechet-distance")
def test_frechet_distance():
    def claim(mean_1, mean_2, first, second):
        variances, axes = np.linalg.eigh(first)
        root = axes * variances**0.5 @ axes.T
        mixed = np.linalg.eigvalsh(root @ second @ root) ** 0.5
        return ((mean_1 - mean_2) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * mixed.sum()

    # The best map between two Gaussians is x -> mean_2 + A (x - mean_1) with A first A = second; move points
    # along it and measure.
    turn = np.linalg.qr(normal(3, 3))[0]
    a = turn * np.array([0.5, 1.0, 2.0]) @ turn.T  # symmetric and positive: such a map is the best one
    b = normal(3, 3, seed=2)
    first = b @ b.T + np.eye(3)
    mean_1, mean_2 = np.array([1.0, 0.0, -1.0]), np.array([0.3, 0.5, 0.2])
    moved = (a - np.eye(3)) @ first @ (a - np.eye(3)).T
    cost = ((mean_1 - mean_2) ** 2).sum() + np.trace(moved)
    assert abs(claim(mean_1, mean_2, first, a @ first @ a) - cost) < 1e-9


@equation("6.7", "latent-objective")
def test_latent_objective():
    def claim(noise, guess, ab, s, latents):
        z_t = np.sqrt(ab) * s * latents + np.sqrt(1 - ab) * noise
        return ((noise - guess(z_t)) ** 2).sum(), z_t

    schedule, s = NoiseSchedule.scaled_linear(), 0.18215
    latents, noise = 5 * normal(2, 6, seed=3), normal(2, 6, seed=4)
    for t in (20, 500, 999):
        made = schedule.add_noise(s * torch.from_numpy(latents), torch.from_numpy(noise), torch.full((2,), t))
        cost, z_t = claim(noise, lambda z: 0.5 * z, TABLE[t], s, latents)
        assert abs(z_t - made.numpy()).max() < 1e-6
        assert abs(cost - float(F.mse_loss(0.5 * made, torch.from_numpy(noise), reduction="sum"))) < 1e-5


@equation("6.8", "snr-of-latents")
def test_snr_of_latents():
    def claim(s, variance, ab):
        return s**2 * variance * ab / (1 - ab)

    z, noise = 3 * normal(N), normal(N, seed=1)
    for s, ab in ((0.2, 0.3), (1 / 3, 0.9), (2.0, 0.05)):
        signal, spoiled = math.sqrt(ab) * s * z, math.sqrt(1 - ab) * noise
        assert abs(signal.var() / spoiled.var() / claim(s, 9, ab) - 1) < 4 * CLOSE


@equation("6.9", "latent-scale")
def test_latent_scale():
    def claim(variance):
        return 1 / np.sqrt(variance)

    z = 5.5 * normal(N) + 1
    s = claim(z.var())
    assert abs((s * z).var() - 1) < 1e-9
    assert s > 0 and abs(claim(1 / 0.18215**2) - 0.18215) < 1e-12


@equation("6.10", "minimax")
def test_minimax():
    def claim(of_real, of_painted):
        return np.log(of_real).mean() + np.log(1 - of_painted).mean()

    # It is minus the two binary cross-entropies of a classifier of real (1) against painted (0).
    a, b = torch.from_numpy(normal(50)), torch.from_numpy(normal(50, seed=1))
    entropy = F.binary_cross_entropy_with_logits(a, torch.ones_like(a))
    entropy += F.binary_cross_entropy_with_logits(b, torch.zeros_like(b))
    assert abs(claim(torch.sigmoid(a).numpy(), torch.sigmoid(b).numpy()) + float(entropy)) < 1e-9


@equation("6.11", "best-discriminator")
def test_best_discriminator():
    def claim(q, p):
        return q / (q + p)

    answers = np.linspace(0.0005, 0.9995, 1000)
    for q, p in ((0.3, 0.1), (0.2, 0.9), (1.0, 0.001)):
        gain = q * np.log(answers) + p * np.log(1 - answers)
        assert abs(claim(q, p) - answers[gain.argmax()]) < 0.002


@equation("6.12", "jensen-shannon")
def test_jensen_shannon():
    def claim(kl_q, kl_p):
        return -2 * np.log(2) + kl_q + kl_p, -2 * np.log(2) + 2 * ((kl_q + kl_p) / 2)

    x = np.linspace(-9, 12, 6001)
    for g in (0.5, 2.0, 4.0):
        q, p = bells(g, x)
        m, best = (q + p) / 2, q / (q + p)
        value = np.trapezoid(q * np.log(best) + p * np.log(p / (q + p)), x)
        kls = [np.trapezoid(d * np.log(d / m), x) for d in (q, p)]
        for side in claim(*kls):
            assert abs(value - side) < 1e-6


@equation("6.13", "two-slopes")
def test_two_slopes():
    def claim(sigmoid):
        return -sigmoid, -(1 - sigmoid)

    a = torch.linspace(-4, 4, 9, dtype=torch.float64, requires_grad=True)
    (saturating,) = torch.autograd.grad(torch.log(1 - torch.sigmoid(a)).sum(), a)
    (other,) = torch.autograd.grad(-torch.log(torch.sigmoid(a)).sum(), a)
    ours = claim(torch.sigmoid(a).detach())
    assert (ours[0] - saturating).abs().max() < 1e-9 and (ours[1] - other).abs().max() < 1e-9
