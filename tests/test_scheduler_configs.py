"""A model's scheduler_config.json is obeyed as diffusers' class of that name obeys it, or refused by name."""

import re

import diffusers
import numpy as np
import pytest
import torch

from minisd import SAMPLERS, StableDiffusion
from minisd.samplers import karras_sigmas, sigmas_of, timestep_of
from small import assert_same, small_pipeline
from test_samplers import CLASSES, FIRST, SCHEDULE, SD, assert_same_steps, planned, their_steps, walked

KARRAS = ("euler", "lms", "dpmpp_2m")  # whose classes in diffusers have the option


def their_karras(name, number, spacing):
    kind, settings = CLASSES[name]
    scheduler = kind(**SD, **settings, timestep_spacing=spacing, use_karras_sigmas=True)
    scheduler.set_timesteps(number)
    return scheduler


@pytest.mark.parametrize("number", [1, 2, 5, 10, 30])
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("name", KARRAS)
def test_karras_levels_equal_diffusers(name, spacing, number):
    scheduler = their_karras(name, number, spacing)
    way = planned(name, number, spacing, use_karras_sigmas=True)
    assert way.sigmas == pytest.approx(scheduler.sigmas.tolist(), rel=1e-5)
    assert way.asked == pytest.approx(scheduler.timesteps.tolist(), abs=2e-3)
    start = way.start(FIRST.float())
    assert_same(start, FIRST.float() * scheduler.init_noise_sigma, 1e-5)
    assert_same_steps(walked(way, start), their_steps(scheduler, name, start), 5e-4)


@pytest.mark.parametrize("begin", [1, 3, 8])
@pytest.mark.parametrize("name", ["euler", "dpmpp_2m"])
def test_a_tail_of_karras_levels_equals_diffusers_image_to_image(name, begin):
    scheduler = their_karras(name, 10, "linspace")
    way = planned(name, 10, "linspace", begin, use_karras_sigmas=True)
    start = way.noised(FIRST.float(), torch.ones_like(FIRST.float()))
    assert_same_steps(walked(way, start), their_steps(scheduler, name, start, begin=begin), 5e-4)


def test_euler_a_takes_the_same_karras_levels_as_euler():
    ways = [planned(name, 12, use_karras_sigmas=True) for name in ("euler", "euler_a")]
    assert ways[0].sigmas == ways[1].sigmas and ways[0].asked == ways[1].asked


def test_karras_levels_are_evenly_spaced_in_the_seventh_root():
    sigmas = karras_sigmas(9, 14.6, 0.03)
    assert (sigmas[0], sigmas[-1]) == (pytest.approx(14.6), pytest.approx(0.03))
    assert np.ptp(np.diff(np.array(sigmas) ** (1 / 7))) < 1e-12


def test_the_timestep_of_a_level_is_the_way_back():
    levels = sigmas_of(SCHEDULE, [0, 1, 400, 998, 999])[:-1]
    assert [timestep_of(SCHEDULE, sigma) for sigma in levels] == pytest.approx(
        [0, 1, 400, 998, 999], abs=1e-6
    )
    assert timestep_of(SCHEDULE, 1e-3) == 0 and timestep_of(SCHEDULE, 100.0) == 999


@pytest.mark.parametrize("name", ["ddpm", "ddim", "pndm"])
def test_samplers_without_karras_levels_say_who_has_them(name):
    with pytest.raises(ValueError, match="choose one of euler, euler_a, lms, dpmpp_2m"):
        planned(name, 10, use_karras_sigmas=True)


@pytest.mark.parametrize("number", [1, 2, 3, 10, 50])
@pytest.mark.parametrize("name", ["ddim", "pndm"])
def test_set_alpha_to_one_ends_at_the_clean_picture_as_in_diffusers(name, number):
    kind, settings = CLASSES[name]
    scheduler = kind(**SD, **settings | {"set_alpha_to_one": True})
    scheduler.set_timesteps(number)
    way = planned(name, number, set_alpha_to_one=True)
    assert way.sigmas[-1] == 0
    assert_same_steps(walked(way, FIRST.float()), their_steps(scheduler, name, FIRST.float()), 1e-5)


# ---- what a config asks for


@pytest.fixture(scope="module")
def pipe():
    return small_pipeline()


def with_config(pipe, **config):
    parts = pipe.tokenizer, pipe.text_encoder, pipe.unet, pipe.vae
    return StableDiffusion(*parts, {**SD, **config})


OBEYED = [
    ("euler", {"timestep_spacing": "leading", "steps_offset": 1}),
    ("euler", {"use_karras_sigmas": True}),
    ("lms", {"use_karras_sigmas": True, "timestep_spacing": "trailing"}),
    ("dpmpp_2m", {"use_karras_sigmas": True}),
    ("dpmpp_2m", {"timestep_spacing": "leading", "solver_order": 2, "algorithm_type": "dpmsolver++"}),
    ("dpmpp_2m", {"lower_order_final": False, "euler_at_final": True}),
    *(("dpmpp_2m", {"solver_type": kind}) for kind in ("logrho", "bh1", "bh2")),
    ("ddim", {"set_alpha_to_one": True, "clip_sample": False}),
    ("ddim", {"set_alpha_to_one": False, "clip_sample": False, "steps_offset": 0}),
    ("ddim", {"clip_sample": False, "set_alpha_to_one": False, "timestep_spacing": "trailing"}),
    ("pndm", {"skip_prk_steps": True, "set_alpha_to_one": True}),
    ("ddpm", {"clip_sample": False, "variance_type": "fixed_small", "timestep_spacing": "linspace"}),
    ("euler_a", {"beta_schedule": "linear"}),
    ("euler", {"beta_schedule": "squaredcos_cap_v2"}),
    ("lms", {"trained_betas": np.linspace(0.001, 0.02, 1000).tolist()}),
]


@pytest.mark.parametrize("name, config", OBEYED, ids=str)
def test_a_config_is_obeyed_as_diffusers_does(pipe, name, config):
    scheduler = CLASSES[name][0](**SD | config)
    scheduler.set_timesteps(10)
    way = with_config(pipe, _class_name=type(scheduler).__name__, **config).way(10, name)
    assert way.asked == pytest.approx(scheduler.timesteps.tolist(), abs=2e-3)
    start = way.start(FIRST.float())
    assert_same_steps(walked(way, start), their_steps(scheduler, name, start), 5e-4)


REFUSED = [
    ("ddim", "clip_sample", True),
    ("ddim", "thresholding", True),
    ("ddpm", "clip_sample", True),
    ("ddpm", "thresholding", True),
    ("ddpm", "variance_type", "fixed_large"),
    ("ddpm", "variance_type", "learned_range"),
    ("pndm", "skip_prk_steps", False),
    ("euler", "use_exponential_sigmas", True),
    ("euler", "use_beta_sigmas", True),
    ("euler", "interpolation_type", "log_linear"),
    ("euler", "sigma_max", 700.0),
    ("euler", "timestep_type", "continuous"),
    ("euler", "final_sigmas_type", "sigma_min"),
    ("lms", "use_exponential_sigmas", True),
    ("lms", "use_beta_sigmas", True),
    ("dpmpp_2m", "algorithm_type", "sde-dpmsolver++"),
    ("dpmpp_2m", "algorithm_type", "dpmsolver"),
    ("dpmpp_2m", "solver_order", 3),
    ("dpmpp_2m", "solver_type", "heun"),
    ("dpmpp_2m", "use_lu_lambdas", True),
    ("dpmpp_2m", "use_flow_sigmas", True),
    ("dpmpp_2m", "use_exponential_sigmas", True),
    ("dpmpp_2m", "final_sigmas_type", "sigma_min"),
    ("dpmpp_2m", "lambda_min_clipped", -1.0),
    ("dpmpp_2m", "variance_type", "learned"),
    ("dpmpp_2m", "thresholding", True),
]


@pytest.mark.parametrize("name, key, value", REFUSED)
def test_a_setting_that_we_do_not_compute_is_refused_by_name(pipe, name, key, value):
    with pytest.raises(ValueError, match=re.escape(f"asks for {key}={value!r}, which minisd's {name} does")):
        with_config(pipe, **{key: value}).way(10, name)


def test_every_key_that_changes_what_diffusers_class_computes_is_obeyed_or_refused():
    """Read from diffusers itself: a new key there must be looked at here."""
    obeyed = {"timestep_spacing", "steps_offset", "trained_betas", "use_karras_sigmas", "set_alpha_to_one"}
    obeyed |= {*SD, "prediction_type", "rescale_betas_zero_snr"}
    harmless = {  # with what is refused, these change nothing
        "dynamic_thresholding_ratio",
        "clip_sample_range",
        "sample_max_value",
        "lower_order_final",
        "euler_at_final",
        "flow_shift",
        "use_dynamic_shifting",
        "time_shift_type",
    }
    for name, (kind, settings) in CLASSES.items():
        keys = {key for key in kind(**settings).config if not key.startswith("_")}
        assert keys <= obeyed | harmless | SAMPLERS[name].only.keys(), name


@pytest.mark.parametrize(
    "config, expected",
    [
        ({}, "ddim"),
        ({"_class_name": "PNDMScheduler", "timestep_spacing": "leading"}, "ddim"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "linspace"}, "euler"),
        ({"_class_name": "LMSDiscreteScheduler", "timestep_spacing": "linspace"}, "lms"),
        ({"_class_name": "DPMSolverMultistepScheduler", "timestep_spacing": "trailing"}, "dpmpp_2m"),
        ({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"}, "dpmpp_2m"),
        ({"_class_name": "UniPCMultistepScheduler", "timestep_spacing": "linspace"}, "dpmpp_2m"),
        ({"_class_name": "EulerDiscreteScheduler", "clip_sample": True}, "euler"),
        ({"_class_name": "DDPMScheduler", "clip_sample": True}, "dpmpp_2m"),
        ({"clip_sample": True, "solver_order": 3}, "pndm"),
    ],
)
def test_the_default_sampler_fits_the_models_timesteps(pipe, config, expected):
    model = with_config(pipe, **config)
    assert model.default_sampler == expected
    assert model.way(20).sampler is SAMPLERS[expected]


def test_a_sampler_that_does_not_fit_names_those_that_do(pipe):
    with pytest.raises(ValueError, match="choose one of the samplers ddpm, euler, euler_a, lms, dpmpp_2m"):
        with_config(pipe, timestep_spacing="linspace").way(20, "ddim")


@pytest.mark.parametrize(
    "bad",
    [
        {"steps_offset": "1"},
        {"steps_offset": 1.5},
        {"steps_offset": 10**400},
        {"steps_offset": -1},
        {"timestep_spacing": ["leading"]},
    ],
)
def test_settings_of_the_wrong_kind_are_refused_in_one_line(pipe, bad):
    with pytest.raises(
        ValueError, match="steps_offset must be a small whole number, its timestep_spacing a word"
    ):
        with_config(pipe, **bad).way(10)


def test_a_config_of_euler_without_spacing_falls_back_as_diffusers_class(pipe):
    theirs = diffusers.EulerDiscreteScheduler(**SD)
    theirs.set_timesteps(7)
    assert with_config(pipe).way(7, "euler").asked == theirs.timesteps.tolist()
