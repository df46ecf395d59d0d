"""Other people's tokenizers beside ours, and what chapter 7 has where they are not installed."""

from importlib import metadata

import numpy as np
import pytest

from minisd.scenes import caption, sample
from minisd.teaching import other_tokenizers
from minisd.tokenizer import BPE


def test_the_library_learns_and_reads_as_we_do():
    pytest.importorskip("tokenizers")
    rng = np.random.default_rng(5)
    texts = [caption(sample(rng), rng) for _ in range(300)]
    bpe = BPE.train(texts, 640)
    assert other_tokenizers.library_merges(texts, len(bpe)) == bpe.merges
    built = other_tokenizers.library(bpe)
    for text in [*texts, "It's 2024!!", "ΣΑΣ", "雪の中", "🚀"]:
        assert built.encode(text).ids == bpe.encode(text)


def test_quick_merges_are_trains():
    texts = ["low lower slow newer new banana bananas"] * 3 + ["zzz zzzz nana é 雪雪 2024 !!!!"]
    for size in (514, 530, 900):
        assert other_tokenizers.quick_merges(texts, size) == BPE.train(texts, size).merges


def test_clips_merges_are_whole_or_absent():
    merges = other_tokenizers.clips_merges()
    assert merges is None or (len(merges) == other_tokenizers.MERGES and len(BPE(merges)) == 49408)


def test_without_a_copy_of_clips_merges(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(metadata, "files", absent)
    assert other_tokenizers.clips_merges() is None
    monkeypatch.setattr(metadata, "files", lambda name: [])
    assert other_tokenizers.clips_merges() is None


def test_clips_merges_from_the_hubs_cache(monkeypatch, tmp_path):
    file = tmp_path / "merges.txt"
    file.write_text("#version: 0.2\ni n\nt h\n", encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(file))
    assert other_tokenizers.clips_merges()[:2] == [("i", "n"), ("t", "h")]
