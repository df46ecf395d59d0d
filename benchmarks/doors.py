"""Chapter 12's nine trainings, three kinds of condition by three doors, with several seeds and more steps.

    python benchmarks/doors.py     trains what doors.json does not hold yet, and writes it and doors.md

doors.npz holds the weights of one of the networks, which section 12.9 begins with.
It runs the chapter's own cells, those with the tag "doors", so that the numbers are the chapter's.
"""

import argparse
import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from common import HERE, table, write_text
from minisd.checkpoint import write_json

CHAPTER = HERE.parent / "chapters" / "12_conditioning.ipynb"
KINDS, DOORS = ("class", "map", "words"), ("concatenation", "addition", "cross-attention")
SEEDS = {80: 4, 320: 2}  # of trainings of so many steps
SLIPS: dict[tuple[str, str], dict[str, Any]] = {  # what is trained besides, with 80 steps
    ("class", "addition, 32 groups"): {"groups": 32},
    ("class", "concatenation, 32 groups"): {"groups": 32},
    ("class", "concatenation, 32 groups, no border"): {"groups": 32, "border": "replicate"},
    ("map", "concatenation, noised"): {"spoil": "noised_too"},
}
SEEDS_OF_SLIPS = 3
BASE = "words, cross-attention"  # whose weights after most steps, seed 0, are kept
Found = tuple[Tensor, Tensor, Tensor]
SHOWN = 4  # strips of each of the nine, seed 0 and most steps, that are kept as pictures


def cells_of_the_chapter() -> dict[str, Any]:
    """What the chapter's imports and its cells about the doors define."""
    names: dict[str, Any] = {}
    for cell in json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]:
        if cell["id"] == "c12-imports" or "doors" in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), names)
    return names


def one(names: dict[str, Any], kind: str, door: str, seed: int, steps: int) -> tuple[nn.ModuleList, Found]:
    """One training: what was trained; and what 100 strips were told, the true ones and the painted ones."""
    more = dict(SLIPS.get((kind, door), {}))
    spoil = {"spoil": names[more.pop("spoil")]} if "spoil" in more else {}
    net, given = names["trained"](kind, door.split(",")[0], seed, steps, **spoil, **more)
    return nn.ModuleList([net, given]), names["examined"](net, given, seed, **spoil)


def scored(names: dict[str, Any], kind: str, told: Tensor, true: Tensor, made: Tensor) -> dict[str, float]:
    """What 100 paintings have of what they were told."""
    found = names["read"](made)
    right = (found == told).all(dim=1)
    result = {"right": right.float().mean(), "overlap": names["ink_overlap"](made, true).mean()}
    if kind == "words":
        known = (found[:, :, None] == told[:, None]).any(dim=2).all(dim=1)  # both sides show what was told
        of_two = {
            "two right": right,
            "two exchanged": (found.flip(1) == told).all(dim=1),
            "two doubled": known & (found[:, 0] == found[:, 1]),
            "two foreign": ~known,
        }
        both = (told != names["EMPTY"]).all(dim=1) & (told[:, 0] != told[:, 1])
        result |= {name: which[both].float().mean() for name, which in of_two.items()}
    return {name: round(float(value), 4) for name, value in result.items()}


def some(names: dict[str, Any], kind: str, told: Tensor) -> list[int]:
    """The first strips to be shown: with two different digits, except where both sides are told the same."""
    fit = [i for i, (a, b) in enumerate(told.tolist()) if kind == "class" or (a != b and 5 not in (a, b))]
    if kind == "class":
        fit = [next(i for i in fit if told[i, 0] == digit) for digit in (0, 2, 3, 1)]
    return fit[:SHOWN]


def as_hex(strips: Tensor) -> list[str]:
    """Strips as text, two letters for each pixel, 00 for -1 and ff for 1."""
    values = ((strips.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [bytes(strip.flatten().tolist()).hex() for strip in values]


def kept(names: dict[str, Any], kind: str, told: Tensor, true: Tensor, made: Tensor) -> dict[str, Any]:
    """Some strips as pictures, and what the reader sees in them."""
    i = some(names, kind, told)
    return {
        "told": told[i].tolist(),
        "true": as_hex(true[i]),
        "painted": as_hex(made[i]),
        "read": names["read"](made[i]).tolist(),
    }


def as_text(results: dict[str, Any]) -> str:
    """The table of doors.md."""
    rows = []
    for steps, cells in results["runs"].items():
        for name, runs in cells.items():
            values = [run["right"] for run in runs]
            over = np.mean([run["overlap"] for run in runs])
            of_two = [[run.get(what, np.nan) for run in runs] for what in OUTCOMES]
            two = ["" if np.isnan(found).any() else f"{np.mean(found):.2f}" for found in of_two]
            spread = f"{np.mean(values):.2f} ({min(values):.2f}–{max(values):.2f})"
            rows.append([steps, name, str(len(runs)), spread, f"{over:.2f}", *two])
    head = ["steps", "condition, door", "seeds", "right (least–most)", "overlap of the ink", *OUTCOMES]
    return f"# Three doors\n\n{INTRODUCTION}\n\n{table(head, rows)}\n"


OUTCOMES = ("two right", "two exchanged", "two doubled", "two foreign")
INTRODUCTION = """Written by `python benchmarks/doors.py`, which runs the cells of chapter 12. \
*Right*: the share of 100 strips with both sides as told. *Two ...*: the strips with two different digits, \
by what they show: both as told, both with the sides exchanged, one of the two on both sides, or on at least \
one side something that was not told."""


def main() -> None:
    argparse.ArgumentParser(description="Train chapter 12's nine networks with several seeds.").parse_args()
    path = HERE / "doors.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    results: dict[str, Any] = {"runs": stored.get("runs", {}), "shown": stored.get("shown", {})}
    names = cells_of_the_chapter()
    torch.set_num_threads(1)
    most = max(SEEDS)
    wanted = [
        (steps, seed, kind, door)
        for seed in range(max(SEEDS.values()))
        for steps in SEEDS
        if seed < SEEDS[steps]
        for kind in KINDS
        for door in DOORS
    ]
    wanted += [(80, seed, kind, door) for seed in range(SEEDS_OF_SLIPS) for kind, door in SLIPS]
    for steps, seed, kind, door in tqdm(wanted, unit="training"):
        name = f"{kind}, {door}"
        runs = results["runs"].setdefault(str(steps), {}).setdefault(name, [])
        show = (steps, seed) == (most, 0)
        if len(runs) > seed and not (show and name not in results["shown"]):
            continue
        trained, found = one(names, kind, door, seed, steps)
        runs[seed:] = [scored(names, kind, *found), *runs[seed + 1 :]]
        if show:
            results["shown"][name] = kept(names, kind, *found)
            if name == BASE:
                weights = {
                    key: value.numpy().astype(np.float16) for key, value in trained.state_dict().items()
                }
                np.savez_compressed(HERE / "doors.npz", **weights)
        write_json(results, path)
    write_text(as_text(results), HERE / "doors.md")


if __name__ == "__main__":
    main()
