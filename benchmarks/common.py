"""What the benchmarks share: where and on what they ran, runs in turn, intervals, tables, files."""

import datetime
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from tqdm import tqdm

from minisd.checkpoint import read_json
from minisd.files import whole
from minisd.models import TINY
from minisd.training.machine import machine

HERE = Path(__file__).parent
ROOT = HERE.parent
SEED = (
    2**31 + 20_000_000
)  # benchmarks draw from seeds above this one; all that training draws lie below 2**31
Z = 1.959964  # the normal distribution's 97.5 % point, for 95 % intervals


def on_machine(found: dict) -> str:
    """A machine in words: 'AMD EPYC, 2 cores'."""
    cpu = f"{found['cpu']}, {found['cores']} core{'s' if found['cores'] != 1 else ''}"
    return f"{found['gpu']} ({cpu})" if found["gpu"] else cpu


def model_folder(model: str) -> Path:
    """The folder of "tiny", or the one named."""
    return TINY if model == "tiny" else Path(model)


def fingerprint(folder: Path) -> str:
    """SHA-256 over all weight files of a model folder and their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def heading(model: str, device: str = "cpu") -> dict:
    """What every results file begins with: the day, the machine, the model."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine(device),
        "model": {"name": model, "sha256": fingerprint(model_folder(model))},
    }


def now_and_here(*packages: str) -> dict:
    """What the results of a comparison begin with: the day, the machine, its load, the packages' versions."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine("cpu"),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,  # Windows has none
        "versions": {name: number for name in packages if (number := version_of(name))},
    }


def version_of(package: str) -> str | None:
    """An installed package's version; None for one that isn't."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def where_and_when(results: dict) -> str:
    """`now_and_here` in words: '2026-11-28, AMD EPYC, 2 cores; torch 2.13.0; load average before 0.43.'"""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    load = results["load_average"]
    before = "" if load is None else f"; load average before the start {load:.2f}"
    return f"{results['date']}, {on_machine(results['machine'])}; {versions}{before}."


def fresh(script: Path, *arguments: object) -> dict:
    """What a script prints in a process of its own: the JSON object of its last line.

    Raises RuntimeError with the script's last complaint if it fails.
    """
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"{script.name} {' '.join(map(str, arguments))} failed: {said[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turn(
    names: Iterable[str], measure: Callable[[str], dict], rounds: int, what: str
) -> list[dict[str, dict]]:
    """Rounds in which each is measured once: what slows the machine for a while slows all of them."""
    names = list(names)
    with tqdm(total=rounds * len(names), desc=what) as bar:
        runs = []
        for _ in range(rounds):
            runs.append({})
            for name in names:
                runs[-1][name] = measure(name)
                bar.update()
    return runs


def middle(runs: Sequence[dict[str, dict]], name: str, figure: str) -> float:
    """The median of a figure over the rounds."""
    return median(run[name][figure] for run in runs)


def compared(runs: Sequence[dict[str, dict]], ours: str, theirs: str, figure: str) -> dict[str, float]:
    """The ratio of a figure, round by round: its median, the least and the most."""
    ratios = [run[ours][figure] / run[theirs][figure] for run in runs]
    return {"median": median(ratios), "least": min(ratios), "most": max(ratios)}


def ratio_text(ratio: dict[str, float]) -> str:
    """'0.77 (0.75–0.80)': a ratio's median, and its spread over the rounds."""
    return f"{ratio['median']:.2f} ({ratio['least']:.2f}–{ratio['most']:.2f})"


def read_results(name: str, folder: Path = HERE) -> dict:
    """The results that benchmarks/NAME.py wrote; FileNotFoundError that says which command writes them."""
    path = folder / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run python benchmarks/{name}.py first")
    return read_json(path)


def write_text(text: str, path: Path) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def interval(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion of which `right` of `n` were seen (Wilson 1927)."""
    share, z2 = right / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = Z / (1 + z2 / n) * (share * (1 - share) / n + z2 / (4 * n * n)) ** 0.5
    return max(0.0, middle - reach), min(1.0, middle + reach)


def count(verdicts: Sequence[bool]) -> dict[str, int]:
    """How many verdicts there are and how many of them are True."""
    return {"right": sum(map(bool, verdicts)), "n": len(verdicts)}


def percent(counted: dict | None) -> str:
    """'97.2', of a hundred; a dash where nothing was counted."""
    return f"{100 * counted['right'] / counted['n']:.1f}" if counted and counted["n"] else "–"


def with_interval(counted: dict) -> str:
    """'97.2 (95.4–98.3)', of a hundred."""
    low, high = interval(counted["right"], counted["n"])
    return f"{percent(counted)} ({100 * low:.1f}–{100 * high:.1f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    return "\n".join([line(head), "|---|" + "--:|" * (len(head) - 1), *map(line, rows)])
