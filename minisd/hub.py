"""Published checkpoints from the Hugging Face hub: only the files that are needed, checked byte for byte.

A file gets its name once all its bytes have been hashed and the digest is
- the SHA-256 in published.toml, for the weights listed there (and if the hub states another one for its
  revision, nothing is downloaded at all);
- for other weights, the SHA-256 that the hub states for that revision;
- for the small files kept in Git (configs, vocabulary), the SHA-1 of the Git blob that the hub states.
The revisions in published.toml are Git commits, which can't change under their name.

Of the hub nothing is believed: names of files are ours, digests have to look like digests, and an answer has
a limit in size and in time (transfer.py). huggingface_hub (1.31 and 2.4) compares no digest over plain HTTP,
and throws away what it has of a file when it is stopped. Here the part stays beside its place as
NAME.incomplete, under a lock, and the next call asks for the rest. Finished files go to the hub's own cache,
where other programs find them.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import tomllib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from huggingface_hub import constants, errors, hf_hub_url, try_to_load_from_cache
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id

from .config import shown
from .files import locked, room_for, settle, whole
from .notes import note
from .transfer import File, Refusal, fill, small_body

CONFIGS = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
)
ONE_FILE = "tokenizer/tokenizer.json"  # does for merges.txt and vocab.json where they are missing
OPTIONAL = (
    "tokenizer/added_tokens.json",
    "tokenizer/special_tokens_map.json",  # this and the next for diffusers' sake
    "tokenizer/tokenizer_config.json",
)
WEIGHTS = ("text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model")
SHARD = re.compile(r"\w[\w.-]*\.safetensors", re.ASCII)
SHA1, SHA256 = re.compile("[0-9a-f]{40}"), re.compile("[0-9a-f]{64}")

SMALL = 8 << 20  # bytes, most that a config, a vocabulary or the description of a repository may have


@dataclass(frozen=True)
class Published:
    """A repository of the hub, a revision of it, and the SHA-256 of its weights as far as they are known."""

    repo: str
    revision: str = "main"
    sha256: dict[str, str] = field(default_factory=dict)


PUBLISHED = {
    name: Published(**entry)
    for name, entry in tomllib.loads(
        Path(__file__).with_name("published.toml").read_text(encoding="utf-8")
    ).items()
}


def fetch(
    model_id: str | Published, fp16: bool | None = None, dest: str | Path | None = None, check: bool = False
) -> Path:
    """The folder, in diffusers layout, of a model of the hub: from the hub's cache, else downloaded.

    model_id: a name in PUBLISHED, a repository "owner/name" (its newest revision, unless PUBLISHED has
    one), or a record. fp16: the half-precision twins of the weights, yes or no; None takes whichever
    the cache holds, full precision first, and downloads full precision, or half with a note where there
    is no other. dest: a folder to fill instead of the cache. check: hash again what the cache already
    holds, and fetch anew what is damaged.

    Raises OSError (ConnectionError without a connection, FileNotFoundError for files that are not there) or
    ValueError (other bytes than the published), in one line that says what to do.
    """
    model = record(model_id)
    if not dest and (folder := cached(model, fp16)) and not (check and damaged(folder)):
        return folder
    hub = constants.ENDPOINT
    try:
        return download(model, fp16, Path(dest) if dest else None)
    except Refusal as error:
        raise OSError(
            f"{hub} answers {error.status} for {model.repo} at {model.revision}; check the name, try later, "
            f"or for a private or licensed model see {hub}/{model.repo} and run hf auth login"
        ) from None
    except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConnectionError(
            f"no connection to {hub} ({reason}); what was fetched is kept for the next try; if you "
            "have the files elsewhere, give their folder to --model"
        ) from None


def record(model_id: str | Published) -> Published:
    """The record of a name in PUBLISHED or of a repository; ValueError if it can be neither."""
    known = PUBLISHED | {model.repo: model for model in PUBLISHED.values()}
    model = model_id if isinstance(model_id, Published) else known.get(model_id, Published(model_id))
    try:
        validate_repo_id(model.repo)
        owned = "/" in model.repo
    except errors.HFValidationError:
        owned = False
    if not owned:
        raise ValueError(
            f"no published model is called {model.repo!r}; give {', '.join(PUBLISHED)} or an OWNER/NAME"
        )
    return model


# Which files


def needed(there: Collection[str], fp16: bool | None) -> list[str]:
    """The files without which minisd can't paint, those of `there` where several would do.

    Weights are one file or several with an index; fp16 as in `fetch`.
    """
    names = list(CONFIGS)
    if ONE_FILE in there and not {"tokenizer/merges.txt", "tokenizer/vocab.json"}.issubset(there):
        names = [name for name in CONFIGS if not name.startswith("tokenizer/")] + [ONE_FILE]
    for stem in WEIGHTS:
        choices = []
        for half in (False, True) if fp16 is None else (fp16,):
            twin = ".fp16" if half else ""
            choices += [f"{stem}{twin}.safetensors", f"{stem}.safetensors.index{twin}.json"]
        names.append(next((name for name in choices if name in there), choices[0]))
    return names


def is_index(name: str) -> bool:
    return ".safetensors.index." in name


def shards(path: Path, name: str) -> list[str]:
    """The names of the files that an index at `path`, called `name` in its repository, speaks of."""
    complaint = f"{name} is an index of weights that names no files beside it; take another model"
    files = parsed(path.read_bytes(), complaint).get("weight_map")
    names = list(files.values()) if isinstance(files, dict) else []
    if not names or not all(isinstance(file, str) and SHARD.fullmatch(file) for file in names):
        raise OSError(complaint)
    return [f"{name.rpartition('/')[0]}/{file}" for file in sorted(set(names))]


def cached(model: Published, fp16: bool | None) -> Path | None:
    """The model's folder in the hub's cache, if all of it is there."""
    first = try_to_load_from_cache(model.repo, CONFIGS[0], revision=model.revision)
    if not isinstance(first, str):
        return None
    folder = Path(first).parent
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    names = needed(there, fp16)
    if not there.issuperset(names):
        return None
    try:
        parts = [part for name in names if is_index(name) for part in shards(folder / name, name)]
    except OSError:
        return None
    return folder if there.issuperset(parts) else None


def damaged(folder: Path) -> bool:
    """Whether a file of a model in the cache has other bytes than its name there, a digest, says."""
    files = [path.resolve() for path in folder.rglob("*") if path.is_file()]
    named = [file for file in files if SHA1.fullmatch(file.name) or SHA256.fullmatch(file.name)]
    return any(fingerprint(file, len(file.name)) != file.name for file in named)


# What the hub says of them


def odd(model: Published, what: str) -> OSError:
    return OSError(
        f"{constants.ENDPOINT} describes {model.repo} in a way that makes no sense ({what}); a proxy or a "
        "login page may be in between: try later, or from another network"
    )


def parsed(data: bytes, complaint: str) -> dict[str, Any]:
    """The JSON object in some bytes; OSError with this complaint if there is none."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise OSError(complaint)
    return value


def listing(model: Published) -> tuple[str, dict[str, dict[str, Any]]]:
    """The Git commit that a revision is, and the hub's description of each file by its name."""
    revision = quote(model.revision, safe="")
    url = f"{constants.ENDPOINT}/api/models/{model.repo}/revision/{revision}?blobs=True"
    data = parsed(small_body(url, SMALL, partial(odd, model)), str(odd(model, "no JSON object")))
    commit, siblings = data.get("sha"), data.get("siblings")
    if not isinstance(commit, str) or not SHA1.fullmatch(commit):
        raise odd(model, f"{shown(commit)} as its commit")
    if SHA1.fullmatch(model.revision) and commit != model.revision:
        raise odd(model, f"commit {commit} for {model.revision}")
    if not isinstance(siblings, list) or not all(isinstance(entry, dict) for entry in siblings):
        raise odd(model, "no list of files")
    names = [entry.get("rfilename") for entry in siblings]
    return commit, {name: entry for name, entry in zip(names, siblings) if isinstance(name, str)}


def described(model: Published, name: str, entry: dict[str, Any]) -> File:
    """One file of a listing: OSError if it makes no sense, ValueError if it is not the published file."""
    lfs, size = entry.get("lfs"), entry.get("size")
    if lfs is not None and not isinstance(lfs, dict):
        raise odd(model, f"{shown(lfs)} for {name}")
    digest, form = (entry.get("blobId"), SHA1) if lfs is None else (lfs.get("sha256"), SHA256)
    if not isinstance(digest, str) or not form.fullmatch(digest):
        raise odd(model, f"{shown(digest)} as the digest of {name}")
    most = 1 << 50 if name.endswith(".safetensors") else SMALL
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= most:
        raise odd(model, f"{shown(size)} as the size of {name}")
    if digest != model.sha256.get(name, digest):
        raise ValueError(
            f"the hub states {digest} as the SHA-256 of {name}, which is not the published "
            "file's: don't use it, and tell the authors of minisd"
        )
    return File(name, size, digest)


def not_there(model: Published, missing: str, there: Collection[str]) -> FileNotFoundError:
    """What to say of a repository without a file that is needed."""
    pickles = [name for name in there if name.startswith(WEIGHTS) and name.endswith((".bin", ".ckpt"))]
    single = [name for name in there if "/" not in name and name.endswith((".safetensors", ".ckpt"))]
    hint = "take another model"
    if ".fp16" in missing and missing.replace(".fp16", "") in there:
        hint = "it has full precision only: leave out --fp16"
    elif any(name.startswith(WEIGHTS) and ".fp16" in name for name in there) and ".safetensors" in missing:
        hint = "it has half precision only: ask for that (--fp16)"
    elif missing.endswith(".safetensors") and pickles:
        hint = f"it has pickles only, such as {pickles[0]}, which can run code: take another model"
    elif single and CONFIGS[0] not in there:
        hint = f"it holds single files, such as {single[0]}: fetch one and give its path to --model"
    return FileNotFoundError(
        f"{model.repo} has no {missing}: minisd reads the diffusers layout with safetensors weights; {hint}"
    )


# Fetching


def download(model: Published, fp16: bool | None, dest: Path | None) -> Path:
    """Fetch, check and put in place the files that are missing; returns the model's folder."""
    commit, entries = listing(model)
    names = needed(entries, fp16)
    if half := [name for name in names if fp16 is None and ".fp16" in name]:
        note(f"{model.repo} has {half[0]} in half precision only: that is fetched")
    names += [name for name in OPTIONAL if name in entries]
    cache = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=model.repo, repo_type="model"))
    done: list[File] = []
    while names:  # a second time if an index among them names more
        if missing := [name for name in names if name not in entries]:
            raise not_there(model, missing[0], entries)
        files = [described(model, name, entries[name]) for name in names]
        targets = {file.name: dest / file.name if dest else cache / "blobs" / file.digest for file in files}
        sizes = (file.size - bytes_there(targets[file.name], file.size) for file in files)
        check_room(dest or cache / "blobs", sum(sizes))
        for file in files:
            url = hf_hub_url(model.repo, file.name, revision=commit)
            obtain(url, file, targets[file.name], own=dest is None)
        done += files
        names = [part for name in names if is_index(name) for part in shards(targets[name], name)]
    return dest or named_in_cache(cache, model.revision, commit, done)


def incomplete(target: Path) -> Path:
    return target.with_name(target.name + ".incomplete")


def bytes_there(target: Path, size: int) -> int:
    """How many bytes of a file of `size` need not be fetched any more.

    The part is asked for first: another process may give it its name between the two questions.
    """
    for path in (incomplete(target), target):
        with suppress(FileNotFoundError):
            return min(path.stat().st_size, size)
    return 0


def check_room(folder: Path, size: int) -> None:
    """Make a folder; raise OSError if its disk has no room for `size` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            f"{size / 1e9:.2f} GB are to be fetched and {folder} has room for {free / 1e9:.2f} GB; "
            "make room, or name a folder on another disk with --dest"
        )


def named_in_cache(cache: Path, revision: str, commit: str, files: list[File]) -> Path:
    """Give fetched files their names in the cache, as links in their commit's folder; returns that."""
    folder = cache / "snapshots" / commit
    for file in files:
        blob, path = cache / "blobs" / file.digest, folder / file.name
        if path.exists() and path.samefile(blob):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            link(blob, new)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    if revision != commit:
        with whole(cache / "refs" / revision) as part:
            part.write_text(commit, encoding="utf-8")
    return folder


def link(blob: Path, path: Path) -> None:
    """Another name for a file: symbolic if the system lets us, else a hard link, else a copy."""
    try:
        path.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:  # Windows allows it to few
        try:
            path.hardlink_to(blob)
        except OSError:
            shutil.copyfile(blob, path)


def fingerprint(path: Path, digits: int) -> str:
    """A file's SHA-256 if that many digits are wanted, else its SHA-1 as a Git blob."""
    whole_file = hashlib.sha256()
    if digits == 40:
        whole_file = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: whole_file).hexdigest()


def obtain(url: str, file: File, target: Path, own: bool) -> None:
    """Fetch what is missing of a file, hash the whole, and only then give it its name; keep no other bytes.

    own: `target` is in the cache, where wrong bytes are replaced; elsewhere they may be the user's, and stay.
    Of several processes one fetches, and the others find the file there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = None
    if own:  # the lock of huggingface_hub itself, with which others fetch into the same cache
        cache = target.parent.parent
        lock = cache.parent / ".locks" / cache.name / f"{file.digest}.lock"
    with locked(target, lock=lock), room_for(target):
        if target.exists():
            found = fingerprint(target, len(file.digest))
            if found == file.digest:
                return
            if not own:
                raise other_bytes(file, found, f"remove {target} if you can spare it")
            note(f"{target} was damaged; it is fetched again")
        part = incomplete(target)
        if part.is_symlink():
            part.unlink()  # not ours, and never written through
        fill(url, part, file)
        found = fingerprint(part, len(file.digest))
        if found != file.digest:
            part.unlink()
            raise other_bytes(file, found, "they are removed")
        settle(part, target)


def other_bytes(file: File, found: str, remedy: str) -> ValueError:
    return ValueError(
        f"{file.name} has other bytes than the hub states ({found}, not {file.digest}); {remedy}, and give "
        "the same command again"
    )
