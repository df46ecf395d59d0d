"""Counts how a bank of answers is judged.

    python tests/judge_bank.py                      the banks in tests/mistakes
    python tests/judge_bank.py FILE-OR-FOLDER ...   others of the same form

A bank is a file bank_NN.py with BANK = {"1.3": {"wrong": [answer or (answer, words), ...], "right": [...]}}.
Printed are two counts: the answers that are judged rightly, and the wrong ones that hear a message of their
own, one that is about their slip rather than by how much the result is off. Above them stand the others.
"""

import argparse
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minisd.teaching.checks import find
from minisd.teaching.kinds import RIGHT, WRONG

HERE = Path(__file__).parent


@dataclass
class Count:
    """The two counts, and what is to be looked at."""

    judged: int = 0
    rightly: int = 0
    rejected: int = 0
    own: int = 0
    misjudged: list[str] = field(default_factory=list)
    generic: list[str] = field(default_factory=list)


def load(path: Path) -> dict[str, dict[str, list]]:
    """The BANK of a file."""
    for folder in (HERE, path.parent):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(f"judged_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BANK


def named(answer: Any) -> str:
    code = getattr(answer, "__code__", None)
    name = getattr(answer, "__name__", repr(answer)[:60])
    return f"{name} in line {code.co_firstlineno}" if code is not None else name


def judge(bank: dict[str, dict[str, list]], count: Count) -> None:
    """Judge all answers of a bank."""
    for number, entry in bank.items():
        exercise = find(number)
        for wanted, answers in ((RIGHT, entry["right"]), (WRONG, entry["wrong"])):
            for entered in answers:
                answer = entered[0] if wanted == WRONG and isinstance(entered, tuple) else entered
                verdict = exercise.judge(answer)
                count.judged += 1
                if verdict.result == wanted:
                    count.rightly += 1
                else:
                    count.misjudged.append(f"{number}, {wanted}: {named(answer)}: {verdict.says}")
                if verdict.result == WRONG == wanted:
                    count.rejected += 1
                    count.own += verdict.own
                    if not verdict.own:
                        count.generic.append(f"{named(answer)}: {verdict.says}")


def bank(argument: str) -> list[Path]:
    """The files of a bank or of a folder of banks. Raises argparse.ArgumentTypeError where there are none."""
    place = Path(argument)
    files = sorted(place.glob("bank_*.py")) if place.is_dir() else [place]
    if not files or not all(file.is_file() and file.suffix == ".py" for file in files):
        raise argparse.ArgumentTypeError(f"{argument} is no bank; give a file bank_NN.py or a folder of them")
    return files


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("banks", nargs="*", type=bank, default=[bank(str(HERE / "mistakes"))])
    files = [file for files in parser.parse_args(arguments).banks for file in files]
    count = Count()
    for file in files:
        judge(load(file), count)
    for title, lines in (("judged wrongly", count.misjudged), ("no message of their own", count.generic)):
        for line in lines:
            print(f"{title}: {line}")
    print(f"judged rightly: {count.rightly} of {count.judged}, {share(count.rightly, count.judged)}")
    print(
        f"rejected with a message of their own: {count.own} of {count.rejected}, "
        f"{share(count.own, count.rejected)}"
    )
    return 0 if count.rightly == count.judged else 1


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
