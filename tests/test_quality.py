"""The measures of quality: no slip in renders, made slips found, a distance that is right on average."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from minisd import StableDiffusion
from minisd.models import TINY
from minisd.scenes import Scene, Thing, anatomy, render, sample
from minisd.scenes.judge import Judge
from minisd.scenes.render import FRAME, MOON, Canvas, Placed, draw_sky, draw_thing

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import adherence  # noqa: E402
import common  # noqa: E402
import quality  # noqa: E402

HOUSE = Scene((Thing("house", "red", "big"),), "snow", "night")
SMALL_TREE = Scene((Thing("tree", "yellow", "small"),), "grass", "day")


def nearest(picture: np.ndarray, scene: Scene) -> anatomy.Fit:
    """The nearest drawing of a scene's only thing."""
    return anatomy.fit(picture, scene.things[0], scene.ground, scene.hour, *anatomy.ACROSS[1])


def moved(mask: np.ndarray, found: anatomy.Fit) -> np.ndarray:
    """A mask of the drawing where it lies in the picture."""
    return np.roll(mask, (found.down, found.across), axis=(0, 1))


def blurred(pictures: np.ndarray, radius: float) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.fromarray(one).filter(ImageFilter.GaussianBlur(radius))) for one in pictures]
    )


def torn(pictures: np.ndarray, by: int) -> np.ndarray:
    """Every second band of eight rows moved to the right."""
    pictures = pictures.copy()
    for top in range(0, 128, 16):
        pictures[:, top : top + 8] = np.roll(pictures[:, top : top + 8], by, axis=2)
    return pictures


# ---- slips


def test_renders_have_no_slips():
    rng = np.random.default_rng(5)
    for seed in range(40):
        scene = sample(rng, "held_out" if seed % 2 else "train", full=True)
        found = anatomy.examine(render(scene, seed), scene)
        assert found.slips == [], f"{scene}, seed {seed}"
        assert all(thing.rest < 25 and 0.6 < thing.sharpness < 1.2 for thing in found.things)
        assert (found.lights is None) == (scene.hour == "sunset")
        assert (found.twin is None) == (len(scene.things) == 2)


@pytest.mark.parametrize("kind", anatomy.PARTS)
@pytest.mark.parametrize("size", ["small", "big"])
def test_every_part_that_has_a_name_is_in_the_drawing(kind, size):
    _, parts = anatomy.anatomy(kind, anatomy.SIDE[size], 0.5)
    assert {part.name for part in parts} == set(anatomy.PARTS[kind].values())


def test_a_drawing_is_found_where_the_thing_stands():
    placed = Placed(HOUSE.things[0], 71, 99, 57.0)
    canvas = Canvas(FRAME)
    draw_sky(canvas, "night", 76)
    draw_thing(canvas, placed, "snow", "night", np.random.default_rng(0))
    picture = np.clip(canvas.rgb, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    found = nearest(picture, HOUSE)
    assert (found.across, found.down, found.side) == (71 - 64, 99 - 100, 57.0)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, names in anatomy.PARTS.items() for name in sorted(set(names.values()))],
)
def test_a_part_painted_over_is_missing(kind, name):
    scene = replace(HOUSE, things=(Thing(kind, "red", "big"),), ground="sand", hour="day")
    picture = render(scene, 3)
    found = nearest(picture, scene)
    _, parts = anatomy.anatomy(kind, found.side, found.share)
    part = next(part for part in parts if part.name == name)
    around = moved(part.around, found)
    hidden = picture.copy()
    hidden[ndimage.binary_dilation(moved(part.inside, found), iterations=2)] = picture[around].mean(0)
    assert anatomy.examine(picture, scene).slips == []
    assert f"{kind}: {name} missing" in anatomy.examine(hidden, scene).slips


@pytest.mark.parametrize(("hour", "colour"), [("day", (255, 232, 128)), ("night", MOON)])
def test_lights_are_counted(hour, colour):
    scene = replace(SMALL_TREE, hour=hour)
    picture = render(scene, 11)
    lit = np.abs(picture[:40].astype(int) - colour).max(axis=2) < 12
    row, column = (int(at) for at in np.argwhere(lit).mean(axis=0))
    light = (slice(max(row - 13, 0), row + 13), slice(column - 13, column + 13))
    beside = min(max((column + 64) % 128, 13), 115)
    twice, none = picture.copy(), picture.copy()
    twice[light[0], beside - 13 : beside + 13] = picture[light]
    none[light] = picture[light[0], 0:1]
    assert anatomy.examine(picture, scene).lights == 1
    assert anatomy.examine(twice, scene).slips == ["2 lights in the sky"]
    assert anatomy.examine(none, scene).slips == ["no light in the sky"]


def test_a_smeared_thing_is_found():
    picture = render(HOUSE, 3)
    smear = blurred(picture[None], 7)[0]
    assert "house smeared" in anatomy.examine(smear, HOUSE).slips
    sharp, soft, softer = (
        anatomy.examine(one, HOUSE).things[0]
        for one in (picture, blurred(picture[None], 1)[0], blurred(picture[None], 2)[0])
    )
    assert sharp.sharpness > soft.sharpness + 0.2 > softer.sharpness + 0.4
    assert sharp.rest < soft.rest < softer.rest


def test_the_same_thing_twice_is_found():
    picture = render(SMALL_TREE, 7)
    middle = 64 + nearest(picture, SMALL_TREE).across
    other = middle - 45 if middle > 64 else middle + 45
    twice = picture.copy()
    twice[60:110, other - 18 : other + 18] = picture[60:110, middle - 18 : middle + 18]
    assert anatomy.examine(twice, SMALL_TREE).slips == ["the same thing twice"]


# ---- the distance


def test_the_distance_is_the_mean_over_pairs():
    a, b = np.random.default_rng(0).normal(size=(2, 6, 4))

    def k(x, y):
        return (x @ y / 4 + 1) ** 3

    terms = [
        k(a[i], a[j]) + k(b[i], b[j]) - k(a[i], b[j]) - k(b[i], a[j])
        for i in range(6)
        for j in range(6)
        if i != j
    ]
    found = quality.kernel_distance(a, b)
    assert found["value"] == pytest.approx(np.mean(terms))
    without = [quality.kernel_distance(np.delete(a, i, 0), np.delete(b, i, 0))["value"] for i in range(6)]
    assert found["error"] == pytest.approx(np.sqrt(5 / 6 * np.square(without - np.mean(without)).sum()))


def test_the_distance_is_right_on_average_and_so_is_its_error():
    rng = np.random.default_rng(0)

    def draw(n: int, shift: float) -> dict[str, float]:
        scene = rng.normal(size=(n, 8))  # what two pictures of one scene have in common
        return quality.kernel_distance(
            scene + rng.normal(size=(n, 8)) + shift, scene + rng.normal(size=(n, 8))
        )

    none = [draw(20, 0)["value"] for _ in range(400)]
    assert abs(np.mean(none)) < 3 * np.std(none) / 20
    far, farther = ([draw(n, 1) for _ in range(200)] for n in (20, 80))
    values = [one["value"] for one in farther]
    few = [one["value"] for one in far]
    assert abs(np.mean(few) - np.mean(values)) < 3 * np.hypot(np.std(few), np.std(values)) / 200**0.5
    assert np.mean([one["error"] for one in farther]) == pytest.approx(np.std(values), rel=0.3)


def test_the_distance_grows_with_blur_grain_and_tears():
    asked = [prompt for group in adherence.GROUPS for prompt in adherence.prompts(group, 15)]
    truth, others = quality.rendered(asked), quality.rendered(asked, quality.OTHER)
    grain = np.random.default_rng(0).normal(size=others.shape)

    def grainy(strength: float) -> np.ndarray:
        return (others + strength * grain).clip(0, 255).astype(np.uint8)

    rows = {
        "blur": [others, blurred(others, 1), blurred(others, 2), blurred(others, 4)],
        "grain": [others, grainy(10), grainy(20), grainy(40)],
        "tears": [others, torn(others, 3), torn(others, 6), torn(others, 12)],
    }
    judge = Judge.load()
    for name, pictures in rows.items():
        sources = {str(i): some for i, some in enumerate(pictures)}
        found = quality.distances(judge, sources, truth, 15)
        values = [found[source][quality.ALL]["value"] for source in sources]
        assert values == sorted(values) and values[-1] > 5 * abs(values[0]), name


# ---- what is written


def test_a_small_measurement_from_end_to_end(tmp_path, monkeypatch):
    out, kept = tmp_path / "quality.json", tmp_path / "pictures"
    arguments = ["--n", "3", "--steps", "1", "--pictures", str(kept), "--out", str(out), "--device", "cpu"]
    quality.main(arguments)
    results = quality.read_json(out)
    assert out.with_suffix(".md").read_text(encoding="utf-8") == quality.markdown(results)
    assert quality.NOT_YET in quality.markdown(results)
    sheet = Image.open(out.with_suffix(".png"))
    assert sheet.width > 8 * 128 and len(list(kept.glob("*/*.npy"))) == 4
    assert results["tally"]["renders"][quality.ALL]["passed and clean"]["n"] == 12
    assert results["tally"]["painted"][quality.ALL]["passed"]["right"] <= 2  # one step paints nothing

    text = tmp_path / "seen.txt"
    text.write_text("Twelve grey pictures.\n", encoding="utf-8")
    quality.main(["--describe", str(text), "--out", str(out)])
    assert "\nTwelve grey pictures.\n" in out.with_suffix(".md").read_text(encoding="utf-8")

    def refuse(*args):
        raise AssertionError("painted again")

    monkeypatch.setattr(quality, "model_painter", lambda *args: refuse)
    pipe = StableDiffusion.from_pretrained("tiny", "cpu")
    again = quality.painted(pipe, results["settings"], next(kept.iterdir()))
    assert again.shape == (12, 128, 128, 3) and again.dtype == np.uint8


def test_the_tables_are_those_of_the_results():
    results = common.read_results("quality")
    made = (ROOT / "benchmarks" / "quality.md").read_text(encoding="utf-8")
    assert quality.markdown(results) == made and quality.NOT_YET not in made


def test_the_figures_are_of_the_shipped_weights():
    results = common.read_results("quality")
    assert results["model"] == {"name": "tiny", "sha256": common.fingerprint(TINY)}


def test_on_renders_slips_are_rare_and_the_distance_is_nought():
    results = common.read_results("quality")
    floor = results["tally"]["renders"][quality.ALL]
    assert floor["clean"]["right"] / floor["clean"]["n"] >= 0.99
    nought = results["distance"]["renders"][quality.ALL]
    assert abs(nought["value"]) < 3 * nought["error"]
    assert results["distance"]["painted"][quality.ALL]["value"] > 3 * nought["error"]
