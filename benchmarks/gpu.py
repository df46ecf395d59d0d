"""Stable Diffusion 1.5 on a GPU: seconds and memory of a picture, here and in diffusers.

    python benchmarks/gpu.py                  measure, write gpu.json and gpu.md
    python benchmarks/gpu.py --small          the same in miniature, on any machine, written nowhere

The weights are random numbers in the published shapes: painting takes as long with them. Both paint 512 x 512
pixels in 50 DDIM steps with guidance 7.5 in half precision, in turn, and the medians are compared: as built,
with the weights channels last, and translated by torch.compile besides, as diffusers' guide to speed has it.
The floor is what a step's convolutions, matrix products and attention take alone. Memory is the most that
torch held at a time while a picture was painted, weights included; each is measured with the other one gone.

So far the script has run in miniature only, on a CPU; nobody has run it on a GPU yet.
"""

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from statistics import median

import torch

from common import HERE, heading, on_machine, table, write_text
from floor import floor_of
from minisd import SD15, StableDiffusion
from minisd.checkpoint import write_json
from minisd.clip import TextEncoder
from minisd.config import TextConfig, UNetConfig, VAEConfig
from minisd.unet import UNet
from minisd.vae import AutoencoderKL

SCALE, SIZE, WARM = 7.5, 512, 1
PROMPT = "a red house left of a yellow tent"
SMALL = {"block_out_channels": [32, 64, 64, 64]}  # instead of the published widths, to try the script
AS_BUILT, BEST = "as built", "channels last, compiled"
ORDERS = {  # in memory; with BEST the U-Net is translated as well
    AS_BUILT: torch.contiguous_format,
    "channels last": torch.channels_last,
    BEST: torch.channels_last,
}

Paint = Callable[[], object]


def minisd(device: str, dtype: torch.dtype, way: str, small: bool, steps: int) -> Paint:
    """What paints a picture with this package, its weights random."""
    order = ORDERS[way]
    tokenizer, changed = StableDiffusion.from_pretrained("tiny", "cpu").tokenizer, SMALL if small else {}
    text = replace(TextConfig.from_dict(SD15["text_encoder"]), vocab_size=len(tokenizer))
    with torch.device(device):
        encoder = TextEncoder(text).to(dtype)
        unet = UNet(UNetConfig.from_dict(SD15["unet"] | changed)).to(dtype, memory_format=order)
        vae = AutoencoderKL(VAEConfig.from_dict(SD15["vae"] | changed)).to(dtype, memory_format=order)
    pipe = StableDiffusion(tokenizer, encoder, unet, vae, SD15["scheduler"], SCALE)
    if way == BEST:
        pipe.compile()
    size = 64 if small else SIZE
    return lambda: pipe(PROMPT, num_inference_steps=steps, sampler="ddim", height=size, width=size)


def diffusers(device: str, dtype: torch.dtype, way: str, small: bool, steps: int) -> Paint:
    """What paints a picture with diffusers, from vectors of the prompt: it need not even read it."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    changed, order = SMALL if small else {}, ORDERS[way]
    with torch.device(device):
        unet = UNet2DConditionModel(**(SD15["unet"] | changed)).to(dtype, memory_format=order).eval()
        vae = AutoencoderKL(**(SD15["vae"] | changed)).to(dtype, memory_format=order).eval()
    with torch.device("cpu"):
        scheduler = DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            steps_offset=1,
        )
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    if way == BEST:
        pipe.unet.compile()
    vectors = torch.randn(2, 77, 768, device=device, dtype=dtype)
    size = 64 if small else SIZE
    return lambda: pipe(
        prompt_embeds=vectors[:1],
        negative_prompt_embeds=vectors[1:],
        num_inference_steps=steps,
        guidance_scale=SCALE,
        height=size,
        width=size,
    )


BUILDERS = {"minisd": minisd, "diffusers": diffusers}


def timed(paint: Paint, device: str) -> float:
    start = time.perf_counter()
    paint()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(device: str, small: bool, steps: int, rounds: int) -> list[dict]:
    """Each way to paint: seconds of all rounds, and the most memory, in bytes."""
    dtype = torch.float16 if device == "cuda" else torch.float32
    cells = []
    for way in (one for one in ORDERS if one != BEST or device == "cuda"):  # on a CPU it takes minutes
        found: dict[str, dict] = {}
        for program, build in BUILDERS.items():
            gc.collect()
            if device == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            paint = build(device, dtype, way, small, steps)
            for _ in range(WARM):
                paint()
            peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
            found[program] = {"program": program, "way": way, "peak": peak, "seconds": []}
            del paint
        painters = {program: build(device, dtype, way, small, steps) for program, build in BUILDERS.items()}
        for paint in painters.values():
            for _ in range(WARM):
                paint()
        for _ in range(rounds):
            for program, paint in painters.items():
                found[program]["seconds"].append(timed(paint, device))
        del painters
        cells += found.values()
    return cells


def floor(device: str, small: bool) -> float:
    """Seconds that the layers of one guided step take alone."""
    side = 8 if small else SIZE // 8
    with torch.device("meta"):
        unet = UNet(UNetConfig.from_dict(SD15["unet"] | (SMALL if small else {}))).eval()
        inputs = torch.empty(2, 4, side, side), 1, torch.empty(2, 77, 768)
    dtype = torch.float16 if device == "cuda" else torch.float32
    return sum(floor_of(unet, inputs, dtype, runs=10, device=device).values())


def spread(seconds: Sequence[float]) -> str:
    """'1.84 (1.83 to 1.90)': median and range."""
    return f"{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def markdown(results: dict) -> str:
    """The whole of gpu.md."""
    rows = [
        [
            cell["program"],
            cell["way"],
            spread(cell["seconds"]),
            "–" if cell["peak"] is None else f"{cell['peak'] / 2**30:.2f}",
        ]
        for cell in results["cells"]
    ]
    head = ["", "", "seconds a picture, median (range)", "memory at most, GiB"]
    return f"""# Stable Diffusion 1.5 on a GPU

Written by `python benchmarks/gpu.py`, {results["date"]}, on {on_machine(results["machine"])}, torch \
{results["machine"]["torch"]}, diffusers {results["diffusers"]}.

Random weights in the published shapes, half precision, {SIZE} × {SIZE} pixels, {results["steps"]} DDIM \
steps, guidance {SCALE:g}; {results["rounds"]} pictures of each, in turn. minisd reads the prompt anew for \
each picture, diffusers is given its vectors.

{table(head, rows)}

The floor of {results["steps"]} steps is {results["steps"] * results["floor"]:.2f} s.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time Stable Diffusion 1.5 on a GPU, here and in diffusers.")
    parser.add_argument("--small", action="store_true", help="in miniature, to try the script")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5, help="pictures of each program, in turn (5)")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.small:
        parser.error("torch finds no GPU here; --small tries the script without one")
    cells = measure(device, options.small, options.steps, options.rounds)
    made = {"steps": options.steps, "rounds": options.rounds, "diffusers": version("diffusers")}
    made["floor"] = floor(device, options.small)
    results = {**heading("tiny", device), **made, "cells": cells}
    del results["model"]  # the weights are nobody's
    if not options.small:
        write_json(results, HERE / "gpu.json")
        write_text(markdown(results), HERE / "gpu.md")
    print(markdown(results))


if __name__ == "__main__":
    main()
