"""The four stages, each from a section of the config; every stage goes on from what is in `out`."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..checkpoint import write_json
from ..clip import CLIP, TextEncoder
from ..pipeline import StableDiffusion, schedule_of
from ..scenes import HELD_OUT, Scene, caption, loosened, render
from ..scenes.judge import QUESTIONS, labels
from ..tokenizer import BPE
from ..unet import UNet
from ..vae import AutoencoderKL
from .data import to_tensor, training_pictures, training_scenes
from .loop import fit
from .objectives import CLIPObjective, DecoderObjective, ReadingObjective, UNetObjective, VAEObjective

TINY = Path(__file__).with_name("tiny.toml")
ENCODE_BATCH = 8  # pictures that the VAE encodes at a time


def read_recipe(path: Path = TINY) -> dict:
    """The sections of a training config such as tiny.toml."""
    with open(path, "rb") as file:
        return tomllib.load(file)


# Stable Diffusion's own schedule (its scheduler_config.json), with the sampler that tiny is judged by.
SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "trained_betas": None,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
}


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

    def _new(self, build: type, config: dict):
        """A network with its first random weights, the same in every run of the recipe."""
        torch.manual_seed(self.recipe["seed"])
        return build(config)

    def _fit(self, name: str, objective: nn.Module, batch: Callable, wanted: dict) -> dict:
        keys = ("steps", "batch_size", "learning_rate_peak", "warmup", "ema_decay", "save_every")
        return fit(objective, batch, self.out / "checkpoints", name=name, seed=self.recipe["seed"], cpu=self.cpu,
                   **{key: wanted[key] for key in keys if key in wanted})  # fmt: skip

    def _finish(self, name: str, *phases: dict) -> None:
        """Keep a finished stage's loss curve and seconds for the model card."""
        write_json({"seconds": sum(phase["seconds"] for phase in phases),
                    "losses": [phase["losses"] for phase in phases]}, self.out / f"{name}.json")  # fmt: skip

    def clip(self) -> CLIP:
        """Both towers, on batches of families that differ in order and colours alone, and altered captions."""
        tokenizer, pictures, wanted = self.tokenizer(), self.pictures(), self.recipe["clip"]
        text = {**wanted["text_config"], "vocab_size": len(tokenizer)}
        config = {"text_config": text, "vision_config": wanted["vision_config"],
                  "projection_dim": text["projection_dim"]}  # fmt: skip

        def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
            shown: list[tuple[Scene, np.ndarray]] = []
            while len(shown) < n:
                i = rng.integers(len(self.scenes))
                shown += twins(self.scenes[i], pictures[i], rng)
            shown = shown[:n]
            said = [loosened(scene, rng) for scene, _ in shown]
            said += [scene.altered(rng) for scene in said]
            ids = tokenizer([caption(scene, rng) for scene in said])
            ids = ids[:, : int(ids.argmax(dim=1).max()) + 1]  # what follows the last end token changes nothing
            also_true = torch.tensor([[text.admits(scene) for text in said] for scene, _ in shown])
            also_true.fill_diagonal_(False)
            images = to_tensor(np.stack([picture for _, picture in shown]))
            seen, stated = ([labels(scene) for scene in scenes] for scenes in ([s for s, _ in shown], said))
            return ids, images, also_true, torch.tensor(seen), torch.tensor(stated)

        net = self._new(CLIP, config)
        init_clip(net)
        questions = [len(answers) for answers in QUESTIONS.values()]
        torch.manual_seed(self.recipe["seed"])  # the answer layers' first weights
        phases = [self._fit("clip", CLIPObjective(net), batch, wanted),
                  self._fit("clip-reading", ReadingObjective(net, questions), batch, wanted["reading"])]  # fmt: skip
        self._finish("clip", *phases)
        return net.eval()

    def vae(self) -> AutoencoderKL:
        """Pictures to latents and back: corners of pictures first, then whole ones."""
        pictures, wanted = self.pictures(), self.recipe["vae"]
        net = self._new(AutoencoderKL, wanted["config"])
        channels, phases = wanted["config"]["latent_channels"], []
        for name in ("corners", "whole"):
            crop = wanted[name]["crop"]
            small = crop // net.downsampling

            def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
                top, left = rng.integers(0, pictures.shape[1] - crop + 1, (2, n))
                corners = [pictures[i, y : y + crop, x : x + crop]
                           for i, y, x in zip(rng.integers(len(pictures), size=n), top, left)]  # fmt: skip
                noise = rng.standard_normal((n, channels, small, small), dtype=np.float32)
                return to_tensor(np.stack(corners)), torch.from_numpy(noise)

            objective = VAEObjective(net, wanted["kl_weight"], wanted[name]["edge_weight"])
            phases.append(self._fit(f"vae-{name}", objective, batch, wanted[name]))
        self._finish("vae", *phases)
        return net.eval()

    def latents(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Mean and deviation of every picture's latents, float16 (pictures, 4, 16, 16), and their scale.

        The scale is 1 / the standard deviation of the sampled latents (Rombach et al. 2022, app. G):
        Stable Diffusion's 0.18215 was measured so.
        """
        path = self.out / "latents.npz"
        if not path.exists():
            net, pictures, moments = self.vae(), self.pictures(), []
            net.to(memory_format=torch.channels_last)
            with torch.inference_mode():
                for i in tqdm(range(0, len(pictures), ENCODE_BATCH), desc="latents", unit="batch"):
                    posterior = net.encode(to_tensor(pictures[i : i + ENCODE_BATCH]))
                    moments.append(torch.stack([posterior.mean, posterior.std]).half())
            mean, std = torch.cat(moments, dim=1).numpy()
            spread = np.sqrt(mean.astype(np.float64).var() + np.square(std.astype(np.float64)).mean())
            part = path.with_suffix(".part.npz")
            np.savez(part, mean=mean, std=std, scale=1 / spread)
            os.replace(part, path)
        with np.load(path) as file:
            return file["mean"], file["std"], float(file["scale"])

    def decoder(self) -> AutoencoderKL:
        """The decoder trained on with the latents as they are: whole pictures, for its attention's sake.

        The encoder is frozen, so this may run before, after or beside the U-Net's training.
        """
        wanted, pictures = self.recipe["decoder"], self.pictures()
        mean, std, scale = self.latents()
        net = self.vae().requires_grad_(False)
        net.decoder.requires_grad_(True)
        net.post_quant_conv.requires_grad_(True)
        net.config["scaling_factor"] = net.scaling_factor = scale

        def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
            chosen = rng.integers(len(pictures), size=n)
            z = mean[chosen] + std[chosen] * rng.standard_normal((n, *mean.shape[1:]), dtype=np.float32)
            return to_tensor(pictures[chosen]), torch.from_numpy(z)

        done = self._fit("decoder", DecoderObjective(net, wanted["edge_weight"]), batch, wanted)
        self._finish("decoder", done)
        return net.eval()

    def unet(self) -> UNet:
        """The noise predictor, on latents computed once and captions drawn anew."""
        wanted, tokenizer, clip = self.recipe["unet"], self.tokenizer(), self.clip()
        mean, std, scale = self.latents()
        text_encoder = text_encoder_of(clip)

        def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
            chosen = rng.integers(len(self.scenes), size=n)
            said = [caption(loosened(self.scenes[i], rng), rng) for i in chosen]
            dropped = rng.random(n) < wanted["caption_dropout"]
            ids = tokenizer(["" if drop else text for drop, text in zip(dropped, said)])
            draw, noise = (torch.from_numpy(rng.standard_normal((n, *mean.shape[1:]), dtype=np.float32)) for _ in "12")
            t = torch.from_numpy(rng.integers(SCHEDULE["num_train_timesteps"], size=n))
            return ids, torch.from_numpy(mean[chosen]).float(), torch.from_numpy(std[chosen]).float(), draw, noise, t

        net = self._new(UNet, wanted["config"])
        objective = UNetObjective(net, text_encoder, schedule_of(SCHEDULE), scale, wanted["snr_gamma"])
        done = self._fit("unet", objective, batch, wanted)
        self._finish("unet", done)
        return net.eval()

    def export(self) -> StableDiffusion:
        """All parts as a model folder `out / model` in half precision, CLIP's image tower beside them."""
        clip = self.clip()
        model = StableDiffusion(self.tokenizer(), text_encoder_of(clip), self.unet(), self.decoder(), SCHEDULE,
                                self.recipe["guidance_scale"])  # fmt: skip
        model.save_pretrained(self.out / "model", torch.float16)
        return model


def text_encoder_of(clip: CLIP) -> TextEncoder:
    """The text half of CLIP as Stable Diffusion uses it."""
    text_encoder = TextEncoder(clip.config["text_config"])
    text_encoder.text_model.load_state_dict(clip.text_model.state_dict())
    return text_encoder.eval()


def twins(scene: Scene, picture: np.ndarray, rng: np.random.Generator) -> list[tuple[Scene, np.ndarray]]:
    """A scene and its nearest relatives, with their pictures: the hard negatives of one batch.

    Two things come with their mirror image and with their colours swapped, so that the same words in
    another order belong to another picture of the batch; a bag of words can't tell the four apart.
    No colour-kind pair that is held out is ever drawn.
    """
    if len(scene.things) == 1:
        return [(scene, picture)]
    family = [(scene, picture)]
    swapped = scene.colours_swapped()
    if swapped != scene and not any((t.colour, t.kind) in HELD_OUT for t in swapped.things):
        family.append((swapped, render(swapped, int(rng.integers(2**31)))))
    return [relative for s, p in family for relative in ((s, p), (s.flipped(), p[:, ::-1]))]


def init_clip(net: CLIP) -> None:
    """Normal embeddings, places as large as what stands there: left and right are all in the places.

    OpenAI's CLIP starts tokens at 0.02, their places at 0.01, pictures' places at width^-1/2.
    """
    text, image = net.text_model.embeddings, net.vision_model.embeddings
    scale = image.class_embedding.numel() ** -0.5
    torch.nn.init.normal_(text.token_embedding.weight, std=0.02)
    torch.nn.init.normal_(text.position_embedding.weight, std=0.02)
    torch.nn.init.normal_(image.class_embedding, std=scale)
    torch.nn.init.normal_(image.position_embedding.weight, std=scale)
