"""`minisd check`: which of a reader's exercises are right."""

import argparse
import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import console
from ..teaching.book import load_book
from ..teaching.progress import FOLDER, load
from ..teaching.progress import RIGHT as DONE
from .book import check_installed, checkout
from .options import reporting, whole_number

if TYPE_CHECKING:
    from ..teaching.kinds import Exercise

CHECKS = re.compile(r"""^check\(\s*["'](\d+\.\d+)["']""", re.M)
RIGHT, TO_DO, WRONG = "right", "to do", "WRONG"
LONGEST_CELL = 900  # seconds
NOT_ALL_RIGHT = 1  # the exit code


@dataclass(frozen=True)
class Answer:
    """What the check of an exercise said: RIGHT, TO_DO, or WRONG and why."""

    number: str
    result: str
    why: str = ""


def add_parser(commands: Any) -> None:
    """Add `minisd check` to the commands."""
    parser = commands.add_parser(
        "check",
        parents=[reporting()],
        help="run your exercises and tell which are right",
        description="Run your notebooks in my/ as they are saved, tell what their checks say and what to do "
        "next; nothing in them is changed. Exit code 0 if all of them are right, 1 if not.",
    )
    parser.add_argument(
        "chapter",
        nargs="*",
        type=whole_number(0),
        metavar="CHAPTER",
        help="the numbers of chapters (default: all of my/)",
    )
    parser.set_defaults(run=check, stopped="not all exercises were checked")


def check(args: argparse.Namespace, notes: list[str]) -> int:
    """Print what the check of each exercise says, and how far the reader is; 0 if all are right."""
    root = checkout()
    check_installed("nbclient")
    answers = []
    for notebook in notebooks(root, args.chapter):
        for answer in answers_in(notebook):
            answers.append(answer)
            if not args.json:
                console.say(f"{answer.result:<6} {answer.number:<5} {console.printable(answer.why)}".rstrip())
    right = sum(answer.result == RIGHT for answer in answers)
    by_chapter, results = all_exercises(root), load(root / FOLDER)
    if args.json:
        found = [dataclasses.asdict(answer) for answer in answers]
        shown = {"right": right, "exercises": found, **as_json(by_chapter, results), "notes": notes}
        console.say(json.dumps(shown, indent=2))
    else:
        console.say(f"{right} of {len(answers)} exercises are right")
        for line in progress(by_chapter, results):
            console.say(line)
    return 0 if right == len(answers) else NOT_ALL_RIGHT


def notebooks(root: Path, chapters: list[int]) -> list[Path]:
    """The reader's notebooks of some chapters, or all; ValueError for a chapter without."""
    contents = load_book(root).chapters
    paths = {chapter.number: root / FOLDER / chapter.name for chapter in contents}
    there = {number: path for number, path in paths.items() if path.is_file()}
    exist = [c.number for c in contents if (root / "exercises" / c.name).is_file()]
    for number in chapters:
        if number not in exist:
            raise ValueError(
                f"chapter {number} has no exercises; there are some for {', '.join(map(str, exist))}"
            )
    missing = [number for number in chapters if number not in there]
    if missing or not there:
        raise FileNotFoundError(
            f"there is no copy of {f'the exercises of chapter {missing[0]}' if missing else 'any exercises'} "
            f"in {FOLDER}/ yet; minisd book makes it"
        )
    return [there[number] for number in chapters or there]


def answers_in(path: Path) -> Iterator[Answer]:
    """What each check of a notebook says, as its cells run one after another, whatever fails among them.

    A cell that does not end, or that ends Python, ends this notebook: the checks from there on are WRONG.
    Raises ValueError for a file that is no notebook.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    notebook, stopped = read(path), ""
    client = NotebookClient(
        notebook,
        timeout=LONGEST_CELL,
        allow_errors=True,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    with client.setup_kernel():
        for i, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            try:
                if not stopped:
                    client.execute_cell(cell, i)
            except CellTimeoutError:
                stopped = f"a cell took more than {LONGEST_CELL} seconds"
            except DeadKernelError:
                stopped = "a cell ended Python itself; run the notebook to see which"
            for number in CHECKS.findall(cell.source):
                yield Answer(number, WRONG, stopped) if stopped else answer_of(number, cell.outputs)


def read(path: Path) -> Any:
    """A notebook; ValueError for a file that is none."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, AttributeError, nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        raise ValueError(f"{path} is no notebook ({console.printable(str(error))[:80]})") from None


# ---- how far the reader is


def all_exercises(root: Path) -> dict[str, list["Exercise"]]:
    """The exercises of each chapter that has any, by the name of its notebook."""
    from ..teaching.checks import exercises

    found = {chapter.name: exercises(chapter.number) for chapter in load_book(root).chapters}
    return {name: those for name, those in found.items() if those}


def left(by_chapter: dict[str, list["Exercise"]], results: dict[str, str]) -> list[tuple[str, "Exercise"]]:
    """What is still to be done, in the book's order, each with its notebook."""
    return [(n, e) for n, those in by_chapter.items() for e in those if results.get(e.number) != DONE]


def progress(by_chapter: dict[str, list["Exercise"]], results: dict[str, str]) -> list[str]:
    """How much of the book is done, and what comes next."""
    from ..teaching.checks import in_words

    counts = []
    for name, those in by_chapter.items():
        done = sum(results.get(exercise.number) == DONE for exercise in those)
        counts.append(f"{int(name[:2])}: {done} of {len(those)}")
    rest, count = left(by_chapter, results), sum(map(len, by_chapter.values()))
    lines = [f"in the book so far {count - len(rest)} of {count}; by chapter {', '.join(counts)}"]
    if rest:
        name, exercise = rest[0]
        lines.append(f"next: {in_words(exercise)} in {FOLDER}/{name}")
    return lines


def as_json(by_chapter: dict[str, list["Exercise"]], results: dict[str, str]) -> dict[str, Any]:
    """The same for programs."""
    rest = left(by_chapter, results)
    coming = None
    if rest:
        name, e = rest[0]
        coming = {"number": e.number, "kind": e.kind, "minutes": e.minutes, "notebook": f"{FOLDER}/{name}"}
    done = {
        name: {"done": sum(results.get(e.number) == DONE for e in those), "of": len(those)}
        for name, those in by_chapter.items()
    }
    return {"progress": done, "next": coming}


def answer_of(number: str, outputs: list[Any]) -> Answer:
    """What `minisd.teaching.check` said of an exercise, by the outputs of its cell."""
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    said = next((line for line in printed.splitlines() if line.startswith(f"{number} ")), "")
    if re.match(rf"{re.escape(number)} \w+ is right\b", said):
        return Answer(number, RIGHT)
    if "still to be " in said:
        return Answer(number, TO_DO)
    for output in outputs:
        if output.output_type == "error":
            told = output.ename == "CheckFailed"
            first = (output.evalue.splitlines() or [""])[0]
            why = first.removeprefix(f"{number}: ") if told else f"{output.ename}: {first}"
            return Answer(number, WRONG, why)
    return Answer(number, WRONG, "its check said nothing; run its cell")
