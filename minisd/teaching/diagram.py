"""The machine as a drawing: boxes for the networks, and the shapes that passed through them."""

import html
from collections.abc import Sequence

import torch

from ..pipeline import StableDiffusion

INK, PAPER, BOX, LATENT = "#222222", "#ffffff", "#e8eef4", "#fbeeda"
STEPS = 30
WIDTH, HEIGHT = 760, 290


class Drawing:
    """SVG text that a notebook shows as a picture."""

    def __init__(self, svg: str):
        self.svg = svg

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return "<drawing>"


def shapes_seen(pipe: StableDiffusion, prompt: str, steps: int) -> dict[str, list[tuple[int, ...]]]:
    """The shape of every network's first output while a picture is painted, and how often each was called."""
    seen: dict[str, list[tuple[int, ...]]] = {
        name: [] for name in ("text_encoder", "unet", "encoder", "decoder")
    }
    modules = {
        "text_encoder": pipe.text_encoder,
        "unet": pipe.unet,
        "encoder": pipe.vae.encoder,
        "decoder": pipe.vae.decoder,
    }
    hooks = [
        module.register_forward_hook(lambda m, i, out, name=name: seen[name].append(tuple(out.shape)))
        for name, module in modules.items()
    ]
    try:
        pipe(prompt, num_inference_steps=steps, output_type="np")
    finally:
        for hook in hooks:
            hook.remove()
    return seen


class Sheet:
    """The pieces of a drawing, in SVG."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def text(self, x: float, y: float, words: str, size: int = 13, weight: str = "normal") -> None:
        self.parts.append(
            f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="middle" '
            f'fill="{INK}">{html.escape(words)}</text>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        title: str,
        below: str,
        colour: str = BOX,
        dash: str = "",
    ) -> None:
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{colour}" stroke="{INK}" '
            f'stroke-dasharray="{dash}"/>'
        )
        self.text(x + width / 2, y + height / 2 - 3, title, 14, "bold")
        self.text(x + width / 2, y + height / 2 + 14, below, 11)

    def arrow(
        self, points: Sequence[tuple[float, float]], label: str = "", at: tuple[float, float] = (0, 0)
    ) -> None:
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1.6" '
            'marker-end="url(#tip)"/>'
        )
        if label:
            self.text(*at, label, 11)

    def svg(self) -> str:
        tip = (
            '<defs><marker id="tip" markerWidth="9" markerHeight="9" refX="7" refY="3.5" orient="auto">'
            f'<path d="M0,0 L8,3.5 L0,7 z" fill="{INK}"/></marker></defs>'
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'font-family="sans-serif"><rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>{tip}'
            f"{''.join(self.parts)}</svg>"
        )


def diagram(pipe: StableDiffusion, prompt: str, steps: int = STEPS) -> Drawing:
    """Latent diffusion as boxes and arrows (Rombach et al. 2022, figure 3), with `pipe`'s own shapes.

    It paints `prompt` once, to see what passes through the modules.
    """
    seen = shapes_seen(pipe, prompt, steps)
    ids = tuple(pipe.tokenizer([prompt]).shape)
    context, latents, pixels = seen["text_encoder"][0][1:], seen["unet"][0][1:], seen["decoder"][0][1:]
    calls = len(seen["unet"])
    sheet = Sheet()

    def by(shape: tuple[int, ...]) -> str:
        return " x ".join(map(str, shape))

    def size(module: torch.nn.Module) -> str:
        return f"{sum(p.numel() for p in module.parameters()):,} weights"

    sheet.box(10, 20, 130, 46, "your words", "a sentence", PAPER)
    sheet.box(10, 110, 130, 46, "tokenizer", f"{len(pipe.tokenizer):,} tokens")
    sheet.box(10, 200, 130, 46, "text encoder", size(pipe.text_encoder))
    sheet.box(300, 90, 170, 76, "U-Net", size(pipe.unet))
    sheet.box(300, 220, 170, 46, "noise", by(latents), LATENT)
    sheet.box(590, 60, 150, 46, "decoder", size(pipe.vae.decoder))
    sheet.box(590, 150, 150, 46, "your picture", by(pixels), PAPER)
    sheet.box(590, 225, 150, 46, "encoder", f"called {len(seen['encoder'])} times", BOX, "4 4")
    sheet.arrow([(75, 66), (75, 108)])
    sheet.arrow([(75, 156), (75, 198)], f"ids {by(ids[1:])}", (112, 182))
    sheet.arrow([(140, 223), (220, 223), (220, 140), (298, 140)], f"context {by(context)}", (205, 245))
    sheet.arrow([(385, 220), (385, 168)], "once", (408, 198))
    round_again = [(470, 110), (520, 110), (520, 45), (270, 45), (270, 112), (298, 112)]
    sheet.arrow(round_again, f"{calls} times: a little less noise", (395, 36))
    sheet.arrow([(520, 83), (588, 83)], f"latents {by(latents)}", (552, 128))
    sheet.arrow([(665, 106), (665, 148)])
    return Drawing(sheet.svg())
