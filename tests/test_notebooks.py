"""The form of the chapters and of their exercises: what a reader counts on in every one of them."""

import contextlib
import io
import json
import math
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import torch

from minisd.teaching.book import load_book
from minisd.teaching.checks import find
from minisd.teaching.notebooks import as_text, exercises_from
from test_house import PRIVATE

ROOT = Path(__file__).parent.parent
BOOK = {chapter.name: chapter for chapter in load_book().chapters}
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))
EXERCISES = sorted((ROOT / "exercises").glob("*.ipynb"))
WORDS = (2500, 8000)  # of prose in a chapter; chapter 0 is a short look around
FIGURES = 6
BANNED = re.compile(r"\b(?:clearly|simply|obviously|it can be shown|note that|let's dive)\b|\u2014", re.I)
NUMBERED_ENDS = ["In Stable Diffusion 1.5", "What people get wrong"]
ENDS = ["Summary", "Exercises", "Further reading"]
CAPTION = re.compile(r"\*Figure (\d+\.\d+)\. .+\*", re.S)


def each(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}/{path.name}")


def cells(path, kind=None):
    """(source, cell) of a notebook's cells."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [("".join(cell["source"]), cell) for cell in found if kind in (None, cell["cell_type"])]


def prose(path):
    return "\n\n".join(source for source, _ in cells(path, "markdown"))


def outputs(path):
    return [output for _, cell in cells(path, "code") for output in cell["outputs"]]


def headings(path):
    return re.findall(r"^## (.+)$", prose(path), re.M)


def test_every_notebook_is_one_of_the_book():
    for path in (*CHAPTERS, *SOLUTIONS, *EXERCISES):
        assert path.name in BOOK, f"{path.parent.name}/{path.name} is not in book.toml"
    assert [path.name for path in SOLUTIONS] == [path.name for path in EXERCISES]
    assert {path.name for path in SOLUTIONS} <= {path.name for path in CHAPTERS}


@each(CHAPTERS + SOLUTIONS)
def test_the_file_is_as_the_script_writes_it(path):
    book = nbformat.read(path, as_version=4)
    assert as_text(book) == path.read_text(encoding="utf-8"), "run: make notebooks"
    ran = [cell.execution_count for cell in book.cells if cell.cell_type == "code"]
    assert ran == list(range(1, len(ran) + 1)), "run: make notebooks"
    ids = [cell.id for cell in book.cells]
    assert len(set(ids)) == len(ids)


@each(CHAPTERS + SOLUTIONS)
def test_the_outputs_hold_no_error_and_nothing_of_one_machine(path):
    for output in outputs(path):
        assert output["output_type"] != "error" and output.get("name") != "stderr"
        text = "".join(output.get("text", "")) + "".join(output.get("data", {}).get("text/plain", ""))
        assert not re.search(r"\b0x[0-9a-f]{6,}", text), f"an address: {text[:200]}"
        assert not PRIVATE.search(text), text[:200]
    for source, _ in cells(path):
        assert not PRIVATE.search(source), source[:200]


@each(CHAPTERS)
def test_the_first_cell(path):
    chapter, (first, cell) = BOOK[path.name], cells(path)[0]
    lines = first.split("\n")
    assert cell["cell_type"] == "markdown" and lines[0] == f"# {chapter.number}. {chapter.title}"
    assert f"*{chapter.question}*" in lines
    assert chapter.reading and chapter.running, f"book.toml: chapter {chapter.number} needs its minutes"
    time = re.search(r"^Reading about (\d+) minutes, running about (.+?) on 2 CPU cores\.", first, re.M)
    assert time, "the first cell says: Reading about 45 minutes, running about 40 s on 2 CPU cores."
    assert (int(time[1]), minutes(time[2])) == (chapter.reading, chapter.running), (
        "book.toml says other times"
    )


def minutes(words):
    """A time in words, rounded up to minutes."""
    number = re.fullmatch(r"(\d+|half a|a) (s|seconds|minutes?)", words)
    assert number, f"running about {words!r}: write it like 40 s, half a minute, 1 minute or 2 minutes"
    value = {"half a": 0.5, "a": 1}.get(number[1]) or int(number[1])
    return math.ceil(value / (60 if number[2].startswith("s") else 1))


@each(CHAPTERS)
def test_the_sections(path):
    number, found = BOOK[path.name].number, headings(path)
    numbered = [title for title in found if title[0].isdigit()]
    expected = [f"{number}.{i + 1} " for i in range(len(numbered))]
    assert all(title.startswith(start) for title, start in zip(numbered, expected)), numbered
    assert found[: len(numbered)] == numbered, "numbered sections come first"
    if number == 0:  # a look around before anything is explained
        assert "Exercises" in found
        return
    assert found[len(numbered) :] == ENDS
    for title in NUMBERED_ENDS:
        assert any(one.endswith(f" {title}") for one in numbered), f"no section {title!r}"
    summary = re.search(r"^## Summary\n+(.+?)(?=^## |\Z)", prose(path), re.M | re.S)
    assert len(summary[1].strip().splitlines()) == 5, "the summary has five lines"


@each(CHAPTERS)
def test_every_figure_has_its_caption(path):
    chapter, numbers = BOOK[path.name], []
    for (_, cell), (after, next_cell) in pairwise([*cells(path), ("", {"cell_type": "end"})]):
        drawn = [
            o for o in cell.get("outputs", []) if any(kind.startswith("image/") for kind in o.get("data", {}))
        ]
        caption = CAPTION.match(after) if next_cell["cell_type"] == "markdown" else None
        assert len(drawn) <= 1, "one figure a cell, so that each has its caption below"
        assert bool(drawn) == (caption is not None), (
            f"a figure without caption or a caption without: {after[:80]!r}"
        )
        numbers += [caption[1]] if caption else []
    assert numbers == [f"{chapter.number}.{i + 1}" for i in range(len(numbers))]
    assert len(numbers) >= (FIGURES if chapter.number else 1)


@each(CHAPTERS)
def test_how_long_it_is(path):
    text = re.sub(r"\$\$.*?\$\$|<!--.*?-->|^\|[^\n]*$", "", prose(path), flags=re.S | re.M)
    words = len(re.sub(r"\$[^$]+\$", "formula", text).split())
    if BOOK[path.name].number:
        assert WORDS[0] <= words <= WORDS[1], f"{words} words"


@each(CHAPTERS + SOLUTIONS)
def test_words_that_are_not_used(path):
    found = BANNED.findall(prose(path))
    assert not found, found


@each(CHAPTERS + SOLUTIONS)
def test_links_and_references_lead_somewhere(path):
    text = prose(path)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        file = link.split("#")[0]
        if re.match(r"https?://", link) or not file:
            continue
        planned = Path(file).name in BOOK and BOOK[Path(file).name].state == "planned"
        assert planned or (path.parent / file).is_file(), f"{link} leads nowhere"
    there = {chapter.name[:2]: chapter for chapter in CHAPTERS}
    for kind, (reference, place) in REFERENCES.items():
        for number in re.findall(reference, text):
            chapter = there.get(f"{int(number.split('.')[0]):02d}")
            if chapter is not None:
                assert number in re.findall(place, prose(chapter)), f"there is no {kind} {number}"


# How the text speaks of a numbered thing, and what stands where that thing is.
REFERENCES = {
    "section": (r"[Ss]ection (\d+\.\d+)", r"(?m)^## (\d+\.\d+) "),
    "figure": (r"[Ff]igure (\d+\.\d+)", r"(?m)^\*Figure (\d+\.\d+)\. "),
    "equation": (r"\((\d+\.\d+)\)", r"\\tag\{(\d+\.\d+)\}"),
}


# ---- notation

NO_SYMBOLS = set(
    """frac dfrac tfrac sqrt left right big Big bigl bigr Bigl Bigr bigg biggl biggr underbrace overbrace
    quad qquad prod sum int partial nabla infty to mapsto sim approx equiv propto le leq ge geq lt gt ll gg ne
    neq in cdot times dots ldots cdots mid vert lVert rVert lvert rvert langle rangle lfloor rfloor lceil
    rceil Longrightarrow Rightarrow Longleftrightarrow Leftrightarrow rightarrow leftarrow iff implies pm mp
    quad limits displaystyle exp log ln cos sin tan arg min max lim""".split()
)
TEXT = re.compile(r"\\(?:text\w*|mathrm|tag|begin|end|label)\*?\{[^{}]*\}")
SYMBOL = re.compile(
    r"\\operatorname\*?\{(\w+)\}|\\(bar|hat|tilde|vec|dot(?!s)|mathbb|mathcal|mathbf|boldsymbol)\s*\{?\s*"
    r"(\\[A-Za-z]+|[A-Za-z])|\\([A-Za-z]+)|([A-Za-z])"
)


def symbols(latex):
    r"""The letters of a formula, each with its accent, those of indices too: \bar\alpha_t has \bar\alpha and
    t.
    """
    found = set()
    for name, accent, base, macro, letter in SYMBOL.findall(TEXT.sub(" ", latex)):
        if macro in NO_SYMBOLS and macro:
            continue
        found.add(name or (f"\\{accent} {base}" if accent else f"\\{macro}" if macro else letter))
    return found


def notation(number):
    """Every symbol that chapters/notation.md gives a reader of this chapter: those of the whole book, of the
    chapter and of the chapters before it. Each row has its four cells filled.
    """
    known, read = set(), True
    for line in (ROOT / "chapters" / "notation.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            chapter = re.fullmatch(r"## Chapter (\d+)", line)
            read = chapter is None or int(chapter[1]) <= number
        if line.startswith("| $"):
            row = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            assert len(row) == 4 and all(row), row
            if read:
                known |= set().union(*(symbols(latex) for latex in re.findall(r"\$([^$]+)\$", row[0])))
    return known


@each(CHAPTERS)
def test_every_symbol_of_a_numbered_equation_stands_in_the_notation(path):
    known = notation(int(path.name[:2]))
    for latex in re.findall(r"\$\$(.+?)\$\$", prose(path), re.S):
        if "\\tag{" in latex:
            missing = symbols(latex) - known
            assert not missing, f"{sorted(missing)} in {latex.strip()}"


def test_symbols():
    assert symbols(r"x_t = \sqrt{\bar\alpha_t}\,x_{t-1} + \epsilon_\theta(x_t) \tag{1.7}") == {
        "x",
        "t",
        r"\bar \alpha",
        r"\epsilon",
        r"\theta",
    }
    latex = (
        r"\bar{\alpha} \hat x_0 \mathcal N(x;\, \mu) \operatorname{Var}[x] \text{ with } \cos \left( \dots "
        r"s \right)"
    )
    assert symbols(latex) == {r"\bar \alpha", r"\hat x", r"\mathcal N", "x", r"\mu", "s", "Var"}


# ---- exercises

RIGHT = re.compile(r"^(\d+\.\d+) \w+ is right[.:]", re.M)


@each(SOLUTIONS)
def test_an_exercise_says_what_it_asks(path):
    chapter = BOOK[path.name]
    first = cells(path)[0][0]
    assert first.startswith(f"# {chapter.number}. {chapter.title}: exercises\n")
    assert f"(../chapters/{path.name})" in first
    found = re.split(r"^(?=## )", prose(path), flags=re.M)[1:]
    assert len(found) >= (6 if chapter.number else 2)
    for i, text in enumerate(found):
        assert text.startswith(f"## {chapter.number}.{i + 1} "), text[:60]
        assert re.search(r"^Difficulty [1-5] of 5, \d+ minutes\. Practises .+", text, re.M), text[:60]
        assert "<details>" in text and text.count("<details>") == text.count("</details>"), (
            f"hints: {text[:60]}"
        )
    code = [source for source, _ in cells(path, "code")]
    assert sum("### BEGIN SOLUTION" in source for source in code) >= len(found)
    sections = {title.split()[0] for title in headings(ROOT / chapter.file)}
    for i in range(len(found)):
        exercise = find(f"{chapter.number}.{i + 1}")
        assert exercise.section in sections, (
            f"{exercise.number} sends the reader to section {exercise.section}"
        )
    right = [number for output in outputs(path) for number in RIGHT.findall("".join(output.get("text", "")))]
    assert right == [f"{chapter.number}.{i + 1}" for i in range(len(found))], "run: make notebooks"


@each(SOLUTIONS)
def test_the_exercises_are_made_from_the_solutions(path):
    copy = ROOT / "exercises" / path.name
    assert copy.read_text(encoding="utf-8") == exercises_from(path), "run: make notebooks"
    text = copy.read_text(encoding="utf-8")
    assert "SOLUTION" not in text and '"outputs": [' in text
    assert all(not cell["outputs"] and cell["execution_count"] is None for _, cell in cells(copy, "code"))


@each(EXERCISES)
def test_unanswered_exercises_run_to_the_end_and_ask_for_answers(path):
    names, said = {"__name__": "__main__"}, io.StringIO()
    with contextlib.redirect_stdout(said), torch.enable_grad():  # some notebooks switch it off for good
        for i, (source, _) in enumerate(cells(path, "code")):
            exec(compile(source, f"{path.name}, code cell {i + 1}", "exec"), names)
    numbers = re.findall(r"^## (\d+\.\d+) ", prose(path), re.M)
    assert re.findall(r"^(\d+\.\d+) is still to be (?:written|repaired)", said.getvalue(), re.M) == numbers
