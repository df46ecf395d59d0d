"""The known traps of Stable Diffusion 1.x, and what each does to the tensors at its place.

A guess is a function of a `Spot` at the place where two programs part. It yields, for each wrong way it
knows, `(trap, what is said, tensor that this wrong way gives, our tensor, the reference's tensor)`. The
guessed tensor is computed from the reference's inputs and weights; where it comes ten times nearer to ours
than the reference's own tensor, ours does it that wrong way.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..schedule import NoiseSchedule

TRAPS = {
    1: "CLIP's activation is quick-GELU, x sigmoid(1.702 x), and the eps of every LayerNorm is 1e-5",
    2: (
        "the context is the text encoder's last layer after final_layer_norm; its mask is causal and hides "
        "no padding"
    ),
    3: (
        "token ids begin with BOS, end with EOS and are padded with EOS to 77; a text that is cut keeps its "
        "EOS"
    ),
    4: "before the merges words are lower-cased, spaces collapsed, contractions and single digits split off",
    5: (
        "GroupNorm's eps is 1e-5 in the U-Net's ResNet blocks and output, 1e-6 in its transformers and in "
        "all the VAE"
    ),
    6: "the U-Net's attention has 8 heads at every level, of whatever size, and the VAE's one",
    7: (
        "GEGLU's linear layer gives the value first and the gate second, and the gate goes through the "
        "exact GELU"
    ),
    8: (
        "the time embedding is [cos, sin] without shift; each ResNet block applies SiLU, then a linear "
        "layer, and adds"
    ),
    9: "halving pads right and below in the VAE, all sides in the U-Net; doubling repeats the nearest pixel",
    10: (
        "latents are divided by scaling_factor before decoding; the encoder's log-variance is kept within "
        "[-30, 20]"
    ),
    11: "betas are the squares of linspace(sqrt(0.00085), sqrt(0.012), 1000)",
    12: "timesteps have leading spacing and offset 1: 50 steps are 981, 961, ..., 1",
    13: "the last step ends at alpha-bar_0 and not at 1",
    14: "the predicted x0 is never clamped to [-1, 1] in latent space",
    15: "PNDM without Runge-Kutta steps asks the U-Net once more than it has steps: 667, 334, 334, 1",
    16: "DDIM's sigma is eta sqrt((1 - ab_prev) / (1 - ab_t)) sqrt(1 - ab_t / ab_prev), its direction "
    "sqrt(1 - ab_prev - sigma^2)",
    17: (
        "Euler's initial latents are scaled by its largest sigma, the U-Net's input divided by sqrt(sigma^2 "
        "+ 1)"
    ),
    18: "guidance is e_u + s (e_c - e_u), computed on one batch of [unconditional, conditional]",
    20: "the initial noise is drawn in float32 on the CPU, each picture's from its own seed",
    21: "pictures are rounded to 8 bits, not truncated",
}
NEARER = 0.1  # a guess explains our tensor when it leaves less than this share of the difference

Guess = tuple[int, str, Tensor, Tensor | None, Tensor]


@dataclass
class Record:
    """One call of a module: the tensors that went in, the one that came out, or the error that stopped it."""

    inputs: list[Tensor]
    output: Tensor | None = None
    module: Any = None  # a module of minisd, diffusers, transformers or the reader; guesses ask for its parts
    error: str = ""


@dataclass
class Spot:
    """The place where the programs part, with all that both recorded; `options` are the pipelines' own."""

    name: str
    ours: dict[str, Record]
    theirs: dict[str, Record]
    reference: Any = None
    options: dict = field(default_factory=dict)

    @property
    def module(self) -> Any:
        return self.theirs[self.name].module if self.name in self.theirs else None

    @property
    def inputs(self) -> list[Tensor]:
        """What the reference's module got."""
        return self.theirs[self.name].inputs

    def has(self, part: str) -> bool:
        return f"{self.name}.{part}" in self.theirs

    def output(self, part: str = "") -> Tensor:
        """What came out of the reference's module, or of a part of it."""
        output = self.theirs[f"{self.name}.{part}" if part else self.name].output
        assert output is not None, "guesses are made where both programs went on"
        return output

    def outputs(self) -> tuple[Tensor | None, Tensor]:
        """What came out at this place: ours, the reference's."""
        return getattr(self.ours.get(self.name), "output", None), self.output()

    def into(self, part: str) -> tuple[Tensor | None, Tensor]:
        """What went into a part of the module: ours, the reference's."""
        name = f"{self.name}.{part}"
        ours = self.ours.get(name)
        return (ours.inputs[0] if ours and ours.inputs else None), self.theirs[name].inputs[0]


def distance(a: Tensor | None, b: Tensor | None) -> float:
    """Mean absolute difference; infinite between tensors that can't be compared, and for NaN."""
    if a is None or b is None or a.shape != b.shape:
        return float("inf")
    difference = (a.cpu().double() - b.cpu().double()).abs().mean().item()
    return difference if difference == difference else float("inf")


# ---- the text encoder


def tokens(spot: Spot) -> Iterator[Guess]:
    ours, ids = spot.outputs()
    if ours is None or ours.shape != ids.shape:
        return
    end = ids.argmax(dim=-1, keepdim=True)  # EOS has the highest id, argmax finds the first
    place = torch.arange(ids.shape[1], device=ids.device)
    bos, eos, pad = ours[:, :1], ours.gather(1, end), ours[:, -1:]
    padded = torch.where(place > end, pad, ids)
    yield 3, f"ours pads with {pad[0].item()}, the reference with {ids[0, -1].item()}", padded, ours, ids
    uncut = torch.cat([ids[:, :-1], pad], dim=1)
    yield 3, "ours loses the EOS of a text that is cut", uncut, ours, ids
    yield 3, "ours has no BOS", torch.cat([ids[:, 1:], pad], dim=1), ours, ids
    renamed = torch.where(place == 0, bos, torch.where(place == end, eos, padded))
    yield 3, "the ids of BOS, EOS and padding are others, the words are the same", renamed, ours, ids
    if torch.equal(ours[:, [0, -1]], ids[:, [0, -1]]):
        yield 4, "the ends are right and the words in between are split otherwise", ours, ours, ids


def layer_norm(spot: Spot) -> Iterator[Guess]:
    m = spot.module
    if spot.name.endswith("final_layer_norm"):
        yield 2, "ours leaves it out", spot.inputs[0], *spot.outputs()
    for eps in {1e-12, 1e-6, 1e-5, 1e-3} - {m.eps}:
        guess = F.layer_norm(spot.inputs[0], m.normalized_shape, m.weight, m.bias, eps)
        yield 1, f"ours behaves like eps {eps:g}, the reference has {m.eps:g}", guess, *spot.outputs()


ACTIVATIONS = {
    "quick-GELU": lambda x: x * torch.sigmoid(1.702 * x),
    "the exact GELU": F.gelu,
    "SiLU": F.silu,
    "tanh-GELU": lambda x: F.gelu(x, approximate="tanh"),
    "ReLU": F.relu,
    "sigmoid": torch.sigmoid,
}


def mlp(spot: Spot) -> Iterator[Guess]:
    for name, activation in ACTIVATIONS.items():
        yield 1, f"ours computes {name}", activation(spot.output("fc1")), *spot.into("fc2")


def last_norm(spot: Spot) -> Iterator[Guess]:
    yield 2, "ours leaves out final_layer_norm", spot.into("final_layer_norm")[1], *spot.outputs()


def last_layer(spot: Spot) -> Iterator[Guess]:
    last = max(n for n in range(len(spot.theirs)) if spot.has(f"layers.{n}"))
    if last:
        yield 2, "ours stops one layer too early", spot.output(f"layers.{last - 1}"), *spot.outputs()


# ---- attention and its feed-forward


def attention(spot: Spot) -> Iterator[Guess]:
    clip = spot.has("q_proj")
    q, k, v = (spot.output(f"{part}_proj" if clip else f"to_{part}") for part in "qkv")
    out, width = "out_proj" if clip else "to_out.0", q.shape[-1]
    heads = getattr(spot.module, "num_heads", None) or spot.module.heads

    def attend(heads: int, **how: Any) -> Tensor:
        queries, keys, values = (rearrange(x, "b n (h d) -> b h n d", h=heads) for x in (q, k, v))
        seen = F.scaled_dot_product_attention(queries, keys, values, **how)
        return rearrange(seen, "b h n d -> b n (h d)")

    number = 2 if clip else 6
    for h in (h for h in range(1, width + 1) if width % h == 0 and h != heads):
        said = f"ours has {h} heads of {width // h} channels, the reference {heads} of {width // heads}"
        yield number, said, attend(h, is_causal=clip), *spot.into(out)
    yield number, "ours does not divide by sqrt(d)", attend(heads, is_causal=clip, scale=1.0), *spot.into(out)
    network = spot.theirs.get(spot.name.split(".")[0])
    if clip and network and network.inputs[0].ndim == 2:
        ids = network.inputs[0]
        place = torch.arange(ids.shape[1], device=ids.device)
        seen = (place <= ids.argmax(dim=-1, keepdim=True))[:, None, None]
        yield 2, "ours has no causal mask", attend(heads), *spot.into(out)
        causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()
        yield 2, "ours hides the padding", attend(heads, attn_mask=seen & causal), *spot.into(out)
        said = "ours hides the padding and has no causal mask"
        yield 2, said, attend(heads, attn_mask=seen), *spot.into(out)


def geglu(spot: Spot) -> Iterator[Guess]:
    first, second = spot.output("proj").chunk(2, dim=-1)
    yield 7, "ours takes the gate first and the value second", F.gelu(first) * second, *spot.outputs()
    for name, activation in ACTIVATIONS.items():
        yield 7, f"ours puts the gate through {name}", first * activation(second), *spot.outputs()


# ---- norms, time, resampling


def group_norm(spot: Spot) -> Iterator[Guess]:
    m, x = spot.module, spot.inputs[0]
    for eps in {1e-8, 1e-6, 1e-5, 1e-3} - {m.eps}:
        guess = F.group_norm(x, m.num_groups, m.weight, m.bias, eps)
        yield 5, f"ours behaves like eps {eps:g}, the reference has {m.eps:g}", guess, *spot.outputs()
    for groups in (g for g in (1, 2, 4, 8, 16, 32) if m.num_channels % g == 0 and g != m.num_groups):
        guess = F.group_norm(x, groups, m.weight, m.bias, m.eps)
        yield 5, f"ours has {groups} groups, the reference {m.num_groups}", guess, *spot.outputs()


def sinusoids(spot: Spot) -> Iterator[Guess]:
    ours, theirs = spot.into("time_embedding")
    half, t = theirs.shape[-1] // 2, spot.inputs[1].float()

    def waves(shift: int = 0, t: Tensor = t) -> tuple[Tensor, Tensor]:
        frequencies = torch.exp(-np.log(10000.0) * torch.arange(half, device=t.device) / (half - shift))
        angles = (t * frequencies).expand(theirs.shape[0], half)
        return angles.cos(), angles.sin()

    cos, sin = waves()
    yield 8, "ours has the sines before the cosines", torch.cat([sin, cos], dim=-1), ours, theirs
    said = "ours divides the exponent by half - 1 (freq_shift 1)"
    yield 8, said, torch.cat(waves(shift=1), dim=-1), ours, theirs
    yield 8, "ours embeds t + 1", torch.cat(waves(t=t + 1), dim=-1), ours, theirs


def resnet_time(spot: Spot) -> Iterator[Guess]:
    yield 8, "ours has no SiLU before time_emb_proj", spot.inputs[1], *spot.into("time_emb_proj")
    yield 8, "ours never adds the time", spot.output("conv1"), *spot.into("norm2")


def downsample(spot: Spot) -> Iterator[Guess]:
    conv, x = getattr(spot.module, "conv", spot.module), spot.inputs[0]
    for said, pad in (
        ("right and below", (0, 1, 0, 1)),
        ("all sides", (1, 1, 1, 1)),
        ("left and above", (1, 0, 1, 0)),
    ):
        padded = F.conv2d(F.pad(x, pad), conv.weight, conv.bias, stride=2)
        yield 9, f"ours pads {said}", padded, *spot.outputs()


def upsample(spot: Spot) -> Iterator[Guess]:
    x = spot.inputs[0]
    size = spot.into("conv")[1].shape[2:]
    for mode in ("bilinear", "bicubic"):
        for align in (False, True):
            said = f"ours doubles with mode {mode}, align_corners={align}"
            yield 9, said, F.interpolate(x, size=size, mode=mode, align_corners=align), *spot.into("conv")


# ---- the pipeline


def factor(a: Tensor | None, b: Tensor) -> float:
    """The number f for which f b is nearest to a; NaN if there is no a, or one of another shape."""
    if a is None or a.shape != b.shape:
        return float("nan")
    return ((a * b).sum() / (b * b).sum()).item()


def euler_scale(spot: Spot) -> Iterator[Guess]:
    ours, theirs = spot.outputs()
    f = factor(ours, theirs)
    yield 17, f"ours is {f:.6g} times the reference's", f * theirs, ours, theirs


def latent_scale(spot: Spot) -> Iterator[Guess]:
    ours, theirs = spot.outputs()
    latents = spot.inputs[0]
    a, b = factor(ours, latents), factor(theirs, latents)
    yield 10, f"ours divides by {1 / a:.6g}, the reference by {1 / b:.6g}", a * latents, ours, theirs


def log_variance(spot: Spot) -> Iterator[Guess]:
    mean, logvar = spot.inputs[0].chunk(2, dim=1)
    yield 10, "ours does not clamp it", logvar, *spot.outputs()
    yield 10, "ours takes the mean's half for it", mean, *spot.outputs()


def timesteps(spot: Spot) -> Iterator[Guess]:
    ours, theirs = (
        [
            r.output.item()
            for name, r in records.items()
            if name.endswith(": timestep") and r.output is not None
        ]
        for records in (spot.ours, spot.theirs)
    )
    n, train = spot.options["num_inference_steps"], 1000  # as many timesteps as every SD 1.x was trained with
    stride = train // n
    for number, said, guess in (
        (12, "ours stops too early", theirs),
        (12, "ours has no offset", [i * stride for i in reversed(range(n))]),
        (12, "ours has linspace spacing", np.linspace(0, train - 1, n).round()[::-1].tolist()),
        (12, "ours has trailing spacing", (np.round(np.arange(train, 0, -train / n)) - 1).tolist()),
        (
            12,
            "ours has CompVis' list, which may be longer than asked",
            list(range(1, train + 1, stride))[::-1],
        ),
        (12, "ours runs upwards", theirs[::-1]),
        (15, "ours does not ask twice at the second timestep", list(dict.fromkeys(theirs))),
    ):
        if ours and guess[: len(ours)] == ours:  # whole lists, unless ours broke off
            both = torch.tensor(ours), torch.tensor(theirs)
            yield number, f"{said}: {ours[:3]} ...", both[0], *both


def starting_noise(spot: Spot) -> Iterator[Guess]:
    ours, theirs = spot.outputs()
    seed, shape = spot.options["seed"], theirs.shape
    half = [
        torch.randn(1, *shape[1:], generator=torch.Generator().manual_seed(seed + i), dtype=torch.float16)
        for i in range(shape[0])
    ]
    yield 20, "ours is drawn in float16", torch.cat(half).to(theirs), ours, theirs
    together = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    yield 20, "ours draws all pictures from one generator", together.to(theirs), ours, theirs
    numpy = torch.from_numpy(np.random.RandomState(seed).standard_normal(tuple(shape)))
    yield 20, "ours is drawn by numpy", numpy.to(theirs), ours, theirs


def batch_order(spot: Spot) -> Iterator[Guess]:
    theirs = spot.output()
    if theirs.shape[0] % 2 == 0:
        yield 18, "ours is [conditional, unconditional]", torch.cat(theirs.chunk(2)[::-1]), *spot.outputs()


def guidance(spot: Spot) -> Iterator[Guess]:
    both, s = spot.inputs[0], spot.options["guidance_scale"]
    if both.shape[0] == 2 * spot.output().shape[0]:
        u, c = both.chunk(2)
        for said, guess in (
            ("e_c + s (e_c - e_u)", c + s * (c - u)),
            ("e_c + s (e_u - e_c)", c + s * (u - c)),
            ("e_u + (s - 1) (e_c - e_u)", u + (s - 1) * (c - u)),
            ("e_c alone", c),
            ("e_u alone", u),
        ):
            yield 18, f"ours computes {said}", guess, *spot.outputs()


def ddim(spot: Spot) -> Iterator[Guess]:
    scheduler = getattr(spot.reference, "scheduler", None)
    if scheduler is None or "DDIM" not in type(scheduler).__name__:
        return
    (noise, x, t), eta, c = spot.inputs, spot.options.get("eta", 0.0), scheduler.config
    train, right, last = c.num_train_timesteps, scheduler.alphas_cumprod, scheduler.final_alpha_cumprod
    jump, at = train // spot.options["num_inference_steps"], int(t)

    def parts(
        ab: Tensor = right, clip: bool = False, last: Tensor | float = last
    ) -> tuple[Tensor, Tensor, Tensor]:
        ab_t, ab_prev = ab[at], ab[at - jump] if at >= jump else torch.as_tensor(last)
        x0 = (x - (1 - ab_t) ** 0.5 * noise) / ab_t**0.5
        return ab_t, ab_prev, ab_prev**0.5 * (x0.clamp(-1, 1) if clip else x0)

    ab_t, ab_prev, kept = parts()
    short = ((1 - ab_prev) / (1 - ab_t)) ** 0.5 * eta
    sigma = short * (1 - ab_t / ab_prev) ** 0.5
    fresh = torch.zeros_like(x)
    if eta:
        fresh = (spot.output() - kept - (1 - ab_prev - sigma**2) ** 0.5 * noise) / sigma

    def step(**how: Any) -> Tensor:
        _, ab_prev, kept = parts(**how)
        return kept + (1 - ab_prev - sigma**2).clamp(min=0) ** 0.5 * noise + sigma * fresh

    for said, make in (("linear", NoiseSchedule.linear), ("scaled-linear", NoiseSchedule.scaled_linear)):
        betas = make(c.beta_start, c.beta_end, train)
        yield 11, f"ours has {said} betas", step(ab=betas.alphas_cumprod), *spot.outputs()
    papers = NoiseSchedule.linear(steps=train).alphas_cumprod
    yield 11, "ours has DDPM's linear betas", step(ab=papers), *spot.outputs()
    yield 12, "ours reads alpha-bar one place too low", step(ab=right.roll(1)), *spot.outputs()
    yield 12, "ours reads alpha-bar one place too high", step(ab=right.roll(-1)), *spot.outputs()
    yield 13, "ours ends at 1", step(last=1.0), *spot.outputs()
    yield 14, "ours clamps x0", step(clip=True), *spot.outputs()
    if eta:
        plain = kept + (1 - ab_prev) ** 0.5 * noise + sigma * fresh
        yield 16, "ours has sqrt(1 - ab_prev) for the direction", plain, *spot.outputs()
        guess = kept + (1 - ab_prev - short**2).clamp(min=0) ** 0.5 * noise + short * fresh
        yield 16, "ours leaves out sigma's second root", guess, *spot.outputs()


def eight_bits(spot: Spot) -> Iterator[Guess]:
    ours, theirs = spot.outputs()
    levels = (spot.inputs[0].float() / 2 + 0.5).permute(0, 2, 3, 1) * 255
    yield 21, "ours truncates", levels.clamp(0, 255).to(torch.uint8), ours, theirs


# Where (a kind of module, or a pattern for the row's name), parts that the guess reads, what lives there.
Place = tuple[str | type[nn.Module], tuple[str, ...], Callable[[Spot], Iterator[Guess]], tuple[int, ...]]
PLACES: list[Place] = [
    (r"^tokens$", (), tokens, (3, 4)),
    (nn.LayerNorm, (), layer_norm, (1, 2)),
    (r"\.mlp$", ("fc1", "fc2"), mlp, (1,)),
    (r"^\w+$", ("final_layer_norm",), last_norm, (2,)),
    (r"encoder$", ("layers.0",), last_layer, (2,)),
    (r"self_attn$", ("q_proj", "k_proj", "v_proj", "out_proj"), attention, (2,)),
    (r"att", ("to_q", "to_k", "to_v", "to_out.0"), attention, (6,)),
    (r"net\.0$", ("proj",), geglu, (7,)),
    (nn.GroupNorm, (), group_norm, (5,)),
    (r"", ("time_embedding",), sinusoids, (8,)),
    (r"", ("time_emb_proj", "conv1", "norm2"), resnet_time, (8,)),
    (r"downsamplers\.0(\.conv)?$", (), downsample, (9,)),
    (r"upsamplers\.0$", ("conv",), upsample, (9,)),
    (r"^posterior logvar$", (), log_variance, (10,)),
    (r"^latents for the VAE$", (), latent_scale, (10,)),
    (r": timestep$", (), timesteps, (12, 15)),
    (r"^initial latents$", (), euler_scale, (17,)),
    (r"^initial latents$", (), starting_noise, (20,)),
    (r": U-Net input$", (), euler_scale, (17,)),
    (r": context$", (), batch_order, (18,)),
    (r": guided noise$", (), guidance, (18,)),
    (r": latents$", (), ddim, (11, 12, 13, 14, 16)),
    (r"^8-bit picture$", (), eight_bits, (21,)),
]


def likely(spot: Spot) -> tuple[str, int | None, str]:
    """The trap that explains best what happened at a spot.

    Returns a sentence ("" where none does), the trap's number, and in words the traps to look for by hand.
    """
    best, cause = NEARER, ""
    trap: int | None = None
    living: list[str] = []
    for where, parts, guess, numbers in PLACES:
        named = re.search(where, spot.name) if isinstance(where, str) else isinstance(spot.module, where)
        if not named or not all(spot.has(part) for part in parts):
            continue
        living += map(str, numbers)
        for number, said, guessed, ours, theirs in guess(spot):
            if ours is None:
                continue
            now = min(distance(theirs, ours), distance(torch.zeros_like(ours), ours))  # finite, any shapes
            left = distance(guessed, ours)
            if left < best * now:
                best, trap = left / now, number
                cause = f"trap {number}: {TRAPS[number]}; {said}"
    untold = f" (none of the traps that live there explains it: {', '.join(living)})" if living else ""
    return cause, trap, untold
