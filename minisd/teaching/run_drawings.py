"""Drawings of stored runs for the exercises of chapter 14: two curves and the pictures of each run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from ..checkpoint import read_json

STORED = Path(__file__).with_name("broken_runs.json")  # written by benchmarks/broken_runs.py


def pictures_of(run: Mapping, side: int) -> np.ndarray:
    """The pictures of a run beside one another, ten in a row, from 0 to 16: (height, width)."""
    pixels = np.array([list(bytes.fromhex(picture)) for picture in run["pictures"]])
    tiles = pixels.reshape(-1, 10, side, side).transpose(0, 2, 1, 3)
    return tiles.reshape(-1, 10 * side)


def draw_runs(path: Path = STORED) -> None:
    """A row for each stored run: its loss, its loss on held-out digits, what it paints.

    The sound run's curves are dotted in every row.
    """
    stored = read_json(path)
    runs = stored["runs"]
    _, rows = plt.subplots(len(runs), 3, figsize=(10, 1.45 * len(runs)), layout="constrained")
    for panels, (name, run) in zip(rows, runs.items()):
        for panel, key, every in zip(panels, ("loss", "held_out"), (stored["points"], stored["looks"])):
            for values, style, colour in ((runs["sound"][key], ":", "0.5"), (run[key], "-", "black")):
                panel.plot(every * np.arange(len(values)), values, style, color=colour, linewidth=1)
            panel.set(ylim=(0.1, 1.1), xlim=(0, stored["steps"]))
            panel.label_outer()
        panels[2].imshow(pictures_of(run, stored["side"]), cmap="gray_r", vmin=0, vmax=16)
        panels[2].set(xticks=[], yticks=[])
        panels[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for panel, title in zip(rows[0], ("loss in training", "loss on held-out digits", "painted")):
        panel.set_title(title)
    for panel in rows[-1][:2]:
        panel.set_xlabel("step")
    plt.show()
