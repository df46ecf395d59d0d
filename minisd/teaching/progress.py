"""What a reader has done so far: kept in my/progress.json, from which only the reader's own checks write."""

import contextlib
import json
from pathlib import Path

from ..files import locked, whole

FOLDER = "my"  # the reader's, beside chapters/ and exercises/
FILE = "progress.json"
RIGHT, TO_DO, WRONG = "right", "to do", "wrong"


def workspace() -> Path | None:
    """The reader's folder, if this notebook lies in it; a notebook runs in its own folder."""
    with contextlib.suppress(OSError):  # a folder that was removed has no name
        here = Path.cwd()
        if here.name == FOLDER and (here.parent / "book.toml").is_file():
            return here
    return None


def load(folder: Path) -> dict[str, str]:
    """The last result of each exercise that was checked; none where nothing readable is kept."""
    try:
        kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict):
        return {}
    return {str(number): result for number, result in kept.items() if result in (RIGHT, WRONG)}


def record(folder: Path, number: str, result: str) -> dict[str, str]:
    """Keep the result of a check; all results. One that is still to be written changes nothing."""
    if result == TO_DO:
        return load(folder)
    try:
        with locked(folder / FILE):
            results = load(folder) | {number: result}
            with whole(folder / FILE) as part:
                part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    except OSError:  # a folder that cannot be written keeps no progress; the check itself is worth having
        return load(folder) | {number: result}
    return results
