"""Where the words enter, and the block: what the drawings say."""

import matplotlib.pyplot as plt

from minisd.teaching.block_drawing import block, decided, reading_points


def words_of(axes):
    return {text.get_text() for text in axes.texts}


def test_four_layers_read_the_sentence():
    said = words_of(reading_points(side=4, words=5))
    assert {'"down"', '"middle"', '"up 1"', '"up 2"', "the sentence: 5 vectors", "8 x 8", "4 x 4"} <= said
    plt.close("all")


def test_each_part_of_the_block_is_added():
    said = [text.get_text() for text in block().texts]
    assert said.count("+") == 3 and "Norm 2, Cross" in said and "$h''$" in said
    plt.close("all")


def test_what_follows_which_layer_is_written_at_it():
    said = words_of(decided())
    assert {'"down"', "time of day", "ground", "colour", "thing", "which is on the left"} <= said
    plt.close("all")
