"""Learned words: small files that teach a model a word (textual inversion, Gal et al. 2022).

{"<cat-toy>": vector or vectors, ...}                              diffusers
{"string_to_param": {"*": vectors}, "name": "old name 7500"}       AUTOMATIC1111, and the paper's own code
{"emb_params": vectors}, whose word is the file's name             safetensors of many trainers
bundle_emb.WORD.string_to_param.* in a LoRA's file                 AUTOMATIC1111
a picture that carries one of these in its text                    AUTOMATIC1111
"""

import base64
import json
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from .clip import TextEncoder
from .config import shown
from .lora_files import BUNDLE, role_of
from .notes import note
from .tensors import check_file, kind_of, plain, read_tensors, unpickle
from .tokenizer import BPE
from .unet import UNet

LONGEST = 200  # characters of a word
PNG, PNG_TEXT = b"\x89PNG\r\n\x1a\n", "sd-ti-embedding"
MADE_FOR = {768: "SD 1.x", 1024: "SD 2", 1280: "SDXL", 4096: "SD 3 or FLUX"}  # by the width of a vector
GIVE = "give a file of textual inversion, from diffusers or AUTOMATIC1111"


class Model(Protocol):
    """What a small file changes: a StableDiffusion, or anything with these parts."""

    tokenizer: BPE
    text_encoder: TextEncoder
    unet: UNet


def add_embedding(pipe: Model, path: str | Path, token: str | None = None) -> str:
    """Teach a model the learned word of a file; returns the word as prompts must hold it.

    `token` replaces the word of the file. Of AUTOMATIC1111's files both the word in the file and the file's
    name, which its users type, are understood, as far as they are no tokens already; a note says so. A
    file of several words teaches all of them, and they come back in one string, with commas.

    Raises FileNotFoundError, or ValueError, in one line, for another file, for vectors of another width, and
    for a word that is a token already.
    """
    path = Path(path)
    words, file_name = words_in(read_embedding(path), path)
    if token is not None:
        if len(words) > 1:
            raise ValueError(f"{path} holds {len(words)} words: one token can't stand for all of them")
        words, file_name = {token: next(iter(words.values()))}, None
    learned = {word: checked(vectors, pipe, path) for word, vectors in words.items()}
    spelt = [spellings(pipe.tokenizer, path, word, file_name) for word in learned]
    if len({pipe.tokenizer.new_name(word) for word, *_ in spelt}) < len(spelt):
        raise ValueError(f"{path} holds a word twice, with capitals and without: {GIVE}")
    for (word, *others), vectors in zip(spelt, learned.values(), strict=True):
        learn(pipe, path, word, vectors)
        for other in others:
            pipe.tokenizer.also(other, word)
    return ", ".join(word for word, *_ in spelt)


def learn(pipe: Model, path: Path, word: str, vectors: Tensor) -> None:
    """Give a model's tokenizer a word and its text encoder the vectors, (count, width)."""
    room = pipe.tokenizer.max_length - 2
    if len(vectors) > room:
        note(
            f"{path}: {word!r} has {len(vectors)} vectors, and a prompt has room for {room}: the others are "
            "never read"
        )
    pipe.tokenizer.add(word, len(vectors))
    pipe.text_encoder.add_tokens(vectors)


def spellings(tokenizer: BPE, path: Path, word: object, file_name: str | None) -> list[str]:
    """The ways in which prompts may hold a word, the best first; ValueError if there is none.

    A note tells of a word that can't be used, and of a second way.
    """
    usable: dict[str, str] = {}  # as cleaned -> as it is
    errors: list[str] = []
    for way in [word] if file_name is None else [word, file_name]:
        if not isinstance(way, str) or len(way) > LONGEST:
            raise ValueError(f"{path} has {shown(way)} as its word, no text of at most {LONGEST} characters")
        try:
            usable.setdefault(tokenizer.new_name(way), way)
        except ValueError as error:
            errors.append(f"{path}: {error}")
    if not usable:
        raise ValueError(errors[0])
    first, *others = usable.values()
    if errors and first != word:
        note(f"{path}: {word!r} is a token already: write {first!r}, the file's name")
    if others:
        note(f"{path}: write {first!r}, the word in it, or {others[0]!r}, its name")
    return [first, *others]


def read_embedding(path: Path) -> object:
    """What a file of textual inversion holds, judged by its content; nothing in it is run.

    Raises FileNotFoundError, or ValueError, in one line, for a damaged file and one that asks for code.
    """
    check_file(path, GIVE)
    with path.open("rb") as file:
        picture = file.read(len(PNG)) == PNG
    if picture:
        return read_picture(path)
    if kind_of(path) == "safetensors":
        return read_tensors(path)
    # Of before 2023, and of the paper's own code: a list of parameters as a module. It is read for its
    # parameters alone.
    with torch.serialization.safe_globals([nn.ParameterDict]):
        return unpickle(path)


def read_picture(path: Path) -> object:
    """The embedding that AUTOMATIC1111's interface wrote into a PNG's text: JSON in base 64."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            text = image.info.get(PNG_TEXT)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is a damaged picture ({type(error).__name__}): {GIVE}") from None
    if text is None:
        raise ValueError(f"{path} is a picture without a learned word in its text: {GIVE}")

    def to_tensor(found: dict[str, Any]) -> object:
        return torch.tensor(found["TORCHTENSOR"]) if "TORCHTENSOR" in found else found

    try:
        return json.loads(base64.b64decode(text), object_hook=to_tensor)
    except (ValueError, TypeError, RuntimeError, RecursionError):
        raise ValueError(f"{path} has a damaged learned word in its text: {GIVE}") from None


def words_in(found: object, path: Path) -> tuple[dict[Any, object], str | None]:
    """The words of a file with their vectors, not checked yet; and the file's name, if that's a word, too."""
    none = f"{path} holds no vectors of a learned word for Stable Diffusion 1.x: {GIVE}"
    if not isinstance(found, dict) or not found:
        raise ValueError(none)
    if "string_to_param" in found:
        params = found["string_to_param"]
        params = vars(params).get("_parameters") if isinstance(params, nn.ParameterDict) else params
        if not isinstance(params, dict) or not params:
            raise ValueError(none)
        if len(params) > 1:
            return {path.stem if word == "*" else word: vectors for word, vectors in params.items()}, None
        name = found.get("name")
        named = isinstance(name, str) and name.strip() not in ("", "*")
        return {name if named else path.stem: next(iter(params.values()))}, path.stem
    names = [name for name in found if isinstance(name, str)]
    if bundled := {name.split(".")[1]: found[name] for name in names if name.startswith(BUNDLE)}:
        return bundled, None
    if "clip_g" in found:
        raise ValueError(f"{path} was made for SDXL, with vectors for two text encoders: {GIVE}")
    if any(role_of(name) for name in names):
        raise ValueError(f"{path} is a LoRA and holds no learned word: give it with --lora")
    if any(name.endswith((".weight", ".bias")) for name in names):
        raise ValueError(f"{path} holds a network's weights and no learned word: {GIVE}")
    unnamed = ("*", "emb_params", "clip_l", "string_to_param.*")
    return {path.stem if word in unnamed else word: vectors for word, vectors in found.items()}, None


def checked(vectors: object, pipe: Model, path: Path) -> Tensor:
    """A word's vectors, (count, width) and finite; else ValueError in one line."""
    if not isinstance(vectors, Tensor) or not vectors.numel() or not vectors.is_floating_point():
        raise ValueError(f"{path} holds no vectors of a learned word for Stable Diffusion 1.x: {GIVE}")
    table = plain(vectors, "a vector", path).float()
    if not table.isfinite().all():
        raise ValueError(f"{path} holds NaN or infinity: train or fetch it again")
    width = pipe.text_encoder.text_model.embeddings.token_embedding.embedding_dim
    table = table[None] if table.ndim < 2 else table
    if table.shape != (len(table), width):
        made_for = MADE_FOR.get(table.shape[-1], "another model")
        raise ValueError(
            f"{path} was made for {made_for}: its vectors are {tuple(table.shape)}, a word of this "
            f"model has {width} numbers"
        )
    return table
