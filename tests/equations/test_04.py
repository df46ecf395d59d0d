"""Chapter 4: samplers."""

import json
import math
from pathlib import Path

import numpy as np
import sympy as sp
import torch

from minisd.samplers import ancestral_sigmas, ddim_step, lms, multistep_weights
from minisd.schedule import jump_posterior
from minisd.teaching.exercises.ch04 import KAPPAS

from . import equation

CHAPTERS = Path(__file__).parent.parent.parent / "chapters"

PLACES, SHARES, STD = (
    np.array([-1.0, 0.4, 1.5]),
    np.array([0.5, 0.2, 0.3]),
    0.3,
)  # data: three bells on a line
GRID = np.linspace(-8, 8, 4001)
CELL = GRID[1] - GRID[0]


def bell(x, mean, std):
    return np.exp(-((x - mean) ** 2) / (2 * std**2)) / (math.sqrt(2 * math.pi) * std)


def data(x):
    """The density of x_0."""
    return sum(share * bell(x, place, STD) for share, place in zip(SHARES, PLACES))


def blurred(x, sigma):
    """q(x; sigma), the density of x_0 + sigma noise: bells again."""
    return sum(share * bell(x, place, math.hypot(STD, sigma)) for share, place in zip(SHARES, PLACES))


def average(x, sigma, what):
    """E[what(x_0) | x] at one x, an integral over x_0 with Bayes' weights."""
    weights = data(GRID) * bell(x, GRID, sigma)
    return (weights * what(GRID)).sum() / weights.sum()


def noise_at(x, sigma):
    return average(x, sigma, lambda x0: (x - x0) / sigma)


def picture_at(x, sigma):
    return average(x, sigma, lambda x0: x0)


def slope(f, x, h=1e-4):
    return (f(x + h) - f(x - h)) / (2 * h)


def curve(x, sigma, sigma_next, steps=400):
    """The curve dx/dsigma = E[noise | x], by the midpoint rule in ln sigma."""
    levels = np.geomspace(sigma, sigma_next, steps + 1)
    for a, b in zip(levels, levels[1:]):
        middle = math.sqrt(a * b)
        half = x + (middle - a) * noise_at(x, a)
        x = x + math.log(b / a) * middle * noise_at(half, middle)
    return x


@equation("4.1", "marginal")
def test_marginal():
    def claim(jump, density, width):
        return np.sum(jump * density * width)

    rng, ab = np.random.default_rng(0), 0.6
    x0 = rng.choice(PLACES, 400_000, p=SHARES) + STD * rng.standard_normal(400_000)
    x_t = ab**0.5 * x0 + (1 - ab) ** 0.5 * rng.standard_normal(400_000)
    for place in (-0.7, 0.3, 1.2):
        counted = (abs(x_t - place) < 0.05).mean() / 0.1
        jump = bell(place, ab**0.5 * GRID, (1 - ab) ** 0.5)
        assert abs(counted - claim(jump, data(GRID), CELL)) < 0.02


@equation("4.2", "score-of-a-jump")
def test_score_of_a_jump():
    def claim(x_t, x0, ab, noise):
        return -(x_t - ab**0.5 * x0) / (1 - ab), -noise / (1 - ab) ** 0.5

    x0, noise, ab = 0.7, -1.3, 0.6
    x_t = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    measured = slope(lambda x: math.log(bell(x, ab**0.5 * x0, (1 - ab) ** 0.5)), x_t)
    left, right = claim(x_t, x0, ab, noise)
    assert abs(left - measured) < 1e-6 and abs(right - measured) < 1e-6


@equation("4.3", "score-is-an-average")
def test_score_is_an_average():
    def claim(jump, density, marginal, slopes, back):
        return np.sum(jump * density / marginal * slopes) * CELL, np.sum(back * slopes) * CELL

    for x_t, ab in ((0.3, 0.7), (-1.1, 0.2)):
        width = math.sqrt(ab * STD**2 + 1 - ab)

        def marginal(x, ab=ab, width=width):
            return sum(share * bell(x, ab**0.5 * place, width) for share, place in zip(SHARES, PLACES))

        jump = bell(x_t, ab**0.5 * GRID, (1 - ab) ** 0.5)
        weights = jump * data(GRID)
        slopes = np.array(
            [
                slope(lambda x, y=y, ab=ab: math.log(bell(x, ab**0.5 * y, (1 - ab) ** 0.5) + 1e-300), x_t)
                for y in GRID
            ]
        )
        left, right = claim(jump, data(GRID), marginal(x_t), slopes, weights / weights.sum() / CELL)
        measured = slope(lambda x: math.log(marginal(x)), x_t)
        assert abs(left - measured) < 1e-5 and abs(right - measured) < 1e-5


@equation("4.4", "score-is-noise")
def test_score_is_noise():
    def claim(mean_noise, ab):
        return -mean_noise / (1 - ab) ** 0.5

    for x_t, ab in ((0.3, 0.7), (-1.1, 0.2), (0.9, 0.95)):

        def density(x, ab=ab):
            return sum(
                s * bell(x, ab**0.5 * p, math.sqrt(ab * STD**2 + 1 - ab)) for s, p in zip(SHARES, PLACES)
            )

        weights = data(GRID) * bell(x_t, ab**0.5 * GRID, (1 - ab) ** 0.5)
        mean_noise = (weights * (x_t - ab**0.5 * GRID) / (1 - ab) ** 0.5).sum() / weights.sum()
        assert abs(claim(mean_noise, ab) - slope(lambda x: math.log(density(x)), x_t)) < 1e-5


@equation("4.5", "exploding")
def test_exploding():
    def claim(x0, noise, ab):
        return x0 + ((1 - ab) / ab) ** 0.5 * noise

    x0, noise = np.random.default_rng(0).standard_normal((2, 20))
    for ab in (0.9, 0.3, 0.005):
        x_t = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
        assert abs(claim(x0, noise, ab) - x_t / ab**0.5).max() < 1e-10


@equation("4.6", "back-to-preserving")
def test_back_to_preserving():
    def claim(x, sigma):
        return 1 / (1 + sigma**2), x / (1 + sigma**2) ** 0.5

    for ab in (0.9, 0.3, 0.005):
        x_t, sigma = 0.8, ((1 - ab) / ab) ** 0.5
        bar, back = claim(x_t / ab**0.5, sigma)
        assert abs(bar - ab) < 1e-12 and abs(back - x_t) < 1e-12


@equation("4.7", "two-guesses")
def test_two_guesses():
    def claim(x, sigma, noise, picture):
        return x - sigma * noise, -noise / sigma, (picture - x) / sigma**2

    for x, sigma in ((0.3, 0.5), (-1.4, 1.2), (2.0, 0.3)):
        picture, by_noise, by_picture = claim(x, sigma, noise_at(x, sigma), picture_at(x, sigma))
        score = slope(lambda y, sigma=sigma: math.log(blurred(y, sigma)), x)
        assert abs(picture - picture_at(x, sigma)) < 1e-9
        assert abs(by_noise - score) < 1e-5 and abs(by_picture - score) < 1e-5


@equation("4.8", "ddim-is-euler")
def test_ddim_is_euler():
    def claim(x, picture, noise, sigma, sigma_next):
        return picture + sigma_next * noise, x + (sigma_next - sigma) * noise

    x0, noise = np.random.default_rng(0).standard_normal((2, 20))
    ab, ab_next = 0.2, 0.7
    sigma, sigma_next = (((1 - a) / a) ** 0.5 for a in (ab, ab_next))
    ddim = ddim_step(x0, noise, ab, ab_next, 0.0, None) / ab_next**0.5
    assert (
        max(abs(side - ddim).max() for side in claim(x0 + sigma * noise, x0, noise, sigma, sigma_next))
        < 1e-12
    )


@equation("4.9", "ode")
def test_ode():
    def claim(noise):
        return +noise

    # One bell of data: the point that keeps its place in the crowd is x = m + (x_0 - m) sqrt(std^2 + sigma^2)
    # / std.
    for x0, sigma in ((1.4, 0.8), (-0.2, 3.0)):

        def path(s, x0=x0):
            return 0.5 + (x0 - 0.5) * math.hypot(STD, s) / STD

        x = path(sigma)
        weights = bell(GRID, 0.5, STD) * bell(x, GRID, sigma)
        noise = (weights * (x - GRID) / sigma).sum() / weights.sum()
        assert abs(slope(path, sigma) - claim(noise)) < 1e-5


@equation("4.10", "continuity")
def test_continuity():
    def claim(flow, x):
        return -sp.diff(flow, x)

    # A crowd that starts as e^{-y^2} and moves by y -> x = (y + s) e^s: its density and velocity by change of
    # variable.
    x, s = sp.symbols("x s", real=True)
    y = x * sp.exp(-s) - s
    density = sp.exp(-(y**2)) * sp.diff(y, x)
    velocity = (y + s) * sp.exp(s) + sp.exp(s)
    difference = sp.diff(density, s) - claim(density * velocity, x)
    assert all(
        abs(float(difference.subs({x: a, s: b}))) < 1e-12 for a, b in ((0.3, 0.2), (-1.0, 0.5), (2.0, 0.1))
    )


@equation("4.11", "one-bell-flows")
def test_one_bell_flows():
    def claim(bell, x, x0, sigma):
        return ((x - x0) ** 2 / sigma**3 - 1 / sigma) * bell, -sp.diff(bell * (x - x0) / sigma, x)

    x, x0 = sp.symbols("x x0", real=True)
    sigma = sp.symbols("sigma", positive=True)
    bell = sp.exp(-((x - x0) ** 2) / (2 * sigma**2)) / (sp.sqrt(2 * sp.pi) * sigma)
    at = {x: 0.7, x0: -0.4, sigma: 0.9}
    sides = [float(side.subs(at)) for side in claim(bell, x, x0, sigma)]
    assert max(abs(side - float(sp.diff(bell, sigma).subs(at))) for side in sides) < 1e-10


@equation("4.12", "crowd-flows")
def test_crowd_flows():
    def claim(density, velocity, x):
        return -slope(lambda y: density(y) * velocity(y), x)

    for x, sigma in ((0.2, 0.4), (-1.3, 0.9), (1.0, 0.25)):
        of_noise = lambda y, s=sigma: average(y, s, lambda x0: (y - x0) / s)  # noqa: E731  the middle of (4.12)
        of_picture = lambda y, s=sigma: (y - picture_at(y, s)) / s  # noqa: E731  its right end, by (4.7)
        for velocity in (of_noise, of_picture):
            change = slope(lambda s, x=x: blurred(x, s), sigma)
            assert abs(claim(lambda y, s=sigma: blurred(y, s), velocity, x) - change) < 1e-5


@equation("4.13", "quantile-kept")
def test_quantile_kept():
    def claim(by_sigma, by_x, velocity, density, noise):
        return by_sigma + by_x * velocity, -density * noise + density * noise

    def rank(x, sigma):
        width = math.hypot(STD, sigma) * 2**0.5
        return sum(s * 0.5 * (1 + math.erf((x - p) / width)) for s, p in zip(SHARES, PLACES))

    x, sigma = 0.6, 0.7
    noise, density = noise_at(x, sigma), blurred(x, sigma)
    by_sigma, by_x = slope(lambda s: rank(x, s), sigma), slope(lambda y: rank(y, sigma), x)
    left, right = claim(by_sigma, by_x, noise, density, noise)
    assert abs(left) < 1e-6 and abs(right) < 1e-12
    assert abs(by_sigma + density * noise) < 1e-6 and abs(by_x - density) < 1e-6  # the middle, term by term
    assert abs(rank(curve(3.0, 4.0, 0.3), 0.3) - rank(3.0, 4.0)) < 1e-4


@equation("4.14", "taylor")
def test_taylor():
    def claim(x, h, first, second):
        return x + h * first + h**2 / 2 * second

    # One bell: x(sigma) = sqrt(1 + sigma^2) for the start x_0 = 1; sympy gives its derivatives.
    s = sp.symbols("s", positive=True)
    path = sp.sqrt(1 + s**2)
    at = [float(sp.diff(path, s, k).subs(s, 0.8)) for k in range(3)]
    off = [abs(float(path.subs(s, 0.8 + h)) - claim(at[0], h, at[1], at[2])) for h in (-0.02, -0.01)]
    assert off[1] < 1e-6 and 6 < off[0] / off[1] < 10  # what is left is of third order


@equation("4.15", "order")
def test_order():
    def claim(constant, n, p, e_n, e_2n):
        return constant / n**p, math.log2(e_n / e_2n)

    # Euler and the midpoint rule on y' = y over [0, 1]: the constants are e / 2 and e / 6.
    for p, constant, factor in (
        (1, math.e / 2, lambda h: 1 + h),
        (2, math.e / 6, lambda h: 1 + h + h**2 / 2),
    ):
        e_n, e_2n = (math.e - factor(1 / n) ** n for n in (400, 800))
        error, order = claim(constant, 400, p, e_n, e_2n)
        assert abs(error / e_n - 1) < 0.02 and abs(order - p) < 0.02


@equation("4.16", "karras-grid")
def test_karras_grid():
    def claim(i, n, low, high, rho):
        return (high ** (1 / rho) + i / n * (low ** (1 / rho) - high ** (1 / rho))) ** rho

    n = 8
    ours = [claim(i, n, 0.03, 14.6, 7) for i in range(n + 1)]
    evenly = np.linspace(14.6 ** (1 / 7), 0.03 ** (1 / 7), n + 1) ** 7
    assert abs(ours - evenly).max() < 1e-9


@equation("4.17", "heun")
def test_heun():
    def claim(x, h, f, sigma):
        return x + h / 2 * (f(x, sigma) + f(x + h * f(x, sigma), sigma + h))

    def f(x, sigma):  # x' = x sigma, whose solution is x e^{sigma^2 / 2}
        return x * sigma

    off = [abs(claim(0.7, h, f, 1.1) - 0.7 * math.exp(((1.1 + h) ** 2 - 1.1**2) / 2)) for h in (-0.02, -0.01)]
    assert off[1] < 1e-5 and 6 < off[0] / off[1] < 10


@equation("4.18", "integral")
def test_integral():
    def claim(x, slopes, width):
        return x + np.sum(slopes) * width

    x, levels = 1.1, np.linspace(1.4, 0.5, 401)
    places, y = [], x
    for sigma, sigma_next in zip(levels, levels[1:]):
        places.append(noise_at(curve(y, sigma, (sigma + sigma_next) / 2, steps=1), (sigma + sigma_next) / 2))
        y = curve(y, sigma, sigma_next, steps=1)
    assert abs(claim(x, np.array(places), levels[1] - levels[0]) - curve(x, 1.4, 0.5)) < 1e-4


@equation("4.19", "moments")
def test_moments():
    def claim(sigma, sigma_next, m):
        return (sigma_next ** (m + 1) - sigma ** (m + 1)) / (m + 1)

    s, places, sigma_next = sp.symbols("s"), [3.0, 3.7, 5.0, 5.4], 2.2
    # the areas of the polynomials that are 1 at one place and 0 at the others: no equations are solved
    weights = []
    for here in places:
        others = [place for place in places if place != here]
        area = np.polyint(np.poly(others) / np.prod([here - place for place in others]))
        weights.append(np.polyval(area, sigma_next) - np.polyval(area, 3.0))
    assert abs(np.array(weights) - multistep_weights(places, sigma_next)).max() < 1e-9
    for m in range(4):
        exact = float(sp.integrate(s**m, (s, 3.0, sigma_next)))
        assert abs(claim(3.0, sigma_next, m) - exact) < 1e-9 * abs(exact) + 1e-9
        assert abs(sum(w * p**m for w, p in zip(weights, places)) - exact) < 1e-8 * (1 + abs(exact))


@equation("4.20", "two-points")
def test_two_points():
    def claim(h, before):
        return h + h**2 / (2 * before), -(h**2) / (2 * before)

    for now, last, following in ((3.0, 4.0, 2.5), (1.0, 3.0, 0.2)):
        line = (
            np.polyfit([now, last], [0.0, 1.0], 1),
            np.polyfit([now, last], [1.0, 0.0], 1),
        )  # 0 and 1, 1 and 0
        areas = [
            np.polyval(np.polyint(p), following) - np.polyval(np.polyint(p), now) for p in (line[1], line[0])
        ]
        assert max(abs(a - b) for a, b in zip(claim(following - now, now - last), areas)) < 1e-10


@equation("4.21", "adams-bashforth")
def test_adams_bashforth():
    def claim(h):
        return [h / 24 * 55, h / 24 * -59, h / 24 * 37, h / 24 * -9]

    x = sp.symbols("x")
    for j, weight in enumerate(claim(1)):
        places = [0, -1, -2, -3]
        lagrange = sp.prod([sp.Rational(1, places[j] - p) * (x - p) for p in places if p != places[j]])
        assert abs(weight - float(sp.integrate(lagrange, (x, 0, 1)))) < 1e-12
    assert abs(sum(claim(0.5)) - 0.5) < 1e-12


@equation("4.22", "pndm-defect")
def test_pndm_defect():
    def claim(area, sigma, sigma_next, h, noise_area, noise_dot, sigma_dot_dot):
        return area - (sigma_next - sigma) * (1 / h) * noise_area, h**3 / 12 * noise_dot * sigma_dot_dot

    u, h = sp.symbols("u h")
    noise, sigma = (
        2 + 3 * u + u**2 + 5 * u**3,
        1 + u + 4 * u**2 + 2 * u**3,
    )  # noise' = 3 and sigma'' = 8 at u = 0
    step = (u, -h / 2, h / 2)
    proper, alone = sp.integrate(noise * sp.diff(sigma, u), step), sp.integrate(noise, step)
    left, right = claim(proper, sigma.subs(u, -h / 2), sigma.subs(u, h / 2), h, alone, 3, 8)
    assert sp.expand(left) != 0 and sp.expand(left - right).as_poly(h).monoms()[-1][0] >= 5


@equation("4.23", "lambda")
def test_lambda():
    def claim(ab, snr, sigma):
        return math.log(ab**0.5 / (1 - ab) ** 0.5), 0.5 * math.log(snr), -math.log(sigma)

    for ab in (0.9, 0.5, 0.02):
        x0, noise = np.random.default_rng(0).standard_normal((2, 200_000))
        loud = 0.5 * math.log((ab**0.5 * x0).var() / ((1 - ab) ** 0.5 * noise).var())
        assert max(abs(v - loud) for v in claim(ab, ab / (1 - ab), ((1 - ab) / ab) ** 0.5)) < 0.01


@equation("4.24", "ode-in-lambda")
def test_ode_in_lambda():
    def claim(sigma, noise, picture, x):
        return -sigma * noise, picture - x

    x, sigma = 0.9, 0.8
    moved = [curve(x, sigma, sigma * math.exp(-d), steps=20) for d in (-1e-3, 1e-3)]
    measured = (moved[1] - moved[0]) / 2e-3
    assert (
        max(abs(side - measured) for side in claim(sigma, noise_at(x, sigma), picture_at(x, sigma), x)) < 1e-4
    )


@equation("4.25", "exact-linear-part")
def test_exact_linear_part():
    def claim(x, sigma, sigma_next, end, pictures, levels, width):
        return sigma_next / sigma * x + np.sum(np.exp(levels - end) * pictures) * width

    level, end, x = -0.6, 0.3, 1.3
    edges = np.linspace(level, end, 301)
    width = edges[1] - edges[0]
    middles, y, pictures = edges[:-1] + width / 2, x, []
    for a, b, middle in zip(edges, edges[1:], middles):
        at_middle = curve(y, math.exp(-a), math.exp(-middle), steps=1)
        pictures.append(picture_at(at_middle, math.exp(-middle)))
        y = curve(y, math.exp(-a), math.exp(-b), steps=1)
    ours = claim(x, math.exp(-level), math.exp(-end), end, np.array(pictures), middles, width)
    assert abs(ours - y) < 1e-4


@equation("4.26", "picture-held-still")
def test_picture_held_still():
    def claim(x, picture, sigma, sigma_next, x_t, ab, ab_next):
        ratio = (1 - ab_next) ** 0.5 / (1 - ab) ** 0.5
        return (
            sigma_next / sigma * x + (1 - sigma_next / sigma) * picture,
            ratio * x_t + (ab_next**0.5 - ratio * ab**0.5) * picture,
        )

    ab, ab_next, picture, x_t = 0.2, 0.7, 0.4, -1.1
    sigma, sigma_next = (((1 - a) / a) ** 0.5 for a in (ab, ab_next))
    noise = (x_t - ab**0.5 * picture) / (1 - ab) ** 0.5
    left, right = claim(x_t / ab**0.5, picture, sigma, sigma_next, x_t, ab, ab_next)
    ddim = ddim_step(picture, noise, ab, ab_next, 0.0, None)
    assert abs(left * ab_next**0.5 - ddim) < 1e-12 and abs(right - ddim) < 1e-12


@equation("4.27", "second-order-picture")
def test_second_order_picture():
    def claim(picture, last, r):
        return picture + 1 / (2 * r) * (picture - last)

    level, before, h = (
        0.3,
        0.5,
        0.2,
    )  # a picture that is a straight line in lambda: halfway the guess is exact
    at = [2 - 3 * l for l in (level - before, level, level + h / 2)]  # noqa: E741
    assert abs(claim(at[1], at[0], before / h) - at[2]) < 1e-12
    # Instead of D in (4.26) it misses the integral of (4.25) by h^3 only; D itself misses it by h^2.
    off = []
    for h in (0.02, 0.01):
        y = (np.arange(1000) + 0.5) * h / 1000
        exact = (np.exp(y - h) * (2 - 3 * y)).sum() * h / 1000
        off.append(abs((1 - math.exp(-h)) * claim(2.0, 2.0 + 3 * 0.7 * h, 0.7) - exact))
    assert off[1] < 1e-6 and 6 < off[0] / off[1] < 10


@equation("4.28", "posterior-exploding")
def test_posterior_exploding():
    def claim(x, x0, sigma, sigma_next):
        return (
            x0 + sigma_next**2 / sigma**2 * (x - x0),
            sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2,
        )

    table, x, x0 = torch.tensor([0.7, 0.2], dtype=torch.float64), 1.9, 0.4
    sigma_next, sigma = ((1 / table - 1) ** 0.5).tolist()
    mean, variance = jump_posterior(table, x0, x * 0.2**0.5, 1, 0)
    ours = claim(x, x0, sigma, sigma_next)
    assert abs(ours[0] - mean / 0.7**0.5) < 1e-12 and abs(ours[1] - variance / 0.7) < 1e-12


@equation("4.29", "up-and-down")
def test_up_and_down():
    def claim(sigma, sigma_next, up, down):
        return sigma_next * (1 - sigma_next**2 / sigma**2) ** 0.5, sigma_next**2 / sigma, up**2 + down**2

    for sigma, sigma_next in ((3.0, 2.0), (1.0, 0.1)):
        x = np.random.default_rng(0).standard_normal((2, 400_000))
        nearer = sigma_next * x[0]  # x' of a picture at 0, and x = x' + more noise: regress x' on x
        further = nearer + (sigma**2 - sigma_next**2) ** 0.5 * x[1]
        share = (nearer * further).mean() / (further**2).mean()
        down, up = ancestral_sigmas(sigma, sigma_next)
        ours = claim(sigma, sigma_next, up, down)
        assert abs(ours[0] - (nearer - share * further).std()) < 0.01
        assert abs(ours[1] - share * sigma) < 0.01 and abs(ours[2] - sigma_next**2) < 1e-12


@equation("4.30", "sde")
def test_sde():
    def claim(noise, step, eta, sigma, fresh):
        return (1 + eta**2) * noise * step + eta * np.sqrt(-2 * sigma * step) * fresh

    # Against DDIM's step at eta with the same fresh noise, which keeps the marginals at any length of step.
    sigma, step, noise, picture = 0.8, -1e-6, -0.7, 0.3
    ab, ab_next = (1 / (1 + level**2) for level in (sigma, sigma + step))
    for eta in (0.4, 1.0):

        def moved(fresh, eta=eta):
            there = ddim_step(np.array(picture), np.array(noise), ab, ab_next, eta, np.array(fresh))
            return there / ab_next**0.5 - (picture + sigma * noise)

        slope_alone = claim(noise, step, eta, sigma, 0.0)
        kick = claim(noise, step, eta, sigma, 1.0) - slope_alone
        assert abs(slope_alone / moved(0.0) - 1) < 1e-3 and abs(kick / (moved(1.0) - moved(0.0)) - 1) < 1e-3


@equation("4.31", "v")
def test_v():
    def claim(ab, noise, x0):
        return ab**0.5 * noise - (1 - ab) ** 0.5 * x0

    angle, x0, noise = 0.7, 0.4, -1.2
    turned = slope(lambda a: math.cos(a) * x0 + math.sin(a) * noise, angle)
    assert abs(claim(math.cos(angle) ** 2, noise, x0) - turned) < 1e-7


@equation("4.32", "v-back")
def test_v_back():
    def claim(ab, x_t, v):
        return ab**0.5 * x_t - (1 - ab) ** 0.5 * v, (1 - ab) ** 0.5 * x_t + ab**0.5 * v

    angle, x0, noise = 0.7, 0.4, -1.2
    x_t = math.cos(angle) * x0 + math.sin(angle) * noise
    v = slope(lambda a: math.cos(a) * x0 + math.sin(a) * noise, angle)
    back = claim(math.cos(angle) ** 2, x_t, v)
    assert abs(back[0] - x0) < 1e-7 and abs(back[1] - noise) < 1e-7


@equation("4.33", "straight-road")
def test_straight_road():
    def claim(tau, x0, noise, x):
        return (1 - tau) * x0 + tau * noise, (1 - tau) * x, tau / (1 - tau)

    x0, noise, tau = 0.4, -1.2, 0.3
    on_the_line = x0 + 0.3 * (noise - x0)
    sigma = 3 / 7
    left, right, level = claim(tau, x0, noise, x0 + sigma * noise)
    assert abs(left - on_the_line) < 1e-12 and abs(right - on_the_line) < 1e-12 and abs(level - sigma) < 1e-12


@equation("4.34", "velocity")
def test_velocity():
    def claim(x, tau, noise, picture, average):
        return -x + (1 - tau) * noise / (1 - tau) ** 2, noise - picture, average

    tau, x = 0.4, 0.9
    sigma = tau / (1 - tau)
    near = [(1 - t) * curve(x, sigma, t / (1 - t), steps=20) for t in (tau - 1e-3, tau + 1e-3)]
    measured = (near[1] - near[0]) / 2e-3
    mean = average(x, sigma, lambda x0: (x - x0) / sigma - x0)
    for side in claim(x, tau, noise_at(x, sigma), picture_at(x, sigma), mean):
        assert abs(side - measured) < 1e-4


@equation("4.35", "flow-is-ddim")
def test_flow_is_ddim():
    def claim(x_tau, tau, tau_next, noise, picture):
        return x_tau + (tau_next - tau) * (noise - picture), (1 - tau_next) * picture + tau_next * noise

    tau, tau_next, picture, noise = 0.8, 0.35, 0.4, -1.2
    ab_of = [1 / (1 + (t / (1 - t)) ** 2) for t in (tau, tau_next)]
    ddim = ddim_step(picture, noise, *ab_of, 0.0, None) / ab_of[1] ** 0.5 * (1 - tau_next)
    left, right = claim((1 - tau) * picture + tau * noise, tau, tau_next, noise, picture)
    assert abs(left - ddim) < 1e-12 and abs(right - ddim) < 1e-12


@equation("4.36", "steep-slope")
def test_steep_slope():
    def claim(kappa, sigma, x, sigma_next):
        return kappa / sigma * x, (sigma_next / sigma) ** kappa * x

    kappa, sigma, x = 2.5, 1.7, 0.8
    levels, y = np.geomspace(sigma, 0.6, 20_001), x
    for now, following in zip(
        levels, levels[1:]
    ):  # small steps of the definition: kappa is the change per ln sigma
        y += kappa * y * math.log(following / now)
    left, right = claim(kappa, sigma, x, 0.6)
    assert abs(right - y) < 1e-3
    assert abs(left - slope(lambda s: claim(kappa, sigma, x, s)[1], sigma)) < 1e-5


@equation("4.37", "steep-multistep")
def test_steep_multistep():
    def claim(x, kappa, weights, levels, history):
        return x + kappa * sum(w / s * old for w, s, old in zip(weights, levels, history))

    kappa, levels = (
        2.5,
        [1.0, 1.02, 1.04, 1.06],
    )  # from true values: the next one is right, to the order of four
    history = [level**kappa for level in levels]
    weights = multistep_weights(levels, 0.98)
    assert abs(claim(1.0, kappa, weights, levels, history) - 0.98**kappa) < 1e-7
    walked = list(
        lms(
            lambda x, sigma: kappa / sigma * x,
            torch.tensor(1.06**kappa, dtype=torch.float64),
            [*levels[::-1], 0.98],
        )
    )
    own = [float(x) for x in walked[2::-1]] + [1.06**kappa]
    assert abs(claim(own[0], kappa, weights, levels, own) - float(walked[-1])) < 1e-12


@equation("4.38", "steepest")
def test_steepest():
    def claim(weights, levels):
        return 2 / sum(abs(w) / s for w, s in zip(weights, levels))

    for k, ratio in ((1, 0.7), (2, 0.7), (3, 0.5), (4, 0.7)):
        levels = [ratio**-j for j in range(k)]
        weights = np.array(multistep_weights(levels, ratio))

        def largest(kappa, weights=weights, levels=levels):
            """Of (4.37)'s companion matrix: a miss dies out while all eigenvalues are below 1 in size."""
            matrix = np.eye(len(weights), k=-1)
            matrix[0] = kappa * weights / np.array(levels)
            matrix[0, 0] += 1
            return abs(np.linalg.eigvals(matrix)).max()

        assert largest(0.99 * claim(weights, levels)) < 1 < largest(1.01 * claim(weights, levels))


def test_the_kappas_of_exercise_12_are_those_that_the_chapter_prints():
    cells = json.loads(next(CHAPTERS.glob("04_*.ipynb")).read_text(encoding="utf-8"))["cells"]
    printed = next(
        "".join(output["text"]).split("guidance 7.5: kappa")[1].splitlines()
        for cell in cells
        for output in cell.get("outputs", [])
        if "guidance 7.5: kappa of both pictures" in "".join(output.get("text", []))
    )
    both = zip(*(map(float, line.split()) for line in printed[1:3]))
    assert [max(kappas) for kappas in both] == list(KAPPAS.values())  # figure 4.19 draws both
