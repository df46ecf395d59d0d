"""The stages, each from a section of the config; every stage goes on from what is in `out`."""

import math
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn
from tqdm import tqdm

from ..checkpoint import TEXT_WEIGHTS, read_json, save_model, write_json
from ..clip import CLIP, TextEncoder
from ..files import whole
from ..pipeline import StableDiffusion, schedule_of
from ..scenes import COLOURS, GROUNDS, HELD_OUT, HOURS, KINDS, SIZES, Scene, caption, loosened, render
from ..tokenizer import BPE
from ..unet import UNet
from ..vae import AutoencoderKL
from .data import to_tensor, training_pictures, training_scenes
from .loop import fit
from .objectives import (
    CLIPObjective,
    DecoderObjective,
    PaintingLoss,
    ReadingObjective,
    UNetObjective,
    VAEObjective,
)

TINY = Path(__file__).with_name("tiny.toml")
TOKEN_STD = 0.02  # of token and position embeddings before training; OpenAI's CLIP has 0.02 and 0.01
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


# What the text encoder is asked about a caption. The first thing stands left where the order is told.
THING = {"kind": KINDS, "colour": COLOURS, "size": SIZES}
QUESTIONS = {
    "things": (1, 2),
    "order": (True, False),
    "ground": (*GROUNDS, None),
    "hour": (*HOURS, None),
    **{
        f"{place} {name}": (*choices, None)
        for place in ("first", "second")
        for name, choices in THING.items()
    },
}


class Training:
    """One training run: a recipe and the folder that its pictures, checkpoints and results go to.

    Several processes may run it together (`accelerate launch`): what is no training loop is done by the
    first of them, and the others read what it wrote.
    """

    def __init__(self, recipe: dict, out: Path, cpu: bool = False):
        self.recipe, self.out, self.cpu = recipe, Path(out), cpu
        self.processes = PartialState(cpu=cpu)
        self.scenes = training_scenes(recipe["pictures"], recipe["seed"])

    def pictures(self) -> np.ndarray:
        """The training scenes' pictures, uint8 (pictures, 128, 128, 3)."""
        with self.processes.main_process_first():
            return training_pictures(self.scenes, self.recipe["seed"], self.out / "pictures.npy")

    def tokenizer(self) -> BPE:
        """Byte-pair encoding learned from captions."""
        folder, wanted = self.out / "tokenizer", self.recipe["tokenizer"]
        with self.processes.main_process_first():
            if not (folder / "special_tokens_map.json").exists():  # the last of its files
                rng = np.random.default_rng(self.recipe["seed"])
                scenes = (self.scenes[i % len(self.scenes)] for i in range(wanted["captions"]))
                BPE.train((caption(loosened(s, rng), rng) for s in scenes), wanted["size"]).save(folder)
            return BPE.from_files(folder)

    def _new(self, build: type, config: dict):
        """A network with its first random weights, the same in every run of the recipe."""
        torch.manual_seed(self.recipe["seed"])
        return build(config)

    def _fit(self, name: str, objective: nn.Module, batch: Callable) -> None:
        """Train by the recipe's section `name` ("vae-whole" is whole within vae), keep curve and seconds."""
        section, settings = self.recipe, {"seed": self.recipe["seed"], "pictures": self.recipe["pictures"]}
        for part in name.split("-"):
            section = section[part]
            settings |= {
                key: value
                for key, value in section.items()
                if key != "save_every" and not (isinstance(value, dict) and "steps" in value)
            }
        keys = ("steps", "batch_size", "learning_rate_peak", "warmup", "ema_decay", "save_every")
        done = fit(
            objective,
            batch,
            self.out / "checkpoints",
            name=name,
            settings=settings,
            seed=settings["seed"],
            cpu=self.cpu,
            **{key: section[key] for key in keys if key in section},
        )
        if self.processes.is_main_process:
            write_json(done, self.out / f"{name}.json")

    def text_encoder(self) -> TextEncoder:
        """The text encoder, taught to read: to answer questions about what captions say."""
        tokenizer = self.tokenizer()
        ids = {"bos_token_id": tokenizer.bos, "eos_token_id": tokenizer.eos, "pad_token_id": tokenizer.eos}
        net = self._new(
            TextEncoder,
            {
                **self.recipe["text"]["config"],
                **ids,
                "vocab_size": len(tokenizer),
                "model_type": "clip_text_model",
                "torch_dtype": "float32",
            },
        )
        torch.nn.init.normal_(net.text_model.embeddings.token_embedding.weight, std=TOKEN_STD)
        torch.nn.init.normal_(net.text_model.embeddings.position_embedding.weight, std=TOKEN_STD)

        def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
            said = [loosened(self.scenes[i], rng) for i in rng.integers(len(self.scenes), size=n)]
            return short_ids(tokenizer, said, rng), torch.tensor([answers(scene) for scene in said])

        self._fit("text", ReadingObjective(net, [len(choices) for choices in QUESTIONS.values()]), batch)
        return net.eval()

    def clip(self) -> CLIP:
        """The image encoder and both projections, the text encoder as it is: LiT (Zhai et al. 2022) reversed."""
        pictures, wanted = self.pictures(), self.recipe["clip"]
        tokenizer, text_encoder = self.tokenizer(), self.text_encoder()
        net = self._new(
            CLIP,
            {
                "text_config": text_encoder.config,
                "vision_config": wanted["vision_config"],
                "projection_dim": wanted["vision_config"]["projection_dim"],
            },
        )
        net.text_model.load_state_dict(text_encoder.text_model.state_dict())
        net.text_model.requires_grad_(False)
        places = net.vision_model.embeddings.position_embedding.weight
        torch.nn.init.normal_(
            places, std=places.shape[1] ** -0.5
        )  # as OpenAI's: places must show beside colours

        def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
            shown: list[tuple[Scene, np.ndarray]] = []
            while len(shown) < n:
                i = rng.integers(len(self.scenes))
                shown += twins(self.scenes[i], pictures[i], rng)
            shown = shown[:n]
            said = [loosened(scene, rng) for scene, _ in shown]
            said += [scene.altered(rng) for scene in said]
            also_true = torch.tensor([[text.admits(scene) for text in said] for scene, _ in shown])
            also_true.fill_diagonal_(False)
            images = to_tensor(np.stack([picture for _, picture in shown]))
            return short_ids(tokenizer, said, rng), images, also_true

        self._fit("clip", CLIPObjective(net), batch)
        return net.eval()

    def vae(self) -> AutoencoderKL:
        """Pictures to latents and back: corners of pictures first, then whole ones."""
        pictures, wanted = self.pictures(), self.recipe["vae"]
        net = self._new(AutoencoderKL, wanted["config"])
        channels = wanted["config"]["latent_channels"]
        for name in ("corners", "whole"):
            crop = wanted[name]["crop"]
            small = crop // net.downsampling

            def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
                top, left = rng.integers(0, pictures.shape[1] - crop + 1, (2, n))
                corners = [
                    pictures[i, y : y + crop, x : x + crop]
                    for i, y, x in zip(rng.integers(len(pictures), size=n), top, left)
                ]
                noise = rng.standard_normal((n, channels, small, small), dtype=np.float32)
                return to_tensor(np.stack(corners)), torch.from_numpy(noise)

            objective = VAEObjective(net, painting_loss(wanted[name]), wanted["kl_weight"])
            self._fit(f"vae-{name}", objective, batch)
        return net.eval()

    def latents(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Mean and deviation of every picture's latents, float16 (pictures, 4, 16, 16), and their scale.

        The scale is 1 / the standard deviation of the sampled latents (Rombach et al. 2022, app. G):
        Stable Diffusion's 0.18215 was measured so, on one batch.
        """
        path, net, pictures = self.out / "latents.npz", self.vae(), self.pictures()
        mark = sum(float(p.detach().double().abs().sum()) for p in net.encoder.parameters())
        with self.processes.main_process_first():
            if not path.exists():
                mean, std = encode_all(net.to(memory_format=torch.channels_last), pictures)
                spread = np.sqrt(mean.astype(np.float64).var() + np.square(std.astype(np.float64)).mean())
                with whole(path) as part, open(part, "wb") as file:
                    np.savez(file, mean=mean, std=std, scale=1 / spread, encoder=mark)
            with np.load(path) as file:
                if not math.isclose(file["encoder"], mark, rel_tol=1e-9):
                    raise ValueError(f"{path} was made by another encoder; delete it to make it again")
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

        self._fit("decoder", DecoderObjective(net, painting_loss(wanted)), batch)
        return net.eval()

    def unet(self) -> UNet:
        """The noise predictor, on latents computed once and captions drawn anew."""
        wanted, tokenizer, text_encoder = self.recipe["unet"], self.tokenizer(), self.text_encoder()
        mean, std, scale = self.latents()

        def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
            chosen = rng.integers(len(self.scenes), size=n)
            said = [caption(loosened(self.scenes[i], rng), rng) for i in chosen]
            dropped = rng.random(n) < wanted["caption_dropout"]
            ids = tokenizer(["" if drop else text for drop, text in zip(dropped, said)])
            draw, noise = (
                torch.from_numpy(rng.standard_normal((n, *mean.shape[1:]), dtype=np.float32)) for _ in "12"
            )
            t = torch.from_numpy(rng.integers(SCHEDULE["num_train_timesteps"], size=n))
            return (
                ids,
                torch.from_numpy(mean[chosen]).float(),
                torch.from_numpy(std[chosen]).float(),
                draw,
                noise,
                t,
            )

        net = self._new(UNet, wanted["config"])
        objective = UNetObjective(net, text_encoder, schedule_of(SCHEDULE), scale, wanted["snr_gamma"])
        self._fit("unet", objective, batch)
        return net.eval()

    def export(self) -> Path:
        """All parts as the model folder `out / model`, in half precision; CLIP beside them, without its text
        half.
        """
        tokenizer, clip, folder = self.tokenizer(), self.clip(), self.out / "model"
        model = StableDiffusion(
            tokenizer,
            self.text_encoder(),
            self.unet(),
            self.decoder(),
            SCHEDULE,
            self.recipe["guidance_scale"],
        )
        if self.processes.is_main_process:
            model.save_pretrained(folder, torch.float16)
            save_model(clip, folder / "clip", TEXT_WEIGHTS, "CLIPModel", torch.float16, without="text_model.")
            index = read_json(folder / "model_index.json")
            write_json({**index, "_world": "minisd.scenes"}, folder / "model_index.json")
        self.processes.wait_for_everyone()
        return folder


def painting_loss(wanted: dict) -> PaintingLoss:
    """The loss of a section of the recipe that trains the VAE."""
    return PaintingLoss(wanted["squared_weight"], wanted["edge_weight"])


def encode_all(net: AutoencoderKL, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every picture's latents, float16."""
    moments = []
    with torch.inference_mode():
        for i in tqdm(range(0, len(pictures), ENCODE_BATCH), desc="latents", unit="batch"):
            posterior = net.encode(to_tensor(pictures[i : i + ENCODE_BATCH]))
            moments.append(torch.stack([posterior.mean, posterior.std]).half())
    mean, std = torch.cat(moments, dim=1).numpy()
    return mean, std


def short_ids(tokenizer: BPE, said: list[Scene], rng: np.random.Generator) -> Tensor:
    """Captions of scenes as ids, cut after the longest: what follows the last end token changes nothing."""
    ids = tokenizer([caption(scene, rng) for scene in said])
    return ids[:, : int(ids.argmax(dim=1).max()) + 1]


def answers(scene: Scene) -> list[int]:
    """What a caption says of a scene, a number for each of QUESTIONS; open is an answer too."""
    said = {"things": len(scene.things), "order": scene.ordered, "ground": scene.ground, "hour": scene.hour}
    for place, thing in zip(("first", "second"), scene.things):
        said |= {f"{place} kind": thing.kind, f"{place} colour": thing.colour, f"{place} size": thing.size}
    return [choices.index(said.get(question)) for question, choices in QUESTIONS.items()]


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
