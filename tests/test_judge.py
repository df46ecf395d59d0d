"""The judge: what it may be shown, and that it reads renders right."""

import numpy as np
import pytest
import torch
from PIL import Image

from minisd.scenes.judge import (
    NOT_ASKED,
    QUESTIONS,
    SHIPPED,
    Judge,
    accuracy,
    as_pictures,
    examples,
    labels,
    spoil,
    train_judge,
)
from minisd.scenes.splits import HELD_OUT
from minisd.scenes.world import KINDS, Scene, Thing

ONE = Scene((Thing("car", "pink", "big"),), "snow", "night")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load()


@pytest.fixture(scope="module")
def fresh():
    return examples(300, seed=12345)


def test_the_shipped_judge_is_small():
    assert SHIPPED.stat().st_size < 1_000_000
    assert 200_000 < sum(weight.numel() for weight in Judge().parameters()) < 400_000


def test_fresh_renders_are_read_right(judge):
    shares = accuracy(judge, n=1000, seed=987)
    assert set(shares) == {"number", "kind", "colour", "size", "place", "ground", "hour", "whole"}
    assert min(share for name, share in shares.items() if name != "whole") > 0.99, shares
    assert shares["whole"] > 0.98, shares


def test_soft_pictures_are_read_right_too(judge, fresh):
    images, scenes = fresh
    spoilt = spoil(as_pictures(images), torch.Generator().manual_seed(0))
    assert np.mean([seen == scene for seen, scene in zip(judge.read(spoilt), scenes, strict=True)]) > 0.95


def test_held_out_pairs_are_read_as_well_as_the_others(judge, fresh):
    images, scenes = fresh
    held = [any((t.colour, t.kind) in HELD_OUT for t in scene.things) for scene in scenes]
    right = np.array([seen == scene for seen, scene in zip(judge.read(images), scenes, strict=True)])
    assert sum(held) > 50 and right[held].mean() > 0.96


def test_every_form_of_picture_reads_alike(judge, fresh):
    images = fresh[0][:5]
    seen = judge.read(images)
    assert judge.read(images.astype(np.float32) / 255) == seen
    assert judge.read([Image.fromarray(image) for image in images]) == seen
    assert judge.read(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1) == seen
    assert judge.read(images, batch_size=2) == seen


def test_the_judge_always_names_a_valid_complete_scene(judge):
    noise = np.random.default_rng(0).integers(0, 256, (40, 128, 128, 3), dtype=np.uint8)
    for scene in judge.read(noise):
        assert scene.ordered and scene == scene.complete(np.random.default_rng(0))


def test_wrong_shapes_are_refused(judge):
    with pytest.raises(ValueError, match="add a batch axis"):
        judge.read(np.zeros((128, 128, 3), np.uint8))
    with pytest.raises(ValueError, match="resize them"):
        judge.read(np.zeros((1, 64, 64, 3), np.uint8))


def test_labels_leave_out_the_thing_that_is_not_there():
    found = dict(zip(QUESTIONS, labels(ONE), strict=True))
    assert found["left kind"] == KINDS.index("car") and found["number"] == 0
    assert {answer for question, answer in found.items() if question.startswith("right")} == {NOT_ASKED}


def test_logits_have_one_row_a_picture():
    logits = Judge()(torch.zeros(2, 3, 128, 128))
    assert {question: tuple(found.shape) for question, found in logits.items()} == {
        question: (2, len(answers)) for question, answers in QUESTIONS.items()
    }


def test_training_runs_and_the_file_reads_back(tmp_path):
    judge = train_judge(steps=4, pool=70, batch_size=8)
    judge.save(tmp_path / "judge.safetensors")
    again = Judge.load(tmp_path / "judge.safetensors")
    for name, weight in judge.state_dict().items():
        assert (weight - again.state_dict()[name]).abs().max() <= 1e-3 * max(1, weight.abs().max())
