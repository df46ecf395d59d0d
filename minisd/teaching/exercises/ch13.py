"""The checks of chapter 13: guidance. It spoils the exercises to read this first."""

import functools
import math

import torch

from ...pipeline import guide
from ...samplers import SAMPLERS, ddim, euler
from ...schedule import NoiseSchedule
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 13.1


@functools.cache
def measured():
    way = SAMPLERS["ddim"].way(NoiseSchedule.scaled_linear(), 50)
    guided = way.asked[int(0.2 * len(way)) : int(0.8 * len(way))]
    without, with_words = torch.tensor(0.2), torch.tensor(0.3)
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(4000, generator=rng, dtype=torch.float64)
    sigmas = [*torch.logspace(3, -3, 1000, dtype=torch.float64).tolist(), 0.0]
    *_, ends = euler(
        lambda x, sigma: guide(sigma * x / (1 + sigma**2), sigma * (x - 2) / (0.25 + sigma**2), 3),
        sigmas[0] * noise / noise.std(),
        sigmas,
    )
    return {
        "guided": float(guide(without, with_words, 7.5)),
        "w": 7.5 - 1,
        "calls": len(way) + len(guided),
        "width": float(ends.std()) / 0.5,
        "pull": 0.1,
    }


# 13.2


FORMS = {
    "c + (s - 1) * (c - u)": lambda u, c, s: c + (s - 1) * (c - u),
    "c - s * (u - c)": lambda u, c, s: c - s * (u - c),
    "u - s * (c - u)": lambda u, c, s: u - s * (c - u),
    "s * c + (s - 1) * u": lambda u, c, s: s * c + (s - 1) * u,
    "(u + c) / 2 + s * (c - u)": lambda u, c, s: (u + c) / 2 + s * (c - u),
    "(s * c - u) / (s - 1)": lambda u, c, s: (s * c - u) / (s - 1),
}


@functools.cache
def scales():
    """At which scale (13.6) does what each form does at 7.5, from the numbers that it makes; 0 at none."""
    u, c = torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind()
    found = {}
    for name, form in FORMS.items():
        same = torch.allclose(form(c, c, 7.5), c)
        found[name] = float(((form(u, c, 7.5) - u) / (c - u)).mean()) if same else 0.0
    return found


# 13.3


def two_pictures(x, a, s):
    """The guided guess of the picture where the class is the picture +1 and the rest the picture -1."""
    return 1 + (s - 1) * (1 - math.tanh(math.sqrt(a) * x / (1 - a)))


# 13.4


def by_classifier(noise, x_t, alpha_bar, logits_of, c, s):
    with torch.enable_grad():
        x = x_t.detach().requires_grad_(True)
        total = logits_of(x).log_softmax(dim=1)[torch.arange(len(x)), c].sum()
        (slope,) = torch.autograd.grad(total, x)
    return noise - s * (1 - alpha_bar) ** 0.5 * slope


def with_slope(of, factor=lambda alpha_bar: -((1 - alpha_bar) ** 0.5)):
    def answer(noise, x_t, alpha_bar, logits_of, c, s):
        with torch.enable_grad():
            x = x_t.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(of(logits_of(x), torch.arange(len(x)), c), x)
        return noise + s * factor(alpha_bar) * slope

    return answer


def chosen(logits, rows, c):
    return logits.log_softmax(dim=1)[rows, c].sum()


def classifiers(rng):
    def case(batch, classes, alpha_bar, s):
        weights = torch.randn(classes, 6, generator=rng)
        shift = torch.randn(classes, generator=rng)

        def logits_of(x):
            return torch.tanh(x) @ weights.T + shift

        x, noise = torch.randn(2, batch, 6, generator=rng).unbind()
        return noise, x, alpha_bar, logits_of, torch.randint(classes, (batch,), generator=rng), s

    return [case(1, 3, 0.5, 1.0), case(4, 5, 0.1, 7.5), case(3, 2, 0.9, 3.0)]


# 13.5


def stopped_variance(v, V, s, g):
    """The variance of walks in (13.10) that are guided down to the noise level g, and not below."""
    return v * ((v + g**2) / (V + g**2)) ** (s - 1)


# 13.6


def thresholded(order=lambda p, n: (n, p), mix=None, bound=None, fit=None, back=None):
    """The right function, or one of its lines exchanged: which context comes first, how the guesses are
    mixed, the bound of a guessed picture, how the picture is fitted to it, the way back to the noise.
    """
    mix = mix or (lambda u, c, s: u + s * (c - u))
    bound = bound or (lambda sizes: sizes.quantile(0.95, dim=1).clamp(min=1))
    fit = fit or (lambda picture, limit: picture.clamp(-limit, limit) / limit)
    back = back or (lambda x, picture, guided, bar: (x - bar**0.5 * picture) / (1 - bar) ** 0.5)

    def answer(unet, prompt, negative, s, alpha_bar, x, t):
        without, with_words = unet(torch.cat([x, x]), t, torch.cat(order(prompt, negative))).chunk(2)
        guided = mix(without, with_words, s)
        picture = (x - (1 - alpha_bar) ** 0.5 * guided) / alpha_bar**0.5
        limit = bound(picture.abs().flatten(1)).reshape(-1, 1, 1, 1)
        return back(x, fit(picture, limit), guided, alpha_bar)

    return answer


def as_given(prompt, negative):
    return prompt, negative


def no_floor(sizes):
    return sizes.quantile(0.95, dim=1)


def stand_in(x, t, context):
    """Looks like a U-Net from outside: (batch, 4, h, w), a timestep, (batch, 77, width)."""
    tone = context.mean(dim=1)[:, :4, None, None]
    return torch.tanh(x * (1 + tone)) + tone * math.cos(t) + 0.3 * x.roll(1, -1) * tone.flip(1)


def paintings(rng):
    def case(batch, size, s, alpha_bar, t):
        prompt, negative = torch.randn(2, batch, 7, 8, generator=rng).unbind()
        spread = 2.0 ** torch.linspace(1, -3, batch)[:, None, None, None]  # the last are within the range
        x = spread * torch.randn(batch, 4, *size, generator=rng)
        return stand_in, prompt * spread[..., 0], negative * spread[..., 0], s, alpha_bar, x, t

    return [case(3, (6, 6), 7.5, 0.9, 500), case(2, (4, 8), 1.0, 0.5, 1), case(4, (5, 5), 12.0, 0.98, 999)]


# 13.7


def sideways(without, with_words, s, share):
    axes = tuple(range(1, with_words.ndim))
    difference = with_words - without
    along = (difference * with_words).sum(axes, keepdim=True) / with_words.square().sum(axes, keepdim=True)
    parallel = along * with_words
    return with_words + (s - 1) * (difference - parallel + share * parallel)


def projected(onto=lambda u, c: c, axes=None, start=lambda u, c: c, times=lambda s: s - 1, root=False):
    def answer(without, with_words, s, share):
        line, difference = onto(without, with_words), with_words - without
        over = tuple(range(1, line.ndim)) if axes is None else axes
        length = line.square().sum(over, keepdim=True)
        along = (difference * line).sum(over, keepdim=True) / (length**0.5 if root else length)
        parallel = along * line
        return start(without, with_words) + times(s) * (difference - parallel + share * parallel)

    return answer


def guesses(rng):
    return [
        (*torch.randn(2, *shape, generator=rng).unbind(), s, share)
        for shape, s, share in (((1, 4, 8, 8), 7.5, 0.0), ((3, 4, 5, 6), 3.0, 0.3), ((2, 2, 3, 3), 1.0, 0.5))
    ]


# 13.8

BARS = NoiseSchedule.scaled_linear().alphas_cumprod.double().tolist()
CENTRES = torch.tensor([[-0.3, 0.5], [1.0, 0.4], [-1.0, 0.0], [0.1, -0.55], [-0.2, 1.5]], dtype=torch.float64)
STD = 0.3
ALL, OURS = [0, 1, 2, 3, 4], [0, 1]
CHAIN = torch.linspace(999, 0, 51).round().long().tolist()


def log_bells(x_t, bar, which):
    variance = bar * STD**2 + 1 - bar
    distance = (x_t[:, None] - bar**0.5 * CENTRES[which]).square().sum(-1)
    return -distance / (2 * variance) - math.log(2 * math.pi * variance)


def log_density(x_t, bar, which):
    return log_bells(x_t, bar, which).logsumexp(1) - math.log(len(which))


def exact_noise(x_t, bar, which):
    variance = bar * STD**2 + 1 - bar
    gap = x_t[:, None] - bar**0.5 * CENTRES[which]
    belongs = log_bells(x_t, bar, which).softmax(1)
    return (1 - bar) ** 0.5 * (belongs[:, :, None] * gap).sum(1) / variance


@functools.cache
def beginning():
    return torch.randn(2000, 2, generator=torch.Generator().manual_seed(8), dtype=torch.float64)


def ends_of(scale_at):
    """Where 2,000 walks end whose guidance scale at timestep t is scale_at(t)."""
    scales = {BARS[t]: scale_at(t) for t in CHAIN}
    if not all(isinstance(s, (int, float)) and 0 <= s <= 30 for s in scales.values()):
        raise RuleBroken("every scale should be a number from 0 to 30")

    def noise_of(x, bar):
        return guide(exact_noise(x, bar, ALL), exact_noise(x, bar, OURS), scales[bar])

    *_, x = ddim(noise_of, beginning(), [BARS[t] for t in CHAIN])
    return x


def faults(scale_at):
    """The share of walks that end in doubt, and how far the clouds' shares are from halves."""
    x = ends_of(scale_at)
    sure = log_density(x, 1.0, OURS) + math.log(0.4) - log_density(x, 1.0, ALL)
    doubtful = float((sure.exp() < 0.5).double().mean())
    apart = float((log_bells(x, 1.0, OURS).argmax(1) == 1).double().mean())
    return doubtful, abs(apart - 0.5)


def worst_fault(scale_at):
    return sum(faults(scale_at))


def late(t):
    return 2.0 if t <= 200 else 1.0


# 13.9

# How many pictures, and the shares of noises that come out right both times, only after, only before.
NOTHING = ((100, 0.76, 0.04, 0.04), (100, 0.70, 0.10, 0.10), (400, 0.64, 0.16, 0.16))
BETTER, WORSE = (100, 0.77, 0.11, 0.01), (100, 0.77, 0.01, 0.11)
ALARMS = 0.07  # 0.05, and what chance adds in 1,500 experiments


@functools.cache
def experiments(pictures, both, only_after, only_before):
    """1,500 pairs of lists: was each noise's picture right the first time, and the second?"""
    place = torch.rand(1500, pictures, generator=torch.Generator().manual_seed(9))
    before = (place < both) | (place >= 1 - only_before)
    return list(zip(before.tolist(), (place < both + only_after).tolist()))


def says(differ, before, after):
    verdict = differ(list(before), list(after))
    verdict = verdict.item() if hasattr(verdict, "item") else verdict
    if not isinstance(verdict, bool):
        raise RuleBroken(f"return True or False, not {verdict!r:.40}")
    return verdict


def share_seen(differ, case):
    return sum(says(differ, *rows) for rows in experiments(*case)) / 1500


def share_found(differ):
    """In how many of the experiments a difference of 10 % is seen. Raises RuleBroken for false alarms."""
    row = [True, False, True, True] * 20
    if says(differ, row, row):
        if not says(differ, [False] * 80, [True] * 80):
            raise RuleBroken("Your answer is upside down: a small chance of a coincidence means True.")
        if says(differ, [True, True], [True, True]):
            raise RuleBroken("Yours says True whatever it is shown, even of two pairs that agree.")
        raise RuleBroken(
            "Of two equal rows yours says that they differ: a pair that agrees speaks for neither side."
        )
    alarms = max(share_seen(differ, case) for case in NOTHING)
    if alarms > ALARMS:
        told = f"Where nothing differs, yours says True in {alarms:.0%} of the experiments."
        if alarms > 0.25:
            raise RuleBroken(f"{told} How far apart may two counts be by chance alone?")
        raise RuleBroken(f"{told} Do you count both sides, and the results further out than yours?")
    return (share_seen(differ, BETTER) + share_seen(differ, WORSE)) / 2


def by_disagreement(before, after, allowed=0.05):
    """The sign test: were nothing different, each pair that disagrees would be a toss of a coin."""
    gained = sum(now and not then for then, now in zip(before, after))
    tosses = sum(now != then for then, now in zip(before, after))
    far = max(gained, tosses - gained)
    return 2 * sum(math.comb(tosses, k) for k in range(far, tosses + 1)) / 2**tosses <= allowed


def by_half(before, after):
    """The sign test that counts the result which was seen by half: the mid-p value."""
    gained = sum(now and not then for then, now in zip(before, after))
    tosses = sum(now != then for then, now in zip(before, after))
    far = max(gained, tosses - gained)
    further = sum(math.comb(tosses, k) for k in range(far + 1, tosses + 1))
    return (2 * further + math.comb(tosses, far)) / 2**tosses <= 0.05


def agrees(differ, other):
    return all(says(differ, *pair) == other(*pair) for pair in experiments(*BETTER)[:300])


def counts_alone(differ):
    """Whether only the two counts matter: each row is sorted, which takes the pairs apart."""
    rows = experiments(*BETTER)[:300]
    return all(says(differ, *pair) == says(differ, *map(sorted, pair)) for pair in rows)


EXERCISES = [
    Predict(
        number="13.1",
        name="guesses",
        section="13.3",
        minutes=10,
        measure=measured,
        within=0.04,
        mistakes=(
            Mistake(
                lambda: {"guided": 0.3 + 7.5 * 0.1},
                "You started from the guess with words. From which of the two does (13.6) start?",
            ),
            Mistake(lambda: {"w": 7.5}, "In the paper w = 0 is the guess with words, here that is s = 1."),
            Mistake(lambda: {"w": 8.5}, "The other way round: what does the paper's form do at w = 0?"),
            Mistake(lambda: {"calls": 100}, "That many, if all the steps were guided."),
            Mistake(lambda: {"calls": 60}, "The steps outside the interval cost something, too."),
            Mistake(
                lambda: {"width": 0.25**2},
                "That is the ratio of the variances. The question asks for the width, a standard deviation.",
            ),
            Mistake(lambda: {"width": 0.125}, "(13.11) has s - 1 in the exponent: at s = 1 nothing shrinks."),
            Mistake(lambda: {"pull": 0.9}, "The pull goes with the doubt, not with the certainty."),
        ),
    ),
    Predict(
        number="13.2",
        name="scales",
        section="13.11",
        minutes=10,
        measure=scales,
        within=0.01,
        mistakes=(
            Mistake(
                lambda: {"c + (s - 1) * (c - u)": 6.5},
                "The first line starts from c, where (13.6) is at s = 1 already.",
            ),
            Mistake(
                lambda: {"c - s * (u - c)": 7.5},
                "The second line has a plus after all, but where is it at s = 0?",
            ),
            Mistake(
                lambda: {"c - s * (u - c)": -6.5},
                "The second line has two minus signs. Multiply out.",
            ),
            Mistake(lambda: {"u - s * (c - u)": 7.5}, "The third line: which way does it go from u?"),
            Mistake(
                lambda: {"s * c + (s - 1) * u": 7.5},
                "The fourth line: put the same guess into both places. Does it come back?",
            ),
            Mistake(
                lambda: {"(u + c) / 2 + s * (c - u)": 7.5},
                "The fifth line starts halfway to c: what is the weight of c in all?",
            ),
            Mistake(
                lambda: {"(u + c) / 2 + s * (c - u)": 0},
                "The fifth line: what do its two weights add up to?",
            ),
            Mistake(
                lambda: {"(s * c - u) / (s - 1)": 0},
                "The last line: what do its two weights add up to once they are divided?",
            ),
            Mistake(
                lambda: {"(s * c - u) / (s - 1)": 7.5},
                "The last line: that is the weight of c before it is divided.",
            ),
        ),
    ),
    Derive(
        number="13.3",
        name="guided",
        section="13.4",
        minutes=20,
        right=two_pictures,
        ranges={"x": (-1.5, 1.5), "a": (0.05, 0.8), "s": (0.5, 8.0)},
        mistakes=(
            Mistake(
                lambda x, a, s: s + (1 - s) * math.tanh(x),
                "Right for a = 1/2 up to a factor: how likely each picture is depends on the noise level.",
            ),
            Mistake(
                lambda x, a, s: s * (1 - math.tanh(math.sqrt(a) * x / (1 - a))),
                "That is the exaggerated difference. (13.7) adds it to something.",
            ),
            Mistake(
                lambda x, a, s: 1 + s * (1 - math.tanh(math.sqrt(a) * x / (1 - a))),
                "You started from the guess with the class; so s = 1 doesn't give +1.",
            ),
            Mistake(
                lambda x, a, s: 1 + (s - 1) * (1 - math.tanh(math.sqrt(a) * x / (2 * (1 - a)))),
                "The argument of tanh is half of what it should be: the two exponents differ by twice it.",
            ),
            Mistake(
                lambda x, a, s: math.tanh(math.sqrt(a) * x / (1 - a)),
                "This is the guess without the class.",
            ),
            Mistake(
                None,
                "At s = 1 a guided guess is the guess with the class, and there is one picture in the class.",
                seen=lambda answer, cases: any(abs(answer(x, a, 1.0) - 1) > 1e-6 for x, a, _ in cases),
            ),
            Mistake(
                None,
                "At s = 0 yours is not the average of +1 and -1, each weighted by how likely it is under x. "
                "How far from x do the two pictures lie once they are noised, and how wide is the noise?",
                seen=lambda answer, cases: any(
                    abs(answer(x, a, 0.0) - two_pictures(x, a, 0.0)) > 1e-6 for x, a, _ in cases
                ),
            ),
        ),
    ),
    Build(
        number="13.4",
        name="by_classifier",
        section="13.2",
        minutes=20,
        right=by_classifier,
        cases=classifiers,
        tolerance=1e-4,
        mistakes=(
            Mistake(
                with_slope(lambda logits, rows, c: logits[rows, c].sum()),
                "That is the slope of a logit. ln P needs all the logits: the others must fall.",
            ),
            Mistake(
                with_slope(lambda logits, rows, c: logits.softmax(1)[rows, c].sum()),
                "That is the slope of P, not of its logarithm.",
            ),
            Mistake(
                with_slope(chosen, lambda alpha_bar: (1 - alpha_bar) ** 0.5),
                "The sign: noise points downhill, see (13.4).",
            ),
            Mistake(with_slope(chosen, lambda alpha_bar: -1.0), "A score and a noise differ by a root."),
            Mistake(
                with_slope(chosen, lambda alpha_bar: -(alpha_bar**0.5)),
                "The root is of the noise's share of the variance, not of the picture's.",
            ),
            Mistake(
                with_slope(lambda logits, rows, c: logits.log_softmax(1)[rows, c].mean()),
                "Right for a single point, too weak for a batch: every point has a slope of its own.",
            ),
        ),
    ),
    Derive(
        number="13.5",
        name="variance",
        section="13.5",
        minutes=20,
        right=stopped_variance,
        ranges={"v": (0.1, 0.5), "V": (0.6, 2.0), "s": (1.5, 5.0), "g": (0.2, 2.0)},
        mistakes=(
            Mistake(
                lambda v, V, s, g: v * (v / V) ** (s - 1),
                "That is (13.11), for guidance all the way down. g must matter.",
            ),
            Mistake(
                lambda v, V, s, g: (v + g**2) * ((v + g**2) / (V + g**2)) ** (s - 1),
                "That is the spread at the level g, where guidance stops. The walks go on from there.",
            ),
            Mistake(
                lambda v, V, s, g: v * (v * (V + g**2) / (V * (v + g**2))) ** (s - 1),
                "That is guidance below g alone. What is wanted is guidance above it.",
            ),
            Mistake(
                lambda v, V, s, g: v**0.5 * ((v + g**2) / (V + g**2)) ** ((s - 1) / 2),
                "That is the standard deviation.",
            ),
            Mistake(
                None,
                "With s = 1 nothing is guided: then the walks end as wide as the class is.",
                seen=lambda answer, cases: any(abs(answer(v, V, 1.0, g) - v) > 1e-6 for v, V, _, g in cases),
            ),
            Mistake(
                None,
                "If guidance stops very far out already, at a huge g, it can't have changed anything.",
                seen=lambda answer, cases: any(abs(answer(v, V, s, 1e6) - v) > 1e-3 for v, V, s, _ in cases),
            ),
            Mistake(
                None,
                "With g = 0 the walks are guided all the way, so that must give (13.11).",
                seen=lambda answer, cases: any(
                    abs(answer(v, V, s, 1e-6) - stopped_variance(v, V, s, 0)) > 1e-4 for v, V, s, _ in cases
                ),
            ),
        ),
    ),
    FindTheBug(
        number="13.6",
        name="predict",
        section="13.3",
        minutes=20,
        right=thresholded(),
        cases=paintings,
        given=thresholded(as_given, bound=no_floor),
        mistakes=(
            Mistake(
                thresholded(bound=no_floor),
                "The direction is right now. What becomes of a picture that was within the range already?",
            ),
            Mistake(
                thresholded(as_given),
                "A pale picture stays pale now. Which context does the first half of the batch get?",
            ),
            Mistake(
                thresholded(bound=lambda sizes: sizes.quantile(0.95).clamp(min=1).expand(len(sizes))),
                "One bound for the whole batch: a picture would look different in other company.",
            ),
            Mistake(
                thresholded(bound=lambda sizes: sizes.quantile(0.95, dim=1).clamp(max=1)),
                "Your bound is never above 1, so a picture that is too wide is cut off and not shrunk.",
            ),
            Mistake(
                thresholded(bound=lambda sizes: torch.ones(len(sizes))),
                "That cuts all at 1 and leaves flat patches. A wide picture is to be shrunk as a whole.",
            ),
            Mistake(
                thresholded(bound=lambda sizes: sizes.amax(dim=1).clamp(min=1)),
                "The largest number is your bound: a single odd pixel would make the whole picture pale.",
            ),
            Mistake(
                thresholded(bound=lambda sizes: sizes.quantile(0.95, dim=1) + 1),
                "You add 1 to the bound; so what was within the range shrinks, too.",
            ),
            Mistake(
                thresholded(fit=lambda picture, limit: picture.clamp(-limit, limit)),
                "Cut at the bound, but not divided by it: the picture still leaves the range.",
            ),
            Mistake(
                thresholded(fit=lambda picture, limit: picture / limit),
                "Divided, but not cut: one number in twenty is still out of the range.",
            ),
            Mistake(
                thresholded(back=lambda x, picture, guided, bar: guided),
                "You return the noise as it was before the picture was brought into the range.",
            ),
            Mistake(
                thresholded(back=lambda x, picture, guided, bar: picture),
                "That is the picture; the sampler asks for the noise that belongs to it.",
            ),
            Mistake(
                thresholded(mix=lambda u, c, s: c + s * (c - u)),
                "It acts as the scale s + 1: from which of the two guesses does (13.6) start?",
            ),
            Mistake(
                thresholded(mix=lambda u, c, s: u + s * c),
                "What is left of (13.6) if both guesses are the same? It should be that guess.",
            ),
        ),
    ),
    Build(
        number="13.7",
        name="sideways",
        section="13.9",
        minutes=20,
        right=sideways,
        cases=guesses,
        mistakes=(
            Mistake(projected(onto=lambda u, c: u), "Parallel to the guess with words, not to the other."),
            Mistake(
                projected(axes=(0, 1, 2, 3)),
                "Right for a single picture: in a batch every picture has a projection of its own.",
            ),
            Mistake(projected(axes=(1,)), "You project at each place. A picture's guess is one long vector."),
            Mistake(projected(times=lambda s: s), "Started at the guess with words, s = 1 must not move it."),
            Mistake(
                projected(start=lambda u, c: u), "From where do s - 1 differences lead to (13.6), share 1?"
            ),
            Mistake(projected(root=True), "Divide by the squared length: project, then take the part along."),
        ),
    ),
    ReachTheMark(
        number="13.8",
        name="scale_at",
        section="13.8",
        minutes=25,
        score=worst_fault,
        what="share of doubtful ends plus the clouds' distance from halves:",
        mark=0.02,
        higher=False,
        right=late,
        mistakes=(
            Mistake(
                None,
                "Balanced, but doubtful: as without guidance. Where would a little more scale do no harm?",
                seen=lambda answer, cases: faults(answer)[0] > 0.02,
            ),
            Mistake(
                None,
                "Certain, but one cloud is forgotten. At which timesteps is the choice of a cloud made?",
                seen=lambda answer, cases: faults(answer)[1] > 0.02,
            ),
        ),
    ),
    ReachTheMark(
        number="13.9",
        name="differ",
        section="13.6",
        minutes=25,
        score=share_found,
        what="share of the differences that yours sees:",
        mark=0.87,
        higher=True,
        right=by_half,
        mistakes=(
            Mistake(
                None,
                "Yours says False whatever it is shown here.",
                seen=lambda answer, cases: share_found(answer) == 0,
            ),
            Mistake(
                None,
                "Of a better and a worse second painter yours sees one. The question is whether they differ.",
                seen=lambda answer, cases: abs(share_seen(answer, BETTER) - share_seen(answer, WORSE)) > 0.4,
            ),
            Mistake(
                None,
                "Two intervals may overlap though the difference is beyond chance: to part them, it has to "
                "exceed the errors of both counts added up. And they ignore who is whose partner.",
                seen=lambda answer, cases: counts_alone(answer) and share_found(answer) < 0.2,
            ),
            Mistake(
                None,
                "Yours looks at the two counts alone. What do the pairs tell beyond them?",
                seen=lambda answer, cases: counts_alone(answer),
            ),
            Mistake(
                None,
                "That is the sign test of the chapter. Must the result that was seen count in full?",
                seen=lambda answer, cases: agrees(answer, by_disagreement),
            ),
            Mistake(
                None,
                "You give fewer false alarms than you may, and pay for it with differences that you miss.",
                seen=lambda answer, cases: share_seen(answer, NOTHING[0]) < 0.035,
            ),
        ),
    ),
]
