"""`minisd export`, `completion`, and what `paint --json` and the PNG file tell."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from minisd import StableDiffusion, cli
from minisd.commands import completion, options
from minisd.commands import paint as painting
from minisd.commands.picture_file import Settings
from minisd.commands.threads import limit_threads
from minisd.config import LARGEST_SEED
from minisd.pictures import to_pil
from small import small_pipeline


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands") / "speck"
    small_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def run(model, capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder; returns the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        capsys.readouterr()
        return cli.main([*map(str, words)]), *capsys.readouterr()

    return command


def told(path):
    with Image.open(path) as picture:
        return picture.text["parameters"]


# ---- paint


def test_paint_in_json(run, model, tmp_path):
    code, out, err = run("paint", "a (b:1.4)", "--model", model, "--steps", 2, "--json", "--grid", 2)
    found = json.loads(out)
    assert code == 0 and found["notes"] == [err.removeprefix("note: ").strip()]
    assert found["file"] == str(next(tmp_path.glob("*.png"))) and not found["replaced"]
    assert (found["prompts"], found["seeds"], found["width"]) == (["a (b:1.4)"], [0, 1], 64)
    assert set(found["seconds"]) == {"import", "loading", "reading", "painting", "decoding"}


def test_a_random_seed_is_told(run, model, tmp_path):
    code, out, _ = run("paint", "a", "--model", model, "--steps", 1, "--seed", "random")
    seed = int(re.search(r"^seed +(\d+), drawn at random", out, re.M)[1])
    path = tmp_path / f"a-seed-{seed}.png"
    assert code == 0 and f"Seed: {seed}," in told(path)
    run("paint", "a", "--model", model, "--steps", 1, "--seed", seed, "--out", "again.png")
    with Image.open(path) as one, Image.open("again.png") as two:
        assert np.array_equal(np.asarray(one), np.asarray(two))


def test_random_seeds_leave_room_for_the_grid(monkeypatch):
    monkeypatch.setattr(painting.secrets, "randbelow", lambda n: n - 1)
    args = cli.build_parser().parse_args(["paint", "a", "--seed", "random", "--grid", "9"])
    assert painting.chosen_seeds(args)[-1] == LARGEST_SEED


def test_karras_clip_skip_and_vae_reach_picture_and_file(run, model, tmp_path):
    other = StableDiffusion.from_pretrained(model)
    with torch.no_grad():
        other.vae.decoder.conv_out.bias += 0.5
    other.save_pretrained(tmp_path / "other")
    vae = tmp_path / "other" / "vae" / "diffusion_pytorch_model.safetensors"
    options = ["--sampler", "euler", "--karras", "--clip-skip", 1, "--vae", vae]
    assert run("paint", "a", "--model", model, "--steps", 4, "--out", "a.png", *options)[0] == 0
    picture = other("a", num_inference_steps=4, sampler="euler", use_karras_sigmas=True, clip_skip=1)[0]
    with Image.open("a.png") as found:
        assert np.array_equal(np.asarray(found), np.asarray(picture))
    assert "Sampler: Euler, Schedule type: Karras, " in told("a.png")
    assert "VAE: diffusion_pytorch_model.safetensors, Clip skip: 2, " in told("a.png")


def test_vae_tiling_reaches_the_picture(run, model):
    pipe = StableDiffusion.from_pretrained(model)
    options = ["--steps", 1, "--height", 336, "--width", 64, "--vae-tiling"]
    assert run("paint", "a", "--model", model, "--out", "a.png", *options)[0] == 0
    latents = pipe("a", num_inference_steps=1, height=336, width=64, output_type="latent")
    whole = pipe.decode(latents)
    pipe.vae.enable_tiling()
    tiled = pipe.decode(latents)
    assert not np.array_equal(whole, tiled)
    with Image.open("a.png") as found:
        assert np.array_equal(np.asarray(found), np.asarray(to_pil(tiled)[0]))
    assert ", VAE tiling: on, " in told("a.png")


def test_karras_levels_of_the_model_are_told(run, model, tmp_path):
    shutil.copytree(model, tmp_path / "karras")
    path = tmp_path / "karras" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_karras_sigmas": True}))
    for sampler, named in (("lms", True), ("ddim", False)):
        run("paint", "a", "--model", "karras", "--steps", 4, "--sampler", sampler, "--out", "a.png")
        assert ("Schedule type: Karras" in told("a.png")) == named


def test_the_sampler_is_the_models_own_unless_another_is_named(run, model, tmp_path):
    shutil.copytree(model, tmp_path / "euler")
    path = tmp_path / "euler" / "scheduler" / "scheduler_config.json"
    config = {**json.loads(path.read_text()), "timestep_spacing": "linspace"}
    path.write_text(json.dumps({**config, "_class_name": "EulerDiscreteScheduler"}))
    assert run("paint", "a", "--model", "euler", "--steps", 4, "--out", "a.png")[0] == 0
    assert "Sampler: Euler, " in told("a.png")


def test_what_had_no_effect_is_not_written(run, model):
    code, _, err = run(
        "paint", "a", "--model", model, "--steps", 1, "--negative", "b", "--guidance", 1, "--out", "a.png"
    )
    assert code == 0 and "Negative" not in told("a.png")
    assert re.fullmatch(r"note: [^\n]*negative prompt has no effect[^\n]*\n", err)


def test_kept_pixels_are_pasted_unless_told_not_to(run, model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    Image.fromarray(mask).save("mask.png")
    words = ["paint", "a", "--model", model, "--steps", 4, "--image", "photo.png", "--mask", "mask.png"]
    for name, more in (("a.png", []), ("b.png", ["--no-paste"])):
        assert run(*words, "--out", name, *more)[0] == 0
        with Image.open(name) as found:
            kept = np.array_equal(np.asarray(found)[:, :32], pixels[:, :32])
        assert kept == (name == "a.png")


@pytest.mark.parametrize(
    "words, said",
    [
        (["--no-paste"], "--no-paste has no meaning without --mask"),
        (["--karras"], "Karras"),
        (["--clip-skip", "2"], "clip_skip"),
        (["--clip-skip", "-1"], "--clip-skip"),
        (["--vae", "missing.safetensors"], "missing.safetensors"),
        (["--seed", "chance"], "or the word random"),
    ],
)
def test_options_that_do_not_fit(run, model, tmp_path, words, said):
    code, out, err = run("paint", "a", "--model", model, "--steps", 2, *words)
    assert (code, out, list(tmp_path.iterdir())) == (2, "", [])
    assert re.fullmatch(r"minisd: error: [^\n]+\n", err) and said in err


def test_nan_names_what_was_given(run, model, tmp_path, monkeypatch):
    def broken(self, latents):
        raise FloatingPointError("the VAE made a picture of NaN")

    monkeypatch.setattr(StableDiffusion, "decode", broken)
    code, _, err = run("paint", "a", "--model", model, "--steps", 1, "--guidance", 3)
    assert (code, list(tmp_path.iterdir())) == (2, [])
    assert err.endswith(f"NaN (painted with --model {model} --dtype float32 --guidance 3)\n")


def test_names_that_are_no_text_are_escaped():
    settings = Settings(("a",), "", "m\udcff", range(1), 1, "ddim", 1.0, (8, 8))
    assert "Model: m\\udcff" in settings.parameters()


def test_little_work_is_done_in_one_thread(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    pipe = small_pipeline()
    limit_threads(pipe, (1, 4, 8, 8))
    assert asked == [1]
    limit_threads(pipe, (100, 4, 80, 80))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    limit_threads(pipe, (1, 4, 8, 8))
    assert asked == [1]


# ---- export


def test_export_writes_one_file_that_paints_the_same(run, model, tmp_path):
    assert run("export", model, "a.safetensors")[0] == 0
    words = ["--tokenizer", model / "tokenizer", "--steps", 2]
    run("paint", "a red house", "--model", "a.safetensors", "--out", "a.png", *words)
    run("paint", "a red house", "--model", model, "--out", "b.png", "--steps", 2)
    with Image.open("a.png") as one, Image.open("b.png") as two:
        apart = np.abs(np.asarray(one, dtype=int) - np.asarray(two, dtype=int))
    assert apart.max() <= 1  # a mapped weight may stand at any address, which changes the order of sums


def test_export_replaces_nothing_unasked(run, model, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"old")
    code, _, err = run("export", model, "a.safetensors")
    assert code == 2 and "--force" in err and (tmp_path / "a.safetensors").read_bytes() == b"old"
    assert run("export", model, "a.safetensors", "--force", "--dtype", "float16")[0] == 0
    kinds = {tensor.dtype for tensor in load_file("a.safetensors").values() if tensor.is_floating_point()}
    assert kinds == {torch.float16}


@pytest.mark.parametrize("name, said", [("a.ckpt", ".safetensors"), ("no/a.safetensors", "no folder no")])
def test_export_to_what_can_not_be(run, model, tmp_path, name, said):
    code, out, err = run("export", model, name)
    assert (code, out, list(tmp_path.iterdir())) == (2, "", []) and said in err and err.count("\n") == 1


# ---- completion


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_completion_knows_commands_and_options(run, shell):
    pytest.importorskip("shtab")
    code, out, _ = run("completion", shell)
    assert code == 0 and all(word in out for word in ("paint", "export", "clip-skip", "dpmpp_2m"))


def test_bash_takes_the_completion(run):
    pytest.importorskip("shtab")
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    script = run("completion", "bash")[1]
    tried = "COMP_WORDS=(minisd ver); COMP_CWORD=1; _shtab_minisd; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", f"{script}\n{tried}"], capture_output=True, encoding="utf-8")
    assert done.stdout.split() == ["verify"], done.stderr


def test_completion_without_shtab(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    code, out, err = run("completion", "bash")
    assert (code, out) == (2, "") and "pip install shtab" in err


# ---- options


def test_the_same_options_everywhere():
    """--device and --dtype mean the same in every command that computes."""
    for words in (["paint", "x"], ["verify", "x"], ["train", "vae"]):
        args = cli.build_parser().parse_args([*words, "--device", "mps", "--dtype", "bfloat16"])
        assert (args.device, args.dtype) == ("mps", "bfloat16")
        for option in ("--device", "--dtype"):
            with pytest.raises(ValueError, match=option):
                cli.build_parser().parse_args([*words, option, "nonsense"])


@pytest.mark.parametrize("text", ["\udcff", "a\udcc3"])
def test_words_that_are_no_text(text):
    with pytest.raises(options.argparse.ArgumentTypeError, match="UTF-8"):
        options.words(text)


def test_words_in_bytes_that_the_locale_does_not_know():
    assert options.words("H\udcc3\udca4user") == "Häuser"
