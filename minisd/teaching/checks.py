"""Checks a reader's answer to an exercise: says what is wrong and where to read again, never the answer.

    from minisd.teaching import check
    check("1.3", add_noise)

The answer and the reference run on copies of the same random cases, twice each. What they did is compared:
types, shapes, dtypes, values (NaN fails), whether the inputs were changed, whether two calls agree. An answer
that fails is held against the known mistakes: the first one that behaves like it on every case names what
went wrong.
"""

import dataclasses
import importlib.util
import inspect
import itertools
import linecache
import traceback
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SEED = 20_221_022  # of the cases
PLAIN = (
    int,
    bool,
    str,
    bytes,
    type(None),
    set,
    frozenset,
    range,
    torch.dtype,
    torch.device,
)  # compared by ==
LONGEST = 10_000  # yields that are read from a generator


class CheckFailed(AssertionError):
    """A wrong answer. IPython shows the message alone, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@dataclass(frozen=True)
class Mistake:
    """A known mistake: `wrong` computes what a reader who made it does; without one, `seen` recognises it."""

    wrong: Callable | None
    says: str
    seen: Callable[[Callable, list[tuple]], bool] | None = None


@dataclass(frozen=True)
class Exercise:
    """One exercise: the reference `right`, random `cases` (positional arguments), the section to read again.

    tolerance: of the largest number in the reference's tensor or array; of 1 where that holds only zeros.
    """

    number: str
    name: str
    right: Callable
    cases: Callable[[torch.Generator], list[tuple]]
    section: str
    mistakes: tuple[Mistake, ...] = ()
    tolerance: float = 1e-6


@dataclass(frozen=True)
class Outcome:
    """What one call did: its result or its error, whether it changed its inputs, whether a second call
    agreed.
    """

    result: Any
    error: Exception | None
    changed: bool
    repeats: bool


def check(number: str, answer: Callable) -> None:
    """Print that the answer to exercise `number` is right, or that it is still to be written.

    Raises CheckFailed, with what is wrong in words, for a wrong answer; KeyError for an unknown number.
    """
    exercise = find(number)
    wrong = verdict(exercise, answer)
    if wrong is None:
        print(f"{number} {exercise.name} is right.")
    elif wrong.unanswered:
        print(wrong.says)
    else:
        raise CheckFailed(wrong.says)


def find(number: str) -> Exercise:
    """The exercise of that number. Raises KeyError, with the numbers that there are, where there is none."""
    chapter = number.split(".")[0]
    name = f"{__package__}.exercises.ch{chapter:0>2}"
    if not chapter.isdigit() or importlib.util.find_spec(name) is None:
        raise KeyError(f"no exercises for chapter {chapter!r}: numbers are texts such as '1.3'")
    exercises = {exercise.number: exercise for exercise in importlib.import_module(name).EXERCISES}
    if number not in exercises:
        raise KeyError(f"no exercise {number}: there are {', '.join(exercises)}")
    return exercises[number]


@dataclass(frozen=True)
class Wrong:
    """Why an answer is not right."""

    says: str
    unanswered: bool = False


def verdict(exercise: Exercise, answer: Callable) -> Wrong | None:
    """None for a right answer."""
    number, name, see = exercise.number, exercise.name, f" See section {exercise.section}."
    if not callable(answer):
        return Wrong(
            f'{number}: check needs the function itself, got {a_(type(answer))}: check("{number}", {name}).'
        )
    cases = exercise.cases(torch.Generator().manual_seed(SEED))
    expected = parameters(exercise.right)
    if not takes(answer, cases[0]):
        return Wrong(
            f"{number}: {name} should take ({', '.join(expected)}), "
            f"yours takes ({', '.join(parameters(answer))})."
        )
    ours = behaviour(answer, cases)
    for outcome in ours:
        if isinstance(outcome.error, NotImplementedError) and str(outcome.error).startswith(f"{number}:"):
            return Wrong(
                f"{number} is still to be written: put your code in place of the line `raise "
                f"NotImplementedError(...)` in {name}, run that cell, then this one.{see}",
                True,
            )
    theirs = behaviour(exercise.right, cases)
    differences = [difference(*pair, exercise.tolerance) for pair in zip(ours, theirs)]
    if not any(differences):
        return None
    for mistake in exercise.mistakes:
        if made(mistake, answer, ours, cases, exercise.tolerance):
            return Wrong(f"{number}: {mistake.says}{see}")
    first = next(i for i, said in enumerate(differences) if said)
    error = ours[first].error
    said = where(error, answer) if error is not None else differences[first]
    shapes = described(cases[first], expected)
    right = sum(not said for said in differences)
    tally = f" {right} of the {len(cases)} cases are right." if right else ""
    return Wrong(f"{number}: {said} (with {shapes}).{tally}{see}")


def made(
    mistake: Mistake, answer: Callable, ours: list[Outcome], cases: list[tuple], tolerance: float
) -> bool:
    """Whether an answer, which did `ours`, makes this mistake."""
    if mistake.wrong is not None:
        theirs = behaviour(mistake.wrong, cases)
        return not any(difference(*pair, tolerance) for pair in zip(ours, theirs))
    if mistake.seen is None:
        return False
    try:
        return bool(mistake.seen(answer, [copied(case) for case in cases]))
    # It reads results of any type and shape: what it stumbles over is not its mistake.
    except Exception:  # noqa: BLE001
        return False


# ---- what a function does


def behaviour(function: Callable, cases: list[tuple]) -> list[Outcome]:
    """What `function` does with copies of each case. Random numbers drawn afterwards are not disturbed."""
    with torch.random.fork_rng(devices=[]):
        state = np.random.get_state()
        try:
            return [outcome(function, case) for case in cases]
        finally:
            np.random.set_state(state)


def outcome(function: Callable, case: tuple) -> Outcome:
    first, second = copied(case), copied(case)
    result, error = called(function, first)
    changed = mismatch(first, case, 0.0, nan=True) is not None
    again, second_error = called(function, second)
    repeats = type(error) is type(second_error) and mismatch(again, result, 0.0, nan=True) is None
    return Outcome(result, error, changed, repeats)


def called(function: Callable, case: tuple) -> tuple[Any, Exception | None]:
    """The result, its yields in a list if it is a generator; or the error."""
    try:
        result = function(*case)
        return (Yields(itertools.islice(result, LONGEST)) if type(result) is GeneratorType else result), None
    # The reader's own mistakes, of any kind: they are told, not hidden.
    except Exception as error:  # noqa: BLE001
        return None, error


class Yields(list):
    """What a generator gave."""


def copied(value: Any) -> Any:
    """A copy of its own of everything in a case; a random generator in the same state."""
    if type(value) in (tuple, list):
        return type(value)(copied(item) for item in value)
    if isinstance(value, torch.Generator):
        return value.clone_state()
    return deepcopy(value)


# ---- what differs, in words


def difference(ours: Outcome, theirs: Outcome, tolerance: float) -> str | None:
    """How two outcomes differ; None if they do not. Where neither repeats, their types and shapes are
    compared.
    """
    if type(ours.error) is not type(theirs.error):
        if ours.error is None:
            return f"an error of type {type(theirs.error).__name__} should be raised here, and is not"
        return f"your function stopped with {type(ours.error).__name__}"
    if theirs.repeats and not ours.repeats:
        return "called twice with the same inputs, your function gave two results: use only what it is given"
    if not theirs.repeats and ours.repeats:
        return "called twice with the same inputs, your function gave the same result, but it should draw"
    values = mismatch(ours.result, theirs.result, tolerance if theirs.repeats else float("inf"))
    if values is not None:
        return f"your result {values}"
    if ours.changed and not theirs.changed:
        return (
            "your function changed what it was given: make a new tensor or list instead of writing into "
            "that one"
        )
    if theirs.changed and not ours.changed:
        return "your function leaves its inputs as they were; here it should change them"
    return None


def mismatch(ours: Any, theirs: Any, tolerance: float, nan: bool = False) -> str | None:
    """How `ours` differs from `theirs`, as what follows "your result"; None if it does not.

    Types must be the very same: a subclass could say of itself that it equals anything. nan: NaN equals NaN.
    """
    kind = type(theirs)
    if type(ours) is not kind:
        hint = (
            f": wrap it in {kind.__name__}()" if kind in (float, int) and isinstance(ours, np.generic) else ""
        )
        return f"is {a_(type(ours))}, expected {a_(kind)}{hint}"
    if kind in (tuple, list, Yields, torch.Size):
        if len(ours) != len(theirs):
            return f"has {len(ours)} items, expected {len(theirs)}"
        parts = [(f"item {i}", *pair) for i, pair in enumerate(zip(ours, theirs))]
        return first_of(parts, tolerance, nan)
    if kind is dict:
        if sorted(map(repr, ours)) != sorted(map(repr, theirs)):
            return f"has the keys {list(ours)}, expected {list(theirs)}"
        return first_of([(f"entry {key!r}", ours[key], theirs[key]) for key in theirs], tolerance, nan)
    if dataclasses.is_dataclass(theirs) and not isinstance(theirs, type):
        fields = [field.name for field in dataclasses.fields(theirs)]
        return first_of(
            [(name, getattr(ours, name), getattr(theirs, name)) for name in fields], tolerance, nan
        )
    if isinstance(theirs, nn.Module):
        return mismatch(dict(ours.state_dict()), dict(theirs.state_dict()), tolerance, nan)
    if kind in (Tensor, nn.Parameter, np.ndarray):
        return mismatch_of_numbers(ours, theirs, tolerance, nan)
    if kind in (float, complex) or isinstance(theirs, np.generic):
        off = mismatch_of_numbers(np.asarray(ours), np.asarray(theirs), tolerance, nan)
        return off and f"is {ours:.6g}, another number than expected"
    if kind in PLAIN:
        same = ours == theirs or tolerance == float("inf")
        return None if same else f"is {ours!r}, which is not what was expected"
    itself_alone: Any = object.__eq__
    if kind.__eq__ is itself_alone and not callable(theirs) and hasattr(theirs, "__dict__"):
        return mismatch(vars(ours), vars(theirs), tolerance, nan)
    return None  # functions, random generators: there is nothing to compare


def first_of(parts: Iterable[tuple[str, Any, Any]], tolerance: float, nan: bool) -> str | None:
    """Compares named parts one after another and tells about the first that differs."""
    for name, ours, theirs in parts:
        said = mismatch(ours, theirs, tolerance, nan)
        if said is not None:
            return f"differs in {name}, which {said}"
    return None


def mismatch_of_numbers(
    ours: Tensor | np.ndarray, theirs: Tensor | np.ndarray, tolerance: float, nan: bool
) -> str | None:
    """`mismatch` for tensors and arrays: shape, dtype, then the largest difference."""
    if tuple(ours.shape) != tuple(theirs.shape):
        return f"has shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    if ours.dtype != theirs.dtype:
        return f"has dtype {ours.dtype}, expected {theirs.dtype}"
    if tolerance == float("inf"):
        return None
    a, b = (
        np.asarray(
            x.detach().cpu().double() if x.dtype in (torch.bfloat16, torch.float16) else x.detach().cpu()
        )
        if isinstance(x, Tensor)
        else x
        for x in (ours, theirs)
    )
    if a.dtype.kind not in "fc":
        wrong = np.asarray(a != b)
        return f"is off in {wrong.sum()} of {wrong.size} places" if wrong.any() else None
    with np.errstate(all="ignore"):
        equal = (a == b) | (nan & np.isnan(a) & np.isnan(b))
        off = np.where(equal, 0.0, np.abs(a - b))
        size = np.abs(b[np.isfinite(b)]).max(initial=0.0) or 1.0
    bad = ~(off <= tolerance * size)
    if not bad.any():
        return None
    if np.isnan(a).any():
        return "holds NaN"
    return (
        f"has the right shape and dtype, but is off by up to {off.max():.2g}, in {bad.sum()} of {bad.size} "
        "places"
    )


def where(error: Exception, answer: Callable) -> str:
    """The error in one line, with the reader's own line where it happened."""
    said = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].rstrip(": ")
    file = getattr(getattr(answer, "__code__", None), "co_filename", "")
    numbers = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file and f.lineno]
    if not numbers:
        return f"your function stopped with {said}"
    line = linecache.getline(file, numbers[-1]).strip()
    return f"your function stopped in line {numbers[-1]}{f', `{line}`,' if line else ''} with {said}"


def described(case: tuple, names: list[str]) -> str:
    """The inputs of a case in a few words: shapes of tensors, small values as they are."""
    words = []
    for i, value in enumerate(case):
        name = names[i] if i < len(names) else f"argument {i}"
        if isinstance(value, (Tensor, np.ndarray)):
            words.append(f"{name} of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}")
        elif type(value) in (int, float, bool, str):
            words.append(f"{name} = {value!r}")
    return "; ".join(words) or "these inputs"


def takes(function: Callable, case: tuple) -> bool:
    """Whether a function can be called with these arguments."""
    try:
        inspect.signature(function).bind(*case)
    except TypeError:
        return False
    except ValueError:  # some functions written in C tell no signature
        return True
    return True


def parameters(function: Callable) -> list[str]:
    return list(inspect.signature(function).parameters)


def a_(kind: type) -> str:
    """A type's name with its article."""
    name = "None" if kind is type(None) else "generator" if kind is Yields else kind.__name__
    return name if name == "None" else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
