"""What a training keeps on disk, and how damage and other settings are noticed when it is opened again.

Beside a checkpoint NAME.pt stay the one before it, NAME.previous.pt, and their checksums, NAME.pt.sha256; and
NAME.STEP.safetensors, the weights after some steps, where the recipe asks for such snapshots.
What is made once and read by all stages (pictures, tokenizer, latents) has a record in `records/`: the
settings it was made with, and the checksum of each of its files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import read_json, save_tensors, write_json
from ..files import digest, whole
from ..notes import note
from ..tensors import read_metadata, read_safetensors

KEPT = (
    2  # checksums of earlier checkpoints: of the one before, and of a damaged one that it took the place of
)


def remove_leftovers(out: Path) -> None:
    """Remove what killed writings have left in a run's folder; nobody else may be writing there."""
    unfinished = f".*.{16 * '[0-9a-f]'}.part"  # as files.whole calls them
    for folder in ("", "*/", "*/*/"):
        for part in out.glob(folder + unfinished):
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


def checksums(path: Path) -> Path:
    """Where the checksums stand: of the newest checkpoint in the first line, of those before it below."""
    return path.with_name(f"{path.name}.sha256")


def known_checksums(path: Path) -> list[str]:
    """The checksums of the last checkpoints written under this name, newest first."""
    listed = checksums(path)
    return listed.read_text(encoding="ascii", errors="replace").split() if listed.is_file() else []


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint and its checksum; the one that stood there becomes the previous one.

    The list of checksums is written first and holds those of the old files too, so that a kill at any moment
    leaves a checkpoint whose checksum is known.
    """
    with whole(path) as part:
        torch.save(state, part)
        with whole(checksums(path)) as listed:
            lines = [digest(part), *known_checksums(path)[:KEPT]]
            listed.write_text("\n".join(lines) + "\n", encoding="ascii")
        if path.exists():
            path.replace(previous(path))


def read_checkpoint(path: Path, name: Path | None = None) -> dict[str, Any]:
    """A checkpoint's contents, on the CPU; ValueError, in one line, if a single bit of the file has changed.

    `name` is the one under which it was written, where `path` is another.
    """
    if digest(path) not in known_checksums(name or path):
        raise ValueError(f"{path} is damaged: its checksum is not the one that was written")
    return torch.load(path, map_location="cpu", weights_only=True)


def newest_checkpoint(path: Path) -> dict[str, Any] | None:
    """The checkpoint to go on from, None if there is none yet.

    If it is damaged, or the training was killed between two renamings, the one before takes its place, with a
    note. Raises ValueError if that is damaged too, or not there.
    """
    before = previous(path)
    if not path.exists() and not before.exists():
        return None
    try:
        state = read_checkpoint(path) if path.exists() else read_checkpoint(before, path)
    except ValueError as error:
        if not path.exists() or not before.exists():
            raise ValueError(f"{error}; delete it to train from the start") from None
        state = use_previous(path)
        note(f"{error}; going on from the one before it, step {state['step']}")
    else:
        if not path.exists():
            before.replace(path)
    return state


def use_previous(path: Path) -> dict[str, Any]:
    """Put the checkpoint before it in the place of a damaged one."""
    before = previous(path)
    try:
        state = read_checkpoint(before, path)
    except ValueError as error:
        raise ValueError(f"{error}, nor is that of {path}; delete both to train from the start") from None
    before.replace(path)
    return state


# Snapshots


def snapshot(path: Path, step: int) -> Path:
    """Where the weights after `step` steps are kept, beside the checkpoint `path`."""
    return path.with_name(f"{path.stem}.{step}.safetensors")


def write_snapshot(
    raw: Mapping[str, Tensor],
    average: Mapping[str, Tensor],
    path: Path,
    step: int,
    settings: dict[str, Any],
) -> None:
    """Keep the weights after `step` steps, as they are and averaged, in one file beside the checkpoint."""
    tensors = {f"raw.{name}": value for name, value in raw.items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    about = {"step": str(step), "settings": json.dumps(settings, sort_keys=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(tensors, snapshot(path, step), torch.float32, about)


def read_snapshot(path: Path, step: int, settings: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The weights after `step` steps: {"raw": {...}, "average": {...}}.

    Raises FileNotFoundError if they were not kept, ValueError if they are damaged or of other settings.
    """
    kept = snapshot(path, step)
    if not kept.is_file():
        raise FileNotFoundError(
            f"there is no snapshot {kept}; name step {step} in the recipe's snapshots and train again"
        )
    check_settings(kept, json.loads(read_metadata(kept).get("settings", "{}")), settings)
    tensors = read_safetensors(kept)
    return {
        kind: {name.removeprefix(f"{kind}."): x for name, x in tensors.items() if name.startswith(f"{kind}.")}
        for kind in ("raw", "average")
    }


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
