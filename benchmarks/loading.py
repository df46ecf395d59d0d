"""How long Stable Diffusion 1.5 takes to load and what memory it needs for that, here and in diffusers.

    python benchmarks/loading.py                     measure, write loading.json and loading.md

The weights are random numbers under the published names and in the published shapes: loading takes as long
with them. They go to a temporary folder of 8.6 GB, which is removed. Needs Linux, diffusers and transformers.
"""

import argparse
import datetime
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from common import HERE, ROOT, on_machine, table, write_text
from minisd import StableDiffusion
from minisd.checkpoint import write_json
from minisd.sd15 import published_shapes
from minisd.tokenizer import BPE, base_tokens
from minisd.training.machine import machine

MERGES = 48_894
ROOM = 9e9  # bytes: the weights twice, 4.27 GB each
THEIRS = (
    "from diffusers import StableDiffusionPipeline\nfrom transformers import CLIPTextModel, CLIPTokenizer"
)
WAYS = {  # what is loaded and by whom: the imports, the call; argv[1] is the folder, argv[2] the single file
    "folder, minisd": (
        "from minisd import StableDiffusion",
        "StableDiffusion.from_pretrained(sys.argv[1], 'cpu')",
    ),
    "folder, diffusers": (THEIRS, "StableDiffusionPipeline.from_pretrained(sys.argv[1])"),
    "single file, minisd": (
        "from minisd import StableDiffusion",
        "StableDiffusion.from_pretrained(sys.argv[2], 'cpu', tokenizer=sys.argv[1] + '/tokenizer')",
    ),
    "single file, diffusers": (
        THEIRS,
        (
            "StableDiffusionPipeline.from_single_file(sys.argv[2], config=sys.argv[1], "
            "local_files_only=True, safety_checker=None)"
        ),
    ),
}
LOAD = """
import sys, time, torch
{imports}
imported = time.time()
pipe = {call}
ready = time.time()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(imported, ready, time.process_time(), *(1024 * int(status[key].split()[0]) for key in ("VmHWM", \
"RssAnon")))
"""


def random_checkpoint(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random numbers under the names and in the shapes of the published single file, scaled to keep
    activations finite.
    """
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for key, shape in published_shapes("single-file").items():
        if key.endswith("position_ids"):
            tensors[key] = torch.arange(77)[None]
        elif len(shape) == 1:
            tensors[key] = torch.randn(shape, generator=generator).mul_(0.2).add_(key.endswith("weight"))
        else:
            tensors[key] = torch.randn(shape, generator=generator).div_(math.prod(shape[1:]) ** 0.5)
    return tensors


def tokenizer_of_full_size() -> BPE:
    """A tokenizer with as many tokens as CLIP's; its merges mean nothing."""
    tokens = base_tokens()
    return BPE([(left, right) for left in tokens[:256] for right in tokens][:MERGES])


def measure(way: str, folder: Path, file: Path) -> dict:
    """Load once in a fresh process.

    seconds: from the command until the pipeline is ready; after_imports: the last part of these; cpu: seconds
    of computing in all. In bytes, peak: of resident memory; own: what of the memory at the end is not mapped
    files.
    """
    imports, call = WAYS[way]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-c", LOAD.format(imports=imports, call=call), str(folder), str(file)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode != 0:
        raise RuntimeError(f"{way}: loading failed: {done.stderr.strip().splitlines()[-1]}")
    imported, ready, cpu, peak, own = map(float, done.stdout.split())
    return {
        "seconds": ready - start,
        "after_imports": ready - imported,
        "cpu": cpu,
        "peak": int(peak),
        "own": int(own),
    }


def loading_table(results: dict) -> str:
    """A row for each way."""
    rows = [
        [
            way,
            *(f"{results['ways'][way][name]:.2f}" for name in ("seconds", "after_imports", "cpu")),
            *(f"{results['ways'][way][name] / 1e6:.0f}" for name in ("peak", "own")),
        ]
        for way in WAYS
    ]
    return table(
        ["", "s, from the command", "s, after imports", "CPU s", "MB at the peak", "MB not mapped"], rows
    )


def ratio(results: dict, what: str, name: str) -> str:
    """minisd's figure as a multiple of diffusers'."""
    ours, theirs = (results["ways"][f"{what}, {who}"][name] for who in ("minisd", "diffusers"))
    return f"{ours / theirs:.2f}"


def markdown(results: dict) -> str:
    """The whole of loading.md."""
    said = {
        what: [ratio(results, what, name) for name in ("seconds", "after_imports", "cpu", "peak")]
        for what in ("folder", "single file")
    }
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    line = (
        "minisd needs {0} times the time of diffusers, {1} times after the imports, {2} times the CPU time "
        "and {3} times"
    )
    return f"""# Loading Stable Diffusion 1.5

Written by `python benchmarks/loading.py`; the figures are those of `loading.json`.

Random weights of full size, {results["bytes"] / 1e9:.2f} GB in float32, {results["date"]}, \
{on_machine(results["machine"])};
{versions}; load average
before the start {results["load_average"]:.2f}. Medians of {results["rounds"]} rounds; each way has a \
fresh process in every round, and
the files are in the system's cache.

{loading_table(results)}

- A folder: {line.format(*said["folder"])} the peak memory.
- A single file: {line.format(*said["single file"])} the peak memory.

Both leave the weights in the file, mapped, until they are used: most of the 4.3 GB is read by the first \
picture, and
is memory that the system can take back. The peak is of all resident memory (VmHWM), pages of mapped \
files included;
"not mapped" is what the process has of its own at the end (RssAnon).
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Time loading SD 1.5 with random weights, here and in diffusers."
    )
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes timed for each way")
    parser.add_argument(
        "--temporary", type=Path, default=Path(tempfile.gettempdir()), help="where 8.6 GB find room"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "loading.json", help="the table goes beside it, as .md"
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if shutil.disk_usage(options.temporary).free < ROOM:
        parser.error(f"{options.temporary} has no room for 9 GB: name another folder with --temporary")

    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.temporary) as temporary:
        folder, file = Path(temporary, "folder"), Path(temporary, "v1-5.safetensors")
        save_file(random_checkpoint(), file)
        tokenizer_of_full_size().save(folder / "tokenizer")
        StableDiffusion.from_pretrained(file, "cpu", tokenizer=folder / "tokenizer").save_pretrained(folder)
        size = file.stat().st_size
        for way in WAYS:  # brings the files into the system's cache, and Python's compiled files to disk
            measure(way, folder, file)
        runs = [
            {way: measure(way, folder, file) for way in WAYS}
            for _ in tqdm(range(options.rounds), desc="loading")
        ]
    results = {
        "date": datetime.date.today().isoformat(),
        "machine": machine("cpu"),
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers", "safetensors")},
        "load_average": load_average,
        "bytes": size,
        "rounds": options.rounds,
        "ways": {
            way: {name: median(run[way][name] for run in runs) for name in runs[0][way]} for way in WAYS
        },
        "runs": runs,
    }
    write_json(results, options.out)
    write_text(markdown(results), options.out.with_suffix(".md"))
    print(loading_table(results))


if __name__ == "__main__":
    main()
