"""The book's figures: colours that can be told apart in grey, pictures of every kind, files that repeat."""

import io
import itertools

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from PIL import Image

from minisd.teaching import figures


@pytest.fixture(autouse=True)
def quiet_backend(monkeypatch):
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    with plt.rc_context():
        figures.use()
        yield
    plt.close("all")


def lightness(colour):
    """CIE L*, 0 to 100: what is left of a colour in grey."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    y = np.dot([0.2126, 0.7152, 0.0722], linear)
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def test_lines_differ_in_grey():
    colours = list(figures.COLOURS.values())
    for one, other in itertools.pairwise(colours):
        assert abs(lightness(one) - lightness(other)) > 5, (one, other)
    assert all(lightness(colour) < 80 for colour in colours)  # against white
    cycle = plt.rcParams["axes.prop_cycle"].by_key()
    assert cycle["color"] == colours and len(set(map(str, cycle["linestyle"]))) == len(colours)


def test_the_same_figure_is_the_same_file():
    def draw():
        figure, axes = plt.subplots()
        axes.plot([1, 2, 3])
        file = io.BytesIO()
        figure.savefig(file, metadata={"Software": None})
        return file.getvalue()

    assert draw() == draw() and b"Software" not in draw() and b"Creation" not in draw()


def test_as_array():
    x = torch.tensor([-1.0, 0.0, 1.0, 3.0]).view(1, 1, 2, 2)
    assert figures.as_array(x).tolist() == [[[0.0, 0.5], [1.0, 1.0]]]
    assert figures.as_array(x.expand(2, 3, 2, 2)).shape == (2, 2, 2, 3)
    assert figures.as_array(x[0]).shape == (2, 2) and figures.as_array(x[0, 0]).shape == (2, 2)
    assert figures.as_array(np.full((2, 2), 1.5)).max() == 1.0
    assert figures.as_array(Image.new("RGB", (5, 4))).shape == (4, 5, 3)
    assert figures.as_array(np.full((4, 5, 3), 200, dtype=np.uint8)).max() == 200
    assert x.max() == 3.0
    with pytest.raises(ValueError, match="a picture is"):
        figures.as_array(np.zeros(3))


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(5, 3, 8, 8),
        torch.zeros(5, 1, 8, 8),
        torch.zeros(5, 8, 8),
        np.zeros((5, 8, 8, 3)),
        np.zeros((5, 8, 8)),
        np.zeros((5, 8, 8, 3), dtype=np.uint8),
        [Image.new("RGB", (8, 8))] * 5,
        [torch.zeros(3, 8, 8)] * 5,
        [
            np.zeros((8, 8)),
            np.zeros((4, 6, 3)),
            torch.zeros(3, 8, 8),
            torch.zeros(1, 4, 4),
            Image.new("L", (3, 3)),
        ],
    ],
)
def test_pictures_of_every_kind(images):
    figures.pictures(images, titles=list("abcde"), columns=3)
    figure = plt.gcf()
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 5 and len(figure.axes) == 6 and [axes.get_title() for axes in shown] == list("abcde")
    assert figure.get_size_inches()[0] == pytest.approx(figures.SIZE[0])
    figure.canvas.draw()


def test_pictures_that_cannot_be_drawn():
    for images in ([], np.zeros((0, 8, 8)), torch.zeros(2, 4, 8, 8), torch.zeros(8, 8)):
        with pytest.raises(ValueError):
            figures.pictures(images)
    with pytest.raises(ValueError, match="titles"):
        figures.pictures(torch.zeros(2, 3, 4, 4), titles=["a"])


def test_progress_is_silent_where_it_should_be(monkeypatch, capsys):
    monkeypatch.setenv(figures.QUIET, "1")
    assert list(figures.progress(range(3), "walking")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    monkeypatch.delenv(figures.QUIET)
    assert list(figures.progress(iter(range(3)), "walking", total=3)) == [0, 1, 2]
    assert "walking" in capsys.readouterr().err
