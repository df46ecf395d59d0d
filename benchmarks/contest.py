"""A guided U-Net step and a decode of full size in other programs, and in minisd, in turn.

    python benchmarks/contest.py --weights FOLDER    measure, write contest.json and contest.md

What is timed, and how each program is told to do it, is in peers.py. Programs that aren't installed are
skipped and named. FOLDER is made where there is none yet (8.6 GB, and 3.6 GB for OpenVINO's copies).
"""

import argparse
import time
from pathlib import Path
from statistics import median

from tqdm import tqdm

from common import HERE, fresh, now_and_here, ratio_text, table, where_and_when, write_text
from minisd.checkpoint import write_json
from peers import PEERS, make_folder

SLOW = ("diffusers, compiled",)  # minutes of translation before the first step; asked for with --slow


def measure(names: list[str], folder: Path, rounds: int, runs: int) -> list[dict]:
    """Rounds in which each program is asked once, in a process of its own."""
    found = []
    with tqdm(total=rounds * len(names), desc="contest") as bar:
        for _ in range(rounds):
            found.append({})
            for name in names:
                found[-1][name] = fresh(HERE / "peers.py", name, folder, "--runs", runs)
                bar.update()
    return found


def reference(name: str) -> str:
    """Who of ours does the same work: a step or a decode, in the same precision."""
    part = "vae: " if name.startswith("vae: ") else ""
    return f"{part}minisd, bfloat16" if name.endswith("bfloat16") else f"{part}minisd"


def ratio(results: dict, name: str) -> dict[str, float]:
    """Our seconds over theirs, round by round."""
    rounds = [
        median(run[reference(name)]["seconds"]) / median(run[name]["seconds"]) for run in results["runs"]
    ]
    return {"median": median(rounds), "least": min(rounds), "most": max(rounds)}


def contest_table(results: dict) -> str:
    """A row for each program."""
    rows = []
    for name, found in results["runs"][0].items():
        if "skipped" in found:
            rows.append([name, found["skipped"], "", "", ""])
            continue
        seconds = median(median(run[name]["seconds"]) for run in results["runs"])
        first = median(run[name]["first"] for run in results["runs"])
        peak = median(run[name]["peak"] for run in results["runs"])
        error = f"{found['error']:.0e}" if "error" in found else ""
        rows.append([name, f"{seconds:.1f}", f"{first:.1f}", f"{peak / 1e9:.2f}", error])
        rows[-1].append("" if name == reference(name) else ratio_text(ratio(results, name)))
    rows = [[*row, *[""] * (6 - len(row))] for row in rows]
    return table(
        ["", "s", "s, the first time", "GB at the peak", "error", "ours, times theirs (least and most)"], rows
    )


def markdown(results: dict) -> str:
    """The whole of contest.md."""
    return f"""# Other programs

Written by `python benchmarks/contest.py`; the figures are those of `contest.json`.

A guided U-Net step (two halves, 64 x 64 latents), and "vae:" a decode to 512 x 512 pixels, with random
weights of full size, in float32 unless the name says more. {where_and_when(results)}
{results["rounds"]} rounds; everyone has a fresh process in every round. "error" is the greatest difference
from diffusers in float32, as a share of its greatest number. stable-diffusion.cpp runs the two halves one
after the other and has its convolutions' weights in float16; it paints its own noise, so there is no error
to tell.

{contest_table(results)}
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time other programs and minisd in turn.")
    parser.add_argument("--weights", type=Path, required=True, help="a folder as peers.make_folder writes it")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--runs", type=int, default=2, help="timed steps in each process, after a warm-up")
    parser.add_argument("--slow", action="store_true", help="torch.compile too, which translates for minutes")
    parser.add_argument(
        "--out", type=Path, default=HERE / "contest.json", help="the table goes beside it, as .md"
    )
    options = parser.parse_args(arguments)
    if min(options.rounds, options.runs) < 1:
        parser.error("--rounds and --runs must be at least 1")
    if not options.weights.exists():
        make_folder(options.weights)
    names = [name for name in PEERS if options.slow or name not in SLOW]
    before, start = now_and_here("torch", "diffusers", "openvino", "cyllama"), time.monotonic()
    runs = measure(names, options.weights, options.rounds, options.runs)
    results = {**before, "rounds": options.rounds, "took": time.monotonic() - start, "runs": runs}
    write_json(results, options.out)
    write_text(markdown(results), options.out.with_suffix(".md"))
    print(contest_table(results))


if __name__ == "__main__":
    main()
