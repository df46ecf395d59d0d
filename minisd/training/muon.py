"""Muon (Jordan 2024): gradient descent whose step is about equally large in all directions of a matrix."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ_STEPS = 5
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's: singular values come near 1 in few steps


class Muon(torch.optim.Optimizer):
    """Muon for matrices and the kernels of convolutions; torch.optim.Muon takes matrices alone.

    Equal to that one with `adjust_lr_fn="match_rms_adamw"` and no weight decay. A kernel (out, in, height,
    width) counts as the matrix (out, in height width). By the factor 0.2 sqrt(max(rows, columns)) a step at
    rate lr moves a weight about as far as AdamW would (Liu et al. 2025), so that rates can be compared.

    dtype: what the orthogonal matrix is computed in. Torch's Muon takes bfloat16, which is exact enough; on
    CPUs without instructions for it, float32 is many times faster, and on others hardly slower.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step, from the gradients as they stand; a closure is not asked for."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                state["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum_buffer"], group["momentum"])
                step = orthogonal(ahead.flatten(1).to(self.dtype)).to(weight.dtype)
                weight.sub_(step.view(weight.shape), alpha=group["lr"] * 0.2 * max(step.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the same singular vectors, whose singular values lie near 1 (roughly 0.7 to 1.2).

    Newton and Schulz's iteration (Jordan 2024), computed in the matrix's own dtype.
    """
    a, b, c = NEWTON_SCHULZ
    rows, columns = matrix.shape
    x = matrix.T if rows > columns else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)  # (a + b G + c G^2) x
    return x.T if rows > columns else x
