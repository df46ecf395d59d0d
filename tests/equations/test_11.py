"""Chapter 11: words into pictures."""

import math

import torch
from torch import nn

from minisd.attention import (
    GEGLU,
    Attention,
    PictureTransformer,
    TransformerBlock,
    attention_weights,
    watch_words,
)

from . import equation


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def randomised(net, seed=0):
    """In double precision, every parameter random, norms and biases too."""
    net = net.double().requires_grad_(False)
    for i, parameter in enumerate(net.parameters()):
        parameter.copy_(drawn(*parameter.shape, seed=seed + i) / parameter.shape[-1] ** 0.5)
    return net


def places_read(network, x, context):
    """The weights that the picture transformer in `network` used: (1, heads, rows, columns, words)."""
    with watch_words(network) as seen:
        network[0](x, context)
    return seen["0"][0]


@equation("11.1", "flatten")
def test_flatten():
    def claim(row, column, w):
        return w * row + column

    # A word whose map is dark at one place: flattened, the place has the number that the formula says.
    network = nn.Sequential(randomised(PictureTransformer(6, 4, 1, 2)))
    block = network[0].transformer_blocks[0]
    caught = []
    hook = block.register_forward_pre_hook(lambda net, given: caught.append(given[0]))
    x = drawn(1, 6, 3, 5)
    network[0](x, drawn(1, 2, 4))
    hook.remove()
    mixed = network[0].proj_in(network[0].norm(x))
    for row in range(3):
        for column in range(5):
            assert torch.equal(caught[0][0, claim(row, column, 5)], mixed[0, :, row, column])


@equation("11.2", "cross-weights")
def test_cross_weights():
    def claim(h_i, c, w_q, w_k, d):
        scores = [((h_i @ w_q) @ (c_j @ w_k)) / math.sqrt(d) for c_j in c]
        return torch.stack([math.e**s / sum(math.e**r for r in scores) for s in scores])

    attention = randomised(Attention(6, 4, heads=1))
    h, c = drawn(1, 5, 6, seed=20), drawn(1, 3, 4, seed=21)
    used = attention_weights(attention.to_q(h), attention.to_k(c), 1)[0, 0]
    for i in range(5):
        ours = claim(h[0, i], c[0], attention.to_q.weight.T, attention.to_k.weight.T, 6)
        assert (used[i] - ours).abs().max() < 1e-12


@equation("11.3", "cross-answer")
def test_cross_answer():
    def claim(weights, c, w_v, w_o, bias):
        return sum(a * (c_j @ w_v) for a, c_j in zip(weights, c)) @ w_o + bias

    attention = randomised(Attention(6, 4, heads=1))
    h, c = drawn(1, 5, 6, seed=20), drawn(1, 3, 4, seed=21)
    table = attention_weights(attention.to_q(h), attention.to_k(c), 1)[0, 0]
    out = attention.to_out[0]
    for i in range(5):
        ours = claim(table[i], c[0], attention.to_v.weight.T, out.weight.T, out.bias)
        assert (attention(h, c)[0, i] - ours).abs().max() < 1e-12


@equation("11.4", "one-word")
def test_one_word():
    def claim(c_1, w_v, w_o, bias):
        return c_1 @ w_v @ w_o + bias

    attention = randomised(Attention(6, 4, heads=3))  # with several heads, too
    h, c = drawn(1, 5, 6, seed=20), drawn(1, 1, 4, seed=21)
    out = attention.to_out[0]
    same = claim(c[0, 0], attention.to_v.weight.T, out.weight.T, out.bias)
    assert (attention(h, c)[0] - same).abs().max() < 1e-12


@equation("11.5", "block")
def test_block():
    def claim(h, c, block):
        h = h + block.attn1(block.norm1(h))
        h = h + block.attn2(block.norm2(h), c)
        return h + block.ff(block.norm3(h))

    # Every part, silenced alone, leaves what the other two make; all silenced, the table passes unchanged.
    block = randomised(TransformerBlock(6, 4, 2))
    h, c = drawn(1, 5, 6, seed=40), drawn(1, 3, 4, seed=41)
    assert (block(h, c) - claim(h, c, block)).abs().max() < 1e-12
    for last in (block.attn1.to_out[0], block.attn2.to_out[0], block.ff.net[2]):
        last.weight.zero_()
        last.bias.zero_()
    assert torch.equal(claim(h, c, block), h) and torch.equal(block(h, c), h)


@equation("11.6", "geglu")
def test_geglu():
    def claim(h, w_b, bias_b, w_g, bias_g):
        b, g = h @ w_b + bias_b, h @ w_g + bias_g
        return b * nn.functional.gelu(g)

    layer = randomised(GEGLU(6, 8))
    h = drawn(5, 6, seed=9)
    (w_b, w_g), (bias_b, bias_g) = layer.proj.weight.T.chunk(2, dim=1), layer.proj.bias.chunk(2)
    assert (layer(h) - claim(h, w_b, bias_b, w_g, bias_g)).abs().max() < 1e-12


@equation("11.7", "gelu")
def test_gelu():
    def claim(g, below):
        return g * below

    # The share of standard normal numbers below g, counted.
    normal = torch.randn(400_000, generator=rng())
    for g in (-1.5, -0.3, 0.4, 2.0):
        below = float((normal < g).double().mean())
        exact = float(nn.functional.gelu(torch.tensor(g, dtype=torch.float64)))
        assert abs(claim(g, below) - exact) < 0.004


@equation("11.8", "block-parameters")
def test_block_parameters():
    def claim(D, D_c):
        return 18 * D**2 + 2 * D * D_c + 17 * D

    for D, D_c in ((8, 5), (12, 12), (320, 768)):
        assert sum(p.numel() for p in TransformerBlock(D, D_c, 4).parameters()) == claim(D, D_c)


@equation("11.9", "picture-parameters")
def test_picture_parameters():
    def claim(D, D_c):
        return 20 * D**2 + 2 * D * D_c + 21 * D

    for D, D_c in ((8, 5), (12, 12), (320, 768)):
        assert sum(p.numel() for p in PictureTransformer(D, D_c, 4, 4).parameters()) == claim(D, D_c)


@equation("11.10", "map")
def test_map():
    def claim(tables):
        return 1 / len(tables) * sum(tables)

    network = nn.Sequential(randomised(PictureTransformer(6, 4, 3, 2)))
    tables = places_read(network, drawn(1, 6, 3, 5), drawn(1, 7, 4, seed=1))[0]
    maps = claim([*tables])
    assert (maps - tables.mean(dim=0)).abs().max() < 1e-12
    assert (maps.sum(dim=-1) - 1).abs().max() < 1e-12  # over the words, at every place


@equation("11.11", "centre")
def test_centre():
    def claim(columns, weights):
        return sum(c * b for c, b in zip(columns, weights)) / sum(weights)

    # It is the column about which the map is in balance, whatever the map's scale.
    weights = torch.rand(4, 6, generator=rng(), dtype=torch.float64)
    columns = torch.arange(6.0, dtype=torch.float64).expand(4, 6)
    centre = claim(columns.flatten(), 3 * weights.flatten())
    assert abs(((columns - centre) * weights).sum()) < 1e-12


@equation("11.12", "mixed-context")
def test_mixed_context():
    def claim(swapped, mine, other):
        return other if swapped else mine

    # A hook before a layer: with it the layer answers as to the other context, without it as to its own.
    layer = randomised(PictureTransformer(6, 4, 2, 2))
    x, mine, other = drawn(1, 6, 3, 3), drawn(1, 4, 4, seed=1), drawn(1, 4, 4, seed=2)
    expected = {swapped: layer(x, claim(swapped, mine, other)) for swapped in (True, False)}
    hook = layer.register_forward_pre_hook(lambda net, given: (given[0], other))
    with_hook = layer(x, mine)
    hook.remove()
    assert torch.equal(with_hook, expected[True]) and torch.equal(layer(x, mine), expected[False])


@equation("11.13", "keys-values")
def test_keys_values():
    def claim(weights, c, w_v, w_o, bias):
        return sum(a * (c_j @ w_v) for a, c_j in zip(weights, c)) @ w_o + bias

    attention = randomised(Attention(6, 4, heads=1))
    h, c, other = drawn(1, 5, 6, seed=20), drawn(1, 3, 4, seed=21), drawn(1, 3, 4, seed=22)
    hook = attention.to_k.register_forward_pre_hook(lambda net, given: (other,))
    answer = attention(h, c)[0]
    hook.remove()
    table, out = attention_weights(attention.to_q(h), attention.to_k(other), 1)[0, 0], attention.to_out[0]
    for i in range(5):
        ours = claim(table[i], c[0], attention.to_v.weight.T, out.weight.T, out.bias)
        assert (answer[i] - ours).abs().max() < 1e-12
