"""Answers to chapter 2's exercises, written without a look at the checks."""

import math
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import sympy
import torch

from minisd import NoiseSchedule
from minisd.schedule import jump_posterior

sqrt = sympy.sqrt

# ---------------------------------------------------------------------------------------------------- 2.1
ab_r, ab_s, ab_t = sympy.symbols("ab_r ab_s ab_t", positive=True)
near, far, whole = (
    ab_s / ab_r,
    ab_t / ab_s,
    ab_t / ab_r,
)  # what is left of the variance: r to s, s to t, r to t
of_r, of_t, spread = (
    sqrt(near) * (1 - far) / (1 - whole),
    sqrt(far) * (1 - near) / (1 - whole),
    (1 - far) * (1 - near) / (1 - whole),
)
A = far / (1 - far) + 1 / (1 - near)  # (2.13) with r for the picture

wrong_21 = [
    (of_t, of_r, spread),  # the two numbers the wrong way round
    (of_r, of_t, sqrt(spread)),  # the standard deviation
    (of_r, of_t, 1 - far),  # beta of the step, not the posterior's
    (near * (1 - far) / (1 - whole), far * (1 - near) / (1 - whole), spread),  # roots forgotten
    (  # the clean picture for x_r: ab_r taken as 1
        sqrt(ab_s) * (1 - far) / (1 - ab_t),
        sqrt(far) * (1 - ab_s) / (1 - ab_t),
        (1 - ab_s) * (1 - far) / (1 - ab_t),
    ),
    (of_r, of_t, 1 / spread),  # A, not 1/A
    (sqrt(near) / (1 - near), sqrt(far) / (1 - far), 1 / A),  # B, not B/A
    (
        sqrt(far) * (1 - far) / (1 - whole),
        sqrt(near) * (1 - near) / (1 - whole),
        spread,
    ),  # the two roots exchanged
    (-of_r, of_t, spread),  # a sign
    (of_r, of_t, (1 - near) / (1 - whole)),  # beta forgotten in (2.15)
    (
        sqrt(near) * (1 - far) / (1 - ab_t),
        sqrt(far) * (1 - near) / (1 - ab_t),
        (1 - far) * (1 - near) / (1 - ab_t),
    ),  # r only half
    (sqrt(near), 0 * ab_t, 1 - near),  # x_t was not used: q(x_s | x_r)
    (
        sqrt(1 / far) * (1 - far) / (1 - whole),
        sqrt(1 / near) * (1 - near) / (1 - whole),
        spread,
    ),  # fractions upside down in the roots
    (sqrt((1 - far) / (1 - whole)), sqrt((1 - near) / (1 - whole)), spread),  # roots of the shares
    (1 - far, far, spread),  # a plain mixture
]
right_21 = [
    (of_r, of_t, spread),
    [of_r, of_t, spread],  # a list
    tuple(sympy.simplify(part) for part in (of_r, of_t, spread)),
    tuple(sympy.together(part) for part in (of_r, of_t, spread)),
    (  # NumPy-minded: powers of 0.5
        (ab_s / ab_r) ** 0.5 * (1 - ab_t / ab_s) / (1 - ab_t / ab_r),
        (ab_t / ab_s) ** 0.5 * (1 - ab_s / ab_r) / (1 - ab_t / ab_r),
        (1 - ab_t / ab_s) * (1 - ab_s / ab_r) / (1 - ab_t / ab_r),
    ),
    (sqrt(near) / (1 - near) / A, sqrt(far) / (1 - far) / A, 1 / A),  # B/A and 1/A, not simplified
    (  # multiplied out
        sqrt(ab_r * ab_s) * (ab_s - ab_t) / (ab_s * (ab_r - ab_t)),
        sqrt(ab_t * ab_s) * (ab_r - ab_s) / (ab_s * (ab_r - ab_t)),
        (ab_s - ab_t) * (ab_r - ab_s) / (ab_s * (ab_r - ab_t)),
    ),
    (  # the mean from the noise's factor: the number of x_r is what is left once x_t has its share
        sqrt(near) - of_t * sqrt(whole),
        of_t,
        (1 - near) - of_t**2 * (1 - whole),
    ),
    sympy.Tuple(of_r, of_t, spread),
]

# ---------------------------------------------------------------------------------------------------- 2.2
NAMES_22 = ("dim noise, t = 0", "dim noise, t = 250", "dim noise, t = 500", "a hundred pictures, t = 250")


def named_22(*values):
    return dict(zip(NAMES_22, values))


def floor_of(bar):
    """The unexplained variance of the noise: 1 less the squared correlation with x_t."""
    return 1 - (1 - bar) / (bar / 4 + 1 - bar)


wrong_22 = [
    named_22(1.0, 1.0, 1.0, 1.0),  # the loss of a network that has learned nothing
    named_22(0.0, 0.0, 0.0, 0.0),  # perfect, so no error
    named_22(0.0, 0.2141, 0.9793, 0.0),  # more noise is harder: the list turned round in the mind
    named_22(0.9999, 0.5214, 0.0778, 0.0),  # alpha-bar itself: data of width 1, not one half
    named_22(0.9998, 0.3527, 0.0405, 0.0),  # a variance of one half, not half a width
    named_22(0.9996, 0.2141, 0.0207, 0.2141),  # the hundred pictures treated as dim noise
    named_22(0.9998, 0.4627, 0.1437, 0.0),  # root: the width of the error
    named_22(0.0004, 0.7859, 0.9793, 0.0),  # what can be known, not what cannot
    named_22(0.24998, 0.0535, 0.0052, 0.0),  # in units of the picture's variance: a quarter too small
    named_22(99.96, 21.41, 2.07, 0.0),  # percent
    named_22(0.9996, 0.1070, 0.0103, 0.0),  # half: the loss with one half in front
    named_22(0.9996, 0.2141, 0.0207, 0.5),  # half of the pictures ruled out
    named_22(0.9996, 0.2141, 0.0207, 0.99),  # which of a hundred? they cannot be told apart
    named_22(0.25, 0.25, 0.25, 0.0),  # the variance of the picture at all timesteps
    named_22(0.9996, 0.0, 0.0, 0.0),  # t = 0 done, the others taken as known
    named_22(0.0001, 0.1965, 0.2448, 0.0),  # the error of the picture, not of the noise
    named_22(1.0, 0.2141, 0.0, 0.0),  # the last rounded away
]
right_22 = [
    named_22(0.9996, 0.2141, 0.0207, 0.0),
    named_22(1.0, 0.214, 0.0207, 0),  # rounded
    named_22(*(floor_of(bar) for bar in (0.9999, 0.5214, 0.0778)), 0.0),  # from the three numbers given
    named_22(*(np.float64(floor_of(bar)) for bar in (0.9999, 0.5214, 0.0778)), np.float64(0)),
    named_22(0.999, 0.21, 0.021, 0.0),  # two digits
    dict(reversed(list(named_22(0.9996, 0.2141, 0.0207, 0.0).items()))),  # another order
    named_22(1, 0.215, 0.0205, 0.0),
    named_22(
        *(
            0.25 * bar / (0.25 * bar + 1 - bar)
            for bar in NoiseSchedule.linear().alphas_cumprod[[0, 250, 500]].tolist()
        ),
        0.0,
    ),
    named_22(Fraction(9996, 10_000), Fraction(2141, 10_000), Fraction(207, 10_000), 0),
]


# ---------------------------------------------------------------------------------------------------- 2.3
def each_pixel_for_itself(x_t, mean, variance, alpha_bar):
    # (2.2) for every pixel: forgets that all pixels tell about the one grey
    gamma = alpha_bar * variance + 1 - alpha_bar
    return mean + alpha_bar**0.5 * variance / gamma * (x_t - alpha_bar**0.5 * mean)


def mean_of_the_pixels_guesses(x_t, mean, variance, alpha_bar):
    # the pixels' own guesses, averaged: the prior counted d times
    return each_pixel_for_itself(x_t, mean, variance, alpha_bar).mean(1, keepdim=True).expand_as(x_t)


def no_prior(x_t, mean, variance, alpha_bar):
    # the average with its shrinking undone; mean and variance unused
    return (x_t.mean(1, keepdim=True) / alpha_bar**0.5).expand_as(x_t)


def alpha_bar_without_root(x_t, mean, variance, alpha_bar):
    d = x_t.shape[1]
    a = 1 / variance + d * alpha_bar / (1 - alpha_bar)
    b = mean / variance + alpha_bar * x_t.sum(1, keepdim=True) / (1 - alpha_bar)
    return (b / a).expand(-1, d)


def mean_over_the_batch(x_t, mean, variance, alpha_bar):
    # sum over axis 0: every picture gets the same greys
    d = x_t.shape[1]
    a = 1 / variance + d * alpha_bar / (1 - alpha_bar)
    b = mean / variance + alpha_bar**0.5 * x_t.sum(0, keepdim=True) / (1 - alpha_bar)
    return (b / a).expand_as(x_t)


def one_grey_for_the_whole_batch(x_t, mean, variance, alpha_bar):
    # sum over everything: right for a batch of 1 only
    d = x_t.shape[1]
    a = 1 / variance + d * alpha_bar / (1 - alpha_bar)
    b = mean / variance + alpha_bar**0.5 * x_t.sum() / (1 - alpha_bar)
    return (b / a).expand(x_t.shape)


def prior_mean_not_weighted(x_t, mean, variance, alpha_bar):
    # mean added at the end, as if the greys had been centred: right for mean 0
    d = x_t.shape[1]
    a = 1 / variance + d * alpha_bar / (1 - alpha_bar)
    b = alpha_bar**0.5 * x_t.sum(1, keepdim=True) / (1 - alpha_bar)
    return (mean + b / a).expand(-1, d)


def mean_taken_as_zero(x_t, mean, variance, alpha_bar):
    d = x_t.shape[1]
    a = 1 / variance + d * alpha_bar / (1 - alpha_bar)
    return (alpha_bar**0.5 * x_t.sum(1, keepdim=True) / (1 - alpha_bar) / a).expand(-1, d)


def variance_taken_as_width(x_t, mean, variance, alpha_bar):
    d = x_t.shape[1]
    a = 1 / variance**2 + d * alpha_bar / (1 - alpha_bar)
    b = mean / variance**2 + alpha_bar**0.5 * x_t.sum(1, keepdim=True) / (1 - alpha_bar)
    return (b / a).expand(-1, d)


def three_pixels_always(x_t, mean, variance, alpha_bar):
    # d hard-coded in A
    a = 1 / variance + 3 * alpha_bar / (1 - alpha_bar)
    b = mean / variance + alpha_bar**0.5 * x_t.sum(1, keepdim=True) / (1 - alpha_bar)
    return (b / a).expand_as(x_t)


def one_column(x_t, mean, variance, alpha_bar):
    # (n, 1), not (n, d)
    d = x_t.shape[1]
    a = 1 / variance + d * alpha_bar / (1 - alpha_bar)
    return (mean / variance + alpha_bar**0.5 * x_t.sum(1, keepdim=True) / (1 - alpha_bar)) / a


def not_divided_by_a(x_t, mean, variance, alpha_bar):
    # B for B/A
    d = x_t.shape[1]
    return (mean / variance + alpha_bar**0.5 * x_t.sum(1, keepdim=True) / (1 - alpha_bar)).expand(-1, d)


def average_once_in_a(x_t, mean, variance, alpha_bar):
    # the mean of the pixels with the weight of one pixel
    a = 1 / variance + alpha_bar / (1 - alpha_bar)
    b = mean / variance + alpha_bar**0.5 * x_t.mean(1, keepdim=True) / (1 - alpha_bar)
    return (b / a).expand_as(x_t)


def guess_of_the_noised_wall(x_t, mean, variance, alpha_bar):
    # E[sqrt(alpha-bar) x_0 | x_t]
    d = x_t.shape[1]
    a = 1 / variance + d * alpha_bar / (1 - alpha_bar)
    b = mean / variance + alpha_bar**0.5 * x_t.sum(1, keepdim=True) / (1 - alpha_bar)
    return alpha_bar**0.5 * (b / a).expand(-1, d)


def noise_width_for_variance(x_t, mean, variance, alpha_bar):
    # the root of 1 - alpha-bar where the variance belongs
    d, width = x_t.shape[1], (1 - alpha_bar) ** 0.5
    a = 1 / variance + d * alpha_bar / width
    b = mean / variance + alpha_bar**0.5 * x_t.sum(1, keepdim=True) / width
    return (b / a).expand(-1, d)


def writes_into_x_t(x_t, mean, variance, alpha_bar):
    # the right numbers, written into the argument
    d = x_t.shape[1]
    a = 1 / variance + d * alpha_bar / (1 - alpha_bar)
    b = mean / variance + alpha_bar**0.5 * x_t.sum(1, keepdim=True) / (1 - alpha_bar)
    x_t[:] = b / a
    return x_t


def wall_with_mean(x_t, mean, variance, alpha_bar):
    # one noised cloud again, (2.2): the average has the noise variance (1 - alpha-bar)/d
    average = x_t.mean(dim=-1, keepdim=True)
    gamma = alpha_bar * variance + (1 - alpha_bar) / x_t.size(-1)
    guess = mean + math.sqrt(alpha_bar) * variance / gamma * (average - math.sqrt(alpha_bar) * mean)
    return guess.repeat(1, x_t.size(-1))


def wall_row_by_row(x_t, mean, variance, alpha_bar):
    out = torch.zeros_like(x_t)
    n, d = x_t.shape
    for i in range(n):
        top, bottom = mean / variance, 1 / variance
        for j in range(d):
            top += math.sqrt(alpha_bar) * float(x_t[i, j]) / (1 - alpha_bar)
            bottom += alpha_bar / (1 - alpha_bar)
        out[i, :] = top / bottom
    return out


def wall_as_shares(x_t, mean, variance, alpha_bar):
    # a share of the observed grey and a share of the prior's
    d = x_t.shape[1]
    share = d * alpha_bar * variance / (d * alpha_bar * variance + 1 - alpha_bar)
    seen = (x_t / alpha_bar**0.5).mean(1)
    return (share * seen + (1 - share) * mean)[:, None] * torch.ones_like(x_t)


def wall_in_double(x_t, mean, variance, alpha_bar):
    x = x_t.double()
    top = mean * (1 - alpha_bar) + variance * alpha_bar**0.5 * torch.einsum("nd->n", x)
    return (
        (top / (1 - alpha_bar + variance * alpha_bar * x.shape[1]))
        .to(x_t.dtype)
        .unsqueeze(1)
        .expand(x_t.shape)
    )


def wall_by_matrix(x_t, mean, variance, alpha_bar):
    # the general Gaussian: covariance of x_t, solved
    d = x_t.shape[1]
    ones = torch.ones(d, d, dtype=torch.float64)
    covariance = alpha_bar * variance * ones + (1 - alpha_bar) * torch.eye(d, dtype=torch.float64)
    gain = alpha_bar**0.5 * variance * ones @ torch.linalg.inv(covariance)
    return (mean + (x_t.double() - alpha_bar**0.5 * mean) @ gain.T).to(x_t.dtype)


def wall_one_pixel_after_another(x_t, mean, variance, alpha_bar):
    # each pixel sharpens the belief of the one before
    grey, doubt = torch.full_like(x_t[:, 0], mean), variance
    for pixel in x_t.unbind(1):
        gain = alpha_bar**0.5 * doubt / (alpha_bar * doubt + 1 - alpha_bar)
        grey, doubt = grey + gain * (pixel - alpha_bar**0.5 * grey), doubt * (1 - gain * alpha_bar**0.5)
    return torch.stack([grey] * x_t.shape[1], dim=1)


def wall_with_numpy(x_t, mean, variance, alpha_bar):
    x = np.asarray(x_t, dtype=np.float64)
    d = x.shape[1]
    precision = 1 / variance + d * alpha_bar / (1 - alpha_bar)
    grey = (mean / variance + np.sqrt(alpha_bar) * x.sum(axis=1) / (1 - alpha_bar)) / precision
    return torch.from_numpy(np.tile(grey[:, None], (1, d))).to(x_t.dtype)


wrong_23 = [
    each_pixel_for_itself,
    mean_of_the_pixels_guesses,
    no_prior,
    alpha_bar_without_root,
    mean_over_the_batch,
    one_grey_for_the_whole_batch,
    prior_mean_not_weighted,
    mean_taken_as_zero,
    variance_taken_as_width,
    three_pixels_always,
    one_column,
    not_divided_by_a,
    average_once_in_a,
    guess_of_the_noised_wall,
    noise_width_for_variance,
    writes_into_x_t,
]
right_23 = [
    wall_with_mean,
    wall_row_by_row,
    wall_as_shares,
    wall_in_double,
    wall_by_matrix,
    wall_one_pixel_after_another,
    wall_with_numpy,
]

# ---------------------------------------------------------------------------------------------------- 2.4
r, ab_prev = sympy.symbols("r ab_prev", positive=True)
beta = 1 - ab_t / ab_prev
factor = ab_prev * beta**2 / (1 - ab_t) ** 2
tilde = (1 - ab_prev) / (1 - ab_t) * beta


def correlated(covariance):
    """The answers were given as covariances, before the exercise asked for the correlation."""
    return covariance / (tilde + covariance)


wrong_covariances = [
    factor * r * (1 - r),  # pictures of 0 and 1: a quarter of it
    factor * (1 - (2 * r - 1)),  # the mean not squared
    factor * (2 * r - 1) ** 2,  # the product of the means
    factor * (1 + (2 * r - 1) ** 2),  # a sign
    factor * (1 - r**2),  # r taken as the mean
    factor * 4 * r,  # half of the product
    factor,  # the covariance of the pictures before x_t is seen, r = 1/2
    sqrt(ab_prev) * beta / (1 - ab_t) * 4 * r * (1 - r),  # the factor of x_0 not squared
    ab_prev * beta / (1 - ab_t) ** 2 * 4 * r * (1 - r),  # beta not squared
    ab_prev * beta**2 / (1 - ab_t) * 4 * r * (1 - r),  # 1 - ab_t not squared
    ab_t * beta**2 / (1 - ab_t) ** 2 * 4 * r * (1 - r),  # t for t - 1
    ab_prev**2 * beta**2 / (1 - ab_t) ** 2 * 4 * r * (1 - r),  # root of alpha-bar forgotten
    tilde + factor * 4 * r * (1 - r),  # (2.19): the variance, not the covariance
    ab_prev * (1 - ab_t) ** 2 / (1 - ab_t) ** 2 * 4 * r * (1 - r),  # alpha-bar for alpha in beta
    ab_prev * (1 - ab_prev / ab_t) ** 2 / (1 - ab_t) ** 2 * 4 * r * (1 - r),  # the fraction upside down
    4 * r * (1 - r),  # of the clean pixels
    tilde * 4 * r * (1 - r),
    ab_prev
    * (ab_prev - ab_t) ** 2
    / (1 - ab_t) ** 2
    * 4
    * r
    * (1 - r),  # beta as the difference of alpha-bars
    -factor * 4 * r * (1 - r),  # sign
    sympy.Integer(0),  # given x_0 the pixels are independent, but x_0 is not given
    sqrt(factor * 4 * r * (1 - r)),  # a width
]
right_covariances = [
    factor * 4 * r * (1 - r),
    4.0 * r * (1.0 - r) * ab_prev * (1 - ab_t / ab_prev) ** 2 / (1 - ab_t) ** 2,
    factor * (1 - (2 * r - 1) ** 2),
    factor * (1 - (r - (1 - r)) ** 2),
    sympy.expand(factor * 4 * r * (1 - r)),
    sympy.simplify(factor * 4 * r * (1 - r)),
    4 * r * (1 - r) * (ab_prev - ab_t) ** 2 / (ab_prev * (1 - ab_t) ** 2),
    (sqrt(ab_prev) * beta / (1 - ab_t)) ** 2
    * (r * (1 - (2 * r - 1)) ** 2 + (1 - r) * (-1 - (2 * r - 1)) ** 2),
    (ab_prev**0.5 * beta / (1 - ab_t)) ** 2 * (4 * r - 4 * r**2),
    sympy.factor(factor * (1 - (1 - 2 * r) ** 2)),
]
wrong_24 = [correlated(answer) for answer in wrong_covariances]
right_24 = [correlated(answer) for answer in right_covariances]

# ---------------------------------------------------------------------------------------------------- 2.5
NAMES_25 = (
    "beta tilde: width before the last step",
    "beta tilde: distance at the end",
    "beta: width before the last step",
    "beta: distance at the end",
)


def named_25(*values):
    return dict(zip(NAMES_25, values))


def width_with_beta(betas):
    """The last hint: V through the last steps, starting from the right width; least noise first."""
    bars = [math.prod(1 - b for b in betas[: i + 1]) for i in range(len(betas))]
    V = 1 - bars[-1]
    for t in range(len(betas) - 1, 0, -1):
        c = math.sqrt(1 - betas[t]) * (1 - bars[t - 1]) / (1 - bars[t])
        V = c**2 * V + betas[t]
    return math.sqrt(V / (1 - bars[0]))


wrong_25 = [
    named_25(1.0, 0.0, 1.85, 0.0),  # the variance, not the width
    named_25(1.0, 0.0, 1.0, 0.0),  # beta makes no difference
    named_25(1.0, 0.0, 0.74, 0.0),  # too narrow, the quotient upside down
    named_25(1.0, 0.0, 1.10, 0.0),  # beta_2's root over beta_1's: only the fresh noise of one step
    named_25(1.0, 0.0, 1.36, 0.0136),  # the last step is thought to leave the width
    named_25(1.0, 0.01, 1.36, 0.01),  # the right width before the last step, taken for the end
    named_25(0.0, 0.0, 1.36, 0.0),  # no width for a certain guess
    named_25(1.36, 0.0, 1.0, 0.0),  # the two exchanged
    named_25(0.74, 0.0, 1.0, 0.0),  # beta thought right, beta tilde too narrow
    named_25(0.01, 0.0, 0.0136, 0.0),  # absolute widths, not multiples of the right one
    named_25(100, 0, 136, 0),  # percent
    named_25(1.0, 0.0, 1.36, 1.0),  # counted from 0, not from the nearer point
    named_25(1.0, 0.0, 2.0, 0.0),  # a rough factor of two
    named_25(1.0, 0.0, 31.0, 0.0),  # the surplus of all thousand steps added up, nothing shrunk away
    named_25(1.0, 0.0, 0.36, 0.0),  # what is too much, not the whole
    named_25(1.0, 0.008, 1.36, 0.0109),  # the mean distance just before the last step
]
right_25 = [
    named_25(1.0, 0.0, 1.36, 0.0),
    named_25(1, 0, 1.35, 0),
    named_25(1.0, 0.0, 1.37, 0.0),
    named_25(0.998, 0.0, 1.36007, 0.0),  # what the cell after the check prints, with more digits
    named_25(
        1.0, 0.0, width_with_beta([0.0001 + 0.0199 / 999 * i for i in range(5)]), 0.0
    ),  # the last four steps
    named_25(np.float64(1.0), np.float64(0.0), np.sqrt(1.85), np.float64(0.0)),
    {name: named_25(1.01, 0.0, 1.34, 0.0)[name] for name in reversed(NAMES_25)},
]


# ---------------------------------------------------------------------------------------------------- 2.6
def stops_before_zero(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # range(start, 0, -1) leaves out t = 0
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, 0, -1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def begins_one_too_late(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # the first step is that of start - 1
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in reversed(range(start)):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def walks_from_the_top(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # the Sampling box unchanged: from T
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(len(alphas_cumprod) - 1, -1, -1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def noised_to_start_less_one(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # paper's counting for alpha-bar, code's counting for the loop
    ab = float(alphas_cumprod[start - 1])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def no_roots_in_the_jump(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    x = ab * x0 + (1 - ab) * noise
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def picture_and_noise_exchanged(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    x = (1 - ab) ** 0.5 * x0 + ab**0.5 * noise
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def ignores_the_generator(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t), t, torch.randn_like(x))
    return x


def draws_the_start_noise_anew(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # the given noise is not used
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * torch.randn(x0.shape, generator=generator)
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def one_fresh_noise_for_all_steps(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    fresh = torch.randn(x.shape, generator=generator)
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t), t, fresh)
    return x


def given_noise_as_fresh(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t), t, noise)
    return x


def given_noise_as_guess(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # the network is never asked
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, -1, -1):
        x = step(x, noise, t, torch.randn(x.shape, generator=generator))
    return x


def network_is_asked_once(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    guess = predict_noise(x, start)
    for t in range(start, -1, -1):
        x = step(x, guess, t, torch.randn(x.shape, generator=generator))
    return x


def network_is_told_t_plus_one(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # the papers' t for the network
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t + 1), t, torch.randn(x.shape, generator=generator))
    return x


def upwards(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # t counts up
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start + 1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def same_timestep_in_every_step(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for _ in range(start + 1):
        x = step(x, predict_noise(x, start), start, torch.randn(x.shape, generator=generator))
    return x


def guess_and_fresh_exchanged(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, -1, -1):
        x = step(x, torch.randn(x.shape, generator=generator), t, predict_noise(x, t))
    return x


def one_fresh_noise_for_the_batch(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # the shape of one picture: all pictures of a batch roll the same dice
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape[1:], generator=generator).expand(x.shape))
    return x


def no_draw_at_the_last_step(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # the same picture, but the generator is left one draw behind: "also for the last"
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, -1, -1):
        x = step(
            x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator) if t else torch.zeros_like(x)
        )
    return x


def noises_x0_in_place(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # the right picture, and the caller's x0 is spoiled
    ab = float(alphas_cumprod[start])
    x = x0.mul_(ab**0.5).add_((1 - ab) ** 0.5 * noise)
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def returns_every_state(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    states = [ab**0.5 * x0 + (1 - ab) ** 0.5 * noise]
    for t in range(start, -1, -1):
        x = states[-1]
        states.append(step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator)))
    return states


def forgets_to_return(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, -1, -1):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))


def every_second_timestep(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    # noised right, but the walk leaves out every second timestep
    ab = float(alphas_cumprod[start])
    x = ab**0.5 * x0 + (1 - ab) ** 0.5 * noise
    for t in range(start, -1, -2):
        x = step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator))
    return x


def paint_reversed_range(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    alpha_bar = alphas_cumprod[start]
    x = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise
    for t in reversed(range(start + 1)):
        guess = predict_noise(x, t)
        fresh = torch.randn(x.shape, generator=generator)
        x = step(x, guess, t, fresh)
    return x


def paint_while(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = alphas_cumprod[start].item()
    x_t = math.sqrt(ab) * x0 + math.sqrt(1 - ab) * noise
    t = start
    while t >= 0:
        z = torch.randn(x_t.shape, generator=generator)  # drawn before the network is asked
        x_t = step(x_t, predict_noise(x_t, t), t, z)
        t -= 1
    return x_t


def paint_recursively(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    def down(x, t):
        if t < 0:
            return x
        return down(step(x, predict_noise(x, t), t, torch.randn(x.shape, generator=generator)), t - 1)

    ab = float(alphas_cumprod[start])
    return down(noise * (1 - ab) ** 0.5 + x0 * ab**0.5, start)


def paint_counting_what_is_done(x0, start, noise, predict_noise, step, generator, alphas_cumprod, show=False):
    ab = torch.as_tensor(alphas_cumprod)[start]
    x = torch.lerp(torch.zeros_like(x0), x0, ab.sqrt().to(x0.dtype)) + torch.sqrt(1 - ab).to(x0.dtype) * noise
    for done in range(start + 1):
        t = start - done
        if show:
            print(t)
        x = step(x, predict_noise(x, t), t, torch.randn(tuple(x0.shape), generator=generator))
    return x


@torch.no_grad()
def paint_in_a_list(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    ab = float(alphas_cumprod[start])
    states = [(ab**0.5 * x0.double() + (1 - ab) ** 0.5 * noise.double()).to(x0.dtype)]
    for t in list(range(len(alphas_cumprod)))[start::-1]:
        states += [
            step(states[-1], predict_noise(states[-1], t), t, torch.randn(*x0.shape, generator=generator))
        ]
    return states[-1]


def paint_without_touching_x0(x0, start, noise, predict_noise, step, generator, alphas_cumprod):
    x = x0.clone()
    ab = float(alphas_cumprod[start])
    x *= ab**0.5
    x += (1 - ab) ** 0.5 * noise
    for t in np.arange(start, -1, -1).tolist():
        x = step(x, predict_noise(x, t), t, torch.randn(x.size(), generator=generator))
    return x


wrong_26 = [
    stops_before_zero,
    begins_one_too_late,
    walks_from_the_top,
    noised_to_start_less_one,
    no_roots_in_the_jump,
    picture_and_noise_exchanged,
    ignores_the_generator,
    draws_the_start_noise_anew,
    one_fresh_noise_for_all_steps,
    given_noise_as_fresh,
    given_noise_as_guess,
    network_is_asked_once,
    network_is_told_t_plus_one,
    upwards,
    same_timestep_in_every_step,
    guess_and_fresh_exchanged,
    one_fresh_noise_for_the_batch,
    no_draw_at_the_last_step,
    noises_x0_in_place,
    returns_every_state,
    forgets_to_return,
    every_second_timestep,
]
right_26 = [
    paint_reversed_range,
    paint_while,
    paint_recursively,
    paint_counting_what_is_done,
    paint_in_a_list,
    paint_without_touching_x0,
]


# ---------------------------------------------------------------------------------------------------- 2.7
def only_the_counting(x_t, noise, t, s, fresh, betas):
    # two of three: the fresh noise still has variance beta
    alphas = 1 - betas
    alpha, ab_t = float(alphas[s + 1 : t + 1].prod()), float(alphas[: t + 1].prod())
    beta = 1 - alpha
    return (x_t - beta / (1 - ab_t) ** 0.5 * noise) / alpha**0.5 + beta**0.5 * fresh


def only_alpha_and_the_noise(x_t, noise, t, s, fresh, betas):
    # ab_t still ends before t
    alphas = 1 - betas
    alpha, ab_t, ab_s = (
        float(alphas[s + 1 : t + 1].prod()),
        float(alphas[:t].prod()),
        float(alphas[: s + 1].prod()),
    )
    beta = 1 - alpha
    return (x_t - beta / (1 - ab_t) ** 0.5 * noise) / alpha**0.5 + (
        beta * (1 - ab_s) / (1 - ab_t)
    ) ** 0.5 * fresh


def only_ab_t_and_the_noise(x_t, noise, t, s, fresh, betas):
    # alpha still counts s and leaves out t (and is the empty product for s = -1)
    alphas = 1 - betas
    alpha, ab_t, ab_s = (
        float(alphas[s:t].prod()),
        float(alphas[: t + 1].prod()),
        float(alphas[: s + 1].prod()),
    )
    beta = 1 - alpha
    return (x_t - beta / (1 - ab_t) ** 0.5 * noise) / alpha**0.5 + (
        beta * (1 - ab_s) / (1 - ab_t)
    ) ** 0.5 * fresh


def ab_s_leaves_out_s(x_t, noise, t, s, fresh, betas):
    # the counting repaired in two lines, the same slip made in the third (and [: -1] for the clean picture)
    alphas = 1 - betas
    alpha, ab_t, ab_s = (
        float(alphas[s + 1 : t + 1].prod()),
        float(alphas[: t + 1].prod()),
        float(alphas[:s].prod()),
    )
    beta = 1 - alpha
    return (x_t - beta / (1 - ab_t) ** 0.5 * noise) / alpha**0.5 + (
        beta * (1 - ab_s) / (1 - ab_t)
    ) ** 0.5 * fresh


def last_jump_only_by_exception(x_t, noise, t, s, fresh, betas):
    # variance beta, but no fresh noise in the last jump
    alphas = 1 - betas
    alpha, ab_t = float(alphas[s + 1 : t + 1].prod()), float(alphas[: t + 1].prod())
    beta = 1 - alpha
    mean = (x_t - beta / (1 - ab_t) ** 0.5 * noise) / alpha**0.5
    return mean if s < 0 else mean + beta**0.5 * fresh


def variance_for_width(x_t, noise, t, s, fresh, betas):
    # beta tilde without its root
    alphas = 1 - betas
    alpha, ab_t, ab_s = (
        float(alphas[s + 1 : t + 1].prod()),
        float(alphas[: t + 1].prod()),
        float(alphas[: s + 1].prod()),
    )
    beta = 1 - alpha
    return (x_t - beta / (1 - ab_t) ** 0.5 * noise) / alpha**0.5 + beta * (1 - ab_s) / (1 - ab_t) * fresh


def variance_of_one_step(x_t, noise, t, s, fresh, betas):
    # beta tilde of the step t alone, with betas[t] for the jump's beta
    alphas = 1 - betas
    alpha, ab_t, ab_s = (
        float(alphas[s + 1 : t + 1].prod()),
        float(alphas[: t + 1].prod()),
        float(alphas[: s + 1].prod()),
    )
    mean = (x_t - (1 - alpha) / (1 - ab_t) ** 0.5 * noise) / alpha**0.5
    return mean + float(betas[t] * (1 - ab_s) / (1 - ab_t)) ** 0.5 * fresh


def beta_tilde_with_t_less_one(x_t, noise, t, s, fresh, betas):
    # alpha-bar of t - 1, as in (2.15), where that of s belongs
    alphas = 1 - betas
    alpha, ab_t, ab_before = (
        float(alphas[s + 1 : t + 1].prod()),
        float(alphas[: t + 1].prod()),
        float(alphas[:t].prod()),
    )
    beta = 1 - alpha
    return (x_t - beta / (1 - ab_t) ** 0.5 * noise) / alpha**0.5 + (
        beta * (1 - ab_before) / (1 - ab_t)
    ) ** 0.5 * fresh


def fraction_upside_down(x_t, noise, t, s, fresh, betas):
    alphas = 1 - betas
    alpha, ab_t, ab_s = (
        float(alphas[s + 1 : t + 1].prod()),
        float(alphas[: t + 1].prod()),
        float(alphas[: s + 1].prod()),
    )
    beta = 1 - alpha
    mean = (x_t - beta / (1 - ab_t) ** 0.5 * noise) / alpha**0.5
    return mean if s < 0 else mean + (beta * (1 - ab_t) / (1 - ab_s)) ** 0.5 * fresh


def no_fresh_noise(x_t, noise, t, s, fresh, betas):
    # the grain is gone, and so is the draw
    alphas = 1 - betas
    alpha, ab_t = float(alphas[s + 1 : t + 1].prod()), float(alphas[: t + 1].prod())
    return (x_t - (1 - alpha) / (1 - ab_t) ** 0.5 * noise) / alpha**0.5


def sum_of_betas(x_t, noise, t, s, fresh, betas):
    # beta of the jump as the sum of the steps' betas
    ab_t, ab_s = float((1 - betas[: t + 1]).prod()), float((1 - betas[: s + 1]).prod())
    beta = float(betas[s + 1 : t + 1].sum())
    mean = (x_t - beta / (1 - ab_t) ** 0.5 * noise) / (1 - beta) ** 0.5
    return mean + (beta * (1 - ab_s) / (1 - ab_t)) ** 0.5 * fresh


def fresh_before_the_division(x_t, noise, t, s, fresh, betas):
    # everything divided by the root of alpha
    alphas = 1 - betas
    alpha, ab_t, ab_s = (
        float(alphas[s + 1 : t + 1].prod()),
        float(alphas[: t + 1].prod()),
        float(alphas[: s + 1].prod()),
    )
    beta = 1 - alpha
    width = (beta * (1 - ab_s) / (1 - ab_t)) ** 0.5
    return (x_t - beta / (1 - ab_t) ** 0.5 * noise + width * fresh) / alpha**0.5


def ddim_without_dice_and_fresh(x_t, noise, t, s, fresh, betas):
    # the guessed noise keeps its whole width, and fresh noise is added to it
    bars = torch.cumprod(1 - betas, 0)
    ab_t, ab_s = float(bars[t]), float(bars[s]) if s >= 0 else 1.0
    x0 = (x_t - (1 - ab_t) ** 0.5 * noise) / ab_t**0.5
    width = ((1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)) ** 0.5
    return ab_s**0.5 * x0 + (1 - ab_s) ** 0.5 * noise + width * fresh


def negative_index_for_the_picture(x_t, noise, t, s, fresh, betas):
    # bars[-1] is pure noise, not the clean picture
    bars = torch.cumprod(1 - betas, 0)
    ab_t, ab_s = float(bars[t]), float(bars[s])
    alpha = ab_t / ab_s
    mean = (x_t - (1 - alpha) / (1 - ab_t) ** 0.5 * noise) / alpha**0.5
    return mean + max((1 - alpha) * (1 - ab_s) / (1 - ab_t), 0.0) ** 0.5 * fresh


def moves_betas(x_t, noise, t, s, fresh, betas):
    # the right result once: betas become alphas in place
    alphas = betas.neg_().add_(1)
    alpha, ab_t, ab_s = (
        float(alphas[s + 1 : t + 1].prod()),
        float(alphas[: t + 1].prod()),
        float(alphas[: s + 1].prod()),
    )
    beta = 1 - alpha
    return (x_t - beta / (1 - ab_t) ** 0.5 * noise) / alpha**0.5 + (
        beta * (1 - ab_s) / (1 - ab_t)
    ) ** 0.5 * fresh


def schedule_of_ddpm_only(x_t, noise, t, s, fresh, betas):
    # the betas given are not looked at
    bars = NoiseSchedule.linear().alphas_cumprod.double()
    ab_t, ab_s = float(bars[t]), float(bars[s]) if s >= 0 else 1.0
    alpha = ab_t / ab_s
    mean = (x_t - (1 - alpha) / (1 - ab_t) ** 0.5 * noise) / alpha**0.5
    return mean + ((1 - alpha) * (1 - ab_s) / (1 - ab_t)) ** 0.5 * fresh


def slices_sorted_out(x_t, noise, t, s, fresh, betas):
    alphas = 1 - betas
    ab_t, ab_s = float(alphas[: t + 1].prod()), float(alphas[: s + 1].prod())
    alpha = ab_t / ab_s
    beta = 1 - alpha
    mean = (x_t - beta / (1 - ab_t) ** 0.5 * noise) / alpha**0.5
    return mean + (beta * (1 - ab_s) / (1 - ab_t)) ** 0.5 * fresh


def through_the_guess(x_t, noise, t, s, fresh, betas):
    # (2.16) and (2.15), with the guess of (2.18)
    bars = torch.cumprod((1 - betas).double(), dim=0)
    ab_t = float(bars[t])
    ab_s = 1.0 if s == -1 else float(bars[s])
    x0 = (x_t - math.sqrt(1 - ab_t) * noise) / math.sqrt(ab_t)
    alpha = ab_t / ab_s
    mean = (math.sqrt(ab_s) * (1 - alpha) * x0 + math.sqrt(alpha) * (1 - ab_s) * x_t) / (1 - ab_t)
    return mean + math.sqrt((1 - ab_s) / (1 - ab_t) * (1 - alpha)) * fresh


def with_the_package(x_t, noise, t, s, fresh, betas):
    bars = torch.cumprod(1 - betas, 0)
    x0 = (x_t - (1 - bars[t]).sqrt() * noise) / bars[t].sqrt()
    mean, variance = jump_posterior(bars, x0, x_t, t, s)
    return mean + variance**0.5 * fresh


def one_factor_at_a_time(x_t, noise, t, s, fresh, betas):
    alpha = ab_t = ab_s = 1.0
    for i, beta in enumerate(betas.tolist()):
        if s < i <= t:
            alpha *= 1 - beta
        if i <= t:
            ab_t *= 1 - beta
        if i <= s:
            ab_s *= 1 - beta
    beta = 1 - alpha
    width = 0.0 if s < 0 else math.sqrt(beta * (1 - ab_s) / (1 - ab_t))
    return (x_t - beta / math.sqrt(1 - ab_t) * noise) / math.sqrt(alpha) + width * fresh


def clean_picture_first(x_t, noise, t, s, fresh, betas):
    # a 1 in front of the table: state i is after i steps
    table = torch.cat([torch.ones(1, dtype=betas.dtype), torch.cumprod(1 - betas, 0)])
    ab_t, ab_s = table[t + 1], table[s + 1]
    x0 = (x_t - (1 - ab_t).sqrt() * noise) / ab_t.sqrt()
    if s == -1:
        return x0
    sigma = ((1 - ab_s) / (1 - ab_t)).sqrt() * (1 - ab_t / ab_s).sqrt()
    return ab_s.sqrt() * x0 + (1 - ab_s - sigma**2).sqrt() * noise + sigma * fresh  # DDIM's form of the same


def with_numpy(x_t, noise, t, s, fresh, betas):
    alphas = 1 - np.array([float(b) for b in betas])
    alpha, ab_t, ab_s = np.prod(alphas[s + 1 : t + 1]), np.prod(alphas[: t + 1]), np.prod(alphas[: s + 1])
    variance = float((1 - alpha) * (1 - ab_s) / (1 - ab_t))
    return (x_t - float((1 - alpha) / np.sqrt(1 - ab_t)) * noise) / float(
        np.sqrt(alpha)
    ) + variance**0.5 * fresh


wrong_27 = [
    only_the_counting,
    only_alpha_and_the_noise,
    only_ab_t_and_the_noise,
    ab_s_leaves_out_s,
    last_jump_only_by_exception,
    variance_for_width,
    variance_of_one_step,
    beta_tilde_with_t_less_one,
    fraction_upside_down,
    no_fresh_noise,
    sum_of_betas,
    fresh_before_the_division,
    ddim_without_dice_and_fresh,
    negative_index_for_the_picture,
    moves_betas,
    schedule_of_ddpm_only,
]
right_27 = [
    slices_sorted_out,
    through_the_guess,
    with_the_package,
    one_factor_at_a_time,
    clean_picture_first,
    with_numpy,
]


# ---------------------------------------------------------------------------------------------------- 2.8
def slips(a, b, c, d, e):
    return {"run A": a, "run B": b, "run C": c, "run D": d, "run E": e}


wrong_28 = [
    slips(5, 1, 6, 3, 4),  # the two that are alike exchanged
    slips(4, 3, 6, 1, 5),  # x_t and x_0 exchanged
    slips(4, 1, 6, 2, 5),  # another noise for the clean picture
    slips(4, 1, 2, 3, 5),  # C: another noise
    slips(1, 2, 3, 4, 5),  # as they stand in the list
    slips(2, 1, 6, 3, 5),
    slips(4, 1, 6, 3, 2),
    slips(4, 2, 6, 3, 5),
    slips(3, 0, 5, 2, 4),  # counted from 0
    slips(4, 5, 6, 3, 1),
    slips(1, 4, 6, 3, 5),
    slips(3, 1, 6, 4, 5),
    slips(4, 4, 6, 3, 5),  # one slip twice
    slips(5, 1, 6, 3, 5),  # one slip twice
    slips(6, 1, 4, 3, 5),
]
right_28 = [
    slips(4, 1, 6, 3, 5),
    dict(zip(("run A", "run B", "run C", "run D", "run E"), [4, 1, 6, 3, 5])),
    slips(*np.array([4, 1, 6, 3, 5])),  # NumPy's whole numbers
    slips(*np.array([4, 1, 6, 3, 5], dtype=np.int32)),
    OrderedDict(sorted({"run E": 5, "run D": 3, "run C": 6, "run B": 1, "run A": 4}.items(), reverse=True)),
    slips(4.0, 1.0, 6.0, 3.0, 5.0),
    {f"run {letter}": slip for slip, letter in ((1, "B"), (3, "D"), (4, "A"), (5, "E"), (6, "C"))},
]

# ---------------------------------------------------------------------------------------------------- 2.9
good = [0.98, 0.96, 0.94, 0.91, 0.87, 0.83, 0.77, 0.70, 0.58, 0.00004]  # 0.13 above the entropy
linear = NoiseSchedule.linear().alphas_cumprod.double()
even_snr = [1 / (1 + math.exp(-x)) for x in np.linspace(6, math.log(0.00004), 10)]

wrong_29 = [
    linear[99::100].tolist(),  # every hundredth timestep: 0.388
    even_snr,  # evenly spaced in the logarithm of the signal-to-noise ratio
    good[::-1],  # most noise first
    [*good[:-1], 0.01],  # the last is not noise enough
    [*good[:-1], 0.0001],  # just above the limit
    good[1:],  # nine levels
    [0.99, *good],  # eleven levels
    [1 - level for level in good],  # variances of the noise
    np.linspace(0.9, 0.00004, 10).tolist(),  # evenly spaced alpha-bars
    [math.sqrt(1 - level) for level in good],  # widths of the noise
    [1 - b / a for a, b in zip([1.0, *good], good)],  # betas
    [b / a for a, b in zip([1.0, *good], good)],  # alphas, not their products
    list(range(99, 1000, 100)),  # timesteps, not alpha-bars
    [0.5 ** (i + 1) for i in range(9)] + [0.00004],  # halving
    [0.98, 0.96, 0.91, 0.94, 0.87, 0.83, 0.77, 0.70, 0.58, 0.00004],  # two in the wrong order
    [0.9999, 0.999, 0.998, 0.995, 0.99, 0.98, 0.97, 0.95, 0.9, 0.00004],  # all steps near the picture
]
right_29 = [
    good,
    tuple(good),
    np.array(good),
    torch.tensor(good, dtype=torch.float64),
    torch.tensor(good).tolist(),  # rounded to float32
    [
        0.98278,
        0.96188,
        0.93702,
        0.90764,
        0.87251,
        0.8294,
        0.77416,
        0.69814,
        0.57755,
        0.00004,
    ],  # from an optimizer
    [0.97, 0.94, 0.91, 0.87, 0.82, 0.76, 0.7, 0.6, 0.4, 0.00005],  # by hand; the last at the limit
    [0.985, 0.965, 0.94, 0.91, 0.87, 0.82, 0.76, 0.67, 0.5, 1e-6],  # less signal at the end than asked
    [np.float64(level) for level in (0.975, 0.95, 0.92, 0.89, 0.85, 0.8, 0.74, 0.66, 0.54, 0.00003)],
    [*np.linspace(0.98, 0.6, 9), 0.00004],
    NoiseSchedule.cosine()
    .alphas_cumprod.double()[99::100]
    .tolist(),  # the cosine schedule, every hundredth: 0.21
]

# ---------------------------------------------------------------------------------------------------- 2.10
SLIPS_210 = (
    "no fresh noise in the first 500 steps",
    "no fresh noise in the last 500 steps",
    "stopped at timestep 100",
    "one fresh noise for all",
)
NAMES_210 = [f"{slip}: {judge}" for slip in SLIPS_210 for judge in ("single points", "shares")]


def verdicts(letters):
    """Four pairs of letters, for single points and shares: T where the judge sees the slip."""
    return {name: letter == "T" for name, letter in zip(NAMES_210, letters.replace(" ", ""))}


# What the cell after the check prints: the share of points outside the clouds, the largest error of a share.
MEASURED_210 = (0.010, 0.02, 0.0, 0.35, 0.233, 0.01, 0.0, 0.94)

wrong_210 = [
    verdicts("TT TT TT TT"),  # a slip is a slip: both judges see it
    verdicts("FF FF FF FF"),  # the exact guess repairs everything
    verdicts("FF TF FT TF"),  # the two judges exchanged
    verdicts("TT TF FT TF"),  # True for "passes", not for "sees it"
    verdicts("FT FF TF FT"),  # clouds are chosen in the first 500 steps
    verdicts("FT FT TF FT"),  # any walk without noise loses its variety
    verdicts("FF FF TF FT"),  # the choice is made before the last 500 steps
    verdicts("FF TT TF FT"),  # walks without fresh noise at the end stop between the clouds
    verdicts("TF FT TF FT"),  # the first half's missing noise makes wrong places
    verdicts("FF FT FF FT"),  # the last 100 steps do next to nothing
    verdicts("FF FT TT FT"),  # at timestep 100 the choice isn't made
    verdicts("FF FT FT FT"),  # at timestep 100 the places are right, the shares aren't
    verdicts("FF FT TF FF"),  # the starts differ, so the walks do
    verdicts("FF FT TF TT"),  # shared noise drives the walks out of the clouds, too
    verdicts("FF FT TF TF"),  # and is seen by the places only
    verdicts("TF TF TF FT"),  # missing noise is a matter of places
    verdicts("FF FF TF FF"),  # shares never suffer
    verdicts("FT FT FT FT"),  # places never suffer
    dict(zip(NAMES_210, MEASURED_210)),  # the numbers, not what the judges make of them
    verdicts("FF FT FF FF"),  # only the slip that lies in the time of choosing
]
right_210 = [
    verdicts("FF FT TF FT"),
    dict(zip(NAMES_210, [False, False, False, True, True, False, False, True])),
    dict(reversed(verdicts("FF FT TF FT").items())),  # another order
    dict(zip(NAMES_210, np.array([0, 0, 0, 1, 1, 0, 0, 1], dtype=bool))),  # NumPy's truth values
    dict(zip(NAMES_210, np.array(MEASURED_210) > np.tile([0.05, 0.1], 4))),  # the judges, in NumPy
    {  # the judges, number by number
        name: number > (0.1 if name.endswith("shares") else 0.05)
        for name, number in zip(NAMES_210, MEASURED_210)
    },
    OrderedDict(  # what is seen, written as a list of its names
        (name, name in {NAMES_210[3], NAMES_210[4], NAMES_210[7]}) for name in sorted(NAMES_210)
    ),
    {  # judge by judge
        **{f"{slip}: single points": slip.startswith("stopped") for slip in SLIPS_210},
        **{f"{slip}: shares": "last" in slip or "all" in slip.split() for slip in SLIPS_210},
    },
]

# ---------------------------------------------------------------------------------------------------- 2.11
NAMES_211 = ("x_t tells nothing", "half way", "little noise", "squared error")


def named_211(*values):
    return dict(zip(NAMES_211, values))


def guess_of_two(x_t, bar, dearer=0.25):
    """The guess for the pictures 0 and 4, where 4 has the share `dearer`: (2.1) with clouds of no width."""
    odds = (
        dearer
        / (1 - dearer)
        * math.exp(min((x_t**2 - (x_t - 4 * math.sqrt(bar)) ** 2) / (2 * (1 - bar)), 700.0))
    )
    return 4 * odds / (1 + odds)


wrong_211 = [
    named_211(2.0, 2.0, 4.0, 4.0),  # both pictures taken as equally common
    named_211(3.0, 3.0, 4.0, 3.0),  # 4, not 0, three times as common
    named_211(1.0, 2.0, 4.0, 3.0),  # half way: the middle of the pictures, their shares forgotten
    named_211(2.0, 1.0, 4.0, 4.0),  # the shares forgotten where x_t tells nothing
    named_211(0.0, 0.0, 4.0, 4.0),  # the likelier picture, not the average
    named_211(0.0, 1.0, 4.0, 3.0),  # x_t without a picture in it: guess nothing
    named_211(1.0, 1.6, 3.7, 3.0),  # x_t itself
    named_211(1.0, 1.6 / 0.8, 3.7 / math.sqrt(0.99), 3.0),  # x_t, its shrinking undone
    named_211(1.0, 0.8, 4.0, 3.0),  # the guess of the shrunken picture
    named_211(1.0, 1.0, 3.7, 3.0),  # with little noise what is seen is taken for the picture
    named_211(1.0, 1.0, 1.0, 3.0),  # the shares alone, everywhere
    named_211(4 / 3, 4 / 3, 4.0, 32 / 9),  # three times as common read as a share of 1 in 3
    named_211(0.25, 0.25, 1.0, 3 / 16),  # how probable the picture 4 is
    named_211(1.0, 1.0, 4.0, math.sqrt(3)),  # the root of the squared error
    named_211(1.0, 1.0, 4.0, 1.5),  # the mean distance, not squared
    named_211(1.0, 1.0, 4.0, 4.0),  # the mean of the squared pictures
    named_211(1.0, 1.0, 4.0, 5.0),  # 1 and 9 averaged without their shares
    named_211(1.0, 1.0, 4.0, 10.0),  # 1 and 9 added
    named_211(1.0, 1.0, 4.0, 7.0),  # the shares exchanged in the error
    named_211(1.0, 1.0, 4.0, 0.0),  # a perfect guess has no error
    named_211(1.0, 1.0, 4.0, 0.25),  # how often the likelier picture is the wrong one
    named_211(1.0, 1.0, 4.0, 2.25),  # the mean distance, squared afterwards
    named_211(1.0, 1.0, 0.0, 3.0),  # the picture that is there told wrongly
    named_211(3.0, 1.0, 1.0, 4.0),  # the right numbers in a wrong order
    named_211(1.0, guess_of_two(1.6, 0.8), 4.0, 3.0),  # alpha-bar's root taken for alpha-bar
]
right_211 = [
    named_211(1.0, 1.0, 4.0, 3.0),
    named_211(1, 1, 4, 3),  # whole numbers
    {"squared error": 3.0, "little noise": 4.0, "half way": 1.0, "x_t tells nothing": 1.0},
    named_211(0.75 * 0 + 0.25 * 4, 0.25 * 4, 3.999, 0.75 * (0 - 1) ** 2 + 0.25 * (4 - 1) ** 2),
    named_211(guess_of_two(0.3, 1e-6), guess_of_two(1.6, 0.64), guess_of_two(3.7, 0.99), 4.0 - 1.0),
    named_211(Fraction(4, 4), Fraction(1), Fraction(4), Fraction(3, 4) + Fraction(9, 4)),
    named_211(*np.array([1.0, 1.0, 4.0, 3.0])),
    named_211(*(np.float32(value) for value in (1, 1, 4, 3))),
    named_211(np.mean([0, 0, 0, 4]), np.average([0, 4], weights=[3, 1]), 4.0, np.var([0, 0, 0, 4])),
    named_211(1.01, 0.99, 3.97, 3.03),  # as measured, or nearly
]

BANK = {
    "2.1": {"wrong": wrong_21, "right": right_21},
    "2.2": {"wrong": wrong_22, "right": right_22},
    "2.3": {"wrong": wrong_23, "right": right_23},
    "2.4": {"wrong": wrong_24, "right": right_24},
    "2.5": {"wrong": wrong_25, "right": right_25},
    "2.6": {"wrong": wrong_26, "right": right_26},
    "2.7": {"wrong": wrong_27, "right": right_27},
    "2.8": {"wrong": wrong_28, "right": right_28},
    "2.9": {"wrong": wrong_29, "right": right_29},
    "2.10": {"wrong": wrong_210, "right": right_210},
    "2.11": {"wrong": wrong_211, "right": right_211},
}
