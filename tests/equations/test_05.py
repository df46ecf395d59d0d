"""Chapter 5: the autoencoder."""

import math

import numpy as np
import torch
from scipy.stats import norm

from minisd import NoiseSchedule
from minisd.vae import Posterior

from . import equation

GRID = np.linspace(-12, 12, 4801)  # of one latent
CELL = GRID[1] - GRID[0]
CASES = [(0.7, 0.5, 1.3), (-1.5, 0.3, 0.4), (2.0, 1.0, -2.0)]  # x, delta, the decoder's factor


def guesses():
    """Means and deviations of q, for the latent of each case."""
    return [(0.3, 0.4), (-0.8, 1.2), (0.0, 0.2)]


def average(values, mean, std):
    """Of values on the grid, over N(mean, std^2)."""
    return float((values * norm.pdf(GRID, mean, std)).sum() * CELL)


@equation("5.1", "claimed")
def test_claimed():
    def claim(prior, likelihood):
        return float((prior * likelihood * CELL).sum())

    for x, delta, factor in CASES:  # a linear decoder: x is Gaussian, its variance the sum of two
        known = norm.pdf(x, 0, math.hypot(factor, delta))
        assert abs(claim(norm.pdf(GRID), norm.pdf(x, factor * GRID, delta)) - known) < 1e-6


@equation("5.2", "three-parts")
def test_three_parts():
    def claim(likelihood, kl, missed):
        return likelihood - kl + missed

    for (x, delta, factor), (mean, std) in zip(CASES, guesses()):
        width = factor**2 + delta**2  # the true posterior, by completing the square
        posterior = norm.logpdf(GRID, factor * x / width, delta / math.sqrt(width))
        log_q = norm.logpdf(GRID, mean, std)
        likelihood = average(norm.logpdf(x, factor * GRID, delta), mean, std)
        kl = average(log_q - norm.logpdf(GRID), mean, std)
        missed = average(log_q - posterior, mean, std)
        assert min(kl, missed) > 0.01
        assert abs(claim(likelihood, kl, missed) - norm.logpdf(x, 0, math.sqrt(width))) < 1e-6


@equation("5.3", "kl")
def test_kl():
    def claim(mean, std):
        return 0.5 * (mean**2 + std**2 - 1 - torch.log(std**2)).sum()

    pairs = torch.tensor(guesses(), dtype=torch.float64)
    integral = sum(average(norm.logpdf(GRID, m, s) - norm.logpdf(GRID), m, s) for m, s in guesses())
    ours = claim(pairs[:, 0], pairs[:, 1])
    assert abs(float(ours) - integral) < 1e-6
    posterior = Posterior(pairs[:, 0].view(1, 3, 1, 1), 2 * pairs[:, 1].log().view(1, 3, 1, 1))
    assert abs(float(ours - posterior.kl())) < 1e-9


@equation("5.4", "gaussian-likelihood")
def test_gaussian_likelihood():
    def claim(x, decoded, delta):
        return ((x - decoded) ** 2).sum() / (2 * delta**2) + len(x) * math.log(math.sqrt(2 * math.pi) * delta)

    rng = np.random.default_rng(0)
    for delta in (0.2, 1.0, 3.0):
        x, decoded = rng.standard_normal((2, 6))
        assert abs(claim(x, decoded, delta) + norm.logpdf(x, decoded, delta).sum()) < 1e-9


@equation("5.5", "vae-loss")
def test_vae_loss():
    def claim(error, kl, weight):
        return error + weight * kl

    rng = np.random.default_rng(1)
    x, z = rng.standard_normal(6), rng.standard_normal((500, 6))  # decoded draws of q
    for delta, kl in ((0.2, 3.0), (0.7, 0.5)):
        bound = -norm.logpdf(x, z, delta).sum(1).mean() + kl
        constant = 6 * math.log(math.sqrt(2 * math.pi) * delta)
        loss = claim(((x - z) ** 2).sum(1).mean(), kl, 2 * delta**2)
        assert abs(loss - 2 * delta**2 * (bound - constant)) < 1e-9


@equation("5.6", "reparameterise")
def test_reparameterise():
    def claim(mean, std, noise):
        return mean + std * noise

    noise = np.random.default_rng(2).standard_normal(200_000)
    for mean, std in ((0.5, 0.3), (-2.0, 1.7)):
        z = claim(mean, std, noise)
        assert abs(z.mean() - mean) < 0.02 and abs(z.std() / std - 1) < 0.02
        assert ((z - mean) * noise).mean() > 0  # larger noise, larger code: not turned round


@equation("5.7", "two-gradients")
def test_two_gradients():
    def claim(f, slope, mean, std):
        return average(f(GRID) * (GRID - mean) / std**2, mean, std), average(slope(GRID), mean, std)

    def exact(f, mean, std, step=1e-3):
        return (average(f(GRID), mean + step, std) - average(f(GRID), mean - step, std)) / (2 * step)

    for f, slope in ((np.sin, np.cos), (lambda z: z**3, lambda z: 3 * z**2)):
        for mean, std in ((0.4, 0.5), (-1.0, 0.8)):
            score, path = claim(f, slope, mean, std)
            assert abs(score - exact(f, mean, std)) < 1e-4 and abs(path - exact(f, mean, std)) < 1e-4


@equation("5.8", "two-variances")
def test_two_variances():
    def claim(n):
        return (n + 2) * (n + 4) / 4

    rng = np.random.default_rng(3)
    for n in (1, 2, 5, 20):
        z = rng.standard_normal((200_000, n))
        estimate = 0.5 * (z**2).sum(1) * z[:, 0]
        assert abs(estimate.var() / claim(n) - 1) < 0.08
        assert abs(z[:, 0].var() - 1) < 0.02  # along the path


@equation("5.9", "soft-edge")
def test_soft_edge():
    def claim(u, a, b):
        return 2 * norm.cdf((u - a) / b) - 1

    places = np.random.default_rng(4).standard_normal(100_000)
    for a, b in ((3.0, 0.5), (8.0, 2.0)):
        for u in (2.7, 3.3, 7.5, 9.1):
            mean = np.where(u > a + b * places, 1.0, -1.0).mean()
            assert abs(claim(u, a, b) - mean) < 0.02


@equation("5.10", "water-filling")
def test_water_filling():
    def claim(v, delta):
        return min(delta**2, v), max(0.0, -0.5 * math.log(delta**2 / v))

    def cheapest(v, delta):
        """Distortion and rate of the linear coder with the least loss: mean m x, deviation s, decoder w z."""
        best = None
        for w in np.linspace(0, 1.4, 141):
            m = w / (w**2 + delta**2)  # the best encoder for this decoder
            s = delta / math.sqrt(w**2 + delta**2)
            distortion = (1 - w * m) ** 2 * v + w**2 * s**2
            rate = 0.5 * (m**2 * v + s**2 - 1 - math.log(s**2))
            if best is None or distortion + 2 * delta**2 * rate < best[0]:
                best = (distortion + 2 * delta**2 * rate, distortion, rate)
        return best[1:]

    for v, delta in ((1.0, 0.3), (1.5, 0.9), (0.5, 1.0), (0.2, 0.45)):
        for ours, searched in zip(claim(v, delta), cheapest(v, delta)):
            assert abs(ours - searched) < 0.02


@equation("5.11", "perceptual")
def test_perceptual():
    def claim(first, second, places):
        return sum(((a - b) ** 2).sum() / n for a, b, n in zip(first, second, places))

    def unit(x):
        return x / np.sqrt((x**2).sum(0, keepdims=True))

    rng = np.random.default_rng(5)
    layers = [
        (unit(rng.standard_normal((c, k, k))), unit(rng.standard_normal((c, k, k))))
        for c, k in ((3, 4), (8, 2))
    ]
    # Unit vectors: the squared distance is two less twice the cosine, averaged over the places of each layer.
    cosines = sum((2 - 2 * (a * b).sum(0)).mean() for a, b in layers)
    assert abs(claim(*zip(*layers), [16, 4]) - cosines) < 1e-9


@equation("5.12", "hinge")
def test_hinge():
    def claim(real, fake):
        critic = np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()
        return critic, -fake.mean()

    # Verdicts beyond the margin cost nothing; on the wrong side, one for each unit.
    critic, fool = claim(np.array([1.0, 4.0]), np.array([-1.0, -3.0]))
    assert critic == 0 and fool == 2.0
    critic, fool = claim(np.array([-1.0, 3.0]), np.array([0.5, -5.0]))
    assert critic == 1.0 + 0.75 and fool == 2.25
    # The loss of a critic that knows nothing, on mixed verdicts, is least at the boundary of the two margins.
    verdicts = np.linspace(-3, 3, 61)
    costs = [claim(np.array([value]), np.array([value]))[0] for value in verdicts]
    assert min(costs) == 2.0 and abs(verdicts[int(np.argmin(costs))]) <= 1.0 + 1e-9


@equation("5.13", "best-scale")
def test_best_scale():
    def claim(mean, std):
        return (mean**2 + std**2).mean()

    rng = np.random.default_rng(6)
    mean, std = 3 * rng.standard_normal((50, 8)), 0.5 + rng.random((50, 8))
    scales = np.linspace(0.5, 6, 5501)
    kl = [0.5 * ((mean / c) ** 2 + (std / c) ** 2 - 1 - np.log((std / c) ** 2)).sum() for c in scales]
    assert abs(scales[int(np.argmin(kl))] ** 2 / claim(mean, std) - 1) < 2e-3


@equation("5.14", "latent-snr")
def test_latent_snr():
    def claim(ab, v):
        return ab * v / (1 - ab)

    schedule = NoiseSchedule.scaled_linear()
    rng = torch.Generator().manual_seed(7)
    z, noise = 5.49 * torch.randn(40_000, 1, generator=rng), torch.randn(40_000, 1, generator=rng)
    for t in (10, 500, 999):
        when = torch.full((40_000,), t)
        signal = schedule.add_noise(z, 0 * noise, when).var()
        grain = schedule.add_noise(0 * z, noise, when).var()
        assert (
            abs(claim(float(schedule.alphas_cumprod[t]), float(z.var())) / float(signal / grain) - 1) < 0.05
        )
