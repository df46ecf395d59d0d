"""The checks of chapter 2: denoising. It spoils the exercises to read this first."""

import math

import torch

from ..kinds import Build, Mistake
from .ch01 import random_table


def bars(alphas_cumprod, t):
    """alpha-bar at timestep t and before it, as floats."""
    return float(alphas_cumprod[t]), float(alphas_cumprod[t - 1]) if t > 0 else 1.0


# 2.1


def posterior(x0, x_t, t, alphas_cumprod):
    ab_t, ab_prev = bars(alphas_cumprod, t)
    alpha = ab_t / ab_prev
    mean = (ab_prev**0.5 * (1 - alpha) * x0 + alpha**0.5 * (1 - ab_prev) * x_t) / (1 - ab_t)
    return mean, (1 - alpha) * (1 - ab_prev) / (1 - ab_t)


def variance_beta(x0, x_t, t, alphas_cumprod):
    ab_t, ab_prev = bars(alphas_cumprod, t)
    return posterior(x0, x_t, t, alphas_cumprod)[0], 1 - ab_t / ab_prev


def weights_swapped(x0, x_t, t, alphas_cumprod):
    return posterior(x_t, x0, t, alphas_cumprod)[0], posterior(x0, x_t, t, alphas_cumprod)[1]


def wrapped_round(x0, x_t, t, alphas_cumprod):
    ab_t, ab_prev = float(alphas_cumprod[t]), float(alphas_cumprod[t - 1])
    alpha = ab_t / ab_prev
    mean = (ab_prev**0.5 * (1 - alpha) * x0 + alpha**0.5 * (1 - ab_prev) * x_t) / (1 - ab_t)
    return mean, (1 - alpha) * (1 - ab_prev) / (1 - ab_t)


def width_not_variance(x0, x_t, t, alphas_cumprod):
    mean, variance = posterior(x0, x_t, t, alphas_cumprod)
    return mean, variance**0.5


def without_roots(x0, x_t, t, alphas_cumprod):
    ab_t, ab_prev = bars(alphas_cumprod, t)
    alpha = ab_t / ab_prev
    mean = (ab_prev * (1 - alpha) * x0 + alpha * (1 - ab_prev) * x_t) / (1 - ab_t)
    return mean, (1 - alpha) * (1 - ab_prev) / (1 - ab_t)


def pairs_at(rng):
    return [
        (*torch.randn(2, *shape, generator=rng), t, random_table(rng, 60))
        for shape, t in (((4,), 30), ((2, 3, 4, 4), 0), ((1, 2, 6, 6), 1), ((3, 5), 59))
    ]


# 2.2


def predict_original(noise, x_t, alpha_bar):
    return (x_t - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5


def noisy(rng):
    return [
        (*torch.randn(2, *shape, generator=rng), alpha_bar)
        for shape, alpha_bar in (((4,), 0.9), ((2, 3, 4, 4), 0.3), ((3, 5, 5), 0.05))
    ]


# 2.3


def noise_of(x0, x_t, t, alphas_cumprod):
    alpha_bar = alphas_cumprod[t].view(-1, 1, 1, 1)
    return (x_t - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()


def along_the_width(x0, x_t, t, alphas_cumprod):
    alpha_bar = alphas_cumprod[t]
    return (x_t - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()


def batches(rng):
    return [
        (
            *torch.randn(2, n, channels, size, size, generator=rng),
            torch.randint(2, 60, (n,), generator=rng),
            random_table(rng, 60),
        )
        for n, channels, size in ((5, 3, 5), (1, 4, 6), (4, 2, 8))
    ]


# 2.4


def kl_of_gaussians(mean1, variance1, mean2, variance2):
    ratio = variance1 / variance2
    return 0.5 * (ratio - 1 - ratio.log() + (mean1 - mean2) ** 2 / variance2).sum()


def gaussians(rng):
    cases = []
    for shape in ((3,), (2, 5), (2, 3, 4, 4)):
        mean1, mean2 = torch.randn(2, *shape, generator=rng)
        variance1, variance2 = 0.2 + 2 * torch.rand(2, *shape, generator=rng)
        cases.append((mean1, variance1, mean2, variance2))
    return cases


# 2.5


def guess_of_two(x_t, a, b, share, alpha_bar):
    return mixed(x_t, a, b, alpha_bar, math.log(share / (1 - share)), 2 * (1 - alpha_bar))


def mixed(x_t, a, b, alpha_bar, start, divisor):
    to_a, to_b = ((x_t - alpha_bar**0.5 * point).square().sum(1) for point in (a, b))
    r = torch.sigmoid(start + (to_b - to_a) / divisor)[:, None]
    return r * a + (1 - r) * b


def nearer_of_two(x_t, a, b, share, alpha_bar):
    to_a, to_b = ((x_t - alpha_bar**0.5 * point).square().sum(1) for point in (a, b))
    start = math.log(share / (1 - share))
    return torch.where((start + (to_b - to_a) / (2 * (1 - alpha_bar)) > 0)[:, None], a, b)


def number_by_number(x_t, a, b, share, alpha_bar):
    to_a, to_b = ((x_t - alpha_bar**0.5 * point).square() for point in (a, b))
    r = torch.sigmoid(math.log(share / (1 - share)) + (to_b - to_a) / (2 * (1 - alpha_bar)))
    return r * a + (1 - r) * b


def unshrunk(x_t, a, b, share, alpha_bar):
    to_a, to_b = ((x_t - point).square().sum(1) for point in (a, b))
    r = torch.sigmoid(math.log(share / (1 - share)) + (to_b - to_a) / (2 * (1 - alpha_bar)))[:, None]
    return r * a + (1 - r) * b


def points(rng):
    cases = []
    for n, d, share, alpha_bar in ((6, 2, 0.5, 0.5), (4, 1, 0.2, 0.3), (5, 7, 0.8, 0.15)):
        a, b = torch.randn(2, d, generator=rng)
        from_a = torch.rand(n, 1, generator=rng) < share
        x_t = alpha_bar**0.5 * torch.where(from_a, a, b) + (1 - alpha_bar) ** 0.5 * torch.randn(
            n, d, generator=rng
        )
        cases.append((x_t, a, b, share, alpha_bar))
    return cases


# 2.6


def simple_loss(predict_noise, x0, noise, t, alphas_cumprod):
    return (predict_noise(*noised(x0, noise, t, alphas_cumprod)) - noise).square().mean()


def noised(x0, noise, t, alphas_cumprod):
    alpha_bar = alphas_cumprod[t].view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise, t


def against(target):
    """simple_loss with another label: `target(x0, x_t)`."""

    def loss(predict_noise, x0, noise, t, alphas_cumprod):
        x_t, _ = noised(x0, noise, t, alphas_cumprod)
        return (predict_noise(x_t, t) - target(x0, x_t)).square().mean()

    return loss


def some_network(x_t, t):
    return 0.4 * x_t + torch.sin(0.1 * t.view(-1, 1, 1, 1)) * x_t.flip(-1)


def losses(rng):
    return [(some_network, *case[:2], *case[2:]) for case in batches(rng)]


# 2.7


def step_back(x_t, noise, t, fresh, alphas_cumprod):
    return walked(x_t, noise, t, fresh, alphas_cumprod)


def walked(x_t, noise, t, fresh, alphas_cumprod, factor=None, width=None):
    """step_back with another factor(beta, ab) of the guessed noise or another width(beta, ab, ab_prev, t)."""
    ab_t, ab_prev = bars(alphas_cumprod, t)
    beta = 1 - ab_t / ab_prev
    taken = factor(beta, ab_t) if factor else beta / (1 - ab_t) ** 0.5
    spread = width(beta, ab_t, ab_prev, t) if width else beta**0.5 * (t > 0)
    return (x_t - taken * noise) / (1 - beta) ** 0.5 + spread * fresh


def slip(factor=None, width=None):
    return lambda x_t, noise, t, fresh, table: walked(x_t, noise, t, fresh, table, factor, width)


def bar_for_alpha(x_t, noise, t, fresh, alphas_cumprod):
    ab_t, ab_prev = bars(alphas_cumprod, t)
    beta = 1 - ab_t / ab_prev
    return (x_t - beta / (1 - ab_t) ** 0.5 * noise) / ab_t**0.5 + beta**0.5 * fresh * (t > 0)


def wrapped_step(x_t, noise, t, fresh, alphas_cumprod):
    ab_t, beta = float(alphas_cumprod[t]), 1 - float(alphas_cumprod[t] / alphas_cumprod[t - 1])
    mean = (x_t - beta / (1 - ab_t) ** 0.5 * noise) / (1 - beta) ** 0.5
    return mean + beta**0.5 * fresh if t > 0 else mean


def still_shrunk(x_t, noise, t, fresh, alphas_cumprod):
    ab_t, ab_prev = bars(alphas_cumprod, t)
    beta = 1 - ab_t / ab_prev
    return x_t - beta / (1 - ab_t) ** 0.5 * noise + beta**0.5 * fresh * (t > 0)


def steps(rng):
    return [
        (x_t, noise, t, fresh, random_table(rng, 60))
        for shape, t in (((4,), 30), ((2, 3, 4, 4), 0), ((1, 2, 6, 6), 1), ((3, 5), 59))
        for x_t, noise, fresh in [torch.randn(3, *shape, generator=rng)]
    ]


# 2.8


def walk_back(predict_noise, step, x, steps, generator):
    return walk_over(reversed(range(steps)))(predict_noise, step, x, steps, generator)


def walk_over(times, told=lambda t: t):
    """A walk through these timesteps (or those that a function of `steps` gives); the network is told
    `told(t)`.
    """

    def walk(predict_noise, step, x, steps, generator):
        for t in times(steps) if callable(times) else times:
            x = step(x, predict_noise(x, told(t)), t, torch.randn(x.shape, generator=generator))
        return x

    return walk


def asked_once(predict_noise, step, x, steps, generator):
    noise = predict_noise(x, steps - 1)
    for t in reversed(range(steps)):
        x = step(x, noise, t, torch.randn(x.shape, generator=generator))
    return x


def one_draw(predict_noise, step, x, steps, generator):
    fresh = torch.randn(x.shape, generator=generator)
    for t in reversed(range(steps)):
        x = step(x, predict_noise(x, t), t, fresh)
    return x


def guess_at(x_t, t):
    return 0.3 * x_t + 0.02 * t


def a_step(x_t, noise, t, fresh):
    return 0.95 * x_t - 0.1 * noise + 0.01 * (t + 1) ** 0.5 * fresh * (t > 0)


def walks(rng):
    return [
        (guess_at, a_step, torch.randn(*shape, generator=rng), count, torch.Generator().manual_seed(count))
        for shape, count in (((4,), 5), ((2, 1, 4, 4), 12), ((3, 2), 1), ((2, 3), 30))
    ]


EXERCISES = [
    Build(
        number="2.1",
        name="posterior",
        minutes=10,
        right=posterior,
        cases=pairs_at,
        section="2.2",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                variance_beta,
                "Your mean is right, your variance is that of the dose, beta. Knowing the picture makes it "
                "smaller: beta tilde (2.6).",
            ),
            Mistake(
                wrapped_round,
                "Wrong at t = 0 only: `alphas_cumprod[-1]` is the last entry. Before the first dose stands "
                "the "
                "clean picture.",
            ),
            Mistake(
                weights_swapped,
                (
                    "The two weights of the mean have changed places. At t = 0 the mean should be the "
                    "picture itself."
                ),
            ),
            Mistake(width_not_variance, "You returned the standard deviation; asked for is the variance."),
            Mistake(without_roots, "The variance is right; in (2.7) two of the factors stand under a root."),
            Mistake(
                lambda x0, x_t, t, ab: posterior(x0, x_t, max(t - 1, 0), ab),
                "One step too early: you read the table at t - 1 for t.",
            ),
        ),
    ),
    Build(
        number="2.2",
        name="predict_original",
        minutes=5,
        right=predict_original,
        cases=noisy,
        section="2.4",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                lambda noise, x_t, ab: x_t - noise,
                "You took the noise away as it is. In x_t it has a factor, and the picture has one too.",
            ),
            Mistake(
                lambda noise, x_t, ab: x_t - (1 - ab) ** 0.5 * noise,
                "What is left is the picture shrunk by the root of alpha bar. Undo that.",
            ),
            Mistake(
                lambda noise, x_t, ab: (x_t - (1 - ab) * noise) / ab,
                "Both roots are missing: 1 - alpha bar is the variance of the noise, not its factor.",
            ),
            Mistake(
                lambda noise, x_t, ab: (x_t - ab**0.5 * noise) / (1 - ab) ** 0.5,
                "The two factors have changed places: this is the formula (2.13) for the noise, fed with the "
                "noise.",
            ),
            Mistake(
                lambda noise, x_t, ab: (x_t + (1 - ab) ** 0.5 * noise) / ab**0.5,
                "A sign: the noise was added, so it must be taken away.",
            ),
        ),
    ),
    Build(
        number="2.3",
        name="noise_of",
        minutes=5,
        right=noise_of,
        cases=batches,
        section="2.4",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                lambda x0, x_t, t, ab: x_t - x0,
                "The difference of the two pictures is not the noise: both have factors in the jump.",
            ),
            Mistake(
                lambda x0, x_t, t, ab: x_t - ab[t].view(-1, 1, 1, 1).sqrt() * x0,
                "This is the noise times its factor. The label of training has a variance of 1.",
            ),
            Mistake(
                lambda x0, x_t, t, ab: (x_t - (c := ab[t].view(-1, 1, 1, 1)) * x0) / (1 - c),
                "Both roots are missing: what multiplies the noise is the root of its variance.",
            ),
            Mistake(
                along_the_width,
                "Right where all timesteps are equal, wrong where they differ: which axis do your factors "
                "multiply?",
            ),
            Mistake(
                lambda x0, x_t, t, ab: noise_of(x0, x_t, t - 1, ab),
                "One dose too few: code counts timesteps from 0, so alphas_cumprod[t] is the one you want.",
            ),
            Mistake(
                lambda x0, x_t, t, ab: (x_t - (c := ab[t].view(-1, 1, 1, 1)).sqrt() * x0) / (1 - c),
                "You divided by the variance of the noise; it should be its width.",
            ),
        ),
    ),
    Build(
        number="2.4",
        name="kl_of_gaussians",
        minutes=10,
        right=kl_of_gaussians,
        cases=gaussians,
        section="2.5",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                lambda m1, v1, m2, v2: kl_of_gaussians(m2, v2, m1, v1),
                "The two have changed places. The divergence is not symmetric: the average is taken under "
                "the "
                "first.",
            ),
            Mistake(
                lambda m1, v1, m2, v2: kl_of_gaussians(m1, v1**2, m2, v2**2),
                "You squared the variances: (2.19) squares standard deviations, and you are given variances.",
            ),
            Mistake(
                lambda m1, v1, m2, v2: kl_of_gaussians(m1, v1, m2, v2) + 0.5 * m1.numel(),
                "Two equal Gaussians should be 0 apart; a constant is missing, one for each number.",
            ),
            Mistake(
                lambda m1, v1, m2, v2: kl_of_gaussians(m1, v1, m2, v2) / m1.numel(),
                "This is the mean over the numbers. Divergences of independent numbers add.",
            ),
            Mistake(
                lambda m1, v1, m2, v2: ((v2 / v1).log() + (v1 + (m1 - m2) ** 2) / (2 * v2) - 0.5).sum(),
                "The logarithm is twice too large: (2.19) takes that of standard deviations, half of that of "
                "variances.",
            ),
        ),
    ),
    Build(
        number="2.5",
        name="guess_of_two",
        minutes=20,
        right=guess_of_two,
        cases=points,
        section="2.7",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                nearer_of_two,
                "You chose the likelier picture. The best guess is the average of both, each with its "
                "probability.",
            ),
            Mistake(
                lambda x_t, a, b, share, ab: mixed(x_t, a, b, ab, 0.0, 2 * (1 - ab)),
                "Right for a fair coin only: the probability of a before anything was seen is missing.",
            ),
            Mistake(
                lambda x_t, a, b, share, ab: mixed(x_t, a, b, ab, math.log(share / (1 - share)), 1 - ab),
                "Too sure of itself: the exponent of (1.1) divides by twice the variance.",
            ),
            Mistake(
                unshrunk,
                "You measured the distance to the clean pictures. In x_t they stand shrunk by the root of "
                "alpha "
                "bar.",
            ),
            Mistake(
                number_by_number,
                "You decided each number by itself. All numbers of a picture are evidence for the same "
                "coin: add "
                "their squares first.",
            ),
            Mistake(
                lambda x_t, a, b, share, ab: mixed(
                    x_t, a, b, ab, math.log(share / (1 - share)), 2 * (1 - ab) ** 0.5
                ),
                "The exponent divides by the variance of the noise, 1 - alpha bar, and you took its root.",
            ),
        ),
    ),
    Build(
        number="2.6",
        name="simple_loss",
        minutes=10,
        right=simple_loss,
        cases=losses,
        section="2.6",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                against(lambda x0, x_t: x_t),
                "You compare with x_t, the input itself. The network would learn to copy, with the best loss "
                "curve of your life.",
            ),
            Mistake(
                against(lambda x0, x_t: x0),
                "You compare with the clean picture. This network is asked for the noise.",
            ),
            Mistake(
                lambda f, x0, noise, t, ab: (f(noised(x0, noise, t, ab)[0], t) - noise).square().sum(),
                "This is the sum over all numbers; asked for is the mean, so that the loss does not depend "
                "on the "
                "batch's size.",
            ),
            Mistake(
                lambda f, x0, noise, t, ab: (f(x0, t) - noise).square().mean(),
                "The network was shown the clean picture: no noise is there to be guessed.",
            ),
            Mistake(
                lambda f, x0, noise, t, ab: (f(x0 + noise, t) - noise).square().mean(),
                "Picture plus noise, without the factors of the jump: every timestep looks alike.",
            ),
            Mistake(
                lambda f, x0, noise, t, ab: (f(noised(x0, noise, t, ab)[0], t + 1) - noise).square().mean(),
                "The input is right, the network is told a timestep one too high.",
            ),
            Mistake(
                lambda f, x0, noise, t, ab: (f(noised(x0, noise, t, ab)[0], t) - noise).abs().mean(),
                "You took absolute differences. Their best guess is a median; the mathematics here needs an "
                "average (2.11).",
            ),
        ),
    ),
    Build(
        number="2.7",
        name="step_back",
        minutes=15,
        right=step_back,
        cases=steps,
        section="2.9",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                wrapped_step,
                "Right but for t = 0: `alphas_cumprod[-1]` is the last entry, and before the first dose "
                "alpha bar "
                "is 1.",
            ),
            Mistake(
                still_shrunk,
                (
                    "The shrinking of the dose is not undone: the bracket of (2.14) is divided by the root "
                    "of alpha."
                ),
            ),
            Mistake(
                slip(width=lambda beta, ab, prev, t: beta**0.5),
                (
                    "Right at every step but the last: at t = 0 no noise may be added, nobody would take it "
                    "away."
                ),
            ),
            Mistake(
                slip(width=lambda beta, ab, prev, t: (beta * (1 - prev) / (1 - ab)) ** 0.5),
                "This is a right step with the smaller variance, beta tilde. Asked for is the one with beta.",
            ),
            Mistake(
                slip(width=lambda beta, ab, prev, t: beta * (t > 0)),
                "The fresh noise is too weak: beta is its variance, its factor is the root.",
            ),
            Mistake(
                slip(width=lambda beta, ab, prev, t: 0.0),
                (
                    "No fresh noise: you return the mean. From every start you would reach the same few "
                    "pictures."
                ),
            ),
            Mistake(
                slip(factor=lambda beta, ab: (1 - ab) ** 0.5),
                "You took away all the noise that was guessed. One step takes only beta over the root of 1 - "
                "alpha bar of it.",
            ),
            Mistake(
                slip(factor=lambda beta, ab: beta),
                "Too little noise is taken away: in (2.14) beta is divided by the root of 1 - alpha bar.",
            ),
            Mistake(
                slip(factor=lambda beta, ab: beta**0.5),
                "The factor of the guessed noise is the root of beta. That is what one dose added, not what "
                "the "
                "mean takes away (2.14).",
            ),
            Mistake(
                bar_for_alpha,
                "You divide by the root of alpha bar: that undoes all the doses' shrinking at once. One step "
                "undoes one.",
            ),
        ),
    ),
    Build(
        number="2.8",
        name="walk_back",
        minutes=15,
        right=walk_back,
        cases=walks,
        section="2.9",
        tolerance=1e-5,
        mistakes=(
            Mistake(
                walk_over(range),
                "You walked from 0 upwards. The walk begins with the most noise, at the last timestep.",
            ),
            Mistake(
                walk_over(lambda steps: range(steps - 1, 0, -1)),
                "The walk stops one step early: timestep 0 is missing, and a grain of noise remains.",
            ),
            Mistake(
                walk_over(lambda steps: range(steps, 0, -1)),
                "Every timestep is one too high: code counts from 0, so a walk of n steps begins at n - 1.",
            ),
            Mistake(
                asked_once,
                "The network was asked only once, at the start. It must guess anew at every step, from "
                "where the "
                "walk now stands.",
            ),
            Mistake(
                one_draw,
                "The same fresh noise at every step: doses of the same noise add up, they do not cancel. "
                "Draw "
                "anew.",
            ),
            Mistake(
                walk_over(lambda steps: range(steps - 1, -1, -1), told=lambda t: t + 1),
                "The step is right, but the network is told a timestep one too high.",
            ),
        ),
    ),
]
