"""The little world: what a scene may be, its pictures, its captions and its splits."""

import multiprocessing
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisd.scenes import (
    COLOURS,
    GROUNDS,
    HELD_OUT,
    HOURS,
    KINDS,
    SIZES,
    Scene,
    Thing,
    caption,
    loosened,
    parse,
    render,
    render_many,
    sample,
    unknown_words,
    vocabulary,
)
from minisd.scenes.captions import ANYWHERE, FRAMES, LEFT_RIGHT
from minisd.scenes.render import PAINT, SHADE, TINT, place

seeds = st.integers(0, 2**32 - 1)


@st.composite
def all_scenes(draw, numbers=(1, 2)):
    kinds = draw(st.permutations(KINDS))[: draw(st.sampled_from(numbers))]
    things = tuple(
        Thing(kind, draw(st.sampled_from(COLOURS)), draw(st.sampled_from((None, *SIZES)))) for kind in kinds
    )
    ground, hour = draw(st.sampled_from((None, *GROUNDS))), draw(st.sampled_from((None, *HOURS)))
    return Scene(things, ground, hour, ordered=draw(st.booleans()))


pairs = all_scenes(numbers=(2,))
scene = parse("a small red house left of a big yellow tent on sand at sunset")


# ---------------------------------------------------------------- scenes


@given(all_scenes(), seeds)
def test_a_completed_scene_keeps_what_was_stated(scene, seed):
    full = scene.complete(np.random.default_rng(seed))
    assert scene.admits(full)
    assert full.ordered and None not in (full.ground, full.hour, *(thing.size for thing in full.things))
    assert full.complete(np.random.default_rng(seed + 1)) == full


@given(all_scenes(), seeds)
def test_an_altered_scene_differs_in_exactly_one_stated_attribute(scene, seed):
    other = scene.altered(np.random.default_rng(seed))

    def values(scene):
        of_things = [value for thing in scene.things for value in (thing.kind, thing.colour, thing.size)]
        return [*of_things, scene.ground, scene.hour, scene.ordered]

    changed = [(a, b) for a, b in zip(values(scene), values(other), strict=True) if a != b]
    assert len(changed) == 1 and None not in changed[0]
    full = Scene(scene.things, scene.ground, scene.hour).complete(np.random.default_rng(seed))
    assert not other.admits(full) or not scene.ordered


@given(pairs, seeds)
def test_flipping_and_swapping(scene, seed):
    assert scene.flipped().flipped() == scene and scene.colours_swapped().colours_swapped() == scene
    full = scene.complete(np.random.default_rng(seed))
    assert scene.admits(full.flipped()) != scene.ordered
    same_colour = scene.things[0].colour == scene.things[1].colour
    assert (scene.colours_swapped() == scene) == same_colour
    if not same_colour:
        assert not scene.admits(full.colours_swapped())


def test_a_scene_does_not_admit_another_number_of_things():
    one = Scene(scene.things[:1], scene.ground, scene.hour)
    assert not one.admits(scene) and not scene.admits(one)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: Thing("castle", "red"), "'castle' is not a kind: choose one of house"),
        (lambda: Thing("house", None), "not a colour"),
        (lambda: Thing("house", "red", "huge"), "choose one of small, big"),
        (lambda: Scene((Thing("house", "red"),), ground="water"), "choose one of grass, sand, snow"),
        (lambda: Scene((Thing("house", "red"),), hour="noon"), "choose one of day, sunset, night"),
        (lambda: Scene(()), "one or two things"),
        (lambda: Scene([Thing("house", "red")]), "tuple"),
        (lambda: Scene((Thing("house", "red"), Thing("house", "blue"))), "must differ in kind"),
        (lambda: Scene((Thing("house", "red"),)).flipped(), "give it a second thing"),
        (lambda: Scene((Thing("house", "red"),)).colours_swapped(), "give it a second thing"),
        (lambda: sample(np.random.default_rng(0), "test"), "choose one of train, held_out"),
        (lambda: sample(np.random.default_rng(0), things=3), "pass 1, 2 or None"),
        (lambda: render_many([scene], [1, 2]), "1 scenes and 2 seeds"),
    ],
)
def test_errors_say_what_to_do(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


# ---------------------------------------------------------------- captions


@given(all_scenes(), seeds)
@settings(max_examples=400)
def test_every_caption_reads_back_as_its_scene(scene, seed):
    text = caption(scene, np.random.default_rng(seed))
    assert parse(text) == scene
    assert parse(f"  {text.upper()}. ") == scene
    assert len(text.split()) < 30 and unknown_words(text) == []


def test_no_two_meanings_share_a_caption():
    rng, meaning = np.random.default_rng(0), {}
    for _ in range(5000):
        scene = sample(rng)
        assert meaning.setdefault(caption(scene, rng), scene) == scene


def test_every_frame_and_join_is_used():
    rng = np.random.default_rng(0)
    scene = Scene((Thing("house", "red"), Thing("tent", "blue")), "sand", "night")
    for ordered, joins in ((True, LEFT_RIGHT), (False, ANYWHERE)):
        for join in joins:
            words = join.format(a="a red house", b="a blue tent")
            found = {caption(Scene(scene.things, None, None, ordered), rng) for _ in range(300)}
            assert words in found
    texts = {caption(scene, rng) for _ in range(3000)}
    assert len(texts) > 20 * len(FRAMES[True, True])


@pytest.mark.parametrize(
    "text, scene",
    [
        ("a red house", Scene((Thing("house", "red"),))),
        ("An orange car at night!", Scene((Thing("car", "orange"),), hour="night")),
        (
            "a red house and a yellow tent in the snow at night",
            Scene((Thing("house", "red"), Thing("tent", "yellow")), "snow", "night", ordered=False),
        ),
        (
            "a small red house left of a big yellow tent on sand at sunset",
            Scene((Thing("house", "red", "small"), Thing("tent", "yellow", "big")), "sand", "sunset"),
        ),
        (
            "a large yellow tent to the right of a little red house",
            Scene((Thing("house", "red", "small"), Thing("tent", "yellow", "big"))),
        ),
        ("a snowy night with a white tree", Scene((Thing("tree", "white"),), "snow", "night")),
    ],
)
def test_plain_forms_are_in_the_grammar(text, scene):
    assert parse(text) == scene


@pytest.mark.parametrize(
    "text, message",
    [
        ("a red dragon", "does not know 'dragon': use the words of"),
        ("a house", "write it like 'a small red house"),
        ("", "write it like"),
        ("a red house left of a blue house", "must differ in kind"),
        ("a red house on sand on snow", "write it like"),
    ],
)
def test_a_text_outside_the_grammar_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_vocabulary_and_unknown_words():
    known = vocabulary()
    assert known["kinds"] == KINDS and known["colours"] == COLOURS and "in the snow" in known["grounds"]
    assert unknown_words("A red Dragon, a dragon & a house on the beach") == ["dragon", "beach"]


# ---------------------------------------------------------------- splits


def test_held_out_pairs_are_a_permutation():
    assert sorted(colour for colour, _ in HELD_OUT) == sorted(COLOURS)
    assert sorted(kind for _, kind in HELD_OUT) == sorted(KINDS)


@given(seeds, st.sampled_from(["train", "held_out"]), st.sampled_from([None, 1, 2]), st.booleans())
def test_splits_never_leak(seed, split, things, full):
    scene = sample(np.random.default_rng(seed), split, things, full)
    held = [(thing.colour, thing.kind) in HELD_OUT for thing in scene.things]
    assert any(held) == (split == "held_out")
    assert things in (None, len(scene.things))
    if full:
        assert scene == scene.complete(np.random.default_rng(0))


def test_sampled_shares():
    rng = np.random.default_rng(0)
    scenes = [sample(rng) for _ in range(4000)]
    twos = [scene for scene in scenes if len(scene.things) == 2]
    assert abs(len(twos) / len(scenes) - 0.6) < 0.03
    assert abs(np.mean([scene.ordered for scene in twos]) - 0.8) < 0.03
    assert abs(np.mean([scene.hour is not None for scene in scenes]) - 0.75) < 0.03
    held = [sample(rng, "held_out", 2) for _ in range(4000)]
    first = np.mean([(s.things[0].colour, s.things[0].kind) in HELD_OUT for s in held])
    assert 0.4 < first < 0.7  # either position


@given(all_scenes(), seeds)
def test_a_loosened_scene_states_nothing_false(scene, seed):
    rng = np.random.default_rng(seed)
    full = scene.complete(rng)
    loose = loosened(full, rng)
    assert loose.admits(full)


# ---------------------------------------------------------------- pictures


def test_a_picture_is_the_same_in_another_process_and_differs_by_seed():
    here = render(scene, 7)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(render, (scene, 7))
    assert here.shape == (128, 128, 3) and here.dtype == np.uint8
    assert np.abs(here.astype(int) - there).max() == 0
    assert np.abs(here.astype(int) - render(scene, 8)).max() > 30


def test_many_pictures_equal_single_ones():
    rng = np.random.default_rng(0)
    scenes = [sample(rng) for _ in range(70)]
    many = render_many(scenes, range(70), workers=2)
    single = np.stack([render(scene, seed) for seed, scene in enumerate(scenes)])
    assert many.shape == single.shape and np.abs(many.astype(int) - single).max() == 0


@given(all_scenes(), st.integers(0, 10_000))
@settings(max_examples=20)
def test_open_attributes_are_filled_from_the_seed(scene, seed):
    full = scene.complete(np.random.default_rng(seed))
    assert np.abs(render(scene, seed).astype(int) - render(full, seed)).max() == 0


@given(all_scenes(), seeds)
def test_things_keep_apart_and_in_the_frame(scene, seed):
    rng = np.random.default_rng(seed)
    placed = place(scene.complete(rng).things, rng)
    for one in placed:
        assert one.x - one.half_width > -1 and one.x + one.half_width < 129
    if len(placed) == 2:
        left, right = placed
        assert left.x + left.half_width < right.x - right.half_width


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hour", HOURS)
def test_the_colour_named_is_the_colour_seen(kind, hour):
    """Most pixels that change with the thing's colour are nearest to that paint, lit or in shade."""
    tones = [np.array(PAINT[c]) * TINT[hour] * shade for c in COLOURS for shade in (np.ones(3), SHADE)]
    for colour in COLOURS:
        other = COLOURS[(COLOURS.index(colour) + 4) % 8]
        picture, changed = (
            render(Scene((Thing(kind, c, "big"),), "grass", hour), 3).astype(float) for c in (colour, other)
        )
        own = picture[np.abs(picture - changed).max(-1) > 25]
        assert len(own) > 500
        nearest = np.linalg.norm(own[:, None] - tones, axis=-1).argmin(1) // 2
        assert COLOURS[np.bincount(nearest, minlength=8).argmax()] == colour


@pytest.mark.parametrize("size", [32, 64, 256])
def test_other_sizes_show_the_same_picture(size):
    picture, full = render(scene, 5, size), render(scene, 5)
    assert picture.shape == (size, size, 3)
    assert np.abs(picture.mean((0, 1)) - full.mean((0, 1))).max() < 1.5


@pytest.mark.parametrize("size", [24, 48, 96])
def test_small_pictures_are_smooth_not_jagged(size):
    """They are near to a large picture that was averaged down."""
    large = render(scene, 5, 4 * size).astype(float)
    averaged = large.reshape(size, 4, size, 4, 3).mean((1, 3))
    wrong, jagged = (np.abs(small - averaged).mean() for small in (render(scene, 5, size), large[::4, ::4]))
    assert wrong < 2.5 and wrong < 0.8 * jagged


@pytest.mark.parametrize("size", [0, -3])
def test_a_picture_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match=f"a picture's size is {size}: give the pixels"):
        render(scene, 5, size)


def test_only_a_complete_scene_is_placed():
    with pytest.raises(ValueError, match=r"call complete\(\) first"):
        place((Thing("house", "red"),), np.random.default_rng(0))


def test_rendering_is_fast():
    rng = np.random.default_rng(0)
    scenes = [sample(rng) for _ in range(200)]
    start = time.process_time()
    for seed, scene in enumerate(scenes):
        render(scene, seed)
    each = (time.process_time() - start) / 200
    assert each * 10_000 / 2 < 120, f"{1000 * each:.1f} ms a picture"
