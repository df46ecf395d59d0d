"""Chapter 11: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import sympy
import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat

w, delta, D = sympy.symbols("w delta D", positive=True)

GUESSES = {
    "weights of one layer": 3_784_704,
    "maps added up": 64,
    "columns for 150 tokens": 154,
    "more parameters": 163_840,
}
EXPECTED = {
    "two vectors exchanged": False,
    "the context twice": False,
    "the padding cut off": True,
    "map of house": True,
    "house over red": False,
}

# 11.4


def by_einops(weights):
    rows, columns = max(t.shape[1] for t in weights), max(t.shape[2] for t in weights)
    total = torch.zeros(rows, columns, weights[0].shape[-1])
    for t in weights:
        mean = reduce(t, "heads r c w -> r c w", "mean")
        total += repeat(mean, "r c w -> (r a) (c b) w", a=rows // t.shape[1], b=columns // t.shape[2])
    return total / len(weights)


def by_nearest(weights):
    size = max((t.shape[1:3] for t in weights), key=math.prod)
    parts = [
        F.interpolate(t.mean(0).permute(2, 0, 1)[None], size=tuple(size), mode="nearest") for t in weights
    ]
    return torch.cat(parts).mean(0).permute(1, 2, 0)


def added(weights):
    return by_einops(weights) * len(weights)


def more_heads_count_more(weights):
    heads = [by_einops([head[None], torch.zeros(1, *largest(weights))]) * 2 for t in weights for head in t]
    return torch.stack(heads).mean(0)


def largest(weights):
    return max((tuple(t.shape[1:]) for t in weights), key=lambda shape: shape[0] * shape[1])


def like_tiles(weights):
    rows, columns, _ = largest(weights)
    parts = [
        repeat(t.mean(0), "r c w -> (a r) (b c) w", a=rows // t.shape[1], b=columns // t.shape[2])
        for t in weights
    ]
    return torch.stack(parts).mean(0)


def blended(weights):
    rows, columns, _ = largest(weights)
    parts = [
        F.interpolate(t.mean(0).permute(2, 0, 1)[None], size=(rows, columns), mode="bilinear")
        for t in weights
    ]
    return torch.cat(parts).mean(0).permute(1, 2, 0)


def brightest_is_one(weights):
    maps = by_einops(weights)
    return maps / maps.max(dim=0).values.max(dim=0).values


def cubic(weights):
    size = largest(weights)[:2]
    parts = [F.interpolate(t.mean(0).permute(2, 0, 1)[None], size=size, mode="bicubic") for t in weights]
    return torch.cat(parts).mean(0).permute(1, 2, 0)


def more_places_count_more(weights):
    parts = [by_einops([t, torch.zeros(1, *largest(weights))]) * 2 * t[0].numel() for t in weights]
    return torch.stack(parts).sum(0) / sum(t[0].numel() for t in weights)


# 11.5


def by_slices(weights, prompts, each):
    n = prompts * each
    return torch.stack([weights[n + i * each : n + (i + 1) * each].mean(dim=(0, 1)) for i in range(prompts)])


def by_one_pattern(weights, prompts, each):
    return reduce(
        weights.chunk(2)[1], "(prompts each) heads r c w -> prompts r c w", "mean", prompts=prompts, each=each
    )


def first_half_still(weights, prompts, each):
    return reduce(
        weights.chunk(2)[0], "(prompts each) heads r c w -> prompts r c w", "mean", prompts=prompts, each=each
    )


def order_still_wrong(weights, prompts, each):
    return reduce(
        weights.chunk(2)[1], "(each prompts) heads r c w -> prompts r c w", "mean", prompts=prompts, each=each
    )


def in_turns(weights, prompts, each):
    return reduce(
        weights[1::2], "(prompts each) heads r c w -> prompts r c w", "mean", prompts=prompts, each=each
    )


# 11.7


def by_columns(attention, h, left, right, columns):
    picture = rearrange(h, "b (r c) d -> b r c d", c=columns)
    answers = []
    for part, context in zip(picture.chunk(2, dim=2), (left, right), strict=True):
        answer = attention(rearrange(part, "b r c d -> b (r c) d"), context)
        answers.append(rearrange(answer, "b (r c) d -> b r c d", r=picture.shape[1]))
    return rearrange(torch.cat(answers, dim=2), "b r c d -> b (r c) d")


def place_by_place(attention, h, left, right, columns):
    answers = [
        attention(h[:, i : i + 1], left if i % columns < columns / 2 else right) for i in range(h.shape[1])
    ]
    return torch.cat(answers, dim=1)


def halves_of_the_table(attention, h, left, right, columns):
    a, b = h.chunk(2, dim=1)
    if a.shape[1] != b.shape[1] or h.shape[1] % 2:
        a, b = h[:, : h.shape[1] // 2], h[:, h.shape[1] // 2 :]
    return torch.cat([attention(a, left), attention(b, right)], dim=1)


def joined(attention, h, left, right, columns):
    return attention(h, torch.cat([left, right], dim=1))


def half_of_each(attention, h, left, right, columns):
    return 0.5 * attention(h, left) + 0.5 * attention(h, right)


def mirrored(attention, h, left, right, columns):
    return by_columns(attention, h, right, left, columns)


def queries_silenced(attention, h, left, right, columns):
    mask = (torch.arange(h.shape[1]) % columns < columns // 2).float().view(1, -1, 1)
    return attention(h * mask, left) + attention(h * (1 - mask), right)


def by_rows(attention, h, left, right, columns):
    above = (torch.arange(h.shape[1]) // columns < columns // 2).view(1, -1, 1)
    return torch.where(above, attention(h, left), attention(h, right))


def as_many_words(attention, h, left, right, columns):
    m = min(left.shape[1], right.shape[1])
    return by_columns(attention, h, left[:, :m], right[:, :m], columns)


# 11.9


def one_cell(kept, step, layers, layer, window, mine, other, first=None, last=None):
    """A walk from step `first` to `last` in which only one layer hears the other sentence."""
    first, last = first or window[0], last or len(kept) - 1
    z = kept[first - 1]
    for k in range(first, last + 1):
        z = step(z, k, dict.fromkeys(layers, mine) | ({layer: other} if k in window else {}))
    return z


def table(cell):
    """A matrix of which `cell` walks each entry."""

    def function(kept, step, layers, windows, mine, other):
        return {
            (layer, window): cell(kept, step, layers, layer, window, mine, other)
            for layer in layers
            for window in windows
        }

    return function


def from_the_noise(kept, step, layers, windows, mine, other):
    return {
        (layer, window): one_cell(kept, step, layers, layer, window, mine, other, first=1)
        for window in windows
        for layer in layers
    }


def as_given(start=0, back=False, reset="never"):
    """The function as given, repaired in part."""

    def function(kept, step, layers, windows, mine, other):
        heard, ends = dict.fromkeys(layers, mine), {}
        for layer in layers:
            for window in windows:
                if reset == "window":
                    heard = dict.fromkeys(layers, mine)
                z = kept[window[0] - start]
                for k in range(window[0], len(kept)):
                    heard[layer] = other if k in window else (mine if back else heard[layer])
                    z = step(z, k, heard)
                ends[layer, window] = z
                if reset == "after":
                    heard[layer] = mine
        return ends

    return function


def heard_by_all(kept, step, layers, layer, window, mine, other):
    z = kept[window[0] - 1]
    for k in range(window[0], len(kept)):
        z = step(z, k, dict.fromkeys(layers, (mine, other)[k in window]))
    return z


def the_other_way_round(kept, step, layers, layer, window, mine, other):
    return one_cell(kept, step, layers, layer, window, other, mine)


def to_the_windows_end(kept, step, layers, layer, window, mine, other):
    return one_cell(kept, step, layers, layer, window, mine, other, last=window[-1])


def never_back_to_the_noise(kept, step, layers, windows, mine, other):
    ends, z = {}, kept[0]
    for layer in layers:
        for window in windows:
            for k in range(1, len(kept)):
                z = step(z, k, {name: other if name == layer and k in window else mine for name in layers})
            ends[layer, window] = z
    return ends


def only_the_layer_named(kept, step, layers, layer, window, mine, other):
    z = kept[window[0] - 1]
    for k in range(window[0], len(kept)):
        z = step(z, k, {layer: other if k in window else mine})
    return z


def those_before_too(kept, step, layers, layer, window, mine, other):
    z, until = kept[window[0] - 1], layers.index(layer)
    for k in range(window[0], len(kept)):
        z = step(z, k, {n: other if i <= until and k in window else mine for i, n in enumerate(layers)})
    return z


def one_step_longer(kept, step, layers, layer, window, mine, other):
    return one_cell(kept, step, layers, layer, (*window, window[-1] + 1), mine, other, first=window[0])


def its_first_step_alone(kept, step, layers, layer, window, mine, other):
    return one_cell(kept, step, layers, layer, window[:1], mine, other, first=window[0])


def always_from_the_noise(kept, step, layers, layer, window, mine, other):
    return one_cell([kept[0]] * len(kept), step, layers, layer, window, mine, other)


BANK = {
    "11.1": {
        "wrong": [
            (GUESSES | {"weights of one layer": 473_088}, "one head"),
            (GUESSES | {"weights of one layer": 301_989_888}, "places read places"),
            (GUESSES | {"weights of one layer": 242_221_056}, "a place a pixel"),
            (GUESSES | {"maps added up": 1}, "At one place, yes"),
            (GUESSES | {"maps added up": 77}, "a weight of 1 to give away"),
            (GUESSES | {"columns for 150 tokens": 150}, "Each row brings"),
            (GUESSES | {"columns for 150 tokens": 77}, "How many rows"),
            (GUESSES | {"more parameters": 81_920}, "more than one"),
            (GUESSES | {"more parameters": 327_680}, "never see the words"),
        ],
        "right": [GUESSES, GUESSES | {"maps added up": 64.0}],
    },
    "11.2": {
        "wrong": [
            (w * sympy.exp(delta), "denominator"),
            (w * sympy.exp(delta) / (1 + w * sympy.exp(delta)), "old share"),
            (w + delta, "A score is not a weight"),
            (w + w * (1 - w) * delta, "small delta"),
            (w * sympy.exp(delta) / (1 - w + sympy.exp(delta)), "With delta = 0"),
            (w * (1 + delta), "Put 20"),
            (1 - (1 - w) * sympy.exp(-delta), "Put -20"),
        ],
        "right": [
            1 / (1 + (1 / w - 1) * sympy.exp(-delta)),
            w / (w + (1 - w) * sympy.exp(-delta)),
            lambda w, delta: w * math.exp(delta) / (1 + w * (math.exp(delta) - 1)),
        ],
    },
    "11.3": {
        "wrong": [
            (8 * D / 3, "biases count"),
            (4 * D, "three matrices"),
            ((8 * D**2 + 5 * D) / (3 * D + 2), "it cancels"),
            ((8 * D**2 + 4 * D) / (3 * D + 1), "double layer"),
            (2 * D, "Count the matrices first"),
            (8 * D / 3 + 2, "the biases are not"),
        ],
        "right": [4 * D * (2 * D + 1) / (3 * D + 2), lambda D: 4 * D * (2 * D + 1) / (3 * D + 2)],
    },
    "11.4": {
        "wrong": [
            (added, "added up"),
            (more_heads_count_more, "more heads"),
            (like_tiles, "tiles"),
            (blended, "blend"),
            (brightest_is_one, "scaled"),
            (cubic, "differ within a block"),
            (more_places_count_more, "count once"),
            (lambda weights: by_einops([t * len(t) for t in weights]), "do not add up to 1"),
            (lambda weights: by_einops([t[:1] for t in weights]), "second head"),
            (lambda weights: max(weights, key=lambda t: t[0].numel()).mean(0), "smaller layer"),
            (lambda weights: by_einops(weights).softmax(-1), "comes back changed"),
        ],
        "right": [by_einops, by_nearest],
    },
    "11.5": {
        "wrong": [
            (order_still_wrong, "right half now"),
            (first_half_still, "with their prompts now"),
            (in_turns, "taking turns"),
            (
                lambda weights, prompts, each: (
                    by_slices(weights + weights.roll(prompts * each, 0), prompts, each) / 2
                ),
                "no words",
            ),
            (
                lambda weights, prompts, each: by_slices(weights, prompts, each) * each * 3,
                "do not add up to 1",
            ),
            (lambda weights, prompts, each: weights.mean(dim=1), "shape"),
        ],
        "right": [by_slices, by_one_pattern],
    },
    "11.6": {
        "wrong": [
            (EXPECTED | {"two vectors exchanged": True}, "in which row"),
            (EXPECTED | {"the context twice": True}, "occurs twice"),
            (EXPECTED | {"the padding cut off": False}, "first table"),
            (EXPECTED | {"map of house": False}, "denominator"),
            (EXPECTED | {"house over red": True}, "causal"),
        ],
        "right": [EXPECTED, dict(reversed(EXPECTED.items()))],
    },
    "11.7": {
        "wrong": [
            (halves_of_the_table, "above from below"),
            (joined, "both sentences"),
            (half_of_each, "half of each"),
            (mirrored, "exchanged"),
            (queries_silenced, "query is 0"),
            (by_rows, "the column alone"),
            (as_many_words, "words are lost"),
            (lambda attention, h, *rest: h + by_columns(attention, h, *rest), "add h itself"),
            (
                lambda attention, h, left, right, columns: (
                    attention(h, left) * 0.9 + attention(h, right) * 0.1
                ),
                "a little of both",
            ),
            (
                lambda attention, h, *rest: by_columns(attention, h, *rest).roll(1, 1),
                "The border",
            ),
        ],
        "right": [by_columns, place_by_place],
    },
    "11.8": {
        "wrong": [
            ([*range(14)], "colours are kept"),
            ([2, 3, 7, 8], "colours are kept"),
            ([*range(14, 77)], "of 6 pictures"),
            ([3, 8, *range(14, 77)], "padding is kept"),
            ([3, 3, 8], "comes once"),
            ([3.5, 8], "whole number"),
            ("house tent", "a list of positions"),
        ],
        "right": [[3, 8], [8, 4], [3, 4, 8]],
    },
    "11.9": {
        "wrong": [
            (as_given(start=1, back=True), "next layer's turn"),
            (as_given(start=1, reset="window"), "the colour too"),
            (as_given(start=0, back=True, reset="after"), "from before it or after"),
            (as_given(start=1), "begins rightly now"),
            (as_given(start=0, back=True), "where a step follows"),
            (as_given(start=0, reset="after"), "Two bugs are left"),
            (table(the_other_way_round), "exchanged"),
            (table(heard_by_all), "all four"),
            (never_back_to_the_noise, "goes on from the end"),
            (table(to_the_windows_end), "stops before the last step"),
            (table(only_the_layer_named), "leaves some out"),
            (table(those_before_too), "Another layer"),
            (table(one_step_longer), "After its window"),
            (table(its_first_step_alone), "In some step of its window"),
            (table(always_from_the_noise), "some walk begins"),
        ],
        "right": [
            table(one_cell),
            from_the_noise,
            as_given(start=1, back=True, reset="after"),
            as_given(start=1, back=True, reset="window"),
        ],
    },
}
