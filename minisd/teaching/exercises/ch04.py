"""The checks of chapter 4: samplers. It spoils the exercises to read this first."""

import math

import numpy as np
import torch

from minisd import SAMPLERS, NoiseSchedule
from minisd.samplers import dpmpp_2m, lms, multistep_weights, pndm

from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken

# 4.1

MOST = math.atan(14.6)  # the angle of the noisiest level, for a bell of width 1


def widths():
    """What Euler leaves of the right width of one bell of width 1, on even steps of the angle."""
    found = {}
    for steps, name in ((1, "1 step"), (2, "2 steps"), (8, "8 steps")):
        levels = np.tan(np.linspace(MOST, 0, steps + 1))
        width = math.hypot(1, 14.6)
        for sigma, sigma_next in zip(levels, levels[1:]):
            width *= 1 + (sigma_next - sigma) * sigma / (1 + sigma**2)
        found[name] = float(width)
    return found


# 4.2


def along_the_road(predict_v, x_tau, tau, tau_next):
    return one_step(predict_v, x_tau, tau, tau_next)


def alpha_bar_at(tau):
    """Of the same noised picture: sigma is tau / (1 - tau)."""
    return 1 / (1 + (tau / (1 - tau)) ** 2)


def as_x_t(x_tau, tau):
    return x_tau / (1 - tau) * alpha_bar_at(tau) ** 0.5


def one_step(predict_v, x_tau, tau, tau_next, shown=as_x_t, sign=1, turned=False):
    """A step of Euler on the straight road; other values than the defaults are slips."""
    bar = alpha_bar_at(tau)
    x_t = shown(x_tau, tau)
    v = sign * predict_v(x_t, bar)
    picture = bar**0.5 * x_t - (1 - bar) ** 0.5 * v
    noise = (1 - bar) ** 0.5 * x_t + bar**0.5 * v
    if turned:
        picture, noise = noise, picture
    return (1 - tau_next) * picture + tau_next * noise


def variant_of_the_step(**slip):
    return lambda predict_v, x_tau, tau, tau_next: one_step(predict_v, x_tau, tau, tau_next, **slip)


def result_in_exploding_units(predict_v, x_tau, tau, tau_next):
    return along_the_road(predict_v, x_tau, tau, tau_next) / (1 - tau_next)


def result_as_x_t(predict_v, x_tau, tau, tau_next):
    return as_x_t(along_the_road(predict_v, x_tau, tau, tau_next), tau_next)


def v_taken_for_the_velocity(predict_v, x_tau, tau, tau_next):
    return x_tau + (tau_next - tau) * predict_v(as_x_t(x_tau, tau), alpha_bar_at(tau))


def back_up_the_road(predict_v, x_tau, tau, tau_next):
    return 2 * x_tau - along_the_road(predict_v, x_tau, tau, tau_next)


def calls_of(answer, case):
    """What the network was shown and told, (x_t, alpha_bar) for each call."""
    _, x_tau, tau, tau_next = case
    calls = []

    def predict_v(x_t, alpha_bar):
        calls.append((x_t, float(alpha_bar)))
        return torch.zeros_like(x_tau)

    answer(predict_v, x_tau, tau, tau_next)
    return calls


def shows(units):
    """Whether the network was shown the picture in these units, a function (x_tau, tau), and not as x_t."""

    def seen(answer, cases):
        _, x_tau, tau, _ = cases[0]
        return any(torch.allclose(x, units(x_tau, tau), atol=1e-5) for x, _ in calls_of(answer, cases[0]))

    return seen


def tells(number):
    """Whether the network was told this number, a function (tau, tau_next), instead of alpha bar."""

    def seen(answer, cases):
        _, _, tau, tau_next = cases[0]
        told = [bar for _, bar in calls_of(answer, cases[0])]
        return any(abs(bar - number(tau, tau_next)) < 1e-5 for bar in told)

    return seen


def a_network(scale):
    def predict_v(x_t, alpha_bar):
        return torch.tanh(scale * x_t) + 0.3 * alpha_bar

    return predict_v


def roads(rng):
    chosen = ((4,), 0.5, 0.9, 0.6), ((2, 4, 3, 3), 1.5, 0.3, 0.0), ((1, 4, 6, 6), 1.0, 0.6, 0.5)
    return [
        (a_network(scale), torch.randn(*shape, generator=rng), tau, tau_next)
        for shape, scale, tau, tau_next in chosen
    ]


# 4.3


def kept(sigma, sigma_next, w):
    return (w**2 + sigma * sigma_next) / math.sqrt((w**2 + sigma**2) * (w**2 + sigma_next**2))


# 4.4


def up_then_down(noise_of, x, sigma, sigma_next, gamma, fresh):
    return churned(noise_of, x, sigma, sigma_next, gamma, fresh)


def width_between(sigma, raised):
    return (raised**2 - sigma**2) ** 0.5


def churned(
    noise_of, x, sigma, sigma_next, gamma, fresh, width=width_between, asked="raised", walked="raised"
):
    """Noise up to the raised level, then Euler down; other values than the defaults are slips."""
    levels = {"raised": (1 + gamma) * sigma, "old": sigma}
    x = x + width(sigma, levels["raised"]) * fresh
    return x + (sigma_next - levels[walked]) * noise_of(x, levels[asked])


def variant_of_the_churn(**slip):
    return lambda noise_of, x, sigma, sigma_next, gamma, fresh: churned(
        noise_of, x, sigma, sigma_next, gamma, fresh, **slip
    )


def asked_before_the_noise(told):
    def step(noise_of, x, sigma, sigma_next, gamma, fresh):
        raised = (1 + gamma) * sigma
        noise = noise_of(x, sigma if told == "old" else raised)
        return x + width_between(sigma, raised) * fresh + (sigma_next - raised) * noise

    return step


def down_then_up(noise_of, x, sigma, sigma_next, gamma, fresh):
    raised = (1 + gamma) * sigma
    return x + (sigma_next - sigma) * noise_of(x, sigma) + width_between(sigma, raised) * fresh


def churns(rng):
    chosen = (
        ((5,), 3.0, 2.0, 0.4),
        ((7,), 1.0, 0.5, 0.0),
        ((2, 4, 3, 3), 0.4, 0.0, 0.1),
        ((6,), 14.6, 9.0, 0.2),
    )
    return [
        (
            two_bells,
            (1 + sigma**2) ** 0.5 * torch.randn(*shape, generator=rng),
            sigma,
            sigma_next,
            gamma,
            torch.randn(*shape, generator=rng),
        )
        for shape, sigma, sigma_next, gamma in chosen
    ]


# 4.5


def second_order(noise_of, x, sigmas):
    return list(dpmpp_2m(noise_of, x, sigmas))[-1]


def with_memory(noise_of, x, sigmas, aim, remember):
    """2M with another aim, or another memory: functions of (guess, before, r) and (guess, target, x)."""
    before = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        guess = target = x - sigma * noise_of(x, sigma)
        if before is not None:
            target = aim(guess, before, math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next))
        x, before = sigma_next / sigma * x + (1 - sigma_next / sigma) * target, remember(guess, target, x)
    return x


def to_the_middle(guess, before, r):
    return guess + (guess - before) / (2 * r)


def remembers_its_target(noise_of, x, sigmas):
    return with_memory(noise_of, x, sigmas, to_the_middle, lambda guess, target, x: target)


def variant(aim):
    return lambda noise_of, x, sigmas: with_memory(noise_of, x, sigmas, aim, lambda guess, target, x: guess)


def remembers_x(noise_of, x, sigmas):
    return with_memory(noise_of, x, sigmas, to_the_middle, lambda guess, target, x: x)


def two_bells(x, sigma):
    """The noise that a perfect denoiser sees in x, for bells of width 0.3 around -1 and 1."""
    variance = 0.09 + sigma**2
    return sigma / variance * (x - torch.tanh(x / variance))


def walks(rng):
    return [
        (two_bells, sigmas[0] * torch.randn(5, generator=rng), sigmas)
        for sigmas in ([8.0, 4.0, 2.0, 1.0, 0.5], [5.0, 3.0, 2.0, 1.2, 0.7, 0.2], [3.0, 2.5, 0.4, 0.1])
    ]


# 4.6


def corrector(h, before):
    both = before + h
    return h / 2 - h**2 / (6 * both), h / 2 + h**2 / (6 * before), -(h**3) / (6 * before * both)


def without_the_end(h, before):
    return 0 * h, h + h**2 / (2 * before), -(h**2) / (2 * before)


# 4.7


def last_picture(guess, before, sigma, sigma_before):
    return guess + sigma**2 / (sigma_before**2 - sigma**2) * (guess - before)


def guesses(rng):
    return [
        (*torch.randn(2, *shape, generator=rng), sigma, sigma_before)
        for shape, sigma, sigma_before in (
            ((5,), 0.5, 1.3),
            ((2, 4, 3, 3), 0.1, 0.2),
            ((1, 4, 6, 5), 2.0, 2.5),
        )
    ]


# 4.8


def bears(b):
    return 1 + (1 + b) / (2 * (1 - b))


# 4.9


def narrowest(w):
    return w**2 / (1 + w**2)


# 4.10

CLOUD = 0.2
ANGLES = torch.arange(7, dtype=torch.float64) * 2 * math.pi / 7
CENTRES = 1.3 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
SHARES = torch.tensor([4.0, 3, 2, 1, 1, 2, 3], dtype=torch.float64) / 16


def clouds_noise(x, sigma):
    """The average noise in x (n, 2), for the chapter's seven clouds."""
    variance = CLOUD**2 + sigma**2
    gap = x[:, None] - CENTRES
    belongs = torch.softmax(SHARES.log() - gap.square().sum(-1) / (2 * variance), dim=1)
    return (x - (belongs[:, :, None] * (CENTRES + CLOUD**2 / variance * gap)).sum(1)) / sigma


def starts(rng):
    clouds = torch.multinomial(SHARES, 200, replacement=True, generator=rng)
    spread = torch.randn(2, 200, 2, generator=rng, dtype=torch.float64)
    return CENTRES[clouds] + CLOUD * spread[0] + 14.6 * spread[1]


def true_ends(x):
    """The curve from 14.6 to nearly 0: the midpoint rule in ln sigma, 800 steps."""
    fine = np.geomspace(14.6, 1e-3, 801).tolist()
    for sigma, sigma_next in zip(fine, fine[1:]):
        middle = math.sqrt(sigma * sigma_next)
        half = x + (middle - sigma) * clouds_noise(x, sigma)
        x = x + (sigma_next - sigma) * clouds_noise(half, middle)
    return x


def error_of(answer):
    """The median distance of the ends from the curve's; at most eight calls."""
    x, calls = starts(torch.Generator().manual_seed(8)), 0

    def noise_of(x, sigma):
        nonlocal calls
        calls += 1
        if calls > 8:
            raise RuleBroken(
                "the denoiser was called more than 8 times: Heun calls it twice a step, PNDM once more"
            )
        return clouds_noise(x, sigma)

    found = answer(noise_of, x.clone())
    if not isinstance(found, torch.Tensor) or found.shape != x.shape:
        raise RuleBroken("return the points where the walk ends, a tensor of the shape of x")
    return float((found - true_ends(x)).norm(dim=1).median())


def eight_calls(noise_of, x):
    taus = np.linspace(14.6 / 15.6, 0.08 / 1.08, 7)
    return list(pndm(noise_of, x, [*(taus / (1 - taus)).tolist(), 0.0]))[-1]  # 7 steps, the first twice


def euler_on(levels):
    def walk(noise_of, x):
        for sigma, sigma_next in zip(levels, levels[1:]):
            x = x + (sigma_next - sigma) * noise_of(x, sigma)
        return x

    return walk


def karras(number):
    return (np.linspace(14.6 ** (1 / 7), 0.03 ** (1 / 7), number) ** 7).tolist()


def pndm_on_karras_levels(noise_of, x):
    return list(pndm(noise_of, x, [*karras(7), 0.0]))[-1]


# 4.11


def streams(x, sigma):
    return with_slip(x, sigma)


def with_slip(x, sigma, belongs=lambda x, sigma: math.tanh(x / sigma**2), inner=lambda sigma: sigma**2):
    """The average stream through x for the pictures -1 and 1, and kappa; other values are slips."""
    guess = belongs(x, sigma)
    return (x - guess) / sigma, 1 - (1 - guess**2) / inner(sigma)


# 4.12

KAPPAS = {  # of figure 4.19: sigma, the larger kappa
    14.61: 4.13,
    7.84: 2.79,
    4.61: 5.27,
    2.92: 3.99,
    1.95: 3.65,
    1.34: 4.04,
    0.93: 4.22,
    0.62: 4.28,
    0.37: 3.99,
    0.2: 3.11,
    0.1: 1.74,
    0.05: 0.54,
    0.03: 0.21,
}
LONG_STEP = 18  # of the twenty: the last but one


def kappa_of(sigma):
    levels, kappas = zip(*sorted((math.log(level), kappa) for level, kappa in KAPPAS.items()))
    return float(np.interp(math.log(sigma), levels, kappas))


def long_step():
    """What lms with two values makes of a miss: in its longest step, and on the whole walk."""
    sigmas = SAMPLERS["lms"].way(NoiseSchedule.scaled_linear(), 20).sigmas
    before, now, after = sigmas[LONG_STEP - 1 : LONG_STEP + 2]
    newest, older = multistep_weights([now, before], after)
    sum_of_sizes = abs(newest) / now + abs(older) / before
    as_large_as_x = torch.tensor([math.hypot(1, sigmas[0])], dtype=torch.float64)  # a relative miss of 1
    *_, left = lms(lambda y, sigma: kappa_of(sigma) * y / sigma, as_large_as_x, sigmas, order=2)
    return {
        "limit": 2 / sum_of_sizes,
        "factor": 1 - kappa_of(now) * sum_of_sizes,
        "ends larger than 1": abs(float(left)) / math.hypot(1, sigmas[-1]) > 1,
    }


EXERCISES = [
    Predict(
        number="4.1",
        name="left",
        section="4.5",
        minutes=10,
        measure=widths,
        within=0.1,
        mistakes=(
            Mistake(
                lambda: {"1 step": 1 - MOST**2 / 2, "2 steps": 1 - MOST**2 / 4},
                "You used the approximation for many steps. With one or two, the angle of a step is not "
                "small: keep "
                "the cosine.",
            ),
            Mistake(
                lambda: {"2 steps": math.cos(MOST / 2), "8 steps": math.cos(MOST / 8)},
                "That is the loss of a single step. Every step has one, and they multiply.",
            ),
            Mistake(
                lambda: {"2 steps": math.cos(MOST / 2) ** 4, "8 steps": math.cos(MOST / 8) ** 16},
                "These are shares of the variance; the question is the width.",
            ),
            Mistake(
                lambda: {"1 step": math.cos(MOST), "2 steps": math.cos(MOST)},
                "The first step is right. With two steps each turns by half the angle.",
            ),
        ),
    ),
    Build(
        number="4.2",
        name="along_the_road",
        minutes=20,
        right=along_the_road,
        cases=roads,
        section="4.12",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                None,
                "You showed the network x_tau itself. It has only ever seen x_t, which is larger: find x "
                "first, then x_t.",
                seen=shows(lambda x_tau, tau: x_tau),
            ),
            Mistake(
                None,
                "You showed the network x, in exploding units. It has only ever seen x_t.",
                seen=shows(lambda x_tau, tau: x_tau / (1 - tau)),
            ),
            Mistake(
                None,
                "The network should be told the alpha bar of what it is shown; you told it that of the new "
                "level.",
                seen=tells(lambda tau, tau_next: alpha_bar_at(tau_next)),
            ),
            Mistake(
                None,
                "What you told the network is not alpha bar: that follows from sigma by (4.6), sigma from "
                "tau.",
                seen=tells(lambda tau, tau_next: 1 - tau),
            ),
            Mistake(
                None,
                "You took (1 - tau) squared for alpha bar. On the straight road the two factors sum to 1; in "
                "x_t their squares do.",
                seen=tells(lambda tau, tau_next: (1 - tau) ** 2),
            ),
            Mistake(
                variant_of_the_step(sign=-1),
                "v has the wrong sign in both formulas: you turn on instead of back.",
            ),
            Mistake(
                variant_of_the_step(turned=True),
                "Picture and noise have changed places. Which of the two is all of x_t when alpha bar is 1?",
            ),
            Mistake(
                v_taken_for_the_velocity,
                "v is a velocity, but by the angle of section 4.11, not by tau. Make picture and noise of it "
                "first.",
            ),
            Mistake(
                result_in_exploding_units,
                "Your result is x in exploding units. It should be in the units in which x_tau came.",
            ),
            Mistake(
                result_as_x_t,
                "Your result is x_t at the new level. It should be in the units in which x_tau came.",
            ),
            Mistake(back_up_the_road, "You walk towards the noise: on the way to the picture tau falls."),
        ),
    ),
    Derive(
        number="4.3",
        name="kept",
        section="4.9",
        minutes=15,
        right=kept,
        ranges={"sigma": (1.0, 3.0), "sigma_next": (0.1, 0.9), "w": (0.1, 2.0)},
        mistakes=(
            Mistake(
                lambda sigma, sigma_next, w: (w**2 + sigma * sigma_next) / (w**2 + sigma**2),
                "This is what the step does to x, and so to the width. Compare it with what the right step "
                "would do.",
            ),
            Mistake(
                lambda sigma, sigma_next, w: math.sqrt((w**2 + sigma_next**2) / (w**2 + sigma**2)),
                "This is what the right step does to the width. What does Euler's do?",
            ),
            Mistake(
                lambda sigma, sigma_next, w: sigma_next / sigma,
                "You held the guess D at 0. The best guess for a bell moves with x.",
            ),
            Mistake(
                lambda sigma, sigma_next, w: (
                    (w**2 + sigma * sigma_next) / math.sqrt((w**2 + sigma**2) / (w**2 + sigma_next**2))
                ),
                "Divide by what the right step does to the width, and mind which of the two widths is on "
                "top there.",
            ),
            Mistake(
                lambda sigma, sigma_next, w: (
                    sigma_next * math.sqrt(w**2 + sigma**2) / (sigma * math.sqrt(w**2 + sigma_next**2))
                ),
                "You took x / sigma for the guessed noise: as if the picture were always 0.",
            ),
        ),
    ),
    Build(
        number="4.4",
        name="up_then_down",
        minutes=15,
        right=up_then_down,
        cases=churns,
        section="4.9",
        mistakes=(
            Mistake(
                variant_of_the_churn(width=lambda sigma, raised: raised - sigma),
                "Your fresh noise has the width raised - sigma. Variances add, widths don't.",
            ),
            Mistake(
                variant_of_the_churn(width=lambda sigma, raised: raised**2 - sigma**2),
                "You multiply the fresh noise by a variance; it should be multiplied by a width.",
            ),
            Mistake(
                variant_of_the_churn(width=lambda sigma, raised: raised),
                "You add the whole of the raised level. The noise that was there already counts towards it.",
            ),
            Mistake(
                variant_of_the_churn(asked="old"),
                "You showed the network the point with the fresh noise and told it the old level.",
            ),
            Mistake(
                variant_of_the_churn(walked="old"),
                "Euler's step is too short: it starts at the raised level, where the point now is.",
            ),
            Mistake(
                variant_of_the_churn(asked="old", walked="old"),
                "After the fresh noise you go on as if the level were still the old one.",
            ),
            Mistake(
                asked_before_the_noise("old"),
                "You called the network before the noise was added, so it can't see the fresh noise and none "
                "of it is taken out again.",
            ),
            Mistake(
                asked_before_the_noise("raised"),
                "You told the network the raised level, but showed it the point before the noise was added.",
            ),
            Mistake(
                down_then_up,
                "First down and then up, as Euler ancestral does it. Here the noise comes first.",
            ),
        ),
    ),
    FindTheBug(
        number="4.5",
        name="two_m",
        section="4.7",
        minutes=20,
        right=second_order,
        cases=walks,
        given=remembers_its_target,
        mistakes=(
            Mistake(
                variant(lambda guess, before, r: guess),
                "You removed the memory: an honest Euler step, still of order 1. The memory is needed; "
                "what should it "
                "hold?",
            ),
            Mistake(
                variant(lambda guess, before, r: guess + (guess - before) / r),
                "Now you aim at the picture as it will be at the end of the step. The average over a step "
                "is in its "
                "middle.",
            ),
            Mistake(
                variant(lambda guess, before, r: guess + r * (guess - before) / 2),
                "The ratio of the steps is upside down now: after a long step the same difference means a "
                "slower change.",
            ),
            Mistake(
                variant(lambda guess, before, r: guess - (guess - before) / (2 * r)),
                "The sign: you now aim at a picture that lies behind the last guess.",
            ),
            Mistake(remembers_x, "You remember the point x. (4.27) needs two guesses of the picture."),
        ),
    ),
    Derive(
        number="4.6",
        name="corrector",
        section="4.6",
        minutes=25,
        right=corrector,
        ranges={"h": (0.2, 2.0), "before": (0.2, 2.0)},
        mistakes=(
            Mistake(
                lambda h, before: (5 * h / 12, 8 * h / 12, -h / 12),
                "Right for equal steps. Here the step before has its own length.",
            ),
            Mistake(
                lambda h, before: corrector(h, before)[::-1],
                "The order is reversed: first the weight at the end of the step, last that of the step "
                "before.",
            ),
            Mistake(
                lambda h, before: (h / 2, h / 2, 0 * before),
                "This is the mean of the two ends, Heun's rule: exact for straight lines. Three values can "
                "do parabolas.",
            ),
            Mistake(
                lambda h, before: corrector(h, -before),
                "Mind the sign of the place before: counted from the step's beginning it is -before.",
            ),
            Mistake(
                lambda h, before: tuple(w / h for w in corrector(h, before)),
                "Your weights sum to 1: they make a mean slope. The integral is that times the step.",
            ),
            Mistake(
                without_the_end,
                "These use only what lies behind, as (4.20) does. This time the value at the end is known "
                "too.",
            ),
        ),
    ),
    Build(
        number="4.7",
        name="last_picture",
        section="4.13",
        minutes=20,
        right=last_picture,
        cases=guesses,
        mistakes=(
            Mistake(
                lambda d, before, s, s_before: d,
                "This is the first-order jump that minisd makes. Two guesses make a curve: where does it "
                "lead?",
            ),
            Mistake(
                lambda d, before, s, s_before: d + s / (s_before - s) * (d - before),
                "This is a straight line in the noise level. The guess changes with its square.",
            ),
            Mistake(
                lambda d, before, s, s_before: d + s**2 / (s_before**2 - s**2) * (d - before) / 2,
                "This is the picture half-way, as in (4.27). In this step something else counts: which "
                "part of the "
                "integral is left when the end goes to 0?",
            ),
            Mistake(
                lambda d, before, s, s_before: d - s**2 / (s_before**2 - s**2) * (d - before),
                "You go back along the curve, towards the older guess.",
            ),
            Mistake(
                lambda d, before, s, s_before: d + (s_before**2 - s**2) / s**2 * (d - before),
                "The ratio is upside down: what is left is sigma squared, what lies behind is the "
                "difference of the "
                "squares.",
            ),
            Mistake(
                lambda d, before, s, s_before: d + s**2 / s_before**2 * (d - before),
                "What lies behind went from sigma_before to sigma, not from sigma_before to 0.",
            ),
        ),
    ),
    Derive(
        number="4.8",
        name="bears",
        section="4.14",
        minutes=25,
        right=bears,
        ranges={"b": (0.1, 0.9)},
        mistakes=(
            Mistake(
                lambda b: 2 / (1 - b),
                "This is what Euler tolerates. In a zigzag the guess before has the other sign, and (4.27) "
                "makes the "
                "difference larger.",
            ),
            Mistake(
                lambda b: (1 + b) / (2 * (1 - b)),
                "Nearly: D is not minus kappa times x. What is D where kappa is 1?",
            ),
            Mistake(
                lambda b: 1 + (1 + b) / (3 * (1 - b)),
                "You aimed at the end of the step: with equal ratios r is 1, and (4.27) adds half the "
                "difference.",
            ),
            Mistake(
                lambda b: 1 - (1 + b) / (2 * (1 - b)),
                "Mind the sign: a steep slope has kappa above 1, where D moves against x.",
            ),
            Mistake(
                lambda b: 1 + (1 - b) / (2 * (1 - b)),
                "You asked for a miss that keeps its sign. At the border it is a zigzag.",
            ),
        ),
    ),
    Derive(
        number="4.9",
        name="narrowest",
        section="4.12",
        minutes=15,
        right=narrowest,
        ranges={"w": (0.2, 3.0)},
        mistakes=(
            Mistake(
                lambda w: 0.5 + 0 * w,
                "Half-way is right for data of width 1 only. Does the crowd's width at tau = 0 not matter?",
            ),
            Mistake(
                lambda w: w / (1 + w),
                "There picture and noise are equally wide. That need not be the place where their sum is "
                "narrowest.",
            ),
            Mistake(
                lambda w: 1 / (1 + w**2),
                "You counted the time from the noise. In this chapter tau is 0 at the picture.",
            ),
            Mistake(
                lambda w: w**2,
                "This is the noise level sigma of the narrowest place. Which tau belongs to it?",
            ),
            Mistake(
                lambda w: w / math.sqrt(1 + w**2),
                "This is how wide the crowd is there. The question is when.",
            ),
        ),
    ),
    ReachTheMark(
        number="4.10",
        name="eight_calls",
        section="4.13",
        minutes=30,
        score=error_of,
        what="median distance from the true ends",
        mark=0.025,
        right=eight_calls,
        seconds=60.0,
        mistakes=(
            Mistake(
                euler_on([*karras(8), 0.0]),
                "This is Euler on Karras levels. Three choices can be better: the levels, the last of "
                "them, and the solver.",
            ),
            Mistake(
                euler_on(np.linspace(14.6, 0, 9).tolist()),
                "Even steps of sigma: most of your calls are far out, where nothing is decided.",
            ),
            Mistake(
                euler_on(karras(8)),
                "You stop at sigma = 0.03 and return what is still noised. The goal is the clean point.",
            ),
            Mistake(
                pndm_on_karras_levels,
                "This is PNDM on the chapter's Karras levels: a good solver. Now vary the levels.",
            ),
        ),
    ),
    Derive(
        number="4.11",
        name="streams",
        section="4.14",
        minutes=20,
        right=streams,
        ranges={"x": (0.2, 1.5), "sigma": (0.6, 1.5)},
        mistakes=(
            Mistake(
                lambda x, sigma: (x / sigma, 1 + 0 * x),
                "You gave both streams the same share. Bayes' rule gives the nearer picture the larger one.",
            ),
            Mistake(
                lambda x, sigma: (-with_slip(x, sigma)[0], -with_slip(x, sigma)[1]),
                "The sign: this points down to the pictures. A stream's velocity is (x - x_0) / sigma.",
            ),
            Mistake(
                lambda x, sigma: (-with_slip(x, sigma)[0], with_slip(x, sigma)[1]),
                "The sign of the first: this points down to the pictures. A stream's velocity is "
                "(x - x_0) / sigma.",
            ),
            Mistake(
                lambda x, sigma: with_slip(
                    x, sigma, lambda x, sigma: math.tanh(x / sigma), lambda sigma: sigma
                ),
                "The exponents of the bells have sigma squared below. You divided by sigma.",
            ),
            Mistake(
                lambda x, sigma: with_slip(
                    x, sigma, lambda x, sigma: math.tanh(2 * x / sigma**2), lambda sigma: sigma**2 / 2
                ),
                "Twice too much in tanh: the exponents of the bells have a 2 below, too.",
            ),
            Mistake(
                lambda x, sigma: (with_slip(x, sigma)[0], with_slip(x, sigma)[1] / sigma),
                "The first is right. The second is the slope of the velocity: (4.36) has kappa / sigma "
                "there.",
            ),
            Mistake(
                lambda x, sigma: (with_slip(x, sigma)[0], 1 - with_slip(x, sigma)[1]),
                "The first is right. The second is the slope of D; kappa is about the noise, "
                "(x - D) / sigma.",
            ),
            Mistake(
                lambda x, sigma: (with_slip(x, sigma)[0], 2 - with_slip(x, sigma)[1]),
                "The first is right. In the second D follows x, so it takes something from kappa's 1.",
            ),
            Mistake(
                lambda x, sigma: with_slip(x, sigma, inner=lambda sigma: 1),
                "The first is right. In the second the inner derivative of tanh(x / sigma^2) is missing.",
            ),
            Mistake(
                lambda x, sigma: (math.tanh(x / sigma**2), with_slip(x, sigma)[1]),
                "The first is D, the average picture. A stream's velocity is (x - x_0) / sigma.",
            ),
        ),
    ),
    Predict(
        number="4.12",
        name="long_step",
        section="4.14",
        minutes=20,
        measure=long_step,
        within=0.1,
        mistakes=(
            Mistake(
                lambda: {"limit": 0.24},
                "This is the limit of four values, as figure 4.19 shows it. Here two are remembered.",
            ),
            Mistake(
                lambda: {"limit": 2.29},
                "This is the limit of one value, Euler's. A second one is remembered.",
            ),
            Mistake(
                lambda: {"limit": 1.78},
                "You took the difference of the two terms. For a zigzag they add up.",
            ),
            Mistake(
                lambda: {"factor": 5.86},
                "The size is right. Which sign has a miss that overshoots?",
            ),
            Mistake(
                lambda: {"factor": -6.86},
                "This is what the step adds. The old miss is still there.",
            ),
            Mistake(
                lambda: {"factor": -2.74},
                "This is the factor for a miss that was as large before with the same sign. Here it is a "
                "zigzag.",
            ),
            Mistake(
                lambda: {"ends larger than 1": True},
                "One step too steep multiplies by a number. What is left of the miss when that step comes?",
            ),
        ),
    ),
]
