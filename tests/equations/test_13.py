"""Chapter 13: guidance."""

import math

import numpy as np
import torch

from minisd.pipeline import guide, rescale_guidance
from minisd.samplers import euler, predict_original

from . import equation

SHARES = torch.tensor([0.3, 0.2, 0.5], dtype=torch.float64)
CENTRES = torch.tensor([-1.0, 0.4, 1.5], dtype=torch.float64)
STD = 0.4
OURS, OTHERS = [0, 1], [2]


def bell(x, mean, variance):
    return (-((x - mean) ** 2) / (2 * variance)).exp() / (2 * math.pi * variance) ** 0.5


def density(x, bar, which=(0, 1, 2)):
    """q(x_t) of numbers in three clouds, or of those in some of them."""
    which = list(which)
    shares = SHARES[which] / SHARES[which].sum()
    return (shares * bell(x[:, None], bar**0.5 * CENTRES[which], bar * STD**2 + 1 - bar)).sum(1)


def belongs(x, bar):
    """P(c | x_t), counted from the clouds themselves."""
    each = SHARES * bell(x[:, None], bar**0.5 * CENTRES, bar * STD**2 + 1 - bar)
    return each[:, OURS].sum(1) / each.sum(1)


def noise(x, bar, which=(0, 1, 2)):
    """The mean noise in x_t, by an integral over it."""
    eps = torch.linspace(-14, 14, 8001, dtype=torch.float64)
    x0 = (x[:, None] - (1 - bar) ** 0.5 * eps) / bar**0.5
    which = list(which)
    shares = SHARES[which] / SHARES[which].sum()
    weight = (shares * bell(x0[:, :, None], CENTRES[which], STD**2)).sum(-1) * bell(eps, 0, 1)
    return (weight * eps).sum(1) / weight.sum(1)


def slope(function, x):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(function(x).sum(), x)[0]


X = torch.linspace(-2, 2.5, 19, dtype=torch.float64)
BARS = (0.9, 0.5, 0.1)


@equation("13.1", "bayes")
def test_bayes():
    def claim(q, p, share):
        return q * p / share

    for bar in BARS:
        known = density(X, bar, OURS)
        assert (claim(density(X, bar), belongs(X, bar), SHARES[OURS].sum()) - known).abs().max() < 1e-12


@equation("13.2", "scores-add")
def test_scores_add():
    def claim(score, of_classifier):
        return score + of_classifier

    for bar in BARS:
        of_all = slope(lambda x, bar=bar: density(x, bar).log(), X)
        of_classifier = slope(lambda x, bar=bar: belongs(x, bar).log(), X)
        known = slope(lambda x, bar=bar: density(x, bar, OURS).log(), X)
        assert (claim(of_all, of_classifier) - known).abs().max() < 1e-9


@equation("13.3", "classifier-guidance")
def test_classifier_guidance():
    def claim(score, of_classifier, s):
        return score + s * of_classifier

    for bar in BARS:
        for s in (0, 1, 3.5):
            known = slope(lambda x, bar=bar, s=s: (density(x, bar) * belongs(x, bar) ** s).log(), X)
            of_all = slope(lambda x, bar=bar: density(x, bar).log(), X)
            of_classifier = slope(lambda x, bar=bar: belongs(x, bar).log(), X)
            assert (claim(of_all, of_classifier, s) - known).abs().max() < 1e-9


@equation("13.4", "classifier-noise")
def test_classifier_noise():
    def claim(without, bar, of_classifier, s):
        return without - s * (1 - bar) ** 0.5 * of_classifier

    for bar in BARS:
        of_classifier = slope(lambda x, bar=bar: belongs(x, bar).log(), X)
        with_class = noise(X, bar, OURS)
        assert (claim(noise(X, bar), bar, of_classifier, 1) - with_class).abs().max() < 1e-6


@equation("13.5", "implicit-classifier")
def test_implicit_classifier():
    def claim(with_class, without, bar):
        return -(with_class - without) / (1 - bar) ** 0.5

    for bar in BARS:
        known = slope(lambda x, bar=bar: belongs(x, bar).log(), X)
        assert (claim(noise(X, bar, OURS), noise(X, bar), bar) - known).abs().max() < 1e-6


@equation("13.6", "classifier-free")
def test_classifier_free():
    def claim(without, with_class, s):
        return without + s * (with_class - without)

    for bar in BARS:
        for s in (0, 1, 7.5):
            of_classifier = slope(lambda x, bar=bar: belongs(x, bar).log(), X)
            known = noise(X, bar) - s * (1 - bar) ** 0.5 * of_classifier
            assert (claim(noise(X, bar), noise(X, bar, OURS), s) - known).abs().max() < 1e-5
    a, b = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).unbind()
    assert torch.equal(claim(a, b, 7.5), guide(a, b, 7.5))


@equation("13.7", "guided-picture")
def test_guided_picture():
    def claim(without, with_class, s):
        return without + s * (with_class - without)

    for bar in BARS:
        a, b = noise(X, bar), noise(X, bar, OURS)
        known = predict_original(guide(a, b, 7.5), X, bar)
        pictures = (predict_original(each, X, bar) for each in (a, b))
        assert (claim(*pictures, 7.5) - known).abs().max() < 1e-9


@equation("13.8", "pull")
def test_pull():
    def claim(p, ours, others):
        return (1 - p) * (ours - others)

    for bar in BARS:
        known = noise(X, bar, OURS) - noise(X, bar)
        ours, others = noise(X, bar, OURS), noise(X, bar, OTHERS)
        assert (claim(belongs(X, bar), ours, others) - known).abs().max() < 1e-6


@equation("13.9", "tilted")
def test_tilted():
    def claim(of_class, of_all, s):
        return of_class**s / of_all ** (s - 1)

    for bar in BARS:
        for s in (1, 4):
            first = density(X, bar) * belongs(X, bar) ** s
            ratio = first / claim(density(X, bar, OURS), density(X, bar), s)
            assert (ratio / ratio[0] - 1).abs().max() < 1e-9
            arrow = slope(lambda x, bar=bar, s=s: claim(density(x, bar, OURS), density(x, bar), s).log(), X)
            guided = guide(noise(X, bar), noise(X, bar, OURS), s)
            assert (-guided / (1 - bar) ** 0.5 - arrow).abs().max() < 1e-4


MU, SMALL, LARGE = 1.0, 0.25, 1.0


def mean_noise(x, sigma, mean, variance):
    """The mean of eps given x = x0 + sigma eps, by an integral."""
    eps = torch.linspace(-9, 9, 6001, dtype=torch.float64)
    weight = bell(x[:, None] - sigma * eps, mean, variance) * bell(eps, 0, 1)
    return (weight * eps).sum(1) / weight.sum(1)


def guided_ends(s, v, V, mu, n=3000):
    """Euler walks along (13.10)'s guesses, from far out."""
    start = torch.randn(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sigmas = [*torch.logspace(3.5, -3, 2000, dtype=torch.float64).tolist(), 0.0]

    def noise_of(x, sigma):
        return guide(sigma * x / (V + sigma**2), sigma * (x - mu) / (v + sigma**2), s)

    *_, x = euler(noise_of, sigmas[0] * (start - start.mean()) / start.std(), sigmas)
    return x


@equation("13.10", "guided-curve")
def test_guided_curve():
    def claim(x, sigma, s, mu, v, V):
        return sigma * (s * (x - mu) / (v + sigma**2) - (s - 1) * x / (V + sigma**2))

    for sigma in (0.3, 1.0, 4.0):
        for s in (1, 5):
            known = guide(mean_noise(X, sigma, 0, LARGE), mean_noise(X, sigma, MU, SMALL), s)
            assert (claim(X, sigma, s, MU, SMALL, LARGE) - known).abs().max() < 1e-4


@equation("13.11", "end-variance")
def test_end_variance():
    def claim(s, v, V):
        return v * (v / V) ** (s - 1)

    for s, v, V in ((1, 0.25, 1.0), (3, 0.25, 1.0), (2.5, 0.5, 2.0)):
        assert abs(guided_ends(s, v, V, MU).var() / claim(s, v, V) - 1) < 0.03


@equation("13.12", "tilted-precision")
def test_tilted_precision():
    def claim(s, v, V):
        return s / v - (s - 1) / V

    x = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    for s in (1, 2, 5):
        height = bell(x, MU, SMALL) ** s / bell(x, 0, LARGE) ** (s - 1)
        weight = height / height.sum()
        mean = (weight * x).sum()
        assert abs(1 / (weight * (x - mean) ** 2).sum() / claim(s, SMALL, LARGE) - 1) < 1e-6


@equation("13.13", "end-mean")
def test_end_mean():
    def claim(s, mu):
        return s * mu

    for s, mu in ((1, 2.0), (4, 1.0), (7.5, -0.5)):
        assert abs(guided_ends(s, 0.6, 0.6, mu).mean() - claim(s, mu)) < 0.03 * abs(claim(s, mu))


@equation("13.14", "negative")
def test_negative():
    def claim(negative, wanted, s):
        return negative + s * (wanted - negative)

    for bar in BARS:  # the arrows of q(x | c)^s / q(x | n)^(s - 1), with cloud 2 as what is not wanted
        tilted = slope(
            lambda x, bar=bar: 3 * density(x, bar, OURS).log() - 2 * density(x, bar, OTHERS).log(), X
        )
        known = -((1 - bar) ** 0.5) * tilted
        assert (claim(noise(X, bar, OTHERS), noise(X, bar, OURS), 3) - known).abs().max() < 1e-4


@equation("13.15", "guided-length")
def test_guided_length():
    def claim(without, difference, s):
        return without @ without + 2 * s * (without @ difference) + s**2 * (difference @ difference)

    draws = np.random.default_rng(0)
    for s in (0, 1, 7.5):
        without, with_words = draws.standard_normal((2, 50))
        guided = without + s * (with_words - without)
        assert abs(np.linalg.norm(guided) ** 2 - claim(without, with_words - without, s)) < 1e-9


@equation("13.16", "rescale")
def test_rescale():
    def claim(guided, with_words, share):
        return share * with_words.std() / guided.std() * guided + (1 - share) * guided

    rng = torch.Generator().manual_seed(0)
    guided, with_words = 3 * torch.randn(2, 4, 5, 6, generator=rng), torch.randn(2, 4, 5, 6, generator=rng)
    for share in (0, 0.7, 1):
        known = rescale_guidance(guided, with_words, share)
        for one in range(2):
            assert (claim(guided[one], with_words[one], share) - known[one]).abs().max() < 1e-5
    assert abs(claim(guided[0], with_words[0], 1).std() - with_words[0].std()) < 1e-5


@equation("13.17", "weights")
def test_weights():
    def claim(a, b, true, with_words, without):
        return (a + b) * true + a * (with_words - true) + b * (without - true)

    true, with_words, without = np.random.default_rng(0).standard_normal((3, 20))
    for a, b in ((7.5, -6.5), (7.5, 1.0), (7.5, -1.0)):
        known = a * with_words + b * without
        assert abs(claim(a, b, true, with_words, without) - known).max() < 1e-12
