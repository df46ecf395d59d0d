"""Training: it survives being killed, repeats itself bit for bit, and asks each network the right thing."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.distributions import Normal, kl_divergence

from minisd import AutoencoderKL, StableDiffusion, TextEncoder, UNet
from minisd import checkpoint as checkpoint_file
from minisd.cli import main
from minisd.clip import CLIP, contrastive_loss
from minisd.config import CLIPConfig
from minisd.scenes import HELD_OUT, parse, render_many
from minisd.scenes.judge import Judge
from minisd.schedule import NoiseSchedule
from minisd.teaching.book import ROOT
from minisd.training import data, examples, loop, stages
from minisd.training.data import map_pictures, render_pictures, shrunk, to_tensor, training_scenes
from minisd.training.examples import Latents
from minisd.training.loop import fit, learning_rate
from minisd.training.muon import NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS, Muon, orthogonal
from minisd.training.objectives import (
    CLIPObjective,
    PaintingLoss,
    UNetObjective,
    VAEObjective,
)
from minisd.training.recipe import STAGES, Phase, read_recipe
from minisd.training.stages import NEEDS, Training
from minisd.training.store import read_snapshot, seconds_taken
from minisd.vae import Posterior

RECIPE = Path(__file__).with_name("small.toml")  # pictures of 48x48, checkpoints after 2, 4 and 5 steps


class Killed(BaseException):
    """Stands for a kill: no `except Exception` may catch it."""


def kill_at(monkeypatch, owner, name, call, before=lambda *args: None):
    """The given call (counted from 1) of owner.name raises Killed, after `before` has done its part."""
    original, calls = getattr(owner, name), []

    def killing(*args, **options):
        calls.append(name)
        if len(calls) == call:
            before(*args)
            raise Killed
        return original(*args, **options)

    monkeypatch.setattr(owner, name, killing)


def half_a_file(value, path):
    """What a torch.save leaves that was killed half-way."""
    torch_save(value, path)
    os.truncate(path, path.stat().st_size // 2)


torch_save = torch.save


def differences(a, b, where=""):
    """The places where nested dictionaries and lists of tensors, arrays and numbers differ in a bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = [f"{where}/{key} is in one only" for key in a.keys() ^ b.keys()]
        return found + [
            f for key in a.keys() & b.keys() for f in differences(a[key], b[key], f"{where}/{key}")
        ]
    if isinstance(a, (list, tuple)) and type(a) is type(b) and len(a) == len(b):
        return [found for i, (x, y) in enumerate(zip(a, b)) for found in differences(x, y, f"{where}/{i}")]
    if isinstance(a, (torch.Tensor, np.ndarray)) and type(a) is type(b) and a.dtype == b.dtype:
        same = torch.equal(a, b) if isinstance(a, torch.Tensor) else np.array_equal(a, b)
    else:
        same = type(a) is type(b) and a == b
    return [] if same else [where]


def checkpoint(path):
    """All that a checkpoint holds, less its seconds and its machine."""
    state = torch.load(path, weights_only=True)
    assert state.pop("seconds") > 0 and state.pop("machine")["torch"] == torch.__version__
    return state


# ---- the loop


class Toy(nn.Module):
    """A convolution and a linear layer that are to give 1 for any noise."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(64, 1))

    def forward(self, x):
        return (self.net(x) - 1).square().mean()


def noise_batch(rng, n):
    return (torch.from_numpy(rng.standard_normal((n, 2, 6, 6), dtype=np.float32)),)


def train_toy(out, objective=None, batch=noise_batch, **options):
    objective = objective or Toy()
    options = {
        "steps": 8,
        "batch_size": 4,
        "learning_rate_peak": 0.01,
        "warmup": 2,
        "save_every": 3,
        **options,
    }
    settings, seed = options.pop("settings", {"width": 4}), options.pop("seed", 0)
    settings = {**settings, "steps": options["steps"]}
    accelerator, path = Accelerator(cpu=True), out / "toy.pt"
    done = fit(objective, batch, path, Phase(**options), accelerator, settings=settings, seed=seed)
    return objective, done


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted")
    objective, done = train_toy(out)
    return checkpoint(out / "toy.pt"), objective.net.state_dict(), done["losses"]


# Checkpoints come after steps 3, 6 and 8; a step begins with its learning rate and ends with the averaging.
@pytest.mark.parametrize(
    "owner, name, call, before",
    [
        (loop, "learning_rate", 1, None),
        (loop, "learning_rate", 3, None),
        (loop, "learning_rate", 4, None),
        (loop, "learning_rate", 8, None),
        (loop.AveragedModel, "update_parameters", 3, None),
        (loop.AveragedModel, "update_parameters", 5, None),
        (torch, "save", 1, half_a_file),
        (torch, "save", 2, half_a_file),
        (torch, "save", 3, half_a_file),
        *(
            (Path, "replace", call, None) for call in range(1, 9)
        ),  # the old checkpoint's names and the new one's
    ],
)
def test_a_killed_training_ends_as_if_it_had_not_been(
    tmp_path, monkeypatch, uninterrupted, owner, name, call, before
):
    with monkeypatch.context() as patch:
        kill_at(patch, owner, name, call, before or (lambda *args: None))
        with pytest.raises(Killed):
            train_toy(tmp_path)
    objective, done = train_toy(tmp_path)
    state, weights, losses = uninterrupted
    assert differences(checkpoint(tmp_path / "toy.pt"), state) == []
    assert differences(objective.net.state_dict(), weights) == []
    assert done["losses"] == losses
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.previous.pt", "toy.pt", "toy.pt.sha256"]


def test_a_training_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path, monkeypatch, uninterrupted):
    for saves in (1, 2, 2, 1):  # half a checkpoint, a whole one, another, half the last
        with monkeypatch.context() as patch:
            kill_at(patch, torch, "save", saves, half_a_file)
            with pytest.raises(Killed):
                train_toy(tmp_path)
    train_toy(tmp_path)
    assert differences(checkpoint(tmp_path / "toy.pt"), uninterrupted[0]) == []


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, loop, "learning_rate", 6)
        with pytest.raises(Killed):
            train_toy(tmp_path)
    assert checkpoint(tmp_path / "toy.pt")["step"] == 3
    steps = []
    monkeypatch.setattr(
        loop, "learning_rate", lambda step, *rest: steps.append(step) or learning_rate(step, *rest)
    )
    train_toy(tmp_path)
    assert steps == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("save_every", [1, 3, 4, 100])
def test_how_often_it_saves_changes_neither_weights_nor_losses(tmp_path, monkeypatch, save_every):
    """Losses are averaged over 3 steps each here, so that most checkpoints fall between two points of the
    curve.
    """
    monkeypatch.setattr(loop, "LOG_EVERY", 3)
    straight, done = train_toy(tmp_path / "straight", save_every=100)
    with monkeypatch.context() as patch:
        kill_at(patch, loop, "learning_rate", 6)
        with pytest.raises(Killed):
            train_toy(tmp_path / "killed", save_every=save_every)
    killed, again = train_toy(tmp_path / "killed", save_every=save_every)
    assert differences(killed.net.state_dict(), straight.net.state_dict()) == []
    assert again["losses"] == done["losses"] and len(done["losses"]) == 3


# ---- snapshots


def snapshots_of(out, *steps):
    return {step: read_snapshot(out / "toy.pt", step, {"width": 4, "steps": 8}) for step in steps}


def test_snapshots_are_the_weights_and_their_average_after_those_steps(tmp_path):
    """Of a training with one more checkpoint: after step 6 the two hold the same."""
    untrained, (objective, _) = Toy().net, train_toy(tmp_path, snapshots=[0, 5, 6, 8])
    kept, before = snapshots_of(tmp_path, 0, 5, 6, 8), checkpoint(tmp_path / "toy.previous.pt")
    assert before["step"] == 6
    assert differences(kept[0]["raw"], dict(untrained.state_dict())) == []
    assert differences(kept[0]["average"], kept[0]["raw"]) == []
    raw = {k.removeprefix("net."): v for k, v in before["objective"].items()}
    assert differences(kept[6]["raw"], raw) == []
    average = {k.removeprefix("module."): v for k, v in before["average"].items() if k != "n_averaged"}
    assert differences(kept[6]["average"], average) == []
    assert differences(kept[8]["average"], dict(objective.net.state_dict())) == []
    # An exponential moving average: of step 6's weights it takes one thousandth.
    for name, older in kept[5]["average"].items():
        torch.testing.assert_close(average[name], older.lerp(raw[name], 0.001))
        assert not torch.equal(average[name], older)


def test_snapshots_change_nothing_else_and_may_be_asked_for_later(tmp_path, uninterrupted):
    train_toy(tmp_path, snapshots=[2, 3])
    assert differences(checkpoint(tmp_path / "toy.pt"), uninterrupted[0]) == []
    train_toy(tmp_path)  # a finished training without them, or with others, is the same training
    train_toy(tmp_path, snapshots=[7])
    with pytest.raises(
        FileNotFoundError, match=r"no snapshot .*toy\.7\.safetensors; name step 7 in"
    ) as error:
        snapshots_of(tmp_path, 7)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("stop", [1, 3, 4, 5, 6, 8])
def test_a_killed_training_keeps_the_snapshots_of_an_uninterrupted_one(tmp_path, monkeypatch, stop):
    """Checkpoints come after steps 3 and 6, so that step 5's snapshot is written twice, or again."""
    steps = [0, 3, 5, 8]
    train_toy(tmp_path / "straight", snapshots=steps)
    with monkeypatch.context() as patch:
        kill_at(patch, loop, "learning_rate", stop)
        with pytest.raises(Killed):
            train_toy(tmp_path / "killed", snapshots=steps)
    train_toy(tmp_path / "killed", snapshots=steps)
    for step in steps:
        name = f"toy.{step}.safetensors"
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


def test_half_a_snapshot_is_not_kept(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, checkpoint_file, "save_file", 1, lambda tensors, part, **_: part.write_bytes(b"half"))
        with pytest.raises(Killed):
            train_toy(tmp_path, snapshots=[2])
    assert not list(tmp_path.glob("toy.2.*"))
    train_toy(tmp_path, snapshots=[2])
    assert snapshots_of(tmp_path, 2)[2]["raw"].keys() == Toy().net.state_dict().keys()


def test_snapshots_of_other_settings_or_damaged_ones_are_refused(tmp_path):
    train_toy(tmp_path, snapshots=[2])
    with pytest.raises(ValueError, match="toy.2.safetensors was made with width = 4, now it is 5"):
        read_snapshot(tmp_path / "toy.pt", 2, {"width": 5, "steps": 8})
    path = tmp_path / "toy.2.safetensors"
    whole = path.read_bytes()
    for place in (-1, len(whole) // 2):
        path.write_bytes(bytes(byte ^ (i == place % len(whole)) for i, byte in enumerate(whole)))
        with pytest.raises(ValueError, match="toy.2.safetensors"):
            snapshots_of(tmp_path, 2)


def test_a_finished_training_returns_at_once(tmp_path, monkeypatch):
    first, done = train_toy(tmp_path)
    kill_at(monkeypatch, loop, "learning_rate", 1)
    kill_at(monkeypatch, torch, "save", 1)
    second, again = train_toy(tmp_path)
    assert again == done
    assert differences(first.net.state_dict(), second.net.state_dict()) == []


def test_every_step_draws_another_batch(tmp_path):
    drawn = []
    train_toy(tmp_path, batch=lambda rng, n: drawn.append(noise_batch(rng, n)[0]) or (drawn[-1],))
    assert len(drawn) == 8 and len({x.numpy().tobytes() for x in drawn}) == 8


def test_another_seed_gives_other_weights(tmp_path):
    (a, _), (b, _) = train_toy(tmp_path / "0"), train_toy(tmp_path / "1", seed=1)
    assert not torch.equal(a.net[0].weight, b.net[0].weight)


@pytest.mark.parametrize("begun", [0, 4, 8])
@pytest.mark.parametrize(
    "options, said",
    [
        ({"steps": 6}, "steps = 8, now it is 6"),
        ({"steps": 9}, "steps = 8, now it is 9"),
        ({"settings": {"width": 5}}, "width = 4, now it is 5"),
        ({"settings": {}}, "width = 4, now it is None"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, monkeypatch, begun, options, said):
    """Of a finished training as of one that was killed; without a checkpoint there is nothing to refuse."""
    with monkeypatch.context() as patch:
        kill_at(patch, loop, "learning_rate", begun + 1)
        with contextlib.suppress(Killed):
            train_toy(tmp_path)
    if begun == 0:
        train_toy(tmp_path, **options)
        return
    before = checkpoint(tmp_path / "toy.pt")
    with pytest.raises(
        ValueError, match=f"toy.pt was made with {said}; give the old value or another --out folder"
    ):
        train_toy(tmp_path, **options)
    assert differences(checkpoint(tmp_path / "toy.pt"), before) == []


def spoilt_at(step, value):
    """Batches of noise, that of the given step holding one wrong number."""
    batches = []

    def batch(rng, n):
        (x,) = noise_batch(rng, n)
        if len(batches) == step:
            x[0, 0, 0, 0] = value
        batches.append(x)
        return (x,)

    return batch


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("step, kept", [(0, None), (2, None), (4, 3), (5, 3), (7, 6)])
def test_a_loss_that_is_no_number_stops_the_training_and_is_not_saved(tmp_path, value, step, kept):
    with pytest.raises(FloatingPointError, match=f"toy: .* at step {step}; try a lower learning_rate_peak"):
        train_toy(tmp_path, batch=spoilt_at(step, value))
    if kept is None:
        assert not list(tmp_path.rglob("*.pt"))
    else:
        state = checkpoint(tmp_path / "toy.pt")
        assert state["step"] == kept and all(x.isfinite().all() for x in state["objective"].values())


@pytest.mark.parametrize("step", [2, 7])
def test_weights_that_are_no_numbers_are_not_saved(tmp_path, step):
    """A finite loss may have a gradient that is none: the square root at zero."""

    class Root(Toy):
        steps = 0

        def forward(self, x):
            loss = super().forward(x)
            self.steps += 1
            return loss + (0 * loss).sqrt() if self.steps == step + 1 else loss

    with pytest.raises(FloatingPointError, match=f"toy: .* at step {step}; try a lower learning_rate_peak"):
        train_toy(tmp_path, Root())
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == (["toy.previous.pt", "toy.pt", "toy.pt.sha256"] if step == 7 else [])
    assert step != 7 or checkpoint(tmp_path / "toy.pt")["step"] == 6


def test_the_learning_rate_climbs_in_a_straight_line():
    assert [learning_rate(step, 100, 2.0, 4) for step in range(4)] == [0.5, 1.0, 1.5, 2.0]


def test_the_learning_rate_falls_from_its_peak_to_zero():
    rates = [learning_rate(step, 104, 2.0, 4) for step in range(4, 105)]
    assert rates[0] == 2.0 and rates[50] == pytest.approx(1.0) and rates[100] == 0.0
    assert rates == sorted(rates, reverse=True)


def test_without_warm_up_the_learning_rate_begins_at_its_peak():
    assert learning_rate(0, 10, 0.5, 0) == 0.5


class Slope(nn.Module):
    """The loss is the weight itself, so that its gradient is always 1."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.net.weight)

    def forward(self, x):
        return self.net(x).mean()


def test_three_steps_and_their_average_are_those_computed_by_hand(tmp_path):
    """AdamW moves by the rate where gradients are all alike, after the weight has lost 0.01 times the rate.

    Rates 1, 1, 1/2; weights -1, -1 * 0.99 - 1 = -1.99, -1.99 * 0.995 - 0.5 = -2.48005; averages with a decay
    of 1/2: -1, -1.495, -1.987525.
    """

    def ones(rng, n):
        return (torch.ones(n, 1),)

    options = {"steps": 3, "learning_rate_peak": 1.0, "warmup": 1, "ema_decay": 0.5}
    objective, done = train_toy(tmp_path, Slope(), ones, **options)
    state = checkpoint(tmp_path / "toy.pt")
    assert state["objective"]["net.weight"].item() == pytest.approx(-2.48005, rel=1e-5)
    assert state["average"]["module.weight"].item() == pytest.approx(-1.987525, rel=1e-5)
    assert objective.net.weight.item() == state["average"]["module.weight"].item()
    assert done["losses"] == [pytest.approx((0 - 1 - 1.99) / 3, rel=1e-5)]


# ---- Muon, which moves the matrices


@pytest.fixture(scope="module")
def with_muon(tmp_path_factory):
    """A checkpoint of the toy, its linear layer's matrix by Muon."""
    out = tmp_path_factory.mktemp("muon")
    train_toy(out, muon_peak=0.02)
    return checkpoint(out / "toy.pt")


def test_matrices_and_kernels_move_by_muon_and_all_else_by_adamw(with_muon):
    toy = Toy()
    conv, _, _, linear = toy.net
    kernel = kernel_as_matrix(conv.weight)
    both = {
        0.01: torch.optim.AdamW([conv.bias, linear.bias]),
        0.02: Muon([kernel, linear.weight], lr=0.02),
    }
    for step in range(8):
        toy.zero_grad()
        toy(*noise_batch(np.random.default_rng((0, step, 1)), 4)).backward()
        nn.utils.clip_grad_norm_(toy.parameters(), 1.0)
        kernel.grad = conv.weight.grad.flatten(1)
        for peak, optimizer in both.items():
            optimizer.param_groups[0]["lr"] = learning_rate(step, 8, peak, 2)
            optimizer.step()
        with torch.no_grad():
            conv.weight.copy_(kernel.view_as(conv.weight))
    for name, x in toy.state_dict().items():
        torch.testing.assert_close(with_muon["objective"][name], x, rtol=1e-4, atol=1e-6)


def test_a_phase_without_muon_moves_matrices_otherwise(with_muon, uninterrupted):
    without = uninterrupted[0]
    assert (len(without["optimizers"]), len(with_muon["optimizers"])) == (1, 2)
    name = "net.3.weight"
    assert not torch.allclose(with_muon["objective"][name], without["objective"][name], atol=1e-3)


# The rate is asked for twice a step; checkpoints come after steps 3, 6 and 8.
@pytest.mark.parametrize("call", [2, 7, 8, 15, 16])
def test_a_killed_training_with_muon_ends_as_if_it_had_not_been(tmp_path, monkeypatch, with_muon, call):
    with monkeypatch.context() as patch:
        kill_at(patch, loop, "learning_rate", call)
        with pytest.raises(Killed):
            train_toy(tmp_path, muon_peak=0.02)
    train_toy(tmp_path, muon_peak=0.02)
    assert differences(checkpoint(tmp_path / "toy.pt"), with_muon) == []


WITH_MUON = Phase(steps=1, batch_size=1, learning_rate_peak=0.01, muon_peak=0.02)
MATRICES = "q_proj k_proj v_proj out_proj fc1 fc2 text_projection visual_projection".split()


def test_of_clip_the_layers_matrices_go_to_muon_and_no_embedding():
    clip = read_recipe(RECIPE).clip
    objective = CLIPObjective(CLIP(CLIPConfig(clip.text_config, clip.vision_config, 16)))
    objective.net.visual_projection.requires_grad_(False)
    names = {id(p): name.removeprefix("net.") for name, p in objective.named_parameters()}
    adamw, muon = (
        [names.pop(id(p)) for group in optimizer.param_groups for p in group["params"]]
        for optimizer in loop.optimizers(objective, WITH_MUON)
    )
    assert set(names.values()) == {"visual_projection.weight"}  # frozen, so that no optimizer has it
    assert muon and {name.split(".")[-2] for name in muon} == set(MATRICES) - {"visual_projection"}
    assert all(name.endswith(".weight") for name in muon)
    kept = {name for name in adamw if not name.endswith("bias") and "norm" not in name}
    assert {name.split(".")[-2] if "." in name else name for name in kept} == {
        *("token_embedding", "position_embedding", "patch_embedding", "embeddings", "logit_scale"),
    }


def test_a_layer_behind_an_embedding_is_a_matrix_too():
    """As the U-Net's two layers that read the time, which have its embedding in their names."""
    toy = Toy()
    layer = nn.Linear(2, 2)
    time = nn.ModuleDict({"linear_1": layer})
    toy.net = nn.ModuleDict({"time_embedding": time, "position_embedding": nn.Embedding(2, 2)})
    _, muon = loop.optimizers(toy, WITH_MUON)
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(layer.weight)]


def test_without_a_peak_for_muon_all_goes_to_adamw():
    phase = replace(WITH_MUON, muon_peak=0.0)
    (adamw,) = loop.optimizers(Toy(), phase)
    assert isinstance(adamw, torch.optim.AdamW)
    assert sum(len(group["params"]) for group in adamw.param_groups) == 4


def kernel_as_matrix(kernel):
    """A kernel, (out, in, height, width), as the matrix (out, in height width), with its gradient."""
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1).clone()
    return matrix


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 3, 3, 3), (48, 2, 3, 3), (4, 8, 1, 1)], ids=str)
@pytest.mark.parametrize(
    "form", [torch.contiguous_format, torch.channels_last], ids=["plain", "channels_last"]
)
def test_muon_moves_a_kernel_as_torchs_muon_moves_its_matrix(shape, form, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)  # torch's Muon would round to it
    torch.manual_seed(0)
    weight = torch.randn(shape)
    weight = nn.Parameter(weight.to(memory_format=form) if weight.ndim == 4 else weight)
    theirs = kernel_as_matrix(weight)
    optimizers = (
        Muon([weight], lr=0.02),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(4):
        weight.grad = torch.randn_like(weight)
        theirs.grad = weight.grad.flatten(1).clone()
        for optimizer in optimizers:
            optimizer.step()
        torch.testing.assert_close(weight.detach().flatten(1), theirs.detach(), rtol=0, atol=1e-6)


def test_muons_step_is_about_equally_large_in_all_directions():
    torch.manual_seed(0)
    for shape in ((32, 32), (32, 288), (288, 32)):
        sizes = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert sizes.min() > 0.6 and sizes.max() < 1.3, shape


@pytest.mark.parametrize("shape", [(8, 8), (8, 72), (72, 8)], ids=str)
@pytest.mark.parametrize("rank", [1, 8])
def test_factors_that_are_multiplied_first_are_those_of_the_plain_iteration(shape, rank):
    torch.manual_seed(0)
    matrix = (torch.randn(shape[0], rank) @ torch.randn(rank, shape[1])).double()
    a, b, c = NEWTON_SCHULZ
    x = matrix / matrix.norm()
    for _ in range(NEWTON_SCHULZ_STEPS):
        x = a * x + b * x @ x.T @ x + c * x @ x.T @ x @ x.T @ x
    torch.testing.assert_close(orthogonal(matrix), x, rtol=0, atol=1e-9)
    torch.testing.assert_close(orthogonal(matrix.float()), x.float(), rtol=0, atol=1e-4)


def test_muon_leaves_a_weight_without_a_gradient():
    weight = nn.Parameter(torch.ones(2, 2))
    Muon([weight], lr=0.02).step()
    assert torch.equal(weight, torch.ones(2, 2))


@pytest.mark.parametrize("precision, fused", [("bf16", False), ("no", True)])
def test_in_bfloat16_on_a_cpu_attention_is_not_torchs_fused_one(precision, fused):
    half = SimpleNamespace(device=torch.device("cpu"), mixed_precision=precision)
    with loop.Loop.attention(SimpleNamespace(accelerator=half)):
        assert torch.backends.cuda.flash_sdp_enabled() == fused  # the switch has no name of its own for CPUs
    assert torch.backends.cuda.flash_sdp_enabled()


# ---- all the stages, small


@pytest.fixture(scope="module")
def recipe():
    return read_recipe(RECIPE)


def train_all(out):
    Training(read_recipe(RECIPE), out, device="cpu").train(*STAGES["all"])


def contents(folder):
    """Every file of a finished run and what is in it, less what tells of the machine."""
    found = {}
    for path in folder.rglob("*"):
        if path.suffix == ".pt":
            found[str(path.relative_to(folder))] = checkpoint(path)
        elif path.suffix == ".npz":
            found[str(path.relative_to(folder))] = dict(np.load(path))
        elif path.parent == folder and path.suffix == ".json":
            found[path.name] = json.loads(path.read_text())["losses"]
        elif (
            path.is_file()
            and path.suffix != ".sha256"
            and path.name != ".lock"
            and path.parent.name != "records"
        ):
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    train_all(out)
    return out


@pytest.fixture(scope="module")
def training(finished):
    return Training(read_recipe(RECIPE), finished, device="cpu")


@pytest.fixture(scope="module")
def latents(training):
    """Mean, deviation and scale, as they were stored."""
    return training.open_latents()


@pytest.fixture(scope="module")
def posterior(training):
    """What the trained encoder says of the pictures."""
    with torch.inference_mode():
        return training.open_vae().encode(to_tensor(training.open_pictures()))


def test_the_seconds_of_every_stage_are_noted_and_added_up(training, finished):
    before = seconds_taken(finished)
    assert list(before) == STAGES["all"] and all(seconds > 0 for seconds in before.values())
    training.train("tokenizer")
    after = seconds_taken(finished)
    assert before["tokenizer"] < after["tokenizer"] < before["tokenizer"] + 60
    assert {**after, "tokenizer": before["tokenizer"]} == before


def test_two_trainings_from_nothing_give_the_same_bits(finished, tmp_path):
    train_all(tmp_path)
    assert differences(contents(tmp_path), contents(finished)) == []


def test_every_phase_takes_its_steps_and_moves_its_weights(finished):
    for path in (finished / "checkpoints").glob("*[!s].pt"):
        if path.stem.endswith(".previous"):
            continue
        state = checkpoint(path)
        assert (state["step"], state["average"]["n_averaged"].item()) == (5, 5)
        assert len(state["losses"]) == 1 and math.isfinite(state["losses"][0])
        moved = [
            name
            for name, raw in state["objective"].items()
            if f"module.{name.removeprefix('net.')}" in state["average"]
            and not torch.equal(raw, state["average"][f"module.{name.removeprefix('net.')}"])
        ]
        assert moved, path.name


def test_the_checkpoint_before_the_last_one_is_kept(finished):
    folder = finished / "checkpoints"
    names = ["clip-mixed", "clip-twins", "decoder", "unet", "vae-corners", "vae-whole"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}{which}" for name in names for which in (".pt", ".previous.pt", ".pt.sha256")
    )
    assert {checkpoint(path)["step"] for path in folder.glob("*.previous.pt")} == {4}


def forbid_work(patch):
    """Whatever trains, renders, learns or encodes raises Killed."""
    for owner, name in [
        (loop, "learning_rate"),
        (torch, "save"),
        (data, "render_many"),
        (np, "savez"),
        (AutoencoderKL, "encode"),
        (stages.BPE, "train"),
    ]:
        kill_at(patch, owner, name, 1)


@pytest.mark.parametrize("stage", STAGES["all"][:-1])
def test_a_finished_stage_returns_at_once(training, monkeypatch, stage):
    forbid_work(monkeypatch)
    training.train(stage)


@pytest.mark.parametrize("stage", STAGES["all"][:-1])
def test_opening_a_stage_never_trains(training, tmp_path, monkeypatch, stage):
    forbid_work(monkeypatch)
    getattr(training, f"open_{stage}")()
    other = Training(training.recipe, tmp_path / "new", device="cpu")
    with pytest.raises(ValueError, match="stage .* is not trained: minisd train .* --out .*new --config"):
        getattr(other, f"open_{stage}")()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "word, missing, command",
    [
        ("clip", "tokenizer", "tokenizer"),
        ("unet", "tokenizer", "tokenizer"),
    ],
)
def test_a_stage_says_at_once_which_other_has_to_be_trained_before(
    training, tmp_path, monkeypatch, word, missing, command
):
    forbid_work(monkeypatch)
    other = Training(training.recipe, tmp_path, device="cpu")
    said = f"^stage {missing} is not trained: minisd train {command} --out"
    with pytest.raises(ValueError, match=said):
        other.train(*STAGES[word])


def test_the_u_net_is_not_trained_before_what_only_the_export_needs(finished, tmp_path, recipe, monkeypatch):
    """Else it would be trained to the end, and only then could no model be written."""
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "clip-twins.pt").unlink()
    forbid_work(monkeypatch)
    with pytest.raises(ValueError, match="^stage clip is not trained: minisd train clip --out"):
        Training(recipe, tmp_path / "run", device="cpu").train(*STAGES["unet"])


def test_the_u_net_is_opened_as_it_was_on_the_way(finished, tmp_path, recipe):
    shutil.copytree(finished, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("unet*"):
        path.unlink()
    with_snapshots = replace(recipe, unet=replace(recipe.unet, snapshots=(0, 3, 5)))
    run = Training(with_snapshots, tmp_path / "run", device="cpu")
    run.train("unet")
    weights = {
        (step, raw): run.open_unet(step, raw).state_dict()
        for step in (0, 3, 5, None)
        for raw in (True, False)
    }
    assert differences(weights[5, False], weights[None, False]) == []
    assert differences(weights[5, True], weights[None, True]) == []
    assert differences(weights[0, True], weights[0, False]) == []
    for a, b in ((3, 5), (0, 3)):
        assert not torch.equal(weights[a, True]["conv_in.weight"], weights[b, True]["conv_in.weight"])
    for step in (3, 5):
        assert not torch.equal(weights[step, True]["conv_in.weight"], weights[step, False]["conv_in.weight"])
    before = Training(recipe, finished, device="cpu")
    assert differences(dict(before.open_unet().state_dict()), dict(weights[None, False])) == []
    with pytest.raises(FileNotFoundError, match=r"no snapshot .*unet\.4\.safetensors; name step 4"):
        run.open_unet(4)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_the_first_process_does_alone_has_the_threads_of_all_and_gives_them_back(processes):
    before = torch.get_num_threads()
    with pytest.raises(ValueError), stages.threads_of(processes):
        inside = torch.get_num_threads()
        raise ValueError
    assert inside == before * processes and torch.get_num_threads() == before


def test_stages_come_after_those_that_they_need():
    for names in STAGES.values():
        assert set(names) <= NEEDS.keys()
    for i, name in enumerate(STAGES["all"]):
        assert set(NEEDS[name]) <= set(STAGES["all"][:i])


def test_an_unknown_stage_is_refused(training):
    with pytest.raises(ValueError, match="there is no stage 'gan'; choose from pictures, tokenizer"):
        training.train("gan")


# Sessions forked from one process, each of them killed with SIGKILL at its own place; the last one ends.
SESSIONS = """
import json, os, signal, sys
from pathlib import Path
import torch
from minisd.training import stages
from minisd.training.recipe import STAGES, read_recipe

recipe, out, kills = read_recipe(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
save, replace, fit = torch.save, Path.replace, stages.fit

def session(where, name, call):
    calls = []
    def counted(found):
        calls.extend([name] if found == name else [])
        return found == name and len(calls) == call
    def dying_save(value, part):
        save(value, part)
        if where == "half a checkpoint" and counted(part.name.split(".")[1]):
            os.truncate(part, part.stat().st_size // 2)
            die()
    def dying_replace(part, path):
        if where == "before the renaming" and counted(Path(path).name):
            die()
        replace(part, path)
        return path
    def dying_fit(objective, batch, path, *args, **options):
        def dying_batch(rng, n):
            if where == "in a step" and counted(path.stem):
                die()
            return batch(rng, n)
        return fit(objective, dying_batch, path, *args, **options)
    torch.save, Path.replace, stages.fit = dying_save, dying_replace, dying_fit
    stages.Training(recipe, out, device="cpu").train(*STAGES["all"])

torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # imports what every session would import again
for kill in [*kills, ("nowhere", "", 0)]:
    child = os.fork()
    if child == 0:
        session(*kill)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
KILLS = [
    ("before the renaming", "merges.txt", 1),
    ("half a checkpoint", "clip-mixed", 2),
    ("in a step", "clip-twins", 4),
    ("in a step", "vae-whole", 2),  # before its first checkpoint
    ("before the renaming", "latents.npz", 1),
    ("before the renaming", "unet.previous.pt", 1),
    ("half a checkpoint", "unet", 2),
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_all_stages_killed_by_sigkill_time_and_again_give_the_same_bits(finished, tmp_path):
    """Weights, averages, optimizers, losses, latents and the model's files; nothing half-written stays."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    words = [
        sys.executable,
        "-c",
        SESSIONS,
        str(RECIPE),
        str(tmp_path / "run"),
        json.dumps(KILLS),
    ]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(KILLS) + ["0"], done.stderr
    assert differences(contents(tmp_path / "run"), contents(finished)) == []


def test_the_decoders_training_leaves_the_encoder_as_it_was(finished):
    folder = finished / "checkpoints"
    before, after = (checkpoint(folder / f"{name}.pt")["average"] for name in ("vae-whole", "decoder"))
    changed = {name.split(".")[1] for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "post_quant_conv"}


def test_the_u_nets_training_leaves_the_text_encoder_as_it_was(finished):
    clip, unet = (checkpoint(finished / "checkpoints" / f"{name}.pt") for name in ("clip-twins", "unet"))
    after = {name: x for name, x in unet["objective"].items() if name.startswith("text_encoder.")}
    assert after and all(
        torch.equal(x, clip["average"][name.replace("text_encoder", "module")]) for name, x in after.items()
    )


def test_both_phases_of_clip_move_both_encoders_and_the_temperature(finished, training):
    before = training._new_clip(training.open_tokenizer()).state_dict()
    for phase in ("clip-mixed", "clip-twins"):
        average = checkpoint(finished / "checkpoints" / f"{phase}.pt")["average"]
        after = {name: average[f"module.{name}"] for name in before}
        same = {name for name, x in before.items() if torch.equal(x, after[name])}
        assert not {name.split(".")[0] for name in same} & {
            *("text_projection", "visual_projection", "logit_scale"),
        }
        assert not any(name.endswith("proj.weight") for name in same)
        before = after


def test_the_twins_are_learned_from_where_the_mixed_pictures_led(finished, training, tmp_path, monkeypatch):
    """The second phase begins with the averaged weights of the first."""
    shutil.copytree(finished, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("clip-twins.*"):
        path.unlink()
    begun = []

    def fit(objective, batch, path, *args, **options):
        if path.stem == "clip-twins":
            begun.append({name: x.clone() for name, x in objective.net.state_dict().items()})
        return loop.fit(objective, batch, path, *args, **options)

    monkeypatch.setattr(stages, "fit", fit)
    Training(training.recipe, tmp_path / "run", device="cpu").train("clip")
    average = checkpoint(finished / "checkpoints" / "clip-mixed.pt")["average"]
    assert all(torch.equal(x, average[f"module.{name}"]) for name, x in begun[0].items())


@pytest.mark.parametrize("phase, twins", [("mixed", False), ("twins", True)])
def test_each_phase_of_clip_is_shown_its_own_pairs(training, monkeypatch, phase, twins):
    asked = []
    monkeypatch.setattr(
        examples, "pairs_to_match", lambda *args, **options: asked.append((args[3:], options))
    )
    training.pairs_of(phase)
    assert asked == [((24,), {"twins": twins})]


# ---- what each stage draws


SHOWN = 12  # pictures, of 128 pixels, as the judge reads them


@pytest.fixture(scope="module")
def tokenizer(training):
    return training.open_tokenizer()


@pytest.fixture(scope="module")
def scenes():
    return training_scenes(SHOWN, 0)


@pytest.fixture(scope="module")
def some_latents():
    """A mean and a deviation for every picture, each of them another."""
    rng = np.random.default_rng(0)
    mean, std = rng.random((2, SHOWN, 4, 3, 3)).astype(np.float16)
    return Latents(mean, std, 0.5)


@pytest.fixture(scope="module")
def batches(scenes, tokenizer, some_latents):
    """The batch functions of CLIP's two phases and of the U-Net; CLIP's pictures as large as the judge's."""
    pictures = render_many(scenes, range(SHOWN))
    return {
        "mixed": examples.pairs_to_match(scenes, pictures, tokenizer, 128, twins=False),
        "twins": examples.pairs_to_match(scenes, pictures, tokenizer, 128, twins=True),
        "unet": examples.latents_to_denoise(scenes, some_latents, tokenizer, 0.1, 1000),
    }


@pytest.fixture(scope="module")
def u_nets_draws(batches):
    """Ids and timesteps of 4,000 examples that the U-Net is shown."""
    rng = np.random.default_rng(0)
    drawn = [batches["unet"](rng, 100) for _ in range(40)]
    return torch.cat([ids for ids, *_ in drawn]), torch.cat([t for *_, t in drawn])


def test_a_tenth_of_the_u_nets_captions_is_left_out(u_nets_draws, tokenizer):
    ids, _ = u_nets_draws
    empty = (ids == tokenizer("")).all(dim=1)
    assert (
        ids.shape == (4000, 77) and 0.085 < empty.float().mean().item() < 0.115
    )  # three standard deviations


def test_the_u_net_sees_timesteps_of_the_whole_schedule(u_nets_draws):
    _, t = u_nets_draws
    assert t.dtype == torch.int64 and 0 <= t.min() < 5 and 995 <= t.max() <= 999
    assert t.float().mean().item() == pytest.approx(499.5, abs=15)  # three standard deviations


def test_the_u_net_reads_the_latents_of_the_picture_that_its_caption_is_of(
    batches, scenes, tokenizer, some_latents
):
    mean, std = some_latents.mean, some_latents.std
    ids, its_mean, its_std, *_ = batches["unet"](np.random.default_rng(1), 40)
    for row, m, s in zip(ids, its_mean, its_std, strict=True):
        (i,) = [i for i in range(SHOWN) if np.array_equal(mean[i], m.numpy())]
        assert np.array_equal(std[i], s.numpy())
        if text := tokenizer.decode(row):
            assert parse(text).admits(scenes[i])


@pytest.fixture(scope="module")
def judge():
    return Judge.load()


CLIP_SEED = 3  # of a batch whose pictures the judge reads without an error


@pytest.fixture(params=["mixed", "twins"])
def clip_batch(request, batches, tokenizer, judge):
    """A batch as CLIP is shown it, and what its captions and pictures say when read back."""
    ids, images, also_true = batches[request.param](np.random.default_rng(CLIP_SEED), 16)
    return [parse(tokenizer.decode(row)) for row in ids], judge.read(images), also_true


def test_clip_reads_each_pictures_own_caption_and_a_wrong_one(clip_batch):
    said, shown, _ = clip_batch
    assert len(said) == 2 * len(shown) == 32
    assert [said[i].admits(scene) for i, scene in enumerate(shown)] == 16 * [True]
    assert [said[16 + i].admits(scene) for i, scene in enumerate(shown)] == 16 * [False]


def test_clip_leaves_out_the_other_captions_that_fit(clip_batch):
    said, shown, also_true = clip_batch
    fits = torch.tensor([[text.admits(scene) for text in said] for scene in shown]) & ~torch.eye(
        16, 32, dtype=bool
    )
    assert fits.any() and torch.equal(also_true, fits)


SIDED = np.zeros((4, 4, 3), np.uint8)  # a picture that is dark on the right, bright on the left
SIDED[:, :2] = 255


def shown_as(image):
    """What became of SIDED: "itself", "mirrored", or "rendered" anew."""
    left, right = image[0, 0, 0].item(), image[0, 0, -1].item()
    return {(1.0, -1.0): "itself", (-1.0, 1.0): "mirrored"}.get((left, right), "rendered")


@pytest.fixture
def draw_pairs(tokenizer, monkeypatch):
    """Draws pairs of many scenes, all with the picture SIDED; what is rendered is kept and is all black."""
    scenes, rendered = training_scenes(1000, 9), []

    def render(scene, seed, size):
        rendered.append(scene)
        return np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(examples, "render", render)
    pictures = np.stack(1000 * [SIDED])

    def draw(twins, n, side=4):
        batch = examples.pairs_to_match(scenes, pictures, tokenizer, side, twins=twins)
        return batch(np.random.default_rng(0), n)

    return draw, rendered


def test_without_twins_each_picture_comes_by_itself(draw_pairs):
    draw, rendered = draw_pairs
    ids, images, also_true = draw(False, 60)
    assert (len(ids), images.shape, also_true.shape) == (120, (60, 3, 4, 4), (60, 120))
    assert {shown_as(image) for image in images} == {"itself"} and not rendered


def test_with_twins_a_pictures_relatives_are_beside_it(draw_pairs, tokenizer):
    draw, rendered = draw_pairs
    ids, images, also_true = draw(True, 60)
    assert (len(ids), images.shape, also_true.shape) == (120, (60, 3, 4, 4), (60, 120))
    kinds = [shown_as(image) for image in images]
    said = [parse(tokenizer.decode(row)) for row in ids[:60]]
    for i, (kind, scene) in enumerate(zip(kinds[:-1], said[:-1], strict=True)):
        if kind == "itself":
            assert (kinds[i + 1] == "mirrored") == (len(scene.things) == 2)
    assert kinds.count("mirrored") > 10 and kinds.count("rendered") > 10
    assert 2 * len(rendered) - 3 <= kinds.count("rendered") <= 2 * len(rendered)  # the last family may be cut


def test_clip_sees_pictures_averaged_down(draw_pairs):
    _, images, _ = draw_pairs[0](False, 3, side=2)
    assert images.shape == (3, 3, 2, 2)
    assert images[0, 0].tolist() == [[1.0, -1.0], [1.0, -1.0]]
    assert draw_pairs[0](False, 3, side=1)[1].abs().max() == 0


@pytest.mark.parametrize("twins", [False, True])
def test_what_is_held_out_is_only_ever_in_a_wrong_caption(draw_pairs, tokenizer, twins):
    draw, rendered = draw_pairs
    ids, _, _ = draw(twins, 600)
    said = [parse(tokenizer.decode(row)) for row in ids]
    true, wrong = (
        {(t.colour, t.kind) for scene in some for t in scene.things} for some in (said[:600], said[600:])
    )
    painted = {(t.colour, t.kind) for scene in rendered for t in scene.things}
    assert not (true | painted) & set(HELD_OUT) and wrong & set(HELD_OUT)
    assert bool(painted) == twins


@pytest.mark.parametrize("phase", ["mixed", "twins"])
def test_captions_are_cut_only_after_the_end_of_the_longest(batches, tokenizer, phase):
    ids, _, _ = batches[phase](np.random.default_rng(0), 16)
    ends = ids == tokenizer.eos
    assert ends[:, -1].all() and not ends[:, -2].all()


# ---- the objectives


class FakeVAE(nn.Module):
    """Says the posterior and paints the pictures that it is given."""

    def __init__(self, posterior, painted):
        super().__init__()
        self.posterior, self.painted = posterior, painted

    def encode(self, pictures):
        return self.posterior

    def decode(self, z):
        self.z = z
        return self.painted


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_vaes_loss_on_a_perfect_picture_is_the_divergence_that_torch_computes():
    """In nats a latent number, times its weight."""
    pictures, posterior = noise(3, 3, 8, 8), Posterior(noise(3, 4, 2, 2, seed=1), noise(3, 4, 2, 2, seed=2))
    theirs = kl_divergence(Normal(posterior.mean, posterior.std), Normal(0.0, 1.0)).mean()
    loss = VAEObjective(FakeVAE(posterior, pictures), PaintingLoss(4.0, 1.0), 0.25)(
        pictures, noise(3, 4, 2, 2)
    )
    assert loss.shape == () and loss.item() == pytest.approx(0.25 * theirs.item(), rel=1e-6)


def test_a_standard_normal_posterior_and_a_perfect_picture_cost_nothing():
    pictures, zeros = noise(2, 3, 8, 8), torch.zeros(2, 4, 1, 1)
    objective = VAEObjective(FakeVAE(Posterior(zeros, zeros), pictures), PaintingLoss(4.0, 1.0), 1.0)
    assert objective(pictures, zeros).item() == 0


def test_the_vae_decodes_its_mean_plus_noise_times_its_deviation():
    pictures, draw = torch.zeros(1, 3, 8, 8), noise(1, 4, 1, 1)
    net = FakeVAE(
        Posterior(torch.full((1, 4, 1, 1), 2.0), torch.full((1, 4, 1, 1), 2 * math.log(3))), pictures
    )
    VAEObjective(net, PaintingLoss(4.0, 1.0), 1.0)(pictures, draw)
    torch.testing.assert_close(net.z, 2 + 3 * draw)


@pytest.mark.parametrize(
    "painted, squared, edge, loss",
    [
        ([[0.5, 0.5], [0.5, 0.5]], 4.0, 1.0, 0.5 + 4 * 0.25),  # everywhere alike: no edge is wrong
        ([[1.0, 0.0], [0.0, 0.0]], 4.0, 0.0, 0.25 + 4 * 0.25),
        ([[1.0, 0.0], [0.0, 0.0]], 2.0, 1.0, 0.25 + 2 * 0.25 + 0.5 + 0.5),  # one of two edges each way
        ([[1.0, 1.0], [0.0, 0.0]], 0.0, 0.5, 0.5 + 0.5 * 1.0),  # both edges down, none across
    ],
)
def test_the_painting_loss_is_the_one_computed_by_hand(painted, squared, edge, loss):
    painted = torch.tensor([[painted]])
    assert PaintingLoss(squared, edge)(painted, torch.zeros(1, 1, 2, 2)).item() == pytest.approx(loss)


class FakeUNet(nn.Module):
    """Predicts what it is told to, and keeps what it was shown."""

    def __init__(self, prediction):
        super().__init__()
        self.prediction = prediction

    def forward(self, z, t, context):
        self.shown = z, t, context
        return self.prediction


GAMMA, SCALE = 5.0, 0.5
T = torch.tensor([0, 1, 100, 500, 999])


def unet_loss(error):
    """The loss of a U-Net that is wrong by `error`, and what it was shown."""
    torch.manual_seed(0)
    reader = TextEncoder(
        {
            "vocab_size": 9,
            "hidden_size": 4,
            "intermediate_size": 4,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "projection_dim": 4,
            "max_position_embeddings": 3,
        }
    )
    ids, mean, std, draw, true = (
        torch.ones(5, 3, dtype=torch.long),
        *(noise(5, 4, 2, 2, seed=i) for i in range(4)),
    )
    net = FakeUNet(true + error)
    loss = UNetObjective(net, reader, NoiseSchedule.scaled_linear(), SCALE, GAMMA)(
        ids, mean, std, draw, true, T
    )
    with torch.no_grad():  # as the objective reads
        context = reader(ids)
    return loss, net.shown, (mean, std, draw, true, context)


def snr():
    """Signal-to-noise ratios of T, from Stable Diffusion's betas in double precision."""
    alpha_bar = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)[T.numpy()]
    return alpha_bar / (1 - alpha_bar)


def test_a_u_net_that_finds_the_true_noise_has_no_loss():
    assert unet_loss(0.0)[0].item() == 0


def test_errors_are_weighed_by_the_smaller_of_snr_and_gamma_over_snr():
    expected = np.minimum(snr(), GAMMA) / snr()
    assert expected[0] < 0.01 and expected[-1] == 1  # nearly clean, nearly noise
    assert unet_loss(1.0)[0].item() == pytest.approx(expected.mean(), rel=1e-4)
    only_one = torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0]).view(5, 1, 1, 1)
    assert unet_loss(only_one)[0].item() == pytest.approx(4 * expected[2] / 5, rel=1e-4)


def test_the_u_net_is_shown_scaled_latents_with_noise_and_the_caption():
    _, (z, t, context), (mean, std, draw, true, expected) = unet_loss(0.0)
    alpha_bar = torch.from_numpy(snr() / (1 + snr())).float().view(5, 1, 1, 1)
    noisy = alpha_bar.sqrt() * SCALE * (mean + std * draw) + (1 - alpha_bar).sqrt() * true
    torch.testing.assert_close(z, noisy, rtol=1e-4, atol=1e-4)
    assert torch.equal(t, T) and torch.equal(context, expected) and not context.requires_grad


LOGITS = [[2.0, 0.5, 1.0, -1.0], [0.0, 3.0, -2.0, 1.5]]  # two images; two texts of theirs, two wrong ones


def cross_entropy(true, *others):
    return math.log(sum(math.exp(x) for x in (true, *others))) - true


def test_the_contrastive_loss_is_the_one_computed_by_hand():
    (a, b, c, d), (e, f, g, h) = LOGITS
    images = cross_entropy(a, b, c, d) + cross_entropy(f, e, g, h)  # each chooses among all four texts
    texts = cross_entropy(a, e) + cross_entropy(f, b)  # the wrong texts belong to no image: they choose none
    assert contrastive_loss(torch.tensor(LOGITS)).item() == pytest.approx(
        (images / 2 + texts / 2) / 2, rel=1e-6
    )


def test_what_is_also_true_is_left_out_both_ways():
    (a, _, c, d), (e, f, g, _) = LOGITS
    also_true = torch.tensor([[False, True, False, False], [False, False, False, True]])
    images, texts = cross_entropy(a, c, d) + cross_entropy(f, e, g), cross_entropy(a, e) + cross_entropy(f)
    loss = contrastive_loss(torch.tensor(LOGITS), also_true)
    assert loss.item() == pytest.approx((images / 2 + texts / 2) / 2, rel=1e-6)


class FakeCLIP(nn.Module):
    """Gives the same logits for whatever it is shown."""

    def forward(self, ids, images):
        return torch.tensor(LOGITS)


def test_clips_objective_leaves_out_what_is_also_true():
    also_true = torch.tensor([[False, True, False, False], [False, False, False, True]])
    loss = CLIPObjective(FakeCLIP())(None, None, also_true)
    assert loss.item() == contrastive_loss(torch.tensor(LOGITS), also_true).item()
    assert loss.item() != pytest.approx(contrastive_loss(torch.tensor(LOGITS)).item())


# ---- twins


@pytest.fixture(scope="module")
def families():
    """Thirty families of two things, with their pictures."""
    rng = np.random.default_rng(0)
    scenes = [scene for scene in training_scenes(200, 5) if len(scene.things) == 2][:30]
    return [
        examples.family(scene, picture, rng)
        for scene, picture in zip(scenes, render_many(scenes, range(30)), strict=True)
    ]


def test_a_family_is_a_scene_its_colours_swapped_and_both_flipped(families):
    for family in families:
        scenes = [scene for scene, _ in family]
        expected = [scenes[0], scenes[0].flipped()]
        if len(family) > 2:
            swapped = scenes[0].colours_swapped()
            expected += [swapped, swapped.flipped()]
        assert scenes == expected
    assert {len(family) for family in families} == {2, 4}


def test_a_flipped_scene_has_the_mirror_image_as_its_picture(families):
    for family in families:
        for (_, picture), (_, flipped) in zip(family[::2], family[1::2], strict=True):
            assert np.array_equal(flipped, picture[:, ::-1])


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_judge_reads_every_relatives_scene_from_its_picture(families, judge, mirrored):
    """It takes some mirrored tents, which no renderer drew, for other things; those are left out."""
    members = [member for family in families for member in family[mirrored::2]]
    members = [m for m in members if not mirrored or all(thing.kind != "tent" for thing in m[0].things)]
    scenes, pictures = zip(*members)
    wrong = [(a, b) for a, b in zip(judge.read(np.stack(pictures)), scenes, strict=True) if a != b]
    assert len(scenes) >= 30 and len(wrong) <= 0.02 * len(scenes), wrong  # its own error on whole scenes


def test_one_thing_alone_has_no_relatives():
    scene = next(scene for scene in training_scenes(50, 0) if len(scene.things) == 1)
    picture = np.zeros((128, 128, 3), np.uint8)
    assert examples.family(scene, picture, np.random.default_rng(0)) == [(scene, picture)]


def test_no_family_holds_a_pair_that_is_held_out(monkeypatch):
    monkeypatch.setattr(examples, "render", lambda scene, seed, size: np.zeros((1, 1, 3), np.uint8))
    rng, drawn, picture = np.random.default_rng(0), [], np.zeros((1, 1, 3), np.uint8)
    for scene in training_scenes(1000, 9):
        family = examples.family(scene, picture, rng)
        drawn += [(t.colour, t.kind) for relative, _ in family for t in relative.things]
    assert len(set(drawn)) == 64 - len(HELD_OUT) and not set(drawn) & set(HELD_OUT)


# ---- the data


def test_training_scenes_are_the_same_for_a_seed_and_others_for_another():
    assert training_scenes(50, 3) == training_scenes(50, 3) != training_scenes(50, 4)


def test_a_scene_does_not_depend_on_how_many_are_drawn():
    assert training_scenes(50, 3)[:7] == training_scenes(7, 3)


def test_training_scenes_are_complete_and_hold_every_pair_but_those_held_out():
    scenes = training_scenes(1500, 0)
    pairs = {(thing.colour, thing.kind) for scene in scenes for thing in scene.things}
    assert len(pairs) == 64 - len(HELD_OUT) and not pairs & set(HELD_OUT)
    assert all(scene == scene.complete(np.random.default_rng(0)) for scene in scenes)


def test_to_tensor_turns_bytes_into_numbers_from_minus_one_to_one():
    pictures = np.zeros((2, 3, 4, 3), np.uint8)
    pictures[1, 2, 3] = [255, 51, 0]
    x = to_tensor(pictures)
    assert x.shape == (2, 3, 3, 4) and x.dtype == torch.float32
    assert x[1, :, 2, 3].tolist() == [1.0, pytest.approx(-0.6), -1.0] and (x[0] == -1).all()


def test_to_tensor_takes_mirrored_pictures_and_mapped_ones_silently(finished):
    mapped = np.load(finished / "pictures.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(to_tensor(mapped[:2, :, ::-1]), to_tensor(mapped[:2]).flip(3))


@pytest.mark.parametrize("side", [1, 4, 6])
def test_shrunk_pictures_are_means_of_blocks(side):
    x, block = noise(2, 3, 12, 12), 12 // side
    means = x.view(2, 3, side, block, side, block).mean(dim=(3, 5))
    torch.testing.assert_close(shrunk(x, side), means)


def test_pictures_that_have_the_size_already_are_left_as_they_are():
    x = noise(2, 3, 12, 12)
    assert torch.equal(shrunk(x, 12), x)


@pytest.mark.parametrize("size", [16, 128])
def test_pictures_are_rendered_to_a_file_and_mapped_from_it(tmp_path, size):
    scenes = training_scenes(5, 0)
    path = tmp_path / "run" / "pictures.npy"
    render_pictures(scenes, 7, size, path)
    pictures = map_pictures(path, 5, size)
    assert isinstance(pictures, np.memmap) and not pictures.flags.writeable
    assert pictures.shape == (5, size, size, 3) and pictures.dtype == np.uint8
    assert np.array_equal(pictures, render_many(scenes, range(7, 12), size))


def test_an_interrupted_rendering_leaves_no_file(tmp_path, monkeypatch):
    scenes, path = training_scenes(5, 0), tmp_path / "pictures.npy"
    monkeypatch.setattr(data, "CHUNK", 2)
    with monkeypatch.context() as patch:
        kill_at(patch, data, "render_many", 3)
        with pytest.raises(Killed):
            render_pictures(scenes, 0, 128, path)
    assert list(tmp_path.iterdir()) == []
    render_pictures(scenes, 0, 128, path)
    assert np.array_equal(map_pictures(path, 5, 128), render_many(scenes, range(5)))


# ---- the latents and the model folder


def test_latents_are_those_of_the_trained_vae(latents, posterior):
    for stored, exact in ((latents.mean, posterior.mean), (latents.std, posterior.std)):
        assert stored.shape == (16, 4, 12, 12) and stored.dtype == np.float16
        np.testing.assert_allclose(stored, exact, rtol=2e-3, atol=1e-4)  # float16 keeps 11 bits


def test_the_scale_makes_sampled_latents_of_unit_deviation(latents, posterior):
    generator = torch.Generator().manual_seed(0)
    sampled = torch.cat([posterior.sample(generator) for _ in range(30)])
    assert (sampled * latents.scale).std().item() == pytest.approx(1, rel=5e-3)


def test_the_exported_vae_holds_the_scale(latents, finished):
    config = json.loads((finished / "model" / "vae" / "config.json").read_text())
    assert config["scaling_factor"] == latents.scale


@pytest.mark.parametrize(
    "folder, file, phase",
    [
        ("text_encoder", "model", "clip-twins"),
        ("clip", "model", "clip-twins"),
        ("unet", "diffusion_pytorch_model", "unet"),
        ("vae", "diffusion_pytorch_model", "decoder"),
    ],
)
def test_the_exported_weights_are_the_averages_in_half_precision(finished, folder, file, phase):
    average = checkpoint(finished / "checkpoints" / f"{phase}.pt")["average"]
    tensors = load_file(finished / "model" / folder / f"{file}.safetensors")
    assert tensors and all(torch.equal(x, average[f"module.{name}"].half()) for name, x in tensors.items())


@pytest.fixture(scope="module")
def exported(finished):
    return StableDiffusion.from_pretrained(finished / "model", device="cpu")


def test_the_exported_model_opens_and_paints(exported):
    picture = exported("a red house", num_inference_steps=2, output_type="np")
    assert picture.shape == (1, 48, 48, 3) and np.isfinite(picture).all()
    assert exported.guidance_scale == 3.0


def test_the_command_paints_at_the_size_that_was_trained(finished, tmp_path):
    words = ["paint", "a red house", "--model", str(finished / "model"), "--steps", "1", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "house.png")]) == 0
    with Image.open(tmp_path / "house.png") as picture:
        assert picture.size == (48, 48)


def test_diffusers_opens_the_exported_model_and_paints_the_same(finished, exported):
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(finished / "model")
    theirs.set_progress_bar_config(disable=True)
    options = {
        "num_inference_steps": 2,
        "latents": noise(1, 4, 12, 12),
        "output_type": "np",
        "guidance_scale": 4.0,
    }
    assert np.abs(exported("a red house", **options) - theirs("a red house", **options).images).max() <= 1e-4


# ---- the committed recipe


@pytest.fixture
def tiny():
    """The networks that tiny.toml describes, without memory for their weights."""
    recipe = read_recipe()
    text = replace(recipe.clip.text_config, vocab_size=recipe.tokenizer.size)
    with torch.device("meta"):
        return TextEncoder(text), AutoencoderKL(recipe.vae.config), UNet(recipe.unet.config)


def test_tinys_networks_fit_into_the_megabytes_it_may_have(tiny):
    assert sum(2 * x.numel() for net in tiny for x in net.state_dict().values()) < 12e6


def test_tinys_pictures_have_128_pixels():
    assert read_recipe().size == 128
