"""The autoencoder: a picture to latents eight times smaller each way, and back.

The module tree has the names of diffusers' AutoencoderKL, so that its files load with no renaming.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import PictureAttention
from .blocks import Downsample, ResnetBlock, Upsample, read_config

EPS = 1e-6  # of every GroupNorm in the VAE; the U-Net has 1e-5 in its ResNet blocks

DEFAULTS = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": [64],
    "layers_per_block": 1,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
    "sample_size": 32,
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
}
FIXED = {
    "act_fn": "silu",
    "mid_block_add_attention": True,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "force_upcast": (True, False),
}


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
        """KL(q(z | x) || N(0, 1)) in nats, summed over each picture's latents: (batch,) (the same, app. B)."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar).sum(dim=(1, 2, 3))


class Level(nn.Module):
    """ResNet blocks at one resolution, then down, up, or neither."""

    def __init__(self, in_channels: int, out_channels: int, layers: int, groups: int, resample: str | None):
        super().__init__()
        channels = [in_channels] + [out_channels] * layers
        self.resnets = nn.ModuleList(ResnetBlock(a, b, groups, EPS) for a, b in zip(channels, channels[1:]))
        if resample == "down":
            self.downsamplers = nn.ModuleList([Downsample(out_channels, asymmetric=True)])
        if resample == "up":
            self.upsamplers = nn.ModuleList([Upsample(out_channels)])

    def forward(self, x: Tensor) -> Tensor:
        for module in [*self.resnets, *getattr(self, "downsamplers", []), *getattr(self, "upsamplers", [])]:
            x = module(x)
        return x


class Middle(nn.Module):
    """ResNet block, self-attention, ResNet block at the lowest resolution."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.attentions = nn.ModuleList([PictureAttention(channels, groups, EPS)])
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, groups, EPS) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Encoder(nn.Module):
    """(batch, 3, height, width) -> mean and log-variance stacked: (batch, 2 * latent_channels, h, w)."""

    def __init__(self, c: dict):
        super().__init__()
        widths, groups = list(c["block_out_channels"]), c["norm_num_groups"]
        self.conv_in = nn.Conv2d(c["in_channels"], widths[0], 3, padding=1)
        ways = ["down"] * (len(widths) - 1) + [None]
        self.down_blocks = nn.ModuleList(
            Level(a, b, c["layers_per_block"], groups, way)
            for a, b, way in zip(widths[:1] + widths, widths, ways)
        )
        self.mid_block = Middle(widths[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * c["latent_channels"], 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down_blocks:
            h = level(h)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(h))))


class Decoder(nn.Module):
    """(batch, latent_channels, h, w) -> (batch, 3, height, width); one ResNet block a level more."""

    def __init__(self, c: dict):
        super().__init__()
        widths, groups = list(reversed(c["block_out_channels"])), c["norm_num_groups"]
        self.conv_in = nn.Conv2d(c["latent_channels"], widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0], groups)
        ways = ["up"] * (len(widths) - 1) + [None]
        self.up_blocks = nn.ModuleList(
            Level(a, b, c["layers_per_block"] + 1, groups, way)
            for a, b, way in zip(widths[:1] + widths, widths, ways)
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], c["out_channels"], 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            h = level(h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class AutoencoderKL(nn.Module):
    """The first stage of latent diffusion (Rombach et al. 2022, section 3.1).

    Pictures are (batch, 3, height, width) in [-1, 1], height and width multiples of 8 (SD 1.x);
    latents are (batch, 4, height / 8, width / 8), not yet multiplied by `scaling_factor`.
    `config` is the dictionary of the checkpoint's vae/config.json.
    """

    def __init__(self, config: dict):
        super().__init__()
        c = read_config(config, "VAE", DEFAULTS, FIXED)
        levels = len(c["block_out_channels"])
        for key, block in (
            ("down_block_types", "DownEncoderBlock2D"),
            ("up_block_types", "UpDecoderBlock2D"),
        ):
            if list(c[key]) != [block] * levels:
                raise ValueError(f"VAE: {key} must be {levels} times {block!r}, got {c[key]!r}")
        self.config, channels = dict(config), c["latent_channels"]
        self.scaling_factor, self.downsampling = c["scaling_factor"], 2 ** (levels - 1)
        self.encoder, self.decoder = Encoder(c), Decoder(c)
        self.quant_conv = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.post_quant_conv = nn.Conv2d(channels, channels, 1)

    def encode(self, x: Tensor) -> Posterior:
        """Pictures in [-1, 1] -> q(z | x); the log-variance is kept within [-30, 20]."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, z: Tensor) -> Tensor:
        """Latents (already divided by `scaling_factor`) -> pictures, about [-1, 1]."""
        return self.decoder(self.post_quant_conv(z))
