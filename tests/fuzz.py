"""Fuzzing: a quarter of a million damaged, foreign and hostile inputs for the readers of what people bring.

    make fuzz                                              the whole run; writes benchmarks/fuzz.md
    python tests/fuzz.py --inputs 5000                     a short one; writes nothing
    python tests/fuzz.py --only LoRA --seconds 60          one target
    python tests/fuzz.py --inputs 0 --guided 9000          guided by coverage, with atheris (Linux)

A reader may take an input, or refuse it by a ValueError or OSError in one short line that names the file; the
command shows that line as `minisd: error: ...`. Anything else is a failure: another exception, a second line,
no name, more than GROWTH MB or SLOW seconds for one input. An input counts once, however often it comes up.
The first input of each failure is kept. The targets are in fuzz_targets.py; by which rules good files are
changed, fuzz_mutate.py says.
"""

import argparse
import datetime
import hashlib
import json
import os
import platform
import random
import sys
import tempfile
import textwrap
import time
import traceback
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "benchmarks" / "fuzz.md"
INPUTS, SECONDS = 240_000, 120
GROWTH, SLOW, LONGEST = (
    300,
    20.0,
    1000,
)  # MB and seconds of a core that an input may take; characters of an error
ROOM = 12 << 30  # bytes of address space, of which torch alone takes several
EXPECTED = (ValueError, OSError)  # what minisd says of bad input, see `minisd.console.is_expected`
LIBRARIES = ("torch", "safetensors", "pillow", "regex", "atheris")


def peak() -> float:
    """The most memory that this process has held so far, in MB; 0 where the system doesn't tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def limit_memory() -> None:
    """Let a reader that asks for more than ROOM fail, before the machine does."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))


def fault(error: Exception, named: str) -> tuple[str, str] | None:
    """What is wrong with an error of a reader's, and its text; None if it is as it should be."""
    last, text = traceback.extract_tb(error.__traceback__)[-1], str(error)
    where = f"{Path(last.filename).name}:{last.lineno}"
    if not isinstance(error, EXPECTED) or isinstance(error, UnicodeError):
        return f"{type(error).__name__} at {where}", text
    if not text or not text.isprintable():
        return f"not one printable line at {where}", text
    if len(text) > LONGEST:
        return f"more than {LONGEST} characters at {where}", text
    return None if named in text else (f"the file is not named at {where}", text)


@dataclass
class Findings:
    """What a run of one target has seen."""

    name: str
    group: str
    inputs: int = 0
    readings: int = 0
    taken: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    peak: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)  # what was wrong -> an example, where it is kept


class Fuzzer:
    """Gives inputs to a target's readers and keeps account of what came of them."""

    def __init__(self, target: Any, folder: Path, kept: Path):
        self.target, self.kept = target, kept
        self.path = folder / target.name.replace(" ", "-").replace(",", "") / target.file
        self.named = str(self.path.parent) if target.named is None else target.named
        self.path.parent.mkdir(parents=True)
        for name, data in target.beside.items():
            self.path.with_name(name).write_bytes(data)
        self.seen: set[bytes] = set()
        self.found = Findings(target.name, target.group)

    def give(self, data: bytes) -> bool:
        """Try one input; False if it has been tried before."""
        mark = hashlib.blake2b(data, digest_size=12).digest()
        if mark in self.seen:
            return False
        self.seen.add(mark)
        before, start = peak(), time.process_time()
        self.path.write_bytes(data)
        faults = [self.read(reader) for reader in self.target.readers]
        seconds, grown = time.process_time() - start, peak() - before
        if seconds > SLOW:
            faults.append((f"more than {SLOW:g} s", f"{seconds:.0f} s"))
        if grown > GROWTH:
            faults.append((f"more than {GROWTH} MB", f"{grown:.0f} MB"))
        self.account(data, [fault for fault in faults if fault], seconds)
        return True

    def read(self, reader: Any) -> tuple[str, str] | None:
        """What is wrong with how a reader takes the input that was written; None if nothing is."""
        self.found.readings += 1
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", UserWarning)
            try:
                reader(self.path)
            except Exception as error:  # noqa: BLE001, which exceptions there are is the question
                return fault(error, self.named)
        self.found.taken += 1
        odd = [str(note.message) for note in notes if not str(note.message).isprintable()]
        return ("a note that is not one line", odd[0]) if odd else None

    def account(self, data: bytes, faults: list[tuple[str, str]], seconds: float) -> None:
        """Count an input; keep it if something was wrong that was not seen before."""
        found = self.found
        found.inputs, found.seconds = found.inputs + 1, found.seconds + seconds
        found.slowest, found.peak = max(found.slowest, seconds), max(found.peak, peak())
        for wrong, example in faults:
            if wrong not in found.failures:
                self.kept.mkdir(parents=True, exist_ok=True)
                file = self.kept / f"{self.path.parent.name}-{len(found.failures)}-{self.target.file}"
                file.write_bytes(data)
                found.failures[wrong] = f"{example[:300]!r}, {file}"


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory, where the system has one."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


def by_rules(fuzzer: Fuzzer, number: int, seconds: float, seed: int) -> Findings:
    """Give a target `number` different inputs made by its rules, or as many as there is time for."""
    from fuzz_mutate import mutated

    rng, target = random.Random(f"{seed} {fuzzer.target.name}"), fuzzer.target
    end, again = time.process_time() + seconds, 0
    for data in target.seeds:
        fuzzer.give(data)
    while fuzzer.found.inputs < number and time.process_time() < end and again < number:
        again += not fuzzer.give(mutated(target.change, rng.choice(target.seeds), rng))
    return fuzzer.found


def guided(fuzzer: Fuzzer, number: int, seconds: float, seed: int, report: Path) -> None:
    """Give a target the inputs that libFuzzer chooses, half of them made by its rules, half by atheris.

    What an input reaches in minisd decides whether it is kept and changed further. libFuzzer ends the
    process, so the findings are written to `report`.
    """
    import atheris

    from fuzz_mutate import mutated

    corpus = Path(tempfile.mkdtemp(dir=report.parent))
    for place, data in enumerate(fuzzer.target.seeds):
        (corpus / str(place)).write_bytes(data)
    end = time.process_time() + seconds

    def one(data: bytes) -> None:
        fuzzer.give(data)
        if fuzzer.found.inputs >= number or time.process_time() > end:
            report.write_text(json.dumps(vars(fuzzer.found)), encoding="utf-8")
            os._exit(0)

    def custom(data: bytes, most: int, chance: int) -> bytes:
        rng = random.Random(chance)
        if rng.random() < 0.5:
            return mutated(fuzzer.target.change, rng.choice(fuzzer.target.seeds), rng)[:most]
        return atheris.Mutate(data, len(data))

    longest = 2 * max(map(len, fuzzer.target.seeds)) + 1000
    options = [f"-seed={seed + 1}", f"-max_len={longest}", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=custom)
    atheris.Fuzz()


# ---- a whole run


def share(args: argparse.Namespace, target: Any, total: int) -> int:
    """How many of a total of inputs a target gets."""
    return max(total * target.share // sum(one.share for one in args.targets), 1)


def run_by_rules(args: argparse.Namespace, target: Any, folder: Path) -> Findings:
    """One target's inputs by its rules, in this process."""
    fuzzer = Fuzzer(target, folder, args.kept)
    return by_rules(fuzzer, share(args, target, args.inputs), args.seconds, args.seed)


def run_guided(args: argparse.Namespace, target: Any, folder: Path) -> Findings:
    """One target's inputs by coverage, in a forked process, which libFuzzer ends."""
    report, fuzzer = folder / "report.json", Fuzzer(target, folder, args.kept)
    report.unlink(missing_ok=True)
    if (forked := os.fork()) == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libFuzzer tells of every step
        guided(fuzzer, share(args, target, args.guided), args.seconds, args.seed, report)
    _, status = os.waitpid(forked, 0)
    if report.is_file():
        return Findings(**json.loads(report.read_text(encoding="utf-8")))
    return Findings(target.name, target.group, failures={f"ended with {status}": "by libFuzzer or a signal"})


def load_targets(guided: bool) -> Any:
    """The module of targets; for a guided run minisd is loaded with a counter at each of its branches."""
    if guided:
        import atheris

        with atheris.instrument_imports(include=["minisd"]):
            import fuzz_targets
    else:
        import fuzz_targets
    import torch

    torch.set_num_threads(1)  # a forked process has no others
    return fuzz_targets


def run(args: argparse.Namespace) -> dict[str, list[Findings]]:
    """The runs that are asked for, each with what every target saw."""
    fuzz_targets = load_targets(args.guided > 0)
    runs: dict[str, list[Findings]] = {}
    for way, one, wanted in (("rules", run_by_rules, args.inputs), ("coverage", run_guided, args.guided)):
        runs[way] = []
        with scratch() as place:
            targets = fuzz_targets.all_targets(Path(place))
            args.targets = [target for target in targets if wanted and args.only in (None, target.name)]
            for target in args.targets:
                runs[way].append(one(args, target, Path(place)))
                print(f"{way:8} {line(runs[way][-1])}", flush=True)
    return runs


def line(found: Findings) -> str:
    """A target's findings for the terminal."""
    failures = "".join(f"\n    {wrong}\n        {example}" for wrong, example in found.failures.items())
    return (
        f"{found.name:28} {found.inputs:7,} inputs, {found.taken:6,} of {found.readings:7,} readings taken, "
        f"{found.seconds:6.1f} s, slowest {found.slowest:5.2f} s, {len(found.failures)} failures{failures}"
    )


def table(runs: dict[str, list[Findings]]) -> list[str]:
    """The lines of a Markdown table: a row for each group of targets, and the sums."""
    every = [one for found in runs.values() for one in found]
    rows = []
    for group in [*dict.fromkeys(one.group for one in every), "all"]:
        own = [one for one in every if group in (one.group, "all")]
        numbers = [sum(one.inputs for one in found if one in own) for found in runs.values()]
        taken = 100 * sum(one.taken for one in own) / sum(one.readings for one in own)
        slowest, failures = max(one.slowest for one in own), sum(len(one.failures) for one in own)
        targets = len({one.name for one in own})
        cells = [
            group,
            str(targets),
            *(f"{n:,}" for n in numbers),
            f"{taken:.0f}",
            f"{slowest:.1f}",
            str(failures),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    head = "| | targets | by rules | by coverage | readings taken, % | slowest input, s | failures |"
    return [head, "|---|" + "--:|" * 6, *rows]


def record(args: argparse.Namespace, runs: dict[str, list[Findings]], minutes: float) -> str:
    """The text of benchmarks/fuzz.md."""
    from minisd.training.machine import cpu_model

    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    most = max(one.peak for found in runs.values() for one in found)
    about = (
        "A reader may take an input, or refuse it by a ValueError or OSError in one line that names the "
        f"file; anything else is a failure, as is an input that takes more than {GROWTH} MB or {SLOW:g} s. "
        "An input counts once for a target, however often it comes up. What is fuzzed, and how: "
        "tests/fuzz_targets.py, tests/fuzz_mutate.py."
    )
    where = (
        f"{datetime.date.today()}, {cpu_model()}, {minutes:.0f} minutes of one core, seed "
        f"{args.seed}; Python {platform.python_version()}, {versions}. Peak memory: {most:.0f} MB."
    )
    paragraphs = ["# Fuzzing", "Written by `make fuzz`.", about, where, "\n".join(table(runs))]
    return "\n\n".join(textwrap.fill(one, 110) if one[0] != "|" else one for one in paragraphs) + "\n"


def main() -> int:
    """Run what is asked for; 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--inputs", type=int, default=INPUTS, help="different inputs by rules, of all targets"
    )
    parser.add_argument("--guided", type=int, default=0, help="different inputs by coverage, of all targets")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="most time of a core for a target")
    parser.add_argument("--only", help="one target's name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"write {RECORD.relative_to(ROOT)}")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "minisd-fuzz")
    args = parser.parse_args()
    limit_memory()
    runs = run(args)
    found = [one for each in runs.values() for one in each]
    minutes = sum(os.times()[:4]) / 60  # of this process and of those that it forked
    print(f"{sum(one.inputs for one in found):,} inputs in {minutes:.1f} minutes of one core")
    if args.write:
        RECORD.write_text(record(args, runs, minutes), encoding="utf-8")
    return int(any(one.failures for one in found))


if __name__ == "__main__":
    sys.exit(main())
