"""Chapter 14: training."""

import math

import numpy as np
import torch

from minisd import NoiseSchedule
from minisd.training.loop import learning_rate
from minisd.training.objectives import UNetObjective

from . import equation

BARS = NoiseSchedule.scaled_linear().alphas_cumprod.double()
SNR = BARS / (1 - BARS)
SOME = (0, 60, 300, 700, 999)


def noised(t, shape=(40, 12), seed=1):
    """x_0, its noise, x_t, and a guess of x_0 that is off."""
    rng = torch.Generator().manual_seed(seed)
    x0, noise, slip = (torch.randn(shape, generator=rng, dtype=torch.float64) for _ in range(3))
    x_t = BARS[t] ** 0.5 * x0 + (1 - BARS[t]) ** 0.5 * noise
    return x0, noise, x_t, x0 + 0.3 * slip


@equation("14.1", "expected-loss")
def test_expected_loss():
    def claim(weights, losses, steps):
        return (weights * losses).sum() / steps

    rng = torch.Generator().manual_seed(0)
    losses = torch.rand(1000, generator=rng, dtype=torch.float64)
    weights = SNR.clamp(max=5) / SNR
    drawn = torch.randint(1000, (400_000,), generator=rng)  # as in training
    assert abs(claim(weights, losses, 1000) - (weights[drawn] * losses[drawn]).mean()) < 3e-3


@equation("14.2", "least-loss")
def test_least_loss():
    def claim(variances, snr):
        return (snr * variances / (snr * variances + 1)).mean()

    rng = torch.Generator().manual_seed(2)
    mixing = torch.randn(5, 5, generator=rng, dtype=torch.float64)  # numbers that depend on one another
    covariance = mixing @ mixing.T
    for t in SOME:
        bar = BARS[t]
        of_x_t = bar * covariance + (1 - bar) * torch.eye(5, dtype=torch.float64)
        left = torch.eye(5, dtype=torch.float64) - (1 - bar) * torch.linalg.inv(of_x_t)  # the noise's
        known = left.trace() / 5
        assert abs(claim(torch.linalg.eigvalsh(covariance), SNR[t]) - known) < 1e-9


@equation("14.3", "noise-error")
def test_noise_error():
    def claim(bar, x0_error):
        return -((bar / (1 - bar)) ** 0.5) * x0_error

    for t in SOME:
        x0, noise, x_t, guess = noised(t)
        of_noise = (x_t - BARS[t] ** 0.5 * guess) / (1 - BARS[t]) ** 0.5 - noise
        assert (claim(BARS[t], guess - x0) - of_noise).abs().max() < 1e-9
        ratio = of_noise.square().sum() / (guess - x0).square().sum()
        assert abs(ratio / SNR[t] - 1) < 1e-9


@equation("14.4", "v-error")
def test_v_error():
    def claim(snr, squared):
        return (snr + 1) * squared

    for t in SOME:
        x0, noise, x_t, guess = noised(t)
        root, rest = BARS[t] ** 0.5, (1 - BARS[t]) ** 0.5
        v, guessed_v = root * noise - rest * x0, (root * x_t - guess) / rest  # (4.31), (4.32)
        known = (guessed_v - v).square().sum()
        assert abs(claim(SNR[t], (guess - x0).square().sum()) / known - 1) < 1e-9
        assert (guessed_v - v + (guess - x0) / rest).abs().max() < 1e-9


@equation("14.5", "one-loss")
def test_one_loss():
    def claim(snr):
        return {"x0": snr / snr, "noise": snr, "v": snr + 1}

    errors = {name: [] for name in ("x0", "noise", "v")}
    for t in SOME:
        x0, noise, x_t, guess = noised(t)
        root, rest = BARS[t] ** 0.5, (1 - BARS[t]) ** 0.5
        guessed_noise = (x_t - root * guess) / rest
        whole = (guess - x0).square().mean()
        errors["x0"].append((guess - x0).square().mean() / whole)
        errors["noise"].append((guessed_noise - noise).square().mean() / whole)
        v, guessed_v = root * noise - rest * x0, root * guessed_noise - rest * guess
        errors["v"].append((guessed_v - v).square().mean() / whole)
    for name, weight in claim(SNR[list(SOME)]).items():
        assert (torch.stack(errors[name]) / weight - 1).abs().max() < 1e-9


@equation("14.6", "min-snr")
def test_min_snr():
    def claim(snr, gamma):
        return (gamma / snr).clamp(max=1)

    schedule, nothing = NoiseSchedule.scaled_linear(), torch.nn.Identity()
    for gamma in (1.0, 5.0):
        package = UNetObjective(nothing, nothing, schedule, 1.0, gamma).weight.double()
        assert (claim(SNR, gamma) - package).abs().max() < 1e-4
        assert (claim(SNR, gamma) - SNR.clamp(max=gamma) / SNR).abs().max() < 1e-9


@equation("14.7", "ema")
def test_ema():
    def claim(weights, d):
        ages = np.arange(len(weights))[::-1]  # k - j
        return d ** ages[0] * weights[0] + (1 - d) * (d ** ages[1:] * weights[1:]).sum()

    net = torch.nn.Linear(1, 1, bias=False).double()
    multi = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=multi)
    weights = np.random.default_rng(0).standard_normal(12)
    for weight in weights:
        torch.nn.init.constant_(net.weight, weight)
        average.update_parameters(net)
    assert abs(claim(weights, 0.9) - average.module.weight.item()) < 1e-12


@equation("14.8", "half-life")
def test_half_life():
    def claim(d):
        return math.log(2) / (1 - d)

    for d in (0.98, 0.999, 0.9999):
        steps, share = 0, 1.0
        while share > 0.5:
            steps, share = steps + 1, share * d
        assert abs(claim(d) - steps) < 1.5


@equation("14.9", "wandering")
def test_wandering():
    def claim(rate, curvature, noise):
        return rate * noise**2 / (curvature * (2 - rate * curvature))

    for rate, curvature, noise in ((0.1, 1.0, 1.0), (0.5, 2.0, 0.3), (0.02, 10.0, 2.0)):
        variance = 0.0
        for _ in range(5000):
            variance = (1 - rate * curvature) ** 2 * variance + rate**2 * noise**2
        assert abs(claim(rate, curvature, noise) / variance - 1) < 1e-9


@equation("14.10", "ema-variance")
def test_ema_variance():
    def claim(variance, d, rho):
        return variance * (1 - d) / (1 + d) * (1 + d * rho) / (1 - d * rho)

    for d, rho in ((0.9, 0.95), (0.98, 0.5), (0.5, 0.9)):
        shares = (1 - d) * d ** np.arange(3000)
        correlations = rho ** np.abs(np.subtract.outer(np.arange(3000), np.arange(3000)))
        assert abs(claim(1.7, d, rho) / (1.7 * shares @ correlations @ shares) - 1) < 1e-6


@equation("14.11", "cosine-rate")
def test_cosine_rate():
    def claim(k, steps, first, peak):
        return 0.5 * peak * (1 + math.cos(math.pi * (k - first) / (steps - first)))

    for k in (5, 40, 99):
        assert abs(claim(k, 100, 5, 0.3) - learning_rate(k, 100, 0.3, 5)) < 1e-12
    assert claim(5, 100, 5, 0.3) == 0.3 and abs(claim(100, 100, 5, 0.3)) < 1e-12


@equation("14.12", "mixture")
def test_mixture():
    def claim(belongs, guesses):
        return (belongs * guesses).sum(1)

    x, bar = (
        torch.linspace(-2, 2, 9, dtype=torch.float64),
        0.6,
    )  # two captions: near -1, near 1
    centres, std = torch.tensor([-1.0, 1.0], dtype=torch.float64), 0.4
    variance = bar * std**2 + 1 - bar
    gap = x[:, None] - bar**0.5 * centres
    belongs = (-gap.square() / (2 * variance)).softmax(-1)
    guesses = (1 - bar) ** 0.5 * gap / variance
    rng = torch.Generator().manual_seed(4)
    x0 = centres[torch.randint(2, (2_000_000,), generator=rng)] + std * torch.randn(
        2_000_000, generator=rng, dtype=torch.float64
    )
    noise = torch.randn(2_000_000, generator=rng, dtype=torch.float64)
    x_t = bar**0.5 * x0 + (1 - bar) ** 0.5 * noise
    for i in (2, 4, 7):
        near = (x_t - x[i]).abs() < 0.02
        assert abs(claim(belongs, guesses)[i] - noise[near].mean()) < 0.02


@equation("14.13", "coins")
def test_coins():
    def claim(p, n, apart):
        return p * (1 - p) * apart**2 / n

    rng = np.random.default_rng(5)
    with_words, without, p, n = np.array([1.0, -2.0]), np.array([0.5, 0.4]), 0.1, 8
    apart = np.linalg.norm(with_words - without)
    for coins in (n, 1):
        share = rng.binomial(coins, p, 400_000)[:, None] / coins
        gradients = (1 - share) * with_words + share * without
        measured = np.square(gradients - (1 - p) * with_words - p * without).sum(1).mean()
        assert abs(claim(p, coins, apart) / measured - 1) < 0.02


@equation("14.14", "clipping")
def test_clipping():
    def claim(gradient, longest):
        return gradient * (longest / gradient.norm()).clamp(max=1)

    for scale in (0.1, 1.0, 30.0):
        weight = torch.nn.Parameter(torch.zeros(6, dtype=torch.float64))
        gradient = scale * torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, -1.0], dtype=torch.float64)
        weight.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([weight], 2.0)
        assert (claim(gradient, torch.tensor(2.0)) - weight.grad).abs().max() < 1e-5


@equation("14.15", "gradient-noise")
def test_gradient_noise():
    def claim(squared_mean, trace, n):
        return squared_mean + trace / n

    rng = np.random.default_rng(6)
    mean, spread = np.array([0.3, -0.2, 0.1]), np.array([1.0, 0.5, 2.0])
    for n in (4, 32):
        each = mean + spread * rng.standard_normal((60_000, n, 3))
        measured = np.square(each.mean(1)).sum(1).mean()
        assert abs(claim(np.square(mean).sum(), np.square(spread).sum(), n) / measured - 1) < 0.02


@equation("14.16", "shares")
def test_shares():
    def claim(gradients):
        return sum(gradients) / len(gradients)

    rng = torch.Generator().manual_seed(7)
    x, y = torch.randn(12, 3, generator=rng), torch.randn(12, generator=rng)

    def gradient(part):
        weight = torch.zeros(3, requires_grad=True)
        with torch.enable_grad():
            loss = (x[part] @ weight - y[part]).square().mean()
        return torch.autograd.grad(loss, weight)[0]

    shares = [slice(0, 4), slice(4, 8), slice(8, 12)]
    assert (claim([gradient(part) for part in shares]) - gradient(slice(0, 12))).abs().max() < 1e-6
