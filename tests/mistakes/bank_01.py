"""Chapter 1: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import einops
import numpy as np
import torch


def cumulate(start, end, steps):
    betas = torch.linspace(start**0.5, end**0.5, steps) ** 2
    return torch.cumprod(1 - betas, 0)


# 1.1


def widths_added(factors):
    total = 0.0
    for factor in factors:
        total += abs(factor)
    return total


def by_numpy(factors):
    return float(np.linalg.norm(factors))


def by_pairs(factors):
    width = 0.0
    for factor in factors:
        width = math.hypot(width, factor)
    return width


# 1.3


def noise_of_its_own(x0, noise, t, alphas_cumprod):
    ab = alphas_cumprod[t][:, None, None, None]
    return ab.sqrt() * x0 + (1 - ab).sqrt() * torch.randn_like(x0)


def in_place(x0, noise, t, alphas_cumprod):
    ab = alphas_cumprod[t][:, None, None, None]
    x0 *= ab.sqrt()
    x0 += (1 - ab).sqrt() * noise
    return x0


def one_by_one(x0, noise, t, alphas_cumprod):
    out = torch.empty_like(x0)
    for i in range(len(x0)):
        ab = alphas_cumprod[t[i]]
        out[i] = ab.sqrt() * x0[i] + (1 - ab).sqrt() * noise[i]
    return out


def single_alphas(x0, noise, t, alphas_cumprod):
    alphas = torch.cat([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])[t][:, None, None, None]
    return alphas.sqrt() * x0 + (1 - alphas).sqrt() * noise


def flat(x0, noise, t, alphas_cumprod):
    ab = alphas_cumprod[t]
    return ab.sqrt() * x0 + (1 - ab).sqrt() * noise


def first_of_all(x0, noise, t, alphas_cumprod):
    ab = alphas_cumprod[t[0]]
    return ab.sqrt() * x0 + (1 - ab).sqrt() * noise


def with_einops(x0, noise, t, alphas_cumprod):
    ab = einops.rearrange(alphas_cumprod[t], "b -> b 1 1 1")
    return torch.sqrt(ab) * x0 + torch.sqrt(1 - ab) * noise


def with_view(x0, noise, t, alphas_cumprod):
    ab = alphas_cumprod.gather(0, t).view(-1, 1, 1, 1)
    return ab**0.5 * x0 + (1 - ab) ** 0.5 * noise


# 1.4


def by_loop(start, end, steps):
    left, table = 1.0, []
    for i in range(steps):
        root = start**0.5 + i / (steps - 1) * (end**0.5 - start**0.5)
        left *= 1 - root**2
        table.append(left)
    return torch.tensor(table)


def by_logarithm(start, end, steps):
    betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    return torch.log1p(-betas).cumsum(0).exp().float()


# 1.6


def by_search(decibels, alphas_cumprod):
    for t, ab in enumerate(alphas_cumprod.tolist()):
        if 10 * math.log10(ab / (1 - ab)) < decibels:
            return t
    return len(alphas_cumprod)


def by_argmax(decibels, alphas_cumprod):
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return int((snr < 10 ** (decibels / 10)).int().argmax())


def last_above(decibels, alphas_cumprod):
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return int((10 * torch.log10(snr) >= decibels).nonzero()[-1])


def twenty(decibels, alphas_cumprod):
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return int((20 * torch.log10(snr) >= decibels).sum())


def louder(decibels, alphas_cumprod):
    return int((alphas_cumprod >= 0.5).sum())


def one_more(decibels, alphas_cumprod):
    return by_search(decibels, alphas_cumprod) + 1


# 1.7


def in_two_steps(alphas_cumprod):
    roots = alphas_cumprod**0.5
    first, last = roots[0].clone(), roots[-1].clone()
    roots = roots - last
    roots = roots * (first / (first - last))
    return roots**2


def through_alphas(alphas_cumprod):
    from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

    alphas = torch.cat([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])
    return torch.cumprod(1 - rescale_zero_terminal_snr(1 - alphas), 0)


def only_the_last(alphas_cumprod):
    table = alphas_cumprod.clone()
    table[-1] = 0.0
    return table


def through_the_table(alphas_cumprod):
    low, high = alphas_cumprod.min(), alphas_cumprod.max()
    return (alphas_cumprod - low) / (high - low) * high


def first_becomes_one(alphas_cumprod):
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-1]) / (roots[0] - roots[-1])) ** 2


BANK = {
    "1.1": {
        "wrong": [
            (lambda factors: sum(factors), "variances add"),
            (widths_added, "You added the widths"),
            (lambda factors: float(np.square(factors).sum()), "the variance of the sum"),
            (lambda factors: float(np.sqrt(np.mean(np.square(factors)))), "the average of the squares"),
            (lambda factors: abs(sum(factors)) ** 0.5, "enters its variance squared"),
        ],
        "right": [by_numpy, by_pairs],
    },
    "1.2": {
        "wrong": [
            (lambda x, beta, noise: (1 - beta) * x + beta * noise, "do not sum to one"),
            (lambda x, beta, noise: x + math.sqrt(beta) * noise, "Nothing shrinks"),
            (lambda x, beta, noise: math.sqrt(1 - beta) * x + beta * noise, "noise is too weak"),
            (lambda x, beta, noise: math.sqrt(beta) * x + math.sqrt(1 - beta) * noise, "changed places"),
            (lambda x, beta, noise: (1 - beta) * x + math.sqrt(beta) * noise, "shrinks too fast"),
        ],
        "right": [
            lambda x, beta, noise: math.sqrt(1 - beta) * x + math.sqrt(beta) * noise,
            lambda x, beta, noise: torch.lerp(noise * 0, x, (1 - beta) ** 0.5) + noise.mul(beta**0.5),
        ],
    },
    "1.3": {
        "wrong": [
            (
                lambda x0, n, t, ab: ab[t][:, None, None, None] * x0 + (1 - ab[t])[:, None, None, None] * n,
                "Neither factor is a root",
            ),
            (
                lambda x0, n, t, ab: (
                    ab[t].sqrt()[:, None, None, None] * x0 + (1 - ab[t])[:, None, None, None] * n
                ),
                "noise is too weak",
            ),
            (single_alphas, "one dose's alpha"),
            (flat, "along the width"),
            (first_of_all, "first picture's timestep"),
            (lambda x0, n, t, ab: with_view(x0, n, t - 1, ab), "One dose too few"),
            (lambda x0, n, t, ab: ab[t].sqrt()[:, None, None, None] * x0 + n, "full strength"),
            (
                lambda x0, n, t, ab: (r := ab[t].sqrt()[:, None, None, None]) * x0 + (1 - r) * n,
                "factors sum to one",
            ),
            (
                lambda x0, n, t, ab: (
                    ab[t][:, None, None, None] * x0 + (1 - ab[t]).sqrt()[:, None, None, None] * n
                ),
                "fades too fast",
            ),
            (lambda x0, n, t, ab: with_view(n, x0, t, ab), "changed places"),
            (noise_of_its_own, "same inputs"),
            (in_place, "changed"),
        ],
        "right": [one_by_one, with_einops, with_view],
    },
    "1.4": {
        "wrong": [
            (lambda s, e, n: (1 - torch.linspace(s, e, n)).cumprod(0), "DDPM's evenly spaced"),
            (lambda s, e, n: (1 - torch.linspace(s**0.5, e**0.5, n)).cumprod(0), "never squared"),
            (lambda s, e, n: (1 - (torch.linspace(s**0.5, e**0.5, n) ** 2) ** 2).cumprod(0), "squared twice"),
            (lambda s, e, n: (1 - torch.linspace(s, e, n).square()).cumprod(0), "squared betas that were"),
            (lambda s, e, n: 1 - torch.linspace(s**0.5, e**0.5, n) ** 2, "alphas of the single doses"),
            (lambda s, e, n: torch.linspace(s**0.5, e**0.5, n) ** 2, "These are the betas"),
            (lambda s, e, n: (torch.linspace(s**0.5, e**0.5, n) ** 2).cumprod(0), "multiplied the betas"),
            (lambda s, e, n: torch.cat([torch.ones(1), cumulate(s, e, n)])[:-1], "begins at 1"),
        ],
        "right": [by_loop, by_logarithm],
    },
    "1.5": {
        "wrong": [
            (
                lambda x, n, s, t, ab: ab[t].sqrt() * x + (1 - ab[t]).sqrt() * n,
                "jump from the clean picture.",
            ),
            (lambda x, n, s, t, ab: ab[t] / ab[s] * x + (1 - ab[t] / ab[s]) * n, "roots are missing"),
            (
                lambda x, n, s, t, ab: (ab[t] / ab[s]).sqrt() * x + (ab[s] - ab[t]).sqrt() * n,
                "which variance must x_t have",
            ),
            (
                lambda x, n, s, t, ab: (ab[t] / ab[t - 1]).sqrt() * x + (1 - ab[t] / ab[t - 1]).sqrt() * n,
                "last dose alone",
            ),
            (
                lambda x, n, s, t, ab: ab[t - s] ** 0.5 * x + (1 - ab[t - s]) ** 0.5 * n,
                "t - s doses once more",
            ),
            (
                lambda x, n, s, t, ab: (ab[s] / ab[t]).sqrt() * x + (1 - ab[s] / ab[t]).sqrt() * n,
                "upside down",
            ),
            (lambda x, n, s, t, ab: (ab[t] / ab[s]).sqrt() * x + (1 - ab[t]).sqrt() * n, "too much of it"),
        ],
        "right": [
            lambda x, n, s, t, ab: ab[t].sqrt() / ab[s].sqrt() * x + ((ab[s] - ab[t]) / ab[s]).sqrt() * n,
            lambda x, n, s, t, ab: (r := float(ab[t]) / float(ab[s])) ** 0.5 * x + (1 - r) ** 0.5 * n,
        ],
    },
    "1.6": {
        "wrong": [
            (last_above, "One too early"),
            (twenty, "20 log10"),
            (louder, "0 decibels"),
            (one_more, "One too late"),
            (lambda db, ab: int((ab / (1 - ab) >= db).sum()), "is a logarithm"),
            (
                lambda db, ab: int((5 * torch.log10(ab / (1 - ab)) >= db).sum()),
                "the ratio of the two factors",
            ),
            (lambda db, ab: int((10 * torch.log10(ab) >= db).sum()), "loudness alone"),
            (lambda db, ab: int((10 * torch.log(ab / (1 - ab)) >= db).sum()), "base 10"),
        ],
        "right": [by_search, by_argmax],
    },
    "1.7": {
        "wrong": [
            (through_the_table, "alpha bar itself"),
            (only_the_last, "Only the last entry"),
            (lambda ab: (ab.sqrt() - ab.sqrt()[-1]) ** 2, "not stretched"),
            (lambda ab: in_two_steps(ab).sqrt(), "These are the roots"),
            (first_becomes_one, "first value is 1"),
        ],
        "right": [in_two_steps, through_alphas],
    },
}
