"""The samplers against diffusers' schedulers, step by step and as whole trajectories.

The noise predictor is a fixed function of latents and timestep. Everything runs in float64: diffusers
computes its coefficients in its table's type, and in float32 would lose digits that ours keep; the
table's numbers are the same float32 ones on both sides.
"""

import math

import diffusers
import pytest
import torch

from minisd import SAMPLERS, NoiseSchedule
from minisd.samplers import leading_timesteps

SD = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
      "steps_offset": 1, "clip_sample": False, "timestep_spacing": "leading"}  # fmt: skip
SCHEDULE = NoiseSchedule.scaled_linear()
STEPS = [1, 2, 3, 10, 27, 30, 50, 501, 999]
TOLERANCE = 1e-5


def rand(*shape, generator=None):
    return torch.randn(shape, generator=generator or torch.Generator().manual_seed(0), dtype=torch.float64)


def predict_noise(latents, t):
    """As smooth and as dull as a network at its start: a mixture of the latents, bounded, moved by t."""
    return torch.sin(1.3 * latents + latents.roll(1, dims=-1) + t / 200) + 0.3 * latents.flip(1)


def reference(name):
    if name == "ddpm":
        scheduler = diffusers.DDPMScheduler(**SD)
        scheduler.one = scheduler.one.double()
    else:
        scheduler = diffusers.DDIMScheduler(**SD, set_alpha_to_one=False)
        scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.double()
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    return scheduler


def their_steps(name, steps, eta, start):
    """(latents, predicted x_0, noise) after each step of diffusers' loop."""
    scheduler, latents, generator = reference(name), start, torch.Generator().manual_seed(1)
    scheduler.set_timesteps(steps)
    out = []
    for t in scheduler.timesteps:
        noise = predict_noise(latents, int(t))
        options = {"eta": eta} if name == "ddim" else {}
        result = scheduler.step(noise, t, latents, generator=generator, **options)
        latents = result.prev_sample
        out.append((latents, result.pred_original_sample, noise))
    return scheduler.timesteps.tolist(), out


def our_steps(name, steps, eta, start):
    generator = torch.Generator().manual_seed(1)
    timesteps = leading_timesteps(steps)
    return list(SAMPLERS[name](predict_noise, start, SCHEDULE, timesteps, eta,
                               lambda: rand(*start.shape, generator=generator)))  # fmt: skip


def assert_same(ours, theirs):
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    assert (ours - theirs).abs().max().item() <= TOLERANCE




# ---- the timesteps


@pytest.mark.parametrize("number, expected", [
    (1, [1]), (2, [501, 1]), (3, [667, 334, 1]), (30, list(range(958, 0, -33))), (50, list(range(981, 0, -20))),
    (999, list(range(999, 0, -1))),
])  # fmt: skip
def test_timesteps_are_those_of_stable_diffusion(number, expected):
    assert leading_timesteps(number) == expected


@pytest.mark.parametrize("number", [*range(1, 60), 99, 333, 499, 500, 501, 750, 998, 999])
def test_timesteps_equal_diffusers(number):
    scheduler = reference("ddim")
    scheduler.set_timesteps(number)
    assert leading_timesteps(number) == scheduler.timesteps.tolist()


@pytest.mark.parametrize("number", [0, -1, 1001])
def test_numbers_of_steps_that_cannot_be_are_refused(number):
    with pytest.raises(ValueError, match=f"between 1 and 1000, got {number}"):
        leading_timesteps(number)


def test_a_thousand_steps_visit_every_timestep_where_diffusers_leaves_its_table():
    assert leading_timesteps(1000) == list(range(999, -1, -1))
    with pytest.raises(IndexError):
        their_steps("ddim", 1000, 0.0, rand(1, 4, 2, 2))
    for name in SAMPLERS:
        assert our_steps(name, 1000, 0.0, rand(1, 4, 2, 2))[-1].latents.isfinite().all()


# ---- the steps


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name, eta", [("ddim", 0.0), ("ddim", 0.5), ("ddim", 1.0), ("ddpm", 0.0)])
def test_every_step_of_a_trajectory_equals_diffusers(name, eta, steps):
    start = rand(2, 4, 4, 3)
    timesteps, theirs = their_steps(name, steps, eta, start)
    ours = our_steps(name, steps, eta, start)
    assert [step.t for step in ours] == timesteps and [step.index for step in ours] == list(range(steps))
    for step, (latents, predicted_original, noise) in zip(ours, theirs, strict=True):
        assert_same(step.latents, latents)
        assert_same(step.predicted_original, predicted_original)
        assert_same(step.noise, noise)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_trajectory_in_float32_stays_in_float32_and_near(name):
    start = rand(1, 4, 4, 4)
    exact = our_steps(name, 30, 0.0, start)[-1].latents
    draws = torch.Generator().manual_seed(1)
    for step in SAMPLERS[name](predict_noise, start.float(), SCHEDULE, leading_timesteps(30), 0.0,
                               lambda: rand(*start.shape, generator=draws).float()):  # fmt: skip
        assert step.latents.dtype == step.predicted_original.dtype == torch.float32
    assert (step.latents - exact).abs().max().item() < 1e-4 * exact.abs().max().item()


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_can_start_anywhere_on_the_way(name):
    """The last 20 of 50 steps, from the latents that the first 30 left: the same steps again."""
    timesteps, start = leading_timesteps(50), rand(1, 4, 2, 2)
    fixed = rand(*start.shape)
    whole = list(SAMPLERS[name](predict_noise, start, SCHEDULE, timesteps, 0.0, lambda: fixed))
    rest = list(SAMPLERS[name](predict_noise, whole[29].latents, SCHEDULE, timesteps[30:], 0.0, lambda: fixed))
    assert [step.t for step in rest] == timesteps[30:]
    assert torch.equal(rest[-1].latents, whole[-1].latents)


def test_ddim_at_eta_zero_draws_nothing_and_repeats_itself():
    start = rand(1, 4, 2, 2)
    runs = [list(SAMPLERS["ddim"](predict_noise, start, SCHEDULE, leading_timesteps(10), 0.0, None)) for _ in "ab"]
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(*runs, strict=True))


def test_ddim_is_exact_when_the_noise_is_known():
    """Where the network tells the truth, x_0 is found at once and kept to the end (DDIM, eq. 9)."""
    x0, noise = rand(1, 4, 2, 2), rand(1, 4, 2, 2, generator=torch.Generator().manual_seed(5))
    ab = SCHEDULE.alphas_cumprod.double()
    start = ab[981].sqrt() * x0 + (1 - ab[981]).sqrt() * noise
    steps = list(SAMPLERS["ddim"](lambda x, t: noise, start, SCHEDULE, leading_timesteps(50), 0.0, None))
    for step in steps:
        assert_same(step.predicted_original, x0)
    assert_same(steps[-1].latents, ab[0].sqrt() * x0 + (1 - ab[0]).sqrt() * noise)


@pytest.mark.parametrize("number", [50, 1000])
def test_ddim_at_eta_one_has_the_variance_and_mean_of_ddpm(number):
    """Step by step, from the same latents: the same mean, the same spread of the fresh noise."""
    timesteps, x = leading_timesteps(number), rand(1, 4, 2, 2)
    for t, t_prev in list(zip(timesteps, timesteps[1:]))[:: max(number // 50, 1)]:
        pairs = []
        for fresh in (torch.zeros_like(x), torch.ones_like(x)):
            ddim, ddpm = (
                next(SAMPLERS[name](predict_noise, x, SCHEDULE, [t, t_prev], eta, lambda f=fresh: f)).latents
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
    steps = SAMPLERS["ddim"](lambda x, t: torch.zeros_like(x), x, SCHEDULE, leading_timesteps(1000), 1.0,
                             lambda: torch.ones_like(x))  # fmt: skip
    before = 0.0
    for step in steps:
        if step.t == 0:
            break
        mean = (ab[step.t - 1].item() / ab[step.t].item()) ** 0.5 * before  # no noise predicted: x_t rescaled
        variance = SCHEDULE.posterior(x, x, step.t)[1]
        assert step.latents.item() - mean == pytest.approx(variance**0.5, abs=1e-9)
        before = step.latents.item()


def test_ddpm_ends_at_the_predicted_picture_without_noise():
    steps = our_steps("ddpm", 10, 0.0, rand(1, 4, 2, 2))
    assert_same(steps[-1].latents, steps[-1].predicted_original)


def test_ddpm_refuses_eta():
    with pytest.raises(ValueError, match="eta belongs to the ddim sampler"):
        next(SAMPLERS["ddpm"](predict_noise, rand(1, 4, 2, 2), SCHEDULE, [1], 0.5, None))
