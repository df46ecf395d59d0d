"""Chapter 12's nine trainings, three kinds of condition by three doors, with several seeds and more steps.

    python benchmarks/doors.py     trains what doors.json does not hold yet, and writes it and doors.md

It runs the chapter's own cells, those with the tag "doors", so that the numbers are the chapter's.
"""

import argparse
import json
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from common import HERE, table, write_text
from minisd.checkpoint import write_json

CHAPTER = HERE.parent / "chapters" / "12_conditioning.ipynb"
KINDS, DOORS = ("class", "map", "words"), ("concatenation", "addition", "cross-attention")
SEEDS = {80: 4, 320: 2}  # of trainings of so many steps
SLIPS = {  # what is trained besides, with 80 steps and two seeds
    ("class", "addition, 32 groups"): {"groups": 32},
    ("class", "concatenation, 32 groups"): {"groups": 32},
    ("map", "concatenation, noised"): {"spoil": "noised_too"},
}


def cells_of_the_chapter() -> dict[str, Any]:
    """What the chapter's imports and its cells about the doors define."""
    names: dict[str, Any] = {}
    for cell in json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]:
        if cell["id"] == "c12-imports" or "doors" in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), names)
    return names


def scored(names: dict[str, Any], kind: str, door: str, seed: int, steps: int) -> dict[str, float]:
    """One training, and what 100 paintings have of what they were told."""
    more = dict(SLIPS.get((kind, door), {}))
    spoil = {"spoil": names[more["spoil"]]} if "spoil" in more else {}
    net, given = names["trained"](kind, door.split(",")[0], seed, steps, **(more | spoil))
    told, true, made = names["examined"](net, given, seed, **spoil)
    found = names["read"](made)
    right, swapped = (found == told).all(dim=1), (found.flip(1) == told).all(dim=1)
    both = (told != names["EMPTY"]).all(dim=1) & (told[:, 0] != told[:, 1])
    result = {"right": right.float().mean(), "overlap": names["ink_overlap"](made, true).mean()}
    if kind == "words":
        result |= {"two right": right[both].float().mean(), "two swapped": swapped[both].float().mean()}
    return {name: round(float(value), 4) for name, value in result.items()}


def as_text(results: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """The table of doors.md."""
    rows = []
    for steps, cells in results.items():
        for name, runs in cells.items():
            values = [run["right"] for run in runs]
            over = np.mean([run["overlap"] for run in runs])
            of_swaps = [[run.get(what, np.nan) for run in runs] for what in SWAPS]
            swapped = ["" if np.isnan(found).any() else f"{np.mean(found):.2f}" for found in of_swaps]
            spread = f"{np.mean(values):.2f} ({min(values):.2f}–{max(values):.2f})"
            rows.append([steps, name, str(len(runs)), spread, f"{over:.2f}", *swapped])
    head = ["steps", "condition, door", "seeds", "right (least–most)", "overlap of the ink", *SWAPS]
    return f"# Three doors\n\n{INTRODUCTION}\n\n{table(head, rows)}\n"


SWAPS = ("two right", "two swapped")
INTRODUCTION = """Written by `python benchmarks/doors.py`, which runs the cells of chapter 12. \
*Right*: the share of 100 strips with both sides as told. *Two right*, *two swapped*: of the strips with two \
different digits, those that show them as told, and those that show them with the sides exchanged."""


def main() -> None:
    argparse.ArgumentParser(description="Train chapter 12's nine networks with several seeds.").parse_args()
    path = HERE / "doors.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    names = cells_of_the_chapter()
    torch.set_num_threads(1)
    wanted = [
        (steps, seed, kind, door)
        for seed in range(max(SEEDS.values()))
        for steps in SEEDS
        if seed < SEEDS[steps]
        for kind in KINDS
        for door in DOORS
    ]
    wanted += [(80, seed, kind, door) for seed in range(2) for kind, door in SLIPS]
    for steps, seed, kind, door in tqdm(wanted, unit="training"):
        runs = results.setdefault(str(steps), {}).setdefault(f"{kind}, {door}", [])
        if len(runs) <= seed:
            runs.append(scored(names, kind, door, seed, steps))
            write_json(results, path)
    write_text(as_text(results), HERE / "doors.md")


if __name__ == "__main__":
    main()
