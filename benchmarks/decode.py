"""Decoding a picture of 512 x 512 pixels, whole and in tiles: seconds and memory, here and in diffusers.

    python benchmarks/decode.py                      measure, write decode.json and decode.md

The VAE has Stable Diffusion 1.5's shapes and random weights, the same in both libraries; decoding takes as
long with them. Everyone has a fresh process in every round, and decodes twice: the first time for the memory,
the second for the time. It also says how far tiles are from the whole: with these weights, and with `tiny`'s,
on rendered scenes at four times the size that it was trained on. Needs Linux and diffusers.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common import (
    HERE,
    SEED,
    compared,
    fresh,
    in_turn,
    middle,
    now_and_here,
    ratio_text,
    table,
    where_and_when,
    write_text,
)
from minisd.checkpoint import write_json
from minisd.sd15 import SD15

LATENTS = (1, 4, 64, 64)
TILE, OVERLAP = 40, 8  # latents, of minisd.vae: diffusers is given the same, since its own tile is the whole
SCENES, SIDE = 8, 512  # pictures of `tiny`, and the pixels of their sides
Decode = Callable[[Tensor], Tensor]


def randomised(net: Any) -> Any:
    """The same random weights for the same names, scaled to keep activations finite."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in sorted(net.named_parameters()):
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim < 2:
                value.copy_(0.2 * noise + name.endswith("weight"))
            else:
                value.copy_(noise / value[0].numel() ** 0.5)
    return net.eval()


def minisd(tiled: bool) -> Decode:
    """Our decoder."""
    from minisd.vae import AutoencoderKL

    net = randomised(AutoencoderKL(SD15["vae"]))
    net.enable_tiling(tiled)
    return net.decode


def diffusers(tiled: bool, layout: torch.memory_format = torch.contiguous_format) -> Decode:
    """Theirs, in its default layout or in the one that its documentation recommends for speed."""
    from diffusers import AutoencoderKL

    net = randomised(AutoencoderKL(**SD15["vae"])).to(memory_format=layout)
    if tiled:
        net.enable_tiling()
        net.tile_latent_min_size, net.tile_sample_min_size = TILE, 8 * TILE
        net.tile_overlap_factor = OVERLAP / TILE
    return lambda z: net.decode(z).sample


DECODERS: dict[str, Callable[[], Decode]] = {
    "minisd": lambda: minisd(tiled=False),
    "diffusers": lambda: diffusers(tiled=False),
    "diffusers, channels last": lambda: diffusers(tiled=False, layout=torch.channels_last),
    "minisd, tiled": lambda: minisd(tiled=True),
    "diffusers, tiled": lambda: diffusers(tiled=True),
}
RATIOS = {  # ours and theirs
    "whole": ("minisd", "diffusers"),
    "whole, theirs with channels last": ("minisd", "diffusers, channels last"),
    "tiled": ("minisd, tiled", "diffusers, tiled"),
    "our tiled against our whole": ("minisd, tiled", "minisd"),
}


def latents() -> Tensor:
    return torch.randn(LATENTS, generator=torch.Generator().manual_seed(SEED))


def resident(name: str) -> int:
    """Bytes of this process's memory: VmRSS now, VmHWM at the most."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status[name].split()[0])


@torch.inference_mode()
def work(who: str) -> dict:
    """Decode twice.

    seconds, cpu: of the second time; cpu is the time of all cores together. In bytes, peak: the most resident
    memory in the first; beyond: how much of it was not there before.
    """
    decode, z = DECODERS[who](), latents()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the network
    before = resident("VmRSS")
    decode(z)
    peak = resident("VmHWM")
    start, start_cpu = time.perf_counter(), time.process_time()
    decode(z)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return {"seconds": seconds, "cpu": cpu, "peak": peak, "beyond": peak - before}


def differences(ours: Tensor, reference: Tensor) -> dict[str, float]:
    """Between pictures in [-1, 1], in steps of 8 bits: the largest, the mean, the share of more than 8."""
    steps = 255 / 2 * (ours.clamp(-1, 1) - reference.clamp(-1, 1)).abs()
    return {
        "largest": steps.max().item(),
        "mean": steps.mean().item(),
        "over_8": (steps > 8).float().mean().item(),
    }


def rendered() -> Tensor:
    """Scenes drawn anew at four times the size that `tiny` was trained on, (n, 3, 512, 512) in [-1, 1]."""
    from minisd.scenes import render_many, sample

    seeds = range(SEED, SEED + SCENES)
    scenes = [sample(np.random.default_rng(seed), full=True) for seed in seeds]
    pictures = torch.from_numpy(render_many(scenes, seeds, SIDE))
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.inference_mode()
def seams() -> dict[str, dict[str, float]]:
    """How far tiles are from the whole; `lost` is what the autoencoder itself loses of the scenes."""
    from minisd import StableDiffusion
    from minisd.vae import AutoencoderKL

    vae, pictures = StableDiffusion.from_pretrained("tiny", "cpu").vae, rendered()
    z = torch.cat([vae.encode(x[None]).mean for x in pictures])
    whole, tiled = (torch.cat([decode(one[None]) for one in z]) for decode in (vae.decode, vae.tiled_decode))
    net: nn.Module = randomised(AutoencoderKL(SD15["vae"]))
    full = net.decode(latents())
    spread = 1 / full.std()  # random weights know no range of colours: as wide as a picture's
    return {
        "tiny": differences(tiled, whole),
        "lost": differences(whole, pictures),
        "random": differences(spread * net.tiled_decode(latents()) / 2, spread * full / 2),
    }


@torch.inference_mode()
def unlike_theirs() -> float:
    """The largest difference between our whole picture and theirs, as a share of their largest number."""
    theirs = diffusers(tiled=False)(latents())
    return ((minisd(tiled=False)(latents()) - theirs).abs().max() / theirs.abs().max()).item()


def decode_table(results: dict) -> str:
    """A row for each decoder: medians."""
    rows = [
        [
            who,
            *(f"{middle(results['runs'], who, name):.2f}" for name in ("seconds", "cpu")),
            *(f"{middle(results['runs'], who, name) / 1e6:.0f}" for name in ("beyond", "peak")),
        ]
        for who in DECODERS
    ]
    return table(["", "s", "CPU s", "MB beyond what it had", "MB in all"], rows)


def ratio_table(results: dict) -> str:
    """Ours against theirs, round by round."""
    names = ("seconds", "cpu", "beyond", "peak")
    rows = [
        [what, *(ratio_text(compared(results["runs"], *pair, name)) for name in names)]
        for what, pair in RATIOS.items()
    ]
    return table(["ratio (least and most)", "seconds", "CPU seconds", "memory beyond", "memory in all"], rows)


def seam_table(results: dict) -> str:
    """How far tiles are from the whole."""
    said = {
        "tiny": f"`tiny`, {SCENES} scenes: tiles against the whole",
        "lost": "the same: the whole against the scenes, what the autoencoder loses by itself",
        "random": "random weights of full size, noise: tiles against the whole",
    }
    rows = [
        [said[name], f"{found['largest']:.0f}", f"{found['mean']:.2f}", f"{100 * found['over_8']:.1f} %"]
        for name, found in results["seams"].items()
    ]
    return table(["difference, of 255", "largest", "mean", "more than 8"], rows)


def markdown(results: dict) -> str:
    """The whole of decode.md."""
    return f"""# Decoding 512 x 512 pixels

Written by `python benchmarks/decode.py`; the figures are those of `decode.json`.

Random weights in the shapes of Stable Diffusion 1.5's VAE, float32. {where_and_when(results)} Medians
of {results["rounds"]} rounds; everyone has a fresh process in every round. CPU seconds are those of all cores
together, and suffer less from what else the machine does. Memory is resident (VmHWM).

{decode_table(results)}

{ratio_table(results)}

The whole pictures of both libraries differ by at most {results["unlike_theirs"]:.0e} of the largest number.

Tiles are of at most {TILE} x {TILE} latents and overlap by {OVERLAP} or more. They change the picture:

{seam_table(results)}
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time decoding with SD 1.5's VAE, here and in diffusers.")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes timed for each decoder")
    parser.add_argument(
        "--out", type=Path, default=HERE / "decode.json", help="the table goes beside it, as .md"
    )
    parser.add_argument("--worker", choices=DECODERS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.worker:
        print(json.dumps(work(options.worker)))
        return
    results = {
        **now_and_here("torch", "diffusers"),
        "rounds": options.rounds,
        "runs": in_turn(
            DECODERS, lambda who: fresh(Path(__file__), "--worker", who), options.rounds, "decoding"
        ),
        "unlike_theirs": unlike_theirs(),
        "seams": seams(),
    }
    write_json(results, options.out)
    write_text(markdown(results), options.out.with_suffix(".md"))
    print(markdown(results))


if __name__ == "__main__":
    main()
