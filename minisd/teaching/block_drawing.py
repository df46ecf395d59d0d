"""Where the words enter the small U-Net, and the transformer block in which they are read."""

from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Circle

from .drawings import arrow, box, canvas
from .palette import INK, PAPER

HIGH, WORDS = 0.5, "#e8eef4"
PARTS = {
    "Norm 1, Self": "places read places",
    "Norm 2, Cross": "places read words",
    "Norm 3, FF": "each place alone",
}
LOW, TOP = 0.95, 2.0  # where the boxes of the two levels begin


def reading_points(side: int = 8, words: int = 77, axes: Axes | None = None) -> Axes:
    """The way of the latents through a U-Net of two levels, and the four layers that read the sentence."""
    axes = canvas(9.4, 2.7, axes)
    upper, lower, wide = f"{2 * side} x {2 * side}", f"{side} x {side}", 1.25
    box(axes, (0.1, TOP), (wide, HIGH), "ResNet", upper)
    box(axes, (8.05, TOP), (wide, HIGH), "2 ResNets", upper)
    names = ("down", "middle", "up 1", "up 2")
    lefts = [1.1, 2.95, 4.8, 6.65]
    for name, left in zip(names, lefts, strict=True):
        box(axes, (left, LOW), (wide + 0.3, HIGH), f'"{name}"', lower, WORDS)
        arrow(axes, [(left + 0.78, 0.45), (left + 0.78, LOW)])
    height = LOW + HIGH / 2
    arrow(axes, [(0.7, TOP), (0.7, height), (lefts[0], height)])
    for left, right in pairwise(lefts):
        arrow(axes, [(left + wide + 0.3, height), (right, height)])
    arrow(axes, [(lefts[-1] + wide + 0.3, height), (8.7, height), (8.7, TOP)])
    arrow(axes, [(0.7, 2.68), (0.7, TOP + HIGH)])
    arrow(axes, [(8.7, TOP + HIGH), (8.7, 2.7)])
    axes.text(0.8, 2.6, "latents", fontsize=9, color=INK, va="center")
    axes.text(8.6, 2.6, "noise", fontsize=9, color=INK, va="center", ha="right")
    box(
        axes,
        (lefts[0], 0.07),
        (lefts[-1] + wide + 0.3 - lefts[0], 0.38),
        f"the sentence: {words} vectors",
        "",
        WORDS,
    )
    return axes


def decided(axes: Axes | None = None) -> Axes:
    """What follows which layer in `tiny`, and when: the reading points with the findings of section 11.8."""
    axes = reading_points(axes=canvas(9.4, 3.05, axes))
    axes.set_ylim(0, 3.05)
    words: dict[str, Any] = {"ha": "center", "va": "center", "color": INK}
    for x, what, when in (
        (1.88, "time of day", "mostly steps 1-2"),
        (3.73, "ground", "mostly steps 6-10"),
        (7.43, "colour", "mostly steps 6-10"),
    ):
        axes.text(x, 1.8, what, fontsize=10, fontweight="bold", **words)
        axes.text(x, 1.61, when, fontsize=9, **words)
    axes.plot([3.73, 3.73, 7.43, 7.43], [2.05, 2.17, 2.17, 2.05], color=INK, linewidth=1.1, linestyle="-")
    axes.plot([5.58, 5.58], [1.55, 2.17], color=INK, linewidth=1.1, linestyle="-")
    for y, what, when in (
        (2.62, "thing", '"up 2" with one of the other two, mostly steps 6-10'),
        (2.38, "which is on the left", "the three together, mostly steps 1-2"),
    ):
        axes.text(4.42, y, what, fontsize=10, fontweight="bold", **words | {"ha": "right"})
        axes.text(4.5, y, when, fontsize=9, **words | {"ha": "left"})
    return axes


def block(axes: Axes | None = None) -> Axes:
    """A transformer block: the running table above, three parts that each read it and add to it."""
    axes = canvas(9.4, 2.75, axes)
    line, wide = 2.2, 1.75
    axes.text(0.3, line, "$h$", fontsize=12, ha="center", va="center", color=INK)
    axes.text(9.05, line + 0.22, r"$h_{\mathrm{out}}$", fontsize=12, ha="center", va="center", color=INK)
    for i, (name, below) in enumerate(PARTS.items()):
        left = 1.1 + 2.7 * i
        plus = left + wide + 0.35
        box(axes, (left, 1.05), (wide, 0.6), name, below, WORDS if i == 1 else PAPER)
        arrow(axes, [(left - 0.3, line), (left - 0.3, 1.35), (left, 1.35)])
        arrow(axes, [(left + wide, 1.35), (plus, 1.35), (plus, line - 0.13)])
        axes.add_patch(Circle((plus, line), 0.13, facecolor=PAPER, edgecolor=INK, zorder=3))
        axes.text(plus, line - 0.01, "+", fontsize=11, ha="center", va="center", color=INK, zorder=4)
        if i < 2:
            axes.text(
                plus + 0.3,
                line + 0.22,
                ("$h'$", "$h''$")[i],
                fontsize=12,
                ha="center",
                va="center",
                color=INK,
            )
    arrow(axes, [(0.5, line), (9.0, line)])  # last, so that it passes over the branches
    middle = 1.1 + 2.7 + wide / 2
    box(axes, (middle - 1.3, 0.1), (2.6, 0.42), "the words $c$: keys, values", "", WORDS)
    arrow(axes, [(middle, 0.52), (middle, 1.05)])
    return axes
