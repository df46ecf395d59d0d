"""The five kinds of exercises, and how an answer to each is judged.

    build            a function from the parts of the chapter: compared with the reference on random cases
    predict          numbers written down before the cell that measures them runs
    derive           a formula: compared with the reference at random points
    find the bug     a function or a run as given, to be repaired
    reach the mark   a measured goal

`exercise.judge(answer)` gives a Verdict. All arguments of the classes are given by name.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from .detectors import Answer, found
from .differences import described as inputs_of
from .differences import difference, parameters, text_of, where
from .outcome import Outcome
from .progress import RIGHT, TO_DO, WRONG
from .running import TooLong, behaviour, called, clean_state, copied, quiet, time_limit

SEED = 20_221_022  # of the cases
POINTS = 40  # at which formulas are compared


@dataclass(frozen=True)
class Verdict:
    """What an answer is, and what its reader is told.

    own: the words are about this very slip; not only that, or by how much, the result is off.
    """

    result: str
    says: str
    own: bool = True


@dataclass(frozen=True)
class Mistake:
    """A known mistake: `wrong` is the answer of a reader who made it; without one, `seen` recognises it."""

    wrong: Any
    says: str
    seen: Callable[[Any, list[tuple]], bool] | None = None


class RuleBroken(Exception):
    """Raised by a score: the answer broke a rule of the exercise; the words are told."""


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What all kinds have: their number, the name of what is handed to check, the section to read again,
    the minutes that it takes, the known mistakes.
    """

    kind: ClassVar[str]

    number: str
    name: str
    section: str
    minutes: int = 10
    mistakes: tuple[Mistake, ...] = ()

    def judge(self, answer: Any) -> Verdict:
        """The verdict on an answer, in a clean state; the reader's own is back afterwards."""
        if answer is ...:
            return self.to_do()
        with clean_state():
            return self.verdict(answer)

    def verdict(self, answer: Any) -> Verdict:
        """How the kind judges an answer that was given."""
        raise NotImplementedError

    def wrong(self, says: str, own: bool = True) -> Verdict:
        """A wrong answer, and where to read again."""
        stop = "" if says.endswith((".", "?", "!")) else "."
        return Verdict(WRONG, f"{self.number}: {says}{stop} See section {self.section} or the hints.", own)

    def to_do(self) -> Verdict:
        """An answer that is still to be written."""
        says = (
            f"{self.number} is still to be written: put your answer to {self.name} in the place of `...` or "
            "of the line `raise NotImplementedError(...)`, run that cell, then this one."
        )
        return Verdict(TO_DO, says)

    def right_one(self, more: str = "") -> Verdict:
        return Verdict(RIGHT, f"{self.number} {self.name} is right{more}.")

    def too_long(self, seconds: float) -> Verdict:
        return self.wrong(
            f"{self.name} had not come to an end after {seconds:g} seconds: a loop without end, or far too "
            "much work for one step?"
        )


def is_unwritten(error: BaseException | None, number: str) -> bool:
    """Whether an answer stopped at the line that the exercise came with."""
    return isinstance(error, NotImplementedError) and str(error).startswith(f"{number}:")


# ---- build


@dataclass(frozen=True, kw_only=True)
class Build(Exercise):
    """A function to write. The reference `right` and random `cases`, tuples of arguments, decide.

    tolerance: of the largest number in the reference's tensor or array; of 1 where that holds only zeros.
    seconds: the time limit of all calls.
    """

    kind: ClassVar[str] = "build"

    right: Callable
    cases: Callable[[torch.Generator], list[tuple]]
    tolerance: float = 2e-5
    seconds: float = 20.0

    def verdict(self, answer: Any) -> Verdict:
        cases = self.cases(torch.Generator().manual_seed(SEED))
        refused = self.refused(answer, len(cases[0]))
        if refused is not None:
            return refused
        return self.compared(adapted(answer, parameters(self.right)), cases)

    def refused(self, answer: Any, count: int) -> Verdict | None:
        """What keeps an answer from being called with so many arguments."""
        if not callable(answer):
            kind = type(answer).__name__
            return self.wrong(
                f"check needs the function itself, got {'an' if kind[0] in 'aeiou' else 'a'} {kind}: "
                f'check("{self.number}", {self.name}).'
            )
        expected, yours = parameters(self.right), parameters(answer)
        asked = f"{self.name} should take ({', '.join(expected)}), yours takes ({', '.join(yours)})"
        if not takes(adapted(answer, expected), count):
            return self.wrong(f"{asked}.")
        if yours != expected and sorted(yours) == sorted(expected):
            return self.wrong(f"{asked}: the same ones in another order.")
        return None

    def compared(self, answer: Callable, cases: list[tuple]) -> Verdict:
        """The reference runs first, then the answer; what they did is compared."""
        theirs = behaviour(self.right, cases)
        try:
            ours = behaviour(answer, cases, self.seconds)
        except TooLong:
            return self.too_long(self.seconds)
        unwritten = any(is_unwritten(outcome.error, self.number) for outcome in ours)
        if unwritten or self.untouched(ours, cases):
            return self.to_do()
        differences = [difference(*pair, self.tolerance) for pair in zip(ours, theirs)]
        if not any(differences):
            return self.right_one()
        said = self.known(answer, ours, cases)
        if said is not None:
            return self.wrong(said)
        return self.unknown(answer, cases, ours, theirs, differences)

    def untouched(self, ours: list[Outcome], cases: list[tuple]) -> bool:
        """Whether the answer still is what the exercise came with."""
        return False

    def known(self, answer: Callable, ours: list[Outcome], cases: list[tuple]) -> str | None:
        """What the first known mistake says that behaves like the answer on every case."""
        for mistake in self.mistakes:
            if mistake.wrong is not None:
                made = self.behaves_as(mistake.wrong, ours, cases)
            else:
                made = seen(mistake, answer, [copied(case) for case in cases], self.seconds)
            if made:
                return mistake.says
        return None

    def behaves_as(self, function: Callable, ours: list[Outcome], cases: list[tuple]) -> bool:
        """Whether a function does what the answer did, on every case."""
        theirs = behaviour(function, cases)
        return not any(difference(*pair, self.tolerance) for pair in zip(ours, theirs))

    def unknown(
        self,
        answer: Callable,
        cases: list[tuple],
        ours: list[Outcome],
        theirs: list[Outcome],
        differences: list[str | None],
    ) -> Verdict:
        """A mistake that nobody foresaw: a slip that anybody makes, or by how much the result is off."""
        names, wrong = parameters(self.right), [bool(said) for said in differences]
        first = wrong.index(True)
        said, error = differences[first] or "", ours[first].error
        shapes = inputs_of(cases[first], names)
        if error is not None:
            return self.wrong(f"{where(error)} (with {shapes}).")
        slip = None
        generic = any(words in said for words in GENERIC)
        if generic or "items, expected" in said:
            look = Answer(answer, self.right, cases, names, ours, theirs, wrong, self.tolerance)
            slip = slip_of(look, self.seconds)
        if slip is not None:
            return self.wrong(slip)
        tally = f" {wrong.count(False)} of the {len(cases)} cases are right." if not all(wrong) else ""
        return self.wrong(f"{said} (with {shapes}).{tally}", own=not generic)


# Words that say that or by how much a result is off, and nothing of why.
GENERIC = (" is off ", "but is off", "another number", "not what was expected")


def slip_of(look: Answer, seconds: float) -> str | None:
    """What a detector says, within the time."""
    try:
        with clean_state(), quiet(), time_limit(seconds):
            return found(look)
    except TooLong:
        return None


def seen(mistake: Mistake, answer: Any, cases: list[tuple], seconds: float) -> bool:
    """Whether a mistake without a function of its own is recognised."""
    try:
        with clean_state(), time_limit(seconds):
            # It reads results of any type and shape: what it stumbles over is not its mistake.
            result, error = called(lambda: bool(mistake.seen and mistake.seen(answer, cases)), ())
    except TooLong:
        return False
    return error is None and result


def takes(function: Callable, count: int) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # some functions written in C tell no signature
        return True
    return True


def adapted(answer: Callable, names: list[str]) -> Callable:
    """A function to be called by position; it may take some of its documented arguments by name only."""
    try:
        taken = inspect.signature(answer).parameters
    except (TypeError, ValueError):
        return answer
    by_name = [name for name in names if name in taken and taken[name].kind is inspect.Parameter.KEYWORD_ONLY]
    if not by_name:
        return answer

    def call(*case: Any) -> Any:
        given = dict(zip(names, case))
        rest = [value for name, value in given.items() if name not in by_name]
        return answer(*rest, **{name: given[name] for name in by_name})

    return call


# ---- find the bug


@dataclass(frozen=True, kw_only=True)
class FindTheBug(Build):
    """A function as `given`, to be repaired. The known mistakes are the symptoms that may be left.

    symptoms_alone: there are many repairs (of a run, of settings): right is what shows none of the symptoms.
    Then `right`, `cases` and `given` may be left out, and the answer may be any value.
    """

    kind: ClassVar[str] = "find the bug"

    right: Callable | None = None  # type: ignore[assignment]
    cases: Callable[[torch.Generator], list[tuple]] = lambda rng: []
    given: Any = None
    symptoms_alone: bool = False

    def verdict(self, answer: Any) -> Verdict:
        if self.symptoms_alone:
            return self.by_symptoms(answer)
        return super().verdict(answer)

    def by_symptoms(self, answer: Any) -> Verdict:
        """Right if none of the symptoms is seen."""
        cases = self.cases(torch.Generator().manual_seed(SEED))
        if callable(answer):
            try:
                done = behaviour(answer, cases, self.seconds)
            except TooLong:
                return self.too_long(self.seconds)
            error = next((outcome.error for outcome in done if outcome.error is not None), None)
            if is_unwritten(error, self.number):
                return self.to_do()
            if error is not None:
                return self.wrong(where(error))
        left = [m for m in self.mistakes if seen(m, answer, [copied(c) for c in cases], self.seconds)]
        if not left:
            return self.right_one()
        gone = len(self.mistakes) - len(left)
        more = f" ({gone} of {len(self.mistakes)} symptoms are gone.)" if gone else ""
        return self.wrong(f"{left[0].says}{more}")

    def to_do(self) -> Verdict:
        says = f"{self.number} is still to be repaired: {self.name} does what it did when you were given it."
        return Verdict(TO_DO, says)

    def untouched(self, ours: list[Outcome], cases: list[tuple]) -> bool:
        return self.given is not None and self.behaves_as(self.given, ours, cases)


# ---- derive


@dataclass(frozen=True, kw_only=True)
class Derive(Exercise):
    """A formula: a sympy expression, a number, a function of the same symbols, or a tuple of those.

    right: a function of floats whose parameters are the symbols. ranges: where their values are drawn.
    """

    kind: ClassVar[str] = "derive"

    right: Callable
    ranges: Mapping[str, tuple[float, float]] | None = None
    tolerance: float = 1e-7
    seconds: float = 20.0

    def verdict(self, answer: Any) -> Verdict:
        symbols = parameters(self.right)
        if callable(answer) and not hasattr(answer, "free_symbols"):
            if not takes(answer, len(symbols)):
                return self.wrong(f"{self.name} should be a function of ({', '.join(symbols)}).")
            formula = by_symbol(answer, symbols)
        else:
            try:
                formula = formula_of(answer, symbols)
            except ValueError as error:
                return self.wrong(str(error))
        return self.as_built(as_floats(formula))

    def as_built(self, formula: Callable) -> Verdict:
        """A formula is a function of numbers: it is judged as one."""
        mistakes = tuple(Mistake(m.wrong and as_floats(m.wrong), m.says, m.seen) for m in self.mistakes)
        built = Formula(
            number=self.number,
            name=self.name,
            section=self.section,
            mistakes=mistakes,
            right=with_names(as_floats(self.right), self.right),
            cases=lambda rng: self.points(rng),
            tolerance=self.tolerance,
            seconds=self.seconds,
        )
        return built.verdict(with_names(formula, self.right))

    def points(self, rng: torch.Generator) -> list[tuple]:
        """Values of the symbols, in double precision."""
        ranges = [(self.ranges or {}).get(name, (0.1, 0.9)) for name in parameters(self.right)]
        draws = torch.rand(POINTS, len(ranges), generator=rng, dtype=torch.float64).tolist()
        return [tuple(low + u * (high - low) for u, (low, high) in zip(draw, ranges)) for draw in draws]


class Formula(Build):
    """The function that a formula is; where it fails nothing is said of lines of code or of cases."""

    def unknown(self, answer: Callable, cases: list[tuple], *rest: Any) -> Verdict:
        ours, theirs, differences = rest
        values, errors = [one.result for one in ours], [one.error for one in ours]
        at = inputs_of(cases[0], parameters(self.right))
        domain = any("math domain" in text_of(error) for error in errors if error is not None)
        if domain or any(isinstance(value, complex) for value in values):
            return self.wrong(f"your formula takes a root or a logarithm of something negative (with {at})")
        infinite = any(isinstance(value, float) and not math.isfinite(value) for value in values)
        if infinite or any(isinstance(error, ArithmeticError) for error in errors):
            return self.wrong(f"your formula is not finite (with {at}): something is divided by zero")
        verdict = super().unknown(answer, cases, ours, theirs, differences)
        if not verdict.own:
            return self.wrong("your formula gives other numbers than the right one.", own=False)
        return Verdict(WRONG, verdict.says.replace("your result", "your formula"))


def formula_of(answer: Any, symbols: list[str]) -> Callable:
    """A function of the symbols from an expression. Raises ValueError, in words, for anything else."""
    import sympy  # type: ignore[import-untyped]

    if isinstance(answer, str):
        raise ValueError("write the formula itself, not a text")
    if isinstance(answer, (tuple, list, sympy.Tuple, sympy.MatrixBase)):
        parts = [formula_of(item, symbols) for item in answer]
        return lambda *values: tuple(part(*values) for part in parts)
    if isinstance(answer, sympy.Equality):
        raise ValueError("give the right-hand side alone, without the equation")
    if isinstance(answer, (bool, type(None))) or not isinstance(answer, (int, float, sympy.Expr)):
        raise ValueError(f"a formula is an expression of {', '.join(symbols)}, not a {type(answer).__name__}")
    expression = sympy.sympify(answer)
    free = {str(symbol): symbol for symbol in expression.free_symbols}
    unknown = sorted(set(free) - set(symbols))
    if unknown:
        raise ValueError(
            f"your formula holds {', '.join(unknown)}; it should be made of {', '.join(symbols)} alone"
        )
    named = [free.get(name, sympy.Symbol(name)) for name in symbols]
    return sympy.lambdify(named, expression, modules="math")


def by_symbol(function: Callable, symbols: list[str]) -> Callable:
    """A function to be called with the symbols in their order; its own names say which is which."""
    names = parameters(function)
    if names == symbols or sorted(names) != sorted(symbols):
        return function
    return lambda *values: function(**dict(zip(symbols, values)))


def as_floats(formula: Callable) -> Callable:
    """A formula that gives floats, tuples of them, or what it is instead."""

    def real(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return tuple(real(item) for item in value)
        if isinstance(value, complex):
            return float(value.real) if abs(value.imag) <= 1e-12 * max(abs(value), 1.0) else complex(value)
        return value if isinstance(value, bool) else float(value)

    return lambda *values: real(formula(*values))


def with_names(function: Callable, like: Callable) -> Callable:
    """A function with the parameters of another."""
    vars(function)["__signature__"] = inspect.signature(like)
    return function


# ---- predict


@dataclass(frozen=True, kw_only=True)
class Predict(Exercise):
    """Numbers, texts or bools that are written down before the cell that measures them has run.

    measure: what that cell measures, by question. within: of the measured number; 0 for exactly that.
    A Mistake's `wrong` gives the numbers of one who reasons so; it may leave questions out.
    """

    kind: ClassVar[str] = "predict"

    measure: Callable[[], Mapping[str, Any]]
    within: float = 0.1

    @functools.cached_property
    def measured(self) -> dict[str, Any]:
        """What is measured, which may take seconds; it is the same at every check."""
        with quiet():
            return dict(self.measure())

    def verdict(self, answer: Any) -> Verdict:
        if callable(answer):
            answer, error = called(answer, ())
            if is_unwritten(error, self.number):
                return self.to_do()
            if error is not None:
                return self.wrong(where(error))
        measured = self.measured
        guesses = by_question(answer, list(measured))
        if guesses is None:
            questions = ", ".join(f'"{question}": ...' for question in measured)
            return self.wrong(f"{self.name} should be {{{questions}}}, each with your guess.")
        blank = [question for question, guess in guesses.items() if guess is ...]
        if blank:
            return self.to_do()
        unread = next((q for q, guess in guesses.items() if not readable(guess, measured[q])), None)
        if unread is not None:
            kind = "a number" if is_number(measured[unread]) else f"a {type(measured[unread]).__name__}"
            return self.wrong(f'"{unread}" should be {kind}, yours is {guesses[unread]!r:.60}.')
        return self.told(guesses, measured)

    def told(self, guesses: dict[str, Any], measured: dict[str, Any]) -> Verdict:
        """By how far each guess is off, and why if that is known."""
        off = {q: far(guesses[q], measured[q], self.within) for q in measured}
        wrong = {question: said for question, said in off.items() if said}
        if not wrong:
            return self.right_one()
        for mistake in self.mistakes:
            if self.made(mistake, guesses, wrong):
                return self.wrong(mistake.says)
        count = len(measured) - len(wrong)
        tally = f" {count} of {len(measured)} are right." if count else ""
        return self.wrong("; ".join(f'"{q}": {said}' for q, said in wrong.items()) + f".{tally}")

    def made(self, mistake: Mistake, guesses: dict[str, Any], wrong: dict[str, str]) -> bool:
        """Whether the guesses are those of one who makes this mistake."""
        if mistake.wrong is None:
            return seen(mistake, guesses, [], 20.0)
        theirs = mistake.wrong()
        return bool(set(theirs) & set(wrong)) and all(
            not far(guesses[question], value, self.within) for question, value in theirs.items()
        )


def by_question(answer: Any, questions: list[str]) -> dict[str, Any] | None:
    """The guesses in the order of the questions: from a dictionary, a row of values, a single value."""
    if isinstance(answer, Mapping):
        return {q: answer[q] for q in questions} if set(answer) == set(questions) else None
    if isinstance(answer, (tuple, list)):
        return dict(zip(questions, answer)) if len(answer) == len(questions) else None
    return {questions[0]: answer} if len(questions) == 1 or answer is ... else None


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def readable(guess: Any, measured: Any) -> bool:
    """Whether a guess is of the kind that was measured."""
    if is_number(measured):
        return is_number(plain(guess)) and math.isfinite(plain(guess))
    return type(plain(guess)) is type(measured)


def plain(value: Any) -> Any:
    """A number of torch, numpy or sympy as one of Python's."""
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)  # numpy has texts of its own
    try:
        return value.item() if hasattr(value, "item") else float(value)
    except (TypeError, ValueError, RuntimeError):
        return value


def far(guess: Any, measured: Any, within: float) -> str:
    """By how far a guess is off, in words; empty if it is not."""
    guess = plain(guess)
    if not is_number(measured):
        return "" if guess == measured else "no, it is otherwise"
    if abs(guess - measured) <= within * abs(measured) + 1e-12:
        return ""
    if guess * measured < 0:
        return "the sign is wrong"
    if not measured or not guess:
        return "too large" if guess > measured else "too small"
    ratio = abs(guess / measured)
    says, times = ("large", ratio) if ratio > 1 else ("small", 1 / ratio)
    word = "a little too" if times < 1.25 else f"{times:.2g} times too"
    return f"{word} {says}" + (" (both are negative)" if measured < 0 else "")


# ---- reach the mark


@dataclass(frozen=True, kw_only=True)
class ReachTheMark(Exercise):
    """A goal that is measured: score(answer) should come to the mark. It may raise RuleBroken.

    right: the reference, whose score stands beside the reader's.
    """

    kind: ClassVar[str] = "reach the mark"

    score: Callable[[Any], float]
    what: str
    mark: float
    right: Any
    higher: bool = False
    seconds: float = 60.0

    @functools.cached_property
    def reference(self) -> float:
        """The reference's score, which may take seconds; it is the same at every check."""
        with quiet():
            return float(self.score(self.right))

    @functools.cached_property
    def wrong_scores(self) -> list[float | None]:
        """The scores of the known mistakes that have an answer of their own."""
        with quiet():
            return [None if m.wrong is None else float(self.score(m.wrong)) for m in self.mistakes]

    def verdict(self, answer: Any) -> Verdict:
        reference = self.reference  # which runs before the answer does
        try:
            with clean_state(), time_limit(self.seconds):
                score, error = called(lambda: float(self.score(answer)), ())
        except TooLong:
            return self.too_long(self.seconds)
        if is_unwritten(error, self.number):
            return self.to_do()
        if error is not None:
            return self.wrong(str(error) if isinstance(error, RuleBroken) else where(error))
        beside = f"(the mark is {self.mark:.4g}, the reference reaches {reference:.4g})"
        if self.reached(score):
            return self.right_one(f": {self.what} {score:.4g} {beside}")
        known = zip(self.mistakes, self.wrong_scores)
        said = next((m.says for m, theirs in known if self.made(m, answer, score, theirs)), None)
        return self.wrong(f"{self.what} {score:.4g} {beside}.{f' {said}' if said else ''}")

    def reached(self, score: float) -> bool:
        return score >= self.mark if self.higher else score <= self.mark

    def made(self, mistake: Mistake, answer: Any, score: float, theirs: float | None) -> bool:
        """Whether an answer scores as this mistake does, or is seen to make it."""
        if theirs is None:
            return seen(mistake, answer, [], self.seconds)
        return math.isclose(score, theirs, rel_tol=1e-6)
