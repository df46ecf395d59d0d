"""The small model against diffusers, which opens the same files: seconds from a sentence to pixels.

    python benchmarks/little.py                      measure, write little.json and little.md

Both paint the same pictures, in 30 DDIM steps with guidance 7.5, in one process and in turn; with one thread
and with two, one picture and sixteen. Besides: what `import minisd` takes after `import torch`, and the shell
command from its start to the file, each in fresh processes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from common import (
    HERE,
    compared,
    fresh,
    middle,
    now_and_here,
    ratio_text,
    table,
    where_and_when,
    write_text,
)
from minisd.checkpoint import write_json
from speed import timed

PROMPT = "a red house left of a yellow tent in the snow at night"
STEPS, SCALE = 30, 7.5
CASES = {  # threads, pictures, rounds
    "one picture, one thread": (1, 1, 15),
    "one picture, two threads": (2, 1, 15),
    "sixteen pictures, one thread": (1, 16, 5),
    "sixteen pictures, two threads": (2, 16, 5),
}
IMPORT = """
import time, torch
start = time.time()
from minisd import StableDiffusion
print(time.time() - start)
"""


def duel(threads: int, pictures: int, rounds: int) -> list[dict]:
    """Seconds that each takes for the same batch, in turn; they are compared once."""
    import numpy as np
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    from minisd import StableDiffusion
    from minisd.models import TINY

    torch.set_num_threads(threads)
    ours = StableDiffusion.from_pretrained("tiny", "cpu")
    theirs = StableDiffusionPipeline.from_pretrained(TINY, safety_checker=None)
    theirs.scheduler = DDIMScheduler.from_config(theirs.scheduler.config)
    theirs.set_progress_bar_config(disable=True)
    prompts, options = [PROMPT] * pictures, {"num_inference_steps": STEPS, "guidance_scale": SCALE}
    latents = torch.randn(pictures, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    painters = {
        "minisd": lambda: ours(prompts, sampler="ddim", latents=latents, output_type="np", **options),
        "diffusers": lambda: theirs(prompts, latents=latents, output_type="np", **options).images,
    }
    first, second = (painter() for painter in painters.values())  # warms both up
    difference = float(np.abs(first - second).max())
    if difference > 1 / 255:
        raise RuntimeError(f"the two pictures differ by {difference:.4f}: they are not the same work")
    return [{who: {"seconds": timed(painter)} for who, painter in painters.items()} for _ in range(rounds)]


def step_and_floor(threads: int) -> dict:
    """Seconds of a guided step of one picture, and of its layers alone, kind by kind."""
    import torch

    from floor import floor_of, least
    from minisd import StableDiffusion
    from minisd.unet import UNet

    torch.set_num_threads(threads)
    pipe = StableDiffusion.from_pretrained("tiny", "cpu")
    width, tokens = pipe.unet.config.cross_attention_dim, pipe.tokenizer.max_length
    with torch.device("meta"):
        shapes = torch.empty(2, 4, 16, 16), 1, torch.empty(2, tokens, width)
        unet = UNet(pipe.unet.config).eval()
    kinds = floor_of(unet, shapes, runs=20)
    z, context = torch.randn(2, 4, 16, 16), torch.randn(2, tokens, width)
    with torch.inference_mode():
        step = least(lambda: pipe.unet(z, 500, context), 50)
    return {"step": step, **kinds}


def imports(runs: int) -> list[float]:
    """Seconds of `import minisd` after `import torch`, in fresh processes."""
    return [
        float(subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True).stdout)
        for _ in range(runs + 1)
    ][1:]


def first_pictures(runs: int) -> list[float]:
    """Seconds of the shell command from its start to its end, the picture in a file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "minisd", "paint", PROMPT, "--out", str(Path(folder, "x.png"))]
        return [
            timed(lambda: subprocess.run(command, capture_output=True, check=True)) for _ in range(runs + 1)
        ][1:]


def little_table(results: dict) -> str:
    """A row for each case."""
    rows = [
        [
            case,
            f"{middle(runs, 'minisd', 'seconds'):.2f}",
            f"{middle(runs, 'diffusers', 'seconds'):.2f}",
            ratio_text(compared(runs, "minisd", "diffusers", "seconds")),
        ]
        for case, runs in results["cases"].items()
    ]
    return table(["", "minisd, s", "diffusers, s", "ratio (least and most)"], rows)


def floor_text(found: dict) -> str:
    """A step against its floor, in a sentence."""
    kinds = {kind: 1e3 * seconds for kind, seconds in found.items() if kind != "step"}
    least, step = sum(kinds.values()), 1e3 * found["step"]
    parts = ", ".join(f"{kind} {milliseconds:.2f}" for kind, milliseconds in kinds.items())
    return (
        f"A guided step of one picture takes minisd {step:.1f} ms in one thread at the least; {least:.1f} ms "
        f"of them\nare what its layers take alone ({parts} ms), {step / least:.2f} times that."
    )


def markdown(results: dict) -> str:
    """The whole of little.md."""
    return f"""# The small model against diffusers

Written by `python benchmarks/little.py`; the figures are those of `little.json`.

`tiny`, {STEPS} DDIM steps, guidance {SCALE}, from the sentence to the pixels. {where_and_when(results)}
Medians of the rounds, in each of which both paint the same batch.

{little_table(results)}

{floor_text(results["floor"])}

- `import minisd` after `import torch`: {median(results["imports"]):.2f} s \
(median of {len(results["imports"])} processes).
- `minisd paint`, from the command to the file, imports included: {median(results["commands"]):.2f} s \
(median of {len(results["commands"])}; least {min(results["commands"]):.2f}).
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time the small model, here and in diffusers.")
    parser.add_argument("--runs", type=int, default=5, help="fresh processes for imports and the command")
    parser.add_argument("--rounds", type=int, help="of each case, instead of its own number")
    parser.add_argument(
        "--out", type=Path, default=HERE / "little.json", help="the table goes beside it, as .md"
    )
    parser.add_argument("--worker", choices=[*CASES, "floor"], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker == "floor":
        print(json.dumps(step_and_floor(threads=1)))
        return
    if options.worker:
        threads, pictures, rounds = CASES[options.worker]
        print(json.dumps({"runs": duel(threads, pictures, options.rounds or rounds)}))
        return
    if options.runs < 1 or (options.rounds or 1) < 1:
        parser.error("--runs and --rounds must be at least 1")
    os.environ.pop("OMP_NUM_THREADS", None)  # the cases say how many
    rounds = ["--rounds", options.rounds] if options.rounds else []
    results = {
        **now_and_here("torch", "diffusers", "transformers"),
        "imports": imports(options.runs),
        "commands": first_pictures(options.runs),
        "floor": fresh(Path(__file__), "--worker", "floor"),
        "cases": {case: fresh(Path(__file__), "--worker", case, *rounds)["runs"] for case in CASES},
    }
    write_json(results, options.out)
    write_text(markdown(results), options.out.with_suffix(".md"))
    print(little_table(results))


if __name__ == "__main__":
    main()
