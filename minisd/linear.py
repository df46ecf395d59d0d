"""The linear layer of all networks: PyTorch's own, on CPUs by the faster of the two libraries that it has."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

# How PyTorch's compiler calls oneDNN; without it, or without MKL, there is nothing to choose between.
ONEDNN = torch.backends.mkl.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class Linear(nn.Linear):
    """x W^T + b: x (..., in_features) -> (..., out_features).

    On CPUs, PyTorch multiplies float32 matrices with MKL, which on AMD's processors reaches half the speed of
    oneDNN, the library of its convolutions. Where no gradient is recorded, this layer asks oneDNN. The answer
    is the same but for rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        if by_onednn(x):
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
            return product
        return F.linear(x, self.weight, self.bias)


def by_onednn(x: Tensor) -> bool:
    """Whether a layer's input is float32 on a CPU, with nobody taking gradients, compiling or rounding it."""
    if not ONEDNN or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    rounded = torch.is_autocast_enabled("cpu")
    return not (torch.is_grad_enabled() or rounded or torch.compiler.is_compiling())


def operations(x: torch.Size, weight: torch.Size, *_others: Any, out_shape: torch.Size) -> int:
    """Multiplications and additions of one call, for PyTorch's FlopCounterMode, from the shapes."""
    return 2 * x.numel() * weight[0]


if ONEDNN:
    register_flop_formula(torch.ops.mkldnn._linear_pointwise)(operations)
