"""How closely paintings keep to a plan: to a map of what is where, and to a drawing of the outlines.

    python benchmarks/plans.py                 paint, measure, write plans.json, plans.md and the model card
    python benchmarks/plans.py --write-card    write minisd/tiny_plans/README.md from plans.json again

Each scene is rendered twice, with two seeds: one picture gives the plan that is asked for, the other a plan
of the same things in other places. All paintings of a scene begin with the same noise and read the same
words, so that two rows of the table differ in the plan alone.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from common import HERE, SEED, count, heading, on_machine, table, with_interval, write_text
from minisd import StableDiffusion
from minisd.checkpoint import WEIGHTS, read_json, write_json
from minisd.files import digest
from minisd.models import CONTROLNETS
from minisd.scenes import Scene, caption, edge_agreement, outlines, overlap, sample, semantic_map
from minisd.scenes.anatomy import examine
from minisd.scenes.judge import Judge
from minisd.scenes.render import render_with_parts
from minisd.scenes.surveyor import Surveyor, astray, things_in

ROOM = 40_000_000  # where these seeds begin, above SEED: the other benchmarks stay below
NEAR = 6  # pixels by which a thing's middle may lie beside the plan's
STEPS, BATCH = 30, 8
RESAMPLED = 2000  # times, for an interval
SHARES = {"place": f"things within {NEAR} pixels of their place, %", "right": "right, %", "whole": "whole, %"}
MEANS = {"overlap": "overlap of the things", "pixels": "pixels as in the map", "edges": "edge agreement"}
NO_PLAN, MAP, OUTLINES = "words alone", "words and map", "words and outlines"
OTHER_MAP, OTHER_OUTLINES = "words and another picture's map", "words and another picture's outlines"
VAE, RENDER = "the true picture, through the VAE", "the true picture"
ROWS = (NO_PLAN, OTHER_MAP, MAP, OTHER_OUTLINES, OUTLINES, VAE, RENDER)

Drawn = tuple[np.ndarray, np.ndarray]  # pictures and their parts, uint8


def asked_for(n: int) -> tuple[list[Scene], Drawn, Drawn]:
    """Complete scenes of seen pairs, the pictures that are asked for, and others of the same scenes."""
    seeds = range(SEED + ROOM, SEED + ROOM + n)
    scenes = [sample(np.random.default_rng(seed), "train", full=True) for seed in seeds]
    drawn = []
    for shift in (0, n):
        pairs = [render_with_parts(scene, seed + shift) for scene, seed in zip(scenes, seeds, strict=True)]
        drawn.append(tuple(map(np.stack, zip(*pairs))))
    return scenes, drawn[0], drawn[1]


def plans_of(drawn: Drawn, other: Drawn) -> dict[str, np.ndarray | None]:
    """What each row of the table is painted with."""
    return {
        NO_PLAN: None,
        OTHER_MAP: semantic_map(other[1]),
        MAP: semantic_map(drawn[1]),
        OTHER_OUTLINES: outlines(other[0]),
        OUTLINES: outlines(drawn[0]),
    }


def painted(
    pipe: StableDiffusion, scenes: Sequence[Scene], plans: np.ndarray | None, steps: int, bar: tqdm
) -> np.ndarray:
    """The scenes in words, painted, uint8; picture i begins with the noise of seed i."""
    said = [caption(scene, np.random.default_rng(i)) for i, scene in enumerate(scenes)]
    pictures = []
    for i in range(0, len(said), BATCH):
        shown = None if plans is None else [Image.fromarray(plan) for plan in plans[i : i + BATCH]]
        options = {} if shown is None else {"control_image": shown}
        pictures += pipe(said[i : i + BATCH], num_inference_steps=steps, seed=i, **options)
        bar.update(len(said[i : i + BATCH]))
    return np.stack([np.asarray(picture) for picture in pictures])


def through_the_vae(pipe: StableDiffusion, pictures: np.ndarray) -> np.ndarray:
    """Encoded and decoded, uint8."""
    found = []
    with torch.inference_mode():
        for chunk in np.array_split(pictures, max(1, len(pictures) // BATCH)):
            x = torch.from_numpy(chunk).permute(0, 3, 1, 2).float() / 127.5 - 1
            found.append(pipe.decode(pipe.vae.scaling_factor * pipe.vae.encode(x).mean))
    return (np.concatenate(found) * 255 + 0.5).astype(np.uint8)


def measured(
    pictures: np.ndarray, scenes: Sequence[Scene], drawn: Drawn, read: Callable, judge: Judge
) -> dict:
    """What pictures have in common with those that were asked for, each picture or thing by itself."""
    found: dict[str, list] = {name: [] for name in (*SHARES, *MEANS)}
    seen_parts, seen_scenes = read(pictures), judge.read(pictures)
    for picture, scene, true, parts, seen, says in zip(
        pictures, scenes, *drawn, seen_parts, seen_scenes, strict=True
    ):
        pairs = [(parts == kind, seen == kind) for kind in things_in(parts)]
        found["place"] += [astray(a, b) <= NEAR for a, b in pairs]
        found["overlap"].append(float(np.mean([overlap(a, b) for a, b in pairs])))
        found["pixels"].append(float((parts == seen).mean()))
        found["edges"].append(edge_agreement(outlines(true), outlines(picture)))
        found["right"].append(says == scene)
        found["whole"].append(says == scene and not examine(picture, scene).slips)
    return {name: count(found[name]) for name in SHARES} | {
        name: [round(value, 4) for value in found[name]] for name in MEANS
    }


def mean_with_interval(values: Sequence[float]) -> str:
    """'0.62 (0.60–0.64)': the mean, and the middle 95 % of the means of pictures drawn again and again."""
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLED, len(values)))
    low, high = np.quantile(np.asarray(values)[drawn].mean(axis=1), [0.025, 0.975])
    return f"{np.mean(values):.2f} ({low:.2f}–{high:.2f})"


def plans_table(results: dict) -> str:
    """The rows and what was measured, with 95 % intervals."""
    rows = [
        [
            name,
            with_interval(cell["place"]),
            *(mean_with_interval(cell[key]) for key in MEANS),
            with_interval(cell["right"]),
            with_interval(cell["whole"]),
        ]
        for name, cell in results["cells"].items()
    ]
    head = ["", SHARES["place"], *MEANS.values(), SHARES["right"], SHARES["whole"]]
    return table(head, rows)


def explained(results: dict) -> str:
    """What the columns of the table are."""
    things = results["cells"][MAP]["place"]["n"]
    return f"""{results["n"]} scenes of seen pairs with {things} things, {results["steps"]} DDIM steps, \
guidance {results["guidance_scale"]:g}; in brackets 95 % intervals (Wilson's for shares, bootstrap over \
pictures for means). All rows have the same words and the same noise. Another picture's plan shows the same \
things in other places; its paintings, too, are compared with the picture that the row *{MAP}* asks for.

A *surveyor*, a network trained on renders alone, reads which part of the scene each pixel of a picture \
belongs to. *Place*: the middle of a thing's pixels, against the plan's. *Overlap*: intersection over union, \
averaged over a picture's things. *Edge agreement*: the F score of outline pixels that have one of the other \
drawing's within one pixel. *Right*: the judge reads all that the words say. *Whole*: right, and no slip is \
found in the things' parts and the lights (minisd/scenes/anatomy.py). The last two rows are what the VAE and \
the readers themselves leave of the true picture: no painting can be expected to do better than the first of \
them."""


def markdown(results: dict) -> str:
    return f"""# Plans: maps and outlines

How closely `tiny` with the ControlNet `tiny-plans` keeps to a plan. `python benchmarks/plans.py`, \
{results["date"]}, on {on_machine(results["machine"])}.

{plans_table(results)}

{explained(results)}
"""


def card(results: dict, training: dict, folder: Path) -> str:
    """The ControlNet's model card."""
    return f"""---
license: apache-2.0
library_name: diffusers
language: en
tags:
  - controlnet
  - stable-diffusion
  - from-scratch
  - education
---

# tiny-plans

A ControlNet for the small model `tiny` of the textbook `minisd`: it reads a plan of the picture beside the \
words. One network reads two kinds of plan, both of 128x128 pixels, in RGB: maps in the colours of \
`minisd.scenes.semantic_map`, a colour for each part of the scene (sky, hills, ground, eight kinds of \
things), and white outlines on black, as `minisd.scenes.outlines` draws them.

```python
from PIL import Image

from minisd import StableDiffusion
from minisd.scenes import parse, parts_of_picture, semantic_map

words = "a big red house left of a small yellow tent in the snow at night"
plan = semantic_map(parts_of_picture(parse(words), seed=3))  # or draw your own
pipe = StableDiffusion.from_pretrained("tiny", controlnet="tiny-plans")
image = pipe(words, control_image=Image.fromarray(plan))[0]
```

The folder has diffusers' layout; `diffusers.ControlNetModel.from_pretrained` opens it as well.

## Training

```sh
python -m minisd.training.control --out runs/plans
```

{training["pictures"]:,} renders of `minisd.scenes` from seed {training["seed"]}, none of them with a \
held-out pair of colour and kind. Half of every batch are maps, the other half outlines; \
{100 * training["plan_dropout"]:.0f} % of the plans are left black, \
{100 * training["caption_dropout"]:.0f} % of the captions empty. `tiny` stays as it is. \
{training["steps"]:,} steps of {training["batch_size"]} pictures, \
{training["seconds"] / 60:.0f} minutes by the clock on {on_machine(training["machine"])}; the last loss is \
{training["losses"][-1]:.4f}. {(folder / WEIGHTS).stat().st_size:,} bytes, half precision.

It fits these weights of `tiny` alone, although any U-Net of the same shape will load it.

## Scores

Measured on {results["date"]} by `python benchmarks/plans.py`.

{plans_table(results)}

{explained(results)}

## Limits

It knows plans as these two functions make them: a map in other colours, lines of another thickness or drawn \
by another detector are plans that it has never seen.

## Licence

Apache-2.0.
"""


def write_card(results: dict, folder: Path) -> Path:
    write_text(card(results, read_json(folder / "training.json"), folder), folder / "README.md")
    return folder / "README.md"


def measure(n: int, steps: int, model: str, folder: Path) -> dict:
    pipe = StableDiffusion.from_pretrained(model, "cpu", controlnet=folder)
    surveyor, judge = Surveyor.load(), Judge.load()
    scenes, drawn, other = asked_for(n)
    cells = {}
    with tqdm(total=5 * n, desc="painting", unit="picture") as bar:
        for name, plans in plans_of(drawn, other).items():
            pictures = painted(pipe, scenes, plans, steps, bar)
            cells[name] = measured(pictures, scenes, drawn, surveyor.read, judge)
    cells[VAE] = measured(through_the_vae(pipe, drawn[0]), scenes, drawn, surveyor.read, judge)
    cells[RENDER] = measured(drawn[0], scenes, drawn, surveyor.read, judge)
    return {
        **heading(model),
        "controlnet": {"sha256": digest(folder / WEIGHTS)},
        "n": n,
        "steps": steps,
        "guidance_scale": pipe.guidance_scale,
        "cells": {name: cells[name] for name in ROWS},
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure how closely paintings keep to a plan.")
    add = parser.add_argument
    add("--n", type=int, default=120, help="scenes (120)")
    add("--steps", type=int, default=STEPS, help=f"DDIM steps ({STEPS})")
    add("--model", default="tiny", help="tiny or a model folder")
    add("--controlnet", type=Path, default=CONTROLNETS["tiny-plans"], help="folder of the ControlNet")
    add("--out", type=Path, default=HERE / "plans.json", help="the results; a table goes beside them")
    add("--write-card", action="store_true", help="only write the ControlNet's README.md, from --out")
    options = parser.parse_args(arguments)
    if not options.write_card:
        results = measure(options.n, options.steps, options.model, options.controlnet)
        write_json(results, options.out)
        write_text(markdown(results), options.out.with_suffix(".md"))
        print(plans_table(results))
    if (options.controlnet / "training.json").is_file():
        print(write_card(read_json(options.out), options.controlnet))


if __name__ == "__main__":
    main()
