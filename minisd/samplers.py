"""From noise to latents: the samplers as pure steps, and the loops that yield every latent.

A sampler is a generator `sampler(predict_noise, latents, schedule, timesteps, eta, draw)`:
`predict_noise(latents, t)` asks the U-Net, `draw()` gives fresh noise of the latents' shape. It holds
no state, so a notebook can stop anywhere, look, and go on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from .schedule import NoiseSchedule, jump_posterior

PredictNoise = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Step:
    """One step's outcome: the latents after it, and what the network believed at timestep t."""

    index: int
    t: int
    latents: Tensor
    predicted_original: Tensor
    noise: Tensor


def leading_timesteps(number: int, train_steps: int = 1000, offset: int = 1) -> list[int]:
    """The timesteps of `number` steps, largest first: every (T // number)-th, shifted by one.

    50 of 1000 are 981, 961, ..., 1: Stable Diffusion's "leading" spacing with `steps_offset` 1. With
    number == T there is no room for the shift, and all timesteps are taken as they are.
    Raises ValueError for a number below 1 or above T.
    """
    if not 1 <= number <= train_steps:
        raise ValueError(f"num_inference_steps must be between 1 and {train_steps}, got {number}")
    stride = train_steps // number
    offset = min(offset, train_steps - 1 - (number - 1) * stride)
    return [i * stride + offset for i in reversed(range(number))]


def predict_original(noise: Tensor, x_t: Tensor, alpha_bar: float) -> Tensor:
    """x_0 as the predicted noise implies it: DDPM's eq. 4 solved for x_0 (DDIM, Song et al. 2021, eq. 9)."""
    return (x_t - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5


def ddim_step(x0: Tensor, noise: Tensor, ab_t: float, ab_prev: float, eta: float, fresh: Tensor | None) -> Tensor:
    """x_{t_prev} from the predicted x_0 and noise (DDIM, eqs. 12 and 16).

    sqrt(ab_prev) x0 + sqrt(1 - ab_prev - sigma^2) noise + sigma fresh; `fresh` is not read at eta 0.
    """
    sigma = eta * ((1 - ab_prev) / (1 - ab_t)) ** 0.5 * (1 - ab_t / ab_prev) ** 0.5
    x_prev = ab_prev**0.5 * x0 + (1 - ab_prev - sigma**2) ** 0.5 * noise
    return x_prev + sigma * fresh if sigma > 0 else x_prev


def ddim(
    predict_noise: PredictNoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    timesteps: list[int],
    eta: float,
    draw: Callable[[], Tensor],
) -> Iterator[Step]:
    """DDIM: deterministic at eta 0, as random as DDPM at eta 1 (Song et al. 2021).

    The last step ends at alpha-bar_0, not at 1: `set_alpha_to_one=False` in Stable Diffusion's config.
    """
    alphas_cumprod = schedule.alphas_cumprod.tolist()
    for index, (t, t_prev) in enumerate(zip(timesteps, timesteps[1:] + [0])):
        noise = predict_noise(latents, t)
        x0 = predict_original(noise, latents, alphas_cumprod[t])
        fresh = draw() if eta > 0 else None
        latents = ddim_step(x0, noise, alphas_cumprod[t], alphas_cumprod[t_prev], eta, fresh)
        yield Step(index, t, latents, x0, noise)


def ddpm(
    predict_noise: PredictNoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    timesteps: list[int],
    eta: float,
    draw: Callable[[], Tensor],
) -> Iterator[Step]:
    """Ancestral sampling: draw from q(x_{t_prev} | x_t, predicted x_0) (DDPM, algorithm 2 and eq. 7).

    The last step ends at the clean picture and adds no noise. `eta` has no meaning here and must be 0.
    """
    if eta:
        raise ValueError("eta belongs to the ddim sampler; leave it at 0 with ddpm")
    alphas_cumprod = schedule.alphas_cumprod
    for index, (t, t_prev) in enumerate(zip(timesteps, timesteps[1:] + [-1])):
        noise = predict_noise(latents, t)
        x0 = predict_original(noise, latents, float(alphas_cumprod[t]))
        mean, variance = jump_posterior(alphas_cumprod, x0, latents, t, t_prev)
        latents = mean + variance**0.5 * draw() if variance > 0 else mean
        yield Step(index, t, latents, x0, noise)


SAMPLERS = {"ddpm": ddpm, "ddim": ddim}
