"""Chapter 2: denoising."""

import math

import numpy as np
import sympy as sp
import torch

from minisd import NoiseSchedule
from minisd.samplers import SAMPLERS

from . import equation

N = 400_000  # draws of a Monte-Carlo test
CLOSE = 5 / N**0.5  # five standard deviations of a mean of N standard normal numbers
BETAS = np.array([0.1, 0.25, 0.4])  # three big doses, so that nothing hides
GRID = np.linspace(-9, 9, 6001)
CELL = GRID[1] - GRID[0]
POINTS, WIDTH, SHARES = (
    np.array([-1.0, 1.2]),
    0.3,
    np.array([0.35, 0.65]),
)  # clouds on a line: data whose all is known


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def bars(betas):
    """alpha-bar after 0, 1, 2 ... doses."""
    return np.concatenate([[1.0], np.cumprod(1 - np.asarray(betas))])


def gaussian(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def clouds(x, alpha_bar):
    """The density of x_t for the data in clouds: a noised cloud is a cloud."""
    variance = alpha_bar * WIDTH**2 + 1 - alpha_bar
    return sum(s * gaussian(x, alpha_bar**0.5 * c, variance) for s, c in zip(SHARES, POINTS))


def moments(weights, x=GRID):
    """Mean and variance under a density given on a grid, up to its factor."""
    mean = (weights * x).sum() / weights.sum()
    return mean, (weights * (x - mean) ** 2).sum() / weights.sum()


def original_given(x_t, alpha_bar):
    """Mean and variance of x_0 given x_t, by integrals over x_0."""
    return moments(clouds(GRID, 1.0) * gaussian(x_t, alpha_bar**0.5 * GRID, 1 - alpha_bar))


def before_given(x_t, beta, ab_prev, x0=None):
    """The density of x_{t-1} given x_t, and x_0 if told: on the grid, up to its factor."""
    prior = clouds(GRID, ab_prev) if x0 is None else gaussian(GRID, ab_prev**0.5 * x0, 1 - ab_prev)
    return gaussian(x_t, (1 - beta) ** 0.5 * GRID, beta) * prior


def original_from(x_t, noise, alpha_bar):
    """The x_0 whose jump with this noise ends at x_t: the zero of a straight line through two points."""
    off = [alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * noise - x_t for x0 in (0.0, 1.0)]
    return off[0] / (off[0] - off[1])


def posterior_mean(x_t, x0, beta, ab_prev):
    return moments(before_given(x_t, beta, ab_prev, x0))[0]


# A chain whose every sum can be counted out: three places, three steps. q[t][x, y] is q(y | x), p[t][y, x] is
# p(x | y).


def chain(seed=0):
    rng = np.random.default_rng(seed)
    q = [rows / rows.sum(1, keepdims=True) for rows in rng.random((3, 3, 3)) + 0.2]
    p = [rows / rows.sum(1, keepdims=True) for rows in rng.random((3, 3, 3)) + 0.2]
    last = rng.random(3) + 0.2
    return q, p, last / last.sum()


def ways(q, x0):
    """Every way (x1, x2, x3) from x0, and its probability."""
    for x1 in range(3):
        for x2 in range(3):
            for x3 in range(3):
                yield (x0, x1, x2, x3), q[0][x0, x1] * q[1][x1, x2] * q[2][x2, x3]


def evidence(q, p, last, x0):
    """-ln p(x0), summed over all ways."""
    return -math.log(
        sum(last[w[3]] * p[2][w[3], w[2]] * p[1][w[2], w[1]] * p[0][w[1], x0] for w, _ in ways(q, x0))
    )


def the_bound(q, p, last, x0):
    """The first form of L: the mean of -ln p(x_{0:T}) / q(x_{1:T} | x_0)."""
    return sum(
        share * -math.log(last[w[3]] * p[2][w[3], w[2]] * p[1][w[2], w[1]] * p[0][w[1], x0] / share)
        for w, share in ways(q, x0)
    )


def in_clouds(x_t, alpha_bar):
    """The clouds' probabilities and the mean of x_0 in each, by integrals over x_0."""
    seen = gaussian(x_t, alpha_bar**0.5 * GRID, 1 - alpha_bar)
    parts = [s * gaussian(GRID, c, WIDTH**2) * seen for s, c in zip(SHARES, POINTS)]
    masses = np.array([part.sum() for part in parts])
    return masses / masses.sum(), np.array([moments(part)[0] for part in parts])


@equation("2.1", "responsibilities")
def test_responsibilities():
    def claim(x_t, ab):
        v = ab * WIDTH**2 + 1 - ab
        densities = SHARES * np.exp(-((x_t - np.sqrt(ab) * POINTS) ** 2) / (2 * v))
        return densities / np.sum(densities)

    for x_t, ab in ((0.1, 0.8), (-0.6, 0.3), (1.4, 0.1)):
        assert abs(claim(x_t, ab) - in_clouds(x_t, ab)[0]).max() < 1e-9


@equation("2.2", "guess-in-a-cloud")
def test_guess_in_a_cloud():
    def claim(x_t, ab, v):
        return POINTS + np.sqrt(ab) * WIDTH**2 / v * (x_t - np.sqrt(ab) * POINTS)

    for x_t, ab in ((0.1, 0.8), (-0.6, 0.3), (1.4, 0.1)):
        v = moments(SHARES[0] * gaussian(GRID, ab**0.5 * POINTS[0], ab * WIDTH**2 + (1 - ab)))[1]
        assert abs(claim(x_t, ab, v) - in_clouds(x_t, ab)[1]).max() < 1e-6


@equation("2.3", "exact-denoiser")
def test_exact_denoiser():
    def claim(r, inside):
        return np.sum(r * inside)

    for x_t, ab in ((0.1, 0.8), (-0.6, 0.3), (1.4, 0.1)):
        assert abs(claim(*in_clouds(x_t, ab)) - original_given(x_t, ab)[0]) < 1e-9


@equation("2.4", "x0-from-noise")
def test_x0_from_noise():
    def claim(x_t, alpha_bar, noise):
        return (x_t - np.sqrt(1 - alpha_bar) * noise) / np.sqrt(alpha_bar)

    x0, noise = normal(2, 50)
    schedule = NoiseSchedule.scaled_linear()
    x_t = schedule.add_noise(torch.tensor(x0)[None], torch.tensor(noise)[None], torch.tensor([600]))[
        0
    ].numpy()
    assert abs(claim(x_t, schedule.alphas_cumprod[600].item(), noise) - x0).max() < 1e-5


@equation("2.5", "noise-from-x0")
def test_noise_from_x0():
    def claim(x_t, alpha_bar, x0):
        return (x_t - np.sqrt(alpha_bar) * x0) / np.sqrt(1 - alpha_bar)

    x0, noise = normal(2, 50)
    schedule = NoiseSchedule.scaled_linear()
    x_t = schedule.add_noise(torch.tensor(x0)[None], torch.tensor(noise)[None], torch.tensor([600]))[
        0
    ].numpy()
    assert abs(claim(x_t, schedule.alphas_cumprod[600].item(), x0) - noise).max() < 1e-5


@equation("2.6", "best-guess")
def test_best_guess():
    def claim(variance, mean, a):
        return variance + (mean - a) ** 2

    values, shares = np.array([-1.0, 2.0, 5.0]), np.array([0.5, 0.3, 0.2])
    mean = shares @ values
    for a in (-2.0, 0.3, mean, 4.0):
        assert abs(claim(shares @ (values - mean) ** 2, mean, a) - shares @ (values - a) ** 2) < 1e-12


@equation("2.7", "simple-loss")
def test_simple_loss():
    def claim(x0, noise, ab, predict, t):
        return np.mean((noise - predict(np.sqrt(ab) * x0 + np.sqrt(1 - ab) * noise, t)) ** 2)

    # One number with x_0 ~ N(0, 1): E[noise | x_t] = sqrt(1 - ab) x_t, and the loss of a guess c x_t is known
    # exactly.
    x0, noise = normal(2, N)
    for ab in (0.9, 0.4):
        for c in ((1 - ab) ** 0.5, 0.2):
            loss = claim(x0, noise, ab, lambda x, t, c=c: c * x, 3)
            assert abs(loss - (1 - 2 * c * (1 - ab) ** 0.5 + c**2)) < 3 * CLOSE
    schedule = NoiseSchedule.linear()
    batch = torch.tensor(x0[:50]).view(2, 25), torch.tensor(noise[:50]).view(2, 25)
    x_t = schedule.add_noise(*batch, torch.tensor([300, 300])).view(-1).numpy()
    same = claim(x0[:50], noise[:50], schedule.alphas_cumprod[300].item(), lambda x, t: 0.4 * x + t, 0.1)
    assert abs(same - np.mean((noise[:50] - 0.4 * x_t - 0.1) ** 2)) < 1e-5


@equation("2.8", "two-parts")
def test_two_parts():
    def claim(noise, average, guess):
        return np.mean((noise - average) ** 2) + np.mean((average - guess) ** 2)

    rng, ab = np.random.default_rng(0), 0.5
    x0 = rng.choice(POINTS, N, p=SHARES) + WIDTH * rng.standard_normal(N)
    noise = rng.standard_normal(N)
    x_t = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    places = np.linspace(-6, 6, 601)
    original = np.interp(x_t, places, [original_given(x, ab)[0] for x in places])
    average = (x_t - ab**0.5 * original) / (1 - ab) ** 0.5
    guess = 0.3 * x_t + 0.5
    assert abs(claim(noise, average, guess) - np.mean((noise - guess) ** 2)) < 2 * CLOSE


@equation("2.9", "bayes-back")
def test_bayes_back():
    def claim(dose, before, now):
        return dose * before / now

    # A chain of three places: from the table of all pairs, counted out.
    before, dose = np.array([0.5, 0.3, 0.2]), np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    places = np.random.default_rng(0).choice(3, N, p=before)
    then = (np.random.default_rng(1).random(N)[:, None] > dose.cumsum(1)[places]).sum(1)
    for i in range(3):
        for j in range(3):
            counted = (places[then == j] == i).mean()
            assert abs(claim(dose[i, j], before[i], before @ dose[:, j]) - counted) < 2 * CLOSE


@equation("2.10", "small-step-back")
def test_small_step_back():
    def claim(x_t, beta, alpha, g):
        return x_t / np.sqrt(alpha) + beta / alpha * g, beta / alpha

    x_t, ab_prev, fine = 0.3, 0.6, np.linspace(-1, 1.6, 200_001)
    for beta in (1e-3, 1e-4):
        alpha = 1 - beta
        m = x_t / alpha**0.5
        g = (np.log(clouds(m + 1e-4, ab_prev)) - np.log(clouds(m - 1e-4, ab_prev))) / 2e-4
        exact = moments(gaussian(x_t, alpha**0.5 * fine, beta) * clouds(fine, ab_prev), fine)
        mean, variance = claim(x_t, beta, alpha, g)
        assert abs(g) > 0.3 and abs(exact[0] - mean) < 3 * beta**2 and abs(exact[1] - variance) < 3 * beta**2
    # Where ln q is a straight line it is exact, for a big dose too.
    exact = moments(gaussian(x_t, 0.7**0.5 * GRID, 0.3) * np.exp(0.9 * GRID))
    assert abs(np.subtract(exact, claim(x_t, 0.3, 0.7, 0.9))).max() < 1e-9


@equation("2.11", "average-is-enough")
def test_average_is_enough():
    def claim(x_t, guess, beta, ab_prev, ab):
        return ab_prev**0.5 * beta / (1 - ab) * guess + (1 - beta) ** 0.5 * (1 - ab_prev) / (1 - ab) * x_t

    ab = bars(BETAS)
    for t in (2, 3):
        for x_t in (-0.8, 0.1, 1.5):
            exact = moments(before_given(x_t, BETAS[t - 1], ab[t - 1]))[
                0
            ]  # of data in clouds, with no picture known
            assert (
                abs(claim(x_t, original_given(x_t, ab[t])[0], BETAS[t - 1], ab[t - 1], ab[t]) - exact) < 1e-9
            )


@equation("2.12", "posterior-bayes")
def test_posterior_bayes():
    def claim(dose, before, now):
        return dose * before / now

    # Exact, for all pairs: the joint density of (x_{t-1}, x_t) given x_0 is a Gaussian of the plane.
    beta, ab_prev, x0, x_t, u = 0.3, 0.5, 1.1, 0.4, np.linspace(-1, 2, 7)
    mean = np.array([ab_prev**0.5, ((1 - beta) * ab_prev) ** 0.5]) * x0
    cross = (1 - beta) ** 0.5 * (1 - ab_prev)
    covariance = np.array([[1 - ab_prev, cross], [cross, 1 - (1 - beta) * ab_prev]])
    given_mean = mean[0] + cross / covariance[1, 1] * (x_t - mean[1])  # the rule for conditional Gaussians
    given_variance = covariance[0, 0] - cross**2 / covariance[1, 1]
    right = claim(
        gaussian(x_t, (1 - beta) ** 0.5 * u, beta),
        gaussian(u, mean[0], 1 - ab_prev),
        gaussian(x_t, mean[1], covariance[1, 1]),
    )
    assert abs(right - gaussian(u, given_mean, given_variance)).max() < 1e-12


@equation("2.13", "posterior-exponent")
def test_posterior_exponent():
    def claim(x_t, x0, alpha, beta, ab_prev, u, c):
        a = alpha / beta + 1 / (1 - ab_prev)
        b = sp.sqrt(alpha) * x_t / beta + sp.sqrt(ab_prev) * x0 / (1 - ab_prev)
        q = (x_t - sp.sqrt(alpha) * u) ** 2 / beta + (u - sp.sqrt(ab_prev) * x0) ** 2 / (1 - ab_prev)
        return q, a * u**2 - 2 * b * u + c

    x_t, x0, u = sp.Rational(2, 5), sp.Rational(-7, 5), sp.symbols("u")
    alpha, beta, ab_prev = sp.Rational(3, 5), sp.Rational(2, 5), sp.Rational(1, 4)
    c = x_t**2 / beta + ab_prev * x0**2 / (1 - ab_prev)  # what is left for u = 0
    left, right = claim(x_t, x0, alpha, beta, ab_prev, u, c)
    assert sp.simplify(sp.expand(left - right)) == 0
    # and the left side is the exponent of the two densities
    at = float(left.subs(u, sp.Rational(3, 10)))
    both = gaussian(0.4, 0.6**0.5 * 0.3, 0.4) * gaussian(0.3, 0.5 * -1.4, 0.75)
    assert abs(math.exp(-at / 2) / (2 * math.pi * math.sqrt(0.4 * 0.75)) - both) < 1e-12


@equation("2.14", "complete-the-square")
def test_complete_the_square():
    def claim(a, b, u):
        return a * u**2 - 2 * b * u, a * (u - b / a) ** 2 - b**2 / a

    left, right = claim(*sp.symbols("a b u"))
    assert sp.simplify(left - right) == 0
    assert claim(3.0, 2.0, 2 / 3)[1] == -4 / 3  # the least value


@equation("2.15", "beta-tilde")
def test_beta_tilde():
    def claim(beta, ab_prev, ab):
        return (1 - ab_prev) / (1 - ab) * beta

    for t in (2, 3):
        ab = bars(BETAS)
        variance = moments(before_given(0.7, BETAS[t - 1], ab[t - 1], x0=1.3))[1]
        assert abs(claim(BETAS[t - 1], ab[t - 1], ab[t]) - variance) < 1e-9
    assert claim(0.1, 1.0, 0.9) == 0


@equation("2.16", "posterior-mean")
def test_posterior_mean():
    def claim(x_t, x0, alpha, beta, ab_prev, ab):
        return np.sqrt(ab_prev) * beta / (1 - ab) * x0 + np.sqrt(alpha) * (1 - ab_prev) / (1 - ab) * x_t

    ab = bars(BETAS)
    for t in (2, 3):
        for x_t, x0 in ((0.7, 1.3), (-1.0, 0.4)):
            expected = posterior_mean(x_t, x0, BETAS[t - 1], ab[t - 1])
            assert abs(claim(x_t, x0, 1 - BETAS[t - 1], BETAS[t - 1], ab[t - 1], ab[t]) - expected) < 1e-9
    schedule = NoiseSchedule.scaled_linear()
    x0, x_t = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table = bars(schedule.betas.double().numpy())
    beta = schedule.betas[400].item()
    ours = claim(x_t.numpy(), x0.numpy(), 1 - beta, beta, table[400], table[401])
    assert abs(ours - schedule.posterior(x0, x_t, 400)[0].numpy()).max() < 1e-4


@equation("2.17", "mean-from-noise")
def test_mean_from_noise():
    def claim(x_t, alpha, beta, ab, noise):
        return 1 / np.sqrt(alpha) * (x_t - beta / np.sqrt(1 - ab) * noise)

    ab = bars(BETAS)
    for t in (2, 3):
        for x0, noise in ((0.5, -1.2), (-1.0, 0.8)):
            x_t = ab[t] ** 0.5 * x0 + (1 - ab[t]) ** 0.5 * noise
            expected = posterior_mean(x_t, x0, BETAS[t - 1], ab[t - 1])
            assert abs(claim(x_t, 1 - BETAS[t - 1], BETAS[t - 1], ab[t], noise) - expected) < 1e-9


@equation("2.18", "step-back")
def test_step_back():
    def claim(x_t, guessed, ab, ab_prev, sigma, z):
        x0 = (x_t - math.sqrt(1 - ab) * guessed) / math.sqrt(ab)
        beta = 1 - ab / ab_prev
        mean = (
            math.sqrt(ab_prev) * beta / (1 - ab) * x0 + math.sqrt(1 - beta) * (1 - ab_prev) / (1 - ab) * x_t
        )
        return mean + sigma * z

    # The picture that the guessed noise implies, then the posterior by integrals.
    ab = bars(BETAS)
    for t in (2, 3):
        implied = original_from(0.7, -0.4, ab[t])
        mean = posterior_mean(0.7, implied, BETAS[t - 1], ab[t - 1])
        assert abs(claim(0.7, -0.4, ab[t], ab[t - 1], 0.2, 1.5) - mean - 0.3) < 1e-9
    # And minisd's walk, whose last width is 0.
    schedule = NoiseSchedule.scaled_linear()
    draws = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table, given = bars(schedule.betas.double().numpy()), iter(draws)
    start = torch.full((4,), 0.7, dtype=torch.float64)
    way = SAMPLERS["ddpm"].through(schedule, [600, 599, 1, 0])
    steps = way.walk(lambda x, t: 0.3 * x + 0.001 * t, start, lambda: next(given))
    x_t = start.numpy()
    for i, (step, before) in enumerate(zip(steps, (600, 2, 1, 0))):
        ab, prev = table[step.t + 1], table[before]
        sigma = np.sqrt((1 - prev) / (1 - ab) * (1 - ab / prev))
        ours = claim(x_t, 0.3 * x_t + 0.001 * step.t, ab, prev, sigma, draws[i].numpy())
        assert abs(ours - step.latents.numpy()).max() < 1e-4
        x_t = step.latents.numpy()


@equation("2.19", "variance-back")
def test_variance_back():
    def claim(tilde, beta, ab_prev, ab, variance):
        return tilde + ab_prev * beta**2 / (1 - ab) ** 2 * variance

    ab = bars(BETAS)
    for t in (2, 3):
        for x_t in (-0.8, 0.1, 1.5):
            tilde = moments(before_given(x_t, BETAS[t - 1], ab[t - 1], x0=0.0))[1]
            exact = moments(before_given(x_t, BETAS[t - 1], ab[t - 1]))[1]
            spread = original_given(x_t, ab[t])[1]
            assert abs(claim(tilde, BETAS[t - 1], ab[t - 1], ab[t], spread) - exact) < 1e-9


@equation("2.20", "two-variances")
def test_two_variances():
    def claim(beta, ab_prev, ab):
        return (
            ((1 - ab_prev) * beta + ab_prev * beta**2) / (1 - ab),
            beta * (1 - ab_prev * (1 - beta)) / (1 - ab),
            beta,
        )

    ab = bars(BETAS)
    for t in (2, 3):
        beta = BETAS[t - 1]
        variance = moments(gaussian(0.6, (1 - beta) ** 0.5 * GRID, beta) * gaussian(GRID, 0, 1))[
            1
        ]  # x_{t-1} ~ N(0, 1)
        assert all(abs(right - variance) < 1e-9 for right in claim(beta, ab[t - 1], ab[t]))


@equation("2.21", "covariance-back")
def test_covariance_back():
    def claim(beta, ab_prev, ab, covariance):
        return ab_prev * beta**2 / (1 - ab) ** 2 * covariance

    # Pictures of two pixels that are correlated: a fair coin gives (1, 1) or (-1, -1). By a sum over a grid.
    beta, ab_prev = 0.4, 0.6
    ab = (1 - beta) * ab_prev
    u = np.linspace(-4, 4, 401)
    for seen in ((0.2, 0.1), (0.5, -0.3)):
        joint = np.zeros((401, 401))
        for sign in (-1.0, 1.0):
            first, second = (
                gaussian(x, (1 - beta) ** 0.5 * u, beta) * gaussian(u, ab_prev**0.5 * sign, 1 - ab_prev)
                for x in seen
            )
            joint += np.outer(first, second)
        joint /= joint.sum()
        means = joint.sum(1) @ u, joint.sum(0) @ u
        counted = (u - means[0]) @ joint @ (u - means[1])
        plus = 1 / (1 + math.exp(-2 * ab**0.5 * sum(seen) / (1 - ab)))  # the probability of (1, 1)
        assert abs(claim(beta, ab_prev, ab, 1 - (2 * plus - 1) ** 2) - counted) < 1e-6


@equation("2.22", "jensen")
def test_jensen():
    def claim(q, p, last, x0):
        return sum(
            share
            * (
                -math.log(last[w[3]])
                - sum(math.log(p[t][w[t + 1], w[t]] / q[t][w[t], w[t + 1]]) for t in range(3))
            )
            for w, share in ways(q, x0)
        )

    for seed in range(4):
        q, p, last = chain(seed)
        for x0 in range(3):
            right = claim(q, p, last, x0)
            assert abs(right - the_bound(q, p, last, x0)) < 1e-12
            assert evidence(q, p, last, x0) <= right
    # With the chain's own way back, for x0 known, it is an equality.
    start = np.eye(3)[1]
    way = [start, start @ q[0], start @ q[0] @ q[1], start @ q[0] @ q[1] @ q[2]]
    back = [np.nan_to_num((way[t][:, None] * q[t]).T / way[t + 1][:, None]) + 1e-300 for t in range(3)]
    assert abs(claim(q, back, way[3], 1) - evidence(q, back, way[3], 1)) < 1e-9


@equation("2.23", "turned-round")
def test_turned_round():
    def claim(back, now, before):
        return back * now / before

    beta, ab = 0.3, bars([0.2, 0.3])
    x0, x_t, u = 0.9, 0.4, np.linspace(-1, 2, 7)
    mean = posterior_mean(x_t, x0, beta, ab[1])
    variance = moments(before_given(x_t, beta, ab[1], x0))[1]
    now, before = gaussian(x_t, ab[2] ** 0.5 * x0, 1 - ab[2]), gaussian(u, ab[1] ** 0.5 * x0, 1 - ab[1])
    right = claim(gaussian(u, mean, variance), now, before)
    assert abs(right - gaussian(x_t, (1 - beta) ** 0.5 * u, beta)).max() < 1e-9


@equation("2.24", "telescope")
def test_telescope():
    def claim(last, first):
        return last / first

    ab, xs = bars(np.linspace(0.1, 0.3, 6)), normal(7)
    densities = [gaussian(xs[t], ab[t] ** 0.5 * xs[0], 1 - ab[t]) for t in range(1, 7)]
    assert (
        abs(np.prod([b / a for a, b in zip(densities, densities[1:])]) - claim(densities[-1], densities[0]))
        < 1e-9
    )


@equation("2.25", "elbo")
def test_elbo():
    def claim(end, middle, last_step):
        return end + sum(middle) - last_step

    def kl(a, b):
        return float(sum(i * math.log(i / j) for i, j in zip(a, b)))

    for seed in range(3):
        q, p, last = chain(seed)
        for x0 in range(3):
            now = [np.eye(3)[x0]]
            for t in range(3):
                now.append(now[-1] @ q[t])
            middle = []
            for t in (1, 2):  # from x_{t+1} back to x_t
                posterior = (now[t][:, None] * q[t]).T / now[t + 1][:, None]
                middle.append(sum(now[t + 1][y] * kl(posterior[y], p[t][y]) for y in range(3)))
            last_step = sum(now[1][y] * math.log(p[0][y, x0]) for y in range(3))
            assert abs(claim(kl(now[3], last), middle, last_step) - the_bound(q, p, last, x0)) < 1e-12


@equation("2.26", "kl-of-gaussians")
def test_kl_of_gaussians():
    def claim(m1, s1, m2, s2):
        return math.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 1 / 2

    for m1, s1, m2, s2 in ((0.5, 1.0, -0.3, 0.7), (1.0, 0.4, 0.5, 1.1), (0.2, 0.6, 0.2, 0.6)):
        first, second = gaussian(GRID, m1, s1**2), gaussian(GRID, m2, s2**2)
        integral = (first * (np.log(first + 1e-300) - np.log(second + 1e-300))).sum() * CELL
        assert abs(claim(m1, s1, m2, s2) - integral) < 1e-6


@equation("2.27", "weighted-noise")
def test_weighted_noise():
    def claim(beta, alpha, ab, sigma2, noise, guess):
        return beta**2 / (2 * sigma2 * alpha * (1 - ab)) * np.sum((noise - guess) ** 2)

    ab = bars(BETAS)
    x_t, noise, guess = normal(3, 6)
    for t in (2, 3):
        means = [
            np.array(
                [
                    posterior_mean(x, (x - (1 - ab[t]) ** 0.5 * e) / ab[t] ** 0.5, BETAS[t - 1], ab[t - 1])
                    for x, e in zip(x_t, es)
                ]
            )
            for es in (noise, guess)
        ]
        expected = ((means[0] - means[1]) ** 2).sum() / (2 * 0.37)
        assert abs(claim(BETAS[t - 1], 1 - BETAS[t - 1], ab[t], 0.37, noise, guess) - expected) < 1e-8


@equation("2.28", "weighted-picture")
def test_weighted_picture():
    def claim(beta, ab_prev, ab, snr_prev, snr, x0, guess):
        square = np.sum((x0 - guess) ** 2)
        return ab_prev * beta / (2 * (1 - ab_prev) * (1 - ab)) * square, 0.5 * (snr_prev - snr) * square

    ab = bars(BETAS)
    x0, guess = normal(2, 6)
    for t in (2, 3):
        means = [
            np.array([posterior_mean(0.4, x, BETAS[t - 1], ab[t - 1]) for x in xs]) for xs in (x0, guess)
        ]
        tilde = moments(before_given(0.4, BETAS[t - 1], ab[t - 1], x0=0.0))[1]
        expected = ((means[0] - means[1]) ** 2).sum() / (2 * tilde)
        schedule = NoiseSchedule(torch.tensor(BETAS))
        snr_prev, snr = float(schedule.snr(t - 2)), float(schedule.snr(t - 1))
        both = claim(BETAS[t - 1], ab[t - 1], ab[t], snr_prev, snr, x0, guess)
        assert all(abs(right - expected) < 1e-8 for right in both)


@equation("2.29", "last-term")
def test_last_term():
    def claim(sigma2, squared):
        return 0.5 * math.log(2 * math.pi * sigma2) + squared / (2 * sigma2)

    # The mean of -ln p(x_0 | x_1) over pairs, p the Gaussian about the exact guess; by integrals over both.
    ab, sigma2, places = 0.9, 0.07, np.linspace(-4, 4, 801)
    guess = np.array([original_given(x, ab)[0] for x in places])
    squared = minus_log = 0.0
    for x0, share in zip(GRID[::20], clouds(GRID[::20], 1.0) * 20 * CELL):
        weights = share * gaussian(places, ab**0.5 * x0, 1 - ab) * (places[1] - places[0])
        squared += (weights * (x0 - guess) ** 2).sum()
        minus_log -= (weights * np.log(gaussian(x0, guess, sigma2) + 1e-300)).sum()
    assert abs(claim(sigma2, squared) - minus_log) < 1e-4
