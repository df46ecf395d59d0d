"""Chapter 7: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import sympy
import torch

from minisd.teaching.exercises import ch07

# 7.1

GUESSES = {
    "snowman!": 8,
    "a  A a": 3,
    "31.12.1999": 10,
    "two snows": 6,
    "padding of 20 tokens": 55,
    "padding of 200 tokens": 0,
}

# 7.2

N_1, N_2, N_3, u = sympy.symbols("N_1 N_2 N_3 u", positive=True)
TOTAL = N_1 + 2 * N_2 + 3 * N_3


def by_cases(N_1, N_2, N_3, u):
    """As a sum over how often the word occurs."""
    total = sum(k * n for k, n in enumerate((N_1, N_2, N_3), 1))
    return sum(k * n / total * (1 - u) ** (k - 1) for k, n in enumerate((N_1, N_2, N_3), 1))


# 7.3

COLOURS = {
    "different vectors": 64,
    "before house": False,
    "after house": False,
    "red at 0": True,
    "house at 0": False,
}

# 7.4

ZZZZ = (["z", "z", "z", "z"], ("z", "z"))

# 7.5


def by_places(bpe, text):
    """Looks for the place of each cut first."""
    ids, room, comma = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0]
    begin, rows = 0, []
    while True:
        end = len(ids)
        if end - begin > room:
            commas = [i for i in range(begin, begin + room) if ids[i] == comma]
            end = commas[-1] + 1 if commas else begin + room
        row = torch.full((bpe.max_length,), bpe.pad)
        piece = [bpe.bos, *ids[begin:end], bpe.eos]
        row[: len(piece)] = torch.tensor(piece)
        rows.append(row)
        begin = end
        if begin >= len(ids):
            return torch.stack(rows)


def by_recursion(bpe, text):
    def pieces(ids):
        room = bpe.max_length - 2
        if len(ids) <= room:
            return [ids]
        kept = next((i for i in range(room, 0, -1) if bpe.decode([ids[i - 1]]) == ","), room)
        return [ids[:kept], *pieces(ids[kept:])]

    rows = [[bpe.bos, *piece, bpe.eos] for piece in pieces(bpe.encode(text))]
    return torch.tensor([row + [bpe.pad] * (bpe.max_length - len(row)) for row in rows])


# 7.6

PAINTED = {
    "'dim red' tokens": 8,
    "'dim red' keeps red": True,
    '"red" tokens': 5,
    '"red" keeps red': True,
    "we'red tokens": 8,
    "we'red keeps red": False,
    "re-d tokens": 6,
    "re-d keeps red": False,
}

# 7.7

FIVE = [("e", "n"), ("t", "en"), ("ten", "t"), ("ten", "t</w>"), ("tent", "s</w>")]
CON = [("c", "o"), ("co", "n"), ("i", "n"), ("con", "tents</w>")]

BANK = {
    "7.1": {
        "wrong": [
            (GUESSES | {"snowman!": 1}, "no merges here"),
            (GUESSES | {"a  A a": 6}, "counted the spaces"),
            (GUESSES | {"31.12.1999": 5}, "31 as one word"),
            (GUESSES | {"two snows": 2}, "counted characters"),
            (GUESSES | {"padding of 20 tokens": 57}, "two markers"),
            (GUESSES | {"padding of 200 tokens": -125}, "never gets longer"),
        ],
        "right": [GUESSES, list(GUESSES.values())],
    },
    "7.2": {
        "wrong": [
            (N_1 / TOTAL, "That is (7.2)"),
            ((N_1 + N_2 * (1 - u) + N_3 * (1 - u) ** 2) / (N_1 + N_2 + N_3), "each different word once"),
            (
                (N_1 * (1 - u) + 2 * N_2 * (1 - u) ** 2 + 3 * N_3 * (1 - u) ** 3) / TOTAL,
                "all its occurrences are hidden",
            ),
            ((N_1 + 2 * N_2 * u + 3 * N_3 * u**2) / TOTAL, "the other event"),
            ((N_1 + 2 * N_2 * (1 - u) + 6 * N_3 * (1 - u)) / TOTAL, "probabilities add"),
        ],
        "right": [by_cases, 1 - (2 * N_2 * u + 3 * N_3 * (2 * u - u**2)) / TOTAL],
    },
    "7.3": {
        "wrong": [
            (COLOURS | {"different vectors": 1}, "Which other vectors"),
            (COLOURS | {"different vectors": 77}, "in front of the colour"),
            (COLOURS | {"different vectors": 65}, "the comma as a token"),
            (COLOURS | {"different vectors": 2}, "the end marker and the padding"),
            (COLOURS | {"before house": True}, "the colour of the tent"),
            (COLOURS | {"after house": True}, "still tells of a red one"),
            (COLOURS | {"red at 0": False}, "weight 0"),
            (COLOURS | {"house at 0": True}, "empty text says"),
        ],
        "right": [COLOURS, list(COLOURS.values())],
    },
    "7.4": {
        "wrong": [
            ([(["l", "o", "w."], ("l", "o")), ZZZZ], "on your first case short_cut is right"),
            ([(["sl", "o"], ("l", "o")), (["z", "z", "z"], ("z", "z"))], "on your second case"),
            ([(["x", "sl", "o"], ("l", "o")), ZZZZ], "One symbol of them"),
            ([(["l", "o", "l", "o", "sl", "o"], ("l", "o"))] * 2, "One case for both"),
            ([(["a", "a", "sl", "o"], ("l", "o")), ZZZZ], "Take symbols away"),
            (["slo", ("l", "o")], "should be two cases"),
            ([(["s l", "o"], ("l", "o")), ZZZZ], "holds a space"),
        ],
        "right": [
            [(["sl", "o"], ("l", "o")), (["l", "o", "l", "o"], ("l", "o"))],
            lambda: ((["l", "ow"], ("l", "o")), ZZZZ),
        ],
    },
    "7.5": {
        "wrong": [
            (lambda bpe, text: bpe(text), "own row"),
            (ch07.cut_from_one_row, "once around the whole"),
            (ch07.zeros_behind, "pad with 0"),
            (ch07.at_75, "Was there a comma"),
            (ch07.in_front_of_the_comma, "The comma ends a piece"),
            (ch07.at_the_first_comma, "at the first comma"),
            (ch07.at_every_comma, "all that is left would fit"),
            (ch07.padded_with_end, "pad with the end marker"),
            (ch07.an_empty_row_more, "an empty row more"),
            (ch07.no_row_for_nothing, "still give one row"),
        ],
        "right": [by_places, by_recursion],
    },
    "7.6": {
        "wrong": [
            (PAINTED | {"'dim red' keeps red": False}, "another word's"),
            (PAINTED | {"we'red keeps red": True}, "is red one of them"),
            (PAINTED | {'"red" keeps red': False}, "a double one"),
            (PAINTED | {"we'red tokens": 5}, "You counted words"),
            (PAINTED | {"re-d keeps red": True}, "hyphen cuts the word"),
        ],
        "right": [PAINTED, list(PAINTED.values())],
    },
    "7.7": {
        "wrong": [
            (ch07.greedy(), "greedy training finds"),
            ([], "every word is spelled out"),
            (ch07.greedy()[:8], "One more merge"),
            ([*FIVE, *CON, ("a", "t")], "9 are allowed"),
            ([("ten", "t"), ("e", "n")], "no earlier merge made"),
        ],
        "right": [[*FIVE, *CON], lambda: [("i", "n"), *FIVE, *CON[:2], CON[3]]],
    },
    "7.8": {
        "wrong": [
            ("7" * 76, "one byte"),
            ("\u00e9" * 38, "Two bytes"),
            ("\u96ea" * 26, "Three bytes"),
            ("red!" * 38, "letters that belong"),
            ("\U0001f680" * 18, "it fits"),
            ("<|endoftext|>" * 76, "names of the markers"),
        ],
        "right": ["\U0001f680" * 19, "\U0001d160" * 6 + "\u96ea" * 2],
    },
    "7.9": {
        "wrong": [
            (("dabc", [("a", "b"), ("b", "c</w>"), ("a", "bc</w>"), ("ab", "c</w>")]), "is made twice"),
            (("abc", [("a", "b"), ("ab", "c</w>")]), "they should differ"),
            (("abc", [("a", "b")]), "they should differ"),
            (("abc", [("ab", "c</w>"), ("x", "y")]), "no merge of the list makes 'ab'"),
            (("abc", [("d", "e"), ("ab", "c</w>"), ("a", "b")]), "Two are enough"),
            ([("ab", "c</w>"), ("a", "b")], "a word and a list of merges"),
        ],
        "right": [
            ("low", [("lo", "w</w>"), ("l", "o")]),
            lambda: ["xzzy", [("zz", "y</w>"), ("z", "z")]],
        ],
    },
}
