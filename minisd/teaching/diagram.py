"""The whole machine as one drawing, with the shapes that passed through a pipeline's own modules."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch
from torch import Tensor, nn

from ..pipeline import StableDiffusion
from .drawings import Point, arrow, box, canvas, paste
from .palette import GREY, INK, PAPER

STEPS = 30
NETWORK, LATENT, LOOP = "#dce8f3", "#fbeeda", "#f5f5f5"  # learned, painted, repeated
SIZE = (9.0, 6.6)  # inches


@dataclass(frozen=True)
class Seen:
    """What passed through a pipeline's modules while it painted."""

    shapes: dict[str, list[tuple[int, ...]]]  # outputs of text encoder, U-Net, decoder
    timesteps: list[int]  # that the U-Net was told
    noise: np.ndarray  # the first latents, (4, height, width)
    picture: np.ndarray  # (height, width, 3) in [0, 1]


def watch(pipe: StableDiffusion, prompt: str, steps: int, seed: int = 0) -> Seen:
    """Paint `prompt` and note what passes by."""
    parts = {"text": pipe.text_encoder, "unet": pipe.unet, "decoder": pipe.vae.decoder}
    shapes: dict[str, list[tuple[int, ...]]] = {name: [] for name in parts}
    given: list[tuple[Tensor, int]] = []  # latents and timestep of the U-Net's calls
    with ExitStack() as hooks:
        for name, part in parts.items():
            note = partial(lambda name, module, args, out: shapes[name].append(tuple(out.shape)), name)
            hooks.enter_context(part.register_forward_hook(note))
        before = pipe.unet.register_forward_pre_hook(lambda unet, args: given.append((args[0], int(args[1]))))
        hooks.enter_context(before)
        painted = pipe(prompt, num_inference_steps=steps, seed=seed, output_type="np")
    return Seen(shapes, [t for _, t in given], given[0][0][0].float().cpu().numpy(), np.asarray(painted)[0])


def by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def millions(module: nn.Module) -> str:
    count = sum(p.numel() for p in module.parameters())
    return f"{count / 1e6:.3g} million weights" if count >= 10**6 else f"{count:,} weights"


def diagram(
    pipe: StableDiffusion, prompt: str, steps: int = STEPS, seed: int = 0, start: np.ndarray | None = None
) -> Axes:
    """Latent diffusion on one page (after Rombach et al. 2022, figure 3), with `pipe`'s own shapes.

    It paints `prompt` once, from `seed`, to see what passes through the modules. The U-Net's output is a
    guess at the noise; the step, which has no weights, makes the next latents from the latents, that guess,
    the timestep and the one after it. start: the picture, (height, width, 3), at which image to image begins;
    without one, the painted picture stands there.
    """
    seen = watch(pipe, prompt, steps, seed)
    axes = canvas(*SIZE)
    draw_words(axes, pipe, seen)
    draw_loop(axes, pipe, seen)
    draw_step(axes)
    draw_start(axes, pipe, seen, seen.picture if start is None else start)
    draw_end(axes, pipe, seen)
    draw_legend(axes)
    return axes


def draw_words(axes: Axes, pipe: StableDiffusion, seen: Seen) -> None:
    """At the left: two texts, the tokenizer, the text encoder, and the contexts that it makes of them."""
    _, tokens, width = seen.shapes["text"][0]
    box(axes, (0.08, 5.92), (1.18, 0.55), "your words", "a sentence", fontsize=11.5)
    box(axes, (1.29, 5.92), (1.0, 0.55), "no words", "“”", fontsize=11.5)
    box(axes, (0.1, 4.95), (2.16, 0.6), "tokenizer", f"{len(pipe.tokenizer):,} tokens", fontsize=12)
    box(axes, (0.1, 3.85), (2.16, 0.7), "text encoder", millions(pipe.text_encoder), NETWORK, fontsize=12)
    for x in (0.6, 1.77):
        arrow(axes, [(x, 5.92), (x, 5.55)])
        arrow(axes, [(x, 4.95), (x, 4.55)])
    write(axes, (1.18, 4.75), f"{tokens} ids")
    route(axes, [(2.26, 4.4), (2.36, 4.4), (2.36, 5.35), (4.05, 5.35)])
    route(axes, [(2.26, 4.02), (4.05, 4.02)])
    write(axes, (3.1, 5.52), "$c$", 14)
    write(axes, (3.1, 4.2), r"$\varnothing$", 14)
    write(axes, (1.18, 3.68), f"each {tokens} × {width}, read once")


def draw_loop(axes: Axes, pipe: StableDiffusion, seen: Seen) -> None:
    """In the middle: the latents, two calls of the U-Net, and the guidance."""
    frame: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.15", "zorder": 0}
    axes.add_patch(FancyBboxPatch((2.5, 1.55), 5.08, 4.95, facecolor=LOOP, edgecolor=GREY, **frame))
    axes.text(2.65, 6.27, rounds(seen.timesteps), fontsize=12, va="center", fontweight="bold")
    shape = by(seen.shapes["unet"][0][1:])
    box(axes, (2.6, 2.43), (1.06, 0.64), "$z_t$", shape, LATENT, fontsize=12)
    box(axes, (4.05, 4.8), (1.4, 0.75), "U-Net", "with your words", NETWORK, fontsize=12)
    box(axes, (4.05, 3.45), (1.4, 0.75), "U-Net", "without words", NETWORK, fontsize=12)
    write(axes, (4.75, 4.5), f"the same network:\n{millions(pipe.unet)}")
    box(axes, (5.85, 3.9), (1.6, 1.05), "")
    axes.text(6.65, 4.73, "guidance", fontsize=12, fontweight="bold", ha="center", va="center", zorder=4)
    formula = r"$\hat\epsilon = \hat\epsilon_\varnothing + s\,(\hat\epsilon_c - \hat\epsilon_\varnothing)$"
    write(axes, (6.65, 4.3), f"{formula}\n$s$ = {pipe.guidance_scale:g}", 11)
    for bend, height in ((3.68, 2.75), (4.98, 3.68)):
        route(axes, [(3.83, height), (3.83, bend), (4.05, bend)])
    route(axes, [(5.45, 5.17), (5.67, 5.17), (5.67, 4.62), (5.85, 4.62)])
    route(axes, [(5.45, 3.82), (5.67, 3.82), (5.67, 4.2), (5.85, 4.2)])
    write(axes, (5.75, 5.37), r"$\hat\epsilon_c$", 14)
    write(axes, (5.75, 3.6), r"$\hat\epsilon_\varnothing$", 14)
    clock(axes, (4.75, 5.85), 5.55)
    clock(axes, (4.75, 3.15), 3.45)


def rounds(timesteps: list[int]) -> str:
    """The loop's title: for t = 958, 925, ..., 1   (30 rounds)."""
    count = len(timesteps)
    shown = list(map(str, timesteps)) if count < 4 else [*map(str, timesteps[:2]), "...", str(timesteps[-1])]
    return f"for $t$ = {', '.join(shown)}   ({count} round{'s' * (count > 1)})"


def draw_step(axes: Axes) -> None:
    """At the lower right of the loop: the step, what it is told, and the way round."""
    route(axes, [(3.66, 2.75), (5.85, 2.75)])
    route(axes, [(6.65, 3.9), (6.65, 3.08)])
    write(axes, (6.75, 3.52), "$\\hat\\epsilon$: guessed\nnoise", ha="left")
    box(axes, (5.85, 2.42), (1.6, 0.66), "step", "from $z_t$ to $z_{t'}$", fontsize=12)
    clock(axes, (6.35, 2.14), 2.42)
    clock(axes, (6.95, 2.14), 2.42, "$t'$")
    route(axes, [(7.515, 2.75), (7.515, 1.68), (3.35, 1.68), (3.35, 2.43)])
    write(axes, (4.83, 1.85), "a little less noise: the next round's $z_t$")
    for junction in ((3.83, 2.75), (3.83, 3.68), (7.515, 2.75)):
        axes.plot(*junction, "o", color=INK, markersize=4.5, zorder=2)


def draw_start(axes: Axes, pipe: StableDiffusion, seen: Seen, start: np.ndarray) -> None:
    """At the lower left: where the loop begins, with noise alone or with a picture under noise."""
    paste(axes, (0.15, 2.4), 0.75, (seen.noise[:3].transpose(1, 2, 0) / 4 + 0.5).clip(0, 1))
    write(axes, (0.52, 2.27), "noise")
    arrow(axes, [(0.93, 2.75), (2.6, 2.75)])
    axes.text(1.7, 2.86, "text to image", fontsize=11, fontweight="bold", ha="center")
    write(axes, (1.7, 2.59), "$z_t$ is noise at first")
    axes.text(0.15, 1.4, "image to image", fontsize=11, fontweight="bold")
    paste(axes, (0.15, 0.42), 0.85, start)
    write(axes, (0.57, 0.28), "a picture")
    box(axes, (1.17, 0.52), (1.28, 0.65), "encoder", millions(pipe.vae.encoder), NETWORK, True, fontsize=11.5)
    box(axes, (2.75, 0.52), (1.25, 0.65), "add noise", "up to the first $t$", dashed=True, fontsize=12)
    for x, end in ((1.0, 1.17), (2.45, 2.75)):
        arrow(axes, [(x, 0.845), (end, 0.845)], dashed=True)
    arrow(axes, [(2.95, 1.17), (2.95, 2.43)], dashed=True)
    write(axes, (2.59, 1.02), "$z$", 12)


def draw_end(axes: Axes, pipe: StableDiffusion, seen: Seen) -> None:
    """At the right: the decoder and the picture that it made."""
    arrow(axes, [(7.45, 2.75), (7.69, 2.75)])
    box(axes, (7.69, 2.42), (1.28, 0.66), "decoder", millions(pipe.vae.decoder), NETWORK, fontsize=11.5)
    write(axes, (8.32, 2.13), "after the\nlast round")
    arrow(axes, [(8.32, 3.08), (8.32, 3.5)])
    paste(axes, (7.7, 3.5), 1.25, seen.picture)
    axes.text(8.32, 5.0, "your picture", fontsize=12, fontweight="bold", ha="center")
    write(axes, (8.32, 4.86), by(seen.shapes["decoder"][0][1:]))


def draw_legend(axes: Axes) -> None:
    """At the lower right: what the looks of the boxes mean."""
    looks = (
        (NETWORK, False, "a learned network, with its number of weights"),
        (LATENT, False, "latents: they change in every round"),
        (PAPER, False, "an input or a fixed rule"),
        (PAPER, True, "only where one starts from a picture"),
    )
    for y, (colour, dashed, words) in zip((1.1, 0.8, 0.5, 0.2), looks):
        box(axes, (4.4, y - 0.09), (0.34, 0.18), "", colour=colour, dashed=dashed)
        write(axes, (4.85, y), words, ha="left")


def route(axes: Axes, points: Sequence[Point]) -> None:
    """An arrow inside the loop."""
    arrow(axes, points, paper=LOOP)


def clock(axes: Axes, at: Point, end: float, time: str = "$t$") -> None:
    """The timestep, told to the box whose edge lies at the height `end`."""
    axes.add_patch(Circle(at, 0.15, facecolor=PAPER, edgecolor=INK, zorder=3))
    write(axes, at, time, 12)
    route(axes, [(at[0], at[1] + (0.15 if end > at[1] else -0.15)), (at[0], end)])


def write(axes: Axes, at: Point, words: str, fontsize: float = 10, ha: str = "center") -> None:
    axes.text(*at, words, fontsize=fontsize, ha=ha, va="center", color=INK, zorder=4)
