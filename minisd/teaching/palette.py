"""The book's colours, sizes and matplotlib settings, and the empty axes that every figure begins with."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox
from PIL import Image

# Okabe and Ito's colours for the colour-blind, without their yellow, which is lost on white. Neighbours
# differ in lightness and every line has its own dashes, so that a figure printed in grey can still be read.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "black": "#000000",
    "purple": "#CC79A7",
    "vermillion": "#D55E00",
    "sky": "#56B4E9",
}
DASHES = [
    "-",
    (0, (5, 2)),
    (0, (1, 1.2)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (9, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (2, 4)),
]
INK, PAPER, GREY = "#222222", "#ffffff", "#8c8c8c"
SIZE = (6.4, 3.2)  # inches: one figure across a notebook's column
TALLEST = 6.2  # inches: what a screen of 1440 x 900 shows below JupyterLab's menus
DPI = 100  # enough for a screen; the notebooks stay small
SMALL = 9  # points: tick labels, names of lines


def use() -> None:
    """Set the book's style for every figure from here on.

    Figures carry no date and no version, so that they repeat.
    """
    from cycler import cycler

    plt.rcParams.update(
        {
            "figure.figsize": SIZE,
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": cycler(color=list(COLOURS.values()), linestyle=DASHES),
            "lines.linewidth": 1.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "axes.labelsize": 10,
            "xtick.labelsize": SMALL,
            "ytick.labelsize": SMALL,
            "legend.fontsize": SMALL,
            "legend.frameon": False,
            "axes.axisbelow": True,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
        }
    )
    if "inline" in plt.get_backend():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("png", metadata={"Software": None})


def numbers(values: Any) -> np.ndarray:
    """A tensor, an array or a list as an array for matplotlib."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def as_array(image: Any) -> np.ndarray:
    """A picture or a batch of them as an array for matplotlib: channels last, in [0, 1] or bytes.

    A float tensor is a picture as the networks know it, (..., 1 or 3, height, width) in [-1, 1], or (...,
    height, width) without channels; an array is (..., height, width) or (..., height, width, 3) in [0, 1], or
    bytes. Numbers beyond the range are clipped. Raises ValueError for any other shape.
    """
    if isinstance(image, Image.Image):
        image = np.asarray(image)
    if isinstance(image, torch.Tensor) and image.is_floating_point():
        image = (image.detach().cpu().float() / 2 + 0.5).clamp(0, 1)
        channels = image.shape[-3] if image.ndim > 2 else None
        if channels == 3:
            image = image.movedim(-3, -1)
        elif channels == 1:
            image = image.squeeze(-3)
    array = np.asarray(image)
    if array.ndim < 2:
        raise ValueError(f"a picture is (height, width) or (height, width, 3), got shape {array.shape}")
    return array if array.dtype == np.uint8 else array.clip(0, 1)


def show_picture(axes: Axes, image: Any) -> None:
    """Draw one picture, as `as_array` takes it, into axes, without ticks and frame.

    It is drawn in the middle of the axes' place, at the largest whole multiple of its size that fits, so that
    all its pixels are squares of one size; at any other size some rows and columns would be doubled, which
    shows as stripes. Where the place is smaller than the picture, neighbouring pixels are averaged.
    """
    array = as_array(image)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    drawn = axes.imshow(array, vmin=0, vmax=255 if array.dtype == np.uint8 else 1)
    axes.set_axes_locator(whole_multiple(drawn, axes.get_axes_locator()))


Locator = Callable[[Any, Any], Bbox]  # axes, renderer -> where they are


def whole_multiple(drawn: AxesImage, place: Locator | None) -> Locator:
    """What matplotlib asks where the axes of a picture are; place: what it asked before, if anything."""
    rows, columns = drawn.get_size()

    def locate(axes: Axes, renderer: Any) -> Bbox:
        within = axes.get_position(original=True) if place is None else place(axes, renderer)
        whole = axes.figure.bbox  # in pixels of the screen
        times = min(within.width * whole.width / columns, within.height * whole.height / rows)
        if times > 0.999:
            times = int(times + 0.001)
        drawn.set_interpolation("nearest" if times >= 1 else "antialiased")
        # A thousandth of a pixel less, because matplotlib rounds up.
        width = (times * columns - 0.001) / whole.width
        height = (times * rows - 0.001) / whole.height
        left, bottom = (within.x0 + within.x1 - width) / 2, (within.y0 + within.y1 - height) / 2
        return Bbox.from_bounds(left, bottom, width, height)

    return locate


def panels(
    count: int = 1,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    height: float | None = None,
    width: float | None = None,
    square: bool = False,
) -> list[Axes]:
    """Empty axes side by side in one figure, `columns` (by default up to 4) in a row.

    height and width, in inches, are the whole figure's; by default a figure is as wide as the page, wider
    from three panels on. square: for points of the plane, both axes to one scale and without ticks. Raises
    ValueError where there is not one title for each panel.
    """
    if titles is not None and len(titles) != count:
        raise ValueError(f"{count} panels need {count} titles, got {len(titles)}")
    columns = min(columns or 4, count)
    rows = -(-count // columns)
    width = width or (SIZE[0] if columns < 3 else 9.0)
    each = width / columns + 0.2 if square else SIZE[1] if rows == 1 else 2.6
    size = (width, height or min(rows * each, TALLEST))
    grid = plt.subplots(rows, columns, figsize=size, squeeze=False)[1]
    for axes in list(grid.flat)[count:]:
        axes.remove()
    made: list[Axes] = list(grid.flat)[:count]
    for axes, title in zip(made, titles or [""] * count):
        axes.set_title(title)
        if square:
            axes.set(aspect="equal", xticks=[], yticks=[])
            axes.spines[:].set_visible(True)
    return made


def own(axes: Axes | None, width: float = SIZE[0], height: float = SIZE[1]) -> Axes:
    """`axes`, or those of a new figure of this size where there are none."""
    return panels(1, width=width, height=height)[0] if axes is None else axes


def plain_log(axes: Axes, which: str = "x", ticks: Iterable[float] | None = None) -> Axes:
    """A logarithmic scale with ticks written as plain numbers: 0.01, 1, 50, 1,000.

    which: "x", "y" or "xy". ticks: where to write numbers; by default at the powers of ten.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    for name in which:
        axes.set(**{f"{name}scale": "log"})
        axis = axes.xaxis if name == "x" else axes.yaxis
        if ticks is not None:
            axis.set_ticks(list(ticks))
            axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())
    return axes
