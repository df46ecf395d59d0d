"""What a reader's function did when it was called, and a stand-in for the networks that it is given."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Outcome:
    """What one call did.

    result, error: one of the two. changed: it wrote into its inputs. again: the result or the error of a
    second call with the same inputs. calls and gradients: what each Network among the inputs was asked, and
    the slope of the result by its weight (None if no gradient reaches it).
    """

    result: Any
    error: BaseException | None
    changed: bool
    again: Any
    calls: list[list[tuple]] = field(default_factory=list)
    gradients: list[Tensor | None] = field(default_factory=list)


class Yields(list):
    """What a generator gave."""


class Network(nn.Module):
    """A stand-in for a network: it has a parameter, and it remembers what it was asked.

    function(weight, *inputs) is called by position or by the names of its own parameters; record=False
    checks the gradient alone.
    """

    def __init__(self, function: Callable[..., Tensor], record: bool = True) -> None:
        super().__init__()
        self.function, self.record = function, record
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float32))
        self.calls: list[tuple] = []

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        bound = inspect.signature(self.function).bind(self.weight, *inputs, **named)
        if self.record:
            asked = list(bound.arguments.values())[1:]
            self.calls.append(tuple(x.detach().clone() if isinstance(x, Tensor) else x for x in asked))
        return self.function(*bound.args, **bound.kwargs)
