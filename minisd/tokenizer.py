"""Byte-level byte-pair encoding: a prompt in, numbers out, exactly as CLIP does it.

Sources: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units" (the
merges); Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (bytes instead
of characters); Radford et al. 2021, CLIP, `simple_tokenizer.py` (the pattern, `</w>`, the order of
the vocabulary).
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import regex  # as the standard `re`, with the Unicode classes \p{L} (letters) and \p{N} (numbers)

from .prompts import other_syntax as other_syntax  # beside the tokenizer, for those who read prompts
from .tokenizer_files import (
    END,
    START,
    AddedWord,
    TokenizerFiles,
    read_folder,
    read_merges,
    read_object,
    read_vocab,
    write_folder,
)

if TYPE_CHECKING:
    import torch

WORD_END = "</w>"  # closes the last symbol of a word, so that "car" and "car|pet" differ
MAX_LENGTH = 77  # OpenAI's CLIP: its code's context_length; the paper's section 2.4 says 76
CACHED = 2**14  # words whose ids are kept, a few MB; more of them, and the cache begins again

WORDS = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d"  # English contractions
    r"|\p{L}+"  # a run of letters
    r"|\p{N}"  # ONE digit
    r"|[^\s\p{L}\p{N}]+"  # a run of anything else that is not a space
)


def byte_symbols() -> list[str]:
    """The printable character that stands for each byte value 0 ... 255.

    The 188 bytes that Latin-1 prints stand for themselves; the other 68 (space, control
    characters ...) take the characters from U+0100 on, in order. So each token can be written in
    a text file, and a space never appears inside one.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


BYTE_TO_SYMBOL = byte_symbols()
SYMBOL_TO_BYTE = {symbol: byte for byte, symbol in enumerate(BYTE_TO_SYMBOL)}


def check_text(text: str) -> None:
    """Raise TypeError if `text` is not a string, ValueError if it holds a lone surrogate."""
    if not isinstance(text, str):
        raise TypeError(f"A text must be a string, not {type(text).__name__}: {text!r:.60}.")
    if regex.search(r"[\ud800-\udfff]", text):
        raise ValueError(
            f"{text!r:.60} holds half a character (a surrogate): decode its source as UTF-8 again."
        )


def clean(text: str) -> str:
    """Compose accents (NFC), turn each run of white space into one space, lower the case.

    The same three steps, in the same order, as transformers' CLIPTokenizer. Each letter is
    lowered by itself, so a capital sigma always becomes σ, where `str.lower` ends a word with ς.
    The original CLIP does more before this: it repairs broken text with `ftfy` (mis-decoded
    bytes, curly quotes, full-width letters, control characters) and resolves HTML entities
    (`&amp;`) twice; afterwards it calls `str.lower`.

    Raises: TypeError, ValueError as `check_text`.
    """
    check_text(text)
    text = regex.sub(r"\s+", " ", unicodedata.normalize("NFC", text))
    return text.replace("Σ", "σ").lower().strip(" ")


def split_at(text: str, names: Collection[str]) -> list[str]:
    """Cut a text before and behind each of the `names` in it, the longest of two that begin together."""
    longest_first = sorted(names, key=len, reverse=True)
    return regex.split(f"({'|'.join(map(regex.escape, longest_first))})", text)


def split_words(text: str, whole_words: Collection[str] = (START, END)) -> list[str]:
    """Clean `text` and cut it into words; merges never cross from one word into the next.

    "It's 2024!!" -> ["it", "'s", "2", "0", "2", "4", "!!"]. The `whole_words`, the names of the two
    special tokens at least, are found first, the longest of two that begin together, and stay whole
    wherever they stand, as in transformers; the original CLIP misses the name of a special token
    that touches a symbol before it, as in "!<|endoftext|>".
    """
    words: list[str] = []
    for part in split_at(clean(text), whole_words):
        words += [part] if part in whole_words else WORDS.findall(part)
    return words


def word_symbols(word: str) -> list[str]:
    """The symbols a word starts from, one a byte of its UTF-8; the last is marked with `</w>`."""
    symbols = [BYTE_TO_SYMBOL[byte] for byte in word.encode("utf-8")]
    return [*symbols[:-1], symbols[-1] + WORD_END]


def merge_pair(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Join every `pair` of neighbours, from left to right: a a a with (a, a) -> aa a."""
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def base_tokens() -> list[str]:
    """The 512 tokens before any merge: 256 byte symbols, in CLIP's order, then each with `</w>`."""
    symbols = sorted(BYTE_TO_SYMBOL)
    return symbols + [symbol + WORD_END for symbol in symbols]


def check_numbers(vocab: dict[str, int]) -> None:
    """Raise ValueError unless the numbers of a vocabulary are 0, 1, 2 ... in some order, each once.

    They are the rows of the text encoder's table: with another number a word would be read as another word,
    or be none.
    """
    numbers = set(vocab.values())
    if len(numbers) < len(vocab):
        raise ValueError("Two tokens of the vocabulary share an id: fetch the vocabulary again.")
    if odd := [token for token, number in vocab.items() if number not in range(len(vocab))]:
        raise ValueError(
            f"The vocabulary has gaps: of {len(vocab)} tokens {odd[0]!r:.60} has the id {vocab[odd[0]]}; "
            "fetch the vocabulary again."
        )


class BPE:
    """A byte-pair tokenizer: a list of merges, most urgent first, and a number for each token.

    merges: pairs of tokens; the place in the list is the rank, and the lowest rank is merged first
    vocab: token -> id; by default CLIP's order: 512 base tokens, merges, start, end
    max_length: length of the rows that calling the tokenizer returns, start and end included

    Attributes: `merges`, `vocab`, `max_length`; `bos`, `eos` and `pad`, the ids of start, end and what
    fills a row (the end, unless a folder's files say otherwise); `added`, which has the ids of each word
    added to the vocabulary.
    Raises: ValueError if a merge joins tokens that do not exist yet or stands twice, if `vocab` is
    not made of exactly the tokens of the merges, or if `max_length` is below 2.
    """

    def __init__(
        self,
        merges: Iterable[tuple[str, str]],
        vocab: dict[str, int] | None = None,
        max_length: int = MAX_LENGTH,
    ):
        self.merges, self.max_length = [(left, right) for left, right in merges], max_length
        if max_length < 2:
            raise ValueError(f"max_length is {max_length}; it must be at least 2, for start and end.")
        made = dict.fromkeys(base_tokens())  # a dict keeps the order, and a token only once
        self._ranks: dict[tuple[str, str], int] = {}
        for rank, (left, right) in enumerate(self.merges):
            if left not in made or right not in made or (left, right) in self._ranks:
                raise ValueError(
                    f"Merge {rank + 1}, {left!r:.60} + {right!r:.60}, stands twice or joins tokens that no "
                    "earlier merge made: the merges are damaged or out of order; fetch them again."
                )
            self._ranks[left, right] = rank
            made[left + right] = None
        tokens = [*made, START, END]
        self.vocab = {token: i for i, token in enumerate(tokens)} if vocab is None else dict(vocab)
        missing = [token for token in tokens if token not in self.vocab]
        if missing or len(self.vocab) != len(tokens):
            raise ValueError(
                f"The vocabulary has {len(self.vocab)} tokens, the merges make {len(tokens)}; missing from "
                f"it: {missing[:3] or 'none'!s:.200}. Take both files from the same tokenizer."
            )
        self._tokens = {i: token for token, i in self.vocab.items()}  # id -> its symbols
        check_numbers(self.vocab)
        self.bos, self.eos = self.vocab[START], self.vocab[END]
        self.pad = self.eos
        self.added: dict[str, list[int]] = {}
        # The words that are found before all others, in the text as typed and in the cleaned text.
        self._exact: dict[str, list[int]] = {}
        self._whole = {START: [self.bos], END: [self.eos]}
        self._cache: dict[str, list[int]] = {}  # word -> ids

    def __len__(self) -> int:
        return len(self._tokens)

    @classmethod
    def train(cls, texts: Iterable[str], size: int, max_length: int = MAX_LENGTH) -> BPE:
        """Learn merges from `texts` until the vocabulary has `size` entries (Sennrich et al. 2016, alg. 1).

        Each round joins the most frequent pair of neighbours. Of equally frequent pairs it takes
        the one whose left token has the smallest id, then the one whose right token has. Stops
        early, with a smaller vocabulary, when every word is a single token.

        Raises: ValueError if `size` is below 514 (512 base tokens, start and end), TypeError if
        `texts` is one string or holds something that is not a string.
        """
        if isinstance(texts, str):
            raise TypeError("BPE.train takes a list of texts; put the single string into a list.")
        ids = {token: i for i, token in enumerate(base_tokens())}
        if size < len(ids) + 2:
            raise ValueError(f"A vocabulary of {size} is too small: ask for at least {len(ids) + 2}.")

        # Each distinct word is split once, and weighs as often as it occurs.
        frequency = Counter(word for text in texts for word in split_words(text))
        table = [(word_symbols(word), n) for word, n in frequency.items() if word not in (START, END)]
        merges: list[tuple[str, str]] = []
        while len(ids) + 2 < size:
            counts: Counter[tuple[str, str]] = Counter()  # pair -> how often it occurs
            for symbols, n in table:
                for pair in zip(symbols, symbols[1:]):
                    counts[pair] += n
            if not counts:
                break
            best = min(counts, key=lambda pair: (-counts[pair], ids[pair[0]], ids[pair[1]]))
            merges.append(best)
            ids.setdefault(best[0] + best[1], len(ids))  # two merges may spell the same token
            table = [(merge_pair(symbols, best), n) for symbols, n in table]
        return cls(merges, max_length=max_length)

    @classmethod
    def from_files(
        cls, merges: str | Path, vocab: str | Path | None = None, max_length: int | None = None
    ) -> BPE:
        """Read a checkpoint's `tokenizer/` folder; or `merges.txt`, and `vocab.json` for the ids.

        A folder may hold a tokenizer.json instead of the two, words added to the vocabulary, its own
        length of a row and its own padding. Without a vocabulary the ids follow from the merges, in
        CLIP's order. `max_length` None: the folder's, or 77.

        Raises: FileNotFoundError if a file is absent, ValueError, in one line that names the file, if
        one is damaged, of another kind of tokenizer, or if the files don't belong together.
        """
        path = Path(merges)
        if path.is_dir():
            files = read_folder(path)
        elif path.is_file():
            files = TokenizerFiles(read_merges(path))
        else:
            raise FileNotFoundError(f"There is no file {path}: give a checkpoint's tokenizer folder.")
        numbers = files.vocab
        if vocab is not None:
            if not Path(vocab).is_file():
                raise FileNotFoundError(f"There is no file {vocab}: give a checkpoint's tokenizer folder.")
            numbers = read_vocab(read_object(Path(vocab)), Path(vocab))
        place = path if vocab is None else vocab
        try:
            bpe = cls(files.merges, numbers, max_length or files.max_length or MAX_LENGTH)
            bpe._add_words(files.added)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        bpe.pad = bpe.eos if files.pad == END else (bpe._exact | bpe._whole)[files.pad][0]
        return bpe

    def _add_words(self, words: list[AddedWord]) -> None:
        """Take up the words of a folder, whose ids must follow the vocabulary's without a gap.

        A word of several vectors is written as WORD, WORD_1, WORD_2 ...; like diffusers, we read all of
        them where the first stands in a text.
        """
        names = {word.word: word.number for word in words}
        for word in sorted(words, key=lambda word: word.number):
            known = self.vocab.get(word.word)
            due = len(self) if known is None else known
            if word.number != due:
                raise ValueError(
                    f"The added word {word.word!r:.60} has the id {word.number}, where {due} is due: "
                    "fetch the tokenizer folder again."
                )
            name = word.word if word.exact else clean(word.word)
            ids = (self._exact if word.exact else self._whole)[name] = [word.number]
            if known is None:
                self._tokens[word.number] = "".join(word_symbols(name))
                self.added[name] = ids
        for name in [*names]:
            rest = itertools.takewhile(names.__contains__, (f"{name}_{i}" for i in itertools.count(1)))
            ids = self._exact.get(name) or self._whole[clean(name)]
            for follower in rest:
                ids.append(names[follower])
                self._tokens[names[follower]] = ""
                self.added.pop(clean(follower), None)  # no word of its own

    def save(self, folder: str | Path) -> None:
        """Write the files of a checkpoint's `tokenizer/` folder, with all words that were added.

        `transformers.CLIPTokenizer.from_pretrained(folder)` and `BPE.from_files(folder)` read it
        and give the same ids. A word of several ids is written as diffusers does it: WORD, WORD_1,
        WORD_2 ...; one that has two spellings, in its first.
        """
        words = {
            (name if i == 0 else f"{name}_{i}"): number
            for name, ids in self.added.items()
            for i, number in enumerate(ids)
        }
        once = {number: name for name, number in reversed(words.items())}  # the first spelling stays
        added = [AddedWord(once[number], number, once[number] in self._exact) for number in sorted(once)]
        pad = self._tokens[self.pad]
        if self.pad not in once and self.pad != self.eos:  # a token of the vocabulary, such as SD 2's "!"
            added.append(AddedWord(pad, self.pad, pad in self._exact))
        pad = once.get(self.pad, pad)
        write_folder(Path(folder), TokenizerFiles(self.merges, self.vocab, added, self.max_length, pad))

    def add(self, word: str, count: int = 1) -> list[int]:
        """Give `word` `count` new ids of its own, which it becomes wherever it stands in a text.

        As in the text itself, capitals don't matter. The ids follow the highest so far.

        Raises: ValueError if the word is empty, or a token already.
        """
        name = self.new_name(word)
        ids = self.added[name] = self._whole[name] = [len(self) + i for i in range(count)]
        self._tokens |= dict.fromkeys(ids, "") | {ids[0]: "".join(word_symbols(name))}
        return ids

    def also(self, spelling: str, word: str) -> None:
        """Let an added `word` be spelt in a second way; raises ValueError as `add`."""
        name = self.new_name(spelling)
        self.added[name] = self._whole[name] = self.added[clean(word)]

    def new_name(self, word: str) -> str:
        """A word as the cleaned text has it; ValueError if it can't be added."""
        name = clean(word)
        known = {name, "".join(word_symbols(name))} if name else {""}
        if (
            not name
            or name in self._exact
            or name in self._whole
            or not known.isdisjoint(self._tokens.values())
        ):
            raise ValueError(
                f"{word!r:.60} is a token already, or empty: choose another word, such as '<new>'."
            )
        return name

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without start and end, however long.

        The name of a special token inside `text` becomes that token's id, as in transformers.

        Raises: TypeError if `text` is not a string, ValueError if it holds a lone surrogate.
        """
        check_text(text)
        ids: list[int] = []
        for part in split_at(text, self._exact) if self._exact else [text]:
            if part in self._exact:
                ids += self._exact[part]
                continue
            for word in split_words(part, self._whole):
                ids += self._whole[word] if word in self._whole else self._encode_word(word)
        return ids

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._cache:
            symbols = word_symbols(word)
            while len(symbols) > 1:
                pairs = zip(symbols, symbols[1:])
                best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
                if best not in self._ranks:
                    break
                symbols = merge_pair(symbols, best)
            if len(self._cache) >= CACHED:
                self._cache.clear()
            self._cache[word] = [self.vocab[symbol] for symbol in symbols]
        return self._cache[word]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens left out. Accepts a row of the tensor, too.

        `decode(encode(text))` is `" ".join(split_words(text))` less the special tokens: lost are
        capitals, the kind and amount of white space, and whether a space stood between two words
        ("It's 2024!" comes back as "it 's 2 0 2 4 !"). Encoding that again gives the same ids.
        Bytes that are no complete character become U+FFFD.

        Raises: ValueError if an id is not in the vocabulary.
        """
        text = b""
        for i in (int(i) for i in ids if int(i) not in (self.bos, self.eos, self.pad)):
            if i not in self._tokens:
                raise ValueError(f"There is no token {i}: this vocabulary has {len(self)} tokens.")
            token = self._tokens[i]
            text += bytes(SYMBOL_TO_BYTE[symbol] for symbol in token.removesuffix(WORD_END))
            text += b" " if token.endswith(WORD_END) else b""
        return text.decode("utf-8", errors="replace").strip(" ")

    def _rest(self, ids: list[int]) -> str:
        """The end of a text's ids that a row has no room for, decoded; a word that is cut stands in it."""
        first = self.max_length - 2
        while first < len(ids) and not self._tokens[ids[first]]:  # in the middle of a word of several ids
            first -= 1
        return self.decode(ids[first:])

    def read(self, texts: str | list[str]) -> tuple[torch.Tensor, list[str]]:
        """The rows of ids that the text encoder reads, and the end of each text that has no room in its row.

        A row is start, the text, end, end, ... end. A text of more than `max_length - 2` tokens is cut, and
        its row still closes with an end.

        texts: one string or a list of strings
        returns: ids, int64, (batch, max_length), where batch is 1 for one string; and a string for each
        text, '' if all of it fits
        raises: TypeError, ValueError as `encode`
        """
        import torch  # here, so that training and reading a tokenizer needs no torch

        if not isinstance(texts, (str, list, tuple)):
            raise TypeError(f"The tokenizer takes a string or a list of strings, not {type(texts).__name__}.")
        encoded = [self.encode(text) for text in ([texts] if isinstance(texts, str) else texts)]
        rows = [[self.bos, *ids[: self.max_length - 2], self.eos] for ids in encoded]
        rows = [row + [self.pad] * (self.max_length - len(row)) for row in rows]
        table = torch.tensor(rows, dtype=torch.long).reshape(-1, self.max_length)
        return table, [self._rest(ids) for ids in encoded]

    def __call__(self, texts: str | list[str]) -> torch.Tensor:
        """The rows of `read` alone: ids, int64, (batch, max_length)."""
        return self.read(texts)[0]
