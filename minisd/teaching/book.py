"""The book's order, read from book.toml: the map of the chapters in the README, the contents in chapters/.

python -m minisd.teaching.book            print the map
python -m minisd.teaching.book --write    put it into README.md, and the contents into chapters/README.md
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATES = {"planned": "to come", "draft": "draft", "done": "here"}  # state: what the map says
MAP_START, MAP_END = "<!-- map -->", "<!-- /map -->"
CONTENTS = "chapters/README.md"


class BookError(ValueError):
    """Something in book.toml, or in a file made from it, is not as it should be."""


@dataclass(frozen=True)
class Chapter:
    number: int
    slug: str
    title: str
    question: str
    part: str
    state: str
    builds: tuple[str, ...]
    needs_chapters: tuple[int, ...]
    needs_extras: tuple[str, ...]
    reading: int | None = None  # minutes
    running: int | None = None  # minutes on 2 CPU cores, rounded up

    @property
    def name(self) -> str:
        """The file name of its notebooks in chapters/, exercises/ and solutions/."""
        return f"{self.number:02d}_{self.slug}.ipynb"

    @property
    def file(self) -> str:
        """The chapter's notebook, relative to the repository."""
        return f"chapters/{self.name}"


@dataclass(frozen=True)
class Part:
    id: str
    title: str
    chapters: tuple[Chapter, ...]


@dataclass(frozen=True)
class Book:
    title: str
    text_licence: str
    code_licence: str
    parts: tuple[Part, ...]

    @property
    def chapters(self) -> tuple[Chapter, ...]:
        return tuple(chapter for part in self.parts for chapter in part.chapters)


def load_book(root: Path = ROOT) -> Book:
    """Read and check `root/book.toml`.

    Raises FileNotFoundError where there is none, BookError where something in it is wrong.
    """
    path = Path(root) / "book.toml"
    if not path.is_file():
        raise FileNotFoundError(
            f"no book.toml in {path.parent}: the book is read from a clone of the repository, "
            "installed with `pip install -e .`"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BookError(f"{path} is not valid TOML: {error}") from error

    _keys(table, "book.toml", title=str, licence=dict, parts=list, chapters=list)
    _keys(table["licence"], "licence", text=str, code=str)
    for part in table["parts"]:
        _keys(part, "a part", id=str, title=str)
    chapters = [_chapter(entry, index) for index, entry in enumerate(table["chapters"])]

    ids = [part["id"] for part in table["parts"]]
    _no_repeats(ids, "part id")
    _no_repeats([chapter.slug for chapter in chapters], "slug")
    for chapter in chapters:
        if chapter.part not in ids:
            raise BookError(f"chapter {chapter.number}: no part {chapter.part!r}; there are {', '.join(ids)}")
    parts = tuple(
        Part(**part, chapters=tuple(c for c in chapters if c.part == part["id"])) for part in table["parts"]
    )
    if [c for part in parts for c in part.chapters] != chapters:
        raise BookError("the chapters do not follow the order of the parts")
    return Book(table["title"], table["licence"]["text"], table["licence"]["code"], parts)


def chapter_map(book: Book, root: Path = ROOT) -> str:
    """The table of the chapters in Markdown; a chapter whose file exists is a link."""
    rows = ["| | chapter | the question it answers | |", "|--:|---|---|---|"]
    for part in book.parts:
        rows.append(f"| | **{_cell(part.title)}** | | |")
        for chapter in part.chapters:
            title = _cell(chapter.title)
            if (Path(root) / chapter.file).is_file():
                title = f"[{title}]({chapter.file})"
            question, state = _cell(chapter.question), STATES[chapter.state]
            rows.append(f"| {chapter.number:02d} | {title} | {question} | {state} |")
    return "\n".join(rows)


def contents(book: Book, root: Path = ROOT) -> str:
    """chapters/README.md: every chapter, its times, and how many exercises and tested equations it has."""
    lines = [
        f"# {book.title}",
        "",
        (
            "Made from book.toml by `python -m minisd.teaching.book --write`. Running times are on 2 CPU "
            "cores. Symbols and terms are in [notation.md](notation.md)."
        ),
        "",
        "| | chapter | the question it answers | reading | running | exercises | equations | needs |",
        "|--:|---|---|--:|--:|--:|--:|---|",
    ]
    for part in book.parts:
        lines.append(f"| | **{_cell(part.title)}** | | | | | | |")
        for chapter in part.chapters:
            row = [
                f"{chapter.number:02d}",
                _cell(chapter.title),
                _cell(chapter.question),
                "to come",
                "",
                "",
                "",
                ", ".join(map(str, chapter.needs_chapters)),
            ]
            if (Path(root) / chapter.file).is_file():
                row[1] = f"[{row[1]}]({chapter.name})"
                row[3:5] = [
                    f"{minutes} min" if minutes else "" for minutes in (chapter.reading, chapter.running)
                ]
                exercises = count(Path(root) / "solutions" / chapter.name, r"^## \d+\.\d+ ")
                row[5] = f"[{exercises}](../exercises/{chapter.name})" if exercises else "0"
                row[6] = str(count(Path(root) / chapter.file, r"^<!-- eq \d+\.\d+ "))
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def count(notebook: Path, pattern: str) -> int:
    """How often a pattern stands in a notebook's Markdown; 0 where there is no such file."""
    if not notebook.is_file():
        return 0
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return sum(len(re.findall(pattern, text, re.M)) for text in texts)


def between(text: str, start: str, end: str, block: str) -> str:
    """`text` with `block` between its markers; BookError where they do not stand there once each, in this
    order.
    """
    if text.count(start) != 1 or text.count(end) != 1:
        raise BookError(f"the text needs {start} and {end}, once each")
    before, rest = text.split(start)
    if end not in rest:
        raise BookError(f"{end} stands before {start}")
    return f"{before}{start}\n{block}\n{end}{rest.split(end)[1]}"


def with_map(text: str, table: str) -> str:
    """`text` with `table` between its two map markers."""
    return between(text, MAP_START, MAP_END, table)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m minisd.teaching.book", description="The map of the chapters."
    )
    parser.add_argument(
        "--write", action="store_true", help=f"put the map into README.md, the contents into {CONTENTS}"
    )
    options = parser.parse_args(arguments)
    book = load_book()
    table = chapter_map(book)
    if not options.write:
        print(table)
        return
    readme = ROOT / "README.md"
    readme.write_text(with_map(readme.read_text(encoding="utf-8"), table), encoding="utf-8")
    (ROOT / CONTENTS).parent.mkdir(exist_ok=True)
    (ROOT / CONTENTS).write_text(contents(book), encoding="utf-8")


def _chapter(entry: dict, index: int) -> Chapter:
    where = f"chapter {entry.get('number', f'at place {index}')}"
    _keys(
        entry,
        where,
        number=int,
        slug=str,
        title=str,
        question=str,
        part=str,
        state=str,
        builds=list,
        needs=dict,
        **{"minutes": dict} if "minutes" in entry else {},
    )
    minutes = entry.get("minutes", {})
    if "minutes" in entry:
        _keys(minutes, f"{where}, minutes", reading=int, running=int)
    _keys(entry["needs"], f"{where}, needs", chapters=list, extras=list)
    _check(entry, where, index)
    return Chapter(
        number=entry["number"],
        slug=entry["slug"],
        title=entry["title"],
        question=entry["question"],
        part=entry["part"],
        state=entry["state"],
        builds=tuple(entry["builds"]),
        needs_chapters=tuple(entry["needs"]["chapters"]),
        needs_extras=tuple(entry["needs"]["extras"]),
        **minutes,
    )


def _check(entry: dict, where: str, index: int) -> None:
    """Raise unless the values of a chapter's entry make sense."""
    if entry["number"] != index:
        raise BookError(f"{where} stands where chapter {index} should: numbers go 0, 1, 2, ...")
    if not entry["slug"].isidentifier() or not entry["slug"].islower():
        raise BookError(f"{where}: slug {entry['slug']!r} may hold a-z, 0-9 and _ only")
    if entry["state"] not in STATES:
        raise BookError(f"{where}: state {entry['state']!r} is not one of {', '.join(STATES)}")
    if not entry["question"].endswith("?"):
        raise BookError(f"{where}: its question should end with a question mark")
    for name in entry["builds"]:
        if not str(name).startswith("minisd."):
            raise BookError(f"{where}: builds {name!r}, which is no name in minisd")
    for number in entry["needs"]["chapters"]:
        if number not in range(index):
            raise BookError(f"{where}: needs chapter {number}, which does not come before it")


def _keys(table: object, where: str, **types: type) -> None:
    """Raise unless `table` has exactly these keys, with values of these types."""
    if not isinstance(table, dict):
        raise BookError(f"{where}: expected a table, found {table!r}")
    missing, extra = sorted(types.keys() - table.keys()), sorted(table.keys() - types.keys())
    if missing or extra:
        told = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(extra)}"] * bool(
            extra
        )
        raise BookError(f"{where}: {'; '.join(told)}")
    for key, kind in types.items():
        if type(table[key]) is not kind:
            raise BookError(f"{where}: {key} should be of type {kind.__name__}, found {table[key]!r}")
        if table[key] == "":
            raise BookError(f"{where}: {key} is empty")


def _no_repeats(values: list[str], what: str) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise BookError(f"{what} used twice: {', '.join(repeated)}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
