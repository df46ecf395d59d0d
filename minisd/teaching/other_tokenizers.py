"""Other people's tokenizers, to compare with: the library `tokenizers`, and CLIP's own list of merges.

from minisd.teaching import other_tokenizers
merges = other_tokenizers.clips_merges()       # None where no copy of the list is at hand
other_tokenizers.library(bpe).encode(text).ids  # the same ids as bpe.encode(text)
"""

import json
from collections import Counter
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tokenizer import WORD_END, WORDS, base_tokens, merge_pair, split_words, word_symbols
from ..tokenizer_files import END

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HUB = "stable-diffusion-v1-5/stable-diffusion-v1-5"
PACKAGE = "instant-clip-tokenizer"  # carries CLIP's list as text inside its compiled library
MERGES = 48_894


def clips_merges() -> list[tuple[str, ...]] | None:
    """CLIP's merges, from the hub's cache or from the package `instant-clip-tokenizer`; None without both."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(HUB, "tokenizer/merges.txt")
    text = Path(cached).read_bytes() if isinstance(cached, str) else from_package()
    if text is None:
        return None
    lines = text.decode("utf-8", errors="ignore").split("\n", MERGES + 1)
    return [tuple(line.split()) for line in lines[1 : MERGES + 1]]


def from_package() -> bytes | None:
    """The package's compiled library from the list on; None where it is not installed."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.suffix in (".so", ".pyd"):
            library = Path(str(file.locate())).read_bytes()
            begin = library.find(b"#version: 0.2\ni n\n")
            return None if begin < 0 else library[begin:]
    return None


def library(bpe: Any) -> "Tokenizer":
    """A tokenizer of the library `tokenizers` with bpe's merges and ids, and CLIP's cleaning and words.

    Raises ImportError where the library is not installed.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    built = Tokenizer(
        models.BPE(vocab=bpe.vocab, merges=bpe.merges, end_of_word_suffix=WORD_END, unk_token=END)
    )
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    built.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(WORDS.pattern), behavior="removed", invert=True)
    to_symbols = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    built.pre_tokenizer = pre_tokenizers.Sequence([words, to_symbols])
    return built


def library_merges(texts: Iterable[str], size: int) -> list[tuple[str, str]]:
    """The merges that the library learns from the words of the texts, for a vocabulary of `size` tokens.

    Our base tokens are given to it as special tokens, so that they have our ids there, which decide ties.
    Raises ImportError where the library is not installed.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=size - 2,  # start and end are not among them
        special_tokens=base_tokens(),
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    words = (word for text in texts for word in split_words(text))
    learner.train_from_iterator(
        ["".join(word_symbols(word)).removesuffix(WORD_END) for word in words], trainer
    )
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]


def quick_merges(texts: Iterable[str], size: int) -> list[tuple[str, str]]:
    """The merges of `BPE.train`, but a merge recounts only the words that hold the pair."""
    ids = {token: i for i, token in enumerate(base_tokens())}
    frequency = Counter(word for text in texts for word in split_words(text))
    words = [(word_symbols(word), n) for word, n in frequency.items()]
    counts: Counter[tuple[str, str]] = Counter()  # pair -> how often it occurs
    places: dict[tuple[str, str], set[int]] = {}  # pair -> the words that hold it, or held it once

    def recount(k: int, sign: int) -> None:
        symbols, n = words[k]
        for pair in zip(symbols, symbols[1:]):
            counts[pair] += sign * n
            places.setdefault(pair, set()).add(k)

    for k in range(len(words)):
        recount(k, 1)
    merges: list[tuple[str, str]] = []
    while len(ids) + 2 < size and (most := max(counts.values(), default=0)) > 0:
        best = min((p for p, n in counts.items() if n == most), key=lambda p: (ids[p[0]], ids[p[1]]))
        merges.append(best)
        ids.setdefault(best[0] + best[1], len(ids))
        for k in sorted(places[best]):
            recount(k, -1)
            words[k] = (merge_pair(words[k][0], best), words[k][1])
            recount(k, 1)
    return merges
