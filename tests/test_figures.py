"""The book's figures: colours that can be told apart in grey, drawings that show what they are given."""

import io
import itertools
import math
import sys
import types

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text
from PIL import Image
from torch import nn

from minisd.teaching import figures
from minisd.teaching.network import calls
from minisd.teaching.plots import spread
from small import small_pipeline


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


def written(axes):
    return [text.get_text() for text in axes.texts]


def assert_legible(figure):
    """Nothing is written beyond the figure, and no two texts touch."""
    figure.draw_without_rendering()
    shown = [
        (text.get_text(), Text.get_window_extent(text))
        for axes in figure.axes
        for text in [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        if text.get_text() and text.get_visible()
    ]
    for name, place in shown:
        assert place.x0 >= -1 and place.y0 >= -1, name
        assert place.x1 <= figure.bbox.x1 + 1 and place.y1 <= figure.bbox.y1 + 1, name
    for (one, a), (other, b) in itertools.combinations(shown, 2):
        apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 2 or b.y1 <= a.y0 + 2
        assert apart, (one, other)


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
    assert figure.get_size_inches()[0] == pytest.approx(figures.SIZE[0], rel=0.05)
    figure.canvas.draw()


def saved():
    """The current figure as the notebooks store it: (height, width, 3) bytes."""
    file = io.BytesIO()
    plt.savefig(file, bbox_inches="tight")
    return np.asarray(Image.open(file).convert("RGB"))


def runs(line):
    """How many neighbouring pixels of a line of the screen are equal: the lengths of all runs."""
    changes = np.flatnonzero((line[1:] != line[:-1]).any(-1))
    return np.diff(changes)


@pytest.mark.parametrize(
    "size, columns, scale, times",
    [(128, 3, 1, 2), (128, 4, 1, 1), (128, 7, 1, 1), (128, 2, 0.5, 1), (64, 6, 1, 2), (10, 8, 1.3, 10)],
)
def test_every_pixel_of_a_picture_is_a_square_of_one_size(size, columns, scale, times):
    board = np.random.default_rng(0).permuted(np.arange(size * size) % 251).reshape(size, size)
    board[:, 1:][board[:, 1:] == board[:, :-1]] += 1  # neighbours differ
    figures.pictures([board.astype(np.uint8)] * columns, titles=["a"] * columns, scale=scale)
    screen = saved()
    lengths, counts = np.unique(runs(screen[-10 - size // 2]), return_counts=True)
    assert lengths[counts.argmax()] == times and counts.max() >= columns * (size - 2)
    assert screen.shape[1] <= 1000
    figures.picture_rows({"first": [board.astype(np.uint8)] * 4, "second": [board.astype(np.uint8)] * 4})
    lengths, counts = np.unique(runs(saved()[-10 - size // 2]), return_counts=True)
    assert counts.max() >= 4 * (size - 2)


def test_a_picture_in_axes_and_a_strip_has_no_stripes_either():
    board = np.random.default_rng(0).integers(0, 251, (128, 128)).astype(np.uint8)
    board[:, 1::2] = board[:, ::2] + 1
    strips = ((1, 6.4, 4.0), (6, 9.0, 1.75), (3, 9.0, 2.9), (4, 6.4, 5.0))
    for count, width, height in strips:
        for axes in figures.panels(count, ["t = 1"] * count, columns=count, width=width, height=height):
            figures.show_picture(axes, board)
        screen = saved()
        lengths, counts = np.unique(runs(screen[screen.shape[0] // 2]), return_counts=True)
        assert counts.max() >= count * 120 or width / count < 1.7, (count, lengths)


def test_a_picture_larger_than_its_place_is_averaged():
    board = np.indices((512, 512)).sum(0) % 2 * 255
    figures.pictures([board.astype(np.uint8)] * 4)
    middle = saved()[60:100, 60:100, 0].astype(float)
    assert abs(middle.mean() - 127) < 5 and middle.std() < 60


def test_pictures_that_cannot_be_drawn():
    for images in ([], np.zeros((0, 8, 8)), torch.zeros(2, 4, 8, 8), torch.zeros(8, 8)):
        with pytest.raises(ValueError):
            figures.pictures(images)
    with pytest.raises(ValueError, match="titles"):
        figures.pictures(torch.zeros(2, 3, 4, 4), titles=["a"])


def test_rows_of_pictures():
    white, black = np.ones((8, 8)), np.zeros((8, 8))
    figures.picture_rows({"first": [white, None, black], "second": [black] * 3}, columns=["5", "10", "20"])
    axes = plt.gcf().axes
    assert [bool(a.images) for a in axes] == [True, False, True, True, True, True]
    assert [a.get_ylabel() for a in axes] == ["first", "", "", "second", "", ""]
    assert [a.get_title() for a in axes] == ["5", "10", "20", "", "", ""]
    assert axes[0].images[0].get_array().max() == 1 and axes[2].images[0].get_array().max() == 0
    assert_legible(plt.gcf())
    wrong = [({}, None), ({"a": []}, None), ({"a": [white], "b": []}, None), ({"a": [white]}, "xy")]
    for rows, columns in wrong:
        with pytest.raises(ValueError):
            figures.picture_rows(rows, columns)


# ---- axes and lines


def test_panels():
    made = figures.panels(5, list("abcde"), columns=3, square=True)
    assert [axes.get_title() for axes in made] == list("abcde")
    assert plt.gcf().axes == made and all(axes.get_aspect() == 1 for axes in made)
    assert figures.panels(1, width=3.0, height=2.0)[0].figure.get_size_inches().tolist() == [3.0, 2.0]
    with pytest.raises(ValueError, match="2 panels need 2 titles, got 1"):
        figures.panels(2, ["a"])


def test_a_logarithmic_axis_has_plain_numbers():
    axes = figures.plain_log(figures.panels()[0], "xy", ticks=[0.01, 5, 1000])
    axes.set(xlim=(0.005, 2000), ylim=(0.005, 2000))
    axes.figure.draw_without_rendering()
    for axis in (axes.xaxis, axes.yaxis):
        assert axis.get_scale() == "log"
        assert [tick.get_text() for tick in axis.get_ticklabels()] == ["0.01", "5", "1,000"]


@pytest.mark.parametrize("log", [False, True])
def test_every_line_is_named_beside_its_end_and_no_two_names_touch(log):
    axes = figures.panels(2)[0]
    if log:
        figures.plain_log(axes, "y")
    x = np.linspace(0, 1, 50)
    near = {f"line {i}": np.exp(-5 * x) * (1 + 0.01 * i) for i in range(6)}
    others = {"far": np.ones(50), "gone": [*[0.5] * 40, *[np.nan] * 10]}
    figures.curves(axes, torch.from_numpy(x), {**near, **others})
    axes.set(xlabel="x", title="eight lines")
    assert written(axes) == [*near, "far", "gone"] and axes.get_legend() is None
    assert_legible(axes.figure)
    height = {text.get_text(): Text.get_window_extent(text).y0 for text in axes.texts}
    assert all(height[name] < height["gone"] < height["far"] for name in near)
    assert all(text.xy[0] <= 1 for text in axes.texts)


def test_names_are_spread_no_more_than_they_must_be():
    assert spread([0.9, 0.1], 0.2) == [0.9, 0.1]
    assert spread([0.5, 0.5], 0.2) == pytest.approx([0.4, 0.6])
    assert spread([0.0, 0.02, 0.9], 0.1) == pytest.approx([0.0, 0.1, 0.9], abs=1e-6)
    many = sorted(spread([0.5] * 30, 0.2))
    assert many == pytest.approx(np.linspace(0, 1, 30), abs=0.02)


def test_a_band_is_the_median_and_the_middle_of_the_runs():
    axes = figures.panels()[0]
    runs = np.stack([np.arange(11), 10 * np.arange(11)]).T
    figures.band(axes, [1, 2], runs, "eleven runs", "vermillion")
    assert axes.lines[0].get_ydata().tolist() == [5, 50] and axes.lines[0].get_label() == "eleven runs"
    corners = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == (1, 90)
    assert isinstance(axes.collections[0], PolyCollection)


def test_a_histogram_has_area_one():
    axes = figures.panels()[0]
    figures.histogram(axes, torch.randn(500), lambda x: np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))
    assert sum(bar.get_width() * bar.get_height() for bar in axes.patches) == pytest.approx(1)
    x, y = axes.lines[0].get_data()
    assert y.max() == pytest.approx(0.399, abs=1e-3) and abs(x[y.argmax()]) < 0.05


@pytest.mark.parametrize("diverging", [False, True])
def test_a_heat_map_writes_its_values_so_that_they_can_be_read(diverging):
    axes = figures.panels()[0]
    values = torch.tensor([[-2.0, 0.0, 0.5], [1.0, 1.5, 2.0]])
    figures.heat(axes, values, rows=["a", "b"], columns=["x", "y", "z"], diverging=diverging)
    assert written(axes) == ["-2.00", "0.00", "0.50", "1.00", "1.50", "2.00"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    image = axes.images[0]
    for text, value in zip(axes.texts, values.flatten().tolist()):
        assert abs(lightness(text.get_color()) - lightness(image.cmap(image.norm(value))[:3])) > 40
    if diverging:
        assert lightness(image.cmap(image.norm(0.0))[:3]) > 90
    assert not written(figures.heat(figures.panels()[0], values, form=None))


# ---- the plane


def test_the_grid_goes_row_by_row():
    assert figures.grid(-1, 1, 3)[:4].tolist() == [[-1, -1], [0, -1], [1, -1], [-1, 0]]


@pytest.mark.parametrize("samples", [False, True])
def test_shading_is_dark_where_the_points_are(samples):
    at = torch.tensor([2.0, -1.0])
    of = at + 0.1 * torch.randn(500, 2) if samples else lambda x: torch.exp(-((x - at) ** 2).sum(1))
    axes = figures.density(figures.panels(square=True)[0], of, -3, 3)
    shade = axes.images[0].get_array()
    row, column = np.unravel_index(shade.argmax(), shade.shape)
    x, y = (-3 + 6 * (i + 0.5) / shade.shape[0] for i in (column, row))
    assert abs(x - 2) < 0.35 and abs(y + 1) < 0.35 and axes.images[0].origin == "lower"


def test_arrows_and_walks_are_where_they_belong():
    axes = figures.panels(square=True)[0]
    figures.arrows(axes, torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 4.0]]), scale=0.5)
    arrows = axes.collections[0]
    assert arrows.get_offsets().tolist() == [[0, 1]]
    assert (arrows.U[0] / arrows.scale, arrows.V[0] / arrows.scale) == (1, 2)
    paths = torch.arange(12.0).view(3, 2, 2)  # three steps of two walks
    figures.walks(axes, paths)
    *ways, start, end = axes.lines
    assert [way.get_xydata().tolist() for way in ways] == [paths[:, i].tolist() for i in range(2)]
    assert (
        start.get_xydata().tolist() == paths[0].tolist() and end.get_xydata().tolist() == paths[-1].tolist()
    )


def test_a_field_has_a_panel_for_each_t():
    asked = []

    def vectors(x, t):
        asked.append(t)
        return t * x

    made = figures.field(vectors, [1.0, 0.5], -2, 2, density=lambda x, t: t + 0 * x[:, 0], count=4)
    assert asked == [1.0, 0.5] and [axes.get_title() for axes in made] == ["t = 1.0", "t = 0.5"]
    for axes, t in zip(made, asked):
        arrows = axes.collections[0]
        assert arrows.get_offsets().shape == (16, 2) and abs(arrows.get_offsets()).max() < 2
        assert np.allclose(np.stack([arrows.U, arrows.V], 1), t * arrows.get_offsets())
        assert axes.images[0].get_array().max() == pytest.approx(t)


# ---- ideas


def test_a_chain_names_its_nodes_and_arrows():
    axes = figures.chain()
    assert set(written(axes)) >= {"$x_0$", "$x_{t-1}$", "$x_t$", "$x_T$", r"$q(x_t\,|\,x_{t-1})$"}
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 10 and len({str(a.get_linestyle()) for a in arrows}) == 2
    assert_legible(axes.figure)


def test_a_chain_with_long_arrows_and_pictures():
    picture, names = np.eye(4), ["$x_0$", "...", "$x_s$", "$x_t$"]
    labels = {(0, 3): "far", (2, 3): "near"}
    axes = figures.chain(names, forward=labels, backward={}, pictures=[picture, None, picture, picture])
    assert [t for t in written(axes) if t in ("far", "near")] and len(axes.child_axes) == 3
    place = {text.get_text(): text.get_position() for text in axes.texts}
    assert place["far"][0] == 1.5 and place["near"][0] == 2.5 and place["far"][1] > place["near"][1]
    low, high = axes.get_ylim()
    assert all(low < y < high for _, y in place.values())
    assert_legible(axes.figure)


def test_algorithms_in_boxes():
    training = ["repeat", "    take $x_0$ from the data", "    draw $t$", "until the loss settles"]
    boxes = figures.algorithms(
        {"Training": training, "Sampling": ["for $t = T, \\dots, 1$:", "return $x_0$"]}
    )
    text = written(boxes[0])
    assert text[0] == "Training" and text[1::2] == ["1", "2", "3", "4"]
    assert text[2] == r"$\mathbf{repeat}$ " and text[4] == r"$\mathbf{take}$ $x_0$ from the data"
    x = {t.get_text(): t.get_position()[0] for t in boxes[0].texts}
    assert x[text[4]] > x[text[2]] == x[text[8]]
    assert_legible(plt.gcf())
    with pytest.raises(ValueError, match="at most 10 lines, got 11"):
        figures.algorithms({"a": ["draw $t$"] * 11})
    with pytest.raises(ValueError, match="too long"):
        figures.algorithms({"a": ["word " * 30]})


def test_painting_in_pixels_and_in_latents():
    noise, latents = np.zeros((128, 128, 3)), [np.zeros((4, 16, 16))] * 2
    costs = {"pixels": "20 times 31", "latents": "20 times 1", "decoder": "once 3"}
    axes = figures.two_ways(noise, latents, noise, costs)
    assert {text.get_text() for text in axes.texts} == {"denoiser", "decoder", *costs.values()}
    assert len(axes.child_axes) == 2 + 2 * 4  # noise and picture, and the channels twice
    plt.gcf().canvas.draw()


def test_the_geometry_of_one_step():
    axes = figures.one_step((2, 1.5), (-0.5, 0.2), torch.tensor([1.2, 1.1]), labels=("a", "b", "c"))
    dots = [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "o"]
    assert dots == [[2, 1.5], [-0.5, 0.2], pytest.approx([1.2, 1.1])]
    assert {"a", "b", "c", "the step"} < set(written(axes))
    assert_legible(axes.figure)


def test_a_shadow_is_the_foot_of_the_perpendicular():
    axes = figures.shadows({"$a_t$": (0.0, 2.0), "$a_s$": (1.0, 1.0)}, point=(1.0, 0.0))
    feet = [line.get_xydata()[0] for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert np.allclose(feet, [[0, 0], [0.5, 0.5]])
    assert {"$a_t$", "$a_s$", "picture", "noise"} == set(written(axes))
    assert_legible(axes.figure)


def test_mixtures_lie_on_a_quarter_circle():
    dots = [(0.6, 0.8), (0.8, 0.6), (1.0, 0.0)]
    axes = figures.mixtures(dots, {"start": (0, 1), "told": (0.1, 0.995)}, {"the end": dots[-1]})
    circle, steps, *rings = (np.array(line.get_xydata()) for line in axes.lines)
    assert np.allclose(np.square(circle).sum(axis=1), 1) and circle.min() > -1e-9
    assert steps.tolist() == [list(dot) for dot in dots]
    assert [ring[0].tolist() for ring in rings] == [[0, 1], [0.1, 0.995]]
    assert {"start", "told", "the end", "painting"} <= set(written(axes))
    assert_legible(axes.figure)


# ---- a network


def small_unet():
    unet = small_pipeline().unet
    return unet, (torch.zeros(1, 4, 8, 8), torch.tensor([3]), torch.zeros(1, 77, 16))


def test_a_network_is_drawn_from_what_it_does():
    unet, inputs = small_unet()
    parts = calls(unet, inputs, 1)
    names = [part.name for part in parts]
    way = "conv_in down_blocks.0 down_blocks.1 mid_block up_blocks.0 up_blocks.1 conv_norm_out conv_out"
    assert names == ["time_embedding", *way.split()]
    by_name = {part.name: part for part in parts}
    assert by_name["mid_block"].shape == (1, 32, 4, 4) and by_name["conv_out"].shape == (1, 4, 8, 8)
    assert sum(part.weights for part in parts) == sum(p.numel() for p in unet.parameters())
    read = {name: {names[i] for i in by_name[name].reads} for name in names}
    assert read["up_blocks.1"] == {"time_embedding", "conv_in", "down_blocks.0", "up_blocks.0"}
    assert read["up_blocks.0"] == {"time_embedding", "down_blocks.0", "down_blocks.1", "mid_block"}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in unet.modules())


@pytest.mark.parametrize("depth", [1, 2])
def test_a_network_on_a_page(depth):
    unet, inputs = small_unet()
    axes = figures.network(unet, *inputs, depth=depth)
    texts = written(axes)
    assert any("4 × 8 × 8" in text for text in texts) and any(text.startswith("read by") for text in texts)
    assert_legible(axes.figure)
    with pytest.raises(ValueError, match="do not fit on a page"):
        figures.network(unet, *inputs, depth=9)


def test_a_network_without_pictures():
    axes = figures.network(nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 2)), torch.zeros(5, 3))
    assert [text for text in written(axes) if text] == [
        "Linear\n64\n256 weights",
        "SiLU\n64",
        "Linear\n2\n130 weights",
    ]


# ---- sliders and progress


def test_a_slider_stores_a_strip_of_pictures(monkeypatch):
    monkeypatch.setenv(figures.QUIET, "1")
    drawn = []
    figures.slider(lambda axes, t: drawn.append(t), "t", range(0, 1000, 5))
    assert drawn[0] == 0 and drawn[-1] == 995 and len(drawn) == 6
    assert [axes.get_title() for axes in plt.gcf().axes] == [f"t = {t}" for t in drawn]
    figures.slider(lambda axes, t: drawn.append(t), "t", range(10), shown=[2, 7])
    assert drawn[6:] == [2, 7]
    with pytest.raises(ValueError, match="cannot start at 3"):
        figures.slider(lambda axes, t: None, "t", range(0, 10, 2), start=3)


def test_a_live_slider_fits_a_screen(monkeypatch):
    monkeypatch.delenv(figures.QUIET, raising=False)
    asked = {}
    fake = types.SimpleNamespace(
        SelectionSlider=lambda **told: told, interact=lambda one, **given: asked.update(given, one=one)
    )
    monkeypatch.setitem(sys.modules, "ipywidgets", fake)
    drawn = []
    figures.slider(lambda axes, t: drawn.append(t), "t", range(10), start=4)
    strip = plt.gcf()
    assert asked["t"]["options"] == list(range(10)) and asked["t"]["value"] == 4
    asked["one"](t=7)
    assert drawn[-1] == 7 and plt.gcf() is not strip
    heights = [figure.get_size_inches()[1] * figures.DPI for figure in (strip, plt.gcf())]
    assert sum(heights) < 600  # of 900 pixels, with JupyterLab's menus and the cell itself


def test_progress_is_silent_where_it_should_be(monkeypatch, capsys):
    monkeypatch.setenv(figures.QUIET, "1")
    assert list(figures.progress(range(3), "walking")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    monkeypatch.delenv(figures.QUIET)
    assert list(figures.progress(iter(range(3)), "walking", total=3)) == [0, 1, 2]
    assert "walking" in capsys.readouterr().err
