"""A network on one page: boxes for its parts, with the shapes that a forward pass showed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from .drawings import Point, arrow, box, canvas
from .palette import GREY, INK

MOST = 40  # boxes that a page has room for


@dataclass(frozen=True)
class Part:
    """A module that was called: its name, its weights, its first output's shape, and whose output it read."""

    name: str
    weights: int
    shape: tuple[int, ...]
    skips: tuple[int, ...]

    @property
    def size(self) -> int:
        """Height of what it made, if that is a batch of pictures; 0 otherwise."""
        return self.shape[2] if len(self.shape) == 4 else 0


def parts_of(module: nn.Module, depth: int, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules `depth` levels down, with their names; lists of modules are no level of their own."""
    for child_name, child in module.named_children():
        full = f"{name}.{child_name}" if name else child_name
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)):
            yield from parts_of(child, depth, full)
        elif depth > 1 and any(True for _ in child.children()):
            yield from parts_of(child, depth - 1, full)
        else:
            yield full, child


def tensors(value: Any) -> list[Tensor]:
    """All tensors of a module's inputs or outputs, those in lists and tuples too."""
    if isinstance(value, Tensor):
        return [value]
    return [x for one in value for x in tensors(one)] if isinstance(value, (list, tuple)) else []


def calls(module: nn.Module, inputs: tuple[Any, ...], depth: int) -> list[Part]:
    """What happens in one forward pass, in order.

    A part skips back to every earlier one whose output it reads, the last but for which came between. A
    tensor in a list counts as read by the part that takes it off the list.
    """
    given: list[list[Tensor]] = []  # the tensors before the running part's call
    made: list[list[Tensor]] = []  # the outputs so far, kept so that none of them is mistaken for another
    seen: list[Part] = []

    def before(part: nn.Module, args: tuple) -> None:
        given.append(tensors(args))

    def after(part: nn.Module, args: tuple, out: Any, name: str) -> None:
        kept = [id(x) for arg in args if isinstance(arg, list) for x in tensors(arg)]
        read = {id(x) for x in given.pop() if id(x) not in kept}
        skips = tuple(i for i, outs in enumerate(made[:-1]) if any(id(x) in read for x in outs))
        made.append(tensors(out))
        weights = sum(p.numel() for p in part.parameters())
        seen.append(Part(name, weights, tuple(made[-1][0].shape), skips))

    hooks = []
    for name, part in parts_of(module, depth):
        hooks.append(part.register_forward_pre_hook(before))
        hooks.append(part.register_forward_hook(lambda m, i, o, name=name: after(m, i, o, name)))
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def network(module: nn.Module, *inputs: Any, depth: int = 1, axes: Axes | None = None) -> Axes:
    """Draw what module(*inputs) calls, from left to right.

    The smaller the picture a part makes, the lower its box; the more channels, the darker. A part that makes
    no picture, in a network that makes one, stands above the others. Dashed lines are skips. Raises
    ValueError where there are more parts than a page has room for.
    """
    parts = calls(module, inputs, depth)
    if len(parts) > MOST:
        raise ValueError(f"{len(parts)} parts at depth {depth} do not fit on a page; take a lower depth")
    wide = len(parts) <= 12
    width, tall = (0.98, 0.66) if wide else (0.3, 1.25)
    sizes = sorted({part.size for part in parts} - {0}, reverse=True)
    level = {size: -(tall + 0.3) * i for i, size in enumerate(sizes)} | {0: tall + 0.3 if sizes else 0.0}
    low, high = (choose(level[part.size] for part in parts) for choose in (min, max))
    axes = canvas(width * len(parts) + 0.1, high - low + tall + 0.2, axes)
    axes.set(xlim=(-0.05, width * len(parts) + 0.05), ylim=(low - 0.1, high + tall + 0.1))
    corners = [(i * width + 0.05, level[part.size]) for i, part in enumerate(parts)]
    most = max(part.shape[1] for part in parts)
    for part, corner in zip(parts, corners):
        one_part(axes, part, corner, (width - 0.1, tall), wide, part.shape[1] / most)
    main = [corner for part, corner in zip(parts, corners) if part.size or not sizes]
    for (x, y), (x_next, y_next) in zip(main, main[1:]):
        follow(axes, (x + width - 0.1, y + tall / 2), (x_next, y_next + tall / 2))
    for part, (x, y) in zip(parts, corners):
        for x_from, y_from in (corners[i] for i in part.skips if len(parts[i].shape) == len(part.shape)):
            skip(axes, (x_from + width - 0.1, y_from + tall - 0.12), (x, y + tall - 0.12))
    return axes


def one_part(axes: Axes, part: Part, corner: Point, size: Point, wide: bool, share: float) -> None:
    """A box with the part's name, the shape of what it makes and its weights; darker for a larger share."""
    (x, y), (width, height) = corner, size
    shade = 0.97 - 0.3 * share
    box(axes, corner, size, "", colour=str(shade))
    shape = " × ".join(map(str, part.shape[1:]))
    words = [part.name, shape, f"{short(part.weights)} weights"] if part.weights else [part.name, shape]
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "zorder": 4}
    if wide:
        axes.text(x + width / 2, y + height / 2, "\n".join(words), fontsize=7.5, **look)
    else:
        axes.text(x + width / 2, y + height / 2, "\n".join(words[:2]), fontsize=6, rotation=90, **look)


def short(number: int) -> str:
    """1,234,567 as 1.2 M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return str(number)


def follow(axes: Axes, start: Point, end: Point) -> None:
    """The arrow to the next box, with a bend where it lies on another level."""
    middle = (start[0] + end[0]) / 2
    bends = [start, end] if start[1] == end[1] else [start, (middle, start[1]), (middle, end[1]), end]
    arrow(axes, bends)


def skip(axes: Axes, start: Point, end: Point) -> None:
    axes.plot(*zip(start, end), color=GREY, linewidth=1, linestyle=(0, (4, 2)), zorder=1.2)
