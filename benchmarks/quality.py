"""How good the pictures are, beside what they show: how far from true renders, and with which slips.

    python benchmarks/quality.py                     paint, measure, write quality.json, .md and .png
    python benchmarks/quality.py --describe TEXT     put what someone saw on the sheet into quality.md

The prompts are those of adherence.py; each picture stands beside a render of the scene that was asked for.

The distance is the kernel distance of Binkowski et al. 2018 (KID), in the judge's features: the average over
the picture of its last convolution's 96 channels, each divided by its spread over renders. Why not the
Fréchet distance of chapter 6? That one, from n pictures, comes out too large by an amount that falls with n
and depends on the model, so that neither a floor nor an interval can be read from it; the kernel distance
is right on average for every n, and its error can be told. Because both samples show the same scenes, a
picture is never compared with the render of its own scene.

The slips are those of minisd/scenes/anatomy.py, among the pictures that the judge passes: what is wrong
with the others adherence.md tells. Two floors are beside every figure: other renders of the same scenes, and
these through the VAE, which show what encoding and decoding cost by themselves.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from adherence import GROUPS, ROOM, SAMPLER, Prompt, model_painter, prompts
from common import (
    HERE,
    SEED,
    Z,
    count,
    fingerprint,
    heading,
    model_folder,
    on_machine,
    percent,
    table,
    with_interval,
    write_text,
)
from minisd import StableDiffusion
from minisd.checkpoint import read_json, write_json
from minisd.files import whole
from minisd.pictures import to_pil
from minisd.scenes import render_many
from minisd.scenes.anatomy import MISSING, PARTS, SMEARED, Examination, examine
from minisd.scenes.judge import Judge, as_pictures
from minisd.sheets import labelled_sheet
from parts import reconstruct

OTHER = 500_000  # added to a prompt's seed: another render of its scene
SOURCES = {  # what is measured: its name in the tables
    "painted": "painted",
    "rebuilt": "renders through the VAE",
    "renders": "renders",
}
SLIPS = {  # of a picture: its name, and whether an examination shows it (None: there is nothing to show)
    "a part missing": lambda found: any(thing.missing for thing in found.things),
    "a thing smeared": lambda found: any(thing.smeared for thing in found.things),
    "the same thing twice": lambda found: found.twin,
    "no sun or moon": lambda found: None if found.lights is None else found.lights == 0,
    "two suns or moons": lambda found: None if found.lights is None else found.lights > 1,
}
ALL = "all"  # the groups together
BATCH = 25
SHOWN = 12  # pictures of each group on the sheet
THOUSAND = 1000  # by which distances are multiplied, as is customary
NOT_YET = (
    "Nobody has described the sheet of these pictures yet: `python benchmarks/quality.py --describe TEXT`."
)


# ---- the distance


@torch.no_grad()
def features(judge: Judge, pictures: np.ndarray) -> np.ndarray:
    """uint8 (number, 128, 128, 3) -> the judge's last features averaged over the picture, (number, 96)."""
    found = [
        judge.features(as_pictures(pictures[i : i + BATCH])).mean(dim=(2, 3))
        for i in range(0, len(pictures), BATCH)
    ]
    return torch.cat(found).double().numpy()


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """KID's kernel between all rows of (n, width) and all of (m, width): (n, m)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def kernel_distance(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """The squared kernel distance of two samples (n, width), row by row of the same scenes.

    "value" is its unbiased estimate, the mean of k(a_i, a_j) + k(b_i, b_j) - k(a_i, b_j) - k(b_i, a_j) over
    all i != j (Gretton et al. 2012, lemma 6), and "error" its standard error, by the jackknife: how it
    changes as one row after another is left out. At no distance "value" is 0 on average, so at times below.
    """
    n = len(a)
    terms = kernel(a, a) + kernel(b, b) - kernel(a, b) - kernel(a, b).T
    np.fill_diagonal(terms, 0)
    total, rows = terms.sum(), terms.sum(axis=1)
    without = (total - 2 * rows) / ((n - 1) * (n - 2))
    error = np.sqrt((n - 1) / n * np.square(without - without.mean()).sum())
    return {"value": float(total / (n * (n - 1))), "error": float(error)}


def distances(judge: Judge, sources: dict[str, np.ndarray], truth: np.ndarray, n: int) -> dict:
    """The distance of each source's pictures to the true renders, n in each group: {source: {group: ...}}."""
    true = features(judge, truth)
    middle, spread = true.mean(axis=0), true.std(axis=0)
    true = (true - middle) / spread
    found: dict[str, dict] = {}
    for source, pictures in sources.items():
        ours = (features(judge, pictures) - middle) / spread
        found[source] = {ALL: kernel_distance(ours, true)}
        for i, group in enumerate(GROUPS):
            rows = slice(i * n, (i + 1) * n)
            found[source][group] = kernel_distance(ours[rows], true[rows])
    return found


# ---- the slips


def examined(judge: Judge, sources: dict[str, np.ndarray], asked: list[Prompt]) -> dict[str, list]:
    """For each source what was found in each picture, or None where the judge doesn't pass it."""
    passed = {
        source: [prompt.scene.admits(seen) for prompt, seen in zip(asked, judge.read(pictures), strict=True)]
        for source, pictures in sources.items()
    }
    found: dict[str, list[Examination | None]] = {source: [] for source in sources}
    for i, prompt in enumerate(tqdm(asked, desc="slips", unit="scene")):  # by scene: its drawings are kept
        for source, pictures in sources.items():
            found[source].append(examine(pictures[i], prompt.scene) if passed[source][i] else None)
    return found


def mean(values: list[float]) -> dict[str, float | None]:
    """Their mean and its standard error; None of what so few don't tell."""
    n = len(values)
    error = float(np.std(values, ddof=1) / n**0.5) if n > 1 else None
    return {"value": float(np.mean(values)) if n else None, "error": error}


def tally(found: list[Examination | None]) -> dict:
    """What of a source's pictures is counted: those without a slip, each slip, and two means over things."""
    passed = [one for one in found if one is not None]
    things = [thing for one in passed for thing in one.things]
    verdicts = {name: [shows(one) for one in passed] for name, shows in SLIPS.items()}
    return {
        "passed": count([one is not None for one in found]),
        "clean": count([not one.slips for one in passed]),
        "passed and clean": count([one is not None and not one.slips for one in found]),
        "slips": {name: count([v for v in seen if v is not None]) for name, seen in verdicts.items()},
        "slips a picture": mean([len(one.slips) for one in passed]),
        "rest": mean([thing.rest for thing in things]),
        "sharpness": mean([thing.sharpness for thing in things]),
    }


def parts_missing(found: list[Examination | None]) -> dict[str, dict[str, int]]:
    """Of each part of each kind, in the pictures that passed, how many are missing."""
    things = [thing for one in found if one is not None for thing in one.things]
    seen: dict[str, list[bool]] = {
        f"{kind}: {part}": [] for kind, names in PARTS.items() for part in dict.fromkeys(names.values())
    }
    for thing in things:
        for part, share in thing.parts:
            seen[f"{thing.kind}: {part}"].append(share < MISSING)
    return {part: count(missing) for part, missing in seen.items()}


# ---- the pictures


def painted(pipe: StableDiffusion, settings: dict, folder: Path | None) -> np.ndarray:
    """All pictures, group by group, uint8 (number, 128, 128, 3); what `folder` has is not painted again."""
    paint = model_painter(pipe, settings["guidance_scale"], settings["steps"])
    found = []
    with tqdm(total=len(GROUPS) * settings["n"], desc="painting", unit="picture") as bar:
        for group, some in batches(settings["n"]):
            path = folder / f"{list(GROUPS).index(group)}-{some[0].seed}-{len(some)}.npy" if folder else None
            if path is None or not path.is_file():
                pictures = (paint(some) * 255).round().astype(np.uint8)
                if path is not None:
                    with whole(path) as part, part.open("wb") as file:
                        np.save(file, pictures)
            else:
                pictures = np.load(path)
            found.append(pictures)
            bar.update(len(some))
    return np.concatenate(found)


def batches(n: int) -> Iterator[tuple[str, list[Prompt]]]:
    """The prompts of each group in batches."""
    for group in GROUPS:
        asked = prompts(group, n)
        for i in range(0, n, BATCH):
            yield group, asked[i : i + BATCH]


def rendered(asked: list[Prompt], more: int = 0) -> np.ndarray:
    """A render of each prompt's scene, from its seed plus `more`."""
    return render_many(
        [prompt.scene for prompt in asked], [prompt.seed + more for prompt in asked], workers=1
    )


def measure(pipe: StableDiffusion, judge: Judge, settings: dict, folder: Path | None) -> tuple[dict, dict]:
    """The results, and what the sheet shows: pictures and examinations of the first of each group."""
    n = settings["n"]
    asked = [prompt for group in GROUPS for prompt in prompts(group, n)]
    others = rendered(asked, OTHER)
    sources = {
        "painted": painted(pipe, settings, folder),
        "rebuilt": (reconstruct(pipe, others) * 255).round().astype(np.uint8),
        "renders": others,
    }
    results = {"distance": distances(judge, sources, rendered(asked), n)}
    found = examined(judge, sources, asked)
    groups = {ALL: slice(None)} | {g: slice(i * n, (i + 1) * n) for i, g in enumerate(GROUPS)}
    results["tally"] = {
        source: {group: tally(ones[rows]) for group, rows in groups.items()} for source, ones in found.items()
    }
    results["parts"] = {source: parts_missing(ones) for source, ones in found.items()}
    shown = [i for g in range(len(GROUPS)) for i in range(g * n, g * n + min(SHOWN, n))]
    sheet = {i: (asked[i].text, sources["painted"][i], found["painted"][i]) for i in shown}
    return results, sheet


def save_sheet(sheet: dict, path: Path) -> None:
    """The pictures that were shown, unpicked, each with its prompt and what was found wrong in it."""
    pictures, labels = [], []
    for text, picture, found in sheet.values():
        wrong = ["the judge doesn't pass it"] if found is None else list(dict.fromkeys(found.slips))
        pictures.append(picture / 255)
        labels.append("\n".join([text, *wrong]))
    with whole(path) as part:
        labelled_sheet(to_pil(np.stack(pictures)), labels, columns=8).save(part, format="PNG")


# ---- what is written


def with_error(found: dict, times: float = 1, digits: int = 2) -> str:
    """'13.2 ± 2.1': a mean or a distance and its 95 % interval; a dash where too little was measured."""
    if found["error"] is None:
        return "–"
    return f"{times * found['value']:.{digits}f} ± {times * Z * found['error']:.{digits}f}"


def share(counted: dict) -> str:
    """'97.2 (95.4–98.3)', of a hundred; a dash where nothing was counted."""
    return with_interval(counted) if counted["n"] else "–"


def summary(results: dict) -> str:
    """The table of all figures, the groups together."""
    tallies = {source: results["tally"][source][ALL] for source in SOURCES}

    far = results["distance"]
    rows = {
        "distance to renders, x 1000": [with_error(far[source][ALL], THOUSAND) for source in SOURCES],
        "passed by the judge, %": [share(one["passed"]) for one in tallies.values()],
        "passed and without a slip, %": [share(one["passed and clean"]) for one in tallies.values()],
        "slips a picture": [with_error(one["slips a picture"]) for one in tallies.values()],
        "sharpness of things": [with_error(one["sharpness"]) for one in tallies.values()],
        "rest of things, steps of RGB": [with_error(one["rest"], digits=1) for one in tallies.values()],
    }
    return table(["", *SOURCES.values()], [[name, *cells] for name, cells in rows.items()])


def by_group(results: dict) -> str:
    """Each group's distance and its pictures without a slip."""
    rows = [
        [
            group,
            *(with_error(results["distance"][source][group], THOUSAND) for source in SOURCES),
            *(share(results["tally"][source][group]["clean"]) for source in SOURCES),
        ]
        for group in GROUPS
    ]
    head = [f"distance, {name}" for name in SOURCES.values()]
    return table(["", *head, *(f"without a slip, {name}, %" for name in SOURCES.values())], rows)


def slips_table(results: dict) -> str:
    """Each slip, in the share of the pictures that could have it."""
    rows = [
        [f"{name}, %", *(share(results["tally"][source][ALL]["slips"][name]) for source in SOURCES)]
        for name in SLIPS
    ]
    return table(["", *SOURCES.values()], rows)


def parts_table(results: dict) -> str:
    """The parts that are missing, of those looked up."""
    rows = [
        [part, *(percent(results["parts"][source][part]) for source in SOURCES), str(counted["n"])]
        for part, counted in results["parts"]["painted"].items()
    ]
    return table(["missing, %", *SOURCES.values(), "looked up, painted"], rows)


def markdown(results: dict) -> str:
    """The whole of quality.md."""
    s = results["settings"]
    return f"""# How good are the pictures?

Written by `python benchmarks/quality.py`; the figures are those of `quality.json`.

Model `{results["model"]["name"]}`, {results["date"]}, {on_machine(results["machine"])}.

{s["n"]} prompts in each of the {len(GROUPS)} groups of [adherence.md](adherence.md), \
{s["steps"]} {s["sampler"].upper()} steps, guidance {s["guidance_scale"]:g}. Beside \
what the model painted stand two floors: other renders of the same scenes, and these through the model's own \
VAE, which tell
what encoding and decoding cost by themselves. 95 % intervals: in brackets (Wilson), or after ±.

{summary(results)}

- *Distance*: the unbiased kernel distance (KID) to true renders of the same scenes, in the judge's \
features. Renders are at
0 but for chance, so a value a little below 0 is no mistake.
- *Slips* are looked for only in pictures that the judge passes: what it doesn't count.
- *Sharpness*: the slope of the picture's gradients on those of the nearest drawing, inside a thing's \
outline: 1 if drawn
exactly so, less if blurred. Renders miss 1 because drawings are moved by whole pixels.
- *Rest*: the root mean square of what the nearest drawing leaves over there.

## By group

Without a slip: of the pictures that passed.

{by_group(results)}

## Which slips

A part is missing if less than {100 * MISSING:.0f} % of its contrast with what is around it is seen; a \
thing is smeared if its
rest is over {SMEARED:.0f} steps of 255. Suns and moons are counted by day and at night; at sunset hills may \
hide the sun. Only a
thing that should be alone is looked for twice.

{slips_table(results)}

Part by part:

{parts_table(results)}

## The sheet

![{SHOWN * len(GROUPS)} pictures, unpicked](quality.png)

The first {SHOWN} prompts of each group, each painted once.

{results.get("described") or NOT_YET}
"""


def write(results: dict, out: Path) -> None:
    """quality.json and quality.md."""
    write_json(results, out)
    write_text(markdown(results), out.with_suffix(".md"))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure how good a model's pictures are.")
    parser.add_argument("--model", default="tiny", help="tiny, or a model folder")
    parser.add_argument("--device", help="cpu, cuda, mps; by default a GPU where there is one")
    parser.add_argument("--n", type=int, default=500, help="prompts of each group")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="keep what is painted here, and go on from it"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "quality.json", help="the table and the sheet go beside it"
    )
    parser.add_argument(
        "--describe", type=Path, metavar="TEXT", help="paint nothing: what was seen on the sheet, in Markdown"
    )
    options = parser.parse_args(arguments)
    if options.describe:
        text = options.describe.read_text(encoding="utf-8").strip()
        write(read_json(options.out) | {"described": text}, options.out)
        return
    if not 3 <= options.n <= ROOM:
        parser.error(f"--n must be from 3 to {ROOM}")

    pipe, judge = StableDiffusion.from_pretrained(options.model, options.device), Judge.load()
    settings = {
        "n": options.n,
        "guidance_scale": float(pipe.guidance_scale),
        "steps": options.steps,
        "sampler": SAMPLER,
        "first_seed": SEED,
    }
    folder = None
    if options.pictures:
        made = fingerprint(model_folder(options.model))[:12]
        folder = options.pictures / f"{made}-{options.steps}-steps"
        folder.mkdir(parents=True, exist_ok=True)
    results, sheet = measure(pipe, judge, settings, folder)
    write({**heading(options.model, str(pipe.device)), "settings": settings, **results}, options.out)
    save_sheet(sheet, options.out.with_suffix(".png"))
    print(f"{summary(results)}\n\n{options.out}, {options.out.with_suffix('.md')}")


if __name__ == "__main__":
    main()
