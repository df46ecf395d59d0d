"""Reading and writing model folders: bit for bit, and one clear line for everything that is broken."""

import dataclasses
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from minisd import StableDiffusion, TextEncoder, checkpoint
from minisd.checkpoint import TEXT_WEIGHTS, WEIGHTS, load_model, save_model, write_json
from small import SCHEDULER, assert_same, small_pipeline

UNET, VAE, TEXT = f"unet/{WEIGHTS}", f"vae/{WEIGHTS}", f"text_encoder/{TEXT_WEIGHTS}"
SDXL = {
    "addition_embed_type": "text_time",
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    small_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of a small model's folder, to be broken."""
    return shutil.copytree(saved, tmp_path / "model")


def load(folder):
    return StableDiffusion.from_pretrained(folder, device="cpu")


def tensors_of(pipe):
    nets = (pipe.text_encoder, pipe.unet, pipe.vae)
    return {(i, name): value for i, net in enumerate(nets) for name, value in net.state_dict().items()}


def assert_equal_models(a, b):
    a, b = tensors_of(a), tensors_of(b)
    assert a.keys() == b.keys()
    assert all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a)


def edit_tensors(path, **changes):
    """Write a weight file again with some tensors changed; None takes one out."""
    tensors = load_file(path)
    for name, value in changes.items():
        name = name.replace("__", ".")
        tensors.pop(name, None)
        if value is not None:
            tensors[name] = value
    save_file(tensors, path, metadata={"format": "pt"})


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def assert_refused(folder, file, error, words=None):
    """Loading fails with one line of the kind `error` that names the file and says the words."""
    with pytest.raises(error, match=words) as caught:
        load(folder)
    assert type(caught.value) is error  # a FileNotFoundError is no ValueError, and no subclass passes
    assert "\n" not in str(caught.value) and str(folder / file) in str(caught.value)


# ---- there and back


def test_a_saved_model_comes_back_bit_for_bit(saved):
    pipe, original = load(saved), small_pipeline()
    assert_equal_models(pipe, original)
    assert pipe.scheduler_config == SCHEDULER and pipe.tokenizer.vocab == original.tokenizer.vocab


def test_a_saved_model_saves_the_same_files_again(saved, tmp_path):
    load(saved).save_pretrained(tmp_path / "again")
    files = sorted(path.relative_to(saved) for path in saved.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*.*"))
    assert [f for f in files if (saved / f).read_bytes() != (tmp_path / "again" / f).read_bytes()] == []


def test_the_texts_in_a_files_header_are_in_order(tmp_path):
    """The library writes them in a random one, and the same model should be the same bytes."""
    texts = {letter: letter for letter in "hgfedcba"}
    checkpoint.save_tensors({"x": torch.ones(2)}, tmp_path / "f.safetensors", torch.float32, texts)
    data = (tmp_path / "f.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert (
        list(header["__metadata__"]) == sorted(header["__metadata__"]) and len(header["__metadata__"]) == 10
    )


def test_a_model_can_be_saved_over_the_files_that_it_is_mapped_from(folder):
    load(folder).save_pretrained(folder)
    assert_equal_models(load(folder), small_pipeline())


def test_the_position_numbers_of_old_text_encoders_are_passed_over(folder):
    edit_tensors(folder / TEXT, text_model__embeddings__position_ids=torch.arange(77)[None])
    assert_equal_models(load(folder), small_pipeline())


def test_the_names_of_transformers_5_are_read_too(folder):
    tensors = {name.removeprefix("text_model."): tensor for name, tensor in load_file(folder / TEXT).items()}
    save_file(tensors, folder / TEXT)
    assert_equal_models(load(folder), small_pipeline())


@pytest.mark.parametrize(
    "file, outer", [(TEXT, "text_encoder."), (TEXT, "module."), (UNET, "unet."), (VAE, "first_stage_model.")]
)
def test_names_that_begin_with_the_part_are_read_too(folder, file, outer):
    save_file({outer + name: tensor for name, tensor in load_file(folder / file).items()}, folder / file)
    assert_equal_models(load(folder), small_pipeline())


@pytest.mark.parametrize("file", [UNET, VAE])
def test_a_text_encoders_layer_in_another_network_is_not_passed_over(folder, file):
    edit_tensors(folder / file, text_model__encoder__layers__5__mlp__fc1__bias=torch.ones(4))
    assert_refused(folder, file, ValueError, "text_model.encoder.layers.5.mlp.fc1.bias")


def test_nan_in_the_middle_of_a_small_file_is_found():
    """Of a large tensor in a mapped file only the two ends are looked at; a small file is read whole."""
    net = torch.nn.Linear(200, 200)
    tensors = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    tensors["weight"][100, 100] = torch.nan
    assert tensors["weight"].numel() > 2 * checkpoint.ENDS
    assert checkpoint.finite(tensors["weight"], mapped=True)
    with pytest.raises(ValueError, match="small.safetensors holds NaN or infinity in weight"):
        checkpoint.fill(net, tensors, "small.safetensors", "cpu", torch.float32)


def test_only_a_convolution_of_one_pixel_is_read_as_a_linear_layer():
    linear, convolution = torch.ones(2, 12), torch.ones(2, 12, 1, 1)
    assert checkpoint.as_convolution(convolution, linear).shape == linear.shape
    assert checkpoint.as_convolution(linear, convolution).shape == convolution.shape
    wide = torch.ones(2, 4, 3, 1)
    assert checkpoint.as_convolution(wide, linear).shape == wide.shape
    assert checkpoint.as_convolution(linear, wide).shape == linear.shape


def test_the_old_names_of_the_vaes_attention_are_read_too(folder):
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(folder / VAE)
    for new in old:
        renamed = {name.replace(f".{new}.", f".{old[new]}."): tensor for name, tensor in tensors.items()}
        assert len(renamed.keys() - tensors.keys()) >= 4  # weight and bias, in encoder and decoder
        tensors = renamed
    save_file(tensors, folder / VAE)
    assert_equal_models(load(folder), small_pipeline())


# ---- several files of one network

STEMS = {UNET: "unet/diffusion_pytorch_model", VAE: "vae/diffusion_pytorch_model", TEXT: "text_encoder/model"}


@pytest.mark.parametrize(
    "dtype, order",
    [
        (torch.float32, [".safetensors", ".bin", ".fp16.safetensors", ".fp16.bin"]),
        (torch.bfloat16, [".safetensors", ".bin", ".fp16.safetensors", ".fp16.bin"]),
        (torch.float16, [".fp16.safetensors", ".fp16.bin", ".safetensors", ".bin"]),
    ],
)
def test_which_of_several_files_is_read(folder, dtype, order):
    """Each file holds another number, so that the model says which one was read."""
    tensors = {file: load_file(folder / file) for file in STEMS}
    pickled = {**STEMS, TEXT: "text_encoder/pytorch_model"}
    paths = [
        [folder / (stem + ending) for stem in (pickled if ending.endswith("bin") else STEMS).values()]
        for ending in order
    ]
    for number, ending in enumerate(order):
        for held, path in zip(tensors.values(), paths[number]):
            numbered = {name: torch.full_like(tensor, number) for name, tensor in held.items()}
            (torch.save if ending.endswith("bin") else save_file)(numbered, path)
    for number in range(len(order)):
        pipe = StableDiffusion.from_pretrained(folder, "cpu", dtype)
        for tensor in tensors_of(pipe).values():
            assert tensor.dtype == dtype and (tensor == number).all()
        for path in paths[number]:
            path.unlink()
    assert_refused(folder, TEXT, FileNotFoundError, "is missing: fetch the model again")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_weights_in_pickles_come_back_bit_for_bit(folder, zipped):
    for file, name in (
        (UNET, "diffusion_pytorch_model.bin"),
        (VAE, "diffusion_pytorch_model.bin"),
        (TEXT, "pytorch_model.bin"),
    ):
        torch.save(
            load_file(folder / file), (folder / file).with_name(name), _use_new_zipfile_serialization=zipped
        )
        (folder / file).unlink()
    assert_equal_models(load(folder), small_pipeline())


def test_code_in_a_folders_pickle_is_not_run_and_its_twin_is_named(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (folder / TEXT).unlink()
    torch.save({"a": Bomb()}, folder / "text_encoder/pytorch_model.bin")
    assert_refused(
        folder,
        "text_encoder/pytorch_model.bin",
        ValueError,
        r"asks for \w+.mkdir, which could run any code .* as safetensors: model.safetensors$",
    )
    assert not (tmp_path / "ran").exists()


def test_nothing_is_drawn_for_weights_that_a_file_replaces(saved):
    before = torch.get_rng_state()
    load(saved)
    assert torch.equal(torch.get_rng_state(), before)


# ---- what is missing


def test_no_folder(tmp_path):
    assert_refused(
        tmp_path / "nowhere", "", FileNotFoundError, "give 'tiny', a folder in diffusers layout, a .saf"
    )


def test_a_folder_that_is_no_model(tmp_path):
    assert_refused(tmp_path, "", FileNotFoundError, "model_index.json")


@pytest.mark.parametrize("file", [UNET, VAE, TEXT])
def test_a_missing_weight_file(folder, file):
    (folder / file).unlink()
    assert_refused(folder, file, FileNotFoundError, "fetch the model again, or train it")


@pytest.mark.parametrize(
    "file",
    [
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/merges.txt",
    ],
)
def test_another_missing_file(folder, file):
    (folder / file).unlink()
    assert_refused(folder, file, FileNotFoundError)


# ---- broken weight files


@pytest.mark.parametrize("file", [UNET, VAE, TEXT])
@pytest.mark.parametrize(
    "keep",
    [lambda n: 0, lambda n: 4, lambda n: 100, lambda n: n // 2, lambda n: n - 1],
    ids=["nothing", "4 bytes", "100 bytes", "half", "all but a byte"],
)
def test_a_truncated_weight_file(folder, file, keep):
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(data[: keep(len(data))])
    words = "(not a whole safetensors file.*|is empty).* fetch the file again"
    assert_refused(folder, file, ValueError, words)


@pytest.mark.parametrize(
    "start, words",
    [
        (b"PK\x03\x04", "is not a whole"),
        (b"\x80\x02}q", "holds more than tensors|is not a whole file of tensors"),
        (b"GGUF\x03\0\0\0", "is a GGUF file"),
    ],
    ids=["zip", "pickle", "GGUF"],
)
def test_a_weight_file_of_another_kind(folder, start, words):
    (folder / UNET).write_bytes(start + (folder / UNET).read_bytes()[len(start) :])
    assert_refused(folder, UNET, ValueError, words)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3438167540\n"
PAGES = [b"<!DOCTYPE html>\n<html lang=en>", b"\n  <html><head><title>Log in", b"<!doctype HTML PUBLIC>"]


@pytest.mark.parametrize(
    "data, words",
    [
        (LFS, "is a git-lfs pointer: run git lfs pull, or fetch"),
        *((page, "is a web page: fetch the file itself") for page in PAGES),
    ],
)
@pytest.mark.parametrize("file", [UNET, TEXT, "unet/diffusion_pytorch_model.bin"])
def test_what_a_download_left_in_place_of_the_weights(folder, file, data, words):
    (folder / UNET).unlink()
    (folder / file).write_bytes(data)
    assert_refused(folder, file, ValueError, words)


@pytest.mark.parametrize(
    "file, name",
    [(UNET, "conv_in.weight"), (VAE, "quant_conv.bias"), (TEXT, "text_model.final_layer_norm.bias")],
)
class TestTensors:
    def edit(self, folder, file, name, change):
        edit_tensors(folder / file, **{name: change(load_file(folder / file)[name])})

    def test_missing(self, folder, file, name):
        self.edit(folder, file, name, lambda tensor: None)
        assert_refused(folder, file, ValueError, f"lacks {name};.*fetch the model again")

    def test_too_many(self, folder, file, name):
        edit_tensors(folder / file, **{name + "s": torch.zeros(3)})
        assert_refused(folder, file, ValueError, f"has more than the model: {name}s;")

    def test_misshapen(self, folder, file, name):
        self.edit(folder, file, name, lambda tensor: tensor[:-1].contiguous())
        assert_refused(folder, file, ValueError, f"does not fit: {name}, which is .* and should be ")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_not_finite(self, folder, file, name, value, dtype):
        def spoil(tensor):
            tensor = tensor.to(dtype)
            tensor.view(-1)[-1] = value
            return tensor

        self.edit(folder, file, name, spoil)
        assert_refused(folder, file, ValueError, f"holds NaN or infinity in {name};")


def test_many_wrong_tensors_are_counted_and_not_all_listed(folder):
    edit_tensors(folder / UNET, **{f"extra.{i}": torch.zeros(1) for i in range(9)})
    assert_refused(folder, UNET, ValueError, "extra.0, extra.1, extra.2 and 6 more;")


# ---- configs


@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
@pytest.mark.parametrize("text", ["", "{", '{"a": 1,}', "[1, 2]", "null", b"\xff\xfe\x00"])
def test_a_file_that_holds_no_json_object(folder, file, text):
    (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_refused(folder, file, ValueError, "fetch or write the file again")


@pytest.mark.parametrize(
    "part, changes, words",
    [
        ("unet", {"use_magic": True}, "use_magic=True, which minisd does not know"),
        ("unet", SDXL, "not a Stable Diffusion 1.x model"),
        ("unet", {"use_linear_projection": True}, "use_linear_projection"),
        ("unet", {"act_fn": "gelu"}, "asks for act_fn='gelu', but minisd builds only 'silu'"),
        (
            "unet",
            {"down_block_types": ["DownBlock2D", "AttnDownBlock2D"]},
            "down_block_types must be 2 out of",
        ),
        ("unet", {"down_block_types": ["DownBlock2D"]}, "down_block_types must be 2 out of"),
        ("unet", {"attention_head_dim": 5}, "5 attention heads can't share a width of 32 evenly"),
        ("unet", {"norm_num_groups": 5}, "5 groups .* can't share 16 channels evenly"),
        (
            "vae",
            {"down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"] * 2},
            "down_block_types must be",
        ),
        ("vae", {"use_quant_conv": False}, "use_quant_conv=False"),
        ("vae", {"shift_factor": 0.1159}, "shift_factor"),
        ("text_encoder", {"hidden_act": "relu"}, "hidden_act must be one of quick_gelu, gelu"),
        ("text_encoder", {"num_attention_heads": 3}, "3 attention heads can't share a width of 16 evenly"),
        ("text_encoder", {"model_type": "t5", "d_ff": 1024}, "d_ff=1024, which minisd does not know"),
    ],
)
def test_a_config_of_another_model(folder, part, changes, words):
    edit_json(folder / part / "config.json", **changes)
    assert_refused(folder, f"{part}/config.json", ValueError, words)


@pytest.mark.parametrize(
    "file, changes",
    [
        (UNET, {"block_out_channels": [16, 64]}),
        (UNET, {"layers_per_block": 2}),
        (VAE, {"latent_channels": 8}),
        (TEXT, {"num_hidden_layers": 3}),
        (TEXT, {"vocab_size": 600}),
    ],
)
def test_a_config_that_is_not_the_weights_own(folder, file, changes):
    edit_json((folder / file).with_name("config.json"), **changes)
    assert_refused(folder, file, ValueError, "weights and config are not of one model: fetch the model again")


def test_an_inpainting_unet_loads(folder):
    weight = load_file(folder / UNET)["conv_in.weight"]
    nine = torch.cat([weight, weight, weight[:, :1]], dim=1)
    edit_tensors(folder / UNET, conv_in__weight=nine)
    edit_json(folder / "unet/config.json", in_channels=9)
    pipe = load(folder)
    assert pipe.unet.config.in_channels == 9 and torch.equal(pipe.unet.conv_in.weight, nine)


def test_a_tokenizer_of_another_model(folder):
    lines = (folder / "tokenizer/merges.txt").read_text().splitlines()
    (folder / "tokenizer/merges.txt").write_text("\n".join(lines[:-1]) + "\n")
    (folder / "tokenizer/vocab.json").unlink()
    with pytest.raises(ValueError, match="the tokenizer has .* tokens, the text encoder knows") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


# ---- writing


@pytest.mark.parametrize("accident", [OSError("No space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_save_that_fails_leaves_the_old_files_and_nothing_else(folder, monkeypatch, accident):
    def write_half(tensors, path, metadata):
        path.write_bytes(b"half")
        raise accident

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    pipe = load(folder)
    pipe.text_encoder.config = dataclasses.replace(pipe.text_encoder.config, layer_norm_eps=1e-6)
    monkeypatch.setattr(checkpoint, "save_file", write_half)
    with pytest.raises(type(accident)):
        save_model(pipe.text_encoder, folder / "text_encoder", TEXT_WEIGHTS, "CLIPTextModel", torch.float32)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_first_save_that_fails_leaves_no_file(tmp_path, monkeypatch):
    def write_half(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", write_half)
    with pytest.raises(OSError):
        small_pipeline().save_pretrained(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"tokenizer", "text_encoder"}
    assert list((tmp_path / "model/text_encoder").iterdir()) == []


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    write_json({"a": 1}, tmp_path / "x.json")
    with pytest.raises(TypeError):
        write_json({"a": object()}, tmp_path / "x.json")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}


def test_a_text_encoders_config_survives_the_way_there_and_back(saved):
    net = load_model(TextEncoder, saved / "text_encoder", TEXT_WEIGHTS, "cpu", torch.float32)
    assert net.config == small_pipeline().text_encoder.config
    written = json.loads((saved / "text_encoder/config.json").read_text())
    assert written == {**net.config.to_dict(), "architectures": ["CLIPTextModel"]}


def test_a_text_encoder_may_be_asked_for_fewer_layers_than_its_file_holds(saved, tmp_path):
    """Clip skip by the config, as transformers reads it: the last layer is left out."""
    import transformers

    shutil.copytree(saved / "text_encoder", tmp_path / "text_encoder")
    path = tmp_path / "text_encoder/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 1}))
    ours = load_model(TextEncoder, path.parent, TEXT_WEIGHTS, "cpu", torch.float32)
    theirs = transformers.CLIPTextModel.from_pretrained(path.parent).eval()
    ids = torch.arange(5, 15)[None]
    assert len(ours.text_model.encoder.layers) == 1
    with torch.no_grad():
        assert_same(ours(ids), theirs(ids).last_hidden_state)
