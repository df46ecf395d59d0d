"""Chapter 0: A picture from words."""

import numpy as np
import torch

from minisd import NoiseSchedule
from minisd.pipeline import guide
from minisd.samplers import SAMPLERS, predict_original

from . import equation

BARS = NoiseSchedule.scaled_linear().alphas_cumprod.double()


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@equation("0.1", "mix")
def test_mix():
    def claim(alpha_bar, z, noise):
        return alpha_bar**0.5 * z + (1 - alpha_bar) ** 0.5 * noise

    # A walk of doses, and all its noises as one: what a walk from nothing makes of them, brought to variance
    # 1.
    z, betas = normal(5), NoiseSchedule.scaled_linear().betas.double()[:60]
    walked, noises = z, torch.zeros_like(z)
    for beta, fresh in zip(betas, normal(60, 5, seed=1)):
        walked, noises = ((1 - beta) ** 0.5 * x + beta**0.5 * fresh for x in (walked, noises))
    left = torch.cumprod(1 - betas, 0)
    variance = sum(
        beta * left[-1] / left[i] for i, beta in enumerate(betas)
    )  # of `noises`: the squared factors
    assert (claim(BARS[59], z, noises / variance**0.5) - walked).abs().max() < 1e-6


@equation("0.2", "fewer-numbers")
def test_fewer_numbers():
    def claim(height, width):
        return 3 * height * width / (4 * (height / 8) * (width / 8)), 3 * 64 / 4

    for height, width in ((512, 512), (128, 128), (64, 192)):
        counted = np.zeros((3, height, width)).size / np.zeros((4, height // 8, width // 8)).size
        assert claim(height, width) == (counted, counted) == (48, 48)


@equation("0.3", "guess-the-picture")
def test_guess_the_picture():
    def claim(z_t, alpha_bar, noise):
        return (z_t - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5

    z, noise = normal(2, 3, 4)
    for ab in BARS[[0, 500, 999]]:
        assert (claim(ab**0.5 * z + (1 - ab) ** 0.5 * noise, ab, noise) - z).abs().max() < 1e-12


@equation("0.4", "two-errors")
def test_two_errors():
    def claim(alpha_bar, guess, noise):
        return -(((1 - alpha_bar) / alpha_bar) ** 0.5) * (guess - noise)

    z, noise, guess = normal(3, 2, 4)
    for ab in BARS[[0, 50, 500, 950, 999]]:
        mixed = ab**0.5 * z + (1 - ab) ** 0.5 * noise
        z_hat = predict_original(guess, mixed, float(ab))
        assert (claim(ab, guess, noise) - (z_hat - z)).abs().max() < 1e-10
    at = [float(((1 - BARS[t]) / BARS[t]) ** 0.5) for t in (50, 950)]  # as the text tells them
    assert round(at[0], 2) == 0.23 and round(at[1]) == 11


@equation("0.5", "a-little-less-noise")
def test_a_little_less_noise():
    def claim(alpha_bar, guess, noise):
        return alpha_bar**0.5 * guess + (1 - alpha_bar) ** 0.5 * noise

    z = normal(1, 4, 8, 8)
    schedule, ddim = NoiseSchedule.scaled_linear(), SAMPLERS["ddim"]

    def predict(latents, t):
        return torch.sin(latents) + 0.1

    way = ddim.way(schedule, 30)
    step = next(way.walk(predict, z))
    assert way.asked[:2] == [958, 925]
    expected = claim(BARS[925], step.predicted_original, step.noise)
    assert (expected - step.latents).abs().max() < 1e-6


@equation("0.6", "guidance")
def test_guidance():
    def claim(without, words, s):
        return without + s * (words - without)

    without, words = normal(2, 5)
    assert (claim(without, words, 0) - without).abs().max() == 0
    assert (claim(without, words, 1) - words).abs().max() < 1e-12
    assert (claim(without, words, 7.5) - guide(without, words, 7.5)).abs().max() < 1e-12
    assert ((claim(without, words, 3) - words) - 2 * (words - without)).abs().max() < 1e-12
