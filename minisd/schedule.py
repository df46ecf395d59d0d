"""The noise schedule: how much of the picture is left at every timestep, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .config import shown

MOST_TIMESTEPS = 100_000


@dataclass(frozen=True)
class NoiseSchedule:
    """betas (T,) in float32, one for each forward step (DDPM, Ho et al. 2020, eq. 2).

    A timestep t counts from 0 as in diffusers: `alphas_cumprod[t]` is the paper's alpha-bar_{t+1}.
    """

    betas: Tensor

    def __post_init__(self) -> None:
        if self.betas.ndim != 1 or not ((self.betas > 0) & (self.betas < 1)).all():
            raise ValueError(
                "a noise schedule's betas must be a vector of numbers between 0 and 1 (both excluded)"
            )

    @classmethod
    def scaled_linear(
        cls, beta_start: float = 0.00085, beta_end: float = 0.012, steps: int = 1000
    ) -> "NoiseSchedule":
        """Roots of beta evenly spaced: Stable Diffusion's schedule (CompVis calls it linear)."""
        return cls(torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float32) ** 2)

    @classmethod
    def linear(cls, beta_start: float = 0.0001, beta_end: float = 0.02, steps: int = 1000) -> "NoiseSchedule":
        """Evenly spaced betas (DDPM, section 4)."""
        return cls(torch.linspace(beta_start, beta_end, steps, dtype=torch.float32))

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> "NoiseSchedule":
        """alpha-bar falls like a squared cosine (Nichol and Dhariwal 2021, eq. 17)."""
        time = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        alpha_bar = torch.cos((time + offset) / (1 + offset) * torch.pi / 2) ** 2
        return cls((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=max_beta).float())

    @property
    def steps(self) -> int:
        return len(self.betas)

    @property
    def alphas(self) -> Tensor:
        """1 - beta_t: (T,)."""
        return 1.0 - self.betas

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """alpha-bar_t, the product of all alphas up to t (DDPM, eq. 4): (T,)."""
        return torch.cumprod(self.alphas, dim=0)

    def snr(self, t: Tensor | int) -> Tensor:
        """Signal-to-noise ratio alpha-bar_t / (1 - alpha-bar_t) (Kingma et al. 2021, eq. 2)."""
        ab = self.alphas_cumprod[t]
        return ab / (1 - ab)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t = sqrt(alpha-bar_t) x_0 + sqrt(1 - alpha-bar_t) noise (DDPM, eq. 4).

        x0 and noise (batch, ...), t (batch,): each picture at its own timestep. For pictures in bfloat16 or
        float16 both factors are computed in the table's own type, then shortened. diffusers shortens
        alpha-bar first; it is then rounded to 1 at the first timesteps, and they get no noise.
        """
        kind = torch.promote_types(self.betas.dtype, x0.dtype)  # the finer of the two
        ab = self.alphas_cumprod.to(x0.device, kind)[t].view(-1, *[1] * (x0.ndim - 1))
        signal, spread = ab.sqrt().to(x0.dtype), (1 - ab).sqrt().to(x0.dtype)
        return signal * x0 + spread * noise

    def posterior(self, x0: Tensor, x_t: Tensor, t: int) -> tuple[Tensor, float]:
        """Mean and variance of q(x_{t-1} | x_t, x_0) (DDPM, eqs. 6 and 7); the state before t = 0 is x_0."""
        return jump_posterior(self.alphas_cumprod, x0, x_t, t, t - 1)


def jump_posterior(
    alphas_cumprod: Tensor | Sequence[float], x0: Tensor, x_t: Tensor, t: int, t_prev: int
) -> tuple[Tensor, float]:
    """Mean and variance of q(x_{t_prev} | x_t, x_0) where t_prev may lie many steps before t.

    DDPM's eqs. 6 and 7 with alpha_t = alpha-bar_t / alpha-bar_{t_prev}; t_prev < 0 means the clean picture.
    """
    ab_t = float(alphas_cumprod[t])
    ab_prev = float(alphas_cumprod[t_prev]) if t_prev >= 0 else 1.0
    alpha = ab_t / ab_prev
    mean = (ab_prev**0.5 * (1 - alpha) * x0 + alpha**0.5 * (1 - ab_prev) * x_t) / (1 - ab_t)
    return mean, (1 - alpha) * (1 - ab_prev) / (1 - ab_t)


# What every sampler of ours computes; a scheduler_config.json that asks for anything else is refused.
ALWAYS = {"prediction_type": "epsilon", "rescale_betas_zero_snr": False}
BETA_SCHEDULES = {"scaled_linear": NoiseSchedule.scaled_linear, "linear": NoiseSchedule.linear}


def schedule_of(config: Mapping[str, Any]) -> NoiseSchedule:
    """The noise schedule that a scheduler_config.json describes; ValueError for one we don't build."""
    for key, value in ALWAYS.items():
        if config.get(key, value) != value:
            raise ValueError(
                f"the scheduler config asks for {key}={shown(config[key])}; minisd samples "
                f"with {value!r} only"
            )
    if (trained := config.get("trained_betas")) is not None:
        return NoiseSchedule(torch.tensor(numbers("trained_betas", trained, 1), dtype=torch.float32))
    wanted = ("beta_start", "beta_end", "num_train_timesteps")
    if lacking := [key for key in wanted if key not in config]:
        raise ValueError(f"the scheduler config lacks {lacking[0]}: fetch scheduler_config.json again")
    start, end = numbers("beta_start and beta_end", [config["beta_start"], config["beta_end"]], 1)
    (steps,) = numbers("num_train_timesteps", [config["num_train_timesteps"]], MOST_TIMESTEPS, (int,))
    kind = config.get("beta_schedule", "linear")
    if kind == "squaredcos_cap_v2":
        return NoiseSchedule.cosine(int(steps))
    if kind not in list(BETA_SCHEDULES):
        known = ", ".join([*BETA_SCHEDULES, "squaredcos_cap_v2"])
        raise ValueError(f"the scheduler config asks for beta_schedule={shown(kind)}; minisd knows {known}")
    return BETA_SCHEDULES[kind](start, end, int(steps))


def numbers(name: str, values: object, most: float, kinds: tuple[type, ...] = (int, float)) -> list[float]:
    """Numbers of a scheduler config, of these kinds, above 0 and at most `most`; or ValueError."""
    listed = list(values) if isinstance(values, (list, tuple)) else []
    if not listed or not all(type(value) in kinds and 0 < value <= most for value in listed):
        raise ValueError(
            f"the scheduler config's {name} must be above 0 and at most {most:g}, got {shown(values)}; "
            "fetch scheduler_config.json again"
        )
    return listed
