"""The book's figures: its style, pictures in rows, sliders, and every drawing that the chapters share.

from minisd.teaching import figures
figures.use()

A function whose first argument is `axes` draws into them and returns them; the others make a figure of their
own and return its axes. A cell that draws ends with plt.show().
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from .drawings import algorithms, chain, mixtures, one_step, shadows, two_ways
from .network import network
from .palette import COLOURS, DASHES, DPI, SIZE, as_array, panels, plain_log, show_picture, use
from .plots import arrows, band, curves, direct_labels, field, grid, heat, histogram, walks
from .plots import shade as density
from .tiles import lay_out

__all__ = [
    "COLOURS",
    "DASHES",
    "DPI",
    "QUIET",
    "SIZE",
    "algorithms",
    "arrows",
    "as_array",
    "band",
    "chain",
    "curves",
    "density",
    "direct_labels",
    "field",
    "grid",
    "heat",
    "histogram",
    "mixtures",
    "network",
    "one_step",
    "panels",
    "picture_rows",
    "pictures",
    "plain_log",
    "progress",
    "shadows",
    "show_picture",
    "slider",
    "two_ways",
    "use",
    "walks",
]

QUIET = "MINISD_QUIET"  # environment variable: set while a script runs the notebooks


def pictures(
    images: Any, titles: Sequence[str] | None = None, columns: int | None = None, scale: float = 1
) -> None:
    """Draw pictures in rows, without axes, each with its title above.

    images: what `as_array` takes, a batch or a list of single ones, of any sizes. columns: at most so many in
    a row (all of them, up to 8, unless told). scale: the figure is about so many times as wide as the column;
    about, because pictures are drawn at whole multiples of their size (see `show_picture`). Raises ValueError
    for no pictures, and where there is not one title for each.
    """
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
    lay_out(arrays, columns, titles or [], [], scale)
    plt.show()


def picture_rows(rows: Mapping[str, Any], columns: Sequence[str] | None = None, scale: float = 1) -> None:
    """Rows of pictures, {name of the row: pictures}, with the names at the left and column titles above.

    Every row holds as many pictures, as `as_array` takes them; None leaves a place empty. scale: as in
    `pictures`. Raises ValueError where rows or columns do not match.
    """
    lists = {name: list(images) for name, images in rows.items()}
    count = max(map(len, lists.values()), default=0)
    if count == 0 or any(len(images) != count for images in lists.values()):
        raise ValueError(f"rows need as many pictures each, got {[len(images) for images in lists.values()]}")
    if columns is not None and len(columns) != count:
        raise ValueError(f"{count} pictures a row need {count} column titles, got {len(columns)}")
    images = [None if image is None else as_array(image) for row in lists.values() for image in row]
    lay_out(images, count, columns or [], list(lists), scale)
    plt.show()


def slider(
    draw: Callable[[Axes, Any], Any],
    name: str,
    values: Sequence[Any],
    start: Any = None,
    shown: Sequence[Any] | None = None,
    columns: int = 6,
) -> None:
    """A slider over `values`, from `start` (the first): draw(axes, value) draws what one value shows.

    Above it is what `shown` show (six of the values, unless told), so many columns wide, so that a page on
    which nothing runs has the picture as well. A script that runs the notebooks gets that alone. Raises
    ValueError where start is not one of the values.
    """
    options = list(values)
    first = options[0] if start is None else start
    if first not in options:
        raise ValueError(f"the slider cannot start at {first!r}, which is not one of its values")
    chosen = [options[i] for i in np.linspace(0, len(options) - 1, min(6, len(options))).round().astype(int)]
    places = chosen if shown is None else list(shown)
    titles = [f"{name} = {value}" for value in places]
    rows, high = -(-len(places) // columns), 9 / columns + 0.25  # high, in inches: a square and its title
    strip = panels(len(places), titles, columns=columns, width=9.6, height=rows * high)
    for axes, value in zip(strip, places):
        draw(axes, value)
    plt.show()
    if os.environ.get(QUIET):
        return
    from ipywidgets import SelectionSlider, interact  # type: ignore[import-untyped]

    def one(**chosen: Any) -> None:
        axes = panels(1, [f"{name} = {chosen[name]}"], width=4.2, height=3.8)[0]
        draw(axes, chosen[name])
        plt.show()

    interact(one, **{name: SelectionSlider(options=options, value=first, continuous_update=False)})


def progress(iterable: Iterable, desc: str = "", total: int | None = None) -> Iterable:
    """`iterable` with a progress bar; without one where MINISD_QUIET is set, so that outputs repeat."""
    if os.environ.get(QUIET):
        from tqdm import tqdm

        return tqdm(iterable, desc=desc, total=total, disable=True)
    from tqdm.auto import tqdm

    return tqdm(iterable, desc=desc, total=total)
