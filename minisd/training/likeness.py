"""Trains "more like this": a picture's CLIP vector as a few vectors behind the sentence's.

    python -m minisd.training.likeness --out runs/likeness

The U-Net stays as it is. The same command goes on after a stop. It writes, beside what it goes on from,
OUT/likeness/config.json and OUT/likeness/model.safetensors, in half precision.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm.auto import tqdm

from ..checkpoint import TEXT_WEIGHTS, save_model
from ..clip import CLIP, TextEncoder
from ..files import locked
from ..likeness import ImageTokens, load_clip, vectors_of
from ..pipeline import StableDiffusion
from ..scenes import caption, loosened, render_many
from ..schedule import NoiseSchedule
from ..tensors import checksum
from ..unet import UNet
from .data import to_tensor, training_scenes
from .loop import Batch, fit
from .objectives import UNetObjective
from .recipe import Phase, flat, number

ENCODED = 50  # pictures that are rendered and encoded at a time


@dataclass(frozen=True, kw_only=True)
class LikenessPhase(Phase):
    """How the layer is trained: a share of the captions is left empty, a share of the vectors is zero."""

    seed: int = number(0, 2_000_000_000, 0)
    pictures: int = number(1, 10_000_000, 3000)
    snr_gamma: float = number(1e-6, 1e6, 5.0)
    caption_dropout: float = number(0.0, 1.0, 0.7)
    vector_dropout: float = number(0.0, 1.0, 0.1)


FULL = LikenessPhase(
    steps=900,
    batch_size=16,
    learning_rate_peak=2e-3,
    muon_peak=2e-3,
    warmup=30,
    ema_decay=0.98,
    save_every=50,
)


class LikenessObjective(UNetObjective):
    """The loss of a U-Net that stays as it is and reads a picture's vectors behind the words' vectors."""

    net: ImageTokens

    def __init__(
        self,
        net: ImageTokens,
        unet: UNet,
        text_encoder: TextEncoder,
        schedule: NoiseSchedule,
        scale: float,
        gamma: float,
    ):
        super().__init__(net, text_encoder, schedule, scale, gamma)
        self.unet = unet.requires_grad_(False)

    def predict(self, z: Tensor, t: Tensor, context: Tensor, *plan: Tensor) -> Tensor:
        (vectors,) = plan
        return self.unet(z, t, torch.cat([context, self.net(vectors)], dim=1))


def train_likeness(pipe: StableDiffusion, clip: CLIP, out: Path, phase: LikenessPhase = FULL) -> ImageTokens:
    """Train the layer for a model of the little world, in `out`; a stopped training goes on from there."""
    out.mkdir(parents=True, exist_ok=True)
    model = checksum({**pipe.unet.state_dict(), **clip.state_dict()})
    with locked(out, wait=False):
        torch.manual_seed(phase.seed)
        sizes = {
            "image_width": clip.config.projection_dim,
            "context_width": pipe.unet.config.cross_attention_dim,
        }
        net = ImageTokens(sizes)
        made_of = pipe.text_encoder, pipe.schedule, pipe.vae.scaling_factor, phase.snr_gamma
        fit(
            LikenessObjective(net, pipe.unet, *made_of),
            examples_of(pipe, clip, phase),
            out / "checkpoints" / "likeness.pt",
            phase,
            Accelerator(cpu=True),
            settings={**flat(phase), "the model's checksum": model},
            seed=phase.seed,
        )
        save_model(net, out / "likeness", TEXT_WEIGHTS, "ImageTokens", torch.float16)
    return net.eval()


def examples_of(pipe: StableDiffusion, clip: CLIP, phase: LikenessPhase) -> Batch:
    """What `LikenessObjective` takes: captions, latents, noise, a timestep, and the pictures' vectors."""
    scenes = training_scenes(phase.pictures, phase.seed)
    kept = []
    for i in tqdm(range(0, len(scenes), ENCODED), desc="examples", unit="batch"):
        chunk = scenes[i : i + ENCODED]
        pictures = to_tensor(render_many(chunk, range(phase.seed + i, phase.seed + i + len(chunk))))
        with torch.inference_mode():
            posterior = pipe.vae.encode(pictures)
            kept.append((posterior.mean.half(), posterior.std.half(), vectors_of(clip, pictures)))
    mean, std, vectors = map(torch.cat, zip(*kept))

    def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
        chosen = rng.integers(len(scenes), size=n)
        said = [caption(loosened(scenes[i], rng), rng) for i in chosen]
        silent, blind = rng.random(n) < phase.caption_dropout, rng.random(n) < phase.vector_dropout
        ids = pipe.tokenizer(["" if drop else text for drop, text in zip(silent, said, strict=True)])
        shape = (n, *mean.shape[1:])
        latent_noise, noise = (
            torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)) for _ in range(2)
        )
        t = torch.from_numpy(rng.integers(pipe.schedule.steps, size=n))
        shown = vectors[chosen] * torch.from_numpy(~blind)[:, None]
        return ids, mean[chosen].float(), std[chosen].float(), latent_noise, noise, t, shown

    return batch


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m minisd.training.likeness",
        description="Train the layer that reads a picture's CLIP vector, for tiny, and write it to "
        "OUT/likeness. The same command goes on from the last checkpoint of a training that was stopped.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where everything goes")
    parser.add_argument(
        "--steps", type=int, default=FULL.steps, metavar="N", help=f"training steps ({FULL.steps})"
    )
    args = parser.parse_args(arguments)
    try:
        pipe = StableDiffusion.from_pretrained("tiny", "cpu")
        train_likeness(pipe, load_clip(), args.out, replace(FULL, steps=args.steps))
    except (OSError, ValueError, FloatingPointError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
