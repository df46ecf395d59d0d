"""Maps of words beside their picture, and what it is to take the keys from another sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from .drawings import arrow, box, canvas
from .palette import COLOURS, INK, numbers, panels, show_picture

EDGES = ("-", (0, (2.2, 1.1)))  # of the first thing and of the second
WORDS = "#e8eef4"


def outline(axes: Axes, mask: Any, number: int = 0, side: int | None = None) -> None:
    """The edge of a mask of pixels, drawn over a picture or over a map of `side` rows that covers the same.

    number: the first thing's edge is a full line, the second's is dashed.
    """
    inside = np.pad(numbers(mask).astype(float), 1)  # so that an edge at the frame is closed
    pixels = inside.shape[0] - 2
    per = pixels / (side or pixels)
    at = (np.arange(pixels + 2) - 0.5) / per - 0.5  # the middles of the pixels, in places
    white = [patheffects.Stroke(linewidth=2.4, foreground="white"), patheffects.Normal()]
    axes.contour(
        at,
        at,
        inside,
        levels=[0.5],
        colors=COLOURS["vermillion"],
        linewidths=1.2,
        linestyles=[EDGES[number % 2]],
    ).set_path_effects(white)


def maps(
    rows: Mapping[str, tuple[Any, Any]],
    words: Mapping[str, int],
    edges: Sequence[Any] = (),
    first: str = "",
) -> list[Axes]:
    """A row for each {name: (picture, table (rows, columns, words))}: the picture, and the map of each word.

    words: {title: column of the table}; each map is dark at its own largest weight. edges: masks of pixels,
    whose outlines are drawn over all of it. first: the title above the pictures.
    """
    across = len(words) + 1
    titles = [first, *words] + [""] * across * (len(rows) - 1)
    made = panels(across * len(rows), titles, columns=across, width=9.7, height=1.2 * len(rows))
    for row, (name, (picture, table)) in enumerate(rows.items()):
        show_picture(made[across * row], picture)
        made[across * row].set_ylabel(name)
        for axes, j in zip(made[across * row + 1 :], words.values()):
            axes.imshow(numbers(table)[..., j], cmap="Blues", vmin=0)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(True)
        for k, mask in enumerate(edges):
            for axes in made[across * row + 1 : across * (row + 1)]:
                outline(axes, mask, k, len(numbers(table)))
    return made


def apart(
    keys: Sequence[str], values: Sequence[str], weights: Sequence[float], axes: Axes | None = None
) -> Axes:
    """(11.13) for one place: it asks the words above, and those below at the same positions answer.

    weights: what the place gives to each position, as bars between the two sentences.
    """
    axes = canvas(9.4, 3.75, axes)
    left, wide = 1.75, 0.74
    most = max(range(len(weights)), key=lambda j: weights[j])
    for y, sentence, name, made in (
        (3.2, keys, "the other sentence", "$c'$: its keys $c'_j W_K$"),
        (0.75, values, "our sentence", "$c$: its values $c_j W_V$"),
    ):
        axes.text(0.1, y + 0.26, name, fontsize=9, color=INK, va="center")
        axes.text(0.1, y + 0.03, made, fontsize=9, color=INK, va="center")
        for j, word in enumerate(sentence):
            corner = (left + wide * j, y - 0.05)
            box(axes, corner, (wide - 0.1, 0.36), word, colour=WORDS if j == most else "white", fontsize=9)
    floor, high = 1.5, 1.0
    axes.text(0.1, floor + 0.62, "the weights of place $i$", fontsize=9, color=INK, va="center")
    axes.text(0.1, floor + 0.37, "$A_{ij}(c')$", fontsize=9, color=INK, va="center")
    axes.plot([left - 0.05, left + wide * len(weights) - 0.05], [floor] * 2, color=INK, linewidth=1.0, ls="-")
    for j, weight in enumerate(weights):
        x = left + wide * j + (wide - 0.1) / 2
        tall = high * weight / max(weights)
        axes.add_patch(Rectangle((x - 0.16, floor), 0.32, tall, facecolor="0.35", edgecolor=INK))
        axes.text(x + 0.19, floor + tall - 0.02, f"{weight:.2f}", fontsize=8, color=INK, va="bottom")
        if j == most:
            arrow(axes, [(x, 3.15), (x, floor + tall + 0.06)])
            arrow(axes, [(x, floor), (x, 1.13)])
            arrow(axes, [(x, 0.7), (x, 0.27), (7.95, 0.27)])
    right = left + wide * len(weights) + 0.12
    box(axes, (right, floor + 0.3), (9.3 - right, 0.62), "place $i$", "asks: $u_i W_Q$", fontsize=9)
    arrow(axes, [((right + 9.3) / 2, floor + 0.92), ((right + 9.3) / 2, 3.33), (right - 0.2, 3.33)])
    box(axes, (7.95, 0.05), (1.35, 0.44), f'mostly "{values[most]}"', colour=WORDS, fontsize=9)
    axes.text(7.9, 0.62, "what place $i$ gets:", fontsize=9, color=INK, va="center")
    return axes
