"""Attention, and the transformer block that lets every place of a picture read the words.

Shapes: x (batch, tokens, width); a picture is (batch, channels, height, width) and becomes
(batch, height * width, channels) on the way in, its places being the tokens.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .linear import Linear


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, causal: bool = False) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V in each head, d = width / heads (Vaswani et al. 2017, section 3.2.2).

    q (batch, tokens, width), k and v (batch, other tokens, width) -> q's shape. `causal` lets every token see
    only itself and those before it.
    """
    q, k, v = (rearrange(x, "b n (h d) -> b h n d", h=heads) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)  # divides by sqrt(d) itself
    return rearrange(out, "b h n d -> b n (h d)")


def attention_weights(q: Tensor, k: Tensor, heads: int) -> Tensor:
    """softmax(Q K^T / sqrt(d)): the weights that `attend` uses and does not show.

    q (batch, tokens, width), k (batch, other tokens, width) -> (batch, heads, tokens, other tokens).
    """
    q, k = (rearrange(x, "b n (h d) -> b h n d", h=heads) for x in (q, k))
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V over several heads (Vaswani et al. 2017, eq. 1).

    Queries come from `x`, keys and values from `context`; without a context, `x` attends to itself.
    """

    def __init__(self, query_dim: int, context_dim: int | None = None, heads: int = 8, bias: bool = False):
        super().__init__()
        if query_dim % heads:
            raise ValueError(f"{heads} attention heads can't share a width of {query_dim} evenly")
        context_dim, self.heads = context_dim or query_dim, heads
        self.to_q = Linear(query_dim, query_dim, bias=bias)
        self.to_k = Linear(context_dim, query_dim, bias=bias)
        self.to_v = Linear(context_dim, query_dim, bias=bias)
        self.to_out = nn.ModuleList([Linear(query_dim, query_dim)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        return self.to_out[0](attend(self.to_q(x), self.to_k(context), self.to_v(context), self.heads))


class PictureAttention(Attention):
    """Self-attention among the places of a picture, with its norm and residual: the VAE's middle block.

    One head as wide as the picture has channels, all four projections with bias.
    """

    def __init__(self, channels: int, norm_num_groups: int, eps: float = 1e-6):
        super().__init__(channels, heads=1, bias=True)
        self.group_norm = nn.GroupNorm(norm_num_groups, channels, eps=eps)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        height = x.shape[2]
        tokens = rearrange(self.group_norm(x), "b c h w -> b (h w) c")
        return x + rearrange(super().forward(tokens, context), "b (h w) c -> b c h w", h=height)


class GEGLU(nn.Module):
    """value * GELU(gate), both from one linear layer, value first (Shazeer 2020, eq. 5: gate first)."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.proj = Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """GEGLU, four times as wide, and a linear layer back (Shazeer 2020, eq. 6, there without biases)."""

    def __init__(self, width: int):
        super().__init__()
        self.net = nn.Sequential(GEGLU(width, 4 * width), nn.Identity(), Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the words, feed-forward; each after a LayerNorm, each added."""

    def __init__(self, width: int, context_dim: int, heads: int):
        super().__init__()
        self.norm1, self.attn1 = nn.LayerNorm(width), Attention(width, heads=heads)
        self.norm2, self.attn2 = nn.LayerNorm(width), Attention(width, context_dim, heads=heads)
        self.norm3, self.ff = nn.LayerNorm(width), FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class PictureTransformer(nn.Module):
    """A transformer block among the places of a picture, inside the U-Net (Rombach et al. 2022, app. E.2.1).

    (batch, channels, height, width) and context (batch, tokens, context_dim) -> the picture's shape.
    Its GroupNorm has eps 1e-6 although the rest of the U-Net has 1e-5.
    """

    def __init__(self, channels: int, context_dim: int, heads: int, norm_num_groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, context_dim, heads)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        height = x.shape[2]
        tokens = rearrange(self.proj_in(self.norm(x)), "b c h w -> b (h w) c")
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return x + self.proj_out(rearrange(tokens, "b (h w) c -> b c h w", h=height))


@contextmanager
def watch_words(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Keep the weights of every cross-attention that runs inside the `with`: who reads which word.

        with watch_words(pipe.unet) as seen:
            pipe("a red house")
        seen["mid_block.attentions.0"][3]  # the middle's weights in the network's fourth call

    Yields a dictionary from the name of each PictureTransformer (see `named_modules`), in the order in which
    they are built, to a list of one tensor a call, (batch, heads, height, width, tokens): at each place of
    the picture each head's weights add up to 1 over the tokens. With guidance, the first half of the batch
    reads the negative prompts. A PictureTransformer of several blocks adds one tensor for each.

    The network answers exactly as if nobody watched: its attention stays fused, and never holds its weights;
    they are computed beside it, from the same queries and keys. That takes time, and the lists take memory:
    empty them between steps (`seen[name].clear()`) where they grow too long.
    """
    seen: dict[str, list[Tensor]] = {}
    with ExitStack() as hooks:
        for name, part in network.named_modules():
            if isinstance(part, PictureTransformer):
                seen[name] = []
                for handle in _watch(part, seen[name]):
                    hooks.callback(handle.remove)
        yield seen


def _watch(part: PictureTransformer, weights: list[Tensor]) -> list[RemovableHandle]:
    """Hooks that add the weights of each cross-attention of `part` to the list."""
    size: list[int] = []

    def enter(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        size[:] = inputs[0].shape[2:]

    def leave(attention: Attention, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        with torch.no_grad():
            x, context = inputs
            found = attention_weights(attention.to_q(x), attention.to_k(context), attention.heads)
            weights.append(rearrange(found, "b heads (h w) m -> b heads h w m", h=size[0]))

    blocks = [block for block in part.transformer_blocks if isinstance(block, TransformerBlock)]
    return [
        part.register_forward_pre_hook(enter),
        *(block.attn2.register_forward_hook(leave) for block in blocks),
    ]
