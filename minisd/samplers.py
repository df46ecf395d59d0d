"""From noise to latents: the samplers as pure steps, the loops that yield every latent, and their timesteps.

A loop is a generator `loop(predict_noise, latents, schedule, timesteps, eta, draw)`: `predict_noise(latents,
t)` asks the U-Net, `draw()` gives fresh noise of the latents' shape. It holds no state, so a notebook can
stop anywhere, look, and go on. `Sampler` joins a loop and what it needs: which timesteps, and what to start
from.

The latents of ddpm, ddim, pndm and dpmpp_2m are x_t = sqrt(alpha-bar_t) x_0 + sqrt(1 - alpha-bar_t) noise.
Those of euler, euler_a and lms are the same divided by sqrt(alpha-bar_t): x = x_0 + sigma noise ("variance
exploding"), with sigma = sqrt((1 - alpha-bar_t) / alpha-bar_t). There the noise itself is the slope dx /
dsigma of the way back (DDIM, eq. 14; Karras et al. 2022, eqs. 1 and 3).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .schedule import NoiseSchedule, jump_posterior

PredictNoise = Callable[[Tensor, float], Tensor]
Draw = Callable[[], Tensor]
Times = list[float]


@dataclass(frozen=True)
class Step:
    """One step's outcome: the latents after it, and what the network believed at timestep t."""

    index: int
    t: float
    latents: Tensor
    predicted_original: Tensor
    noise: Tensor


# ---- the steps


def predict_original(noise: Tensor, x_t: Tensor, alpha_bar: float) -> Tensor:
    """x_0 as the predicted noise implies it: DDPM's eq. 4 solved for x_0 (DDIM, Song et al. 2021, eq. 9)."""
    return (x_t - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5


def ddim_step(
    x0: Tensor, noise: Tensor, ab_t: float, ab_prev: float, eta: float, fresh: Tensor | None
) -> Tensor:
    """x_{t_prev} from the predicted x_0 and noise (DDIM, eqs. 12 and 16).

    sqrt(ab_prev) x0 + sqrt(1 - ab_prev - sigma^2) noise + sigma fresh; `fresh` is not read at eta 0.
    """
    sigma = eta * ((1 - ab_prev) / (1 - ab_t)) ** 0.5 * (1 - ab_t / ab_prev) ** 0.5
    x_prev = ab_prev**0.5 * x0 + (1 - ab_prev - sigma**2) ** 0.5 * noise
    return x_prev + sigma * fresh if sigma > 0 else x_prev


def dpmpp_step(x_t: Tensor, x0: Tensor, ab_t: float, ab_prev: float) -> Tensor:
    """sigma_prev / sigma_t x_t - alpha_prev (e^{-h} - 1) x0 (DPM-Solver++, Lu et al. 2022, algorithm 2).

    alpha = sqrt(ab), sigma = sqrt(1 - ab) and e^{-h} = (sigma / alpha)_prev / (sigma / alpha)_t. With the x_0
    that was just predicted it is the deterministic DDIM step; `extrapolate` gives the second order's x_0.
    """
    ratio = ((1 - ab_prev) / (1 - ab_t)) ** 0.5
    return ratio * x_t + (ab_prev**0.5 - ratio * ab_t**0.5) * x0


def extrapolate(x0: Tensor, last_x0: Tensor, ab_last: float, ab_t: float, ab_prev: float) -> Tensor:
    """D = (1 + 1 / 2r) x0 - 1 / 2r last_x0: x_0 as it will be halfway (DPM-Solver++, algorithm 2).

    r = (lambda_t - lambda_last) / (lambda_prev - lambda_t) with lambda = log(alpha / sigma).
    """
    last, now, following = (0.5 * math.log(ab / (1 - ab)) for ab in (ab_last, ab_t, ab_prev))
    r = (now - last) / (following - now)
    return x0 + (x0 - last_x0) / (2 * r)


def euler_step(x: Tensor, noise: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """x + (sigma_next - sigma) dx/dsigma (Karras et al. 2022, algorithm 1, lines 4 and 5: without its
    correction).
    """
    return x + (sigma_next - sigma) * noise


def ancestral_sigmas(sigma: float, sigma_next: float) -> tuple[float, float]:
    """(down, up): step down to `down`, add fresh noise of deviation `up`; down^2 + up^2 = sigma_next^2.

    up^2 = sigma_next^2 (sigma^2 - sigma_next^2) / sigma^2 is the variance of q(x_next | x, x_0): DDPM's eq. 7
    in exploding units (Song et al. 2021, "Score-based ...", appendix F; k-diffusion's `get_ancestral_step`).
    """
    return sigma_next**2 / sigma, sigma_next * (1 - (sigma_next / sigma) ** 2) ** 0.5


def multistep_weights(times: Sequence[float], end: float) -> list[float]:
    """w with sum_j w_j f(times[j]) = the integral, from times[0] to `end`, of the polynomial through these
    values.

    k times make k linear equations: exact for 1, s, ..., s^(k-1). Adams and Bashforth's method for any
    spacing; for times 0, -1, -2, -3 and end 1 they are 55, -59, 37, -9 over 24 (PNDM, eq. 12).
    """
    step, powers = end - times[0], np.arange(len(times))
    nodes = (np.array(times) - times[0]) / step
    return (step * np.linalg.solve(nodes ** powers[:, None], 1 / (powers + 1))).tolist()


def combine(values: Sequence[Tensor], times: Sequence[float], end: float) -> Tensor:
    """The integral from times[0] to `end` of what had these `values` at `times`, newest first."""
    return sum(weight * value for weight, value in zip(multistep_weights(times, end), values, strict=True))


# ---- the loops: their arguments are those of `Sampler.run`


def ddim(predict_noise, latents, schedule, timesteps, eta, draw) -> Iterator[Step]:
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


def ddpm(predict_noise, latents, schedule, timesteps, eta, draw) -> Iterator[Step]:
    """Ancestral sampling: draw from q(x_{t_prev} | x_t, predicted x_0) (DDPM, algorithm 2 and eq. 7).

    The last step ends at the clean picture and adds no noise.
    """
    alphas_cumprod = schedule.alphas_cumprod
    for index, (t, t_prev) in enumerate(zip(timesteps, timesteps[1:] + [-1])):
        noise = predict_noise(latents, t)
        x0 = predict_original(noise, latents, float(alphas_cumprod[t]))
        mean, variance = jump_posterior(alphas_cumprod, x0, latents, t, t_prev)
        latents = mean + variance**0.5 * draw() if variance > 0 else mean
        yield Step(index, t, latents, x0, noise)


def pndm(predict_noise, latents, schedule, timesteps, eta, draw) -> Iterator[Step]:
    """PNDM without Runge-Kutta (PLMS): DDIM steps along the noise extrapolated from four predictions.

    Liu et al. 2022, eq. 12; their transfer part, eq. 9, is the DDIM step at eta 0.

    The second timestep stands twice: the first step is taken again with the mean of the noise at both its
    ends. As in diffusers, the second call is taken for that even on a tail that has lost the repeated entry
    (image to image): from then on the latents lag one stride behind the timestep that the network is told.
    """
    alphas_cumprod = schedule.alphas_cumprod.tolist()
    # The list tells the stride, but for [t], one step in all, and [t, t], the tail of two steps.
    stride = (
        max((a - b for a, b in zip(timesteps, timesteps[1:])), default=schedule.steps) or schedule.steps // 2
    )
    first, history = latents, []
    for index, t in enumerate(timesteps):
        noise = predict_noise(latents, t)
        x0 = predict_original(noise, latents, alphas_cumprod[t])
        if index == 1:
            start, ab_t, ab_prev = first, alphas_cumprod[t + stride], alphas_cumprod[t]
            mixed = (noise + history[0]) / 2
        else:
            history = [noise, *history[:3]]
            start, ab_t, ab_prev = latents, alphas_cumprod[t], alphas_cumprod[max(t - stride, 0)]
            mixed = combine(history, range(0, -len(history), -1), 1)
        latents = ddim_step(predict_original(mixed, start, ab_t), mixed, ab_t, ab_prev, 0.0, None)
        yield Step(index, t, latents, x0, noise)


def dpmpp_2m(predict_noise, latents, schedule, timesteps, eta, draw) -> Iterator[Step]:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): DDIM steps towards the x_0 extrapolated from two.

    The last step ends at the clean picture, where lambda is infinite: it is of first order, as the first one.
    """
    table, last_x0 = schedule.alphas_cumprod.tolist(), None
    bars = [table[t] for t in timesteps] + [1.0]
    for index, t in enumerate(timesteps):
        noise = predict_noise(latents, t)
        x0 = target = predict_original(noise, latents, bars[index])
        if 0 < index < len(timesteps) - 1:
            target = extrapolate(x0, last_x0, *bars[index - 1 : index + 2])
        latents, last_x0 = dpmpp_step(latents, target, *bars[index : index + 2]), x0
        yield Step(index, t, latents, x0, noise)


def sigmas_of(schedule: NoiseSchedule, timesteps: Times) -> list[float]:
    """sigma at each timestep, on the line between its neighbours where that is not whole; then 0, the clean
    picture.
    """
    bars = np.array(schedule.alphas_cumprod.tolist())
    return [*np.interp(timesteps, range(len(bars)), ((1 - bars) / bars) ** 0.5).tolist(), 0.0]


def ask(predict_noise: PredictNoise, x: Tensor, sigma: float, t: float) -> tuple[Tensor, Tensor]:
    """(x_0, noise) of exploding latents: the U-Net reads them at the variance that it was trained with."""
    noise = predict_noise(x / (sigma**2 + 1) ** 0.5, t)
    return x - sigma * noise, noise


def euler(predict_noise, latents, schedule, timesteps, eta, draw) -> Iterator[Step]:
    """Euler's method in sigma (Karras et al. 2022, algorithm 1): DDIM at eta 0 in other units, but down to
    sigma 0.
    """
    sigmas = sigmas_of(schedule, timesteps)
    for index, (t, sigma, sigma_next) in enumerate(zip(timesteps, sigmas, sigmas[1:])):
        x0, noise = ask(predict_noise, latents, sigma, t)
        latents = euler_step(latents, noise, sigma, sigma_next)
        yield Step(index, t, latents, x0, noise)


def euler_a(predict_noise, latents, schedule, timesteps, eta, draw) -> Iterator[Step]:
    """Euler steps too far down and fresh noise up again (k-diffusion's ancestral sampler): DDPM in other
    units.
    """
    sigmas = sigmas_of(schedule, timesteps)
    for index, (t, sigma, sigma_next) in enumerate(zip(timesteps, sigmas, sigmas[1:])):
        x0, noise = ask(predict_noise, latents, sigma, t)
        down, up = ancestral_sigmas(sigma, sigma_next)
        latents = euler_step(latents, noise, sigma, down) + up * draw()
        yield Step(index, t, latents, x0, noise)


def lms(predict_noise, latents, schedule, timesteps, eta, draw) -> Iterator[Step]:
    """Linear multistep: x plus the integral over sigma of the noise, a cubic through the last four
    (k-diffusion).

    On a tail it warms up anew: order 1, 2, 3, 4. diffusers' image to image takes the weights of order 4 at
    once, without the noise that three of them belong to: its first step is more than twice too long. There we
    differ.
    """
    sigmas, history = sigmas_of(schedule, timesteps), []
    for index, (t, sigma, sigma_next) in enumerate(zip(timesteps, sigmas, sigmas[1:])):
        x0, noise = ask(predict_noise, latents, sigma, t)
        history = [(noise, sigma), *history[:3]]
        latents = latents + combine(*zip(*history), sigma_next)
        yield Step(index, t, latents, x0, noise)


# ---- the samplers


@dataclass(frozen=True)
class Sampler:
    """A way from noise to latents: the loop, and what diffusers' class of that name expects around it."""

    loop: Callable[..., Iterator[Step]]
    spacing: str  # of the timesteps, where a scheduler_config.json names none
    exploding: bool = False  # its latents are x_0 + sigma noise
    strided: bool = (
        False  # diffusers' class jumps T // number timesteps at every step, whatever the list says
    )
    repeats: bool = False  # the second timestep stands twice
    open_end: bool = False  # of number + 1 timesteps the last is left out: the last step jumps over it

    def run(
        self,
        predict_noise: PredictNoise,
        latents: Tensor,
        schedule: NoiseSchedule,
        timesteps: Times,
        eta: float,
        draw: Draw,
    ) -> Iterator[Step]:
        """The steps from `latents` on; `timesteps` may be the tail of a list, as image to image starts on the
        way.

        eta (0 to 1) scales ddim's fresh noise. Raises ValueError for an eta that is not 0 with another
        sampler.
        """
        if eta and self.loop is not ddim:
            raise ValueError(f"eta belongs to the ddim sampler; leave it at 0 with {self.loop.__name__}")
        return self.loop(predict_noise, latents, schedule, timesteps, eta, draw)

    def timesteps(
        self, number: int, schedule: NoiseSchedule, offset: int = 1, spacing: str | None = None
    ) -> Times:
        """The timesteps of `number` steps, largest first; `spacing` is "leading", "linspace" or "trailing".

        50 of 1000 are 981, 961, ..., 1 with leading spacing: every (T // number)-th, shifted by `offset`
        (Stable Diffusion's `steps_offset` 1) as far as there is room. Only exploding samplers take timesteps
        that are not whole. Raises ValueError for a number below 1 or above T, and for a spacing that is
        unknown or not offered.
        """
        spacing, total = spacing or self.spacing, schedule.steps
        if not 1 <= number <= total:
            raise ValueError(f"num_inference_steps must be between 1 and {total}, got {number}")
        points = min(number + self.open_end, total)
        if spacing == "leading":
            grid = np.arange(points) * (total // points)
            grid = (grid + min(offset, total - 1 - grid[-1]))[::-1]
        elif spacing == "linspace":
            grid = np.linspace(0, total - 1, points)[::-1]
            grid = grid.astype(np.float32) if self.exploding else grid.round()
        elif spacing == "trailing":
            grid = np.arange(total, 0, -total / number).round() - 1
        else:
            raise ValueError(f"unknown timestep spacing {spacing!r}; choose leading, linspace or trailing")
        chosen = [int(t) if t == int(t) else t for t in grid.tolist()[:number]]
        if self.strided and any(t - t_prev != total // number for t, t_prev in zip(chosen, chosen[1:])):
            raise ValueError(
                f"{self.loop.__name__} takes strides of {total // number} timesteps, {spacing} spacing "
                f"does not at {number} steps; choose leading spacing or another sampler"
            )
        return chosen[:2] + chosen[1:] if self.repeats else chosen

    def start(
        self, noise: Tensor, schedule: NoiseSchedule, timesteps: Times, spacing: str | None = None
    ) -> Tensor:
        """The first latents from noise of unit variance; `spacing` as it was given to `timesteps`.

        Exploding: noise times sigma_max, or sqrt(sigma_max^2 + 1) with leading spacing (diffusers'
        init_noise_sigma).
        """
        if not self.exploding:
            return noise
        sigma = sigmas_of(schedule, timesteps)[0]
        return noise * ((sigma**2 + 1) ** 0.5 if (spacing or self.spacing) == "leading" else sigma)

    def noised(self, x0: Tensor, noise: Tensor, schedule: NoiseSchedule, t: float) -> Tensor:
        """x0 as the latents of timestep t, with this noise: where image to image starts (diffusers'
        add_noise).
        """
        if self.exploding:
            return x0 + sigmas_of(schedule, [t])[0] * noise
        return schedule.add_noise(x0, noise, torch.tensor([t]))


SAMPLERS = {
    "ddpm": Sampler(ddpm, "leading"),
    "ddim": Sampler(ddim, "leading", strided=True),
    "pndm": Sampler(pndm, "leading", strided=True, repeats=True),
    "euler": Sampler(euler, "linspace", exploding=True),
    "euler_a": Sampler(euler_a, "linspace", exploding=True),
    "lms": Sampler(lms, "linspace", exploding=True),
    "dpmpp_2m": Sampler(dpmpp_2m, "linspace", open_end=True),
}
