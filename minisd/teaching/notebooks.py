"""Runs the book's notebooks and keeps their outputs; makes exercises/ from solutions/.

    python -m minisd.teaching.notebooks                      all of chapters/ and solutions/, then exercises/
    python -m minisd.teaching.notebooks chapters/01_noise.ipynb
    python -m minisd.teaching.notebooks --exercises          only exercises/, nothing is run

The outputs repeat byte for byte: no times, no versions, no progress bars, no ids of widgets. A cell that
fails or writes to stderr (a warning, too) stops the notebook, and its file stays as it was.
"""

import argparse
import ast
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import whole
from .book import ROOT
from .captions import describe
from .figures import QUIET
from .progress import FOLDER

if TYPE_CHECKING:
    from nbformat import NotebookNode

CELL_TIMEOUT = 900  # seconds
# As JupyterLab writes it into what it opens, but for Python's version (see workspace.before_save).
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
BEGIN = "### BEGIN SOLUTION"
MARKED = re.compile(
    r"(?:^ *### BEGIN GIVEN\n(?P<given>.*?)^ *### END GIVEN\n)?"
    r"^(?P<indent> *)### BEGIN SOLUTION\n(?P<solution>.*?)^ *### END SOLUTION$",
    re.M | re.S,
)
HALF = re.compile(r"### (?:BEGIN|END) (?:SOLUTION|GIVEN)")
CHECK = re.compile(r"^check\(", re.M)
DIFFICULTY = re.compile(r"^Difficulty (\d) of 5", re.M)
HIDDEN = re.compile(r"<!-- BEGIN SOLUTION -->.*?<!-- END SOLUTION -->\n*", re.S)  # in Markdown
YOURS = (  # stands below the heading of a notebook of exercises
    "Write your answers into your own copy, [{place}](../{place}): `minisd book` makes it, and nothing "
    "overwrites it."
)
EXERCISE = re.compile(r"^## (\d+\.\d+) ", re.M)
WIDGET = "application/vnd.jupyter.widget-view+json"


class NotebookError(Exception):
    """A notebook that does not run, or from which no exercises can be made."""


def run(path: Path) -> str:
    """The notebook with fresh outputs, as the text of its file. Raises NotebookError with the cell that
    failed.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    book = emptied(nbformat.read(path, as_version=4))
    # The widgets' state is kept only because nbclient needs it to run what a widget prints; `as_text` leaves
    # it out.
    client = NotebookClient(
        book,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=True,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    # Idle threads that spin make a busy machine ten times slower; the outputs do not depend on it.
    sleeping = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")}
    environment = {**os.environ, **sleeping, QUIET: "1", "PYTHONHASHSEED": "0"}
    try:
        client.execute(env=environment)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        told = [
            f"{o.ename}: {o.evalue}"
            for c in book.cells
            for o in c.get("outputs", [])
            if o.output_type == "error"
        ]
        ran = [
            i for i, c in enumerate(book.cells) if c.cell_type == "code" and (c.execution_count or c.outputs)
        ]
        raise NotebookError(
            failure(path, book, ran[-1] if ran else 0, told[0] if told else str(error))
        ) from error
    for i, cell in enumerate(book.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                raise NotebookError(failure(path, book, i, f"wrote to stderr: {output.text.strip()}"))
    return as_text(book)


def emptied(book: "NotebookNode") -> "NotebookNode":
    """The notebook without outputs, so that a cell with one has been run."""
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return book


def failure(path: Path, book: "NotebookNode", index: int, said: str) -> str:
    """Notebook, cell and error in a few lines."""
    cell = book.cells[index]
    source = cell.source.splitlines()
    shown = "\n".join(f"    | {line}" for line in source[:6] + ["..."] * (len(source) > 6))
    lines = said.strip().splitlines()
    return f"{path}, cell {index} ({cell.get('id')}):\n{shown}\n    " + "\n    ".join(lines[:8])


def as_text(book: "NotebookNode") -> str:
    """The notebook's file without what differs from run to run or machine to machine, its figures described
    by their captions.
    """
    import nbformat

    book.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": LANGUAGE,
    }
    graded = nbgrader(book)
    for cell in book.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if cell.id in graded:
            cell.metadata["nbgrader"] = graded[cell.id]
        if cell.cell_type == "code":
            # A widget's id is random and its state is not kept: the strip of pictures by it shows the same.
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    describe(book)
    nbformat.validate(book)
    return nbformat.writes(book, version=4).rstrip("\n") + "\n"


def nbgrader(book: "NotebookNode") -> dict[str, dict]:
    """Metadata by which nbgrader makes an assignment from a notebook of solutions, by the cells' ids.

    The cells with solutions are the student's; the checks after them are locked, and give as many points as
    the exercise is difficult. Other notebooks get none.
    """
    graded: dict[str, dict] = {}
    points, solutions = 1, False
    for cell in book.cells:
        shared = {"grade_id": cell.id, "schema_version": 3, "task": False}
        if cell.cell_type == "markdown":
            points = int((DIFFICULTY.findall(cell.source) or [points])[-1])
        elif BEGIN in cell.source:
            graded[cell.id] = {"grade": False, "locked": False, "solution": True} | shared
            solutions = True
        elif CHECK.search(cell.source):
            graded[cell.id] = {"grade": True, "locked": True, "points": points, "solution": False} | shared
    return graded if solutions else {}


def exercises_from(path: Path) -> str:
    """The reader's copy of a notebook of solutions: no solutions, no outputs.

    What stands between `### BEGIN SOLUTION` and `### END SOLUTION` in a cell becomes one line that says what
    is to be written; Markdown between `<!-- BEGIN SOLUTION -->` and `<!-- END SOLUTION -->` goes; so does a
    cell left empty. The cells of the checks are marked so that "Run All" goes on after a wrong answer. Below
    the heading stands where one's own copy is. Raises NotebookError where a mark has no other half or stands
    before the first `## N.k` heading.
    """
    import nbformat

    book, number, kept = nbformat.read(path, as_version=4), None, []
    for i, cell in enumerate(book.cells):
        if cell.cell_type == "markdown":
            number = (EXERCISE.findall(cell.source) or [number])[-1]
            cell.source = HIDDEN.sub("", cell.source).strip("\n")
        else:
            cell.outputs, cell.execution_count = [], None
            try:
                cell.source = unanswered(cell.source, number)
            except ValueError as error:
                raise NotebookError(failure(path, book, i, str(error))) from error
            if CHECK.search(cell.source):
                cell.metadata["tags"] = ["raises-exception"]
        if cell.source:
            kept.append(cell)
    if kept and kept[0].source.startswith("# "):
        heading, *rest = kept[0].source.split("\n\n")
        kept[0].source = "\n\n".join([heading, YOURS.format(place=f"{FOLDER}/{path.name}"), *rest])
    book.cells = kept
    return as_text(book)


def unanswered(source: str, number: str | None) -> str:
    """A code cell in which each marked solution has become what its reader finds in its place.

    That is what is given before it, as comments between `### BEGIN GIVEN` and `### END GIVEN`; else names
    with `...` as their values where the solution stands at the top level; else
    `raise NotImplementedError("N.k: ...")`.
    """

    def stub(found: re.Match) -> str:
        if number is None:
            raise ValueError("a solution stands before the first heading `## N.k Title`")
        no_marks(found["solution"] + (found["given"] or ""))
        if found["given"] is not None:
            return "\n".join(
                re.sub(r"^( *)# ?", r"\1", line).rstrip() for line in found["given"].splitlines()
            )
        if not found["indent"]:
            return blanks(found["solution"], number)
        names = re.findall(r"^ *(?:def|class) (\w+)", source[: found.start()], re.M) or ["the answer"]
        return f'{found["indent"]}raise NotImplementedError("{number}: write {names[-1]} here")'

    text = MARKED.sub(stub, source)
    no_marks(text)
    ast.parse(text)
    return text


def no_marks(text: str) -> None:
    """Raises ValueError for a mark that stands alone."""
    mark = HALF.search(text)
    if mark:
        raise ValueError(f"{mark[0]} without the other half")


def blanks(solution: str, number: str) -> str:
    """The names that a solution at the top level of a cell gives values to, with `...` as their values.

    A dictionary keeps its keys. Raises ValueError for a solution that gives none a value.
    """
    lines = []
    for node in ast.parse(solution).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            continue
        end = f"  # {number}: put your answer in the place of ..."
        if isinstance(node.value, ast.Dict):
            keys = [ast.literal_eval(key) for key in node.value.keys if key is not None]
            entries = "".join(f"    {json.dumps(key, ensure_ascii=False)}: ...,\n" for key in keys)
            lines.append(f"{node.targets[0].id} = {{\n{entries}}}{end}")
        else:
            lines.append(f"{node.targets[0].id} = ...{end}")
    if not lines:
        raise ValueError("a solution at the top level of a cell gives a value to no name")
    return "\n".join(lines)


def write(path: Path, text: str) -> bool:
    """Write a file, whole, if its text is new. True if it was."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return True


def found(folder: str, root: Path = ROOT) -> list[Path]:
    """The notebooks of a folder of the book, in order."""
    return sorted((root / folder).glob("[0-9][0-9]_*.ipynb"))


def write_exercises(root: Path = ROOT) -> None:
    """Make exercises/ from solutions/; a copy whose master is gone goes too."""
    masters = found("solutions", root)
    for master in masters:
        write(root / "exercises" / master.name, exercises_from(master))
    for copy in found("exercises", root):
        if copy.name not in {master.name for master in masters}:
            copy.unlink()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m minisd.teaching.notebooks", description="Run the notebooks, keep their outputs."
    )
    parser.add_argument(
        "files", nargs="*", type=Path, help="notebooks; all of chapters/ and solutions/ if none"
    )
    parser.add_argument("--exercises", action="store_true", help="only make exercises/ from solutions/")
    options = parser.parse_args(arguments)
    files = [path.resolve() for path in options.files]
    if not files and not options.exercises:
        files = found("chapters") + found("solutions")
    failed = 0
    for path in files:
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        start = time.monotonic()
        print(f"{shown} ...", end=" ", flush=True)
        try:
            changed = write(path, run(path))
        except NotebookError as error:
            failed += 1
            print(f"failed after {time.monotonic() - start:.0f} s\n{error}", flush=True)
            continue
        print(f"{time.monotonic() - start:.0f} s{'' if changed else ', unchanged'}", flush=True)
    try:
        write_exercises()
    except NotebookError as error:
        failed += 1
        print(error)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
