"""Chapter 2: what students hand in. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import sympy
import torch

from minisd.schedule import NoiseSchedule, jump_posterior

# 2.1

AB_R, AB_S, AB_T = sympy.symbols("ab_r ab_s ab_t", positive=True)
FIRST, SECOND, REST = AB_S / AB_R, AB_T / AB_S, 1 - AB_T / AB_R
CLEANER = sympy.sqrt(FIRST) * (1 - SECOND) / REST
NOISIER = sympy.sqrt(SECOND) * (1 - FIRST) / REST
VARIANCE = (1 - FIRST) * (1 - SECOND) / REST


def by_precisions(ab_r, ab_s, ab_t):
    """Completing the square, as (2.13) and (2.14) do it."""
    alpha, before = ab_t / ab_s, ab_s / ab_r
    a = alpha / (1 - alpha) + 1 / (1 - before)
    return before**0.5 / (1 - before) / a, alpha**0.5 / (1 - alpha) / a, 1 / a


# 2.2


def floors(*values):
    names = [f"dim noise, t = {t}" for t in (0, 250, 500)]
    return dict(zip([*names, "a hundred pictures, t = 250"], values))


# 2.3


def spread_out(grey, x_t):
    return grey.view(-1, 1).repeat(1, x_t.shape[1])


def greys(x_t, mean, variance, alpha_bar, noise_variance):
    """From precisions: of what was known before, and of the average pixel."""
    known = 1 / variance
    seen = x_t.shape[1] * alpha_bar / noise_variance
    return spread_out((known * mean + seen * x_t.mean(1) / alpha_bar**0.5) / (known + seen), x_t)


def speckled(x_t, mean, variance, alpha_bar):
    lean = alpha_bar**0.5 * variance / (alpha_bar * variance + 1 - alpha_bar)
    return mean + lean * (x_t - alpha_bar**0.5 * mean)


def scaled_average(x_t, mean, variance, alpha_bar):
    return spread_out(x_t.sum(1) / x_t.shape[1] / math.sqrt(alpha_bar), x_t)


def around_zero(x_t, mean, variance, alpha_bar):
    return greys(x_t, 0.0, variance, alpha_bar, 1 - alpha_bar)


def average_as_a_pixel(x_t, mean, variance, alpha_bar):
    return speckled(x_t.mean(1, keepdim=True), mean, variance, alpha_bar).repeat(1, x_t.shape[1])


def divided_by_width(x_t, mean, variance, alpha_bar):
    return greys(x_t, mean, variance, alpha_bar, math.sqrt(1 - alpha_bar))


def root_of_the_spread(x_t, mean, variance, alpha_bar):
    return greys(x_t, mean, math.sqrt(variance), alpha_bar, 1 - alpha_bar)


def precise(x_t, mean, variance, alpha_bar):
    return greys(x_t, mean, variance, alpha_bar, 1 - alpha_bar)


def leaning(x_t, mean, variance, alpha_bar):
    """As (2.2), for the average of d pixels: noise of variance (1 - alpha-bar) / d."""
    d = x_t.shape[1]
    gamma = alpha_bar * variance + (1 - alpha_bar) / d
    off = x_t.mean(1, keepdim=True) - alpha_bar**0.5 * mean
    return torch.ones(1, d) * (mean + alpha_bar**0.5 * variance / gamma * off)


def by_covariances(x_t, mean, variance, alpha_bar):
    """The rule for Gaussians of many numbers: Cov[grey, x_t] Cov[x_t]^-1 (x_t - its mean)."""
    d = x_t.shape[1]
    root = alpha_bar**0.5
    covariance = alpha_bar * variance * torch.ones(d, d).double() + (1 - alpha_bar) * torch.eye(d).double()
    factor = torch.linalg.solve(covariance, root * variance * torch.ones(d).double())
    return spread_out(mean + (x_t.double() - root * mean) @ factor, x_t).float()


# 2.4

R, PREV, NOW = sympy.symbols("r ab_prev ab_t", positive=True)
FACTOR = PREV * (1 - NOW / PREV) ** 2 / (1 - NOW) ** 2
OWN = (1 - NOW / PREV) * (1 - PREV) / (1 - NOW)


def correlated(covariance):
    return covariance / (OWN + covariance)


def by_the_four_corners(r, ab_prev, ab_t):
    """The mean of the product less the product of the means, both of the posterior's means."""
    beta = 1 - ab_t / ab_prev
    weight = ab_prev**0.5 * beta / (1 - ab_t)
    product = r * weight**2 + (1 - r) * weight**2
    mean = r * weight - (1 - r) * weight
    return (product - mean * mean) / (product - mean * mean + beta * (1 - ab_prev) / (1 - ab_t))


# 2.5


def widths(tilde, tilde_end, beta, beta_end):
    return {
        "beta tilde: width before the last step": tilde,
        "beta tilde: distance at the end": tilde_end,
        "beta: width before the last step": beta,
        "beta: distance at the end": beta_end,
    }


# 2.6


def noised(x0, noise, t, table):
    return table[t].sqrt() * x0 + (1 - table[t]).sqrt() * noise


def fresh(x, generator):
    return torch.randn(x.shape, generator=generator)


def from_noise(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    x = noise.clone()
    for t in reversed(range(start + 1)):
        x = step(x, predict_noise(x, t), t, fresh(x, generator))
    return x


def from_clean(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    x = x0.clone()
    for t in reversed(range(start + 1)):
        x = step(x, predict_noise(x, t), t, fresh(x, generator))
    return x


def noised_to_the_end(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    x = noised(x0, noise, -1, alphas_cumprod)
    for t in reversed(range(start + 1)):
        x = step(x, predict_noise(x, t), t, fresh(x, generator))
    return x


def one_late(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    x = noised(x0, noise, start, alphas_cumprod)
    for t in reversed(range(start)):
        x = step(x, predict_noise(x, t), t, fresh(x, generator))
    return x


def one_short(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    x, t = noised(x0, noise, start, alphas_cumprod), start
    while t > 0:
        x = step(x, predict_noise(x, t), t, fresh(x, generator))
        t -= 1
    return x


def upwards(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    x = noised(x0, noise, start, alphas_cumprod)
    for t in range(start + 1):
        x = step(x, predict_noise(x, t), t, fresh(x, generator))
    return x


def told_one_more(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    x = noised(x0, noise, start, alphas_cumprod)
    for t in reversed(range(start + 1)):
        x = step(x, predict_noise(x, t + 1), t, fresh(x, generator))
    return x


def rootless(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    x = alphas_cumprod[start] * x0 + (1 - alphas_cumprod[start]) * noise
    for t in reversed(range(start + 1)):
        x = step(x, predict_noise(x, t), t, fresh(x, generator))
    return x


def by_while(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    x, t = noised(x0, noise, start, alphas_cumprod), start
    while t >= 0:
        guess = predict_noise(x, t)
        x = step(x, guess, t, fresh(x, generator))
        t -= 1
    return x


def by_recursion(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    def down(x, t):
        return x if t < 0 else down(step(x, predict_noise(x, t), t, fresh(x, generator)), t - 1)

    return down(noised(x0, noise, start, alphas_cumprod), start)


# 2.7


def repaired(x_t, noise, t, s, fresh, betas, early=False, short=False, wide=False):
    """The repaired function with some of its bugs left."""
    low, high = (s, t) if early else (s + 1, t + 1)
    alpha = math.prod((1 - betas[low:high]).tolist())
    now = math.prod((1 - betas[: t + (not short)]).tolist())
    end = math.prod((1 - betas[: s + 1]).tolist())
    x0 = (x_t - math.sqrt(1 - now) * noise) / math.sqrt(now)
    if early or short:  # the mean in its other form
        mean = (x_t - (1 - alpha) / math.sqrt(1 - now) * noise) / math.sqrt(alpha)
    else:
        mean = (math.sqrt(end) * (1 - alpha) * x0 + math.sqrt(alpha) * (1 - end) * x_t) / (1 - now)
    variance = (1 - alpha) * (1 if wide else (1 - end) / (1 - now))
    return mean + math.sqrt(variance) * fresh


def alpha_too_early(x_t, noise, t, s, fresh, betas):
    return repaired(x_t, noise, t, s, fresh, betas, early=True)


def level_one_short(x_t, noise, t, s, fresh, betas):
    return repaired(x_t, noise, t, s, fresh, betas, short=True)


def too_wide(x_t, noise, t, s, fresh, betas):
    return repaired(x_t, noise, t, s, fresh, betas, wide=True)


def only_the_noise(x_t, noise, t, s, fresh, betas):
    return repaired(x_t, noise, t, s, fresh, betas, early=True, short=True)


def only_the_level(x_t, noise, t, s, fresh, betas):
    return repaired(x_t, noise, t, s, fresh, betas, early=True, wide=True)


def only_alpha(x_t, noise, t, s, fresh, betas):
    return repaired(x_t, noise, t, s, fresh, betas, short=True, wide=True)


def by_minisd(x_t, noise, t, s, fresh, betas):
    table = torch.cumprod(1 - betas, 0)
    now = float(table[t])
    x0 = (x_t - (1 - now) ** 0.5 * noise) / now**0.5
    mean, variance = jump_posterior(table, x0, x_t, t, s)
    return mean + variance**0.5 * fresh


def the_guess_at_the_end(x_t, noise, t, s, fresh, betas):
    now = float(torch.prod(1 - betas[: t + 1]))
    if s < 0:
        return (x_t - (1 - now) ** 0.5 * noise) / now**0.5
    return repaired(x_t, noise, t, s, fresh, betas)


# 2.8


def runs(*slips):
    return dict(zip((f"run {letter}" for letter in "ABCDE"), slips))


# 2.10

SEEN_KEYS = [
    f"{slip}: {judge}"
    for slip in (
        "no fresh noise in the first 500 steps",
        "no fresh noise in the last 500 steps",
        "stopped at timestep 100",
        "one fresh noise for all",
    )
    for judge in ("single points", "shares")
]


def seen(*answers):
    return dict(zip(SEEN_KEYS, map(bool, answers)))


# 2.9

EVEN_TIMES = NoiseSchedule.linear().alphas_cumprod[99::100].tolist()


def by_log_snr(first, last):
    """Ten levels evenly spaced in the logarithm of the signal-to-noise ratio."""
    return [1 / (1 + math.exp(-(first + (last - first) * i / 9))) for i in range(10)]


# 2.11


def two_pictures(*values):
    return dict(zip(("x_t tells nothing", "half way", "little noise", "squared error"), values))


BANK = {
    "2.1": {
        "wrong": [
            ((FIRST * (1 - SECOND) / REST, SECOND * (1 - FIRST) / REST, VARIANCE), "is the root of what"),
            (
                (
                    sympy.sqrt(AB_S) * (1 - SECOND) / (1 - AB_T),
                    sympy.sqrt(SECOND) * (1 - AB_S) / (1 - AB_T),
                    (1 - SECOND) * (1 - AB_S) / (1 - AB_T),
                ),
                "is noised already",
            ),
            ((NOISIER, CLEANER, VARIANCE), "have changed places"),
            ((CLEANER, NOISIER, 1 - FIRST), "that of noising from r to s"),
            ((CLEANER, NOISIER, sympy.sqrt(VARIANCE)), "its root, the width"),
            ((CLEANER, NOISIER), "2.1"),
        ],
        "right": [
            by_precisions,
            (
                (AB_S - AB_T) / (AB_R - AB_T) * sympy.sqrt(AB_R / AB_S),
                NOISIER,
                (AB_R - AB_S) * (AB_S - AB_T) / (AB_S * (AB_R - AB_T)),
            ),
        ],
    },
    "2.2": {
        "wrong": [
            (floors(0.0001, 0.4786, 0.9222, 0.0), "can the network *not* tell from"),
            (floors(0.0, 0.0, 0.0, 0.0), "No network can bring it to 0"),
            (floors(0.9999, 0.5214, 0.0778, 0.0), "half as large"),
            (floors(0.98, 0.344, 0.127, 0.0), "You compared widths"),
            (floors(1.0, 0.2724, 0.0211, 0.0), "the signal-to-noise ratio"),
            (floors(0.9996, 0.2141, 0.0207, 0.2141), "How many of them can lie under"),
            (floors(1.0, 1.0, 1.0, 0.0), "too large"),
        ],
        "right": [floors(1.0, 0.216, 0.021, 0), floors(0.9996, 0.2141, 0.0207, 0.0)],
    },
    "2.3": {
        "wrong": [
            (speckled, "comes out speckled"),
            (scaled_average, "fits the pixels best"),
            (around_zero, "greys average 0"),
            (average_as_a_pixel, "took the average pixel"),
            (divided_by_width, "you took its width"),
            (root_of_the_spread, "already is a variance"),
        ],
        "right": [precise, leaning, by_covariances],
    },
    "2.4": {
        "wrong": [
            (FACTOR * 4 * R * (1 - R), "That is the covariance"),
            (FACTOR * 4 * R * (1 - R) / OWN, "beta tilde alone"),
            (correlated(FACTOR * R * (1 - R)), "for a coin that says 0 or 1"),
            (sympy.Integer(1), "are always equal"),
            (correlated(sympy.sqrt(FACTOR) * 4 * R * (1 - R)), "it appears twice"),
            (correlated(FACTOR * (2 - 2 * R)), "the product of the two means"),
            (sympy.Integer(0), "2.4"),
        ],
        "right": [by_the_four_corners, correlated(FACTOR * (4 * R - 4 * R**2))],
    },
    "2.5": {
        "wrong": [
            (widths(1.0, 0.0, 1.0, 0.0), "too much noise is added at every step"),
            (widths(1.0, 0.0, 1.36, 0.01), "The last step adds no noise"),
            (widths(0.674, 0.0, 1.36, 0.0), "draws from the true posterior"),
            (widths(1.0, 0.0, 2.2, 0.0), "two variances of one step"),
            (widths(1.0, 0.0, 10.0, 0.0), "too large"),
        ],
        "right": [widths(1.0, 0.0, 1.36, 0.0), widths(1, 0, 1.3, 0)],
    },
    "2.6": {
        "wrong": [
            (from_noise, "nothing of the given picture is left"),
            (from_clean, "You began with the clean picture"),
            (noised_to_the_end, "all the way to the last timestep"),
            (one_late, "begins one step late"),
            (one_short, "stops one step early"),
            (upwards, "from 0 upwards"),
            (told_one_more, "one timestep too high"),
            (rootless, "neither factor"),
        ],
        "right": [by_while, by_recursion],
    },
    "2.7": {
        "wrong": [
            (alpha_too_early, "Which noising steps lie between"),
            (level_one_short, "how many noising steps has"),
            (too_wide, "too wide, and at s = -1"),
            (only_the_noise, "has the right formula"),
            (only_the_level, "the noise level at t is right"),
            (only_alpha, "own alpha is right"),
        ],
        "right": [by_minisd, the_guess_at_the_end],
    },
    "2.8": {
        "wrong": [
            (runs(5, 1, 6, 3, 4), "Runs A and E"),
            (runs(4, 3, 6, 1, 5), "Runs B and D"),
            (runs(4, 1, 2, 3, 5), "makes every factor 0"),
            (runs(4, 1, 6, 2, 5), "nothing is learned"),
            (runs(4, 6, 1, 3, 5), "which it would never have seen"),
            (runs(2, 1, 6, 3, 5), "Run A learns something"),
            (runs(3, 1, 6, 4, 5), "3 of 5 are right"),
        ],
        "right": [runs(4, 1, 6, 3, 5), (4, 1, 6, 3, 5)],
    },
    "2.9": {
        "wrong": [
            (by_log_snr(2.0, -10.1), "Where do the two bells part"),
            ([0.9999, 0.9997, 0.9993, 0.998, 0.99, 0.9, 0.3, 0.1, 0.01, 0.00004], "very close to 1"),
            (EVEN_TIMES, "evenly spaced timesteps"),
            ([0.9, 0.8, 0.7], "you gave 3 levels"),
            ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05], "hardly anything of the picture"),
            ([0.00004, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "should fall"),
        ],
        "right": [
            [0.98, 0.96, 0.935, 0.905, 0.87, 0.83, 0.775, 0.7, 0.58, 0.00004],
            torch.tensor([0.97, 0.94, 0.91, 0.87, 0.83, 0.78, 0.72, 0.64, 0.5, 0.00004]),
        ],
    },
    "2.10": {
        "wrong": [
            (seen(0, 0, 1, 1, 1, 0, 0, 1), "throw a point out of a cloud"),
            (seen(0, 0, 0, 0, 1, 0, 0, 1), "When do walks choose"),
            (seen(0, 1, 0, 1, 1, 0, 0, 1), "remember where it was"),
            (seen(0, 0, 0, 1, 0, 0, 0, 1), "left at timestep 100"),
            (seen(0, 0, 0, 1, 1, 1, 0, 1), "need no sharp points"),
            (seen(0, 0, 0, 1, 1, 0, 1, 1), "as good as any"),
            (seen(0, 0, 0, 1, 1, 0, 0, 0), "end in different clouds"),
        ],
        "right": [seen(0, 0, 0, 1, 1, 0, 0, 1), (False, False, False, True, True, False, False, True)],
    },
    "2.11": {
        "wrong": [
            (two_pictures(0.0, 1.0, 4.0, 3.0), "the likelier picture"),
            (two_pictures(2.0, 1.0, 4.0, 3.0), "count alike"),
            (two_pictures(1.0, 2.0, 4.0, 3.0), "likelier beforehand"),
            (two_pictures(1.0, 1.0, 3.7, 3.0), "x_t itself"),
            (two_pictures(1.0, 1.0, 4.0, 3**0.5), "the root of it"),
            (two_pictures(1.0, 1.0, 4.0, 6.0), "2 times too large"),
        ],
        "right": [two_pictures(1, 1, 4, 3), two_pictures(1.01, 0.99, 3.98, 3.0)],
    },
}
