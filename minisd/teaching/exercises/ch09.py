"""The checks of chapter 9: CLIP. It spoils the exercises to read this first."""

import functools
import math
import weakref
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minisd import StableDiffusion
from minisd.clip import contrastive_loss
from minisd.scenes import COLOURS, KINDS

from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken, Verdict
from ..progress import RIGHT
from ..running import called, copied

# 9.1


def measured():
    perfect = 2 * torch.eye(2, dtype=torch.double) - 1
    halves = torch.block_diag(torch.ones(32, 32), torch.ones(32, 32))
    exchanged = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # the right pairs have score 0, the wrong ones 1
    return {
        "loss of 64 pairs in two halves": float(contrastive_loss(50 * halves)),
        "pairs to prove 3 nats": float(next(n for n in range(1, 1000) if math.log(n) >= 3)),
        "tokens of a 32-pixel picture": float((32 // 16) ** 2 + 1),
        "floor of two pairs at tau 1": float(contrastive_loss(perfect)),
        "slope of two pairs exchanged": float((exchanged.softmax(dim=1) * exchanged).sum() / 2),
    }


# 9.2


def sigmoid_loss(scores, bias):
    fits = 2 * torch.eye(len(scores), dtype=scores.dtype) - 1
    return -F.logsigmoid(fits * (scores + bias)).sum() / len(scores)


def tables(rng):
    found = []
    for n, size, bias in ((4, 1.0, -2.0), (1, 1.0, 0.5), (7, 3.0, -10.0), (5, 150.0, 3.0), (6, 1.0, 0.0)):
        found.append((size * torch.randn(n, n, generator=rng), bias))
    return found


def without_sign(scores, bias):
    return -F.logsigmoid(scores + bias).sum() / len(scores)


def bias_for_the_right(scores, bias):
    eye = torch.eye(len(scores))
    return -F.logsigmoid((2 * eye - 1) * (scores + bias * eye)).sum() / len(scores)


def over_all_pairs(scores, bias):
    return sigmoid_loss(scores, bias) / len(scores)


def right_pairs_alone(scores, bias):
    return -F.logsigmoid(scores.diagonal() + bias).mean()


def softmax_loss(scores, bias):
    return contrastive_loss(scores + bias)


def bias_taken_away(scores, bias):
    return sigmoid_loss(scores, -bias)


def bias_not_turned(scores, bias):
    fits = 2 * torch.eye(len(scores)) - 1
    return -F.logsigmoid(fits * scores + bias).sum() / len(scores)


def without_bias(scores, bias):
    return sigmoid_loss(scores, 0.0)


def answers_exchanged(scores, bias):
    return sigmoid_loss(-scores, -bias)


def zero_for_wrong(scores, bias):
    return -F.logsigmoid(torch.eye(len(scores)) * (scores + bias)).sum() / len(scores)


def probabilities(scores, bias):
    fits = 2 * torch.eye(len(scores)) - 1
    return -torch.sigmoid(fits * (scores + bias)).sum() / len(scores)


def upper_half(scores, bias):
    fits = 2 * torch.eye(len(scores)) - 1
    return -F.logsigmoid(fits * (scores + bias)).triu().sum() / len(scores)


def with_log_of_sigmoid(scores, bias):
    fits = 2 * torch.eye(len(scores)) - 1
    return -(fits * (scores + bias)).sigmoid().log().sum() / len(scores)


# 9.3


def corners(N, tau, cosine):
    """The cosine, and the loss if every wrong pair has it."""
    return cosine, math.log(1 + (N - 1) * math.exp((cosine - 1) / tau))


# 9.5


def sentence_vector(hidden, ids, end):
    place = (ids == end).int().argmax(dim=-1)
    return hidden[torch.arange(len(ids)), place]


def by_the_highest_id(hidden, ids, end):
    return hidden[torch.arange(len(ids)), ids.argmax(dim=-1)]


def at_the_last_end(hidden, ids, end):
    place = ids.shape[1] - 1 - (ids == end).flip(-1).int().argmax(dim=-1)
    return hidden[torch.arange(len(ids)), place]


def before_the_end(hidden, ids, end):
    place = (ids == end).int().argmax(dim=-1) - 1
    return hidden[torch.arange(len(ids)), place]


def at_the_first_high_number(hidden, ids, end):
    return hidden[torch.arange(len(ids)), (ids >= end).int().argmax(dim=-1)]


def behind_the_end(hidden, ids, end):
    place = (ids == end).int().argmax(dim=-1) + 1
    return hidden[torch.arange(len(ids)), place.clamp(max=ids.shape[1] - 1)]


def mean_of_the_ends(hidden, ids, end):
    at = (ids == end).float()[:, :, None]
    return (hidden * at).sum(dim=1) / at.sum(dim=1)


def one_new_word(hidden, ids, end):
    return by_the_highest_id(hidden, ids.where(ids != end + 1, 0), end)


def before_the_new_word(hidden, ids, end):
    known = (ids <= end).int().cumprod(dim=-1) * ids
    return hidden[torch.arange(len(ids)), known.argmax(dim=-1)]


def sentences(rng):
    """Ids of sentences, with new words, without, cut at the end of the row, and an empty one."""
    found = []
    for end, new, tokens in ((20, 3, 12), (20, 0, 9), (99, 5, 77), (7, 2, 6)):
        ids = torch.full((5, tokens), end)
        ids[:, 0] = end - 1
        for row, length in enumerate(torch.randint(1, tokens - 1, (5,), generator=rng).tolist()):
            words = torch.randint(0, end - 1, (length,), generator=rng)
            if new:
                words[torch.randint(length, (1,), generator=rng)] = end + 1 + row % new
            ids[row, 1 : 1 + length] = words
        ids[0, 1:-1] = 1  # a full row: the end token is the last
        if new:
            ids[0, 1] = end + 1
            ids[0, 3] = end + 2  # a second new word, with a higher number, behind a known one
        ids[1, 1:] = end  # nothing between start and end
        found.append((torch.randn(5, tokens, 4, generator=rng), ids, end))
    return found


# 9.6


def described(rng, habits):
    """A sentence about two things: habits[k, c] is how often a thing of kind k has the colour c."""
    kinds = rng.choice(8, 2, replace=False)
    colours = [COLOURS[rng.choice(8, p=habits[k])] for k in kinds]
    phrases = [
        f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {KINDS[k]}" for colour, k in zip(colours, kinds)
    ]
    return " left of ".join(phrases)


def pairs_said(text):
    words = text.split()
    return [(words[1], words[2]), (words[6], words[7])]


def colours_exchanged(text):
    (one, kind), (other, other_kind) = pairs_said(text)
    one, other = (f"{'an' if colour[0] in 'aeiou' else 'a'} {colour}" for colour in (one, other))
    return f"{other} {kind} left of {one} {other_kind}"


@functools.cache
def habits_there():
    """The collection of the exercise; its cell draws the same."""
    return np.random.default_rng(97).dirichlet(np.ones(8), size=8)


@functools.cache
def blind_games():
    """Two sentences, a true one and the same with the colours swapped, and the place of the true one."""
    rng = np.random.default_rng(96)
    found: list[tuple[str, str, int]] = []
    while len(found) < 3000:
        true = described(rng, habits_there())
        wrong = colours_exchanged(true)
        if true != wrong:
            found.append((true, wrong, 0) if rng.random() < 0.5 else (wrong, true, 1))
    return found


def share_won(blind):
    won = 0
    for first, second, right in blind_games():
        answer = blind(first, second)
        if answer not in (0, 1):
            raise RuleBroken(f"blind should give 0 or 1, it gave {answer!r:.40}")
        won += int(answer) == right
    return won / len(blind_games())


def chances(text):
    """How often each of the two things has its colour."""
    return [habits_there()[KINDS.index(kind), COLOURS.index(colour)] for colour, kind in pairs_said(text)]


def by_habit(first, second):
    return int(math.prod(chances(second)) > math.prod(chances(first)))


def by_the_first_thing(first, second):
    return int(chances(second)[0] > chances(first)[0])


def by_the_sum(first, second):
    return int(sum(chances(second)) > sum(chances(first)))


# 9.7

PAIRS = {
    "a red house | a red car": ("a red house", "a red car"),
    "a red house | a red house at night": ("a red house", "a red house at night"),
    "a red house | a big red house": ("a red house", "a big red house"),
    "75 words, the last one other": ("house " * 75, "house " * 74 + "tent"),
    "80 words, the last one other": ("house " * 80, "house " * 79 + "tent"),
}


@functools.cache
def unchanged():
    pipe = StableDiffusion.from_pretrained("tiny")
    counts = {}
    for name, texts in PAIRS.items():
        with torch.no_grad():
            first, second = pipe.text_encoder(pipe.tokenizer(list(texts)))
        counts[name] = float((first == second).all(dim=-1).sum())
    return counts


# 9.8

TAU = 0.5


def loss_of_points(points):
    if not isinstance(points, torch.Tensor) or points.shape != (8, 3):
        raise RuleBroken("spread should give a tensor of shape (8, 3): eight points in space")
    if (points.norm(dim=1) - 1).abs().max() > 1e-3:
        raise RuleBroken("the points should lie on the sphere: give each of the eight vectors length 1")
    points = F.normalize(points.double(), dim=1)
    return float(contrastive_loss(points @ points.T / TAU))


def score_of(spread):
    return loss_of_points(spread())


def cube():
    corners = torch.tensor([(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    return corners / 3**0.5


def at_random():
    return F.normalize(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), dim=1)


@functools.cache
def descended():
    free = torch.randn(8, 3, generator=torch.Generator().manual_seed(1), dtype=torch.double).requires_grad_()
    optimiser = torch.optim.Adam([free], lr=0.05)
    for _ in range(400):
        points = F.normalize(free, dim=1)
        loss = contrastive_loss(points @ points.T / TAU)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return F.normalize(free.detach(), dim=1)


# 9.9


def little_memory(u, w, scale, chunk):
    """The gradient with respect to u, `chunk` rows of scores at a time."""
    n = len(u)
    column_sums = torch.full((n,), float("-inf"), dtype=u.dtype)  # ln of each column's sum so far
    for part in chunks_of(n, chunk):
        column_sums = torch.logaddexp(column_sums, (scale * u[part] @ w.T).logsumexp(dim=0))
    pieces = []
    for part in chunks_of(n, chunk):
        scores = scale * u[part] @ w.T
        push = scores.softmax(dim=1) + (scores - column_sums).exp()
        push.diagonal(part.start).sub_(2)
        pieces.append(scale * push @ w / (2 * n))
    return torch.cat(pieces)


def parts(rng):
    found = []
    for n, width, scale, chunk in (
        (8, 5, 4.0, 4),
        (7, 3, 10.0, 3),
        (5, 4, 100.0, 2),
        (6, 4, 1.0, 6),
        (4, 2, 14.0, 1),
    ):
        u, w = (F.normalize(torch.randn(n, width, generator=rng), dim=1) for _ in range(2))
        found.append((u, w, scale, chunk))
    return found


class Memory(TorchDispatchMode):
    """`most`: so many numbers were in the memory at once, of all tensors that were made meanwhile."""

    def __init__(self):
        super().__init__()
        self.alive, self.most = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.alive = [ref for ref in self.alive if ref() is not None] + [weakref.ref(one) for one in made]
        sizes = {}  # of each storage once: a view needs no memory of its own
        for one in [one for ref in self.alive if (one := ref()) is not None]:
            storage = one.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes() / one.element_size()
        self.most = max(self.most, sum(sizes.values()))
        return result


@dataclass(frozen=True, kw_only=True)
class BuildInLittleMemory(Build):
    """A function whose result may be right, and its tables too large."""

    def compared(self, answer, cases):
        verdict = super().compared(answer, cases)
        return self.with_memory(answer) if verdict.result == RIGHT else verdict

    def with_memory(self, answer) -> Verdict:
        n, chunk, rng = 240, 8, torch.Generator().manual_seed(0)
        u, w = (F.normalize(torch.randn(n, 4, generator=rng), dim=1) for _ in range(2))
        with Memory() as memory:
            called(answer, copied((u, w, 5.0, chunk)))
        if memory.most < n * n / 3:  # several tables of a chunk, each n * n / 30
            return self.right_one()
        return self.wrong(
            f"The gradient is right, but with {n} pairs and chunks of {chunk} your code held "
            f"{memory.most:,.0f} numbers at once. The whole table has {n * n:,}, and a chunk's {chunk * n:,}."
        )


def chunks_of(n, chunk):
    return [slice(start, min(start + chunk, n)) for start in range(0, n, chunk)]


def gradient_of(loss):
    """The gradient of `loss(u, w, scale, chunk)` with respect to u."""

    def gradient(u, w, scale, chunk):
        u = u.detach().requires_grad_()
        return torch.autograd.grad(loss(u, w, scale, chunk), u)[0]

    return gradient


@gradient_of
def neighbours_alone(u, w, scale, chunk):
    losses = [
        contrastive_loss(scale * u[part] @ w[part].T) * len(u[part]) for part in chunks_of(len(u), chunk)
    ]
    return torch.stack(losses).sum() / len(u)


@gradient_of
def rows_alone(u, w, scale, chunk):
    return F.cross_entropy(scale * u @ w.T, torch.arange(len(u)))


@gradient_of
def columns_of_a_chunk(u, w, scale, chunk):
    total = torch.zeros(())
    for part in chunks_of(len(u), chunk):
        scores = scale * u[part] @ w.T
        own = scale * (u[part] * w[part]).sum()
        total = total + (scores.logsumexp(1).sum() - own) + (scores[:, part].logsumexp(0).sum() - own)
    return total / (2 * len(u))


def without_scale(u, w, scale, chunk):
    return little_memory(u, w, scale, chunk) / scale


def without_pull(u, w, scale, chunk):
    return little_memory(u, w, scale, chunk) + scale * w / len(u)


def pull_of_one(u, w, scale, chunk):
    return little_memory(u, w, scale, chunk) + scale * w / (2 * len(u))


def columns_alone(u, w, scale, chunk):
    return 2 * little_memory(u, w, scale, chunk) - rows_alone(u, w, scale, chunk)


def of_the_captions(u, w, scale, chunk):
    return little_memory(w, u, scale, chunk)


def pushed_by_pictures(u, w, scale, chunk):
    scores = scale * u @ w.T
    return scale * (scores.softmax(dim=1) + scores.softmax(dim=0) - 2 * torch.eye(len(u))) @ u / (2 * len(u))


def by_the_chunk(u, w, scale, chunk):
    return little_memory(u, w, scale, chunk) * len(u) / chunk


def in_steps_of_the_chunk(u, w, scale, chunk):
    whole = len(u) // chunk * chunk
    gradient = little_memory(u, w, scale, chunk)
    gradient[whole:] = 0
    return gradient


def last_chunk(u, w, scale, chunk):
    return little_memory(u, w, scale, chunk)[chunks_of(len(u), chunk)[-1]]


def first_captions(u, w, scale, chunk):
    """Each chunk's pictures are taken to belong to the first captions."""
    wrong = torch.cat([w[: len(u[part])] for part in chunks_of(len(u), chunk)])
    return without_pull(u, w, scale, chunk) - scale * wrong / len(u)


EXERCISES = [
    Predict(
        number="9.1",
        name="guesses",
        section="9.3",
        minutes=5,
        measure=measured,
        within=0.02,
        mistakes=(
            Mistake(
                lambda: {"loss of 64 pairs in two halves": 5.0},
                "That is a logarithm to base 2. The loss is in nats.",
            ),
            Mistake(
                lambda: {"loss of 64 pairs in two halves": 2 * math.log(32)},
                "(9.3) takes the mean of the two ways, not their sum.",
            ),
            Mistake(
                lambda: {"loss of 64 pairs in two halves": math.log(64)},
                "That is the loss if nothing is ruled out. How many captions are left for a picture?",
            ),
            Mistake(
                lambda: {"pairs to prove 3 nats": 8.0},
                "Eight is 2 to the power 3. Which base belongs to nats?",
            ),
            Mistake(
                lambda: {"pairs to prove 3 nats": 20.0},
                "Nearly: is the logarithm of 20 above 3 or below?",
            ),
            Mistake(
                lambda: {"tokens of a 32-pixel picture": 4.0},
                "These are the patches. Who stands in front of them?",
            ),
            Mistake(
                lambda: {"tokens of a 32-pixel picture": 3.0},
                "A picture has patches in two directions.",
            ),
            Mistake(
                lambda: {"floor of two pairs at tau 1": 0.0},
                "At this temperature even a perfect model cannot be confident: (9.10).",
            ),
            Mistake(
                lambda: {"floor of two pairs at tau 1": math.log(1 + math.exp(-1))},
                "How far apart are a cosine of 1 and one of -1?",
            ),
            Mistake(
                lambda: {"floor of two pairs at tau 1": math.log(1 + 2 * math.exp(-2))},
                "How many wrong captions has a row, if there are two pairs?",
            ),
            Mistake(
                lambda: {"floor of two pairs at tau 1": 2 * math.log(1 + math.exp(-2))},
                "Rows and columns have the same floor, and (9.3) takes their mean.",
            ),
            Mistake(
                lambda: {"floor of two pairs at tau 1": math.log(2)},
                "That is the loss of a model that knows nothing. This one knows everything.",
            ),
            Mistake(
                lambda: {"floor of two pairs at tau 1": 1 / (1 + math.exp(-2))},
                "That is the probability of the right caption. The loss is minus its logarithm.",
            ),
            Mistake(
                lambda: {"loss of 64 pairs in two halves": math.log(2)},
                "That is what it costs not to know the half. Here it is the half that is known.",
            ),
            Mistake(
                lambda: {"loss of 64 pairs in two halves": math.log10(32)},
                "That is a logarithm to base 10. The loss is in nats.",
            ),
            Mistake(
                lambda: {"loss of 64 pairs in two halves": 1 / 32},
                "That is the probability of the right caption. The loss is minus its logarithm.",
            ),
            Mistake(
                lambda: {"pairs to prove 3 nats": 1000.0},
                "A thousand is 10 to the power 3. Which base belongs to nats?",
            ),
            Mistake(
                lambda: {"pairs to prove 3 nats": 22.0},
                "One pair fewer would do.",
            ),
            Mistake(
                lambda: {"tokens of a 32-pixel picture": 2.0},
                "So many patches lie along one side. The picture has two sides.",
            ),
            Mistake(
                lambda: {"tokens of a 32-pixel picture": 1025.0},
                "These are the pixels. A patch of many pixels is one token.",
            ),
            Mistake(
                lambda: {"slope of two pairs exchanged": -math.e / (1 + math.e)},
                "Read the words below (9.11) again: the expected score minus the right pair's.",
            ),
            Mistake(
                lambda: {"slope of two pairs exchanged": -1 / (1 + math.e)},
                "That is the slope of the two pairs before their captions were exchanged.",
            ),
            Mistake(
                lambda: {"slope of two pairs exchanged": 1 / (1 + math.e)},
                "Which score does the model believe in, the higher or the lower one?",
            ),
            Mistake(
                lambda: {"slope of two pairs exchanged": 0.0},
                "The slope is 0 where the model does as well as it believes. This one does worse.",
            ),
            Mistake(
                lambda: {"slope of two pairs exchanged": 2 * math.e / (1 + math.e)},
                "Rows and columns expect the same, and (9.11) takes the mean over the N pairs.",
            ),
        ),
    ),
    Build(
        number="9.2",
        name="sigmoid_loss",
        section="9.2",
        minutes=15,
        right=sigmoid_loss,
        cases=tables,
        tolerance=1e-5,
        mistakes=(
            Mistake(
                without_sign,
                "You ask every pair to fit. What is the right answer for a picture and another's caption?",
            ),
            Mistake(
                bias_for_the_right,
                "The bias belongs to every score, not only to those of the right pairs.",
            ),
            Mistake(
                over_all_pairs,
                "You took the mean over all pairs. The sum is divided by the number of pictures.",
            ),
            Mistake(
                right_pairs_alone,
                "Only the right pairs are asked. What then keeps all vectors from being the same?",
            ),
            Mistake(
                softmax_loss,
                "This is (9.3): the pairs of a row still compete. Here each pair is a question of its own.",
            ),
            Mistake(bias_taken_away, "The bias is added to the score, and you take it away."),
            Mistake(
                bias_not_turned,
                "For a wrong pair the whole of s + b changes its sign, the bias too.",
            ),
            Mistake(
                without_bias,
                "Where is the bias? Without it half of all pairs would be called right at first.",
            ),
            Mistake(
                answers_exchanged,
                "Your right pairs should say no, and the wrong ones yes: look at the signs.",
            ),
            Mistake(
                zero_for_wrong,
                "Your wrong pairs all cost ln 2, whatever their score: 0 is not the sign of a no.",
            ),
            Mistake(probabilities, "You add up probabilities. Where is the logarithm?"),
            Mistake(upper_half, "You ask about half of the table. Picture i with caption j is not j with i."),
            Mistake(
                with_log_of_sigmoid,
                "Right for small scores. For a score of 150 the sigmoid rounds to 0, and ln 0 is infinite.",
            ),
        ),
    ),
    Derive(
        number="9.3",
        name="floors",
        section="9.4",
        minutes=15,
        right=lambda N, tau: corners(N, tau, -1 / (N - 1)),
        ranges={"N": (2.5, 40.0), "tau": (0.2, 2.0)},
        mistakes=(
            Mistake(
                lambda N, tau: corners(N, tau, -1.0),
                "This is (9.10), which lets every wrong pair have the cosine -1.",
            ),
            Mistake(
                lambda N, tau: corners(N, tau, 0.0),
                "You gave the wrong pairs a cosine of 0. Vectors that sum to 0 can do better.",
            ),
            Mistake(
                lambda N, tau: corners(N, tau, -1 / N),
                "Count again the pairs that one vector forms with the others.",
            ),
            Mistake(
                lambda N, tau: corners(N, tau, 1 / (N - 1)),
                "Is the cosine of the wrong pairs above or below 0?",
            ),
            Mistake(
                lambda N, tau: corners(N, tau, -2 / (N - 1)),
                "In the squared sum each pair of two vectors stands twice.",
            ),
            Mistake(
                lambda N, tau: corners(N, tau, -1 / (N - 1) ** 2),
                "How many products of a vector with another one are there in the squared sum?",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), math.log(1 + (N - 1) * math.exp(-N * tau / (N - 1)))),
                "The cosine is right. The scores are cosines over the temperature.",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), math.log(1 + (N - 1) * math.exp(-N / (N - 1)))),
                "The cosine is right. The loss also depends on the temperature.",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), math.log(1 + (N - 1) * math.exp(-1 / ((N - 1) * tau)))),
                "The cosine is right. In the loss, where is the right pair's own cosine?",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), math.log(1 + (N - 1) * math.exp(N / ((N - 1) * tau)))),
                "The cosine is right. The right pair has the higher score: look at the exponent's sign.",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), math.log(1 + N * math.exp(-N / ((N - 1) * tau)))),
                "The cosine is right. How many wrong captions has a row?",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), math.log(1 + math.exp(-N / ((N - 1) * tau)))),
                "The cosine is right. A row has more than one wrong caption.",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), math.log(N - 1) - N / ((N - 1) * tau)),
                "The cosine is right. The sum below the fraction holds the right pair, too.",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), 2 * corners(N, tau, -1 / (N - 1))[1]),
                "The cosine is right. Rows and columns have the same loss, and (9.3) takes their mean.",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), corners(N, tau, -1 / (N - 1))[1] / N),
                "The cosine is right. A row's loss is already the mean over the rows: they are all alike.",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), -corners(N, tau, -1 / (N - 1))[1]),
                "The cosine is right. The loss is minus the logarithm of the probability.",
            ),
            Mistake(
                lambda N, tau: (-1 / (N - 1), math.exp(-corners(N, tau, -1 / (N - 1))[1])),
                "The cosine is right. You give the probability; the loss is minus its logarithm.",
            ),
            Mistake(
                lambda N, tau: (corners(N, tau, -1 / (N - 1))[1], -1 / (N - 1)),
                "First the cosine, then the floor.",
            ),
        ),
    ),
    Derive(
        number="9.4",
        name="information",
        section="9.3",
        minutes=15,
        right=lambda K, q: math.log(K) + (1 - q) * math.log(1 - q) + q * math.log(q / (K - 1)),
        ranges={"K": (2.5, 20.0), "q": (0.02, 0.6)},
        mistakes=(
            Mistake(
                lambda K, q: math.log(K) + (1 - q) * math.log(1 - q) + q * math.log(q),
                "A slip also leaves open which of the other colours it is.",
            ),
            Mistake(
                lambda K, q: (1 - q) * math.log(K),
                "A slip is not the same as no information: one colour becomes less likely than before.",
            ),
            Mistake(
                lambda K, q: math.log(K) + (1 - q) * math.log(1 - q) + q * math.log(q / K),
                "Among how many colours does a slip choose?",
            ),
            Mistake(
                lambda K, q: math.log(1 - q) + math.log(K),
                "This is ln r of a pair without a slip. (9.6) takes the mean over all pairs.",
            ),
            Mistake(
                lambda K, q: -(1 - q) * math.log(1 - q) - q * math.log(q / (K - 1)),
                "This is what stays open after the picture. How much was open before?",
            ),
        ),
    ),
    FindTheBug(
        number="9.5",
        name="sentence_vector",
        section="9.5",
        minutes=10,
        right=sentence_vector,
        cases=sentences,
        given=by_the_highest_id,
        mistakes=(
            Mistake(
                at_the_last_end,
                "The padding is made of end tokens too. Which of them has read the sentence and no padding?",
            ),
            Mistake(
                lambda hidden, ids, end: hidden[:, 0],
                "That is the start token's vector, which has read nothing but itself.",
            ),
            Mistake(before_the_end, "That is the last word. The vector wanted is the end token's own."),
            Mistake(
                at_the_first_high_number,
                "You stop at the first new word: its number is higher than the end token's, not the same.",
            ),
            Mistake(behind_the_end, "That is one place too far: the vector wanted is the end token's own."),
            Mistake(
                mean_of_the_ends, "You mix in the padding. One vector is wanted, that of the first end token."
            ),
            Mistake(one_new_word, "Right for one new word. Another may be taught tomorrow."),
            Mistake(
                before_the_new_word,
                "You read no further than the first new word. The sentence goes on behind it.",
            ),
            Mistake(
                lambda hidden, ids, end: sentence_vector(hidden, ids, ids.max()),
                "The highest id in the batch is now one of the new words.",
            ),
        ),
    ),
    ReachTheMark(
        number="9.6",
        name="blind",
        section="9.8",
        minutes=20,
        score=share_won,
        what="share of games won",
        mark=0.805,
        higher=True,
        right=by_habit,
        mistakes=(
            Mistake(
                by_the_first_thing,
                "You look at one of the two things. The other one has its habits, too.",
            ),
            Mistake(
                by_the_sum,
                "You add what belongs to two things. How probable is it that both have their colours?",
            ),
            Mistake(
                None,
                "You prefer the less probable sentence.",
                seen=lambda blind, cases: share_won(blind) < 0.45,
            ),
            Mistake(
                None,
                "A coin does about as well. Nearly every pair occurs: it matters how often.",
                seen=lambda blind, cases: 0.45 <= share_won(blind) < 0.6,
            ),
            Mistake(
                None,
                "Better than a coin. Do you count for both things, and how do you put the counts together?",
                seen=lambda blind, cases: 0.6 <= share_won(blind) < 0.805,
            ),
        ),
    ),
    Predict(
        number="9.7",
        name="same",
        section="9.10",
        minutes=10,
        measure=unchanged,
        within=0.0,
        mistakes=(
            Mistake(
                lambda: {"a red house | a red car": 76.0},
                "Not only the changed word's own vector moves. Who reads it?",
            ),
            Mistake(
                lambda: {"a red house | a red car": 2.0},
                "What stands before the first word of every sentence?",
            ),
            Mistake(
                lambda: {"a red house | a red car": 0.0, "a red house | a red house at night": 0.0},
                "Not every vector reads every word: the mask hides what comes later.",
            ),
            Mistake(
                lambda: {"a red house | a red car": 74.0, "a red house | a red house at night": 73.0},
                "You counted the vectors that change.",
            ),
            Mistake(
                lambda: {"a red house | a red car": 0.0},
                "Does the start token read the last word?",
            ),
            Mistake(
                lambda: {"a red house | a red car": 4.0},
                "The third word is another one. Can its own vector be the same?",
            ),
            Mistake(
                lambda: {"a red house | a red car": 75.0},
                "The padding is behind the changed word. May it read it?",
            ),
            Mistake(
                lambda: {"a red house | a red house at night": 3.0},
                "The three words are the same, and one token stands before them.",
            ),
            Mistake(
                lambda: {"a red house | a red house at night": 5.0},
                "Behind the third word one row has its end token, the other the word at.",
            ),
            Mistake(
                lambda: {"a red house | a big red house": 1.0},
                "The start token is not the only thing before the new word.",
            ),
            Mistake(
                lambda: {"a red house | a big red house": 3.0},
                "The word red stands in another place than before, and behind a new word.",
            ),
            Mistake(
                lambda: {"a red house | a big red house": 4.0},
                "The same words are there, but they have moved, and they read the new one.",
            ),
            Mistake(
                lambda: {"75 words, the last one other": 77.0},
                "75 words and the two tokens around them just fit: nothing is cut.",
            ),
            Mistake(
                lambda: {"75 words, the last one other": 74.0},
                "That many words are the same. One token more is, too.",
            ),
            Mistake(
                lambda: {"80 words, the last one other": 75.0},
                "Is the eightieth word read at all?",
            ),
            Mistake(
                lambda: {"80 words, the last one other": 79.0},
                "A row has 77 tokens, however long the prompt is.",
            ),
            Mistake(
                lambda: {"a red house | a red house at night": 77.0 - 2},
                "Two words more move the end token and all that follows.",
            ),
            Mistake(
                lambda: {"a red house | a big red house": 76.0},
                "The words after the new one have moved to another place, and they read it.",
            ),
            Mistake(
                lambda: {"75 words, the last one other": 76.0},
                "One more vector has read the last word, though there is no padding left.",
            ),
            Mistake(
                lambda: {"80 words, the last one other": 76.0},
                "How many words have room between the start and the end token?",
            ),
        ),
    ),
    ReachTheMark(
        number="9.8",
        name="spread",
        section="9.4",
        minutes=20,
        score=score_of,
        what="loss at tau = 0.5",
        mark=0.699,
        higher=False,
        right=descended,
        mistakes=(
            Mistake(
                cube, "The corners of a cube are even, but each has three near neighbours. Turn one face."
            ),
            Mistake(
                None,
                "Two of your points lie closer than a cube's corners. Let them push each other away.",
                seen=lambda spread, cases: closest(spread()) > 0.34,
            ),
        ),
    ),
    BuildInLittleMemory(
        number="9.9",
        name="little_memory",
        section="9.2",
        minutes=25,
        right=little_memory,
        cases=parts,
        tolerance=1e-5,
        mistakes=(
            Mistake(
                neighbours_alone,
                "Each chunk plays a game of its own, among a few captions. All N captions belong in a row.",
            ),
            Mistake(rows_alone, "The rows are right. The captions have to find their pictures, too."),
            Mistake(
                columns_of_a_chunk,
                "The rows are right. A column's sum runs over all pictures; yours stops at the chunk's end.",
            ),
            Mistake(
                without_scale,
                "(9.4) is the gradient with respect to the scores, and a score is `scale` times a cosine.",
            ),
            Mistake(
                without_pull, "Everything is pushed and nothing pulled: (9.4) has a 2 for the right pairs."
            ),
            Mistake(pull_of_one, "The pull is too weak: a right pair stands in a row and in a column."),
            Mistake(columns_alone, "The columns are right. The pictures have to find their captions, too."),
            Mistake(of_the_captions, "This is the gradient with respect to w."),
            Mistake(
                pushed_by_pictures,
                "A picture is moved along captions: the derivative of a score by u is w, not u.",
            ),
            Mistake(by_the_chunk, "The mean is over all N pairs, not over those of a chunk."),
            Mistake(
                in_steps_of_the_chunk,
                "The last pictures get nothing where N is not a multiple of the chunk.",
            ),
            Mistake(last_chunk, "You return the last chunk's gradient alone."),
            Mistake(
                first_captions,
                "Right in the first chunk. In the next one, whose caption belongs to the first picture?",
            ),
        ),
    ),
]


def closest(points):
    """The largest cosine of two of the points."""
    table = points @ points.T
    return float((table - 2 * torch.eye(len(points))).max())
