"""Chapter 8: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import sympy
import torch
from torch.nn import functional as F

# 8.3

w, v, o = sympy.symbols("w v o", real=True)

# 8.4


def by_rolling(words, places):
    eye = torch.eye(places)
    wanted = eye[[0, *range(places - 1)]]
    none = torch.zeros(words, places)
    values = torch.cat([torch.eye(words), torch.zeros(places, words)])
    return torch.cat([none, 300 * wanted]), torch.cat([none, eye]), values, torch.eye(words)


def scale_in_keys(words, places):
    w_q, w_k, w_v, w_o = by_rolling(words, places)
    return w_q / 300, 80 * w_k, 2 * w_v, w_o / 2


def looks_ahead(words, places):
    w_q, w_k, w_v, w_o = by_rolling(words, places)
    return w_k * 300, w_q / 300, w_v, w_o


def looks_at_itself(words, places):
    _, w_k, w_v, w_o = by_rolling(words, places)
    return 300 * w_k, w_k, w_v, w_o


def too_soft(words, places):
    w_q, w_k, w_v, w_o = by_rolling(words, places)
    return w_q / 40, w_k, w_v, w_o


def first_asks_nothing(words, places):
    w_q, w_k, w_v, w_o = by_rolling(words, places)
    w_q = w_q.clone()
    w_q[words] = 0
    return w_q, w_k, w_v, w_o


def fetches_double(words, places):
    w_q, w_k, w_v, w_o = by_rolling(words, places)
    return w_q, w_k, 2 * w_v, w_o


def wrong_columns(words, places):
    w_q, w_k, w_v, w_o = by_rolling(words, places)
    return w_q, w_k[:, 1:], w_v, w_o


# 8.7


def row_by_row(q, k, v, spread=lambda s: max(float(s.std(correction=0)), 1.0), ahead=0):
    """Word by word, from the words up to it; ahead: how many of the next ones are seen as well."""
    out = torch.empty_like(v)
    for b in range(len(q)):
        for i in range(q.shape[1]):
            scores = k[b, : i + 1 + ahead] @ q[b, i]
            weights = (scores / spread(scores[: i + 1])).softmax(0)
            out[b, i] = weights @ v[b, : i + 1 + ahead]
    return out


def keeps_the_centres(q, k, v):
    """The harmless lines may stay."""
    k, centre = k - k.mean(dim=1, keepdim=True), v.mean(dim=1, keepdim=True)
    return row_by_row(q, k, v - centre) + centre


def only_the_mask(q, k, v):
    scores = torch.einsum("bnd,bmd->bnm", q, k)
    scores = scores / scores.std(-1, correction=0, keepdim=True).clamp(min=1)
    past = torch.ones(scores.shape[1:]).tril().bool()
    return scores.masked_fill(~past, -math.inf).softmax(-1) @ v


def only_the_spread(q, k, v):
    return row_by_row(q, k, v, ahead=1)


def by_fused(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def no_scale_at_all(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)


def zeros_counted(q, k, v):
    scores = torch.einsum("bnd,bmd->bnm", q, k)
    past = torch.ones(scores.shape[1:]).tril().bool()
    spread = (scores * past).var(-1, correction=0, keepdim=True).sqrt().clamp(min=1)
    return (scores / spread).masked_fill(~past, -math.inf).softmax(-1) @ v


def as_statisticians_do(q, k, v):
    return row_by_row(q, k, v, lambda s: max(float(s.std()), 1.0) if len(s) > 1 else 1.0)


def every_row(q, k, v):
    return row_by_row(q, k, v, lambda s: float(s.std(correction=0)) if len(s) > 1 else 1.0)


def first_row_nan(q, k, v):
    return row_by_row(q, k, v, lambda s: s.std(correction=0))


# 8.8

m, s = sympy.symbols("m s", positive=True)
OTHERS = sympy.exp(s) + m - 1  # what a shape's place gives to all words, before the division

# 8.9

o1, L1, o2, L2 = sympy.symbols("o1 L1 o2 L2", real=True)
sums = sympy.exp(L1), sympy.exp(L2)
joined = sympy.log(sums[0] + sums[1])


# 8.10


def whole_table(q, k, v):
    past = torch.ones(len(q), len(k)).tril().bool()
    return (q @ k.T / q.shape[1] ** 0.5).masked_fill(~past, -math.inf).softmax(-1) @ v


def whole_mask(q, k, v):
    future = torch.ones(len(q), len(k), dtype=torch.bool).triu(1)
    parts = zip(q.split(16), future.split(16))
    return torch.cat([(p @ k.T / 4).masked_fill(hidden, -math.inf).softmax(-1) @ v for p, hidden in parts])


def large_blocks(q, k, v):
    return in_portions(q, k, v, 64)


def in_portions(q, k, v, size=12):
    """Each portion of queries reads only the keys that it may see, all but a corner of the table."""
    rows = []
    for start in range(0, len(q), size):
        end = min(start + size, len(q))
        scores = q[start:end] @ k[:end].T / q.shape[1] ** 0.5
        corner = torch.ones(end - start, end - start).triu(1).bool()
        scores[:, start:].masked_fill_(corner, -math.inf)
        rows.append(scores.softmax(-1) @ v[:end])
    return torch.cat(rows)


def word_for_word(q, k, v):
    return torch.stack(
        [(k[: i + 1] @ q[i] / q.shape[1] ** 0.5).softmax(0) @ v[: i + 1] for i in range(len(q))]
    )


def keys_in_blocks(q, k, v, size=16):
    """The online softmax of the chapter, with a mask."""
    n = len(q)
    best, total, out = torch.full((n, 1), -1e30), torch.zeros(n, 1), torch.zeros_like(q)
    for start in range(0, n, size):
        hidden = torch.arange(start, start + size) > torch.arange(n)[:, None]
        scores = (q @ k[start : start + size].T / q.shape[1] ** 0.5).masked_fill(hidden, -math.inf)
        new = torch.maximum(best, scores.amax(1, keepdim=True))
        shrink, terms = (best - new).exp(), (scores - new).exp()
        total = shrink * total + terms.sum(1, keepdim=True)
        out = shrink * out + terms @ v[start : start + size]
        best = new
    return out / total


def no_mask_at_all(q, k, v):
    return torch.cat([(p @ k.T / 4).softmax(-1) @ v for p in q.split(16)])


def fused(q, k, v):
    return F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]


# 8.11


def by_parts(w_q, w_k, w_v, w_o, heads, h):
    """Cut into heads, leave one out, put together again."""
    narrow = [torch.cat([p for i, p in enumerate(w.chunk(heads, 1)) if i != h], 1) for w in (w_q, w_k, w_v)]
    return *narrow, torch.cat([p for i, p in enumerate(w_o.chunk(heads, 0)) if i != h], 0)


def by_mask(w_q, w_k, w_v, w_o, heads, h):
    stay = (torch.arange(heads) != h).repeat_interleave(w_q.shape[1] // heads)
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[stay, :]


def in_a_list(w_q, w_k, w_v, w_o, heads, h):
    return list(by_parts(w_q, w_k, w_v, w_o, heads, h))


def rows_everywhere(w_q, w_k, w_v, w_o, heads, h):
    return tuple(by_parts(w, w, w, w, heads, h)[3] for w in (w_q, w_k, w_v, w_o))


def columns_everywhere(w_q, w_k, w_v, w_o, heads, h):
    return tuple(by_parts(w, w, w, w, heads, h)[0] for w in (w_q, w_k, w_v, w_o))


def transposed(w_q, w_k, w_v, w_o, heads, h):
    return *rows_everywhere(w_q, w_k, w_v, w_o, heads, h)[:3], columns_everywhere(
        w_q, w_k, w_v, w_o, heads, h
    )[3]


def forgets_the_output(w_q, w_k, w_v, w_o, heads, h):
    return *by_parts(w_q, w_k, w_v, w_o, heads, h)[:3], w_o


def every_third(w_q, w_k, w_v, w_o, heads, h):
    stay = torch.arange(w_q.shape[1]) % heads != h
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[stay]


def silenced(w_q, w_k, w_v, w_o, heads, h):
    w_o = w_o.clone()
    w_o.view(heads, -1, w_o.shape[1])[h] = 0
    return w_q, w_k, w_v, w_o


def the_one_alone(w_q, w_k, w_v, w_o, heads, h):
    return *(w.chunk(heads, 1)[h] for w in (w_q, w_k, w_v)), w_o.chunk(heads, 0)[h]


# 8.12

d, mu, sigma = sympy.symbols("d mu sigma", positive=True)
WHOLE = d * sigma**2 * (sigma**2 + 2 * mu**2)
PART = d * sigma**2 * (sigma**2 + mu**2)

GUESSES = {
    "larger weight": 0.881,
    "larger weight at temperature 4": 0.622,
    "one of 77": 0.418,
    "width of a score": 16.0,
    "self-attention": 2.25,
    "cross-attention": 1.5,
    "pixels a side": 572.0,
}
CHANGES = {
    "one layer": 2,
    "one layer with positions": 6,
    "one causal layer": 2,
    "two causal layers": 5,
    "cross-attention": 0,
}
LEAKING = ("centred queries", "scaled keys")
HARMLESS = ("centred keys", "centred values", "greatest first", "unit queries", "mask late")
VERDICTS = dict.fromkeys(LEAKING, "leaks") | dict.fromkeys(HARMLESS, "harmless")

BANK = {
    "8.1": {
        "wrong": [
            (GUESSES | {"larger weight": 7.39}, "how many times as large"),
            (GUESSES | {"larger weight": 0.75}, "divided the scores by their sum"),
            (GUESSES | {"larger weight at temperature 4": 0.9997}, "multiplied by the temperature"),
            (GUESSES | {"one of 77": 0.982}, "Against one other word"),
            (GUESSES | {"width of a score": 256}, "is the variance"),
            (GUESSES | {"self-attention": 1.5}, "How many pairs"),
            (GUESSES | {"cross-attention": 2.25}, "only one of the two"),
            (GUESSES | {"pixels a side": 1280}, "how many places"),
            (GUESSES | {"pixels a side": 35.8}, "side in places"),
            (GUESSES | {"pixels a side": 405}, "compared n with D"),
            (GUESSES | {"pixels a side": 286}, "top level"),
        ],
        "right": [
            GUESSES,
            GUESSES | {"larger weight": 0.87, "larger weight at temperature 4": 0.62},
            GUESSES | {"width of a score": 15.8},
        ],
    },
    "8.2": {
        "wrong": [
            ("a red house and a yellow tent", "A and B"),
            ("a red house and a big tent", "A and C"),
            ("a red big house and a yellow small tent", "A and C"),
            ("a red house and a tree and a tent", "B and C"),
            ("a red big house and a tent", "A and D"),
            ("a big car and a red big house and a tent", "D still agrees"),
            ("a red big car and a blue tent and a tent", "occur only there"),
            ("a red big dog and a house and a tent", "'dog'"),
            ("the tent is red", "'the'"),
            ("a red big car and house and a tent", "is no phrase"),
            ("a big car and a house and a tent", "no colour"),
            ("a red tent", "no sixth word"),
            (["a red big car", "a tent"], "a text"),
        ],
        "right": [
            "a blue small tree and a car and a tent",
            "a pink white big balloon and a rocket and a tent",
            "a small flower and a car and a red small big mushroom and a tent",
        ],
    },
    "8.3": {
        "wrong": [
            (w * v, "first term"),
            (w * v - w**2 * v, "own weight alone"),
            (w * (o - v), "The sign"),
            (v - o, "hardly anybody reads"),
        ],
        "right": [w * v - w * o, -w * (o - v)],
    },
    "8.4": {
        "wrong": [
            (looks_ahead, "the next one"),
            (looks_at_itself, "looks at itself"),
            (too_soft, "not firmly enough"),
            (first_asks_nothing, "All words but the first"),
            (fetches_double, "what they fetch"),
            (wrong_columns, "equally many columns"),
        ],
        "right": [by_rolling, scale_in_keys],
    },
    "8.5": {
        "wrong": [
            (CHANGES | {"one layer": 0}, "move with the words"),
            (CHANGES | {"one layer": 6}, "are a set"),
            (CHANGES | {"one layer with positions": 2}, "Who reads them"),
            (CHANGES | {"one causal layer": 5}, "tell it their order"),
            (CHANGES | {"two causal layers": 2}, "second layer reads"),
            (CHANGES | {"two causal layers": 6}, "nothing but itself"),
            (CHANGES | {"cross-attention": 4}, "order of its terms"),
        ],
        "right": [CHANGES, dict(reversed(CHANGES.items()))],
    },
    "8.6": {
        "wrong": [
            (VERDICTS | {"centred keys": "leaks"}, "The mean key"),
            (VERDICTS | {"centred queries": "harmless"}, "Multiply out"),
            (VERDICTS | {"centred values": "leaks"}, "The mean value"),
            (VERDICTS | {"greatest first": "leaks"}, "may be a hidden one"),
            (VERDICTS | {"scaled keys": "harmless"}, "not adding"),
            (VERDICTS | {"unit queries": "leaks"}, "length of a query"),
            (VERDICTS | {"mask late": "leaks"}, "second division"),
        ],
        "right": [VERDICTS, dict(reversed(VERDICTS.items()))],
    },
    "8.7": {
        "wrong": [
            (only_the_mask, "mask is right now"),
            (only_the_spread, "spread is right now"),
            (by_fused, "idea is gone"),
            (no_scale_at_all, "of any width"),
            (zeros_counted, "still count"),
            (as_statisticians_do, "correction=0"),
            (every_row, "narrow enough"),
            (first_row_nan, "NaN"),
        ],
        "right": [row_by_row, keeps_the_centres],
    },
    "8.8": {
        "wrong": [
            (s / 2, "Half-way"),
            ((sympy.log(m) + s) / 2, "m - 1 other words"),
            (sympy.log(m * (OTHERS + 1)) / 2, "own word twice"),
            (sympy.log(m * OTHERS), "That is 2c"),
            (sympy.sqrt(m * OTHERS), "the exponential of c;"),
            (sympy.log(m), "half of its weight to grey"),
            (sympy.log(OTHERS), "keep for words"),
        ],
        "right": [
            sympy.log(sympy.sqrt(m * OTHERS)),
            (s + sympy.log(m) + sympy.log(1 + (m - 1) * sympy.exp(-s))) / 2,
            lambda m, s: 0.5 * (math.log(m) + math.log(math.exp(s) + m - 1)),
        ],
    },
    "8.9": {
        "wrong": [
            (((o1 + o2) / 2, joined), "plain average"),
            (((o1 * L1 + o2 * L2) / (L1 + L2), joined), "logarithms of the sums"),
            (((o1 * sums[0] + o2 * sums[1]) / (sums[0] + sums[1]), L1 + L2), "Adding logarithms"),
            ((o1 * sums[0] + o2 * sums[1], joined), "before the division"),
        ],
        "right": [
            ((o1 * sums[0] + o2 * sums[1]) / (sums[0] + sums[1]), joined),
            (o1 + (o2 - o1) * sums[1] / (sums[0] + sums[1]), joined),
            (o2 + (o1 - o2) / (1 + sympy.exp(L2 - L1)), L2 + sympy.log(1 + sympy.exp(L1 - L2))),
        ],
    },
    "8.10": {
        "wrong": [
            (whole_table, "whole table of scores"),
            (whole_mask, "Is it the mask"),
            (large_blocks, "too large"),
            (no_mask_at_all, "not that of causal attention"),
            (fused, "not allowed"),
            (word_for_word, "2,048 products"),
        ],
        "right": [in_portions, keys_in_blocks],
    },
    "8.11": {
        "wrong": [
            (rows_everywhere, "rows out of all four"),
            (columns_everywhere, "W_O is used the other way round"),
            (transposed, "nn.Linear"),
            (forgets_the_output, "still has rows"),
            (every_third, "side by side"),
            (silenced, "silences the head"),
            (the_one_alone, "kept head h"),
        ],
        "right": [by_parts, by_mask, in_a_list],
    },
    "8.12": {
        "wrong": [
            ((d * sigma**4, d * sigma**4), "Right for mu = 0"),
            ((WHOLE, WHOLE), "same for every key"),
            ((WHOLE, d * sigma**4), "one of them depends on the key"),
            ((d * (sigma**2 + mu**2) ** 2, PART), "mean of the square"),
            ((PART, PART), "two terms"),
            ((d * WHOLE, d * PART), "one and the same number"),
            ((sympy.sqrt(WHOLE), sympy.sqrt(PART)), "These are widths"),
        ],
        "right": [
            (WHOLE, PART),
            (d * ((sigma**2 + mu**2) ** 2 - mu**4), d * ((sigma**2 + mu**2) * sigma**2)),
            lambda d, mu, sigma: (d * (sigma**4 + 2 * (mu * sigma) ** 2), d * (sigma**4 + (mu * sigma) ** 2)),
        ],
    },
}
