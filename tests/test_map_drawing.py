"""Maps of words with outlines, and keys and values apart: what the drawings say and where their lines are."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from minisd.teaching.map_drawing import apart, maps, outline


def test_an_outline_lies_on_its_places():
    """A thing that covers the places in rows 1 and 2, columns 0 and 1, of a map of 4 x 4."""
    mask = np.zeros((64, 64), bool)
    mask[16:48, :32] = True
    _, axes = plt.subplots()
    outline(axes, mask, side=4)
    ends = axes.collections[0].get_paths()[0].get_extents()
    assert np.allclose([ends.x0, ends.x1, ends.y0, ends.y1], [-0.5, 1.5, 0.5, 2.5], atol=0.05)
    plt.close("all")


def test_every_map_has_both_outlines_and_the_pictures_none():
    edges = [torch.zeros(32, 32, dtype=torch.bool) for _ in range(2)]
    edges[0][:16, :16] = edges[1][16:, 16:] = True
    rows = {name: (torch.rand(3, 32, 32), torch.rand(4, 4, 5)) for name in ("step 1", "step 2")}
    made = maps(rows, {"red": 1, "house": 2}, edges, "believed")
    assert [axes.get_title() for axes in made[:3]] == ["believed", "red", "house"]
    assert [len(axes.collections) for axes in made] == [0, 2, 2] * 2
    assert np.allclose(made[5].images[0].get_array(), rows["step 2"][1][..., 2].numpy())
    plt.close("all")


def test_the_word_below_the_tallest_bar_answers():
    said = {text.get_text() for text in apart(["a", "tent"], ["red", "house"], [0.2, 0.8]).texts}
    assert {"a", "tent", "red", "house", "0.80", 'mostly "house"'} <= said
    plt.close("all")
