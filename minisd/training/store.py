"""What a training keeps on disk, and how damage and other settings are noticed when it is opened again.

Checkpoints carry a checksum of their own, and the one before stays beside the newest: NAME.previous.pt.
What is made once and read by all stages (pictures, tokenizer, latents) has a record in `records/`: the
settings it was made with, and the checksum of each of its files.
"""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import read_json, write_json
from ..files import digest, whole

CHECKSUM = "sha256"


def remove_leftovers(folders: list[Path]) -> None:
    """Remove what killed writings have left in a run's folders; nobody else may be writing there."""
    for folder in folders:
        for part in folder.glob(".*.part"):
            part.unlink()


def check_settings(path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """ValueError if `path` was made with other settings than those that are asked for now."""
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            raise ValueError(
                f"{path} was made with {key} = {old.get(key)}, now it is {new.get(key)}; "
                "give the old value or another --out folder"
            )


# Checkpoints


def previous(path: Path) -> Path:
    """Where the checkpoint before this one is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def checksum(state: dict[str, Any]) -> str:
    """The SHA-256 of everything in a checkpoint, but for the checksum itself."""
    hashing = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, Tensor):
            hashing.update(f"{value.dtype} {tuple(value.shape)}".encode())
            hashing.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        elif isinstance(value, dict):
            for key, inner in value.items():
                feed(key)
                feed(inner)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                feed(inner)
        else:
            hashing.update(f"{value!r};".encode())

    feed({key: value for key, value in state.items() if key != CHECKSUM})
    return hashing.hexdigest()


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint with its checksum; the one that stood there becomes the previous one."""
    with whole(path) as part:
        torch.save({**state, CHECKSUM: checksum(state)}, part)
        if path.exists():
            path.replace(previous(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's contents, on the CPU; ValueError, in one line, if a single bit of them has changed."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  # a damaged pickle fails in a dozen ways
        raise ValueError(f"{path} is damaged ({type(error).__name__})") from None
    if not isinstance(state, dict) or state.get(CHECKSUM) != checksum(state):
        raise ValueError(f"{path} is damaged (its checksum is another)")
    return state


def newest_checkpoint(path: Path) -> dict[str, Any] | None:
    """The checkpoint to go on from, None if there is none yet.

    A damaged one is replaced by the one before it, with a note. Raises ValueError if that is not there or is
    damaged too.
    """
    before = previous(path)
    if not path.exists() and not before.exists():
        return None
    try:
        if path.exists():
            return read_checkpoint(path)
        state = read_checkpoint(before)  # the training was killed between two renamings
    except ValueError as error:
        if not before.exists() or not path.exists():
            raise ValueError(f"{error}; delete it to train from the start") from None
        state = read_checkpoint(before)
        warnings.warn(
            f"{path} is damaged; going on from the one before it, step {state['step']}", stacklevel=2
        )
    before.replace(path)
    return state


# What is made once


def record_path(folder: Path, name: str) -> Path:
    """Where the record of what is called `name` stands."""
    return folder / "records" / f"{name}.json"


def write_record(folder: Path, name: str, settings: dict[str, Any], files: list[Path]) -> None:
    """Note that these files are finished, what they were made with, and their checksums."""
    checksums = {path.relative_to(folder).as_posix(): digest(path) for path in files}
    write_json({"settings": settings, "files": checksums}, record_path(folder, name))


def is_recorded(folder: Path, name: str, settings: dict[str, Any]) -> bool:
    """Whether what is called `name` is finished; ValueError if it was made with other settings."""
    path = record_path(folder, name)
    if not path.is_file():
        return False
    check_settings(folder / name, read_record(path)["settings"], settings)
    return True


def check_files(folder: Path, name: str) -> None:
    """ValueError if a file of a finished record is gone or has changed."""
    path = record_path(folder, name)
    for file, wanted in read_record(path)["files"].items():
        found = folder / file
        if not found.is_file() or digest(found) != wanted:
            raise ValueError(f"{found} is damaged or gone; delete {path} to make it again")


def read_record(path: Path) -> dict[str, Any]:
    """A record: {"settings": {...}, "files": {name: checksum}}."""
    record = read_json(path)
    if not all(isinstance(record.get(key), dict) for key in ("settings", "files")):
        raise ValueError(f"{path} is damaged; delete it to make again what it is about")
    return record
