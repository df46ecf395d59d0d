"""Trains a ControlNet for maps and outlines of the little world, beside a model that stays as it is.

    python -m minisd.training.control --out runs/plans

The same command goes on after a stop. It writes, beside what it goes on from:

    OUT/controlnet/config.json, diffusion_pytorch_model.safetensors     in half precision
    OUT/controlnet/training.json                                        the loss curve, seconds, machine
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from ..checkpoint import WEIGHTS, read_json, save_model, write_json
from ..config import DEVICES
from ..controlnet import ControlNet
from ..files import locked, whole
from ..models import locate
from ..pipeline import StableDiffusion
from ..scenes import Scene, outlines
from ..scenes.render import render_with_parts
from ..tensors import checksum
from .data import to_tensor, training_scenes
from .examples import Latents, latents_to_denoise, maps_and_outlines
from .loop import fit
from .objectives import ControlNetObjective
from .recipe import Phase, flat, number
from .stages import check_device
from .store import check_files, is_recorded, remove_leftovers, write_record

HINTS = (8, 16, 32, 64)  # channels of the plan's encoder; SD 1.5's has four times as many at most
ENCODED = 8  # pictures that the VAE encodes at a time


@dataclass(frozen=True, kw_only=True)
class ControlPhase(Phase):
    """How the ControlNet is trained, and on what: pictures with their maps and their outlines.

    plan_dropout, caption_dropout: shares of the plans that are left black, of the captions left empty. The
    second is large because the plan alone should do much (Zhang et al. 2023, section 3.4: one half).
    """

    seed: int = number(0, 2_000_000_000, 0)
    pictures: int = number(1, 10_000_000, 4000)
    snr_gamma: float = number(1e-6, 1e6, 5.0)
    caption_dropout: float = number(0.0, 1.0, 0.2)
    plan_dropout: float = number(0.0, 1.0, 0.1)

    def settings(self) -> dict[str, Any]:
        """All of it but for how often a checkpoint is written, which changes nothing."""
        return {key: value for key, value in flat(self).items() if key != "save_every"}


FULL = ControlPhase(
    steps=2600,
    batch_size=8,
    learning_rate_peak=1e-3,
    muon_peak=3e-3,
    warmup=50,
    ema_decay=0.99,
    save_every=100,
)


@dataclass(frozen=True)
class Examples:
    """Scenes, their latents, and their two plans: parts uint8, lines bool, (pictures, height, width)."""

    scenes: list[Scene]
    latents: Latents
    parts: np.ndarray
    lines: np.ndarray


def train_control(
    pipe: StableDiffusion, out: Path, phase: ControlPhase = FULL, device: str | None = None
) -> ControlNet:
    """Train a ControlNet for a model of the little world, in `out`; a stopped training goes on from there.

    Raises ValueError for a model that is none for text to image, and if `out` holds a training with other
    settings or of another model; BlockingIOError while another process trains there.
    """
    check_device(device, "float32")
    if pipe.inpaints:
        raise ValueError("this U-Net reads a mask, too; give a text-to-image model such as tiny")
    model = checksum({**pipe.unet.state_dict(), **pipe.vae.state_dict(), **pipe.text_encoder.state_dict()})
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; name a folder for the training to go to")
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, wait=False):
        remove_leftovers(out)
        examples = examples_of(pipe, out, phase, model)
        torch.manual_seed(phase.seed)
        net = ControlNet.from_unet(pipe.unet, HINTS).requires_grad_(True)
        made_of = pipe.text_encoder, pipe.schedule, examples.latents.scale, phase.snr_gamma
        plans = maps_and_outlines(examples.parts, examples.lines, phase.plan_dropout)
        done = fit(
            ControlNetObjective(net, pipe.unet, *made_of),
            latents_to_denoise(
                examples.scenes,
                examples.latents,
                pipe.tokenizer,
                phase.caption_dropout,
                pipe.schedule.steps,
                plans,
            ),
            out / "checkpoints" / "controlnet.pt",
            phase,
            Accelerator(cpu=device == "cpu"),
            settings={**phase.settings(), "hints": list(HINTS), "the model's checksum": model},
            seed=phase.seed,
        )
        save_model(net, out / "controlnet", WEIGHTS, "ControlNetModel", torch.float16)
        write_json({**phase.settings(), "model": model, **done}, out / "controlnet" / "training.json")
    return net.eval()


def examples_of(pipe: StableDiffusion, out: Path, phase: ControlPhase, model: str) -> Examples:
    """The training scenes with their latents and plans: made once, then read from `out`/examples.npz."""
    path = out / "examples.npz"
    scenes = training_scenes(phase.pictures, phase.seed)
    settings = {"seed": phase.seed, "pictures": phase.pictures, "the model's checksum": model}
    if not is_recorded(out, path.name, settings):
        with whole(path) as part, part.open("wb") as file:
            mean, std, parts, lines = drawn_and_encoded(pipe, scenes, phase.seed)
            np.savez_compressed(file, mean=mean, std=std, parts=parts, lines=lines)
        write_record(out, path.name, settings, [path])
    check_files(out, path.name)
    with np.load(path) as kept:
        latents = Latents(kept["mean"], kept["std"], pipe.vae.scaling_factor)
        lines = np.unpackbits(kept["lines"], axis=-1, count=kept["parts"].shape[-1]).astype(bool)
        return Examples(scenes, latents, kept["parts"], lines)


def drawn_and_encoded(pipe: StableDiffusion, scenes: Sequence[Scene], seed: int) -> tuple[np.ndarray, ...]:
    """Mean and deviation of the scenes' latents (float16), their parts, and their lines as bits."""
    size = pipe.unet.config.sample_size * pipe.vae.config.downsampling
    moments, parts, lines = [], [], []
    for i in tqdm(range(0, len(scenes), ENCODED), desc="examples", unit="batch"):
        chunk = enumerate(scenes[i : i + ENCODED], seed + i)
        pictures, labels = map(np.stack, zip(*(render_with_parts(scene, at, size) for at, scene in chunk)))
        with torch.inference_mode():
            posterior = pipe.vae.encode(to_tensor(pictures))
        moments.append(torch.stack([posterior.mean, posterior.std]).half())
        parts.append(labels)
        lines.append(np.packbits(outlines(pictures)[..., 0] > 0, axis=-1))
    mean, std = torch.cat(moments, dim=1).numpy()
    return mean, std, np.concatenate(parts), np.concatenate(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m minisd.training.control",
        description="Train a ControlNet for maps and outlines of the little world, and write it to "
        "OUT/controlnet. The same command goes on from the last checkpoint of a training that was stopped.",
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FOLDER", help="where everything goes")
    add("--model", default="tiny", metavar="tiny|FOLDER", help="a model of the little world (default: tiny)")
    add("--steps", type=int, default=FULL.steps, metavar="N", help=f"training steps ({FULL.steps})")
    add("--pictures", type=int, default=FULL.pictures, metavar="N", help=f"to learn from ({FULL.pictures})")
    add("--device", choices=DEVICES, help="to compute on (default: cuda where there is one)")
    args = parser.parse_args(arguments)
    try:
        index = locate(args.model) / "model_index.json"
        if not index.is_file() or read_json(index).get("_world") != "minisd.scenes":
            raise ValueError(
                f"{args.model} is no model of the little world; give tiny, or OUT/model of a run"
            )
        phase = replace(FULL, steps=args.steps, pictures=args.pictures)
        start = time.perf_counter()
        train_control(StableDiffusion.from_pretrained(args.model, "cpu"), args.out, phase, args.device)
    except (OSError, ValueError, FloatingPointError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"{args.out / 'controlnet'}, after {time.perf_counter() - start:.0f} s of this run")


if __name__ == "__main__":
    main()
