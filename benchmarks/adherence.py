"""How often everything that a caption says is right in the picture, as the judge reads it.

    python benchmarks/adherence.py                   paint, judge, write adherence.json and adherence.md
    python benchmarks/adherence.py --write-readme    put the table of adherence.json into README.md

The prompts are captions of complete scenes: every size, the ground and the hour are stated, two things
are ordered. Their seeds are never used in training. A run that was stopped goes on after the last
finished cell when the same command is given again.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from common import (
    HERE,
    ROOT,
    SEED,
    count,
    heading,
    on_machine,
    percent,
    read_results,
    table,
    with_interval,
    write_text,
)
from minisd import StableDiffusion
from minisd.checkpoint import read_json, write_json
from minisd.pictures import to_pil
from minisd.scenes import Scene, Thing, caption, render_many, sample
from minisd.scenes.judge import Judge
from minisd.sheets import labelled_sheet
from minisd.teaching.book import between
from minisd.training.data import training_scenes
from minisd.training.recipe import read_recipe

GROUPS = {  # split and number of things
    "one object, seen pairs": ("train", 1),
    "one object, held-out pair": ("held_out", 1),
    "two objects, seen pairs": ("train", 2),
    "two objects, a held-out pair": ("held_out", 2),
}
ROOM = 100_000  # seeds that each group has to itself
ATTRIBUTES = ("count", "kind", "colour", "size", "order", "ground", "hour")
SAMPLER = "ddim"
RECIPE = "minisd/training/tiny.toml"  # whose training scenes the prompts are compared with
SHOWN = 24  # failures on the sheet
SCORES_START, SCORES_END = "<!-- scores -->", "<!-- /scores -->"


@dataclass(frozen=True)
class Prompt:
    """A scene, one way to say it, and the seed that its picture is painted or rendered from."""

    scene: Scene
    text: str
    seed: int


Painter = Callable[
    [list[Prompt]], np.ndarray
]  # prompts with seeds in a row -> pictures (number, 128, 128, 3)


def prompts(group: str, n: int) -> list[Prompt]:
    """The first n prompts of a group; prompt i is the same for every n."""
    split, things = GROUPS[group]
    first = SEED + ROOM * list(GROUPS).index(group)
    found = []
    for seed in range(first, first + n):
        rng = np.random.default_rng(seed)
        scene = sample(rng, split, things, full=True)
        found.append(Prompt(scene, caption(scene, rng), seed))
    return found


def match(wanted: tuple[Thing, ...], seen: tuple[Thing, ...]) -> tuple[list[tuple[Thing, Thing]], bool]:
    """Which thing seen answers to which thing wanted, and whether that is in order, the first to the first.

    Most kinds right decides, then most colours, then most sizes; a tie is taken in order.
    """
    ways = [list(zip(wanted, seen)), list(zip(wanted, seen[::-1])), list(zip(wanted[::-1], seen))]

    def right(way: list[tuple[Thing, Thing]], name: str) -> int:
        return sum(getattr(a, name) == getattr(b, name) for a, b in way)

    best = max(ways, key=lambda way: (right(way, "kind"), right(way, "colour"), right(way, "size")))
    return best, best is ways[0]


def compare(wanted: Scene, seen: Scene) -> dict[str, bool]:
    """What is right, attribute by attribute; all of it exactly if the picture is wholly right.

    Things are matched first, so that a mirrored picture errs in its order alone. Where a thing is
    missing or too many, kind, colour and size are those of the things that match best, and order is
    not judged.
    """
    pairs, in_order = match(wanted.things, seen.things)
    verdict = {"count": len(wanted.things) == len(seen.things)}
    for name in ("kind", "colour", "size"):
        verdict[name] = all(getattr(asked, name) == getattr(found, name) for asked, found in pairs)
    if len(wanted.things) == len(seen.things) == 2:
        verdict["order"] = in_order
    return verdict | {"ground": wanted.ground == seen.ground, "hour": wanted.hour == seen.hour}


def score(judge: Judge, paint: Painter, asked: list[Prompt], batch: int, bar: tqdm | None = None) -> dict:
    """Paint all prompts and count what is right: "right", "n", "attributes", "failed" (places), "seconds"."""
    seen: list[Scene] = []
    start = time.perf_counter()
    for i in range(0, len(asked), batch):
        some = asked[i : i + batch]
        seen += judge.read(paint(some))
        if bar is not None:
            bar.update(len(some))
    seconds = time.perf_counter() - start
    whole = [prompt.scene.admits(scene) for prompt, scene in zip(asked, seen, strict=True)]
    verdicts = [compare(prompt.scene, scene) for prompt, scene in zip(asked, seen, strict=True)]
    return {
        **count(whole),
        "seconds": round(seconds, 2),
        "attributes": {name: count([v[name] for v in verdicts if name in v]) for name in ATTRIBUTES},
        "failed": [i for i, right in enumerate(whole) if not right],
    }


def true_renders(asked: list[Prompt]) -> np.ndarray:
    """The perfect painter: the scenes themselves, for the judge's own error."""
    return render_many([prompt.scene for prompt in asked], [prompt.seed for prompt in asked], workers=1)


def model_painter(pipe: StableDiffusion, scale: float, steps: int) -> Painter:
    """The model at one guidance scale."""

    def paint(asked: list[Prompt]) -> np.ndarray:
        texts, seed = [prompt.text for prompt in asked], asked[0].seed
        painting = pipe.stream(
            texts, num_inference_steps=steps, guidance_scale=scale, seed=seed, sampler=SAMPLER
        )
        *_, last = painting
        return pipe.decode(last.latents)

    return paint


def plan(n: int, scale_n: int, default: float, scales: list[float]) -> list[tuple[str, float | None, int]]:
    """All cells to fill: group, guidance scale (None for true renders), number of prompts."""
    sizes: dict[float | None, int] = {
        None: n,
        default: n,
        **{scale: min(scale_n, n) for scale in scales if scale != default},
    }
    return [(group, scale, size) for group in GROUPS for scale, size in sizes.items()]


def distinct_scenes(n: int) -> dict[str, dict[str, int]]:
    """How many scenes each group's n prompts tell apart, and how many of them RECIPE's training draws."""
    recipe = read_recipe(ROOT / RECIPE)
    known = set(training_scenes(recipe.pictures, recipe.seed))
    scenes = {group: {prompt.scene for prompt in prompts(group, n)} for group in GROUPS}
    return {
        group: {"distinct": len(found), "in_training": len(found & known)} for group, found in scenes.items()
    }


def estimate(pipe: StableDiffusion, todo: list, steps: int, batch: int) -> None:
    """Time one batch at the default scale and say how long the rest will take.

    At scale 1 guidance needs no second pass of the U-Net, so it takes somewhat less.
    """
    paint, asked = model_painter(pipe, pipe.guidance_scale, steps), prompts(next(iter(GROUPS)), batch)
    start = time.perf_counter()
    paint(asked)
    each = (time.perf_counter() - start) / batch
    left = sum(size for _, scale, size in todo if scale is not None)
    print(
        f"{each:.3f} s a picture in batches of {batch}; {left} pictures: about {left * each / 60:.0f} minutes"
    )


def measure(pipe: StableDiffusion, judge: Judge, results: dict, unfinished: Path) -> dict:
    """Fill all cells that `results` lacks; what is there so far is kept in the file `unfinished`."""
    settings = results["settings"]
    todo = plan(settings["n"], settings["scale_n"], settings["guidance_scale"], settings["scales"])
    done = {(cell["group"], cell["guidance_scale"]) for cell in results["cells"]}
    todo = [cell for cell in todo if cell[:2] not in done]
    if any(scale is not None for _, scale, _ in todo):
        estimate(pipe, todo, settings["steps"], settings["batch"])
    with tqdm(total=sum(size for *_, size in todo), unit="picture") as bar:
        for group, scale, size in todo:
            bar.set_description(group + (", renders" if scale is None else f", scale {scale:g}"))
            paint = true_renders if scale is None else model_painter(pipe, scale, settings["steps"])
            found = score(judge, paint, prompts(group, size), settings["batch"], bar)
            results["cells"].append({"group": group, "guidance_scale": scale, **found})
            write_json(results, unfinished)
    return results


def start_or_resume(fresh: dict, unfinished: Path) -> dict:
    """The results so far where they are of the same model, machine and settings, else `fresh`."""
    if unfinished.is_file():
        old = read_json(unfinished)
        if all(old[key] == fresh[key] for key in ("machine", "model", "settings")):
            return old
    return fresh


def cell_of(results: dict, group: str, scale: float | None) -> dict:
    """The cell of a group at a guidance scale; None is the judge's reading of true renders."""
    return next(c for c in results["cells"] if c["group"] == group and c["guidance_scale"] == scale)


def scales_of(results: dict) -> list[float]:
    """All guidance scales measured, in order."""
    return sorted({cell["guidance_scale"] for cell in results["cells"]} - {None})


def summary(results: dict) -> str:
    """One table: everything right at the default scale, the judge's own reading, the other scales, the
    scenes.
    """
    settings = results["settings"]
    default, scales = settings["guidance_scale"], scales_of(results)
    others = [scale for scale in scales if scale != default]
    head = ["everything right, %", f"guidance {default:g}", "the judge on true renders"]
    rows = [
        [
            group,
            with_interval(cell_of(results, group, default)),
            percent(cell_of(results, group, None)),
            *(percent(cell_of(results, group, scale)) for scale in others),
            *(str(results["scenes"][group][name]) for name in ("distinct", "in_training")),
        ]
        for group in GROUPS
    ]
    head += [f"guidance {scale:g}" for scale in others]
    return table([*head, "distinct scenes", "of them drawn in training"], rows)


def asked_for(results: dict) -> str:
    """What the rows of the summary are made of, in words."""
    s = results["settings"]
    others = (
        f" ({min(s['n'], s['scale_n'])} at the other guidance scales)" if len(scales_of(results)) > 1 else ""
    )
    return (
        f"{s['n']} prompts a row{others}, new in wording and noise; the world is small, so the table "
        f"tells how many distinct scenes they state, and how many of those were drawn in training, by "
        f"`{results['recipe']}`"
    )


def readme_block(results: dict) -> str:
    """What stands between the README's score marks."""
    s = results["settings"]
    return (
        f"{summary(results)}\n\n"
        f"{asked_for(results)}. {s['steps']} DDIM steps; in brackets the 95 % interval. "
        "More: [where it fails](benchmarks/adherence.md), [the autoencoder and the text encoder by "
        "themselves](benchmarks/parts.md), [speed](benchmarks/speed.md)."
    )


def breakdown(results: dict, scale: float | None) -> str:
    """A table of the attributes that were right at one scale, or on true renders."""
    rows = [
        [group, *(percent(cell_of(results, group, scale)["attributes"][name]) for name in ATTRIBUTES)]
        for group in GROUPS
    ]
    return table(["right, %", *ATTRIBUTES], rows)


def markdown(results: dict) -> str:
    """The whole of adherence.md."""
    s, default = results["settings"], results["settings"]["guidance_scale"]
    painted = [cell for cell in results["cells"] if cell["guidance_scale"] is not None]
    seconds, pictures = sum(cell["seconds"] for cell in painted), sum(cell["n"] for cell in painted)
    sweep = [
        [
            group,
            *(
                f"{with_interval(cell)}, n = {cell['n']}"
                for cell in (cell_of(results, group, scale) for scale in scales_of(results))
            ),
        ]
        for group in GROUPS
    ]
    return f"""# Does the picture show what the prompt says?

Written by `python benchmarks/adherence.py`; the figures are those of `adherence.json`.

Model `{results["model"]["name"]}`, {results["date"]}, {on_machine(results["machine"])}.

{asked_for(results)}. No held-out pair is in a training scene.

{s["steps"]} {s["sampler"].upper()} steps. A picture counts only if the judge finds everything that its \
prompt states: kinds,
colours, sizes, number, order, ground, hour. In brackets: 95 % intervals (Wilson). On true renders of the \
same scenes
the judge errs too, and a painter without fault would score what stands in that column.

{summary(results)}

## Where it fails, at guidance {default:g}

The share of pictures in which an attribute is right for all things. Things are matched first, so a \
mirrored picture
errs in its order alone. Where a thing is missing or too many, its kind, colour and size are left out, \
and so is the
order.

{breakdown(results, default)}

The judge on true renders:

{breakdown(results, None)}

## Guidance

The same prompts and seeds at every scale, the first {min(s["n"], s["scale_n"])} of them where n is smaller.

{table(["everything right, %", *(f"{scale:g}" for scale in scales_of(results))], sweep)}

## Time

Painting and judging took {seconds / pictures:.2f} s a picture, {seconds:.0f} s for {pictures} pictures \
in batches of {s["batch"]}.
"""


def with_scores(text: str, block: str) -> str:
    """The README with the block between its score marks."""
    return between(text, SCORES_START, SCORES_END, block)


def failures(results: dict) -> list[Prompt]:
    """The first failures at the default scale, each group's in turn."""
    settings = results["settings"]
    of_groups = []
    for group in GROUPS:
        asked = prompts(group, settings["n"])
        failed = cell_of(results, group, settings["guidance_scale"])["failed"]
        of_groups.append([asked[i] for i in failed])
    return [prompt for prompt in chain.from_iterable(zip_longest(*of_groups)) if prompt is not None][:SHOWN]


def failures_sheet(pipe: StableDiffusion, judge: Judge, results: dict) -> Image.Image | None:
    """Failures painted again, each with its prompt and with what the judge saw; None if there is none."""
    settings = results["settings"]
    paint = model_painter(pipe, settings["guidance_scale"], settings["steps"])
    pictures, labels = [], []
    for prompt in tqdm(failures(results), desc="failures", unit="picture"):
        painted = paint([prompt])
        seen = caption(judge.read(painted)[0], np.random.default_rng(0))
        pictures += to_pil(painted)
        labels.append(f"{prompt.text}\nseen: {seen}")
    return labelled_sheet(pictures, labels, columns=6, scale=1) if pictures else None


def write_readme(results: dict, readme: Path = ROOT / "README.md") -> None:
    write_text(with_scores(readme.read_text(encoding="utf-8"), readme_block(results)), readme)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Judge how often a model paints all that a prompt says.")
    parser.add_argument("--model", default="tiny", help="tiny, or a model folder")
    parser.add_argument("--device", help="cpu, cuda, mps; by default a GPU where there is one")
    parser.add_argument(
        "--n", type=int, default=500, help="prompts of each group at the model's own guidance scale"
    )
    parser.add_argument(
        "--scales", type=float, nargs="*", default=[1, 2, 4, 7.5], help="other guidance scales"
    )
    parser.add_argument("--scale-n", type=int, default=125, help="prompts of each group at the other scales")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument(
        "--out", type=Path, default=HERE / "adherence.json", help="the table goes beside it, as .md"
    )
    parser.add_argument("--failures", type=Path, metavar="PNG", help="a sheet of the first failures")
    parser.add_argument(
        "--write-readme", action="store_true", help="paint nothing: README.md from the results"
    )
    options = parser.parse_args(arguments)
    if options.write_readme:
        write_readme(read_results("adherence"))
        return
    if min(options.n, options.scale_n, options.batch) < 1 or options.n > ROOM:
        parser.error(f"--n must be from 1 to {ROOM}, --scale-n and --batch at least 1")

    pipe, judge = StableDiffusion.from_pretrained(options.model, options.device), Judge.load()
    settings = {
        "n": options.n,
        "scale_n": options.scale_n,
        "guidance_scale": float(pipe.guidance_scale),
        "scales": sorted(map(float, set(options.scales))),
        "steps": options.steps,
        "batch": options.batch,
        "sampler": SAMPLER,
        "first_seed": SEED,
    }
    fresh = {**heading(options.model, str(pipe.device)), "settings": settings, "cells": []}
    unfinished = options.out.with_suffix(".unfinished.json")
    results = measure(pipe, judge, start_or_resume(fresh, unfinished), unfinished)
    results |= {"scenes": distinct_scenes(options.n), "recipe": RECIPE}
    write_json(results, options.out)
    write_text(markdown(results), options.out.with_suffix(".md"))
    unfinished.unlink()
    print(f"{summary(results)}\n\n{options.out}, {options.out.with_suffix('.md')}")
    if options.failures and (sheet := failures_sheet(pipe, judge, results)):
        sheet.save(options.failures)


if __name__ == "__main__":
    main()
