"""Byte-level byte-pair encoding: a prompt in, numbers out, exactly as CLIP does it.

Sources: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units" (the
merges); Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (bytes instead
of characters); Radford et al. 2021, CLIP, `simple_tokenizer.py` (the pattern, `</w>`, the order of
the vocabulary).
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import regex  # as the standard `re`, with the Unicode classes \p{L} (letters) and \p{N} (numbers)

from .files import whole

if TYPE_CHECKING:
    import torch

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"  # closes the last symbol of a word, so that "car" and "car|pet" differ
MAX_LENGTH = 77  # OpenAI's CLIP: its code's context_length; the paper's section 2.4 says 76

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


def clean(text: str) -> str:
    """Compose accents (NFC), turn each run of white space into one space, lower the case.

    The same three steps, in the same order, as transformers' CLIPTokenizer. Each letter is
    lowered by itself, so a capital sigma always becomes σ, where `str.lower` ends a word with ς.
    The original CLIP does more before this: it repairs broken text with `ftfy` (mis-decoded
    bytes, curly quotes, full-width letters, control characters) and resolves HTML entities
    (`&amp;`) twice; afterwards it calls `str.lower`.

    Raises: TypeError if `text` is not a string, ValueError if it holds a lone surrogate.
    """
    if not isinstance(text, str):
        raise TypeError(f"A text must be a string, not {type(text).__name__}: {text!r}.")
    if regex.search(r"[\ud800-\udfff]", text):
        raise ValueError(f"{text!r} holds half a character (a surrogate): decode its source as UTF-8 again.")
    text = regex.sub(r"\s+", " ", unicodedata.normalize("NFC", text))
    return text.replace("Σ", "σ").lower().strip(" ")


def split_words(text: str, whole_words: Collection[str] = (START, END)) -> list[str]:
    """Clean `text` and cut it into words; merges never cross from one word into the next.

    "It's 2024!!" -> ["it", "'s", "2", "0", "2", "4", "!!"]. The `whole_words`, the names of the two
    special tokens at least, are found first, the longest of two that begin together, and stay whole
    wherever they stand, as in transformers; the original CLIP misses the name of a special token
    that touches a symbol before it, as in "!<|endoftext|>".
    """
    names = "|".join(regex.escape(word) for word in sorted(whole_words, key=len, reverse=True))
    words = []
    for part in regex.split(f"({names})", clean(text)):
        words += [part] if part in whole_words else WORDS.findall(part)
    return words


def word_symbols(word: str) -> list[str]:
    """The symbols a word starts from, one a byte of its UTF-8; the last is marked with `</w>`."""
    symbols = [BYTE_TO_SYMBOL[byte] for byte in word.encode("utf-8")]
    return symbols[:-1] + [symbols[-1] + WORD_END]


def merge_pair(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Join every `pair` of neighbours, from left to right: a a a with (a, a) -> aa a."""
    merged = []
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


class BPE:
    """A byte-pair tokenizer: a list of merges, most urgent first, and a number for each token.

    merges: pairs of tokens; the place in the list is the rank, and the lowest rank is merged first
    vocab: token -> id; by default CLIP's order: 512 base tokens, merges, start, end
    max_length: length of the rows that calling the tokenizer returns, start and end included

    Attributes: `merges`, `vocab`, `max_length`, and `bos`, `eos`, the ids of start and end.
    Raises: ValueError if a merge joins tokens that do not exist yet or stands twice, if `vocab` is
    not made of exactly the tokens of the merges, or if `max_length` is below 2.
    """

    def __init__(
        self,
        merges: Iterable[tuple[str, str]],
        vocab: dict[str, int] | None = None,
        max_length: int = MAX_LENGTH,
    ):
        self.merges, self.max_length = [tuple(pair) for pair in merges], max_length
        if max_length < 2:
            raise ValueError(f"max_length is {max_length}; it must be at least 2, for start and end.")
        tokens = dict.fromkeys(base_tokens())  # a dict keeps the order, and a token only once
        self._ranks = {}
        for rank, (left, right) in enumerate(self.merges):
            if left not in tokens or right not in tokens or (left, right) in self._ranks:
                raise ValueError(
                    f"Merge {rank + 1}, {left!r} + {right!r}, stands twice or joins tokens that no "
                    "earlier merge made: the merges are damaged or out of order; fetch them again."
                )
            self._ranks[left, right] = rank
            tokens[left + right] = None
        tokens = [*tokens, START, END]
        self.vocab = {token: i for i, token in enumerate(tokens)} if vocab is None else dict(vocab)
        missing = [token for token in tokens if token not in self.vocab]
        if missing or len(self.vocab) != len(tokens):
            raise ValueError(
                f"The vocabulary has {len(self.vocab)} tokens, the merges make {len(tokens)}; missing from "
                f"it: {missing[:3] or 'none'}. Take both files from the same tokenizer."
            )
        self._tokens = {i: token for token, i in self.vocab.items()}
        if len(self._tokens) != len(tokens):
            raise ValueError("Two tokens of the vocabulary share an id: fetch the vocabulary again.")
        self.bos, self.eos = self.vocab[START], self.vocab[END]
        self._whole = [START, END]  # the words that are found before all others
        self._cache = {START: [self.bos], END: [self.eos]}  # word -> ids

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
        merges = []
        while len(ids) + 2 < size:
            counts = Counter()  # pair -> how often it occurs
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
        cls, merges: str | Path, vocab: str | Path | None = None, max_length: int = MAX_LENGTH
    ) -> BPE:
        """Read `merges.txt`, and `vocab.json` for the ids; or the folder that holds the two.

        A folder is a checkpoint's `tokenizer/`; its `vocab.json` may be absent. Without one the
        ids follow from the merges, in CLIP's order.

        Raises: FileNotFoundError if a file is absent, ValueError if one is damaged or if the two
        don't belong together.
        """
        merges = Path(merges)
        if merges.is_dir():
            beside, merges = merges / "vocab.json", merges / "merges.txt"
            vocab = beside if vocab is None and beside.exists() else vocab
        for path in (merges, vocab):
            if path is not None and not Path(path).is_file():
                raise FileNotFoundError(f"There is no file {path}: give a checkpoint's tokenizer folder.")
        lines = merges.read_text(encoding="utf-8").rstrip("\n").split("\n")
        if not lines[0].startswith("#version"):
            raise ValueError(f"{merges} does not begin with '#version': fetch a true merges.txt.")
        pairs = [tuple(line.split()) for line in lines[1:]]
        if odd := [number for number, pair in enumerate(pairs, start=2) if len(pair) != 2]:
            raise ValueError(f"Line {odd[0]} of {merges} is not two tokens: fetch the file again.")
        if vocab is not None:
            try:
                vocab = json.loads(Path(vocab).read_text(encoding="utf-8"))
            except json.JSONDecodeError as error:
                raise ValueError(f"{vocab} is not JSON ({error}): fetch the file again.") from error
        return cls(pairs, vocab, max_length)

    def save(self, folder: str | Path) -> None:
        """Write the four files of a checkpoint's `tokenizer/` folder.

        `transformers.CLIPTokenizer.from_pretrained(folder)` and `BPE.from_files(folder)` read it
        and give the same ids. Each file is written under another name first, then renamed, so
        that an interrupted save never leaves half a file.

        Raises: ValueError if words were added, for which these files have no place.
        """
        if len(self) > len(self.vocab):
            raise ValueError("Learned words are not saved: save the model before you add any.")
        folder = Path(folder)
        # normalized: looked for in the cleaned text, so "<|ENDOFTEXT|>" counts, as in the original CLIP
        start, end = (
            {"content": name, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
            for name in (START, END)
        )
        specials = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
        config = {name: {"__type": "AddedToken", **token} for name, token in specials.items()}
        config |= {
            "add_prefix_space": False,
            "do_lower_case": True,
            "errors": "replace",
            "model_max_length": self.max_length,
            "tokenizer_class": "CLIPTokenizer",
        }
        files = {
            "vocab.json": json.dumps(self.vocab, ensure_ascii=False),
            "merges.txt": "\n".join(["#version: 0.2", *(" ".join(pair) for pair in self.merges)]) + "\n",
            "tokenizer_config.json": json.dumps(config, indent=2),
            "special_tokens_map.json": json.dumps(specials, indent=2),
        }
        for name, content in files.items():
            with whole(folder / name) as part:
                part.write_text(content, encoding="utf-8", newline="\n")

    def add(self, word: str, count: int = 1) -> list[int]:
        """Give `word` `count` new ids of its own, which it becomes wherever it stands in a text.

        As in the text itself, capitals don't matter. The ids follow the highest so far. Diffusers names
        the second and later ones "WORD_1", "WORD_2" ..., and writes them behind the first.

        Raises: ValueError if the word is empty, or a token already.
        """
        name = clean(word)
        symbols = "".join(word_symbols(name)) if name else ""
        if not name or not {name, symbols}.isdisjoint(self._tokens.values()):
            raise ValueError(f"{word!r} is a token already, or empty: choose another word, such as '<new>'.")
        ids = self._cache[name] = [max(self._tokens) + 1 + i for i in range(count)]
        self._tokens |= dict.fromkeys(ids, "") | {ids[0]: symbols}
        self._whole.append(name)
        return ids

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without start and end, however long.

        The name of a special token inside `text` becomes that token's id, as in transformers.

        Raises: TypeError if `text` is not a string, ValueError if it holds a lone surrogate.
        """
        return [i for word in split_words(text, self._whole) for i in self._encode_word(word)]

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._cache:
            symbols = word_symbols(word)
            while len(symbols) > 1:
                pairs = zip(symbols, symbols[1:])
                best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
                if best not in self._ranks:
                    break
                symbols = merge_pair(symbols, best)
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
        for i in (int(i) for i in ids if int(i) not in (self.bos, self.eos)):
            if i not in self._tokens:
                raise ValueError(f"There is no token {i}: this vocabulary has {len(self)} tokens.")
            token = self._tokens[i]
            text += bytes(SYMBOL_TO_BYTE[symbol] for symbol in token.removesuffix(WORD_END))
            text += b" " if token.endswith(WORD_END) else b""
        return text.decode("utf-8", errors="replace").strip(" ")

    def cut(self, text: str) -> str:
        """The end of `text` that a row has no room for, decoded; '' if all of it fits."""
        return self.decode(self.encode(text)[self.max_length - 2 :])

    def __call__(self, texts: str | list[str]) -> torch.LongTensor:
        """The rows of ids that the text encoder reads: start, the text, end, end, ... end.

        A text of more than `max_length - 2` tokens is cut, and its row still closes with an end.

        texts: one string or a list of strings
        returns: ids, int64, (batch, max_length); batch is 1 for one string
        raises: TypeError, ValueError as `encode`
        """
        import torch  # here, so that training and reading a tokenizer needs no torch

        if not isinstance(texts, (str, list, tuple)):
            raise TypeError(f"The tokenizer takes a string or a list of strings, not {type(texts).__name__}.")
        texts = [texts] if isinstance(texts, str) else texts
        rows = [[self.bos, *self.encode(text)[: self.max_length - 2]] for text in texts]
        rows = [row + [self.eos] * (self.max_length - len(row)) for row in rows]
        return torch.tensor(rows, dtype=torch.long).reshape(-1, self.max_length)
