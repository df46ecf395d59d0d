"""Memory: networks that are on the device only while they work, and the peak of each stage."""

import copy
import json
import sys
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch

from minisd import StableDiffusion
from minisd.attention import attend
from minisd.checkpoint import read_json
from minisd.cli import main
from minisd.commands import memory
from minisd.controlnet import ControlNet
from small import small_pipeline

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import memory as computing

ARGUMENTS = {"num_inference_steps": 3, "output_type": "np"}
CPU = torch.device("cpu")


class Moves:
    """Where each network is, if one believes its `to`; the device is the CPU itself, so that all can compute.

    Like a true move, a move makes new tensors of the weights. `alone` is False once a network has worked
    where it was not, or beside another that was not wanted.
    """

    def __init__(self, pipe):
        pipe.offload = torch.device("cpu", 0)
        self.networks = {
            name: network
            for name in ("text_encoder", "unet", "controlnet", "vae")
            if (network := getattr(pipe, name)) is not None
        }
        self.there, self.log, self.alone = set(), [], True
        for name, network in self.networks.items():
            network.to = lambda place, name=name: self.move(name, torch.device(place))
        for name, part in (*self.networks.items(), ("vae", pipe.vae.decoder)):
            part.register_forward_pre_hook(lambda *_, name=name: self.work(name))

    def move(self, name, place):
        for weight in self.networks[name].parameters():
            weight.data = weight.data.clone()
        (self.there.add if place.index == 0 else self.there.discard)(name)
        self.log.append((name, place.index == 0))

    def work(self, name):
        wanted = {"unet", "controlnet"} if name in ("unet", "controlnet") else {name}
        self.alone &= self.there == wanted & set(self.networks)


def with_controlnet(pipe):
    own = pipe.unet.config
    torch.manual_seed(0)
    pipe.controlnet = ControlNet(
        {
            "block_out_channels": list(own.block_out_channels),
            "down_block_types": list(own.down_block_types),
            "layers_per_block": own.layers_per_block,
            "norm_num_groups": own.norm_num_groups,
            "cross_attention_dim": own.cross_attention_dim,
            "attention_head_dim": own.heads[0],
            "conditioning_embedding_out_channels": [8, 8, 8, 16],
        }
    ).eval()
    return pipe


def photo():
    return np.random.default_rng(0).random((1, 64, 64, 3), np.float32)


@pytest.mark.parametrize("more", [{}, {"image": photo()}, {"control_image": photo()}], ids=str)
def test_one_network_at_a_time_is_on_the_device_and_the_picture_is_the_same(more):
    plain = with_controlnet(small_pipeline()) if "control_image" in more else small_pipeline()
    pipe = copy.deepcopy(plain)
    moves = Moves(pipe)
    assert np.array_equal(pipe("a red house", **ARGUMENTS, **more), plain("a red house", **ARGUMENTS, **more))
    assert moves.alone and not moves.there
    assert moves.log.count(("unet", True)) == 1  # not once a step
    assert not any(w.is_inference() for n in moves.networks.values() for w in n.parameters())


def test_a_picture_on_the_way_puts_the_unet_aside_and_back():
    pipe, plain = small_pipeline(), small_pipeline()
    moves = Moves(pipe)
    paintings = [pipe.stream("a", num_inference_steps=3) for pipe in (pipe, plain)]
    for ours, theirs in zip(*paintings, strict=True):
        assert np.array_equal(pipe.decode(ours.latents), plain.decode(theirs.latents))
    assert moves.alone and not moves.there


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae.decoder"])
def test_an_error_leaves_no_network_on_the_device(part):
    pipe = small_pipeline()
    moves = Moves(pipe)

    def fail(*_):
        raise RuntimeError("out of memory")

    handle = attrgetter(part)(pipe).register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        pipe("a", **ARGUMENTS)
    assert moves.log and not moves.there
    handle.remove()
    assert np.array_equal(pipe("a", **ARGUMENTS), small_pipeline()("a", **ARGUMENTS))


def test_an_error_in_a_move_leaves_no_network_on_the_device():
    pipe = small_pipeline()
    moves = Moves(pipe)
    move = pipe.unet.to

    def half(place):
        move(place)
        if torch.device(place).index == 0:
            raise RuntimeError("out of memory")

    pipe.unet.to = half
    with pytest.raises(RuntimeError, match="out of memory"):
        pipe("a", **ARGUMENTS)
    assert not moves.there


def test_a_painting_that_is_given_up_leaves_no_network_on_the_device():
    pipe = small_pipeline()
    moves = Moves(pipe)
    steps = iter(pipe.stream("a", num_inference_steps=3))
    next(steps)
    assert moves.there == {"unet"}
    steps.close()
    assert not moves.there


def test_offloaded_networks_load_on_the_cpu_for_another_device(tmp_path):
    small_pipeline().save_pretrained(tmp_path / "model")
    pipe = StableDiffusion.from_pretrained(tmp_path / "model", device="meta", offload=True)
    assert pipe.device == torch.device("meta")
    assert {w.device for n in (pipe.text_encoder, pipe.unet, pipe.vae) for w in n.parameters()} == {CPU}
    with pytest.warns(UserWarning, match="offload changes nothing"):
        assert StableDiffusion.from_pretrained(tmp_path / "model", device="cpu", offload=True).device == CPU


# ---- the peak of each stage


def painted(folder, capsys, *more):
    small_pipeline().save_pretrained(folder / "model")
    words = ["paint", "a", "--model", folder / "model", "--steps", 1, "--out", folder / "a.png", *more]
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_memory_is_told_for_each_stage_when_asked(tmp_path, capsys):
    [line] = [x for x in painted(tmp_path, capsys, "--memory").splitlines() if x.startswith("memory")]
    assert all(stage in line for stage in ("reading", "painting", "decoding", "GB"))
    assert " GB" not in painted(tmp_path, capsys)
    facts = json.loads(painted(tmp_path, capsys, "--memory", "--json"))
    assert set(facts["memory"]["bytes"]) == {"reading", "painting", "decoding"}
    assert "memory" not in json.loads(painted(tmp_path, capsys, "--json"))


@pytest.mark.skipif(not memory.FORGET.exists(), reason="only Linux can forget a peak")
def test_a_peak_is_forgotten():
    size = 300_000_000
    before = memory.peak(CPU)
    torch.ones(size // 4)
    high = memory.peak(CPU)
    assert memory.forget_peak(CPU) == "resident, of this process"
    assert high >= size and memory.peak(CPU) < max(high, before + 1)


def test_a_peak_that_can_not_be_forgotten_is_told_as_such(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "FORGET", tmp_path)  # a folder: it takes no text
    assert "since its start" in memory.forget_peak(CPU)
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    assert memory.peak(CPU) > 1e6
    monkeypatch.setattr(memory.sys, "platform", "win32")
    with pytest.raises(ValueError, match="Windows"):
        memory.forget_peak(CPU)


# ---- the memory of a GPU, computed


def counted(device, work, networks=()):
    with torch.inference_mode(), computing.LiveMemory(torch.device(device), networks) as memory:
        work()
    return memory


def test_each_memory_counts_once_and_until_its_last_reference_is_gone():
    def work():
        a = torch.zeros(1000)  # 4,000 bytes
        b = a.view(10, 100).T[3:]  # a's
        c = a + 1  # 8,000
        del a, c  # b still holds the first
        d = torch.zeros(500)  # 6,000
        return b, d

    memory = counted("cpu", work)
    assert (memory.peak, memory.live) == (8000, 0)


def test_weights_are_not_counted():
    net = torch.nn.Linear(10, 10)
    assert counted("cpu", lambda: [net.weight.T.contiguous(), net.weight.mul_(2)], [net]).peak == 400


def test_attention_counts_as_fused():
    q = torch.empty(2, 4096, 320, dtype=torch.float16, device="meta")
    memory = counted("meta", lambda: attend(q, q, q, heads=8))
    assert memory.peak == 2 * q.nbytes  # what came in and what goes out: no matrix, no copy in another order


def test_a_convolution_takes_its_weights_in_the_order_of_the_picture():
    net = torch.nn.Conv2d(8, 8, 3, padding=1, device="meta")
    x = torch.empty(1, 8, 16, 16, device="meta")
    last = x.to(memory_format=torch.channels_last)
    kernel = net.weight.nbytes
    for picture, copies in ((x, 0), (last, kernel)):
        memory = counted("meta", lambda picture=picture: net(picture), [net])
        assert memory.peak == x.nbytes + copies
        assert memory.with_copies == memory.peak + 2 * x.nbytes + kernel


def test_the_count_is_the_profilers():
    for found in computing.checked().values():
        assert found["counted"] == pytest.approx(found["profiler"], rel=0.03)


def test_half_precision_fits_into_four_gigabytes():
    for setup in (computing.Setup(), computing.Setup(offload=True)):
        stages = computing.computed(setup, small=False, size=512)
        most = {name: stage["with_copies"] for name, stage in stages.items()}
        assert max(most.values()) < (2.2e9 if setup.offload else 4e9) and min(most.values()) > 2e8
    assert 2.1e9 < computing.computed(computing.Setup(), False, 64)["reading"]["weights"] < 2.2e9


def test_the_computation_runs_in_miniature_and_writes_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(computing, "HERE", tmp_path)
    monkeypatch.setattr(computing.torch.cuda, "is_available", lambda: False)
    computing.main(["--small"])
    assert "float16, offload, VAE in tiles" in capsys.readouterr().out and not list(tmp_path.iterdir())
    for offload in (False, True):
        setup = computing.Setup("float32", offload=offload)
        assert set(computing.measured(setup, True, 64, CPU)) == set(computing.STAGES)


def test_the_page_is_what_the_results_say():
    results = read_json(computing.HERE / "memory.json")
    assert computing.markdown(results) == (computing.HERE / "memory.md").read_text(encoding="utf-8")
