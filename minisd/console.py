"""What a command says and hears: text on any console, notes, errors in one line, signals."""

import errno
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

# What torch says when there is no memory left: on a GPU, on a CPU, on a CPU under Windows.
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
STOPS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C; `kill`; a terminal that was closed. Windows has no SIGHUP
# What the system says of a stream whose other end is gone: a pipe, on Windows too, or a terminal.
NOBODY_READS = {errno.EPIPE, errno.EIO, errno.EBADF, errno.EINVAL if os.name == "nt" else errno.EPIPE}
CRITICAL = 128  # a shell adds a signal's number to this: 130 for Ctrl-C, 143 for SIGTERM


# Streams


def make_streams_safe() -> None:
    """Make stdout and stderr take any text, and give those that were closed to the null device.

    A letter that a console's encoding lacks is written as an escape. Were a closed stream left closed, the
    next file that is opened would take its number, and what a library prints would land in a picture.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # this number stays open: it is that of a stream
    os.close(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print on stdout; a reader that went away (`minisd ... | head`) is no error."""
    write(text + "\n", sys.stdout)


def tell(text: str) -> None:
    """Print on stderr, if anything can be written there."""
    try:
        write(text + "\n", sys.stderr)
    except OSError:
        silence(sys.stderr)


def write(text: str, stream: TextIO) -> None:
    """Write and flush; from then on nothing is written to a stream that nobody reads."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        silence(stream)
        if error.errno not in NOBODY_READS:
            raise OSError(f"the output could not be written ({error.strerror})") from None


def silence(stream: TextIO) -> None:
    """Send all that a stream still holds, and all that is to come, to the null device."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream without a number, such as a test's
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def printable(text: str) -> str:
    """The text in one line, with escapes where a letter would move the cursor or is none."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


# Notes and errors


@contextmanager
def warnings_as_notes() -> Iterator[list[str]]:
    """Show each warning as one line on stderr, once; yields the list of those shown."""
    notes: list[str] = []

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = printable(str(message))
        if text not in notes:
            notes.append(text)
            tell(f"note: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield notes


def one_line(error: Exception) -> str:
    """An error's message without line breaks; the operating system's errors with their file first."""
    if isinstance(error, OSError) and error.strerror == os.strerror(errno.ENOSPC):
        return "the disk is full; make room, or name a folder on another disk"
    if isinstance(error, OSError) and error.filename:
        return printable(f"{error.filename}: {error.strerror}; check the path and who may write there")
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    if isinstance(error, MemoryError) and str(error):
        return printable(str(error))
    if isinstance(error, MemoryError | RuntimeError):
        return "there is not enough memory for that; ask for smaller pictures or batches"
    return printable(str(error)) or type(error).__name__


def is_expected(error: Exception) -> bool:
    """Whether an exception tells about input or machine; any other is a bug and shows its traceback."""
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in NO_MEMORY)
    return isinstance(error, ValueError | OSError | FloatingPointError | MemoryError)


# Signals


def signals_that_end() -> list[signal.Signals]:
    """Those of STOPS that this system has."""
    return [getattr(signal, name) for name in STOPS if hasattr(signal, name)]


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let signals that ask the program to end wait until the block is done (not on Windows)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals_that_end())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """Let every signal that asks a program to end raise KeyboardInterrupt, so that it clears up.

    Yields the list of the signals that came. One that the caller ignores, as `nohup` and a shell's background
    jobs do, stays ignored. Worker processes that are forked in the block end at once, without a word.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only there can Python set handlers
        yield received
        return
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            os._exit(CRITICAL + number)
        received.append(number)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in signals_that_end()}
    ours = {n: now for n, now in before.items() if now in (signal.SIG_DFL, signal.default_int_handler)}
    for number in ours:
        signal.signal(number, stop)
    try:
        yield received
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
