"""What the U-Net and the VAE share: the ResNet block, the two resamplings, the embedding of a timestep."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import by_onednn


class ResnetBlock(nn.Module):
    """norm, SiLU, conv; add the time; norm, SiLU, conv; add the input (He et al. 2016; DDPM app. B).

    x (batch, in_channels, height, width), emb (batch, time_dim) or None -> (batch, out_channels, ...).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm_num_groups: int,
        eps: float,
        time_dim: int | None = None,
    ):
        super().__init__()
        self.norm1 = nn.GroupNorm(norm_num_groups, in_channels, eps=eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = None if time_dim is None else nn.Linear(time_dim, out_channels)
        self.norm2 = nn.GroupNorm(norm_num_groups, out_channels, eps=eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.conv_shortcut = None if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        h = self.conv1(norm_silu(self.norm1, x))
        if self.time_emb_proj is not None and emb is not None:
            h = h + self.time_emb_proj(F.silu(emb))[:, :, None, None]
        h = norm_silu(self.norm2, h)  # under the name of what went in, which is not needed any more
        h = self.conv2(h)
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


def norm_silu(norm: nn.Module, x: Tensor) -> Tensor:
    """SiLU(norm(x)): in the memory of the norm's output, where that isn't x and no gradient needs it."""
    normed = norm(x)
    return F.silu(normed, inplace=not (normed is x or torch.is_grad_enabled()))


class Downsample(nn.Module):
    """Halve height and width by a 3x3 convolution of stride 2.

    The U-Net pads one pixel on every side, the VAE only right and below (`asymmetric`).
    """

    def __init__(self, channels: int, asymmetric: bool = False):
        super().__init__()
        self.asymmetric = asymmetric
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=0 if asymmetric else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.asymmetric else x)


class Upsample(nn.Module):
    """Double height and width by repeating each pixel (or grow to `size`), then a 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        double = 2 * x.shape[2], 2 * x.shape[3]
        if size in (None, double) and self.at_once(x):
            return F.conv_transpose2d(x, transposed_kernel(self.conv.weight), self.conv.bias, 2, padding=1)
        return self.conv(F.interpolate(x, size=size or double, mode="nearest"))

    def at_once(self, x: Tensor) -> bool:
        """Whether repeating and convolving in one goes faster, and nobody has a hook on the convolution or
        another layer in its place.

        Where the batch has less than three times as many places as channels, making the kernel takes longer
        than it saves.
        """
        conv = self.conv
        own = type(conv) is nn.Conv2d and not (conv._forward_hooks or conv._forward_pre_hooks)
        return by_onednn(x) and own and x[:, 0].numel() >= 3 * x.shape[1]


def transposed_kernel(weight: Tensor) -> Tensor:
    """The kernel that repeats each pixel and convolves in one, as a transposed convolution of stride 2.

    Every pixel has four copies, in a square; each adds the 3x3 kernel, flipped, to the large picture. All
    four add a pattern of 4x4, the same for every pixel: it is summed here once. A pixel of the large picture
    then takes 4 products instead of 9, and the copies are never in memory.

    weight (out, in, 3, 3) -> (in, out, 4, 4).
    """
    copies = ((0, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 1, 0))  # left, right, above, below
    spread = weight.transpose(0, 1).flip(2, 3)
    return sum((F.pad(spread, place) for place in copies[1:]), F.pad(spread, copies[0]))


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Cosines, then sines of t at the frequencies 10000^(-2i / width), i = 0 ... width / 2 - 1.

    t (batch,) -> (batch, width) (DDPM app. B, after Vaswani et al. 2017, section 3.5).
    """
    exponent = torch.arange(width // 2, dtype=torch.float32, device=t.device) / (width // 2)
    angles = t[:, None].float() * torch.exp(-torch.log(torch.tensor(10000.0)) * exponent)[None, :]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
