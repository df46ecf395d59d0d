"""The bank of wrong and right answers (tests/mistakes/bank_NN.py) against the checks of the exercises.

BANK = {"1.3": {"wrong": [(function, "part of what the check says"), ...], "right": [function, ...]}}
"""

import importlib
import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch

from agreement import definitions
from minisd.teaching import check
from minisd.teaching.checks import CheckFailed, behaviour, difference, find, verdict

ROOT = Path(__file__).parent.parent
SOLUTIONS = sorted((ROOT / "solutions").glob("[0-9][0-9]_*.ipynb"))
BANKS = {path.stem[-2:]: path for path in sorted((ROOT / "tests" / "mistakes").glob("bank_[0-9][0-9].py"))}
CHECKS = {
    path.stem[-2:]: path
    for path in sorted((ROOT / "minisd" / "teaching" / "exercises").glob("ch[0-9][0-9].py"))
}
LEAST_WRONG, LEAST_RIGHT = 4, 2


def bank(number: str) -> dict:
    return importlib.import_module(f"mistakes.bank_{number}").BANK


@cache
def solved(path: Path) -> dict:
    """Each exercise's number and the function that the solution hands to `check`."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    answers = dict(re.findall(r'^check\("(\d+\.\d+)", (\w+)\)$', text, re.M))
    headings = re.findall(r"^## (\d+\.\d+) ", text, re.M)
    assert list(answers) == headings, f"{path.name}: one check for each heading `## N.k Title`"
    names = definitions(path, list(answers.values()))
    return {number: names[name] for number, name in answers.items()}


EXERCISES = [(path.name[:2], number) for path in SOLUTIONS for number in solved(path)]


def test_every_chapter_with_solutions_has_a_bank_and_checks():
    chapters = [path.name[:2] for path in SOLUTIONS]
    assert chapters == list(BANKS) == list(CHECKS)
    for path in SOLUTIONS:
        number = path.name[:2]
        exercises = importlib.import_module(f"minisd.teaching.exercises.ch{number}").EXERCISES
        numbers = [exercise.number for exercise in exercises]
        assert numbers == list(solved(path)) == list(bank(number))
        assert numbers == [f"{int(number)}.{i + 1}" for i in range(len(numbers))]


@pytest.mark.parametrize(("chapter", "number"), EXERCISES)
def test_an_exercise(chapter, number):
    exercise, entry = find(number), bank(chapter)[number]
    assert len(entry["wrong"]) >= LEAST_WRONG and len(entry["right"]) >= LEAST_RIGHT

    solution = next(solved(path)[number] for path in SOLUTIONS if path.name.startswith(chapter))
    assert solution.__name__ == exercise.name
    for answer in (exercise.right, solution, *entry["right"]):
        assert verdict(exercise, answer) is None, verdict(exercise, answer).says
        check(number, answer)

    said = {}
    for answer, words in entry["wrong"]:
        wrong = verdict(exercise, answer)
        assert wrong is not None and not wrong.unanswered, f"{number}: {answer.__name__} passes"
        assert words in wrong.says, f"{number}: {answer.__name__} should hear {words!r}, hears {wrong.says!r}"
        assert wrong.says not in said, f"{number}: {answer.__name__} and {said[wrong.says]} hear the same"
        said[wrong.says] = answer.__name__
        with pytest.raises(CheckFailed, match=re.escape(wrong.says)):
            check(number, answer)


@pytest.mark.parametrize(("chapter", "number"), EXERCISES)
def test_every_known_mistake_is_told_by_its_own_words(chapter, number):
    """And none hides behind one named before it; each is met by an answer of the bank."""
    exercise, entry = find(number), bank(chapter)[number]
    heard = [verdict(exercise, answer).says for answer, _ in entry["wrong"]]
    for mistake in exercise.mistakes:
        assert any(mistake.says in says for says in heard), (
            f"{number}: no answer of the bank hears {mistake.says!r}"
        )
        if mistake.wrong is not None:
            wrong = verdict(exercise, mistake.wrong)
            assert wrong is not None and mistake.says in wrong.says, f"{number}: {mistake.says!r}"


@pytest.mark.parametrize(("chapter", "number"), EXERCISES)
def test_the_cases_are_several_and_the_reference_keeps_the_rules(chapter, number):
    exercise = find(number)
    cases = exercise.cases(torch.Generator().manual_seed(0))
    assert len(cases) >= 3
    for outcome in behaviour(exercise.right, cases):
        assert not outcome.changed and outcome.repeats, f"{number}: the reference itself"
        assert difference(outcome, outcome, exercise.tolerance) is None, f"{number}: its result holds NaN"


def test_no_answer_stands_twice_in_the_bank():
    """A second copy would count as one more mistake that is recognised."""
    for number in BANKS:
        for exercise, entry in bank(number).items():
            codes = [answer.__code__ for answer, _ in entry["wrong"]] + [f.__code__ for f in entry["right"]]
            told = [(code.co_code, code.co_consts, code.co_names) for code in codes]
            assert len(set(told)) == len(told), f"{exercise} holds the same answer twice"
