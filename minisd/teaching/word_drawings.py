"""Drawings of words, tokens and rows: how chapter 7 shows a text on its way to the network.

Every function draws into axes that it is given; lengths along x are characters unless it says otherwise.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ..tokenizer import BPE, WORD_END
from .palette import COLOURS

Pair = tuple[str, str]
Span = tuple[str, int, int]


def journey(axes: Axes, stages: Mapping[str, str]) -> None:
    """Boxes from left to right with arrows between them: what a sentence is, stage by stage."""
    x = 0.0
    for i, (name, text) in enumerate(stages.items()):
        width = 0.165 * len(text) + 0.5
        axes.add_patch(Rectangle((x, 0), width, 1, facecolor="0.93", edgecolor="0.4"))
        axes.text(x + width / 2, 0.5, text, ha="center", va="center", family="monospace", fontsize=11)
        axes.text(x + width / 2, 1.15, name, ha="center", fontsize=11)
        if i < len(stages) - 1:
            axes.annotate("", (x + width + 0.5, 0.5), (x + width, 0.5), arrowprops={"arrowstyle": "->"})
        x += width + 0.5
    axes.set(xlim=(-0.1, x - 0.4), ylim=(-0.1, 1.6))
    axes.axis("off")


def tree(axes: Axes, symbols: Sequence[str], merges: Sequence[Pair], left: float) -> None:
    """One word as a tree: letters below, and a box for each merge with its number and the piece it makes."""
    tops = [(left + i, 0.0, symbol) for i, symbol in enumerate(symbols)]
    for x, y, symbol in tops:
        axes.text(x, y - 0.25, symbol, ha="center", va="top", fontsize=12)
    for rank, (a, b) in enumerate(merges, 1):
        for i in range(len(tops) - 1):
            if (tops[i][2], tops[i + 1][2]) == (a, b):
                (x1, y1, _), (x2, y2, _) = tops[i : i + 2]
                x, y = (x1 + x2) / 2, max(y1, y2) + 1
                axes.plot([x1, x, x2], [y1, y, y2], "-", color=COLOURS["blue"], linewidth=1.5)
                box = {"boxstyle": "round,pad=0.25", "facecolor": "white"}
                label = rf"$\mathbf{{{rank}}}$ {a + b}"
                axes.text(x, y, label, ha="center", va="center", fontsize=11, bbox=box)
                tops[i : i + 2] = [(x, y, a + b)]
                break


def turns(axes: Axes, symbols: Sequence[str], ranks: Mapping[Pair, int]) -> None:
    """A word read by lowest rank, one line a turn: symbols in boxes, between them the ranks, counted from 1.

    Each symbol stays below its letters. The lowest rank is circled, and two strokes lead from its pair to the
    box that the two become.
    """
    spans = [(symbol, i, i) for i, symbol in enumerate(symbols)]  # a symbol, its first letter and its last
    best, y = spelled(axes, spans, ranks, 0), 0.0
    while best in ranks:
        joined: list[Span] = []
        for symbol, first, last in spans:
            if joined and (joined[-1][0], symbol) == best:
                a, begin, end = joined.pop()
                joined.append((a + symbol, begin, last))
                for x in (begin + end, first + last):
                    axes.plot(
                        [x, begin + last], [y - 0.3, y - 0.9], "-", color=COLOURS["blue"], linewidth=1.5
                    )
            else:
                joined.append((symbol, first, last))
        spans, y = joined, y - 1.2
        best = spelled(axes, spans, ranks, y)


def spelled(axes: Axes, spans: Sequence[Span], ranks: Mapping[Pair, int], y: float) -> Pair:
    """One line of `turns`; returns the pair with the lowest rank. Letters are two apart."""
    for symbol, first, last in spans:
        corner, width = (2 * first - 0.5, y - 0.3), 2 * (last - first) + 1
        axes.add_patch(Rectangle(corner, width, 0.6, facecolor="0.92"))
        axes.text(first + last, y, symbol, ha="center", va="center", fontsize=14, family="monospace")
    pairs = [(a, b) for (a, *_), (b, *_) in pairwise(spans)]
    best = min(pairs, key=lambda pair: ranks.get(pair, math.inf), default=("", ""))
    for pair, (_, first, _) in zip(pairs, spans[1:]):
        rank = str(ranks[pair] + 1) if pair in ranks else r"$\infty$"
        circle = {"boxstyle": "circle", "facecolor": "white"} if pair == best and pair in ranks else None
        colour = "black" if pair in ranks else "0.25"
        axes.text(2 * first - 1, y, rank, ha="center", va="center", color=colour, bbox=circle)
    return best


def bits(axes: Axes, row: int, character: str, symbols: Sequence[str]) -> None:
    """One character: a box for each byte of its UTF-8, its number's bits bold, and the number put together.

    symbols: the printable stand-in of each of the 256 bytes.
    """
    raw = character.encode("utf-8")
    axes.text(-0.5, -row, character, ha="right", va="center", fontsize=20)
    for i, byte in enumerate(raw):
        fixed = 2 if i else {1: 1, 2: 3, 3: 4, 4: 5}[len(raw)]
        axes.add_patch(Rectangle((2.5 * i, -row - 0.36), 2.3, 0.72, fill=False, linewidth=0.8))
        for k, bit in enumerate(f"{byte:08b}"):
            colour, weight = ("gray", "normal") if k < fixed else ("black", "bold")
            place = (2.5 * i + 0.25 + 0.257 * k, -row + 0.12)
            look: dict[str, Any] = {"family": "monospace", "color": colour, "fontweight": weight}
            axes.text(*place, bit, ha="center", va="center", fontsize=13, **look)
        under = f"{byte}, written {symbols[byte]}"
        axes.text(2.5 * i + 1.15, -row - 0.22, under, ha="center", va="center", fontsize=9)
    axes.text(2.5 * len(raw) + 0.1, -row, f"= {ord(character):,}", va="center", fontsize=13)


def boxes(axes: Axes, x: float, y: float, texts: Sequence[str], colour: str = "0.92") -> float:
    """Texts in boxes, one after the other from x on; returns where the next one would begin."""
    for text in texts:
        width = len(text) + 0.8
        frame = Rectangle((x, y - 0.37), width, 0.74, facecolor=colour, edgecolor="0.5", linewidth=0.8)
        axes.add_patch(frame)
        ink = "white" if colour == "black" else "black"
        axes.text(x + width / 2, y, text, ha="center", va="center", family="monospace", color=ink)
        x += width + 0.3
    return x


def brackets(axes: Axes, y: float, pieces: Sequence[str]) -> None:
    """Tokens with a bracket below each; words are set apart."""
    x = 0.0
    for i, piece in enumerate(pieces):
        shown = piece.removesuffix(WORD_END)
        colour = COLOURS["blue"] if i % 2 else COLOURS["black"]
        axes.text(x + len(shown) / 2, y, shown, ha="center", va="center", fontsize=12, family="monospace")
        begin, end = x + 0.1, x + len(shown) - 0.1
        axes.plot([begin, begin, end, end], [y - 0.2, y - 0.38, y - 0.38, y - 0.2], "-", color=colour)
        x += len(shown) + 0.9 * piece.endswith(WORD_END)


def places(axes: Axes, y: float, ids: Sequence[int], name: str, bpe: BPE) -> None:
    """A box for each place: black start and end, dark words, light padding, hatched zeros."""
    closed = False
    for place, i in enumerate(ids):
        colour, hatch = COLOURS["blue"], ""
        if i == bpe.eos:
            colour, closed = ("0.85" if closed else "black"), True
        elif i == bpe.bos:
            colour, closed = "black", False
        elif i == 0:
            colour, hatch = COLOURS["orange"], "////"
        look: dict[str, Any] = {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.5}
        axes.barh(-y, 1, left=place, height=0.7, **look)
    axes.text(-1, -y, name, ha="right", va="center")
