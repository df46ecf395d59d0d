"""The four stages, each from a section of the config; every stage goes on from what is in `out`."""

import tomllib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..checkpoint import read_json, save_model, write_json
from ..clip import CLIP, TextEncoder
from ..scenes import Scene, caption, loosened
from ..schedule import NoiseSchedule
from ..tokenizer import BPE
from ..unet import UNet
from ..vae import AutoencoderKL
from .data import to_tensor, training_pictures, training_scenes
from .loop import fit
from .objectives import CLIPObjective, UNetObjective, VAEObjective

TINY = Path(__file__).with_name("tiny.toml")
ENCODE_BATCH = 50  # pictures that the VAE encodes at a time


def read_recipe(path: Path = TINY) -> dict:
    """The sections of a training config such as tiny.toml."""
    with open(path, "rb") as file:
        return tomllib.load(file)


class Training:
    """One training run: a recipe and the folder that its pictures, checkpoints and results go to."""

    def __init__(self, recipe: dict, out: Path, cpu: bool = False):
        self.recipe, self.out, self.cpu = recipe, Path(out), cpu
        self.scenes = training_scenes(recipe["pictures"], recipe["seed"])

    def pictures(self) -> np.ndarray:
        return training_pictures(self.scenes, self.recipe["seed"], self.out / "pictures.npy")

    def tokenizer(self) -> BPE:
        """Byte-pair encoding learned from captions."""
        folder = self.out / "tokenizer"
        if not (folder / "merges.txt").exists():
            wanted = self.recipe["tokenizer"]
            rng = np.random.default_rng(self.recipe["seed"])
            scenes = (self.scenes[i % len(self.scenes)] for i in range(wanted["captions"]))
            BPE.train((caption(loosened(s, rng), rng) for s in scenes), wanted["size"]).save(folder)
        return BPE.from_files(folder)

    def _fit(self, name: str, objective, batch) -> dict:
        wanted = self.recipe[name]
        keys = ("steps", "batch_size", "learning_rate_peak", "warmup", "ema_decay", "save_every")
        return fit(objective, batch, self.out / "checkpoints", name=name, seed=self.recipe["seed"], cpu=self.cpu,
                   **{key: wanted[key] for key in keys if key in wanted})  # fmt: skip

    def _finish(self, name: str, done: dict) -> None:
        """Keep a finished stage's loss curve and seconds for the model card."""
        write_json({"seconds": done["seconds"], "losses": done["losses"]}, self.out / f"{name}.json")

    def clip(self) -> CLIP:
        """Both towers, on captions with two hard negatives a picture."""
        tokenizer, pictures, wanted = self.tokenizer(), self.pictures(), self.recipe["clip"]
        text = {**wanted["text_config"], "vocab_size": len(tokenizer)}
        config = {"text_config": text, "vision_config": wanted["vision_config"],
                  "projection_dim": text["projection_dim"]}  # fmt: skip

        def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
            chosen = rng.choice(len(self.scenes), n, replace=False)
            shown = [self.scenes[i] for i in chosen]
            said = [loosened(scene, rng) for scene in shown]
            said += [twin for s in said for twin in [hard_negative(s, rng)]] + [s.altered(rng) for s in said]
            ids = tokenizer([caption(s, rng) for s in said])
            ids = ids[:, : int(ids.argmax(dim=1).max()) + 1]  # what follows the last end token changes nothing
            also = torch.tensor([[s.admits(picture) for s in said] for picture in shown])
            also[torch.arange(n), torch.arange(n)] = False
            return ids, to_tensor(pictures[np.sort(chosen)][np.argsort(np.argsort(chosen))]), also

        net = CLIP(config)
        init_clip(net)
        done = self._fit("clip", CLIPObjective(net), batch)
        self._finish("clip", done)
        return net.eval()

    def vae(self) -> AutoencoderKL:
        """Pictures to latents and back: corners of pictures first, whole ones at the end."""
        pictures, wanted = self.pictures(), self.recipe["vae"]
        net = AutoencoderKL(wanted["config"])
        down, channels = net.downsampling, wanted["config"]["latent_channels"]
        crop = wanted["crop"]

        def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
            top, left = rng.integers(0, 128 - crop + 1, (2, n))
            corners = [pictures[i, y : y + crop, x : x + crop]
                       for i, y, x in zip(rng.integers(len(pictures), size=n), top, left)]  # fmt: skip
            noise = rng.standard_normal((n, channels, crop // down, crop // down), dtype=np.float32)
            return to_tensor(np.stack(corners)), torch.from_numpy(noise)

        done = self._fit("vae", VAEObjective(net, wanted["kl_weight"], wanted["edge_weight"]), batch)
        self._finish("vae", done)
        return net.eval()


def hard_negative(scene: Scene, rng: np.random.Generator) -> Scene:
    """Nearly the same words, another picture: places flipped, colours exchanged, or one thing changed."""
    twins = []
    if len(scene.things) == 2:
        if scene.ordered:
            twins.append(scene.flipped())
        if scene.things[0].colour != scene.things[1].colour:
            twins.append(scene.colours_swapped())
    return twins[rng.integers(len(twins))] if twins else scene.altered(rng)


def init_clip(net: CLIP) -> None:
    """Small normal embeddings, as CLIP's own initialisation (section 2.4's code: std 0.02 and 0.01)."""
    torch.nn.init.normal_(net.text_model.embeddings.token_embedding.weight, std=0.02)
    torch.nn.init.normal_(net.text_model.embeddings.position_embedding.weight, std=0.01)
    torch.nn.init.normal_(net.vision_model.embeddings.class_embedding, std=0.02)
    torch.nn.init.normal_(net.vision_model.embeddings.position_embedding.weight, std=0.01)
