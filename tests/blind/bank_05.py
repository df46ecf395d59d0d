"""Answers to chapter 5's exercises, written without a look at the checks."""

import math
from fractions import Fraction

import numpy as np
import sympy
import torch
import torch.nn.functional as F

BANK = {}


# ---- 5.1


def guess(latents=24576, nats=4.5, error=0.04, even=0.1, shift=12):
    return {
        "latents of a 768 x 512 picture": latents,
        "nats of a latent with mean 3 and standard deviation 1": nats,
        "squared error at 20 dB": error,
        "alpha-bar where latents of variance 9 are even": even,
        "pixels of shift, padding wrong at the last two of four halvings": shift,
    }


BANK["5.1"] = {
    "wrong": [
        guess(latents=6144),  # places, without the four channels
        guess(latents=768 * 512 * 3),  # the pixels' numbers
        guess(latents=4 * 64 * 64),  # a picture of 512 x 512
        guess(latents=3 * 96 * 64),  # three channels, as in pixels
        guess(nats=5.0),  # (mu^2 + sigma^2) / 2, without the -1
        guess(nats=9.0),  # without the half
        guess(nats=4.5 / math.log(2)),  # in bits
        guess(nats=1.5),  # mu, not squared
        guess(error=0.01),  # a range of 1
        guess(error=0.02),  # a range of 2, not squared
        guess(error=0.2),  # the root of it
        guess(error=0.4),  # 10 ** (-20 / 20)
        guess(even=0.9),  # the noise's share
        guess(even=1 / 9),  # 1 / v for 1 / (1 + v)
        guess(even=0.25),  # the deviation for the variance
        guess(even=1 / 82),  # the variance squared
        guess(even=0.1**0.5),  # the factor of the picture, not its square
        guess(shift=2),  # a pixel for each wrong halving, each in its own units
        guess(shift=3),  # in units of the pixels that enter the third halving
        guess(shift=24),  # the distance after each halving, 8 and 16, for that before it
        guess(shift=15),  # all four halvings wrong
        guess(shift=0.75),  # in latents
        guess(latents=6144, nats=5.0, error=0.01, even=0.9, shift=3),  # several slips at once
    ],
    "right": [
        guess(),
        guess(4 * (768 // 8) * (512 // 8), 3**2 / 2, 4 / 100, 1 / 10, 4 + 8),
        guess(24_600, 4.4, 0.0395, 0.102, 12.0),  # rounded in the head
        guess(24_000, 4.6, 0.041, 0.097, 12.3),  # within a twentieth
        guess(Fraction(24576), Fraction(9, 2), Fraction(1, 25), Fraction(1, 10), Fraction(12)),
        guess(
            np.int64(24576),
            np.float64(4.5),
            np.float64(2**2 * 10 ** (-20 / 10)),
            np.float64(0.1),
            np.int64(12),
        ),
        dict(reversed(guess().items())),  # in another order
    ],
}


# ---- 5.2

m, v, w = sympy.symbols("m v w", positive=True)
mean_kl = (m**2 + v + w - 1 - sympy.log(w)) / 2
heap_kl = (m**2 + (v + w) - 1 - sympy.log(v + w)) / 2

BANK["5.2"] = {
    "wrong": [
        sympy.log((v + w) / w),  # the half forgotten
        sympy.log(w / (v + w)) / 2,  # the other way round
        sympy.log(v / w) / 2,  # the heap's variance is only that of the means
        sympy.log((v + w) / v) / 2,  # divided by the wrong one of the two
        sympy.log(v + w) / 2,  # the code's own logarithm forgotten
        sympy.log(1 + v) / 2,  # every code has variance 1
        sympy.log((v + w) / w) / 2 - v / 2,  # the mean of mu^2 taken for m^2
        sympy.log((v + w) / w) / 2 + m**2 / 2,  # the heap taken to have mean 0
        sympy.log((v + w) / w, 2) / 2,  # in bits
        sympy.log((v**2 + w**2) / w**2) / 2,  # variances taken for deviations
        sympy.log((sympy.sqrt(v) + sympy.sqrt(w)) / sympy.sqrt(w)),  # deviations added
        mean_kl,  # only one of the two divergences
        heap_kl,  # the other
        mean_kl + heap_kl,  # sum for difference
        v / (2 * w),  # only for small v
    ],
    "right": [
        sympy.log(1 + v / w) / 2,
        (sympy.log(v + w) - sympy.log(w)) / 2,
        mean_kl - heap_kl,
        sympy.log(sympy.sqrt((v + w) / w)),
        -sympy.log(w / (v + w)) / 2,
        sympy.Rational(1, 2) * sympy.log(v + w) - sympy.log(sympy.sqrt(w)),
        0.5 * sympy.log((v + w) / w),
    ],
}


# ---- 5.3

TWICE = 10 * math.log10(2)


def coins(mean=0.84, median=1.2, draw=1.68, decibels=TWICE):
    return {
        "squared error of the mean": mean,
        "squared error of the median": median,
        "squared error of a fair draw": draw,
        "decibels from the mean to the draw": decibels,
    }


BANK["5.3"] = {
    "wrong": [
        coins(0.21, 0.3, 0.42),  # dark is 0 and bright is 1
        coins(mean=1.0),  # the answer 0, halfway between the two
        coins(mean=-0.4, median=-1),  # the answers, not what they cost
        coins(0.84**0.5, 1.2**0.5, 1.68**0.5),  # roots of the errors
        coins(median=0.6),  # the absolute error of the median
        coins(median=2.8),  # the median is taken to be +1
        coins(median=0.36),  # the squared distance between mean and median
        coins(draw=0.84),  # whoever draws fairly pays as much as the mean
        coins(draw=0.42),  # how often they differ, without the price
        coins(draw=0.84 + 1.0),  # a draw from a fair coin added
        coins(draw=2.0),  # a coin of one half and one half
        coins(draw=0.84, decibels=0.0),  # one half of the cases that differ, consistently
        coins(decibels=-10 * math.log10(2)),  # the sign: worse by
        coins(decibels=20 * math.log10(2)),  # 20 log10 of squared errors
        coins(decibels=10 * math.log10(1.68 / 1.2)),  # from the median to the draw
        coins(decibels=10 * math.log(2)),  # the natural logarithm
        coins(decibels=2.0),  # the ratio, not in decibels
    ],
    "right": [
        coins(),
        coins(1 - 0.4**2, 0.3 * 4, 2 * 0.7 * 0.3 * 4, 3),
        coins(0.85, 1.2, 1.7, 3.0),
        coins(Fraction(21, 25), Fraction(6, 5), Fraction(42, 25), 3.01),
        coins(np.var([-1] * 7 + [1] * 3), np.float64(1.2), 2 * np.var([-1] * 7 + [1] * 3), 10 * np.log10(2)),
        coins(0.82, 1.22, 1.65, 2.95),
    ],
}


# ---- 5.4


def off(decoded, pictures, s):
    """The mean squared error of what is decoded, moved back by s, without the border."""
    side = pictures.shape[-1]
    difference = decoded[..., s:, s:] - pictures[..., : side - s, : side - s]
    return float(difference[..., 2:-2, 2:-2].square().mean())


def search(encode, decode, pictures, factors, shifts, error=off):
    latents = encode(pictures)
    tried = []
    for factor in factors:
        decoded = decode(latents / float(factor))
        tried += [(error(decoded, pictures, s), float(factor), s) for s in shifts]
    return min(tried)[1:]


def found(encode, decode, pictures):
    factor, shift = search(encode, decode, pictures, np.geomspace(0.1, 10, 41), range(16))
    return search(encode, decode, pictures, factor * np.geomspace(0.87, 1.15, 41), [shift])


def shift_first(encode, decode, pictures):
    factor, shift = found(encode, decode, pictures)
    return shift, factor


def what_to_multiply_by(encode, decode, pictures):
    factor, shift = found(encode, decode, pictures)
    return 1 / factor, shift


def minus_the_shift(encode, decode, pictures):
    factor, shift = found(encode, decode, pictures)
    return factor, -shift  # the way back


def squared_factor(encode, decode, pictures):
    factor, shift = found(encode, decode, pictures)
    return factor**2, shift  # variances


def shift_forgotten(encode, decode, pictures):
    return search(encode, decode, pictures, np.geomspace(0.1, 10, 400), [0])


def factor_forgotten(encode, decode, pictures):
    return search(encode, decode, pictures, [1.0], range(16))


def factor_first(encode, decode, pictures):
    factor, _ = search(encode, decode, pictures, np.geomspace(0.1, 10, 400), [0])  # against unmoved pictures
    return search(encode, decode, pictures, [factor], range(16))


def deviation_of_the_latents(encode, decode, pictures):
    _, shift = found(encode, decode, pictures)
    return float(encode(pictures).std()), shift  # as if they had been of variance 1


def slope_of_the_pictures(encode, decode, pictures):
    _, shift = found(encode, decode, pictures)
    decoded, side = decode(encode(pictures)), pictures.shape[-1]
    a, b = decoded[..., shift:, shift:], pictures[..., : side - shift, : side - shift]
    return float((a * b).sum() / (b * b).sum()), shift  # as if the decoder were linear


def coarse_factors(encode, decode, pictures):
    return search(encode, decode, pictures, np.geomspace(0.1, 10, 5), range(16))


def whole_factors(encode, decode, pictures):
    return search(encode, decode, pictures, range(1, 11), range(16))  # none below 1


def factors_above_one(encode, decode, pictures):
    return search(encode, decode, pictures, np.geomspace(1, 10, 200), range(16))


def small_shifts(encode, decode, pictures):
    return search(encode, decode, pictures, np.geomspace(0.1, 10, 200), range(8))


def shift_in_latents(encode, decode, pictures):
    factor, shift = found(encode, decode, pictures)
    return factor, shift // 2


def one_too_far(encode, decode, pictures):
    factor, shift = found(encode, decode, pictures)
    return factor, shift + 1  # counted from 1


def to_the_right_only(encode, decode, pictures):
    def error(decoded, pictures, s):
        side = pictures.shape[-1]
        return float((decoded[..., s:] - pictures[..., : side - s]).square().mean())

    return search(encode, decode, pictures, np.geomspace(0.1, 10, 200), range(16), error)


def the_wrong_way(encode, decode, pictures):
    def error(decoded, pictures, s):
        side = pictures.shape[-1]
        return float((decoded[..., : side - s, : side - s] - pictures[..., s:, s:]).square().mean())

    return search(encode, decode, pictures, np.geomspace(0.1, 10, 200), range(16), error)


def the_practice_pair(encode, decode, pictures):
    return 3.0, 5


def worst_of_all(encode, decode, pictures):
    latents = encode(pictures)
    factors = np.geomspace(0.1, 10, 60)
    tried = [(off(decode(latents / float(f)), pictures, s), float(f), s) for f in factors for s in range(16)]
    return max(tried)[1:]


def the_error_as_well(encode, decode, pictures):
    factor, shift = found(encode, decode, pictures)
    return off(decode(encode(pictures) / factor), pictures, shift), factor, shift


def fine_grid(encode, decode, pictures):
    return search(encode, decode, pictures, np.geomspace(0.1, 10, 300), range(16))


def by_correlation(encode, decode, pictures):
    latents, side = encode(pictures), pictures.shape[-1]
    best = (-2.0, 0)
    for factor in (0.1, 0.3, 1.0, 3.0, 10.0):  # the shift is seen whatever the contrast
        decoded = decode(latents / factor)
        for s in range(16):
            a, b = decoded[..., s + 2 : -2, s + 2 : -2], pictures[..., 2 : side - s - 2, 2 : side - s - 2]
            a, b = a - a.mean(), b - b.mean()
            best = max(
                best, (float((a * b).mean() / (a.square().mean() * b.square().mean() + 1e-12).sqrt()), s)
            )
    return search(encode, decode, pictures, np.geomspace(0.1, 10, 400), [best[1]])


def golden_section(encode, decode, pictures):
    factor, shift = search(
        encode, decode, pictures, [10 ** (k / 10) for k in range(-10, 11)], list(range(16))
    )
    latents = encode(pictures)

    def error(log):
        return off(decode(latents / math.exp(log)), pictures, shift)

    low, high, g = math.log(factor) - 0.24, math.log(factor) + 0.24, (5**0.5 - 1) / 2
    for _ in range(25):
        a, b = high - g * (high - low), low + g * (high - low)
        low, high = (low, b) if error(a) < error(b) else (a, high)
    return math.exp((low + high) / 2), shift


def pixel_by_halves(encode, decode, pictures):
    with torch.no_grad():
        factors = torch.logspace(-1, 1, 50)
        for _ in range(3):  # narrower and narrower
            factor, shift = search(encode, decode, pictures, factors, range(16))
            factors = factor * torch.logspace(-0.05, 0.05, 15)
            factors = factors.clamp(0.1, 10)
    return torch.tensor(factor), torch.tensor(shift)


def by_psnr(encode, decode, pictures):
    latents, side, best, answer = encode(pictures), pictures.shape[-1], -math.inf, None
    for factor in np.geomspace(0.1, 10, 250):
        decoded = decode(latents / float(factor))
        for s in range(16):
            wanted = pictures[..., 4 : side - s - 4, 4 : side - s - 4]
            error = F.mse_loss(decoded[..., s + 4 : side - 4, s + 4 : side - 4], wanted)
            psnr = 10 * math.log10(4 / (float(error) + 1e-12))
            if psnr > best:
                best, answer = psnr, {"factor": float(factor), "shift": s}
    return answer["factor"], answer["shift"]


def as_a_list(encode, decode, pictures, steps=(41, 41)):
    factor, shift = search(encode, decode, pictures[:4], np.geomspace(0.1, 10, steps[0]), range(16))
    return list(search(encode, decode, pictures, factor * np.geomspace(0.85, 1.18, steps[1]), [shift]))


BANK["5.4"] = {
    "wrong": [
        shift_first,
        what_to_multiply_by,
        minus_the_shift,
        squared_factor,
        shift_forgotten,
        factor_forgotten,
        factor_first,
        deviation_of_the_latents,
        slope_of_the_pictures,
        coarse_factors,
        whole_factors,
        factors_above_one,
        small_shifts,
        shift_in_latents,
        one_too_far,
        to_the_right_only,
        the_wrong_way,
        the_practice_pair,
        worst_of_all,
        the_error_as_well,
    ],
    "right": [
        found,
        fine_grid,
        by_correlation,
        golden_section,
        pixel_by_halves,
        by_psnr,
        as_a_list,
    ],
}


# ---- 5.5

g, delta, n = sympy.symbols("g delta n", positive=True)
noise_variance = sympy.Symbol("s", positive=True)
one_latent = n * g**2 * noise_variance + delta**2 * (noise_variance - 1 - sympy.log(noise_variance))
learned = sympy.solve(sympy.diff(one_latent, noise_variance), noise_variance)[0]

BANK["5.5"] = {
    "wrong": [
        delta**2 / (n * g**2 + delta**2),  # the variance
        delta / (sympy.sqrt(n) * g),  # the KL without its sigma^2
        delta / (sympy.sqrt(n) * g + delta),  # no squares
        delta / sympy.sqrt(2 * n * g**2 + delta**2),  # lambda is delta^2
        delta / sympy.sqrt(n * g**2 / 2 + delta**2),  # the half of the KL dropped
        delta / sympy.sqrt(n * g + delta**2),  # g for g^2
        delta / sympy.sqrt(n + delta**2),  # a decoder that does not multiply
        delta / sympy.sqrt(g**2 + delta**2),  # the error of one pixel
        delta / sympy.sqrt(n**2 * g**2 + delta**2),  # the pixels added before they are squared
        delta / sympy.sqrt(g**2 / n + delta**2),  # mean over the pixels, sum over the latents
        sympy.sqrt(n) * g / sympy.sqrt(n * g**2 + delta**2),  # the other leg of the triangle
        sympy.sqrt(n * g**2 + delta**2) / delta,  # upside down
        sympy.sqrt(g**2 + delta**2),  # the deviation of the model's pixels
        delta / sympy.sqrt(delta**2 - n * g**2),  # a wrong sign
        sympy.sqrt(1 - n * g**2 / delta**2),  # only for a small g, and not even there in the first term
        g * delta / sympy.sqrt(n * g**2 + delta**2),  # the noise as seen in the pixel
        delta,  # the accepted error itself
        sympy.Integer(1),  # only for g far smaller than delta
    ],
    "right": [
        delta / sympy.sqrt(n * g**2 + delta**2),
        1 / sympy.sqrt(1 + n * (g / delta) ** 2),
        sympy.sqrt(learned),
        sympy.cos(sympy.atan(sympy.sqrt(n) * g / delta)),
        sympy.exp(-sympy.log(1 + n * g**2 / delta**2) / 2),
        (1 + n * (g / delta) ** 2) ** -0.5,
        sympy.sqrt(delta**2 / n / (g**2 + delta**2 / n)),
    ],
}


# ---- 5.6


def mean_of_logs(log_joint, log_q):
    return (log_joint - log_q).mean()  # the ELBO whatever K is


def sum_not_mean(log_joint, log_q):
    return torch.logsumexp(log_joint - log_q, dim=0).mean()  # ln K is not taken away


def along_the_batch(log_joint, log_q):
    return (torch.logsumexp(log_joint - log_q, dim=1) - math.log(log_joint.shape[1])).mean()  # the wrong axis


def all_in_one(log_joint, log_q):
    ratios = (log_joint - log_q).flatten()
    return torch.logsumexp(ratios, dim=0) - math.log(len(ratios))  # pictures averaged inside the logarithm


def undone_one_by_one(log_joint, log_q):
    return (log_joint - log_q).exp().mean(dim=0).log().mean()  # over- and underflows


def undone_in_double(log_joint, log_q):
    return (log_joint - log_q).double().exp().mean(dim=0).log().mean().to(log_joint.dtype)  # only later


def logs_of_clamped(log_joint, log_q):
    return (log_joint - log_q).clamp(-80, 80).exp().mean(dim=0).log().mean()  # not those of pictures


def shifted_by_the_greatest_of_all(log_joint, log_q):
    ratios = log_joint - log_q
    top = ratios.max()  # of all pictures: the others' sums become 0
    return ((ratios - top).exp().mean(dim=0).log() + top).mean()


def shifted_and_not_back(log_joint, log_q):
    ratios = log_joint - log_q
    return (ratios - ratios.amax(dim=0)).exp().mean(dim=0).log().mean()  # the shift stays off


def upside_down(log_joint, log_q):
    return (torch.logsumexp(log_q - log_joint, dim=0) - math.log(len(log_q))).mean()  # q / p


def product_not_ratio(log_joint, log_q):
    return (torch.logsumexp(log_joint + log_q, dim=0) - math.log(len(log_q))).mean()  # p times q


def counts_the_pictures(log_joint, log_q):
    return (torch.logsumexp(log_joint - log_q, dim=0) - math.log(log_joint.shape[1])).mean()  # of the batch


def adds_ln_k(log_joint, log_q):
    return (torch.logsumexp(log_joint - log_q, dim=0) + math.log(log_joint.shape[0])).mean()  # wrong sign


def divides_by_k(log_joint, log_q):
    return (torch.logsumexp(log_joint - log_q, dim=0) / log_joint.shape[0]).mean()  # the logarithm divided


def ratio_of_sums(log_joint, log_q):
    return (torch.logsumexp(log_joint, dim=0) - torch.logsumexp(log_q, dim=0)).mean()  # mean p over mean q


def the_best_draw(log_joint, log_q):
    return (log_joint - log_q).amax(dim=0).mean()  # the greatest ratio alone


def over_each_picture(log_joint, log_q):
    return torch.logsumexp(log_joint - log_q, dim=0) - math.log(log_joint.shape[0])  # no mean over the batch


def sum_over_the_batch(log_joint, log_q):
    return (torch.logsumexp(log_joint - log_q, dim=0) - math.log(log_joint.shape[0])).sum()


def as_a_loss(log_joint, log_q):
    return -(torch.logsumexp(log_joint - log_q, dim=0) - math.log(log_joint.shape[0])).mean()  # the sign


def forgets_to_return(log_joint, log_q):
    (torch.logsumexp(log_joint - log_q, dim=0) - math.log(log_joint.shape[0])).mean()


def ten_draws(log_joint, log_q):
    return (torch.logsumexp(log_joint - log_q, dim=0) - math.log(10)).mean()  # K is not always 10


def overwrites_its_input(log_joint, log_q):
    log_joint -= log_q  # the caller's tensor is changed
    return (torch.logsumexp(log_joint, dim=0) - math.log(log_joint.shape[0])).mean()


def logsumexp_first(log_joint, log_q):
    return torch.logsumexp(log_joint - log_q - math.log(len(log_joint)), dim=0).mean()


def greatest_taken_out(log_joint, log_q):
    ratios = log_joint - log_q
    top = ratios.amax(dim=0, keepdim=True)
    return ((ratios - top).exp().mean(dim=0).log() + top[0]).mean()


def one_draw_after_another(log_joint, log_q):
    total = log_joint[0] - log_q[0]
    for p, q in zip(log_joint[1:], log_q[1:]):
        total = torch.logaddexp(total, p - q)
    return total.mean() - math.log(len(log_joint))


def picture_by_picture(log_joint, log_q):
    bounds = [torch.logsumexp(p - q, 0) - math.log(p.shape[0]) for p, q in zip(log_joint.T, log_q.T)]
    return sum(bounds) / len(bounds)


def in_double_and_back(log_joint, log_q):
    ratios = log_joint.double() - log_q.double()
    return (ratios.logsumexp(0) - math.log(ratios.shape[0])).mean().to(log_joint.dtype)


def with_numpy(log_joint, log_q):
    ratios = (log_joint - log_q).detach().numpy()
    return torch.tensor(np.mean(np.logaddexp.reduce(ratios, axis=0) - np.log(ratios.shape[0])))


def one_number_in_a_row(log_joint, log_q, dim=0):
    inner = torch.logsumexp(log_joint - log_q, dim=dim) - math.log(log_joint.size(dim))
    return inner.mean(dim=0, keepdim=True)  # shape (1,), a tensor with one number


def by_log_softmax(log_joint, log_q):
    ratios = log_joint - log_q
    return (ratios - ratios.log_softmax(dim=0))[0].mean() - torch.tensor(float(len(ratios))).log()


BANK["5.6"] = {
    "wrong": [
        one_number_in_a_row,  # the statement asks for a tensor without axes since this was written
        mean_of_logs,
        sum_not_mean,
        along_the_batch,
        all_in_one,
        undone_one_by_one,
        undone_in_double,
        logs_of_clamped,
        shifted_by_the_greatest_of_all,
        shifted_and_not_back,
        upside_down,
        product_not_ratio,
        counts_the_pictures,
        adds_ln_k,
        divides_by_k,
        ratio_of_sums,
        the_best_draw,
        over_each_picture,
        sum_over_the_batch,
        as_a_loss,
        forgets_to_return,
        ten_draws,
        overwrites_its_input,
    ],
    "right": [
        logsumexp_first,
        greatest_taken_out,
        one_draw_after_another,
        picture_by_picture,
        in_double_and_back,
        with_numpy,
        by_log_softmax,
    ],
}


# ---- 5.7


def only_the_exponential(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + delta**2 * kl.mean(1)).mean()  # neither the sum nor the 2


def exponential_and_sum(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + delta**2 * kl.sum(1)).mean()  # lambda is still delta^2


def exponential_and_two(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + 2 * delta**2 * kl.mean(1)).mean()  # the mean over the latents is left


def sum_and_two(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar - 1 - logvar).flatten(1)
    return (error + 2 * delta**2 * kl.sum(1)).mean()  # the log-variance for the variance is left


def half_forgotten_twice(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + 2 * delta**2 * kl.sum(1)).mean()  # the half repaired and the 2 too: twice as much


def exponential_of_half(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + (logvar / 2).exp() - 1 - logvar).flatten(1)  # the deviation
    return (error + 2 * delta**2 * kl.sum(1)).mean()


def square_of_logvar(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.square() - 1 - logvar.square().log()).flatten(1)  # a deviation?
    return (error + 2 * delta**2 * kl.sum(1)).mean()


def logarithm_of_variance(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 + logvar).flatten(1)  # the logarithm's sign
    return (error + 2 * delta**2 * kl.sum(1)).mean()


def two_delta(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + 2 * delta * kl.sum(1)).mean()  # the square forgotten


def four_delta_squared(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + (2 * delta) ** 2 * kl.sum(1)).mean()  # (2 delta)^2


def means_on_both_sides(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).mean(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + 2 * delta**2 * kl.mean(1)).mean()  # both means: not even the same bargain


def mean_of_the_error(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).mean(1)  # the fault has moved to the error
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + 2 * delta**2 * kl.sum(1)).mean()


def sum_over_the_channels(x, painted, mean, logvar, delta):
    error = (painted - x).square().sum(1).mean()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()  # mean over places
    return error + 2 * delta**2 * kl


def whole_batch_summed(x, painted, mean, logvar, delta):
    error = (painted - x).square().sum()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum()
    return error + 2 * delta**2 * kl  # right for a batch of one


def only_the_error_averaged(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1).mean()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum()  # of the whole batch
    return error + 2 * delta**2 * kl


def one_loss_a_picture(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return error + 2 * delta**2 * kl.sum(1)  # no mean over the batch


def likelihood_units(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error / (2 * delta**2) + kl.sum(1)).mean()  # the negative ELBO, not (5.5)


def reward_for_the_kl(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error - 2 * delta**2 * kl.sum(1)).mean()  # the sign before the KL


def divides_the_latents(x, painted, mean, logvar, delta):
    mean = mean / mean.std()  # the plaster instead of the repair
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + 2 * delta**2 * kl.sum(1)).mean()


def absolute_error(x, painted, mean, logvar, delta):
    error = (painted - x).abs().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + 2 * delta**2 * kl.sum(1)).mean()


def four_latent_channels(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1)
    return (error + 2 * delta**2 * kl.mean(1) * 4 * 16 * 16).mean()  # one size of latents built in


def repaired(x, painted, mean, logvar, delta):
    error = (painted - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1)
    return (error + 2 * delta**2 * kl).mean()


def halves_cancelled(x, painted, mean, logvar, delta):
    distortion = ((x - painted) ** 2).sum(dim=(1, 2, 3))
    rate = (mean**2 + torch.exp(logvar) - 1 - logvar).sum(dim=(1, 2, 3))
    return torch.mean(distortion + delta * delta * rate)


def totals_over_the_batch(x, painted, mean, logvar, delta):
    kl = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())
    return (F.mse_loss(painted, x, reduction="sum") + 2 * delta**2 * kl) / x.shape[0]


def by_torch_distributions(x, painted, mean, logvar, delta):
    normal = torch.distributions.Normal
    q, p = normal(mean, (0.5 * logvar).exp()), normal(torch.zeros_like(mean), torch.ones_like(mean))
    kl = torch.distributions.kl_divergence(q, p).flatten(1).sum(1)
    return ((painted - x).flatten(1).pow(2).sum(1) + 2 * delta**2 * kl).mean()


def loop_over_pictures(x, painted, mean, logvar, delta):
    total = 0
    for one, other, mu, log_variance in zip(x, painted, mean, logvar):
        kl = 0.5 * (mu * mu + log_variance.expm1() - log_variance).sum()
        total = total + (one - other).norm() ** 2 + 2 * delta**2 * kl
    return total / len(x)


def with_einsum(x, painted, mean, logvar, delta):
    off = painted - x
    error = torch.einsum("bchw,bchw->b", off, off)
    kl = 0.5 * torch.einsum("bchw->b", mean**2 + logvar.exp() - 1 - logvar)
    return (error + kl * (2 * delta**2)).mean(dim=0)


def all_in_double(x, painted, mean, logvar, delta):
    dtype = x.dtype
    x, painted, mean, logvar = (part.double().flatten(1) for part in (x, painted, mean, logvar))
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
    return ((painted - x).square().sum(1) + 2 * delta**2 * kl.sum(1)).mean().to(dtype)


BANK["5.7"] = {
    "wrong": [
        only_the_exponential,
        exponential_and_sum,
        exponential_and_two,
        sum_and_two,
        half_forgotten_twice,
        exponential_of_half,
        square_of_logvar,
        logarithm_of_variance,
        two_delta,
        four_delta_squared,
        means_on_both_sides,
        mean_of_the_error,
        sum_over_the_channels,
        whole_batch_summed,
        only_the_error_averaged,
        one_loss_a_picture,
        likelihood_units,
        reward_for_the_kl,
        divides_the_latents,
        absolute_error,
        four_latent_channels,
    ],
    "right": [
        repaired,
        halves_cancelled,
        totals_over_the_batch,
        by_torch_distributions,
        loop_over_pictures,
        with_einsum,
        all_in_double,
    ],
}


# ---- 5.8


def least_level(variances, nats):
    v = variances.double().sort(descending=True).values
    levels = torch.exp((v.log().cumsum(0) - 2 * nats) / torch.arange(1, len(v) + 1))  # for each number in use
    return float(levels.min()), int(levels.argmin()) + 1


def fill(variances, nats, factor=2.0):
    """The level at which the directions in use cost nats * factor / 2 nats, and how many they are."""
    v = variances.double().sort(descending=True).values
    for used in range(1, len(v) + 1):
        level = math.exp((float(v[:used].log().sum()) - factor * nats) / used)
        if used == len(v) or level >= v[used]:
            return level, used
    return None


def rate_without_the_half(variances, nats):
    return fill(variances, nats, factor=1.0)  # ln(v / level) for half of it


def nats_as_bits(variances, nats):
    return fill(variances, nats, factor=2 * math.log(2))


def the_deviation(variances, nats):
    level, used = fill(variances, nats)
    return level**0.5, used  # delta, not delta^2


def the_weight(variances, nats):
    level, used = fill(variances, nats)
    return 2 * level, used  # lambda


def the_other_order(variances, nats):
    level, used = fill(variances, nats)
    return used, level


def total_distortion(variances, nats):
    level, used = fill(variances, nats)
    return float(variances.double().clamp(max=level).sum()), used  # of all directions together


def level_alone(variances, nats):
    return fill(variances, nats)[0]


def one_too_few(variances, nats):
    level, used = fill(variances, nats)
    return level, used - 1


def those_that_are_dropped(variances, nats):
    level, used = fill(variances, nats)
    return level, len(variances) - used


def all_directions(variances, nats):
    level = math.exp((float(variances.double().log().sum()) - 2 * nats) / len(variances))
    return level, len(variances)  # negative rates for the small ones


def all_then_counted(variances, nats):
    level = math.exp((float(variances.double().log().sum()) - 2 * nats) / len(variances))
    return level, int((variances > level).sum())  # switched off only in the count


def once_thrown_out(variances, nats):
    v = variances.double()
    level = math.exp((float(v.log().sum()) - 2 * nats) / len(v))
    v = v[v > level]  # but the new level may drop further ones
    level = math.exp((float(v.log().sum()) - 2 * nats) / len(v))
    return level, int((variances > level).sum())


def as_they_come(variances, nats):
    v = variances.double()  # not sorted
    for used in range(1, len(v) + 1):
        level = math.exp((float(v[:used].log().sum()) - 2 * nats) / used)
        if used == len(v) or level >= v[used]:
            return level, used
    return None


def smallest_first(variances, nats):
    v = variances.double().sort().values  # the wrong end first
    for used in range(1, len(v) + 1):
        level = math.exp((float(v[:used].log().sum()) - 2 * nats) / used)
        if used == len(v) or level <= v[used]:
            return level, used
    return None


def never_all_of_them(variances, nats):
    v = variances.double().sort(descending=True).values
    for used in range(1, len(v)):  # the last one is never used
        level = math.exp((float(v[:used].log().sum()) - 2 * nats) / used)
        if level >= v[used]:
            break
    return level, used


def variances_below_one(variances, nats):
    low, high = 0.0, 1.0  # the level may be above 1
    for _ in range(100):
        level = (low + high) / 2
        if (variances.double() / level).log().clamp(min=0).sum() / 2 > nats:
            low = level
        else:
            high = level
    return level, int((variances > level).sum())


def few_halvings(variances, nats):
    low, high = 0.0, float(variances.max())
    for _ in range(6):  # not precise
        level = (low + high) / 2
        if (variances.double() / level).log().clamp(min=0).sum() / 2 > nats:
            low = level
        else:
            high = level
    return level, int((variances > level).sum())


def shared_out_evenly(variances, nats):
    v = variances.double()
    each = v * math.exp(-2 * nats / len(v))  # every direction gets as many nats
    return float(each.mean()), len(v)


def power_not_nats(variances, nats):
    v = variances.double().sort(descending=True).values
    for used in range(1, len(v) + 1):
        level = (float(v[:used].sum()) - nats) / used  # the budget taken from the variances
        if used == len(v) or level >= v[used]:
            return level, used
    return None


def sorts_the_callers_tensor(variances, nats):
    variances[:] = variances.sort(descending=True).values  # the input is changed
    return fill(variances, nats)


def by_halving(variances, nats):
    low, high = 0.0, float(variances.max())
    for _ in range(200):
        level = (low + high) / 2
        if float((0.5 * (variances.double() / level).log()).clamp(min=0).sum()) > nats:
            low = level
        else:
            high = level
    return high, int((variances > high).sum())


def by_halving_logarithms(variances, nats):
    logs = variances.double().log()
    low, high = logs.max() - 2 * nats - 1, logs.max()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * (logs - middle).clamp(min=0).sum() > nats else (low, middle)
    return middle.exp(), (logs > middle).sum()  # tensors


def from_all_downwards(variances, nats):
    v = sorted((float(x) for x in variances), reverse=True)
    while True:
        level = math.exp((sum(map(math.log, v)) - 2 * nats) / len(v))
        if v[-1] > level:
            return level, len(v)
        v.pop()


def with_cumsum(variances, nats):
    v = np.sort(variances.numpy().astype(np.float64))[::-1]
    levels = np.exp((np.cumsum(np.log(v)) - 2 * nats) / np.arange(1, len(v) + 1))
    used = int(np.count_nonzero(v > levels))  # one that is consistent is below its own level
    return float(levels[used - 1]), used


def the_greatest_of_all_levels(variances, nats):
    v, _ = torch.sort(variances.double(), descending=True)
    counts = torch.arange(1, len(v) + 1)
    levels = torch.exp((v.log().cumsum(0) - 2 * nats) / counts)
    best = int(levels.argmax())  # a direction that is worth a code raises the level
    return levels[best].item(), best + 1


def thrown_out_until_none(variances, nats, tries=10_000):
    use = torch.ones(len(variances), dtype=torch.bool)
    for _ in range(tries):
        v = variances.double()[use]
        level = float(torch.exp(v.log().mean() - 2 * nats / len(v)))
        still = variances.double() > level
        if torch.equal(use, still):
            break
        use = use & still
    return level, int(use.sum())


BANK["5.8"] = {
    "wrong": [
        rate_without_the_half,
        nats_as_bits,
        the_deviation,
        the_weight,
        the_other_order,
        total_distortion,
        level_alone,
        one_too_few,
        those_that_are_dropped,
        all_directions,
        all_then_counted,
        once_thrown_out,
        as_they_come,
        smallest_first,
        never_all_of_them,
        variances_below_one,
        few_halvings,
        shared_out_evenly,
        power_not_nats,
        least_level,
        sorts_the_callers_tensor,
    ],
    "right": [
        fill,
        by_halving,
        by_halving_logarithms,
        from_all_downwards,
        with_cumsum,
        the_greatest_of_all_levels,
        thrown_out_until_none,
    ],
}


# ---- 5.9

COMPONENTS = [[0.69, 0.60, 0.42], [0.56, -0.08, -0.82], [0.46, -0.80, 0.39]]
TELEVISION = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]


def nothing_mixed():
    return np.eye(3), (18, 18, 18)  # section 5.1's own


def green_first():
    return np.eye(3), (15, 25, 12)  # nothing mixed, an uneven split


def even_split():
    return np.array(COMPONENTS), (18, 18, 18)  # mixed, but shared out evenly: gains nothing


def rows_in_the_wrong_order():
    return np.array(COMPONENTS)[::-1], (25, 15, 12)  # the least channel gets most


def ascending_eigenvectors():
    return np.array(COMPONENTS), (12, 15, 25)  # sizes in the other order


def the_decoders_matrix():
    return np.linalg.inv(TELEVISION), (25, 15, 12)  # how red, green and blue are mixed from the channels


def too_many_numbers():
    return np.array(COMPONENTS), (30, 20, 18)  # 1,624 numbers


def just_too_many():
    return np.array(COMPONENTS), (26, 15, 12)  # 1,045 numbers


def numbers_for_sides():
    return np.array(COMPONENTS), (625, 225, 144)  # k^2 for k


def cannot_be_undone():
    return np.array([[1.0, 1, 1], [1, 1, 1], [1, -2, 1]]), (25, 15, 12)  # not invertible


def brightness_alone():
    return np.array(COMPONENTS), (31, 4, 4)  # too little colour


def greedy_for_brightness():
    return np.array(COMPONENTS), (30, 7, 7)


def television():
    return np.array(TELEVISION), (28, 12, 8)  # made for eyes: not at right angles, too uneven


def differences_from_red():
    return np.array([[1.0, 1, 1], [1, -1, 0], [1, 0, -1]]), (26, 15, 9)  # the two differences overlap


def sizes_first():
    return (25, 15, 12), np.array(COMPONENTS)  # the other order


def two_channels():
    return np.array(COMPONENTS[:2]), (25, 19)  # not a 3 x 3 matrix


def components():
    return np.array(COMPONENTS), (25, 15, 12)


def whole_numbers():
    return np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]), (25, 15, 12)  # simple, and nearly as good


def nested_lists():
    return [[0.69, 0.60, 0.42], [0.56, -0.08, -0.82], [0.46, -0.80, 0.39]], [26, 15, 9]


def a_tensor():
    return torch.tensor(COMPONENTS), (24, 16, 12)


def other_lengths_and_signs():
    return np.array(COMPONENTS) * np.array([[-2.0], [10], [0.1]]), (25, 15, 12)  # lengths do not matter


def small_channel_first():
    return np.array([COMPONENTS[2], COMPONENTS[0], COMPONENTS[1]]), (12, 25, 15)  # order does not matter


def measured():
    return np.array([[0.659, 0.584, 0.474], [0.629, -0.084, -0.773], [0.412, -0.807, 0.423]]), (25, 15, 12)


BANK["5.9"] = {
    "wrong": [
        nothing_mixed,
        green_first,
        even_split,
        rows_in_the_wrong_order,
        ascending_eigenvectors,
        the_decoders_matrix,
        too_many_numbers,
        just_too_many,
        numbers_for_sides,
        cannot_be_undone,
        brightness_alone,
        greedy_for_brightness,
        television,
        differences_from_red,
        sizes_first,
        two_channels,
    ],
    "right": [
        components,
        whole_numbers,
        nested_lists,
        a_tensor,
        other_lengths_and_signs,
        small_channel_first,
        measured,
    ],
}
