"""The checks of chapter 7: tokens. It spoils the exercises to read this first."""

import functools
import itertools
from collections import Counter

import numpy as np
import torch

from minisd.models import TINY
from minisd.pipeline import StableDiffusion
from minisd.scenes.judge import Judge
from minisd.tokenizer import BPE, base_tokens, merge_pair, word_symbols

from ..kinds import Build, Derive, Mistake, Predict, ReachTheMark, RuleBroken


@functools.cache
def tiny() -> BPE:
    return BPE.from_files(TINY / "tokenizer")


# 7.1


def measured():
    empty = BPE([])
    return {
        "snowman!": len(empty.encode("snowman!")),
        "a  A a": len(empty.encode("a  A a")),
        "31.12.1999": len(empty.encode("31.12.1999")),
        "two snows": len(empty.encode("雪 雪")),
        "padding of 20 tokens": int((tiny()("a " * 20)[0] == tiny().eos).sum()) - 1,
        "padding of 200 tokens": int((tiny()("a " * 200)[0] == tiny().eos).sum()) - 1,
    }


# 7.2


def new_share(N_1, N_2, N_3, u):
    """Of the hidden words, the share that are not among the ones that were kept."""
    return (N_1 + 2 * N_2 * (1 - u) + 3 * N_3 * (1 - u) ** 2) / (N_1 + 2 * N_2 + 3 * N_3)


# 7.3


COLOURED = "in the snow at night, a yellow tent right of a red house"
RED, HOUSE = 13, 14  # their places in the row; start is place 0, and the comma is a token
EXCHANGED = {
    "before house": [*range(HOUSE)],
    "after house": [*range(HOUSE + 1, 77)],
}
WEIGHTED = {"red at 0": RED, "house at 0": HOUSE}


def contexts_of(pipe, *texts):
    with torch.inference_mode():
        return [pipe.text_encoder(pipe.tokenizer(text))[0] for text in texts]


@functools.cache
def with_other_vectors(name):
    """Eight pictures of the red house's context with some of its vectors changed.

    Returns four of them, and how many of the eight show a house in the colour that the exercise asks for.
    """
    pipe = StableDiffusion.from_pretrained("tiny", device="cpu")
    red, green, nothing = contexts_of(pipe, COLOURED, COLOURED.replace("red", "green"), "")
    context = red.clone()
    if name in EXCHANGED:
        context[EXCHANGED[name]] = green[EXCHANGED[name]]
        return eight_pictures(pipe, context, ("green", "house"))
    context[WEIGHTED[name]] = nothing[WEIGHTED[name]]
    return eight_pictures(pipe, context, ("red", "house"))


def eight_pictures(pipe, context, wish):
    """Four of eight pictures of a context, (77, width), and how many of the eight show a (colour, kind)."""
    noise = torch.randn(8, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (nothing,) = contexts_of(pipe, "")
        both = torch.stack([nothing, context]).repeat_interleave(8, dim=0)
        *_, last = pipe.way(8).walk(pipe.noise_predictor(both, pipe.guidance_scale), noise)
        pictures = list(pipe.decode(last.latents))
    scenes = Judge.load().read(np.stack(pictures))
    return pictures[:4], sum(any((t.colour, t.kind) == wish for t in scene.things) for scene in scenes)


def where_the_red_is():
    pipe = StableDiffusion.from_pretrained("tiny", device="cpu")
    red, green = contexts_of(pipe, COLOURED, COLOURED.replace("red", "green"))
    found = {"different vectors": int((red != green).any(dim=-1).sum())}
    return found | {name: with_other_vectors(name)[1] > 4 for name in (*EXCHANGED, *WEIGHTED)}


# 7.4


def short_cut(symbols, pair):
    """By text: the symbols of a word in one string, with spaces between."""
    return " ".join(symbols).replace(" ".join(pair), "".join(pair)).split(" ")


def short_cut_with_spaces(symbols, pair):
    """Repaired in front and behind, but two neighbouring places share a space."""
    spaced = f" {' '.join(symbols)} ".replace(f" {' '.join(pair)} ", f" {''.join(pair)} ")
    return spaced.strip(" ").split(" ")


CASES = [(["sl", "o"], ("l", "o")), (["l", "o", "l", "o"], ("l", "o"))]
FORM = 'the answer should be two cases, each like (["l", "o", "w."], ("l", "o"))'


def case_of(case):
    """A list of symbols and a pair, as they should be."""
    if not isinstance(case, (tuple, list)) or len(case) != 2 or any(isinstance(part, str) for part in case):
        raise RuleBroken(FORM)
    symbols, pair = list(case[0]), tuple(case[1])
    if len(pair) != 2 or not symbols or not all(isinstance(s, str) for s in (*symbols, *pair)):
        raise RuleBroken(FORM)
    if any(not s or " " in s for s in (*symbols, *pair)):
        raise RuleBroken("a symbol is empty, or holds a space")
    return symbols, pair


def symbols_of_cases(answer):
    """How many symbols the two cases have on which the two shortcuts go wrong."""
    answer = answer() if callable(answer) else answer
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise RuleBroken(FORM)
    total = 0
    for which, wrong, case in zip(("first", "second"), (short_cut, short_cut_with_spaces), answer):
        symbols, pair = case_of(case)
        if wrong(symbols, pair) == merge_pair(symbols, pair):
            raise RuleBroken(f"on your {which} case {wrong.__name__} is right: {wrong(symbols, pair)}")
        total += len(symbols)
    return float(total)


# 7.5


def rows_of(bpe, text):
    """All of a long text, in as many rows as it takes, at least one; each is cut behind its last comma."""
    ids, room, comma = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0]
    pieces = []
    while len(ids) > room:
        first = ids[:room]
        kept = room - first[::-1].index(comma) if comma in first else room
        pieces.append(ids[:kept])
        ids = ids[kept:]
    return as_rows(bpe, [*pieces, ids])


def as_rows(bpe, pieces):
    room = bpe.max_length - 2
    return torch.tensor([[bpe.bos, *ids, bpe.eos] + [bpe.pad] * (room - len(ids)) for ids in pieces])


def at_75(bpe, text):
    """Wherever the room ends."""
    ids, room = bpe.encode(text), bpe.max_length - 2
    return as_rows(bpe, [ids[i : i + room] for i in range(0, len(ids), room)] or [[]])


def pieces_by(bpe, text, place):
    """Pieces, each as long as `place` says, which is told the ids that would fit and the comma's."""
    ids, room, comma = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0]
    pieces = []
    while len(ids) > room:
        kept = place(ids[:room], comma) if comma in ids[:room] else room
        pieces.append(ids[:kept])
        ids = ids[kept:]
    return [*pieces, ids]


def in_front_of_the_comma(bpe, text):
    return as_rows(bpe, pieces_by(bpe, text, lambda ids, comma: len(ids) - ids[::-1].index(comma) - 1 or 1))


def at_the_first_comma(bpe, text):
    return as_rows(bpe, pieces_by(bpe, text, lambda ids, comma: ids.index(comma) + 1))


def at_every_comma(bpe, text):
    """Also where the rest would fit."""
    ids, room, comma = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0]
    pieces: list[list[int]] = [[]]
    for i in ids:
        if len(pieces[-1]) == room or (pieces[-1] and pieces[-1][-1] == comma):
            pieces.append([])
        pieces[-1].append(i)
    return as_rows(bpe, pieces)


def the_first_row(bpe, text):
    return bpe(text)


def cut_from_one_row(bpe, text):
    """Start and end once, around everything."""
    ids, length = [bpe.bos, *bpe.encode(text), bpe.eos], bpe.max_length
    ids += [bpe.pad] * (-len(ids) % length)
    return torch.tensor(ids).reshape(-1, length)


def zeros_behind(bpe, text):
    rows = rows_of(bpe, text)
    ends = (rows == bpe.eos).int().cumsum(dim=1) - (rows == bpe.eos).int()
    return rows.masked_fill((ends > 0) | (rows == bpe.pad) & (rows != bpe.eos), 0)


def padded_with_end(bpe, text):
    """Right wherever the padding is the end marker, as in Stable Diffusion 1.5."""
    rows = rows_of(bpe, text)
    return torch.where(rows == bpe.pad, bpe.eos, rows)


def an_empty_row_more(bpe, text):
    """len // room + 1 rows."""
    rows = rows_of(bpe, text)
    ids = bpe.encode(text)
    full = len(ids) > 0 and len(ids) % (bpe.max_length - 2) == 0
    return torch.cat([rows, bpe("")]) if full else rows


def no_row_for_nothing(bpe, text):
    rows = rows_of(bpe, text)
    return rows if bpe.encode(text) else rows[:0]


def long_texts(rng):
    bpe, short = tiny(), BPE(tiny().merges, max_length=9)
    other = BPE(tiny().merges, max_length=9)
    other.pad = other.encode("?")[0]  # a padding of its own, as Stable Diffusion 2's tokenizer has
    return [
        (bpe, "a red house in the snow"),
        (bpe, "a red house left of a yellow tent, " * 12),
        (bpe, "red " * 75),
        (bpe, "red, " * 38),
        (short, "a red house, a yellow tent, a blue car in the snow, at night by the moon"),
        (short, "a red house left of a yellow tent in the snow at night by the moon"),
        (short, "red red red red red red, red red red red red red red red, red"),
        (short, "red red, red, red"),
        (short, "red " * 14),
        (short, ""),
        (other, "a red house, a yellow tent, a blue car in the snow"),
    ]


# 7.6


ASKED = {
    "'dim red'": "a 'dim red' house",
    '"red"': 'a "red" house',
    "we'red": "a we'red house",
    "re-d": "a re-d house",
}


@functools.cache
def painted(text):
    """Four of eight pictures of a text, and in how many of the eight the judge sees a red house."""
    pipe = StableDiffusion.from_pretrained("tiny", device="cpu")
    (context,) = contexts_of(pipe, text)
    return eight_pictures(pipe, context, ("red", "house"))


def quoted():
    found = {}
    (red,) = tiny().encode("red")
    for name, text in ASKED.items():
        found[f"{name} tokens"] = len(tiny().encode(text))
        found[f"{name} keeps red"] = red in tiny().encode(text)
    return found


# 7.7


BEST = [
    ("e", "n"),
    ("t", "en"),
    ("ten", "t"),
    ("ten", "t</w>"),
    ("tent", "s</w>"),
    ("c", "o"),
    ("co", "n"),
    ("i", "n"),
    ("con", "tents</w>"),
]
TEXT = {
    "tents": 2,
    "consistent": 2,
    "intent": 5,
    "insistent": 2,
    "attention": 4,
    "contents": 6,
    "sentences": 1,
}
MERGES = 9


def text_length(merges):
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    total = 0
    for word, n in TEXT.items():
        symbols = word_symbols(word)
        while found := [pair for pair in itertools.pairwise(symbols) if pair in ranks]:
            symbols = merge_pair(symbols, min(found, key=ranks.__getitem__))
        total += n * len(symbols)
    return total


def allowed(merges):
    merges = [tuple(pair) for pair in merges]
    if len(merges) > MERGES:
        raise RuleBroken(f"you chose {len(merges)} merges; {MERGES} are allowed")
    if any(len(pair) != 2 or not all(isinstance(part, str) for part in pair) for pair in merges):
        raise RuleBroken('each merge should be a pair of texts, such as ("o", "w")')
    try:
        BPE(merges)
    except ValueError as error:
        raise RuleBroken(str(error)) from None
    return merges


def list_length(choose):
    return float(text_length(allowed(choose() if callable(choose) else choose)))


def greedy(count=MERGES):
    words = [(word_symbols(word), n) for word, n in TEXT.items()]
    merges = []
    for _ in range(count):
        counts: Counter = Counter()
        for symbols, n in words:
            for pair in itertools.pairwise(symbols):
                counts[pair] += n
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        words = [(merge_pair(symbols, best), n) for symbols, n in words]
    return merges


def by_foresight():
    """Found by keeping the 300 best lists of each length instead of one."""
    return BEST


# 7.8


def characters(text):
    """How long a text is that tiny's tokenizer cuts."""
    text = text() if callable(text) else text
    if not isinstance(text, str):
        raise RuleBroken(f"the answer should be a text, not {type(text).__name__}")
    count = len(tiny().encode(text))
    if "<|" in text:
        raise RuleBroken("leave the names of the markers out")
    if count <= tiny().max_length - 2:
        raise RuleBroken(f"this text has {count} tokens: it fits, and nothing is cut")
    return float(len(text))


# 7.9


def two_ways(word, merges):
    """The pieces of a word by (7.6), and by all the merges in the order of the list."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    read = replayed = word_symbols(word)
    while found := [pair for pair in itertools.pairwise(read) if pair in ranks]:
        read = merge_pair(read, min(found, key=ranks.__getitem__))
    for pair in merges:
        replayed = merge_pair(replayed, pair)
    return read, replayed


def twisted_length(answer):
    """How many merges a list has that reads a word in two ways."""
    answer = answer() if callable(answer) else answer
    if not isinstance(answer, (tuple, list)) or len(answer) != 2 or not isinstance(answer[0], str):
        raise RuleBroken('the answer should be a word and a list of merges: ("tent", [("t", "e")])')
    word, merges = answer[0], [tuple(pair) for pair in answer[1]]
    if not word or any(len(pair) != 2 for pair in merges):
        raise RuleBroken("the word is empty, or a merge is not a pair")
    made = ["".join(pair) for pair in merges]
    base = set(base_tokens())
    for token in made:
        if token in base or made.count(token) > 1:
            raise RuleBroken(f"{token!r} is made twice: each merge should make a token of its own")
    for part in itertools.chain.from_iterable(merges):
        if part not in base and part not in made:
            raise RuleBroken(f"no merge of the list makes {part!r}, and it is not a base symbol")
    read, replayed = two_ways(word, merges)
    if read == replayed:
        raise RuleBroken(f"both ways give {' '.join(read)}: they should differ")
    return float(len(merges))


EXERCISES = [
    Predict(
        number="7.1",
        name="guesses",
        section="7.6",
        minutes=10,
        measure=measured,
        within=0.0,
        mistakes=(
            Mistake(lambda: {"snowman!": 1}, "There are no merges here at all: what is left of a word then?"),
            Mistake(lambda: {"snowman!": 2}, "There are no merges here at all: what is left of a word then?"),
            Mistake(lambda: {"a  A a": 6}, "You counted the spaces: look at what cleaning leaves of them."),
            Mistake(
                lambda: {"31.12.1999": 5}, "You read 31 as one word. What does the pattern do with digits?"
            ),
            Mistake(
                lambda: {"31.12.1999": 3}, "You read 31 as one word. What does the pattern do with digits?"
            ),
            Mistake(
                lambda: {"two snows": 2},
                "You counted characters. What are the symbols that a word is cut into?",
            ),
            Mistake(
                lambda: {"padding of 20 tokens": 57},
                "You forgot the two markers, which take places of the row too.",
            ),
            Mistake(
                lambda: {"padding of 20 tokens": 55, "padding of 200 tokens": -125},
                "A row never gets longer than its 77 places: what happens to the surplus?",
            ),
        ),
    ),
    Derive(
        number="7.2",
        name="share",
        section="7.1",
        minutes=15,
        right=new_share,
        ranges={"N_1": (5.0, 90.0), "N_2": (5.0, 60.0), "N_3": (5.0, 40.0), "u": (0.1, 0.9)},
        mistakes=(
            Mistake(
                lambda N_1, N_2, N_3, u: N_1 / (N_1 + 2 * N_2 + 3 * N_3),
                "That is (7.2), where all the rest can be seen. Here a word "
                "of two can lose its twin as well.",
            ),
            Mistake(
                lambda N_1, N_2, N_3, u: (N_1 + N_2 * (1 - u) + N_3 * (1 - u) ** 2) / (N_1 + N_2 + N_3),
                "You took each different word once. The hidden word is one "
                "of the N words of the text: how many "
                "of those belong to a word that occurs three times?",
            ),
            Mistake(
                lambda N_1, N_2, N_3, u: (
                    (N_1 * (1 - u) + 2 * N_2 * (1 - u) ** 2 + 3 * N_3 * (1 - u) ** 3)
                    / (N_1 + 2 * N_2 + 3 * N_3)
                ),
                "You asked how likely it is that all its occurrences are "
                "hidden. We know already that this one "
                "is: how many others are left to be hidden?",
            ),
            Mistake(
                lambda N_1, N_2, N_3, u: (N_1 + 2 * N_2 * u + 3 * N_3 * u**2) / (N_1 + 2 * N_2 + 3 * N_3),
                "u is the probability that a word is kept: you need the other event.",
            ),
            Mistake(
                lambda N_1, N_2, N_3, u: (
                    (N_1 + 2 * N_2 * (1 - u) + 3 * N_3 * (1 - u) * 2) / (N_1 + 2 * N_2 + 3 * N_3)
                ),
                "Two independent events happen together: do their probabilities add?",
            ),
        ),
    ),
    Predict(
        number="7.3",
        name="colours",
        section="7.11",
        minutes=15,
        measure=where_the_red_is,
        within=0.0,
        mistakes=(
            Mistake(
                lambda: {"different vectors": 1},
                "One word differs. Which other vectors can have heard of it?",
            ),
            Mistake(
                lambda: {"different vectors": 77},
                "Some vectors stand in front of the colour. What can they know of it?",
            ),
            Mistake(
                lambda: {"different vectors": 65},
                "One too many: did you count the comma as a token, and the start marker as a place?",
            ),
            Mistake(
                lambda: {"different vectors": 2},
                "You stopped at the house. Do the end marker and the padding hear of the colour, too?",
            ),
            Mistake(
                lambda: {"before house": True},
                "The word green is written there. Where did the painter find the colour of the tent?",
            ),
            Mistake(
                lambda: {"after house": True},
                "Sixty-two vectors know of a green house. Which vector still tells of a red one?",
            ),
            Mistake(
                lambda: {"red at 0": False},
                "What became of the yellow tents when the place of yellow had the weight 0?",
            ),
            Mistake(
                lambda: {"house at 0": True},
                "With this weight the place of house says what the empty text says there. Where is its red?",
            ),
        ),
    ),
    ReachTheMark(
        number="7.4",
        name="two_cases",
        section="7.2",
        minutes=15,
        score=symbols_of_cases,
        what="symbols",
        mark=6.0,
        right=CASES,
        mistakes=(
            Mistake(
                [(["x", "sl", "o"], ("l", "o")), (["l", "o", "l", "o"], ("l", "o"))],
                "Both cases are right. One symbol of them has nothing to do with it.",
            ),
            Mistake(
                [(["l", "o", "l", "o", "sl", "o"], ("l", "o"))] * 2,
                "One case for both is larger than it need be: the first shortcut fails on shorter lists.",
            ),
            Mistake(
                None,
                "Both cases are right. Take symbols away as long as they stay so.",
                seen=lambda answer, cases: True,
            ),
        ),
    ),
    Build(
        number="7.5",
        name="rows_of",
        section="7.11",
        minutes=20,
        right=rows_of,
        cases=long_texts,
        mistakes=(
            Mistake(the_first_row, "This is the tokenizer's own row: the rest of a long text is lost."),
            Mistake(at_75, "You cut where the room ends. Was there a comma before?"),
            Mistake(in_front_of_the_comma, "The comma ends a piece, it does not begin one."),
            Mistake(at_the_first_comma, "You cut at the first comma. A later one may fit into the row, too."),
            Mistake(at_every_comma, "You cut also where all that is left would fit."),
            Mistake(
                cut_from_one_row,
                "Start and end stand once around the whole text. Each row is "
                "read by itself: what does it need?",
            ),
            Mistake(zeros_behind, "You pad with 0, which is a token of its own: an exclamation mark."),
            Mistake(
                padded_with_end,
                "You pad with the end marker. There are tokenizers whose padding is another token: bpe.pad.",
            ),
            Mistake(an_empty_row_more, "A text that fills its last row exactly gets an empty row more."),
            Mistake(no_row_for_nothing, "No text at all should still give one row."),
        ),
    ),
    Predict(
        number="7.6",
        name="guessed",
        section="7.5",
        minutes=15,
        measure=quoted,
        within=0.0,
        mistakes=(
            Mistake(
                lambda: {"'dim red' keeps red": False},
                "Which letter does the first quotation mark take along: one of red, or another word's?",
            ),
            Mistake(
                lambda: {"we'red keeps red": True},
                "Write down the words of we'red: is red one of them?",
            ),
            Mistake(
                lambda: {'"red" keeps red': False},
                "The contractions of the pattern begin with a single quotation mark. What does it do with a "
                "double one?",
            ),
            Mistake(
                lambda: {"we'red tokens": 5},
                "You counted words. Into what do words fall that tiny doesn't know?",
            ),
            Mistake(
                lambda: {"re-d keeps red": True},
                "The hyphen cuts the word: which tokens are left of it?",
            ),
        ),
    ),
    ReachTheMark(
        number="7.7",
        name="nine",
        section="7.2",
        minutes=25,
        score=list_length,
        what="symbols left",
        mark=70.0,
        right=by_foresight,
        mistakes=(
            Mistake(
                greedy,
                "That is what greedy training finds. Which of its merges is used by few words in the end?",
            ),
            Mistake(list, "No merge at all: every word is spelled out."),
            Mistake(lambda: greedy()[:8], "One more merge is allowed."),
        ),
    ),
    ReachTheMark(
        number="7.8",
        name="shortest",
        section="7.4",
        minutes=15,
        score=characters,
        what="characters",
        mark=19.0,
        right="\U0001d160" * 7,
        mistakes=(
            Mistake("7" * 76, "Each of these characters is one byte. Are there longer ones?"),
            Mistake("\u00e9" * 38, "Two bytes a character. (7.7) has longer ones."),
            Mistake("\u96ea" * 26, "Three bytes a character. (7.7) has longer ones."),
            Mistake(
                None,
                "Most of your characters are letters that belong to known words, or short in bytes.",
                seen=lambda answer, cases: isinstance(answer, str) and answer.isascii(),
            ),
        ),
    ),
    ReachTheMark(
        number="7.9",
        name="twisted",
        section="7.3",
        minutes=10,
        score=twisted_length,
        what="merges",
        mark=2.0,
        right=("abc", [("ab", "c</w>"), ("a", "b")]),
        mistakes=(
            Mistake(
                None,
                "The two ways do differ. Which of your merges have nothing to do with it? Two are enough.",
                seen=lambda answer, cases: True,
            ),
        ),
    ),
]
