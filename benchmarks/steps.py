"""How many steps each sampler needs: the smallest number at which more steps no longer help.

    python benchmarks/steps.py                 paint, judge, write steps.json, steps.md and steps.png
    python benchmarks/steps.py --n 10          the same with ten prompts of each group, five times as fast
    python benchmarks/steps.py --write         write steps.md and steps.png from steps.json

The prompts and the judge are those of adherence.py. Every cell, a sampler with a number of steps, paints the
same prompts from the same noise, so that two cells differ in their errors alone. What the words say is right
early, so whole pictures are counted too: right, and without a slip of minisd/scenes/anatomy.py.

Two processes of one thread each do the work: for networks as small as this that is faster than one process
of two threads. A run that was stopped goes on after the last finished piece, a batch of one group in one
number of steps, when the same command is given again.
"""

import argparse
import itertools
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import matplotlib
import numpy as np
import torch
from scipy.stats import binom  # type: ignore[import-untyped]
from tqdm import tqdm

from adherence import GROUPS, ROOM, Prompt, prompts, score, start_or_resume
from common import HERE, SEED, Z, count, heading, on_machine, percent, table, with_interval, write_text
from minisd import StableDiffusion
from minisd.checkpoint import read_json, write_json
from minisd.files import whole
from minisd.samplers import SAMPLERS
from minisd.scenes.anatomy import examine
from minisd.scenes.judge import Judge
from minisd.scenes.render import end_with_parent

GRID = (3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50)  # numbers of steps
TICKS = (3, 5, 8, 12, 20, 30, 50)  # of the figure's axes
BATCH = 25
MARGIN = 0.02  # a plateau may lie this far, 2 points, below what the most steps reach
LEVEL = 0.05  # and must not be worse at this level (one-sided sign test)
RESAMPLED = 1000  # times, for the spread of a plateau
FAILED, SLIPPED, WHOLE = "f", "s", "w"  # the judge doesn't pass it; it does, but a slip is found; neither
HARD = "two objects"  # the groups that begin so are the hardest
MEASURES = {
    "words": "all that the words say is right",
    "hard": "the same, two objects alone",
    "whole": "right, and no slip is found",
}
SAMPLER = "ddim"  # what StableDiffusion takes if not told otherwise


# ---- painting


@cache
def loaded(model: str) -> tuple[StableDiffusion, Judge]:
    """The model and the judge, once in each process, which has one thread from then on."""
    torch.set_num_threads(1)
    return StableDiffusion.from_pretrained(model, "cpu"), Judge.load()


def fill(piece: tuple[int, str, int, str], model: str, scale: float, n: int) -> dict:
    """Paint and judge the prompts from `first` on, at most BATCH of n, of a group, in a number of steps.

    "marks" has a letter for each picture; "painting" are seconds of processor time.
    """
    (first, sampler, steps, group), (pipe, judge) = piece, loaded(model)
    painting, pictures = 0.0, []

    def paint(asked: list[Prompt]) -> np.ndarray:
        nonlocal painting
        texts, begun = [prompt.text for prompt in asked], time.process_time()
        *_, last = pipe.stream(texts, None, steps, guidance_scale=scale, seed=asked[0].seed, sampler=sampler)
        found = pipe.decode(last.latents)
        painting += time.process_time() - begun
        pictures.extend((found * 255).round().astype(np.uint8))
        return found

    asked, marks = prompts(group, min(first + BATCH, n))[first:], ""
    failed = score(judge, paint, asked, BATCH)["failed"]
    for i, (prompt, picture) in enumerate(zip(asked, pictures, strict=True)):
        marks += FAILED if i in failed else SLIPPED if examine(picture, prompt.scene).slips else WHOLE
    return {
        "piece": list(piece),
        "calls": len(pipe.way(steps, sampler)),
        "marks": marks,
        "painting": round(painting, 3),
    }


def measure(results: dict, model: str, workers: int, unfinished: Path) -> dict:
    """Paint all pieces that `results` lacks and put them together; what is there is kept in `unfinished`."""
    s = results["settings"]
    done = {tuple(found["piece"]) for found in results["pieces"]}
    pieces = itertools.product(range(0, s["n"], BATCH), s["samplers"], s["steps"][::-1], GROUPS)
    todo = [piece for piece in pieces if piece not in done]
    one, last = partial(fill, model=model, scale=s["guidance_scale"], n=s["n"]), time.perf_counter()
    with (
        tqdm(total=sum(steps for _, _, steps, _ in todo), unit="step") as bar,
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), end_with_parent) as pool,
    ):
        for found in pool.map(one, todo):
            now = time.perf_counter()
            results["pieces"].append(found)
            results["clock"], last = round(results["clock"] + now - last, 1), now
            write_json(results, unfinished)
            bar.update(found["piece"][2])
    return {key: value for key, value in results.items() if key != "pieces"} | {"cells": gathered(results)}


def gathered(results: dict) -> list[dict]:
    """The cells, a sampler with a number of steps each, from their pieces; "marks" run group by group."""
    cells, order = [], list(GROUPS)
    for sampler, steps in itertools.product(results["settings"]["samplers"], results["settings"]["steps"]):
        own = [found for found in results["pieces"] if found["piece"][1:3] == [sampler, steps]]
        own.sort(key=lambda found: (order.index(found["piece"][3]), found["piece"][0]))
        cells.append(
            {
                "sampler": sampler,
                "steps": steps,
                "calls": own[0]["calls"],
                "marks": "".join(found["marks"] for found in own),
                "painting": round(sum(found["painting"] for found in own), 2),
            }
        )
    return cells


# ---- counting


def cell_of(results: dict, sampler: str, steps: int) -> dict:
    """The cell of a sampler at a number of steps."""
    return next(c for c in results["cells"] if (c["sampler"], c["steps"]) == (sampler, steps))


def verdicts(results: dict, cell: dict, measure: str) -> np.ndarray:
    """Which of the pictures that count for a measure are good: (number,) of bool, prompt by prompt."""
    marks = np.array(list(cell["marks"]))
    if measure == "hard":
        marks = marks[np.repeat([group.startswith(HARD) for group in GROUPS], results["settings"]["n"])]
    return marks == WHOLE if measure == "whole" else marks != FAILED


def curve(results: dict, sampler: str, measure: str) -> np.ndarray:
    """The verdicts at every number of steps: (numbers of steps, pictures)."""
    cells = [cell_of(results, sampler, steps) for steps in results["settings"]["steps"]]
    return np.stack([verdicts(results, cell, measure) for cell in cells])


def as_good(found: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Whether verdicts (..., pictures) keep up with the reference's on the same prompts.

    They do if the share of good ones is at most MARGIN lower, and if, of the prompts at which only one of
    the two is good, the reference does not have significantly more: the sign test, one-sided.
    """
    lost, won = (reference & ~found).sum(-1), (found & ~reference).sum(-1)
    chance = binom.sf(lost - 1, lost + won, 0.5)  # of so many losses or more, if both are equally good
    return (lost - won <= MARGIN * reference.shape[-1] + 1e-9) & (chance >= LEVEL)


def first(good: np.ndarray) -> int | None:
    """The first place that is good and whose next is good too, if it has one; None if there is none."""
    both = good & np.append(good[1:], True)
    return int(both.argmax()) if both.any() else None


def plateau(results: dict, sampler: str, measure: str) -> int:
    """The smallest number of steps that keeps up with the most, as does the next larger one."""
    found = curve(results, sampler, measure)
    place = first(as_good(found, found[-1]))
    assert place is not None  # the most steps keep up with themselves
    return results["settings"]["steps"][place]


def plateau_range(results: dict, sampler: str, measure: str) -> tuple[int, int]:
    """Between which numbers nine of ten plateaus lie if the prompts are drawn again, with replacement."""
    found = curve(results, sampler, measure)
    drawn = np.random.default_rng(0).integers(found.shape[1], size=(RESAMPLED, found.shape[1]))
    again = found[:, drawn]  # (numbers of steps, times, pictures)
    passed = as_good(again, again[-1]).T
    low, high = np.quantile([first(one) for one in passed], [0.05, 0.95], method="nearest")
    return results["settings"]["steps"][low], results["settings"]["steps"][high]


def to_match(results: dict) -> tuple[str, int]:
    """The cell to match: of the default sampler, if it was measured, at the most steps."""
    s = results["settings"]
    return (SAMPLER if SAMPLER in s["samplers"] else s["samplers"][0]), s["steps"][-1]


def calls_to_match(results: dict, sampler: str) -> int | None:
    """The fewest calls of the network with which a sampler keeps up with that cell, in every measure."""
    good = np.ones(len(results["settings"]["steps"]), bool)
    for name in MEASURES:
        reference = verdicts(results, cell_of(results, *to_match(results)), name)
        good &= as_good(curve(results, sampler, name), reference)
    place = first(good)
    if place is None:
        return None
    return cell_of(results, sampler, results["settings"]["steps"][place])["calls"]


def cost(results: dict) -> tuple[float, float]:
    """(a, b): painting a picture takes a + b calls seconds of one core, by least squares over all cells."""
    each = len(GROUPS) * results["settings"]["n"]
    calls, seconds = zip(*((cell["calls"], cell["painting"] / each) for cell in results["cells"]))
    b, a = np.polyfit(calls, seconds, 1)
    return float(a), float(b)


def difference(found: np.ndarray, reference: np.ndarray) -> str:
    """'−1.5 ± 2.0': the difference of two shares on the same prompts, in points, with its 95 % interval."""
    each = found.astype(float) - reference
    reach = Z * each.std(ddof=1) / len(each) ** 0.5
    return f"{100 * each.mean():+.1f} ± {100 * reach:.1f}".replace("-", "−")


# ---- what is written


def plateau_table(results: dict) -> str:
    """A row for each sampler: its plateaus, what it reaches there, and what matches the default."""
    a, b = cost(results)
    rows = []
    for sampler in results["settings"]["samplers"]:
        row = [sampler]
        for name in MEASURES:
            low, high = plateau_range(results, sampler, name)
            row.append(f"**{plateau(results, sampler, name)}** ({low}–{high})")
        steps = plateau(results, sampler, "whole")
        found, most = (
            verdicts(results, cell_of(results, sampler, number), "whole")
            for number in (steps, results["settings"]["steps"][-1])
        )
        row += [with_interval(count(list(found))), percent(count(list(most))), difference(found, most)]
        calls = calls_to_match(results, sampler)
        row += ["–", "–"] if calls is None else [str(calls), f"{a + b * calls:.2f}"]
        rows.append(row)
    most = results["settings"]["steps"][-1]
    head = ["", *(f"plateau: {text}" for text in ("words", HARD, "whole"))]
    head += ["whole there, %", f"at {most} steps, %", "difference, points"]
    sampler, steps = to_match(results)
    head += [f"calls to match {sampler} at {steps}", "seconds of a core"]
    return table(head, rows)


def share_table(results: dict, measure: str) -> str:
    """A row for each sampler, a column for each number of steps: the share of good pictures."""
    rows = [
        [sampler, *(percent(count(list(row))) for row in curve(results, sampler, measure))]
        for sampler in results["settings"]["samplers"]
    ]
    return table([f"{MEASURES[measure]}, %", *map(str, results["settings"]["steps"])], rows)


def took(results: dict) -> str:
    """How long the measurement took, in words."""
    s, painting = results["settings"], sum(cell["painting"] for cell in results["cells"])
    load = results["load_average"]
    before = "" if load is None else f"; load average before the start {load:.2f}"
    processes = "one process" if s["workers"] == 1 else f"{s['workers']} processes"
    pictures = len(results["cells"]) * len(GROUPS) * s["n"]
    return (
        f"{pictures:,} pictures in {results['clock'] / 60:.0f} minutes by the clock with {processes} of one "
        f"thread each; {painting / 60:.0f} minutes of processor time went into painting, the rest into "
        f"judging, examining and other work of the machine{before}"
    )


def explained(results: dict) -> str:
    """What is counted, and what the columns of the first table are."""
    s, (a, b) = results["settings"], cost(results)
    most, pictures = s["steps"][-1], len(GROUPS) * s["n"]
    return f"""{s["n"]} prompts in each of the {len(GROUPS)} groups of [adherence.md](adherence.md), \
{pictures} pictures a cell, guidance {s["guidance_scale"]:g}. All samplers and
all numbers of steps paint the same prompts from the same noise, with the timesteps that the model's \
`scheduler_config.json` asks for.

- *Words*: the judge finds all that the prompt says. *{HARD.capitalize()}*: the same, of the {pictures // 2} \
prompts with two
objects, the hardest. *Whole*: right, and no slip is found in the things' parts and the lights \
(minisd/scenes/anatomy.py).
- *Plateau*: the smallest number of steps that keeps up with {most}, as does the next larger number \
measured. To keep up is to be at most {100 * MARGIN:g}
points lower, and not significantly worse on the same prompts (one-sided sign test, {100 * LEVEL:g} %). In \
brackets, where nine of ten plateaus
lie if the prompts are drawn again {RESAMPLED:,} times. More prompts would find smaller losses.
- *To match*: the fewest calls of the network that keep up so, in all three measures, with the default \
sampler at {most}
steps. A dash: no number measured does. A step is one call, but pndm calls once more.
- *Seconds*: of processor time of one thread, all of painting, at {a:.3f} s + {b:.4f} s a call, fitted to \
all cells, in batches of {BATCH}."""


def markdown(results: dict) -> str:
    """The whole of steps.md."""
    shares = "\n\n".join(share_table(results, name) for name in MEASURES)
    return f"""# How many steps are enough?

Written by `python benchmarks/steps.py`; the figures are those of `steps.json`.

Model `{results["model"]["name"]}`, {results["date"]}, {on_machine(results["machine"])}, \
torch {results["machine"]["torch"]}.

![adherence against calls of the network](steps.png)

{explained(results)}

{plateau_table(results)}

## All numbers of steps

{shares}

## Time

{took(results)}.
"""


def save_figure(results: dict, path: Path) -> None:
    """The three measures against the calls of the network; along the top, the seconds that they take."""
    matplotlib.use("Agg")
    from minisd.teaching import palette, plots

    palette.use()
    s, (a, b) = results["settings"], cost(results)
    titles = ["all that the words say is right", "the same, two objects", "right, and no slip is found"]
    panels = palette.panels(3, titles, columns=3, height=4.0, width=13.0)
    for axes, name in zip(panels, MEASURES, strict=True):
        for sampler in s["samplers"]:
            calls = [cell_of(results, sampler, steps)["calls"] for steps in s["steps"]]
            shares = 100 * curve(results, sampler, name).mean(axis=1)
            (line,) = axes.plot(calls, shares, label=sampler)
            place = s["steps"].index(plateau(results, sampler, name))
            axes.plot(calls[place], shares[place], "o", color=line.get_color())
        palette.plain_log(axes, ticks=TICKS)
        axes.set(xlabel="calls of the network", ylabel="%" if name == "words" else "", ylim=(0, 102))
        plots.direct_labels(axes)
        above = axes.secondary_xaxis("top")
        above.set_xticks(TICKS, [f"{a + b * calls:.2f}" for calls in TICKS])
        above.minorticks_off()
        above.set_xlabel("seconds of one core, a picture", fontsize=palette.SMALL)
    with whole(path) as part:
        panels[0].figure.savefig(part, format="png", metadata={"Software": None})


def write(results: dict, out: Path) -> None:
    """steps.md and steps.png."""
    write_text(markdown(results), out.with_suffix(".md"))
    save_figure(results, out.with_suffix(".png"))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Find how many steps each sampler needs.")
    parser.add_argument("--model", default="tiny", help="tiny, or a model folder")
    parser.add_argument("--n", type=int, default=50, help="prompts of each group (50)")
    parser.add_argument("--guidance-scale", type=float, help="the model's own by default")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each (2)")
    parser.add_argument(
        "--out", type=Path, default=HERE / "steps.json", help="the table and the figure go beside it"
    )
    parser.add_argument("--write", action="store_true", help="paint nothing: the table and figure of --out")
    options = parser.parse_args(arguments)
    if options.write:
        write(read_json(options.out), options.out)
        return
    if not 1 <= options.n <= ROOM or options.workers < 1:
        parser.error(f"--n must be from 1 to {ROOM}, --workers at least 1")

    own_scale = StableDiffusion.from_pretrained(options.model, "cpu").guidance_scale
    settings = {
        "n": options.n,
        "samplers": list(SAMPLERS),
        "steps": list(GRID),
        "guidance_scale": float(own_scale if options.guidance_scale is None else options.guidance_scale),
        "workers": options.workers,
        "first_seed": SEED,
    }
    fresh = {
        **heading(options.model),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,  # Windows has none
        "settings": settings,
        "clock": 0.0,
        "pieces": [],
    }
    fresh["machine"]["threads"] = 1  # of each process
    unfinished = options.out.with_suffix(".unfinished.json")
    results = measure(start_or_resume(fresh, unfinished), options.model, options.workers, unfinished)
    write_json(results, options.out)
    write(results, options.out)
    unfinished.unlink()
    print(f"{plateau_table(results)}\n\n{options.out}, {options.out.with_suffix('.md')}")


if __name__ == "__main__":
    main()
