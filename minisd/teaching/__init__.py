"""What only the book needs: its order, its figures, the checks of its exercises, the microscope."""

from collections.abc import Callable


def __getattr__(name: str) -> Callable:
    """`check` and `microscope` need torch: they are imported when first asked for (PEP 562)."""
    if name == "check":
        from .checks import check

        return check
    if name == "microscope":
        from .compare import microscope

        return microscope
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
