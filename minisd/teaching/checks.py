"""Checks a reader's answer to an exercise: says what is wrong and where to read again, never the answer.

    from minisd.teaching import check
    check("1.3", add_noise)

How each kind of exercise is judged stands in kinds.py.
"""

import importlib.util
import os
import textwrap
from collections.abc import Sequence
from typing import Any

from .kinds import Exercise
from .progress import RIGHT, TO_DO, WRONG, record, workspace

WIDTH = 100  # characters


class CheckFailed(AssertionError):
    """A wrong answer. IPython shows the message alone, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return in_lines(str(self)).splitlines()


class NoSuchExercise(CheckFailed, KeyError):
    """A number that no exercise has."""

    def __str__(self) -> str:  # KeyError's own puts it in quotes
        return str(self.args[0])


def check(number: str, answer: Any) -> None:
    """Print that the answer to exercise `number` is right, or that it is still to be written.

    In the reader's folder my/ the result is kept, and what is left of the chapter is told. Raises
    CheckFailed, with what is wrong in words, for a wrong answer; NoSuchExercise, a KeyError, for an unknown
    number.
    """
    exercise = find(asked(number, answer))
    try:
        verdict = exercise.judge(answer)
    except KeyboardInterrupt:
        raise CheckFailed(f"{exercise.number}: the check was interrupted before it ended.") from None
    folder, told = workspace(), ""
    if folder is not None:
        chapter = int(exercise.number.split(".")[0])
        told = summary(chapter, exercises(chapter), record(folder, exercise.number, verdict.result))
    graded = "NBGRADER_EXECUTION" in os.environ  # a cell that raises nothing would earn its points
    if verdict.result == WRONG or (graded and verdict.result == TO_DO):
        raise CheckFailed(f"{verdict.says}{told and chr(10)}{told}")
    print(in_lines("\n".join(part for part in (verdict.says, told) if part)))


def in_lines(text: str) -> str:
    """A text in lines of a page's width; JupyterLab breaks longer ones within words."""
    return "\n".join(textwrap.fill(line, WIDTH, break_long_words=False) for line in text.splitlines())


def summary(chapter: int, exercises: Sequence[Exercise], results: dict[str, str]) -> str:
    """How much of a chapter is done, what is left and what to do next."""
    left = [exercise for exercise in exercises if results.get(exercise.number) != RIGHT]
    done = f"Chapter {chapter}: {len(exercises) - len(left)} of {len(exercises)} done"
    if not left:
        return f"{done}. That is all of it."
    numbers = ", ".join(exercise.number for exercise in left)
    return f"{done}; left: {numbers}; next: {in_words(left[0])}."


def in_words(exercise: Exercise) -> str:
    """An exercise as the next thing to do."""
    return f"{exercise.number} ({exercise.kind}, {exercise.minutes} minutes)"


def asked(number: Any, answer: Any) -> str:
    """The number of the exercise, as a text. Raises CheckFailed for two arguments in the wrong order."""
    if isinstance(number, str):
        return number
    name = getattr(number, "__name__", None) or getattr(answer, "__name__", "answer")
    told = answer if isinstance(answer, str) else number if isinstance(number, float) else "1.3"
    order = "the number comes first" if isinstance(answer, str) else "the number is a text, in quotes"
    raise CheckFailed(f'{order}: check("{told}", {name}).')


def exercises(chapter: int) -> list[Exercise]:
    """The exercises of a chapter, in order; none for a chapter without."""
    name = f"{__package__}.exercises.ch{chapter:02d}"
    if importlib.util.find_spec(name) is None:
        return []
    return list(importlib.import_module(name).EXERCISES)


def find(number: str) -> Exercise:
    """The exercise of that number. Raises NoSuchExercise, with the numbers that there are, for another."""
    chapter = number.split(".")[0]
    there = exercises(int(chapter)) if chapter.isdecimal() and chapter.isascii() and len(chapter) < 4 else []
    if not there:
        raise NoSuchExercise(f"no exercises for chapter {chapter!r}: numbers are texts such as '1.3'")
    for exercise in there:
        if exercise.number == number:
            return exercise
    raise NoSuchExercise(f"no exercise {number}: there are {', '.join(one.number for one in there)}")
