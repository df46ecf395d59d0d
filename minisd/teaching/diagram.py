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
from .drawings import Point, arrow, box, canvas
from .palette import GREY, INK, PAPER, show_picture

STEPS = 30
NETWORK, LATENT, LOOP = "#dce8f3", "#fbeeda", "#f5f5f5"  # learned, painted, repeated
SIZE = (9.0, 5.7)  # inches


@dataclass(frozen=True)
class Seen:
    """What passed through a pipeline's modules while it painted."""

    shapes: dict[str, list[tuple[int, ...]]]  # outputs of text encoder, U-Net, decoder
    timesteps: list[int]  # that the U-Net was told
    noise: np.ndarray  # the first latents, (4, height, width)
    picture: np.ndarray  # (height, width, 3) in [0, 1]


def watch(pipe: StableDiffusion, prompt: str, steps: int) -> Seen:
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
        picture = np.asarray(pipe(prompt, num_inference_steps=steps, output_type="np"))[0]
    return Seen(shapes, [t for _, t in given], given[0][0][0].float().cpu().numpy(), picture)


def by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def millions(module: nn.Module) -> str:
    count = sum(p.numel() for p in module.parameters())
    return f"{count / 1e6:.3g} million weights" if count >= 10**6 else f"{count:,} weights"


def diagram(pipe: StableDiffusion, prompt: str, steps: int = STEPS) -> Axes:
    """Latent diffusion on one page (after Rombach et al. 2022, figure 3), with `pipe`'s own shapes.

    It paints `prompt` once, to see what passes through the modules. The U-Net's output is a guess of the
    noise; the step, which has no weights, makes the next latents of the latents, that guess, the timestep and
    the one after it.
    """
    seen = watch(pipe, prompt, steps)
    axes = canvas(*SIZE)
    draw_words(axes, pipe, seen)
    draw_loop(axes, pipe, seen)
    draw_start(axes, pipe, seen)
    draw_end(axes, pipe, seen)
    return axes


def draw_words(axes: Axes, pipe: StableDiffusion, seen: Seen) -> None:
    """At the left: two texts, the tokenizer, the text encoder, and the contexts that it makes of them."""
    _, tokens, width = seen.shapes["text"][0]
    box(axes, (0.1, 5.1), (1.04, 0.45), "your words", "a sentence")
    box(axes, (1.18, 5.1), (0.82, 0.45), "no words", "“”")
    box(axes, (0.1, 4.25), (1.9, 0.5), "tokenizer", f"{len(pipe.tokenizer):,} tokens")
    box(axes, (0.1, 3.15), (1.9, 0.72), "text encoder", millions(pipe.text_encoder), NETWORK)
    for x in (0.57, 1.57):
        arrow(axes, [(x, 5.1), (x, 4.75)])
        arrow(axes, [(x, 4.25), (x, 3.87)])
    write(axes, (1.07, 4.06), f"{tokens} ids")
    route(axes, [(2.0, 3.7), (2.2, 3.7), (2.2, 4.72), (4.0, 4.72)])
    route(axes, [(2.0, 3.45), (4.0, 3.45)])
    write(axes, (2.75, 4.86), "$c$", 12)
    write(axes, (2.75, 3.59), r"$\varnothing$", 12)
    write(axes, (1.05, 3.02), f"each {tokens} × {width}, read once")


def draw_loop(axes: Axes, pipe: StableDiffusion, seen: Seen) -> None:
    """In the middle: two calls of the U-Net, the guidance, the step, and the way round."""
    frame: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.15", "zorder": 0}
    axes.add_patch(FancyBboxPatch((2.35, 1.3), 5.15, 4.3, facecolor=LOOP, edgecolor=GREY, **frame))
    axes.text(2.5, 5.38, rounds(seen.timesteps), fontsize=10, va="center", fontweight="bold")
    shape = by(seen.shapes["unet"][0][1:])
    box(axes, (2.51, 2.0), (0.92, 0.55), "$z_t$", shape, LATENT, fontsize=10.5)
    box(axes, (4.0, 4.2), (1.35, 0.72), "U-Net", "with your words", NETWORK)
    box(axes, (4.0, 2.95), (1.35, 0.72), "U-Net", "without words", NETWORK)
    write(axes, (4.68, 3.935), f"the same network:\n{millions(pipe.unet)}")
    box(axes, (5.8, 3.45), (1.5, 0.9), "")
    axes.text(6.55, 4.17, "guidance", fontsize=10, fontweight="bold", ha="center", va="center", zorder=4)
    made = r"$z_{t'}$ from $z_t$, $\hat\epsilon$, $t$ and $t'$"
    box(axes, (5.8, 1.9), (1.5, 0.75), "step", made, fontsize=11)
    formula = r"$\hat\epsilon = \hat\epsilon_\varnothing + s\,(\hat\epsilon_c - \hat\epsilon_\varnothing)$"
    write(axes, (6.55, 3.87), f"{formula}\n$s$ = {pipe.guidance_scale:g}", 9.5)
    for bend, height in ((3.15, 2.28), (4.4, 3.15)):
        route(axes, [(3.7, height), (3.7, bend), (4.0, bend)])
    route(axes, [(3.43, 2.28), (5.8, 2.28)])
    route(axes, [(5.35, 4.55), (5.55, 4.55), (5.55, 4.1), (5.8, 4.1)])
    route(axes, [(5.35, 3.3), (5.55, 3.3), (5.55, 3.7), (5.8, 3.7)])
    route(axes, [(6.55, 3.45), (6.55, 2.65)])
    route(axes, [(7.4, 2.28), (7.4, 1.45), (3.15, 1.45), (3.15, 2.0)])
    write(axes, (5.63, 4.73), r"$\hat\epsilon_c$", 12)
    write(axes, (5.63, 3.12), r"$\hat\epsilon_\varnothing$", 12)
    write(axes, (6.65, 3.05), "$\\hat\\epsilon$: the noise,\nguessed", ha="left")
    write(axes, (4.75, 1.6), "$z_{t'}$ has a little less noise: it is the next round's $z_t$")
    for junction in ((3.7, 2.28), (3.7, 3.15), (7.4, 2.28)):
        axes.plot(*junction, "o", color=INK, markersize=4.5, zorder=2)
    for place, end in (((4.68, 5.17), 4.92), ((4.68, 2.7), 2.95), ((6.55, 1.73), 1.95)):
        clock(axes, place, end)


def rounds(timesteps: list[int]) -> str:
    """The loop's title: for t = 958, 925, ..., 1   (30 rounds)."""
    count = len(timesteps)
    shown = list(map(str, timesteps)) if count < 4 else [*map(str, timesteps[:2]), "...", str(timesteps[-1])]
    return f"for $t$ = {', '.join(shown)}   ({count} round{'s' * (count > 1)})"


def draw_start(axes: Axes, pipe: StableDiffusion, seen: Seen) -> None:
    """At the lower left: where the loop begins, with noise alone or with a picture under noise."""
    paste(axes, (0.15, 1.93), 0.7, (seen.noise[:3].transpose(1, 2, 0) / 4 + 0.5).clip(0, 1))
    write(axes, (0.5, 1.83), "noise")
    arrow(axes, [(0.87, 2.28), (2.51, 2.28)])
    axes.text(1.62, 2.38, "text to image", fontsize=9, fontweight="bold", ha="center")
    write(axes, (1.62, 2.15), "$z_t$ is noise at first")
    paste(axes, (0.15, 0.25), 0.7, seen.picture)
    write(axes, (0.58, 0.14), "a picture of yours")
    axes.text(0.15, 1.05, "image to image", fontsize=9, fontweight="bold")
    box(axes, (1.2, 0.32), (1.3, 0.55), "encoder", millions(pipe.vae.encoder), NETWORK, dashed=True)
    box(axes, (2.85, 0.32), (1.3, 0.55), "add noise", "up to the first $t$", dashed=True)
    for x, end in ((0.87, 1.2), (2.5, 2.85)):
        arrow(axes, [(x, 0.6), (end, 0.6)], dashed=True)
    arrow(axes, [(2.95, 0.87), (2.95, 2.0)], dashed=True)
    write(axes, (2.67, 0.72), "$z$", 10)
    notes = [
        "The lower the strength, the lower the first $t$ and the fewer the rounds.",
        "Blue boxes are learned networks, with their number of weights.",
        "White boxes are fixed rules.",
        "Dashed: only where one starts from a picture.",
    ]
    for y, note in zip((0.84, 0.63, 0.42, 0.21), notes):
        write(axes, (4.35, y), note, ha="left")


def draw_end(axes: Axes, pipe: StableDiffusion, seen: Seen) -> None:
    """At the right: the decoder and the picture that it made."""
    arrow(axes, [(7.3, 2.28), (7.72, 2.28)])
    box(axes, (7.72, 1.98), (1.15, 0.6), "decoder", millions(pipe.vae.decoder), NETWORK)
    write(axes, (8.3, 1.72), "after the last round")
    arrow(axes, [(8.3, 2.58), (8.3, 3.0)])
    paste(axes, (7.72, 3.0), 1.15, seen.picture)
    axes.text(8.3, 4.4, "your picture", fontsize=10, fontweight="bold", ha="center")
    write(axes, (8.3, 4.28), by(seen.shapes["decoder"][0][1:]))


def route(axes: Axes, points: Sequence[Point]) -> None:
    """An arrow inside the loop."""
    arrow(axes, points, paper=LOOP)


def clock(axes: Axes, at: Point, end: float) -> None:
    """The timestep, told to the box whose edge lies at the height `end`."""
    axes.add_patch(Circle(at, 0.13, facecolor=PAPER, edgecolor=INK, zorder=3))
    write(axes, at, "$t$", 10)
    route(axes, [(at[0], at[1] + (0.13 if end > at[1] else -0.13)), (at[0], end)])


def paste(axes: Axes, corner: Point, side: float, picture: np.ndarray) -> None:
    """A square picture, (height, width, 3), with its lower left corner there."""
    show_picture(axes.inset_axes((*corner, side, side), transform=axes.transData), picture)


def write(axes: Axes, at: Point, words: str, fontsize: float = 8, ha: str = "center") -> None:
    axes.text(*at, words, fontsize=fontsize, ha=ha, va="center", color=INK, zorder=4)
