"""Chapter 9: CLIP."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from minisd.clip import CLIP, Layer, contrastive_loss, quick_gelu
from minisd.config import TextConfig

from . import equation

TEXT = {
    "vocab_size": 20,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 9,
}
IMAGE = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}


def scores(n=5, m=None, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, m or n, generator=rng, dtype=torch.double)


def softmax(s, axis):
    e = np.exp(s - s.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def known_world(seed=0, pictures=4, captions=6):
    """p(x, y) of a world with a few pictures and captions, and the ratio r."""
    joint = np.random.default_rng(seed).gamma(0.5, size=(pictures, captions)) + 0.01
    joint /= joint.sum()
    return joint, joint / joint.sum(1, keepdims=True) / joint.sum(0, keepdims=True)


@equation("9.1", "scores")
def test_scores():
    def claim(u, w, tau):
        return u @ w.T / tau

    torch.manual_seed(0)
    model = CLIP({"text_config": TEXT, "vision_config": IMAGE, "projection_dim": 6})
    ids, images = torch.randint(20, (5, 7)), torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        hidden = model.text_model(ids)[torch.arange(5), ids.argmax(1)]
        f, g = model.visual_projection(model.vision_model(images)), model.text_projection(hidden)
        u, w = f / f.norm(dim=1, keepdim=True), g / g.norm(dim=1, keepdim=True)
        assert (claim(u, w, 0.07) - model(ids, images)).abs().max() < 1e-3
        model.logit_scale.fill_(-math.log(0.2))
        assert (claim(u, w, 0.2) - model(ids, images)).abs().max() < 1e-5


@equation("9.2", "belief")
def test_belief():
    def claim(s):
        return np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)

    s = scores()
    assert abs(claim(s.numpy()) - F.softmax(s, dim=1).numpy()).max() < 1e-12


@equation("9.3", "contrastive-loss")
def test_contrastive_loss():
    def claim(rows, columns):
        n = len(rows)
        return (-np.log(np.diag(rows)) - np.log(np.diag(columns))).sum() / (2 * n)

    for n in (1, 5, 8):
        s = scores(n)
        known = float(contrastive_loss(s))
        assert abs(claim(softmax(s.numpy(), 1), softmax(s.numpy(), 0)) - known) < 1e-12
    assert abs(claim(np.full((64, 64), 1 / 64), np.full((64, 64), 1 / 64)) - math.log(64)) < 1e-12


@equation("9.4", "push-and-pull")
def test_push_and_pull():
    def claim(rows, columns):
        n = len(rows)
        return (rows + columns - 2 * np.eye(n)) / (2 * n)

    s = scores()
    ours = claim(softmax(s.numpy(), 1), softmax(s.numpy(), 0))
    for i, j in ((0, 0), (1, 3), (4, 2)):
        step = torch.zeros_like(s)
        step[i, j] = 1e-5
        slope = (contrastive_loss(s + step) - contrastive_loss(s - step)) / 2e-5
        assert abs(ours[i, j] - float(slope)) < 1e-8


@equation("9.5", "ratio")
def test_ratio():
    def claim(joint, px, py):
        return joint / (px * py), joint / px / py

    joint, _ = known_world()
    draws = np.random.default_rng(1).choice(24, p=joint.ravel(), size=400_000)
    x, y = draws // 6, draws % 6
    left, right = claim(joint, joint.sum(1, keepdims=True), joint.sum(0, keepdims=True))
    for i, j in ((0, 0), (2, 3), (3, 5)):
        counted = (y[x == i] == j).mean() / (y == j).mean()  # p(y | x) over p(y), by counting
        assert abs(left[i, j] - counted) < 0.05 * counted + 0.01
        assert abs(right[i, j] - counted) < 0.05 * counted + 0.01


@equation("9.6", "mutual-information")
def test_mutual_information():
    def claim(joint, r):
        return (joint * np.log(r)).sum()

    joint, r = known_world()

    def entropy(p):
        return -sum(q * math.log(q) for q in p.ravel())

    known = entropy(joint.sum(1)) + entropy(joint.sum(0)) - entropy(joint)
    assert abs(claim(joint, r) - known) < 1e-12 and known > 0.05
    independent = np.outer(joint.sum(1), joint.sum(0))
    assert abs(claim(independent, np.ones_like(r))) < 1e-12


def games(joint, n, number, seed):
    """x, captions (number, n), and the random place of the right one."""
    rng = np.random.default_rng(seed)
    pairs = rng.choice(joint.size, p=joint.ravel(), size=number)
    y = rng.choice(joint.shape[1], p=joint.sum(0), size=(number, n))
    place = rng.integers(n, size=number)
    y[np.arange(number), place] = pairs % joint.shape[1]
    return pairs // joint.shape[1], y, place


@equation("9.7", "best-belief")
def test_best_belief():
    def claim(r):  # r of the captions on the table, (games, captions)
        return r / r.sum(axis=1, keepdims=True)

    joint, r = known_world()
    x, y, place = games(joint, 3, 600_000, seed=1)
    for picture, table in ((0, (0, 1, 2)), (1, (3, 3, 5)), (2, (4, 0, 2))):
        same = (x == picture) & (y == table).all(axis=1)
        counted = np.bincount(place[same], minlength=3) / same.sum()
        told = claim(r[[picture]][:, list(table)])[0]
        assert abs(told - counted).max() < 5 * 0.5 / same.sum() ** 0.5


@equation("9.8", "best-loss")
def test_best_loss():
    def claim(n, information, last):
        return math.log(n) - information + last

    joint, r = known_world()
    information = (joint * np.log(r)).sum()
    for n in (2, 5, 30):
        x, y, place = games(joint, n, 400_000 // n, seed=n)
        on_table = r[x[:, None], y]
        loss = -np.log(on_table[np.arange(len(x)), place] / on_table.sum(1))
        last = np.log(on_table.mean(1))
        noise = 6 * (loss.std() + last.std()) / len(x) ** 0.5
        assert abs(claim(n, information, last.mean()) - loss.mean()) < noise
        assert last.mean() > -noise / 2  # it is a divergence


@equation("9.9", "bound")
def test_bound():
    def claim(n, loss):
        return math.log(n) - loss

    joint, r = known_world()
    information = (joint * np.log(r)).sum()
    rng = np.random.default_rng(5)
    for player in (np.log(r), 0.5 * np.log(r), np.log(r) + rng.standard_normal(r.shape)):
        for n in (2, 16, 200):
            x, y, place = games(joint, n, 300_000 // n, seed=n)
            s = player[x[:, None], y]
            loss = np.log(np.exp(s).sum(1)) - s[np.arange(len(x)), place]
            assert claim(n, loss.mean()) <= information + 5 * loss.std() / len(x) ** 0.5
    x, y, place = games(joint, 2000, 3000, seed=1)  # and with many captions the best player reaches it
    s = np.log(r)[x[:, None], y]
    loss = np.log(np.exp(s).sum(1)) - s[np.arange(len(x)), place]
    assert abs(claim(2000, loss.mean()) - information) < 0.05


@equation("9.10", "floor")
def test_floor():
    def claim(n, tau):
        return math.log(1 + (n - 1) * math.exp(-2 / tau))

    for n, tau in ((64, 1.0), (8, 0.5), (512, 0.07)):
        s = (2 * torch.eye(n, dtype=torch.double) - 1) / tau
        assert abs(claim(n, tau) - float(contrastive_loss(s))) < 1e-9
        rng = torch.Generator().manual_seed(n)
        u, w = (F.normalize(torch.randn(n, 3, generator=rng).double(), dim=1) for _ in range(2))
        assert float(contrastive_loss(u @ w.T / tau)) > claim(n, tau)
        assert float(contrastive_loss(u @ u.T / tau)) > claim(n, tau)


@equation("9.11", "temperature-gradient")
def test_temperature_gradient():
    def claim(s, rows, columns):
        expected = 0.5 * (rows * s).sum(1) + 0.5 * (columns * s).sum(0)
        return (expected - np.diag(s)).mean()

    cosines = torch.tanh(scores())
    for a in (-0.5, 1.0, 3.0):
        s = (math.exp(a) * cosines).numpy()
        slope = (
            contrastive_loss(math.exp(a + 1e-5) * cosines) - contrastive_loss(math.exp(a - 1e-5) * cosines)
        ) / 2e-5
        assert abs(claim(s, softmax(s, 1), softmax(s, 0)) - float(slope)) < 1e-6


@equation("9.12", "layer")
def test_layer():
    def claim(h, attention, mlp, norm1, norm2):
        half = h + attention(norm1(h))
        return half + mlp(norm2(half))

    torch.manual_seed(0)
    layer = Layer(TextConfig.from_dict(TEXT))
    h = torch.randn(2, 5, 8)
    with torch.no_grad():
        ours = claim(h, lambda x: layer.self_attn(x, True), layer.mlp, layer.layer_norm1, layer.layer_norm2)
        assert (ours - layer(h, True)).abs().max() < 1e-6


@equation("9.13", "layer-norm")
def test_layer_norm():
    def claim(h, gamma, beta):
        mu, sigma = h.mean(axis=1, keepdims=True), h.std(axis=1, keepdims=True)
        return gamma * (h - mu) / np.sqrt(sigma**2 + 1e-5) + beta

    rng = np.random.default_rng(0)
    for size in (1.0, 0.003):
        h, (gamma, beta) = size * rng.standard_normal((4, 8)) + 0.5, rng.standard_normal((2, 8))
        known = F.layer_norm(torch.from_numpy(h), (8,))
        known = known.numpy() * gamma + beta
        assert abs(claim(h, gamma, beta) - known).max() < 1e-9


@equation("9.14", "quick-gelu")
def test_quick_gelu():
    def claim(x):
        return x * (1 / (1 + np.exp(-1.702 * x)))

    x = torch.linspace(-6, 6, 201, dtype=torch.double)
    assert abs(claim(x.numpy()) - quick_gelu(x).numpy()).max() < 1e-12
    gelu = x * 0.5 * (1 + torch.erf(x / 2**0.5))  # what it approximates: x times the normal share below x
    assert abs(claim(x.numpy()) - gelu.numpy()).max() < 0.021


@equation("9.15", "hard-negatives")
def test_hard_negatives():
    def claim(s, n):
        e = np.exp(s)
        return e / (e[:, :n].sum(axis=1, keepdims=True) + e[:, n:].sum(axis=1, keepdims=True))

    for n, m in ((4, 9), (3, 3), (2, 7)):
        s = scores(n, m, seed=m)
        rows = -np.log(np.diag(claim(s.numpy(), n)[:, :n])).mean()
        columns = -np.log(np.diag(softmax(s.numpy()[:, :n], 0))).mean()
        assert abs((rows + columns) / 2 - float(contrastive_loss(s))) < 1e-12
