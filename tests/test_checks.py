"""The checks of the exercises: what they accept, what they say, and that they cannot be fooled by a type."""

import contextlib
import functools
import math
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import sympy
import torch

from minisd.teaching import check, checks
from minisd.teaching.checks import CheckFailed
from minisd.teaching.differences import difference
from minisd.teaching.kinds import (
    RIGHT,
    TO_DO,
    WRONG,
    Build,
    Derive,
    FindTheBug,
    Mistake,
    Predict,
    ReachTheMark,
    RuleBroken,
)
from minisd.teaching.outcome import Network
from minisd.teaching.running import TooLong, behaviour, time_limit


def double(x, k):
    return 2 * x * k


def arguments(rng):
    return [(torch.randn(3, generator=rng), 2.0), (torch.randn(2, 4, generator=rng), -0.5)]


def build(right, cases, *mistakes, **more):
    """An exercise 0.1 of section 0.2."""
    return Build(
        number="0.1",
        name=right.__name__,
        section="0.2",
        right=right,
        cases=cases if callable(cases) else lambda rng: cases,
        mistakes=tuple(Mistake(*mistake) for mistake in mistakes),
        **more,
    )


EXERCISE = build(
    double,
    arguments,
    (lambda x, k: 2 * x, "Where is k?"),
    (lambda x, k: x.view(3) * k, "Not every input has three numbers."),
    (lambda x, k: torch.randn_like(x), "That is new noise."),
    (None, "Everything is zero.", lambda answer, cases: not any(answer(*case).any() for case in cases)),
)


def says(answer, exercise=EXERCISE):
    """What a wrong answer hears; None for a right one."""
    verdict = exercise.judge(answer)
    return None if verdict.result == RIGHT else verdict.says


def differs(right, wrong, cases=((1.0,), (2.0,)), tolerance=1e-6):
    """The first difference between what two functions do."""
    pairs = zip(behaviour(wrong, list(cases)), behaviour(right, list(cases)))
    return next((said for pair in pairs if (said := difference(*pair, tolerance))), None)


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
    assert says(lambda x, k: x + x) == "0.1: Where is k? See section 0.2 or the hints."
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
        (lambda x, k: 2 * x * k + 1e-3 * x**2, "grows evenly with `x`, yours does not"),
        (lambda x, k: 2 * x * k if x.ndim == 1 else x, "is wrong where `k` is -0.5, and right elsewhere"),
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
        (lambda x: x / 2, lambda x: torch.tensor([x / 2, x]), "is a Tensor, expected a float"),
        (lambda x: int(x), lambda x: np.array([1.0]), "is a float64, expected an int"),
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
    assert differs(right, right) is None
    assert words in differs(right, wrong)


def test_small_numbers_are_compared_as_closely_as_large_ones():
    def right(x):
        return 1e-8 * torch.tensor([x, 1.0])

    assert differs(right, lambda x: right(x) * (1 + 1e-7)) is None
    assert "off by up to" in differs(right, lambda x: right(x) * 1.1)
    assert "off by up to" in differs(lambda x: torch.zeros(2), lambda x: torch.full((2,), 1e-3))


@pytest.mark.parametrize(
    "form", [torch.tensor, np.array, lambda x: torch.tensor([x]), lambda x: np.array([[x]])]
)
def test_one_number_in_a_tensor_or_an_array_is_a_number(form):
    assert differs(lambda x: (x / 2, int(x)), lambda x: (form(x / 2), form(int(x)))) is None
    assert "is 0.6" in differs(lambda x: (x / 2, int(x)), lambda x: (form(x / 2 + 0.1), form(int(x))))


def test_inputs_may_hold_nan_and_builtins_are_functions_too():
    exercise = build(math.isnan, [(math.nan,), (1.0,)])
    assert says(lambda x: x != x, exercise) is None
    assert says(torch.abs, EXERCISE).startswith("0.1: your function stopped with TypeError")


def test_errors_that_should_be_raised():
    def right(x):
        if x > 1:
            raise ValueError("too large")
        return x

    assert differs(right, right) is None
    assert "an error of type ValueError should be raised here" in differs(right, lambda x: x)


def test_functions_that_draw_get_a_generator_in_the_same_state():
    def right(rng):
        return torch.randn(3, generator=rng)

    exercise = build(right, lambda rng: [(rng,), (torch.Generator().manual_seed(5),)])
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
    exercise = build(right, [case])
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


def test_an_unanswered_exercise_is_no_error_but_earns_no_points(known, capsys, monkeypatch):
    def unanswered(x, k):
        raise NotImplementedError("0.1: write double here")

    def other(x, k):
        raise NotImplementedError("no kernel for this dtype")

    check("0.1", unanswered)
    assert "0.1 is still to be written" in capsys.readouterr().out
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(CheckFailed, match="still to be written"):
        check("0.1", unanswered)
    with pytest.raises(CheckFailed, match="no kernel for this dtype"):
        check("0.1", other)


def test_numbers_that_do_not_exist():
    for number in ("99.1", "", "x.1", "\u0661.1", "1" * 5000):
        with pytest.raises(KeyError, match="no exercises for chapter"):
            check(number, double)


def test_the_numbers_that_there_are_and_arguments_in_another_order():
    with pytest.raises(KeyError, match=r"^no exercise 0\.99: there are 0\.1, "):
        check("0.99", double)
    with pytest.raises(CheckFailed, match=r'a text, in quotes: check\("1.3", double\)'):
        check(1.3, double)
    with pytest.raises(CheckFailed, match=r'the number comes first: check\("1.3", double\)'):
        check(double, "1.3")
    with pytest.raises(CheckFailed):
        check(None, None)


# ---- what may not happen to the checker, and what it may not leave behind


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def fails_mutely(x, k):
    raise Mute


def leaves(x, k):
    sys.exit("enough")


def recurses(x, k):
    return recurses(x, k)


def holds_itself(x, k):
    held = []
    held.append(held)
    return held


class Layer(torch.nn.Module):
    def forward(self, x, k):
        return x @ k.nothing


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x, k: (2 * x * k).to_sparse(), "is a sparse tensor"),
        (lambda x, k: (2 * x * k).to("meta"), "on the device meta, expected cpu"),
        (lambda x, k: torch.quantize_per_tensor(2 * x * k, 0.1, 0, torch.qint8), "dtype torch.qint8"),
        (fails_mutely, "with Mute"),
        (leaves, '`sys.exit("enough")`, with SystemExit: enough'),
        (recurses, "calls itself without end"),
        (holds_itself, "cannot be read (RecursionError)"),
        (Layer(), "`return x @ k.nothing`, with AttributeError"),
        (lambda x, k: 2 * x * k + 0j, "dtype torch.complex64, expected torch.float32: a root of a negative"),
        (lambda x, k: print, "is it called, with its brackets?"),
        (lambda x, k: None, "is the `return` missing?"),
        (lambda x, k: (2 * x * k).unsqueeze(-1), "an axis of size one too many"),
        (lambda x, k: 2 * x[..., None] * x[..., None, :] * k, "has shape (3, 3), expected (3,)"),
        (lambda k, x: 2 * x * k, "should take (x, k), yours takes (k, x): the same ones in another order"),
    ],
)
def test_strange_answers(answer, words):
    assert words in says(answer)


def test_right_answers_of_unusual_make():
    def named(x, *, k):
        return 2 * x * k

    def conjugate(x, k):
        return torch.complex(2 * x * k, x).conj().real

    for answer in (named, conjugate, lambda x, k: -(torch.complex(x, -2 * x * k).conj().imag * -1)):
        assert says(answer) is None, says(answer)
    for right, answer in ((int, np.int64), (float, np.float32), (bool, np.bool_), (str, np.str_)):
        assert says(lambda x, kind=answer: kind(x), build(lambda x, kind=right: kind(x), [(2.0,)])) is None
    exercise = build(lambda z: z.conj(), [(torch.complex(torch.ones(2), torch.ones(2)),)] * 3)
    assert says(lambda z: torch.complex(z.real, -z.imag), exercise) is None
    assert says(lambda z: z.conj().resolve_conj(), exercise) is None


def test_the_last_bits_may_differ():
    noise = iter([0.0, 1e-7] * 100)
    assert says(lambda x, k: 2 * x * k * (1 + next(noise))) is None
    exercise = build(lambda values: sum(values) / 3, [([0.1, 0.7, 1.3],), ([1.0, 2.0, 4.5],)])
    assert says(lambda values: torch.tensor(values).mean().item(), exercise) is None


def test_an_endless_loop_is_told(monkeypatch):
    def endless(x, k):
        while True:
            pass

    def stubborn(x, k):
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            with contextlib.suppress(BaseException):
                time.sleep(0.01)

    exercise = build(double, arguments, seconds=0.2)
    for answer in (endless, stubborn):
        start = time.monotonic()
        assert "had not come to an end after 0.2 seconds" in says(answer, exercise)
        assert time.monotonic() - start < 10
    assert says(double, exercise) is None


def test_a_time_limit_is_over_in_time_and_outside_the_main_thread_there_is_none():
    with pytest.raises(TooLong), time_limit(0.05):
        time.sleep(0.3)
        sum(range(10))
    heard = []
    thread = threading.Thread(target=lambda: heard.append(says(double)))
    thread.start()
    thread.join()
    assert heard == [None]


def test_the_time_limit_holds_in_a_program_that_ignores_interrupts():
    """As one does that was started with `nohup`, or in the background of a script."""
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        start = time.monotonic()
        with pytest.raises(TooLong), time_limit(0.05):
            while time.monotonic() < start + 5:
                time.sleep(0.01)
        assert time.monotonic() < start + 5
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, heard)


def test_an_interrupt_stops_the_check_in_one_line(known):
    def interrupted(x, k):
        raise KeyboardInterrupt

    with pytest.raises(CheckFailed, match="interrupted before it ended"):
        check("0.1", interrupted)


def messy(x, k):
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    np.seterr(all="raise")
    torch.set_num_threads(3)
    torch.set_default_device("meta")
    math.sqrt = torch.cumprod = torch.Tensor.sqrt = lambda *values, **named: None
    return 2 * x


def test_the_readers_state_is_left_as_it_was():
    state = (torch.get_default_dtype(), torch.get_num_threads(), np.geterr(), math.sqrt, torch.Tensor.sqrt)
    dice = [torch.rand(2), np.random.rand(2), random.random()]
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    dice = [torch.rand(1).item(), np.random.rand(), random.random()]
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    assert "Where is k?" in says(messy)
    assert [torch.rand(1).item(), np.random.rand(), random.random()] == dice
    after = (torch.get_default_dtype(), torch.get_num_threads(), np.geterr(), math.sqrt, torch.Tensor.sqrt)
    assert after == state and torch.is_grad_enabled() and torch.get_default_device().type == "cpu"
    assert math.sqrt(4) == 2 and torch.ones(2).cumprod(0).tolist() == [1, 1]


def test_what_the_notebook_has_set_changes_no_verdict():
    def right(n):
        return torch.cumprod(torch.linspace(0.5, 1, n), 0)

    exercise = build(right, [(3,), (4,), (5,)])
    torch.set_default_dtype(torch.float64)
    try:
        assert says(lambda n: torch.linspace(0.5, 1, n).cumprod(0), exercise) is None
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        assert says(lambda n: torch.linspace(0.5, 1, n).cumprod(0), exercise) is None
        assert not torch.is_grad_enabled()


def test_a_replaced_function_does_not_replace_it_for_the_reference(monkeypatch):
    def right(x):
        return torch.cumsum(x, 0) * math.sqrt(2)

    def replaced(*values, **named):
        return 7.0

    exercise = build(right, lambda rng: [(torch.randn(4, generator=rng),) for _ in range(3)])
    monkeypatch.setattr(torch, "cumsum", replaced)
    monkeypatch.setattr(torch.Tensor, "cumsum", replaced)
    assert says(lambda x: 7.0 * math.sqrt(2), exercise) is not None
    assert says(lambda x: (x[:, None] * torch.ones(4, 4).triu()).sum(0) * 2**0.5, exercise) is None
    assert torch.cumsum is replaced


def test_prints_are_shown_once(capsys):
    def chatty(x, k):
        print("shape", x.shape)
        return 2 * x

    says(chatty)
    assert capsys.readouterr().out == "shape torch.Size([3])\n"


# ---- slips in any formula


def mixture(x0, noise, t, table, share):
    return table[t].view(-1, 1) * x0 + share * noise


def mixtures(rng):
    table = torch.linspace(0.9, 0.1, 20)
    return [
        (*torch.randn(2, n, 5, generator=rng), torch.randperm(19, generator=rng)[:n] + 1, table, share)
        for n, share in ((6, 0.3), (4, 0.6), (5, 0.8))
    ]


MIXTURE = build(mixture, mixtures)


def for_rows(change):
    """A mixture that is wrong in some rows of the batch."""

    def answer(x0, noise, t, table, share):
        result = mixture(x0, noise, t, table, share)
        return torch.where(change(t)[:, None], 0.5 * x0, result)

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x, n, t, a, s: -mixture(x, n, t, a, s), "has the sign flipped"),
        (lambda x, n, t, a, s: 2 * mixture(x, n, t, a, s), "it is 2 times the right one"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s) / 3, "it is 1/3 times the right one"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s) * 2**0.5, "it is the root of 2 times the right"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s) * -math.pi, "pi times the right one and has the wrong"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s) + 1, "is 1 too large in every place"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s) ** 2, "a root is missing"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s).abs(), "the sign is lost"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s).clamp(-1, 1), "clipped elsewhere"),
        (lambda x, n, t, a, s: 1 - mixture(x, n, t, a, s), "one minus the right one"),
        (lambda x, n, t, a, s: 1 / mixture(x, n, t, a, s), "upside down"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s).round(), "rounded to whole numbers"),
        (lambda x, n, t, a, s: mixture(n, x, t, a, s), "`x0` and `noise` have changed places"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, 0.3), "does not change with `share`"),
        (lambda x, n, t, a, s: mixture(x, 0 * n, t, a, s), "does not change with `noise`"),
        (lambda x, n, t, a, s: mixture(x, n, t - 1, a, s), "right one for the `t` one before"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s**0.5), "the root of `share`"),
        (lambda x, n, t, a, s: mixture(x, n, t, a**2, s), "the square of `table`"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, 1 - s), "1 - `share`"),
        (lambda x, n, t, a, s: s * mixture(x, n, t, a, s), "has a factor `share` too many"),
        (lambda x, n, t, a, s: -mixture(x, n, t, a, s) / s**0.5, "lacks a factor, the root of `share`"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s) + 0.1 * n, "multiplies `x0` is right, what multiplies"),
        (for_rows(lambda t: t > 9), "right at small `t`, wrong at large"),
        (lambda x, n, t, a, s: mixture(x, n, t[:1], a, s), "only the first row"),
        (lambda x, n, t, a, s: 0 * x + 3, "is 3 everywhere"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s).flip(1), "in another order"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s) * x.mean(), "a multiple of the right one"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s) + x.mean(), "shifted as a whole"),
        (lambda x, n, t, a, s: mixture(x, n, t, a, s) + t[:, None] * s, "something is added that"),
        (lambda x, n, t, a, s: a[t][:, None] * x + s / n, "right for 1 / `noise`"),
    ],
)
def test_slips_are_named(answer, words):
    verdict = MIXTURE.judge(answer)
    assert words in verdict.says and verdict.result == WRONG and verdict.own


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda n: [0, *range(3, n + 2)], "the first entry of your result is right, those after it"),
        (lambda n: [7, *range(1, n)], "all entries of your result are right but the first"),
        (lambda n: [*range(n - 1), 77], "all entries of your result are right but the last"),
        (lambda n: [*range(n + 1)], "the right one for the `n` one after"),
    ],
)
def test_slips_in_rows(answer, words):
    assert words in says(answer, build(lambda n: list(range(n)), [(3,), (4,), (6,)]))


def test_slips_in_several_results_and_in_sums():
    def two(x, k):
        return x + k, x * k

    exercise = build(two, arguments)
    assert "items 0 and 1 of your result have changed places" in says(lambda x, k: two(x, k)[::-1], exercise)
    assert "item 0 of your result is right, item 1 is not: it has the sign flipped" in says(
        lambda x, k: (x + k, -x * k), exercise
    )
    mean = build(lambda x, y: ((x - y) ** 2).mean(), [(torch.randn(n), torch.randn(n)) for n in (3, 4, 7)])
    assert "a sum where a mean is asked for" in says(lambda x, y: ((x - y) ** 2).sum(), mean)
    square = build(
        lambda x: x.flip(-1),
        lambda rng: [(torch.randn(2, *s, generator=rng),) for s in ((3, 3), (3, 4), (4, 4))],
    )
    assert "right for square pictures only" in says(
        lambda x: x.flip(-1) if x.shape[1] == x.shape[2] else x, square
    )


def test_what_no_detector_knows_is_told_by_how_much_and_counts_as_generic():
    exercise = build(torch.tanh, lambda rng: [(torch.randn(4, generator=rng),) for _ in range(3)])
    verdict = exercise.judge(lambda x: x / (1 + x.abs()))
    assert "off by up to" in verdict.says and not verdict.own


# ---- a loss: by value, by gradient, by what the network was asked


def asked(weight, x_t, t):
    return weight * x_t + t.view(-1, 1)


def loss(predict_noise, x, noise, t):
    return (predict_noise(x + noise, t) - noise).square().mean()


LOSS = build(
    loss,
    lambda rng: [
        (Network(asked), *torch.randn(2, n, 3, generator=rng), torch.arange(n) + 1) for n in (2, 4, 5)
    ],
)


def without_gradient(predict_noise, x, noise, t):
    with torch.no_grad():
        return loss(predict_noise, x, noise, t)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (loss, None),
        (lambda f, x, n, t: (f(x_t=x + n, t=t) - n).pow(2).mean(), None),
        (without_gradient, "no gradient reaches the network"),
        (lambda f, x, n, t: loss(lambda a, b: f(a, b).detach(), x, n, t), "no gradient reaches the network"),
        (
            lambda f, x, n, t: loss(lambda a, b: f(a, b[:, None]), x, n, t),
            "input 1 of the network, which has",
        ),
        (lambda f, x, n, t: loss(lambda a, b: f(a, b.float()), x, n, t), "has dtype torch.float32"),
        (lambda f, x, n, t: (f(x + n, t), loss(f, x, n, t))[1], "is asked 2 times, expected 1"),
        (lambda f, x, n, t: ((y := f(x + n, t)) - n).mul((y - n).detach()).mean(), "its gradient is not"),
        (lambda f, x, n, t: loss(lambda a, b: f(x=a, t=b), x, n, t), "TypeError"),
    ],
)
def test_a_loss(answer, words):
    assert says(answer, LOSS) is None if words is None else words in says(answer, LOSS)


# ---- the other kinds


PREDICT = Predict(
    number="0.2",
    name="guesses",
    section="0.2",
    measure=lambda: {"two": math.sqrt(2), "hundred": 10.0, "wider": True},
    mistakes=(
        Mistake(lambda: {"two": 2.0, "hundred": 100.0}, "You added widths."),
        Mistake(None, "All alike.", lambda guesses, cases: guesses["two"] == guesses["hundred"]),
    ),
)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"two": 1.4, "hundred": 10, "wider": True}, None),
        ({"two": torch.tensor(1.45), "hundred": np.float64(9.5), "wider": True}, None),
        ([sympy.sqrt(2), 10.5, True], None),
        (lambda: {"two": 1.4, "hundred": 10, "wider": True}, None),
        ({"two": 2, "hundred": 100, "wider": True}, "You added widths."),
        ({"two": 5, "hundred": 5, "wider": True}, "All alike."),
        ({"two": 1.4, "hundred": 32.0, "wider": True}, '"hundred": 3.2 times too large. 2 of 3 are right.'),
        ({"two": 0.7, "hundred": 10, "wider": True}, '"two": 2 times too small'),
        ({"two": -1.4, "hundred": 10, "wider": True}, "the sign is wrong"),
        ({"two": 1.4, "hundred": 11.5, "wider": True}, "a little too large"),
        ({"two": 1.4, "hundred": 10, "wider": False}, '"wider": no, it is otherwise'),
        ({"two": 1.4, "hundred": 10}, 'should be {"two": ..., "hundred": ..., "wider": ...}'),
        ({"two": 1.4, "hundred": "ten", "wider": True}, "should be a number, yours is 'ten'"),
        ({"two": math.nan, "hundred": 10, "wider": True}, "should be a number, yours is nan"),
        (3.0, "each with your guess"),
        (lambda: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_predict(answer, words):
    assert says(answer, PREDICT) is None if words is None else words in says(answer, PREDICT)


def test_a_prediction_still_to_be_made():
    for answer in (..., {"two": ..., "hundred": 1.0, "wider": True}, [..., ..., ...]):
        assert PREDICT.judge(answer).result == TO_DO


a, b = sympy.symbols("a b", positive=True)
DERIVE = Derive(
    number="0.3",
    name="variance",
    section="0.2",
    right=lambda a, b: (1 - a) * b**0.5,
    mistakes=(Mistake(lambda a, b: (1 - a**0.5) * b**0.5, "A root too many over alpha."),),
)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((1 - a) * sympy.sqrt(b), None),
        (sympy.sqrt(b) - a * sympy.sqrt(b), None),
        (sympy.exp(sympy.log(b) / 2) * (1 - sympy.Symbol("a")), None),
        (lambda a, b: (1 - a) * math.sqrt(b), None),
        (lambda b, a: (1 - a) * math.sqrt(b), None),
        (lambda a, b: torch.tensor((1 - a) * math.sqrt(b), dtype=torch.float64), None),
        ((1 - sympy.sqrt(a)) * sympy.sqrt(b), "A root too many over alpha."),
        ((a - 1) * sympy.sqrt(b), "your formula has the sign flipped"),
        (2 * (1 - a) * sympy.sqrt(b), "your formula is off by a constant factor: it is 2 times"),
        ((1 - a) ** 2 * b, "the square of the right one"),
        ((1 - b) * sympy.sqrt(a), "`a` and `b` have changed places"),
        (1 - a, "does not change with `b`"),
        ((1 - a) * b, "`b`"),
        ((1 - a) * b**2, "a factor that depends on `b` alone"),
        (a * sympy.sqrt(b), "1 - `a`"),
        ((1 - a) * sympy.sqrt(b) + a * b, "gives other numbers"),
        (sympy.sqrt(a - 1) * b, "something negative"),
        (b / (a - a), "formula holds zoo|is not finite"),
        (sympy.Symbol("c") * b, "your formula holds c; it should be made of a, b alone"),
        ("(1 - a) * b", "not a text"),
        (sympy.Eq(a, b), "right-hand side alone"),
        (0.5, "0.5 everywhere"),
        (None, "not a NoneType"),
        (lambda a: a, "should be a function of (a, b)"),
    ],
)
def test_derive(answer, words):
    said = says(answer, DERIVE)
    assert said is None if words is None else any(word in said for word in words.split("|")), said


def test_a_formula_of_two_parts():
    exercise = Derive(number="0.3", name="f", section="0.2", right=lambda a, b: (a + b, a * b))
    for answer in ((a + b, a * b), [a + b, a * b], sympy.Tuple(a + b, a * b), sympy.Matrix([a + b, a * b])):
        assert says(answer, exercise) is None
    assert "item 0 of your formula is right, item 1 is not: it has the sign" in says(
        (a + b, -a * b), exercise
    )
    assert "is a float, expected a tuple" in says(a + b, exercise)
    assert exercise.judge(...).result == TO_DO


def halved(x, k):
    return x * k / 2


BUG = FindTheBug(
    number="0.4",
    name="repaired",
    section="0.2",
    right=double,
    cases=arguments,
    given=halved,
    mistakes=(Mistake(lambda x, k: x * k, "It is no longer halved, and not yet doubled."),),
)


def test_find_the_bug():
    assert says(double, BUG) is None
    assert BUG.judge(lambda x, k: x * k * 0.5).result == TO_DO
    assert "0.4 is still to be repaired" in says(halved, BUG)
    assert "not yet doubled" in says(lambda x, k: k * x, BUG)


def test_a_run_is_judged_by_its_symptoms():
    exercise = FindTheBug(
        number="0.4",
        name="settings",
        section="0.2",
        symptoms_alone=True,
        mistakes=(
            Mistake(None, "The loss still grows.", lambda settings, cases: settings["rate"] > 1),
            Mistake(None, "It still ends early.", lambda settings, cases: settings["steps"] < 100),
        ),
    )
    assert says({"rate": 0.1, "steps": 200}, exercise) is None
    assert "The loss still grows. See" in says({"rate": 2, "steps": 20}, exercise)
    assert "It still ends early. (1 of 2 symptoms are gone.)" in says({"rate": 0.1, "steps": 20}, exercise)


def error_of(answer):
    steps = answer(10)
    if len(steps) > 10:
        raise RuleBroken(f"you take {len(steps)} steps; 10 are allowed")
    return sum((step - i) ** 2 for i, step in enumerate(steps)) / 10


MARK = ReachTheMark(
    number="0.5",
    name="steps",
    section="0.2",
    score=error_of,
    what="error",
    mark=0.5,
    right=lambda n: list(range(n)),
    seconds=2.0,
    mistakes=(Mistake(lambda n: [0.0] * n, "You stand still."),),
)


def test_reach_the_mark():
    verdict = MARK.judge(lambda n: [i + 0.5 for i in range(n)])
    assert verdict.says == (
        "0.5 steps is right: error 0.25 (the mark is 0.5, the reference reaches 0)."
    ) and (verdict.result == RIGHT)
    assert "error 1 (the mark is 0.5" in says(lambda n: [i + 1 for i in range(n)], MARK)
    assert "You stand still." in says(lambda n: [0] * n, MARK)
    assert "you take 20 steps; 10 are allowed" in says(lambda n: [0] * 2 * n, MARK)
    assert "ZeroDivisionError" in says(lambda n: 1 / 0, MARK)
    assert MARK.judge(...).result == TO_DO

    def unwritten(n):
        raise NotImplementedError("0.5: write steps here")

    def endless(n):
        while True:
            pass

    assert MARK.judge(unwritten).result == TO_DO
    assert "had not come to an end after 2 seconds" in says(endless, MARK)
