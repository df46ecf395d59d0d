"""Chapter 14: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import sympy
import torch
from torch.nn.utils import clip_grad_norm_

from minisd.teaching.exercises.ch14 import RUNS, SIGNS

# 14.1

GUESSES = {
    "settled": 1150,
    "forgets": 0.004,
    "begin": 3.12,
    "zero": 15.6,
    "line": 0.338,
    "shorter": 0.75,
    "guided": 4.4,
}

# 14.2


def confused():
    """Every run taken for every other."""
    for letter, fault in RUNS.items():
        for taken in SIGNS:
            if taken != fault:
                yield RUNS | {letter: taken}, f'Run {letter} as "{taken}"'


# 14.3 and 14.4

S, d, e = sympy.symbols("S d e", positive=True)
slow, fast = e / (1 - e), d / (1 - d)

# 14.5


def losses(guess, x0, noise, times, bars, contexts, rows, power=0.5):
    """The loss of some pictures at every timestep, (timesteps, pictures)."""
    out = []
    for t in times:
        bar = float(bars[t])
        x_t = bar**power * x0[rows] + (1 - bar) ** power * noise[rows]
        made = guess(x_t, torch.tensor([t] * len(rows)), contexts)
        out.append(((made - noise[rows]) ** 2).flatten(1).mean(1))
    return torch.stack(out)


def compared(
    ratio,
    rows_of=lambda which, x0: which,
    power=0.5,
    all_usual=False,
    contexts_of=lambda right, base: right[base],
):
    def ratios(guess, x0, noise, times, bars, right, wrong):
        out = {}
        for name in wrong:
            which, contexts = wrong[name]
            rows = rows_of(which, x0)
            base = torch.arange(len(x0)) if all_usual else rows
            usual = losses(guess, x0, noise, times, bars, contexts_of(right, base), base, power)
            out[name] = ratio(losses(guess, x0, noise, times, bars, contexts, rows, power), usual)
        return out

    return ratios


def of_means(lost, usual):
    return (lost.sum() / usual.sum()).item()


def guesses_apart(guess, x0, noise, times, bars, right, wrong):
    out = {}
    for name, (which, contexts) in wrong.items():
        apart = usual = 0
        for t in times:
            x_t = bars[t] ** 0.5 * x0[which] + (1 - bars[t]) ** 0.5 * noise[which]
            when = torch.full((len(which),), t)
            one, two = guess(x_t, when, right[which]), guess(x_t, when, contexts)
            apart, usual = apart + (two - one).square().mean(), usual + (one - noise[which]).square().mean()
        out[name] = float(apart / usual)
    return out


# 14.6


def batch(to_latents=None, to_noise=None, to_both=None, drop=None):
    def prepare(latents, contexts, empty, scale, p, coins, t, noise, bars):
        bar = bars[t].reshape(-1, 1, 1, 1)
        latents = (to_latents or (lambda z, s: z * s))(latents, scale)
        noise = (to_noise or (lambda n, s: n))(noise, scale)
        x_t = (to_both or (lambda x, s: x))(bar**0.5 * latents + (1 - bar) ** 0.5 * noise, scale)
        which = (drop or (lambda c, p: c < p))(coins, p)
        out = contexts.clone()
        out[which] = empty[0]
        return x_t, out

    return prepare


def plain(z, s):
    return z


def example_by_example(latents, contexts, empty, scale, p, coins, t, noise, bars):
    x_t, texts = [], []
    for i in range(len(latents)):
        bar = float(bars[t[i]])
        x_t.append(math.sqrt(bar) * scale * latents[i] + math.sqrt(1 - bar) * noise[i])
        texts.append(empty[0] if coins[i] < p else contexts[i])
    return torch.stack(x_t), torch.stack(texts)


# 14.7


def joined(gradients, sizes, mean=True, weigh=True):
    """The parts of all micro-batches, put together."""
    weights = torch.tensor(sizes if weigh else [1] * len(sizes)).float()
    total = weights.sum() if mean else 1
    return [torch.tensordot(weights, torch.stack(parts), 1) / total for parts in zip(*gradients)]


def by_torch(gradients, sizes, longest):
    """Clipped by PyTorch, which divides by the length plus 1e-6."""
    held = [torch.nn.Parameter(torch.zeros_like(part)) for part in gradients[0]]
    for one, part in zip(held, joined(gradients, sizes)):
        one.grad = part
    clip_grad_norm_(held, longest)
    return [one.grad for one in held]


def in_a_row(gradients, sizes, longest):
    mean = joined(gradients, sizes)
    length = torch.cat([part.flatten() for part in mean]).norm()
    return [part / length * longest for part in mean] if length > longest else mean


def shortened(parts, longest):
    length = torch.cat([part.flatten() for part in parts]).norm()
    return [part * min(1.0, longest / float(length)) for part in parts]


# 14.8


def circle(n, T, u):
    return torch.tensor([int((T * (u + i / n)) % T) for i in range(n)])


def by_remainder(n, T, u):
    return torch.floor(torch.remainder(u + torch.arange(n).double() / n, 1.0) * T).to(torch.int64)


def list_of(place, turn=int):
    def dealt(n, T, u):
        return torch.tensor([turn(T * place(i, n, u)) for i in range(n)])

    return dealt


# 14.9


def half_then_mean(k):
    return 0.5, 0 if k < 200 else 1 - 1 / (k - 199)


def slower_later(k):
    return (0.7 if k < 150 else 0.5), 1 - 2 / (k + 2)


# 14.10


def between(p, q):
    """All distances, (paintings, others), written out."""
    return (p[:, None] - q[None]).square().sum(-1).sqrt()


def found(near, far):
    return (near < far).double().mean().item()


def one_by_one(painted, trained, twins):
    hits = 0
    for row in painted:
        near = min(float((row - one).norm()) for one in trained[: len(twins)])
        hits += near < min(float((row - one).norm()) for one in twins)
    return hits / len(painted)


def twin_of_chosen(p, x, y):
    near, which = between(p, x[: len(y)]).min(1)
    return found(near, (p - y[which]).norm(dim=1))


def picture_of_chosen(p, x, y):
    far, which = between(p, y).min(1)
    return found((p - x[which]).norm(dim=1), far)


BANK = {
    "14.1": {
        "wrong": [
            (GUESSES | {"settled": 2303}, "goes by rho squared"),
            (GUESSES | {"settled": 11}, "flatter the axis"),
            (GUESSES | {"settled": 52.7}, "one tenth is missing"),
            (GUESSES | {"forgets": 0.001}, "as many steps back"),
            (GUESSES | {"forgets": 0.00025}, "must count for more"),
            (GUESSES | {"begin": 3.81}, "loss of one process"),
            (GUESSES | {"begin": 2.77}, "hard negatives"),
            (GUESSES | {"begin": 3.466}, "mean of two logarithms"),
            (GUESSES | {"zero": 1}, "How wide are the latents"),
            (GUESSES | {"zero": 3.245}, "Variances add up"),
            (GUESSES | {"zero": 30.1}, "other half of v"),
            (GUESSES | {"line": 0.5}, "all variances are 1"),
            (GUESSES | {"line": 0.66}, "what is left"),
            (GUESSES | {"shorter": 0.5}, "all batches share"),
            (GUESSES | {"shorter": 0.87}, "ratio of the lengths"),
            (GUESSES | {"guided": 0.8}, "with the empty caption"),
            (GUESSES | {"guided": 6}, "mixture of the three"),
            (GUESSES | {"guided": 5.33}, "equally likely"),
            (GUESSES | {"guided": 5.6}, "s = 1 is no guidance"),
        ],
        "right": [
            GUESSES,
            GUESSES | {"settled": math.log(0.1) / (2 * math.log(0.999)), "forgets": 1 - 0.999**4},
        ],
    },
    "14.2": {
        "wrong": [
            *confused(),
            (RUNS | {"A": "rate too high"}, "as they stand"),
        ],
        "right": [RUNS, dict(reversed(RUNS.items()))],
    },
    "14.3": {
        "wrong": [
            ((1 + sympy.sqrt(S)) ** 2, "Two answers"),
            ((S + 1, 2), "on a circle"),
            ((S, 2), "noise's weight"),
            (((1 + 1 / sympy.sqrt(S)) ** 2, 2), "noise's error"),
            ((1 + sympy.sqrt(S), 2), "the loss squares them"),
            (((S + 1) ** 2, 2), "compares squares"),
            (((sympy.sqrt(S) - 1) ** 2, 2), "opposite signs"),
            (((1 + sympy.sqrt(S)) ** -2, 2), "t squared"),
            ((1 / (1 + sympy.sqrt(S)) ** 2 + 1, 2), "In pure noise"),
            (((1 + sympy.sqrt(S)) ** 2, 4), "its value at S = 1"),
            (((1 + sympy.sqrt(S)) ** 2, 1), "tends to at both ends"),
            (((1 + sympy.sqrt(S)) ** 2, sympy.sqrt(2)), "where is the quotient"),
        ],
        "right": [(1 + 2 * sympy.sqrt(S) + S, 2), (1 / (1 / (1 + sympy.sqrt(S))) ** 2, 2.0)],
    },
    "14.4": {
        "wrong": [
            (d * (1 - e) / (d - e), "share of the slow"),
            ((1 - d) / (e - d), "have the age 0"),
            (sympy.log(d) / sympy.log(d / e), "mean age"),
            (slow / (slow + fast), "must be negative"),
            (1 - fast / slow, "Upside down"),
            (fast / slow, "very slow"),
        ],
        "right": [slow / (slow - fast), 1 + d * (1 - e) / (e - d)],
    },
    "14.5": {
        "wrong": [
            (compared(lambda a, b: (a.mean() / b.mean()).item(), all_usual=True), "loss of all pictures"),
            (compared(of_means, lambda which, x0: torch.arange(len(which))), "not to the first"),
            (compared(lambda a, b: (a / b).mean().item()), "A mean of ratios"),
            (compared(lambda a, b: (a.mean(1) / b.mean(1)).mean().item()), "at each timestep"),
            (compared(lambda a, b: of_means(b, a)), "Upside down"),
            (compared(lambda a, b: (a - b).mean().item()), "a difference"),
            (compared(lambda a, b: of_means(a - b, b)), "larger by 1"),
            (compared(lambda a, b: of_means(a, b) ** 0.5), "ratio of distances"),
            (compared(lambda a, b: of_means(a[-1], b[-1])), "last timestep"),
            (compared(lambda a, b: of_means(a[0], b[0])), "first timestep"),
            (
                compared(of_means, contexts_of=lambda right, base: right[: len(base)]),
                "pictures in `which`, too",
            ),
            (compared(of_means, power=1), "without the roots"),
            (guesses_apart, "from the true noise"),
        ],
        "right": [compared(of_means), compared(lambda a, b: float(a.mean()) / float(b.mean()))],
    },
    "14.6": {
        "wrong": [
            (batch(plain, to_both=lambda x, s: s * x), "How strong is the noise"),
            (batch(drop=lambda c, p: (c[:1] < p).expand(len(c))), "Who decides"),
            (batch(plain), "nowhere"),
            (batch(lambda z, s: z / s), "fed to the U-Net"),
            (batch(plain, lambda n, s: n * s), "1 wide already"),
            (batch(drop=lambda c, p: c >= p), "not a share 1 - p"),
            (batch(drop=lambda c, p: torch.full_like(c, float(c.mean())) < p), "mean of the coins"),
            (batch(drop=lambda c, p: torch.full_like(c, float(c.min())) < p), "One low coin"),
        ],
        "right": [batch(), example_by_example],
    },
    "14.7": {
        "wrong": [
            (lambda g, s, r: shortened(joined(g, s, weigh=False), r), "count for more"),
            (lambda g, s, r: joined(g, s), "still be too long"),
            (lambda g, s, r: joined([shortened(parts, r) for parts in g], s), "cuts the batch's"),
            (lambda g, s, r: [shortened([part], r)[0] for part in joined(g, s)], "One length"),
            (lambda g, s, r: [part.clip(-r, r) for part in joined(g, s)], "limit each number"),
            (
                lambda g, s, r: [p * r for p in shortened(joined([[1e6 * x for x in y] for y in g], s), 1)],
                "short",
            ),
            (lambda g, s, r: shortened(joined(g, s, mean=False, weigh=False), r), "added up"),
            (lambda g, s, r: shortened(g[-1], r), "last micro-batch alone"),
            (lambda g, s, r: shortened(joined(g, s), 1.0), "need not be"),
            (
                lambda g, s, r: shortened([p / len(s) for p in joined(g, s, mean=False)], r),
                "instead of examples",
            ),
        ],
        "right": [by_torch, in_a_row],
    },
    "14.8": {
        "wrong": [
            (list_of(lambda i, n, u: u + i / n), "beyond the last"),
            (list_of(lambda i, n, u: (u + i) / n), "turn the whole circle"),
            (list_of(lambda i, n, u: (u + i / (n - 1)) % 1), "neighbour of the first"),
            (list_of(lambda i, n, u: (u + i / n) % 1, round), "half of its share"),
            (list_of(lambda i, n, u: (u + i / n) % 1, lambda x: int(x) + 1), "from 0"),
            (list_of(lambda i, n, u: i / n), "Where is u"),
            (list_of(lambda i, n, u: u), "one of the faults"),
            (lambda n, T, u: T * ((u + torch.arange(n).double() / n) % 1), "not whole numbers"),
        ],
        "right": [circle, by_remainder],
    },
    "14.9": {
        "wrong": [
            (lambda k: (0.3, 0.9995), "way still to go"),
            (lambda k: (0.3, 0.0), "Most of it is noise"),
            (lambda k: (0.15 * (1 + math.cos(math.pi * k / 1000)), 0.9), "would quiet it"),
            (lambda k: (2.0, 0.9), "from 0 to 1"),
        ],
        "right": [half_then_mean, slower_later],
    },
    "14.10": {
        "wrong": [
            (twin_of_chosen, "what chance gives"),
            (picture_of_chosen, "turned the unfairness"),
            (lambda p, x, y: found(between(p, x).amin(1), between(p, y).amin(1)), "Of many"),
            (lambda p, x, y: found(between(p, x[: len(y)]).mean(1), between(p, y).mean(1)), "can't see it"),
            (lambda p, x, y: found(between(p, x[: len(y)]).amin(1), between(p, y).mean(1)), "the middle"),
            (lambda p, x, y: 1 - one_by_one(p, x, y), "nearer to a twin"),
            (lambda p, x, y: len(p) * one_by_one(p, x, y), "sum over the batch"),
            (lambda p, x, y: 100 * one_by_one(p, x, y), "In percent"),
            (lambda p, x, y: one_by_one(p, x[len(x) - len(y) :], y), "which of the training pictures"),
        ],
        "right": [
            one_by_one,
            lambda p, x, y: found(between(p, x[: len(y)]).amin(1), between(p, y).amin(1)),
        ],
    },
}
