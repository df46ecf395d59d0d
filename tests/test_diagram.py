"""The drawing of the machine: it shows what passed through the modules, not what somebody once wrote down."""

import xml.etree.ElementTree as ElementTree

from minisd.teaching.diagram import diagram
from small import small_pipeline

SVG = "{http://www.w3.org/2000/svg}"


def words(drawing):
    return [node.text for node in ElementTree.fromstring(drawing._repr_svg_()).iter(f"{SVG}text")]


def test_shapes_sizes_and_calls_are_those_of_the_modules():
    pipe = small_pipeline()
    written, text = words(diagram(pipe, "a house", steps=3)), pipe.text_encoder.config
    latents = " x ".join(map(str, pipe("a house", num_inference_steps=1, output_type="latent").shape[1:]))
    assert f"latents {latents}" in written and latents in written  # after the U-Net, and the noise
    assert "3 times: a little less noise" in written and "called 0 times" in written
    assert f"context {text.max_position_embeddings} x {text.hidden_size}" in written
    for net in (pipe.unet, pipe.text_encoder, pipe.vae.decoder):
        assert f"{sum(p.numel() for p in net.parameters()):,} weights" in written


def test_nothing_stays_hooked_and_no_text_leaves_the_drawing():
    pipe = small_pipeline()
    tree = ElementTree.fromstring(diagram(pipe, "a house", steps=1)._repr_svg_())
    assert not any(
        module._forward_hooks for net in (pipe.unet, pipe.vae, pipe.text_encoder) for module in net.modules()
    )
    _, _, width, height = map(float, tree.get("viewBox").split())
    for node in tree.iter(f"{SVG}text"):
        half = len(node.text) * float(node.get("font-size")) * 0.3
        assert float(node.get("x")) - half >= 0 and float(node.get("x")) + half <= width
        y = float(node.get("y"))
        assert 0 < y < height
