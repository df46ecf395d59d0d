"""Answers to chapter 14's exercises, all written before any of them was judged."""

import math
from fractions import Fraction

import numpy as np
import sympy
import torch

BANK = {}


# ---- 14.1

ALL = {
    "settled": 1151,
    "forgets": 0.003994,
    "begin": 3.119,
    "zero": 15.57,
    "line": 0.338,
    "shorter": 0.75,
    "guided": 4.4,
}


def but(**changes):
    return ALL | changes


BANK["14.1"] = {
    "wrong": [
        but(settled=2303),
        but(settled=1000),  # 1 / (rate * kappa)
        but(settled=500),
        but(settled=11),  # kappa = 1
        but(settled=346),  # one half
        but(guided=0.8),
        but(guided=6),
        but(guided=5.6),
        but(guided=2),
        but(guided=-1.6),  # the two exchanged
        but(forgets=0.001),
        but(forgets=0.00025),
        but(forgets=0.9960),  # d, not 1 - d
        but(forgets=0.002),  # by the root
        but(forgets=0.016),
        but(begin=3.81),
        but(begin=2.77),
        but(begin=3.466),
        but(begin=4.159),  # ln 64
        but(begin=6.24),  # the sum of the two processes
        but(zero=1),
        but(zero=30.1),
        but(zero=3.25),
        but(zero=0.52),  # multiplied by the scale
        but(zero=31.1),  # without the halves
        but(line=0.5),
        but(line=0.66),
        but(line=0.25),
        but(line=0.98),
        but(line=86.6),  # the sum
        but(shorter=0.5),
        but(shorter=0.87),
        but(shorter=1.33),  # upside down
        but(shorter=2),
        but(shorter=1),
    ],
    "right": [
        ALL,
        but(settled=1150, guided=0.8 + 3 * 1.2),
        but(forgets=1 - 0.999**4, begin=(math.log(32) + math.log(16)) / 2),
        but(shorter=Fraction(3, 4), zero=np.float64(0.5 + 0.5 * 5.49**2)),
    ],
}


# ---- 14.2

WHICH = {
    "A": "schedule stepped twice",
    "B": "noise drawn anew",
    "C": "labels always dropped",
    "D": "one timestep a batch",
    "E": "average never arrives",
    "F": "latents not scaled",
}


def taken(**changes):
    return WHICH | changes


BANK["14.2"] = {
    "wrong": [
        taken(B="average never arrives", E="noise drawn anew"),
        taken(C="schedule stepped twice", A="labels always dropped"),
        taken(B="latents not scaled", F="noise drawn anew"),
        taken(E="latents not scaled", F="average never arrives"),
        taken(D="schedule stepped twice", A="one timestep a batch"),
        taken(C="latents not scaled", F="labels always dropped"),
        taken(E="labels always dropped", C="average never arrives"),
        taken(A="average never arrives", E="schedule stepped twice"),
        taken(E="sound"),
        dict(zip(WHICH, reversed(list(WHICH.values())))),
    ],
    "right": [WHICH, list(WHICH.values()), tuple(WHICH.values())],
}


# ---- 14.3 and 14.4

S, d, e = sympy.symbols("S d e", positive=True)
root = sympy.sqrt(S)
WEIGHT = (1 + root) ** 2
BANK["14.3"] = {
    "wrong": [
        WEIGHT,  # one answer
        (WEIGHT, 2, 1),
        (2, WEIGHT),  # the other way round
        (S, 2),
        (S + 1, 1),
        (1 / S, 2),
        (1 + root, 2),
        ((1 + S) ** 2, 2),
        ((1 + 1 / root) ** 2, 2),
        ((1 - root) ** 2, 2),
        ((1 - root) ** 2 + 4, 2),
        (1 / WEIGHT, 2),  # t squared
        (1 / (1 + root), 2),
        (root / (1 + root), 2),  # 1 - t
        (S / WEIGHT, 2),
        ((S + 1) / 2, sympy.Rational(1, 2)),
        (2 * WEIGHT, 4),
        (1 + root + S, sympy.Rational(3, 2)),
        (4 * S, 4),
        (sympy.Integer(1), 1),
        (WEIGHT, 4),
        (WEIGHT, 1),
        (WEIGHT, sympy.sqrt(2)),
        (WEIGHT, sympy.Rational(1, 2)),  # upside down
        (WEIGHT, 1 + 2 * root / (1 + S)),  # the factor at S
    ],
    "right": [
        (WEIGHT, 2),
        (S + 2 * root + 1, 2.0),
        [(1 + 1 / root) ** 2 * S, sympy.Integer(2)],
        lambda S: ((1 + S**0.5) ** 2, 2),
    ],
}
BANK["14.4"] = {
    "wrong": [
        d * (1 - e) / (d - e),
        (1 - d) / (e - d),
        e / (e - d),
        e * (1 - d) / (e * (1 - d) + d * (1 - e)),
        (e - d) / (e * (1 - d)),
        sympy.log(d) / (sympy.log(d) - sympy.log(e)),
        (1 - d) / (1 - e),
        (1 - e) / (1 - d),
        d / (d + e),
        e / (d + e),
        e * (1 - d) / (d - e),  # the sign
        2 - d / e,
        (1 + e) / (e - d),
        sympy.Rational(1, 2),
        sympy.Integer(2),
    ],
    "right": [
        e * (1 - d) / (e - d),
        (1 / d - 1) / (1 / d - 1 / e),
        1 / (1 - (d / (1 - d)) / (e / (1 - e))),
        lambda d, e: (e - d * e) / (e - d),
    ],
}


# ---- 14.5


def loss_of(guess, x0, noise, t, bars, contexts):
    bar = bars[t]
    x_t = bar.sqrt() * x0 + (1 - bar).sqrt() * noise
    return (guess(x_t, torch.full((len(x0),), t), contexts) - noise) ** 2


def judged(
    ratio, own=lambda i: i, told=lambda right, i: right[i], usual=lambda i, n: i, every=lambda times: times
):
    def ratios(guess, x0, noise, times, bars, right, wrong):
        out = {}
        for name, (which, contexts) in wrong.items():
            i, j = own(which), usual(which, len(x0))
            lost = [loss_of(guess, x0[i], noise[i], t, bars, contexts) for t in every(times)]
            base = [loss_of(guess, x0[j], noise[j], t, bars, told(right, j)) for t in every(times)]
            out[name] = float(ratio(torch.stack(lost), torch.stack(base)))
        return out

    return ratios


def quotient(a, b):
    return a.mean() / b.mean()


def one_network_call(guess, x0, noise, times, bars, right, wrong):
    """Right: all timesteps of an attribute in one batch."""
    out = {}
    for name, (which, contexts) in wrong.items():
        t = torch.tensor(times).repeat_interleave(len(which))
        z, e = x0[which].repeat(len(times), 1, 1, 1), noise[which].repeat(len(times), 1, 1, 1)
        bar = bars[t].view(-1, 1, 1, 1)
        x_t = bar**0.5 * z + (1 - bar) ** 0.5 * e
        errors = [
            (guess(x_t, t, c.repeat(len(times), 1, 1)) - e).pow(2).mean() for c in (contexts, right[which])
        ]
        out[name] = float(errors[0] / errors[1])
    return out


def of_the_picture(guess, x0, noise, times, bars, right, wrong):
    """Wrong: the error of x_0 instead of the noise's."""
    out = {}
    for name, (which, contexts) in wrong.items():
        parts = []
        for c in (contexts, right[which]):
            total = 0
            for t in times:
                total += loss_of(guess, x0[which], noise[which], t, bars, c).mean() * (1 - bars[t]) / bars[t]
            parts.append(float(total))
        out[name] = parts[0] / parts[1]
    return out


def of_all_attributes(guess, x0, noise, times, bars, right, wrong):
    each = judged(quotient)(guess, x0, noise, times, bars, right, wrong)
    return sum(each.values()) / len(each)


BANK["14.5"] = {
    "wrong": [
        judged(lambda a, b: b.mean() / a.mean()),
        judged(lambda a, b: a.mean() - b.mean()),
        judged(lambda a, b: a.mean() / b.mean() - 1),
        judged(lambda a, b: (a / b).mean()),
        judged(lambda a, b: (a.mean((2, 3, 4)) / b.mean((2, 3, 4))).mean()),
        judged(lambda a, b: (a.mean((1, 2, 3, 4)) / b.mean((1, 2, 3, 4))).mean()),
        judged(lambda a, b: quotient(a, b).sqrt()),
        judged(lambda a, b: a.sqrt().mean() / b.sqrt().mean()),
        judged(lambda a, b: quotient(a, b).log()),
        judged(lambda a, b: 100 * quotient(a, b)),
        judged(lambda a, b: a.mean()),
        judged(lambda a, b: a.sum() / b.sum(), usual=lambda i, n: torch.arange(n)),
        judged(quotient, usual=lambda i, n: torch.arange(n)),
        judged(quotient, own=lambda i: torch.arange(len(i)), usual=lambda i, n: torch.arange(len(i))),
        judged(quotient, told=lambda right, i: right[: len(i)]),  # the contexts of other pictures
        judged(quotient, every=lambda times: times[:1]),
        judged(quotient, every=lambda times: times[-1:]),
        of_the_picture,
        of_all_attributes,
    ],
    "right": [judged(quotient), judged(lambda a, b: a.sum() / b.sum()), one_network_call],
}


# ---- 14.6


def made(x_of, drop=lambda coins, p: coins < p, turned=False):
    def prepare(latents, contexts, empty, scale, p, coins, t, noise, bars):
        bar = bars[t].view(-1, 1, 1, 1)
        x_t = x_of(latents, noise, scale, bar)
        drop_it = drop(coins, p).reshape(-1, 1, 1)
        return x_t, torch.where(drop_it, *((contexts, empty) if turned else (empty, contexts)))

    return prepare


def fine(z, n, s, bar):
    return (bar**0.5) * (s * z) + ((1 - bar) ** 0.5) * n


def one(coins, p):
    return (coins[0] < p).expand(len(coins))


def by_products(latents, contexts, empty, scale, p, coins, t, noise, bars):
    bar = torch.stack([bars[i] for i in t])[:, None, None, None]
    left = (coins < p).float()[:, None, None]
    return fine(latents, noise, scale, bar), left * empty + (1 - left) * contexts


BANK["14.6"] = {
    "wrong": [
        made(lambda z, n, s, bar: s * (bar.sqrt() * z + (1 - bar).sqrt() * n)),
        made(fine, one),
        made(lambda z, n, s, bar: bar.sqrt() * z + (1 - bar).sqrt() * n),
        made(lambda z, n, s, bar: bar.sqrt() * z / s + (1 - bar).sqrt() * n),
        made(lambda z, n, s, bar: bar.sqrt() * z + (1 - bar).sqrt() * s * n),
        made(lambda z, n, s, bar: (bar.sqrt() * z + (1 - bar).sqrt() * n) / s),
        made(lambda z, n, s, bar: bar * s * z + (1 - bar) * n),  # without roots
        made(lambda z, n, s, bar: (1 - bar).sqrt() * s * z + bar.sqrt() * n),
        made(lambda z, n, s, bar: s * z + n),
        made(lambda z, n, s, bar: (bar * s).sqrt() * z + (1 - bar).sqrt() * n),
        made(fine, lambda c, p: c > p),
        made(fine, turned=True),
        made(fine, lambda c, p: (c.mean() < p).expand(len(c))),
        made(fine, lambda c, p: (c < p).any().expand(len(c))),
        made(fine, lambda c, p: (c < p).all().expand(len(c))),
        made(fine, lambda c, p: c < 0 * p),  # never
        made(fine, lambda c, p: c < 1 + p),  # always
        made(lambda z, n, s, bar: fine(z, n, s, bar[:1])),  # one timestep
    ],
    "right": [made(fine), by_products, made(fine, lambda c, p: ~(c >= p))],
}


# ---- 14.7


def mean_of(gradients, weights, total):
    out = [torch.zeros_like(part) for part in gradients[0]]
    for weight, parts in zip(weights, gradients):
        for i, part in enumerate(parts):
            out[i] = out[i] + weight * part / total
    return out


def norm(parts):
    return math.sqrt(sum(float((part**2).sum()) for part in parts))


def limited(parts, r):
    length = norm(parts)
    return [part * r / length for part in parts] if length > r else parts


def by_power(factor):
    def answer(g, s, r):
        parts = mean_of(g, s, sum(s))
        return [part * factor(norm(parts), r) for part in parts]

    return answer


def turned_weights(g, s, r):
    weights = [1 / size for size in s]
    return limited(mean_of(g, weights, sum(weights)), r)


BANK["14.7"] = {
    "wrong": [
        lambda g, s, r: limited(mean_of(g, [1] * len(s), len(s)), r),
        lambda g, s, r: mean_of(g, s, sum(s)),
        lambda g, s, r: mean_of([limited(parts, r) for parts in g], s, sum(s)),
        lambda g, s, r: mean_of([limited(parts, r) for parts in g], [1] * len(s), len(s)),
        lambda g, s, r: [limited([part], r)[0] for part in mean_of(g, s, sum(s))],
        lambda g, s, r: [part.clamp(-r, r) for part in mean_of(g, s, sum(s))],
        lambda g, s, r: limited(mean_of(g, [1] * len(s), 1), r),
        lambda g, s, r: limited(mean_of(g, s, 1), r),
        lambda g, s, r: limited(mean_of(g, s, len(s)), r),
        lambda g, s, r: limited(mean_of(g, s, max(s)), r),
        by_power(lambda length, r: r / length),
        by_power(lambda length, r: max(1, r / length)),
        by_power(lambda length, r: min(1, length / r)),
        by_power(lambda length, r: min(1, r / length**2)),
        by_power(lambda length, r: 1 / max(1, length)),  # to 1, whatever `longest`
        turned_weights,
        lambda g, s, r: limited(g[-1], r),  # the last alone
        lambda g, s, r: limited(g[0], r),
    ],
    "right": [
        lambda g, s, r: limited(mean_of(g, s, sum(s)), r),
        by_power(lambda length, r: min(1, r / length)),
        by_power(lambda length, r: 1 / max(1, length / r)),
    ],
}


# ---- 14.8


def places(of):
    def dealt(n, T, u):
        return of(torch.arange(n, dtype=torch.float64), n, T, u)

    return dealt


def by_numpy(n, T, u):
    return torch.from_numpy(np.floor(T * np.mod(u + np.arange(n) / n, 1)).astype(np.int64))


def by_hand(n, T, u):
    found = []
    for i in range(n):
        place = u + i / n
        found.append(int(T * (place - 1 if place >= 1 else place)))
    return torch.tensor(found)


BANK["14.8"] = {
    "wrong": [
        places(lambda i, n, T, u: (T * (u + i / n)).long()),
        places(lambda i, n, T, u: (T * (u + i / n)).long().clamp(max=T - 1)),
        places(lambda i, n, T, u: (T * ((i + u) / n)).long()),
        places(lambda i, n, T, u: (T * ((u + i / (n - 1)) % 1)).long()),
        places(lambda i, n, T, u: (T * ((u + i / n) % 1)).round().long()),
        places(lambda i, n, T, u: (T * ((u + i / n) % 1)).ceil().long()),
        places(lambda i, n, T, u: (T * ((u + i / n) % 1)).long() + 1),
        places(lambda i, n, T, u: T * ((u + i / n) % 1)),
        places(lambda i, n, T, u: (T * (i / n)).long()),
        places(lambda i, n, T, u: (T * (u + 0 * i)).long()),
        places(lambda i, n, T, u: ((T - 1) * ((u + i / n) % 1)).long()),
        places(lambda i, n, T, u: (T * ((u + i / n) % 1)).long().sort().values),
        places(lambda i, n, T, u: (T * ((u - i / n) % 1)).long()),  # downward
        places(lambda i, n, T, u: (T * ((u * i / n) % 1)).long()),
        places(lambda i, n, T, u: (T * ((u + (i + 1) / n) % 1)).long()),
        places(lambda i, n, T, u: torch.randint(T, (n,))),
        places(lambda i, n, T, u: (T * ((u + i / T) % 1)).long()),
        places(lambda i, n, T, u: (T * ((u + i / n) % 1)).to(torch.int32)),
    ],
    "right": [
        places(lambda i, n, T, u: (T * ((u + i / n) % 1)).long()),
        places(lambda i, n, T, u: torch.floor((T * u + T * i / n) % T).long()),
        by_numpy,
        by_hand,
    ],
}


# ---- 14.9


def cosine(k, peak):
    return peak * (1 + math.cos(math.pi * k / 1000)) / 2


BANK["14.9"] = {
    "wrong": [
        lambda k: (0.3, 0.995),
        lambda k: (0.1, 0),
        lambda k: (1, 0),
        lambda k: (0.5, 0.999),
        lambda k: (0.5, 0.9999),
        lambda k: (cosine(k, 0.5), 0.995),
        lambda k: (cosine(k, 1), 0),
        lambda k: (0.01, 0.99),
        lambda k: (1 / (k + 1), 0.9),
        lambda k: (0.5, 1 - 10 / (k + 10)),
        lambda k: (0.5, 1 - 1 / (k + 1)),  # all weights from the start, each equally
        lambda k: (0.3, k / 1000),
        lambda k: (1.5, 0.99),
        lambda k: (0.5, 1.0),
    ],
    "right": [
        lambda k: (0.5, max(0.0, 1 - 2 / (k + 1))),
        lambda k: (0.5, 1 - 2 / (k + 2)),
        lambda k: (0.5, 0.0 if k < 200 else 1 - 1 / (k - 199)),
        lambda k: (0.7 if k < 200 else 0.5, 0.0 if k < 200 else 1 - 1 / (k - 199)),
    ],
}


# ---- 14.10


def share_of(near, far):
    return float(np.mean(np.asarray(near) < np.asarray(far)))


def to_all(painted, others):
    p, q = painted.double().numpy(), others.double().numpy()
    return np.sqrt(((p[:, None] - q[None]) ** 2).sum(-1))


def fair(painted, trained, twins):
    k = min(len(trained), len(twins))
    return share_of(to_all(painted, trained[:k]).min(1), to_all(painted, twins[:k]).min(1))


def squared_is_enough(painted, trained, twins):
    near, far = (to_all(painted, some[: len(twins)]) ** 2 for some in (trained, twins))
    return share_of(near.min(1), far.min(1))


def with_own_twin(painted, trained, twins):
    near = to_all(painted, trained[: len(twins)])
    far = to_all(painted, twins)
    return share_of(near.min(1), far[np.arange(len(far)), near.argmin(1)])


def every_kth(painted, trained, twins):
    return fair(painted, trained[:: max(1, len(trained) // len(twins))], twins)


BANK["14.10"] = {
    "wrong": [
        with_own_twin,
        every_kth,
        lambda p, x, y: share_of(to_all(p, x).min(1), to_all(p, y).min(1)),
        lambda p, x, y: share_of(to_all(p, x).mean(1), to_all(p, y).mean(1)),
        lambda p, x, y: share_of(np.median(to_all(p, x[: len(y)]), 1), np.median(to_all(p, y), 1)),
        lambda p, x, y: share_of(to_all(p, x[: len(y)]).min(1), to_all(p, y).mean(1)),
        lambda p, x, y: share_of(to_all(p, x[: len(y)]).max(1), to_all(p, y).max(1)),
        lambda p, x, y: fair(p, y, x),  # the other way round
        lambda p, x, y: fair(p, x[len(x) - len(y) :], y),
        lambda p, x, y: round(fair(p, x, y) * len(p)),  # a count
        lambda p, x, y: 100 * fair(p, x, y),
        lambda p, x, y: share_of(to_all(x[: len(y)], p).min(1), to_all(y, p).min(1)),  # from the wrong side
        lambda p, x, y: 0.5,
        lambda p, x, y: share_of(to_all(p, x).min(1) * len(x) / len(y), to_all(p, y).min(1)),
    ],
    "right": [fair, squared_is_enough, lambda p, x, y: np.float64(fair(p, x, y))],
}
