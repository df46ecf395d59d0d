"""Runs an answer to an exercise: on copies of the cases, in a known state, not for ever; and records it."""

import builtins
import contextlib
import io
import itertools
import math
import random
import signal
import threading
import warnings
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from copy import deepcopy
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .differences import mismatch
from .outcome import Network, Outcome, Yields

LONGEST = 10_000  # yields that are read from a generator


class TooLong(Exception):
    """The time limit is over."""


# ---- calling


def behaviour(function: Callable, cases: list[tuple], seconds: float | None = None) -> list[Outcome]:
    """What `function` does with copies of each case, twice each.

    seconds: given for a reader's function, which may need for ever (TooLong is raised) and may change the
    state of libraries; what its very first call prints is shown. None for the exercise's own functions.
    """
    if seconds is None:
        with same_dice():
            return [outcome(function, case) for case in cases]
    with clean_state(), time_limit(seconds):
        return [outcome(function, case, aloud=i == 0) for i, case in enumerate(cases)]


def outcome(function: Callable, case: tuple, aloud: bool = False) -> Outcome:
    """What `function` does with two copies of a case."""
    first, second = copied(case), copied(case)
    result, error = called(function, first, aloud)
    networks = [value for value in first if isinstance(value, Network)]
    changed = not untouched(first, case)
    again, second_error = called(function, second)
    return Outcome(
        result,
        error,
        changed,
        again if second_error is None else second_error,
        [network.calls for network in networks if network.record],
        [gradient(result, network) for network in networks],
    )


def called(function: Callable, case: tuple, aloud: bool = False) -> tuple[Any, BaseException | None]:
    """The result, its yields in a list if it is a generator; or the error."""
    try:
        with contextlib.nullcontext() if aloud else quiet():
            result = function(*case)
            if type(result) is GeneratorType:
                result = Yields(itertools.islice(result, LONGEST))
            return result, None
    except KeyboardInterrupt:  # the reader's own, or the time limit's
        raise
    # The reader's own mistakes, of any kind (sys.exit() too): they are told, not hidden.
    except BaseException as error:  # noqa: BLE001
        return None, error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Prints and warnings go nowhere: an answer runs many times."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def gradient(result: Any, network: Network) -> Tensor | None:
    """The slope of a result by the network's weight; None if no gradient reaches it."""
    if not isinstance(result, Tensor) or not result.requires_grad:
        return None
    (slope,) = torch.autograd.grad(result.sum(), network.weight, allow_unused=True, retain_graph=True)
    return slope


def copied(value: Any) -> Any:
    """A copy of its own of everything in a case; a random generator in the same state."""
    if type(value) in (tuple, list):
        return type(value)(copied(item) for item in value)
    if isinstance(value, torch.Generator):
        return value.clone_state()
    return deepcopy(value)


def untouched(value: Any, before: Any) -> bool:
    """Whether an input is, bit for bit, what it was before."""
    return mismatch(value, before, 0.0, nan=True) is None


# ---- the state around a call


@contextlib.contextmanager
def same_dice() -> Iterator[None]:
    """Random numbers drawn afterwards are not disturbed by those drawn inside."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextlib.contextmanager
def clean_state() -> Iterator[None]:
    """Libraries as they are when Python starts; the reader's own state is back afterwards."""
    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    replaced = put_back()
    torch.set_default_dtype(torch.float32)
    elsewhere = device.type != "cpu"
    if elsewhere:
        torch.set_default_device(None)
    try:
        with (
            same_dice(),
            torch.inference_mode(False),
            torch.set_grad_enabled(True),
            np.errstate(),
            warnings.catch_warnings(),
        ):
            yield
    finally:
        put_back()
        for owner, name, value in replaced:
            setattr(owner, name, value)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if elsewhere or torch.get_default_device().type != "cpu":
            torch.set_default_device(device if elsewhere else None)
        torch.set_default_dtype(dtype)


# What references and checks call, as it was before any answer ran: an answer (or a cell) that replaces
# torch.cumprod would otherwise replace it for the reference too.
GENUINE = {
    owner: {name: value for name, value in vars(owner).items() if callable(value)}
    for owner in (math, torch, torch.nn.functional, np, builtins)
}
METHODS = {name: getattr(Tensor, name) for name in dir(Tensor) if name[:1] != "_"}


def put_back() -> list[tuple[Any, str, Any]]:
    """Undo replacements of functions of torch, numpy, math and of tensors; returns what was replaced."""
    changed = []
    for owner, genuine in [*GENUINE.items(), (Tensor, METHODS)]:
        for name, value in genuine.items():
            now = getattr(owner, name, None)
            if now is not value and (owner is not Tensor or not same_method(now, value)):
                changed.append((owner, name, now))
                setattr(owner, name, value)
    return changed


def same_method(now: Any, value: Any) -> bool:
    """Attributes of a class written in C are new objects at every look, equal to one another."""
    return type(now) is type(value) and bool(now == value)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TooLong in the main thread once the time is over.

    A second thread interrupts this one as Ctrl-C would, which works alike on Linux, macOS and Windows. It
    takes effect between two lines of Python: a single call inside of torch is waited for. In any other
    thread than the main one there is no limit. A program that was started in the background (`nohup`) ignores
    Ctrl-C; it heeds it in here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over, done = threading.Event(), threading.Event()

    def watch() -> None:
        if not done.wait(seconds):
            over.set()
            while not done.is_set():  # and again, if a bare `except:` swallowed it
                interrupt_main()
                done.wait(1.0)

    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        try:
            yield
        finally:
            done.set()
            watcher.join()
        if over.is_set():  # the interrupts were swallowed
            raise TooLong
    except KeyboardInterrupt:
        if over.is_set():
            raise TooLong from None
        raise
    finally:  # last: an interrupt may still come while the watcher is waited for
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
