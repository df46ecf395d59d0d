"""What makes the networks fast changes no answer: oneDNN for linear layers, channels last in memory."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from minisd import linear
from minisd.blocks import ResnetBlock, Upsample
from minisd.checkpoint import placed
from minisd.linear import Linear, by_onednn
from minisd.models import TINY
from minisd.pipeline import StableDiffusion
from small import assert_same, randomise, small_pipeline

onednn_only = pytest.mark.skipif(not linear.ONEDNN, reason="this PyTorch has one library for both")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 6), (5, 6), (2, 7, 6), (2, 3, 4, 6), (0, 6)])
def test_a_linear_layer_is_pytorchs(shape, bias):
    layer, x = randomise(Linear(6, 8, bias=bias)), torch.randn(shape)
    expected = F.linear(x, layer.weight, layer.bias)
    with torch.inference_mode():
        found = layer(x)
    assert found.shape == expected.shape
    if x.numel():
        assert_same(found, expected.detach(), 1e-6)


def test_a_linear_layer_reads_places_of_a_picture_that_lies_channels_last():
    layer = randomise(Linear(6, 8))
    x = torch.randn(2, 6, 5, 5).contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    with torch.no_grad():
        assert_same(layer(x), F.linear(x, layer.weight, layer.bias), 1e-6)


@onednn_only
def test_onednn_is_asked_where_no_gradient_is_recorded_in_float32_on_a_cpu():
    x = torch.randn(2, 6)
    assert not by_onednn(x)  # a gradient may be wanted
    with torch.inference_mode():
        assert by_onednn(torch.randn(2, 6))
        with torch.autocast("cpu", torch.bfloat16):
            assert not by_onednn(torch.randn(2, 6))
        assert not by_onednn(torch.randn(2, 6).double()) and not by_onednn(torch.empty(2, 6, device="meta"))


def test_its_work_is_counted_as_pytorchs_own():
    counts = []
    for layer in (Linear(6, 8), nn.Linear(6, 8)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            layer(torch.randn(2, 7, 6))
        counts.append(counter.get_total_flops())
    assert counts == [2 * 2 * 7 * 6 * 8] * 2


def test_gradients_flow_through_a_linear_layer():
    layer, same, x = Linear(6, 8), nn.Linear(6, 8), torch.randn(3, 6)
    same.load_state_dict(layer.state_dict())
    for net in (layer, same):
        net(x).square().sum().backward()
    assert torch.equal(layer.weight.grad, same.weight.grad)


def test_the_layer_is_compiled_as_pytorchs_own():
    exported = torch.export.export(Linear(6, 8), (torch.randn(2, 6),))
    assert "_linear_pointwise" not in exported.graph_module.code


def test_a_copied_convolution_lies_channels_last_and_a_mapped_one_stays():
    kernel, row = torch.randn(4, 3, 3, 3, dtype=torch.float16), torch.randn(4, 3)
    copy = placed(kernel, "cpu", torch.float32)
    assert copy.is_contiguous(memory_format=torch.channels_last) and torch.equal(copy, kernel.float())
    assert placed(kernel, "cpu", torch.float16) is kernel and placed(row, "cpu", torch.float32) is row


def test_the_order_in_memory_changes_no_picture():
    ours, plain = small_pipeline(), small_pipeline()
    plain.unet.load_state_dict(ours.unet.state_dict())
    ours.unet.to(memory_format=torch.channels_last)
    z, context = torch.randn(2, 4, 8, 8), torch.randn(2, 7, 16)
    with torch.inference_mode():
        assert_same(ours.unet(z, 501, context), plain.unet(z, 501, context))
        noise = plain.unet(z.contiguous(memory_format=torch.channels_last), 501, context)
    assert_same(noise, plain.unet(z, 501, context).detach())  # by MKL, a gradient recorded


def test_tinys_convolutions_are_laid_out_for_the_cpu_when_they_are_read():
    unet = StableDiffusion.from_pretrained(TINY, "cpu").unet
    assert unet.mid_block.resnets[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_compiled_pipeline_paints_the_same_and_is_translated_once():
    ours, counted = small_pipeline(), []

    def count(graph, inputs):
        counted.append(graph)
        return graph.forward

    options = {"num_inference_steps": 4, "output_type": "latent", "sampler": "euler"}
    expected = ours("a house", **options)
    ours.compile(backend=count, fullgraph=True)
    assert_same(ours("a house", **options), expected)
    assert len(counted) == 1


def test_a_block_without_its_norm_leaves_its_input_as_it_was():
    """SiLU works in place on a norm's output; where a reader takes the norm out, that is the input itself."""
    block, x = randomise(ResnetBlock(8, 8, 4, 1e-5)), torch.randn(1, 8, 4, 4)
    block.norm1 = block.norm2 = nn.Identity()
    expected, before = block(x).detach(), x.clone()
    with torch.inference_mode():
        assert_same(block(x), expected)
    assert torch.equal(x, before)


def test_another_layer_in_the_upsampling_convolutions_place_is_called():
    """A reader's, or an adapter's that has a weight of its own."""

    class Doubled(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    up, x = Upsample(4), torch.randn(1, 4, 8, 8)
    other = Doubled(4, 4, 3, padding=1)
    other.load_state_dict(up.conv.state_dict())
    with torch.inference_mode():
        expected = 2 * up(x)
        up.conv = other
        assert_same(up(x), expected)
        up.conv = nn.Identity()
        assert up(x).shape == (1, 4, 16, 16)
