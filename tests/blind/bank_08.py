"""Answers to chapter 8's exercises, written without a look at the checks."""

import math
from fractions import Fraction

import numpy as np
import sympy
import torch
import torch.nn.functional as F

BANK = {}


# ---- 8.1

ALL = {
    "larger weight": 1 / (1 + math.exp(-2)),
    "larger weight at temperature 4": 1 / (1 + math.exp(-0.5)),
    "one of 77": math.exp(4) / (math.exp(4) + 76),
    "width of a score": 16,
    "self-attention": 2.25,
    "cross-attention": 1.5,
    "pixels a side": 16 * math.sqrt(1280),
}


def but(**changes):
    """The right guesses, but for some."""
    names = dict(zip(("larger", "warm", "one", "width", "own", "cross", "side"), ALL, strict=True))
    return ALL | {names[name]: value for name, value in changes.items()}


BANK["8.1"] = {
    "wrong": [
        but(larger=0.75, warm=0.75),  # shares of the scores, 3 of 4
        but(larger=math.exp(2), warm=math.exp(0.5)),  # the odds for the weight
        but(larger=1 / (1 + math.exp(-3))),  # a sigmoid of the score itself
        but(larger=1 - ALL["larger weight"]),  # the other key's weight
        but(warm=1 / (1 + math.exp(-8))),  # multiplied by the temperature
        but(warm=1 / (1 + math.exp(-1))),  # divided by its root
        but(warm=ALL["larger weight"] / 4),  # the weight divided, not the score
        but(larger=88.08, warm=62.25, one=41.8),  # percent
        but(one=4 / 80),  # a share of the scores
        but(one=math.exp(4) / (math.exp(4) + 1)),  # against one other, not 76
        but(one=4.0),  # the score
        but(width=256),  # the variance
        but(width=1.0),  # after the division by the root
        but(width=4.0),  # the root of the root
        but(own=1.5),  # the readers grow, the read too
        but(cross=2.25),  # the words do not grow
        but(own=1.5**4),  # squared once too often
        but(own=6144 * 6144),  # the table's size, not its growth
        but(cross=1.0),  # the places of the picture are its readers
        but(own=1 / 2.25, cross=1 / 1.5),  # upside down
        but(side=1280),  # places
        but(side=35.8),  # places a side
        but(side=405),  # n = D
        but(side=286),  # 8 pixels a place
        but(side=16 * 1280),  # the root forgotten
    ],
    "right": [
        ALL,
        but(larger=0.88, warm=0.62, one=0.42),
        but(larger=0.9, warm=0.6, one=0.41, width=16.3, own=2.2, cross=1.55),  # within 5 %
        but(
            larger=float(torch.tensor([3.0, 1.0]).softmax(dim=0)[0]),
            warm=np.exp(0.75) / (np.exp(0.75) + np.exp(0.25)),
            width=math.sqrt(256),
        ),
        but(own=Fraction(9, 4), cross=Fraction(3, 2)),
        but(own=(96 * 64) ** 2 / (64 * 64) ** 2, cross=(96 * 64 * 77) / (64 * 64 * 77)),
    ],
}


# ---- 8.2

BANK["8.2"] = {
    "wrong": [
        "a red house and a yellow tent",  # the caption of the exercise
        "a red house and a big tent",  # the first control of the chapter
        "a red house and a yellow big tent",  # its other one
        "a blue car and a big yellow tent",  # the size before the colour
        "a blue house and a tent",  # no size
        "a big house and a tent",  # no colour
        "a blue small house and a tent",  # the sixth word is the one before
        "a red house and a green tree and a tent",  # no size between
        "a big red house and a tree and a tent",  # the size farther away than the colour
        "a car and a red big house and a tent",  # the sixth word is the colour
        "a big car and a small house and a tent",  # sizes alone
        "a tent and a red house",  # the tent comes first
        "a tent and a red big car and a tent",  # two tents
        "a red big apple and a car and a tent",  # a thing of another world
        "a red, big car and a house and a tent",  # a comma
        "red big car and house and tent",  # no articles
        "a red big and a house and a tent",  # a phrase without its thing
        "",
        ("a red big car and a house and a tent", "a red house and a yellow tent"),  # two captions
    ],
    "right": [
        "a red big car and a house and a tent",
        "a white small balloon and a mushroom and a tent",
        "a small red big car and a tree and a flower and a tent",
        "a house and a tree and a car and a pink orange small rocket and a tent",
        "a red car and a green house and a blue big tree and a tent",
    ],
}


# ---- 8.3

w, v, o = sympy.symbols("w v o", real=True)

BANK["8.3"] = {
    "wrong": [
        w * v,  # the other weights do not change
        w * (1 - w) * v,  # the word itself alone
        w * (o - v),  # the sign
        v - o,  # without the weight
        w * (1 - w) * (v - o),  # the factor of the diagonal once too often
        w**2 * (v - o),  # w twice
        w * v - o,  # the sum not multiplied
        w * (v + o),  # the others' sign
        w * (1 - w),  # the slope of the weight
        -w * o,  # the others alone, with the word's own part
        w * (v - o + w * v),  # the word's own part taken out of o once and not put back
        w * v * (1 - o),  # o where the weight should be
    ],
    "right": [
        w * (v - o),
        w * v - w * o,
        -w * (o - v),
        w * (1 - w) * v - w * (o - w * v),  # itself and the others
        w * (1 - w) * (v - (o - w * v) / (1 - w)),
        sympy.Mul(w, sympy.Add(v, -o), evaluate=False),
    ],
}


# ---- 8.4


def blank(words, places):
    """Keys that say where a word is, values that say what it is."""
    w_k = torch.cat([torch.zeros(words, places), torch.eye(places)])
    w_v = torch.cat([torch.eye(words), torch.zeros(places, words)])
    return torch.zeros(words + places, places), w_k, w_v, torch.eye(words)


def too_soft(words, places):
    w_q, w_k, w_v, w_o = blank(words, places)
    for i in range(places):
        w_q[words + i, max(i - 1, 0)] = 1.0  # not firm
    return w_q, w_k, w_v, w_o


def five_is_not_loud(words, places):
    w_q, w_k, w_v, w_o = blank(words, places)
    for i in range(places):
        w_q[words + i, max(i - 1, 0)] = 5.0  # before the division by the root
    return w_q, w_k, w_v, w_o


def next_word(words, places):
    w_q, w_k, w_v, w_o = blank(words, places)
    for i in range(places):
        w_q[words + i, min(i + 1, places - 1)] = 100.0
    return w_q, w_k, w_v, w_o


def itself(words, places):
    w_q, w_k, w_v, w_o = blank(words, places)
    w_q[words:] = 100 * torch.eye(places)
    return w_q, w_k, w_v, w_o


def round_the_corner(words, places):
    w_q, w_k, w_v, w_o = blank(words, places)
    w_q[words:] = 100 * torch.eye(places).roll(-1, dims=1)  # the first word gets the last
    return w_q, w_k, w_v, w_o


def first_reads_all(words, places):
    w_q, w_k, w_v, w_o = blank(words, places)
    for i in range(1, places):
        w_q[words + i, i - 1] = 100.0  # the first asks for nothing, and gets the average
    return w_q, w_k, w_v, w_o


def queries_for_keys(words, places):
    w_q, w_k, w_v, w_o = previous(words, places)
    return w_k, w_q, w_v, w_o


def fetches_the_place(words, places):
    w_q, w_k, _, _ = previous(words, places)
    w_v = torch.cat([torch.zeros(words, places), torch.eye(places)])
    return w_q, w_k, w_v, torch.eye(places)


def fetches_everything(words, places):
    w_q, w_k, _, _ = previous(words, places)
    return w_q, w_k, torch.eye(words + places), torch.eye(words + places)  # place and word


def loud_values(words, places):
    w_q, w_k, w_v, w_o = previous(words, places)
    return w_q, w_k, 2 * w_v, w_o


def five_places(words, places):
    w_q, w_k = torch.zeros(words + places, 5), torch.zeros(words + places, 5)
    for i in range(min(places, 5)):  # only the first five
        w_q[words + i, max(i - 1, 0)] = 100.0
        w_k[words + i, i] = 1.0
    return w_q, w_k, blank(words, places)[2], torch.eye(words)


def places_come_first(words, places):
    w_q, w_k, w_v, w_o = previous(words, places)
    turn = [*range(words, words + places), *range(words)]
    return w_q[turn], w_k[turn], w_v[turn], w_o  # the other order of the row's two parts


def repels(words, places):
    w_q, w_k, w_v, w_o = previous(words, places)
    return -w_q, w_k, w_v, w_o  # a wrong sign


def by_words(words, places):
    w_q, w_k, w_v, w_o = previous(words, places)
    w_q[:words, :1] = 300.0  # every word asks for the first place, whatever its own
    return w_q, w_k, w_v, w_o


def previous(words, places, loud=100.0):
    w_q, w_k, w_v, w_o = blank(words, places)
    for i in range(places):
        w_q[words + i, max(i - 1, 0)] = loud
    return w_q, w_k, w_v, w_o


def keys_do_the_shift(words, places):
    w_q, w_k, w_v, w_o = blank(words, places)
    w_q[words:] = torch.eye(places)  # the query: here I am
    for j in range(places - 1):
        w_k[words + j] = 0
        w_k[words + j, j + 1] = 60.0 * places**0.5  # the key: I come before place j + 1
    w_k[words + places - 1] = 0
    w_k[words, 0] = 60.0 * places**0.5
    return w_q, w_k, w_v, w_o


def matrix_on_the_right(words, places):
    w_q, w_k, _, _ = previous(words, places, loud=200.0)
    wide = torch.eye(words + places)  # fetches everything, and lays aside the place at the end
    return w_q, w_k, wide, wide[:, :words]


def in_two_numbers(words, places):
    i = torch.arange(places).float()
    w_q, w_k = torch.zeros(words + places, 2), torch.zeros(words + places, 2)
    w_q[words:] = 40 * torch.stack([2 * (i - 1), -torch.ones(places)], dim=1)
    w_k[words:] = torch.stack([i, i**2], dim=1)  # 2 (i - 1) j - j^2 is greatest at j = i - 1
    _, _, w_v, w_o = blank(words, places)
    return w_q, w_k, w_v, w_o


def all_others_pushed_away(words, places):
    w_q, w_k, w_v, w_o = blank(words, places)
    w_q[words:] = -500.0
    w_q[words + torch.arange(places), (torch.arange(places) - 1).clamp(min=0)] = 0.0
    return w_q, w_k, w_v, w_o


def half_and_half(words, places):
    w_q, w_k, w_v, w_o = previous(words, places, loud=20.0)
    return 4 * w_q, 4 * w_k, 4 * w_v, w_o / 4


BANK["8.4"] = {
    "wrong": [
        too_soft,
        five_is_not_loud,
        next_word,
        itself,
        round_the_corner,
        first_reads_all,
        queries_for_keys,
        fetches_the_place,
        fetches_everything,
        loud_values,
        five_places,
        places_come_first,
        repels,
        by_words,
    ],
    "right": [
        previous,
        keys_do_the_shift,
        matrix_on_the_right,
        in_two_numbers,
        all_others_pushed_away,
        half_and_half,
    ],
}


# ---- 8.5

NETWORKS = (
    "one layer",
    "one layer with positions",
    "one causal layer",
    "two causal layers",
    "cross-attention",
)


def counts(*numbers):
    return dict(zip(NETWORKS, numbers, strict=True))


BANK["8.5"] = {
    "wrong": [
        counts(0, 6, 2, 5, 0),  # the same vectors, so nothing has changed
        counts(6, 6, 2, 5, 0),  # everybody reads everybody
        counts(2, 2, 2, 5, 0),  # positions stay, so only two change
        counts(2, 4, 2, 5, 0),  # the others
        counts(2, 6, 5, 5, 0),  # words 4 to 6 read a list
        counts(2, 6, 3, 5, 0),  # the fourth sees its neighbour
        counts(2, 6, 2, 2, 0),  # as with one layer
        counts(2, 6, 2, 6, 0),  # the first word sees itself alone
        counts(2, 6, 2, 4, 0),  # counted from the third on
        counts(2, 6, 2, 5, 4),  # every place of the picture reads the sentence
        counts(2, 6, 2, 5, 2),  # two words, two places
        counts(4, 0, 4, 1, 4),  # the places that stay the same
        counts(2 / 6, 1.0, 2 / 6, 5 / 6, 0.0),  # shares
    ],
    "right": [
        counts(2, 6, 2, 5, 0),
        counts(2.0, 6.0, 2.0, 5.0, 0.0),
        counts(len({2, 3}), 6, len([2, 3]), len(range(2, 7)), 0),
        dict(zip(NETWORKS, np.array([2, 6, 2, 5, 0]), strict=True)),
        dict(reversed(counts(2, 6, 2, 5, 0).items())),
    ],
}


# ---- 8.6

CHANGES = (
    "centred keys",
    "centred queries",
    "centred values",
    "greatest first",
    "scaled keys",
    "unit queries",
    "mask late",
)


def leaking(*names):
    return {name: "leaks" if name in names else "harmless" for name in CHANGES}


BANK["8.6"] = {
    "wrong": [
        leaking("centred keys", "centred queries", "scaled keys"),  # keys' mean
        leaking("centred keys", "scaled keys"),  # keys and queries confused
        leaking("scaled keys"),  # the queries' mean is the same for all, but its score is not
        leaking("centred queries"),  # a positive factor keeps the order of a row, but not its odds
        leaking("centred queries", "centred values", "scaled keys"),  # comes back
        leaking("centred queries", "greatest first", "scaled keys"),  # cancels, (8.4)
        leaking("centred queries", "scaled keys", "mask late"),  # cancels when divided by the sum
        leaking("centred queries", "scaled keys", "unit queries"),  # a word's own length
        leaking(
            "centred keys",
            "centred queries",
            "centred values",
            "greatest first",
            "scaled keys",
            "mask late",
        ),
        leaking(),  # the mask is right, so nothing leaks
        leaking(*CHANGES),
        {
            name: {"leaks": "harmless", "harmless": "leaks"}[word]
            for name, word in leaking("centred queries", "scaled keys").items()
        },
    ],
    "right": [
        leaking("centred queries", "scaled keys"),
        dict(sorted(leaking("scaled keys", "centred queries").items())),
        dict(zip(CHANGES, "harmless leaks harmless harmless leaks harmless harmless".split(), strict=True)),
        {
            name: ("harmless", "leaks")[name in {"centred queries", "scaled keys"}]
            for name in reversed(CHANGES)
        },
        dict.fromkeys(CHANGES, "harmless") | {"centred queries": "leaks", "scaled keys": "leaks"},
    ],
}


# ---- 8.7


def own_spread(scores, correction=0):
    """(..., n, n) -> (..., n, 1): the standard deviation of each row's scores up to its diagonal."""
    n = scores.shape[-1]
    past = torch.ones(n, n, dtype=scores.dtype).tril()
    count = past.sum(dim=-1, keepdim=True)
    mean = (scores * past).sum(dim=-1, keepdim=True) / count
    variance = ((scores - mean) ** 2 * past).sum(dim=-1, keepdim=True) / (count - correction).clamp(min=1)
    return variance.sqrt()


def see(scores, v, diagonal=1):
    future = torch.ones(scores.shape[-2:]).triu(diagonal).bool()
    return scores.masked_fill(future, -math.inf).softmax(dim=-1) @ v


def only_the_mask(q, k, v):
    scores = q @ k.transpose(1, 2)
    scores = scores / scores.std(dim=-1, correction=0, keepdim=True).clamp(min=1)  # still of the whole row
    return see(scores, v)


def only_the_spread(q, k, v):
    scores = q @ k.transpose(1, 2)
    return see(scores / own_spread(scores).clamp(min=1), v, diagonal=2)  # still sees the next word


def only_the_centres(q, k, v):
    scores = q @ k.transpose(1, 2)  # both harmless lines out, both leaks left
    scores = scores / scores.std(dim=-1, correction=0, keepdim=True).clamp(min=1)
    return see(scores, v, diagonal=2)


def idea_thrown_away(q, k, v):
    return see(q @ k.transpose(1, 2), v)  # no spread at all


def root_instead(q, k, v):
    return see(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, v)  # the usual attention


def root_as_well(q, k, v):
    scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
    return see(scores / own_spread(scores).clamp(min=1), v)


def zeros_in_the_spread(q, k, v):
    scores = q @ k.transpose(1, 2)
    past = torch.ones(q.shape[1], q.shape[1]).tril()
    spread = (scores * past).std(dim=-1, correction=0, keepdim=True)  # hidden scores count as 0
    return see(scores / spread.clamp(min=1), v)


def divided_by_all(q, k, v):
    scores = q @ k.transpose(1, 2)
    past = torch.ones(q.shape[1], q.shape[1]).tril()
    mean = (scores * past).mean(dim=-1, keepdim=True)  # divided by n, not by i
    spread = (((scores - mean) ** 2) * past).mean(dim=-1, keepdim=True).sqrt()
    return see(scores / spread.clamp(min=1), v)


def mean_of_the_whole_row(q, k, v):
    scores = q @ k.transpose(1, 2)
    past = torch.ones(q.shape[1], q.shape[1]).tril()
    off = (scores - scores.mean(dim=-1, keepdim=True)) ** 2 * past  # the mean knows the future
    spread = (off.sum(dim=-1, keepdim=True) / past.sum(dim=-1, keepdim=True)).sqrt()
    return see(scores / spread.clamp(min=1), v)


def without_the_word_itself(q, k, v):
    scores = q @ k.transpose(1, 2)
    rows = []
    for i in range(q.shape[1]):
        past = scores[:, i, : max(i, 1)]  # up to i - 1
        rows.append(scores[:, i] / past.std(dim=-1, correction=0, keepdim=True).clamp(min=1))
    return see(torch.stack(rows, dim=1), v)


def other_correction(q, k, v):
    scores = q @ k.transpose(1, 2)
    return see(scores / own_spread(scores, correction=1).clamp(min=1), v)  # divides by i - 1


def always_divided(q, k, v):
    scores = q @ k.transpose(1, 2)
    return see(scores / own_spread(scores).clamp(min=1e-6), v)  # narrow rows are widened


def never_above_one(q, k, v):
    scores = q @ k.transpose(1, 2)
    return see(scores / own_spread(scores).clamp(min=1e-6, max=1), v)  # the wrong side of the clamp


def by_the_variance(q, k, v):
    scores = q @ k.transpose(1, 2)
    return see(scores / (own_spread(scores) ** 2).clamp(min=1), v)


def columns_for_rows(q, k, v):
    scores = q @ k.transpose(1, 2)
    spread = own_spread(scores.transpose(1, 2)).transpose(1, 2)  # of those who read, not of what is read
    return see(scores / spread.clamp(min=1), v)


def spread_of_a_batch(q, k, v):
    scores = q @ k.transpose(1, 2)
    n = q.shape[1]
    spread = torch.stack([scores[:, i, : i + 1].std(correction=0) for i in range(n)])  # of all
    return see(scores / spread[:, None].clamp(min=1), v)


def centred_queries(q, k, v):
    q = q - q.mean(dim=1, keepdim=True)  # a new leak
    scores = q @ k.transpose(1, 2)
    return see(scores / own_spread(scores).clamp(min=1), v)


def values_stay_centred(q, k, v):
    scores = q @ k.transpose(1, 2)
    v = v - v.mean(dim=1, keepdim=True)  # and nothing is added at the end
    return see(scores / own_spread(scores).clamp(min=1), v)


def sees_only_before(q, k, v):
    scores = q @ k.transpose(1, 2)
    scores = scores / own_spread(scores).clamp(min=1)
    future = torch.ones(q.shape[1], q.shape[1]).triu(0).bool()
    future[0, 0] = False  # no word sees itself, but the first
    return scores.masked_fill(future, -math.inf).softmax(dim=-1) @ v


def sees_the_future_alone(q, k, v):
    scores = q @ k.transpose(1, 2)
    scores = scores / own_spread(scores).clamp(min=1)
    past = torch.ones(q.shape[1], q.shape[1]).tril(-1).bool()
    return scores.masked_fill(past, -math.inf).softmax(dim=-1) @ v


def row_by_row(q, k, v):
    rows = []
    for i in range(q.shape[1]):
        scores = torch.einsum("bd,bjd->bj", q[:, i], k[:, : i + 1])
        scores = scores / scores.std(dim=-1, correction=0, keepdim=True).clamp(min=1)
        rows.append(torch.einsum("bj,bjd->bd", scores.softmax(dim=-1), v[:, : i + 1]))
    return torch.stack(rows, dim=1)


def harmless_lines_kept(q, k, v):
    k = k - k.mean(dim=1, keepdim=True)
    scores = q @ k.transpose(1, 2)
    centre = v.mean(dim=1, keepdim=True)
    return see(scores / own_spread(scores).clamp(min=1), v - centre) + centre


def running_sums(q, k, v):
    scores = (q @ k.mT).double()
    i = torch.arange(q.shape[1])
    count = (i + 1).double()
    first = scores.cumsum(dim=-1)[:, i, i] / count
    second = (scores**2).cumsum(dim=-1)[:, i, i] / count
    spread = (second - first**2).clamp(min=1).sqrt()
    return see(scores / spread[..., None], v.double()).to(v.dtype)


def only_where_above(q, k, v):
    scores = q @ k.transpose(1, 2)
    spread = own_spread(scores)
    return see(torch.where(spread > 1, scores / spread, scores), v)


def sentence_by_sentence(q, k, v):
    out = torch.zeros_like(v)
    for b in range(len(q)):
        for i in range(q.shape[1]):
            scores = k[b, : i + 1] @ q[b, i]
            width = max(1.0, float(scores.var(correction=0)) ** 0.5)
            out[b, i] = torch.softmax(scores / width, dim=0) @ v[b, : i + 1]
    return out


def hidden_before(q, k, v):
    past = torch.tril(torch.ones(q.shape[1], q.shape[1], dtype=torch.bool))
    scores = q @ k.transpose(-2, -1)
    spread = torch.ones(*scores.shape[:2], 1)
    for i in range(q.shape[1]):
        spread[:, i, 0] = torch.maximum(spread[:, i, 0], scores[:, i][:, past[i]].std(dim=1, unbiased=False))
    return F.softmax((scores / spread).masked_fill(~past, -1e30), dim=-1) @ v


BANK["8.7"] = {
    "wrong": [
        only_the_mask,
        only_the_spread,
        only_the_centres,
        idea_thrown_away,
        root_instead,
        root_as_well,
        zeros_in_the_spread,
        divided_by_all,
        mean_of_the_whole_row,
        without_the_word_itself,
        other_correction,
        always_divided,
        never_above_one,
        by_the_variance,
        columns_for_rows,
        spread_of_a_batch,
        centred_queries,
        values_stay_centred,
        sees_only_before,
        sees_the_future_alone,
    ],
    "right": [
        row_by_row,
        harmless_lines_kept,
        running_sums,
        only_where_above,
        sentence_by_sentence,
        hidden_before,
    ],
}


# ---- 8.8

m, s = sympy.symbols("m s", positive=True)

BANK["8.8"] = {
    "wrong": [
        s / 2,  # halfway between the two scores, whatever the number of words
        sympy.log(m * (sympy.exp(s) + m - 1)),  # the root forgotten
        sympy.sqrt(m * (sympy.exp(s) + m - 1)),  # the exponential of c
        sympy.log(m * (sympy.exp(s) + m)) / 2,  # a place of a shape has m others beside its word
        sympy.log(m * (sympy.exp(s) - 1)) / 2,  # and none
        sympy.log(m) / 2 + s / 2,  # the m - 1 others forgotten
        sympy.log(sympy.exp(s) + m - 1) / 2,  # a place of the background loses one word's weight
        sympy.log(m * (s + m - 1)) / 2,  # the score for its exponential
        sympy.log(sympy.exp(s) + m - 1),  # grey as much as all words of a shape
        sympy.log(m),  # grey as much as all words of the background
        sympy.log(m * sympy.exp(s) + m - 1) / 2,  # a bracket forgotten
        sympy.log((sympy.exp(s) + m - 1) / m) / 2,  # divided by m
        -sympy.log(m * (sympy.exp(s) + m - 1)) / 2,  # the sign
        sympy.log(7 * (sympy.exp(8) + 6)) / 2,  # for m = 7 and s = 8 alone
        sympy.log(m * (sympy.exp(s) + m - 1), 2) / 2,  # the logarithm to base 2
    ],
    "right": [
        sympy.log(m * (sympy.exp(s) + m - 1)) / 2,
        sympy.log(sympy.sqrt(m * (sympy.exp(s) + m - 1))),
        (sympy.log(m) + sympy.log(sympy.exp(s) + m - 1)) / 2,
        sympy.log(m * sympy.exp(s) + m**2 - m) / 2,
        (s + sympy.log(m) + sympy.log(1 + (m - 1) * sympy.exp(-s))) / 2,
        sympy.Rational(1, 2) * sympy.log(m * sympy.E**s - m * (1 - m)),
    ],
}


# ---- 8.9

o1, L1, o2, L2 = sympy.symbols("o1 L1 o2 L2", real=True)
e1, e2 = sympy.exp(L1), sympy.exp(L2)
both = sympy.log(e1 + e2)
mixed = (o1 * e1 + o2 * e2) / (e1 + e2)

BANK["8.9"] = {
    "wrong": [
        ((o1 + o2) / 2, both),  # both halves alike
        (o1 + o2, both),  # added
        ((o1 * L1 + o2 * L2) / (L1 + L2), both),  # weighed by the logarithms
        ((o1 * e2 + o2 * e1) / (e1 + e2), both),  # the wrong one of the two
        (o1 * e1 + o2 * e2, both),  # never divided
        ((o1 * e1 + o2 * e2) / both, both),  # divided by the logarithm
        (mixed, L1 + L2),  # the logarithm of a product
        (mixed, sympy.log(L1 + L2)),  # not undone first
        (mixed, e1 + e2),  # no logarithm
        (mixed, sympy.Max(L1, L2)),  # the greater one alone
        (mixed, sympy.log((e1 + e2) / 2)),  # a mean for a sum
        (both, mixed),  # the other order
        (mixed, sympy.log(e1 + e2, 2)),  # base 2
        ((o1 / e1 + o2 / e2) / (1 / e1 + 1 / e2), both),  # divided where it should be multiplied
        (o1 + (o2 - o1) * e2 / e1, both),  # only for a small second half
    ],
    "right": [
        (mixed, both),
        (
            o1 / (1 + sympy.exp(L2 - L1)) + o2 / (1 + sympy.exp(L1 - L2)),
            L1 + sympy.log(1 + sympy.exp(L2 - L1)),
        ),
        (o1 + (o2 - o1) * e2 / (e1 + e2), L2 + sympy.log(1 + e1 / e2)),
        (o1 * sympy.exp(L1 - both) + o2 * sympy.exp(L2 - both), both),
        (
            (o1 * sympy.exp((L1 - L2) / 2) + o2 * sympy.exp((L2 - L1) / 2)) / (2 * sympy.cosh((L1 - L2) / 2)),
            (L1 + L2) / 2 + sympy.log(2 * sympy.cosh((L1 - L2) / 2)),
        ),
        (sympy.expand(mixed), -sympy.log(1 / (e1 + e2))),
    ],
}


# ---- 8.10


def whole_table(q, k, v):
    return see(q @ k.T / q.shape[-1] ** 0.5, v)  # a million numbers


def whole_mask(q, k, v):
    future = torch.ones(len(q), len(k), dtype=torch.bool).triu(1)  # the mask is as large as the table
    rows = []
    for start in range(0, len(q), 16):
        scores = q[start : start + 16] @ k.T / q.shape[-1] ** 0.5
        rows.append(scores.masked_fill(future[start : start + 16], -math.inf).softmax(dim=-1) @ v)
    return torch.cat(rows)


def in_rows_of(block, q, k, v, divisor=None, shift=0):
    """Row after row of blocks; future words are hidden."""
    places, rows = torch.arange(len(k)), []
    for start in range(0, len(q), block):
        scores = q[start : start + block] @ k.T / (divisor or q.shape[-1] ** 0.5)
        future = places > places[start : start + block, None] + shift
        rows.append(scores.masked_fill(future, -math.inf).softmax(dim=-1) @ v)
    return torch.cat(rows)


def word_by_word(q, k, v):
    return in_rows_of(1, q, k, v)  # 2,048 products


def eight_words(q, k, v):
    return in_rows_of(8, q, k, v)  # 256 products


def blocks_too_large(q, k, v):
    return in_rows_of(32, q, k, v)  # 32,768 numbers


def no_root(q, k, v):
    return in_rows_of(16, q, k, v, divisor=1)


def sees_the_next_word(q, k, v):
    return in_rows_of(16, q, k, v, shift=1)


def no_mask(q, k, v):
    rows = [(q[a : a + 16] @ k.T / q.shape[-1] ** 0.5).softmax(dim=-1) @ v for a in range(0, len(q), 16)]
    return torch.cat(rows)


def mask_of_the_first_block(q, k, v):
    future = torch.arange(len(k)) > torch.arange(16)[:, None]  # forgets where the block begins
    rows = []
    for start in range(0, len(q), 16):
        scores = q[start : start + 16] @ k.T / q.shape[-1] ** 0.5
        rows.append(scores.masked_fill(future[: len(scores)], -math.inf).softmax(dim=-1) @ v)
    return torch.cat(rows)


def whole_blocks_alone(q, k, v):
    rows = []
    for start in range(0, len(q), 16):
        stop = start + 16  # up to the block's end: no mask within it
        rows.append((q[start:stop] @ k[:stop].T / q.shape[-1] ** 0.5).softmax(dim=-1) @ v[:stop])
    return torch.cat(rows)


def each_block_for_itself(q, k, v):
    rows = []
    for start in range(0, len(q), 128):
        part = slice(start, start + 128)  # reads nothing from before the block
        rows.append(see(q[part] @ k[part].T / q.shape[-1] ** 0.5, v[part]))
    return torch.cat(rows)


def the_librarys(q, k, v):
    return F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]  # not allowed here


def online(q, k, v, block=128, correct=True):
    """(8.14), for blocks of readers and blocks of what is read."""
    out = torch.empty_like(q)
    for start in range(0, len(q), block):
        some = q[start : start + block] / q.shape[-1] ** 0.5
        greatest = torch.full((len(some), 1), -math.inf, dtype=q.dtype)
        total, a = torch.zeros_like(greatest), torch.zeros_like(some)
        for other in range(0, start + len(some), block):
            scores = some @ k[other : other + block].T
            future = (
                torch.arange(other, other + scores.shape[1]) > torch.arange(start, start + len(some))[:, None]
            )
            scores = scores.masked_fill(future, -math.inf)
            new = torch.maximum(greatest, scores.amax(dim=1, keepdim=True))
            shrink = (greatest - new).exp() if correct else 1.0
            terms = (scores - new).exp()
            total, a = (
                shrink * total + terms.sum(dim=1, keepdim=True),
                shrink * a + terms @ v[other : other + block],
            )
            greatest = new
        out[start : start + block] = a / total
    return out


def sums_not_shrunk(q, k, v):
    return online(q, k, v, correct=False)  # every block relative to another greatest score


def last_words_missing(q, k, v):
    return in_rows_of(16, q[:-16], k, v)  # range() one too short


def in_half_precision(q, k, v):
    return in_rows_of(16, q.bfloat16(), k.bfloat16(), v.bfloat16()).to(q.dtype)  # not to 0.00001


def nineteen_rows(q, k, v):
    return in_rows_of(19, q, k, v)  # 19,456 numbers, and the last block is smaller


def only_the_past(q, k, v, block=16):
    outputs = []
    for start in range(0, q.shape[0], block):
        stop = min(start + block, q.shape[0])
        scores = (q[start:stop] / math.sqrt(q.shape[1])) @ k[:stop].T
        hidden = torch.arange(stop)[None] > torch.arange(start, stop)[:, None]
        scores[hidden] = -math.inf
        outputs.append(F.softmax(scores, dim=1) @ v[:stop])
    return torch.cat(outputs)


def online_in_blocks(q, k, v):
    return online(q, k, v)


def every_sixtyfourth(q, k, v):
    out, places = torch.zeros(len(q), v.shape[1], dtype=v.dtype), torch.arange(len(k))
    for first in range(64):  # words first, first + 64, ... together
        mine = places[first::64]
        scores = torch.einsum("id,jd->ij", q[mine], k) * q.shape[1] ** -0.5
        scores = torch.where(places[None] <= mine[:, None], scores, torch.tensor(-math.inf, dtype=q.dtype))
        out[mine] = torch.einsum("ij,jd->id", scores.softmax(-1), v)
    return out


def doubles(q, k, v):
    return in_rows_of(16, q.double(), k.double(), v.double()).to(q.dtype)


def past_and_triangle(q, k, v, block=16):
    """A mask for the block's own triangle, none for what came before; two softmaxes merged (as in 8.9)."""
    root, out = q.shape[-1] ** 0.5, []
    triangle = torch.full((block, block), -math.inf, dtype=q.dtype).triu(1)
    for start in range(0, len(q), block):
        part = slice(start, min(start + block, len(q)))
        some = q[part] / root
        n = len(some)
        scores = torch.cat([some @ k[:start].T, some @ k[part].T + triangle[:n, :n]], dim=1)
        weights = (scores - scores.logsumexp(dim=1, keepdim=True)).exp()
        out.append(weights @ v[: start + n])
    return torch.cat(out, dim=0)


BANK["8.10"] = {
    "wrong": [
        whole_table,
        whole_mask,
        word_by_word,
        eight_words,
        blocks_too_large,
        no_root,
        sees_the_next_word,
        no_mask,
        mask_of_the_first_block,
        whole_blocks_alone,
        each_block_for_itself,
        the_librarys,
        sums_not_shrunk,
        last_words_missing,
        in_half_precision,
    ],
    "right": [nineteen_rows, only_the_past, online_in_blocks, every_sixtyfourth, doubles, past_and_triangle],
}


# ---- 8.11


def staying(width, heads, h):
    size = width // heads
    return [i for i in range(width) if i // size != h]


def columns_of_all(w_q, w_k, w_v, w_o, heads, h):
    stay = staying(len(w_q), heads, h)
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[:, stay]  # W_O by columns too


def rows_of_all(w_q, w_k, w_v, w_o, heads, h):
    stay = staying(len(w_q), heads, h)
    return w_q[stay], w_k[stay], w_v[stay], w_o[stay]


def the_wrong_axes(w_q, w_k, w_v, w_o, heads, h):
    stay = staying(len(w_q), heads, h)
    return w_q[stay], w_k[stay], w_v[stay], w_o[:, stay]  # as PyTorch's nn.Linear keeps them


def output_left_whole(w_q, w_k, w_v, w_o, heads, h):
    stay = staying(len(w_q), heads, h)
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o


def cut_on_both_sides(w_q, w_k, w_v, w_o, heads, h):
    stay = staying(len(w_q), heads, h)
    return tuple(w[stay][:, stay] for w in (w_q, w_k, w_v, w_o))  # x still has D numbers


def emptied(w_q, w_k, w_v, w_o, heads, h):
    size = len(w_q) // heads
    w_o = w_o.clone()
    w_o[h * size : (h + 1) * size] = 0  # the same Y, but not smaller
    return w_q, w_k, w_v, w_o


def counted_from_one(w_q, w_k, w_v, w_o, heads, h):
    stay = staying(len(w_q), heads, h - 1)
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[stay]


def the_others_out(w_q, w_k, w_v, w_o, heads, h):
    size = len(w_q) // heads
    mine = slice(h * size, (h + 1) * size)
    return w_q[:, mine], w_k[:, mine], w_v[:, mine], w_o[mine]  # head h alone


def interleaved(w_q, w_k, w_v, w_o, heads, h):
    stay = [i for i in range(len(w_q)) if i % heads != h]  # "(d h)" for "(h d)"
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[stay]


def heads_for_size(w_q, w_k, w_v, w_o, heads, h):
    stay = [i for i in range(len(w_q)) if i // heads != h]  # the number of heads taken for their size
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[stay]


def one_column(w_q, w_k, w_v, w_o, heads, h):
    stay = [i for i in range(len(w_q)) if i != h]
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[stay]  # a column, not a head


def always_the_last(w_q, w_k, w_v, w_o, heads, h):
    n = len(w_q) - len(w_q) // heads
    return w_q[:, :n], w_k[:, :n], w_v[:, :n], w_o[:n]  # whichever h


def rest_in_another_order(w_q, w_k, w_v, w_o, heads, h):
    size = len(w_q) // heads
    order = [i for head in reversed(range(heads)) if head != h for i in range(head * size, (head + 1) * size)]
    return w_q[:, order], w_k[:, order], w_v[:, order], w_o[order]  # the same Y, not the old order


def rest_made_louder(w_q, w_k, w_v, w_o, heads, h):
    stay = staying(len(w_q), heads, h)
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[stay] * heads / (heads - 1)  # as for dropout


def values_forgotten(w_q, w_k, w_v, w_o, heads, h):
    stay = staying(len(w_q), heads, h)
    return w_q[:, stay], w_k[:, stay], w_v, w_o


def other_order_of_matrices(w_q, w_k, w_v, w_o, heads, h):
    stay = staying(len(w_q), heads, h)
    return w_q[:, stay], w_v[:, stay], w_k[:, stay], w_o[stay]


def two_slices(w_q, w_k, w_v, w_o, heads, h):
    d = w_q.shape[0] // heads
    a, b = h * d, (h + 1) * d
    return (
        torch.cat([w_q[:, :a], w_q[:, b:]], dim=1),
        torch.cat([w_k[:, :a], w_k[:, b:]], dim=1),
        torch.cat([w_v[:, :a], w_v[:, b:]], dim=1),
        torch.cat([w_o[:a], w_o[b:]], dim=0),
    )


def by_a_mask(w_q, w_k, w_v, w_o, heads, h):
    stay = torch.arange(w_q.shape[-1]).div(w_q.shape[-1] // heads, rounding_mode="floor") != h
    return [*(w[:, stay] for w in (w_q, w_k, w_v)), w_o[stay, :]]


def by_unflatten(w_q, w_k, w_v, w_o, heads, h):
    rest = [i for i in range(heads) if i != h]
    made = [w.unflatten(1, (heads, -1))[:, rest].flatten(1) for w in (w_q, w_k, w_v)]
    return (*made, w_o.unflatten(0, (heads, -1))[rest].flatten(0, 1))


def by_chunks(w_q, w_k, w_v, w_o, heads, h):
    def cut(w, dim):
        pieces = list(w.chunk(heads, dim=dim))
        del pieces[h]
        return torch.cat(pieces, dim=dim)

    return cut(w_q, 1), cut(w_k, 1), cut(w_v, 1), cut(w_o, 0)


def by_products(w_q, w_k, w_v, w_o, heads, h):
    keep = torch.eye(w_q.shape[1], dtype=w_q.dtype)[:, staying(w_q.shape[1], heads, h)]
    return w_q @ keep, w_k @ keep, w_v @ keep, keep.T @ w_o


def by_index_select(w_q, w_k, w_v, w_o, heads, h):
    stay = torch.tensor(staying(w_o.shape[0], heads, h))
    q, k, v = (torch.index_select(w, 1, stay) for w in (w_q, w_k, w_v))
    return q, k, v, torch.index_select(w_o, 0, stay)


BANK["8.11"] = {
    "wrong": [
        columns_of_all,
        rows_of_all,
        the_wrong_axes,
        output_left_whole,
        cut_on_both_sides,
        emptied,
        counted_from_one,
        the_others_out,
        interleaved,
        heads_for_size,
        one_column,
        always_the_last,
        rest_in_another_order,
        rest_made_louder,
        values_forgotten,
        other_order_of_matrices,
    ],
    "right": [two_slices, by_a_mask, by_unflatten, by_chunks, by_products, by_index_select],
}


# ---- 8.12

d, mu, sigma = sympy.symbols("d mu sigma", positive=True)
whole = d * (2 * mu**2 * sigma**2 + sigma**4)
part = d * (mu**2 * sigma**2 + sigma**4)

BANK["8.12"] = {
    "wrong": [
        (d * (mu**2 + sigma**2) ** 2, part),  # the mean of the square, without the square of the mean
        (d * sigma**4, d * sigma**4),  # the means left out
        (whole, whole),  # all of it can move a weight
        (whole, d * sigma**4),  # the key's own term taken for harmless as well
        (whole, d * mu**2 * sigma**2),  # what cancels
        (part, whole),  # the other order
        (whole / d, part / d),  # one entry
        (d * whole, d * part),  # d squared
        (sympy.sqrt(whole), sympy.sqrt(part)),  # widths
        (d * (2 * mu**2 * sigma + sigma**2), d * (mu**2 * sigma + sigma**2)),  # sigma for a variance
        (d * (mu**4 + 2 * mu**2 * sigma**2 + sigma**4), d * (mu**2 * sigma**2 + sigma**4)),  # mu^4
        (d * (2 * mu * sigma**2 + sigma**4), d * (mu * sigma**2 + sigma**4)),  # the factor mu, not squared
        (2 * d * mu**2 * sigma**2 + sigma**4, d * mu**2 * sigma**2 + sigma**4),  # brackets
        (whole, part / 2),  # a half of the rest
        (d + 0 * mu, d + 0 * mu),  # for mu = 0 and sigma = 1 alone
        (d * (2 * mu**2 * sigma**2 + sigma**4 + 2 * mu * sigma**3), part),  # the terms taken to be correlated
    ],
    "right": [
        (whole, part),
        (d * sigma**2 * (2 * mu**2 + sigma**2), d * sigma**2 * (mu**2 + sigma**2)),
        (d * ((mu**2 + sigma**2) ** 2 - mu**4), d * ((mu**2 + sigma**2) ** 2 - mu**4) - d * mu**2 * sigma**2),
        (sympy.expand(whole), sympy.expand(part)),
        (d * sigma**4 * (1 + 2 * (mu / sigma) ** 2), d * sigma**4 * (1 + (mu / sigma) ** 2)),
        (whole, whole - d * (mu * sigma) ** 2),
    ],
}
