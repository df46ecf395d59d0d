"""`minisd verify`: what it finds right, what it must find wrong, on small models with values of their own."""

import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from minisd import StableDiffusion, UNet, cli, hub
from minisd.sd15 import published_shapes
from minisd.verify import GOLDENS, verify
from small import randomise, small_pipeline

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
PROMPT = "a red house and a yellow tent"


@pytest.fixture
def folder(tmp_path):
    """A small model under a name that tells nothing."""
    small_pipeline().save_pretrained(tmp_path / "speck")
    return tmp_path / "speck"


@pytest.fixture(scope="module")
def shapes():
    """The small model's own tables, in the place of Stable Diffusion's."""
    pipe = small_pipeline()
    tables = {
        part: {name: tuple(tensor.shape) for name, tensor in getattr(pipe, part).state_dict().items()}
        for part in ("unet", "vae", "text_encoder")
    }
    return lambda part: dict(tables[part])


@pytest.fixture(scope="module")
def goldens():
    """Values like the published, painted with the small model; and one for a sampler that nobody has."""
    latents = np.random.RandomState(0).standard_normal((1, 4, 8, 8))
    cases = []
    for release, sampler, atol in (("v1-4", "ddim", 1e-4), ("v1-4", "pndm", 3e-3), ("v1-1", "lms", 3e-3)):
        picture = small_pipeline()(
            PROMPT,
            num_inference_steps=3,
            guidance_scale=7.5,
            sampler=sampler,
            latents=torch.from_numpy(latents).float(),
            output_type="np",
        )
        cases.append(
            {
                "checkpoint": f"CompVis/stable-diffusion-{release}",
                "sampler": sampler,
                "expected": picture[0, -3:, -3:, -1].flatten().tolist(),
                "atol": atol,
            }
        )
    cases.append({**cases[0], "sampler": "dpm-solver++ 2M, final sigma = sigma_min"})
    return {
        "prompt": PROMPT,
        "num_inference_steps": 3,
        "guidance_scale": 7.5,
        "latents": {"shape": [1, 4, 8, 8]},
        "cases": cases,
    }


@pytest.fixture
def report(folder, shapes, goldens):
    """Runs verify on the small model; the results by subject, and the figures by subject."""

    def run(place=folder, **options):
        lines = list(verify(place, **{"device": "cpu", "shapes": shapes, "goldens": goldens, **options}))
        assert all("\n" not in line.figures for line in lines)
        return {line.subject: line.result for line in lines}, {line.subject: line.figures for line in lines}

    run.shapes = shapes
    return run


TENSORS = {f"tensors of {part}": "ok" for part in ("unet", "vae", "text_encoder")}
BEFORE = {"minisd": "", "file": "", "loading": "ok", **TENSORS, "model": ""}
DPM = "v1-4, dpm-solver++ 2M, final sigma = sigma_min"


# ---- what is right


def test_a_model_that_paints_the_published_values(report):
    results, figures = report(release="v1-4")
    assert results == {**BEFORE, "v1-4, ddim": "ok", "v1-4, pndm": "ok", "v1-1, lms": "ok", DPM: "not run"}
    assert figures["model"] == "taken for v1-4, by --as"
    assert re.fullmatch(r"largest difference 0\.0000\d, allowed 0\.0001; \d+ s", figures["v1-4, ddim"])
    assert figures[DPM] == "minisd has no such sampler"
    pipe = small_pipeline()
    count = sum(parameter.numel() for parameter in pipe.unet.parameters())
    assert figures["tensors of unet"] == f"{len(pipe.unet.state_dict())}, as published: {count:,} parameters"
    assert re.fullmatch(
        r"text_encoder/model.safetensors, [\d,]+ bytes, SHA-256 [0-9a-f]{64}", figures["file"]
    )


def test_the_tables_and_values_that_minisd_ships():
    """The counts are Stable Diffusion 1.5's; each case of goldens.json has what `verify` reads."""
    counts = {
        part: sum(map(math.prod, published_shapes(part).values())) for part in ("unet", "vae", "text_encoder")
    }
    assert counts == {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}
    goldens = json.loads(GOLDENS.read_text(encoding="utf-8"))
    assert (goldens["num_inference_steps"], goldens["guidance_scale"]) == (3, 7.5)
    assert goldens["latents"]["shape"] == [1, 4, 64, 64]
    assert [(case["checkpoint"][-4:], case["sampler"], case["atol"]) for case in goldens["cases"]] == [
        ("v1-4", "ddim", 1e-4),
        ("v1-4", "pndm", 3e-3),
        ("v1-4", "lms", 3e-3),
        ("v1-4", "dpm-solver++ 2M, final sigma = sigma_min", 3e-3),
        ("v1-1", "pndm", 3e-3),
    ]
    assert all(np.shape(case["expected"]) == (9,) for case in goldens["cases"])


def test_another_model_loads_and_paints_the_same_twice(report):
    results, figures = report(shapes=published_shapes)
    assert results == {"minisd": "", "file": "", "loading": "ok", "model": "", "a picture, twice": "ok"}
    assert figures["model"] == "not a Stable Diffusion 1.x for text to image: nothing is published for it"
    assert figures["a picture, twice"] == "64x64 pixels, largest difference 0"


def test_an_inpainting_model_repaints_the_same_twice(report, tmp_path):
    pipe = small_pipeline()
    unet = randomise(UNet({**pipe.unet.config.to_dict(), "in_channels": 9}))
    parts = pipe.tokenizer, pipe.text_encoder, unet, pipe.vae, pipe.scheduler_config
    StableDiffusion(*parts).save_pretrained(tmp_path / "inpaint")
    assert report(tmp_path / "inpaint")[0] == {
        "minisd": "",
        "file": "",
        "loading": "ok",
        "model": "",
        "a picture, twice": "ok",
    }


# ---- what is wrong


def test_a_model_that_does_not_fit_its_own_config(report, folder):
    tensors = load_file(folder / WEIGHTS)
    save_file({**tensors, "conv_in.weight": tensors["conv_in.weight"][:, :3].contiguous()}, folder / WEIGHTS)
    results, figures = report()
    assert results == {"minisd": "", "file": "", "loading": "FAILED"}
    assert "conv_in.weight, which is (16, 3, 3, 3) and should be (16, 4, 3, 3)" in figures["loading"]


def test_numbers_that_were_changed_are_a_failure(report, folder):
    """The file can be read and the numbers are finite: only the checksum knows."""
    path = folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    results, figures = report()
    assert results["checksum"] == "FAILED"
    assert figures["checksum"] == f"{WEIGHTS} was changed since it was written: fetch or train it again"


def test_shards_are_each_listed(report, folder):
    tensors = load_file(folder / WEIGHTS)
    parts = {"a.safetensors": sorted(tensors)[::2], "b.safetensors": sorted(tensors)[1::2]}
    for name, keys in parts.items():
        save_file({key: tensors[key] for key in keys}, (folder / WEIGHTS).with_name(name))
    places = {key: name for name, keys in parts.items() for key in keys}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / WEIGHTS).unlink()
    lines = list(verify(folder, "cpu", shapes=published_shapes))
    assert [line.figures.partition(",")[0] for line in lines if line.subject == "file"][:2] == [
        "unet/a.safetensors",
        "unet/b.safetensors",
    ]
    assert lines[-1].result == "ok"


@pytest.mark.parametrize("network", ["unet", "vae"])
def test_one_nan_anywhere_is_a_failure(report, folder, network, monkeypatch):
    """Loading reads the ends of a large tensor only; the report reads all of it."""
    monkeypatch.setattr("minisd.checkpoint.CHEAP", 0)
    monkeypatch.setattr("minisd.checkpoint.ENDS", 1)
    path = folder / network / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_in.weight" if network == "unet" else "decoder.conv_in.weight"][1, 1, 1, 1] = math.nan
    save_file(tensors, path)
    results, figures = report()
    assert results["loading"] == "FAILED"
    assert f"{network}: " in figures["loading"] and "conv_in.weight" in figures["loading"]


@pytest.mark.parametrize(
    "path, content",
    [
        ("unet/config.json", "[]"),
        ("unet/config.json", "{"),
        ("model_index.json", "null"),
        ("scheduler/scheduler_config.json", "[1]"),
        ("unet/diffusion_pytorch_model.safetensors.index.json", "[]"),
        (WEIGHTS, ""),
        (WEIGHTS, "PK\x03\x04"),
        ("vae/config.json", None),
        ("tokenizer/merges.txt", "\0"),
    ],
)
def test_a_damaged_model_is_one_line_of_the_report(report, folder, path, content):
    if path.endswith(".index.json"):
        (folder / WEIGHTS).unlink()
    if content is None:
        (folder / path).unlink()
    else:
        (folder / path).write_text(content)
    results, figures = report()
    assert results["loading"] == "FAILED" and Path(path).name in figures["loading"]


def test_a_misshapen_tensor_is_named(report, shapes):
    def other(part):
        return shapes(part) | ({"decoder.conv_in.bias": (17,)} if part == "vae" else {})

    results, figures = report(shapes=other)
    assert {subject for subject, result in results.items() if result == "FAILED"} == {"tensors of vae"}
    assert figures["tensors of vae"] == "decoder.conv_in.bias is (16,) and should be (17,)"


def test_a_tensor_too_many_is_named(report, shapes):
    def other(part):
        table = shapes(part)
        if part == "text_encoder":
            del table["text_model.final_layer_norm.bias"]
        return table

    results, figures = report(shapes=other)
    assert results["tensors of text_encoder"] == "FAILED"
    assert (
        figures["tensors of text_encoder"] == "text_model.final_layer_norm.bias is (16,) and should be absent"
    )


def moved(goldens, at, by):
    case = {
        **goldens["cases"][0],
        "expected": [value + by * (i == at) for i, value in enumerate(goldens["cases"][0]["expected"])],
    }
    return {**goldens, "cases": [case, *goldens["cases"][1:]]}


@pytest.mark.parametrize("at", [0, 8])
def test_one_value_that_differs_is_a_failure(report, goldens, at):
    results, figures = report(release="v1-4", goldens=moved(goldens, at, 2e-4))
    assert {subject for subject, result in results.items() if result == "FAILED"} == {"v1-4, ddim"}
    assert re.match(
        r"largest difference 0\.000(19|20)\d?, allowed 0\.0001; \d+ s; painted( \d\.\d{5}){9}$",
        figures["v1-4, ddim"],
    )


def test_broken_weights_are_a_failure_and_not_a_difference(report, monkeypatch):
    """NaN compares as different from everything: it must not pass for another model's values."""
    monkeypatch.setattr(
        StableDiffusion, "decode", lambda self, latents: np.full((1, 64, 64, 3), np.nan, np.float32)
    )
    results, figures = report(release="v1-5")
    assert all(results[subject] == "FAILED" for subject in ("v1-4, ddim", "v1-4, pndm", "v1-1, lms"))
    assert figures["v1-4, ddim"].startswith("the picture is not finite")
    results, figures = report(shapes=published_shapes)
    assert (results["a picture, twice"], figures["a picture, twice"]) == ("FAILED", "it is not finite")


def test_a_model_that_paints_another_picture_each_time(report, monkeypatch):
    pictures = iter([np.zeros((1, 64, 64, 3), np.float32), np.full((1, 64, 64, 3), 1e-6, np.float32)])
    monkeypatch.setattr(StableDiffusion, "decode", lambda self, latents: next(pictures))
    assert report(shapes=published_shapes)[0]["a picture, twice"] == "FAILED"


# ---- whose values they are


@pytest.mark.parametrize("release", [None, "v1-5", "v1-1"])
def test_values_of_another_model_are_no_failure(report, goldens, release):
    results, figures = report(release=release, goldens=moved(goldens, 0, 0.1))
    assert "FAILED" not in results.values() and results["v1-4, ddim"] == ""
    assert re.match(
        r"these are values of v1-4; largest difference 0\.1\d+, allowed 0\.0001; .*; painted",
        figures["v1-4, ddim"],
    )


def test_values_of_float32_are_no_failure_in_half_precision(report, goldens, folder, tmp_path):
    small_pipeline().save_pretrained(tmp_path / "half", torch.float16)
    for place, dtype in ((folder, torch.bfloat16), (tmp_path / "half", torch.float32)):
        results, figures = report(place, release="v1-4", dtype=dtype, goldens=moved(goldens, 0, 0.1))
        assert "FAILED" not in results.values() and results["v1-4, ddim"] == ""
        assert figures["v1-4, ddim"].startswith("these values are float32's, this is half precision; largest")


@pytest.mark.parametrize(
    "name, release",
    [
        ("stable-diffusion-v1-4", "v1-4"),
        ("models--CompVis--stable-diffusion-v1-1/snapshots/abc", "v1-1"),
        ("v1-5-pruned", "v1-5"),
        ("stable-diffusion-v-1-3-original", "v1-3"),
        ("v1-12", None),
        ("speck", None),
    ],
)
def test_a_name_tells_which_it_is(report, folder, tmp_path, name, release):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    folder.rename(tmp_path / name)
    _, figures = report(tmp_path / name, seconds=-1)
    by = (
        f"taken for {release}, by the name {name.split('/')[0]}"
        if release
        else "not known which; name it with --as"
    )
    assert figures["model"] == by


@pytest.mark.parametrize(
    "name, model",
    [
        (WEIGHTS, "taken for v1-5, by the SHA-256 of its U-Net"),
        ("text_encoder/model.safetensors", "not known which; name it with --as"),  # 1.4 and 1.5 share theirs
    ],
)
def test_the_digest_of_the_unet_tells_which_it_is(report, folder, monkeypatch, name, model):
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr("minisd.verify.PUBLISHED", {"sd15": hub.Published("a/b", "main", {name: digest})})
    lines = list(verify(folder, "cpu", seconds=-1, shapes=report.shapes))
    assert [line.figures for line in lines if line.subject == "model"] == [model]
    assert [line.figures.endswith(", as published for sd15") for line in lines if line.subject == "file"] == [
        name == WEIGHTS,
        False,
        name != WEIGHTS,
    ]


def test_no_picture_is_begun_after_the_time_given(report):
    results, figures = report(release="v1-4", seconds=-1)
    assert results == {**BEFORE, **dict.fromkeys(["v1-4, ddim", "v1-4, pndm", "v1-1, lms", DPM], "not run")}
    assert figures["v1-4, ddim"] == "more than -1 seconds have passed"


# ---- the command


def test_the_command_prints_the_report(folder, capsys):
    assert cli.main(["verify", str(folder), "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == "" and lines[-1] == "no checks failed"
    assert [line[:8].strip() for line in lines[:-1]] == ["", "", "", "", "ok", "", "ok"]
    assert str(folder) not in out  # it is for other people's eyes


def test_the_command_fails_when_a_check_does(folder, capsys):
    tensors = load_file(folder / WEIGHTS)
    del tensors["conv_out.bias"]
    save_file(tensors, folder / WEIGHTS)
    assert cli.main(["verify", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert err == "" and out.splitlines()[-1] == "1 check failed"
    assert re.search(r"^FAILED +loading +.* lacks conv_out\.bias; ", out, re.M)


def test_the_report_in_json(folder, capsys):
    assert cli.main(["verify", str(folder), "--device", "cpu", "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == "" and report["failed"] == 0 and report["model"] == str(folder)
    assert [line["subject"] for line in report["lines"]][-1] == "a picture, twice"
    (folder / WEIGHTS).unlink()
    assert cli.main(["verify", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == 1


@pytest.mark.parametrize("name", ["./nothere", "a/b.ckpt", "a/b.safetensors", "nothing", "../x/y/z"])
def test_a_path_that_is_not_there_is_not_looked_for_elsewhere(name, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "fetch", None)  # a call would be an error
    monkeypatch.chdir(tmp_path)
    assert cli.main(["verify", name]) == 2
    assert capsys.readouterr().err.startswith(f"minisd: error: no model at {name}: ")


@pytest.mark.parametrize("device", ["nonsense", "gpu", "cuda:0", ""])
def test_a_device_that_there_is_not(device, folder, capsys):
    assert cli.main(["verify", str(folder), "--device", device]) == 2
    assert re.fullmatch(r"minisd: error: [^\n]*--device[^\n]*cpu[^\n]*\n", capsys.readouterr().err)


def test_the_command_on_what_is_not_there(capsys, tmp_path):
    assert cli.main(["verify", str(tmp_path / "nothing")]) == 2
    assert "no model at" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["half.ckpt", "half.bin", "half.safetensors"])
def test_half_precision_is_told_by_content_whatever_the_file_is_called(tmp_path, name):
    """A pickle may be called .safetensors."""
    from minisd.verify import in_half

    for dtype, expected in ((torch.float16, True), (torch.bfloat16, True), (torch.float32, False)):
        torch.save({"state_dict": {"a": torch.ones(3, dtype=dtype), "n": torch.arange(3)}}, tmp_path / name)
        assert in_half(tmp_path / name) is expected
