"""Chapter 2: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import einops
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from minisd import NoiseSchedule

# 2.1


def betas_of(table):
    return 1 - torch.cat([table[:1], table[1:] / table[:-1]])


def with_beta(x0, x_t, t, table):
    ab, prev = table[t], table[t - 1] if t > 0 else torch.tensor(1.0)
    beta = 1 - ab / prev
    mean = prev.sqrt() * beta / (1 - ab) * x0 + (1 - beta).sqrt() * (1 - prev) / (1 - ab) * x_t
    return mean, float(beta)


def minus_one(x0, x_t, t, table):
    ab, prev = float(table[t]), float(table[t - 1])
    a = ab / prev
    mean = prev**0.5 * (1 - a) / (1 - ab) * x0 + a**0.5 * (1 - prev) / (1 - ab) * x_t
    return mean, (1 - a) * (1 - prev) / (1 - ab)


def places_changed(x0, x_t, t, table):
    ab, prev = float(table[t]), float(table[t - 1]) if t else 1.0
    a = ab / prev
    mean = prev**0.5 * (1 - a) / (1 - ab) * x_t + a**0.5 * (1 - prev) / (1 - ab) * x0
    return mean, (1 - a) * (1 - prev) / (1 - ab)


def deviation(x0, x_t, t, table):
    mean, variance = by_precision(x0, x_t, t, table)
    return mean, math.sqrt(variance)


def rootless(x0, x_t, t, table):
    ab, prev = float(table[t]), float(table[t - 1]) if t else 1.0
    beta = 1 - ab / prev
    mean = prev * beta / (1 - ab) * x0 + (1 - beta) * (1 - prev) / (1 - ab) * x_t
    return mean, beta * (1 - prev) / (1 - ab)


def a_step_early(x0, x_t, t, table):
    return by_precision(x0, x_t, max(t - 1, 0), table)


def a_tensor(x0, x_t, t, table):
    mean, variance = by_precision(x0, x_t, t, table)
    return mean, torch.tensor(variance)


def by_precision(x0, x_t, t, table):
    """Completing the square, as (2.4) to (2.5) do it."""
    if t == 0:
        return x0.clone(), 0.0
    prev, alpha = float(table[t - 1]), float(table[t] / table[t - 1])
    a = alpha / (1 - alpha) + 1 / (1 - prev)
    b = alpha**0.5 / (1 - alpha) * x_t + prev**0.5 / (1 - prev) * x0
    return b / a, 1 / a


def by_minisd(x0, x_t, t, table):
    return NoiseSchedule(betas_of(table)).posterior(x0, x_t, t)


# 2.2


def plain_difference(noise, x_t, alpha_bar):
    return x_t - noise


def still_shrunk(noise, x_t, alpha_bar):
    return x_t - math.sqrt(1 - alpha_bar) * noise


def no_roots(noise, x_t, alpha_bar):
    return (x_t - (1 - alpha_bar) * noise) / alpha_bar


def other_way(noise, x_t, alpha_bar):
    return (x_t - math.sqrt(alpha_bar) * noise) / math.sqrt(1 - alpha_bar)


def plus(noise, x_t, alpha_bar):
    return (x_t + math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha_bar)


def by_sigma(noise, x_t, alpha_bar):
    return x_t / math.sqrt(alpha_bar) - math.sqrt(1 / alpha_bar - 1) * noise


def by_parts(noise, x_t, alpha_bar):
    shrunk = x_t - torch.sqrt(torch.tensor(1 - alpha_bar)) * noise
    return shrunk * alpha_bar**-0.5


# 2.3


def pictures_difference(x0, x_t, t, table):
    return x_t - x0


def undivided(x0, x_t, t, table):
    ab = table[t][:, None, None, None]
    return x_t - ab.sqrt() * x0


def squares(x0, x_t, t, table):
    ab = table[t][:, None, None, None]
    return (x_t - ab * x0) / (1 - ab)


def flat(x0, x_t, t, table):
    ab = table[t].view(-1)
    return (x_t - ab.sqrt() * x0) / (1 - ab).sqrt()


def counted_from_one(x0, x_t, t, table):
    return with_einops(x0, x_t, t - 1, table)


def by_variance(x0, x_t, t, table):
    ab = table[t][:, None, None, None]
    return (x_t - ab.sqrt() * x0) / (1 - ab)


def with_einops(x0, x_t, t, table):
    ab = einops.rearrange(table[t], "b -> b 1 1 1")
    return (x_t - ab.sqrt() * x0) / torch.sqrt(1 - ab)


def one_by_one(x0, x_t, t, table):
    out = []
    for picture, noisy, step in zip(x0, x_t, t):
        ab = float(table[step])
        out.append((noisy - ab**0.5 * picture) / (1 - ab) ** 0.5)
    return torch.stack(out)


# 2.4


def reversed_kl(m1, v1, m2, v2):
    return (0.5 * (v2 / v1 + (m1 - m2) ** 2 / v1 - 1 + torch.log(v1 / v2))).sum()


def variances_squared(m1, v1, m2, v2):
    return (torch.log(v2 / v1) + (v1**2 + (m1 - m2) ** 2) / (2 * v2**2) - 0.5).sum()


def no_half(m1, v1, m2, v2):
    return (0.5 * torch.log(v2 / v1) + (v1 + (m1 - m2) ** 2) / (2 * v2)).sum()


def mean_of_numbers(m1, v1, m2, v2):
    return by_torch(m1, v1, m2, v2) / m1.numel()


def double_log(m1, v1, m2, v2):
    return (torch.log(v2 / v1) + (v1 + (m1 - m2) ** 2) / (2 * v2) - 0.5).sum()


def unsummed(m1, v1, m2, v2):
    return kl_divergence(Normal(m1, v1.sqrt()), Normal(m2, v2.sqrt()))


def by_torch(m1, v1, m2, v2):
    return kl_divergence(Normal(m1, v1.sqrt()), Normal(m2, v2.sqrt())).sum()


def by_deviations(m1, v1, m2, v2):
    s1, s2 = v1**0.5, v2**0.5
    return torch.sum(torch.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5)


# 2.5


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


# 2.6


def jumped(x0, noise, t, table):
    ab = table[t][:, None, None, None]
    return ab.sqrt() * x0 + (1 - ab).sqrt() * noise


def against_input(f, x0, noise, t, table):
    x_t = jumped(x0, noise, t, table)
    return ((f(x_t, t) - x_t) ** 2).mean()


def against_picture(f, x0, noise, t, table):
    return ((f(jumped(x0, noise, t, table), t) - x0) ** 2).mean()


def summed(f, x0, noise, t, table):
    return ((f(jumped(x0, noise, t, table), t) - noise) ** 2).sum()


def on_clean(f, x0, noise, t, table):
    return ((f(x0, t) - noise) ** 2).mean()


def simply_added(f, x0, noise, t, table):
    return ((f(x0 + noise, t) - noise) ** 2).mean()


def told_late(f, x0, noise, t, table):
    return ((f(jumped(x0, noise, t, table), t + 1) - noise) ** 2).mean()


def absolute(f, x0, noise, t, table):
    return (f(jumped(x0, noise, t, table), t) - noise).abs().mean()


def own_noise(f, x0, noise, t, table):
    fresh = torch.randn_like(x0)
    return ((f(jumped(x0, fresh, t, table), t) - fresh) ** 2).mean()


def with_mse(f, x0, noise, t, table):
    return torch.nn.functional.mse_loss(f(jumped(x0, noise, t, table), t), noise)


def picture_by_picture(f, x0, noise, t, table):
    schedule = NoiseSchedule(betas_of(table))
    off = f(schedule.add_noise(x0, noise, t), t) - noise
    return torch.stack([(one**2).mean() for one in off]).mean()


# 2.7


def mean_of(x_t, noise, t, table, factor=None):
    ab, prev = float(table[t]), float(table[t - 1]) if t > 0 else 1.0
    beta = 1 - ab / prev
    taken = beta / math.sqrt(1 - ab) if factor is None else factor(beta, ab)
    return (x_t - taken * noise) / math.sqrt(1 - beta), beta, ab, prev


def noise_to_the_end(x_t, noise, t, fresh, table):
    mean, beta, *_ = mean_of(x_t, noise, t, table)
    return mean + math.sqrt(beta) * fresh


def with_tilde(x_t, noise, t, fresh, table):
    mean, beta, ab, prev = mean_of(x_t, noise, t, table)
    return mean + math.sqrt(beta * (1 - prev) / (1 - ab)) * fresh


def weak_noise(x_t, noise, t, fresh, table):
    mean, beta, *_ = mean_of(x_t, noise, t, table)
    return mean + beta * fresh if t > 0 else mean


def mean_only(x_t, noise, t, fresh, table):
    return mean_of(x_t, noise, t, table)[0]


def all_taken(x_t, noise, t, fresh, table):
    mean, beta, *_ = mean_of(x_t, noise, t, table, lambda beta, ab: math.sqrt(1 - ab))
    return mean + math.sqrt(beta) * fresh if t else mean


def beta_taken(x_t, noise, t, fresh, table):
    mean, beta, *_ = mean_of(x_t, noise, t, table, lambda beta, ab: beta)
    return mean + math.sqrt(beta) * fresh if t else mean


def root_taken(x_t, noise, t, fresh, table):
    mean, beta, *_ = mean_of(x_t, noise, t, table, lambda beta, ab: math.sqrt(beta))
    return mean + math.sqrt(beta) * fresh if t else mean


def bar_divides(x_t, noise, t, fresh, table):
    ab, prev = float(table[t]), float(table[t - 1]) if t > 0 else 1.0
    beta = 1 - ab / prev
    mean = (x_t - beta / math.sqrt(1 - ab) * noise) / math.sqrt(ab)
    return mean + math.sqrt(beta) * fresh if t > 0 else mean


def last_entry(x_t, noise, t, fresh, table):
    alpha = table[t] / table[t - 1]
    mean = (x_t - (1 - alpha) / (1 - table[t]).sqrt() * noise) / alpha.sqrt()
    return mean if t == 0 else mean + (1 - alpha).sqrt() * fresh


def undivided_step(x_t, noise, t, fresh, table):
    beta = betas_of(table)[t]
    mean = x_t - beta / (1 - table[t]).sqrt() * noise
    return mean if t == 0 else mean + beta.sqrt() * fresh


def by_posterior(x_t, noise, t, fresh, table):
    x0 = by_sigma(noise, x_t, float(table[t]))
    mean, _ = by_precision(x0, x_t, t, table)
    beta = float(betas_of(table)[t])
    return mean + (beta**0.5 if t > 0 else 0.0) * fresh


def by_lists(x_t, noise, t, fresh, table):
    betas = betas_of(table.double()).tolist()
    taken = betas[t] / math.sqrt(1 - table[t].item())
    x = (x_t - taken * noise) / math.sqrt(1 - betas[t])
    if t == 0:
        return x
    return x + math.sqrt(betas[t]) * fresh


# 2.8


def upwards(predict_noise, step, x, steps, generator):
    for t in range(steps):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def stops_at_one(predict_noise, step, x, steps, generator):
    t = steps - 1
    while t > 0:
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
        t -= 1
    return x


def from_one(predict_noise, step, x, steps, generator):
    for t in range(steps, 0, -1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def one_question(predict_noise, step, x, steps, generator):
    guess = predict_noise(x, steps - 1)
    for t in range(steps - 1, -1, -1):
        x = step(x, guess, t, torch.randn(x.shape, generator=generator))
    return x


def one_fresh(predict_noise, step, x, steps, generator):
    fresh = torch.randn(x.shape, generator=generator)
    for t in range(steps - 1, -1, -1):
        x = step(x, predict_noise(x, t), t, fresh)
    return x


def told_one_more(predict_noise, step, x, steps, generator):
    for t in range(steps - 1, -1, -1):
        x = step(x, predict_noise(x, t + 1), t, torch.randn(x.shape, generator=generator))
    return x


def by_while(predict_noise, step, x, steps, generator):
    t = steps
    while t:
        t -= 1
        noise = predict_noise(x, t)
        x = step(x, noise, t, torch.randn(*x.shape, generator=generator))
    return x


def by_recursion(predict_noise, step, x, steps, generator):
    if steps == 0:
        return x
    x = step(x, predict_noise(x, steps - 1), steps - 1, torch.randn(x.shape, generator=generator))
    return by_recursion(predict_noise, step, x, steps - 1, generator)


BANK = {
    "2.1": {
        "wrong": [
            (with_beta, "that of the dose, beta"),
            (minus_one, "Wrong at t = 0 only"),
            (places_changed, "have changed places"),
            (deviation, "standard deviation"),
            (rootless, "under a root"),
            (a_step_early, "One step too early"),
            (a_tensor, "float"),
        ],
        "right": [by_precision, by_minisd],
    },
    "2.2": {
        "wrong": [
            (plain_difference, "as it is"),
            (still_shrunk, "shrunk by the root"),
            (no_roots, "Both roots"),
            (other_way, "changed places"),
            (plus, "A sign"),
        ],
        "right": [by_sigma, by_parts],
    },
    "2.3": {
        "wrong": [
            (pictures_difference, "not the noise"),
            (undivided, "times its factor"),
            (squares, "Both roots"),
            (flat, "which axis"),
            (counted_from_one, "counts timesteps from 0"),
            (by_variance, "by the variance"),
        ],
        "right": [with_einops, one_by_one],
    },
    "2.4": {
        "wrong": [
            (reversed_kl, "not symmetric"),
            (variances_squared, "You squared the variances"),
            (no_half, "a constant is missing"),
            (mean_of_numbers, "the mean over the numbers"),
            (double_log, "twice too large"),
            (unsummed, "shape"),
        ],
        "right": [by_torch, by_deviations],
    },
    "2.5": {
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
    "2.6": {
        "wrong": [
            (against_input, "the input itself"),
            (against_picture, "the clean picture. This network"),
            (summed, "sum over all numbers"),
            (on_clean, "was shown the clean picture"),
            (simply_added, "without the factors"),
            (told_late, "told a timestep one too high"),
            (absolute, "absolute differences"),
            (own_noise, "2.6"),
        ],
        "right": [with_mse, picture_by_picture],
    },
    "2.7": {
        "wrong": [
            (noise_to_the_end, "every step but the last"),
            (with_tilde, "beta tilde"),
            (weak_noise, "too weak"),
            (mean_only, "No fresh noise"),
            (all_taken, "took away all the noise"),
            (beta_taken, "Too little noise"),
            (root_taken, "is the root of beta"),
            (bar_divides, "root of alpha bar"),
            (last_entry, "Right but for t = 0"),
            (undivided_step, "is not undone"),
        ],
        "right": [by_posterior, by_lists],
    },
    "2.8": {
        "wrong": [
            (upwards, "from 0 upwards"),
            (stops_at_one, "one step early"),
            (from_one, "Every timestep is one too high"),
            (one_question, "asked only once"),
            (one_fresh, "same fresh noise"),
            (told_one_more, "told a timestep one too high"),
        ],
        "right": [by_while, by_recursion],
    },
}
