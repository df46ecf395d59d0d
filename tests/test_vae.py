"""Decoding fast and in little memory: the same pictures, and how near tiles come to them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minisd import AutoencoderKL, StableDiffusion
from minisd.blocks import ResnetBlock, Upsample, norm_silu, transposed_kernel
from minisd.vae import OVERLAP, TILE, fading, tiles
from small import assert_same, randomise, small_pipeline

SIZES = ((8, 8), (7, 5), (3, 16), (1, 1), (1, 9))


def rand(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def repeated(up, x):
    """What the book writes: repeat each pixel, then convolve."""
    return up.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_transposed_convolution_repeats_and_convolves(size, layout):
    weight, bias = rand(5, 3, 3, 3), rand(5)
    x = rand(2, 3, *size).to(memory_format=layout)
    slow = F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, bias, padding=1)
    assert_same(F.conv_transpose2d(x, transposed_kernel(weight), bias, 2, padding=1), slow, 1e-6)
    x, weight = x.double(), weight.double()
    slow = F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, padding=1)
    assert_same(F.conv_transpose2d(x, transposed_kernel(weight), None, 2, padding=1), slow, 1e-14)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("given", [False, True])
def test_upsampling_is_the_same_with_and_without_gradients(size, given):
    up, x = randomise(Upsample(4)), rand(2, 4, *size)
    wanted = (2 * size[0], 2 * size[1]) if given else None
    with torch.no_grad():
        at_once = up(x, wanted)
    assert_same(at_once, up(x, wanted).detach(), 1e-6)
    assert_same(at_once, repeated(up, x).detach(), 1e-6)


@torch.no_grad()
def test_upsampling_to_another_size_repeats_unevenly():
    up, x = randomise(Upsample(4)), rand(1, 4, 6, 6)
    assert_same(up(x, (11, 12)), up.conv(F.interpolate(x, size=(11, 12), mode="nearest")))


@torch.no_grad()
def test_a_hook_on_the_convolution_of_an_upsampling_is_called_and_may_change_it():
    """As an attached LoRA does."""
    up, x, seen = randomise(Upsample(4)), rand(1, 4, 6, 6), []
    hook = up.conv.register_forward_hook(lambda layer, inputs, out: seen.append(inputs[0].shape) or 2 * out)
    doubled = up(x)
    hook.remove()
    assert seen == [(1, 4, 12, 12)]
    assert_same(doubled, 2 * up(x), 1e-6)
    hook = up.conv.register_forward_pre_hook(lambda layer, inputs: seen.append("before"))
    up(x)
    hook.remove()
    assert seen[1:] == ["before"]


def test_silu_works_in_place_on_the_norms_output_only_where_no_gradient_is_recorded():
    x, made = rand(3, 4), []

    def norm(x):
        made.append(2 * x)
        return made[-1]

    assert_same(norm_silu(norm, x), F.silu(2 * x), 0)
    assert torch.equal(made[-1], 2 * x)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            y = norm_silu(norm, x)
        assert_same(y, F.silu(2 * x), 0)
        assert y.data_ptr() == made[-1].data_ptr()


@pytest.mark.parametrize("channels", [(8, 8), (8, 12)])
def test_a_resnet_block_leaves_its_input_alone_and_has_its_gradients(channels):
    block, x = randomise(ResnetBlock(*channels, 4, 1e-6, time_dim=5)), rand(2, 8, 6, 6)
    kept, emb = x.clone(), rand(2, 5)
    with torch.no_grad():
        quick = block(x, emb)
    assert torch.equal(x, kept)
    slow = block(x.requires_grad_(), emb)
    assert_same(quick, slow.detach(), 1e-6)
    slow.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in block.parameters())
    block, x, emb = block.double(), kept[:1, :, :2, :2].double().requires_grad_(), emb[:1].double()
    assert torch.autograd.gradcheck(lambda x: block(x, emb), x)


@pytest.mark.parametrize("side", [8, 5])
def test_the_autoencoder_is_the_same_with_and_without_gradients(side):
    vae, z = small_pipeline().vae, rand(2, 4, side, 8)
    x = vae.decode(z).detach()
    mean = vae.encode(x).mean.detach()
    with torch.inference_mode():
        assert_same(vae.decode(z), x)
        assert_same(vae.encode(x).mean, mean)
    assert vae.decode(z).requires_grad


# ---- tiles


@pytest.mark.parametrize("length", [*range(1, 300), 1024])
def test_tiles_cover_a_side_with_overlaps(length):
    found = tiles(length)
    assert found[0][0] == 0 and found[-1][1] == length
    assert len({end - start for start, end in found}) == 1 and found[0][1] <= TILE
    assert all(end - start >= OVERLAP for (_, end), (start, _) in zip(found, found[1:]))


def test_a_tile_fades_within_its_overlap():
    weight = fading(12, 10, 4)
    assert weight.shape == (12, 10) and weight.max() == 1 and weight.min() > 0
    assert torch.equal(weight, weight.flip(0)) and torch.equal(weight, weight.flip(1))
    assert weight[5, :4].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert torch.allclose(weight[5, -4:] + weight[5, :4], torch.ones(4))


class Pointwise(nn.Module):
    """A decoder that sees nothing beside a latent: of it, tiles must leave no trace."""

    def forward(self, z):
        return F.interpolate(z[:, :3], scale_factor=8.0, mode="nearest")


@torch.no_grad()
@pytest.mark.parametrize("size", [(40, 41), (41, 40), (64, 100), (73, 4)])
def test_tiles_of_a_decoder_that_sees_one_latent_leave_no_seam(size):
    vae, z = small_pipeline().vae, rand(2, 4, *size)
    vae.decoder = Pointwise()
    whole = vae.decode(z)
    assert_same(vae.tiled_decode(z), whole, 1e-6)
    vae.enable_tiling()
    assert_same(vae.decode(z), whole, 1e-6)


@torch.no_grad()
def test_tiling_is_off_by_default_and_leaves_small_latents_whole():
    vae, small, large = small_pipeline().vae, rand(1, 4, TILE, TILE), rand(1, 4, TILE + 1, TILE)
    whole = vae.decode(small), vae.decode(large)
    vae.enable_tiling()
    assert torch.equal(vae.decode(small), whole[0])
    assert not torch.equal(vae.decode(large), whole[1])
    vae.enable_tiling(False)
    assert torch.equal(vae.decode(large), whole[1])


@torch.no_grad()
def test_tiles_of_tiny_are_near_the_whole():
    """A bound on the measured difference: benchmarks/decode.md has the figures."""
    vae: AutoencoderKL = StableDiffusion.from_pretrained("tiny", "cpu").vae
    grid = torch.linspace(-1, 1, 512)
    x = torch.stack([grid.expand(512, 512), grid[:, None].expand(512, 512), 0 * grid.expand(512, 512)])[None]
    z = vae.encode(x).mean
    difference = (vae.tiled_decode(z) - vae.decode(z)).abs() / 2
    assert difference.mean() < 0.05  # of smooth ramps; scenes differ less


def test_tiled_decoding_has_gradients():
    vae = small_pipeline().vae
    z = rand(1, 4, TILE + 4, 8).requires_grad_()
    vae.tiled_decode(z).square().sum().backward()
    assert z.grad.isfinite().all() and z.grad.abs().amin(dim=(0, 1)).max() > 0
