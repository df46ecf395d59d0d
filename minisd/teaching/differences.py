"""How what an answer did differs from what the reference did, in words."""

import dataclasses
import inspect
import linecache
import math
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .outcome import Network, Outcome, Yields

ANY = float("inf")  # the tolerance at which only types and shapes are compared
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
NUMPY: dict[type, Any] = {int: np.integer, float: np.floating, bool: np.bool_, str: np.str_}
LIBRARIES = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
OURS = str(Path(__file__).parent)


def difference(ours: Outcome, theirs: Outcome, tolerance: float) -> str | None:
    """How two outcomes differ; None if they do not. Where neither repeats, their types and shapes are
    compared.
    """
    try:
        return in_what_was_done(ours, theirs, tolerance)
    # A result may be of any kind, one that cannot be looked at included.
    except Exception as error:  # noqa: BLE001
        return f"your result cannot be read ({type(error).__name__})"


def in_what_was_done(ours: Outcome, theirs: Outcome, tolerance: float) -> str | None:
    if type(ours.error) is not type(theirs.error):
        if ours.error is None:
            return f"an error of type {type(theirs.error).__name__} should be raised here, and is not"
        return f"your function stopped with {type(ours.error).__name__}"
    drawn, draws = not repeats(theirs, tolerance), not repeats(ours, tolerance)
    if draws and not drawn:
        return "called twice with the same inputs, your function gave two results: use only what it is given"
    if drawn and not draws:
        return "called twice with the same inputs, your function gave the same result, but it should draw"
    values = mismatch(ours.result, theirs.result, ANY if drawn else tolerance)
    if values is not None:
        return f"your result {values}"
    if ours.changed and not theirs.changed:
        return (
            "your function changed what it was given: make a new tensor or list instead of writing into "
            "that one"
        )
    if theirs.changed and not ours.changed:
        return "your function leaves its inputs as they were; here it should change them"
    return in_gradients(ours, theirs, tolerance) or in_calls(ours, theirs, tolerance)


def repeats(outcome: Outcome, tolerance: float) -> bool:
    """Whether a second call did the same as the first, but for the last bits."""
    if outcome.error is not None:
        return type(outcome.again) is type(outcome.error)
    return mismatch(outcome.again, outcome.result, tolerance, nan=True) is None


def in_gradients(ours: Outcome, theirs: Outcome, tolerance: float) -> str | None:
    """What training would notice and the value does not show."""
    for slope, expected in zip(ours.gradients, theirs.gradients):
        if slope is None and expected is not None:
            return (
                "the value is right, but no gradient reaches the network: it was called under no_grad, or "
                "its output was detached or turned into a number"
            )
        if slope is not None and expected is None:
            return "a gradient reaches the network, and here none should"
        if slope is not None and expected is not None and mismatch(slope, expected, 10 * tolerance):
            return "the value is right, but its gradient is not: is a part of the calculation detached?"
    return None


def in_calls(ours: Outcome, theirs: Outcome, tolerance: float) -> str | None:
    """What the network was asked."""
    for asked, expected in zip(ours.calls, theirs.calls):
        if len(asked) != len(expected):
            return f"the network is asked {len(asked)} times, expected {len(expected)}"
        for inputs, right in zip(asked, expected):
            if len(inputs) != len(right):
                return f"the network is given {len(inputs)} inputs, expected {len(right)}"
            parts = [(f"input {i} of the network", *pair) for i, pair in enumerate(zip(inputs, right))]
            said = first_of(parts, tolerance, False)
            if said is not None:
                return f"the value is right, but what you ask the network {said}"
    return None


# ---- values


def mismatch(ours: Any, theirs: Any, tolerance: float, nan: bool = False) -> str | None:
    """How `ours` differs from `theirs`, as what follows "your result"; None if it does not.

    Types must be the very same: a subclass could say of itself that it equals anything. Only numbers of numpy
    count as Python's. nan: NaN equals NaN.
    """
    kind = type(theirs)
    ours = as_pythons(ours, kind)
    if type(ours) is not kind:
        return f"is {a_(type(ours))}, expected {a_(kind)}{hint(ours, theirs)}"
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
        names = [field.name for field in dataclasses.fields(theirs)]
        parts = [(name, getattr(ours, name), getattr(theirs, name)) for name in names]
        return first_of(parts, tolerance, nan)
    if isinstance(theirs, nn.Module):
        return mismatch(dict(ours.state_dict()), dict(theirs.state_dict()), tolerance, nan)
    if kind in (Tensor, nn.Parameter, np.ndarray):
        return mismatch_of_numbers(ours, theirs, tolerance, nan)
    if kind in (float, complex) or isinstance(theirs, np.generic):
        off = mismatch_of_numbers(np.asarray(ours), np.asarray(theirs), tolerance, nan)
        return off and f"is {ours:.6g}, another number than expected"
    if kind in PLAIN:
        return None if ours == theirs or tolerance == ANY else f"is {ours!r}, which is not what was expected"
    itself_alone: Any = object.__eq__
    if kind.__eq__ is itself_alone and not callable(theirs) and hasattr(theirs, "__dict__"):
        return mismatch(vars(ours), vars(theirs), tolerance, nan)
    return None  # functions, random generators: there is nothing to compare


def as_pythons(value: Any, kind: type) -> Any:
    """A number or a text of numpy as Python's, where one of that kind was expected; so with a tensor or an
    array that holds a single number.
    """
    if kind in (int, float) and isinstance(value, (Tensor, np.ndarray)) and math.prod(value.shape) == 1:
        value = numbers(value).reshape(())[()]
    return value.item() if isinstance(value, np.generic) and isinstance(value, NUMPY.get(kind, ())) else value


def hint(ours: Any, theirs: Any) -> str:
    """What may have led to a result of another type."""
    kind, mine = type(theirs), type(ours)
    if ours is None:
        return ": is the `return` missing?"
    if mine in (complex, np.complex128, np.complex64):
        return ": a root of a negative number was taken"
    if kind is float and mine is int:
        return ": an integer division, a round() or a count? float() makes it one"
    if callable(ours) and not callable(theirs):
        return ": is it called, with its brackets?"
    return ""


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
    """`mismatch` for tensors and arrays: kind, shape, dtype, then the largest difference."""
    form = mismatch_of_form(ours, theirs)
    if form is not None or tolerance == ANY or getattr(theirs, "is_meta", False):  # which holds no numbers
        return form
    a, b = numbers(ours), numbers(theirs)
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
        return "holds NaN: 0/0, or the root or logarithm of a negative number"
    return (
        f"has the right shape and dtype, but is off by up to {off.max():.2g}, in {bad.sum()} of {bad.size} "
        "places"
    )


def mismatch_of_form(ours: Tensor | np.ndarray, theirs: Tensor | np.ndarray) -> str | None:
    """Where the numbers lie, their shape and their type."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        if ours.layout != theirs.layout:
            return "is a sparse tensor, expected an ordinary one: .to_dense()"
        if ours.device != theirs.device:
            return f"is on the device {ours.device}, expected {theirs.device}"
    shape, expected = tuple(ours.shape), tuple(theirs.shape)
    if shape != expected:
        return f"has shape {shape}, expected {expected}{hint_on_shapes(shape, expected)}"
    if ours.dtype != theirs.dtype:
        names = [str(x.dtype) for x in (ours, theirs)]
        complex_ = ": a root of a negative number was taken" if "complex" in names[0] else ""
        return f"has dtype {names[0]}, expected {names[1]}{complex_}"
    return None


def hint_on_shapes(shape: tuple, expected: tuple) -> str:
    """What may have led to another shape."""
    if [n for n in shape if n > 1] == [n for n in expected if n > 1]:
        return ": an axis of size one too many or too few"
    if sorted(shape) == sorted(expected):
        return ": two axes have changed places"
    if math.prod(shape) > math.prod(expected) and set(expected) <= set(shape):
        return ": two axes that should run along each other were broadcast, as (n,) with (n, 1) makes (n, n)"
    if not shape:
        return ": it was summed or averaged to one number"
    return ""


def numbers(x: Tensor | np.ndarray) -> np.ndarray:
    """The numbers of a tensor, wherever and however it holds them."""
    if not isinstance(x, Tensor):
        return x
    x = x.detach().cpu()
    if x.layout != torch.strided:
        x = x.to_dense()
    if x.is_quantized:
        x = x.dequantize()
    if x.is_floating_point():
        x = x.double()
    return x.resolve_conj().resolve_neg().numpy()


# ---- errors, inputs, names


def where(error: BaseException) -> str:
    """The error in one line, with the reader's own line where it happened."""
    said = f"{type(error).__name__}: {text_of(error)}".splitlines()[0].rstrip(": ")
    if isinstance(error, RecursionError):
        said = "RecursionError: the function calls itself without end"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.lineno and is_readers(f.filename)]
    if not frames:
        return f"your function stopped with {said}"
    line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    return f"your function stopped in line {frames[-1].lineno}{f', `{line}`,' if line else ''} with {said}"


def text_of(error: BaseException) -> str:
    """What an error says; an error of the reader's own may fail even at that."""
    try:
        return str(error).strip()
    except Exception:  # noqa: BLE001
        return ""


def is_readers(file: str) -> bool:
    """Whether a line of code is the reader's: not a library's, nor the checker's own."""
    return not any(file.startswith(folder) for folder in (*LIBRARIES, OURS, "<frozen"))


def described(case: tuple, names: list[str]) -> str:
    """The inputs of a case in a few words: shapes of tensors, small values as they are."""
    words = []
    for i, value in enumerate(case):
        name = names[i] if i < len(names) else f"argument {i}"
        if isinstance(value, (Tensor, np.ndarray)):
            words.append(f"{name} of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}")
        elif type(value) is float:
            words.append(f"{name} = {value:.6g}")
        elif type(value) in (int, bool, str):
            words.append(f"{name} = {value!r}")
    return "; ".join(words) or "these inputs"


def parameters(function: Callable) -> list[str]:
    """The names of a function's parameters; none for a function written in C that does not tell."""
    if isinstance(function, Network):
        return parameters(function.function)[1:]
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def a_(kind: type) -> str:
    """A type's name with its article."""
    name = "None" if kind is type(None) else "generator" if kind is Yields else kind.__name__
    return name if name == "None" else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
