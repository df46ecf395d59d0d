"""Chapter 13: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

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


def repaired(mix=torch.lerp, power=1, turn=lambda share: share):
    """Both bugs repaired, and something else spoiled."""

    def predict(unet, prompt, negative, s, share, x, t):
        u, c = unet(x.repeat(2, 1, 1, 1), t, torch.cat([negative, prompt])).chunk(2)
        guided, share = mix(u, c, s), turn(share)
        spreads = [guess.flatten(1).std(1)[:, None, None, None] for guess in (c, guided)]
        return guided * (1 - share + share * (spreads[0] / spreads[1]) ** power)

    return predict


def context_of(first, second):
    return torch.cat([first, second])


def two_calls(unet, prompt, negative, s, share, x, t):
    c, n = unet(x, t, prompt), unet(x, t, negative)
    guided = (1 - s) * n + s * c
    spread = [each.flatten(1).std(dim=1)[:, None, None, None] for each in (c, guided)]
    return guided * (share * spread[0] / spread[1] + 1 - share)


def halves_exchanged(unet, prompt, negative, s, share, x, t):
    """The reader keeps the contexts' order, and takes the halves the other way round."""
    c, n = unet(torch.cat([x, x]), t, context_of(prompt, negative)).chunk(2)
    guided = n + s * (c - n)
    ratio = c.std((1, 2, 3), keepdim=True) / guided.std((1, 2, 3), keepdim=True)
    return share * ratio * guided + (1 - share) * guided


def order_alone(unet, prompt, negative, s, share, x, t):
    n, c = unet(torch.cat([x, x]), t, context_of(negative, prompt)).chunk(2)
    guided = n + s * (c - n)
    return share * c.std() / guided.std() * guided + (1 - share) * guided


def spread_alone(unet, prompt, negative, s, share, x, t):
    n, c = unet(torch.cat([x, x]), t, context_of(prompt, negative)).chunk(2)
    guided = n + s * (c - n)
    ratio = c.std((1, 2, 3), keepdim=True) / guided.std((1, 2, 3), keepdim=True)
    return share * ratio * guided + (1 - share) * guided


def by_channels(unet, prompt, negative, s, share, x, t):
    c, n = unet(x, t, prompt), unet(x, t, negative)
    guided = n + s * (c - n)
    ratio = c.std((2, 3), keepdim=True) / guided.std((2, 3), keepdim=True)
    return share * ratio * guided + (1 - share) * guided


def to_the_negative(unet, prompt, negative, s, share, x, t):
    c, n = unet(x, t, prompt), unet(x, t, negative)
    guided = n + s * (c - n)
    ratio = n.std((1, 2, 3), keepdim=True) / guided.std((1, 2, 3), keepdim=True)
    return share * ratio * guided + (1 - share) * guided


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


GUESSES = {"guided": 0.95, "w": 6.5, "calls": 80, "width": 0.25, "pull": 0.1}
VERDICTS = {
    "c + (s - 1) * (c - u)": "right",
    "s * c + (1 - s) * u": "right",
    "c - s * (u - c)": "another scale",
    "u - s * (c - u)": "away",
    "s * c + (s - 1) * u": "wrong amount",
    "(u + c) / 2 + s * (c - u)": "another scale",
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
            (VERDICTS | {"c + (s - 1) * (c - u)": "another scale"}, "collect what stands before c"),
            (VERDICTS | {"c - s * (u - c)": "right"}, "two minus signs make a plus"),
            (VERDICTS | {"c - s * (u - c)": "away"}, "Multiply out"),
            (VERDICTS | {"u - s * (c - u)": "right"}, "which way does it go"),
            (VERDICTS | {"s * c + (s - 1) * u": "another scale"}, "Does it come back"),
            (VERDICTS | {"(u + c) / 2 + s * (c - u)": "wrong amount"}, "add up to"),
        ],
        "right": [VERDICTS, dict(reversed(VERDICTS.items()))],
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
            (order_alone, "does one picture's rescaling use"),
            (spread_alone, "Which context does the first half get"),
            (by_channels, "not of each channel's"),
            (to_the_negative, "spread of which guess"),
            (repaired(mix=lambda u, c, s: (1 + s) * c - s * u), "starts from the other guess"),
            (repaired(mix=lambda u, c, s: u + s * c), "It should be that guess"),
            (repaired(power=2), "not variances"),
            (repaired(power=-1), "upside down"),
            (repaired(turn=lambda share: 1 - share), "which gets the share"),
            (repaired(turn=lambda share: 1.0), "where is the share"),
            (repaired(turn=lambda share: 0.0), "Nothing is rescaled"),
        ],
        "right": [two_calls, halves_exchanged],
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
}
