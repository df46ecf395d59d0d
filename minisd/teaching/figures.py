"""The look of the book's figures, pictures in rows, and a progress bar that a printed notebook leaves out.

from minisd.teaching import figures
figures.use()
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
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
SIZE = (6.4, 3.2)  # inches: one figure across a notebook's column
DPI = 100  # enough for a screen; the notebooks stay small
QUIET = "MINISD_QUIET"  # environment variable: set while a script runs the notebooks


def use() -> None:
    """Set the book's style for every figure from here on. Figures carry no date and no version, so they
    repeat.
    """
    import matplotlib.pyplot as plt
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
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "axes.axisbelow": True,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
        }
    )
    if "inline" in plt.get_backend():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("png", metadata={"Software": None})


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


def pictures(
    images: Any, titles: Sequence[str] | None = None, columns: int | None = None, scale: float = 1
) -> None:
    """Draw pictures in rows, without axes, each with its title above.

    images: what `as_array` takes, a batch or a list of single ones, of any sizes. columns: at most so many in
    a row (all of them, up to 8, unless told). scale: of the whole figure, whose width is the column's at 1.
    Raises ValueError for no pictures, and where there is not one title for each.
    """
    import matplotlib.pyplot as plt

    arrays = (
        [as_array(image) for image in images] if isinstance(images, (list, tuple)) else list(as_array(images))
    )
    if not arrays or any(a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[-1] not in (3, 4)) for a in arrays):
        raise ValueError(
            f"pictures needs a batch or a list of pictures, got shapes {[a.shape for a in arrays]}"
        )
    if titles is not None and len(titles) != len(arrays):
        raise ValueError(f"{len(arrays)} pictures need {len(arrays)} titles, got {len(titles)}")
    columns = min(columns or 8, len(arrays))
    rows = -(-len(arrays) // columns)
    width = SIZE[0] * scale
    tallest = max(a.shape[0] / a.shape[1] for a in arrays)
    height = rows * (width / columns * tallest + (0.25 if titles is not None else 0))
    figure, grid = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    for axes in grid.flat:
        axes.axis("off")
    for i, (axes, array) in enumerate(zip(grid.flat, arrays)):
        axes.imshow(array, vmin=0, vmax=255 if array.dtype == np.uint8 else 1)
        if titles is not None:
            axes.set_title(titles[i], fontsize=9, pad=3)
    plt.show()


def progress(iterable: Iterable, desc: str = "", total: int | None = None) -> Iterable:
    """`iterable` with a progress bar; without one where MINISD_QUIET is set, so that outputs repeat."""
    if os.environ.get(QUIET):
        from tqdm import tqdm

        return tqdm(iterable, desc=desc, total=total, disable=True)
    from tqdm.auto import tqdm

    return tqdm(iterable, desc=desc, total=total)
