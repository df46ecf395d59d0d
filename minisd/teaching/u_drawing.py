"""The U-Net on one page, in the shape of its letter, with what a forward pass showed; clocks and fields."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from torch import Tensor, nn

from ..unet import UNet
from .drawings import arrow, box, canvas
from .network import short, tensors
from .palette import COLOURS, INK

ROW, GAP = 0.35, 0.3  # inches: from row to row, and more where the size changes
WIDE, HIGH = 3.65, 0.27  # of a box
SHIFT = 0.22  # by how much the boxes of a level stand further in than those above
PAGE = 9.6
NAMES = {"ResnetBlock": "ResNet", "PictureTransformer": "words", "Downsample": "halve", "Upsample": "double"}


@dataclass
class Box:
    """What one part made: its name, the output's (channels, height, width), its weights."""

    name: str
    shape: tuple[int, ...]
    weights: int
    skip: int = -1  # on the way up: which box of the way down it reads besides


def boxes_of(level: Any) -> list[list[nn.Module]]:
    """The modules of each box of a level; the last of them makes the box's output."""
    attentions = level.attentions or [None] * len(level.resnets)
    layers = [[r] if a is None else [r, a] for r, a in zip(level.resnets, attentions, strict=True)]
    resampling = getattr(level, "downsamplers", None) or getattr(level, "upsamplers", None) or []
    return layers + [[one] for one in resampling]


def watch(unet: UNet, inputs: tuple[Any, ...]) -> tuple[list[Box], list[Box], Box]:
    """The boxes of the way down, of the way up, and the middle, from one forward pass."""
    down: list[list[nn.Module]] = [[unet.conv_in]]
    down += [modules for level in unet.down_blocks for modules in boxes_of(level)]
    up = [modules for level in unet.up_blocks for modules in boxes_of(level)]
    middle: list[nn.Module] = [unet.mid_block]
    outputs: dict[nn.Module, Tensor] = {}
    skips: list[Tensor] = []
    hooks = [
        modules[-1].register_forward_hook(lambda module, args, out: outputs.update({module: out}))
        for modules in [*down, *up, middle]
    ]

    def before_up(module: nn.Module, args: tuple[Any, ...]) -> None:
        skips.extend(tensors(args[-1]))

    hooks.append(unet.up_blocks[0].register_forward_pre_hook(before_up))
    try:
        with torch.no_grad():
            unet(*inputs)
    finally:
        for hook in hooks:
            hook.remove()

    def made(modules: list[nn.Module], name: str = "") -> Box:
        name = name or " + ".join(NAMES.get(type(one).__name__, "conv_in") for one in modules)
        weights = sum(p.numel() for one in modules for p in one.parameters())
        return Box(name, tuple(outputs[modules[-1]].shape[1:]), weights)

    boxes = [made(modules) for modules in up]
    sources = [id(outputs[modules[-1]]) for modules in down]
    for one in boxes:
        if "ResNet" in one.name:
            one.skip = sources.index(id(skips.pop()))
    return [made(modules) for modules in down], boxes, made(middle, "ResNet + words + ResNet")


def u_shape(unet: UNet, *inputs: Any, axes: Axes | None = None) -> Axes:
    """Draw unet(*inputs): down at the left, up at the right, a dashed line for every skip.

    A box says what it is, the shape of what it makes (channels, height, width) and how many weights it has;
    at the right also how many channels come from below and how many by the skip.
    """
    down, up, middle = watch(unet, inputs)
    sizes = sorted({one.shape[1] for one in down}, reverse=True)
    rows, y = [], 0.0  # of each box of the way down; that of the way up which reads it is beside it
    for before, one in zip([down[0], *down], down):
        y -= GAP if before.shape[1] != one.shape[1] else 0
        rows.append(y)
        y -= ROW
    low = y - GAP
    axes = canvas(PAGE, HIGH + 1.05 - low, axes)
    axes.set(ylim=(low - 0.2, HIGH + 0.85))
    left = [(0.1 + SHIFT * sizes.index(one.shape[1]), y) for one, y in zip(down, rows)]
    right: list[tuple[float, float]] = []
    for one in up:
        x = PAGE - 0.1 - WIDE - SHIFT * sizes.index(one.shape[1])
        right.append((x, rows[one.skip] if one.skip >= 0 else right[-1][1] + HIGH + 0.06))
    for one, corner in zip(down, left):
        draw(axes, corner, one)
    channels = middle.shape[0]
    for one, corner in zip(up, right):
        if one.skip >= 0:
            skipped = down[one.skip].shape[0]
            start, height = left[one.skip][0] + WIDE, corner[1] + HIGH / 2
            arrow(axes, [(start, height), (corner[0], height)], dashed=True)
            draw(axes, corner, one, f"{channels:,} + {skipped:,} → ")
        else:
            draw(axes, corner, one)
        channels = one.shape[0]
    centre = (PAGE - WIDE) / 2
    draw(axes, (centre, low), middle)
    follow(axes, left, 0.25)
    follow(axes, right, WIDE - 0.25)
    (x, y), (x_up, y_up) = left[-1], right[0]
    arrow(axes, [(x + 0.25, y), (x + 0.25, low + HIGH / 2), (centre, low + HIGH / 2)])
    arrow(
        axes,
        [(centre + WIDE, low + HIGH / 2), (x_up + WIDE - 0.25, low + HIGH / 2), (x_up + WIDE - 0.25, y_up)],
    )
    ends(axes, unet, inputs)
    return axes


def skip_list(unet: UNet, *inputs: Any, axes: Axes | None = None) -> Axes:
    """The list of skips after each box of unet(*inputs), one column for each: it fills, and is emptied from
    its end. What a box appends has a thick frame; what it takes is drawn dashed above the rest.
    """
    down, up, _ = watch(unet, inputs)
    held: list[int] = []
    columns: list[tuple[str, list[int], int, int]] = []  # name, list after it, appended, taken
    for i, one in enumerate(down):
        held = [*held, i]
        columns.append((one.name, held, i, -1))
    columns.append(("middle", held, -1, -1))
    for one in up:
        held = held if one.skip < 0 else held[:-1]
        columns.append((one.name, held, -1, one.skip))
    wide, high, low = PAGE / len(columns), 0.34, 0.5
    axes = canvas(PAGE, low + (high + 0.05) * len(down) + 0.1, axes)
    words: dict[str, Any] = {"ha": "center", "va": "center", "color": INK}
    for k, (name, after, appended, taken) in enumerate(columns):
        x = k * wide
        axes.text(x + wide / 2, 0.22, name.replace(" + ", "\n"), fontsize=9, fontweight="bold", **words)
        for place, i in enumerate([*after, taken] if taken >= 0 else after):
            y, gone = low + place * (high + 0.05), i == taken
            frame = Rectangle((x + 0.05, y), wide - 0.1, high, facecolor="white" if gone else "#dce8f3")
            frame.set(edgecolor=INK, linewidth=2 if i == appended else 1, linestyle="--" if gone else "-")
            axes.add_patch(frame)
            shape = "×".join(str(n) for n in down[i].shape)
            axes.text(x + wide / 2, y + high / 2, shape, fontsize=8, **words)
    return axes


def draw(axes: Axes, corner: tuple[float, float], one: Box, reads: str = "") -> None:
    shape = " × ".join(f"{n:,}" for n in one.shape)
    colour = {"halve": "#f5f5f5", "double": "#f5f5f5"}.get(one.name, "#dce8f3")
    box(axes, corner, (WIDE, HIGH), "", colour=colour)
    words = f"{reads}{one.name} → {shape}  ({short(one.weights)})"
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "zorder": 4}
    axes.text(corner[0] + WIDE / 2, corner[1] + HIGH / 2, words, fontsize=7.4, **look)


def follow(axes: Axes, corners: list[tuple[float, float]], aside: float) -> None:
    """Arrows from box to box, so far from the left edge of the one that stands further in."""
    for (x, y), (x_next, y_next) in zip(corners, corners[1:]):
        place = max(x, x_next) + aside if aside < 1 else min(x, x_next) + aside
        ends = (y, y_next + HIGH) if y_next < y else (y + HIGH, y_next)
        arrow(axes, [(place, ends[0]), (place, ends[1])])


def ends(axes: Axes, unet: UNet, inputs: tuple[Any, ...]) -> None:
    """What goes in at the top left, what comes out at the top right, and how t and the words come in."""
    channels, height, width = inputs[0].shape[1:]
    words: dict[str, Any] = {"fontsize": 9, "color": INK, "va": "center"}
    top = HIGH + 0.62
    axes.text(0.1, top, f"noisy latents, {channels} × {height} × {width}", **words)
    arrow(axes, [(0.35, top - 0.12), (0.35, HIGH)])
    out = f"norm, SiLU, conv → noise, {unet.config.out_channels} × {height} × {width}"
    axes.text(PAGE - 0.1, top, out, ha="right", **words)
    arrow(axes, [(PAGE - 0.35, HIGH), (PAGE - 0.35, top - 0.12)])
    time = unet.time_embedding.linear_2.out_features  # type: ignore[union-attr]
    note = f"t → {time:,} numbers, read by every ResNet;\nthe context is read by every “words”"
    axes.text(PAGE / 2, top - 0.02, note, ha="center", **words)


def resnet_block(axes: Axes | None = None) -> Axes:
    """Draw a ResNet block: its parts in a row, the time from below, the input around them."""
    words, wide, high = ["h", "norm₁", "SiLU", "conv₁", "+", "norm₂", "SiLU", "conv₂", "+"], 0.72, 0.34
    axes = canvas(PAGE, 2.0, axes)
    axes.set(ylim=(-0.25, 1.75))
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "fontsize": 10, "zorder": 4}
    y, centres = 0.95, [0.4 + 1.05 * i for i in range(len(words))]
    for x, word in zip(centres, words):
        axes.text(x, y, word, **look)
        if word not in ("h", "+"):
            box(axes, (x - wide / 2, y - high / 2), (wide, high), "")
    beside = [wide / 2 if word not in ("h", "+") else 0.14 for word in words]
    for i in range(len(words) - 1):
        arrow(axes, [(centres[i] + beside[i], y), (centres[i + 1] - beside[i + 1], y)])
    arrow(axes, [(centres[-1] + 0.14, y), (PAGE - 0.1, y)])
    arrow(axes, [(centres[0], y + 0.16), (centres[0], 1.6), (centres[-1], 1.6), (centres[-1], y + 0.16)])
    middle = (centres[0] + centres[-1]) / 2
    corner = (middle - 2.0, 1.46)
    axes.add_patch(Rectangle(corner, 4.0, 0.28, facecolor="white", edgecolor=INK, linestyle="--", zorder=3))
    box(axes, (centres[4] - 1.5, 0.0), (3.0, high), "")
    axes.text(centres[4], high / 2, r"$\tau$ → SiLU → linear", **look)
    axes.text(middle, 1.6, "1 × 1 conv, where the channels change", **look)
    axes.text(PAGE - 0.1, y - 0.24, "block(h)", **(look | {"ha": "right"}))
    arrow(axes, [(centres[4], high), (centres[4], y - 0.16)])
    return axes


def fields(side: int, widths: Mapping[str, tuple[int, int]]) -> None:
    """Draw squares around the middle of a square of `side`, a panel each: {title: (shaded, dashed)}."""
    _, panels = plt.subplots(1, len(widths), figsize=(PAGE, 2.8))
    most = max(side, *(max(pair) for pair in widths.values()))
    for axes, (title, (shaded, dashed)) in zip(panels, widths.items()):
        axes.add_patch(Rectangle((-side / 2, -side / 2), side, side, facecolor="white", edgecolor=INK))
        looks: tuple[dict[str, Any], ...] = (
            {"facecolor": "#9dbbd6", "alpha": 0.6, "edgecolor": INK},
            {"fill": False, "edgecolor": INK, "linestyle": "--"},
        )
        for width, look in zip((shaded, dashed), looks):
            axes.add_patch(Rectangle((-width / 2, -width / 2), width, width, **look))
        axes.plot(0, 0, "o", color=INK, markersize=3)
        axes.set(xlim=(-most / 2 - 3, most / 2 + 3), ylim=(-most / 2 - 3, most / 2 + 3), aspect="equal")
        axes.set_title(f"{title}: {shaded} (without: {dashed})", fontsize=9)
        axes.set(xticks=[], yticks=[], facecolor="#ececec")


def dial(axes: Axes, turn: float, times: Sequence[int]) -> None:
    """Draw a clock that turns once in `turn` timesteps, with its hand at each of up to three times."""
    axes.add_patch(Circle((0, 0), 1, facecolor="white", edgecolor=INK))
    looks = (("-", INK, 0.55, 3.0), ("--", COLOURS["blue"], 0.8, 2.2), (":", COLOURS["orange"], 1.0, 2.6))
    for t, (line, colour, length, width) in zip(times, looks):
        angle = 2 * math.pi * t / turn
        x, y = length * math.cos(angle), length * math.sin(angle)
        axes.plot([0, x], [0, y], line, color=colour, linewidth=width, label=f"t = {t}")
        axes.plot(x, y, "o", color=colour, markersize=5)
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.75, 1.15), aspect="equal")
    axes.text(1.2, 0, "cos", va="center", fontsize=9, color=INK)
    axes.text(0, 1.05, "sin", ha="center", va="bottom", fontsize=9, color=INK)
    axes.legend(loc="lower center", fontsize=9, ncols=3, handlelength=1.6, columnspacing=0.9, frameon=False)
    axes.axis("off")


def field_tree(kernels: Sequence[int], strides: Sequence[int], axes: Axes | None = None) -> Axes:
    """Draw which numbers of a row one number of the last output depends on, layer by layer, to the input."""
    seen, spacing = [[0]], math.prod(strides)  # places in the row of each layer, in steps of the input
    steps = [spacing]
    for kernel, stride in zip(reversed(kernels), reversed(strides)):
        spacing //= stride
        reach = [spacing * (i - kernel // 2) for i in range(kernel)]
        seen.append(sorted({place + one for place in seen[-1] for one in reach}))
        steps.append(spacing)
    side, rows = max(seen[-1]) + 2, len(seen)
    axes = canvas(PAGE, 0.85 * (rows - 1) + 0.7, axes)
    unit, middle = 0.42, 3.0

    def at(place: int, row: int) -> tuple[float, float]:
        return middle + unit * place, 0.35 + 0.85 * (rows - 1 - row)

    for row in range(rows):
        step = steps[row]
        for place in range(-(side // step) * step, side + 1, step):
            (x, y), known = at(place, row), place in seen[row]
            axes.plot(x, y, "o", color=INK, markerfacecolor=INK if known else "white", markersize=6, zorder=3)
        count, apart = len(seen[row]), f", {step} apart" if step > 1 and row else ""
        name = "output: 1 number" if row == 0 else f"{'input: ' if row == rows - 1 else ''}{count} numbers"
        axes.text(middle + unit * side + 0.4, at(0, row)[1], name + apart, va="center", fontsize=9, color=INK)
    for row, (kernel, stride) in enumerate(zip(reversed(kernels), reversed(strides))):
        for place in seen[row]:
            for i in range(kernel):
                ends = at(place, row), at(place + steps[row + 1] * (i - kernel // 2), row + 1)
                axes.plot(*zip(*ends), "-", color=INK, linewidth=0.9, alpha=0.7, zorder=2)
        kind = f"kernel {kernel}, stride {stride}: adds {(kernel - 1) * steps[row + 1]}"
        place_of = (middle + unit * side + 0.4, at(0, row)[1] - 0.42)
        axes.text(*place_of, kind, va="center", fontsize=9, color=INK, style="italic")
    return axes
