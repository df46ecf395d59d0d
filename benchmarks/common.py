"""What the benchmarks share: where and on what they ran, intervals, tables, files."""

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

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
