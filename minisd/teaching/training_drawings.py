"""Drawings of a training: which stage needs which, runs as dots, losses on their way, and other results."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .drawings import Point, arrow, box, canvas
from .palette import COLOURS, DASHES, GREY, INK, PAPER, SMALL, numbers, panels, plain_log
from .plots import curves, direct_labels

FROZEN, MADE = "#e8eef4", "#f2f2f2"
WIDE, HIGH = 1.42, 0.62
BOXES: dict[str, tuple[Point, str, str]] = {  # name: its lower left corner, what it learns from, its colour
    "captions": ((0.15, 2.3), "drawn anew", MADE),
    "pictures": ((0.15, 0.75), "rendered once", MADE),
    "tokenizer": ((2.0, 2.3), "counts pairs", PAPER),
    "CLIP": ((3.85, 2.3), "matches pairs", PAPER),
    "text encoder": ((5.7, 2.3), "half of CLIP, frozen", FROZEN),
    "VAE": ((2.0, 0.75), "reconstructs", PAPER),
    "latents": ((3.85, 0.75), "encoder, frozen", FROZEN),
    "decoder": ((5.7, 0.1), "reconstructs", PAPER),
    "U-Net": ((7.6, 1.45), "finds the noise", PAPER),
}
LEFT = {name: corner[0] for name, (corner, _, _) in BOXES.items()}


def order(axes: Axes | None = None) -> Axes:
    """The stages of a training with an arrow from each to those that need it; frozen ones are shaded."""
    axes = canvas(9.2, 3.1, axes)
    for name, (corner, below, colour) in BOXES.items():
        box(axes, corner, (WIDE, HIGH), name, below, colour, dashed=colour == FROZEN)
    for points in arrows().values():
        arrow(axes, points)
    return axes


def arrows() -> dict[tuple[str, str], list[Point]]:
    """The arrows of `order`: (what is needed, what needs it), and the points that each goes through."""
    made: dict[tuple[str, str], list[Point]] = {}
    for row in (["captions", "tokenizer", "CLIP", "text encoder"], ["pictures", "VAE", "latents"]):
        for left, right in pairwise(row):
            made[left, right] = [(LEFT[left] + WIDE, middle(left)), (LEFT[right], middle(right))]
    top = middle("pictures") + HIGH / 2
    for name, start, turn, end in (  # over the VAE
        ("latents", 0.92, 1.62, middle("latents") + HIGH / 2),
        ("CLIP", 0.62, 1.87, middle("CLIP") - HIGH / 2),
    ):
        begin, into = LEFT["pictures"] + start, LEFT[name] + 0.35
        made["pictures", name] = [(begin, top), (begin, turn), (into, turn), (into, end)]
    for name, height in (("pictures", 0.26), ("latents", 0.54)):  # and below it
        x = LEFT[name] + WIDE / 2
        made[name, "decoder"] = [(x, middle(name) - HIGH / 2), (x, height), (LEFT["decoder"], height)]
    x = LEFT["U-Net"] + WIDE / 2
    for name, side in (("text encoder", 1), ("latents", -1)):
        end = middle("U-Net") + side * HIGH / 2
        made[name, "U-Net"] = [(LEFT[name] + WIDE, middle(name)), (x, middle(name)), (x, end)]
    return made


def middle(name: str) -> float:
    """How high the middle of a box is."""
    return BOXES[name][0][1] + HIGH / 2


def on_the_way(
    axes: Axes,
    losses: Sequence[float],
    every: int,
    steps: int,
    band: tuple[float, float],
    chance: float | None = None,
    starts: Sequence[float] = (),
) -> Axes:
    """A stored loss curve, a point in the middle of each `every` steps (fewer at the end), and its marks.

    band: where it should end. chance: what guessing costs, as a dotted line. starts: losses of networks with
    random weights, as a thick bar at step 0 from the least to the largest.
    """
    edges = [*range(0, steps, every), steps]
    axes.axhspan(*band, color="0.85", linewidth=0)
    axes.plot([(low + high) / 2 for low, high in pairwise(edges)], losses, "o-", markersize=3, color=INK)
    if chance is not None:
        axes.axhline(chance, color=GREY, linestyle=DASHES[2])
    if starts:
        ends = [min(starts), max(starts)]
        axes.plot([0, 0], ends, "-", linewidth=7, solid_capstyle="butt", color=COLOURS["blue"])
    axes.set(xlabel="step", ylim=(0, None), xlim=(-0.03 * steps if starts else 0, steps))
    return axes


def ceilings(times: Sequence[int], alone: Any, least: Any, measured: Any) -> list[Axes]:
    """The loss of each timestep with its two ceilings, and the measured one divided by the lower of them."""
    made = panels(2, ["loss of the timestep", "measured / (14.2)"], width=9.4, height=3.1)
    lines = ((alone, ":", "all variances equal"), (least, "--", "(14.2)"), (measured, "o-", "measured"))
    for values, style, name in lines:
        made[0].plot(times, numbers(values), style, color=INK, markersize=3, label=name)
    made[0].set(xlabel="t", ylim=(0, 1.06))
    made[0].legend()
    made[1].plot(times, numbers(measured) / numbers(least), "o-", color=INK, markersize=3)
    made[1].axhline(1, color=GREY, linestyle=DASHES[1])
    made[1].set(xlabel="t", ylim=(0, None))
    return made


def triangles(snrs: Mapping[str, float]) -> list[Axes]:
    """For one number, the pairs of x_0 and a noise that make up one x_t; a panel for each SNR.

    A true pair, a guessed one whose x_0 is off by 1, and the triangle of the three errors.
    """
    made = panels(len(snrs), list(snrs), width=9, height=3.7)
    x, y = 1.0, 0.5  # the true pair
    for axes, snr in zip(made, snrs.values(), strict=True):
        down = y - snr**0.5
        axes.axline((x, y), (x + 1, down), color="0.75", linewidth=1, linestyle="-", zorder=0)
        axes.plot([x, x + 1, x + 1], [y, y, down], "--", color=INK, linewidth=1.2)
        axes.plot([x, x + 1], [y, down], "-", color=INK, linewidth=2)
        axes.plot(x, y, "o", markersize=7, color=INK)
        axes.plot(x + 1, down, "o", markersize=7, color=INK, markerfacecolor="white")
        axes.text(x + 0.5, y + 0.12, "error of $x_0$", ha="center", fontsize=SMALL)
        axes.text(x + 1.12, (y + down) / 2, "error of the noise", va="center", fontsize=SMALL)
        axes.text(x + 0.4, (y + down) / 2 - 0.1, "error of $v$", ha="right", va="top", fontsize=SMALL)
        axes.set(xlim=(-0.8, 3.8), ylim=(-3.0, 1.3), aspect="equal", xlabel="$x_0$", ylabel="noise")
    return made


def weights(by_name: Mapping[str, Any], snr: Any, mark: int | None = None) -> list[Axes]:
    """Weights of the timesteps' losses: of the error of x_0, and divided by the SNR, of the noise's error.

    mark: a timestep for a grey line.
    """
    made = panels(
        2, ["weight of the error of $x_0$", "weight of the error of the noise"], width=9, height=3.1
    )
    for axes, by in zip(made, (1, numbers(snr)), strict=True):
        plain_log(axes, "y", ticks=[0.001, 0.01, 0.1, 1, 10, 100, 1000])
        axes.set_xlabel("t")
        if mark is not None:
            axes.axvline(mark, color="0.8", linewidth=1, linestyle="-", zorder=0)
        lines = {name.replace("x_0", "$x_0$"): numbers(weight) / by for name, weight in by_name.items()}
        curves(axes, range(len(numbers(snr))), lines)
    return made


def by_timestep(axes: Axes, edges: Sequence[int], errors: Mapping[str, Any]) -> Axes:
    """Mean squared errors of x_0 between the edges, on a logarithmic axis; 1 is what answering zero costs."""
    plain_log(axes, "y", ticks=[0.03, 0.1, 0.3, 1, 3, 10])
    curves(axes, [(low + high) / 2 for low, high in pairwise(edges)], errors)
    axes.axhline(1, color=GREY, linestyle=DASHES[2])
    axes.set(xlabel="t", ylabel="squared error of $x_0$")
    return axes


def memory(shares: Mapping[float, Any], every: int) -> list[Axes]:
    """What an average is made of, a panel for each decay: theta_1 in black, then `every` steps in a bar."""
    made = panels(len(shares), [f"d = {d}" for d in shares], height=2.1, width=9)
    for axes, of_each in zip(made, shares.values(), strict=True):
        values = numbers(of_each)
        later = np.add.reduceat(values[1:], np.arange(0, len(values) - 1, every))
        middles = np.arange(len(later)) * every + every / 2
        axes.bar(middles, later, width=0.86 * every, color="0.7")
        axes.bar(-0.8 * every, values[0], width=0.86 * every, color=INK)
        if values[0] > 0.005:  # else there is no bar to name
            axes.text(-0.8 * every, values[0] + 0.03, "$\\theta_1$", ha="center", fontsize=SMALL)
        axes.set(xlabel="steps", ylim=(0, 1.08))
    made[0].set_ylabel("share")
    return made


def valley(axes: Axes, noisy: Any, means: Mapping[str, Any], curvatures: Point = (1.0, 0.01)) -> Axes:
    """Lines of equal loss of two weights, a noisy path of them in grey, and mean paths; each (steps, 2)."""
    across, along = np.linspace(-1.0, 3.3, 100), np.linspace(-7.0, 11.0, 100)
    loss = (curvatures[0] * across**2 + curvatures[1] * along[:, None] ** 2) / 2
    axes.contour(across, along, loss, levels=[0.1, 0.5, 1, 2, 4], colors="0.75", linewidths=0.8)
    axes.plot(*numbers(noisy).T, "-", color="0.6", linewidth=0.5)
    for (name, path), style in zip(means.items(), ("--", ":"), strict=True):
        axes.plot(*numbers(path).T, style, color=INK, linewidth=2, label=name)
        axes.plot(*numbers(path)[-1], "s", markersize=5, color=INK)
    axes.plot(0, 0, "+", markersize=10, color=INK)
    axes.set(xlabel="across the valley", ylabel="along the valley")
    axes.legend(loc="lower right")
    return axes


def lengths_by_batch(axes: Axes, sizes: Sequence[int], lengths: Mapping[str, Sequence[Any]]) -> Axes:
    """Squared lengths of gradients against the batch, over the mean at the first, and noise alone.

    lengths: for each name and size those of single batches, drawn as small grey marks (rings at left for the
    first name, dashes at right for the second); a line joins their means.
    """
    marks = (("o-", "o", 0.95), ("s--", "_", 1.05))
    for (name, singles), (style, mark, aside) in zip(lengths.items(), marks, strict=False):
        means = [float(np.mean(numbers(some))) for some in singles]
        axes.plot(sizes, np.divide(means, means[0]), style, color=INK, markersize=4, label=name)
        for size, some in zip(sizes, singles, strict=True):
            shown = numbers(some) / means[0]
            at = np.full(len(some), aside * size)
            axes.plot(at, shown, mark, color=GREY, markersize=5, markerfacecolor="none", zorder=1)
    axes.plot(sizes, [sizes[0] / n for n in sizes], ":", color=GREY, label="noise alone")
    plain_log(axes, "x", ticks=sizes)
    plain_log(axes, "y", ticks=[0.1, 0.2, 0.5, 1])
    axes.set(xlabel="batch", ylabel=f"squared length\nover the mean at {sizes[0]}")
    return direct_labels(axes)


def mixture(guesses: Mapping[str, Point], likely: Mapping[str, Sequence[float]], s: float) -> list[Axes]:
    """A panel for each row of `likely`: the captions' guesses, their mean, and guidance at scale s.

    Dots are as large as their caption is likely; the ring is the mean, and the cross the guided guess for the
    first caption, at the end of an arrow that begins at the ring.
    """
    points = np.array(list(guesses.values()), dtype=float)
    made = panels(len(likely), list(likely), width=8, height=2.7)
    for axes, shares_of in zip(made, likely.values(), strict=True):
        mean = np.asarray(shares_of) @ points
        guided = mean + s * (points[0] - mean)
        for name, point, share in zip(guesses, points, shares_of, strict=True):
            axes.plot(*point, "o", color=INK, markersize=11 * share**0.5)
            axes.annotate(name, point, (0, -18), textcoords="offset points", ha="center", fontsize=SMALL)
        axes.annotate("", guided, mean, arrowprops={"arrowstyle": "-|>", "color": GREY, "shrinkB": 3})
        axes.plot(*mean, "o", color=INK, markerfacecolor="white", markersize=8, zorder=3)
        axes.plot(*guided, "x", color=INK, markersize=8, markeredgewidth=2, zorder=3)
        axes.set(xlim=(-0.2, 4.6), ylim=(-0.2, 3.6), xticks=[], yticks=[], aspect="equal")
    return made


def nearest_test(titles: Sequence[str], paintings: Sequence[tuple[float, float]]) -> list[Axes]:
    """Pictures of a training, their twins, and a painting's distances to the nearest of each, in a plane."""
    trained = np.array([(0.6, 2.4), (2.7, 2.7), (1.1, 0.7), (3.3, 0.9)])
    twins = trained + np.array([(0.5, 0.4), (-0.6, 0.2), (0.5, -0.35), (0.35, 0.55)])
    made = panels(len(titles), titles, width=8, height=2.6)
    for axes, painting in zip(made, paintings, strict=True):
        for pair in zip(trained, twins, strict=True):
            axes.plot(*zip(*pair, strict=True), "-", color="0.8", linewidth=1)
        for pictures, style in ((trained, "-"), (twins, ":")):
            nearest = pictures[np.hypot(*(pictures - painting).T).argmin()]
            axes.plot(*zip(painting, nearest, strict=True), style, color=INK)
        axes.plot(*trained.T, "o", color=INK, label="trained on")
        axes.plot(*twins.T, "o", color=INK, markerfacecolor="white", label="twin")
        axes.plot(*painting, "x", color=INK, markersize=8, markeredgewidth=2, label="painting")
        axes.set(xlim=(0, 4.2), ylim=(0, 3.3), xticks=[], yticks=[], aspect="equal")
    made[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return made


def near_and_far(titles: Sequence[str], near: Sequence[Any], far: Sequence[Any]) -> list[Axes]:
    """A panel a title: paintings as rings, how far they are from one set against how far from the other."""
    made = panels(len(titles), titles, width=8, height=3.6)
    values = np.concatenate([numbers(some).ravel() for some in (*near, *far)]).astype(float)
    ends = [0.95 * values.min(), 1.03 * values.max()]
    for axes, low, high in zip(made, near, far, strict=True):
        axes.plot(ends, ends, "-", color=GREY, linewidth=1)
        axes.plot(numbers(high), numbers(low), "o", markersize=4, markerfacecolor="none", color=INK)
        axes.set(xlabel="distance to the nearest twin", ylabel="to the nearest trained on", aspect="equal")
    return made


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
    """Shares from 0 to 1 after some steps, one line each, named in the lower right corner."""
    for (name, values), dash, colour, marker in zip(
        of.items(), DASHES, COLOURS.values(), "os^Dv<>", strict=False
    ):
        axes.plot(steps, values, marker=marker, markersize=4, linestyle=dash, color=colour, label=name)
    ticks = [step for i, step in enumerate(steps) if not i or step - steps[i - 1] > 0.1 * steps[-1]]
    axes.set_xticks(ticks, [f"{step:,}" for step in ticks])
    axes.set(xlabel="steps of the U-Net", ylim=(0, 1.03))
    axes.legend(loc="lower right", handlelength=4)
    return axes


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


def bounds(right: int, n: int) -> tuple[float, float]:
    """The ends of the 95 % interval of a share (Wilson 1927)."""
    z, share = 1.96, right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0, middle - reach), min(1, middle + reach)


def interval(right: int, n: int) -> str:
    """'15 of 20 (53 to 89 %)', with the 95 % interval of a share."""
    low, high = bounds(right, n)
    return f"{right} of {n} ({100 * low:.0f} to {100 * high:.0f} %)"
