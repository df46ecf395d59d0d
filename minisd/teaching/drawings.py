"""Drawings of ideas: boxes and arrows, a chain, algorithms, the geometry of a step, a network on a page."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon

from .palette import COLOURS, GREY, INK, PAPER, numbers, own, panels, show_picture

Point = tuple[float, float]
KEYWORDS = ("repeat", "until", "for", "while", "if", "else", "return", "take", "draw")
LINES = 10  # of an algorithm
RADIUS = 0.27  # of a node
FORWARD = {(2, 3): r"$q(x_t\,|\,x_{t-1})$"}
BACKWARD = {(2, 3): r"$p_\theta(x_{t-1}\,|\,x_t)$"}
CHAIN = ("$x_0$", "...", "$x_{t-1}$", "$x_t$", "...", "$x_T$")


# ---- boxes and arrows


def canvas(width: float, height: float, axes: Axes | None = None) -> Axes:
    """Axes without ticks on which one unit is one inch."""
    if axes is None:
        axes = own(None, width, height)
        plt.gcf().set_layout_engine("none")  # which would make room for words beyond the edge
        axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return axes


def box(
    axes: Axes,
    corner: Point,
    size: Point,
    title: str,
    below: str = "",
    colour: str = PAPER,
    dashed: bool = False,
    fontsize: float = 10,
) -> None:
    """A rounded box with a title, and a smaller line below it. corner: the lower left one."""
    (x, y), (width, height) = corner, size
    style = "round,pad=0,rounding_size=0.08"
    frame = FancyBboxPatch(
        corner, width, height, style, facecolor=colour, edgecolor=INK, linewidth=1.1, zorder=3
    )
    if dashed:
        frame.set_linestyle((0, (4, 2)))
    axes.add_patch(frame)
    middle, lift = x + width / 2, 0.09 if below else 0.0
    words: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "zorder": 4}
    axes.text(middle, y + height / 2 + lift, title, fontsize=fontsize, fontweight="bold", **words)
    if below:
        axes.text(middle, y + height / 2 - 0.12, below, fontsize=fontsize - 2, **words)


def arrow(
    axes: Axes,
    points: Sequence[Point],
    label: str = "",
    at: Point | None = None,
    dashed: bool = False,
    head: bool = True,
    fontsize: float = 9,
    paper: str = PAPER,
) -> None:
    """A line through the points with an arrow's head at its end; `label` is centred at `at`.

    It has an edge in the colour of the paper, so that of two lines that cross one is seen to pass over the
    other.
    """
    x, y = zip(*points)
    dashes = (0, (4, 2)) if dashed else "-"
    axes.plot(x, y, color=paper, linewidth=6, linestyle="-", solid_capstyle="butt", zorder=1.6)
    axes.plot(x, y, color=INK, linewidth=1.3, linestyle=dashes, zorder=1.6)
    if head:
        look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 11, "shrinkA": 0, "shrinkB": 0}
        tip = FancyArrowPatch(points[-2], points[-1], color=INK, linewidth=0, zorder=2, **look)
        axes.add_patch(tip)
    if label and at is not None:
        axes.text(*at, label, fontsize=fontsize, ha="center", va="center", color=INK, zorder=4)


# ---- a chain


def chain(
    nodes: Sequence[str] = CHAIN,
    forward: Mapping[tuple[int, int], str] = FORWARD,
    backward: Mapping[tuple[int, int], str] = BACKWARD,
    pictures: Sequence[Any] | None = None,
    axes: Axes | None = None,
) -> Axes:
    """A row of variables with arrows from left to right above it and from right to left below it.

    forward, backward: the labels of arrows, {(left node, right node): label}; nodes need not be neighbours.
    Neighbours that have no label get a plain arrow, unless the whole direction is empty ({}). pictures: one
    for each node, below it, or None.
    """
    top, bottom = room(forward), room(backward)
    low = bottom + (0.85 if pictures is not None else 0)
    axes = canvas(len(nodes), top + low, axes)
    axes.set(xlim=(-0.5, len(nodes) - 0.5), ylim=(-low, top))
    for i, name in enumerate(nodes):
        if name == "...":
            axes.text(i, 0, r"$\cdots$", ha="center", va="center", fontsize=14)
        else:
            axes.add_patch(Circle((i, 0), RADIUS, facecolor="#e8eef4", edgecolor=INK, zorder=3))
            axes.text(i, 0, name, ha="center", va="center", fontsize=12, zorder=4)
        if pictures is not None and pictures[i] is not None:
            picture = axes.inset_axes((i - 0.4, -low + 0.02, 0.8, 0.8), transform=axes.transData)
            show_picture(picture, pictures[i])
    for labels, side in ((forward, 1), (backward, -1)):
        plain = {(i, i + 1): "" for i in range(len(nodes) - 1)} if labels else {}
        for (a, b), label in {**plain, **labels}.items():
            bend(axes, a, b, side, label)
    return axes


def height(jump: int) -> float:
    """How high an arrow over so many nodes rises: a long one passes over the labels of short ones."""
    return RADIUS * 0.75 + 0.08 if jump == 1 else 0.5 + 0.12 * jump


def room(labels: Mapping[tuple[int, int], str]) -> float:
    """The height that a chain needs on the side of these arrows."""
    return height(max(b - a for a, b in labels)) + 0.35 if labels else RADIUS + 0.08


def bend(axes: Axes, left: int, right: int, side: int, label: str) -> None:
    """An arrow between two nodes at height 0: above and to the right (1), or below and to the left (-1).

    Between neighbours it is bent, over others it has corners. The way back is dashed, so that the two can be
    told apart.
    """
    start, end = (left, right) if side > 0 else (right, left)
    top = side * height(right - left)
    if right - left > 1:
        foot = side * RADIUS
        corners = [(start, foot), (start, top), (end, top), (end, foot)]
        arrow(axes, corners, dashed=side < 0)
    else:
        up, reach = side * RADIUS * 0.75, side * RADIUS * 0.85
        look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 11, "linewidth": 1.2, "color": INK}
        tip = FancyArrowPatch(
            (start + reach, up), (end - reach, up), connectionstyle="arc3,rad=-0.24", **look
        )
        tip.set_linestyle("-" if side > 0 else (0, (4, 2)))
        axes.add_patch(tip)
    axes.text((left + right) / 2, top + side * 0.17, label, ha="center", va="center", fontsize=10.5)


# ---- algorithms


def algorithms(boxes: Mapping[str, Sequence[str]]) -> list[Axes]:
    """Algorithms as numbered lines in boxes side by side, {title: lines}.

    Leading spaces indent a line, a first word of KEYWORDS is bold, $...$ is mathematics. Raises ValueError
    for more than ten lines, and for a line that does not fit into its box.
    """
    longest = max(len(lines) for lines in boxes.values())
    if longest > LINES:
        raise ValueError(f"an algorithm has at most {LINES} lines, got {longest}")
    width, height = 4.4, 0.65 + 0.27 * longest
    made = panels(len(boxes), width=width * len(boxes), height=height)
    for axes, (title, lines) in zip(made, boxes.items()):
        axes.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.text(0.12, height - 0.2, title, fontweight="bold", fontsize=11, va="center")
        axes.axhline(height - 0.4, color=INK, linewidth=0.8, linestyle="-")
        for n, line in enumerate(lines):
            write_line(axes, n + 1, line, height - 0.65 - 0.27 * n)
    plt.gcf().draw_without_rendering()  # it settles how wide the letters are
    for axes in made:
        for text in axes.texts:
            if text.get_window_extent().x1 > axes.get_window_extent().x1:
                raise ValueError(f"a line of the algorithm is too long for its box: {text.get_text()!r}")
    return made


def write_line(axes: Axes, number: int, line: str, y: float) -> None:
    """One line of an algorithm, with its number in grey."""
    words = line.strip()
    indent = 0.42 + 0.07 * (len(line) - len(line.lstrip()))
    first, _, rest = words.partition(" ")
    if first.rstrip(":") in KEYWORDS:
        words = rf"$\mathbf{{{first}}}$ {rest}"
    look: dict[str, Any] = {"fontsize": 10.5, "va": "baseline", "math_fontfamily": "dejavusans"}
    axes.text(0.3, y, f"{number}", ha="right", color=GREY, **look)
    axes.text(indent, y, words, **look).set_in_layout(False)  # a long line must not make the box narrower


# ---- the geometry of one step


def one_step(
    x_t: Any,
    guess: Any,
    x_s: Any,
    axes: Axes | None = None,
    labels: Sequence[str] = ("$x_t$", "$D(x_t)$", "$x_s$"),
    noise: str = r"$\sigma\hat\epsilon$",
) -> Axes:
    """Three points of the plane, (2,) each: where we are, where the picture is guessed, where the step ends.

    A thin arrow leads from the guess to x_t: the noise that the guess implies. The thick one is the step.
    """
    axes = own(axes, 5.0, 3.4)
    here, there, after = (numbers(p).astype(float) for p in (x_t, guess, x_s))
    side = 0.05 * np.array([there[1] - here[1], here[0] - there[0]])  # off the line on which all three lie
    straight(axes, there - side, here - side, GREY, 1.3, 4)
    straight(axes, here, after, COLOURS["vermillion"], 3, 5)
    axes.plot(*np.stack([here, there]).T, ":", color=INK, linewidth=1.2, zorder=1)
    middle: dict[str, Any] = {"ha": "center", "va": "center", "color": INK}
    axes.text(*pair((here + there) / 2 - 3.2 * side), noise, fontsize=12, **middle)
    axes.text(*pair((here + after) / 2 + 2 * side), "the step", fontsize=10, **middle)
    away = 15 * side / np.linalg.norm(side)
    for point, name, face in zip((here, there, after), labels, ("white", INK, GREY)):
        axes.plot(*point, "o", markersize=8, markerfacecolor=face, markeredgecolor=INK, zorder=4)
        axes.annotate(name, pair(point), pair(away), textcoords="offset points", fontsize=12, **middle)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.margins(0.2)
    return axes


def straight(
    axes: Axes, start: np.ndarray, end: np.ndarray, colour: str, width: float, short: float = 0
) -> None:
    """A straight arrow, `short` points shorter at both ends."""
    axes.add_patch(
        FancyArrowPatch(
            pair(start),
            pair(end),
            arrowstyle="-|>",
            mutation_scale=10 + 3 * width,
            color=colour,
            linewidth=width,
            shrinkA=short,
            shrinkB=short,
            zorder=2.5,
        )
    )


def pair(point: np.ndarray) -> Point:
    return float(point[0]), float(point[1])


def shadows(
    arrows: Mapping[str, Any],
    point: Any = None,
    axes: Axes | None = None,
    xlabel: str = "picture",
    ylabel: str = "noise",
) -> Axes:
    """Arrows from the origin, {label: its end}; with a point, its shadow on the line of each arrow.

    The shadow is the foot of the perpendicular, marked with a right angle.
    """
    axes = own(axes, 4.6, 4.2)
    ends = {label: numbers(end).astype(float) for label, end in arrows.items()}
    dot = None if point is None else numbers(point).astype(float)
    reach = 1.15 * max(float(np.abs(end).max()) for end in [*ends.values(), *([] if dot is None else [dot])])
    for (label, end), colour in zip(ends.items(), COLOURS.values()):
        unit = end / np.linalg.norm(end)
        axes.plot(*np.outer([-0.1, 1.4], reach * unit).T, "-", color=GREY, linewidth=0.6, zorder=1)
        straight(axes, 0 * end, end, colour, 2)
        left = np.array([-unit[1], unit[0]])
        away = 13 * left if dot is None or dot @ left < 0 else -13 * left  # not where the perpendicular is
        where: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "center"}
        axes.annotate(label, pair(end), pair(away), fontsize=13, color=INK, **where)
        if dot is not None:
            right_angle(axes, dot, unit, 0.05 * reach)
    if dot is not None:
        axes.plot(*dot, "o", markersize=7, color=INK, zorder=4)
    for along in np.eye(2):
        straight(axes, -0.1 * reach * along, reach * along, INK, 0.8)
    axes.text(reach, -0.03 * reach, xlabel, ha="right", va="top")
    axes.text(-0.03 * reach, reach, ylabel, ha="right", va="top", rotation=90)
    axes.set(xlim=(-0.12 * reach, 1.02 * reach), ylim=(-0.12 * reach, 1.02 * reach), aspect="equal")
    axes.axis("off")
    return axes


def right_angle(axes: Axes, point: np.ndarray, unit: np.ndarray, size: float) -> None:
    """The perpendicular from a point to the line along `unit`, and the mark of its right angle."""
    foot = (point @ unit) * unit
    axes.plot(*np.stack([point, foot]).T, linestyle=(0, (3, 2)), color=INK, linewidth=1, zorder=2)
    axes.plot(*foot, "o", markersize=5, markerfacecolor="white", markeredgecolor=INK, zorder=4)
    away = (point - foot) / max(float(np.linalg.norm(point - foot)), 1e-9)
    corner = [foot - size * unit, foot - size * unit + size * away, foot + size * away]
    axes.add_patch(Polygon(corner, closed=False, fill=False, edgecolor=INK, linewidth=0.8))


# ---- mixtures of picture and noise


def mixtures(
    dots: Sequence[Point],
    rings: Mapping[str, Point],
    names: Mapping[str, Point],
    axes: Axes | None = None,
) -> Axes:
    """Mixtures of a picture and noise as points, (factor of the picture, factor of the noise).

    The squares of the two factors add up to 1, so all points lie on a quarter circle, which is drawn too.
    dots: where the steps of a painting end. rings, {label: point}: where it starts. names, {label: point}:
    the dots that get a label.
    """
    axes = own(axes, 5.0, 4.4)
    angle = np.linspace(0, np.pi / 2, 100)
    axes.plot(np.cos(angle), np.sin(angle), "-", color=GREY, linewidth=0.8)
    axes.plot(*zip(*dots), "o", color=COLOURS["blue"], markersize=5)
    for i, (label, point) in enumerate(rings.items()):
        axes.plot(*point, "o", markerfacecolor="white", markeredgecolor=INK, markersize=7, zorder=3)
        thin = {"arrowstyle": "-", "linewidth": 0.6, "shrinkB": 4}
        axes.annotate(label, point, (0.02 + 0.38 * i, 1.14 - 0.06 * i), arrowprops=thin)
    for label, point in names.items():
        below = -7 if point[1] < 0.035 else 4  # the last two dots lie close together
        axes.annotate(label, point, (8, below), textcoords="offset points")
    bent = {"arrowstyle": "-|>", "color": INK, "connectionstyle": "arc3,rad=-0.28"}
    axes.annotate("", (0.72, 0.36), (0.24, 0.82), arrowprops=bent)
    axes.text(0.38, 0.52, "painting", ha="center")
    axes.set(xlabel="factor of the guessed picture", ylabel="factor of the guessed noise")
    axes.set(aspect="equal", xlim=(-0.03, 1.25), ylim=(-0.04, 1.22))
    return axes


# ---- pixels and latents


def two_ways(
    noise: Any, latents: Sequence[Any], picture: Any, costs: Mapping[str, str], axes: Axes | None = None
) -> Axes:
    """Painting in pixels, above, and in latents, below, with what each network costs.

    noise: a picture of noise. latents: the noise and the end of a walk, (channels, height, width) each.
    picture: the decoded end. costs: the small lines in the boxes "pixels", "latents" and "decoder".
    """
    axes = canvas(8.8, 3.3, axes)
    paste(axes, (0.1, 2.05), 1.1, noise)
    box(axes, (1.9, 2.2), (2.3, 0.8), "denoiser", costs["pixels"])
    frame = FancyBboxPatch((7.6, 2.05), 1.1, 1.1, "square,pad=0", edgecolor=GREY, fill=False)
    frame.set_linestyle((0, (4, 2)))
    axes.add_patch(frame)
    for x, channels in ((0.25, latents[0]), (4.7, latents[1])):
        for i, channel in enumerate(channels):
            paste(axes, (x + 0.42 * (i % 2), 0.77 - 0.42 * (i // 2)), 0.38, channel)
    box(axes, (1.9, 0.35), (2.3, 0.8), "denoiser", costs["latents"])
    box(axes, (5.85, 0.35), (1.4, 0.8), "decoder", costs["decoder"])
    paste(axes, (7.6, 0.2), 1.1, picture)
    ends = ((1.25, 1.85, 2.6), (4.25, 7.55, 2.6), (1.1, 1.85, 0.75), (4.25, 4.65, 0.75), (5.53, 5.8, 0.75))
    for start, end, y in (*ends, (7.3, 7.55, 0.75)):
        arrow(axes, [(start, y), (end, y)])
    return axes


def paste(axes: Axes, corner: Point, side: float, picture: Any) -> None:
    """A square picture with its lower left corner there."""
    show_picture(axes.inset_axes((*corner, side, side), transform=axes.transData), picture)
