"""Chapter 1: Gaussian noise."""

import math

import numpy as np
import sympy as sp
import torch

from minisd import NoiseSchedule

from . import equation

X, MU, A, B = sp.symbols("x mu a b", real=True)
SIGMA = sp.symbols("sigma", positive=True)
N = 400_000  # draws of a Monte-Carlo test: a mean is known to 5 / sqrt(N), five of its standard deviations
CLOSE = 5 / N**0.5


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def bars(betas):
    """alpha-bar after 0, 1, 2 ... doses, in float64."""
    return np.concatenate([[1.0], np.cumprod(1 - np.asarray(betas, dtype=np.float64))])


def walk(x0, betas, noises):
    """Dose after dose, (1.8)."""
    x = x0
    for beta, noise in zip(betas, noises):
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * noise
    return x


def one_noise(betas, noises):
    """All the noises of a walk as one: what a walk from 0 makes of them, brought to the length that (1.6)
    says.
    """
    factors = [math.sqrt(beta * bars(betas[i + 1 :])[-1]) for i, beta in enumerate(betas)]
    return sum(f * noise for f, noise in zip(factors, noises)) / math.sqrt(sum(f**2 for f in factors))


@equation("1.1", "gaussian")
def test_gaussian():
    def claim(x, mu, sigma):
        return 1 / (sp.sqrt(2 * sp.pi) * sigma) * sp.exp(-((x - mu) ** 2) / (2 * sigma**2))

    mu, sigma = sp.Rational(3, 2), sp.Rational(1, 2)
    f = sp.lambdify(X, claim(X, mu, sigma))
    grid = np.linspace(-4, 7, 20_001)
    density = np.array([float(f(x)) for x in grid])
    width = grid[1] - grid[0]
    assert abs(density.sum() * width - 1) < 1e-9
    assert abs((density * grid).sum() * width - 1.5) < 1e-9
    assert abs((density * (grid - 1.5) ** 2).sum() * width - 0.25) < 1e-9
    drawn = np.random.default_rng(0).normal(
        1.5, 0.5, N
    )  # another program's normal numbers: the shares below points
    for point in (0.6, 1.2, 1.5, 2.3):
        assert abs(density[grid < point].sum() * width - (drawn < point).mean()) < CLOSE


@equation("1.2", "shift-and-scale")
def test_shift_and_scale():
    def claim(mu, sigma, epsilon):
        return mu + sigma * epsilon

    # Below epsilon lie as many standard draws as draws of N(mu, sigma^2) below mu + sigma epsilon.
    drawn = np.sort(np.random.default_rng(1).normal(0.7, 1.6, N))
    for epsilon in (-2.0, -0.5, 0.3, 1.7):
        expected = 0.5 * (1 + math.erf(epsilon / 2**0.5))
        assert abs(np.searchsorted(drawn, claim(0.7, 1.6, epsilon)) / N - expected) < CLOSE


@equation("1.3", "variance-scales")
def test_variance_scales():
    def claim(a, b, mean, variance):
        return a * mean + b, a**2 * variance

    values, shares = (
        [sp.Integer(-1), sp.Integer(2), sp.Integer(5)],
        [sp.Rational(1, 2), sp.Rational(1, 3), sp.Rational(1, 6)],
    )

    def mean(numbers):
        return sum(p * v for p, v in zip(shares, numbers))

    def variance(numbers):
        return mean([(v - mean(numbers)) ** 2 for v in numbers])

    moved = [A * v + B for v in values]
    expected_mean, expected_variance = claim(A, B, mean(values), variance(values))
    assert sp.expand(mean(moved) - expected_mean) == 0
    assert sp.expand(variance(moved) - expected_variance) == 0


@equation("1.4", "variances-add")
def test_variances_add():
    def claim(var_x, var_y):
        return var_x + var_y

    # Two independent dice, one of them odd, counted out: every pair of sides is as likely as any other.
    x, y = [1, 2, 3, 4, 5, 6], [0, 0, 3, 7]
    sums = [i + j for i in x for j in y]
    assert abs(np.var(sums) - claim(np.var(x), np.var(y))) < 1e-12


@equation("1.5", "round-cloud")
def test_round_cloud():
    def claim(e1, e2):
        return 1 / (2 * sp.pi) * sp.exp(-(e1**2 + e2**2) / 2)

    e1, e2 = sp.symbols("e1 e2", real=True)
    one = [sp.exp(-(e**2) / 2) / sp.sqrt(2 * sp.pi) for e in (e1, e2)]
    for point in ((0, 0), (1, 2), (-3, 0.5)):
        at = {e1: point[0], e2: point[1]}
        assert abs(float((one[0] * one[1] - claim(e1, e2)).subs(at))) < 1e-15
    turned = claim(
        e1 * sp.Rational(3, 5) - e2 * sp.Rational(4, 5), e1 * sp.Rational(4, 5) + e2 * sp.Rational(3, 5)
    )
    assert sp.simplify(turned - claim(e1, e2)) == 0


@equation("1.6", "sum-of-gaussians")
def test_sum_of_gaussians():
    def claim(a, b, factors):
        return np.sqrt(a**2 + b**2), np.sqrt(sum(factor**2 for factor in factors))

    # The convolution of the two densities, by the rectangle rule, is the density of that width.
    x = np.linspace(-20, 20, 4001)

    def density(width):
        return np.exp(-(x**2) / (2 * width**2)) / (np.sqrt(2 * np.pi) * width)

    for a, b, c in ((2.0, 0.5, 1.1), (0.8, 0.6, 2.0), (1.0, 1.0, 0.7)):
        two, three = claim(a, b, (a, b, c))
        convolved = np.convolve(density(a), density(b), mode="same") * (x[1] - x[0])
        assert abs(convolved - density(two)).max() < 1e-9
        convolved = np.convolve(convolved, density(c), mode="same") * (x[1] - x[0])
        assert abs(convolved - density(three)).max() < 1e-9


@equation("1.7", "no-shrink")
def test_no_shrink():
    def claim(var_before, beta, var_0, t):
        return var_before + beta, var_0 + t * beta

    beta, x = 0.2, math.sqrt(2.5) * normal(N)
    for t, noise in enumerate(normal(8, N, seed=1), start=1):
        before, x = x.var(), x + math.sqrt(beta) * noise
        assert all(abs(x.var() - right) < 6 * CLOSE for right in claim(before, beta, 2.5, t))


@equation("1.8", "one-dose")
def test_one_dose():
    def claim(x, beta, noise):
        return np.sqrt(1 - beta) * x + np.sqrt(beta) * noise

    # DDPM's eq. 2: given x the mean is sqrt(1 - beta) x and the variance beta; variance 1 stays 1.
    noise, x = normal(N), normal(N, seed=1)
    given = claim(2.0, 0.3, noise)
    assert abs(given.mean() - 0.7**0.5 * 2) < CLOSE and abs(given.var() - 0.3) < CLOSE
    after = claim(x, 0.3, noise)
    assert abs(after.var() - 1) < 2 * CLOSE and abs((after * noise).mean() - 0.3**0.5) < 2 * CLOSE


@equation("1.9", "variance-to-one")
def test_variance_to_one():
    def claim(beta, var_before):
        return (1 - beta) * (var_before - 1)

    beta, variance = sp.symbols("beta v")
    after = sp.sqrt(1 - beta) ** 2 * variance + sp.sqrt(beta) ** 2  # (1.3) and (1.4) applied to (1.8)
    assert sp.expand(after - 1 - claim(beta, variance)) == 0


@equation("1.10", "two-doses")
def test_two_doses():
    def claim(x0, a1, a2, e1, e2):
        nested = np.sqrt(a2) * (np.sqrt(a1) * x0 + np.sqrt(1 - a1) * e1) + np.sqrt(1 - a2) * e2
        return nested, np.sqrt(a2 * a1) * x0 + np.sqrt(a2 * (1 - a1)) * e1 + np.sqrt(1 - a2) * e2

    x0, e1, e2 = normal(3, 100)
    for form in claim(x0, 0.9, 0.6, e1, e2):
        assert abs(form - walk(x0, (0.1, 0.4), (e1, e2))).max() < 1e-12


@equation("1.11", "two-noises")
def test_two_noises():
    def claim(a1, a2):
        return a2 * (1 - a1) + (1 - a2), 1 - a1 * a2

    a1, a2 = sp.symbols("a1 a2")
    left, right = claim(a1, a2)
    assert sp.expand(left - right) == 0
    x0, e1, e2 = 0.0, *normal(2, N)
    assert abs(walk(x0, (0.1, 0.4), (e1, e2)).var() - right.subs({a1: 0.9, a2: 0.6})) < 2 * CLOSE


@equation("1.12", "alpha-bar")
def test_alpha_bar():
    def claim(betas, t):
        return np.prod([1 - beta for beta in betas[:t]])

    schedule = NoiseSchedule.scaled_linear(steps=50)
    betas = schedule.betas.double().numpy()
    assert claim(betas, 0) == 1
    assert all(abs(claim(betas, t) - schedule.alphas_cumprod[t - 1].item()) < 1e-6 for t in range(1, 51))
    assert (
        abs(walk(1.0, betas, np.zeros(50)) - claim(betas, 50) ** 0.5) < 1e-12
    )  # a walk with no noise shrinks so


@equation("1.13", "jump")
def test_jump():
    def claim(x0, alpha_bar, noise):
        return np.sqrt(alpha_bar) * x0 + np.sqrt(1 - alpha_bar) * noise

    betas, noises = np.linspace(0.01, 0.2, 12), normal(12, N)
    noise = one_noise(betas, noises)
    assert abs(noise.mean()) < CLOSE and abs(noise.var() - 1) < 2 * CLOSE  # a standard normal of its own
    assert abs(claim(2.0, bars(betas)[-1], noise) - walk(2.0, betas, noises)).max() < 1e-12


@equation("1.14", "jump-density")
def test_jump_density():
    def claim(alpha_bar, x0):
        return np.sqrt(alpha_bar) * x0, 1 - alpha_bar  # the mean and the variance that the density names

    betas = np.linspace(0.01, 0.2, 12)
    x = walk(-1.5, betas, normal(12, N))
    mean, variance = claim(bars(betas)[-1], -1.5)
    assert abs(x.mean() - mean) < CLOSE and abs(x.var() - variance) < 2 * CLOSE
    for point in (-2.0, -1.0, -0.3, 0.9):  # and it is a bell: the share of walks below each point
        assert (
            abs((x < point).mean() - 0.5 * (1 + math.erf((point - mean) / math.sqrt(2 * variance)))) < CLOSE
        )


@equation("1.15", "jump-from-s")
def test_jump_from_s():
    def claim(x_s, ab_s, ab_t, noise):
        return np.sqrt(ab_t / ab_s) * x_s + np.sqrt(1 - ab_t / ab_s) * noise

    betas, noises = np.linspace(0.01, 0.2, 12), normal(7, N)
    ab, noise = bars(betas), one_noise(betas[5:], noises)
    assert abs(claim(1.7, ab[5], ab[12], noise) - walk(1.7, betas[5:], noises)).max() < 1e-12


@equation("1.16", "linear-schedule")
def test_linear_schedule():
    def claim(t, steps, first, last):
        return first + (t - 1) / (steps - 1) * (last - first)

    from diffusers import DDPMScheduler

    reference = DDPMScheduler(
        num_train_timesteps=1000, beta_start=0.0001, beta_end=0.02, beta_schedule="linear"
    )
    ours = claim(np.arange(1, 1001), 1000, 0.0001, 0.02)
    assert abs(ours - reference.betas.double().numpy()).max() < 1e-8


@equation("1.17", "log-alpha-bar")
def test_log_alpha_bar():
    def claim(betas):
        return np.sum(np.log(1 - betas)), -np.sum(betas)

    for betas in (np.linspace(1e-4, 0.02, 1000), np.array([0.5]), np.array([0.3, 0.01, 0.45])):
        for t in range(1, len(betas) + 1):
            left, right = claim(betas[:t])
            assert abs(left - np.log(bars(betas[:t])[-1])) < 1e-9
            assert left <= right
    left, right = claim(np.linspace(1e-4, 0.02, 1000))
    assert abs(right + 10.05) < 1e-9 and right - left < 0.1  # nearly equal, as the text says


@equation("1.18", "scaled-linear-schedule")
def test_scaled_linear_schedule():
    def claim(t, steps, first, last):
        return (np.sqrt(first) + (t - 1) / (steps - 1) * (np.sqrt(last) - np.sqrt(first))) ** 2

    from diffusers import DDIMScheduler

    reference = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    ours = claim(np.arange(1, 1001), 1000, 0.00085, 0.012)
    assert abs(ours - reference.betas.double().numpy()).max() < 1e-8


@equation("1.19", "cosine-schedule")
def test_cosine_schedule():
    def claim(t, steps):
        return np.cos((t / steps + 0.008) / (1 + 0.008) * np.pi / 2) ** 2

    from diffusers import DDPMScheduler

    reference = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
    ours = claim(np.arange(1, 1000), 1000) / claim(0, 1000)  # the last dose is cut and follows no formula
    assert abs(ours - reference.alphas_cumprod[:-1].double().numpy()).max() < 1e-5
    assert abs(claim(1000, 1000)) < 1e-12


@equation("1.20", "snr")
def test_snr():
    def claim(alpha_bar):
        return alpha_bar / (1 - alpha_bar)

    x0, noise = normal(2, N)
    for alpha_bar in (0.9, 0.5, 0.1):
        picture, hiss = alpha_bar**0.5 * x0, (1 - alpha_bar) ** 0.5 * noise
        assert abs(picture.var() / hiss.var() / claim(alpha_bar) - 1) < 4 * CLOSE


@equation("1.21", "confusion")
def test_confusion():
    def claim(d, snr):
        return 0.5 * (1 + math.erf(-0.5 * d * math.sqrt(snr) / math.sqrt(2)))  # Phi

    games, a = 200_000, np.array([1.0, -0.5, 0.2])
    for alpha_bar, b in (
        (0.4, np.array([0.3, 0.4, 0.1])),
        (0.05, np.array([0.0, 1.5, -2.0])),
        (0.8, np.array([1.1, 0.0, 0.2])),
    ):
        shown = alpha_bar**0.5 * a + (1 - alpha_bar) ** 0.5 * normal(games, 3)
        to_a, to_b = (np.linalg.norm(shown - alpha_bar**0.5 * c, axis=1) for c in (a, b))
        expected = claim(np.linalg.norm(a - b), alpha_bar / (1 - alpha_bar))
        assert abs((to_b < to_a).mean() - expected) < 5 * (expected * (1 - expected) / games) ** 0.5


@equation("1.22", "mean-leaks")
def test_mean_leaks():
    def claim(alpha_bar, m, n):
        return math.sqrt(alpha_bar) * abs(m) / (math.sqrt(1 - alpha_bar) / math.sqrt(n)), abs(m) * math.sqrt(
            n * alpha_bar / (1 - alpha_bar)
        )

    n, alpha_bar, m = 100, 0.3, -0.8
    picture = np.full(n, m)
    means = (alpha_bar**0.5 * picture + (1 - alpha_bar) ** 0.5 * normal(20_000, n)).mean(axis=1)
    left, right = claim(alpha_bar, m, n)
    assert abs(left - right) < 1e-12
    assert abs(abs(means.mean()) / means.std() / right - 1) < 0.03


def test_the_code_of_the_chapter_is_torch_too():
    """add_noise of the package, in float32, is (1.13)."""
    schedule = NoiseSchedule.scaled_linear()
    x0, noise = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0, 500, 999])
    ab = torch.tensor(bars(schedule.betas.numpy())[1:][t.numpy()]).view(3, 1, 1, 1)
    assert (schedule.add_noise(x0, noise, t) - (ab.sqrt() * x0 + (1 - ab).sqrt() * noise)).abs().max() < 1e-5
