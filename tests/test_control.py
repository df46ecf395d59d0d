"""The training of tiny-plans, what ships, and how it is asked for."""

import json
import shutil
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from minisd import StableDiffusion, UNet, cli
from minisd.checkpoint import WEIGHTS, read_json, write_json
from minisd.models import CONTROLNETS, TINY
from minisd.scenes import outlines, parse, parts_of_picture, render, semantic_map
from minisd.scenes.render import render_with_parts
from minisd.single_file import load_controlnet
from minisd.tensors import checksum
from minisd.training import control
from minisd.training.control import FULL, HINTS, train_control
from minisd.training.examples import maps_and_outlines
from small import SCHEDULER, randomise, small_pipeline

PLANS = CONTROLNETS["tiny-plans"]
SHORT = replace(FULL, steps=4, pictures=10, batch_size=4, save_every=2)
WORDS = "a big red house left of a big yellow tent in the snow at night"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A whole training in few steps, and what it made."""
    out = tmp_path_factory.mktemp("plans")
    return out, train_control(small_pipeline(), out, SHORT, "cpu")


class Killed(BaseException):
    """Not an error that anything catches."""


# ---- the training


def test_it_writes_a_controlnet_in_half_precision(trained):
    out, net = trained
    kept = load_file(out / "controlnet" / WEIGHTS)
    assert {tensor.dtype for tensor in kept.values()} == {torch.float16}
    assert all(torch.equal(kept[name], tensor.half()) for name, tensor in net.state_dict().items())
    assert net.config.conditioning_embedding_out_channels == HINTS
    told = read_json(out / "controlnet" / "training.json")
    assert (told["steps"], told["pictures"], len(told["losses"])) == (4, 10, 1)
    _, info = diffusers.ControlNetModel.from_pretrained(out / "controlnet", output_loading_info=True)
    assert not any(info.values())


def test_the_model_stays_as_it_is_and_the_controlnet_moves(trained):
    pipe = small_pipeline()
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    net = trained[1]
    assert any(conv.weight.any() for conv in net.controlnet_down_blocks)
    assert all(torch.equal(before[name], tensor) for name, tensor in pipe.unet.state_dict().items())
    pipe.controlnet = net
    plan = Image.fromarray(semantic_map(parts_of_picture(parse(WORDS), 1, 64)))
    options = {"num_inference_steps": 2, "output_type": "np"}
    assert np.abs(pipe("", control_image=plan, **options) - pipe("", **options)).max() > 0


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_killed_training_ends_as_if_it_had_not_been(trained, tmp_path, monkeypatch, call):
    left = iter(range(call))
    draw = control.latents_to_denoise

    def dying(*given):
        batch = draw(*given)

        def next_batch(rng, n):
            if next(left, None) is None:
                raise Killed
            return batch(rng, n)

        return next_batch

    monkeypatch.setattr(control, "latents_to_denoise", dying)
    with pytest.raises(Killed):
        train_control(small_pipeline(), tmp_path, SHORT, "cpu")
    monkeypatch.setattr(control, "latents_to_denoise", draw)
    net = train_control(small_pipeline(), tmp_path, SHORT, "cpu")
    assert all(
        torch.equal(trained[1].state_dict()[name], tensor) for name, tensor in net.state_dict().items()
    )


def test_a_finished_training_draws_and_encodes_nothing_again(trained, monkeypatch):
    def forbidden(*_):
        raise Killed

    monkeypatch.setattr(control, "render_with_parts", forbidden)
    assert checksum(train_control(small_pipeline(), trained[0], SHORT, "cpu").state_dict()) == checksum(
        trained[1].state_dict()
    )


def test_another_recipe_or_another_model_is_refused(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    with pytest.raises(ValueError, match=r"controlnet.pt was made with steps = 4, now it is 6; give the old"):
        train_control(small_pipeline(), tmp_path / "run", replace(SHORT, steps=6), "cpu")
    with pytest.raises(ValueError, match=r"examples.npz was made with pictures = 10, now it is 12"):
        train_control(small_pipeline(), tmp_path / "run", replace(SHORT, pictures=12), "cpu")
    pipe = small_pipeline()
    with torch.no_grad():
        pipe.unet.conv_in.bias += 1
    with pytest.raises(ValueError, match="examples.npz was made with the model's checksum = "):
        train_control(pipe, tmp_path / "run", SHORT, "cpu")


def test_damaged_examples_are_noticed(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    path = tmp_path / "run" / "examples.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="examples.npz is damaged or gone; delete .* to make it again"):
        train_control(small_pipeline(), tmp_path / "run", SHORT, "cpu")


def test_an_inpainting_model_is_refused(tmp_path):
    p = small_pipeline()
    unet = randomise(UNet({**p.unet.config.to_dict(), "in_channels": 9}))
    pipe = StableDiffusion(p.tokenizer, p.text_encoder, unet, p.vae, SCHEDULER)
    with pytest.raises(ValueError, match="give a text-to-image model such as tiny"):
        train_control(pipe, tmp_path, SHORT, "cpu")


def test_half_of_a_batch_are_maps_the_other_half_outlines():
    scene = parse(WORDS)
    drawn = [render_with_parts(scene, seed, 32) for seed in range(6)]
    pictures, parts = map(np.stack, zip(*drawn))
    lines = outlines(pictures)[..., 0] > 0
    chosen = np.array([5, 0, 3, 2, 2])
    shown = maps_and_outlines(parts, lines, 0.0)(chosen, np.random.default_rng(0))
    assert shown.shape == (5, 32, 32, 3) and shown.dtype == np.uint8
    assert np.array_equal(shown[:2], semantic_map(parts[[5, 0]]))
    assert np.array_equal(shown[2:], outlines(pictures[[3, 2, 2]]))
    many = maps_and_outlines(parts, lines, 0.25)(np.zeros(400, int), np.random.default_rng(0))
    assert 60 < sum(not plan.any() for plan in many) < 140


def test_a_picture_and_its_parts_are_drawn_in_one_go():
    picture, parts = render_with_parts(parse(WORDS), 4, 64)
    assert np.array_equal(picture, render(parse(WORDS), 4, 64))
    assert np.array_equal(parts, parts_of_picture(parse(WORDS), 4, 64))


# ---- the command


def test_the_command_trains_a_model_of_the_little_world(tmp_path, capsys):
    model = tmp_path / "model"
    small_pipeline().save_pretrained(model)
    words = ["--out", str(tmp_path / "run"), "--steps", "1", "--pictures", "3", "--device", "cpu"]
    with pytest.raises(SystemExit) as stopped:
        control.main([*words, "--model", str(model)])
    assert stopped.value.code == 2 and "is no model of the little world" in capsys.readouterr().err
    write_json(
        {**read_json(model / "model_index.json"), "_world": "minisd.scenes"}, model / "model_index.json"
    )
    control.main([*words, "--model", str(model)])
    assert "controlnet, after" in capsys.readouterr().out
    assert (tmp_path / "run" / "controlnet" / WEIGHTS).is_file()


@pytest.mark.parametrize(
    "words, said",
    [
        (["--model", "nowhere"], "no model at nowhere"),
        (["--steps", "0"], "steps is 0; give a whole number from 1"),
        (["--pictures", "-3"], "pictures is -3; give a whole number from 1"),
    ],
)
def test_what_the_command_refuses_is_one_line(tmp_path, capsys, words, said):
    with pytest.raises(SystemExit) as stopped:
        control.main(["--out", str(tmp_path / "run"), "--device", "cpu", *words])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and said in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, capsys):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(SystemExit):
        control.main(["--out", str(tmp_path / "run"), "--device", "cpu"])
    assert "is a file; name a folder" in capsys.readouterr().err
    assert (tmp_path / "run").read_text() == "mine"


# ---- what ships


def test_what_ships_was_trained_beside_the_tiny_that_ships():
    told, pipe = read_json(PLANS / "training.json"), StableDiffusion.from_pretrained("tiny", "cpu")
    parts = pipe.unet, pipe.vae, pipe.text_encoder
    model = checksum({name: tensor for part in parts for name, tensor in part.state_dict().items()})
    again = "python -m minisd.training.control --out runs/plans, then copy runs/plans/controlnet"
    assert told["model"] == model, f"tiny has changed: {again} to minisd/tiny_plans"


def test_it_is_asked_for_by_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-plans").mkdir()  # the name comes before a path, as tiny's does
    net = StableDiffusion.from_pretrained("tiny", "cpu", controlnet="tiny-plans").controlnet
    kept = load_controlnet(PLANS, "cpu", torch.float32).state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in net.state_dict().items())
    assert StableDiffusion.from_pretrained("tiny", "cpu").controlnet is None


def test_another_model_refuses_it(tmp_path):
    small_pipeline().save_pretrained(tmp_path / "model")
    said = "the ControlNet is made for words of 128 numbers, this model has 16: take a ControlNet that was"
    with pytest.raises(ValueError, match=said):
        StableDiffusion.from_pretrained(tmp_path / "model", controlnet="tiny-plans")


def test_the_command_paints_by_a_plan(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = Image.fromarray(semantic_map(parts_of_picture(parse(WORDS), 3)))
    plan.save("plan.png")
    words = ["paint", WORDS, "--controlnet", "tiny-plans", "--control-image", "plan.png", "--steps", "2"]
    assert cli.main([*words, "--out", "a.png", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["controlnet"], facts["model"]) == ("tiny-plans", "tiny")
    pipe = StableDiffusion.from_pretrained("tiny", "cpu", controlnet="tiny-plans")
    expected = pipe(WORDS, control_image=plan, num_inference_steps=2)[0]
    with Image.open("a.png") as found:
        assert np.array_equal(np.asarray(found), np.asarray(expected))
        assert "ControlNet: tiny-plans at 1" in found.text["parameters"]
    assert cli.main(["paint", WORDS, "--control-image", "plan.png", "--out", "b.png"]) == 2
    assert 'for tiny "tiny-plans"' in capsys.readouterr().err


def test_tiny_itself_has_no_controlnet():
    assert not (TINY / "controlnet").exists()
