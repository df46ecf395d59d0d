"""Chapter 13: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import numpy as np
import sympy
import torch
import torch.nn.functional as F

# 13.3

x, a, s = sympy.symbols("x a s", real=True)
doubt = 1 - sympy.tanh(sympy.sqrt(a) * x / (1 - a))

# 13.4


def by_cross_entropy(noise, x_t, alpha_bar, logits_of, c, s):
    with torch.enable_grad():
        x = x_t.clone().requires_grad_(True)
        F.cross_entropy(logits_of(x), c, reduction="sum").backward()
    return noise + s * math.sqrt(1 - alpha_bar) * x.grad


def by_jacobian(noise, x_t, alpha_bar, logits_of, c, s):
    rows = []
    with torch.enable_grad():
        for i in range(len(x_t)):
            x = x_t[i : i + 1].detach().clone().requires_grad_(True)
            logits = logits_of(x)[0]
            rows.append(torch.autograd.grad(logits[c[i]] - logits.logsumexp(0), x)[0])
    return noise - s * (1 - alpha_bar) ** 0.5 * torch.cat(rows)


def sloped(of, sign=-1.0, root=lambda bar: (1 - bar) ** 0.5):
    def answer(noise, x_t, alpha_bar, logits_of, c, s):
        with torch.enable_grad():
            x = x_t.clone().requires_grad_(True)
            of(logits_of(x), F.one_hot(c, logits_of(x).shape[1])).backward()
        return noise + sign * s * root(alpha_bar) * x.grad

    return answer


def logarithm(logits, wanted):
    return (F.log_softmax(logits, 1) * wanted).sum()


# 13.5

v, V, g = sympy.symbols("v V g", positive=True)
S = sympy.symbols("s", positive=True)

# 13.6


def of_both(unet, prompt, negative, x, t):
    """The guesses with the negative prompt and with the prompt, by two calls."""
    return unet(x, t, negative), unet(x, t, prompt)


def repaired(mix=torch.lerp, limit=lambda sizes: torch.quantile(sizes, 0.95, dim=1).clamp(min=1), noise=True):
    """Both bugs repaired, and something else spoiled."""

    def predict(unet, prompt, negative, s, alpha_bar, x, t):
        n, c = of_both(unet, prompt, negative, x, t)
        there, here = math.sqrt(1 - alpha_bar), math.sqrt(alpha_bar)
        picture = (x - there * mix(n, c, s)) / here
        edge = limit(picture.flatten(1).abs())[:, None, None, None]
        picture = torch.minimum(torch.maximum(picture, -edge), edge) / edge
        return (x - here * picture) / there if noise else picture

    return predict


def picture_by_picture(unet, prompt, negative, s, alpha_bar, x, t):
    n, c = of_both(unet, prompt, negative, x, t)
    pictures = (x - (1 - alpha_bar) ** 0.5 * (n + s * (c - n))) / alpha_bar**0.5
    done = []
    for picture in pictures:
        edge = max(1.0, float(picture.abs().quantile(0.95)))
        done.append(picture.clamp(-edge, edge) / edge)
    return (x - alpha_bar**0.5 * torch.stack(done)) / (1 - alpha_bar) ** 0.5


def only_where_wide(unet, prompt, negative, s, alpha_bar, x, t):
    """The reader keeps the contexts' order, and takes the halves the other way round."""
    c, n = unet(torch.cat([x, x]), t, torch.cat([prompt, negative])).chunk(2)
    guided = (1 - s) * n + s * c
    picture = (x - (1 - alpha_bar) ** 0.5 * guided) / alpha_bar**0.5
    bound = picture.abs().flatten(1).quantile(0.95, dim=1)[:, None, None, None]
    picture = torch.where(bound > 1, picture.clamp(-bound, bound) / bound, picture.clamp(-1, 1))
    return (x - alpha_bar**0.5 * picture) / (1 - alpha_bar) ** 0.5


def order_alone(unet, prompt, negative, s, alpha_bar, x, t):
    return repaired(limit=lambda sizes: sizes.quantile(0.95, 1))(unet, prompt, negative, s, alpha_bar, x, t)


def floor_alone(unet, prompt, negative, s, alpha_bar, x, t):
    return repaired()(unet, negative, prompt, s, alpha_bar, x, t)


def not_divided(unet, prompt, negative, s, alpha_bar, x, t):
    n, c = of_both(unet, prompt, negative, x, t)
    picture = (x - (1 - alpha_bar) ** 0.5 * (n + s * (c - n))) / alpha_bar**0.5
    bound = picture.abs().flatten(1).quantile(0.95, dim=1).clamp(min=1)[:, None, None, None]
    return (x - alpha_bar**0.5 * picture.clamp(-bound, bound)) / (1 - alpha_bar) ** 0.5


def not_cut(unet, prompt, negative, s, alpha_bar, x, t):
    n, c = of_both(unet, prompt, negative, x, t)
    picture = (x - (1 - alpha_bar) ** 0.5 * (n + s * (c - n))) / alpha_bar**0.5
    bound = picture.abs().flatten(1).quantile(0.95, dim=1).clamp(min=1)[:, None, None, None]
    return (x - alpha_bar**0.5 * picture / bound) / (1 - alpha_bar) ** 0.5


def unbounded(unet, prompt, negative, s, alpha_bar, x, t):
    n, c = of_both(unet, prompt, negative, x, t)
    return n + s * (c - n)


# 13.7


def split(u, c, s, share, onto=None, each=True, start=None, times=None, root=False):
    onto = c if onto is None else onto
    long = onto.flatten(1) if each else onto.reshape(1, -1)
    difference = (c - u).reshape(long.shape)
    unit = long / long.norm(dim=1, keepdim=True)
    along = (difference * unit).sum(1, keepdim=True) * (long if root else unit)
    moved = (difference + (share - 1) * along).reshape(c.shape)
    return (c if start is None else start) + (s - 1 if times is None else times) * moved


def row_by_row(u, c, s, share):
    return torch.cat([split(u[i : i + 1], c[i : i + 1], s, share) for i in range(len(u))])


def weakened(u, c, s, share):
    """(13.6), and then the surplus of the parallel part taken away."""
    axes = (1, 2, 3)
    along = ((c - u) * c).sum(axes, keepdim=True) / (c * c).sum(axes, keepdim=True) * c
    return u + s * (c - u) - (s - 1) * (1 - share) * along


def at_each_place(u, c, s, share):
    along = ((c - u) * c).sum(1, keepdim=True) / (c * c).sum(1, keepdim=True) * c
    return c + (s - 1) * (c - u - along + share * along)


# 13.8


def late_and_little(t):
    return 1.7 if t < 220 else 1


def a_window(t):
    return 2.0 if 50 <= t <= 200 else 1.0


def everywhere(t):
    return 2.0


def early(t):
    return 3.0 if t >= 500 else 1.0


def never(t):
    return 1.0


def too_much(t):
    return 50.0


# 13.9


def changed(before, after):
    """How many pictures became right, and how many became wrong."""
    pairs = list(zip(before, after))
    return pairs.count((False, True)), pairs.count((True, False))


def tail(k, n):
    """The chance of k or more heads in n tosses."""
    return sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n


def two_tails(before, after, allowed=0.05):
    up, down = changed(before, after)
    return 2 * tail(max(up, down), up + down) <= allowed


def mid_p(before, after):
    """The result that was seen counts half on either side."""
    up, down = changed(before, after)
    n, far = up + down, max(up, down)
    return tail(far, n) + tail(far + 1, n) <= 0.05


def chi_square(before, after):
    """McNemar's test."""
    up, down = changed(before, after)
    return up + down > 0 and (up - down) ** 2 / (up + down) > 3.84


def one_tail(before, after):
    up, down = changed(before, after)
    return tail(max(up, down), up + down) <= 0.05


def upward(before, after):
    up, down = changed(before, after)
    return tail(up, up + down) <= 0.05


def all_pairs(before, after):
    """Pairs that agree, too, taken for tosses: all that did not gain fell on the other side."""
    up, _ = changed(before, after)
    return 2 * tail(max(up, len(before) - up), len(before)) <= 0.05


def wilson(count, n):
    middle, half = (count + 1.92) / (n + 3.84), 1.96 / (n + 3.84) * (count * (n - count) / n + 0.96) ** 0.5
    return middle - half, middle + half


def intervals_apart(before, after):
    (low, high), (low_2, high_2) = (wilson(sum(row), len(row)) for row in (before, after))
    return high < low_2 or high_2 < low


def two_shares(before, after):
    n = len(before)
    p, q = sum(before) / n, sum(after) / n
    middle = (p + q) / 2
    return abs(p - q) > 1.96 * (2 * middle * (1 - middle) / n) ** 0.5


GUESSES = {"guided": 0.95, "w": 6.5, "calls": 80, "width": 0.25, "pull": 0.1}
SCALES = {
    "c + (s - 1) * (c - u)": 7.5,
    "c - s * (u - c)": 8.5,
    "u - s * (c - u)": -7.5,
    "s * c + (s - 1) * u": 0,
    "(u + c) / 2 + s * (c - u)": 8,
    "(s * c - u) / (s - 1)": 7.5 / 6.5,
}

BANK = {
    "13.1": {
        "wrong": [
            (GUESSES | {"guided": 1.05}, "From which of the two"),
            (GUESSES | {"w": 7.5}, "w = 0 is the guess with words"),
            (GUESSES | {"w": 8.5}, "The other way round"),
            (GUESSES | {"calls": 100}, "if all the steps were guided"),
            (GUESSES | {"calls": 60}, "outside the interval"),
            (GUESSES | {"width": 0.0625}, "ratio of the variances"),
            (GUESSES | {"width": 0.125}, "s - 1 in the exponent"),
            (GUESSES | {"pull": 0.9}, "with the doubt"),
        ],
        "right": [GUESSES, GUESSES | {"width": 0.245, "pull": 0.101}],
    },
    "13.2": {
        "wrong": [
            (SCALES | {"c + (s - 1) * (c - u)": 6.5}, "at s = 1 already"),
            (SCALES | {"c - s * (u - c)": 7.5}, "where is it at s = 0"),
            (SCALES | {"c - s * (u - c)": -6.5}, "Multiply out"),
            (SCALES | {"u - s * (c - u)": 7.5}, "which way does it go"),
            (SCALES | {"s * c + (s - 1) * u": 7.5}, "Does it come back"),
            (SCALES | {"(u + c) / 2 + s * (c - u)": 7.5}, "halfway to c"),
            (SCALES | {"(u + c) / 2 + s * (c - u)": 0}, "add up to"),
            (SCALES | {"(s * c - u) / (s - 1)": 0}, "once they are divided"),
            (SCALES | {"(s * c - u) / (s - 1)": 7.5}, "before it is divided"),
        ],
        "right": [SCALES, SCALES | {"(s * c - u) / (s - 1)": 1.15}],
    },
    "13.3": {
        "wrong": [
            (s + (1 - s) * sympy.tanh(x), "depends on the noise level"),
            (s * doubt, "adds it to something"),
            (1 + s * doubt, "started from the guess with the class"),
            (1 + (s - 1) * (1 - sympy.tanh(sympy.sqrt(a) * x / (2 - 2 * a))), "half of what it should be"),
            (1 - doubt, "without the class"),
            (s + 1 - doubt, "one picture in the class"),
            (s + (1 - s) * sympy.tanh(sympy.sqrt(a) * x), "how wide is the noise"),
        ],
        "right": [
            s - (s - 1) * sympy.tanh(sympy.sqrt(a) * x / (1 - a)),
            1 + 2 * (s - 1) / (1 + sympy.exp(2 * sympy.sqrt(a) * x / (1 - a))),
        ],
    },
    "13.4": {
        "wrong": [
            (sloped(lambda logits, wanted: (logits * wanted).sum()), "slope of a logit"),
            (sloped(lambda logits, wanted: (logits.softmax(1) * wanted).sum()), "not of its logarithm"),
            (sloped(logarithm, sign=1.0), "points downhill"),
            (sloped(logarithm, root=lambda bar: 1.0), "differ by a root"),
            (sloped(logarithm, root=lambda bar: bar**0.5), "not of the picture's"),
            (sloped(lambda logits, wanted: logarithm(logits, wanted) / len(logits)), "too weak for a batch"),
        ],
        "right": [by_cross_entropy, by_jacobian],
    },
    "13.5": {
        "wrong": [
            (v * (v / V) ** (S - 1), "g must matter"),
            ((v + g**2) ** S / (V + g**2) ** (S - 1), "The walks go on from there"),
            (v * (v / V * (V + g**2) / (v + g**2)) ** (S - 1), "guidance below g alone"),
            (sympy.sqrt(v * ((v + g**2) / (V + g**2)) ** (S - 1)), "standard deviation"),
            (v * ((v + g**2) / (V + g**2)) ** S, "as wide as the class is"),
            (v**S / (V + g**2) ** (S - 1), "can't have changed anything"),
            (v * ((v + g**2) / (V + g**2)) ** (2 * S - 2), "that must give (13.11)"),
        ],
        "right": [
            sympy.exp(sympy.log(v) + (S - 1) * (sympy.log(v + g**2) - sympy.log(V + g**2))),
            (v + g**2) ** S / (V + g**2) ** (S - 1) * v / (v + g**2),
        ],
    },
    "13.6": {
        "wrong": [
            (order_alone, "within the range already"),
            (floor_alone, "Which context does the first half"),
            (
                repaired(limit=lambda sizes: sizes.quantile(0.95).clamp(min=1).repeat(len(sizes))),
                "in other company",
            ),
            (repaired(limit=lambda sizes: sizes.quantile(0.95, dim=1).clamp(max=1)), "never above 1"),
            (repaired(limit=lambda sizes: sizes.new_ones(len(sizes))), "flat patches"),
            (repaired(limit=lambda sizes: sizes.max(dim=1).values.clamp(min=1)), "a single odd pixel"),
            (repaired(limit=lambda sizes: 1 + sizes.quantile(0.95, dim=1)), "You add 1"),
            (repaired(mix=lambda u, c, s: (1 + s) * c - s * u), "as the scale s + 1"),
            (repaired(mix=lambda u, c, s: u + s * c), "It should be that guess"),
            (repaired(noise=False), "the sampler asks for the noise"),
            (not_divided, "not divided by it"),
            (not_cut, "one number in twenty"),
            (unbounded, "as it was before"),
        ],
        "right": [repaired(), picture_by_picture, only_where_wide],
    },
    "13.7": {
        "wrong": [
            (lambda u, c, s, share: split(u, c, s, share, onto=u), "not to the other"),
            (lambda u, c, s, share: split(u, c, s, share, each=False), "a projection of its own"),
            (at_each_place, "one long vector"),
            (lambda u, c, s, share: split(u, c, s, share, times=s), "s = 1 must not move it"),
            (lambda u, c, s, share: split(u, c, s, share, start=u), "From where do"),
            (lambda u, c, s, share: split(u, c, s, share, root=True), "squared length"),
        ],
        "right": [row_by_row, weakened],
    },
    "13.8": {
        "wrong": [
            (never, "as without guidance"),
            (everywhere, "one cloud is forgotten"),
            (early, "one cloud is forgotten"),
            (too_much, "from 0 to 30"),
        ],
        "right": [late_and_little, a_window],
    },
    "13.9": {
        "wrong": [
            (lambda before, after: False, "says False whatever"),
            (lambda before, after: True, "True whatever it is shown"),
            (lambda before, after: not two_tails(before, after), "upside down"),
            (all_pairs, "speaks for neither side"),
            (lambda before, after: sum(before) != sum(after), "by chance alone"),
            (lambda before, after: sum(after) > sum(before), "by chance alone"),
            (one_tail, "Do you count both sides"),
            (upward, "yours sees one"),
            (intervals_apart, "may overlap though the difference"),
            (two_shares, "at the two counts alone"),
            (two_tails, "sign test of the chapter"),
            (lambda before, after: two_tails(before, after, allowed=0.005), "fewer false alarms than"),
            (lambda before, after: two_tails(before, after, allowed=0.06), "fewer false alarms than"),
            (lambda before, after: tail(*changed(before, after)), "return True or False"),
        ],
        "right": [mid_p, chi_square, lambda before, after: np.bool_(mid_p(after, before))],
    },
}
