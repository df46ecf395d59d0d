"""The numbered equations of the chapters and their tests: none missing, none left over, none blind to a wrong
sign.
"""

import importlib
import json
import re
import time
from itertools import groupby
from pathlib import Path

import pytest

from . import EQUATIONS, NOTICED, equation, flipped

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"<!-- eq (\d+\.\d+) ([a-z0-9]+(?:-[a-z0-9]+)*) -->\n\$\$(.+?)\$\$", re.S)
TAG = re.compile(r"\\tag\{([^}]*)\}")
LIMIT = 60  # seconds for all flips of one equation

for path in sorted(Path(__file__).parent.glob("test_[0-9][0-9].py")):
    importlib.import_module(f"{__package__}.{path.stem}")


def numbered(text: str) -> list[tuple[str, str]]:
    """(number, label) of every marked equation in a text; fails where a mark and its tag disagree."""
    marks = MARK.findall(text)
    for number, label, latex in marks:
        assert TAG.findall(latex) == [number], f"eq {number} {label} needs one \\tag{{{number}}}"
    tags, comments = len(TAG.findall(text)), text.count("<!-- eq ")
    assert len(marks) == tags == comments, (
        f"{tags} \\tag, {comments} marks, {len(marks)} of them just above their $$"
    )
    return [(number, label) for number, label, _ in marks]


def in_the_book() -> dict[str, list[tuple[str, str]]]:
    """The equations of every chapter, in the order of the text."""
    chapters = sorted((ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"))
    cells = {path.name: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in chapters}
    return {
        name: [
            found
            for cell in part
            if cell["cell_type"] == "markdown"
            for found in numbered("".join(cell["source"]))
        ]
        for name, part in cells.items()
    }


def test_numbers_run_in_order():
    for name, equations in in_the_book().items():
        chapter = int(name[:2])
        assert [number for number, _ in equations] == [f"{chapter}.{i + 1}" for i in range(len(equations))], (
            name
        )


def test_every_equation_of_the_book_has_its_test():
    book = sorted(found for equations in in_the_book().values() for found in equations)
    tested = sorted((e.number, e.label) for e in EQUATIONS)
    assert [f"({n}) {label} has no test" for n, label in book if (n, label) not in tested] == []
    assert [f"({n}) {label} is in no chapter" for n, label in tested if (n, label) not in book] == []
    assert [number for number, same in groupby(n for n, _ in tested) if len(list(same)) > 1] == []
    for e in EQUATIONS:
        assert e.test.__module__.endswith(f"test_{int(e.number.split('.')[0]):02d}"), (
            f"({e.number}) is in another file"
        )


@pytest.mark.parametrize("found", EQUATIONS, ids=lambda e: f"{e.number}-{e.label}")
def test_a_wrong_sign_fails(found):
    start = time.monotonic()
    for claim, test in flipped(found.test):
        try:
            test()
        except NOTICED:
            continue
        finally:
            assert time.monotonic() - start < LIMIT, f"({found.number}): make its test faster"
        pytest.fail(f"({found.number}) {found.label} passes with a wrong sign:\n{claim}")


# ---- the machinery itself


def test_each_sign_is_flipped_once():
    def a_test():
        def claim(a, b):
            return -a + b * (a - 1)

        assert claim(2, 5) == 3

    wrong = [claim for claim, _ in flipped(a_test)]
    assert [claim.splitlines()[-1].strip() for claim in wrong] == [
        "return -a - b * (a - 1)",
        "return +a + b * (a - 1)",
        "return -a + b * (a + 1)",
    ]
    for _, test in flipped(a_test):
        with pytest.raises(AssertionError):
            test()


def test_a_claim_without_signs():
    def product():
        def claim(a, b):
            return a * b

        assert claim(2, 5) == 10

    def name():
        def claim(a):
            return a

        assert claim(2) == 2

    def none():
        pass

    assert [claim.splitlines()[-1].strip() for claim, _ in flipped(product)] == ["return a / b"]
    assert [claim.splitlines()[-1].strip() for claim, _ in flipped(name)] == ["return -a"]
    with pytest.raises(AssertionError, match="needs one function `claim`"):
        list(flipped(none))


def test_marks_and_tags_belong_together():
    mark, math = "<!-- eq 1.7 jump -->\n", "$$ x_t = x_0 \\tag{1.7} $$\n"
    assert numbered(f"text\n\n{mark}{math}\nmore") == [("1.7", "jump")]
    for wrong in (math, mark, mark + "$$ x $$", mark + math.replace("1.7", "1.8"), mark + math + math):
        with pytest.raises(AssertionError):
            numbered(wrong)


def test_registering():
    @equation("0.0", "nothing")
    def a_test():
        pass

    assert EQUATIONS.pop().label == "nothing" and a_test() is None
