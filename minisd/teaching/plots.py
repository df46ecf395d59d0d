"""Drawings of numbers: lines with their names beside them, heat maps, histograms, fields of arrows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from torch import Tensor

from .palette import COLOURS, DASHES, INK, SMALL, numbers, panels

# ---- lines


def curves(axes: Axes, x: Any, ys: Mapping[str, Any], **style: Any) -> Axes:
    """A line for each of `ys`, name: values at `x`, with its name at its right end."""
    for name, y in ys.items():
        axes.plot(numbers(x), numbers(y), label=name, **style)
    return direct_labels(axes)


def direct_labels(axes: Axes) -> Axes:
    """Write the name of every labelled line at its right end, instead of a legend.

    Names that would touch are moved apart, each joined to its line by a thin one. Call it when everything is
    drawn: it fixes the limits of the axes.
    """
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = []
    for line in lines:
        x, y = (np.asarray(v, dtype=float) for v in line.get_data())
        last = np.flatnonzero(np.isfinite(x) & np.isfinite(y))[-1]
        ends.append(to_axes.transform((x[last], y[last])))
    height = axes.get_window_extent().height * 72 / axes.figure.dpi  # points, before the layout
    places = spread([float(y) for _, y in ends], 1.35 * SMALL / height)
    for line, (x, y), place in zip(lines, ends, places):
        colour = darker(line.get_color())
        joined = {"arrowstyle": "-", "linewidth": 0.6, "color": colour, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            str(line.get_label()),
            (x, y),
            (max(x, 1) + 0.03, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=SMALL,
            color=colour,
            arrowprops=joined,
            annotation_clip=False,
        )
    return axes


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places in [0, 1] as near as possible to the wanted ones, no two nearer to each other than `gap`.

    Where there are too many for that, they share the room evenly.
    """
    gap = min(gap, 1 / max(len(wanted) - 1, 1))
    order = np.argsort(wanted, kind="stable")
    places = np.array(wanted, dtype=float)[order]
    for _ in range(50 * len(places)):
        places = places.clip(0, 1)
        for i in range(len(places) - 1):
            overlap = max(gap - (places[i + 1] - places[i]), 0)
            places[i] -= overlap / 2
            places[i + 1] += overlap / 2
    back = np.empty_like(places)
    back[order] = places
    return back.tolist()


def darker(colour: Any) -> tuple[float, ...]:
    """The colour for a word: orange and sky blue letters are too pale on white."""
    return tuple(0.65 * part for part in to_rgb(colour))


def band(axes: Axes, x: Any, runs: Any, label: str, colour: str = "blue") -> Axes:
    """Several runs of one experiment, (runs, len(x)): their median, and the range of the middle 80 %."""
    low, middle, high = np.quantile(numbers(runs), (0.1, 0.5, 0.9), axis=0)
    dashes = DASHES[list(COLOURS).index(colour)]
    axes.fill_between(numbers(x), low, high, color=COLOURS[colour], alpha=0.2, linewidth=0)
    axes.plot(numbers(x), middle, color=COLOURS[colour], linestyle=dashes, label=label)
    return axes


def histogram(
    axes: Axes,
    samples: Any,
    density: Callable[[np.ndarray], Any] | None = None,
    bins: int = 60,
    label: str = "samples",
    curve: str = "density",
) -> Axes:
    """Samples as grey bars of total area 1, with the density that they should have as a black line.

    density: a function of an array of places. Both names are written at the top, beside a sample of each.
    """
    values = numbers(samples).ravel()
    axes.hist(values, bins=bins, density=True, color="#bdbdbd", label=label)
    if density is not None:
        x = np.linspace(*axes.get_xlim(), 400)
        axes.plot(x, numbers(density(x)), "-", color=INK, label=curve)
    axes.set(yticks=[])
    axes.spines["left"].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handlelength=1.5, borderaxespad=0.2)
    return axes


def heat(
    axes: Axes,
    values: Any,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    form: str | None = ".2f",
    diverging: bool = False,
    most: float | None = None,
) -> Axes:
    """A matrix as squares, dark for large, with the values written in them.

    rows, columns: their names. form: how numbers are written; None writes none and draws a scale beside.
    diverging: white for 0, one colour for each sign. most: the value drawn darkest, 0 being lightest, for
    tables that are to be compared; by default each has a scale of its own.
    """
    matrix = numbers(values).astype(float)
    limits: dict[str, Any] = {"cmap": "Blues"} if most is None else {"cmap": "Blues", "vmin": 0, "vmax": most}
    if diverging:
        most = most or float(np.abs(matrix).max()) or 1.0
        limits = {"cmap": "PuOr", "vmin": -most, "vmax": most}
    image = axes.imshow(matrix, aspect="auto", **limits)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(matrix.shape[1]), columns or [""] * matrix.shape[1])
    axes.set_yticks(range(matrix.shape[0]), rows or [""] * matrix.shape[0])
    if form is None:
        axes.figure.colorbar(image, ax=axes, shrink=0.8)
        return axes
    for (i, j), value in np.ndenumerate(matrix):
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        axes.text(
            j, i, f"{value:{form}}", ha="center", va="center", fontsize=SMALL, color="white" if dark else INK
        )
    return axes


# ---- the plane


def grid(low: float, high: float, count: int) -> Tensor:
    """count x count points of the plane, row by row: (count^2, 2)."""
    line = torch.linspace(low, high, count)
    return torch.cartesian_prod(line, line).flip(-1)


def shade(axes: Axes, of: Any, low: float, high: float) -> Axes:
    """Grey shading where points are many; sets the limits of the axes to low and high.

    of: a function from points (n, 2) to their densities (n,), or samples (n, 2), which are counted.
    """
    if callable(of):
        dark = numbers(of(grid(low, high, 121))).reshape(121, 121)
    else:
        x, y = numbers(of).T
        dark = np.histogram2d(y, x, bins=60, range=[[low, high], [low, high]])[0]
    extent = (low, high, low, high)
    look: dict[str, Any] = {"cmap": "Greys", "origin": "lower", "interpolation": "bilinear"}
    darkest = 1.8 * float(dark.max())  # half way to black: arrows must stand out
    axes.imshow(dark, vmin=0, vmax=darkest, extent=extent, **look)
    axes.set(xlim=(low, high), ylim=(low, high))
    return axes


def arrows(axes: Axes, points: Any, vectors: Any, scale: float = 1.0, colour: str = "vermillion") -> Axes:
    """An arrow from each point, (n, 2), along its vector, (n, 2), as long as the vector times `scale`.

    Where the vector is next to nothing there is a dot.
    """
    where, along = numbers(points), numbers(vectors)
    axes.quiver(
        *where.T,
        *along.T,
        angles="xy",
        scale_units="xy",
        scale=1 / scale,
        width=0.0055,
        headwidth=3.6,
        headlength=4,
        headaxislength=3.6,
        color=COLOURS[colour],
        zorder=3,
    )
    return axes


def walks(axes: Axes, paths: Any, colour: str = "blue") -> Axes:
    """Paths (steps, walks, 2) of points: a line each, a hollow dot at its start, a filled one at its end."""
    steps = numbers(paths)
    axes.plot(*steps.transpose(2, 0, 1), "-", linewidth=0.9, color=COLOURS[colour], zorder=2)
    start: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": COLOURS[colour]}
    axes.plot(*steps[0].T, "o", markersize=4, zorder=4, **start)
    axes.plot(*steps[-1].T, "o", markersize=4, color=COLOURS["black"], zorder=4)
    return axes


def field(
    vectors: Callable[[Tensor, Any], Any],
    at: Sequence[Any],
    low: float,
    high: float,
    density: Callable[[Tensor, Any], Any] | None = None,
    scale: float = 1.0,
    count: int = 13,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    paths: Any = None,
) -> list[Axes]:
    """The field of arrows vectors(points, t), one panel for each t of `at`.

    density(points, t) -> (n,) is shaded behind the arrows; `paths`, (steps, walks, 2), are drawn over them.
    """
    points = grid(low, high, count + 2).reshape(count + 2, count + 2, 2)[1:-1, 1:-1].reshape(-1, 2)
    made = panels(len(at), titles or [f"t = {t}" for t in at], columns, square=True)
    for axes, t in zip(made, at):
        axes.set(xlim=(low, high), ylim=(low, high))
        if density is not None:
            shade(axes, lambda x, t=t: density(x, t), low, high)
        arrows(axes, points, vectors(points, t), scale)
        if paths is not None:
            walks(axes, paths)
    return made
