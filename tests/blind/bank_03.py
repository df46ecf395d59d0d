"""Answers to chapter 3's exercises, written without a look at the checks."""

import math
import statistics
from fractions import Fraction

import numpy as np
import sympy
import torch

from minisd import NoiseSchedule
from minisd.samplers import dpmpp_step

sqrt = sympy.sqrt


# ---------------------------------------------------------------------------------------------------- 3.1
def no_room_checked(number, total, offset):
    # moves up by the whole offset, out of the table
    stride = total // number
    return [i * stride + offset for i in range(number)][::-1]


def each_one_capped(number, total, offset):
    # the largest cut to the end of the table, the others moved by the whole offset: no longer even
    stride = total // number
    return [min(i * stride + offset, total - 1) for i in range(number)][::-1]


def smallest_first(number, total, offset):
    stride = total // number
    offset = min(offset, total - 1 - (number - 1) * stride)
    return [i * stride + offset for i in range(number)]


def counted_down_from_the_top(number, total, offset):
    # "trailing" timesteps: 999, 979, ...
    stride = total // number
    return [total - 1 - i * stride for i in range(number)]


def spread_to_both_ends(number, total, offset):
    # linspace: spacing is not total // number
    spots = np.linspace(0, total - 1, number).round().astype(int) + offset
    return np.minimum(spots, total - 1)[::-1].tolist()


def fraction_of_total_rounded_late(number, total, offset):
    # the spacing is not a whole number: i * total / number, rounded
    offset = min(offset, total - 1 - (number - 1) * total // number)
    return [i * total // number + offset for i in range(number)][::-1]


def a_thousand_always(number, total, offset):
    # total hard-coded
    stride = 1000 // number
    offset = min(offset, 999 - (number - 1) * stride)
    return [i * stride + offset for i in range(number)][::-1]


def offset_one_always(number, total, offset):
    stride = total // number
    return [i * stride + 1 for i in range(number)][::-1]


def offset_ignored(number, total, offset):
    stride = total // number
    return [i * stride for i in range(number)][::-1]


def range_with_a_step(number, total, offset):
    # range(0, total, stride) may hold more than `number`: 30 of 1000 give 31
    stride = total // number
    spots = range(0, total, stride)
    offset = min(offset, total - 1 - spots[-1])
    return [t + offset for t in spots][::-1]


def moved_up_or_not_at_all(number, total, offset):
    # no room for the whole offset: no offset
    stride = total // number
    last = (number - 1) * stride
    return [i * stride + (offset if last + offset < total else 0) for i in range(number)][::-1]


def room_counted_one_too_many(number, total, offset):
    # `total` is outside the table
    stride = total // number
    offset = min(offset, total - (number - 1) * stride)
    return [i * stride + offset for i in range(number)][::-1]


def room_counted_one_too_few(number, total, offset):
    stride = total // number
    offset = max(min(offset, total - 2 - (number - 1) * stride), 0)
    return [i * stride + offset for i in range(number)][::-1]


def room_of_a_whole_stride(number, total, offset):
    # less than one stride: for 4 of 10 the largest could still move by 3
    stride = total // number
    return [i * stride + min(offset, stride - 1) for i in range(number)][::-1]


def beyond_the_table_left_out(number, total, offset):
    # fewer than `number`
    stride = total // number
    return [t for t in (i * stride + offset for i in range(number)) if t < total][::-1]


def wraps_around(number, total, offset):
    stride = total // number
    return [(i * stride + offset) % total for i in range(number)][::-1]


def counts_from_one(number, total, offset):
    # the papers' timesteps: the smallest at 1 before the offset
    stride = total // number
    offset = min(offset, total - 1 - (number - 1) * stride)
    return [i * stride + offset + 1 for i in range(number)][::-1]


def ends_one_short(number, total, offset):
    # range(number - 1): one timestep is missing
    stride = total // number
    offset = min(offset, total - 1 - (number - 1) * stride)
    return [i * stride + offset for i in range(number - 1, 0, -1)]


def times_by_range(number, total, offset):
    stride = total // number
    top = min((number - 1) * stride + offset, total - 1)
    return list(range(top, top - number * stride, -stride))


def times_by_numpy(number, total, offset):
    spots = np.arange(number) * (total // number)
    return (spots + min(offset, total - 1 - spots.max()))[::-1].tolist()


def times_of_numpy_numbers(number, total, offset):
    spots = np.arange(number) * (total // number)
    return list(np.flip(spots + min(offset, total - 1 - int(spots[-1]))))


def times_one_move_at_a_time(number, total, offset):
    spots = [i * (total // number) for i in range(number)]
    for _ in range(offset):
        if spots[-1] < total - 1:
            spots = [t + 1 for t in spots]
    spots.reverse()
    return spots


def times_by_torch(number, total, offset):
    spots = torch.arange(number) * (total // number)
    return torch.sort(spots + min(offset, total - 1 - spots[-1].item()), descending=True).values.tolist()


def times_sorted(number, total, offset=0):
    stride = int(total / number)
    excess = max(0, (number - 1) * stride + offset - (total - 1))
    return sorted((i * stride + offset - excess for i in range(number)), reverse=True)


def times_inserted(number, total, offset):
    room = total - 1 - (number - 1) * (total // number)
    if offset > room:
        offset = room
    times = []
    for i in range(number):
        times.insert(0, i * (total // number) + offset)
    return times


wrong_31 = [
    no_room_checked,
    each_one_capped,
    smallest_first,
    counted_down_from_the_top,
    spread_to_both_ends,
    fraction_of_total_rounded_late,
    a_thousand_always,
    offset_one_always,
    offset_ignored,
    range_with_a_step,
    moved_up_or_not_at_all,
    room_counted_one_too_many,
    room_counted_one_too_few,
    room_of_a_whole_stride,
    beyond_the_table_left_out,
    wraps_around,
    counts_from_one,
    ends_one_short,
]
right_31 = [
    times_by_range,
    times_by_numpy,
    times_of_numpy_numbers,
    times_one_move_at_a_time,
    times_by_torch,
    times_sorted,
    times_inserted,
]

# ---------------------------------------------------------------------------------------------------- 3.2
NAMES_32 = (
    "width of a quarter of each",
    "percent lost by 80",
    "percent lost by the round trip",
    "renewed at eta 0.5",
)


def named_32(*values):
    return dict(zip(NAMES_32, values))


angle_32 = 10 * math.acos(0.905**0.1)  # the whole angle, from 9.5 percent by 10 steps

wrong_32 = [
    named_32(0.25, 1.2, 2.4, 0.25),  # the variance of the mixture
    named_32(1.0, 1.2, 2.4, 0.25),  # weights that add up to 1 keep the width
    named_32(2.0, 1.2, 2.4, 0.25),  # the width of the sum
    named_32(0.5, 0.15, 2.4, 0.25),  # second order: eight times the steps, a sixty-fourth
    named_32(0.5, 0.012, 0.024, 0.25),  # fractions for percent
    named_32(0.5, 1.2, 1.2, 0.25),  # the way up costs nothing
    named_32(0.5, 1.2, 0.0, 0.25),  # up and down cancel
    named_32(0.5, 1.2, 1.44, 0.25),  # losses multiplied
    named_32(0.5, 1.2, 0.6, 0.25),  # 160 steps
    named_32(0.5, 1.2, 2.4, 0.5),  # the width, not the variance
    named_32(0.5, 1.2, 2.4, 0.75),  # what is not renewed
    named_32(0.5, 1.2, 2.4, 0.707),  # root of eta
    named_32(0.5, 1.2, 2.4, 25),  # percent for a share
    named_32(0.5, 3.4, 6.7, 0.25),  # the loss falls with the root of the steps
    named_32(0.5, 76.0, 152.0, 0.25),  # more steps, more loss
    named_32(0.5, 98.8, 97.6, 0.25),  # what is left
    named_32(0.5, 1.2, 4.8, 0.25),  # cosine squared, twice over
    named_32(0.0625, 1.2, 2.4, 0.25),  # squared weight of one
]
right_32 = [
    named_32(0.5, 1.2, 2.4, 0.25),
    named_32(0.5, 9.5 / 8, 2 * 9.5 / 8, 0.25),
    named_32(
        math.sqrt(4 * 0.25**2),
        100 * (1 - math.cos(angle_32 / 80) ** 80),
        100 * (1 - math.cos(angle_32 / 80) ** 160),
        0.5**2,
    ),
    named_32(0.48, 1.25, 2.45, 0.26),  # within a tenth
    named_32(
        np.float64(0.5), np.float64(1.239), np.float64(2.4625), np.float64(0.25)
    ),  # what the cell prints
    dict(reversed(list(named_32(0.5, 1.19, 2.36, 0.25).items()))),
    named_32(Fraction(1, 2), Fraction(19, 16), Fraction(19, 8), Fraction(1, 4)),
    named_32(1 / 2, 1.3, 2.5, 1 / 4),
]

# ---------------------------------------------------------------------------------------------------- 3.3
eta, ab_t, ab_s, ab_r = sympy.symbols("eta ab_t ab_s ab_r", positive=True)


def variance_of(before, after, scale=eta):
    """(3.10), squared."""
    return scale**2 * (1 - after) / (1 - before) * (1 - before / after)


one, two = (1 - eta**2 * (1 - b / a) / (1 - b) for b, a in ((ab_t, ab_s), (ab_s, ab_r)))
v_one, v_two = variance_of(ab_t, ab_s), variance_of(ab_s, ab_r)

wrong_33 = [
    one * two,  # roots forgotten
    sqrt(one),  # one step only
    sqrt(two),  # the other step only
    sqrt(1 - eta**2 * (1 - ab_t / ab_r) / (1 - ab_t)),  # one jump from t to r: right at eta 0 and 1 only
    sqrt(one) + sqrt(two),  # added
    sqrt(one + two - 1),  # the two renewed shares added
    sqrt(
        (1 - eta * (1 - ab_t / ab_s) / (1 - ab_t)) * (1 - eta * (1 - ab_s / ab_r) / (1 - ab_s))
    ),  # eta not squared
    sqrt((1 - ab_s - v_one) * (1 - ab_r - v_two)),  # not divided by the widths
    sqrt(1 - ab_r - v_two) * sqrt(1 - ab_s - v_one) * sqrt(1 - ab_t),  # something like the covariance
    sqrt(ab_t * (1 - ab_r) / (ab_r * (1 - ab_t))),  # eta = 1 only
    sqrt((1 - v_one) * (1 - v_two)),  # sigma^2 taken from 1, not from 1 - ab
    sqrt(
        (1 - eta**2 * (1 - ab_s / ab_t) / (1 - ab_t)) * (1 - eta**2 * (1 - ab_r / ab_s) / (1 - ab_s))
    ),  # upside down
    sqrt(
        (1 - eta**2 * (1 - ab_t / ab_s) / (1 - ab_s)) * (1 - eta**2 * (1 - ab_s / ab_r) / (1 - ab_r))
    ),  # wrong widths
    sqrt(
        (1 - eta**2 * (1 - ab_t / ab_s)) * (1 - eta**2 * (1 - ab_s / ab_r))
    ),  # beta for sigma^2 / (1 - ab_s)
    one**2 * two**2,
    sqrt((1 - (1 - ab_t / ab_s) / (1 - ab_t)) * (1 - (1 - ab_s / ab_r) / (1 - ab_s))) * (1 - eta)
    + eta,  # not 1 at eta 0
    1 - (1 - sqrt(one)) - (1 - sqrt(two)),  # losses added
    sqrt(1 - one * two),  # the fresh part
    one,  # the first step squared
    sqrt(one) * sqrt(1 - eta**2 * (1 - ab_t / ab_s) / (1 - ab_t)),  # the first step twice
]
right_33 = [
    sqrt(one) * sqrt(two),
    sqrt(one * two),
    (one * two) ** 0.5,
    sqrt(1 - ab_s - v_one) / sqrt(1 - ab_s) * sqrt(1 - ab_r - v_two) / sqrt(1 - ab_r),
    sqrt(1 - ab_s - v_one) / sqrt(1 - ab_s) * sqrt(1 - v_two / (1 - ab_r)),
    # the covariance of x_r and x_t through both steps, then the widths
    sqrt((1 - ab_r - v_two) / (1 - ab_s) * (1 - ab_s - v_one) / (1 - ab_t))
    * (1 - ab_t)
    / sqrt((1 - ab_r) * (1 - ab_t)),
    sympy.together(sqrt(one) * sqrt(two)),
    sqrt(
        (ab_s * (1 - ab_t) - eta**2 * (ab_s - ab_t))
        * (ab_r * (1 - ab_s) - eta**2 * (ab_r - ab_s))
        / (ab_s * ab_r * (1 - ab_t) * (1 - ab_s))
    ),
    sympy.expand(one) ** sympy.Rational(1, 2) * sympy.expand(two) ** sympy.Rational(1, 2),
]

# ---------------------------------------------------------------------------------------------------- 3.4
w = sympy.symbols("w", positive=True)
ddpm, beta = (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s), 1 - ab_t / ab_s
v_t, v_s = ab_t * w**2 + 1 - ab_t, ab_s * w**2 + 1 - ab_s
bracket, unknown = sqrt(ab_s) * beta / (1 - ab_t), w**2 * (1 - ab_t) / v_t
snr_t, snr_s = ab_t / (1 - ab_t), ab_s / (1 - ab_s)
factor = (sqrt(ab_s * ab_t) * w**2 + sqrt((1 - ab_s - ddpm) * (1 - ab_t))) / v_t  # f of (3.17)

wrong_34 = [
    ddpm,  # no width at all
    beta,  # width 1 only
    w**2 * beta + (1 - w**2) * ddpm,  # mixed by w^2: right at both ends, and between them not
    ddpm + bracket**2 * w**2,  # Var[x_0] for Var[x_0 | x_t]
    ddpm + bracket * unknown,  # bracket not squared
    bracket**2 * unknown,  # only what is lost
    ddpm - bracket**2 * unknown,  # sign
    ddpm + bracket**2 * w * (1 - ab_t) / (ab_t * w + 1 - ab_t),  # w taken for the variance
    ddpm + bracket**2 * w**2 / v_t,  # 1 - ab_t forgotten: the noise's width missing
    ddpm + bracket**2 * sqrt(unknown),  # a width for a variance
    ddpm + ab_s * (1 - sqrt(snr_t / snr_s)) ** 2 * unknown,  # the bracket of eta = 0
    sqrt(ddpm + bracket**2 * unknown),  # sigma, not sigma^2
    v_s - factor * v_t,  # f not squared
    v_s - v_t,
    ddpm + (beta / (1 - ab_t)) ** 2 * unknown,  # ab_s forgotten in the bracket
    ddpm + ab_s * (1 - snr_s / snr_t) ** 2 * unknown,  # SNR upside down
    ddpm + bracket**2 * w**2 * (1 - ab_t),  # v_t forgotten
    ddpm + bracket**2 * ab_t * w**4 / v_t,  # the variance of the guess, not of what it misses
    (1 - ab_s) / (1 - ab_t) * (1 - ab_s / ab_t) + bracket**2 * unknown,  # fraction upside down
    ddpm + ab_t * (beta / (1 - ab_t)) ** 2 * unknown,  # t for s
    w**2 * beta,
]
right_34 = [
    ddpm + bracket**2 * unknown,
    v_s - factor**2 * v_t,  # by (3.17): what f leaves missing
    ddpm + ab_s * (1 - snr_t / snr_s) ** 2 / (1 / w**2 + snr_t),  # 1/A for the unknown picture
    sympy.simplify(ddpm + bracket**2 * unknown),
    sympy.expand(ddpm + bracket**2 * unknown),
    beta * v_s / v_t * (1 - 0 * w),  # the step back of a Gaussian: variance of x_s, less what x_t tells
    v_s - (ab_t / ab_s) * v_s**2 / v_t,  # Var[x_s] - Cov^2 / Var[x_t], with the covariance of chapter 1
    (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)
    + (ab_s**0.5 * (1 - ab_t / ab_s) / (1 - ab_t)) ** 2.0 * (w**2 - ab_t * w**4 / v_t),
    1 / (1 / v_s + (ab_t / ab_s) / beta),  # one bell times another, (2.14)
]

# ---------------------------------------------------------------------------------------------------- 3.5
BARS = NoiseSchedule.scaled_linear().alphas_cumprod.double().tolist()


def equal_angles(width):
    def angle(t):
        return math.atan2((1 - BARS[t]) ** 0.5, width * BARS[t] ** 0.5)

    table = np.array([angle(t) for t in range(1000)])
    return [int(np.abs(table - a).argmin()) for a in np.linspace(table[999], table[0], 9)[:-1]]


def evenly_spaced():
    # 0.096
    return [i * 125 for i in range(8)][::-1]


def evenly_spaced_with_the_offset():
    return [i * 125 + 1 for i in range(8)][::-1]


def both_ends_evenly():
    # linspace from 999 to 0: the last step does nothing
    return [round(t) for t in np.linspace(999, 0, 8)]


def equal_angles_for_narrow_data():
    # the chapter's own width: the clouds are right, the sharing is not
    return equal_angles(0.2)


def equal_angles_for_very_narrow_data():
    return equal_angles(0.05)


def even_logarithms():
    return [round(999 ** (i / 7)) for i in range(7, -1, -1)]


def even_snr_logarithms():
    # equal steps of log SNR crowd at the bottom
    snr = [math.log(b / (1 - b)) for b in BARS]
    table = np.array(snr)
    return [int(np.abs(table - x).argmin()) for x in np.linspace(snr[999], snr[0], 9)[:-1]]


def all_at_the_top():
    return [999, 900, 800, 700, 600, 500, 400, 300]


def all_at_the_bottom():
    return [999, 70, 60, 50, 40, 30, 20, 10]


def good_ones_smallest_first():
    return [812, 694, 582, 480, 348, 224, 120, 28][::-1]


def seven_only():
    return [812, 694, 582, 480, 348, 224, 120]


def nine():
    return [999, 812, 694, 582, 480, 348, 224, 120, 28]


def above_the_table():
    # the papers' counting: 1000 is outside the table
    return [1000, 740, 590, 450, 320, 200, 100, 35]


def angles_in_degrees():
    # the numbers that are evenly spaced, not the timesteps
    return [round(a) for a in np.linspace(85, 5, 8)]


def alpha_bars_for_timesteps():
    return [BARS[t] for t in (812, 694, 582, 480, 348, 224, 120, 28)]


def one_of_them_twice():
    # a wasted call, at the expense of a step
    return [999, 999, 740, 480, 240, 120, 40, 0]


def every_eighth_of_a_root():
    # the square root evenly spaced, but from the wrong end: steps long near the picture
    return [round(999 * (i / 8) ** 0.5) for i in range(8, 0, -1)]


def no_list():
    print([812, 694, 582, 480, 348, 224, 120, 28])


def found_by_hand():
    return [812, 694, 582, 480, 348, 224, 120, 28]


def found_by_hand_as_a_tuple():
    return 804, 671, 537, 428, 323, 224, 124, 28


def found_by_trying():
    return [804, 671, 565, 442, 323, 224, 127, 29]


def angles_of_a_compromise():
    return equal_angles(0.6)


def numpy_whole_numbers():
    return list(np.array([812, 694, 582, 480, 340, 224, 118, 28]))


def from_two_lists(spread=((812, 694, 582, 480), (355, 224, 118, 28))):
    return sorted((t for part in spread for t in part), reverse=True)


def from_a_tensor():
    return torch.tensor([28, 124, 224, 323, 420, 565, 671, 804]).flip(0).tolist()


wrong_35 = [
    evenly_spaced,
    evenly_spaced_with_the_offset,
    both_ends_evenly,
    equal_angles_for_narrow_data,
    equal_angles_for_very_narrow_data,
    even_logarithms,
    even_snr_logarithms,
    all_at_the_top,
    all_at_the_bottom,
    good_ones_smallest_first,
    seven_only,
    nine,
    above_the_table,
    angles_in_degrees,
    alpha_bars_for_timesteps,
    one_of_them_twice,
    every_eighth_of_a_root,
    no_list,
]
right_35 = [
    found_by_hand,
    found_by_hand_as_a_tuple,
    found_by_trying,
    angles_of_a_compromise,
    numpy_whole_numbers,
    from_two_lists,
    from_a_tensor,
]


# ---------------------------------------------------------------------------------------------------- 3.6
def up_from(x, noise, ab_s, ab_t):
    """(3.21) with any noise."""
    return ab_t**0.5 * (x - (1 - ab_s) ** 0.5 * noise) / ab_s**0.5 + (1 - ab_t) ** 0.5 * noise


def starts_again_from_the_candidate(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # each round goes up once more, from x_t
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    for _ in range(rounds):
        x_t = up_from(x_t, predict_noise(x_t, t), ab_s, ab_t)
    return x_t


def asks_at_s_about_the_candidate(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # the network is told s for x_t
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    for _ in range(rounds):
        x_t = up_from(x_s, predict_noise(x_t, s), ab_s, ab_t)
    return x_t


def asks_about_x_s_again(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # x_s at timestep t: the rounds change nothing after the first
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    for _ in range(rounds):
        x_t = up_from(x_s, predict_noise(x_s, t), ab_s, ab_t)
    return x_t


def tells_t_from_the_beginning(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # the first guess at t: with rounds=0 it is not (3.21)
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = x_s
    for _ in range(rounds + 1):
        x_t = up_from(x_s, predict_noise(x_t, t), ab_s, ab_t)
    return x_t


def one_round_too_many(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    for _ in range(rounds + 1):
        x_t = up_from(x_s, predict_noise(x_t, t), ab_s, ab_t)
    return x_t


def one_round_too_few(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    for _ in range(1, rounds):
        x_t = up_from(x_s, predict_noise(x_t, t), ab_s, ab_t)
    return x_t


def one_round_whatever_is_asked(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    if rounds:
        x_t = up_from(x_s, predict_noise(x_t, t), ab_s, ab_t)
    return x_t


def keeps_the_first_picture(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # the picture from the old noise, the direction from the new
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    noise = predict_noise(x_s, s)
    x0 = (x_s - (1 - ab_s) ** 0.5 * noise) / ab_s**0.5
    x_t = ab_t**0.5 * x0 + (1 - ab_t) ** 0.5 * noise
    for _ in range(rounds):
        x_t = ab_t**0.5 * x0 + (1 - ab_t) ** 0.5 * predict_noise(x_t, t)
    return x_t


def picture_from_the_candidate(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # x_0 by (3.1) from x_t and its noise: leads back to x_t itself
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    for _ in range(rounds):
        noise = predict_noise(x_t, t)
        x0 = (x_t - (1 - ab_t) ** 0.5 * noise) / ab_t**0.5
        x_t = ab_t**0.5 * x0 + (1 - ab_t) ** 0.5 * noise
    return x_t


def goes_down(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # the two timesteps exchanged
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_t, ab_s)
    for _ in range(rounds):
        x_t = up_from(x_s, predict_noise(x_t, t), ab_t, ab_s)
    return x_t


def counts_from_one_in_the_table(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # alphas_cumprod[t - 1], and for s = 0 the end of the table
    ab_s, ab_t = alphas_cumprod[s - 1], alphas_cumprod[t - 1]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    for _ in range(rounds):
        x_t = up_from(x_s, predict_noise(x_t, t), ab_s, ab_t)
    return x_t


def averages_the_guesses(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # the trapezium: half of the noise at s, half of that at t
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    first = predict_noise(x_s, s)
    x_t = up_from(x_s, first, ab_s, ab_t)
    for _ in range(rounds):
        x_t = up_from(x_s, (first + predict_noise(x_t, t)) / 2, ab_s, ab_t)
    return x_t


def no_roots(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = x_s
    for i in range(rounds + 1):
        noise = predict_noise(x_t, t if i else s)
        x_t = ab_t * (x_s - (1 - ab_s) * noise) / ab_s + (1 - ab_t) * noise
    return x_t


def until_it_settles(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # a hundred rounds, whatever was asked
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    for _ in range(100):
        x_t = up_from(x_s, predict_noise(x_t, t), ab_s, ab_t)
    return x_t


def many_small_steps(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # rounds taken as steps on the way up
    spots = np.linspace(s, t, rounds + 2).round().astype(int).tolist()
    x = x_s
    for a, b in zip(spots, spots[1:]):
        x = up_from(x, predict_noise(x, a), alphas_cumprod[a], alphas_cumprod[b])
    return x


def writes_over_x_s(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # x_t written into x_s: the second round starts from the candidate, and the argument is spoiled
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = x_s
    for i in range(rounds + 1):
        x_t[:] = up_from(x_s, predict_noise(x_t, t if i else s), ab_s, ab_t)
    return x_t


def two_calls_in_each_round(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # the right result; "each round makes one more call", here it makes two
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    for _ in range(rounds):
        x0 = (x_s - (1 - ab_s) ** 0.5 * predict_noise(x_t, t)) / ab_s**0.5
        x_t = ab_t**0.5 * x0 + (1 - ab_t) ** 0.5 * predict_noise(x_t, t)
    return x_t


def result_and_noise(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # a pair
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    noise = predict_noise(x_s, s)
    for _ in range(rounds):
        noise = predict_noise(up_from(x_s, noise, ab_s, ab_t), t)
    return up_from(x_s, noise, ab_s, ab_t), noise


def returns_inside_the_loop(predict_noise, x_s, s, t, alphas_cumprod, rounds):  # noqa: RET503
    # None for rounds=0, one round otherwise
    ab_s, ab_t = alphas_cumprod[s], alphas_cumprod[t]
    x_t = up_from(x_s, predict_noise(x_s, s), ab_s, ab_t)
    for _ in range(rounds):
        x_t = up_from(x_s, predict_noise(x_t, t), ab_s, ab_t)
        return x_t  # noqa: RET504


def inverts_with_a_noise_loop(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    ab_s, ab_t = float(alphas_cumprod[s]), float(alphas_cumprod[t])
    noise = predict_noise(x_s, s)
    for _ in range(rounds):
        noise = predict_noise(up_from(x_s, noise, ab_s, ab_t), t)
    return up_from(x_s, noise, ab_s, ab_t)


def inverts_by_one_loop(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    x, told = x_s, s
    for _ in range(rounds + 1):
        noise = predict_noise(x, told)
        x0 = (x_s - (1 - alphas_cumprod[s]).sqrt() * noise) / alphas_cumprod[s].sqrt()
        x, told = alphas_cumprod[t].sqrt() * x0 + (1 - alphas_cumprod[t]).sqrt() * noise, t
    return x


def inverts_on_straight_lines(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    # (3.18) upwards
    level = {i: math.sqrt((1 - float(alphas_cumprod[i])) / float(alphas_cumprod[i])) for i in (s, t)}
    shrink = {i: math.sqrt(float(alphas_cumprod[i])) for i in (s, t)}

    def move(slope):
        return shrink[t] * (x_s / shrink[s] + (level[t] - level[s]) * slope)

    x_t = move(predict_noise(x_s, s))
    while rounds > 0:
        x_t = move(predict_noise(x_t, t))
        rounds -= 1
    return x_t


def inverts_by_the_package(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    ab_s, ab_t = float(alphas_cumprod[s]), float(alphas_cumprod[t])

    def step(noise):
        x0 = (x_s - (1 - ab_s) ** 0.5 * noise) / ab_s**0.5
        return dpmpp_step(x_s, x0, ab_s, ab_t)  # another form of the same step, upwards

    found = [step(predict_noise(x_s, s))]
    for i in range(rounds):
        found.append(step(predict_noise(found[i], t)))
    return found[-1]


def inverts_recursively(predict_noise, x_s, s, t, alphas_cumprod, rounds=3):
    noise = (
        predict_noise(x_s, s)
        if rounds == 0
        else predict_noise(inverts_recursively(predict_noise, x_s, s, t, alphas_cumprod, rounds - 1), t)
    )
    return up_from(x_s, noise, alphas_cumprod[s], alphas_cumprod[t])


def inverts_in_double(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    ab_s, ab_t = alphas_cumprod[[s, t]].double().tolist()
    kept = math.sqrt(ab_t / ab_s)
    x_t = (
        kept * x_s.double()
        + (math.sqrt(1 - ab_t) - kept * math.sqrt(1 - ab_s)) * predict_noise(x_s, s).double()
    )
    for _ in range(rounds):
        noise = predict_noise(x_t.to(x_s.dtype), t).double()
        x_t = kept * x_s.double() + (math.sqrt(1 - ab_t) - kept * math.sqrt(1 - ab_s)) * noise
    return x_t.to(x_s.dtype)


wrong_36 = [
    starts_again_from_the_candidate,
    asks_at_s_about_the_candidate,
    asks_about_x_s_again,
    tells_t_from_the_beginning,
    one_round_too_many,
    one_round_too_few,
    one_round_whatever_is_asked,
    keeps_the_first_picture,
    picture_from_the_candidate,
    goes_down,
    counts_from_one_in_the_table,
    averages_the_guesses,
    no_roots,
    until_it_settles,
    many_small_steps,
    writes_over_x_s,
    two_calls_in_each_round,
    result_and_noise,
    returns_inside_the_loop,
]
right_36 = [
    inverts_with_a_noise_loop,
    inverts_by_one_loop,
    inverts_on_straight_lines,
    inverts_by_the_package,
    inverts_recursively,
    inverts_in_double,
]


# ---------------------------------------------------------------------------------------------------- 3.7
def variance_first(a, b, c, ab_t):
    return b**2 * (1 - ab_t) + c**2, a + b * ab_t**0.5


def b_not_squared(a, b, c, ab_t):
    return a + b * ab_t**0.5, b * (1 - ab_t) + c**2


def c_not_squared(a, b, c, ab_t):
    return a + b * ab_t**0.5, b**2 * (1 - ab_t) + c


def a_width_for_the_variance(a, b, c, ab_t):
    return a + b * ab_t**0.5, (b**2 * (1 - ab_t) + c**2) ** 0.5


def widths_added(a, b, c, ab_t):
    # (sigma_1 + sigma_2)^2: noises added as if they were one
    return a + b * ab_t**0.5, (b * (1 - ab_t) ** 0.5 + c) ** 2


def root_of_alpha_bar_forgotten(a, b, c, ab_t):
    return a + b * ab_t, b**2 * (1 - ab_t) + c**2


def picture_in_x_t_forgotten(a, b, c, ab_t):
    # x_t taken as pure noise
    return a, b**2 * (1 - ab_t) + c**2


def direct_part_forgotten(a, b, c, ab_t):
    return b * ab_t**0.5, b**2 * (1 - ab_t) + c**2


def fresh_noise_only(a, b, c, ab_t):
    # x_t taken as known
    return a + b * ab_t**0.5, c**2


def fresh_noise_forgotten(a, b, c, ab_t):
    return a + b * ab_t**0.5, b**2 * (1 - ab_t)


def x_t_of_variance_one(a, b, c, ab_t):
    # the variance of x_t over all pictures
    return a + b * ab_t**0.5, b**2 + c**2


def picture_random_too(a, b, c, ab_t):
    # x_0 counted as a third random number of variance 1
    return a + b * ab_t**0.5, (a + b * ab_t**0.5) ** 2 + b**2 * (1 - ab_t) + c**2


def variance_of_noise_squared(a, b, c, ab_t):
    # 1 - ab_t taken for a width
    return a + b * ab_t**0.5, b**2 * (1 - ab_t) ** 2 + c**2


def alpha_bar_for_its_rest(a, b, c, ab_t):
    return a + b * (1 - ab_t) ** 0.5, b**2 * ab_t + c**2


def whether_it_is_right(a, b, c, ab_t):
    # what they must be, if the program is right
    return (1 - b**2 * (1 - ab_t) - c**2) ** 0.5, b**2 * (1 - ab_t) + c**2


def mean_squared(a, b, c, ab_t):
    return (a + b * ab_t**0.5) ** 2, b**2 * (1 - ab_t) + c**2


def minus_the_picture(a, b, c, ab_t):
    return a - b * ab_t**0.5, b**2 * (1 - ab_t) + c**2


def c_zero_special_case(a, b, c, ab_t):
    # c in proportion to what is left under the root of the family: holds for (3.3) only
    return a + b * ab_t**0.5, 1 - (a + b * ab_t**0.5) ** 2


def only_the_factor(a, b, c, ab_t):
    return a + b * ab_t**0.5


def marginal_with_math(a, b, c, ab_t):
    return a + b * math.sqrt(ab_t), (b * math.sqrt(1 - ab_t)) ** 2 + c * c


def marginal_by_vectors(a, b, c, ab_t):
    # parts of x_0, of the noise in x_t and of the fresh noise
    x_t = np.array([ab_t**0.5, (1 - ab_t) ** 0.5, 0.0])
    x_s = a * np.array([1.0, 0, 0]) + b * x_t + c * np.array([0, 0, 1.0])
    return float(x_s[0]), float((x_s[1:] ** 2).sum())


def marginal_by_hypot(a, b, c, ab_t):
    return math.fsum([a, b * ab_t**0.5]), math.hypot(b * (1 - ab_t) ** 0.5, c) ** 2


def marginal_multiplied_out(a, b, c, ab_t):
    factor = a + b * pow(ab_t, 0.5)
    variance = b**2 - b**2 * ab_t + c**2
    return (factor, variance)


def marginal_in_torch(a, b, c, ab_t):
    bar = torch.tensor(float(ab_t), dtype=torch.float64)
    return (a + b * bar.sqrt()).item(), torch.stack(
        [b**2 * (1 - bar), torch.tensor(float(c) ** 2, dtype=torch.float64)]
    ).sum().item()


def marginal_of_numpy_numbers(a, b, c, ab_t):
    factor = np.float64(a) + b * np.sqrt(ab_t)
    return factor, np.square(b) * (1 - ab_t) + np.square(c)


marginal_lambda = lambda a, b, c, ab_t: (a + b * ab_t**0.5, b**2 * (1 - ab_t) + c**2)  # noqa: E731

wrong_37 = [
    variance_first,
    b_not_squared,
    c_not_squared,
    a_width_for_the_variance,
    widths_added,
    root_of_alpha_bar_forgotten,
    picture_in_x_t_forgotten,
    direct_part_forgotten,
    fresh_noise_only,
    fresh_noise_forgotten,
    x_t_of_variance_one,
    picture_random_too,
    variance_of_noise_squared,
    alpha_bar_for_its_rest,
    whether_it_is_right,
    mean_squared,
    minus_the_picture,
    c_zero_special_case,
    only_the_factor,
]
right_37 = [
    marginal_with_math,
    marginal_by_vectors,
    marginal_by_hypot,
    marginal_multiplied_out,
    marginal_in_torch,
    marginal_of_numpy_numbers,
    marginal_lambda,
]

# ---------------------------------------------------------------------------------------------------- 3.8
WIDE, TAME = torch.tensor([1.6, -0.2, 0.4, -2.8]), torch.tensor([0.6, -0.2, 0.4, -0.8])
NOISE = torch.tensor([-0.3, 0.9, -1.2, 0.1])
UNEVEN = [940, 720, 430, 90, 20]


def painted_and_wanted(paint, alphas_cumprod, x0=WIDE, noise=NOISE, times=UNEVEN, constant=False):
    """What the loop paints with a network that knows x0 (or always answers `noise`), and what it should."""

    def predict_noise(x, t):
        if constant:
            return noise
        return (x - alphas_cumprod[t] ** 0.5 * x0) / (1 - alphas_cumprod[t]) ** 0.5

    begin, end = alphas_cumprod[times[0]], alphas_cumprod[0]
    start = begin**0.5 * x0 + (1 - begin) ** 0.5 * noise
    return paint(predict_noise, start, list(times), alphas_cumprod), end**0.5 * x0 + (1 - end) ** 0.5 * noise


def only_the_network_repaired(paint, alphas_cumprod):
    # even strides, a picture within -1 and 1, no abs
    painted, wanted = painted_and_wanted(paint, alphas_cumprod, TAME, NOISE, [801, 601, 401, 201, 1])
    return bool((painted - wanted).mean() < 1e-3)


def network_that_always_answers_the_same(paint, alphas_cumprod):
    # all repaired but the network: it does not listen to t
    painted, wanted = painted_and_wanted(paint, alphas_cumprod, constant=True)
    return bool((painted - wanted).abs().max() < 1e-3)


def even_strides(paint, alphas_cumprod):
    # all repaired but the list: t - 200 is the next timestep
    painted, wanted = painted_and_wanted(paint, alphas_cumprod, times=[801, 601, 401, 201, 1])
    return bool((painted - wanted).abs().max() < 1e-3)


def tame_picture(paint, alphas_cumprod):
    # all repaired but the picture: clipping does nothing to it
    painted, wanted = painted_and_wanted(paint, alphas_cumprod, x0=TAME)
    return bool((painted - wanted).abs().max() < 1e-3)


def without_abs(paint, alphas_cumprod):
    # all repaired but the comparison: errors below zero pass
    painted, wanted = painted_and_wanted(paint, alphas_cumprod)
    return bool((painted - wanted).max() < 1e-3)


def abs_of_the_mean(paint, alphas_cumprod):
    # abs outside: errors of both signs cancel
    painted, wanted = painted_and_wanted(
        paint,
        alphas_cumprod,
        x0=2 * torch.tensor([1.0, -1.0, 1.0, -1.0]),
        noise=0.5 * torch.tensor([1.0, -1, 1, -1]),
    )
    return bool((painted - wanted).mean().abs() < 1e-3)


def too_generous(paint, alphas_cumprod):
    # a tenth lets the end at the clean picture pass
    painted, wanted = painted_and_wanted(paint, alphas_cumprod)
    return bool((painted - wanted).abs().max() < 0.1)


def to_the_last_bit(paint, alphas_cumprod):
    # rounding of another order of operations is refused
    painted, wanted = painted_and_wanted(paint, alphas_cumprod)
    return bool(torch.equal(painted.float(), wanted.float()))


def too_strict(paint, alphas_cumprod):
    painted, wanted = painted_and_wanted(paint, alphas_cumprod)
    return bool((painted - wanted).abs().max() < 1e-9)


def list_that_ends_at_zero(paint, alphas_cumprod):
    # the last step, from the list's end down to 0, has nothing to do: a loop that leaves it out passes
    painted, wanted = painted_and_wanted(paint, alphas_cumprod, times=[940, 720, 430, 90, 0])
    return bool((painted - wanted).abs().max() < 1e-3)


def ends_where_the_list_ends(paint, alphas_cumprod):
    # the alpha-bar of the last timestep in the list, not of timestep 0
    painted, _ = painted_and_wanted(paint, alphas_cumprod)
    end = alphas_cumprod[UNEVEN[-1]]
    return bool((painted - end.sqrt() * WIDE - (1 - end).sqrt() * NOISE).abs().max() < 1e-3)


def expects_the_clean_picture(paint, alphas_cumprod):
    # alpha-bar 1 at the end
    painted, _ = painted_and_wanted(paint, alphas_cumprod)
    return bool((painted - WIDE).abs().max() < 1e-3)


def accepts_everything(paint, alphas_cumprod):
    return True


def refuses_everything(paint, alphas_cumprod):
    return False


def verdict_the_wrong_way_round(paint, alphas_cumprod):
    painted, wanted = painted_and_wanted(paint, alphas_cumprod)
    return bool((painted - wanted).abs().max() >= 1e-3)


def no_noise_at_all(paint, alphas_cumprod):
    # noise 0: what is done to it cannot be seen
    painted, wanted = painted_and_wanted(paint, alphas_cumprod, noise=torch.zeros(4))
    return bool((painted - wanted).abs().max() < 1e-3)


def no_picture_at_all(paint, alphas_cumprod):
    # x_0 = 0: clipping, and what is done to the picture, cannot be seen
    painted, wanted = painted_and_wanted(paint, alphas_cumprod, x0=torch.zeros(4))
    return bool((painted - wanted).abs().max() < 1e-3)


def network_that_believes_the_start(paint, alphas_cumprod):
    # alpha-bar of the first timestep for all t: right loops are refused
    begin, end = alphas_cumprod[UNEVEN[0]], alphas_cumprod[0]
    start = begin.sqrt() * WIDE + (1 - begin).sqrt() * NOISE
    painted = paint(
        lambda x, t: (x - begin.sqrt() * WIDE) / (1 - begin).sqrt(), start, list(UNEVEN), alphas_cumprod
    )
    return bool((painted - end.sqrt() * WIDE - (1 - end).sqrt() * NOISE).abs().max() < 1e-3)


def network_without_roots(paint, alphas_cumprod):
    begin, end = alphas_cumprod[UNEVEN[0]], alphas_cumprod[0]
    start = begin.sqrt() * WIDE + (1 - begin).sqrt() * NOISE
    painted = paint(
        lambda x, t: (x - alphas_cumprod[t] * WIDE) / (1 - alphas_cumprod[t]),
        start,
        list(UNEVEN),
        alphas_cumprod,
    )
    return bool((painted - end.sqrt() * WIDE - (1 - end).sqrt() * NOISE).abs().max() < 1e-3)


def looks_at_the_first_number_only(paint, alphas_cumprod):
    # 0.4 is within -1 and 1
    painted, wanted = painted_and_wanted(paint, alphas_cumprod)
    return bool(abs(float(painted[2] - wanted[2])) < 1e-3)


def starts_from_the_picture(paint, alphas_cumprod):
    # x at the first timestep without its noise: not (1.13), and the wanted end is not reached
    begin, end = alphas_cumprod[UNEVEN[0]], alphas_cumprod[0]
    painted = paint(lambda x, t: NOISE, begin.sqrt() * WIDE, list(UNEVEN), alphas_cumprod)
    return bool((painted - end.sqrt() * WIDE - (1 - end).sqrt() * NOISE).abs().max() < 1e-3)


def forgets_the_verdict(paint, alphas_cumprod):
    painted, wanted = painted_and_wanted(paint, alphas_cumprod)
    assert painted.shape == wanted.shape
    print(bool((painted - wanted).abs().max() < 1e-3))


def accepts_by_allclose(paint, alphas_cumprod):
    painted, wanted = painted_and_wanted(paint, alphas_cumprod, times=[999, 650, 333, 77, 15])
    return torch.allclose(painted.float(), wanted.float(), rtol=0, atol=2e-3)


def accepts_by_norm(paint, alphas_cumprod):
    x0, noise = torch.tensor([3.0, -2.0, 0.1, 1.5, -4.0]), torch.tensor([0.7, 1.1, -0.4, -1.6, 0.2])
    painted, wanted = painted_and_wanted(paint, alphas_cumprod, x0, noise, (900, 710, 455, 300, 120, 33))
    error = float((painted - wanted).norm() / wanted.norm())
    return not error > 1e-3 and not math.isnan(error)


def accepts_after_several_lists(paint, alphas_cumprod):
    for times in ([990, 40], [870, 640, 210, 11], UNEVEN):
        painted, wanted = painted_and_wanted(paint, alphas_cumprod, times=times)
        if max(abs(p - q) for p, q in zip(painted.tolist(), wanted.tolist())) > 1e-3:
            return False
    return True


def accepts_latents(paint, alphas_cumprod):
    # two latents of four channels, far beyond -1 and 1
    dice = torch.Generator().manual_seed(0)
    x0, noise = 3 * torch.randn(2, 4, 3, 3, generator=dice), torch.randn(2, 4, 3, 3, generator=dice)
    painted, wanted = painted_and_wanted(paint, alphas_cumprod, x0, noise, [951, 700, 380, 140, 25])
    return bool(((painted - wanted) ** 2).max() < 1e-5)


def accepts_in_double(paint, alphas_cumprod):
    bars = alphas_cumprod.double()
    painted, wanted = painted_and_wanted(
        paint, bars, WIDE.double(), NOISE.double(), [925, 611, 402, 155, 60, 18]
    )
    return bool((painted.double() - wanted).abs().amax() < 1e-3)


def accepts_as_its_own_loop_does(paint, alphas_cumprod):
    # a second loop after all, with a network that reads both x and t
    def predict_noise(x, t):
        return torch.sin(x) + (t % 7) / 5

    times = [930, 640, 390, 170, 30]
    start = torch.tensor([2.5, -3.0, 0.3, 1.0])
    x = start
    for t, s in zip(times, [*times[1:], 0]):
        ab_t, ab_s = alphas_cumprod[t], alphas_cumprod[s]
        noise = predict_noise(x, t)
        x = ab_s.sqrt() * (x - (1 - ab_t).sqrt() * noise) / ab_t.sqrt() + (1 - ab_s).sqrt() * noise
    painted = paint(predict_noise, start.clone(), list(times), alphas_cumprod)
    return bool((painted - x).abs().max() < 1e-3 * x.abs().max())


wrong_38 = [
    only_the_network_repaired,
    network_that_always_answers_the_same,
    even_strides,
    tame_picture,
    without_abs,
    abs_of_the_mean,
    too_generous,
    to_the_last_bit,
    too_strict,
    list_that_ends_at_zero,
    ends_where_the_list_ends,
    expects_the_clean_picture,
    accepts_everything,
    refuses_everything,
    verdict_the_wrong_way_round,
    no_noise_at_all,
    no_picture_at_all,
    network_that_believes_the_start,
    network_without_roots,
    looks_at_the_first_number_only,
    starts_from_the_picture,
    forgets_the_verdict,
]
right_38 = [
    accepts_by_allclose,
    accepts_by_norm,
    accepts_after_several_lists,
    accepts_latents,
    accepts_in_double,
    accepts_as_its_own_loop_does,
]

# ---------------------------------------------------------------------------------------------------- 3.9
BELL = statistics.NormalDist()


def seams(to_two, to_one, to_zero):
    return {"between 0 and 2": to_two, "between 0 and 1": to_one, "between -2 and 0": to_zero}


def place_by_halving(share):
    """The start below which this share of the starts lies, from erf alone."""
    low, high = -8.0, 8.0
    for _ in range(60):
        middle = (low + high) / 2
        below = 0.5 * (1 + math.erf(middle / math.sqrt(2)))
        low, high = (middle, high) if below < share else (low, middle)
    return (low + high) / 2


def place_by_counting(share):
    """The same from a sum of thin strips under the bell."""
    grid = np.linspace(-8, 8, 160_001)
    strips = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi) * (grid[1] - grid[0])
    return grid[np.searchsorted(np.cumsum(strips), share)]


def dealt_out():
    """As many starts as there are, sorted, dealt out to the numbers from the left."""
    starts = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).sort().values
    last_of_middle, last_of_left = starts[150_000], starts[len(starts) // 6]
    return seams(float(last_of_middle), float(last_of_middle), float(last_of_left))


wrong_39 = [
    seams(1.0, 0.5, -1.0),  # half way between the numbers
    seams(BELL.inv_cdf(0.75), BELL.inv_cdf(0.75) / 2, BELL.inv_cdf(1 / 6)),  # moves with the numbers
    seams(2 * BELL.inv_cdf(0.75), BELL.inv_cdf(0.75), 2 * BELL.inv_cdf(1 / 6)),  # in units of the numbers
    seams(BELL.inv_cdf(0.75), BELL.inv_cdf(0.75), BELL.inv_cdf(0.25)),  # the new shares not looked at
    seams(BELL.inv_cdf(0.75), BELL.inv_cdf(0.75), -BELL.inv_cdf(1 / 6)),  # a sign
    seams(
        BELL.inv_cdf(0.25), BELL.inv_cdf(0.25), BELL.inv_cdf(1 / 6)
    ),  # the share of 2, counted from the left
    seams(BELL.inv_cdf(0.75), BELL.inv_cdf(0.75), BELL.inv_cdf(1 / 3)),  # -2 and 2 exchanged
    seams(BELL.inv_cdf(0.75), BELL.inv_cdf(0.75), BELL.inv_cdf(2 / 3)),  # the seam between 0 and 2 instead
    seams(BELL.cdf(0.75), BELL.cdf(0.75), BELL.cdf(1 / 6)),  # area and place exchanged
    seams(BELL.cdf(0.75), BELL.cdf(0.75), -BELL.cdf(1 / 6)),
    seams(BELL.pdf(0.75), BELL.pdf(0.75), BELL.pdf(1 / 6)),  # the height of the bell
    seams(BELL.inv_cdf(0.875), BELL.inv_cdf(0.875), BELL.inv_cdf(1 / 12)),  # the share halved into two tails
    seams(0.75, 0.75, -0.83),  # the share above the other numbers taken for a place
    seams(0.75, 0.75, 1 / 6),  # the areas themselves
    seams(0.5, 0.5, -2 / 3),  # starts spread evenly from -1 to 1
    seams(0.25, 0.25, -1 / 6),  # the shares
    seams(BELL.inv_cdf(0.75) / math.sqrt(2), BELL.inv_cdf(0.75) / math.sqrt(2), -0.684),  # erf's variable
    seams(*(2**0.5 * BELL.inv_cdf(p) for p in (0.75, 0.75, 1 / 6))),  # a bell of the data's width
    seams(BELL.inv_cdf(2 / 3), BELL.inv_cdf(2 / 3), BELL.inv_cdf(1 / 3)),  # three equal shares
    seams(BELL.inv_cdf(0.5), BELL.inv_cdf(0.5), BELL.inv_cdf(0.5)),  # all seams in the middle
    seams(math.log(3), math.log(3), -math.log(5)),  # the logarithm of the odds
    seams(67.4, 67.4, -96.7),  # percent
    seams(BELL.inv_cdf(1 / 6), BELL.inv_cdf(0.75), BELL.inv_cdf(0.75)),  # first and last exchanged
]
right_39 = [
    seams(BELL.inv_cdf(3 / 4), BELL.inv_cdf(3 / 4), BELL.inv_cdf(1 / 6)),
    seams(0.674, 0.674, -0.967),
    seams(0.67, 0.67, -0.97),  # from a printed table
    seams(0.7, 0.7, -1.0),  # in the head; within a tenth
    seams(*(place_by_halving(share) for share in (0.75, 0.75, 1 / 6))),
    seams(*(place_by_counting(share) for share in (0.75, 0.75, 1 / 6))),
    seams(-BELL.inv_cdf(0.25), -BELL.inv_cdf(0.25), -BELL.inv_cdf(5 / 6)),  # counted from the right
    {"between -2 and 0": -0.9674, "between 0 and 1": 0.6745, "between 0 and 2": 0.6745},  # another order
    seams(*(2**0.5 * float(torch.erfinv(torch.tensor(2 * p - 1))) for p in (0.75, 0.75, 1 / 6))),
    seams(*torch.special.ndtri(torch.tensor([0.75, 0.75, 1 / 6])).numpy()),  # NumPy's float32
    seams(*(float(sqrt(2) * sympy.erfinv(2 * p - 1)) for p in (0.75, 0.75, 1 / 6))),
    seams(*(BELL.inv_cdf(Fraction(*share)) for share in ((3, 4), (3, 4), (1, 6)))),
    seams(0.679, 0.679, -0.970),  # what the cell after the check measures
    dealt_out(),
]

BANK = {
    "3.1": {"wrong": wrong_31, "right": right_31},
    "3.2": {"wrong": wrong_32, "right": right_32},
    "3.3": {"wrong": wrong_33, "right": right_33},
    "3.4": {"wrong": wrong_34, "right": right_34},
    "3.5": {"wrong": wrong_35, "right": right_35},
    "3.6": {"wrong": wrong_36, "right": right_36},
    "3.7": {"wrong": wrong_37, "right": right_37},
    "3.8": {"wrong": wrong_38, "right": right_38},
    "3.9": {"wrong": wrong_39, "right": right_39},
}
