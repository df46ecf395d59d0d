"""The U-Net: noisy latents, a timestep and words in; the noise that was added out.

The module tree has the names of diffusers' UNet2DConditionModel, so that its files load with no renaming.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import PictureTransformer
from .blocks import Downsample, ResnetBlock, Upsample, read_config, timestep_embedding

DEFAULTS = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "cross_attention_dim": 1280,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
}
FIXED = {
    "act_fn": "silu",
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "transformer_layers_per_block": 1,
    "time_embedding_type": "positional",
    "resnet_time_scale_shift": "default",
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "dropout": 0.0,
    "attention_type": "default",
    "resnet_out_scale_factor": 1.0,
    "addition_embed_type_num_heads": 64,
}


class Level(nn.Module):
    """The layers of a level: ResNet blocks, each followed by a transformer unless `heads` is None.

    `inputs` are the numbers of channels that the ResNet blocks read; all make `channels`.
    """

    def __init__(self, c: dict, inputs: list[int], channels: int, time_dim: int, heads: int | None):
        super().__init__()
        groups, eps, words = c["norm_num_groups"], c["norm_eps"], c["cross_attention_dim"]
        self.resnets = nn.ModuleList(ResnetBlock(width, channels, groups, eps, time_dim) for width in inputs)
        if heads is not None:
            self.attentions = nn.ModuleList(
                PictureTransformer(channels, words, heads, groups) for _ in inputs
            )

    def layer(self, i: int, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        """ResNet block i, and the transformer after it where the level has one."""
        x = self.resnets[i](x, emb)
        return self.attentions[i](x, context) if hasattr(self, "attentions") else x


class DownLevel(Level):
    """ResNet blocks (each followed by a transformer where the level has one), then half the size.

    Returns the features and the list of what every layer made: the up path takes them as skips.
    """

    def __init__(
        self, c: dict, in_channels: int, channels: int, time_dim: int, heads: int | None, down: bool
    ):
        super().__init__(
            c, [in_channels] + [channels] * (c["layers_per_block"] - 1), channels, time_dim, heads
        )
        if down:
            self.downsamplers = nn.ModuleList([Downsample(channels)])

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for i in range(len(self.resnets)):
            x = self.layer(i, x, emb, context)
            skips.append(x)
        if hasattr(self, "downsamplers"):
            x = self.downsamplers[0](x)
            skips.append(x)
        return x, skips


class MidLevel(nn.Module):
    """ResNet block, transformer, ResNet block at the lowest resolution."""

    def __init__(self, c: dict, channels: int, time_dim: int, heads: int):
        super().__init__()
        groups, eps = c["norm_num_groups"], c["norm_eps"]
        self.attentions = nn.ModuleList(
            [PictureTransformer(channels, c["cross_attention_dim"], heads, groups)]
        )
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, groups, eps, time_dim) for _ in range(2))

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, emb), context), emb)


class UpLevel(Level):
    """The mirror of a down level with one layer more; every layer takes the last skip that is left."""

    def __init__(
        self, c: dict, below: int, channels: int, above: int, time_dim: int, heads: int | None, up: bool
    ):
        same = [channels] * c["layers_per_block"]
        inputs = [features + skip for features, skip in zip([below] + same, same + [above])]
        super().__init__(c, inputs, channels, time_dim, heads)
        if up:
            self.upsamplers = nn.ModuleList([Upsample(channels)])

    def forward(self, x: Tensor, emb: Tensor, context: Tensor, skips: list[Tensor]) -> Tensor:
        for i in range(len(self.resnets)):
            x = self.layer(i, torch.cat([x, skips.pop()], dim=1), emb, context)
        if hasattr(self, "upsamplers"):
            x = self.upsamplers[0](x, size=skips[-1].shape[2:])
        return x


class UNet(nn.Module):
    """epsilon_theta(z_t, t, c): the noise predictor (Rombach et al. 2022, eq. 3 and app. E.2).

    z (batch, 4, height, width), t an int or (batch,), context (batch, tokens, cross_attention_dim)
    -> (batch, 4, height, width). `config` is the dictionary of the checkpoint's unet/config.json.
    """

    def __init__(self, config: dict):
        super().__init__()
        c = read_config(config, "U-Net", DEFAULTS, FIXED)
        widths, levels = list(c["block_out_channels"]), len(c["block_out_channels"])
        # The key says head_dim, the value is the number of heads: diffusers' published configs mean this.
        heads = c["attention_head_dim"]
        heads = [heads] * levels if isinstance(heads, int) else list(heads)
        down_heads = self._heads(c["down_block_types"], "CrossAttnDownBlock2D", "DownBlock2D", heads)
        up_heads = self._heads(c["up_block_types"], "CrossAttnUpBlock2D", "UpBlock2D", heads[::-1])
        self.config, self.context_dim = dict(config), c["cross_attention_dim"]
        self.in_channels, self.sample_size = c["in_channels"], c["sample_size"]
        first = self.time_width = widths[0]
        time_dim = 4 * first

        self.conv_in = nn.Conv2d(c["in_channels"], first, 3, padding=1)
        self.time_embedding = nn.Sequential(
            OrderedDict(  # of the cosines and sines of the timestep
                linear_1=nn.Linear(first, time_dim), act=nn.SiLU(), linear_2=nn.Linear(time_dim, time_dim)
            )
        )
        more = [True] * (levels - 1) + [False]  # whether another level follows
        self.down_blocks = nn.ModuleList(
            DownLevel(c, a, b, time_dim, h, down)
            for a, b, h, down in zip(widths[:1] + widths, widths, down_heads, more)
        )
        self.mid_block = MidLevel(c, widths[-1], time_dim, heads[-1])
        rising = widths[::-1]
        self.up_blocks = nn.ModuleList(
            UpLevel(c, below, b, above, time_dim, h, up)
            for below, b, above, h, up in zip(
                rising[:1] + rising, rising, rising[1:] + rising[-1:], up_heads, more
            )
        )
        self.conv_norm_out = nn.GroupNorm(c["norm_num_groups"], first, eps=c["norm_eps"])
        self.conv_out = nn.Conv2d(first, c["out_channels"], 3, padding=1)

    @staticmethod
    def _heads(types: list[str], with_attention: str, without: str, heads: list[int]) -> list[int | None]:
        """The number of attention heads of every level, None where its type has no attention."""
        if len(types) != len(heads) or not set(types) <= {with_attention, without}:
            raise ValueError(
                f"U-Net: expected {len(heads)} block types out of {with_attention!r} and {without!r}, "
                f"got {types!r}"
            )
        return [h if kind == with_attention else None for kind, h in zip(types, heads)]

    def forward(self, z: Tensor, t: Tensor | int, context: Tensor) -> Tensor:
        t = torch.as_tensor(t, device=z.device).expand(z.shape[0])
        emb = self.time_embedding(timestep_embedding(t, self.time_width).to(z.dtype))
        h = self.conv_in(z)
        skips = [h]
        for level in self.down_blocks:
            h, new = level(h, emb, context)
            skips += new
        h = self.mid_block(h, emb, context)
        for level in self.up_blocks:
            h = level(h, emb, context, skips)
        return self.conv_out(F.silu(self.conv_norm_out(h)))
