"""Drawings of a training: who needs whom, runs as dots, losses on their way, pictures with their verdicts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .drawings import Point, arrow, box, canvas
from .palette import COLOURS, DASHES, GREY, INK, PAPER, SMALL, numbers
from .plots import direct_labels

FROZEN, MADE = "#e8eef4", "#f2f2f2"
WIDE, HIGH = 1.42, 0.62
BOXES: dict[str, tuple[Point, str, str]] = {  # name: its lower left corner, what it learns from, its colour
    "captions": ((0.15, 2.3), "drawn anew", MADE),
    "pictures": ((0.15, 0.75), "rendered once", MADE),
    "tokenizer": ((2.0, 2.3), "counts pairs", PAPER),
    "CLIP": ((3.85, 2.3), "matches pairs", PAPER),
    "text encoder": ((5.7, 2.3), "half of CLIP, frozen", FROZEN),
    "VAE": ((2.0, 0.75), "gives back", PAPER),
    "latents": ((3.85, 0.75), "encoder, frozen", FROZEN),
    "decoder": ((5.7, 0.1), "gives back", PAPER),
    "U-Net": ((7.6, 1.45), "finds the noise", PAPER),
}


LEFT = {name: corner[0] for name, (corner, _, _) in BOXES.items()}


def order(axes: Axes | None = None) -> Axes:
    """The stages of a training with an arrow from each to those that need it; frozen ones are shaded."""
    axes = canvas(9.2, 3.1, axes)
    for name, (corner, below, colour) in BOXES.items():
        box(axes, corner, (WIDE, HIGH), name, below, colour, dashed=colour == FROZEN)
    for row in (["captions", "tokenizer", "CLIP", "text encoder"], ["pictures", "VAE", "latents"]):
        for left, right in pairwise(row):
            arrow(axes, [(LEFT[left] + WIDE, middle(left)), (LEFT[right], middle(right))])
    start, turn, into = LEFT["pictures"] + WIDE / 2, 1.8, LEFT["CLIP"] + 0.35
    arrow(axes, [(start, middle("pictures")), (start, turn), (into, turn), (into, middle("CLIP") - HIGH / 2)])
    for name, height in (("pictures", 0.3), ("latents", 0.52)):
        x = LEFT[name] + WIDE / 2
        arrow(axes, [(x, middle(name) - HIGH / 2), (x, height), (LEFT["decoder"], height)])
    x = LEFT["U-Net"] + WIDE / 2
    for name, side in (("text encoder", 1), ("latents", -1)):
        end = middle("U-Net") + side * HIGH / 2
        arrow(axes, [(LEFT[name] + WIDE, middle(name)), (x, middle(name)), (x, end)])
    return axes


def middle(name: str) -> float:
    """How high the middle of a box is."""
    return BOXES[name][0][1] + HIGH / 2


def on_the_way(
    axes: Axes,
    losses: Sequence[float],
    every: int,
    steps: int,
    band: tuple[float, float],
    start: float | None = None,
) -> Axes:
    """A stored loss curve, a point in the middle of each `every` steps (fewer at the end), and two marks.

    band: where it should end. start: what guessing costs, as a dotted line.
    """
    edges = [*range(0, steps, every), steps]
    axes.axhspan(*band, color="0.85", linewidth=0)
    axes.plot([(low + high) / 2 for low, high in pairwise(edges)], losses, "o-", markersize=3, color=INK)
    if start is not None:
        axes.axhline(start, color=GREY, linestyle=DASHES[2])
    axes.set(xlabel="step", ylim=(0, None), xlim=(0, steps))
    return axes


def dots(axes: Axes, runs: Mapping[str, Sequence[float]], mark: float | None = None) -> Axes:
    """One row a setting: a hollow dot for every run, a bar at their mean. mark: where a dotted line goes."""
    for row, values in enumerate(runs.values()):
        shown = numbers(values).astype(float)
        axes.plot(
            shown, np.full(len(shown), row), "o", markersize=5, markerfacecolor="none", color=COLOURS["blue"]
        )
        axes.plot([shown.mean()] * 2, [row - 0.28, row + 0.28], "-", linewidth=2, color=INK)
    if mark is not None:
        axes.axvline(mark, color=GREY, linestyle=DASHES[2])
    axes.set_yticks(range(len(runs)), list(runs))
    axes.set_ylim(len(runs) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    return axes


def table_of_runs(
    axes: Axes,
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    boxed: Sequence[tuple[int, int]] = (),
) -> Axes:
    """A table (rows, columns, runs): in each square the mean, below it the least and the largest.

    boxed: squares (row, column) with a thick frame.
    """
    matrix = numbers(values).astype(float)
    means = matrix.mean(-1)
    darkest = 1.15 * float(means.max())
    axes.imshow(means, cmap="Blues", aspect="auto", vmin=0, vmax=darkest)
    for (i, j), mean in np.ndenumerate(means):
        colour = "white" if mean > 0.6 * darkest else INK
        ends = f"{matrix[i, j].min():.2f} to {matrix[i, j].max():.2f}"
        axes.text(j, i - 0.08, f"{mean:.2f}", ha="center", va="bottom", fontsize=11, color=colour)
        axes.text(j, i + 0.06, ends, ha="center", va="top", fontsize=8, color=colour)
    for i, j in boxed:
        axes.plot(
            [j - 0.48, j + 0.48, j + 0.48, j - 0.48, j - 0.48],
            [i - 0.47, i - 0.47, i + 0.47, i + 0.47, i - 0.47],
            "-",
            linewidth=2.5,
            color=INK,
        )
    axes.set_xticks(range(matrix.shape[1]), columns)
    axes.set_yticks(range(matrix.shape[0]), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes


def shares(axes: Axes, steps: Sequence[int], of: Mapping[str, Sequence[float]]) -> Axes:
    """Shares from 0 to 1 after some steps, one line each, named at its right end; steps are evenly spaced."""
    places = np.arange(len(steps))
    for (name, values), dash, colour, marker in zip(
        of.items(), DASHES, COLOURS.values(), "os^Dv<>", strict=False
    ):
        axes.plot(places, values, marker=marker, markersize=4, linestyle=dash, color=colour, label=name)
    axes.set_xticks(places, [f"{step:,}" for step in steps])
    axes.set(xlabel="steps of the U-Net", ylim=(0, 1.03))
    return direct_labels(axes)


def versions(axes: Axes, parts: Mapping[str, tuple[float, float]], dropping: Sequence[str]) -> Axes:
    """Trainings as bars, name: (where it begins, how long it is), one a row; those in `dropping` are dark."""
    for row, (name, (begin, length)) in enumerate(parts.items()):
        dark = name in dropping
        axes.barh(row, length, left=begin, height=0.6, color="0.35" if dark else "0.8", edgecolor=INK)
        words: dict[str, Any] = {
            "ha": "center",
            "va": "center",
            "fontsize": SMALL,
            "color": "white" if dark else INK,
        }
        axes.text(begin + length / 2, row, f"{length:.0f}", **words)
    axes.set_yticks(range(len(parts)), list(parts))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    return axes


def interval(right: int, n: int) -> str:
    """'15 of 20 (53 to 89 %)', with the 95 % interval of a share (Wilson 1927)."""
    z, share = 1.96, right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return f"{right} of {n} ({100 * max(0, middle - reach):.0f} to {100 * min(1, middle + reach):.0f} %)"
