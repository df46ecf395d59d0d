"""Plans of the little world's pictures: maps, outlines, how they are compared; a ControlNet on them."""

import numpy as np
import pytest
import torch

from minisd import ControlNet
from minisd.scenes import (
    KINDS,
    PARTS,
    Scene,
    Thing,
    edge_agreement,
    outlines,
    overlap,
    parts_of_picture,
    read_map,
    render,
    sample,
    semantic_map,
)
from minisd.scenes.plans import PART_COLOURS, grown
from minisd.scenes.render import PAINT
from minisd.schedule import NoiseSchedule
from minisd.training.data import training_scenes
from minisd.training.examples import Latents, latents_to_denoise
from minisd.training.objectives import ControlNetObjective, UNetObjective
from small import small_pipeline


def scenes(number, seed=5):
    return [sample(np.random.default_rng((seed, i)), "train", full=True) for i in range(number)]


def test_a_map_has_the_things_of_its_scene_and_no_others():
    for seed, scene in enumerate(scenes(40)):
        parts = parts_of_picture(scene, seed)
        assert parts.shape == (128, 128) and parts.dtype == np.uint8
        found = {PARTS[number] for number in np.unique(parts)} - {"sky", "hills", "ground"}
        assert found == {thing.kind for thing in scene.things}
        assert parts[0, 0] == PARTS.index("sky") and parts[-1, -1] == PARTS.index("ground")
        middles = [np.argwhere(parts == PARTS.index(thing.kind))[:, 1].mean() for thing in scene.things]
        assert middles == sorted(middles)  # from left to right, as the scene has them


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_lies_upon_the_picture(kind):
    """By day a thing's own colour is seen inside its part, and as good as nowhere else."""
    scene = Scene((Thing(kind, "purple", "big"),), "snow", "day")
    for seed in range(3):
        picture, inside = (
            render(scene, seed).astype(float),
            parts_of_picture(scene, seed) == PARTS.index(kind),
        )
        tones = np.array(PAINT["purple"]) * np.array([[1.0], [0.82]])
        near = np.min([np.abs(picture - tone).max(axis=-1) for tone in tones], axis=0) < 25
        assert near[inside].mean() > 0.3 and near[~grown(inside, 1)].mean() < 0.01


@pytest.mark.parametrize("size", [32, 128, 200])
def test_a_map_of_another_size_is_the_same_map(size):
    scene = scenes(1)[0]
    small = parts_of_picture(scene, 3, size)
    rows = np.arange(size) * 128 // size
    assert (small == parts_of_picture(scene, 3)[np.ix_(rows, rows)]).mean() > 0.95


def test_a_map_reads_back_even_when_its_colours_were_shifted():
    parts = np.stack([parts_of_picture(scene, 1) for scene in scenes(6)])
    picture = semantic_map(parts)
    assert picture.shape == (6, 128, 128, 3) and np.array_equal(read_map(picture), parts)
    noise = np.random.default_rng(0).integers(-9, 10, picture.shape)
    assert np.array_equal(read_map(np.clip(picture + noise, 0, 255)), parts)


def test_every_part_has_a_colour_far_from_the_others():
    assert PART_COLOURS.shape == (len(PARTS), 3)
    far = np.abs(PART_COLOURS[:, None].astype(int) - PART_COLOURS[None]).sum(axis=-1)
    assert far[~np.eye(len(PARTS), dtype=bool)].min() > 60


def test_outlines_are_white_where_a_picture_changes_and_black_elsewhere():
    picture = np.full((40, 40, 3), 200, np.uint8)
    picture[10:30, 15:25] = (20, 200, 200)  # one colour changes
    drawing = outlines(picture)
    assert drawing.shape == picture.shape and set(np.unique(drawing)) == {0, 255}
    lines = drawing[..., 0] > 0
    assert lines[10, 15:25].all() and lines[12:28, 15].all()
    assert not lines[13:27, 18:22].any() and not lines[:8].any()
    assert np.array_equal(outlines(picture[None])[0], drawing)
    assert not outlines(np.full((8, 8, 3), 77, np.uint8)).any()


def test_outlines_of_renders_are_lines():
    for seed, scene in enumerate(scenes(12)):
        share = (outlines(render(scene, seed))[..., 0] > 0).mean()
        assert 0.01 < share < 0.15


def test_the_measures():
    a = np.zeros((20, 20), bool)
    a[5:15, 5:15] = True
    b = np.roll(a, 5, axis=1)
    assert overlap(a, a) == 1 and overlap(a, ~a) == 0 and overlap(~a & a, a & ~a) == 1
    assert overlap(a, b) == pytest.approx(50 / 150)
    drawings = [np.zeros((20, 20, 3), np.uint8) for _ in range(4)]
    for drawing, column in zip(drawings, (8, 9, 12)):
        drawing[:, column] = 255
    line, beside, away, empty = drawings
    assert edge_agreement(line, line) == edge_agreement(line, beside) == edge_agreement(empty, empty) == 1
    assert edge_agreement(line, away) == edge_agreement(line, empty) == 0
    assert edge_agreement(line, away, reach=4) == 1
    half = line.copy()
    half[10:] = 0
    assert edge_agreement(line, half, reach=0) == pytest.approx(2 * 0.5 / 1.5)


# ---- training


@pytest.fixture
def task():
    """A small pipeline and examples for it: scenes, latents, plans."""
    pipe, shown = small_pipeline(), training_scenes(6, 0)
    rng = np.random.default_rng(0)
    mean = rng.standard_normal((6, 4, 8, 8)).astype(np.float16)
    latents = Latents(mean, np.full_like(mean, 0.1), pipe.vae.scaling_factor)
    plans = np.stack([semantic_map(parts_of_picture(scene, i, 64)) for i, scene in enumerate(shown)])
    return pipe, shown, latents, plans


def test_a_plan_goes_with_its_own_picture(task):
    pipe, shown, latents, plans = task
    draw = latents_to_denoise(shown, latents, pipe.tokenizer, 0.1, 1000, plans)
    *rest, plan = draw(np.random.default_rng(3), 9)
    without = latents_to_denoise(shown, latents, pipe.tokenizer, 0.1, 1000)(np.random.default_rng(3), 9)
    assert len(rest) == len(without) and all(torch.equal(a, b) for a, b in zip(rest, without))
    assert plan.shape == (9, 3, 64, 64) and 0 <= plan.min() < plan.max() <= 1
    for mean, picture in zip(rest[1], plan):
        i = next(i for i in range(6) if np.array_equal(latents.mean[i], mean.numpy().astype(np.float16)))
        assert np.abs(plans[i].transpose(2, 0, 1) / 255 - picture.numpy()).max() < 1e-6


def test_a_new_controlnet_has_the_unets_loss_and_learns_without_moving_it(task):
    pipe, shown, latents, plans = task
    net = ControlNet.from_unet(pipe.unet, (4, 6, 8, 12))
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    schedule = NoiseSchedule.scaled_linear()
    made_of = pipe.text_encoder, schedule, latents.scale, 5.0
    objective, plain = ControlNetObjective(net, pipe.unet, *made_of), UNetObjective(pipe.unet, *made_of)
    assert {name for name, p in objective.named_parameters() if p.requires_grad} == {
        f"net.{name}" for name in net.state_dict()
    }
    draw = latents_to_denoise(shown, latents, pipe.tokenizer, 0.0, 1000, plans)
    batch = draw(np.random.default_rng(1), 3)
    with torch.no_grad():
        assert torch.equal(objective(*batch), plain(*batch[:-1]))
    optimizer, losses = torch.optim.AdamW(net.parameters(), 0.01), []
    for _ in range(12):
        loss = objective(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(before[name], tensor) for name, tensor in pipe.unet.state_dict().items())
