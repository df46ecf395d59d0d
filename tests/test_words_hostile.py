"""Tokenizer folders that are damaged, lie, or belong to another model: one line that names the file."""

import json
import shutil

import pytest

from minisd.tokenizer import BPE
from small import SENTENCES

SIZE = 560


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of the older layout and one of the newer, both of one tokenizer."""
    import transformers

    place = tmp_path_factory.mktemp("tokenizers")
    BPE.train(SENTENCES, SIZE).save(place / "old")
    transformers.CLIPTokenizer.from_pretrained(place / "old").save_pretrained(place / "new")
    return place


def vocab(**changes):
    """An edit of vocab.json; None takes a token out."""

    def edit(found):
        found |= changes
        return {token: number for token, number in found.items() if number is not None}

    return "vocab.json", edit


def replaced(name, value):
    return name, lambda found: value


def model(**changes):
    return "tokenizer.json", lambda found: found | {"model": found["model"] | changes}


def top(name="tokenizer.json", **changes):
    return name, lambda found: found | changes


WORD = {"content": "<a>", "id": SIZE, "normalized": True, "special": False, "single_word": False}

# folder, (file, edit), part of the message
CASES = [
    ("old", vocab(a="65"), "gives 'a' the number '65'"),
    ("old", vocab(a=True), "gives 'a' the number True"),
    ("old", vocab(a=None, b=64.0), "gives 'b' the number 64.0"),
    ("old", vocab(a=-1), "gives 'a' the number -1"),
    ("old", vocab(a=[64]), "the number [64]"),
    ("old", vocab(a={}), "the number {}"),
    ("old", vocab(a=10**30), "has gaps"),
    ("old", vocab(a=SIZE), "has gaps"),
    ("old", vocab(a=65), "share an id"),
    ("old", vocab(a=None), "missing from it: ['a']"),
    ("old", vocab(extra=SIZE), "has 561 tokens, the merges make 560"),
    ("old", replaced("vocab.json", []), "no JSON object"),
    ("old", replaced("vocab.json", 7), "no JSON object"),
    ("old", ("vocab.json", b"\xff\xfe{"), "not text in UTF-8"),
    ("old", ("vocab.json", b'{"a": 1, "a": 2}'), "'a' stands twice"),
    ("old", ("vocab.json", b"{" * 100_000), "JSON"),
    ("old", ("vocab.json", b'{"a":' * 100_000), "nested too deeply"),
    ("old", ("vocab.json", b""), "not JSON"),
    ("old", ("vocab.json", b'{"a": NaN}'), "the number nan"),
    ("old", ("vocab.json", b"version https://git-lfs.github.com/spec/v1\n"), "git-lfs pointer"),
    ("old", ("merges.txt", b"\xff\xfe"), "not text in UTF-8"),
    ("old", ("merges.txt", b""), "is empty"),
    ("old", ("merges.txt", b"#version: 0.2\n"), "the merges make 514"),
    ("old", ("merges.txt", b"<!doctype html>\n"), "Merge 1"),
    ("old", ("merges.txt", b"\x00" * 50), "Line 1"),
    ("old", ("added_tokens.json", b'{"<a>": 561}'), "has the id 561, where 560 is due"),
    ("old", ("added_tokens.json", b'{"<a>": 3}'), "has the id 3, where 560 is due"),
    ("old", ("added_tokens.json", b'{"<a>": "560"}'), "the number '560'"),
    ("old", ("added_tokens.json", b'{" ": 560}'), "a word of spaces"),
    ("old", ("added_tokens.json", b'{"!": 560}'), "'!' has the id 560, where 0 is due"),
    ("old", ("added_tokens.json", b"[]"), "no JSON object"),
    ("old", top("tokenizer_config.json", tokenizer_class="T5Tokenizer"), "holds a 'T5Tokenizer'"),
    ("old", top("tokenizer_config.json", tokenizer_class="BertTokenizer"), "holds a 'BertTokenizer'"),
    ("old", top("tokenizer_config.json", tokenizer_class=[1]), "holds a [1]"),
    ("old", top("tokenizer_config.json", model_max_length="77"), "model_max_length '77'"),
    ("old", top("tokenizer_config.json", model_max_length=True), "model_max_length True"),
    ("old", top("tokenizer_config.json", model_max_length=1), "model_max_length 1"),
    ("old", top("tokenizer_config.json", model_max_length=-77), "model_max_length -77"),
    ("old", top("tokenizer_config.json", model_max_length=7.5), "model_max_length 7.5"),
    ("old", top("special_tokens_map.json", pad_token="[PAD]"), "'[PAD]', which is not in its vocabulary"),
    ("old", top("special_tokens_map.json", bos_token="<s>"), "has '<s>' as its bos_token"),
    ("old", top("special_tokens_map.json", eos_token="</s>"), "has '</s>' as its eos_token"),
    ("old", top("tokenizer_config.json", added_tokens_decoder=[1]), "added_tokens_decoder"),
    ("old", top("tokenizer_config.json", added_tokens_decoder={"x": WORD}), "added_tokens_decoder"),
    ("old", top("tokenizer_config.json", added_tokens_decoder={"9" * 99: WORD}), "added_tokens_decoder"),
    ("old", top("tokenizer_config.json", added_tokens_decoder={"560": "<a>"}), "adds the word None"),
    ("new", model(type="Unigram"), "a SentencePiece tokenizer"),
    ("new", model(type="WordPiece"), "BERT's kind"),
    ("new", model(type="WordLevel"), "of type 'WordLevel'"),
    ("new", model(type=None), "of type None"),
    ("new", model(end_of_word_suffix=None), "GPT-2's kind"),
    ("new", model(dropout=0.1), "asks for dropout=0.1"),
    ("new", model(byte_fallback=True), "asks for byte_fallback=True"),
    ("new", model(ignore_merges=True), "asks for ignore_merges=True"),
    ("new", model(merges="a b"), "no model with merges"),
    ("new", model(merges=["a b c"]), "the merge 'a b c'"),
    ("new", model(merges=[["a"]]), "the merge ['a']"),
    ("new", model(merges=[["a", 7]]), "the merge ['a', 7]"),
    ("new", model(merges=[7]), "the merge 7"),
    ("new", model(merges=[]), "the merges make 514"),
    ("new", model(vocab=None), "no vocabulary"),
    ("new", model(vocab=[["a", 1]]), "no vocabulary"),
    ("new", model(vocab={"a": 1.5}), "the number 1.5"),
    ("new", top(model=None), "no model with merges"),
    ("new", top(normalizer=None), "has the normalizer []"),
    ("new", top(normalizer={"type": "Lowercase"}), "has the normalizer []"),
    ("new", top(normalizer={"type": "Sequence", "normalizers": 7}), "7 where a list belongs"),
    ("new", top(pre_tokenizer={"type": "Sequence", "pretokenizers": [7]}), "has the pre_tokenizer [None]"),
    ("new", top(added_tokens=7), "7 where a list belongs"),
    ("new", top(added_tokens=[7]), "adds the word None"),
    ("new", top(added_tokens=[WORD | {"id": 700}]), "has the id 700, where 560 is due"),
    ("new", top(added_tokens=[WORD | {"id": True}]), "as number True"),
    ("new", top(added_tokens=[WORD | {"content": 7}]), "adds the word 7"),
    ("new", top(added_tokens=[WORD | {"single_word": True}]), "with single_word"),
    ("new", replaced("tokenizer.json", [1]), "no JSON object"),
    ("new", ("tokenizer.json", b"{"), "not JSON"),
]


@pytest.mark.parametrize(("layout", "change", "message"), CASES, ids=[f"{c[0]}-{c[2]}" for c in CASES])
def test_damaged_folders(layout, change, message, folders, tmp_path):
    shutil.copytree(folders / layout, tmp_path / "tokenizer")
    path, edit = tmp_path / "tokenizer" / change[0], change[1]
    if isinstance(edit, bytes):
        path.write_bytes(edit)
    else:
        path.write_text(json.dumps(edit(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(ValueError) as error:
        BPE.from_files(tmp_path / "tokenizer")
    text = str(error.value)
    assert message in text and "\n" not in text and len(text) < 500
    assert str(tmp_path / "tokenizer") in text


@pytest.mark.parametrize(
    ("name", "message"),
    [("spiece.model", "T5"), ("tokenizer.model", "Llama"), ("vocab.txt", "BERT"), ("x.txt", "no file")],
)
def test_folders_of_other_tokenizers(name, message, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        BPE.from_files(tmp_path)
    assert str(tmp_path) in str(error.value)
