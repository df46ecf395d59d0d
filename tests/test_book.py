"""The book's order: book.toml is sound, and what is made from it is up to date."""

import importlib
import json
import subprocess
import sys
import tomllib
from functools import reduce

import pytest

from minisd.teaching.book import (
    CONTENTS,
    MAP_END,
    MAP_START,
    ROOT,
    BookError,
    chapter_map,
    contents,
    load_book,
    with_map,
)

SOUND = (ROOT / "book.toml").read_text(encoding="utf-8")


@pytest.fixture
def book_with(tmp_path):
    """Reads book.toml with one piece of its text replaced."""

    def read(old, new):
        assert old in SOUND, f"book.toml no longer holds {old!r}: change this test"
        (tmp_path / "book.toml").write_text(SOUND.replace(old, new, 1), encoding="utf-8")
        return load_book(tmp_path)

    return read


def test_the_order():
    book = load_book()
    assert [chapter.number for chapter in book.chapters] == list(range(21))
    assert all(part.chapters for part in book.parts)
    assert book.chapters[3].file == "chapters/03_ddim.ipynb"


def test_the_readme_has_the_map():
    command = [sys.executable, "-m", "minisd.teaching.book"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = readme.split(MAP_START)[1].split(MAP_END)[0]
    assert found.strip() == made.strip(), "run: python -m minisd.teaching.book --write"


def test_the_contents_are_up_to_date():
    found = (ROOT / CONTENTS).read_text(encoding="utf-8")
    assert found == contents(load_book()), "run: python -m minisd.teaching.book --write"


def test_the_contents_count_exercises_and_equations(tmp_path):
    book = load_book()
    chapter = book.chapters[1]
    assert "to come" in contents(book, tmp_path) and f"]({chapter.name})" not in contents(book, tmp_path)
    texts = {
        "chapters": "<!-- eq 1.1 a -->\n$$ x $$\n\n<!-- eq 1.2 b -->\n$$ y $$",
        "solutions": "## 1.1 A\n\ntext",
    }
    for folder, text in texts.items():
        (tmp_path / folder).mkdir()
        cells = [{"cell_type": "markdown", "source": text.splitlines(keepends=True)}]
        (tmp_path / folder / chapter.name).write_text(json.dumps({"cells": cells}), encoding="utf-8")
    row = next(line for line in contents(book, tmp_path).splitlines() if line.startswith("| 01 "))
    times = f"{chapter.reading} min | {chapter.running} min"
    assert f"]({chapter.name})" in row and f"| {times} | [1](../exercises/{chapter.name}) | 2 |" in row


def test_a_finished_chapter_has_its_file_and_its_names():
    for chapter in load_book().chapters:
        if chapter.state != "done":
            continue
        assert (ROOT / chapter.file).is_file(), f"{chapter.file} is done but not there"
        for name in chapter.builds:
            resolve(name)


def test_extras_and_licences_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    book = load_book()
    assert book.code_licence == project["license"]
    for chapter in book.chapters:
        assert set(chapter.needs_extras) <= project["optional-dependencies"].keys(), chapter.title


def test_a_chapter_that_exists_is_a_link(tmp_path):
    book = load_book()
    first = book.chapters[0]
    assert f"]({first.file})" not in chapter_map(book, tmp_path)
    (tmp_path / "chapters").mkdir()
    (tmp_path / first.file).touch()
    assert f"[{first.title}]({first.file})" in chapter_map(book, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("number = 4\n", "number = 5\n", "stands where chapter 4 should"),
        ("number = 4\n", "number = true\n", "number should be of type int"),
        ('slug = "ddim"', 'slug = "ddpm"', "slug used twice: ddpm"),
        ('slug = "ddim"', 'slug = "../ddim"', "may hold a-z"),
        ('slug = "ddim"\n', "", "missing slug"),
        ('slug = "ddim"', 'slug = ""', "slug is empty"),
        ('slug = "ddim"', 'slug = "ddim"\npages = 5', "unknown pages"),
        (
            'slug = "what_came_after"',
            'slug = "what_came_after"\nminutes = 5',
            "minutes should be of type dict",
        ),
        (
            'slug = "what_came_after"',
            'slug = "what_came_after"\nminutes = { reading = 5 }',
            "minutes: missing running",
        ),
        (
            'slug = "what_came_after"',
            'slug = "what_came_after"\nminutes = { reading = 5, running = 0.5 }',
            "running should be of type int",
        ),
        ('part = "words"', 'part = "wrods"', "no part 'wrods'"),
        ('part = "noise"', 'part = "sd15"', "order of the parts"),
        ('state = "', 'state = "almost ', "is not one of planned, draft, done"),
        ("chapters = [1]", "chapters = [9]", "needs chapter 9, which does not come before"),
        ('builds = ["minisd.', 'builds = ["numpy.', "no name in minisd"),
        ('title = "Stable', "title = Stable", "not valid TOML"),
        ("picture you get?", "picture you get", "question mark"),
    ],
)
def test_what_is_wrong_in_book_toml_is_said(book_with, old, new, words):
    with pytest.raises(BookError, match=words):
        book_with(old, new)


def test_without_book_toml(tmp_path):
    with pytest.raises(FileNotFoundError, match="pip install -e"):
        load_book(tmp_path)


def test_the_map_goes_between_its_markers():
    text = f"before\n{MAP_START}\nold\n{MAP_END}\nafter\n"
    assert with_map(text, "new") == f"before\n{MAP_START}\nnew\n{MAP_END}\nafter\n"
    assert with_map(with_map(text, "new"), "new") == with_map(text, "new")
    for wrong in ("no markers", MAP_START, f"{MAP_END}{MAP_START}", text + text):
        with pytest.raises(BookError):
            with_map(wrong, "new")


def resolve(name):
    """The object that a dotted name stands for: the longest module in it, then attributes."""
    words = name.split(".")
    for length in range(len(words), 0, -1):
        module = ".".join(words[:length])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise
            continue
        return reduce(getattr, words[length:], found)
    raise AssertionError(f"{name} is not in minisd")
