"""The model card of the small model: minisd/tiny/README.md, all figures from files.

    python benchmarks/model_card.py --run runs/tiny  after a training: keep its seconds and losses in
                                                     training.json, then write the card
    python benchmarks/model_card.py                  write the card again from the files in benchmarks/

Run adherence.py, parts.py and speed.py first: scores of another model's weights are refused.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open

import adherence
import parts
import speed
from common import HERE, fingerprint, on_machine, percent, read_results, table, write_text
from minisd.checkpoint import read_json, write_json
from minisd.models import TINY
from minisd.scenes import COLOURS, GROUNDS, HELD_OUT, HOURS, KINDS
from minisd.training.loop import LOG_EVERY
from minisd.training.recipe import Phase, Recipe, read_recipe

SCORES = ("adherence", "parts", "speed")
COMMANDS = {
    "tokenizer": (),
    "clip": ("clip",),
    "vae": ("vae", "decoder"),
    "unet": ("unet",),
}  # what `minisd train` takes: the stages, by the word before their "-"
READING = """\
The text encoder and an image encoder learn together by CLIP's contrastive loss, from pictures and captions
alone: which caption of the batch belongs to which picture? They are never told what is in them, but the
grammar helps to choose the batches. Captions that happen to be true of another picture are left out, and
every caption comes with one that is wrong in one thing. In the second phase (clip-twins) a picture of two
things comes with its mirror image, too, and with the colours swapped, so that the order of words has to be
read. OpenAI's CLIP has only the other pairs of the batch, and many more of them. The image encoder sees
pictures averaged down to {side}x{side} pixels. The U-Net reads with the text encoder, which it leaves as it \
is."""
HEADER = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
language: en
tags:
  - stable-diffusion
  - text-to-image
  - diffusers
  - from-scratch
  - education
---"""


def stages(recipe: Recipe) -> dict[str, Phase]:
    """The sections of the recipe that are trainings with a loss, in order, by their names."""
    return {
        "clip-mixed": recipe.clip.mixed,
        "clip-twins": recipe.clip.twins,
        "vae-corners": recipe.vae.corners,
        "vae-whole": recipe.vae.whole,
        "decoder": recipe.decoder,
        "unet": recipe.unet,
    }


def collect(run: Path, recipe: Recipe) -> dict:
    """What each stage of a training left in RUN/STAGE.json: seconds, losses, processes, machine.

    Raises FileNotFoundError for a stage that is not finished, ValueError for one of another recipe.
    """
    found = {}
    for name, section in stages(recipe).items():
        path = run / f"{name}.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: finish the training with minisd train all --out {run}"
            )
        found[name], points = read_json(path), math.ceil(section.steps / LOG_EVERY)
        if len(found[name]["losses"]) != points:
            raise ValueError(
                f"{path} holds {len(found[name]['losses'])} losses, {section.steps} steps make "
                f"{points}: it is of another recipe; train {name} again"
            )
    return found


def read_scores(folder: Path) -> dict[str, dict]:
    """The results of all benchmarks; ValueError if one is of other weights than those in `folder`."""
    found, weights = {name: read_results(name) for name in SCORES}, fingerprint(folder)
    for name, results in found.items():
        if results["model"]["sha256"] != weights:
            raise ValueError(
                f"benchmarks/{name}.json is of other weights than {folder}: run benchmarks/{name}.py again"
            )
    return found


def training_table(recipe: Recipe, training: dict) -> str:
    """A row for each stage: steps, batch, learning rate, last loss, seconds, processes, machine."""
    sections = stages(recipe)
    rows = [
        [
            name,
            f"{sections[name].steps:,}",
            str(sections[name].batch_size),
            rates(sections[name]),
            f"{stage['losses'][-1]:.4f}",
            f"{stage['seconds']:,.0f}",
            str(stage["processes"]),
            on_machine(stage["machine"]),
        ]
        for name, stage in training.items()
    ]
    return table(
        ["stage", "steps", "batch", "peak learning rate", "last loss", "seconds", "processes", "machine"],
        rows,
    )


def rates(phase: Phase) -> str:
    """The peak learning rate, and Muon's where it has the matrices."""
    return f"{phase.learning_rate_peak:g}" + (f", Muon {phase.muon_peak:g}" if phase.muon_peak else "")


def commands(training: dict) -> str:
    """What to type to train it again, with as many processes as each command's stages had at the most."""
    lines = []
    for command, sections in COMMANDS.items():
        most = max(
            (stage["processes"] for name, stage in training.items() if name.split("-")[0] in sections),
            default=1,
        )
        shared = f"OMP_NUM_THREADS=1 torchrun --nproc_per_node {most} --no-python " if most > 1 else ""
        lines.append(f"{shared}minisd train {command} --out runs/tiny")
    return "\n".join(lines)


def repeatable(training: dict) -> str:
    """How near a training by the same recipe comes to these weights."""
    shared = [name for name, stage in training.items() if stage["processes"] > 1]
    if not shared:
        return "One process trained each stage."
    alone = [
        name
        for name in training
        if name not in shared
        and any(
            name.split("-")[0] in sections and any(other.split("-")[0] in sections for other in shared)
            for sections in COMMANDS.values()
        )
    ]
    mixed = (
        f" A command's processes share all its stages; here {' and '.join(alone)} had one." if alone else ""
    )
    return (
        f"Several processes shared {phrase(shared, 'and')}.{mixed} Two processes draw other batches "
        "than one, so that the weights of a retraining with another number of them differ though the recipe "
        "is the same."
    )


def parameters(weights: Path) -> int:
    """How many numbers a safetensors file holds."""
    with safe_open(weights, framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def files_table(folder: Path) -> str:
    """A row for each file of the model: parameters where it holds weights, bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / "README.md")
    rows = [
        [
            f"`{path.relative_to(folder).as_posix()}`",
            f"{parameters(path):,}" if path.suffix == ".safetensors" else "",
            f"{path.stat().st_size:,}",
        ]
        for path in files
    ]
    rows.append(["all", "", f"{sum(path.stat().st_size for path in files):,}"])
    return table(["file", "parameters", "bytes"], rows)


def weakest(results: dict, group: str) -> str:
    """The attribute that fails most often in a group at the default scale, with how often."""
    cell = adherence.cell_of(results, group, results["settings"]["guidance_scale"])
    counted = {name: found for name, found in cell["attributes"].items() if found["n"]}
    name = min(counted, key=lambda name: counted[name]["right"] / counted[name]["n"])
    wrong = {"right": counted[name]["n"] - counted[name]["right"], "n": counted[name]["n"]}
    if not wrong["right"]:
        return "none"
    return f"{percent(wrong)} % ({name})"


def limits(results: dict) -> str:
    """How often the model fails, and what it fails at most."""
    default = results["settings"]["guidance_scale"]
    rows = []
    for group in adherence.GROUPS:
        cell = adherence.cell_of(results, group, default)
        rows.append([group, f"{len(cell['failed'])} of {cell['n']}", weakest(results, group)])
    return table(["", "not wholly right", "most frequent error"], rows)


def phrase(names: Sequence[str], last: str = "or") -> str:
    """The names in a row, the last one behind `last`."""
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def card(recipe: Recipe, training: dict, scores: dict[str, dict], folder: Path = TINY) -> str:
    """The whole card."""
    settings = scores["adherence"]["settings"]
    pairs = ", ".join(f"{colour} {kind}" for colour, kind in HELD_OUT)
    seconds = sum(stage["seconds"] for stage in training.values())
    judged = scores["adherence"]
    few = judged["scenes"]["one object, seen pairs"]
    return f"""{HEADER}

# tiny

A Stable Diffusion in small: pictures of 128x128 pixels from a sentence, latents of 16x16x4, a CLIP text \
encoder, a
U-Net with cross-attention, an autoencoder, all trained from nothing by the textbook `minisd`. It exists \
to be read,
trained again and taken apart. It paints the little world of `minisd.scenes` and nothing else.

```python
from minisd import StableDiffusion

image = StableDiffusion.from_pretrained("tiny")("a red house left of a yellow tent in the snow at night")[0]
```

The folder has the layout of diffusers; `diffusers.StableDiffusionPipeline.from_pretrained` opens it as \
well. The model's
own guidance scale is {settings["guidance_scale"]:g}, kept as `_guidance_scale` in `model_index.json`; \
diffusers needs to be given it.

## Data

{recipe.pictures:,} pictures of scenes drawn by `minisd.scenes` from seed {recipe.seed}, rendered by the same
package: no photograph, nothing downloaded. A scene holds one or two things ({phrase(KINDS)}), in \
{phrase(COLOURS)}, small
or big, on {phrase(GROUNDS)}; it is {phrase(HOURS)}. Captions are drawn anew from a grammar at every step.

Held out, in no picture of the training: {pairs}. The U-Net reads captions
of training scenes only. The text encoder reads CLIP's altered captions as well, which may name a held-out \
pair, always
as a wrong caption: there is no picture of it.

## Training

{READING.format(side=recipe.clip.vision_config.image_size)}

The recipe is `minisd/training/tiny.toml`. From nothing:

```sh
{commands(training)}
```

{repeatable(training)}

{training_table(recipe, training)}

{seconds / 60:,.0f} minutes for all stages together; rendering the pictures and encoding them once come \
on top.

## Files

{files_table(folder)}

## Scores

A judge, a network trained on renders alone, reads each picture back; a picture counts only if everything \
in its caption
is right. {settings["steps"]} DDIM steps, in brackets 95 % intervals. {adherence.asked_for(judged)}.
Measured on {judged["date"]}: {on_machine(judged["machine"])}.

```sh
python benchmarks/adherence.py
python benchmarks/parts.py
python benchmarks/speed.py
```

{adherence.summary(judged)}

The autoencoder on fresh renders:

{parts.vae_table(scores["parts"])}

The text encoder on fresh renders of two things:

{parts.text_table(scores["parts"])}

Seconds on {on_machine(scores["speed"]["machine"])}:

{speed.speed_table(scores["speed"])}

## Limits

It knows the words of its little world and no others, at most two things, English, 128x128 pixels. How \
often it fails at
guidance {settings["guidance_scale"]:g}:

{limits(judged)}

The judge errs as well; its reading of true renders stands beside the scores. There are few one-object \
scenes: of the
{few["distinct"]} distinct seen ones asked for here, training had drawn {few["in_training"]}, so the \
held-out rows tell more.

## Licence

Apache-2.0.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Write the small model's card from the files that tell its figures."
    )
    parser.add_argument(
        "--run", type=Path, help="the folder of the training; its figures go to benchmarks/training.json"
    )
    parser.add_argument(
        "--model", type=Path, default=TINY, help="the model folder, which the card is written into"
    )
    options = parser.parse_args(arguments)
    recipe = read_recipe()
    try:
        if options.run:
            write_json(collect(options.run, recipe), HERE / "training.json")
        elif not (HERE / "training.json").is_file():
            raise FileNotFoundError(
                f"{HERE / 'training.json'} is missing: name the training's folder with --run"
            )
        text = card(recipe, read_json(HERE / "training.json"), read_scores(options.model), options.model)
    except (FileNotFoundError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    write_text(text, options.model / "README.md")
    print(options.model / "README.md")


if __name__ == "__main__":
    main()
