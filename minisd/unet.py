"""The U-Net: noisy latents, a timestep and words in; the noise that was added out.

The module tree has the names of diffusers' UNet2DConditionModel, so that its files load with no renaming.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import PictureTransformer
from .blocks import Downsample, ResnetBlock, Upsample, timestep_embedding
from .config import DownPathConfig, UNetConfig


class Level(nn.Module):
    """The layers of a level: ResNet blocks, each followed by a transformer unless `heads` is None.

    `inputs` are the numbers of channels that the ResNet blocks read; all make `width` channels.
    """

    def __init__(self, c: DownPathConfig, inputs: Sequence[int], width: int, heads: int | None):
        super().__init__()
        time_dim, groups, eps = 4 * c.block_out_channels[0], c.norm_num_groups, c.norm_eps
        self.resnets = nn.ModuleList(
            ResnetBlock(channels, width, groups, eps, time_dim) for channels in inputs
        )
        self.attentions = None
        if heads is not None:
            words = c.cross_attention_dim
            self.attentions = nn.ModuleList(PictureTransformer(width, words, heads, groups) for _ in inputs)

    def layer(self, i: int, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        """ResNet block i, and the transformer after it where the level has one."""
        x = self.resnets[i](x, emb)
        return x if self.attentions is None else self.attentions[i](x, context)


class DownLevel(Level):
    """The layers of a level, then half the size unless it is the lowest.

    Returns the features and the list of what every layer made: the way up takes them as skips.
    """

    def __init__(self, c: DownPathConfig, above: int, width: int, heads: int | None, lowest: bool):
        super().__init__(c, [above] + [width] * (c.layers_per_block - 1), width, heads)
        self.downsamplers = None if lowest else nn.ModuleList([Downsample(width)])

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for i in range(len(self.resnets)):
            x = self.layer(i, x, emb, context)
            skips.append(x)
        if self.downsamplers is not None:
            x = self.downsamplers[0](x)
            skips.append(x)
        return x, skips


class MidLevel(nn.Module):
    """ResNet block, transformer, ResNet block at the lowest resolution."""

    def __init__(self, c: DownPathConfig, width: int, heads: int):
        super().__init__()
        time_dim, groups, eps = 4 * c.block_out_channels[0], c.norm_num_groups, c.norm_eps
        self.attentions = nn.ModuleList([PictureTransformer(width, c.cross_attention_dim, heads, groups)])
        self.resnets = nn.ModuleList(ResnetBlock(width, width, groups, eps, time_dim) for _ in range(2))

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        x = self.resnets[0](x, emb)
        x = self.attentions[0](x, context)
        return self.resnets[1](x, emb)


class UpLevel(Level):
    """The mirror of a down level with one layer more, then twice the size unless it is the highest.

    Every layer reads the features from below beside the last skip that is left, and takes it off the list.
    """

    def __init__(self, c: UNetConfig, below: int, width: int, above: int, heads: int | None, highest: bool):
        features = [below] + [width] * c.layers_per_block
        skips = [width] * c.layers_per_block + [above]
        super().__init__(c, [a + b for a, b in zip(features, skips, strict=True)], width, heads)
        self.upsamplers = None if highest else nn.ModuleList([Upsample(width)])

    def forward(self, x: Tensor, emb: Tensor, context: Tensor, skips: list[Tensor]) -> Tensor:
        for i in range(len(self.resnets)):
            x = self.layer(i, torch.cat([x, skips.pop()], dim=1), emb, context)
        if self.upsamplers is not None:
            x = self.upsamplers[0](x, size=skips[-1].shape[2:])
        return x


class DownPath(nn.Module):
    """The way down and the middle, with what tells them the time: what the U-Net and a ControlNet share."""

    def __init__(self, c: DownPathConfig):
        super().__init__()
        widths, lowest = c.block_out_channels, len(c.block_out_channels) - 1
        time_dim = 4 * widths[0]

        self.conv_in = nn.Conv2d(c.in_channels, widths[0], 3, padding=1)
        self.time_embedding = nn.Sequential(
            OrderedDict(
                linear_1=nn.Linear(widths[0], time_dim),
                act=nn.SiLU(),
                linear_2=nn.Linear(time_dim, time_dim),
            )
        )
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            above = widths[max(i - 1, 0)]
            heads = c.heads[i] if c.down_block_types[i] == "CrossAttnDownBlock2D" else None
            self.down_blocks.append(DownLevel(c, above, width, heads, lowest=i == lowest))
        self.mid_block = MidLevel(c, widths[-1], c.heads[-1])

    def embed_time(self, t: Tensor | float, z: Tensor) -> Tensor:
        """What tells every ResNet block the timestep: (batch, 4 * block_out_channels[0])."""
        t = torch.as_tensor(t, device=z.device).expand(z.shape[0])
        return self.time_embedding(timestep_embedding(t, self.conv_in.out_channels).to(z.dtype))

    def enter(self, z: Tensor) -> Tensor:
        """The first convolution's features: (batch, block_out_channels[0], height, width).

        In memory a place's channels lie side by side from here on ("channels last"): convolutions read them
        faster so, and the transformers' rows of places are the same memory under another name.
        """
        return self.conv_in(z.contiguous(memory_format=torch.channels_last))

    def down(self, h: Tensor, emb: Tensor, context: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The way down from `conv_in`'s features: those at the lowest level, and the skips in order."""
        skips = [h]
        for level in self.down_blocks:
            h, new = level(h, emb, context)
            skips += new
        return h, skips


class UNet(DownPath):
    """epsilon_theta(z_t, t, c): the noise predictor (Rombach et al. 2022, eq. 3 and app. E.2).

    z (batch, 4, height, width), t an int or (batch,), context (batch, tokens, cross_attention_dim)
    -> (batch, 4, height, width). `config` is a UNetConfig or the dictionary of the checkpoint's
    unet/config.json. Stable Diffusion 1.5, for a picture of 512x512 pixels:

        level   latents   channels   down                     up
        0       64x64        320     2 x (ResNet, words)      3 x (ResNet, words)
        1       32x32        640     2 x (ResNet, words)      3 x (ResNet, words)
        2       16x16      1,280     2 x (ResNet, words)      3 x (ResNet, words)
        3        8x8       1,280     2 x ResNet               3 x ResNet
        middle   8x8       1,280     ResNet, words, ResNet

    where "words" is a transformer block that reads the context. Every level but the lowest halves the size on
    the way down, and every level but the highest doubles it on the way up.
    """

    def __init__(self, config: Mapping | UNetConfig):
        c = UNetConfig.from_dict(config)
        super().__init__(c)
        self.config = c
        widths, lowest = c.block_out_channels, len(c.block_out_channels) - 1

        self.up_blocks = nn.ModuleList()
        for i, width in reversed(list(enumerate(widths))):
            below, above = widths[min(i + 1, lowest)], widths[max(i - 1, 0)]
            heads = c.heads[i] if c.up_block_types[lowest - i] == "CrossAttnUpBlock2D" else None
            self.up_blocks.append(UpLevel(c, below, width, above, heads, highest=i == 0))
        self.conv_norm_out = nn.GroupNorm(c.norm_num_groups, widths[0], eps=c.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], c.out_channels, 3, padding=1)

    def forward(
        self,
        z: Tensor,
        t: Tensor | float,
        context: Tensor,
        down_block_additional_residuals: Sequence[Tensor] | None = None,
        mid_block_additional_residual: Tensor | None = None,
    ) -> Tensor:
        """The predicted noise. What a ControlNet returns, where given, is added to the skips and the middle;
        ValueError if it is of other shapes.
        """
        emb = self.embed_time(t, z)
        h, skips = self.down(self.enter(z), emb, context)
        h = self.mid_block(h, emb, context)
        if down_block_additional_residuals is not None:
            skips = added(skips, down_block_additional_residuals)
        if mid_block_additional_residual is not None:
            [h] = added([h], [mid_block_additional_residual])
        return self.up(h, emb, context, skips)

    def up(self, h: Tensor, emb: Tensor, context: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """The way up, from the middle block's features and the skips of `down`: the predicted noise."""
        left = list(skips)
        for level in self.up_blocks:
            h = level(h, emb, context, left)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


def added(features: Sequence[Tensor], residuals: Sequence[Tensor]) -> list[Tensor]:
    """Each of the features with its residual from a ControlNet; ValueError if their shapes differ."""
    own, given = ([tuple(x.shape) for x in tensors] for tensors in (features, residuals))
    if own != given:
        raise ValueError(
            f"the U-Net's features have the shapes {own}, the residuals {given}: the ControlNet was made for "
            "another U-Net, or saw latents of another size"
        )
    return [x + residual for x, residual in zip(features, residuals, strict=True)]
