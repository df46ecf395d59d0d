"""A whole picture of Stable Diffusion 1.5 on the CPU: seconds and memory, here and in diffusers, and a floor.

    python benchmarks/fullsize.py                    measure, write fullsize.json and fullsize.md

The weights are random numbers under the published names and in the published shapes: painting takes as long
with them. Every painter paints 512 x 512 pixels in two DDIM steps with guidance 7.5, in float32 unless it
says otherwise, each time in a fresh process; the painters take turns. The floor of a step is what its
convolutions, matrix products and attention take alone, each at its fastest here. Needs Linux, diffusers and
transformers, and 9 GB of disk unless --weights names a folder.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from common import (
    HERE,
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
from peers import make_folder

PROMPT = "a red house left of a yellow tent"
SCALE, SIZE, STEPS = 7.5, 512, 2


def minisd(source: Path, folder: Path, dtype: str = "float32", channels_last: bool = False) -> tuple:
    """A pipeline of ours, from the folder or its single file, and what paints with it."""
    import torch

    from minisd import StableDiffusion

    pipe = StableDiffusion.from_pretrained(source, "cpu", getattr(torch, dtype), folder / "tokenizer")
    if channels_last:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    return pipe, lambda: pipe(
        PROMPT, num_inference_steps=STEPS, guidance_scale=SCALE, height=SIZE, width=SIZE
    )


def diffusers(source: Path, folder: Path, dtype: str = "float32", channels_last: bool = False) -> tuple:
    """A pipeline of theirs, from the folder or its single file, and what paints with it."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    options: dict = {"torch_dtype": getattr(torch, dtype), "safety_checker": None}
    if source.is_dir():
        pipe = StableDiffusionPipeline.from_pretrained(source, **options)
    else:
        options |= {"config": str(folder), "local_files_only": True}
        pipe = StableDiffusionPipeline.from_single_file(str(source), **options)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    if channels_last:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    return pipe, lambda: pipe(
        PROMPT, num_inference_steps=STEPS, guidance_scale=SCALE, height=SIZE, width=SIZE
    )


PAINTERS: dict[str, Callable[[Path], tuple]] = {
    "minisd": lambda folder: minisd(folder, folder),
    "diffusers": lambda folder: diffusers(folder, folder),
    "diffusers, channels last": lambda folder: diffusers(folder, folder, channels_last=True),
    "minisd, channels last": lambda folder: minisd(folder, folder, channels_last=True),
    "minisd, single file": lambda folder: minisd(folder.with_suffix(".safetensors"), folder),
    "diffusers, single file": lambda folder: diffusers(folder.with_suffix(".safetensors"), folder),
    "minisd, bfloat16": lambda folder: minisd(folder, folder, "bfloat16"),
    "diffusers, bfloat16": lambda folder: diffusers(folder, folder, "bfloat16"),
}


def paint(who: str, folder: Path, born: float) -> dict:
    """Paint one picture and say how long its stages took: seconds since `born`, when the command was given.

    start: until the first step begins; first: until it has been taken; step: the second step; decode: from
    there to the picture; peak: bytes of resident memory (VmHWM), pages of mapped files included.
    """
    pipe, painting = PAINTERS[who](folder)
    moments: list[float] = []
    pipe.unet.register_forward_pre_hook(lambda *_: moments.append(time.time()))
    pipe.unet.register_forward_hook(lambda *_: moments.append(time.time()))
    painting()
    begin, first, second, last, end = *moments, time.time()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "start": begin - born,
        "first": first - born,
        "step": last - second,
        "decode": end - last,
        "peak": 1024 * int(status["VmHWM"].split()[0]),
    }


def least_of_a_step(dtype: str) -> dict[str, float]:
    """Seconds of one guided step's convolutions, matrix products and attention alone: each kind's sum."""
    import torch

    from floor import floor_of
    from minisd import SD15
    from minisd.unet import UNet

    with torch.device("meta"):  # shapes without numbers
        unet = UNet(SD15["unet"]).eval()
        inputs = torch.empty(2, 4, SIZE // 8, SIZE // 8), 1, torch.empty(2, 77, 768)
    kinds = floor_of(unet, inputs, getattr(torch, dtype))
    return {**kinds, "step": sum(kinds.values())}


FLOORS = {"floor": "float32", "floor, bfloat16": "bfloat16"}


def measure(who: str, folder: Path) -> dict:
    """One painter's picture, or a floor, in a fresh process."""
    return fresh(Path(__file__), "--worker", who, "--weights", folder, "--born", repr(time.time()))


def work(who: str, folder: Path, born: float) -> dict:
    """What the fresh process measures."""
    return least_of_a_step(FLOORS[who]) if who in FLOORS else paint(who, folder, born)


def picture_table(results: dict) -> str:
    """A row for each painter: medians."""
    rows = []
    for who in PAINTERS:
        found = [middle(results["runs"], who, name) for name in ("start", "first", "step", "decode")]
        rows.append(
            [who, *(f"{value:.1f}" for value in found), f"{middle(results['runs'], who, 'peak') / 1e9:.2f}"]
        )
    rows += [[who, "", "", f"{middle(results['runs'], who, 'step'):.1f}", "", ""] for who in FLOORS]
    return table(
        ["", "s to the first step", "s to its end", "s a step", "s to decode", "GB at the peak"], rows
    )


CHANNELS_LAST = ("minisd, channels last", "diffusers, channels last")
RATIOS = {  # what is compared in fullsize.md: ours, theirs, the figure
    "a guided step, float32": ("minisd", "diffusers", "step"),
    "a guided step, theirs with channels last": ("minisd", "diffusers, channels last", "step"),
    "a guided step, both with channels last": (*CHANNELS_LAST, "step"),
    "a guided step, against the floor": ("minisd", "floor", "step"),
    "the same with channels last": (CHANNELS_LAST[0], "floor", "step"),
    "a guided step, bfloat16": ("minisd, bfloat16", "diffusers, bfloat16", "step"),
    "a guided step, our bfloat16 against our float32": ("minisd, bfloat16", "minisd", "step"),
    "from the command to the first step, folder": ("minisd", "diffusers", "start"),
    "from the command to the first step, single file": (
        "minisd, single file",
        "diffusers, single file",
        "start",
    ),
    "from the command to the first step's end, folder": ("minisd", "diffusers", "first"),
    "peak memory of a picture": ("minisd", "diffusers", "peak"),
    "the same, both with channels last": (*CHANNELS_LAST, "peak"),
    "decoding": ("minisd", "diffusers", "decode"),
}


def whole_picture(run: dict, who: str, steps: int) -> float:
    """Seconds of a picture in so many steps: its start, its first step, the others, its decoding."""
    found = run[who]
    return found["first"] + (steps - 1) * found["step"] + found["decode"]


EXACT = {who: [who, f"{who}, channels last"] for who in ("minisd", "diffusers")}  # float32, in two orders


def picture_ratio(results: dict, steps: int) -> dict[str, float]:
    """Whole pictures in so many steps, the faster setting of ours against that of theirs, round by round."""
    ratios = []
    for run in results["runs"]:
        ours, theirs = (min(whole_picture(run, who, steps) for who in EXACT[name]) for name in EXACT)
        ratios.append(ours / theirs)
    return {"median": median(ratios), "least": min(ratios), "most": max(ratios)}


def markdown(results: dict) -> str:
    """The whole of fullsize.md."""
    rows = [[what, ratio_text(compared(results["runs"], *names))] for what, names in RATIOS.items()]
    rows += [
        [
            f"a picture in {steps} steps, by its stages, the faster order of each",
            ratio_text(picture_ratio(results, steps)),
        ]
        for steps in (20, 50)
    ]
    kinds = ("convolutions", "matrix products", "attention")
    parts = ", ".join(f"{kind} {middle(results['runs'], 'floor', kind):.1f} s" for kind in kinds)
    return f"""# A whole picture of Stable Diffusion 1.5, on the CPU

Written by `python benchmarks/fullsize.py`; the figures are those of `fullsize.json`.

Random weights of full size, 512 x 512 pixels, guidance 7.5. {where_and_when(results)}
Medians of {results["rounds"]} rounds; everyone has a fresh process in every round. The peak is of all
resident memory (VmHWM), pages of mapped files included.

{picture_table(results)}

The floor in float32 is {parts}: each shape
alone, at its fastest here. "Channels last" is
`pipe.unet.to(memory_format=torch.channels_last)` and the same of the VAE: weights are laid out once as
convolutions read them, instead of at every call, and then stand in memory beside the mapped file.

| ours against theirs | ratio (least and most of the rounds) |
|---|--:|
{chr(10).join(f"| {what} | {ratio} |" for what, ratio in rows)}
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time pictures of SD 1.5's size, here and in diffusers.")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes timed for each painter")
    parser.add_argument(
        "--weights", type=Path, help="a folder as peers.make_folder writes it; made if it isn't there"
    )
    parser.add_argument("--temporary", type=Path, help="where 9 GB find room, if --weights is not given")
    parser.add_argument(
        "--out", type=Path, default=HERE / "fullsize.json", help="the table goes beside it, as .md"
    )
    parser.add_argument("--worker", choices=[*PAINTERS, *FLOORS], help=argparse.SUPPRESS)
    parser.add_argument("--born", type=float, default=time.time(), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.worker:
        print(json.dumps(work(options.worker, options.weights, options.born)))
        return
    before = now_and_here("torch", "diffusers", "transformers")
    with tempfile.TemporaryDirectory(dir=options.temporary) as temporary:
        folder = options.weights or Path(temporary, "full")
        if not folder.exists():
            make_folder(folder)
        names = [*PAINTERS, *FLOORS]
        runs = in_turn(names, lambda who: measure(who, folder), options.rounds, "painting")
    results = {**before, "rounds": options.rounds, "runs": runs}
    write_json(results, options.out)
    write_text(markdown(results), options.out.with_suffix(".md"))
    print(picture_table(results))


if __name__ == "__main__":
    main()
