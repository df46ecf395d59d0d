"""What bfloat16 changes on the small model: adherence, pixels, seconds.

    python benchmarks/precision.py                   measure, write precision.json and precision.md

The same prompts and seeds are painted in float32 and in bfloat16. bfloat16 may become a default only where
pictures keep their promises (adherence at most 2 points lower, and no sign in the pairs that it is lower at
all) and it is faster for one picture too.
"""

import argparse
import time
from itertools import chain
from pathlib import Path
from statistics import median

import numpy as np
import torch
from tqdm import tqdm

from adherence import GROUPS, model_painter, prompts
from common import HERE, count, heading, now_and_here, table, where_and_when, with_interval, write_text
from minisd import StableDiffusion
from minisd.checkpoint import write_json
from minisd.scenes.judge import Judge

DTYPES = ("float32", "bfloat16")
STEPS, BATCH = 30, 20


def measure(n: int, steps: int = STEPS) -> dict:
    """Paint n prompts of each group in both precisions, batch by batch in turn."""
    pipes = {name: StableDiffusion.from_pretrained("tiny", "cpu", getattr(torch, name)) for name in DTYPES}
    painters = {name: model_painter(pipe, pipe.guidance_scale, steps) for name, pipe in pipes.items()}
    judge, right, seconds, distance = (
        Judge.load(),
        {name: {} for name in DTYPES},
        {name: [] for name in DTYPES},
        [],
    )
    with tqdm(total=n * len(GROUPS), unit="prompt") as bar:
        for group in GROUPS:
            for name in DTYPES:
                right[name][group] = []
            asked = prompts(group, n)
            for i in range(0, n, BATCH):
                some, pictures = asked[i : i + BATCH], {}
                for name, painter in painters.items():
                    start = time.perf_counter()
                    pictures[name] = painter(some)
                    seconds[name].append((time.perf_counter() - start) / len(some))
                    seen = judge.read(pictures[name])
                    right[name][group] += [p.scene.admits(scene) for p, scene in zip(some, seen, strict=True)]
                gap = np.abs(pictures["float32"] - pictures["bfloat16"])
                distance += [float(value) for value in gap.mean(axis=(1, 2, 3))]
                bar.update(len(some))
    return {
        "right": {
            name: {group: count(found) for group, found in groups.items()} for name, groups in right.items()
        },
        "pairs": pairs(*(list(chain.from_iterable(right[name].values())) for name in DTYPES)),
        "seconds": {name: median(values) for name, values in seconds.items()},
        "distance": {"median": median(distance), "most": max(distance)},
    }


def pairs(plain: list[bool], half: list[bool]) -> dict[str, int]:
    """How many prompts are right with one precision only."""
    return {
        "float32 only": sum(a and not b for a, b in zip(plain, half, strict=True)),
        "bfloat16 only": sum(b and not a for a, b in zip(plain, half, strict=True)),
    }


def markdown(results: dict) -> str:
    """The whole of precision.md."""
    rows = [[group, *(with_interval(results["right"][name][group]) for name in DTYPES)] for group in GROUPS]
    only, seconds, distance = results["pairs"], results["seconds"], results["distance"]
    return f"""# What bfloat16 changes on the small model

Written by `python benchmarks/precision.py`; the figures are those of `precision.json`.

`tiny`, {STEPS} DDIM steps at its default guidance, batches of {BATCH}. {where_and_when(results)}

{table(["everything right, %", *DTYPES], rows)}

Right in float32 only: {only["float32 only"]} prompts; in bfloat16 only: {only["bfloat16 only"]}. A pixel
differs by {255 * distance["median"]:.1f} of 255 on average (median of the pictures; at most
{255 * distance["most"]:.1f}). A picture of the batch takes {seconds["bfloat16"]:.3f} s instead of
{seconds["float32"]:.3f}, {seconds["bfloat16"] / seconds["float32"]:.2f} of the time.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare tiny in float32 and in bfloat16.")
    parser.add_argument("--n", type=int, default=100, help="prompts of each group")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--out", type=Path, default=HERE / "precision.json", help="the table goes beside it, as .md"
    )
    options = parser.parse_args(arguments)
    if options.n < 1:
        parser.error("--n must be at least 1")
    results = {**now_and_here("torch"), **heading("tiny"), **measure(options.n, options.steps)}
    write_json(results, options.out)
    write_text(markdown(results), options.out.with_suffix(".md"))
    print(markdown(results))


if __name__ == "__main__":
    main()
