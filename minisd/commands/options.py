"""Options that several commands share, and the types that read them."""

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .. import console
from ..config import DEVICES, LARGEST_SEED

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float16", "bfloat16")
RANDOM = "random"  # what one types for a seed that is drawn


class Parser(argparse.ArgumentParser):
    """argparse's parser, with errors that `cli.main` shows in one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see {self.prog} --help")


def computing() -> Parser:
    """A parser to inherit --device and --dtype from."""
    parser = Parser(add_help=False)
    parser.add_argument("--device", choices=DEVICES, help="to compute on (default: cuda where there is one)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="to compute in (float32)")
    return parser


def reporting() -> Parser:
    """A parser to inherit --json from."""
    parser = Parser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return parser


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argparse type: a whole number between `least` and `most`."""
    limits = f"between {least} and {most}" if most is not None else f"of at least {least}"

    def read(text: str) -> int:
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,20}", text) else None
        if number is None or number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"give a whole number {limits}, not {text!r}")
        return number

    return read


def words(text: str) -> str:
    """An argparse type: text in UTF-8, whatever the locale takes the typed bytes for."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no UTF-8 text; type it anew") from None


def number(text: str) -> float:
    """An argparse type: a number that is neither infinite nor NaN."""
    try:
        if math.isfinite(float(text)):
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"give a number such as 4 or 0.5, not {text!r}")


def seed(text: str) -> int | None:
    """An argparse type: a seed, or None for "random" (or -1, as in AUTOMATIC1111's web UI)."""
    if text in (RANDOM, "-1"):
        return None
    try:
        return whole_number(0, LARGEST_SEED)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; or the word {RANDOM}") from None


def file_and_scale(text: str) -> tuple[Path, float]:
    """An argparse type: style.safetensors or style.safetensors:0.7."""
    path, _, scale = text.rpartition(":")
    try:
        return (Path(path), number(scale)) if path else (Path(text), 1.0)
    except argparse.ArgumentTypeError:  # no scale behind the colon: C:\style.safetensors
        return Path(text), 1.0


def load_torch() -> None:
    """Import torch; a signal waits so long, because torch's C++ code aborts if its import is interrupted."""
    with console.signals_held_back():
        import torch  # noqa: F401


def checked_device(args: argparse.Namespace) -> str | None:
    """--device; ValueError if this machine does not have it."""
    load_torch()
    from ..models import pick_device

    try:
        pick_device(args.device)
    except ValueError as error:
        raise ValueError(f"--device {args.device}: {error}") from None
    return args.device


def chosen_dtype(args: argparse.Namespace) -> "torch.dtype":
    """What --dtype stands for."""
    import torch

    return getattr(torch, args.dtype)
