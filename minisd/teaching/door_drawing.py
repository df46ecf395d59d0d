"""Where a condition can enter: the three doors of the U-Net, what passes through each, and a ControlNet."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from torch import nn

from ..blocks import ResnetBlock
from ..controlnet import ControlNet
from ..scenes import PARTS
from ..scenes.plans import semantic_map
from ..unet import UNet
from .drawings import Point, arrow, box, canvas
from .palette import INK, PAPER, as_array, numbers, panels, show_picture
from .plots import curves, heat
from .u_drawing import Box, watch

HIGH, WIDE = 0.34, 1.62
GAP = 0.5  # from row to row
EMPTY = 5  # the number that chapter 12 gives to a side without a digit
DOORS = ("#f6e3cf", "#e4efdc", "#dce8f3")  # concatenation, addition, cross-attention
NAMES = ("1  concatenation", "2  addition", "3  cross-attention")


def sign(axes: Axes, place: Point, number: int, radius: float = 0.14) -> None:
    """A door's number, white on black."""
    axes.add_patch(Circle(place, radius, facecolor=INK, edgecolor=INK, zorder=5))
    size = 64 * radius
    axes.text(*place, str(number), color="white", fontsize=size, ha="center", va="center", zorder=6)


def short_name(name: str) -> str:
    return name.replace(" + ", ", ")


def doors(unet: UNet, *inputs: Any, axes: Axes | None = None) -> Axes:
    """Draw unet(*inputs) with the places where a condition can enter.

    Down at the left, up at the right, each box beside the one whose skip (dashed) it reads. Door 1 is the
    first convolution, door 2 the vector that every ResNet adds, door 3 what every "words" layer reads; a
    box has the numbers of the doors that lead to it.
    """
    down, up, middle = watch(unet, inputs)
    rows, row = [], 0  # of the boxes of the way down; before a level there is room for "double" at the right
    for before, one in zip([down[0], *down], down):
        row += int(before.shape[1] != one.shape[1])
        rows.append(row)
        row += 1
    places: list[int] = []
    for one in up:
        places.append(rows[one.skip] if one.skip >= 0 else places[-1] - 1)
    axes = canvas(9.6, GAP * row + 3.1, axes)
    top = GAP * row + 1.1
    left = [(2.6, top - GAP * i) for i in rows]
    right = [(7.2, top - GAP * i) for i in places]
    low = (4.9, top - GAP * row - 0.08)
    for corner, one in [*zip(left, down), *zip(right, up), (low, middle)]:
        part(axes, corner, one)
    for column, upward in ((left, False), (right, True)):
        for (x, y), (_, y_next) in zip(column, column[1:]):
            ends = (y + HIGH, y_next) if upward else (y, y_next + HIGH)
            arrow(axes, [(x + WIDE / 2, ends[0]), (x + WIDE / 2, ends[1])])
    for one, (x, y) in zip(up, right):
        if one.skip >= 0:
            arrow(axes, [(left[0][0] + WIDE, y + HIGH / 2), (x, y + HIGH / 2)], dashed=True)
    bottom, (x_down, y_down), (x_up, y_up) = low[1] + HIGH / 2, left[-1], right[0]
    arrow(axes, [(x_down + WIDE / 2, y_down), (x_down + WIDE / 2, bottom), (low[0], bottom)])
    arrow(axes, [(low[0] + WIDE, bottom), (x_up + WIDE / 2, bottom), (x_up + WIDE / 2, y_up)])
    entrances(axes, unet, inputs, left[0], right[-1], low)
    return axes


def part(axes: Axes, corner: Point, one: Box) -> None:
    """A box of the U-Net, with the numbers of the doors that lead to it."""
    kind = 2 if "words" in one.name else 1 if "ResNet" in one.name else 0 if "conv_in" in one.name else -1
    shape = " × ".join(str(n) for n in one.shape)
    box(axes, corner, (WIDE, HIGH), "", colour=DOORS[kind] if kind >= 0 else PAPER)
    for y, size, words in ((0.235, 7.6, short_name(one.name)), (0.095, 6.6, shape)):
        look: dict[str, Any] = {"fontsize": size, "ha": "center", "va": "center", "color": INK, "zorder": 4}
        axes.text(corner[0] + WIDE / 2, corner[1] + y, words, **look)
    numbers_of = [1] if kind == 0 else [2, 3][:kind] if kind > 0 else []
    for i, number in enumerate(numbers_of):
        place = (corner[0] + WIDE + 0.02 + 0.23 * i, corner[1] + HIGH + 0.02)
        sign(axes, place, number, radius=0.1)


def entrances(axes: Axes, unet: UNet, inputs: tuple[Any, ...], first: Point, last: Point, low: Point) -> None:
    """The three arrows from outside, each with its number and what it carries."""
    words: dict[str, Any] = {"fontsize": 8.6, "color": INK, "va": "center"}
    z, context = inputs[0], inputs[2]
    (x, y), grid, middle = first, f"{z.shape[2]} × {z.shape[3]}", low[0] + WIDE / 2
    axes.text(x + WIDE / 2, y + 0.92, f"latents, {z.shape[1]} × {grid}", ha="center", **words)
    arrow(axes, [(x + WIDE / 2, y + 0.8), (x + WIDE / 2, y + HIGH)])
    arrow(axes, [(1.75, y + HIGH / 2), (x, y + HIGH / 2)])
    sign(axes, (1.95, y + HIGH / 2), 1)
    axes.text(0.08, y + HIGH / 2, f"a picture of {grid},\nas more channels", **words)
    arrow(axes, [(last[0] + WIDE / 2, last[1] + HIGH), (last[0] + WIDE / 2, last[1] + 0.74)])
    made = f"norm, conv_out: the guessed\nnoise, {z.shape[1]} × {grid}"
    axes.text(last[0] + WIDE / 2, last[1] + 0.94, made, ha="center", **words)
    time = unet.time_embedding.linear_2.out_features  # type: ignore[union-attr]
    box(axes, (middle - 1.0, y + 0.72), (2.0, 0.36), f"time: {time} numbers", "", DOORS[1], fontsize=9)
    axes.text(middle - 0.14, y + 0.54, "added in every box with", ha="center", **words)
    sign(axes, (middle + 0.8, y + 0.54), 2, radius=0.1)
    arrow(axes, [(middle, y + 1.58), (middle, y + 1.08)])
    sign(axes, (middle, y + 1.34), 2)
    axes.text(middle + 0.24, y + 1.4, f"a vector of {time} numbers, added to the time's", **words)
    base = 0.12
    inside = f"context: {context.shape[1]} vectors of {context.shape[2]}"
    box(axes, (middle - 1.4, base), (2.8, 0.36), inside, "", DOORS[2], fontsize=9)
    axes.text(middle - 0.14, base + 0.52, "read in every box with", ha="center", **words)
    sign(axes, (middle + 0.74, base + 0.52), 3, radius=0.1)
    arrow(axes, [(1.75, base + 0.18), (middle - 1.4, base + 0.18)])
    sign(axes, (1.95, base + 0.18), 3)
    axes.text(0.08, base + 0.18, "a sequence, as\nmore vectors to read", **words)


WAYS = (
    ("repeated, 3 of 8 planes shown", "as it is", "a sequence of one"),
    ("as it is", "written out, times a matrix", "one vector per place, 9 of 32"),
    ("averaged, then repeated", "averaged", "as it is"),
)


def forms(conditions: Mapping[str, Any], tokens: Any, axes: Axes | None = None) -> Axes:
    """How each kind of condition is brought into the shape that each door takes, drawn from arrays.

    conditions: {"a vector": (numbers,), "a map": (rows, columns), "a sequence": (tokens, numbers)}; a row
    each. tokens: vectors of the map's places, (places, numbers). The frames: where nothing has to be done.
    """
    axes = canvas(9.6, 5.3, axes)
    columns = (0.95, 3.0, 5.3, 7.65)
    for x, head in zip(columns, ("the condition", *NAMES)):
        axes.text(x + 0.6, 5.12, head, ha="center", va="center", fontsize=9.5, fontweight="bold", color=INK)
    for i, (name, value) in enumerate(conditions.items()):
        value, y = numbers(value).astype(float), 3.72 - 1.62 * i
        axes.text(0.02, y + 0.5, name, fontsize=9.5, va="center", color=INK)
        if "map" in name:
            squares(axes, (columns[0] + 0.06, y + 0.24), value)
            squares(axes, (columns[1] + 0.06, y + 0.24), value)
            bars(axes, (columns[2] + 0.54, y), [value[::2, ::2].flatten()])
            bars(axes, (columns[3] - 0.15, y), list(numbers(tokens))[:9])
        else:
            own = [value] if value.ndim == 1 else list(value)
            mean = np.mean(own, axis=0)
            bars(axes, (columns[0] + 0.62 - 0.085 * len(own), y), own)
            planes(axes, (columns[1] - 0.05, y + 0.1), list(shades_of(mean)[:3]))
            bars(axes, (columns[2] + 0.54, y), [mean])
            bars(axes, (columns[3] + 0.62 - 0.085 * len(own), y), own)
        corner = (columns[(2, 1, 3)[i]] - 0.4, y - 0.36)
        axes.add_patch(Rectangle(corner, 2.0, 1.46, fill=False, edgecolor=INK, linewidth=1.8))
        for x, words in zip(columns[1:], WAYS[i]):
            axes.text(x + 0.6, y - 0.2, words, ha="center", va="center", fontsize=8, color=INK)
    return axes


def shades_of(vector: Any) -> np.ndarray:
    """Greys for the entries of a vector: the smallest is white, the largest nearly black."""
    values = numbers(vector).astype(float)[:8]
    return 1 - 0.85 * (values - values.min()) / max(float(np.ptp(values)), 1e-6)


def bars(axes: Axes, corner: Point, vectors: Sequence[Any]) -> None:
    """Vectors as columns of grey squares, side by side."""
    for i, vector in enumerate(vectors):
        for j, grey in enumerate(shades_of(vector)):
            place = (corner[0] + 0.17 * i, corner[1] + 0.87 - 0.12 * j)
            axes.add_patch(Rectangle(place, 0.12, 0.12, facecolor=str(grey), edgecolor=INK, linewidth=0.5))


def squares(axes: Axes, corner: Point, plane: np.ndarray, side: float = 0.135) -> None:
    """A small map, dark where it is 1."""
    for (i, j), value in np.ndenumerate(plane):
        place = (corner[0] + side * j, corner[1] + side * (len(plane) - 1 - i))
        grey = str(float(1 - 0.85 * value))
        axes.add_patch(Rectangle(place, side, side, facecolor=grey, edgecolor=INK, linewidth=0.4))


def planes(axes: Axes, corner: Point, greys: Sequence[float]) -> None:
    """Planes of one grey each, one behind the other, the first in front."""
    for i, grey in reversed(list(enumerate(greys))):
        place = (corner[0] + 0.17 * i, corner[1] + 0.17 * i)
        axes.add_patch(Rectangle(place, 1.04, 0.52, facecolor=str(float(grey)), edgecolor=INK, linewidth=0.6))


def control(unet: UNet, net: ControlNet, plan: Any, axes: Axes | None = None) -> Axes:
    """A U-Net, grey, and a ControlNet beside it: what it copies, what it adds, and where the zeros are."""
    axes = canvas(9.6, 4.5, axes)
    names = ["conv_in"] + [f"level {i}" for i in range(len(unet.down_blocks))] + ["middle"]
    rows = [3.2 - 0.86 * i for i in range(len(names))]
    for name, y in zip(names, rows):
        box(axes, (COPY, y), (1.5, TALL), name, "copy, trained", DOORS[2])
        box(axes, (KEPT, y), (1.5, TALL), name, "as it is", "#ececec")
    for x in (COPY, KEPT):
        for y, below in zip(rows, rows[1:]):
            arrow(axes, [(x + 0.75, y), (x + 0.75, below + TALL)])
    box(axes, (UP, rows[1]), (1.6, TALL), "the way up", "as it is", "#ececec")
    for name, count, y in zip(names, counted(net), rows):
        leaves(axes, name, count, y)
        joins(axes, name == "middle", y, rows[1])
    above(axes, net, plan, rows)
    low, centre = rows[-1] - 0.34, (COPY + KEPT) / 2 + 0.75
    words = "time: read on every level;\nwords: on those with transformers"
    axes.text(centre, low, words, fontsize=9, color=INK, ha="center", va="center")
    for x, end in ((COPY + 0.75, centre - 1.2), (KEPT + 0.75, centre + 1.2)):
        arrow(axes, [(end, low), (x, low), (x, rows[-1])])
    return axes


COPY, KEPT, UP, TALL = 1.55, 4.55, 7.35, 0.5  # left edges of the columns in `control`, height of its boxes


def leaves(axes: Axes, name: str, count: int, y: float) -> None:
    """From a box of the copy through its zero convolutions to the sum at the right."""
    middle, plus = y + TALL / 2, KEPT + 1.85
    box(
        axes,
        (COPY + 1.78, y + 0.03),
        (0.86, 0.44),
        f"{count} zero",
        "conv 1 × 1" if count == 1 else "convs 1 × 1",
        PAPER,
        fontsize=9,
    )
    start = [(COPY + 1.5, middle)]
    if name == "conv_in":  # its zero convolution reads the sum with the plan's features
        start = [(COPY + 0.87, y - 0.18), (COPY + 1.64, y - 0.18), (COPY + 1.64, middle)]
    arrow(axes, [*start, (COPY + 1.78, middle)])
    over = [(COPY + 2.8, middle), (COPY + 2.8, middle + 0.42), (plus, middle + 0.42)]
    arrow(axes, [(COPY + 2.64, middle), *over, (plus, middle + 0.13)])
    axes.add_patch(Circle((plus, middle), 0.13, facecolor=PAPER, edgecolor=INK, zorder=3))
    axes.text(plus, middle - 0.01, "+", ha="center", va="center", zorder=4)
    arrow(axes, [(KEPT + 1.5, middle), (plus - 0.13, middle)])


def joins(axes: Axes, is_middle: bool, y: float, up: float) -> None:
    """From the sum to the way up, whose box begins at the height `up`; skips are dashed."""
    middle, plus, target = y + TALL / 2, KEPT + 1.98, up + TALL / 2
    if is_middle:
        arrow(axes, [(plus, middle), (UP + 0.8, middle), (UP + 0.8, up)])
    elif y == up:
        arrow(axes, [(plus, middle), (UP, middle)], dashed=True)
    else:
        end = target + (0.1 if y > up else -0.1)
        arrow(axes, [(plus, middle), (UP - 0.25, middle), (UP - 0.25, end), (UP, end)], dashed=True)


def blocks_of(level: nn.Module) -> int:
    """How many ResNet blocks a level has."""
    return sum(isinstance(part, ResnetBlock) for part in level.modules())


def counted(net: ControlNet) -> list[int]:
    """How many zero convolutions stand behind conv_in, each level and the middle."""
    levels = [blocks_of(level) + (level.downsamplers is not None) for level in net.down_blocks]
    counts = [1, *levels]
    assert sum(counts) == len(net.controlnet_down_blocks)
    return [*counts, 1]


def above(axes: Axes, net: ControlNet, plan: Any, rows: Sequence[float]) -> None:
    """What goes in at the top and the left of a ControlNet's drawing, and what comes out."""
    words: dict[str, Any] = {"fontsize": 9, "color": INK, "ha": "center", "va": "center"}
    show_picture(axes.inset_axes((0.05, 3.08, 0.85, 0.85), transform=axes.transData), plan)
    axes.text(0.48, 4.08, "the plan", **words)
    convs = len(net.controlnet_cond_embedding.blocks) + 1
    box(axes, (0.02, 2.25), (0.92, 0.42), "encoder", f"{convs} convs", DOORS[0], fontsize=9)
    box(axes, (0.02, 1.5), (0.92, 0.44), "1 zero", "conv 3 × 3", PAPER, fontsize=9)
    arrow(axes, [(0.48, 3.06), (0.48, 2.67)])
    arrow(axes, [(0.48, 2.25), (0.48, 1.94)])
    sum_at = rows[0] - 0.18
    arrow(axes, [(0.94, 1.73), (1.2, 1.73), (1.2, sum_at), (COPY + 0.62, sum_at)])
    axes.add_patch(Circle((COPY + 0.75, sum_at), 0.12, facecolor=PAPER, edgecolor=INK, zorder=3))
    axes.text(COPY + 0.75, sum_at - 0.01, "+", ha="center", va="center", fontsize=9, zorder=4)
    top, centre = rows[0] + TALL + 0.52, (COPY + KEPT) / 2 + 0.75
    axes.text(centre, top + 0.14, "noisy latents", **words)
    for x in (COPY, KEPT):
        arrow(axes, [(centre, top), (x + 0.75, top), (x + 0.75, rows[0] + TALL)])
    arrow(axes, [(UP + 0.8, rows[1] + TALL), (UP + 0.8, rows[0] + TALL)])
    axes.text(UP + 0.8, rows[0] + TALL + 0.14, "the guessed noise", **words)


# ---- trained networks and their scores


def strips_of(letters: Sequence[str], shape: tuple[int, int] = (8, 16)) -> list[np.ndarray]:
    """Strips that benchmarks/doors.py keeps as text, two letters for each pixel, as pictures in [0, 1]."""
    return [np.frombuffer(bytes.fromhex(one), np.uint8).reshape(shape) / 255 for one in letters]


def sides_of(pair: Sequence[int]) -> str:
    """The digits on both sides of a strip."""
    return ", ".join("none" if side == EMPTY else str(side) for side in pair)


def as_read(found: Sequence[int], told: Sequence[int], on_map: Sequence[int] | None = None) -> str:
    """What the reader sees on both sides, with a tick if that is what was told.

    on_map: the digits of a map that contradicts the words; then it says whose digits they are.
    """
    if on_map is None:
        return sides_of(found) + ("  ✓" if list(found) == list(told) else "")
    whose = [name for name, pair in (("words", told), ("map", on_map)) if list(found) == list(pair)]
    return sides_of(found) + (": as the " + " and ".join(whose) if whose else "")


def nine(shown: Mapping[str, Mapping[str, Any]], kinds: Sequence[str], of_doors: Sequence[str]) -> list[Axes]:
    """Strips painted under each door, {"kind, door": ...} as benchmarks/doors.py keeps them.

    A block for each kind; columns: what was told, a real strip of it, and what was painted under each door,
    with what the reader sees in it.
    """
    count = len(shown[f"{kinds[0]}, {of_doors[0]}"]["told"])
    rows = len(kinds) * count + len(kinds) - 1
    heights = ([1.0] * count + [0.25]) * (len(kinds) - 1) + [1.0] * count
    figure, grid = plt.subplots(rows, 9, figsize=(9.4, 0.47 * rows), squeeze=False)
    grid[0, 0].get_gridspec().set_height_ratios(heights)
    grid[0, 0].get_gridspec().set_width_ratios([0.5, 1.05, 1.0, *[1.0, 0.55] * 3])
    figure.set_layout_engine("constrained", h_pad=0.01, w_pad=0.01, hspace=0.02, wspace=0.01)
    for axes in grid.flat:
        axes.axis("off")
    for column, head in zip((1, 2, 3, 5, 7), ("told", "a real one", *of_doors)):
        grid[0, column].set_title(head, fontsize=10)
    for b, kind in enumerate(kinds):
        of_kind = [shown[f"{kind}, {door}"] for door in of_doors]
        grid[b * (count + 1), 0].text(0, 0.5, kind, va="center", fontsize=10.5, fontweight="bold")
        for i in range(count):
            row, told = grid[b * (count + 1) + i], of_kind[0]["told"][i]
            true = strips_of(of_kind[0]["true"])[i]
            if kind == "map":
                show_picture(row[1], (true > 0.5).astype(float))
            else:
                said = str(told[0]) if kind == "class" else f"{told[0]} left, {told[1]} right"
                row[1].text(0.5, 0.5, said, ha="center", va="center", fontsize=10, color=INK)
            show_picture(row[2], true)
            for d, one in enumerate(of_kind):
                show_picture(row[3 + 2 * d], strips_of(one["painted"])[i])
                verdict = as_read(one["read"][i], told)
                row[4 + 2 * d].text(0.02, 0.5, verdict, va="center", fontsize=9, color=INK)
    return list(grid.flat)


def strip_rows(rows: Mapping[str, Sequence[Any]], verdicts: Mapping[str, Sequence[str]]) -> list[Axes]:
    """Strips in named rows, a text under each."""
    count = len(next(iter(rows.values())))
    _, grid = plt.subplots(len(rows), count, figsize=(1.5 + 1.3 * count, 0.76 * len(rows)), squeeze=False)
    for (name, strips), line in zip(rows.items(), grid):
        for i, (axes, strip) in enumerate(zip(line, strips)):
            show_picture(axes, strip)
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(verdicts.get(name, [""] * count)[i], fontsize=8.5, labelpad=1)
            if i == 0:
                axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9.5)
    return list(grid.flat)


def who_reads_what(weights: Mapping[str, Any], width: int) -> list[Axes]:
    """Attention weights (place, vector) as squares, dark for large, all to one scale; a line of places is
    `width` places long.
    """
    made = panels(len(weights), list(weights), width=7.6, height=3.5)
    most = max(float(numbers(one).max()) for one in weights.values())
    for axes, one in zip(made, weights.values()):
        values = numbers(one).astype(float)
        axes.imshow(values, cmap="Greys", vmin=0, vmax=0.6 * most)
        for border in range(width, len(values), width):
            axes.axvline(border - 0.5, color=INK, linewidth=0.6, linestyle=":")
            axes.axhline(border - 0.5, color=INK, linewidth=0.6, linestyle=":")
        ticks = range(0, len(values), width)
        axes.set(xlabel="is read: vector", xticks=ticks, yticks=ticks)
    made[0].set_ylabel("reads: place")
    return made


def same_average(vectors: Mapping[str, Any], axes: Axes | None = None) -> Axes:
    """Two sentences of two words each, as columns of greys, and their averages: {"3 left": vector, ...}.

    The four vectors in the order first sentence, second sentence.
    """
    axes, names = canvas(7.2, 3.1, axes), list(vectors)
    words: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "fontsize": 10}
    for row, (a, b) in enumerate((names[:2], names[2:])):
        y = 1.9 - 1.55 * row
        mean = (numbers(vectors[a]) + numbers(vectors[b])) / 2
        for x, name, vector in ((0.9, a, vectors[a]), (2.5, b, vectors[b]), (5.3, "their average", mean)):
            greys(axes, (x, y), vector)
            axes.text(x + 0.06, y - 0.2, name, **words)
        axes.text(1.75, y + 0.45, "and", **words)
        arrow(axes, [(3.3, y + 0.45), (4.6, y + 0.45)])
    axes.text(6.35, 1.6, "the same", fontweight="bold", **words)
    for end in (2.35, 0.8):
        arrow(axes, [(6.35, 1.6 + (0.2 if end > 1.6 else -0.2)), (6.35, end), (5.6, end)])
    return axes


def greys(axes: Axes, corner: Point, vector: Any) -> None:
    """The first eight entries of a vector as a column of squares; white is -2, nearly black 2."""
    for j, value in enumerate(numbers(vector).astype(float)[:8]):
        grey = str(float(np.clip(0.575 - 0.2125 * value, 0.15, 1)))
        place = (corner[0], corner[1] + 0.91 - 0.13 * j)
        axes.add_patch(Rectangle(place, 0.13, 0.13, facecolor=grey, edgecolor=INK, linewidth=0.5))


def group_bars(vectors: Mapping[str, Any], groups: Sequence[int]) -> list[Axes]:
    """Vectors as bars, the groups of channels apart, and each group's mean as a horizontal line."""
    made = panels(len(vectors), list(vectors), width=9.6, height=2.5)
    for axes, vector, count in zip(made, vectors.values(), groups):
        values = numbers(vector).astype(float)
        size = len(values) // count
        axes.bar(range(len(values)), values, color="0.6", width=0.75)
        axes.set(ylim=(-4, 4), xlabel="channel", xlim=(-0.8, len(values) - 0.2))
        for g in range(count if size > 1 else 0):
            mean = values[g * size : (g + 1) * size].mean()
            axes.plot([g * size - 0.5, (g + 1) * size - 0.5], [mean, mean], color=INK, lw=2.2, linestyle="-")
            if g:
                axes.axvline(g * size - 0.5, color=INK, linewidth=0.8, linestyle=":")
        if np.abs(values).max() < 0.05:
            axes.text(0.5, 0.6, "nothing", ha="center", transform=axes.transAxes, fontsize=11, color=INK)
    return made


def one_block(axes: Axes | None = None) -> Axes:
    """(12.14): a block that is kept, its copy, and the two zero convolutions, as boxes and arrows."""
    axes = canvas(7.4, 2.1, axes)
    words: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "fontsize": 12}
    box(axes, (2.9, 1.4), (1.5, 0.5), "block $B$", "weights $\\Theta$, as they are", "#ececec", fontsize=9.5)
    box(axes, (2.9, 0.3), (1.5, 0.5), "copy of $B$", "weights $\\Theta_c$, trained", DOORS[2], fontsize=9.5)
    box(axes, (0.55, 0.3), (0.95, 0.5), "$\\mathcal{Z}_1$", "zero conv", PAPER, fontsize=9.5)
    box(axes, (4.85, 0.3), (0.95, 0.5), "$\\mathcal{Z}_2$", "zero conv", PAPER, fontsize=9.5)
    axes.text(0.18, 1.65, "$x$", **words)
    axes.text(0.18, 0.55, "$c$", **words)
    axes.text(7.15, 1.65, "$y_c$", **words)
    for x, y in ((2.1, 0.55), (6.3, 1.65)):
        axes.add_patch(Circle((x, y), 0.13, facecolor=PAPER, edgecolor=INK, zorder=3))
        axes.text(x, y - 0.01, "+", ha="center", va="center", zorder=4)
    arrow(axes, [(0.35, 1.65), (2.9, 1.65)])
    axes.plot(2.1, 1.65, "o", color=INK, markersize=5)  # here x forks
    arrow(axes, [(2.1, 1.59), (2.1, 0.68)])
    arrow(axes, [(0.35, 0.55), (0.55, 0.55)])
    arrow(axes, [(1.5, 0.55), (1.97, 0.55)])
    arrow(axes, [(2.23, 0.55), (2.9, 0.55)])
    arrow(axes, [(4.4, 0.55), (4.85, 0.55)])
    arrow(axes, [(5.8, 0.55), (6.3, 0.55), (6.3, 1.52)])
    arrow(axes, [(4.4, 1.65), (6.17, 1.65)])
    arrow(axes, [(6.43, 1.65), (6.95, 1.65)])
    return axes


def with_contours(pictures: Sequence[Any], parts: Sequence[np.ndarray], first: int = 3) -> list[np.ndarray]:
    """Pictures with the edges of a plan's things drawn into them, black inside and white outside.

    parts: the number of a part for each pixel, a thing from `first` on.
    """
    made = []
    for picture, labels in zip(pictures, parts):
        shown, things = as_array(picture).copy(), labels >= first
        white = 255 if shown.dtype == np.uint8 else 1.0
        near, far = np.zeros_like(things), np.zeros_like(things)
        for axis in (0, 1):
            for step in (-1, 1):
                beside = np.roll(things, step, axis)
                near |= things & ~beside
                far |= ~things & beside
        shown[near], shown[far] = 0, white
        made.append(shown)
    return made


def scores(
    axes: Axes,
    cells: Sequence[Sequence[tuple[float, float, float]]],
    rows: Sequence[str],
    columns: Sequence[str],
) -> Axes:
    """A matrix of shares, (mean, least, most) each: the mean as a grey, all three written in per cent."""
    means = np.array([[mean for mean, _, _ in row] for row in cells])
    heat(axes, 100 * means, rows, columns, form=".0f", most=100)
    for i, row in enumerate(cells):
        for j, (mean, least, most) in enumerate(row):
            text = f"{100 * least:.0f} to {100 * most:.0f}"
            colour = "white" if mean > 0.6 else INK
            axes.text(j, i + 0.3, text, ha="center", va="center", fontsize=7, color=colour)
    return axes


def heat_maps(values: Mapping[str, Any]) -> None:
    """Small planes of numbers side by side, to one scale, orange below 0, purple above."""
    made = panels(len(values), list(values), width=9.6, height=1.9)
    most = max(float(np.abs(numbers(value)).max()) for value in values.values())
    for axes, value in zip(made, values.values()):
        heat(axes, value, form=".1f", diverging=True, most=most)


def obeyed(measured: Mapping[str, Any]) -> list[Axes]:
    """How paintings keep to their plans, from benchmarks/plans.json: a panel for each measure.

    A dot with its 95 % interval for each row, filled for the right plan; dashed: what the VAE leaves.
    """
    cells = measured["cells"]
    wanted = {
        "middle within 6 pixels, %": ("place", "map"),
        "IoU of the things": ("overlap", "map"),
        "edge agreement": ("edges", "outlines"),
    }
    made = panels(len(wanted), list(wanted), width=9.6, height=2.4)
    for axes, (what, plan) in zip(made, wanted.values()):
        rows = [f"words and {plan}", f"words and another picture's {plan}", "words alone"]
        for i, row in enumerate(rows):
            middle, low, high = interval_of(cells[row][what])
            axes.plot([low, high], [-i, -i], color=INK, linewidth=1.5, linestyle="-")
            axes.plot(middle, -i, "o", markersize=8, color=INK, markerfacecolor=INK if i == 0 else "white")
        ceiling = interval_of(cells["the true picture, through the VAE"][what])[0]
        axes.axvline(ceiling, linestyle="--", color=INK, linewidth=1)
        names = [f"its own {plan}", f"another's {plan}", "no plan"] if what != "overlap" else [""] * 3
        axes.set(ylim=(-2.6, 0.6), xlim=(0, 105 if what == "place" else 1.05))
        axes.set_yticks([0, -1, -2], names)
    return made


def better_by(cells: Mapping[str, Any], plan: str, what: str, than: str) -> tuple[float, float, float]:
    """By how much a measure is better with a plan than in another row, scene by scene: the mean and its 95 %
    interval. plan: "map", "another picture's map", ...
    """
    own, other = (np.asarray(cells[row][what]) for row in (f"words and {plan}", than))
    return interval_of(own - other)


def interval_of(values: Any) -> tuple[float, float, float]:
    """A share in per cent with Wilson's 95 % interval, or the mean of a list with its bootstrap's."""
    if isinstance(values, Mapping):
        n, share, z = values["n"], values["right"] / values["n"], 1.96
        middle = share + z * z / (2 * n)
        reach = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
        low, high = ((middle + side * reach) / (1 + z * z / n) for side in (-1, 1))
        return 100 * share, 100 * low, 100 * high
    list_of = np.asarray(values, dtype=float)
    again = np.random.default_rng(0).integers(len(list_of), size=(1000, len(list_of)))
    low, high = np.quantile(list_of[again].mean(axis=1), [0.025, 0.975])
    return float(list_of.mean()), float(low), float(high)


def triangle(without: float, with_c: float, changed: float, axes: Axes | None = None) -> Axes:
    """The noise and a network's two guesses at it, with and without words, as a triangle to scale.

    without, with_c: the losses; changed: the mean squared difference of the guesses. The sides are the roots.
    """
    axes = canvas(8.2, 2.9, axes)
    scale = 3.4 / without**0.5
    high, wide = scale * with_c**0.5, scale * changed**0.5
    cosine = (with_c + changed - without) / (2 * (with_c * changed) ** 0.5)  # at the guess with c
    corner = (2.2 + wide, 0.5)
    start, noise = (2.2, 0.5), (corner[0] - high * cosine, corner[1] + high * (1 - cosine**2) ** 0.5)
    axes.set(ylim=(0, max(2.9, noise[1] + 0.25)))
    axes.plot(*zip(start, noise, corner, start), color=INK, linewidth=1.5, linestyle="-")
    x, y = corner
    words: dict[str, Any] = {"color": INK, "va": "center", "fontsize": 10}
    axes.text(x - 0.1, y + 0.17, f"{np.degrees(np.arccos(cosine)):.0f}°", ha="right", **words)
    for point, name, place, side in (
        (start, "its guess,\ntold nothing", (start[0] - 0.2, y), "right"),
        (corner, "its guess,\ntold the words", (x + 0.2, y), "left"),
        (noise, r"the noise $\epsilon$", (noise[0] + 0.2, noise[1]), "left"),
    ):
        axes.plot(*point, "o", color=INK, markersize=6)
        axes.text(place[0], place[1], name, ha=side, **(words | {"fontsize": 11}))
    left, middle = (start[0] + noise[0]) / 2 - 0.3, (y + noise[1]) / 2
    axes.text(left, middle + 0.14, f"error without $c$:\n$\\sqrt{{{without:.4f}}}$", ha="right", **words)
    axes.text(x + 0.25, middle, f"error with $c$: $\\sqrt{{{with_c:.4f}}}$", ha="left", **words)
    axes.text((start[0] + x) / 2, 0.22, f"what $c$ changes: $\\sqrt{{{changed:.4f}}}$", ha="center", **words)
    return axes


def worths(levels: Sequence[int], saved: Mapping[str, Sequence[Any]]) -> Axes:
    """What conditions save, in per cent of the loss, at each noise level: the mean of the pictures' shares,
    with its 95 % interval. saved: {condition: [a tensor of shares, for each level]}.
    """
    (axes,) = panels(1, width=7.0, height=3.3)
    axes.set(xlabel="timestep t (noise grows to the right)", ylabel="% of the loss that it saves")
    axes.set(xlim=(60, 1010))
    found = {name: [interval_of(numbers(one)) for one in lists] for name, lists in saved.items()}
    ends = [100 * end for of in found.values() for one in of for end in one]
    axes.set_ylim(min(0, *ends), 1.03 * max(ends))
    curves(axes, levels, {name: [100 * m for m, _, _ in of] for name, of in found.items()}, marker="o")
    for i, of in enumerate(found.values()):
        x = [level + 9 * (i - 1) for level in levels]
        axes.get_lines()[i].set_xdata(x)
        low, high = ([100 * one[k] for one in of] for k in (1, 2))
        axes.vlines(x, low, high, color=axes.get_lines()[i].get_color(), linewidth=1.2, linestyle="-")
    return axes


def key_of_parts(figure: Figure) -> None:
    """Below a figure, which colour of a semantic map is which part."""
    colours = [
        Rectangle((0, 0), 1, 1, facecolor=colour / 255, edgecolor=INK)
        for colour in semantic_map(np.arange(len(PARTS)))
    ]
    figure.legend(
        colours,
        PARTS,
        loc="lower center",
        ncols=len(PARTS),
        fontsize=8,
        frameon=False,
        handlelength=1,
        handletextpad=0.4,
        columnspacing=1.0,
        bbox_to_anchor=(0.5, -0.04),
    )


def four_ways(
    picture: Any, sentence: str, plans: Mapping[str, Any], vector: Any, painted: Sequence[Any]
) -> list[Axes]:
    """A picture, the four descriptions of it, below each what was painted from it, and a map's colours."""
    heads = ("the picture", "its caption", "caption and map", "caption and outlines", "its vector")
    figure, (above, *grid) = plt.subplots(3, 5, figsize=(9.0, 4.1), height_ratios=[0.1, 1, 1])
    for axes, head in zip(above, heads):
        axes.axis("off")
        axes.text(0.5, 0, head, ha="center", va="center", fontsize=10, color=INK)
    for axes in (*grid[0], *grid[1]):
        axes.axis("off")
        axes.set_box_aspect(1)
    words = sentence.split()
    lines = [" ".join(words[i : i + 3]) for i in range(0, len(words), 3)]
    grid[0][1].text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=9.5, color=INK)
    for axes, shown in zip((grid[0][0], *grid[0][2:4]), (picture, *plans.values())):
        show_picture(axes, shown)
    grid[0][4].bar(range(numbers(vector).size), numbers(vector).flatten(), color=INK, width=1.0)
    for axes, shown in zip(grid[1][1:], painted):
        show_picture(axes, shown)
    grid[1][0].text(
        0.9,
        0.5,
        "painted from\nthe description,\nalways with\nthe same noise:",
        ha="right",
        va="center",
        fontsize=10,
        color=INK,
    )
    key_of_parts(figure)
    return [*grid[0], *grid[1]]


def resized(pictures: Mapping[str, Any], marked: np.ndarray, at: int) -> list[Axes]:
    """Pictures side by side; a dot in each of the `marked` squares of picture number `at`."""
    made = panels(len(pictures), list(pictures), width=9.4, height=2.6)
    for axes, shown in zip(made, pictures.values()):
        axes.imshow(as_array(shown), vmin=0)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    rows, columns = np.nonzero(marked)
    made[at].plot(
        columns, rows, "o", color="black", markersize=4, markeredgecolor="white", markeredgewidth=0.6
    )
    return made


def two_sums(words: Sequence[float], picture: Sequence[float]) -> list[Axes]:
    """Scores of words and of picture vectors as attention weights: in one softmax, and in two."""
    made = panels(2, ["one softmax, (12.9)", "a softmax for each, (12.10)"], width=7.6, height=2.4)
    scores = [np.exp(np.asarray(part, dtype=float)) for part in (words, picture)]
    total = sum(part.sum() for part in scores)
    for axes, weights in zip(
        made, ([part / total for part in scores], [part / part.sum() for part in scores])
    ):
        names = [*(f"w{i + 1}" for i in range(len(words))), *(f"p{i + 1}" for i in range(len(picture)))]
        shades = ["0.75"] * len(words) + ["0.25"] * len(picture)
        axes.bar(names, np.concatenate(weights), color=shades, edgecolor=INK)
        axes.set(ylim=(0, 1), ylabel="weight")
        for part, place in zip(weights, (len(words) / 2 - 0.5, len(words) + len(picture) / 2 - 0.5)):
            axes.text(place, 0.88, f"sum {part.sum():.2f}", ha="center", fontsize=9, color=INK)
    return made
