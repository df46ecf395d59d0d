"""Chapter 4: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import numpy as np
import sympy

from minisd.samplers import dpmpp_2m, pndm

# 4.1

TURN = math.atan(14.6)


def cosines(*powers):
    """cos^(what is asked) for 1, 2 and 8 steps, rounded as one would write it down."""
    return {
        name: round(math.cos(TURN / n) ** p, 3)
        for name, n, p in zip(("1 step", "2 steps", "8 steps"), (1, 2, 8), powers)
    }


# 4.2


def by_angle(predict, x_tau, tau, after):
    """The angle of the same noised picture, then back by (4.32)."""
    angle = math.atan2(tau, 1 - tau)
    x_t = x_tau / math.hypot(tau, 1 - tau)
    v = predict(x_t, math.cos(angle) ** 2)
    velocity = (math.sin(angle) - math.cos(angle)) * x_t + (math.cos(angle) + math.sin(angle)) * v
    return x_tau + (after - tau) * velocity


def road(predict, x_tau, tau, after, show=None, tell=None, sign=1):
    sigma = tau / (1 - tau)
    shown = x_tau / math.hypot(tau, 1 - tau) if show is None else show(x_tau, tau)
    cos = 1 / math.sqrt(1 + sigma**2)
    sin = math.sqrt(1 - cos**2)
    v = predict(shown, cos**2 if tell is None else tell(tau, after))
    return cos * shown - sign * sin * v, sin * shown + sign * cos * v


def mixed(**slip):
    def step(predict, x_tau, tau, after):
        picture, noise = road(predict, x_tau, tau, after, **slip)
        return after * noise + (1 - after) * picture

    return step


def bar_of(tau):
    return (1 - tau) ** 2 / ((1 - tau) ** 2 + tau**2)


def exchanged(predict, x_tau, tau, after):
    picture, noise = road(predict, x_tau, tau, after)
    return after * picture + (1 - after) * noise


def as_velocity(predict, x_tau, tau, after):
    return x_tau - (tau - after) * predict(x_tau / math.hypot(tau, 1 - tau), bar_of(tau))


def still_exploding(predict, x_tau, tau, after):
    picture, noise = road(predict, x_tau, tau, after)
    return picture + after / (1 - after) * noise


def preserving(predict, x_tau, tau, after):
    picture, noise = road(predict, x_tau, tau, after)
    return bar_of(after) ** 0.5 * picture + (1 - bar_of(after)) ** 0.5 * noise


def wrong_way(predict, x_tau, tau, after):
    picture, noise = road(predict, x_tau, tau, after)
    return x_tau + (tau - after) * (noise - picture)


# 4.3

S, N, W = sympy.symbols("sigma sigma_next w", positive=True)
EULER = (W**2 + S * N) / (W**2 + S**2)
STRETCH = sympy.sqrt((W**2 + N**2) / (W**2 + S**2))


# 4.4


def churn(ask, x, sigma, after, gamma, fresh, up=None, told=None, begin=None, late=False):
    high = sigma + gamma * sigma
    up = math.sqrt(gamma**2 + 2 * gamma) * sigma if up is None else up(sigma, high)
    there = x + up * fresh
    noise = ask(x if late else there, high if told is None else told(sigma))
    return there + (after - (high if begin is None else begin(sigma))) * noise


def with_slip(**slip):
    return lambda ask, x, sigma, after, gamma, fresh: churn(ask, x, sigma, after, gamma, fresh, **slip)


def by_the_guess(ask, x, sigma, after, gamma, fresh):
    """To the share after / high of the way from the guessed picture, (4.8)."""
    high = (1 + gamma) * sigma
    there = x + (high**2 - sigma**2) ** 0.5 * fresh
    guess = there - high * ask(there, high)
    return guess + after / high * (there - guess)


def ancestral_order(ask, x, sigma, after, gamma, fresh):
    below = x + (after - sigma) * ask(x, sigma)
    return below + math.sqrt(((1 + gamma) * sigma) ** 2 - sigma**2) * fresh


# 4.5


def repaired(noise_of, x, sigmas, factor=0.5, memory=True, power=-1):
    guesses = []
    for i in range(len(sigmas) - 1):
        now, then = sigmas[i], sigmas[i + 1]
        guesses.append(x - now * noise_of(x, now))
        aim = guesses[-1]
        if i and memory:
            r = (math.log(sigmas[i - 1]) - math.log(now)) / (math.log(now) - math.log(then))
            aim = aim + factor * r**power * (guesses[-1] - guesses[-2])
        x = aim + then / now * (x - aim)
    return x


def by_minisd(noise_of, x, sigmas):
    return list(dpmpp_2m(noise_of, x, sigmas))[-1]


def x_remembered(noise_of, x, sigmas):
    before = None
    for i in range(len(sigmas) - 1):
        now, then = sigmas[i], sigmas[i + 1]
        guess = aim = x - now * noise_of(x, now)
        if before is not None:
            aim = guess + (guess - before) * math.log(now / then) / math.log(sigmas[i - 1] / now) / 2
        x, before = aim + then / now * (x - aim), x
    return x


# 4.6

H, B = sympy.symbols("h before", positive=True)
W_LAST = -(H**3) / (6 * B * (B + H))
W_END = H / 2 - H**2 / (6 * (B + H))


def solved():
    """By the moments, with sympy."""
    a, b, c = sympy.symbols("a b c")
    found = sympy.solve([a + b + c - H, a * H - c * B - H**2 / 2, a * H**2 + c * B**2 - H**3 / 3], [a, b, c])
    return found[a], found[b], found[c]


# 4.8 and 4.9

RATIO = sympy.symbols("b", positive=True)
WIDTH = sympy.symbols("w")


# 4.10


def on(loop, levels):
    return lambda noise_of, x: list(loop(noise_of, x, levels))[-1]


def by_rho(count, low, rho=7):
    return (np.linspace(14.6 ** (1 / rho), low ** (1 / rho), count) ** rho).tolist()


def by_tau(count, low):
    tau = np.linspace(14.6 / 15.6, low / (1 + low), count)
    return (tau / (1 - tau)).tolist()


def plain_euler(noise_of, x, sigmas):
    for now, then in zip(sigmas, sigmas[1:]):
        x = x + (then - now) * noise_of(x, now)
        yield x


# 4.11

PLACE, LEVEL = sympy.symbols("x sigma", positive=True)
TOWARDS = sympy.tanh(PLACE / LEVEL**2)


def two_streams(guess):
    """The average velocity, and kappa by differentiating it."""
    velocity = (PLACE - guess) / LEVEL
    return velocity, LEVEL * sympy.diff(velocity, PLACE)


MEAN_STREAM, STEEP = two_streams(TOWARDS)

BANK = {
    "4.1": {
        "wrong": [
            ({"1 step": -0.13, "2 steps": 0.44, "8 steps": 0.86}, "the approximation for many steps"),
            (cosines(1, 1, 1), "a single step"),
            (cosines(2, 4, 16), "shares of the variance"),
            ({"1 step": 0.068, "2 steps": 0.068, "8 steps": 0.068}, "each turns by half the angle"),
            ({"1 step": 0.5, "2 steps": 0.25, "8 steps": 0.1}, "4.1"),
        ],
        "right": [cosines(1, 2, 8), {"1 step": 0.07, "2 steps": 0.55, "8 steps": 0.85}],
    },
    "4.2": {
        "wrong": [
            (mixed(show=lambda x_tau, tau: x_tau), "You showed the network x_tau itself"),
            (mixed(show=lambda x_tau, tau: x_tau / (1 - tau)), "in exploding units"),
            (mixed(tell=lambda tau, after: bar_of(after)), "that of the new level"),
            (mixed(tell=lambda tau, after: 1 - tau), "is not alpha bar"),
            (mixed(tell=lambda tau, after: (1 - tau) ** 2), "their squares do"),
            (mixed(sign=-1), "wrong sign in both"),
            (exchanged, "have changed places"),
            (as_velocity, "v is a velocity"),
            (still_exploding, "Your result is x in exploding units"),
            (preserving, "Your result is x_t"),
            (wrong_way, "towards the noise"),
        ],
        "right": [mixed(), by_angle],
    },
    "4.3": {
        "wrong": [
            (EULER, "what the step does to x"),
            (STRETCH, "what the right step does"),
            (N / S, "held the guess D at 0"),
            (
                EULER * (W**2 + S**2) / sympy.sqrt((W**2 + S**2) / (W**2 + N**2)),
                "which of the two widths is on top",
            ),
            (N / S / STRETCH, "as if the picture were always 0"),
        ],
        "right": [EULER / STRETCH, sympy.cos(sympy.atan(S / W) - sympy.atan(N / W))],
    },
    "4.4": {
        "wrong": [
            (with_slip(up=lambda sigma, high: high - sigma), "widths don't"),
            (with_slip(up=lambda sigma, high: (high - sigma) * (high + sigma)), "by a variance"),
            (with_slip(up=lambda sigma, high: high), "the whole of the raised level"),
            (with_slip(told=lambda sigma: sigma), "told it the old level"),
            (with_slip(begin=lambda sigma: sigma), "step is too short"),
            (with_slip(told=lambda sigma: sigma, begin=lambda sigma: sigma), "still the old one"),
            (with_slip(told=lambda sigma: sigma, late=True), "before the noise was added"),
            (with_slip(late=True), "You told the network the raised level"),
            (ancestral_order, "First down and then up"),
        ],
        "right": [with_slip(), by_the_guess],
    },
    "4.5": {
        "wrong": [
            (lambda f, x, s: repaired(f, x, s, memory=False), "removed the memory"),
            (lambda f, x, s: repaired(f, x, s, factor=1), "at the end of the step"),
            (lambda f, x, s: repaired(f, x, s, power=1), "upside down"),
            (lambda f, x, s: repaired(f, x, s, factor=-0.5), "lies behind the last guess"),
            (x_remembered, "You remember the point x"),
        ],
        "right": [repaired, by_minisd],
    },
    "4.6": {
        "wrong": [
            ((5 * H / 12, 2 * H / 3, -H / 12), "Right for equal steps"),
            ((W_LAST, H - W_LAST - W_END, W_END), "order is reversed"),
            ((H / 2, H / 2, sympy.Integer(0)), "Heun's rule"),
            (tuple(w.subs(B, -B) for w in (W_END, H - W_LAST - W_END, W_LAST)), "sign of the place before"),
            ((W_END / H, 1 - (W_LAST + W_END) / H, W_LAST / H), "sum to 1"),
            ((sympy.Integer(0), H + H**2 / (2 * B), -(H**2) / (2 * B)), "only what lies behind"),
        ],
        "right": [(W_END, H - W_END - W_LAST, W_LAST), solved()],
    },
    "4.7": {
        "wrong": [
            (lambda d, old, s, t: d.clone(), "first-order jump"),
            (lambda d, old, s, t: (t * d - s * old) / (t - s), "straight line in the noise level"),
            (lambda d, old, s, t: d + 0.5 * s * s * (d - old) / (t * t - s * s), "half-way"),
            (lambda d, old, s, t: d + s * s * (d - old) / (s * s - t * t), "towards the older guess"),
            (lambda d, old, s, t: d + (t * t - s * s) * (d - old) / s**2, "upside down"),
            (lambda d, old, s, t: d + (d - old) * (s / t) ** 2, "not from sigma_before to 0"),
        ],
        "right": [
            lambda d, old, s, t: (t * t * d - s * s * old) / (t * t - s * s),
            lambda guess, before, sigma, sigma_before: (
                before + (guess - before) / (1 - (sigma / sigma_before) ** 2)
            ),
        ],
    },
    "4.8": {
        "wrong": [
            (2 / (1 - RATIO), "what Euler tolerates"),
            ((1 + RATIO) / (2 - 2 * RATIO), "What is D where kappa is 1"),
            (1 + (1 + RATIO) / (3 - 3 * RATIO), "aimed at the end"),
            (1 - (1 + RATIO) / (2 - 2 * RATIO), "Mind the sign"),
            (sympy.Rational(3, 2) + 0 * RATIO, "zigzag"),
        ],
        "right": [(3 - RATIO) / (2 * (1 - RATIO)), lambda b: 1 + (1 + b) / (2 - 2 * b)],
    },
    "4.9": {
        "wrong": [
            (sympy.Rational(1, 2) + 0 * WIDTH, "for data of width 1 only"),
            (WIDTH / (1 + WIDTH), "equally wide"),
            (1 / (1 + WIDTH**2), "from the noise"),
            (WIDTH**2, "Which tau belongs to it"),
            (WIDTH / sympy.sqrt(1 + WIDTH**2), "how wide the crowd is there"),
        ],
        "right": [WIDTH**2 / (1 + WIDTH**2), lambda w: 1 - 1 / (1 + w * w)],
    },
    "4.10": {
        "wrong": [
            (on(plain_euler, [*by_rho(8, 0.03), 0.0]), "Three choices can be better"),
            (on(plain_euler, np.linspace(14.6, 0, 9).tolist()), "nothing is decided"),
            (on(plain_euler, by_rho(8, 0.03)), "still noised"),
            (on(pndm, [*by_rho(7, 0.03), 0.0]), "Now vary the levels"),
            (on(pndm, [*by_tau(8, 0.08), 0.0]), "more than 8 times"),
            (lambda noise_of, x: x.mean(), "tensor of the shape of x"),
        ],
        "right": [
            on(pndm, [*by_tau(7, 0.08), 0.0]),
            on(pndm, [*by_rho(7, 0.05), 0.0]),
            on(pndm, [*by_rho(7, 0.06), 0.0]),
        ],
    },
    "4.11": {
        "wrong": [
            ((PLACE / LEVEL, sympy.Integer(1) + 0 * PLACE), "the same share"),
            ((-MEAN_STREAM, -STEEP), "points down to the pictures"),
            ((-MEAN_STREAM, STEEP), "The sign of the first"),
            (two_streams(sympy.tanh(PLACE / LEVEL)), "You divided by sigma"),
            (two_streams(sympy.tanh(2 * PLACE / LEVEL**2)), "Twice too much"),
            ((MEAN_STREAM, sympy.diff(MEAN_STREAM, PLACE)), "kappa / sigma there"),
            ((MEAN_STREAM, sympy.diff(TOWARDS, PLACE)), "the slope of D"),
            ((MEAN_STREAM, 1 + sympy.diff(TOWARDS, PLACE)), "takes something from"),
            ((MEAN_STREAM, TOWARDS**2), "inner derivative"),
            ((TOWARDS, STEEP), "the average picture"),
        ],
        "right": [
            (MEAN_STREAM, STEEP),
            (MEAN_STREAM, 1 - 1 / (LEVEL * sympy.cosh(PLACE / LEVEL**2)) ** 2),
            lambda x, sigma: (
                (x - math.tanh(x / sigma**2)) / sigma,
                1 - (sigma * math.cosh(x / sigma**2)) ** -2,
            ),
        ],
    },
    "4.12": {
        "wrong": [
            ({"limit": 0.24, "factor": -5.86, "ends larger than 1": False}, "of four values"),
            ({"limit": 2.29, "factor": -5.86, "ends larger than 1": False}, "of one value, Euler's"),
            ({"limit": 1.78, "factor": -5.86, "ends larger than 1": False}, "For a zigzag they add up"),
            ({"limit": 0.97, "factor": 5.86, "ends larger than 1": False}, "a miss that overshoots"),
            ({"limit": 0.97, "factor": -6.86, "ends larger than 1": False}, "what the step adds"),
            ({"limit": 0.97, "factor": -2.74, "ends larger than 1": False}, "with the same sign"),
            ({"limit": 0.97, "factor": -5.86, "ends larger than 1": True}, "multiplies by a number"),
            ({"limit": 1.6, "factor": -5.86, "ends larger than 1": False}, "times too large"),
        ],
        "right": [
            {"limit": 0.97, "factor": -5.86, "ends larger than 1": False},
            {"limit": 1.0, "factor": -5.7, "ends larger than 1": False},
        ],
    },
}
