"""How long things take: one picture, loading the model, rendering training pictures.

    python benchmarks/speed.py                       measure, write speed.json and speed.md

Run it on a machine that does nothing else: the load average before the start is written down too, where the
system keeps one.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from common import HERE, ROOT, SEED, heading, on_machine, table, write_text
from minisd import StableDiffusion
from minisd.checkpoint import write_json
from minisd.scenes import render_many, sample

PROMPT = "a red house left of a yellow tent in the snow at night"
FIRST_SEED = SEED + 2_000_000  # above the seeds of the other benchmarks
ALL_RENDERS = 10_000
FEWEST_RENDERS = 64  # fewer are drawn in one process
LOAD = """
import sys, time, torch
start, start_cpu = time.perf_counter(), time.process_time()
from minisd import StableDiffusion
StableDiffusion.from_pretrained(sys.argv[1], sys.argv[2])
print(time.perf_counter() - start, time.process_time() - start_cpu)
"""  # in a process of its own: all that comes after `import torch`, importing minisd too


def timed(task: Callable[[], object]) -> float:
    """How many seconds the task takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def load_seconds(model: str, device: str) -> tuple[float, float]:
    """Importing minisd and loading the model, in a fresh process that has imported torch: seconds, CPU
    seconds.
    """
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, model, device],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode != 0:
        raise RuntimeError(f"loading {model} failed: {done.stderr.strip().splitlines()[-1]}")
    seconds, cpu_seconds = map(float, done.stdout.split())
    return seconds, cpu_seconds


def spread(seconds: list[float]) -> dict:
    """The least and the median of some runs, and how many there were."""
    return {"least": min(seconds), "median": median(seconds), "runs": len(seconds)}


def measure_render(n: int) -> dict:
    """Seconds to draw n scenes as training does, a process for each core, and what that makes for 10,000."""
    scenes = [sample(np.random.default_rng(FIRST_SEED + i), full=True) for i in range(n)]
    workers = os.cpu_count() or 1
    seconds = timed(lambda: render_many(scenes, range(FIRST_SEED, FIRST_SEED + n), workers=workers))
    return {
        "pictures": n,
        "seconds": seconds,
        "workers": workers,
        "seconds_for_10000": seconds * ALL_RENDERS / n,
    }


def speed_table(results: dict) -> str:
    """All figures, a row each."""
    picture, load, render = results["picture"], results["load"], results["render"]
    drawn = "measured" if render["pictures"] == ALL_RENDERS else f"extrapolated from {render['pictures']:,}"
    workers = f"{render['workers']} process{'es' if render['workers'] != 1 else ''}"

    def row(name: str, found: dict) -> list[str]:
        return [name, f"{found['median']:.2f}", f"{found['least']:.2f}", str(found["runs"])]

    return table(
        ["seconds", "median", "least", "runs"],
        [
            row(
                f"one picture, {picture['steps']} DDIM steps, guidance {picture['guidance_scale']:g}", picture
            ),
            row("loading the model, after `import torch`", load),
            [
                f"rendering {ALL_RENDERS:,} training pictures ({drawn}; {workers})",
                f"{render['seconds_for_10000']:.0f}",
                "",
                "1",
            ],
        ],
    )


def markdown(results: dict) -> str:
    """The whole of speed.md."""
    load = results["load_average"]
    threads = f"{results['machine']['threads']} thread{'s' if results['machine']['threads'] != 1 else ''}"
    before = "" if load is None else f"; load average\nbefore the start {load:.2f}"
    return f"""# Speed

Written by `python benchmarks/speed.py`; the figures are those of `speed.json`.

Model `{results["model"]["name"]}`, {results["date"]}, {on_machine(results["machine"])}, {threads}{before}.

{speed_table(results)}

The first picture after loading took {results["picture"]["first"]:.2f} s; it is not among the runs.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time painting, loading and rendering.")
    parser.add_argument("--model", default="tiny", help="tiny, or a model folder")
    parser.add_argument("--device", help="cpu, cuda, mps; by default a GPU where there is one")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--runs", type=int, default=7, help="pictures timed")
    parser.add_argument("--loads", type=int, default=5, help="fresh processes timed")
    parser.add_argument(
        "--render", type=int, default=2000, help="pictures rendered; the time is scaled to 10,000"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "speed.json", help="the table goes beside it, as .md"
    )
    options = parser.parse_args(arguments)
    if min(options.runs, options.loads) < 1 or options.render < FEWEST_RENDERS:
        parser.error(f"--runs and --loads must be at least 1, --render at least {FEWEST_RENDERS}")

    load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # Windows has none
    pipe = StableDiffusion.from_pretrained(options.model, options.device)

    def paint() -> float:
        return timed(lambda: pipe(PROMPT, num_inference_steps=options.steps))

    first = paint()
    pictures = [paint() for _ in tqdm(range(options.runs), desc="painting")]
    loads = [
        load_seconds(options.model, str(pipe.device))[0] for _ in tqdm(range(options.loads), desc="loading")
    ]
    results = {
        **heading(options.model, str(pipe.device)),
        "load_average": load_average,
        "picture": {
            **spread(pictures),
            "first": first,
            "steps": options.steps,
            "guidance_scale": pipe.guidance_scale,
        },
        "load": spread(loads),
        "render": measure_render(options.render),
    }
    write_json(results, options.out)
    write_text(markdown(results), options.out.with_suffix(".md"))
    print(speed_table(results))


if __name__ == "__main__":
    main()
