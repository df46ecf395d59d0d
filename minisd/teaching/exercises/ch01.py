"""The checks of chapter 1: Gaussian noise. It spoils the exercises to read this first."""

import math
import random
from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor

from ...scenes import COLOURS, GROUNDS, HOURS, KINDS, SIZES, Scene, Thing, render
from ...schedule import NoiseSchedule
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

Cases = list[tuple]


def random_table(rng: torch.Generator, steps: int) -> Tensor:
    """alphas_cumprod (steps,) of a random schedule."""
    betas = 0.001 + 0.02 * torch.rand(steps, generator=rng)
    return torch.cumprod(1 - betas, dim=0)


def pairs_of(rng: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Pictures and noises, (batch, channels, height, width): square and not, many and one."""
    shapes = ((5, 3, 5, 5), (1, 4, 6, 4), (8, 2, 3, 8))
    return [(torch.randn(shape, generator=rng), torch.randn(shape, generator=rng)) for shape in shapes]


def as_tensor(scene: Scene, seed: int = 7, size: int = 128) -> Tensor:
    """A rendered scene as numbers from -1 to 1: (3, size, size)."""
    return torch.from_numpy(render(scene, seed=seed, size=size)).permute(2, 0, 1) / 127.5 - 1


# 1.1


def widths() -> dict[str, float]:
    """Measured with numbers drawn from a fixed seed."""
    rng = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 200_000, generator=rng)
    many = torch.randn(2_000, 2_500, generator=rng)
    return {
        "sum of two": float((first + second).std()),
        "difference of two": float((first - second).std()),
        "one noise twice": float((first + first).std()),
        "mean of 2,500": float(many.mean(dim=1).std()),
    }


# 1.2

DOSES, WALKERS, STRENGTH = 300, 2000, 0.01
FAULTS = {
    "A": "jumps",
    "B": "one noise for all doses",
    "C": "uniform noise",
    "D": "right",
    "E": "shrunk by 1 - beta",
    "F": "neighbours share noise",
}


def six_walks() -> dict[str, Tensor]:
    """Six colleagues' walks from x_0 = 2, each (doses + 1, walkers)."""
    rng = torch.Generator().manual_seed(0)
    return {letter: walk_with(fault, rng) for letter, fault in FAULTS.items()}


def walk_with(fault: str, rng: torch.Generator) -> Tensor:
    """Where the walkers of one colleague are after 0, 1, 2, ... doses."""
    if fault == "jumps":
        alpha_bar = (1 - STRENGTH) ** torch.arange(DOSES + 1.0)[:, None]
        noises = torch.randn(DOSES + 1, WALKERS, generator=rng)
        return alpha_bar.sqrt() * 2 + (1 - alpha_bar).sqrt() * noises
    shrink = 1 - STRENGTH if fault == "shrunk by 1 - beta" else (1 - STRENGTH) ** 0.5
    path = [torch.full((WALKERS,), 2.0)]
    for noise in noises_with(fault, rng):
        path.append(shrink * path[-1] + STRENGTH**0.5 * noise)
    return torch.stack(path)


def noises_with(fault: str, rng: torch.Generator) -> Tensor:
    """The noises of one colleague's walk: (doses, walkers)."""
    if fault == "uniform noise":
        return (2 * torch.rand(DOSES, WALKERS, generator=rng) - 1) * 3**0.5
    if fault == "one noise for all doses":
        return torch.randn(WALKERS, generator=rng).expand(DOSES, WALKERS)
    if fault == "neighbours share noise":
        return torch.randn(DOSES, WALKERS // 2, generator=rng).repeat_interleave(2, dim=1)
    return torch.randn(DOSES, WALKERS, generator=rng)


# 1.3


def at_loudness(x0: Tensor, noise: Tensor, decibels: Tensor) -> Tensor:
    return mixed(x0, noise, torch.sigmoid(decibels * math.log(10) / 10))


def mixed(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    alpha_bar = alpha_bar.view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def ratio_of(decibels: Tensor) -> Tensor:
    return 10 ** (decibels / 10)


def loudnesses(rng: torch.Generator) -> Cases:
    levels = ([20.0, -20.0, 0.0, 7.5, -3.0], [0.0], torch.randn(8, generator=rng).mul(12).tolist())
    return [(x0, noise, torch.tensor(level)) for (x0, noise), level in zip(pairs_of(rng), levels)]


def along_the_width(x0: Tensor, noise: Tensor, decibels: Tensor) -> Tensor:
    alpha_bar = torch.sigmoid(decibels * math.log(10) / 10)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


# 1.6

Pair = tuple[Tensor, Tensor]


def training_pair(x0: Tensor, noise: Tensor, t: Tensor, betas: Tensor) -> Pair:
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t].view(-1, 1, 1, 1)
    of_picture, of_noise = alpha_bar.sqrt().to(x0.dtype), (1 - alpha_bar).sqrt().to(x0.dtype)
    return of_picture * x0 + of_noise * noise, noise


def in_short_numbers(x0: Tensor, noise: Tensor, t: Tensor, betas: Tensor) -> Pair:
    return mixed(x0, noise, torch.cumprod(1 - betas.to(x0.dtype), dim=0)[t]), noise


def half_repaired(x0: Tensor, noise: Tensor, t: Tensor, betas: Tensor) -> Pair:
    return mixed(x0, noise, torch.cumprod(1 - betas, dim=0)[t].to(x0.dtype)), noise


def batches(rng: torch.Generator) -> Cases:
    """Short numbers with Stable Diffusion's doses and with equal ones, full ones with strong doses."""
    short, full, sd = torch.bfloat16, torch.float32, NoiseSchedule.scaled_linear().betas
    strong = 0.05 + 0.25 * torch.rand(60, generator=rng)
    cases = (
        (short, [0, 100, 187, 500, 999], sd),
        (short, [0], sd),
        (full, [0, 3, 1, 5, 59, 2, 8, 0], strong),
        (short, [0, 5, 20, 60, 100, 200, 300, 399], torch.full((400,), 0.0015)),
    )
    pairs = (*pairs_of(rng), pairs_of(rng)[2])
    return [
        (x0.to(kind), noise.to(kind), torch.tensor(t), betas)
        for (kind, t, betas), (x0, noise) in zip(cases, pairs)
    ]


# 1.7


def scaled_linear(steps: int) -> Tensor:
    return NoiseSchedule.scaled_linear(steps=steps).alphas_cumprod


def end_in_noise(alphas_cumprod: Tensor) -> Tensor:
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2


def without_roots(alphas_cumprod: Tensor) -> Tensor:
    first, last = alphas_cumprod[0], alphas_cumprod[-1]
    return (alphas_cumprod - last) * first / (first - last)


def last_one_only(alphas_cumprod: Tensor) -> Tensor:
    new = alphas_cumprod.clone()
    new[-1] = 0
    return new


def tables(rng: torch.Generator) -> Cases:
    return [
        (scaled_linear(1000),),
        (random_table(rng, 40),),
        (random_table(rng, 7).double(),),
        (torch.tensor([0.9, 0.2]),),
    ]


# 1.8


def twice_as_large() -> dict[str, float]:
    """What changes when every pixel of two pictures becomes 2 x 2 pixels."""
    red, orange = (
        as_tensor(Scene((Thing("mushroom", colour, "small"),), "grass", "day"))
        for colour in ("red", "orange")
    )
    large = [x.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2) for x in (red, orange)]
    distances = [float((red - orange).norm()), float((large[0] - large[1]).norm())]
    snr = [(4.65 / d) ** 2 for d in distances]  # below it they are drowned
    table = NoiseSchedule.scaled_linear().snr(torch.arange(1000))
    return {
        "distance d": distances[1] / distances[0],
        "SNR at which they drown": snr[1] / snr[0],
        "drowned from t": int((table < snr[1]).int().argmax()),
        "lead of the mean (1.22)": 2.0,
    }


# 1.9

LAST = float(scaled_linear(1000)[-1])
PER_HOUR, NOISES = 100, 3


@cache
def scenes(per_hour: int, seed: int, size: int = 64) -> Mapping[str, Tensor]:
    """Random pictures, {time of day: (per_hour, 3, size, size)}."""
    dice = random.Random(seed)
    found = {}
    for hour in HOURS:
        drawn = []
        for _ in range(per_hour):
            thing = Thing(dice.choice(KINDS), dice.choice(COLOURS), dice.choice(SIZES))
            scene = Scene((thing,), dice.choice(GROUNDS), hour)
            drawn.append(as_tensor(scene, dice.randrange(10**6), size))
        found[hour] = torch.stack(drawn)
    return found


def in_snow(per_hour: int) -> list[tuple[Tensor, str]]:
    """Unseen pictures at Stable Diffusion's last timestep, each with three noises, and their time of day."""
    rng = torch.Generator().manual_seed(5)
    return [
        (LAST**0.5 * x + (1 - LAST) ** 0.5 * torch.randn(x.shape, generator=rng), hour)
        for hour, pictures in scenes(PER_HOUR, seed=1).items()
        for x in pictures[:per_hour]
        for _ in range(NOISES)
    ]


def examples() -> dict[str, Tensor]:
    return {hour: pictures.clone() for hour, pictures in scenes(20, seed=0).items()}


def share_read(answer: Callable) -> float:
    """The share of noised pictures whose time of day is read rightly."""
    right, shown, known = 0, in_snow(PER_HOUR), examples()
    for x_t, hour in shown:
        said = answer(x_t, LAST, known)
        if said not in HOURS:
            raise RuleBroken(f"{said!r:.40} is no answer: return 'night', 'sunset' or 'day'.")
        right += said == hour
    return right / len(shown)


def by_place(x_t: Tensor, alpha_bar: float, examples: Mapping[str, Tensor]) -> str:
    """The nearest of three mean pictures, as pale as the picture must be in x_t."""
    return min(examples, key=lambda hour: float((x_t - alpha_bar**0.5 * examples[hour].mean(0)).norm()))


def changed(answer: Callable, change: Callable[[Tensor], Tensor], alpha_bar: float = LAST) -> bool:
    """Whether any of ninety answers changes with the picture, or with alpha-bar."""
    known = examples()
    return any(answer(x_t, LAST, known) != answer(change(x_t), alpha_bar, known) for x_t, _ in in_snow(10))


def same(x_t: Tensor) -> Tensor:
    return x_t


def colours_moved(x_t: Tensor) -> Tensor:
    return x_t.roll(1, dims=0)


def upside_down(x_t: Tensor) -> Tensor:
    return x_t.flip(1)


def never_changes(answer: Callable, cases: Cases) -> bool:
    known = examples()
    return len({answer(x_t, LAST, known) for x_t, _ in in_snow(20)}) == 1


EXERCISES = [
    Predict(
        number="1.1",
        name="guesses",
        section="1.3",
        minutes=5,
        measure=widths,
        within=0.06,
        mistakes=(
            Mistake(
                lambda: {"sum of two": 2.0},
                "You added the widths of the two noises. Half of the time they pull in opposite "
                "directions: what adds up is the variances.",
            ),
            Mistake(
                lambda: {"difference of two": 0.0},
                "Subtracting one noise does not take the other away: they are independent. What is the "
                "variance of -1 times a noise, by (1.3)?",
            ),
            Mistake(
                lambda: {"one noise twice": 2**0.5},
                "Variances add for independent numbers. Is a number independent of itself?",
            ),
            Mistake(
                lambda: {"mean of 2,500": 1.0},
                "One number has width 1. Its neighbours are as often above as below, so in a mean they "
                "partly cancel.",
            ),
            Mistake(
                lambda: {"mean of 2,500": 1 / 2500},
                "You divided the width of one number by their count. But the sum of them has grown wider, "
                "too: by how much, (1.6)?",
            ),
            Mistake(
                lambda: {"sum of two": 2**0.5, "mean of 2,500": 50.0},
                "This is the width of the sum of 2,500 noises. A mean also divides by their number.",
            ),
        ),
    ),
    Predict(
        number="1.2",
        name="verdicts",
        section="1.5",
        minutes=20,
        measure=lambda: FAULTS,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"B": "not shrunk"},
                "Without shrinking the variance would be 3 after 300 doses, by (1.7). How large is B's?",
            ),
            Mistake(
                lambda: {"E": "beta for its root"},
                "E's variance comes to rest too low. But look at it after a single dose: is it beta, or "
                "beta squared?",
            ),
            Mistake(
                lambda: {"E": "not shrunk"},
                "Where would the mean be if nothing were shrunk? Look at E's.",
            ),
            Mistake(
                lambda: {"C": "right"},
                "C has the right mean and the right variance at every dose. Those are two numbers; look at "
                "the whole distribution, early and late.",
            ),
            Mistake(
                lambda: {"A": "right"},
                "In A every dose, looked at alone, is as it should be. Look at two doses together.",
            ),
            Mistake(
                lambda: {"F": "right"},
                "In F every walker, looked at alone, is as it should be. Look at two walkers together.",
            ),
            Mistake(
                None,
                "You suspect D. How far is what you measured there from what (1.13) says, and how far does "
                "chance take 2,000 walkers?",
                seen=lambda answer, cases: answer["D"] != "right",
            ),
        ),
    ),
    Build(
        number="1.3",
        name="at_loudness",
        section="1.7",
        minutes=15,
        right=at_loudness,
        cases=loudnesses,
        mistakes=(
            Mistake(
                lambda x0, noise, db: mixed(x0, noise, (r := 10 ** (db / 20)) / (1 + r)),
                "You took 20 for 10: that is for ratios of widths, and the signal-to-noise ratio is one of "
                "variances.",
            ),
            Mistake(
                lambda x0, noise, db: mixed(x0, noise, (r := torch.exp(db / 10)) / (1 + r)),
                "A decibel goes by powers of 10, not of e.",
            ),
            Mistake(
                None,
                "You took the ratio itself for alpha bar. (1.20) must be solved for it: at 0 decibels, where "
                "picture and noise are equally loud, alpha bar is one half.",
                seen=lambda answer, cases: all(
                    torch.allclose(
                        answer(x0, noise, db), mixed(x0, noise, ratio_of(db)), atol=1e-5, equal_nan=True
                    )
                    for x0, noise, db in cases
                ),
            ),
            Mistake(
                lambda x0, noise, db: mixed(x0, noise, torch.sigmoid(-db * math.log(10) / 10)),
                "Upside down: with many decibels it should be the picture that is loud.",
            ),
            Mistake(
                lambda x0, noise, db: x0 + ratio_of(-db).sqrt().view(-1, 1, 1, 1) * noise,
                "The ratio is right, and the numbers have the wrong size: a picture of variance 1 should "
                "keep variance 1, as in (1.13).",
            ),
            Mistake(
                lambda x0, noise, db: (
                    (c := (ratio_of(db) / (1 + ratio_of(db))).view(-1, 1, 1, 1)) * x0 + (1 - c) * noise
                ),
                "Neither factor is a root: a variance is the square of what multiplies, see (1.13).",
            ),
            Mistake(
                lambda x0, noise, db: at_loudness(x0, noise, db[:1]),
                "Every picture is noised to the first picture's loudness: there is one for each.",
            ),
            Mistake(
                None,
                "Your factors run along the width of the pictures instead of along the batch: which axis do "
                "they multiply?",
                seen=lambda answer, cases: torch.allclose(
                    answer(*cases[0]), along_the_width(*cases[0]), atol=1e-5
                ),
            ),
        ),
    ),
    Derive(
        number="1.4",
        name="mean_alone",
        section="1.9",
        minutes=15,
        right=lambda m, N, snr: m * (N * snr) ** 0.5 / 2,
        ranges={"m": (0.1, 2.0), "N": (4.0, 400.0), "snr": (0.05, 3.0)},
        mistakes=(
            Mistake(
                lambda m, N, snr: m * snr**0.5 / 2,
                "This is for a picture of one number. In a mean of N the noise is narrower: see what stands "
                "above (1.22).",
            ),
            Mistake(
                lambda m, N, snr: m * N * snr**0.5 / 2,
                "You made the noise N times narrower. But the sum of N noises has grown wider, too: by how "
                "much, (1.6)?",
            ),
            Mistake(
                lambda m, N, snr: m * (snr / N) ** 0.5 / 2,
                "The wrong way round: here the more numbers there are, the more often he would be wrong.",
            ),
            Mistake(
                lambda m, N, snr: m * (N * snr) ** 0.5,
                "He is wrong as soon as the noise carries him past the middle of the two centres; it need "
                "not reach the other one.",
            ),
            Mistake(
                lambda m, N, snr: m * N**0.5 * snr / 2,
                "The signal-to-noise ratio is a ratio of variances. What you need is one of widths.",
            ),
            Mistake(
                lambda m, N, snr: (m * N * snr) ** 0.5 / 2,
                "m is a distance already: it does not belong under the root.",
            ),
            Mistake(
                lambda m, N, snr: m**2 * N * snr / 4,
                "This is the square of it.",
            ),
            Mistake(
                lambda m, N, snr: -m * (N * snr) ** 0.5 / 2,
                "The size is right. The minus sign stands in the question already: the share is that below "
                "-c.",
            ),
        ),
    ),
    Derive(
        number="1.5",
        name="correlation",
        section="1.5",
        minutes=15,
        right=lambda ab_s, ab_t: (ab_t * (1 - ab_s) / (ab_s * (1 - ab_t))) ** 0.5,
        ranges={"ab_s": (0.5, 0.95), "ab_t": (0.05, 0.45)},
        mistakes=(
            Mistake(
                lambda ab_s, ab_t: (ab_t / ab_s) ** 0.5 * (1 - ab_s),
                "This is the covariance, the mean of the product. A correlation divides it by the widths of "
                "both.",
            ),
            Mistake(
                lambda ab_s, ab_t: (ab_t / ab_s) ** 0.5,
                "This is what multiplies x_s in (1.15). How much do x_s and x_s itself vary together, and "
                "how wide are x_s and x_t?",
            ),
            Mistake(
                lambda ab_s, ab_t: (ab_t / ab_s) ** 0.5 * (1 - ab_s) / (1 - ab_t),
                "You divided by the variance of x_t. A correlation divides by the width of each of the two.",
            ),
            Mistake(
                lambda ab_s, ab_t: (ab_t / ab_s) ** 0.5 * (1 - ab_s) / ((1 - ab_s) * (1 - ab_t)),
                "You divided by the two variances. A correlation divides by the two widths.",
            ),
            Mistake(
                lambda ab_s, ab_t: ab_t * (1 - ab_s) / (ab_s * (1 - ab_t)),
                "This is the square of it. In the covariance x_s and x_t stand once each, so what "
                "multiplies them does too.",
            ),
            Mistake(
                lambda ab_s, ab_t: ((1 - ab_s) / (1 - ab_t)) ** 0.5,
                "This is how wide x_s is beside x_t. But the doses between s and t have shrunk what x_s "
                "held.",
            ),
            Mistake(
                lambda ab_s, ab_t: 1.0 + 0.0 * ab_s * ab_t,
                "This is for two jumps with the same noise. On a walk new noise comes between s and t.",
            ),
            Mistake(
                lambda ab_s, ab_t: 0.0 * ab_s * ab_t,
                "Independent? They are two places on one walk: x_t holds the noise that x_s held.",
            ),
            Mistake(
                lambda ab_s, ab_t: (ab_s * (1 - ab_t) / (ab_t * (1 - ab_s))) ** 0.5,
                "Upside down: this is above 1, and a correlation never is.",
            ),
        ),
    ),
    FindTheBug(
        number="1.6",
        name="training_pair",
        section="1.12",
        minutes=20,
        right=training_pair,
        cases=batches,
        given=in_short_numbers,
        tolerance=0.015,
        mistakes=(
            Mistake(
                half_repaired,
                "The table is right now. But at t = 0 there still is no noise in the picture: what is "
                "1 - alpha_bar there, and in which kind of numbers is it computed?",
            ),
            Mistake(
                lambda x0, noise, t, betas: (
                    mixed(x0.float(), noise.float(), torch.cumprod(1 - betas, 0)[t]),
                    noise,
                ),
                "The numbers are right, but they are of another kind now: the picture that comes out "
                "should be like the one that went in.",
            ),
            Mistake(
                lambda x0, noise, t, betas: training_pair(x0, noise, t - 1, betas),
                "Now every picture gets one dose too few, and t = 0 takes the last entry of the table: see "
                '"Counting from 0" in section 1.6.',
            ),
            Mistake(
                lambda x0, noise, t, betas: training_pair(x0, noise, (t - 1).clamp(min=0), betas),
                "Now every picture but the one at t = 0 gets one dose too few. t counts from 0, and so does "
                "the table.",
            ),
            Mistake(
                lambda x0, noise, t, betas: training_pair(
                    x0, noise, (t + 1).clamp(max=len(betas) - 1), betas
                ),
                "Now every picture but the last timestep's gets one dose too many.",
            ),
            Mistake(
                lambda x0, noise, t, betas: (training_pair(x0, noise, t, betas)[0],) * 2,
                "The picture is right. The second of the pair should be the noise that the network is to "
                "guess.",
            ),
            Mistake(
                lambda x0, noise, t, betas: (
                    mixed(x0, noise, torch.exp(-torch.cumsum(betas, 0))[t].to(x0.dtype)),
                    noise,
                ),
                "This is the right side of (1.17), which is near alpha bar only while the doses are weak.",
            ),
        ),
    ),
    Build(
        number="1.7",
        name="end_in_noise",
        section="1.9",
        minutes=15,
        right=end_in_noise,
        cases=tables,
        mistakes=(
            Mistake(
                without_roots,
                "You shifted and stretched alpha bar itself. Lin et al. do it to its root, the picture's "
                "factor.",
            ),
            Mistake(
                last_one_only,
                "Only the last entry changed: the step before it would have to remove all that is left at "
                "once. Move the whole curve.",
            ),
            Mistake(
                lambda ab: (ab.sqrt() - ab[-1].sqrt()) ** 2,
                "Shifted and not stretched: your first value is no longer what it was.",
            ),
            Mistake(
                lambda ab: (r := ab.sqrt(), (r - r[-1]) * r[0] / (r[0] - r[-1]))[1],
                "These are the roots; the table holds their squares.",
            ),
            Mistake(
                lambda ab: (r := ab.sqrt(), (r - r[-1]) / (r[0] - r[-1]))[1] ** 2,
                "Your first value is 1, as if the first dose had added nothing. It should keep its value.",
            ),
        ),
    ),
    Predict(
        number="1.8",
        name="larger",
        section="1.8",
        minutes=10,
        measure=twice_as_large,
        within=0.05,
        mistakes=(
            Mistake(
                lambda: {"distance d": 4.0},
                "There are four times as many squared differences. The distance is the root of their sum.",
            ),
            Mistake(
                lambda: {"distance d": 1.0},
                "The difference of each number stays the same, but there are more of them: d is a sum over "
                "all, not a mean.",
            ),
            Mistake(
                lambda: {"SNR at which they drown": 0.5},
                "In (1.21) d multiplies the root of the signal-to-noise ratio.",
            ),
            Mistake(
                lambda: {"SNR at which they drown": 4.0},
                "The other way round: a larger distance can still be seen under louder noise.",
            ),
            Mistake(
                lambda: {"drowned from t": 677},
                "This is the small pictures' timestep. The schedule is the same, but the signal-to-noise "
                "ratio at which they drown is not: find the new one in the schedule's table.",
            ),
            Mistake(
                lambda: {"lead of the mean (1.22)": 4.0},
                "N grows fourfold. What does (1.22) do with N?",
            ),
        ),
    ),
    ReachTheMark(
        number="1.9",
        name="time_of_day",
        section="1.9",
        minutes=20,
        score=share_read,
        what="share of pictures read rightly",
        mark=0.91,
        higher=True,
        right=by_place,
        mistakes=(
            Mistake(
                None,
                "You always give the same answer.",
                seen=never_changes,
            ),
            Mistake(
                None,
                "Your answers do not depend on alpha_bar. In x_t the picture is about fifteen times as "
                "pale as in the examples.",
                seen=lambda answer, cases: not changed(answer, same, alpha_bar=0.9),
            ),
            Mistake(
                None,
                "You look at the brightness alone: it makes no difference to you which colour is bright. "
                "What is a sunset's?",
                seen=lambda answer, cases: not changed(answer, colours_moved),
            ),
            Mistake(
                None,
                "You do not look at where in the picture it is bright: turn the pictures upside down, and "
                "you give the same answers. The sky is always at the top.",
                seen=lambda answer, cases: not changed(answer, upside_down),
            ),
            Mistake(
                None,
                "You make the examples as pale as alpha bar itself says. The picture's factor is its root.",
                seen=lambda answer, cases: all(
                    answer(x_t, LAST, known) == by_place(x_t, LAST**2, known)
                    for known in [examples()]
                    for x_t, _ in in_snow(20)
                ),
            ),
        ),
    ),
]
