"""Stable Diffusion 1.5 at its full size, with random weights, against diffusers and transformers: pytest -m
full.

About five minutes on 2 cores, 9 GB of memory and 9 GB of disk. One network at a time: ours and the reference
share the tensors of one random checkpoint.
"""

import gc
import math
import shutil
import sys
from pathlib import Path

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import save_file

from minisd import SD15, AutoencoderKL, StableDiffusion, TextEncoder, UNet
from minisd.checkpoint import build_empty
from minisd.sd15 import published_shapes
from small import assert_same, write_configs

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import loading

pytestmark = pytest.mark.full
TOLERANCE = 2e-5  # of the largest number in the reference output
SIZES = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}


@pytest.fixture(autouse=True)
def one_at_a_time():
    with torch.inference_mode():
        yield
    gc.collect()


def rand(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(part, build, reference):
    """Our network and the reference's on the same random tensors; the reference is built from the same
    config.
    """
    shapes = published_shapes(part)
    assert sum(map(math.prod, shapes.values())) == SIZES[part]
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in shapes.items():
        tensors[name] = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            tensors[name].mul_(0.2).add_(name.endswith("weight"))
        else:
            tensors[name].div_(math.prod(shape[1:]) ** 0.5)
    ours = build_empty(build, SD15[part])
    ours.load_state_dict(tensors, strict=True, assign=True)
    with torch.device("meta"):
        theirs = reference()
    own = theirs.state_dict()
    tensors = {
        name if name in own else name.removeprefix("text_model."): tensor for name, tensor in tensors.items()
    }
    theirs.load_state_dict(tensors, strict=True, assign=True)
    return ours.eval(), theirs.eval()


def test_the_unet():
    ours, theirs = pair("unet", UNet, lambda: diffusers.UNet2DConditionModel.from_config(SD15["unet"]))
    context = rand(1, 77, 768, seed=2)
    for size, t in (((64, 64), 981), ((24, 40), 1), ((37, 29), 500)):
        z = rand(1, 4, *size)
        assert_same(ours(z, t, context), theirs(z, t, context).sample, TOLERANCE)


def test_the_vae():
    ours, theirs = pair("vae", AutoencoderKL, lambda: diffusers.AutoencoderKL.from_config(SD15["vae"]))
    assert ours.scaling_factor == theirs.config.scaling_factor == 0.18215
    for height, width in ((64, 64), (24, 40)):
        x = rand(1, 3, 8 * height, 8 * width).clamp(-1, 1)
        a, b = ours.encode(x), theirs.encode(x).latent_dist
        assert_same(a.mean, b.mean, TOLERANCE)
        assert_same(a.std, b.std, TOLERANCE)
        z = rand(1, 4, height, width)
        assert_same(ours.decode(z), theirs.decode(z).sample, TOLERANCE)


def text_reference():
    net = transformers.CLIPTextModel(transformers.CLIPTextConfig(**SD15["text_encoder"]))
    for module in net.modules():  # a buffer that no file holds, and that the meta device left without numbers
        if "position_ids" in module._buffers:
            module.position_ids = torch.arange(77, device="cpu")[None]
    return net


def test_the_text_encoder():
    ours, theirs = pair("text_encoder", TextEncoder, text_reference)
    ids = torch.randint(49406, (3, 77), generator=torch.Generator().manual_seed(1))
    ids[:, 0], ids[0, 9:], ids[1, 76:], ids[2, 1:] = 49406, 49407, 49407, 49407
    assert_same(ours(ids), theirs(ids).last_hidden_state, TOLERANCE)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A single file with exactly the published names and shapes, a tokenizer beside it."""
    path = tmp_path_factory.mktemp("full") / "v1-5.safetensors"
    tensors = loading.random_checkpoint()
    assert len(tensors) == 1131
    save_file(tensors, path)
    loading.tokenizer_of_full_size().save(path.parent / "tokenizer")
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def configs(file):
    """A folder of configs, for diffusers."""
    folder = file.parent / "configs"
    write_configs(folder, SD15)
    (file.parent / "tokenizer").rename(folder / "tokenizer")
    (file.parent / "tokenizer").symlink_to(folder / "tokenizer")
    return folder


def assert_equal(ours, theirs):
    for part in SIZES:
        a, b = getattr(ours, part).state_dict(), getattr(theirs, part).state_dict()
        a = {name.removeprefix("text_model."): tensor for name, tensor in a.items()}
        b = {name.removeprefix("text_model."): tensor for name, tensor in b.items()}
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def folder(tmp_path):
    """Room for the folder layout: 4.3 GB that are not left behind."""
    yield tmp_path / "folder"
    shutil.rmtree(tmp_path / "folder")


def test_both_layouts_are_read_as_diffusers_reads_them(file, configs, folder):
    theirs = diffusers.StableDiffusionPipeline.from_single_file(
        file, config=str(configs), local_files_only=True, safety_checker=None
    )
    single = StableDiffusion.from_pretrained(file, "cpu")
    assert_equal(single, theirs)
    theirs.save_pretrained(folder)
    del theirs
    # transformers 5 writes the tokenizer as tokenizer.json alone; the published folders hold merges.txt.
    assert_equal(StableDiffusion.from_pretrained(folder, "cpu", tokenizer=configs / "tokenizer"), single)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory figures of Linux")
def test_loading_takes_no_memory_of_its_own_and_no_more_than_diffusers(file, configs, folder):
    size = file.stat().st_size
    StableDiffusion.from_pretrained(file, "cpu").save_pretrained(folder)
    found = {way: loading.measure(way, folder, file) for way in loading.WAYS}
    for what in ("folder", "single file"):
        ours, theirs = found[f"{what}, minisd"], found[f"{what}, diffusers"]
        assert ours["peak"] <= theirs["peak"] < 1.15 * size  # mapped pages included
        assert ours["own"] < 0.1 * size
