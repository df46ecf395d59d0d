"""The whole machine against diffusers: one saved folder, the same picture; and what it refuses."""

import copy
import json
import shutil
import warnings

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from minisd import SAMPLERS, StableDiffusion, UNet
from minisd.models import TINY
from minisd.pictures import prepare, to_pil
from minisd.pipeline import guide, rescale_guidance
from minisd.schedule import schedule_of
from small import SCHEDULER, randomise, small_pipeline

TOLERANCE = 1e-4  # of a picture in [0, 1], before rounding
EQUAL = 0.999  # the share of the numbers that must be the same after rounding to 8 bits
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # diffusers' schedulers
HOUSE, TENT = "a red house in the snow", "two yellow tents at night"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "model"
    small_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(saved):
    return StableDiffusion.from_pretrained(saved, device="cpu")


@pytest.fixture(scope="module")
def ours64(saved):
    """In float64: in float32 convolutions round a batch otherwise than a single picture, on every CPU in its
    own way.
    """
    return StableDiffusion.from_pretrained(saved, device="cpu", dtype=torch.float64)


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
    assert ((a * 255).round() == (b * 255).round()).mean() >= EQUAL
    assert b.std() > 0.02  # two empty pictures would be equal too


def paint_both(ours, theirs, prompt, steps=4, **options):
    latents = noise(1 if isinstance(prompt, str) else len(prompt), 4, 8, 8)
    options = {"num_inference_steps": steps, "latents": latents, "output_type": "np", **options}
    return ours(prompt, **options), theirs(prompt, **options).images


# ---- the same picture as diffusers


@pytest.mark.parametrize("scale", [1, 4, 7.5])
def test_picture_equals_diffusers_at_each_guidance(ours, theirs, scale):
    assert_same_picture(*paint_both(ours, theirs, HOUSE, guidance_scale=scale))


@pytest.mark.parametrize("rescale, prompt", [(0.7, HOUSE), (1, [HOUSE, TENT])])
def test_picture_equals_diffusers_with_rescaled_guidance(ours, theirs, rescale, prompt):
    assert_same_picture(*paint_both(ours, theirs, prompt, guidance_rescale=rescale))


@pytest.mark.parametrize("steps", [1, 3, 30])
def test_picture_equals_diffusers_at_each_number_of_steps(ours, theirs, steps):
    assert_same_picture(*paint_both(ours, theirs, HOUSE, steps))


@pytest.mark.parametrize(
    "prompt, negative",
    [
        (HOUSE, TENT),
        (HOUSE, ""),
        ("", None),
        ("", TENT),
        ([HOUSE, TENT], None),
        ([HOUSE, TENT, ""], ["", HOUSE, TENT]),
    ],
)
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


# ---- the same as diffusers: samplers, image to image, inpainting

# SD 1.5's scheduler_config.json: it names no spacing, and every sampler takes its own.
SD15_SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "clip_sample": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
LEADING = {**SD15_SCHEDULER, "timestep_spacing": "leading"}


class LMS(diffusers.LMSDiscreteScheduler):
    """diffusers' LMS with as many weights as it has predictions.

    The original takes their number from the place in the whole list: in image to image, which begins on the
    way, its first steps are too long (tests/test_samplers.py shows it). At strength 1 the two are one.
    """

    def step(self, model_output, timestep, sample, order=4, **options):
        return super().step(model_output, timestep, sample, min(order, len(self.derivatives) + 1), **options)


SCHEDULERS = {
    "ddpm": diffusers.DDPMScheduler,
    "ddim": diffusers.DDIMScheduler,
    "pndm": diffusers.PNDMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_a": diffusers.EulerAncestralDiscreteScheduler,
    "lms": diffusers.LMSDiscreteScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
}
STRENGTHS = [0.1, 0.5, 0.99, 1.0]
LONG = 90 * "house " + TENT


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory):
    """A folder with a model whose U-Net reads 9 channels."""
    folder = tmp_path_factory.mktemp("small") / "inpainting"
    p = small_pipeline()
    unet = randomise(UNet({**p.unet.config.to_dict(), "in_channels": 9}))
    StableDiffusion(p.tokenizer, p.text_encoder, unet, p.vae, SCHEDULER).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def wide(inpainting):
    return StableDiffusion.from_pretrained(inpainting, device="cpu")


@pytest.fixture(scope="module")
def wide64(inpainting):
    return StableDiffusion.from_pretrained(inpainting, device="cpu", dtype=torch.float64)


@pytest.fixture(scope="module")
def wide_theirs(inpainting):
    pipe = diffusers.DiffusionPipeline.from_pretrained(inpainting)
    assert type(pipe) is diffusers.StableDiffusionInpaintPipeline
    return pipe


def with_scheduler(pipe, config):
    return StableDiffusion(pipe.tokenizer, pipe.text_encoder, pipe.unet, pipe.vae, config)


def diffusers_paints(kind, pipe, sampler, config, prompts, seed=5, **options):
    """With one generator for each picture, which is what a seed means here."""
    scheduler = SCHEDULERS[sampler].from_config(config)
    if sampler == "lms" and options.get("strength", 1) < 1:
        scheduler = LMS.from_config(config)
    painter = getattr(diffusers, f"StableDiffusion{kind}Pipeline")(
        **{**pipe.components, "scheduler": scheduler}, requires_safety_checker=False
    )
    painter.set_progress_bar_config(disable=True)
    count = len(prompts) * options.get("num_images_per_prompt", 1)
    generators = [torch.Generator().manual_seed(seed + i) for i in range(count)]
    return painter(prompts, generator=generators, output_type="np", **options).images


def picture(height=64, width=64, seed=0):
    """Soft colours, and noise on them."""
    rng = np.random.default_rng(seed)
    colours = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((width, height))
    return Image.fromarray((np.asarray(colours) * 0.8 + rng.random((height, width, 3)) * 50).astype(np.uint8))


def soft_mask(height=64, width=64, seed=1):
    """Patches of all greys, about half of them above the middle."""
    grey = np.random.default_rng(seed).integers(0, 256, (4, 4), np.uint8)
    return Image.fromarray(grey).resize((width, height))


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*too long", category=UserWarning)
        yield


@pytest.mark.parametrize("config", [SD15_SCHEDULER, LEADING], ids=["own spacing", "leading"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_paints_what_diffusers_paints(ours, theirs, sampler, config):
    options = {"num_inference_steps": 6, "negative_prompt": [TENT, LONG]}
    a = with_scheduler(ours, config)([HOUSE, LONG], sampler=sampler, seed=5, output_type="np", **options)
    assert_same_picture(a, diffusers_paints("", theirs, sampler, config, [HOUSE, LONG], **options))


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_image_to_image_equals_diffusers(ours, theirs, sampler, strength):
    images = [picture(seed=0), picture(seed=1)]
    options = {"num_inference_steps": 10, "strength": strength, "image": images}
    a = with_scheduler(ours, SD15_SCHEDULER)(
        [HOUSE, LONG], sampler=sampler, seed=8, output_type="np", **options
    )
    assert_same_picture(
        a, diffusers_paints("Img2Img", theirs, sampler, SD15_SCHEDULER, [HOUSE, LONG], 8, **options)
    )


@pytest.mark.parametrize("steps, strength", [(1, 1.0), (2, 0.5), (7, 0.3), (50, 0.05), (50, 0.29)])
def test_image_to_image_takes_as_many_steps_as_diffusers(ours, theirs, steps, strength):
    options = {"num_inference_steps": steps, "strength": strength, "image": [picture()], "eta": 0.7}
    b = diffusers_paints("Img2Img", theirs, "ddim", LEADING, [HOUSE], **options)
    assert_same_picture(ours([HOUSE], seed=5, output_type="np", **options), b)
    assert len(list(ours.stream(HOUSE, **options))) == int(steps * strength)


@pytest.mark.parametrize(
    "channels, strength", [*((4, strength) for strength in STRENGTHS), (9, 0.5), (9, 1.0)]
)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_inpainting_equals_diffusers(ours, theirs, wide, wide_theirs, channels, sampler, strength):
    our, their = (ours, theirs) if channels == 4 else (wide, wide_theirs)
    options = {
        "num_inference_steps": 10,
        "strength": strength,
        "image": [picture(seed=2), picture(seed=3)],
        "mask_image": [soft_mask(seed=1), soft_mask(seed=2)],
    }
    a = with_scheduler(our, SD15_SCHEDULER)(
        [HOUSE, LONG], sampler=sampler, seed=9, output_type="np", paste_back=False, **options
    )
    b = diffusers_paints(
        "Inpaint", their, sampler, SD15_SCHEDULER, [HOUSE, LONG], 9, height=64, width=64, **options
    )
    assert_same_picture(a, b)


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_inpainting_equals_diffusers_with_guidance_eta_and_sizes(
    ours, theirs, wide, wide_theirs, scale, strength
):
    """The image is resized, and the mask, of another size, to the image's; fresh noise is drawn at every
    step.
    """
    options = {
        "num_inference_steps": 5,
        "strength": strength,
        "guidance_scale": scale,
        "eta": 1.0,
        "image": [picture(70, 51)],
        "mask_image": soft_mask(33, 40),
    }
    for our, their in ((ours, theirs), (wide, wide_theirs)):
        b = diffusers_paints("Inpaint", their, "ddim", LEADING, [HOUSE], height=64, width=48, **options)
        assert_same_picture(our([HOUSE], seed=5, output_type="np", paste_back=False, **options), b)


@pytest.mark.filterwarnings("ignore:Passing .image. as torch tensor:FutureWarning")
@pytest.mark.parametrize("height, width", [(64, 64), (70, 41), (8, 100), (15, 16)])
@pytest.mark.parametrize("kind", ["pil", "np", "tensor"])
def test_pictures_are_read_and_resized_as_diffusers_does(kind, height, width):
    theirs = diffusers.image_processor.VaeImageProcessor()
    greys = diffusers.image_processor.VaeImageProcessor(
        do_normalize=False, do_binarize=True, do_convert_grayscale=True
    )
    image, mask = [picture(height, width), picture(height, width, 7)], [soft_mask(height, width)]
    if kind != "pil":
        image = np.stack([np.asarray(p) for p in image]).astype(np.float32) / 255
        mask = np.asarray(mask[0])[None, ..., None].astype(np.float32) / 255
    if kind == "tensor":
        image, mask = (torch.from_numpy(array).movedim(-1, 1) for array in (2 * image - 1, mask))
    for size in ((None, None), (40, None), (24, 72)):
        for pictures, name, processor in ((image, "image", theirs), (mask, "mask_image", greys)):
            a = prepare(pictures, name, 2, *size, 8)
            b = processor.preprocess(copy.deepcopy(pictures), *size)  # it writes into the caller's mask
            assert a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def test_several_pictures_for_each_prompt_equal_diffusers(ours, ours64, theirs):
    options = {
        "num_inference_steps": 3,
        "num_images_per_prompt": 2,
        "negative_prompt": [TENT, ""],
        "eta": 1.0,
    }
    b = diffusers_paints("", theirs, "ddim", LEADING, [HOUSE, TENT], **options)
    a = ours([HOUSE, TENT], seed=5, output_type="np", **options)
    assert_same_picture(a, b)
    four = ours64([HOUSE, TENT], seed=5, output_type="np", **options)
    one = ours64(TENT, seed=8, output_type="np", num_inference_steps=3, eta=1.0)
    assert_same_picture(one, four[3:], 1e-6)


# ---- image to image and inpainting


def test_one_image_serves_a_batch_and_picture_i_is_the_single_one_of_seed_plus_i(ours64, wide64):
    options = {
        "num_inference_steps": 4,
        "eta": 0.5,
        "output_type": "np",
        "image": picture(),
        "mask_image": soft_mask(),
    }
    for pipe in (ours64, wide64):
        batch = pipe([HOUSE, TENT], seed=7, num_images_per_prompt=2, **options)
        for i, prompt in enumerate([HOUSE, HOUSE, TENT, TENT]):
            assert_same_picture(pipe(prompt, seed=7 + i, **options), batch[i : i + 1], 1e-6)


def test_each_image_goes_with_its_prompt(ours64):
    options = {"num_inference_steps": 4, "output_type": "np", "strength": 0.5}
    images, masks = [picture(seed=0), picture(seed=1)], [soft_mask(seed=1), soft_mask(seed=2)]
    batch = ours64([HOUSE, TENT], image=images, mask_image=masks, num_images_per_prompt=2, **options)
    for i in range(4):
        one = ours64([HOUSE, TENT][i // 2], seed=i, image=images[i // 2], mask_image=masks[i // 2], **options)
        assert_same_picture(one, batch[i : i + 1], 1e-6)


def test_what_the_mask_keeps_is_the_images_own_latents(ours):
    """At the last step without noise; the white part is the painted one."""
    left = np.zeros((1, 64, 64, 1))
    left[:, :, :32] = 1
    options = {"num_inference_steps": 3, "image": picture(), "output_type": "latent", "seed": 2}
    a, free = ours(HOUSE, mask_image=left, **options), ours(HOUSE, **options)
    ours_mean = ours.vae.encode(prepare(picture(), "image", 1, None, None, 8))
    kept = ours.vae.scaling_factor * (ours_mean.mean + ours_mean.std * noise(1, 4, 8, 8, seed=2))
    assert torch.equal(a[..., 4:], kept[..., 4:])
    assert (a[..., :4] - kept[..., :4]).abs().max() > 0.1 and not torch.equal(a[..., 4:], free[..., 4:])


def test_latents_replace_the_noise_of_image_to_image(ours):
    """Drawn by hand in the order that `stream` draws: the posterior's noise, then the starting noise."""
    options = {
        "num_inference_steps": 4,
        "image": picture(),
        "strength": 0.5,
        "output_type": "latent",
        "seed": 3,
    }
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randn(1, 4, 8, 8, generator=generator) for _ in "ab")
    assert torch.equal(ours(HOUSE, **options), ours(HOUSE, latents=second, **options))
    assert not torch.equal(ours(HOUSE, **options), ours(HOUSE, latents=first, **options))


def test_a_little_strength_changes_little(ours):
    options = {"num_inference_steps": 20, "image": picture(), "output_type": "latent"}
    start = ours.vae.scaling_factor * ours.vae.encode(prepare(picture(), "image", 1, None, None, 8)).mean
    distances = [
        (ours(HOUSE, strength=s, guidance_scale=1, **options) - start).norm().item() for s in (0.05, 0.5, 1)
    ]
    assert distances[0] < 0.5 * distances[1] and distances[1] < distances[2]


def test_the_callers_pictures_are_left_alone(ours):
    image, mask = (np.asarray(p, np.float32) / 255 for p in (picture(), soft_mask()))
    image, mask = image[None], mask[None, ..., None]
    copies = image.copy(), mask.copy()
    ours(HOUSE, num_inference_steps=2, image=image, mask_image=mask)
    assert np.array_equal(image, copies[0]) and np.array_equal(mask, copies[1])


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "LA"])
def test_pictures_of_any_mode_are_read(mode):
    x = prepare(picture().convert(mode), "image", 1, None, None, 8)
    mask = prepare(picture().convert(mode), "mask_image", 1, None, None, 8)
    assert (
        x.shape == (1, 3, 64, 64)
        and mask.shape == (1, 1, 64, 64)
        and set(mask.unique().tolist()) == {0.0, 1.0}
    )


def test_a_picture_smaller_than_one_latent_is_enlarged(ours):
    assert ours(HOUSE, num_inference_steps=2, image=picture(5, 9))[0].size == (8, 8)


def test_streaming_leaves_the_callers_mode_alone(ours):
    """Inference mode held between two steps would make the caller's own tensors useless for training."""
    for options in ({}, {"image": picture(), "mask_image": soft_mask()}):
        for step in ours.stream(HOUSE, num_inference_steps=2, **options):
            assert step.latents.is_inference()
            assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    "options", [{}, {"image": 1, "strength": 0.5}, {"image": 1, "mask_image": 1, "strength": 0.5}]
)
def test_timesteps_are_those_that_stream_visits(ours, sampler, options):
    for image in {"image", "mask_image"} & options.keys():
        options = {**options, image: picture()}
    visited = [step.t for step in ours.stream(HOUSE, num_inference_steps=8, sampler=sampler, **options)]
    way = ours.way(8, sampler, options.get("strength", 1.0))
    assert visited == way.asked and len(visited) == len(way)
    assert len(ours.stream(HOUSE, num_inference_steps=8, sampler=sampler, **options)) == len(way)
    assert len(visited) == (4 if options else 8) + (sampler == "pndm")


# ---- seeds, steps, sizes, guidance


def test_picture_i_of_a_batch_is_the_single_picture_of_seed_plus_i(ours64):
    options = {"num_inference_steps": 3, "eta": 0.5, "output_type": "np"}
    batch = ours64([HOUSE, TENT, ""], seed=7, **options)
    for i, prompt in enumerate([HOUSE, TENT, ""]):
        assert_same_picture(ours64(prompt, seed=7 + i, **options), batch[i : i + 1], 1e-6)


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
    pictures, array, latents = (
        ours([HOUSE, TENT], num_inference_steps=1, output_type=kind) for kind in kinds
    )
    assert [type(p) for p in pictures] == 2 * [Image.Image]
    assert (
        array.shape == (2, 64, 64, 3) and array.dtype == np.float32 and 0 <= array.min() <= array.max() <= 1
    )
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


def test_rescaled_guidance_has_the_spread_of_the_guess_with_words():
    guided, conditional = 5 * noise(2, 4, 8, 8), noise(2, 4, 8, 8, seed=4)
    for share in (0, 0.5, 1):
        spread = rescale_guidance(guided, conditional, share).std((1, 2, 3))
        wanted = share * conditional.std((1, 2, 3)) + (1 - share) * guided.std((1, 2, 3))
        assert torch.allclose(spread, wanted)


@pytest.mark.parametrize(
    "interval, sampler, guided",
    [
        ((0, 1), "ddim", 10 * [True]),
        ((0.2, 0.8), "ddim", 2 * [False] + 6 * [True] + 2 * [False]),
        ([0.25, 0.25], "euler", 10 * [False]),
        ((0.55, 1), "dpmpp_2m", 5 * [False] + 5 * [True]),
    ],
)
def test_only_the_steps_in_the_interval_are_guided(ours, interval, sampler, guided):
    seen = []
    handle = ours.unet.register_forward_hook(lambda net, inputs, output: seen.append(len(output)))
    options = {"num_inference_steps": 10, "sampler": sampler, "output_type": "latent"}
    finished = ours([HOUSE, TENT], guidance_interval=interval, **options)
    handle.remove()
    assert seen == [4 if here else 2 for here in guided]
    if not any(guided):
        assert torch.allclose(finished, ours([HOUSE, TENT], guidance_scale=1, **options), atol=1e-5)


def test_an_interval_of_a_way_with_fewer_steps_is_of_those_steps(ours):
    seen = []
    handle = ours.unet.register_forward_hook(lambda net, inputs, output: seen.append(len(output)))
    options = {"num_inference_steps": 8, "strength": 0.5, "output_type": "latent"}
    ours(HOUSE, image=picture(), guidance_interval=(0.5, 1), **options)
    handle.remove()
    assert seen == [1, 1, 2, 2]


def test_the_default_guidance_is_the_models_own(saved, tmp_path):
    pipe = StableDiffusion.from_pretrained(saved, device="cpu")
    pipe.guidance_scale = 3.0
    pipe.save_pretrained(tmp_path / "again")
    again = StableDiffusion.from_pretrained(tmp_path / "again", device="cpu")
    a, b = (
        again(HOUSE, num_inference_steps=2, output_type="np"),
        pipe(HOUSE, num_inference_steps=2, guidance_scale=3.0, output_type="np"),
    )
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
@pytest.mark.parametrize("given", [{}, {"image": picture()}, {"image": picture(), "mask_image": soft_mask()}])
@pytest.mark.parametrize("sampler", ["ddim", "euler_a"])
def test_half_precision_paints_on_the_cpu(saved, ours, dtype, tolerance, given, sampler):
    pipe = StableDiffusion.from_pretrained(saved, device="cpu", dtype=dtype)
    options = {"num_inference_steps": 3, "guidance_scale": 2, "seed": 1, "sampler": sampler, **given}
    assert pipe(HOUSE, output_type="latent", **options).dtype == dtype
    half, full = pipe(HOUSE, output_type="np", **options), ours(HOUSE, output_type="np", **options)
    assert half.dtype == np.float32 and np.abs(half - full).max() < tolerance


# ---- what is refused


@pytest.mark.parametrize(
    "options, words",
    [
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
        ({"eta": float("nan")}, "eta must be a finite number, got nan"),
        ({"eta": "a lot"}, "eta must be a number, got 'a lot'"),
        ({"eta": 0.5, "sampler": "ddpm"}, "eta belongs to the ddim sampler"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number, got nan"),
        ({"guidance_scale": float("inf")}, "guidance_scale must be a finite number, got inf"),
        ({"guidance_rescale": 1.5}, "guidance_rescale must be between 0 and 1, got 1.5"),
        ({"guidance_rescale": float("nan")}, "guidance_rescale must be a finite number, got nan"),
        ({"guidance_interval": (0.8, 0.2)}, "guidance_interval must be two rising shares from 0 to 1, got"),
        ({"guidance_interval": (0, 30)}, "guidance_interval must be two rising shares from 0 to 1, got"),
        ({"guidance_interval": 0.5}, r"guidance_interval must be two shares such as \(0.2, 0.8\), got 0.5"),
        ({"guidance_interval": "01"}, "guidance_interval must be two shares"),
        ({"guidance_interval": ("a", 1)}, "guidance_interval must be a number, got 'a'"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt must be at least 1, got 0"),
        ({"image": picture(), "strength": 0}, "strength must be above 0 and at most 1, got 0"),
        ({"image": picture(), "strength": 1.01}, "strength must be above 0 and at most 1, got 1.01"),
        ({"image": picture(), "strength": float("nan")}, "strength must be a finite number, got nan"),
        (
            {"image": picture(), "strength": 0.49},
            "strength 0.49 of 2 steps leaves none to take; .* at least 0.5 ",
        ),
        ({"mask_image": soft_mask()}, "mask_image asks for inpainting: give both image and mask_image"),
        ({"image": "house.png"}, "image must be a PIL image, a list of them, an array .*, got str"),
        ({"image": []}, "image must be a PIL image"),
        ({"image": np.zeros((64, 64))}, r"got \(64, 64\)"),
        ({"image": np.zeros(3)}, r"got \(3,\)"),
        ({"image": np.zeros((1, 64, 64, 3), complex)}, "an array of floats .* or of bytes, got complex128"),
        ({"image": np.zeros((1, 64, 64, 4))}, r"an array \(n, height, width, 3\) .*, got \(1, 64, 64, 4\)"),
        ({"image": np.full((1, 64, 64, 3), 200)}, "an array of floats in .* or of bytes, got int64"),
        ({"image": np.full((1, 64, 64, 3), 200.0)}, "image must be in .* divide bytes by 255"),
        ({"image": np.full((1, 64, 64, 3), np.nan)}, "image must be in"),
        ({"image": torch.full((1, 3, 64, 64), -1.5)}, "image must be in"),
        ({"image": torch.zeros(0, 3, 64, 64)}, "image must be a PIL image"),
        (
            {"image": [picture(), picture()]},
            "image holds 2 pictures for 1 prompts; give one, or as many as prompts",
        ),
        ({"image": picture(), "mask_image": 3 * [soft_mask()]}, "mask_image holds 3 pictures for 1 prompts"),
        ({"image": picture(), "mask_image": torch.zeros(1, 3, 64, 64)}, r"a tensor \(n, 1, height, width\)"),
        ({"image": picture(), "mask_image": torch.full((1, 1, 64, 64), -0.5)}, "mask_image must be in"),
        ({"image": picture(), "height": 60}, "height must be a multiple of 8, got 60; try 56 or 64"),
        ({"image": picture(), "latents": noise(1, 4, 4, 4)}, r"expected \(1, 4, 8, 8\)"),
        ({"seed": -1}, "seed must be between 0 and"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ({"seed": "1"}, "seed must be a whole number, got '1'"),
        ({"num_inference_steps": 2.0}, "num_inference_steps must be a whole number, got 2.0"),
        ({"guidance_scale": "high"}, "guidance_scale must be a number, got 'high'"),
        ({"height": 64.0}, "height must be a whole number, got 64.0"),
        (
            {"height": 16000, "width": 16000},
            "16000x16000 pixels needs too much memory; ask for at most 4096x4096",
        ),
        ({"clip_skip": 2}, "clip_skip must be from 0 to 1, since the text encoder has 2 layers; got 2"),
        ({"clip_skip": -1}, "clip_skip must be from 0 to 1"),
        ({"use_karras_sigmas": True}, "ddim does not take Karras' noise levels; choose one of euler"),
        ({"negative_prompt": 3}, "negative_prompt must be a string, a list of strings, or None"),
        ({"negative_prompt": [3]}, "negative_prompt must be a string, a list of strings, or None"),
        ({"seed": 2**64}, "seed must be between 0 and"),
        ({"seed": 2**64 - 1, "prompt": [HOUSE, TENT]}, "seed must be between 0 and"),
    ],
)
def test_what_cannot_be_painted_is_refused_in_one_line(ours, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        ours(**{"prompt": HOUSE, "num_inference_steps": 2, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"image": picture()}, {"mask_image": soft_mask()}])
def test_an_inpainting_model_says_what_it_needs(wide, given):
    with pytest.raises(ValueError, match="9 channels, is for inpainting: give both image and mask_image"):
        wide(HOUSE, num_inference_steps=2, **given)


def test_the_least_strength_that_an_error_names_is_enough(ours):
    for number in range(2, 1001):
        with pytest.raises(ValueError) as caught:
            ours.way(number, "ddpm", 0.999 / number)
        least = float(str(caught.value).split("at least ")[1].split()[0])
        assert len(ours.way(number, "ddpm", least)) >= 1


def test_the_largest_seed_paints(ours):
    assert ours(HOUSE, num_inference_steps=1, seed=2**32 - 1, output_type="latent").isfinite().all()


def test_a_seed_that_torch_would_cut_to_32_bits_is_refused(ours):
    with pytest.raises(ValueError, match="seed must be between 0 and 4294967294 for a batch of 2"):
        ours([HOUSE, HOUSE], num_inference_steps=1, seed=2**32 - 1)


def test_parts_of_different_models_are_refused():
    parts, other = small_pipeline(), small_pipeline()
    parts.tokenizer.add("onetoomany")
    with pytest.raises(ValueError, match="take both from one model"):
        StableDiffusion(parts.tokenizer, other.text_encoder, other.unet, other.vae, other.scheduler_config)


@pytest.mark.parametrize(
    "change", [{"in_channels": 5}, {"in_channels": 9, "out_channels": 9}, {"out_channels": 8}]
)
def test_a_u_net_of_another_kind_is_refused(change):
    p = small_pipeline()
    with pytest.raises(ValueError, match="no text-to-image or inpainting model"):
        StableDiffusion(
            p.tokenizer, p.text_encoder, UNet({**p.unet.config.to_dict(), **change}), p.vae, SCHEDULER
        )


def test_the_published_scheduler_is_accepted():
    assert torch.equal(schedule_of(SD15_SCHEDULER).betas, schedule_of(SCHEDULER).betas)
    for name in SAMPLERS:
        assert SAMPLERS[name].settings(SD15_SCHEDULER)["offset"] == 1


# ---- the model that ships

MEGABYTES = 12


@pytest.fixture(scope="module")
def tiny():
    assert (TINY / "model_index.json").is_file(), (
        f"{TINY} is missing, and it ships with the package: fetch it again"
    )
    return StableDiffusion.from_pretrained("tiny", device="cpu")


@pytest.mark.parametrize(
    "prompt, options",
    [
        ("a red house and a yellow tent in the snow at night", {}),
        ("a blue car on the sand", {"guidance_scale": 1.0}),
        (
            ["a green tree by day", "a white balloon at sunset"],
            {"guidance_scale": 7.5, "negative_prompt": ["a red house"] * 2},
        ),
    ],
)
def test_tiny_paints_in_diffusers_what_it_paints_here(tiny, prompt, options):
    options = {"guidance_scale": tiny.guidance_scale, **options}
    latents = noise(1 if isinstance(prompt, str) else 2, 4, 16, 16)
    assert_same_picture(*paint_both(tiny, open_diffusers(TINY), prompt, 10, latents=latents, **options))


def test_tiny_is_small(tiny):
    assert sum(path.stat().st_size for path in TINY.rglob("*") if path.is_file()) <= MEGABYTES * 1e6


# ---- defaults and precisions


def test_noise_is_drawn_in_float32_whatever_the_model_computes_in(saved):
    """A seed means the same picture in half precision, as far as that goes."""
    for dtype in (torch.float16, torch.bfloat16):
        pipe = StableDiffusion.from_pretrained(saved, device="cpu", dtype=dtype)
        seen: list[torch.Tensor] = []
        pipe.unet.register_forward_pre_hook(lambda net, given, seen=seen: seen.append(given[0]))
        pipe(HOUSE, num_inference_steps=1, guidance_scale=1, seed=5, output_type="latent")
        expected = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5)).to(dtype)
        assert torch.equal(seen[0], expected)


def with_index(folder, **changes):
    """A model folder whose model_index.json is changed; None takes a key out."""
    path = folder / "model_index.json"
    index = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in index.items() if value is not None}))
    return folder


def test_the_guidance_scale_is_seven_and_a_half_where_a_model_names_none(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "model")
    for named, expected in ((3.25, 3.25), (2, 2.0), (None, 7.5)):
        folder = with_index(tmp_path / "model", _guidance_scale=named)
        assert StableDiffusion.from_pretrained(folder, "cpu").guidance_scale == expected
    for bad in ("high", True, 1e9, [7.5]):
        with pytest.raises(ValueError, match="the guidance scale must be a number such as 7.5"):
            StableDiffusion.from_pretrained(with_index(tmp_path / "model", _guidance_scale=bad), "cpu")


def test_the_offset_of_timesteps_is_zero_where_a_config_names_none(ours):
    parts = ours.tokenizer, ours.text_encoder, ours.unet, ours.vae
    config = {key: value for key, value in SCHEDULER.items() if key != "steps_offset"}
    assert StableDiffusion(*parts, config).way(50).asked == list(range(980, -1, -20))


@pytest.mark.parametrize(
    "given", [{"device": "nonsense"}, {"device": "cuda:99"}, {"dtype": torch.int32}, {"dtype": 3}]
)
def test_a_device_or_dtype_that_is_not_there_is_refused(saved, given):
    with pytest.raises(ValueError, match=r"unknown device|no device|dtype must be torch\.float32"):
        StableDiffusion.from_pretrained(saved, **{"device": "cpu", **given})


def test_another_vae_takes_the_place_of_the_models(saved, ours):
    again = StableDiffusion.from_pretrained(saved, "cpu", vae=saved / "vae")
    assert torch.equal(again.vae.post_quant_conv.weight, ours.vae.post_quant_conv.weight)
    with pytest.raises(FileNotFoundError, match="no VAE at nowhere"):
        StableDiffusion.from_pretrained(saved, "cpu", vae="nowhere")


@pytest.mark.parametrize(
    "name",
    ["nowhere", "./nowhere", "a/b.ckpt", "a/b.safetensors", "a/b.pt", "a/b/c", "/no/such/model", "a b/c"],
)
def test_what_is_no_model_and_no_hub_id_is_said_without_asking_the_network(name, monkeypatch):
    from minisd import hub

    monkeypatch.setattr(hub, "fetch", lambda name: pytest.fail(f"{name} was looked for on the hub"))
    with pytest.raises(FileNotFoundError, match="no model at"):
        StableDiffusion.from_pretrained(name)


def test_hub_ids_are_handed_to_the_hub(monkeypatch, saved):
    from minisd import hub, models

    asked = []
    monkeypatch.setattr(hub, "fetch", lambda name: asked.append(name) or saved)
    for name in ("sd15", "v1-4", "owner/name", "a.b/c-d_e.f"):
        assert models.locate(name) == saved
    assert asked == ["sd15", "v1-4", "owner/name", "a.b/c-d_e.f"]
