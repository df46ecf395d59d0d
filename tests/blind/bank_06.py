"""Answers to chapter 6's exercises, written without a look at the checks."""

import math
from fractions import Fraction

import numpy as np
import sympy
import torch

BANK = {}


# ---- 6.1


def large(numbers=65536, fewer=12, own=16, cross=4, steps=250):
    return {
        "numbers": numbers,
        "times fewer": fewer,
        "self-attention": own,
        "cross-attention": cross,
        "steps": steps,
    }


BANK["6.1"] = {
    "wrong": [
        large(numbers=16384),  # the latents of 512, or one channel of 1024
        large(numbers=128),  # a side
        large(numbers=49152),  # three channels
        large(numbers=4 * 1024 * 1024 // 8),  # divided by f once
        large(fewer=64),  # places, without the channels
        large(fewer=3),  # the large latents against the small picture
        large(fewer=48),  # the large picture against the small latents, or four channels
        large(fewer=3 * 8 / 16),  # f, not squared
        large(fewer=1 / 12),  # upside down
        large(own=4),  # once for every place
        large(own=2),
        large(own=8),
        large(own=256),  # squared once too often
        large(cross=16),  # the words grow too
        large(cross=2),  # sides, not places
        large(cross=1),  # the words do not grow
        large(steps=500),  # by the side
        large(steps=1000),  # as many
        large(steps=4000),  # the wrong way
        large(steps=62.5),  # as if all were attention
        large(16384, 12, 4, 2, 500),  # sides for places throughout
    ],
    "right": [
        large(),
        large(4 * (1024 // 8) ** 2, 3 * 8**2 / 16, (128 / 64) ** 4, (128 / 64) ** 2, 1000 / 4),
        large(2**16, 3 * 2**2, 2**4, 2**2, 1000 // 2**2),
        large(65_500, 11.9, 15.9, 4.05, 248),  # within a fiftieth
        large(*map(np.float64, (65536, 12, 16, 4, 250))),
        large(Fraction(65536), Fraction(3 * 64, 16), Fraction(16), Fraction(4), Fraction(1000, 4)),
        dict(reversed(large().items())),
    ],
}


# ---- 6.2


def grown(layer=14.38, look=5.88):
    return {"first layer": layer, "whole look": look}


projections, comparing = 4 * 4096 * 320**2, 2 * 4096**2 * 320

BANK["6.2"] = {
    "wrong": [
        grown(layer=16),  # comparing alone
        grown(layer=4),  # the projections alone
        grown(layer=10),  # the mean of 4 and 16
        grown(layer=(16 * projections + 4 * comparing) / (projections + comparing)),  # exchanged
        grown(layer=2 * 14.38),
        grown(layer=(2 * projections + 4 * comparing) / (projections + comparing)),  # sides for places
        grown(
            layer=(4 * 4 * 64 * 320**2 + 16 * 2 * 64**2 * 320) / (4 * 64 * 320**2 + 2 * 64**2 * 320)
        ),  # n = 64
        grown(layer=12.415),  # billions of multiply-adds, not how many times
        grown(look=4),  # the network grows with the places
        grown(look=16),  # with their square
        grown(look=(4 * 63 + 16 * 339) / 402),  # exchanged
        grown(look=10),  # the mean of 4 and 16
        grown(look=14.38),  # as the first layer
        grown(look=16 * 63 / 402),  # only what contains n^2
        grown(look=(2 * 339 + 4 * 63) / 402),  # sides for places
        grown(look=402 * 5.88),  # billions
        grown(look=1 / 5.88),  # upside down
        grown(16, 4),
        grown(5.88, 14.38),  # exchanged
    ],
    "right": [
        grown(),
        grown((4 * projections + 16 * comparing) / (projections + comparing), (4 * 339 + 16 * 63) / 402),
        grown(4 + 12 * comparing / (comparing + projections), 4 + 12 * 63 / 402),
        grown(14, 6),
        grown(15, 5.6),
        grown(np.float64(13.9), np.float32(5.9)),
        grown(Fraction(16 * 4096 * 2 + 16 * 320, 2 * 4096 + 4 * 320), Fraction(2364, 402)),
    ],
}


# ---- 6.3

rho, q, p = sympy.symbols("rho q p", positive=True)

BANK["6.3"] = {
    "wrong": [
        q / (q + p),  # (6.11), equal shares
        rho * q / (q + p),  # the share above alone
        rho * q / (rho * q + p),  # painted ones not weighted
        q / (rho * q + (1 - rho) * p),  # real ones not weighted above
        (1 - rho) * q / ((1 - rho) * q + rho * p),  # the shares exchanged
        (1 - rho) * p / (rho * q + (1 - rho) * p),  # the probability of "painted"
        rho * p / (rho * p + (1 - rho) * q),  # p and q exchanged
        rho * q / ((1 - rho) * p),  # odds
        rho * q / (rho * q - (1 - rho) * p),  # a sign in the derivative
        sympy.log(rho * q / ((1 - rho) * p)),  # the score
        rho * q + (1 - rho) * p,  # the mixture's density
        rho,  # without a look at the picture
        rho**2 * q / (rho**2 * q + (1 - rho) ** 2 * p),  # shares squared
        sympy.sqrt(rho * q) / (sympy.sqrt(rho * q) + sympy.sqrt((1 - rho) * p)),
        2 * rho * q / (rho * q + (1 - rho) * p),  # off by 2
        rho * q / (rho * (q + p)),  # the shares cancel
    ],
    "right": [
        rho * q / (rho * q + (1 - rho) * p),
        1 / (1 + (1 - rho) * p / (rho * q)),
        1 - (1 - rho) * p / (rho * q + (1 - rho) * p),
        sympy.expand(rho * q) / sympy.expand(rho * q + p - rho * p),
        q / (q + (1 / rho - 1) * p),
        1 / (1 + sympy.exp(-sympy.log(rho * q / ((1 - rho) * p)))),
    ],
}


# ---- 6.4

ab, v = sympy.symbols("ab v", positive=True)

BANK["6.4"] = {
    "wrong": [
        v * ab,  # can be above 1
        v * ab / (1 - ab),  # the ratio, not its alpha bar
        ab / (ab + v * (1 - ab)),  # the noise has the variance v
        v**2 * ab / (v**2 * ab + 1 - ab),  # v taken for a deviation
        sympy.sqrt(v) * ab / (sympy.sqrt(v) * ab + 1 - ab),  # its root
        v * ab / (v * ab + 1),  # the 1 - ab lost
        v * ab / (1 + v * ab - v),  # v before the noise as well, with a sign
        v * ab / (v + 1 - ab),
        ab / (v * ab + 1 - ab),  # the total variance divides, v above is lost
        1 - v * ab / (v * ab + 1 - ab),  # the noise's share
        sympy.sqrt(v * ab / (v * ab + 1 - ab)),  # the factor, not its square
        ab,  # no difference
        ab / v,
        1 / (1 + v * ab / (1 - ab)),  # 1 / (1 + R)
        30 * ab / (30 * ab + 1 - ab),  # for v = 30 alone
        sympy.log(v * ab / (1 - ab)),  # the logarithm of the ratio
        (v * ab / (1 - ab)) / (1 - v * ab / (1 - ab)),  # R / (1 - R)
    ],
    "right": [
        v * ab / (v * ab + 1 - ab),
        (v * ab / (1 - ab)) / (1 + v * ab / (1 - ab)),
        ab / (ab + (1 - ab) / v),
        1 / (1 + (1 - ab) / (v * ab)),
        1 - (1 - ab) / (1 + ab * (v - 1)),
        v * ab / (1 + (v - 1) * ab),
    ],
}


# ---- 6.5


def curves(a="posterior collapse", b="discriminator won", c="denoiser", d="balance"):
    return {"A": a, "B": b, "C": c, "D": d}


BANK["6.5"] = {
    "wrong": [
        curves(a="denoiser", c="posterior collapse"),
        curves(b="balance", d="discriminator won"),
        curves("denoiser", "balance", "posterior collapse", "discriminator won"),
        curves(a="denoiser"),  # one twice
        curves(d="posterior collapse"),
        curves("discriminator won", "posterior collapse", "balance", "denoiser"),
        curves("balance", "posterior collapse", "denoiser", "discriminator won"),
        curves(c="balance", d="denoiser"),
        curves(a="discriminator won", b="posterior collapse"),
        {
            "posterior collapse": "A",
            "discriminator won": "B",
            "denoiser": "C",
            "balance": "D",
        },  # the other way
    ],
    "right": [
        curves(),
        dict(reversed(curves().items())),
        dict(zip("ABCD", ("posterior collapse", "discriminator won", "denoiser", "balance"))),
        {**curves("denoiser"), "A": "posterior " + "collapse"},
        dict([*curves().items()]),
    ],
}


# ---- 6.6


def scaled_at_the_end(encode, pictures, bar, noise, scale):
    return scale * (bar**0.5 * encode(pictures) + (1 - bar) ** 0.5 * noise)  # not repaired


def no_scale(encode, pictures, bar, noise, scale):
    return bar**0.5 * encode(pictures) + (1 - bar) ** 0.5 * noise


def noise_scaled(encode, pictures, bar, noise, scale):
    return bar**0.5 * encode(pictures) + (1 - bar) ** 0.5 * scale * noise


def divided(encode, pictures, bar, noise, scale):
    return bar**0.5 * encode(pictures) / scale + (1 - bar) ** 0.5 * noise


def scaled_twice(encode, pictures, bar, noise, scale):
    z = scale * encode(pictures)
    return scale * (bar**0.5 * z + (1 - bar) ** 0.5 * noise)


def pictures_scaled(encode, pictures, bar, noise, scale):
    return bar**0.5 * encode(scale * pictures) + (1 - bar) ** 0.5 * noise  # encode is not linear


def roots_forgotten(encode, pictures, bar, noise, scale):
    return bar * scale * encode(pictures) + (1 - bar) * noise


def one_root_forgotten(encode, pictures, bar, noise, scale):
    return bar**0.5 * scale * encode(pictures) + (1 - bar) * noise


def one_minus_root(encode, pictures, bar, noise, scale):
    return bar**0.5 * scale * encode(pictures) + (1 - bar**0.5) * noise


def exchanged(encode, pictures, bar, noise, scale):
    return (1 - bar) ** 0.5 * scale * encode(pictures) + bar**0.5 * noise


def scale_under_the_root(encode, pictures, bar, noise, scale):
    return (scale * bar) ** 0.5 * encode(pictures) + (1 - bar) ** 0.5 * noise


def fresh_noise(encode, pictures, bar, noise, scale):
    z = scale * encode(pictures)
    return bar**0.5 * z + (1 - bar) ** 0.5 * torch.randn_like(z)


def built_in_scale(encode, pictures, bar, noise, scale):
    return bar**0.5 * 0.18215 * encode(pictures) + (1 - bar) ** 0.5 * noise


def own_deviation(encode, pictures, bar, noise, scale):
    z = encode(pictures)
    return bar**0.5 * z / z.std() + (1 - bar) ** 0.5 * noise  # every batch another scale


def variance_repaired_at_the_end(encode, pictures, bar, noise, scale):
    z = bar**0.5 * encode(pictures) + (1 - bar) ** 0.5 * noise
    return z / z.std()


def minus_noise(encode, pictures, bar, noise, scale):
    return bar**0.5 * scale * encode(pictures) - (1 - bar) ** 0.5 * noise


def noise_changed(encode, pictures, bar, noise, scale):
    noise *= (1 - bar) ** 0.5  # the caller's, which is the target
    return bar**0.5 * scale * encode(pictures) + noise


def noised_and_target(encode, pictures, bar, noise, scale):
    return bar**0.5 * scale * encode(pictures) + (1 - bar) ** 0.5 * noise, noise


def noise_before_the_scale_and_root(encode, pictures, bar, noise, scale):
    return bar**0.5 * (scale * encode(pictures) + (1 - bar) ** 0.5 * noise)


def scaled_first(encode, pictures, bar, noise, scale):
    z = scale * encode(pictures)
    return bar**0.5 * z + (1 - bar) ** 0.5 * noise


def noise_divided_before(encode, pictures, bar, noise, scale):
    return scale * (bar**0.5 * encode(pictures) + (1 - bar) ** 0.5 * (noise / scale))


def with_sqrt(encode, pictures, bar, noise, scale):
    signal, rest = torch.as_tensor(bar).sqrt(), (1 - torch.as_tensor(bar)).sqrt()
    return signal * (encode(pictures) * scale) + rest * noise


def picture_by_picture(encode, pictures, bar, noise, scale):
    z = encode(pictures)
    return torch.stack([bar**0.5 * scale * one + (1 - bar) ** 0.5 * n for one, n in zip(z, noise)])


def by_lerp(encode, pictures, bar, noise, scale):
    z = encode(pictures).mul(scale)
    return torch.add(z * bar**0.5, noise, alpha=float(1 - bar) ** 0.5)


def in_double(encode, pictures, bar, noise, scale, dtype=torch.float64):
    z = encode(pictures)
    result = bar**0.5 * scale * z.to(dtype) + (1 - bar) ** 0.5 * noise.to(dtype)
    return result.to(z.dtype)


BANK["6.6"] = {
    "wrong": [
        scaled_at_the_end,
        no_scale,
        noise_scaled,
        divided,
        scaled_twice,
        pictures_scaled,
        roots_forgotten,
        one_root_forgotten,
        one_minus_root,
        exchanged,
        scale_under_the_root,
        fresh_noise,
        built_in_scale,
        own_deviation,
        variance_repaired_at_the_end,
        minus_noise,
        noise_changed,
        noised_and_target,
        noise_before_the_scale_and_root,
    ],
    "right": [scaled_first, noise_divided_before, with_sqrt, picture_by_picture, by_lerp, in_double],
}


# ---- 6.7


def alike(a, b):
    return (a @ b.T / a.shape[1] + 1) ** 3


def different(k):
    return (k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1))


def itself_included(painted, real):
    return alike(painted, painted).mean() + alike(real, real).mean() - 2 * alike(painted, real).mean()


def divided_by_all_pairs(painted, real):
    def among(k):
        return (k.sum() - k.diagonal().sum()) / len(k) ** 2

    return among(alike(painted, painted)) + among(alike(real, real)) - 2 * alike(painted, real).mean()


def itself_included_fewer_pairs(painted, real):
    def among(k):
        return k.sum() / (len(k) * (len(k) - 1))

    return among(alike(painted, painted)) + among(alike(real, real)) - 2 * alike(painted, real).mean()


def each_pair_once_ordered_count(painted, real):
    def among(k):
        return k.triu(1).sum() / (len(k) * (len(k) - 1))  # half of them over all of them

    return among(alike(painted, painted)) + among(alike(real, real)) - 2 * alike(painted, real).mean()


def width_forgotten(painted, real):
    def k(a, b):
        return (a @ b.T + 1) ** 3

    return different(k(painted, painted)) + different(k(real, real)) - 2 * k(painted, real).mean()


def one_forgotten(painted, real):
    def k(a, b):
        return (a @ b.T / a.shape[1]) ** 3

    return different(k(painted, painted)) + different(k(real, real)) - 2 * k(painted, real).mean()


def squared(painted, real):
    def k(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 2

    return different(k(painted, painted)) + different(k(real, real)) - 2 * k(painted, real).mean()


def divided_by_the_number(painted, real):
    def k(a, b):
        return (a @ b.T / len(a) + 1) ** 3

    return different(k(painted, painted)) + different(k(real, real)) - 2 * k(painted, real).mean()


def one_divided_too(painted, real):
    def k(a, b):
        return ((a @ b.T + 1) / a.shape[1]) ** 3

    return different(k(painted, painted)) + different(k(real, real)) - 2 * k(painted, real).mean()


def cross_once(painted, real):
    return different(alike(painted, painted)) + different(alike(real, real)) - alike(painted, real).mean()


def cross_added(painted, real):
    return different(alike(painted, painted)) + different(alike(real, real)) + 2 * alike(painted, real).mean()


def cross_without_diagonal(painted, real):
    n = min(len(painted), len(real))
    cross = different(alike(painted[:n], real[:n]))  # as if pair i were one and the same
    return different(alike(painted, painted)) + different(alike(real, real)) - 2 * cross


def same_numbers(painted, real):
    n = min(len(painted), len(real))
    painted, real = painted[:n], real[:n]  # the rest thrown away
    return different(alike(painted, painted)) + different(alike(real, real)) - 2 * alike(painted, real).mean()


def cross_of_partners(painted, real):
    n = min(len(painted), len(real))
    cross = alike(painted[:n], real[:n]).diagonal().mean()
    return different(alike(painted, painted)) + different(alike(real, real)) - 2 * cross


def not_below_zero(painted, real):
    k = different(alike(painted, painted)) + different(alike(real, real)) - 2 * alike(painted, real).mean()
    return k.clamp(min=0)


def absolute(painted, real):
    k = different(alike(painted, painted)) + different(alike(real, real)) - 2 * alike(painted, real).mean()
    return k.abs()


def of_the_means(painted, real):
    a, b = painted.mean(dim=0, keepdim=True), real.mean(dim=0, keepdim=True)
    return (alike(a, a) + alike(b, b) - 2 * alike(a, b)).squeeze()


def centred(painted, real):
    painted, real = painted - painted.mean(dim=0), real - real.mean(dim=0)  # as a covariance
    return different(alike(painted, painted)) + different(alike(real, real)) - 2 * alike(painted, real).mean()


def no_real_ones(painted, real):
    return different(alike(painted, painted)) - 2 * alike(painted, real).mean()


def powers_of_a_matrix(painted, real):
    def k(a, b):
        return torch.linalg.matrix_power(a @ b.T / a.shape[1] + 1, 3)

    return different(k(painted, painted)) + different(k(real, real)) - 2 * alike(painted, real).mean()


def two_products(painted, real):
    cross = alike(painted, real).mean()
    return different(alike(painted, painted)) + different(alike(real, real)) - 2 * cross


def two_loops(painted, real):
    def k(x, y):
        return (x @ y / len(x) + 1) ** 3

    def among(a):
        return sum(k(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j) / (
            len(a) * (len(a) - 1)
        )

    cross = sum(k(x, y) for x in painted for y in real) / (len(painted) * len(real))
    return among(painted) + among(real) - 2 * cross


def upper_triangles(painted, real):
    def among(a):
        n = len(a)
        i, j = torch.triu_indices(n, n, offset=1)
        return ((a[i] * a[j]).mean(dim=1) + 1).pow(3).mean()

    cross = torch.einsum("id,jd->ij", painted, real).div(painted.shape[1]).add(1).pow(3).mean()
    return among(painted) + among(real) - 2 * cross


def masked(painted, real):
    def among(a):
        return alike(a, a)[~torch.eye(len(a), dtype=torch.bool)].mean()

    return among(painted) - 2 * alike(painted, real).mean() + among(real)


def all_in_one_table(painted, real):
    n, both = len(painted), torch.cat([painted, real]).double()
    k = (both @ both.T / both.shape[1] + 1) ** 3
    k.fill_diagonal_(0)
    m = len(real)
    own = k[:n, :n].sum() / (n * (n - 1)) + k[n:, n:].sum() / (m * (m - 1))
    return (own - 2 * k[:n, n:].mean()).to(painted.dtype)


def from_mean_with_itself(painted, real):
    def among(a):
        n, itself = len(a), ((a**2).mean(dim=1) + 1) ** 3
        return alike(a, a).mean() * n / (n - 1) - itself.mean() / (n - 1)

    return among(painted) + among(real) - 2 * alike(painted, real).mean()


BANK["6.7"] = {
    "wrong": [
        itself_included,
        divided_by_all_pairs,
        itself_included_fewer_pairs,
        each_pair_once_ordered_count,
        width_forgotten,
        one_forgotten,
        squared,
        divided_by_the_number,
        one_divided_too,
        cross_once,
        cross_added,
        cross_without_diagonal,
        same_numbers,
        cross_of_partners,
        not_below_zero,
        absolute,
        of_the_means,
        centred,
        no_real_ones,
        powers_of_a_matrix,
    ],
    "right": [two_products, two_loops, upper_triangles, masked, all_in_one_table, from_mean_with_itself],
}


# ---- 6.8


def sums(batches):
    count = total = squares = 0.0
    for batch in batches:
        numbers = batch.double()
        count += numbers.numel()
        total += float(numbers.sum())
        squares += float(numbers.square().sum())
    return count, total, squares


def mean_of_scales(batches):
    return float(torch.stack([1 / batch.std(correction=0) for batch in batches]).mean())


def mean_of_deviations(batches):
    return 1 / float(torch.stack([batch.std(correction=0) for batch in batches]).mean())


def mean_of_variances(batches):
    return 1 / float(torch.stack([batch.var(correction=0) for batch in batches]).mean()) ** 0.5


def within_batches(batches):
    inside = sum(float(batch.double().var(correction=0)) * batch.numel() for batch in batches)
    return (
        1 / (inside / sum(batch.numel() for batch in batches)) ** 0.5
    )  # weighted, but each about its own mean


def mean_taken_for_zero(batches):
    count, _, squares = sums(batches)
    return 1 / (squares / count) ** 0.5


def batches_equal(batches):
    mean = np.mean([float(batch.double().mean()) for batch in batches])
    square = np.mean([float(batch.double().square().mean()) for batch in batches])
    return 1 / (square - mean**2) ** 0.5  # a small batch counts as much as a large one


def deviation(batches):
    count, total, squares = sums(batches)
    return (squares / count - (total / count) ** 2) ** 0.5


def variance(batches):
    count, total, squares = sums(batches)
    return 1 / (squares / count - (total / count) ** 2)


def one_less(batches):
    count, total, squares = sums(batches)
    return 1 / ((squares - total**2 / count) / (count - 1)) ** 0.5


def pictures_counted(batches):
    _, total, squares = sums(batches)
    count = sum(len(batch) for batch in batches)
    return 1 / abs(squares / count - (total / count) ** 2) ** 0.5  # not numbers


def sum_not_squared(batches):
    count, total, squares = sums(batches)
    return 1 / abs(squares / count - total / count) ** 0.5


def square_of_the_sum(batches):
    count, total, squares = sums(batches)
    return 1 / abs(squares / count - total**2 / count) ** 0.5


def first_batch(batches):
    return 1 / float(batches[0].std(correction=0))


def one_for_each_channel(batches):
    count = sum(batch[:, 0].numel() for batch in batches)
    total = sum(batch.double().sum(dim=(0, 2, 3)) for batch in batches)
    squares = sum(batch.double().square().sum(dim=(0, 2, 3)) for batch in batches)
    return 1 / (squares / count - (total / count) ** 2).sqrt()


def mean_over_channels(batches):
    return float(one_for_each_channel(batches).mean())


def put_together(batches):
    return 1 / float(torch.cat(list(batches)).double().std(correction=0))  # a hundred thousand would not fit


def stable_diffusions(batches):
    return 0.18215


def largest_number(batches):
    return 1 / max(float(batch.abs().max()) for batch in batches)


def last_batch_left_out(batches):
    count, total, squares = sums(batches[:-1])
    return 1 / (squares / count - (total / count) ** 2) ** 0.5 if count else 1.0


def batches_changed(batches):
    count, total, _ = sums(batches)
    for batch in batches:
        batch -= total / count  # the caller's
    return 1 / (sums(batches)[2] / count) ** 0.5


def running_sums(batches):
    count, total, squares = sums(batches)
    return 1 / (squares / count - (total / count) ** 2) ** 0.5


def two_walks(batches):
    count, total, _ = sums(batches)
    mean = total / count
    return math.sqrt(count / sum(float((batch.double() - mean).square().sum()) for batch in batches))


def merged_moments(batches):
    n, mean, off = 0, 0.0, 0.0
    for batch in batches:  # Chan's rule
        x = batch.double()
        m, other = x.numel(), float(x.mean())
        off += float((x - other).square().sum()) + (other - mean) ** 2 * n * m / (n + m)
        mean += (other - mean) * m / (n + m)
        n += m
    return (off / n) ** -0.5


def by_numpy(batches):
    arrays = [batch.numpy().astype(np.float64).ravel() for batch in batches]
    count = sum(a.size for a in arrays)
    mean = sum(a.sum() for a in arrays) / count
    return 1 / np.sqrt(sum(a @ a for a in arrays) / count - mean**2)


def within_and_between(batches):
    sizes = torch.tensor([batch.numel() for batch in batches], dtype=torch.float64)
    means = torch.stack([batch.double().mean() for batch in batches])
    variances = torch.stack([batch.double().var(correction=0) for batch in batches])
    share = sizes / sizes.sum()
    mean = (share * means).sum()
    return float((share * (variances + (means - mean) ** 2)).sum().rsqrt())  # within and between


def picture_by_picture_sums(batches):
    moments = torch.zeros(3, dtype=torch.float64)
    for batch in batches:
        for picture in batch:
            x = picture.flatten().double()
            moments += torch.stack([torch.tensor(float(x.numel()), dtype=torch.float64), x.sum(), x @ x])
    n, s, ss = moments.tolist()
    return n / math.sqrt(n * ss - s * s)


BANK["6.8"] = {
    "wrong": [
        mean_of_scales,
        mean_of_deviations,
        mean_of_variances,
        within_batches,
        mean_taken_for_zero,
        batches_equal,
        deviation,
        variance,
        one_less,
        pictures_counted,
        sum_not_squared,
        square_of_the_sum,
        first_batch,
        one_for_each_channel,
        mean_over_channels,
        put_together,
        stable_diffusions,
        largest_number,
        last_batch_left_out,
        batches_changed,
    ],
    "right": [running_sums, two_walks, merged_moments, by_numpy, within_and_between, picture_by_picture_sums],
}


# ---- 6.9

JS = (math.log(2 / 3) / 4 + 0.75 * math.log(2) + math.log(4 / 3) / 2 + math.log(2) / 2) / 2 / math.log(2)


def slope(steep=99.0, mild=0.25, answer=1 / 3, js=JS):
    return {"at 0.01": steep, "at 0.8": mild, "best answer": answer, "JS over ln 2": js}


BANK["6.9"] = {
    "wrong": [
        slope(steep=1 / 99),  # upside down
        slope(steep=0.01),  # the saturating slope
        slope(steep=0.99),  # the other slope
        slope(steep=-99.0),  # a sign
        slope(steep=math.log(0.01) / math.log(0.99)),  # losses, not slopes
        slope(steep=50),
        slope(mild=4.0),  # upside down
        slope(mild=0.2),  # the non-saturating slope alone
        slope(mild=0.8),
        slope(mild=1.25),  # 1 / 0.8
        slope(mild=25),  # percent
        slope(answer=2 / 3),  # of "painted"
        slope(answer=0.2),  # without the mud
        slope(answer=0.5),  # they are perfect
        slope(answer=0.0625),  # q
        slope(answer=1 / 9),  # half of the paintings at one place
        slope(js=JS * math.log(2)),  # not divided by ln 2
        slope(js=2 * JS),  # the half forgotten
        slope(js=0.75),  # the share of the missing types
        slope(js=1.0),  # no overlap
        slope(js=0.5488),  # without the mud
        slope(js=(math.log(2 / 3) / 4 + 0.75 * math.log(2)) / math.log(2)),  # KL(q, m) alone
        slope(js=(math.log(4 / 3) / 2 + math.log(2) / 2) / math.log(2)),  # KL(p, m) alone
        slope(js=JS - 0.25),  # the mud left out of the sum
        slope(1 / 99, 4.0, 2 / 3, 1 - JS),  # all turned round
    ],
    "right": [
        slope(),
        slope((1 - 0.01) / 0.01, (1 - 0.8) / 0.8, (1 / 16) / (1 / 16 + 1 / 8), 0.6556),
        slope(100, 0.25, 1 / 3, 0.66),
        slope(Fraction(99), Fraction(1, 4), Fraction(1, 3), Fraction(2, 3)),
        slope(np.float64(98), np.float64(0.245), np.float64(0.34), np.float64(0.65)),
        slope(js=(0.25 * np.log2(2 / 3) + 0.75 + 0.5 * np.log2(4 / 3) + 0.5) / 2),
        slope(steep=101, js=0.66),
    ],
}


# ---- 6.10


def marked(copier=16, snob=12, good=0.15, careless=0, step=3.71):
    return {
        "copier, found": copier,
        "snob, named": snob,
        "careless, good": good,
        "careless, found": careless,
        "step": step,
    }


BANK["6.10"] = {
    "wrong": [
        marked(copier=0),  # copies do not count
        marked(copier=1),
        marked(copier=12),
        marked(snob=16),  # one picture is enough
        marked(snob=4),  # the others
        marked(snob=0),  # none is a sixteenth
        marked(good=0.85),  # the bad ones
        marked(good=15),  # percent
        marked(good=1.0),
        marked(good=0.0),
        marked(careless=16),  # a type is named, so it is found
        marked(careless=2),  # 15 % of sixteen
        marked(careless=15),
        marked(step=4.0),  # like the pixels
        marked(step=16.0),  # like their square
        marked(step=1.0),  # the hidden layers do not grow
        marked(step=2.0),  # like the side
        marked(step=1 / 3.71),  # upside down
        marked(snob=16, careless=16),  # no threshold at all
    ],
    "right": [
        marked(),
        marked(4 * 4, 16 - 4, 1 - 0.85, 0, 3.7),
        marked(step=3.75),
        marked(*map(np.float64, (16, 12, 0.15, 0, 3.68))),
        marked(good=Fraction(3, 20)),
        dict(reversed(marked().items())),
    ],
}


# ---- 6.11


def shared(most=0.5, fewest=0.25, returned=0.75):
    return {"most clean": most, "fewest clean": fewest, "best returned": returned}


BANK["6.11"] = {
    "wrong": [
        shared(most=0.25),  # the longest training of the denoiser
        shared(fewest=0.5),  # the chapter's share taken for unfair
        shared(returned=0.5),
        shared(returned=0.25),
        shared(0.25, 0.75, 0.75),  # the order turned round
        shared(most=0.8),  # a part of the other budget
        shared(returned=0.936),  # its share of clean stickers, not the part
        shared(fewest=25),  # percent
    ],
    "right": [
        shared(),
        dict(reversed(shared().items())),
        shared(*map(np.float64, (0.5, 0.25, 0.75))),
        shared(Fraction(1, 2), 1 / 4, 3 / 4),
    ],
}
