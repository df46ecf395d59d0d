"""The drawing of the machine: it shows what passed through the modules, not what somebody once wrote down."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.patches import Circle

from minisd.teaching import figures
from minisd.teaching.diagram import diagram, watch
from small import small_pipeline
from test_figures import assert_legible, written


@pytest.fixture(autouse=True)
def quiet_backend():
    plt.switch_backend("agg")
    with plt.rc_context():
        figures.use()
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def pipe():
    return small_pipeline()


def weights(module):
    return f"{sum(p.numel() for p in module.parameters()):,} weights"


def test_shapes_sizes_and_rounds_are_those_of_the_modules(pipe):
    words, text = written(diagram(pipe, "a house", steps=5)), pipe.text_encoder.config
    latents = pipe("a house", num_inference_steps=1, output_type="latent").shape[1:]
    pixels = pipe("a house", num_inference_steps=1, output_type="np").shape[1:3]
    assert " × ".join(map(str, latents)) in words and f"3 × {pixels[0]} × {pixels[1]}" in words
    assert f"each {text.max_position_embeddings} × {text.hidden_size}, read once" in words
    asked = pipe.way(5).asked
    assert f"for $t$ = {asked[0]}, {asked[1]}, ..., {asked[-1]}   (5 rounds)" in words
    for net in (pipe.text_encoder, pipe.vae.encoder, pipe.vae.decoder):
        assert weights(net) in words
    assert f"the same network:\n{weights(pipe.unet)}" in words
    assert f"{len(pipe.tokenizer):,} tokens" in words


def test_the_step_the_guidance_and_both_calls_are_there(pipe):
    axes = diagram(pipe, "a house", steps=3)
    words = written(axes)
    assert words.count("U-Net") == 2 and {"with your words", "without words"} < set(words)
    assert {"guidance", "step", "text to image", "image to image"} < set(words)
    assert any(f"$s$ = {pipe.guidance_scale:g}" in text for text in words)
    clocks = [patch for patch in axes.patches if isinstance(patch, Circle)]
    assert words.count("$t$") == 3 and words.count("$t'$") == 1  # both calls and the step are told t
    assert len(clocks) == 4  # and the step also the next one


def test_each_text_is_read_once_and_both_calls_are_one_batch(pipe):
    seen = watch(pipe, "a house", steps=3)
    assert sum(shape[0] for shape in seen.shapes["text"]) == 2
    assert [shape[0] for shape in seen.shapes["unet"]] == [2, 2, 2]
    assert len(seen.shapes["decoder"]) == 1 and seen.timesteps == [int(t) for t in pipe.way(3).asked]
    assert seen.noise.shape == seen.shapes["unet"][0][1:]


def test_the_picture_is_that_of_the_seed(pipe):
    painted = pipe("a house", num_inference_steps=2, seed=7, output_type="np")[0]
    assert (watch(pipe, "a house", steps=2, seed=7).picture == painted).all()
    assert (watch(pipe, "a house", steps=2, seed=8).picture != painted).any()


def test_image_to_image_may_begin_with_another_picture(pipe):
    grey = np.full((8, 8, 3), 0.5)
    shown = [
        image.get_array()
        for axes in diagram(pipe, "a house", steps=1, start=grey).child_axes
        for image in axes.images
    ]
    assert any(image.shape == grey.shape and (image == grey).all() for image in shown)


def test_one_step_has_no_dots(pipe):
    assert f"for $t$ = {pipe.way(1).asked[0]}   (1 round)" in written(diagram(pipe, "a house", steps=1))
    first, second = pipe.way(2).asked
    assert f"for $t$ = {first}, {second}   (2 rounds)" in written(diagram(pipe, "a house", steps=2))


def test_nothing_stays_hooked(pipe):
    diagram(pipe, "a house", steps=1)
    with pytest.raises(ValueError, match="num_inference_steps|steps"):
        diagram(pipe, "a house", steps=0)
    for net in (pipe.unet, pipe.vae, pipe.text_encoder):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_no_text_leaves_the_drawing_or_touches_another(pipe):
    figure = diagram(pipe, "a house", steps=3).figure
    assert figure.get_size_inches()[0] * figures.DPI <= 900
    assert_legible(figure)
