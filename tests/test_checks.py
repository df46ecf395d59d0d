"""The checks of the exercises: what they accept, what they say, and that they cannot be fooled by a type."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from minisd.teaching import check, checks
from minisd.teaching.checks import CheckFailed, Exercise, Mistake, verdict


def double(x, k):
    return 2 * x * k


def arguments(rng):
    return [(torch.randn(3, generator=rng), 2.0), (torch.randn(2, 4, generator=rng), -0.5)]


EXERCISE = Exercise(
    "0.1",
    "double",
    double,
    arguments,
    "0.2",
    (
        Mistake(lambda x, k: 2 * x, "Where is k?"),
        Mistake(lambda x, k: x.view(3) * k, "Not every input has three numbers."),
        Mistake(lambda x, k: torch.randn_like(x), "That is new noise."),
        Mistake(
            None, "Everything is zero.", lambda answer, cases: not any(answer(*case).any() for case in cases)
        ),
    ),
)


def says(answer, exercise=EXERCISE):
    wrong = verdict(exercise, answer)
    return None if wrong is None else wrong.says


def test_right_answers():
    for answer in (
        double,
        lambda x, k: x * k + x * k,
        lambda a, b: torch.stack([a, a]).sum(0) * b,
        lambda *a: double(*a),
        functools.partial(double),
    ):
        assert says(answer) is None


def test_known_mistakes_are_named_and_the_section_too():
    assert says(lambda x, k: x + x) == "0.1: Where is k? See section 0.2."
    assert "three numbers" in says(lambda x, k: k * x.view([3]))
    assert "new noise" in says(lambda x, k: torch.rand_like(x))
    assert "Everything is zero" in says(lambda x, k: 0 * x)


def in_place(x, k):
    return x.mul_(2 * k)


class Faked(torch.Tensor):
    """Says of itself that it equals anything."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return torch.zeros(())


class AnyFloat(float):
    """Equal to anything, and no distance from it."""

    __eq__ = lambda self, other: True  # noqa: E731
    __ne__ = lambda self, other: False  # noqa: E731
    __sub__ = __rsub__ = __abs__ = lambda self, *other: 0.0
    __hash__ = float.__hash__


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x, k: 2 * x * k + 1e-3, "off by up to 0.001, in 3 of 3 places"),
        (lambda x, k: 2 * x * k if x.ndim == 1 else x, "1 of the 2 cases are right"),
        (lambda x, k: (2 * x * k).double(), "dtype torch.float64, expected torch.float32"),
        (lambda x, k: (2 * x * k)[None], r"shape (1, 3), expected (3,)"),
        (lambda x, k: (2 * x * k).tolist(), "is a list, expected a Tensor"),
        (lambda x, k: 2 * x * k / 0 * 0, "holds NaN"),
        (lambda x, k: None, "is None, expected a Tensor"),
        (in_place, "changed what it was given"),
        (lambda x, k: (double(x, k), torch.randn(3)), "called twice"),
        (lambda x, k: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda x: x, "should take (x, k), yours takes (x)"),
        (2.0, "needs the function itself, got a float"),
    ],
)
def test_what_is_wrong_is_said(answer, words):
    assert words in says(answer) and says(answer).startswith("0.1: ")


def test_the_line_that_failed_is_shown():
    def answer(x, k):
        y = x + 1
        return y.nothing

    line = answer.__code__.co_firstlineno + 2
    assert f"in line {line}, `return y.nothing`, with AttributeError" in says(answer)


def scalar(right, tolerance=1e-6):
    return Exercise("0.2", "f", right, lambda rng: [(1.0,), (2.0,)], "0.1", tolerance=tolerance)


@dataclass
class Pair:
    a: float
    b: torch.Tensor


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (lambda x: x / 2, lambda x: AnyFloat(x / 2), "is an AnyFloat, expected a float"),
        (lambda x: x / 2, lambda x: AnyFloat(7.0), "is an AnyFloat"),
        (
            lambda x: torch.ones(2),
            lambda x: torch.zeros(2).as_subclass(Faked),
            "is a Faked, expected a Tensor",
        ),
        (lambda x: x / 2, lambda x: np.float64(x / 2), "wrap it in float()"),
        (lambda x: x / 2, lambda x: math.nan, "is nan, another number"),
        (lambda x: x / 2, lambda x: x / 2 + 1e-5, "another number"),
        (lambda x: math.inf, lambda x: -math.inf, "is -inf"),
        (lambda x: int(x), lambda x: bool(x), "is a bool, expected an int"),
        (lambda x: int(x), lambda x: int(x) + 1, "is 2"),
        (lambda x: [x, "a"], lambda x: [x, "b"], "differs in item 1, which is 'b'"),
        (lambda x: [x, x], lambda x: (x, x), "is a tuple, expected a list"),
        (lambda x: (x, x), lambda x: (x,), "has 1 items, expected 2"),
        (lambda x: {"a": x}, lambda x: {"b": x}, "has the keys ['b']"),
        (lambda x: {"a": x}, lambda x: {"a": -x}, "differs in entry 'a'"),
        (lambda x: np.arange(3), lambda x: np.arange(3)[::-1], "off in 2 of 3 places"),
        (lambda x: np.float32(x), lambda x: np.float32(-x), "is -1, another number"),
        (lambda x: Pair(x, torch.ones(2)), lambda x: Pair(x, torch.zeros(2)), "differs in b"),
        (lambda x: (i for i in range(3)), lambda x: [0, 1, 2], "is a list, expected a generator"),
        (lambda x: (i for i in range(3)), lambda x: (i for i in range(4)), "has 4 items, expected 3"),
        (lambda x: {1, 2}, lambda x: {1, 3}, "not what was expected"),
        (lambda x: torch.Size([2, 3]), lambda x: torch.Size([3, 2]), "differs in item 0"),
        (lambda x: torch.float16, lambda x: torch.float32, "not what was expected"),
        (lambda x: torch.ones(2) * 1j, lambda x: -torch.ones(2) * 1j, "off by up to 2"),
        (lambda x: torch.ones(2).half(), lambda x: torch.ones(2).half() * 1.1, "off by up to 0.1"),
        (
            lambda x: torch.ones(2, dtype=torch.bool),
            lambda x: torch.zeros(2, dtype=torch.bool),
            "off in 2 of 2",
        ),
    ],
)
def test_results_of_all_kinds(right, wrong, words):
    assert says(right, scalar(right)) is None
    assert words in says(wrong, scalar(right))


def test_small_numbers_are_compared_as_closely_as_large_ones():
    def right(x):
        return 1e-8 * torch.tensor([x, 1.0])

    assert says(lambda x: right(x) * (1 + 1e-7), scalar(right)) is None
    assert "off by up to" in says(lambda x: right(x) * 1.1, scalar(right))
    assert "off by up to" in says(lambda x: torch.full((2,), 1e-3), scalar(lambda x: torch.zeros(2)))


def test_inputs_may_hold_nan_and_builtins_are_functions_too():
    exercise = Exercise("0.5", "f", math.isnan, lambda rng: [(math.nan,), (1.0,)], "0.1")
    assert says(lambda x: x != x, exercise) is None
    assert says(torch.abs, EXERCISE).startswith("0.1: your function stopped with TypeError")


def test_errors_that_should_be_raised():
    def right(x):
        if x > 1:
            raise ValueError("too large")
        return x

    assert says(right, scalar(right)) is None
    assert "an error of type ValueError should be raised here" in says(lambda x: x, scalar(right))


def test_functions_that_draw_get_a_generator_in_the_same_state():
    def right(rng):
        return torch.randn(3, generator=rng)

    exercise = Exercise(
        "0.3", "draw", right, lambda rng: [(rng,), (torch.Generator().manual_seed(5),)], "0.1"
    )
    assert says(right, exercise) is None
    assert "called twice" in says(lambda rng: torch.randn(3), exercise)


def test_inputs_inside_lists_dictionaries_and_objects_are_watched():
    def right(values, table, net):
        return sum(values) + table["a"]

    def grown(values, table, net):
        values.append(1.0)
        return right(values[:-1], table, net)

    def stored(values, table, net):
        table["a"], value = 0.0, right(values, table, net)
        return value

    def moved(values, table, net):
        with torch.no_grad():
            net.weight.add_(1)
        return right(values, table, net)

    case = ([1.0, 2.0], {"a": 3.0}, torch.nn.Linear(1, 1))
    exercise = Exercise("0.4", "f", right, lambda rng: [case], "0.1")
    assert says(right, exercise) is None
    for wrong in (grown, stored, moved):
        assert "changed what it was given" in says(wrong, exercise), wrong.__name__
    assert case[0] == [1.0, 2.0] and case[1] == {"a": 3.0}


def test_the_readers_random_numbers_go_on_as_if_nothing_was_checked():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    says(lambda x, k: torch.randn_like(x))
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(checks, "find", lambda number: EXERCISE)


def test_check_prints_or_raises(known, capsys):
    check("0.1", double)
    assert capsys.readouterr().out == "0.1 double is right.\n"
    with pytest.raises(CheckFailed, match="Where is k") as raised:
        check("0.1", lambda x, k: 2 * x)
    assert isinstance(raised.value, AssertionError) and raised.value._render_traceback_() == [
        str(raised.value)
    ]


def test_an_unanswered_exercise_is_no_error(known, capsys):
    def unanswered(x, k):
        raise NotImplementedError("0.1: write double here")

    def other(x, k):
        raise NotImplementedError("no kernel for this dtype")

    check("0.1", unanswered)
    assert "0.1 is still to be written" in capsys.readouterr().out
    with pytest.raises(CheckFailed, match="no kernel for this dtype"):
        check("0.1", other)


def test_numbers_that_do_not_exist():
    for number in ("99.1", "", "x.1"):
        with pytest.raises(KeyError, match="no exercises for chapter"):
            check(number, double)
