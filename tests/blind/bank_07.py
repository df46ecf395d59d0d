"""Answers to chapter 7's exercises, written without a look at the checks."""

import numpy as np
import sympy
import torch

BANK = {}


# ---- 7.1


def counted(snowman=8, spaces=3, date=10, snows=6, short=55, long=0):
    return {
        "snowman!": snowman,
        "a  A a": spaces,
        "31.12.1999": date,
        "two snows": snows,
        "padding of 20 tokens": short,
        "padding of 200 tokens": long,
    }


BANK["7.1"] = {
    "wrong": [
        counted(snowman=2),  # words, not bytes
        counted(snowman=10),  # an end of a word counted as a token of its own
        counted(snowman=7),  # the exclamation mark lost
        counted(spaces=6),  # spaces as bytes
        counted(spaces=5),  # two runs of spaces as tokens
        counted(spaces=2),  # different tokens, not tokens
        counted(date=8),  # the dots thrown away
        counted(date=5),  # a number is one token
        counted(snows=2),  # characters, not bytes
        counted(snows=7),  # the space as a byte
        counted(snows=3),  # one of the two
        counted(snows=8),  # four bytes for each
        counted(short=57),  # start and end forgotten
        counted(short=56),  # the end marker that closes counted as padding, or the start forgotten
        counted(long=-125),  # 75 - 200, not cut
        counted(long=1),  # the end marker counted
        counted(long=30),  # the third of three rows
        counted(snowman=2, spaces=3, date=5, snows=2),  # a tokenizer of words
    ],
    "right": [
        counted(),
        counted(len("snowman") + 1, 1 + 1 + 1, len("31.12.1999"), 2 * len("雪".encode()), 77 - 20 - 2, 0),
        dict(reversed(counted().items())),
        counted(*(np.int64(n) for n in (8, 3, 10, 6, 55, 0))),
        counted(short=75 - 20, long=max(0, 75 - 200)),
        counted(*(int(n) for n in "8 3 10 6 55 0".split())),
    ],
}


# ---- 7.2

N_1, N_2, N_3, u = sympy.symbols("N_1 N_2 N_3 u", positive=True)
N = N_1 + 2 * N_2 + 3 * N_3
hid = 1 - u
share = (N_1 + 2 * N_2 * hid + 3 * N_3 * hid**2) / N

BANK["7.2"] = {
    "wrong": [
        N_1 / N,  # (7.2) itself
        (N_1 + N_2 * hid + N_3 * hid**2) / N,  # different words above, words below
        (N_1 + N_2 * hid + N_3 * hid**2) / (N_1 + N_2 + N_3),  # different words, not words
        (N_1 * hid + 2 * N_2 * hid**2 + 3 * N_3 * hid**3) / N,  # that the word drawn is hidden is known
        (N_1 + 2 * N_2 * u + 3 * N_3 * u**2) / N,  # kept and hidden exchanged
        (N_1 + 2 * N_2 * hid + 3 * N_3 * hid) / N,  # one of the two others is enough
        (N_1 + 2 * N_2 * hid + 3 * N_3 * (1 - u**2)) / N,  # not both are kept
        (N_1 + 2 * N_2 * hid) / N,  # the triples forgotten
        (N_1 + 2 * N_2 * hid + 3 * N_3 * hid**3) / N,  # all three of them
        (N_1 + 2 * N_2 * hid**2 + 3 * N_3 * hid**3) / N,  # one power too many, but not for the single ones
        (N_1 + 2 * N_2 * hid + 3 * N_3 * hid**2) / (N * hid),  # divided by the hidden share once more
        (N_1 + 2 * N_2 * hid + 3 * N_3 * hid**2) / (u * N),  # among the kept ones
        (N_1 + 2 * N_2 * hid + 6 * N_3 * hid**2) / N,  # ordered pairs of the other two
        1 - share,  # seen, not new
        share.subs(u, sympy.Rational(1, 2)),  # for one coin only
        sympy.Rational(11, 24),  # the number of the example
    ],
    "right": [
        share,
        sympy.expand(share),
        sympy.factor(share),
        N_1 / N + 2 * N_2 / N * (1 - u) + 3 * N_3 / N * (1 - u) ** 2,
        1 - (2 * N_2 * u + 3 * N_3 * (1 - hid**2)) / N,  # by what is seen
        hid * (N_1 + 2 * N_2 * hid + 3 * N_3 * hid**2) / (hid * N),  # new and hidden, over hidden
        sum(k * n_k * hid ** (k - 1) for k, n_k in enumerate((N_1, N_2, N_3), 1)) / N,
    ],
}


# ---- 7.3


def places(number=64, before=False, after=False, red=True, house=False):
    return {
        "different vectors": number,
        "before house": before,
        "after house": after,
        "red at 0": red,
        "house at 0": house,
    }


BANK["7.3"] = {
    "wrong": [
        places(number=1),  # only the word's own
        places(number=63),  # those behind red, without its own
        places(number=65),  # the comma forgotten, or the start marker
        places(number=66),  # both forgotten
        places(number=77),  # every vector reads all words
        places(number=2),  # those with words in them, from red on
        places(number=3),  # from red to the end marker, the padding taken to be the same
        places(number=13),  # those that are the same
        places(before=True),  # the colour stands at its own word
        places(after=True),  # the majority decides
        places(before=True, after=True),
        places(red=False),  # the colour stands at its own word
        places(house=True),
        places(before=True, red=False, house=True),  # each word holds itself alone
        places(number=1, before=True, red=False, house=True),  # the same, with its number
        places(True, False, False, True, False),  # a truth for the number
    ],
    "right": [
        places(),
        places(77 - 13),
        dict(reversed(places().items())),
        places(np.int64(64)),
        places(before=1 > 2, red=not False, house=bool(0)),
    ],
}


# ---- 7.4

first_case, second_case = (["sl", "o"], ("l", "o")), (["l", "o", "l", "o"], ("l", "o"))

BANK["7.4"] = {
    "wrong": [
        [second_case, first_case],  # the other order
        [first_case, first_case],  # a space in front of the pair is enough against this
        [second_case, second_case],  # the first short cut reads this rightly
        [(["l", "o", "w."], ("l", "o")), second_case],  # the example: no difference
        [first_case, (["l", "o", "w", "l", "o"], ("l", "o"))],  # the two places share no space
        [first_case, (["a", "a", "a"], ("a", "a"))],  # three give aa a in both ways
        [(["a", "a", "a", "a"], ("a", "a")), (["a", "a", "a", "a"], ("a", "a"))],  # first: no difference
        [(["s", "lo"], ("l", "o")), second_case],  # the pair is joined already
        [(["s l", "o"], ("l", "o")), second_case],  # a symbol with a space in it
        [(["l", "o"], ("l", "")), second_case],  # an empty symbol in the pair
        [(["", "l", "o"], ("l", "o")), second_case],  # an empty symbol in the word
        [("slo", ("l", "o")), ("lolo", ("l", "o"))],  # words instead of lists, in the first no difference
        [first_case],  # one case only
        [(("l", "o"), ["sl", "o"]), (("l", "o"), ["l", "o", "l", "o"])],  # pair first
        [(["sl", "o"], ("sl", "o")), second_case],  # the pair is really there
    ],
    "right": [
        [first_case, second_case],
        (first_case, second_case),  # a tuple
        [(["l", "ow"], ("l", "o")), (["l", "o", "l", "o"], ("l", "o"))],  # the longer symbol is the second
        [(["ba", "a"], ("a", "a")), (["a", "a", "a", "a"], ("a", "a"))],  # a pair of the same symbols
        [(["xy", "z."], ("y", "z.")), (["x", "y", "x", "y"], ("x", "y"))],
        [[["12", "3"], ("2", "3")], [["12", "3", "12", "3"], ("12", "3")]],  # lists for the cases
        [(["tent", "t"], ("t", "t")), (["te", "nt", "te", "nt"], ("te", "nt"))],
    ],
}


# ---- 7.5


def chunks_of(ids, room, comma):
    """As the statement says it."""
    chunks = []
    while len(ids) > room:
        kept = room
        while kept and ids[kept - 1] != comma:
            kept -= 1
        kept = kept or room
        chunks.append(ids[:kept])
        ids = ids[kept:]
    return [*chunks, ids]


def as_rows(bpe, chunks, room):
    return torch.tensor([[bpe.bos, *c, bpe.eos] + [bpe.pad] * (room - len(c)) for c in chunks])


def no_commas(bpe, text):
    ids, room = bpe.encode(text), bpe.max_length - 2
    return as_rows(bpe, [ids[i : i + room] for i in range(0, max(1, len(ids)), room)], room)


def comma_in_the_next_row(bpe, text):
    ids, room, comma, chunks = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0], []
    while len(ids) > room:
        first = ids[:room]
        kept = (room - 1 - first[::-1].index(comma) if comma in first else room) or room
        chunks.append(ids[:kept])  # up to the comma, without it
        ids = ids[kept:]
    return as_rows(bpe, [*chunks, ids], room)


def at_the_first_comma(bpe, text):
    ids, room, comma, chunks = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0], []
    while len(ids) > room:
        first = ids[:room]
        kept = first.index(comma) + 1 if comma in first else room
        chunks.append(ids[:kept])
        ids = ids[kept:]
    return as_rows(bpe, [*chunks, ids], room)


def nothing_for_an_empty_text(bpe, text):
    ids, room, comma = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0]
    chunks = [chunk for chunk in chunks_of(ids, room, comma) if chunk]
    return as_rows(bpe, chunks, room)


def a_full_row_is_cut(bpe, text):
    ids, room, comma, chunks = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0], []
    while len(ids) >= room:  # 75 do fit
        first = ids[:room]
        kept = room - first[::-1].index(comma) if comma in first else room
        chunks.append(ids[:kept])
        ids = ids[kept:]
    return as_rows(bpe, [*chunks, ids], room)


def end_marker_forgotten(bpe, text):
    room = bpe.max_length - 1
    chunks = chunks_of(bpe.encode(text), room, bpe.encode(",")[0])
    return torch.tensor([[bpe.bos, *c] + [bpe.pad] * (room - len(c)) for c in chunks])


def zeros_for_padding(bpe, text):
    room = bpe.max_length - 2
    chunks = chunks_of(bpe.encode(text), room, bpe.encode(",")[0])
    return torch.tensor([[bpe.bos, *c, bpe.eos] + [0] * (room - len(c)) for c in chunks])


def padded_with_the_end(bpe, text):
    room = bpe.max_length - 2
    chunks = chunks_of(bpe.encode(text), room, bpe.encode(",")[0])
    return torch.tensor(
        [[bpe.bos, *c] + [bpe.eos] * (room + 1 - len(c)) for c in chunks]
    )  # pad may be another


def seventy_seven(bpe, text):
    return as_rows(bpe, chunks_of(bpe.encode(text), 75, bpe.encode(",")[0]), 75)  # one length built in


def last_comma_of_all(bpe, text):
    ids, room, comma, chunks = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0], []
    while len(ids) > room:
        last = len(ids) - ids[::-1].index(comma) if comma in ids else room
        kept = min(last, room)  # a comma behind the row hides those within
        chunks.append(ids[:kept])
        ids = ids[kept:]
    return as_rows(bpe, [*chunks, ids], room)


def a_row_for_each_phrase(bpe, text):
    room = bpe.max_length - 2
    phrases = [part + "," for part in text.split(",")]
    return as_rows(bpe, [bpe.encode(phrase)[:room] for phrase in phrases], room)


def only_the_first_row(bpe, text):
    return bpe(text)


def comma_dropped(bpe, text):
    room, comma = bpe.max_length - 2, bpe.encode(",")[0]
    chunks = chunks_of(bpe.encode(text), room, comma)
    for chunk in chunks[:-1]:
        if chunk[-1] == comma:
            chunk.pop()
    return as_rows(bpe, chunks, room)


def the_last_row_cut_too(bpe, text):
    room, comma = bpe.max_length - 2, bpe.encode(",")[0]
    chunks = chunks_of(bpe.encode(text), room, comma)
    last = chunks.pop()
    if comma in last[:-1]:
        kept = len(last) - last[::-1].index(comma)
        chunks += [last[:kept], last[kept:]]
    else:
        chunks.append(last)
    return as_rows(bpe, [chunk for chunk in chunks if chunk or len(chunks) == 1], room)


def floats(bpe, text):
    room = bpe.max_length - 2
    return as_rows(bpe, chunks_of(bpe.encode(text), room, bpe.encode(",")[0]), room).float()


def thirty_two_bits(bpe, text):
    room = bpe.max_length - 2
    return as_rows(bpe, chunks_of(bpe.encode(text), room, bpe.encode(",")[0]), room).int()


def lists(bpe, text):
    room = bpe.max_length - 2
    return as_rows(bpe, chunks_of(bpe.encode(text), room, bpe.encode(",")[0]), room).tolist()


def one_long_row(bpe, text):
    room = bpe.max_length - 2
    return as_rows(bpe, chunks_of(bpe.encode(text), room, bpe.encode(",")[0]), room).flatten()


def end_behind_the_padding(bpe, text):
    room = bpe.max_length - 2
    chunks = chunks_of(bpe.encode(text), room, bpe.encode(",")[0])
    return torch.tensor([[bpe.bos, *c] + [bpe.pad] * (room - len(c)) + [bpe.eos] for c in chunks])


def markers_once(bpe, text):
    room = bpe.max_length - 2
    ids = [bpe.bos, *bpe.encode(text), bpe.eos]  # added before the cut
    chunks = chunks_of(ids, bpe.max_length, bpe.encode(",")[0])
    return torch.tensor([c + [bpe.pad] * (room + 2 - len(c)) for c in chunks])


def rests_lost(bpe, text):
    ids, room, comma = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0]
    chunks = []
    for i in range(0, max(len(ids), 1), room):  # goes on behind the row, not behind the comma
        first = ids[i : i + room]
        kept = room - first[::-1].index(comma) if comma in first and len(ids) - i > room else room
        chunks.append(first[:kept])
    return as_rows(bpe, chunks, room)


def as_told(bpe, text):
    room = bpe.max_length - 2
    return as_rows(bpe, chunks_of(bpe.encode(text), room, bpe.encode(",")[0]), room)


def recursion(bpe, text):
    room, comma = bpe.max_length - 2, bpe.encode(",")[0]

    def cut(ids):
        if len(ids) <= room:
            return [ids]
        at = max((i + 1 for i in range(room) if ids[i] == comma), default=room)
        return [ids[:at], *cut(ids[at:])]

    return as_rows(bpe, cut(bpe.encode(text)), room)


def filled_in(bpe, text):
    room = bpe.max_length - 2
    chunks = chunks_of(bpe.encode(text), room, bpe.encode(",")[0])
    rows = torch.full((len(chunks), bpe.max_length), bpe.pad)
    rows[:, 0] = bpe.bos
    for row, chunk in zip(rows, chunks):
        row[1 : 1 + len(chunk)] = torch.tensor(chunk, dtype=torch.int64)
        row[1 + len(chunk)] = bpe.eos
    return rows


def by_numpy(bpe, text):
    ids, room, comma, rows = (
        np.array(bpe.encode(text), dtype=np.int64),
        bpe.max_length - 2,
        bpe.encode(",")[0],
        [],
    )
    start = 0
    while True:
        piece = ids[start : start + room]
        if len(ids) - start > room and (piece == comma).any():
            piece = piece[: np.flatnonzero(piece == comma)[-1] + 1]
        row = np.concatenate([[bpe.bos], piece, [bpe.eos]])
        rows.append(np.pad(row, (0, bpe.max_length - len(row)), constant_values=bpe.pad))
        start += len(piece)
        if start >= len(ids):
            return torch.from_numpy(np.stack(rows).astype(np.int64))


def one_token_at_a_time(bpe, text):
    ids, room, comma = bpe.encode(text), bpe.max_length - 2, bpe.encode(",")[0]
    chunks, open_row = [], []
    for token in ids:
        if len(open_row) == room:
            at = len(open_row)
            for i, old in enumerate(open_row):
                if old == comma:
                    at = i + 1
            chunks.append(open_row[:at])
            open_row = open_row[at:]
        open_row.append(token)
    return as_rows(bpe, [*chunks, open_row], room)


def stacked(bpe, text):
    rows, ids, length = [], bpe.encode(text), bpe.max_length
    while True:
        kept = min(len(ids), length - 2)
        if len(ids) > kept:
            commas = [i for i, token in enumerate(ids[:kept]) if token == bpe.encode(",")[0]]
            kept = commas[-1] + 1 if commas else kept
        row = [bpe.bos, *ids[:kept], bpe.eos]
        row += (length - len(row)) * [bpe.pad]
        rows.append(torch.tensor(row, dtype=torch.long))
        ids = ids[kept:]
        if not ids:
            return torch.stack(rows, dim=0)


BANK["7.5"] = {
    "wrong": [
        no_commas,
        comma_in_the_next_row,
        at_the_first_comma,
        nothing_for_an_empty_text,
        a_full_row_is_cut,
        end_marker_forgotten,
        zeros_for_padding,
        padded_with_the_end,
        seventy_seven,
        last_comma_of_all,
        a_row_for_each_phrase,
        only_the_first_row,
        comma_dropped,
        the_last_row_cut_too,
        floats,
        thirty_two_bits,
        lists,
        one_long_row,
        end_behind_the_padding,
        markers_once,
        rests_lost,
    ],
    "right": [as_told, recursion, filled_in, by_numpy, one_token_at_a_time, stacked],
}


# ---- 7.6


def quoted(
    dim=8, dim_red=True, quotes=5, quotes_red=True, were=8, were_red=False, hyphen=6, hyphen_red=False
):
    return {
        "'dim red' tokens": dim,
        "'dim red' keeps red": dim_red,
        '"red" tokens': quotes,
        '"red" keeps red': quotes_red,
        "we'red tokens": were,
        "we'red keeps red": were_red,
        "re-d tokens": hyphen,
        "re-d keeps red": hyphen_red,
    }


BANK["7.6"] = {
    "wrong": [
        quoted(dim=6),  # words, not tokens
        quoted(dim=7),  # the contraction taken for one token
        quoted(dim=10),  # start and end counted
        quoted(dim=10, quotes=7, were=10, hyphen=8),  # the same, in all
        quoted(dim=5),  # quotation marks thrown away, dim a token
        quoted(dim_red=False),
        quoted(quotes=3),  # quotation marks thrown away
        quoted(quotes=7),  # red between quotation marks falls into letters
        quoted(quotes_red=False),  # one word, quotation marks and all
        quoted(were=6, were_red=True),  # we|'|red
        quoted(were=5),  # words, not tokens
        quoted(were_red=True),
        quoted(hyphen=4),  # one token a piece of re-d, two letters together
        quoted(hyphen=5),
        quoted(hyphen=3, hyphen_red=True),  # the hyphen is thrown away, and red is there again
        quoted(hyphen_red=True),
        quoted(dim_red=False, quotes_red=False, were_red=True, hyphen_red=True),  # upside down
    ],
    "right": [
        quoted(),
        quoted(
            1 + 2 + 2 + 1 + 1 + 1, True, 1 + 1 + 1 + 1 + 1, True, 1 + 2 + 3 + 1 + 1, False, 1 + 2 + 1 + 1 + 1
        ),
        dict(reversed(quoted().items())),
        quoted(np.int64(8), True, np.int64(5), True, np.int64(8), False, np.int64(6), False),
        quoted(dim_red="red" in "a 'd im red ' house".split(), were_red="red" in "a we 're d house".split()),
    ],
}


# ---- 7.7

GREEDY = [
    ("n", "t"),
    ("e", "nt"),
    ("e", "n"),
    ("en", "t</w>"),
    ("c", "o"),
    ("ent", "s</w>"),
    ("co", "nt"),
    ("cont", "ents</w>"),
    ("i", "nt"),
]
BEST = [
    ("e", "n"),
    ("t", "en"),
    ("ten", "t"),
    ("ten", "t</w>"),
    ("tent", "s</w>"),
    ("c", "o"),
    ("co", "n"),
    ("i", "n"),
    ("con", "tents</w>"),
]

BANK["7.7"] = {
    "wrong": [
        GREEDY,  # 82
        BEST[:8],  # one too few
        [*BEST, ("in", "tent</w>")],  # ten
        [(left, right.replace("</w>", "")) for left, right in BEST],  # the ends of the words not marked
        [(left, right.replace("</w>", ".")) for left, right in BEST],  # the mark of section 7.2
        [left + right for left, right in BEST],  # what is made, not of what
        [(right, left) for left, right in BEST],  # turned round
        [
            ("t", "e"),
            ("te", "n"),
            ("n", "t"),
            ("c", "o"),
            ("co", "n"),
            ("i", "n"),
            ("ten", "t</w>"),
            ("t", "s</w>"),
            ("ten", "ts</w>"),
        ],  # the right stem, but only its short words
        [
            ("e", "n"),
            ("t", "en"),
            ("ten", "t"),
            ("ten", "t</w>"),
            ("tent", "s</w>"),
            ("s", "i"),
            ("a", "t"),
            ("c", "e"),
            ("i", "s"),
        ],  # the last four wasted
        [],  # none at all
        [
            ("e", "n"),
            ("en", "t"),
            ("t", "ent"),
            ("tent", "s</w>"),
            ("en", "t</w>"),
            ("t", "ent</w>"),
            ("o", "n"),
            ("i", "n"),
            ("c", "on"),
        ],  # the stem in the more costly order
    ],
    "right": [
        BEST,
        tuple(BEST),
        [
            ("e", "n"),
            ("t", "en"),
            ("ten", "t"),
            ("tent", "s</w>"),
            ("o", "n"),
            ("c", "on"),
            ("ten", "t</w>"),
            ("con", "tents</w>"),
            ("i", "n"),
        ],  # 68
        [
            ("t", "e"),
            ("te", "n"),
            ("o", "n"),
            ("ten", "t"),
            ("ten", "t</w>"),
            ("c", "on"),
            ("tent", "s</w>"),
            ("i", "n"),
            ("con", "tents</w>"),
        ],  # 69
        [
            ("e", "n"),
            ("t", "en"),
            ("i", "n"),
            ("ten", "t"),
            ("ten", "t</w>"),
            ("tent", "s</w>"),
            ("o", "n"),
            ("c", "on"),
            ("in", "tent</w>"),
        ],  # 69
        [
            ("e", "n"),
            ("t", "en"),
            ("c", "o"),
            ("ten", "t"),
            ("co", "n"),
            ("ten", "t</w>"),
            ("con", "tent"),
            ("i", "n"),
            ("content", "s</w>"),
        ],  # 70, on the mark
        [
            ("e", "n"),
            ("t", "en"),
            ("i", "n"),
            ("ten", "t"),
            ("ten", "t</w>"),
            ("tent", "s</w>"),
            ("o", "n"),
            ("c", "on"),
            ("a", "t"),
        ],  # 70
    ],
}


# ---- 7.8

BANK["7.8"] = {
    "wrong": [
        "a" * 76,  # cut, but long
        "house " * 76,  # tokens, not characters
        "x" * 19,  # 19 characters are 19 tokens
        "😀" * 18,  # 72 tokens
        "😀" * 20,  # cut, but beyond the mark
        "雪" * 19,  # three bytes each: 57
        "雪" * 26,  # cut, but beyond the mark
        "é" * 38,  # two bytes each
        "\U0001d160" * 6,  # 72 tokens
        "İ" * 19,  # becomes two characters, but three bytes
        "ﷺ" * 5,  # eighteen letters, but only if taken apart by NFKC
        " " * 200,  # spaces are cleaned away
        "",  # nothing
        "\ud800" * 19,  # half a character
        ("😀" * 19).encode(),  # bytes, not a text
        7,  # a number
        "😀 " * 10,  # spaces are no tokens: 40
        "👨‍👩‍👧" * 3,  # five characters each, looks like one; 54 tokens
    ],
    "right": [
        "\U0001d160" * 7,
        "😀" * 19,  # on the mark
        "\U0001d15e" * 10,  # a half note: two characters of four bytes
        "\ufb2c" * 13,  # shin with two points: three of two bytes
        "\u0958" * 13,  # Devanagari qa: two of three bytes
        "\U0001d160😀" * 5,  # two kinds
        chr(0x1D161) + chr(0x1D160) * 6,
        "".join(chr(0x1F600 + i) for i in range(19)),  # nineteen different faces
    ],
}


# ---- 7.9

BANK["7.9"] = {
    "wrong": [
        ("tent", [("t", "e"), ("n", "t</w>")]),  # the example
        ("abc", [("a", "b"), ("ab", "c</w>")]),  # in a good order
        ("xyz", [("ab", "c</w>"), ("a", "b")]),  # neither of them is in the word
        ("ab", [("ab", "c</w>"), ("a", "b</w>")]),  # the first has no c to join, nor an ab
        ("abc", [("ab", "c"), ("a", "b")]),  # c is not marked: never the end of the word
        ("abc", [("a", "b")]),  # one merge
        ("abcd", [("ab", "c"), ("a", "b"), ("abc", "d</w>")]),  # three
        ("abc", [("ab", "c</w>"), ("b", "a")]),  # ab is made by nothing
        ("abc", [("b", "c</w>"), ("a", "b")]),  # a conflict, but the lower rank wins in both ways
        ("aaa", [("a", "a"), ("a", "a")]),  # one merge twice
        ("abc", [("a", "bc</w>"), ("ab", "c</w>")]),  # both make the same, of parts that nothing makes
        ([("ab", "c</w>"), ("a", "b")], "abc"),  # the list first
        ("abc", [("a", "b"), ("b", "c</w>")]),  # in order, a b is first in both ways
        ("abc", ["abc</w>", "ab"]),  # what is made, not of what
    ],
    "right": [
        ("abc", [("ab", "c</w>"), ("a", "b")]),
        ["abc", [("ab", "c</w>"), ("a", "b")]],  # a list
        ("abc", (("ab", "c</w>"), ("a", "b"))),  # a tuple of merges
        ("tent", [("te", "n"), ("t", "e")]),
        ("tent", [("e", "nt</w>"), ("n", "t</w>")]),  # from the right
        ("aaaa", [("aa", "a"), ("a", "a")]),
        ("red", [("r", "ed</w>"), ("e", "d</w>")]),
        ("lower", [("lo", "w"), ("l", "o")]),
        ("abab", [("ab", "a"), ("a", "b")]),
        ("xabc", [("xa", "b"), ("x", "a")]),
    ],
}
