"""Chapter 1: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import einops
import numpy as np
import sympy
import torch

# 1.2


def verdicts(**said):
    """The right verdicts, but for what is said."""
    right = {
        "A": "jumps",
        "B": "one noise for all doses",
        "C": "uniform noise",
        "D": "right",
        "E": "shrunk by 1 - beta",
        "F": "neighbours share noise",
    }
    return {**right, **said}


# 1.3


def factors(x0, noise, ab):
    ab = ab[:, None, None, None]
    return ab**0.5 * x0 + (1 - ab) ** 0.5 * noise


def with_einops(x0, noise, decibels):
    snr = torch.pow(10.0, decibels / 10)
    ab = einops.rearrange(snr / (snr + 1), "b -> b 1 1 1")
    return torch.sqrt(ab) * x0 + torch.sqrt(1 - ab) * noise


def one_by_one(x0, noise, decibels):
    out = torch.empty_like(x0)
    for i, level in enumerate(decibels.tolist()):
        ab = 1 / (1 + 10 ** (-level / 10))
        out[i] = math.sqrt(ab) * x0[i] + math.sqrt(1 - ab) * noise[i]
    return out


def shrunk_after(x0, noise, decibels):
    sigma = (10 ** (-decibels / 20)).view(-1, 1, 1, 1)
    return (x0 + sigma * noise) / (1 + sigma**2).sqrt()


def not_shrunk(x0, noise, decibels):
    sigma = (10 ** (-decibels / 20)).view(-1, 1, 1, 1)
    return x0 + sigma * noise


def twenty(x0, noise, decibels):
    snr = 10 ** (decibels / 20)
    return factors(x0, noise, snr / (1 + snr)) * 1.0


def natural(x0, noise, decibels):
    return factors(x0, noise, torch.sigmoid(decibels / 10))


def not_solved(x0, noise, decibels):
    return factors(x0, noise, 10 ** (decibels / 10))


def upside_down(x0, noise, decibels):
    return factors(x0, noise, 1 / (1 + 10 ** (decibels / 10)))


def no_roots(x0, noise, decibels):
    snr = 10 ** (decibels / 10)
    ab = (snr / (1 + snr)).reshape(-1, 1, 1, 1)
    return ab * x0 + (1 - ab) * noise


def first_alone(x0, noise, decibels):
    snr = 10 ** (decibels[0] / 10)
    ab = snr / (1 + snr)
    return ab.sqrt() * x0 + (1 - ab).sqrt() * noise


def flat(x0, noise, decibels):
    snr = 10 ** (decibels / 10)
    ab = snr / (1 + snr)
    return ab.sqrt() * x0 + (1 - ab).sqrt() * noise


# 1.4 and 1.5

M, N, SNR = sympy.symbols("m N snr", positive=True)
S, TT = sympy.symbols("ab_s ab_t", positive=True)


def in_widths(m, N, snr):
    return 0.5 * m / (1 / math.sqrt(N * snr))


def by_the_ratios(ab_s, ab_t):
    return math.sqrt(ab_t / (1 - ab_t)) / math.sqrt(ab_s / (1 - ab_s))


# 1.6


def mix(x0, noise, ab):
    ab = ab.view(-1, 1, 1, 1)
    return ab.sqrt() * x0 + (1 - ab).sqrt() * noise, noise


def table(betas):
    return torch.cumprod(1 - betas, 0)


def all_in_full(x0, noise, t, betas):
    x_t, _ = mix(x0.float(), noise.float(), table(betas)[t])
    return x_t.to(x0.dtype), noise


def factors_in_double(x0, noise, t, betas):
    ab = table(betas.double()).gather(0, t)[:, None, None, None]
    return x0 * ab.sqrt().to(x0.dtype) + noise * (1 - ab).sqrt().to(x0.dtype), noise


def by_loop(x0, noise, t, betas):
    kept, x_t = table(betas), torch.empty_like(x0)
    for i, when in enumerate(t.tolist()):
        x_t[i] = kept[when] ** 0.5 * x0[i] + (1 - kept[when]) ** 0.5 * noise[i]
    return x_t, noise


def by_logarithms(x0, noise, t, betas):
    log_kept = torch.log1p(-betas).cumsum(0)[t].view(-1, 1, 1, 1)
    of_noise = (-torch.expm1(log_kept)).sqrt()
    return (log_kept / 2).exp().to(x0.dtype) * x0 + of_noise.to(x0.dtype) * noise, noise


def table_alone(x0, noise, t, betas):
    return mix(x0, noise, table(betas.float())[t].to(x0.dtype))


def stays_full(x0, noise, t, betas):
    return mix(x0.float(), noise.float(), table(betas)[t])[0], noise


def one_early(x0, noise, t, betas):
    return all_in_full(x0, noise, t - 1, betas)


def one_early_clamped(x0, noise, t, betas):
    return all_in_full(x0, noise, torch.clamp(t - 1, min=0), betas)


def one_late_clamped(x0, noise, t, betas):
    return all_in_full(x0, noise, (t + 1).clamp(max=len(betas) - 1), betas)


def twice_the_picture(x0, noise, t, betas):
    x_t, _ = all_in_full(x0, noise, t, betas)
    return x_t, x_t.clone()


def by_the_tangent(x0, noise, t, betas):
    return mix(x0, noise, torch.exp(-betas.cumsum(0))[t].to(x0.dtype))


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


# 1.9


def closest(distances):
    return min(distances, key=distances.get)


def mean_pictures(x_t, alpha_bar, examples):
    return closest({h: float((x_t / alpha_bar**0.5 - p.mean(0)).square().sum()) for h, p in examples.items()})


def matched(x_t, alpha_bar, examples):
    means = {h: alpha_bar**0.5 * p.mean(0) for h, p in examples.items()}
    return closest({h: float((m * m).sum() - 2 * (m * x_t).sum()) for h, m in means.items()})


def nearest_example(x_t, alpha_bar, examples):
    return closest(
        {h: float((x_t - alpha_bar**0.5 * p).flatten(1).norm(dim=1).min()) for h, p in examples.items()}
    )


def by_brightness(x_t, alpha_bar, examples):
    return closest({h: abs(float(x_t.mean() - alpha_bar**0.5 * p.mean())) for h, p in examples.items()})


def by_colour(x_t, alpha_bar, examples):
    return closest(
        {
            h: float((x_t.mean((1, 2)) - alpha_bar**0.5 * p.mean((0, 2, 3))).norm())
            for h, p in examples.items()
        }
    )


def as_they_are(x_t, alpha_bar, examples):
    return closest({h: float((x_t - p.mean(0)).norm()) for h, p in examples.items()})


def too_pale(x_t, alpha_bar, examples):
    return closest({h: float((x_t - alpha_bar * p.mean(0)).norm()) for h, p in examples.items()})


def in_capitals(x_t, alpha_bar, examples):
    return mean_pictures(x_t, alpha_bar, examples).upper()


def widths(two, difference, twice, mean):
    return {
        "sum of two": two,
        "difference of two": difference,
        "one noise twice": twice,
        "mean of 2,500": mean,
    }


def larger(d, snr, t, lead):
    return {
        "distance d": d,
        "SNR at which they drown": snr,
        "drowned from t": t,
        "lead of the mean (1.22)": lead,
    }


BANK = {
    "1.1": {
        "wrong": [
            (widths(2.0, 1.41, 2.0, 0.02), "You added the widths"),
            (widths(1.41, 0.0, 2.0, 0.02), "does not take the other away"),
            (widths(1.41, 1.41, 1.41, 0.02), "independent of itself"),
            (widths(1.41, 1.41, 2.0, 1.0), "partly cancel"),
            (widths(1.41, 1.41, 2.0, 0.0004), "grown wider, too"),
            (widths(1.41, 1.41, 2.0, 50), "A mean also divides"),
            (widths(1.41, 1.41, 2.0, 0.2), '"mean of 2,500": 10 times too large'),
        ],
        "right": [
            widths(1.414, 1.414, 2, 0.02),
            widths(math.sqrt(2), np.sqrt(2), 2.0, 1 / math.sqrt(2500)),
            [1.4, 1.4, 2.0, 0.02],
        ],
    },
    "1.2": {
        "wrong": [
            (verdicts(B="not shrunk"), "How large is B's"),
            (verdicts(E="beta for its root"), "after a single dose"),
            (verdicts(E="not shrunk"), "Look at E's"),
            (verdicts(C="right"), "the whole distribution"),
            (verdicts(A="right"), "two doses together"),
            (verdicts(F="right"), "two walkers together"),
            (verdicts(D="uniform noise", C="neighbours share noise"), "You suspect D"),
            (verdicts(A="neighbours share noise"), "5 of 6 are right"),
        ],
        "right": [verdicts(), list(verdicts().values())],
    },
    "1.3": {
        "wrong": [
            (twenty, "You took 20 for 10"),
            (natural, "not of e"),
            (not_solved, "the ratio itself for alpha bar"),
            (upside_down, "Upside down"),
            (not_shrunk, "the numbers have the wrong size"),
            (no_roots, "Neither factor is a root"),
            (first_alone, "first picture's loudness"),
            (flat, "along the width"),
        ],
        "right": [with_einops, one_by_one, shrunk_after],
    },
    "1.4": {
        "wrong": [
            (M * sympy.sqrt(SNR) / 2, "for a picture of one number"),
            (M * N * sympy.sqrt(SNR) / 2, "N times narrower"),
            (M * sympy.sqrt(SNR / N) / 2, "The wrong way round"),
            (M * sympy.sqrt(N * SNR), "past the middle"),
            (M * sympy.sqrt(N) * SNR / 2, "a ratio of variances"),
            (sympy.sqrt(M * N * SNR) / 2, "does not belong under the root"),
            (M**2 * N * SNR / 4, "the square of it"),
            (-M * sympy.sqrt(N * SNR) / 2, "The minus sign"),
        ],
        "right": [
            M * sympy.sqrt(N) * sympy.sqrt(SNR) / 2,
            sympy.sqrt(((N + 1) ** 2 - N**2 - N - 1) * SNR) * M / 2,  # the bracket is N
            in_widths,
        ],
    },
    "1.5": {
        "wrong": [
            (sympy.sqrt(TT / S) * (1 - S), "This is the covariance"),
            (sympy.sqrt(TT / S), "what multiplies x_s"),
            (sympy.sqrt(TT / S) * (1 - S) / (1 - TT), "the variance of x_t"),
            (sympy.sqrt(TT / S) / (1 - TT), "the two variances"),
            (TT * (1 - S) / S / (1 - TT), "the square of it"),
            (sympy.sqrt((1 - S) / (1 - TT)), "have shrunk what x_s"),
            (sympy.Integer(1), "two jumps with the same noise"),
            (sympy.Integer(0), "Independent?"),
            (sympy.sqrt(S / TT * (1 - TT) / (1 - S)), "Upside down"),
        ],
        "right": [
            sympy.sqrt(TT * (1 - S) / (S * (1 - TT))),
            sympy.sqrt(TT / S) * (1 - S) / sympy.sqrt((1 - S) * (1 - TT)),
            by_the_ratios,
        ],
    },
    "1.6": {
        "wrong": [
            (table_alone, "The table is right now"),
            (stays_full, "of another kind now"),
            (one_early, "takes the last entry"),
            (one_early_clamped, "every picture but the one at t = 0"),
            (one_late_clamped, "one dose too many"),
            (twice_the_picture, "The second of the pair"),
            (by_the_tangent, "the right side of (1.17)"),
        ],
        "right": [all_in_full, factors_in_double, by_loop, by_logarithms],
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
    "1.8": {
        "wrong": [
            (larger(4.0, 0.25, 837, 2.0), "The distance is the root"),
            (larger(1.0, 0.25, 837, 2.0), "a sum over all"),
            (larger(2.0, 0.5, 837, 2.0), "the root of the signal-to-noise ratio"),
            (larger(2.0, 4.0, 837, 2.0), "The other way round"),
            (larger(2.0, 0.25, 677, 2.0), "the small pictures' timestep"),
            (larger(2.0, 0.25, 837, 4.0), "What does (1.22) do with N"),
            (larger(2.0, 0.25, 999, 2.0), "a little too large"),
        ],
        "right": [larger(2, 1 / 4, 840, 2), larger(2.0, 0.25, 830, 2.0)],
    },
    "1.9": {
        "wrong": [
            (lambda x_t, alpha_bar, examples: "day", "always give the same answer"),
            (as_they_are, "do not depend on alpha_bar"),
            (by_brightness, "brightness alone"),
            (by_colour, "turn the pictures upside down"),
            (too_pale, "its root"),
            (in_capitals, "is no answer"),
        ],
        "right": [mean_pictures, matched, nearest_example],
    },
}
