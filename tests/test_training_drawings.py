"""Chapter 14's drawings of a training: what stands where."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from minisd.teaching import training_drawings
from minisd.training.stages import NEEDS


@pytest.fixture
def axes():
    _, axes = plt.subplots()
    yield axes
    plt.close("all")


def written(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


NAMES = {"pictures": "pictures", "tokenizer": "tokenizer", "clip": "CLIP", "vae": "VAE", "latents": "latents"}
NAMES |= {"decoder": "decoder", "unet": "U-Net"}


def test_the_order_shows_every_stage(axes):
    words = written(training_drawings.order(axes))
    assert set(NEEDS) == {*NAMES, "export"} and set(NAMES.values()) <= set(words)


def test_the_order_shows_every_need():
    """But for the export and the tokenizer's way to the U-Net; and CLIP comes as its text encoder."""
    needs = {(NAMES[need], NAMES[stage]) for stage in NAMES for need in NEEDS[stage]}
    needs = needs - {("tokenizer", "U-Net"), ("CLIP", "U-Net")} | {
        ("CLIP", "text encoder"),
        ("text encoder", "U-Net"),
    }
    assert set(training_drawings.arrows()) == needs | {("captions", "tokenizer")}


def test_arrows_begin_and_end_at_their_boxes():
    wide, high = training_drawings.WIDE, training_drawings.HIGH
    for names, points in training_drawings.arrows().items():
        for name, (x, y) in zip(names, (points[0], points[-1]), strict=True):
            (left, low), _, _ = training_drawings.BOXES[name]
            beside = min(abs(x - left), abs(x - left - wide)) < 1e-9 and low < y < low + high
            above = min(abs(y - low), abs(y - low - high)) < 1e-9 and left < x < left + wide
            assert beside or above, (names, name)


def test_a_curve_has_a_point_for_every_stored_loss(axes):
    training_drawings.on_the_way(axes, [3.0, 2.0, 1.5], 50, 120, (1, 2), chance=4.0, starts=[4.2, 4.5])
    curve, chance, starts = axes.get_lines()
    assert curve.get_xdata().tolist() == [25, 75, 110] and set(chance.get_ydata()) == {4.0}
    assert starts.get_xydata().tolist() == [[0, 4.2], [0, 4.5]]  # the least and the largest


def test_dots_show_every_run_and_the_mean(axes):
    training_drawings.dots(axes, {"a": [1.0, 2.0], "b": np.array([3.0, 5.0])}, mark=0.5)
    runs, mean, *_ = axes.get_lines()
    assert runs.get_xdata().tolist() == [1, 2] and set(mean.get_xdata()) == {1.5}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_a_table_writes_means_and_ranges(axes):
    values = np.array([[[1.0, 3.0], [0.2, 0.4]]])
    training_drawings.table_of_runs(axes, values, ["row"], ["x", "y"], boxed=[(0, 1)])
    assert written(axes) == ["2.00", "1.00 to 3.00", "0.30", "0.20 to 0.40"] and len(axes.get_lines()) == 1


def test_shares_and_versions_are_named(axes):
    training_drawings.shares(axes, [0, 10], {"ground": [0.3, 1.0], "colour": [0.1, 0.5]})
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ground", "colour"]
    training_drawings.versions(axes, {"1.1": (0, 237), "1.2": (237, 515)}, dropping=("1.2",))
    assert written(axes) == ["237", "515"]


def test_a_memory_is_drawn_whole():
    shares = np.array([0.4, 0.1, 0.2, 0.3])
    panel = training_drawings.memory({0.9: shares}, 2)[0]
    assert [round(bar.get_height(), 9) for bar in panel.patches] == [0.3, 0.3, 0.4]  # theta_1 is drawn last
    assert written(panel) == ["$\\theta_1$"]
    assert not written(training_drawings.memory({0.9: np.array([0.001, 0.999])}, 2)[0])  # no bar, no name
    plt.close("all")


def test_the_triangles_lie_on_their_lines():
    early, late = training_drawings.triangles({"early": 9.0, "late": 1 / 9})
    for panel, steep in ((early, 3), (late, 1 / 3)):
        side = panel.get_lines()[2].get_xydata()
        assert np.allclose(side[1] - side[0], [1, -steep]) and len(written(panel)) == 3
    plt.close("all")


def test_a_valley_shows_every_path(axes):
    means = {"average": np.array([[3.0, 10], [0, 2]]), "lower rate": np.array([[3.0, 10], [0, 9]])}
    training_drawings.valley(axes, np.zeros((5, 2)), means)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(means)
    assert axes.get_lines()[1].get_xydata().tolist() == [[3, 10], [0, 2]]


def test_panels_show_what_they_are_given(axes):
    left, right = training_drawings.ceilings([0, 500], [1, 0.3], [0.8, 0.1], [0.8, 0.2])
    assert len(left.get_lines()) == 3 and right.get_lines()[0].get_ydata().tolist() == [1, 2]
    first, second = training_drawings.weights(
        {"x_0's": np.ones(3), "v's": np.array([3.0, 2, 1])}, [2, 1, 0.5]
    )
    assert second.get_lines()[0].get_ydata().tolist() == [0.5, 1, 2] and len(first.get_lines()) == 2
    training_drawings.by_timestep(axes, [0, 100, 200], {"noise": [0.1, 2.0]})
    assert axes.get_lines()[0].get_xdata().tolist() == [50, 150]
    panel = training_drawings.lengths_by_batch(plt.figure().gca(), [8, 16], {"before": [[1.5, 2.5], [1.0]]})
    assert panel.get_lines()[0].get_ydata().tolist() == [1, 0.5]
    guesses = {"a": (3, 2), "b": (0, 0), "c": (0, 2)}
    even, sure = training_drawings.mixture(guesses, {"late": [1 / 3] * 3, "early": [1, 0, 0]}, 2)
    mean, guided = (np.array(line.get_xydata()[0]) for line in even.get_lines()[3:])
    assert np.allclose(mean, (1, 4 / 3)) and np.allclose(guided, (5, 8 / 3))
    assert np.allclose([line.get_xydata()[0] for line in sure.get_lines()[3:]], (3, 2))
    _, copy = training_drawings.nearest_test(["new", "a copy"], [(1.9, 1.7), (2.7, 2.6)])
    to_trained, to_twin = (np.ptp(line.get_xydata(), 0) for line in copy.get_lines()[4:6])
    assert np.hypot(*to_trained) < np.hypot(*to_twin)
    made = training_drawings.near_and_far(["a", "b"], np.ones((2, 3)), np.full((2, 3), 2.0))
    assert [len(panel.get_lines()[1].get_xdata()) for panel in made] == [3, 3]
    plt.close("all")


@pytest.mark.parametrize(
    "right, n, text", [(15, 20, "15 of 20 (53 to 89 %)"), (0, 32, "0 of 32 (0 to 11 %)")]
)
def test_an_interval(right, n, text):
    assert training_drawings.interval(right, n) == text
