"""The surveyor: what it may be shown, and that it finds the parts of renders."""

import numpy as np
import pytest
import torch
from PIL import Image

from minisd.scenes import PARTS, overlap
from minisd.scenes.judge import as_pictures, softened
from minisd.scenes.surveyor import (
    LANDSCAPE,
    SHIPPED,
    Surveyor,
    accuracy,
    astray,
    examples,
    middle,
    shifted,
    things_in,
    train_surveyor,
)


@pytest.fixture(scope="module")
def surveyor() -> Surveyor:
    return Surveyor.load()


@pytest.fixture(scope="module")
def fresh():
    return examples(60, seed=54321)


def test_the_shipped_surveyor_is_small():
    assert SHIPPED.stat().st_size < 500_000
    assert sum(weight.numel() for weight in Surveyor().parameters()) < 200_000


def test_the_parts_of_fresh_renders_are_found(surveyor):
    shares = accuracy(surveyor, n=100, seed=987)
    assert shares["pixels"] > 0.97 and shares["overlap"] > 0.8 and shares["place"] > 0.65, shares


def test_soft_pictures_are_read_as_well(surveyor, fresh):
    images, parts = fresh
    soft = softened(as_pictures(images), torch.Generator().manual_seed(0))
    assert (surveyor.read(soft) == parts).mean() > 0.95


def test_every_form_of_picture_reads_alike(surveyor, fresh):
    images = fresh[0][:5]
    seen = surveyor.read(images)
    assert seen.shape == (5, 128, 128) and seen.dtype == np.uint8 and seen.max() < len(PARTS)
    assert np.array_equal(surveyor.read(images.astype(np.float32) / 255), seen)
    assert np.array_equal(surveyor.read([Image.fromarray(image) for image in images]), seen)
    assert np.array_equal(surveyor.read(images, batch_size=2), seen)
    with pytest.raises(ValueError, match="add a batch axis"):
        surveyor.read(images[0])


def test_pictures_and_parts_are_moved_together(fresh):
    images, parts = fresh
    pictures, moved = shifted(
        as_pictures(images[:2]), torch.from_numpy(parts[:2]), torch.Generator().manual_seed(1)
    )
    assert pictures.shape == (2, 3, 128, 128) and moved.shape == (2, 128, 128) and moved.dtype == torch.long
    assert set(moved.unique().tolist()) <= set(np.unique(parts[:2]).tolist())
    where = [(down, across) for down in range(-5, 6) for across in range(-5, 6)]
    same = [
        (
            np.array_equal(
                np.roll(parts[:2], move, axis=(1, 2))[:, 6:-6, 6:-6], moved.numpy()[:, 6:-6, 6:-6]
            ),
            np.allclose(
                np.roll(as_pictures(images[:2]).numpy(), move, axis=(2, 3))[..., 6:-6, 6:-6],
                pictures.numpy()[..., 6:-6, 6:-6],
            ),
        )
        for move in where
    ]
    assert same.count((True, True)) == 1 and all(a == b for a, b in same)


def test_the_measures():
    mask = np.zeros((20, 20), bool)
    assert middle(mask) is None and astray(mask, ~mask) == float("inf")
    mask[4:7, 10:13] = True
    assert middle(mask) == (5.0, 11.0)
    assert astray(mask, np.roll(mask, (3, 4), axis=(0, 1))) == pytest.approx(5)
    assert things_in(np.array([[0, 1, 2, 5, 5, 10]])) == [5, 10]
    assert PARTS[LANDSCAPE] == "house" and PARTS[LANDSCAPE - 1] == "ground"


def test_it_trains_and_comes_back(tmp_path):
    surveyor = train_surveyor(steps=3, pool=8, batch_size=4)
    surveyor.save(tmp_path / "s.safetensors")
    images, parts = examples(3, 5)
    read = Surveyor.load(tmp_path / "s.safetensors").read(images)
    assert read.shape == parts.shape and 0 <= overlap(read == 0, parts == 0) <= 1
