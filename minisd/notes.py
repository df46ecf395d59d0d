"""Notes to the user: things that are no error, but that one would want to know."""

import inspect
import warnings


def note(text: str) -> None:
    """Warn with one line, as of the line outside minisd that led here. The command shows it as a note."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "minisd":
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
