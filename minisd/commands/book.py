"""`minisd book`: the chapters in JupyterLab."""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from .. import console
from ..files import digest
from ..teaching.book import ROOT, Book, load_book
from ..teaching.progress import FOLDER
from ..teaching.workspace import prepare
from .options import whole_number


def add_parser(commands: Any) -> None:
    """Add `minisd book` to the commands."""
    parser = commands.add_parser(
        "book",
        help="open the book in JupyterLab",
        description="Open the book in JupyterLab, with the repository as its folder. Your exercises are in "
        "the folder my/: they are copied there once and never overwritten. Options that minisd does not know "
        "are passed on to JupyterLab: minisd book 3 --no-browser --port 9999",
    )
    parser.add_argument(
        "chapter", nargs="?", type=whole_number(0), metavar="CHAPTER", help="the number of a chapter to open"
    )
    parser.set_defaults(run=book, stopped="JupyterLab has ended")


def book(args: argparse.Namespace, notes: list[str]) -> int:
    """Run JupyterLab until it ends; returns its exit code."""
    root = checkout()
    page = page_of(load_book(root), root, args.chapter)
    check_installed("jupyterlab")
    for line in prepare(root):
        console.say(line)
    before = versions(root)
    code = waited_for([*jupyterlab(root, page), *args.flags])
    after = versions(root)
    changed = [name for name, version in before.items() if after.get(name) != version]
    answers = [name for name in changed if name.startswith("exercises/")]
    others = [name for name in changed if name not in answers]
    if others:
        console.say(
            f"you ran or changed {', '.join(others)}; to have the book's own text back (your answers in my/ "
            f"stay): git restore {' '.join(others)}"
        )
    if answers:
        console.say(
            f"you ran or changed {', '.join(answers)}, which the next git pull would meet: take your answers "
            f"over into {FOLDER}/, then git restore {' '.join(answers)}"
        )
    return code


def versions(root: Path) -> dict[str, str]:
    """The book's notebooks, and a digest of each."""
    folders = ("chapters", "solutions", "exercises")
    paths = [path for folder in folders for path in sorted((root / folder).glob("*.ipynb"))]
    return {path.relative_to(root).as_posix(): digest(path) for path in paths}


def checkout() -> Path:
    """The repository that holds the book: the one that this package lies in, else the one around this folder.

    Raises FileNotFoundError where there is none.
    """
    for folder in (ROOT, Path.cwd(), *Path.cwd().parents):
        if (folder / "book.toml").is_file() and (folder / "exercises").is_dir():
            return folder
    raise FileNotFoundError(
        "there is no book here: it is read from a clone of the repository, installed with "
        "pip install -e '.[book]'"
    )


def check_installed(library: str) -> None:
    """Raise FileNotFoundError for a library that is not there."""
    if importlib.util.find_spec(library) is None:
        raise FileNotFoundError(f"{library} is not installed; in the repository: pip install -e '.[book]'")


def page_of(contents: Book, root: Path, chapter: int | None) -> str:
    """The file of a chapter, or of the first; ValueError for a chapter that is not there."""
    if chapter is not None and chapter >= len(contents.chapters):
        raise ValueError(f"there is no chapter {chapter}; the last is {len(contents.chapters) - 1}")
    page = contents.chapters[chapter or 0].file
    if not (root / page).is_file():
        raise ValueError(f"chapter {chapter or 0} is still to come")
    return page


def jupyterlab(root: Path, page: str) -> list[str]:
    """The command that opens a page in JupyterLab with all of the repository beside it."""
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}"]
    command.append(f"--LabApp.default_url=/lab/tree/{page}")
    command.append("--ContentsManager.pre_save_hook=minisd.teaching.workspace.before_save")
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # root, as in many containers: Jupyter asks to be told
        command.append("--allow-root")
    return command


def waited_for(command: list[str]) -> int:
    """Run a program until it ends; Ctrl-C is for the program to hear, which asks before it ends."""

    def leave_it(number: int, frame: FrameType | None) -> None:
        pass

    before = signal.signal(signal.SIGINT, leave_it)
    try:
        with subprocess.Popen(command) as process:
            try:
                code = process.wait()
            except KeyboardInterrupt:  # by another signal than Ctrl-C, which the program has not heard
                process.terminate()
                raise
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else console.CRITICAL - code
