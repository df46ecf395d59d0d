"""From noise to latents: the samplers as pure steps, the loops made of them, and a painting's way.

A loop is a generator of latents. Those of chapters 2 and 3 (ddpm, ddim) count noise in alpha-bar: they get
x_t = sqrt(alpha-bar_t) x_0 + sqrt(1 - alpha-bar_t) noise and the list of alpha-bars to pass. Those of chapter
4 (all others) count it in sigma = sqrt((1 - alpha-bar_t) / alpha-bar_t): they get x = x_0 + sigma noise
("variance exploding") and the list of sigmas. There the noise itself is the slope dx / dsigma of the way back
(DDIM, eq. 14; Karras et al. 2022, eqs. 1 and 3). `noise_of(x, level)` guesses the noise. No loop holds state,
so a notebook can stop anywhere, look, and go on.

`SAMPLERS[name].way(...)` plans a painting once: which timesteps the network is told, which levels are passed.
`Way.walk` then follows it with a U-Net.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .config import shown
from .schedule import NoiseSchedule, jump_posterior

MOST_OFFSET = 1000  # of a scheduler config's steps_offset, which is 0 or 1
PredictNoise = Callable[[Tensor, float], Tensor]  # of x_t and a timestep: what the network does
NoiseOf = Callable[[Tensor, float], Tensor]  # of a loop's latents and a level of its list
Keep = Callable[[Tensor, int], Tensor]  # of latents after a step, and its number: what to go on from
KeepX = Callable[[Tensor, float], Tensor]  # the same for a loop: of its latents, and their level
Draw = Callable[[], Tensor]  # fresh noise of unit variance, of the latents' shape


@dataclass(frozen=True)
class Step:
    """One step's outcome: the latents after it, and what the network believed at timestep t."""

    index: int
    t: float
    latents: Tensor
    predicted_original: Tensor
    noise: Tensor


def unchanged(latents: Tensor, level: float) -> Tensor:
    """The `keep` of a painting that goes on from what the step made."""
    return latents


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
    return x_prev if fresh is None or sigma == 0 else x_prev + sigma * fresh


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
    """x + (sigma_next - sigma) dx/dsigma (Karras et al. 2022, algorithm 1, lines 4 and 5: uncorrected)."""
    return x + (sigma_next - sigma) * noise


def ancestral_sigmas(sigma: float, sigma_next: float) -> tuple[float, float]:
    """(down, up): step down to `down`, add fresh noise of deviation `up`; down^2 + up^2 = sigma_next^2.

    up^2 = sigma_next^2 (sigma^2 - sigma_next^2) / sigma^2 is the variance of q(x_next | x, x_0): DDPM's eq. 7
    in exploding units (Song et al. 2021, "Score-based ...", appendix F; k-diffusion's `get_ancestral_step`).
    """
    return sigma_next**2 / sigma, sigma_next * (1 - (sigma_next / sigma) ** 2) ** 0.5


def multistep_weights(times: Sequence[float], end: float) -> list[float]:
    """w with sum_j w_j f(times[j]) = the integral, from times[0] to `end`, of the polynomial through these.

    k times make k linear equations: exact for 1, s, ..., s^(k-1). Adams and Bashforth's method for any
    spacing; for times 0, -1, -2, -3 and end 1 they are 55, -59, 37, -9 over 24 (PNDM, eq. 12).
    """
    step, powers = end - times[0], np.arange(len(times))
    nodes = (np.array(times) - times[0]) / step
    return (step * np.linalg.solve(nodes ** powers[:, None], 1 / (powers + 1))).tolist()


def combine(values: Sequence[Tensor], times: Sequence[float], end: float) -> Tensor:
    """The integral from times[0] to `end` of what had these `values` at `times`, newest first."""
    weighted = [w * value for w, value in zip(multistep_weights(times, end), values, strict=True)]
    return torch.stack(weighted).sum(0)


# ---- the loops of chapters 2 and 3: x_t, and the alpha-bars to pass


def ddpm(
    noise_of: NoiseOf, x_t: Tensor, bars: Sequence[float], draw: Draw, keep: KeepX = unchanged
) -> Iterator[Tensor]:
    """Ancestral sampling: draw from q(x_{t_prev} | x_t, predicted x_0) (DDPM, algorithm 2 and eq. 7).

    No noise is added in a step to the clean picture, where alpha-bar is 1.
    """
    for i, (ab_t, ab_prev) in enumerate(zip(bars, bars[1:])):
        x0 = predict_original(noise_of(x_t, ab_t), x_t, ab_t)
        mean, variance = jump_posterior(bars, x0, x_t, i, i + 1)
        x_t = keep(mean + variance**0.5 * draw() if variance > 0 else mean, ab_prev)
        yield x_t


def ddim(
    noise_of: NoiseOf,
    x_t: Tensor,
    bars: Sequence[float],
    draw: Draw | None = None,
    eta: float = 0.0,
    keep: KeepX = unchanged,
) -> Iterator[Tensor]:
    """DDIM: deterministic at eta 0, as random as DDPM at eta 1 (Song et al. 2021)."""
    for ab_t, ab_prev in zip(bars, bars[1:]):
        noise = noise_of(x_t, ab_t)
        x0 = predict_original(noise, x_t, ab_t)
        fresh = draw() if draw is not None and eta > 0 else None
        x_t = keep(ddim_step(x0, noise, ab_t, ab_prev, eta, fresh), ab_prev)
        yield x_t


def pndm_late(
    noise_of: NoiseOf, x_t: Tensor, bars: Sequence[float], places: Sequence[int], keep: KeepX = unchanged
) -> Iterator[Tensor]:
    """`pndm` begun on the way, as image to image needs it, with a slip of diffusers' repeated.

    `places` are the rest of pndm's calls 0, 1, 1, 2, 3, ...: which of `bars` each is for. The second call is
    taken for the repeated one even where that has gone by, so from then on the latents lag one place behind
    the level that the network is told.
    """
    first = x_t
    history: list[Tensor] = []
    for i, place in enumerate(places):
        noise = noise_of(x_t, bars[place])
        if i == 1:
            start, ab_t, ab_prev = first, bars[place - 1], bars[place]
            mixed = (noise + history[0]) / 2
        else:
            history = [noise, *history[:3]]
            start, ab_t, ab_prev = x_t, bars[place], bars[place + 1]
            mixed = combine(history, range(0, -len(history), -1), 1)
        following = places[i + 1] if i + 1 < len(places) else len(bars) - 1
        x0 = predict_original(mixed, start, ab_t)
        x_t = keep(ddim_step(x0, mixed, ab_t, ab_prev, 0.0, None), bars[following])
        yield x_t


# ---- the loops of chapter 4: x = x_0 + sigma noise, and the sigmas to pass


def euler(noise_of: NoiseOf, x: Tensor, sigmas: Sequence[float], keep: KeepX = unchanged) -> Iterator[Tensor]:
    """Euler's method in sigma (Karras et al. 2022, algorithm 1): DDIM at eta 0 in other units."""
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        x = keep(euler_step(x, noise_of(x, sigma), sigma, sigma_next), sigma_next)
        yield x


def euler_a(
    noise_of: NoiseOf, x: Tensor, sigmas: Sequence[float], draw: Draw, keep: KeepX = unchanged
) -> Iterator[Tensor]:
    """Euler steps too far down and fresh noise up again (k-diffusion): DDPM in other units."""
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        down, up = ancestral_sigmas(sigma, sigma_next)
        x = euler_step(x, noise_of(x, sigma), sigma, down)
        x = keep(x + up * draw(), sigma_next)
        yield x


def lms(
    noise_of: NoiseOf, x: Tensor, sigmas: Sequence[float], order: int = 4, keep: KeepX = unchanged
) -> Iterator[Tensor]:
    """Linear multistep: x plus the integral over sigma of a cubic through the last four noises.

    k-diffusion's method. It warms up: order 1, 2, 3, 4. diffusers' image to image takes the weights of order
    4 at once, without the noise that three of them belong to: its first step is more than twice too long.
    There we differ.
    """
    history: list[tuple[Tensor, float]] = []  # (noise, sigma), newest first
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        history = [(noise_of(x, sigma), sigma), *history[: order - 1]]
        noises, levels = zip(*history, strict=True)
        x = keep(x + combine(noises, levels, sigma_next), sigma_next)
        yield x


def pndm(noise_of: NoiseOf, x: Tensor, sigmas: Sequence[float], keep: KeepX = unchanged) -> Iterator[Tensor]:
    """PNDM without Runge-Kutta (PLMS): Euler steps along the noise extrapolated from four guesses.

    Liu et al. 2022, eq. 12; their transfer part, eq. 9, is the Euler step here. The levels must be those of
    equally spaced timesteps. The first step is taken twice, the second time with the mean of the noise at its
    two ends (Heun's method), and both outcomes are yielded.
    """
    history: list[Tensor] = []
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        noise = noise_of(x, sigma)
        history = [noise, *history[:3]]
        if len(history) == 1 and len(sigmas) > 2:
            there = keep(euler_step(x, noise, sigma, sigma_next), sigma_next)
            yield there
            mixed = (noise + noise_of(there, sigma_next)) / 2
        else:
            mixed = combine(history, range(0, -len(history), -1), 1)
        x = keep(euler_step(x, mixed, sigma, sigma_next), sigma_next)
        yield x


def dpmpp_2m(
    noise_of: NoiseOf, x: Tensor, sigmas: Sequence[float], keep: KeepX = unchanged
) -> Iterator[Tensor]:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): DDIM steps towards the x_0 extrapolated from two.

    A step to the clean picture, where lambda is infinite, is of first order, as the first one.
    """
    bars, last_x0 = [1 / (1 + sigma**2) for sigma in sigmas], None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        x0 = target = x - sigma * noise_of(x, sigma)
        if last_x0 is not None and sigma_next > 0:
            target = extrapolate(x0, last_x0, *bars[i - 1 : i + 2])
        x_t = dpmpp_step(x * bars[i] ** 0.5, target, *bars[i : i + 2])
        x, last_x0 = keep(x_t / bars[i + 1] ** 0.5, sigma_next), x0
        yield x


# ---- noise levels


def sigmas_of(schedule: NoiseSchedule, timesteps: Sequence[float]) -> list[float]:
    """sigma at each timestep, on the line between its neighbours where that is not whole; then 0, clean."""
    bars = np.array(schedule.alphas_cumprod.tolist())
    return [*np.interp(timesteps, range(len(bars)), ((1 - bars) / bars) ** 0.5).tolist(), 0.0]


def karras_sigmas(number: int, sigma_max: float, sigma_min: float, rho: float = 7.0) -> list[float]:
    """`number` levels from sigma_max to sigma_min, closest where sigma is small (Karras et al., eq. 5)."""
    ramp = np.linspace(0, 1, number)
    return (
        (sigma_max ** (1 / rho) + ramp * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    ).tolist()


def timestep_of(schedule: NoiseSchedule, sigma: float) -> float:
    """The timestep whose noise level is sigma, on the line between two in log sigma (as k-diffusion does)."""
    logs = np.log(sigmas_of(schedule, range(schedule.steps))[:-1])
    return float(np.interp(math.log(sigma), logs, range(len(logs))))


def each_once(steps: int) -> list[int]:
    """A call of the network for each step."""
    return list(range(steps))


def second_twice(steps: int) -> list[int]:
    """PNDM's calls: 0, 1, 1, 2, 3, ..."""
    return [*range(min(steps, 2)), *range(1, steps)]


# ---- a painting's way


@dataclass
class Ask:
    """The `noise_of` of a loop: tells the network x_t and t, and keeps what it answered last."""

    predict_noise: PredictNoise
    in_sigma: bool  # the loop's latents are x_t / sqrt(alpha-bar_t)
    widths: Mapping[float, float]  # 1 / sqrt(alpha-bar) at each level of the loop's list
    told: Mapping[float, float]  # the timestep of each level
    calls: int = 0
    x0: Tensor = field(init=False)
    noise: Tensor = field(init=False)

    def __call__(self, x: Tensor, level: float) -> Tensor:
        width = self.widths[level]
        x_t = x / width if self.in_sigma else x
        self.noise = self.predict_noise(x_t, self.told[level])
        self.x0, self.calls = predict_original(self.noise, x_t, 1 / width**2), self.calls + 1
        return self.noise


@dataclass(frozen=True)
class Sampler:
    """A method of getting from noise to latents: the loop, and how diffusers' class of that name uses it."""

    loop: Callable[..., Iterator[Tensor]]
    class_name: str  # in diffusers
    spacing: str  # of the timesteps, where a scheduler_config.json names none
    in_sigma: bool = True  # the loop is one of chapter 4
    exploding: bool = False  # the latents of its steps are x_0 + sigma noise, not x_t
    random: bool = False  # the loop draws fresh noise
    # diffusers' class jumps T // number timesteps at every step, whatever the list says
    strided: bool = False
    open_end: bool = False  # of number + 1 timesteps the last is left out: the last step jumps over it
    ends_clean: bool = True  # the last step goes to the clean picture, not to alpha-bar_0
    karras: bool = False  # it can take Karras' levels
    whole: bool = True  # the network is told whole timesteps only
    places: Callable[[int], list[int]] = each_once  # of so many steps: which one each call is for
    late: Callable[..., Iterator[Tensor]] | None = None  # the loop for a tail, where that is another
    obeys: tuple[str, ...] = ()  # settings of that class that `way` takes
    # its other settings, and the values that we compute
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.loop.__name__

    def fits(self, spacing: str | None) -> bool:
        """Whether the sampler goes with a spacing of the timesteps at any number of steps."""
        return not self.strided or (spacing or self.spacing) == "leading"

    def settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The options of `way` that a scheduler_config.json names, as far as diffusers' class heeds them.

        Raises ValueError for a setting that asks for what this sampler does not compute.
        """
        for key, allowed in self.only.items():
            if key in config and config[key] not in allowed:
                raise ValueError(
                    f"the model's scheduler config asks for {key}={shown(config[key])}, which minisd's "
                    f"{self.name} does not compute; choose another sampler"
                )
        offset, spacing = config.get("steps_offset", 0), config.get("timestep_spacing")
        if type(offset) is not int or not 0 <= offset <= MOST_OFFSET or not isinstance(spacing, str | None):
            raise ValueError(
                "the scheduler config's steps_offset must be a small whole number, its timestep_spacing "
                "a word"
            )
        options: dict[str, Any] = {"offset": offset, "spacing": spacing}
        options |= {key: bool(config.get(key, False)) for key in self.obeys}
        return options

    def timesteps(
        self, number: int, schedule: NoiseSchedule, offset: int = 1, spacing: str | None = None
    ) -> list[float]:
        """The timesteps of `number` steps, largest first; `spacing` is "leading", "linspace" or "trailing".

        50 of 1000 are 981, 961, ..., 1 with leading spacing: every (T // number)-th, shifted by `offset`
        (Stable Diffusion's `steps_offset` 1) as far as there is room. pndm asks about the second one twice.
        Raises ValueError for a number below 1 or above T, and for a spacing that is unknown or not offered.
        """
        chosen = self._levels(number, schedule, offset, spacing)
        return [chosen[place] for place in self.places(number)]

    def _levels(self, number: int, schedule: NoiseSchedule, offset: int, spacing: str | None) -> list[float]:
        """One timestep for every step."""
        spacing, total = spacing or self.spacing, schedule.steps
        if not 1 <= number <= total:
            raise ValueError(f"num_inference_steps must be between 1 and {total}, got {number}")
        points = min(number + self.open_end, total)
        if spacing == "leading":
            grid = np.arange(points, dtype=float) * (total // points)
            grid = (grid + min(offset, total - 1 - grid[-1]))[::-1]
        elif spacing == "linspace":
            grid = np.linspace(0, total - 1, points)[::-1]
            grid = grid.round() if self.whole else grid.astype(np.float32)
        elif spacing == "trailing":
            grid = np.arange(total, 0, -total / number).round() - 1
        else:
            raise ValueError(
                f"unknown timestep spacing {shown(spacing)}; choose leading, linspace or trailing"
            )
        chosen: list[float] = [int(t) if t == int(t) else t for t in grid.tolist()[:number]]
        stride = total // number
        if self.strided and any(a - b != stride for a, b in zip(chosen, chosen[1:])):
            fitting = ", ".join(name for name, sampler in SAMPLERS.items() if not sampler.strided)
            raise ValueError(
                f"{self.name} takes strides of {stride} timesteps, {spacing} spacing does not at {number} "
                f"steps; choose one of the samplers {fitting}"
            )
        return chosen

    def way(
        self,
        schedule: NoiseSchedule,
        number: int,
        offset: int = 1,
        spacing: str | None = None,
        eta: float = 0.0,
        use_karras_sigmas: bool = False,
        set_alpha_to_one: bool = False,
    ) -> "Way":
        """Plan a painting of `number` steps; `offset` and `spacing` as for `timesteps`.

        eta (0 to 1) scales ddim's fresh noise. use_karras_sigmas: between the same two noise levels, those of
        Karras et al. 2022. set_alpha_to_one: ddim and pndm end at the clean picture, too. Raises ValueError
        for what this sampler can't do.
        """
        timesteps = self._levels(number, schedule, offset, spacing)
        way = self.through(schedule, timesteps, eta, set_alpha_to_one)
        way = replace(way, wide=(spacing or self.spacing) == "leading")
        if not use_karras_sigmas:
            return way
        if not self.karras:
            able = ", ".join(name for name, sampler in SAMPLERS.items() if sampler.karras)
            raise ValueError(f"{self.name} does not take Karras' noise levels; choose one of {able}")
        # As in diffusers, dpmpp_2m spreads them over the whole table, the others over the timesteps' levels.
        among = sigmas_of(schedule, [schedule.steps - 1, 0] if self.whole else timesteps)[:-1]
        sigmas = karras_sigmas(number, among[0], among[-1])
        told = [timestep_of(schedule, sigma) for sigma in sigmas]
        told = [round(t) for t in told] if self.whole else told
        return replace(way, timesteps=tuple(told), sigmas=(*sigmas, way.sigmas[-1]))

    def through(
        self,
        schedule: NoiseSchedule,
        timesteps: Sequence[float],
        eta: float = 0.0,
        set_alpha_to_one: bool = False,
    ) -> "Way":
        """The way through these timesteps, one a step, largest first."""
        if eta and self.loop is not ddim:
            raise ValueError(f"eta belongs to the ddim sampler; leave it at 0 with {self.name}")
        *sigmas, end = sigmas_of(schedule, timesteps)
        if not (self.ends_clean or set_alpha_to_one):
            end = sigmas_of(schedule, [0])[0]
        places = tuple(self.places(len(timesteps)))
        return Way(self, tuple(timesteps), (*sigmas, end), places, eta=eta)


@dataclass(frozen=True)
class Way:
    """A painting's plan: the noise levels from the first to the end, and what the network is asked.

    `sigmas` has an entry more than `timesteps`: the end. `places` tells for each call of the network which of
    them it is for; every call makes a step.
    """

    sampler: Sampler
    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...]
    places: tuple[int, ...]
    eta: float
    wide: bool = False  # diffusers' exploding samplers start wider with leading spacing

    def __len__(self) -> int:
        return len(self.places)

    @property
    def asked(self) -> list[float]:
        """The timesteps that the network is told, one for each step."""
        return [self.timesteps[place] for place in self.places]

    @property
    def reached(self) -> list[float]:
        """The noise level, sigma, after each step."""
        return [self.sigmas[place] for place in (*self.places[1:], len(self.timesteps))]

    def last(self, number: int) -> "Way":
        """The last `number` of the steps, for image to image."""
        gone = len(self.timesteps) - number
        if self.sampler.late:  # it looks back at what is gone
            return replace(self, places=self.places[gone:])
        places = tuple(range(number))
        return replace(self, timesteps=self.timesteps[gone:], sigmas=self.sigmas[gone:], places=places)

    def start(self, noise: Tensor) -> Tensor:
        """The first latents, from noise of unit variance.

        Exploding: noise times sigma_max, or sqrt(sigma_max^2 + 1) with leading spacing (diffusers'
        init_noise_sigma).
        """
        sigma = self.sigmas[self.places[0]]
        if not self.sampler.exploding:
            return noise
        return noise * ((sigma**2 + 1) ** 0.5 if self.wide else sigma)

    def noised(self, x0: Tensor, noise: Tensor, sigma: float | None = None) -> Tensor:
        """x0 as the latents of a noise level, by default the first: where image to image starts."""
        sigma = self.sigmas[self.places[0]] if sigma is None else sigma
        x = x0 + sigma * noise
        return x if self.sampler.exploding else x / (sigma**2 + 1) ** 0.5

    def walk(
        self,
        predict_noise: PredictNoise,
        latents: Tensor,
        draw: Draw | None = None,
        keep: Keep | None = None,
    ) -> Iterator[Step]:
        """Follow the way from `latents` on, yielding every step.

        predict_noise(x_t, t) asks the network. `draw` gives a random sampler its fresh noise. keep(latents,
        index) returns what to go on from after step `index`: inpainting puts back what it keeps.
        """
        sampler, late = self.sampler, self.places[0] > 0
        in_sigma = sampler.in_sigma and not late
        levels = self.sigmas if in_sigma else tuple(1 / (1 + sigma**2) for sigma in self.sigmas)
        widths = {level: (sigma**2 + 1) ** 0.5 for level, sigma in zip(levels, self.sigmas, strict=True)}
        ask = Ask(predict_noise, in_sigma, widths, dict(zip(levels, self.timesteps)))

        def to_step(level: float) -> float:
            """What the loop's latents are divided by to be the step's."""
            return widths[level] if in_sigma and not sampler.exploding else 1.0

        def keep_there(x: Tensor, level: float) -> Tensor:
            return x if keep is None else keep(x / to_step(level), ask.calls - 1) * to_step(level)

        options: dict[str, Any] = {"keep": keep_there}
        options |= {"draw": draw} if sampler.random or self.eta else {}
        options |= {"eta": self.eta} if self.eta else {}
        options |= {"places": self.places} if late else {}
        loop = sampler.late if late and sampler.late else sampler.loop
        begin = latents * to_step(levels[self.places[0]])
        reached = [levels[place] for place in (*self.places[1:], len(self.timesteps))]
        for index, x in enumerate(loop(ask, begin, levels, **options)):
            yield Step(index, self.asked[index], x / to_step(reached[index]), ask.x0, ask.noise)


UNCLIPPED: dict[str, tuple[Any, ...]] = {"clip_sample": (False,), "thresholding": (False,)}
OTHER_LEVELS: dict[str, tuple[Any, ...]] = {
    "use_exponential_sigmas": (False, None),
    "use_beta_sigmas": (False, None),
}

SAMPLERS = {
    "ddpm": Sampler(
        ddpm,
        "DDPMScheduler",
        "leading",
        in_sigma=False,
        random=True,
        only=UNCLIPPED | {"variance_type": ("fixed_small", None)},
    ),
    "ddim": Sampler(
        ddim,
        "DDIMScheduler",
        "leading",
        in_sigma=False,
        strided=True,
        ends_clean=False,
        obeys=("set_alpha_to_one",),
        only=UNCLIPPED,
    ),
    "pndm": Sampler(
        pndm,
        "PNDMScheduler",
        "leading",
        strided=True,
        ends_clean=False,
        places=second_twice,
        late=pndm_late,
        obeys=("set_alpha_to_one",),
        only={"skip_prk_steps": (True,)},
    ),
    "euler": Sampler(
        euler,
        "EulerDiscreteScheduler",
        "linspace",
        exploding=True,
        karras=True,
        obeys=("use_karras_sigmas",),
        whole=False,
        only=OTHER_LEVELS
        | {
            "interpolation_type": ("linear",),
            "sigma_min": (None,),
            "sigma_max": (None,),
            "timestep_type": ("discrete",),
            "final_sigmas_type": ("zero",),
        },
    ),
    "euler_a": Sampler(
        euler_a,
        "EulerAncestralDiscreteScheduler",
        "linspace",
        exploding=True,
        random=True,
        karras=True,
        whole=False,
    ),
    "lms": Sampler(
        lms,
        "LMSDiscreteScheduler",
        "linspace",
        exploding=True,
        karras=True,
        obeys=("use_karras_sigmas",),
        whole=False,
        only=OTHER_LEVELS,
    ),
    "dpmpp_2m": Sampler(
        dpmpp_2m,
        "DPMSolverMultistepScheduler",
        "linspace",
        open_end=True,
        karras=True,
        obeys=("use_karras_sigmas",),
        only=OTHER_LEVELS
        | {
            "algorithm_type": ("dpmsolver++",),
            "solver_order": (2,),
            "solver_type": ("midpoint", "logrho", "bh1", "bh2"),  # diffusers reads the others as midpoint
            "thresholding": (False,),
            "use_lu_lambdas": (False,),
            "use_flow_sigmas": (False,),
            "final_sigmas_type": ("zero",),
            "lambda_min_clipped": (-math.inf, None),
            "variance_type": (None,),
        },
    ),
}
