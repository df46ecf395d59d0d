"""The stages of a training: each is trained by `Training.train` and opened by a method of its own.

Training goes on from what is in the run's folder, opening never trains:

    out/pictures.npy, tokenizer/, latents.npz     made once; what they were made with stands in records/
    out/records/seconds.json                      how long each stage took, in all runs that finished it
    out/checkpoints/NAME.pt                       of the networks, see loop.py and store.py
    out/checkpoints/NAME.STEP.safetensors         their weights on the way, where the recipe has snapshots
    out/NAME.json                                 a finished network's loss curve and seconds
    out/model                                     the model folder, after the stage "export"
"""

import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from torch import nn
from tqdm.auto import tqdm

from ..checkpoint import TEXT_WEIGHTS, read_json, save_model, write_json
from ..clip import CLIP, TextEncoder
from ..config import DEVICES, CLIPConfig
from ..files import locked, whole
from ..models import pick_device
from ..pipeline import StableDiffusion
from ..scenes import Scene, caption, loosened
from ..schedule import NoiseSchedule
from ..sd15 import SD15
from ..tensors import checksum
from ..tokenizer import BPE
from ..unet import UNet
from ..vae import AutoencoderKL
from . import examples, objectives
from .data import map_pictures, render_pictures, to_tensor, training_scenes
from .examples import Latents
from .loop import PRECISIONS, Batch, fit, use_average, use_raw
from .recipe import STAGES, TINY_RECIPE, PaintingPhase, Phase, Recipe
from .store import (
    add_seconds,
    check_files,
    check_settings,
    is_recorded,
    read_checkpoint,
    read_snapshot,
    remove_leftovers,
    write_record,
)

TOKEN_STD = 0.02  # of token and position embeddings before training; OpenAI's CLIP has 0.02 and 0.01
ENCODE_BATCH = 8  # pictures that the VAE encodes at a time
# Stable Diffusion's own schedule, written for the sampler that tiny is judged by.
SCHEDULE: dict[str, Any] = {
    **{key: value for key, value in SD15["scheduler"].items() if key != "skip_prk_steps"},
    "_class_name": "DDIMScheduler",
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}
NEEDS = {  # the stages that have to be finished before one begins
    "pictures": [],
    "tokenizer": [],
    "clip": ["pictures", "tokenizer"],
    "vae": ["pictures"],
    "latents": ["pictures", "vae"],
    "decoder": ["pictures", "latents"],
    "unet": ["tokenizer", "clip", "latents"],
    "export": ["tokenizer", "clip", "decoder", "unet"],
}
UNET_SECTIONS = ("tokenizer", "clip", "vae", "unet")  # of the recipe: what the noise predictor depends on

Net = TypeVar("Net", bound=nn.Module)


class Training:
    """One training run: a recipe and the folder that its pictures, checkpoints and results go to.

    device: "cpu", "cuda" or "mps"; without it accelerate takes the GPU that is there
    dtype: "float32", or what accelerate's mixed precision computes in: "bfloat16", "float16"

    Several processes may run it together (`accelerate launch`): what is no training loop is done by the
    first of them, and the others read what it wrote.
    """

    def __init__(
        self, recipe: Recipe, out: str | Path, device: str | None = None, dtype: str = "float32"
    ) -> None:
        check_device(device, dtype)
        self.recipe, self.out, self.dtype = recipe, Path(out), dtype
        # Told that there is no GPU, accelerate lets several processes work together on the CPU.
        self.on_cpu = device == "cpu" or (device is None and not has_gpu())
        if self.out.exists() and not self.out.is_dir():
            raise NotADirectoryError(f"{self.out} is a file; name a folder for the training to go to")
        self.processes = PartialState(cpu=self.on_cpu)
        self._stages: dict[str, tuple[Callable[[], None], Callable[[], Any]]] = {
            "pictures": (self._make_pictures, self.open_pictures),
            "tokenizer": (self._make_tokenizer, self.open_tokenizer),
            "clip": (self._train_clip, self.open_clip),
            "vae": (self._train_vae, self.open_vae),
            "latents": (self._make_latents, self.open_latents),
            "decoder": (self._train_decoder, self.open_decoder),
            "unet": (self._train_unet, self.open_unet),
            "export": (self._export, lambda: None),
        }

    def train(self, *names: str, report: Callable[[str, float], None] | None = None) -> None:
        """Train stages one after another; a finished one returns at once, a killed one goes on.

        `report(name, seconds)` is called after each. Raises ValueError at the start if these stages need
        others that are not finished, BlockingIOError while another process trains in the same folder.
        """
        if unknown := [name for name in names if name not in NEEDS]:
            raise ValueError(f"there is no stage {unknown[0]!r}; choose from {', '.join(NEEDS)}")
        self.out.mkdir(parents=True, exist_ok=True)
        first = self.processes.is_main_process
        with locked(self.out, wait=False) if first else nullcontext():
            if first:
                remove_leftovers(self.out)
            for i, name in enumerate(names):
                for need in NEEDS[name]:
                    if need not in names[:i]:
                        self._stages[need][1]()
            for name in names:
                start = time.perf_counter()
                with memory_errors(name):
                    self._stages[name][0]()
                if first:
                    seconds = time.perf_counter() - start
                    add_seconds(self.out, name, seconds)
                    if report is not None:
                        report(name, seconds)

    @cached_property
    def scenes(self) -> list[Scene]:
        """The scenes that are trained on."""
        return training_scenes(self.recipe.pictures, self.recipe.seed)

    # What is made once

    def _make_pictures(self) -> None:
        """Render the training scenes."""
        path, recipe = self.out / "pictures.npy", self.recipe
        with self.processes.main_process_first():
            if not is_recorded(self.out, path.name, recipe.settings()):
                render_pictures(self.scenes, recipe.seed, recipe.size, path)
                write_record(self.out, path.name, recipe.settings(), [path])
            elif self.processes.is_main_process:
                check_files(self.out, path.name)

    def open_pictures(self) -> np.ndarray:
        """The training scenes' pictures, uint8 (pictures, size, size, 3), mapped from their file."""
        self._needs_record("pictures", "pictures.npy", self.recipe.settings())
        return map_pictures(self.out / "pictures.npy", self.recipe.pictures, self.recipe.size)

    def _make_tokenizer(self) -> None:
        """Learn byte-pair encoding from captions."""
        folder, wanted = self.out / "tokenizer", self.recipe.tokenizer
        settings = self.recipe.settings("tokenizer")
        with self.processes.main_process_first():
            if not is_recorded(self.out, folder.name, settings):
                rng = np.random.default_rng(self.recipe.seed)
                scenes = (self.scenes[i % len(self.scenes)] for i in range(wanted.captions))
                BPE.train((caption(loosened(s, rng), rng) for s in scenes), wanted.size).save(folder)
                write_record(self.out, folder.name, settings, sorted(folder.glob("[!.]*")))

    def open_tokenizer(self) -> BPE:
        """The byte-pair encoding that was learned."""
        self._needs_record("tokenizer", "tokenizer", self.recipe.settings("tokenizer"))
        check_files(self.out, "tokenizer")
        return BPE.from_files(self.out / "tokenizer")

    def _make_latents(self) -> None:
        """Encode every picture, and measure the scale of the latents.

        The scale is 1 / the standard deviation of the sampled latents (Rombach et al. 2022, app. G):
        Stable Diffusion's 0.18215 was measured so, on one batch.
        """
        path, settings = self.out / "latents.npz", self._latents_settings()
        with self.processes.main_process_first():
            if is_recorded(self.out, path.name, settings):
                return
            net = self.open_vae()
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
            with threads_of(self.processes.num_processes):  # the others wait until this is done
                mean, std = encode_all(net, self.open_pictures())
            spread = np.sqrt(mean.astype(np.float64).var() + np.square(std.astype(np.float64)).mean())
            with whole(path) as part, part.open("wb") as file:
                np.savez(file, mean=mean, std=std, scale=1 / spread)
            write_record(self.out, path.name, settings, [path])

    def open_latents(self) -> Latents:
        """The pictures' latents and their scale."""
        self._needs_record("latents", "latents.npz", self._latents_settings())
        check_files(self.out, "latents.npz")
        with np.load(self.out / "latents.npz") as file:
            return Latents(file["mean"], file["std"], float(file["scale"]))

    def _latents_settings(self) -> dict[str, Any]:
        """What latents depend on: the VAE's settings, and its very weights."""
        state = self._finished("vae", "vae-whole", self.recipe.vae.whole, "vae")
        return self.recipe.settings("vae") | {"the VAE's checksum": checksum(state["average"])}

    # The networks

    def _train_clip(self) -> None:
        """Train both encoders of CLIP, from pictures and captions alone: on mixed pictures, then on twins.

        Each caption is told from all others of the batch, so several processes don't share one: half a batch
        would hold half of the wrong captions.
        """
        wanted, net = self.recipe.clip, self._new_clip(self.open_tokenizer())
        sections = ["tokenizer", "clip.text_config", "clip.vision_config"]
        for name, phase in (("mixed", wanted.mixed), ("twins", wanted.twins)):
            sections.append(f"clip.{name}")
            objective = objectives.CLIPObjective(net)
            self._fit(f"clip-{name}", objective, self.pairs_of(name), phase, *sections, shared=False)

    def pairs_of(self, phase: str) -> Batch:
        """What CLIP is shown in one of its two phases, "mixed" or "twins"."""
        side = self.recipe.clip.vision_config.image_size
        pictures, tokenizer = self.open_pictures(), self.open_tokenizer()
        return examples.pairs_to_match(self.scenes, pictures, tokenizer, side, twins=phase == "twins")

    def open_clip(self) -> CLIP:
        """Both encoders of CLIP, trained."""
        net = self._new_clip(self.open_tokenizer())
        return self._open(net, "clip", "clip-twins", self.recipe.clip.twins, "tokenizer", "clip")

    def open_text(self) -> TextEncoder:
        """CLIP's text encoder, which is all that the U-Net reads with."""
        clip = self.open_clip()
        net = TextEncoder(clip.config.text_config)
        net.text_model = clip.text_model
        return net.eval()

    def _new_clip(self, tokenizer: BPE) -> CLIP:
        """CLIP before training."""
        wanted = self.recipe.clip
        text = replace(
            wanted.text_config,
            vocab_size=len(tokenizer),
            bos_token_id=tokenizer.bos,
            eos_token_id=tokenizer.eos,
            pad_token_id=tokenizer.eos,
        )
        net = self._new(CLIP, CLIPConfig(text, wanted.vision_config, wanted.vision_config.projection_dim))
        tokens, patches = net.text_model.embeddings, net.vision_model.embeddings
        nn.init.normal_(tokens.token_embedding.weight, std=TOKEN_STD)
        nn.init.normal_(tokens.position_embedding.weight, std=TOKEN_STD)
        # As OpenAI's: places must show beside colours.
        nn.init.normal_(patches.position_embedding.weight, std=wanted.vision_config.hidden_size**-0.5)
        return net

    def _train_vae(self) -> None:
        """Train the VAE, pictures to latents and back: on corners of pictures first, then on whole ones."""
        pictures, wanted = self.open_pictures(), self.recipe.vae
        net = self._new(AutoencoderKL, wanted.config)
        for name, phase in (("corners", wanted.corners), ("whole", wanted.whole)):
            objective = objectives.VAEObjective(net, painting_loss(phase), wanted.kl_weight)
            batch = examples.crops_to_paint(pictures, phase.crop, wanted.config)
            earlier = ["vae.corners"] if name == "whole" else []
            self._fit(
                f"vae-{name}", objective, batch, phase, "vae.config", "vae.kl_weight", *earlier, f"vae.{name}"
            )

    def open_vae(self) -> AutoencoderKL:
        """The VAE, its decoder as it is before the stage "decoder"."""
        net = self._new(AutoencoderKL, self.recipe.vae.config)
        return self._open(net, "vae", "vae-whole", self.recipe.vae.whole, "vae")

    def _train_decoder(self) -> None:
        """Train the decoder on with the latents as they are: whole pictures, for its attention's sake.

        The encoder is frozen, so this may run before, after or beside the U-Net's training.
        """
        net, pictures, latents = self.open_vae(), self.open_pictures(), self.open_latents()
        net.requires_grad_(False)
        net.decoder.requires_grad_(True)
        net.post_quant_conv.requires_grad_(True)
        objective = objectives.DecoderObjective(net, painting_loss(self.recipe.decoder))
        batch = examples.latents_to_paint(pictures, latents)
        self._fit("decoder", objective, batch, self.recipe.decoder, "vae", "decoder")

    def open_decoder(self) -> AutoencoderKL:
        """The finished VAE, which knows the scale of its latents."""
        net = self._new(AutoencoderKL, self.recipe.vae.config)
        net.config = replace(net.config, scaling_factor=self.open_latents().scale)
        return self._open(net, "decoder", "decoder", self.recipe.decoder, "vae", "decoder")

    def _train_unet(self) -> None:
        """Train the noise predictor, on latents computed once and captions drawn anew."""
        wanted, latents, text_encoder = self.recipe.unet, self.open_latents(), self.open_text()
        steps = SCHEDULE["num_train_timesteps"]
        schedule = NoiseSchedule.scaled_linear(SCHEDULE["beta_start"], SCHEDULE["beta_end"], steps)
        net = self._new(UNet, wanted.config)
        objective = objectives.UNetObjective(net, text_encoder, schedule, latents.scale, wanted.snr_gamma)
        batch = examples.latents_to_denoise(
            self.scenes, latents, self.open_tokenizer(), wanted.caption_dropout, steps
        )
        self._fit("unet", objective, batch, wanted, *UNET_SECTIONS)

    def open_unet(self, step: int | None = None, raw: bool = False) -> UNet:
        """The noise predictor, trained; with `step`, as it was after so many steps (unet.snapshots).

        raw: with the weights that the last step left, not their average.
        """
        net = self._new(UNet, self.recipe.unet.config)
        if step is not None:
            path, settings = self.out / "checkpoints" / "unet.pt", self.recipe.settings(*UNET_SECTIONS)
            net.load_state_dict(read_snapshot(path, step, settings)["raw" if raw else "average"])
            return net.eval()
        state = self._finished("unet", "unet", self.recipe.unet, *UNET_SECTIONS)
        (use_raw if raw else use_average)(net, state)
        return net.eval()

    def _export(self) -> None:
        """All parts as the model folder `out / model`, in half precision; CLIP beside them, without its text
        half.
        """
        folder = self.out / "model"
        parts = self.open_tokenizer(), self.open_text(), self.open_unet(), self.open_decoder()
        if self.processes.is_main_process:
            StableDiffusion(*parts, SCHEDULE, self.recipe.guidance_scale).save_pretrained(
                folder, torch.float16
            )
            clip = self.open_clip()
            save_model(clip, folder / "clip", TEXT_WEIGHTS, "CLIPModel", torch.float16, without="text_model.")
            index = read_json(folder / "model_index.json")
            write_json({**index, "_world": "minisd.scenes"}, folder / "model_index.json")
        self.processes.wait_for_everyone()

    # What they share

    def _new(self, build: Callable[[Any], Net], config: object) -> Net:
        """A network with its first random weights, the same in every run of the recipe."""
        torch.manual_seed(self.recipe.seed)
        return build(config)

    def _fit(
        self,
        name: str,
        objective: objectives.Objective,
        batch: Batch,
        phase: Phase,
        *sections: str,
        shared: bool = True,
    ) -> None:
        """Train a network by a section of the recipe; `sections` are all that it depends on."""
        done = fit(
            objective,
            batch,
            self.out / "checkpoints" / f"{name}.pt",
            phase,
            Accelerator(cpu=self.on_cpu, mixed_precision=PRECISIONS[self.dtype]),
            settings=self.recipe.settings(*sections),
            seed=self.recipe.seed,
            shared=shared,
        )
        if self.processes.is_main_process:
            write_json(done, self.out / f"{name}.json")

    def _open(self, net: Net, stage: str, name: str, phase: Phase, *sections: str) -> Net:
        """Give a network the weights of its finished training."""
        use_average(net, self._finished(stage, name, phase, *sections))
        return net.eval()

    def _finished(self, stage: str, name: str, phase: Phase, *sections: str) -> dict[str, Any]:
        """A finished training's checkpoint; ValueError that says how to come by it."""
        path = self.out / "checkpoints" / f"{name}.pt"
        if not path.is_file():
            raise ValueError(self._not_trained(stage))
        try:
            state = read_checkpoint(path)
        except ValueError as error:
            raise ValueError(f"{error}; to mend it: {self._command(stage)}") from None
        check_settings(path, state["settings"], self.recipe.settings(*sections))
        if state["step"] < phase.steps:
            raise ValueError(self._not_trained(stage))
        return state

    def _needs_record(self, stage: str, name: str, settings: dict[str, Any]) -> None:
        """ValueError unless what is made once is there, and was made with these settings."""
        if not is_recorded(self.out, name, settings):
            raise ValueError(self._not_trained(stage))

    def _not_trained(self, stage: str) -> str:
        """What to say of a stage that is not finished."""
        return f"stage {stage} is not trained: {self._command(stage)}"

    def _command(self, stage: str) -> str:
        """The shortest command that trains a stage."""
        word = min((word for word, stages in STAGES.items() if stage in stages), key=lambda w: len(STAGES[w]))
        words = ["minisd", "train", word, "--out", str(self.out)]
        if self.recipe.path != TINY_RECIPE:
            words += ["--config", str(self.recipe.path)]
        return shlex.join(words)


def check_device(device: str | None, dtype: str) -> None:
    """ValueError for a device or a precision that is unknown, or not there."""
    if device is not None and device not in DEVICES:
        raise ValueError(f"there is no device {device!r}; choose from {', '.join(DEVICES)}")
    if dtype not in PRECISIONS:
        raise ValueError(f"there is no dtype {dtype!r}; choose from {', '.join(PRECISIONS)}")
    pick_device(device)
    if dtype == "float16" and (device == "cpu" or not has_gpu()):
        raise ValueError("float16 is for training on a GPU; choose bfloat16 or float32")


def has_gpu() -> bool:
    """Whether torch finds a GPU to train on."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


@contextmanager
def memory_errors(stage: str) -> Iterator[None]:
    """Turn what torch says when there is no memory left into a MemoryError that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if not re.search("out of memory|can't allocate memory|not enough memory", str(error)):
            raise
        raise MemoryError(
            f"stage {stage} needs more memory than there is; give a smaller batch_size"
        ) from None


@contextmanager
def threads_of(processes: int) -> Iterator[None]:
    """Compute with as many threads as so many processes like this one have together."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads * processes)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def painting_loss(phase: PaintingPhase) -> objectives.PaintingLoss:
    """The loss of a section of the recipe that trains the VAE."""
    return objectives.PaintingLoss(phase.squared_weight, phase.edge_weight)


def encode_all(net: AutoencoderKL, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every picture's latents, float16."""
    moments = []
    with torch.inference_mode():
        for i in tqdm(range(0, len(pictures), ENCODE_BATCH), desc="latents", unit="batch"):
            posterior = net.encode(to_tensor(pictures[i : i + ENCODE_BATCH]))
            moments.append(torch.stack([posterior.mean, posterior.std]).half())
    mean, std = torch.cat(moments, dim=1).numpy()
    return mean, std
