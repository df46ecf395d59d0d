"""Where a condition can enter: the three doors of the U-Net, what passes through each, and a ControlNet."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from torch import nn

from ..blocks import ResnetBlock
from ..controlnet import ControlNet
from ..unet import UNet
from .drawings import Point, arrow, box, canvas
from .palette import INK, PAPER, as_array, numbers, panels, show_picture
from .plots import heat
from .u_drawing import watch

HIGH, WIDE = 0.34, 1.62
GAP = 0.52  # from row to row
DOORS = ("#f6e3cf", "#e4efdc", "#dce8f3")  # concatenation, addition, cross-attention
NAMES = ("1  concatenation", "2  addition", "3  cross-attention")


def sign(axes: Axes, place: Point, number: int) -> None:
    """A door's number, white on black."""
    axes.add_patch(Circle(place, 0.14, facecolor=INK, edgecolor=INK, zorder=5))
    axes.text(*place, str(number), color="white", fontsize=9, ha="center", va="center", zorder=6)


def short_name(name: str) -> str:
    return name.replace(" + ", ", ")


def doors(unet: UNet, *inputs: Any, axes: Axes | None = None) -> Axes:
    """Draw unet(*inputs) with the places where a condition can enter.

    Down at the left, up at the right, the skips dashed. Door 1 is the first convolution, door 2 the vector
    that every ResNet adds, door 3 what every "words" layer reads.
    """
    down, up, middle = watch(unet, inputs)
    rows = max(len(down), len(up))
    axes = canvas(9.6, GAP * rows + 3.2, axes)
    top = GAP * rows + 1.2
    left = [(2.6, top - GAP * i) for i in range(len(down))]
    right = [(7.6, top - GAP * (len(up) - 1 - i)) for i in range(len(up))]
    low = (5.1, top - GAP * rows - 0.08)
    for corner, one in [*zip(left, down), *zip(right, up), (low, middle)]:
        kind = 2 if "words" in one.name else 1 if "ResNet" in one.name else 0 if "conv_in" in one.name else -1
        shape = " × ".join(str(n) for n in one.shape)
        box(axes, corner, (WIDE, HIGH), "", colour=DOORS[kind] if kind >= 0 else PAPER)
        for y, size, words in ((0.235, 7.6, short_name(one.name)), (0.095, 6.6, shape)):
            look: dict[str, Any] = {
                "fontsize": size,
                "ha": "center",
                "va": "center",
                "color": INK,
                "zorder": 4,
            }
            axes.text(corner[0] + WIDE / 2, corner[1] + y, words, **look)
    for column, upward in ((left, False), (right, True)):
        for (x, y), (_, y_next) in zip(column, column[1:]):
            ends = (y + HIGH, y_next) if upward else (y, y_next + HIGH)
            arrow(axes, [(x + WIDE / 2, ends[0]), (x + WIDE / 2, ends[1])])
    for one, (x, y) in zip(up, right):
        if one.skip >= 0:
            (x_from, y_from), turn = left[one.skip], x - 0.3
            corners = [(x_from + WIDE, y_from + HIGH / 2), (turn, y_from + HIGH / 2), (turn, y + HIGH / 2)]
            arrow(axes, [*corners, (x, y + HIGH / 2)], dashed=True)
    bottom, (x_down, y_down), (x_up, y_up) = low[1] + HIGH / 2, left[-1], right[0]
    arrow(axes, [(x_down + WIDE / 2, y_down), (x_down + WIDE / 2, bottom), (low[0], bottom)])
    arrow(axes, [(low[0] + WIDE, bottom), (x_up + WIDE / 2, bottom), (x_up + WIDE / 2, y_up)])
    entrances(axes, unet, inputs, left[0], right[-1], low)
    return axes


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
    arrow(axes, [(last[0] + WIDE / 2, last[1] + HIGH), (last[0] + WIDE / 2, last[1] + 0.8)])
    axes.text(last[0] + WIDE / 2, last[1] + 0.92, "the guessed noise", ha="center", **words)
    time = unet.time_embedding.linear_2.out_features  # type: ignore[union-attr]
    box(axes, (middle - 1.0, y + 0.72), (2.0, 0.36), f"time: {time} numbers", "", DOORS[1], fontsize=9)
    for side in (-1, 1):
        arrow(axes, [(middle + side * 0.6, y + 0.72), (middle + side * 0.6, y + 0.42)])
    axes.text(middle, y + 0.3, "added in every ResNet", ha="center", **words)
    arrow(axes, [(middle, y + 1.58), (middle, y + 1.08)])
    sign(axes, (middle, y + 1.34), 2)
    axes.text(middle + 0.24, y + 1.4, f"a vector of {time} numbers, added to the time's", **words)
    base = 0.12
    inside = f"context: {context.shape[1]} vectors of {context.shape[2]}"
    box(axes, (middle - 1.4, base), (2.8, 0.36), inside, "", DOORS[2], fontsize=9)
    arrow(axes, [(middle, base + 0.36), (middle, low[1])])
    axes.text(middle + 0.16, (base + 0.36 + low[1]) / 2, 'read in every "words" layer', **words)
    arrow(axes, [(1.75, base + 0.18), (middle - 1.4, base + 0.18)])
    sign(axes, (1.95, base + 0.18), 3)
    axes.text(0.08, base + 0.18, "a sequence, as\nmore vectors to read", **words)


WAYS = (
    ("repeated at every place", "as it is", "a sequence of one"),
    ("as it is", "written out, times a matrix", "a vector for each place"),
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
    axes = canvas(9.6, 4.0, axes)
    names = ["conv_in"] + [f"level {i}" for i in range(len(unet.down_blocks))] + ["middle"]
    rows = [2.7 - 0.86 * i for i in range(len(names))]
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
    return axes


COPY, KEPT, UP, TALL = 1.55, 4.55, 7.35, 0.5  # left edges of the columns in `control`, height of its boxes


def leaves(axes: Axes, name: str, count: int, y: float) -> None:
    """From a box of the copy through its zero convolutions to the sum at the right."""
    middle, plus = y + TALL / 2, KEPT + 1.85
    box(axes, (COPY + 1.78, y + 0.07), (0.86, 0.36), "zero", f"{count} × 1×1", PAPER, fontsize=8)
    start = [(COPY + 1.5, middle)]
    if name == "conv_in":  # its zero convolution reads the sum with the plan's features
        start = [(COPY + 0.87, y - 0.18), (COPY + 1.64, y - 0.18), (COPY + 1.64, middle)]
    arrow(axes, [*start, (COPY + 1.78, middle)])
    over = [(COPY + 2.8, middle), (COPY + 2.8, middle + 0.33), (plus, middle + 0.33)]
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
    show_picture(axes.inset_axes((0.05, 2.58, 0.85, 0.85), transform=axes.transData), plan)
    axes.text(0.48, 3.58, "the plan", **words)
    convs = len(net.controlnet_cond_embedding.blocks) + 1
    box(axes, (0.02, 1.75), (0.92, 0.42), "encoder", f"{convs} convs", DOORS[0], fontsize=8)
    box(axes, (0.02, 1.05), (0.92, 0.36), "zero", "3×3", PAPER, fontsize=8)
    arrow(axes, [(0.48, 2.56), (0.48, 2.17)])
    arrow(axes, [(0.48, 1.75), (0.48, 1.41)])
    sum_at = rows[0] - 0.18
    arrow(axes, [(0.94, 1.23), (1.2, 1.23), (1.2, sum_at), (COPY + 0.62, sum_at)])
    axes.add_patch(Circle((COPY + 0.75, sum_at), 0.12, facecolor=PAPER, edgecolor=INK, zorder=3))
    axes.text(COPY + 0.75, sum_at - 0.01, "+", ha="center", va="center", fontsize=9, zorder=4)
    top, centre = rows[0] + TALL + 0.52, (COPY + KEPT) / 2 + 0.75
    axes.text(centre, top + 0.14, "noisy latents", **words)
    for x in (COPY, KEPT):
        arrow(axes, [(centre, top), (x + 0.75, top), (x + 0.75, rows[0] + TALL)])
    arrow(axes, [(UP + 0.8, rows[1] + TALL), (UP + 0.8, rows[0] + TALL)])
    axes.text(UP + 0.8, rows[0] + TALL + 0.14, "the guessed noise", **words)


# ---- trained networks and their scores


def nine(blocks: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[Axes]:
    """Strips painted under each door: {kind of condition: {column: strips}}, the kinds one below the other.

    A text instead of a strip is written; the first column is what was told.
    """
    columns = list(next(iter(blocks.values())))
    count = len(next(iter(blocks.values()))[columns[0]])
    rows = len(blocks) * count + len(blocks) - 1
    heights = ([1.0] * count + [0.25]) * (len(blocks) - 1) + [1.0] * count
    figure, grid = plt.subplots(rows, len(columns) + 1, figsize=(8.2, 0.48 * rows), squeeze=False)
    grid[0, 0].get_gridspec().set_height_ratios(heights)
    grid[0, 0].get_gridspec().set_width_ratios([0.45] + [1.0] * len(columns))
    figure.set_layout_engine("constrained", h_pad=0.01, w_pad=0.02, hspace=0.02, wspace=0.02)
    for axes in grid.flat:
        axes.axis("off")
    for b, (kind, block) in enumerate(blocks.items()):
        grid[b * (count + 1), 0].text(0, 0.5, kind, va="center", fontsize=10.5, fontweight="bold")
        for i in range(count):
            for c, column in enumerate(columns):
                axes, one = grid[b * (count + 1) + i, c + 1], block[column][i]
                if isinstance(one, str):
                    axes.text(0.5, 0.5, one, ha="center", va="center", fontsize=10, color=INK)
                else:
                    show_picture(axes, one)
                if b == i == 0:
                    axes.set_title(column, fontsize=10)
    return list(grid.flat)


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
    """By how much a measure is better with the right plan, scene by scene: the mean and its 95 % interval."""
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


def triangle(axes: Axes | None = None) -> Axes:
    """The noise and its best guesses with and without a condition, as a right triangle."""
    axes = canvas(6.4, 2.6, axes)
    without, with_c, noise = (0.7, 0.45), (4.4, 0.45), (4.4, 2.15)
    axes.plot(*zip(without, noise, with_c, without), color=INK, linewidth=1.5, linestyle="-")
    axes.plot(*zip((4.2, 0.45), (4.2, 0.65), (4.4, 0.65)), color=INK, linewidth=0.9, linestyle="-")
    words: dict[str, Any] = {"color": INK, "va": "center", "fontsize": 10}
    for point, name, place, side in (
        (without, r"$\hat\epsilon_\varnothing$", (0.45, 0.45), "right"),
        (with_c, r"$\hat\epsilon_c$", (4.6, 0.35), "left"),
        (noise, r"the noise $\epsilon$", (4.6, 2.2), "left"),
    ):
        axes.plot(*point, "o", color=INK, markersize=6)
        axes.text(*place, name, ha=side, **(words | {"fontsize": 12}))
    axes.text(2.35, 1.55, "error without $c$", ha="center", rotation=24.7, rotation_mode="anchor", **words)
    axes.text(4.6, 1.3, "error with $c$", ha="left", **words)
    axes.text(2.5, 0.2, "what $c$ changes", ha="center", **words)
    return axes


def four_ways(
    picture: Any, sentence: str, plans: Mapping[str, Any], vector: Any, painted: Sequence[Any]
) -> list[Axes]:
    """A picture, the four descriptions of it, and below each what was painted from it."""
    heads = ("the picture", "its caption", "caption and map", "caption and outlines", "its vector")
    _, grid = plt.subplots(2, 5, figsize=(9.0, 3.9))
    for axes, head in zip(grid[0], heads):
        axes.set_title(head, fontsize=10)
    for axes in grid.flat:
        axes.axis("off")
    words = sentence.split()
    lines = [" ".join(words[i : i + 3]) for i in range(0, len(words), 3)]
    grid[0, 1].text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=9.5, color=INK)
    for axes, shown in zip((grid[0, 0], *grid[0, 2:4]), (picture, *plans.values())):
        show_picture(axes, shown)
    grid[0, 4].bar(range(numbers(vector).size), numbers(vector).flatten(), color=INK, width=1.0)
    for axes, shown in zip(grid[1, 1:], painted):
        show_picture(axes, shown)
    grid[1, 0].text(0.9, 0.5, "paints:", ha="right", va="center", fontsize=10, color=INK)
    return list(grid.flat)


def resized(pictures: Mapping[str, Any], marked: np.ndarray, at: int) -> list[Axes]:
    """Pictures side by side; a dot in each of the `marked` squares of picture number `at`."""
    made = panels(len(pictures), list(pictures), width=9.4, height=2.6)
    for axes, shown in zip(made, pictures.values()):
        axes.imshow(as_array(shown), vmin=0)
        axes.set(xticks=[], yticks=[])
    rows, columns = np.nonzero(marked)
    made[at].plot(
        columns, rows, "o", color="black", markersize=4, markeredgecolor="white", markeredgewidth=0.6
    )
    return made


def two_sums(words: Sequence[float], picture: Sequence[float]) -> list[Axes]:
    """Scores of words and of picture vectors as attention weights: in one softmax, and in two."""
    made = panels(2, ["one sum for all, (12.9)", "a sum for each, (12.10)"], width=7.6, height=2.4)
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
