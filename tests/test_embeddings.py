"""Learned words as people bring them: every make of file, odd names, damaged and hostile ones."""

import base64
import io
import json
import os
import pickle
import warnings

import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file
from torch import nn

from minisd.lora import add_embedding
from test_lora import a1111, changes, copied, kohya, original, outputs, vectors, write


@pytest.fixture
def pipe():
    return copied(original())


def notes_of(pipe, path, token=None):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        word = add_embedding(pipe, path, token)
    return word, [str(note.message) for note in caught]


def with_parameters(name=None):
    """As AUTOMATIC1111's interface and the paper's code wrote it before 2023."""
    params = nn.ParameterDict({"*": nn.Parameter(vectors(2))})
    return {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": params} | (
        {"name": name} if name else {}
    )


def png(path, content, key="sd-ti-embedding"):
    info = PngImagePlugin.PngInfo()
    if content is not None:
        info.add_text(key, content)
    Image.new("RGB", (8, 8)).save(path, "PNG", pnginfo=info)
    return path


def in_base64(found):
    listed = json.dumps(found, default=lambda tensor: {"TORCHTENSOR": tensor.tolist()})
    return base64.b64encode(listed.encode()).decode()


READ = {  # file's name -> its content, the word, how many vectors, what else is understood
    "a.bin": ({"<cat>": vectors(1)[0]}, "<cat>", 1, None),
    "half.bin": ({"<cat>": vectors(2).half()}, "<cat>", 2, None),
    "bf.safetensors": ({"<cat>": vectors(2).bfloat16()}, "<cat>", 2, None),
    "double.pt": ({"<cat>": vectors(2).double()}, "<cat>", 2, None),
    "embeddings_gs-6099.pt": (with_parameters(), "embeddings_gs-6099", 2, None),
    "mystyle.pt": (a1111(vectors(2), "old name 7500"), "old name 7500", 2, "mystyle"),
    "same.pt": (a1111(vectors(2), "Same"), "Same", 2, None),
    "plainname.pt": (a1111(vectors(2), None), "plainname", 2, None),
    "blank.pt": (a1111(vectors(2), "  "), "blank", 2, None),
    "starred.pt": (a1111(vectors(2), "*"), "starred", 2, None),
    "numbered.pt": (a1111(vectors(2), 17), "numbered", 2, None),
    "parameters.pt": (with_parameters("inner"), "inner", 2, "parameters"),
    "mynight.pt": (a1111(vectors(2), "night"), "mynight", 2, None),  # night is a token
    "night.pt": (a1111(vectors(2), "mynight"), "mynight", 2, None),
    "star.bin": ({"*": vectors(2)}, "star", 2, None),
    "easyneg.safetensors": ({"emb_params": vectors(4)}, "easyneg", 4, None),
    "text.safetensors": ({"clip_l": vectors(4)}, "text", 4, None),
    "wrongly_named.safetensors": (a1111(vectors(2), "inner"), "inner", 2, "wrongly_named"),
    "wrongly_named.pt": ({"<cat>": vectors(3)}, "<cat>", 3, None),
    "bundle.safetensors": (
        {"bundle_emb.mytok.string_to_param.*": vectors(2), "lora_unet_conv_in.alpha": torch.tensor(1.0)},
        "mytok",
        2,
        None,
    ),
}


@pytest.mark.parametrize("name", READ)
def test_read(name, pipe, tmp_path):
    content, word, count, also = READ[name]
    path = tmp_path / name
    tensors_only = all(isinstance(value, torch.Tensor) for value in content.values())
    (save_file if tensors_only and path.suffix != ".bin" else torch.save)(content, path)
    before = len(pipe.tokenizer)
    found, notes = notes_of(pipe, path)
    assert found == word
    ids = list(range(before, before + count))
    assert pipe.tokenizer.encode(f"a {word} a")[1:-1] == pipe.tokenizer.encode(word.upper()) == ids
    assert pipe.text_encoder.config.vocab_size == len(pipe.tokenizer) == before + count
    table = pipe.text_encoder.text_model.embeddings.token_embedding.weight
    assert torch.allclose(table[before:], vectors(count), atol=0.05)
    if also:
        assert pipe.tokenizer.encode(also) == ids and also in notes[0] and word in notes[0]
    elif name == "mynight.pt":
        assert len(notes) == 1 and "'night' is a token already: write 'mynight'" in notes[0]
    else:
        assert notes == []
        assert set(pipe.tokenizer.added) == {word.lower()}


def test_several_words_in_a_file(pipe, tmp_path):
    path = write(tmp_path, "words.bin", {"<a>": vectors(1), "<b>": vectors(2)})
    with pytest.raises(ValueError, match="holds 2 words: one token can't stand for all"):
        add_embedding(pipe, path, token="<c>")
    assert add_embedding(pipe, path) == "<a>, <b>"
    assert pipe.tokenizer.added == {"<a>": [560], "<b>": [561, 562]}
    path = write(tmp_path, "more.pt", {"string_to_param": {"<c>": vectors(1), "*": vectors(3)}})
    assert add_embedding(pipe, path) == "<c>, more"


def test_more_vectors_than_places(pipe, tmp_path):
    path = write(tmp_path, "long.bin", {"<a>": vectors(80)})
    word, notes = notes_of(pipe, path)
    assert len(notes) == 1 and "has 80 vectors, and a prompt has room for 75" in notes[0]
    assert pipe.tokenizer.read(f"a {word}")[1] == ["<a>"]


def test_a_picture_that_carries_a_word(pipe, tmp_path):
    found = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors(2)}, "name": "inner"}
    assert add_embedding(pipe, png(tmp_path / "card.png", in_base64(found))) == "inner"
    assert pipe.tokenizer.encode("inner") == pipe.tokenizer.encode("card") == [560, 561]
    assert torch.allclose(
        pipe.text_encoder.text_model.embeddings.token_embedding.weight[560:], vectors(2), atol=1e-6
    )


class Code:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def hostile_state():
    """A ParameterDict whose state a file made up: it may hold anything, and is read for tensors only."""
    params = nn.ParameterDict({"*": nn.Parameter(vectors(2))})
    params.__dict__["_parameters"] = 7
    return {"string_to_param": params, "name": "a"}


REFUSED = {
    "code.pt": (Code(), "could run any code"),
    "code_inside.pt": ({"<a>": Code()}, "could run any code"),
    "module.pt": ({"string_to_param": nn.Linear(2, 2)}, "could run any code"),
    "state.pt": (hostile_state(), "no vectors|more than tensors|not a whole"),
    "number.pt": ({7: vectors(2)}, "has 7 as its word"),
    "none.pt": ({None: vectors(2)}, "no vectors|as its word"),
    "bytes.pt": ({b"a": vectors(2)}, "as its word"),
    "tuple.pt": ({("a", "b"): vectors(2)}, "as its word"),
    "blank.bin": ({"": vectors(2)}, "or empty"),
    "space.bin": ({" \n ": vectors(2)}, "or empty"),
    "token.bin": ({"night": vectors(2)}, "is a token already"),
    "special.bin": ({"<|EndOfText|>": vectors(2)}, "is a token already"),
    "long.bin": ({"x" * 5000: vectors(2)}, "no text of at most 200"),
    "surrogate.bin": ({"a\ud800": vectors(2)}, "surrogate|not a whole"),
    "twice.bin": ({"<a>": vectors(1), "<A>": vectors(1)}, "a word twice"),
    "ints.bin": ({"<a>": torch.ones(2, 16, dtype=torch.int64)}, "no vectors"),
    "complex.bin": ({"<a>": torch.ones(2, 16, dtype=torch.complex64)}, "no vectors"),
    "nan.bin": ({"<a>": torch.full((2, 16), torch.nan)}, "NaN or infinity"),
    "inf.bin": ({"<a>": torch.full((2, 16), torch.inf)}, "NaN or infinity"),
    "empty.bin": ({"<a>": torch.ones(0, 16)}, "no vectors"),
    "nothing.bin": ({}, "no vectors"),
    "scalar.bin": ({"<a>": torch.tensor(1.0)}, "has 16 numbers"),
    "deep.bin": ({"<a>": torch.ones(1, 1, 2, 16)}, "has 16 numbers"),
    "wide.bin": ({"<a>": torch.ones(2, 768)}, "made for SD 1.x"),
    "sd2.bin": ({"<a>": torch.ones(2, 1024)}, "made for SD 2"),
    "xl.bin": ({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}, "made for SDXL"),
    "list.bin": ([vectors(2)], "no vectors"),
    "tensor.bin": (vectors(2), "no vectors"),
    "text.bin": ("text", "no vectors"),
    "strings.bin": ({"<a>": "b"}, "no vectors"),
    "lora.bin": (kohya(changes(only="conv_in"), lambda *_: 1.0), "is a LoRA"),
    "weights.bin": ({"conv_in.weight": vectors(2)}, "a network's weights"),
    "params.pt": ({"string_to_param": [vectors(2)]}, "no vectors"),
    "sparse.pt": ({"<a>": vectors(2).to_sparse()}, "sparse|not a whole"),
    "expanded.pt": ({"<a>": torch.zeros(1).expand(2**28, 16)}, "fewer numbers|no vectors|claims|holds"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line_that_names_the_file(name, pipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, message = REFUSED[name]
    torch.save(content, tmp_path / name)
    check_refused(pipe, tmp_path / name, message)
    assert not (tmp_path / "ran").exists()


def check_refused(pipe, path, message):
    before = len(pipe.tokenizer)
    with pytest.raises(ValueError, match=message) as error:
        add_embedding(pipe, path)
    text = str(error.value)
    assert path.name in text and "\n" not in text and len(text) < 500
    assert len(pipe.tokenizer) == before == pipe.text_encoder.config.vocab_size
    assert pipe.tokenizer.added == {}


def legacy_pickle(found):
    stream = io.BytesIO()
    torch.save(found, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


BYTES = {
    "empty.pt": (b"", "is empty"),
    "page.pt": (b"<!doctype html><html>", "a web page"),
    "pickle.pt": (pickle.dumps({"<a>": Code()}), "not loaded|not a whole"),
    "legacy_code.pt": (
        legacy_pickle({"<a>": 1})[:-20] + pickle.dumps(Code()),
        "not loaded|not a whole|no vectors",
    ),
    "cut.pt": (legacy_pickle({"<a>": vectors(2)})[:-40], "not a whole"),
    "zeros.pt": (bytes(4000), "full of zeros"),
    "jpeg.png": (b"\xff\xd8\xff" + bytes(600), "a picture"),
    "cut.png": (b"\x89PNG\r\n\x1a\n" + bytes(40), "damaged picture"),
    "json.bin": (b'{"a": 1}', "JSON"),
}


@pytest.mark.parametrize("name", BYTES)
def test_damaged_bytes(name, pipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(BYTES[name][0])
    check_refused(pipe, tmp_path / name, BYTES[name][1])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "without a learned word"),
        ("????", "damaged learned word"),
        (base64.b64encode(b"{").decode(), "damaged learned word"),
        (base64.b64encode(b"[" * 100_000).decode(), "damaged learned word"),
        (base64.b64encode(b"[1]").decode(), "no vectors"),
        (in_base64({"string_to_param": {"*": [1, 2]}, "name": "a"}), "no vectors"),
        (base64.b64encode(b'{"TORCHTENSOR": [[1], [2, 3]]}').decode(), "damaged learned word"),
        (base64.b64encode(b'{"TORCHTENSOR": "x"}').decode(), "damaged learned word"),
    ],
)
def test_damaged_pictures(text, message, pipe, tmp_path):
    check_refused(pipe, png(tmp_path / "card.png", text), message)


def test_no_file(pipe, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.pt is missing: give a file of textual inversion"):
        add_embedding(pipe, tmp_path / "absent.pt")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        add_embedding(pipe, tmp_path)


def test_the_list_of_safe_classes_is_left_as_it_was(pipe, tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save(with_parameters(), tmp_path / "word.pt")
    add_embedding(pipe, tmp_path / "word.pt")
    assert set(torch.serialization.get_safe_globals()) == before
    assert [part.shape for part in outputs(pipe)] == [part.shape for part in outputs(original())]
