"""The whole machine against diffusers: one saved folder, the same picture; and what it refuses."""

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from small import small_pipeline

from minisd import StableDiffusion
from minisd.pipeline import TINY, guide, to_pil

TOLERANCE = 1e-4  # of a picture in [0, 1], before rounding
HOUSE, TENT = "a red house in the snow", "two yellow tents at night"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "model"
    small_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(saved):
    return StableDiffusion.from_pretrained(saved, device="cpu")


def open_diffusers(folder):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def theirs(saved):
    return open_diffusers(saved)


def noise(*shape, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_same_picture(a, b, tolerance=TOLERANCE):
    assert a.shape == b.shape and a.dtype == b.dtype == np.float32
    assert np.abs(a - b).max() <= tolerance
    assert b.std() > 0.02  # two empty pictures would be equal too


def paint_both(ours, theirs, prompt, steps=4, **options):
    latents = noise(1 if isinstance(prompt, str) else len(prompt), 4, 8, 8)
    options = {"num_inference_steps": steps, "latents": latents, "output_type": "np", **options}
    return ours(prompt, **options), theirs(prompt, **options).images


# ---- the same picture as diffusers


@pytest.mark.parametrize("scale", [1, 4, 7.5])
def test_picture_equals_diffusers_at_each_guidance(ours, theirs, scale):
    assert_same_picture(*paint_both(ours, theirs, HOUSE, guidance_scale=scale))


@pytest.mark.parametrize("steps", [1, 3, 30])
def test_picture_equals_diffusers_at_each_number_of_steps(ours, theirs, steps):
    assert_same_picture(*paint_both(ours, theirs, HOUSE, steps))


@pytest.mark.parametrize("prompt, negative", [
    (HOUSE, TENT), (HOUSE, ""), ("", None), ("", TENT), ([HOUSE, TENT], None), ([HOUSE, TENT, ""], ["", HOUSE, TENT]),
])  # fmt: skip
def test_picture_equals_diffusers_for_prompts_and_negative_prompts(ours, theirs, prompt, negative):
    assert_same_picture(*paint_both(ours, theirs, prompt, negative_prompt=negative))


def test_one_negative_prompt_serves_a_whole_batch(ours):
    options = {"num_inference_steps": 2, "output_type": "np"}
    one, each = (ours([HOUSE, TENT], negative_prompt=n, **options) for n in (TENT, [TENT, TENT]))
    assert np.array_equal(one, each)


@pytest.mark.parametrize("height, width", [(64, 64), (32, 72), (24, 8)])
def test_picture_equals_diffusers_at_other_sizes(ours, theirs, height, width):
    latents = noise(1, 4, height // 8, width // 8)
    a, b = paint_both(ours, theirs, HOUSE, height=height, width=width, latents=latents)
    assert a.shape == (1, height, width, 3)
    assert_same_picture(a, b)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_seed_means_the_same_picture_in_diffusers(ours, theirs, eta):
    """Initial and fresh noise alike, and for a batch one generator a picture."""
    options = {"num_inference_steps": 3, "eta": eta, "output_type": "np"}
    b = theirs([HOUSE, TENT], generator=[torch.Generator().manual_seed(s) for s in (5, 6)], **options).images
    assert_same_picture(ours([HOUSE, TENT], seed=5, **options), b)


def test_an_over_long_prompt_is_cut_where_diffusers_cuts(ours, theirs):
    with pytest.warns(UserWarning, match="too long"):
        assert_same_picture(*paint_both(ours, theirs, 90 * "house " + TENT))


def test_latents_equal_diffusers(ours, theirs):
    a, b = paint_both(ours, theirs, HOUSE, output_type="latent")
    assert a.shape == b.shape and a.dtype == b.dtype
    assert (a - b).abs().max().item() <= 1e-5 * b.abs().max().item()


def test_pil_pictures_equal_diffusers_rounding():
    pictures = np.linspace(0, 1, 8 * 8 * 3 * 7, dtype=np.float32).reshape(7, 8, 8, 3)
    theirs = diffusers.image_processor.VaeImageProcessor.numpy_to_pil(pictures)
    for a, b in zip(to_pil(pictures), theirs, strict=True):
        assert a.mode == "RGB" and np.array_equal(np.asarray(a), np.asarray(b))


# ---- seeds, steps, sizes, guidance


def test_picture_i_of_a_batch_is_the_single_picture_of_seed_plus_i(ours):
    options = {"num_inference_steps": 3, "eta": 0.5, "output_type": "np"}
    batch = ours([HOUSE, TENT, ""], seed=7, **options)
    for i, prompt in enumerate([HOUSE, TENT, ""]):
        assert_same_picture(ours(prompt, seed=7 + i, **options), batch[i : i + 1], 1e-5)


def test_a_seed_repeats_itself_and_another_differs(ours):
    a, b, c = (ours(HOUSE, num_inference_steps=2, seed=s, output_type="np") for s in (1, 1, 2))
    assert np.array_equal(a, b) and np.abs(a - c).max() > 0.01


@pytest.mark.parametrize("sampler, eta", [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0)])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_stream_yields_the_steps_asked_for_and_ends_at_the_output(ours, sampler, eta, steps):
    options = {"num_inference_steps": steps, "sampler": sampler, "eta": eta, "seed": 4}
    stream = list(ours.stream(HOUSE, **options))
    assert [step.index for step in stream] == list(range(steps))
    assert torch.equal(stream[-1].latents, ours(HOUSE, output_type="latent", **options))
    for step in stream:
        assert step.latents.shape == step.predicted_original.shape == step.noise.shape == (1, 4, 8, 8)


def test_size_is_the_models_own_unless_asked(ours):
    assert ours(HOUSE, num_inference_steps=1)[0].size == (64, 64)
    assert ours(HOUSE, num_inference_steps=1, height=16, width=40)[0].size == (40, 16)


def test_output_types(ours):
    kinds = ("pil", "np", "latent")
    pictures, array, latents = (ours([HOUSE, TENT], num_inference_steps=1, output_type=kind) for kind in kinds)
    assert [type(p) for p in pictures] == 2 * [Image.Image]
    assert array.shape == (2, 64, 64, 3) and array.dtype == np.float32 and 0 <= array.min() <= array.max() <= 1
    assert latents.shape == (2, 4, 8, 8) and latents.dtype == torch.float32
    assert all(np.array_equal(np.asarray(p), (a * 255).round()) for p, a in zip(pictures, array, strict=True))


def test_guidance_goes_from_unconditional_through_conditional_and_beyond():
    e_u, e_c = torch.tensor(1.0), torch.tensor(3.0)
    assert [guide(e_u, e_c, s).item() for s in (0, 1, 7.5)] == [1.0, 3.0, 16.0]


@pytest.mark.parametrize("scale, rows", [(1, 1), (1.0, 1), (0, 2), (7.5, 2)])
def test_the_unconditional_half_is_computed_only_where_it_counts(ours, scale, rows):
    seen = []
    handle = ours.unet.register_forward_hook(lambda net, inputs, output: seen.append(len(output)))
    ours(HOUSE, num_inference_steps=3, guidance_scale=scale, output_type="latent")
    handle.remove()
    assert seen == 3 * [rows]


def test_the_default_guidance_is_the_models_own(saved, tmp_path):
    pipe = StableDiffusion.from_pretrained(saved, device="cpu")
    pipe.guidance_scale = 3.0
    pipe.save_pretrained(tmp_path / "again")
    again = StableDiffusion.from_pretrained(tmp_path / "again", device="cpu")
    a, b = again(HOUSE, num_inference_steps=2, output_type="np"), pipe(
        HOUSE, num_inference_steps=2, guidance_scale=3.0, output_type="np")  # fmt: skip
    assert again.guidance_scale == 3.0 and np.array_equal(a, b)


def test_the_callers_latents_are_left_alone(ours):
    latents = noise(1, 4, 8, 8)
    before = latents.clone()
    ours(HOUSE, num_inference_steps=2, latents=latents)
    assert torch.equal(latents, before)


def test_the_words_that_are_cut_are_named(ours):
    with pytest.warns(UserWarning, match="too long.*: 'a b'"):  # "a" and "b" are one token each
        list(ours.stream(76 * "a " + "b", num_inference_steps=1))


@pytest.mark.filterwarnings("error")
def test_a_prompt_that_fits_warns_of_nothing(ours):
    ours(75 * "a ", num_inference_steps=1, output_type="latent")


@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 0.01), (torch.bfloat16, 0.1)])
def test_half_precision_paints_on_the_cpu(saved, ours, dtype, tolerance):
    pipe = StableDiffusion.from_pretrained(saved, device="cpu", dtype=dtype)
    options = {"num_inference_steps": 3, "guidance_scale": 2, "seed": 1}
    assert pipe(HOUSE, output_type="latent", **options).dtype == dtype
    half, full = pipe(HOUSE, output_type="np", **options), ours(HOUSE, output_type="np", **options)
    assert half.dtype == np.float32 and np.abs(half - full).max() < tolerance


# ---- what is refused


@pytest.mark.parametrize("options, words", [
    ({"height": 60}, "height must be a multiple of 8, got 60; try 56 or 64"),
    ({"width": 65}, "width must be a multiple of 8, got 65; try 64 or 72"),
    ({"height": 0}, "height must be a multiple of 8, got 0"),
    ({"width": -8}, "width must be a multiple of 8, got -8"),
    ({"num_inference_steps": 0}, "num_inference_steps must be between 1 and 1000, got 0"),
    ({"num_inference_steps": 1001}, "num_inference_steps must be between 1 and 1000, got 1001"),
    ({"num_inference_steps": -1}, "num_inference_steps must be between 1 and 1000, got -1"),
    ({"sampler": "magic"}, "unknown sampler 'magic'; choose one of ddpm, ddim"),
    ({"output_type": "jpeg"}, "unknown output_type 'jpeg'; choose one of pil, np, latent"),
    ({"prompt": []}, "prompt must be a string or a list"),
    ({"prompt": [HOUSE, 3]}, "prompt must be a string or a list"),
    ({"negative_prompt": [TENT, TENT]}, "1 prompts need one negative prompt or as many, got 2"),
    ({"negative_prompt": []}, "1 prompts need one negative prompt or as many, got 0"),
    ({"latents": noise(2, 4, 8, 8)}, r"latents have shape \(2, 4, 8, 8\), expected \(1, 4, 8, 8\)"),
    ({"latents": noise(1, 4, 8, 8), "height": 32}, r"expected \(1, 4, 4, 8\)"),
    ({"eta": -0.1}, "eta must be between 0 and 1, got -0.1"),
    ({"eta": 1.5}, "eta must be between 0 and 1, got 1.5"),
    ({"eta": float("nan")}, "eta must be between 0 and 1, got nan"),
    ({"eta": 0.5, "sampler": "ddpm"}, "eta belongs to the ddim sampler"),
    ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number, got nan"),
    ({"guidance_scale": float("inf")}, "guidance_scale must be a finite number, got inf"),
    ({"seed": -1}, "seed must be between 0 and"),
    ({"seed": 2**64}, "seed must be between 0 and"),
    ({"seed": 2**64 - 1, "prompt": [HOUSE, TENT]}, "seed must be between 0 and"),
])  # fmt: skip
def test_what_cannot_be_painted_is_refused_in_one_line(ours, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        ours(**{"prompt": HOUSE, "num_inference_steps": 2, **options})
    assert "\n" not in str(caught.value)


def test_the_largest_seed_paints(ours):
    assert ours(HOUSE, num_inference_steps=1, seed=2**32 - 1, output_type="latent").isfinite().all()


def test_a_seed_that_torch_would_cut_to_32_bits_is_refused(ours):
    with pytest.raises(ValueError, match="seed must be between 0 and 4294967294 for a batch of 2"):
        ours([HOUSE, HOUSE], num_inference_steps=1, seed=2**32 - 1)


def test_parts_of_different_models_are_refused():
    parts, other = small_pipeline(), small_pipeline()
    parts.tokenizer.vocab["one too many"] = 9999
    with pytest.raises(ValueError, match="take both from one model"):
        StableDiffusion(parts.tokenizer, other.text_encoder, other.unet, other.vae, other.scheduler_config)


# ---- the model that ships

MEGABYTES = 12


@pytest.fixture(scope="module")
def tiny():
    assert (TINY / "model_index.json").is_file(), f"{TINY} is missing, and it ships with the package: fetch it again"
    return StableDiffusion.from_pretrained("tiny", device="cpu")


@pytest.mark.parametrize("prompt, options", [
    ("a red house and a yellow tent in the snow at night", {}),
    ("a blue car on the sand", {"guidance_scale": 1.0}),
    (["a green tree by day", "a white balloon at sunset"], {"guidance_scale": 7.5, "negative_prompt": ["a red house"] * 2}),
])  # fmt: skip
def test_tiny_paints_in_diffusers_what_it_paints_here(tiny, prompt, options):
    options = {"guidance_scale": tiny.guidance_scale, **options}
    latents = noise(1 if isinstance(prompt, str) else 2, 4, 16, 16)
    assert_same_picture(*paint_both(tiny, open_diffusers(TINY), prompt, 10, latents=latents, **options))


def test_tiny_is_small(tiny):
    assert sum(path.stat().st_size for path in TINY.rglob("*") if path.is_file()) <= MEGABYTES * 1e6
