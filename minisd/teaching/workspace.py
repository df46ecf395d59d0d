"""The reader's folder my/: exercises are copied there once, and what a reader wrote is never overwritten."""

import json
import shutil
from pathlib import Path
from typing import Any

from ..files import digest, locked, whole
from .progress import FOLDER

COPIED = "copied.json"  # in my/: of which version of an exercise each copy was made
BOOK = ("chapters/", "solutions/", "exercises/")  # tracked by git


def prepare(root: Path) -> list[str]:
    """Copy the exercises that my/ lacks; says what was done and which newer versions there are.

    A newer version of an exercise is put beside the reader's copy, once, as NN_name.new.ipynb.
    """
    folder, said = root / FOLDER, []
    folder.mkdir(exist_ok=True)
    with locked(folder / COPIED):
        copied = load(folder / COPIED)
        for source in sorted((root / "exercises").glob("[0-9][0-9]_*.ipynb")):
            mine, version = folder / source.name, digest(source)
            if not mine.exists():
                copy(source, mine)
                said.append(f"{FOLDER}/{mine.name} is new: your copy of the exercises")
            elif copied.get(source.name) != version:
                said.append(offered(source, mine))
            copied[source.name] = version
        with whole(folder / COPIED) as part:
            part.write_text(json.dumps(copied, indent=1) + "\n", encoding="utf-8")
    return said


def offered(source: Path, mine: Path) -> str:
    """Put a newer version beside the reader's copy, unless something lies there already."""
    new = mine.with_suffix(".new.ipynb")
    if not new.exists():
        copy(source, new)
        return (
            f"{FOLDER}/{mine.name} stays as you left it; a newer version of these exercises is "
            f"{FOLDER}/{new.name}: take over what you like, then delete it"
        )
    return (
        f"{FOLDER}/{mine.name} stays as you left it; there is a newer version, exercises/{source.name}, and "
        f"{FOLDER}/{new.name} is an older one that you kept"
    )


def copy(source: Path, path: Path) -> None:
    with whole(path) as part:
        shutil.copyfile(source, part)


def load(path: Path) -> dict[str, str]:
    """What is kept of earlier copies; nothing where it cannot be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def before_save(path: str, model: dict[str, Any], contents_manager: object, **more: object) -> None:
    """Called by JupyterLab before it saves a file: a chapter that was only opened stays as it was.

    JupyterLab adds the version of the reader's Python to every notebook that it opens.
    """
    if path.startswith(BOOK) and model.get("type") == "notebook":
        info = model["content"].get("metadata", {}).get("language_info", {})
        info.pop("version", None)
