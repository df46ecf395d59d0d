"""`minisd check`: which of a reader's exercises are right."""

import argparse
import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import console
from ..teaching.book import load_book
from .book import check_installed, checkout
from .options import reporting, whole_number

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
        description="Run the notebooks in exercises/ as they are saved and tell what their checks say; "
        "nothing in them is changed. Exit code 0 if all are right, 1 if not.",
    )
    parser.add_argument(
        "chapter",
        nargs="*",
        type=whole_number(0),
        metavar="CHAPTER",
        help="the numbers of chapters (default: all that have exercises)",
    )
    parser.set_defaults(run=check, stopped="not all exercises were checked")


def check(args: argparse.Namespace, notes: list[str]) -> int:
    """Print what the check of each exercise says; 0 if all are right."""
    root = checkout()
    check_installed("nbclient")
    answers = []
    for notebook in notebooks(root, args.chapter):
        for answer in answers_in(executed(notebook)):
            answers.append(answer)
            if not args.json:
                console.say(f"{answer.result:<6} {answer.number:<5} {console.printable(answer.why)}".rstrip())
    right = sum(answer.result == RIGHT for answer in answers)
    if args.json:
        found = [dataclasses.asdict(answer) for answer in answers]
        console.say(json.dumps({"right": right, "exercises": found, "notes": notes}, indent=2))
    else:
        console.say(f"{right} of {len(answers)} exercises are right")
    return 0 if right == len(answers) else NOT_ALL_RIGHT


def notebooks(root: Path, chapters: list[int]) -> list[Path]:
    """The exercises of some chapters, or of all that have any; ValueError for a chapter without."""
    paths = {chapter.number: root / "exercises" / chapter.name for chapter in load_book(root).chapters}
    there = {number: path for number, path in paths.items() if path.is_file()}
    for number in chapters:
        if number not in there:
            known = ", ".join(map(str, there))
            raise ValueError(f"chapter {number} has no exercises; there are some for {known}")
    return [there[number] for number in chapters or there]


def executed(path: Path) -> Any:
    """A notebook with the outputs that its cells have now, one after another, whatever fails among them.

    Raises ValueError for a file that is no notebook, or one whose cell does not end or ends Python.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    try:
        notebook = nbformat.read(path, as_version=4)
    except (ValueError, AttributeError, nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        raise ValueError(f"{path} is no notebook ({console.printable(str(error))[:80]})") from None
    client = NotebookClient(
        notebook,
        timeout=LONGEST_CELL,
        allow_errors=True,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        return client.execute()
    except CellTimeoutError:
        raise ValueError(f"{path}: a cell took more than {LONGEST_CELL} seconds") from None
    except DeadKernelError:
        raise ValueError(f"{path}: a cell ended Python itself; run the notebook to see which") from None


def answers_in(notebook: Any) -> list[Answer]:
    """What the checks of an executed notebook said, in its order."""
    return [
        answer_of(number, cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
        for number in CHECKS.findall(cell.source)
    ]


def answer_of(number: str, outputs: list[Any]) -> Answer:
    """What `minisd.teaching.check` said of an exercise, by the outputs of its cell."""
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    said = next((line for line in printed.splitlines() if line.startswith(f"{number} ")), "")
    if said.endswith("is right."):
        return Answer(number, RIGHT)
    if "still to be written" in said:
        return Answer(number, TO_DO)
    for output in outputs:
        if output.output_type == "error":
            told = output.ename == "CheckFailed"
            why = output.evalue.removeprefix(f"{number}: ") if told else f"{output.ename}: {output.evalue}"
            return Answer(number, WRONG, why)
    return Answer(number, WRONG, "its check said nothing; run its cell")
