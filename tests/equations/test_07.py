"""Chapter 7: tokens."""

import functools
import itertools
import json
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from minisd import StableDiffusion
from minisd.sd15 import SD15
from minisd.tokenizer import BPE, base_tokens, merge_pair, split_words, word_symbols

from . import equation

WORDS = {"low": 5, "lower": 2, "slow": 3, "newer": 6, "new": 4, "banana": 3, "nana": 2, "an": 7}
TEXTS = [
    "It's 2024!!",
    "a  red\nhouse",
    "雪の中",
    "🚀 🎈🎈",
    "Ünï straße",
    "",
    "x" * 90,
    "low lower slow newest",
]


@functools.cache
def pipe():
    return StableDiffusion.from_pretrained("tiny")


def cut(text):
    return [(word_symbols(word), n) for word, n in text.items()]


def length(words):
    return sum(n * len(symbols) for symbols, n in words)


def pairs_of(words):
    counts = Counter()
    for symbols, n in words:
        for pair in itertools.pairwise(symbols):
            counts[pair] += n
    return counts


@equation("7.1", "lookup")
def test_lookup():
    def claim(o, table):
        return sum(o[j] * table[j] for j in range(len(table)))

    table = pipe().text_encoder.text_model.embeddings.token_embedding
    for i in (0, 17, len(table.weight) - 1):
        one = torch.nn.functional.one_hot(torch.tensor(i), len(table.weight)).float()
        assert torch.equal(claim(one, table.weight.detach()), table(torch.tensor(i)).detach())


@equation("7.2", "singletons")
def test_singletons():
    def claim(once, total):
        return Fraction(once, total)

    for text in ("a b a c d d d e f a", "a", "a a", "to be or not to be that is the question"):
        words = text.split()
        new = [
            word not in words[:i] + words[i + 1 :] for i, word in enumerate(words)
        ]  # each taken out in turn
        counts = Counter(words)
        assert claim(sum(n == 1 for n in counts.values()), len(words)) == Fraction(sum(new), len(words))


@equation("7.3", "pair-count")
def test_pair_count():
    def claim(words, a, b):
        return sum(n * list(zip(symbols, symbols[1:])).count((a, b)) for symbols, n in words)

    words = cut(WORDS)
    # Another route: write the text out, every word as often as it occurs, and slide a window over it.
    written = [symbol for symbols, n in words for _ in range(n) for symbol in (*symbols, "|")]
    seen = Counter(pair for pair in itertools.pairwise(written) if "|" not in pair)
    for a, b in seen:
        assert claim(words, a, b) == seen[a, b]
    assert claim(words, "q", "l") == 0


@equation("7.4", "merge-saves")
def test_merge_saves():
    def claim(before, count):
        return before - count

    words = cut(WORDS)
    for _ in range(8):
        for pair, n in pairs_of(words).items():
            if pair[0] != pair[1]:
                after = [(merge_pair(symbols, pair), k) for symbols, k in words]
                assert length(after) == claim(length(words), n)
        best = max(pairs_of(words), key=lambda pair: (pairs_of(words)[pair], pair))
        words = [(merge_pair(symbols, best), n) for symbols, n in words]


@equation("7.5", "runs")
def test_runs():
    def claim(r):
        return r - r // 2

    for r in range(1, 40):
        assert len(merge_pair(["z"] * r, ("z", "z"))) == claim(r)


@equation("7.6", "lowest-rank")
def test_lowest_rank():
    def claim(ranks):
        return min(ranks)

    bpe = BPE.train([" ".join([word] * n) for word, n in WORDS.items()], 540)
    ranks = {pair: rank for rank, pair in enumerate(bpe.merges)}
    assert len({a + b for a, b in bpe.merges}) == len(bpe.merges)
    for word in (*WORDS, "lowest", "bananas", "newlow", "anan", "wool"):
        symbols = replayed = word_symbols(word)
        while pairs := [pair for pair in itertools.pairwise(symbols) if pair in ranks]:
            first = claim([ranks[pair] for pair in pairs])
            assert first == 0 or bpe.merges[first] in pairs
            symbols = merge_pair(symbols, bpe.merges[first])
        for pair in bpe.merges:  # section 7.3's claim: the whole list, in order
            replayed = merge_pair(replayed, pair)
        assert symbols == replayed
        assert [bpe.vocab[symbol] for symbol in symbols] == bpe.encode(word)


@equation("7.7", "utf8")
def test_utf8():
    def claim(u):
        return 1 if u < 2**7 else 2 if u < 2**11 else 3 if u < 2**16 else 4

    for u in itertools.chain(
        range(0, 0xD800, 7), range(0xE000, 0x110000, 97), (0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000)
    ):
        assert claim(u) == len(chr(u).encode("utf-8"))


@equation("7.8", "vocabulary")
def test_vocabulary():
    def claim(merges):
        return 2 * 256 + merges + 2

    assert len(base_tokens()) == 512
    for size in (514, 520, 540):
        bpe = BPE.train(["low lower slow newer new banana"] * 3, size)
        assert len(bpe) == claim(len(bpe.merges))
    assert claim(48894) == SD15["text_encoder"]["vocab_size"]


@equation("7.9", "bounds")
def test_bounds():
    def claim(text):
        return np.array([len(split_words(text)), sum(len(word.encode()) for word in split_words(text))])

    tight = set()
    for bpe in (BPE([]), BPE.train(TEXTS, 2000), pipe().tokenizer):
        for text in TEXTS:
            (low, high), n = claim(text), len(bpe.encode(text))
            assert low <= n <= high
            tight |= {side for side, bound in (("low", low), ("high", high)) if n == bound and low < high}
    assert tight == {"low", "high"}  # both ends are reached


@equation("7.10", "row")
def test_row():
    def claim(n):
        kept = min(n, 77 - 2)
        return kept, 77 - 2 - kept

    bpe = pipe().tokenizer
    for n in (0, 1, 40, 74, 75, 76, 77, 200):
        row = bpe("red " * n)[0].tolist()
        kept, padding = claim(n)
        assert row == [bpe.bos, *bpe.encode("red") * kept, bpe.eos, *[bpe.eos] * padding] and len(row) == 77


@equation("7.11", "table")
def test_table():
    def claim(merges, d):
        return (514 + merges) * d

    table = pipe().text_encoder.text_model.embeddings.token_embedding.weight
    assert table.numel() == claim(len(pipe().tokenizer.merges), table.shape[1])
    assert claim(48894, SD15["text_encoder"]["hidden_size"]) == 37_945_344


@equation("7.12", "weight")
def test_weight():
    def claim(empty, words, weight):
        return empty + weight * (words - empty)

    empty, words = torch.randn(2, 77, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(claim(empty, words, 1.0), words) and torch.equal(claim(empty, words, 0.0), empty)
    assert torch.allclose(claim(empty, words, 0.5), (words + empty) / 2)
    # equally far from the last at equal weights: straight, beyond 1 too
    assert torch.allclose(claim(empty, words, 1.5) - words, words - claim(empty, words, 0.5))


@equation("7.13", "chunks")
def test_chunks():
    def claim(n):
        return 77 * max(1, -(-n // 75))

    for n in (0, 1, 75, 76, 150, 151, 400):
        ids = list(range(n))
        pieces = [ids[i : i + 75] for i in range(0, n, 75)] or [[]]
        assert sum(77 for _ in pieces) == claim(n)


ELSEWHERE = {"0.6": "guidance"}  # the equations of other chapters that chapter 7 and its solutions refer to


def text_of(pattern):
    paths = sorted(Path(__file__).parents[2].glob(pattern))
    cells = [cell for path in paths for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    return "\n".join("".join(cell["source"]) for cell in cells)


def test_references_to_other_chapters_mean_what_they_say():
    """A number that still exists may have come to mean another equation."""
    labels = dict(re.findall(r"<!-- eq (\d+\.\d+) (\S+) -->", text_of("chapters/0[0-6]_*.ipynb")))
    used = set(
        re.findall(r"\(([0-6]\.\d+)\)", text_of("chapters/07_*.ipynb") + text_of("solutions/07_*.ipynb"))
    )
    assert {number: labels.get(number) for number in used} == {n: ELSEWHERE.get(n) for n in used}
