"""The files of a tokenizer/ folder, as many tools and versions write them, against transformers."""

import json
import shutil

import pytest
import torch
import transformers

from minisd.tokenizer import BPE
from small import SENTENCES

TEXTS = [
    "a <cat-toy> house, <CAT-TOY>! x<cat-toy>y",
    "styles Style STYLE!",
    "wow! !! a red house!",
    "x<spec>y <SPEC> <spec>",
    "<|endoftext|> a <|startoftext|>",
    "sand " * 80,
    "",
]


@pytest.fixture(scope="module")
def bpe():
    return BPE.train(SENTENCES, 560)


def edit(path, **changes):
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(found | changes), encoding="utf-8")


def saved_by_transformers(folder, *words, special=()):
    clip = transformers.CLIPTokenizer.from_pretrained(folder)
    clip.add_tokens(list(words))
    clip.add_special_tokens({"additional_special_tokens": list(special)})
    shutil.rmtree(folder)
    clip.save_pretrained(folder)
    assert {path.name for path in folder.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}


def json_alone(folder):
    saved_by_transformers(folder)


def json_with_words(folder):
    saved_by_transformers(folder, "<cat-toy>", "Style", special=["<spec>"])


def json_of_older_libraries(folder):
    saved_by_transformers(folder, "<cat-toy>")
    found = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    found["model"]["merges"] = [" ".join(pair) for pair in found["model"]["merges"]]
    for key in ("ignore_merges", "byte_fallback"):
        del found["model"][key]
    edit(folder / "tokenizer.json", model=found["model"])


def both_layouts(folder):  # tokenizer.json is read, and has a word more
    beside = folder.parent / "beside"
    shutil.copytree(folder, beside)
    saved_by_transformers(beside, "<cat-toy>")
    shutil.copy(beside / "tokenizer.json", folder)


def added_tokens(folder):
    edit(folder / "added_tokens.json", **{"<cat-toy>": 560, "Style": 561})


def added_tokens_decoder(folder):
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "special": False}
    words = {
        "560": {"content": "<cat-toy>", "normalized": True, **flags},
        "561": {"content": "Style", "normalized": False, **flags},
    }
    edit(folder / "tokenizer_config.json", added_tokens_decoder=words)


def additional_special_tokens(folder):
    edit(folder / "added_tokens.json", **{"<cat-toy>": 560, "<spec>": 561})
    edit(folder / "special_tokens_map.json", additional_special_tokens=["<spec>"])


def padding_of_sd2(folder):
    edit(folder / "tokenizer_config.json", pad_token="!")
    edit(folder / "special_tokens_map.json", pad_token="!")


def padding_in_the_map(folder):
    edit(folder / "special_tokens_map.json", pad_token="!")


def padding_that_is_added(folder):
    edit(folder / "added_tokens.json", **{"<pad>": 560})
    edit(folder / "special_tokens_map.json", pad_token="<pad>")


def padding_in_tokenizer_json(folder):
    padding_of_sd2(folder)
    saved_by_transformers(folder)


def short_rows(folder):
    edit(folder / "tokenizer_config.json", model_max_length=20)


FOLDERS = [
    json_alone,
    json_with_words,
    json_of_older_libraries,
    both_layouts,
    added_tokens,
    added_tokens_decoder,
    additional_special_tokens,
    padding_of_sd2,
    padding_in_the_map,
    padding_that_is_added,
    padding_in_tokenizer_json,
    short_rows,
]


@pytest.mark.parametrize("change", FOLDERS)
def test_ids_equal_transformers_and_are_saved(change, bpe, tmp_path):
    folder = tmp_path / "tokenizer"
    bpe.save(folder)
    change(folder)
    ours, clip = BPE.from_files(folder), transformers.CLIPTokenizer.from_pretrained(folder)
    assert (ours.max_length, ours.pad, len(ours)) == (clip.model_max_length, clip.pad_token_id, len(clip))
    theirs = clip(TEXTS, padding="max_length", truncation=True, return_tensors="pt").input_ids
    assert torch.equal(ours(TEXTS), theirs)
    assert all(word for word in ours.added) and len(ours) == len(bpe) + len(ours.added)

    ours.save(tmp_path / "again")
    again = BPE.from_files(tmp_path / "again")
    clip = transformers.CLIPTokenizer.from_pretrained(tmp_path / "again")
    assert again.added == ours.added
    assert torch.equal(again(TEXTS), theirs)
    assert torch.equal(
        clip(TEXTS, padding="max_length", truncation=True, return_tensors="pt").input_ids, theirs
    )


def test_saving_over_a_newer_layout_leaves_no_file_of_it(bpe, tmp_path):
    bpe.save(tmp_path)
    saved_by_transformers(tmp_path, "<cat-toy>")
    (tmp_path / "added_tokens.json").write_text('{"<cat-toy>": 560}')
    bpe.save(tmp_path)
    assert BPE.from_files(tmp_path).added == {}


def test_a_word_of_several_vectors_is_read_as_diffusers_reads_it(bpe, tmp_path):
    bpe.save(tmp_path)
    mine = BPE.from_files(tmp_path)
    mine.add("<Toy>", 3)
    mine.also("plaything", "<toy>")
    mine.add("<other>")
    mine.save(tmp_path)
    saved = {"<toy>": 560, "<toy>_1": 561, "<toy>_2": 562, "<other>": 563}
    assert json.loads((tmp_path / "added_tokens.json").read_text()) == saved
    again = BPE.from_files(tmp_path)
    for text in ("a <toy> house", "<TOY><other>"):
        assert again.encode(text) == mine.encode(text)
    assert again.decode([560, 561, 562]) == "<toy>"
    assert len(transformers.CLIPTokenizer.from_pretrained(tmp_path)) == len(again) == 564


@pytest.mark.parametrize(
    "start", [b"", b"\xef\xbb\xbf", b"#version: 0.2\n", b"\xef\xbb\xbf#version: 0.2\r\n"]
)
def test_merges_with_and_without_a_first_line(start, bpe, tmp_path):
    bpe.save(tmp_path)
    lines = (tmp_path / "merges.txt").read_bytes().split(b"\n", 1)[1]
    for text in (lines, lines.replace(b"\n", b"\r\n"), lines + b"\n \n\n", lines.rstrip(b"\n")):
        (tmp_path / "merges.txt").write_bytes(start + text)
        assert BPE.from_files(tmp_path).merges == bpe.merges


def test_a_length_is_given_or_unlimited(bpe, tmp_path):
    bpe.save(tmp_path)
    for length in (10**30, 1e30, None):  # what transformers writes for "no limit", and nothing
        edit(tmp_path / "tokenizer_config.json", model_max_length=length)
        assert BPE.from_files(tmp_path).max_length == 77
    assert BPE.from_files(tmp_path, max_length=9).max_length == 9
    assert BPE.from_files(tmp_path / "merges.txt").max_length == 77


def test_the_files_beside_vocabulary_and_merges_say_what_transformers_asks(bpe, tmp_path):
    """As in the published folders, but for the order of the keys."""
    bpe.save(tmp_path)
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    start, end = ({"content": f"<|{word}|>", **flags} for word in ("startoftext", "endoftext"))
    specials = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    assert json.loads((tmp_path / "special_tokens_map.json").read_text()) == specials
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == {
        **{key: {"__type": "AddedToken", **token} for key, token in specials.items()},
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": 77,
        "tokenizer_class": "CLIPTokenizer",
    }


def test_the_shortest_rows_are_of_two(bpe, tmp_path):
    bpe.save(tmp_path)
    edit(tmp_path / "tokenizer_config.json", model_max_length=2)
    assert BPE.from_files(tmp_path)("house").shape == (1, 2)
    edit(tmp_path / "tokenizer_config.json", model_max_length=1)
    with pytest.raises(ValueError, match="model_max_length 1; it must be a whole number from 2 on"):
        BPE.from_files(tmp_path)
