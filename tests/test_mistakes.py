"""The bank of wrong and right answers (tests/mistakes/bank_NN.py) against the checks of the exercises.

BANK = {"1.3": {"wrong": [(answer, "part of what the check says"), ...], "right": [answer, ...]}}

An answer is what the reader hands to `check`: a function, numbers, a formula, by the kind of the exercise.
"""

import importlib
import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch

import judge_bank
from agreement import definitions
from minisd.teaching import check
from minisd.teaching.checks import CheckFailed, exercises, find
from minisd.teaching.differences import difference, repeats
from minisd.teaching.kinds import RIGHT, WRONG, Build, FindTheBug, Predict
from minisd.teaching.running import behaviour

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
    """Each exercise's number, and the name and the value of what the solution hands to `check`."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    answers = dict(re.findall(r'^check\("(\d+\.\d+)", (\w+)\)$', text, re.M))
    headings = re.findall(r"^## (\d+\.\d+) ", text, re.M)
    assert list(answers) == headings, f"{path.name}: one check for each heading `## N.k Title`"
    names = definitions(path, list(answers.values()))
    return {number: (name, names[name]) for number, name in answers.items()}


@cache
def minutes(path: Path) -> dict[str, int]:
    """How long each exercise takes, by its notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    found = re.findall(r"^## (\d+\.\d+) .*?^Difficulty \d of 5, (\d+) minutes", text, re.M | re.S)
    return {number: int(time) for number, time in found}


EXERCISES = [(path.name[:2], number) for path in SOLUTIONS for number in solved(path)]


def test_every_chapter_with_solutions_has_a_bank_and_checks():
    chapters = [path.name[:2] for path in SOLUTIONS]
    assert chapters == list(BANKS) == list(CHECKS)
    for path in SOLUTIONS:
        number = path.name[:2]
        numbers = [exercise.number for exercise in exercises(int(number))]
        assert numbers == list(solved(path)) == list(bank(number))
        assert numbers == [f"{int(number)}.{i + 1}" for i in range(len(numbers))]
        assert minutes(path) == {exercise.number: exercise.minutes for exercise in exercises(int(number))}


@pytest.mark.parametrize(("chapter", "number"), EXERCISES)
def test_an_exercise(chapter, number):
    exercise, entry = find(number), bank(chapter)[number]
    assert len(entry["wrong"]) >= LEAST_WRONG and len(entry["right"]) >= LEAST_RIGHT

    name, solution = next(solved(path)[number] for path in SOLUTIONS if path.name.startswith(chapter))
    assert name == exercise.name
    references = [exercise.right] if isinstance(exercise, Build) and exercise.right else []
    for answer in (*references, solution, *entry["right"]):
        assert exercise.judge(answer).result == RIGHT, exercise.judge(answer).says
        check(number, answer)

    said = {}
    for answer, words in entry["wrong"]:
        verdict = exercise.judge(answer)
        name = judge_bank.named(answer)
        assert verdict.result == WRONG, f"{number}: {name}: {verdict.says}"
        assert words in verdict.says, f"{number}: {name} should hear {words!r}, hears {verdict.says!r}"
        assert verdict.says not in said, f"{number}: {name} and {said[verdict.says]} hear the same"
        said[verdict.says] = name
        with pytest.raises(CheckFailed, match=re.escape(verdict.says)):
            check(number, answer)


@pytest.mark.parametrize(("chapter", "number"), EXERCISES)
def test_every_known_mistake_is_told_by_its_own_words(chapter, number):
    """And none hides behind one named before it; each is met by an answer of the bank."""
    exercise, entry = find(number), bank(chapter)[number]
    heard = [exercise.judge(answer).says for answer, _ in entry["wrong"]]
    for mistake in exercise.mistakes:
        assert any(mistake.says in says for says in heard), (
            f"{number}: no answer of the bank hears {mistake.says!r}"
        )
        if mistake.wrong is not None and not isinstance(exercise, Predict):  # whose numbers may be a part
            assert mistake.says in exercise.judge(mistake.wrong).says, f"{number}: {mistake.says!r}"


@pytest.mark.parametrize(("chapter", "number"), EXERCISES)
def test_the_cases_are_several_and_the_reference_keeps_the_rules(chapter, number):
    exercise = find(number)
    if not isinstance(exercise, Build) or (isinstance(exercise, FindTheBug) and exercise.symptoms_alone):
        return
    cases = exercise.cases(torch.Generator().manual_seed(0))
    assert len(cases) >= 3
    for outcome in behaviour(exercise.right, cases):
        assert not outcome.changed and repeats(outcome, 0.0), f"{number}: the reference itself"
        assert difference(outcome, outcome, exercise.tolerance) is None, f"{number}: its result holds NaN"


def test_no_answer_stands_twice_in_the_bank():
    """A second copy would count as one more mistake that is recognised."""
    for number in BANKS:
        for exercise, entry in bank(number).items():
            answers = [answer for answer, _ in entry["wrong"]] + entry["right"]
            told = [written(answer) for answer in answers]
            assert len(set(told)) == len(told), f"{exercise} holds the same answer twice"


def written(answer) -> str:
    """What stands in an answer, but for its name."""
    code = getattr(answer, "__code__", None)
    if code is None:
        return repr(answer)
    cells = [cell.cell_contents for cell in answer.__closure__ or ()]
    return repr((code.co_code, code.co_consts, code.co_names, cells, answer.__defaults__))


def test_the_banks_are_counted(capsys):
    assert judge_bank.main([str(BANKS["00"])]) == 0
    assert re.search(r"judged rightly: (\d+) of \1, 100.0 %", capsys.readouterr().out)
