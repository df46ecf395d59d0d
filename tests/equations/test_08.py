"""Chapter 8: attention."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from minisd.attention import Attention, attend

from . import equation

N = 200_000


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def by_rows(scores):
    return scores.softmax(dim=-1)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


@equation("8.1", "weighted-average")
def test_weighted_average():
    def claim(weights, values):
        return sum(w * v for w, v in zip(weights, values)), (weights >= 0).all(), sum(w for w in weights)

    # The average of many draws, each value drawn as often as its weight says.
    weights = torch.tensor([0.1, 0.6, 0.3], dtype=torch.float64)
    values = torch.tensor([[2.0, 0.5], [-1.0, 0.0], [0.3, 4.0]], dtype=torch.float64)
    output, not_negative, total = claim(weights, values)
    chosen = torch.multinomial(weights, N, replacement=True, generator=rng())
    assert not_negative and abs(total - 1) < 1e-12
    assert (output - values[chosen].mean(dim=0)).abs().max() < 0.03


@equation("8.2", "score")
def test_score():
    def claim(q, k):
        return sum(a * b for a, b in zip(q, k))

    q, k = np.random.default_rng(0).standard_normal((2, 6))
    angle = math.acos(q @ k / np.linalg.norm(q) / np.linalg.norm(k))
    assert abs(claim(q, k) - np.linalg.norm(q) * np.linalg.norm(k) * math.cos(angle)) < 1e-9
    assert claim(q, k) > claim(q, k - q)  # less like the query


@equation("8.3", "softmax")
def test_softmax():
    def claim(s, tau):
        return np.exp(s / tau) / np.exp(s / tau).sum()

    # Of all weights it is the one that makes the mean score plus tau times the entropy largest.
    s = np.array([1.3, 0.2, -0.7])
    steps = np.linspace(0.001, 0.998, 500)
    a, b = (grid.ravel() for grid in np.meshgrid(steps, steps))
    kept = a + b < 0.999
    w = np.stack([a, b, 1 - a - b])[:, kept]
    for tau in (0.5, 2.0):
        worth = s @ w - tau * (w * np.log(w)).sum(axis=0)
        assert abs(claim(s, tau) - w[:, worth.argmax()]).max() < 0.003


@equation("8.4", "odds")
def test_odds():
    def claim(s_i, s_j, tau):
        return math.exp((s_i - s_j) / tau)

    for seed in range(3):
        s, tau = drawn(5, seed=seed), 0.5 + seed
        w = (s / tau).softmax(dim=0)
        assert abs(w[1] / w[3] - claim(s[1], s[3], tau)) < 1e-9


@equation("8.5", "projections")
def test_projections():
    def claim(x, w_q, w_k, w_v):
        return torch.stack([x @ w_q, x @ w_k, x @ w_v])

    layer, x = Attention(8, heads=2).double(), drawn(5, 8)
    weights = [part.weight.T for part in (layer.to_q, layer.to_k, layer.to_v)]
    q, k, v = claim(x, *weights)
    with torch.no_grad():
        known = layer(x[None])[0]
        ours = layer.to_out[0](attend(q[None], k[None], v[None], 2))[0]
    assert (known - ours).abs().max() < 1e-12


@equation("8.6", "dot-variance")
def test_dot_variance():
    def claim(d):
        return d

    draws = np.random.default_rng(0)
    for d in (3, 50):
        for kind in (draws.standard_normal, lambda size: draws.choice([-1.0, 1.0], size)):
            products = (kind((20_000, d)) * kind((20_000, d))).sum(axis=1)
            assert abs(products.var() / claim(d) - 1) < 0.06 and abs(products.mean()) < 0.04 * d**0.5

    # With the variance 2/3 that a fresh layer gives to words + places, two thirds of the spread.
    x = torch.randn(4000, 64, generator=rng(2)) + torch.randn(4000, 64, generator=rng(3))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = Attention(64, heads=1)
    with torch.no_grad():
        q, k = fresh.to_q(x), fresh.to_k(x)
    assert abs(float(q.var()) - 2 / 3) < 0.05 and abs(float(k.var()) - 2 / 3) < 0.05
    assert abs(float((q @ k.T).std()) / 8 - 2 / 3) < 0.05


@equation("8.7", "softmax-slope")
def test_softmax_slope():
    def claim(w, i, j):
        return w[i] * (float(i == j) - w[j])

    s = drawn(4)
    known = torch.autograd.functional.jacobian(lambda x: x.softmax(dim=0), s)
    for i in range(4):
        for j in range(4):
            assert abs(claim(s.softmax(dim=0), i, j) - known[i, j]) < 1e-12


@equation("8.8", "attention")
def test_attention():
    def claim(q, k, v, d):
        return by_rows(q @ k.T / math.sqrt(d)) @ v

    for n, m, d in ((3, 5, 4), (6, 2, 16)):
        q, k, v = drawn(n, d), drawn(m, d, seed=1), drawn(m, d, seed=2)
        assert (claim(q, k, v, d) - F.scaled_dot_product_attention(q, k, v)).abs().max() < 1e-12


@equation("8.9", "heads-add")
def test_heads_add():
    def claim(weights, x, w_v, w_o):
        return sum(a @ x @ v @ o for a, v, o in zip(weights, w_v, w_o))

    layer, x = Attention(12, heads=3).double(), drawn(5, 12)
    layer.to_out[0].bias.data.zero_()
    with torch.no_grad():
        q, k = (part(x).view(5, 3, 4).transpose(0, 1) for part in (layer.to_q, layer.to_k))
        weights = (q @ k.transpose(1, 2) / 2).softmax(dim=-1)
        w_v, w_o = layer.to_v.weight.T.split(4, dim=1), layer.to_out[0].weight.T.split(4, dim=0)
        assert (claim(weights, x, w_v, w_o) - layer(x[None])[0]).abs().max() < 1e-12


@equation("8.10", "order")
def test_order():
    def claim(order, output):
        return order @ output

    layer, x = Attention(8, heads=2).double(), drawn(6, 8)
    order = torch.eye(6, dtype=torch.float64)[[3, 0, 5, 1, 4, 2]]
    with torch.no_grad():
        assert (layer((order @ x)[None])[0] - claim(order, layer(x[None])[0])).abs().max() < 1e-12


@equation("8.11", "four-parts")
def test_four_parts():
    def claim(e_i, p_i, e_j, p_j, w):
        return e_i @ w @ e_j + e_i @ w @ p_j + p_i @ w @ e_j + p_i @ w @ p_j

    e_i, p_i, e_j, p_j = drawn(4, 6)
    w_q, w_k = drawn(2, 6, 3, seed=1)
    known = ((e_i + p_i) @ w_q) @ ((e_j + p_j) @ w_k)
    assert abs(claim(e_i, p_i, e_j, p_j, w_q @ w_k.T) - known) < 1e-12


@equation("8.12", "mask")
def test_mask():
    def claim(scores, mask):
        return by_rows(scores + mask)

    scores = drawn(5, 5)
    mask = torch.full((5, 5), -math.inf, dtype=torch.float64).triu(1)
    weights = claim(scores, mask)
    for i in range(5):  # the softmax of the words that are left
        assert (weights[i, : i + 1] - scores[i, : i + 1].softmax(dim=0)).abs().max() < 1e-12
        assert (weights[i, i + 1 :] == 0).all()


@equation("8.13", "cost")
def test_cost():
    def claim(n, m, width, context):
        return 2 * n * width**2 + 2 * m * width * context + 2 * n * m * width

    for n, m, width, context in ((6, 6, 8, 8), (10, 3, 16, 5)):
        layer = Attention(width, context, heads=2)
        whole = sdpa_kernel(SDPBackend.MATH)  # the counter does not look into the fused kernel
        with FlopCounterMode(display=False) as counter, whole, torch.no_grad():
            layer(torch.randn(1, n, width), torch.randn(1, m, context))
        assert counter.get_total_flops() == 2 * claim(n, m, width, context)


@equation("8.14", "running-sums")
def test_running_sums():
    def claim(m, total, output, scores, values):
        new = max(m, scores.max())
        shrink, terms = np.exp(m - new), np.exp(scores - new)
        return new, shrink * total + terms.sum(), shrink * output + terms @ values

    draws = np.random.default_rng(0)
    scores, values = draws.standard_normal(12), draws.standard_normal((12, 3))
    for size in (2, 4, 12):
        m, total, output = -np.inf, 0.0, np.zeros(3)
        for start in range(0, 12, size):
            part = slice(start, start + size)
            m, total, output = claim(m, total, output, scores[part], values[part])
        assert m == scores.max() and abs(total - np.exp(scores - scores.max()).sum()) < 1e-12
        weights = np.exp(scores) / np.exp(scores).sum()
        assert abs(output / total - weights @ values).max() < 1e-12
