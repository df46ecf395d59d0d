"""The floor of a network's time: its convolutions, matrix products and attention, each alone."""

import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

Call = tuple[str, tuple]  # what is computed, and the shapes that it depends on


class Listen(TorchFunctionMode):
    """Counts the heavy calls of what runs inside it, by their shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[Call] = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.conv2d:
            x, weight, _, stride, padding = (*args, *kwargs.values())[:5]
            self.calls["convolutions", (tuple(x.shape), tuple(weight.shape), stride, padding)] += 1
        elif function is F.linear:
            self.calls["matrix products", (tuple(args[0].shape), tuple(args[1].shape))] += 1
        elif function is F.scaled_dot_product_attention:
            self.calls["attention", tuple(tuple(x.shape) for x in args[:3])] += 1
        return function(*args, **kwargs)


def heavy_calls(network: nn.Module, inputs: tuple) -> Counter[Call]:
    """How often a network makes each heavy call. Both are on the meta device, where it takes no time."""
    with Listen() as heard, torch.no_grad():
        network(*inputs)
    return heard.calls


def seconds(call: Call, dtype: torch.dtype = torch.float32, runs: int = 3, device: str = "cpu") -> float:
    """The least of a few runs of one call on random numbers, by the fastest library that PyTorch has here."""

    def random(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, dtype=dtype, device=device)

    kind, shapes = call
    if kind == "convolutions":
        x, weight = (random(shape).contiguous(memory_format=torch.channels_last) for shape in shapes[:2])
        ways = [lambda: F.conv2d(x, weight, None, *shapes[2:])]
    elif kind == "matrix products":
        x, weight = (random(shape) for shape in shapes)
        ways = [lambda: F.linear(x, weight)]
        if dtype == torch.float32 and device == "cpu" and torch.backends.mkldnn.is_available():
            ways.append(lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""))
    else:
        q, k, v = (random((b, n, heads, width)).transpose(1, 2) for b, heads, n, width in shapes)
        ways = [lambda: F.scaled_dot_product_attention(q, k, v)]
    with torch.inference_mode():
        return min(least(way, runs, device) for way in ways)


def least(task: Callable[[], object], runs: int, device: str = "cpu") -> float:
    """The least seconds of some runs, after one that isn't counted."""

    def finished() -> float:
        task()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    moments = [finished() for _ in range(1 + runs)]
    return min(after - before for before, after in pairwise(moments))


def floor_of(
    network: nn.Module, inputs: tuple, dtype: torch.dtype = torch.float32, runs: int = 3, device: str = "cpu"
) -> dict[str, float]:
    """Seconds of each kind of heavy call in one run of the network."""
    total: Counter[str] = Counter()
    for call, times in heavy_calls(network, inputs).items():
        total[call[0]] += times * seconds(call, dtype, runs, device)
    return dict(total)
