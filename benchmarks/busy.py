"""How long the command paints on a busy machine: beside no, one and two programs that compute all the time.

    python benchmarks/busy.py             measure, print the table
    python benchmarks/busy.py --write     and write it to busy.md

`minisd paint` tells how long each of its stages took; here "painting" is from the first step of the U-Net to
the last pixel, after everything is loaded. "as torch comes" is the same command without what minisd does for
busy machines: there is a thread for each core, and those that wait keep their core busy.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from common import HERE, ROOT, on_machine, table, write_text
from minisd.training.machine import cores, machine

PROMPT = "a red house left of a yellow tent in the snow at night"
# Keeps one core busy, as long as the program that started it lives.
NEIGHBOUR = """
import os, torch
parent, a = os.getppid(), torch.randn(600, 600)
while os.getppid() == parent: a @ a
"""
SETTLE = 3  # seconds that a neighbour takes until it computes
SLOWEST = 15  # seconds; a run that takes longer, with its start, is stopped and counted as that long
# Python's arguments, and more environment. The second loads torch before minisd can tell OpenMP anything.
WAYS: dict[str, tuple[list[str], dict[str, str]]] = {
    "minisd paint": (["-m", "minisd"], {}),
    "as torch comes": (
        ["-c", "import sys, torch\nfrom minisd.cli import main\nsys.exit(main())"],
        {"OMP_NUM_THREADS": str(cores())},
    ),
}


@contextmanager
def neighbours(number: int) -> Iterator[None]:
    """Programs that compute all the time, on one core each."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    programs = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR], env=environment) for _ in range(number)]
    try:
        time.sleep(SETTLE if number else 0)
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def seconds_to_paint(way: str, folder: Path) -> float:
    """Seconds from the start of painting to the finished picture, in a process of its own."""
    arguments, environment = WAYS[way]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
    ours["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, *arguments, "paint", PROMPT, "--json", "--out", str(folder / "a.png")]
    try:
        done = subprocess.run(
            command,
            env=ours | environment,
            capture_output=True,
            encoding="utf-8",
            timeout=SLOWEST,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return SLOWEST
    spent = json.loads(done.stdout)["seconds"]
    return spent["reading"] + spent["painting"] + spent["decoding"]


def measure(most: int, runs: int) -> dict[int, dict[str, list[float]]]:
    """Seconds by number of neighbours and way, the ways taken in turns."""
    found: dict[int, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(most + 1):
            found[number] = {way: [] for way in WAYS}
            with neighbours(number):
                for _ in range(runs):
                    for way in WAYS:
                        found[number][way].append(seconds_to_paint(way, Path(folder)))
    return found


def seconds_table(found: dict[int, dict[str, list[float]]]) -> str:
    """A row for each way, the medians and ranges beside each number of neighbours."""
    words = {0: "alone", 1: "one busy neighbour", 2: "two busy neighbours"}
    rows = []
    for way in WAYS:
        spread = [found[number][way] for number in found]
        rows.append([way, *(f"{median(s):.2f} ({min(s):.2f}–{max(s):.2f})" for s in spread)])
    return table(["seconds: median (range)", *(words.get(n, f"{n} neighbours") for n in found)], rows)


def markdown(found: dict[int, dict[str, list[float]]], runs: int, load: float | None) -> str:
    """The whole of busy.md."""
    here = machine()
    before = "" if load is None else f" Load average before the start: {load:.2f}."
    return f"""# Painting on a busy machine

Written by `python benchmarks/busy.py --write`.

{datetime.date.today().isoformat()}, {on_machine(here)}, {here["system"]}, Python {here["python"]}, torch
{here["torch"]}.{before}

Model `tiny`, 30 steps, guidance 7.5; {runs} runs in fresh processes, the ways taken in turns; a run of more
than {SLOWEST} s is stopped. A neighbour multiplies matrices without a pause, on one core.

{seconds_table(found)}

From the start of painting to the last pixel, with reading the prompt; starting Python, importing torch and
loading the model are not in it.
"""


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the table; --write keeps it."""
    parser = argparse.ArgumentParser(description="Time painting beside busy programs.")
    parser.add_argument("--neighbours", type=int, default=2, help="at most so many (2)")
    parser.add_argument("--runs", type=int, default=5, help="of each kind (5)")
    parser.add_argument("--write", action="store_true", help="write busy.md")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # Windows has none
    found = measure(options.neighbours, options.runs)
    if options.write:
        write_text(markdown(found, options.runs, load), HERE / "busy.md")
    print(seconds_table(found))


if __name__ == "__main__":
    main()
