"""Chapter 2: what students hand in. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import sympy
import torch
from torch.distributions import MultivariateNormal

from minisd.schedule import NoiseSchedule, jump_posterior

# 2.1

AB_S, AB_T = sympy.symbols("ab_s ab_t", positive=True)
ALPHA = AB_T / AB_S
PICTURE = sympy.sqrt(AB_S) * (1 - ALPHA) / (1 - AB_T)
STATE = sympy.sqrt(ALPHA) * (1 - AB_S) / (1 - AB_T)
VARIANCE = (1 - ALPHA) * (1 - AB_S) / (1 - AB_T)


def by_precisions(ab_s, ab_t):
    """Completing the square, as (2.13) and (2.14) do it."""
    alpha = ab_t / ab_s
    a = alpha / (1 - alpha) + 1 / (1 - ab_s)
    return ab_s**0.5 / (1 - ab_s) / a, alpha**0.5 / (1 - alpha) / a, 1 / a


# 2.2


def floors(*values):
    names = [f"white noise, t = {t}" for t in (0, 250, 500)]
    return dict(zip([*names, "one picture, t = 0"], values))


# 2.3


def odds(x_t, a, b, alpha_bar, divisor):
    return (((x_t - alpha_bar**0.5 * b) ** 2).sum(1) - ((x_t - alpha_bar**0.5 * a) ** 2).sum(1)) / divisor


def blend(r, a, b):
    return r[:, None] * a + (1 - r[:, None]) * b


def winner(x_t, a, b, share, alpha_bar):
    r = torch.sigmoid(odds(x_t, a, b, alpha_bar, 2 * (1 - alpha_bar)) + math.log(share) - math.log(1 - share))
    return blend((r > 0.5).float(), a, b)


def fair_coin(x_t, a, b, share, alpha_bar):
    return blend(torch.sigmoid(odds(x_t, a, b, alpha_bar, 2 * (1 - alpha_bar))), a, b)


def half_missing(x_t, a, b, share, alpha_bar):
    return blend(
        torch.sigmoid(odds(x_t, a, b, alpha_bar, 1 - alpha_bar) + math.log(share / (1 - share))), a, b
    )


def clean_distance(x_t, a, b, share, alpha_bar):
    near_a, near_b = ((x_t - p).pow(2).sum(1) / (2 * (1 - alpha_bar)) for p in (a, b))
    return blend(torch.sigmoid(near_b - near_a + math.log(share / (1 - share))), a, b)


def each_for_itself(x_t, a, b, share, alpha_bar):
    weight_a, weight_b = (
        w * torch.exp(-((x_t - alpha_bar**0.5 * p) ** 2) / (2 * (1 - alpha_bar)))
        for w, p in ((share, a), (1 - share, b))
    )
    return (weight_a * a + weight_b * b) / (weight_a + weight_b)


def root_of_variance(x_t, a, b, share, alpha_bar):
    r = torch.sigmoid(
        odds(x_t, a, b, alpha_bar, 2 * math.sqrt(1 - alpha_bar)) + math.log(share / (1 - share))
    )
    return blend(r, a, b)


def by_densities(x_t, a, b, share, alpha_bar):
    d = x_t.shape[1]
    noise = (1 - alpha_bar) * torch.eye(d)
    weight_a = share * MultivariateNormal(alpha_bar**0.5 * a, noise).log_prob(x_t).exp()
    weight_b = (1 - share) * MultivariateNormal(alpha_bar**0.5 * b, noise).log_prob(x_t).exp()
    return blend(weight_a / (weight_a + weight_b), a, b)


def by_softmax(x_t, a, b, share, alpha_bar):
    both = torch.stack([a, b])
    distance = ((x_t[:, None] - alpha_bar**0.5 * both) ** 2).sum(-1)
    logs = torch.tensor([share, 1 - share]).log() - distance / (2 * (1 - alpha_bar))
    return torch.softmax(logs, dim=1) @ both


# 2.4

R, PREV, NOW = sympy.symbols("r ab_prev ab_t", positive=True)
FACTOR = PREV * (1 - NOW / PREV) ** 2 / (1 - NOW) ** 2


def by_the_four_corners(r, ab_prev, ab_t):
    """The mean of the product less the product of the means, both of the posterior's means."""
    beta = 1 - ab_t / ab_prev
    weight = ab_prev**0.5 * beta / (1 - ab_t)
    product = r * weight**2 + (1 - r) * weight**2
    mean = r * weight - (1 - r) * weight
    return product - mean * mean


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


def repaired(x_t, noise, t, s, fresh, table, near=False, wraps=False, wide=False):
    """The repaired function with some of its bugs left."""
    end = float(table[s]) if wraps or s >= 0 else 1.0
    before = (float(table[t - 1]) if wraps or t else 1.0) if near else end
    now, alpha = float(table[t]), float(table[t]) / before
    x0 = (x_t - math.sqrt(1 - now) * noise) / math.sqrt(now)
    mean = (math.sqrt(end) * (1 - alpha) * x0 + math.sqrt(alpha) * (1 - end) * x_t) / (1 - now)
    variance = (1 - alpha) * (1 if wide else (1 - end) / (1 - now))
    return mean + math.sqrt(abs(variance)) * fresh


def alpha_of_one_step(x_t, noise, t, s, fresh, alphas_cumprod):
    return repaired(x_t, noise, t, s, fresh, alphas_cumprod, near=True)


def last_entry(x_t, noise, t, s, fresh, alphas_cumprod):
    return repaired(x_t, noise, t, s, fresh, alphas_cumprod, wraps=True)


def too_wide(x_t, noise, t, s, fresh, alphas_cumprod):
    return repaired(x_t, noise, t, s, fresh, alphas_cumprod, wide=True)


def only_the_noise(x_t, noise, t, s, fresh, alphas_cumprod):
    return repaired(x_t, noise, t, s, fresh, alphas_cumprod, near=True, wraps=True)


def only_the_end(x_t, noise, t, s, fresh, alphas_cumprod):
    return repaired(x_t, noise, t, s, fresh, alphas_cumprod, near=True, wide=True)


def only_alpha(x_t, noise, t, s, fresh, alphas_cumprod):
    return repaired(x_t, noise, t, s, fresh, alphas_cumprod, wraps=True, wide=True)


def by_minisd(x_t, noise, t, s, fresh, alphas_cumprod):
    now = float(alphas_cumprod[t])
    x0 = (x_t - (1 - now) ** 0.5 * noise) / now**0.5
    mean, variance = jump_posterior(alphas_cumprod, x0, x_t, t, s)
    return mean + variance**0.5 * fresh


def the_guess_at_the_end(x_t, noise, t, s, fresh, alphas_cumprod):
    if s < 0:
        return (x_t - (1 - float(alphas_cumprod[t])) ** 0.5 * noise) / float(alphas_cumprod[t]) ** 0.5
    return repaired(x_t, noise, t, s, fresh, alphas_cumprod)


# 2.8


def looped(pictures, table, steps, generator, first=0, cleared=True, label="noise"):
    weights = torch.zeros(len(table), requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.5)
    for _ in range(steps):
        if cleared:
            optimizer.zero_grad()
        x0 = pictures[torch.randint(len(pictures), (16,), generator=generator)]
        t = torch.randint(first, len(table), (16,), generator=generator)
        noise = torch.randn(x0.shape, generator=generator)
        x_t = noised_each(x0, noise, t, table)
        wanted = noise if label == "noise" else x_t
        ((weights[t][:, None, None, None] * x_t - wanted) ** 2).mean().backward()
        optimizer.step()
    return weights.detach()


def noised_each(x0, noise, t, table):
    bar = table[t][:, None, None, None]
    return bar.sqrt() * x0 + (1 - bar).sqrt() * noise


def from_one(pictures, alphas_cumprod, steps, generator):
    return looped(pictures, alphas_cumprod, steps, generator, first=1)


def never_cleared(pictures, alphas_cumprod, steps, generator):
    return looped(pictures, alphas_cumprod, steps, generator, cleared=False)


def copying(pictures, alphas_cumprod, steps, generator):
    return looped(pictures, alphas_cumprod, steps, generator, label="input")


def only_the_label(pictures, alphas_cumprod, steps, generator):
    return looped(pictures, alphas_cumprod, steps, generator, first=1, cleared=False)


def only_the_gradient(pictures, alphas_cumprod, steps, generator):
    return looped(pictures, alphas_cumprod, steps, generator, first=1, label="input")


def only_the_draw(pictures, alphas_cumprod, steps, generator):
    return looped(pictures, alphas_cumprod, steps, generator, cleared=False, label="input")


def cleared_first(pictures, alphas_cumprod, steps, generator):
    return looped(pictures, alphas_cumprod, steps, generator)


def by_hand(pictures, alphas_cumprod, steps, generator):
    """Steps downhill without an optimizer."""
    weights = torch.zeros(len(alphas_cumprod))
    for _ in range(steps):
        x0 = pictures[torch.randint(len(pictures), (16,), generator=generator)]
        t = torch.randint(len(alphas_cumprod), (16,), generator=generator)
        noise = torch.randn(x0.shape, generator=generator)
        x_t = noised_each(x0, noise, t, alphas_cumprod)
        slope = 2 * ((weights[t][:, None, None, None] * x_t - noise) * x_t).sum((1, 2, 3)) / x_t.numel()
        weights = weights.index_add(0, t, -0.5 * slope)
    return weights


# 2.9

EVEN_TIMES = NoiseSchedule.linear().alphas_cumprod[99::100].tolist()


def by_log_snr(first, last):
    """Ten levels evenly spaced in the logarithm of the signal-to-noise ratio."""
    return [1 / (1 + math.exp(-(first + (last - first) * i / 9))) for i in range(10)]


BANK = {
    "2.1": {
        "wrong": [
            (
                (AB_S * (1 - ALPHA) / (1 - AB_T), ALPHA * (1 - AB_S) / (1 - AB_T), VARIANCE),
                "is the root of what",
            ),
            (
                (sympy.sqrt(AB_S), sympy.sqrt(AB_T) * (1 - AB_S) / (1 - AB_T), 1 - AB_S),
                "for the one from s to t",
            ),
            ((STATE, PICTURE, VARIANCE), "have changed places"),
            ((PICTURE, STATE, 1 - ALPHA), "that of the jump forwards"),
            ((PICTURE, STATE, sympy.sqrt(VARIANCE)), "its root, the width"),
            ((PICTURE, STATE), "2.1"),
        ],
        "right": [
            by_precisions,
            (
                (AB_S - AB_T) / (sympy.sqrt(AB_S) * (1 - AB_T)),
                STATE,
                (AB_S - AB_T) * (1 - AB_S) / (AB_S * (1 - AB_T)),
            ),
        ],
    },
    "2.2": {
        "wrong": [
            (floors(0.0001, 0.4759, 0.9221, 0.0), "can the network *not* tell apart"),
            (floors(0.0, 0.0, 0.0, 0.0), "No network can bring it to 0"),
            (floors(0.9999, 0.5241, 0.0779, 1.0), "x_0 is known"),
            (floors(0.99995, 0.7239, 0.2791, 0.0), "the root of the share"),
            (floors(1.0, 1.0, 1.0, 0.0), "too large"),
        ],
        "right": [floors(1.0, 0.52, 0.078, 0), floors(0.9999, 0.5241, 0.0779, 0.0)],
    },
    "2.3": {
        "wrong": [
            (winner, "chose the likelier"),
            (fair_coin, "fair coin only"),
            (half_missing, "Too sure"),
            (clean_distance, "distance to the clean"),
            (each_for_itself, "each number by itself"),
            (root_of_variance, "you took its root"),
        ],
        "right": [by_densities, by_softmax],
    },
    "2.4": {
        "wrong": [
            (FACTOR * R * (1 - R), "for a coin that says 0 or 1"),
            (4 * R * (1 - R), "what the pixels of x_0 share"),
            (sympy.sqrt(FACTOR) * 4 * R * (1 - R), "it appears twice"),
            (FACTOR * 4 * R * (1 - R) + (1 - NOW / PREV) * (1 - PREV) / (1 - NOW), "each pixel's own noise"),
            (FACTOR * (2 - 2 * R), "the product of the two means"),
            (sympy.Integer(0), "2.4"),
        ],
        "right": [by_the_four_corners, FACTOR * (4 * R - 4 * R**2)],
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
            (alpha_of_one_step, "between which two timesteps"),
            (last_entry, "still reads the last entry"),
            (too_wide, "still too wide"),
            (only_the_noise, "the noise is right where s is t - 1"),
            (only_the_end, "s = -1 is told apart"),
            (only_alpha, "the mean is right between two timesteps"),
        ],
        "right": [by_minisd, the_guess_at_the_end],
    },
    "2.8": {
        "wrong": [
            (from_one, "one timestep is never trained"),
            (never_cleared, "swinging to and fro"),
            (copying, "learns to copy its input"),
            (only_the_label, "The label is right now"),
            (only_the_gradient, "The swinging is gone"),
            (only_the_draw, "Every timestep is trained now"),
        ],
        "right": [cleared_first, by_hand],
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
}
