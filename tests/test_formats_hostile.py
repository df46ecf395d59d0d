"""Weight files as people bring them, and as they should never be: read right, or refused in one line.

Every form that tools write of one small model must give the same networks. Every broken, foreign or hostile
file must end in a ValueError or OSError that names it, with no code run, no hang and no memory taken.
"""

import gzip
import io
import json
import os
import pickle
import struct
import sys
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from minisd import SD15, AutoencoderKL, TextEncoder, UNet
from minisd.checkpoint import (
    TEXT_WEIGHTS,
    WEIGHTS,
    load_model,
    not_finite,
    read_json,
    read_weights,
    save_model,
    shards,
    weights_file,
)
from minisd.sd15 import published_shapes
from minisd.single_file import load_single_file, load_vae, parts_of, save_single_file, with_sizes
from minisd.tensors import LARGEST_PICKLE, intact, read_metadata, read_tensors, unpickle
from small import randomise

CONFIGS = {
    "text_encoder": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": 600,
    },
    "unet": {
        "sample_size": 8,
        "block_out_channels": [8, 16],
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    },
    "vae": {
        "block_out_channels": [8, 16],
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "sample_size": 16,
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
    },
}
PARTS = {
    "text_encoder": (TextEncoder, TEXT_WEIGHTS, "CLIPTextModel"),
    "unet": (UNet, WEIGHTS, "UNet2DConditionModel"),
    "vae": (AutoencoderKL, WEIGHTS, "AutoencoderKL"),
}
U, V, T = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
STEMS = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}


@pytest.fixture(scope="module")
def nets():
    return {part: randomise(build(CONFIGS[part])) for part, (build, *_) in PARTS.items()}


@pytest.fixture(scope="module")
def single(nets, tmp_path_factory):
    """The small model's tensors under CompVis' names."""
    path = tmp_path_factory.mktemp("single") / "model.safetensors"
    save_single_file(*nets.values(), path)
    return load_file(path)


@pytest.fixture
def folder(nets, tmp_path):
    for part, (_, weights, name) in PARTS.items():
        save_model(nets[part], tmp_path / "model" / part, weights, name, torch.float32)
    return tmp_path / "model"


def assert_equal(ours, theirs, dtype=torch.float32):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(ours[name].dtype == dtype and torch.equal(ours[name], theirs[name].to(dtype)) for name in ours)


def load_one(path, vae=None):
    return load_single_file(path, "cpu", torch.float32, CONFIGS, vae)


def load_part(folder, part, dtype=torch.float32):
    return load_model(PARTS[part][0], folder / part, PARTS[part][1], "cpu", dtype)


def refused(read, path, words, error=(ValueError, OSError)):
    with pytest.raises(error, match=words) as caught:
        read(path)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 1000
    assert str(path) in said or str(path.parent) in said


def named(tensors, change):
    return {change(name): tensor for name, tensor in tensors.items()}


def safe(tensors, path):
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)
    return path


def pickled(value, path, zipped=True):
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def peak():
    """The most memory that this process has had, in MB; nothing where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


# ---- one file, in every form that tools write


def in_other_words(unet=U, vae=V, text=T):
    """The three parts under other beginnings."""

    def change(name):
        for old, new in ((U, unet), (V, vae), (T, text)):
            if name.startswith(old):
                return new + name.removeprefix(old)
        return name

    return lambda tensors: named(tensors, change)


def with_more(**more):
    return lambda tensors: tensors | {name.replace("__", "."): value for name, value in more.items()}


EMA = {"model_ema.diffusion_modelinput_blocks00weight": torch.zeros(3), "model_ema.decay": torch.tensor(0.9)}
SINGLE_FORMS = {
    "as it is": dict,
    "torch.compile, before": lambda t: named(t, lambda name: f"_orig_mod.{name}"),
    "torch.compile, of the U-Net": in_other_words(unet=U + "_orig_mod."),
    "torch.compile, of the wrapped U-Net": in_other_words(unet="model._orig_mod.diffusion_model."),
    "torch.compile, of all three": in_other_words(U + "_orig_mod.", V + "_orig_mod.", T + "_orig_mod."),
    "DataParallel": lambda t: named(t, lambda name: f"module.{name}"),
    "DataParallel, compiled": lambda t: named(t, lambda name: f"module._orig_mod.{name}"),
    "state_dict in the names": lambda t: named(t, lambda name: f"state_dict.{name}"),
    "model before model": lambda t: named(t, lambda name: f"model.{name}"),
    "FSDP": in_other_words(unet=U + "_fsdp_wrapped_module."),
    "no text_model": lambda t: named(t, lambda name: name.replace(T + "text_model.", T)),
    "text_encoder": in_other_words(text="text_encoder."),
    "te": in_other_words(text="te."),
    "te_text_model": in_other_words(text="te_"),
    "text_model alone": in_other_words(text=""),
    "ComfyUI's clip_l": in_other_words(text="cond_stage_model.clip_l.transformer."),
    "ComfyUI's text_encoders": in_other_words(text="text_encoders.clip_l.transformer."),
    "vae and unet": in_other_words(unet="unet.", vae="vae."),
    "diffusion_model": in_other_words(unet="diffusion_model."),
    "no position_ids": lambda t: {n: v for n, v in t.items() if not n.endswith("position_ids")},
    "position_ids in float": lambda t: {n: v.float() if "position_ids" in n else v for n, v in t.items()},
    "position_ids in int32": lambda t: {n: v.int() if "position_ids" in n else v for n, v in t.items()},
    "linear attention": lambda t: {
        n: v.flatten(1) if ".attn_1." in n and v.ndim == 4 else v for n, v in t.items()
    },
    "logit_scale": with_more(cond_stage_model__logit_scale=torch.tensor(4.6)),
    "text_projection": with_more(cond_stage_model__transformer__text_projection__weight=torch.zeros(16, 16)),
    "ComfyUI's projection": with_more(cond_stage_model__clip_l__text_projection=torch.zeros(16, 16)),
    "the VAE's loss": with_more(
        first_stage_model__loss__logvar=torch.zeros(()),
        first_stage_model__loss__discriminator__main__0__weight=torch.zeros(4, 3, 4, 4),
    ),
    "the VAE's averages": with_more(first_stage_model__model_ema__decay=torch.tensor(0.99)),
    "averages": lambda t: t | EMA,
    "the schedule": with_more(
        betas=torch.zeros(9), alphas_cumprod=torch.ones(9), scale_factor=torch.tensor(0.2)
    ),
    "a safety checker": with_more(safety_checker__concept_embeds=torch.zeros(17, 8)),
    "an embedding manager": with_more(embedding_manager__string_to_param_dict__a=torch.zeros(1, 16)),
    "counters": with_more(global_step=torch.tensor(3), epoch=torch.tensor(1)),
}


@pytest.mark.parametrize("form", SINGLE_FORMS)
def test_one_file_in_many_forms(single, nets, tmp_path, form):
    for ours, theirs in zip(
        load_one(safe(SINGLE_FORMS[form](single), tmp_path / "x.ckpt")), nets.values(), strict=True
    ):
        assert_equal(ours, theirs)


def test_one_file_under_diffusers_names(nets, tmp_path):
    tensors = {
        f"{part}.{name}": value for part, net in nets.items() for name, value in net.state_dict().items()
    }
    for ours, theirs in zip(load_one(safe(tensors, tmp_path / "x.safetensors")), nets.values(), strict=True):
        assert_equal(ours, theirs)


WRAPPED = {
    "bare": dict,
    "state_dict": lambda t: {
        "state_dict": t,
        "global_step": 3,
        "epoch": 1,
        "pytorch-lightning_version": "1.4.2",
    },
    "lightning": lambda t: {
        "state_dict": t,
        "callbacks": {"best": {"score": torch.tensor(0.3)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
        "lr_schedulers": [],
        "hyper_parameters": {"lr": 1e-4},
        "loops": None,
    },
    "model and ema": lambda t: {
        "model": t,
        "ema": {name: value + 1 for name, value in t.items()},
        "opt": None,
    },
    "ema alone": lambda t: {"ema": t, "step": 3},
    "params": lambda t: {"params": t},
    "module": lambda t: {"module": t, "optimizer": {"state": {0: torch.zeros(1)}}},
    "a wrapper in a wrapper": lambda t: {"model": {"state_dict": t}, "args": {"a": [1, 2]}},
    "beside an optimiser": lambda t: {**t, "optimizer": {"exp_avg": torch.zeros(3)}, "epoch": 3, "note": "x"},
    "parameters": lambda t: {n: torch.nn.Parameter(v) if v.is_floating_point() else v for n, v in t.items()},
    "an ordered dictionary": lambda t: OrderedDict(t),
    "views of one storage": lambda t: {n: torch.stack([v, v])[1] for n, v in t.items()},
}


@pytest.mark.parametrize("ending", ["ckpt", "pt", "bin", "safetensors", "model"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_pickle_of_any_name(single, nets, tmp_path, ending, zipped):
    path = pickled({"state_dict": single}, tmp_path / f"x.{ending}", zipped)
    assert_equal(load_one(path)[1], nets["unet"])


@pytest.mark.parametrize("form", WRAPPED)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_pickles_as_tools_write_them(single, nets, tmp_path, form, zipped):
    path = pickled(WRAPPED[form](single), tmp_path / "x.ckpt", zipped)
    for ours, theirs in zip(load_one(path), nets.values(), strict=True):
        assert_equal(ours, theirs)


def test_a_pickle_of_three_dictionaries(nets, tmp_path):
    path = pickled({part: net.state_dict() for part, net in nets.items()}, tmp_path / "x.pt")
    assert_equal(load_one(path)[2], nets["vae"])


# ---- precisions


@pytest.mark.parametrize(
    "stored", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float16, torch.float64]
)
@pytest.mark.parametrize("wanted", [torch.float32, torch.float16, torch.bfloat16])
def test_numbers_of_any_precision(single, tmp_path, stored, wanted):
    tensors = {name: v.to(stored) if v.is_floating_point() else v for name, v in single.items()}
    unet = load_single_file(safe(tensors, tmp_path / "x.safetensors"), "cpu", wanted, CONFIGS)[1]
    assert unet.conv_in.weight.dtype == wanted
    assert torch.equal(unet.conv_in.weight, tensors[U + "input_blocks.0.0.weight"].to(wanted))


QUANTISED = {
    "int8": (torch.int8, {}, "does not hold plain floating-point numbers: .*, of torch.int8"),
    "uint8": (torch.uint8, {}, "of torch.uint8"),
    "bool": (torch.bool, {}, "of torch.bool"),
    "complex": (torch.complex64, {}, "of torch.complex64"),
    "bitsandbytes": (torch.float32, {"input_blocks.0.0.weight.absmax": torch.zeros(2)}, "is quantised"),
    "bitsandbytes int8": (torch.float32, {"out.2.SCB": torch.zeros(2)}, "is quantised"),
    "ComfyUI's float8": (torch.float32, {"out.2.scale_weight": torch.zeros(1)}, "is quantised"),
}


@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_weights_are_refused_by_name(single, tmp_path, kind):
    dtype, more, words = QUANTISED[kind]
    key = U + "input_blocks.0.0.weight"
    tensors = single | {key: single[key].to(dtype)} | {U + name: value for name, value in more.items()}
    refused(load_one, safe(tensors, tmp_path / "x.safetensors"), words, ValueError)


# ---- without a VAE, and a VAE on its own


def without_vae(single):
    return {name: tensor for name, tensor in single.items() if not name.startswith(V)}


def test_a_checkpoint_without_a_vae_says_what_to_do(single, tmp_path):
    path = safe(without_vae(single), tmp_path / "x.safetensors")
    refused(load_one, path, r"holds no VAE: give one with --vae FILE \(vae=PATH in Python\)", ValueError)


VAE_FORMS = {
    "CompVis": lambda t: {n.removeprefix(V): v for n, v in t.items()},
    "CompVis with its place": dict,
    "CompVis with losses": lambda t: (
        {n.removeprefix(V): v for n, v in t.items()} | {"loss.logvar": torch.zeros(())}
    ),
    "CompVis with averages": lambda t: t | {V + "model_ema.decay": torch.tensor(0.9)},
    "linear attention": lambda t: {
        n: v.flatten(1) if v.shape[2:] == (1, 1) and "attn_1" in n else v for n, v in t.items()
    },
    "compiled": lambda t: {"_orig_mod." + n.removeprefix(V): v for n, v in t.items()},
}


@pytest.mark.parametrize("form", VAE_FORMS)
@pytest.mark.parametrize("save", [safe, lambda t, path: pickled({"state_dict": t, "global_step": 1}, path)])
def test_a_vae_of_its_own(single, nets, tmp_path, form, save):
    vae = {name: tensor for name, tensor in single.items() if name.startswith(V)}
    path = save(VAE_FORMS[form](vae), tmp_path / "vae.pt")
    assert_equal(load_vae(path, "cpu", torch.float32, CONFIGS["vae"]), nets["vae"])


def test_a_vae_under_diffusers_names_with_its_config_beside_it(folder, nets, single, tmp_path):
    path = safe(without_vae(single), tmp_path / "x.safetensors")
    for vae in (folder, folder / "vae", folder / "vae" / WEIGHTS):
        assert_equal(load_vae(vae, "cpu", torch.float32), nets["vae"])
        assert_equal(load_one(path, vae)[2], nets["vae"])
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(folder / "vae" / WEIGHTS)
    for new, was in old.items():
        tensors = named(tensors, lambda name, new=new, was=was: name.replace(f".{new}.", f".{was}."))
    assert_equal(load_vae(safe(tensors, folder / "vae" / WEIGHTS), "cpu", torch.float32), nets["vae"])


def test_the_vae_that_is_given_replaces_the_files_own(folder, single, nets, tmp_path):
    other = {name: tensor + 1 if name.startswith(V) else tensor for name, tensor in single.items()}
    assert_equal(load_one(safe(other, tmp_path / "x.safetensors"), folder / "vae")[2], nets["vae"])


def test_a_whole_checkpoint_lends_its_vae(single, nets, tmp_path):
    path = safe(single, tmp_path / "x.safetensors")
    assert_equal(load_vae(path, "cpu", torch.float32, CONFIGS["vae"]), nets["vae"])


@pytest.mark.parametrize("what", ["missing", "folder", "another"])
def test_what_is_no_vae(tmp_path, what):
    path = tmp_path / "vae.safetensors"
    if what == "folder":
        path.mkdir()
    if what == "another":
        safe({"conv_in.weight": torch.zeros(3)}, path)
    refused(lambda path: load_vae(path, "cpu", torch.float32), path, "is missing|lacks")


# ---- folders


FOLDER_FORMS = {
    "torch.compile": lambda t: named(t, lambda name: f"_orig_mod.{name}"),
    "compiled inside": lambda t: named(t, lambda name: name.replace("resnets.0.", "resnets.0._orig_mod.")),
    "DataParallel": lambda t: named(t, lambda name: f"module.{name}"),
    "state_dict": lambda t: named(t, lambda name: f"state_dict.{name}"),
    "model": lambda t: named(t, lambda name: f"model.{name}"),
    "model.module": lambda t: named(t, lambda name: f"model.module.{name}"),
    "its own name": lambda t: named(t, lambda name: f"unet.{name}"),
    "one convolution as linear": lambda t: {
        n: v.flatten(1) if "proj_in.weight" in n else v for n, v in t.items()
    },
}


@pytest.mark.parametrize("form", FOLDER_FORMS)
def test_a_folders_weights_in_many_forms(folder, nets, form):
    path = folder / "unet" / WEIGHTS
    safe(FOLDER_FORMS[form](load_file(path)), path)
    assert_equal(load_part(folder, "unet"), nets["unet"])


TEXT_MORE = {
    "position_ids": {"text_model.embeddings.position_ids": torch.arange(77)[None]},
    "position_ids in float": {"text_model.embeddings.position_ids": torch.arange(77.0)[None]},
    "a projection": {"text_projection.weight": torch.zeros(16, 16), "logit_scale": torch.tensor(4.6)},
    "all of CLIP": {
        "vision_model.embeddings.class_embedding": torch.zeros(8),
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
        "visual_projection.weight": torch.zeros(16, 8),
    },
}


@pytest.mark.parametrize("more", TEXT_MORE)
@pytest.mark.parametrize("short", [False, True], ids=["transformers 4", "transformers 5"])
def test_text_encoders_of_old_and_new_versions(folder, nets, more, short):
    path = folder / "text_encoder" / TEXT_WEIGHTS
    tensors = load_file(path) | TEXT_MORE[more]
    safe(named(tensors, lambda name: name.removeprefix("text_model.") if short else name), path)
    assert_equal(load_part(folder, "text_encoder"), nets["text_encoder"])


def shard(folder, stem, ending=".safetensors", variant="", name=None):
    """Cut a folder's weights in two files with an index, as diffusers and transformers do."""
    (path,) = folder.glob("*.safetensors")
    tensors = load_file(path)
    path.unlink()
    files = {}
    for i, names in enumerate((list(tensors)[::2], list(tensors)[1::2])):
        file = f"{stem}{variant}-0000{i + 1}-of-00002{ending}"
        write = safe if ending == ".safetensors" else pickled
        write({key: tensors[key] for key in names}, folder / file)
        files |= dict.fromkeys(names, file)
    index = folder / (name or f"{stem}{ending}.index.json")
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}))
    return index, files


@pytest.mark.parametrize(
    "part, stem, ending, variant, name",
    [
        ("unet", "diffusion_pytorch_model", ".safetensors", "", None),
        ("vae", "diffusion_pytorch_model", ".bin", "", None),
        ("text_encoder", "model", ".safetensors", "", None),
        ("text_encoder", "pytorch_model", ".bin", "", None),
        (
            "unet",
            "diffusion_pytorch_model",
            ".safetensors",
            ".fp16",
            "diffusion_pytorch_model.safetensors.index.fp16.json",
        ),
        (
            "unet",
            "diffusion_pytorch_model",
            ".safetensors",
            ".fp16",
            "diffusion_pytorch_model.fp16.safetensors.index.json",
        ),
        ("text_encoder", "pytorch_model", ".bin", ".fp16", "pytorch_model.bin.index.fp16.json"),
    ],
)
def test_weights_in_shards(folder, nets, part, stem, ending, variant, name):
    index, files = shard(folder / part, stem, ending, variant, name)
    assert_equal(load_part(folder, part), nets[part])
    assert weights_file(folder / part, PARTS[part][1], torch.float32) == index
    assert shards(index) == [folder / part / file for file in dict.fromkeys(files.values())]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda folder, files: (folder / files["conv_in.weight"]).unlink(), "is missing, a part of"),
        (lambda folder, files: files.update({"more.weight": files["conv_in.weight"]}), "lacks more.weight"),
        (
            lambda folder, files: files.update({"conv_in.weight": "../unet.safetensors"}),
            "no weight file beside it",
        ),
        (lambda folder, files: files.update({"conv_in.weight": "/etc/passwd"}), "no weight file beside it"),
        (lambda folder, files: files.update({"conv_in.weight": "C:x"}), "no weight file beside it"),
        (lambda folder, files: files.update({"conv_in.weight": ".."}), "no weight file beside it"),
        (lambda folder, files: files.update({"conv_in.weight": "config.json"}), "no weight file beside it"),
        (lambda folder, files: files.update({"conv_in.weight": 3}), "says of no tensor which file"),
        (lambda folder, files: files.clear(), "lacks|holds no tensors|says of no tensor"),
        (lambda folder, files: files.update({"conv_in.weight": "a\0b"}), "no weight file beside it"),
    ],
)
def test_shards_that_do_not_fit(folder, change, words):
    index, files = shard(folder / "unet", "diffusion_pytorch_model")
    change(folder / "unet", files)
    index.write_text(json.dumps({"weight_map": files}))
    refused(lambda folder: load_part(folder, "unet"), folder, words)


@pytest.mark.parametrize(
    "index", ["[]", "{}", '{"weight_map": null}', '{"weight_map": ["a"]}', "{", '{"weight_map": {"a": {}}}']
)
def test_an_index_that_is_none(folder, index):
    path, _ = shard(folder / "unet", "diffusion_pytorch_model")
    path.write_text(index)
    refused(lambda path: load_part(folder, "unet"), path, "again", ValueError)


def test_two_shards_with_one_tensor(folder):
    index, files = shard(folder / "unet", "diffusion_pytorch_model")
    first, second = (folder / "unet" / name for name in dict.fromkeys(files.values()))
    name, tensor = next(iter(load_file(first).items()))
    safe(load_file(second) | {name: tensor}, second)
    refused(lambda path: load_part(folder, "unet"), index, f"both hold {name}", ValueError)


@pytest.mark.parametrize("variant", ["fp16", "bf16", "non_ema", "ema", "fp32"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_folder_with_one_variant_only(folder, nets, variant, dtype):
    for part, stem in STEMS.items():
        (path,) = (folder / part).glob("*.safetensors")
        path.rename(folder / part / f"{stem}.{variant}.safetensors")
        assert_equal(load_part(folder, part, dtype), nets[part], dtype)


def test_one_name_twice_under_two_spellings(folder, single, tmp_path):
    path = folder / "unet" / WEIGHTS
    tensors = load_file(path)
    safe(tensors | {"_orig_mod.conv_in.weight": tensors["conv_in.weight"]}, path)
    refused(lambda path: load_part(folder, "unet"), path, "holds conv_in.weight twice", ValueError)
    twice = single | {"module." + U + "out.2.bias": single[U + "out.2.bias"]}
    refused(load_one, safe(twice, tmp_path / "x.safetensors"), "out.2.bias twice", ValueError)


# ---- files that are something else, whatever they are called


def tar_of(name, data):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return held.getvalue()


def zip_of(**members):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return held.getvalue()


def numpy_file():
    held = io.BytesIO()
    np.save(held, np.zeros(9))
    return held.getvalue()


FOREIGN = {
    "nothing": (b"", "is empty"),
    "one byte": (b"\x80", "is not a whole safetensors file, nor a pickle"),
    "zeros": (bytes(4096), "full of zeros"),
    "noise": (bytes(range(1, 255)) * 9, "is not a whole safetensors file, nor a pickle"),
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(99), "is a GGUF file"),
    "GGML": (b"lmgg\x01\0\0\0" + bytes(99), "is a GGUF file"),
    "ONNX": (b"\x08\x07\x12\x07pytorch" + bytes(99), "is an ONNX model"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(99), "TensorFlow Lite"),
    "a page": (b"<!DOCTYPE html><html>", "is a web page"),
    "a page after a space": (b"\r\n <HTML>", "is a web page"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "is a web page"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "is a git-lfs pointer"),
    "git-annex": (b"/annex/objects/MD5E-s3--1.safetensors\n", "is a git-annex pointer"),
    "git-annex's link": (b"../../.git/annex/objects/x/y/MD5E", "is a git-annex pointer"),
    "JSON": (b'{"error": "not found"}', "is JSON text"),
    "the hub's words": (b"Entry not found", "is text, no weights, and begins 'Entry not found'"),
    "gzip": (gzip.compress(b"x" * 99), "is a compressed archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "is a compressed archive"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is a picture"),
    "a JPEG": (b"\xff\xd8\xff\xe0" + bytes(99), "is a picture"),
    "a PDF": (b"%PDF-1.7", "is a PDF"),
    "a program": (b"\x7fELF\x02\x01" + bytes(99), "is a program"),
    "NumPy": (numpy_file(), "is a NumPy array"),
    "NumPy's npz": (zip_of(a__npy=numpy_file()), "is a zip archive of NumPy arrays"),
    "a zip of files": (zip_of(readme__txt="hello"), "is a zip archive without tensors"),
    "an empty zip": (zip_of(), "is not a whole safetensors file, nor a pickle"),
    "tar": (tar_of("pickle", b"x"), "is a tar archive"),
    "a pickle of a number": (pickle.dumps(3, 2), "is not a whole file of tensors"),
    "a pickle of protocol 4": (
        pickle.dumps({"a": [1]}, 4),
        "not a whole file of tensors|holds more than tensors",
    ),
    "the start of a zip": (b"PK\x03\x04" + bytes(99), "is not a whole file of tensors"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["x.safetensors", "x.ckpt", "x.bin", "x"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_is_something_else(tmp_path, kind, name):
    data, words = FOREIGN[kind]
    (tmp_path / name).write_bytes(data)
    refused(load_one, tmp_path / name, words, ValueError)


@pytest.mark.parametrize("read", [read_tensors, read_json, read_weights, read_metadata, unpickle, intact])
@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a device", "nothing", "a dangling link"])
def test_what_is_no_file(tmp_path, read, kind):
    path = tmp_path / "x.safetensors"
    if kind == "a folder":
        path.mkdir()
    if kind in ("a pipe", "a device") and sys.platform == "win32":
        pytest.skip("Windows has neither as a file")
    if kind == "a pipe":
        os.mkfifo(path)
    if kind == "a device":
        path = type(path)("/dev/zero")
    if kind == "a dangling link":
        path.symlink_to(tmp_path / "nowhere")
    refused(read, path, "is a folder|is a pipe or a device|is missing", OSError)


# ---- lying safetensors


def header(entries, data=b"", length=None, text=None):
    text = json.dumps(entries).encode() if text is None else text
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


LYING = {
    "a length beyond the file": header({"a": entry()}, bytes(8), length=99999),
    "a length of 2^63": header({"a": entry()}, bytes(8), length=2**63),
    "a length of nothing": header({"a": entry()}, bytes(8), length=0),
    "a length in the middle": header({"a": entry()}, bytes(8), length=9),
    "offsets beyond the file": header({"a": entry(offsets=(0, 2**40))}, bytes(8)),
    "a huge shape": header({"a": entry(shape=(2**40,))}, bytes(8)),
    "a shape that overflows": header({"a": entry(shape=(2**32, 2**32, 2**32))}, bytes(8)),
    "a shape that overflows to 8 bytes": header({"a": entry(shape=(2**62, 8), offsets=(0, 8))}, bytes(8)),
    "an empty tensor of a huge shape": header({"a": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}),
    "overlapping tensors": header({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)),
    "a gap": header({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)),
    "bytes left over": header({"a": entry()}, bytes(80)),
    "offsets the wrong way": header({"a": entry(offsets=(8, 0))}, bytes(8)),
    "negative offsets": header({"a": entry(offsets=(-8, 0))}, bytes(8)),
    "a negative shape": header({"a": entry(shape=(-2,))}, bytes(8)),
    "an unknown type": header({"a": entry(dtype="Q4_K")}, bytes(8)),
    "no type": header({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "a name twice": header(
        {},
        bytes(16),
        text=b'{"a":%s,"a":%s}' % (json.dumps(entry()).encode(), json.dumps(entry(offsets=(8, 16))).encode()),
    ),
    "no object": header({}, text=b"[1, 2]"),
    "half an object": header({}, text=b'{"a": {"dtype"'),
    "deep JSON": header({}, text=b'{"a":' * 50000 + b"1" + b"}" * 50000),
    "a deep list": header({}, text=b'{"a":' + b"[" * 50000 + b"]" * 50000 + b"}"),
    "names that are no text": header({}, text=b'{"\xff\xfe": 3}'),
    "metadata of numbers": header({"__metadata__": {"a": 3}, "a": entry()}, bytes(8)),
    "a tensor that is a number": header({"a": 3}, bytes(8)),
    "ten thousand dimensions": header({"a": entry(shape=[1] * 10000, offsets=(0, 4))}, bytes(4)),
}


@pytest.mark.parametrize("kind", LYING)
def test_a_lying_safetensors_header(tmp_path, kind):
    path = tmp_path / "x.safetensors"
    path.write_bytes(LYING[kind])
    refused(load_one, path, "not a whole safetensors file|looks like|full of zeros|lacks|empty", ValueError)
    for read in (intact, read_metadata):
        try:
            read(path)
        except ValueError as error:
            assert "\n" not in str(error) and str(path) in str(error)


def test_nan_in_the_middle_is_named_by_file_and_tensor(single, tmp_path):
    key = V + "decoder.mid.block_1.conv1.weight"
    tensor = single[key].clone()
    tensor.view(-1)[tensor.numel() // 2] = float("nan")
    path = safe(single | {key: tensor}, tmp_path / "x.safetensors")
    refused(load_one, path, "holds NaN or infinity in decoder.mid.block_1.conv1.weight;", ValueError)


def test_who_spoilt_a_picture_can_be_asked_afterwards(nets):
    vae = randomise(AutoencoderKL(CONFIGS["vae"]))
    assert not_finite(vae) == []
    with torch.no_grad():
        vae.decoder.conv_in.weight.view(-1)[7] = float("inf")
    assert not_finite(vae) == ["decoder.conv_in.weight"]


# ---- hostile pickles


class Calls:
    """Unpickling it calls `how`."""

    def __init__(self, how, *arguments):
        self.how, self.arguments = how, arguments

    def __reduce__(self):
        return self.how, self.arguments


def rebuilt(size, stride, numbers=4):
    """A tensor that says more of itself than its storage holds."""
    storage = torch.zeros(numbers).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    return Calls(torch._utils._rebuild_tensor_v2, typed, 0, size, stride, False, OrderedDict())


class SpoiltMethods:
    """Unpickling it makes an ordered dictionary whose methods are words."""

    def __reduce__(self):
        state = {"items": "not", "get": "to be", "values": "called"}
        return OrderedDict, (), state, None, iter([("a", torch.zeros(3))])


def nested_meta():
    return Calls(torch._utils._rebuild_meta_tensor_no_storage, torch.float32, (2**40,), (1,), False)


HOSTILE = {
    "stride 0": lambda: {"a": rebuilt((10**6, 10**6), (0, 0))},
    "a broadcast": lambda: {"a": torch.zeros(1).expand(10**9)},
    "overlapping windows": lambda: {"a": torch.zeros(5000).as_strided((2500, 2500), (1, 1))},
    "more than its storage": lambda: {"a": rebuilt((1000,), (1,))},
    "negative strides": lambda: {"a": rebuilt((2, 2), (-1, 1))},
    "a tensor on no device": lambda: {"a": nested_meta()},
    "a sparse tensor": lambda: {"a": torch.eye(3).to_sparse()},
    "a quantised tensor": lambda: {"a": torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)},
    "keys of numbers": lambda: {0: torch.zeros(3), 1: torch.zeros(3)},
    "keys of tuples": lambda: {("a", "b"): torch.zeros(3)},
    "keys of None": lambda: {None: torch.zeros(3)},
    "keys of bytes": lambda: {b"a": torch.zeros(3)},
    "a list of tensors": lambda: [torch.zeros(3)],
    "a tensor alone": lambda: torch.zeros(3),
    "a dictionary of nothing": dict,
    "a dictionary of numbers": lambda: {"a": 1},
    "deep nesting": lambda: {"a": {"b": {"c": {"d": {"e": torch.zeros(3)}}}}},
    "a hundred lists": lambda: {"state_dict": nest(100)},
    "spoilt methods": lambda: {"state_dict": SpoiltMethods()},
    "tensors among dictionaries": lambda: {"a": torch.zeros(3), "b": {"c": torch.zeros(3)}},
    "os.system": lambda: {"a": Calls(os.system, "true")},
    "eval": lambda: {"a": Calls(eval, "1")},
    "getattr": lambda: {"a": Calls(getattr, "x", "upper")},
    "an open file": lambda: {"a": Calls(open, "/etc/passwd")},
    "a callback": lambda: {"state_dict": {"a": torch.zeros(3)}, "callbacks": {Calls: 1}},
}


def nest(depth):
    value = [torch.zeros(1)]
    for _ in range(depth):
        value = [value]
    return {"a": value}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_pickle(tmp_path, kind, zipped):
    path = pickled(HOSTILE[kind](), tmp_path / "x.ckpt", zipped)
    refused(load_one, path, r"x\.ckpt (holds|asks for|is|says|calls|looks like)", ValueError)


def rewritten(path, compression=zipfile.ZIP_STORED, **members):
    """A torch file with another compression, or with other members."""
    with zipfile.ZipFile(path) as old:
        held = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, data in held.items():
            new.writestr(name, members.get(name.rpartition("/")[2], data))
    return path


def test_a_compressed_member_is_not_unpacked(tmp_path):
    path = rewritten(pickled({"a": torch.zeros(10**7)}, tmp_path / "x.ckpt"), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    refused(load_one, path, "has compressed members, which torch never writes", ValueError)


def test_a_list_of_tensors_that_is_too_long(tmp_path):
    path = pickled({"a": torch.zeros(3)}, tmp_path / "x.ckpt")
    rewritten(path, **{"data.pkl": b"\x80\x02" + b"}" * LARGEST_PICKLE})
    refused(load_one, path, "lists its tensors in more than 4 MB", ValueError)


def test_a_list_of_tensors_without_end_before_torch_1_6(tmp_path, monkeypatch):
    """Each byte of it makes a dictionary; a limit of 64 KB instead of 4 MB, to be quick."""
    monkeypatch.setattr("minisd.tensors.LARGEST_PICKLE", 2**16)
    path = pickled({"a": torch.zeros(3)}, tmp_path / "x.ckpt", zipped=False)
    start = path.read_bytes()
    listing = start.index(b"\x80\x02}q\x00X\x01\x00\x00\x00a")  # the last pickle but one: the tensors
    path.write_bytes(start[: listing + 2] + b"}" * 20_000_000)
    before = peak()
    refused(load_one, path, "is not a whole file of tensors", ValueError)
    assert peak() - before < 100  # MB; all of it would take 1,300


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_program(tmp_path):
    class Net(torch.nn.Module):
        def forward(self, x):
            return x + 1

    path = tmp_path / "x.pt"
    torch.jit.trace(Net(), torch.zeros(1)).save(str(path))
    refused(load_one, path, "is a TorchScript program", ValueError)


def test_a_member_that_is_gone(tmp_path):
    path = pickled({"a": torch.zeros(3)}, tmp_path / "x.ckpt")
    with zipfile.ZipFile(path) as old:
        held = {name: old.read(name) for name in old.namelist() if "/data/" not in name}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in held.items():
            new.writestr(name, data)
    refused(load_one, path, "is not a whole file of tensors", ValueError)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_storage_that_claims_a_terabyte(tmp_path, zipped):
    """The number of a storage's elements, in the pickle, set to 2^31 - 1."""
    path = pickled({"a": torch.zeros(1, 261)}, tmp_path / "x.ckpt", zipped)
    data = path.read_bytes()
    count = b"M" + struct.pack("<H", 261)
    assert data.count(count) >= 2  # of the storage, then of the tensor's shape and stride
    path.write_bytes(data.replace(count, b"J" + struct.pack("<i", 2**31 - 1)) if not zipped else data)
    if zipped:
        with zipfile.ZipFile(path) as archive:
            listing = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
        rewritten(path, **{"data.pkl": listing.replace(count, b"J" + struct.pack("<i", 2**31 - 1))})
    before = peak()
    refused(load_one, path, r"x\.ckpt", ValueError)
    assert peak() - before < 200  # MB


# ---- whatever bytes

READERS = (read_tensors, read_metadata, intact)


def only_one_line(read, path):
    try:
        read(path)
    except (ValueError, OSError) as error:
        assert "\n" not in str(error) and str(path) in str(error)


@pytest.mark.filterwarnings("error")
@given(
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x20\0\0\0\0\0\0\0{", b"GGUF"]),
    rest=st.binary(max_size=300),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_a_traceback(tmp_path, start, rest):
    path = tmp_path / "x.safetensors"
    path.write_bytes(start + rest)
    for read in (*READERS, read_json):
        only_one_line(read, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=9,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BOOL", "I64", "F8_E4M3", "F4", "C64", "X", ""]),
        "shape": st.lists(st.integers(-2, 2**63), max_size=4),
        "data_offsets": st.lists(st.integers(-1, 99), max_size=3),
    }
)


@given(
    entries=st.dictionaries(st.text(max_size=8), ENTRY | JSON, max_size=3),
    metadata=JSON,
    data=st.binary(max_size=64),
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_header_makes_a_traceback(tmp_path, entries, metadata, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(header(entries | {"__metadata__": metadata}, data))
    for read in (*READERS, load_one):
        only_one_line(read, path)


# ---- JSON


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}',
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-be"),
        '{"a": 1}'.encode("utf-32"),
        b' {"a": 2, "a": 1}\r\n',
    ],
)
def test_json_in_any_encoding(tmp_path, data):
    (tmp_path / "x.json").write_bytes(data)
    assert read_json(tmp_path / "x.json") == {"a": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[1]",
        b'"a"',
        b'{"a": 1',
        b"{'a': 1}",
        b"[" * 10**6,
        b'{"a":' * 10**5,
        b"\xff\xfe\x00",
        b"\x00\x01\x02",
        b'{"a": ' + b"9" * 5000 + b"}",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"<html>",
    ],
    ids=range(13),
)
def test_json_that_is_none(tmp_path, data):
    (tmp_path / "x.json").write_bytes(data)
    refused(read_json, tmp_path / "x.json", "x.json (is|holds) .*; fetch or write the file again", ValueError)


def test_json_without_end(tmp_path):
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(2**27)
    refused(read_json, path, "is larger than any file of settings", ValueError)


# ---- sizes


@pytest.mark.filterwarnings("ignore:.*is a guess:UserWarning")
def test_sizes_are_read_off_the_tensors(single, nets, tmp_path):
    """A file of another size than Stable Diffusion's, of another program: what no shape tells is guessed."""
    path = safe(single, tmp_path / "x.safetensors")
    with pytest.warns(UserWarning, match="brings no config: norm_num_groups=8 is a guess, and pictures may"):
        loaded = load_single_file(path, "cpu", torch.float32, SD15)
    told = ("block_out_channels", "layers_per_block", "down_block_types", "up_block_types")
    for ours, theirs in zip(loaded, nets.values(), strict=True):
        assert_equal(ours, theirs)
        assert all(getattr(ours.config, key, 0) == getattr(theirs.config, key, 0) for key in told)


def test_a_text_encoder_with_fewer_layers(single, tmp_path):
    """As some files are that were made for clip skip."""
    tensors = {
        name: tensor for name, tensor in single.items() if f"{T}text_model.encoder.layers.1." not in name
    }
    text = load_one(safe(tensors, tmp_path / "x.safetensors"))[0]
    assert text.config.num_hidden_layers == 1


def test_a_published_file_is_of_the_known_size_and_needs_no_guess(recwarn):
    with torch.device("meta"):
        tensors = {name: torch.empty(shape) for name, shape in published_shapes("single-file").items()}
    parts = parts_of(tensors, Path("x.safetensors"))
    assert with_sizes(SD15, parts, Path("x")) == {
        part: SD15[part] for part in ("text_encoder", "unet", "vae")
    }
    assert not recwarn
