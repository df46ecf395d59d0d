"""Answers to chapter 13's exercises, all written before any of them was judged."""

import math
from fractions import Fraction

import numpy as np
import sympy
import torch
import torch.nn.functional as F

BANK = {}


# ---- 13.1

ALL = {"guided": 0.95, "w": 6.5, "calls": 80, "width": 0.25, "pull": 0.1}


def but(**changes):
    return ALL | changes


BANK["13.1"] = {
    "wrong": [
        but(guided=1.05),  # from the guess with words
        but(guided=0.75),  # the exaggerated difference alone
        but(guided=2.45),  # u + s c
        but(guided=-0.55),  # the wrong way
        but(guided=2.05),  # s c - u
        but(guided=0.3),  # not guided
        but(w=7.5),
        but(w=8.5),
        but(w=-6.5),
        but(w=5.5),
        but(calls=100),  # all steps guided
        but(calls=60),  # those of the guided steps alone
        but(calls=50),  # one a step
        but(calls=30),  # the guided steps
        but(calls=70),  # 40 % of the steps guided
        but(calls=20),  # the unguided steps
        but(width=0.0625),  # of the variances
        but(width=0.125),  # v^s over V^(s-1), as a width, of all data
        but(width=0.5),  # s = 2
        but(width=0.015625),  # the power s of the variance
        but(width=4.0),  # upside down
        but(width=0.11),  # of the density (13.9): its variance over V
        but(pull=0.9),
        but(pull=1.0),
        but(pull=10.0),
        but(pull=0.75),  # times the scale
        but(pull=-0.1),
        but(pull=10.0, guided=95.0),  # percent
    ],
    "right": [
        ALL,
        but(guided=0.2 * (1 - 7.5) + 0.3 * 7.5),
        but(guided=np.float64(0.95), w=np.float64(6.5)),
        but(width=Fraction(1, 4), pull=Fraction(1, 10)),
        but(calls=20 + 2 * 30),
        but(width=math.sqrt(0.25**2), pull=1 - 0.9),
        but(guided=float(torch.lerp(torch.tensor(0.2), torch.tensor(0.3), 7.5))),
        but(calls=80.0, w=6.4, width=0.248),  # within 4 %
    ],
}


# ---- 13.2

SCALES = {
    "c + (s - 1) * (c - u)": 7.5,
    "c - s * (u - c)": 8.5,
    "u - s * (c - u)": -7.5,
    "s * c + (s - 1) * u": 0,
    "(u + c) / 2 + s * (c - u)": 8,
    "(s * c - u) / (s - 1)": 7.5 / 6.5,
}
FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH = SCALES

BANK["13.2"] = {
    "wrong": [
        SCALES | {FIRST: 6.5},
        SCALES | {FIRST: 8.5},
        SCALES | {FIRST: 0},
        SCALES | {SECOND: 7.5},
        SCALES | {SECOND: -6.5},
        SCALES | {SECOND: 6.5},
        SCALES | {SECOND: 0},
        SCALES | {THIRD: 7.5},
        SCALES | {THIRD: -6.5},
        SCALES | {THIRD: -8.5},
        SCALES | {THIRD: 0},
        SCALES | {FOURTH: 7.5},
        SCALES | {FOURTH: 14},
        SCALES | {FIFTH: 7.5},
        SCALES | {FIFTH: 7},
        SCALES | {FIFTH: 0},
        SCALES | {SIXTH: 7.5},
        SCALES | {SIXTH: 6.5},
        SCALES | {SIXTH: 0},
        SCALES | {SIXTH: 1},
        SCALES | {SECOND: -6.5, FOURTH: 7.5},
    ],
    "right": [SCALES, dict(reversed(SCALES.items())), SCALES | {SIXTH: 1.15, FIFTH: 8.0}],
}


# ---- 13.3

x, a, s = sympy.symbols("x a s", real=True)
without = sympy.tanh(sympy.sqrt(a) * x / (1 - a))
of_plus = 1 / (1 + sympy.exp(-2 * sympy.sqrt(a) * x / (1 - a)))  # the probability of +1

BANK["13.3"] = {
    "wrong": [
        without,  # without words
        1 + 0 * x,  # with words
        s * (1 - without),  # the difference alone
        1 + s * (1 - without),  # from the guess with words
        without - s * (1 - without),  # the wrong way
        1 + s * (without - 1),  # halves swapped
        without + s,  # without the guess taken off
        without + s * without,
        sympy.tanh(x) + s * (1 - sympy.tanh(x)),  # without the noise level
        sympy.tanh(sympy.sqrt(a) * x) + s * (1 - sympy.tanh(sympy.sqrt(a) * x)),  # without the variance
        sympy.tanh(x / (1 - a)) + s * (1 - sympy.tanh(x / (1 - a))),  # without the shrinking
        sympy.tanh(a * x / (1 - a)) + s * (1 - sympy.tanh(a * x / (1 - a))),  # a for its root
        sympy.tanh(sympy.sqrt(a) * x / sympy.sqrt(1 - a)) * (1 - s) + s,  # the width for the variance
        of_plus + s * (1 - of_plus),  # the probability for the average
        sympy.tanh(2 * sympy.sqrt(a) * x / (1 - a)) * (1 - s) + s,  # a factor 2
        sympy.tanh(sympy.sqrt(a) * x / (2 * (1 - a))) * (1 - s) + s,  # a factor 1/2
        (1 - s) * without,  # the guess with words forgotten
        s * without + (1 - s),  # the weights exchanged
    ],
    "right": [
        without + s * (1 - without),
        (1 - s) * without + s,
        1 + (s - 1) * (1 - without),
        s - (s - 1) * (2 * of_plus - 1),
        1 + 2 * (s - 1) * (1 - of_plus),
        s
        + (1 - s)
        * (sympy.exp(2 * sympy.sqrt(a) * x / (1 - a)) - 1)
        / (sympy.exp(2 * sympy.sqrt(a) * x / (1 - a)) + 1),
        s + (1 - s) * sympy.sinh(sympy.sqrt(a) * x / (1 - a)) / sympy.cosh(sympy.sqrt(a) * x / (1 - a)),
    ],
}


# ---- 13.4


def sloped(what, factor):
    """An answer: noise plus s times a factor of alpha bar times the slope of what(logits, c)."""

    def answer(noise, x_t, alpha_bar, logits_of, c, s):
        with torch.enable_grad():
            points = x_t.detach().clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(what(logits_of(points), c), points)
        return noise + s * factor(alpha_bar) * slope

    return answer


def wanted(logits, c):
    return logits.log_softmax(1).gather(1, c[:, None]).sum()


def minus_root(alpha_bar):
    return -((1 - alpha_bar) ** 0.5)


def without_scale(noise, x_t, alpha_bar, logits_of, c, s):
    return sloped(wanted, minus_root)(noise, x_t, alpha_bar, logits_of, c, 1.0)


def scale_less_one(noise, x_t, alpha_bar, logits_of, c, s):
    return sloped(wanted, minus_root)(noise, x_t, alpha_bar, logits_of, c, s - 1)


def slope_alone(noise, x_t, alpha_bar, logits_of, c, s):
    return sloped(wanted, minus_root)(torch.zeros_like(noise), x_t, alpha_bar, logits_of, c, s)


def noise_scaled(noise, x_t, alpha_bar, logits_of, c, s):
    return sloped(wanted, minus_root)((1 - s) * noise, x_t, alpha_bar, logits_of, c, s)


def everywhere_first_class(noise, x_t, alpha_bar, logits_of, c, s):
    return sloped(wanted, minus_root)(noise, x_t, alpha_bar, logits_of, torch.zeros_like(c), s)


def first_point_for_all(noise, x_t, alpha_bar, logits_of, c, s):
    return sloped(wanted, minus_root)(noise, x_t, alpha_bar, logits_of, c[:1].expand_as(c), s)


def no_guidance(noise, x_t, alpha_bar, logits_of, c, s):
    return noise


def picture_for_noise(noise, x_t, alpha_bar, logits_of, c, s):
    guided = sloped(wanted, minus_root)(noise, x_t, alpha_bar, logits_of, c, s)
    return (x_t - (1 - alpha_bar) ** 0.5 * guided) / alpha_bar**0.5


def by_cross_entropy(noise, x_t, alpha_bar, logits_of, c, s):
    with torch.enable_grad():
        points = x_t.detach().requires_grad_()
        (uphill,) = torch.autograd.grad(F.cross_entropy(logits_of(points), c, reduction="sum"), points)
    return noise + s * math.sqrt(1 - alpha_bar) * uphill


def point_by_point(noise, x_t, alpha_bar, logits_of, c, s):
    slopes = []
    with torch.enable_grad():
        for point, wish in zip(x_t, c.tolist()):
            alone = point.detach()[None].requires_grad_(True)
            (slope,) = torch.autograd.grad(torch.log_softmax(logits_of(alone), dim=-1)[0, wish], alone)
            slopes.append(slope[0])
    return noise - s * (1 - alpha_bar) ** 0.5 * torch.stack(slopes)


def by_backward(noise, x_t, alpha_bar, logits_of, c, s):
    with torch.set_grad_enabled(True):
        points = x_t.clone().detach().requires_grad_(True)
        logits = logits_of(points)
        (logits.gather(1, c.view(-1, 1)).sum() - logits.logsumexp(dim=1).sum()).backward()
    return noise - s * np.sqrt(1 - alpha_bar) * points.grad


def with_ones(noise, x_t, alpha_bar, logits_of, c, s):
    with torch.enable_grad():
        points = x_t.detach().requires_grad_(True)
        chosen = logits_of(points).softmax(1).log()[range(len(c)), c]
        (slope,) = torch.autograd.grad(chosen, points, grad_outputs=torch.ones_like(chosen))
    return noise - (s * (1 - alpha_bar) ** 0.5) * slope


def by_one_hot(noise, x_t, alpha_bar, logits_of, c, s):
    with torch.enable_grad():
        points = x_t.detach().requires_grad_(True)
        log_p = logits_of(points).log_softmax(-1)
        total = torch.einsum("bk,bk->", log_p, F.one_hot(c, log_p.shape[1]).to(log_p.dtype))
        slope = torch.autograd.grad(total, points)[0]
    return noise.sub((1 - alpha_bar) ** 0.5 * slope, alpha=s)


BANK["13.4"] = {
    "wrong": [
        sloped(wanted, lambda bar: (1 - bar) ** 0.5),  # the sign
        sloped(wanted, lambda bar: -1.0),  # a score
        sloped(wanted, lambda bar: -(1 - bar)),  # the variance
        sloped(wanted, lambda bar: -(bar**0.5)),  # the picture's share
        sloped(wanted, lambda bar: -((1 - bar) ** -0.5)),  # divided
        sloped(wanted, lambda bar: -(((1 - bar) / bar) ** 0.5)),  # in the units of sigma
        sloped(lambda logits, c: logits.gather(1, c[:, None]).sum(), minus_root),  # a logit
        sloped(lambda logits, c: logits.softmax(1).gather(1, c[:, None]).sum(), minus_root),  # P
        sloped(lambda logits, c: logits.log_softmax(1).gather(1, c[:, None]).mean(), minus_root),  # the mean
        sloped(lambda logits, c: F.cross_entropy(logits, c), minus_root),  # both the sign and the mean
        sloped(lambda logits, c: logits.log_softmax(0).gather(1, c[:, None]).sum(), minus_root),  # the axis
        sloped(lambda logits, c: logits.log_softmax(1).sum(), minus_root),  # all classes
        sloped(lambda logits, c: logits.log_softmax(1).amax(1).sum(), minus_root),  # the likeliest class
        sloped(lambda logits, c: F.logsigmoid(logits).gather(1, c[:, None]).sum(), minus_root),  # yes or no
        without_scale,
        scale_less_one,
        slope_alone,
        noise_scaled,
        everywhere_first_class,
        first_point_for_all,
        no_guidance,
        picture_for_noise,
    ],
    "right": [
        sloped(wanted, minus_root),
        by_cross_entropy,
        point_by_point,
        by_backward,
        with_ones,
        by_one_hot,
        sloped(lambda logits, c: -F.nll_loss(logits.log_softmax(1), c, reduction="sum"), minus_root),
    ],
}


# ---- 13.5

v, V, S, g = sympy.symbols("v V s g", positive=True)
ratio = (v + g**2) / (V + g**2)

BANK["13.5"] = {
    "wrong": [
        v * (v / V) ** (S - 1),  # guided to the end
        v,  # not guided
        v * ratio**S,  # s for s - 1
        (v + g**2) * ratio ** (S - 1),  # the spread at g
        v * (v / V) ** (S - 1) / ratio ** (S - 1),  # guided below g
        sympy.sqrt(v) * ratio ** ((S - 1) / 2),  # the width
        v * ratio ** ((S - 1) / 2),  # half of the power
        v * ratio ** (2 * (S - 1)),  # twice
        v * ratio ** (1 - S),  # upside down
        v * ((v + g) / (V + g)) ** (S - 1),  # g for its square
        V * ratio ** (S - 1),  # of all data
        V * ratio**S,
        1 / (S / v - (S - 1) / V),  # the density (13.9)
        1 / (S / (v + g**2) - (S - 1) / (V + g**2)),  # that of level g
        (v + g**2) ** S / (V + g**2) ** (S - 1),  # the function itself, at g
        v * (g**2 / (V + g**2)) ** (S - 1),  # the class's width forgotten
        v**S / (V + g**2) ** (S - 1),  # g forgotten above
        v * ratio ** (S + 1),
    ],
    "right": [
        v * ratio ** (S - 1),
        v * ((V + g**2) / (v + g**2)) ** (1 - S),
        sympy.exp(sympy.log(v) + (S - 1) * (sympy.log(v + g**2) - sympy.log(V + g**2))),
        (v + g**2) ** S / (V + g**2) ** (S - 1) * v / (v + g**2),
        v * (1 - (V - v) / (V + g**2)) ** (S - 1),
        (sympy.sqrt(v) * ratio ** ((S - 1) / 2)) ** 2,
    ],
}


# ---- 13.6


def whole(sizes):
    return sizes.quantile(0.95, dim=1).clamp(min=1)


def predictor(order=lambda p, n: (n, p), mix=None, bound=whole, cut=True, divide=True, back=None):
    """An answer, with any of its lines exchanged. The first and the second half are u and c."""
    mix = mix or (lambda u, c, s: u + s * (c - u))
    back = back or (lambda x, picture, bar: (x - bar**0.5 * picture) / (1 - bar) ** 0.5)

    def predict(unet, prompt, negative, s, alpha_bar, x, t):
        u, c = unet(torch.cat([x, x]), t, torch.cat(order(prompt, negative))).chunk(2)
        picture = (x - (1 - alpha_bar) ** 0.5 * mix(u, c, s)) / alpha_bar**0.5
        edge = bound(picture.abs().flatten(1)).reshape(-1, 1, 1, 1)
        picture = picture.clamp(-edge, edge) if cut else picture
        return back(x, picture / edge if divide else picture, alpha_bar)

    return predict


def given_order(prompt, negative):
    return prompt, negative


def both_prompt(prompt, negative):
    return prompt, prompt


def unbounded(unet, prompt, negative, s, alpha_bar, x, t):
    u, c = unet(torch.cat([x, x]), t, torch.cat([negative, prompt])).chunk(2)
    return u + s * (c - u)


def interleaved(unet, prompt, negative, s, alpha_bar, x, t):
    contexts = torch.stack([negative, prompt], dim=1).flatten(0, 1)

    def mixed_up(both, t, _):
        return unet(both, t, contexts)

    return predictor()(mixed_up, prompt, negative, s, alpha_bar, x, t)


def two_calls(unet, prompt, negative, s, alpha_bar, x, t):
    without, with_words = unet(x, t, negative), unet(x, t, prompt)
    guided = (1 - s) * without + s * with_words
    root, rest = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    picture = (x - rest * guided) / root
    bound = torch.quantile(picture.flatten(1).abs(), 0.95, dim=1, keepdim=True)[:, :, None, None]
    bound = torch.maximum(bound, torch.ones_like(bound))
    return (x - root * picture.clamp(-bound, bound) / bound) / rest


def names_exchanged(unet, prompt, negative, s, alpha_bar, x, t):
    with_words, without = unet(torch.cat([x, x]), t, torch.cat([prompt, negative])).chunk(2)
    guided = without + s * (with_words - without)
    picture = (x - (1 - alpha_bar) ** 0.5 * guided) / alpha_bar**0.5
    bound = picture.abs().flatten(1).quantile(0.95, dim=1)[:, None, None, None].clamp(min=1.0)
    return (x - alpha_bar**0.5 * (picture / bound).clamp(-1, 1)) / (1 - alpha_bar) ** 0.5


def one_by_one(unet, prompt, negative, s, alpha_bar, x, t):
    done = []
    for i in range(len(x)):
        u, c = unet(torch.cat([x[i : i + 1]] * 2), t, torch.stack([negative[i], prompt[i]])).chunk(2)
        picture = (x[i : i + 1] - (1 - alpha_bar) ** 0.5 * (u + s * (c - u))) / alpha_bar**0.5
        bound = max(float(picture.abs().quantile(0.95)), 1)
        picture = picture.clamp(-bound, bound) / bound
        done.append((x[i : i + 1] - alpha_bar**0.5 * picture) / (1 - alpha_bar) ** 0.5)
    return torch.cat(done)


def by_numpy(unet, prompt, negative, s, alpha_bar, x, t):
    u, c = unet(x.repeat(2, 1, 1, 1), t, torch.cat((negative, prompt), dim=0)).chunk(2, dim=0)
    picture = (x - (1 - alpha_bar) ** 0.5 * torch.lerp(u, c, s)) / alpha_bar**0.5
    bound = np.maximum(1, np.percentile(picture.abs().numpy(), 95, axis=(1, 2, 3), keepdims=True))
    bound = torch.from_numpy(bound).to(picture.dtype)
    return (x - alpha_bar**0.5 * picture.clamp(-bound, bound) / bound) / (1 - alpha_bar) ** 0.5


BANK["13.6"] = {
    "wrong": [
        predictor(bound=lambda sizes: sizes.quantile(0.95, dim=1)),  # the order alone
        predictor(given_order),  # the bound alone
        predictor(both_prompt),
        predictor(lambda prompt, negative: (negative, negative)),
        predictor(bound=lambda sizes: sizes.quantile(0.95).clamp(min=1).expand(len(sizes))),  # of all
        predictor(bound=lambda sizes: sizes.quantile(0.95, dim=1).clamp(max=1)),  # a ceiling
        predictor(bound=lambda sizes: torch.ones(len(sizes))),  # cut at 1
        predictor(bound=lambda sizes: sizes.amax(1).clamp(min=1)),  # the largest number
        predictor(bound=lambda sizes: sizes.mean(1).clamp(min=1)),  # the mean
        predictor(bound=lambda sizes: sizes.quantile(0.05, dim=1).clamp(min=1)),  # the other end
        predictor(bound=lambda sizes: sizes.quantile(0.95, dim=1) + 1),
        predictor(bound=lambda sizes: sizes.quantile(0.95, dim=1).clamp(min=0.5)),  # too low a floor
        predictor(cut=False),
        predictor(divide=False),
        predictor(cut=False, divide=False),
        unbounded,
        predictor(back=lambda x, picture, bar: picture),
        predictor(
            back=lambda x, picture, bar: (x - (1 - bar) ** 0.5 * picture) / bar**0.5
        ),  # roots exchanged
        predictor(back=lambda x, picture, bar: x - bar**0.5 * picture),  # not divided
        predictor(mix=lambda u, c, s: c + s * (c - u)),
        predictor(mix=lambda u, c, s: c + s * (u - c)),
        predictor(mix=lambda u, c, s: u + s * c),
        predictor(given_order, mix=lambda u, c, s: u - s * (c - u)),  # the sign instead of the order
        interleaved,
    ],
    "right": [
        predictor(),
        two_calls,
        names_exchanged,
        one_by_one,
        by_numpy,
        predictor(given_order, mix=lambda u, c, s: c + s * (u - c)),
    ],
}


# ---- 13.7


def split(u, c, onto=lambda u, c: c):
    """The difference, and its part along a line, each picture by itself."""
    line, difference = onto(u, c), c - u
    along = (difference * line).sum((1, 2, 3), keepdim=True) / (line * line).sum((1, 2, 3), keepdim=True)
    return difference, along * line


def mixed(start=lambda u, c: c, times=lambda s: s - 1, across=1.0, onto=lambda u, c: c):
    def answer(u, c, s, share):
        difference, parallel = split(u, c, onto)
        return start(u, c) + times(s) * (across * (difference - parallel) + share * parallel)

    return answer


def share_on_the_other(u, c, s, share):
    difference, parallel = split(u, c)
    return c + (s - 1) * (parallel + share * (difference - parallel))


def parts_not_split(u, c, s, share):
    difference, parallel = split(u, c)
    return c + (s - 1) * (difference + share * parallel)


def share_taken_off(u, c, s, share):
    difference, parallel = split(u, c)
    return c + (s - 1) * (difference - share * parallel)


def root_length(u, c, s, share):
    difference = c - u
    along = (difference * c).sum((1, 2, 3), keepdim=True) / c.square().sum((1, 2, 3), keepdim=True).sqrt()
    return c + (s - 1) * (difference + (share - 1) * along * c)


def no_length(u, c, s, share):
    difference = c - u
    along = (difference * c).sum((1, 2, 3), keepdim=True)
    return c + (s - 1) * (difference + (share - 1) * along * c)


def along_axes(*axes):
    def answer(u, c, s, share):
        difference = c - u
        along = (difference * c).sum(axes, keepdim=True) / (c * c).sum(axes, keepdim=True)
        return c + (s - 1) * (difference + (share - 1) * along * c)

    return answer


def by_cosine(u, c, s, share):
    difference = c - u
    cosine = F.cosine_similarity(difference.flatten(1), c.flatten(1))[:, None, None, None]
    return c + (s - 1) * (difference + (share - 1) * cosine * c)


def plain_guidance(u, c, s, share):
    return u + s * (c - u)


def guidance_by_share(u, c, s, share):
    return c + share * (s - 1) * (c - u)


def of_the_two_guesses(u, c, s, share):
    """The dot product of the two guesses, not of the difference."""
    along = (u * c).sum((1, 2, 3), keepdim=True) / (c * c).sum((1, 2, 3), keepdim=True)
    return c + (s - 1) * (c - u + (share - 1) * along * c)


def difference_turned(u, c, s, share):
    difference, parallel = split(c, u, lambda u, c: u)
    return c + (s - 1) * (difference - parallel + share * parallel)


def by_vectors(u, c, s, share):
    flat, line = (c - u).flatten(1), c.flatten(1)
    line = line / line.norm(dim=1, keepdim=True)
    parallel = (flat * line).sum(1, keepdim=True) * line
    return c + ((s - 1) * (flat - parallel + share * parallel)).view_as(c)


def by_einsum(u, c, s, share):
    difference = c - u
    along = torch.einsum("bchw,bchw->b", difference, c) / torch.einsum("bchw,bchw->b", c, c)
    parallel = along.reshape(-1, 1, 1, 1) * c
    return u + s * difference - (s - 1) * (1 - share) * parallel


def picture_by_picture(u, c, s, share):
    out = []
    for without, words in zip(u, c):
        difference = words - without
        parallel = torch.dot(difference.flatten(), words.flatten()) / words.pow(2).sum() * words
        out.append(words + (s - 1) * (difference - parallel) + (s - 1) * share * parallel)
    return torch.stack(out)


def by_double(u, c, s, share):
    u64, c64 = u.double(), c.double()
    difference, parallel = split(u64, c64)
    return (c64 + (s - 1) * (difference - (1 - share) * parallel)).to(c.dtype)


def by_norms(u, c, s, share):
    difference = c - u
    lengths = torch.linalg.vector_norm(c, dim=(1, 2, 3), keepdim=True)
    unit = c / lengths
    parallel = (difference * unit).sum(dim=(1, 2, 3), keepdim=True) * unit
    return c + (s - 1) * ((difference - parallel) + share * parallel)


def by_matrices(u, c, s, share):
    line, flat = c.flatten(1)[:, :, None], (c - u).flatten(1)[:, :, None]
    parallel = line @ (line.mT @ flat) / (line.mT @ line)
    return c + ((s - 1) * (flat + (share - 1) * parallel)).reshape(c.shape)


BANK["13.7"] = {
    "wrong": [
        mixed(start=lambda u, c: u),
        mixed(times=lambda s: s),
        mixed(start=lambda u, c: u, times=lambda s: s),
        mixed(onto=lambda u, c: u),
        mixed(onto=lambda u, c: c - u),
        mixed(onto=lambda u, c: (u + c) / 2),
        mixed(across=0.0),
        mixed(start=lambda u, c: 0 * c),
        share_on_the_other,
        parts_not_split,
        share_taken_off,
        root_length,
        no_length,
        along_axes(0, 1, 2, 3),
        along_axes(1),
        along_axes(2, 3),
        along_axes(3),
        along_axes(0),
        by_cosine,
        plain_guidance,
        guidance_by_share,
        of_the_two_guesses,
        difference_turned,
    ],
    "right": [mixed(), by_vectors, by_einsum, picture_by_picture, by_double, by_norms, by_matrices],
}


# ---- 13.8


def constant(value):
    return lambda t: value


BANK["13.8"] = {
    "wrong": [
        constant(1),
        constant(1.3),
        constant(2),
        constant(4),
        constant(7.5),
        constant(0),
        lambda t: 2.0 if t > 400 else 1.0,  # early
        lambda t: 2.0 if t > 200 else 1.0,
        lambda t: 7.5 if t > 400 else 1.0,
        lambda t: 4.0 if 150 <= t <= 400 else 1.0,  # the middle
        lambda t: 2.0 if t <= 800 else 1.0,  # begun too soon
        lambda t: 1 + t / 999,  # the wrong ramp
        lambda t: 1 + 6.5 * math.sin(math.pi * t / 999),  # a hill
        lambda t: 7.5 if t <= 500 else 1.0,  # too much, too soon
        lambda t: -1.0 if t > 500 else 1.0,  # out of the range
        lambda t: 40.0 if t <= 50 else 1.0,  # out of the range
        lambda t: 0.0 if t > 500 else 1.0,  # the class not heard at first
    ],
    "right": [
        lambda t: 2.0 if t <= 200 else 1.0,
        lambda t: 2 if t < 150 else 1,
        lambda t: 3.0 if t <= 150 else 1.0,
        lambda t: 1 + 2 * max(0.0, 1 - t / 200),
        lambda t: 5.0 if t <= 100 else 1.0,
        lambda t: 1.0 if t > 180 else 2.5,
    ],
}


# ---- 13.9


def tally(before, after):
    """Both right, only the second, only the first, neither."""
    b, a = np.array(before), np.array(after)
    return tuple(int(x.sum()) for x in (b & a, ~b & a, b & ~a, ~b & ~a))


def tosses(k, n):
    """The chance of k or more of n."""
    return float(sum(Fraction(math.comb(n, i), 2**n) for i in range(k, n + 1)))


def exact(before, after, allowed=0.05, sides=2):
    _, gained, lost, _ = tally(before, after)
    return bool(sides * tosses(max(gained, lost), gained + lost) <= allowed)


def half_of_the_last(before, after):
    """The sign test that counts the observed result half."""
    _, gained, lost, _ = tally(before, after)
    n, far = gained + lost, max(gained, lost)
    return 2 * tosses(far, n) - math.comb(n, far) / 2**n <= 0.05


def by_normal(before, after):
    _, gained, lost, _ = tally(before, after)
    return abs(gained - lost) > 1.96 * math.sqrt(gained + lost)


def by_spread_of_differences(before, after):
    """A t-like test: the mean of the pairs' differences over its standard error."""
    change = np.array(after, float) - np.array(before, float)
    return bool(abs(change.mean()) > 1.96 * change.std(ddof=1) / len(change) ** 0.5)


def by_flips(before, after, times=400):
    """Exchanges partners by a coin, and looks how often the counts then differ by as much."""
    change = np.array(after, int) - np.array(before, int)
    coins = np.random.default_rng(0).choice([-1, 1], (times, len(change)))
    return bool((np.abs(coins @ change) >= abs(change.sum())).mean() <= 0.05)


def unpaired_shuffle(before, after, times=200):
    rows, rng = np.array([before, after], int).ravel(), np.random.default_rng(0)
    seen = abs(sum(after) - sum(before))
    found = []
    for _ in range(times):
        rng.shuffle(rows)
        found.append(abs(rows[: len(before)].sum() - rows[len(before) :].sum()) >= seen)
    return bool(np.mean(found) <= 0.05)


def of_shares(before, after, z=1.96):
    n, p, q = len(before), np.mean(before), np.mean(after)
    return bool(abs(p - q) > z * math.sqrt((p * (1 - p) + q * (1 - q)) / n))


def error_bars(before, after):
    """Bars of 1.96 standard errors that don't touch."""
    reach = [1.96 * math.sqrt(np.mean(row) * (1 - np.mean(row)) / len(row)) for row in (before, after)]
    return bool(abs(np.mean(before) - np.mean(after)) > sum(reach))


def outside_the_first(before, after):
    """Whether the second share lies outside the interval of the first."""
    n, p = len(before), np.mean(before)
    return bool(abs(np.mean(after) - p) > 1.96 * math.sqrt(p * (1 - p) / n))


def correlated(before, after):
    """Pairs, but the wrong thing about them: that the rows are not copies."""
    _, gained, lost, _ = tally(before, after)
    return gained + lost > 0.1 * len(before)


BANK["13.9"] = {
    "wrong": [
        lambda before, after: True,
        lambda before, after: False,
        lambda before, after: sum(before) != sum(after),
        lambda before, after: before != after,
        lambda before, after: abs(sum(before) - sum(after)) > 5,
        lambda before, after: abs(sum(before) - sum(after)) > 0.1 * len(before),
        exact,
        by_flips,
        lambda before, after: exact(before, after, sides=1),
        lambda before, after: exact(before, after, allowed=0.001),
        lambda before, after: exact(before, after, allowed=0.5),
        lambda before, after: not exact(before, after),
        lambda before, after: sum(after) > sum(before) and exact(before, after),  # one direction
        lambda before, after: tosses(tally(before, after)[1], len(before)) <= 0.05,  # all pairs as tosses
        lambda before, after: tally(before, after)[1] > 2 * tally(before, after)[2],  # a ratio
        unpaired_shuffle,
        of_shares,
        lambda before, after: of_shares(before, after, z=1.0),
        error_bars,
        outside_the_first,
        correlated,
    ],
    "right": [half_of_the_last, by_normal, by_spread_of_differences],
}
