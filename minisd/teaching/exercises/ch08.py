"""The checks of chapter 8: attention. It spoils the exercises to read this first."""

import functools
import itertools
import math

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ...scenes.world import COLOURS, KINDS, SIZES
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 8.1


def measured():
    def weights(scores, temperature):
        return (torch.tensor(scores) / temperature).softmax(dim=0)

    signs = torch.randint(0, 2, (2, 20_000, 256), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    square, wide, words = (torch.empty(n, 40, device="meta") for n in (64 * 64, 96 * 64, 77))
    return {
        "larger weight": float(weights([3.0, 1.0], 1)[0]),
        "larger weight at temperature 4": float(weights([3.0, 1.0], 4)[0]),
        "one of 77": float(weights([4.0] + 76 * [0.0], 1)[0]),
        "width of a score": float((signs[0] * signs[1]).sum(dim=1).std()),
        "self-attention": (wide @ wide.T).numel() / (square @ square.T).numel(),
        "cross-attention": (wide @ words.T).numel() / (square @ words.T).numel(),
        "pixels a side": 16 * even_places(640) ** 0.5,
    }


def even_places(width, n=1024):
    """How many places make the pairs as dear as the matrices, whose share falls as n grows."""
    x, w = torch.empty(n, width, device="meta"), torch.empty(width, width, device="meta")
    with FlopCounterMode(display=False) as matrices:
        q, k, v, _ = (x @ w for _ in range(4))
    with FlopCounterMode(display=False) as pairs:
        (q @ k.T) @ v
    return n * matrices.get_total_flops() / pairs.get_total_flops()


# 8.2


def scores_of(q, k):
    return q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5


def in_words(caption):
    """The words of a caption that keeps to the rules of the exercise; else RuleBroken."""
    if not isinstance(caption, str):
        raise RuleBroken(f"a caption is a text in quotation marks, yours is a {type(caption).__name__}")
    words = caption.split()
    unknown = [word for word in words if word not in ("a", "and", *COLOURS, *SIZES, *KINDS)]
    if unknown:
        raise RuleBroken(f"{unknown[0]!r} is not one of the words that the exercise allows")
    if words.count("tent") != 1 or words[-1] != "tent":
        raise RuleBroken('"tent" should be the last word of the caption, and occur only there')
    for phrase in " ".join(words).split(" and "):
        first, *adjectives, thing = phrase.split() if len(phrase.split()) > 1 else (phrase, "")
        if first != "a" or thing not in KINDS or not set(adjectives) <= {*COLOURS, *SIZES}:
            raise RuleBroken(f'"{phrase}" is no phrase: "a", then colours and sizes or none, then one thing')
    return words


def places_read(caption):
    """Which place, counted from 0, "tent" reads by each of the four explanations."""
    words = in_words(caption)
    colours = [i for i, word in enumerate(words) if word in COLOURS]
    either = [i for i, word in enumerate(words) if word in (*COLOURS, *SIZES)]
    if not colours:
        raise RuleBroken("your caption has no colour: explanation B would read nowhere")
    if len(words) < 6:
        raise RuleBroken("your caption has no sixth word: explanation D would read nowhere")
    return {"A": len(words) - 2, "B": colours[-1], "C": either[-1], "D": 5}


def pairs_apart(caption):
    """Of the six pairs of explanations, how many read at different places."""
    return sum(a != b for a, b in itertools.combinations(places_read(caption).values(), 2))


def agree(first, second):
    """Whether two explanations read at the same place of a caption."""

    def seen(answer, cases):
        places = places_read(answer)
        return places[first] == places[second]

    return seen


# 8.4

SENTENCES = ((4, 6), (9, 5), (12, 12))  # words in the vocabulary, places


def one_hots(words, places):
    """A sentence that fills all places: (places, words + places), and which words they are."""
    ids = torch.randint(0, words, (places,), generator=torch.Generator().manual_seed(words))
    ids[1::2] = (ids[0::2][: len(ids[1::2])] + 1) % words  # no word is its neighbour
    return torch.cat([torch.eye(words)[ids], torch.eye(places)], dim=1), ids


def attended(previous_word, words, places):
    """(weights (places, places), output (places, words)) of the head with the reader's matrices."""
    x, _ = one_hots(words, places)
    w_q, w_k, w_v, w_o = (torch.as_tensor(w, dtype=torch.float32) for w in previous_word(words, places))
    for name, w in (("W_Q", w_q), ("W_K", w_k), ("W_V", w_v)):
        if w.ndim != 2 or len(w) != words + places:
            raise RuleBroken(f"{name} should have {words + places} rows, one for each number of x")
    if w_q.shape[1] != w_k.shape[1]:
        raise RuleBroken(
            "queries and keys are multiplied with each other: W_Q and W_K need equally many columns"
        )
    if w_o.ndim != 2 or tuple(w_o.shape) != (w_v.shape[1], words):
        raise RuleBroken(f"W_O should turn a value of {w_v.shape[1]} numbers into {words}, one for each word")
    weights = ((x @ w_q) @ (x @ w_k).T / w_q.shape[1] ** 0.5).softmax(dim=-1)
    return weights, weights @ (x @ w_v) @ w_o


def smallest_hit(previous_word):
    """The smallest number, over all places, that stands for the right word; wrong where others are not 0."""
    worst = 1.0
    for words, places in SENTENCES:
        _, output = attended(previous_word, words, places)
        _, ids = one_hots(words, places)
        wanted = torch.eye(words)[torch.cat([ids[:1], ids[:-1]])]
        worst = min(worst, 1 - float((output - wanted).abs().max()))
    return worst


def previous_word(words, places, scale=100.0, shift=-1):
    w_q, w_k = torch.zeros(words + places, places), torch.zeros(words + places, places)
    for i in range(places):
        w_q[words + i, min(max(i + shift, 0), places - 1)] = scale
        w_k[words + i, i] = 1
    w_v = torch.cat([torch.eye(words), torch.zeros(places, words)])
    return w_q, w_k, w_v, torch.eye(words)


def looks(previous_word, offset):
    """The mean weight that places in the middle give to the place `offset` away."""
    weights, _ = attended(previous_word, 9, 5)
    middle = torch.arange(1, 4)
    return float(weights[middle, middle + offset].mean())


def first_weight(previous_word):
    return float(attended(previous_word, 9, 5)[0][0, 0])


# 8.5


@functools.cache
def moved():
    """At how many places another vector comes out when the second and the third word are exchanged."""
    rng = torch.Generator().manual_seed(0)
    n, d = 6, 8
    x, places = 0.5 * torch.randn(2, n, d, generator=rng)
    picture = torch.randn(4, d, generator=rng)
    order = torch.tensor([0, 2, 1, 3, 4, 5])

    def layer(x, context=None, causal=False):
        context = x if context is None else context
        scores = scores_of(x, context)
        if causal:
            scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -math.inf)
        return x + scores.softmax(dim=-1) @ context

    networks = {
        "one layer": layer,
        "one layer with positions": lambda x: layer(x + places),
        "one causal layer": lambda x: layer(x, causal=True),
        "two causal layers": lambda x: layer(layer(x, causal=True), causal=True),
        "cross-attention": lambda x: layer(picture, context=x),
    }
    return {
        name: int(((network(x) - network(x[order])).abs().amax(dim=1) > 1e-4).sum())
        for name, network in networks.items()
    }


# 8.6


def causal(scores, v):
    future = torch.ones(scores.shape).triu(diagonal=1).bool()
    return scores.masked_fill(future, -math.inf).softmax(dim=-1) @ v


def mask_late(q, k, v):
    weights = scores_of(q, k).softmax(dim=-1).tril()
    return weights / weights.sum(dim=-1, keepdim=True) @ v


VARIANTS = {
    "centred keys": lambda q, k, v: causal(scores_of(q, k - k.mean(dim=0)), v),
    "centred queries": lambda q, k, v: causal(scores_of(q - q.mean(dim=0), k), v),
    "centred values": lambda q, k, v: causal(scores_of(q, k), v - v.mean(dim=0)) + v.mean(dim=0),
    "greatest first": lambda q, k, v: causal(scores_of(q, k) - scores_of(q, k).amax(dim=1, keepdim=True), v),
    "scaled keys": lambda q, k, v: causal(scores_of(q, k / k.std(dim=0)), v),
    "unit queries": lambda q, k, v: causal(scores_of(q / q.norm(dim=1, keepdim=True), k), v),
    "mask late": mask_late,
}


@functools.cache
def verdicts():
    """Whether some word's output depends on a word after it, by slopes."""
    qkv = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind()
    future, found = torch.ones(5, 5).triu(1).bool(), {}
    for name, variant in VARIANTS.items():
        slopes = torch.autograd.functional.jacobian(variant, qkv)  # each (5, 4, 5, 4)
        later = sum(part.abs().sum(dim=(1, 3)) for part in slopes)[future].max()
        found[name] = "leaks" if later > 1e-6 else "harmless"
    return found


# 8.7


def causal_attend(q, k, v):
    """Scores divided by their spread among the words that may be seen, where that is above 1."""
    past = torch.ones(q.shape[1], k.shape[1]).tril()
    scores, count = q @ k.transpose(1, 2), past.sum(dim=-1, keepdim=True)
    mean = (scores * past).sum(dim=-1, keepdim=True) / count
    variance = ((scores - mean) ** 2 * past).sum(dim=-1, keepdim=True) / count
    return masked(scores / variance.clamp(min=1).sqrt(), v)


def masked(scores, v, diagonal=1):
    future = torch.ones(scores.shape[1:]).triu(diagonal).bool()
    return scores.masked_fill(future, -math.inf).softmax(dim=-1) @ v


def by_whole_rows(q, k):
    scores = q @ k.transpose(1, 2)
    return scores / scores.std(dim=-1, correction=0, keepdim=True).clamp(min=1)


def leaky(q, k, v):
    return masked(by_whole_rows(q, k), v, diagonal=2)


def mask_mended(q, k, v):
    return masked(by_whole_rows(q, k), v)


def scale_mended(q, k, v):
    """The spread up to word i is right, and the next word is still visible."""
    past = torch.ones(q.shape[1], k.shape[1]).tril()
    scores, count = q @ k.transpose(1, 2), past.sum(dim=-1, keepdim=True)
    mean = (scores * past).sum(dim=-1, keepdim=True) / count
    variance = ((scores - mean) ** 2 * past).sum(dim=-1, keepdim=True) / count
    return masked(scores / variance.clamp(min=1).sqrt(), v, diagonal=2)


def by_the_root(q, k, v):
    return masked(scores_of(q, k), v)


def scale_dropped(q, k, v):
    return masked(q @ k.transpose(1, 2), v)


def hidden_as_zeros(q, k, v):
    """The hidden scores are 0 in the spread, and counted."""
    scores = (q @ k.transpose(1, 2)).tril()
    return masked(scores / scores.std(dim=-1, correction=0, keepdim=True).clamp(min=1), v)


def other_correction(q, k, v):
    past = torch.ones(q.shape[1], k.shape[1]).tril()
    scores, count = q @ k.transpose(1, 2), past.sum(dim=-1, keepdim=True)
    mean = (scores * past).sum(dim=-1, keepdim=True) / count
    variance = ((scores - mean) ** 2 * past).sum(dim=-1, keepdim=True) / (count - 1).clamp(min=1)
    return masked(scores / variance.clamp(min=1).sqrt(), v)


def always_divided(q, k, v):
    past = torch.ones(q.shape[1], k.shape[1]).tril()
    scores, count = q @ k.transpose(1, 2), past.sum(dim=-1, keepdim=True)
    mean = (scores * past).sum(dim=-1, keepdim=True) / count
    variance = ((scores - mean) ** 2 * past).sum(dim=-1, keepdim=True) / count
    return masked(scores / variance.clamp(min=1e-12).sqrt(), v)


def sentences(rng):
    return [
        tuple(size * torch.randn(3, batch, n, d, generator=rng))
        for size, batch, n, d in ((1.5, 1, 5, 4), (0.7, 3, 8, 6), (1.5, 2, 3, 16))
    ]


# 8.8


def grey_score(m, s):
    """Where m / (g + m) and g / (g + exp(s) + m - 1) are equal, with g = exp(c)."""
    return 0.5 * math.log(m * (math.exp(s) + m - 1))


# 8.9


def merged(o1, L1, o2, L2):
    total = math.exp(L1) + math.exp(L2)
    return (o1 * math.exp(L1) + o2 * math.exp(L2)) / total, math.log(total)


# 8.10


PRODUCTS = 200  # of matrices


class Sizes(TorchDispatchMode):
    """Watches the sizes of the tensors that are made; those of matrix products apart, and counted."""

    def __init__(self):
        super().__init__()
        self.largest = self.product = self.products = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        multiplies = any(name in str(function) for name in ("mm", ".mv", ".dot", "addmv"))
        self.products += multiplies
        for part in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(part, torch.Tensor):
                size = part.untyped_storage().nbytes() // part.element_size()
                self.largest = max(self.largest, size)
                if multiplies:
                    self.product = max(self.product, size)
        return made


class NotFused(TorchFunctionMode):
    """Refuses the function that does it all."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") == "scaled_dot_product_attention":
            raise RuleBroken("scaled_dot_product_attention is not allowed in this exercise")
        return function(*args, **(kwargs or {}))


def watched(frugal):
    """What an answer made on the way, a Sizes. Raises RuleBroken where its result is wrong."""
    q, k, v = torch.randn(3, 1024, 16, generator=torch.Generator().manual_seed(0)).unbind()
    with NotFused(), Sizes() as sizes:
        result = frugal(q.clone(), k.clone(), v.clone())
    wanted = by_the_root(q[None], k[None], v[None])[0]
    if not isinstance(result, torch.Tensor) or result.shape != wanted.shape:
        raise RuleBroken("the result should be a tensor of the shape (n, d)")
    off = float((result - wanted).abs().max())
    if not off < 1e-5:
        raise RuleBroken(f"the result is not that of causal attention: it is off by up to {off:.2g}")
    if sizes.products > PRODUCTS:
        raise RuleBroken(f"you made {sizes.products:,} products of matrices; {PRODUCTS} are allowed")
    return sizes


def most_numbers(frugal):
    return watched(frugal).largest


def frugal(q, k, v, block=16):
    rows = []
    for start in range(0, len(q), block):
        future = torch.arange(len(k)) > torch.arange(start, min(start + block, len(q)))[:, None]
        scores = scores_of(q[start : start + block], k).masked_fill(future, -math.inf)
        rows.append(scores.softmax(dim=-1) @ v)
    return torch.cat(rows)


# 8.11


class Tuple(Build):
    """A function to write whose tensors may come back in a list as well as in a tuple."""

    def compared(self, answer, cases):
        @functools.wraps(answer)
        def as_tuple(*inputs):
            result = answer(*inputs)
            return tuple(result) if isinstance(result, list) else result

        return super().compared(as_tuple, cases)


def stays(width, heads, h):
    return [i for i in range(width) if i // (width // heads) != h]


def without_head(w_q, w_k, w_v, w_o, heads, h):
    stay = stays(len(w_o), heads, h)
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[stay]


def rows_of_all(w_q, w_k, w_v, w_o, heads, h):
    stay = stays(len(w_o), heads, h)
    return w_q[stay], w_k[stay], w_v[stay], w_o[stay]


def columns_of_all(w_q, w_k, w_v, w_o, heads, h):
    stay = stays(len(w_o), heads, h)
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[:, stay]


def like_pytorch(w_q, w_k, w_v, w_o, heads, h):
    stay = stays(len(w_o), heads, h)
    return w_q[stay], w_k[stay], w_v[stay], w_o[:, stay]


def output_untouched(w_q, w_k, w_v, w_o, heads, h):
    return *without_head(w_q, w_k, w_v, w_o, heads, h)[:3], w_o


def interleaved(w_q, w_k, w_v, w_o, heads, h):
    stay = [i for i in range(len(w_o)) if i % heads != h]
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[stay]


def set_to_zero(w_q, w_k, w_v, w_o, heads, h):
    w_o = w_o.clone()
    w_o[[i for i in range(len(w_o)) if i not in stays(len(w_o), heads, h)]] = 0
    return w_q, w_k, w_v, w_o


def that_head_alone(w_q, w_k, w_v, w_o, heads, h):
    stay = [i for i in range(len(w_o)) if i not in stays(len(w_o), heads, h)]
    return w_q[:, stay], w_k[:, stay], w_v[:, stay], w_o[stay]


def layers_with_heads(rng):
    return [
        (*torch.randn(4, width, width, generator=rng).unbind(), heads, h)
        for width, heads, h in ((12, 3, 1), (8, 4, 0), (16, 4, 3), (6, 3, 2))
    ]


# 8.12


def dot_variances(d, mu, sigma):
    """The variance of a score, and that of the terms in it which differ from key to key."""
    return d * (sigma**4 + 2 * mu**2 * sigma**2), d * (sigma**4 + mu**2 * sigma**2)


EXERCISES = [
    Predict(
        number="8.1",
        name="guesses",
        section="8.4",
        minutes=15,
        measure=measured,
        within=0.05,
        mistakes=(
            Mistake(
                lambda: {"larger weight": math.exp(2)},
                "That is how many times as large the one weight is as the other (8.4). The two add up to 1.",
            ),
            Mistake(
                lambda: {"larger weight": 0.75},
                "You divided the scores by their sum. The softmax does that to something else first.",
            ),
            Mistake(
                lambda: {"larger weight at temperature 4": 1 / (1 + math.exp(-8))},
                "You multiplied by the temperature. High temperatures make the weights more alike.",
            ),
            Mistake(
                lambda: {"one of 77": 1 / (1 + math.exp(-4))},
                "Against one other word, yes. Here are 76 of them, and their weights add up.",
            ),
            Mistake(
                lambda: {"width of a score": 256.0},
                "That is the variance of the score; the question asks for its width.",
            ),
            Mistake(
                lambda: {"self-attention": 1.5},
                "One and a half times as many places, yes. How many pairs of places?",
            ),
            Mistake(
                lambda: {"cross-attention": 2.25},
                "In cross-attention only one of the two numbers grows: there are still 77 words.",
            ),
            Mistake(
                lambda: {"pixels a side": 1280.0},
                "That is how many places it takes. How many of them lie along a side, and how wide is each?",
            ),
            Mistake(
                lambda: {"pixels a side": 1280**0.5},
                "That is the side in places. Each of them is 16 pixels wide.",
            ),
            Mistake(
                lambda: {"pixels a side": 16 * 640**0.5},
                "You compared n with D. In (8.13), how many products does each of the two parts consist of?",
            ),
            Mistake(
                lambda: {"pixels a side": 8 * 1280**0.5},
                "8 pixels for each place is the top level. At this one a place has 16 × 16 pixels.",
            ),
        ),
    ),
    ReachTheMark(
        number="8.2",
        name="caption",
        section="8.11",
        minutes=15,
        score=pairs_apart,
        what="pairs of explanations, of six, that read at different places:",
        mark=6,
        higher=True,
        right="a red big car and a house and a tent",
        mistakes=(
            Mistake(
                None,
                'A and B both read the colour just before "tent". What can stand there instead?',
                seen=agree("A", "B"),
            ),
            Mistake(
                None,
                'A and C both read the word just before "tent". Must it be a colour or a size?',
                seen=agree("A", "C"),
            ),
            Mistake(
                None,
                'B and C read the same colour. What would have to lie nearer to "tent" than that colour?',
                seen=agree("B", "C"),
            ),
            Mistake(
                None,
                'The sixth word is the one before "tent", so A and D agree. Is the caption long enough?',
                seen=agree("A", "D"),
            ),
            Mistake(
                None,
                "D still agrees with B or with C: what else could be the sixth word?",
                seen=lambda answer, cases: (
                    places_read(answer)["D"] in list(places_read(answer).values())[1:3]
                ),
            ),
        ),
    ),
    Derive(
        number="8.3",
        name="pull",
        section="8.4",
        minutes=10,
        right=lambda w, v, o: w * (v - o),
        ranges={"w": (0.1, 0.9), "v": (-2.0, 2.0), "o": (-2.0, 2.0)},
        mistakes=(
            Mistake(
                lambda w, v, o: w * v,
                "That is the first term of (8.7). What the other weights lose is missing.",
            ),
            Mistake(
                lambda w, v, o: w * (1 - w) * v,
                "The word's own weight alone: the others change as well.",
            ),
            Mistake(
                lambda w, v, o: w * (o - v),
                "The sign: a word that is read more pulls the output towards its value.",
            ),
            Mistake(
                lambda w, v, o: v - o,
                "Towards the value, yes. But how much does a word count that hardly anybody reads?",
            ),
        ),
    ),
    ReachTheMark(
        number="8.4",
        name="previous_word",
        section="8.6",
        minutes=25,
        score=smallest_hit,
        what="the worst number's closeness to what it should be",
        mark=0.99,
        higher=True,
        right=previous_word,
        mistakes=(
            Mistake(
                None,
                "Every word looks at the next one: what the query of place i asks for, which key holds?",
                seen=lambda answer, cases: looks(answer, 1) > 0.5,
            ),
            Mistake(
                None,
                "Every word looks at itself: where is the shift from one place to the one before?",
                seen=lambda answer, cases: looks(answer, 0) > 0.5,
            ),
            Mistake(
                None,
                "The words look where they should, but not firmly enough: what makes a softmax sharp?",
                seen=lambda answer, cases: 0.2 < looks(answer, -1) < 0.99,
            ),
            Mistake(
                None,
                "All words but the first are right. Which key should the first one look for?",
                seen=lambda answer, cases: looks(answer, -1) > 0.99 and first_weight(answer) < 0.9,
            ),
            Mistake(
                None,
                "The weights are right, and what they fetch is not: what should W_V keep of x, and what not?",
                seen=lambda answer, cases: looks(answer, -1) > 0.99 and first_weight(answer) > 0.9,
            ),
        ),
    ),
    Predict(
        number="8.5",
        name="changes",
        section="8.6",
        minutes=15,
        measure=moved,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"one layer": 0},
                "Section 8.6: the outputs move with the words. Compared place by place, is that no change?",
            ),
            Mistake(
                lambda: {"one layer": 6},
                "Without positions the words are a set. What do the words that stayed where they were see of "
                "the exchange?",
            ),
            Mistake(
                lambda: {"one layer with positions": 2},
                "The two words have other vectors now: another sum of word and place. Who reads them?",
            ),
            Mistake(
                lambda: {"one causal layer": 5},
                "A word after the two sees both of them either way. Does the mask tell it their order?",
            ),
            Mistake(
                lambda: {"two causal layers": 2},
                "The second layer reads what the first has made. Which words had each of those vectors seen?",
            ),
            Mistake(
                lambda: {"two causal layers": 6},
                "Nearly: which word reads nothing but itself, in every layer?",
            ),
            Mistake(
                lambda: {"cross-attention": 4},
                "The words are keys and values here. Does a weighted sum know the order of its terms?",
            ),
        ),
    ),
    Predict(
        number="8.6",
        name="verdicts",
        section="8.7",
        minutes=15,
        measure=verdicts,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"centred keys": "leaks"},
                "The mean key knows the future, yes. What does it do to a row of scores, and to its weights?",
            ),
            Mistake(
                lambda: {"centred queries": "harmless"},
                "Multiply out: what does the mean query do to the score of word j? The same for all j?",
            ),
            Mistake(
                lambda: {"centred values": "leaks"},
                "The mean value knows the future, yes. How much of it is left at the end?",
            ),
            Mistake(
                lambda: {"greatest first": "leaks"},
                "The greatest score may be a hidden one. Which weights change when it is taken away?",
            ),
            Mistake(
                lambda: {"scaled keys": "harmless"},
                "The spread of each entry knows the future. Dividing is not adding: what happens to the "
                "differences of scores?",
            ),
            Mistake(
                lambda: {"unit queries": "leaks"},
                "Which words does the length of a query depend on?",
            ),
            Mistake(
                lambda: {"mask late": "leaks"},
                "The sum over the whole row knows the future. Is it still there after the second division?",
            ),
        ),
    ),
    FindTheBug(
        number="8.7",
        name="causal_attend",
        section="8.7",
        minutes=25,
        right=causal_attend,
        cases=sentences,
        given=leaky,
        mistakes=(
            Mistake(
                mask_mended,
                "The mask is right now. There is a second way for later words to get in: which line looks "
                "at a whole row of scores?",
            ),
            Mistake(
                scale_mended,
                "The spread is right now. The mask still lets something through: write it down for three "
                "words.",
            ),
            Mistake(
                by_the_root,
                "Nothing leaks any more, but this is (8.8), and your colleague's idea is gone.",
            ),
            Mistake(
                scale_dropped,
                "Nothing leaks any more, but scores of any width come through: the idea is gone.",
            ),
            Mistake(
                hidden_as_zeros,
                "Hidden scores set to 0 still count in the mean and in the number of scores.",
            ),
            Mistake(other_correction, "Nearly: the text asks for correction=0."),
            Mistake(always_divided, "Rows that are narrow enough should stay as they are."),
            Mistake(
                None,
                "Some results are NaN. How wide is the row of the first word, which has a single score?",
                seen=lambda answer, cases: bool(answer(*cases[0])[:, 0].isnan().any()),
            ),
        ),
    ),
    Derive(
        number="8.8",
        name="grey_score",
        section="8.2",
        minutes=15,
        right=grey_score,
        ranges={"m": (2.0, 12.0), "s": (1.0, 8.0)},
        mistakes=(
            Mistake(
                lambda m, s: s / 2,
                "Half-way between 0 and s. But the background has m words with the score 0, and they add up.",
            ),
            Mistake(
                lambda m, s: (s + math.log(m)) / 2,
                "Nearly: a place of a shape reads the m - 1 other words as well.",
            ),
            Mistake(
                lambda m, s: 0.5 * math.log(m * (math.exp(s) + m)),
                "Nearly: you counted the shape's own word twice, once with the score s and once with 0.",
            ),
            Mistake(
                lambda m, s: math.log(m * (math.exp(s) + m - 1)),
                "That is 2c: the exponential of c stands in the equation twice.",
            ),
            Mistake(
                lambda m, s: math.sqrt(m * (math.exp(s) + m - 1)),
                "That is the exponential of c; the question asks for c.",
            ),
            Mistake(
                lambda m, s: math.log(m),
                "There the background gives half of its weight to grey. How much does a shape give to it?",
            ),
            Mistake(
                lambda m, s: math.log(math.exp(s) + m - 1),
                "There a shape gives half of its weight to grey. What does the background keep for words?",
            ),
        ),
    ),
    Derive(
        number="8.9",
        name="merged",
        section="8.10",
        minutes=15,
        right=merged,
        ranges={"o1": (-2.0, 2.0), "L1": (-1.5, 2.5), "o2": (-2.0, 2.0), "L2": (-1.5, 2.5)},
        mistakes=(
            Mistake(
                lambda o1, L1, o2, L2: ((o1 + o2) / 2, math.log(math.exp(L1) + math.exp(L2))),
                "The plain average of the two: right only when both halves have the same sum.",
            ),
            Mistake(
                lambda o1, L1, o2, L2: (
                    (o1 * L1 + o2 * L2) / (L1 + L2),
                    math.log(math.exp(L1) + math.exp(L2)),
                ),
                "You weighted with the logarithms of the sums. What are the sums themselves?",
            ),
            Mistake(
                lambda o1, L1, o2, L2: (
                    (o1 * math.exp(L1) + o2 * math.exp(L2)) / (math.exp(L1) + math.exp(L2)),
                    L1 + L2,
                ),
                "The output is right. Adding logarithms multiplies the sums; here the sums add.",
            ),
            Mistake(
                lambda o1, L1, o2, L2: (
                    o1 * math.exp(L1) + o2 * math.exp(L2),
                    math.log(math.exp(L1) + math.exp(L2)),
                ),
                "These are the weighted values added up, before the division: the weights should sum to 1.",
            ),
        ),
    ),
    ReachTheMark(
        number="8.10",
        name="frugal",
        section="8.10",
        minutes=20,
        score=most_numbers,
        what="numbers in the largest tensor",
        mark=20_000,
        right=frugal,
        mistakes=(
            Mistake(
                None,
                "You make the whole table of scores. How many readers must be served at once?",
                seen=lambda answer, cases: watched(answer).product > 1_000_000,
            ),
            Mistake(
                None,
                "The scores come in blocks, but something else is still a whole table. Is it the mask?",
                seen=lambda answer, cases: watched(answer).largest > 1_000_000,
            ),
            Mistake(
                None,
                "You are on the right way; your blocks are too large.",
                seen=lambda answer, cases: watched(answer).largest > 20_000,
            ),
        ),
    ),
    Tuple(
        number="8.11",
        name="without_head",
        section="8.5",
        minutes=15,
        right=without_head,
        cases=layers_with_heads,
        mistakes=(
            Mistake(
                rows_of_all,
                "You took rows out of all four. A row of W_Q belongs to a number of the word's vector, which "
                "all heads read.",
            ),
            Mistake(
                columns_of_all,
                "W_Q, W_K and W_V are right. W_O is used the other way round: which of its axes counts what "
                "the heads bring?",
            ),
            Mistake(
                like_pytorch,
                "You took rows for columns and columns for rows. nn.Linear keeps its weight the other way "
                "round; here it is x @ W.",
            ),
            Mistake(output_untouched, "W_O still has rows for the head that is gone."),
            Mistake(
                interleaved,
                "A head has columns that lie side by side: (h d). You took every so many-th one: (d h).",
            ),
            Mistake(
                set_to_zero,
                "That silences the head, and costs as much as before. The matrices should become smaller.",
            ),
            Mistake(that_head_alone, "You kept head h and took out all the others."),
        ),
    ),
    Derive(
        number="8.12",
        name="variances",
        section="8.4",
        minutes=20,
        right=dot_variances,
        ranges={"d": (2.0, 9.0), "mu": (-1.5, 1.5), "sigma": (0.3, 2.0)},
        mistakes=(
            Mistake(
                lambda d, mu, sigma: (d * sigma**4, d * sigma**4),
                "Right for mu = 0. With a mean, which terms of the product appear?",
            ),
            Mistake(
                lambda d, mu, sigma: (d * (sigma**4 + 2 * mu**2 * sigma**2),) * 2,
                "The variance is right. One of the terms in it is the same for every key of a reader: which?",
            ),
            Mistake(
                lambda d, mu, sigma: (d * (sigma**4 + 2 * mu**2 * sigma**2), d * sigma**4),
                "The variance is right. For the part you left out two terms; one of them depends on the key.",
            ),
            Mistake(
                lambda d, mu, sigma: (d * (sigma**2 + mu**2) ** 2, d * (sigma**4 + mu**2 * sigma**2)),
                "The first is the mean of the square. A variance takes the square of the mean away from it.",
            ),
            Mistake(
                lambda d, mu, sigma: (d * (sigma**4 + mu**2 * sigma**2),) * 2,
                "The mean of q meets the deviation of k, and the other way round: that is two terms of the "
                "variance.",
            ),
            Mistake(
                lambda d, mu, sigma: (
                    d**2 * (sigma**4 + 2 * mu**2 * sigma**2),
                    d**2 * (sigma**4 + mu**2 * sigma**2),
                ),
                "You added the d products as if they were one and the same number.",
            ),
            Mistake(
                lambda d, mu, sigma: (
                    math.sqrt(d * (sigma**4 + 2 * mu**2 * sigma**2)),
                    math.sqrt(d * (sigma**4 + mu**2 * sigma**2)),
                ),
                "These are widths; the question asks for variances.",
            ),
        ),
    ),
]
