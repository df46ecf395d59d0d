"""Chapter 3: fewer steps, DDIM."""

import json
import math
import re
from pathlib import Path

import numpy as np
import torch

from minisd import NoiseSchedule
from minisd.samplers import ddim_step, predict_original
from minisd.schedule import jump_posterior

from . import equation

N = 400_000  # draws of a Monte-Carlo test: a mean is known to 5 / sqrt(N), five of its standard deviations
CLOSE = 5 / N**0.5
TABLE = NoiseSchedule.scaled_linear().alphas_cumprod.double().numpy()
PLACES = [
    (0.2, 0.5, 0.3),
    (0.05, 0.9, 0.2),
    (0.6, 0.61, 0.55),
    (0.3, 0.8, 0.0),
]  # alpha bar of t and of s, and sigma


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def by_table(predict, x, times):
    """minisd's DDIM steps at eta 0 through alpha bars `times`."""
    for ab_t, ab_s in zip(times, times[1:]):
        noise = predict(x, ab_t)
        x = ddim_step(predict_original(noise, x, ab_t), noise, ab_t, ab_s, 0.0, None)
    return x


def gaussian_noise(width):
    """E[noise | x_t] for data N(0, width^2): the regression line, its slope from the covariance and the
    variance.
    """

    def predict(x, ab):
        return math.sqrt(1 - ab) / (ab * width**2 + 1 - ab) * x

    return predict


def bar_of(psi, width):
    """The alpha bar whose arrow (sqrt(ab) width, sqrt(1 - ab)) has the angle psi."""
    return 1 / (1 + (width * math.tan(psi)) ** 2)


@equation("3.1", "noise-read-back")
def test_noise_read_back():
    def claim(x_t, x0, ab):
        return (x_t - np.sqrt(ab) * x0) / np.sqrt(1 - ab)

    x0, noise = normal(2, 50)
    x0, noise = torch.from_numpy(x0)[:, None], torch.from_numpy(noise)[:, None]
    schedule = NoiseSchedule.scaled_linear()
    for t in (0, 400, 999):
        x_t = schedule.add_noise(x0, noise, torch.full((50,), t))
        assert (
            abs(claim(x_t.numpy(), x0.numpy(), float(schedule.alphas_cumprod[t])) - noise.numpy()).max()
            < 1e-5
        )


@equation("3.2", "keep-and-renew")
def test_keep_and_renew():
    def claim(x0, ab_s, sigma, noise, fresh):
        return np.sqrt(ab_s) * x0 + np.sqrt(1 - ab_s - sigma**2) * noise + sigma * fresh

    noise, fresh = normal(2, N)
    for _, ab_s, sigma in PLACES:
        x = claim(2.0, ab_s, sigma, noise, fresh)
        assert abs(x.mean() - 2 * ab_s**0.5) < CLOSE
        assert abs(x.var() / (1 - ab_s) - 1) < 2 * CLOSE
        assert abs((x * fresh).mean() - sigma) < 3 * CLOSE  # the fresh noise comes in with its sign and width
        assert (x * noise).mean() > 0.1  # and the old noise is kept, not turned round


@equation("3.3", "q-sigma")
def test_q_sigma():
    def claim(x_t, x0, ab_t, ab_s, sigma):
        mean = np.sqrt(ab_s) * x0 + np.sqrt(1 - ab_s - sigma**2) * (x_t - np.sqrt(ab_t) * x0) / np.sqrt(
            1 - ab_t
        )
        return mean, sigma**2

    # At DDPM's sigma it is DDPM's posterior, which chapter 2 has from Bayes' rule; else minisd's step without
    # dice.
    for t, s in ((500, 499), (700, 300), (999, 5)):
        known, variance = jump_posterior(TABLE, 0.7, -0.4, t, s)
        mean, ours = claim(-0.4, 0.7, TABLE[t], TABLE[s], math.sqrt(variance))
        assert abs(mean - known) < 1e-9 and abs(ours - variance) < 1e-12
        noise = (-0.4 - TABLE[t] ** 0.5 * 0.7) / (1 - TABLE[t]) ** 0.5
        assert (
            abs(
                claim(-0.4, 0.7, TABLE[t], TABLE[s], 0.0)[0]
                - ddim_step(0.7, noise, TABLE[t], TABLE[s], 0, None)
            )
            < 1e-9
        )


@equation("3.4", "same-mean")
def test_same_mean():
    def claim(x0, ab_t, ab_s, kappa, mean_t):
        return np.sqrt(ab_s) * x0 + kappa * (mean_t - np.sqrt(ab_t) * x0)

    for ab_t, ab_s, sigma in PLACES:
        kappa = math.sqrt((1 - ab_s - sigma**2) / (1 - ab_t))
        # With the right mean at t the right mean at s comes out; a mean that is off by 1 at t is off by kappa
        # at s.
        assert abs(claim(2.0, ab_t, ab_s, kappa, 2 * ab_t**0.5) - 2 * ab_s**0.5) < 1e-12
        x_t = ab_t**0.5 * 2 + 1 + (1 - ab_t) ** 0.5 * normal(N)
        noise = (x_t - ab_t**0.5 * 2) / (1 - ab_t) ** 0.5
        x_s = ab_s**0.5 * 2 + (1 - ab_s - sigma**2) ** 0.5 * noise + sigma * normal(N, seed=1)
        assert abs(claim(2.0, ab_t, ab_s, kappa, x_t.mean()) - x_s.mean()) < CLOSE


@equation("3.5", "same-variance")
def test_same_variance():
    def claim(kappa, ab_t, sigma):
        return kappa**2 * (1 - ab_t) + sigma**2

    for ab_t, ab_s, sigma in ((0.2, 0.5, 0.3), (0.05, 0.9, 0.2), (0.6, 0.61, 0.55)):
        kappa = math.sqrt((1 - ab_s - sigma**2) / (1 - ab_t))
        assert abs(claim(kappa, ab_t, sigma) - (1 - ab_s)) < 1e-12
        x_t = (1 - ab_t) ** 0.5 * normal(N)
        assert (
            abs((kappa * x_t + sigma * normal(N, seed=1)).var() / claim(kappa, ab_t, sigma) - 1) < 2 * CLOSE
        )


@equation("3.6", "marginals-agree")
def test_marginals_agree():
    def claim(x0, ab):
        return np.sqrt(ab) * x0, 1 - ab

    times, n = [999, 700, 400, 100, 10], 100_000
    for share in (0.0, 0.4, 0.98):
        x, rng = (
            TABLE[999] ** 0.5 * 1.5 + (1 - TABLE[999]) ** 0.5 * normal(n),
            np.random.default_rng(1),
        )  # a jump
        for t, s in zip(times, times[1:]):
            noise = (x - TABLE[t] ** 0.5 * 1.5) / (1 - TABLE[t]) ** 0.5
            sigma = math.sqrt(share * (1 - TABLE[s]))
            x = (
                TABLE[s] ** 0.5 * 1.5
                + math.sqrt(1 - TABLE[s] - sigma**2) * noise
                + sigma * rng.standard_normal(n)
            )
            mean, variance = claim(1.5, TABLE[s])
            assert abs(x.mean() - mean) < 5 * math.sqrt(variance / n)
            assert abs(x.var() / variance - 1) < 5 * math.sqrt(2 / n)


@equation("3.7", "covariance")
def test_covariance():
    def claim(ab_t, ab_s, sigma):
        return np.sqrt(1 - ab_s - sigma**2) * np.sqrt(1 - ab_t)

    x_0, noise, fresh = 1.3, normal(N), normal(N, seed=1)
    for ab_t, ab_s, sigma in PLACES:
        x_t = ab_t**0.5 * x_0 + (1 - ab_t) ** 0.5 * noise
        read = (x_t - ab_t**0.5 * x_0) / (1 - ab_t) ** 0.5
        x_s = ab_s**0.5 * x_0 + (1 - ab_s - sigma**2) ** 0.5 * read + sigma * fresh
        assert abs(np.cov(x_s, x_t)[0, 1] - claim(ab_t, ab_s, sigma)) < 2 * CLOSE


@equation("3.8", "covariance-of-doses")
def test_covariance_of_doses():
    def claim(ab_t, ab_s):
        return np.sqrt(ab_t / ab_s) * (1 - ab_s)

    betas = np.linspace(0.02, 0.3, 8)
    bars, x, stands = np.cumprod(1 - betas), np.full(N, 1.3), []
    rng = np.random.default_rng(0)
    for beta in betas:
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * rng.standard_normal(N)
        stands.append(x)
    for s, t in ((0, 3), (2, 7), (4, 5)):
        assert abs(np.cov(stands[s], stands[t])[0, 1] - claim(bars[t], bars[s])) < 2 * CLOSE


@equation("3.9", "ddpm-sigma")
def test_ddpm_sigma():
    def claim(ab_t, ab_s):
        return (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)

    for t, s in (
        (500, 499),
        (999, 500),
        (40, 0),
    ):  # completing the square: one over the sum of the precisions
        alpha = TABLE[t] / TABLE[s]
        precision = alpha / (1 - alpha) + 1 / (1 - TABLE[s])
        assert abs(claim(TABLE[t], TABLE[s]) * precision - 1) < 1e-9


@equation("3.10", "eta")
def test_eta():
    def claim(eta, ab_t, ab_s):
        return eta * np.sqrt((1 - ab_s) / (1 - ab_t)) * np.sqrt(1 - ab_t / ab_s)

    from diffusers import DDIMScheduler

    reference = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", set_alpha_to_one=False
    )
    for eta in (0.0, 0.3, 1.0):
        for t, s in ((981, 961), (501, 301), (41, 21)):
            known = eta * math.sqrt(float(reference._get_variance(t, s)))
            assert abs(claim(eta, TABLE[t], TABLE[s]) - known) < 1e-4


@equation("3.11", "ddim-step")
def test_ddim_step():
    def claim(x_t, noise, ab_t, ab_s, sigma, fresh):
        x0 = (x_t - (1 - ab_t) ** 0.5 * noise) / ab_t**0.5
        return ab_s**0.5 * x0 + (1 - ab_s - sigma**2) ** 0.5 * noise + sigma * fresh

    from diffusers import DDIMScheduler

    reference = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    reference.set_timesteps(10)
    x, noise, fresh = torch.randn(3, 2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    for t, eta in ((901, 0.0), (501, 1.0), (101, 0.4)):
        known = reference.step(noise, t, x, eta=eta, variance_noise=fresh).prev_sample
        ab_t, ab_s = float(TABLE[t]), float(TABLE[t - 100])
        sigma = eta * ((1 - ab_s) / (1 - ab_t)) ** 0.5 * (1 - ab_t / ab_s) ** 0.5
        assert abs(claim(x, noise, ab_t, ab_s, sigma, fresh) - known).max() < 1e-4


@equation("3.12", "spread-lost")
def test_spread_lost():
    def claim(ab_t, ab_s, sigma, variance):
        return (
            sigma**2
            + (np.sqrt(ab_s) - np.sqrt(1 - ab_s - sigma**2) * np.sqrt(ab_t / (1 - ab_t))) ** 2 * variance
        )

    # A picture that is -1 or 1: draw it from what is known at x_t, then step knowing it.
    rng = np.random.default_rng(0)
    for ab_t, ab_s, sigma in PLACES:
        x_t = 0.3
        likely = 1 / (1 + math.exp(-2 * ab_t**0.5 * x_t / (1 - ab_t)))
        x0 = np.where(rng.random(N) < likely, 1.0, -1.0)
        noise = (x_t - ab_t**0.5 * x0) / (1 - ab_t) ** 0.5
        x_s = ab_s**0.5 * x0 + (1 - ab_s - sigma**2) ** 0.5 * noise + sigma * rng.standard_normal(N)
        assert abs(x_s.var() / claim(ab_t, ab_s, sigma, 4 * likely * (1 - likely)) - 1) < 3 * CLOSE


@equation("3.13", "brackets")
def test_brackets():
    def claim(ab_t, ab_s):
        ratio = ab_t / (1 - ab_t) / (ab_s / (1 - ab_s))
        return np.sqrt(ab_s) * (1 - np.sqrt(ratio)), np.sqrt(ab_s) * (1 - ratio)

    # What multiplies the picture in a step that knows it: at x_t = 0 and x_0 = 1 it is the step's mean.
    for t, s in ((500, 499), (700, 300), (999, 5), (21, 1)):
        without, with_dice = claim(TABLE[t], TABLE[s])
        noise = -math.sqrt(TABLE[t] / (1 - TABLE[t]))
        assert abs(without - ddim_step(1.0, noise, TABLE[t], TABLE[s], 0.0, None)) < 1e-9
        assert abs(with_dice - jump_posterior(TABLE, 1.0, 0.0, t, s)[0]) < 1e-9


@equation("3.14", "guess-for-a-gaussian")
def test_guess_for_a_gaussian():
    def claim(x_t, ab, width):
        v = ab * width**2 + 1 - ab
        return np.sqrt(ab) * width**2 / v * x_t, np.sqrt(1 - ab) / v * x_t

    # For a Gaussian pair the best guess is the line of least squares: fit it.
    for ab, width in ((0.3, 0.7), (0.8, 0.2), (0.1, 2.0)):
        x0, noise = width * normal(N), normal(N, seed=1)
        x_t = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
        guesses = claim(1.0, ab, width)
        for target, slope in zip((x0, noise), guesses):
            assert abs((target * x_t).mean() / (x_t**2).mean() - slope) < 3 * CLOSE


@equation("3.15", "step-is-a-cosine")
def test_step_is_a_cosine():
    def claim(x_t, v_t, v_s, psi_t, psi_s):
        return np.sqrt(v_s) / np.sqrt(v_t) * np.cos(psi_t - psi_s) * x_t

    for width in (0.2, 1.0, 3.0):
        for t, s in ((999, 500), (500, 20), (30, 0), (100, 400)):
            v_t, v_s = (TABLE[k] * width**2 + 1 - TABLE[k] for k in (t, s))
            angles = [math.atan2((1 - TABLE[k]) ** 0.5, TABLE[k] ** 0.5 * width) for k in (t, s)]
            noise = gaussian_noise(width)(0.7, TABLE[t])
            x0 = predict_original(noise, 0.7, TABLE[t])
            stepped = TABLE[s] ** 0.5 * x0 + (1 - TABLE[s]) ** 0.5 * noise
            assert abs(claim(0.7, v_t, v_s, *angles) - stepped) < 1e-12


@equation("3.16", "first-order")
def test_first_order():
    def claim(total, n):
        return np.cos(total / n) ** n, 1 - total**2 / (2 * n)

    width, first, last = 0.6, 1.45, 0.1
    for n in (50, 200):
        times = [bar_of(psi, width) for psi in np.linspace(first, last, n + 1)]
        v_first, v_last = (ab * width**2 + 1 - ab for ab in (times[0], times[-1]))
        ratio = by_table(gaussian_noise(width), 1.0, times) * math.sqrt(v_first / v_last)
        exact, about = claim(first - last, n)
        assert abs(ratio - exact) < 1e-9
        assert abs(ratio - about) < 2 / n**2


@equation("3.17", "variance-of-a-walk")
def test_variance_of_a_walk():
    def claim(variance, ab_t, ab_s, sigma, width):
        v = ab_t * width**2 + 1 - ab_t
        f = (np.sqrt(ab_s * ab_t) * width**2 + np.sqrt((1 - ab_s - sigma**2) * (1 - ab_t))) / v
        return f**2 * variance + sigma**2

    for eta, variance, width in ((0.0, 0.5, 0.2), (1.0, 0.9, 0.2), (0.6, 1.3, 1.4)):
        for t, s in ((600, 400), (101, 1)):
            ab_t, ab_s, x = TABLE[t], TABLE[s], math.sqrt(variance) * normal(N)
            noise = gaussian_noise(width)(x, ab_t)
            stepped = ddim_step(predict_original(noise, x, ab_t), noise, ab_t, ab_s, eta, normal(N, seed=1))
            sigma = eta * math.sqrt((1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s))
            assert abs(stepped.var() / claim(variance, ab_t, ab_s, sigma, width) - 1) < 2 * CLOSE
            # And what the recursion loses is what (3.12) says, with a Gaussian's Var[x_0 | x_t].
            v_t, v_s = (ab * width**2 + 1 - ab for ab in (ab_t, ab_s))
            root = math.sqrt((1 - ab_s - sigma**2) * ab_t / (1 - ab_t))
            lost = (math.sqrt(ab_s) - root) ** 2 * width**2 * (1 - ab_t) / v_t
            assert abs(v_s - claim(v_t, ab_t, ab_s, sigma, width) - lost) < 1e-12


@equation("3.18", "straight-line")
def test_straight_line():
    def claim(x_t, ab_t, ab_s, noise):
        return x_t / np.sqrt(ab_t) + (np.sqrt((1 - ab_s) / ab_s) - np.sqrt((1 - ab_t) / ab_t)) * noise

    for t, s in ((999, 500), (500, 480), (20, 0)):
        noise, x_t = 0.6, -1.1
        x_s = ddim_step(predict_original(noise, x_t, TABLE[t]), noise, TABLE[t], TABLE[s], 0.0, None)
        assert abs(claim(x_t, TABLE[t], TABLE[s], noise) - x_s / TABLE[s] ** 0.5) < 1e-9


@equation("3.19", "lerp-variance")
def test_lerp_variance():
    def claim(u):
        return (1 - u) ** 2 + u**2

    a, b = normal(2, N)
    for u in (0.2, 0.5, 0.9):
        assert abs((a + u * (b - a)).var() / claim(u) - 1) < 2 * CLOSE


@equation("3.20", "slerp")
def test_slerp():
    def claim(a, b, u, phi):
        return np.sin((1 - u) * phi) / np.sin(phi) * a + np.sin(u * phi) / np.sin(phi) * b

    a, b = normal(2, 30)
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    phi = math.acos(a @ b)
    aside = (b - (a @ b) * a) / np.linalg.norm(b - (a @ b) * a)  # at right angles to a, towards b
    for u in (0.0, 0.3, 0.5, 1.0):
        assert abs(claim(a, b, u, phi) - (math.cos(u * phi) * a + math.sin(u * phi) * aside)).max() < 1e-12


@equation("3.21", "inversion")
def test_inversion():
    def claim(x0, noise, ab_t):
        return np.sqrt(ab_t) * x0 + np.sqrt(1 - ab_t) * noise

    # If the guess did not change on the way, going up and coming down would cancel; and it is diffusers'
    # inverse step.
    from diffusers import DDIMInverseScheduler

    reference = DDIMInverseScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    reference.set_timesteps(10)
    x_s, noise = -0.8, 0.45
    for s, t in ((101, 201), (501, 601)):
        x_t = claim(predict_original(noise, x_s, TABLE[s]), noise, TABLE[t])
        back = ddim_step(predict_original(noise, x_t, TABLE[t]), noise, TABLE[t], TABLE[s], 0.0, None)
        assert abs(back - x_s) < 1e-9
        known = reference.step(torch.tensor([noise]), t, torch.tensor([x_s])).prev_sample
        assert abs(float(known) - x_t) < 1e-4


@equation("3.22", "round-trip")
def test_round_trip():
    def claim(psis, total, n):
        product = math.prod(np.cos(a - b) ** 2 for a, b in zip(psis, psis[1:]))
        return product, 1 - total**2 / n

    width, n = 0.6, 100
    psis = np.linspace(0.1, 1.45, n + 1)
    bars = [bar_of(psi, width) for psi in psis]
    predict, x = gaussian_noise(width), 1.0
    for ab_s, ab_t in zip(bars, bars[1:]):
        noise = predict(x, ab_s)
        x = ab_t**0.5 * predict_original(noise, x, ab_s) + (1 - ab_t) ** 0.5 * noise
    x = by_table(predict, x, bars[::-1])
    exact, about = claim(psis, 1.35, n)
    assert abs(x - exact) < 1e-9 and abs(x - about) < 5 / n**2


ELSEWHERE = {  # the equations of other chapters that chapter 3 and its solutions refer to
    "1.2": "shift-and-scale",
    "1.3": "variance-scales",
    "1.4": "variances-add",
    "1.5": "round-cloud",
    "1.6": "sum-of-gaussians",
    "1.8": "one-dose",
    "1.13": "jump",
    "1.15": "jump-from-s",
    "1.20": "snr",
    "2.1": "responsibilities",
    "2.2": "guess-in-a-cloud",
    "2.3": "exact-denoiser",
    "2.5": "noise-from-x0",
    "2.11": "average-is-enough",
    "2.15": "beta-tilde",
    "2.19": "variance-back",
    "2.20": "two-variances",
}


def text_of(pattern):
    paths = sorted(Path(__file__).parents[2].glob(pattern))
    cells = [cell for path in paths for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    return "\n".join("".join(cell["source"]) for cell in cells)


def test_references_to_other_chapters_mean_what_they_say():
    """A number that still exists may have come to mean another equation."""
    labels = dict(re.findall(r"<!-- eq (\d+\.\d+) (\S+) -->", text_of("chapters/0[0-2]_*.ipynb")))
    used = set(
        re.findall(r"\(([0-2]\.\d+)\)", text_of("chapters/03_*.ipynb") + text_of("solutions/03_*.ipynb"))
    )
    assert {number: labels.get(number) for number in used} == ELSEWHERE
