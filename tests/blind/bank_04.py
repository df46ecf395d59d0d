"""Answers to chapter 4's exercises, written without a look at the checks."""

import math
from collections import deque

import numpy as np
import sympy
import torch

from minisd.samplers import (
    dpmpp_2m,
    euler,
    euler_step,
    extrapolate,
    karras_sigmas,
    lms,
    multistep_weights,
    pndm,
)

BANK = {}


def last_of(walk):
    for x in walk:  # noqa: B007
        pass
    return x


# ---- 4.1


def shares(one, two, eight):
    return {"1 step": one, "2 steps": two, "8 steps": eight}


ANGLE = math.atan(14.6)


def by_walk(levels):
    """The width that Euler leaves of a bell of width 1 on these levels."""
    crowd = math.hypot(1, levels[0])
    for a, b in zip(levels, levels[1:]):
        crowd *= 1 + (b - a) * a / (1 + a * a)
    return crowd


BANK["4.1"] = {
    "wrong": [
        shares(*(math.cos(ANGLE / n) for n in (1, 2, 8))),  # one step's cosine, not multiplied n times
        shares(7, 53, 87),  # percent for shares
        shares(*(math.cos(ANGLE / n) ** (2 * n) for n in (1, 2, 8))),  # variance for width
        shares(*(1 - math.cos(ANGLE / n) ** n for n in (1, 2, 8))),  # what is lost, not what is left
        shares(*(by_walk(np.linspace(14.6, 0, n + 1).tolist()) for n in (1, 2, 8))),  # steps even in sigma
        shares(*(math.cos(math.pi / 2 / n) ** n for n in (1, 2, 8))),  # a right angle, 90 degrees for 86
        shares(*(math.cos(ANGLE) ** n for n in (1, 2, 8))),  # every step turns by the whole angle
        shares(*(math.cos(86 / n) ** n for n in (1, 2, 8))),  # degrees handed to a cosine of radians
        shares(*(math.cos(ANGLE / n) ** (n - 1) for n in (1, 2, 8))),  # one factor too few
        shares(*(math.cos(ANGLE / (n + 1)) ** (n + 1) for n in (1, 2, 8))),  # fence posts counted as steps
        shares(1.0, 1.0, 1.0),  # believes that a single bell is followed exactly
        shares(*(math.cos(ANGLE / n) ** n / math.hypot(1, 14.6) for n in (1, 2, 8))),  # of the first width
        shares(0.868, 0.534, 0.068),  # the right numbers in the wrong order
        shares(0.07, 0.53, 0.98),  # the last one without its power
        shares(*(math.sin(ANGLE / n) ** n for n in (1, 2, 8))),  # sine for cosine
    ],
    "right": [
        shares(0.07, 0.53, 0.87),
        shares(*(math.cos(ANGLE / n) ** n for n in (1, 2, 8))),
        shares(0.065, 0.5, 0.9),  # within 7 %
        {f"{n} step{'s' * (n > 1)}": np.cos(np.arctan(14.6) / n) ** n for n in (1, 2, 8)},  # numpy's floats
        {"8 steps": 0.868, "2 steps": 0.534, "1 step": 1 / 14.6},  # in another order
        shares(*(by_walk(np.tan(np.linspace(ANGLE, 0, n + 1)).tolist()) for n in (1, 2, 8))),
        shares(*(math.cos(1.5 / n) ** n for n in (1, 2, 8))),  # the angle rounded
        shares(*(round(math.cos(math.radians(86) / n) ** n, 2) for n in (1, 2, 8))),  # whole degrees
        shares(*(torch.cos(torch.tensor(ANGLE / n)) ** n for n in (1, 2, 8))),  # tensors of one number
    ],
}


# ---- 4.2


def road_by_variance_and_noise(predict_v, x_tau, tau, tau_next):
    x, sigma = x_tau / (1 - tau), tau / (1 - tau)
    bar = 1 / (1 + sigma**2)
    x_t = x * math.sqrt(bar)
    v = predict_v(x_t, bar)
    noise = math.sqrt(1 - bar) * x_t + math.sqrt(bar) * v
    return (1 - tau_next) * (x - sigma * noise) + tau_next * noise


def road_by_velocity(predict_v, x_tau, tau, tau_next):
    sigma = tau / (1 - tau)
    alpha_bar = 1.0 / (sigma * sigma + 1)
    a, s = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    x_t = a * x_tau / (1 - tau)
    v = predict_v(x_t, alpha_bar)
    x0, eps = a * x_t - s * v, s * x_t + a * v
    return x_tau + (tau_next - tau) * (eps - x0)


def road_by_euler_in_sigma(predict_v, x_tau, tau, tau_next):
    sigma, sigma_next = (t / (1 - t) for t in (tau, tau_next))
    x = x_tau / (1 - tau)
    width = (1 + sigma**2) ** 0.5
    x_t = x / width
    noise = (sigma * x_t + predict_v(x_t, 1 / width**2)) / width
    return (1 - tau_next) * (x + (sigma_next - sigma) * noise)


def road_by_angle(predict_v, x_tau, tau, tau_next):
    phi = math.atan2(tau, 1 - tau)
    cos, sin = math.cos(phi), math.sin(phi)
    x_t = x_tau / math.hypot(tau, 1 - tau)
    v = predict_v(x_t, cos**2)
    return (1 - tau_next) * (cos * x_t - sin * v) + tau_next * (sin * x_t + cos * v)


def road_by_a_matrix(predict_v, x_tau, tau, tau_next):
    size = (tau**2 + (1 - tau) ** 2) ** 0.5
    bar = ((1 - tau) / size) ** 2
    x_t = x_tau / size
    both = torch.stack([x_t, predict_v(x_t, bar)])
    turn = torch.tensor([[bar**0.5, -((1 - bar) ** 0.5)], [(1 - bar) ** 0.5, bar**0.5]], dtype=both.dtype)
    mix = torch.tensor([1 - tau_next, tau_next], dtype=both.dtype)
    return torch.einsum("k,kj,j...->...", mix, turn, both)


def road_in_double_and_back(predict_v, x_tau, tau, tau_next, eps=0.0):
    bar = (1 - tau) ** 2 / ((1 - tau) ** 2 + tau**2)
    x_t = x_tau * (bar**0.5 / (1 - tau))
    v = predict_v(x_t, bar).double()
    wide = x_t.double()
    picture = np.sqrt(bar) * wide - np.sqrt(1 - bar) * v
    noise = np.sqrt(1 - bar) * wide + np.sqrt(bar) * v
    return (picture + tau_next * (noise - picture) + eps).to(x_tau.dtype)


def road_with_lerp(predict_v, x_tau, tau, tau_next):
    snr = ((1 - tau) / tau) ** 2
    bar = snr / (1 + snr)
    x_t = bar**0.5 * x_tau / (1 - tau)
    v = predict_v(x_t, alpha_bar=bar)  # by the name in the docstring
    return torch.lerp(bar**0.5 * x_t - (1 - bar) ** 0.5 * v, (1 - bar) ** 0.5 * x_t + bar**0.5 * v, tau_next)


def road_variant(change):
    """The right step with one slip."""

    def along_the_road(predict_v, x_tau, tau, tau_next):
        x, sigma = x_tau / (1 - tau), tau / (1 - tau)
        bar = 1 / (1 + sigma**2)
        x_t = bar**0.5 * x
        v = predict_v(x_t, bar)
        picture = bar**0.5 * x_t - (1 - bar) ** 0.5 * v
        noise = (1 - bar) ** 0.5 * x_t + bar**0.5 * v
        return change(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau)

    along_the_road.__name__ = change.__name__
    return along_the_road


@road_variant
def picture_with_plus_v(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    return (1 - tau_next) * (bar**0.5 * x_t + (1 - bar) ** 0.5 * v) + tau_next * noise


@road_variant
def noise_with_minus_v(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    return (1 - tau_next) * picture + tau_next * ((1 - bar) ** 0.5 * x_t - bar**0.5 * v)


@road_variant
def roots_forgotten(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    return (1 - tau_next) * (bar * x_t - (1 - bar) * v) + tau_next * ((1 - bar) * x_t + bar * v)


@road_variant
def turned_back_from_x(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    # (4.32) with x where x_t belongs
    picture = bar**0.5 * x - (1 - bar) ** 0.5 * v
    return (1 - tau_next) * picture + tau_next * ((1 - bar) ** 0.5 * x + bar**0.5 * v)


@road_variant
def returns_exploding(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    return picture + tau_next / (1 - tau_next) * noise  # x, not x_tau


@road_variant
def returns_preserving(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    after = 1 / (1 + (tau_next / (1 - tau_next)) ** 2)
    return after**0.5 * picture + (1 - after) ** 0.5 * noise  # x_t, not x_tau


@road_variant
def v_taken_for_the_velocity(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    return x_tau + (tau_next - tau) * v


@road_variant
def walks_up(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    return x_tau + (tau - tau_next) * (noise - picture)  # sign of the step


@road_variant
def picture_and_noise_swapped(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    return tau_next * picture + (1 - tau_next) * noise  # Lipman's direction of time


@road_variant
def jumps_to_the_picture(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    return picture  # right for tau_next = 0 only


@road_variant
def divides_by_tau_next(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    return tau_next * (picture * ((1 - tau_next) / tau_next) + noise)  # fails at tau_next = 0


@road_variant
def returns_picture_too(x, x_t, v, bar, picture, noise, tau, tau_next, x_tau):
    return (1 - tau_next) * picture + tau_next * noise, picture  # a tuple


def network_shown_x_tau(predict_v, x_tau, tau, tau_next):
    sigma = tau / (1 - tau)
    bar = 1 / (1 + sigma**2)
    v = predict_v(x_tau, bar)  # in the wrong units
    picture = bar**0.5 * x_tau - (1 - bar) ** 0.5 * v
    return (1 - tau_next) * picture + tau_next * ((1 - bar) ** 0.5 * x_tau + bar**0.5 * v)


def network_shown_x(predict_v, x_tau, tau, tau_next):
    sigma = tau / (1 - tau)
    bar = 1 / (1 + sigma**2)
    x = x_tau / (1 - tau)
    v = predict_v(x, bar)  # exploding units, not scaled before the call
    x_t = bar**0.5 * x
    picture = bar**0.5 * x_t - (1 - bar) ** 0.5 * v
    return (1 - tau_next) * picture + tau_next * ((1 - bar) ** 0.5 * x_t + bar**0.5 * v)


def bar_of(wrong_bar, name):
    """A step with another alpha bar."""

    def along_the_road(predict_v, x_tau, tau, tau_next):
        bar = wrong_bar(tau)
        x_t = bar**0.5 * x_tau / (1 - tau)
        v = predict_v(x_t, bar)
        picture = bar**0.5 * x_t - (1 - bar) ** 0.5 * v
        return (1 - tau_next) * picture + tau_next * ((1 - bar) ** 0.5 * x_t + bar**0.5 * v)

    along_the_road.__name__ = name
    return along_the_road


def network_told_the_root(predict_v, x_tau, tau, tau_next):
    size = math.hypot(tau, 1 - tau)
    cos, sin, x_t = (1 - tau) / size, tau / size, x_tau / size
    v = predict_v(x_t, cos)  # the root of alpha bar
    return (1 - tau_next) * (cos * x_t - sin * v) + tau_next * (sin * x_t + cos * v)


def network_told_tau(predict_v, x_tau, tau, tau_next):
    size = math.hypot(tau, 1 - tau)
    cos, sin, x_t = (1 - tau) / size, tau / size, x_tau / size
    v = predict_v(x_t, tau)
    return (1 - tau_next) * (cos * x_t - sin * v) + tau_next * (sin * x_t + cos * v)


def spoils_x_tau(predict_v, x_tau, tau, tau_next):
    x_tau /= math.hypot(tau, 1 - tau)  # the caller's x_tau is now x_t
    phi = math.atan2(tau, 1 - tau)
    v = predict_v(x_tau, math.cos(phi) ** 2)
    picture = math.cos(phi) * x_tau - math.sin(phi) * v
    return (1 - tau_next) * picture + tau_next * (math.sin(phi) * x_tau + math.cos(phi) * v)


def road_returns_nothing(predict_v, x_tau, tau, tau_next):
    road_by_velocity(predict_v, x_tau, tau, tau_next)


BANK["4.2"] = {
    "wrong": [
        picture_with_plus_v,
        noise_with_minus_v,
        roots_forgotten,
        turned_back_from_x,
        returns_exploding,
        returns_preserving,
        v_taken_for_the_velocity,
        walks_up,
        picture_and_noise_swapped,
        jumps_to_the_picture,
        divides_by_tau_next,
        returns_picture_too,
        network_shown_x_tau,
        network_shown_x,
        bar_of(lambda tau: 1 / (1 + tau / (1 - tau)), "sigma_not_squared"),
        bar_of(lambda tau: (1 - tau) ** 2, "bar_from_the_road_itself"),
        bar_of(lambda tau: 1 / (1 + tau**2), "tau_for_sigma"),
        bar_of(lambda tau: tau**2 / (tau**2 + (1 - tau) ** 2), "one_minus_bar_for_bar"),
        network_told_the_root,
        network_told_tau,
        spoils_x_tau,
        road_returns_nothing,
    ],
    "right": [
        road_by_variance_and_noise,
        road_by_velocity,
        road_by_euler_in_sigma,
        road_by_angle,
        road_by_a_matrix,
        road_in_double_and_back,
        road_with_lerp,
    ],
}


# ---- 4.3

sigma, sigma_next, w = sympy.symbols("sigma sigma_next w", positive=True)
S, N = sigma, sigma_next
FACTOR = 1 + (N - S) * S / (w**2 + S**2)
STRETCH = sympy.sqrt((w**2 + N**2) / (w**2 + S**2))

BANK["4.3"] = {
    "wrong": [
        (1 + (S - N) * S / (w**2 + S**2)) / STRETCH,  # sign of the step
        FACTOR / STRETCH**2,  # variances in the right factor: the root forgotten
        STRETCH / FACTOR,  # upside down
        (FACTOR / STRETCH) ** 2,  # the share of the variance
        (1 + S * N) / sympy.sqrt((1 + S**2) * (1 + N**2)),  # only for w = 1
        FACTOR,  # not divided by the right factor
        FACTOR * STRETCH,  # multiplied where it should be divided
        (1 + (N - S) / S) / STRETCH,  # the noise x / sigma, of data that are all one point
        (1 + (N - S) * S / (w + S) ** 2) * (w + S) / (w + N),  # widths added instead of variances
        sympy.cos(sympy.atan(S / w) + sympy.atan(N / w)),  # angles added
        sympy.sin(sympy.atan(S / w) - sympy.atan(N / w)),  # sine for cosine
        sympy.cos(sympy.atan(S * w) - sympy.atan(N * w)),  # the width on the wrong side of the ratio
        sympy.cos(S / w - N / w),  # the ratio itself as an angle
        (1 + (N - S) * N / (w**2 + N**2)) / STRETCH,  # slope at the end of the step
        FACTOR / STRETCH * S / N,  # compared in x / sigma, not in x
        (1 + (N - S) * w**2 / (w**2 + S**2))
        / STRETCH,  # the picture's factor for the noise's, without 1 / sigma
        (1 + (N - S) * S / (w + S**2)) / sympy.sqrt((w + N**2) / (w + S**2)),  # w not squared
        (w**2 + S * N) / ((w**2 + S**2) * (w**2 + N**2)),  # root of the denominator forgotten
    ],
    "right": [
        FACTOR / STRETCH,  # not simplified
        sympy.cos(sympy.atan(S / w) - sympy.atan(N / w)),
        sympy.cos(sympy.atan(w / S) - sympy.atan(w / N)),  # the other angles of the triangle
        (w**2 + S * N) / sympy.sqrt((w**2 + S**2) * (w**2 + N**2)),
        (w**2 + S * N) / (w**2 + S**2) ** 0.5 / (w**2 + N**2) ** 0.5,  # float exponents
        (w**2 / (w**2 + S**2) + N * S / (w**2 + S**2)) * sympy.sqrt(w**2 + S**2) / sympy.sqrt(w**2 + N**2),
        sympy.expand_trig(sympy.cos(sympy.atan(N / w) - sympy.atan(S / w))),
        sympy.cos(sympy.atan2(S, w)) * sympy.cos(sympy.atan2(N, w))
        + sympy.sin(sympy.atan2(S, w)) * sympy.sin(sympy.atan2(N, w)),
        sympy.sqrt(
            (w**2 + S * N) ** 2 / ((w**2 + S**2) * (w**2 + N**2))
        ),  # root of the share of the variance
        sympy.simplify(
            (1 - (S - N) * S / (S**2 + w**2)) * ((w**2 + N**2) / (w**2 + S**2)) ** sympy.Rational(-1, 2)
        ),
        sympy.sqrt(1 - w**2 * (S - N) ** 2 / ((w**2 + S**2) * (w**2 + N**2))),  # by the sine
    ],
}


# ---- 4.4


def up_by_factored_root(noise_of, x, sigma, sigma_next, gamma, fresh):
    high = sigma * (1 + gamma)
    x_up = x + sigma * math.sqrt(gamma * (2 + gamma)) * fresh
    return x_up + (sigma_next - high) * noise_of(x_up, high)


def up_and_towards_the_picture(noise_of, x, sigma, sigma_next, gamma, fresh):
    sigma_hat = sigma + gamma * sigma
    noisy = x + fresh * (sigma_hat**2 - sigma**2) ** 0.5
    guess = noisy - sigma_hat * noise_of(noisy, sigma_hat)
    return guess + sigma_next / sigma_hat * (noisy - guess)


def up_with_the_packages_euler(noise_of, x, sigma, sigma_next, gamma, fresh):
    top = (1 + gamma) * sigma
    added = np.sqrt((top - sigma) * (top + sigma))
    return last_of(euler(noise_of, x + added * fresh, [top, sigma_next]))


def up_unless_gamma_is_zero(noise_of, x, sigma, sigma_next, gamma, fresh):
    if gamma > 0:
        extra = sigma**2 * ((1 + gamma) ** 2 - 1)
        x, sigma = x + math.sqrt(extra) * fresh, sigma * (1 + gamma)
    return x - (sigma - sigma_next) * noise_of(x, sigma)


def up_in_double_and_back(noise_of, x, sigma, sigma_next, gamma, fresh, *, check=True):
    t = float(sigma) * (1.0 + float(gamma))
    raised = (x.double() + math.sqrt(t**2 - sigma**2) * fresh.double()).to(x.dtype)
    noise = noise_of(raised, t)
    assert not check or noise.shape == x.shape
    return torch.add(raised, noise, alpha=sigma_next - t)


def up_on_a_copy(noise_of, x, sigma, sigma_next, gamma, fresh):
    y = x.clone()
    y += (2 * gamma + gamma**2) ** 0.5 * sigma * fresh
    up = sigma + sigma * gamma
    y += (sigma_next - up) * noise_of(y, up)
    return y


def up_with_keywords(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = sigma * (gamma + 1)
    x = torch.addcmul(x, fresh, torch.full_like(x, math.sqrt(raised**2 - sigma**2)))
    noise = noise_of(x=x, sigma=raised)  # by the names in the docstring
    return euler_step(x, noise, sigma=raised, sigma_next=sigma_next)


def widths_added(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x = x + gamma * sigma * fresh  # widths instead of variances
    return x + (sigma_next - raised) * noise_of(x, raised)


def variances_summed(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x = x + (raised**2 + sigma**2) ** 0.5 * fresh  # plus for minus
    return x + (sigma_next - raised) * noise_of(x, raised)


def no_root(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x = x + (raised**2 - sigma**2) * fresh
    return x + (sigma_next - raised) * noise_of(x, raised)


def asked_at_the_old_level(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x = x + (raised**2 - sigma**2) ** 0.5 * fresh
    return x + (sigma_next - raised) * noise_of(x, sigma)


def asked_at_the_old_point(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    noise = noise_of(x, raised)  # before the fresh noise
    return x + (raised**2 - sigma**2) ** 0.5 * fresh + (sigma_next - raised) * noise


def steps_from_the_old_level(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x = x + (raised**2 - sigma**2) ** 0.5 * fresh
    return x + (sigma_next - sigma) * noise_of(x, raised)


def gamma_for_the_variance(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) ** 0.5 * sigma
    x = x + gamma**0.5 * sigma * fresh
    return x + (sigma_next - raised) * noise_of(x, raised)


def draws_its_own_noise(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x = x + (raised**2 - sigma**2) ** 0.5 * torch.randn_like(x)
    return x + (sigma_next - raised) * noise_of(x, raised)


def down_then_up(noise_of, x, sigma, sigma_next, gamma, fresh):
    # as Euler ancestral: the order that was to be turned around
    x = x + (sigma_next - sigma) * noise_of(x, sigma)
    return x + sigma_next * ((1 + gamma) ** 2 - 1) ** 0.5 * fresh


def up_then_up(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x = x + (raised**2 - sigma**2) ** 0.5 * fresh
    return x + (raised - sigma_next) * noise_of(x, raised)  # sign of the step


def heun_for_euler(noise_of, x, sigma, sigma_next, gamma, fresh):
    # algorithm 2 as it is in the paper, but Euler's step was asked for
    raised = (1 + gamma) * sigma
    x = x + (raised**2 - sigma**2) ** 0.5 * fresh
    noise = noise_of(x, raised)
    there = noise_of(x + (sigma_next - raised) * noise, sigma_next)
    return x + (sigma_next - raised) * (noise + there) / 2


def ends_too_high(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised, end = (1 + gamma) * sigma, (1 + gamma) * sigma_next  # the end raised as well
    x = x + (raised**2 - sigma**2) ** 0.5 * fresh
    return x + (end - raised) * noise_of(x, raised)


def gamma_ignored(noise_of, x, sigma, sigma_next, gamma, fresh):
    return x + (sigma_next - sigma) * noise_of(x, sigma)  # right for gamma 0 only


def square_of_gamma_dropped(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x = x + sigma * (2 * gamma) ** 0.5 * fresh  # (1 + gamma)^2 - 1 without gamma^2
    return x + (sigma_next - raised) * noise_of(x, raised)


def one_noise_for_all(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x = x + (raised**2 - sigma**2) ** 0.5 * fresh[:1]  # right for a batch of 1 only
    return x + (sigma_next - raised) * noise_of(x, raised)


def x_changed_in_place(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x += (raised**2 - sigma**2) ** 0.5 * fresh  # the caller's x has the fresh noise now
    return x + (sigma_next - raised) * noise_of(x, raised)


def returns_level_too(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    x = x + (raised**2 - sigma**2) ** 0.5 * fresh
    return x + (sigma_next - raised) * noise_of(x, raised), sigma_next


def raised_by_gamma_itself(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = sigma + gamma  # right at sigma = 1 only
    x = x + (raised**2 - sigma**2) ** 0.5 * fresh
    return x + (sigma_next - raised) * noise_of(x, raised)


BANK["4.4"] = {
    "wrong": [
        widths_added,
        variances_summed,
        no_root,
        asked_at_the_old_level,
        asked_at_the_old_point,
        steps_from_the_old_level,
        gamma_for_the_variance,
        draws_its_own_noise,
        down_then_up,
        up_then_up,
        heun_for_euler,
        ends_too_high,
        gamma_ignored,
        square_of_gamma_dropped,
        one_noise_for_all,
        x_changed_in_place,
        returns_level_too,
        raised_by_gamma_itself,
    ],
    "right": [
        up_by_factored_root,
        up_and_towards_the_picture,
        up_with_the_packages_euler,
        up_unless_gamma_is_zero,
        up_in_double_and_back,
        up_on_a_copy,
        up_with_keywords,
    ],
}


# ---- 4.5


def two_m_with_a_second_name(noise_of, x, sigmas):
    before = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        guess = x - sigma * noise_of(x, sigma)
        target = guess
        if before is not None:
            r = math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next)
            target = guess + (guess - before) / (2 * r)
        x = sigma_next / sigma * x + (1 - sigma_next / sigma) * target
        before = guess
    return x


def two_m_by_the_package(noise_of, x, sigmas):
    for x in dpmpp_2m(noise_of, x, sigmas):  # noqa: B007, B020
        pass
    return x


def two_m_with_all_guesses(noise_of, x, sigmas):
    guesses, lam = [], [-math.log(s) for s in sigmas]
    for i in range(len(sigmas) - 1):
        guesses.append(x - sigmas[i] * noise_of(x, sigmas[i]))
        h = lam[i + 1] - lam[i]
        aim = guesses[-1]
        if i:
            aim = aim + 0.5 * h / (lam[i] - lam[i - 1]) * (guesses[-1] - guesses[-2])
        x = math.exp(-h) * x - math.expm1(-h) * aim
    return x


def two_m_along_the_noise(noise_of, x, sigmas):
    old, old_sigma = None, None
    for now, then in zip(sigmas[:-1], sigmas[1:], strict=True):
        d = x - now * noise_of(x, now)
        if old is None:
            d_hat = d
        else:
            weight = math.log(now / then) / (2 * math.log(old_sigma / now))
            d_hat = (1 + weight) * d - weight * old
        x = x + (then - now) * (x - d_hat) / now
        old, old_sigma = d, now
    return x


def two_m_while(noise_of, x, sigmas):
    last_two, i = deque(maxlen=2), 0
    while i + 1 < len(sigmas):
        last_two.append(x - sigmas[i] * noise_of(x, sigmas[i]))
        target = last_two[-1]
        if len(last_two) == 2:
            r = np.log(sigmas[i - 1] / sigmas[i]) / np.log(sigmas[i] / sigmas[i + 1])
            target = target + (last_two[1] - last_two[0]) / (2 * r)
        share = sigmas[i + 1] / sigmas[i]
        x = target + share * (x - target)
        i += 1
    return x


def two_m_with_extrapolate(noise_of, x, sigmas):
    bars, last_x0 = [1 / (1 + s * s) for s in sigmas], None
    for i in range(len(sigmas) - 1):
        x0 = x - sigmas[i] * noise_of(x, sigmas[i])
        aim = x0 if i == 0 else extrapolate(x0, last_x0, bars[i - 1], bars[i], bars[i + 1])
        x, last_x0 = torch.lerp(aim, x, sigmas[i + 1] / sigmas[i]), x0
    return x


def two_m_undoing_the_extrapolation(noise_of, x, sigmas):
    # keeps the given lines and remembers what was added
    before = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        target, added = x - sigma * noise_of(x, sigma), 0
        if before is not None:
            r = math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next)
            added = (target - before) / (2 * r)
            target = target + added
        x, before = sigma_next / sigma * x + (1 - sigma_next / sigma) * target, target - added
    return x


def two_m_slip(hat, remember=lambda x, guess, target, before: guess, aim=lambda guess, target: target):
    """The repaired loop, but with another target, memory or aim."""

    def two_m(noise_of, x, sigmas):
        before = None
        for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
            guess = target = x - sigma * noise_of(x, sigma)
            if before is not None:
                target = hat(guess, before, sigmas[i - 1], sigma, sigma_next)
            before = remember(x, guess, target, before)
            x = sigma_next / sigma * x + (1 - sigma_next / sigma) * aim(guess, target)
        return x

    return two_m


def named(function, name):
    function.__name__ = name
    return function


def ratio(before, sigma, sigma_next):
    return math.log(before / sigma) / math.log(sigma / sigma_next)


def right_hat(guess, before, s_before, s, s_next):
    return guess + (guess - before) / (2 * ratio(s_before, s, s_next))


def as_it_was_given(noise_of, x, sigmas):
    before = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        target = x - sigma * noise_of(x, sigma)
        if before is not None:
            r = math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next)
            target = target + (target - before) / (2 * r)
        x, before = sigma_next / sigma * x + (1 - sigma_next / sigma) * target, target
    return x


def remembered_before_it_is_used(noise_of, x, sigmas):
    before = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        target = x - sigma * noise_of(x, sigma)
        old, before = before, target
        if old is not None:
            r = math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next)
            target = target + (target - before) / (2 * r)  # the guess minus itself: Euler
        x = sigma_next / sigma * x + (1 - sigma_next / sigma) * target
    return x


def truth_of_a_tensor(noise_of, x, sigmas):
    before = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        guess = target = x - sigma * noise_of(x, sigma)
        if before:  # fails for a tensor of more than one number
            r = math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next)
            target = guess + (guess - before) / (2 * r)
        x, before = sigma_next / sigma * x + (1 - sigma_next / sigma) * target, guess
    return x


def heun_instead(noise_of, x, sigmas):
    # Heun's method: order 2, but two calls a step and not 2M
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        noise = noise_of(x, sigma)
        there = noise_of(x + (sigma_next - sigma) * noise, sigma_next)
        x = x + (sigma_next - sigma) * (noise + there) / 2
    return x


def all_points(noise_of, x, sigmas):
    return list(dpmpp_2m(noise_of, x, sigmas))  # not the last one


def a_generator(noise_of, x, sigmas):
    before = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        guess = target = x - sigma * noise_of(x, sigma)
        if before is not None:
            r = math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next)
            target = guess + (guess - before) / (2 * r)
        x, before = sigma_next / sigma * x + (1 - sigma_next / sigma) * target, guess
        yield x  # was asked to return


def a_step_too_few(noise_of, x, sigmas):
    return two_m_with_a_second_name(noise_of, x, sigmas[:-1])


def returns_the_last_guess(noise_of, x, sigmas):
    before = guess = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        guess = target = x - sigma * noise_of(x, sigma)
        if before is not None:
            r = math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next)
            target = guess + (guess - before) / (2 * r)
        x, before = sigma_next / sigma * x + (1 - sigma_next / sigma) * target, guess
    return guess


def spoils_the_start(noise_of, x, sigmas):
    before = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        guess = target = x - sigma * noise_of(x, sigma)
        if before is not None:
            r = math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next)
            target = guess + (guess - before) / (2 * r)
        x *= sigma_next / sigma  # in place: the caller's start is gone
        x += (1 - sigma_next / sigma) * target
        before = guess
    return x


def guess_extrapolated_in_place(noise_of, x, sigmas):
    before = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        guess = target = x - sigma * noise_of(x, sigma)
        if before is not None:
            r = math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next)
            target += (guess - before) / (2 * r)  # changes guess too: the given slip again
        x, before = sigma_next / sigma * x + (1 - sigma_next / sigma) * target, guess
    return x


BANK["4.5"] = {
    "wrong": [
        as_it_was_given,
        remembered_before_it_is_used,
        truth_of_a_tensor,
        heun_instead,
        all_points,
        a_generator,
        a_step_too_few,
        returns_the_last_guess,
        spoils_the_start,
        guess_extrapolated_in_place,
        named(
            two_m_slip(lambda d, o, a, b, c: d + (o - d) / (2 * ratio(a, b, c))), "difference_turned_around"
        ),
        named(two_m_slip(lambda d, o, a, b, c: d + (d - o) * ratio(a, b, c) / 2), "r_upside_down"),
        named(two_m_slip(lambda d, o, a, b, c: d + (d - o) / ratio(a, b, c)), "two_forgotten"),
        named(two_m_slip(lambda d, o, a, b, c: d + (d - o) / 2), "r_is_one"),  # right for one ratio only
        named(two_m_slip(lambda d, o, a, b, c: d + (d - o) / 2 * (b - c) / (a - b)), "r_in_sigma"),
        named(two_m_slip(lambda d, o, a, b, c: (d + o) / 2), "mean_of_two_guesses"),
        named(two_m_slip(right_hat, lambda x, d, t, o: x), "remembers_x"),
        named(two_m_slip(right_hat, lambda x, d, t, o: d if o is None else o), "remembers_the_first_guess"),
        named(two_m_slip(right_hat, aim=lambda d, t: d), "aims_at_the_guess"),  # Euler
        named(two_m_slip(right_hat, lambda x, d, t, o: (d + t) / 2), "remembers_half_of_what_was_added"),
    ],
    "right": [
        two_m_with_a_second_name,
        two_m_by_the_package,
        two_m_with_all_guesses,
        two_m_along_the_noise,
        two_m_while,
        two_m_with_extrapolate,
        two_m_undoing_the_extrapolation,
    ],
}


# ---- 4.6

h, b, s = sympy.symbols("h before s", positive=True)
BEFORE = -(h**3) / (6 * b * (b + h))
END = h * (2 * h + 3 * b) / (6 * (h + b))
BEGIN = h * (h + 3 * b) / (6 * b)


def lagrange_weights(nodes, low, high):
    """Integrals of the polynomials that are 1 at one node and 0 at the others, not simplified."""
    bases = [math.prod((s - m) / (n - m) for m in nodes if m is not n) for n in nodes]
    return tuple(sympy.integrate(sympy.expand(basis), (s, low, high)) for basis in bases)


def moment_weights(nodes, moments, squares=None):
    matrix = sympy.Matrix([[1, 1, 1], list(nodes), squares or [n**2 for n in nodes]])
    return matrix.LUsolve(sympy.Matrix(moments))


MOMENTS = [h, h**2 / 2, h**3 / 3]
AT_END, AT_BEGIN, AT_BEFORE = UNKNOWN = sympy.symbols("w1 w2 w3")
CONDITIONS = [
    AT_END + AT_BEGIN + AT_BEFORE - h,
    AT_END * h - AT_BEFORE * b - h**2 / 2,
    AT_END * h**2 + AT_BEFORE * b**2 - h**3 / 3,
]

BANK["4.6"] = {
    "wrong": [
        (BEGIN, END, BEFORE),  # beginning first
        (BEFORE, BEGIN, END),  # the other way round
        (5 * h / 12, 8 * h / 12, -h / 12),  # equal steps only
        (END / h, BEGIN / h, BEFORE / h),  # weights of the mean slope: not multiplied by h
        (h / 2, h / 2, sympy.Integer(0)),  # Heun: a line, not a parabola
        (END, BEGIN, -BEFORE),  # sign of the last weight
        lagrange_weights([h, sympy.Integer(0), b], 0, h),  # the step before at +b
        lagrange_weights([h, sympy.Integer(0), -b], -b, h),  # integral over both steps
        tuple(moment_weights([h, 0, -b], [h, h**2, h**3])),  # moments without 1 / (m + 1)
        tuple(moment_weights([h, 0, -b], [h, h**2 / 2, h**3 / 6])),  # a slip in the third moment
        (sympy.Integer(0), h + h**2 / (2 * b), -(h**2) / (2 * b)),  # (4.20): the end not used
        lagrange_weights([sympy.Integer(0), -b, -2 * b], 0, h),  # three values behind, the end forgotten
        (
            END.subs({h: b, b: h}, simultaneous=True),
            BEGIN.subs({h: b, b: h}, simultaneous=True),
            BEFORE.subs({h: b, b: h}, simultaneous=True),
        ),  # h and b exchanged
        (END, h - END, BEFORE),  # the middle one as if there were two
        (END, BEGIN + 2 * BEFORE, -BEFORE),  # sign of the last weight, the sum kept right
        tuple(moment_weights([h, 0, -b], MOMENTS, squares=[h**2, 0, -(b**2)])),  # (-b)^2 with a minus
        (h / 6, 4 * h / 6, h / 6),  # Simpson
        (END, BEGIN),  # the third weight left out
    ],
    "right": [
        (END, BEGIN, BEFORE),
        [sympy.expand(END), sympy.apart(BEGIN, h), sympy.together(BEFORE)],  # a list
        lagrange_weights([h, sympy.Integer(0), -b], 0, h),
        tuple(moment_weights([h, 0, -b], MOMENTS)),
        next(iter(sympy.linsolve(CONDITIONS, *UNKNOWN))),  # linsolve's own tuple
        (h / 2 - h**2 / (6 * (b + h)), h / 2 + h**2 / (6 * b), h**2 / (6 * (b + h)) - h**2 / (6 * b)),
        (0.5 * h + b * BEFORE / h, h - (0.5 * h + b * BEFORE / h) - BEFORE, BEFORE),  # with floats
        moment_weights([h, 0, -b], MOMENTS),  # a column of three expressions, in the order asked for
    ],
}


# ---- 4.7


def weighted_sum(guess, before, sigma, sigma_before):
    total = sigma_before**2 - sigma**2
    return (sigma_before**2 * guess - sigma**2 * before) / total


def by_ratio(guess, before, sigma, sigma_before):
    return guess + (guess - before) / ((sigma_before / sigma) ** 2 - 1)


def past_the_guess(guess, before, sigma, sigma_before):
    """Further along the line from before to guess, in double precision."""
    beyond = sigma_before**2 / (sigma_before**2 - sigma**2)
    return torch.lerp(before.double(), guess.double(), beyond).to(guess.dtype)


def two_equations(guess, before, sigma, sigma_before):
    matrix = torch.tensor([[1, sigma**2], [1, sigma_before**2]], dtype=torch.float64)
    a_b = torch.linalg.solve(matrix, torch.stack([guess, before]).double().flatten(1))
    return a_b[0].reshape(guess.shape).to(guess.dtype)


def by_factors(guess, before, sigma, sigma_before):
    slope = (before - guess) / ((sigma_before - sigma) * (sigma_before + sigma))
    return before - slope * sigma_before**2  # from the other end of the line


def with_the_integral(guess, before, sigma, sigma_before, low=0.0):
    """x' of the exact solution with low for sigma': the x term and A's integral, at low = 0."""
    bend = (before - guess) / (sigma_before**2 - sigma**2)
    flat = guess - bend * sigma**2
    return (1 - low / sigma) * flat + low * (sigma - low) * bend


def einsum_of_two(guess, before, sigma, sigma_before):
    weights = torch.tensor([sigma_before**2, -(sigma**2)], dtype=guess.dtype) / (sigma_before**2 - sigma**2)
    return torch.einsum("k,k...->...", weights, torch.stack([guess, before]))


def line_in_sigma(guess, before, sigma, sigma_before):
    return guess + (guess - before) * sigma / (sigma_before - sigma)  # not squared


def bend_added(guess, before, sigma, sigma_before):
    bend = (guess - before) / (sigma**2 - sigma_before**2)
    return guess + sigma**2 * bend  # sign


def the_jump(guess, before, sigma, sigma_before):
    return guess  # as before: first order


def sigma_not_squared_in_front(guess, before, sigma, sigma_before):
    return guess - sigma * (guess - before) / (sigma**2 - sigma_before**2)


def levels_squared_once_too_late(guess, before, sigma, sigma_before):
    return guess - sigma**2 * (guess - before) / (sigma - sigma_before) ** 2


def returns_b(guess, before, sigma, sigma_before):
    return (guess - before) / (sigma**2 - sigma_before**2)


def levels_exchanged(guess, before, sigma, sigma_before):
    return (sigma**2 * guess - sigma_before**2 * before) / (sigma**2 - sigma_before**2)


def half_the_bend(guess, before, sigma, sigma_before):
    # as in (4.27), where the middle of the step is asked for
    return guess + (guess - before) / (2 * ((sigma_before / sigma) ** 2 - 1))


def sum_for_difference(guess, before, sigma, sigma_before):
    return (sigma_before**2 * guess - sigma**2 * before) / (sigma_before**2 + sigma**2)


def from_the_older_guess(guess, before, sigma, sigma_before):
    return before - sigma**2 * (guess - before) / (sigma**2 - sigma_before**2)


def fourth_power(guess, before, sigma, sigma_before):
    return guess + (guess - before) * sigma**4 / (sigma_before**4 - sigma**4)


def b_times_sigma_kept(guess, before, sigma, sigma_before):
    # the second part's integral without sigma' in front, so that it doesn't go to 0
    bend = (guess - before) / (sigma**2 - sigma_before**2)
    return guess - sigma**2 * bend + sigma * bend


def line_in_lambda(guess, before, sigma, sigma_before):
    r = math.log(sigma_before / sigma)
    return guess + (guess - before) / (2 * r)


def guess_changed_in_place(guess, before, sigma, sigma_before):
    guess += (
        (guess - before) * sigma**2 / (sigma_before**2 - sigma**2)
    )  # right, but the caller's guess is gone
    return guess


def returns_a_and_b(guess, before, sigma, sigma_before):
    bend = (guess - before) / (sigma**2 - sigma_before**2)
    return guess - sigma**2 * bend, bend


def halved_levels_only(guess, before, sigma, sigma_before):
    return (4 * guess - before) / 3  # right for sigma_before = 2 sigma only


def picture_returns_nothing(guess, before, sigma, sigma_before):
    bend = (guess - before) / (sigma**2 - sigma_before**2)
    guess = guess - sigma**2 * bend


BANK["4.7"] = {
    "wrong": [
        line_in_sigma,
        bend_added,
        the_jump,
        sigma_not_squared_in_front,
        levels_squared_once_too_late,
        returns_b,
        levels_exchanged,
        half_the_bend,
        sum_for_difference,
        from_the_older_guess,
        fourth_power,
        b_times_sigma_kept,
        line_in_lambda,
        guess_changed_in_place,
        returns_a_and_b,
        halved_levels_only,
        picture_returns_nothing,
    ],
    "right": [
        weighted_sum,
        by_ratio,
        past_the_guess,
        two_equations,
        by_factors,
        with_the_integral,
        einsum_of_two,
        lambda guess, before, sigma, sigma_before: (
            guess - sigma**2 * (guess - before) / (sigma**2 - sigma_before**2)
        ),
    ],
}


# ---- 4.8

KAPPA, MISS, b = sympy.symbols("kappa x b", positive=True)  # b: the ratio of two levels

BANK["4.8"] = {
    "wrong": [
        2 / (1 - b),  # Euler's limit: no memory
        (1 + b) / (2 * (1 - b)),  # the 1 of 1 - kappa forgotten
        1 - (1 + b) / (2 * (1 - b)),  # sign: kappa below 1
        sympy.Rational(23, 6),  # the number for b = 0.7
        sympy.Rational(1, 2) + 0 * b,  # a miss that keeps its size without a zigzag
        1 + (1 + b) / (3 * (1 - b)),  # the 2 of 2 r forgotten
        (1 + b) / (2 * (b - 1)),  # D = kappa x: noise for picture
        2 / ((1 - b) * (1 + b / 2 + b**2 / 2)),  # (4.38), two values of LMS
        1 + (2 - b) / (2 * b),  # b for the share that is walked
        1 + (1 + b) / (1 - b) ** 2 / 2,  # 1 - b divided twice
        1 + (1 - b) / (2 * (1 + b)),  # fraction upside down
        1 + (1 + b) / ((1 - b) * (1 + 1 / b)),  # r = b
        1 + (1 + b) / ((1 - b) * (1 + 1 / (2 * b))),  # D - D_- taken as D, and r = b
        1 + (1 + b) / (4 * (1 - b)),  # D hat twice as far
        1 + (1 - b) / (2 * (1 - b)),  # b x moved to the other side with the wrong sign
        (1 + (1 + b) / (2 * (1 - b))) ** 2,  # squared
    ],
    "right": [
        1 + (1 + b) / (2 * (1 - b)),
        (3 - b) / (2 - 2 * b),
        sympy.solve(b * MISS + (1 - b) * 2 * (1 - KAPPA) * MISS + MISS, KAPPA)[0],
        sympy.Rational(1, 2) + 1 / (1 - b),
        1 + sympy.coth(-sympy.log(b) / 2) / 2,  # (1 + b) / (1 - b) by the step in lambda
        1 + 0.5 * (1 + b) / (1 - b),  # a float
        1 - (-1 - b) / ((1 - b) * 2),  # as it comes
        sympy.apart((3 - b) / (2 * (1 - b)), b),
    ],
}


# ---- 4.9

TAU = sympy.symbols("tau", real=True)
VARIANCE = (1 - TAU) ** 2 * w**2 + TAU**2

BANK["4.9"] = {
    "wrong": [
        w / (1 + w),  # widths for variances: where the two parts are equally wide
        1 / (1 + w**2),  # 1 - tau
        sympy.Rational(1, 2) + 0 * w,  # right for w = 1 only
        w**2 / (1 + w),  # one of two squares
        w**2,  # the noise level there, not tau
        sympy.sqrt(w**2 / (1 + w**2)),  # the narrowest width itself
        w**2 / (w**2 - 1),  # the inner derivative's sign
        -(w**2) / (1 + w**2),  # sign of tau
        w**2 / (2 + w**2),  # a factor 2 forgotten in one term
        sympy.sqrt(w) / (1 + sympy.sqrt(w)),  # roots for squares
        w**4 / (1 + w**4),  # squared twice
        2 * w**2 / (1 + w**2),  # twice too large
        sympy.atan(w**2),  # the angle of the noise level
        VARIANCE.subs(TAU, w / (1 + w)),  # a variance, and at the wrong place
    ],
    "right": [
        w**2 / (1 + w**2),
        1 - 1 / (1 + w**2),
        1 / (1 + w**-2),
        sympy.sin(sympy.atan(w)) ** 2,
        sympy.solve(sympy.diff(VARIANCE, TAU), TAU)[0],
        (1 - sympy.cos(2 * sympy.atan(w))) / 2,
        2 * w**2 / (2 * w**2 + 2.0),  # neither simplified nor without floats
        w**2 / (w**2 + 1) ** 2 + w**4 / (w**2 + 1) ** 2,
    ],
}


# ---- 4.10


def even_in_tau(number, low):
    taus = np.linspace(14.6 / 15.6, low / (1 + low), number)
    return [*(taus / (1 - taus)).tolist(), 0.0]


def pndm_even_in_tau(noise_of, x):
    return last_of(pndm(noise_of, x, even_in_tau(7, 0.08)))


def pndm_on_even_angles(noise_of, x):
    sigmas = np.tan(np.linspace(math.atan(14.6), math.atan(0.08), 7)).tolist()
    return last_of(pndm(noise_of, x, [*sigmas, 0]))


def pndm_on_karras_levels(noise_of, x):
    *_, end = pndm(noise_of, x, [*karras_sigmas(7, 14.6, 0.06), 0.0])
    return end


def pndm_on_one_ratio(noise_of, x, low=0.02):
    return list(pndm(noise_of, x, [*np.geomspace(14.6, low, 7).tolist(), 0.0]))[-1]


def seven_calls_are_enough(noise_of, x):
    return last_of(pndm(noise_of, x, even_in_tau(6, 0.1)))


def pndm_by_hand(noise_of, x):
    taus = [14.6 / 15.6 + i / 6 * (0.07 / 1.07 - 14.6 / 15.6) for i in range(7)]
    levels, memory = [t / (1 - t) for t in taus], []
    levels.append(0.0)
    for i in range(7):
        a, b = levels[i], levels[i + 1]
        memory.insert(0, noise_of(x, a))
        if i == 0:
            mean = (memory[0] + noise_of(x + (b - a) * memory[0], b)) / 2
        else:
            weights = [(1.5, -0.5), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24)][
                min(i, 3) - 1
            ]
            mean = sum(q * e for q, e in zip(weights, memory))
        x = x + (b - a) * mean
    return x


def lms_with_heuns_start(noise_of, x):
    levels, history = even_in_tau(7, 0.1), []
    for i, (now, then) in enumerate(zip(levels, levels[1:])):
        noise = noise_of(x, now)
        history = [(noise, now), *history[:3]]
        if i == 0:
            there = noise_of(x + (then - now) * noise, then)
            x = x + (then - now) * (noise + there) / 2
        else:
            noises, at = zip(*history, strict=True)
            x = x + sum(q * e for q, e in zip(multistep_weights(at, then), noises))
    return x


def nine_calls(noise_of, x):
    return last_of(
        pndm(noise_of, x, [*np.geomspace(14.6, 0.02, 8).tolist(), 0.0])
    )  # the first step is twofold


def heun_with_eight_steps(noise_of, x):
    levels = even_in_tau(8, 0.05)
    for a, b in zip(levels, levels[1:]):
        noise = noise_of(x, a)
        y = x + (b - a) * noise
        x = y if b == 0 else x + (b - a) * (noise + noise_of(y, b)) / 2  # fifteen calls
    return x


def sixteen_steps(noise_of, x):
    return last_of(lms(noise_of, x, even_in_tau(16, 0.05)))


def euler_on_even_angles(noise_of, x):
    # the comparison in the statement: 0.09
    return last_of(euler(noise_of, x, np.tan(np.linspace(math.atan(14.6), 0, 9)).tolist()))


def two_m_on_karras_levels(noise_of, x):
    return last_of(dpmpp_2m(noise_of, x, [*karras_sigmas(8, 14.6, 0.03), 0.0]))  # 0.10


def euler_on_karras_levels(noise_of, x):
    return last_of(euler(noise_of, x, [*karras_sigmas(8, 14.6, 0.03), 0.0]))  # 0.14


def pndm_even_in_sigma(noise_of, x):
    return last_of(pndm(noise_of, x, np.linspace(14.6, 0, 8).tolist()))  # the worst levels


def hands_over_all_points(noise_of, x):
    return list(pndm(noise_of, x, even_in_tau(7, 0.08)))  # not the last ones


def hands_over_the_walk(noise_of, x):
    return pndm(noise_of, x, even_in_tau(7, 0.08))  # a generator


def eight_calls_return_nothing(noise_of, x):
    for x in pndm(noise_of, x, even_in_tau(7, 0.08)):  # noqa: B007, B020
        pass


def stops_high_up(noise_of, x):
    return last_of(pndm(noise_of, x, even_in_tau(8, 0.3)[:-1]))  # at sigma = 0.3, not 0


def starts_in_the_wrong_units(noise_of, x):
    return last_of(pndm(noise_of, x / (1 + 14.6**2) ** 0.5, even_in_tau(7, 0.08)))  # x_t for x


def only_the_mean_guess(noise_of, x):
    return x - 14.6 * noise_of(x, 14.6)  # one call, D at the start


def last_level_too_high(noise_of, x):
    return last_of(pndm(noise_of, x, even_in_tau(7, 0.3)))


def levels_from_below(noise_of, x):
    return last_of(euler(noise_of, x, np.linspace(0.01, 14.6, 9).tolist()))  # walks up


def its_own_start(noise_of, x):
    fresh = 14.6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    return last_of(pndm(noise_of, fresh, even_in_tau(7, 0.08)))  # other points than those given


BANK["4.10"] = {
    "wrong": [
        nine_calls,
        heun_with_eight_steps,
        sixteen_steps,
        euler_on_even_angles,
        two_m_on_karras_levels,
        euler_on_karras_levels,
        pndm_even_in_sigma,
        hands_over_all_points,
        hands_over_the_walk,
        eight_calls_return_nothing,
        stops_high_up,
        starts_in_the_wrong_units,
        only_the_mean_guess,
        last_level_too_high,
        levels_from_below,
        its_own_start,
    ],
    "right": [
        pndm_even_in_tau,
        pndm_on_even_angles,
        pndm_on_karras_levels,
        pndm_on_one_ratio,
        seven_calls_are_enough,
        pndm_by_hand,
        lms_with_heuns_start,
    ],
}


# ---- 4.11

PLACE, LEVEL = sympy.symbols("x sigma", positive=True)
MEAN_GUESS = sympy.tanh(PLACE / LEVEL**2)
AVERAGE = (PLACE - MEAN_GUESS) / LEVEL
STEEP = 1 - (1 - MEAN_GUESS**2) / LEVEL**2


def streams_with(guess):
    """Velocity and steepness with another guess D(x, sigma), worked out without a further slip."""
    velocity = (PLACE - guess) / LEVEL
    return velocity, LEVEL * sympy.diff(velocity, PLACE)


def bell_around(centre):
    return sympy.exp(-((PLACE - centre) ** 2) / (2 * LEVEL**2))


SHARE_OF_ONE = bell_around(1) / (bell_around(1) + bell_around(-1))
BY_SHARES = SHARE_OF_ONE * (PLACE - 1) / LEVEL + (1 - SHARE_OF_ONE) * (PLACE + 1) / LEVEL
UPHILL = -LEVEL * sympy.diff(sympy.log(bell_around(1) + bell_around(-1)), PLACE)  # noise from the density
SIGMOID_GUESS = 2 / (1 + sympy.exp(-2 * PLACE / LEVEL**2)) - 1

BANK["4.11"] = {
    "wrong": [
        (STEEP, AVERAGE),  # the other order
        (MEAN_GUESS, STEEP),  # D, not the velocity
        (-AVERAGE, -STEEP),  # towards the pictures: the sign of d sigma
        (-AVERAGE, STEEP),  # the sign of the velocity only
        (AVERAGE, sympy.diff(AVERAGE, PLACE)),  # sigma forgotten in kappa
        (AVERAGE, LEVEL * sympy.diff(AVERAGE, LEVEL)),  # the slope in sigma, not in x
        (AVERAGE, sympy.simplify(LEVEL * AVERAGE / PLACE)),  # the chord from 0, not the slope
        (AVERAGE, 1 + (1 - MEAN_GUESS**2) / LEVEL**2),  # a sign: above 1 everywhere
        (AVERAGE, 1 - (1 - MEAN_GUESS**2) / LEVEL),  # the chain rule with sigma for sigma squared
        (AVERAGE, MEAN_GUESS**2),  # the chain rule's factor forgotten: right at sigma = 1
        (AVERAGE, 1 - 1 - MEAN_GUESS**2 / LEVEL**2),  # brackets lost
        (AVERAGE, 1 - (1 - MEAN_GUESS) ** 2 / LEVEL**2),  # the square of the difference
        (AVERAGE, (1 - MEAN_GUESS**2) / LEVEL**2),  # the slope of D
        (AVERAGE, sympy.Integer(1)),  # the guess thought to stand still
        (AVERAGE, 1 - 1 / LEVEL**2),  # the smallest kappa, at x = 0
        streams_with(sympy.tanh(PLACE / LEVEL)),  # the bells' width not squared
        streams_with(sympy.tanh(2 * PLACE / LEVEL**2)),  # the exponent's two kept
        streams_with(sympy.tanh(PLACE / (2 * LEVEL**2))),  # and halved once too often
        streams_with(-MEAN_GUESS),  # the two shares exchanged
        streams_with(SHARE_OF_ONE),  # the share of 1 for D: pictures 0 and 1
        streams_with(sympy.Integer(0)),  # equal shares everywhere: D = 0
        streams_with(sympy.Integer(1)),  # the nearer stream alone
        streams_with(sympy.tanh(PLACE * sympy.sqrt(1 + LEVEL**2) / LEVEL**2)),  # x taken for x_t
        (LEVEL * AVERAGE, LEVEL * STEEP),  # x - D, not divided by sigma
        ((PLACE - MEAN_GUESS) / LEVEL**2, STEEP / LEVEL),  # minus the score
        (PLACE / LEVEL - MEAN_GUESS, 1 - (1 - MEAN_GUESS**2) / LEVEL),  # D not divided by sigma
    ],
    "right": [
        (AVERAGE, STEEP),
        [AVERAGE, STEEP],  # a list
        sympy.Tuple(AVERAGE, STEEP),
        streams_with(MEAN_GUESS),  # differentiated by sympy
        (BY_SHARES, LEVEL * sympy.diff(BY_SHARES, PLACE)),  # Bayes' rule, nothing simplified
        (UPHILL, LEVEL * sympy.diff(UPHILL, PLACE)),
        streams_with(SIGMOID_GUESS),
        (PLACE / LEVEL - MEAN_GUESS / LEVEL, 1 - 1 / (LEVEL * sympy.cosh(PLACE / LEVEL**2)) ** 2),
        (AVERAGE, 1 - sympy.sech(PLACE / LEVEL**2) ** 2 / LEVEL**2),
        tuple(part.rewrite(sympy.exp) for part in (AVERAGE, STEEP)),
        (AVERAGE, 1 - 4 * SHARE_OF_ONE * (1 - SHARE_OF_ONE) / LEVEL**2),  # the variance from the two shares
        tuple(sympy.expand(part) for part in (AVERAGE, STEEP)),
        ((PLACE - sympy.tanh(PLACE * LEVEL**-2)) * LEVEL**-1, 1 - LEVEL**-2 + MEAN_GUESS**2 * LEVEL**-2),
    ],
}


# ---- 4.12


def long_last(limit, factor, larger):
    return {"limit": limit, "factor": factor, "ends larger than 1": larger}


FROM, BEHIND, TO, KAPPA = 0.232, 0.356, 0.029, 1.93
STEP, STEP_BEHIND = TO - FROM, FROM - BEHIND
W1, W2 = STEP + STEP**2 / (2 * STEP_BEHIND), -(STEP**2) / (2 * STEP_BEHIND)


def from_terms(first, second):
    """Limit and factor from the two terms w_1/s_1 (below 0) and w_2/s_2 (above 0)."""
    return 2 / (abs(first) + abs(second)), 1 + KAPPA * (first - second)


def multistep_terms(*levels):
    return [w / s for w, s in zip(multistep_weights(levels, TO), levels)]


LONG = from_terms(W1 / FROM, W2 / BEHIND)
LN_STEP, LN_BEHIND = math.log(TO / FROM), math.log(FROM / BEHIND)

BANK["4.12"] = {
    "wrong": [
        long_last(*LONG, True),  # a limit that is passed makes the walk fail
        long_last(LONG[0], -LONG[1], False),  # the size without the sign
        long_last(LONG[0], 1 - KAPPA * (W1 / FROM - W2 / BEHIND), False),  # a minus before the sum
        long_last(
            LONG[0], 1 + KAPPA * (W1 / FROM + W2 / BEHIND), False
        ),  # the miss before with the same sign
        long_last(LONG[0], LONG[1] - 1, False),  # the miss itself forgotten
        long_last(LONG[0], 1 + (W1 / FROM - W2 / BEHIND), False),  # kappa forgotten
        long_last(LONG[0], -KAPPA / LONG[0], False),  # kappa over the limit
        long_last(LONG[0] / 2, LONG[1], False),  # 1 for 2 on the right of (4.38)
        long_last(2 * LONG[0], LONG[1], False),
        long_last(KAPPA / LONG[0], LONG[1], False),  # how often the limit is passed
        long_last(2 / LONG[0], LONG[1], False),  # the sum itself, not 2 over it
        long_last(2 / (abs(W1 / FROM + W2 / BEHIND)), LONG[1], False),  # terms of two signs just added
        long_last(*from_terms(STEP / FROM, 0), False),  # Euler's, one value
        long_last(*from_terms(1.5 * STEP / FROM, -0.5 * STEP / BEHIND), False),  # weights of equal steps
        long_last(*from_terms((STEP - W2) / FROM, 0), False),  # the second value left out
        long_last(*from_terms((STEP + W2) / FROM, -W2 / BEHIND), False),  # h_- taken above 0
        long_last(*from_terms(W1 / FROM, W2 / FROM), False),  # both over the newest level
        long_last(*from_terms(W1 / BEHIND, W2 / FROM), False),  # the two levels exchanged
        long_last(*from_terms(W1, W2), False),  # weights not divided by their levels
        long_last(*from_terms(W1 / FROM, 2 * W2 / BEHIND), False),  # the half forgotten in w_2
        long_last(
            *from_terms((STEP + STEP / (2 * STEP_BEHIND)) / FROM, -STEP / (2 * STEP_BEHIND) / BEHIND), False
        ),  # h for h squared
        long_last(
            *from_terms(LN_STEP + LN_STEP**2 / (2 * LN_BEHIND), -(LN_STEP**2) / (2 * LN_BEHIND)), False
        ),  # steps in ln sigma, their weights not divided by levels
        long_last(*from_terms(STEP_BEHIND / BEHIND, 0), True),  # Euler's, for the step before
        long_last(0.24, 1 - KAPPA * 2 / 0.24, True),  # the limit and factor of four values
        long_last(LONG[1], LONG[0], False),  # limit and factor exchanged
        long_last(LONG[0], abs(LONG[1]), True),
        long_last(LONG[0], LONG[1] * KAPPA, False),  # kappa taken twice
    ],
    "right": [
        long_last(0.97, -2.97, False),
        long_last(*LONG, False),
        long_last(1.0, -3.0, False),  # rounded; within a tenth
        long_last(0.95, -2.9, False),
        {"ends larger than 1": False, "factor": -2.971, "limit": 0.972},  # another order
        long_last(*from_terms(*multistep_terms(FROM, BEHIND)), False),  # weights from the package
        long_last(np.float64(LONG[0]), np.float64(LONG[1]), np.bool_(False)),  # NumPy's
        long_last(LONG[0], 1 - 2 * KAPPA / LONG[0], False),  # the factor from the limit
        long_last(*LONG, larger=bool(2.1e-4 * 2.98 > 1)),  # what is left, times the factor
        long_last(*(round(value, 3) for value in LONG), 1.2e-4 > 1),
    ],
}
