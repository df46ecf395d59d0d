"""Published checkpoints from the Hugging Face hub: only the files that are needed, checked byte for byte.

A file gets its name once all its bytes have been hashed and the digest is
- the SHA-256 in published.toml, for the weights listed there (and if the hub states another one for its
  revision, nothing is downloaded at all);
- for other weights, the SHA-256 that the hub states for that revision;
- for the small files kept in Git (configs, vocabulary), the SHA-1 of the Git blob that the hub states.
The revisions in published.toml are Git commits, which can't change under their name.

huggingface_hub (1.31 and 2.4) compares no digest over plain HTTP, and throws away what it has of a file
when it is stopped. Here the part stays beside its place as NAME.incomplete, and the next call asks for the
rest. Finished files go to the hub's own cache, where other programs find them.
"""

import hashlib
import os
import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import HfApi, constants, errors, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import build_hf_headers

CONFIGS = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
)
OPTIONAL = ("tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json")  # for diffusers' sake
WEIGHTS = ("text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model")
TIMEOUT = 10  # seconds in which the hub has to begin its answer


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


def needed(fp16: bool) -> list[str]:
    """The files without which minisd can't paint, model_index.json first; fp16: the weights in half
    precision.
    """
    return [*CONFIGS, *(f"{name}{'.fp16' if fp16 else ''}.safetensors" for name in WEIGHTS)]


def fetch(model_id: str | Published, fp16: bool | None = None, dest: str | Path | None = None) -> Path:
    """The folder, in diffusers layout, of a model of the hub: from the hub's cache, else downloaded.

    model_id: a name in PUBLISHED, a repository "owner/name" (its newest revision, unless PUBLISHED has
    one), or a record. fp16: the half-precision twins of the weights, yes or no; None takes whichever
    the cache holds, full precision first, and downloads full precision. dest: a folder to fill instead
    of the cache. What the cache already holds of this revision is not hashed again.

    Raises OSError (ConnectionError without a connection, FileNotFoundError for files that are not there) or
    ValueError (other bytes than the published), in one line that says what to do.
    """
    known = PUBLISHED | {model.repo: model for model in PUBLISHED.values()}
    model = model_id if isinstance(model_id, Published) else known.get(model_id, Published(model_id))
    if model.repo.count("/") != 1:
        raise ValueError(
            f"no published model is called {model.repo!r}; give {', '.join(PUBLISHED)} or an OWNER/NAME"
        )
    for half in () if dest else (False, True) if fp16 is None else (fp16,):
        paths = [try_to_load_from_cache(model.repo, name, revision=model.revision) for name in needed(half)]
        if all(isinstance(path, str) for path in paths):
            return Path(paths[0]).parent
    hub, page = constants.ENDPOINT, f"{constants.ENDPOINT}/{model.repo}"
    try:
        return download(model, needed(bool(fp16)), dest and Path(dest))
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise OSError(
            f"{hub} answers {status} for {model.repo} at {model.revision}; check the name, try later, or "
            f"for a private or licensed model see {page} and run hf auth login"
        ) from None
    except (errors.HTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        reason = " ".join(str(error).split())
        raise ConnectionError(
            f"no connection to {hub} ({reason}); what was fetched is kept for the next try; if you "
            "have the files elsewhere, give their folder to --model"
        ) from None


def download(model: Published, names: list[str], dest: Path | None) -> Path:
    """Fetch, check and put in place the files that are missing; returns the model's folder."""
    info = HfApi().model_info(model.repo, revision=model.revision, files_metadata=True, timeout=TIMEOUT)
    there = {file.rfilename: file for file in info.siblings}
    if missing := [name for name in names if name not in there]:
        raise FileNotFoundError(
            f"{model.repo} has no {missing[0]}: minisd reads the diffusers layout with safetensors "
            "weights; take another model, or full precision if you asked for half"
        )
    names = [name for name in (*names, *OPTIONAL) if name in there]
    digests = {name: there[name].lfs.sha256 if there[name].lfs else there[name].blob_id for name in names}
    if other := [name for name in names if digests[name] != model.sha256.get(name, digests[name])]:
        raise ValueError(
            f"the hub states {digests[other[0]]} as the SHA-256 of {other[0]}, which is not the published "
            "file's: don't use it, and tell the authors of minisd"
        )
    folder = dest or Path(
        constants.HF_HUB_CACHE, repo_folder_name(repo_id=model.repo, repo_type="model"), "blobs"
    )
    targets = {name: folder / (name if dest else digests[name]) for name in names}
    check_room(folder, sum(there[name].size - bytes_there(target) for name, target in targets.items()))
    for name, target in targets.items():
        obtain(hf_hub_url(model.repo, name, revision=info.sha), target, name, there[name].size, digests[name])
    if dest:
        return dest
    # The bytes are in the cache; this gives them their names there.
    return Path([hf_hub_download(model.repo, name, revision=model.revision) for name in names][0]).parent


def incomplete(target: Path) -> Path:
    return target.with_name(target.name + ".incomplete")


def bytes_there(target: Path) -> int:
    """How many bytes of a file need not be fetched any more."""
    return next((path.stat().st_size for path in (target, incomplete(target)) if path.exists()), 0)


def check_room(folder: Path, size: int) -> None:
    """Make a folder; raise OSError if its disk has no room for `size` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            f"{size / 1e9:.2f} GB are to be fetched and {folder} has room for {free / 1e9:.2f} GB; "
            "make room, or name a folder on another disk with --dest"
        )


def obtain(url: str, target: Path, name: str, size: int, digest: str) -> None:
    """Fetch what is missing of a file, hash the whole, and only then give it its name; keep no other bytes."""
    path = target if target.exists() else incomplete(target)
    if path != target:
        path.parent.mkdir(parents=True, exist_ok=True)
        # "identity": one can't go on from the middle of bytes that were sent compressed.
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        with path.open("ab") as part:
            part.truncate(min(part.tell(), size))
            start = part.seek(0, os.SEEK_END)
            http_get(
                url, part, resume_size=start, headers=headers, expected_size=size, displayed_filename=name
            )
    whole = hashlib.sha256() if len(digest) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: whole).hexdigest()
    if found != digest:
        incomplete(target).unlink(missing_ok=True)
        raise ValueError(
            f"{name} has other bytes than the hub states ({found}, not {digest}); remove "
            f"{target} if it is there, and give the same command again"
        )
    path.replace(target)
