"""Pictures in rows, drawn so large that all their pixels are squares of one size."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

from .palette import DPI, SIZE, show_picture

GAP = 4  # pixels between pictures
LARGEST = (970, 670)  # pixels: width and height of a figure that a screen shows whole


@dataclass(frozen=True)
class Tiles:
    """Pictures in rows, measured in pixels of the screen."""

    size: tuple[int, int]  # of the largest picture: width, height
    counts: tuple[int, int]  # columns, rows
    left: float  # room for the names of the rows
    top: float  # room for the titles of a row
    titled_rows: int
    narrowest: float  # a column, because of the titles

    def cell(self, times: float) -> tuple[float, float]:
        """Width and height of one picture's place, drawn so many times as large as it is."""
        return max(times * self.size[0], self.narrowest), times * self.size[1]

    def figure(self, times: float) -> tuple[float, float]:
        """Width and height of the whole figure."""
        (wide, high), (columns, rows) = self.cell(times), self.counts
        return (
            self.left + columns * wide + (columns - 1) * GAP,
            self.titled_rows * self.top + rows * high + (rows - 1) * GAP,
        )

    def times(self, width: float) -> float:
        """How large to draw the pictures in a figure of about this width: a whole number, or less than 1."""
        wanted = ((width - self.left) / self.counts[0] - GAP) / self.size[0]
        for times in range(max(1, round(wanted)), 0, -1):
            if all(side <= most for side, most in zip(self.figure(times), LARGEST)):
                return times
        without = self.figure(0)[1]
        return min(wanted, (LARGEST[1] - without) / (self.counts[1] * self.size[1]), 0.99)

    def place(self, times: float, i: int) -> tuple[float, float, float, float]:
        """Left edge, top edge (from above), width and height of the i-th place."""
        (wide, high), row = self.cell(times), i // self.counts[0]
        titles = min(row + 1, self.titled_rows) * self.top
        return self.left + i % self.counts[0] * (wide + GAP), titles + row * (high + GAP), wide, high


def lay_out(
    arrays: Sequence[np.ndarray | None],
    columns: int,
    titles: Sequence[str],
    names: Sequence[str],
    scale: float,
) -> None:
    """Draw pictures in rows, every pixel a square of one size, and set the figure's size by theirs.

    titles: of every picture, or of the first row's. names: of the rows, at their left, or none.
    """
    figure, grid = plt.subplots(-(-len(arrays) // columns), columns, squeeze=False)
    figure.set_layout_engine("none")
    above = [axes.set_title(title, fontsize=9, pad=3) for axes, title in zip(grid.flat, titles)]
    beside = [
        axes.set_ylabel(name, rotation=0, ha="right", va="center") for axes, name in zip(grid[:, 0], names)
    ]
    words = [[text.get_window_extent() for text in texts] for texts in (above, beside)]
    shown = [array for array in arrays if array is not None]
    size = (max(a.shape[1] for a in shown), max(a.shape[0] for a in shown))
    tiles = Tiles(
        size,
        (columns, len(grid)),
        left=max((box.width for box in words[1]), default=-8) + 8,
        top=max((box.height for box in words[0]), default=-5) + 5,
        titled_rows=-(-len(titles) // columns),
        narrowest=max((box.width for box in words[0]), default=0),
    )
    times = tiles.times(SIZE[0] * DPI * scale)
    width, height = tiles.figure(times)
    figure.set_size_inches(width / figure.dpi, height / figure.dpi)
    for i, axes in enumerate(grid.flat):
        x, y, wide, high = tiles.place(times, i)
        axes.set_position((x / width, 1 - (y + high) / height, wide / width, high / height))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if i < len(arrays) and arrays[i] is not None:
            show_picture(axes, arrays[i])
