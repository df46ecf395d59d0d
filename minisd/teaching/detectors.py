"""Slips that anybody makes in any formula: recognised by what an answer computes, told in one line.

Each detector looks at a wrong answer and says what it found, or None. They come after an exercise's own known
mistakes and before "off by up to".
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .differences import numbers
from .outcome import Outcome, Yields
from .running import called, copied

FEWEST = 3  # numbers that must agree before a pattern is believed
MOST_ITEMS = 8


@dataclass(frozen=True)
class Answer:
    """A wrong answer beside the reference: what both did on each case, and how to ask them again."""

    answer: Callable
    right: Callable
    cases: list[tuple]
    names: list[str]
    ours: list[Outcome]
    theirs: list[Outcome]
    wrong: list[bool]  # a case each
    tolerance: float

    @cached_property
    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """All numbers of each result and of the reference's; empty where one holds anything else."""
        pairs = [(flat(a.result), flat(b.result)) for a, b in zip(self.ours, self.theirs)]
        return together(pairs)

    def asks(self, cases: list[tuple], theirs: list[tuple] | None = None) -> list[tuple]:
        """Pairs of numbers: the answer's on some cases, and the reference's on them, or on others."""
        return together(
            [
                (flat(called(self.answer, copied(case))[0]), flat(called(self.right, copied(other))[0]))
                for case, other in zip(cases, theirs or cases)
            ]
        )

    def agrees(self, pairs: list[tuple]) -> bool:
        """Whether there are pairs, and all are of equal numbers."""
        return bool(pairs) and all(same(a, b, self.tolerance) for a, b in pairs)


def found(answer: Answer) -> str | None:
    """What the first detector that recognises something says."""
    for detector in DETECTORS:
        said, error = called(detector, (answer,))  # one that stumbles has recognised nothing
        if error is None and said is not None:
            return said
    return None


# ---- numbers


def flat(result: Any) -> np.ndarray | None:
    """All numbers of a result in one row; None if it holds anything else."""
    if type(result) in (tuple, list, Yields):
        parts = [flat(item) for item in result]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if known and len(known) == len(parts) else None
    if isinstance(result, (Tensor, np.ndarray)):
        row = numbers(result).reshape(-1)
    elif isinstance(result, (bool, int, float, complex, np.generic)):
        row = np.asarray([result])
    else:
        return None
    if row.dtype.kind not in "biufc":
        return None
    return row.astype(np.complex128 if row.dtype.kind == "c" else np.float64)


def together(pairs: list[tuple]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The pairs, if every one has two rows of one length; otherwise none."""
    whole = all(a is not None and b is not None and a.shape == b.shape for a, b in pairs)
    return pairs if whole else []


def same(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """Whether two rows of finite numbers are equal within the tolerance, of the largest."""
    if not np.isfinite(b).all():
        return False
    size = np.abs(b).max(initial=0.0) or 1.0
    with np.errstate(all="ignore"):
        return bool((np.abs(a - b) <= 10 * tolerance * size).all())


def named(factor: float) -> str:
    """A factor as one would say it: 2, 1/2, pi, 3 times the root of 2."""
    for word, unit in (("", 1.0), ("pi", math.pi), ("the root of 2", math.sqrt(2))):
        simple = Fraction(factor / unit).limit_denominator(12)
        if simple and abs(simple - Fraction(factor / unit)) < 1e-4 * abs(simple):
            return str(simple) if not word else word if simple == 1 else f"{simple} times {word}"
    return f"{factor:.4g}"


# ---- one relation between all numbers


def relation(pairs: list[tuple], tolerance: float) -> str | None:
    """What turns every right number into the answer's, as what follows "your result"."""
    told = [b for _, b in pairs]
    if not pairs or sum(map(len, told)) < FEWEST or not any(b.any() for b in told):
        return None
    for says, turned in RELATIONS:
        with np.errstate(all="ignore"):
            if all(same(a, turned(b), tolerance) for a, b in pairs):
                return says
    return factor(pairs, tolerance) or offset(pairs, tolerance)


def clipped(b: np.ndarray) -> np.ndarray:
    return np.clip(b, -1, 1)


RELATIONS: tuple[tuple[str, Callable[[np.ndarray], np.ndarray]], ...] = (
    ("has the sign flipped: it is the negative of the right one", lambda b: -b),
    ("is the absolute value of the right one: the sign is lost", np.abs),
    ("is the square of the right one: a root is missing", lambda b: b**2),
    ("is the root of the right one: take the square, or leave out a root", lambda b: b**0.5),
    ("is upside down: it is one over the right one", lambda b: 1 / b),
    ("is one minus the right one: the two shares have changed places", lambda b: 1 - b),
    ("is the logarithm of the right one: exp() is missing", np.log),
    ("is the exponential of the right one: a logarithm is missing", np.exp),
    ("is the logarithm of the right one, to base 10", np.log10),
    ("is right where it lies between -1 and 1, and clipped elsewhere", clipped),
    ("is right where it is positive, and zero elsewhere", lambda b: np.maximum(b, 0)),
    ("is the right one, rounded to whole numbers", np.round),
    ("is the right one, cut off to whole numbers", np.trunc),
    ("holds the right numbers in reverse order", lambda b: b[::-1]),
)


def factor(pairs: list[tuple], tolerance: float) -> str | None:
    """A constant factor, the same in every case."""
    a, b = (np.concatenate(rows) for rows in zip(*pairs))
    if np.count_nonzero(b) < FEWEST or np.iscomplexobj(a):
        return None
    best = float((a * b).sum() / (b * b).sum())
    if not math.isfinite(best) or abs(best - 1) < 1e-3 or abs(best) < 1e-9:
        return None
    if all(same(mine, best * right, tolerance * abs(best)) for mine, right in pairs):
        sign = " and has the wrong sign" if best < 0 else ""
        return f"is off by a constant factor: it is {named(abs(best))} times the right one{sign}"
    return None


def offset(pairs: list[tuple], tolerance: float) -> str | None:
    """A constant that was added in every case."""
    a, b = (np.concatenate(rows) for rows in zip(*pairs))
    if np.ptp(b.real) <= tolerance or np.iscomplexobj(a):
        return None
    by = float(np.median(a - b))
    if abs(by) <= 1e-3 * np.abs(b).max() or not np.allclose(a - b, by, rtol=1e-3, atol=1e-9):
        return None
    return f"is {named(abs(by))} too {'large' if by > 0 else 'small'} in every place"


def in_each_case(answer: Answer) -> str | None:
    """A factor or a constant that differs from case to case."""
    rows = [(a, b) for a, b in answer.pairs if len(b) >= FEWEST and np.ptp(b.real) > 0]
    if (
        not rows
        or not all(answer.wrong)
        or len(rows) < len(answer.pairs)
        or any(np.iscomplexobj(a) for a, _ in rows)
    ):
        return None
    factors = [float((a * b).sum() / (b * b).sum()) for a, b in rows]
    if all(abs(f) > 1e-6 and same(a / f, b, answer.tolerance) for f, (a, b) in zip(factors, rows)):
        return (
            "each result is a multiple of the right one, the first "
            f"{named(factors[0])} times: look at what multiplies or divides the whole"
        )
    shifts = [float(np.median(a - b)) for a, b in rows]
    if all(same(a - shift, b, answer.tolerance) for shift, (a, b) in zip(shifts, rows)):
        return f"each result is shifted as a whole, the first by {shifts[0]:.4g}: look at what is added to it"
    if all(same(np.abs(a), np.abs(b), answer.tolerance) for a, b in rows):
        return "the sizes in your result are right, some of the signs are not"
    return None


def which_entries(answer: Answer) -> str | None:
    """In a row of numbers: the first, the last, or all but those are right."""
    told = set()
    for a, b in answer.pairs:
        if len(b) < FEWEST:
            return None
        size = 10 * answer.tolerance * (np.abs(b).max() or 1.0)
        right = [bool(abs(x - y) <= size) for x, y in zip(a, b)]
        if not all(right):
            told.add(
                "the first entry of your result is right, those after it are not"
                if right[0] and not any(right[1:])
                else "the last entry of your result is right, those before it are not"
                if right[-1] and not any(right[:-1])
                else "all entries of your result are right but the first"
                if all(right[1:])
                else "all entries of your result are right but the last"
                if all(right[:-1])
                else ""
            )
    return told.pop() or None if len(told) == 1 else None


def a_relation(answer: Answer) -> str | None:
    said = relation(answer.pairs, answer.tolerance)
    return said and f"your result {said}"


def size_of_the_input(answer: Answer) -> str | None:
    """A factor that is the number of elements: a sum for a mean, or the other way round."""
    ratios = []
    for a, b in answer.pairs:
        if len(b) != 1 or not b[0]:
            return None
        ratios.append(float((a[0] / b[0]).real))
    sizes: list[dict[str, int]] = [
        {"numbers": value.numel(), "pictures": value.shape[0]}
        for case in answer.cases
        for value in [next((x for x in case if isinstance(x, Tensor) and x.ndim), None)]
        if value is not None
    ]
    if len(sizes) != len(ratios) or len(set(ratios)) < 2:
        return None
    for what, power, says in (
        ("numbers", 1, "a sum where a mean is asked for"),
        ("numbers", -1, "a mean where a sum is asked for"),
        ("pictures", 1, "a sum over the batch where a mean is asked for"),
        ("pictures", -1, "a mean over the batch where a sum is asked for"),
    ):
        if all(abs(r - size[what] ** power) <= 1e-3 * abs(r) for r, size in zip(ratios, sizes)):
            return f"your result is {says}"
    return None


# ---- which item


def items(answer: Answer) -> str | None:
    """Of several results: which are right, which have changed places."""
    results = [(a.result, b.result) for a, b in zip(answer.ours, answer.theirs)]
    kinds = (tuple, list)
    if not all(type(a) in kinds and type(a) is type(b) and len(a) == len(b) for a, b in results):
        return None
    count = len(results[0][1])
    if not 2 <= count <= MOST_ITEMS or any(len(b) != count for _, b in results):
        return None
    rows = [together([(flat(a[i]), flat(b[i])) for a, b in results]) for i in range(count)]
    for i, j in itertools.combinations(range(count), 2):
        crossed = together([(flat(a[i]), flat(b[j])) for a, b in results])
        crossed += together([(flat(a[j]), flat(b[i])) for a, b in results])
        if len(crossed) == 2 * len(results) and answer.agrees(crossed):
            return f"items {i} and {j} of your result have changed places (counted from 0)"
    right = [answer.agrees(pairs) for pairs in rows]
    if any(right) and not all(right):
        wrong = right.index(False)
        said = relation(rows[wrong], answer.tolerance)
        good = ", ".join(str(i) for i in range(count) if right[i])
        return f"item {good} of your result is right, item {wrong} is not" + (f": it {said}" if said else "")
    return None


# ---- which input


def floats(case: tuple) -> list[int]:
    """Which arguments of a case are tensors of real numbers, or real numbers."""
    return [
        i
        for i, x in enumerate(case)
        if type(x) is float or (isinstance(x, Tensor) and x.is_floating_point() and x.numel())
    ]


def changed(case: tuple, **values: Any) -> tuple:
    """A case with other arguments: changed(case, _2=0.5) has 0.5 as the third."""
    return tuple(values.get(f"_{i}", value) for i, value in enumerate(case))


def name_of(answer: Answer, i: int) -> str:
    return f"`{answer.names[i]}`" if i < len(answer.names) else f"argument {i}"


def pairs_of_inputs(answer: Answer) -> Iterator[tuple[int, int]]:
    """Arguments of the same type and shape in every case."""
    for i, j in itertools.combinations(range(len(answer.cases[0])), 2):
        values = [(case[i], case[j]) for case in answer.cases]
        if all(
            type(a) is type(b) and type(a) in (int, float, Tensor) and np.shape(a) == np.shape(b)
            for a, b in values
        ):
            yield i, j


def exchanged_inputs(answer: Answer) -> str | None:
    for i, j in pairs_of_inputs(answer):
        others = [changed(case, **{f"_{i}": case[j], f"_{j}": case[i]}) for case in answer.cases]
        if answer.agrees(together_of(answer, others)):
            return f"{name_of(answer, i)} and {name_of(answer, j)} have changed places"
    return None


def together_of(answer: Answer, others: list[tuple]) -> list[tuple]:
    """What the answer did on the cases, beside what the reference does on others."""
    return together(
        [
            (flat(mine.result), flat(called(answer.right, copied(other))[0]))
            for mine, other in zip(answer.ours, others)
        ]
    )


def unused_input(answer: Answer) -> str | None:
    """An input that matters, and that the answer does not listen to."""
    for i in floats(answer.cases[0]) + whole(answer.cases[0]):
        others = [changed(case, **{f"_{i}": another(case[i])}) for case in answer.cases]
        before, after = answer.asks(answer.cases), answer.asks(others)
        if not before or not after:
            continue
        still = all(same(a, b, 1e-9) for (a, _), (b, _) in zip(before, after))
        matters = [not same(a, b, answer.tolerance) for (_, a), (_, b) in zip(before, after)]
        if still and any(matters):
            return f"your result does not change with {name_of(answer, i)}, and it should: where is it used?"
    return None


def whole(case: tuple) -> list[int]:
    """Which arguments are whole numbers, or tensors of them."""
    return [
        i
        for i, x in enumerate(case)
        if type(x) is int or (isinstance(x, Tensor) and not x.is_floating_point() and x.numel())
    ]


def another(value: Any) -> Any:
    """Another value of the same kind and about the same size."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value * 0.9 + 0.01 * value.abs().max() * torch.linspace(0, 1, value.numel()).view(value.shape)
    return (
        0.9 * value + 0.003 if type(value) is float else value - 1 if numbers_above_zero(value) else value + 1
    )


def numbers_above_zero(value: Any) -> bool:
    return bool((value > 0).all()) if isinstance(value, Tensor) else value > 0


def off_by_one(answer: Answer) -> str | None:
    """Right for the whole number before or after: one counts from 0 or from 1."""
    for i in whole(answer.cases[0]):
        for step, says in ((-1, "before"), (1, "after")):
            mine, right = [], []
            for case in answer.cases:
                other = changed(case, **{f"_{i}": case[i] + step})
                if numbers_above_zero(other[i] + 1) and called(answer.right, copied(other))[1] is None:
                    mine.append(case)
                    right.append(other)
            if len(mine) >= 2 and answer.agrees(answer.asks(mine, right)):
                return (
                    f"your result is the right one for the {name_of(answer, i)} one {says}: from which "
                    "number is it counted?"
                )
    return None


TURNS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("the square of {}: is a root missing, or one square too many?", lambda x: x**2),
    ("the root of {}: is there one root too many, or a square missing?", lambda x: x**0.5),
    ("1 - {}: have the two shares changed places?", lambda x: 1 - x),
    ("the negative of {}: look at its sign", lambda x: -x),
    ("1 / {}: is it upside down?", lambda x: 1 / x),
    ("twice {}: is a factor 2 too many?", lambda x: 2 * x),
    ("half of {}: is a factor 2 missing?", lambda x: x / 2),
)


def turned_input(answer: Answer) -> str | None:
    """Right for the square, the root, ... of one input."""
    for i in floats(answer.cases[0]):
        for says, turn in TURNS:
            others = [changed(case, **{f"_{i}": turn(case[i])}) for case in answer.cases]
            if answer.agrees(together_of(answer, others)):
                return f"your result is right for {says.format(name_of(answer, i))}"
    return None


def parts(answer: Answer) -> str | None:
    """What a change of one tensor does to the result, the others left alone: which of them enters rightly?"""
    tensors = [i for i in floats(answer.cases[0]) if shaped_like_the_result(answer, i)]
    before, by_input = answer.asks(answer.cases), {}
    for i in tensors:
        after = answer.asks([changed(case, **{f"_{i}": 2 * case[i]}) for case in answer.cases])
        by_input[i] = [(c - a, d - b) for (a, b), (c, d) in zip(before, after)]
    right = {i: answer.agrees(pairs) for i, pairs in by_input.items()}
    if not any(right.values()):
        return None
    if all(right.values()):
        return (
            "your result changes with its inputs as it should, but something is added that does not belong "
            "there, or is missing"
        )
    good = " and ".join(name_of(answer, i) for i in tensors if right[i])
    bad = next(i for i in tensors if not right[i])
    said = relation(by_input[bad], answer.tolerance)
    more = f": that part {said}" if said else ", its factor is another"
    return f"what multiplies {good} is right, what multiplies {name_of(answer, bad)} is not{more}"


def shaped_like_the_result(answer: Answer, i: int) -> bool:
    """Whether an input is a picture where the result is one; any tensor will do where it is a number."""
    pairs = [(case[i], outcome.result) for case, outcome in zip(answer.cases, answer.theirs)]
    return all(
        isinstance(value, Tensor) and (not isinstance(result, Tensor) or np.shape(value) == np.shape(result))
        for value, result in pairs
    )


def straight(pairs_at: list[list[tuple]], which: int, tolerance: float) -> bool:
    """Whether results grow evenly from an input's 1, to 2, to 3 times; 0: the answer's, 1: the right ones."""
    once, twice, thrice = ([pair[which] for pair in pairs] for pairs in pairs_at)
    return bool(once) and all(same(c - b, b - a, 10 * tolerance) for a, b, c in zip(once, twice, thrice))


def uneven_growth(answer: Answer) -> str | None:
    """An input that is only multiplied in the right formula, and divided by, squared, ... in the answer's."""
    for i in floats(answer.cases[0]):
        at = [
            answer.asks([changed(case, **{f"_{i}": times * case[i]}) for case in answer.cases])
            for times in (1, 2, 3)
        ]
        if straight(at, 1, answer.tolerance) and not straight(at, 0, answer.tolerance):
            return (
                f"the right result grows evenly with {name_of(answer, i)}, yours does not: is it multiplied "
                "or divided by something that it should not be?"
            )
    return None


def scaled_by_one_input(answer: Answer) -> str | None:
    """The ratio to the right result is a power of one input."""
    for i in floats(answer.cases[0]) + whole(answer.cases[0]):
        if not all(type(case[i]) in (int, float) and case[i] > 0 for case in answer.cases):
            continue
        for power, says in POWERS:
            for sign in (1, -1):
                pairs = [(a, b * sign * case[i] ** power) for (a, b), case in zip(answer.pairs, answer.cases)]
                if len({case[i] for case in answer.cases}) > 1 and answer.agrees(pairs):
                    flipped = ", and the sign is flipped" if sign < 0 else ""
                    return f"{says.format(name_of(answer, i))}{flipped}"
    return None


POWERS = (
    (1, "your result has a factor {} too many"),
    (-1, "your result lacks a factor {}"),
    (0.5, "your result has a factor too many, the root of {}"),
    (-0.5, "your result lacks a factor, the root of {}"),
    (2, "your result has a factor too many, the square of {}"),
    (-2, "your result lacks a factor, the square of {}"),
)


def depends_on_one_input(answer: Answer) -> str | None:
    """The ratio to the right result changes with one input and with no other."""
    if not all(answer.wrong):
        return None
    numbers_ = [i for i in floats(answer.cases[0]) if type(answer.cases[0][i]) is float]
    before = answer.asks(answer.cases)
    for i in numbers_ if len(floats(answer.cases[0])) > 1 else []:
        rest = [j for j in floats(answer.cases[0]) if j != i]
        others = [changed(case, **{f"_{j}": another(case[j]) for j in rest}) for case in answer.cases]
        after = answer.asks(others)
        with np.errstate(all="ignore"):
            ratios = [(a / b, c / d) for (a, b), (c, d) in zip(before, after)]
        if ratios and all(same(x, y, answer.tolerance) for x, y in ratios):
            return f"your result is off by a factor that depends on {name_of(answer, i)} alone"
    return None


# ---- which cases, which places


def features(answer: Answer) -> Iterator[tuple[str, list[float]]]:
    """What may tell the cases apart: small numbers among the inputs, shapes."""
    columns = [(name_of(answer, i), list(column)) for i, column in enumerate(zip(*answer.cases))]
    for name, values in columns:
        if all(type(value) in (int, float) for value in values):
            yield name, [float(value) for value in values]
    for name, values in columns:
        if all(isinstance(value, Tensor) and value.ndim for value in values):
            yield f"the first axis of {name}", [float(value.shape[0]) for value in values]
            yield f"the number of axes of {name}", [float(value.ndim) for value in values]


def which_cases(answer: Answer) -> str | None:
    """Right for small values of something, wrong for large ones; or wrong in a single kind of case."""
    if all(answer.wrong) or len(answer.wrong) < 2:
        return None
    told = f"{answer.wrong.count(False)} of {len(answer.wrong)} cases are right"
    for name, values in features(answer):
        good = [value for value, wrong in zip(values, answer.wrong) if not wrong]
        bad = [value for value, wrong in zip(values, answer.wrong) if wrong]
        if set(good) & set(bad):
            continue
        if len(set(bad)) == 1:
            return f"your result is wrong where {name} is {bad[0]:.6g}, and right elsewhere"
        if max(good) < min(bad):
            return f"your result is right at small {name}, wrong at large, from {min(bad):.6g} on; {told}"
        if min(good) > max(bad):
            return f"your result is right at large {name}, wrong at small, up to {max(bad):.6g}; {told}"
    return square_only(answer)


def square_only(answer: Answer) -> str | None:
    """Right for square pictures only."""
    pictures = [
        next((x for x in case if isinstance(x, Tensor) and x.ndim > 2), None) for case in answer.cases
    ]
    if not all(x is not None for x in pictures):
        return None
    square = [x.shape[-1] == x.shape[-2] for x in pictures if x is not None]
    if any(square) and square == [not wrong for wrong in answer.wrong]:
        return "your result is right for square pictures only: which axis is the height, which the width?"
    return None


def which_rows(answer: Answer) -> str | None:
    """In a batch: the rows that are right, and how they differ from the others."""
    for case, mine, right in zip(answer.cases, answer.ours, answer.theirs):
        a, b = mine.result, right.result
        if not (isinstance(a, Tensor) and isinstance(b, Tensor) and b.ndim and a.shape == b.shape):
            continue
        rows = [same(numbers(x).reshape(-1), numbers(y).reshape(-1), answer.tolerance) for x, y in zip(a, b)]
        if not any(rows) or all(rows) or len(rows) < 2:
            continue
        if rows == [True] + [False] * (len(rows) - 1):
            return "only the first row of your result is right: does each row get its own numbers?"
        if rows == [True] * (len(rows) - 1) + [False]:
            return "all rows of your result are right but the last: where does the loop or the slice end?"
        if rows == [False] + [True] * (len(rows) - 1):
            return "all rows of your result are right but the first: where does it begin?"
        return by_index(answer, case, rows)
    return None


def by_index(answer: Answer, case: tuple, rows: list[bool]) -> str | None:
    """Rows that are right at small t and wrong at large t, or the other way round."""
    for i in whole(case):
        t = case[i]
        if not isinstance(t, Tensor) or t.shape != (len(rows),):
            continue
        good = [int(x) for x, right in zip(t, rows) if right]
        bad = [int(x) for x, right in zip(t, rows) if not right]
        if len(set(bad)) == 1:
            return f"your result is wrong where {name_of(answer, i)} is {bad[0]}, and right elsewhere"
        if max(good) < min(bad):
            return f"your result is right at small {name_of(answer, i)}, wrong at large, from {min(bad)} on"
        if min(good) > max(bad):
            return f"your result is right at large {name_of(answer, i)}, wrong at small, up to {max(bad)}"
    return None


def other_order(answer: Answer) -> str | None:
    """The right numbers, elsewhere."""
    if not answer.pairs or max(len(b) for _, b in answer.pairs) < FEWEST:
        return None
    pairs = [(np.sort(a.real), np.sort(b.real)) for a, b in answer.pairs]
    if answer.agrees(pairs):
        return "your result holds the right numbers in another order"
    return None


def constant(answer: Answer) -> str | None:
    """The same number whatever is put in."""
    if len(answer.pairs) < 2:
        return None
    results, right = (np.concatenate(rows) for rows in zip(*answer.pairs))
    if len(results) >= FEWEST and (results == results[0]).all() and (right != right[0]).any():
        return f"your result is {results[0].real:.6g} everywhere, whatever is put in"
    return None


DETECTORS: tuple[Callable[[Answer], str | None], ...] = (
    a_relation,
    items,
    constant,
    exchanged_inputs,
    unused_input,
    off_by_one,
    turned_input,
    size_of_the_input,
    scaled_by_one_input,
    depends_on_one_input,
    in_each_case,
    which_rows,
    which_entries,
    parts,
    uneven_growth,
    which_cases,
    other_order,
)
