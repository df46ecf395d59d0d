"""The checks of chapter 11: words into pictures. It spoils the exercises to read this first."""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...attention import Attention, PictureTransformer, TransformerBlock, watch_words
from ...pipeline import StableDiffusion
from ...scenes.judge import Judge
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 11.1


def counted():
    """What the shapes of real tensors and modules say."""
    with torch.device("meta"):
        top = torch.nn.ModuleDict({"layer": PictureTransformer(320, 768, heads=8, norm_num_groups=32)})
        with watch_words(top) as seen:
            top["layer"](torch.empty(1, 320, 768 // 8, 512 // 8), torch.empty(1, 77, 768))
    small, wide = (
        sum(p.numel() for p in TransformerBlock(320, width, 8).parameters()) for width in (768, 1024)
    )
    return {
        "weights of one layer": seen["layer"][0].numel(),
        "maps added up": 64.0,
        "columns for 150 tokens": 2 * 77,
        "more parameters": wide - small,
    }


# 11.2


def raised(w, delta):
    return w * math.exp(delta) / (1 - w + w * math.exp(delta))


def at(formula, delta):
    """The new weight at some old ones, for one delta."""
    return [formula(w, delta) for w in (0.1, 0.4, 0.8)]


def moves_unasked(formula, cases):
    return any(abs(new - w) > 1e-6 for new, w in zip(at(formula, 0.0), (0.1, 0.4, 0.8)))


def never_takes_all(formula, cases):
    return any(abs(new - 1) > 1e-3 for new in at(formula, 20.0))


def never_gives_up(formula, cases):
    return any(abs(new) > 1e-3 for new in at(formula, -20.0))


# 11.3


def inner_width(D):
    return (8 * D**2 + 4 * D) / (3 * D + 2)


def matrices_amiss(formula, cases):
    """Far out, where the biases do not matter, it is not two matrices against three."""
    return abs(formula(1e7) / 1e7 - 8 / 3) > 1e-3


def biases_amiss(formula, cases):
    return not matrices_amiss(formula, cases)


def shaped(right, seen):
    """A symptom of results that have the right shape; others are told about their shape."""
    return lambda function, cases: (
        all(function(*case).shape == right(*case).shape for case in cases) and seen(function, cases)
    )


# 11.4


def tables(rng):
    """Lists of weights of several layers, whose pictures differ in size."""

    def drawn(heads, rows, columns, words):
        return torch.randn(heads, rows, columns, words, generator=rng).softmax(dim=-1)

    return [
        ([drawn(2, 2, 3, 4), drawn(2, 4, 6, 4)],),
        ([drawn(3, 4, 4, 5), drawn(3, 1, 1, 5), drawn(3, 2, 2, 5)],),
        ([drawn(4, 8, 4, 3), drawn(1, 8, 4, 3)],),
        ([drawn(2, 3, 5, 7)],),
    ]


def enlarged(table: Tensor, rows: int, columns: int) -> Tensor:
    """(rows, columns, words) with every place repeated until the picture has this size."""
    down, across = rows // table.shape[0], columns // table.shape[1]
    return table.repeat_interleave(down, dim=0).repeat_interleave(across, dim=1)


def largest(weights):
    return [max(table.shape[axis] for table in weights) for axis in (1, 2)]


def word_maps(weights):
    """One map for each word, of the size of the largest picture."""
    return torch.stack([enlarged(table.mean(dim=0), *largest(weights)) for table in weights]).mean(dim=0)


def summed_layers(weights):
    return word_maps(weights) * len(weights)


def every_head_alike(weights):
    """Layers with more heads count more."""
    heads = [enlarged(head, *largest(weights)) for table in weights for head in table]
    return torch.stack(heads).mean(dim=0)


def tiled(weights):
    """Repeats the whole small picture instead of each of its places."""
    rows, columns = largest(weights)
    maps = [
        table.mean(dim=0).repeat(rows // table.shape[1], columns // table.shape[2], 1) for table in weights
    ]
    return torch.stack(maps).mean(dim=0)


def smoothed(weights):
    maps = [
        F.interpolate(table.mean(dim=0).movedim(-1, 0)[None], size=largest(weights), mode="bilinear")
        for table in weights
    ]
    return torch.stack(maps).mean(dim=0)[0].movedim(0, -1)


def scaled_to_one(weights):
    maps = word_maps(weights)
    return maps / maps.amax(dim=(0, 1), keepdim=True)


def one_hot(rows, columns, words, which, heads=1):
    """Weights that give everything to one word."""
    table = torch.zeros(heads, rows, columns, words)
    table[..., which] = 1
    return table


def not_one(function, cases):
    """The words' weights at a place do not add up to 1."""
    return any((function(*case).sum(dim=-1) - 1).abs().max() > 1e-3 for case in cases)


def a_head_unread(function, cases):
    """Another second head changes nothing."""
    weights = [torch.cat([one_hot(2, 2, 3, 0), one_hot(2, 2, 3, which)]) for which in (1, 2)]
    return torch.equal(*(function([table, one_hot(2, 2, 3, 0)]) for table in weights))


def a_layer_unread(function, cases):
    """Another small layer changes nothing."""
    answers = [function([one_hot(2, 2, 3, which), one_hot(4, 4, 3, 0)]) for which in (1, 2)]
    return torch.equal(*answers)


def layers_unequal(function, cases):
    """One layer for each word: their shares are not the same."""
    shares = function([one_hot(1, 1, 3, 0), one_hot(2, 2, 3, 1), one_hot(4, 4, 3, 2)])
    return (shares - 1 / 3).abs().max() > 1e-3


def blocks_uneven(function, cases):
    """What one place of a small layer became is not the same everywhere in its block."""
    small = torch.randn(1, 2, 2, 3, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    blocks = function([small, one_hot(4, 4, 3, 0)]).unflatten(1, (2, 2)).unflatten(0, (2, 2))
    return (blocks - blocks[:, :1, :, :1]).abs().max() > 1e-3


def a_layer_changed(function, cases):
    """A layer alone, with one head, does not come back as it was."""
    table = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    return (function([table]) - table[0]).abs().max() > 1e-3


# 11.5


def batches(rng):
    """(weights of guidance's two halves, number of prompts, pictures of each)."""

    def drawn(*shape):
        return torch.randn(*shape, generator=rng).softmax(dim=-1)

    return [
        (drawn(2 * 2 * 3, 2, 4, 4, 5), 2, 3),
        (drawn(2 * 3 * 2, 2, 2, 6, 4), 3, 2),
        (drawn(2 * 1 * 4, 1, 3, 3, 5), 1, 4),
        (drawn(2 * 4 * 1, 2, 3, 2, 5), 4, 1),
    ]


def mean_maps(weights, prompts, each):
    """(prompts, rows, columns, words)."""
    with_words = weights[len(weights) // 2 :].mean(dim=1)
    return with_words.unflatten(0, (prompts, each)).mean(dim=1)


def given_maps(weights, prompts, each):
    with_words = weights[: len(weights) // 2].mean(dim=1)
    return with_words.unflatten(0, (each, prompts)).mean(dim=0)


def only_the_half(weights, prompts, each):
    return weights[len(weights) // 2 :].mean(dim=1).unflatten(0, (each, prompts)).mean(dim=0)


def only_the_order(weights, prompts, each):
    return weights[: len(weights) // 2].mean(dim=1).unflatten(0, (prompts, each)).mean(dim=1)


def every_second(weights, prompts, each):
    return weights[1::2].mean(dim=1).unflatten(0, (prompts, each)).mean(dim=1)


def other_half_read(function, cases):
    """Other weights in the half without words change the result."""
    weights, prompts, each = cases[0]
    changed = weights.clone()
    changed[: len(changed) // 2] = 0
    return not torch.allclose(function(weights, prompts, each), function(changed, prompts, each))


# 11.6


@functools.cache
def tiny():
    return StableDiffusion.from_pretrained("tiny"), Judge.load()


def down_reads(text, noise):
    """(heads, rows, columns, words): whom the layer on the way down reads in one call."""
    pipe, _ = tiny()
    with torch.inference_mode(), watch_words(pipe.unet) as seen:
        pipe.unet(noise, 901, pipe.encode_prompt([text]))
    return seen["down_blocks.1.attentions.0"][0][0]


@functools.cache
def watched():
    """What happens to one guess of tiny and to one table."""
    pipe, _ = tiny()
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        text = "a red house in the snow"
        c = pipe.encode_prompt([text])

        def changes(other):
            one, two = pipe.unet(noise, 501, c), pipe.unet(noise, 501, other)
            return bool((one - two).abs().max() > 1e-3 * one.abs().max())

        swapped = c[:, [0, 1, 3, 2, *range(4, 77)]]
        answers = {
            "two vectors exchanged": changes(swapped),
            "the context twice": changes(torch.cat([c, c], dim=1)),
            "the padding cut off": changes(c[:, : len(text.split()) + 2]),
        }
    red, house = NAMES.index("red"), NAMES.index("house")
    one, two = (down_reads(text, noise) for text in (WISH, WISH.replace("left", "right")))
    changed = two / one
    answers["map of house"] = bool((changed[..., house] - 1).abs().max() > 1e-3)
    answers["house over red"] = bool((changed[..., house] / changed[..., red] - 1).abs().max() > 1e-3)
    return answers


# 11.7


def halves(rng):
    """(attention, table of the places, left context, right context, columns)."""
    cases = []
    for heads, width, words, rows, columns in (
        (2, 8, (3, 3), 3, 4),
        (1, 6, (2, 5), 2, 6),
        (4, 8, (4, 1), 5, 2),
    ):
        attention = Attention(width, 5, heads=heads)
        with torch.no_grad():
            for p in attention.parameters():
                p.copy_(torch.randn(p.shape, generator=rng) / width**0.5)
        attention.requires_grad_(False)
        contexts = [torch.randn(2, m, 5, generator=rng) for m in words]
        cases.append((attention, torch.randn(2, rows * columns, width, generator=rng), *contexts, columns))
    return cases


def on_the_left(h, columns):
    return torch.arange(h.shape[1]) % columns < columns // 2


def two_sides(attention, h, left, right, columns):
    chosen = on_the_left(h, columns)[None, :, None]
    return torch.where(chosen, attention(h, left), attention(h, right))


def upper_and_lower(attention, h, left, right, columns):
    half = h.shape[1] // 2
    return torch.cat([attention(h[:, :half], left), attention(h[:, half:], right)], dim=1)


def both_everywhere(attention, h, left, right, columns):
    return attention(h, torch.cat([left, right], dim=1))


def averaged(attention, h, left, right, columns):
    return (attention(h, left) + attention(h, right)) / 2


def exchanged(attention, h, left, right, columns):
    return two_sides(attention, h, right, left, columns)


def zeros_outside(attention, h, left, right, columns):
    """Silences the other half's queries, whose places still get an answer."""
    chosen = on_the_left(h, columns)[None, :, None]
    return attention(h * chosen, left) + attention(h * ~chosen, right)


def who_reads_what(function, rows=3, columns=4, words=(3, 3)):
    """(rows, columns): 0 where the left context was read, 1 where the right one was, by a mock attention."""
    h, contexts = (
        torch.randn(1, rows * columns, 2),
        [torch.full((1, m, 2), float(i)) for i, m in enumerate(words)],
    )
    answer = function(lambda h, c: 0 * h + c.mean(), h, *contexts, columns)
    return answer[0, :, 0].unflatten(0, (rows, columns))


def table_added(function, cases):
    """Where every answer is 0, something else comes back."""
    h = torch.ones(1, 12, 2)
    return function(lambda h, c: 0 * h, h, torch.zeros(1, 3, 2), torch.zeros(1, 3, 2), 4).abs().max() > 1e-3


def read_in_part(function, cases):
    found = who_reads_what(function)
    return ((found - found.round()).abs() > 1e-3).any() or found.max() > 1.1


def rows_matter(function, cases):
    found = who_reads_what(function)
    return (found != found[:1]).any()


def border_amiss(function, cases):
    return who_reads_what(function)[0].tolist() != [0, 0, 1, 1]


def words_lost(function, cases):
    """A mock attention answers with the number of words that it is given."""
    h, contexts = torch.randn(1, 4, 2), [torch.zeros(1, m, 2) for m in (2, 5)]
    return {*function(lambda h, c: 0 * h + c.shape[1], h, *contexts, 2).flatten().tolist()} != {2, 5}


# 11.8

MARK, REFERENCE = 3, [3, 8]

WISH = "a red house left of a yellow tent in the snow at night"
NAMES = ["start", *WISH.split(), "end"]


def kept_vectors(positions) -> list[int]:
    """The positions as whole numbers from 0 to 76, each once; else RuleBroken."""
    if isinstance(positions, (str, bytes)) or not hasattr(positions, "__iter__"):
        raise RuleBroken("give a list of positions, whole numbers from 0 to 76")
    given = list(positions)
    chosen = [int(position) for position in given]
    if any(position != number for position, number in zip(given, chosen, strict=True)):
        raise RuleBroken("every position is a whole number from 0 to 76")
    if not all(0 <= position <= 76 for position in chosen) or len({*chosen}) != len(chosen):
        raise RuleBroken("every position is a whole number from 0 to 76 and comes once")
    return chosen


def told_by(positions):
    """How many of six pictures are right when only these vectors are the sentence's."""
    pipe, judge = tiny()
    noise = torch.randn(6, 4, 16, 16, generator=torch.Generator().manual_seed(11))
    with torch.inference_mode():
        nothing, full = pipe.encode_prompt([""]), pipe.encode_prompt([WISH])
        mixed = nothing.clone()
        mixed[:, positions] = full[:, positions]
        way = pipe.way(10, "ddim")
        predict = pipe.noise_predictor(torch.cat([nothing] * 6 + [mixed] * 6), pipe.guidance_scale)
        *_, last = way.walk(predict, way.start(noise))
    scenes = judge.read(pipe.decode(last.latents))
    return sum(
        [(t.colour, t.kind) for t in s.things] == [("red", "house"), ("yellow", "tent")] for s in scenes
    )


def vectors_needed(positions):
    chosen = kept_vectors(positions)
    right = told_by(chosen)
    if right < 4:
        raise RuleBroken(
            f"with these vectors {right} of 6 pictures have both things; at least 4 are asked for"
        )
    return float(len(chosen))


# 11.9


def toy_step(z, k, heard):
    """A step of a walk that tells from its end which layer heard what in which step."""
    mark = sum((i + 1) ** 2 * heard[name].mean() for i, name in enumerate(sorted(heard)))
    return 0.7 * z + (k + 1) * mark


def swaps(rng):
    """(kept, step, layers, windows, mine, other): walks of a few steps."""
    cases = []
    for count, layers, windows in (
        (4, ["down", "middle"], [(1, 2), (3, 4), (1, 2, 3, 4)]),
        (6, ["down", "middle", "up 1"], [(2, 3), (6,), (4, 5)]),
        (5, ["middle", "up 1", "up 2", "down"], [(4, 5), (1,), (2, 3, 4)]),
    ):
        mine, other = (torch.randn(1, 3, 4, generator=rng) for _ in range(2))
        kept = [torch.randn(2, 3, generator=rng)]
        for k in range(1, count + 1):
            kept.append(toy_step(kept[-1], k, dict.fromkeys(layers, mine)))
        cases.append((kept, toy_step, layers, windows, mine, other))
    return cases


def swap_matrix(kept, step, layers, windows, mine, other):
    """{(layer, window): latents at the end}."""
    ends = {}
    for layer in layers:
        for window in windows:
            z = kept[window[0] - 1]
            for k in range(window[0], len(kept)):
                heard = {name: other if name == layer and k in window else mine for name in layers}
                z = step(z, k, heard)
            ends[layer, window] = z
    return ends


def mended(begins: bool, goes_back: bool, fresh: bool):
    """The function as given, with some of its three bugs repaired."""

    def function(kept, step, layers, windows, mine, other):
        heard, ends = dict.fromkeys(layers, mine), {}
        for layer in layers:
            for window in windows:
                if fresh:
                    heard = dict.fromkeys(layers, mine)
                z = kept[window[0] - begins]
                for k in range(window[0], len(kept)):
                    if k in window:
                        heard[layer] = other
                    elif goes_back:
                        heard[layer] = mine
                    z = step(z, k, heard)
                ends[layer, window] = z
        return ends

    return function


def sentences_exchanged(kept, step, layers, windows, mine, other):
    return swap_matrix(kept, step, layers, windows, other, mine)


def all_layers_hear(kept, step, layers, windows, mine, other):
    ends: dict[tuple, Tensor] = {}
    for window in windows:
        z = kept[window[0] - 1]
        for k in range(window[0], len(kept)):
            z = step(z, k, dict.fromkeys(layers, other if k in window else mine))
        ends |= {(layer, window): z for layer in layers}
    return ends


def diaries(function):
    """{(layer, window): (the k of its first latents, [(k, what each layer heard), ...])}, of four steps."""

    def step(z, k, heard):
        return (*z, (k, dict(heard)))

    windows = [(1, 2), (2, 3), (3, 4)]
    kept = [(k,) for k in range(5)]
    ends = function(kept, step, ["down", "middle"], windows, "mine", "other")
    if set(ends) != {(layer, window) for layer in ("down", "middle") for window in windows}:
        raise ValueError("not one entry for each layer and window")
    return {cell: (z[0], list(z[1:])) for cell, z in ends.items()}


def heard_where(function, wrongly):
    """Whether in some step of some cell wrongly(layer, whether it is in the window, what is heard) holds."""
    return any(
        wrongly(layer, k in window, heard)
        for (layer, window), (_, steps) in diaries(function).items()
        for k, heard in steps
    )


def carried_on(function, cases):
    """A walk begins where another one ended."""
    return any(len(steps) > 4 for _, steps in diaries(function).values())


def stops_early(function, cases):
    return any(steps and steps[-1][0] < 4 for _, steps in diaries(function).values())


def others_hear(function, cases):
    return heard_where(function, lambda layer, inside, heard: "other" in {**heard, layer: ""}.values())


def outlasts(function, cases):
    return heard_where(function, lambda layer, inside, heard: not inside and heard[layer] == "other")


def deaf(function, cases):
    unwalked = any(not steps for _, steps in diaries(function).values())
    return unwalked or heard_where(function, lambda layer, inside, heard: inside and heard[layer] == "mine")


def begins_amiss(function, cases):
    return any(start != steps[0][0] - 1 for start, steps in diaries(function).values())


def unnamed(function, cases):
    return heard_where(function, lambda layer, inside, heard: len(heard) != 2)


EXERCISES = [
    Predict(
        number="11.1",
        name="guesses",
        section="11.2",
        minutes=10,
        measure=counted,
        within=0.01,
        mistakes=(
            Mistake(
                lambda: {"weights of one layer": 96 * 64 * 77},
                "That is the table of one head.",
            ),
            Mistake(
                lambda: {"weights of one layer": 8 * (96 * 64) ** 2},
                "That is self-attention: places read places. Who is read here?",
            ),
            Mistake(
                lambda: {"weights of one layer": 8 * 768 * 512 * 77},
                "Is a place a pixel?",
            ),
            Mistake(
                lambda: {"maps added up": 1.0},
                "At one place, yes. You were asked for the sum over all places.",
            ),
            Mistake(
                lambda: {"maps added up": 77.0},
                "Is it the words that have a weight of 1 to give away, or the places?",
            ),
            Mistake(
                lambda: {"columns for 150 tokens": 150},
                "Each row brings a start token and an end token, too, and they are read like the others.",
            ),
            Mistake(
                lambda: {"columns for 150 tokens": 77},
                "One row has room for 75 tokens of text. How many rows are there?",
            ),
            Mistake(
                lambda: {"more parameters": 320 * 256},
                "Which matrices read the words? There is more than one.",
            ),
            Mistake(
                lambda: {"more parameters": 4 * 320 * 256},
                "Two of the four matrices of a cross-attention never see the words.",
            ),
        ),
    ),
    Derive(
        number="11.2",
        name="new_weight",
        section="11.2",
        minutes=10,
        right=raised,
        ranges={"w": (0.05, 0.9), "delta": (-2.0, 2.0)},
        mistakes=(
            Mistake(
                lambda w, delta: w * math.exp(delta),
                "The word's exponential grows by this factor. What happens to the sum in the denominator?",
            ),
            Mistake(
                lambda w, delta: w * math.exp(delta) / (1 + w * math.exp(delta)),
                "In the denominator the word's old share is still there beside the new one.",
            ),
            Mistake(
                lambda w, delta: w + delta,
                "A score is not a weight: between them is the softmax.",
            ),
            Mistake(
                lambda w, delta: w + delta * w * (1 - w),
                "That is the slope of (8.7) times delta, right for a small delta alone.",
            ),
            Mistake(
                None,
                "With delta = 0 nothing is changed, and your formula gives another weight than w.",
                seen=moves_unasked,
            ),
            Mistake(
                None,
                "With a large delta this word should have nearly all the weight. Put 20 into your formula.",
                seen=never_takes_all,
            ),
            Mistake(
                None,
                "With a very negative delta this word should have no weight. Put -20 into your formula.",
                seen=never_gives_up,
            ),
        ),
    ),
    Derive(
        number="11.3",
        name="inner",
        section="11.3",
        minutes=10,
        right=inner_width,
        ranges={"D": (8.0, 1000.0)},
        mistakes=(
            Mistake(lambda D: 8 * D / 3, "Right for the matrices. The biases count as well."),
            Mistake(lambda D: 4 * D, "With a gate there are three matrices instead of two."),
            Mistake(
                lambda D: (8 * D**2 + 5 * D) / (3 * D + 2),
                "The last matrix's bias has D numbers in both, so it cancels.",
            ),
            Mistake(
                lambda D: (8 * D**2 + 4 * D) / (3 * D + 1),
                "How many biases does the first, double layer have?",
            ),
            Mistake(
                None,
                "Count the matrices first: two of D × 4D on one side; how many of D × f on the other?",
                seen=matrices_amiss,
            ),
            Mistake(
                None,
                "The matrices are right; the biases are not. Which layers have how many, on either side?",
                seen=biases_amiss,
            ),
        ),
    ),
    Build(
        number="11.4",
        name="word_maps",
        section="11.5",
        minutes=20,
        right=word_maps,
        cases=tables,
        mistakes=(
            Mistake(summed_layers, "The layers are added up. Their mean keeps the sum over the words at 1."),
            Mistake(
                every_head_alike,
                "Layers with more heads count more. First take the mean of each layer's heads.",
            ),
            Mistake(
                tiled,
                "A small map was laid out like tiles. Which of the large places lie in one of its squares?",
            ),
            Mistake(smoothed, "You blend neighbouring places. Each place should keep its own weight."),
            Mistake(scaled_to_one, "Each map was scaled. Then the words at a place no longer add up to 1."),
            Mistake(
                None,
                "At a place your words do not add up to 1: something is summed, scaled or picked.",
                seen=shaped(word_maps, not_one),
            ),
            Mistake(
                None,
                "Not every head is read: another second head changes nothing.",
                seen=shaped(word_maps, a_head_unread),
            ),
            Mistake(
                None,
                "A smaller layer is not read: another one changes nothing.",
                seen=shaped(word_maps, a_layer_unread),
            ),
            Mistake(
                None,
                "One layer with one head should come back as it is. Yours comes back changed.",
                seen=shaped(word_maps, a_layer_changed),
            ),
            Mistake(
                None,
                "A place of a small layer becomes a block of equal places. Yours differ within a block.",
                seen=shaped(word_maps, blocks_uneven),
            ),
            Mistake(
                None,
                "Three layers of different sizes do not count alike. Each should count once.",
                seen=shaped(word_maps, layers_unequal),
            ),
        ),
    ),
    FindTheBug(
        number="11.5",
        name="mean_maps",
        section="11.5",
        minutes=15,
        right=mean_maps,
        cases=batches,
        given=given_maps,
        mistakes=(
            Mistake(
                only_the_half,
                "You look at the right half now. Are pictures of the same prompt neighbours in the batch?",
            ),
            Mistake(
                only_the_order,
                "The pictures are with their prompts now. But which half of the batch reads the words?",
            ),
            Mistake(
                every_second,
                "The two halves of guidance are one behind the other, not taking turns.",
            ),
            Mistake(
                None,
                "Your maps change with the weights of the half that reads no words.",
                seen=shaped(mean_maps, other_half_read),
            ),
            Mistake(
                None,
                "At a place your words do not add up to 1: something is summed or scaled.",
                seen=shaped(mean_maps, not_one),
            ),
        ),
    ),
    Predict(
        number="11.6",
        name="expected",
        section="11.9",
        minutes=20,
        measure=watched,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"two vectors exchanged": True},
                "The encoder has read the order. Does cross-attention see in which row a vector is? (8.10)",
            ),
            Mistake(
                lambda: {"the context twice": True},
                "Every exponential occurs twice in the denominator of (11.2). And in the sum of (11.3)?",
            ),
            Mistake(
                lambda: {"the padding cut off": False},
                "The first table of section 11.7 says how much weight the padding has.",
            ),
            Mistake(
                lambda: {"map of house": False},
                'The score of "house" stays. And the sum in the denominator of (11.2), over all words?',
            ),
            Mistake(
                lambda: {"house over red": True},
                'Both come before "left", and the encoder is causal. What is left of (11.2) in a ratio?',
            ),
        ),
    ),
    Build(
        number="11.7",
        name="two_sides",
        section="11.2",
        minutes=25,
        right=two_sides,
        cases=halves,
        mistakes=(
            Mistake(upper_and_lower, "You divided above from below: look at (11.1) again."),
            Mistake(both_everywhere, "Here every place reads both sentences."),
            Mistake(averaged, "Here every place gets half of each answer."),
            Mistake(exchanged, "Left and right are exchanged."),
            Mistake(
                zeros_outside,
                "A place whose query is 0 still gets an answer, a plain mean. Choose between answers.",
            ),
            Mistake(
                None,
                "You add h itself. The block does that; here only the answer of the attention is asked for.",
                seen=shaped(two_sides, table_added),
            ),
            Mistake(
                None,
                "Some places read a little of both. Each should read one context, wholly.",
                seen=shaped(two_sides, read_in_part),
            ),
            Mistake(
                None,
                "Left or right is a matter of the column alone; in yours it differs from row to row.",
                seen=shaped(two_sides, rows_matter),
            ),
            Mistake(
                None,
                "The border between the halves is not in the middle of the picture.",
                seen=shaped(two_sides, border_amiss),
            ),
            Mistake(
                None,
                "With contexts of different lengths some words are lost.",
                seen=shaped(two_sides, words_lost),
            ),
        ),
    ),
    ReachTheMark(
        number="11.8",
        name="kept",
        section="11.7",
        minutes=30,
        score=vectors_needed,
        what="vectors kept",
        mark=MARK,
        higher=False,
        right=REFERENCE,
        seconds=60.0,
        mistakes=(
            Mistake(
                None,
                "The colours are kept as words of their own. Has nobody else read them?",
                seen=lambda answer, cases: {2, 7} <= {*answer},
            ),
            Mistake(
                None,
                "The padding is kept. Try without it.",
                seen=lambda answer, cases: len({*answer} & {*range(15, 77)}) > 3,
            ),
        ),
    ),
    FindTheBug(
        number="11.9",
        name="swap_matrix",
        section="11.8",
        minutes=20,
        right=swap_matrix,
        cases=swaps,
        given=mended(False, False, False),
        mistakes=(
            Mistake(
                mended(True, True, False),
                "A swap that lasts to the last step is still on when the next layer's turn comes: this row "
                "would seem to decide what the row above decides.",
            ),
            Mistake(
                mended(True, False, True),
                "Steps 1 and 2 would seem to decide everything, the colour too: what does the layer hear "
                "after its window?",
            ),
            Mistake(
                mended(False, True, True),
                "The layers hear what they should. But does step k take the latents from before it or after?",
            ),
            Mistake(
                mended(True, False, False),
                "Each walk begins rightly now. Print what all layers hear in each step: who still hears the "
                "other sentence, and when?",
            ),
            Mistake(
                mended(False, True, False),
                "The swap ends with its window now, where a step follows. Where none follows it goes on, and "
                "the walk's beginning is not right either.",
            ),
            Mistake(
                mended(False, False, True),
                "Each cell has its layer to itself now. Two bugs are left, at the window's end and at the "
                "walk's beginning.",
            ),
            Mistake(
                sentences_exchanged,
                "Your pictures follow the other sentence, and ours is heard in the window: exchanged.",
            ),
            Mistake(
                all_layers_hear, 'All your rows are the row "all four": only one layer should be swapped.'
            ),
            Mistake(None, "A walk of yours goes on from the end of another one.", seen=carried_on),
            Mistake(
                None, "Your walk stops before the last step: the rest is never painted.", seen=stops_early
            ),
            Mistake(
                None, "`heard` should say for every layer what it hears; yours leaves some out.", seen=unnamed
            ),
            Mistake(
                None,
                "Another layer than the row's own hears the other sentence, too.",
                seen=others_hear,
            ),
            Mistake(
                None, "After its window, or before it, the layer hears the other sentence.", seen=outlasts
            ),
            Mistake(
                None, "In some step of its window the layer does not hear the other sentence.", seen=deaf
            ),
            Mistake(
                None,
                "What each layer hears is right. But some walk begins with the wrong latents.",
                seen=begins_amiss,
            ),
        ),
    ),
]
