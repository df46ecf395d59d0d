"""The linear layer of all networks: PyTorch's own, on CPUs by the faster of the two libraries that it has."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ONEDNN = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


class Linear(nn.Linear):
    """x W^T + b: x (..., in_features) -> (..., out_features).

    On CPUs, PyTorch multiplies float32 matrices with MKL, which on AMD's processors reaches half the speed of
    oneDNN, the library of its convolutions. Where no gradient is recorded, this layer asks oneDNN. The answer
    is the same but for rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        if by_onednn(x):
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)


def by_onednn(x: Tensor) -> bool:
    """Whether a linear layer's input is float32 on a CPU, with nobody taking gradients or compiling."""
    plain = not (torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing())
    return ONEDNN and plain and x.device.type == "cpu" and x.dtype == torch.float32
