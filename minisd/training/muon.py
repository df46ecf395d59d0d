"""Muon (Jordan 2024): gradient descent whose step is about equally large in all directions of a matrix."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

NEWTON_SCHULZ_STEPS = 5
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's: singular values come near 1 in few steps


class Muon(torch.optim.Optimizer):
    """Muon for matrices and the kernels of convolutions; torch.optim.Muon takes matrices alone.

    Equal to that one with `adjust_lr_fn="match_rms_adamw"` and no weight decay. A kernel (out, in, height,
    width) counts as the matrix (out, in height width). By the factor 0.2 sqrt(max(rows, columns)) a step at
    rate lr moves a weight about as far as AdamW would (Liu et al. 2025), so that rates can be compared.

    The orthogonal matrices are computed in float32: torch's Muon takes bfloat16, which is many times slower
    on CPUs without instructions for it. Several processes, which hold the same gradients, share this work.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step, from the gradients as they stand; a closure is not asked for."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            ahead = [self._ahead(weight, weight.grad, group["momentum"]) for weight in weights]
            steps = all_orthogonal(ahead)
            for weight, step in zip(weights, steps, strict=True):
                size = group["lr"] * 0.2 * max(step.shape) ** 0.5
                weight.sub_(step.view(weight.shape).to(weight.dtype), alpha=size)

    def _ahead(self, weight: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """The gradient averaged over the steps so far, and this step's once more (Nesterov); as a matrix."""
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum).flatten(1).float()


def all_orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """`orthogonal` of each matrix: of several processes each computes a share, and sends it to the others."""
    processes, place = 1, 0
    if dist.is_available() and dist.is_initialized():
        processes, place = dist.get_world_size(), dist.get_rank()
    steps = [
        orthogonal(matrix).contiguous() if i % processes == place else matrix.new_empty(matrix.shape)
        for i, matrix in enumerate(matrices)
    ]
    if processes > 1:
        for i, step in enumerate(steps):
            dist.broadcast(step, src=i % processes)
    return steps


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the same singular vectors, whose singular values lie near 1 (roughly 0.7 to 1.2).

    Newton and Schulz's iteration (Jordan 2024): x becomes (a + b G + c G^2) x with G = x x^T, five times.
    All these factors are square, and polynomials of the first G: so they are multiplied by each other first,
    and only their product by x, which may be many times as wide as high.
    """
    rows, columns = matrix.shape
    x = matrix.T if rows > columns else matrix
    x = x / x.norm().clamp(min=1e-7)
    gram = x @ x.T
    product = factor = newton_schulz_factor(gram)
    for _ in range(NEWTON_SCHULZ_STEPS - 1):
        gram = factor @ gram @ factor  # of the x that this factor makes
        factor = newton_schulz_factor(gram)
        product = factor @ product
    x = product @ x
    return x.T if rows > columns else x


def newton_schulz_factor(gram: Tensor) -> Tensor:
    """a + b G + c G^2."""
    a, b, c = NEWTON_SCHULZ
    factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor
