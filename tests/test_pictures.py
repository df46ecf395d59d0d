"""Pictures of every mode, depth, orientation, transparency and size, in and out."""

import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from minisd.pictures import FORMATS, as_bytes, eight_bits, open_picture, prepare, to_pil
from small import assert_same, small_pipeline


@pytest.fixture(scope="module")
def pipe():
    return small_pipeline()


@pytest.fixture(autouse=True)
def notes(recwarn):
    """The notes of a test, which it reads with `said`; a test that expects none asks for that."""
    return lambda: [str(warning.message) for warning in recwarn.list]


def ramp(bits=8):
    """Grey from black to white, left to right: (16, 64)."""
    return np.tile(np.linspace(0, 2**bits - 1, 64), (16, 1)).round()


def colours():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))


# ---- modes and depths


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "RGBX", "RGBA", "LA", "PA"]
)
def test_every_mode_is_read(mode, notes):
    made = colours().convert("RGB").convert("L" if mode in ("LA",) else "RGB")
    made = (
        made.convert("P").convert("PA")
        if mode == "PA"
        else made.convert(mode)
        if mode != "LAB"
        else lab(made)
    )
    for name, right in (("image", "RGB"), ("mask_image", "L")):
        read = as_bytes(made, name)
        assert read.mode == right and read.size == (32, 24) and np.asarray(read).std() > 10
    assert not notes()  # every pixel is opaque


def lab(picture):
    from PIL import ImageCms

    way = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    return ImageCms.applyTransform(picture, way)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "HSV", "YCbCr"])
def test_a_mask_is_the_same_in_every_mode(mode):
    black_and_white = Image.fromarray(np.repeat([[0, 255]], 32, axis=1).repeat(64, axis=0).astype(np.uint8))
    mask = prepare(black_and_white.convert("RGB").convert(mode), "mask_image", 1, None, None, 8)
    assert torch.equal(mask, prepare(black_and_white, "mask_image", 1, None, None, 8))
    assert mask.mean() == 0.5


DEEP = {
    "16 bits": Image.fromarray(ramp(16).astype(np.uint16)),
    "16 bits, big end first": Image.fromarray(ramp(16).astype(">u2")),
    "whole numbers, as 16-bit files were once read": Image.fromarray(ramp(16).astype(np.int32)),
    "whole numbers up to 255": Image.fromarray(ramp(8).astype(np.int32)),
    "31 bits": Image.fromarray(ramp(31).astype(np.int32)),
    "floats up to 1": Image.fromarray((ramp() / 255).astype(np.float32)),
    "floats up to 255": Image.fromarray(ramp().astype(np.float32)),
    "floats up to 65535": Image.fromarray(ramp(16).astype(np.float32)),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_pixels_are_scaled_to_8_bits(kind):
    for name in ("image", "mask_image"):
        read = np.asarray(as_bytes(DEEP[kind], name), int)
        shown = read if name == "mask_image" else read[..., 0]
        assert np.abs(shown - ramp()).max() <= 1 and shown.max() == 255


@pytest.mark.parametrize("kind", ["16 bits", "floats up to 1"])
def test_deep_files_are_read_from_disk(tmp_path, kind):
    path = tmp_path / ("deep.png" if kind == "16 bits" else "deep.tiff")
    DEEP[kind].save(path)
    assert np.abs(np.asarray(as_bytes(open_picture(path), "image"), int)[..., 1] - ramp()).max() <= 1


def test_every_level_of_sixteen_bits_is_rounded_to_the_nearest_of_eight():
    levels = np.arange(2**16)
    nearest = (levels * 255 + 32767) // 65535
    assert (eight_bits(levels.astype(np.uint16), "image") == nearest).all()


@pytest.mark.parametrize("most", [255, 65535, 2**31 - 1, 2**32 - 1])
def test_whole_numbers_as_deep_as_their_largest(most):
    assert eight_bits(np.array([0, most // 2 + 1, most]), "image").tolist() == [0, 128, 255]


def test_what_is_no_file_is_called_a_picture(tmp_path):
    with pytest.raises(ValueError, match=r"^picture \S+ could not be read \(it is not a file\)"):
        open_picture(tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_pixels_that_are_no_numbers_are_refused(bad):
    pixels = np.zeros((8, 8), np.float32)
    pixels[3, 3] = bad
    with pytest.raises(ValueError, match="pixels that are negative or no numbers"):
        prepare(Image.fromarray(pixels), "image", 1, None, None, 8)


# ---- transparency


def half_transparent(mode="RGBA"):
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    pixels[:, :8] = (220, 30, 30, 255)
    pixels[:, 8:, 3] = 0
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "P"])
def test_what_is_transparent_is_white_in_an_image_and_black_in_a_mask(mode, notes):
    picture = half_transparent("RGBA")
    if mode in ("LA", "La"):
        picture = picture.convert("LA").convert(mode) if mode == "La" else picture.convert("LA")
    elif mode == "P":
        picture = Image.new("P", (16, 16), 0)
        picture.putpalette([220, 30, 30, 7, 77, 177])
        picture.paste(1, (8, 0, 16, 16))
        picture.info["transparency"] = 1
    elif mode == "RGBa":
        picture = picture.convert("RGBa")
    assert (np.asarray(as_bytes(picture, "image"))[:, 8:] == 255).all()
    assert (np.asarray(as_bytes(picture, "mask_image"))[:, 8:] == 0).all()
    told = notes()
    assert len(told) == 2 and "the image is transparent in places, which are taken as white" in told[0]


def test_a_colour_key_is_transparency_too(tmp_path, notes):
    picture = Image.fromarray(
        np.repeat([[[9, 9, 9]], [[200, 0, 0]]], 8, axis=0).repeat(16, axis=1).astype(np.uint8)
    )
    picture.save(tmp_path / "key.png", transparency=(9, 9, 9))
    read = np.asarray(as_bytes(open_picture(tmp_path / "key.png"), "image"))
    assert (read[:8] == 255).all() and (read[8:] == (200, 0, 0)).all() and len(notes()) == 1


def test_what_lies_under_transparent_pixels_changes_nothing(pipe):
    erased, empty = half_transparent(), np.asarray(half_transparent()).copy()
    empty[:, 8:] = 0
    both = [prepare(p, "image", 1, 64, 64, 8) for p in (erased, Image.fromarray(empty))]
    assert torch.equal(*both)


# ---- files


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_exif_data_say(tmp_path, orientation):
    upright = Image.new("RGB", (40, 24), "black")
    upright.paste("white", (0, 0, 8, 8))
    ways = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions that undo each
    undo = {6: 4, 8: 2}.get(orientation, ways.get(orientation))
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo))
    if orientation in (6, 8):
        stored = upright.transpose(
            Image.Transpose.ROTATE_90 if orientation == 6 else Image.Transpose.ROTATE_270
        )
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(open_picture(tmp_path / "turned.png")), np.asarray(upright))


def test_of_several_frames_the_first_is_used_and_said(tmp_path, notes):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    read = as_bytes(open_picture(tmp_path / "moving.gif"), "image")
    assert read.getpixel((3, 3)) == (255, 0, 0) and "has 2 frames; the first is used" in notes()[0]


HARMLESS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"\x89PNG\r\n\x1a\n",
        HARMLESS,
        b"GIF89a",
        b"BM",
        b"RIFF\x10\0\0\0WEBPVP8 ",
        b"P6\n9999999999 9\n255\n",
    ],
)
@pytest.mark.parametrize("name", ["a.png", "b.jpg"])
def test_what_is_no_picture_is_said_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=r"--image .* could not be read \(.+\); name a picture such as"
    ) as caught:
        open_picture(tmp_path / name, "--image")
    assert "\n" not in str(caught.value)


def test_postscript_starts_no_other_program(tmp_path, monkeypatch):
    """Pillow would hand it to Ghostscript."""
    assert "EPS" not in FORMATS
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("a program was started"))
    (tmp_path / "photo.png").write_bytes(HARMLESS)
    with pytest.raises(ValueError, match="could not be read"):
        open_picture(tmp_path / "photo.png")


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif", "bmp", "tiff", "ppm", "tga", "ico"])
def test_a_damaged_file_of_any_format_raises_value_error_alone(tmp_path, kind):
    colours().save(tmp_path / f"whole.{kind}")
    whole = (tmp_path / f"whole.{kind}").read_bytes()
    rng = np.random.default_rng(0)
    for i in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = rng.integers(256)
        (tmp_path / "damaged").write_bytes(
            bytes(damaged[: len(whole) if i % 2 else rng.integers(1, len(whole))])
        )
        try:
            prepare(open_picture(tmp_path / "damaged"), "image", 1, 64, 64, 8)
        except ValueError as error:
            assert "\n" not in str(error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_a_folder_and_a_missing_file_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("pipe.png", "", "missing.png"):
        with pytest.raises(ValueError, match="could not be read"):
            open_picture(tmp_path / name)


def test_a_picture_up_to_the_limit_is_read(tmp_path, monkeypatch):
    from minisd import pictures

    monkeypatch.setattr(pictures, "MOST_PIXELS", 64)
    for size, fits in (((8, 8), True), ((13, 5), False)):
        Image.new("RGB", size).save(tmp_path / "a.png")
        if fits:
            assert open_picture(tmp_path / "a.png").size == size
            pictures.note_size(8, 8, 8)
            continue
        with pytest.raises(ValueError, match="13x5 pixels, too large"):
            open_picture(tmp_path / "a.png")
        with pytest.raises(ValueError, match="5x13 pixels needs too much memory"):
            pictures.note_size(13, 5, 8)


def test_a_picture_beyond_reason_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (30_000, 30_000)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match="30000x30000 pixels, too large|could not be read"):
        open_picture(tmp_path / "huge.png")


# ---- arrays


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_arrays_of_bytes_and_floats_mean_the_same(dtype):
    most = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    pixels = np.zeros((1, 16, 16, 3), dtype)
    pixels[:, 8:] = most
    expected = prepare(pixels.astype(np.float32) / most, "image", 1, None, None, 8)
    assert torch.equal(prepare(pixels, "image", 1, None, None, 8), expected)
    assert torch.equal(prepare(pixels[0], "image", 1, None, None, 8), expected)  # one picture, no batch


def test_masks_may_be_true_and_false_and_have_no_channel():
    mask = np.zeros((16, 16), bool)
    mask[:, :8] = True
    for given in (mask, mask[..., None], mask[None, ..., None]):
        assert prepare(given, "mask_image", 1, None, None, 8)[0, 0].bool().numpy().tolist() == mask.tolist()


@pytest.mark.parametrize("share, repainted", [(0.49, 0.0), (0.5, 1.0), (0.51, 1.0)])
def test_a_mask_at_exactly_one_half_is_repainted(share, repainted):
    assert prepare(np.full((1, 8, 8, 1), share), "mask_image", 1, None, None, 8).mean() == repainted


# ---- sizes


def test_a_large_picture_is_noted_with_what_to_type(pipe, notes):
    pipe.stream("a house", image=Image.new("RGB", (256, 192)), num_inference_steps=4)
    (told,) = notes()
    assert "256x192 pixels and the model was trained on 64x64" in told and "--height 64 --width 64" in told


@pytest.mark.filterwarnings("error")
def test_a_picture_of_the_models_size_is_not_noted(pipe):
    pipe.stream("a house", image=Image.new("RGB", (128, 128)), num_inference_steps=4)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (3000, 9)])
def test_the_smallest_and_narrowest_pictures_get_a_size_that_can_be_painted(size):
    prepared = prepare(Image.new("RGB", size), "image", 1, None, None, 8)
    assert all(side % 8 == 0 and side >= 8 for side in prepared.shape[2:])


def test_a_mask_of_other_proportions_is_noted(pipe, notes):
    pipe.stream("a house", image=Image.new("RGB", (64, 64)), mask_image=Image.new("L", (64, 128), 255))
    assert notes() == [
        "the mask_image of 64x128 pixels is stretched to 64x64; crop it first to keep its proportions"
    ]


# ---- what is kept


def kept_options():
    mask = np.zeros((1, 64, 64, 1))
    mask[:, :, 32:] = 1
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return {"image": image, "mask_image": mask, "num_inference_steps": 3}


@pytest.mark.parametrize("inpaints", [False, True])
def test_kept_pixels_come_back_as_they_were(pipe, inpaints):
    if inpaints:
        from minisd import StableDiffusion, UNet

        unet = UNet({**pipe.unet.config.to_dict(), "in_channels": 9})
        parts = pipe.tokenizer, pipe.text_encoder, unet, pipe.vae, pipe.scheduler_config
        pipe = StableDiffusion(*parts)
    options = kept_options()
    before = np.asarray(options["image"])
    (pasted,) = pipe("a house", **options)
    (plain,) = pipe("a house", paste_back=False, **options)
    assert (np.asarray(pasted)[:, :32] == before[:, :32]).all()
    assert (np.asarray(plain)[:, :32] != before[:, :32]).any()
    assert (np.asarray(pasted)[:, 32:] == np.asarray(plain)[:, 32:]).all()


def test_painting_over_and_over_leaves_the_kept_part_alone(pipe):
    options = kept_options()
    before = np.asarray(options["image"])
    for seed in range(4):
        (options["image"],) = pipe("a house", seed=seed, **options)
    assert (np.asarray(options["image"])[:, :32] == before[:, :32]).all()


def test_each_picture_of_a_batch_keeps_its_own(pipe):
    options = kept_options()
    images = [options.pop("image"), Image.new("RGB", (64, 64), (9, 99, 199))]
    painted = pipe(["a", "b"], image=images, num_images_per_prompt=2, **options)
    for i, picture in enumerate(painted):
        assert (np.asarray(picture)[:, :32] == np.asarray(images[i // 2])[:, :32]).all()


def test_a_black_mask_is_noted(pipe, notes):
    pipe.stream("a house", image=Image.new("RGB", (64, 64)), mask_image=Image.new("L", (64, 64)))
    assert any("black everywhere: nothing is repainted" in told for told in notes())


def test_to_pil_rounds():
    assert np.asarray(to_pil(np.full((1, 2, 2, 3), 100.6 / 255))[0]).tolist() == [[[101] * 3] * 2] * 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_picture_of_nan_is_an_error_and_names_who_made_it(pipe, bad):
    with pytest.raises(FloatingPointError, match="the latents went beyond what numbers can hold"):
        pipe.decode(torch.full((1, 4, 8, 8), bad))
    weight = pipe.vae.decoder.conv_out.weight
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[0, 0, 0, 0] = bad
        with pytest.raises(FloatingPointError, match="the VAE made a picture of NaN or infinity: its file"):
            pipe("a house", num_inference_steps=1)
    finally:
        with torch.no_grad():
            weight.copy_(before)


# ---- notes on words and seeds


def test_seed_none_draws_a_seed_and_reports_it(pipe, notes):
    first, second = (pipe.stream("a house", seed=None, num_inference_steps=1) for _ in "ab")
    assert first.seed != second.seed
    again = pipe("a house", seed=first.seed, num_inference_steps=1, output_type="latent")
    assert torch.equal(again, list(first)[-1].latents)
    pipe("a house", seed=None, num_inference_steps=1)
    assert "painted with seed " in notes()[0]


def test_a_painting_can_be_painted_again(pipe):
    painting = pipe.stream("a house", num_inference_steps=2, sampler="euler_a")
    ends = [list(painting)[-1].latents for _ in "ab"]
    assert torch.equal(*ends) and len(painting) == 2


def test_numpy_integers_are_whole_numbers(pipe):
    options = {"num_inference_steps": np.int64(2), "seed": np.uint32(3), "height": np.int32(64)}
    a = pipe("a house", output_type="latent", **options)
    assert torch.equal(a, pipe("a house", output_type="latent", num_inference_steps=2, seed=3))


def test_a_seed_means_the_same_whatever_the_default_dtype(pipe):
    expected = pipe("a house", num_inference_steps=1, output_type="latent")
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(pipe("a house", num_inference_steps=1, output_type="latent"), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_negative_prompt_without_guidance_is_noted(pipe, notes):
    pipe.stream("a house", negative_prompt="a tent", guidance_scale=1)
    assert "at guidance 1 the negative prompt has no effect" in notes()[0]


def test_other_tools_syntax_is_noted_once_a_prompt(pipe, notes):
    pipe.stream("a (red house:1.4)")
    assert len(notes()) == 1


def test_the_prompt_is_read_once(pipe, monkeypatch):
    """Both halves of guidance together, whatever the number of steps."""
    calls, read = [], pipe.text_encoder.forward
    monkeypatch.setattr(
        pipe.text_encoder, "forward", lambda ids, skip: calls.append(len(ids)) or read(ids, skip)
    )
    pipe(["a house", "a tent"], num_inference_steps=3)
    assert calls == [4]


def test_a_note_points_at_the_callers_line(pipe):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipe("a house", negative_prompt="a tent", guidance_scale=1, num_inference_steps=1)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("clip_skip", [0, 1])
def test_clip_skip_is_diffusers(tmp_path, pipe, clip_skip):
    """The last but clip_skip layer's output, through the final norm, as StableDiffusionPipeline has it."""
    import transformers

    pipe.save_pretrained(tmp_path / "model")
    theirs = transformers.CLIPTextModel.from_pretrained(tmp_path / "model/text_encoder")
    ids = pipe.tokenizer("a red house")
    with torch.no_grad():
        hidden = theirs(ids, output_hidden_states=True).hidden_states[-(clip_skip + 1)]
        expected = theirs.final_layer_norm(hidden)
        assert_same(pipe.text_encoder(ids, clip_skip), expected)
        painting = pipe.stream("a red house", guidance_scale=1, clip_skip=clip_skip or None)
        assert_same(painting.context, expected)


def test_a_word_behind_the_cut_is_not_told_to_be_missing(pipe, notes):
    import copy

    pipe = copy.deepcopy(pipe)
    pipe.tokenizer.add("zorb")
    pipe.text_encoder.add_tokens(torch.zeros(1, 16))
    pipe.stream("a house", negative_prompt="zorb")
    assert not notes()
    pipe.stream("house " * 80 + "zorb")
    assert len(notes()) == 1 and "too long" in notes()[0]
    pipe.stream("a house")
    assert notes()[1] == "no prompt has the learned word 'zorb': write it to use it"


def test_a_size_is_noted_once(pipe, notes):
    pipe.stream("a house", height=256, width=192)
    assert len(notes()) == 1
