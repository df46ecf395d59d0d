"""Plans of pictures, for a ControlNet to read: maps of what is where, and drawings of the outlines."""

from __future__ import annotations

import numpy as np

# A colour for each of PARTS, far from each other; they say nothing of the things' own colours.
PART_COLOURS = np.array(
    [
        (110, 180, 255),  # sky
        (150, 120, 200),  # hills
        (90, 140, 70),  # ground
        (230, 60, 60),  # house
        (20, 80, 20),  # tree
        (255, 220, 0),  # tent
        (0, 0, 200),  # car
        (255, 140, 200),  # balloon
        (120, 120, 120),  # rocket
        (140, 70, 10),  # mushroom
        (255, 255, 255),  # flower
    ],
    np.uint8,
)
STEEP = 24  # steps of 255 from a pixel to its neighbour that make an outline


def semantic_map(parts: np.ndarray) -> np.ndarray:
    """Numbers of PARTS (..., height, width) as a picture of flat colours, uint8 (..., height, width, 3)."""
    return PART_COLOURS[parts]


def read_map(picture: np.ndarray) -> np.ndarray:
    """A map's colours (..., height, width, 3) back to numbers of PARTS, the nearest for each pixel."""
    far = np.asarray(picture, np.int32)[..., None, :] - PART_COLOURS.astype(np.int32)
    return np.square(far).sum(axis=-1).argmin(axis=-1).astype(np.uint8)


def outlines(pictures: np.ndarray, steep: float = STEEP) -> np.ndarray:
    """White lines on black where a picture changes steeply, uint8 of its shape (..., height, width, 3).

    The change is the largest of the three colours' gradients, by central differences: made from any picture
    alike, a render or a painted one, so that the lines of both can be compared.
    """
    values = np.asarray(pictures, np.float32)
    down, right = np.gradient(values, axis=(-3, -2))
    change = np.sqrt(np.square(down) + np.square(right)).max(axis=-1)
    return np.repeat(np.where(change >= steep, 255, 0).astype(np.uint8)[..., None], 3, axis=-1)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def edge_agreement(a: np.ndarray, b: np.ndarray, reach: int = 1) -> float:
    """How far two drawings' lines agree: the F score of line pixels that have one of the other's in reach.

    a, b: outlines (height, width, 3); reach: pixels by which a line may be moved. 1 if both have no lines.
    """
    first, second = (np.asarray(drawing)[..., 0] > 127 for drawing in (a, b))
    if not first.any() and not second.any():
        return 1.0
    precision = share(first, grown(second, reach))
    recall = share(second, grown(first, reach))
    return 2 * precision * recall / max(precision + recall, 1e-12)


def share(lines: np.ndarray, near: np.ndarray) -> float:
    """How many of the pixels of some lines lie in a mask."""
    return int(np.count_nonzero(lines & near)) / max(int(np.count_nonzero(lines)), 1)


def grown(mask: np.ndarray, reach: int) -> np.ndarray:
    """A mask with all pixels that are at most `reach` away from it, in rows and in columns."""
    padded = np.pad(mask, reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(windows.any(axis=(-2, -1)))
