"""The weights of every cross-attention, watched while the network answers as if nobody did."""

import pytest
import torch

from minisd.attention import Attention, attend, attention_weights, watch_words
from small import randomise, small_pipeline


@pytest.fixture
def unet():
    return randomise(small_pipeline().unet)


def inputs(unet, tokens=6, height=8, width=12):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, unet.config.in_channels, height, width, generator=generator)
    return z, 10, torch.randn(2, tokens, unet.config.cross_attention_dim, generator=generator)


def test_the_network_answers_as_if_nobody_watched(unet):
    given = inputs(unet)
    with torch.no_grad():
        alone = unet(*given)
        with watch_words(unet):
            watched = unet(*given)
    assert torch.equal(alone, watched)


def test_every_cross_attention_is_seen_once_a_call_in_the_shape_of_its_picture(unet):
    names = [name for name, part in unet.named_modules() if type(part).__name__ == "PictureTransformer"]
    with torch.no_grad(), watch_words(unet) as seen:
        unet(*inputs(unet))
        unet(*inputs(unet))
    assert list(seen) == names and all(len(weights) == 2 for weights in seen.values())
    for name, weights in seen.items():
        attention = unet.get_submodule(name).transformer_blocks[0].attn2
        batch, heads, height, width, tokens = weights[0].shape
        assert (batch, heads, tokens) == (2, attention.heads, 6) and height * 12 == width * 8
        assert not weights[0].requires_grad and torch.equal(weights[0], weights[1])
        assert (weights[0].sum(dim=-1) - 1).abs().max() < 1e-5


def test_the_weights_are_those_that_the_attention_uses():
    torch.manual_seed(0)
    attention = Attention(12, 5, heads=3)
    x, context = torch.randn(2, 7, 12), torch.randn(2, 4, 5)
    q, k, v = attention.to_q(x), attention.to_k(context), attention.to_v(context)
    weights = attention_weights(q, k, 3)
    by_hand = torch.cat([w @ v for w, v in zip(weights.unbind(1), v.chunk(3, dim=-1), strict=True)], dim=-1)
    assert weights.shape == (2, 3, 7, 4)
    assert (by_hand - attend(q, k, v, 3)).abs().max() < 1e-5


def test_nothing_is_left_behind_even_after_an_error(unet):
    with pytest.raises(RuntimeError, match="enough"), watch_words(unet) as seen:
        raise RuntimeError("enough")
    with torch.no_grad():
        unet(*inputs(unet))
    assert not any(seen.values())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in unet.modules())


def test_places_are_laid_out_row_by_row(unet):
    """A picture whose left half differs has maps whose left half does."""
    name = "mid_block.attentions.0"
    part = unet.get_submodule(name)
    x = torch.zeros(1, part.norm.num_channels, 4, 6)
    x[..., :3] = torch.randn(x.shape[1], generator=torch.Generator().manual_seed(1))[:, None, None]
    context = torch.randn(1, 5, unet.config.cross_attention_dim, generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), watch_words(unet) as seen:
        part(x, context)
    (weights,) = seen[name]
    assert torch.allclose(weights[..., :3, :], weights[..., :1, :].expand_as(weights[..., :3, :]), atol=1e-6)
    assert (weights[..., 0, :] - weights[..., 5, :]).abs().max() > 1e-3
