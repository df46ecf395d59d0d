"""The samplers against diffusers' schedulers, step by step, as whole trajectories and from the middle of one.

The noise predictor is a fixed function of latents and timestep. Nearly everything runs in float64, on both
sides: diffusers computes its coefficients, and in some classes the latents, in float32, and there loses
digits that ours keep. So its table is turned to float64 (the same float32 numbers), its sigmas are taken from
that table, and the casts to float32 inside its steps are made casts to float64. What is left agrees to 1e-8.
In float32, and with diffusers as it is, the two agree to 1e-5 up to 50 steps; over 1,000 steps the latents of
ddpm and euler_a drift up to 3e-5 apart, since the size of their fresh noise is a difference of nearly equal
numbers.
"""

import math
import sys
import types
from unittest import mock

import diffusers
import numpy as np
import pytest
import torch

from minisd import SAMPLERS, NoiseSchedule
from minisd.samplers import (
    ancestral_sigmas,
    ddim_step,
    dpmpp_step,
    euler_step,
    extrapolate,
    multistep_weights,
    predict_original,
    sigmas_of,
)
from small import assert_same

SD = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
SCHEDULE = NoiseSchedule.scaled_linear()
CLASSES = {
    "ddpm": (diffusers.DDPMScheduler, {"clip_sample": False}),
    "ddim": (diffusers.DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    "pndm": (diffusers.PNDMScheduler, {"skip_prk_steps": True}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_a": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "lms": (diffusers.LMSDiscreteScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
}
SPACINGS = ["leading", "linspace", "trailing"]
EXPLODING = ["euler", "euler_a", "lms"]
STEPS = [1, 2, 3, 10, 27, 30, 50]
WIDE = types.SimpleNamespace(
    **{**vars(torch), "float32": torch.float64}
)  # torch, in the eyes of diffusers' steps


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def predict_noise(latents, t):
    """As smooth and as dull as a network at its start: a mixture of the latents, bounded, moved by t."""
    return torch.sin(1.3 * latents + latents.roll(1, dims=-1) + float(t) / 200) + 0.3 * latents.flip(1)


def reference(name, number=None, spacing=None, wide=True):
    """diffusers' scheduler of that name, ready for `number` steps; `wide` in float64."""
    kind, settings = CLASSES[name]
    scheduler = kind(**SD, **settings, timestep_spacing=spacing or SAMPLERS[name].spacing)
    table = scheduler.alphas_cumprod.double()
    if wide:
        scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = table, table[0]
        scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    if number is not None:
        scheduler.set_timesteps(number)
    if wide and number is not None and hasattr(scheduler, "sigmas"):
        sigmas = np.interp(scheduler.timesteps.numpy(), np.arange(1000), ((1 - table) / table).sqrt().numpy())
        assert scheduler.sigmas.tolist() == pytest.approx([*sigmas, 0], rel=5e-7)
        scheduler.sigmas = torch.tensor([*sigmas, 0], dtype=torch.float64)
    return scheduler


def drawing(like, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(like.shape, generator=generator, dtype=like.dtype)


def their_steps(scheduler, name, latents, eta=0.0, begin=0, end=None):
    """(latents, predicted x_0 or None, noise) after each step of diffusers' loop over its
    timesteps[begin:end].

    Latents in float64 stay so; LMS gets its sigmas as Python floats, or its quadrature takes seconds.
    """
    generator, out = torch.Generator().manual_seed(1), []
    if name == "lms" and latents.dtype == torch.float64:
        scheduler.sigmas = scheduler.sigmas.tolist()
    torch_there = WIDE if latents.dtype == torch.float64 else torch
    options = {"generator": generator} if name in ("ddpm", "ddim", "euler_a") else {}
    options |= {"eta": eta} if name == "ddim" else {}
    if begin and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    for t in scheduler.timesteps[begin:end]:
        noise = predict_noise(scheduler.scale_model_input(latents, t), t)
        with mock.patch.object(sys.modules[type(scheduler).__module__], "torch", torch_there):
            result = scheduler.step(noise, t, latents, **options)
        latents = result.prev_sample
        x0 = scheduler.model_outputs[-1] if name == "dpmpp_2m" else result.get("pred_original_sample")
        out.append((latents, x0, noise))
    return out


def planned(name, number, spacing=None, begin=0, **options):
    """The way of `number` steps, without the first `begin` of them."""
    return SAMPLERS[name].way(SCHEDULE, number, 1, spacing, **options).last(number - begin)


def walked(way, latents, predict=predict_noise):
    return list(way.walk(predict, latents, drawing(latents)))


def assert_same_steps(ours, theirs, tolerance=1e-8):
    for step, (latents, predicted_original, noise) in zip(ours, theirs, strict=True):
        assert_same(step.latents, latents, tolerance)
        assert_same(step.noise, noise, tolerance)
        if predicted_original is not None:
            assert_same(step.predicted_original, predicted_original, tolerance)


FIRST = rand(2, 4, 4, 3)  # noise of unit variance


def offered(name, spacing, number):
    """ddim and pndm take a list only where its strides are T // number, as diffusers' steps of these classes
    are.
    """
    return (
        name not in ("ddim", "pndm")
        or spacing == "leading"
        or (1000 % number == 0 if spacing == "trailing" else number in (1, 1000))
    )


def whole_lists():
    """Every sampler, spacing and number of steps where both sides go: the rest has tests of its own below.

    1,000 steps are one list whatever the spacing, which diffusers fails with leading spacing.
    """
    lists = [(name, spacing, number) for name in SAMPLERS for spacing in SPACINGS for number in STEPS]
    lists += [(name, *last) for name in SAMPLERS for last in (("trailing", 1000), ("leading", 501))]
    return [(name, spacing, number) for name, spacing, number in lists if offered(name, spacing, number)]


# ---- the timesteps


@pytest.mark.parametrize(
    "name, spacing, number, expected",
    [
        ("ddim", None, 1, [1]),
        ("ddim", None, 2, [501, 1]),
        ("ddim", None, 3, [667, 334, 1]),
        ("ddpm", None, 30, list(range(958, 0, -33))),
        ("ddim", None, 50, list(range(981, 0, -20))),
        ("ddim", None, 999, list(range(999, 0, -1))),
        ("ddim", "trailing", 4, [999, 749, 499, 249]),
        ("pndm", None, 1, [1]),
        ("pndm", None, 2, [501, 1, 1]),
        ("pndm", None, 3, [667, 334, 334, 1]),
        ("euler", None, 3, [999, 499.5, 0]),
        ("lms", "leading", 3, [667, 334, 1]),
        ("ddpm", "linspace", 3, [999, 500, 0]),
        ("dpmpp_2m", None, 3, [999, 666, 333]),
        ("dpmpp_2m", "leading", 3, [751, 501, 251]),
    ],
)
def test_timesteps(name, spacing, number, expected):
    timesteps = SAMPLERS[name].timesteps(number, SCHEDULE, 1, spacing)
    assert timesteps == expected and all(isinstance(t, int) == (t == int(t)) for t in timesteps)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_timesteps_equal_diffusers(name, spacing):
    """But for its rounding with trailing spacing: 62 numbers, 61 and 103 among them, get one more step, at t
    = -1.
    """
    scheduler, longer = reference(name, spacing=spacing), set()
    for number in [*range(1, 62), 99, 103, 333, 500, 501, 750]:
        if not offered(name, spacing, number):
            continue
        scheduler.set_timesteps(number)
        theirs = scheduler.timesteps.tolist()
        if theirs[-1] == -1:
            longer.add(number)
            theirs.pop()
        assert SAMPLERS[name].timesteps(number, SCHEDULE, 1, spacing) == theirs
    assert longer == ({61, 103} if spacing == "trailing" and name not in ("ddim", "pndm") else set())


def test_the_default_spacing_is_that_of_diffusers_class():
    for name, (kind, options) in CLASSES.items():
        assert SAMPLERS[name].spacing == kind(**options).config.timestep_spacing


@pytest.mark.parametrize("offset", [0, 1])
def test_timesteps_of_a_short_schedule_with_either_offset(offset):
    schedule = NoiseSchedule.linear(steps=40)
    for name, (kind, options) in CLASSES.items():
        scheduler = kind(num_train_timesteps=40, steps_offset=offset, timestep_spacing="leading", **options)
        scheduler.set_timesteps(7)
        assert SAMPLERS[name].timesteps(7, schedule, offset, "leading") == scheduler.timesteps.tolist()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_thousand_steps_visit_every_timestep(name, spacing):
    """diffusers' lists with leading spacing run from 1000 to 1."""
    timesteps = SAMPLERS[name].timesteps(1000, SCHEDULE, 1, spacing)
    assert (timesteps[:1] + timesteps[2:] if name == "pndm" else timesteps) == list(range(999, -1, -1))


@pytest.mark.parametrize(
    "name, spacing, number, end",
    [
        *((name, "leading", 1000, 3) for name in ("ddpm", "ddim", "pndm", "lms", "dpmpp_2m")),
        ("dpmpp_2m", "leading", 999, 3),
        ("dpmpp_2m", "linspace", 1000, None),
    ],
)
def test_where_diffusers_has_no_trajectory_to_compare_with(name, spacing, number, end):
    """It leaves its table, or visits one sigma twice and divides by the difference; ours goes through."""
    scheduler = reference(name, number, spacing, wide=False)
    try:
        finite = their_steps(scheduler, name, FIRST.float(), end=end)[-1][0].isfinite().all()
    except IndexError:
        finite = False
    assert not finite
    way = planned(name, number, spacing)
    assert len(set(way.asked)) == number and min(way.asked) >= 0 and max(way.asked) <= 999
    assert walked(way, FIRST)[-1].latents.isfinite().all()


def test_where_diffusers_asks_the_network_for_a_timestep_that_was_never_trained():
    for name in ("euler", "euler_a", "lms"):
        assert reference(name, 1000, "leading", wide=False).timesteps[0] == 1000
        assert planned(name, 1000, "leading").asked[0] == 999  # ours stays within what was trained


@pytest.mark.parametrize("number", [0, -1, 1001])
@pytest.mark.parametrize("name", SAMPLERS)
def test_numbers_of_steps_that_cannot_be_are_refused(name, number):
    with pytest.raises(ValueError, match=f"between 1 and 1000, got {number}"):
        SAMPLERS[name].timesteps(number, SCHEDULE)


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_unknown_spacing_is_refused(name):
    with pytest.raises(
        ValueError, match="unknown timestep spacing 'even'; choose leading, linspace or trailing"
    ):
        SAMPLERS[name].timesteps(10, SCHEDULE, 1, "even")


@pytest.mark.parametrize("name", ["ddim", "pndm"])
def test_a_spacing_whose_strides_are_not_those_of_the_step_is_refused(name):
    """diffusers accepts it and lands beside the timestep that it asks the network for next."""
    for spacing, number in (("linspace", 50), ("trailing", 30)):
        with pytest.raises(
            ValueError, match=f"{name} takes strides of {1000 // number} timesteps, {spacing}"
        ):
            SAMPLERS[name].timesteps(number, SCHEDULE, 1, spacing)
        visited = sorted(set(reference(name, number, spacing).timesteps.tolist()))
        assert set(np.diff(visited)) != {1000 // number}


# ---- the trajectories


@pytest.mark.parametrize("name, spacing, number", whole_lists())
def test_every_step_of_a_trajectory_equals_diffusers(name, spacing, number):
    scheduler = reference(name, number, spacing)
    way = planned(name, number, spacing)
    start = way.start(FIRST)
    assert_same(start, FIRST * scheduler.init_noise_sigma)
    ours = walked(way, start)
    assert [step.t for step in ours] == way.asked == scheduler.timesteps.tolist()
    assert way.asked == SAMPLERS[name].timesteps(number, SCHEDULE, 1, spacing)
    assert [step.index for step in ours] == list(range(number + (name == "pndm" and number > 1)))
    assert_same_steps(ours, their_steps(scheduler, name, start))


@pytest.mark.parametrize("number", STEPS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_in_float32_a_trajectory_is_near_diffusers_as_it_is(name, number):
    scheduler, way = reference(name, number, wide=False), planned(name, number)
    start = way.start(FIRST.float())
    assert_same(start, FIRST.float() * scheduler.init_noise_sigma, 1e-6)
    assert_same_steps(walked(way, start), their_steps(scheduler, name, start), 1e-5)


@pytest.mark.parametrize("number", [*STEPS, 501])
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_noise_equals_diffusers(eta, number):
    ours = walked(planned("ddim", number, eta=eta), FIRST)
    assert_same_steps(ours, their_steps(reference("ddim", number), "ddim", FIRST, eta))


def test_pndm_reports_the_picture_that_the_network_believes_in():
    """diffusers' class reports none."""
    asked = []

    def remember(latents, t):
        asked.append(latents)
        return predict_noise(latents, t)

    steps = walked(planned("pndm", 10), FIRST, remember)
    for step, latents in zip(steps, asked, strict=True):
        ab = SCHEDULE.alphas_cumprod[step.t].item()
        assert_same(step.noise, predict_noise(latents, step.t), 0)
        assert_same(ab**0.5 * step.predicted_original + (1 - ab) ** 0.5 * step.noise, latents, 1e-12)


@pytest.mark.parametrize("dtype, limit", [(torch.float32, 1e-5), (torch.float16, 0.02)])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_trajectory_stays_in_its_dtype_and_near(name, dtype, limit):
    way, draws = planned(name, 30), rand(30, 1, 4, 4, 4)
    start, ends = way.start(rand(1, 4, 4, 4)), []
    for kind in (torch.float64, dtype):
        fresh = iter(draws.to(kind))
        for step in way.walk(predict_noise, start.to(kind), lambda fresh=fresh: next(fresh)):
            assert step.latents.dtype == step.predicted_original.dtype == step.noise.dtype == kind
        ends.append(step.latents.double())
    assert_same(ends[1], ends[0], limit)


@pytest.mark.parametrize("name", ["ddim", "pndm", "euler", "lms", "dpmpp_2m"])
def test_a_deterministic_sampler_draws_nothing_and_repeats_itself(name):
    runs = [list(planned(name, 10).walk(predict_noise, FIRST)) for _ in "ab"]
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "ddim"])
def test_only_ddim_takes_eta(name):
    with pytest.raises(ValueError, match="eta belongs to the ddim sampler"):
        planned(name, 10, eta=0.5)


# ---- starts, and trajectories from the middle


@pytest.mark.parametrize("name", EXPLODING)
def test_exploding_samplers_start_wider_with_leading_spacing(name):
    one = torch.ones(1, 1, 1, 1)
    for spacing, expected in (
        ("leading", 13.1585),
        (None, 14.6146),
        ("linspace", 14.6146),
        ("trailing", 14.6146),
    ):
        assert planned(name, 50, spacing).start(one).item() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SAMPLERS)
def test_noised_equals_diffusers_add_noise(name, dtype):
    x0, noise = rand(2, 4, 3, 5, dtype=dtype), rand(2, 4, 3, 5, seed=1, dtype=dtype)
    for begin in (0, 7, 30, 49):
        scheduler = CLASSES[name][0](**SD, **CLASSES[name][1])
        scheduler.set_timesteps(50)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        theirs = scheduler.add_noise(x0, noise, scheduler.timesteps[begin : begin + 1])
        way = planned(name, 50, begin=begin)
        assert_same(way.noised(x0, noise), theirs, 1e-6)


TAILS = [(50, 1), (50, 2), (50, 10), (50, 49), (30, 7), (27, 25), (10, 5), (3, 1), (3, 2), (2, 1)]


def tail(name, number, begin, spacing=None):
    """What image to image starts from: diffusers' scheduler, our way, the noised latents."""
    way = planned(name, number, spacing, begin)
    return reference(name, number, spacing), way, way.noised(FIRST, torch.ones_like(FIRST))


@pytest.mark.parametrize("number, begin", TAILS)
@pytest.mark.parametrize(
    "name, spacing",
    [
        *((name, None) for name in SAMPLERS if name != "lms"),
        ("euler", "leading"),
        ("dpmpp_2m", "leading"),
        ("ddpm", "trailing"),
    ],
)
def test_a_tail_of_the_timesteps_equals_diffusers_image_to_image(name, spacing, number, begin):
    """pndm's too, which has lost its repeated timestep and lags behind (2 of 50), or kept it (1 of 50)."""
    scheduler, way, start = tail(name, number, begin, spacing)
    assert_same_steps(walked(way, start), their_steps(scheduler, name, start, begin=begin))


@pytest.mark.parametrize("number, begin", [(50, 25), (10, 9), (2, 1)])
def test_pndm_with_trailing_spacing_equals_diffusers_image_to_image(number, begin):
    scheduler, way, start = tail("pndm", number, begin, "trailing")
    assert_same_steps(walked(way, start), their_steps(scheduler, "pndm", start, begin=begin))


@pytest.mark.parametrize("number, begin", TAILS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_lms_warms_up_anew_on_a_tail(spacing, number, begin):
    """As diffusers does with a list that holds nothing but the tail."""
    scheduler, way, start = tail("lms", number, begin, spacing)
    scheduler.timesteps, scheduler.sigmas = scheduler.timesteps[begin:], scheduler.sigmas[begin:]
    assert_same_steps(walked(way, start), their_steps(scheduler, "lms", start))


def test_lms_of_diffusers_takes_a_first_step_that_is_too_long_in_image_to_image():
    """Why ours differs there: four weights add up to the step, and it has a history for the first of them
    only.
    """
    scheduler, way, start = tail("lms", 50, 10)
    sigma, sigma_next = way.sigmas[:2]
    (latents, _, noise), *_ = their_steps(scheduler, "lms", start, begin=10)
    length = ((latents - start) / noise).median().item() / (sigma_next - sigma)
    assert length > 2
    four = [scheduler.get_lms_coefficient(4, 10, j) for j in range(4)]
    assert sum(four) == pytest.approx(sigma_next - sigma) and four[0] == pytest.approx(
        length * (sigma_next - sigma)
    )
    spread = {kind: spread_error(steps) for kind, steps in lms_on_a_gaussian(10).items()}
    assert abs(spread["ours"]) < 1e-3 < 1e-2 < abs(spread["theirs"])


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("pndm", "lms", "dpmpp_2m")])
def test_a_sampler_without_history_goes_on_from_anywhere(name):
    """The last 20 of 50 steps, from the latents that the first 30 left: the same steps again."""
    fixed = torch.ones_like(FIRST)
    whole = list(planned(name, 50).walk(predict_noise, FIRST, lambda: fixed))
    way = planned(name, 50, begin=30)
    rest = list(way.walk(predict_noise, whole[29].latents, lambda: fixed))
    assert [step.t for step in rest] == [step.t for step in whole[30:]]
    assert torch.equal(rest[-1].latents, whole[-1].latents)


# ---- the steps


def test_ddim_is_exact_when_the_noise_is_known():
    """Where the network tells the truth, x_0 is found at once and kept to the end (DDIM, eq. 9)."""
    x0, noise = rand(1, 4, 2, 2), rand(1, 4, 2, 2, seed=5)
    ab = SCHEDULE.alphas_cumprod.double()
    start = ab[981].sqrt() * x0 + (1 - ab[981]).sqrt() * noise
    steps = walked(planned("ddim", 50), start, lambda x, t: noise)
    for step in steps:
        assert_same(step.predicted_original, x0)
    assert_same(steps[-1].latents, ab[0].sqrt() * x0 + (1 - ab[0]).sqrt() * noise)


@pytest.mark.parametrize("name", ["euler", "lms", "dpmpp_2m"])
def test_the_others_are_exact_too_and_end_at_the_picture_itself(name):
    way, x0, noise = planned(name, 20), rand(1, 4, 2, 2), rand(1, 4, 2, 2, seed=5)
    steps = walked(way, way.noised(x0, noise), lambda x, t: noise)
    for step in steps:
        assert_same(step.predicted_original, x0)
    assert_same(steps[-1].latents, x0)


@pytest.mark.parametrize("number", [50, 1000])
def test_ddim_at_eta_one_has_the_variance_and_mean_of_ddpm(number):
    """Step by step, from the same latents: the same mean, the same spread of the fresh noise."""
    timesteps, x = SAMPLERS["ddim"].timesteps(number, SCHEDULE), rand(1, 4, 2, 2)
    for t, t_prev in list(zip(timesteps, timesteps[1:]))[:: max(number // 50, 1)]:
        pairs = []
        for fresh in (torch.zeros_like(x), torch.ones_like(x)):
            ddim, ddpm = (
                next(
                    SAMPLERS[name]
                    .through(SCHEDULE, [t, t_prev], eta)
                    .walk(predict_noise, x, lambda f=fresh: f)
                ).latents
                for name, eta in (("ddim", 1.0), ("ddpm", 0.0))
            )
            assert_same(ddim, ddpm)
            pairs.append(ddim)
        spread = (pairs[1] - pairs[0]).mean().item()
        ab_t, ab = SCHEDULE.alphas_cumprod[t].item(), SCHEDULE.alphas_cumprod[t_prev].item()
        assert spread == pytest.approx(math.sqrt((1 - ab) / (1 - ab_t) * (1 - ab_t / ab)), abs=1e-9)


def test_ddim_at_eta_one_over_all_steps_has_ddpms_posterior_variance():
    """DDPM's eq. 7: beta-tilde_t, for every t but the last step's."""
    x, ab = torch.zeros(1, dtype=torch.float64), SCHEDULE.alphas_cumprod
    way = SAMPLERS["ddim"].through(SCHEDULE, range(999, -1, -1), 1.0)
    steps = way.walk(lambda x, t: torch.zeros_like(x), x, lambda: torch.ones_like(x))
    before = 0.0
    for step in steps:
        if step.t == 0:
            break
        mean = (ab[step.t - 1].item() / ab[step.t].item()) ** 0.5 * before  # no noise predicted: x_t rescaled
        variance = SCHEDULE.posterior(x, x, step.t)[1]
        assert step.latents.item() - mean == pytest.approx(variance**0.5, abs=1e-9)
        before = step.latents.item()


def test_ddpm_ends_at_the_predicted_picture_without_noise():
    steps = walked(planned("ddpm", 10), FIRST)
    assert_same(steps[-1].latents, steps[-1].predicted_original)


@pytest.mark.parametrize("name, twin", [("euler", "ddim"), ("euler_a", "ddpm")])
def test_the_euler_samplers_are_ddim_and_ddpm_in_other_units(name, twin):
    """Latents divided by sqrt(alpha-bar), the same draws: equal at every step; ddim alone stops at
    alpha-bar_0.
    """
    timesteps, x = SAMPLERS[twin].timesteps(50, SCHEDULE), rand(1, 4, 3, 3)
    ab = SCHEDULE.alphas_cumprod.tolist()
    theirs = walked(planned(twin, 50), x)
    ours = walked(planned(name, 50, "leading"), x / ab[timesteps[0]] ** 0.5)
    for a, b, t_prev in zip(ours, theirs, timesteps[1:]):
        assert_same(a.latents * ab[t_prev] ** 0.5, b.latents, 1e-10)
        assert_same(a.noise, b.noise, 1e-10)
    assert_same(ours[-1].latents, theirs[-1].predicted_original, 1e-10)


def test_euler_a_steps_down_and_up_to_the_next_sigma():
    """The variances add up, and the way down is DDPM's mean."""
    for sigma, sigma_next in ((14.6, 9.0), (1.0, 0.5), (0.03, 0.0)):
        down, up = ancestral_sigmas(sigma, sigma_next)
        assert down**2 + up**2 == pytest.approx(sigma_next**2, abs=1e-12) and 0 <= down <= sigma_next
        x, noise = rand(5), rand(5, seed=1)
        x0, weight = x - sigma * noise, (sigma_next / sigma) ** 2
        assert_same(euler_step(x, noise, sigma, down), (1 - weight) * x0 + weight * x, 1e-12)


def test_dpmpp_is_ddim_until_it_extrapolates():
    x, noise, (ab_last, ab_t, ab_prev) = rand(3, 2), rand(3, 2, seed=1), (0.3, 0.5, 0.8)
    x0 = predict_original(noise, x, ab_t)
    assert_same(dpmpp_step(x, x0, ab_t, ab_prev), ddim_step(x0, noise, ab_t, ab_prev, 0.0, None), 1e-12)
    assert torch.equal(extrapolate(x0, x0, ab_last, ab_t, ab_prev), x0)
    log_snr = [math.log(ab / (1 - ab)) / 2 for ab in (ab_last, ab_t, ab_prev)]
    halfway = extrapolate(torch.tensor(log_snr[1]), torch.tensor(log_snr[0]), ab_last, ab_t, ab_prev)
    assert halfway.item() == pytest.approx((log_snr[1] + log_snr[2]) / 2)  # a straight line in lambda goes on


def test_multistep_weights_are_adams_bashforths():
    for count, expected in enumerate(
        [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]], start=1
    ):
        assert multistep_weights(range(0, -count, -1), 1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "spacing, number",
    [("linspace", 10), ("linspace", 50), ("leading", 1), ("leading", 100), ("trailing", 1000)],
)
def test_lms_weights_equal_diffusers_quadrature(spacing, number):
    scheduler = reference("lms", number, spacing)
    sigmas = scheduler.sigmas = scheduler.sigmas.tolist()
    for i in {0, 1, 2, 3, number // 2, number - 2, number - 1} & set(range(number)):
        order = min(i + 1, 4)
        ours = multistep_weights(sigmas[i + 1 - order : i + 1][::-1], sigmas[i + 1])
        assert ours == pytest.approx(
            [scheduler.get_lms_coefficient(order, i, j) for j in range(order)], abs=1e-6
        )
        assert sum(ours) == pytest.approx(sigmas[i + 1] - sigmas[i], abs=1e-12)


def test_sigmas_are_python_floats_within_float32_of_diffusers():
    """No tensor: a coefficient on the accelerator would make every step wait for it."""
    for spacing in SPACINGS:
        scheduler = reference("euler", 50, spacing, wide=False)
        ours = sigmas_of(SCHEDULE, SAMPLERS["euler"].timesteps(50, SCHEDULE, 1, spacing))
        assert all(type(sigma) is float for sigma in ours)
        assert ours == pytest.approx(scheduler.sigmas.tolist(), rel=5e-7)


# ---- a world where the right answer is known: one Gaussian


MEAN, SPREAD = 0.7, 0.4


def gaussian_noise(latents, t):
    """E[noise | x_t] where x_0 is drawn from N(0.7, 0.4^2): the perfect network."""
    ab = 1 / (1 + sigmas_of(SCHEDULE, [float(t)])[0] ** 2)
    return (1 - ab) ** 0.5 * (latents - ab**0.5 * MEAN) / (ab * SPREAD**2 + 1 - ab)


def lms_on_a_gaussian(begin):
    """The last 50 - begin steps of LMS, for the mean of the noised Gaussian and one deviation above."""
    scheduler, way, _ = tail("lms", 50, begin)
    sigma = way.sigmas[0]
    start = latents = MEAN + torch.tensor([0.0, (SPREAD**2 + sigma**2) ** 0.5], dtype=torch.float64)
    scheduler.set_begin_index(begin)
    for t in scheduler.timesteps[begin:]:
        latents = scheduler.step(
            gaussian_noise(scheduler.scale_model_input(latents, t), t), t, latents
        ).prev_sample
    ours = list(way.walk(gaussian_noise, start))
    return {"ours": ours[-1].latents, "theirs": latents}


def spread_error(latents):
    return (latents[1] - latents[0]).item() - SPREAD


def land(name, number, spacing=None):
    """Mean and deviation of what a sampler makes of the noised Gaussian, exactly: every step is affine.

    Column 0 is the mean's path; column 1 starts one deviation above it; column k + 2 gets a k-th draw of 1.
    The squares of what these cause add up to the variance.
    """
    way, columns = planned(name, number, spacing), iter(torch.eye(number + 2, dtype=torch.float64)[2:])
    sigma = way.sigmas[0]
    mean, deviation = MEAN, (SPREAD**2 + sigma**2) ** 0.5
    if not SAMPLERS[name].exploding:
        mean, deviation = mean / (1 + sigma**2) ** 0.5, deviation / (1 + sigma**2) ** 0.5
    start = torch.full((number + 2,), mean, dtype=torch.float64)
    start[1] += deviation
    *_, last = way.walk(gaussian_noise, start, lambda: next(columns))
    return last.latents[0].item(), (last.latents - last.latents[0]).square().sum().sqrt().item()


@pytest.mark.parametrize(
    "name, at_20, at_100, at_1000",
    [
        ("ddpm", 0.1, 0.035, 0.006),
        ("euler_a", 0.1, 0.035, 0.006),
        ("ddim", 0.06, 0.013, 0.002),
        ("euler", 0.07, 0.016, 0.003),
        ("dpmpp_2m", 0.06, 0.012, 0.001),
        ("pndm", 0.01, 0.001, 0.001),
        ("lms", 0.001, 0.0001, 1e-6),
    ],
)
def test_with_the_perfect_network_every_sampler_lands_on_the_right_gaussian(name, at_20, at_100, at_1000):
    """The more steps the nearer; ddim and pndm end at alpha-bar_0, not at the clean picture."""
    ab = SCHEDULE.alphas_cumprod[0].item() if name in ("ddim", "pndm") else 1.0
    for number, limit in ((20, at_20), (100, at_100), (1000, at_1000)):
        mean, deviation = land(name, number)
        assert mean == pytest.approx(ab**0.5 * MEAN, abs=1e-9)
        assert deviation == pytest.approx((ab * SPREAD**2 + 1 - ab) ** 0.5, abs=limit)


def test_draws_are_as_the_affine_reckoning_says():
    """20,000 chains of 20 steps each, drawn: mean and deviation of `land` within four standard errors."""
    count = 20_000
    for name in ("ddpm", "euler_a"):
        way = planned(name, 20)
        start = way.noised(MEAN + SPREAD * rand(count, 1, 1, 1, seed=2), rand(count, 1, 1, 1))
        *_, last = way.walk(gaussian_noise, start, drawing(start, seed=3))
        mean, deviation = land(name, 20)
        assert last.latents.mean().item() == pytest.approx(mean, abs=4 * deviation / count**0.5)
        assert last.latents.std().item() == pytest.approx(deviation, abs=4 * deviation / (2 * count) ** 0.5)


def test_a_multistep_method_is_nearer_at_thirty_steps_than_euler():
    """What its history buys, from the same number of questions to the network."""
    error = {name: abs(land(name, 30, "leading")[1] - SPREAD) for name in ("euler", "lms", "pndm", "ddim")}
    assert error["lms"] < error["euler"] / 20 and error["pndm"] < error["ddim"] / 5


# ---- a way's plan


def test_the_offset_is_stable_diffusions_unless_another_is_named():
    assert SAMPLERS["ddim"].way(SCHEDULE, 50).asked == list(range(981, 0, -20))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_way_reaches_the_level_that_its_next_call_is_for(name):
    way = planned(name, 10)
    *levels, end = way.sigmas
    expected = [levels[way.timesteps.index(t)] for t in way.asked[1:]] + [end]
    assert way.reached == expected and len(way) == len(way.asked) == len(way.reached)
    assert way.last(3).reached == expected[-3 - (name == "pndm") :]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_picture_is_noised_for_any_level(name):
    way, x0, noise = planned(name, 10), rand(2, 3), rand(2, 3, seed=1)
    for sigma in (0.5, 3.0):
        width = 1.0 if name in EXPLODING else (sigma**2 + 1) ** 0.5
        assert_same(way.noised(x0, noise, sigma), (x0 + sigma * noise) / width, 1e-12)
