"""The single-file layout: the published names and shapes, diffusers' reading of the same file, all else
refused.

The file is a small Stable Diffusion whose names and shapes are the published file's, every width divided by
32: our own renaming has no part in writing it.
"""

import functools
import hashlib
import math
import os
import pickle
import zipfile

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from minisd import SD15, AutoencoderKL, StableDiffusion, TextEncoder, UNet, checkpoint, hub, models, pipeline
from minisd.checkpoint import build_empty, read_tensors
from minisd.sd15 import published_shapes
from minisd.single_file import TEXT, UNET, VAE, load_single_file, unet_name, vae_name
from minisd.tokenizer import BPE
from minisd.verify import verify
from small import SENTENCES, assert_same, write_configs

TOKENIZER = BPE.train(SENTENCES, 560)
PARTS = {
    "unet": (UNet, 859_520_964),
    "vae": (AutoencoderKL, 83_653_863),
    "text_encoder": (TextEncoder, 123_060_480),
}
NARROW = 32
CONFIGS = {
    "unet": {
        **SD15["unet"],
        "block_out_channels": [10, 20, 40, 40],
        "cross_attention_dim": 24,
        "sample_size": 8,
        "attention_head_dim": 2,
        "norm_num_groups": 2,
    },
    "vae": {**SD15["vae"], "block_out_channels": [4, 8, 16, 16], "norm_num_groups": 2, "sample_size": 64},
    "text_encoder": {
        **SD15["text_encoder"],
        "hidden_size": 24,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "projection_dim": 24,
        "vocab_size": len(TOKENIZER),
    },
    "scheduler": SD15["scheduler"],
}
CONV_IN, NORM = UNET + "input_blocks.0.0.weight", VAE + "decoder.norm_out.weight"
FINAL = TEXT + "text_model.final_layer_norm.weight"
SCHEDULE = [
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
]


def random_tensors():
    """The small model's tensors under the published names."""
    generator, tensors = torch.Generator().manual_seed(0), {}
    for key, shape in published_shapes("single-file").items():
        shape = tuple(len(TOKENIZER) if n == 49408 else n // NARROW if n >= 128 else n for n in shape)
        noise = torch.randn(shape, generator=generator)
        if key.endswith("position_ids"):
            tensors[key] = torch.arange(77)[None]
        elif len(shape) == 1:
            tensors[key] = 0.2 * noise + key.endswith("weight")
        else:
            tensors[key] = noise / math.prod(shape[1:]) ** 0.5
    return tensors


@pytest.fixture(scope="module")
def tensors():
    return random_tensors()


@pytest.fixture(scope="module")
def file(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("single") / "v1-5.safetensors"
    save_file(tensors, path)
    TOKENIZER.save(path.parent / "tokenizer")
    return path


@pytest.fixture(scope="module")
def theirs(file):
    """diffusers' pipeline of the same file; the configs of a folder tell it the sizes."""
    folder = file.parent / "configs"
    TOKENIZER.save(folder / "tokenizer")
    write_configs(folder, CONFIGS)
    pipe = diffusers.StableDiffusionPipeline.from_single_file(file, config=str(folder), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def small(monkeypatch):
    """from_pretrained takes single files for models of the small configs."""
    monkeypatch.setattr(models, "load_single_file", functools.partial(load_single_file, configs=CONFIGS))


def load(path, dtype=torch.float32):
    return load_single_file(path, "cpu", dtype, CONFIGS)


def write(tensors, path, **more):
    save_file({**{key: tensor.contiguous() for key, tensor in tensors.items()}, **more}, path)
    return path


def assert_equal_networks(a, b, dtype=torch.float32):
    for ours, theirs in zip(a, b, strict=True):
        ours, theirs = ours.state_dict(), theirs.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(ours[key].dtype == dtype and torch.equal(ours[key], theirs[key]) for key in ours)


def assert_refused(path, words, error=ValueError, read=load):
    with pytest.raises(error, match=words) as caught:
        read(path)
    assert type(caught.value) is error and "\n" not in str(caught.value) and str(path) in str(caught.value)


# ---- names, shapes and sizes of the published files


@pytest.mark.parametrize("part", PARTS)
def test_sd15_has_the_published_tensors(part):
    net = build_empty(PARTS[part][0], SD15[part])
    assert {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()} == published_shapes(part)
    assert sum(parameter.numel() for parameter in net.parameters()) == PARTS[part][1]


def test_the_published_file_is_the_three_networks_renamed():
    shapes = {UNET + unet_name(name): shape for name, shape in published_shapes("unet").items()}
    shapes |= {VAE + vae_name(name): shape for name, shape in published_shapes("vae").items()}
    shapes |= {TEXT + name: shape for name, shape in published_shapes("text_encoder").items()}
    shapes[TEXT + "text_model.embeddings.position_ids"] = (1, 77)
    for key in shapes:  # linear layers that were written as convolutions
        if ".attn_1." in key and key.endswith("weight") and ".norm." not in key:
            shapes[key] += (1, 1)
    assert len(shapes) == 1131 and shapes == published_shapes("single-file")


@pytest.mark.parametrize(
    "name, there",
    [
        ("down_blocks.1.resnets.0.conv1.bias", "input_blocks.4.0.in_layers.2.bias"),
        ("down_blocks.2.downsamplers.0.conv.weight", "input_blocks.9.0.op.weight"),
        ("mid_block.resnets.1.time_emb_proj.bias", "middle_block.2.emb_layers.1.bias"),
        ("up_blocks.0.upsamplers.0.conv.bias", "output_blocks.2.1.conv.bias"),
        ("up_blocks.1.upsamplers.0.conv.bias", "output_blocks.5.2.conv.bias"),
        (
            "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias",
            "output_blocks.11.1.transformer_blocks.0.norm1.bias",
        ),
    ],
)
def test_names_worked_out_by_hand(name, there):
    assert unet_name(name) == there


def test_the_scheduler_is_the_published_one():
    ours = pipeline.schedule_of(SD15["scheduler"])
    theirs = diffusers.PNDMScheduler.from_config(
        {k: v for k, v in SD15["scheduler"].items() if k != "_class_name"}
    )
    assert_same(ours.alphas_cumprod.float(), theirs.alphas_cumprod)
    assert theirs.config.timestep_spacing == "leading" and "timestep_spacing" not in SD15["scheduler"]


# ---- the same as diffusers


def test_diffusers_reads_the_same_networks(file, theirs):
    text, unet, vae = load(file)
    for ours, net in ((text, theirs.text_encoder), (unet, theirs.unet), (vae, theirs.vae)):
        found = {name.removeprefix("text_model."): tensor for name, tensor in ours.state_dict().items()}
        wanted = {name.removeprefix("text_model."): tensor for name, tensor in net.state_dict().items()}
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in found)


def test_diffusers_paints_the_same_picture(file, theirs, small):
    ours, prompt = StableDiffusion.from_pretrained(file, device="cpu"), SENTENCES[0]
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    a = ours(prompt, num_inference_steps=3, sampler="pndm", latents=latents, output_type="np")
    b = theirs(prompt, num_inference_steps=3, latents=latents, output_type="np").images
    assert a.shape == b.shape == (1, 64, 64, 3)
    assert np.abs(a - b).max() < 1e-4 and a.std() > 0.01


# ---- the forms that such files come in


def without_text_model(tensors):
    return {key.replace("transformer.text_model.", "transformer."): tensor for key, tensor in tensors.items()}


def without_position_ids(tensors):
    return {key: tensor for key, tensor in tensors.items() if not key.endswith("position_ids")}


def with_training_leftovers(tensors):
    ema = {
        f"model_ema.{key.removeprefix('model.').replace('.', '')}": tensor + 1
        for key, tensor in tensors.items()
        if key.startswith(UNET)
    }
    numbers = {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(470000)}
    return {**tensors, **ema, **numbers, **{name: torch.rand(1000) for name in SCHEDULE}}


def with_linear_attention(tensors):
    return {
        key: tensor[:, :, 0, 0].clone() if ".attn_1." in key and tensor.ndim == 4 else tensor
        for key, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    "change", [without_text_model, without_position_ids, with_training_leftovers, with_linear_attention]
)
def test_other_forms_give_the_same_networks(tensors, file, tmp_path, change):
    assert_equal_networks(load(write(change(tensors), tmp_path / "x.safetensors")), load(file))


@pytest.mark.parametrize(
    "wrap",
    [dict, lambda t: {"state_dict": t, "global_step": 470000, "epoch": 0, "hyper": None}],
    ids=["bare", "state_dict"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_ckpt_gives_the_same_networks(tensors, file, tmp_path, wrap, zipped):
    path = tmp_path / "v1-4.ckpt"
    torch.save(wrap(with_training_leftovers(tensors)), path, _use_new_zipfile_serialization=zipped)
    assert_equal_networks(load(path), load(file))


@pytest.mark.parametrize("stored, wanted", [(torch.float16, torch.float32), (torch.bfloat16, torch.float16)])
def test_half_precision(tensors, tmp_path, stored, wanted):
    halves = {
        key: tensor.to(stored) if tensor.is_floating_point() else tensor for key, tensor in tensors.items()
    }
    again = {key: tensor.to(wanted) for key, tensor in halves.items()}
    assert_equal_networks(
        load(write(halves, tmp_path / "a.safetensors"), wanted),
        load(write(again, tmp_path / "b.safetensors"), wanted),
        wanted,
    )


def test_what_is_converted_is_looked_at_whole(tensors, tmp_path):
    """A number that half precision has no room for, in the middle of a large tensor."""
    key = UNET + "output_blocks.0.0.in_layers.2.weight"
    tensor = tensors[key].clone()
    tensor.view(-1)[tensor.numel() // 2] = 70000
    assert tensor.numel() > 2 * checkpoint.ENDS
    path = write({**tensors, key: tensor}, tmp_path / "x.safetensors")
    assert load(path)[1].up_blocks[0].resnets[0].conv1.weight.max() == 70000
    assert_refused(
        path, "holds NaN or infinity in output_blocks", read=lambda path: load(path, torch.float16)
    )


def test_the_file_says_how_many_channels_the_unet_reads(tensors, tmp_path):
    weight = tensors[CONV_IN]
    nine = torch.cat([weight, weight, weight[:, :1]], dim=1)
    _, unet, _ = load(write({**tensors, CONV_IN: nine}, tmp_path / "inpainting.safetensors"))
    assert unet.config.in_channels == 9 and torch.equal(unet.conv_in.weight, nine)


def test_nothing_is_copied(file, monkeypatch):
    read = {}
    monkeypatch.setattr(
        "minisd.single_file.read_tensors", lambda path: read.setdefault("it", read_tensors(path))
    )
    networks = load(file)
    there = {tensor.data_ptr() for tensor in read["it"].values()}
    assert all(tensor.data_ptr() in there for net in networks for tensor in net.state_dict().values())


# ---- from_pretrained


def test_the_tokenizer_is_found_beside_the_file_or_given(file, small, tmp_path):
    alone = tmp_path / "alone.safetensors"
    alone.symlink_to(file)
    beside, given = (
        StableDiffusion.from_pretrained(file, "cpu"),
        StableDiffusion.from_pretrained(alone, "cpu", tokenizer=file.parent / "tokenizer"),
    )
    assert beside.tokenizer.vocab == given.tokenizer.vocab == TOKENIZER.vocab
    assert beside.scheduler_config == SD15["scheduler"] and beside.guidance_scale == 7.5


def test_a_missing_tokenizer_is_noticed_before_the_weights_are_read(tmp_path):
    path, load_it = tmp_path / "v1-5.ckpt", StableDiffusion.from_pretrained
    path.write_bytes(b"not read")
    assert_refused(path, "holds no tokenizer, .* give tokenizer=FOLDER", FileNotFoundError, load_it)


def test_a_tokenizer_for_a_folder_can_be_given(file, small, tmp_path):
    StableDiffusion.from_pretrained(file, "cpu").save_pretrained(tmp_path / "folder")
    (tmp_path / "folder/tokenizer").rename(tmp_path / "words")
    pipe = StableDiffusion.from_pretrained(tmp_path / "folder", "cpu", tokenizer=tmp_path / "words")
    assert_equal_networks((pipe.text_encoder, pipe.unet, pipe.vae), load(file))


def test_a_hub_id_is_fetched(file, small, tmp_path, monkeypatch):
    StableDiffusion.from_pretrained(file, "cpu").save_pretrained(tmp_path / "fetched")
    asked = []
    monkeypatch.setattr(hub, "fetch", lambda model: asked.append(model) or tmp_path / "fetched")
    for name in ("someone/some-model_1.5", "sd15"):
        assert StableDiffusion.from_pretrained(name, "cpu").unet.config.in_channels == 4
    assert asked == ["someone/some-model_1.5", "sd15"]


def test_verify_reports_on_a_single_file(file, small):
    tables = {
        part: {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        for part, net in zip(("text_encoder", "unet", "vae"), load(file))
    }
    lines = list(verify(file, "cpu", shapes=lambda part: tables[part], goldens={"cases": []}))
    assert [(line.result, line.subject) for line in lines] == [
        ("", "minisd"),
        ("", "file"),
        ("ok", "loading"),
        ("ok", "tensors of unet"),
        ("ok", "tensors of vae"),
        ("ok", "tensors of text_encoder"),
        ("", "model"),
    ]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert lines[1].figures == f"v1-5.safetensors, {file.stat().st_size:,} bytes, SHA-256 {digest}"
    assert lines[-1].figures == "taken for v1-5, by the name v1-5.safetensors"


@pytest.mark.parametrize(
    "name", ["nowhere", "a/v1-5.safetensors", "a/v1-5.ckpt", "a/b/c", "../b", "a/", "~/x"]
)
def test_what_is_no_hub_id_is_not_asked_for(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "fetch", lambda model: pytest.fail(f"asked the hub for {model}"))
    with pytest.raises(FileNotFoundError, match="^no model at .*: give 'tiny'"):
        StableDiffusion.from_pretrained(name)


# ---- what is refused


@pytest.mark.parametrize(
    "keys, words",
    [
        (
            [UNET + "out.2.bias", VAE + "quant_conv.bias", "conditioner.embedders.1.model.ln_final.bias"],
            "SDXL: it has",
        ),
        (["add_embedding.linear_1.weight", "conv_in.weight", "down_blocks.0.resnets.0.norm1.bias"], "SDXL"),
        (
            [UNET + "out.2.bias", VAE + "quant_conv.bias", "cond_stage_model.model.ln_final.bias"],
            "Stable Diffusion 2: it",
        ),
        ([UNET + "joint_blocks.0.x_block.mlp.fc1.bias", VAE + "decoder.conv_in.bias"], "Stable Diffusion 3"),
        (["double_blocks.0.img_attn.proj.bias", "final_layer.linear.bias"], "FLUX"),
        (["single_transformer_blocks.0.attn.to_q.bias", "x_embedder.bias"], "FLUX"),
        (
            [
                "lora_unet_down_blocks_0_attentions_0_proj_in.alpha",
                "lora_te_text_model_encoder_layers_0.alpha",
            ],
            "a LoRA, wh",
        ),
        (["unet.down_blocks.0.attentions.0.proj_in.lora_A.weight"], "a LoRA"),
        (
            ["control_model.input_hint_block.0.bias", UNET + "out.2.bias"],
            "a ControlNet, which is added to a model",
        ),
        (["controlnet_cond_embedding.conv_in.bias", "down_blocks.0.resnets.0.norm1.bias"], "a ControlNet"),
        (["emb_params"], "an embedding from textual inversion, which is added to a model:"),
        (["clip_g.transformer.text_model.final_layer_norm.bias", UNET + "out.2.bias"], "SDXL: it has clip_g"),
        (["conv_in.bias", "down_blocks.0.resnets.0.norm1.bias"], "a U-Net alone: it has conv_in.bias, down_"),
        (["input_blocks.0.0.bias", "out.2.bias"], "a U-Net alone"),
        (["encoder.conv_in.bias", "decoder.conv_in.bias", "quant_conv.bias"], "a VAE alone"),
        (["text_model.final_layer_norm.bias"], "a text encoder alone"),
        (["embeddings.token_embedding.weight", "final_layer_norm.bias"], "a text encoder alone"),
        (
            [UNET + "out.2.bias", VAE + "quant_conv.bias"],
            "a part of one: it has nothing under cond_stage_model.transf",
        ),
        (
            [VAE + "quant_conv.bias", TEXT + "text_model.final_layer_norm.bias"],
            "it has nothing under model.diffusion_mod",
        ),
        (
            ["a", "b", "c", "d", "e"],
            "another model, or a part of one: it has a, b, c and 2 more; give a whole checkpoint",
        ),
        ([], "nothing under model.diffusion_model."),
    ],
)
def test_a_file_of_another_model_is_named(tmp_path, keys, words):
    path = write({key: torch.zeros(1) for key in keys}, tmp_path / "x.safetensors")
    assert_refused(path, f"looks like .*{words}")


def test_a_strange_tensor_in_a_whole_checkpoint(tensors, tmp_path):
    path = write(tensors, tmp_path / "x.safetensors", strange=torch.zeros(1))
    assert_refused(path, "looks like another model, or a part of one: it has strange; give")


@pytest.mark.parametrize("key", [CONV_IN, NORM, FINAL])
class TestTensors:
    def test_missing(self, tensors, tmp_path, key):
        path = write(
            {name: tensor for name, tensor in tensors.items() if name != key}, tmp_path / "x.safetensors"
        )
        prefix, name = next((p, key.removeprefix(p)) for p in (UNET, VAE, TEXT) if key.startswith(p))
        with pytest.raises(
            ValueError, match=rf"x.safetensors \({prefix}\*\) lacks {name}; .* fetch the model again"
        ):
            load(path)

    def test_too_many(self, tensors, tmp_path, key):
        path = write(tensors, tmp_path / "x.safetensors", **{key + "s": torch.zeros(1)})
        assert_refused(path, "has more than the model: .*s; weights and config are not of one model")

    def test_misshapen(self, tensors, tmp_path, key):
        path = write({**tensors, key: tensors[key][:-1]}, tmp_path / "x.safetensors")
        assert_refused(path, "does not fit: .*, which is .* and should be ")

    def test_not_finite(self, tensors, tmp_path, key):
        tensor = tensors[key].clone()
        tensor.view(-1)[-1] = math.nan
        assert_refused(
            write({**tensors, key: tensor}, tmp_path / "x.safetensors"), "holds NaN or infinity in "
        )


def test_a_first_convolution_that_is_none(tensors, tmp_path):
    path = write({**tensors, CONV_IN: torch.zeros(7)}, tmp_path / "x.safetensors")
    assert_refused(path, r"does not fit: input_blocks.0.0.weight, which is \(7,\) and")


class Opens:
    """What a hostile pickle holds: unpickling it calls `how`."""

    def __init__(self, how, *arguments):
        self.how, self.arguments = how, arguments

    def __reduce__(self):
        return self.how, self.arguments


@pytest.mark.parametrize("ending", [".ckpt", ".bin", ".safetensors"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize(
    "where",
    [
        lambda tensors, bomb: {"state_dict": {**tensors, "x": bomb}},
        lambda tensors, bomb: {"state_dict": tensors, "callbacks": bomb},
        lambda tensors, bomb: bomb,
    ],
)
def test_code_in_a_pickle_is_not_run(tensors, tmp_path, ending, zipped, where):
    path, mark = tmp_path / f"v1-4{ending}", tmp_path / "ran"
    bomb = Opens(os.mkdir, str(mark))
    torch.save(where({CONV_IN: tensors[CONV_IN]}, bomb), path, _use_new_zipfile_serialization=zipped)
    assert_refused(
        path, r"asks for \w+.mkdir, which could run any code and is not loaded; fetch .*: v1-4.safe"
    )
    assert not mark.exists()
    torch.load(path.rename(path.with_suffix(".pt")), weights_only=False)
    assert mark.exists()  # it is a bomb


def test_a_training_tools_objects_are_named(tensors, tmp_path):
    """As in the first .ckpt files, which hold what pytorch_lightning kept."""
    path = tmp_path / "sd-v1-4.ckpt"
    torch.save({"state_dict": tensors}, path)
    module = b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n."
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "new.ckpt", "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, b"\x80\x02" + module if name.endswith("data.pkl") else old.read(name))
    assert_refused(
        tmp_path / "new.ckpt",
        "asks for pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint, "
        "which could run any code and is not loaded; fetch the same weights as safetensors: new.saf",
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize(
    "keep",
    [lambda n: 0, lambda n: 4, lambda n: 100, lambda n: n // 2, lambda n: n - 1],
    ids=["nothing", "4 bytes", "100 bytes", "half", "all but a byte"],
)
def test_a_truncated_ckpt(tmp_path, zipped, keep):
    path = tmp_path / "v1-4.ckpt"
    torch.save(
        {"state_dict": {CONV_IN: torch.zeros(20, 4, 3, 3)}}, path, _use_new_zipfile_serialization=zipped
    )
    path.write_bytes(path.read_bytes()[: keep(path.stat().st_size)])
    assert_refused(path, r"is not a whole file of tensors \(\w+\); fetch|is empty|nor a pickle of torch's")


@pytest.mark.parametrize(
    "data, words",
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1",
            "is a git-lfs pointer: run git lfs pull, or fetch",
        ),
        (b"<!doctype html>\n<html>", "is a web page: fetch the file itself"),
        (b"GGUF\x03\x00\x00\x00" * 100, "is a GGUF file, for ggml: fetch the model as safetensors"),
        (b"PK\x03\x04" + bytes(100), "is not a whole file of tensors"),
        (b"\x10\0\0\0\0\0\0\0{}              ", "it has nothing under model.diffusion_model."),
        (pickle.dumps(None, 2), "is not a whole file of tensors"),
    ],
    ids=["git-lfs", "web page", "gguf", "zip", "safetensors", "pickle"],
)
def test_a_ckpt_that_is_something_else(tmp_path, data, words):
    (tmp_path / "v1-4.ckpt").write_bytes(data)
    assert_refused(tmp_path / "v1-4.ckpt", words)


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        torch.zeros(3),
        {"state_dict": [torch.zeros(3)]},
        {"a": 1},
        {"state_dict": 3},
        {"state_dict": {"a": torch.zeros(1), "b": {"c": torch.zeros(1)}}},
    ],
    ids=repr,
)
def test_a_pickle_of_something_else(tmp_path, value):
    torch.save(value, tmp_path / "v1-4.ckpt")
    assert_refused(
        tmp_path / "v1-4.ckpt", "holds no dictionary of tensors; fetch the model as safetensors: v1-4.saf"
    )


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damage_is_never_more_than_one_line(tmp_path):
    """Bytes changed at random: the file is read, or refused in one line; nothing else comes out."""
    rng, path = np.random.default_rng(0), tmp_path / "v1-4.ckpt"
    held = {"state_dict": {"a": torch.randn(5), "b": torch.randn(3)}}
    for zipped in (True, False):
        torch.save(held, path, _use_new_zipfile_serialization=zipped)
        whole, refused = path.read_bytes(), 0
        for _ in range(150):
            data = bytearray(whole)
            for place in rng.integers(len(data), size=rng.integers(1, 30)):
                data[place] = rng.integers(256)
            path.write_bytes(data)
            try:
                read_tensors(path)
            except ValueError as error:
                refused += 1
                assert "\n" not in str(error) and str(path) in str(error)
        assert refused > 30


def test_whole_numbers_are_refused(tensors, tmp_path):
    eights = {**tensors, CONV_IN: tensors[CONV_IN].to(torch.int8)}
    assert_refused(
        write(eights, tmp_path / "x.safetensors"),
        "does not hold plain floating-point numbers: input_blocks.0.0.weight, of torch.int8; fetch the model",
    )


def test_a_safetensors_file_is_left_as_it_is(file):
    before = file.read_bytes()
    with torch.no_grad():
        for parameter in load(file)[1].parameters():
            parameter.add_(1)
    assert file.read_bytes() == before and load_file(file).keys() == published_shapes("single-file").keys()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_of_a_large_mapped_tensor_both_ends_are_looked_at(value):
    ends = checkpoint.ENDS
    for place, seen in (
        (0, True),
        (ends - 1, True),
        (ends, False),
        (-ends - 1, False),
        (-ends, True),
        (-1, True),
    ):
        tensor = torch.zeros(5, ends)
        tensor.view(-1)[place] = value
        assert not checkpoint.finite(tensor, mapped=False)
        assert checkpoint.finite(tensor, mapped=True) != seen
    small = torch.zeros(2, ends)
    small[1, 0] = value
    assert not checkpoint.finite(small, mapped=True)
