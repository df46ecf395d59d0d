"""All comparisons that fit an hour on two cores, and RESULTS.md from what they found.

    python benchmarks/bench.py                       measure everything, write RESULTS.md (make bench)
    python benchmarks/bench.py --only little         measure one again, write RESULTS.md
    python benchmarks/bench.py --write               write RESULTS.md from the figures that are there

Run it on a machine that does nothing else. Each script writes figures of its own beside itself; what can't be
measured here (a package is missing, no room for the weights) is said in RESULTS.md, and the rest goes on.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import training_speed
from common import HERE, compared, middle, ratio_text, read_results, table, write_text
from fullsize import CHANNELS_LAST, picture_ratio
from little import STEPS
from peers import make_folder

FULL = ("fullsize", "contest")  # these need weights of full size
PLATEAU = 20  # steps of a whole picture: steps.md
STAGES = (*FULL, "decode", "memory", "little", "precision", "training_speed", "steps")


@dataclass(frozen=True)
class Row:
    """A goal: what is measured, the ratio to reach, and how it is found in the figures."""

    work: str
    goal: str
    found: Callable[[], str]


def of(name: str, ours: str, theirs: str, figure: str) -> Callable[[], str]:
    """A ratio of two contestants in a script's rounds."""
    return lambda: ratio_text(compared(read_results(name)["runs"], ours, theirs, figure))


def little(case: str) -> Callable[[], str]:
    """The small model against diffusers, in one of little.py's cases."""
    return lambda: ratio_text(
        compared(read_results("little")["cases"][case], "minisd", "diffusers", "seconds")
    )


def picture(steps: int) -> str:
    """A whole picture, from the command to the pixels."""
    return ratio_text(picture_ratio(read_results("fullsize"), steps))


def training(way: str) -> Callable[[], str]:
    """Steps a second in one of training_speed.py's ways, times those of the plain loop."""

    def found() -> str:
        ratios = training_speed.ratios(read_results("training_speed"), way)
        return ratio_text({"median": median(ratios), "least": min(ratios), "most": max(ratios)})

    return found


def seconds(name: str) -> Callable[[], str]:
    """The median of little.py's seconds for one thing."""
    return lambda: f"{median(read_results('little')[name]):.2f} s"


def rows(steps: int) -> list[Row]:
    """The goals; `steps` is what a whole picture is counted in, the plateau of steps.py."""
    bar = "at most "
    return [
        Row(
            "full-size U-Net step with guidance, float32",
            bar + "1.0",
            of("fullsize", "minisd", "diffusers", "step"),
        ),
        Row("the same against its floor", bar + "1.15", of("fullsize", "minisd", "floor", "step")),
        Row(
            "the same, weights channels last", bar + "1.15", of("fullsize", CHANNELS_LAST[0], "floor", "step")
        ),
        Row(
            "command to first step, full size, folder",
            bar + "0.4",
            of("fullsize", "minisd", "diffusers", "start"),
        ),
        Row(
            "command to first step, full size, single file",
            bar + "0.4",
            of("fullsize", "minisd, single file", "diffusers, single file", "start"),
        ),
        Row(
            "peak memory of a whole 512 x 512 picture",
            bar + "0.85",
            of("fullsize", "minisd", "diffusers", "peak"),
        ),
        Row("VAE decode 512 x 512: time", bar + "0.9", of("decode", "minisd", "diffusers", "seconds")),
        Row("VAE decode 512 x 512: memory", bar + "0.7", of("decode", "minisd", "diffusers", "beyond")),
        Row(
            f"whole picture in {steps} steps, best exact setting of each", bar + "0.7", lambda: picture(steps)
        ),
        Row("small model, sentence to pixels, one thread", bar + "0.6", little("one picture, one thread")),
        Row("the same, two threads", bar + "0.6", little("one picture, two threads")),
        Row("small model, batch of 16, one thread", bar + "0.8", little("sixteen pictures, one thread")),
        Row("the same, two threads", bar + "0.8", little("sixteen pictures, two threads")),
        Row("training the little U-Net, steps a second", "at least 1.3", training("minisd's loop")),
        Row("the same in bfloat16", "at least 1.3", training("minisd's loop, bfloat16")),
        Row("`import minisd` beyond torch", "under 0.3 s", seconds("imports")),
        Row("`minisd paint`, from the command to the file", "under 2.5 s", seconds("commands")),
    ]


def verdict(row: Row) -> list[str]:
    """A line of the table: the work, the goal, what was found; a dash where it wasn't measured."""
    try:
        return [row.work, row.goal, row.found()]
    except (FileNotFoundError, KeyError):
        return [row.work, row.goal, "not measured"]


def reasons(steps: int) -> str:
    """Where a goal isn't reached, and why: a list, or what is missing to tell."""
    try:
        full, small = read_results("fullsize")["runs"], read_results("little")
        weights = read_results("loading")["bytes"]
    except FileNotFoundError as error:
        return f"- Not to be told yet: {error}"
    ours, theirs = ((middle(full, who, "peak") - weights) / 1e9 for who in ("minisd", "diffusers"))
    seconds = {
        who: middle(full, who, "start") + middle(full, who, "decode") + steps * middle(full, layers, "step")
        for who, layers in ((CHANNELS_LAST[0], "floor"), (CHANNELS_LAST[1], CHANNELS_LAST[1]))
    }
    least = seconds[CHANNELS_LAST[0]] / seconds[CHANNELS_LAST[1]]
    layers = 1e3 * sum(time for kind, time in small["floor"].items() if kind != "step")
    step = 1e3 * small["floor"]["step"]
    other = 1e3 * middle(small["cases"]["one picture, one thread"], "diffusers", "seconds") / STEPS
    return f"""- Memory of a picture: {weights / 1e9:.2f} GB of either peak are the mapped weights, which
  the system can take back. Beyond them it is {ours:.2f} against {theirs:.2f} GB, {ours / theirs:.2f} times
  as much.
- Memory of a decode: 670 MB must be there at once, in the first ResNet block at 512 x 512: what it is given
  (268), its norm (268, the SiLU is in place), and what its convolution makes (134). Tiles need half.
- A whole picture: with steps as short as PyTorch's layers alone it would still be {least:.2f} times theirs.
  These layers are no lowest bound: OpenVINO's are faster, see "Other programs".
- The small model: a step takes {step:.1f} ms in one thread, its layers alone {layers:.1f}, a step of
  diffusers {other:.1f}, of which the layers would be {layers / other:.2f}. The rest stands between the
  layers, and they run slower among the others than alone.
- Training in float32: two processes of one thread give nearly all of the gain over two threads of one."""


def section(name: str) -> str:
    """What a script wrote, one heading lower, without the line that says who wrote it."""
    path = HERE / f"{name}.md"
    if not path.is_file():
        return f"## {name}\n\nNot measured here.\n"
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join("#" + line if line.startswith("#") else line for line in lines).strip() + "\n"


def results_text(steps: int) -> str:
    """The whole of RESULTS.md."""
    return f"""# How fast it is

Written by `make bench` (`python benchmarks/bench.py`). The ratios are ours over theirs, taken round by round;
in brackets the least and the most of the rounds. Each section says when, on what and under which load it was
measured; its figures are in the `.json` of the same name.

{table(["work", "goal", "found"], [verdict(row) for row in rows(steps)])}

Where a goal isn't reached:

{reasons(steps)}

{chr(10).join(section(name) for name in STAGES)}"""


def run(name: str, folder: Path | None) -> float:
    """One script in a process of its own; seconds. RuntimeError if it fails."""
    start = time.monotonic()
    weights = ["--weights", str(folder)] if name in FULL else []
    done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *weights])
    if done.returncode != 0:
        raise RuntimeError(f"{name}.py failed; its words stand above")
    return time.monotonic() - start


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure everything, write RESULTS.md.")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES, help="these alone")
    parser.add_argument("--write", action="store_true", help="measure nothing, write RESULTS.md")
    parser.add_argument("--weights", type=Path, help="full-size random weights; made there if it's new")
    parser.add_argument("--temporary", type=Path, help="where 13 GB find room, if --weights is not given")
    options = parser.parse_args(arguments)
    if not options.write:
        with tempfile.TemporaryDirectory(dir=options.temporary) as temporary:
            folder = options.weights or Path(temporary, "full")
            if set(options.only) & set(FULL) and not folder.exists():
                make_folder(folder)
            for name in options.only:
                print(f"{name}: {run(name, folder):.0f} s")
    write_text(results_text(PLATEAU), HERE / "RESULTS.md")


if __name__ == "__main__":
    main()
