"""What a chapter builds (book.toml) is what minisd has: the notebook's definitions against the package."""

import inspect
import json
from contextlib import nullcontext

import pytest
import torch

from agreement import COMPARATORS, agree_as_tokenizers, definitions, theirs_of
from minisd.teaching.book import ROOT, load_book
from minisd.tokenizer import BPE
from test_book import resolve

BUILDS = [
    (chapter.file, name)
    for chapter in load_book().chapters
    for name in chapter.builds
    if (ROOT / chapter.file).is_file()
]


@pytest.mark.parametrize(("file", "name"), BUILDS)
def test_the_notebook_and_the_package_agree(file, name):
    assert name in COMPARATORS, f"{name} is built by {file}: write how to compare it in tests/agreement.py"
    theirs, ours = theirs_of(name, ROOT / file), resolve(name)
    assert theirs is not ours, f"{file} imports {name}: it should build it"
    COMPARATORS[name](theirs, ours, name.split(".")[-1])


def test_every_comparator_is_for_something_that_minisd_has():
    for name in COMPARATORS:
        resolve(name)


# ---- the machinery itself


@pytest.fixture
def notebook(tmp_path):
    """Writes a notebook of code cells."""

    def write(*sources):
        path = tmp_path / "01_noise.ipynb"
        cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
        path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
        return path

    return write


def test_only_what_is_needed_is_run_and_the_last_definition_wins(notebook):
    path = notebook(
        "import math\nSCALE = 2\nrate = SCALE * 3\nslow = 1 / 0",
        "%matplotlib inline\ndef f(x):\n    return 0",
        "def helper(x):\n    return rate * x\nslow = helper(1 / 0)\nfor i in range(3):\n    1 / 0",
        "def f(x):\n    return math.sqrt(helper(x))",
        "class A:\n    def g(self):\n        return 1\n",
        "def g(self):\n    return f(6)\nA.g = g",
    )
    found = definitions(path, ["f"])
    assert found["f"](6) == 6 and "slow" not in found and "A" not in found
    assert definitions(path, ["A"])["A"]().g() == 6
    with pytest.raises(AssertionError, match="defines no nothing"):
        definitions(path, ["nothing"])


SCHEDULE = """
import torch
from dataclasses import dataclass

@dataclass
class NoiseSchedule:
    betas: torch.Tensor

    @classmethod
    def scaled_linear(cls, beta_start=0.00085, beta_end=0.012, steps=1000):
        return cls(torch.linspace(beta_start**0.5, beta_end**0.5, steps) ** 2)

    @classmethod
    def linear(cls, beta_start=0.0001, beta_end=0.02, steps=1000):
        return cls(torch.linspace(beta_start, beta_end, steps))

    @property
    def alphas(self):
        return 1 - self.betas

    @property
    def alphas_cumprod(self):
        return self.alphas.cumprod(0)

    def add_noise(self, x0, noise, t):
        ab = self.alphas_cumprod[t].to(x0.dtype).reshape(-1, *[1] * (x0.ndim - 1))
        return ab.sqrt() * x0 + (1 - ab).sqrt() * noise
"""
POSTERIOR = """
def posterior(x0, x_t, t, alphas_cumprod):
    ab, ab_prev = float(alphas_cumprod[t]), float(alphas_cumprod[t - 1]) if t > 0 else 1.0
    beta = 1 - ab / ab_prev
    mean = (ab_prev**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - ab_prev) * x_t) / (1 - ab)
    return mean, beta * (1 - ab_prev) / (1 - ab)
"""


def compared(name, path):
    COMPARATORS[name](theirs_of(name, path), resolve(name), name)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "", None),
        ("0.00085", "0.0085", "off by"),
        ("** 2)", "** 2 + 1e-4)", "off by"),
        ("steps))", "steps).double())", "torch.float64"),
        ("(1 - ab).sqrt()", "(1 - ab)", "add_noise: off by"),
        ("[t].to(x0.dtype)", "[t].double()", "torch.float64"),
        ("def linear", "def other", "has no linear"),
        ("class NoiseSchedule", "class Schedule", "defines no NoiseSchedule"),
    ],
)
def test_a_schedule_that_differs_is_noticed(notebook, old, new, words):
    path = notebook(SCHEDULE.replace(old, new))
    with nullcontext() if words is None else pytest.raises(AssertionError, match=words):
        compared("minisd.schedule.NoiseSchedule", path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("1 - ab / ab_prev", "1 - ab"),
        ("if t > 0", "if t > 1"),
        (", beta * (1 - ab_prev) / (1 - ab)", ", beta"),
    ],
)
def test_a_posterior_that_differs_is_noticed(notebook, old, new):
    name, path = "minisd.schedule.NoiseSchedule.posterior", notebook(POSTERIOR.replace(old, new))
    errors = (AssertionError, IndexError, ZeroDivisionError)
    with nullcontext() if old == new else pytest.raises(errors):
        compared(name, path)


def test_a_posterior_may_be_a_method(notebook):
    method = POSTERIOR.replace("(x0, x_t, t, alphas_cumprod)", "(self, x0, x_t, t)")
    method = method.replace("alphas_cumprod[", "self.alphas_cumprod[").replace("\n", "\n    ").rstrip()
    compared("minisd.schedule.NoiseSchedule.posterior", notebook(SCHEDULE + method))


@pytest.mark.parametrize(
    "name",
    [name for name in COMPARATORS if name.startswith("minisd.samplers.")]
    + ["minisd.schedule.jump_posterior"],
)
def test_minisd_agrees_with_itself_and_not_with_a_slip(name):
    ours = resolve(name)
    COMPARATORS[name](ours, ours, name)

    def slip(*args, **options):
        result = ours(*args, **options)
        if isinstance(result, torch.Tensor):
            return result * 1.001
        return [*result][::-1] if not isinstance(result, tuple) else tuple(part * 1.001 for part in result)

    slip.__signature__ = inspect.signature(ours)
    with pytest.raises(AssertionError):
        COMPARATORS[name](slip, ours, name)


LOOP = """
def dpmpp_2m(noise_of, x, sigmas):
    last_x0 = None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        x0 = target = x - sigma * noise_of(x, sigma)
        if i > 0 and sigma_next > 0:
            r = math.log(sigmas[i - 1] / sigma) / math.log(sigma / sigma_next)
            target = x0 + (x0 - last_x0) / (2 * r)
        x, last_x0 = target + sigma_next / sigma * (x - target), x0
        yield x
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "", None),
        ("    last_x0 = None", "    last_x0 = None\n    yield x", "items, minisd has"),
        ("i > 0 and", "i > 1 and", "off by"),
        ("(2 * r)", "(2.001 * r)", "off by"),
        ("yield x", "yield x.float()", "torch.float32"),
        ("noise_of, x, sigmas", "noise_of, x, sigmas, width", "no random values for width"),
        ("noise_of, x, sigmas", "noise_of, x, sigmas, order=2", "no parameter order"),
    ],
)
def test_a_loop_that_differs_is_noticed(notebook, old, new, words):
    path = notebook("import math", LOOP.replace(old, new))
    with nullcontext() if words is None else pytest.raises(AssertionError, match=words):
        compared("minisd.samplers.dpmpp_2m", path)


@pytest.mark.parametrize(
    ("method", "slip"),
    [
        ("encode", lambda ours: lambda self, text: ours(self, text)[::-1]),
        ("decode", lambda ours: lambda self, ids: ours(self, ids).upper()),
        ("__call__", lambda ours: lambda self, texts: ours(self, texts).clamp(max=self.eos - 1)),
        ("__len__", lambda ours: lambda self: ours(self) - 1),
    ],
)
def test_a_tokenizer_that_differs_is_noticed(method, slip):
    agree_as_tokenizers(BPE, BPE, "BPE")
    with pytest.raises(AssertionError):
        agree_as_tokenizers(type("BPE", (BPE,), {method: slip(getattr(BPE, method))}), BPE, "BPE")
