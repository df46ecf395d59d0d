"""ControlNet: a picture that says where things go, beside the words (Zhang et al. 2023).

The module tree has the names of diffusers' ControlNetModel, so that its files load with no renaming.
"""

from collections.abc import Mapping
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from .config import ControlNetConfig
from .unet import DownPath, UNet


def zero_conv(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    """A convolution that begins as zero, so that training begins with the U-Net as it was.

    Its gradient is not zero: it is made of its inputs, which are not.
    """
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


class ConditionEncoder(nn.Module):
    """A picture as features of the latents' size, to be added to the latents' own (section 3.3).

    picture (batch, conditioning_channels, 8 height, 8 width) in [0, 1] -> (batch, width, height, width).
    """

    def __init__(self, c: ControlNetConfig):
        super().__init__()
        widths = c.conditioning_embedding_out_channels
        self.conv_in = nn.Conv2d(c.conditioning_channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for above, width in zip(widths, widths[1:]):
            self.blocks.append(nn.Conv2d(above, above, 3, padding=1))
            self.blocks.append(nn.Conv2d(above, width, 3, padding=1, stride=2))
        self.conv_out = zero_conv(widths[-1], c.block_out_channels[0], 3)

    def forward(self, picture: Tensor) -> Tensor:
        h = F.silu(self.conv_in(picture))
        for block in self.blocks:
            h = F.silu(block(h))
        return self.conv_out(h)


class ControlNet(DownPath):
    """A copy of the U-Net's way down and middle that also sees a picture (Zhang et al. 2023, figure 3).

    What each layer makes goes through a 1x1 convolution, zero before training, and is added to the U-Net's
    skips and middle: `unet(z, t, context, *controlnet(z, t, context, picture))`. `config` is a
    ControlNetConfig or the dictionary of the checkpoint's config.json.
    """

    def __init__(self, config: Mapping | ControlNetConfig):
        c = ControlNetConfig.from_dict(config)
        super().__init__(c)
        self.config = c
        self.controlnet_cond_embedding = ConditionEncoder(c)
        widths = [c.block_out_channels[0]]  # of the skips, in order: conv_in's, then each level's
        for i, width in enumerate(c.block_out_channels):
            lowest = i == len(c.block_out_channels) - 1
            widths += [width] * (c.layers_per_block if lowest else c.layers_per_block + 1)
        self.controlnet_down_blocks = nn.ModuleList(zero_conv(width, width, 1) for width in widths)
        self.controlnet_mid_block = zero_conv(widths[-1], widths[-1], 1)

    @classmethod
    def from_unet(
        cls, unet: UNet, conditioning_embedding_out_channels: tuple[int, ...] = (16, 32, 96, 256)
    ) -> Self:
        """A ControlNet to be trained: with a U-Net's weights, on its device, and nothing to add yet.

        The picture is halved once for every number of channels but the first: three times, as by the VAE.
        """
        own = unet.config.to_dict()
        shared = {key: own[key] for key in ControlNetConfig().to_dict() if key in own}
        shared["conditioning_embedding_out_channels"] = conditioning_embedding_out_channels
        net = cls(shared).to(unet.conv_in.weight)
        for part in ("conv_in", "time_embedding", "down_blocks", "mid_block"):
            getattr(net, part).load_state_dict(getattr(unet, part).state_dict())
        encoder = net.controlnet_cond_embedding
        for conv in (encoder.conv_in, *encoder.blocks):
            # Gaussian, as in the paper, and doubling, since SiLU halves what is small. With torch's own first
            # weights hardly anything of a picture comes through seven layers, and training waits for it.
            nn.init.normal_(conv.weight, std=2 / conv.weight[0].numel() ** 0.5)
        return net

    def forward(
        self,
        z: Tensor,
        t: Tensor | float,
        context: Tensor,
        picture: Tensor,
        conditioning_scale: float = 1.0,
    ) -> tuple[list[Tensor], Tensor]:
        """What to add to the U-Net's skips, and to its middle.

        z, t, context: as for the U-Net. picture: (batch, conditioning_channels, 8 height, 8 width) in [0, 1].
        conditioning_scale: what all of it is multiplied by; 0 leaves the U-Net as it is. Raises ValueError
        for a picture of another size, number of channels or batch.
        """
        self._check(z, picture)
        emb = self.embed_time(t, z)
        h, skips = self.down(self.enter(z) + self.controlnet_cond_embedding(picture), emb, context)
        h = self.mid_block(h, emb, context)
        outputs = zip(self.controlnet_down_blocks, skips, strict=True)
        residuals = [conditioning_scale * conv(skip) for conv, skip in outputs]
        return residuals, conditioning_scale * self.controlnet_mid_block(h)

    def _check(self, z: Tensor, picture: Tensor) -> None:
        """ValueError unless the picture belongs to the latents."""
        factor, channels = self.config.downsampling, self.config.conditioning_channels
        wanted = (len(z), channels, factor * z.shape[2], factor * z.shape[3])
        if tuple(picture.shape) != wanted:
            raise ValueError(
                f"the ControlNet's picture has the shape {tuple(picture.shape)}, expected {wanted} for "
                f"latents of {tuple(z.shape)}"
            )
