"""Answers to chapter 1's exercises, written without a look at the checks."""

import math
import random
from collections import OrderedDict

import numpy as np
import sympy
import torch

# 1.1: widths ----------------------------------------------------------------------------------------------


def widths(two, difference, twice, mean):
    return {
        "sum of two": two,
        "difference of two": difference,
        "one noise twice": twice,
        "mean of 2,500": mean,
    }


WIDTHS_WRONG = [
    widths(2, 2, 4, 1 / 2500),  # variances in place of widths
    widths(2, 0, 2, 0.02),  # widths added and subtracted
    widths(2, 2, 2, 0.02),  # widths added
    widths(1.41, 0, 2, 0.02),  # two noises thought to cancel
    widths(1.41, 1.41, 1.41, 0.02),  # one noise twice taken for two noises
    widths(1.41, 1.41, 2, 0.0004),  # the mean's variance
    widths(1.41, 1.41, 2, 1),  # a mean of noise taken to be as wide as the noise
    widths(1.41, 1.41, 2, 50),  # the width of the sum, not of the mean
    widths(1.41, 1.41, 4, 0.02),  # a variance among the widths
    widths(1.41, -1.41, 2, 0.02),  # a width below 0
    widths(0.71, 0.71, 1, 0.02),  # took means for all
    widths(1, 1, 1, 1),  # noise stays noise
    widths(1.41, 1.41, 2, 2),  # per cent
    widths(1.41, 1.41, 2, 0),  # a mean of so many taken to be exactly 0
    widths(1.41, 0.71, 2, 0.02),  # the difference divided
]

WIDTHS_RIGHT = [
    widths(1.41, 1.41, 2.0, 0.02),
    widths(math.sqrt(2), math.sqrt(2), 2, 1 / math.sqrt(2500)),
    widths(1.4, 1.4, 2, 0.02),  # one place
    widths(2**0.5, (1**2 + (-1) ** 2) ** 0.5, 2, 2500**-0.5),
    widths(sympy.sqrt(2), sympy.sqrt(2), sympy.Integer(2), sympy.Rational(1, 50)),
    widths(np.float32(1.4142), np.hypot(1, 1), np.int64(2), np.float64(1) / 50),
    widths(*torch.tensor([2.0, 2.0, 4.0, 1 / 2500]).sqrt()),
    dict(reversed(widths(1.414, 1.414, 2, 0.02).items())),  # another order
]

# 1.2: six walks -------------------------------------------------------------------------------------------

FOUND = [
    "jumps",
    "one noise for all doses",
    "uniform noise",
    "right",
    "shrunk by 1 - beta",
    "neighbours share noise",
]


def verdicts(**changed):
    return dict(zip("ABCDEF", FOUND)) | changed


VERDICTS_WRONG = [
    verdicts(A="right", D="jumps"),  # nobody looked at one walker at two times
    verdicts(C="right", D="uniform noise"),  # nobody looked at the first histogram
    verdicts(F="right", D="neighbours share noise"),  # nobody looked at two walkers
    verdicts(A="right"),  # two right ones
    verdicts(B="not shrunk"),  # a variance far too large, put down to the wrong fault
    verdicts(B="beta for its root"),
    verdicts(E="beta for its root"),
    verdicts(E="not shrunk"),
    verdicts(B="shrunk by 1 - beta", E="one noise for all doses"),  # exchanged
    verdicts(A="neighbours share noise", F="jumps"),  # exchanged
    verdicts(C="neighbours share noise", F="uniform noise"),  # exchanged
    verdicts(A="right", C="right", F="right"),  # only the table of means and variances read
    dict.fromkeys("ABCDEF", "right"),
    dict(zip("ABCDEF", sorted(FOUND))),  # in the alphabet's order
    dict(zip("ABCDEF", reversed(FOUND))),  # read from the bottom up
]

VERDICTS_RIGHT = [
    verdicts(),
    dict(zip(["A", "B", "C", "D", "E", "F"], FOUND)),
    OrderedDict(sorted(verdicts().items(), reverse=True)),  # another order and kind of dictionary
    {letter: FOUND["ABCDEF".index(letter)] for letter in "DAFBEC"},
    {letter: fault for fault, letter in sorted((fault, letter) for letter, fault in verdicts().items())},
    {letter: np.str_(fault) for letter, fault in verdicts().items()},  # read from a NumPy array
]

# 1.3: noise at a given loudness ----------------------------------------------------------------------------


def twenty_for_ten(x0, noise, decibels):
    """Decibels of a voltage: 20 log."""
    snr = 10 ** (decibels / 20)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def e_for_ten(x0, noise, decibels):
    """The natural exponential."""
    snr = torch.exp(decibels / 10)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def logarithm_for_power(x0, noise, decibels):
    """From decibels to the ratio in the wrong direction."""
    snr = 10 * torch.log10(decibels.abs() + 1e-3).clamp(min=1e-3)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def tenth_forgotten(x0, noise, decibels):
    """Ten decibels are a factor of ten, not of 10 ** 10."""
    snr = 10.0 ** decibels.clamp(-30, 30)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def alpha_bar_upside_down(x0, noise, decibels):
    """1 / (1 + SNR): the noise's share given to the picture."""
    snr = 10 ** (decibels / 10)
    alpha_bar = (1 / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def roots_forgotten(x0, noise, decibels):
    snr = 10 ** (decibels / 10)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar * x0 + (1 - alpha_bar) * noise


def noise_without_root(x0, noise, decibels):
    snr = 10 ** (decibels / 10)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar) * noise


def noise_of_width_one(x0, noise, decibels):
    """The right ratio, but the variance grows with it."""
    snr = 10 ** (decibels / 10)
    return snr.sqrt().view(-1, 1, 1, 1) * x0 + noise


def picture_left_as_it_is(x0, noise, decibels):
    """The right ratio, but nothing shrinks: exploding variance."""
    snr = 10 ** (decibels / 10)
    return x0 + noise / snr.sqrt().view(-1, 1, 1, 1)


def factors_along_the_channels(x0, noise, decibels):
    """A factor for each channel: an error, unless there are as many pictures as channels, or one."""
    snr = 10 ** (decibels / 10)
    alpha_bar = (snr / (1 + snr)).view(1, -1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def no_view(x0, noise, decibels):
    """(batch,) factors meet the last axis: right for one picture, else an error, or a factor a column."""
    snr = 10 ** (decibels / 10)
    alpha_bar = snr / (1 + snr)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def loudness_of_the_first(x0, noise, decibels):
    """The first picture's decibels for all of them."""
    snr = 10 ** (decibels[0] / 10)
    alpha_bar = snr / (1 + snr)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def loudness_on_average(x0, noise, decibels):
    snr = 10 ** (decibels.mean() / 10)
    alpha_bar = snr / (1 + snr)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def sign_lost(x0, noise, decibels):
    """10 ** (-decibels / 10)."""
    snr = 10 ** (-decibels / 10)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def ratio_of_widths(x0, noise, decibels):
    """Takes r for the ratio of the factors, not of their squares."""
    ratio = (10 ** (decibels / 10)).view(-1, 1, 1, 1)
    of_noise = 1 / (1 + ratio**2) ** 0.5
    return ratio * of_noise * x0 + of_noise * noise


def noise_of_its_own(x0, noise, decibels):
    """Doesn't read the noise that is given."""
    snr = 10 ** (decibels / 10)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * torch.randn_like(x0)


def whole_decibels(x0, noise, decibels):
    """Rounds the decibels down."""
    snr = 10.0 ** (decibels.int() // 10)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def pictures_overwritten(x0, noise, decibels):
    """The right numbers, written into the caller's x0."""
    snr = 10 ** (decibels / 10)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    x0 *= alpha_bar.sqrt()
    x0 += (1 - alpha_bar).sqrt() * noise
    return x0


def pictures_and_noise(x0, noise, decibels):
    """Returns a pair where pictures are asked for."""
    snr = 10 ** (decibels / 10)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise, noise


def loud_by_view(x0, noise, decibels):
    snr = 10 ** (decibels / 10)
    alpha_bar = (snr / (1 + snr)).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def loud_by_sigmoid(x0, noise, decibels):
    """r / (1 + r) is the logistic function of ln r."""
    log_snr = decibels * (math.log(10) / 10)
    of_picture = torch.sigmoid(log_snr).sqrt()[:, None, None, None]
    of_noise = torch.sigmoid(-log_snr).sqrt()[:, None, None, None]
    return of_picture * x0 + of_noise * noise


def loud_one_by_one(x0, noise, decibels):
    """A loop with plain numbers."""
    noised = []
    for picture, drawn, loudness in zip(x0, noise, decibels.tolist()):
        r = math.pow(10, loudness / 10)
        noised.append(math.sqrt(r / (1 + r)) * picture + math.sqrt(1 / (1 + r)) * drawn)
    return torch.stack(noised)


def loud_by_einsum(x0, noise, decibels):
    """float64 inside and cast back."""
    r = torch.pow(10.0, decibels.double() / 10)
    a, b = (r / (1 + r)).sqrt(), (1 + r).rsqrt()
    out = torch.einsum("b,bchw->bchw", a, x0.double()) + torch.einsum("b,bchw->bchw", b, noise.double())
    return out.to(x0.dtype)


def loud_by_ratio(x0, noise, decibels):
    """(root of r times the picture plus the noise) over the root of 1 + r."""
    width = 10 ** (decibels / 20)  # the root of the ratio
    width = width.reshape(len(x0), 1, 1, 1)
    return (width * x0 + noise) / (1 + width**2).sqrt()


def loud_in_numpy(x0, noise, decibels):
    r = np.power(10.0, decibels.numpy().astype(np.float64) / 10.0)
    a = (r / (r + 1.0))[:, np.newaxis, np.newaxis, np.newaxis]
    out = np.sqrt(a) * x0.numpy() + np.sqrt(1.0 - a) * noise.numpy()
    return torch.from_numpy(out).to(x0.dtype)


def loud_by_angle(x0, noise, decibels):
    """A point on the quarter circle: its tangent is noise over picture."""
    angle = torch.atan(10 ** (-decibels / 20)).view(-1, 1, 1, 1)
    return angle.cos() * x0 + angle.sin() * noise


# 1.4: a player who knows only the mean --------------------------------------------------------------------

m, N, snr = sympy.symbols("m N snr", positive=True)

MEAN_ALONE_WRONG = [
    m * sympy.sqrt(snr) / 2,  # as if the mean were one pixel
    m * N * sympy.sqrt(snr) / 2,  # the noise divided by N
    m * sympy.sqrt(N * snr),  # the half forgotten
    m * sympy.sqrt(snr / N) / 2,  # averaging makes it worse
    m * sympy.sqrt(N) * snr / 2,  # the ratio without its root
    m * sympy.sqrt(N / snr) / 2,  # upside down
    -m * sympy.sqrt(N * snr) / 2,  # what stands inside Phi
    sympy.sqrt(m * N * snr) / 2,  # all under one root
    m**2 * N * snr / 4,  # squared
    m * sympy.sqrt(N * snr) / 4,  # halved twice
    sympy.sqrt(2) * m * sympy.sqrt(N * snr) / 2,  # two noises for one
    m * sympy.sqrt(N * snr / (1 + snr)) / 2,  # the noise's own factor forgotten
    m / 2,  # without noise
    sympy.sqrt(N * snr) / 2,  # without the means
    m * sympy.sqrt(16384 * snr) / 2,  # one size of picture only
]

MEAN_ALONE_RIGHT = [
    m * sympy.sqrt(N * snr) / 2,
    sympy.sqrt(N) * m * sympy.sqrt(snr) / 2,
    0.5 * m * (N * snr) ** 0.5,
    sympy.sqrt(m**2 * N * snr) / 2,
    sympy.Rational(1, 2) * m / sympy.sqrt(1 / (N * snr)),
    sympy.sqrt(N * snr * (m / 2) ** 2),
    lambda m, N, snr: m / 2 * math.sqrt(snr) * math.sqrt(N),
]

# 1.5: two places on one walk -------------------------------------------------------------------------------

ab_s, ab_t = sympy.symbols("ab_s ab_t", positive=True)
root = sympy.sqrt

CORRELATION_WRONG = [
    root(ab_t / ab_s) * (1 - ab_s),  # the covariance, not divided by the widths
    root(ab_t / ab_s),  # the picture's factor between s and t
    ab_t * (1 - ab_s) / (ab_s * (1 - ab_t)),  # the ratio of the SNRs, its root forgotten
    root(ab_s * (1 - ab_t) / (ab_t * (1 - ab_s))),  # upside down: above 1
    root((1 - ab_s) / (1 - ab_t)),  # the jump's factor left out
    root((1 - ab_t) / (1 - ab_s)) * root(ab_t / ab_s),  # the widths the wrong way round
    root(ab_t / ab_s) * (1 - ab_s) / ((1 - ab_s) * (1 - ab_t)),  # divided by the variances
    root(1 - ab_t / ab_s),  # the fresh noise's factor
    root(ab_t * ab_s) / root((1 - ab_s) * (1 - ab_t)),  # the means not taken off
    ab_t / ab_s * root((1 - ab_s) / (1 - ab_t)),  # the root of the jump's factor forgotten
    (1 - ab_s) / root((1 - ab_s) * (1 - ab_t)) * root(ab_s / ab_t),  # s and t exchanged in the jump
    -root(ab_t * (1 - ab_s) / (ab_s * (1 - ab_t))),  # the sign lost
    sympy.Integer(0),  # two jumps with fresh noise
    sympy.Integer(1),  # two jumps with one noise
    sympy.Float(0.70),  # the example's number
    root(ab_t / ab_s) * (1 - ab_s) / (1 - ab_t),  # both widths taken to be that of t
    root(ab_t) * root(ab_s) + root(1 - ab_t) * root(1 - ab_s),  # the cosine between two points of the circle
]

CORRELATION_RIGHT = [
    root(ab_t / ab_s) * (1 - ab_s) / root((1 - ab_s) * (1 - ab_t)),
    root(ab_t * (1 - ab_s) / (ab_s * (1 - ab_t))),
    root((ab_t / (1 - ab_t)) / (ab_s / (1 - ab_s))),  # by the SNRs
    root(ab_t) / root(1 - ab_t) * root(1 - ab_s) / root(ab_s),
    root((1 / ab_s - 1) / (1 / ab_t - 1)),
    (ab_t / ab_s) ** 0.5 * ((1 - ab_s) / (1 - ab_t)) ** 0.5,
    sympy.exp((sympy.log(ab_t / (1 - ab_t)) - sympy.log(ab_s / (1 - ab_s))) / 2),
    root(ab_t / ab_s) * (1 - ab_s) / (root(1 - ab_s) * root(1 - ab_t)),
    # the fresh noise's share of the variance of x_t taken from 1
    root(1 - (1 - ab_t / ab_s) / (1 - ab_t)),
    ab_t * (1 - ab_s) / root(ab_t * ab_s * (1 - ab_s) * (1 - ab_t)),
]

# 1.6: it worked in full precision -------------------------------------------------------------------------


def only_the_table_in_full(x0, noise, t, betas):
    """The first of two repairs: 1 - alpha_bar is still rounded at the first timesteps."""
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].to(x0.dtype).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise, noise


def cast_after_the_subtraction(x0, noise, t, betas):
    """1 - betas in full, and the product in short numbers: the doses are lost as before."""
    alphas_cumprod = torch.cumprod((1 - betas).to(x0.dtype), dim=0)
    alpha_bar = alphas_cumprod[t].view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise, noise


def full_too_late(x0, noise, t, betas):
    """Full numbers from the table on; but the table was already rounded."""
    alpha_bar = torch.cumprod(1 - betas.to(x0.dtype), dim=0).float()[t].view(-1, 1, 1, 1)
    of_picture, of_noise = alpha_bar.sqrt().to(x0.dtype), (1 - alpha_bar).sqrt().to(x0.dtype)
    return of_picture * x0 + of_noise * noise, noise


def full_precision_returned(x0, noise, t, betas):
    """Factors in float32 make float32 of the pictures; they should still be bfloat16."""
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise, noise


def noise_from_the_rounded_factor(x0, noise, t, betas):
    """The noise's factor computed from the rounded one of the picture: the rounding has moved."""
    of_picture = torch.cumprod(1 - betas, dim=0).sqrt()[t].to(x0.dtype).view(-1, 1, 1, 1)
    return of_picture * x0 + (1 - of_picture**2).sqrt() * noise, noise


def always_bfloat16(x0, noise, t, betas):
    """bfloat16 written into the function: float32 pictures come back short."""
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].view(-1, 1, 1, 1)
    return (alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise).bfloat16(), noise


def always_half(x0, noise, t, betas):
    """Another short kind of number: float16."""
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].view(-1, 1, 1, 1)
    return (alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise).half(), noise


def first_doses_skipped(x0, noise, t, betas):
    """No timestep below 190 is ever noised."""
    t = t.clamp(min=190)
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].view(-1, 1, 1, 1)
    return (alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise).to(x0.dtype), noise


def doses_rounded_up(x0, noise, t, betas):
    """Every dose at least 1/256, so that none is lost: another schedule."""
    alpha_bar = torch.cumprod(1 - betas.clamp(min=1 / 256), dim=0)[t].view(-1, 1, 1, 1)
    return (alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise).to(x0.dtype), noise


def one_timestep_for_all(x0, noise, t, betas):
    """In full, but the first picture's t for the whole batch."""
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t[0]]
    of_picture, of_noise = alpha_bar.sqrt().to(x0.dtype), (1 - alpha_bar).sqrt().to(x0.dtype)
    return of_picture * x0 + of_noise * noise, noise


def alpha_for_alpha_bar(x0, noise, t, betas):
    """cumprod lost in the repair."""
    alpha = (1 - betas)[t].view(-1, 1, 1, 1)
    return (alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise).to(x0.dtype), noise


def sum_for_product(x0, noise, t, betas):
    """1 minus the sum of the doses: right for the first few, then below 0."""
    alpha_bar = (1 - torch.cumsum(betas, dim=0)).clamp(0, 1)[t].view(-1, 1, 1, 1)
    return (alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise).to(x0.dtype), noise


def fresh_noise_in_full(x0, noise, t, betas):
    """Draws float32 noise for the mixture and returns the other: the target isn't what is in the picture."""
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].view(-1, 1, 1, 1)
    mixed = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * torch.randn(x0.shape)
    return mixed.to(x0.dtype), noise


def pair_turned_round(x0, noise, t, betas):
    """(noise, x_t)."""
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].view(-1, 1, 1, 1)
    return noise, (alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise).to(x0.dtype)


def pictures_alone(x0, noise, t, betas):
    """The noise is not handed back."""
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].view(-1, 1, 1, 1)
    return (alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise).to(x0.dtype)


def scaled_noise_as_target(x0, noise, t, betas):
    """Returns the noise times its factor, which is not what (1.13) calls the noise."""
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].view(-1, 1, 1, 1)
    part = ((1 - alpha_bar).sqrt() * noise).to(x0.dtype)
    return (alpha_bar.sqrt() * x0).to(x0.dtype) + part, part


def one_dose_early(x0, noise, t, betas):
    """A one put in front of the table, and t not moved: no noise at all at t = 0."""
    table = torch.cat([torch.ones(1), torch.cumprod(1 - betas, dim=0)])
    alpha_bar = table[t].view(-1, 1, 1, 1)
    return (alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise).to(x0.dtype), noise


def a_little_noise_always(x0, noise, t, betas):
    """1e-2 added so that the factor isn't 0."""
    alpha_bar = torch.cumprod(1 - betas.to(x0.dtype), dim=0)[t].view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar + 1e-2).sqrt() * noise, noise


def factors_in_full_then_cast(x0, noise, t, betas):
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].view(-1, 1, 1, 1)
    of_picture, of_noise = alpha_bar.sqrt().to(x0.dtype), (1 - alpha_bar).sqrt().to(x0.dtype)
    return of_picture * x0 + of_noise * noise, noise


def all_in_full_then_cast(x0, noise, t, betas):
    """Pictures and noise are made long as well, and the result short again."""
    alpha_bar = torch.cumprod(1 - betas.float(), dim=0)[t].view(-1, 1, 1, 1)
    x_t = alpha_bar.sqrt() * x0.float() + (1 - alpha_bar).sqrt() * noise.float()
    return x_t.to(x0.dtype), noise


def all_in_double_then_cast(x0, noise, t, betas):
    alphas_cumprod = (1 - betas.double()).cumprod(0)
    alpha_bar = alphas_cumprod[t][:, None, None, None]
    x_t = alpha_bar**0.5 * x0.double() + (1 - alpha_bar) ** 0.5 * noise.double()
    return x_t.type_as(x0), noise


def by_logarithms(x0, noise, t, betas):
    """The sum of log(1 - beta), and expm1 for 1 - alpha bar."""
    log_bar = torch.log1p(-betas.double()).cumsum(0)[t].reshape(-1, 1, 1, 1)
    a, b = torch.exp(log_bar / 2), torch.sqrt(-torch.expm1(log_bar))
    return a.to(x0.dtype) * x0 + b.to(x0.dtype) * noise, noise


def picture_by_picture(x0, noise, t, betas):
    """Plain numbers: they leave the dtype of a tensor alone."""
    alpha_bars, product = [], 1.0
    for dose in betas.tolist():
        product *= 1 - dose
        alpha_bars.append(product)
    pictures = []
    for i, time in enumerate(t.tolist()):
        pictures.append(math.sqrt(alpha_bars[time]) * x0[i] + math.sqrt(1 - alpha_bars[time]) * noise[i])
    return torch.stack(pictures), noise


def dose_by_dose_for_the_noise(x0, noise, t, betas):
    """1 - alpha bar by its own recursion, without a subtraction: v = (1 - beta) v + beta."""
    level, levels = torch.zeros(()), []
    for dose in betas:
        level = (1 - dose) * level + dose
        levels.append(level)
    variance = torch.stack(levels)[t].view(-1, 1, 1, 1)
    a, b = (1 - variance).sqrt(), variance.sqrt()
    return (a * x0 + b * noise).to(x0.dtype), noise


# 1.7: a schedule that ends in pure noise -------------------------------------------------------------------


def roots_returned(alphas_cumprod):
    """The curve, not its square."""
    roots = alphas_cumprod.sqrt()
    return (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])


def not_stretched(alphas_cumprod):
    """Shifted only: the first value is lower than it was."""
    roots = alphas_cumprod.sqrt()
    return (roots - roots[-1]) ** 2


def squares_shifted(alphas_cumprod):
    """Shift and stretch of alpha bar itself, not of its root."""
    a = alphas_cumprod
    return (a - a[-1]) * a[0] / (a[0] - a[-1])


def begins_at_one(alphas_cumprod):
    """Stretched to 1, not to the first value."""
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-1]) / (roots[0] - roots[-1])) ** 2


def only_the_last_set(alphas_cumprod):
    """The last value overwritten, the rest left."""
    table = alphas_cumprod.clone()
    table[-1] = 0
    return table


def stretched_after_squaring(alphas_cumprod):
    """(shifted) squared, times the first root over the shifted first root: not squared itself."""
    roots = alphas_cumprod.sqrt()
    return (roots - roots[-1]) ** 2 * roots[0] / (roots[0] - roots[-1])


def ratio_upside_down(alphas_cumprod):
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-1]) * (roots[0] - roots[-1]) / roots[0]) ** 2


def last_step_of_sd(alphas_cumprod):
    """Stable Diffusion's two numbers written into the function."""
    roots = alphas_cumprod.sqrt()
    return ((roots - 0.068265) * (0.999575 / (0.999575 - 0.068265))) ** 2


def index_999(alphas_cumprod):
    """A thousand timesteps taken for granted."""
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[999]) * roots[0] / (roots[0] - roots[999])) ** 2


def written_into_the_callers_table(alphas_cumprod):
    """Works on the caller's table."""
    alphas_cumprod.sqrt_()
    first, last = alphas_cumprod[0].clone(), alphas_cumprod[-1].clone()
    alphas_cumprod -= last
    alphas_cumprod *= first / (first - last)
    return alphas_cumprod.square_()


def first_value_read_after_the_shift(alphas_cumprod):
    """roots[0] is read when it is already shifted, so the stretch is by 1."""
    roots = alphas_cumprod.sqrt()
    roots = roots - roots[-1]
    return (roots * roots[0] / (roots[0] - roots[-1])) ** 2


def betas_returned(alphas_cumprod):
    """diffusers' version: a list of doses."""
    roots = alphas_cumprod.sqrt()
    new = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    return 1 - torch.cat([new[:1], new[1:] / new[:-1]])


def straight_fade(alphas_cumprod):
    """A straight line to 0 multiplied on: the ends are right, the curve between is not."""
    return alphas_cumprod * torch.linspace(1, 0, len(alphas_cumprod))


def one_value_less(alphas_cumprod):
    """The last value left out, and 0 only nearly reached."""
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1]))[:-1] ** 2


def second_last_is_zero(alphas_cumprod):
    """-2 for -1, cut off at 0."""
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-2]) * roots[0] / (roots[0] - roots[-2])).clamp(min=0) ** 2


def as_lin_et_al(alphas_cumprod):
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2


def in_steps(alphas_cumprod):
    """As in the paper's listing, with copies of both ends."""
    roots = alphas_cumprod.clone() ** 0.5
    first, last = roots[0].clone(), roots[-1].clone()
    roots -= last
    roots *= first / (first - last)
    return roots * roots


def one_at_a_time(alphas_cumprod):
    """A loop with math."""
    roots = [math.sqrt(a) for a in alphas_cumprod.tolist()]
    first, last = roots[0], roots[-1]
    new = [(first * (r - last) / (first - last)) ** 2 for r in roots]
    return torch.tensor(new, dtype=alphas_cumprod.dtype)


def in_numpy_double(alphas_cumprod):
    roots = np.sqrt(alphas_cumprod.numpy().astype(np.float64))
    low, high = roots.min(), roots.max()
    return torch.from_numpy((roots - low) ** 2 * (high / (high - low)) ** 2).to(alphas_cumprod.dtype)


def by_shares_of_the_way(alphas_cumprod):
    """How much of the way from the last root to the first is left, squared, times the first value."""
    roots = torch.sqrt(alphas_cumprod.double())
    left = (roots - roots[-1]) / (roots[0] - roots[-1])
    return (alphas_cumprod[0].double() * left.square()).to(alphas_cumprod)


def by_interpolation(alphas_cumprod):
    """Subtracts a multiple of the last root that is 1 at the end and 0 at the start."""
    roots = alphas_cumprod.sqrt()
    share = (roots[0] - roots) / (roots[0] - roots[-1])
    return (roots - share * roots[-1]) ** 2


end_in_one_line = lambda a: (a.sqrt() - a[-1].sqrt()) ** 2 * a[0] / (a[0].sqrt() - a[-1].sqrt()) ** 2  # noqa: E731

# 1.8: larger pictures -------------------------------------------------------------------------------------


def predicted(d, snr, t, lead):
    return {
        "distance d": d,
        "SNR at which they drown": snr,
        "drowned from t": t,
        "lead of the mean (1.22)": lead,
    }


LARGER_WRONG = [
    predicted(4, 1 / 16, 968, 4),  # d taken to grow with the number of pixels
    predicted(2, 0.5, 762, 2),  # the root of the ratio taken for the ratio
    predicted(2, 4, 482, 2),  # the SNR in the wrong direction: larger pictures drown sooner
    predicted(2, 0.25, 482, 2),  # the timestep looked up in the wrong direction
    predicted(2, 0.25, 677, 2),  # the schedule stays, so t is thought to stay
    predicted(1, 1, 677, 1),  # the same picture, so nothing changes
    predicted(2, 0.25, 837, 4),  # N, not its root
    predicted(2, 0.25, 837, 1),  # the mean is the same, so its lead too
    predicted(2, 0.25, 837, 0.5),  # the noise's part of the mean, not the lead
    predicted(2**0.5, 0.5, 762, 2**0.5),  # twice as many pixels, not four times
    predicted(2, 2, 584, 2),  # the SNR grows with d
    predicted(0.5, 4, 482, 2),  # the distance spread over more pixels
    predicted(2, 0.25, 169, 2),  # 677 / 4
    predicted(2, 0.25, 999, 2),  # never drowned
    predicted(4, 0.25, 837, 2),  # the squared distance
    predicted(200, 25, 837, 200),  # per cent
    predicted(2, -0.25, 837, 2),
]

LARGER_RIGHT = [
    predicted(2.0, 0.25, 837, 2.0),
    predicted(2, 1 / 4, 838, 2),  # from the rounded 677: the first t below a quarter of its ratio
    predicted(4**0.5, 2**-2, 837, math.sqrt(4)),
    predicted(sympy.sqrt(4), sympy.Rational(1, 4), sympy.Integer(837), sympy.Integer(2)),
    predicted(np.sqrt(4), np.float32(0.25), np.int64(837), np.float64(2)),
    predicted(2, 0.25, 840, 2),  # rounded
    predicted(2.0, 0.25, 836.0, 2.0),  # a timestep as a decimal number
    dict(reversed(predicted(2, 0.25, 837, 2).items())),  # another order
    predicted(*torch.tensor([2.0, 0.25, 837.0, 2.0])),
]

# 1.9: the time of day in snow ------------------------------------------------------------------------------


def brightness_only(x_t, alpha_bar, examples):
    """One number for a picture: its mean over everything."""
    share = alpha_bar**0.5
    seen = x_t.mean()
    return min(examples, key=lambda hour: abs(float(seen - share * examples[hour].mean())))


def mean_colours(x_t, alpha_bar, examples):
    """Three numbers for a picture: near the mark and below it."""
    share = alpha_bar**0.5
    seen = x_t.mean(dim=(1, 2))
    return min(
        examples, key=lambda hour: float((seen - share * examples[hour].mean(dim=(0, 2, 3))).square().sum())
    )


def not_paled(x_t, alpha_bar, examples):
    """Compares with the clean typical pictures, without the factor of (1.13)."""
    return min(examples, key=lambda hour: float((x_t - examples[hour].mean(dim=0)).norm()))


def blown_up_without_root(x_t, alpha_bar, examples):
    """Divided by the root and compared with one example each, not with the typical one."""
    x0_hat = x_t / alpha_bar**0.5
    return min(examples, key=lambda hour: float((x0_hat - examples[hour][0]).norm()))


def farthest(x_t, alpha_bar, examples):
    """max for min."""
    share = alpha_bar**0.5
    return max(examples, key=lambda hour: float((x_t - share * examples[hour].mean(dim=0)).norm()))


def always_day(x_t, alpha_bar, examples):
    return "day"


def guessed(x_t, alpha_bar, examples):
    return random.choice(list(examples))


def index_of_the_nearest(x_t, alpha_bar, examples):
    """A number in place of a name."""
    share = alpha_bar**0.5
    return int(np.argmin([float((x_t - share * e.mean(dim=0)).norm()) for e in examples.values()]))


def examples_paled_in_place(x_t, alpha_bar, examples):
    """Pales the caller's examples a little more at every call."""
    distances = {}
    for hour, pictures in examples.items():
        pictures *= alpha_bar**0.5
        distances[hour] = float((x_t - pictures.mean(dim=0)).norm())
    return min(distances, key=distances.get)


def upside_down(x_t, alpha_bar, examples):
    """Turned the wrong way up: rows counted from below."""
    share = alpha_bar**0.5
    return min(examples, key=lambda hour: float((x_t.flip(1) - share * examples[hour].mean(dim=0)).norm()))


def one_pixel(x_t, alpha_bar, examples):
    """A corner of the sky, and of that one pixel."""
    share = alpha_bar**0.5
    return min(examples, key=lambda h: float((x_t - share * examples[h].mean(dim=0))[:, 0, 0].norm()))


def mean_taken_off(x_t, alpha_bar, examples):
    """Takes the light itself away: each colour's mean is subtracted from both."""
    share = alpha_bar**0.5

    def flat(x):
        return x - x.mean(dim=(1, 2), keepdim=True)

    return min(examples, key=lambda h: float((flat(x_t) - share * flat(examples[h].mean(dim=0))).norm()))


def darkest_is_night(x_t, alpha_bar, examples):
    """Fixed limits for the brightness of clean pictures."""
    m = float(x_t.mean())
    return "night" if m < -0.3 else "sunset" if m < 0.1 else "day"


def all_distances(x_t, alpha_bar, examples):
    """Hands back the table of distances in place of an answer."""
    share = alpha_bar**0.5
    return {hour: float((x_t - share * e.mean(dim=0)).norm()) for hour, e in examples.items()}


def typical_picture(x_t, alpha_bar, examples):
    distances = {}
    for hour, pictures in examples.items():
        distances[hour] = float((x_t - alpha_bar**0.5 * pictures.mean(dim=0)).norm())
    return min(distances, key=distances.get)


def typical_by_product(x_t, alpha_bar, examples):
    """|x - c|^2 multiplied out: x . c - |c|^2 / 2, the largest wins."""
    share = math.sqrt(float(alpha_bar))
    best, answer = -math.inf, None
    for hour in examples:
        centre = (share * examples[hour].mean(0)).flatten().double()
        score = float(torch.dot(x_t.flatten().double(), centre) - centre.dot(centre) / 2)
        if score > best:
            best, answer = score, hour
    return answer


def typical_in_numpy(x_t, alpha_bar, examples):
    names = list(examples)
    centres = np.stack([np.asarray(examples[name], dtype=np.float64).mean(axis=0) for name in names])
    x0_hat = np.asarray(x_t, dtype=np.float64) / np.sqrt(float(alpha_bar))  # made as loud as the clean ones
    return names[int(((centres - x0_hat) ** 2).sum(axis=(1, 2, 3)).argmin())]


def typical_and_mirrored(x_t, alpha_bar, examples):
    """Left and right mean nothing to the time of day: forty examples instead of twenty."""
    share = float(alpha_bar) ** 0.5

    def far(hour):
        both = torch.cat([examples[hour], examples[hour].flip(-1)])
        return float(torch.sum((x_t - share * both.mean(0)) ** 2))

    return sorted(examples, key=far)[0]


def row_means(x_t, alpha_bar, examples):
    """Each row's mean colour: the sky is above, and nothing depends on left and right."""
    share = float(alpha_bar) ** 0.5
    seen = x_t.mean(dim=-1)
    return min(examples, key=lambda h: float((seen - share * examples[h].mean(dim=(0, -1))).norm()))


def likeliest_of_all_examples(x_t, alpha_bar, examples):
    """Adds up the density (1.14) of x_t over the examples of each time of day."""
    share, variance = float(alpha_bar) ** 0.5, 1 - float(alpha_bar)
    log_density = {
        hour: torch.logsumexp(-((x_t - share * e) ** 2).sum(dim=(1, 2, 3)).double() / (2 * variance), dim=0)
        for hour, e in examples.items()
    }
    return max(log_density, key=lambda hour: float(log_density[hour]))


def blurred(x_t, alpha_bar, examples):
    """Compares squares of 8 x 8 pixels."""
    share = float(alpha_bar) ** 0.5
    pool = torch.nn.functional.avg_pool2d
    seen = pool(x_t[None], 8)[0]
    return min(examples, key=lambda h: float((seen - share * pool(examples[h], 8).mean(dim=0)).norm()))


BANK = {
    "1.1": {"wrong": WIDTHS_WRONG, "right": WIDTHS_RIGHT},
    "1.2": {"wrong": VERDICTS_WRONG, "right": VERDICTS_RIGHT},
    "1.3": {
        "wrong": [
            twenty_for_ten,
            e_for_ten,
            logarithm_for_power,
            tenth_forgotten,
            alpha_bar_upside_down,
            roots_forgotten,
            noise_without_root,
            noise_of_width_one,
            picture_left_as_it_is,
            factors_along_the_channels,
            no_view,
            loudness_of_the_first,
            loudness_on_average,
            sign_lost,
            ratio_of_widths,
            noise_of_its_own,
            whole_decibels,
            pictures_overwritten,
            pictures_and_noise,
        ],
        "right": [
            loud_by_view,
            loud_by_sigmoid,
            loud_one_by_one,
            loud_by_einsum,
            loud_by_ratio,
            loud_in_numpy,
            loud_by_angle,
        ],
    },
    "1.4": {"wrong": MEAN_ALONE_WRONG, "right": MEAN_ALONE_RIGHT},
    "1.5": {"wrong": CORRELATION_WRONG, "right": CORRELATION_RIGHT},
    "1.6": {
        "wrong": [
            only_the_table_in_full,
            cast_after_the_subtraction,
            full_too_late,
            full_precision_returned,
            noise_from_the_rounded_factor,
            always_bfloat16,
            always_half,
            first_doses_skipped,
            doses_rounded_up,
            one_timestep_for_all,
            alpha_for_alpha_bar,
            sum_for_product,
            fresh_noise_in_full,
            pair_turned_round,
            pictures_alone,
            scaled_noise_as_target,
            one_dose_early,
            a_little_noise_always,
        ],
        "right": [
            factors_in_full_then_cast,
            all_in_full_then_cast,
            all_in_double_then_cast,
            by_logarithms,
            picture_by_picture,
            dose_by_dose_for_the_noise,
        ],
    },
    "1.7": {
        "wrong": [
            roots_returned,
            not_stretched,
            squares_shifted,
            begins_at_one,
            only_the_last_set,
            stretched_after_squaring,
            ratio_upside_down,
            last_step_of_sd,
            index_999,
            written_into_the_callers_table,
            first_value_read_after_the_shift,
            betas_returned,
            straight_fade,
            one_value_less,
            second_last_is_zero,
        ],
        "right": [
            as_lin_et_al,
            in_steps,
            one_at_a_time,
            in_numpy_double,
            by_shares_of_the_way,
            by_interpolation,
            end_in_one_line,
        ],
    },
    "1.8": {"wrong": LARGER_WRONG, "right": LARGER_RIGHT},
    "1.9": {
        "wrong": [
            brightness_only,
            mean_colours,
            not_paled,
            blown_up_without_root,
            farthest,
            always_day,
            guessed,
            index_of_the_nearest,
            examples_paled_in_place,
            upside_down,
            one_pixel,
            mean_taken_off,
            darkest_is_night,
            all_distances,
        ],
        "right": [
            typical_picture,
            typical_by_product,
            typical_in_numpy,
            typical_and_mirrored,
            row_means,
            likeliest_of_all_examples,
            blurred,
        ],
    },
}
