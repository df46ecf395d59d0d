"""A network on one page: boxes for its parts, with the shapes that a forward pass showed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from torch import Tensor, nn

from .drawings import Point, arrow, box, canvas
from .palette import GREY, INK

MOST = 32  # boxes that a page has room for


@dataclass(frozen=True)
class Part:
    """A module that was called: its name and weights, its first output's shape, whose outputs it read."""

    name: str
    weights: int
    shape: tuple[int, ...]
    reads: tuple[int, ...]

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

    A part reads an earlier one if it is given one of its tensors unchanged. A tensor in a list counts as
    read by the part that takes it off the list.
    """
    given: list[list[Tensor]] = []  # the tensors before the running part's call
    made: list[list[Tensor]] = []  # the outputs so far, kept so that none of them is mistaken for another
    seen: list[Part] = []

    def before(part: nn.Module, args: tuple) -> None:
        given.append(tensors(args))

    def after(part: nn.Module, args: tuple, out: Any, name: str) -> None:
        kept = [id(x) for arg in args if isinstance(arg, list) for x in tensors(arg)]
        read = {id(x) for x in given.pop() if id(x) not in kept}
        sources = tuple(i for i, outs in enumerate(made) if any(id(x) in read for x in outs))
        made.append(tensors(out))
        weights = sum(p.numel() for p in part.parameters())
        called = type(part).__name__ if name.isdigit() else name
        seen.append(Part(called, weights, tuple(made[-1][0].shape), sources))

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
    """Draw what module(*inputs) calls, from left to right in that order.

    The smaller the picture a part makes, the lower its box; the more channels, the darker. Dashed lines are
    skips: a picture that a later part reads, too. Of a part that makes no picture, in a network that makes
    one, a note says how many parts read it. Raises ValueError where there are more parts than fit on a page.
    """
    parts = calls(module, inputs, depth)
    if len(parts) > MOST:
        raise ValueError(f"{len(parts)} parts at depth {depth} do not fit on a page; take a lower depth")
    wide = len(parts) <= 12
    width, tall = (0.98, 0.66) if wide else (0.36, 1.85)
    sizes = sorted({part.size for part in parts} - {0}, reverse=True)
    level = {size: -(tall + 0.3) * i for i, size in enumerate(sizes)} | {0: 0.0}
    low = min(level[part.size] for part in parts)
    skips = [(i, j) for j, part in enumerate(parts) for i in part.reads if parts[i].size and i < j - 1]
    head = 0.4 if skips else 0.1
    axes = canvas(width * len(parts) + 0.1, tall - low + head + 0.1, axes)
    axes.set(xlim=(-0.05, width * len(parts) + 0.05), ylim=(low - 0.1, tall + head))
    corners = [(i * width + 0.05, level[part.size]) for i, part in enumerate(parts)]
    pictures = [i for i, part in enumerate(parts) if part.size or not sizes]
    most = max(parts[i].shape[1] for i in pictures)
    for i, (part, (x, y)) in enumerate(zip(parts, corners)):
        share = part.shape[1] / most if i in pictures else 0
        one_part(axes, part, (x, y), (width - 0.1, tall), wide, share)
        readers = sum(i in other.reads for other in parts)
        if i not in pictures and readers > 1:
            note = f"read by {readers} parts"
            axes.text(x + width / 2 - 0.05, y - 0.1, note, fontsize=7.5, ha="center", va="top", color=INK)
    for i, j in zip(pictures, pictures[1:]):
        (x, y), (x_next, y_next) = corners[i], corners[j]
        follow(axes, (x + width - 0.1, y + tall / 2), (x_next, y_next + tall / 2))
    for i, j in skips:
        start, end = ((x + width / 2 - 0.05, y + tall) for x, y in (corners[i], corners[j]))
        skip(axes, start, end)
    return axes


def one_part(axes: Axes, part: Part, corner: Point, size: Point, wide: bool, share: float) -> None:
    """A box with the part's name, the shape of what it makes and its weights; darker for a larger share."""
    (x, y), (width, height) = corner, size
    box(axes, corner, size, "", colour=str(0.97 - 0.3 * share))
    words = [part.name, " × ".join(map(str, part.shape[1:]))]
    if part.weights and wide:
        words.append(f"{short(part.weights)} weights")
    turned = {"fontsize": 7.5, "rotation": 0 if wide else 90, "linespacing": 1.3}
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "zorder": 4, **turned}
    axes.text(x + width / 2, y + height / 2, "\n".join(words), **look)


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
    """A dashed arc from the top of one box to the top of another."""
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0}
    rad = -0.35 / max(end[0] - start[0], 0.7)
    line = FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={rad}", linestyle=(0, (4, 2)), **look)
    line.set(color=GREY, linewidth=1, zorder=5)
    axes.add_patch(line)
