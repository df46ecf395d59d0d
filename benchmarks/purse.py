"""How a budget is best shared between an autoencoder and a denoiser: the reference of exercise 6.11.

    python benchmarks/purse.py                  prints the numbers of minisd/teaching/exercises/ch06.py
    python benchmarks/purse.py --seeds 51 52    two rounds

It runs the cells of chapter 6 that define the stickers, their judge and the painters (sections 6.3 and 6.4),
then trains as the exercise asks. A round takes about 35 seconds of one processor core, all
three take less than two minutes.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib
import nbformat
import torch

CHAPTER = Path(__file__).parent.parent / "chapters" / "06_latent_diffusion.ipynb"
FIRST, LAST = "## 6.3 ", "BUDGETS = "  # from this heading to the cell that begins so, which trains
SEEDS = (51, 52, 53)  # none of them is the chapter's
PARTS = {20e9: (0.25, 0.5, 0.75), 10e9: (0.5, 0.65, 0.8)}


def chapter_names(path: Path = CHAPTER) -> dict[str, Any]:
    """What the chapter's first cell of code and its cells between FIRST and LAST define."""
    cells = nbformat.read(path, as_version=4).cells
    starts = [cell.source.splitlines()[0] if cell.source else "" for cell in cells]
    first = next(i for i, line in enumerate(starts) if line.startswith(FIRST))
    last = next(i for i, line in enumerate(starts) if line.startswith(LAST))
    imports = next(cell for cell in cells if cell.cell_type == "code")
    names: dict[str, Any] = {}
    for cell in [imports, *(cell for cell in cells[first:last] if cell.cell_type == "code")]:
        exec(compile(cell.source, str(path), "exec"), names)
    return names


def rounds(names: dict[str, Any], seed: int) -> dict[str, Any]:
    """One seed: clean shares {budget: {part: share}}, those returned by the autoencoders, that of pixels."""
    clean: dict[float, dict[float, float]] = {}
    returned = {}
    for budget, parts in PARTS.items():
        for part in parts:
            names["enter"](f"latents {part}", names["latent_diffusion"], budget, seed, part=part)
            clean.setdefault(budget, {})[part] = names["contest"][f"latents {part}", budget][-1]["clean"]
            encoder, decoder, *_ = names["stages"][budget, part][-1]
            if budget == 20e9:
                again = decoder(names["encode"](encoder, names["fresh"][:512]))
                returned[part] = names["verdict"](again)["clean"]
    names["enter"]("pixels", names["pixel_diffusion"], 10e9, seed)
    return {"clean": clean, "returned": returned, "pixels": names["contest"]["pixels", 10e9][-1]["clean"]}


def table(found: list[dict[str, Any]]) -> str:
    """All rounds, as the constants of ch06.py: SPLITS, RETURNED and PIXELS."""
    rows = {
        f"SPLITS {budget / 1e9:.0f}e9, {part}": [one["clean"][budget][part] for one in found]
        for budget, parts in PARTS.items()
        for part in parts
    }
    rows |= {f"RETURNED {part}": [one["returned"][part] for one in found] for part in PARTS[20e9]}
    rows["PIXELS"] = [one["pixels"] for one in found]
    return "\n".join(f"{name}: ({', '.join(f'{x:.3f}' for x in shares)})" for name, shares in rows.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="one round for each")
    asked = parser.parse_args()
    matplotlib.use("Agg")
    torch.set_num_threads(1)
    names, found = chapter_names(), []
    for seed in asked.seeds:
        found.append(rounds(names, seed))
        print(f"after seed {seed}, {time.process_time():.0f} s of a processor:", flush=True)
        print(table(found), flush=True)


if __name__ == "__main__":
    main()
