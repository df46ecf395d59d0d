"""The single-file layout written: there and back for networks of any size, and opened by other programs."""

import dataclasses
import importlib.util
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

import minisd
from minisd import SD15, AutoencoderKL, TextEncoder, UNet
from minisd.checkpoint import TEXT_WEIGHTS, WEIGHTS, build_empty, load_model
from minisd.config import UNetConfig, VAEConfig
from minisd.sd15 import published_shapes
from minisd.single_file import (
    load_single_file,
    load_vae,
    read_settings,
    save_single_file,
    unet_name,
    vae_name,
)
from minisd.tensors import CHECKSUM, intact
from minisd.tokenizer import BPE
from small import SCHEDULER, SENTENCES, assert_same, randomise, write_configs

TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 600,
}
BUILDS = (TextEncoder, UNet, AutoencoderKL)


def unet_config(attention, layers):
    """A U-Net with as many levels as `attention`, which says if each attends, from the top down."""
    cross = ["CrossAttn" if yes else "" for yes in attention]
    return {
        "sample_size": 8,
        "block_out_channels": [8 * (i + 1) for i in range(len(attention))],
        "layers_per_block": layers,
        "down_block_types": [f"{kind}DownBlock2D" for kind in cross],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(cross)],
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }


def vae_config(levels, layers):
    return {
        "block_out_channels": [8] * levels,
        "layers_per_block": layers,
        "norm_num_groups": 4,
        "sample_size": 32,
        "scaling_factor": 0.4,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }


SHAPES = {
    "one level": ([True], 1, 1, 1),
    "two levels, as tiny": ([False, True], 1, 4, 1),
    "attention above": ([True, False], 1, 2, 2),
    "three layers": ([True, False, True], 3, 3, 3),
    "four levels, as SD 1.5": ([True, True, True, False], 2, 4, 2),
    "five levels": ([False, True, False, True, True], 1, 5, 1),
}


def networks(attention, unet_layers, vae_levels, vae_layers):
    configs = (TEXT, unet_config(attention, unet_layers), vae_config(vae_levels, vae_layers))
    return tuple(randomise(build(config)) for build, config in zip(BUILDS, configs, strict=True))


@pytest.fixture(params=SHAPES)
def nets(request):
    return networks(*SHAPES[request.param])


@pytest.fixture(scope="module")
def few():
    return networks([False, True], 1, 2, 1)


def assert_equal(ours, theirs, dtype=torch.float32):
    for a, b in zip(ours, theirs, strict=True):
        a, b = a.state_dict(), b.state_dict()
        assert a.keys() == b.keys()
        assert all(a[name].dtype == dtype and torch.equal(a[name], b[name].to(dtype)) for name in a)


# ---- there and back


def test_what_is_exported_comes_back_bit_for_bit(nets, tmp_path):
    path = tmp_path / "model.safetensors"
    save_single_file(*nets, path)
    back = load_single_file(path, "cpu", torch.float32)
    assert_equal(back, nets)
    assert [net.config for net in back] == [net.config for net in nets]


def test_no_two_tensors_have_one_name(nets):
    _, unet, vae = nets
    for net, rename in ((unet, unet_name), (vae, vae_name)):
        names = list(net.state_dict())
        assert len({rename(name, net.config) for name in names}) == len(names)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_is_written_in_the_precision_asked_for(few, tmp_path, dtype):
    path = tmp_path / "half.safetensors"
    save_single_file(*few, path, dtype)
    kinds = {tensor.dtype for name, tensor in load_file(path).items() if not name.endswith("position_ids")}
    assert kinds == {dtype}
    assert_equal(load_single_file(path, "cpu", dtype), few, dtype)


def test_the_settings_come_back(few, tmp_path):
    path = tmp_path / "model.safetensors"
    save_single_file(*few, path, scheduler=SCHEDULER, guidance_scale=3.0)
    settings = read_settings(path)
    assert settings["scheduler"] == SCHEDULER and settings["guidance_scale"] == 3.0
    assert settings["unet"] == few[1].config.to_dict()


def test_tiny_is_the_same_networks_in_one_file(tmp_path):
    tiny = Path(minisd.__file__).with_name("tiny")
    weights = {"text_encoder": TEXT_WEIGHTS, "unet": WEIGHTS, "vae": WEIGHTS}
    nets = [
        load_model(build, tiny / part, name, "cpu", torch.float32)
        for build, (part, name) in zip(BUILDS, weights.items(), strict=True)
    ]
    save_single_file(*nets, tmp_path / "tiny.safetensors")
    assert_equal(load_single_file(tmp_path / "tiny.safetensors", "cpu", torch.float32), nets)
    vae = load_vae(tmp_path / "tiny.safetensors", "cpu", torch.float32)
    assert vae.config == nets[2].config


def test_an_inpainting_model_comes_back(few, tmp_path):
    text, unet, vae = few
    nine = randomise(UNet(dataclasses.replace(unet.config, in_channels=9)))
    save_single_file(text, nine, vae, tmp_path / "x.safetensors")
    assert_equal(load_single_file(tmp_path / "x.safetensors", "cpu", torch.float32), (text, nine, vae))


def test_a_failed_export_leaves_nothing(few, tmp_path, monkeypatch):
    def write_half(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("minisd.checkpoint.save_file", write_half)
    with pytest.raises(OSError):
        save_single_file(*few, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


# ---- the checksum


def test_every_flipped_bit_of_a_tensor_is_noticed(few, tmp_path):
    path = tmp_path / "x.safetensors"
    save_single_file(*few, path)
    data, missed = bytearray(path.read_bytes()), []
    start = 8 + int.from_bytes(data[:8], "little")
    assert intact(path) is True
    for place in range(start, len(data), (len(data) - start) // 23):
        data[place] ^= 16
        path.write_bytes(data)
        missed += [place] if intact(path) is not False else []
        with pytest.raises(ValueError, match="is damaged: its numbers are not .* train or fetch it again"):
            load_single_file(path, "cpu", torch.float32)
        data[place] ^= 16
    assert missed == []


def test_a_file_without_a_checksum_is_read_as_it_is(few, tmp_path):
    path = tmp_path / "x.safetensors"
    save_single_file(*few, path)
    with safe_open(path, "pt") as file:
        metadata = {key: text for key, text in file.metadata().items() if key != CHECKSUM}
    save_file(load_file(path), path, metadata)
    assert intact(path) is None
    assert_equal(load_single_file(path, "cpu", torch.float32), few)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"unet": 3}', "[" * 100000, '{"vae": null}'], ids=repr)
def test_settings_that_are_none(few, tmp_path, text):
    path = tmp_path / "x.safetensors"
    save_single_file(*few, path)
    save_file(load_file(path), path, {"minisd.settings": text})
    with pytest.raises(
        ValueError, match="x.safetensors is damaged: its minisd.settings is no JSON"
    ) as caught:
        load_single_file(path, "cpu", torch.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("unet", [{"sample_size": "4"}, {"layers_per_block": -1}, {"act_fn": "relu"}])
def test_settings_that_are_no_config(few, tmp_path, unet):
    path = tmp_path / "x.safetensors"
    save_single_file(*few, path)
    settings = read_settings(path) | {"unet": unet}
    save_file(load_file(path), path, {"minisd.settings": json.dumps(settings)})
    with pytest.raises(ValueError, match=r"x.safetensors \(model.diffusion_model..\): U-Net: ") as caught:
        load_single_file(path, "cpu", torch.float32)
    assert "\n" not in str(caught.value)


# ---- the published layout, and other programs


def narrow(config, by=32):
    """A config of Stable Diffusion 1.5 with its names and a fraction of its widths."""
    widths = [width // by for width in config["block_out_channels"]]
    return {**config, "block_out_channels": widths, "norm_num_groups": 2}


SMALL_TEXT = {**SD15["text_encoder"], "hidden_size": 24, "intermediate_size": 96, "num_attention_heads": 4}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Stable Diffusion 1.5 in small: its networks, the exported file, and a folder of configs."""
    folder = tmp_path_factory.mktemp("exported")
    tokenizer = BPE.train(SENTENCES, 560)
    tokenizer.save(folder / "configs/tokenizer")
    unet = {**narrow(SD15["unet"]), "cross_attention_dim": 24, "attention_head_dim": 2, "sample_size": 8}
    configs = {
        "text_encoder": {**SMALL_TEXT, "vocab_size": len(tokenizer)},
        "unet": unet,
        "vae": {**narrow(SD15["vae"]), "sample_size": 64},
    }
    nets = tuple(randomise(build(configs[part])) for build, part in zip(BUILDS, configs, strict=True))
    save_single_file(*nets, folder / "model.safetensors", scheduler=SD15["scheduler"])
    write_configs(folder / "configs", {**configs, "scheduler": SD15["scheduler"]})
    return nets, folder / "model.safetensors", folder / "configs"


def test_the_names_are_the_published_ones(exported):
    shapes = {name: tuple(tensor.shape) for name, tensor in load_file(exported[1]).items()}
    published = published_shapes("single-file")
    assert shapes.keys() == published.keys()
    assert all(len(shapes[name]) == len(published[name]) for name in shapes)  # 1x1 convolutions among them


def test_diffusers_opens_what_we_export_and_computes_the_same(exported):
    (text, unet, vae), path, configs = exported
    theirs = diffusers.StableDiffusionPipeline.from_single_file(
        path, config=str(configs), local_files_only=True
    )
    assert isinstance(theirs.tokenizer, CLIPTokenizer)
    ids = torch.randint(500, (2, 77), generator=torch.Generator().manual_seed(0))
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        context = text(ids)
        assert_same(context, theirs.text_encoder(ids).last_hidden_state)
        assert_same(unet(latents, 500, context), theirs.unet(latents, 500, context).sample)
        assert_same(vae.decode(latents), theirs.vae.decode(latents).sample)


# ---- at full size


def full_size(build, part):
    """A network of Stable Diffusion 1.5's size with random weights in half precision."""
    net, tensors = build_empty(build, SD15[part]), {}
    generator = torch.Generator().manual_seed(0)
    for name, empty in net.state_dict().items():
        noise = torch.randn(empty.shape, generator=generator)
        scaled = (
            0.2 * noise + name.endswith("weight")
            if empty.ndim == 1
            else noise / math.prod(empty.shape[1:]) ** 0.5
        )
        tensors[name] = scaled.half()
    net.load_state_dict(tensors, assign=True)
    return net


@pytest.fixture(scope="module")
def full_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "model.safetensors"
    nets = [
        full_size(*each) for each in ((TextEncoder, "text_encoder"), (UNet, "unet"), (AutoencoderKL, "vae"))
    ]
    save_single_file(*nets, path, torch.float16, SD15["scheduler"])
    yield path
    path.unlink()


@pytest.mark.full
def test_at_full_size_it_has_the_published_shapes(full_file):
    with safe_open(full_file, "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert shapes == published_shapes("single-file")
    assert intact(full_file) is True


@pytest.mark.full
def test_at_full_size_diffusers_opens_it(full_file, tmp_path):
    write_configs(tmp_path, {part: SD15[part] for part in ("text_encoder", "unet", "vae", "scheduler")})
    BPE.train(SENTENCES, 560).save(tmp_path / "tokenizer")
    theirs = diffusers.StableDiffusionPipeline.from_single_file(
        full_file, config=str(tmp_path), local_files_only=True, torch_dtype=torch.float16
    )
    for ours, net in zip(
        load_single_file(full_file, "cpu", torch.float16),
        (theirs.text_encoder, theirs.unet, theirs.vae),
        strict=True,
    ):
        found = {name.removeprefix("text_model."): tensor for name, tensor in ours.state_dict().items()}
        wanted = {name.removeprefix("text_model."): tensor for name, tensor in net.state_dict().items()}
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in found)


@pytest.mark.full
@pytest.mark.skipif(
    importlib.util.find_spec("cyllama") is None,
    reason="stable-diffusion.cpp is not here: pip install cyllama",
)
def test_at_full_size_stable_diffusion_cpp_paints_with_it(full_file, tmp_path):
    """A reader that shares no code with ours or diffusers'; cyllama 0.2.18 was tried."""
    words = "--prompt x --steps 1 --width 64 --height 64 --cfg-scale 1 --seed 0 -v".split()
    files = ["--model", str(full_file), "--output", str(tmp_path / "x.png")]
    done = subprocess.run(
        [sys.executable, "-m", "cyllama.sd", "txt2img", *files, *words],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    assert "Version: SD 1.x" in said and re.search(r"Weight type stat: +f16: 1130", said)
    for what, number in (("Conditioner", 196), ("Diffusion model", 686), ("VAE", 248)):
        assert re.search(rf"{what} weight type stat: +f16: {number}\b", said)
    assert (tmp_path / "x.png").stat().st_size > 100


def test_configs_of_any_kind_name_tensors():
    """By hand, for two levels of one layer, where Stable Diffusion's numbers would be wrong."""
    unet, vae = UNetConfig.from_dict(unet_config([False, True], 1)), VAEConfig.from_dict(vae_config(2, 1))
    assert unet_name("down_blocks.1.resnets.0.conv1.bias", unet) == "input_blocks.3.0.in_layers.2.bias"
    assert unet_name("down_blocks.0.downsamplers.0.conv.bias", unet) == "input_blocks.2.0.op.bias"
    assert unet_name("up_blocks.0.upsamplers.0.conv.bias", unet) == "output_blocks.1.2.conv.bias"
    assert unet_name("up_blocks.1.resnets.1.norm1.bias", unet) == "output_blocks.3.0.in_layers.0.bias"
    assert vae_name("decoder.up_blocks.0.upsamplers.0.conv.bias", vae) == "decoder.up.1.upsample.conv.bias"
