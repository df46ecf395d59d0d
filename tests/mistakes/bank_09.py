"""Chapter 9: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math
import random
from collections import Counter

import numpy as np
import sympy
import torch
import torch.nn.functional as F

from minisd.scenes import COLOURS, KINDS

GUESSES = {
    "loss of 64 pairs in two halves": 3.47,
    "pairs to prove 3 nats": 21,
    "tokens of a 32-pixel picture": 5,
    "floor of two pairs at tau 1": 0.127,
    "slope of two pairs exchanged": 0.731,
}


def but(answers, **changes):
    """The answers with one of them changed; the key is given by its first word or words."""
    changed = dict(answers)
    for start, value in changes.items():
        (key,) = [key for key in answers if key.replace(" ", "_").startswith(start)]
        changed[key] = value
    return changed


# 9.2


def sigmoid_by_loop(scores, bias):
    total = 0.0
    for i in range(len(scores)):
        for j in range(len(scores)):
            z = 1.0 if i == j else -1.0
            total = total + F.softplus(-z * (scores[i, j] + bias))
    return total / len(scores)


def sigmoid_by_bce(scores, bias):
    labels = torch.eye(len(scores))
    return F.binary_cross_entropy_with_logits(scores + bias, labels, reduction="none").sum(dim=1).mean()


def unsigned(scores, bias):
    return F.softplus(-(scores + bias)).sum() / len(scores)


def bias_on_diagonal(scores, bias):
    fits = 2 * torch.eye(len(scores)) - 1
    return F.softplus(-fits * (scores + bias * torch.eye(len(scores)))).sum() / len(scores)


def mean_of_everything(scores, bias):
    labels = torch.eye(len(scores))
    return F.binary_cross_entropy_with_logits(scores + bias, labels)


def only_diagonal(scores, bias):
    return F.softplus(-(scores.diagonal() + bias)).mean()


def softmaxes(scores, bias):
    right = torch.arange(len(scores))
    return (F.cross_entropy(scores + bias, right) + F.cross_entropy(scores.T + bias, right)) / 2


def logs_of_rounded(scores, bias):
    fits = 2 * torch.eye(len(scores)) - 1
    return -torch.log(torch.sigmoid(fits * (scores + bias))).sum() / len(scores)


def bias_subtracted(scores, bias):
    return F.binary_cross_entropy_with_logits(scores - bias, torch.eye(len(scores)), reduction="sum") / len(
        scores
    )


def bias_behind_the_sign(scores, bias):
    fits = 2 * torch.eye(len(scores)) - 1
    return F.softplus(-(fits * scores + bias)).sum() / len(scores)


def no_bias(scores, bias):
    return F.binary_cross_entropy_with_logits(scores, torch.eye(len(scores)), reduction="sum") / len(scores)


def yes_for_no(scores, bias):
    wanted = 1 - torch.eye(len(scores))
    return F.binary_cross_entropy_with_logits(scores + bias, wanted, reduction="sum") / len(scores)


def zeros_beside(scores, bias):
    return F.softplus(-(scores + bias) * torch.eye(len(scores))).sum() / len(scores)


def no_logarithm(scores, bias):
    fits = 2 * torch.eye(len(scores)) - 1
    return -(1 / (1 + torch.exp(-fits * (scores + bias)))).sum() / len(scores)


def above_the_diagonal(scores, bias):
    costs = F.softplus(-(2 * torch.eye(len(scores)) - 1) * (scores + bias))
    return torch.triu(costs).sum() / len(scores)


# 9.3 and 9.4

N, tau, K, q = sympy.symbols("N tau K q", positive=True)
open_before, slips = sympy.log(K), q * sympy.log(q / (K - 1))


def floor_of(cosine):
    return cosine, sympy.log(1 + (N - 1) * sympy.exp((cosine - 1) / tau))


CORNERS = -1 / (N - 1)
HIGHEST = sympy.exp(CORNERS / tau - 1 / tau)  # of a wrong caption, over the right one's


def with_floor(floor):
    return CORNERS, floor


# 9.5


def by_loop(hidden, ids, end):
    found = []
    for row, numbers in zip(hidden, ids.tolist()):
        found.append(row[numbers.index(end)])
    return torch.stack(found)


def by_where(hidden, ids, end):
    places = torch.arange(ids.shape[1])
    first = torch.where(ids == end, places, ids.shape[1]).min(dim=1).values
    return hidden[torch.arange(len(ids)), first]


def last_end(hidden, ids, end):
    places = torch.arange(ids.shape[1])
    last = torch.where(ids == end, places, -1).max(dim=1).values
    return hidden[torch.arange(len(ids)), last]


def first_column(hidden, ids, end):
    return hidden[:, 0, :]


def one_before(hidden, ids, end):
    return torch.stack([row[numbers.index(end) - 1] for row, numbers in zip(hidden, ids.tolist())])


def of_the_highest(hidden, ids, end):
    return torch.stack([row[int((numbers == ids.max()).int().argmax())] for row, numbers in zip(hidden, ids)])


def not_below_the_end(hidden, ids, end):
    return torch.stack([row[int((numbers >= end).nonzero()[0])] for row, numbers in zip(hidden, ids)])


def one_behind(hidden, ids, end):
    places = [min(numbers.index(end) + 1, len(numbers) - 1) for numbers in ids.tolist()]
    return torch.stack([row[place] for row, place in zip(hidden, places)])


def mean_over_ends(hidden, ids, end):
    return torch.stack([row[numbers == end].mean(dim=0) for row, numbers in zip(hidden, ids)])


def next_number_hidden(hidden, ids, end):
    ids = ids.masked_fill(ids == end + 1, 0)
    return torch.stack([row[int(numbers.argmax())] for row, numbers in zip(hidden, ids)])


def up_to_the_new_word(hidden, ids, end):
    found = []
    for row, numbers in zip(hidden, ids.tolist()):
        new = next((k for k, number in enumerate(numbers) if number > end), len(numbers))
        found.append(row[max(range(new), key=lambda k: numbers[k])])
    return torch.stack(found)


# 9.6


HABITS = np.random.default_rng(97).dirichlet(np.ones(8), size=8)


def collection():
    """3,000 sentences drawn as the exercise's cell draws them, with another seed."""
    rng, texts = np.random.default_rng(5), []
    for _ in range(3000):
        kinds = rng.choice(8, 2, replace=False)
        texts.append([(COLOURS[rng.choice(8, p=HABITS[kind])], KINDS[kind]) for kind in kinds])
    return texts


SEEN = Counter(pair for pairs in collection() for pair in pairs)


def parts_of(text):
    return [tuple(part.split()[1:]) for part in text.split(" left of ")]


def by_product(first, second):
    return int(np.argmax([math.prod(SEEN[pair] for pair in parts_of(text)) for text in (first, second)]))


def by_logarithms(first, second):
    gain = [sum(math.log(SEEN[pair] + 1) for pair in parts_of(text)) for text in (first, second)]
    return int(gain[1] > gain[0])


def by_sum(first, second):
    return int(np.argmax([sum(SEEN[pair] for pair in parts_of(text)) for text in (first, second)]))


def first_thing(first, second):
    return int(SEEN[parts_of(second)[0]] > SEEN[parts_of(first)[0]])


def exactly(text):
    return [HABITS[KINDS.index(kind), COLOURS.index(colour)] for colour, kind in parts_of(text)]


def first_thing_exactly(first, second):
    return int(exactly(second)[0] > exactly(first)[0])


def sum_exactly(first, second):
    return int(np.argmax([sum(exactly(text)) for text in (first, second)]))


def met_or_not(first, second):
    unmet = [sum(pair not in SEEN for pair in parts_of(text)) for text in (first, second)]
    return random.Random(first).randrange(2) if unmet[0] == unmet[1] else int(unmet[1] < unmet[0])


def contrary(first, second):
    return 1 - by_product(first, second)


def longer_word(first, second):
    return int(first.split()[1] < second.split()[1])


# 9.7

SAME = {
    "a red house | a red car": 3,
    "a red house | a red house at night": 4,
    "a red house | a big red house": 2,
    "75 words, the last one other": 75,
    "80 words, the last one other": 77,
}


def same_but(number, value):
    return {key: value if i == number else right for i, (key, right) in enumerate(SAME.items())}


# 9.8


def antiprism(height=0.5675, turn=math.pi / 4):
    radius = math.sqrt(1 - height**2)
    points = []
    for layer, z in enumerate((height, -height)):
        for k in range(4):
            angle = k * math.pi / 2 + layer * turn
            points.append((radius * math.cos(angle), radius * math.sin(angle), z))
    return torch.tensor(points)


def cube_again():
    return antiprism(1 / math.sqrt(3), 0.0)


def pushed():
    torch.manual_seed(5)
    points = F.normalize(torch.randn(8, 3), dim=1)
    for _ in range(2000):
        gaps = points[:, None] - points[None]
        push = (gaps / (gaps.norm(dim=-1, keepdim=True) ** 3 + 1e-9)).sum(dim=1)
        points = F.normalize(points + 0.01 * push, dim=1)
    return points


def ring():
    angles = torch.arange(8) * math.pi / 4
    return torch.stack([angles.cos(), angles.sin(), torch.zeros(8)], dim=1)


def wide_of_the_sphere():
    return 2 * antiprism()


def seven():
    return antiprism()[:7]


# 9.9


def from_beliefs(beliefs, u, w, scale):
    return scale * (beliefs - 2 * torch.eye(len(u))) @ w / (2 * len(u))


def whole_table(u, w, scale, chunk):
    scores = scale * u @ w.T
    return from_beliefs(scores.softmax(dim=1) + scores.softmax(dim=0), u, w, scale)


def two_rounds(u, w, scale, chunk):
    n, largest = len(u), scale  # no score of unit vectors is larger
    sums = torch.zeros(n, dtype=torch.double)
    for start in range(0, n, chunk):
        sums += (scale * u[start : start + chunk] @ w.T - largest).double().exp().sum(dim=0)
    found = []
    for start in range(0, n, chunk):
        scores = scale * u[start : start + chunk] @ w.T
        columns = ((scores - largest).double().exp() / sums).float()
        own = w[start : start + chunk]
        found.append(scale * ((scores.softmax(dim=1) + columns) @ w - 2 * own) / (2 * n))
    return torch.cat(found)


def gradient_by_parts(u, w, scale, chunk):
    sums = torch.full((len(w),), -1e30)
    for part in u.split(chunk):
        sums = torch.logaddexp(sums, (scale * part @ w.T).logsumexp(dim=0))
    result = torch.empty_like(u)
    for start in range(0, len(u), chunk):
        here = slice(start, start + chunk)
        table = scale * u[here] @ w.T
        result[here] = (table.softmax(dim=1) + (table - sums).exp()) @ w - 2 * w[here]
    return scale * result / (2 * len(u))


def small_games(u, w, scale, chunk):
    found = []
    for start in range(0, len(u), chunk):
        a, b = u[start : start + chunk], w[start : start + chunk]
        found.append(whole_table(a, b, scale, chunk) * len(a) / len(u))
    return torch.cat(found)


def pictures_alone(u, w, scale, chunk):
    rows = (scale * u @ w.T).softmax(dim=1)
    return scale * (rows - torch.eye(len(u))) @ w / len(u)


def columns_cut(u, w, scale, chunk):
    beliefs = (scale * u @ w.T).softmax(dim=1)
    for start in range(0, len(u), chunk):
        part = slice(start, start + chunk)
        beliefs[part, part] += (scale * u[part] @ w[part].T).softmax(dim=0)
    return from_beliefs(beliefs, u, w, scale)


def of_scores(u, w, scale, chunk):
    return whole_table(u, w, scale, chunk) / scale


def no_pull(u, w, scale, chunk):
    scores = scale * u @ w.T
    return scale * (scores.softmax(dim=1) + scores.softmax(dim=0)) @ w / (2 * len(u))


def pulled_once(u, w, scale, chunk):
    scores = scale * u @ w.T
    beliefs = scores.softmax(dim=1) + scores.softmax(dim=0) - torch.eye(len(u))
    return scale * beliefs @ w / (2 * len(u))


def captions_alone(u, w, scale, chunk):
    columns = (scale * u @ w.T).softmax(dim=0)
    return scale * (columns - torch.eye(len(u))) @ w / len(u)


def by_the_captions(u, w, scale, chunk):
    return whole_table(w, u, scale, chunk)


def along_pictures(u, w, scale, chunk):
    scores = scale * u @ w.T
    return from_beliefs(scores.softmax(dim=1) + scores.softmax(dim=0), u, u, scale)


def over_the_chunk(u, w, scale, chunk):
    return whole_table(u, w, scale, chunk) * len(u) / chunk


def whole_chunks_alone(u, w, scale, chunk):
    gradient = whole_table(u, w, scale, chunk)
    gradient[len(u) - len(u) % chunk :] = 0
    return gradient


def only_the_last(u, w, scale, chunk):
    return whole_table(u, w, scale, chunk)[(len(u) - 1) // chunk * chunk :]


def chunks_in_a_list(u, w, scale, chunk):
    scores = [scale * part @ w.T for part in u.split(chunk)]
    sums = torch.stack([table.logsumexp(dim=0) for table in scores]).logsumexp(dim=0)
    beliefs = [table.softmax(dim=1) + (table - sums).exp() for table in scores]
    own = [scale * (push @ w - 2 * w[k * chunk :][: len(push)]) for k, push in enumerate(beliefs)]
    return torch.cat(own) / (2 * len(u))


def own_from_zero(u, w, scale, chunk):
    scores = scale * u @ w.T
    beliefs = scores.softmax(dim=1) + scores.softmax(dim=0)
    for i in range(len(u)):
        beliefs[i, i % chunk] -= 2
    return scale * beliefs @ w / (2 * len(u))


BANK = {
    "9.1": {
        "wrong": [
            (but(GUESSES, loss=5.0), "base 2"),
            (but(GUESSES, loss=6.93), "mean of the two ways"),
            (but(GUESSES, loss=4.16), "nothing is ruled out"),
            (but(GUESSES, pairs=8), "Which base"),
            (but(GUESSES, pairs=20), "the logarithm of 20"),
            (but(GUESSES, floor=0.135), "a little too large"),
            (but(GUESSES, floor=0.239), "How many wrong captions"),
            (but(GUESSES, floor=0.254), "Rows and columns have the same floor"),
            (but(GUESSES, floor=0.693), "knows nothing"),
            (but(GUESSES, floor=0.881), "the right caption. The loss is minus its"),
            (but(GUESSES, loss=0.693), "not to know the half"),
            (but(GUESSES, loss=1.505), "base 10"),
            (but(GUESSES, pairs=1000), "A thousand"),
            (but(GUESSES, pairs=22), "One pair fewer"),
            (but(GUESSES, tokens=2), "two sides"),
            (but(GUESSES, tokens=1025), "pixels"),
            (but(GUESSES, slope=-0.731), "below (9.11)"),
            (but(GUESSES, slope=-0.269), "before their captions"),
            (but(GUESSES, slope=0.269), "the higher or the lower"),
            (but(GUESSES, slope=0.0), "as it believes"),
            (but(GUESSES, slope=1.462), "mean over the N pairs"),
            (but(GUESSES, tokens=3), "two directions"),
            (but(GUESSES, floor=0.0), "cannot be confident"),
            (but(GUESSES, floor=0.313), "cosine of 1 and one of -1"),
            (but(GUESSES, tokens=4), "Who stands in front"),
        ],
        "right": [GUESSES, but(GUESSES, loss=math.log(32), floor=math.log(1 + math.exp(-2)))],
    },
    "9.2": {
        "wrong": [
            (unsigned, "another's caption"),
            (bias_on_diagonal, "every score"),
            (mean_of_everything, "number of pictures"),
            (only_diagonal, "being the same"),
            (softmaxes, "question of its own"),
            (logs_of_rounded, "150"),
            (bias_subtracted, "take it away"),
            (bias_behind_the_sign, "the bias too"),
            (no_bias, "Where is the bias"),
            (yes_for_no, "should say no"),
            (zeros_beside, "cost ln 2"),
            (no_logarithm, "Where is the logarithm"),
            (above_the_diagonal, "half of the table"),
        ],
        "right": [sigmoid_by_loop, sigmoid_by_bce],
    },
    "9.3": {
        "wrong": [
            (floor_of(sympy.Integer(-1)), "(9.10)"),
            (floor_of(sympy.Integer(0)), "cosine of 0"),
            (floor_of(-1 / N), "Count again"),
            (floor_of(1 / (N - 1)), "above or below"),
            (floor_of(-2 / (N - 1)), "stands twice"),
            (floor_of(-1 / (N - 1) ** 2), "How many products"),
            (with_floor(sympy.log(1 + (N - 1) * sympy.exp(-N * tau / (N - 1)))), "over the temperature"),
            (with_floor(sympy.log(1 + (N - 1) * sympy.exp(-N / (N - 1)))), "depends on the temperature"),
            (with_floor(sympy.log(1 + (N - 1) * sympy.exp(CORNERS / tau))), "right pair's own cosine"),
            (with_floor(sympy.log(1 + (N - 1) / HIGHEST)), "exponent's sign"),
            (with_floor(sympy.log(1 + N * HIGHEST)), "How many wrong captions"),
            (with_floor(sympy.log(1 + HIGHEST)), "more than one"),
            (with_floor(sympy.log((N - 1) * HIGHEST)), "holds the right pair"),
            (with_floor(2 * sympy.log(1 + (N - 1) * HIGHEST)), "takes their mean"),
            (with_floor(sympy.log(1 + (N - 1) * HIGHEST) / N), "all alike"),
            (with_floor(sympy.log(1 / (1 + (N - 1) * HIGHEST))), "minus the logarithm of"),
            (with_floor(1 / (1 + (N - 1) * HIGHEST)), "You give the probability"),
            (tuple(reversed(floor_of(CORNERS))), "First the cosine"),
        ],
        "right": [
            floor_of(CORNERS),
            with_floor(sympy.log(sympy.exp(N / (N - 1) / tau) + N - 1) - N / (N - 1) / tau),
        ],
    },
    "9.4": {
        "wrong": [
            (open_before + (1 - q) * sympy.log(1 - q) + q * sympy.log(q), "which of the other"),
            ((1 - q) * open_before, "no information"),
            (open_before + (1 - q) * sympy.log(1 - q) + q * sympy.log(q / K), "Among how many"),
            (sympy.log(K * (1 - q)), "mean over all pairs"),
            (-(1 - q) * sympy.log(1 - q) - slips, "open before"),
        ],
        "right": [
            open_before + (1 - q) * sympy.log(1 - q) + slips,
            (1 - q) * sympy.log(K * (1 - q)) + q * sympy.log(K * q / (K - 1)),
        ],
    },
    "9.5": {
        "wrong": [
            (last_end, "read the sentence and no padding"),
            (first_column, "nothing but itself"),
            (one_before, "last word"),
            (of_the_highest, "highest id in the batch"),
            (not_below_the_end, "the first new word: its number"),
            (one_behind, "one place too far"),
            (mean_over_ends, "mix in"),
            (next_number_hidden, "taught tomorrow"),
            (up_to_the_new_word, "no further"),
        ],
        "right": [by_loop, by_where],
    },
    "9.6": {
        "wrong": [
            (contrary, "less probable sentence"),
            (longer_word, "A coin does about as well"),
            (met_or_not, "it matters how often"),
            (first_thing, "both things"),
            (by_sum, "put the counts together"),
            (first_thing_exactly, "one of the two things"),
            (sum_exactly, "both have their colours"),
            (lambda first, second: first, "0 or 1"),
            (lambda first, second: None, "it gave None"),
        ],
        "right": [by_product, by_logarithms],
    },
    "9.7": {
        "wrong": [
            (same_but(0, 76), "Who reads it"),
            (same_but(0, 2), "before the first word"),
            (same_but(1, 75), "all that follows"),
            (
                {**SAME, "a red house | a red car": 0, "a red house | a red house at night": 0},
                "hides what comes",
            ),
            (
                {**SAME, "a red house | a red car": 74, "a red house | a red house at night": 73},
                "that change",
            ),
            (same_but(0, 0), "read the last word?"),
            (same_but(0, 4), "third word is another"),
            (same_but(0, 75), "behind the changed word"),
            (same_but(1, 3), "stands before them"),
            (same_but(1, 5), "the word at"),
            (same_but(2, 1), "not the only thing"),
            (same_but(2, 3), "The word red stands"),
            (same_but(2, 4), "they have moved"),
            (same_but(3, 77), "nothing is cut"),
            (same_but(3, 74), "One token more"),
            (same_but(4, 75), "eightieth"),
            (same_but(4, 79), "77 tokens"),
            (same_but(2, 76), "another place"),
            (same_but(3, 76), "no padding left"),
            (same_but(4, 76), "have room"),
        ],
        "right": [SAME, {key: float(value) for key, value in SAME.items()}],
    },
    "9.8": {
        "wrong": [
            (cube_again, "Turn one face"),
            (ring, "push each other"),
            (wide_of_the_sphere, "length 1"),
            (seven, "eight points"),
        ],
        "right": [antiprism, pushed],
    },
    "9.9": {
        "wrong": [
            (small_games, "game of its own"),
            (pictures_alone, "find their pictures"),
            (columns_cut, "stops at the chunk"),
            (of_scores, "times a cosine"),
            (no_pull, "nothing pulled"),
            (own_from_zero, "In the next one"),
            (pulled_once, "in a row and in a column"),
            (captions_alone, "find their captions, too"),
            (by_the_captions, "with respect to w"),
            (along_pictures, "along captions"),
            (over_the_chunk, "all N pairs, not"),
            (whole_chunks_alone, "get nothing"),
            (only_the_last, "last chunk's gradient"),
            (chunks_in_a_list, "numbers at once"),
        ],
        "right": [two_rounds, gradient_by_parts],
    },
}
