"""More like this: a picture's CLIP vector as vectors behind the words."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from minisd import StableDiffusion
from minisd.checkpoint import TEXT_WEIGHTS, save_model
from minisd.likeness import ImageTokens, load_clip, vectors_of
from minisd.scenes import render_many, sample
from minisd.scenes.judge import Judge
from minisd.training.data import to_tensor
from minisd.training.likeness import FULL, main, train_likeness

SHORT = replace(FULL, steps=3, batch_size=2, pictures=6, save_every=2)


def test_vectors_become_tokens():
    torch.manual_seed(0)
    net = ImageTokens({"image_width": 6, "context_width": 8, "tokens": 3})
    tokens = net(torch.randn(2, 6))
    assert tokens.shape == (2, 3, 8)
    assert torch.allclose(tokens.mean(-1), torch.zeros(2, 3), atol=1e-6)  # of the norm, untrained
    assert torch.equal(net(torch.zeros(2, 6))[0], net(torch.zeros(2, 6))[1])


@pytest.mark.parametrize("config", [{"tokens": 0}, {"tokens": 4.5}, {"image_width": "128"}, {"heads": 8}])
def test_configs_that_are_refused(config):
    with pytest.raises(ValueError, match="likeness"):
        ImageTokens(config)


def test_there_and_back(tmp_path):
    torch.manual_seed(0)
    net = ImageTokens({"image_width": 6, "context_width": 8, "tokens": 3})
    save_model(net, tmp_path, TEXT_WEIGHTS, "ImageTokens", torch.float32)
    back = ImageTokens.load(tmp_path)
    vectors = torch.randn(2, 6)
    assert back.config == net.config and torch.equal(back(vectors), net(vectors))


def test_clip_vectors_have_length_one_at_every_size():
    clip = load_clip()
    pictures = torch.rand(2, 3, 128, 128) * 2 - 1
    vectors = vectors_of(clip, pictures)
    assert vectors.shape == (2, 128) and torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)
    small = torch.nn.functional.avg_pool2d(pictures, 4)
    assert torch.allclose(vectors_of(clip, small), vectors, atol=1e-4)


@torch.no_grad()
def test_the_shipped_layer_paints_more_of_the_same():
    """The kinds of the things, from vectors alone, against those of another picture."""
    pipe, net = StableDiffusion.from_pretrained("tiny", "cpu"), ImageTokens.load()
    scenes = [sample(np.random.default_rng((31, i)), "train", full=True) for i in range(12)]
    vectors = vectors_of(load_clip(), to_tensor(render_many(scenes, range(70, 82))))
    tokens = net(torch.cat([torch.zeros_like(vectors), vectors]))
    context = torch.cat([pipe.encode_prompt([""] * 24), tokens], dim=1)
    start = torch.randn(12, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    *_, last = pipe.way(8).walk(pipe.noise_predictor(context, 3.0), start)
    kinds = [sorted(t.kind for t in scene.things) for scene in Judge.load().read(pipe.decode(last.latents))]
    wanted = [sorted(t.kind for t in scene.things) for scene in scenes]
    own = sum(a == b for a, b in zip(kinds, wanted))
    others = sum(a == b for a, b in zip(kinds, wanted[1:] + wanted[:1]))
    assert own >= 4 and own >= others + 3


def test_training_goes_on_from_a_stop(tmp_path, monkeypatch):
    pipe, clip = StableDiffusion.from_pretrained("tiny", "cpu"), load_clip()
    whole = train_likeness(pipe, clip, tmp_path / "whole", SHORT)
    step = torch.optim.AdamW.step

    def stopped(self, *args):
        stopped.left -= 1
        if stopped.left < 0:
            raise KeyboardInterrupt
        return step(self, *args)

    stopped.left = 2
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.optim.AdamW, "step", stopped)
        train_likeness(pipe, clip, tmp_path / "cut", SHORT)
    again = train_likeness(pipe, clip, tmp_path / "cut", SHORT)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    loaded = ImageTokens.load(tmp_path / "cut" / "likeness")
    assert loaded.config == whole.config


def test_other_settings_are_refused(tmp_path):
    pipe, clip = StableDiffusion.from_pretrained("tiny", "cpu"), load_clip()
    train_likeness(pipe, clip, tmp_path, replace(SHORT, steps=1))
    with pytest.raises(ValueError, match="seed"):
        train_likeness(pipe, clip, tmp_path, replace(SHORT, steps=1, seed=1))


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "file")])
    assert capsys.readouterr().err.strip().count("\n") == 0
