"""The noise schedule against diffusers, the paper's formulas and a simulation."""

import diffusers
import pytest
import torch

from minisd import NoiseSchedule
from minisd.schedule import jump_posterior, schedule_of
from small import assert_same

KINDS = {
    "Stable Diffusion": (NoiseSchedule.scaled_linear(), ("scaled_linear", 0.00085, 0.012, 1000)),
    "scaled linear, other ends": (
        NoiseSchedule.scaled_linear(0.001, 0.02, 300),
        ("scaled_linear", 0.001, 0.02, 300),
    ),
    "DDPM": (NoiseSchedule.linear(), ("linear", 0.0001, 0.02, 1000)),
    "linear, few steps": (NoiseSchedule.linear(0.01, 0.3, 20), ("linear", 0.01, 0.3, 20)),
    "cosine": (NoiseSchedule.cosine(), ("squaredcos_cap_v2", 0.0001, 0.02, 1000)),
    "cosine, few steps": (NoiseSchedule.cosine(40), ("squaredcos_cap_v2", 0.0001, 0.02, 40)),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def pair(request):
    """Our schedule and diffusers' scheduler of the same name and numbers."""
    ours, (kind, start, end, steps) = request.param
    return ours, diffusers.DDPMScheduler(
        num_train_timesteps=steps, beta_start=start, beta_end=end, beta_schedule=kind, clip_sample=False
    )


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_betas_equal_diffusers_bit_for_bit(pair):
    ours, theirs = pair
    assert ours.betas.dtype == torch.float32 and ours.steps == len(theirs.betas)
    assert torch.equal(ours.betas, theirs.betas)


def test_alphas_equal_diffusers_bit_for_bit(pair):
    ours, theirs = pair
    assert torch.equal(ours.alphas, theirs.alphas)
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)


def test_add_noise_equals_diffusers_bit_for_bit(pair):
    ours, theirs = pair
    x0, noise = rand(4, 3, 8, 6), rand(4, 3, 8, 6, seed=1)
    t = torch.tensor([0, 1, ours.steps // 2, ours.steps - 1])
    assert torch.equal(ours.add_noise(x0, noise, t), theirs.add_noise(x0, noise, t))


def test_add_noise_equals_diffusers_in_double_precision(pair):
    ours, theirs = pair
    x0, noise = (rand(3, 4, 5, seed=seed, dtype=torch.float64) for seed in (0, 1))
    t = torch.tensor([0, ours.steps // 2, ours.steps - 1])
    assert torch.equal(ours.add_noise(x0, noise, t), theirs.add_noise(x0, noise, t))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_pictures_get_the_noise_that_is_due(dtype):
    """alpha-bar itself is 1 in bfloat16 up to t = 1: its roots must be taken before it is shortened."""
    schedule, steps = NoiseSchedule.scaled_linear(), torch.arange(1000)
    ones, nothing = torch.ones(1000, 1, dtype=dtype), torch.zeros(1000, 1, dtype=dtype)
    ab = schedule.alphas_cumprod.double()
    for noised, due in (
        (schedule.add_noise(nothing, ones, steps), (1 - ab).sqrt()),
        (schedule.add_noise(ones, nothing, steps), ab.sqrt()),
    ):
        assert noised.dtype == dtype
        assert (noised[:, 0].double() / due - 1).abs().max().item() < torch.finfo(dtype).eps


def test_posterior_is_the_step_of_diffusers_ddpm(pair):
    """One step of the ancestral sampler with the true x_0: the same mean and variance, DDPM's eq. 7.

    The table is given to diffusers in float64: it would take 1 - alpha in float32, and lose four digits.
    """
    ours, theirs = pair
    theirs.alphas_cumprod, theirs.one = theirs.alphas_cumprod.double(), theirs.one.double()
    x0, noise = rand(2, 3, dtype=torch.float64), rand(2, 3, seed=1, dtype=torch.float64)
    for t in (1, ours.steps // 2, ours.steps - 1):
        ab = theirs.alphas_cumprod[t]
        x_t = ab.sqrt() * x0 + (1 - ab).sqrt() * noise
        mean, variance = ours.posterior(x0, x_t, t)
        out = theirs.step(noise, t, x_t, generator=torch.Generator().manual_seed(2)).prev_sample
        fresh = rand(2, 3, seed=2, dtype=torch.float64)
        assert (mean + variance**0.5 * fresh - out).abs().max().item() < 1e-9
        assert variance == pytest.approx(theirs._get_variance(t).item(), rel=1e-9)


def test_stable_diffusion_never_ends_in_pure_noise():
    ab = NoiseSchedule.scaled_linear().alphas_cumprod
    assert ab[0].item() == pytest.approx(0.99915, abs=5e-8)
    assert ab[999].item() == pytest.approx(0.0046601, abs=5e-8)


def test_the_published_scheduler_config_gives_stable_diffusions_schedule():
    published = {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        "beta_end": 0.012,
        "steps_offset": 1,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "trained_betas": None,
        "clip_sample": False,
    }
    assert torch.equal(schedule_of(published).betas, NoiseSchedule.scaled_linear().betas)


def test_one_jump_of_noise_is_many_small_steps():
    """Eq. 4 from eq. 2: a hundred thousand chains of 20 steps have the closed form's mean and variance."""
    schedule = NoiseSchedule.linear(0.01, 0.3, 20)
    generator = torch.Generator().manual_seed(0)
    n, x = 100_000, torch.full((100_000,), 2.0)
    for beta in schedule.betas:
        x = (1 - beta).sqrt() * x + beta.sqrt() * torch.randn(n, generator=generator)
    ab = schedule.alphas_cumprod[-1].item()
    assert x.mean().item() == pytest.approx(2 * ab**0.5, abs=4 * ((1 - ab) / n) ** 0.5)
    assert x.var().item() == pytest.approx(1 - ab, rel=4 * (2 / n) ** 0.5)


@pytest.mark.parametrize("t, t_prev", [(1, 0), (7, 6), (19, 18), (19, 4), (0, -1), (12, -1)])
def test_posterior_is_bayes_rule(t, t_prev):
    """Prior q(x_prev | x_0), likelihood q(x_t | x_prev): the product of two Gaussians, precisions added."""
    schedule = NoiseSchedule.linear(0.01, 0.3, 20)
    ab = schedule.alphas_cumprod.double().tolist()
    x0, x_t = 0.7, -1.3
    mean, variance = jump_posterior(
        schedule.alphas_cumprod, *torch.tensor([x0, x_t], dtype=torch.float64), t, t_prev
    )
    if t_prev < 0:
        assert (mean.item(), variance) == (pytest.approx(x0, abs=1e-12), 0)
        return
    alpha = ab[t] / ab[t_prev]
    precision = 1 / (1 - ab[t_prev]) + alpha / (1 - alpha)
    weighed = ab[t_prev] ** 0.5 * x0 / (1 - ab[t_prev]) + alpha**0.5 * x_t / (1 - alpha)
    assert variance == pytest.approx(1 / precision, rel=1e-12)
    assert mean.item() == pytest.approx(weighed / precision, rel=1e-12)


def test_posterior_draws_bring_back_the_marginal():
    """x_t from q(x_t | x_0), then x_{t-1} from the posterior: distributed as q(x_{t-1} | x_0)."""
    schedule = NoiseSchedule.linear(0.01, 0.3, 20)
    n, t = 100_000, 9
    x0 = torch.full((n,), 1.5)
    x_t = schedule.add_noise(x0, rand(n), torch.full((n,), t))
    mean, variance = schedule.posterior(x0, x_t, t)
    x = mean + variance**0.5 * rand(n, seed=1)
    ab = schedule.alphas_cumprod[t - 1].item()
    assert x.mean().item() == pytest.approx(1.5 * ab**0.5, abs=4 * ((1 - ab) / n) ** 0.5)
    assert x.var().item() == pytest.approx(1 - ab, rel=4 * (2 / n) ** 0.5)


def test_snr_is_signal_over_noise_and_only_falls():
    schedule = NoiseSchedule.scaled_linear()
    snr = schedule.snr(torch.arange(1000))
    ab = schedule.alphas_cumprod.double()
    assert (
        (snr - ab / (1 - ab)) / snr
    ).abs().max().item() < 1e-4  # 1 - alpha-bar_0 has four digits in float32
    assert (snr[1:] < snr[:-1]).all()
    assert schedule.snr(999).item() == pytest.approx(0.0046601 / (1 - 0.0046601), rel=1e-4)


@pytest.mark.parametrize("betas", [[0.0, 0.1], [0.1, 1.0], [-0.1], [1.5], [float("nan")], [[0.1, 0.2]]])
def test_betas_outside_zero_and_one_are_refused(betas):
    with pytest.raises(ValueError, match="betas must be a vector"):
        NoiseSchedule(torch.tensor(betas))


SD = {"beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize(
    "change, word",
    [
        (
            {"prediction_type": "v_prediction"},
            "prediction_type='v_prediction'; minisd samples with 'epsilon'",
        ),
        ({"prediction_type": "sample"}, "prediction_type"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        (
            {"beta_schedule": "sigmoid"},
            "beta_schedule='sigmoid'; minisd knows scaled_linear, linear, squared",
        ),
        ({"beta_schedule": ["linear"]}, "beta_schedule"),
        ({"trained_betas": []}, "trained_betas"),
        ({"trained_betas": "0.1"}, "trained_betas"),
        ({"trained_betas": [0.1, float("nan")]}, "trained_betas"),
        ({"trained_betas": [0.1, 1.0]}, "betas must be a vector of numbers between 0 and 1"),
        *(({key: None}, f"lacks {key}") for key in ("beta_start", "beta_end", "num_train_timesteps")),
        *(({"beta_end": bad}, "beta_end") for bad in ("0.012", 0, -1, 2, True, float("inf"), [0.1])),
        *(({"num_train_timesteps": bad}, "num_train_timesteps") for bad in (0, 10**9, "1000", 1000.5, {})),
    ],
    ids=str,
)
def test_a_scheduler_config_that_asks_for_something_else_is_refused(change, word):
    config = {key: value for key, value in {**SD, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=word) as caught:
        schedule_of(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{}, {"beta_schedule": "linear"}, {"beta_schedule": "squaredcos_cap_v2"}, {"trained_betas": [0.01, 0.2]}],
)
def test_a_scheduler_config_gives_diffusers_schedule(change):
    theirs = diffusers.DDIMScheduler(**SD | change).betas
    assert_same(schedule_of(SD | change).betas, theirs, 1e-5)


def test_the_beta_schedule_is_linear_where_a_config_names_none():
    """diffusers' own default."""
    config = {key: value for key, value in SD.items() if key != "beta_schedule"}
    assert torch.equal(schedule_of(config).betas, NoiseSchedule.linear(0.00085, 0.012).betas)
