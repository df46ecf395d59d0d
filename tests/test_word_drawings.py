"""Chapter 7's drawings of words: what stands where."""

import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from minisd.teaching import word_drawings
from minisd.tokenizer import BPE

MERGES = [("l", "o"), ("lo", "w."), ("o", "o")]
RANKS = {pair: rank for rank, pair in enumerate(MERGES)}


@pytest.fixture
def axes():
    _, axes = plt.subplots()
    yield axes
    plt.close("all")


def written(axes):
    return [text.get_text() for text in axes.texts]


def test_a_journey_has_a_box_and_a_name_for_each_stage(axes):
    word_drawings.journey(axes, {"typed": "a tent", "ids": "3 5"})
    assert [text for text in written(axes) if text] == ["a tent", "typed", "3 5", "ids"]
    assert len(axes.patches) == 2


def test_a_tree_numbers_its_merges(axes):
    word_drawings.tree(axes, ["l", "o", "w."], MERGES, left=2)
    assert written(axes)[3:] == [r"$\mathbf{1}$ lo", r"$\mathbf{2}$ low."]
    assert [line.get_xdata()[0] for line in axes.lines] == [2, 2.5]


def test_reading_goes_turn_by_turn_to_the_end(axes):
    word_drawings.turns(axes, ["l", "o", "w.", "s"], RANKS)
    lines = [["l", "o", "w.", "s", "1", r"$\infty$", r"$\infty$"], ["lo", "w.", "s", "2", r"$\infty$"]]
    assert written(axes) == [*lines[0], *lines[1], "low.", "s", r"$\infty$"]
    assert len(axes.lines) == 4  # two strokes for each of two merges
    circled = [text.get_text() for text in axes.texts if text.get_bbox_patch()]
    assert circled == ["1", "2"]


def test_a_pair_that_occurs_twice_is_joined_twice(axes):
    word_drawings.turns(axes, ["o", "o", "o", "o"], RANKS)
    assert written(axes)[-3:] == ["oo", "oo", r"$\infty$"] and len(axes.lines) == 4


@pytest.mark.parametrize("character, bold", [("t", 7), ("é", 11), ("❄", 16), ("😀", 21)])
def test_the_bold_bits_are_the_number_of_the_character(axes, character, bold):
    word_drawings.bits(axes, 0, character, [f"<{byte}>" for byte in range(256)])
    found = [t.get_text() for t in axes.texts if t.get_fontweight() == "bold"]
    assert len(found) == bold and int("".join(found), 2) == ord(character)


def test_boxes_follow_each_other(axes):
    end = word_drawings.boxes(axes, 1, 0, ["ab", "c"])
    first, second = axes.patches
    assert first.get_x() == 1 and first.get_x() + first.get_width() < second.get_x()
    assert second.get_x() + second.get_width() < end


def test_a_bracket_below_each_token_and_a_gap_behind_each_word(axes):
    word_drawings.brackets(axes, 0, ["ten", "t</w>", "a</w>"])
    assert written(axes) == ["ten", "t", "a"]
    begins = [round(float(line.get_xdata()[0]), 2) for line in axes.lines]
    assert begins == [0.1, 3.1, 5.0]


def test_the_places_of_a_row(axes):
    bpe = BPE([])
    word_drawings.places(axes, 0, [bpe.bos, 70, 0, bpe.eos, bpe.eos, bpe.bos, bpe.eos], "row", bpe)
    colours = [to_hex(patch.get_facecolor()) for patch in axes.patches]
    black, grey = to_hex("black"), to_hex("0.85")
    assert colours[0] == colours[3] == colours[5] == colours[6] == black and colours[4] == grey
    assert len({colours[1], colours[2], black, grey}) == 4 and axes.patches[2].get_hatch() == "////"
