"""The checks of chapter 14: the whole training. It spoils the exercises to read this first."""

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from ...schedule import NoiseSchedule
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 14.1

SCALE = 0.18215  # of SD 1.5's latents


@functools.cache
def measured():
    """The seven numbers, each by following what happens."""
    variance, steps = 0.0, 0
    while variance < 0.9 * 0.1 / (0.01 * (2 - 0.001)):  # (14.9)
        variance, steps = 0.999**2 * variance + 0.1**2, steps + 1
    empty = 0.5 * 2 + 0.3 * 0 + 0.2 * -1  # (14.12)
    logits = torch.zeros(16, 32)
    among_captions = torch.nn.functional.cross_entropy(logits, torch.arange(16))
    among_pictures = torch.nn.functional.cross_entropy(logits[:, :16], torch.arange(16))
    return {
        "settled": steps,
        "forgets": 1 - 0.999**4,
        "begin": float(among_captions + among_pictures) / 2,
        "zero": 0.5 + 0.5 / SCALE**2,
        "line": (2 * 64 / 65 + 254 * 0.5 / 1.5) / 256,
        "shorter": (1 + 64 / 128) / (1 + 64 / 64),
        "guided": empty + 3 * (2 - empty),
    }


# 14.2

SIGNS = {
    "labels always dropped": "a network that never saw a label can't paint the digits that were asked for",
    "latents not scaled": "the noise is hard to find in latents eight times as wide: both curves stay high, "
    "but they do come down",
    "average never arrives": "only what is painted knows of the average: both curves are the sound run's",
    "schedule stepped twice": "the rate is down half way and climbs again: both curves turn round there",
    "one timestep a batch": "one batch is easy, the next hard: the left curve jumps, the middle one doesn't",
    "noise drawn anew": "a noise that isn't in the picture can't be guessed: both curves stay near 1",
}
RUNS = {
    "A": "schedule stepped twice",
    "B": "noise drawn anew",
    "C": "labels always dropped",
    "D": "one timestep a batch",
    "E": "average never arrives",
    "F": "latents not scaled",
}


def confusions() -> Iterator[Mistake]:
    """Every run taken for every other, and by which sign one can tell."""
    for letter, fault in RUNS.items():
        for taken, sign in SIGNS.items():
            if taken != fault:
                yield Mistake(
                    functools.partial(dict, {letter: taken}),
                    f'Run {letter} as "{taken}": {sign}. Is it so in run {letter}?',
                )


# 14.3


def flow_weight(S):
    """Of the squared error of x_0, in the loss of the velocity epsilon - x_0 on straight lines."""
    return (1 + math.sqrt(S)) ** 2


def flow_weight_and_most(S):
    """The same, and its largest ratio to the weight of v: 1 + 2 sqrt(S) / (1 + S), largest at S = 1."""
    return flow_weight(S), 2.0


def weight_is(formula: Callable, says: str) -> Mistake:
    """A weight that is known to be wrong, whatever the second answer."""

    def seen(answer, cases):
        return all(abs(answer(S)[0] - formula(S)) < 1e-7 * (1 + abs(formula(S))) for (S,) in cases)

    return Mistake(None, says, seen=seen)


def most_is(value: float, says: str) -> Mistake:
    """A right weight, and a factor that is known to be wrong."""

    def seen(answer, cases):
        return all(
            abs(answer(S)[0] - flow_weight(S)) < 1e-6 and abs(answer(S)[1] - value) < 1e-6 for (S,) in cases
        )

    return Mistake(None, says, seen=seen)


# 14.4


def without_lag(d, e):
    """The share of the average with decay d, if that with decay e gets the rest and nothing may lag."""
    return e * (1 - d) / (e - d)


# 14.5


def ratios(guess, x0, noise, times, bars, right, wrong):
    return told_wrongly(guess, x0, noise, times, bars, right, wrong)


def told_wrongly(
    guess,
    x0,
    noise,
    times,
    bars,
    right,
    wrong,
    ratio=lambda lost, usual: float(lost.mean() / usual.mean()),
    mixed=lambda bar, x0, noise: bar.sqrt() * x0 + (1 - bar).sqrt() * noise,
    all_pictures=False,
    first_pictures=False,
    first_contexts=False,
    against_guess=False,
):
    """The right function but for what the last arguments say; `ratio` is of losses (timesteps, pictures)."""
    found = {}
    for name, (which, contexts) in wrong.items():
        lost, usual = [], []
        rows = torch.arange(len(which)) if first_pictures else which
        rest = torch.arange(len(x0)) if all_pictures else rows
        for t in times:

            def error(i, told, t=t):
                x_t = mixed(bars[t], x0[i], noise[i])
                return (guess(x_t, torch.full((len(i),), t), told) - noise[i]).square().mean((1, 2, 3))

            usual.append(error(rest, right[: len(rest)] if first_contexts else right[rest]))
            lost.append(error(rows, contexts))
            if against_guess:
                x_t, when = mixed(bars[t], x0[which], noise[which]), torch.full((len(which),), t)
                gap = guess(x_t, when, contexts) - guess(x_t, when, right[which])
                lost[-1] = gap.square().mean((1, 2, 3))
        found[name] = ratio(torch.stack(lost), torch.stack(usual))
    return found


def as_told(**changes):
    def answer(guess, x0, noise, times, bars, right, wrong):
        return told_wrongly(guess, x0, noise, times, bars, right, wrong, **changes)

    return answer


def some_network(x_t, t, context):
    """A stand-in for a U-Net: its guess depends on every argument."""
    tone = context.mean((1, 2))[:, None, None, None]
    return (0.4 + t[:, None, None, None] / 2500) * torch.tanh(x_t) + (0.2 + tone) * x_t.roll(1, -1)


def told(rng):
    """Latents, timesteps, right contexts, and wrong ones of some of the pictures."""
    bars = NoiseSchedule.scaled_linear().alphas_cumprod.float()

    def case(n, times, some):
        x0, noise = torch.randn(2, n, 4, 3, 5, generator=rng).unbind()
        right = torch.randn(n, 7, 6, generator=rng)
        wrong = {
            name: (
                torch.tensor(which),
                right[which] + 2 * torch.rand(len(which), 7, 6, generator=rng),
            )
            for name, which in some.items()
        }
        return some_network, x0, noise, times, bars, right, wrong

    return [
        case(5, [100, 700], {"colour": [0, 1, 2, 3, 4], "order": [3, 1]}),
        case(4, [400, 20, 900], {"kind": [1, 2, 3], "ground": [0, 2], "size": [3]}),
        case(3, [250, 600], {"time of day": [2, 0], "order": [1, 2]}),
    ]


# 14.6


def prepare(latents, contexts, empty, scale, p, coins, t, noise, bars):
    bar = bars[t][:, None, None, None]
    x_t = bar.sqrt() * scale * latents + (1 - bar).sqrt() * noise
    return x_t, torch.where((coins < p)[:, None, None], empty, contexts)


def prepare_given(latents, contexts, empty, scale, p, coins, t, noise, bars):
    bar = bars[t][:, None, None, None]
    x_t = scale * (bar.sqrt() * latents + (1 - bar).sqrt() * noise)
    dropped = coins[0] < p
    return x_t, torch.where(dropped, empty, contexts)


def prepared(x_of=None, dropped=lambda coins, p: (coins < p)[:, None, None]):
    def answer(latents, contexts, empty, scale, p, coins, t, noise, bars):
        bar = bars[t][:, None, None, None]
        x_t = (x_of or scaled)(latents, noise, scale, bar.sqrt(), (1 - bar).sqrt())
        return x_t, torch.where(dropped(coins, p), empty, contexts)

    return answer


def scaled(latents, noise, scale, root, rest):
    return root * scale * latents + rest * noise


def scaled_after(latents, noise, scale, root, rest):
    return scale * (root * latents + rest * noise)


def batches(rng):
    bars = NoiseSchedule.scaled_linear().alphas_cumprod.float()

    def case(n, p, coins):
        latents, noise = torch.randn(2, n, 4, 3, 5, generator=rng).unbind()
        contexts, empty = torch.randn(n, 7, 6, generator=rng), torch.randn(1, 7, 6, generator=rng)
        t = torch.randint(1000, (n,), generator=rng)
        return 5.49 * latents, contexts, empty, SCALE, p, torch.tensor(coins), t, noise, bars

    return [
        case(4, 0.1, [0.05, 0.5, 0.9, 0.02]),
        case(3, 0.5, [0.7, 0.4, 0.3]),
        case(2, 0.2, [0.6, 0.8]),
    ]


# 14.7


def whole(gradients, sizes, longest):
    n = sum(sizes)
    mean = [sum(size * part for size, part in zip(sizes, parts)) / n for parts in zip(*gradients)]
    length = sum(part.square().sum() for part in mean).sqrt()
    return [part * (longest / length).clamp(max=1) for part in mean]


def length_of(parts):
    return sum(part.square().sum() for part in parts).sqrt()


def cut(parts, longest):
    return [part * (longest / length_of(parts)).clamp(max=1) for part in parts]


def weighted(gradients, sizes, total=None):
    total = sum(sizes) if total is None else total
    return [sum(size * part for size, part in zip(sizes, parts)) / total for parts in zip(*gradients)]


def equal_shares(gradients, sizes, longest):
    return cut(weighted(gradients, [1] * len(sizes)), longest)


def not_cut(gradients, sizes, longest):
    return weighted(gradients, sizes)


def cut_early(gradients, sizes, longest):
    return weighted([cut(parts, longest) for parts in gradients], sizes)


def cut_each_tensor(gradients, sizes, longest):
    return [cut([part], longest)[0] for part in weighted(gradients, sizes)]


def cut_numbers(gradients, sizes, longest):
    return [part.clamp(-longest, longest) for part in weighted(gradients, sizes)]


def always_longest(gradients, sizes, longest):
    mean = weighted(gradients, sizes)
    return [part * longest / length_of(mean) for part in mean]


def added_up(gradients, sizes, longest):
    return cut(weighted(gradients, [1] * len(sizes), 1), longest)


def of_the_sizes(gradients, sizes, longest):
    return cut(weighted(gradients, sizes, len(sizes)), longest)


def micro_batches(rng):
    def case(sizes, stretch, longest):
        shapes = ((3, 2), (4,))
        gradients = [[stretch * torch.randn(shape, generator=rng) for shape in shapes] for _ in sizes]
        return gradients, sizes, longest

    return [case([8, 8, 3], 2.0, 1.0), case([5, 1], 0.1, 1.0), case([4, 6, 2, 1], 1.0, 0.5)]


# 14.8


def dealt(n, T, u):
    places = (u + torch.arange(n, dtype=torch.float64) / n) % 1
    return (T * places).long()


def spread(place: Callable, turn: Callable = lambda x: x.long()) -> Callable:
    def answer(n, T, u):
        return turn(T * place(torch.arange(n, dtype=torch.float64), n, u))

    return answer


def deals(rng):
    u = torch.rand(4, generator=rng, dtype=torch.float64).tolist()
    return [(8, 1000, u[0]), (5, 1000, 0.93), (3, 10, u[2]), (32, 1000, 0.5 + u[3] / 2)]


# 14.10


def copied(painted, trained, twins):
    to_trained = torch.cdist(painted, trained[: len(twins)]).amin(1)
    to_twins = torch.cdist(painted, twins).amin(1)
    return float((to_trained < to_twins).float().mean())


def copied_given(painted, trained, twins):
    to_trained, which = torch.cdist(painted, trained).min(1)
    to_twins = (painted - twins[which % len(twins)]).norm(dim=1)
    return float((to_trained < to_twins).float().mean())


def own_twin_alone(painted, trained, twins):
    return copied_given(painted, trained[: len(twins)], twins)


def own_picture_alone(painted, trained, twins):
    to_twins, which = torch.cdist(painted, twins).min(1)
    return float(((painted - trained[which]).norm(dim=1) < to_twins).float().mean())


def among_more(painted, trained, twins):
    return float((torch.cdist(painted, trained).amin(1) < torch.cdist(painted, twins).amin(1)).float().mean())


def by_means(painted, trained, twins):
    near, far = (torch.cdist(painted, some).mean(1) for some in (trained[: len(twins)], twins))
    return float((near < far).float().mean())


def nearest_against_mean(painted, trained, twins):
    near, far = (torch.cdist(painted, some) for some in (trained[: len(twins)], twins))
    return float((near.amin(1) < far.mean(1)).float().mean())


def collections(rng):
    """Paintings of which some are copies, with more training pictures than twins."""

    def case(n, m, k, wide):
        trained, twins = (torch.randn(count, wide, generator=rng) for count in (m, k))
        fresh = torch.randn(n, wide, generator=rng)
        copies = trained[torch.randint(m, (n // 3,), generator=rng)] + 0.4 * torch.randn(
            n // 3, wide, generator=rng
        )
        return torch.cat([fresh, copies]), trained, twins

    return [case(60, 40, 16, 4), case(40, 90, 12, 6), case(45, 12, 9, 3)]


# 14.9

CURVATURES = np.array([1.0, 0.1, 0.01])
FAR, NOISE, STEPS = 10.0, 1.0, 1000


def outcome_of(plan):
    """The expected loss of the average after 1,000 steps, in two parts: the way still to go, and the noise.

    Expectations alone, so nothing is random: of the weight and of the average, and of their squares.
    """
    mean, mean_average = np.full(3, FAR), np.full(3, FAR)
    of_weight, of_both, of_average = np.zeros((3, 3))  # variances and covariance
    for k in range(STEPS):
        rate, d = checked(plan(k))
        rho = 1 - rate * CURVATURES
        mean = rho * mean
        of_weight = rho**2 * of_weight + (rate * NOISE) ** 2
        of_both = rho * of_both
        mean_average = d * mean_average + (1 - d) * mean
        of_average = d**2 * of_average + 2 * d * (1 - d) * of_both + (1 - d) ** 2 * of_weight
        of_both = d * of_both + (1 - d) * of_weight
    way, noise = CURVATURES * mean_average**2 / 2, CURVATURES * of_average / 2
    return float(way.sum()), float(noise.sum())


def checked(pair):
    """A rate and a decay that are allowed."""
    rate, d = (float(value) for value in pair)
    if not (0 <= rate <= 1 and 0 <= d < 1):
        raise RuleBroken("the rate should be from 0 to 1, the decay from 0 to below 1")
    return rate, d


def final_loss(plan):
    return sum(outcome_of(plan))


def grown(k):
    return 0.5, max(0, 1 - 2 / (k + 1))


EXERCISES = [
    Predict(
        number="14.1",
        name="guesses",
        section="14.6",
        minutes=15,
        measure=measured,
        within=0.04,
        mistakes=(
            Mistake(
                lambda: {"settled": math.log(10) / 0.001},
                "That is how long the distance from a start takes to fall to a tenth. A variance "
                "goes by rho squared.",
            ),
            Mistake(
                lambda: {"settled": math.log(10) / -2 / math.log(0.9)},
                "That is so where kappa is 1. The flatter the axis, the longer it takes.",
            ),
            Mistake(
                lambda: {"settled": math.log(10 / 9) / 0.002},
                "By then it has come to one tenth. How long until one tenth is missing?",
            ),
            Mistake(
                lambda: {"forgets": 0.001},
                "With the same decay the average reaches as many steps back, of four times as many pictures.",
            ),
            Mistake(
                lambda: {"forgets": 0.00025},
                "The other way round: a step stands for more pictures now, so it must count for more.",
            ),
            Mistake(
                lambda: {"begin": (math.log(64) + math.log(32)) / 2},
                "That is the loss of one process. Among how many captions does a picture choose in its half?",
            ),
            Mistake(
                lambda: {"begin": math.log(16)}, "And the hard negatives, among which a picture chooses, too?"
            ),
            Mistake(
                lambda: {"begin": math.log(32)},
                "A caption has fewer to choose from than a picture: the loss is a mean of two logarithms.",
            ),
            Mistake(
                lambda: {"zero": 1.0}, "Right if the scale had been there. How wide are the latents now?"
            ),
            Mistake(
                lambda: {"zero": 0.5 + 0.5 / SCALE},
                "Variances add up, and 5.49 is a standard deviation.",
            ),
            Mistake(
                lambda: {"zero": 1 / SCALE**2},
                "That is the variance of the latents. The other half of v's is the noise.",
            ),
            Mistake(
                lambda: {"line": 0.5},
                "That is the loss if all variances are 1. Take the loss along each axis, then the mean.",
            ),
            Mistake(
                lambda: {"line": 1 - (2 * 64 / 65 + 254 * 0.5 / 1.5) / 256},
                "That is the share of the noise that is found. The loss is what is left.",
            ),
            Mistake(
                lambda: {"shorter": 0.5},
                "The noise's part is halved. What about the part that all batches share?",
            ),
            Mistake(
                lambda: {"shorter": 0.75**0.5},
                "That is the ratio of the lengths. The question asks for the squared ones.",
            ),
            Mistake(
                lambda: {"guided": 0.8},
                "That is the guess with the empty caption. Guidance goes on from it, (13.6).",
            ),
            Mistake(
                lambda: {"guided": 6.0},
                "You took 0 for the guess with the empty caption. By (14.12) it is a mixture of the three.",
            ),
            Mistake(
                lambda: {"guided": 1 / 3 + 3 * (2 - 1 / 3)},
                "The three captions aren't equally likely, given this x_t.",
            ),
            Mistake(
                lambda: {"guided": 2 + 3 * (2 - 0.8)},
                "You went on from the guess with words. In (13.6), s = 1 is no guidance.",
            ),
        ),
    ),
    Predict(
        number="14.2",
        name="which",
        section="14.13",
        minutes=20,
        measure=lambda: RUNS,
        within=0,
        mistakes=(
            Mistake(
                None,
                "Write the names as they stand in the list of six.",
                seen=lambda guesses, cases: any(name not in SIGNS for name in guesses.values()),
            ),
            *confusions(),
        ),
    ),
    Derive(
        number="14.3",
        name="answer",
        section="14.5",
        minutes=20,
        right=flow_weight_and_most,
        ranges={"S": (0.02, 30.0)},
        mistakes=(
            Mistake(
                None,
                "Two answers are asked for: the weight, and after a comma the factor.",
                seen=lambda answer, cases: not isinstance(answer(1.0), tuple) or len(answer(1.0)) != 2,
            ),
            weight_is(
                lambda S: S + 1, "That is the weight of chapter 4's v, (14.4), on a circle, not on a line."
            ),
            weight_is(
                lambda S: S, "That is the noise's weight. The velocity holds the picture's error, too."
            ),
            weight_is(
                lambda S: (1 + 1 / math.sqrt(S)) ** 2,
                "That is the weight of the noise's error. The question is about the picture's.",
            ),
            weight_is(lambda S: 1 + math.sqrt(S), "The errors are in that ratio; the loss squares them."),
            weight_is(lambda S: (1 + S) ** 2, "The SNR compares squares: (1 - t)/t is its root."),
            weight_is(
                lambda S: 1 / (1 + math.sqrt(S)) ** 2,
                "That is t squared. Does a small t make the error of the velocity small, or large?",
            ),
            weight_is(
                lambda S: (1 - math.sqrt(S)) ** 2,
                "The picture's and the noise's errors have opposite signs, and the velocity subtracts them.",
            ),
            most_is(4, "The weight is right, and 4 is its value at S = 1. Divide it by v's there."),
            most_is(1, "The weight is right. A factor of 1 is what it tends to at both ends: and between?"),
            Mistake(
                None,
                "The weight is right. Divide it by v's, S + 1: where is the quotient largest, and how large?",
                seen=lambda answer, cases: all(
                    abs(answer(*one)[0] - flow_weight(*one)) < 1e-6 for one in cases
                ),
            ),
            Mistake(
                None,
                "In pure noise, at S = 0, a wrong picture must cost in the velocity what it costs itself.",
                seen=lambda answer, cases: abs(answer(1e-12)[0] - 1) > 1e-3,
            ),
        ),
    ),
    Derive(
        number="14.4",
        name="share",
        section="14.6",
        minutes=20,
        right=without_lag,
        ranges={"d": (0.5, 0.9), "e": (0.92, 0.99)},
        mistakes=(
            Mistake(
                lambda d, e: d * (1 - e) / (d - e), "That is the share of the slow average, with decay e."
            ),
            Mistake(
                lambda d, e: (1 - d) / (e - d),
                "Your lags are a step too long: the newest weights are in the average, and have the age 0.",
            ),
            Mistake(
                lambda d, e: math.log(d) / (math.log(d) - math.log(e)),
                "You used half-lives, or the like. The lag is the mean age of what is in the average.",
            ),
            Mistake(
                lambda d, e: e * (1 - d) / (e * (1 - d) + d * (1 - e)),
                "A mean of two that are late, with positive shares, is late: one share must be negative.",
            ),
            Mistake(lambda d, e: (e - d) / (e * (1 - d)), "Upside down: the fast average gets more than 1."),
            Mistake(
                None,
                "If the slow average is very slow (e near 1), the fast one gets a share of nearly 1.",
                seen=lambda answer, cases: abs(answer(0.5, 1 - 1e-9) - 1) > 1e-3,
            ),
        ),
    ),
    Build(
        number="14.5",
        name="ratios",
        section="14.13",
        minutes=20,
        right=ratios,
        cases=told,
        mistakes=(
            Mistake(
                as_told(all_pictures=True),
                "You divide by the loss of all pictures. What is wrong in some of them should be compared "
                "with these.",
            ),
            Mistake(
                as_told(first_pictures=True),
                "The wrong contexts belong to the pictures numbered in `which`, not to the first ones.",
            ),
            Mistake(
                as_told(first_contexts=True),
                "The right contexts must be those of the pictures in `which`, too, not the first ones.",
            ),
            Mistake(
                as_told(ratio=lambda lost, usual: float((lost / usual).mean())),
                "A mean of ratios: pictures with a tiny loss count most in it. Take the means first.",
            ),
            Mistake(
                as_told(ratio=lambda lost, usual: float((lost.mean(1) / usual.mean(1)).mean())),
                "You take a ratio at each timestep, then their mean. First the means over all timesteps.",
            ),
            Mistake(
                as_told(ratio=lambda lost, usual: float(usual.mean() / lost.mean())),
                "Upside down: a network that knows the word should come out above 1.",
            ),
            Mistake(
                as_told(ratio=lambda lost, usual: float(lost.mean() - usual.mean())),
                "That is a difference, and it depends on how large losses are. A ratio is asked for.",
            ),
            Mistake(
                as_told(ratio=lambda lost, usual: float(lost.mean() / usual.mean()) - 1),
                "That is by how much the loss rises; the ratio is larger by 1.",
            ),
            Mistake(
                as_told(ratio=lambda lost, usual: float(lost.mean() / usual.mean()) ** 0.5),
                "A ratio of distances. The loss is a mean of squares.",
            ),
            Mistake(
                as_told(ratio=lambda lost, usual: float(lost[-1].mean() / usual[-1].mean())),
                "Only the last timestep is counted.",
            ),
            Mistake(
                as_told(ratio=lambda lost, usual: float(lost[0].mean() / usual[0].mean())),
                "Only the first timestep is counted.",
            ),
            Mistake(
                as_told(mixed=lambda bar, x0, noise: bar * x0 + (1 - bar) * noise),
                "Your x_t is noised without the roots of (1.13).",
            ),
            Mistake(
                as_told(against_guess=True),
                "You measure how far the two guesses are apart. An error is measured from the true noise.",
            ),
        ),
    ),
    FindTheBug(
        number="14.6",
        name="prepare",
        section="14.7",
        minutes=15,
        right=prepare,
        cases=batches,
        given=prepare_given,
        mistakes=(
            Mistake(
                prepared(scaled_after),
                "Every caption has its own coin now. How strong is the noise in x_t at the last timestep?",
            ),
            Mistake(
                prepared(scaled, lambda coins, p: coins[0] < p),
                "The latents are right now. Who decides about the second caption of a batch?",
            ),
            Mistake(
                prepared(lambda latents, noise, scale, root, rest: root * latents + rest * noise),
                "Now the scale is nowhere. Which of the two needs it, the latents or the noise?",
            ),
            Mistake(
                prepared(lambda latents, noise, scale, root, rest: root * latents / scale + rest * noise),
                "The decoder divides by the scale. And what is fed to the U-Net?",
            ),
            Mistake(
                prepared(lambda latents, noise, scale, root, rest: root * latents + rest * scale * noise),
                "The scale has gone to the noise alone, which was 1 wide already.",
            ),
            Mistake(
                prepared(scaled, lambda coins, p: (coins > p)[:, None, None]),
                "A share p of the captions is left out, not a share 1 - p.",
            ),
            Mistake(
                prepared(scaled, lambda coins, p: coins.mean() < p),
                "The mean of the coins is still one decision for the whole batch.",
            ),
            Mistake(
                prepared(scaled, lambda coins, p: (coins < p).any()),
                "One low coin leaves out all captions: still one decision for the whole batch.",
            ),
        ),
    ),
    Build(
        number="14.7",
        name="whole",
        section="14.8",
        minutes=15,
        right=whole,
        cases=micro_batches,
        mistakes=(
            Mistake(
                equal_shares,
                "Your micro-batches all count the same. Should an example of a small one count for more?",
            ),
            Mistake(not_cut, "The mean is right. It may still be too long."),
            Mistake(
                cut_early, "You cut the parts, and then take the mean. (14.14) cuts the batch's gradient."
            ),
            Mistake(cut_each_tensor, "One length for all tensors together, or the direction is not kept."),
            Mistake(cut_numbers, "You limit each number; (14.14) shortens the whole, in its direction."),
            Mistake(
                lambda gradients, sizes, longest: cut(gradients[-1], longest),
                "That is the last micro-batch alone: the others must not be forgotten.",
            ),
            Mistake(
                lambda gradients, sizes, longest: cut(weighted(gradients, sizes), 1.0),
                "Right where `longest` is 1, and it need not be.",
            ),
            Mistake(always_longest, "A short gradient should stay as it is."),
            Mistake(
                added_up,
                "The means are added up: cut in two, a micro-batch would count twice.",
            ),
            Mistake(
                of_the_sizes, "Weighted, but divided by the number of micro-batches instead of examples."
            ),
        ),
    ),
    Build(
        number="14.8",
        name="dealt",
        section="14.4",
        minutes=15,
        right=dealt,
        cases=deals,
        mistakes=(
            Mistake(
                spread(lambda i, n, u: u + i / n),
                "Some of your timesteps lie beyond the last. Go round the circle.",
            ),
            Mistake(
                spread(lambda i, n, u: (i + u) / n),
                "Even, but the first example only ever gets small timesteps: u must turn the whole circle.",
            ),
            Mistake(
                spread(lambda i, n, u: (u + i / (n - 1)) % 1),
                "On a circle the last is a neighbour of the first: with you they get the same timestep.",
            ),
            Mistake(
                spread(lambda i, n, u: (u + i / n) % 1, lambda x: x.round().long()),
                "Rounded, timestep 0 gets half of its share, and the number T can occur.",
            ),
            Mistake(
                spread(lambda i, n, u: (u + i / n) % 1, lambda x: x.long() + 1),
                "The network counts timesteps from 0, as the package does.",
            ),
            Mistake(
                spread(lambda i, n, u: i / n),
                "Where is u? Always the same timesteps, and the rest unlearned.",
            ),
            Mistake(
                spread(lambda i, n, u: u + 0 * i),
                "All examples get the same timestep: one of the faults of exercise 14.2.",
            ),
            Mistake(
                spread(lambda i, n, u: (u + i / n) % 1, lambda x: x),
                "Places on the circle, not whole numbers: which timestep does a place belong to?",
            ),
        ),
    ),
    ReachTheMark(
        number="14.9",
        name="plan",
        section="14.6",
        minutes=25,
        score=final_loss,
        what="expected loss of the average",
        mark=0.06,
        right=grown,
        mistakes=(
            Mistake(
                None,
                "Most of it is the way still to go: the start is remembered, by the weights (is the rate too "
                "low?) or by the average (is its memory too long, too early?).",
                seen=lambda answer, cases: outcome_of(answer)[0] > outcome_of(answer)[1],
            ),
            Mistake(
                None,
                "Most of it is noise. Near the end a longer memory, or a lower rate, would quiet it.",
                seen=lambda answer, cases: outcome_of(answer)[1] >= outcome_of(answer)[0],
            ),
        ),
    ),
    FindTheBug(
        number="14.10",
        name="copied",
        section="14.11",
        minutes=15,
        right=copied,
        cases=collections,
        given=copied_given,
        mistakes=(
            Mistake(
                own_twin_alone,
                "Equally many on both sides now. But on one side the nearest is chosen, and on the other you "
                "take what chance gives: the twin of the chosen one.",
            ),
            Mistake(
                own_picture_alone,
                "You turned the unfairness round: now only the twins may choose the nearest.",
            ),
            Mistake(
                among_more,
                "Both sides choose their nearest now. Of many, the nearest is nearer than of few: how many "
                "are there on each side?",
            ),
            Mistake(by_means, "A copy is near to one picture. In a mean over all of them you can't see it."),
            Mistake(
                nearest_against_mean, "You compare the nearest of one side with the middle of the other."
            ),
            Mistake(
                lambda painted, trained, twins: 1 - copied(painted, trained, twins),
                "That is the share of the paintings that are nearer to a twin.",
            ),
            Mistake(
                lambda painted, trained, twins: 100 * copied(painted, trained, twins),
                "In percent, or a count? It should be a share, from 0 to 1.",
                seen=lambda answer, cases: any(answer(*case) > 1 for case in cases),
            ),
            Mistake(
                lambda painted, trained, twins: copied(painted, trained[-len(twins) :], twins),
                "As many on both sides, but other scenes: which of the training pictures have a twin?",
            ),
        ),
    ),
]
