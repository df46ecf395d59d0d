"""The autoencoder: a picture to latents eight times smaller each way, and back.

The module tree has the names of diffusers' AutoencoderKL, so that its files load with no renaming.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .attention import PictureAttention
from .blocks import Downsample, ResnetBlock, Upsample, norm_silu
from .config import VAEConfig

EPS = 1e-6  # of every GroupNorm in the VAE; the U-Net has 1e-5 in its ResNet blocks

TILE, OVERLAP = 40, 8  # of tiled decoding, in latents: a tile's longest side, the shortest side of an overlap


@dataclass
class Posterior:
    """The Gaussian q(z | x) with diagonal covariance (Kingma and Welling 2014, eq. 9).

    mean, logvar (and std): (batch, latent_channels, h, w), in Stable Diffusion h = height / 8, w = width / 8.
    """

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        return torch.exp(0.5 * self.logvar)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """z = mean + std * noise (the reparameterisation: Kingma and Welling 2014, eq. 4)."""
        device = generator.device if generator is not None else self.mean.device
        noise = torch.randn(self.mean.shape, generator=generator, device=device, dtype=torch.float32)
        return self.mean + self.std * noise.to(self.mean)

    def mode(self) -> Tensor:
        return self.mean

    def kl(self) -> Tensor:
        """KL(q(z | x) || N(0, 1)) in nats, summed over a picture's latents: (batch,) (the same, app. B)."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar).sum(dim=(1, 2, 3))


class Level(nn.Module):
    """ResNet blocks at one resolution."""

    def __init__(self, in_channels: int, out_channels: int, layers: int, groups: int):
        super().__init__()
        inputs = [in_channels] + [out_channels] * (layers - 1)
        self.resnets = nn.ModuleList(ResnetBlock(width, out_channels, groups, EPS) for width in inputs)

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        return x


class DownLevel(Level):
    """ResNet blocks, then half the size unless it is the lowest level."""

    def __init__(self, in_channels: int, out_channels: int, layers: int, groups: int, lowest: bool):
        super().__init__(in_channels, out_channels, layers, groups)
        self.downsamplers = None if lowest else nn.ModuleList([Downsample(out_channels, asymmetric=True)])

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return x if self.downsamplers is None else self.downsamplers[0](x)


class UpLevel(Level):
    """ResNet blocks, then twice the size unless it is the highest level."""

    def __init__(self, in_channels: int, out_channels: int, layers: int, groups: int, highest: bool):
        super().__init__(in_channels, out_channels, layers, groups)
        self.upsamplers = None if highest else nn.ModuleList([Upsample(out_channels)])

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return x if self.upsamplers is None else self.upsamplers[0](x)


class MidLevel(nn.Module):
    """ResNet block, self-attention, ResNet block at the lowest resolution."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.attentions = nn.ModuleList([PictureAttention(channels, groups, EPS)])
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, groups, EPS) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Encoder(nn.Module):
    """(batch, 3, height, width) -> mean and log-variance stacked: (batch, 2 * latent_channels, h, w)."""

    def __init__(self, c: VAEConfig):
        super().__init__()
        widths, groups, lowest = c.block_out_channels, c.norm_num_groups, len(c.block_out_channels) - 1
        self.conv_in = nn.Conv2d(c.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            above = widths[max(i - 1, 0)]
            self.down_blocks.append(DownLevel(above, width, c.layers_per_block, groups, lowest=i == lowest))
        self.mid_block = MidLevel(widths[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * c.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        for level in self.down_blocks:
            h = level(h)
        return self.conv_out(norm_silu(self.conv_norm_out, self.mid_block(h)))


class Decoder(nn.Module):
    """(batch, latent_channels, h, w) -> (batch, 3, height, width); one ResNet block a level more."""

    def __init__(self, c: VAEConfig):
        super().__init__()
        widths, groups, lowest = c.block_out_channels, c.norm_num_groups, len(c.block_out_channels) - 1
        self.conv_in = nn.Conv2d(c.latent_channels, widths[-1], 3, padding=1)
        self.mid_block = MidLevel(widths[-1], groups)
        self.up_blocks = nn.ModuleList()
        for i, width in reversed(list(enumerate(widths))):
            below = widths[min(i + 1, lowest)]
            self.up_blocks.append(UpLevel(below, width, c.layers_per_block + 1, groups, highest=i == 0))
        self.conv_norm_out = nn.GroupNorm(groups, widths[0], eps=EPS)
        self.conv_out = nn.Conv2d(widths[0], c.out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid_block(self.conv_in(z.contiguous(memory_format=torch.channels_last)))
        for level in self.up_blocks:
            h = level(h)
        return self.conv_out(norm_silu(self.conv_norm_out, h))


class AutoencoderKL(nn.Module):
    """The first stage of latent diffusion (Rombach et al. 2022, section 3.1).

    Pictures are (batch, 3, height, width) in [-1, 1], height and width multiples of 8 (SD 1.x);
    latents are (batch, 4, height / 8, width / 8), not yet multiplied by `scaling_factor`.
    `config` is a VAEConfig or the dictionary of the checkpoint's vae/config.json; for another latent scale,
    replace it: `vae.config = dataclasses.replace(vae.config, scaling_factor=0.5)`.
    """

    def __init__(self, config: Mapping | VAEConfig):
        super().__init__()
        c = self.config = VAEConfig.from_dict(config)
        channels = c.latent_channels
        self.encoder, self.decoder = Encoder(c), Decoder(c)
        self.quant_conv = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.post_quant_conv = nn.Conv2d(channels, channels, 1)
        self.use_tiling = False

    @property
    def scaling_factor(self) -> float:
        """One over the latents' standard deviation: the U-Net's latents are z * scaling_factor."""
        return self.config.scaling_factor

    def encode(self, x: Tensor) -> Posterior:
        """Pictures in [-1, 1] -> q(z | x); the log-variance is kept within [-30, 20]."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, z: Tensor) -> Tensor:
        """Latents (already divided by `scaling_factor`) -> pictures, about [-1, 1]."""
        if self.use_tiling and max(z.shape[2:]) > TILE:
            return self.tiled_decode(z)
        return self.decoder(self.post_quant_conv(z))

    def enable_tiling(self, use_tiling: bool = True) -> None:
        """Let `decode` go tile by tile from now on (False: whole again), for a machine with little memory."""
        self.use_tiling = use_tiling

    def tiled_decode(self, z: Tensor) -> Tensor:
        """`decode`, in overlapping tiles of at most 40 x 40 latents: less memory, more time, near the same.

        Where tiles overlap, each fades out towards its edge. The picture is another than `decode`'s, because
        every GroupNorm and the middle's attention see one tile alone, and the convolutions meet an edge that
        isn't the picture's. On `tiny`'s pictures of four times its size a pixel differs by 3 of 255 on
        average, as much as its autoencoder loses anyway, and by 73 at most (benchmarks/decode.md).
        """
        scale = self.config.downsampling
        batch, _, height, width = z.shape
        picture = z.new_zeros(batch, self.config.out_channels, scale * height, scale * width)
        total = z.new_zeros(scale * height, scale * width)
        for top, bottom in tiles(height):
            for left, right in tiles(width):
                tile = self.decoder(self.post_quant_conv(z[:, :, top:bottom, left:right]))
                weight = fading(tile.shape[2], tile.shape[3], scale * OVERLAP).to(z)
                place = ..., slice(scale * top, scale * bottom), slice(scale * left, scale * right)
                picture[place] += weight * tile
                total[place] += weight
        return picture / total


def tiles(length: int) -> list[tuple[int, int]]:
    """Where the tiles of a side begin and end: the fewest of at most TILE that overlap by OVERLAP or more.

    They are of one size, since a GroupNorm would see little of the picture in a sliver at its edge.
    """
    count = max(1, math.ceil((length - OVERLAP) / (TILE - OVERLAP)))
    size = math.ceil((length + (count - 1) * OVERLAP) / count)
    starts = [i * (length - size) // max(count - 1, 1) for i in range(count)]
    return [(start, start + size) for start in starts]


def fading(height: int, width: int, edge: int) -> Tensor:
    """The weight of each pixel of a tile, (height, width): rises within `edge` pixels of a side to 1."""
    pixels = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    down, across = ((torch.minimum(x, x.flip(0)) / edge).clamp(max=1) for x in pixels)
    return down[:, None] * across
