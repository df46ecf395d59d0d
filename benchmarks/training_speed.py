"""How fast the little U-Net trains: in minisd's loop, and in a plain loop with diffusers' class.

    python benchmarks/training_speed.py              measure, write training_speed.json and training_speed.md

The plain loop is what one writes first: forward, mean squared error, backward, AdamW, in one process with
PyTorch's own threads, in float32. Both have the same network, batch, latents and text vectors, all made
before the clock starts. Beside the two stand the plain loop with one thing changed, and minisd's with one
thing more: what each gives by itself. Needs diffusers.
"""

import argparse
import datetime
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from common import HERE, ROOT, on_machine, table, write_text
from minisd import StableDiffusion
from minisd.checkpoint import write_json
from minisd.training.data import training_scenes
from minisd.training.examples import Latents, latents_to_denoise
from minisd.training.loop import PRECISIONS, Batch, Loop
from minisd.training.machine import machine
from minisd.training.objectives import UNetObjective
from minisd.training.recipe import BOOK_RECIPE, read_recipe
from minisd.unet import UNet

SCENES = 256  # whose captions are read
CAPTION_DROPOUT = 0.1
AHEAD = 4  # different batches made before the clock starts, shown in turn
WARMING = 2  # steps before the clock starts
PLAIN_RATE = 1e-4
ALL_ALIKE = 1e6  # as `snr_gamma` it leaves every timestep the weight 1: the mean squared error
THEIRS, OURS = "plain loop, diffusers' class", "minisd's loop"  # the two that the goal compares
GOAL = 1.3


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to train the same network.

    loop: "plain" or "minisd"; network: whose class, "diffusers" or "minisd"
    processes: that share a batch, of one thread each; 0 for one process of as many as PyTorch takes
    fused: whether AdamW is computed for all weights at once, in the plain loop
    muon, reads: in minisd's loop, whether matrices move by Muon; whether captions are drawn and read in the
    step, as `minisd train` does, instead of ahead
    """

    loop: str = "plain"
    network: str = "diffusers"
    processes: int = 0
    dtype: str = "float32"
    channels_last: bool = False
    fused: bool = False
    muon: bool = False
    reads: bool = False


BASE, GOOD = Way(), Way(loop="minisd", network="minisd", processes=2, channels_last=True)
WAYS = {
    THEIRS: BASE,
    OURS: GOOD,
    "plain, two processes of one thread": replace(BASE, processes=2),
    "plain, channels-last": replace(BASE, channels_last=True),
    "plain, bfloat16 autocast": replace(BASE, dtype="bfloat16"),
    "plain, fused AdamW": replace(BASE, fused=True),
    "plain, minisd's class": replace(BASE, network="minisd"),
    "minisd's loop, bfloat16": replace(GOOD, dtype="bfloat16"),
    "minisd's loop, with Muon": replace(GOOD, muon=True),
    "minisd's loop, with Muon and captions": replace(GOOD, muon=True, reads=True),
}


# What both train


def network(whose: str) -> nn.Module:
    """The little U-Net with the same first weights in every process, as minisd's class or diffusers'."""
    torch.manual_seed(0)
    net = UNet(read_recipe(BOOK_RECIPE).unet.config)
    if whose == "minisd":
        return net
    from diffusers import UNet2DConditionModel  # imported where it is used, for the ways that do without it

    theirs = UNet2DConditionModel.from_config(net.config.to_dict())
    theirs.load_state_dict(net.state_dict())
    return theirs


def batches(pipe: StableDiffusion) -> Batch:
    """What the U-Net is trained on, with captions as in training; the latents are random numbers."""
    shape = (SCENES, pipe.unet.config.in_channels, *2 * [pipe.unet.config.sample_size])
    rng = np.random.default_rng(0)
    mean, std = rng.standard_normal(shape), 0.05 * np.abs(rng.standard_normal(shape))
    latents = Latents(mean.astype(np.float16), std.astype(np.float16), 1.0)
    scenes = training_scenes(SCENES, 0)
    return latents_to_denoise(scenes, latents, pipe.tokenizer, CAPTION_DROPOUT, pipe.schedule.steps)


def ahead(pipe: StableDiffusion, share: int, place: int) -> list[tuple[Tensor, ...]]:
    """Some batches with text vectors in the place of the captions' ids."""
    made = []
    for step in range(AHEAD):
        ids, *others = batches(pipe)(np.random.default_rng((0, step, 1 + place)), share)
        with torch.no_grad():
            made.append((pipe.text_encoder(ids), *others))
    return made


# The two loops: each returns a function that takes one step and tells the loss before it


def plain_loop(way: Way, pipe: StableDiffusion, batch_size: int) -> Callable[[], float]:
    """Forward, mean squared error, backward, AdamW."""
    processes, place = max(way.processes, 1), 0
    net = network(way.network).train()
    if way.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    if processes > 1:
        torch.distributed.init_process_group("gloo")
        net, place = DistributedDataParallel(net), torch.distributed.get_rank()
    optimizer = torch.optim.AdamW(net.parameters(), lr=PLAIN_RATE, fused=way.fused)
    half = way.dtype == "bfloat16"
    data = itertools.cycle(
        (context, mean + std * latent_noise, noise, t)
        for context, mean, std, latent_noise, noise, t in ahead(pipe, batch_size // processes, place)
    )

    def step() -> float:
        context, z0, noise, t = next(data)
        z = pipe.schedule.add_noise(z0, noise, t)
        if way.channels_last:
            z = z.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            predicted = net(z, t, context)
        loss = F.mse_loss((predicted if way.network == "minisd" else predicted.sample).float(), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def minisd_loop(way: Way, pipe: StableDiffusion, batch_size: int) -> Callable[[], float]:
    """The steps of `minisd.training.loop`, by AdamW alone or as the recipe has them."""
    accelerator = Accelerator(cpu=True, mixed_precision=PRECISIONS[way.dtype])
    wanted = read_recipe(BOOK_RECIPE).unet
    phase = replace(wanted, batch_size=batch_size, muon_peak=wanted.muon_peak if way.muon else 0.0)
    reader = pipe.text_encoder if way.reads else nn.Identity()  # of vectors that are made ahead
    objective = UNetObjective(network("minisd"), reader, pipe.schedule, 1.0, ALL_ALIKE)
    loop = Loop(objective, Path("unet.pt"), phase, accelerator, {}, 0, True)
    data = itertools.cycle([] if way.reads else ahead(pipe, loop.share, loop.place))
    batch = batches(pipe) if way.reads else lambda rng, n: next(data)

    def step() -> float:
        loop.take_step(batch)
        return loop.recent[-1]

    return step


def train(way: Way, batch_size: int, steps: int) -> dict:
    """Seconds of each of some steps, and the first step's loss (of this process's share of the batch)."""
    pipe = StableDiffusion.from_pretrained("tiny", "cpu")
    step = (minisd_loop if way.loop == "minisd" else plain_loop)(way, pipe, batch_size)
    loss = step()
    for _ in range(WARMING - 1):
        step()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "loss": loss, "threads": torch.get_num_threads()}


# Measuring, each way in fresh processes


def measure(name: str, batch_size: int, steps: int) -> dict:
    """One run of a way: {"step": median seconds, "least": of all steps, "loss": before them, "threads"}."""
    way = WAYS[name]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": paths, "MINISD_QUIET": "1"}
    env.pop("OMP_NUM_THREADS", None)  # PyTorch's own choice, unless the way says
    if way.processes:
        env["OMP_NUM_THREADS"] = "1"
    together = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={way.processes}"]
    options = ["--way", name, "--batch", str(batch_size), "--steps", str(steps)]
    done = subprocess.run(
        [sys.executable, *(together if way.processes > 1 else []), __file__, *options],
        env=env,
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name}: training failed: {done.stderr.strip()[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    seconds = found.pop("seconds")
    return {"step": median(seconds), "least": min(seconds), **found}


def ratios(results: dict, name: str) -> list[float]:
    """How many times as many steps a second as their plain loop, round by round; the smallest first."""
    return sorted(run[THEIRS]["step"] / run[name]["step"] for run in results["runs"])


def ratio_of_fastest(results: dict, name: str) -> float:
    """The same of the fastest step that either took in all rounds: what other programs disturb least."""
    theirs, its = (min(run[one]["least"] for run in results["runs"]) for one in (THEIRS, name))
    return theirs / its


def speed_table(results: dict) -> str:
    """A row for each way."""
    rows = []
    for name in WAYS:
        found, seconds = ratios(results, name), median(run[name]["step"] for run in results["runs"])
        spread = f"{median(found):.2f} ({found[0]:.2f}–{found[-1]:.2f})"
        a_second = f"{1 / seconds:.2f}", f"{results['batch_size'] / seconds:.0f}"
        rows.append([name, *a_second, spread, f"{ratio_of_fastest(results, name):.2f}"])
    head = "", "steps a second", "pictures a second", "times the first (spread)", "fastest steps"
    return table(head, rows)


def markdown(results: dict) -> str:
    """The whole of training_speed.md."""
    found = ratios(results, OURS)
    middle = median(found)
    reached = sum(ratio >= GOAL for ratio in found)
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    load = results["load_average"]
    busy = "not known" if load is None else f"before the start {load:.2f}"
    return f"""# Training the little U-Net

Written by `python benchmarks/training_speed.py`; the figures are those of `training_speed.json`.

The U-Net of `{results["recipe"]}`, {results["batch_size"]} pictures a step, {results["date"]}, \
{on_machine(results["machine"])};
{versions};
OMP_WAIT_POLICY {results["OMP_WAIT_POLICY"]}; load average {busy}.
Rounds: {results["rounds"]}; in each, every way has fresh processes and {results["steps"]} timed steps, \
of which the median counts.

minisd's loop takes {middle:.2f} ({found[0]:.2f} to {found[-1]:.2f}) times as many steps a second as the \
plain loop. The goal, {GOAL}, is reached in {reached} of the rounds.

{speed_table(results)}

- The first two do the same work: the same weights, batch size, loss and optimizer (AdamW) in float32, with \
latents and text vectors made ahead.
minisd's loop gives each of two processes of one thread half of the batch, keeps the weights channels-last, \
cuts the gradients, averages the weights and watches for losses that are no numbers.
- "fastest steps" is the same ratio of the fastest step that each took in all rounds.
- The rows named "plain" change one thing in the first, the last three one thing more in the second.
- "with Muon and captions" is what `minisd train` does: captions are drawn and read in every step.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time training the little U-Net, here and with diffusers.")
    parser.add_argument("--rounds", type=int, default=3, help="fresh runs of each way")
    parser.add_argument("--steps", type=int, default=8, help="steps timed in each run")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step; even")
    parser.add_argument("--way", choices=WAYS, help="run this way once, in this process, and print JSON")
    parser.add_argument(
        "--out", type=Path, default=HERE / "training_speed.json", help="the table goes beside it, as .md"
    )
    options = parser.parse_args(arguments)
    if min(options.rounds, options.steps) < 1 or options.batch < 2 or options.batch % 2:
        parser.error("--rounds and --steps must be at least 1, --batch an even number")
    if options.way is not None:
        found = train(WAYS[options.way], options.batch, options.steps)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(found))
        return

    load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # Windows has none
    runs = [
        {name: measure(name, options.batch, options.steps) for name in tqdm(WAYS, desc=f"round {n + 1}")}
        for n in range(options.rounds)
    ]
    results = {
        "date": datetime.date.today().isoformat(),
        "machine": machine("cpu"),
        "versions": {name: version(name) for name in ("torch", "diffusers", "accelerate")},
        "load_average": load_average,
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
        "recipe": BOOK_RECIPE.relative_to(ROOT).as_posix(),
        "batch_size": options.batch,
        "steps": options.steps,
        "rounds": options.rounds,
        "runs": runs,
    }
    write_json(results, options.out)
    write_text(markdown(results), options.out.with_suffix(".md"))
    print(speed_table(results))


if __name__ == "__main__":
    main()
