"""The `minisd` command: what it writes and prints, and that bad input ends in one line and no file."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import minisd
from minisd import StableDiffusion, cli, scenes, sheets
from minisd.cli import main
from minisd.commands import hints, options, picture_file
from minisd.commands import paint as painting
from minisd.commands.picture_file import SAMPLERS_ELSEWHERE
from minisd.config import SAMPLER_NAMES
from minisd.lora import LoRA, add_embedding
from minisd.teaching.book import ROOT
from minisd.training.recipe import STAGES
from small import small_pipeline

HOUSE = "a red house left of a yellow tent"
# How AUTOMATIC1111's web UI reads the last line of `parameters` (modules/infotext_utils.py).
WEB_UI = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A small model with random weights that says it paints the little world: pictures 64x64."""
    folder = tmp_path_factory.mktemp("cli") / "speck"
    small_pipeline().save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_world": "minisd.scenes"}))
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty current folder for every test."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def paint(model, capsys):
    """Runs `minisd paint` with two steps; returns the exit code, stdout and stderr."""

    def run(*words, model=model, steps="2"):
        capsys.readouterr()
        code = main(["paint", *words, "--model", str(model), *(["--steps", steps] if steps else [])])
        return code, *capsys.readouterr()

    return run


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def settings(picture):
    """The last line of a picture's parameters, as the web UI reads it."""
    return dict(WEB_UI.findall(picture.text["parameters"].split("\n")[-1]))


def assert_one_line_error(result, *words, folder):
    code, out, err = result
    assert (code, out) == (2, "")
    assert re.fullmatch(r"minisd: error: [^\n]+\n", err), err
    for word in words:
        assert word in err
    assert files(folder) == []


# ---- pictures


def test_a_picture_is_what_the_pipeline_paints(paint, model, here):
    code, out, err = paint(HOUSE, "--seed", "7", "--guidance", "3")
    assert (code, err) == (0, "")
    name = "a-red-house-left-of-a-yellow-tent-seed-7.png"
    assert files(here) == [name]
    painted, took, *following = out.splitlines()
    assert painted == f"painted  {here / name}"
    stages = re.fullmatch(r"took     (.*)", took)[1]
    assert re.findall(r"(\w+) \d+\.\d\d s", stages) == [
        "import",
        "loading",
        "reading",
        "painting",
        "decoding",
    ]
    assert following[0].startswith("next  ") and len(following) == 3
    expected = StableDiffusion.from_pretrained(model)(HOUSE, num_inference_steps=2, guidance_scale=3, seed=7)[
        0
    ]
    with Image.open(here / name) as picture:
        assert picture.size == (64, 64) and picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), np.asarray(expected))


def test_parameters_as_the_web_ui_writes_them(paint, here):
    paint(HOUSE, "--out", "a.png", "--negative", "a green car, at night", "--guidance", "4", "--width", "80")
    with Image.open("a.png") as picture:
        assert picture.text["parameters"] == (
            f"{HOUSE}\nNegative prompt: a green car, at night\n"
            "Steps: 2, Sampler: DDIM, CFG scale: 4, Seed: 0, Size: 80x64, Model: speck, "
            f"Version: minisd {minisd.__version__}"
        )
        assert picture.size == (80, 64)


def test_all_settings_reach_the_picture(paint, model, here):
    options = ["--negative", "a tree", "--guidance", "2.5", "--height", "72", "--width", "56"]
    paint(HOUSE, "--out", "a.png", "--seed", "3", "--eta", "0.5", *options)
    paint(HOUSE, "--out", "b.png", "--seed", "3", "--sampler", "ddpm", *options)
    pipe = StableDiffusion.from_pretrained(model)
    for name, more in (("a.png", {"eta": 0.5}), ("b.png", {"sampler": "ddpm"})):
        expected = pipe(
            HOUSE,
            num_inference_steps=2,
            seed=3,
            negative_prompt="a tree",
            guidance_scale=2.5,
            height=72,
            width=56,
            **more,
        )[0]
        with Image.open(name) as picture:
            assert np.array_equal(np.asarray(picture), np.asarray(expected))
    with Image.open("a.png") as picture:
        assert settings(picture)["Eta DDIM"] == "0.5"
    with Image.open("b.png") as picture:
        assert settings(picture)["Sampler"] == "DDPM"


@pytest.fixture
def photo(tmp_path):
    """A picture file in soft colours, 72x64 when it is turned as its EXIF data say."""
    colours = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    picture = Image.fromarray(colours).resize((64, 72))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn it by 90 degrees
    picture.save(tmp_path / "photo.png", exif=exif)
    return tmp_path / "photo.png"


@pytest.fixture
def mask(tmp_path):
    Image.fromarray(np.uint8([[255, 0], [0, 255]])).resize((50, 50)).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def test_painting_over_a_picture(paint, model, here, photo, mask):
    paint(HOUSE, "--out", "a.png", "--image", str(photo), steps="5")
    options = ["--strength", "0.55", "--sampler", "pndm", "--image", str(photo)]
    paint(HOUSE, "--out", "b.png", "--mask", str(mask), *options, steps="5")
    paint(HOUSE, "--out", "c.png", "--width", "80", *options, steps="5")
    pipe, turned = (
        StableDiffusion.from_pretrained(model),
        Image.open(photo).transpose(Image.Transpose.ROTATE_270),
    )
    assert turned.size == (72, 64)
    more = {"strength": 0.55, "sampler": "pndm"}
    for name, size, strength, given in (
        ("a.png", "72x64", "0.8", {}),
        ("b.png", "72x64", "0.55", {"mask_image": Image.open(mask), **more}),
        ("c.png", "80x64", "0.55", {"width": 80, **more}),
    ):
        expected = pipe(HOUSE, num_inference_steps=5, image=turned, **given)[0]
        with Image.open(name) as picture:
            assert np.array_equal(np.asarray(picture), np.asarray(expected))
            assert (settings(picture)["Denoising strength"], settings(picture)["Size"]) == (strength, size)


def test_loras_and_learned_words(paint, model, here, tmp_path):
    pipe = StableDiffusion.from_pretrained(model)
    style, other, cat = (tmp_path / name for name in ("style.safetensors", "other.safetensors", "cat.pt"))
    for seed, path in enumerate((style, other)):
        lora = LoRA.new(pipe, rank=2, seed=seed)
        for low in lora.layers.values():
            torch.nn.init.normal_(low.up, generator=torch.Generator().manual_seed(seed))
        lora.save(path)
        lora.merge(pipe, (0.5, 1.0)[seed])
    torch.save(
        {
            "<cat>": torch.randn(
                2, pipe.text_encoder.config.hidden_size, generator=torch.Generator().manual_seed(0)
            )
        },
        cat,
    )
    assert add_embedding(pipe, cat) == "<cat>"
    words = ["--out", "a.png", "--lora", f"{style}:0.5", "--lora", str(other), "--embedding", str(cat)]
    code, out, err = paint(f"{HOUSE} <CAT>", *words)
    assert (code, err) == (0, "")  # nor a note that the little world knows no <cat>
    assert f"--lora {style}:0.5 --lora {other}" in out
    with Image.open("a.png") as picture:
        assert np.array_equal(
            np.asarray(picture), np.asarray(pipe(f"{HOUSE} <cat>", num_inference_steps=2)[0])
        )
        assert (
            settings(picture)["LoRA"] == '"style at 0.5, other at 1"'
            and settings(picture)["Embeddings"] == "cat"
        )
    assert options.file_and_scale(r"C:\style.safetensors") == (Path(r"C:\style.safetensors"), 1.0)


def test_a_grid_and_a_trace_over_a_picture(paint, here, photo):
    words = ["--image", str(photo), "--sampler", "pndm", "--strength"]
    for name, strength, steps, shown in (("one.png", "0.1", "20", 3), ("all.png", "1", "5", 6)):
        assert paint(HOUSE, "--grid", "2", "--trace", "--out", name, *words, strength, steps=steps)[0] == 0
        with Image.open(name) as strip:  # pndm asks once more than it takes steps
            assert strip.width == 2 * sheets.MARGIN + (shown + 1) * sheets.NARROWEST + shown * sheets.GAP


@pytest.mark.parametrize("sampler, name", SAMPLERS_ELSEWHERE.items())
def test_every_sampler_paints_and_is_named_as_in_the_web_ui(paint, model, here, sampler, name):
    paint(HOUSE, "--out", "a.png", "--sampler", sampler, "--trace", steps="3")
    with Image.open("a.png") as picture:
        assert settings(picture)["Sampler"] == name and "Denoising strength" not in settings(picture)


def test_the_samplers_named_are_those_there_are():
    assert list(SAMPLERS_ELSEWHERE) == list(SAMPLER_NAMES) == list(minisd.SAMPLERS)


def test_where_and_in_what_to_compute_reaches_the_model(paint, here, monkeypatch, tmp_path):
    asked, load = [], StableDiffusion.from_pretrained

    def recorded(model, device, dtype, tokenizer, vae, offload):
        asked.append((device, dtype, tokenizer, vae, offload))
        return load(model, device, dtype)

    monkeypatch.setattr(StableDiffusion, "from_pretrained", recorded)
    more = ["--tokenizer", "words", "--vae", "other.safetensors"]
    assert paint(HOUSE, "--dtype", "bfloat16", "--device", "cpu", "--offload", *more)[0] == 0
    assert asked == [("cpu", torch.bfloat16, Path("words"), Path("other.safetensors"), True)]
    assert "--tokenizer words --vae other.safetensors" in paint(HOUSE, *more)[1]
    assert asked[1][:2] == (None, torch.float32) and asked[1][-1] is False


def test_a_model_in_one_file_is_named_without_its_ending(tmp_path):
    file = tmp_path / "dream.v1.safetensors"
    file.touch()
    args = cli.build_parser().parse_args(["paint", "x", "--model", str(file)])
    pipe = small_pipeline()
    assert painting.settled(pipe, args, range(1), (8, 8)).model == "dream.v1"
    assert not painting.paints_little_world(str(file))  # it has no model_index.json to ask


@pytest.mark.parametrize("prompt, chunk", [("ein Häuschen", b"tEXt"), ("雪の中の赤い家 🏠", b"iTXt")])
def test_prompts_in_other_scripts_survive(paint, here, prompt, chunk):
    assert paint(prompt, "--out", "a.png")[0] == 0
    assert chunk + b"parameters" in (here / "a.png").read_bytes()
    with Image.open("a.png") as picture:
        assert picture.text["parameters"].split("\n")[0] == prompt


def test_the_model_has_its_own_guidance(paint, model, tmp_path):
    paint(HOUSE, "--out", "a.png")
    folder = tmp_path / "model, the second"
    shutil.copytree(model, folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_guidance_scale": 2.25}))
    paint(HOUSE, "--out", "b.png", model=folder)
    with Image.open("a.png") as a, Image.open("b.png") as b:
        assert (settings(a)["CFG scale"], settings(b)["CFG scale"]) == ("7.5", "2.25")
        assert settings(b)["Model"] == '"model, the second"'
        assert not np.array_equal(np.asarray(a), np.asarray(b))


def test_no_file_is_replaced_unasked(paint, here):
    for _ in range(3):
        paint("a tree")
    assert files(here) == ["a-tree-seed-0-2.png", "a-tree-seed-0-3.png", "a-tree-seed-0.png"]
    assert "in place of" not in paint("a tree", "--out", "b.png")[1]
    assert "in place of" in paint("a tree", "--out", "b.png")[1]


@pytest.mark.parametrize(
    "words, name",
    [
        (["A Red house!"], "a-red-house-seed-0.png"),
        (["../../etc"], "etc-seed-0.png"),
        ([""], "picture-seed-0.png"),
        (["🏠"], "picture-seed-0.png"),
        (["x" * 300], "x" * 60 + "-seed-0.png"),
        (["雪" * 300], "雪" * 20 + "-seed-0.png"),
        (["a " + "house " * 20], "a" + "-house" * 9 + "-seed-0.png"),
        (
            ["a tree", "a car", "--seed", "5", "--grid", "9", "--trace"],
            "a-tree-and-1-more-seeds-5-to-13-trace.png",
        ),
    ],
)
def test_default_names(words, name):
    args = cli.build_parser().parse_args(["paint", *words])
    assert picture_file.default_name(args, painting.chosen_seeds(args)) == name


# ---- sheets and strips


@pytest.fixture
def in_float64(monkeypatch):
    """In float32 convolutions round batches of different sizes differently, on every CPU in its own way."""
    monkeypatch.setattr(painting, "chosen_dtype", lambda args: torch.float64)


def test_a_grid(paint, here, in_float64):
    assert paint(HOUSE, "--grid", "5", "--seed", "10")[0] == 0
    assert files(here) == ["a-red-house-left-of-a-yellow-tent-seeds-10-to-14.png"]
    paint(HOUSE, "--out", "alone.png", "--seed", "11")
    cell = 2 * 64
    with Image.open(here / files(here)[0]) as sheet, Image.open("alone.png") as alone:
        assert sheet.width == 2 * sheets.MARGIN + 3 * cell + 2 * sheets.GAP
        assert settings(sheet)["Seeds"] == '"10, 11, 12, 13, 14"' and settings(sheet)["Size"] == "64x64"
        left, top = sheets.MARGIN + cell + sheets.GAP, sheets.MARGIN
        second = np.asarray(sheet.crop((left, top, left + cell, top + cell)), int)
        expected = np.asarray(alone.resize((cell, cell), Image.Resampling.BICUBIC), int)
        assert np.array_equal(second, expected)


def test_a_large_grid_is_painted_in_batches(paint, in_float64, monkeypatch):
    monkeypatch.setattr(painting, "BATCH", 2)
    paint(HOUSE, "--grid", "3", "--out", "a.png")
    monkeypatch.setattr(painting, "BATCH", 8)
    paint(HOUSE, "--grid", "3", "--out", "b.png")
    with Image.open("a.png") as a, Image.open("b.png") as b:
        assert np.array_equal(np.asarray(a), np.asarray(b))


def test_several_prompts(paint, here):
    assert paint(HOUSE, "a tree", "a car", "--out", "a.png")[0] == 0
    with Image.open("a.png") as sheet:
        assert sheet.text["parameters"].split("\n")[:3] == [HOUSE, "a tree", "a car"]
        assert sheet.width == 2 * sheets.MARGIN + 2 * 128 + sheets.GAP
    assert paint("a tree", "a car", "--grid", "3", "--out", "b.png")[0] == 0
    with Image.open("b.png") as sheet:  # a row for each prompt
        assert sheet.width == 2 * sheets.MARGIN + 3 * 128 + 2 * sheets.GAP


def test_a_grid_of_one_is_a_sheet(paint, here):
    paint(HOUSE, "--grid", "1", "--out", "a.png")
    with Image.open("a.png") as sheet:
        assert sheet.width == 2 * sheets.MARGIN + 128 and sheet.height > 2 * sheets.MARGIN + 128


def test_a_trace_ends_in_the_finished_picture(paint, here):
    assert paint(HOUSE, "--trace", "--out", "strip.png", steps="9")[0] == 0
    paint(HOUSE, "--out", "alone.png", steps="9")
    with Image.open("strip.png") as strip, Image.open("alone.png") as alone:
        assert settings(strip)["Steps"] == "9"
        assert strip.width == 2 * sheets.MARGIN + 8 * sheets.NARROWEST + 7 * sheets.GAP
        left = sheets.MARGIN + 7 * (sheets.NARROWEST + sheets.GAP)
        column = np.asarray(strip.crop((left, 0, left + 64, strip.height)))
        places = [
            top
            for top in range(strip.height - 63)
            if np.array_equal(column[top : top + 64], np.asarray(alone))
        ]
        assert len(places) == 1


def test_traces_of_several_pictures_are_stacked(paint, here):
    paint(HOUSE, "--trace", "--out", "one.png")
    paint(HOUSE, "a tree", "--grid", "2", "--trace", "--out", "four.png")
    with Image.open("one.png") as one, Image.open("four.png") as four:
        assert four.size == (one.width, 4 * one.height)


@pytest.mark.parametrize(
    "steps, shown", [(1, [0]), (2, [0, 1]), (7, list(range(7))), (30, [0, 4, 8, 12, 17, 21, 25])]
)
def test_the_moments_of_a_trace(steps, shown):
    assert painting.moments_shown(steps) == shown


def test_wrapping():
    font = sheets.font_for(128)
    lines = sheets.wrap("a little red house and Donaudampfschifffahrtsgesellschaft at night", font, 100)
    assert "".join(lines).replace(" ", "") == "alittleredhouseandDonaudampfschifffahrtsgesellschaftatnight"
    assert max(font.getlength(line) for line in lines) <= 100 and len(lines) < 9
    assert sheets.wrap("", font, 100) == [] and len(sheets.wrap("W", font, 1)) == 1


def test_a_sheet_of_uneven_rows_and_what_it_refuses():
    pictures = [Image.new("RGB", (128, 128), colour) for colour in ("red", "green", "blue")]
    sheet = sheets.labelled_sheet(pictures, ["a " * 200, "b", "c"], columns=2)
    assert sheet.getpixel((0, 0)) == sheets.PAPER
    blue = np.argwhere((np.asarray(sheet) == (0, 0, 255)).all(axis=2))
    assert blue.min(axis=0)[1] == sheets.MARGIN and blue.min(axis=0)[0] > 2 * 128  # below the long label
    assert np.ptp(blue, axis=0).tolist() == [127, 127]
    for bad in (
        ([], [], 2),
        (pictures, ["a"], 2),
        (pictures, list("abc"), 0),
        ([*pictures, Image.new("RGB", (8, 8))], list("abcd"), 2),
    ):
        with pytest.raises(ValueError):
            sheets.labelled_sheet(*bad)


# ---- notes


def test_unknown_words_get_a_note(paint, here):
    code, _, err = paint("a red dragon left of a car", "a purple castle, dragon", "--out", "a.png")
    assert code == 0 and files(here) == ["a.png"]
    assert err.startswith("note: ") and "'dragon', 'castle'" in err.splitlines()[0] and "'red'" not in err
    for known in (
        "house, tree, tent",
        "red, orange",
        "small",
        "in the desert",
        "at sunset",
        "left of",
        hints.EXAMPLE,
    ):
        assert known in err
    assert max(map(len, err.splitlines()[1:])) <= 90


def test_other_models_have_read_other_words(paint, model, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(model, folder)
    index = json.loads((folder / "model_index.json").read_text())
    del index["_world"]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert paint("a dragon", model=folder)[::2] == (0, "")


def test_the_example_is_in_the_little_world():
    assert scenes.parse(hints.EXAMPLE) and scenes.parse(hints.ANOTHER)
    before = dict(scenes.vocabulary())
    assert hints.world_in_words() and scenes.vocabulary() == before


def test_a_prompt_that_is_too_long_is_cut_with_one_line(paint, here):
    code, _, err = paint(HOUSE + " in the snow" * 60, "--out", "a.png", "--grid", "2")
    assert code == 0 and files(here) == ["a.png"]
    assert re.fullmatch(r"note: [^\n]*too long[^\n]*snow in the snow[^\n]*\n", err), err


def test_an_empty_prompt_is_fine(paint, here):
    assert paint("")[::2] == (0, "")
    assert paint("", "--grid", "2")[0] == 0
    assert files(here) == ["picture-seed-0.png", "picture-seeds-0-to-1.png"]


def test_a_prompt_may_begin_with_a_dash(model, here):  # `make demo` passes it so
    assert main(["paint", "--model", str(model), "--steps", "1", "--", "-a tree"]) == 0
    assert files(here) == ["a-tree-seed-0.png"]


# ---- bad input


@pytest.mark.parametrize(
    "words, said",
    [
        (["--height", "100"], ["multiple of 8", "96 or 104"]),
        (["--width", "0"], ["--width"]),
        (["--steps", "0"], ["--steps", "between 1 and 1000"]),
        (["--steps", "1001"], ["--steps", "between 1 and 1000"]),
        (["--steps", "1e3"], ["--steps"]),
        (["--sampler", "plms"], ["'plms'", "ddim"]),
        (["--mask", "a.png"], ["--mask", "--image"]),
        (["--strength", "0.5"], ["--strength", "--image"]),
        (["--image", "missing.png"], ["--image missing.png", "No such file"]),
        (["--image", "/"], ["--image /", "not a file"]),
        (["--image", __file__], ["--image", "cannot identify"]),
        (["--lora", "missing.safetensors"], ["missing.safetensors is missing"]),
        (["--lora", __file__], [Path(__file__).name]),
        (["--embedding", __file__], [Path(__file__).name, "no weights"]),
        (["--embedding", "missing.pt"], ["missing.pt"]),
        (["--device", "tpu"], ["--device", "cpu"]),
        (["--dtype", "int8"], ["--dtype", "bfloat16"]),
        (["--eta", "1.5"], ["eta"]),
        (["--eta", "0.5", "--sampler", "ddpm"], ["eta", "ddim"]),
        (["--grid", "0"], ["--grid"]),
        (["--grid", "101"], ["--grid"]),
        (["--seed", "-2"], ["--seed"]),
        (["--seed", str(2**32)], ["--seed", str(2**32 - 1)]),
        (["--seed", "9" * 5000], ["--seed"]),
        (["--seed", str(2**32 - 1), "--grid", "2"], ["smaller --seed"]),
        (["--guidance", "nan"], ["--guidance"]),
        (["--guidance", "much"], ["--guidance"]),
        (["--guidance", "1e38"], ["smaller guidance", "--guidance 1e+38"]),
        (["--out", "picture.jpg"], [".png"]),
        (["--out", ""], [".png"]),
        (["--out", "missing/picture.png"], ["no folder missing", "--out"]),
        (["--out", "/dev/null/picture.png"], ["--out"]),
        (["--out", f"{'long' * 70}.png"], ["too long"]),
        (["--frobnicate"], ["--frobnicate", "--help"]),
        (["\udcff"], ["UTF-8"]),
    ],
)
def test_bad_input_is_one_line_and_no_file(paint, here, words, said):
    steps = None if "--steps" in words else "2"
    assert_one_line_error(paint(HOUSE, *words, steps=steps), *said, folder=here)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--strength", "0"], ["strength", "above 0"]),
        (["--strength", "1.5"], ["strength", "at most 1"]),
        (["--strength", "0.3"], ["strength 0.3 of 2 steps", "at least 0.5"]),
        (["--height", "50"], ["48 or 56"]),
        (["--mask", "missing.png"], ["--mask missing.png", "No such file"]),
    ],
)
def test_bad_input_with_a_picture(paint, here, photo, words, said):
    assert_one_line_error(paint(HOUSE, "--image", str(photo), *words), *said, folder=here)


def test_a_picture_cut_short(paint, here, photo):
    photo.write_bytes(photo.read_bytes()[:-200])
    assert_one_line_error(
        paint(HOUSE, "--image", str(photo)), f"--image {photo}", "could not be read", folder=here
    )


@pytest.mark.parametrize(
    "device, there", [("cuda", torch.cuda.is_available), ("mps", torch.backends.mps.is_available)]
)
def test_a_device_that_is_not_there(paint, here, device, there):
    if there():
        pytest.skip(f"{device} is there")
    assert_one_line_error(paint(HOUSE, "--device", device), f"--device {device}", "cpu", folder=here)


def test_out_is_a_folder(paint, tmp_path, here):
    (tmp_path / "folder.png").mkdir()
    assert_one_line_error(paint(HOUSE, "--out", str(tmp_path / "folder.png")), "is a folder", folder=here)


def test_out_is_not_writable(paint, here, monkeypatch):
    monkeypatch.setattr(picture_file.os, "access", lambda *_: False)  # root may write everywhere
    assert_one_line_error(paint(HOUSE), "--out", folder=here)


@pytest.mark.parametrize("words", [[], ["fly"], ["paint"], ["train"], ["train", "gan"]])
def test_half_a_command_line(words, capsys, here):
    assert_one_line_error((main(words), *capsys.readouterr()), "--help", folder=here)


def damage(change):
    """What `change` does to the U-Net's tensors, as a function of the model folder."""

    def apply(folder):
        tensors = load_file(folder / UNET)
        change(tensors)
        save_file(tensors, folder / UNET)

    return apply


def widened(tensors):
    tensors["conv_in.bias"] = tensors["conv_in.bias"].repeat(2)


@pytest.mark.parametrize(
    "broken, said",
    [
        (shutil.rmtree, ["no model at"]),
        (lambda folder: (folder / "model_index.json").unlink(), ["model_index.json"]),
        (lambda folder: (folder / "model_index.json").write_text("{"), ["model_index.json", "JSON"]),
        (lambda folder: (folder / UNET).unlink(), [UNET, "missing"]),
        (lambda folder: (folder / UNET).write_bytes(b""), [UNET]),
        (lambda folder: (folder / UNET).write_bytes((folder / UNET).read_bytes()[:-100]), [UNET, "fetch"]),
        (damage(lambda tensors: tensors.pop("conv_in.bias")), [UNET, "lacks conv_in.bias"]),
        (damage(lambda tensors: tensors.update(spare=tensors["conv_in.bias"].clone())), [UNET, "spare"]),
        (damage(widened), [UNET, "conv_in.bias", "(32,)", "(16,)"]),
        (lambda folder: (folder / "tokenizer" / "merges.txt").unlink(), ["merges.txt"]),
    ],
    ids=[
        "folder",
        "index",
        "broken index",
        "weights",
        "empty",
        "truncated",
        "tensor missing",
        "extra",
        "misshapen",
        "merges",
    ],
)
def test_a_broken_model_is_one_line_and_no_file(paint, model, tmp_path, here, broken, said):
    folder = tmp_path / "broken"
    shutil.copytree(model, folder)
    broken(folder)
    assert_one_line_error(paint(HOUSE, model=folder), *said, folder=here)


@pytest.mark.parametrize(
    "failure, code", [(OSError(errno.ENOSPC, "No space left"), 2), (KeyboardInterrupt(), 130)]
)
def test_a_write_that_fails_leaves_the_old_file(paint, here, monkeypatch, failure, code):
    def save_half(picture, path, **_):
        path.write_bytes(b"half")
        raise failure

    (here / "a.png").write_bytes(b"old")
    monkeypatch.setattr(Image.Image, "save", save_half)
    got, out, err = paint(HOUSE, "--out", "a.png")
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert files(here) == ["a.png"] and (here / "a.png").read_bytes() == b"old"


def test_an_error_that_only_mentions_memory_is_a_bug(paint, monkeypatch):
    def break_down(*_, **__):
        raise RuntimeError("unsupported memory format option")

    monkeypatch.setattr(StableDiffusion, "stream", break_down)
    with pytest.raises(RuntimeError, match="memory format"):
        paint(HOUSE)


def test_too_little_memory(paint, here, monkeypatch):
    def decode(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    monkeypatch.setattr(StableDiffusion, "decode", decode)
    assert_one_line_error(paint(HOUSE), "memory", folder=here)


def test_a_bug_keeps_its_traceback(paint, monkeypatch):
    def decode(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(StableDiffusion, "decode", decode)
    with pytest.raises(RuntimeError, match="shapes"):
        paint(HOUSE)


# ---- as a program of its own


def test_help_and_typing_errors_need_no_torch():
    code = (
        "import sys\nfrom minisd.cli import main\n"
        "try: main(['paint', '--help'])\nexcept SystemExit: pass\n"
        "assert main(['paint', 'x', '--steps', '0']) == 2\nimport minisd.scenes\n"
        "assert 'torch' not in sys.modules, 'a second or more for nothing'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT, capture_output=True)


def test_loading_does_not_import_the_compiler(model):
    code = (
        "import sys\nfrom minisd import StableDiffusion\nStableDiffusion.from_pretrained(sys.argv[1])\n"
        "assert 'torch._dynamo' not in sys.modules, 'a second and a half for nothing'"
    )
    subprocess.run([sys.executable, "-c", code, str(model)], check=True, env=ENVIRONMENT)


def test_every_sampler_is_in_the_help(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["paint", "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"\b{name}\b", text) for name in minisd.SAMPLERS)


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert capsys.readouterr().out == f"minisd {project['version']}\n"


@pytest.mark.parametrize(
    "typed, shown",
    [
        ("/opt/bin/minisd", "minisd"),
        (".venv/bin/minisd", ".venv/bin/minisd"),
        ("/site-packages/minisd/cli.py", "minisd"),
    ],
)
def test_printed_commands_can_be_typed(monkeypatch, typed, shown):
    monkeypatch.setattr(sys, "argv", [typed])
    monkeypatch.setattr(shutil, "which", lambda name: "/opt/bin/minisd")
    assert (
        hints.command_line("paint", "a red house", "--model", "x") == f'{shown} paint "a red house" --model x'
    )
    assert hints.command_line("paint", "a $5 car") == f"{shown} paint 'a $5 car'"


def test_the_public_names():
    assert all(getattr(minisd, name) is not None for name in minisd.__all__)
    assert set(minisd.__all__) <= set(dir(minisd)) and minisd.tokenizer.BPE
    with pytest.raises(AttributeError):
        _ = minisd.UNET


# ---- training


class Recorder:
    """Stands in for a training; writes down what it was asked."""

    asked: ClassVar[list] = []
    processes = SimpleNamespace(is_main_process=True)

    def __init__(self, recipe, out, device, dtype):
        self.asked.append((recipe.seed, str(out), device, dtype))

    def train(self, *names, report):
        self.asked.append(names)
        report(names[0], 1.5)


def test_train_runs_the_stages_in_order(monkeypatch, capsys, here):
    monkeypatch.setattr(Recorder, "asked", [])
    monkeypatch.setattr("minisd.training.stages.Training", Recorder)
    assert main(["train", "all", "--out", "run", "--device", "cpu", "--dtype", "bfloat16"]) == 0
    assert Recorder.asked == [(0, "run", "cpu", "bfloat16"), tuple(STAGES["all"])]
    out = capsys.readouterr().out
    assert re.match(r"pictures +1\.5 s\n", out)
    assert str(here / "run" / "model") in out and "--model run/model" in out
    Recorder.asked.clear()
    assert main(["train", "clip"]) == 0
    assert Recorder.asked == [(0, "runs/tiny", None, "float32"), tuple(STAGES["clip"])]
    assert "next" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, said",
    [
        (None, ["there is no recipe"]),
        ("seed = ", ["recipe.toml", "TOML"]),
        ("seed = 1", ["recipe.toml", "tokenizer", "missing"]),
        ("\udcff", ["recipe.toml", "TOML"]),
    ],
)
def test_a_broken_config(text, said, tmp_path, capsys, here):
    if text is not None:
        (tmp_path / "recipe.toml").write_bytes(text.encode(errors="surrogateescape"))
    result = main(["train", "all", "--config", str(tmp_path / "recipe.toml")]), *capsys.readouterr()
    assert_one_line_error(result, *said, folder=here)


def test_training_into_a_file(tmp_path, capsys, here):
    (tmp_path / "file").touch()
    result = main(["train", "all", "--out", str(tmp_path / "file")]), *capsys.readouterr()
    assert_one_line_error(result, "is a file", folder=here)


@pytest.mark.parametrize(
    "failure, code, said",
    [
        (
            FloatingPointError("clip: the loss is nan at step 3;\ntry a lower learning_rate_peak"),
            2,
            "lower learning_rate",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "run/clip.json"), 2, "run/clip.json"),
        (KeyboardInterrupt(), 130, "goes on from the last checkpoint"),
    ],
)
def test_a_training_that_fails(monkeypatch, capsys, failure, code, said):
    class Failing:
        def __init__(self, *_, **__):
            raise failure

    monkeypatch.setattr("minisd.training.stages.Training", Failing)
    assert main(["train", "all"]) == code
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
