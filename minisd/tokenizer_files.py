"""The files of a checkpoint's `tokenizer/` folder, old layout and new, read and written.

    merges.txt, vocab.json        the merges, most urgent first, and the number of each token
    tokenizer.json                or both in one file, as current transformers saves them
    added_tokens.json             words added later: {word: number}
    tokenizer_config.json         the length of a row, the padding; added words in newer folders
    special_tokens_map.json       the padding again, in older folders

What a file says is checked here for its form; whether merges and numbers fit together, `BPE` checks.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .config import shown
from .files import whole

START, END = "<|startoftext|>", "<|endoftext|>"
UNLIMITED = 2**16  # transformers writes 1e30 into a config for "no limit": from here on it's no length

OTHER_FILES = {  # what lies in the tokenizer folder of another kind of model
    "spiece.model": "a SentencePiece tokenizer, of T5 perhaps",
    "sentencepiece.bpe.model": "a SentencePiece tokenizer, of XLM-R perhaps",
    "tokenizer.model": "a SentencePiece tokenizer, of Llama perhaps",
    "vocab.txt": "a WordPiece tokenizer, of BERT perhaps",
}
OTHER_TYPES = {"Unigram": "a SentencePiece tokenizer, of T5 perhaps", "WordPiece": "BERT's kind"}
CLASSES = ("CLIPTokenizer", "CLIPTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")
RANDOM_OR_OTHER = ("dropout", "byte_fallback", "ignore_merges", "fuse_unk", "continuing_subword_prefix")
AGAIN = "fetch the file again"
CLIPS = "minisd reads CLIP's tokenizer, of a Stable Diffusion 1.x folder"


@dataclass(frozen=True)
class AddedWord:
    """A word beyond the merges; an `exact` one is found in the text as typed, before it is cleaned."""

    word: str
    number: int
    exact: bool = False


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files of a folder say."""

    merges: list[tuple[str, str]]
    vocab: dict[str, int] | None = None
    added: list[AddedWord] = field(default_factory=list)
    max_length: int | None = None
    pad: str = END


def read_text(path: Path) -> str:
    """A text file's content, without a byte-order mark; ValueError, in one line, if it isn't UTF-8."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8: {AGAIN}") from None
    if text.startswith("version https://git-lfs"):
        raise ValueError(f"{path} is a git-lfs pointer: run git lfs pull, or fetch the file itself")
    return text


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, none of whose keys stands twice: Python's own reader would keep the last in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r:.60} stands twice")
    return found


def read_object(path: Path) -> dict[str, Any]:
    """A file's JSON object; ValueError, in one line, for anything else."""
    try:
        found = json.loads(read_text(path), object_pairs_hook=each_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}): {AGAIN}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply to be a tokenizer's: {AGAIN}") from None
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}: {AGAIN}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object {{...}}: {AGAIN}")
    return found


def read_merges(path: Path) -> list[tuple[str, str]]:
    """The pairs of a merges.txt, one a line; a first line `#version ...` is passed over.

    (No other line is a comment: `# #</w>` is a merge.)
    """
    lines = read_text(path).rstrip().split("\n")
    first = 1 if lines[0].startswith("#version") else 0
    if lines == [""]:
        raise ValueError(f"{path} is empty, it lacks even its '#version' line: {AGAIN}")
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(lines[first:], start=first + 1):
        if len(pair := line.split()) != 2:
            raise ValueError(f"Line {number} of {path} is not two tokens: {AGAIN}")
        pairs.append((pair[0], pair[1]))
    return pairs


def read_vocab(vocab: object, path: Path) -> dict[str, int]:
    """A vocabulary {token: number}; ValueError for numbers that are none."""
    if not isinstance(vocab, dict):
        raise ValueError(f"{path} holds no vocabulary {{token: number}}: {AGAIN}")
    for token, number in vocab.items():
        if type(number) is not int or number < 0:  # True is an int, too
            raise ValueError(f"{path} gives {token!r:.60} the number {shown(number)}: {AGAIN}")
    return vocab


def read_folder(folder: Path) -> TokenizerFiles:
    """All that a tokenizer folder says. As for transformers, a tokenizer.json comes before the older files.

    Raises FileNotFoundError for a folder without a tokenizer, ValueError for a damaged one or another kind.
    """
    config = optional(folder / "tokenizer_config.json")
    special = optional(folder / "special_tokens_map.json")
    kind = config.get("tokenizer_class")
    if kind is not None and kind not in CLASSES:
        raise ValueError(f"{folder} holds a {shown(kind)}: {CLIPS}")
    vocab: dict[str, int] | None
    if (folder / "tokenizer.json").is_file():
        merges, vocab, added = read_tokenizer_json(folder / "tokenizer.json")
    elif (folder / "merges.txt").is_file():
        merges, added, path = read_merges(folder / "merges.txt"), [], folder / "vocab.json"
        vocab = read_vocab(read_object(path), path) if path.is_file() else None
    else:
        others = [what for name, what in OTHER_FILES.items() if (folder / name).is_file()]
        if others:
            raise ValueError(f"{folder} holds {others[0]}: {CLIPS}")
        raise FileNotFoundError(
            f"There is no file {folder / 'merges.txt'}, nor a tokenizer.json: give a checkpoint's "
            "tokenizer folder."
        )
    words = {word.word: word for word in added}
    for word in added_beside(folder, config):
        words.setdefault(word.word, word)
    pad = padding(folder, config, special, words, vocab)
    length = row_length(config.get("model_max_length"), folder / "tokenizer_config.json")
    return TokenizerFiles(merges, vocab, list(words.values()), length, pad)


def optional(path: Path) -> dict[str, Any]:
    """A JSON file's object, or an empty one if there is no such file."""
    return read_object(path) if path.is_file() else {}


def read_tokenizer_json(path: Path) -> tuple[list[tuple[str, str]], dict[str, int], list[AddedWord]]:
    """Merges, vocabulary and added words of a tokenizer.json; ValueError if it's not CLIP's kind."""
    found = read_object(path)
    model = found.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("merges", []), list):
        raise ValueError(f"{path} holds no model with merges: {AGAIN}")
    if (kind := model.get("type", "BPE")) != "BPE":
        what = f"of type {shown(kind)}"
        raise ValueError(
            f"{path} is {OTHER_TYPES.get(kind, what) if isinstance(kind, str) else what}: {CLIPS}"
        )
    if model.get("end_of_word_suffix") != "</w>":
        raise ValueError(f"{path} does not end its words with </w>, it is of GPT-2's kind perhaps: {CLIPS}")
    if odd := [key for key in RANDOM_OR_OTHER if model.get(key)]:
        raise ValueError(f"{path} asks for {odd[0]}={shown(model[odd[0]])}, which CLIP's does not: {CLIPS}")
    check_cleaning(found, path)
    merges = [merge_of(entry, path) for entry in model.get("merges", [])]
    added = [added_word(entry, path) for entry in listed(found.get("added_tokens"), path)]
    vocab = read_vocab(model.get("vocab"), path)
    vocab = {word.word: word.number for word in added if word.word in (START, END)} | vocab
    return merges, vocab, [word for word in added if word.word not in (START, END)]


def check_cleaning(found: dict[str, Any], path: Path) -> None:
    """Raise ValueError if a tokenizer.json cleans or cuts a text otherwise than CLIP, as `clean` does."""
    for key, inner, wanted in (
        ("normalizer", "normalizers", ["NFC", "Replace", "Lowercase"]),
        ("pre_tokenizer", "pretokenizers", ["Split", "ByteLevel"]),
    ):
        part = found.get(key)
        steps = part.get(inner) if isinstance(part, dict) else None
        kinds = [step.get("type") if isinstance(step, dict) else None for step in listed(steps, path)]
        if kinds != wanted:
            raise ValueError(f"{path} has the {key} {shown(kinds)}, CLIP's is {wanted}: {CLIPS}")


def listed(value: object, path: Path) -> list[Any]:
    """A list from a tokenizer.json, an empty one for none."""
    if not isinstance(value, list | None):
        raise ValueError(f"{path} has {shown(value)} where a list belongs: {AGAIN}")
    return value or []


def merge_of(entry: object, path: Path) -> tuple[str, str]:
    """A merge from its two spellings: "a b", and ["a", "b"] since tokenizers 0.20."""
    parts = entry.split(" ") if isinstance(entry, str) else entry
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(p, str) and p for p in parts):
        raise ValueError(f"{path} has the merge {shown(entry)}, which is not two tokens: {AGAIN}")
    return parts[0], parts[1]


def added_word(entry: object, path: Path, number: object = None) -> AddedWord:
    """An added word as tokenizer.json and tokenizer_config.json describe it."""
    entry = entry if isinstance(entry, dict) else {}
    word, number = entry.get("content"), entry.get("id", number)
    if not isinstance(word, str) or not word.strip() or type(number) is not int or number < 0:
        raise ValueError(f"{path} adds the word {shown(word)} as number {shown(number)}: {AGAIN}")
    if entry.get("single_word"):
        raise ValueError(
            f"{path} adds {word!r:.60} with single_word, which minisd does not know: set it to false"
        )
    exact = not entry.get("normalized", True) and word not in (START, END)  # of those two, `BPE.save` tells
    return AddedWord(word, number, exact)


def added_beside(folder: Path, config: Mapping[str, Any]) -> Iterable[AddedWord]:
    """The words of tokenizer_config.json's `added_tokens_decoder`, then those of added_tokens.json."""
    decoder, path = config.get("added_tokens_decoder") or {}, folder / "tokenizer_config.json"
    if not isinstance(decoder, dict) or not all(key.isdecimal() and len(key) < 10 for key in decoder):
        raise ValueError(f"{path} has no {{number: word}} as its added_tokens_decoder: {AGAIN}")
    yield from (added_word(entry, path, int(number)) for number, entry in decoder.items())
    path = folder / "added_tokens.json"
    for word, number in read_vocab(optional(path), path).items():
        if not word.strip():
            raise ValueError(f"{path} adds a word of spaces, {word!r:.60}: {AGAIN}")
        yield AddedWord(word, number)


def padding(
    folder: Path,
    config: Mapping[str, Any],
    special: Mapping[str, Any],
    words: dict[str, AddedWord],
    vocab: dict[str, int] | None,
) -> str:
    """The token that fills a row, CLIP's END or another such as SD 2's '!'; another one joins the `words`."""
    tokens = {**config, **special}
    for key, usual in (("bos_token", START), ("eos_token", END)):
        if (name := name_of(tokens.get(key), usual)) != usual:
            raise ValueError(f"{folder} has {name!r:.60} as its {key}, CLIP's is {usual}: {CLIPS}")
    given = tokens.get("pad_token")
    pad = name_of(given, END)
    if pad == END or pad in words:
        return pad
    number = (vocab or {}).get(pad)
    if number is None:
        raise ValueError(
            f"{folder} fills its rows with {pad!r:.60}, which is not in its vocabulary: set pad_token "
            f"in tokenizer_config.json and special_tokens_map.json to {END}"
        )
    exact = isinstance(given, str) or not (given or {}).get("normalized", True)
    words[pad] = AddedWord(pad, number, exact)
    return pad


def name_of(token: object, usual: str) -> str:
    """A special token's name: a bare string, or the content of an object; `usual` if there is none."""
    name = token.get("content") if isinstance(token, dict) else token
    return name if isinstance(name, str) else usual


def row_length(value: object, path: Path) -> int | None:
    """A config's model_max_length; None if it says nothing, or that there is no limit."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (type(value) is int and value > UNLIMITED):
        return None
    if type(value) is not int or value < 2:
        raise ValueError(f"{path} has model_max_length {shown(value)}; it must be a whole number from 2 on")
    return value


def write_folder(folder: Path, files: TokenizerFiles) -> None:
    """Write a folder that transformers.CLIPTokenizer and `read_folder` read and that gives the same ids.

    Each file is written under another name first, then renamed, so that an interrupted save never leaves
    half a file.
    """
    vocab = files.vocab or {}
    flags = {"lstrip": False, "rstrip": False, "single_word": False}
    # normalized: looked for in the cleaned text, so "<|ENDOFTEXT|>" counts, as in the original CLIP
    tokens = {word.word: {"content": word.word, "normalized": not word.exact} | flags for word in files.added}
    tokens |= {name: {"content": name, "normalized": True} | flags for name in (START, END)}
    names = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": files.pad}
    specials = {key: tokens[name] for key, name in names.items()}
    config: dict[str, Any] = {key: {"__type": "AddedToken", **token} for key, token in specials.items()}
    config |= {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": files.max_length,
        "tokenizer_class": "CLIPTokenizer",
    }
    numbers = {word.word: word.number for word in files.added} | {name: vocab[name] for name in (START, END)}
    if files.added:
        config["added_tokens_decoder"] = {
            str(numbers[name]): token | {"special": name in names.values()} for name, token in tokens.items()
        }
    contents = {
        "vocab.json": json.dumps(vocab, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *(" ".join(pair) for pair in files.merges)]) + "\n",
        "tokenizer_config.json": json.dumps(config, indent=2),
        "special_tokens_map.json": json.dumps(specials, indent=2),
    }
    if added := {word.word: word.number for word in files.added if word.word not in vocab}:
        contents["added_tokens.json"] = json.dumps(added, indent=2)
    for name, content in contents.items():
        with whole(folder / name) as part:
            part.write_text(content, encoding="utf-8", newline="\n")
    if not added:  # of an older save into this folder, which would be read with the new files
        (folder / "added_tokens.json").unlink(missing_ok=True)
    (folder / "tokenizer.json").unlink(missing_ok=True)
