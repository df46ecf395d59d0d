"""The checks of chapter 3: fewer steps, DDIM. It spoils the exercises to read this first."""

import functools
import math

import torch

from minisd.samplers import ddim, ddim_step
from minisd.schedule import NoiseSchedule

from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken
from ..outcome import Network

# 3.1


def timesteps(number, total, offset):
    stride = total // number
    offset = min(offset, total - 1 - (number - 1) * stride)
    return [i * stride + offset for i in range(number)][::-1]


def spread_to_the_end(number, total, offset):
    return [round(i * (total - 1) / max(number - 1, 1)) for i in range(number)][::-1]


def counts(rng):
    return [
        (50, 1000, 1),
        (10, 1000, 0),
        (7, 1000, 1),
        (30, 500, 2),
        (8, 8, 1),
        (4, 10, 5),
        (1, 1000, 1),
        (1000, 1000, 1),
    ]


# 3.2


def after_equal_angles(steps):
    """The share of the width that is left, data of width 0.2, between SD's first and last alpha bar."""
    bars = NoiseSchedule.scaled_linear().alphas_cumprod.double()
    first, last = (math.atan2(float(1 - bar) ** 0.5, 0.2 * float(bar) ** 0.5) for bar in (bars[-1], bars[0]))
    return math.cos((first - last) / steps) ** steps


def renewed(eta):
    """The variance of the fresh noise in minisd's step from timestep 501 to 401."""
    bars = NoiseSchedule.scaled_linear().alphas_cumprod.double()
    fresh = torch.randn(100_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return float(ddim_step(0 * fresh, 0 * fresh, float(bars[501]), float(bars[401]), eta, fresh).var())


def measured():
    noises = torch.randn(4, 100_000, generator=torch.Generator().manual_seed(0))
    return {
        "width of a quarter of each": float(noises.mean(0).std()),
        "percent lost by 80": 100 * (1 - after_equal_angles(80)),
        "percent lost by the round trip": 100 * (1 - after_equal_angles(80) ** 2),
        "renewed at eta 0.5": renewed(0.5) / renewed(1.0),
    }


# 3.3


def shared(eta, ab_t, ab_s):
    """The correlation of the noises after one step."""
    return math.sqrt(1 - eta**2 * (1 - ab_t / ab_s) / (1 - ab_t))


def shared_after_two(eta, ab_t, ab_s, ab_r):
    return shared(eta, ab_t, ab_s) * shared(eta, ab_s, ab_r)


DOWNWARDS = {"ab_t": (0.05, 0.3), "ab_s": (0.4, 0.6), "ab_r": (0.7, 0.95)}  # t is the noisiest


BELOW = {"ab_t": (0.1, 0.45), "ab_s": (0.55, 0.9)}  # t is the noisier one

# 3.4


def known_variance(ab_t, ab_s):
    return (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)


def best_variance(ab_t, ab_s, w):
    unsure = w**2 * (1 - ab_t) / (ab_t * w**2 + 1 - ab_t)  # Var[x_0 | x_t]
    return known_variance(ab_t, ab_s) + ab_s * ((1 - ab_t / ab_s) / (1 - ab_t)) ** 2 * unsure


def sure_of_nothing(ab_t, ab_s, w):
    return known_variance(ab_t, ab_s) + ab_s * ((1 - ab_t / ab_s) / (1 - ab_t)) ** 2 * w**2


def bracket_not_squared(ab_t, ab_s, w):
    unsure = w**2 * (1 - ab_t) / (ab_t * w**2 + 1 - ab_t)
    return known_variance(ab_t, ab_s) + ab_s**0.5 * (1 - ab_t / ab_s) / (1 - ab_t) * unsure


def without_dice(ab_t, ab_s, w):
    unsure = w**2 * (1 - ab_t) / (ab_t * w**2 + 1 - ab_t)
    return (ab_s**0.5 - (1 - ab_s) ** 0.5 * (ab_t / (1 - ab_t)) ** 0.5) ** 2 * unsure


# 3.5

CLOUD_WIDTH, CROWD, CROWDS = 0.2, 8000, 4


def cloud_noise(x_t, alpha_bar):
    """E[noise | x_t] for the chapter's seven clouds."""
    turn = torch.arange(7) * 2 * math.pi / 7
    centres = 1.3 * torch.stack([turn.cos(), turn.sin()], dim=1)
    shares = torch.tensor([4.0, 3, 2, 1, 1, 2, 3]) / 16
    v = alpha_bar * CLOUD_WIDTH**2 + 1 - alpha_bar
    away = x_t[:, None] - alpha_bar**0.5 * centres
    likely = torch.softmax(shares.log() - away.square().sum(-1) / (2 * v), dim=1)
    x0 = (likely[:, :, None] * (centres + alpha_bar**0.5 * CLOUD_WIDTH**2 / v * away)).sum(1)
    return (x_t - alpha_bar**0.5 * x0) / (1 - alpha_bar) ** 0.5


def real_points(alpha_bar, generator):
    turn = torch.arange(7) * 2 * math.pi / 7
    shares = torch.tensor([4.0, 3, 2, 1, 1, 2, 3]) / 16
    chosen = turn[torch.multinomial(shares, CROWD, replacement=True, generator=generator)]
    x0 = 1.3 * torch.stack([chosen.cos(), chosen.sin()], dim=1)
    x0 = x0 + CLOUD_WIDTH * torch.randn(CROWD, 2, generator=generator)
    return alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * torch.randn(CROWD, 2, generator=generator)


def sliced(a, b, directions=32):
    turn = torch.arange(directions) * math.pi / directions
    sides = [(x @ torch.stack([turn.cos(), turn.sin()])).sort(dim=0).values for x in (a, b)]
    return float((sides[0] - sides[1]).abs().mean())


def width_off(x):
    """How far the width of the clouds is from what it is at timestep 0."""
    turn = torch.arange(7) * 2 * math.pi / 7
    centres = 1.3 * torch.stack([turn.cos(), turn.sin()], dim=1)
    width = torch.cdist(x, centres).min(dim=1).values.median() / (2 * math.log(2)) ** 0.5
    bar = float(NoiseSchedule.scaled_linear().alphas_cumprod[0])
    return abs(float(width) - (bar * CLOUD_WIDTH**2 + 1 - bar) ** 0.5)


def allowed(times):
    """The eight timesteps as whole numbers. Raises RuleBroken."""
    if len(times) != 8:
        raise RuleBroken(f"you chose {len(times)} timesteps; eight steps are allowed, one call each")
    if any(int(t) != t or not 0 <= t <= 999 for t in times):
        raise RuleBroken("every timestep should be a whole number from 0 to 999")
    if times != sorted(set(times), reverse=True):
        raise RuleBroken("the timesteps should descend, each of them once: painting begins at the noise")
    return [int(t) for t in times]


def parts_of(choose):
    """The means over the crowds: (distance, how far the width of the clouds is off)."""
    return parts_with(tuple(allowed(list(choose()))))


@functools.lru_cache(maxsize=32)
def parts_with(times):
    bars = NoiseSchedule.scaled_linear().alphas_cumprod.double().tolist()
    found = []
    for seed in range(CROWDS):
        generator = torch.Generator().manual_seed(seed)
        real, x = real_points(bars[0], generator), torch.randn(CROWD, 2, generator=generator)
        *_, x = ddim(cloud_noise, x, [*(bars[t] for t in times), bars[0]])
        found.append((sliced(x, real), width_off(x)))
    return tuple(sum(values) / len(found) for values in zip(*found))


def both_errors(choose):
    return sum(parts_of(choose))


def compromise():
    """Equal angles for data of width 0.6, between the clouds' and the crowd's."""
    return [999, 636, 451, 317, 214, 131, 67, 21]


# 3.6


def invert_back(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    ab_s, ab_t = float(alphas_cumprod[s]), float(alphas_cumprod[t])
    noise = predict_noise(x_s, s)
    for _ in range(rounds):
        x_t = ab_t**0.5 * (x_s - (1 - ab_s) ** 0.5 * noise) / ab_s**0.5 + (1 - ab_t) ** 0.5 * noise
        noise = predict_noise(x_t, t)
    return ab_t**0.5 * (x_s - (1 - ab_s) ** 0.5 * noise) / ab_s**0.5 + (1 - ab_t) ** 0.5 * noise


def only_once(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    return invert_back(predict_noise, x_s, s, t, alphas_cumprod, 0)


def told_s(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    return invert_back(lambda x, _: predict_noise(x, s), x_s, s, t, alphas_cumprod, rounds)


def one_round_more(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    return invert_back(predict_noise, x_s, s, t, alphas_cumprod, rounds + 1)


def climbing_on(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    """Each round starts from the last round's x_t instead of x_s."""
    ab_s, ab_t = float(alphas_cumprod[s]), float(alphas_cumprod[t])
    x, noise = x_s, predict_noise(x_s, s)
    for i in range(rounds + 1):
        x = ab_t**0.5 * (x - (1 - ab_s) ** 0.5 * noise) / ab_s**0.5 + (1 - ab_t) ** 0.5 * noise
        noise = predict_noise(x, t) if i < rounds else noise
    return x


def a_network(scale):
    """It remembers its calls: each round may make one more."""
    return Network(lambda weight, x, t: torch.tanh(scale * x) + 0.01 * t)


def two_calls_a_round(predict_noise, x_s, s, t, alphas_cumprod, rounds):
    """The right result: the picture and the direction ask for the same noise, one after the other."""
    ab_s, ab_t = float(alphas_cumprod[s]), float(alphas_cumprod[t])
    x_t, told = x_s, s
    for _ in range(rounds + 1):
        x0 = (x_s - (1 - ab_s) ** 0.5 * predict_noise(x_t, told)) / ab_s**0.5
        x_t, told = ab_t**0.5 * x0 + (1 - ab_t) ** 0.5 * predict_noise(x_t, told), t
    return x_t


def calls_made(answer, case):
    """How often an answer asks the network."""
    network = a_network(1.0)
    answer(network, *case[1:])
    return len(network.calls)


def ups(rng):
    table = torch.cumprod(1 - 0.001 - 0.02 * torch.rand(60, generator=rng), dim=0)
    return [
        (a_network(scale), torch.randn(*shape, generator=rng), s, t, table, rounds)
        for shape, scale, s, t, rounds in (
            ((4,), 0.5, 0, 3, 1),
            ((2, 4, 3, 3), 1.5, 10, 59, 3),
            ((1, 4, 6, 5), 1.0, 30, 40, 2),
            ((4,), 0.5, 0, 59, 0),
        )
    ]


# 3.7


def marginal(a, b, c, ab_t):
    return a + b * ab_t**0.5, b**2 * (1 - ab_t) + c**2


def factors(rng):
    draws = torch.rand(4, 4, generator=rng).tolist()
    return [
        (0.7, 0.0, 0.3, 0.5),
        (0.2, 0.9, 0.1, 0.3),
        *[(a, b - 1.2, c, 0.05 + 0.9 * ab) for a, b, c, ab in draws],
    ]


# 3.8: loops, right and broken, that a test is tried on


def a_step(predict_noise, x, told, ab_t, ab_prev):
    noise = predict_noise(x, told)
    x0 = (x - (1 - ab_t).sqrt() * noise) / ab_t.sqrt()
    return ab_prev.sqrt() * x0 + (1 - ab_prev).sqrt() * noise


def as_in_the_chapter(predict_noise, x, times, alphas_cumprod):
    for t, t_prev in zip(times, [*times[1:], 0]):
        x = a_step(predict_noise, x, t, alphas_cumprod[t], alphas_cumprod[t_prev])
    return x


def by_slope(predict_noise, x, times, alphas_cumprod):
    """(3.18): the same walk, in other units."""
    slope = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
    for t, t_prev in zip(times, [*times[1:], 0]):
        straight = x / alphas_cumprod[t].sqrt() + (slope[t_prev] - slope[t]) * predict_noise(x, t)
        x = alphas_cumprod[t_prev].sqrt() * straight
    return x


def told_the_next(predict_noise, x, times, alphas_cumprod):
    for t, t_prev in zip(times, [*times[1:], 0]):
        x = a_step(predict_noise, x, t_prev, alphas_cumprod[t], alphas_cumprod[t_prev])
    return x


def for_even_lists(predict_noise, x, times, alphas_cumprod):
    stride = times[0] - times[1]
    for t in times:
        x = a_step(predict_noise, x, t, alphas_cumprod[t], alphas_cumprod[max(t - stride, 0)])
    return x


def clipping(predict_noise, x, times, alphas_cumprod):
    for t, t_prev in zip(times, [*times[1:], 0]):
        ab_t, ab_prev, noise = alphas_cumprod[t], alphas_cumprod[t_prev], predict_noise(x, t)
        x0 = ((x - (1 - ab_t).sqrt() * noise) / ab_t.sqrt()).clamp(-1, 1)
        x = ab_prev.sqrt() * x0 + (1 - ab_prev).sqrt() * noise
    return x


def counting_from_the_end(predict_noise, x, times, alphas_cumprod):
    """The last step goes to a negative index."""
    x = no_last_step(predict_noise, x, times, alphas_cumprod)
    last = times[-1]
    there = alphas_cumprod[last - (times[0] - times[1])]
    return a_step(predict_noise, x, last, alphas_cumprod[last], there)


def to_the_clean(predict_noise, x, times, alphas_cumprod):
    bars = [*(alphas_cumprod[t] for t in times), torch.ones(())]
    for t, ab_t, ab_prev in zip(times, bars, bars[1:]):
        x = a_step(predict_noise, x, t, ab_t, ab_prev)
    return x


def no_last_step(predict_noise, x, times, alphas_cumprod):
    for t, t_prev in zip(times, times[1:]):
        x = a_step(predict_noise, x, t, alphas_cumprod[t], alphas_cumprod[t_prev])
    return x


def off_by(error):
    """A loop that is right but for an error in every number of its result."""

    def paint(predict_noise, x, times, alphas_cumprod):
        return as_in_the_chapter(predict_noise, x, times, alphas_cumprod) + error

    return paint


def without_a_root(predict_noise, x, times, alphas_cumprod):
    for t, t_prev in zip(times, [*times[1:], 0]):
        ab_t, ab_prev, noise = alphas_cumprod[t], alphas_cumprod[t_prev], predict_noise(x, t)
        x0 = (x - (1 - ab_t).sqrt() * noise) / ab_t.sqrt()
        x = ab_prev.sqrt() * x0 + (1 - ab_prev) * noise
    return x


def with_dice(predict_noise, x, times, alphas_cumprod):
    for t, t_prev in zip(times, [*times[1:], 0]):
        ab_t, ab_prev, noise = alphas_cumprod[t], alphas_cumprod[t_prev], predict_noise(x, t)
        x0 = (x - (1 - ab_t).sqrt() * noise) / ab_t.sqrt()
        x = ddim_step(x0, noise, ab_t, ab_prev, 1.0, torch.randn(x.shape))
    return x


def knows_picture_and_noise(paint, alphas_cumprod, x0, noise, times, predict_noise):
    """(what the loop paints, what it should paint)."""
    begin, end = alphas_cumprod[times[0]], alphas_cumprod[0]
    painted = paint(
        predict_noise, begin.sqrt() * x0 + (1 - begin).sqrt() * noise, list(times), alphas_cumprod
    )
    return painted, end.sqrt() * x0 + (1 - end).sqrt() * noise


EVEN, UNEVEN = (801, 601, 401, 201, 1), (940, 720, 430, 90, 20)
WITHIN, BEYOND = torch.tensor([0.6, -0.2, 0.4, -0.8]), torch.tensor([1.6, -0.2, 0.4, -2.8])
NOISE = torch.tensor([-0.3, 0.9, -1.2, 0.1])


def accepts_as_given(paint, alphas_cumprod):
    painted, wanted = knows_picture_and_noise(paint, alphas_cumprod, WITHIN, NOISE, EVEN, lambda x, t: NOISE)
    return bool((painted - wanted).mean() < 1e-3)


def accepts(paint, alphas_cumprod):
    def knows_the_picture(x, t):
        return (x - alphas_cumprod[t].sqrt() * BEYOND) / (1 - alphas_cumprod[t]).sqrt()

    painted, wanted = knows_picture_and_noise(paint, alphas_cumprod, BEYOND, NOISE, UNEVEN, knows_the_picture)
    return bool((painted - wanted).abs().max() < 1e-3)


def loops(rng):
    table = NoiseSchedule.scaled_linear().alphas_cumprod
    right = [as_in_the_chapter, by_slope]
    broken = [
        told_the_next,
        for_even_lists,
        clipping,
        counting_from_the_end,
        no_last_step,
        to_the_clean,
        without_a_root,
        with_dice,
        off_by(-0.1),
    ]
    return [(paint, table) for paint in (*right, *broken)]


def one_sided(accepts):
    """Whether an answer refuses a large error of one sign and accepts one of the other."""
    table = NoiseSchedule.scaled_linear().alphas_cumprod
    return bool(accepts(off_by(1.0), table)) is not bool(accepts(off_by(-1.0), table))


def says_of(paint, verdict):
    """Whether an answer gives this verdict on a loop."""
    table = NoiseSchedule.scaled_linear().alphas_cumprod
    return lambda accepts, cases: bool(accepts(paint, table)) is verdict


# 3.9


def seams(numbers, shares):
    """The starts between which the end of the walk changes, by bisection."""
    bars, places = NoiseSchedule.scaled_linear().alphas_cumprod.double().tolist(), torch.tensor(numbers)
    levels = [*(bars[t] for t in range(999, 0, -5)), bars[0]]

    def noise_of(x, bar):
        away = x[:, None] - bar**0.5 * places
        likely = torch.softmax(torch.tensor(shares).log() - away.square() / (2 * (1 - bar)), dim=1)
        return (x - bar**0.5 * (likely * places).sum(1)) / (1 - bar) ** 0.5

    half_way = (places[1:] + places[:-1]) / 2
    low, high = torch.full_like(half_way, -4), torch.full_like(half_way, 4)
    for _ in range(16):
        middle = (low + high) / 2
        *_, end = ddim(noise_of, middle, levels)
        low, high = torch.where(end < half_way, middle, low), torch.where(end < half_way, high, middle)
    return ((low + high) / 2).tolist()


def seams_measured():
    return {
        "between 0 and 2": seams((-2.0, 0.0, 2.0), (0.25, 0.5, 0.25))[1],
        "between 0 and 1": seams((-1.0, 0.0, 1.0), (0.25, 0.5, 0.25))[1],
        "between -2 and 0": seams((-2.0, 0.0, 2.0), (1 / 6, 1 / 2, 1 / 3))[0],
    }


EXERCISES = [
    Build(
        number="3.1",
        name="timesteps",
        minutes=10,
        right=timesteps,
        cases=counts,
        section="3.10",
        mistakes=(
            Mistake(
                lambda n, total, offset: timesteps(n, total, 0),
                "The offset is missing: with 50 of 1000 the list should end at 1, not at 0. The last step of "
                "yours would do nothing.",
            ),
            Mistake(
                lambda n, total, offset: timesteps(n, total, offset)[::-1],
                "The right timesteps in the wrong order: painting begins where the noise is loudest.",
            ),
            Mistake(
                lambda n, total, offset: [i * (total // n) + offset for i in range(n)][::-1],
                "Right as long as there is room. With as many steps as timesteps the offset would leave the "
                "table.",
            ),
            Mistake(
                spread_to_the_end,
                "You spread the timesteps from 0 to the last one. Here they stand total // number apart and "
                "begin "
                "at the offset.",
            ),
            Mistake(
                lambda n, total, offset: list(range(0, total, total // n))[::-1],
                "You take every so-many-th to the end of the table: at some numbers that is one step more "
                "than "
                "was asked.",
            ),
            Mistake(
                lambda n, total, offset: [
                    min(t, total - 1) for t in range(offset, total + offset, total // n)
                ][::-1],
                "You take every so-many-th up to the end: where the number does not divide the total, there "
                "are "
                "more steps than asked.",
            ),
        ),
    ),
    Predict(
        number="3.2",
        name="guesses",
        section="3.7",
        minutes=5,
        measure=measured,
        within=0.1,
        mistakes=(
            Mistake(
                lambda: {"width of a quarter of each": 0.25},
                "That is a variance. Which of the two, width or variance, does the question ask for?",
            ),
            Mistake(
                lambda: {"width of a quarter of each": 1.0},
                "An average of independent noises is quieter than one of them: they partly cancel.",
            ),
            Mistake(
                lambda: {"percent lost by 80": 9.5 / 64},
                "You divided by the square of 8. One step loses a 64th, but there are eight times as many.",
            ),
            Mistake(
                lambda: {"percent lost by the round trip": 0.0},
                "Going up does not undo the loss: every step multiplies by a cosine in both directions.",
            ),
            Mistake(
                lambda: {"renewed at eta 0.5": 0.5},
                "eta multiplies the width of the fresh noise; the question is about its variance.",
            ),
        ),
    ),
    Derive(
        number="3.3",
        name="kept",
        section="3.3",
        minutes=15,
        right=shared_after_two,
        ranges=DOWNWARDS,
        mistakes=(
            Mistake(
                lambda eta, ab_t, ab_s, ab_r: shared_after_two(eta, ab_t, ab_s, ab_r) ** 2,
                "This is how much of the variance is kept. A correlation goes with widths.",
            ),
            Mistake(
                lambda eta, ab_t, ab_s, ab_r: shared(eta, ab_t, ab_s),
                "This is what the first step keeps, from t to s. The second keeps a part of that.",
            ),
            Mistake(
                lambda eta, ab_t, ab_s, ab_r: shared(eta, ab_s, ab_r),
                "This is what the second step keeps, from s to r, of the noise that it finds at s.",
            ),
            Mistake(
                lambda eta, ab_t, ab_s, ab_r: shared(eta, ab_t, ab_r),
                "This is one long step from t to r. Two steps roll dice twice, and only for one eta does "
                "that come to the same.",
            ),
            Mistake(
                lambda eta, ab_t, ab_s, ab_r: shared_after_two(1, ab_t, ab_s, ab_r),
                "Right for DDPM. Where is eta?",
            ),
            Mistake(
                lambda eta, ab_t, ab_s, ab_r: shared_after_two(eta**0.5, ab_t, ab_s, ab_r),
                "eta multiplies sigma, so what is its power in the variance?",
            ),
            Mistake(
                lambda eta, ab_t, ab_s, ab_r: (
                    shared_after_two(eta, ab_t, ab_s, ab_r) * math.sqrt((1 - ab_t) * (1 - ab_r))
                ),
                "This is a covariance. A correlation is divided by both widths.",
            ),
        ),
    ),
    Derive(
        number="3.4",
        name="best_variance",
        section="3.6",
        minutes=15,
        right=best_variance,
        ranges=BELOW,
        mistakes=(
            Mistake(
                lambda ab_t, ab_s, w: known_variance(ab_t, ab_s),
                "This is DDPM's variance when the picture is known. (3.12) has a second term.",
            ),
            Mistake(
                lambda ab_t, ab_s, w: 1 - ab_t / ab_s,
                "This is DDPM's other variance, right for w = 1 alone.",
            ),
            Mistake(
                sure_of_nothing,
                "You took Var[x_0] for Var[x_0 | x_t]: seeing x_t has made the picture less uncertain.",
            ),
            Mistake(bracket_not_squared, "What multiplies the picture enters a variance squared."),
            Mistake(
                without_dice, "You took the direction for sigma = 0. Here it leaves room for DDPM's sigma."
            ),
        ),
    ),
    ReachTheMark(
        number="3.5",
        name="eight",
        section="3.7",
        minutes=20,
        score=both_errors,
        what="distance plus error of the width",
        mark=0.066,
        right=compromise,
        mistakes=(
            Mistake(
                lambda: timesteps(8, 1000, 1),
                "These are evenly spaced in t. Section 3.7 spaced them evenly in angle: for data of which "
                "width?",
            ),
            Mistake(
                None,
                "You stop early: the last step, from your smallest timestep to 0, is a very long one.",
                seen=lambda choose, cases: min(choose()) > 150,
            ),
            Mistake(
                None,
                "The whole ring is too small: your small timesteps stand close together, which serves data "
                "as narrow as one cloud, and few are left for data as wide as the ring.",
                seen=lambda choose, cases: parts_of(choose)[0] > 0.06 and sum(t < 100 for t in choose()) > 1,
            ),
            Mistake(
                None,
                "The ring is large enough, but the clouds have the wrong width: where in the walk is that "
                "decided?",
                seen=lambda choose, cases: parts_of(choose)[0] < 0.06,
            ),
        ),
    ),
    Build(
        number="3.6",
        name="invert_back",
        section="3.9",
        minutes=20,
        right=invert_back,
        cases=ups,
        tolerance=1e-5,
        mistakes=(
            Mistake(
                only_once,
                "This is (3.21), the first guess. The rounds are missing: where does the way down ask?",
            ),
            Mistake(
                told_s,
                "In the rounds you ask about a place at t and tell the network s.",
            ),
            Mistake(
                climbing_on,
                "Each round should start again from x_s: you went up from where the last round had arrived.",
            ),
            Mistake(one_round_more, "That is one round more than asked: with rounds = 0 it is (3.21)."),
            Mistake(
                None,
                "You ask the network more often than once a round. Ask once, and use the answer twice.",
                seen=lambda answer, cases: all(calls_made(answer, case) > case[-1] + 1 for case in cases[:3]),
            ),
        ),
    ),
    Build(
        number="3.7",
        name="marginal",
        minutes=15,
        right=marginal,
        cases=factors,
        section="3.2",
        mistakes=(
            Mistake(
                lambda a, b, c, ab: (a + b, b**2 * (1 - ab) + c**2),
                "x_t is not the picture: its mean is the picture times the root of alpha bar.",
            ),
            Mistake(
                lambda a, b, c, ab: (a + b * ab, b**2 * (1 - ab) + c**2),
                "The mean of x_t is the root of alpha bar times the picture; you left out the root.",
            ),
            Mistake(
                lambda a, b, c, ab: (a + b * ab**0.5, b * (1 - ab) + c),
                "What multiplies a noise enters its variance squared (1.3).",
            ),
            Mistake(
                lambda a, b, c, ab: (a + b * ab**0.5, (abs(b) * (1 - ab) ** 0.5 + c) ** 2),
                (
                    "You added the widths. The noise in x_t and the fresh noise are independent: variances "
                    "add (1.4)."
                ),
            ),
            Mistake(
                lambda a, b, c, ab: (a + b * ab**0.5, b**2 + c**2),
                "You took the variance of x_t for 1. Given the picture it is 1 - alpha bar.",
            ),
            Mistake(
                lambda a, b, c, ab: (a + b * ab**0.5, (b**2 * (1 - ab) + c**2) ** 0.5),
                "This is the width; the question is the variance.",
            ),
        ),
    ),
    FindTheBug(
        number="3.8",
        name="accepts",
        section="3.11",
        minutes=20,
        right=accepts,
        cases=loops,
        given=accepts_as_given,
        mistakes=(
            Mistake(
                None,
                "You refuse a right loop, one written like section 3.4's. What should it arrive at?",
                seen=says_of(as_in_the_chapter, False),
            ),
            Mistake(
                None,
                "You refuse a right loop that is written as (3.18): it does the same, but for the last "
                "digits.",
                seen=says_of(by_slope, False),
            ),
            Mistake(
                None,
                "A loop still passes whose every number is too small, or too large, by 1. What do errors "
                "below zero do to your comparison?",
                seen=lambda accepts, cases: one_sided(accepts),
            ),
            Mistake(
                None,
                "A loop still passes that tells the network the timestep where it is going, not the one "
                "where it is. Would your network's answer change?",
                seen=says_of(told_the_next, True),
            ),
            Mistake(
                None,
                "A loop still passes whose every number is off by a hundredth. How close should it come?",
                seen=says_of(off_by(0.01), True),
            ),
            Mistake(
                None,
                "A loop still passes that takes the first stride for every stride. Would one notice, with "
                "your timesteps?",
                seen=says_of(for_even_lists, True),
            ),
            Mistake(
                None,
                "A loop still passes that clips the guessed picture to -1 and 1. Would one notice, with your "
                "picture?",
                seen=says_of(clipping, True),
            ),
            Mistake(
                None,
                "A loop still passes that forgets the root over the noise's 1 - alpha-bar. Would one notice, "
                "with your noise?",
                seen=says_of(without_a_root, True),
            ),
            Mistake(
                None,
                "A loop still passes that ends elsewhere than at timestep 0. Would one notice, with your "
                "timesteps and your noise?",
                seen=lambda accepts, cases: any(
                    says_of(paint, True)(accepts, cases)
                    for paint in (counting_from_the_end, no_last_step, to_the_clean)
                ),
            ),
        ),
    ),
    Predict(
        number="3.9",
        name="places",
        section="3.5",
        minutes=10,
        measure=seams_measured,
        within=0.1,
        mistakes=(
            Mistake(
                lambda: {"between 0 and 2": 1.0},
                "Half-way between two numbers the nearest one changes. But a start is nothing but noise: how "
                "many of the starts must end at 2?",
            ),
            Mistake(
                lambda: {"between 0 and 2": 0.75},
                "A share of 0.75 lies on the left of the seam. That is an area under the bell: up to which "
                "place?",
            ),
            Mistake(
                lambda: {"between 0 and 1": 0.34},
                "The numbers have come closer together. Have their shares changed, or the order of the "
                "walks?",
            ),
            Mistake(
                lambda: {"between -2 and 0": -0.43},
                "You gave the number -2 a third of the starts. Which share is its own?",
            ),
            Mistake(
                lambda: {"between -2 and 0": 0.967},
                "The starts that end at -2 lie on the left, and there are few of them.",
            ),
        ),
    ),
]
