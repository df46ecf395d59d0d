"""Answers to chapter 11's exercises, as readers might hand them in."""

import math

import numpy as np
import sympy
import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat

BANK = {}


# ---- 11.1

ALL = {
    "weights of one layer": 3_784_704,
    "maps added up": 64,
    "columns for 150 tokens": 154,
    "more parameters": 163_840,
}
SHORT = {"layer": "weights of one layer", "maps": "maps added up", "columns": "columns for 150 tokens"}
SHORT |= {"more": "more parameters"}


def but(**changes):
    """The right guesses, but for some."""
    return ALL | {SHORT[name]: value for name, value in changes.items()}


BANK["11.1"] = {
    "wrong": [
        but(layer=96 * 64 * 77),  # one head
        but(layer=8 * 64 * 64 * 77),  # 512 x 512
        but(layer=8 * 96 * 96 * 77),  # 768 x 768
        but(layer=8 * 6144 * 6144),  # self-attention
        but(layer=8 * 768 * 512 * 77),  # pixels
        but(layer=2 * 8 * 6144 * 77),  # both halves of guidance
        but(layer=16 * 8 * 6144 * 77),  # all 16 layers
        but(layer=4 * 8 * 6144 * 77),  # bytes
        but(layer=8 * 6144 * 75),  # start and end forgotten
        but(layer=8 * 6144),  # the words forgotten
        but(maps=1),  # at one place
        but(maps=77),  # the words' weights
        but(maps=64 * 77),  # all entries
        but(maps=256),  # the heads added, not averaged
        but(maps=8),  # a side
        but(maps=64 / 77),  # one word's mean share
        but(columns=150),
        but(columns=77),
        but(columns=152),  # one start and one end
        but(columns=75),
        but(columns=2 * 75 + 1),
        but(more=320 * 256),  # one matrix
        but(more=4 * 320 * 256),  # all four
        but(more=2 * 256 * 256),  # the words' width twice
        but(more=2 * 320 * 1024),  # not the difference
        but(more=2 * 320),
    ],
    "right": [
        ALL,
        but(layer=3.78e6),
        but(layer=8 * 96 * 64 * 77, maps=64.0),
        but(more=2 * 320 * 256),
        but(more=164_000),
        but(maps=torch.full((64,), 1.0).sum().item()),
        dict(sorted(ALL.items())),
        but(columns=2 * (75 + 2)),
    ],
}

# ---- 11.2

w, delta = sympy.symbols("w delta", positive=True)
up = sympy.exp(delta)

BANK["11.2"] = {
    "wrong": [
        w * up,  # the denominator forgotten
        w * up / (1 + w * up),  # the old share still in the denominator
        w + delta,  # added to the weight
        w * (1 + delta),  # a first step of the exponential
        w + w * (1 - w) * delta,  # the slope
        w * up / (1 - w + up),  # the share forgotten in the denominator
        w * up / (w * up),  # only itself in the denominator
        w / (1 - w + w * up),  # the numerator as it was
        w * up / (1 + w - w * up),  # a sign
        w * delta / (1 - w + w * delta),  # the factor is delta
        w / (w + (1 - w) * up),  # the others raised
        (w + delta) / (1 + delta),  # weights added and normalised
        w * up / (1 + up),  # a second word of the same score
        up / (1 + up),  # a sigmoid
        1 - (1 - w) * up,  # the others' share multiplied
        1 - (1 - w) / up,
        w * up / (1 - w * up),  # odds upside down
        w * up / (1 - w),  # the odds
        (w * up) / (w + (1 - w) * up),
        w**2 * up / (1 - w + w * up),
        w * (1 + up) / (1 - w + w * (1 + up)),  # the score's exponential added to the old one
        w,  # nothing changes
    ],
    "right": [
        w * up / (1 - w + w * up),
        w * up / (1 + w * (up - 1)),
        1 / (1 + (1 - w) / w * sympy.exp(-delta)),
        w / (w + (1 - w) * sympy.exp(-delta)),
        1 - (1 - w) / (1 - w + w * up),
        sympy.simplify(w * up / (1 - w + w * up)),
        1 / (1 + sympy.exp(-(sympy.log(w / (1 - w)) + delta))),
        lambda w, delta: 1 / (1 + (1 / w - 1) * math.exp(-delta)),
    ],
}

# ---- 11.3

D = sympy.symbols("D", positive=True)
f = sympy.symbols("f", positive=True)

BANK["11.3"] = {
    "wrong": [
        8 * D / 3,  # no biases
        4 * D,
        2 * D,  # half
        3 * D,
        (8 * D**2 + 5 * D) / (3 * D + 2),  # the last bias counted on one side
        (8 * D**2 + 4 * D) / (3 * D + 1),  # one bias in the double layer
        (8 * D**2 + 4 * D) / (3 * D),  # no biases in the gated one
        8 * D**2 / (3 * D + 2),  # none in the plain one
        (8 * D**2 + 4 * D) / (2 * D + 2),  # two matrices
        (8 * D**2 + 4 * D) / (2 * D + 1),  # the plain one itself
        (8 * D**2 + 4 * D) / (4 * D + 2),  # four matrices: 2 D
        (8 * D**2 + 4 * D) / (3 * D + 3),  # a bias too many
        (4 * D**2 + 4 * D) / (3 * D + 2),  # one matrix in the plain one
        (8 * D**2 + 5 * D) / (3 * D + 3),
        (8 * D**2 + D) / (3 * D + 2),
        (12 * D**2 + 9 * D) / (2 * D + 1),  # the other way round
        (8 * D**2 + 4 * D) / 3,  # not divided by D
        sympy.Rational(2, 3) * 4,  # D forgotten
        8 * D / 3 + 2,
        (8 * D + 4) / 3,  # first order wrong
        (8 * D**2 + 4 * D) / (3 * D - 2),
        6 * D,  # 3/2 of 4 D
    ],
    "right": [
        (8 * D**2 + 4 * D) / (3 * D + 2),
        4 * D * (2 * D + 1) / (3 * D + 2),
        sympy.solve(sympy.Eq(8 * D**2 + 5 * D, 3 * D * f + 2 * f + D), f)[0],
        (8 * D + 4) / (3 + 2 / D),
        sympy.apart((8 * D**2 + 4 * D) / (3 * D + 2), D),
        lambda D: (8 * D * D + 4 * D) / (3 * D + 2),
    ],
}

# ---- 11.4


def size_of(weights):
    return max(t.shape[1] for t in weights), max(t.shape[2] for t in weights)


def by_kron(weights):
    rows, columns = size_of(weights)
    total = 0
    for t in weights:
        mean = t.mean(0)
        block = torch.ones(rows // mean.shape[0], columns // mean.shape[1])
        total = total + torch.stack(
            [torch.kron(mean[..., j].contiguous(), block) for j in range(mean.shape[-1])], -1
        )
    return total / len(weights)


def by_indexing(weights):
    rows, columns = size_of(weights)
    answer = torch.zeros(rows, columns, weights[0].shape[-1])
    for t in weights:
        down, across = rows // t.shape[1], columns // t.shape[2]
        r, c = torch.arange(rows) // down, torch.arange(columns) // across
        answer += t.mean(0)[r][:, c] / len(weights)
    return answer


def by_expand(weights):
    rows, columns = size_of(weights)
    big = []
    for t in weights:
        m = t.mean(0)
        a, b = rows // m.shape[0], columns // m.shape[1]
        m = m[:, None, :, None].expand(m.shape[0], a, m.shape[1], b, m.shape[2])
        big.append(m.reshape(rows, columns, -1))
    return sum(big) / len(big)


def by_loops(weights):
    rows, columns = size_of(weights)
    answer = torch.zeros(rows, columns, weights[0].shape[3])
    for t in weights:
        m = t.mean(0)
        for r in range(rows):
            for c in range(columns):
                answer[r, c] += m[r * m.shape[0] // rows, c * m.shape[1] // columns]
    return answer / len(weights)


def by_numpy(weights):
    rows, columns = size_of(weights)
    maps = []
    for t in weights:
        m = t.numpy().mean(0)
        maps.append(m.repeat(rows // m.shape[0], axis=0).repeat(columns // m.shape[1], axis=1))
    return torch.from_numpy(np.mean(maps, axis=0))


def enlarged_first(weights):
    rows, columns = size_of(weights)
    return torch.stack(
        [
            repeat(t, "h r c w -> h (r a) (c b) w", a=rows // t.shape[1], b=columns // t.shape[2]).mean(0)
            for t in weights
        ]
    ).mean(0)


def in_double(weights):
    return by_indexing([t.double() for t in weights]).float()


def nearest(weights):
    rows, columns = size_of(weights)
    maps = [F.interpolate(rearrange(t, "h r c w -> h w r c"), (rows, columns)).mean(0) for t in weights]
    return torch.stack(maps).mean(0).permute(1, 2, 0)


def sum_of_layers(weights):
    return by_indexing(weights) * len(weights)


def sum_of_heads(weights):
    return by_indexing([t * t.shape[0] for t in weights])


def only_first_head(weights):
    return by_indexing([t[:1] for t in weights])


def greatest_head(weights):
    return by_indexing([t.max(dim=0, keepdim=True).values for t in weights])


def big(t, weights):
    rows, columns = size_of(weights)
    return t.repeat_interleave(rows // t.shape[1], 1).repeat_interleave(columns // t.shape[2], 2)


def heads_alike(weights):
    return torch.cat([big(t, weights) for t in weights]).mean(0)


def tiles(weights):
    rows, columns = size_of(weights)
    return torch.stack(
        [t.mean(0).repeat(rows // t.shape[1], columns // t.shape[2], 1) for t in weights]
    ).mean(0)


def tiles_across_only(weights):
    rows, columns = size_of(weights)
    return torch.stack(
        [
            t.mean(0).repeat_interleave(rows // t.shape[1], 0).repeat(1, columns // t.shape[2], 1)
            for t in weights
        ]
    ).mean(0)


def bilinear(weights):
    maps = [
        F.interpolate(t.mean(0).permute(2, 0, 1)[None], size=size_of(weights), mode="bilinear")
        for t in weights
    ]
    return torch.cat(maps).mean(0).permute(1, 2, 0)


def bicubic(weights):
    maps = [
        F.interpolate(t.mean(0).permute(2, 0, 1)[None], size=size_of(weights), mode="bicubic")
        for t in weights
    ]
    return torch.cat(maps).mean(0).permute(1, 2, 0)


def spread_out(weights):
    """A place's weight is divided among the places that it becomes."""
    rows, columns = size_of(weights)
    return by_indexing([t * (t.shape[1] * t.shape[2] / (rows * columns)) for t in weights])


def each_map_to_one(weights):
    maps = by_indexing(weights)
    return maps / maps.sum(dim=(0, 1))


def brightest_one(weights):
    maps = by_indexing(weights)
    return maps / maps.amax(dim=(0, 1))


def words_in_front(weights):
    return by_indexing(weights).permute(2, 0, 1)


def transposed(weights):
    return by_indexing(weights).transpose(0, 1)


def a_list(weights):
    return [big(t, weights).mean(0) for t in weights]


def layers_left_stacked(weights):
    return torch.stack([big(t, weights).mean(0) for t in weights])


def smallest_size(weights):
    rows, columns = min(t.shape[1] for t in weights), min(t.shape[2] for t in weights)
    maps = [F.adaptive_avg_pool2d(t.mean(0).permute(2, 0, 1), (rows, columns)) for t in weights]
    return torch.stack(maps).mean(0).permute(1, 2, 0)


def only_the_largest(weights):
    largest = max(weights, key=lambda t: t.shape[1] * t.shape[2])
    return largest.mean(0)


def same_factor_twice(weights):
    """The factor of the rows for the columns, too."""
    rows, _ = size_of(weights)
    return torch.stack(
        [t.mean(0).repeat_interleave(rows // t.shape[1], 0).repeat_interleave(2, 1) for t in weights]
    ).mean(0)


def product_of_layers(weights):
    return torch.stack([big(t, weights).mean(0) for t in weights]).prod(0)


def by_area(weights):
    """Layers with more places count more."""
    parts = [(big(t, weights).mean(0), t.shape[1] * t.shape[2]) for t in weights]
    return sum(m * n for m, n in parts) / sum(n for _, n in parts)


def half_the_layers(weights):
    return by_indexing(weights) / 2


def softmax_again(weights):
    return by_indexing(weights).softmax(-1)


BANK["11.4"] = {
    "wrong": [
        sum_of_layers,
        sum_of_heads,
        only_first_head,
        greatest_head,
        heads_alike,
        tiles,
        tiles_across_only,
        bilinear,
        bicubic,
        spread_out,
        each_map_to_one,
        brightest_one,
        words_in_front,
        transposed,
        a_list,
        layers_left_stacked,
        smallest_size,
        only_the_largest,
        same_factor_twice,
        product_of_layers,
        by_area,
        half_the_layers,
        softmax_again,
    ],
    "right": [by_kron, by_indexing, by_expand, by_loops, by_numpy, enlarged_first, in_double, nearest],
}

# ---- 11.5


def repaired(weights, prompts, each):
    words = weights[prompts * each :]
    return words.mean(1).reshape(prompts, each, *weights.shape[2:]).mean(1)


def by_chunk(weights, prompts, each):
    return reduce(weights.chunk(2)[1], "(p e) h r c w -> p r c w", "mean", p=prompts)


def by_split(weights, prompts, each):
    return torch.stack([part.mean(dim=(0, 1)) for part in weights[prompts * each :].split(each)])


def by_loop(weights, prompts, each):
    answer = torch.zeros(prompts, *weights.shape[2:])
    for i in range(prompts):
        for j in range(each):
            answer[i] += weights[prompts * each + i * each + j].mean(0) / each
    return answer


def pictures_first(weights, prompts, each):
    return weights.unflatten(0, (2, prompts, each))[1].mean(1).mean(1)


def by_einsum(weights, prompts, each):
    words = weights[-prompts * each :].unflatten(0, (prompts, each))
    return torch.einsum("pehrcw->prcw", words) / (each * weights.shape[1])


def tensor_split(weights, prompts, each):
    _, words = weights.tensor_split(2)
    return words.unflatten(0, (prompts, -1)).mean(dim=(1, 2))


def order_only(weights, prompts, each):
    return weights[: len(weights) // 2].mean(1).unflatten(0, (prompts, each)).mean(1)


def half_only(weights, prompts, each):
    return weights[len(weights) // 2 :].mean(1).unflatten(0, (each, prompts)).mean(0)


def both_halves(weights, prompts, each):
    return weights.unflatten(0, (2, prompts, each)).mean(dim=(0, 2, 3))


def difference_of_halves(weights, prompts, each):
    a, b = weights.chunk(2)
    return (b - a).unflatten(0, (prompts, each)).mean(dim=(1, 2))


def every_other(weights, prompts, each):
    return weights[1::2].unflatten(0, (prompts, each)).mean(dim=(1, 2))


def every_other_even(weights, prompts, each):
    return weights[::2].unflatten(0, (prompts, each)).mean(dim=(1, 2))


def first_picture(weights, prompts, each):
    return repaired_pictures(weights, prompts, each)[:, 0]


def repaired_pictures(weights, prompts, each):
    return weights[prompts * each :].mean(1).unflatten(0, (prompts, each))


def one_map(weights, prompts, each):
    return weights[prompts * each :].mean(dim=(0, 1))


def summed_pictures(weights, prompts, each):
    return repaired(weights, prompts, each) * each


def heads_left(weights, prompts, each):
    return weights[prompts * each :].unflatten(0, (prompts, each)).mean(dim=1)


def heads_summed(weights, prompts, each):
    return repaired(weights, prompts, each) * weights.shape[1]


def pictures_left(weights, prompts, each):
    return repaired_pictures(weights, prompts, each)


def mean_over_prompts(weights, prompts, each):
    return repaired_pictures(weights, prompts, each).mean(0)


def two_pictures_a_prompt(weights, prompts, each):
    """Right for the numbers of an example."""
    words = weights[len(weights) // 2 :].mean(1)
    return torch.stack([words[2 * i : 2 * i + 2].mean(0) for i in range(prompts)])


def off_by_one_picture(weights, prompts, each):
    words = weights[prompts * each :].mean(1).roll(1, 0)
    return words.unflatten(0, (prompts, each)).mean(1)


def first_head(weights, prompts, each):
    return weights[prompts * each :, 0].unflatten(0, (prompts, each)).mean(1)


def greatest_of_heads(weights, prompts, each):
    return weights[prompts * each :].amax(1).unflatten(0, (prompts, each)).mean(1)


def prompts_reversed(weights, prompts, each):
    return repaired(weights, prompts, each).flip(0)


def rows_and_columns(weights, prompts, each):
    return repaired(weights, prompts, each).transpose(1, 2)


def scaled(weights, prompts, each):
    maps = repaired(weights, prompts, each)
    return maps / maps.amax(dim=(1, 2), keepdim=True)


def halves_within_prompts(weights, prompts, each):
    """As if each prompt's two halves were neighbours."""
    return weights.unflatten(0, (prompts, 2, each))[:, 1].mean(dim=(1, 2))


def prompts_in_turn(weights, prompts, each):
    return torch.stack([weights[prompts * each :].mean(1)[i::prompts].mean(0) for i in range(prompts)])


BANK["11.5"] = {
    "wrong": [
        order_only,
        half_only,
        both_halves,
        difference_of_halves,
        every_other,
        every_other_even,
        first_picture,
        one_map,
        summed_pictures,
        heads_left,
        heads_summed,
        pictures_left,
        mean_over_prompts,
        two_pictures_a_prompt,
        off_by_one_picture,
        first_head,
        greatest_of_heads,
        prompts_reversed,
        rows_and_columns,
        scaled,
        halves_within_prompts,
        prompts_in_turn,
    ],
    "right": [repaired, by_chunk, by_split, by_loop, pictures_first, by_einsum, tensor_split],
}

# ---- 11.6

EXPECTED = {
    "two vectors exchanged": False,
    "the context twice": False,
    "the padding cut off": True,
    "map of house": True,
    "house over red": False,
}

BANK["11.6"] = {
    "wrong": [
        EXPECTED | {"two vectors exchanged": True},
        EXPECTED | {"the context twice": True},
        EXPECTED | {"the padding cut off": False},
        EXPECTED | {"map of house": False},
        EXPECTED | {"house over red": True},
        EXPECTED | {"map of house": False, "house over red": True},
        EXPECTED | {"two vectors exchanged": True, "the context twice": True},
        EXPECTED | {"two vectors exchanged": True, "the padding cut off": False},
        dict.fromkeys(EXPECTED, True),
        dict.fromkeys(EXPECTED, False),
        {
            "two vectors exchanged": True,
            "the context twice": True,
            "the padding cut off": False,
            "map of house": False,
            "house over red": True,
        },
    ],
    "right": [
        EXPECTED,
        dict(sorted(EXPECTED.items())),
        {key: int(value) == 1 for key, value in EXPECTED.items()},
        EXPECTED | {"two vectors exchanged": np.bool_(False)},
        EXPECTED | {"the padding cut off": 1 < 2},
    ],
}

# ---- 11.7


def columns_of(h, columns):
    return torch.arange(h.shape[1]) % columns


def by_where(attention, h, left, right, columns):
    mask = (columns_of(h, columns) < columns // 2)[:, None]
    return torch.where(mask, attention(h, left), attention(h, right))


def by_mask_product(attention, h, left, right, columns):
    mask = (columns_of(h, columns) < columns // 2).float()[None, :, None]
    return mask * attention(h, left) + (1 - mask) * attention(h, right)


def by_index(attention, h, left, right, columns):
    mask = columns_of(h, columns) < columns // 2
    answer = torch.empty_like(h)
    answer[:, mask], answer[:, ~mask] = attention(h[:, mask], left), attention(h[:, ~mask], right)
    return answer


def by_rearrange(attention, h, left, right, columns):
    halves = rearrange(h, "b (r two c) d -> two b (r c) d", two=2, c=columns // 2)
    a, b = attention(halves[0], left), attention(halves[1], right)
    return rearrange(torch.stack([a, b]), "two b (r c) d -> b (r two c) d", c=columns // 2)


def by_rows(attention, h, left, right, columns):
    half, rows = columns // 2, []
    for row in h.split(columns, dim=1):
        rows += [attention(row[:, :half], left), attention(row[:, half:], right)]
    return torch.cat(rows, dim=1)


def each_place(attention, h, left, right, columns):
    return torch.cat(
        [attention(h[:, i, None], (left, right)[i % columns >= columns / 2]) for i in range(h.shape[1])],
        dim=1,
    )


def clone_and_overwrite(attention, h, left, right, columns):
    answer = attention(h, left).clone()
    grid = answer.unflatten(1, (-1, columns))
    grid[:, :, columns // 2 :] = attention(h, right).unflatten(1, (-1, columns))[:, :, columns // 2 :]
    return grid.flatten(1, 2)


def above_below(attention, h, left, right, columns):
    half = h.shape[1] // 2
    return torch.cat([attention(h[:, :half], left), attention(h[:, half:], right)], dim=1)


def swapped(attention, h, left, right, columns):
    return by_where(attention, h, right, left, columns)


def one_long_context(attention, h, left, right, columns):
    return attention(h, torch.cat((left, right), 1))


def mean_of_both(attention, h, left, right, columns):
    return (attention(h, left) + attention(h, right)) / 2


def sum_of_both(attention, h, left, right, columns):
    return attention(h, left) + attention(h, right)


def rows_for_columns(attention, h, left, right, columns):
    i = torch.arange(h.shape[1]) // columns
    mask = (i < columns // 2)[:, None]
    return torch.where(mask, attention(h, left), attention(h, right))


def one_column_too_many(attention, h, left, right, columns):
    mask = (columns_of(h, columns) <= columns // 2)[:, None]
    return torch.where(mask, attention(h, left), attention(h, right))


def one_column_too_few(attention, h, left, right, columns):
    mask = (columns_of(h, columns) < columns // 2 - 1)[:, None]
    return torch.where(mask, attention(h, left), attention(h, right))


def taking_turns(attention, h, left, right, columns):
    mask = (torch.arange(h.shape[1]) % 2 == 0)[:, None]
    return torch.where(mask, attention(h, left), attention(h, right))


def rows_as_width(attention, h, left, right, columns):
    """The number of rows where that of columns belongs."""
    rows = h.shape[1] // columns
    mask = (torch.arange(h.shape[1]) % rows < columns // 2)[:, None]
    return torch.where(mask, attention(h, left), attention(h, right))


def eight_columns(attention, h, left, right, columns):
    mask = (torch.arange(h.shape[1]) % 8 < 4)[:, None]
    return torch.where(mask, attention(h, left), attention(h, right))


def queries_zeroed(attention, h, left, right, columns):
    mask = (columns_of(h, columns) < columns // 2).float()[:, None]
    return attention(h * mask, left) + attention(h * (1 - mask), right)


def right_half_silent(attention, h, left, right, columns):
    mask = (columns_of(h, columns) < columns // 2).float()[:, None]
    return attention(h, left) * mask


def everyone_left(attention, h, left, right, columns):
    return attention(h, left)


def everyone_right(attention, h, left, right, columns):
    return attention(h, right)


def added_to_h(attention, h, left, right, columns):
    return h + by_where(attention, h, left, right, columns)


def batch_for_places(attention, h, left, right, columns):
    half = len(h) // 2
    return torch.cat([attention(h[:half], left[:half]), attention(h[half:], right[half:])])


def halves_side_by_side(attention, h, left, right, columns):
    """Each half right, put together in the wrong order."""
    mask = columns_of(h, columns) < columns // 2
    return torch.cat([attention(h[:, mask], left), attention(h[:, ~mask], right)], dim=1)


def blended_border(attention, h, left, right, columns):
    share = (columns_of(h, columns).float() / (columns - 1))[:, None]
    return (1 - share) * attention(h, left) + share * attention(h, right)


def as_a_picture(attention, h, left, right, columns):
    return by_where(attention, h, left, right, columns).unflatten(1, (-1, columns))


def quarter(attention, h, left, right, columns):
    i = torch.arange(h.shape[1])
    mask = ((i % columns < columns // 2) & (i < h.shape[1] // 2))[:, None]
    return torch.where(mask, attention(h, left), attention(h, right))


def first_words_only(attention, h, left, right, columns):
    m = min(left.shape[1], right.shape[1])
    return by_where(attention, h, left[:, :m], right[:, :m], columns)


def first_of_the_batch(attention, h, left, right, columns):
    return by_where(attention, h, left[:1].expand_as(left), right[:1].expand_as(right), columns)


def without_context(attention, h, left, right, columns):
    mask = (columns_of(h, columns) < columns // 2)[:, None]
    return torch.where(mask, attention(h, left), torch.zeros_like(h))


BANK["11.7"] = {
    "wrong": [
        above_below,
        swapped,
        one_long_context,
        mean_of_both,
        sum_of_both,
        rows_for_columns,
        one_column_too_many,
        one_column_too_few,
        taking_turns,
        rows_as_width,
        eight_columns,
        queries_zeroed,
        right_half_silent,
        everyone_left,
        everyone_right,
        added_to_h,
        batch_for_places,
        halves_side_by_side,
        blended_border,
        as_a_picture,
        quarter,
        first_words_only,
        first_of_the_batch,
    ],
    "right": [by_where, by_mask_product, by_index, by_rearrange, by_rows, each_place, clone_and_overwrite],
}

# ---- 11.8

BANK["11.8"] = {
    "wrong": [
        [3],  # one thing
        [8],
        [2, 7],  # the colours' own positions
        [2, 3],  # one thing with its colour
        [3, 4],
        [0],
        [0, 14],  # start and end
        [4, 8, 3, 2],  # one too many
        [2, 3, 7, 8],  # the words themselves
        [3, 8, 4, 5, 6],
        [*range(77)],
        [3, 8, 77],  # beyond the end
        [-1, 3, 8],
        [3, 3, 8],
        [3, 8, 8],
        [],
        "3, 8",
        [10, 12],  # snow, night
        [1, 6],  # the articles
        [13],
        ["house", "tent"],
        [3.5, 8],
    ],
    "right": [[3, 8], (8, 3), [3, 4, 8], {3, 8}, torch.tensor([3, 8]), np.array([8, 3]), range(3, 9, 5)],
}

# ---- 11.9


def by_rule(hears):
    """Where hears(layers, layer, window, k) names the layers that hear the other sentence in step k."""

    def answer(kept, step, layers, windows, mine, other):
        ends = {}
        for layer in layers:
            for window in windows:
                z = kept[window[0] - 1]
                for k in range(window[0], len(kept)):
                    chosen = hears(layers, layer, window, k)
                    z = step(z, k, {name: other if name in chosen else mine for name in layers})
                ends[layer, window] = z
        return ends

    return answer


def by_copies(kept, step, layers, windows, mine, other):
    """A fresh dictionary for each cell, put back after the window."""
    ends = {}
    for layer in layers:
        for window in windows:
            heard = dict.fromkeys(layers, mine)
            z = kept[window[0] - 1]
            for k in range(window[0], len(kept)):
                heard[layer] = other if k in window else mine
                z = step(z, k, heard.copy())
            ends[(layer, window)] = z
    return ends


def by_comprehension(kept, step, layers, windows, mine, other):
    heard = {
        (layer, window, k): {name: (mine, other)[name == layer and k in window] for name in layers}
        for layer in layers
        for window in windows
        for k in range(1, len(kept))
    }
    ends = {}
    for layer in layers:
        for window in windows:
            z = kept[window[0] - 1]
            for k in range(window[0], len(kept)):
                z = step(z, k, heard[layer, window, k])
            ends[layer, window] = z
    return ends


def windows_outside(kept, step, layers, windows, mine, other):
    ends = {}
    for window in windows:
        for layer in layers:
            z = kept[window[0] - 1]
            for k in window:
                z = step(z, k, {**dict.fromkeys(layers, mine), layer: other})
            for k in range(window[-1] + 1, len(kept)):
                z = step(z, k, dict.fromkeys(layers, mine))
            ends[layer, window] = z
    return ends


def whole_walks(kept, step, layers, windows, mine, other):
    """From the noise each time, which takes longer."""
    ends = {}
    for layer in layers:
        for window in windows:
            z = kept[0]
            for k in range(1, len(kept)):
                z = step(z, k, {n: other if n == layer and k in window else mine for n in layers})
            ends[layer, window] = z
    return ends


def by_limits(kept, step, layers, windows, mine, other):
    ends = {}
    for layer in layers:
        for window in windows:
            first, last, z = min(window), max(window), kept[min(window) - 1]
            for k in range(first, len(kept)):
                heard = dict.fromkeys(layers, mine)
                if first <= k <= last:
                    heard[layer] = other
                z = step(z, k, heard)
            ends[layer, window] = z
    return ends


def given_with(start=0, back=False, reset=None):
    """As given, with some of it changed."""

    def answer(kept, step, layers, windows, mine, other):
        heard, ends = dict.fromkeys(layers, mine), {}
        for layer in layers:
            if reset == "layer":
                heard = dict.fromkeys(layers, mine)
            for window in windows:
                if reset == "window":
                    heard = dict.fromkeys(layers, mine)
                z = kept[window[0] + start]
                for k in range(window[0], len(kept)):
                    if k in window:
                        heard[layer] = other
                    elif back:
                        heard[layer] = mine
                    z = step(z, k, heard)
                ends[layer, window] = z
        return ends

    return answer


def back_for_all(kept, step, layers, windows, mine, other):
    """After the window all layers hear ours, but the dictionary is never made anew."""
    heard, ends = dict.fromkeys(layers, mine), {}
    for layer in layers:
        for window in windows:
            z = kept[window[0] - 1]
            for k in range(window[0], len(kept)):
                if k in window:
                    heard[layer] = other
                else:
                    heard = dict.fromkeys(layers, mine)
                z = step(z, k, heard)
            ends[layer, window] = z
    return ends


def steps_from_zero(kept, step, layers, windows, mine, other):
    ends = {}
    for layer in layers:
        for window in windows:
            z = kept[window[0] - 1]
            for k in range(window[0] - 1, len(kept) - 1):
                z = step(z, k, {n: other if n == layer and k in window else mine for n in layers})
            ends[layer, window] = z
    return ends


def last_step_forgotten(kept, step, layers, windows, mine, other):
    ends = {}
    for layer in layers:
        for window in windows:
            z = kept[window[0] - 1]
            for k in range(window[0], len(kept) - 1):
                z = step(z, k, {n: other if n == layer and k in window else mine for n in layers})
            ends[layer, window] = z
    return ends


def window_only(kept, step, layers, windows, mine, other):
    ends = {}
    for layer in layers:
        for window in windows:
            z = kept[window[0] - 1]
            for k in window:
                z = step(z, k, {**dict.fromkeys(layers, mine), layer: other})
            ends[layer, window] = z
    return ends


def sentences_turned(kept, step, layers, windows, mine, other):
    return by_copies(kept, step, layers, windows, other, mine)


@by_rule
def every_layer(layers, layer, window, k):
    return layers if k in window else []


@by_rule
def all_but_the_layer(layers, layer, window, k):
    return {*layers} - {layer} if k in window else []


@by_rule
def outside_the_window(layers, layer, window, k):
    return [layer] if k not in window else []


@by_rule
def to_the_end(layers, layer, window, k):
    return [layer] if k >= window[0] else []


@by_rule
def half_open(layers, layer, window, k):
    return [layer] if k in window[:-1] else []


def nothing_swapped(kept, step, layers, windows, mine, other):
    return {(layer, window): kept[-1] for layer in layers for window in windows}


def only_one_named(kept, step, layers, windows, mine, other):
    ends = {}
    for layer in layers:
        for window in windows:
            z = kept[window[0] - 1]
            for k in range(window[0], len(kept)):
                z = step(z, k, {layer: other if k in window else mine})
            ends[layer, window] = z
    return ends


def noise_always(kept, step, layers, windows, mine, other):
    return by_copies([kept[0]] * len(kept), step, layers, windows, mine, other)


def goes_on(kept, step, layers, windows, mine, other):
    ends, z = {}, kept[0]
    for layer in layers:
        for window in windows:
            for k in range(1, len(kept)):
                z = step(z, k, {n: other if n == layer and k in window else mine for n in layers})
            ends[layer, window] = z
    return ends


def by_layer_alone(kept, step, layers, windows, mine, other):
    made = by_copies(kept, step, layers, windows, mine, other)
    return {layer: [made[layer, window] for window in windows] for layer in layers}


def windows_first(kept, step, layers, windows, mine, other):
    made = by_copies(kept, step, layers, windows, mine, other)
    return {(window, layer): z for (layer, window), z in made.items()}


@by_rule
def always_the_last_layer(layers, layer, window, k):
    """A name that a loop left behind."""
    return [layers[-1]] if k in window else []


BANK["11.9"] = {
    "wrong": [
        given_with(start=-1),
        given_with(start=-1, back=True),
        given_with(start=-1, reset="window"),
        given_with(start=-1, reset="layer"),
        given_with(back=True),
        given_with(reset="window"),
        given_with(back=True, reset="window"),
        given_with(back=True, reset="layer"),
        given_with(start=-2, back=True, reset="window"),
        back_for_all,
        steps_from_zero,
        last_step_forgotten,
        window_only,
        sentences_turned,
        every_layer,
        all_but_the_layer,
        outside_the_window,
        to_the_end,
        half_open,
        nothing_swapped,
        only_one_named,
        noise_always,
        goes_on,
        by_layer_alone,
        windows_first,
        always_the_last_layer,
    ],
    "right": [
        by_copies,
        by_comprehension,
        windows_outside,
        whole_walks,
        by_limits,
        given_with(start=-1, back=True, reset="window"),
        given_with(start=-1, back=True, reset="layer"),
    ],
}
